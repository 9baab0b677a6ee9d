"""Many independent pieces of work on this machine's processes, with failures told apart from results.

Each piece is a picklable item and a pure function of it that is safe to repeat; what it writes, it writes atomically.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from varistar.foundation.errors import DataError, VaristarError

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
    way are tried once more, each alone in a pool of its own, so that only the item that kills its worker fails; the
    others go on in a new pool. Who stops iterating stops the work.
    """
    workers = min(workers or available_processors(), max(len(items), 1))
    with tqdm(total=len(items), desc=what, unit="shard", disable=None) as bar:
        outcomes = _in_process(function, items) if workers == 1 else _in_pool(function, items, workers)
        for item, outcome in outcomes:
            bar.update()
            yield item, outcome


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    what: str,
    where: Callable[[Item], object],
) -> Iterator[tuple[Item, Result]]:
    """`run_items` for work of which no piece may fail: yields (item, result) as they finish.

    Parameters
    ----------
    where : names an item in the sentence about its failure, by its file say.

    Raises
    ------
    DataError
        At the first failure.
    """
    for item, outcome in run_items(function, items, workers, what):
        if isinstance(outcome, Failure):
            raise DataError(f"{where(item)}: {outcome.reason}")
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
    waiting = deque(items)
    while waiting:
        suspects = yield from _until_a_worker_dies(function, waiting, workers)
        for item in suspects:
            with _pool(1) as pool:
                future = _submit(pool, function, item)
                yield item, _outcome(future, item)


def _until_a_worker_dies(
    function: Callable[[Item], Result], waiting: deque[Item], workers: int
) -> Generator[tuple[Item, Result | Failure[Item]], None, list[Item]]:
    """Work off `waiting` in one pool; returns the items that were under way when a worker died, if one did."""
    under_way: dict[Future, Item] = {}
    suspects: list[Item] = []
    with _pool(workers) as pool:
        try:
            while (waiting or under_way) and not suspects:
                # Two for each worker: none has to wait for its next item, and few are lost with a pool.
                while waiting and len(under_way) < 2 * workers:
                    future = _submit(pool, function, waiting[0])
                    under_way[future] = waiting.popleft()
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    item = under_way.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(item)
                    else:
                        yield item, _outcome(future, item)
        except BrokenProcessPool:  # from the submission of an item, which therefore still waits
            pass
        except BaseException:  # nobody listens any more, or Ctrl-C
            pool.shutdown(cancel_futures=True)
            raise
    return suspects + list(under_way.values())


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: a fork copies the locks of threads that numba, torch and MLflow may hold.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_ctrl_c)


def _leave_ctrl_c() -> None:
    """Ctrl-C is for the main process: a worker that it hits between two items may never come to an end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future:
    """Submit an item. A worker that is started for it inherits its single thread from the environment, since the main
    module, which a worker imports before it can be told anything, may load the libraries that start threads."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        return pool.submit(function, item)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _outcome(future: Future, item: Item) -> Any:
    error = future.exception()
    return future.result() if error is None else Failure(item, _reason(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its worker process was killed, twice"
    return str(error) if isinstance(error, VaristarError) else f"{type(error).__name__}: {error}"
