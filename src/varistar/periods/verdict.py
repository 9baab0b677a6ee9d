"""All scores of one model, test by test: each kind of star on each sample is one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.experiments.gates import cluster_bootstrap
from varistar.foundation.intervals import wilson_interval

from .reliability import (
    accuracy_at_coverage,
    area_under_risk_coverage,
    coverage_at_accuracy,
    expected_calibration_error,
    false_period_rate,
    pit_histogram,
    threshold_for,
)
from .scores import (
    AMPLITUDE_EDGES,
    MAGNITUDE_EDGES,
    POINTS_EDGES,
    SIGNAL_TO_NOISE_EDGES,
    by_bins,
    by_group,
    g_magnitude,
    harmonic_confusion,
    interval_coverage,
    period_scores,
    within,
)

SURE = 0.5  # a star is reported when it is more probable than not that its period is right
PAPERS_COVERAGE = 0.198  # the fraction of its test set that the paper's best network trusts (000, Table 3)
ACCURACIES = (0.71, 0.88, 0.90, 0.95)
SEED = 20


def split_by_stars(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of a measured test set by kind of star, in alphabetical order."""
    return {str(kind): rows for (kind,), rows in sorted(table.group_by("stars", maintain_order=True))}


def scores_of(table: pl.DataFrame) -> dict[str, Any]:
    """The scores of one kind of star.

    Parameters
    ----------
    table : as `measure_split` gives it, of stars that all have a period or all have none.

    Returns
    -------
    of stars without a period, `false_periods`. Of others `period_scores` against the equatorial period, with an
    interval that keeps the examples of a template together, and `shown_within_10pct` against the shown one; how
    confidence ranks (`within_10pct_at_19.8pct_coverage`, `coverage_at`, `area_under_risk_coverage`, `reported`: those
    with p_within_10pct > 0.5); `confusion`; how honest it is (`interval_coverage`, `calibration_error`, `pit`, `crps`);
    and `by` amplitude, magnitude, number of points, signal to noise and template set.
    """
    true_period, period, sigma, p, cumulative = (
        table[name].to_numpy() for name in ("true_period", "period", "sigma", "p_within_10pct", "cumulative")
    )
    if np.isnan(true_period).all():
        return {"n": table.height, "false_periods": false_period_rate(p, SURE)}
    right = within(period, true_period, 0.1)
    scores = period_scores(true_period, period, sigma)
    template = table["template"].to_numpy()
    scores["within_10pct_interval"] = fraction_interval(right, template)
    surest = np.argsort(-p, kind="stable")[: max(round(PAPERS_COVERAGE * len(p)), 1)]
    shown = within(period, table["shown_period"].to_numpy(), 0.1)
    sure = p > SURE
    return scores | {
        "shown_within_10pct": round(float(shown.mean()), 6),
        "within_10pct_at_19.8pct_coverage": accuracy_at_coverage(p, right, PAPERS_COVERAGE),
        "within_10pct_at_19.8pct_coverage_interval": fraction_interval(right[surest], template[surest]),
        "coverage_at": {f"{accuracy:.2f}": coverage_at_accuracy(p, right, accuracy) for accuracy in ACCURACIES},
        "area_under_risk_coverage": area_under_risk_coverage(p, right),
        "reported": {"coverage": float(sure.mean()), "within_10pct": float(right[sure].mean()) if sure.any() else None},
        "confusion": harmonic_confusion(true_period, period),
        "interval_coverage": interval_coverage(cumulative),
        "calibration_error": expected_calibration_error(p, right),
        "pit": pit_histogram(cumulative).tolist(),
        "crps": round(float(table["crps"].mean()), 6),  # type: ignore[arg-type]
        "by": {
            "amplitude": by_bins(table["amplitude"].to_numpy(), AMPLITUDE_EDGES, right),
            "magnitude": by_bins(g_magnitude(table["template_flux"].to_numpy()), MAGNITUDE_EDGES, right, "mag"),
            "points": by_bins(table["n_points"].to_numpy().astype(float), POINTS_EDGES, right),
            "signal_to_noise": by_bins(
                (table["amplitude"] / table["template_scatter"]).to_numpy(), SIGNAL_TO_NOISE_EDGES, right
            ),
            "templates": by_group(table["templates"], right),
        },
    }


def mixture_scores(calibration: pl.DataFrame, test: pl.DataFrame) -> dict[str, Any]:
    """What `p_within_10pct` is worth on a whole sample, in which it is not known who has a period.

    A star without one is never right. The thresholds are chosen on the calibration stars, so that what they give on the
    test stars is what they promise for others.

    Parameters
    ----------
    calibration, test : of all kinds of stars, with `period`, `true_period`, `p_within_10pct` and `template`.

    Returns
    -------
    `n` test stars; `calibration_error`; `at_accuracy`, by the accuracy that a threshold is to reach: `threshold` (None
    where none does) and the `coverage` and `within_10pct`, with its interval, of the test stars from it on.
    """

    def read(table: pl.DataFrame) -> tuple[NDArray, NDArray[np.bool_]]:
        right = within(table["period"].to_numpy(), table["true_period"].to_numpy(), 0.1)
        return table["p_within_10pct"].to_numpy(), right

    p, right = read(test)
    found: dict[str, Any] = {}
    for accuracy in ACCURACIES:
        threshold = threshold_for(*read(calibration), accuracy)
        taken = p >= threshold
        found[f"{accuracy:.2f}"] = {
            "threshold": threshold if np.isfinite(threshold) else None,
            "coverage": float(taken.mean()),
            "within_10pct": float(right[taken].mean()) if taken.any() else None,
            "within_10pct_interval": (
                fraction_interval(right[taken], test["template"].to_numpy()[taken]) if taken.any() else None
            ),
        }
    return {"n": len(p), "calibration_error": expected_calibration_error(p, right), "at_accuracy": found}


def fraction_interval(right: NDArray[np.bool_], template: NDArray) -> tuple[float, float]:
    """95% of the fraction that is right, with the examples of a template kept together.

    Where all are right, or none, a bootstrap sees no chance; the Wilson interval of as many examples as there are
    templates stands for it. 0 to 1 where all share one template, which says nothing of stars on others.
    """
    fraction, low, high = cluster_bootstrap(right, template, SEED)
    groups = len(np.unique(template))
    if groups == 1:
        return 0.0, 1.0
    return (low, high) if low < high else wilson_interval(round(fraction * groups), groups)


def members_scores(tables: Sequence[pl.DataFrame]) -> dict[str, list[float | None]]:
    """What each member of a variant scores by itself, so that one sees how far chance goes.

    Parameters
    ----------
    tables : of each member, the same stars with a period.
    """
    found: dict[str, list[float | None]] = {
        name: [] for name in ("within_10pct", "coverage", "trusted_within_10pct", "within_10pct_at_19.8pct_coverage")
    }
    for table in tables:
        true_period, period, sigma = (table[name].to_numpy() for name in ("true_period", "period", "sigma"))
        scores = period_scores(true_period, period, sigma)
        right = within(period, true_period, 0.1)
        scores["within_10pct_at_19.8pct_coverage"] = accuracy_at_coverage(
            table["p_within_10pct"].to_numpy(), right, PAPERS_COVERAGE
        )
        for name, values in found.items():
            values.append(scores[name])
    return found
