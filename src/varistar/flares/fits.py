"""The shape of an event: how many flares it is made of, when each peaks, how high and how wide it is.

Ours is the continuous template of `physics.flares`, averaged over each exposure. A flare of area a = amplitude * FWHM
adds to the exposure from b to e, in units of its FWHM w after its peak,

    F = a (C(b) - C(e)) / exposure,    C(x) = integral of the template after x,
    dF/dt = a (f(b) - f(e)) / w,    dF/dln w = a (b f(b) - e f(e)),    dF/da = F / a    (exposure = 1),

with f the template. Area, peak time and log width are fitted, since of an unresolved flare only the area is well known.
The light beneath may be off by a constant, within the trend's error. Flares are added one by one, each where the
residuals match the template best, as long as the Bayesian information criterion falls.

A faint flare's width is what the noise makes of it, and its area goes with the width. So the log width is drawn weakly
towards what flares of the area have (`WIDTH_LAW`, of four published samples; ours). Noise that neighbouring cadences
share makes errors larger, and so does light beneath that bends differently from what was drawn: with S the slopes over
the noise, R the noise's correlation, P the curvature that is known beforehand and B the covariance of the light beneath
over the noise, the parameters' covariance is C (S' R S + P + S' B S) C, C the inverse of S' S + P.

The paper's shape is a Gaussian rise with an exponential decay (section 3.4), sampled and not averaged, with its peak at
the highest cadence; its code's bounds (AMB-58) are a preset.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import least_squares

from varistar.foundation.settings import Settings
from varistar.physics import flares as physics
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA, WIDTH_LAW

from .descent import best_match, descend, model
from .orbits import Array

#: The released code's bounds: amplitude about its start, rise and fall [d], and where they start for flares below and
#: above 1.5. Below, the rise often stays there: it is far shorter than a cadence, where chi^2 does not depend on it.
RELEASED_AMPLITUDE = 0.1
RELEASED_RISE, RELEASED_FALL = (1e-4, 1e-2), (5e-4, 1e-2)
RELEASED_START, RELEASED_START_LARGE = (1e-4, 1e-3), (3e-3, 8e-3)
#: Half the height of a Gaussian is so many of its sigma from the middle, that of an exponential so many e-foldings.
GAUSS_HALF, DECAY_HALF = math.sqrt(2.0 * math.log(2.0)), math.log(2.0)
#: The light beneath bends within so many lengths of an event (standard deviation).
BENDS = 1.0
#: Rows of a correlation matrix that are in memory at once.
BLOCK = 2048
#: Exposures by which a flare may be wider than the settings' share of its event.
WIDER = 10.0


class FitSettings(Settings):
    """How an event is fitted.

    Attributes
    ----------
    shape : "template", or the paper's "gauss_exponential".
    bounds : of the paper's shape: "span", the length of the data, or those of its "released" code.
    most_flares : in one event, of the template.
    least_gain : by which the information criterion must fall for one flare more; 10 is called very strong evidence.
    narrowest : smallest FWHM, in exposures.
    widest : largest FWHM, in lengths of the event and ten exposures more; what lasts longer than what was found is the
        star's own light. Of the template.
    width_scatter : standard deviation of the widths about those of `WIDTH_LAW` [dex], of the template; null leaves
        them free.
    """

    shape: Literal["template", "gauss_exponential"] = "template"
    bounds: Literal["span", "released"] = "span"
    most_flares: int = Field(default=5, ge=1)
    least_gain: float = Field(default=10.0, ge=0.0)
    narrowest: float = Field(default=0.1, gt=0.0)
    widest: float = Field(default=4.0, gt=0.0)
    width_scatter: float | None = Field(default=0.3, gt=0.0)


@dataclass(frozen=True)
class FlareFit:
    """An event as `k` flares; errors are one standard deviation, NaN where a bound stops the parameter.

    Attributes
    ----------
    tpeak, amplitude, fwhm : float64 (k,), in order of time [d], [flux of the star], [d]
    tpeak_err, amplitude_err, fwhm_err : float64 (k,); the paper's shape has no error of its peak
    rise, fall : float64 (k,), sigma and e-folding time of the paper's shape [d]; NaN for the template
    equivalent_duration, equivalent_duration_err : of all flares together [s]
    chi2 : of the fit to `n` cadences
    bounded : whether a width or a height is at a bound
    converged : whether the fit came to rest
    """

    shape: str
    tpeak: Array
    amplitude: Array
    fwhm: Array
    tpeak_err: Array
    amplitude_err: Array
    fwhm_err: Array
    rise: Array
    fall: Array
    equivalent_duration: float
    equivalent_duration_err: float
    chi2: float
    n: int
    bounded: bool
    converged: bool

    @property
    def bic(self) -> float:
        """The Bayesian information criterion, three parameters a flare."""
        return self.chi2 + 3 * len(self.tpeak) * math.log(self.n)

    @property
    def chi2_reduced(self) -> float:
        """chi^2 per degree of freedom."""
        return self.chi2 / max(self.n - 3 * len(self.tpeak), 1)

    def flux(self, time: Array, exposure: float) -> Array:
        """What the flares add at the middles of exposures, shape (m,)."""
        if self.shape == "template":
            flares = physics.Flares(self.tpeak, self.amplitude, self.fwhm, np.zeros(len(self.tpeak), np.int64))
            return physics.flare_flux(flares, time, exposure)
        return _gauss_exponential(time - self.tpeak[0], float(self.amplitude[0]), self.rise[0], self.fall[0])


def fit_event(
    time: Array,
    flux: Array,
    flux_err: Array,
    exposure: float,
    event: tuple[float, float],
    settings: FitSettings,
    offset_err: float = 0.0,
    correlation: Array | None = None,
    beneath_err: Array | None = None,
) -> FlareFit | None:
    """Fit an event, None where fewer than three cadences (five without a law of widths) are seen or nothing rises.

    Parameters
    ----------
    time, flux, flux_err : shape (m,), evenly spaced [d], the flux above the light beneath, NaN where missing.
    exposure : length of each cadence [d].
    event : first and last time at which a flare may peak [d].
    offset_err : standard deviation by which the light beneath may be off; 0 for known.
    correlation : shape (lags,), of the noise of cadences 1, 2, ... apart; None for white noise. For errors only.
    beneath_err : shape (m,), standard deviation of the light beneath, of which `offset_err` is what is alike all along
        the event. For errors only; None for known.
    """
    seen = np.isfinite(flux) & np.isfinite(flux_err) & (flux_err > 0.0)
    within = seen & (time >= event[0] - 0.5 * exposure) & (time <= event[1] + 0.5 * exposure)
    fewest = 3 if settings.shape == "template" and settings.width_scatter is not None else 5
    if seen.sum() < fewest or not np.any(flux[within] > 0.0):
        return None
    if settings.shape == "gauss_exponential":
        return _fit_gauss_exponential(time[seen], flux[seen], flux_err[seen], within[seen], settings)
    weight = np.where(seen, 1.0 / np.where(seen, flux_err, 1.0), 0.0)
    values = np.where(seen, flux, 0.0)
    steps = (time - time[0]) / exposure
    low = np.array([(event[0] - time[0]) / exposure - 0.5, 0.0, math.log(settings.narrowest)])
    widest = settings.widest * ((event[1] - event[0]) / exposure + 1.0) + WIDER
    high = np.array([(event[1] - time[0]) / exposure + 0.5, np.inf, math.log(max(min(steps[-1], widest), 1.0))])
    known = _known_before(offset_err, settings.width_scatter, exposure, float(weight.max()))
    best = _add_flare(np.zeros(1), values, weight, steps, low, high, known, int(seen.sum()))
    while best is not None and best.flares < settings.most_flares:
        more = _add_flare(best.values, values, weight, steps, low, high, known, best.n)
        if more is None or more.bic > best.bic - settings.least_gain:
            break
        best = more
    if best is None:
        return None
    shared = np.zeros(0) if correlation is None else correlation
    bends = np.zeros(len(time)) if beneath_err is None else beneath_err
    covariance = _covariance(best, weight, steps, shared, bends, (event[1] - event[0]) / exposure + 1.0)
    return _in_days(best, covariance, low, high, float(time[0]), exposure)


def _known_before(offset_err: float, width_scatter: float | None, exposure: float, weight: float) -> Array:
    """What is known before the fit, in units of the exposure: precision of the offset; of the log width; and its
    expected value, a constant, a slope with the log area, and the area below which that is not followed."""
    zero, slope, _ = WIDTH_LAW
    tenfold = math.log(10.0)
    seconds = exposure * DAY_SECONDS
    expected = tenfold * zero + slope * math.log(SHAPE_AREA * seconds) - math.log(seconds / 60.0)
    return np.array(
        [
            offset_err**-2 if offset_err > 0.0 else math.inf,
            0.0 if width_scatter is None else (tenfold * width_scatter) ** -2,
            expected,
            slope,
            0.1 / weight,
        ]
    )


@dataclass(frozen=True)
class _Solution:
    """Parameters (offset, then peak, area and log width of each flare) in units of the exposure, with the curvature of
    half chi^2 where they are free."""

    values: Array
    curvature: Array
    free: NDArray[np.bool_]
    chi2: float
    n: int
    converged: bool

    @property
    def flares(self) -> int:
        return len(self.values) // 3

    @property
    def bic(self) -> float:
        return self.chi2 + 3 * self.flares * math.log(self.n)


def _add_flare(
    start: Array, flux: Array, weight: Array, steps: Array, low: Array, high: Array, known: Array, n: int
) -> _Solution | None:
    """The best fit with one flare more than in `start`; None if nothing is left that rises."""
    residual = flux - model(start, steps)[:, 0]
    widths = np.exp(np.arange(max(low[2], math.log(0.3)), max(high[2] - 1.0, low[2] + 0.1), math.log(1.7)))
    peak, area, width = best_match(residual, weight, steps, widths, low[0], high[0])
    if not area > 0.0:
        return None
    flares = start.size // 3 + 1
    values, curvature, free, chi2, converged = descend(
        np.concatenate([start, [peak, area, math.log(width)]]),
        np.concatenate([[-np.inf], np.tile(low, flares)]),
        np.concatenate([[np.inf], np.tile(high, flares)]),
        flux,
        weight,
        steps,
        known,
    )
    return _Solution(values, curvature, free, chi2, n, converged)


def _covariance(
    found: _Solution, weight: Array, steps: Array, correlation: Array, beneath_err: Array, length: float
) -> Array:
    """Of the parameters, NaN where they are not free: of noise that is correlated, and of light beneath that is off by
    much the same over the `length` of the event and differently beyond. Where the fit is worse than noise makes it, the
    noise counts as larger, by the root of chi^2 per degree of freedom."""
    covariance = np.full((len(found.values), len(found.values)), np.nan)
    free = np.ix_(found.free, found.free)
    inverse = np.linalg.pinv(found.curvature[free], hermitian=True)
    slopes = (model(found.values, steps)[:, 1:] * weight[:, None])[:, found.free]
    more = np.zeros_like(inverse)
    for lag, share in enumerate(correlation[: len(steps) - 1], start=1):
        both = slopes[lag:].T @ slopes[:-lag]
        more += share * (both + both.T)
    slopes *= (beneath_err * weight)[:, None]
    beneath = np.zeros_like(inverse)
    for first in range(0, len(steps), BLOCK):
        block = slice(first, first + BLOCK)
        together = np.exp(-0.5 * ((steps[block, None] - steps) / (BENDS * length)) ** 2)
        beneath += slopes[block].T @ together @ slopes
    worse = max(found.chi2 / max(found.n - 3 * found.flares, 1), 1.0)
    covariance[free] = worse * (inverse + inverse @ more @ inverse) + inverse @ beneath @ inverse
    return covariance


def _in_days(found: _Solution, covariance: Array, low: Array, high: Array, start: float, exposure: float) -> FlareFit:
    """The fit in physical units, with errors."""
    k = found.flares
    flares = found.values[1:].reshape(k, 3)
    order = np.argsort(flares[:, 0], kind="stable")
    place = 1 + 3 * np.arange(k)
    peak_var, area_var, width_var = (np.diag(covariance)[place + i] for i in range(3))
    both = np.nan_to_num(covariance[place + 1, place + 2])
    peak, area, log_width = flares.T
    width = np.exp(log_width)  # at its bound taken as known
    amplitude_var = (area_var - 2.0 * area * both + area**2 * np.nan_to_num(width_var)) / width**2
    areas = np.nan_to_num(covariance[np.ix_(place + 1, place + 1)])
    seconds = SHAPE_AREA * exposure * DAY_SECONDS
    return FlareFit(
        shape="template",
        tpeak=start + exposure * peak[order],
        amplitude=(area / width)[order],
        fwhm=exposure * width[order],
        tpeak_err=exposure * np.sqrt(peak_var)[order],
        amplitude_err=np.sqrt(np.maximum(amplitude_var, 0.0))[order],
        fwhm_err=exposure * (width * np.sqrt(width_var))[order],
        rise=np.full(k, np.nan),
        fall=np.full(k, np.nan),
        equivalent_duration=seconds * float(area.sum()),
        equivalent_duration_err=seconds * math.sqrt(max(float(areas.sum()), 0.0)),
        chi2=found.chi2,
        n=found.n,
        bounded=bool(np.any((log_width <= low[2]) | (log_width >= high[2]))),
        converged=found.converged,
    )


def _fit_gauss_exponential(
    time: Array, flux: Array, flux_err: Array, within: NDArray[np.bool_], settings: FitSettings
) -> FlareFit:
    """The paper's shape, with its peak at the highest cadence of the event."""
    top = int(np.flatnonzero(within)[np.argmax(flux[within])])
    height, since = float(flux[top]), time - time[top]
    if settings.bounds == "released":
        low = np.array([height - RELEASED_AMPLITUDE, RELEASED_RISE[0], RELEASED_FALL[0]])
        high = np.array([height + RELEASED_AMPLITUDE, RELEASED_RISE[1], RELEASED_FALL[1]])
        start = np.array([height, *(RELEASED_START_LARGE if height > 0.5 else RELEASED_START)])
    else:
        span, step = time[-1] - time[0], float(np.median(np.diff(time)))
        low, high = np.array([0.0, 0.05 * step, 0.05 * step]), np.array([10.0 * height, span, span])
        faint = np.abs(since[flux < 0.5 * height])
        half = float(faint.min(initial=span))
        start = np.array([height, half / GAUSS_HALF, half / DECAY_HALF])
    start = np.clip(start, low + 1e-6 * (high - low), high - 1e-6 * (high - low))

    def misfit(values: Array) -> Array:
        return (_gauss_exponential(since, *values) - flux) / flux_err

    found = least_squares(misfit, start, bounds=(low, high), x_scale=np.maximum(start, 1e-9))
    amplitude, rise, fall = found.x
    free = (found.x > low * (1.0 + 1e-3)) & (found.x < high * (1.0 - 1e-3))
    covariance = np.zeros((3, 3))
    covariance[np.ix_(free, free)] = np.linalg.pinv(found.jac[:, free].T @ found.jac[:, free], hermitian=True)
    width = np.array([0.0, GAUSS_HALF, DECAY_HALF])
    area = np.array([rise * math.sqrt(0.5 * math.pi) + fall, amplitude * math.sqrt(0.5 * math.pi), amplitude])
    return FlareFit(
        shape="gauss_exponential",
        tpeak=time[[top]],
        amplitude=found.x[:1],
        fwhm=np.array([width @ found.x]),
        tpeak_err=np.full(1, np.nan),
        amplitude_err=np.where(free[:1], np.sqrt(covariance[:1, 0]), np.nan),
        fwhm_err=np.array([math.sqrt(width @ covariance @ width) if free[1:].all() else np.nan]),
        rise=found.x[1:2],
        fall=found.x[2:],
        equivalent_duration=DAY_SECONDS * float(amplitude * area[0]),
        equivalent_duration_err=DAY_SECONDS * math.sqrt(area @ covariance @ area),
        chi2=2.0 * float(found.cost),
        n=len(time),
        bounded=not bool(free.all()),
        converged=bool(found.success),
    )


def _gauss_exponential(since: Array, amplitude: float, rise: float, fall: float) -> Array:
    """Gaussian before the peak, exponential after it."""
    before = np.exp(-0.5 * (np.minimum(since, 0.0) / rise) ** 2)
    return amplitude * before * np.exp(-np.maximum(since, 0.0) / fall)
