"""The light-curve table: which columns there are, in which units, and how many stars stand in one object.

A `LightCurves` holds the points of many stars one after the other in flat arrays, and `offsets` that say where each
star begins: star `i` owns the points `offsets[i]:offsets[i + 1]`. Kernels take the flat arrays and the offsets, so no
Python loop over stars stands between a Parquet shard and a result. One star is a `LightCurves` of length one.

Times are days since the origin of their time system. Systems are recorded and never converted silently: UTC at the
observatory, heliocentric and barycentric times differ by up to 8.3 minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

TimeSystem = Literal["MJD_UTC", "HJD-2400000.5", "BJD-2400000.5", "BTJD", "BKJD"]
FluxUnit = Literal["mJy", "electron/s", "relative"]

#: Julian date of the zero of each time system [d].
TIME_ORIGIN: dict[TimeSystem, float] = {
    "MJD_UTC": 2400000.5,
    "HJD-2400000.5": 2400000.5,
    "BJD-2400000.5": 2400000.5,
    "BTJD": 2457000.0,
    "BKJD": 2454833.0,
}


class Column(NamedTuple):
    """One column of the table: its type, unit, meaning, and the value of a point that lacks it."""

    dtype: type
    unit: str
    meaning: str
    missing: float | str | int


#: The columns of a light curve. `time`, `flux` and `flux_err` are always there, the others where the source has them.
COLUMNS: dict[str, Column] = {
    "time": Column(np.float64, "d", "mid-exposure, in the table's time system", np.nan),
    "flux": Column(np.float32, "flux unit", "flux; a non-detection keeps its measured flux where known", np.nan),
    "flux_err": Column(np.float32, "flux unit", "one standard deviation of flux", np.nan),
    "mag": Column(np.float32, "mag", "magnitude; NaN for a non-detection", np.nan),
    "mag_err": Column(np.float32, "mag", "one standard deviation of mag; NaN for a non-detection", np.nan),
    "limit": Column(np.float32, "mag", "5-sigma limiting magnitude of the exposure", np.nan),
    "fwhm": Column(np.float32, "pixel", "width of the point-spread function", np.nan),
    "camera": Column(np.str_, "", "camera code, case-sensitive", ""),
    "band": Column(np.str_, "", "photometric band", ""),
    "quality": Column(np.int32, "", "0 is good; other values are the survey's flag bits (ASAS-SN's B is 1)", 0),
}
REQUIRED = ("time", "flux", "flux_err")


@dataclass(frozen=True)
class LightCurves:
    """The light curves of `n` stars with `m` points in all.

    Attributes
    ----------
    star_id : tuple of str, length n
    offsets : int64 array, shape (n + 1,)
        Star `i` owns the points `offsets[i]:offsets[i + 1]`.
    columns : dict of name to array, each of shape (m,)
        A subset of `COLUMNS` with at least `REQUIRED`, each of its column's dtype (text columns are NumPy unicode).
    time_system, flux_unit, survey
        What the numbers mean. A `relative` flux has a typical value of one.
    """

    star_id: tuple[str, ...]
    offsets: NDArray[np.int64]
    columns: dict[str, NDArray]
    time_system: TimeSystem
    flux_unit: FluxUnit = "mJy"
    survey: str = ""

    def __post_init__(self) -> None:
        if missing := [name for name in REQUIRED if name not in self.columns]:
            raise DataError(f"light curves lack the column '{missing[0]}'; needed are {', '.join(REQUIRED)}")
        if unknown := [name for name in self.columns if name not in COLUMNS]:
            raise DataError(f"light curves have the unknown column '{unknown[0]}'; known are {', '.join(COLUMNS)}")
        points = int(self.offsets[-1])
        if len(self.offsets) != len(self.star_id) + 1 or any(len(c) != points for c in self.columns.values()):
            raise DataError("the offsets of these light curves do not fit their columns")

    def __len__(self) -> int:
        return len(self.star_id)

    @property
    def n_points(self) -> NDArray[np.int64]:
        """Points of each star, shape (n,)."""
        return np.diff(self.offsets)

    def __getitem__(self, name: str) -> NDArray:
        """A flat column, shape (m,)."""
        return self.columns[name]

    def star(self, index: int) -> Self:
        """Star `index` alone, as views."""
        return self.slice(index, index + 1)

    def slice(self, start: int, stop: int) -> Self:
        """Stars `start` to `stop - 1`, as views."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return replace(
            self,
            star_id=self.star_id[start:stop],
            offsets=self.offsets[start : stop + 1] - first,
            columns={name: values[first:last] for name, values in self.columns.items()},
        )

    def where(self, keep: NDArray[np.bool_]) -> Self:
        """The points at which `keep`, shape (m,), is true; stars that lose all points stay, empty."""
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return replace(
            self,
            offsets=kept_before[self.offsets].astype(np.int64),
            columns={name: values[keep] for name, values in self.columns.items()},
        )

    def take(self, stars: Sequence[int] | NDArray[np.int64]) -> Self:
        """The stars with these indices, in this order; one may be taken more than once."""
        stars = np.asarray(stars, dtype=np.int64)
        lengths = self.n_points[stars]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        points = np.repeat(self.offsets[stars] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            star_id=tuple(self.star_id[i] for i in stars),
            offsets=offsets,
            columns={name: values[points] for name, values in self.columns.items()},
        )


def concatenate(parts: Sequence[LightCurves]) -> LightCurves:
    """Join light curves of one survey, time system and flux unit; a column that a part lacks is filled as missing.

    Raises
    ------
    DataError
        When there is nothing to join, or the parts differ in time system or flux unit.
    """
    if not parts:
        raise DataError("there are no light curves to join")
    first = parts[0]
    for part in parts:
        if (part.time_system, part.flux_unit) != (first.time_system, first.flux_unit):
            raise DataError(
                f"light curves in {part.time_system} and {part.flux_unit} cannot join those in "
                f"{first.time_system} and {first.flux_unit}"
            )
    names = [name for name in COLUMNS if any(name in part.columns for part in parts)]
    counts = np.concatenate([part.n_points for part in parts])
    return replace(
        first,
        star_id=tuple(star for part in parts for star in part.star_id),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns={name: np.concatenate([_column(part, name) for part in parts]) for name in names},
    )


def _column(part: LightCurves, name: str) -> NDArray:
    """A column of `part`, or its missing value at every point."""
    if name in part.columns:
        return part.columns[name]
    column = COLUMNS[name]
    return np.full(int(part.offsets[-1]), column.missing, dtype="U1" if column.dtype is np.str_ else column.dtype)
