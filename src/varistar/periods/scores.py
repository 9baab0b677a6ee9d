"""How good are these periods? The scores of one method on one test set, with intervals.

Definitions follow the paper (000, section 4): the fractional error is |P - P_true| / P_true (eq. 7), the fractional
uncertainty sigma / P (eq. 6), and a star is trusted where that is strictly below 25% (AMB-16). What the paper calls
predictive efficiency is a coverage: the fraction of stars that are trusted, right or wrong (AMB-17).
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUSTED = 0.25
PERIOD_EDGES = (1.0, 3.0, 7.0, 15.0, 30.0)
INTERVALS = (0.5, 0.68, 0.9, 0.95)


def fractional_error(period: NDArray, true_period: NDArray) -> NDArray[np.float64]:
    """|P - P_true| / P_true; infinite where there is no period."""
    error = np.abs(period - true_period) / true_period
    return np.where(np.isfinite(error), error, np.inf)


def within(period: NDArray, true_period: NDArray, tolerance: float) -> NDArray[np.bool_]:
    """Which periods are right within this fraction of the truth."""
    return fractional_error(period, true_period) <= tolerance


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a fraction; (0, 1) when n is zero."""
    if n == 0:
        return 0.0, 1.0
    z = 1.959964
    p = successes / n
    centre = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return float(max((centre - half) / (1 + z**2 / n), 0.0)), float(min((centre + half) / (1 + z**2 / n), 1.0))


def period_scores(true_period: NDArray, period: NDArray, sigma: NDArray | None = None) -> dict[str, Any]:
    """The scores of n stars.

    Parameters
    ----------
    true_period, period : [d], shape (n,).
    sigma : standard deviation [d], shape (n,); None for a method without uncertainties.

    Returns
    -------
    `n`; `within_10pct`, `within_20pct`, `within_25pct`, the first with `within_10pct_interval` (95%); the same by true
    period under `by_period`; `median_fractional_error`; `bias`, the median of ln(P / P_true); `half`, `double`:
    fractions within 10% of P/2 and 2P; with `sigma` also `coverage` (of trusted stars), `trusted_within_10pct`,
    `trusted_within_20pct`, their number, and `correct`, the fraction of all stars that are trusted and within 10%.
    """
    right = within(period, true_period, 0.1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(period / true_period)
    scores: dict[str, Any] = {
        "n": len(period),
        "within_10pct": _mean(right),
        "within_10pct_interval": wilson_interval(int(right.sum()), len(right)),
        "within_20pct": _mean(within(period, true_period, 0.2)),
        "within_25pct": _mean(within(period, true_period, 0.25)),
        "half": _mean(within(2 * period, true_period, 0.1)),
        "double": _mean(within(period / 2, true_period, 0.1)),
        "median_fractional_error": _finite(np.median(fractional_error(period, true_period))) if len(period) else None,
        "bias": _finite(np.median(log_ratio)) if len(period) else None,
        "by_period": _by_period(true_period, right),
    }
    if sigma is not None:
        trusted = sigma / period < TRUSTED
        scores |= {
            "coverage": _mean(trusted),
            "n_trusted": int(trusted.sum()),
            "trusted_within_10pct": _mean(right[trusted]),
            "trusted_within_20pct": _mean(within(period, true_period, 0.2)[trusted]),
            "correct": _mean(right & trusted),
        }
    return scores


def interval_coverage(cumulative: NDArray) -> dict[str, float | None]:
    """How often central intervals hold the truth.

    Parameters
    ----------
    cumulative : shape (n,), each star's predicted probability that the period is at most the true one. Uniform when the
        uncertainties are honest.
    """
    return {f"{level:.2f}": _mean(np.abs(cumulative - 0.5) <= level / 2) for level in INTERVALS}


def best_constant(true_period: NDArray) -> float:
    """The one period [d] that is within 10% of most of these, the baseline without any light curve.

    A period is right for truths from P / 1.1 to P / 0.9; of the windows of that width the fullest is taken, and of the
    periods that are right for all of it the middle one.
    """
    ordered = np.sort(true_period)
    stop = np.searchsorted(ordered, ordered * (1.1 / 0.9), side="right")
    fullest = np.argmax(stop - np.arange(len(ordered)))
    return float(1.1 * ordered[fullest] + 0.9 * ordered[stop[fullest] - 1]) / 2


def _by_period(true_period: NDArray, right: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    table = {}
    for low, high in pairwise(PERIOD_EDGES):
        here = (true_period >= low) & (true_period < high)
        table[f"{low:g}-{high:g} d"] = {"n": int(here.sum()), "within_10pct": _mean(right[here])}
    return table


def _mean(values: NDArray) -> float | None:
    return round(float(np.mean(values)), 6) if len(values) else None


def _finite(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
