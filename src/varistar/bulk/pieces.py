"""What every engine shares: how an item is tried, what becomes of it, and how a cluster is kept busy."""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from varistar.foundation.errors import VaristarError

Item = TypeVar("Item")
Result = TypeVar("Result")
Handle = TypeVar("Handle", bound=Hashable)

#: Kernels and linear algebra read these when they are loaded; a worker has one thread.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Failure(Generic[Item]):
    """An item that gave no result, and why."""

    item: Item
    reason: str


def attempt(
    function: Callable[[Item], Result], item: Item, working_folder: str | None = None
) -> Result | Failure[Item]:
    """Apply `function` to an item, in the worker; an exception becomes a `Failure`.

    A `VaristarError` would come again and fails at once; anything else, a file system that did not answer say, is tried
    once more. In `working_folder` relative paths mean what they mean to who asked.
    """
    try:
        with contextlib.chdir(working_folder) if working_folder else contextlib.nullcontext():
            try:
                return function(item)
            except VaristarError:
                raise
            except Exception:
                return function(item)
    except Exception as error:
        return Failure(item, reason_of(error))


def reason_of(error: BaseException) -> str:
    """An exception as the reason of a failure."""
    return str(error) if isinstance(error, VaristarError) else f"{type(error).__name__}: {error}"


def killed(item: Item) -> Failure[Item]:
    """The outcome of an item that took down its worker a second time."""
    return Failure(item, "its worker process was killed, twice")


class WorkerDied(Exception):
    """An item has no outcome, since its worker died."""


class Cluster(Protocol[Handle]):
    """Workers elsewhere, as `work_off` sees them."""

    def workers(self) -> int:
        """How many there are now."""

    def start(self, item: Any) -> Handle:
        """Send an item to a worker."""

    def wait(self, handles: Sequence[Handle]) -> Sequence[Handle]:
        """Those of them that are done, at least one."""

    def outcome(self, handle: Handle, item: Any) -> Any:
        """The result or `Failure` of an item that is done; raises `WorkerDied` where that is why there is none."""


def work_off(cluster: Cluster[Handle], items: Iterator[Item]) -> Iterator[tuple[Item, Any]]:
    """Yield (item, result or failure) as they finish, with two items for each worker under way.

    A worker that dies may take down innocent items with the one that killed it. They are tried again at the end, each
    alone, so that only an item that kills its worker twice fails.
    """
    under_way: dict[Handle, Item] = {}
    suspects: list[Item] = []
    while True:
        # Two for each worker: none has to wait for its next item, and memory does not grow with the number of items.
        for item in islice(items, max(0, 2 * cluster.workers() - len(under_way))):
            under_way[cluster.start(item)] = item
        if not under_way:
            break
        for handle in cluster.wait(list(under_way)):
            item = under_way.pop(handle)
            try:
                outcome = cluster.outcome(handle, item)
            except WorkerDied:
                suspects.append(item)
            else:
                yield item, outcome
    for item in suspects:
        yield item, _alone(cluster, item)


def _alone(cluster: Cluster[Handle], item: Item) -> Any:
    handle = cluster.start(item)
    cluster.wait([handle])
    try:
        return cluster.outcome(handle, item)
    except WorkerDied:
        return killed(item)
