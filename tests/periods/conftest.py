"""A tiny sky, and a tiny project in which every stage of the period chain has run once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from varistar.bulk import local
from varistar.experiments import publish
from varistar.foundation.params import lookup, read_params, read_section
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods import baselines, calibrate, compare, evaluate, images, inject, simulate, templates, train
from varistar.sky.ground import Sky, SkySettings, StarCounts, simulate_sky
from varistar.surveys.definition import Survey

REPOSITORY = Path(__file__).resolve().parents[2]
SHARDS = 3

#: What of the repository's parameters is made: two variants, every representation, every sample that tests are made of.
SAMPLES = ("clump", "quasar", "broad")
IMAGES = ("clump-paper", "clump-log", "quasar-paper", "broad-statistics", "broad-nights")
VARIANTS = ("clump-8-16-32", "period-axis")

#: And what makes it small; each split gets a few of the templates.
SMALL: dict[str, Any] = {
    "periods.split": {"train": 0.4, "validation": 0.2, "calibration": 0.2, "test": 0.2, "seed": 1},
    "periods.samples.clump.simulations": 60,
    "periods.samples.quasar.simulations": 24,
    "periods.samples.broad.simulations": 100,
    **{
        f"periods.representations.{name}.{key}": value
        for name in ("paper", "log")
        for key, value in (("nodes", 72), ("periods.count", 16))
    },
    **{
        f"periods.representations.statistics.{key}": value
        for key, value in (("nodes", 32), ("bins", 40), ("margins", [3, 8]))
    },
    "periods.representations.nights.count": 64,
    "periods.variants.period-axis.network.filters": [8, 8, 8],
    "periods.variants.period-axis.network.bins": 40,
    **{
        f"periods.variants.{name}.{key}": value
        for name in VARIANTS
        for key, value in (
            ("members", 2), ("training.max_epochs", 3), ("training.batch_size", 8), ("training.threads", 1)
        )
    },
}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A project on disk, and what its stages asked the outside world for."""

    root: Path
    packaged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def build(self) -> Path:
        return self.root / "build/periods"

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
    """Two wait for each other, in networks as small as those of the tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def in_project() -> Callable[[Path], Any]:
    return inside


@pytest.fixture(scope="session")
def survey() -> Survey:
    """The survey of the repository's parameters."""
    return read_section(REPOSITORY, "surveys.asassn", Survey)


@pytest.fixture(scope="session")
def sky() -> Sky:
    """Twenty giants of the red clump, ten quasars, and a few stars with a period."""
    some = {"clump": 20, "quasar": 10, "rotator": 4, "cepheid": 3, "constant": 2}
    counts = StarCounts(**dict.fromkeys(StarCounts.model_fields, 0) | some)
    return simulate_sky(SkySettings(seed=5, n_fields=2, counts=counts))


@pytest.fixture(scope="session")
def project(sky: Sky, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The stages one after the other; only the packaging for MLflow's registry, which takes seconds, is left out."""
    project = Project(tmp_path_factory.mktemp("project"))
    write_params(project.root, SMALL, read_params(REPOSITORY))
    write_survey(project.root, sky)

    def package(root: Path, folder: Path, load_network: Any, **more: Any) -> str:
        project.packaged.append({"root": root, "folder": folder, "load_network": load_network, **more})
        return "1"

    with inside(project.root) as patch:
        patch.setattr(publish, "package", package)
        for stage, keys in (
            (templates, ("clump", "quasar")),
            (simulate, SAMPLES),
            (inject, SAMPLES),
            (images, IMAGES),
            (train, VARIANTS),
            (calibrate, VARIANTS),
            (baselines, SAMPLES),
            (evaluate, VARIANTS),
        ):
            for key in keys:
                stage.main(key)
        compare.main()
    return project


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """The project in a folder of its own, which a test may change."""
    shutil.copytree(project.root, tmp_path / "copied")
    return Project(tmp_path / "copied")


@pytest.fixture(scope="session")
def injected(project: Project) -> Callable[[str, str], LightCurves]:
    """The injected light curves of a (sample, split), in the order of their shards."""

    def read(sample: str, split: str) -> LightCurves:
        shards = sorted((project.build / "injected" / sample / split).glob("part-*.parquet"))
        return concatenate([read_shard(path) for path in shards])

    return read


def write_params(root: Path, changes: dict[str, Any], params: dict[str, Any]) -> None:
    """Write params.yaml with these dotted keys, which must exist, changed."""
    for key, value in changes.items():
        path, _, last = key.rpartition(".")
        section = lookup(params, path)
        assert last in section, key
        section[last] = value
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)


def write_survey(root: Path, sky: Sky) -> None:
    """data/ as the embedded survey has it, in a few shards."""
    (root / "data/ground").mkdir(parents=True)
    sky.stars.write_parquet(root / "data/ground/stars.parquet")
    for number, rows in enumerate(np.array_split(np.arange(len(sky.light_curves)), SHARDS)):
        write_shard(root / f"data/ground/light_curves/part-{number:05d}.parquet", sky.light_curves.take(rows))
