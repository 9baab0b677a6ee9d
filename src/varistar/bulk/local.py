"""The local engine: this machine's processes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from .pieces import ONE_THREAD, Failure, Item, Result, attempt, killed, reason_of


def outcomes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """Apply `function` to every item and yield (item, result or failure) as they finish.

    Parameters
    ----------
    function : a module-level function; it runs in other processes unless `workers` is 1.
    workers : processes, each pinned to one thread; one is this process itself.

    Notes
    -----
    A worker that dies takes down its pool: the items that were under way are tried once more, each alone in a pool of
    its own, so that only the item that kills its worker fails; the others go on in a new pool. Who stops iterating
    stops the work.
    """
    if workers == 1:
        for item in items:
            yield item, attempt(function, item)
    else:
        yield from _in_pools(function, iter(items), workers)


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_pools(
    function: Callable[[Item], Result], waiting: Iterator[Item], workers: int
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    while suspects := (yield from _until_a_worker_dies(function, waiting, workers)):
        for item in suspects:
            with _pool(1) as pool:
                yield item, _outcome(_submit(pool, function, item), item)


def _until_a_worker_dies(
    function: Callable[[Item], Result], waiting: Iterator[Item], workers: int
) -> Generator[tuple[Item, Result | Failure[Item]], None, list[Item]]:
    """Work off `waiting` in one pool; returns the items that were under way when a worker died, if one did."""
    under_way: dict[Future, Item] = {}
    suspects: list[Item] = []
    with _pool(workers) as pool:
        try:
            while not suspects:
                # Two for each worker: none has to wait for its next item, and few are lost with a pool.
                while len(under_way) < 2 * workers and not suspects:
                    try:
                        item = next(waiting)
                    except StopIteration:
                        break
                    try:
                        under_way[_submit(pool, function, item)] = item
                    except BrokenProcessPool:
                        suspects.append(item)
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    item = under_way.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(item)
                    else:
                        yield item, _outcome(future, item)
        except BaseException:  # nobody listens any more, or Ctrl-C
            pool.shutdown(cancel_futures=True)
            raise
    return suspects + list(under_way.values())


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=_context(), initializer=_live_with_parent)


def _context() -> BaseContext:
    """How workers are started: forked by a server of this process, which has loaded what this process has, and has run
    nothing.

    Not forked from this process itself, for a fork copies the locks of threads that numba, torch and MLflow may hold;
    and spawned only where there is no such server, for then each worker of each pool takes seconds to load it all.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # heeded by the first pool, which starts the server
    context.set_forkserver_preload([name for name in sys.modules if name.partition(".")[0] == "varistar"])
    return context


def _live_with_parent() -> None:
    """Ctrl-C is for the main process: a worker that it hits between two items may never come to an end. But when the
    main process is killed, its workers must not wait for items for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future:
    """Submit an item. A worker that is started for it inherits its single thread from the environment, since the main
    module, which a worker imports before it can be told anything, may load the libraries that start threads."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        return pool.submit(attempt, function, item)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _outcome(future: Future, item: Item) -> Any:
    error = future.exception()
    if error is None:
        return future.result()
    return killed(item) if isinstance(error, BrokenProcessPool) else Failure(item, reason_of(error))
