"""What is scored is what is measured, and where it is published it can be found again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from varistar.bulk.engine import Engine
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.store import client, tracking_uri
from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash, read_json
from varistar.lightcurves.table import LightCurves
from varistar.periods import evaluate as stage
from varistar.periods.evaluate import evaluate, measure_test_set
from varistar.periods.measure import PeriodMeter, served_network
from varistar.periods.scores import interval_coverage, period_scores

VARIANTS = {"clump-8-16-32": "clump", "clump-log-distribution": "clump", "quasar-8-16-32": "quasar"}


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def table(project: Any, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.build / "measured" / f"{name}.parquet")


def test_every_test_star_stands_beside_its_own_truth(project: Any, name: str, table: pl.DataFrame) -> None:
    truth = pl.read_parquet(project.build / "injected" / VARIANTS[name] / "test/truth.parquet").sort("star_id")
    assert table["star_id"].to_list() == truth["star_id"].to_list()
    assert table["true_period"].to_list() == truth["period_days"].to_list()
    assert table["template"].to_list() == truth["template"].to_list()
    assert table.null_count().sum_horizontal()[0] == 0


def test_measurements_are_those_of_each_star_alone(
    project: Any, name: str, table: pl.DataFrame, injected: Callable[..., LightCurves]
) -> None:
    meter = PeriodMeter.of_folder(project.build / "calibrated" / name)
    light_curves = injected(VARIANTS[name], "test")
    head, stretch = meter.network.network.head, meter.network.stretch
    for row in table.gather_every(3).iter_rows(named=True):
        star = light_curves.star(light_curves.star_id.index(row["star_id"]))
        (alone,) = meter.measure(star).rows(named=True)
        assert {column: row[column] for column in alone} == alone
        truth = torch.tensor([row["true_period"]], dtype=torch.float32)
        assert row["cumulative"] == pytest.approx(float(head.cumulative(meter.raw(meter.images(star)), stretch, truth)))


def test_the_scores_are_those_of_the_table(table: pl.DataFrame) -> None:
    scores = evaluate(table)
    columns = [table[column].to_numpy() for column in ("true_period", "period", "sigma")]
    expected = period_scores(*columns)
    assert {key: scores[key] for key in expected} == expected
    assert scores["interval_coverage"] == interval_coverage(table["cumulative"].to_numpy())
    surest = sorted(table.iter_rows(named=True), key=lambda row: -row["p_within_10pct"])
    surest = surest[: max(round(0.198 * len(surest)), 1)]
    right = [abs(row["period"] - row["true_period"]) <= 0.1 * row["true_period"] for row in surest]
    assert scores["within_10pct_at_19.8pct_coverage"] == pytest.approx(np.mean(right), abs=1e-6)


def test_the_metrics_say_what_was_scored_and_on_what(project: Any, name: str, table: pl.DataFrame) -> None:
    metrics = read_json(project.root / "metrics/periods" / f"{name}.json")
    assert metrics.pop("content") == content_hash(project.build / "calibrated" / name)
    assert metrics.pop("test_set") == folder_hash(project.build / "injected" / VARIANTS[name] / "test")
    assert metrics.pop("sample") == VARIANTS[name]
    validated = read_content(project.build / "calibrated" / name).spec.metrics
    assert metrics.pop("validation_within_10pct") == validated["validation_within_10pct"]
    # in JSON an interval is a list
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in metrics.items()} == evaluate(table)


def test_an_empty_test_set_is_an_error_that_says_so(project: Any, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"test: the test set is empty; the sample is too small for this split"):
        measure_test_set(project.build / "calibrated/clump-8-16-32", tmp_path, engine=Engine(workers=1))


def test_a_damaged_part_is_an_error_that_names_it(copied: Any) -> None:
    part = max((copied.build / "injected/clump/test").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-99])
    with pytest.raises(DataError, match=rf"^{part}"):
        measure_test_set(
            copied.build / "calibrated/clump-8-16-32", copied.build / "injected/clump", engine=Engine(workers=1)
        )


# ---------------------------------------------------------------------------------------------------------------------
# What is published


def runs(root: Path, name: str) -> list[Any]:
    mlflow_client = client(tracking_uri(root))
    experiment = mlflow_client.get_experiment_by_name("periods")
    return mlflow_client.search_runs([experiment.experiment_id], f"tags.variant = '{name}'")


def test_scores_and_figures_are_added_to_the_run_that_trained_the_network(project: Any, name: str) -> None:
    (run,) = runs(project.root, name)
    metrics = read_json(project.root / "metrics/periods" / f"{name}.json")
    assert run.data.metrics["test_within_10pct"] == metrics["within_10pct"]
    assert run.data.metrics["validation_loss"] is not None
    weights = content_hash(project.build / "networks" / name)
    assert run.data.tags["weights"] == weights
    figures = client(tracking_uri(project.root)).list_artifacts(run.info.run_id, "figures")
    assert {Path(file.path).stem for file in figures} == {"loss", "predicted", "example"}
    drawn = {path.stem: path.read_bytes()[:8] for path in (project.root / "build/figures/periods" / name).iterdir()}
    assert drawn == dict.fromkeys(("loss", "predicted", "example"), b"\x89PNG\r\n\x1a\n")
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
    (old,) = runs(copied.root, name)
    client(tracking_uri(copied.root)).delete_run(old.info.run_id)
    before = read_json(copied.root / "metrics/periods" / f"{name}.json")
    with in_project(copied.root) as patch:
        patch.setattr(stage, "package", lambda *given, **more: "1")
        stage.main(name)
    assert read_json(copied.root / "metrics/periods" / f"{name}.json") == before
    (run,) = runs(copied.root, name)
    assert run.info.run_id != old.info.run_id
    assert run.data.metrics["test_within_10pct"] == before["within_10pct"]
    assert run.data.tags["weights"] == content_hash(copied.build / "networks" / name)
