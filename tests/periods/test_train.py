"""A training is one run with one result, however often it was interrupted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from ruamel.yaml import YAML

from varistar.bulk.arrays import open_arrays
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.fit import Metrics
from varistar.experiments.store import client, tracking_uri
from varistar.foundation.errors import DataError
from varistar.foundation.params import read_section
from varistar.periods import train as stage
from varistar.periods.representation import Representation
from varistar.periods.train import PeriodExamples, train, train_variant
from varistar.periods.variants import Variant

VARIANTS = ("clump-8-16-32", "clump-log-distribution")


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def variant(project: Any, name: str) -> Variant:
    return read_section(project.root, f"periods.variants.{name}", Variant)


@pytest.fixture
def images(project: Any, variant: Variant) -> Path:
    return project.build / "images" / variant.images


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_training(variant: Variant, **changes: Any) -> Variant:
    return variant.model_copy(update={"training": variant.training.model_copy(update=changes)})


class KilledError(Exception):
    pass


def kill_at(epoch: int) -> Callable[[int, Metrics], None]:
    def on_epoch(number: int, metrics: Metrics) -> None:
        if number == epoch:
            raise KilledError

    return on_epoch


# ---------------------------------------------------------------------------------------------------------------------
# Examples


def test_examples_are_images_with_their_periods(images: Path) -> None:
    arrays, examples = open_arrays(images / "train"), PeriodExamples([images / "train"])
    assert len(examples) == len(arrays)
    rows = np.array([3, 0, 3])
    gathered = examples.gather(rows)
    assert gathered.shape == (3, 1, 8, 36)
    np.testing.assert_array_equal(gathered[:, 0], arrays.gather(rows))
    assert examples.targets.dtype == np.float32
    np.testing.assert_allclose(examples.targets, arrays.index["period_days"])


def test_several_sets_are_one_after_the_other(images: Path) -> None:
    both = PeriodExamples([images / "train", images / "test"])
    first, second = PeriodExamples([images / "train"]), PeriodExamples([images / "test"])
    np.testing.assert_array_equal(both.targets, np.concatenate([first.targets, second.targets]))
    everything = np.concatenate([found.gather(np.arange(len(found))) for found in (first, second)])
    np.testing.assert_array_equal(both.gather(np.arange(len(both))), everything)


# ---------------------------------------------------------------------------------------------------------------------
# Training


def test_the_network_is_that_of_the_best_epoch(variant: Variant, images: Path, tmp_path: Path) -> None:
    """Its scores on the validation set, counted by hand."""
    network, done = train(with_training(variant, max_epochs=5, learning_rate=0.01), [images], tmp_path / "checkpoints")
    losses = [metrics["validation_loss"] for metrics in done.history]
    assert done.best_epoch == int(np.argmin(losses))
    examples = PeriodExamples([images / "validation"])
    with torch.inference_mode():
        raw = network.eval()(torch.from_numpy(examples.gather(np.arange(len(examples)))))
    truth = torch.from_numpy(examples.targets)
    best = done.history[done.best_epoch]
    assert best["validation_loss"] == pytest.approx(float(network.head.loss(raw, truth)), rel=1e-4)
    answer = network.head.answer(raw, torch.ones(()))
    error = ((answer.period - truth).abs() / truth).numpy()
    assert best["validation_within_10pct"] == pytest.approx(np.mean(error <= 0.1))
    assert best["validation_within_20pct"] == pytest.approx(np.mean(error <= 0.2))
    assert best["validation_trusted"] == pytest.approx(np.mean((answer.sigma / answer.period).numpy() < 0.25))


def test_training_lowers_the_loss(variant: Variant, images: Path, tmp_path: Path) -> None:
    longer = with_training(variant, max_epochs=15, learning_rate=0.003)
    _, done = train(longer, [images], tmp_path / "checkpoints")
    losses = [metrics["train_loss"] for metrics in done.history]
    assert np.mean(losses[-3:]) < losses[0] - 0.1


def test_the_seed_decides_everything(variant: Variant, images: Path, tmp_path: Path) -> None:
    def weights(seed: int, state: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(state)
        network, _ = train(with_training(variant, seed=seed, max_epochs=1), [images], tmp_path / f"{seed}-{state}")
        return network.state_dict()

    first, again, other = weights(0, state=1), weights(0, state=2), weights(1, state=1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


def test_an_interrupted_training_goes_on_to_the_same_end(variant: Variant, images: Path, tmp_path: Path) -> None:
    longer = with_training(variant, max_epochs=5)
    network, done = train(longer, [images], tmp_path / "undisturbed")
    with pytest.raises(KilledError):
        train(longer, [images], tmp_path / "killed", kill_at(2))
    resumed, again = train(longer, [images], tmp_path / "killed")
    assert again.history == done.history
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in network.state_dict().items())


def test_two_sets_are_trained_on_together(variant: Variant, images: Path, tmp_path: Path) -> None:
    once = with_training(variant, max_epochs=1)
    alone, _ = train(once, [images], tmp_path / "alone")
    together, _ = train(once, [images, images], tmp_path / "together")
    assert not torch.equal(alone.dense[1].weight, together.dense[1].weight)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_an_error_that_says_so(copied: Any, variant: Variant, tmp_path: Path, split: str) -> None:
    folder = copied.build / "images" / variant.images
    index = folder / split / "index.parquet"
    pl.read_parquet(index).clear().write_parquet(index)
    with pytest.raises(DataError, match=rf"{split}: no examples; the sample is too small for this split"):
        train(variant, [folder], tmp_path / "checkpoints")


# ---------------------------------------------------------------------------------------------------------------------
# The stage


def test_the_content_says_how_it_was_made(project: Any, name: str, variant: Variant) -> None:
    spec = read_content(project.build / "networks" / name).spec
    history = pl.read_parquet(project.build / "histories" / f"{name}.parquet")
    assert history["epoch"].to_list() == list(range(variant.training.max_epochs))
    (best,) = history.filter(pl.col("validation_loss") == history["validation_loss"].min()).rows(named=True)
    assert spec.metrics == {key: pytest.approx(best[key], abs=1e-6) for key in history.columns if key != "epoch"}
    assert spec.wing == "periods"
    assert spec.architecture.settings == variant.network.model_dump(mode="json")
    representation = read_section(project.root, f"periods.representations.{variant.representation}", Representation)
    assert spec.preprocessing["representation"] == representation.model_dump(mode="json")
    assert spec.calibration == {}


def test_a_training_is_one_run_with_every_epoch(project: Any, name: str, variant: Variant) -> None:
    mlflow_client = client(tracking_uri(project.root))
    experiment = mlflow_client.get_experiment_by_name("periods")
    (run,) = mlflow_client.search_runs([experiment.experiment_id], f"tags.variant = '{name}'")
    assert run.info.status == "FINISHED"
    assert {key: run.data.tags[key] for key in ("wing", "sample", "representation")} == {
        "wing": "periods", "sample": "clump", "representation": variant.representation
    }  # fmt: skip
    assert run.data.params["variant.training.learning_rate"] == str(variant.training.learning_rate)
    history = pl.read_parquet(project.build / "histories" / f"{name}.parquet")
    logged = mlflow_client.get_metric_history(run.info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in logged] == list(history["epoch", "validation_loss"].iter_rows())
    assert not (project.root / ".cache/checkpoints").exists() or not list(
        (project.root / ".cache/checkpoints").rglob("*.ckpt")
    )


@contextmanager
def killed_at(epoch: int) -> Iterator[None]:
    """The stage's training is killed at this epoch, after the epoch was recorded."""

    def killed(variant: Variant, images: Any, checkpoints: Path, on_epoch: Any, accelerator: Any) -> Any:
        def recorded(number: int, metrics: Metrics) -> None:
            on_epoch(number, metrics)
            kill_at(epoch)(number, metrics)

        return train(variant, images, checkpoints, recorded, accelerator)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(stage, "train", killed)
        yield


def retrain(copied: Any, name: str, variant: Variant, folder: str) -> Path:
    output = copied.root / folder / name
    train_variant(copied.root, name, variant, output, copied.root / folder / f"{name}.parquet")
    return output


def test_a_stage_that_was_killed_goes_on_in_its_own_run(
    copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant
) -> None:
    mlflow_client = client(tracking_uri(copied.root))
    experiment = mlflow_client.get_experiment_by_name("periods").experiment_id
    before = {run.info.run_id for run in mlflow_client.search_runs([experiment])}
    with in_project(copied.root):
        with killed_at(1):
            retrain(copied, name, variant, "again")
        assert not (copied.root / "again").exists(), "nothing half done"
        output = retrain(copied, name, variant, "again")
    assert content_hash(output) == content_hash(copied.build / "networks" / name)
    (run,) = (run for run in mlflow_client.search_runs([experiment]) if run.info.run_id not in before)
    assert run.info.status == "FINISHED"
    steps = [point.step for point in mlflow_client.get_metric_history(run.info.run_id, "validation_loss")]
    assert sorted(set(steps)) == list(range(variant.training.max_epochs))


def test_another_training_does_not_go_on_from_a_killed_one(
    project: Any, copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant
) -> None:
    """Neither with other settings nor with other images."""
    other = with_training(variant, seed=5)
    project_images = project.build / "images" / variant.images
    images = copied.build / "images" / variant.images
    with in_project(copied.root):
        with killed_at(1):
            retrain(copied, name, variant, "first")
        settled = retrain(copied, name, other, "second")
        index = images / "train/index.parquet"
        pl.read_parquet(index).with_columns(period_days=pl.col("period_days") + 1).write_parquet(index)
        moved = retrain(copied, name, variant, "third")
    for training, shown, output in ((other, project_images, settled), (variant, images, moved)):
        fresh, _ = train(training, [shown], copied.root / "checkpoints")
        weights = read_content(output).state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in fresh.state_dict().items())
    assert len({content_hash(output) for output in (settled, moved, copied.build / "networks" / name)}) == 3


def test_the_content_names_the_data_by_dvcs_hash(
    copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant
) -> None:
    path, digest = f"build/periods/images/{variant.images}", "0123456789abcdef" * 2 + ".dir"
    stages = {f"images@{variant.images}": {"cmd": "x", "outs": [{"path": path, "md5": digest, "size": 9}]}}
    with (copied.root / "dvc.lock").open("w") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)
    with in_project(copied.root):
        output = retrain(copied, name, variant, "again")
    assert read_content(output).spec.training_data == {path: digest}
