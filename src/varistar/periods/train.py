"""Train a variant's networks on its examples, each recorded as one MLflow run."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.bulk.engine import Engine
from varistar.experiments.fit import Fit, Metrics, OnEpoch, fit
from varistar.experiments.members import Learned, Lesson, train_members
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .heads import TOLERANCE
from .measure import WING, describe_model
from .network import PeriodNetwork, build_network
from .preprocess import read_representation, representation_of
from .variants import TARGETS, Variant, read_variant


class PeriodExamples:
    """The arrays of one split with their true periods, NaN where there is none, as `fit` reads them.

    Parameters
    ----------
    target : column of the truth.
    all_stars : whether stars without a period are among them.
    """

    def __init__(self, folders: Sequence[Path], target: str = TARGETS["equatorial"], all_stars: bool = False) -> None:
        self.arrays = join_arrays([open_arrays(folder) for folder in folders])
        period = self.arrays.index[target].cast(pl.Float32).fill_null(np.nan).to_numpy()
        self.rows = np.arange(len(period)) if all_stars else np.flatnonzero(np.isfinite(period))
        self.targets: NDArray[np.float32] = period[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Arrays, shape (len(rows), *representation.shape)."""
        return self.arrays.gather(self.rows[rows])


def train(
    variant: Variant,
    images: Sequence[Path],
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
    accelerator: Accelerator = "auto",
) -> tuple[PeriodNetwork, Fit]:
    """Train one network of a variant with the seed of its training; what is returned holds the best epoch's weights.

    Parameters
    ----------
    images : folders of image sets, each with one array set for each split; they are trained on together.
    checkpoints : where an interrupted training goes on from.

    Raises
    ------
    ConfigError
        When the network cannot read what the images show.
    DataError
        When the training or validation split is empty.
    """
    learns_none, target = variant.network.no_period, TARGETS[variant.target]
    splits = ("train", "validation")
    examples = {split: PeriodExamples([folder / split for folder in images], target, learns_none) for split in splits}
    for split, found in examples.items():
        if not len(found):
            raise DataError(f"{images[0] / split}: no examples; the sample is too small for this split")
    torch.manual_seed(variant.training.seed)
    described = examples["train"].arrays.describe["representation"]
    network = build_network(variant.network, representation_of(described, f"{images[0]}: representation"))

    def score(raw: Tensor, period: Tensor) -> Metrics:
        has_period = torch.isfinite(period)
        answer = network.head.answer(raw[has_period], torch.ones((), device=raw.device))
        error = (answer.period - period[has_period]).abs() / period[has_period]
        return {
            "within_10pct": float((error <= TOLERANCE).float().mean()),
            "within_20pct": float((error <= 2 * TOLERANCE).float().mean()),
            "trusted": float((answer.sigma / answer.period < 0.25).float().mean()),
        }

    done = fit(
        network,
        network.head.loss,
        score,
        examples["train"],
        examples["validation"],
        variant.training,
        checkpoints,
        on_epoch,
        accelerator,
    )
    network.load_state_dict(done.weights)
    return network, done


def learn(lesson: Lesson) -> Learned:
    """Train one network of a variant."""
    root, variant = lesson.root, lesson.variant
    params = read_params(root)
    representation = read_representation(root, variant.representation)
    survey = read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey)
    accelerator = lookup(params, "accelerator")
    _, done = train(variant, [lesson.examples], lesson.checkpoints, lesson.on_epoch, accelerator)
    device = open_arrays(lesson.examples / "train").describe["device"]
    return Learned(describe_model(variant.network, representation, survey, {}, lesson.training_data, device), done)


def train_variant(
    root: Path, name: str, variant: Variant, output: Path, history: Path, engine: Engine | None = None
) -> list[Metrics] | None:
    """Train a variant's members inside a project, as `train_members` does."""
    images = root / "build/periods/images" / variant.images
    tags = {"sample": variant.sample, "representation": variant.representation}
    return train_members(root, WING, name, variant, images, learn, output, history, tags, engine)


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_variant(root, name)
    build = root / "build/periods"
    metrics = train_variant(root, name, variant, build / "networks" / name, build / "histories" / f"{name}.parquet")
    for number, best in enumerate(metrics or []):
        within, loss = best["validation_within_10pct"], best["validation_loss"]
        print(f"{name}, seed {variant.training.seed + number}: validation within 10% {within:.3f}, loss {loss:.3f}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
