"""Tables as files, in the format that the file's ending names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path

ENDINGS = (".parquet", ".csv", ".ecsv", ".fits")


def check_output(path: Path) -> None:
    """Refuse a file whose ending names no format of ours, or that is a folder, before any work is done."""
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: the ending must be one of {', '.join(ENDINGS)}")
    if path.is_dir():
        raise DataError(f"{path}: a folder, where the name of a file was expected")


def write_parts(
    parts: Sequence[Path], path: Path, schema: pl.Schema, units: Mapping[str, str], without: Sequence[int] = ()
) -> int:
    """Join Parquet parts into one table in the format of `path`'s ending; returns the number of rows.

    Parquet and CSV are written in a stream, so that memory does not grow with the number of stars; ECSV and FITS, which
    also carry the units, are made in memory. FITS holds ASCII only: other characters are written as escapes (`\\xe9`).

    Parameters
    ----------
    schema : columns of the table; the parts may have more.
    units : unit of each column that has one.
    without : rows to leave out, counted through all parts.
    """
    rows = pl.scan_parquet(list(parts), glob=False) if parts else pl.LazyFrame(schema=schema)
    if without:
        rows = rows.with_row_index("row").filter(~pl.col("row").is_in(list(without)))
    rows = rows.select(schema.names())
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

    result = Table()
    for name in table.columns:
        values = table[name].to_numpy()
        if table.schema[name] == pl.String:
            text = table[name].fill_null("").to_list()
            if file_format == "fits":
                text = [word.encode("ascii", "backslashreplace").decode() for word in text]
            values = np.array(text, dtype=np.str_)
        result[name] = values
    for name, unit in units.items():
        if unit:
            result[name].unit = unit
    result.write(path, format=file_format, overwrite=True)
