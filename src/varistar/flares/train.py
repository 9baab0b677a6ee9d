"""Train a variant's networks on its examples."""

import sys

import torch
from torch import Tensor

from varistar.experiments.fit import Metrics, fit
from varistar.experiments.members import Learned, Lesson, train_members
from varistar.foundation.errors import one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .example_sets import open_examples
from .finder import describe_model
from .matching import average_precision, window_scores
from .network import build_network, make_loss
from .orbits import OrbitSettings
from .representation import PointRepresentation
from .variants import WING, FlareVariant, folder_of, read_variant


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
