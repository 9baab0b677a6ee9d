"""A job is done once, piece by piece, however often it is interrupted and wherever it runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

from varistar.bulk.engine import Engine
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.foundation.errors import ConfigError, DataError

RunJob = Callable[..., str | None]


def join(done: Iterator[Done]) -> str:
    """The content of all pieces, in their order."""
    return "".join(f"{one['number']} {target.with_name(f'{target.name}.txt').read_text()}" for target, one in done)


def joined(count: int) -> str:
    return "".join(f"{n} {n**3}\n" for n in range(count))


@pytest.fixture
def job(pieces: ModuleType, tmp_path: Path) -> RunJob:
    """A function that runs a job of `count` pieces in `tmp_path/work`."""

    def run(engine: Engine | int = 1, count: int = 12, key: dict[str, Any] | None = None, **more: Any) -> str | None:
        items = [(n, str(tmp_path / "log"), 0.0) for n in range(count)]
        return run_job(pieces.write, items, tmp_path / "work", key or {"a": 1}, join, engine, where=_name, **more)

    return run


def _name(item: tuple[int, str, float]) -> str:
    return f"item {item[0]}"


def log(folder: Path) -> list[int]:
    """The pieces that were done, in the order in which they were begun."""
    return [int(line) for line in (folder / "log").read_text().split()]


@pytest.mark.parametrize("name", ["local", "dask", "ray"])
def test_the_pieces_are_joined_in_order_and_cleared_up(
    job: RunJob, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    address = request.getfixturevalue("dask_address") if name == "dask" else None
    if name == "ray":
        request.getfixturevalue("running_ray")
    for workers in (1, 2):
        assert job(Engine(name, address, workers)) == joined(12)  # type: ignore[arg-type]
        assert {path.name for path in tmp_path.glob("[!.]*")} == {"log"}
    assert sorted(log(tmp_path)) == sorted([*range(12)] * 2)


def test_no_pieces_are_joined_too(job: RunJob) -> None:
    assert job(count=0) == ""


def test_failures_are_listed_and_only_they_are_done_again(job: RunJob, tmp_path: Path) -> None:
    for number in (3, 7):
        (tmp_path / f"fail-{number}").touch()
    with pytest.raises(DataError) as error:
        job(2)
    assert str(error.value) == (
        f"2 of 12 pieces failed, first item 3: RuntimeError: piece 3 is bad; the others are kept in "
        f"{tmp_path / 'work'}, where failed.json lists the failed; run the same command again to go on"
    )
    listed = json.loads((tmp_path / "work" / "failed.json").read_text())
    assert listed == {str(n): f"item {n}: RuntimeError: piece {n} is bad" for n in (3, 7)}
    assert sorted(log(tmp_path)) == sorted([*range(12), 3, 7]), "what fails is tried once more"
    (tmp_path / "log").unlink()
    (tmp_path / "fail-3").unlink()
    with pytest.raises(DataError, match=r"^1 of 12 pieces failed, first item 7: "):
        job()
    assert json.loads((tmp_path / "work" / "failed.json").read_text()).keys() == {"7"}
    (tmp_path / "fail-7").unlink()
    assert job() == joined(12)
    assert log(tmp_path) == [3, 7, 7, 7]


def test_another_key_begins_anew(job: RunJob, tmp_path: Path) -> None:
    (tmp_path / "fail-3").touch()
    with pytest.raises(DataError):
        job(key={"cut": [1, 2]})
    (tmp_path / "fail-3").unlink()
    (tmp_path / "log").unlink()
    assert job(key={"cut": (1, 3)}) == joined(12)
    assert log(tmp_path) == [*range(12)]


def test_what_a_straggler_of_another_key_writes_is_not_taken(job: RunJob, pieces: ModuleType, tmp_path: Path) -> None:
    """A worker of a cluster may still be at a piece when its job was killed, and given again with another key."""
    (tmp_path / "fail-3").touch()
    with pytest.raises(DataError):
        job(key={"a": 1})
    (old,) = (path for path in (tmp_path / "work").iterdir() if path.is_dir())
    with pytest.raises(DataError):
        job(key={"a": 2})
    old.mkdir()
    (old / "00003.txt").write_text("wrong\n")
    (old / "00003.done.json").write_text('{"number": 3}')
    (tmp_path / "fail-3").unlink()
    assert job(key={"a": 2}) == joined(12)
    (tmp_path / "work" / old.name).mkdir(parents=True)  # and after the end
    assert job(key={"a": 1}) == joined(12)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("with_key", [False, True])
def test_a_folder_that_holds_something_else_is_left_alone(job: RunJob, with_key: bool, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("mine")
    if with_key:
        (tmp_path / "work" / "key.json").write_text("{}")
    with pytest.raises(DataError, match=r"work: needed for the work, but holds something else; name another output"):
        job()
    assert (tmp_path / "work" / "thesis.tex").read_text() == "mine"
    assert not (tmp_path / "log").exists()


def test_a_join_that_fails_keeps_the_work(job: RunJob, pieces: ModuleType, tmp_path: Path) -> None:
    def full(done: Iterator[Done]) -> str:
        raise DataError("the disk is full")

    items = [(n, str(tmp_path / "log"), 0.0) for n in range(12)]
    with pytest.raises(DataError, match="the disk is full"):
        run_job(pieces.write, items, tmp_path / "work", {"a": 1}, full, 1)
    assert job() == joined(12)
    assert log(tmp_path) == [*range(12)]


def test_two_at_the_same_work(job: RunJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varistar.bulk.job._LOCK_SECONDS", 0.1)
    with (
        FileLock(tmp_path / ".work.lock"),
        pytest.raises(DataError, match=r"work: another process is at this work; wait for it"),
    ):
        job()


def test_a_file_in_the_way(pieces: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"work: cannot be written"):
        run_job(pieces.write, [], tmp_path / "file" / "work", {}, join, 1)


def test_workers_that_do_not_see_the_folder(job: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(function: Any, calls: Any, count: int, engine: Engine) -> Iterator[Any]:
        return ((call, None) for call in calls)

    monkeypatch.setattr("varistar.bulk.job.outcomes", elsewhere)
    with pytest.raises(DataError, match="lacks what workers wrote; they must share its file system"):
        job()


def test_the_fingerprint_tells_names_sizes_and_times(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text("one")
    before = fingerprint(files)
    assert fingerprint(files) == before
    assert fingerprint(files[::-1]) != before
    os.utime(files[1], ns=(1, 1))
    assert fingerprint(files) != before


# Death

MAIN = """
import sys
from pathlib import Path
from pieces_of_work import write
from varistar.bulk.engine import read_engine
from varistar.bulk.job import run_job

def join(done):
    return "".join(f"{one['number']} {target.with_name(target.name + '.txt').read_text()}" for target, one in done)

if __name__ == "__main__":
    engine, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    items = [(n, str(Path("log").resolve()), seconds) for n in range(count)]
    print(run_job(write, items, Path("work"), {"a": 1}, join, read_engine(engine, 2)), end="")
"""


def start(folder: Path, engine: str, count: int, seconds: float, **environment: str) -> subprocess.Popen:
    if not (folder / "main.py").exists():  # another process may be reading it
        (folder / "main.py").write_text(MAIN)
    return subprocess.Popen(
        [sys.executable, "main.py", engine, str(count), str(seconds)],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("name", ["local", "dask", "ray"])
def test_a_killed_job_goes_on_where_it_stopped(job: RunJob, name: str, tmp_path: Path) -> None:
    process = start(tmp_path, name, 40, 0.1)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("work/*/*.done.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in _session(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    marked = {int(path.name[:5]) for path in tmp_path.glob("work/*/*.done.json")}
    assert 5 <= len(marked) < 30
    (tmp_path / "log").unlink()
    assert job(count=40) == joined(40)
    assert log(tmp_path) == [n for n in range(40) if n not in marked]


def _session(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = (folder / "stat").read_text().rsplit(")", 1)[1].split()[3]
        except OSError:
            continue
        if int(own) == session:
            found.append(int(folder.name))
    return found


def _array(task: int, count: int = 3) -> dict[str, str]:
    numbers = {"ID": task, "MIN": 1, "MAX": 2 * count - 1, "STEP": 2, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(n) for name, n in numbers.items()} | {
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_CPUS_PER_TASK": "1",
        "VARISTAR_WORKERS": "1",
    }


def test_an_array_of_processes_joins_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, "slurm", 20, 0.02, **_array(task)) for task in (1, 3, 5)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, answers
    assert sorted(out for out, _ in answers) == sorted([joined(20), "None", "None"])
    assert sorted(log(tmp_path)) == [*range(20)]
    assert not (tmp_path / "work").exists()


def test_a_process_that_comes_when_its_array_has_finished(
    job: RunJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(task: int) -> str | None:
        for name, value in _array(task).items():
            monkeypatch.setenv(name, value)
        return job(Engine("slurm", workers=1), count=2)

    assert process(1) is None
    assert log(tmp_path) == [0]
    assert process(3) == joined(2)
    assert process(5) is None, "there is nothing left of it"
    assert log(tmp_path) == [0, 1]
    assert not (tmp_path / "work").exists()
    assert job(count=2) == joined(2), "who asks again without an array, gets it again"


def test_failures_in_an_array(job: RunJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 4):
        (tmp_path / f"fail-{number}").touch()
    for task, said in ((1, "first item 3"), (3, "first item 4")):
        for name, value in _array(task).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(DataError, match=said):
            job(Engine("slurm"))
    assert json.loads((tmp_path / "work" / "failed.json").read_text()).keys() == {"3", "4"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SLURM_ARRAY_TASK_COUNT": ""}, "needs a job array .*SLURM_ARRAY_TASK_COUNT is not set"),
        ({"SLURM_ARRAY_TASK_ID": "2"}, "in equal steps .*this is process 2 of 3 from 1 in steps of 2"),
        ({"SLURM_ARRAY_TASK_ID": "9"}, "in equal steps"),
    ],
)
def test_no_array(job: RunJob, changes: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (_array(1) | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        job(Engine("slurm"))
