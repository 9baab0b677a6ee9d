"""Train a variant's networks on its examples."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.bulk.arrays import ArraySet, join_arrays, open_arrays
from varistar.experiments.fit import Metrics, fit
from varistar.experiments.members import Learned, Lesson, train_members
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .finder import describe_model
from .matching import average_precision, window_scores
from .network import build_network, make_loss
from .orbits import OrbitSettings
from .representation import PointRepresentation
from .variants import WING, FlareVariant, folder_of, read_variant

#: Seed of the order of windows.
MIXED = 88


class WindowExamples:
    """Windows with their labels, as `fit` reads them: these of an array set, in this order."""

    def __init__(self, arrays: ArraySet, rows: NDArray[np.int64]) -> None:
        self.arrays = arrays
        self.rows = rows
        self.targets: NDArray[np.float32] = arrays.index["label"].to_numpy()[rows].astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Windows of flux, float32 (len(rows), length)."""
        return self.arrays.gather(self.rows[rows])


class PointExamples:
    """Stretches with label and weight of every cadence, as `fit` reads them."""

    def __init__(self, arrays: ArraySet) -> None:
        self.arrays = arrays
        self.targets: NDArray[np.float32] = arrays.gather(np.arange(len(arrays)))[:, -2:].astype(np.float32)

    def __len__(self) -> int:
        return len(self.targets)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the network reads, float32 (len(rows), channels, length)."""
        return self.arrays.gather(rows)[:, :-2].astype(np.float32)


def open_examples(folders: Sequence[Path], split: str) -> WindowExamples | PointExamples:
    """The examples of a split, of whichever kind they are.

    Windows are mixed once and for all, as the published code does before it trains without shuffling: star after star,
    the last star's would weigh most.

    Raises
    ------
    DataError
        When there is none.
    """
    arrays = join_arrays([open_arrays(folder / split) for folder in folders])
    if not len(arrays):
        raise DataError(f"{folders[0] / split}: no examples; there are too few stars for this split")
    if len(arrays.shape) == 2:
        return WindowExamples(arrays, np.random.default_rng(MIXED).permutation(len(arrays)))
    return PointExamples(arrays)


def score_window_logits(logits: Tensor, label: Tensor) -> Metrics:
    """Accuracy, precision, recall and average precision at 0.5 (002, section 2.4)."""
    found = window_scores(label.cpu().numpy() > 0.5, torch.sigmoid(logits).cpu().numpy())
    return {name: float(found[name] or 0.0) for name in ("accuracy", "precision", "recall", "average_precision")}


def score_point_logits(logits: Tensor, targets: Tensor) -> Metrics:
    """Average precision and Dice coefficient of the cadences that count; 0 where none of them is a flare's."""
    label, weight = targets.cpu().unbind(1)
    counts = weight > 0
    p, truth = torch.sigmoid(logits.cpu()[counts]).numpy(), label[counts].numpy() > 0.5
    common = float((truth & (p > 0.5)).sum())
    return {
        "average_precision": average_precision(truth, p) if truth.any() else 0.0,
        "dice": 2 * common / max(float(truth.sum() + (p > 0.5).sum()), 1.0),
    }


def learn(lesson: Lesson) -> Learned:
    """Train one network of a variant."""
    variant: FlareVariant = lesson.variant
    params = read_params(lesson.root)
    examples = {split: open_examples([lesson.examples], split) for split in ("train", "validation")}
    described = examples["train"].arrays.describe
    points = variant.network.trunk == "points"
    representation = PointRepresentation(**described["settings"]["representation"]) if points else None
    torch.manual_seed(variant.training.seed)
    network = build_network(variant.network, representation)
    done = fit(
        network,
        make_loss(variant.network),
        score_point_logits if points else score_window_logits,
        examples["train"],
        examples["validation"],
        variant.training,
        lesson.checkpoints,
        lesson.on_epoch,
        lookup(params, "accelerator"),
    )
    survey = read_section(lesson.root, f"surveys.{lookup(params, 'flares.survey')}", Survey)
    orbits = OrbitSettings(**described["orbits"])
    settings = described["settings"]
    shown = {"cadences": settings["cadences"]} if points else {"close": settings["close"]}
    return Learned(describe_model(variant, representation, orbits, survey, lesson.training_data, **shown), done)


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_variant(root, name)
    examples, own = root / "build/flares/examples" / variant.examples, folder_of(root, name)
    history = own / "histories" / f"{name}.parquet"
    metrics = train_members(root, WING, name, variant, examples, learn, own / "networks" / name, history)
    for number, best in enumerate(metrics or []):
        precision, loss = best["validation_average_precision"], best["validation_loss"]
        seed = variant.training.seed + number
        print(f"{name}, seed {seed}: validation average precision {precision:.3f}, loss {loss:.3f}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
