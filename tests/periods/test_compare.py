"""All methods on the same stars, and a challenger that was not chosen on them."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import read_json
from varistar.periods.baselines import METHODS
from varistar.periods.compare import best_first, choose_challenger, compare, comparison_lines, table3

VARIANTS = ("clump-8-16-32", "period-axis")
NOTHING: dict[str, Any] = {"tests": {}, "false_periods": {}}


def change_report(path: Path, **scores: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps((read_json(path) if path.exists() else {}) | scores))


def test_the_summary_holds_every_method_on_every_test(project: Any) -> None:
    summary = compare(project.root)
    assert summary.keys() == {"challenger", "tests", "false_periods", "study", "table3"}
    assert summary["study"] == {"tests": {}, "false_periods": {}}, "nothing of it was measured here"
    kinds = {}
    for sample in project.params["periods"]["tests"]:
        truth = pl.read_parquet(project.build / "injected" / sample / "test/truth.parquet")
        kinds |= {f"{sample}/{kind}": rows for (kind,), rows in truth.group_by("stars")}
    silent = {test for test, rows in kinds.items() if rows["period_days"].is_null().all()}
    assert set(summary["false_periods"]) == silent
    assert set(summary["tests"]) == set(kinds) - silent
    assert "broad/long_lived" in summary["tests"] and "clump/constant" in silent
    for test, rows in summary["tests"].items():
        assert rows.keys() == {*VARIANTS, *METHODS.values()}
        assert {row["n"] for row in rows.values()} == {kinds[test].height}
        sample, _, kind = test.partition("/")
        simple = read_json(project.root / "metrics/periods/baselines" / f"{sample}.json")[kind]
        for method, row in rows.items():
            source = simple.get(method)
            if method in VARIANTS:
                source = read_json(project.root / "metrics/periods" / f"{method}.json")["tests"][test]
                assert {"within_10pct", "coverage", "correct", "within_10pct_at_19.8pct_coverage"} <= row.keys()
            assert row == {name: source[name] for name in row}
    for test, rows in summary["false_periods"].items():
        assert rows.keys() == set(VARIANTS), "the simple methods always claim a period"
        assert {row["n"] for row in rows.values()} == {kinds[test].height}
    assert json.loads(json.dumps(summary)) == read_json(project.root / "metrics/periods.json")


def test_what_the_study_measured_stands_beside(copied: Any) -> None:
    """Its rows and the variants, on the stars of the first; what nothing names any more does not."""
    metrics = copied.root / "metrics"
    report = read_json(metrics / "periods/clump-8-16-32.json")
    larger = {test: scores | {"test_set": "larger"} for test, scores in report["tests"].items()}
    for name, tests in {"clump-8-16-32": larger, "a-quasar-8-16-32": larger, "nights": report["tests"]}.items():
        change_report(metrics / "study" / f"{name}.json", tests=tests)
    change_report(metrics / "study/of-old.json", tests=larger)
    before = compare(copied.root)
    assert before["challenger"] in VARIANTS
    for tables, whose in ((before, VARIANTS), (before["study"], ("clump-8-16-32", "a-quasar-8-16-32"))):
        assert all(rows.keys() == set(whose) for rows in tables["false_periods"].values())
        for test, rows in tables["tests"].items():
            assert set(rows) - set(METHODS.values()) == set(whose)
            assert rows["clump-8-16-32"]["within_10pct"] == report["tests"][test]["within_10pct"]
    assert not any("best constant" in rows for rows in before["study"]["tests"].values())
    shutil.copytree(metrics / "periods/baselines", metrics / "study/baselines")
    assert before["tests"].keys() == before["study"]["tests"].keys()
    assert all({*METHODS.values()} <= rows.keys() for rows in compare(copied.root)["study"]["tests"].values())
    text = "\n".join(comparison_lines(before))
    for said in ("clump/paper: ", "clump/paper, the study: ", "clump/constant, the study: stars without a period"):
        assert said in text


def test_table_3_is_scored_on_stars_of_its_own_templates(copied: Any) -> None:
    report = read_json(copied.root / "metrics/periods/clump-8-16-32.json")
    (copied.root / "metrics/study").mkdir(parents=True)
    for name in ("l-quasar-ten-times", "a-quasar-8-16-32", "nights"):
        (copied.root / "metrics/study" / f"{name}.json").write_text(json.dumps(report))
    rows = compare(copied.root)["table3"]
    quasar, clump = (report["tests"][f"{sample}/paper"] for sample in ("quasar", "clump"))
    assert [(row["name"], row["test"], row["published"], row["within_10pct"]) for row in rows] == [
        ("clump-8-16-32", "clump/paper", pytest.approx(0.1982), clump["within_10pct"]),
        ("a-quasar-8-16-32", "quasar/paper", pytest.approx(0.0381), quasar["within_10pct"]),
        ("l-quasar-ten-times", "quasar/paper", pytest.approx(0.0283), quasar["within_10pct"]),
    ], "the nights repeat no row"
    for row, scores in zip(rows, (clump, quasar, quasar), strict=True):
        assert row["coverage"] == scores["members"]["coverage"] and len(row["coverage"]) == 2


def test_a_row_of_table_3_is_what_each_network_says_by_itself() -> None:
    """On its own template set, where stars of that have periods; without such a test there is no row."""
    periods = {
        "variants": {"only": {"sample": "s", "published": 4.0}},
        "samples": {"s": {"parts": [{"templates": "t", "stars": "constant"}, {"templates": "t", "stars": "paper"}]}},
        "tests": ["s"],
    }
    each = {"coverage": [0.3, 0.1], "trusted_within_10pct": [0.7, None]}
    scores = {"coverage": 0.4, "trusted_within_10pct": 0.6, "within_10pct": 0.2, "members": each}
    tests = {"s/constant": {"false_periods": {}}, "s/paper": scores}
    (row,) = table3(periods, {"only": {"tests": tests}})
    assert {name: row[name] for name in each} == each
    assert (row["published"], row["within_10pct"], row["test"]) == (0.04, 0.2, "s/paper")
    elsewhere = {"o": {"parts": [{"templates": "other", "stars": "paper"}]}}
    assert (
        table3(periods | {"samples": periods["samples"] | elsewhere, "tests": ["o"]}, {"only": {"tests": tests}}) == []
    )


# ---------------------------------------------------------------------------------------------------------------------
# The challenger


def test_the_challenger_has_the_best_validation_score(copied: Any) -> None:
    """Whatever the tests say, and the study."""
    metrics = copied.root / "metrics/periods"
    for best, other in (VARIANTS, VARIANTS[::-1]):
        change_report(metrics / f"{best}.json", validation_within_10pct=0.4)
        tests = read_json(metrics / f"{other}.json")["tests"]
        for scores in tests.values():
            scores["within_10pct"] = scores.get("within_10pct", 0.0) and 1.0
        change_report(metrics / f"{other}.json", validation_within_10pct=0.3, tests=tests)
        assert compare(copied.root)["challenger"] == best


def test_an_undefined_validation_score_is_the_worst() -> None:
    metrics = {"undefined": {"validation_within_10pct": None}, "poor": {"validation_within_10pct": 0.01}}
    assert choose_challenger(metrics) == "poor"


def test_without_a_variant_there_is_no_challenger() -> None:
    with pytest.raises(ConfigError, match=r"^params\.yaml: periods\.variants names no variant, so there is no chall"):
        choose_challenger({})


def test_a_variant_that_was_not_evaluated_is_named(copied: Any) -> None:
    (copied.root / "metrics/periods/clump-8-16-32.json").unlink()
    with pytest.raises(DataError, match=r"clump-8-16-32\.json: no such file"):
        compare(copied.root)


# ---------------------------------------------------------------------------------------------------------------------
# What is shown


def row(within: float, **more: Any) -> dict[str, Any]:
    return {"n": 10, "within_10pct": within, "within_10pct_interval": [0.1, 0.3], "within_20pct": 0.5, **more}


def test_networks_come_before_simple_methods_and_the_better_before_the_worse() -> None:
    trusted = {"coverage": 0.2, "trusted_within_10pct": 0.7}
    rows = {"poor": row(0.1, **trusted), "simple": row(0.5), "good": row(0.3, **trusted), "constant": row(0.2)}
    assert list(best_first(rows)) == ["good", "poor", "simple", "constant"]


def test_the_printed_table() -> None:
    best = {"within_10pct_at_19.8pct_coverage": 0.31}
    rows = {
        "none trusted": row(0.1, coverage=0.0, trusted_within_10pct=None, **best),
        "network": row(0.25, coverage=0.198, trusted_within_10pct=0.71, **best),
        "constant": row(0.2),
    }
    silent = {"network": {"n": 200, "claimed": 3, "rate": 0.015, "rate_interval": [0.005, 0.043]}}
    tables = {"tests": {"clump/paper": rows}, "false_periods": {"clump/constant": silent}}
    lines = comparison_lines(tables | {"study": NOTHING, "table3": []})
    assert lines[1] == "clump/paper: 10 test stars"
    assert [line.split() for line in lines[3:6]] == [
        ["network", "0.250", "(0.100-0.300)", "0.500", "0.310", "0.198", "0.710"],
        ["none", "trusted", "0.100", "(0.100-0.300)", "0.500", "0.310", "0.000"],
        ["constant", "0.200", "(0.100-0.300)", "0.500"],
    ]
    assert lines[7].startswith("clump/constant: stars without a period")
    assert lines[8].split() == ["network", "3", "of", "200", "1.500%", "(0.500%-4.300%)"]
    assert len(lines) == 9


def test_table_3_as_printed() -> None:
    row = {"name": "a", "test": "q/paper", "published": 0.0381, "coverage": [0.04, 0.051]}
    of_them = {"trusted_within_10pct": [0.5, None], "within_10pct": 0.123}
    text = "\n".join(comparison_lines({**NOTHING, "study": NOTHING, "table3": [row | of_them]}))
    for said in ("Table 3", "3.81%", "4.00%, 5.10%", "0.123"):
        assert said in text


def test_the_figures_were_drawn(project: Any) -> None:
    figures = {
        path.stem: path.read_bytes()[:8] for path in (project.root / "build/figures/periods/comparison").iterdir()
    }
    tests = {test.replace("/", "-") for test in read_json(project.root / "metrics/periods.json")["tests"]}
    assert figures == dict.fromkeys(tests | {"table3"}, b"\x89PNG\r\n\x1a\n")
