"""Train a variant's network on its images, recorded as one MLflow run."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.fit import Fit, Metrics, OnEpoch, fit
from varistar.experiments.lineage import StageInput, inputs_at
from varistar.experiments.tracking import run
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_path
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .measure import WING, describe_model
from .network import TOLERANCE, PeriodNetwork
from .representation import Representation
from .variants import Variant


class PeriodExamples:
    """The images of one split with their true periods, as `fit` reads them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.arrays = join_arrays([open_arrays(folder) for folder in folders])
        self.targets: NDArray[np.float32] = self.arrays.index["period_days"].to_numpy().astype(np.float32)

    def __len__(self) -> int:
        return len(self.arrays)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images, shape (len(rows), 1, rows, columns)."""
        return self.arrays.gather(rows)[:, None]


def train(
    variant: Variant,
    images: Sequence[Path],
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
    accelerator: Accelerator = "auto",
) -> tuple[PeriodNetwork, Fit]:
    """Train the network of a variant on image sets; the network returned holds the best epoch's weights.

    Parameters
    ----------
    images : folders of image sets, each with one array set for each split; they are trained on together.
    checkpoints : where an interrupted training goes on from.

    Raises
    ------
    DataError
        When the training or validation split is empty.
    """
    examples = {split: PeriodExamples([folder / split for folder in images]) for split in ("train", "validation")}
    for split, found in examples.items():
        if not len(found):
            raise DataError(f"{images[0] / split}: no examples; the sample is too small for this split")
    torch.manual_seed(variant.training.seed)
    _, *shape = examples["train"].arrays.shape
    network = PeriodNetwork(variant.network, (shape[0], shape[1]))

    def score(raw: Tensor, period: Tensor) -> Metrics:
        answer = network.head.answer(raw, torch.ones(()))
        error = (answer.period - period).abs() / period
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


def train_variant(root: Path, name: str, variant: Variant, output: Path, history: Path) -> ModelContent:
    """Train a variant inside a project: one MLflow run, resumed if it was interrupted; writes its content and history.

    Parameters
    ----------
    output : receives the model's content, not yet calibrated.
    history : Parquet file, one row per epoch.
    """
    params = read_params(root)
    accelerator = lookup(params, "accelerator")
    representation = read_section(root, f"periods.representations.{variant.representation}", Representation)
    survey = read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey)
    images = root / "build/periods/images" / variant.images
    inputs = inputs_at(root, [images])
    key = _key(variant, images, inputs)
    checkpoints = root / ".cache/checkpoints" / f"{WING}-{name}-{key}"
    tags = {"wing": WING, "variant": name, "sample": variant.sample, "representation": variant.representation}
    with run(root, WING, name, state=checkpoints.with_suffix(".json"), key=key, tags=tags) as tracked:
        tracked.parameters(
            {"variant": variant.model_dump(mode="json"), "image": representation.model_dump(mode="json")}
        )
        tracked.inputs(inputs)
        network, done = train(
            variant, [images], checkpoints, lambda epoch, metrics: tracked.metrics(metrics, epoch), accelerator
        )
        best: dict[str, float | None] = {key: round(value, 6) for key, value in done.history[done.best_epoch].items()}
        device = open_arrays(images / "train").describe["device"]
        spec = describe_model(variant.network, representation, survey, best, _hashes(inputs), device)
        content = ModelContent(spec, network.state_dict())
        tracked.tags({"weights": write_content(output, content), "best_epoch": str(done.best_epoch)})
        with atomic_path(history) as temporary:
            pl.DataFrame(done.history).with_row_index("epoch").write_parquet(temporary)
    return content


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
    variant = read_section(root, f"periods.variants.{name}", Variant)
    build = root / "build/periods"
    content = train_variant(root, name, variant, build / "networks" / name, build / "histories" / f"{name}.parquet")
    metrics = content.spec.metrics
    print(
        f"{name}: validation within 10% {metrics['validation_within_10pct']:.3f}, loss {metrics['validation_loss']:.3f}"
    )


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
