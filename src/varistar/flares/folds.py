"""Cross-validation of a window network: in folds of windows, as published, and in folds of stars.

    python -m varistar.flares.folds [--variant windows] [--epochs 40] [--folds 5]

The paper deals its windows out at random, so that a star's windows stand on both sides: the network is asked about
stars, and about the neighbourhood of flares, that it has learned (AMB-60). In folds of stars it is asked about others.
The windows, their number and the training are the same, so that the difference is the leak.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from varistar.bulk.arrays import ArraySet, join_arrays, open_arrays
from varistar.bulk.engine import Engine, run_all
from varistar.experiments.fit import fit
from varistar.figures.flares import amplitude_figure, folds_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, DataError, one_sentence
from varistar.foundation.files import write_json
from varistar.foundation.params import find_root

from .example_sets import WindowExamples
from .examples import LEARNT
from .matching import window_scores
from .network import build_network, make_loss
from .train import score_window_logits
from .variants import FlareVariant, read_variant

By = Literal["sample", "star"]

#: The paper's four numbers (002, section 2.4).
SCORES = ("accuracy", "precision", "recall", "average_precision")
#: Of the windows that a fold's network learns from, one in so many says which of its epochs is the best.
HELD = 10
SEED = 88
BATCH = 512


class FoldPiece(NamedTuple):
    """One fold, to be asked of a network that learns from the others."""

    examples: Path
    variant: FlareVariant
    by: By
    fold: int
    n_folds: int


def cross_validate(
    examples: Path, variant: FlareVariant, n_folds: int = 5, engine: Engine | None = None
) -> pl.DataFrame:
    """What networks say of windows that they have not learned from.

    Each epoch's network is judged by a tenth of the windows it might learn from, divided in the same way; the fold
    itself is not looked at before the end.

    Parameters
    ----------
    examples : folder of the array sets of windows, those of `LEARNT`; test stars are in none of them.
    variant : of windows.

    Returns
    -------
    DataFrame
        A row for each window and each of the two ways: `by`, `fold`, `star_id`, `label`, `amplitude`, `peak_snr`, and
        `p`, uncalibrated.

    Raises
    ------
    ConfigError
        When the variant does not read windows.
    DataError
        When there are fewer stars, or windows, than folds.
    """
    if variant.network.trunk != "window":
        raise ConfigError(f"folds are of windows; the trunk '{variant.network.trunk}' reads {variant.examples}")
    items = [FoldPiece(examples, variant, by, fold, n_folds) for by in get_args(By) for fold in range(n_folds)]
    done = dict(run_all(_ask_fold, items, engine, "folds", lambda item: f"{examples}, fold {item.fold} by {item.by}"))
    return pl.concat([done[item] for item in items])


def folds(index: pl.DataFrame, by: By, n_folds: int = 5, seed: int = SEED) -> NDArray[np.int64]:
    """The fold of each window for cross-validation, 0 to n_folds - 1, shape (n,).

    By star, each goes to the fold that has the fewest flares so far, those with most flares first; one without flares
    to the fold that has the fewest windows. By sample, windows are dealt out at random, as in the paper.

    Raises
    ------
    DataError
        When there are fewer stars, or windows, than folds.
    """
    n = index["star_id"].n_unique() if by == "star" else index.height
    if n < n_folds:
        raise DataError(f"{n} {by}s cannot be divided into {n_folds} folds")
    rng = np.random.default_rng(seed)
    if by == "sample":
        return rng.permutation(index.height) % n_folds
    stars = index.group_by("star_id").agg(flares=(pl.col("label") == 1).sum(), windows=pl.len()).sort("star_id")
    counts = stars.select("flares", "windows").to_numpy().astype(np.int64)
    loads = np.zeros((n_folds, 2), dtype=np.int64)
    fold = np.empty(len(counts), dtype=np.int64)
    for star in np.lexsort((rng.random(len(counts)), -counts[:, 1], -counts[:, 0])):
        fold[star] = np.lexsort((loads[:, 1], loads[:, 0 if counts[star, 0] else 1]))[0]
        loads[fold[star]] += counts[star]
    return fold[np.searchsorted(stars["star_id"].to_numpy(), index["star_id"].to_numpy())]


def _ask_fold(piece: FoldPiece) -> pl.DataFrame:
    arrays = join_arrays([open_arrays(piece.examples / split) for split in LEARNT])
    fold = folds(arrays.index, piece.by, piece.n_folds)
    asked, others = np.flatnonzero(fold == piece.fold), np.flatnonzero(fold != piece.fold)
    held = folds(arrays.index[others], piece.by, HELD) == 0
    mixed = np.random.default_rng(SEED).permutation(others[~held])
    p = _learn_and_ask(piece.variant, arrays, mixed, others[held], asked)
    return arrays.index[asked].select(
        pl.lit(piece.by).alias("by"),
        pl.lit(piece.fold, pl.Int32).alias("fold"),
        "star_id", "label", "amplitude", "peak_snr",
        pl.Series("p", p),
    )  # fmt: skip


def _learn_and_ask(
    variant: FlareVariant,
    arrays: ArraySet,
    learned: NDArray[np.int64],
    held: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The probabilities of the windows `asked`, of a network that learned from others; rows of `arrays`."""
    torch.manual_seed(variant.training.seed)
    network, loss = build_network(variant.network), make_loss(variant.network)
    train, validation = (WindowExamples(arrays, rows) for rows in (learned, held))
    with TemporaryDirectory() as scratch:
        done = fit(
            network,
            loss,
            score_window_logits,
            train,
            validation,
            variant.training,
            Path(scratch) / "checkpoints",
            accelerator="cpu",
        )
    network.load_state_dict(done.weights)
    network.eval()
    with torch.inference_mode():
        logits = [
            network(torch.from_numpy(arrays.gather(asked[first : first + BATCH])))
            for first in range(0, len(asked), BATCH)
        ]
    return torch.sigmoid(torch.cat(logits)).double().numpy()


def fold_scores(asked: pl.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """The scores of each way, and how much higher they are by sample than by star.

    Parameters
    ----------
    asked : as `cross_validate` returns it.

    Returns
    -------
    For "sample" and "star", of each of `SCORES` the `mean` over folds, their `scatter` (standard deviation) and
    `folds`, the number of each; a score that is not defined in some fold has neither mean nor scatter. For "leak" the
    `difference` of the means and its `error`, from the scatter.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for by in get_args(By):
        parts = asked.filter(by=by).partition_by("fold", maintain_order=True)
        each = [window_scores(part["label"].to_numpy() == 1, part["p"].to_numpy()) for part in parts]
        found[by] = {name: _summary([scores[name] for scores in each]) for name in SCORES}
    return found | {"leak": {name: _difference(found["sample"][name], found["star"][name]) for name in SCORES}}


def _summary(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    whole = len(known) == len(values) > 1
    mean, scatter = (float(np.mean(known)), float(np.std(known, ddof=1))) if whole else (None, None)
    return {"mean": mean, "scatter": scatter, "folds": values}


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float | None]:
    if one["mean"] is None or other["mean"] is None:
        return {"difference": None, "error": None}
    errors = [score["scatter"] / np.sqrt(len(score["folds"])) for score in (one, other)]
    return {"difference": one["mean"] - other["mean"], "error": float(np.hypot(*errors))}


def main(arguments: list[str] | None = None) -> None:
    """Cross-validate, write `metrics/study/flares/folds.json`, and draw."""
    parser = argparse.ArgumentParser(prog="python -m varistar.flares.folds", description="Cross-validate a network.")
    parser.add_argument("--variant", default="windows", help="a variant of windows in params.yaml")
    parser.add_argument("--epochs", type=int, help="instead of the variant's")
    parser.add_argument("--folds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    if chosen.folds < 2 or (chosen.epochs is not None and chosen.epochs < 1):
        raise ConfigError("--folds must be 2 or more, and --epochs positive")
    root = find_root()
    variant = read_variant(root, chosen.variant)
    epochs = chosen.epochs or variant.training.max_epochs
    training = variant.training.model_copy(update={"max_epochs": epochs, "patience": epochs})
    examples = root / "build/flares/examples/windows"
    asked = cross_validate(examples, variant.model_copy(update={"training": training}), chosen.folds)
    scores = fold_scores(asked)
    once = asked.filter(by="sample")
    counts = {
        "windows": once.height,
        "flares": int((once["label"] == 1).sum()),
        "stars": once["star_id"].n_unique(),
        "flaring_stars": once.filter(label=1)["star_id"].n_unique(),
    }
    said = {"variant": chosen.variant, "epochs": epochs, "n_folds": chosen.folds}
    write_json(root / "metrics/study/flares/folds.json", said | counts | scores)
    title = f"{chosen.variant}, {epochs} epochs: {counts['windows']} windows, {counts['flares']} of them flares"
    figures = root / "build/figures/flares/folds"
    save_figure(folds_figure(scores, title), figures / "folds.png")
    for by in get_args(By):
        flares = asked.filter(by=by, label=1)
        amplitude, p, fold = (flares[name].to_numpy() for name in ("amplitude", "p", "fold"))
        save_figure(amplitude_figure(amplitude, p, fold, f"{chosen.variant}, folds by {by}"), figures / f"{by}.png")
    for by in get_args(By):
        told = ", ".join(f"{name.replace('_', ' ')} {_told(scores[by][name])}" for name in SCORES)
        print(f"folds by {by}: {told}")


def _told(score: Mapping[str, Any]) -> str:
    return "undefined" if score["mean"] is None else f"{score['mean']:.3f} ± {score['scatter']:.3f}"


if __name__ == "__main__":
    with one_sentence():
        main()
