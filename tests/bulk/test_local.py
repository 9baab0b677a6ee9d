"""Items fail alone, and results do not depend on how many workers there are."""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import varistar
from varistar.bulk.local import Failure, available_processors, run_items

SOURCE = Path(varistar.__file__).resolve().parent.parent

# Workers import what they run, so it stands in a module of its own.
PIECES = '''
"""Pieces of work for a pool."""

import os
import signal
import time
from pathlib import Path

from varistar.foundation.errors import DataError


def square(number):
    return number * number


def picky(number):
    if number == 3:
        raise DataError("three.parquet: row 3: expected another number")
    if number == 5:
        raise KeyError("five")
    return -number


def killed(path):
    """Leave the worker's number, and be killed if the name asks for it: the first time, or every time."""
    path = Path(path)
    with path.open("a") as marks:
        print(os.getpid(), file=marks)
    if path.name == "always" or (path.name == "once" and len(path.read_text().split()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def slowly(path):
    time.sleep(0.1)
    Path(path).touch()


def unpicklable(number):
    return lambda: number
'''


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "pieces_of_work.py").write_text(PIECES)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("pieces_of_work")
    del sys.modules["pieces_of_work"]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_with_its_own_outcome(pieces: ModuleType, workers: int) -> None:
    outcomes = list(run_items(pieces.picky, range(8), workers))
    assert sorted(item for item, _ in outcomes) == list(range(8))
    by_item = dict(outcomes)
    assert by_item.pop(3) == Failure(3, "three.parquet: row 3: expected another number")
    assert by_item.pop(5) == Failure(5, "KeyError: 'five'")
    assert by_item == {item: -item for item in (0, 1, 2, 4, 6, 7)}


def test_one_worker_keeps_the_order_and_this_process(pieces: ModuleType) -> None:
    seen: list[int] = []
    assert list(run_items(seen.append, [3, 1, 2], 1)) == [(3, None), (1, None), (2, None)]
    assert seen == [3, 1, 2]


def test_no_items_give_nothing(pieces: ModuleType) -> None:
    assert list(run_items(pieces.square, [], 2)) == []


def test_more_items_than_the_pool_holds_at_once_all_come_back(pieces: ModuleType) -> None:
    assert dict(run_items(pieces.square, range(300), 2)) == {n: n * n for n in range(300)}


def test_equal_items_are_worked_on_each(pieces: ModuleType) -> None:
    assert list(run_items(pieces.square, [4, 4, 4], 2)) == [(4, 16)] * 3


def test_a_result_that_cannot_travel_is_a_failure(pieces: ModuleType) -> None:
    (_, first), (_, second) = run_items(pieces.unpicklable, [1, 2], 2)
    assert isinstance(first, Failure) and isinstance(second, Failure)
    assert "pickle" in first.reason


def test_an_item_that_kills_its_worker_fails_alone(pieces: ModuleType, tmp_path: Path) -> None:
    names = [f"fine-{n}" for n in range(60)]
    names[2:2] = ["always"]
    names[30:30] = ["once"]
    outcomes = dict(run_items(pieces.killed, [str(tmp_path / name) for name in names], 2))
    failed = {Path(item).name: outcome for item, outcome in outcomes.items() if isinstance(outcome, Failure)}
    assert failed.keys() == {"always"}
    assert failed["always"].reason == "its worker process was killed, twice"
    assert {outcome for outcome in outcomes.values() if isinstance(outcome, str)} == {*names} - {"always"}
    workers = {name: (tmp_path / name).read_text().split() for name in names}
    assert len(workers["always"]) == 2, "it is tried once more, and no oftener"
    assert len(workers["once"]) in (2, 3), "it may have been under way when the other one died"
    # What had not begun when a worker died is worked off together: three pools of two, and a few items alone.
    assert len({worker for tried in workers.values() for worker in tried}) <= 3 * 2 + 2 * 4


def test_who_stops_listening_stops_the_work(pieces: ModuleType, tmp_path: Path) -> None:
    items = [str(tmp_path / f"done-{n}") for n in range(40)]
    for _item, _outcome in run_items(pieces.slowly, items, 2):
        break
    done = len(list(tmp_path.glob("done-*")))
    assert 1 <= done <= 10


def test_ctrl_c_stops_the_work_and_leaves_nobody_behind(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        """
import time
from varistar.bulk.local import run_items

def slowly(item):
    time.sleep(0.1)

if __name__ == "__main__":
    done = 0
    try:
        for _ in run_items(slowly, range(600), 2):
            done += 1
            if done == 3:
                print("ready", flush=True)
    except KeyboardInterrupt:
        print(done)
"""
    )
    process = subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    answer, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    assert int(answer) < 60


def test_workers_have_one_thread_each(tmp_path: Path) -> None:
    """Also where the main module, which every worker imports first of all, loads the numeric libraries."""
    (tmp_path / "main.py").write_text(
        """
import json
import numba
import numpy
from threadpoolctl import threadpool_info
from varistar.bulk.local import run_items

def threads(item):
    return [pool["num_threads"] for pool in threadpool_info()] + [numba.get_num_threads()]

if __name__ == "__main__":
    import os
    os.environ.pop("OMP_NUM_THREADS", None)
    before = dict(os.environ)
    print(json.dumps([outcome for _, outcome in run_items(threads, [1, 2], 2)]))
    assert dict(os.environ) == before
"""
    )
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for threads in json.loads(done.stdout):
        assert len(threads) > 1
        assert set(threads) == {1}


def test_the_processors_are_those_this_process_may_use() -> None:
    assert available_processors() >= 1
