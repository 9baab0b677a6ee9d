"""Intervals of counted fractions."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri


def wilson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Any, Any]:
    """Interval of a fraction (Wilson 1927): its ends, two numbers or arrays; 0 and 1 where n is 0.

    Parameters
    ----------
    successes, n : of one shape; fractions of n need not come from whole successes.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = float(ndtri(0.5 + 0.5 * level)) ** 2
    centre = (k + 0.5 * z2) / (n + z2)
    half = np.sqrt(z2 * (k * (n - k) / np.maximum(n, 1.0) + 0.25 * z2)) / (n + z2)
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    return np.where(k == 0.0, 0.0, low)[()], np.where(k == n, 1.0, high)[()]
