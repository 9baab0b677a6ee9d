"""A sweep has as many trials as were asked for, begins with the task's own values, and survives kills."""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
from matplotlib.figure import Figure
from optuna.trial import TrialState

from varistar.experiments import sweep as module
from varistar.experiments.store import client, held, tracking_uri
from varistar.experiments.study import Sweep
from varistar.experiments.sweep import Done, best_trials, importances, keep_figures, run_sweep, trial_table
from varistar.foundation.errors import ConfigError, DataError, VaristarError

OWN = {"x": -7.0}

#: A module of its own, which workers can import.
TASKS = """
import os, signal
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class Parabola:
    "The nearer x is to 2 the better; it can be told to kill its process, or to fail."
    marks: Path
    trouble: str = ""

    def choose(self, trial):
        return {"variant": {"x": trial.suggest_float("x", -10, 10)}}

    def score(self, chosen, on_epoch, scratch):
        x = chosen["variant"]["x"]
        scratch.mkdir(parents=True)
        (scratch / "checkpoint").touch()
        for epoch in range(4):
            on_epoch(epoch, {"height": -(x - 2) ** 2 - (3 - epoch)})
            if epoch == 1 and self.trouble:
                self.meet_trouble(x)
        return {"height": -(x - 2) ** 2, "cost": abs(x), "epochs": 4}

    def meet_trouble(self, x):
        mark = self.marks / str(x)
        again = mark.exists()
        with mark.open("a") as file:
            file.write("tried")
        if self.trouble == "kill" and not again and len(list(self.marks.iterdir())) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "fail" and x < 0:
            raise ValueError("x is negative")

@dataclass(frozen=True)
class Slope:
    "How high one stands depends on x, and little on y; the cost is y's alone."
    marks: Path

    def choose(self, trial):
        return {"variant": {name: trial.suggest_float(name, -10, 10) for name in ("x", "y")}}

    def score(self, chosen, on_epoch, scratch):
        place = chosen["variant"]
        return {"height": place["x"] + 0.1 * place["y"], "cost": place["y"], "epochs": 4}
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sweep_tasks.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("sweep_tasks")
    del sys.modules["sweep_tasks"]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture
def sweep(stored: Path) -> Sweep:
    return Sweep(stored, "hill", "periods", "abc", {"height": "maximize"}, watch="height", warmup=10)


def study_of(sweep: Sweep) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(sweep.journal))
    return optuna.load_study(study_name=sweep.name, storage=optuna.storages.JournalStorage(backend))


def states(sweep: Sweep) -> dict[str, int]:
    found = [trial.state.name for trial in study_of(sweep).trials]
    return {name: found.count(name) for name in found}


def runs_of(root: Path) -> tuple[list[Any], list[Any]]:
    """The runs of sweeps, and those of trials, oldest first."""
    store = client(tracking_uri(root))
    found = store.search_runs(
        [store.get_experiment_by_name("periods").experiment_id], order_by=["attributes.start_time ASC"]
    )
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parents, [run for run in found if run not in parents]


def test_trials_begin_with_the_own_values_and_are_as_many_as_asked(sweep: Sweep, tasks: ModuleType) -> None:
    lines: list[str] = []
    best = run_sweep(sweep, tasks.Parabola(sweep.root), OWN, 15, say=lines.append)
    trials = study_of(sweep).trials
    assert trials[0].params == OWN
    assert states(sweep) == {"COMPLETE": 15}
    assert len(lines) == 15 and lines[0] == "trial 0: height -81"
    top = max(trials, key=lambda trial: trial.values[0])
    x = top.params["x"]
    assert best == [Done(top.number, {"height": -((x - 2) ** 2)}, {"x": x}, {"variant": {"x": x}})]
    assert best_trials(sweep) == best
    assert not list(sweep.folder.glob("*.scratch"))


def test_more_trials_go_on_where_it_ended(sweep: Sweep, tasks: ModuleType) -> None:
    task = tasks.Parabola(sweep.root)
    run_sweep(sweep, task, OWN, 3)
    before = [trial.params for trial in study_of(sweep).trials]
    run_sweep(sweep, task, OWN, 3)
    assert len(study_of(sweep).trials) == 3
    run_sweep(sweep, task, OWN, 5)
    after = [trial.params for trial in study_of(sweep).trials]
    assert after[:3] == before and len(after) == 5
    undisturbed = replace(sweep, name="undisturbed")
    run_sweep(undisturbed, task, OWN, 5)
    assert [trial.params for trial in study_of(undisturbed).trials] == after
    other = replace(sweep, name="other", seed=1)
    run_sweep(other, task, OWN, 5)
    assert all(trial.params not in after for trial in study_of(other).trials[1:])


def test_every_trial_is_a_run_below_that_of_the_sweep(sweep: Sweep, tasks: ModuleType) -> None:
    task = tasks.Parabola(sweep.root)
    run_sweep(sweep, task, OWN, 2)
    best = run_sweep(sweep, task, OWN, 4)
    (parent,), children = runs_of(sweep.root)
    assert parent.info.run_name == "hill" and parent.info.status == "FINISHED"
    assert parent.data.tags["best_trial"] == str(best[0].number)
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert [child.data.tags["sweep.trial"] for child in children] == ["0", "1", "2", "3"]
    for child, trial in zip(children, study_of(sweep).trials, strict=True):
        assert child.info.status == "FINISHED" and child.info.run_name == f"hill-{trial.number:03d}"
        assert float(child.data.params["variant.x"]) == float(child.data.params["suggested.x"]) == trial.params["x"]
        assert child.data.metrics["height"] == pytest.approx(trial.values[0])
        assert child.data.metrics["epochs"] == 4
        assert len(client(tracking_uri(sweep.root)).get_metric_history(child.info.run_id, "height")) == 5


def test_what_falls_behind_is_pruned(sweep: Sweep, tasks: ModuleType) -> None:
    pruning = replace(sweep, warmup=1)
    run_sweep(pruning, tasks.Parabola(sweep.root), OWN, 16)
    pruned = study_of(pruning).get_trials(states=(TrialState.PRUNED,))
    done = study_of(pruning).get_trials(states=(TrialState.COMPLETE,))
    assert pruned and len(done) >= 5 and len(pruned) + len(done) == 16
    assert all(max(trial.intermediate_values) == 1 for trial in pruned), "as soon as the warm-up is over"
    _, children = runs_of(sweep.root)
    tagged = [child.data.tags["sweep.trial"] for child in children if child.data.tags["sweep.state"] == "pruned"]
    assert tagged == [str(trial.number) for trial in pruned]
    assert {child.info.status for child in children} == {"FINISHED"}


def test_a_worker_that_is_killed_has_its_trial_run_again(sweep: Sweep, tasks: ModuleType, marks: Path) -> None:
    run_sweep(sweep, tasks.Parabola(marks, "kill"), OWN, 6, workers=2)
    trials = study_of(sweep).trials
    found = states(sweep)
    assert found["COMPLETE"] == 6 and found["FAIL"] >= 1 and len(found) == 2
    completed = [trial.params["x"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(set(completed)) == 6, "no two processes draw the same"
    assert OWN["x"] in completed
    lost = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert {trial.params["x"] for trial in lost if trial.params} <= set(completed)
    assert {trial.user_attrs["again"] for trial in trials if "again" in trial.user_attrs} == {t.number for t in lost}
    _, children = runs_of(sweep.root)
    by_status = {status: [c for c in children if c.info.status == status] for status in ("FINISHED", "KILLED")}
    assert len(by_status["FINISHED"]) == 6 and len(by_status["KILLED"]) == len(children) - 6


def test_a_sweep_that_is_killed_goes_on(
    sweep: Sweep, tasks: ModuleType, marks: Path, python: Callable[..., Any], tmp_path: Path
) -> None:
    code = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from sweep_tasks import Parabola
from varistar.experiments.study import Sweep
from varistar.experiments.sweep import run_sweep
root = Path(sys.argv[1])
sweep = Sweep(root, "hill", "periods", "abc", {"height": "maximize"}, watch="height", warmup=10)
run_sweep(sweep, Parabola(Path(sys.argv[3]), "kill"), {"x": -7.0}, 3)
"""
    killed = python(code, sweep.root, tmp_path / "modules", marks)
    assert killed.wait(60) == -signal.SIGKILL, killed.stderr.read()
    assert states(sweep) == {"RUNNING": 1}
    run_sweep(sweep, tasks.Parabola(sweep.root), OWN, 3)
    assert states(sweep) == {"FAIL": 1, "COMPLETE": 3}
    first, again, *_ = study_of(sweep).trials
    assert first.params == again.params == OWN and again.state == TrialState.COMPLETE
    assert not list(sweep.folder.glob("*.scratch"))
    parents, children = runs_of(sweep.root)
    assert [run.info.status for run in parents] == ["FINISHED"]
    assert sorted(run.info.status for run in children) == ["FINISHED"] * 3 + ["KILLED"]


class Killed(BaseException):
    """A kill, as far as a process can feel it."""


@pytest.mark.parametrize("interrupted", ["_give_up", "tell"])
def test_a_resumption_that_is_killed_loses_and_doubles_nothing(
    sweep: Sweep, tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    task = tasks.Parabola(sweep.root)
    run_sweep(sweep, task, OWN, 2)
    lost = study_of(sweep).ask({"x": optuna.distributions.FloatDistribution(-10, 10)})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if interrupted == "tell":
            patch.setattr(optuna.Study, "tell", killed)
        else:
            patch.setattr(module, "_give_up", killed)
        run_sweep(sweep, task, OWN, 4)
    run_sweep(sweep, task, OWN, 4)
    assert states(sweep) == {"COMPLETE": 4, "FAIL": 1}
    done = [trial.params["x"] for trial in study_of(sweep).trials if trial.state == TrialState.COMPLETE]
    assert done.count(lost.params["x"]) == 1 and len(set(done)) == 4


def test_the_same_sweep_begun_anew_has_a_run_of_its_own(sweep: Sweep, tasks: ModuleType) -> None:
    task = tasks.Parabola(sweep.root)
    run_sweep(sweep, task, OWN, 2)
    run_sweep(replace(sweep, storage=f"sqlite:///{sweep.root / 'sweeps.db'}"), task, OWN, 2)
    sweep.journal.unlink()
    run_sweep(sweep, task, OWN, 3)
    parents, children = runs_of(sweep.root)
    assert [parent.data.tags["trials"] for parent in parents] == ["2", "2", "3"]
    below = [[c for c in children if c.data.tags["mlflow.parentRunId"] == p.info.run_id] for p in parents]
    assert [[c.data.tags["sweep.trial"] for c in found] for found in below] == [["0", "1"], ["0", "1"], ["0", "1", "2"]]


def test_the_table_has_every_trial(sweep: Sweep, tasks: ModuleType, marks: Path) -> None:
    pruning = replace(sweep, warmup=1)
    run_sweep(pruning, tasks.Parabola(sweep.root), OWN, 12)
    study_of(sweep).ask()
    run_sweep(pruning, tasks.Parabola(marks, "fail"), OWN, 16)
    table, trials = trial_table(pruning), study_of(sweep).trials
    assert table["trial"].to_list() == [trial.number for trial in trials]
    words = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
    assert table["state"].to_list() == ["killed" if t.number == 12 else words[t.state.name] for t in trials]
    assert {"completed", "pruned", "killed"} <= set(table["state"])
    assert table["height"].to_list() == [t.values[0] if t.state == TrialState.COMPLETE else None for t in trials]
    assert table.filter("own")["trial"].to_list() == [0]
    assert table.filter("best")["trial"].to_list() == [best_trials(pruning)[0].number]


def test_importance_is_that_of_the_key_that_matters(sweep: Sweep, tasks: ModuleType) -> None:
    both = replace(sweep, objectives={"height": "maximize", "cost": "minimize", "epochs": "minimize"})
    run_sweep(both, tasks.Slope(sweep.root), {"x": 0.0, "y": 0.0}, 9)
    few = importances(both)
    assert few.is_empty() and few.columns == ["key", "height", "cost", "epochs"]
    run_sweep(both, tasks.Slope(sweep.root), {"x": 0.0, "y": 0.0}, 30)
    found = importances(both)
    assert found.equals(importances(both)), "without chance"
    share = {row["key"]: row for row in found.iter_rows(named=True)}
    assert found["key"][0] == "x" and share["x"]["height"] > 0.9
    assert share["x"]["height"] + share["y"]["height"] == pytest.approx(1)
    assert share["y"]["cost"] > 0.9
    assert found["epochs"].null_count() == 2, "which are always the same"


def test_figures_are_kept_with_the_sweeps_run(sweep: Sweep, tasks: ModuleType) -> None:
    run_sweep(sweep, tasks.Parabola(sweep.root), OWN, 1)
    keep_figures(sweep, {"empty": Figure()})
    (parent,), _ = runs_of(sweep.root)
    kept = client(tracking_uri(sweep.root)).list_artifacts(parent.info.run_id, "figures")
    assert [artifact.path for artifact in kept] == ["figures/empty.png"]


def test_failures_are_told_and_made_up_for(sweep: Sweep, tasks: ModuleType, marks: Path) -> None:
    lines: list[str] = []
    best = run_sweep(sweep, tasks.Parabola(marks, "fail"), OWN, 8, say=lines.append)
    assert lines[0] == "trial 0 failed: ValueError: x is negative"
    assert best[0].suggested["x"] >= 0
    found = states(sweep)
    assert found["FAIL"] >= 1 and sum(found.values()) == 8
    assert all((mark.read_text() == "tried") for mark in marks.iterdir()), "what fails is not tried twice"
    run_sweep(sweep, tasks.Parabola(marks), OWN, 8)
    assert states(sweep)["COMPLETE"] == 8
    with pytest.raises(VaristarError, match=r"no trial was completed; the first to fail said: ValueError: x is neg"):
        run_sweep(replace(sweep, name="bad"), tasks.Parabola(marks, "fail"), OWN, 1)


def test_of_two_objectives_all_compromises_win(sweep: Sweep, tasks: ModuleType) -> None:
    both = replace(sweep, objectives={"height": "maximize", "cost": "minimize"}, warmup=0)
    best = run_sweep(both, tasks.Parabola(sweep.root), OWN, 14)
    trials = study_of(both).trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    front = [
        a.number
        for a in trials
        if not any(b.values[0] >= a.values[0] and b.values[1] <= a.values[1] and b.values != a.values for b in trials)
    ]
    assert sorted(done.number for done in best) == front and len(front) > 1
    assert [done.values["height"] for done in best] == sorted((d.values["height"] for d in best), reverse=True)


def test_a_database_holds_a_sweep_too(sweep: Sweep, tasks: ModuleType) -> None:
    inside = replace(sweep, storage=f"sqlite:///{sweep.root / 'sweeps.db'}")
    best = run_sweep(inside, tasks.Parabola(sweep.root), OWN, 3)
    assert best_trials(inside) == best and (sweep.root / "sweeps.db").exists() and not sweep.journal.exists()
    # What runs there may be another machine's: it counts, and is left alone.
    storage = optuna.storages.RDBStorage(inside.storage)
    elsewhere = optuna.load_study(study_name="hill", storage=storage).ask()
    elsewhere.set_user_attr("owner", "another")
    run_sweep(inside, tasks.Parabola(sweep.root), OWN, 5)
    found = [trial.state.name for trial in optuna.load_study(study_name="hill", storage=storage).trials]
    assert found == ["COMPLETE"] * 3 + ["RUNNING", "COMPLETE"]


def test_a_trial_that_is_nobodys_is_run_again_when_it_is_old(
    sweep: Sweep, tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = replace(sweep, storage=f"sqlite:///{sweep.root / 'sweeps.db'}")
    run_sweep(inside, tasks.Parabola(sweep.root), OWN, 1)
    storage = optuna.storages.RDBStorage(inside.storage)
    study = optuna.load_study(study_name="hill", storage=storage)
    study.ask()
    run_sweep(inside, tasks.Parabola(sweep.root), OWN, 3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING", "COMPLETE"]
    monkeypatch.setattr(module, "NOBODYS_AFTER", timedelta(0))
    run_sweep(inside, tasks.Parabola(sweep.root), OWN, 3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_what_another_machine_does_meanwhile_counts(sweep: Sweep, tasks: ModuleType) -> None:
    others: list[int] = []

    def say(line: str) -> None:
        if not others:
            others.extend(study_of(sweep).ask().number for _ in range(2))

    run_sweep(sweep, tasks.Parabola(sweep.root), OWN, 5, say=say)
    assert states(sweep) == {"COMPLETE": 3, "RUNNING": 2}


def test_mistakes_are_named(sweep: Sweep, tasks: ModuleType) -> None:
    task = tasks.Parabola(sweep.root)
    with pytest.raises(ConfigError, match=r"hill\.journal: there is no sweep 'hill'; begin it first"):
        best_trials(sweep)
    run_sweep(sweep, task, OWN, 1)
    with pytest.raises(ConfigError, match=r"'hill' was begun with other parameters or data; remove it or"):
        run_sweep(replace(sweep, key="xyz"), task, OWN, 2)
    with (
        held(sweep.folder / ".hill.lock", 0.0, ""),
        pytest.raises(VaristarError, match="another process is running the sweep 'hill'"),
    ):
        run_sweep(sweep, task, OWN, 2)
    sweep.journal.write_text("not a journal\n{}\n")
    with pytest.raises(DataError, match=r"hill\.journal: cannot hold the sweep 'hill'"):
        run_sweep(sweep, task, OWN, 2)


@pytest.mark.parametrize(
    "address", ["nonsense", "nobase://me:secret@host/x", "sqlite:////no/such/folder/x.db", "postgresql://me:secret@h/x"]
)
def test_a_wrong_address_is_one_sentence_without_the_password(sweep: Sweep, tasks: ModuleType, address: str) -> None:
    with pytest.raises(DataError, match="cannot hold the sweep 'hill'") as raised:
        run_sweep(replace(sweep, storage=address), tasks.Parabola(sweep.root), OWN, 1)
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)
