"""From a light curve to its orbits: stretches between long gaps, on a regular grid of cadences, each in units of its
own median.

A cadence that is missing, flagged or not finite keeps its place and is NaN. Nothing is stitched and nothing is filled,
so whatever follows sees where the data are (AMB-53, AMB-61). Each orbit has the spacing of its own cadences, since that
of a star may change from sector to sector.
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
    counts = _counts(flux, quality, settings)
    orbits = []
    for part in np.split(order, np.flatnonzero(steps > settings.gap_days) + 1):
        orbit = _on_grid(part, time, flux, flux_err, counts, settings)
        if orbit is not None:
            orbits.append(orbit)
    return orbits


def exposures_in(minutes: float, orbit: Orbit) -> int:
    """How many of an orbit's cadences make an exposure about so many minutes long; one where they are no shorter."""
    return max(1, round(minutes / 1440.0 / orbit.cadence))


def bin_orbit(orbit: Orbit, size: int) -> Orbit:
    """The same light in exposures `size` times as long: the mean of those cadences in each that count.

    A longer one counts where at least half of its cadences do. Errors are those of means of independent cadences,
    unknown ones being as large as the known ones beside them. What is left at the end is dropped.
    """
    if size == 1:
        return orbit
    m = len(orbit) // size
    time, flux, flux_err, point = (
        values[: m * size].reshape(m, size) for values in (orbit.time, orbit.flux, orbit.flux_err, orbit.point)
    )
    good, known = np.isfinite(flux), np.isfinite(flux_err)
    count = np.where(2 * good.sum(axis=1) >= size, good.sum(axis=1), np.nan)
    n_known = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    variance = np.sum(np.where(known, flux_err, 0.0) ** 2, axis=1) / n_known
    there = (point >= 0).argmax(axis=1)
    return Orbit(
        time.mean(axis=1),
        np.where(good, flux, 0.0).sum(axis=1) / count,
        np.sqrt(variance / count),
        point[np.arange(m), there],
        size * orbit.cadence,
    )


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
    settings: OrbitSettings,
) -> Orbit | None:
    """One orbit of the points `part`, in order of time; None if too little of it is good."""
    steps = np.diff(time[part])
    if not np.any(steps > 0.0):
        return None
    cadence = float(np.median(steps[steps > 0.0]))
    place = np.concatenate([[0], np.cumsum(np.rint(steps / cadence))]).astype(np.int64)
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
