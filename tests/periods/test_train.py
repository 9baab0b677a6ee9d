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
from varistar.bulk.engine import Engine
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.fit import Metrics
from varistar.experiments.store import client, tracking_uri
from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash
from varistar.foundation.params import read_section
from varistar.periods import train as stage
from varistar.periods.preprocess import read_representation
from varistar.periods.train import PeriodExamples, train, train_variant
from varistar.periods.variants import Variant

VARIANTS = ("clump-8-16-32", "period-axis")


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


class KilledError(BaseException):
    """What no job takes for a failure of its own."""


def kill_at(epoch: int) -> Callable[[int, Metrics], None]:
    def on_epoch(number: int, metrics: Metrics) -> None:
        if number == epoch:
            raise KilledError

    return on_epoch


# ---------------------------------------------------------------------------------------------------------------------
# Examples


@pytest.mark.parametrize("all_stars", [False, True])
def test_examples_are_arrays_with_their_periods(images: Path, all_stars: bool) -> None:
    """NaN where there is none, if such stars are asked for."""
    arrays = open_arrays(images / "train")
    examples = PeriodExamples([images / "train"], all_stars=all_stars)
    kept = [row for row, period in enumerate(arrays.index["period_days"]) if all_stars or period is not None]
    assert len(examples) == len(kept)
    assert (len(kept) == len(arrays)) == all_stars
    rows = np.array([3, 0, 3])
    gathered = examples.gather(rows)
    assert gathered.dtype == np.uint8
    np.testing.assert_array_equal(gathered, arrays.gather(np.array(kept)[rows]))
    assert examples.targets.dtype == np.float32
    expected = [
        np.nan if arrays.index["period_days"][row] is None else arrays.index["period_days"][row] for row in kept
    ]
    np.testing.assert_allclose(examples.targets, expected)


def test_the_target_is_the_column_asked_for(images: Path) -> None:
    shown = PeriodExamples([images / "train"], "effective_period_days")
    truth = open_arrays(images / "train").index["effective_period_days"].drop_nulls()
    np.testing.assert_allclose(shown.targets, truth)
    assert (shown.targets != PeriodExamples([images / "train"]).targets).any()


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
    exact = with_training(variant, max_epochs=5, learning_rate=0.01, precision="float32")
    network, done = train(exact, [images], tmp_path / "checkpoints")
    losses = [metrics["validation_loss"] for metrics in done.history]
    assert done.best_epoch == int(np.argmin(losses))
    examples = PeriodExamples([images / "validation"], all_stars=variant.network.no_period)
    with torch.inference_mode():
        raw = network.eval()(torch.from_numpy(examples.gather(np.arange(len(examples)))))
    truth = torch.from_numpy(examples.targets)
    best = done.history[done.best_epoch]
    assert best["validation_loss"] == pytest.approx(float(network.head.loss(raw, truth)), rel=1e-4)
    known = torch.isfinite(truth)
    assert known.all() != variant.network.no_period
    answer = network.head.answer(raw[known], torch.ones(()))
    error = ((answer.period - truth[known]).abs() / truth[known]).numpy()
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
    drawn = [key for key, value in first.items() if value.ndim > 1]
    assert len(drawn) > 5 and not any(torch.equal(first[key], other[key]) for key in drawn)


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
    assert any(not torch.equal(value, together.state_dict()[key]) for key, value in alone.state_dict().items())


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
    histories = pl.read_parquet(project.build / "histories" / f"{name}.parquet")
    assert variant.members == 2
    for member in range(2):
        spec = read_content(project.build / "networks" / name / str(member)).spec
        history = histories.filter(member=member)
        assert history["epoch"].to_list() == list(range(variant.training.max_epochs))
        (best,) = history.filter(pl.col("validation_loss") == history["validation_loss"].min()).rows(named=True)
        metrics = [key for key in history.columns if key not in ("epoch", "member")]
        assert spec.metrics == {key: pytest.approx(best[key], abs=1e-6) for key in metrics}
        assert spec.wing == "periods"
        assert spec.architecture.settings == variant.network.model_dump(mode="json")
        representation = read_representation(project.root, variant.representation)
        assert spec.preprocessing["representation"] == representation.model_dump(mode="json")
        assert spec.calibration == {}


def runs_of(root: Path, name: str) -> list[Any]:
    """MLflow's runs of a variant, in the order of their seeds."""
    mlflow_client = client(tracking_uri(root))
    experiment = mlflow_client.get_experiment_by_name("periods")
    found = mlflow_client.search_runs([experiment.experiment_id], f"tags.variant = '{name}'")
    return sorted(found, key=lambda run: run.data.params["variant.training.seed"])


def test_every_member_is_one_run_with_every_epoch(project: Any, name: str, variant: Variant) -> None:
    runs = runs_of(project.root, name)
    assert [run.info.run_name for run in runs] == [f"{name}-0", f"{name}-1"]
    for member, run in enumerate(runs):
        assert run.info.status == "FINISHED"
        assert {key: run.data.tags[key] for key in ("wing", "sample", "representation")} == {
            "wing": "periods", "sample": variant.sample, "representation": variant.representation
        }  # fmt: skip
        assert run.data.tags["weights"] == content_hash(project.build / "networks" / name / str(member))
        assert run.data.params["variant.training.learning_rate"] == str(variant.training.learning_rate)
        history = pl.read_parquet(project.build / "histories" / f"{name}.parquet").filter(member=member)
        logged = client(tracking_uri(project.root)).get_metric_history(run.info.run_id, "validation_loss")
        assert [(point.step, point.value) for point in logged] == list(history["epoch", "validation_loss"].iter_rows())
    assert not list((project.root / ".cache").rglob("*.ckpt"))


def test_a_member_is_a_training_with_a_seed_of_its_own(
    project: Any, name: str, variant: Variant, images: Path, tmp_path: Path
) -> None:
    """The same as that seed alone."""
    assert len({content_hash(project.build / "networks" / name / str(member)) for member in range(2)}) == 2
    for member in range(2):
        alone, _ = train(with_training(variant, seed=member), [images], tmp_path / str(member))
        weights = read_content(project.build / "networks" / name / str(member)).state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in alone.state_dict().items())


@contextmanager
def killed_at(epoch: int, seed: int = 0) -> Iterator[list[int]]:
    """The training with this seed is killed at this epoch, after it was recorded; tells which seeds were trained."""
    seeds: list[int] = []

    def killed(variant: Variant, images: Any, checkpoints: Path, on_epoch: Any, accelerator: Any) -> Any:
        seeds.append(variant.training.seed)

        def recorded(number: int, metrics: Metrics) -> None:
            on_epoch(number, metrics)
            if variant.training.seed == seed:
                kill_at(epoch)(number, metrics)

        return train(variant, images, checkpoints, recorded, accelerator)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(stage, "train", killed)
        yield seeds


def retrain(copied: Any, name: str, variant: Variant, folder: str, workers: int = 1) -> Path:
    output = copied.root / folder / name
    history = copied.root / folder / f"{name}.parquet"
    train_variant(copied.root, name, variant, output, history, Engine(workers=workers))
    return output


def test_members_trained_side_by_side_are_those_trained_one_after_the_other(
    copied: Any, in_project: Callable[[Path], Any]
) -> None:
    name = "period-axis"
    variant = read_section(copied.root, f"periods.variants.{name}", Variant)
    with in_project(copied.root):
        output = retrain(copied, name, variant, "again", workers=2)
    assert folder_hash(output) == folder_hash(copied.build / "networks" / name)
    histories = [folder / f"{name}.parquet" for folder in (copied.root / "again", copied.build / "histories")]
    assert pl.read_parquet(histories[0]).equals(pl.read_parquet(histories[1]))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_stage_that_was_killed_goes_on_in_its_own_runs(
    copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant, killed: int
) -> None:
    """A member that was done is not trained again; the one that was not goes on from its last epoch."""
    mlflow_client = client(tracking_uri(copied.root))
    before = {run.info.run_id for run in runs_of(copied.root, name)}
    with in_project(copied.root) as patch:
        with killed_at(1, seed=killed) as seeds:
            retrain(copied, name, variant, "again")
        assert seeds == list(range(killed + 1))
        assert not (copied.root / "again" / name).exists(), "nothing half done"
        epochs: list[tuple[int, int]] = []

        def remembering(variant: Variant, images: Any, checkpoints: Path, on_epoch: Any, accelerator: Any) -> Any:
            def remembered(number: int, metrics: Metrics) -> None:
                epochs.append((variant.training.seed, number))
                on_epoch(number, metrics)

            return train(variant, images, checkpoints, remembered, accelerator)

        patch.setattr(stage, "train", remembering)
        output = retrain(copied, name, variant, "again")
    assert epochs == [(killed, 1), (killed, 2)] + [(1, epoch) for epoch in range(3) if killed == 0]
    assert folder_hash(output) == folder_hash(copied.build / "networks" / name)
    runs = [run for run in runs_of(copied.root, name) if run.info.run_id not in before]
    assert len(runs) == 2
    for run in runs:
        assert run.info.status == "FINISHED"
        steps = [point.step for point in mlflow_client.get_metric_history(run.info.run_id, "validation_loss")]
        assert sorted(set(steps)) == list(range(variant.training.max_epochs))
    assert not list((copied.root / "again").glob("*.parts"))


def test_another_training_does_not_go_on_from_a_killed_one(
    project: Any, copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant
) -> None:
    """Neither with other settings nor with other images."""
    variant = variant.model_copy(update={"members": 1, "ensemble": False})
    other = with_training(variant, seed=5)
    project_images = project.build / "images" / variant.images
    images = copied.build / "images" / variant.images
    with in_project(copied.root):
        with killed_at(1):
            retrain(copied, name, variant, "first")
        settled = retrain(copied, name, other, "second")
        index = images / "train/index.parquet"
        pl.read_parquet(index).with_columns(period_days=pl.col("period_days") + 1).write_parquet(index)
        moved = retrain(copied, name, variant, "first")
    for training, shown, output in ((other, project_images, settled), (variant, images, moved)):
        fresh, _ = train(training, [shown], copied.root / "checkpoints")
        weights = read_content(output / "0").state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in fresh.state_dict().items())
    models = [settled / "0", moved / "0", copied.build / "networks" / name / "0"]
    assert len({content_hash(model) for model in models}) == 3


def test_the_content_names_the_data_by_dvcs_hash(
    copied: Any, in_project: Callable[[Path], Any], name: str, variant: Variant
) -> None:
    path, digest = f"build/periods/images/{variant.images}", "0123456789abcdef" * 2 + ".dir"
    stages = {f"images@{variant.images}": {"cmd": "x", "outs": [{"path": path, "md5": digest, "size": 9}]}}
    with (copied.root / "dvc.lock").open("w") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)
    with in_project(copied.root):
        output = retrain(copied, name, variant, "again")
    assert read_content(output / "1").spec.training_data == {path: digest}
