"""A star from space is the same in any company, and its truth shows in its light curve."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.table import LightCurves
from varistar.sky.sectors import CADENCE, EARTH_POINT, IMPULSE
from varistar.sky.spacecraft import (
    FLARES,
    STARS,
    TRUTH,
    SectorSettings,
    SpaceSky,
    TargetShares,
    simulate_target,
    simulate_targets,
)
from varistar.sky.starlight import star_light
from varistar.sky.targets import draw_target

SETTINGS = SectorSettings(seed=4, n_stars=60)


@pytest.fixture(scope="module")
def sky() -> SpaceSky:
    return simulate_targets(SETTINGS)


def timed(star: LightCurves) -> dict[str, np.ndarray]:
    """The columns of one star at the cadences that have a time."""
    with_time = np.isfinite(star["time"])
    return {name: star[name][with_time] for name in ("time", "flux", "flux_err", "quality")}


def test_the_tables_hold_the_same_stars(sky: SpaceSky) -> None:
    assert sky.light_curves.star_id == tuple(sky.stars["star_id"]) == tuple(sky.truth["star_id"])
    assert len(sky.light_curves) == SETTINGS.n_stars and sky.truth["star_id"].is_unique().all()
    assert set(sky.flares["star_id"]) <= set(sky.truth["star_id"])
    counted = dict(sky.flares.group_by("star_id").len().iter_rows())
    assert [counted.get(row["star_id"], 0) for row in sky.truth.iter_rows(named=True)] == sky.truth[
        "n_flares"
    ].to_list()
    assert set(sky.stars.columns) & set(sky.truth.columns) <= {"star_id", "tmag", "teff"}


@pytest.mark.parametrize("index", [0, 17, 59])
def test_a_star_depends_on_settings_and_number_alone(sky: SpaceSky, index: int) -> None:
    alone = simulate_target(SETTINGS, index)
    assert alone.light_curves.star_id == (sky.light_curves.star_id[index],)
    for name, values in alone.light_curves.columns.items():
        np.testing.assert_array_equal(values, sky.light_curves.star(index)[name])
    assert alone.truth.equals(sky.truth[index]) and alone.stars.equals(sky.stars[index])
    assert alone.flares.equals(sky.flares.filter(pl.col("star_id") == alone.light_curves.star_id[0]))
    shuffled = simulate_targets(SETTINGS, [index, 3])
    np.testing.assert_array_equal(shuffled.light_curves.star(0)["flux"], alone.light_curves["flux"])


def test_light_curves_are_like_those_the_reader_gives(sky: SpaceSky) -> None:
    curves = sky.light_curves
    assert (curves.time_system, curves.flux_unit) == ("BTJD", "electron/s")
    assert list(curves.columns) == ["time", "flux", "flux_err", "camera", "band", "quality"]
    for index, sectors in enumerate(sky.truth["sectors"]):
        star = curves.star(index)
        lost = np.isnan(star["time"])
        first = int(np.argmax(lost))
        assert lost[first:].all() and not lost[:first].any()  # without a time, last
        assert np.all(star["quality"][first:] == EARTH_POINT) and np.isnan(star["flux"][first:]).all()
        steps = np.diff(star["time"][:first])
        assert np.all(steps > 0) and (steps > 0.5).sum() == 2 * len(sectors) - 1
        assert 15_500 < np.isfinite(star["flux"]).sum() / len(sectors) < 18_900
        np.testing.assert_array_equal(np.isnan(star["flux"]), np.isnan(star["flux_err"]))


def test_second_sectors_come_at_their_chance() -> None:
    one = simulate_targets(SectorSettings(second_sector=0.0, sectors=(3, 7)), range(6))
    assert {tuple(sectors) for sectors in one.truth["sectors"]} == {(3,), (7,)}
    two = simulate_targets(SectorSettings(second_sector=1.0, sectors=(3, 7)), range(6))
    assert {tuple(sectors) for sectors in two.truth["sectors"]} == {(3, 7), (7,)}


def test_observed_flares_stand_above_their_surroundings() -> None:
    """The rise over the cadences before, in errors, is peak_snr, for flares without a tenth of them within an hour."""
    shares = {**dict.fromkeys(SETTINGS.shares.model_dump(), 0.0), "flaring": 1.0}
    sky = simulate_targets(SectorSettings(seed=4, n_stars=80, shares=TargetShares(**shares)))
    ratios = []
    for row, truth in enumerate(sky.truth.iter_rows(named=True)):
        if truth["rotation_days"] < 2.0:
            continue
        star = timed(sky.light_curves.star(row))
        flares = sky.flares.filter(pl.col("star_id") == truth["star_id"])
        strong = (pl.col("peak_snr") > 20) & (pl.col("fwhm_minutes") < 8)
        for flare in flares.filter(strong).iter_rows(named=True):
            company = (flares["tpeak"] - flare["tpeak"]).abs() < 1 / 24
            if (company & (flares["amplitude"] > 0.1 * flare["amplitude"])).sum() > 1:
                continue
            at = np.searchsorted(star["time"], flare["tpeak"])
            rise = np.nanmax(star["flux"][at - 2 : at + 3]) - np.nanmedian(star["flux"][at - 28 : at - 8])
            ratios.append(rise / star["flux_err"][at - 1] / flare["peak_snr"])
    found = np.array(ratios)[np.isfinite(ratios)]
    assert len(found) > 30
    assert np.median(found) == pytest.approx(1.0, abs=0.05)
    assert np.mean(np.abs(found - 1) < 0.2) > 0.85


def test_observed_means_a_good_cadence_holds_the_peak(sky: SpaceSky) -> None:
    missed = 0
    for star_id, flares in sky.flares.group_by("star_id"):
        star = timed(sky.light_curves.star(sky.light_curves.star_id.index(str(star_id[0]))))
        good = np.isfinite(star["flux"]) & ((star["quality"] & ~IMPULSE) == 0)
        near = np.abs(star["time"][good, None] - flares["tpeak"].to_numpy()).min(axis=0) <= 0.5 * CADENCE
        np.testing.assert_array_equal(near, flares["observed"].to_numpy())
        assert flares["peak_snr"].is_null().to_list() == (~flares["observed"]).to_list()
        missed += int((~near).sum())
    assert missed > 0


def test_rotation_is_seen_at_its_period() -> None:
    """The spots of stars that turn in less than four days repeat at the period they show, or at half of it."""
    from astropy.timeseries import LombScargle

    ratios = []
    times = np.arange(0.0, 27.0, 1 / 48)
    for index in range(400):
        target = draw_target(9, index, SETTINGS.shares.model_dump())
        if target.kind not in ("flaring", "quiet") or not target.rotation_days < 4.0:
            continue
        light = star_light(9, target, times, [len(times)])
        assert light.shown_period_days == pytest.approx(target.rotation_days, rel=0.1)
        assert np.median(light.flux) == pytest.approx(1.0)
        frequency = np.arange(0.05, 12.0, 1 / 400)
        power = LombScargle(times, light.flux).power(frequency, method="fast", assume_regular_frequency=True)
        ratios.append(1 / frequency[np.argmax(power)] / light.shown_period_days)
        if len(ratios) == 25:
            break
    ratios = np.array(ratios)
    assert len(ratios) == 25
    assert np.mean((np.abs(ratios - 1) < 0.05) | (np.abs(2 * ratios - 1) < 0.05)) >= 0.85


@pytest.mark.parametrize(("kind", "window"), [("planet_host", 0.3), ("eclipsing", 0.6)])
def test_planets_and_companions_dim_their_star_by_the_depth(kind: str, window: float) -> None:
    """The deepest loss, from a level just beside it: the median of 0.6 d, the highest flux of 0.6 periods."""
    shares = {**dict.fromkeys(SETTINGS.shares.model_dump(), 0.0), kind: 1.0}
    time = np.arange(0.0, 26.0, CADENCE)
    errors = []
    for index in range(60):
        target = draw_target(11, index, shares)
        if target.period_days > 6.0 or len(errors) == 10:
            continue
        light = star_light(11, target, time, [len(time)])
        deepest = int(np.argmin(light.flux[500:-500])) + 500
        width = window if kind == "planet_host" else window * target.period_days
        near = light.flux[np.abs(time - time[deepest]) < width]
        level = np.median(near) if kind == "planet_host" else near.max()
        if light.depth > 0.01:
            errors.append((1.0 - light.flux[deepest] / level) / light.depth - 1.0)
    assert len(errors) >= 5
    assert np.median(np.abs(errors)) < 0.005


def test_truth_amplitudes_match_the_kind(sky: SpaceSky) -> None:
    medians = dict(sky.truth.group_by("kind").agg(pl.col("amplitude").median()).iter_rows())
    assert medians["quiet"] < 0.02 < medians["eclipsing"]
    assert sky.truth.filter(pl.col("kind") != "flaring", pl.col("kind") != "planet_host")["n_flares"].sum() == 0
    assert sky.truth.filter(pl.col("kind") == "flaring")["n_flares"].sum() > 500


def test_a_shard_is_small_and_whole(sky: SpaceSky, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_shard(path, sky.light_curves)
    again = read_shard(path)
    for name, values in sky.light_curves.columns.items():
        np.testing.assert_array_equal(again[name], values)
    assert path.stat().st_size / sky.truth["sectors"].list.len().sum() < 30_000


def test_an_empty_survey_has_tables_too() -> None:
    nothing = simulate_targets(SectorSettings(n_stars=0))
    assert len(nothing.light_curves) == 0 and nothing.light_curves.time_system == "BTJD"
    assert (nothing.stars.schema, nothing.truth.schema) == (pl.Schema(STARS), pl.Schema(TRUTH))
    assert nothing.flares.schema == pl.Schema(FLARES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"sectors": [5, 2]}, "sectors must ascend"),
        ({"sectors": [0]}, "sectors must ascend"),
        ({"sectors": []}, "at least one"),
        ({"shares": {"flare": 1.0}}, "key 'shares.flare' does not exist"),
        ({"second_sector": 1.5}, "'second_sector'"),
        ({"flare_bounds": [0.0, 10.0]}, "flare_bounds must be positive"),
        (
            {"shares": dict.fromkeys(("flaring", "quiet", "planet_host", "eclipsing", "pulsating"), 0.0)},
            "shares must not all be zero",
        ),
    ],
)
def test_wrong_settings_are_named(values: dict, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        validate(SectorSettings, values, "params.yaml")
