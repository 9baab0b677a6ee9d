"""Making a probability honest."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

#: Slopes beyond these would say that the split is too small, not what the network is worth.
SLOPES = (0.2, 5.0)


def honest_logit(p: NDArray, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset under which a logit of `p` is as often right as it says, by logistic regression (Platt 1999).

    Parameters
    ----------
    p : probabilities, shape (n,).
    right : which were right; a split in which none or all were gives (1, 0), since it cannot tell.
    """
    if right.all() or not right.any():
        return 1.0, 0.0
    x = logit(np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6))

    def surprise(numbers: NDArray) -> float:
        z = numbers[0] * x + numbers[1]
        return float(np.mean(np.logaddexp(0.0, z) - right * z))

    def gradient(numbers: NDArray) -> NDArray:
        residual = expit(numbers[0] * x + numbers[1]) - right
        return np.array([np.mean(residual * x), np.mean(residual)])

    found = minimize(surprise, (1.0, 0.0), jac=gradient, method="L-BFGS-B", bounds=[SLOPES, (None, None)])
    return round(float(found.x[0]), 6), round(float(found.x[1]), 6)
