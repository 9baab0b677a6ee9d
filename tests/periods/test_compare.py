"""All methods on the same stars, and a challenger that was not chosen on them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import read_json
from varistar.periods.baselines import METHODS
from varistar.periods.compare import best_first, choose_challenger, compare, comparison_lines

VARIANTS = ("quasar-8-16-32", "clump-8-16-32", "clump-log-distribution")


def set_scores(metrics: Path, **scores: float | None) -> None:
    metrics.write_text(json.dumps(read_json(metrics) | scores))


def test_the_summary_holds_every_method_on_every_sample(project: Any) -> None:
    summary = compare(project.root)
    assert summary.keys() == {"challenger", "samples"}
    assert summary["samples"]["clump"].keys() == {"clump-8-16-32", "clump-log-distribution", *METHODS.values()}
    assert summary["samples"]["quasar"].keys() == {"quasar-8-16-32", *METHODS.values()}
    for sample, rows in summary["samples"].items():
        truth = pl.read_parquet(project.build / "injected" / sample / "test/truth.parquet")
        assert {row["n"] for row in rows.values()} == {truth.height}
        for method, row in rows.items():
            if method in VARIANTS:
                metrics = read_json(project.root / "metrics/periods" / f"{method}.json")
                assert row == {name: metrics[name] for name in row}
                assert {"within_10pct", "coverage", "correct", "within_10pct_at_19.8pct_coverage"} <= row.keys()
    assert json.loads(json.dumps(summary)) == read_json(project.root / "metrics/periods.json")


# ---------------------------------------------------------------------------------------------------------------------
# The challenger


def test_the_challenger_has_the_best_validation_score_of_its_sample(copied: Any) -> None:
    """Whatever the variant of another sample scored, and whatever the test set says."""
    metrics = copied.root / "metrics/periods"
    set_scores(metrics / "quasar-8-16-32.json", validation_within_10pct=0.9)
    for best, other in (VARIANTS[1:], VARIANTS[:0:-1]):
        set_scores(metrics / f"{best}.json", validation_within_10pct=0.4, within_10pct=0.0)
        set_scores(metrics / f"{other}.json", validation_within_10pct=0.3, within_10pct=1.0)
        assert compare(copied.root)["challenger"] == best


def test_an_undefined_validation_score_is_the_worst() -> None:
    metrics = {
        "undefined": {"sample": "clump", "validation_within_10pct": None},
        "poor": {"sample": "clump", "validation_within_10pct": 0.01},
    }
    assert choose_challenger(metrics, "clump") == "poor"


def test_without_a_variant_of_the_sample_there_is_no_challenger() -> None:
    metrics = {"other": {"sample": "quasar", "validation_within_10pct": 0.5}}
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: no variant is trained on periods\.promotion\.sample 'clump'$"
    ):
        choose_challenger(metrics, "clump")


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
    rows = {
        "none trusted": row(0.1, coverage=0.0, trusted_within_10pct=None),
        "network": row(0.25, coverage=0.198, trusted_within_10pct=0.71),
        "constant": row(0.2),
    }
    lines = comparison_lines({"samples": {"clump": rows}})
    assert lines[1] == "clump: 10 test stars"
    assert [line.split() for line in lines[3:]] == [
        ["network", "0.250", "(0.100-0.300)", "0.500", "0.198", "0.710"],
        ["none", "trusted", "0.100", "(0.100-0.300)", "0.500", "0.000"],
        ["constant", "0.200", "(0.100-0.300)", "0.500"],
    ]


def test_the_figures_were_drawn(project: Any) -> None:
    figures = {
        path.name: path.read_bytes()[:8] for path in (project.root / "build/figures/periods/comparison").iterdir()
    }
    assert figures == dict.fromkeys(("clump.png", "quasar.png"), b"\x89PNG\r\n\x1a\n")
