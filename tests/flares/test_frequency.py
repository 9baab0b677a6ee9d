"""Flare frequency distributions of known laws seen through known completeness, and counts with known rates."""

import math

import numpy as np
import polars as pl
import pytest

from varistar.flares.frequency import (
    FlareSample,
    FrequencySettings,
    binned_slope,
    check_samples,
    frequency_table,
    poisson_interval,
    size_cuts,
)
from varistar.foundation.errors import ConfigError, DataError


def rising(size: np.ndarray) -> np.ndarray:
    """A completeness that rises from 0 to 1 around 8."""
    return 1.0 / (1.0 + (size / 8.0) ** -2.5)


def pareto(rng: np.random.Generator, n: int, alpha: float) -> np.ndarray:
    return (1.0 - rng.random(n)) ** (-1.0 / (alpha - 1.0))


def test_poisson_intervals_cover_the_rate_at_least_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for mean in (0.3, 3.0, 40.0):
        for level in (0.68, 0.95):
            low, high = poisson_interval(rng.poisson(mean, 20_000), level)
            covered = np.mean((low <= mean) & (mean <= high))
            assert covered >= level - 0.01
    assert covered < 0.975
    low, high = poisson_interval(np.array([0.0, 1.0]))
    np.testing.assert_allclose(low, [0.0, -math.log(0.975)])
    assert high[0] == pytest.approx(-math.log(0.025))  # the textbook 3.69 of no event


def test_sums_of_calibrated_probabilities_are_covered_too() -> None:
    """Candidates come at random, and each is a flare with its own p: the sum of p estimates the flares' rate."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        p = rng.beta(0.7, 0.4, rng.poisson(12.0))
        low, high = poisson_interval(p.sum())
        covered += low <= 12.0 * 0.7 / 1.1 <= high
    assert covered / 2000 >= 0.95


def test_the_table_is_the_plain_cumulative_count_where_all_is_found() -> None:
    sizes = np.array([3.0, 10.0, 1.0, 30.0])
    table = frequency_table([FlareSample(sizes, np.array([1.0, 0.5, 1.0, 1.0]), 10.0)])
    assert table["size"].to_list() == [30.0, 10.0, 3.0, 1.0]
    np.testing.assert_allclose(table["n"], [1.0, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(table["rate_per_day"], table["n"] / 10.0)
    np.testing.assert_allclose(table["rate_high"], poisson_interval(table["n"].to_numpy())[1] / 10.0)


def test_the_table_corrects_for_what_was_missed_on_each_star() -> None:
    """Two stars of one law, one of which is searched three times as deeply; the truth is 1 flare a day above 1."""
    rng = np.random.default_rng(2)
    samples = []
    for depth, days in ((1.0, 4000.0), (3.0, 2000.0)):

        def found(size: np.ndarray, depth: float = depth) -> np.ndarray:
            return rising(size * depth)

        sizes = pareto(rng, int(rng.poisson(days)), 1.8)
        seen = sizes[rng.random(len(sizes)) < found(sizes)]
        samples.append(FlareSample(seen, np.ones(len(seen)), days, found))
    table = frequency_table(samples)
    trusted = table.drop_nulls("rate_per_day")
    assert 3.0 < trusted["size"].min() < 4.5  # where two thirds of one and a third of the other make 0.3
    truth = trusted["size"].to_numpy() ** -0.8
    inside = (trusted["rate_low"].to_numpy() <= truth) & (truth <= trusted["rate_high"].to_numpy())
    assert inside[trusted["n"].to_numpy() > 20.0].mean() > 0.9
    low = trusted.filter(pl.col("size") == pl.col("size").min())
    assert low["rate_per_day"].item() == pytest.approx(low["size"].item() ** -0.8, rel=0.05)
    assert low["found_per_day"].item() < 0.8 * low["rate_per_day"].item()
    assert table["found_per_day"].is_sorted() and table["rate_per_day"][-1] is None


def test_a_star_counts_from_where_it_stays_complete() -> None:
    settings = FrequencySettings(least_completeness=0.5)
    sizes = np.array([2.0, 50.0])
    one = FlareSample(sizes, np.ones(2), 1.0, rising)
    deaf = FlareSample(sizes, np.ones(2), 1.0, lambda size: 0.1 * rising(size))
    assert size_cuts([one, deaf], settings) == pytest.approx([8.0, math.inf], rel=0.01)

    def dips(size: np.ndarray) -> np.ndarray:
        return np.where((size > 15.0) & (size < 20.0), 0.0, 1.0)

    dip = FlareSample(sizes, np.ones(2), 1.0, dips)
    assert size_cuts([dip], settings)[0] == pytest.approx(20.0, rel=0.01)
    assert size_cuts([one], FrequencySettings(lowest=12.0))[0] == 12.0
    with pytest.raises(ConfigError, match="star X: completeness never falls"):
        size_cuts([FlareSample(sizes, np.ones(2), 1.0, None, "X")], settings)


def test_the_papers_line_finds_the_slope_of_many_flares() -> None:
    rng = np.random.default_rng(3)
    sizes = pareto(rng, 60_000, 1.8)
    result = binned_slope([FlareSample(sizes, np.ones(len(sizes)), 1.0)], np.geomspace(1.0, 100.0, 9))
    assert result is not None
    assert result[0] == pytest.approx(1.8, abs=0.03) and abs(result[0] - 1.8) < 4.0 * result[1] < 0.2
    assert binned_slope([FlareSample(sizes[:3], np.ones(3), 1.0)], np.array([1.0, 2.0, 4.0])) is None


def test_the_papers_line_is_exact_for_exact_counts() -> None:
    edges = np.geomspace(1.0, 1000.0, 7)
    centres = np.sqrt(edges[1:] * edges[:-1])
    weight = centres**-0.9
    result = binned_slope([FlareSample(centres, weight, 3.0)], edges)
    assert result == pytest.approx((1.9, 0.0), abs=1e-10)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (FlareSample(np.array([0.0]), np.ones(1), 1.0), "positive and finite"),
        (FlareSample(np.array([np.nan]), np.ones(1), 1.0), "positive and finite"),
        (FlareSample(np.ones(1), np.array([1.2]), 1.0), "between 0 and 1"),
        (FlareSample(np.ones(1), np.array([np.nan]), 1.0), "between 0 and 1"),
        (FlareSample(np.ones(2), np.ones(1), 1.0), "one probability per flare"),
        (FlareSample(np.ones(1), np.ones(1), 0.0), "days searched"),
    ],
)
def test_senseless_samples_are_refused(sample: FlareSample, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_samples([sample])


def test_no_stars_are_refused_and_no_flares_are_an_empty_table() -> None:
    with pytest.raises(DataError, match="at least one star"):
        frequency_table([])
    assert len(frequency_table([FlareSample(np.zeros(0), np.zeros(0), 5.0)])) == 0
