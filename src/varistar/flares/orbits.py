"""From a light curve to its orbits: stretches between long gaps, on a regular grid of cadences, each in units of its
own median.

A cadence that is missing, flagged or not finite keeps its place and is NaN. Nothing is stitched and nothing is filled,
so whatever follows sees where the data are (AMB-53, AMB-61).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from varistar.foundation.settings import Settings

Array = NDArray[np.float64]

#: Bits of TESS and Kepler that spoil a cadence: attitude, safe mode, coarse and Earth point, argabrightening, momentum
#: dump, manual exclude, insufficient targets. Left out on purpose: 512, which marks cosmic rays and the peaks of
#: flares, and 2048, stray light, which would take a tenth of Proxima's flares.
SPOILED = 1 | 2 | 4 | 8 | 16 | 32 | 128 | 16384


class OrbitSettings(Settings):
    """Which cadences count, and where an orbit ends.

    Attributes
    ----------
    quality : values of the quality column that stay; None asks `spoiled` instead. The paper keeps 0 and 512.
    spoiled : a cadence with any of these bits is lost.
    gap_days : two points farther apart lie in different orbits [d].
    skip_first : cadences at the start of each orbit that are masked; the paper skips 200, for stray light.
    min_cadences : good cadences that an orbit needs.
    """

    quality: tuple[int, ...] | None = None
    spoiled: int = Field(default=SPOILED, ge=0)
    gap_days: float = Field(default=0.4, gt=0.0)
    skip_first: int = Field(default=0, ge=0)
    min_cadences: int = Field(default=200, ge=1)


@dataclass(frozen=True)
class Orbit:
    """`m` consecutive cadences.

    Attributes
    ----------
    time : float64 (m,), ascending, evenly spaced but for light travel [d]; interpolated where a cadence is missing
    flux, flux_err : float64 (m,), in units of the median good flux; NaN where the cadence does not count
    point : int64 (m,), the place of each cadence among the star's points; -1 where there is none
    cadence : spacing [d]
    """

    time: Array
    flux: Array
    flux_err: Array
    point: NDArray[np.int64]
    cadence: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Where the flux counts, shape (m,)."""
        return np.isfinite(self.flux)


def split_orbits(
    time: Array, flux: NDArray, flux_err: NDArray, quality: NDArray[np.integer] | None, settings: OrbitSettings
) -> list[Orbit]:
    """The orbits of one star, in order of time; an orbit without enough good cadences, or without light, is left out.

    Parameters
    ----------
    time : shape (n,), any order, NaN where unknown [d]; of two points in one cadence the first counts.
    flux, flux_err : shape (n,), in any unit of flux; an error that is not positive is NaN.
    quality : shape (n,), flags, or None for none.

    Returns
    -------
    list of Orbit, empty for fewer than two times.
    """
    order = np.argsort(time, kind="stable")
    order = order[: int(np.isfinite(time).sum())]
    steps = np.diff(time[order])
    if not np.any(steps > 0.0):
        return []
    cadence = float(np.median(steps[steps > 0.0]))
    counts = _counts(flux, quality, settings)
    orbits = []
    for part in np.split(order, np.flatnonzero(steps > settings.gap_days) + 1):
        orbit = _on_grid(part, time, flux, flux_err, counts, cadence, settings)
        if orbit is not None:
            orbits.append(orbit)
    return orbits


def _counts(flux: NDArray, quality: NDArray[np.integer] | None, settings: OrbitSettings) -> NDArray[np.bool_]:
    """Which points have a flux that may be used."""
    finite = np.isfinite(flux)
    if quality is None:
        return finite
    if settings.quality is not None:
        return finite & np.isin(quality, settings.quality)
    return finite & ((quality & settings.spoiled) == 0)


def _on_grid(
    part: NDArray[np.int64],
    time: Array,
    flux: NDArray,
    flux_err: NDArray,
    counts: NDArray[np.bool_],
    cadence: float,
    settings: OrbitSettings,
) -> Orbit | None:
    """One orbit of the points `part`, in order of time; None if too little of it is good."""
    place = np.concatenate([[0], np.cumsum(np.rint(np.diff(time[part]) / cadence))]).astype(np.int64)
    place, first = np.unique(place, return_index=True)
    part = part[first]
    n = int(place[-1]) + 1
    point = np.full(n, -1, dtype=np.int64)
    point[place] = part
    good = np.zeros(n, dtype=bool)
    good[place] = counts[part]
    good[: settings.skip_first] = False
    if int(good.sum()) < settings.min_cadences:
        return None
    values = np.where(good, flux[point].astype(np.float64), np.nan)
    median = float(np.median(values[good]))
    if not median > 0.0:
        return None
    errors = np.where(good, flux_err[point].astype(np.float64), np.nan)
    errors[~(errors > 0.0)] = np.nan
    return Orbit(np.interp(np.arange(n), place, time[part]), values / median, errors / median, point, cadence)
