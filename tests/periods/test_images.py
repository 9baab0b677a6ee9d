"""The arrays that networks train on are the images that prediction makes, under the right names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.arrays import open_arrays
from varistar.bulk.engine import Engine
from varistar.experiments.splits import SPLITS
from varistar.foundation.errors import DataError
from varistar.foundation.params import read_section
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves
from varistar.periods.images import build_images
from varistar.periods.measure import PeriodMeter
from varistar.periods.preprocess import preprocess, read_representation, representation_of
from varistar.periods.representation import Representation

SETS = ("clump-paper", "clump-log", "quasar-paper", "broad-statistics", "broad-nights")
VARIANTS = {"clump-paper": "clump-8-16-32", "broad-statistics": "period-axis"}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("split", SPLITS)
def test_training_and_prediction_see_the_same_bits(
    project: Any, injected: Callable[..., LightCurves], name: str, split: str
) -> None:
    """The stage's arrays against the images that the trained model makes of the light curves read back."""
    arrays = open_arrays(project.build / "images" / name / split)
    meter = PeriodMeter.of_folder(project.build / "calibrated" / VARIANTS[name])
    light_curves = injected(name.split("-")[0], split)
    images = meter.arrays(light_curves)
    assert images.shape == (len(light_curves), *meter.representation.shape)
    np.testing.assert_array_equal(arrays.gather(np.arange(len(arrays))), images)
    assert tuple(arrays.index["star_id"]) == light_curves.star_id


@pytest.mark.parametrize("name", SETS)
def test_each_image_is_that_of_the_star_whose_name_it_bears(
    project: Any, injected: Callable[..., LightCurves], name: str
) -> None:
    sample, representation_name = name.split("-")
    representation = read_representation(project.root, representation_name)
    arrays, light_curves = open_arrays(project.build / "images" / name / "train"), injected(sample, "train")
    truth = pl.read_parquet(project.build / "injected" / sample / "train/truth.parquet")
    for row in np.random.default_rng(0).permutation(len(arrays))[:8]:
        example = arrays.index.row(int(row), named=True)
        star = light_curves.star(light_curves.star_id.index(example["star_id"]))
        np.testing.assert_array_equal(arrays.gather(np.array([row])), preprocess(star, representation, "cpu"))
        (known,) = truth.filter(star_id=example["star_id"]).rows(named=True)
        assert {key: example[key] for key in known} == known


@pytest.mark.parametrize("name", SETS)
def test_the_set_says_what_it_shows(project: Any, name: str) -> None:
    representation = read_representation(project.root, name.split("-")[1])
    axes = {"image": ["period", "time"], "statistics": ["channel", "period"], "nights": ["channel", "night"]}
    for split in SPLITS:
        describe = open_arrays(project.build / "images" / name / split).describe
        assert describe["axes"] == ["example", *axes[representation.kind]]
        assert representation_of(describe["representation"], "axes.json") == representation


def test_every_example_has_an_image(project: Any) -> None:
    for name, n in (("clump-paper", 60), ("clump-log", 60), ("quasar-paper", 24), ("broad-statistics", 100)):
        sets = [open_arrays(project.build / "images" / name / split) for split in SPLITS]
        assert sorted(number for found in sets for number in found.index["simulation"]) == list(range(n))


@pytest.fixture
def small_sample(project: Any, tmp_path: Path) -> Path:
    """An injected sample with one part in training, and nothing in the other splits."""
    nothing = pl.read_parquet(project.build / "injected/clump/test/truth.parquet").clear()
    for split in SPLITS:
        (tmp_path / "injected" / split).mkdir(parents=True)
        nothing.write_parquet(tmp_path / "injected" / split / "truth.parquet")
    for part in ("part-00000.parquet", "truth.parquet"):
        source = project.build / "injected/clump/train" / part
        (tmp_path / "injected/train" / part).write_bytes(source.read_bytes())
    return tmp_path / "injected"


def test_an_empty_split_is_an_empty_set(small_sample: Path, tmp_path: Path, project: Any) -> None:
    representation = read_section(project.root, "periods.representations.paper", Representation)
    total = build_images(small_sample, representation, tmp_path / "images", Engine(workers=1))
    assert total == len(read_shard(small_sample / "train/part-00000.parquet"))
    assert len(open_arrays(tmp_path / "images/train")) == total
    for split in SPLITS[1:]:
        assert len(open_arrays(tmp_path / "images" / split)) == 0


def test_a_damaged_part_is_an_error_that_names_it(small_sample: Path, tmp_path: Path, project: Any) -> None:
    part = small_sample / "train/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-99])
    representation = read_section(project.root, "periods.representations.paper", Representation)
    with pytest.raises(DataError, match=rf"first {part}: .*truncated or damaged"):
        build_images(small_sample, representation, tmp_path / "images", Engine(workers=1))
