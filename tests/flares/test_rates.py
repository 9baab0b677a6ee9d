"""Rates against counts by hand, simulated stars whose rates are known, and tables that must be refused."""

import math

import numpy as np
import polars as pl
import pytest

from varistar.flares.frequency import FrequencySettings, poisson_interval
from varistar.flares.rates import (
    COOL_AND_HOT,
    STAR_COLUMNS,
    RateSettings,
    largest_flares,
    rates_by_group,
    rates_by_size,
    star_rates,
    with_bins,
)
from varistar.foundation.errors import ConfigError, DataError

STARS = pl.DataFrame(
    {
        "star_id": ["a", "b", "c", "d"],
        "searched_days": [20.0, 10.0, 25.0, 5.0],
        "teff": [3000.0, 3500.0, 5500.0, None],
        "age_myr": [10.0, 12.0, 45.0, 300.0],
    }
)
EVENTS = pl.DataFrame(
    {
        "star_id": ["c", "a", "a", "a", "c"],
        "tpeak": [1.0, 2.0, 3.0, 4.0, 5.0],
        "p": [1.0, 0.5, 1.0, 0.4, 0.8],
        "amplitude": [0.01, 0.2, 0.02, 0.9, None],
        "equivalent_duration_s": [5.0, 80.0, 8.0, 400.0, None],
    }
)


def test_a_stars_row_is_what_its_events_add_up_to() -> None:
    table = star_rates(STARS, EVENTS)
    assert dict(table.schema) == STAR_COLUMNS and table["star_id"].to_list() == ["a", "b", "c", "d"]
    a, b, c, _ = table.iter_rows(named=True)
    assert (a["n_events"], a["n_flares"], a["rate_per_day"]) == (3, pytest.approx(1.9), pytest.approx(1.9 / 20.0))
    low, high = poisson_interval(1.9)
    assert (a["rate_low"], a["rate_high"]) == pytest.approx((float(low) / 20.0, float(high) / 20.0))
    assert a["mean_amplitude"] == pytest.approx((0.5 * 0.2 + 0.02 + 0.4 * 0.9) / 1.9)
    assert (a["largest_amplitude"], a["largest_size"]) == (0.2, 80.0)  # the larger one has p = 0.4
    assert (b["n_events"], b["n_flares"], b["rate_per_day"], b["rate_low"]) == (0, 0.0, 0.0, 0.0)
    assert b["rate_high"] == pytest.approx(-math.log(0.025) / 10.0) and b["mean_amplitude"] is None
    assert (c["n_events"], c["n_flares"], c["mean_amplitude"]) == (2, pytest.approx(1.8), 0.01)
    assert table["alpha"].null_count() == 4  # nothing says where a law would begin


def test_rows_do_not_depend_on_the_order_of_the_events() -> None:
    shuffled = EVENTS.sample(fraction=1.0, shuffle=True, seed=1)
    assert star_rates(STARS, shuffled).equals(star_rates(STARS, EVENTS))


def test_no_events_at_all_is_a_table_of_zeros() -> None:
    table = star_rates(STARS, EVENTS.clear())
    assert table["n_flares"].to_list() == [0.0] * 4 and table["rate_high"].min() > 0.0
    groups = rates_by_group(with_bins(STARS), EVENTS.clear(), ["age_bin"])
    assert groups["n_flares"].sum() == 0.0 and groups["mean_amplitude"].null_count() == len(groups)


def simulated(rng: np.random.Generator, n: int, rate: float, alpha: float = 2.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Stars of one rate above size 1, 20 days each, and their flares."""
    counts = rng.poisson(20.0 * rate, n)
    names = np.array([f"s{k}" for k in range(n)])
    sizes = (1.0 - rng.random(counts.sum())) ** (-1.0 / (alpha - 1.0))
    events = pl.DataFrame(
        {
            "star_id": np.repeat(names, counts),
            "p": np.ones(len(sizes)),
            "amplitude": 0.001 * sizes,
            "equivalent_duration_s": sizes,
        }
    )
    return pl.DataFrame({"star_id": names, "searched_days": np.full(n, 20.0), "kind": ["x"] * n}), events


def test_true_rates_and_slopes_lie_in_the_intervals_of_the_stars() -> None:
    stars, events = simulated(np.random.default_rng(0), 200, 2.0)
    table = star_rates(stars, events, RateSettings(frequency=FrequencySettings(lowest=1.0)))
    for low, high, truth in (("rate_low", "rate_high", 2.0), ("alpha_low", "alpha_high", 2.0)):
        covered = ((table[low] <= truth) & (table[high] >= truth)).mean()
        assert covered is not None and 0.95 - 3.5 * 0.0154 < covered < 0.99
    assert table["alpha"].mean() == pytest.approx(2.0, abs=3.5 * 0.16 / math.sqrt(200))
    np.testing.assert_allclose(table["alpha_flares"], table["n_flares"])


def test_completeness_of_a_star_goes_into_its_slope() -> None:
    rng = np.random.default_rng(1)
    stars, events = simulated(rng, 1, 100.0)

    def rising(size: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + (size / 4.0) ** -3.0)

    kept = events.filter(pl.Series(rng.random(len(events)) < rising(events["equivalent_duration_s"].to_numpy())))
    row = star_rates(stars, kept, completeness={"s0": rising}).row(0, named=True)
    assert row["alpha_low"] < 2.0 < row["alpha_high"] and 100.0 < row["alpha_flares"] < row["n_flares"]


def test_groups_count_the_stars_that_do_not_flare() -> None:
    table = rates_by_group(with_bins(STARS), EVENTS, ["teff_bin", "age_bin"])
    assert table.select(pl.col("teff_bin", "age_bin").cast(pl.String)).rows() == [
        ("2300-3200", "1-20"),
        ("3200-4000", "1-20"),
        ("5000-6200", "45-125"),
    ]  # d has no temperature
    young = rates_by_group(with_bins(STARS), EVENTS, ["age_bin"]).row(0, named=True)
    assert (young["n_stars"], young["n_flaring"], young["searched_days"]) == (2, 1, 30.0)
    assert young["rate_per_day"] == pytest.approx(1.9 / 30.0)
    assert young["stars_low"] == 0.0 and young["stars_high"] == pytest.approx(1.9 / 20.0)
    assert young["mean_amplitude"] == pytest.approx((0.5 * 0.2 + 0.02 + 0.4 * 0.9) / 1.9)
    single = rates_by_group(STARS.with_columns(name="star_id"), EVENTS, ["name"])
    assert single["stars_low"].null_count() == 4  # one star says nothing of others


def test_intervals_by_star_are_poissons_for_like_stars_and_wider_for_unlike_ones() -> None:
    rng = np.random.default_rng(2)
    like, events = simulated(rng, 150, 0.5)
    row = rates_by_group(like, events, ["kind"]).row(0, named=True)
    assert (row["stars_high"] - row["stars_low"]) / (row["rate_high"] - row["rate_low"]) == pytest.approx(1.0, abs=0.2)
    assert row["rate_low"] < 0.5 < row["rate_high"]
    few, many_events = simulated(rng, 10, 7.5)
    mixed = pl.concat([like.with_columns(star_id="quiet " + pl.col("star_id")).head(140), few])
    row = rates_by_group(mixed, many_events, ["kind"]).row(0, named=True)
    assert row["stars_high"] - row["stars_low"] > 4.0 * (row["rate_high"] - row["rate_low"])


def test_bins_of_size_hold_every_flare_once_and_say_when_empty() -> None:
    settings = RateSettings(teff_edges=COOL_AND_HOT)
    edges = [1.0, 8.0, 100.0, 1000.0]
    table = rates_by_size(with_bins(STARS, settings), EVENTS, ["teff_bin"], edges, settings)
    assert table["n_flares"].to_list() == pytest.approx([0.0, 1.5, 0.4, 1.0, 0.0, 0.0])  # 8 is in the second bin
    assert table["size_low"].to_list() == edges[:-1] * 2
    assert table["searched_days"].to_list() == [30.0] * 3 + [25.0] * 3
    np.testing.assert_allclose(table["rate_per_day"], table["n_flares"] / table["searched_days"])
    assert table["rate_high"].min() > 0.0


def test_bins_sort_by_temperature_and_age() -> None:
    many = pl.DataFrame(
        {
            "star_id": [str(k) for k in range(5)],
            "searched_days": [1.0] * 5,
            "teff": [7000.0, 2500.0, 3300.0, 4500.0, 6000.0],
            "age_myr": [500.0, 5.0, 25.0, 40.0, 60.0],
        }
    )
    binned = with_bins(many)
    ages = rates_by_group(binned, EVENTS.clear(), ["age_bin"])["age_bin"].cast(pl.String).to_list()
    assert ages == ["1-20", "20-30", "30-45", "45-125", "125+"]
    assert binned["teff_bin"].cast(pl.String).to_list() == ["6200+", "2300-3200", "3200-4000", "4000-5000", "5000-6200"]


def test_superflares_are_the_largest_probable_ones() -> None:
    table = largest_flares(EVENTS, n=2)
    assert table["amplitude"].to_list() == [0.2, 0.02] and table.columns == EVENTS.columns
    assert largest_flares(EVENTS, n=9, least_p=0.0)["tpeak"].to_list() == [4.0, 2.0, 3.0, 1.0]
    same = EVENTS.with_columns(amplitude=pl.lit(0.5))
    ordered = largest_flares(same, n=9)
    assert ordered.equals(largest_flares(same.reverse(), n=9)) and ordered["star_id"][0] == "a"


@pytest.mark.parametrize(
    ("stars", "events", "words"),
    [
        (STARS.drop("searched_days"), EVENTS, "the stars need the column 'searched_days'"),
        (STARS, EVENTS.drop("p"), "the events need the column 'p'"),
        (STARS.with_columns(star_id=pl.lit("a")), EVENTS, "star a stands twice"),
        (STARS.with_columns(searched_days=pl.lit(0.0)), EVENTS, "days searched must be positive"),
        (STARS.with_columns(searched_days=pl.lit(None, pl.Float64)), EVENTS, "days searched must be positive"),
        (STARS, EVENTS.with_columns(p=pl.lit(1.5)), "between 0 and 1, got 1.5"),
        (STARS, EVENTS.with_columns(p=pl.lit(math.nan)), "between 0 and 1"),
        (STARS.filter(pl.col("star_id") != "c"), EVENTS, "star c has flares, but is not among"),
    ],
)
def test_tables_that_would_give_wrong_rates_are_refused(stars: pl.DataFrame, events: pl.DataFrame, words: str) -> None:
    with pytest.raises(DataError, match=words):
        star_rates(stars, events)


def test_edges_must_ascend() -> None:
    with pytest.raises(ConfigError, match="ascend"):
        rates_by_size(STARS, EVENTS, ["age_myr"], [1.0, 1.0])
