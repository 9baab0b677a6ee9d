"""The spectral window: at which frequencies the times of a light curve repeat, and so where a signal has its aliases.

A signal of frequency f shows again at |f + g| and |f - g| wherever the window

    W(g) = |sum w exp(2 pi i g t)|^2 / (sum w)^2,   w = 1 / flux_err^2,

is high (Deeming 1975, with the weights of the periodogram): W(0) = 1, and for observations from one site W is hardly
less at one cycle a day.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError

from .fourier import FourierSums
from .periodogram import refined_maximum
from .points import read_times


def spectral_window(
    time: ArrayLike, flux_err: ArrayLike, max_frequency: float, oversample: float = 5.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The spectral window of one light curve at evenly spaced frequencies from 0 to at most `max_frequency`.

    Parameters
    ----------
    time, flux_err : (n_points,)
        Times in any order and from any origin [d], and errors in any unit.
    max_frequency : float
        [1/d]
    oversample : float
        Frequencies per 1/(time span), the natural width of a peak.

    Returns
    -------
    frequency, power : float64 (n_frequencies,)
        In 1/d, ascending; and from 0 to 1. Empty where the points have fewer than two times.

    Raises
    ------
    DataError
        For a point that is not finite, an error that is not positive, or arrays of different lengths.
    ConfigError
        When max_frequency or oversample is not positive and finite.
    """
    for name, value in (("max_frequency", max_frequency), ("oversample", oversample)):
        if not 0.0 < value < math.inf:
            raise ConfigError(f"{name} must be positive and finite; got {value}")
    times, weight = read_times(time, flux_err)
    span = float(np.ptp(times)) if len(times) else 0.0
    if span == 0.0:
        return np.empty(0), np.empty(0)
    step = 1.0 / (oversample * span)
    n_frequencies = math.floor(max_frequency / step) + 1
    centred = times - 0.5 * (times.min() + times.max())
    strengths = (weight / weight.sum()).astype(np.complex128)[None]
    (sums,) = FourierSums()(centred, strengths, step * (n_frequencies // 2), step, n_frequencies)
    return step * np.arange(n_frequencies, dtype=np.float64), np.minimum(sums.real**2 + sums.imag**2, 1.0)


def window_peaks(
    time: ArrayLike, flux_err: ArrayLike, max_frequency: float, n_peaks: int = 5, oversample: float = 5.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The highest maxima of the spectral window beyond the one at zero, refined by parabolas.

    Parameters and errors are those of `spectral_window`.

    Returns
    -------
    frequency, power : float64 (at most n_peaks,)
        In order of falling power.
    """
    frequency, power = spectral_window(time, flux_err, max_frequency, oversample)
    maxima = 1 + np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] >= power[2:]))
    highest = maxima[np.argsort(-power[maxima], kind="stable")][:n_peaks]
    peaks = np.array([refined_maximum(frequency, power, int(index)) for index in highest]).reshape(-1, 2)
    return peaks[:, 0], np.minimum(peaks[:, 1], 1.0)
