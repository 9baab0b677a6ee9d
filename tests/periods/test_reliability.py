"""Reliability by hand, by brute force, by numerical integration, and of nothing."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, stats

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.intervals import wilson_interval
from varistar.periods.reliability import (
    accuracy_at_coverage,
    area_under_risk_coverage,
    coverage_at_accuracy,
    crps_of_histogram,
    expected_calibration_error,
    false_period_rate,
    pit_histogram,
    reliability_table,
    risk_coverage,
    threshold_for,
)


def ranked(n: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Distinct confidences, and stars that are right as often as these say."""
    rng = np.random.default_rng(seed)
    confidence = rng.permutation((np.arange(n) + 0.5) / n)
    return confidence, rng.random(n) < confidence


# ---------------------------------------------------------------------------------------------------------------------
# Ranking


def test_the_curve_of_five_stars() -> None:
    """Equals stand in their order, and a star without confidence last."""
    confidence = np.array([0.5, np.nan, 0.9, 0.5, 0.1])
    coverage, accuracy = risk_coverage(confidence, np.array([True, True, True, False, False]))
    np.testing.assert_allclose(coverage, [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(accuracy, [1, 1, 2 / 3, 1 / 2, 3 / 5])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.floats(0.05, 1))
def test_the_curve_by_brute_force(stars: list[tuple[int, bool]], wanted: float) -> None:
    """Python's sort is stable; every fraction is counted from the beginning."""
    surest = [right for _, right in sorted(stars, key=lambda star: -star[0])]
    n = len(surest)
    expected = [sum(surest[:k]) / k for k in range(1, n + 1)]
    confidence, right = (np.array(values) for values in zip(*stars, strict=True))
    coverage, accuracy = risk_coverage(confidence, right)
    np.testing.assert_allclose(accuracy, expected)
    assert area_under_risk_coverage(confidence, right) == pytest.approx(sum(1 - a for a in expected) / n)
    assert accuracy_at_coverage(confidence, right, wanted) == pytest.approx(expected[max(round(wanted * n), 1) - 1])
    enough = [k / n for k in range(20, n + 1) if sum(surest[:k]) >= wanted * k]
    assert coverage_at_accuracy(confidence, right, wanted) == (max(enough) if enough else 0.0)
    assert coverage[-1] == 1.0


def test_the_threshold_by_brute_force() -> None:
    """Of all that could be set, the lowest that keeps its promise on the stars it was chosen on."""
    rng = np.random.default_rng(1)
    for trial in range(40):
        confidence = rng.integers(0, 12, 150) / 12
        right = rng.random(150) < 0.3 + 0.6 * confidence
        wanted = rng.uniform(0.5, 1.0)
        good = [
            threshold
            for threshold in np.unique(confidence)
            if (confidence >= threshold).sum() >= 20 and right[confidence >= threshold].mean() >= wanted
        ]
        assert threshold_for(confidence, right, wanted) == min(good, default=math.inf), trial


def test_a_threshold_does_not_part_equals() -> None:
    """The first 24 of the order are right, but of the 40 equals at 0.5 half are not."""
    confidence = np.concatenate([np.full(10, 0.9), np.full(40, 0.5)])
    right = np.arange(50) < 30
    assert coverage_at_accuracy(confidence, right, 1.0) == 30 / 50
    assert threshold_for(confidence, right, 1.0) == math.inf, "ten stars are too few to believe"
    assert threshold_for(confidence, right, 0.6) == 0.5


def test_a_star_without_confidence_is_below_every_threshold() -> None:
    confidence = np.concatenate([np.linspace(0.9, 0.8, 25), np.full(30, np.nan)])
    assert threshold_for(confidence, np.ones(55, dtype=bool), 0.9) == 0.8


def test_a_threshold_serves_other_stars_of_the_same_kind() -> None:
    confidence, right = ranked(20_000, seed=2)
    threshold = threshold_for(confidence, right, 0.8)
    # p is uniform and honest, so that p >= 0.6 is right in 80%.
    assert threshold == pytest.approx(0.6, abs=0.02)
    others, others_right = ranked(20_000, seed=3)
    assert others_right[others >= threshold].mean() == pytest.approx(0.8, abs=0.02)


def test_twenty_stars_at_least() -> None:
    confidence = np.linspace(1, 0, 100)
    nineteen, twenty = np.arange(100) < 19, np.arange(100) < 20
    assert coverage_at_accuracy(confidence, nineteen, 1.0) == 0.0
    assert coverage_at_accuracy(confidence, twenty, 1.0) == 0.2
    assert coverage_at_accuracy(confidence, twenty, 0.2) == 1.0


def test_more_accuracy_is_had_of_fewer_stars() -> None:
    confidence, right = ranked(3000)
    coverages = [coverage_at_accuracy(confidence, right, accuracy) for accuracy in np.linspace(0.4, 1, 30)]
    assert all(more >= less for more, less in pairwise(coverages))
    assert coverages[0] == 1.0 > coverages[-1]


def test_a_good_ranking_has_less_area_than_none_and_that_less_than_a_bad_one() -> None:
    confidence, right = ranked(4000)
    chance = np.random.default_rng(7).permutation(confidence)
    areas = [area_under_risk_coverage(by, right) for by in (right.astype(float), confidence, chance, -confidence)]
    assert areas == sorted(areas)
    assert areas[2] == pytest.approx(1 - right.mean(), abs=0.03)
    # A perfect order of half wrong: the integral of (c - 1/2) / c from 1/2 to 1.
    assert areas[0] == pytest.approx(0.5 - 0.5 * math.log(2), abs=0.02)


def test_the_order_of_stars_does_not_matter() -> None:
    confidence, right = ranked(300)
    order = np.random.default_rng(5).permutation(300)
    for measure in (area_under_risk_coverage, expected_calibration_error, reliability_table):
        assert measure(confidence[order], right[order]) == measure(confidence, right)
    for measure in (accuracy_at_coverage, coverage_at_accuracy, threshold_for):
        assert measure(confidence[order], right[order], 0.7) == measure(confidence, right, 0.7)


@pytest.mark.filterwarnings("error")
def test_of_no_stars_nothing_is_known() -> None:
    nothing = np.empty(0)
    coverage, accuracy = risk_coverage(nothing, nothing)
    assert coverage.shape == accuracy.shape == (0,)
    assert accuracy_at_coverage(nothing, nothing, 0.5) is None
    assert area_under_risk_coverage(nothing, nothing) is None
    assert expected_calibration_error(nothing, nothing) is None
    assert coverage_at_accuracy(nothing, nothing, 0.5) == 0.0
    assert threshold_for(nothing, nothing, 0.5) == math.inf
    assert reliability_table(nothing, nothing) == []
    assert pit_histogram(nothing).tolist() == [0] * 10
    assert crps_of_histogram(np.empty((0, 3)), np.arange(4), nothing).shape == (0,)
    assert false_period_rate(nothing) == {"n": 0, "claimed": 0, "rate": None, "rate_interval": (0.0, 1.0)}


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(DataError, match=r"one confidence per star, got \(3,\) for \(2,\)"):
        risk_coverage(np.zeros(3), np.zeros(2))
    for coverage in (0.0, 1.1, math.nan):
        with pytest.raises(ConfigError, match=f"above 0 and at most 1, not {coverage:g}"):
            accuracy_at_coverage(np.zeros(3), np.zeros(3), coverage)
    with pytest.raises(ConfigError, match="at least 1 bin, not 0"):
        reliability_table(np.zeros(3), np.zeros(3), bins=0)


# ---------------------------------------------------------------------------------------------------------------------
# Calibration


def test_the_reliability_of_five_stars() -> None:
    p = np.array([0.9, 0.1, 0.3, np.nan, 0.5, 0.7])
    right = np.array([True, False, True, True, False, True])
    low, high = reliability_table(p, right, bins=2)
    assert low == {
        "n": 3, "lowest": 0.1, "highest": 0.5, "predicted": pytest.approx(0.3), "right": pytest.approx(1 / 3),
        "right_interval": wilson_interval(1, 3),
    }  # fmt: skip
    assert (high["n"], high["lowest"], high["highest"], high["right"]) == (2, 0.7, 0.9, 1.0)
    assert expected_calibration_error(p, right, bins=2) == pytest.approx((3 * (1 / 3 - 0.3) + 2 * 0.2) / 5)
    assert json.loads(json.dumps([low | {"predicted": 0.3, "right": 0.3}, high]))[1]["n"] == 2


def test_bins_have_equal_numbers() -> None:
    confidence, right = ranked(1003)
    table = reliability_table(confidence, right, bins=10)
    assert sorted(row["n"] for row in table) == [100] * 7 + [101] * 3
    assert all(first["highest"] < second["lowest"] for first, second in pairwise(table))
    assert [row["n"] for row in reliability_table(confidence[:4], right[:4])] == [1] * 4


def test_the_calibration_error_of_an_honest_p_is_chance() -> None:
    """As large as the docstring says: 0.4 sqrt(bins / n) at most, on average over many sets of stars."""
    n = 1000
    honest = [expected_calibration_error(*ranked(n, seed)) for seed in range(60)]
    assert 0.5 * 0.4 * math.sqrt(10 / n) < np.mean(honest) < 0.4 * math.sqrt(10 / n)


def test_the_calibration_error_of_a_dishonest_p_is_what_it_is_off() -> None:
    confidence, right = ranked(50_000)
    assert expected_calibration_error(confidence / 2, right) == pytest.approx(np.mean(confidence / 2), abs=0.01)


def test_the_pit_histogram_by_hand() -> None:
    """An edge belongs to the bin above, one to the last."""
    cumulative = np.array([0.0, 0.24, 0.25, 0.6, 0.75, 1.0, np.float32(1.0000001), np.nan])
    assert pit_histogram(cumulative, bins=4).tolist() == [2, 1, 1, 3]


@pytest.mark.parametrize("width", [0.5, 1.0, 3.0])
def test_the_pit_histogram_shows_the_width(width: float) -> None:
    """The truth lies in the central half of a normal distribution of the wrong width as often as it must."""
    truth = np.random.default_rng(3).normal(0, 1, 20_000)
    counts = pit_histogram(stats.norm.cdf(truth / width), bins=8)
    central = 2 * stats.norm.cdf(width * stats.norm.ppf(0.75)) - 1
    # Five standard deviations of a fraction of 20,000.
    assert counts[2:6].sum() / 20_000 == pytest.approx(central, abs=5 * 0.5 / math.sqrt(20_000))


EDGES = np.array([0.0, 0.4, 1.1, 1.5, 3.4])


def crps_by_integration(row: NDArray, truth: float) -> float:
    """The definition: F by interpolation, the square integrated piece by piece."""
    at_edges = np.concatenate([[0], np.cumsum(row)])

    def squared(x: float) -> float:
        return (np.interp(x, EDGES, at_edges, left=0, right=1) - (x >= truth)) ** 2

    places = np.unique([-3.0, *EDGES, truth, 6.0])
    return sum(integrate.quad(squared, low, high)[0] for low, high in pairwise(places))


def test_the_score_of_a_histogram_is_its_integral() -> None:
    rng = np.random.default_rng(11)
    truth = np.array([-1.0, 0.0, 0.2, 0.4, 1.3, 2.9, 3.4, 5.0])
    probabilities = rng.dirichlet(np.full(4, 0.5), len(truth))
    expected = [crps_by_integration(row, value) for row, value in zip(probabilities, truth, strict=True)]
    np.testing.assert_allclose(crps_of_histogram(probabilities, EDGES, truth), expected, atol=1e-9)


def test_the_score_of_a_narrow_bin_is_a_distance() -> None:
    edges = np.array([-1.0, 0.5, 0.5 + 1e-9, 4.0])
    score = crps_of_histogram(np.array([[0.0, 1, 0]] * 3), edges, np.array([0.2, 0.5, 3.0]))
    np.testing.assert_allclose(score, [0.3, 0.0, 2.5], atol=1e-8)


def test_the_score_of_fine_bins_is_that_of_the_curve() -> None:
    """Of a Laplace distribution, whose closed form stands beside it."""
    edges = np.linspace(-12, 14, 4001)
    truth = np.array([-3.0, 0.9, 1.0, 2.0, 6.0])
    row = np.diff(stats.laplace.cdf(edges, 1.0, 0.7))
    score = crps_of_histogram(np.tile(row / row.sum(), (5, 1)), edges, truth)
    np.testing.assert_allclose(score, crps_of_laplace(1.0, 0.7, truth), atol=1e-5)


def crps_of_laplace(centre: float, scale: float, truth: NDArray) -> NDArray:
    """d + b exp(-d / b) - 3 b / 4 with d = |truth - centre| (Jordan, Krueger & Lerch 2019, appendix A)."""
    distance = np.abs(truth - centre)
    return distance + scale * np.exp(-distance / scale) - 0.75 * scale


def test_a_truth_that_is_not_there_has_no_score() -> None:
    rows = np.full((2, 4), 0.25)
    assert np.isnan(crps_of_histogram(rows, EDGES, np.array([np.nan, 1.0]))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("probabilities", "sentence"),
    [
        (np.full((2, 3), 1 / 3), r"have the shape \(2, 4\), not \(2, 3\)"),
        (np.array([[0.25] * 4, [0.3] * 4]), "star 1 have the sum 1.2; expected 1"),
        (np.array([[np.nan] * 4, [0.25] * 4]), "star 0 have the sum nan; expected 1"),
    ],
)
def test_what_is_no_histogram_is_refused(probabilities: NDArray, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        crps_of_histogram(probabilities, EDGES, np.array([1.0, 2.0]))


# ---------------------------------------------------------------------------------------------------------------------
# Stars without a period


def test_claims_are_above_the_threshold() -> None:
    p = np.array([0.1, 0.5, 0.51, 0.9, np.nan])
    assert false_period_rate(p) == {"n": 5, "claimed": 2, "rate": 0.4, "rate_interval": wilson_interval(2, 5)}
    assert false_period_rate(p, threshold=0.8)["claimed"] == 1
