"""Many independent pieces of work on this machine's processes, with failures told apart from results.

Each piece is a picklable item and a pure function of it that is safe to repeat; what it writes, it writes atomically.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from varistar.foundation.errors import VaristarError

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item that gave no result, and why."""

    item: Item
    reason: str


def run_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    what: str = "",
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """Apply `function` to every item and yield (item, result or failure) as they finish.

    Parameters
    ----------
    function : a module-level function; it runs in another process unless `workers` is 1.
    workers : processes; None takes one for each processor. Each is pinned to one thread.
    what : shown before the progress bar.

    Notes
    -----
    An exception in `function` becomes a `Failure`. A worker that dies takes down its pool: the items that were under
    way
    are tried once more, each alone in a pool of its own, so that only the item that kills its worker fails.
    """
    workers = min(workers or available_processors(), max(len(items), 1))
    with tqdm(total=len(items), desc=what, unit="shard", disable=None) as bar:
        outcomes = _in_process(function, items) if workers == 1 else _in_pool(function, items, workers)
        for item, outcome in outcomes:
            bar.update()
            yield item, outcome


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_process(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    for item in items:
        try:
            outcome: Result | Failure[Item] = function(item)
        except Exception as error:
            outcome = Failure(item, _reason(error))
        yield item, outcome


def _in_pool(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    under_way: list[Item] = []
    with _pool(workers) as pool:
        futures = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenProcessPool):
                under_way.append(futures[future])
            else:
                yield futures[future], _outcome(future, futures[future])
    for item in under_way:
        with _pool(1) as pool:
            future = pool.submit(function, item)
            yield item, _outcome(future, item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a fork copies the locks of threads that numba, torch and MLflow may hold.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread)


def _one_thread() -> None:
    """Pin a worker to one thread, before its libraries start their own."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def _outcome(future: Future, item: Item) -> Any:
    error = future.exception()
    return future.result() if error is None else Failure(item, _reason(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its worker process was killed, twice"
    return str(error) if isinstance(error, VaristarError) else f"{type(error).__name__}: {error}"
