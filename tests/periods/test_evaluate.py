"""What is scored is what is measured, and where it is published it can be found again."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.experiments import publish
from varistar.experiments.content import content_hash
from varistar.experiments.store import client, tracking_uri
from varistar.foundation.files import folder_hash, read_json
from varistar.periods import evaluate as stage
from varistar.periods.evaluate import validation_score
from varistar.periods.measure import served_network
from varistar.periods.measured import measure_split
from varistar.periods.verdict import members_scores, scores_of

ALONE = Engine(workers=1)
SAMPLE_OF = {"clump-8-16-32": "clump", "period-axis": "broad"}
FIGURES = {
    "clump-8-16-32": {"loss", "example", "predicted", "coverage", "reliability", "thresholds"},
    "period-axis": {"loss", "example", "predicted", "coverage", "reliability", "thresholds"},
}


@pytest.fixture(params=SAMPLE_OF)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def table(project: Any, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.build / "measured" / f"{name}.parquet")


@pytest.fixture
def metrics(project: Any, name: str) -> dict[str, Any]:
    return read_json(project.root / "metrics/periods" / f"{name}.json")


def test_every_kind_of_star_on_every_sample_is_a_test(
    project: Any, table: pl.DataFrame, metrics: dict[str, Any]
) -> None:
    expected = {}
    for sample in project.params["periods"]["tests"]:
        truth = pl.read_parquet(project.build / "injected" / sample / "test/truth.parquet")
        for row in truth.group_by("stars").agg("star_id").rows(named=True):
            expected[f"{sample}/{row['stars']}"] = sorted(row["star_id"])
    assert {test: sorted(rows["star_id"]) for (test,), rows in table.group_by("test")} == expected
    assert {test: scores["n"] for test, scores in metrics["tests"].items()} == {
        test: len(stars) for test, stars in expected.items()
    }


def test_the_metrics_are_the_scores_of_the_table(project: Any, name: str, table: pl.DataFrame, metrics: Any) -> None:
    """And of each member by itself; the table of all is kept, that of the members is measured again."""
    folder = project.build / "networks" / name
    for sample in project.params["periods"]["tests"]:
        members = measure_split([folder / "0", folder / "1"], project.build / "injected" / sample, engine=ALONE)
        for test, written in metrics["tests"].items():
            if test.partition("/")[0] != sample:
                continue
            mine = table.filter(test=test).sort("star_id")
            expected = scores_of(mine) | {"test_set": folder_hash(project.build / "injected" / sample / "test")}
            if "within_10pct" in expected:
                kind = test.partition("/")[2]
                expected["members"] = members_scores([member.filter(stars=kind) for member in members])
            assert written == json.loads(json.dumps(expected))


def test_the_metrics_say_what_was_scored_and_how_it_did_on_the_validation_stars(
    project: Any, in_project: Callable[[Path], Any], name: str, metrics: dict[str, Any]
) -> None:
    content = project.build / "calibrated" / name
    assert metrics.keys() == {"content", "sample", "target", "validation_within_10pct", "mixture", "tests"}
    of_broad = [scores["n"] for test, scores in metrics["tests"].items() if test.startswith("broad/")]
    assert (metrics["mixture"]["sample"], metrics["mixture"]["n"]) == ("broad", sum(of_broad))
    assert metrics["content"] == content_hash(content)
    assert (metrics["sample"], metrics["target"]) == (SAMPLE_OF[name], "equatorial")
    broad = project.build / "injected/broad"
    (table,) = measure_split([content], broad, "validation", engine=ALONE)
    known = table.filter(~pl.col("true_period").is_nan())
    right = [abs(row["period"] - row["true_period"]) <= 0.1 * row["true_period"] for row in known.rows(named=True)]
    with in_project(project.root):
        assert metrics["validation_within_10pct"] == validation_score(content, broad)
    assert metrics["validation_within_10pct"] == pytest.approx(sum(right) / len(right), abs=1e-6)
    assert 0 < known.height < table.height


def test_every_number_is_finite_or_null(metrics: dict[str, Any]) -> None:
    def numbers(value: Any) -> list[float]:
        below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if below is None:
            return [value] if isinstance(value, int | float) else []
        return [number for inner in below for number in numbers(inner)]

    assert len(numbers(metrics)) > 100
    assert all(math.isfinite(number) for number in numbers(metrics))


# ---------------------------------------------------------------------------------------------------------------------
# What is published


def runs(root: Path, name: str) -> list[Any]:
    mlflow_client = client(tracking_uri(root))
    experiment = mlflow_client.get_experiment_by_name("periods")
    return mlflow_client.search_runs([experiment.experiment_id], f"tags.variant = '{name}'")


def test_scores_and_figures_are_added_to_the_run_that_trained_the_network(project: Any, name: str) -> None:
    weights = content_hash(project.build / "networks" / name / "0")
    (run,) = (one for one in runs(project.root, name) if one.data.tags["weights"] == weights)
    metrics = read_json(project.root / "metrics/periods" / f"{name}.json")
    for test, scores in metrics["tests"].items():
        if "false_periods" in scores:
            assert run.data.metrics[f"{test}/false_periods.rate"] == scores["false_periods"]["rate"]
            continue
        assert run.data.metrics[f"{test}/within_10pct"] == scores["within_10pct"]
        assert run.data.metrics[f"{test}/confusion.1:1"] == scores["confusion"]["1:1"]
        by = scores["by"]["amplitude"]["<0.003"]["within_10pct"]
        assert run.data.metrics.get(f"{test}/by.amplitude.below 0.003.within_10pct") == by
    assert run.data.metrics["validation_loss"] is not None
    figures = client(tracking_uri(project.root)).list_artifacts(run.info.run_id, "figures")
    assert {Path(file.path).stem for file in figures} == FIGURES[name]
    drawn = {path.stem: path.read_bytes()[:8] for path in (project.root / "build/figures/periods" / name).iterdir()}
    assert drawn == dict.fromkeys(FIGURES[name], b"\x89PNG\r\n\x1a\n")
    (packaged,) = (asked for asked in project.packaged if asked["folder"].name == name)
    assert packaged == {
        "root": project.root,
        "folder": project.build / "calibrated" / name,
        "load_network": served_network,
        "experiment": "periods",
        "run_id": run.info.run_id,
    }


def test_where_the_store_has_no_run_any_more_one_is_made(copied: Any, in_project: Callable[[Path], Any]) -> None:
    name = "clump-8-16-32"
    before_runs = {run.info.run_id for run in runs(copied.root, name)}
    for run_id in before_runs:
        client(tracking_uri(copied.root)).delete_run(run_id)
    before = read_json(copied.root / "metrics/periods" / f"{name}.json")
    with in_project(copied.root) as patch:
        patch.setattr(publish, "package", lambda *given, **more: "1")
        stage.main(name)
    assert read_json(copied.root / "metrics/periods" / f"{name}.json") == before
    (run,) = runs(copied.root, name)
    assert len(before_runs) == 2 and run.info.run_id not in before_runs
    assert run.data.metrics["clump/paper/within_10pct"] == before["tests"]["clump/paper"]["within_10pct"]
    assert run.data.tags["weights"] == content_hash(copied.build / "networks" / name / "0")


def test_a_variant_of_the_study_may_have_a_sample_that_is_no_test(
    copied: Any, in_project: Callable[[Path], Any]
) -> None:
    """Its figures are of the sample that promotion is decided on, and its scores stand with the study's."""
    params = copied.params["periods"]
    few = params["variants"]["period-axis"] | {"sample": "quasar-few"}
    copied.change(periods__study=params["study"] | {"few": few})
    for kind in ("calibrated", "networks"):
        shutil.copytree(copied.build / kind / "period-axis", copied.build / kind / "few")
    shutil.copy(copied.build / "histories/period-axis.parquet", copied.build / "histories/few.parquet")
    with in_project(copied.root) as patch:
        patch.setattr(publish, "package", lambda *given, **more: "1")
        stage.main("few")
    metrics = read_json(copied.root / "metrics/study/few.json")
    assert metrics["sample"] == "quasar-few"
    assert metrics["tests"] == read_json(copied.root / "metrics/periods/period-axis.json")["tests"]
    assert not (copied.root / "metrics/periods/few.json").exists()
    drawn = {path.stem for path in (copied.root / "build/figures/periods/few").iterdir()}
    assert drawn == FIGURES["period-axis"]
