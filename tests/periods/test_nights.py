"""Binned light curves against slow ones and cases made by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods.cleaning import clean
from varistar.periods.nights import Nights, make_nights

START = 58484.5
#: Spans of a day.
HUNDRED = Nights(window=(START, START + 100.0), count=100)


def table(time: NDArray, flux: NDArray, flux_err: NDArray, star_id: str = "star") -> LightCurves:
    columns = {"time": time, "flux": flux.astype(np.float32), "flux_err": flux_err.astype(np.float32)}
    return LightCurves((star_id,), np.array([0, len(time)]), columns, "MJD_UTC")


def observed(n: int, seed: int) -> LightCurves:
    """A star that turns, with mixed errors, before, in and after the window, in no order of time."""
    rng = np.random.default_rng(seed)
    time = START + rng.uniform(-10.0, 110.0, n)
    flux = 5.0 + 0.4 * np.sin(2.0 * np.pi * time / 11.0) + rng.normal(0.0, 0.1, n)
    return table(time, flux, 0.2 * 10.0 ** rng.uniform(-0.5, 0.5, n), str(seed))


def steady(nights: list[float], fluxes: list[float], errors: list[float]) -> LightCurves:
    """These points among 300 outside the window that make median 1 and scatter 1.4826 / 64.

    An error of 2^-4 is more than that scatter, and the median error, so that none is raised.
    """
    time = np.concatenate([START + 200.0 + np.arange(300.0), START + np.array(nights)])
    flux = np.concatenate([1.0 + np.tile([-1.0, 0.0, 1.0], 100) / 64.0, fluxes])
    return table(time, flux, np.concatenate([np.full(300, 2.0**-4), errors]))


SCATTER = 1.4826 / 64.0


def slow_nights(light_curve: LightCurves, settings: Nights) -> NDArray[np.uint8]:
    """Span by span."""
    star = clean(light_curve)
    time, flux, flux_err = (star[name] for name in ("time", "flux", "flux_err"))
    unit = (flux - np.median(flux)) / (1.4826 * np.median(np.abs(flux - np.median(flux))))
    unit_err = flux_err / (1.4826 * np.median(np.abs(flux - np.median(flux))))
    out = np.zeros(settings.shape, dtype=np.uint8)
    limits = np.linspace(*settings.window, settings.count + 1)
    for night in range(settings.count):
        mine = (time >= limits[night]) & (time < limits[night + 1])
        out[0, night] = 128
        if mine.any():
            mean = np.average(unit[mine], weights=unit_err[mine] ** -2.0)
            out[0, night] = int(np.clip(127.5 * (1.0 + mean / 5.0) + 0.5, 0.0, 255.0))
            out[1, night] = int(255.0 * (1.0 - math.exp(-(unit_err[mine] ** -2.0).sum())))
    return out


# ---------------------------------------------------------------------------------------------------------------------
# What a night holds


@pytest.mark.parametrize(("n", "count"), [(40, 100), (400, 100), (200, 64), (300, 731)])
def test_nights_are_those_of_a_slow_loop(n: int, count: int) -> None:
    star, settings = observed(n, seed=n), Nights(window=HUNDRED.window, count=count)
    (nights,) = make_nights(star, settings)
    assert nights.dtype == np.uint8
    assert nights.shape == settings.shape == (2, count)
    expected = slow_nights(star, settings)
    difference = np.abs(nights.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert len(np.unique(expected[0])) > 20
    assert len(np.unique(expected[1])) > 15


def test_two_points_of_a_night_are_their_weighted_mean() -> None:
    """Of one scatter above and three below the median, the latter with twice the error: 1/5 of it above."""
    star = steady([3.2, 3.7], [1.0 + SCATTER, 1.0 - 3.0 * SCATTER], [2.0**-4, 2.0**-3])
    (nights,) = make_nights(star, HUNDRED)
    assert nights[0, 3] == int(127.5 * (1.0 + 0.2 / 5.0) + 0.5)
    weight = SCATTER**2 * (2.0**8 + 2.0**6)
    assert nights[1, 3] == int(255.0 * (1.0 - math.exp(-weight)))
    assert 20 < nights[1, 3] < 60
    others = np.delete(nights, 3, axis=1)
    assert (others[0] == 128).all()
    assert not others[1].any()


@pytest.mark.parametrize(
    ("day", "night"), [(0.0, 0), (0.999, 0), (1.0, 1), (99.999, 99), (-1e-6, None), (-0.5, None), (100.0, None)]
)
def test_spans_begin_at_the_window_and_hold_no_point_outside(day: float, night: int | None) -> None:
    (nights,) = make_nights(steady([day], [1.0 + SCATTER], [2.0**-4]), HUNDRED)
    assert np.flatnonzero(nights[1]).tolist() == ([] if night is None else [night])
    assert np.flatnonzero(nights[0] != 128).tolist() == ([] if night is None else [night])


@pytest.mark.parametrize(
    ("scatters", "level"), [(0.0, 128), (1.0, 153), (-1.0, 102), (4.9, 252), (-4.9, 3), (5.5, 128), (-5.5, 128)]
)
def test_levels_are_scatters_from_the_median(scatters: float, level: int) -> None:
    """Beyond five scatters the cleaning has cut."""
    (nights,) = make_nights(steady([50.5], [1.0 + scatters * SCATTER], [2.0**-4]), HUNDRED)
    assert nights[0, 50] == level
    assert bool(nights[1, 50]) == (abs(scatters) < 5.0)


def test_levels_end_at_the_clip() -> None:
    """The scatter after both cuts is less than that they cut by: medians of 1.2, then 1.1, then 1."""
    counts = {1.0: 50, 1.1: 5, 1.2: 42, 8.0: 2, 8.5: 5, 20.0: 10}
    above = np.concatenate([np.full(count, level) for level, count in counts.items()])
    flux = 1.0 + 0.01 * np.concatenate([above, -above, [0.0]])
    star = table(START + 0.25 + np.arange(229.0), flux, np.full(229, 0.01))
    (nights,) = make_nights(star, Nights(window=(START, START + 229.0), count=229))
    by_level = {level: nights[:, :114][:, above == level].T for level in counts}
    assert (by_level[1.2][:, 0] == int(127.5 * (1.0 + 1.2 / 1.4826 / 5.0) + 0.5)).all()
    assert (by_level[8.0][:, 0] == 255).all()
    assert by_level[8.0][:, 1].all()
    assert (nights[0, 114:228][above == 8.0] == 0).all()
    for cut in (8.5, 20.0):
        assert (by_level[cut] == [128, 0]).all()


def test_many_points_are_known_well() -> None:
    rng = np.random.default_rng(1)
    star = table(START + rng.uniform(0.0, 10.0, 500), 1.0 + 0.1 * rng.normal(size=500), np.full(500, 0.1))
    (nights,) = make_nights(star, HUNDRED)
    assert (nights[1, :10] >= 254).all()
    assert (np.abs(nights[0, :10].astype(int) - 128) < 15).all()
    assert not nights[1, 10:].any()


# ---------------------------------------------------------------------------------------------------------------------
# What does not matter, and ugly light curves


def test_a_star_depends_on_its_own_points_only() -> None:
    stars = [observed(n, seed=n) for n in (200, 1, 50, 700)]
    together = concatenate(stars)
    nights = make_nights(together, HUNDRED)
    for i, star in enumerate(stars):
        np.testing.assert_array_equal(make_nights(star, HUNDRED)[0], nights[i])
    np.testing.assert_array_equal(make_nights(together.take([3, 0, 0]), HUNDRED), nights[[3, 0, 0]])
    assert make_nights(together.take([]), HUNDRED).shape == (0, 2, 100)


def test_order_and_unit_do_not_matter() -> None:
    star = observed(500, seed=2)
    order = np.random.default_rng(3).permutation(500)
    shuffled = replace(star, columns={name: values[order] for name, values in star.columns.items()})
    brighter = table(star["time"], 1024.0 * star["flux"], 1024.0 * star["flux_err"])
    for other in (shuffled, brighter):
        np.testing.assert_array_equal(make_nights(other, HUNDRED), make_nights(star, HUNDRED))


def test_time_counts_from_the_window() -> None:
    star, days = observed(300, seed=4), 2.0**10
    later = replace(star, columns=star.columns | {"time": star["time"] + days})
    moved = Nights(window=(START + days, START + days + 100.0), count=100)
    np.testing.assert_array_equal(make_nights(later, moved), make_nights(star, HUNDRED))


@pytest.mark.parametrize(
    ("time", "flux"),
    [
        ([], []),
        ([START + 5.0], [3.0]),
        ([START + 5.0] * 20, [2.0] * 20),
        (list(START + np.arange(50.0)), [2.5] * 50),
        (list(START + np.arange(50.0)), [0.0] * 50),
    ],
    ids=["no point", "one point", "one time and flux", "constant", "nothing"],
)
@pytest.mark.filterwarnings("error")
def test_what_does_not_vary_shows_nothing(time: list[float], flux: list[float]) -> None:
    (nights,) = make_nights(table(np.array(time), np.array(flux), np.full(len(time), 0.1)), HUNDRED)
    assert (nights[0] == 128).all()
    assert not nights[1].any()


@pytest.mark.filterwarnings("error")
def test_two_points_lie_on_either_side_of_the_median() -> None:
    (nights,) = make_nights(table(START + np.array([5.5, 7.5]), np.array([3.0, 4.0]), np.full(2, 0.1)), HUNDRED)
    below, above = nights[0, [5, 7]].astype(int)
    assert (below, above) == (int(127.5 * (1 - 1 / 1.4826 / 5) + 0.5), int(127.5 * (1 + 1 / 1.4826 / 5) + 0.5))
    assert (np.delete(nights, [5, 7], axis=1) == [[128], [0]]).all()


def test_bad_points_are_refused() -> None:
    star = observed(30, seed=5)
    star["time"][7] = np.nan
    with pytest.raises(DataError, match="time is nan at point 7; points that are not finite must be cut first"):
        make_nights(star, HUNDRED)
    with pytest.raises(DataError, match="errors must be positive"):
        make_nights(table(START + np.arange(20.0), np.ones(20), np.zeros(20)), HUNDRED)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


def test_defaults_are_about_a_day_of_five_years() -> None:
    settings = Nights(window=(58484.5, 60311.5))
    assert settings.kind == "nights"
    assert settings.shape == (2, 1824)
    assert settings.axes == ("channel", "night")
    assert 1.0 <= (60311.5 - 58484.5) / settings.count < 1.01


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window": [5.0, 5.0]}, "window must run from the smaller to the larger value"),
        ({"count": 63}, "'count': .*greater than or equal to 64"),
        ({"nodes": 128}, "'nodes' does not exist; allowed here: count, kind, window"),
        ({"kind": "image"}, "'kind'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        validate(Nights, HUNDRED.model_dump() | changes, "representation")
