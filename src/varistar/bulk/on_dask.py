"""The Dask engine: a running cluster, or one of processes on this machine.

Workers must see the same files under the same names, and have the same varistar installed.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from varistar.foundation.errors import ConfigError, DataError

from .pieces import ONE_THREAD, Failure, Item, Result, WorkerDied, attempt, reason_of, work_off

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 30
LOCAL_CLUSTER = {
    "distributed.scheduler.allowed-failures": 0,  # which items are tried again is decided here
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    "distributed.worker.multiprocessing-method": "spawn",
}

#: Ctrl-C is for the main process.
LEAVE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


def outcomes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, address: str | None
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """Apply `function` to every item and yield (item, result or failure) as they finish; see `work_off`.

    Parameters
    ----------
    workers : processes of one thread, where no address is given.
    address : of the scheduler, such as `tcp://host:8786`.

    Raises
    ------
    ConfigError
        When Dask is not installed, no scheduler answers, or its workers are missing, of several threads, or without
        varistar.
    DataError
        When the scheduler is lost on the way.
    """
    with _connected(workers, address, function.__module__.partition(".")[0]) as client:
        from distributed.client import FutureCancelledError, FuturesCancelledError

        try:
            yield from work_off(_DaskCluster(client, function, str(Path.cwd())), iter(items))
        except (FutureCancelledError, FuturesCancelledError, OSError):
            raise DataError("the Dask scheduler was lost; what is done is kept, run the same command again") from None


@contextmanager
def _connected(workers: int, address: str | None, package: str) -> Iterator["Client"]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError('the engine dask needs Dask, which is missing: pip install "varistar[dask]"') from None
    with ExitStack() as stack:
        if address is None:
            stack.enter_context(dask.config.set(LOCAL_CLUSTER))
            stack.enter_context(_own_environment())
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    preload=LEAVE_CTRL_C,
                )
            except RuntimeError as error:
                raise DataError(f"the Dask workers could not be started: {str(error).splitlines()[0]}") from None
            stack.enter_context(cluster)
            yield stack.enter_context(Client(cluster))
            return
        try:
            client = stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"no Dask scheduler answers at '{address}': {reason}") from None
        _require_workers(client, address, package)
        yield client


@contextmanager
def _own_environment() -> Iterator[None]:
    """Dask sets what its workers shall inherit in this process, and leaves it there."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in {*ONE_THREAD, "PYTHONHASHSEED"}:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _require_workers(client: "Client", address: str, package: str) -> None:
    """Workers must have the package of the work, and one thread, for its kernels are not safe in several."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise ConfigError(f"the Dask cluster at {address} has no workers") from None
    if (most := max(client.nthreads().values())) > 1:
        raise ConfigError(f"the Dask cluster at {address} has workers of {most} threads; start them with --nthreads 1")
    for name in {package, __name__.partition(".")[0]}:
        found = client.run(importlib.util.find_spec, name, on_error="return").values()
        if any(spec is None or isinstance(spec, Exception) for spec in found):
            raise ConfigError(f"workers of the Dask cluster at {address} have no module '{name}'; install it there")


@dataclass(frozen=True)
class _DaskCluster(Generic[Item, Result]):
    """A Dask cluster for `work_off`."""

    client: "Client"
    function: Callable[[Item], Result]
    working_folder: str

    def workers(self) -> int:
        return max(1, len(self.client.nthreads()))

    def start(self, item: Item) -> "Future":
        return self.client.submit(attempt, self.function, item, self.working_folder, pure=False)

    def wait(self, handles: Sequence["Future"]) -> Sequence["Future"]:
        from distributed import wait

        return list(wait(handles, return_when="FIRST_COMPLETED").done)

    def outcome(self, handle: "Future", item: Item) -> Any:
        from distributed import KilledWorker

        error = handle.exception()
        if error is None:
            return handle.result()
        if isinstance(error, KilledWorker):
            raise WorkerDied from None
        return Failure(item, reason_of(error))
