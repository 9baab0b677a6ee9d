"""Promotion of period networks: challenger and champion on the same frozen test set, and the gates."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from numpy.typing import NDArray

from varistar.experiments import registry
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.gates import Comparison, Difference, Scores, gate, paired_bootstrap
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import folder_hash, read_json
from varistar.foundation.params import lookup, read_params, read_section

from .measure import WING, served_network
from .measured import measure_split
from .reliability import accuracy_at_coverage, false_period_rate
from .scores import period_scores, within
from .settings import Promotion
from .verdict import PAPERS_COVERAGE, SURE

BOOTSTRAP_SEED = 20


@dataclass(frozen=True)
class Outcome:
    """What to tell the user, and the gates that refused; none when the champion stands or was replaced."""

    lines: list[str]
    refusals: list[str]


def promote_challenger(root: Path, candidate: Path | None = None, force: bool = False, reason: str = "") -> Outcome:
    """Compare a candidate with the champion and promote it if every gate lets it pass, or if forced.

    Parameters
    ----------
    candidate : folder of a calibrated model; None takes the challenger that the comparison of variants chose.
    reason : kept in the registry; a forced promotion needs one.

    Raises
    ------
    RegistryError
        When there is no candidate or no test set, a model is damaged or not calibrated, or a forced promotion has no
        reason.
    """
    if force and not reason:
        raise RegistryError("a forced promotion needs a reason: give --reason")
    settings = read_section(root, "periods.promotion", Promotion)
    candidate = candidate or _challenger_folder(root)
    digest = content_hash(candidate)
    champion = _champion_if_any(root)
    if champion and champion.content_hash == digest:
        registry.restore_mlflow(root, WING, served_network)
        return Outcome([f"{digest:.12} is the champion already"], [])
    if not read_content(candidate).spec.calibration:
        raise RegistryError(f"{candidate}: not calibrated, so its uncertainties mean nothing")
    comparison = compare_on_test_set(root, candidate, champion.folder if champion else None, settings.sample)
    lines = _comparison_lines(comparison, settings.sample)
    failures = gate(comparison, settings.gates)
    if failures and not force:
        if champion:
            registry.restore_mlflow(root, WING, served_network, challenger=candidate)
        stays = f"{champion.content_hash:.12} stays champion" if champion else "there is no champion"
        return Outcome([*lines, stays], failures)
    registry.promote(
        root, WING, candidate, comparison, reason or "passed the gates", gates=settings.gates, forced=bool(failures)
    )
    _after_change(root)
    return Outcome([*lines, f"{digest:.12} is champion now"], [])


def show_champion(root: Path) -> list[str]:
    """The champion and every promotion and rollback, a line each; sets MLflow's aliases where they are missing.

    Raises
    ------
    RegistryError
        When there is no champion, or its content is damaged.
    """
    champion = registry.champion(root, WING)
    registry.restore_mlflow(root, WING, served_network)
    lines = [f"{champion.content_hash:.12} is champion since {champion.since}; its model is in {champion.folder}"]
    for event in registry.history(root, WING):
        lines.append(f"  {event.when} {event.action} {event.content:.12}: {event.reason}")
    return lines


def roll_back(root: Path, reason: str) -> Outcome:
    """Make the champion before this one champion again.

    Raises
    ------
    RegistryError
        When there is no earlier champion, or no reason.
    """
    champion = registry.rollback(root, WING, reason)
    _after_change(root)
    return Outcome([f"{champion.content_hash:.12} is champion again"], [])


def compare_on_test_set(root: Path, candidate: Path, champion: Path | None, sample: str) -> Comparison:
    """Both models measured on a sample's frozen test set, star by star.

    Metrics are the headline scores of the stars with a period; `margin_over_constant_low`, the lower end of the 95%
    interval of the fraction within 10%, less that of the best constant on the same stars; and `false_period_rate`, the
    fraction of the stars without a period that get one with p_within_10pct > 0.5. Intervals keep the examples of a
    template together.
    """
    injected = root / "build/periods/injected" / sample
    baselines = root / "build/periods/baselines" / f"{sample}.parquet"
    if not (injected / "test/truth.parquet").exists():
        raise RegistryError(f"{injected / 'test'}: there is no test set here to compare on; make it with `dvc repro`")
    if not baselines.exists():
        raise RegistryError(f"{baselines}: there are no baselines to compare with; make it with `dvc repro`")
    constant = pl.read_parquet(baselines, columns=["star_id", "constant"], glob=False)
    version = folder_hash(injected / "test")
    accelerator = lookup(read_params(root), "accelerator")
    folders = [folder for folder in (candidate, champion) if folder]
    tables = [measure_split([folder], injected, accelerator=accelerator)[0] for folder in folders]
    scores = [_scores(content_hash(f), version, table, constant) for f, table in zip(folders, tables, strict=True)]
    if len(tables) == 1:
        return Comparison(challenger=scores[0])
    differences = {}
    with_period, without = (
        [table.filter(pl.col("true_period").is_nan() == is_nan) for table in tables] for is_nan in (False, True)
    )
    for name, tolerance in (("within_10pct", 0.1), ("within_20pct", 0.2)):
        right = [within(t["period"].to_numpy(), t["true_period"].to_numpy(), tolerance) for t in with_period]
        differences[name] = _difference(right[0], right[1], with_period[0])
    if without[0].height:
        claims = [(t["p_within_10pct"] > SURE).to_numpy() for t in without]
        differences["false_period_rate"] = _difference(claims[0], claims[1], without[0])
    return Comparison(challenger=scores[0], champion=scores[1], differences=differences)


def _difference(challenger: NDArray, champion: NDArray, stars: pl.DataFrame) -> Difference:
    groups = stars["template"].to_numpy()
    mean, low, high = paired_bootstrap(challenger, champion, seed=BOOTSTRAP_SEED, groups=groups)
    return Difference(mean=mean, low=low, high=high)


def _scores(content: str, test_set: str, table: pl.DataFrame, constant: pl.DataFrame) -> Scores:
    without = table.filter(pl.col("true_period").is_nan())
    table = table.filter(~pl.col("true_period").is_nan()).join(constant, on="star_id", how="left")
    true_period, period, sigma, p = (
        table[name].to_numpy() for name in ("true_period", "period", "sigma", "p_within_10pct")
    )
    scores = period_scores(true_period, period, sigma)
    right, of_constant = within(period, true_period, 0.1), within(table["constant"].to_numpy(), true_period, 0.1)
    metrics = {
        name: scores[name]
        for name in ("within_10pct", "within_20pct", "coverage", "trusted_within_10pct", "median_fractional_error")
    }
    metrics["within_10pct_at_19.8pct_coverage"] = accuracy_at_coverage(p, right, PAPERS_COVERAGE)
    metrics["margin_over_constant_low"] = _difference(right, of_constant, table).low
    metrics["false_period_rate"] = false_period_rate(without["p_within_10pct"].to_numpy(), SURE)["rate"]
    return Scores(content=content, test_set=test_set, metrics=metrics)


def _challenger_folder(root: Path) -> Path:
    summary = root / "metrics/periods.json"
    if not summary.exists():
        raise RegistryError(f"{summary}: no comparison yet names a challenger; make it with `dvc repro compare`")
    folder = root / "build/periods/calibrated" / str(read_json(summary)["challenger"])
    if not folder.is_dir():
        raise RegistryError(f"{folder}: the challenger is not here; make it with `dvc repro compare`")
    return folder


def _champion_if_any(root: Path) -> registry.Champion | None:
    return registry.champion(root, WING) if registry.history(root, WING) else None


def _after_change(root: Path) -> None:
    """Let DVC track the new content, and MLflow's aliases follow the record."""
    if (root / ".dvc").is_dir():
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "add", "--quiet", "models"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).split("\n")
            why = next((line.strip() for line in reversed(said) if line.strip()), f"exit code {done.returncode}")
            raise RegistryError(f"models/: DVC cannot track the champion: {why}")
    registry.restore_mlflow(root, WING, served_network)


def _comparison_lines(comparison: Comparison, sample: str) -> list[str]:
    challenger, champion = comparison.challenger, comparison.champion
    beside = f", champion {champion.content:.12}" if champion else ", no champion yet"
    lines = [f"challenger {challenger.content:.12}{beside}; test set of {sample}, version {challenger.test_set:.12}"]
    for name, value in challenger.metrics.items():
        line = f"  {name:<34}{_number(value)}"
        if champion:
            line += f"{_number(champion.metrics.get(name))}"
        if name in comparison.differences:
            d = comparison.differences[name]
            line += f"   {d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
        lines.append(line)
    return lines


def _number(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.4f}"
