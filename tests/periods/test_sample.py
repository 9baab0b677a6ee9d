"""A sample made in one pass is the pipeline's, whatever the engine, its number of workers, and kills."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.foundation.errors import ConfigError, DataError
from varistar.periods import sample
from varistar.periods.sample import make_sample
from varistar.periods.splits import SPLITS


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_is_the_pipelines_to_the_byte(project: Any, tmp_path: Path, workers: int) -> None:
    counts = make_sample(project.root, "clump", tmp_path / "clump", engine=Engine(workers=workers))
    assert content(tmp_path / "clump") == content(project.build / "injected/clump")
    truth = {split: pl.read_parquet(tmp_path / "clump" / split / "truth.parquet") for split in SPLITS}
    assert counts == {split: table.height for split, table in truth.items()}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["clump"]


def test_a_sample_of_another_size(project: Any, tmp_path: Path) -> None:
    counts = make_sample(project.root, "clump", tmp_path / "clump", examples=7, engine=Engine(workers=1))
    assert counts is not None and sum(counts.values()) == 7


def test_a_sample_that_was_killed_goes_on(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    injected: list[Path] = []

    def until_killed(templates: Path, simulations: Path, target: Path) -> dict[str, int]:
        if len(injected) == 3:
            raise KeyboardInterrupt
        injected.append(target)
        return inject_piece(templates, simulations, target)

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
    templates = copied.build / "templates/clump"
    templates.rename(templates.with_name("elsewhere"))
    with pytest.raises(
        DataError, match=r"templates/clump: these templates have not been made; use `dvc repro templates@"
    ):
        make_sample(copied.root, "clump", tmp_path / "clump")
