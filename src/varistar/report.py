"""What a user asks after a rebuild: what came out, where it is, and whether all is in order."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from varistar.catalog.columns import TRUSTED
from varistar.experiments.registry import Champion, champion
from varistar.flares import compare as compare_flares
from varistar.flares import variants as flares
from varistar.foundation.errors import DataError, RegistryError
from varistar.foundation.files import read_json
from varistar.periods import compare as compare_periods
from varistar.periods import measure as periods

CATALOG = "build/catalog/periods.parquet"
FLARES = "build/catalog/flares.parquet"
#: The last stages of a rebuild.
REBUILT = ("compare", "illustrate", "completeness", "flares/dvc.yaml:compare", "flares/dvc.yaml:flare_science")
#: What a champion's score is called, and how it is said.
SCORES = {
    periods.WING: ("within_10pct", "{:.3f} of its test stars within 10%"),
    flares.WING: ("counted_f1", "F1 {:.3f} of the flares of its test stars"),
}


def report_lines(root: Path) -> list[str]:
    """The comparisons of all methods, the champions, the catalogs' sizes, and where runs, catalogs and figures are.

    Raises
    ------
    DataError
        When a comparison or a catalog is damaged.
    """
    lines = _compared(root / "metrics/periods.json", compare_periods.comparison_lines)
    lines += ["", _champion_line(root, periods.WING), _catalog_line(root / CATALOG)]
    lines += _judged_lines(root / "metrics/catalog.json")
    lines += _compared(root / "metrics/flares.json", compare_flares.comparison_lines)
    lines += [
        "",
        _champion_line(root, flares.WING),
        _flares_line(root / FLARES, root / "metrics/flare_catalog.json"),
        "",
    ]
    figures = root / "build/figures"
    lines.append(f"figures:  {figures if figures.is_dir() else 'none yet; `make repro` draws them'}")
    lines.append("runs:     `make ui`, then http://127.0.0.1:5000/#/experiments?workflowType=machine_learning")
    return lines


def _compared(summary: Path, tell: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    if not summary.exists():
        return [f"no comparison of methods yet in {summary.name}; `make repro` makes one"]
    try:
        return tell(read_json(summary))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise DataError(f"{summary}: not a comparison of methods; `make repro` makes it again") from None


def status_lines(root: Path) -> tuple[list[str], bool]:
    """Whether data, pipeline and champion are in order, a line each.

    A stage whose result is not on this machine but whose inputs are those of dvc.lock is in order: it need not run. The
    study is left out, which is not part of a rebuild.
    """
    lines, in_order = [], True
    for name, wanted in (("data", "data.dvc"), ("models", "models.dvc")):
        if not (root / wanted).exists():
            continue
        here, said = _dvc(root, "status", "--quiet", wanted)
        in_order &= here
        lines.append(f"{name}: " + ("as recorded" if here else f"not as recorded in {wanted}; try `make pull`{said}"))
    ran, said = _dvc(root, "repro", "--dry", "--allow-missing", *REBUILT)
    stale = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    in_order &= ran and not stale
    wanted = f"`dvc repro` would run {', '.join(stale)}" if stale else said
    lines.append("pipeline: " + ("up to date" if ran and not stale else wanted))
    for wing in SCORES:
        try:
            champion(root, wing)
        except RegistryError:
            in_order = False
        lines.append(_champion_line(root, wing))
    return lines, in_order


def _champion_line(root: Path, wing: str) -> str:
    try:
        best: Champion = champion(root, wing)
    except RegistryError as error:
        return f"champion: {error}"
    name, said = SCORES[wing]
    score = best.comparison.challenger.metrics.get(name)
    shown = "" if score is None else f" ({said.format(score)})"
    return f"champion: {wing} {best.content_hash:.12} since {best.since}{shown}"


def _catalog_line(catalog: Path) -> str:
    if not catalog.exists():
        return "catalog:  none yet; `dvc repro catalog` makes it with the champion"
    stars = pl.scan_parquet(catalog, glob=False).select(pl.len(), (pl.col("p_within_10pct") > TRUSTED).sum())
    try:
        total, trusted = stars.collect().row(0)
    except (pl.exceptions.PolarsError, OSError):
        raise DataError(f"{catalog}: not a catalog; `dvc repro catalog` makes it again") from None
    return f"catalog:  {catalog} ({total} stars, {trusted} whose period is more probably right than not)"


def _flares_line(catalog: Path, metrics: Path) -> str:
    if not catalog.exists():
        return "catalog:  none yet; `make repro` makes it with the champion"
    try:
        number = pl.scan_parquet(catalog, glob=False).select(pl.len()).collect().item()
        scores = read_json(metrics)["flares"] if metrics.exists() else None
        judged = "" if scores is None else f"; {scores['true_positives']} of {scores['n_events']} are true"
    except (pl.exceptions.PolarsError, OSError, KeyError, TypeError):
        raise DataError(f"{catalog}: not a catalog; `make repro` makes it again") from None
    return f"catalog:  {catalog} ({number} flares{judged})"


def _judged_lines(metrics: Path) -> list[str]:
    """What the truth says of the catalog, where it has been asked."""
    if not metrics.exists():
        return []
    try:
        row = read_json(metrics)["trusted"]
        rates = (row[name] for name in ("completeness", "purity", "false_period_rate"))
        complete, pure, false = ("-" if rate is None else f"{rate:.1%}" for rate in rates)
        reported = int(row["n_reported"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{metrics}: not the scores of a catalog; `dvc repro completeness` makes it again") from None
    return [
        f"          of the periods there are, {complete} are found; of {reported} trusted stars, {pure} are right;",
        f"          {false} of the stars without a period get a trusted one",
    ]


def _dvc(root: Path, *arguments: str) -> tuple[bool, str]:
    """Whether a DVC command succeeded, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()
