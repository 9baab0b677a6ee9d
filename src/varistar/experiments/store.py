"""The MLflow store of a repository: where it lies, how it is made, and how it moves.

It is `mlruns/` at the root of the repository, a SQLite database with the artifacts beside it, unless
MLFLOW_TRACKING_URI names another. Two traps of MLflow are closed here:

- processes that open a fresh database at once destroy it, so it is made under a file lock;
- MLflow stores absolute paths, so a moved folder loses its artifacts. Each experiment remembers the folder its paths
  were written for; when the database no longer lies there, the four columns of paths are rewritten.

MLflow is imported inside the functions: it costs a second, which `--help` and data stages must not pay.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from varistar.foundation.errors import DataError, VaristarError
from varistar.foundation.files import atomic_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "varistar"
DATABASE = "mlflow.db"
LOCK_SECONDS = 120.0

# The experiment's tag that remembers the folder its paths were written for.
FOLDER_TAG = "varistar.folder"

# Every column in which MLflow 3 stores an absolute path.
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)

# Only where the user has not chosen: no telemetry, no look-ups, no chatter.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}


def ensure_store(root: Path, experiment: str = EXPERIMENT) -> str:
    """Make the store and the experiment where they are missing, put moved paths right, and return the tracking URI.

    Where all is in order this costs a look into the database, without MLflow and without the lock.

    Raises
    ------
    DataError
        When the store is damaged, not reachable, or cannot be written.
    """
    uri = tracking_uri(root)
    database = _local_database(uri)
    if database is None:
        with in_one_sentence(uri):
            _ensure_experiment(client(uri), experiment, None)
        return uri
    if _in_order(database, experiment):
        return uri
    with in_one_sentence(str(database)):
        # Imported before the lock is taken, or a fan-out would pay the seconds it takes one after the other.
        from mlflow.store.tracking import sqlalchemy_store  # noqa: F401

        with _locked(database.parent):
            _make_database(database)
            _rewrite_moved_paths(database)
            _ensure_experiment(client(uri), experiment, database.parent)
    return uri


def relocate(root: Path, former: Path | None = None) -> list[str]:
    """Rewrite the paths in the store after its folder was moved or copied; `ensure_store` does it by itself.

    Parameters
    ----------
    root : Path
        The repository as it lies now.
    former : Path, optional
        The folder that held the database before, for a store that varistar did not make.

    Returns
    -------
    list of str
        The folders whose paths were rewritten; empty when all was in order.
    """
    database = _local_database(tracking_uri(root))
    if database is None or not database.exists():
        return []
    with _locked(database.parent):
        return _rewrite_moved_paths(database, [] if former is None else [str(former)])


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the store of the repository by its absolute path.

    `dvc exp run --temp` runs in a copy below `.dvc/tmp/exps`, which is deleted afterwards: its runs belong to the
    repository around it.
    """
    if chosen := os.environ.get("MLFLOW_TRACKING_URI"):
        return chosen
    root = root.resolve()
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            root = parent.parents[2]
    return f"sqlite:///{root / 'mlruns' / DATABASE}"


def client(uri: str) -> "MlflowClient":
    """A client of the store at `uri`, for tracking and registry, that leaves MLflow's global state alone."""
    quiet_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def quiet_mlflow() -> None:
    """Set the defaults of `ENVIRONMENT`; to be called before MLflow is imported, and harmless after."""
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])


@contextmanager
def held(lock_file: Path, seconds: float, refusal: str) -> Iterator[None]:
    """Hold a lock between processes; that of a killed process is free.

    Only the taking of the lock is guarded: an error from inside the `with` passes untouched.

    Raises
    ------
    VaristarError
        `refusal`, when another process holds it for longer than `seconds`.
    DataError
        When the folder cannot be written.
    """
    lock = FileLock(lock_file, timeout=seconds)
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise VaristarError(refusal) from None
    except OSError as error:
        raise DataError(f"{lock_file.parent}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_one_sentence(where: str) -> Iterator[None]:
    """Say what MLflow or the database has to complain of in one sentence."""
    quiet_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise DataError(f"{where}: MLflow cannot use this store: {' '.join(str(error).split())[:400]}") from error


def _local_database(uri: str) -> Path | None:
    """The file of a SQLite store; None for a server."""
    return Path(uri.removeprefix("sqlite:///").split("?")[0]).resolve() if uri.startswith("sqlite:///") else None


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock of a local store."""
    refusal = f"{folder}: another process has held the lock for {LOCK_SECONDS:.0f} s"
    return held(folder / ".lock", LOCK_SECONDS, refusal)


def _make_database(database: Path) -> None:
    """Make a fresh database under another name first: a migration that is killed half way cannot be taken up again."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if database.exists():
        return
    with atomic_path(database) as temporary:
        # Opened directly, since a client would put the default experiment's artifacts below the working directory.
        SqlAlchemyStore(f"sqlite:///{temporary}", str(database.parent / "artifacts")).engine.dispose()


def _ensure_experiment(client: "MlflowClient", name: str, folder: Path | None) -> None:
    """Make the experiment; in a local store with its artifacts beside the database."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = str(folder / "artifacts" / name) if folder else None
        try:
            client.create_experiment(name, location, {FOLDER_TAG: str(folder)} if folder else None)
        except MlflowException as error:
            # On a server there is no lock of ours, and another process may have been first.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)


def _in_order(database: Path, experiment: str) -> bool:
    """Whether the database is whole, lies where its paths say, and has the experiment.

    An experiment, which remembers its folder, is made after all tables are: one that remembers means a whole store.
    """
    if not database.exists():
        return False
    with _opened(database) as connection:
        if _remembered_folders(connection) != {str(database.parent)}:
            return False
        query = "SELECT 1 FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
        return connection.execute(query, (experiment,)).fetchone() is not None


def _rewrite_moved_paths(database: Path, former: Iterable[str] = ()) -> list[str]:
    """Replace every folder that an experiment remembers, and `former`, by the one in which `database` lies."""
    here = str(database.parent)
    with _opened(database) as connection:
        moved = sorted({*former, *_remembered_folders(connection)} - {here})
        for folder in moved:
            for table, column in PATH_COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                    f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(folder) + 1, folder, len(folder) + 1, f"{folder}/"),
                )
        if moved:
            connection.execute("UPDATE experiment_tags SET value = ? WHERE key = ?", (here, FOLDER_TAG))
    return moved


def _remembered_folders(connection: sqlite3.Connection) -> set[str]:
    """The folders for which the experiments' paths were written."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiment_tags'").fetchone():
        return set()
    return {row[0] for row in connection.execute("SELECT value FROM experiment_tags WHERE key = ?", (FOLDER_TAG,))}


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database: all that is done in it, or nothing."""
    try:
        # Both: `with` on a SQLite connection commits or rolls back, and does not close.
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            yield connection
    except sqlite3.Error as error:
        raise DataError(f"{database}: not a usable MLflow database: {error}") from None
