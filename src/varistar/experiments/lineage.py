"""Where a result comes from: data hashes, commit, versions and machine.

DVC knows the hash of every file that a stage reads and writes; MLflow knows the run. This module carries the first to
the second. Everything here is optional: outside a checkout, or before the first `dvc repro`, the answers are empty.
What it gathers goes into a sidecar file that no stage depends on, so that a new commit or another machine never makes
a result look out of date.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from varistar.foundation.errors import DataError
from varistar.foundation.files import write_json

PACKAGES = (
    "varistar", "torch", "pytorch-lightning", "mlflow", "dvc", "optuna",
    "numpy", "scipy", "astropy", "numba", "finufft", "polars", "pyarrow",
)  # fmt: skip


@dataclass(frozen=True)
class StageInput:
    """A file or folder that a stage reads, as DVC records it.

    Attributes
    ----------
    path : str
        Relative to the repository, with forward slashes.
    md5 : str
        32 hexadecimal digits, with `.dir` appended for a folder.
    size : int or None
        Bytes, where DVC recorded them.
    """

    path: str
    md5: str
    size: int | None


def write_sidecar(path: Path, root: Path, stage: str, **also: Any) -> None:
    """Write beside a result where it comes from: `also` (a run id, say), the stage's inputs, commit and machine."""
    inputs = [{"path": i.path, "md5": i.md5, "size": i.size} for i in stage_inputs(root, stage)]
    write_json(
        path,
        {
            **also,
            "stage": stage,
            "inputs": inputs,
            "git": git_state(root),
            "packages": package_versions(),
            "machine": machine(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def stage_inputs(root: Path, stage: str) -> list[StageInput]:
    """What `stage` (`train` or, of a group, `train@cnn`) read, from `dvc.lock`.

    DVC writes a stage's own record only after the stage has finished, so during a run that record is the one before.
    The paths are therefore taken from it and the hashes from the stages that wrote those paths, which are up to date
    by then. The list is empty when the stage has never finished: `inputs_at` then answers for known paths.

    Raises
    ------
    DataError
        When `dvc.lock` or a `.dvc` file is damaged.
    """
    recorded = _entries(_read_yaml(root / "dvc.lock").get("stages", {}).get(stage, {}).get("deps"), PurePosixPath())
    current = known_hashes(root)
    return [_nearest(current, entry.path) or entry for entry in recorded]


def inputs_at(root: Path, paths: Iterable[Path | str]) -> list[StageInput]:
    """What DVC knows of `paths` (below `root`, or relative to it); a path inside a tracked folder gives that folder.

    Raises
    ------
    DataError
        When `dvc.lock` or a `.dvc` file is damaged.
    """
    current = known_hashes(root)
    relative = [os.path.relpath(root / path, root).replace(os.sep, "/") for path in paths]
    found = (_nearest(current, path) for path in relative)
    return list(dict.fromkeys(entry for entry in found if entry is not None))


def known_hashes(root: Path) -> dict[str, StageInput]:
    """Every output that DVC tracks, by path: of the stages in `dvc.lock` and of the `.dvc` files beside it."""
    known: dict[str, StageInput] = {}
    for stage in _read_yaml(root / "dvc.lock").get("stages", {}).values():
        known |= {entry.path: entry for entry in _entries(stage.get("outs"), PurePosixPath())}
    for file in sorted(root.glob("*.dvc")):
        if file.is_file():
            known |= {entry.path: entry for entry in _entries(_read_yaml(file).get("outs"), PurePosixPath())}
    return known


def git_state(root: Path) -> dict[str, Any] | None:
    """The commit and whether tracked files differ from it, or None outside a checkout or before its first commit."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The installed versions of `names`; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """What decides the last bits of a result: processor, cores, threads and accelerator.

    Torch is asked only where it is already loaded: to describe the machine must not cost its import.
    """
    torch = sys.modules.get("torch")
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "accelerator": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of DVC, in DVC's dialect (YAML 1.2); empty where there is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path)
    except FileNotFoundError:
        return {}
    except (YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected the mapping that DVC writes")
    return content


def _entries(records: Any, folder: PurePosixPath) -> list[StageInput]:
    """The hashed records of a `deps` or `outs` list."""
    return [
        StageInput((folder / record["path"]).as_posix(), record["md5"], record.get("size"))
        for record in records or []
        if "md5" in record
    ]


def _nearest(known: dict[str, StageInput], path: str) -> StageInput | None:
    """The record of `path` itself, or of the closest tracked folder around it."""
    for candidate in (PurePosixPath(path), *PurePosixPath(path).parents):
        if found := known.get(candidate.as_posix()):
            return found
    return None


def _git(root: Path, *arguments: str) -> str | None:
    """The answer of a git command that only reads; None where git or the repository is missing."""
    command = ["git", "-C", str(root), *arguments]
    # Without optional locks: a status that refreshed the index would disturb a commit made at the same time.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name; Linux keeps it where the platform module does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
