"""The star's light without its flares: what a flare stands on.

Ours is a cubic smoothing spline in its stochastic form: the light's second derivative is white noise of density q,

    flux'' = q^(1/2) xi,    seen with errors sigma,

which a Kalman filter and smoother solve in time proportional to the number of cadences. Missing and masked cadences are
just not seen, so that the light under a flare is interpolated, with an error that grows with what is hidden. A wave of
period P is followed to the part 1 / (1 + (s / P)^4), where s = 2 pi (sigma^2 cadence / q)^(1/4) is the spline's
stiffness. The one in the allowed range that makes the orbit most likely is taken: long where a star turns slowly, which
leaves long flares alone, and short on a fast rotator, whose mean wave is taken away before, so that what a flare hides
is known from the other turns. Outliers lose their weight by Tukey's biweight.

The paper and its code (section 3.4; AMB-54) interpolate linearly through a running median of the cadences that are not
masked.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.optimize import minimize_scalar
from scipy.signal import medfilt

from varistar.foundation.settings import Settings

from .orbits import Array, Orbit

Mask = NDArray[np.bool_]

#: Where Tukey's biweight reaches zero, in standard deviations: 95 % as efficient as the mean on normal noise.
BIWEIGHT = 4.685
#: Passes of reweighting. One bad cadence spoils its neighbours in the first, the second drops all of them, and the
#: others bring back those that were good.
PASSES = 4
#: Stiffnesses that are tried, evenly in their logarithm; the likelihood is flat to 0.1 of it.
TRIED = 10
#: Variance of level and slope before anything is seen, in units of the noise's: large, and small enough that what is
#: known afterwards, the difference of such numbers, keeps its digits.
UNKNOWN = (1e8, 1e5)
#: Of the mean wave; and the time between the cadences that its frequency is chosen by [d].
HARMONICS, WAVE_BIN = 5, 0.01
#: A stiffness below so many cadences follows the noise.
MIN_CADENCES = 4.0


class TrendSettings(Settings):
    """How the light under a flare is found.

    Attributes
    ----------
    method : "spline", or the paper's "running_median" with linear interpolation.
    before, after : cadences that are masked around an event besides its own.
    after_share : more of them after the event, in lengths of it, since flares fade slowly.
    side : cadences on each side of the mask that `local_trend` looks at.
    stiffness_days : range of the spline's stiffness [d].
    wave_below_days : where the spline must be less stiff, the star's mean wave is taken away before it is drawn.
    kernel : cadences in the running median, odd.
    """

    method: Literal["spline", "running_median"] = "spline"
    before: int = Field(default=3, ge=0)
    after: int = Field(default=5, ge=0)
    after_share: float = Field(default=1.0, ge=0.0)
    side: int = Field(default=400, ge=2)
    stiffness_days: tuple[float, float] = (0.015, 2.0)
    wave_below_days: float = Field(default=0.1, ge=0.0)
    kernel: int = Field(default=15, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0.0 < self.stiffness_days[0] <= self.stiffness_days[1] < math.inf:
            raise ValueError("stiffness_days must be positive and ascend")
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


#: The text: 100 cadences on each side. It is silent on smoothing, which is as released here.
PAPER = TrendSettings(method="running_median", before=5, after=10, after_share=0.0, side=100)
#: The released code, its mask counted from the event instead of its peak; the second is for flares above 1.3.
RELEASED = TrendSettings(method="running_median", before=5, after=10, after_share=0.0, side=40)
RELEASED_LARGE = TrendSettings(method="running_median", before=75, after=150, after_share=0.0, side=400)


@dataclass(frozen=True)
class Trend:
    """The light of `m` cadences, of which the first is the orbit's `first`.

    Attributes
    ----------
    values : float64 (m,), in units of the orbit's median flux; NaN where nothing was seen at all
    errors : float64 (m,), one standard deviation; 0 where the method knows none
    scatter : standard deviation of what is seen around them, in units of `flux_noise`
    first : index in the orbit
    clamped : whether the orbit ends before the window that was asked for
    """

    values: Array
    errors: Array
    scatter: float
    first: int = 0
    clamped: bool = False


def orbit_trend(orbit: Orbit, masked: Mask, settings: TrendSettings) -> Trend:
    """The light of all cadences, seen only where it is not `masked`, shape (m,)."""
    seen = orbit.good & ~masked
    nothing = np.full(len(orbit), np.nan)
    if not seen.any():
        return Trend(nothing, nothing, math.nan)
    if settings.method == "running_median":
        values = _running_median(orbit.flux, seen, settings.kernel)
        return Trend(values, np.zeros(len(orbit)), _scatter((orbit.flux - values) / flux_noise(orbit), seen))
    return _spline(orbit, seen, settings)


def local_trend(orbit: Orbit, first: int, last: int, settings: TrendSettings, masked: Mask | None = None) -> Trend:
    """The light around the cadences `first` to `last`, which are masked, and `settings.side` more on both sides.

    Parameters
    ----------
    masked : shape (m,), other cadences of the orbit that are not to be looked at.

    Returns
    -------
    Trend of the window, `clamped` to the orbit.
    """
    hidden = mask_events(len(orbit), np.array([first]), np.array([last]), settings)
    places = np.flatnonzero(hidden)
    start, stop = int(places[0]) - settings.side, int(places[-1]) + 1 + settings.side
    clamped = start < 0 or stop > len(orbit)
    window = slice(max(start, 0), min(stop, len(orbit)))
    if masked is not None:
        hidden = hidden | masked
    part = Orbit(orbit.time[window], orbit.flux[window], orbit.flux_err[window], orbit.point[window], orbit.cadence)
    trend = orbit_trend(part, hidden[window], settings)
    return Trend(trend.values, trend.errors, trend.scatter, window.start, clamped)


def mask_events(m: int, first: NDArray[np.integer], last: NDArray[np.integer], settings: TrendSettings) -> Mask:
    """Where the events from `first` to `last` (inclusive), widened as the settings say, are among `m` cadences."""
    after = settings.after + np.ceil(settings.after_share * (last - first + 1)).astype(np.int64)
    masked = np.zeros(m, dtype=bool)
    for begin, end in zip(first - settings.before, last + after, strict=True):
        masked[max(int(begin), 0) : max(int(end) + 1, 0)] = True
    return masked


def flux_noise(orbit: Orbit) -> Array:
    """The errors of the flux, shape (m,), unknown ones the median of the known; all 1 where none is known."""
    known = np.isfinite(orbit.flux_err)
    if not known.any():
        return np.ones(len(orbit))
    return np.where(known, orbit.flux_err, np.median(orbit.flux_err[known]))


def _running_median(flux: Array, seen: Mask, kernel: int) -> Array:
    """Linear interpolation through the running median of what is seen, ends repeated instead of padded with zero."""
    half = kernel // 2
    padded = np.pad(flux[seen], half, mode="edge")
    smooth = medfilt(padded, kernel)[half : len(padded) - half]
    return np.interp(np.arange(len(flux)), np.flatnonzero(seen), smooth)


def _scatter(residuals: Array, seen: Mask) -> float:
    """Standard deviation of the residuals by their median absolute deviation."""
    chosen = residuals[seen]
    return 1.4826 * float(np.median(np.abs(chosen - np.median(chosen))))


def _spline(orbit: Orbit, seen: Mask, settings: TrendSettings) -> Trend:
    """The spline of greatest likelihood, on the star's mean wave where it turns fast, in units of the noise that
    neighbouring cadences show."""
    level = float(np.median(orbit.flux[seen]))
    noise = flux_noise(orbit)
    noise = noise * _white_noise((orbit.flux - level) / noise, seen, level)
    flux = np.where(seen, orbit.flux - level, 0.0)
    values, spread, stiffness = _stiffest(flux, noise, seen, orbit.cadence, settings)
    if stiffness < settings.wave_below_days:
        wave = _mean_wave(flux, values, seen, orbit.cadence)
        rest = np.where(seen, flux - wave, 0.0)
        values, spread, _ = _stiffest(rest, noise, seen, orbit.cadence, settings)
        values = values + wave
    # what the spline has followed of the noise is missing from the residuals
    left = 1.0 - min(float(np.median(spread[seen] / noise[seen] ** 2)), 0.9)
    scatter = _scatter((flux - values) / flux_noise(orbit), seen) / math.sqrt(left)
    return Trend(values + level, np.sqrt(spread), scatter)


def _stiffest(
    flux: Array, noise: Array, seen: Mask, cadence: float, settings: TrendSettings
) -> tuple[Array, Array, float]:
    """The most likely spline, without outliers: its values, their variance, and its stiffness [d]."""
    variance = np.where(seen, noise**2, np.inf)
    shortest = max(settings.stiffness_days[0], MIN_CADENCES * cadence)
    tried = np.geomspace(shortest, max(settings.stiffness_days[1], shortest), TRIED)
    densities = float(np.median(noise[seen])) ** 2 * (2.0 * math.pi * cadence / tried) ** 4
    best = int(np.argmax([_log_likelihood(flux, variance, density) for density in densities]))
    weighted = variance
    for _ in range(PASSES):
        values, spread = _smooth(flux, weighted, densities[best])
        off = np.abs(flux - values) / (BIWEIGHT * noise)
        with np.errstate(divide="ignore"):
            weighted = variance / np.where(off < 1.0, (1.0 - np.minimum(off, 1.0) ** 2) ** 2, 0.0)
        if not np.isfinite(weighted).sum() > 2:
            weighted = variance
    return values, spread, float(tried[best])


def _mean_wave(flux: Array, smooth: Array, seen: Mask, cadence: float) -> Array:
    """What repeats from turn to turn: harmonics of the frequency that leaves the least, shape (m,).

    The strongest frequency of the smooth light may be twice the star's, so that its half is tried too.
    """
    m = len(flux)
    step = max(round(WAVE_BIN / cadence), 1)
    power = np.abs(np.fft.rfft((smooth - smooth.mean()) * np.hanning(m))) ** 2
    peak = max(int(np.argmax(power[1:])) + 1, 2)
    time = cadence * np.arange(float(m))
    chosen = np.flatnonzero(seen)[::step]
    target = smooth[chosen]

    def left(frequency: float) -> float:
        waves = _harmonics(time[chosen], frequency)
        return float(np.sum((target - waves @ _least_squares(waves, target)) ** 2))

    width = 1.0 / (m * cadence)
    turns = [_refine(left, share * peak * width, width) for share in (1.0, 0.5)]
    waves = _harmonics(time, min(turns, key=left))
    parts = _least_squares(waves[seen], flux[seen])
    return (waves @ parts) - parts[0]


def _refine(left: Callable[[float], float], frequency: float, width: float) -> float:
    """Where the least is left within a `width` on either side: on a grid, then between its points."""
    near = frequency + width * np.linspace(-1.0, 1.0, 17)
    best = float(near[np.argmin([left(value) for value in near])])
    step = width / 8.0
    return float(minimize_scalar(left, bounds=(best - step, best + step), method="bounded", options={"maxiter": 12}).x)


def _least_squares(table: Array, target: Array) -> Array:
    """By the normal equations, which harmonics over several turns leave well conditioned."""
    return np.asarray(np.linalg.lstsq(table.T @ table, table.T @ target, rcond=None)[0], dtype=np.float64)


def _harmonics(time: Array, frequency: float) -> Array:
    """A constant, and sine and cosine of the frequency's first multiples, shape (m, 1 + 2 HARMONICS)."""
    phase = 2.0 * math.pi * frequency * np.outer(time, np.arange(1, HARMONICS + 1))
    return np.hstack([np.ones((len(time), 1)), np.sin(phase), np.cos(phase)])


def _white_noise(scaled: Array, seen: Mask, level: float) -> float:
    """Standard deviation of the noise between neighbouring cadences, from third differences, which a star's light
    does not reach; of all cadences where those are too few, and never nothing."""
    together = seen[3:] & seen[2:-1] & seen[1:-2] & seen[:-3]
    thirds = scaled[3:] - 3.0 * scaled[2:-1] + 3.0 * scaled[1:-2] - scaled[:-3]
    width = 1.4826 * float(np.median(np.abs(thirds[together]))) / math.sqrt(20.0) if together.sum() >= 8 else 0.0
    return width or _scatter(scaled, seen) or 1e-6 * abs(level) or 1.0


@njit(cache=True)
def _log_likelihood(flux: Array, variance: Array, density: float) -> float:
    """Logarithm of the likelihood but for a constant, in which no cadence counts more than one three sigma off; the
    first two that are seen only tell where the light starts."""
    level, slope = 0.0, 0.0
    p00, p01, p11 = UNKNOWN[0] * variance.min(), 0.0, UNKNOWN[1] * variance.min()
    total, count = 0.0, 0
    for i in range(len(flux)):
        if i > 0:
            level += slope
            p00 += 2.0 * p01 + p11 + density / 3.0
            p01 += p11 + density / 2.0
            p11 += density
        if variance[i] == math.inf:
            continue
        expected = p00 + variance[i]
        surprise = flux[i] - level
        if count >= 2:
            total -= 0.5 * (math.log(expected) + min(surprise * surprise / expected, 9.0))
        count += 1
        gain0, gain1 = p00 / expected, p01 / expected
        level += gain0 * surprise
        slope += gain1 * surprise
        p11 -= gain1 * p01
        p01 -= gain0 * p01
        p00 -= gain0 * p00
    return total


@njit(cache=True)
def _smooth(flux: Array, variance: Array, density: float) -> tuple[Array, Array]:
    """The spline and its variance at each cadence (Rauch, Tung & Striebel 1965); an infinite variance is not seen.

    The state is level and slope per cadence; a filter forward, then the smoother back, and on from the first cadence
    that is seen to those before it, of which the filter knows nothing.
    """
    m = len(flux)
    begin = np.argmax(variance < math.inf)
    state, cover = np.empty((m, 2)), np.empty((m, 3))
    level, slope = 0.0, 0.0
    p00, p01, p11 = UNKNOWN[0] * variance.min(), 0.0, UNKNOWN[1] * variance.min()
    for i in range(begin, m):
        if i > begin:
            level += slope
            p00 += 2.0 * p01 + p11 + density / 3.0
            p01 += p11 + density / 2.0
            p11 += density
        if variance[i] != math.inf:
            gain0, gain1 = p00 / (p00 + variance[i]), p01 / (p00 + variance[i])
            surprise = flux[i] - level
            level += gain0 * surprise
            slope += gain1 * surprise
            p11 -= gain1 * p01
            p01 -= gain0 * p01
            p00 -= gain0 * p00
        state[i, 0], state[i, 1] = level, slope
        cover[i, 0], cover[i, 1], cover[i, 2] = p00, p01, p11
    for i in range(m - 2, begin - 1, -1):
        f00, f01, f11 = cover[i, 0], cover[i, 1], cover[i, 2]
        n01, n11 = f01 + f11 + density / 2.0, f11 + density
        n00 = f00 + 2.0 * f01 + f11 + density / 3.0
        det = n00 * n11 - n01 * n01
        # gain = filtered F' predicted^-1, F = [[1, 1], [0, 1]]
        g00 = ((f00 + f01) * n11 - f01 * n01) / det
        g01 = (f01 * n00 - (f00 + f01) * n01) / det
        g10 = ((f01 + f11) * n11 - f11 * n01) / det
        g11 = (f11 * n00 - (f01 + f11) * n01) / det
        d0 = state[i + 1, 0] - state[i, 0] - state[i, 1]
        d1 = state[i + 1, 1] - state[i, 1]
        state[i, 0] += g00 * d0 + g01 * d1
        state[i, 1] += g10 * d0 + g11 * d1
        c00, c01, c11 = cover[i + 1, 0] - n00, cover[i + 1, 1] - n01, cover[i + 1, 2] - n11
        cover[i, 0] += g00 * g00 * c00 + 2.0 * g00 * g01 * c01 + g01 * g01 * c11
        cover[i, 1] += g00 * g10 * c00 + (g00 * g11 + g01 * g10) * c01 + g01 * g11 * c11
        cover[i, 2] += g10 * g10 * c00 + 2.0 * g10 * g11 * c01 + g11 * g11 * c11
    for i in range(begin - 1, -1, -1):
        n00, n01, n11 = cover[i + 1, 0] + density / 3.0, cover[i + 1, 1] + density / 2.0, cover[i + 1, 2] + density
        state[i, 0], state[i, 1] = state[i + 1, 0] - state[i + 1, 1], state[i + 1, 1]
        cover[i, 0], cover[i, 1], cover[i, 2] = n00 - 2.0 * n01 + n11, n01 - n11, n11
    return state[:, 0].copy(), np.maximum(cover[:, 0], 0.0)
