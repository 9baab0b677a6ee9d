"""A tiny wing, and MLflow stores that need not be migrated for each test."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import varistar
from varistar.experiments.content import Architecture, ModelContent, ModelSpec, content_hash, write_content
from varistar.experiments.gates import Comparison, Difference, Scores
from varistar.experiments.store import ensure_store

SOURCE = Path(varistar.__file__).resolve().parent.parent


class TinyNetwork(nn.Module):
    """Image of uint8 in, calibrated (period, sigma) out."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(4, 2)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.convolution(image.float() / 255)).mean((2, 3))
        period, sigma = self.head(features).unbind(1)
        return torch.stack([180 * torch.sigmoid(period), self.scale * torch.exp(sigma)], 1)


def tiny_spec(**changes: Any) -> ModelSpec:
    """A valid specification."""
    values: dict[str, Any] = {
        "wing": "periods",
        "architecture": Architecture(name="tiny", settings={"channels": 4}),
        "preprocessing": {"image": {"height": 8, "width": 8}},
        "calibration": {"scale": 1.5},
        "metrics": {"acc10": 0.5},
        "training_data": {"build/images": "0" * 32 + ".dir"},
    }
    return ModelSpec(**(values | changes))


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    return tiny_spec


@pytest.fixture
def make_content(tmp_path: Path) -> Callable[..., Path]:
    """Write the content of a network with weights of this seed, and return its folder."""

    def make(seed: int = 0, **changes: Any) -> Path:
        torch.manual_seed(seed)
        content = ModelContent(tiny_spec(**changes), TinyNetwork(1.5).state_dict())
        folder = tmp_path / "candidates" / f"{changes.get('wing', 'periods')}-{seed}"
        write_content(folder, content)
        return folder

    return make


@pytest.fixture
def load_network() -> Callable[[ModelContent], tuple[nn.Module, np.ndarray]]:
    """What a wing hands to the packaging."""

    def load(content: ModelContent) -> tuple[nn.Module, np.ndarray]:
        network = TinyNetwork(0.0)
        network.load_state_dict(content.state_dict())
        return network, np.random.default_rng(5).integers(0, 256, (4, 2, 8, 8), dtype=np.uint8)

    return load


@pytest.fixture
def compare() -> Callable[..., Comparison]:
    """The comparison of a candidate with an incumbent (a content hash) on one test set."""

    def make(candidate: Path, incumbent: str | None, gain: float = 0.1) -> Comparison:
        first = Scores(content=content_hash(candidate), test_set="frozen", metrics={"acc10": 0.5 + gain})
        second = Scores(content=incumbent, test_set="frozen", metrics={"acc10": 0.5}) if incumbent else None
        difference = {"acc10": Difference(mean=gain, low=gain - 0.01, high=gain + 0.01)} if incumbent else {}
        return Comparison(challenger=first, champion=second, differences=difference)

    return make


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To migrate a fresh database takes two seconds; to copy one, none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("template")
        ensure_store(root)
    return root


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository: no store yet, and none in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def stored(repository: Path, _migrated: Path) -> Path:
    """A repository with a migrated store."""
    shutil.copytree(_migrated / "mlruns", repository / "mlruns")
    return repository


@pytest.fixture
def columns_that_hold() -> Callable[[Path, str], set[tuple[str, str]]]:
    """Every (table, column) of a store in which some value contains a text."""

    def search(root: Path, text: str) -> set[tuple[str, str]]:
        with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]
            query = "SELECT 1 FROM {} WHERE instr({}, ?)"
            return {(t, c) for t, c in columns if connection.execute(query.format(t, c), (text,)).fetchone()}

    return search


@pytest.fixture
def python() -> Callable[..., "subprocess.Popen[str]"]:
    """Start a Python process that sees varistar."""

    def start(code: str, *arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
