"""Fourier sums over the points of a light curve, at many evenly spaced frequencies."""

import math

import finufft
import numpy as np
from numpy.typing import NDArray

NUFFT_TOLERANCE = 1e-12


class FourierSums:
    """Sums over points at evenly spaced frequencies, with the FFT plans that light curves of about one span share.

    It runs on one thread and must not be shared between threads. Each sum is right to `tolerance` of the sum of the
    absolute strengths.
    """

    def __init__(self, tolerance: float = NUFFT_TOLERANCE) -> None:
        self._tolerance = tolerance
        self._plans: dict[tuple[int, int], finufft.Plan] = {}

    def __call__(
        self, time: NDArray[np.float64], strengths: NDArray[np.complex128], middle: float, step: float, n: int
    ) -> NDArray[np.complex128]:
        """Sums of strengths times exp(2 pi i f time) at `n` frequencies `step` apart, `middle` the one number n // 2.

        Parameters
        ----------
        time : (n_points,)
            From an origin near their middle, where phases are smallest [d].
        strengths : (n_strengths, n_points)

        Returns
        -------
        complex (n_strengths, n)
        """
        # Lengths of a few leading bits, so that few plans serve all light curves: making one costs as much as a sum.
        unit = 1 << max(n.bit_length() - 5, 0)
        n_modes = -(-n // unit) * unit
        key = n_modes, len(strengths)
        if key not in self._plans:
            self._plans[key] = finufft.Plan(
                1, (n_modes,), n_trans=len(strengths), eps=self._tolerance, isign=1, nthreads=1
            )
        plan = self._plans[key]
        plan.setpts(2.0 * math.pi * step * time)
        sums = plan.execute(strengths * np.exp(2j * math.pi * middle * time))
        first = n_modes // 2 - n // 2
        return sums.reshape(len(strengths), n_modes)[:, first : first + n]
