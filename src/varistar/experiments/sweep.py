"""Sweeps with Optuna: many trials of one task, by several processes that share a storage, resumable after a kill.

Trial 0 is the task's own values, so that a sweep can never end below what it started from. Optuna proposes the others
with TPE, which takes trials under way for bad ones (constant liar), so that processes do not all try the same. With one
objective, trials that fall behind the median of the others are pruned; Optuna prunes no trial of several objectives.

Every trial is a run of MLflow below that of the sweep. A trial whose process was killed is run again with the same
values, from its beginning, so that what it took is measured whole; one that kills its worker again has failed.
"""

import math
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, TrialPruned
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from varistar.bulk import local
from varistar.bulk.pieces import Failure, reason_of
from varistar.foundation.errors import ConfigError, DataError, VaristarError

from .store import held
from .tracking import TrackedRun, find_run, run

OnEpoch = Callable[[int, dict[str, float]], None]
PRUNED_AFTER = 5  # completed trials before any is pruned
CHANCE_UNTIL = 10  # finished trials before TPE takes over from chance
TROUBLE = (SQLAlchemyError, StorageInternalError)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Task(Protocol):
    """What is tried; it travels to other processes, so it is picklable."""

    def choose(self, trial: Trial) -> Mapping[str, Any]:
        """What this trial tries, as plain values, from what `trial` suggests."""

    def score(self, chosen: Mapping[str, Any], on_epoch: OnEpoch, scratch: Path) -> Mapping[str, float]:
        """Try it; returns every objective by name, and what else is worth recording. `scratch` is removed afterwards.

        `on_epoch` takes an epoch's metrics; it raises where the trial is pruned.
        """


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


@dataclass(frozen=True)
class Done:
    """A completed trial: its objectives, what was suggested, and what the task chose from it."""

    number: int
    values: dict[str, float]
    suggested: dict[str, Any]
    chosen: dict[str, Any]


def run_sweep(
    sweep: Sweep,
    task: Task,
    first: Mapping[str, Any],
    trials: int,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> list[Done]:
    """Run trials until `trials` of them are finished, completed or pruned; returns the best as `best_trials` does.

    Failed trials are not finished: the same call again makes up for them.

    Parameters
    ----------
    first : the values of trial 0, within the task's search space.
    workers : processes; one is this process itself.
    say : is told each trial's outcome in one line.

    Raises
    ------
    ConfigError
        When the sweep was begun with another key, or there is no such storage.
    DataError
        When the storage is damaged or does not answer.
    VaristarError
        When another process runs this sweep in this project, or no trial was completed.
    """
    refusal = f"{sweep.folder}: another process is running the sweep '{sweep.name}'"
    with held(sweep.folder / f".{sweep.name}.lock", 0.0, refusal), _in_one_sentence(sweep, *TROUBLE):
        study = _open_study(sweep, create=True)
        _require_key(sweep, study)
        tags = {"sweep": sweep.name, "sweep.key": sweep.key, "sweep.role": "study"}
        found = find_run(sweep.root, sweep.experiment, tags)
        with nullcontext(found) if found else run(sweep.root, sweep.experiment, sweep.name, tags=tags) as parent:
            study.enqueue_trial(dict(first), skip_if_exists=True)
            _try_again(sweep, study, parent.id, lambda trial: _is_lost(sweep, trial))
            shutil.rmtree(sweep.scratch, ignore_errors=True)  # of killed processes
            left = trials - _count(study, *FINISHED, TrialState.RUNNING)
            items = [(sweep, task, parent.id, f"{os.getpid()}-{i}", trials) for i in range(left)]
            reasons = list(_failures(local.outcomes(_run_trial, items, min(workers, max(left, 1))), say))
            shutil.rmtree(sweep.scratch, ignore_errors=True)
            best = _best(sweep, study)
            if not best:
                why = f"; the first to fail said: {reasons[0]}" if reasons else ""
                raise VaristarError(f"sweep '{sweep.name}': no trial was completed{why}")
            parent.tags({"best_trial": str(best[0].number), "trials": str(_count(study, *FINISHED))})
            parent.metrics(best[0].values, step=_count(study, *FINISHED))
            parent.close("FINISHED")
    return best


def best_trials(sweep: Sweep) -> list[Done]:
    """The best completed trial; of several objectives all that no other beats in each, by the first objective.

    Raises
    ------
    ConfigError
        When there is no such sweep, or it was begun with another key.
    """
    with _in_one_sentence(sweep, *TROUBLE):
        study = _open_study(sweep, create=False)
        _require_key(sweep, study)
        return _best(sweep, study)


def _open_study(sweep: Sweep, create: bool) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    missing = ConfigError(f"{_where(sweep)}: there is no sweep '{sweep.name}'; begin it first")
    if not create and sweep.storage is None and not sweep.journal.exists():
        raise missing
    # ValueError: a journal that is none; ImportError: a database whose driver is not installed
    with _in_one_sentence(sweep, *TROUBLE, ValueError, ImportError, OSError):
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
    wait = {"connect_args": {"timeout": 60}} if sweep.storage.startswith("sqlite") else {}
    return RDBStorage(sweep.storage, engine_kwargs=wait)


def _where(sweep: Sweep) -> str:
    """The storage as it may be shown, without a password."""
    try:
        return str(sweep.journal) if sweep.storage is None else make_url(sweep.storage).render_as_string()
    except SQLAlchemyError:
        return "--storage"


@contextmanager
def _in_one_sentence(sweep: Sweep, *errors: type[Exception]) -> Iterator[None]:
    """What a storage has to complain of, as an error for the user."""
    try:
        yield
    except VaristarError:
        raise
    except errors as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise DataError(f"{_where(sweep)}: cannot hold the sweep '{sweep.name}': {reason}") from error


def _require_key(sweep: Sweep, study: optuna.Study) -> None:
    begun_with = study.user_attrs.get("key")
    if begun_with is None:
        study.set_user_attr("key", sweep.key)
    elif begun_with != sweep.key:
        raise ConfigError(
            f"{_where(sweep)}: the sweep '{sweep.name}' was begun with other parameters or data; "
            "remove it or name another storage to begin anew"
        )


def _is_lost(sweep: Sweep, trial: FrozenTrial) -> bool:
    """Whether a running trial was left by a killed process; to be asked while no other runs this sweep here."""
    return sweep.storage is None or trial.user_attrs.get("owner") == sweep.owner


def _try_again(sweep: Sweep, study: optuna.Study, parent: str, lost: Callable[[FrozenTrial], bool]) -> None:
    """Put the running trials that are lost back into the queue, with their values."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if lost(trial):
            _give_up(sweep, study, parent, trial)
            # What was queued for it may not have been suggested yet.
            study.enqueue_trial(trial.system_attrs.get("fixed_params", {}) | trial.params, {"again": trial.number})


def _give_up(sweep: Sweep, study: optuna.Study, parent: str, trial: FrozenTrial) -> None:
    study.tell(trial.number, state=TrialState.FAIL)
    if tracked := find_run(sweep.root, sweep.experiment, _trial_tags(sweep, parent, trial.number)):
        tracked.close("KILLED")


def _trial_tags(sweep: Sweep, parent: str, number: int) -> dict[str, str]:
    return {"mlflow.parentRunId": parent, "sweep": sweep.name, "sweep.trial": str(number)}


def _count(study: optuna.Study, *states: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=states))


Item = tuple[Sweep, Task, str, str, int]


def _run_trial(item: Item) -> tuple[str, str | None]:
    """One trial, in a worker: what to say of it, and the reason if it failed."""
    sweep, task, parent, slot, wanted = item
    study = _open_study(sweep, create=False)
    # The same item comes again when its worker was killed.
    _try_again(sweep, study, parent, lambda trial: trial.user_attrs.get("slot") == slot)
    if _count(study, *FINISHED, TrialState.RUNNING) >= wanted:  # other machines were faster
        return "", None
    trial = study.ask()
    trial.set_user_attr("owner", sweep.owner)
    trial.set_user_attr("slot", slot)
    scratch = sweep.scratch / f"{slot}-{trial.number}"
    name, tags = f"{sweep.name}-{trial.number:03d}", _trial_tags(sweep, parent, trial.number)
    try:
        with run(sweep.root, sweep.experiment, name, tags=tags) as tracked:
            values = _score(sweep, task, trial, tracked, scratch)
    except Exception as error:
        study.tell(trial, state=TrialState.FAIL)
        return f"trial {trial.number} failed: {reason_of(error)}", reason_of(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if values is None:
        study.tell(trial, state=TrialState.PRUNED)
        return f"trial {trial.number}: pruned", None
    study.tell(trial, [values[name] for name in sweep.objectives])
    return f"trial {trial.number}: " + ", ".join(f"{k} {values[k]:.4g}" for k in sweep.objectives), None


def _score(sweep: Sweep, task: Task, trial: Trial, tracked: TrackedRun, scratch: Path) -> Mapping[str, float] | None:
    """The objectives of one trial; None where it was pruned."""
    chosen = task.choose(trial)
    trial.set_user_attr("chosen", dict(chosen))
    tracked.parameters({"suggested": trial.params, **chosen})

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        tracked.metrics(metrics, epoch)
        if len(sweep.objectives) == 1:
            direction = 1 if next(iter(sweep.objectives.values())) == "maximize" else -1
            trial.report(direction * metrics[sweep.watch], epoch)
            if trial.should_prune():
                raise TrialPruned

    try:
        values = task.score(chosen, on_epoch, scratch)
    except TrialPruned:
        tracked.tags({"sweep.state": "pruned"})
        return None
    for name in sweep.objectives:
        if not math.isfinite(values[name]):
            raise DataError(f"the objective '{name}' is {values[name]}")
    tracked.metrics(values)
    tracked.tags({"sweep.state": "completed"})
    return values


def _failures(
    outcomes: Iterable[tuple[Item, tuple[str, str | None] | Failure[Item]]], say: Callable[[str], None]
) -> Iterator[str]:
    """Tell of each trial, and yield the reasons of those that failed."""
    for (sweep, _, parent, slot, _), outcome in outcomes:
        if isinstance(outcome, Failure):
            study = _open_study(sweep, create=False)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get("slot") == slot:
                    _give_up(sweep, study, parent, trial)
            outcome = f"a trial failed: {outcome.reason}", outcome.reason
        line, reason = outcome
        if line:
            say(line)
        if reason is not None:
            yield reason


def _best(sweep: Sweep, study: optuna.Study) -> list[Done]:
    done = [
        Done(t.number, dict(zip(sweep.objectives, t.values, strict=True)), t.params, t.user_attrs["chosen"])
        for t in (study.best_trials if _count(study, TrialState.COMPLETE) else [])
    ]
    name, direction = next(iter(sweep.objectives.items()))
    return sorted(done, key=lambda trial: (trial.values[name] * (-1 if direction == "maximize" else 1), trial.number))


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
