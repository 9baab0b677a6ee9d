"""One run per training, whatever happens to it."""

import json
import signal

import matplotlib.figure
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.experiments import tracking
from varistar.experiments.lineage import StageInput
from varistar.experiments.store import client, tracking_uri
from varistar.experiments.tracking import run
from varistar.foundation.errors import ConfigError, VaristarError

TRAIN_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from varistar.experiments.tracking import run
with run(Path(sys.argv[1]), "varistar", "training", state=Path(sys.argv[2]), key="k") as tracked:
    for epoch in range(3):
        tracked.metrics({"loss": 1.0 / (1 + epoch)}, epoch)
    print(tracked.id, flush=True)
    time.sleep(600)
"""


def test_what_is_logged_can_be_read_back(stored):
    parameters = {"optimizer": {"name": "adam", "rate": 0.01, "betas": [0.9, 0.99]}, "patience": None, "odd|key": True}
    figure = matplotlib.figure.Figure()
    data = [StageInput("build/images", "0" * 32 + ".dir", 10), StageInput("data/catalog.csv", "1" * 32, None)]
    with run(stored, "varistar", "a name", tags={"wing": "periods"}) as tracked:
        tracked.parameters(parameters)
        tracked.metrics({"loss": 0.5, "accuracy": np.float32(0.25)}, step=0)
        tracked.metrics({"loss": 0.25}, step=1)
        tracked.figure("curve", figure)
        tracked.inputs(data)
        tracked.inputs(data[:1])
    mlflow_client = client(tracked.uri)
    found = mlflow_client.get_run(tracked.id)
    assert found.info.run_name == "a name"
    assert found.info.status == "FINISHED"
    assert found.data.tags["wing"] == "periods"
    assert found.data.params == {
        "optimizer.name": "adam",
        "optimizer.rate": "0.01",
        "optimizer.betas": "[0.9, 0.99]",
        "patience": "null",
        "odd_key": "true",
    }
    assert found.data.metrics == {"loss": 0.25, "accuracy": 0.25}
    assert [file.path for file in mlflow_client.list_artifacts(tracked.id, "figures")] == ["figures/curve.png"]
    inputs = {i.dataset.name: i for i in found.inputs.dataset_inputs}
    assert {name: i.dataset.digest for name, i in inputs.items()} == {d.path: d.md5 for d in data}
    assert json.loads(inputs["build/images"].dataset.source) == {"uri": "build/images"}
    assert {tag.key: tag.value for tag in inputs["build/images"].tags}["dvc.md5"] == "0" * 32 + ".dir"


def test_a_killed_training_is_resumed_as_one_run(stored, tmp_path, python):
    state = tmp_path / "checkpoint" / "run.json"
    process = python(TRAIN_UNTIL_KILLED, stored, state)
    killed = process.stdout.readline().strip()
    with (
        pytest.raises(VaristarError, match="another process is recording this run"),
        run(stored, "varistar", "training", state=state, key="k"),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    mlflow_client = client(tracking_uri(stored))
    assert mlflow_client.get_run(killed).info.status == "RUNNING"
    with run(stored, "varistar", "training", state=state, key="k") as tracked:
        assert (tracked.id, tracked.resumed) == (killed, True)
        for epoch in range(2, 5):  # its last checkpoint was that of epoch 1
            tracked.metrics({"loss": 1.0 / (1 + epoch), "new": 1.0}, epoch)
    history = mlflow_client.get_metric_history(killed, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(epoch, 1.0 / (1 + epoch)) for epoch in range(5)]
    assert [metric.step for metric in mlflow_client.get_metric_history(killed, "new")] == [2, 3, 4]
    assert mlflow_client.get_run(killed).info.status == "FINISHED"
    assert len(_runs(stored)) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("bad loss"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED")],
)
def test_an_interrupted_run_is_marked_and_resumed(stored, tmp_path, error, status):
    state = tmp_path / "run.json"
    with pytest.raises(type(error)) as raised, run(stored, "varistar", "t", state=state) as first:
        first.parameters({"rate": 0.1})
        raise error
    assert raised.value is error
    found = client(first.uri).get_run(first.id)
    assert found.info.status == status
    assert found.data.tags[tracking.ERROR_TAG] == f"{type(error).__name__}: {error}"
    with run(stored, "varistar", "t", state=state) as second:
        assert second.id == first.id
        assert client(first.uri).get_run(first.id).info.status == "RUNNING"
        second.parameters({"rate": 0.1, "late": 1})
    found = client(first.uri).get_run(first.id)
    assert found.info.status == "FINISHED"
    assert tracking.ERROR_TAG not in found.data.tags
    assert found.data.params == {"rate": "0.1", "late": "1"}


def test_a_resumed_run_keeps_its_parameters(stored, tmp_path):
    state = tmp_path / "run.json"
    with pytest.raises(RuntimeError), run(stored, "varistar", "t", state=state) as tracked:
        tracked.parameters({"rate": 0.1})
        raise RuntimeError
    sentence = f"run {tracked.id} was begun with rate = 0.1, not 0.2"
    with pytest.raises(ConfigError, match=sentence), run(stored, "varistar", "t", state=state) as again:
        again.parameters({"rate": 0.2})


def test_what_is_not_an_interrupted_run_is_not_resumed(stored, tmp_path):
    """A finished run, another key, a run deleted by hand, a damaged state and an emptied store: a new run each."""
    state = tmp_path / "run.json"
    ids = []

    def attempt(key: str = "a") -> None:
        with pytest.raises(RuntimeError), run(stored, "varistar", "t", state=state, key=key) as tracked:
            ids.append(tracked.id)
            raise RuntimeError

    with run(stored, "varistar", "t", state=state, key="a") as tracked:
        ids.append(tracked.id)
    attempt()
    attempt(key="b")
    client(tracked.uri).delete_run(ids[-1])
    attempt(key="b")
    for damaged in ("{", "[]", "{}", '{"key": "b", "run_id": "../x"}', '{"key": "b", "run_id": "' + "0" * 32 + '"}'):
        state.write_text(damaged)
        attempt(key="b")
    assert len(set(ids)) == len(ids) == 9


def test_without_a_state_each_call_is_a_run(stored):
    ids = set()
    for _ in range(2):
        with run(stored, "varistar", "t") as tracked:
            ids.add(tracked.id)
    assert len(ids) == len(_runs(stored)) == 2


def test_more_metrics_and_parameters_than_mlflow_takes_at_once(stored):
    with run(stored, "varistar", "t") as tracked:
        tracked.metrics({f"m{i}": i for i in range(2300)})
        tracked.parameters({"p": {f"{i}": i for i in range(230)}})
    found = client(tracked.uri).get_run(tracked.id)
    assert found.data.metrics == {f"m{i}": float(i) for i in range(2300)}
    assert found.data.params == {f"p.{i}": str(i) for i in range(230)}


def test_a_metric_that_is_not_a_number_is_recorded(stored):
    with run(stored, "varistar", "t") as tracked:
        tracked.metrics({"undefined": float("nan")}, 3)
    (metric,) = client(tracked.uri).get_metric_history(tracked.id, "undefined")
    assert np.isnan(metric.value)


def test_long_parameters_stay_different(stored):
    common = "x" * 9000
    with run(stored, "varistar", "t") as tracked:
        tracked.parameters({"a": common + "1", "b": common + "2"})
        tracked.parameters({"a": common + "1"})
    found = client(tracked.uri).get_run(tracked.id).data.params
    assert found["a"] != found["b"]
    assert {len(value) for value in found.values()} == {tracking.PARAMETER_LENGTH}


def test_trouble_with_the_store_does_not_hide_the_error(stored, caplog):
    with pytest.raises(ValueError, match="the cause"), run(stored, "varistar", "t") as tracked:
        (stored / "mlruns" / "mlflow.db").unlink()
        raise ValueError("the cause")
    assert f"run {tracked.id} could not be marked FAILED" in caplog.text


KEYS = st.text("abc", min_size=1, max_size=3)
LEAVES = st.integers() | st.text('x"é', max_size=3) | st.booleans()


@given(
    st.recursive(
        st.dictionaries(KEYS, LEAVES, max_size=3), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=9
    )
)
def test_flattening_keeps_every_leaf(nested):
    def leaves(value: object, path: str = "") -> dict[str, object]:
        if isinstance(value, dict) and value:
            return {k: v for key, inner in value.items() for k, v in leaves(inner, f"{path}.{key}").items()}
        return {path[1:]: value}

    expected = {key: value if isinstance(value, str) else json.dumps(value) for key, value in leaves(nested).items()}
    assert tracking._flatten(nested) == (expected if nested else {})


def _runs(root):
    mlflow_client = client(tracking_uri(root))
    return mlflow_client.search_runs([e.experiment_id for e in mlflow_client.search_experiments()])
