"""A training of flare networks is one run with one result, however often it was interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import average_precision_score

from varistar.bulk.arrays import open_arrays
from varistar.bulk.engine import Engine
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.fit import Metrics
from varistar.experiments.members import Learned, Lesson, train_members
from varistar.experiments.store import client, tracking_uri
from varistar.flares.example_sets import open_examples
from varistar.flares.network import build_network, make_loss
from varistar.flares.representation import PointRepresentation
from varistar.flares.train import (
    learn,
    score_point_logits,
    score_window_logits,
)
from varistar.flares.variants import FlareVariant, read_variant
from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash

VARIANTS = ("points", "windows")


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def variant(project: Any, name: str) -> FlareVariant:
    return read_variant(project.root, name)


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def with_training(variant: FlareVariant, **changes: Any) -> FlareVariant:
    return variant.model_copy(update={"training": variant.training.model_copy(update=changes)})


class KilledError(BaseException):
    """What no job takes for a failure of its own."""


def teach(
    project: Any, variant: FlareVariant, checkpoints: Path, on_epoch: Callable[[int, Metrics], None] | None = None
) -> Learned:
    examples = project.build / "examples" / variant.examples
    silent = on_epoch or (lambda epoch, metrics: None)
    return learn(Lesson(project.root, "a test", variant, examples, checkpoints, silent, {"examples": "0" * 32}))


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_an_error_that_says_so(
    copied: Any, variant: FlareVariant, tmp_path: Path, split: str
) -> None:
    index = copied.build / "examples" / variant.examples / split / "index.parquet"
    pl.read_parquet(index).clear().write_parquet(index)
    with pytest.raises(DataError, match=rf"{split}: no examples; there are too few stars for this split"):
        teach(copied, variant, tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


def test_windows_are_scored_as_the_paper_does() -> None:
    logits, label = torch.tensor([2.0, -1.0, 0.5, -3.0, 1.0]), torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0])
    assert score_window_logits(logits, label) == {
        "accuracy": pytest.approx(3 / 5),
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "average_precision": pytest.approx(average_precision_score(label, logits)),
    }


def test_cadences_are_scored_where_they_count() -> None:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(4, 50)).astype(np.float32))
    label, weight = (torch.from_numpy((rng.random((4, 50)) < share).astype(np.float32)) for share in (0.3, 0.6))
    scores = score_point_logits(logits, torch.stack([label, weight], dim=1))
    counts = weight.numpy() > 0
    truth, called = label.numpy()[counts] > 0, logits.numpy()[counts] > 0
    assert scores["average_precision"] == pytest.approx(average_precision_score(truth, logits.numpy()[counts]))
    assert scores["dice"] == pytest.approx(2 * (truth & called).sum() / (truth.sum() + called.sum()))
    other = torch.where(weight > 0, logits, 9.0)
    assert score_point_logits(other, torch.stack([torch.where(weight > 0, label, 1.0), weight], dim=1)) == scores


@pytest.mark.filterwarnings("error")
def test_validation_stars_without_a_flare_have_scores_too() -> None:
    """Numbers, since they are kept in the model's content."""
    logits, nothing = torch.tensor([[0.5, -3.0]]), torch.zeros(1, 2)
    assert score_window_logits(logits[0], nothing[0]) == {
        "accuracy": 0.5, "precision": 0.0, "recall": 0.0, "average_precision": 0.0
    }  # fmt: skip
    for weight in (torch.ones(1, 2), nothing):
        assert score_point_logits(logits, torch.stack([nothing, weight], dim=1)) == {
            "average_precision": 0.0, "dice": 0.0
        }  # fmt: skip


class Elsewhere(torch.Tensor):
    """A tensor on an accelerator: NumPy cannot read it until it is brought here."""

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self, *arguments: Any, **named: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_scores_are_taken_of_an_accelerator_too() -> None:
    logits, label = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    assert score_window_logits(logits.as_subclass(Elsewhere), label.as_subclass(Elsewhere)) == score_window_logits(
        logits, label
    )
    targets = torch.stack([label, torch.ones(3)])[None]
    assert score_point_logits(
        logits[None].as_subclass(Elsewhere), targets.as_subclass(Elsewhere)
    ) == score_point_logits(logits[None], targets)


# ---------------------------------------------------------------------------------------------------------------------
# One network


def test_the_network_is_that_of_the_best_epoch(project: Any, variant: FlareVariant, tmp_path: Path) -> None:
    """Its loss and scores on the validation set, counted again."""
    learned = teach(project, with_training(variant, max_epochs=3, precision="float32"), tmp_path / "checkpoints")
    losses = [metrics["validation_loss"] for metrics in learned.done.history]
    assert learned.done.best_epoch == int(np.argmin(losses))
    examples = open_examples([project.build / "examples" / variant.examples], "validation")
    points = variant.network.trunk == "points"
    shown = PointRepresentation(**learned.spec.preprocessing["representation"]) if points else None
    network = build_network(variant.network, shown)
    network.load_state_dict(learned.done.weights)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(examples.gather(np.arange(len(examples)))))
    targets = torch.from_numpy(examples.targets)
    best = learned.done.history[learned.done.best_epoch]
    assert best["validation_loss"] == pytest.approx(float(make_loss(variant.network)(logits, targets)), rel=1e-4)
    for key, value in (score_point_logits if points else score_window_logits)(logits, targets).items():
        assert best[f"validation_{key}"] == pytest.approx(value, rel=1e-3)


def test_training_lowers_the_loss(project: Any, variant: FlareVariant, tmp_path: Path) -> None:
    longer = with_training(variant, max_epochs=6, learning_rate=0.005, schedule="constant")
    losses = [metrics["train_loss"] for metrics in teach(project, longer, tmp_path / "checkpoints").done.history]
    assert losses[-1] < 0.95 * losses[0]


def test_the_seed_decides_everything(project: Any, variant: FlareVariant, tmp_path: Path) -> None:
    def weights(seed: int, state: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(state)
        once = with_training(variant, seed=seed, max_epochs=1)
        return teach(project, once, tmp_path / f"{seed}-{state}").done.weights

    first, again, other = weights(0, state=1), weights(0, state=2), weights(1, state=1)
    assert same(first, again)
    drawn = [key for key, value in first.items() if value.ndim > 1]
    assert len(drawn) >= 4 and not any(torch.equal(first[key], other[key]) for key in drawn)


def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    project: Any, variant: FlareVariant, tmp_path: Path
) -> None:
    longer = with_training(variant, max_epochs=3)
    undisturbed = teach(project, longer, tmp_path / "undisturbed").done
    epochs: list[int] = []

    def killed(epoch: int, metrics: Metrics) -> None:
        epochs.append(epoch)
        if epoch == 1 and len(epochs) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        teach(project, longer, tmp_path / "killed", killed)
    resumed = teach(project, longer, tmp_path / "killed", killed).done
    assert epochs == [0, 1, 1, 2], "the epoch that was not kept is done again, and no other"
    assert resumed.history == undisturbed.history
    assert resumed.best_epoch == undisturbed.best_epoch
    assert same(resumed.weights, undisturbed.weights)


def test_the_record_says_what_was_trained_on_what(project: Any, name: str, variant: FlareVariant) -> None:
    described = open_arrays(project.build / "examples" / name / "train").describe
    for folder in (project.build / "networks" / name).iterdir():
        spec = read_content(folder).spec
        assert (spec.wing, spec.calibration) == ("flares", {})
        assert (spec.architecture.name, spec.architecture.settings) == (
            variant.network.trunk, variant.network.model_dump(mode="json")
        )  # fmt: skip
        assert spec.preprocessing["orbits"] == described["orbits"]
        assert spec.preprocessing["events"] == variant.events.model_dump(mode="json")
        assert spec.preprocessing["survey"]["description"] == project.params["surveys"]["tess"]["description"]
        shown = described["settings"].get("representation")
        assert spec.preprocessing.get("representation") == (shown if name == "points" else None)


# ---------------------------------------------------------------------------------------------------------------------
# The stage


def test_the_best_epoch_is_in_the_content_and_every_epoch_in_the_history(
    project: Any, name: str, variant: FlareVariant
) -> None:
    histories = pl.read_parquet(project.build / "histories" / f"{name}.parquet")
    assert set(histories["member"]) == set(range(variant.members))
    for member in range(variant.members):
        history = histories.filter(member=member)
        assert history["epoch"].to_list() == list(range(variant.training.max_epochs))
        (best,) = history.filter(pl.col("validation_loss") == history["validation_loss"].min()).rows(named=True)
        metrics = [key for key in history.columns if key not in ("epoch", "member")]
        spec = read_content(project.build / "networks" / name / str(member)).spec
        assert spec.metrics == {key: pytest.approx(best[key], abs=1e-6) for key in metrics}


def test_every_member_is_one_run_with_every_epoch(project: Any, name: str, variant: FlareVariant) -> None:
    mlflow_client = client(tracking_uri(project.root))
    experiment = mlflow_client.get_experiment_by_name("flares")
    found = mlflow_client.search_runs([experiment.experiment_id], f"tags.variant = '{name}'")
    runs = sorted(found, key=lambda run: int(run.data.params["variant.training.seed"]))
    one = variant.members == 1
    assert [run.info.run_name for run in runs] == ([name] if one else [f"{name}-0", f"{name}-1"])
    for member, run in enumerate(runs):
        assert (run.info.status, run.data.tags["wing"]) == ("FINISHED", "flares")
        assert run.data.tags["weights"] == content_hash(project.build / "networks" / name / str(member))
        history = pl.read_parquet(project.build / "histories" / f"{name}.parquet").filter(member=member)
        logged = mlflow_client.get_metric_history(run.info.run_id, "validation_loss")
        assert [(point.step, point.value) for point in logged] == list(history["epoch", "validation_loss"].iter_rows())
    assert not list((project.root / ".cache").rglob("*.ckpt"))


def retrain(copied: Any, name: str, learner: Callable[[Lesson], Learned] = learn, workers: int = 1) -> Path:
    variant = read_variant(copied.root, name)
    output, history = copied.root / "again" / name, copied.root / "again" / f"{name}.parquet"
    examples = copied.build / "examples" / variant.examples
    train_members(
        copied.root, "flares", name, variant, examples, learner, output, history, {"try": "2"}, Engine(workers=workers)
    )
    return output


def test_members_trained_side_by_side_are_those_trained_one_after_the_other(
    copied: Any, in_project: Callable[[Path], Any]
) -> None:
    with in_project(copied.root):
        output = retrain(copied, "points", workers=2)
    assert folder_hash(output) == folder_hash(copied.build / "networks/points")
    histories = [folder / "points.parquet" for folder in (copied.root / "again", copied.build / "histories")]
    assert pl.read_parquet(histories[0]).equals(pl.read_parquet(histories[1]))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_stage_that_was_killed_goes_on_where_it_was(
    copied: Any, in_project: Callable[[Path], Any], killed: int
) -> None:
    """A member that was done is not trained again; the one that was not goes on from its last epoch."""
    epochs: list[tuple[int, int]] = []

    def learner(dies: bool) -> Callable[[Lesson], Learned]:
        def taught(lesson: Lesson) -> Learned:
            def recorded(epoch: int, metrics: Metrics) -> None:
                lesson.on_epoch(epoch, metrics)
                epochs.append((lesson.variant.training.seed, epoch))
                if dies and (lesson.variant.training.seed, epoch) == (killed, 1):
                    raise KilledError

            return learn(lesson._replace(on_epoch=recorded))

        return taught

    with in_project(copied.root):
        with pytest.raises(KilledError):
            retrain(copied, "points", learner(dies=True))
        assert not (copied.root / "again/points").exists(), "nothing half done"
        epochs.clear()
        output = retrain(copied, "points", learner(dies=False))
    assert epochs == [(killed, 1)] + [(1, epoch) for epoch in range(2) if killed == 0]
    assert folder_hash(output) == folder_hash(copied.build / "networks/points")
