"""The study in pictures: the rows of the paper's Table 3 and the ablations, of whatever has been measured.

Drawn from what `evaluate` has left of the variants and the study on this machine (`make study`), since measurements of
all test stars are not kept in the repository; the scores are.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from varistar.figures.experiments import ablation_figure, coverage_figure, panels_figure, table3_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import read_json
from varistar.foundation.params import find_root, lookup, read_params

from .compare import table3
from .evaluate import REPORTS
from .reliability import risk_coverage
from .scores import within

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Tests of the ablations and curves: spots as the paper has them, and spots that live long.
TESTS = ("clump/paper", "broad/long_lived")
IMAGES = "networks of images"


def draw_study(root: Path) -> "dict[str, Figure]":
    """The figures by name: `table3`, `panels` (Fig. 6), and of each of `TESTS` the ablations and coverage curves.

    Raises
    ------
    DataError
        When no variant has been evaluated.
    """
    periods = lookup(read_params(root), "periods")
    reports = _reports(root, periods)
    if not reports:
        raise DataError(f"{root / 'metrics'}: nothing has been evaluated; `make repro` or `make study` does")
    rows = table3(periods, reports)
    figures = {"table3": table3_figure(rows, "Table 3: predictive efficiency, published and here")}
    tables = {row["name"]: _measured(root, row["name"], row["test"]) for row in rows}
    captions = {row["name"]: f"published efficiency {row['published']:.2%}" for row in rows}
    here = {name: table for name, table in tables.items() if table is not None}
    figures["panels"] = panels_figure(here, captions, "Predicted against true period; orange and blue are trusted")
    for test in TESTS:
        if not any(test in report["tests"] for report in reports.values()):
            continue
        name = test.replace("/", "-")
        figures[f"ablation-{name}"] = ablation_figure(_ablations(root, periods, reports, test), test)
        figures[f"coverage-{name}"] = coverage_figure(_curves(root, reports, test), test)
    return figures


def _reports(root: Path, periods: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What has been evaluated, by variant; by the study where it was."""
    return {
        name: read_json(path)
        for folder in (REPORTS["variants"], REPORTS["study"])
        for name in (*periods["variants"], *(periods.get("study") or {}))
        if (path := root / folder / f"{name}.json").exists()
    }


def _measured(root: Path, name: str, test: str) -> pl.DataFrame | None:
    path = root / "build/periods/measured" / f"{name}.parquet"
    return pl.read_parquet(path, glob=False).filter(test=test) if path.exists() else None


def _ablations(
    root: Path, periods: dict[str, Any], reports: dict[str, dict[str, Any]], test: str
) -> list[dict[str, Any]]:
    """Every network, those of the paper's image first, and the simple methods."""
    rows = []
    for name, report in reports.items():
        if test not in report["tests"]:
            continue
        variant = periods["variants"].get(name) or periods["study"][name]
        group = IMAGES if variant["network"].get("trunk") == "image" else "others"
        rows.append({"group": group, "variant": name, "baseline": False, **report["tests"][test]})
    sample, _, stars = test.partition("/")
    of_study, of_variants = (root / REPORTS[of] / "baselines" / f"{sample}.json" for of in ("study", "variants"))
    simple = read_json(of_study if of_study.exists() else of_variants)[stars]
    rows += [{"group": "simple methods", "variant": name, "baseline": True, **row} for name, row in simple.items()]
    return sorted(rows, key=lambda row: (row["group"] != IMAGES, row["baseline"], -row["within_10pct"]))


def _curves(root: Path, reports: dict[str, dict[str, Any]], test: str) -> dict[str, Any]:
    """Coverage against accuracy of the best networks of each kind that were measured here."""
    curves: dict[str, Any] = {}
    tested = [name for name in reports if test in reports[name]["tests"]]
    for name in sorted(tested, key=lambda name: -reports[name]["tests"][test]["within_10pct"]):
        table = _measured(root, name, test)
        if table is not None and len(curves) < 6:
            right = within(table["period"].to_numpy(), table["true_period"].to_numpy(), 0.1)
            curves[name] = risk_coverage(table["p_within_10pct"].to_numpy(), right)
    return curves


def main() -> None:
    """Draw the study into build/figures/periods/study."""
    root = find_root()
    folder = root / "build/figures/periods/study"
    for name, figure in draw_study(root).items():
        save_figure(figure, folder / f"{name}.png")
    print(f"{folder}: the study in pictures")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
