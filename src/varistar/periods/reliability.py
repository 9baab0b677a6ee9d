"""How honest are these periods? What a method's confidence and uncertainties are worth on a test set.

Three questions in turn. Does confidence rank: are the surest stars right more often (Geifman & El-Yaniv 2017)? Is it
calibrated: is a probability of 0.7 right seven times in ten, and the truth anywhere in a predicted distribution with
equal probability (Gneiting, Balabdaoui & Raftery 2007)? And is it silent where there is nothing to find?

`right` says throughout which periods are within 10% of the truth. Stars without a period belong into
`false_period_rate` alone, where NaN is no claim; elsewhere NaN is left out or ranks last, as each function says.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.intervals import wilson_interval

#: The fewest stars whose accuracy is believed: of fewer, some are all right by luck.
FEWEST_STARS = 20

# ---------------------------------------------------------------------------------------------------------------------
# Does confidence rank?


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How accurate the surest stars are, as more and more of them are taken.

    Parameters
    ----------
    confidence : shape (n,), higher is surer, such as `p_within_10pct` or minus sigma / P; NaN comes last. Stars of
        equal confidence are taken in their order.
    right : bool, shape (n,).

    Returns
    -------
    coverage : shape (n,), 1/n to 1.
    accuracy : shape (n,), the fraction that is right of the surest 1, 2, ... n; its complement is the risk.

    Raises
    ------
    DataError
        When the two differ in length.
    """
    _, right = _surest_first(confidence, right)
    taken = np.arange(1, len(right) + 1)
    return taken / len(right), np.cumsum(right) / taken


def accuracy_at_coverage(confidence: ArrayLike, right: ArrayLike, coverage: float) -> float | None:
    """The fraction that is right of this fraction of the stars, the surest, at least one; None for no stars.

    Raises
    ------
    ConfigError
        When the coverage is not above 0 and at most 1.
    """
    if not 0 < coverage <= 1:
        raise ConfigError(f"a coverage must be above 0 and at most 1, not {coverage:g}")
    _, accuracy = risk_coverage(confidence, right)
    return float(accuracy[max(round(coverage * len(accuracy)), 1) - 1]) if len(accuracy) else None


def coverage_at_accuracy(confidence: ArrayLike, right: ArrayLike, accuracy: float) -> float:
    """The largest fraction of the stars at which the surest are right this often; 0.0 if no 20 or more are.

    This describes a ranking. It is no promise for other stars: where to stop is read off the stars on which the
    accuracy is measured, at the luckiest place, so that elsewhere the same fraction is right somewhat less often.
    `threshold_for` on stars of their own gives a fair number.
    """
    coverage, reached = risk_coverage(confidence, right)
    enough = np.flatnonzero(reached[FEWEST_STARS - 1 :] >= accuracy)
    return float(coverage[enough[-1] + FEWEST_STARS - 1]) if len(enough) else 0.0


def threshold_for(confidence: ArrayLike, right: ArrayLike, accuracy: float) -> float:
    """The lowest confidence from which on stars are right this often: chosen on calibration stars, applied to others.

    Of the stars given, those with `confidence >= threshold` are at least 20 and right at least that often; stars of
    equal confidence are on one side together. Infinity, which takes no star, where no threshold is good enough.
    """
    ordered, right = _surest_first(confidence, right)
    taken = np.arange(1, len(right) + 1)
    last_of_equals = np.append(ordered[1:] != ordered[:-1], True)[: len(right)] & ~np.isnan(ordered)
    enough = np.flatnonzero(last_of_equals & (taken >= FEWEST_STARS) & (np.cumsum(right) / taken >= accuracy))
    return float(ordered[enough[-1]]) if len(enough) else math.inf


def area_under_risk_coverage(confidence: ArrayLike, right: ArrayLike) -> float | None:
    """The risk, averaged over the coverages 1/n to 1; lower is better, None for no stars.

    A confidence that says nothing has the fraction that is wrong of all stars. Of a perfect one it is not zero, unless
    all are right: compare methods on the same stars (AURC of Geifman, Uziel & El-Yaniv 2019).
    """
    _, accuracy = risk_coverage(confidence, right)
    return float(1 - accuracy.mean()) if len(accuracy) else None


# ---------------------------------------------------------------------------------------------------------------------
# Is it calibrated?


def reliability_table(p: ArrayLike, right: ArrayLike, bins: int = 10) -> list[dict[str, Any]]:
    """Predicted against actual frequency, in bins of equal numbers of stars.

    Parameters
    ----------
    p : predicted probability that the period is right, shape (n,); stars with NaN are left out.
    right : bool, shape (n,).
    bins : how many; fewer where there are fewer stars.

    Returns
    -------
    a row per bin, of rising p: `n`, `lowest` and `highest` p, `predicted` (mean p), `right` (fraction) and
    `right_interval` (95%).

    Raises
    ------
    ConfigError
        When there is no bin.
    DataError
        When p and right differ in length.
    """
    if bins < 1:
        raise ConfigError(f"a reliability table needs at least 1 bin, not {bins}")
    ordered, right = _surest_first(p, right)
    stars = np.flatnonzero(~np.isnan(ordered))[::-1]
    if not len(stars):
        return []
    return [_reliability(ordered[mine], right[mine]) for mine in np.array_split(stars, min(bins, len(stars)))]


def expected_calibration_error(p: ArrayLike, right: ArrayLike, bins: int = 10) -> float | None:
    """How far predicted and actual frequency are apart, on average over the stars; None for no stars.

    The mean absolute difference between the two columns of `reliability_table` (Guo et al. 2017, eq. 3, with bins of
    equal numbers). Chance alone makes it up to some 0.4 sqrt(bins / n), even for an honest p.
    """
    table = reliability_table(p, right, bins)
    apart = sum(row["n"] * abs(row["predicted"] - row["right"]) for row in table)
    return apart / sum(row["n"] for row in table) if table else None


def pit_histogram(cumulative: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """How many stars have their truth in each tenth of their predicted distribution.

    Flat when the distributions are honest, a bowl when they are too narrow, a hill when too wide, a slope when biased.

    Parameters
    ----------
    cumulative : shape (n,), each star's predicted probability that the period is at most the true one; NaN is left out.

    Returns
    -------
    counts, shape (bins,), from 0 to 1.
    """
    cumulative = np.asarray(cumulative, dtype=np.float64)
    # A cumulative sum of float32 may end a little above 1.
    inside = np.clip(cumulative[~np.isnan(cumulative)], 0.0, 1.0)
    return np.histogram(inside, bins=bins, range=(0.0, 1.0))[0]


def crps_of_histogram(
    probabilities: ArrayLike, edges_ln_period: ArrayLike, true_ln_period: ArrayLike
) -> NDArray[np.float64]:
    """The continuous ranked probability score of histograms over ln P: the integral of (F(x) - [x >= truth])^2.

    Exact for a density that is uniform within each bin: F is piecewise linear, and over a piece of width w on which
    F goes from a to b, the integral of F^2 is w (a^2 + a b + b^2) / 3. Outside the bins F is 0 or 1.

    Parameters
    ----------
    probabilities : shape (n, bins), each row of sum one.
    edges_ln_period : ascending, shape (bins + 1,).
    true_ln_period : shape (n,); NaN gives NaN.

    Returns
    -------
    shape (n,), in ln P; 0 is perfect, and of a point it is the distance to the truth.

    Raises
    ------
    DataError
        When a row's sum is off one by more than 0.001, or the shapes do not fit.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    edges, truth = np.asarray(edges_ln_period, dtype=np.float64), np.asarray(true_ln_period, dtype=np.float64)
    if probabilities.shape != (len(truth), len(edges) - 1):
        raise DataError(
            f"histograms of {len(edges) - 1} bins for {len(truth)} stars have the shape "
            f"({len(truth)}, {len(edges) - 1}), not {probabilities.shape}"
        )
    total = probabilities.sum(axis=1, keepdims=True)
    if not (np.abs(total - 1) <= 1e-3).all():
        star = int(np.argmin(np.abs(total[:, 0] - 1) <= 1e-3))
        raise DataError(f"the probabilities of star {star} have the sum {total[star, 0]:g}; expected 1")
    after = np.cumsum(probabilities / total, axis=1)
    before = after - probabilities / total
    low, high = edges[:-1], edges[1:]
    split = np.clip(truth[:, None], low, high)
    at_split = before + (after - before) * (split - low) / (high - low)
    inside = (split - low) * _mean_square(before, at_split) + (high - split) * _mean_square(1 - at_split, 1 - after)
    outside = np.maximum(edges[0] - truth, 0) + np.maximum(truth - edges[-1], 0)
    return inside.sum(axis=1) + outside


# ---------------------------------------------------------------------------------------------------------------------
# Is it silent where there is nothing to find?


def false_period_rate(p_within_10pct: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """How often a period is claimed for stars that have none.

    Parameters
    ----------
    p_within_10pct : of constant and irregular stars, shape (n,); NaN is no claim.
    threshold : a period is claimed above it.

    Returns
    -------
    `n`; `claimed`, their number; `rate` (None for no stars) and `rate_interval` (95%).
    """
    claims = np.asarray(p_within_10pct) > threshold
    n, claimed = len(claims), int(claims.sum())
    return {
        "n": n,
        "claimed": claimed,
        "rate": claimed / n if n else None,
        "rate_interval": wilson_interval(claimed, n),
    }


def _surest_first(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Both by falling confidence, equals in their order, NaN last."""
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.bool_)
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise DataError(f"a ranking needs one confidence per star, got {confidence.shape} for {right.shape}")
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], right[order]


def _reliability(p: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "n": len(p),
        "lowest": float(p[0]),
        "highest": float(p[-1]),
        "predicted": float(p.mean()),
        "right": float(right.mean()),
        "right_interval": wilson_interval(int(right.sum()), len(p)),
    }


def _mean_square(first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean square of a number that goes evenly from `first` to `last`."""
    return (first * first + first * last + last * last) / 3
