"""Compare all variants and the simple methods on the same test sets, and name the challenger.

The challenger is the variant with the best validation score among those trained for the sample that promotion is
decided on; the test set is never used to choose.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from varistar.experiments.content import read_content
from varistar.figures.periods import comparison_figure, image_figure, predicted_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, one_sentence
from varistar.foundation.files import read_json, write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.lightcurves.store import Store

from .baselines import METHODS
from .representation import Representation, make_images
from .scores import period_scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADLINES = (
    "n", "within_10pct", "within_10pct_interval", "within_20pct", "coverage", "n_trusted", "trusted_within_10pct",
    "trusted_within_20pct", "correct", "within_10pct_at_19.8pct_coverage",
)  # fmt: skip


def compare(root: Path) -> dict[str, Any]:
    """The comparison of everything that params.yaml trains.

    Returns
    -------
    `challenger` (a variant's name), and by sample, method and score the headline scores, networks first.
    """
    params = read_params(root)
    metrics = {
        name: read_json(root / "metrics/periods" / f"{name}.json") for name in lookup(params, "periods.variants")
    }
    samples: dict[str, dict[str, Any]] = {}
    for sample in lookup(params, "periods.samples"):
        rows = {name: scores for name, scores in metrics.items() if scores["sample"] == sample}
        rows |= baseline_scores(root / "build/periods", sample)
        samples[sample] = {
            method: {name: scores[name] for name in HEADLINES if name in scores} for method, scores in rows.items()
        }
    return {"challenger": choose_challenger(root, params), "samples": samples}


def baseline_scores(build: Path, sample: str) -> dict[str, dict[str, Any]]:
    """The scores of the simple methods on a sample's test set, by the method's printed name."""
    truth = pl.read_parquet(build / "injected" / sample / "test/truth.parquet", columns=["star_id", "period_days"])
    table = pl.read_parquet(build / "baselines" / f"{sample}.parquet").join(truth, on="star_id", how="left")
    true_period = table["period_days"].to_numpy()
    return {label: period_scores(true_period, table[column].to_numpy()) for column, label in METHODS.items()}


def choose_challenger(root: Path, params: dict[str, Any]) -> str:
    """The variant with the most validation stars within 10%, among those of the sample that promotion is decided on."""
    sample = lookup(params, "periods.promotion.sample")
    scores = {}
    for name, variant in lookup(params, "periods.variants").items():
        if variant["sample"] == sample:
            content = read_content(root / "build/periods/calibrated" / name)
            scores[name] = content.spec.metrics["validation_within_10pct"] or 0.0
    if not scores:
        raise ConfigError(f"params.yaml: no variant is trained on periods.promotion.sample '{sample}'")
    return max(scores, key=lambda name: scores[name])


def comparison_lines(summary: dict[str, Any]) -> list[str]:
    """The comparison as a short printed table, one block for each sample."""
    lines = []
    for sample, rows in summary["samples"].items():
        n = max(row["n"] for row in rows.values())
        lines += [
            "",
            f"{sample}: {n} test stars",
            f"  {'method':<28}{'within 10%':>22}{'20%':>8}{'trusted':>9}{'of them right':>15}",
        ]
        for method, row in best_first(rows).items():
            low, high = row["within_10pct_interval"]
            line = f"  {method:<28}{row['within_10pct']:>9.3f} ({low:.3f}-{high:.3f}){row['within_20pct']:>8.3f}"
            if "coverage" in row:
                right = row["trusted_within_10pct"]
                line += f"{row['coverage']:>9.3f}" + ("" if right is None else f"{right:>15.3f}")
            lines.append(line)
    return lines


def best_first(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The methods of one sample as they are read: networks before simple methods, the better before the worse."""
    return dict(sorted(rows.items(), key=lambda row: ("coverage" not in row[1], -row[1]["within_10pct"])))


def example_figure(root: Path, challenger: str) -> "Figure":
    """The test star that the challenger is surest of: its light curve, and what each representation shows of it."""
    params, build = read_params(root), root / "build/periods"
    sample = lookup(params, f"periods.variants.{challenger}.sample")
    surest = (
        pl.read_parquet(build / "measured" / f"{challenger}.parquet")
        .sort("p_within_10pct", descending=True)
        .row(0, named=True)
    )
    star = Store(build / "injected" / sample / "test").read_stars([surest["star_id"]])
    shown = [v["representation"] for v in lookup(params, "periods.variants").values() if v["sample"] == sample]
    representations = {name: read_section(root, f"periods.representations.{name}", Representation) for name in shown}
    images = {name: (make_images(star, spec)[0], spec) for name, spec in representations.items()}
    title = f"an injected star of {surest['true_period']:.2f} d"
    return image_figure(star["time"], star["flux"] / np.median(star["flux"]), images, surest["true_period"], title)


def main() -> None:
    """The stage: the comparison of all variants, as JSON and figures."""
    root = find_root()
    summary = compare(root)
    write_json(root / "metrics/periods.json", summary)
    figures = root / "build/figures/periods"
    for sample, rows in summary["samples"].items():
        save_figure(comparison_figure(best_first(rows), f"{sample} test set"), figures / f"comparison-{sample}.png")
    for name in lookup(read_params(root), "periods.variants"):
        table = pl.read_parquet(root / "build/periods/measured" / f"{name}.parquet")
        save_figure(predicted_figure(table, name), figures / f"predicted-{name}.png")
    save_figure(example_figure(root, summary["challenger"]), figures / "example.png")
    print("\n".join([*comparison_lines(summary), "", f"challenger: {summary['challenger']}"]))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
