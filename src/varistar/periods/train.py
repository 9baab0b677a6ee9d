"""Train a variant's networks on its examples, each recorded as one MLflow run."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.bulk.engine import Engine, for_device
from varistar.bulk.job import Done, run_job
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.fit import Fit, Metrics, OnEpoch, fit
from varistar.experiments.lineage import StageInput, inputs_at
from varistar.experiments.tracking import run
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_folder, atomic_path
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


class Member(NamedTuple):
    """One network of a variant, to be trained in a process of its own."""

    root: Path
    name: str
    variant: Variant
    number: int


def train_variant(
    root: Path, name: str, variant: Variant, output: Path, history: Path, engine: Engine | None = None
) -> list[Metrics] | None:
    """Train a variant's members inside a project; returns the best epoch's metrics of each.

    A resumable job, whose work is kept beside `output` until it is done; None in a process of an array that is not the
    last. Members are trained side by side, one on each core; each is one MLflow run, resumed if it was interrupted.

    Parameters
    ----------
    output : receives the members' contents, `0`, `1` and so on, not yet calibrated.
    history : Parquet file, one row per member and epoch.
    """
    accelerator = lookup(read_params(root), "accelerator")
    images = root / "build/periods/images" / variant.images

    def deliver(done: Iterator[Done]) -> list[Metrics]:
        metrics, histories = [], []
        with atomic_folder(output) as whole:
            for number, (target, best) in enumerate(done):
                shutil.copytree(_model(target), whole / str(number))
                histories.append(pl.read_parquet(_history(target), glob=False))
                metrics.append(best)
        with atomic_path(history) as temporary:
            pl.concat(histories).write_parquet(temporary)
        return metrics

    return run_job(
        _train_member,
        [Member(root, name, variant, number) for number in range(variant.members)],
        output.with_name(f"{output.name}.parts"),
        {"training": _key(variant, images, inputs_at(root, [images]))},
        deliver,
        for_device(engine, choose_device(accelerator).type),
        f"training {name}",
        lambda member: root / f"{name}, member {member.number}",
    )


def _train_member(member: Member, target: Path) -> Metrics:
    """Train one member: one MLflow run; writes its content and history, and returns the best epoch's metrics."""
    root, name, number = member.root, member.name, member.number
    seeded = member.variant.training.model_copy(update={"seed": member.variant.training.seed + number})
    variant = member.variant.model_copy(update={"training": seeded, "members": 1, "ensemble": False})
    params = read_params(root)
    representation = read_representation(root, variant.representation)
    survey = read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey)
    images = root / "build/periods/images" / variant.images
    inputs = inputs_at(root, [images])
    key = _key(variant, images, inputs)
    label = name if member.variant.members == 1 else f"{name}-{seeded.seed}"
    checkpoints = root / ".cache/checkpoints" / f"{WING}-{label}-{key}"
    tags = {"wing": WING, "variant": name, "sample": variant.sample, "representation": variant.representation}
    with run(root, WING, label, state=checkpoints.with_suffix(".json"), key=key, tags=tags) as tracked:
        described = {"variant": variant.model_dump(mode="json"), "shown": representation.model_dump(mode="json")}
        tracked.parameters(described)
        tracked.inputs(inputs)
        network, done = train(
            variant,
            [images],
            checkpoints,
            lambda epoch, metrics: tracked.metrics(metrics, epoch),
            lookup(params, "accelerator"),
        )
        best: dict[str, float | None] = {key: round(value, 6) for key, value in done.history[done.best_epoch].items()}
        device = open_arrays(images / "train").describe["device"]
        spec = describe_model(variant.network, representation, survey, best, _hashes(inputs), device)
        weights = write_content(_model(target), ModelContent(spec, network.state_dict()))
        tracked.tags({"weights": weights, "best_epoch": str(done.best_epoch)})
    history = pl.DataFrame(done.history).with_row_index("epoch").with_columns(member=pl.lit(number))
    with atomic_path(_history(target)) as temporary:
        history.write_parquet(temporary)
    return done.history[done.best_epoch]


def _model(target: Path) -> Path:
    return target.with_name(f"{target.name}-model")


def _history(target: Path) -> Path:
    return target.with_name(f"{target.name}-history.parquet")


def _key(variant: Variant, images: Path, inputs: Iterable[StageInput]) -> str:
    """What makes this the same training: the variant, its examples, and the images where DVC knows their hash."""
    digest = hashlib.sha256(json.dumps(variant.model_dump(mode="json"), sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((images / split / "index.parquet").read_bytes())
        digest.update((images / split / "axes.json").read_bytes())
    for item in inputs:
        digest.update(item.md5.encode())
    return digest.hexdigest()[:12]


def _hashes(inputs: Iterable[StageInput]) -> dict[str, str]:
    return {item.path: item.md5 for item in inputs}


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
