"""Evaluate a variant on frozen test sets, along the path that prediction takes.

The test light curves are measured from the table, as a catalog's are, so what is scored is what is served. The scores
go into `metrics/` and to the variant's MLflow run, with the figures and the packaged model.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.packaging import package
from varistar.experiments.tracking import find_run, run
from varistar.figures.periods import image_figure, loss_figure, predicted_figure
from varistar.figures.style import save_figure
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_path, folder_hash, write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.store import Store

from .measure import WING, PeriodMeter, served_network
from .scores import fractional_error, interval_coverage, period_scores
from .variants import Variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measure_test_set(
    content: Path, injected: Path, engine: Engine | None = None, accelerator: Accelerator = "auto"
) -> pl.DataFrame:
    """A model's measurements of a sample's test set beside the truth, one row per star, sorted by star.

    Returns
    -------
    the columns of `PeriodMeter.measure`, `true_period` [d], `cumulative` (predicted probability that the period is at
    most the true one) and `template`.
    """
    items = [(content, path, accelerator) for path in sorted((injected / "test").glob("part-*.parquet"))]
    done = run_all(_measure_shard, items, engine, "test set", lambda item: item[1])
    parts = [part for _, part in done]
    if not parts:
        raise DataError(f"{injected / 'test'}: the test set is empty; the sample is too small for this split")
    return pl.concat(parts).sort("star_id")


def _measure_shard(item: tuple[Path, Path, Accelerator]) -> pl.DataFrame:
    content, path, accelerator = item
    torch.set_num_threads(1)
    meter = PeriodMeter.of_folder(content, accelerator)
    light_curves = read_shard(path)
    truth = pl.read_parquet(path.with_name("truth.parquet"), columns=["star_id", "template", "period_days"], glob=False)
    images = meter.images(light_curves)
    table = meter.measure(light_curves, images).join(truth, on="star_id", how="left", maintain_order="left")
    true_period = torch.from_numpy(table["period_days"].to_numpy().astype(np.float32))
    raw, network = meter.raw(images), meter.network.cpu()
    cumulative = network.network.head.cumulative(raw, network.stretch, true_period)
    return table.rename({"period_days": "true_period"}).with_columns(cumulative=pl.Series(cumulative.numpy()))


def evaluate(table: pl.DataFrame) -> dict[str, Any]:
    """The scores of a measured test set: `period_scores`, and how often central intervals hold the truth."""
    true_period, period, sigma, cumulative = (
        table[name].to_numpy() for name in ("true_period", "period", "sigma", "cumulative")
    )
    scores = period_scores(true_period, period, sigma)
    scores["interval_coverage"] = interval_coverage(cumulative)
    scores["within_10pct_at_19.8pct_coverage"] = _accuracy_of_best(table, 0.198)
    return scores


def _accuracy_of_best(table: pl.DataFrame, fraction: float) -> float:
    """Fraction within 10% among this fraction of stars, those of the highest confidence."""
    best = table.sort("p_within_10pct", descending=True).head(max(round(fraction * table.height), 1))
    right = fractional_error(best["period"].to_numpy(), best["true_period"].to_numpy()) <= 0.1
    return round(float(right.mean()), 6)


def example_figure(content: Path, injected: Path, representation: str, accelerator: Accelerator = "auto") -> "Figure":
    """The most active star of the test set: its light curve, and what the network sees of it, under that name."""
    truth = pl.read_parquet(injected / "test/truth.parquet", glob=False).sort("activity", "star_id").row(-1, named=True)
    star = Store(injected / "test").read_stars([truth["star_id"]])
    meter = PeriodMeter.of_folder(content, accelerator)
    title = f"an injected star of {truth['period_days']:.2f} d"
    return image_figure(
        star["time"],
        star["flux"] / np.median(star["flux"]),
        {representation: (meter.images(star)[0, 0], meter.representation)},
        truth["period_days"],
        title,
    )


def publish(root: Path, name: str, content: Path, scores: dict[str, Any], figures: dict[str, "Figure"]) -> None:
    """Add scores, figures and the packaged model to the variant's MLflow run.

    The run is the one that trained these weights. Where the store has none, since it was emptied or the training came
    from DVC's cache, a run is made, so that the comparison in the UI is whole.
    """
    weights = content_hash(root / "build/periods/networks" / name)
    tags = {"wing": WING, "variant": name, "weights": weights}
    found = find_run(root, WING, tags)
    with nullcontext(found) if found else run(root, WING, name, tags=tags) as tracked:
        tracked.metrics({f"test_{key}": value for key, value in scores.items() if isinstance(value, float)})
        for key, figure in figures.items():
            tracked.figure(key, figure)
        package(root, content, served_network, experiment=WING, run_id=tracked.id)


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_section(root, f"periods.variants.{name}", Variant)
    build = root / "build/periods"
    content, injected = build / "calibrated" / name, build / "injected" / variant.sample
    accelerator = lookup(read_params(root), "accelerator")
    table = measure_test_set(content, injected, accelerator=accelerator)
    with atomic_path(build / "measured" / f"{name}.parquet") as temporary:
        table.write_parquet(temporary, compression="zstd")
    scores = evaluate(table)
    report = {
        "content": content_hash(content),
        "test_set": folder_hash(injected / "test"),
        "sample": variant.sample,
        "validation_within_10pct": read_content(content).spec.metrics["validation_within_10pct"],
    }
    write_json(root / "metrics/periods" / f"{name}.json", report | scores)
    figures = {
        "loss": loss_figure(pl.read_parquet(build / "histories" / f"{name}.parquet", glob=False), name),
        "predicted": predicted_figure(table, name),
        "example": example_figure(content, injected, variant.representation, accelerator),
    }
    for key, figure in figures.items():
        save_figure(figure, root / "build/figures/periods" / name / f"{key}.png")
    publish(root, name, content, scores, figures)
    print(f"{name}: {scores['within_10pct']:.3f} of {scores['n']} test stars are within 10%")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
