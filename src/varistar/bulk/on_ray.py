"""The Ray engine: a running cluster, or one on this machine.

Workers must see the same files under the same names, and have the same varistar installed.
"""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from varistar.foundation.errors import ConfigError, DataError

from .pieces import ONE_THREAD, Failure, Item, Result, WorkerDied, attempt, work_off

CONNECT_SECONDS = 30
#: Nothing is reported to anybody; no worker is killed for the memory that others take.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def outcomes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, address: str | None
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """Apply `function` to every item and yield (item, result or failure) as they finish; see `work_off`.

    Parameters
    ----------
    workers : processes of one thread, where no address is given.
    address : of the cluster, such as `auto` or `ray://host:10001`.

    Raises
    ------
    ConfigError
        When Ray is not installed, no cluster answers, or its workers are without varistar.
    DataError
        When the cluster is lost on the way.
    """
    with _connected(workers, address) as ray:
        remote = ray.remote(attempt).options(num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD})
        yield from work_off(_RayCluster(ray, remote, function, str(Path.cwd())), iter(items))


@contextmanager
def _connected(workers: int, address: str | None) -> Iterator[Any]:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigError('the engine ray needs Ray, which is missing: pip install "varistar[ray]"') from None
    if ray.is_initialized():  # by who called; it stays so
        yield ray
        return
    try:
        _require_answer(address or "local")
        ray.init(
            address or "local",
            num_cpus=None if address else workers,
            include_dashboard=None if address else False,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"no Ray cluster answers at '{address or 'local'}': {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


@dataclass(frozen=True)
class _RayCluster(Generic[Item, Result]):
    """A Ray cluster for `work_off`."""

    ray: Any
    remote: Any
    function: Callable[[Item], Result]
    working_folder: str

    def workers(self) -> int:
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def start(self, item: Item) -> Any:
        return self.remote.remote(self.function, item, self.working_folder)

    def wait(self, handles: Sequence[Any]) -> Sequence[Any]:
        return self.ray.wait(handles, num_returns=1)[0]

    def outcome(self, handle: Any, item: Item) -> Any:
        errors = self.ray.exceptions
        try:
            return self.ray.get(handle)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            raise WorkerDied from None
        except errors.RayTaskError as error:  # what `attempt` cannot catch: the item or the result did not travel
            if missing := re.search(r"No module named '([^']+)'", str(error)):
                raise ConfigError(
                    f"workers of the Ray cluster have no module '{missing[1]}'; install it there"
                ) from None
            return Failure(item, str(error).strip().splitlines()[-1])
        except errors.RayError as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"the Ray cluster was lost: {reason}; what is done is kept, run the same command again"
            ) from None
