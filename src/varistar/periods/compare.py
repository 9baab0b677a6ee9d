"""Compare all variants and the simple methods on the same tests, and name the challenger.

The challenger is the variant with the best score on the validation stars of the sample that promotion is decided on;
the tests are never used to choose. What `make study` has measured, at whatever size it last ran, stands beside in
tables of its own.
"""

import sys
from pathlib import Path
from typing import Any

from varistar.figures.experiments import table3_figure
from varistar.figures.periods import comparison_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, one_sentence
from varistar.foundation.files import read_json, write_json
from varistar.foundation.params import find_root, lookup, read_params

HEADLINES = (
    "n", "within_10pct", "within_10pct_interval", "within_20pct", "coverage", "n_trusted", "trusted_within_10pct",
    "trusted_within_20pct", "correct", "within_10pct_at_19.8pct_coverage", "coverage_at", "calibration_error",
    "shown_within_10pct", "members",
)  # fmt: skip


def compare(root: Path) -> dict[str, Any]:
    """The comparison of everything that params.yaml trains, and of what the study has measured.

    Returns
    -------
    `challenger` (a variant's name); `tests`: by test, method and score the headline scores; `false_periods`: by test of
    stars without a period and method; `study`: these two of the study; `table3`: the rows of the paper's Table 3,
    published and here, of the study where it has them.
    """
    params = read_params(root)
    here, there = root / "metrics/periods", root / "metrics/study"
    variants, samples = lookup(params, "periods.variants"), lookup(params, "periods.tests")
    metrics = {name: read_json(here / f"{name}.json") for name in variants}
    study = {
        name: read_json(path)
        for name in (*variants, *(params["periods"].get("study") or {}))
        if (path := there / f"{name}.json").exists()
    }
    return {
        "challenger": choose_challenger(metrics),
        **_tables(metrics, here / "baselines", samples),
        "study": _tables(study, there / "baselines", samples),
        "table3": table3(params["periods"], metrics | study),
    }


def _tables(reports: dict[str, dict[str, Any]], baselines: Path, samples: list[str]) -> dict[str, Any]:
    """`tests` and `false_periods` of these reports, beside the simple methods where they were measured."""
    tests: dict[str, dict[str, Any]] = {}
    silent: dict[str, dict[str, Any]] = {}
    for sample in samples:
        path = baselines / f"{sample}.json"
        simple = read_json(path) if path.exists() else {}
        for test in sorted({test for report in reports.values() for test in report["tests"]}):
            if test.partition("/")[0] != sample:
                continue
            rows = {name: report["tests"][test] for name, report in reports.items() if test in report["tests"]}
            # what was measured on other stars, at another size, is no row of this table
            version = next(iter(rows.values()))["test_set"]
            rows = {name: scores for name, scores in rows.items() if scores["test_set"] == version}
            if "false_periods" in next(iter(rows.values())):
                silent[test] = {name: scores["false_periods"] for name, scores in rows.items()}
                continue
            rows |= simple.get(test.partition("/")[2], {})
            tests[test] = {
                method: {name: scores[name] for name in HEADLINES if name in scores} for method, scores in rows.items()
            }
    return {"tests": tests, "false_periods": silent}


def choose_challenger(metrics: dict[str, dict[str, Any]]) -> str:
    """The variant with the most validation stars within 10%.

    Raises
    ------
    ConfigError
        When there is no variant.
    """
    if not metrics:
        raise ConfigError("params.yaml: periods.variants names no variant, so there is no challenger")
    return max(metrics, key=lambda name: metrics[name]["validation_within_10pct"] or 0.0)


def table3(periods: dict[str, Any], metrics: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of Table 3 that have been measured, in order: published predictive efficiency and ours.

    As in the paper, a row is scored on stars of its own template set, and by each network's own widths, not calibrated.
    A row whose template set has no test is left out.
    """
    rows = []
    for name, variant in (periods["variants"] | (periods.get("study") or {})).items():
        if "published" not in variant or name not in metrics:
            continue
        templates = periods["samples"][variant["sample"]]["parts"][0]["templates"]
        candidates = (
            f"{sample}/{part['stars']}"
            for sample in periods["tests"]
            for part in periods["samples"][sample]["parts"]
            if part["templates"] == templates
        )
        tests = metrics[name]["tests"]
        test = next((test for test in candidates if "coverage" in tests.get(test, {})), None)
        if test is None:
            continue
        scores = tests[test]
        each = scores["members"]
        rows.append(
            {
                "name": name,
                "test": test,
                "published": variant["published"] / 100,
                "coverage": each["coverage"],
                "trusted_within_10pct": each["trusted_within_10pct"],
                "within_10pct": scores["within_10pct"],
            }
        )
    return rows


def comparison_lines(summary: dict[str, Any]) -> list[str]:
    """The comparison as printed tables, one block for each test; the study's after the others."""
    return [*_lines(summary, ""), *_lines(summary["study"], ", the study"), *table3_lines(summary["table3"])]


def _lines(tables: dict[str, Any], whose: str) -> list[str]:
    lines = []
    for test, rows in tables["tests"].items():
        n = max(row["n"] for row in rows.values())
        lines += [
            "",
            f"{test}{whose}: {n} test stars",
            f"  {'method':<36}{'within 10%':>22}{'20%':>8}{'best 19.8%':>12}{'trusted':>9}{'of them right':>15}",
        ]
        for method, row in best_first(rows).items():
            low, high = row["within_10pct_interval"]
            line = f"  {method:<36}{row['within_10pct']:>9.3f} ({low:.3f}-{high:.3f}){row['within_20pct']:>8.3f}"
            if "coverage" in row:
                right = row["trusted_within_10pct"]
                line += f"{row['within_10pct_at_19.8pct_coverage']:>12.3f}{row['coverage']:>9.3f}"
                line += "" if right is None else f"{right:>15.3f}"
            lines.append(line)
    for test, methods in tables["false_periods"].items():
        lines += ["", f"{test}{whose}: stars without a period that get one, p > 0.5"]
        for method, row in methods.items():
            low, high = row["rate_interval"]
            lines.append(f"  {method:<36}{row['claimed']:>5} of {row['n']:<6}{row['rate']:.3%} ({low:.3%}-{high:.3%})")
    return lines


def table3_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The paper's Table 3 with ours beside, printed."""
    if not rows:
        return []
    lines = ["", "Table 3: predictive efficiency, the fraction with sigma / P < 25%"]
    lines.append(f"  {'row':<28}{'published':>10}{'here (each seed)':>28}{'of them right':>24}{'within 10%':>12}")
    for row in rows:
        here = ", ".join(f"{value:.2%}" for value in row["coverage"])
        right = ", ".join("-" if value is None else f"{value:.2f}" for value in row["trusted_within_10pct"])
        lines.append(f"  {row['name']:<28}{row['published']:>10.2%}{here:>28}{right:>24}{row['within_10pct']:>12.3f}")
    return lines


def best_first(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The methods of one test as they are read: networks before simple methods, the better before the worse."""
    return dict(sorted(rows.items(), key=lambda row: ("coverage" not in row[1], -row[1]["within_10pct"])))


def main() -> None:
    """The stage: the comparison of all variants, as JSON and figures."""
    root = find_root()
    summary = compare(root)
    write_json(root / "metrics/periods.json", summary)
    folder = root / "build/figures/periods/comparison"
    for tables, whose in ((summary, ""), (summary["study"], "-study")):
        for test, rows in tables["tests"].items():
            figure = comparison_figure(best_first(rows), test + whose.replace("-", ", the "))
            save_figure(figure, folder / f"{test.replace('/', '-')}{whose}.png")
    save_figure(table3_figure(summary["table3"], "Table 3 of the paper, published and here"), folder / "table3.png")
    print("\n".join([*comparison_lines(summary), "", f"challenger: {summary['challenger']}"]))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
