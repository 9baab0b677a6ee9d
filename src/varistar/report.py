"""What a user asks after a rebuild: what came out, where it is, and whether all is in order."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from varistar.catalog.columns import TRUSTED
from varistar.experiments.registry import Champion, champion
from varistar.foundation.errors import DataError, RegistryError
from varistar.foundation.files import read_json
from varistar.periods.compare import comparison_lines
from varistar.periods.measure import WING

CATALOG = "build/catalog/periods.parquet"
REBUILT = ("compare", "illustrate", "completeness")  # the last stages of a rebuild


def report_lines(root: Path) -> list[str]:
    """The comparison of all methods, the champion, the catalog's size, and where runs, catalog and figures are.

    Raises
    ------
    DataError
        When the comparison or the catalog is damaged.
    """
    lines = ["no comparison of methods yet; `make repro` makes one"]
    summary = root / "metrics/periods.json"
    if summary.exists():
        try:
            lines = comparison_lines(read_json(summary))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise DataError(f"{summary}: not a comparison of methods; `dvc repro compare` makes it again") from None
    lines += ["", _champion_line(root), _catalog_line(root / CATALOG), *_judged_lines(root / "metrics/catalog.json")]
    figures = root / "build/figures/periods"
    lines.append(f"figures:  {figures if figures.is_dir() else 'none yet; `make repro` draws them'}")
    lines.append("runs:     `make ui`, then http://127.0.0.1:5000/#/experiments?workflowType=machine_learning")
    return lines


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
    try:
        champion(root, WING)
    except RegistryError:
        in_order = False
    lines.append(_champion_line(root))
    return lines, in_order


def _champion_line(root: Path) -> str:
    try:
        best: Champion = champion(root, WING)
    except RegistryError as error:
        return f"champion: {error}"
    score = best.comparison.challenger.metrics.get("within_10pct")
    shown = "" if score is None else f" ({score:.3f} of its test stars within 10%)"
    return f"champion: {best.content_hash:.12} since {best.since}{shown}"


def _catalog_line(catalog: Path) -> str:
    if not catalog.exists():
        return "catalog:  none yet; `dvc repro catalog` makes it with the champion"
    stars = pl.scan_parquet(catalog, glob=False).select(pl.len(), (pl.col("p_within_10pct") > TRUSTED).sum())
    try:
        total, trusted = stars.collect().row(0)
    except (pl.exceptions.PolarsError, OSError):
        raise DataError(f"{catalog}: not a catalog; `dvc repro catalog` makes it again") from None
    return f"catalog:  {catalog} ({total} stars, {trusted} whose period is more probably right than not)"


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
