"""The phase of a spotted star's rotation at each cadence, and so at each flare.

Phase runs from -0.5 to 0.5 within a rotation. It is 0 when the star is brightest, its least spotted face towards us,
and near -0.5 and 0.5 the most spotted one faces us (Feinstein et al. 2020, section 4.2). Rotations are mapped orbit by
orbit, since spots drift and change between them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.signal import find_peaks

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings

from .orbits import Orbit
from .spectrum import Array, Mask, bin_cadences

#: Steps in phase at which the fitted light of a rotation is looked at for its highest.
PHASE_STEPS = 720


class PhaseSettings(Settings):
    """How rotations are mapped to phases.

    Attributes
    ----------
    method : "harmonics" fits the star's light in each orbit at the rotation period; "minima" counts whole rotations
        from minimum to minimum, which are put at -0.5 and 0.5, and extrapolates those at the ends (the paper's).
    harmonics : of the fit; one where an orbit holds less than one and a half rotations.
    bin_minutes : cadences are averaged over so long; over a fiftieth of the period where that is shorter.
    min_rotations : what an orbit must hold for its phases to be known.
    min_power : fraction of an orbit's variance that the fit must explain.
    """

    method: Literal["harmonics", "minima"] = "harmonics"
    harmonics: int = Field(default=2, ge=1)
    bin_minutes: float = Field(default=10.0, gt=0.0)
    min_rotations: float = Field(default=0.8, gt=0.0)
    min_power: float = Field(default=0.005, ge=0.0, le=1.0)


PAPER = PhaseSettings(method="minima")


def spot_phase(orbit: Orbit, flaring: Mask | None, period_days: float, settings: PhaseSettings) -> Array:
    """The phase of each cadence of one orbit, good or not.

    Parameters
    ----------
    flaring : shape (m,), cadences that are not the spots' light; None for none.
    period_days : the star's rotation period [d].

    Returns
    -------
    float64 (m,), from -0.5 to below 0.5; all NaN where the orbit holds too little of a rotation, or shows none.

    Raises
    ------
    DataError
        When the mask does not fit the orbit, or the period is not positive.
    """
    if not 0.0 < period_days < math.inf:
        raise DataError(f"a rotation period must be positive and finite; got {period_days}")
    if flaring is not None and len(flaring) != len(orbit):
        raise DataError(f"a mask of {len(flaring)} cadences does not fit an orbit of {len(orbit)}")
    mask = np.zeros(len(orbit), dtype=bool) if flaring is None else flaring
    unknown = np.full(len(orbit), np.nan)
    bin_minutes = min(settings.bin_minutes, 1440.0 * period_days / 50.0)
    points = bin_cadences([orbit], [mask], bin_minutes, True)
    if len(points.time) < 10 or points.time[-1] - points.time[0] < settings.min_rotations * period_days:
        return unknown
    rotations = (_from_minima if settings.method == "minima" else _from_harmonics)(
        points.time, points.flux, points.weight, points.squares, period_days, settings
    )
    return unknown if rotations is None else _wrapped(rotations(orbit.time))


def _from_harmonics(
    time: Array, flux: Array, weight: Array, squares: float, period: float, settings: PhaseSettings
) -> Callable[[Array], Array] | None:
    """Rotations since a maximum of the harmonics that fit an orbit, as a function of time; None where there are none.

    A straight line is fitted too where an orbit holds one and a half rotations. Outliers are weighed down (Huber).
    """
    middle, span = 0.5 * (time[0] + time[-1]), time[-1] - time[0]
    long_enough = span >= 1.5 * period
    count = settings.harmonics if long_enough else 1
    waves = _waves((time - middle) / period, count)
    others = [np.ones_like(time)] + ([(time - middle) / span] if long_enough else [])
    design = np.column_stack([waves, *others])
    trust = np.ones_like(time)
    for _ in range(10):
        root = np.sqrt(weight * trust)
        answer = np.linalg.lstsq(design * root[:, None], flux * root, rcond=None)[0]
        left = np.abs(flux - design @ answer) * np.sqrt(weight)
        scale = 1.4826 * float(np.median(left))
        if not scale > 0.0:
            break
        trust = np.minimum(1.0, 2.0 * scale / np.maximum(left, 1e-300))
    fitted = waves @ answer[: 2 * count]
    about = fitted - np.average(fitted, weights=weight)
    if not float(weight @ about**2) > settings.min_power * squares:
        return None
    steps = np.arange(PHASE_STEPS) / PHASE_STEPS
    cycle = _waves(steps, count) @ answer[: 2 * count]
    top = int(np.argmax(cycle))
    before, highest, after = cycle[top - 1], cycle[top], cycle[(top + 1) % PHASE_STEPS]
    bend = before - 2.0 * highest + after
    maximum = steps[top] + (0.5 * (before - after) / bend if bend < 0.0 else 0.0) / PHASE_STEPS
    return lambda at: (at - middle) / period - maximum


def _waves(rotations: Array, count: int) -> Array:
    """Cosines and sines of `count` harmonics, shape (n, 2 count)."""
    angle = 2.0 * math.pi * rotations
    return np.stack([wave(k * angle) for k in range(1, count + 1) for wave in (np.cos, np.sin)], axis=1)


def _from_minima(
    time: Array, flux: Array, weight: Array, squares: float, period: float, settings: PhaseSettings
) -> Callable[[Array], Array] | None:
    """Rotations since half a rotation before the first minimum; None without a minimum.

    Minima are sought in the running mean over a tenth of a rotation, at least 0.6 rotations from each other and a
    fifth of the whole range deep.
    """
    del weight, squares, settings
    grid = np.arange(time[0], time[-1], period / 50.0)
    light = np.convolve(np.pad(np.interp(grid, time, flux), 2, mode="edge"), np.full(5, 0.2), mode="valid")
    minima, _ = find_peaks(-light, distance=30, prominence=0.2 * float(np.ptp(light)))
    if not len(minima):
        return None
    at = grid[minima]
    first, last = (at[1] - at[0], at[-1] - at[-2]) if len(at) > 1 else (period, period)
    # One more minimum at each end, a neighbouring rotation away, as often as it takes to cover the orbit.
    more = math.ceil((time[-1] - time[0]) / min(first, last)) + 1
    knots = np.concatenate([at[0] - first * np.arange(more, 0, -1), at, at[-1] + last * np.arange(1, more + 1)])
    return lambda when: np.interp(when, knots, np.arange(len(knots)) + 0.5)


def _wrapped(rotations: Array) -> Array:
    """Rotations as phases from -0.5 to below 0.5."""
    return (rotations + 0.5) % 1.0 - 0.5


def phase_at(tpeak: Array, orbits: Sequence[Orbit], phases: Sequence[Array]) -> Array:
    """The phase of each flare, shape (n,): that of the cadence nearest to its peak, NaN outside the orbits.

    Parameters
    ----------
    tpeak : shape (n,) [d]
    phases : for each orbit, shape (m,), as `spot_phase` gives them.
    """
    answer = np.full(len(tpeak), np.nan)
    for orbit, phase in zip(orbits, phases, strict=True):
        place = np.interp(tpeak, orbit.time, np.arange(len(orbit)))
        index = np.rint(np.where(np.isfinite(place), place, 0.0)).astype(np.int64)
        inside = np.abs(tpeak - orbit.time[index]) <= orbit.cadence
        answer[inside] = phase[index[inside]]
    return answer


def count_exposure(phases: Sequence[Array], searched: Sequence[Mask], bins: int = 100) -> Array:
    """How many cadences were searched in each of `bins` even bins of phase from -0.5 to 0.5, shape (bins,).

    Parameters
    ----------
    phases, searched : for each orbit, shape (m,): the phase, NaN where unknown, and whether flares were sought there.
    """
    known = [phase[search & np.isfinite(phase)] for phase, search in zip(phases, searched, strict=True)]
    return np.histogram(np.concatenate([np.empty(0), *known]), bins, (-0.5, 0.5))[0].astype(np.float64)
