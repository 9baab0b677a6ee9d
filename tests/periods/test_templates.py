"""Templates are of the family asked for, have no period of their own, and who is refused is told why."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from astropy.timeseries import LombScargle

from varistar.bulk.engine import Engine
from varistar.experiments.splits import SplitSettings, split_stars
from varistar.foundation.errors import DataError
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves
from varistar.periods.templates import TemplateSettings, build_templates, screen_stars, select_stars
from varistar.sky.ground import Sky
from varistar.surveys.definition import Survey

QUARTERS = SplitSettings(train=0.25, validation=0.25, calibration=0.25, test=0.25)


# ---------------------------------------------------------------------------------------------------------------------
# Who is chosen


@pytest.fixture(scope="module")
def catalog() -> pl.DataFrame:
    """Stars of every brightness and distance, some with a negative parallax or none, and quasars among them."""
    rng = np.random.default_rng(3)
    n = 3000
    parallax = np.where(rng.random(n) < 0.7, rng.lognormal(0, 1, n), rng.normal(0, 0.1, n))
    return pl.DataFrame(
        {
            "star_id": [f"star-{number}" for number in range(n)],
            "catalog_source": rng.choice(["stellar_main", "milliquas"], n, p=[0.9, 0.1]),
            "phot_g_mean_mag": rng.uniform(6, 16, n),
            "parallax": [
                None if unknown else value for unknown, value in zip(rng.random(n) < 0.05, parallax, strict=True)
            ],
            "parallax_error": rng.uniform(0.01, 0.3, n),
        }
    )


@pytest.mark.parametrize("bounds", [(-0.5, 1.5), (1.5, -0.5), (0.0, 4.0)])
@pytest.mark.parametrize("over_error", [0.0, 5.0, 20.0])
def test_the_red_clump_by_equations_1_and_2(
    catalog: pl.DataFrame, bounds: tuple[float, float], over_error: float
) -> None:
    wanted = []
    for star in catalog.iter_rows(named=True):
        if star["catalog_source"] != "stellar_main" or star["parallax"] is None:
            continue
        distance = abs(1000 / star["parallax"])  # eq. 2, pc
        absolute = star["phot_g_mean_mag"] - 5 * math.log10(distance) + 5  # eq. 1
        # The paper keeps every parallax, also negative ones; a threshold of zero is the paper's.
        if over_error and star["parallax"] < over_error * star["parallax_error"]:
            continue
        if min(bounds) < absolute < max(bounds):
            wanted.append(star["star_id"])
    settings = TemplateSettings(select="red_clump", absolute_magnitude=bounds, parallax_over_error=over_error)
    assert select_stars(catalog, settings).to_list() == wanted
    assert 20 < len(wanted) < catalog.height / 2


def test_the_bounds_themselves_are_outside() -> None:
    """-0.5 < M_G < 1.5, at 10 pc, where both magnitudes are the same."""
    stars = pl.DataFrame(
        {
            "star_id": ["a", "b", "c", "d"],
            "catalog_source": "stellar_main",
            "phot_g_mean_mag": [-0.5, -0.49, 1.49, 1.5],
            "parallax": 100.0,
            "parallax_error": 0.1,
        }
    )
    assert select_stars(stars, TemplateSettings(select="red_clump")).to_list() == ["b", "c"]


def test_quasars_are_those_that_the_catalog_calls_so(catalog: pl.DataFrame) -> None:
    chosen = select_stars(catalog, TemplateSettings(select="quasar")).to_list()
    assert chosen == catalog.filter(pl.col("catalog_source") == "milliquas")["star_id"].to_list()


def test_the_simulated_clump_is_found(sky: Sky) -> None:
    chosen = set(select_stars(sky.stars, TemplateSettings(select="red_clump")))
    clump = set(sky.truth.filter(pl.col("kind") == "clump")["star_id"])
    assert len(chosen & clump) >= 0.75 * len(clump)


# ---------------------------------------------------------------------------------------------------------------------
# Who is screened


@pytest.fixture(scope="module")
def noise(survey: Survey) -> LightCurves:
    """Six stars that do nothing but flicker."""
    rng = np.random.default_rng(8)
    lengths = [300, 150, 500, 200, 400, 250]
    m = sum(lengths)
    return LightCurves(
        star_id=tuple(f"star-{number}" for number in range(len(lengths))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        columns={
            "time": np.concatenate([np.sort(rng.uniform(*survey.window, length)) for length in lengths]),
            "flux": rng.normal(10, 0.1, m).astype(np.float32),
            "flux_err": rng.uniform(0.05, 0.15, m).astype(np.float32),
        },
        time_system="MJD_UTC",
    )


def with_sine(light_curves: LightCurves, star: int, period: float, amplitude: float) -> LightCurves:
    """The light curves with a sinusoid added to one of them."""
    points = slice(*light_curves.offsets[star : star + 2])
    flux = light_curves["flux"].copy()
    flux[points] += amplitude * np.sin(2 * np.pi * light_curves["time"][points] / period)
    return replace(light_curves, columns={**light_curves.columns, "flux": flux})


@pytest.mark.parametrize("period", [1.7, 12.3, 29.0])
def test_a_star_with_a_period_of_its_own_is_refused_and_the_period_is_told(
    noise: LightCurves, survey: Survey, period: float
) -> None:
    keep, refused = screen_stars(with_sine(noise, 2, period, amplitude=0.3), survey, 0.2)
    assert keep.tolist() == [True, True, False, True, True, True]
    ((star, reason),) = refused.rows()
    assert star == "star-2"
    told = float(reason.split("own period of ")[1].split(" d")[0])
    assert told == pytest.approx(period, rel=0.01)


def test_a_period_outside_the_surveys_range_is_not_looked_for(noise: LightCurves, survey: Survey) -> None:
    long = with_sine(noise, 2, 400.0, amplitude=0.3)
    assert screen_stars(long, survey, 0.2)[0].all()
    wider = survey.model_copy(update={"period_range": (1.0, 500.0)})
    assert not screen_stars(long, wider, 0.2)[0][2]


def test_the_threshold_is_on_the_standard_power_of_lomb_scargle(noise: LightCurves, survey: Survey) -> None:
    light_curves = with_sine(with_sine(noise, 0, 3.0, amplitude=0.05), 4, 9.0, amplitude=0.1)
    low, high = 1 / survey.period_range[1], 1 / survey.period_range[0]
    for star in range(len(light_curves)):
        alone = light_curves.star(star)
        time, flux, error = (alone[name].astype(np.float64) for name in ("time", "flux", "flux_err"))
        frequency = np.arange(low, high, 0.05 / np.ptp(time))
        power = LombScargle(time, flux, error).power(frequency, method="fast").max()
        assert screen_stars(alone, survey, power + 0.005)[0][0]
        assert not screen_stars(alone, survey, power - 0.005)[0][0]


def test_a_threshold_of_one_screens_nobody(noise: LightCurves, survey: Survey) -> None:
    keep, refused = screen_stars(with_sine(noise, 2, 5.0, amplitude=5.0), survey, 1.0)
    assert keep.all()
    assert refused.height == 0
    assert refused.schema == {"star_id": pl.String, "reason": pl.String}


def test_a_star_without_anything_to_say_is_kept(noise: LightCurves, survey: Survey) -> None:
    flux = np.full_like(noise["flux"], 3.0)
    constant = replace(noise, columns={**noise.columns, "flux": flux})
    assert screen_stars(constant, survey, 0.2)[0].all()


# ---------------------------------------------------------------------------------------------------------------------
# What is written


@pytest.fixture
def build(sky: Sky, survey: Survey, tmp_path: Path) -> Callable[..., tuple[Path, pl.DataFrame]]:
    """Build templates of all stars of the sky but the first three, from a store cut into `shards`."""

    def run(name: str = "templates", shards: int = 3, workers: int = 1, **settings: Any) -> tuple[Path, pl.DataFrame]:
        store = tmp_path / f"{name}-store"
        for number, rows in enumerate(np.array_split(np.arange(len(sky.light_curves)), shards)):
            write_shard(store / f"part-{number:05d}.parquet", sky.light_curves.take(rows))
        chosen = set(sky.light_curves.star_id[3:])
        asked = TemplateSettings(select="red_clump", **settings)
        folder = tmp_path / name
        return folder, build_templates(Store(store).parts(), chosen, asked, survey, QUARTERS, folder, workers)

    return run


def stored(folder: Path, table: pl.DataFrame) -> dict[str, LightCurves]:
    """Each template's light curve, from the place that the table names."""
    return {
        star: read_shard(folder / shard).star(row)
        for star, shard, row in table.select("star_id", "shard", "row").iter_rows()
    }


def test_each_chosen_star_is_a_template_or_refused_with_a_reason(build: Callable[..., Any], sky: Sky) -> None:
    folder, table = build()
    refused = pl.read_parquet(folder / "refused.parquet")
    assert table.equals(pl.read_parquet(folder / "stars.parquet"))
    assert sorted([*table["star_id"], *refused["star_id"]]) == sorted(sky.light_curves.star_id[3:])
    kinds = dict(sky.truth.select("star_id", "kind").iter_rows())
    reasons = dict(refused.iter_rows())
    assert all(reason.startswith(("own period of", "fewer than 150 points")) for reason in reasons.values())
    pulsating = {star for star, kind in kinds.items() if kind == "cepheid"} & {*sky.light_curves.star_id[3:]}
    assert pulsating
    for star in pulsating:
        assert reasons[star].startswith("own period of")
    assert {"clump", "constant"} <= {kinds[star] for star in table["star_id"]}


def test_templates_have_passed_the_cuts(build: Callable[..., Any], sky: Sky, survey: Survey) -> None:
    folder, table = build()
    templates = stored(folder, table)
    cut, _ = apply_cuts(sky.light_curves, survey.cuts)
    for star, n_points in table.select("star_id", "n_points").iter_rows():
        expected = cut.star(cut.star_id.index(star))
        assert (templates[star].star_id, n_points) == ((star,), len(expected["time"]))
        for name in ("time", "flux", "flux_err", "mag", "mag_err", "limit", "camera", "band", "quality"):
            np.testing.assert_array_equal(templates[star][name], expected[name])
        assert survey.window[0] <= expected["time"].min() <= expected["time"].max() <= survey.window[1]


def test_the_split_is_the_stars(build: Callable[..., Any]) -> None:
    _, table = build()
    assert table["split"].to_list() == split_stars(table["star_id"].to_list(), QUARTERS).tolist()
    assert table["split"].n_unique() == 4


def test_the_set_does_not_depend_on_how_the_store_is_cut(build: Callable[..., Any]) -> None:
    folders = {shards: build(f"of-{shards}", shards=shards) for shards in (1, 5)}
    (one, in_one), (five, in_five) = folders.values()
    columns = ["star_id", "n_points", "split"]
    assert in_one.select(columns).sort("star_id").equals(in_five.select(columns).sort("star_id"))
    assert pl.read_parquet(one / "refused.parquet").equals(pl.read_parquet(five / "refused.parquet"))
    first, second = stored(one, in_one), stored(five, in_five)
    for star, light_curve in first.items():
        np.testing.assert_array_equal(light_curve["flux"], second[star]["flux"])


def test_the_least_number_of_points_may_be_another_than_the_surveys(build: Callable[..., Any], sky: Sky) -> None:
    _, few = build("few", min_points=3, max_own_power=1.0)
    _, many = build("many", min_points=900, max_own_power=1.0)
    assert few.height == len(sky.light_curves) - 3
    assert many["n_points"].min() >= 900
    assert set(many["star_id"]) == set(few.filter(pl.col("n_points") >= 900)["star_id"])


def test_a_set_of_nobody_is_an_error_that_says_so(build: Callable[..., Any], sky: Sky) -> None:
    with pytest.raises(DataError, match=f"no star of {len(sky.light_curves) - 3} chosen passes"):
        build(min_points=10**6)


def test_a_damaged_shard_is_named(build: Callable[..., Any], sky: Sky, survey: Survey, tmp_path: Path) -> None:
    write_shard(tmp_path / "store/part-00000.parquet", sky.light_curves)
    parts = Store(tmp_path / "store").parts()
    shutil.copyfile(tmp_path / "store/part-00000.parquet", tmp_path / "whole")
    parts[0].path.write_bytes((tmp_path / "whole").read_bytes()[:-100])
    settings = TemplateSettings(select="quasar")
    with pytest.raises(DataError, match=r"part-00000\.parquet"):
        build_templates(parts, {"a"}, settings, survey, QUARTERS, tmp_path / "templates", engine=Engine(workers=1))


def test_the_stage_made_both_families(project: Any, sky: Sky) -> None:
    kinds = dict(sky.truth.select("star_id", "kind").iter_rows())
    for family in ("clump", "quasar"):
        table = pl.read_parquet(project.build / "templates" / family / "stars.parquet")
        chosen = select_stars(sky.stars, TemplateSettings(select={"clump": "red_clump"}.get(family, family)))
        assert set(table["star_id"]) <= set(chosen)
        assert [kinds[star] for star in table["star_id"]].count(family) > 0.7 * table.height
        assert table["split"].n_unique() == 4
