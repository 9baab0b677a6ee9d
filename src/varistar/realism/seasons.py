"""A star's observing seasons, and the two halves of them: one to fit a simulator on, the other to judge it by."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Half = Literal["fit", "judge", "both"]

YEAR = 365.25
#: MJD from which years are counted, 2019-01-01: seasons of real and simulated stars have the same numbers.
ORIGIN = 58484.5


def season_of(mjd: Array) -> NDArray[np.integer]:
    """The observing year of each epoch of one star, shape (m,).

    A star's years begin in the middle of the longest part of the calendar in which it was never observed; year 0 is
    the first that begins after `ORIGIN`.
    """
    if not len(mjd):
        return np.empty(0, dtype=np.int64)
    days = np.sort((mjd - ORIGIN) % YEAR)
    empty = np.diff(days, append=days[0] + YEAR)
    longest = int(np.argmax(empty))
    begin = (days[longest] + 0.5 * empty[longest]) % YEAR
    return np.floor((mjd - ORIGIN - begin) / YEAR).astype(np.int64)


def gaps_after(mjd: Array, season: NDArray[np.integer]) -> Array:
    """For each epoch, in the order of time, the gap [d] from its season to the next, shape (m,).

    NaN in the last season, and before a year without epochs: there the next season is not the neighbour.
    """
    steps = np.diff(season)
    ends = np.flatnonzero(steps)
    gaps = np.where(steps[ends] == 1, np.diff(mjd)[ends], np.nan)
    return np.append(gaps, np.nan)[np.searchsorted(ends, np.arange(len(mjd)))]


def in_half(season: NDArray[np.integer], half: Half) -> NDArray[np.bool_]:
    """Whether each season belongs to a half: `fit` has the even ones, `judge` the odd ones, `both` all."""
    if half == "both":
        return np.ones(len(season), dtype=np.bool_)
    return season % 2 == (0 if half == "fit" else 1)
