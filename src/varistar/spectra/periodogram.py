"""The Lomb-Scargle periodogram of a whole light curve: the baseline that every period network must beat.

A sinusoid and a constant are fitted to the points by weighted least squares at each frequency (Zechmeister and
Kuerster 2009). The power is the fraction of the weighted sum of squares about the mean that the sinusoid explains, from
0 to 1, as in `astropy.timeseries.LombScargle` with its defaults. With weighted means and the sums that a non-uniform
FFT gives at all frequencies at once, and CC, SS, CS, CY, SY the weighted (co)variances of cosine, sine and flux,

    power = (SS CY^2 + CC SY^2 - 2 CS CY SY) / (CC SS - CS^2) / YY.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import finufft
import numpy as np
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError

from .points import Points, read_offsets, read_points

NUFFT_TOLERANCE = 1e-12
#: A sinusoid and a constant go through three points exactly.
FEWEST_POINTS = 4
#: Below this determinant (at most 1/4) cosine, sine and constant cannot be told apart: the power is set to 0.
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

    Returns
    -------
    Peak
        (NaN, 0) for fewer than four points, or when all have one time or one flux.

    Raises
    ------
    DataError
        For a point that is not finite, an error that is not positive, or arrays of different lengths.
    ConfigError
        When not 0 < min_period < max_period, or oversample is not positive.
    """
    frequency, power = lombscargle_power(time, flux, flux_err, min_period, max_period, oversample)
    if len(power) == 0:
        return Peak(math.nan, 0.0)
    best = int(np.argmax(power))
    if best in (0, len(power) - 1):
        return Peak(float(1.0 / frequency[best]), float(power[best]))
    before, top, after = power[best - 1 : best + 2]
    curvature = before - 2.0 * top + after
    shift = 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
    refined = frequency[best] + shift * (frequency[1] - frequency[0])
    return Peak(float(1.0 / refined), float(min(top - 0.25 * (before - after) * shift, 1.0)))


def lombscargle_peak_batch(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    offsets: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float = 5.0,
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
    peaks = np.empty((2, len(limits) - 1))
    for star, (begin, end) in enumerate(pairwise(limits)):
        points = slice(begin, end)
        try:
            peak = lombscargle_peak(time[points], flux[points], flux_err[points], min_period, max_period, oversample)
        except DataError as error:
            raise DataError(f"light curve {star}: {error}") from None
        peaks[:, star] = peak
    return peaks[0], peaks[1]


def lombscargle_power(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    min_period: float,
    max_period: float,
    oversample: float = 5.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The periodogram of one star at evenly spaced frequencies from 1/max_period to at most 1/min_period.

    Parameters, errors and the cases without a periodogram (here empty arrays) are those of `lombscargle_peak`.

    Returns
    -------
    frequency, power : float64 (n_frequencies,)
        In 1/d, ascending; and from 0 to 1.
    """
    if not 0.0 < min_period < max_period < math.inf:
        raise ConfigError(f"periods must satisfy 0 < min_period < max_period; got {min_period} and {max_period}")
    if not 0.0 < oversample < math.inf:
        raise ConfigError(f"oversample must be positive and finite; got {oversample}")
    points = read_points(time, flux, flux_err)
    if points is None or len(points.time) < FEWEST_POINTS or points.time[0] == points.time[-1]:
        return np.empty(0), np.empty(0)
    step = 1.0 / (oversample * (points.time[-1] - points.time[0]))
    n_frequencies = math.floor((1.0 / min_period - 1.0 / max_period) / step) + 1
    frequency = 1.0 / max_period + step * np.arange(n_frequencies)
    return frequency, _power(points, frequency[n_frequencies // 2], step, n_frequencies)


def _power(points: Points, middle: float, step: float, n_frequencies: int) -> NDArray[np.float64]:
    """The power at `n_frequencies` frequencies `step` apart, of which `middle` is number n_frequencies // 2."""
    # Phases are counted from the middle of the light curve, where they are smallest.
    time = points.time - 0.5 * (points.time[0] + points.time[-1])
    weight = points.weight / points.weight.sum()
    both = np.stack([weight, weight * points.flux]).astype(np.complex128)
    first, first_flux = _fourier_sums(time, both, middle, step, n_frequencies)
    (second,) = _fourier_sums(time, both[:1], 2.0 * middle, 2.0 * step, n_frequencies)
    c, s = first.real, first.imag
    cy, sy = first_flux.real, first_flux.imag
    cc, ss, cs = 0.5 + 0.5 * second.real - c * c, 0.5 - 0.5 * second.real - s * s, 0.5 * second.imag - c * s
    determinant = cc * ss - cs * cs
    explained = ss * cy * cy + cc * sy * sy - 2.0 * cs * cy * sy
    # The scaled flux has zero mean and unit variance: CY and SY are plain sums, and YY is 1.
    power = np.divide(explained, determinant, out=np.zeros(n_frequencies), where=determinant > SINGULAR)
    return np.clip(power, 0.0, 1.0)


def _fourier_sums(
    time: NDArray[np.float64], strengths: NDArray[np.complex128], middle: float, step: float, n_frequencies: int
) -> NDArray[np.complex128]:
    """Sums of strengths times exp(2 pi i f time), shape (n_strengths, n_frequencies)."""
    turned = strengths * np.exp(2j * math.pi * middle * time)
    return finufft.nufft1d1(
        2.0 * math.pi * step * time, turned, n_frequencies, eps=NUFFT_TOLERANCE, isign=1, nthreads=1
    )
