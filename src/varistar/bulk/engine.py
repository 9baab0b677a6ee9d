"""Many independent pieces of work on an engine, with failures told apart from results.

Each piece is a picklable item and a pure function of it that is safe to repeat; what it writes, it writes atomically.
The engine says only where the work is done: processes of this machine, a Dask cluster, a Ray cluster, or the array of a
batch system. Results do not depend on it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tqdm import tqdm

from varistar.foundation.errors import ConfigError, DataError

from . import local, on_dask, on_ray
from .pieces import Failure, Item, Result
from .slurm import read_share

EngineName = Literal["local", "dask", "ray", "slurm"]


@dataclass(frozen=True)
class Engine:
    """Where work is done.

    Attributes
    ----------
    address : of a running Dask or Ray cluster; None starts one on this machine.
    workers : processes of one thread on this machine; None takes one for each processor. A running cluster has those
        that it has.
    """

    name: EngineName = "local"
    address: str | None = None
    workers: int | None = None


def read_engine(text: str | None, workers: int | None = None) -> Engine:
    """The engine that a user names: `local`, `dask`, `dask@tcp://host:8786`, `ray`, `ray@auto`, `slurm`.

    What is None stands in the environment, as VARISTAR_ENGINE and VARISTAR_WORKERS; without these it is `local` with a
    worker for each processor.

    Raises
    ------
    ConfigError
        When there is no such engine, it takes no address, or the number of workers is none.
    """
    text = text or os.environ.get("VARISTAR_ENGINE") or "local"
    name, at, address = text.partition("@")
    if name not in get_args(EngineName) or (at and not address):
        raise ConfigError(
            f"there is no engine '{text}'; there are local, dask, dask@<address>, ray, ray@<address> and slurm"
        )
    if address and name not in ("dask", "ray"):
        raise ConfigError(f"the engine '{name}' takes no address, but '{address}' was given")
    if workers is None and (stated := os.environ.get("VARISTAR_WORKERS")):
        if not stated.isdecimal():
            raise ConfigError(f"VARISTAR_WORKERS: expected a whole number of workers, not '{stated}'")
        workers = int(stated)
    if workers is not None and workers < 1:
        raise ConfigError(f"the number of workers must be 1 or more, not {workers}")
    return Engine(name, address or None, workers)  # type: ignore[arg-type]


def as_engine(engine: Engine | int | None) -> Engine:
    """An engine as it is; a number of workers, or None, as the environment's engine with as many."""
    return engine if isinstance(engine, Engine) else read_engine(None, engine)


def for_device(engine: Engine | int | None, device: str) -> Engine:
    """The engine, with one process on this machine where work is done on a GPU and nobody says how many share it."""
    engine = as_engine(engine)
    if device == "cuda" and engine.name != "slurm" and engine.address is None and engine.workers is None:
        return replace(engine, workers=1)
    return engine


def processes(engine: Engine) -> int | None:
    """How many workers an engine has; None where only a running cluster knows.

    Raises
    ------
    ConfigError
        When the engine is `slurm` and this is no process of an array.
    """
    if engine.name == "slurm":
        share = read_share()
        return share.count * (engine.workers or share.processors or local.available_processors())
    return None if engine.address else engine.workers or local.available_processors()


def run_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    engine: Engine | int | None = None,
    what: str = "",
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """Apply `function` to every item and yield (item, result or failure) as they finish.

    Parameters
    ----------
    function : a function that workers can import.
    engine : an engine, or a number of workers for that of the environment; see `as_engine`.
    what : shown before the progress bar.

    Notes
    -----
    A `VaristarError` in `function` becomes a `Failure`; another exception does when it comes twice, and so does the
    death of the worker. Who stops iterating stops the work.

    Raises
    ------
    ConfigError
        When the engine cannot be had, or is `slurm`, of whose processes none sees all items.
    """
    engine = as_engine(engine)
    if engine.name == "slurm":
        raise ConfigError(
            "the engine slurm shares out ingest, simulate, transform and predict; choose another for this work"
        )
    with tqdm(total=len(items), desc=what, unit="piece", disable=None) as bar:
        for item, outcome in outcomes(function, items, len(items), engine):
            bar.update()
            yield item, outcome


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    engine: Engine | int | None,
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
    for item, outcome in run_items(function, items, engine, what):
        if isinstance(outcome, Failure):
            raise DataError(f"{where(item)}: {outcome.reason}")
        yield item, outcome


def outcomes(
    function: Callable[[Item], Result], items: Iterable[Item], count: int, engine: Engine
) -> Iterator[tuple[Item, Result | Failure[Item]]]:
    """`run_items` without a progress bar, for `count` items that need not exist at once."""
    if not count:
        return iter(())
    workers = min(engine.workers or local.available_processors(), count)
    if engine.name == "dask":
        return on_dask.outcomes(function, items, workers, engine.address)
    if engine.name == "ray":
        return on_ray.outcomes(function, items, workers, engine.address)
    return local.outcomes(function, items, workers)
