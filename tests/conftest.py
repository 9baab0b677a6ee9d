"""Fixtures that several rooms' tests share."""

import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from varistar.lightcurves.cuts import Cuts
from varistar.lightcurves.table import COLUMNS, LightCurves
from varistar.surveys.definition import Survey

REPOSITORY = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path | None:
    """The folder of real light curves, or None where this machine has none."""
    folder = Path(os.environ.get("VARISTAR_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real light curves; the test is skipped without it."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real light curves (set VARISTAR_REAL_DATA)")
    return folder


@pytest.fixture
def new_workers() -> Iterator[None]:
    """Workers of a server that starts in the test, with the environment of the test."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def small_survey() -> Survey:
    """A survey of 200 nights that asks for 20 points in g."""
    window = (58500.0, 58700.0)
    return Survey(
        description="two hundred nights",
        time_system="MJD_UTC",
        window=window,
        cuts=Cuts(bands=("g",), window=window, min_points=20),
        period_range=(1.0, 30.0),
        aliases={"day": (0.98, 1.02), "synodic_month": (28.94, 30.12)},
    )


@pytest.fixture(scope="session")
def make_stars() -> Callable[..., LightCurves]:
    """A function that makes spotted stars in the small survey's window, each a sinusoid of its own with noise."""

    def make(star_ids: Sequence[str], n_points: int = 60, seed: int = 0, **changes: str) -> LightCurves:
        parts = [_sinusoid(np.random.default_rng([seed, i]), n_points) for i in range(len(star_ids))]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        described = {"time_system": "MJD_UTC", "flux_unit": "mJy", "survey": "ASAS-SN", **changes}
        typed = {name: values.astype(COLUMNS[name].dtype) for name, values in columns.items()}
        return LightCurves(tuple(star_ids), np.arange(len(star_ids) + 1) * n_points, typed, **described)  # type: ignore[arg-type]

    return make


def _sinusoid(rng: np.random.Generator, n_points: int) -> dict[str, np.ndarray]:
    time = 58500.0 + np.sort(rng.choice(200 * 64, n_points, replace=False)) / 64
    signal = 1 + rng.uniform(0.02, 0.2) * np.sin(2 * np.pi * time / rng.uniform(2, 25))
    flux = rng.uniform(5, 50) * (signal + 0.01 * rng.normal(size=n_points))
    return {
        "time": time,
        "flux": flux,
        "flux_err": 0.01 * flux,
        "mag": 16.4 - 2.5 * np.log10(flux),
        "mag_err": np.full(n_points, 0.01),
        "limit": np.full(n_points, 17.5),
        "fwhm": np.full(n_points, 1.5),
        "camera": rng.choice(["bs", "bS"], n_points),
        "band": np.full(n_points, "g"),
        "quality": np.zeros(n_points),
    }


@pytest.fixture(scope="session")
def write_skypatrol() -> Callable[[Path, LightCurves], Path]:
    """A function that writes one star as Sky Patrol's web page does (v2, CSV)."""

    def write(path: Path, star: LightCurves) -> Path:
        lines = ["JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera"]
        for row in zip(*(star[name] for name in COLUMNS), strict=True):
            time, flux, flux_err, mag, mag_err, limit, fwhm, camera, band, quality = row
            lines.append(
                f"{time + 2400000.5:.6f},{flux:.9g},{flux_err:.9g},{mag:.9g},{mag_err:.9g},{limit:.9g},{fwhm:.9g},"
                f"{band},{'GBU'[quality]},{camera}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def make_period_model(tmp_path_factory: pytest.TempPathFactory, small_survey: Survey) -> Callable[..., Path]:
    """A function that writes the content of an untrained period network of the smallest size; returns its folder."""
    import torch

    from varistar.experiments.content import ModelContent, write_content
    from varistar.periods.measure import describe_model
    from varistar.periods.network import build_network
    from varistar.periods.representation import PeriodGrid, Representation
    from varistar.periods.variants import NetworkSettings

    def make(seed: int = 0, survey: Survey = small_survey, clean: bool = False) -> Path:
        periods = PeriodGrid(count=8)
        representation = Representation(
            window=survey.window, nodes=36, periods=periods, pool=1, clean=clean, power="delta_chi2", scale="log"
        )
        settings = NetworkSettings(filters=(4, 4, 4), head="laplace")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_network(settings, representation)
            for name, weights in network.named_parameters():
                # Untrained networks hardly look at their image; louder weights make answers that differ.
                torch.nn.init.normal_(weights, std=0.3 if "weight" in name else 0.1)
        folder = tmp_path_factory.mktemp("model") / "content"
        spec = describe_model(settings, representation, survey, {"within_10pct": 0.1}, {})
        calibrated = spec.model_copy(update={"calibration": {"stretch": 1.0}})
        write_content(folder, ModelContent(calibrated, network.state_dict()))
        return folder

    return make


@pytest.fixture(scope="session")
def period_model(make_period_model: Callable[..., Path]) -> Path:
    """The content of an untrained period network; to be read only."""
    return make_period_model()


@pytest.fixture(scope="session")
def crown() -> Callable[[Path, Path], None]:
    """A function that makes a model the champion of the project in a folder, with a score of 0.123 and no questions."""
    from varistar.experiments.content import content_hash
    from varistar.experiments.gates import Comparison, Scores
    from varistar.experiments.registry import promote

    def make_champion(root: Path, model: Path) -> None:
        scores = Scores(content=content_hash(model), test_set="frozen", metrics={"within_10pct": 0.123})
        promote(root, "periods", model, Comparison(challenger=scores), "for a test", gates={}, forced=True)

    return make_champion


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has params.yaml and nothing else, as the working folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    monkeypatch.chdir(root)
    return root


class Answer(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def varistar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A function that runs the command line in this process, the way the installed program does."""
    from varistar.cli import main

    def run(*arguments: str | Path) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["varistar", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Answer(int(stopped.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def refuses(varistar: Callable[..., Answer]) -> Callable[..., str]:
    """A function that runs a command which must answer with one sentence and exit code 2; returns the sentence."""

    def run(*arguments: str | Path) -> str:
        answer = varistar(*arguments)
        lines = answer.err.splitlines()
        assert answer.code == 2, answer
        assert len(lines) == 1 and lines[0].startswith("varistar: "), answer.err
        assert "Traceback" not in answer.out + answer.err
        return lines[0].removeprefix("varistar: ")

    return run


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file can grow beyond some bytes: every writer fails as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests went without the real data."""
    without = [r for r in terminalreporter.stats.get("skipped", []) if "VARISTAR_REAL_DATA" in str(r.longrepr)]
    if without:
        terminalreporter.write_line(f"{len(without)} tests were skipped for want of real data (VARISTAR_REAL_DATA)")
