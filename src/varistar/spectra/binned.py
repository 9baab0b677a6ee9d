"""The Lomb-Scargle periodogram and the spectral window of a whole light curve, as the highest value in bins of period.

A bin keeps the peak that a grid of one period per bin would step over: over years of data peaks are narrower than a bin
in the logarithm of the period. Both come from the same Fourier sums: with weights w of sum 1 and z = exp(2 pi i f t),

    Z_k = sum w z^k (k = 1, 2),  Y_1 = sum w y z,  window = |Z_1|^2,

and the floating-mean periodogram in closed form from the three (see `periodogram`, one term).
"""

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError

from .fourier import FourierSums
from .points import read_grid, read_points

#: Frequencies per 1/(time span). Of a peak of evenly spread points, sinc(f span)^2, the nearest of them sees at least
#: sinc(1/6)^2 = 91%, on average 97%.
OVERSAMPLE = 3.0
#: Of the Fourier sums: far below what a peak's noise is.
TOLERANCE = 1e-7
#: Where the sinusoid's smaller variance (at most 1/2) is below this, constant, sine and cosine cannot be told apart and
#: nothing is explained: a hundred times what the sums leave uncertain in it.
SINGULAR = 1e-5


class BinnedPeriodogram:
    """Periodogram and window of one light curve after the other, in the same bins.

    It runs on one thread and must not be shared between threads. A pickle carries the edges only.

    Parameters
    ----------
    edges : (n_bins + 1,), periods [d], positive and ascending.

    Raises
    ------
    ConfigError
        When the edges are not positive and ascending, or fewer than two.
    """

    def __init__(self, edges: ArrayLike) -> None:
        self.edges = read_grid(edges, "edge")
        if len(self.edges) < 2 or not (self.edges[0] > 0.0 and np.all(np.diff(self.edges) > 0.0)):
            raise ConfigError("the edges of period bins must be positive and ascend, two or more of them")
        # in ascending frequency
        self._limits = np.ascontiguousarray(1.0 / self.edges[::-1])
        self._narrowest = float(np.diff(self._limits).min())
        self._sums = FourierSums(TOLERANCE)

    def __reduce__(self) -> tuple[type["BinnedPeriodogram"], tuple[NDArray]]:
        return BinnedPeriodogram, (self.edges,)

    def __call__(
        self, time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The highest of each bin.

        Parameters
        ----------
        time, flux, flux_err : (n_points,), times in any order [d], flux and its error in one unit.

        Returns
        -------
        delta_chi2, window : (n_bins,)
            By how much a sinusoid lowers the chi^2 of all points about their mean, and |Z_1|^2 from 0 to 1; zeros for
            fewer than four points, and where all have one time or one flux.

        Raises
        ------
        DataError
            For a point that is not finite, an error that is not positive, or arrays of different lengths.
        """
        delta_chi2, window = np.zeros((2, len(self.edges) - 1))
        points = read_points(time, flux, flux_err)
        if points is None or len(points.time) < 4 or points.time[0] == points.time[-1]:
            return delta_chi2, window
        span = points.time[-1] - points.time[0]
        # so fine that every bin holds a frequency
        step = min(1.0 / (OVERSAMPLE * span), 0.9 * self._narrowest)
        low, high = self._limits[0], self._limits[-1]
        n_frequencies = math.floor((high - low) / step) + 1
        frequency_of_middle = low + step * (n_frequencies // 2)
        centred = points.time - 0.5 * (points.time[0] + points.time[-1])
        total = points.weight.sum()
        weight = points.weight / total
        both = np.stack([weight, weight * points.flux]).astype(np.complex128)
        z1, y1 = self._sums(centred, both, frequency_of_middle, step, n_frequencies)
        (z2,) = self._sums(2.0 * centred, both[:1], frequency_of_middle, step, n_frequencies)
        _highest(z1, z2, y1, low, step, self._limits, delta_chi2, window)
        return delta_chi2 * total * points.unit, window


@njit(cache=True, error_model="numpy")
def _highest(
    z1: NDArray[np.complex128],
    z2: NDArray[np.complex128],
    y1: NDArray[np.complex128],
    low: float,
    step: float,
    limits: NDArray[np.float64],
    explained: NDArray[np.float64],
    window: NDArray[np.float64],
) -> None:
    """The highest explained variance and window in each bin; the bins' periods ascend, `limits` are frequencies."""
    n_bins = explained.size
    place = 0
    for i in range(z1.size):
        frequency = low + step * i
        while place < n_bins - 1 and frequency >= limits[place + 1]:
            place += 1
        c, s = z1[i].real, z1[i].imag
        cc = 0.5 + 0.5 * z2[i].real - c * c
        ss = 0.5 - 0.5 * z2[i].real - s * s
        cs = 0.5 * z2[i].imag - c * s
        determinant = cc * ss - cs * cs
        cy, sy = y1[i].real, y1[i].imag  # of a flux without mean
        value = 0.0
        if 0.0 < SINGULAR * (cc + ss) < determinant:
            value = min((ss * cy * cy + cc * sy * sy - 2.0 * cs * cy * sy) / determinant, 1.0)
        bin_of_period = n_bins - 1 - place
        explained[bin_of_period] = max(explained[bin_of_period], value)
        window[bin_of_period] = max(window[bin_of_period], c * c + s * s)
