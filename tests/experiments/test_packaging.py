"""What MLflow serves is the champion, calibrated, and without pickle."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from torch import nn

from varistar.experiments import packaging
from varistar.experiments.content import SPEC, WEIGHTS, content_hash, read_content
from varistar.experiments.gates import Gate
from varistar.experiments.packaging import load_packaged, package
from varistar.experiments.registry import promote, restore_mlflow, rollback
from varistar.experiments.store import FOLDER_TAG, PATH_COLUMNS, client, ensure_store, tracking_uri
from varistar.experiments.tracking import run
from varistar.foundation.errors import RegistryError

GATES = {"acc10": Gate(minimum=0.3)}


@pytest.fixture
def crown(stored, make_content, compare):
    """Make the content of a seed champion; return its folder."""

    def promote_seed(seed: int, incumbent: Path | None = None) -> Path:
        candidate = make_content(seed)
        comparison = compare(candidate, content_hash(incumbent) if incumbent else None)
        return promote(stored, "periods", candidate, comparison, "r", gates=GATES).folder

    return promote_seed


@pytest.fixture
def images():
    return np.random.default_rng(9).integers(0, 256, (7, 2, 8, 8), dtype=np.uint8)


def expected(folder, load_network, images):
    network, _ = load_network(read_content(folder))
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


def test_an_empty_store_is_restored(stored, crown, load_network, make_content, images, columns_that_hold):
    """Both aliases, whatever the batch size, through MLflow's own front door; and once more, which changes nothing."""
    folder = crown(0)
    challenger = make_content(1)
    version = restore_mlflow(stored, "periods", load_network, challenger=challenger)
    assert restore_mlflow(stored, "periods", load_network, challenger=challenger) == version
    mlflow_client = client(tracking_uri(stored))
    versions = {v.version: v for v in mlflow_client.search_model_versions("name = 'varistar-periods'")}
    assert len(versions) == 2
    assert versions[int(version)].tags == {"content_hash": content_hash(folder)}
    for alias, content in (("champion", folder), ("challenger", challenger)):
        model = load_packaged(stored, "periods", alias)
        for batch in (images, images[:1]):
            np.testing.assert_allclose(model.predict(batch), expected(content, load_network, batch), rtol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri(stored))
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        model = mlflow.pyfunc.load_model("models:/varistar-periods@champion")
    np.testing.assert_allclose(model.predict(images), expected(folder, load_network, images), rtol=1e-5)
    remembered = {("experiment_tags", "value")}
    assert columns_that_hold(stored, str(stored)) <= {*PATH_COLUMNS, *remembered}, "MLflow has a new column of paths"


def test_the_registry_survives_a_move(stored, tmp_path, crown, load_network, images):
    folder = crown(0)
    version = restore_mlflow(stored, "periods", load_network)
    answer = expected(folder, load_network, images)
    there = tmp_path / "there"
    shutil.move(stored, there)
    np.testing.assert_allclose(load_packaged(there, "periods").predict(images), answer, rtol=1e-5)
    assert restore_mlflow(there, "periods", load_network) == version


def test_what_is_packaged(stored, crown, load_network):
    folder = crown(0)
    with run(stored, "varistar", "training") as tracked:
        pass
    package(stored, folder, load_network, run_id=tracked.id)
    mlflow_client = client(tracking_uri(stored))
    (version,) = mlflow_client.search_model_versions("name = 'varistar-periods'")
    assert version.run_id == tracked.id
    assert "# varistar periods: tiny" in version.description
    assert "| acc10 | 0.5 |" in version.description
    files = Path(mlflow_client.get_model_version_download_uri("varistar-periods", version.version))
    for name in (SPEC, WEIGHTS):
        assert (files / "extra_files" / name).read_bytes() == (folder / name).read_bytes()
    assert (files / "extra_files" / "README.md").read_text() == version.description
    requirements = (files / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.split('+')[0]}" in requirements
    assert not [path for path in files.rglob("*") if path.suffix in {".pkl", ".pickle", ".pth", ".pt", ".bin"}]
    with zipfile.ZipFile(files / "data" / "model.pt2") as archive:
        weights = json.loads(archive.read("model/data/weights/model_weights_config.json"))["config"]
        assert not any(entry["use_pickle"] for entry in weights.values())


def test_the_signature_refuses_other_input(stored, make_content, load_network, images):
    package(stored, make_content(0), load_network)
    packaging.set_aliases(stored, "periods", "1")
    served = load_packaged(stored, "periods")
    for other in (images.astype(float), images.astype(np.float32), images[:, :, :7], images[0], images[:, :1]):
        with pytest.raises(MlflowException, match="Failed to enforce schema"):
            served.predict(other)


def test_a_rollback_moves_the_alias_back(stored, crown, load_network):
    first = crown(0)
    versions = [restore_mlflow(stored, "periods", load_network)]
    second = crown(1, first)
    versions.append(restore_mlflow(stored, "periods", load_network, challenger=second))
    versions.append(restore_mlflow(stored, "periods", load_network))
    mlflow_client = client(tracking_uri(stored))
    aliases = mlflow_client.get_registered_model("varistar-periods").aliases
    assert {name: str(version) for name, version in aliases.items()} == {"champion": versions[2]}, (
        "no longer challenger"
    )
    rollback(stored, "periods", "r")
    assert restore_mlflow(stored, "periods", load_network) == versions[0] != versions[1] == versions[2]
    assert str(mlflow_client.get_model_version_by_alias("varistar-periods", "champion").version) == versions[0]


def test_a_version_whose_files_are_gone_is_made_anew(stored, crown, load_network, images):
    folder = crown(0)
    version = restore_mlflow(stored, "periods", load_network)
    shutil.rmtree(stored / "mlruns" / "artifacts")
    assert restore_mlflow(stored, "periods", load_network) != version
    answer = load_packaged(stored, "periods").predict(images)
    np.testing.assert_allclose(answer, expected(folder, load_network, images), rtol=1e-5)


def test_without_a_champion_there_is_nothing_to_restore(stored, load_network):
    with pytest.raises(RegistryError, match="no champion for periods"):
        restore_mlflow(stored, "periods", load_network)
    with pytest.raises(RegistryError, match="MLflow has no models:/varistar-periods@champion"):
        load_packaged(stored, "periods")


def test_mlflows_global_state_is_left_as_it_was(stored, crown, load_network, tmp_path, monkeypatch):
    crown(0)
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    restore_mlflow(stored, "periods", load_network)
    assert not mlflow.is_tracking_uri_set()
    assert {"MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"}.isdisjoint(os.environ)
    mine = f"sqlite:///{tmp_path}/mine.db"
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    with packaging._global_store(mine):
        load_packaged_from = tracking_uri(stored)
        assert mlflow.get_tracking_uri() == load_packaged_from == mine
    assert not mlflow.is_tracking_uri_set()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "true"


class _Branching(nn.Module):
    """Not traceable: what it does depends on the data."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().mean((2, 3)) if image.sum() > 0 else image.float().sum((2, 3))


class _BoundToItsBatch(nn.Module):
    """Exports, with the batch of the example built in."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().reshape(2 if torch.compiler.is_exporting() else len(image), 2, -1).mean(2)


class _Other(nn.Module):
    """Does another thing when exported."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().mean((2, 3)) * (2 if torch.compiler.is_exporting() else 1)


class _Several(nn.Module):
    """Gives two tensors."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image.float().mean((2, 3)), image.float()


@pytest.mark.parametrize(
    ("network", "rows", "sentence"),
    [
        (_Branching(), 4, "the network cannot be exported"),
        (_BoundToItsBatch(), 4, "the exported network refuses a batch of 1"),
        (_Other(), 4, "the exported network answers otherwise"),
        (_Several(), 4, "must give one float32 tensor"),
        (_Other(), 1, "a batch of at least two"),
    ],
)
def test_what_cannot_be_packaged_is_not_registered(stored, make_content, network, rows, sentence):
    def load(content: object) -> tuple[nn.Module, np.ndarray]:
        return network, np.ones((rows, 2, 8, 8), dtype=np.uint8)

    with pytest.raises(RegistryError, match=sentence):
        package(stored, make_content(0), load)
    mlflow_client = client(tracking_uri(stored))
    assert mlflow_client.search_model_versions("name = 'varistar-periods'") == []
    experiment = mlflow_client.get_experiment_by_name("varistar")
    assert experiment.tags[FOLDER_TAG] == str(stored / "mlruns")
    assert all(m.status == "FAILED" for m in mlflow_client.search_logged_models([experiment.experiment_id]))


class _AlongTime(nn.Module):
    """Answers for every cadence of a series of any length."""

    free_axes = (0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(3, 1, 5, padding=2)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.convolution(series)[:, 0]


def test_further_axes_are_free_where_the_network_says_so(stored, make_content):
    network, rng = _AlongTime().eval(), np.random.default_rng(3)
    package(stored, make_content(0), lambda _: (network, rng.standard_normal((2, 3, 64)).astype(np.float32)))
    packaging.set_aliases(stored, "periods", "1")
    served = load_packaged(stored, "periods")
    for shape in ((1, 3, 7), (5, 3, 1001)):
        series = rng.standard_normal(shape).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(series)).numpy()
        np.testing.assert_allclose(served.predict(series), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(MlflowException, match="Failed to enforce schema"):
        served.predict(np.ones((1, 2, 64), np.float32))


class _BoundToItsLength(_AlongTime):
    """Exports, with the length of the example built in."""

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        length = 64 if torch.compiler.is_exporting() else series.shape[2]
        return self.convolution(series.reshape(-1, 3, length))[:, 0]


def test_a_length_built_in_is_noticed(stored, make_content):
    with pytest.raises(RegistryError, match=r"refuses a batch of 1 x 3 x 24|cannot be exported"):
        package(stored, make_content(0), lambda _: (_BoundToItsLength(), np.ones((2, 3, 64), np.float32)))


def test_a_pickled_model_in_the_registry_is_not_loaded(stored, crown, load_network):
    """Somebody else may have registered it, under the champion's alias."""
    crown(0)
    restore_mlflow(stored, "periods", load_network)
    uri = ensure_store(stored)
    with packaging._global_store(uri):
        experiment = client(uri).get_experiment_by_name("varistar")
        with mlflow.start_run(experiment_id=experiment.experiment_id):
            info = mlflow.pytorch.log_model(
                nn.Linear(2, 2), name="trap", serialization_format="pickle", pip_requirements=["torch"]
            )
        found = client(uri).create_model_version("varistar-periods", info.model_uri)
    client(uri).set_registered_model_alias("varistar-periods", "champion", found.version)
    with pytest.raises(RegistryError, match=r"@champion cannot be loaded: .*pickle is disallowed"):
        load_packaged(stored, "periods")
