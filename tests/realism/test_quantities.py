"""Quantities of light curves made by hand, whose values are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import DataError
from varistar.lightcurves.assemble import assemble
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.realism.names import QUANTITIES
from varistar.realism.quantities import LEAST_GOOD, quantities

WINDOW = (58484.5, 60311.5)


def star(time: np.ndarray, mag: np.ndarray, name: str = "one", **changes: np.ndarray) -> LightCurves:
    m = len(time)
    columns = {
        "time": time,
        "flux": np.ones(m),
        "flux_err": np.full(m, 0.1),
        "mag": mag,
        "mag_err": np.where(np.isnan(mag), np.nan, 0.01),
        "limit": np.full(m, 17.0),
        "fwhm": np.full(m, 1.5),
        "camera": np.full(m, "ba"),
        "band": np.full(m, "g"),
        "quality": np.zeros(m, np.int32),
    }
    return assemble(columns | changes, name, "MJD_UTC")


def measured(light_curves: LightCurves, **changes: object) -> dict[str, float]:
    return quantities(light_curves, WINDOW, **changes).row(0, named=True)  # type: ignore[arg-type]


def nightly(years: int = 3, length: int = 100) -> np.ndarray:
    """Once a night at 0.25 d, in seasons of `length` nights that begin on day 200 of a year."""
    return np.concatenate([58500.25 + 200 + round(365.25 * year) + np.arange(length) for year in range(years)])


def test_cadence_made_by_hand() -> None:
    nights = nightly()
    # A second row ten seconds after every fourth, in another camera: the same epoch, the same night.
    time = np.concatenate([nights, nights[::4] + 10 / 86400])
    camera = np.concatenate([np.full(len(nights), "ba"), np.full(len(nights[::4]), "bB")])
    found = measured(star(time, np.full(len(time), 13.0), camera=camera))
    assert found["points_per_season"] == 125
    assert found["epochs_per_season"] == found["nights_per_season"] == 100
    assert found["points_per_night"] == found["points_per_epoch"] == 1.25
    assert found["season_length"] == pytest.approx(99.0, abs=1e-3)
    assert found["season_gap"] == pytest.approx(266.5, abs=0.51)
    assert found["gap_10"] == found["gap_median"] == found["gap_90"] == found["gap_largest"] == pytest.approx(1.0)
    assert found["hour_concentration"] == pytest.approx(1.0)
    assert found["cameras"] == 2
    assert found["camera_share"] == pytest.approx(0.8)
    # In each season 25 rows of the other camera: 50 switches in 124 steps.
    assert found["camera_switches"] == pytest.approx(50 / 124)


def test_flags_failures_and_errors_made_by_hand() -> None:
    time = nightly()
    mag = np.full(300, 13.0)
    mag[:6] = np.nan
    quality = np.zeros(300, np.int32)
    quality[10:40] = 1
    limit = np.where(quality == 1, 16.5, 17.0)
    found = measured(star(time, mag, quality=quality, limit=limit))
    assert found["n_good"] == 264 and found["mag"] == 13.0
    assert found["nondetections"] == pytest.approx(6 / 300)
    assert found["flagged"] == pytest.approx(30 / 300)
    assert found["limit_median"] == 17.0 and found["limit_spread"] == 0.0
    assert found["limit_lost"] == 0.5
    assert found["error"] == pytest.approx(0.01)
    # A fifth of the flux at the limit, as an error in magnitudes.
    assert found["error_over_limit"] == pytest.approx(0.01 / (0.2 * 1.0857362 * 10 ** (0.4 * (13.0 - 17.0))), rel=1e-5)


def test_scatter_is_that_of_the_noise_and_not_of_cameras_or_slow_dips() -> None:
    rng = np.random.default_rng(4)
    time = np.sort(np.concatenate([nightly(5, 200) + rng.uniform(0, 0.3, 1000) for _ in range(3)]))
    camera = rng.choice(["ba", "bB", "bC"], len(time))
    offset = np.select([camera == "ba", camera == "bB"], [0.1, -0.1], 0.0)
    slow = 0.3 * np.sin(2 * np.pi * time / 400.0)
    found = measured(star(time, 13.0 + offset + slow + 0.03 * rng.standard_normal(len(time)), camera=camera))
    # 3000 points: a robust standard deviation to 1.17 / sqrt(3000) = 2 %, and the trend's few percent.
    assert found["scatter"] == pytest.approx(0.03, rel=0.08)
    assert found["scatter_over_error"] == pytest.approx(3.0, rel=0.08)
    assert found["night_to_night_over_error"] == pytest.approx(3.0, rel=0.15)
    assert found["camera_offsets"] == pytest.approx(0.1, rel=0.05)
    assert found["trend_sd"] == pytest.approx(1.4826 * np.median(np.abs(slow - np.median(slow))), rel=0.1)
    assert found["outliers_4"] < 0.002 and abs(found["asymmetry"]) < 0.1
    assert found["kurtosis"] == pytest.approx(3.0, abs=0.5)
    assert abs(found["memory_1d"]) < 0.1 and abs(found["shared_1d"]) < 0.1
    assert found["power_peak"] > found["power_month"] > 0


def test_outliers_and_their_side() -> None:
    rng = np.random.default_rng(5)
    time = nightly(5, 200)
    mag = 13.0 + 0.01 * rng.standard_normal(1000)
    mag[rng.choice(1000, 30, replace=False)] += 0.3
    faint = measured(star(time, mag))
    assert faint["outliers_4"] == pytest.approx(0.03, abs=0.003)
    assert faint["outliers_6"] == pytest.approx(0.03, abs=0.003)
    assert faint["outliers_bright"] < 0.002
    assert faint["asymmetry"] > 0.5
    bright = measured(star(time, 26.0 - mag))
    assert bright["outliers_bright"] == pytest.approx(0.03, abs=0.003)
    assert bright["asymmetry"] == pytest.approx(-faint["asymmetry"], abs=1e-3)


def test_a_response_to_the_focus_and_a_period_of_a_month_are_seen() -> None:
    rng = np.random.default_rng(6)
    time = np.sort(np.concatenate([nightly(5, 200) + rng.uniform(0, 0.3, 1000) for _ in range(2)]))
    fwhm, limit = rng.normal(1.5, 0.1, (2, len(time)))
    noise = 0.01 * rng.standard_normal(len(time))
    plain = measured(star(time, 13.0 + noise, fwhm=fwhm, limit=17 + limit))
    assert plain["fwhm_response"] < 0.1 and plain["limit_response"] < 0.1
    answering = measured(star(time, 13.0 + noise + 0.1 * (fwhm - 1.5), fwhm=fwhm, limit=17 + limit))
    # Equal parts of noise and response: a linear correlation of 1 / sqrt(2), in ranks 6 / pi asin(r / 2).
    assert answering["fwhm_response"] == pytest.approx(6 / np.pi * np.arcsin(0.5 / np.sqrt(2)), abs=0.05)
    assert answering["limit_response"] < 0.1
    lit = measured(star(time, 13.0 + noise + 0.02 * np.sin(2 * np.pi * time / 29.5306)))
    assert lit["power_month"] > 20 * plain["power_month"]
    assert lit["power_peak"] >= lit["power_month"]


def test_a_camera_that_drifts_against_the_others() -> None:
    rng = np.random.default_rng(7)
    time = np.sort(np.concatenate([nightly(5, 200) + rng.uniform(0, 0.3, 1000) for _ in range(3)]))
    camera = rng.choice(["ba", "bB", "bC"], len(time))
    noise = 0.01 * rng.standard_normal(len(time))
    drift = 0.1 * np.sin(2 * np.pi * time / 700.0)
    still = measured(star(time, 13.0 + drift + noise, camera=camera))
    alone = measured(star(time, 13.0 + drift * (camera == "ba") + noise, camera=camera))
    assert still["camera_drift"] < 0.004
    assert alone["camera_drift"] > 3 * still["camera_drift"]
    # Of one camera alone, nobody can say whether it drifts or the star does.
    assert measured(star(time, 13.0 + drift + noise))["camera_drift"] is None


def test_halves_and_seasons_are_measured_apart(make_survey: Callable[..., LightCurves]) -> None:
    survey = make_survey(4, seed=8)
    both, fit, judge = (quantities(survey, (58000, 61000), half) for half in ("both", "fit", "judge"))
    assert (both["n_good"] == fit["n_good"] + judge["n_good"]).all()
    seasons = {half: quantities(survey, (58000, 61000), half, per="season") for half in ("both", "fit", "judge")}
    assert set(seasons["fit"]["season"]) <= {-2, 0, 2, 4} and set(seasons["judge"]["season"]) <= {-1, 1, 3}
    assert seasons["both"].height == seasons["fit"].height + seasons["judge"].height == 20
    together = seasons["fit"].group_by("star_id", maintain_order=True).agg(pl.col("n_good").sum())
    assert together["n_good"].to_list() == fit["n_good"].to_list()
    # What another half holds does not change what is measured, but for the gap between the two.
    names = [name for name in QUANTITIES if name != "season_gap"]
    first = seasons["both"].filter(pl.col("season").is_in([0])).select(names)
    assert first.equals(seasons["fit"].filter(pl.col("season").is_in([0])).select(names))


def test_order_of_stars_and_bands_outside_do_not_matter(make_survey: Callable[..., LightCurves]) -> None:
    survey = make_survey(3, seed=9)
    table = quantities(survey, WINDOW)
    assert quantities(survey.take([2, 0, 1]), WINDOW).equals(table[[2, 0, 1]])
    other = replace(
        survey, columns=survey.columns | {"band": np.full_like(survey["band"], "V"), "mag": survey["mag"] + 9}
    )
    assert quantities(concatenate([other, survey]), WINDOW).equals(table)
    assert quantities(other, WINDOW).is_empty() and quantities(other, WINDOW).columns == table.columns
    assert quantities(other, WINDOW, bands=("V",)).height == 3


def test_what_a_light_curve_lacks_is_null(make_survey: Callable[..., LightCurves]) -> None:
    survey = make_survey(2, seed=10)
    bare = replace(
        survey, columns={k: v for k, v in survey.columns.items() if k in ("time", "flux", "flux_err", "mag", "mag_err")}
    )
    table = quantities(bare, WINDOW)
    for name in ("flagged", "limit_median", "fwhm_median", "error_over_limit", "fwhm_response", "camera_offsets"):
        assert table[name].null_count() == 2
    assert table["scatter"].null_count() == 0 and table["n_good"].min() > quantities(survey, WINDOW)["n_good"].min()


@pytest.mark.parametrize("n", [0, 1, LEAST_GOOD - 1, LEAST_GOOD])
def test_too_few_rows_are_left_out(n: int) -> None:
    table = quantities(star(nightly()[:n], np.full(n, 13.0)), WINDOW)
    assert table.height == (n == LEAST_GOOD)


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("error")
def test_ugly_stars_raise_no_warnings() -> None:
    time = nightly()
    for mag in (np.full(300, 13.0), np.where(np.arange(300) < 40, 13.0, np.nan), np.full(300, np.nan)):
        for changes in ({}, {"limit": np.full(300, np.nan), "fwhm": np.full(300, np.nan)}):
            quantities(star(time, mag, **changes), WINDOW)
            quantities(star(np.full(300, 59000.0), mag, **changes), WINDOW, per="season")


def test_light_curves_without_magnitudes_are_refused(make_survey: Callable[..., LightCurves]) -> None:
    survey = make_survey(1, seed=11)
    without = replace(survey, columns={k: v for k, v in survey.columns.items() if k != "mag"})
    with pytest.raises(DataError, match="'made up' lack the column 'mag'"):
        quantities(without, WINDOW)
