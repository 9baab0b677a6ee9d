"""Every engine gives the same outcomes: results do not depend on where work is done, and an item fails alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from varistar.bulk import engine as module
from varistar.bulk import on_ray
from varistar.bulk.engine import Engine, Failure, as_engine, processes, read_engine, run_all, run_items
from varistar.foundation.errors import ConfigError, DataError


@pytest.fixture(params=["in this process", "local", "dask", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "dask":
        return Engine("dask", address=request.getfixturevalue("dask_address"))
    if request.param == "ray":
        request.getfixturevalue("running_ray")
        return Engine("ray", workers=2)
    return Engine("local", workers=1 if request.param == "in this process" else 2)


def test_every_item_comes_with_its_own_outcome(pieces: ModuleType, engine: Engine) -> None:
    outcomes = list(run_items(pieces.picky, range(40), engine))
    assert sorted(item for item, _ in outcomes) == list(range(40))
    by_item = dict(outcomes)
    assert by_item.pop(3) == Failure(3, "three.parquet: row 3: expected another number")
    assert by_item.pop(5) == Failure(5, "KeyError: 'five'")
    assert by_item == {item: -item for item in range(40) if item not in (3, 5)}


def test_nothing_is_a_result_too(pieces: ModuleType, engine: Engine) -> None:
    assert sorted(run_items(pieces.nothing, range(5), engine)) == [(n, None) for n in range(5)]


def test_equal_items_are_worked_on_each(pieces: ModuleType, engine: Engine) -> None:
    assert list(run_items(pieces.square, [4, 4, 4], engine)) == [(4, 16)] * 3


def test_the_environment_stays_as_it_was(pieces: ModuleType, engine: Engine) -> None:
    """What workers shall inherit is theirs alone."""
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    assert len(list(run_items(pieces.square, [2, 3], engine))) == 2
    assert {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} == before


def test_bad_luck_gets_a_second_chance(pieces: ModuleType, engine: Engine, tmp_path: Path) -> None:
    items = [str(tmp_path / name) for name in "abc"]
    assert sorted(run_items(pieces.moody, items, engine)) == [(item, item[-1]) for item in items]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"tried\n" * 2}


def test_a_relative_path_and_one_thread(
    pieces: ModuleType, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _, (path, threads) in run_items(pieces.here, ["store", "store"], engine):
        assert path == str(tmp_path / "store")
        if engine.workers != 1 and engine.address is None:
            assert threads == [1]


def test_an_item_that_kills_its_worker_fails_alone(pieces: ModuleType, engine: Engine, tmp_path: Path) -> None:
    if engine.workers == 1:
        pytest.skip("it would kill this process")
    names = [f"fine-{n}" for n in range(20)]
    names[2:2] = ["always"]
    names[15:15] = ["once"]
    outcomes = dict(run_items(pieces.killed, [str(tmp_path / name) for name in names], engine))
    failed = {Path(item).name: outcome for item, outcome in outcomes.items() if isinstance(outcome, Failure)}
    assert failed.keys() == {"always"}
    assert failed["always"].reason == "its worker process was killed, twice"
    assert {outcome for outcome in outcomes.values() if isinstance(outcome, str)} == {*names} - {"always"}


def test_who_stops_listening_stops_the_work(pieces: ModuleType, engine: Engine, tmp_path: Path) -> None:
    for _ in run_items(pieces.slowly, [str(tmp_path / f"done-{n}") for n in range(40)], engine):
        break
    time.sleep(0.5)
    assert 1 <= len(list(tmp_path.glob("done-*"))) <= 10


def test_items_are_asked_for_as_they_are_needed(pieces: ModuleType, engine: Engine) -> None:
    """So that memory does not grow with their number."""
    asked = []
    items = (asked.append(n) or n for n in range(1000))  # type: ignore[func-returns-value]
    for done, _ in enumerate(module.outcomes(pieces.square, items, 1000, engine)):
        assert len(asked) <= done + 2 * 2 + 2
        if done == 20:
            break


def test_no_piece_may_fail(pieces: ModuleType, engine: Engine) -> None:
    with pytest.raises(DataError, match=r"^item 3: three\.parquet: row 3: expected another number$"):
        list(run_all(pieces.picky, [1, 2, 3, 4], engine, "", lambda item: f"item {item}"))
    assert sorted(run_all(pieces.picky, [1, 2], engine, "", str)) == [(1, -1), (2, -2)]


MAIN = """
import sys
from pieces_of_work import slowly
from varistar.bulk.engine import Engine, run_items

if __name__ == "__main__":
    done = 0
    try:
        for _ in run_items(slowly, [f"done-{n}" for n in range(600)], Engine(sys.argv[1], workers=2)):
            done += 1
            if done == 3:
                print("ready", flush=True)
    except KeyboardInterrupt:
        print(done)
"""


@pytest.mark.parametrize("name", ["local", "dask", "ray"])
def test_ctrl_c_or_death_leaves_nobody_behind(pieces: ModuleType, name: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    # Ray's own daemons see to it that they follow a driver that is killed, some of them after a while.
    for number in (signal.SIGINT,) if name == "ray" else (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            [sys.executable, "main.py", name],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: to the workers too
        else:
            process.kill()
        answer, errors = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert (process.returncode, "Traceback" in errors) == (0, False), errors
            assert int(answer) < 60
        assert _gone(process.pid, seconds=20), [_command(pid) for pid in _session(process.pid)]


def _gone(session: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _session(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not _session(session)


def _session(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(folder.name))
    return found


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize(
    ("text", "workers", "engine"),
    [
        (None, None, Engine()),
        ("local", 3, Engine("local", None, 3)),
        ("dask", None, Engine("dask")),
        ("dask@tcp://host:8786", None, Engine("dask", "tcp://host:8786")),
        ("ray@auto", None, Engine("ray", "auto")),
        ("ray@ray://host:10001", 2, Engine("ray", "ray://host:10001", 2)),
        ("slurm", None, Engine("slurm")),
    ],
)
def test_engines_by_name(
    text: str | None, workers: int | None, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VARISTAR_ENGINE", raising=False)
    monkeypatch.delenv("VARISTAR_WORKERS", raising=False)
    assert read_engine(text, workers) == engine
    if text is not None:
        monkeypatch.setenv("VARISTAR_ENGINE", text)
        assert read_engine(None, workers) == as_engine(workers) == engine
    monkeypatch.setenv("VARISTAR_WORKERS", "5")
    assert read_engine(text, workers).workers == (workers or 5)


def test_an_engine_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARISTAR_ENGINE", "dask")
    assert as_engine(Engine("ray", "auto")) == Engine("ray", "auto")


@pytest.mark.parametrize(
    ("text", "workers", "said"),
    [
        ("spark", None, "there is no engine 'spark'; there are local, dask"),
        ("dask@", None, "there is no engine 'dask@'"),
        ("local@host", None, "the engine 'local' takes no address, but 'host' was given"),
        ("slurm@host", None, "the engine 'slurm' takes no address"),
        ("local", 0, "the number of workers must be 1 or more, not 0"),
    ],
)
def test_what_is_no_engine(text: str, workers: int | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_engine(text, workers)


def test_a_wrong_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARISTAR_WORKERS", "many")
    with pytest.raises(ConfigError, match="VARISTAR_WORKERS: expected a whole number of workers, not 'many'"):
        read_engine(None)


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_missing(
    pieces: ModuleType, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf'which is missing: pip install "varistar\[{name}\]"'):
        list(run_items(pieces.square, [1, 2], read_engine(name, 2)))


def test_an_array_of_processes_that_each_see_a_part(pieces: ModuleType) -> None:
    with pytest.raises(ConfigError, match="the engine slurm shares out ingest, simulate, transform and predict"):
        list(run_items(pieces.square, [1, 2], Engine("slurm")))


def test_nobody_answers(pieces: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varistar.bulk.on_dask.CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9': "):
        list(run_items(pieces.square, [1], read_engine("dask@tcp://127.0.0.1:9")))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_nobody_answers_for_ray(pieces: ModuleType, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have running
    with pytest.raises(ConfigError, match=rf"no Ray cluster answers at '{address}': .*refused"):
        list(run_items(pieces.square, [1], read_engine(f"ray@{address}")))


def test_workers_of_several_threads(pieces: ModuleType) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None) as cluster,
        pytest.raises(ConfigError, match="has workers of 3 threads; start them with --nthreads 1"),
    ):
        list(run_items(pieces.square, [1], Engine("dask", cluster.scheduler_address)))


@pytest.mark.parametrize("fixture", ["dask_address", "running_ray"])
def test_workers_that_lack_a_module(
    pieces: ModuleType, fixture: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = request.getfixturevalue(fixture)
    (tmp_path / "only_here.py").write_text("def same(item):\n    return item\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    engine = Engine("dask", given) if given else Engine("ray", workers=2)
    with pytest.raises(ConfigError, match="have no module 'only_here'; install it there"):
        list(run_items(only_here.same, [1, 2], engine))


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varistar.bulk.local.available_processors", lambda: 7)
    assert processes(Engine()) == processes(Engine("dask")) == 7
    assert processes(Engine("ray", workers=3)) == 3
    assert processes(Engine("ray", "auto", 3)) is None
    for name, value in {"ID": 4, "MIN": 0, "COUNT": 5}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert processes(Engine("slurm")) == 40
    assert on_ray.QUIET["RAY_USAGE_STATS_ENABLED"] == "0"
