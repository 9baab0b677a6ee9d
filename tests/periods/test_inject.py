"""The template's flux carries the simulated star's variability, and everybody keeps their name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.experiments.splits import SPLITS
from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods import inject as stage
from varistar.periods.inject import build_injections, inject
from varistar.periods.sample_settings import Augmentation, PartSettings, SampleSettings, StarSettings
from varistar.periods.simulate import build_simulations


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
    assert truth[known.columns].equals(known)
    assert set(truth["split"]) == {split}


@pytest.mark.parametrize("split", SPLITS)
def test_the_truth_describes_the_light_curve_and_its_template(
    project: Any, injected: Callable[..., LightCurves], simulations: Callable[..., pl.DataFrame], split: str
) -> None:
    truth = pl.read_parquet(project.build / "injected/clump" / split / "truth.parquet")
    known = simulations("clump", split)
    light_curves = injected("clump", split)
    assert truth["n_points"].to_list() == light_curves.n_points.tolist()
    for row, simulated in zip(truth.iter_rows(named=True), known.iter_rows(named=True), strict=True):
        template = read_shard(project.build / "templates/clump" / simulated["shard"]).star(simulated["row"])
        flux = template["flux"].astype(np.float64)
        assert row["template_flux"] == pytest.approx(np.median(flux), rel=1e-12)
        deviation = np.sort(np.abs(flux - np.median(flux)))
        assert row["template_scatter"] == pytest.approx(1.4826 * np.median(deviation) / np.median(flux), rel=1e-12)
        low, high = np.percentile(np.array(simulated["spot_flux"]) / row["median_flux"], [5, 95])
        assert row["amplitude"] == pytest.approx(high - low, rel=1e-5)
        assert row["noise_factor"] == 1.0


@pytest.mark.parametrize("sample", ["clump", "quasar"])
def test_the_ratio_to_the_template_is_the_simulated_star(
    project: Any, injected: Callable[..., LightCurves], simulations: Callable[..., pl.DataFrame], sample: str
) -> None:
    """Shard by shard on disk, so that no star got another one's spots; and the factor varies about one."""
    templates = project.build / "templates" / sample
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


SAMPLE = SampleSettings(simulations=60, parts=(PartSettings(templates="clump", stars="paper"),))


def test_an_empty_split_is_a_split(project: Any, tmp_path: Path) -> None:
    simulated = tmp_path / "simulations"
    (simulated / "train").mkdir(parents=True)
    part = project.build / "simulations/clump/train/part-00000.parquet"
    (simulated / "train/part-00000.parquet").write_bytes(part.read_bytes())
    counts = build_injections(project.build / "templates", simulated, SAMPLE, tmp_path / "injected", Engine(workers=1))
    assert counts == {"train": pl.read_parquet(part).height, "validation": 0, "calibration": 0, "test": 0}
    truths = [pl.read_parquet(tmp_path / "injected" / split / "truth.parquet") for split in ("train", "test")]
    assert truths[1].height == 0
    assert truths[1].schema == truths[0].schema


def test_no_simulations_are_an_error(project: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: holds no simulations$"):
        build_injections(project.build / "templates", tmp_path / "nothing", SAMPLE, tmp_path / "injected")


def test_a_damaged_template_shard_is_an_error_that_names_the_part(copied: Any, tmp_path: Path) -> None:
    for shard in (copied.build / "templates/clump").glob("part-*.parquet"):
        shard.write_bytes(shard.read_bytes()[:-50])
    simulated, folder = copied.build / "simulations/clump", tmp_path / "injected"
    with pytest.raises(DataError, match=r"part-\d{5}\.parquet"):
        build_injections(copied.build / "templates", simulated, SAMPLE, folder, Engine(workers=1))


# ---------------------------------------------------------------------------------------------------------------------
# Mixtures, and augmentation

KINDS = ("paper", "constant", "irregular")
MIXED = SampleSettings(
    simulations=60,
    seed=3,
    parts=tuple(PartSettings(templates=t, stars=kind) for t in ("clump", "quasar") for kind in KINDS),
)
STARS = {
    "paper": StarSettings(signal="spots"),
    "constant": StarSettings(signal="none"),
    "irregular": StarSettings(signal="red_noise"),
}
#: Every star is changed in every way, as far as it can be.
ALL = Augmentation(drop_epochs=0.5, drop_camera=1.0, noise=1.0, borrow_window=1.0)


@pytest.fixture
def make(project: Any, survey: Any, tmp_path: Path) -> Callable[[str, SampleSettings], Path]:
    """Simulate and inject a sample on the project's templates."""

    def run(name: str, sample: SampleSettings) -> Path:
        templates, engine = project.build / "templates", Engine(workers=1)
        simulated = tmp_path / f"{name}-simulations"
        build_simulations(templates, sample, STARS, survey.window[0], simulated, engine)
        build_injections(templates, simulated, sample, tmp_path / name, engine)
        return tmp_path / name

    return run


def light_curves_of(folder: Path) -> LightCurves:
    return concatenate([read_shard(path) for path in sorted(folder.glob("part-*.parquet"))])


def test_a_mixture_is_injected_kind_by_kind(make: Callable[..., Path], project: Any) -> None:
    folder = make("mixed", MIXED)
    tables = {name: read_templates(project.build / "templates" / name) for name in ("clump", "quasar")}
    truth = pl.concat([pl.read_parquet(folder / split / "truth.parquet") for split in SPLITS])
    assert dict(truth.group_by("templates", "stars").len().select("stars", "len").iter_rows()) == dict.fromkeys(
        KINDS, 10
    )
    assert truth["star_id"].n_unique() == 60
    for split in SPLITS:
        truth, light_curves = pl.read_parquet(folder / split / "truth.parquet"), light_curves_of(folder / split)
        assert tuple(truth["star_id"]) == light_curves.star_id
        for number, row in enumerate(truth.iter_rows(named=True)):
            same = np.array_equal(light_curves.star(number)["flux"], tables[row["templates"]][row["template"]]["flux"])
            assert same == (row["stars"] == "constant")
            assert (row["amplitude"] == 0) == (row["stars"] == "constant")
            assert (row["period_days"] is None) == (row["stars"] != "paper")


def read_templates(folder: Path) -> dict[str, LightCurves]:
    light_curves = light_curves_of(folder)
    return {star: light_curves.star(i) for i, star in enumerate(light_curves.star_id)}


def test_augmentation_changes_training_and_nothing_else(make: Callable[..., Path]) -> None:
    plain = make("plain", MIXED)
    augmented = make("augmented", MIXED.model_copy(update={"augment": ALL}))
    for split in ("validation", "calibration", "test"):
        files = sorted(path.name for path in (plain / split).iterdir())
        assert files == sorted(path.name for path in (augmented / split).iterdir())
        for name in files:
            assert (augmented / split / name).read_bytes() == (plain / split / name).read_bytes()
    before, after = (pl.read_parquet(folder / "train/truth.parquet") for folder in (plain, augmented))
    of_light_curve = ["n_points", "amplitude", "noise_factor"]
    assert before.drop(of_light_curve).equals(after.drop(of_light_curve))
    assert (after["n_points"] < before["n_points"]).sum() > 0.9 * len(before)
    assert (after["noise_factor"] > 1).sum() > 0.9 * len(before)


def test_every_example_is_augmented_in_its_own_way(make: Callable[..., Path]) -> None:
    """Also those that share a template."""
    factors = [
        pl.read_parquet(make(name, sample) / "train/truth.parquet")["noise_factor"]
        for name, sample in {
            "seed-3": MIXED.model_copy(update={"augment": ALL}),
            "seed-4": MIXED.model_copy(update={"augment": ALL, "seed": 4}),
        }.items()
    ]
    noisy = pl.concat(factors).to_list()
    assert len(noisy) > 40
    assert len(set(noisy) - {1.0}) == len([factor for factor in noisy if factor > 1])


def test_the_truth_of_an_augmented_star_is_that_of_its_light_curve(make: Callable[..., Path], tmp_path: Path) -> None:
    folder = make("augmented", MIXED.model_copy(update={"augment": ALL})) / "train"
    simulated = sorted((tmp_path / "augmented-simulations/train").glob("part-*.parquet"))
    whole = light_curves_of(make("plain", MIXED) / "train")
    truth, light_curves = pl.read_parquet(folder / "truth.parquet"), light_curves_of(folder)
    assert tuple(truth["star_id"]) == light_curves.star_id == whole.star_id
    assert truth["n_points"].to_list() == light_curves.n_points.tolist()
    spot_flux = pl.concat([pl.read_parquet(path, columns=["spot_flux"]) for path in simulated])["spot_flux"]
    for number, row in enumerate(truth.iter_rows(named=True)):
        star, before = light_curves.star(number), whole.star(number)
        kept = np.isin(before["time"], star["time"])
        assert kept.sum() == row["n_points"]
        low, high = np.percentile(spot_flux[number].to_numpy()[kept], [5, 95])
        assert row["amplitude"] == pytest.approx((high - low) / row["median_flux"], rel=1e-5, abs=1e-12)
        np.testing.assert_allclose(star["flux_err"], before["flux_err"][kept] * row["noise_factor"], rtol=1e-6)


def test_windows_are_borrowed_from_the_training_split(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, project: Any
) -> None:
    lenders: set[str] = set()

    def record(light_curves: LightCurves, settings: Augmentation, streams: Any, lending: LightCurves) -> Any:
        lenders.update(lending.star_id)
        assert set(light_curves.star_id) <= set(lending.star_id)
        return stage_augment(light_curves, settings, streams, lending)

    stage_augment = stage.augment
    monkeypatch.setattr(stage, "augment", record)
    make("augmented", MIXED.model_copy(update={"augment": ALL}))
    stars = pl.concat(
        [pl.read_parquet(project.build / f"templates/{name}/stars.parquet") for name in ("clump", "quasar")]
    )
    assert lenders
    assert lenders <= set(stars.filter(split="train")["star_id"])


def test_pieces_change_no_augmented_star(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sample = MIXED.model_copy(update={"augment": ALL})
    whole = light_curves_of(make("whole", sample) / "train")
    monkeypatch.setattr("varistar.periods.simulate.SIMULATIONS_PER_SHARD", 2)
    in_pieces = light_curves_of(make("in-pieces", sample) / "train")
    assert whole.star_id == in_pieces.star_id
    for name in whole.columns:
        np.testing.assert_array_equal(whole[name], in_pieces[name])
