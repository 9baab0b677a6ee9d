"""Promotion: challenger and champion on the same frozen test set, and the gates; what all wings share.

A wing says how two of its models are compared, and what of a model is served.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varistar.foundation.errors import RegistryError
from varistar.foundation.files import read_json
from varistar.foundation.settings import Settings

from . import registry
from .content import ModelContent, content_hash, read_content
from .gates import Comparison, Gate, gate

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class GateSettings(Settings):
    """When a challenger becomes champion.

    Attributes
    ----------
    gates : what must hold, by metric.
    """

    gates: dict[str, Gate]


@dataclass(frozen=True)
class Contest:
    """What a wing brings to a promotion.

    Attributes
    ----------
    gates : by metric.
    compare : of a candidate's folder and the champion's, if there is one, what both score on the frozen test set.
    test_set : its name.
    served : what the model registry packages of a content.
    """

    wing: str
    gates: Mapping[str, Gate]
    compare: Callable[[Path, Path | None], Comparison]
    test_set: str
    served: "Callable[[ModelContent], tuple[torch.nn.Module, NDArray[Any]]]"


@dataclass(frozen=True)
class Outcome:
    """What to tell the user, and the gates that refused; none when the champion stands or was replaced."""

    lines: list[str]
    refusals: list[str]


def promote_candidate(
    root: Path, contest: Contest, candidate: Path | None = None, force: bool = False, reason: str = ""
) -> Outcome:
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
    wing = contest.wing
    if force and not reason:
        raise RegistryError("a forced promotion needs a reason: give --reason")
    candidate = candidate or _challenger_folder(root, wing)
    digest = content_hash(candidate)
    champion = registry.champion(root, wing) if registry.history(root, wing) else None
    if champion and champion.content_hash == digest:
        registry.restore_mlflow(root, wing, contest.served)
        return Outcome([f"{digest:.12} is the champion already"], [])
    if not read_content(candidate).spec.calibration:
        raise RegistryError(f"{candidate}: not calibrated, so its uncertainties mean nothing")
    comparison = contest.compare(candidate, champion.folder if champion else None)
    lines = _comparison_lines(comparison, contest.test_set)
    failures = gate(comparison, contest.gates)
    if failures and not force:
        if champion:
            registry.restore_mlflow(root, wing, contest.served, challenger=candidate)
        stays = f"{champion.content_hash:.12} stays champion" if champion else "there is no champion"
        return Outcome([*lines, stays], failures)
    registry.promote(
        root, wing, candidate, comparison, reason or "passed the gates", gates=contest.gates, forced=bool(failures)
    )
    _after_change(root, contest)
    return Outcome([*lines, f"{digest:.12} is champion now"], [])


def show_champion(root: Path, contest: Contest) -> list[str]:
    """The champion and every promotion and rollback, a line each; sets MLflow's aliases where they are missing.

    Raises
    ------
    RegistryError
        When there is no champion, or its content is damaged.
    """
    champion = registry.champion(root, contest.wing)
    registry.restore_mlflow(root, contest.wing, contest.served)
    lines = [f"{champion.content_hash:.12} is champion since {champion.since}; its model is in {champion.folder}"]
    for event in registry.history(root, contest.wing):
        lines.append(f"  {event.when} {event.action} {event.content:.12}: {event.reason}")
    return lines


def roll_back(root: Path, contest: Contest, reason: str) -> Outcome:
    """Make the champion before this one champion again.

    Raises
    ------
    RegistryError
        When there is no earlier champion, or no reason.
    """
    champion = registry.rollback(root, contest.wing, reason)
    _after_change(root, contest)
    return Outcome([f"{champion.content_hash:.12} is champion again"], [])


def _challenger_folder(root: Path, wing: str) -> Path:
    summary = root / f"metrics/{wing}.json"
    if not summary.exists():
        raise RegistryError(f"{summary}: no comparison yet names a challenger; make it with `make repro`")
    folder = root / f"build/{wing}/calibrated" / str(read_json(summary)["challenger"])
    if not folder.is_dir():
        raise RegistryError(f"{folder}: the challenger is not here; make it with `make repro`")
    return folder


def _after_change(root: Path, contest: Contest) -> None:
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
    registry.restore_mlflow(root, contest.wing, contest.served)


def _comparison_lines(comparison: Comparison, test_set: str) -> list[str]:
    challenger, champion = comparison.challenger, comparison.champion
    beside = f", champion {champion.content:.12}" if champion else ", no champion yet"
    lines = [f"challenger {challenger.content:.12}{beside}; test set of {test_set}, version {challenger.test_set:.12}"]
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
