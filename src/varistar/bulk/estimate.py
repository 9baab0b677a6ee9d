"""What a job will take, said before it starts: disk, of which it must have enough, and time, from a short trial."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from varistar.foundation.errors import DataError

from .engine import Engine, processes

Item = TypeVar("Item")

TRIAL_PIECES, TRIAL_STARS = 16, 64


def require_disk(output: Path, stars: int, bytes_per_star: int) -> None:
    """Refuse work whose results the disk cannot hold.

    Raises
    ------
    DataError
        When there is too little space where `output` will stand.
    """
    folder = next(parent for parent in output.resolve().parents if parent.exists())
    needed, free = stars * bytes_per_star, shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{output}: {stars} stars need about {_size(needed)} there, and {_size(free)} are free")


def estimate(
    items: Sequence[Item], stars: int, bytes_per_star: int, trial: Callable[[Item, int], int], engine: Engine
) -> str:
    """What a job will take, in a sentence.

    Parameters
    ----------
    stars : of all items.
    trial : does the work for at most so many stars of an item, here and without a trace; returns how many it did.
    """
    sentence = f"{stars} stars in {len(items)} pieces; at most {_size(stars * bytes_per_star)} of disk"
    seconds = _seconds_per_star(items, trial)
    if seconds is None:
        return sentence
    workers = processes(engine)
    if workers is None:
        return f"{sentence}; about {_duration(seconds * stars)} of one processor"
    workers = min(workers, len(items))
    return f"{sentence}; about {_duration(seconds * stars / workers)} on {workers} worker{'s'[: workers - 1]}"


def _seconds_per_star(items: Sequence[Item], trial: Callable[[Item, int], int]) -> float | None:
    """The time that one star takes one worker, from a trial of the first of the items that has any."""
    for item in items[:TRIAL_PIECES]:
        if trial(item, 1):  # and what is compiled or loaded on first use, is
            started = time.perf_counter()
            done = trial(item, TRIAL_STARS)
            return (time.perf_counter() - started) / done
    return None


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
