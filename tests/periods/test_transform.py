"""Images of any light curves are those of the pipeline, whatever the engine, and who has none is listed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk import estimate
from varistar.bulk.arrays import open_arrays
from varistar.bulk.engine import Engine
from varistar.foundation.errors import ConfigError, DataError
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import REQUIRED
from varistar.periods import transform
from varistar.periods.transform import transform_light_curves
from varistar.sky.ground import Sky
from varistar.surveys import pieces
from varistar.surveys.definition import Survey

ONE = Engine(workers=1)
NAMES = ("paper", "statistics", "nights")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_are_the_pipelines(project: Any, tmp_path: Path) -> None:
    injected = project.build / "injected/broad/train"
    names = NAMES[1:]
    done = transform_light_curves(project.root, [injected], names, tmp_path / "images", ONE, "cpu")
    assert done is not None and done.n_refused == 0
    for name in names:
        made, wanted = (
            open_arrays(tmp_path / "images" / name),
            open_arrays(project.build / f"images/broad-{name}/train"),
        )
        assert len(made) == len(wanted) == done.n_stars > 5
        assert made.describe["representation"] == wanted.describe["representation"]
        places = made.index.with_row_index("place").join(
            wanted.index, on="star_id", how="right", maintain_order="right"
        )
        np.testing.assert_array_equal(made.gather(places["place"].to_numpy()), wanted.gather(np.arange(len(wanted))))
        assert places["period_days"].equals(wanted.index["period_days"]), "the truth beside the light curves joins"


def test_neither_workers_nor_kills_change_a_byte(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [project.root / "data/ground/light_curves"]
    transform_light_curves(project.root, inputs, NAMES, tmp_path / "one", ONE, "cpu")
    transform_light_curves(project.root, inputs, NAMES, tmp_path / "two", Engine(workers=2), "cpu")
    shards: list[Path] = []

    def until_killed(target: Path, *rest: Any) -> None:
        if len(shards) == 3:
            raise KeyboardInterrupt
        shards.append(target)
        write(target, *rest)

    write = transform.write_array_shard
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(transform, "write_array_shard", until_killed)
        transform_light_curves(project.root, inputs, NAMES, tmp_path / "killed", ONE, "cpu")
    assert not (tmp_path / "killed").exists()
    transform_light_curves(project.root, inputs, NAMES, tmp_path / "killed", ONE, "cpu")
    assert content(tmp_path / "one") == content(tmp_path / "two") == content(tmp_path / "killed")
    assert json.loads((tmp_path / "one/paper/axes.json").read_text())["device"] == "cpu"


def test_who_has_no_image_is_listed(copied: Any, sky: Sky, survey: Survey, tmp_path: Path) -> None:
    enough = int(np.median(apply_cuts(sky.light_curves, survey.cuts)[0].n_points))
    copied.change(**{f"surveys__{copied.params['periods']['survey']}__cuts__min_points": enough})
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/noise.csv").write_text("no,light,curve\n1,2,3\n")
    inputs = [copied.root / "data/ground/light_curves", tmp_path / "raw"]
    done = transform_light_curves(copied.root, inputs, ["paper"], tmp_path / "images", ONE, "cpu")
    assert done is not None
    refused = pl.read_parquet(tmp_path / "images/refused.parquet")
    assert done.n_refused == refused.height > 1
    assert refused.filter(pl.col("star_id") == "noise")["reason"].str.contains("not a light curve").all()
    assert (refused.filter(pl.col("star_id") != "noise")["reason"] == f"fewer than {enough} points").all()
    shown = open_arrays(tmp_path / "images/paper").index["star_id"]
    assert len(shown) == done.n_stars and not set(shown) & set(refused["star_id"])


def test_a_truth_that_cannot_be_read_is_named_before_the_work(project: Any, tmp_path: Path) -> None:
    shard = min((project.root / "data/ground/light_curves").glob("part-*.parquet"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / shard.name).write_bytes(shard.read_bytes())
    (tmp_path / "in/truth.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"in/truth\.parquet: cannot be read: "):
        transform_light_curves(project.root, [tmp_path / "in"], ["paper"], tmp_path / "out", ONE, "cpu")
    pl.DataFrame({"star": [1]}).write_parquet(tmp_path / "in/truth.parquet")
    with pytest.raises(DataError, match=r"in/truth\.parquet: lacks the column 'star_id' of words; it has star"):
        transform_light_curves(project.root, [tmp_path / "in"], ["paper"], tmp_path / "out", ONE, "cpu")
    assert not list(tmp_path.glob("out*"))


def test_nobody_to_show_is_an_error(project: Any, copied: Any, tmp_path: Path) -> None:
    survey = copied.params["periods"]["survey"]
    copied.change(**{f"surveys__{survey}__cuts__min_points": 10**6})
    with pytest.raises(DataError, match="no star can be shown, the first because: fewer than 1000000 points"):
        transform_light_curves(
            copied.root, [copied.root / "data/ground/light_curves"], ["paper"], tmp_path / "out", ONE
        )
    with pytest.raises(ConfigError, match=r"periods\.representations\.sketch"):
        transform_light_curves(
            project.root, [project.root / "data/ground/light_curves"], ["sketch"], tmp_path / "out", ONE
        )


def test_a_star_in_two_files_is_an_error(project: Any, tmp_path: Path) -> None:
    shard = min((project.root / "data/ground/light_curves").glob("part-*.parquet"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / shard.name).write_bytes(shard.read_bytes())
    with pytest.raises(DataError, match="stands in two files; ingest them into a store"):
        transform_light_curves(project.root, [tmp_path / "a", tmp_path / "b"], ["paper"], tmp_path / "out", ONE, "cpu")
    assert not (tmp_path / "out").exists()


def test_only_images_of_ours_are_replaced(project: Any, tmp_path: Path) -> None:
    inputs, out = [project.root / "data/ground/light_curves"], tmp_path / "out"
    transform_light_curves(project.root, inputs, ["paper", "log"], out, ONE, "cpu")
    transform_light_curves(project.root, inputs, ["paper", "paper"], out, ONE, "cpu")
    assert {path.name for path in out.iterdir()} == {"paper", "refused.parquet"}
    with pytest.raises(DataError, match="no light curves but those of the output itself"):
        transform_light_curves(project.root, [out], ["paper"], out, ONE, "cpu")
    (out / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match=r"out: would be replaced, but holds 'notes\.txt'; name a folder of its own"):
        transform_light_curves(project.root, inputs, ["paper"], out, ONE, "cpu")


def test_light_curves_of_two_kinds_stand_side_by_side(
    project: Any, write_skypatrol: Any, make_stars: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heliocentric dates beside UTC ones, with flux in other units: one image set."""
    stars = make_stars(["a", "b"], n_points=160)
    write_skypatrol(tmp_path / "raw/a.csv", stars.star(0))
    relative = replace(stars.star(1), flux_unit="relative", columns={n: stars.star(1)[n] for n in REQUIRED})
    write_shard(tmp_path / "raw/part-00000.parquet", relative)
    done = transform_light_curves(project.root, [tmp_path / "raw"], ["paper"], tmp_path / "images", ONE, "cpu")
    assert done is not None and done.n_stars + done.n_refused == 2


def test_it_says_first_what_it_will_take(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "WORTH_A_TRIAL", 1)
    said: list[str] = []
    inputs = [project.root / "data/ground/light_curves"]
    transform_light_curves(project.root, inputs, ["paper"], tmp_path / "images", ONE, "cpu", said.append)
    (sentence,) = said
    assert "of disk; about" in sentence and sentence.endswith("on 1 worker")


def test_pieces_are_small_and_hold_every_star_once(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "STARS_PER_PIECE", 3)
    sources = transform.find_sources([project.root / "data/ground/light_curves"])
    cut, sizes = pieces.cut_into_pieces(sources)
    assert max(sizes) <= 3
    stars = [star for piece in cut for source in piece for star in source.read().star_id]
    assert sorted(stars) == sorted(star for source in sources for star in source.read().star_id)
    assert len(stars) == sum(sizes) == len(set(stars))
