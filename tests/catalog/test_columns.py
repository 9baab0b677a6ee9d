"""The flags of a catalog, by cases worked out by hand and against the obvious loop."""

import math

import numpy as np
import polars as pl
import pytest

from varistar.catalog.columns import CATALOG, Flag, flag
from varistar.lightcurves.cuts import Cuts
from varistar.surveys.definition import Survey

SURVEY = Survey(
    description="hand-made",
    time_system="MJD_UTC",
    window=(58000.0, 59000.0),
    cuts=Cuts(min_points=20),
    period_range=(1.0, 30.0),
    aliases={"day": (0.98, 1.02), "half_month": (14.4746, 15.0654), "month": (28.9394, 30.1206)},
)


def flags(period: float, p: float = 0.9, n_points: int = 100, survey: Survey = SURVEY, second_p: float = 0.0) -> Flag:
    table = pl.DataFrame(
        {"period": [period], "p_within_10pct": [p], "second_p": [second_p], "n_points": [n_points]},
        schema_overrides={"period": pl.Float64, "p_within_10pct": pl.Float64, "second_p": pl.Float64},
    )
    result = flag(table, survey)
    assert (result.name, result.dtype, len(result)) == ("flags", CATALOG["flags"].dtype, 1)
    return Flag(result.item())


def test_the_bits_are_what_the_documentation_says() -> None:
    assert {bit.name: bit.value for bit in Flag} == {
        "UNTRUSTED": 1, "ALIAS": 2, "EDGE": 4, "FEW_POINTS": 8, "AMBIGUOUS": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("p", "untrusted"), [(1.0, False), (0.5001, False), (0.5, True), (0.0, True), (math.nan, True)]
)
def test_what_is_no_more_probably_right_than_wrong_is_not_trusted(p: float, untrusted: bool) -> None:
    assert flags(5.0, p) == (Flag.UNTRUSTED if untrusted else Flag(0))


@pytest.mark.parametrize(("p", "second_p", "ambiguous"), [(0.6, 0.31, True), (0.6, 0.3, False), (0.9, 0.0, False)])
def test_a_second_candidate_half_as_probable_is_told(p: float, second_p: float, ambiguous: bool) -> None:
    assert flags(5.0, p, second_p=second_p) == (Flag.AMBIGUOUS if ambiguous else Flag(0))


@pytest.mark.parametrize(("n_points", "few"), [(20, True), (39, True), (40, False), (1000, False)])
def test_fewer_than_twice_the_points_of_the_cut_are_few(n_points: int, few: bool) -> None:
    assert flags(5.0, n_points=n_points) == (Flag.FEW_POINTS if few else Flag(0))


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (14.77, Flag.ALIAS),
        (14.77 * 0.981, Flag.ALIAS),
        (14.77 * 1.019, Flag.ALIAS),
        (14.77 * 0.979, Flag(0)),  # 2.1% away from the alias
        (14.77 * 1.021, Flag(0)),
        (0.97, Flag.EDGE),  # 3% away from the day, and below the range
        (0.985, Flag.EDGE | Flag.ALIAS),
        (1.019, Flag.EDGE | Flag.ALIAS),
        (1.03, Flag(0)),
        (28.9, Flag(0)),  # 2.1% below the month, 3.7% below the end
        (29.0, Flag.ALIAS),
        (29.41, Flag.EDGE | Flag.ALIAS),
        (30.0, Flag.EDGE | Flag.ALIAS),
        (31.0, Flag.EDGE),  # beyond the range, 5% above the month
        (7.385, Flag(0)),  # half an alias is none
    ],
)
def test_aliases_and_edges(period: float, expected: Flag) -> None:
    assert flags(period) == expected


def test_bits_add_up() -> None:
    assert flags(1.0, 0.5, 20, second_p=0.4) == Flag(31)


def test_a_survey_without_aliases_flags_none() -> None:
    survey = SURVEY.model_copy(update={"aliases": {}})
    assert flags(14.77, survey=survey) == Flag(0)
    assert flags(1.0, survey=survey) == Flag.EDGE


def test_many_stars_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    n = 2000
    table = pl.DataFrame(
        {
            "period": rng.choice([0.98, 1.0, 1.05, 14.5, 15.2, 29.0, 29.9, 5.0], n) * rng.uniform(0.99, 1.01, n),
            "p_within_10pct": rng.uniform(0.4, 0.6, n),
            "second_p": rng.uniform(0.0, 0.5, n),
            "n_points": rng.integers(20, 60, n),
        }
    )
    expected = []
    for period, p, second_p, n_points in table.iter_rows():
        bits = 1 * (p <= 0.5) + 16 * (second_p > p / 2)
        bits += 2 * any(abs(period - alias) <= 0.02 * alias for alias in (1.0, 14.77, 29.53))
        bits += 4 * (period <= 1.02 or period >= 29.4)
        bits += 8 * (n_points < 40)
        expected.append(bits)
    assert flag(table, SURVEY).to_list() == expected
    assert len(set(expected)) >= 12


def test_no_stars() -> None:
    schema = {name: CATALOG[name].dtype for name in ("period", "p_within_10pct", "second_p", "n_points")}
    assert flag(pl.DataFrame(schema=schema), SURVEY).to_list() == []


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning for column in CATALOG.values())
    assert {name for name, column in CATALOG.items() if column.unit == "d"} == {
        "period", "sigma", "period_low", "period_high", "second_period",
    }  # fmt: skip
