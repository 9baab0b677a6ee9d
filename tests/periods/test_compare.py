"""All methods on the same stars, and a challenger that was not chosen on them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.experiments.content import read_content, write_content
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import read_json
from varistar.periods.baselines import METHODS
from varistar.periods.compare import (
    baseline_scores,
    best_first,
    choose_challenger,
    compare,
    comparison_lines,
    example_figure,
)
from varistar.periods.scores import period_scores

VARIANTS = ("quasar-8-16-32", "clump-8-16-32", "clump-log-distribution")


def set_validation_score(folder: Path, score: float | None) -> None:
    content = read_content(folder)
    spec = content.spec.model_copy(update={"metrics": content.spec.metrics | {"validation_within_10pct": score}})
    write_content(folder, replace(content, spec=spec))


def test_the_summary_holds_every_method_on_every_sample(project: Any) -> None:
    summary = compare(project.root)
    assert summary.keys() == {"challenger", "samples"}
    assert list(summary["samples"]["clump"]) == ["clump-8-16-32", "clump-log-distribution", *METHODS.values()]
    assert list(summary["samples"]["quasar"]) == ["quasar-8-16-32", *METHODS.values()]
    for sample, rows in summary["samples"].items():
        truth = pl.read_parquet(project.build / "injected" / sample / "test/truth.parquet")
        assert {row["n"] for row in rows.values()} == {truth.height}
        for method, row in rows.items():
            if method in VARIANTS:
                metrics = read_json(project.root / "metrics/periods" / f"{method}.json")
                assert row == {name: metrics[name] for name in row}
                assert {"within_10pct", "coverage", "correct", "within_10pct_at_19.8pct_coverage"} <= row.keys()
    assert json.loads(json.dumps(summary)) == read_json(project.root / "metrics/periods.json")


def test_simple_methods_are_scored_against_the_truth_of_the_same_star(project: Any) -> None:
    truth = pl.read_parquet(project.build / "injected/clump/test/truth.parquet")
    periods = dict(truth["star_id", "period_days"].iter_rows())
    table = pl.read_parquet(project.build / "baselines/clump.parquet").sample(fraction=1.0, shuffle=True, seed=3)
    scores = baseline_scores(project.build, "clump")
    for column, label in METHODS.items():
        true_period = pl.Series([periods[star] for star in table["star_id"]]).to_numpy()
        assert scores[label] == period_scores(true_period, table[column].to_numpy())


# ---------------------------------------------------------------------------------------------------------------------
# The challenger


def test_the_challenger_has_the_best_validation_score_of_its_sample(copied: Any) -> None:
    """Whatever the variant of another sample scored, and whatever the test set says."""
    calibrated = copied.build / "calibrated"
    set_validation_score(calibrated / "quasar-8-16-32", 0.9)
    for best, other in (VARIANTS[1:], VARIANTS[:0:-1]):
        set_validation_score(calibrated / best, 0.4)
        set_validation_score(calibrated / other, 0.3)
        for name, tested in ((best, 0.0), (other, 1.0)):
            path = copied.root / "metrics/periods" / f"{name}.json"
            path.write_text(json.dumps(read_json(path) | {"within_10pct": tested}))
        assert choose_challenger(copied.root, copied.params) == best
        assert compare(copied.root)["challenger"] == best


def test_an_undefined_validation_score_is_the_worst(copied: Any) -> None:
    set_validation_score(copied.build / "calibrated/clump-8-16-32", None)
    set_validation_score(copied.build / "calibrated/clump-log-distribution", 0.01)
    assert choose_challenger(copied.root, copied.params) == "clump-log-distribution"


def test_without_a_variant_of_the_sample_there_is_no_challenger(project: Any) -> None:
    params = project.params
    params["periods"]["variants"] = {"quasar-8-16-32": params["periods"]["variants"]["quasar-8-16-32"]}
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: no variant is trained on periods\.promotion\.sample 'clump'$"
    ):
        choose_challenger(project.root, params)


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
    figures = {path.name: path.read_bytes()[:8] for path in (project.root / "build/figures/periods").iterdir()}
    assert figures.keys() >= {
        "comparison-clump.png", "comparison-quasar.png", "example.png", *(f"predicted-{name}.png" for name in VARIANTS)
    }  # fmt: skip
    assert set(figures.values()) == {b"\x89PNG\r\n\x1a\n"}


def test_the_example_shows_each_representation_of_the_sample(project: Any) -> None:
    figure = example_figure(project.root, "clump-log-distribution")
    texts = {text.get_text() for axes in figure.axes for text in [axes.title]} | {figure.get_suptitle()}
    assert any("paper" in text for text in texts) and any("log" in text for text in texts)
