"""Table 1 against what the paper says of it, and the bins at their edges."""

import math

import polars as pl
import pytest

from varistar.flares.groups import AGE_EDGES, bin_names, label_bins, young_groups


def test_the_table_holds_what_the_papers_text_keeps() -> None:
    table = young_groups()
    assert len(table) == 23 and table["group"].n_unique() == 23
    assert table["n_stars"].sum() == 1971
    rows = {row["group"]: row for row in table.iter_rows(named=True)}
    assert (rows["Hyades"]["age_myr"], rows["Hyades"]["age_error_myr"], rows["Hyades"]["n_stars"]) == (750.0, 100.0, 61)
    assert (rows["Argus"]["youngest_myr"], rows["Argus"]["age_myr"], rows["Argus"]["oldest_myr"]) == (40.0, 45.0, 50.0)
    assert rows["AB Doradus"]["age_error_myr"] is None
    assert table.filter(pl.col("youngest_myr").is_not_null() & pl.col("age_error_myr").is_not_null()).is_empty()
    assert table.filter((pl.col("age_myr") <= 0) | (pl.col("age_error_myr") >= pl.col("age_myr"))).is_empty()


def test_groups_fall_into_the_papers_age_bins_and_sort_by_age() -> None:
    counts = young_groups().group_by("age_bin").agg(pl.len(), oldest=pl.col("age_myr").max()).sort("age_bin")
    assert counts["age_bin"].cast(pl.String).to_list() == ["1-20", "20-30", "30-45", "45-125", "125+"]
    assert counts["oldest"].is_sorted() and counts["len"].sum() == 23
    assert dict(young_groups().select("group", "age_bin").iter_rows())["Tucana-Horologium"] == "45-125"


@pytest.mark.parametrize(
    ("age", "name"),
    [(0.99, None), (1.0, "1-20"), (19.999, "1-20"), (20.0, "20-30"), (45.0, "45-125"), (125.0, "125+"), (1e5, "125+")],
)
def test_a_lower_edge_belongs_to_its_bin(age: float, name: str | None) -> None:
    assert pl.DataFrame({"x": [age]}).select(label_bins(pl.col("x"), AGE_EDGES)).item() == name


def test_an_unknown_value_has_no_bin() -> None:
    values = pl.DataFrame({"x": [None, math.nan, 5.0, math.inf]})
    assert values.select(y=label_bins(pl.col("x"), (0.0, 10.0)))["y"].to_list() == [None, None, "0-10", None]
    assert bin_names((0.0, 2.5, math.inf)) == ["0-2.5", "2.5+"]
