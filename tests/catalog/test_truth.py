"""A catalog beside the truth: what is right, which period is mistaken for which, and tables that are none."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.catalog.columns import CATALOG, Flag
from varistar.catalog.files import ENDINGS, write_parts
from varistar.catalog.truth import CONFUSIONS, confusion, judge, read_table
from varistar.foundation.errors import DataError

RANGE = (1.0, 30.0)


def catalog(**periods: float) -> pl.DataFrame:
    """Trusted rows of stars without a flag."""
    n = len(periods)
    return pl.DataFrame(
        {
            "star_id": list(periods),
            "period": [float(period) for period in periods.values()],
            "fractional_uncertainty": [0.1] * n,
            "p_within_10pct": [0.9] * n,
            "n_points": [500] * n,
            "flags": [0] * n,
        }
    )


def truth(**columns: list) -> pl.DataFrame:
    n = len(columns["period_days"])
    return pl.DataFrame({"star_id": [f"s{i}" for i in range(n)]} | columns, strict=False)


@pytest.mark.parametrize(
    ("equatorial", "shown", "measured", "in_range", "right"),  # each by (equatorial, shown, either)
    [
        (10.0, 12.0, 10.5, "yyy", "yny"),
        (10.0, 12.0, 12.5, "yyy", "nyy"),
        (10.0, 11.0, 10.5, "yyy", "yyy"),
        (10.0, 12.0, 20.0, "yyy", "nnn"),
        (10.0, None, 10.5, "yyy", "yyy"),  # no word of what it shows: the equator's
        (28.0, 32.0, 30.0, "yny", "yny"),
        (28.0, 40.0, 36.5, "yny", "nnn"),  # a period out of range is none to be right about
        (30.0, 30.0, 30.0, "yyy", "yyy"),
        (1.0, 1.0, 0.95, "yyy", "yyy"),
        (31.0, 31.0, 30.0, "nnn", "nnn"),
        (0.99, 0.99, 1.0, "nnn", "nnn"),
        (None, None, 10.0, "nnn", "nnn"),
        (None, 10.0, 10.0, "nnn", "nnn"),  # a star without a period shows none
        (float("nan"), None, 10.0, "nnn", "nnn"),
        (10.0, 10.0, float("nan"), "yyy", "nnn"),
        (10.0, 10.0, 11.0, "yyy", "yyy"),
        (10.0, 10.0, 11.001, "yyy", "nnn"),
    ],
)
def test_right_is_within_a_tenth_of_a_true_period_in_range(
    equatorial: float | None, shown: float | None, measured: float, in_range: str, right: str
) -> None:
    row = judge(catalog(s0=measured), truth(period_days=[equatorial], shown_period_days=[shown]), RANGE)
    for mark, of, expected in (("with_period", in_range, "y"), ("right", right, "y")):
        for sense, letter in zip(("equatorial", "shown", "either"), of, strict=True):
            assert row[f"{mark}_{sense}"].item() is (letter == expected), (mark, sense)


def test_the_true_period_is_the_shown_one_that_can_be_found() -> None:
    stars = truth(period_days=[10.0, 28.0, 0.5, 31.0, None], shown_period_days=[12.0, 32.0, 0.6, None, None])
    assert judge(catalog(s0=1.0), stars, RANGE)["true_period"].to_list() == [12.0, 28.0, 0.6, 31.0, None]


@pytest.mark.parametrize(
    ("flags", "trusted", "clean"),
    [
        (Flag(0), True, True),
        (Flag.FEW_POINTS, True, True),
        (Flag.ALIAS, True, False),
        (Flag.EDGE | Flag.FEW_POINTS, True, False),
        (Flag.UNTRUSTED, False, False),
        (Flag.UNTRUSTED | Flag.ALIAS, False, False),
        (None, False, False),
    ],
)
def test_reported_by_flags(flags: Flag | None, trusted: bool, clean: bool) -> None:
    bits = pl.Series("flags", [None if flags is None else int(flags)], dtype=pl.Int32)
    row = judge(catalog(s0=5.0).with_columns(bits), truth(period_days=[5.0]), RANGE).row(0, named=True)
    assert (row["in_catalog"], row["trusted"], row["clean"]) == (True, trusted, clean)


def test_a_row_for_every_star_of_the_truth_in_its_order() -> None:
    stars = judge(catalog(s2=7.0, other=3.0, s0=5.0), truth(period_days=[5.0, 6.0, 7.0]), RANGE)
    assert stars["star_id"].to_list() == ["s0", "s1", "s2"]
    assert stars["period"].to_list() == [5.0, None, 7.0]
    for name in ("in_catalog", "trusted", "clean", "right_either"):
        assert stars[name].to_list() == [True, False, True], name


def test_names_have_no_gaps_and_a_subtype_belongs_to_its_kind() -> None:
    known = truth(period_days=[1.0, 2.0], kind=["rotator", None], subtype=["dwarf", "dwarf"], population=[None, "thin"])
    stars = judge(catalog(s0=1.0), known, RANGE)
    assert stars["subtype"].to_list() == ["rotator dwarf", "unknown dwarf"]
    assert stars["population"].to_list() == ["unknown", "thin"]


def test_ids_are_names() -> None:
    numbers = truth(period_days=[5.0]).with_columns(star_id=pl.Series([17]))
    assert judge(catalog(**{"17": 5.0}), numbers, RANGE)["right_either"].all()


@pytest.mark.parametrize(
    ("true", "measured", "expected"),
    [
        (10.0, 10.9, "1:1"),
        (10.0, 5.2, "1:2"),
        (10.0, 21.9, "2:1"),
        (10.0, 3.1, "1:3"),
        (10.0, 29.0, "3:1"),
        (10.0, 15.0, "other"),
        (10.0, 1.1, "alias"),  # 1 / (1 - 0.1)
        (10.0, 0.91, "alias"),  # 1 / (1 + 0.1)
        (0.62, 1.6, "alias"),  # 1 / (1.613 - 1)
        (1.04, 26.0, "alias"),
        (2.0, 2.0, "1:1"),  # its own alias
        (1.0, 1.0, "1:1"),  # and one at no frequency
        (1.0, 17.0, "other"),
        (10.0, float("nan"), "other"),
    ],
)
def test_what_a_period_is_mistaken_for(true: float, measured: float, expected: str) -> None:
    assert CONFUSIONS[confusion(np.array([measured]), [np.array([true])])[0]] == expected


def test_an_alias_looks_the_same_to_one_site() -> None:
    """At whole days, a sinusoid of frequency f is one of |f - 1| and of f + 1."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.3, 40, 200)
    day = np.arange(50)[:, None]
    for shift in (-1, 1):
        alias = 1 / np.abs(1 / true + shift)
        np.testing.assert_allclose(np.cos(2 * np.pi * day / true), np.cos(2 * np.pi * day / alias), atol=1e-9)
        said = confusion(alias, [true])
        ratio = alias / true
        simple = np.any([np.abs(ratio / r - 1) <= 0.1 for r in (1, 1 / 2, 2, 1 / 3, 3)], axis=0)
        assert (said[~simple] == CONFUSIONS.index("alias")).all()
        assert (said[simple] < CONFUSIONS.index("alias")).all() and simple.any()


def test_either_true_period_may_explain() -> None:
    period, one, other = np.array([10.0, 10.0]), np.array([10.0, 5.0]), np.array([20.0, 10.5])
    assert [CONFUSIONS[i] for i in confusion(period, [one, other])] == ["1:1", "1:1"]


GOOD = (catalog(s0=5.0, s1=6.0), truth(period_days=[5.0, None]))


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ((GOOD[0].drop("flags"), GOOD[1]), "the catalog has no column 'flags'; it has star_id, period, "),
        ((GOOD[0], GOOD[1].drop("period_days")), "the truth has no column 'period_days'; it has star_id"),
        ((GOOD[0], pl.DataFrame()), "the truth has no column 'star_id'; it has none"),
        ((GOOD[0], GOOD[1].clear()), "the truth has no rows; expected one for each star"),
        ((pl.concat([GOOD[0], GOOD[0][1:]]), GOOD[1]), "star 's1' stands in 2 rows of the catalog; expected one row"),
        ((GOOD[0], pl.concat([GOOD[1]] * 3)), "star 's0' stands in 3 rows of the truth; expected one row"),
        (
            (catalog(a=5.0), GOOD[1]),
            "catalog and truth share no star_id, such as 'a' and 's0'; expected the same stars",
        ),
        (
            (GOOD[0].with_columns(period=pl.lit("long")), GOOD[1]),
            "the column 'period' of the catalog holds String; expected numbers",
        ),
        (
            (GOOD[0], GOOD[1].with_columns(g_mag=pl.lit("bright"))),
            "the column 'g_mag' of the truth holds String; expected numbers",
        ),
        (
            (GOOD[0].with_columns(star_id=pl.Series(["s0", None])), GOOD[1]),
            "row 1 of the catalog has no star_id",
        ),
        (
            (GOOD[0], truth(period_days=[None, -2.0])),
            "star 's1' of the truth has period_days -2; expected more than 0 d, or null for no period",
        ),
        (
            (GOOD[0], truth(period_days=[3.0, 2.0], shown_period_days=[float("inf"), 1.0])),
            "star 's0' of the truth has shown_period_days inf; expected more than 0 d",
        ),
    ],
)
def test_bad_tables_are_told_in_one_sentence(tables: tuple[pl.DataFrame, pl.DataFrame], sentence: str) -> None:
    with pytest.raises(DataError, match=re.escape(sentence)) as raised:
        judge(*tables, RANGE)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_catalog_is_read_in_every_format_it_is_written_in(ending: str, tmp_path: Path) -> None:
    rows = catalog(**{"007": 5.25, "12": 3.5}).with_columns(
        sigma=pl.lit(0.5), model=pl.lit("abc"), flags=pl.Series([1, 4], dtype=pl.Int32)
    )
    rows = rows.with_columns(pl.lit(0.25).alias(name) for name in CATALOG if name not in rows.columns)
    rows[1, "fractional_uncertainty"] = float("nan")
    schema = pl.Schema({name: column.dtype for name, column in CATALOG.items()})
    rows.write_parquet(tmp_path / "part.parquet")
    path = tmp_path / f"catalog{ending}"
    write_parts([tmp_path / "part.parquet"], path, schema, {"period": "d"})
    table = read_table(path).with_columns(pl.col("fractional_uncertainty").fill_nan(None))
    assert table.columns == list(schema)
    assert table["star_id"].to_list() == ["007", "12"], "leading zeros belong to a name"
    assert table.rows() == rows.select(schema.names()).with_columns(
        pl.col("fractional_uncertainty").fill_nan(None)
    ).rows()  # fmt: skip
    judged = judge(table, truth(period_days=[5.0]).with_columns(star_id=pl.Series(["007"])), RANGE)
    assert judged["right_either"].all() and not judged["trusted"].any()


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_that_are_no_tables(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"catalog{ending}"
    with pytest.raises(DataError, match=re.escape(f"{path}: no such file")):
        read_table(path)
    path.write_bytes(b"\x00\xff\xfe no table\n\x93,,,\n")
    with pytest.raises(DataError, match=re.escape(f"{path}: not a table that can be read: ")) as raised:
        judge(read_table(path), truth(period_days=[5.0]), RANGE)
    assert "\n" not in str(raised.value)


def test_another_ending(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the ending must be one of \.parquet, \.csv, \.ecsv, \.fits"):
        read_table(tmp_path / "catalog.xlsx")


def test_the_truth_of_the_space_survey_judges_no_catalog() -> None:
    row = {"period": 2.0, "n_points": 300, "flags": 0, "sigma": 0.1, "fractional_uncertainty": 0.1}
    truth = pl.DataFrame({"star_id": ["a"], "period_days": [None], "rotation_days": [2.0]})
    with pytest.raises(DataError, match="the space survey's, whose stars have several periods"):
        judge(pl.DataFrame({"star_id": "a", **row, "p_within_10pct": 0.5}), truth, (1.0, 30.0))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("period", 0.0, "has period 0; expected more than 0 d"),
        ("period", -5.0, "has period -5; expected more than 0 d"),
        ("flags", 1.5, "has flags 1.5; expected a whole number"),
        ("flags", float("inf"), "has flags inf; expected a whole number"),
    ],
)
def test_impossible_values_of_a_catalog_are_refused(name: str, value: float, said: str) -> None:
    row = {"period": 2.0, "n_points": 300.0, "flags": 0.0, "sigma": 0.1, "fractional_uncertainty": 0.1}
    catalog = pl.DataFrame({"star_id": "a", **row, "p_within_10pct": 0.5} | {name: value})
    with pytest.raises(DataError, match=re.escape(f"star 'a' of the catalog {said}")):
        judge(catalog, pl.DataFrame({"star_id": ["a"], "period_days": [2.0]}), (1.0, 30.0))
