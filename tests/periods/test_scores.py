"""Scores by hand, by brute force, and of nothing."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.foundation.intervals import wilson_interval
from varistar.lightcurves.magnitudes import flux_of
from varistar.periods.scores import (
    AMPLITUDE_EDGES,
    MAGNITUDE_EDGES,
    POINTS_EDGES,
    SIGNAL_TO_NOISE_EDGES,
    best_constant,
    by_bins,
    by_group,
    fractional_error,
    g_magnitude,
    harmonic_confusion,
    interval_coverage,
    period_scores,
    within,
)

# Seven stars: exact, 8% and 15% and 22% off, half, double, and none at all.
TRUE = np.array([10.0, 10.0, 20.0, 2.0, 5.0, 4.0, 28.0])
PERIOD = np.array([10.0, 9.2, 23.0, 2.44, 2.5, 8.0, np.nan])
# sigma / P: 0.2; exactly 0.25; 0.1; 0.24; 0.26; 0; none
SIGMA = np.array([2.0, 2.3, 2.3, 0.5856, 0.65, 0.0, 1.0])


def test_the_fractional_error_is_relative_to_the_truth() -> None:
    """Eq. 7: |P - P_true| / P_true."""
    error = fractional_error(PERIOD, TRUE)
    np.testing.assert_allclose(error[:-1], [0, 0.08, 0.15, 0.22, 0.5, 1.0])
    assert error[-1] == math.inf, "no period is not right"
    assert fractional_error(np.array([math.inf]), np.array([3.0]))[0] == math.inf


def test_within_counts_the_tolerance_itself() -> None:
    true_period = np.array([4.0, 4.0, 4.0, 4.0])
    assert within(np.array([5.0, 3.0, 5.01, 2.99]), true_period, 0.25).tolist() == [True, True, False, False]
    assert within(PERIOD, TRUE, 0.1).tolist() == [True, True, False, False, False, False, False]


def test_the_scores_of_seven_stars() -> None:
    scores = period_scores(TRUE, PERIOD, SIGMA)
    assert scores["n"] == 7
    expected = {
        "within_10pct": 2 / 7,
        "within_20pct": 3 / 7,
        "within_25pct": 4 / 7,
        "half": 1 / 7,
        "double": 1 / 7,
        "median_fractional_error": 0.22,
        # Trusted are the first, third, fourth and sixth; the second, at exactly 25%, is not (AMB-16).
        "coverage": 4 / 7,
        "trusted_within_10pct": 1 / 4,
        "trusted_within_20pct": 2 / 4,
        "correct": 1 / 7,
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-6), name
    assert scores["n_trusted"] == 4
    assert scores["within_10pct_interval"] == wilson_interval(2, 7)
    assert scores["by_period"] == {
        "1-3 d": {"n": 1, "within_10pct": 0.0},
        "3-7 d": {"n": 2, "within_10pct": 0.0},
        "7-15 d": {"n": 2, "within_10pct": 1.0},
        "15-30 d": {"n": 2, "within_10pct": 0.0},
    }


def test_correct_is_coverage_times_accuracy() -> None:
    """What the paper calls efficiency is a coverage: right or wrong does not enter it (AMB-17)."""
    rng = np.random.default_rng(0)
    true_period = rng.uniform(1, 30, 500)
    period, sigma = true_period * rng.normal(1, 0.2, 500), rng.uniform(0, 8, 500)
    scores = period_scores(true_period, period, sigma)
    assert scores["correct"] == pytest.approx(scores["coverage"] * scores["trusted_within_10pct"], abs=2e-6)
    assert scores["coverage"] == pytest.approx(np.mean(sigma / period < 0.25), abs=1e-6)
    wrong = period_scores(true_period, 3 * period, 3 * sigma)
    assert wrong["coverage"] == scores["coverage"]


def test_a_period_at_an_edge_belongs_to_the_bin_above() -> None:
    true_period = np.array([1.0, 3.0, 7.0, 15.0])
    by_period = period_scores(true_period, true_period)["by_period"]
    assert [found["n"] for found in by_period.values()] == [1, 1, 1, 1]


def test_the_bias_is_a_median_of_logarithms() -> None:
    true_period = np.array([2.0, 5.0, 9.0])
    assert period_scores(true_period, true_period * [0.5, 1.2, 3.0])["bias"] == pytest.approx(math.log(1.2), abs=1e-6)


def test_the_order_of_stars_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(6)
    shuffled = period_scores(TRUE[:6][order], PERIOD[:6][order], SIGMA[:6][order])
    assert shuffled == period_scores(TRUE[:6], PERIOD[:6], SIGMA[:6])


def test_a_method_without_uncertainties_has_no_coverage() -> None:
    scores = period_scores(TRUE, PERIOD)
    assert not {"coverage", "n_trusted", "trusted_within_10pct", "trusted_within_20pct", "correct"} & scores.keys()


@pytest.mark.filterwarnings("error")
def test_no_stars_have_no_scores() -> None:
    nothing = np.empty(0)
    scores = period_scores(nothing, nothing, nothing)
    assert (scores["n"], scores["n_trusted"]) == (0, 0)
    assert scores["within_10pct_interval"] == (0.0, 1.0)
    undefined: dict[str, Any] = {
        k: v for k, v in scores.items() if k not in ("n", "n_trusted", "within_10pct_interval")
    }
    by_period = undefined.pop("by_period")
    assert set(undefined.values()) == {None}
    assert all(found == {"n": 0, "within_10pct": None} for found in by_period.values())
    assert set(interval_coverage(nothing).values()) == {None}


@pytest.mark.filterwarnings("error")
def test_no_periods_are_scored_as_wrong() -> None:
    scores = period_scores(TRUE, np.full(7, np.nan), np.full(7, np.nan))
    assert (scores["within_10pct"], scores["coverage"], scores["n_trusted"]) == (0.0, 0.0, 0)
    assert (scores["median_fractional_error"], scores["bias"], scores["trusted_within_10pct"]) == (None, None, None)


@pytest.mark.filterwarnings("error")
def test_stars_without_a_period_are_not_scored() -> None:
    """Wherever they stand, and whatever was said of them."""
    true_period, period, sigma = (np.insert(values, [0, 3, 7], [np.nan] * 3) for values in (TRUE, PERIOD, SIGMA))
    period[[0, 4]] = 12.0, 3.0
    assert period_scores(true_period, period, sigma) == period_scores(TRUE, PERIOD, SIGMA)
    assert harmonic_confusion(true_period, period) == harmonic_confusion(TRUE, PERIOD)
    assert best_constant(true_period) == best_constant(TRUE)
    cumulative = np.array([0.2, np.nan, 0.5, 0.96])
    assert interval_coverage(cumulative) == interval_coverage(cumulative[[0, 2, 3]])


# ---------------------------------------------------------------------------------------------------------------------
# By another quantity


def test_the_bins_of_six_stars() -> None:
    """A lower edge belongs to its bin; outside the edges there are two more; NaN stands nowhere."""
    amplitude = np.array([0.001, 0.3, 0.5, 1.0, 3.0, np.nan])
    right = np.array([False, True, False, True, True, True])
    table = by_bins(amplitude, (0.3, 1.0, 2.0), right, "mag")
    assert [(label, row["n"], row["within_10pct"]) for label, row in table.items()] == [
        ("<0.3 mag", 1, 0.0),
        ("0.3-1 mag", 2, 0.5),
        ("1-2 mag", 1, 1.0),
        (">=2 mag", 1, 1.0),
    ]
    assert table["0.3-1 mag"]["within_10pct_interval"] == wilson_interval(1, 2)
    assert json.loads(json.dumps(table)).keys() == table.keys()


@pytest.mark.parametrize("edges", [AMPLITUDE_EDGES, MAGNITUDE_EDGES, POINTS_EDGES, SIGNAL_TO_NOISE_EDGES])
def test_the_bins_part_the_stars(edges: tuple[float, ...]) -> None:
    rng = np.random.default_rng(4)
    values, right = rng.uniform(0, 1.3 * edges[-1], 400), rng.random(400) < 0.3
    rows = by_bins(values, edges, right).values()
    assert len(rows) == len(edges) + 1
    assert sum(row["n"] for row in rows) == 400
    assert sum(row["n"] * (row["within_10pct"] or 0) for row in rows) == pytest.approx(right.sum(), abs=1e-3)


@pytest.mark.filterwarnings("error")
def test_an_empty_bin_says_nothing() -> None:
    rows = by_bins(np.empty(0), AMPLITUDE_EDGES, np.empty(0, dtype=bool)).values()
    assert all(row == {"n": 0, "within_10pct": None, "within_10pct_interval": (0.0, 1.0)} for row in rows)


def test_the_groups_of_five_stars() -> None:
    names = ["rotator", "cepheid", None, "rotator", "rotator"]
    right = np.array([True, False, True, True, False])
    table = by_group(names, right)
    assert list(table) == ["cepheid", "rotator", "unknown"]
    assert table["rotator"] == {"n": 3, "within_10pct": 0.666667, "within_10pct_interval": wilson_interval(2, 3)}
    assert table["unknown"]["within_10pct"] == 1.0
    assert by_group(pl.Series(names, dtype=pl.Categorical), right) == table
    assert by_group([], np.empty(0, dtype=bool)) == {}


@pytest.mark.filterwarnings("error")
def test_a_magnitude_is_the_inverse_of_its_flux() -> None:
    mag = np.array([11.0, 14.7, 18.2])
    np.testing.assert_allclose(g_magnitude(flux_of(mag, np.zeros(3))[0]), mag)
    assert np.isnan(g_magnitude(np.array([0.0, -1.0, np.nan]))).all()


# ---------------------------------------------------------------------------------------------------------------------
# Confusion


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("true_period", "period", "label"),
    [
        (10.0, 10.9, "1:1"),
        (10.0, 11.1, "other"),
        (10.0, 5.4, "1:2"),
        (10.0, 18.1, "2:1"),
        (6.0, 2.1, "1:3"),
        (6.0, 17.0, "3:1"),
        (6.0, 1.2, "alias"),  # 1/6 - 1 per day
        (6.0, 0.86, "alias"),  # 1/6 + 1 per day
        (1.5, 3.0, "2:1"),  # an alias too, of 1/1.5 - 1 per day: the first that holds
        (1.0, 29.0, "lunar"),  # whose alias has no period
        (11.0, 29.53 * 1.099, "3:1"),  # lunar too
        (8.0, 29.53 * 1.099, "lunar"),
        (8.0, 29.53 * 1.101, "other"),
        (4.0, 29.53 / 2 * 0.901, "lunar"),
        (28.0, 16.2, "other"),  # near half a month, but so is the truth near a month
        (20.0, np.nan, "other"),
    ],
)
def test_what_a_wrong_period_is(true_period: float, period: float, label: str) -> None:
    table = harmonic_confusion(np.array([true_period]), np.array([period]))
    assert list(table) == ["1:1", "1:2", "2:1", "1:3", "3:1", "alias", "lunar", "other"]
    assert [name for name, fraction in table.items() if fraction] == [label]


def kind_of_error(true: float, found: float) -> str:
    """One star at a time, with frequencies for the alias."""

    def near(wanted: float) -> bool:
        return abs(found - wanted) <= 0.1 * wanted

    for label, wanted in (("1:1", true), ("1:2", true / 2), ("2:1", 2 * true), ("1:3", true / 3), ("3:1", 3 * true)):
        if near(wanted):
            return label
    for frequency in (abs(1 / true - 1), 1 / true + 1):
        if frequency and near(1 / frequency):
            return "alias"
    truth_is_lunar = any(abs(true - month) <= 0.1 * month for month in (29.53, 14.765))
    return "lunar" if (near(29.53) or near(14.765)) and not truth_is_lunar else "other"


def test_confusions_agree_with_a_loop_and_sum_to_one() -> None:
    rng = np.random.default_rng(6)
    true_period, period = np.exp(rng.uniform(0, np.log(30), (2, 3000)))
    counted = Counter(kind_of_error(*pair) for pair in zip(true_period, period, strict=True))
    table = harmonic_confusion(true_period, period)
    assert {label: fraction * 3000 for label, fraction in table.items()} == pytest.approx(counted, abs=0.01)
    assert sum(table.values()) == pytest.approx(1.0, abs=8e-6)
    assert min(table.values()) > 0
    assert set(harmonic_confusion(np.empty(0), np.empty(0)).values()) == {None}


# ---------------------------------------------------------------------------------------------------------------------
# Intervals


def test_honest_uncertainties_hold_the_truth_as_often_as_they_say() -> None:
    cumulative = (np.arange(20_000) + 0.5) / 20_000
    for level, covered in interval_coverage(cumulative).items():
        assert covered == pytest.approx(float(level), abs=1e-3)
    assert interval_coverage(cumulative).keys() == {"0.50", "0.68", "0.90", "0.95"}


def test_coverage_by_hand() -> None:
    """The central half runs from a quarter to three quarters."""
    cumulative = np.array([0.2, 0.3, 0.5, 0.74, 0.76, 0.01, 0.97, 0.96])
    assert interval_coverage(cumulative) == {"0.50": 3 / 8, "0.68": 5 / 8, "0.90": 5 / 8, "0.95": 7 / 8}
    assert set(interval_coverage(np.array([0.0, 1.0])).values()) == {0.0}


# ---------------------------------------------------------------------------------------------------------------------
# The best constant


def right_for(constant: float, true_period: NDArray) -> int:
    """How many of these the constant is right for; an end of the interval counts, whatever the rounding."""
    return int((np.abs(constant - true_period) <= 0.1 * true_period * (1 + 1e-9)).sum())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.floats(1, 30), min_size=1, max_size=12))
def test_no_constant_is_better_than_the_best(true_period: list[float]) -> None:
    """The number within 10% changes only where a star's own interval begins or ends."""
    truth = np.array(true_period)
    candidates = np.concatenate([0.9 * truth, 1.1 * truth])
    most = max(right_for(constant, truth) for constant in candidates)
    assert right_for(best_constant(truth), truth) == most


def test_the_best_constant_of_the_papers_periods() -> None:
    """Of U(1, 30) it is 27 d, within 10% of the truths between 24.5 and 30 d: 18.8%."""
    true_period = np.linspace(1, 30, 20_001)
    constant = best_constant(true_period)
    assert constant == pytest.approx(27.0, abs=0.05)
    assert period_scores(true_period, np.full(20_001, constant))["within_10pct"] == pytest.approx(0.188, abs=0.001)


def test_the_best_constant_of_one_star_is_right() -> None:
    assert abs(best_constant(np.array([7.0])) - 7) <= 0.7 + 1e-9
