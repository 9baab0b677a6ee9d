"""What is recorded of a training: one MLflow run, however often the training is interrupted.

A training that is killed and resumed would leave two runs in MLflow, so a small file beside its checkpoint holds the
run's id, and the next attempt goes on with that run. Metrics are logged once per epoch in one call (a call each costs
45 times more), and the steps that a resumed training repeats are not recorded twice.

A `TrackedRun` speaks to the store through its own client and leaves MLflow's global state, the active run and the
tracking URI, alone. MLflow is imported inside the functions, see `store`.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import read_json, write_json

from .lineage import StageInput, git_state
from .store import client, ensure_store, held, in_one_sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

KEY_TAG = "varistar.key"
ERROR_TAG = "varistar.error"

# The most that MLflow takes at once.
METRICS_PER_CALL = 1000
PARAMETERS_PER_CALL = 100
PARAMETER_LENGTH = 6000

_log = logging.getLogger(__name__)


@contextmanager
def run(
    root: Path,
    experiment: str,
    name: str,
    *,
    state: Path | None = None,
    key: str = "",
    tags: Mapping[str, str] | None = None,
) -> Iterator["TrackedRun"]:
    """Record one run: begin it, or go on with it where a training was interrupted.

    A process that is killed outright leaves its run marked RUNNING; the next call with the same `state` goes on with
    it. An exception marks it FAILED, an interruption from the keyboard or an exit KILLED, and is raised again.

    Parameters
    ----------
    root : Path
        The repository.
    experiment, name : str
        MLflow's experiment (made when new) and the name of the run.
    state : Path, optional
        The file that holds the run's id; it belongs beside the training's checkpoint. Without it every call is a
        new run.
    key : str
        What makes this the same training, such as the hash of its parameters and data. A `state` of another key
        is not resumed.
    tags : mapping, optional
        Tags of the run; `mlflow.parentRunId` nests it below another run of the same experiment.

    Raises
    ------
    VaristarError
        When the store cannot be opened, or another process is recording the run in `state`.
    """
    uri = ensure_store(root, experiment)
    with held(_lock_of(state), 0.0, f"{state}: another process is recording this run") if state else nullcontext():
        with in_one_sentence(uri):
            tracked = _open_run(root, uri, experiment, name, state, key, tags or {})
        try:
            yield tracked
        except BaseException as error:
            tracked.close("FAILED" if isinstance(error, Exception) else "KILLED", error)
            raise
        tracked.close("FINISHED")


def find_run(root: Path, experiment: str, tags: Mapping[str, str]) -> "TrackedRun | None":
    """The newest run that has all of these tags, to add to what it recorded; None where the store has none."""
    uri = ensure_store(root, experiment)
    with in_one_sentence(uri):
        mlflow_client = client(uri)
        within = mlflow_client.get_experiment_by_name(experiment)
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        experiments = [within.experiment_id] if within else []
        found = mlflow_client.search_runs(experiments, wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return TrackedRun(mlflow_client, found[0].info.run_id, uri, resumed=False) if found else None


class TrackedRun:
    """A run that is being recorded; made by `run` or `find_run`.

    Attributes
    ----------
    id : str
        MLflow's run id.
    uri : str
        The tracking URI, for tools that record to the same run by themselves.
    resumed : bool
        Whether an interrupted run is being continued.
    """

    def __init__(self, client: "MlflowClient", run_id: str, uri: str, resumed: bool) -> None:
        self.id = run_id
        self.uri = uri
        self.resumed = resumed
        self._client = client
        self._steps_before: dict[str, set[int]] = {}

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log nested parameters as `section.key`; a value too long for MLflow is cut and ends in its hash.

        Raises
        ------
        ConfigError
            When the run was begun with another value.
        """
        from mlflow.entities import Param

        known = self._client.get_run(self.id).data.params
        given = _flatten(values)
        for key in given.keys() & known.keys():
            if given[key] != known[key]:
                raise ConfigError(f"run {self.id} was begun with {key} = {known[key]:.80}, not {given[key]:.80}")
        new = [Param(key, value) for key, value in given.items() if key not in known]
        for start in range(0, len(new), PARAMETERS_PER_CALL):
            self._client.log_batch(self.id, params=new[start : start + PARAMETERS_PER_CALL])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log all metrics of one step (an epoch, say) in one call.

        A resumed training repeats the steps after its last checkpoint; those already recorded are not recorded twice,
        and the first value stays.
        """
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        new = [Metric(k, float(v), now, step) for k, v in values.items() if step not in self._recorded_steps(k)]
        for start in range(0, len(new), METRICS_PER_CALL):
            self._client.log_batch(self.id, metrics=new[start : start + METRICS_PER_CALL])

    def figure(self, name: str, figure: "Figure") -> None:
        """Keep a figure as `figures/<name>.png`; a later one of the same name takes its place."""
        self._client.log_figure(self.id, figure, f"figures/{name}.png")

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file among the run's artifacts, in `folder`."""
        self._client.log_artifact(self.id, str(path), folder)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(key, str(value)) for key, value in values.items()])

    def inputs(self, inputs: Iterable[StageInput], context: str = "training") -> None:
        """Link the run to the data it read, by the hashes that DVC gave them (see `lineage`).

        The paths are kept relative to the repository, so that they stay true when it moves.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        datasets = []
        for item in inputs:
            source = json.dumps({"uri": item.path})
            dataset = Dataset(item.path, item.md5, source_type="local", source=source)
            described = {"mlflow.data.context": context, "dvc.path": item.path, "dvc.md5": item.md5}
            datasets.append(DatasetInput(dataset, [InputTag(key, value) for key, value in described.items()]))
        if datasets:
            self._client.log_inputs(self.id, datasets=datasets)

    def close(self, status: str, error: BaseException | None = None) -> None:
        """End the run as FINISHED, FAILED or KILLED; trouble with the store never hides the error that ended it."""
        try:
            if error is not None:
                self.tags({ERROR_TAG: f"{type(error).__name__}: {error}"[:1000]})
            self._client.set_terminated(self.id, status)
        except Exception as trouble:
            if error is None:
                raise
            _log.warning("run %s could not be marked %s: %s", self.id, status, trouble)

    def _recorded_steps(self, key: str) -> set[int]:
        """The steps of a metric that the run had before it was resumed."""
        if not self.resumed:
            return set()
        if key not in self._steps_before:
            self._steps_before[key] = {metric.step for metric in self._client.get_metric_history(self.id, key)}
        return self._steps_before[key]


def _lock_of(state: Path) -> Path:
    """Beside the state, so that two processes cannot write to one checkpoint either."""
    return state.with_name(f".{state.name}.lock")


def _open_run(
    root: Path, uri: str, experiment: str, name: str, state: Path | None, key: str, tags: Mapping[str, str]
) -> TrackedRun:
    """Go on with the run in `state`, or begin one and write its id there."""
    from mlflow.exceptions import MlflowException

    mlflow_client = client(uri)
    resumable = _interrupted_run(mlflow_client, state, key)
    if resumable is not None:
        mlflow_client.update_run(resumable, status="RUNNING")
        tracked = TrackedRun(mlflow_client, resumable, uri, resumed=True)
        with suppress(MlflowException):  # there is none where the process was killed outright
            mlflow_client.delete_tag(resumable, ERROR_TAG)
        tracked.tags(tags)
        return tracked
    git = git_state(root)
    described = {KEY_TAG: key, **({"mlflow.source.git.commit": git["commit"]} if git else {}), **tags}
    found = mlflow_client.get_experiment_by_name(experiment)
    if found is None:
        raise DataError(f"{uri}: the experiment '{experiment}' was deleted while a run was being begun")
    begun = mlflow_client.create_run(found.experiment_id, run_name=name, tags=described)
    if state is not None:
        write_json(state, {"run_id": begun.info.run_id, "key": key})
    return TrackedRun(mlflow_client, begun.info.run_id, uri, resumed=False)


def _interrupted_run(client: "MlflowClient", state: Path | None, key: str) -> str | None:
    """The run in `state`, if it is of the same key, still in the store, and did not finish."""
    from mlflow.exceptions import MlflowException

    if state is None:
        return None
    try:
        saved = read_json(state)
        if saved["key"] != key:
            return None
        found = client.get_run(saved["run_id"])
    except (DataError, KeyError, TypeError, MlflowException):
        return None  # no file yet, not ours, or the store was emptied: a new run is right in each case
    resumable = found.info.status != "FINISHED" and found.info.lifecycle_stage == "active"
    return str(found.info.run_id) if resumable else None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as MLflow takes them: dotted keys, short strings; what is not a string is written as JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        path = prefix + re.sub(r"[^\w\-. :/]", "_", str(key))
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{path}.")
        else:
            flat[path] = _shortened(value if isinstance(value, str) else json.dumps(value, default=str))
    return flat


def _shortened(text: str) -> str:
    """`text`, or its beginning and its hash, so that two long values that differ stay different."""
    if len(text) <= PARAMETER_LENGTH:
        return text
    end = f"... (sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]})"
    return text[: PARAMETER_LENGTH - len(end)] + end
