"""Who is champion, and why: `models/<wing>/` holds the contents, `registry/<wing>.json` the record.

A champion's content lies in `models/<wing>/<first 12 digits of its hash>/`, and those of the champions before it beside
it, so that a rollback needs no network. The record names the champion by its full hash and keeps the line of champions
and every promotion and rollback. DVC tracks `models/`, git tracks the record; MLflow's registry is only set from them.

The record is written last: whatever interrupts a promotion, the old champion stands until the new one is whole.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from varistar.foundation.errors import ConfigError, DataError, RegistryError
from varistar.foundation.files import atomic_folder, read_json, write_json
from varistar.foundation.settings import Settings, validate

from .content import ModelContent, WingName, content_hash, read_content
from .gates import Comparison, Gate, gate
from .lineage import git_state
from .store import held

if TYPE_CHECKING:
    import numpy as np
    import torch

KEPT = 3  # champions whose content stays at hand, the present one included
LOCK_SECONDS = 60.0
CONTENT_FOLDER = re.compile(
    r"[0-9a-f]{12}|\.[0-9a-f]{12}\..*\.tmp"
)  # a content, or what a killed promotion left of one


@dataclass(frozen=True)
class Champion:
    """The promoted model of a wing, its content verified against the record."""

    wing: str
    content_hash: str
    folder: Path
    comparison: Comparison
    reason: str
    since: str


class Event(Settings):
    """One promotion or rollback.

    Attributes
    ----------
    content, previous
        The hash of the champion after it, and of the one before.
    comparison
        On which a promotion was made.
    failures
        The gates that a forced promotion did not pass.
    commit
        What was checked out at the time: with the `models.dvc` of that commit, DVC gives back the contents of that day.
    """

    action: Literal["promote", "rollback"]
    content: str
    previous: str | None
    reason: str
    comparison: Comparison | None = None
    forced: bool = False
    failures: tuple[str, ...] = ()
    when: str
    commit: str | None


class Reign(Settings):
    """Who is champion, on what evidence, why and since when."""

    content: str
    comparison: Comparison
    reason: str
    since: str


class Record(Settings):
    """`registry/<wing>.json`: the champion, the line of champions by hash that ends in it, and all that happened."""

    format: Literal[1] = 1
    wing: WingName
    champion: Reign | None = None
    line: tuple[str, ...] = ()
    history: tuple[Event, ...] = ()


def champion(root: Path, wing: str) -> Champion:
    """The champion of `wing`.

    Raises
    ------
    RegistryError
        When there is none, or its content is missing or is not what was promoted.
    """
    reign = _read_record(root, wing).champion
    if reign is None:
        raise RegistryError(f"no champion for {wing}: train one and run varistar promote {wing}")
    folder = _folder(root, wing, reign.content)
    _verify(folder, reign.content)
    return Champion(wing, reign.content, folder, reign.comparison, reign.reason, reign.since)


def promote(
    root: Path,
    wing: str,
    candidate: Path,
    comparison: Comparison,
    reason: str,
    *,
    gates: Mapping[str, Gate],
    forced: bool = False,
) -> Champion:
    """Make the content in the folder `candidate` the champion of `wing`, if it passes the gates.

    Promoting the champion again changes nothing, but repairs its content in `models/`.

    Parameters
    ----------
    comparison : Comparison
        Of this candidate with the present champion.
    reason : str
        For the record.
    forced : bool
        Promote in spite of failed gates, which the record keeps, or without a comparison with the champion.

    Raises
    ------
    RegistryError
        When the candidate is damaged, of another wing or not the one compared; when the champion is not the one it
        was compared with (a promotion at the same time, say); or when it fails a gate.
    """
    _require_reason(reason)
    content = read_content(candidate)
    if content.spec.wing != wing:
        raise RegistryError(f"{candidate}: a model of the wing {content.spec.wing}, not of {wing}")
    digest = content_hash(candidate)
    with _locked(root, wing):
        record = _read_record(root, wing)
        incumbent = record.champion.content if record.champion else None
        if incumbent == digest:
            _copy(candidate, _folder(root, wing, digest), digest)
            return champion(root, wing)
        _require_comparison_of(comparison, digest, incumbent, forced)
        failures = tuple(gate(comparison, gates))
        if failures and not forced:
            raise RegistryError(f"{digest:.12} does not pass the gates of {wing}: {'; '.join(failures)}")
        _copy(candidate, _folder(root, wing, digest), digest)
        event = Event(
            action="promote",
            content=digest,
            previous=incumbent,
            reason=reason,
            comparison=comparison,
            forced=forced,
            failures=failures,
            when=_now(),
            commit=_commit(root),
        )
        _write_record(root, record, (*record.line, digest), event)
        return champion(root, wing)


def rollback(root: Path, wing: str, reason: str) -> Champion:
    """Give the place back to the champion before; the one set aside stays at hand until the next promotion.

    Raises
    ------
    RegistryError
        When there was none before, or its content is no longer kept.
    """
    _require_reason(reason)
    with _locked(root, wing):
        record = _read_record(root, wing)
        if len(record.line) < 2:
            raise RegistryError(f"no champion of {wing} before the present one: nothing to roll back to")
        former = record.line[-2]
        _verify(_folder(root, wing, former), former)
        event = Event(
            action="rollback",
            content=former,
            previous=record.line[-1],
            reason=reason,
            when=_now(),
            commit=_commit(root),
        )
        _write_record(root, record, record.line[:-1], event)
        return champion(root, wing)


def history(root: Path, wing: str) -> tuple[Event, ...]:
    """Every promotion and rollback of `wing`, oldest first; empty without any."""
    return _read_record(root, wing).history


def restore_mlflow(
    root: Path,
    wing: str,
    load_network: "Callable[[ModelContent], tuple[torch.nn.Module, np.ndarray[Any, Any]]]",
    *,
    challenger: Path | None = None,
) -> str:
    """Set MLflow's registered model `varistar-<wing>` from the record, after a promotion or when `mlruns/` is empty.

    Contents that MLflow already has are found by their hash and not packaged again.

    Parameters
    ----------
    load_network : callable
        From the content to the network with its calibration, and a batch of at least two inputs.
    challenger : Path, optional
        The folder of the content to call `@challenger`. Without it that alias stays, unless its model is now champion.

    Returns
    -------
    str
        The version that `@champion` now names.
    """
    from . import packaging

    present = champion(root, wing)
    version = packaging.package(root, present.folder, load_network)
    second = packaging.package(root, challenger, load_network) if challenger else None
    packaging.set_aliases(root, wing, version, second)
    return version


def _read_record(root: Path, wing: str) -> Record:
    """The record of `wing`, or an empty one."""
    try:
        TypeAdapter(WingName).validate_python(wing)
    except ValidationError:
        raise RegistryError(f"'{wing}' is not the name of a wing") from None
    path = _record_path(root, wing)
    if not path.exists():
        return Record(wing=wing)
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}: expected a JSON object")
        record = validate(Record, content, str(path))
    except (ConfigError, DataError) as error:
        raise RegistryError(str(error)) from None
    reigning = record.champion.content if record.champion else None
    promoted = {event.content for event in record.history if event.comparison is not None}
    if record.wing != wing or reigning != (record.line[-1] if record.line else None) or not promoted >= {*record.line}:
        raise RegistryError(
            f"{path}: contradicts itself: expected the wing {wing}, the champion last in 'line', and each of 'line' in"
            " 'history'"
        )
    return record


def _write_record(root: Path, before: Record, line: tuple[str, ...], event: Event) -> None:
    """Write the record with its new line, and only then let go of contents that nobody can ask for any more."""
    history = (*before.history, event)
    # A rollback brings back the evidence on which its champion was once promoted.
    evidence = next(e.comparison for e in reversed(history) if e.comparison is not None and e.content == event.content)
    reign = Reign(content=event.content, comparison=evidence, reason=event.reason, since=event.when)
    after = Record(wing=before.wing, champion=reign, line=line, history=history)
    write_json(_record_path(root, before.wing), after.model_dump(mode="json"))
    _prune(root, after)


def _prune(root: Path, record: Record) -> None:
    """Remove all contents but the last champions', and that of the one which a rollback has just set aside."""
    kept = {content[:12] for content in record.line[-KEPT:]}
    if record.history[-1].action == "rollback" and record.history[-1].previous:
        kept.add(record.history[-1].previous[:12])
    for folder in (root / "models" / record.wing).iterdir():
        if CONTENT_FOLDER.fullmatch(folder.name) and folder.name not in kept:
            # A leftover costs disk, not correctness.
            shutil.rmtree(folder, ignore_errors=True)


def _require_reason(reason: str) -> None:
    """A record without reasons is no record."""
    if not reason.strip():
        raise RegistryError("a reason is needed: the record keeps it")


def _require_comparison_of(comparison: Comparison, digest: str, incumbent: str | None, forced: bool) -> None:
    """The comparison must be of this candidate, with this champion."""
    if comparison.challenger.content != digest:
        raise RegistryError(
            f"the comparison is of {comparison.challenger.content:.12}, not of the candidate {digest:.12}"
        )
    compared = comparison.champion.content if comparison.champion else None
    if compared == incumbent or (compared is None and forced):
        return
    if compared is None:
        raise RegistryError(f"the candidate was not compared with the champion {incumbent:.12}: compare them first")
    present = f"{incumbent:.12}" if incumbent else "nobody"
    raise RegistryError(f"the candidate was compared with {compared:.12}, but {present} is champion now: compare again")


def _copy(source: Path, target: Path, digest: str) -> None:
    """Copy a content, unless it is there already and whole."""
    if target.exists() and _is(target, digest):
        return
    with atomic_folder(target) as temporary:
        for file in source.iterdir():
            shutil.copyfile(file, temporary / file.name)
        _verify(temporary, digest)


def _verify(folder: Path, digest: str) -> None:
    """Refuse a content that is missing or is not the one of this hash."""
    if not folder.exists():
        raise RegistryError(f"{folder}: the model {digest:.12} is missing: 'dvc pull models.dvc' brings what DVC keeps")
    if not _is(folder, digest):
        raise RegistryError(f"{folder}: damaged: it is not the model {digest:.12} that was promoted")


def _is(folder: Path, digest: str) -> bool:
    try:
        return content_hash(folder) == digest
    except RegistryError:
        return False


def _folder(root: Path, wing: str, digest: str) -> Path:
    return root / "models" / wing / digest[:12]


def _record_path(root: Path, wing: str) -> Path:
    return root / "registry" / f"{wing}.json"


def _locked(root: Path, wing: str) -> AbstractContextManager[None]:
    """One promotion or rollback of a wing at a time; `mlruns/` is the folder that neither git nor DVC looks into."""
    refusal = f"another promotion of {wing} has been going on for {LOCK_SECONDS:.0f} s: wait for it or stop it"
    return held(root / "mlruns" / f".registry-{wing}.lock", LOCK_SECONDS, refusal)


def _commit(root: Path) -> str | None:
    git = git_state(root)
    return git["commit"] if git else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
