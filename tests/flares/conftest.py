"""A tiny project in which the stages of the flare wing have run once, up to the calibrated networks."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from varistar.bulk import local
from varistar.flares import calibrate, examples, simulate, train
from varistar.foundation.params import lookup, read_params

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("windows", "points")
VARIANTS = ("points", "windows")

#: What makes the repository's parameters small; each split gets a few stars.
SMALL: dict[str, Any] = {
    "accelerator": "cpu",
    "flares.split": {"train": 0.4, "validation": 0.2, "calibration": 0.2, "test": 0.2, "seed": 4},
    "flares.sectors": {"seed": 5, "n_stars": 24, "sectors": [1], "second_sector": 0.0},
    "flares.examples.points.length": 256,
    "flares.variants.points.network": {"trunk": "points", "filters": [4, 6]},
    "flares.variants.windows.network": {"trunk": "window", "filters": [4, 6], "dense": 8},
    **{
        f"flares.variants.{name}.{key}": value
        for name in VARIANTS
        for key, value in (("training.max_epochs", 2), ("training.batch_size", 64))
    },
}


@dataclass(frozen=True)
class Project:
    """A project on disk."""

    root: Path

    @property
    def build(self) -> Path:
        return self.root / "build/flares"

    @property
    def params(self) -> dict[str, Any]:
        return read_params(self.root)

    def change(self, **changes: Any) -> None:
        """Set keys of params.yaml, with `__` for a dot."""
        write_params(self.root, {key.replace("__", "."): value for key, value in changes.items()}, self.params)


@contextmanager
def inside(root: Path) -> Iterator[pytest.MonkeyPatch]:
    """Work in the project's folder and in this process alone."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(local, "available_processors", lambda: 1)
        yield patch
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two wait for each other, in networks as small as those of the tests, and round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def in_project() -> Callable[[Path], Any]:
    return inside


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The stages one after the other; to be read only."""
    project = Project(tmp_path_factory.mktemp("project"))
    write_params(project.root, SMALL, read_params(REPOSITORY))
    with inside(project.root):
        simulate.main()
        for kind in KINDS:
            examples.main(kind)
        for stage in (train, calibrate):
            for name in VARIANTS:
                stage.main(name)
    return project


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """The project in a folder of its own, which a test may change."""
    shutil.copytree(project.root, tmp_path / "copied")
    return Project(tmp_path / "copied")


def write_params(root: Path, changes: dict[str, Any], params: dict[str, Any]) -> None:
    """Write params.yaml with these dotted keys, whose sections must exist, changed."""
    for key, value in changes.items():
        path, _, last = key.rpartition(".")
        (lookup(params, path) if path else params)[last] = value
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
