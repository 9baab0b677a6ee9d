"""Completeness and purity by hand, by a loop over the stars, and of catalogs with nothing in them."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.catalog.columns import Flag
from varistar.catalog.completeness import (
    CURVE,
    CURVES,
    GROUPS,
    Completeness,
    completeness_lines,
    evaluate_catalog,
    main,
    measure_completeness,
    searched_range,
)
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.intervals import wilson_interval

# Of each star: kind, equatorial and shown period, amplitude; and of its row: period, flags, sigma / P.
STARS: dict[str, tuple[Any, ...]] = {
    "right": ("rotator", 10.0, 10.0, 0.1, 10.4, 0, 0.05),
    "shown": ("rotator", 10.0, 13.0, 0.1, 13.1, 0, 0.10),
    "equator": ("rotator", 10.0, 13.0, 0.1, 9.9, 0, 0.15),
    "half": ("rotator", 20.0, 20.0, 0.03, 10.0, 0, 0.20),
    "unsure": ("rotator", 5.0, 5.0, 0.01, 5.0, int(Flag.UNTRUSTED), 0.30),
    "month": ("rotator", 28.0, 28.0, 0.1, 27.0, int(Flag.ALIAS), 0.05),
    "fast": ("pulsating", 0.62, 0.62, 1.0, 1.6, 0, 0.12),  # its alias
    "slow": ("semiregular", 32.0, 32.0, 1.5, 30.0, int(Flag.EDGE), 0.22),  # within 10%, but out of range
    "quiet": ("clump", None, None, 0.01, 17.0, int(Flag.UNTRUSTED), 0.40),
    "false": ("clump", None, None, 0.01, 22.0, 0, 0.24),
    "sparse": ("clump", None, None, 0.01, None, None, None),  # refused
    "faint": ("rotator", 4.0, 4.0, 0.1, None, None, None),  # refused
    "lost": ("rotator", 6.0, 6.0, 0.1, None, None, None),  # nowhere
}
REFUSED = pl.DataFrame({"star_id": ["sparse", "faint", None], "reason": ["few", "few", "not a file"]})


@pytest.fixture(scope="module")
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Catalog and truth of `STARS`, and a star that the truth does not know."""
    kind, equatorial, shown, amplitude, *_ = zip(*STARS.values(), strict=True)
    truth = {"star_id": list(STARS), "kind": kind, "period_days": equatorial, "shown_period_days": shown}
    rows = [(name, *star[4:]) for name, star in STARS.items() if star[4]] + [("stranger", 3.0, 0, 0.01)]
    names = ["star_id", "period", "flags", "fractional_uncertainty"]
    catalog = pl.DataFrame(rows, schema=names, orient="row", strict=False)
    sure = (1 - pl.col("fractional_uncertainty")).alias("p_within_10pct")
    return catalog.with_columns(sure, n_points=pl.lit(500)), pl.DataFrame(truth | {"amplitude": amplitude})


@pytest.fixture(scope="module")
def done(tables: tuple[pl.DataFrame, pl.DataFrame]) -> Completeness:
    return measure_completeness(tables[0], REFUSED, tables[1])


def random_survey(seed: int, n: int = 600) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A catalog, its refused and the truth; every case is common, and scores repeat."""
    rng = np.random.default_rng(seed)
    ids = [f"s{i}" for i in rng.permutation(n)]
    period = np.where(rng.random(n) < 0.7, np.exp(rng.uniform(np.log(0.4), np.log(60), n)), np.nan)
    truth = pl.DataFrame(
        {
            "star_id": ids,
            "kind": rng.choice(["b", "a", "c"], n),
            "period_days": period,
            "shown_period_days": period * rng.choice([1.0, 1.3], n),
            "g_mag": np.where(rng.random(n) < 0.9, rng.uniform(3, 26, n), np.nan),
            "amplitude": 10 ** rng.uniform(-3, 1, n),
        }
    ).with_columns(pl.col("period_days", "shown_period_days").fill_nan(None))
    guess = np.where(np.isnan(period), rng.uniform(1, 30, n), period) * rng.choice([1.0, 1.05, 1.3, 0.5], n)
    catalog = pl.DataFrame(
        {
            "star_id": ids,
            "period": guess,
            "fractional_uncertainty": rng.integers(1, 40, n) / 100,
            "p_within_10pct": rng.integers(0, 20, n) / 20,
            "n_points": rng.integers(50, 5000, n),
            "flags": rng.choice([0, 0, 1, 2, 4, 6, 8], n),
        }
    )
    kept = rng.random(n) < 0.9
    return catalog.filter(kept).sample(fraction=1, shuffle=True, seed=1), catalog.filter(~kept), truth


def loop(catalog: pl.DataFrame, truth: pl.DataFrame, forbidden: int) -> list[dict[str, Any]]:
    """Every star judged in the obvious way."""
    rows = {row["star_id"]: row for row in catalog.iter_rows(named=True)}
    stars = []
    for star in truth.iter_rows(named=True):
        row = rows.get(star["star_id"])
        periods = [p for p in (star["period_days"], star["shown_period_days"]) if p is not None and 1 <= p <= 30]
        stars.append(
            star
            | {
                "row": row,
                "with": bool(periods),
                "reported": row is not None and row["flags"] & forbidden == 0,
                "close": row is not None and any(abs(row["period"] - p) <= 0.1 * p for p in periods),
            }
        )
    return stars


def counts(stars: list[dict[str, Any]]) -> tuple[int, ...]:
    """Stars, with a period, in the catalog, reported, right."""
    return (
        len(stars),
        sum(star["with"] for star in stars),
        sum(star["row"] is not None for star in stars),
        sum(star["reported"] for star in stars),
        sum(star["reported"] and star["close"] for star in stars),
    )


def test_thirteen_stars_by_hand(done: Completeness) -> None:
    summary = done.summary
    assert [summary[name] for name in ("n_stars", "n_in_catalog", "n_refused", "n_missing")] == [13, 10, 2, 1]
    assert (summary["missing"], summary["n_unknown_to_truth"]) == (["lost"], 1)
    trusted, clean = summary["trusted"], summary["clean"]
    # With a period in range: all eight rotators. Reported: all rows but two. Right: right, shown, equator, month.
    assert [trusted[name] for name in ("n_with_period", "n_reported", "n_right")] == [8, 8, 4]
    assert (trusted["completeness"], trusted["purity"]) == (0.5, 0.5)
    assert trusted["purity_interval"] == [round(end, 4) for end in wilson_interval(4, 8)]
    assert trusted["right_equatorial"]["n_right"] == trusted["right_shown"]["n_right"] == 3
    # Of the clump, two have a row; of the stars out of range, both are reported.
    assert (trusted["false_period_rate"], trusted["reported_of_out_of_range"]) == (0.5, 1.0)
    assert [clean[name] for name in ("n_with_period", "n_reported", "n_right")] == [8, 6, 3]
    assert (clean["completeness"], clean["purity"], clean["reported_of_out_of_range"]) == (0.375, 0.5, 0.5)
    assert summary["by_kind"]["rotator"] == {
        "n_stars": 8, "n_with_period": 8, "n_in_catalog": 6, "n_reported": 5, "n_right": 4,
        "completeness": 0.5, "purity": 0.8,
    }  # fmt: skip
    assert summary["by_kind"]["clump"]["completeness"] is None
    assert summary["by_kind"]["clump"]["purity"] == 0.0
    inside, outside = summary["confusion"]["in_range"], summary["confusion"]["out_of_range"]
    assert {name: n for name, n in inside.items() if n} == {"1:1": 4, "1:2": 1}
    assert {name: n for name, n in outside.items() if n} == {"1:1": 1, "alias": 1}
    # From the surest: right, month, shown, then fast, which is false.
    assert summary["completeness_at_90pct_purity"] == {"fractional_uncertainty": 0.375, "p_within_10pct": 0.375}


def test_the_summary_is_plain_and_rounded(done: Completeness) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for one in value.values() for n in numbers(one)]
        if isinstance(value, list):
            return [n for one in value for n in numbers(one)]
        return [value] if isinstance(value, float) else []

    assert json.loads(json.dumps(done.summary, allow_nan=False)) == done.summary
    assert len(found := numbers(done.summary)) > 30
    assert all(round(value, 4) == value for value in found)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_group_as_a_loop_counts_it(seed: int) -> None:
    catalog, refused, truth = random_survey(seed)
    done = measure_completeness(catalog, refused, truth)
    stars = loop(catalog, truth, int(Flag.UNTRUSTED))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    edges: dict[str, Sequence[float]] = {
        "period": (1, 3, 7, 15, 30),
        "measured_period": (1, 3, 7, 15, 30),
        "magnitude": range(4, 24),
    }
    edges |= {"amplitude": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2), "n_points": (100, 200, 400, 800, 1600, 3200)}

    def bin_of(dimension: str, value: float | None, without: str) -> str:
        unit = " d" if "period" in dimension else ""
        bounds = list(edges[dimension])
        if value is None or np.isnan(value):
            return without
        if value < bounds[0]:
            return f"below {bounds[0]}{unit}"
        for low, high in pairwise(bounds):
            if low <= value < high:
                return f"{low}-{high}{unit}"
        return f"above {bounds[-1]}{unit}"

    for star in stars:
        shown, equatorial = star["shown_period_days"], star["period_days"]
        true = equatorial if star["with"] and not 1 <= shown <= 30 else shown
        row = star["row"] or {"n_points": None, "period": None}
        signal = "in range" if star["with"] else "none" if equatorial is None else "out of range"
        places = {"all": "all", "signal": signal, "kind": star["kind"], "period": bin_of("period", true, "none")}
        places |= {"magnitude": bin_of("magnitude", star["g_mag"], "unknown")}
        places |= {"amplitude": bin_of("amplitude", star["amplitude"], "unknown")}
        places |= {"n_points": bin_of("n_points", row["n_points"], "no row")}
        places |= {"measured_period": bin_of("measured_period", row["period"], "no row")}
        for place in places.items():
            groups[place].append(star)
    found = {row[:2]: row[2:7] for row in done.groups.iter_rows()}
    assert found == {place: counts(some) for place, some in groups.items()}
    assert len(found) == done.groups.height > 40, "no group stands twice"
    assert done.groups.schema == {name: column.dtype for name, column in GROUPS.items()}
    for row in done.groups.iter_rows(named=True):
        for fraction, among in (("completeness", "n_with_period"), ("purity", "n_reported")):
            expected = row["n_right"] / row[among] if row[among] else None
            assert row[fraction] == expected
            assert (row[f"{fraction}_low"], row[f"{fraction}_high"]) == wilson_interval(row["n_right"], row[among])


def test_bins_come_in_their_order(done: Completeness) -> None:
    order = done.groups.group_by("dimension", maintain_order=True).agg("bin")
    bins = dict(order.iter_rows())
    assert list(bins) == ["all", "signal", "kind", "period", "amplitude", "n_points", "measured_period"]
    assert bins["period"] == ["below 1 d", "3-7 d", "7-15 d", "15-30 d", "above 30 d", "none"]
    assert bins["kind"] == sorted({star[0] for star in STARS.values()})
    assert bins["n_points"] == ["400-800", "no row"]


@pytest.mark.parametrize("variant", ["trusted", "clean"])
def test_the_headlines_as_a_loop_counts_them(variant: str) -> None:
    catalog, refused, truth = random_survey(3)
    summary = measure_completeness(catalog, refused, truth).summary[variant]
    forbidden = int(Flag.UNTRUSTED | Flag.ALIAS | Flag.EDGE) if variant == "clean" else int(Flag.UNTRUSTED)
    stars = loop(catalog, truth, forbidden)
    _, with_period, _, reported, right = counts(stars)
    assert [summary[name] for name in ("n_with_period", "n_reported", "n_right")] == [with_period, reported, right]
    silent = [star["reported"] for star in stars if star["period_days"] is None and star["row"]]
    assert summary["false_period_rate"] == round(np.mean(silent), 4)
    beyond = [star["reported"] for star in stars if star["period_days"] and not star["with"] and star["row"]]
    assert summary["reported_of_out_of_range"] == round(np.mean(beyond), 4)
    # To judge by one of the periods is to judge a truth that knows only that one.
    for sense, other in (("equatorial", "shown_period_days"), ("shown", "period_days")):
        column = "period_days" if sense == "equatorial" else "shown_period_days"
        alone = measure_completeness(catalog, refused, truth.with_columns(pl.col(column).alias(other))).summary[variant]
        part = summary[f"right_{sense}"]
        assert part == {name: alone[name] for name in part}
        assert part["n_right"] < summary["n_right"]


@pytest.mark.parametrize("score", ["fractional_uncertainty", "p_within_10pct"])
def test_a_curve_is_every_threshold_tried(score: str) -> None:
    catalog, refused, truth = random_survey(4)
    curve = measure_completeness(catalog, refused, truth).curves.filter(pl.col("score") == score)
    stars = loop(catalog, truth, 0)
    thresholds = sorted({row[score] for row in catalog.iter_rows(named=True)}, reverse=score == "p_within_10pct")
    assert curve["threshold"].to_list() == thresholds, "equal scores go together"
    for row in curve.iter_rows(named=True):
        sign = -1 if score == "p_within_10pct" else 1
        some = [star for star in stars if star["row"] and sign * star["row"][score] <= sign * row["threshold"]]
        right = sum(star["close"] for star in some)
        assert (row["n_reported"], row["n_right"]) == (len(some), right)
        assert row["purity"] == right / len(some)
        assert row["completeness"] == pytest.approx(right / sum(star["with"] for star in stars), rel=1e-14)


def test_a_long_curve_is_thinned_between_its_ends() -> None:
    catalog, refused, truth = random_survey(5)
    rng = np.random.default_rng(0)
    catalog = catalog.with_columns(fractional_uncertainty=pl.Series(rng.permutation(catalog.height) / 1000))
    curves = measure_completeness(catalog, refused, truth).curves
    curve = curves.filter(pl.col("score") == "fractional_uncertainty")
    assert CURVE / 2 < curve.height <= CURVE < catalog.height
    assert curve["n_reported"].to_list()[:: curve.height - 1] == [1, catalog.height]
    assert (curve["threshold"] * 1000 + 1).round().to_list() == curve["n_reported"].to_list()
    assert curves.schema == {name: column.dtype for name, column in CURVES.items()}


def test_the_order_of_rows_does_not_matter() -> None:
    catalog, refused, truth = random_survey(6)
    first = measure_completeness(catalog, refused, truth)
    again = measure_completeness(catalog.reverse(), refused.reverse(), truth.sort("star_id"))
    assert first.groups.equals(again.groups) and first.curves.equals(again.curves)
    assert first.summary == again.summary


def test_a_truth_with_the_least_columns(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    catalog, truth = tables
    done = measure_completeness(catalog, REFUSED, truth.select("star_id", "period_days"))
    # Without what is shown, the star whose spots show another period counts as wrong.
    assert done.summary["trusted"]["n_right"] == 3
    assert set(done.groups["dimension"]) == {"all", "signal", "period", "n_points", "measured_period"}
    assert done.summary["by_kind"] == {}
    assert completeness_lines(done.summary)


def test_another_range_has_other_bins(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    done = measure_completeness(tables[0], REFUSED, tables[1], (0.5, 40.0))
    bins = done.groups.filter(pl.col("dimension") == "period")["bin"].to_list()
    assert bins == ["0.5-1 d", "3-7 d", "7-15 d", "15-30 d", "30-40 d", "none"]
    assert [done.summary["trusted"][name] for name in ("n_with_period", "n_right")] == [10, 5]


def test_the_ends_of_the_range_belong_to_it(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    ends = pl.DataFrame({"star_id": ["right", "half"], "period_days": [1.0, 30.0]})
    done = measure_completeness(tables[0], None, ends)
    assert done.groups.filter(pl.col("dimension") == "period").select("bin", "n_with_period").rows() == [
        ("1-3 d", 1),
        ("15-30 d", 1),
    ]


def test_catalogs_with_nothing_in_them(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    catalog, truth = tables
    done = measure_completeness(catalog.clear(), None, truth)
    assert (done.summary["n_in_catalog"], done.summary["n_missing"]) == (0, 13)
    assert (done.summary["trusted"]["completeness"], done.summary["trusted"]["purity"]) == (0.0, None)
    assert done.summary["trusted"]["false_period_rate"] is None
    assert done.curves.height == 0
    silent = measure_completeness(catalog, None, truth.with_columns(pl.lit(None, pl.Float64).alias("period_days")))
    assert (silent.summary["trusted"]["completeness"], silent.summary["trusted"]["purity"]) == (None, 0.0)
    assert silent.curves["completeness"].null_count() == silent.curves.height > 0
    for summary in (done.summary, silent.summary):
        assert "nan" not in "\n".join(completeness_lines(summary))


def test_the_printed_table(done: Completeness) -> None:
    lines = completeness_lines(done.summary)
    assert lines[0] == "13 stars are known: 10 in the catalog, 2 refused; 8 have a period from 1 to 30 d"
    assert lines[1] == "neither in the catalog nor among the refused: 1, first 'lost'"
    assert lines[2] == "in the catalog, unknown to the truth and left out: 1"
    low, high = done.summary["trusted"]["purity_interval"]
    assert f"0.500 ({low:.3f}-{high:.3f})" in lines[4]
    assert [line.split() for line in lines if "rotator" in line] == [["rotator", "8", "8", "5", "4", "0.500", "0.800"]]
    assert [line.split() for line in lines if "clump" in line] == [["clump", "3", "0", "1", "0", "-", "0.000"]]


def test_bad_arguments(tables: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    with pytest.raises(ConfigError, match=re.escape("must run from a shorter to a longer period, not [30.0, 1.0]")):
        measure_completeness(tables[0], None, tables[1], (30.0, 1.0))
    with pytest.raises(DataError, match="the table of the refused has no column 'star_id'; it has reason"):
        measure_completeness(tables[0], REFUSED.select("reason"), tables[1])


@pytest.fixture
def judged_project(project: Path, tables: tuple[pl.DataFrame, pl.DataFrame]) -> Path:
    """A project with a catalog, its refused stars and the truth."""
    catalog = project / "build/catalog/periods.parquet"
    catalog.parent.mkdir(parents=True)
    (project / "data/ground").mkdir(parents=True)
    tables[0].write_parquet(catalog)
    REFUSED.write_parquet(catalog.with_name("periods.refused.parquet"))
    tables[1].write_parquet(project / "data/ground/truth.parquet")
    return project


def test_the_stage(judged_project: Path, done: Completeness, capsys: pytest.CaptureFixture[str]) -> None:
    assert searched_range(judged_project) == (1.0, 30.0)
    main()
    assert capsys.readouterr().out.splitlines() == completeness_lines(done.summary)
    metrics = judged_project / "metrics/catalog.json"
    assert json.loads(metrics.read_text()) == done.summary
    assert metrics.stat().st_size < 10_000
    folder = judged_project / "build/catalog"
    assert pl.read_parquet(folder / "completeness.parquet").equals(done.groups)
    assert pl.read_parquet(folder / "risk_coverage.parquet").equals(done.curves)
    written = [metrics, judged_project / "build/figures/catalog/completeness.png", *folder.iterdir()]
    before = {path: path.read_bytes() for path in written}
    main()
    assert {path: path.read_bytes() for path in written} == before


def test_the_stage_names_the_files(judged_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = judged_project / "data/ground/truth.parquet"
    pl.DataFrame({"star_id": ["elsewhere"], "period_days": [3.0]}).write_parquet(truth)
    with pytest.raises(DataError, match=r"periods\.parquet and .*truth\.parquet: catalog and truth share no star_id"):
        main()
    truth.unlink()
    with pytest.raises(DataError, match=r"truth\.parquet: no such file"):
        main()
    assert not (judged_project / "metrics").exists()


@pytest.mark.parametrize("refused", [True, False])
def test_the_refused_stand_beside_the_catalog(judged_project: Path, refused: bool) -> None:
    catalog = judged_project / "build/catalog/periods.parquet"
    if not refused:
        catalog.with_name("periods.refused.parquet").unlink()
    summary = evaluate_catalog(catalog, judged_project / "data/ground/truth.parquet", (1.0, 30.0)).summary
    assert (summary["n_refused"], summary["n_missing"]) == ((2, 1) if refused else (0, 3))


def test_a_full_disk_leaves_no_half_table(
    judged_project: Path, small_disk: Callable[[int], Any], done: Completeness
) -> None:
    with small_disk(500), pytest.raises(DataError, match=r"completeness\.parquet: cannot be written: File too large"):
        main()
    assert not (judged_project / "build/catalog/completeness.parquet").exists()
