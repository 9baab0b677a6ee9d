"""Promotion of period networks: challenger and champion on the same frozen test set, and the gates."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from varistar.experiments import registry
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.gates import Comparison, Difference, Scores, gate, paired_bootstrap
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import folder_hash, read_json
from varistar.foundation.params import lookup, read_params, read_section

from .evaluate import measure_test_set
from .measure import WING, served_network
from .scores import period_scores, within
from .settings import Promotion

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

    Metrics are the headline scores, and `margin_over_constant_low`: the lower end of the 95% interval of the fraction
    within 10%, less that of the best constant on the same stars.
    """
    injected = root / "build/periods/injected" / sample
    baselines = root / "build/periods/baselines" / f"{sample}.parquet"
    if not (injected / "test/truth.parquet").exists():
        raise RegistryError(f"{injected / 'test'}: there is no test set here to compare on; make it with `dvc repro`")
    if not baselines.exists():
        raise RegistryError(f"{baselines}: there are no baselines to compare with; make it with `dvc repro`")
    constant = pl.read_parquet(baselines, glob=False).sort("star_id")["constant"]
    version = folder_hash(injected / "test")
    accelerator = lookup(read_params(root), "accelerator")
    tables = [measure_test_set(folder, injected, accelerator=accelerator) for folder in (candidate, champion) if folder]
    scores = [
        _scores(content_hash(folder), version, table, constant)
        for folder, table in zip((candidate, champion), tables, strict=False)
        if folder
    ]
    if len(tables) == 1:
        return Comparison(challenger=scores[0])
    differences = {}
    for name, tolerance in (("within_10pct", 0.1), ("within_20pct", 0.2)):
        right = [within(t["period"].to_numpy(), t["true_period"].to_numpy(), tolerance) for t in tables]
        mean, low, high = paired_bootstrap(right[0], right[1], seed=BOOTSTRAP_SEED)
        differences[name] = Difference(mean=mean, low=low, high=high)
    return Comparison(challenger=scores[0], champion=scores[1], differences=differences)


def _scores(content: str, test_set: str, table: pl.DataFrame, constant: pl.Series) -> Scores:
    true_period, period, sigma = (table[name].to_numpy() for name in ("true_period", "period", "sigma"))
    scores = period_scores(true_period, period, sigma)
    right, right_constant = within(period, true_period, 0.1), within(constant.to_numpy(), true_period, 0.1)
    metrics = {
        name: scores[name]
        for name in ("within_10pct", "within_20pct", "coverage", "trusted_within_10pct", "median_fractional_error")
    }
    metrics["margin_over_constant_low"] = paired_bootstrap(right, right_constant, seed=BOOTSTRAP_SEED)[1]
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
        line = f"  {name:<26}{_number(value)}"
        if champion:
            line += f"{_number(champion.metrics.get(name))}"
        if name in comparison.differences:
            d = comparison.differences[name]
            line += f"   {d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
        lines.append(line)
    return lines


def _number(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.4f}"
