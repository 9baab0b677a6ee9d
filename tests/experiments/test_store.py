"""The store survives a fan-out on its first day, and a move."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from varistar.experiments import tracking
from varistar.experiments.store import PATH_COLUMNS, client, ensure_store, held, relocate, tracking_uri
from varistar.foundation.errors import DataError, VaristarError

# The processes are forked once MLflow is loaded: that takes seconds each, and would spread them out in time.
FAN_OUT = """
import multiprocessing, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from varistar.experiments.tracking import run

def work(number):
    barrier.wait()
    with run(Path(sys.argv[1]), "fanned", f"worker {number}") as tracked:
        tracked.metrics({"loss": float(number)})

fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(8)
workers = [fork.Process(target=work, args=(number,)) for number in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
sys.exit(sum(worker.exitcode != 0 for worker in workers))
"""

EVERYTHING_QUIET = """
import sys
from pathlib import Path
import varistar.experiments.tracking, varistar.experiments.registry, varistar.experiments.packaging
heavy = {"mlflow", "torch", "pandas", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
from varistar.experiments.store import ensure_store
ensure_store(Path(sys.argv[1]))
"""


def test_eight_processes_on_a_fresh_store_all_succeed(repository, python):
    fan_out = python(FAN_OUT, repository)
    _, errors = fan_out.communicate()
    assert fan_out.returncode == 0, errors
    mlflow_client = client(tracking_uri(repository))
    (experiment,) = (e for e in mlflow_client.search_experiments() if e.name == "fanned")
    runs = mlflow_client.search_runs([experiment.experiment_id])
    assert sorted(run.data.metrics["loss"] for run in runs) == list(range(8))
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_import_is_cheap_and_first_use_is_silent(repository, python):
    worker = python(EVERYTHING_QUIET, repository)
    out, err = worker.communicate()
    assert (worker.returncode, out, err) == (0, "", "")


def test_nothing_is_written_outside_mlruns(repository, tmp_path):
    with tracking.run(repository, "e", "r") as tracked:
        tracked.tags({"a": "b"})
    assert [p.name for p in tmp_path.iterdir()] == ["repository"]
    assert [p.name for p in repository.iterdir()] == ["mlruns"]


@pytest.mark.parametrize("name", ["moved", "with a space", "100% #1"])
def test_a_moved_store_keeps_its_artifacts(stored, tmp_path, name):
    note = tmp_path / "note.txt"
    note.write_text("kept")
    with tracking.run(stored, "varistar", "before") as tracked:
        tracked.file(note, "notes")
    there = tmp_path / name
    shutil.move(stored, there)
    mlflow_client = client(ensure_store(there))
    found = mlflow_client.download_artifacts(tracked.id, "notes/note.txt", str(tmp_path))
    assert Path(found).read_text() == "kept"
    with tracking.run(there, "varistar", "after") as second:
        second.file(note, "notes")
    assert (there / "mlruns" / "artifacts" / "varistar" / second.id / "artifacts" / "notes" / "note.txt").exists()
    assert not stored.exists()


def test_a_copy_does_not_disturb_its_original(stored, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(stored, copy)
    assert relocate(copy) != []
    for root, other in ((stored, copy), (copy, stored)):
        ensure_store(root)
        assert all(location.startswith(f"{root}/mlruns/") for location in _locations(root))
        assert not any(location.startswith(f"{other}/") for location in _locations(root))
    assert relocate(copy) == []


def test_relocate_rewrites_whole_folders_only(stored):
    """A folder whose name merely begins like the old one is not the old one, and a bucket is not a folder."""
    database = stored / "mlruns" / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES"
            " ('a', '/old/mlruns/artifacts/a', 'active'), ('b', '/old/mlruns-of-b/artifacts/b', 'active'),"
            " ('c', 's3://old/mlruns/artifacts/c', 'active')"
        )
    assert "/old/mlruns" in relocate(stored, Path("/old/mlruns"))
    here = str(stored / "mlruns")
    locations = _locations(stored)
    assert f"{here}/artifacts/a" in locations
    assert {"/old/mlruns-of-b/artifacts/b", "s3://old/mlruns/artifacts/c"} <= set(locations)


def test_the_environment_may_name_another_store(repository, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / "runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    assert ensure_store(repository) == f"sqlite:///{elsewhere}"
    assert elsewhere.exists()
    assert not (repository / "mlruns").exists()


def test_a_temporary_experiment_of_dvc_records_to_the_repository_around_it(repository):
    inside = repository / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    inside.mkdir(parents=True)
    assert tracking_uri(inside) == tracking_uri(repository)


def test_a_deleted_experiment_comes_back(stored):
    mlflow_client = client(ensure_store(stored, "e"))
    mlflow_client.delete_experiment(mlflow_client.get_experiment_by_name("e").experiment_id)
    ensure_store(stored, "e")
    assert mlflow_client.get_experiment_by_name("e").lifecycle_stage == "active"


@pytest.mark.parametrize(
    "content", [b"not a database, whatever its name says" * 50, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_damaged_database_is_named(repository, content):
    (repository / "mlruns").mkdir()
    (repository / "mlruns" / "mlflow.db").write_bytes(content)
    with pytest.raises(DataError, match=r"mlruns/mlflow\.db: "):
        ensure_store(repository)


def test_a_database_of_another_version_is_named(stored):
    with sqlite3.connect(stored / "mlruns" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'abcdef'")
    sentence = r"mlflow\.db: MLflow cannot use this store: .*out-of-date"
    with pytest.raises(DataError, match=sentence), tracking.run(stored, "varistar", "r"):
        pass
    with pytest.raises(DataError, match=sentence):
        ensure_store(stored, "another")


def test_a_store_whose_making_was_interrupted_is_made_the_next_time(repository, monkeypatch):
    def interrupted(engine: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.store.db.utils._upgrade_db", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_store(repository)
    assert [path.name for path in (repository / "mlruns").iterdir()] == [".lock"]
    with tracking.run(repository, "e", "r") as tracked:
        pass
    assert client(tracked.uri).get_run(tracked.id).info.status == "FINISHED"


def test_a_folder_that_cannot_be_made_is_named(repository):
    (repository / "mlruns").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"repository/mlruns: cannot be written"):
        ensure_store(repository)


def test_a_held_lock_is_refused_and_errors_inside_pass(tmp_path):
    lock = tmp_path / "lock"
    seen: list[BaseException] = []

    def second() -> None:
        try:
            with held(lock, 0.05, "somebody else is at it"):
                pass
        except VaristarError as error:
            seen.append(error)

    with pytest.raises(OSError, match="of the body"), held(lock, 1.0, "never"):
        other = threading.Thread(target=second)
        other.start()
        other.join()
        raise OSError("of the body")
    assert [str(error) for error in seen] == ["somebody else is at it"]
    second()
    assert len(seen) == 1


def _locations(root: Path) -> list[str]:
    with sqlite3.connect(root / "mlruns" / "mlflow.db") as connection:
        return [row[0] for t, c in PATH_COLUMNS for row in connection.execute(f"SELECT {c} FROM {t}")]
