"""A sample made in one pass is the pipeline's, whatever the engine, its number of workers, and kills."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.experiments.splits import SPLITS
from varistar.foundation.errors import ConfigError, DataError
from varistar.periods import inject, sample, simulate
from varistar.periods.inject import InjectionPiece
from varistar.periods.sample import make_sample


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_is_the_pipelines_to_the_byte(project: Any, tmp_path: Path, workers: int) -> None:
    counts = make_sample(project.root, "clump", tmp_path / "clump", engine=Engine(workers=workers))
    assert content(tmp_path / "clump") == content(project.build / "injected/clump")
    truth = {split: pl.read_parquet(tmp_path / "clump" / split / "truth.parquet") for split in SPLITS}
    assert counts == {split: table.height for split, table in truth.items()}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["clump"]


def test_a_mixture_is_the_pipelines_to_the_byte(copied: Any, in_project: Callable[[Path], Any], tmp_path: Path) -> None:
    """Several kinds on several template sets, with augmentation."""
    kinds = ("paper", "long_lived", "constant", "irregular")
    parts = [{"templates": name, "stars": kind} for name in ("clump", "quasar") for kind in kinds]
    copied.change(
        periods__samples__clump={
            "simulations": 48,
            "parts": parts,
            "augment": {"drop_epochs": 0.3, "drop_camera": 0.5, "noise": 0.5, "borrow_window": 0.5},
        }
    )
    with in_project(copied.root):
        simulate.main("clump")
        inject.main("clump")
    make_sample(copied.root, "clump", tmp_path / "clump", engine=Engine(workers=1))
    assert content(tmp_path / "clump") == content(copied.build / "injected/clump")
    truth = pl.concat([pl.read_parquet(tmp_path / "clump" / split / "truth.parquet") for split in SPLITS])
    assert set(truth.group_by("templates", "stars").len().iter_rows()) == {
        (name, kind, 6) for name in ("clump", "quasar") for kind in kinds
    }


def test_a_sample_of_another_size(project: Any, tmp_path: Path) -> None:
    counts = make_sample(project.root, "clump", tmp_path / "clump", examples=7, engine=Engine(workers=1))
    assert counts is not None and sum(counts.values()) == 7


def test_a_sample_that_was_killed_goes_on(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    injected: list[Path] = []

    def until_killed(piece: InjectionPiece, target: Path) -> dict[str, int]:
        if len(injected) == 3:
            raise KeyboardInterrupt
        injected.append(target)
        return inject_piece(piece, target)

    inject_piece = sample.inject_piece
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sample, "inject_piece", until_killed)
        make_sample(project.root, "clump", tmp_path / "clump", engine=Engine(workers=1))
    assert not (tmp_path / "clump").exists()
    kept = list((tmp_path / "clump.parts").rglob("*.done.json"))
    assert len(kept) == 3
    make_sample(project.root, "clump", tmp_path / "clump", engine=Engine(workers=1))
    assert content(tmp_path / "clump") == content(project.build / "injected/clump")


def test_what_is_missing_is_said(project: Any, copied: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"periods\.samples\.nobody"):
        make_sample(project.root, "nobody", tmp_path / "nobody")
    copied.change(periods__samples__quasar__parts=[{"templates": "quasar", "stars": "novae"}])
    with pytest.raises(
        ConfigError, match=r"'periods\.stars\.novae' does not exist; periods\.stars has constant, irreg"
    ):
        make_sample(copied.root, "quasar", tmp_path / "quasar")
    templates = copied.build / "templates/clump"
    templates.rename(templates.with_name("elsewhere"))
    with pytest.raises(
        DataError, match=r"templates/clump: these templates have not been made; use `dvc repro templates@"
    ):
        make_sample(copied.root, "clump", tmp_path / "clump")
