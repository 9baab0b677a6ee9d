"""Clusters that several tests share, and work for them."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

# Workers import what they run, so it stands in a module of its own.
PIECES = '''
"""Pieces of work for a pool."""

import os
import signal
import time
from pathlib import Path

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path


def square(number):
    return number * number


def nothing(number):
    return None


def picky(number):
    if number == 3:
        raise DataError("three.parquet: row 3: expected another number")
    if number == 5:
        raise KeyError("five")
    return -number


def moody(path):
    """Fails the first time."""
    path = Path(path)
    with path.open("a") as marks:
        print("tried", file=marks)
    if len(path.read_text().split()) == 1:
        raise OSError("the file system is away")
    return path.name


def killed(path):
    """Leave the worker's number, and be killed if the name asks for it: the first time, or every time."""
    path = Path(path)
    with path.open("a") as marks:
        print(os.getpid(), file=marks)
    if path.name == "always" or (path.name == "once" and len(path.read_text().split()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def here(name):
    """Where a relative path leads, and the threads that the numeric libraries take."""
    import numba
    import numpy
    from threadpoolctl import threadpool_info

    threads = {pool["num_threads"] for pool in threadpool_info()} | {numba.get_num_threads()}
    return str(Path(name).resolve()), sorted(threads)


def slowly(path):
    time.sleep(0.1)
    Path(path).touch()


def unpicklable(number):
    return lambda: number


def write(item, target):
    """A piece of a job: notes in `log` that it was done, and writes a file; says where it fails."""
    number, log, seconds = item
    with Path(log).open("a") as notes:
        print(number, file=notes)
    time.sleep(seconds)
    if Path(log).with_name(f"fail-{number}").exists():
        raise RuntimeError(f"piece {number}\\nis bad")
    with atomic_path(target.with_name(f"{target.name}.txt")) as temporary:
        temporary.write_text(f"{number ** 3}\\n")
    return {"number": number}
'''


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "pieces_of_work.py").write_text(PIECES)
    before = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), before])))
        yield importlib.import_module("pieces_of_work")
    del sys.modules["pieces_of_work"]


@pytest.fixture(scope="session")
def dask_address(pieces: ModuleType) -> Iterator[str]:
    """A running Dask cluster of two workers, which does not blame items for their workers at once."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def running_ray(pieces: ModuleType) -> Iterator[None]:
    """A running Ray of two workers, to which this process is connected."""
    ray = pytest.importorskip("ray")
    from varistar.bulk.on_ray import QUIET

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        ray.init("local", num_cpus=2, include_dashboard=False, logging_level=logging.CRITICAL, log_to_driver=False)
        yield
        ray.shutdown()
