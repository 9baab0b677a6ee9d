"""What a job will take, said before it starts: disk, of which there must be enough, and time, from a short trial."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from varistar.foundation.errors import DataError

from .engine import Engine, as_engine, processes

Item = TypeVar("Item")
Announce = Callable[[str], None]

#: Fewer stars than these are done before a trial is.
WORTH_A_TRIAL = 10_000
TRIAL_PIECES, TRIAL_STARS = 16, 64


def foresee(
    parts: Path,
    items: Sequence[Item],
    stars: int,
    bytes_per_star: int,
    trial: Callable[[Item, int], int],
    engine: Engine | int | None,
    announce: Announce | None,
    unit: str = "star",
) -> None:
    """Refuse a job that the disk cannot hold, and announce what a long one will take; not one that is under way.

    Parameters
    ----------
    parts : the job's folder.
    stars : of all items.
    bytes_per_star : on disk, of the pieces and the result together.
    unit : what `stars` counts.
    trial : does the work for at most so many stars of an item, here and without a trace; returns how many had a result.

    Raises
    ------
    DataError
        When there is too little space where `parts` will stand.
    """
    if parts.exists():
        return
    needed = stars * bytes_per_star
    free = shutil.disk_usage(next(parent for parent in parts.resolve().parents if parent.exists())).free
    if free < needed:
        raise DataError(f"{parts}: {_count(stars, unit)} may need {_size(needed)} there, and {_size(free)} are free")
    if announce is None or stars < WORTH_A_TRIAL:
        return
    work = f"{_count(stars, unit)} in {_count(len(items), 'piece')}; at most {_size(needed)} of disk"
    seconds = _seconds_per_star(items, trial)
    workers = processes(as_engine(engine))
    if seconds is None:
        announce(work)
    elif workers is None:
        announce(f"{work}; about {_duration(seconds * stars)} of one processor")
    else:
        workers = min(workers, len(items))
        announce(f"{work}; about {_duration(seconds * stars / workers)} on {_count(workers, 'worker')}")


def _seconds_per_star(items: Sequence[Item], trial: Callable[[Item, int], int]) -> float | None:
    """The time that one star takes one worker, from a trial of the first of the items of which one has a result."""
    for item in items[:TRIAL_PIECES]:
        if trial(item, 1):  # and what is compiled or loaded on first use, is
            started = time.perf_counter()
            done = trial(item, TRIAL_STARS)
            return (time.perf_counter() - started) / done
    return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
