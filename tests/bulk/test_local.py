"""Items fail alone, and results do not depend on how many workers there are."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import varistar
from varistar.bulk.engine import Failure, run_items
from varistar.bulk.local import available_processors

SOURCE = Path(varistar.__file__).resolve().parent.parent


def test_one_worker_keeps_the_order_and_this_process(pieces: ModuleType) -> None:
    seen: list[int] = []
    assert list(run_items(seen.append, [3, 1, 2], 1)) == [(3, None), (1, None), (2, None)]
    assert seen == [3, 1, 2]


def test_no_items_give_nothing(pieces: ModuleType) -> None:
    assert list(run_items(pieces.square, [], 2)) == []


def test_more_items_than_the_pool_holds_at_once_all_come_back(pieces: ModuleType) -> None:
    assert dict(run_items(pieces.square, range(300), 2)) == {n: n * n for n in range(300)}


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


def test_workers_have_one_thread_each(tmp_path: Path) -> None:
    """Also where the main module, which every worker imports first of all, loads the numeric libraries."""
    (tmp_path / "main.py").write_text(
        """
import json
import numba
import numpy
from threadpoolctl import threadpool_info
from varistar.bulk.engine import run_items

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
