"""Training the networks of one variant side by side, each recorded as one MLflow run.

A wing says how one network learns; what all wings share stands here: seeds that count up, work that goes on where it
was interrupted, the record in MLflow, and the folder that receives the networks together.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.job import Done, run_job
from varistar.foundation.accelerator import choose_device
from varistar.foundation.files import atomic_folder, atomic_path
from varistar.foundation.params import lookup, read_params
from varistar.foundation.settings import Settings

from .content import ModelContent, ModelSpec, write_content
from .fit import Fit, Metrics, OnEpoch
from .fit_settings import Trainable
from .lineage import StageInput, inputs_at
from .tracking import run


class Lesson(NamedTuple):
    """What one network is to learn, as its wing is told.

    Attributes
    ----------
    variant : with the member's own seed.
    examples : folder of the array sets.
    checkpoints : where an interrupted training goes on from.
    training_data : path to hash, for the model's record.
    """

    root: Path
    name: str
    variant: Any
    examples: Path
    checkpoints: Path
    on_epoch: OnEpoch
    training_data: dict[str, str]


class Learned(NamedTuple):
    """A trained network: what describes it but its metrics, and how it was fitted."""

    spec: ModelSpec
    done: Fit


Learn = Callable[[Lesson], Learned]


class Member(NamedTuple):
    """One network of a variant, to be trained in a process of its own."""

    root: Path
    wing: str
    name: str
    variant: Any
    number: int
    examples: Path
    learn: Learn
    tags: Mapping[str, str]


def train_members(
    root: Path,
    wing: str,
    name: str,
    variant: Trainable,
    examples: Path,
    learn: Learn,
    output: Path,
    history: Path,
    tags: Mapping[str, str] | None = None,
    engine: Engine | None = None,
) -> list[Metrics] | None:
    """Train a variant's members inside a project; returns the best epoch's metrics of each.

    A resumable job, whose work is kept beside `output` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    examples : folder with the array sets `train` and `validation`.
    learn : a module-level function.
    output : receives the members' contents, `0`, `1` and so on, not yet calibrated.
    history : Parquet file, one row per member and epoch.
    tags : of the MLflow runs, beside wing and variant.
    """

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
        [Member(root, wing, name, variant, number, examples, learn, tags or {}) for number in range(variant.members)],
        output.with_name(f"{output.name}.parts"),
        {"training": _key(variant, examples, inputs_at(root, [examples]))},
        deliver,
        for_device(engine, choose_device(lookup(read_params(root), "accelerator")).type),
        f"training {name}",
        lambda member: root / f"{name}, member {member.number}",
    )


def _train_member(member: Member, target: Path) -> Metrics:
    """Train one member: one MLflow run; writes its content and history, and returns the best epoch's metrics."""
    root, wing, name = member.root, member.wing, member.name
    seeded = member.variant.training.model_copy(update={"seed": member.variant.training.seed + member.number})
    variant = member.variant.model_copy(update={"training": seeded, "members": 1, "ensemble": False})
    inputs = inputs_at(root, [member.examples])
    key = _key(variant, member.examples, inputs)
    label = name if member.variant.members == 1 else f"{name}-{seeded.seed}"
    checkpoints = root / ".cache/checkpoints" / f"{wing}-{label}-{key}"
    tags = {"wing": wing, "variant": name, **member.tags}
    with run(root, wing, label, state=checkpoints.with_suffix(".json"), key=key, tags=tags) as tracked:
        tracked.parameters({"variant": variant.model_dump(mode="json")})
        tracked.inputs(inputs)

        def on_epoch(epoch: int, metrics: Metrics) -> None:
            tracked.metrics(metrics, epoch)

        hashes = {item.path: item.md5 for item in inputs}
        spec, done = member.learn(Lesson(root, name, variant, member.examples, checkpoints, on_epoch, hashes))
        best = done.history[done.best_epoch]
        described = spec.model_copy(update={"metrics": {key: round(value, 6) for key, value in best.items()}})
        tracked.parameters({"preprocessing": spec.preprocessing})
        weights = write_content(_model(target), ModelContent(described, done.weights))
        tracked.tags({"weights": weights, "best_epoch": str(done.best_epoch)})
    history = pl.DataFrame(done.history).with_row_index("epoch").with_columns(member=pl.lit(member.number))
    with atomic_path(_history(target)) as temporary:
        history.write_parquet(temporary)
    return best


def _model(target: Path) -> Path:
    return target.with_name(f"{target.name}-model")


def _history(target: Path) -> Path:
    return target.with_name(f"{target.name}-history.parquet")


def _key(variant: Settings, examples: Path, inputs: Iterable[StageInput]) -> str:
    """What makes this the same training: the variant, its examples, and the arrays where DVC knows their hash."""
    digest = hashlib.sha256(json.dumps(variant.model_dump(mode="json"), sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((examples / split / "index.parquet").read_bytes())
        digest.update((examples / split / "axes.json").read_bytes())
    for item in inputs:
        digest.update(item.md5.encode())
    return digest.hexdigest()[:12]
