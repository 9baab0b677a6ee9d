"""What a network of points is shown: equal to its definition written out, in no unit, and blind to what is missing."""

import json
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.flares.orbits import Orbit
from varistar.flares.representation import PointRepresentation, _running_median, make_points
from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate

MINUTES = 2.0


def orbit(flux: NDArray, minutes: float = MINUTES) -> Orbit:
    m = len(flux)
    cadence = minutes / 1440
    return Orbit(1000 + cadence * np.arange(m), flux, np.full(m, 1e-3), np.arange(m), cadence)


def noisy(m: int = 2000, scatter: float = 1e-3, seed: int = 0) -> NDArray:
    return 1 + scatter * np.random.default_rng(seed).normal(size=m)


def one_by_one(values: NDArray, half: int, average: Callable[[NDArray], float] = np.nanmedian) -> NDArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of windows without any value
        return np.array([average(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


@pytest.mark.parametrize("m", [1, 2, 31, 32, 33, 64, 500])
@pytest.mark.parametrize("half", [1, 7, 45, 3000])
@pytest.mark.parametrize("kind", ["white", "levels", "walk", "gap"])
def test_running_median_are_those_of_each_window(m: int, half: int, kind: str) -> None:
    rng = np.random.default_rng([m, half])
    values = rng.normal(size=m)
    if kind == "levels":
        values = np.round(values)
    if kind == "walk":
        values = np.cumsum(values)
    values[rng.random(m) < 0.3] = np.nan
    if kind == "gap":
        values[m // 4 : m // 2] = np.nan
    np.testing.assert_array_equal(_running_median(values, half), one_by_one(values, half))


def test_channels_are_what_their_definition_says() -> None:
    flux = noisy(700) + 0.02 * np.sin(np.arange(700) / 40)
    flux[np.random.default_rng(1).random(700) < 0.1] = np.nan
    settings = PointRepresentation(hours=(3.0, 1.0), noise_hours=5.0)
    shown = make_points(orbit(flux), settings)
    good = np.isfinite(flux)
    values, where = flux[good], np.flatnonzero(good)
    change = np.full(700, np.nan)
    for k in range(1, len(values) - 1):
        change[where[k]] = abs(values[k - 1] - 2 * values[k] + values[k + 1])
    noise = 1.482602 / np.sqrt(6) * np.maximum(one_by_one(change, 75), 0.5 * np.nanmedian(change))
    for channel, half in ((0, 45), (1, 15)):
        rest = flux - one_by_one(np.where(good, one_by_one(flux, half), np.nan), half, np.nanmean)
        expected = np.arcsinh((rest - one_by_one(rest, half)) / noise)
        np.testing.assert_allclose(shown[channel], np.where(good, expected, 0.0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(shown[2], good)
    assert shown.dtype == np.float32 and shown.shape == (settings.channels, 700)


@pytest.mark.parametrize("unit", [2.0**-10, 3.7, 1e5])
def test_the_unit_of_flux_does_not_matter(unit: float) -> None:
    flux = noisy()
    flux[[5, 300, 301, 1999]] = np.nan
    shown, in_unit = (make_points(orbit(values), PointRepresentation()) for values in (flux, unit * flux))
    np.testing.assert_allclose(in_unit, shown, rtol=1e-5, atol=1e-6)
    if unit == 2.0**-10:
        np.testing.assert_array_equal(in_unit, shown)


def test_white_noise_has_unit_scatter_also_where_it_doubles() -> None:
    flux = noisy(8000)
    flux[4000:] = 1 + 2 * (flux[4000:] - 1)
    shown = np.sinh(make_points(orbit(flux), PointRepresentation())[:2])
    for part in (slice(500, 3500), slice(4500, 7500)):
        np.testing.assert_allclose(shown[:, part].std(axis=1), 1.0, atol=0.08)


@pytest.mark.parametrize("phase", [0.0, 0.4, 0.6, 0.75])
def test_a_faint_flare_on_a_fast_rotator_stands_out_of_the_narrow_channel_alone(phase: float) -> None:
    """8 times the noise for ten minutes, on 5 % at 0.3 d."""
    place = int((9 + phase) * 216)
    flux = noisy(4000) + 0.025 * np.sin(2 * np.pi * np.arange(4000) / 216)
    flux[place : place + 5] += 0.008
    broad, narrow, _ = np.sinh(make_points(orbit(flux), PointRepresentation()))
    elsewhere = np.ones(4000, dtype=bool)
    elsewhere[place : place + 5] = elsewhere[:100] = elsewhere[-100:] = False
    assert narrow[elsewhere].std() < 1.3
    assert narrow[place : place + 5].mean() > 6.0
    assert narrow[place : place + 5].min() > np.percentile(narrow[elsewhere], 99.9)
    assert np.mean(broad > broad[place + 2]) > 0.01


def test_a_flare_of_hours_is_whole_in_the_broad_channel_and_a_superflare_is_bounded() -> None:
    flux = noisy(4000)
    flux[2000:2060] += 0.1
    broad, narrow, _ = make_points(orbit(flux), PointRepresentation())
    assert broad[2000:2060].min() > np.arcsinh(70)
    assert narrow[2030] < np.arcsinh(5)
    flux[2000] = 1e6
    assert make_points(orbit(flux), PointRepresentation()).max() < 25


@pytest.mark.parametrize("minutes", [1 / 3, 2.0, 10.0])
def test_windows_are_hours_whatever_the_cadence(minutes: float) -> None:
    """What lasts less than half of one is seen, and what lasts longer is taken for the star."""
    for lasting, seen in ((70, True), (110, False)):
        flux = noisy(4000, 1e-4)
        flux[2000 : 2000 + round(lasting / minutes)] += 0.1
        shown = make_points(orbit(flux, minutes), PointRepresentation(hours=(3.0,)))[0]
        assert (shown[2000 + round(lasting / minutes / 2)] > np.arcsinh(500)) == seen


def test_flux_without_noise_shows_its_mask_alone() -> None:
    flux = np.ones(300)
    flux[40] = np.nan
    shown = make_points(orbit(flux), PointRepresentation())
    assert not shown[:2].any() and shown[2].sum() == 299
    few = np.full(300, np.nan)
    few[[3, 200]] = 1.0, 1.1
    assert not make_points(orbit(few), PointRepresentation())[:2].any()


def test_flux_of_few_levels_still_shows_a_flare() -> None:
    """Most of its second differences are zero, and so is their median."""
    flux = np.ones(1000)
    flux[::50] += 0.01
    flux[500:506] += 0.1
    shown = make_points(orbit(flux), PointRepresentation())
    assert np.isfinite(shown).all()
    assert set(np.flatnonzero(shown[1] > np.arcsinh(100))) == set(range(500, 506))


def test_settings_survive_json_and_another_version_is_refused() -> None:
    settings = PointRepresentation(hours=(6.0, 2.0, 1.0))
    assert settings.channels == 4
    assert validate(PointRepresentation, json.loads(settings.model_dump_json()), "model.json") == settings
    with pytest.raises(ConfigError, match=r"model.json: 'version'"):
        validate(PointRepresentation, {"version": 2}, "model.json")
    with pytest.raises(ConfigError, match=r"params.yaml: 'hours.1'"):
        validate(PointRepresentation, {"hours": [12.0, 0.0]}, "params.yaml")
    with pytest.raises(ConfigError, match=r"'hours'"):
        validate(PointRepresentation, {"hours": []}, "params.yaml")


def test_windows_of_long_cadences_hold_enough_of_them() -> None:
    """At half an hour they would be of a few, whose median follows a flare; at two minutes nothing changes."""
    wide = PointRepresentation(least=5)
    flux = noisy(600)
    flux[300:303] += [0.1, 0.06, 0.03]
    np.testing.assert_array_equal(make_points(orbit(flux), wide), make_points(orbit(flux), PointRepresentation()))
    narrow, enough = (make_points(orbit(flux, 30.0), shown)[1] for shown in (PointRepresentation(), wide))
    noise = make_points(orbit(flux, 30.0), wide)[0, 300] - enough[300]
    assert enough[300] > 0.95 * np.arcsinh(100) and abs(noise) < 0.2
    assert narrow[301] < 0.9 * enough[301]


@pytest.mark.parametrize("minutes", [2.0, 3.3, 30.0])
def test_a_channel_may_say_how_long_the_cadences_are(minutes: float) -> None:
    flux = noisy(300)
    flux[[5, 6, 7]] = np.nan
    shown = make_points(orbit(flux, minutes), PointRepresentation(cadence=True))
    assert shown.shape == (PointRepresentation(cadence=True).channels, 300) == (4, 300)
    expected = np.where(np.isfinite(flux), np.log(minutes / 2.0), 0.0)
    np.testing.assert_allclose(shown[2], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.delete(shown, 2, axis=0), make_points(orbit(flux, minutes), PointRepresentation()))
