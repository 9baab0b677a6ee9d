"""Least squares of flares of the continuous template: their light and its derivatives, where one more of them fits
best, and the descent to the least chi^2. In units of the exposure; `fits` says what is fitted and why.

Numbers known before the fit, `before`, shape (5,): precision of the offset, infinite where it is none; precision of the
log width; and the log width that a flare is expected to have, zero + slope ln(area), as zero, slope and the area below
which that stays as it is.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from varistar.physics import flares as physics
from varistar.physics.flares import DECAYS, GAUSS_CENTRE, GAUSS_WIDTH, SHAPE_AREA, SLOW_SHARE

from .orbits import Array

#: The template's range, in its widths, when flares are looked for.
SEARCHED = (-1.5, 8.0)
#: A fit rests when a step promises less than this fall of chi^2, and is given up after so many steps.
SMALL_FALL, MOST_STEPS = 1e-4, 60
_GAUSS_AREA = 0.5 * GAUSS_WIDTH * math.sqrt(math.pi)


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
def model(values: Array, steps: Array) -> Array:
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
def best_match(
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
def descend(
    values: Array, low: Array, high: Array, flux: Array, weight: Array, steps: Array, before: Array
) -> tuple[Array, Array, NDArray[np.bool_], float, bool]:
    """Least squares within bounds: Levenberg & Marquardt with Nielsen's damping, a parameter held at a bound as long as
    chi^2 falls beyond it. Returns the parameters, the curvature of half chi^2, which are free, chi^2, and whether it
    came to rest."""
    values = np.minimum(np.maximum(values, low), high)
    known = before[0] == math.inf
    prior = before.copy()
    if known:
        prior[0] = 0.0
    damping, raised, rested = 1e-3, 2.0, False
    chi2, curvature, slope = expand(values, flux, weight, steps, prior)
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
        tried_chi2, tried_curvature, tried_slope = expand(tried, flux, weight, steps, prior)
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
def expand(values: Array, flux: Array, weight: Array, steps: Array, prior: Array) -> tuple[float, Array, Array]:
    """chi^2 with what is known before, and of its half the curvature (Gauss & Newton) and the downward slope."""
    table = model(values, steps)
    residual = weight * (flux - table[:, 0])
    slopes = table[:, 1:] * weight.reshape(-1, 1)
    curvature = slopes.T @ slopes
    slope = slopes.T @ residual
    curvature[0, 0] += prior[0]
    slope[0] -= prior[0] * values[0]
    chi2 = residual @ residual + prior[0] * values[0] ** 2
    precision, zero, law, least = prior[1], prior[2], prior[3], prior[4]
    for j in range(1, len(values), 3):
        area, width = j + 1, j + 2
        away = values[width] - zero - law * math.log(max(values[area], least))
        by_area = -law / values[area] if values[area] > least else 0.0
        chi2 += precision * away**2
        slope[width] -= precision * away
        slope[area] -= precision * away * by_area
        curvature[width, width] += precision
        curvature[area, area] += precision * by_area**2
        curvature[area, width] += precision * by_area
        curvature[width, area] += precision * by_area
    return chi2, curvature, slope
