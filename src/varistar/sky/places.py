"""Where a user wants the simulated survey's fields to lie."""

from pathlib import Path

import polars as pl

from varistar.foundation.errors import DataError

COLUMNS = ("ra_deg", "dec_deg")


def read_places(path: Path) -> tuple[tuple[float, float], ...]:
    """Right ascension and declination [deg] of each row of a CSV or Parquet file.

    Raises
    ------
    DataError
        When the file cannot be read, is empty, lacks a column, or a place is missing or not on the sky.
    """
    try:
        table = pl.read_parquet(path, glob=False) if path.suffix == ".parquet" else pl.read_csv(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as a table of places: {error}") from None
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path}: has no column '{missing[0]}'; right ascension and declination are expected [deg]")
    try:
        places = table.select(pl.col(name).cast(pl.Float64) for name in COLUMNS)
    except pl.exceptions.PolarsError:
        raise DataError(f"{path}: ra_deg and dec_deg must be numbers [deg]") from None
    if not places.height:
        raise DataError(f"{path}: holds no place")
    for row, (ra, dec) in enumerate(places.iter_rows(), start=1):
        if ra is None or dec is None or not (0.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
            raise DataError(f"{path}: row {row} is no place on the sky (ra_deg {ra}, dec_deg {dec})")
    return tuple(places.iter_rows())
