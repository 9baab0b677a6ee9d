"""Scores by hand, by brute force, and of nothing."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from varistar.periods.scores import (
    best_constant,
    fractional_error,
    interval_coverage,
    period_scores,
    wilson_interval,
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


# ---------------------------------------------------------------------------------------------------------------------
# Intervals


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval(counted: tuple[int, int]) -> None:
    expected = stats.binomtest(*counted).proportion_ci(0.95, method="wilson")
    assert wilson_interval(*counted) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_nothing_counted_is_nothing_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


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
