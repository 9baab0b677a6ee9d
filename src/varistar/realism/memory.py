"""How long residuals remember: their autocorrelation at a few lags, within one camera and between two.

With residuals z of unit variance, the structure function mean((z_i - z_j)^2) at a lag is 2 (1 - autocorrelation).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .residuals import Array, Codes

#: By name, the range of lags [d] that counts.
LAGS = {
    "same_night": (0.003, 0.4),
    "1d": (0.6, 1.4),
    "3d": (2.0, 4.0),
    "10d": (7.0, 13.0),
    "30d": (25.0, 35.0),
}
#: Fewer pairs than this have no autocorrelation.
LEAST_PAIRS = 15
#: Residuals beyond this many standard deviations count as if they were there: one outlier must not decide.
CLIP = 4.0


def autocorrelation(time: Array, scaled: Array, camera: Codes, season: Codes) -> dict[str, float]:
    """The autocorrelation of one star's residuals.

    Parameters
    ----------
    time, scaled, camera, season : shape (m,), in the order of time [d]; residuals of robust standard deviation one.

    Returns
    -------
    dict of float
        `memory_<lag>` of pairs in one camera and `shared_<lag>` of pairs in two; NaN of fewer than `LEAST_PAIRS`.
    """
    clipped = np.clip(scaled, -CLIP, CLIP)
    clipped = clipped - clipped.mean()
    ranges = np.array(list(LAGS.values()))
    products, pairs = _sum_pairs(time, clipped, camera, season, ranges)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(pairs >= LEAST_PAIRS, products / pairs, np.nan) / (np.var(clipped) or np.nan)
    kinds = ("shared", "memory")
    return {f"{kinds[k]}_{lag}": float(mean[k, i]) for k in (1, 0) for i, lag in enumerate(LAGS)}


@njit(cache=True)
def _sum_pairs(
    time: Array, value: Array, camera: Codes, season: Codes, ranges: Array
) -> tuple[Array, NDArray[np.int64]]:
    """Sums of products and numbers of pairs, shape (2, lags): of two cameras, and of one."""
    products = np.zeros((2, len(ranges)))
    pairs = np.zeros((2, len(ranges)), dtype=np.int64)
    longest = ranges.max()
    for i in range(len(time)):
        for j in range(i + 1, len(time)):
            apart = time[j] - time[i]
            if apart > longest or season[j] != season[i]:
                break
            same = 1 if camera[i] == camera[j] else 0
            for k in range(len(ranges)):
                if ranges[k, 0] <= apart <= ranges[k, 1]:
                    products[same, k] += value[i] * value[j]
                    pairs[same, k] += 1
    return products, pairs
