"""Tables as files, in the format that the file's ending names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path

ENDINGS = (".parquet", ".csv", ".ecsv", ".fits")


def check_ending(path: Path) -> None:
    """Refuse a file whose ending names no format of ours, before any work is done."""
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: the ending must be one of {', '.join(ENDINGS)}")


def write_parts(parts: Sequence[Path], path: Path, schema: pl.Schema, units: Mapping[str, str]) -> int:
    """Join Parquet parts into one table in the format of `path`'s ending; returns the number of rows.

    Parquet and CSV are written in a stream, so that memory does not grow with the number of stars; ECSV and FITS, which
    also carry the units, are made in memory.

    Parameters
    ----------
    units : unit of each column that has one.
    """
    rows = pl.scan_parquet(list(parts), schema=schema) if parts else pl.LazyFrame(schema=schema)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            rows.sink_parquet(temporary, compression="zstd", mkdir=False)
        elif path.suffix == ".csv":
            rows.sink_csv(temporary)
        else:
            _write_astropy(rows.collect(), temporary, "ascii.ecsv" if path.suffix == ".ecsv" else "fits", units)
    return int(rows.select(pl.len()).collect().item())


def _write_astropy(table: pl.DataFrame, path: Path, file_format: str, units: Mapping[str, str]) -> None:
    from astropy.table import Table

    columns = {name: table[name].to_numpy() for name in table.columns}
    text = {name: values.astype("U") for name, values in columns.items() if table.schema[name] == pl.String}
    result = Table({name: text.get(name, values) for name, values in columns.items()})
    for name, unit in units.items():
        if unit:
            result[name].unit = unit
    result.write(path, format=file_format, overwrite=True)
