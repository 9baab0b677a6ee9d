"""A resumable job: many pieces of work whose results lie in a folder until the last is there, and are joined then.

    folder/
      key.json                     what the work depends on; with another key it is dropped
      <hash of the key>/
        00012...                   what piece 12 wrote, under names that begin with its number
        00012.done.json            its summary, written last: the mark that it is done
      failed.json                  after a run with failures: which pieces, and why

A killed job is given again and does what has no mark. The hash keeps apart what a straggler may still write, a worker
of a cluster whose job was killed and given again with another key. Several processes may share the work, those of a
Slurm array; the one that finds every piece done joins them, once.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

import varistar
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json, write_json

from .engine import Engine, as_engine, outcomes
from .pieces import Failure, Item
from .slurm import Share, read_share

T = TypeVar("T")

#: What a finished piece left: the beginning of its files' names, and its summary.
Done = tuple[Path, dict[str, Any]]

_MARK = ".done.json"
_LOCK_SECONDS = 10.0
_FOR_EVER = -1.0
_OWN = re.compile(r"\.?(key|failed)\.json.*|[0-9a-f]{16}")


def run_job(
    function: Callable[[Item, Path], dict[str, Any]],
    items: Sequence[Item],
    folder: Path,
    key: dict[str, Any],
    finish: Callable[[Iterator[Done]], T],
    engine: Engine | int | None = None,
    what: str = "",
    where: Callable[[Item], object] = str,
    sizes: Sequence[int] | None = None,
) -> T | None:
    """Do what is left of a job, and join its pieces when all are done.

    Parameters
    ----------
    function : of an item and a target; it writes files whose paths begin with `target`, each atomically, and returns a
        small summary, JSON. A module-level function, pure, so that it can be done twice.
    items : the pieces; they must not depend on the engine.
    folder : where the work is kept until it is done; every worker must see it.
    key : JSON values that say what the results depend on; varistar's own code does not need saying.
    finish : takes what the pieces left, in the order of the items, and joins it; called in one process only. When it
        returns, `folder` is removed; when it raises, the work is kept.
    where : names an item in the sentence about its failure.
    sizes : of the items, for the progress bar: their stars say.

    Returns
    -------
    what `finish` returned; None in a process of a Slurm array that is not the last.

    Raises
    ------
    DataError
        When pieces failed, after all others are done; `folder` holds something else; or another process works in it.
    """
    engine = as_engine(engine)
    key = {**key, "pieces": len(items), "code": _code()}
    share = None
    if engine.name == "slurm":
        share = read_share()
        engine = Engine("local", workers=engine.workers or share.processors)
    place = folder.resolve()
    job = _Job(function, items, place, place / _digest(key), where, sizes, share)
    lock = FileLock(place.with_name(f".{place.name}.lock"))
    if share is None:  # a process alone keeps the others out all along
        with _locked(lock, place, _LOCK_SECONDS):
            _start_or_resume(job, key)
            return _conclude(job, _work_off(job, engine, what), finish)
    with _locked(lock, place, _FOR_EVER):
        if _array_has_finished(place, share):
            return None
        _start_or_resume(job, key)
    failures = _work_off(job, engine, what)
    with _locked(lock, place, _FOR_EVER):
        return _conclude(job, failures, finish)


def fingerprint(files: Iterable[Path]) -> str:
    """A hash of files' names, as given and in full, sizes and times of change; for the key of a job that reads them."""
    digest = hashlib.sha256()
    for file in files:
        state = file.stat()
        digest.update(json.dumps([str(file), str(file.resolve()), state.st_size, state.st_mtime_ns]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Job(Generic[Item]):
    """The arguments of `run_job`, the folder in full, the pieces' own folder in it, and the share of this process."""

    function: Callable[[Item, Path], dict[str, Any]]
    items: Sequence[Item]
    place: Path
    work: Path
    where: Callable[[Item], object]
    sizes: Sequence[int] | None
    share: Share | None

    def left(self) -> NDArray[np.int64]:
        """The numbers of the pieces that have no mark."""
        left = np.ones(len(self.items), dtype=np.bool_)
        for mark in self.work.glob(f"*{_MARK}"):
            left[int(mark.name.removesuffix(_MARK))] = False
        return np.flatnonzero(left)

    def target(self, number: int) -> Path:
        return self.work / f"{number:05d}"


@dataclass(frozen=True)
class _Call(Generic[Item]):
    """A piece of work on its way to a worker."""

    function: Callable[[Item, Path], dict[str, Any]]
    item: Item
    number: int
    target: Path


@contextmanager
def _locked(lock: FileLock, place: Path, seconds: float) -> Iterator[None]:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds)
    except Timeout:
        raise DataError(f"{place}: another process is at this work; wait for it") from None
    except OSError as error:
        raise DataError(f"{place}: cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def _start_or_resume(job: _Job, key: dict[str, Any]) -> None:
    """Keep the finished pieces of the same key, and drop those of another."""
    key_file = job.place / "key.json"
    if job.place.exists() and not all(_OWN.fullmatch(path.name) for path in job.place.iterdir()):
        raise DataError(f"{job.place}: needed for the work, but holds something else; name another output")
    if job.place.exists() and not (key_file.exists() and read_json(key_file) == json.loads(json.dumps(key))):
        _drop(job.place)
    write_json(key_file, key)
    job.work.mkdir(exist_ok=True)


def _work_off(job: _Job, engine: Engine, what: str) -> dict[int, str]:
    """Do this process's pieces that are left; returns the numbers of those that failed, and why."""
    left = job.left()
    own = np.arange(len(job.items)) if job.share is None else np.arange(job.share.rank, len(job.items), job.share.count)
    todo = np.intersect1d(own, left, assume_unique=True)
    sizes = np.ones(len(job.items), np.int64) if job.sizes is None else np.asarray(job.sizes, np.int64)
    calls = (_Call(job.function, job.items[n], n, job.target(n)) for n in todo.tolist())
    failures: dict[int, str] = {}
    with tqdm(
        total=int(sizes[own].sum()),
        initial=int(sizes[own].sum() - sizes[todo].sum()),
        desc=what,
        unit="piece" if job.sizes is None else "star",
        disable=None,
    ) as bar:
        for call, outcome in outcomes(_do, calls, len(todo), engine):
            bar.update(int(sizes[call.number]))
            if isinstance(outcome, Failure):
                failures[call.number] = " ".join(outcome.reason.split())
    return failures


def _do(call: _Call) -> None:
    """Do a piece and mark it, in the worker; when the work is gone, a straggler writes nothing."""
    mark = call.target.with_name(call.target.name + _MARK)
    if mark.exists():
        return
    if not mark.parent.is_dir():
        raise DataError(f"{mark.parent}: not there; workers must share the file system of the process that asks")
    write_json(mark, call.function(call.item, call.target))


def _conclude(job: _Job[Item], failures: dict[int, str], finish: Callable[[Iterator[Done]], T]) -> T | None:
    """Join the pieces if all are done, and clear up."""
    if not job.work.is_dir():  # another process of the array was the last
        return None
    left = job.left()
    if failures:
        raise DataError(_failed_sentence(job, failures, left))
    if len(left):
        if job.share is not None:
            return None
        raise DataError(f"{job.work}: lacks what workers wrote; they must share its file system")
    result = finish(_done(job))
    if job.share is not None:
        write_json(_array_file(job.place), {"array": job.share.array})
    else:
        _array_file(job.place).unlink(missing_ok=True)
    _drop(job.place)
    return result


def _done(job: _Job) -> Iterator[Done]:
    for number in range(len(job.items)):
        target = job.target(number)
        yield target, read_json(target.with_name(target.name + _MARK))


def _failed_sentence(job: _Job, failures: dict[int, str], left: NDArray[np.int64]) -> str:
    """Write the list of the failed pieces, those of other processes of an array among them, and say what is in it."""
    file = job.place / "failed.json"
    here = {str(n): _located(str(job.where(job.items[n])), reason) for n, reason in sorted(failures.items())}
    first = next(iter(here.values()))
    sentence = f"{len(here)} of {len(job.items)} pieces failed, first {first}; the others are kept in {job.place}"
    try:
        others = read_json(file) if file.exists() else {}
        still = {n: said for n, said in others.items() if int(n) in left}
        write_json(file, still | here)
        sentence += ", where failed.json lists the failed"
    except DataError:  # a full disk, say, of which the pieces told already
        pass
    return f"{sentence}; run the same command again to go on"


def _located(where: str, reason: str) -> str:
    return reason if reason.startswith(where) else f"{where}: {reason}"


def _array_has_finished(place: Path, share: Share) -> bool:
    """Whether another process of this array has joined the pieces before this one began."""
    file = _array_file(place)
    return bool(share.array) and file.exists() and read_json(file) == {"array": share.array}


def _array_file(place: Path) -> Path:
    """Beside the work, the number of the last array that finished it."""
    return place.with_name(f".{place.name}.array.json")


def _drop(place: Path) -> None:
    """Remove the work; moved first, so that a straggler finds no folder to write into."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    place.rename(old)
    shutil.rmtree(old, ignore_errors=True)


@cache
def _code() -> str:
    """A hash of varistar's modules: what other code has left is not taken up."""
    digest = hashlib.sha256()
    for file in sorted(Path(varistar.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
