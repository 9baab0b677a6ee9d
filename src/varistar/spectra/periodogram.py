"""The Lomb-Scargle periodogram of a whole light curve: the baseline that every period network must beat.

A constant and a sinusoid with `n_terms` - 1 overtones are fitted to the points by weighted least squares at each
frequency (Zechmeister and Kuerster 2009; VanderPlas 2018, section 6.2). The power is the fraction of the weighted sum
of squares about the mean that they explain, from 0 to 1, as in `astropy.timeseries.LombScargle(..., nterms=n_terms)`.

With w the weights, of sum 1, and z = exp(2 pi i f t), non-uniform FFTs give Z_k = sum w z^k for k up to 2 n_terms and
Y_k = sum w y z^k for k up to n_terms at all frequencies at once. The products of the harmonics' cosines and sines are
sums of two Z, so that these fill the normal matrix of each frequency: for one term, with weighted (co)variances,

    power = (SS CY^2 + CC SY^2 - 2 CS CY SY) / (CC SS - CS^2) / YY.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError

from .fourier import FourierSums
from .points import Points, read_offsets, read_points

#: Where the variance of a cosine or sine that those before it leave over (at most 1/2) is below this, the harmonics and
#: the constant cannot be told apart: the power is set to 0.
SINGULAR = 1e-11


class Peak(NamedTuple):
    """The highest peak of a periodogram: its period [d] and its power from 0 to 1."""

    period: float
    power: float


def lombscargle_peak(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float = 5.0,
    n_terms: int = 1,
) -> Peak:
    """The highest peak of one star's periodogram, refined by a parabola through its three highest powers.

    Parameters
    ----------
    time, flux, flux_err : (n_points,)
        Times in any order and from any origin [d]; flux and its standard deviation in one unit.
    min_period, max_period : float
        The range searched [d].
    oversample : float
        Frequencies per 1/(time span), the natural width of a peak.
    n_terms : int
        Harmonics fitted, the fundamental included: more follow the shape of eclipses and pulsations, and noise.

    Returns
    -------
    Peak
        (NaN, 0) for no more points than the fit has parameters, 2 n_terms + 1, or when all have one time or one flux.

    Raises
    ------
    DataError
        For a point that is not finite, an error that is not positive, or arrays of different lengths.
    ConfigError
        When not 0 < min_period < max_period, oversample is not positive, or n_terms is not at least 1.
    """
    return _peak(*lombscargle_power(time, flux, flux_err, min_period, max_period, oversample, n_terms))


def lombscargle_peak_batch(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    offsets: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float = 5.0,
    n_terms: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The highest peaks of many stars: star `i` owns the points `offsets[i]:offsets[i + 1]` of the flat arrays.

    Returns
    -------
    period, power : float64 (n_stars,)

    Raises
    ------
    DataError, ConfigError
        As `lombscargle_peak`; the message names the star by its index.
    """
    time, flux, flux_err = np.asarray(time), np.asarray(flux), np.asarray(flux_err)
    limits = read_offsets(offsets, len(time))
    sums = FourierSums()
    peaks = np.empty((2, len(limits) - 1))
    for star, (begin, end) in enumerate(pairwise(limits)):
        points = slice(begin, end)
        try:
            columns = time[points], flux[points], flux_err[points]
            peaks[:, star] = _peak(*_periodogram(sums, *columns, min_period, max_period, oversample, n_terms))
        except DataError as error:
            raise DataError(f"light curve {star}: {error}") from None
    return peaks[0], peaks[1]


def lombscargle_power(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float = 5.0,
    n_terms: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The periodogram of one star at evenly spaced frequencies from 1/max_period to at most 1/min_period.

    Parameters, errors and the cases without a periodogram (here empty arrays) are those of `lombscargle_peak`.

    Returns
    -------
    frequency, power : float64 (n_frequencies,)
        In 1/d, ascending; and from 0 to 1.
    """
    return _periodogram(FourierSums(), time, flux, flux_err, min_period, max_period, oversample, n_terms)


def _periodogram(
    sums: FourierSums,
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float,
    n_terms: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`lombscargle_power`, with the plans of other light curves."""
    if not 0.0 < min_period < max_period < math.inf:
        raise ConfigError(f"periods must satisfy 0 < min_period < max_period; got {min_period} and {max_period}")
    if not 0.0 < oversample < math.inf:
        raise ConfigError(f"oversample must be positive and finite; got {oversample}")
    if n_terms < 1:
        raise ConfigError(f"n_terms must be at least 1; got {n_terms}")
    points = read_points(time, flux, flux_err)
    # As many points as parameters are fitted exactly at any frequency.
    if points is None or len(points.time) <= 2 * n_terms + 1 or points.time[0] == points.time[-1]:
        return np.empty(0), np.empty(0)
    step = 1.0 / (oversample * (points.time[-1] - points.time[0]))
    n_frequencies = math.floor((1.0 / min_period - 1.0 / max_period) / step) + 1
    frequency = 1.0 / max_period + step * np.arange(n_frequencies)
    return frequency, _power(sums, points, frequency[n_frequencies // 2], step, n_frequencies, n_terms)


def _power(
    sums: FourierSums, points: Points, middle: float, step: float, n_frequencies: int, n_terms: int
) -> NDArray[np.float64]:
    """The power at `n_frequencies` frequencies `step` apart, of which `middle` is number n_frequencies // 2."""
    # Phases are counted from the middle of the light curve, where they are smallest.
    time = points.time - 0.5 * (points.time[0] + points.time[-1])
    weight = points.weight / points.weight.sum()
    both = np.stack([weight, weight * points.flux]).astype(np.complex128)
    window = np.empty((2 * n_terms, n_frequencies), dtype=np.complex128)
    signal = np.empty((n_terms, n_frequencies), dtype=np.complex128)
    for k in range(1, 2 * n_terms + 1):
        if k <= n_terms:
            window[k - 1], signal[k - 1] = sums(k * time, both, middle, step, n_frequencies)
        else:
            (window[k - 1],) = sums(k * time, both[:1], middle, step, n_frequencies)
    # The scaled flux has zero mean and unit variance: what is explained is a fraction of 1.
    return np.clip(_explained(window, signal), 0.0, 1.0)


@njit(cache=True, error_model="numpy")
def _explained(window: NDArray[np.complex128], signal: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The variance of y that the harmonics explain at each frequency, 0 where they cannot be told apart.

    Parameters
    ----------
    window, signal : (2 n_terms, n_frequencies) and (n_terms, n_frequencies)
        Z_k and Y_k of the module, k from 1, of y with zero mean.
    """
    n_terms, n_frequencies = signal.shape
    explained = np.zeros(n_frequencies)
    normal, right = np.empty((2 * n_terms, 2 * n_terms)), np.empty(2 * n_terms)
    for i in range(n_frequencies):
        for a in range(n_terms):
            right[2 * a], right[2 * a + 1] = signal[a, i].real, signal[a, i].imag
            za = window[a, i]
            for b in range(a + 1):
                zb = window[b, i]
                plus = window[a + b + 1, i]
                minus = window[a - b - 1, i] if a > b else complex(1.0, 0.0)
                normal[2 * a, 2 * b] = 0.5 * (minus.real + plus.real) - za.real * zb.real
                normal[2 * a, 2 * b + 1] = 0.5 * (plus.imag - minus.imag) - za.real * zb.imag
                normal[2 * a + 1, 2 * b] = 0.5 * (plus.imag + minus.imag) - za.imag * zb.real
                normal[2 * a + 1, 2 * b + 1] = 0.5 * (minus.real - plus.real) - za.imag * zb.imag
        explained[i] = _squared_projection(normal, right)
    return explained


@njit(cache=True, error_model="numpy")
def _squared_projection(normal: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """right.(normal^-1 right) by Cholesky's factors, in place of the lower triangle; 0 where a pivot is SINGULAR."""
    total = 0.0
    for a in range(right.size):
        for b in range(a):
            for k in range(b):
                normal[a, b] -= normal[a, k] * normal[b, k]
            normal[a, b] /= normal[b, b]
            normal[a, a] -= normal[a, b] * normal[a, b]
            right[a] -= normal[a, b] * right[b]
        if not normal[a, a] > SINGULAR:
            return 0.0
        normal[a, a] = math.sqrt(normal[a, a])
        right[a] /= normal[a, a]
        total += right[a] * right[a]
    return total


def _peak(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> Peak:
    """The highest peak of a periodogram."""
    if len(power) == 0:
        return Peak(math.nan, 0.0)
    best, height = refined_maximum(frequency, power, int(np.argmax(power)))
    return Peak(1.0 / best, min(height, 1.0))


def refined_maximum(frequency: NDArray[np.float64], power: NDArray[np.float64], index: int) -> tuple[float, float]:
    """Where the parabola through the powers at `index` and its neighbours has its maximum, and how high that is.

    At either end of the evenly spaced frequencies, and where the three do not bend downwards, the value itself.
    """
    if index in (0, len(power) - 1):
        return float(frequency[index]), float(power[index])
    before, top, after = power[index - 1 : index + 2]
    curvature = before - 2.0 * top + after
    shift = 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
    refined = frequency[index] + shift * (frequency[1] - frequency[0])
    return float(refined), float(top - 0.25 * (before - after) * shift)
