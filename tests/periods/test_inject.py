"""The template's flux carries the simulated star's variability, and everybody keeps their name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves
from varistar.periods.inject import build_injections, inject
from varistar.periods.splits import SPLITS


@pytest.fixture
def templates() -> LightCurves:
    rng = np.random.default_rng(4)
    lengths = [5, 0, 9, 1]
    m = sum(lengths)
    return LightCurves(
        star_id=("a", "b", "c", "d"),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        columns={
            "time": rng.uniform(0, 9, m),
            "flux": rng.normal(5, 1, m).astype(np.float32),
            "flux_err": rng.uniform(0.1, 1, m).astype(np.float32),
            "mag": np.full(m, 15, np.float32),
            "mag_err": np.full(m, 0.1, np.float32),
            "limit": np.full(m, 17, np.float32),
            "camera": rng.choice(["ba", "bb"], m),
        },
        time_system="MJD_UTC",
        flux_unit="mJy",
        survey="somewhere",
    )


def test_the_corrected_equation_a5(templates: LightCurves) -> None:
    rng = np.random.default_rng(5)
    spot_flux, median = rng.uniform(0.5, 1, 15), rng.uniform(0.7, 0.9, 4)
    injected = inject(templates, spot_flux, median)
    for star in range(4):
        for point in range(*templates.offsets[star : star + 2]):
            expected = templates["flux"][point] * spot_flux[point] / median[star]
            assert injected["flux"][point] == pytest.approx(expected, rel=1e-6)
    assert injected["flux"].dtype == np.float32


def test_all_else_stays_but_the_magnitudes_which_would_be_wrong(templates: LightCurves) -> None:
    injected = inject(templates, np.full(15, 0.8), np.full(4, 0.9))
    assert injected.columns.keys() == {"time", "flux", "flux_err", "camera"}
    for name in ("time", "flux_err", "camera"):
        np.testing.assert_array_equal(injected[name], templates[name])
    assert (injected.star_id, injected.time_system, injected.flux_unit, injected.survey) == (
        templates.star_id, "MJD_UTC", "mJy", "somewhere"
    )  # fmt: skip
    np.testing.assert_array_equal(injected.offsets, templates.offsets)


def test_a_star_without_spots_changes_nothing(templates: LightCurves) -> None:
    np.testing.assert_array_equal(inject(templates, np.ones(15), np.ones(4))["flux"], templates["flux"])


# ---------------------------------------------------------------------------------------------------------------------
# The stage


@pytest.fixture
def simulations(project: Any) -> Callable[[str, str], pl.DataFrame]:
    def read(sample: str, split: str) -> pl.DataFrame:
        parts = sorted((project.build / "simulations" / sample / split).glob("part-*.parquet"))
        return pl.concat([pl.read_parquet(part) for part in parts])

    return read


@pytest.mark.parametrize("sample", ["clump", "quasar"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_truth_and_the_light_curves_have_the_same_stars(
    project: Any,
    injected: Callable[..., LightCurves],
    simulations: Callable[..., pl.DataFrame],
    sample: str,
    split: str,
) -> None:
    truth = pl.read_parquet(project.build / "injected" / sample / split / "truth.parquet")
    assert tuple(truth["star_id"]) == injected(sample, split).star_id
    assert truth["star_id"].to_list() == [f"{t}/{s}" for t, s in truth["template", "simulation"].iter_rows()]
    known = simulations(sample, split).drop("spot_flux", "shard", "row")
    assert truth.drop("star_id").equals(known)
    assert set(truth["split"]) == {split}


@pytest.mark.parametrize("sample", ["clump", "quasar"])
def test_the_ratio_to_the_template_is_the_simulated_star(
    project: Any, injected: Callable[..., LightCurves], simulations: Callable[..., pl.DataFrame], sample: str
) -> None:
    """Shard by shard on disk, so that no star got another one's spots; and the factor varies about one."""
    templates = project.build / "templates" / project.params["periods"]["samples"][sample]["templates"]
    medians = []
    for split in SPLITS:
        light_curves = injected(sample, split)
        for number, row in enumerate(simulations(sample, split).iter_rows(named=True)):
            template, example = read_shard(templates / row["shard"]).star(row["row"]), light_curves.star(number)
            assert template.star_id == (row["template"],)
            np.testing.assert_array_equal(example["time"], template["time"])
            np.testing.assert_array_equal(example["flux_err"], template["flux_err"])
            np.testing.assert_array_equal(example["camera"], template["camera"])
            ratio = example["flux"].astype(np.float64) / template["flux"]
            expected = np.float64(row["spot_flux"]) / row["median_flux"]
            np.testing.assert_allclose(ratio, expected, rtol=3e-7)
            medians.append(np.median(ratio))
    # The median is over the window at even steps, the epochs have seasons.
    assert np.median(np.abs(np.array(medians) - 1)) < 0.01


def test_no_star_is_in_two_splits_of_any_sample(project: Any) -> None:
    splits: dict[str, set[str]] = {}
    for sample in ("clump", "quasar"):
        for split in SPLITS:
            truth = pl.read_parquet(project.build / "injected" / sample / split / "truth.parquet")
            for template in truth["template"]:
                splits.setdefault(template, set()).add(split)
    assert len(splits) > 15
    assert all(len(found) == 1 for found in splits.values())


def test_every_example_is_there_once(project: Any) -> None:
    for sample, n in (("clump", 60), ("quasar", 24)):
        folder = project.build / "injected" / sample
        truth = pl.concat([pl.read_parquet(folder / split / "truth.parquet") for split in SPLITS])
        assert sorted(truth["simulation"]) == list(range(n))


def test_an_empty_split_is_a_split(project: Any, tmp_path: Path) -> None:
    simulated = tmp_path / "simulations"
    (simulated / "train").mkdir(parents=True)
    part = project.build / "simulations/clump/train/part-00000.parquet"
    (simulated / "train/part-00000.parquet").write_bytes(part.read_bytes())
    counts = build_injections(project.build / "templates/clump", simulated, tmp_path / "injected", Engine(workers=1))
    assert counts == {"train": pl.read_parquet(part).height, "validation": 0, "calibration": 0, "test": 0}
    truth = pl.read_parquet(tmp_path / "injected/test/truth.parquet")
    assert truth.height == 0
    assert {"star_id", "period_days"} <= {*truth.columns}


def test_a_damaged_template_shard_is_an_error_that_names_the_part(copied: Any, tmp_path: Path) -> None:
    for shard in (copied.build / "templates/clump").glob("part-*.parquet"):
        shard.write_bytes(shard.read_bytes()[:-50])
    simulated = copied.build / "simulations/clump"
    with pytest.raises(DataError, match=r"part-\d{5}\.parquet"):
        build_injections(copied.build / "templates/clump", simulated, tmp_path / "injected", Engine(workers=1))
