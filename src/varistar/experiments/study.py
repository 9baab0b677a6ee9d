"""The study of a sweep: its description, the storage that holds it, and who proposes what is tried.

Optuna's study lies in a journal file of the project, which any number of its processes may append to, or in a database,
which several machines may share.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from varistar.foundation.errors import ConfigError, DataError, VaristarError

PRUNED_AFTER = 5  # completed trials before any is pruned
CHANCE_UNTIL = 10  # finished trials before TPE takes over from chance
TROUBLE = (SQLAlchemyError, StorageInternalError)


@dataclass(frozen=True)
class Sweep:
    """A sweep, apart from its task.

    Attributes
    ----------
    name : of the study, and of the files below `build/sweeps`.
    experiment : MLflow's.
    key : what makes this the same sweep, such as a hash of its search space and data; another is not gone on with.
    objectives : which way each is better.
    watch : the metric of an epoch by which trials are pruned; more is better.
    warmup : epochs before a trial is pruned.
    storage : address of a database, as SQLAlchemy has it; None is a journal file of this project.
    """

    root: Path
    name: str
    experiment: str
    key: str
    objectives: Mapping[str, Literal["maximize", "minimize"]]
    watch: str
    warmup: int = 0
    seed: int = 0
    storage: str | None = None

    @property
    def folder(self) -> Path:
        return self.root / "build/sweeps"

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.name}.journal"

    @property
    def scratch(self) -> Path:
        return self.folder / f"{self.name}.scratch"

    @property
    def owner(self) -> str:
        """Whose trials those are that this project began; several machines may share a database."""
        return f"{socket.gethostname()}:{self.root.resolve()}"


def open_study(sweep: Sweep, create: bool) -> optuna.Study:
    """The study of a sweep, ready to be asked for trials; `create` begins it where there is none.

    Raises
    ------
    ConfigError
        When there is none, and none is to be made.
    DataError
        When the storage is damaged or does not answer, or is none.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    missing = ConfigError(f"{_where(sweep)}: there is no sweep '{sweep.name}'; begin it first")
    if not create and sweep.storage is None and not sweep.journal.exists():
        raise missing
    # ValueError: a journal that is none; ImportError: a database whose driver is not installed
    with in_one_sentence(sweep, ValueError, ImportError, OSError):
        storage = _open_storage(sweep)
        if create:
            directions = list(sweep.objectives.values())
            optuna.create_study(study_name=sweep.name, storage=storage, directions=directions, load_if_exists=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNED_AFTER, n_warmup_steps=sweep.warmup)
        try:
            sampler = _SeededByNumber(sweep.seed)
            return optuna.load_study(study_name=sweep.name, storage=storage, sampler=sampler, pruner=pruner)
        except KeyError:
            raise missing from None


def _open_storage(sweep: Sweep) -> BaseStorage:
    if sweep.storage is None:
        sweep.folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(sweep.journal)))
    if sweep.storage.startswith("sqlite"):
        return RDBStorage(sweep.storage, engine_kwargs={"connect_args": {"timeout": 60}})
    # Between two epochs a server may have been started anew.
    return RDBStorage(sweep.storage, engine_kwargs={"pool_pre_ping": True})


def _where(sweep: Sweep) -> str:
    """The storage as it may be shown, without a password."""
    try:
        return str(sweep.journal) if sweep.storage is None else make_url(sweep.storage).render_as_string()
    except SQLAlchemyError:
        return "--storage"


@contextmanager
def in_one_sentence(sweep: Sweep, *more: type[Exception]) -> Iterator[None]:
    """What a storage has to complain of, as a DataError for the user; `more` are errors to be taken for such."""
    errors: tuple[type[Exception], ...] = (*TROUBLE, *more)
    try:
        yield
    except VaristarError:
        raise
    except errors as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise DataError(f"{_where(sweep)}: cannot hold the sweep '{sweep.name}': {reason}") from error


def require_key(sweep: Sweep, study: optuna.Study) -> None:
    """Give a new study its key, and an id of its own; of another key it is another sweep.

    Raises
    ------
    ConfigError
        When it was begun with another.
    """
    if "id" not in study.user_attrs:
        study.set_user_attr("id", uuid4().hex[:12])
    begun_with = study.user_attrs.get("key")
    if begun_with is None:
        study.set_user_attr("key", sweep.key)
    elif begun_with != sweep.key:
        raise ConfigError(
            f"{_where(sweep)}: the sweep '{sweep.name}' was begun with other parameters or data; "
            "remove it or name another storage to begin anew"
        )


class _SeededByNumber(BaseSampler):
    """TPE whose random stream follows from (seed, trial number), so that no two processes draw the same."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tpe = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        stream = np.random.SeedSequence((self.seed, trial.number)).generate_state(1)[0]
        self.tpe = TPESampler(n_startup_trials=CHANCE_UNTIL, constant_liar=True, seed=int(stream))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.tpe.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self.tpe.reseed_rng()
