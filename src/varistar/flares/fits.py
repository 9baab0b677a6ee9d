"""The shape of an event: how many flares it is made of, when each peaks, how high and how wide it is.

Ours is the continuous template of `physics.flares`, averaged over each exposure. A flare of area a = amplitude * FWHM
adds to the exposure from b to e, in units of its FWHM w after its peak,

    F = a (C(b) - C(e)) / exposure,    C(x) = integral of the template after x,
    dF/dt = a (f(b) - f(e)) / w,    dF/dln w = a (b f(b) - e f(e)),    dF/da = F / a    (exposure = 1),

with f the template. Area, peak time and log width are fitted, since of an unresolved flare only the area is well known.
The light beneath may be off by a constant, within the trend's error. Flares are added one by one, each where the
residuals match the template best, as long as the Bayesian information criterion falls.

The paper's shape is a Gaussian rise with an exponential decay (section 3.4), sampled and not averaged, with its peak at
the highest cadence; its code's bounds (AMB-58) are a preset.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import least_squares

from varistar.foundation.settings import Settings
from varistar.physics import flares as physics
from varistar.physics.flares import DAY_SECONDS, DECAYS, GAUSS_CENTRE, GAUSS_WIDTH, SHAPE_AREA, SLOW_SHARE

from .orbits import Array

#: The released code's bounds: amplitude about its start, rise and fall [d], and where they start for flares below and
#: above 1.5. Below, the rise often stays there: it is far shorter than a cadence, where chi^2 does not depend on it.
RELEASED_AMPLITUDE = 0.1
RELEASED_RISE, RELEASED_FALL = (1e-4, 1e-2), (5e-4, 1e-2)
RELEASED_START, RELEASED_START_LARGE = (1e-4, 1e-3), (3e-3, 8e-3)
#: Half the height of a Gaussian is so many of its sigma from the middle, that of an exponential so many e-foldings.
GAUSS_HALF, DECAY_HALF = math.sqrt(2.0 * math.log(2.0)), math.log(2.0)
#: The template's range, in its widths, when flares are looked for.
SEARCHED = (-1.5, 8.0)
#: A fit rests when a step promises less than this fall of chi^2, and is given up after so many steps.
SMALL_FALL, MOST_STEPS = 1e-4, 60
_GAUSS_AREA = 0.5 * GAUSS_WIDTH * math.sqrt(math.pi)


class FitSettings(Settings):
    """How an event is fitted.

    Attributes
    ----------
    shape : "template", or the paper's "gauss_exponential".
    bounds : of the paper's shape: "span", the length of the data, or those of its "released" code.
    most_flares : in one event, of the template.
    least_gain : by which the information criterion must fall for one flare more; 10 is called very strong evidence.
    narrowest : smallest FWHM, in exposures.
    """

    shape: Literal["template", "gauss_exponential"] = "template"
    bounds: Literal["span", "released"] = "span"
    most_flares: int = Field(default=5, ge=1)
    least_gain: float = Field(default=10.0, ge=0.0)
    narrowest: float = Field(default=0.1, gt=0.0)


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
) -> FlareFit | None:
    """Fit an event, None where fewer than five cadences are seen or nothing rises.

    Parameters
    ----------
    time, flux, flux_err : shape (m,), evenly spaced [d], the flux above the light beneath, NaN where missing.
    exposure : length of each cadence [d].
    event : first and last time at which a flare may peak [d].
    offset_err : standard deviation by which the light beneath may be off; 0 for known.
    """
    seen = np.isfinite(flux) & np.isfinite(flux_err) & (flux_err > 0.0)
    within = seen & (time >= event[0] - 0.5 * exposure) & (time <= event[1] + 0.5 * exposure)
    if seen.sum() < 5 or not np.any(flux[within] > 0.0):
        return None
    if settings.shape == "gauss_exponential":
        return _fit_gauss_exponential(time[seen], flux[seen], flux_err[seen], within[seen], settings)
    weight = np.where(seen, 1.0 / np.where(seen, flux_err, 1.0), 0.0)
    values = np.where(seen, flux, 0.0)
    steps = (time - time[0]) / exposure
    low = np.array([(event[0] - time[0]) / exposure - 0.5, 0.0, math.log(settings.narrowest)])
    high = np.array([(event[1] - time[0]) / exposure + 0.5, np.inf, math.log(max(steps[-1], 1.0))])
    precision = offset_err**-2 if offset_err > 0.0 else math.inf
    best = _add_flare(np.zeros(1), values, weight, steps, low, high, precision, int(seen.sum()))
    while best is not None and best.flares < settings.most_flares:
        more = _add_flare(best.values, values, weight, steps, low, high, precision, best.n)
        if more is None or more.bic > best.bic - settings.least_gain:
            break
        best = more
    return None if best is None else _in_days(best, low, high, float(time[0]), exposure)


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
    start: Array, flux: Array, weight: Array, steps: Array, low: Array, high: Array, precision: float, n: int
) -> _Solution | None:
    """The best fit with one flare more than in `start`; None if nothing is left that rises."""
    residual = flux - _model(start, steps)[:, 0]
    widths = np.exp(np.arange(max(low[2], math.log(0.3)), max(high[2] - 1.0, low[2] + 0.1), math.log(1.7)))
    peak, area, width = _best_match(residual, weight, steps, widths, low[0], high[0])
    if not area > 0.0:
        return None
    flares = start.size // 3 + 1
    values, curvature, free, chi2, converged = _descend(
        np.concatenate([start, [peak, area, math.log(width)]]),
        np.concatenate([[-np.inf], np.tile(low, flares)]),
        np.concatenate([[np.inf], np.tile(high, flares)]),
        flux,
        weight,
        steps,
        precision,
    )
    return _Solution(values, curvature, free, chi2, n, converged)


def _in_days(found: _Solution, low: Array, high: Array, start: float, exposure: float) -> FlareFit:
    """The fit in physical units, with errors from the curvature."""
    k = found.flares
    flares = found.values[1:].reshape(k, 3)
    order = np.argsort(flares[:, 0], kind="stable")
    covariance = np.full((len(found.values), len(found.values)), np.nan)
    covariance[np.ix_(found.free, found.free)] = np.linalg.pinv(
        found.curvature[np.ix_(found.free, found.free)], hermitian=True
    )
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


@njit(cache=True)
def _shape_and_rest(x: float) -> tuple[float, float]:
    """The template at x, and its integral from there on."""
    s = physics.PUBLISHED_PEAK_AT + physics.PUBLISHED_FWHM * x
    gauss = _GAUSS_AREA * math.erfc((s - GAUSS_CENTRE) / GAUSS_WIDTH)
    slow = SLOW_SHARE * physics.decay_after_gauss(s, DECAYS[0])
    fast = (1.0 - SLOW_SHARE) * physics.decay_after_gauss(s, DECAYS[1])
    rest = (SLOW_SHARE * gauss + slow) / DECAYS[0] + ((1.0 - SLOW_SHARE) * gauss + fast) / DECAYS[1]
    return physics.HEIGHT * (slow + fast), physics.HEIGHT * rest / physics.PUBLISHED_FWHM


@njit(cache=True)
def _model(values: Array, steps: Array) -> Array:
    """Flux in the first column, its derivatives by the parameters in the others, shape (m, 1 + parameters).

    Exposures are one long. Those that touch share an edge, at which the template is taken once.
    """
    m = len(steps)
    table = np.zeros((m, 1 + len(values)))
    table[:, 0] = values[0]
    table[:, 1] = 1.0
    for j in range(1, len(values), 3):
        peak, area, width = values[j], values[j + 1], math.exp(values[j + 2])
        edge, shape, rest = -math.inf, 0.0, SHAPE_AREA
        for i in range(m):
            begin, end = (steps[i] - 0.5 - peak) / width, (steps[i] + 0.5 - peak) / width
            if abs(begin - edge) * width > 1e-3:
                shape, rest = _shape_and_rest(begin)
            shape_after, rest_after = _shape_and_rest(end)
            table[i, 0] += area * (rest - rest_after)
            table[i, j + 1] = area * (shape - shape_after) / width
            table[i, j + 2] = rest - rest_after
            table[i, j + 3] = area * (begin * shape - end * shape_after)
            edge, shape, rest = end, shape_after, rest_after
    return table


@njit(cache=True)
def _best_match(
    residual: Array, weight: Array, steps: Array, widths: Array, low: float, high: float
) -> tuple[float, float, float]:
    """Peak, area and width of the flare, centred on a cadence, that takes most from chi^2; area 0 where none does."""
    best, peak, area, chosen = 0.0, 0.0, 0.0, 1.0
    m = len(steps)
    first = max(math.ceil(low), 0)
    last = min(math.floor(high), m - 1)
    for width in widths:
        before, after = math.ceil(-SEARCHED[0] * width), math.ceil(SEARCHED[1] * width)
        shape = np.empty(before + after + 1)
        rest = _shape_and_rest((-before - 0.5) / width)[1]
        for j in range(len(shape)):
            rest_after = _shape_and_rest((j - before + 0.5) / width)[1]
            shape[j] = rest - rest_after
            rest = rest_after
        for i in range(first, last + 1):
            match, norm = 0.0, 0.0
            for j in range(max(i - before, 0), min(i + after, m - 1) + 1):
                unit = weight[j] * shape[j - i + before]
                match += unit * weight[j] * residual[j]
                norm += unit * unit
            if match > 0.0 and match * match > best * norm:
                best, peak, area, chosen = match * match / norm, steps[i], match / norm, width
    return peak, area, chosen


@njit(cache=True)
def _descend(
    values: Array, low: Array, high: Array, flux: Array, weight: Array, steps: Array, precision: float
) -> tuple[Array, Array, NDArray[np.bool_], float, bool]:
    """Least squares within bounds: Levenberg & Marquardt with Nielsen's damping, a parameter held at a bound as long as
    chi^2 falls beyond it. Returns the parameters, the curvature of half chi^2, which are free, chi^2, and whether it
    came to rest."""
    values = np.minimum(np.maximum(values, low), high)
    known = precision == math.inf
    prior = 0.0 if known else precision
    damping, raised, rested = 1e-3, 2.0, False
    chi2, curvature, slope = _expand(values, flux, weight, steps, prior)
    free = np.ones(len(values), np.bool_)
    for _ in range(MOST_STEPS):
        free = ~(((values <= low) & (slope < 0.0)) | ((values >= high) & (slope > 0.0)))
        free[0] = not known
        chosen = np.flatnonzero(free)
        part = curvature[chosen][:, chosen]
        damped = part + np.diag(damping * np.diag(part) + 1e-12)
        step = np.linalg.solve(damped, slope[chosen])
        promised = 2.0 * slope[chosen] @ step - step @ part @ step
        if promised < SMALL_FALL:
            rested = True
            break
        tried = values.copy()
        tried[chosen] += step
        tried = np.minimum(np.maximum(tried, low), high)
        tried_chi2, tried_curvature, tried_slope = _expand(tried, flux, weight, steps, prior)
        if tried_chi2 < chi2:
            ratio = (chi2 - tried_chi2) / promised
            damping *= max(1.0 / 3.0, 1.0 - float(2.0 * ratio - 1.0) ** 3)
            raised = 2.0
            values, chi2, curvature, slope = tried, tried_chi2, tried_curvature, tried_slope
        else:
            damping *= raised
            raised *= 2.0
    return values, curvature, free, chi2, rested


@njit(cache=True)
def _expand(values: Array, flux: Array, weight: Array, steps: Array, prior: float) -> tuple[float, Array, Array]:
    """chi^2, and of its half the curvature (Gauss & Newton) and the downward slope."""
    table = _model(values, steps)
    residual = weight * (flux - table[:, 0])
    slopes = table[:, 1:] * weight.reshape(-1, 1)
    curvature = slopes.T @ slopes
    slope = slopes.T @ residual
    curvature[0, 0] += prior
    slope[0] -= prior * values[0]
    return residual @ residual + prior * values[0] ** 2, curvature, slope
