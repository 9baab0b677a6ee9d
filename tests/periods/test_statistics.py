"""Statistics along the period axis against slow ones, and the ugly light curves."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods.cleaning import clean_flux
from varistar.periods.statistics import CHANNELS, Statistics, make_statistics
from varistar.spectra.chunked import ChunkedTransform, cells_with_data

START, STOP = 58484.5, 60311.5
SMALL = Statistics(window=(START, STOP), nodes=33, bins=24, margins=(3, 5))
ROW = {name: row for row, name in enumerate(CHANNELS)}
TIMELY = ("sum", "mean_logarithm", "percentile", "covered", "periodogram", "window")


def observed(n: int, seed: int, period: float = 11.0, span: float = 1800.0) -> LightCurves:
    """A star that turns, seen by two cameras in seasons, with some points far off, in no order of time."""
    rng = np.random.default_rng(seed)
    time = START + span / 1800.0 * (365.25 * rng.choice([0, 1, 3, 4], n) + rng.uniform(0, 215, n))
    camera = rng.choice(["ba", "bE"], n)
    flux = 5 + 0.4 * np.sin(2 * np.pi * time / period) + rng.normal(0, 0.1, n) + np.where(camera == "ba", 0.0, 0.6)
    flux[rng.random(n) < 0.03] += 5
    return table(time, flux, rng.uniform(0.02, 0.06, n), camera)


def table(time: NDArray, flux: NDArray, flux_err: NDArray, camera: NDArray | None = None) -> LightCurves:
    columns = {"time": np.asarray(time, np.float64)}
    columns |= {"flux": np.asarray(flux, np.float32), "flux_err": np.asarray(flux_err, np.float32)}
    columns |= {} if camera is None else {"camera": camera}
    return LightCurves(("star",), np.array([0, len(columns["time"])]), columns, "MJD_UTC")


def with_columns(light_curves: LightCurves, **columns: NDArray) -> LightCurves:
    return replace(light_curves, columns=light_curves.columns | columns)


def close(levels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Equal but where rounding decides on which side of a half a value lies."""
    difference = np.abs(levels.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


# ---------------------------------------------------------------------------------------------------------------------
# Every channel, slowly


def slow_detrend(time: NDArray, flux: NDArray, flux_err: NDArray, width: float) -> NDArray[np.float64]:
    """Less the weighted mean under a Gaussian that ends at three widths."""
    distance = (time - time[:, None]) / width
    weight = np.where(np.abs(distance) <= 3.0, np.exp(-0.5 * distance**2), 0.0) * flux_err**-2.0
    return flux - weight @ flux / weight.sum(axis=1)


def slow_statistics(light_curve: LightCurves, settings: Statistics) -> NDArray[np.uint8]:
    """One period after the other, each with a transform of its own."""
    codes = np.unique(light_curve["camera"], return_inverse=True)[1]
    flux, flux_err = (light_curve[name].astype(np.float64) for name in ("flux", "flux_err"))
    published = np.median(flux_err) / abs(np.median(flux))
    flux, flux_err, keep = clean_flux(flux, flux_err, codes)
    time, flux, flux_err = light_curve["time"][keep], flux[keep], flux_err[keep]
    flux = slow_detrend(time, flux, flux_err, settings.trend)
    lowest, highest = settings.period_range
    ratio = (highest / lowest) ** (1.0 / settings.bins)
    nodes = np.linspace(*settings.window, settings.nodes)
    out = np.zeros(settings.shape, np.uint8)
    edges = lowest * ratio ** np.arange(-settings.margins[0], settings.bins + settings.margins[1] + 1.0)
    step = min(1.0 / (3.0 * np.ptp(time)), 0.9 * np.abs(np.diff(1.0 / edges)).min())
    for column, (low, high) in enumerate(pairwise(edges)):
        period = math.sqrt(low * high)
        tradeoff = max(settings.tradeoff, settings.least_width / period)
        transform = ChunkedTransform([period], nodes, tradeoff, "delta_chi2")
        power = transform(time, flux, flux_err)[:, 0]
        first = math.ceil((1.0 / high - 1.0 / edges[-1]) / step - 1e-9)
        frequency = 1.0 / edges[-1] + step * np.arange(first, (1.0 / low - 1.0 / edges[-1]) / step)
        fit = LombScargle(time - START, flux, flux_err).power(frequency, normalization="psd", method="cython")
        weight = flux_err**-2.0 / (flux_err**-2.0).sum()
        window = np.abs(np.exp(2j * np.pi * np.outer(frequency, time - START)) @ weight) ** 2
        values = {
            "sum": math.log(1.0 + power.sum()),
            "mean_logarithm": np.log(1.0 + power).mean(),
            "percentile": math.log(1.0 + np.percentile(power, 80, method="inverted_cdf")),
            "covered": cells_with_data(time, [period], nodes, tradeoff).mean(),
            "periodogram": math.log(1.0 + 2.0 * fit.max()),
            "window": window.max(),
            "points": math.log(len(time)),
            "scatter": math.log(1.4826 * np.median(np.abs(flux - np.median(flux)))),
            "error": math.log(published),
        }
        for name, (zero, full) in CHANNELS.items():
            level = 255.0 * (values[name] - zero) / (full - zero)
            out[ROW[name], column] = int(min(max(math.floor(level + 0.5), 0), 255))
    return out


@pytest.mark.parametrize("n", [12, 90, 700])
@pytest.mark.parametrize(
    "changes",
    [{}, {"tradeoff": 3.0, "least_width": 20.0, "trend": 100.0, "period_range": (0.5, 60.0), "nodes": 20}],
    ids=["", "other"],
)
def test_statistics_are_those_of_a_slow_loop(n: int, changes: dict[str, Any]) -> None:
    star, settings = observed(n, seed=n), SMALL.model_copy(update=changes)
    (levels,) = make_statistics(star, settings)
    assert levels.dtype == np.uint8
    assert levels.shape == settings.shape == (9, 32)
    expected = slow_statistics(star, settings)
    close(levels, expected)
    for name in ("sum", "mean_logarithm", "percentile", "periodogram", "window"):
        assert len(np.unique(expected[ROW[name]])) > 3, name
    for name in ("points", "scatter", "error"):
        assert len(np.unique(levels[ROW[name]])) == 1
        assert 0 < levels[ROW[name], 0] < 255


def test_the_defaults_give_those_of_a_slow_loop() -> None:
    settings = Statistics(window=(START, STOP))
    star = observed(250, seed=1, period=6.3)
    (levels,) = make_statistics(star, settings)
    close(levels, slow_statistics(star, settings))
    period = settings.periods()[np.argmax(levels[ROW["periodogram"]])]
    assert period == pytest.approx(6.3, rel=settings.step)


def test_a_signal_that_lasts_and_one_that_does_not_differ_in_the_percentile() -> None:
    """A season of strong variation raises the sum as much, but no time but its own."""
    rng = np.random.default_rng(2)
    time = np.linspace(START, STOP, 1800) + rng.uniform(-0.4, 0.4, 1800)
    noise, wave = 0.01 * rng.normal(size=1800), np.sin(2 * np.pi * time / 7.0)
    strength = {"lasts": np.full(1800, 0.01), "once": np.where(np.abs(time - 59400.0) < 60.0, 0.03, 0.0)}
    curves = [table(time, 1.0 + s * wave + noise, np.full(1800, 0.01)) for s in strength.values()]
    lasts, once = make_statistics(concatenate(curves), SMALL).astype(int)
    near = np.argmin(np.abs(np.log(SMALL.periods() / 7.0)))
    assert np.argmax(lasts[ROW["percentile"]]) == np.argmax(lasts[ROW["sum"]]) == np.argmax(once[ROW["sum"]]) == near
    assert abs(lasts[ROW["sum"], near] - once[ROW["sum"], near]) < 20
    assert lasts[ROW["percentile"], near] > 1.5 * once[ROW["percentile"], near]


def test_slow_changes_are_removed() -> None:
    """Seasons of other brightness, of which a periodogram would see little else."""
    star = observed(500, seed=11)
    years = np.floor((star["time"] - START) / 365.25)
    stepped = with_columns(star, flux=(star["flux"] + 0.2 * years).astype(np.float32))
    close(make_statistics(stepped, SMALL)[:, ROW["sum"]], slow_statistics(stepped, SMALL)[None, ROW["sum"]])
    spread = []
    for settings in (SMALL, SMALL.model_copy(update={"trend": 1e6})):
        plain, other = (make_statistics(one, settings)[0, ROW["periodogram"]].astype(int) for one in (star, stepped))
        # The cleaning takes the steps for noise, which lowers all levels alike.
        spread.append(np.std(other - plain))
    assert spread[0] < 0.2 * spread[1]


def test_levels_end_at_their_bounds() -> None:
    """A bright star's signal, and a scatter below all bounds."""
    time = np.linspace(START, STOP, 2000)
    bright = table(time, 1.0 + 0.3 * np.sin(2 * np.pi * time / 5.0), np.full(2000, 1e-6))
    steady = table(time, 1.0 + 1e-6 * np.sin(np.arange(2000.0)), np.full(2000, 1e-6))
    levels = make_statistics(concatenate([bright, steady]), SMALL)
    assert levels[0, ROW["error"], 0] == 0
    assert (levels[1, [ROW["scatter"], ROW["error"]], 0] == 0).all()
    noisy = table(time, 1.0 + 1e4 * np.sin(np.arange(2000.0)), np.full(2000, 1e4))
    assert (make_statistics(noisy, SMALL)[0, [ROW["scatter"], ROW["error"]], 0] == 255).all()


# ---------------------------------------------------------------------------------------------------------------------
# The axis


@pytest.mark.parametrize(
    "settings",
    [
        Statistics(window=(START, STOP)),
        SMALL,
        Statistics(window=(START, STOP), period_range=(0.5, 64.0), bins=70, margins=(0, 0)),
    ],
    ids=["default", "small", "without margins"],
)
def test_the_axis_is_even_in_the_logarithm(settings: Statistics) -> None:
    edges, periods, (below, above) = settings.edges(), settings.periods(), settings.margins
    assert settings.shape == (len(CHANNELS), len(periods))
    assert len(periods) == below + settings.bins + above == len(edges) - 1
    np.testing.assert_allclose(np.diff(np.log(edges)), settings.step, rtol=1e-9)
    np.testing.assert_allclose(np.log(periods), 0.5 * (np.log(edges[1:]) + np.log(edges[:-1])), atol=1e-14)
    assert edges[below] == pytest.approx(settings.period_range[0], rel=1e-12)
    assert edges[below + settings.bins] == pytest.approx(settings.period_range[1], rel=1e-12)


@pytest.mark.parametrize("factor", [2, 3])
def test_harmonics_are_whole_bins_away(factor: int) -> None:
    """Half the period, and a third, to a tenth of a bin: all of a bin but its ends has its harmonic in one other."""
    settings = Statistics(window=(START, STOP))
    shift = round(math.log(factor) / settings.step)
    periods, edges = settings.periods(), settings.edges()
    harmonics = periods[shift:] / factor
    np.testing.assert_array_equal(np.searchsorted(edges, harmonics) - 1, np.arange(len(harmonics)))
    assert abs(shift * settings.step - math.log(factor)) < (0.02 if factor == 2 else 0.35) * settings.step


def test_defaults_hold_the_harmonics_of_the_range() -> None:
    settings = Statistics(window=(START, STOP))
    assert (settings.kind, settings.axes, settings.shape) == ("statistics", ("channel", "period"), (9, 208))
    assert settings.edges()[-1] > 1.9 * settings.period_range[1]


# ---------------------------------------------------------------------------------------------------------------------
# Company, order, unit and origin


def test_a_star_depends_on_its_own_points_only() -> None:
    stars = [observed(n, seed=n) for n in (220, 3, 0, 90, 1000)]
    together = concatenate(stars)
    levels = make_statistics(together, SMALL)
    for i, star in enumerate(stars):
        np.testing.assert_array_equal(make_statistics(star, SMALL)[0], levels[i])
    order = [4, 2, 0, 0, 3]
    np.testing.assert_array_equal(make_statistics(together.take(order), SMALL), levels[order])
    assert len({level.tobytes() for level in levels}) == 5
    assert make_statistics(together.take([]), SMALL).shape == (0, *SMALL.shape)


def test_settings_have_tables_of_their_own() -> None:
    star, other = observed(200, seed=3), SMALL.model_copy(update={"least_width": 30.0})
    before = make_statistics(star, SMALL)
    assert (make_statistics(star, other) != before).any()
    np.testing.assert_array_equal(make_statistics(star, SMALL), before)


def test_order_and_unit_do_not_matter() -> None:
    star = observed(400, seed=4)
    order = np.random.default_rng(5).permutation(400)
    shuffled = with_columns(star, **{name: values[order] for name, values in star.columns.items()})
    brighter = with_columns(star, flux=1024 * star["flux"], flux_err=1024 * star["flux_err"])
    faded = with_columns(star, flux=star["flux"] * np.float32(0.3), flux_err=star["flux_err"] * np.float32(0.3))
    expected = make_statistics(star, SMALL)
    np.testing.assert_array_equal(make_statistics(shuffled, SMALL), expected)
    np.testing.assert_array_equal(make_statistics(brighter, SMALL), expected)
    close(make_statistics(faded, SMALL), expected)


def test_time_counts_from_the_window() -> None:
    star, days = observed(400, seed=6), 1024.0
    moved = SMALL.model_copy(update={"window": (START + days, STOP + days)})
    close(make_statistics(with_columns(star, time=star["time"] + days), moved), make_statistics(star, SMALL))


# ---------------------------------------------------------------------------------------------------------------------
# Ugly light curves

UGLY: dict[str, Callable[[], LightCurves]] = {
    "one point": lambda: table([59000.0], [3.0], [0.1]),
    "two points": lambda: table([59000.0, 59001.0], [3.0, 4.0], [0.1] * 2),
    "three points": lambda: table([59000.0, 59001.0, 59020.0], [3.0, 4.0, 3.1], [0.1] * 3),
    "one time": lambda: table([59000.0] * 20, np.arange(20.0), [0.1] * 20),
    "constant": lambda: table(np.linspace(START, STOP, 300), [2.5] * 300, [0.1] * 300),
    "nothing": lambda: table(np.linspace(START, STOP, 300), [0.0] * 300, [0.1] * 300),
    "mean of zero": lambda: table(np.linspace(START, STOP, 300), [-1.0, 1.0] * 150, [0.1] * 300),
    "half constant": lambda: table(np.linspace(START, STOP, 300), [2.0] * 200 + [3.0] * 100, [0.1] * 300),
    "far outside the window": lambda: table(np.linspace(40000.0, 40100.0, 50), np.arange(50.0), [0.1] * 50),
    "one night": lambda: table(59000.0 + np.linspace(0.0, 0.2, 50), np.arange(50.0), [0.1] * 50),
    "faint": lambda: table(np.linspace(START, STOP, 300), 1e-30 * np.sin(np.arange(300)), [1e-31] * 300),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ugly", UGLY.values(), ids=UGLY)
def test_an_ugly_light_curve_has_statistics_and_spoils_no_other(ugly: Callable[[], LightCurves]) -> None:
    pretty, star = observed(120, seed=9), ugly()
    levels = make_statistics(concatenate([pretty, with_columns(star, camera=np.full(star.n_points[0], "ba"))]), SMALL)
    np.testing.assert_array_equal(levels[:1], make_statistics(pretty, SMALL))
    assert (np.ptp(levels[1, [ROW[name] for name in ("points", "scatter", "error")]], axis=1) == 0).all()
    assert levels[1, ROW["points"], 0] <= round(255 * math.log(star.n_points[0]) / 12), "outliers are cut"


def test_no_points_are_zeros() -> None:
    levels = make_statistics(concatenate([observed(0, seed=1), observed(50, seed=2)]), SMALL)
    assert not levels[0].any()
    assert levels[1].any()


@pytest.mark.parametrize("ugly", ["one point", "one time", "constant", "nothing"])
def test_what_cannot_vary_has_no_power(ugly: str) -> None:
    (levels,) = make_statistics(UGLY[ugly](), SMALL)
    assert not levels[[ROW[name] for name in TIMELY if name != "covered"]].any()
    assert levels[ROW["covered"]].any()


def test_points_outside_the_window_cover_none_of_it() -> None:
    (levels,) = make_statistics(UGLY["far outside the window"](), SMALL)
    assert not levels[[ROW[name] for name in ("sum", "mean_logarithm", "percentile", "covered")]].any()
    assert levels[ROW["periodogram"]].any()


def test_longer_windows_cover_more() -> None:
    covered = make_statistics(observed(6, seed=10), SMALL)[0, ROW["covered"]].astype(int)
    assert (np.diff(covered) >= 0).all()
    assert 0 < covered[0] < 0.5 * covered[-1]


def test_points_without_error_are_refused() -> None:
    with pytest.raises(DataError, match="errors must be positive"):
        make_statistics(table(np.linspace(START, STOP, 20), np.ones(20), np.zeros(20)), SMALL)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window": [STOP, START]}, "window must run from the smaller to the larger value"),
        ({"period_range": [30.0, 1.0]}, "period_range must run from the smaller to the larger value"),
        ({"period_range": [0.0, 30.0]}, r"'period_range\.0': .*greater than 0"),
        ({"nodes": 1}, "'nodes': .*greater than 1"),
        ({"bins": 7}, "'bins': .*greater than or equal to 8"),
        ({"margins": [-1, 0]}, r"'margins\.0'"),
        ({"tradeoff": 0.0}, "'tradeoff'"),
        ({"least_width": 0.0}, "'least_width'"),
        ({"pool": 2}, "'pool' does not exist; allowed here: bins, kind, least_width"),
        ({"kind": "image"}, "'kind'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        validate(Statistics, SMALL.model_dump() | changes, "representation")


def test_settings_come_back_from_their_description() -> None:
    again = validate(Statistics, SMALL.model_dump(mode="json"), "representation")
    assert again == SMALL
    assert hash(again) == hash(SMALL)
