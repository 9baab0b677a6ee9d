"""Compare all variants and the simple methods on the same test sets, and name the challenger.

The challenger is the variant with the best validation score among those trained for the sample that promotion is
decided on; the test set is never used to choose.
"""

import sys
from pathlib import Path
from typing import Any

from varistar.figures.periods import comparison_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, one_sentence
from varistar.foundation.files import read_json, write_json
from varistar.foundation.params import find_root, lookup, read_params

HEADLINES = (
    "n", "within_10pct", "within_10pct_interval", "within_20pct", "coverage", "n_trusted", "trusted_within_10pct",
    "trusted_within_20pct", "correct", "within_10pct_at_19.8pct_coverage",
)  # fmt: skip


def compare(root: Path) -> dict[str, Any]:
    """The comparison of everything that params.yaml trains.

    Returns
    -------
    `challenger` (a variant's name), and by sample, method and score the headline scores.
    """
    params = read_params(root)
    reports = root / "metrics/periods"
    metrics = {name: read_json(reports / f"{name}.json") for name in lookup(params, "periods.variants")}
    samples: dict[str, dict[str, Any]] = {}
    for sample in lookup(params, "periods.samples"):
        rows = {name: scores for name, scores in metrics.items() if scores["sample"] == sample}
        rows |= read_json(reports / "baselines" / f"{sample}.json")
        samples[sample] = {
            method: {name: scores[name] for name in HEADLINES if name in scores} for method, scores in rows.items()
        }
    return {"challenger": choose_challenger(metrics, lookup(params, "periods.promotion.sample")), "samples": samples}


def choose_challenger(metrics: dict[str, dict[str, Any]], sample: str) -> str:
    """The variant with the most validation stars within 10%, among those trained on `sample`."""
    scores = {
        name: report["validation_within_10pct"] or 0.0 for name, report in metrics.items() if report["sample"] == sample
    }
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


def main() -> None:
    """The stage: the comparison of all variants, as JSON and figures."""
    root = find_root()
    summary = compare(root)
    write_json(root / "metrics/periods.json", summary)
    for sample, rows in summary["samples"].items():
        figure = comparison_figure(best_first(rows), f"{sample} test set")
        save_figure(figure, root / "build/figures/periods/comparison" / f"{sample}.png")
    print("\n".join([*comparison_lines(summary), "", f"challenger: {summary['challenger']}"]))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
