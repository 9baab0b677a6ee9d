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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import optuna
import polars as pl
from optuna.exceptions import TrialPruned
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, Trial, TrialState

from varistar.bulk import local
from varistar.bulk.pieces import Failure, reason_of
from varistar.foundation.errors import DataError, VaristarError

from .store import held
from .study import Sweep, in_one_sentence, open_study, require_key
from .tracking import TrackedRun, find_run, run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OnEpoch = Callable[[int, dict[str, float]], None]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ENOUGH = 10  # completed trials before anything is said of a key's importance
NOBODYS_AFTER = timedelta(minutes=1)  # a trial is given its owner milliseconds after it was begun


class Task(Protocol):
    """What is tried; it travels to other processes, so it is picklable."""

    def choose(self, trial: Trial) -> Mapping[str, Any]:
        """What this trial tries, as plain values, from what `trial` suggests."""

    def score(self, chosen: Mapping[str, Any], on_epoch: OnEpoch, scratch: Path) -> Mapping[str, float]:
        """Try it; returns every objective by name, and what else is worth recording. `scratch` is removed afterwards.

        `on_epoch` takes an epoch's metrics; it raises where the trial is pruned.
        """


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
    with held(sweep.folder / f".{sweep.name}.lock", 0.0, refusal), in_one_sentence(sweep):
        study = open_study(sweep, create=True)
        require_key(sweep, study)
        tags = _study_tags(sweep, study)
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
    with in_one_sentence(sweep):
        study = open_study(sweep, create=False)
        require_key(sweep, study)
        return _best(sweep, study)


def trial_table(sweep: Sweep) -> pl.DataFrame:
    """What came of every trial that has ended.

    Returns
    -------
    One row per trial: `trial` (its number), `state` (completed, pruned, failed, or killed, where it was run again),
    each objective (null unless completed), `own` (whether it had the task's own values) and `best` (as `best_trials`).

    Raises
    ------
    ConfigError
        When there is no such sweep, or it was begun with another key.
    """
    with in_one_sentence(sweep):
        study = open_study(sweep, create=False)
        require_key(sweep, study)
        trials = study.get_trials(deepcopy=False)
        best = {done.number for done in _best(sweep, study)}
    again = {trial.user_attrs.get("again") for trial in trials}
    own = trials[0].system_attrs["fixed_params"] if trials else {}
    states = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    ended = [trial for trial in trials if trial.state in states]
    columns = {
        "trial": pl.Series([t.number for t in ended], dtype=pl.Int64),
        "state": pl.Series(["killed" if t.number in again else states[t.state] for t in ended], dtype=pl.String),
        "own": pl.Series([t.params == own for t in ended], dtype=pl.Boolean),
        "best": pl.Series([t.number in best for t in ended], dtype=pl.Boolean),
    }
    for place, name in enumerate(sweep.objectives):
        values = [t.values[place] if t.state == TrialState.COMPLETE else None for t in ended]
        columns[name] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(columns)


def importances(sweep: Sweep) -> pl.DataFrame:
    """How much of each objective's variance over the space each swept key explains, by fANOVA.

    fANOVA (Hutter, Hoos and Leyton-Brown 2014) averages over a random forest fitted to the completed trials. PED-ANOVA,
    Optuna's default, compares the best tenth with the others, and a sweep of tens of trials has no tenth to speak of.

    Returns
    -------
    One row per key, most important first: `key`, and for each objective a share of all that single keys explain, null
    where the objective did not vary. Keys that some trials did not try are left out. No rows with fewer than ten
    completed trials.
    """
    with in_one_sentence(sweep):
        study = open_study(sweep, create=False)
        found = {}
        for place, name in enumerate(sweep.objectives):
            if _count(study, TrialState.COMPLETE) >= ENOUGH:
                found[name] = _importance(study, place, sweep.seed)
    keys = list(dict.fromkeys(key for shares in found.values() for key in shares))
    columns = {name: [found[name].get(key) for key in keys] if keys else [] for name in sweep.objectives}
    types = dict.fromkeys(sweep.objectives, pl.Float64)
    return pl.DataFrame({"key": keys, **columns}, schema={"key": pl.String, **types})


def _importance(study: optuna.Study, place: int, seed: int) -> dict[str, float]:
    try:
        evaluator = FanovaImportanceEvaluator(seed=seed)
        return get_param_importances(study, evaluator=evaluator, target=lambda trial: trial.values[place])
    except RuntimeError:  # all trials scored the same
        return {}


def keep_figures(sweep: Sweep, figures: "Mapping[str, Figure]") -> None:
    """Log figures, by name, to the sweep's run."""
    with in_one_sentence(sweep):
        tags = _study_tags(sweep, open_study(sweep, create=False))
    if tracked := find_run(sweep.root, sweep.experiment, tags):
        for name, figure in figures.items():
            tracked.figure(name, figure)


def _is_lost(sweep: Sweep, trial: FrozenTrial) -> bool:
    """Whether a running trial was left by a killed process; to be asked while no other runs this sweep here."""
    owner = trial.user_attrs.get("owner")
    if sweep.storage is None or owner == sweep.owner:
        return True
    # Its process was killed between beginning it and saying whose it is.
    return owner is None and datetime.now() - (trial.datetime_start or datetime.min) > NOBODYS_AFTER


def _try_again(sweep: Sweep, study: optuna.Study, parent: str, lost: Callable[[FrozenTrial], bool]) -> None:
    """Put the running trials that are lost back into the queue, with their values.

    They are queued before they are given up, and once: whenever this is interrupted, no values are lost or doubled.
    """
    queued = {trial.user_attrs.get("again") for trial in study.get_trials(deepcopy=False)}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if lost(trial):
            if trial.number not in queued:
                # What was queued for it may not have been suggested yet.
                values = trial.system_attrs.get("fixed_params", {}) | trial.params
                study.enqueue_trial(values, {"again": trial.number})
            _give_up(sweep, study, parent, trial)


def _give_up(sweep: Sweep, study: optuna.Study, parent: str, trial: FrozenTrial) -> None:
    """The run first: as long as the trial counts as running, this is done again."""
    if tracked := find_run(sweep.root, sweep.experiment, _trial_tags(sweep, parent, trial.number)):
        tracked.tags({"sweep.state": "killed"})
        tracked.close("KILLED")
    study.tell(trial.number, state=TrialState.FAIL)


def _study_tags(sweep: Sweep, study: optuna.Study) -> dict[str, str]:
    """The same values may be swept again, in another storage or after the first was removed."""
    told = {"sweep": sweep.name, "sweep.key": sweep.key, "sweep.role": "study"}
    return {**told, "sweep.study": study.user_attrs["id"]}


def _trial_tags(sweep: Sweep, parent: str, number: int) -> dict[str, str]:
    return {"mlflow.parentRunId": parent, "sweep": sweep.name, "sweep.trial": str(number)}


def _count(study: optuna.Study, *states: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=states))


Item = tuple[Sweep, Task, str, str, int]


def _run_trial(item: Item) -> tuple[str, str | None]:
    """One trial, in a worker: what to say of it, and the reason if it failed."""
    sweep, task, parent, slot, wanted = item
    study = open_study(sweep, create=False)
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
            study = open_study(sweep, create=False)
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
