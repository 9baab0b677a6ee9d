"""The chunked transform against sums in extended precision and against astropy's loop."""

import pickle
import warnings
from collections.abc import Callable
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from astropy.timeseries import LombScargle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra.chunked import (
    EMPTY_RADIUS,
    ChunkedTransform,
    cells_with_data,
    chunked_lombscargle,
    chunked_lombscargle_batch,
)

START, STOP = 58484.5, 60311.5
PAPER_PERIODS = np.linspace(1.0, 30.0, 128)
PAPER_NODES = np.linspace(START, STOP, 128)
PERIODS = np.linspace(1.0, 30.0, 17)
NODES = np.linspace(START, STOP, 24)

needs_80_bits = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1.1e-19, reason="long double is no wider than double on this machine"
)


class Curve(NamedTuple):
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


# ---------------------------------------------------------------------------------------------------------------------
# Cadences


def uniform(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START, STOP, n)


def seasonal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Seasons of 215 days."""
    return START + 365.25 * rng.integers(0, 5, n) + rng.uniform(0.0, 215.0, n)


def realistic(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Nights of two sites within seasons, with dithers 104 seconds apart, some of them at one time."""
    nights = np.floor(seasonal(rng, n)) + rng.choice([0.05, 0.6], n) + rng.normal(0.0, 0.05, n)
    return nights[rng.integers(0, n // 2 + 1, n)] + 0.0012 * rng.integers(0, 3, n)


def gap_of_a_year(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.where(rng.uniform(size=n) < 0.5, rng.uniform(START, 58900.0, n), rng.uniform(59600.0, STOP, n))


def clumps(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Four nights."""
    return rng.choice([58700.0, 58701.0, 59400.0, 59990.0], n) + rng.uniform(0.0, 0.3, n)


def beyond_the_nodes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START - 700.0, STOP + 700.0, n)


CADENCES = [uniform, seasonal, realistic, gap_of_a_year, clumps, beyond_the_nodes]


def curve(
    cadence: Callable[[np.random.Generator, int], NDArray], n: int, seed: int, mixed_errors: bool = False
) -> Curve:
    """A 13-day signal with a slow trend and noise, in no order of time."""
    rng = np.random.default_rng(seed)
    time = cadence(rng, n)
    flux_err = 0.01 * 10.0 ** rng.uniform(-1.0, 1.0, n) if mixed_errors else np.full(n, 0.01)
    flux = 12.0 + 0.1 * np.sin(2.0 * np.pi * time / 13.0) + 1e-4 * (time - START) + flux_err * rng.normal(size=n)
    return Curve(time, flux, flux_err)


# ---------------------------------------------------------------------------------------------------------------------
# Oracles


def extended_precision(
    c: Curve, periods: NDArray, node_times: NDArray, tradeoff: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The transform by direct sums in 80 bits, cell by cell as the definition says, and how well each cell is defined.

    The second array is the smallest variance of the cell's cosines and sines along any axis, from 0 to 1/2.
    """
    power = np.zeros((len(node_times), len(periods)))
    spread = np.zeros_like(power)
    x, y = c.time.astype(np.longdouble), c.flux.astype(np.longdouble)
    iv = 1 / c.flux_err.astype(np.longdouble) ** 2
    two_pi = 2 * np.longdouble("3.14159265358979323846264338327950288")
    for j, period in enumerate(periods.astype(np.longdouble)):
        for i, node in enumerate(node_times.astype(np.longdouble)):
            width = tradeoff * period
            w = iv * np.exp(-(((x - node) / width) ** 2))
            total = w.sum()
            if total == 0:
                continue
            cos, sin = np.cos(two_pi * (x - node) / period), np.sin(two_pi * (x - node) / period)
            cos, sin, dy = (v - (w * v).sum() / total for v in (cos, sin, y))
            cc, ss, cs = (w * cos * cos).sum(), (w * sin * sin).sum(), (w * cos * sin).sum()
            cy, sy = (w * cos * dy).sum(), (w * sin * dy).sum()
            determinant = cc * ss - cs * cs
            if determinant > 0:
                explained = (ss * cy**2 + cc * sy**2 - 2 * cs * cy * sy) / determinant
                power[i, j] = explained / 2 / (np.sqrt(two_pi) * width)
                spread[i, j] = determinant / (cc + ss) / total
    return power, spread


def fifty_digits(c: Curve, period: float, node: float, tradeoff: float) -> float:
    """One cell of the transform, like `extended_precision`."""
    with mpmath.workdps(50):
        x, y, e = ([mpmath.mpf(float(v)) for v in values] for values in c)
        period, node = mpmath.mpf(float(period)), mpmath.mpf(float(node))
        width = tradeoff * period
        w = [mpmath.exp(-(((a - node) / width) ** 2)) / b**2 for a, b in zip(x, e, strict=True)]
        cos = [mpmath.cos(2 * mpmath.pi * (a - node) / period) for a in x]
        sin = [mpmath.sin(2 * mpmath.pi * (a - node) / period) for a in x]

        def centred(values: list) -> list:
            mean = mpmath.fdot(w, values) / mpmath.fsum(w)
            return [v - mean for v in values]

        def covariance(a: list, b: list) -> mpmath.mpf:
            return mpmath.fsum(p * q * r for p, q, r in zip(w, a, b, strict=True))

        cos, sin, y = centred(cos), centred(sin), centred(y)
        cc, ss, cs = covariance(cos, cos), covariance(sin, sin), covariance(cos, sin)
        cy, sy = covariance(cos, y), covariance(sin, y)
        explained = (ss * cy**2 + cc * sy**2 - 2 * cs * cy * sy) / (cc * ss - cs**2)
        return float(explained / 2 / (mpmath.sqrt(2 * mpmath.pi) * width))


def astropy_loop(c: Curve, periods: NDArray, node_times: NDArray, tradeoff: float) -> NDArray[np.float64]:
    """The loop of the paper's appendix B."""
    power = np.empty((len(node_times), len(periods)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i, node in enumerate(node_times):
            for j, period in enumerate(periods):
                width = tradeoff * period
                window = np.exp(-(((c.time - node) / width) ** 2) / 2)
                periodogram = LombScargle(c.time, c.flux, c.flux_err / window)
                power[i, j] = periodogram.power(1 / period, normalization="psd") / (np.sqrt(2 * np.pi) * width)
    return power


def assert_true_to_oracle(power: NDArray, c: Curve, periods: NDArray, node_times: NDArray, tradeoff: float) -> None:
    """The accuracy that is promised: 1e-6 wherever there is a power to speak of and three points to define it.

    With fewer than three effective points the cosines and sines vary along one axis only. Where the smallest variance
    is below 1e-11, eight digits of the 80-bit determinant may be gone, and fifty decimal digits decide; below 1e-18
    even the times, which are given in double precision, do not define the power.
    """
    truth, spread = extended_precision(c, periods, node_times, tradeoff)
    assert np.isfinite(power).all()
    assert (power >= 0.0).all()
    largest = truth[spread > 1e-11].max(initial=0.0)
    strong = (truth > 1e-6 * largest) & cells_with_data(c.time, periods, node_times, tradeoff)
    np.testing.assert_allclose(power[strong & (spread > 1e-11)], truth[strong & (spread > 1e-11)], rtol=1e-6)
    for i, j in np.argwhere(strong & (spread > 1e-18) & (spread <= 1e-11))[:5]:
        assert power[i, j] == pytest.approx(fifty_digits(c, periods[j], node_times[i], tradeoff), rel=1e-6)


@pytest.fixture(params=["fft", "point by point", "cheapest"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The transform with all cells by FFT, with none, and as it chooses itself."""
    force_path(request.param, monkeypatch)
    return request.param


def force_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"fft": lambda self, n: 0, "point by point": lambda self, n: len(self.periods)}
    if name in splits:
        monkeypatch.setattr(ChunkedTransform, "_first_long_window", splits[name])


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy


@needs_80_bits
@pytest.mark.parametrize("mixed_errors", [False, True])
@pytest.mark.parametrize("n", [5, 40, 400])
@pytest.mark.parametrize("cadence", CADENCES)
def test_is_true_to_extended_precision(
    path: str, cadence: Callable[[np.random.Generator, int], NDArray], n: int, mixed_errors: bool
) -> None:
    c = curve(cadence, n, seed=n, mixed_errors=mixed_errors)
    power = chunked_lombscargle(*c, PERIODS, NODES)
    assert_true_to_oracle(power, c, PERIODS, NODES, 2.0)


@needs_80_bits
@pytest.mark.parametrize(
    ("periods", "tradeoff"),
    [
        (np.geomspace(0.05, 1000.0, 12), 2.0),
        (np.linspace(1.0, 30.0, 10), 0.5),
        (np.linspace(1.0, 30.0, 10), 12.0),
        (np.array([7.0, 1.5, 29.0, 1.5, 3.0]), 2.0),
        (np.array([13.0]), 1.0),
    ],
    ids=["logarithmic", "narrow", "wide", "unordered", "single"],
)
def test_takes_any_periods_and_tradeoff(path: str, periods: NDArray, tradeoff: float) -> None:
    c = curve(seasonal, 200, seed=1)
    power = chunked_lombscargle(*c, periods, NODES, tradeoff)
    assert_true_to_oracle(power, c, periods, NODES, tradeoff)


@needs_80_bits
@pytest.mark.parametrize(
    "node_times",
    [
        np.sort(np.random.default_rng(3).uniform(START, STOP, 20)),
        NODES[::-1],
        np.array([59400.0]),
        np.array([59400.0, 59500.0]),
        np.full(3, 59400.0),
        START + 5000.0 + np.arange(8.0),
    ],
    ids=["uneven", "descending", "single", "two", "equal", "away from the points"],
)
def test_takes_any_node_times(node_times: NDArray) -> None:
    c = curve(uniform, 200, seed=2)
    power = chunked_lombscargle(*c, PERIODS, node_times)
    assert_true_to_oracle(power, c, PERIODS, node_times, 2.0)


@st.composite
def cadences(draw: st.DrawFn) -> Curve:
    """A few clumps of any width between minutes and years, from any time origin, with errors of any size."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        centre = draw(st.floats(-300.0, 1100.0))
        width = 10.0 ** draw(st.floats(-3.0, 3.0))
        parts.append(centre + width * rng.uniform(-0.5, 0.5, draw(st.integers(1, 30))))
    time = np.concatenate(parts)
    flux_err = 10.0 ** (draw(st.floats(-8.0, 3.0)) + draw(st.floats(0.0, 3.0)) * rng.uniform(size=len(time)))
    flux = draw(st.sampled_from([0.0, 1.0, 1e4])) + rng.normal(size=len(time)) * 10.0 ** draw(st.floats(-3.0, 3.0))
    return Curve(time, flux, flux_err)


@needs_80_bits
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    c=cadences(),
    origin=st.sampled_from([0.0, 58484.5, 2458485.0]),
    name=st.sampled_from(["fft", "cheapest"]),
    tradeoff=st.sampled_from([1.0, 2.0, 4.0]),
)
def test_is_true_to_extended_precision_for_any_cadence(c: Curve, origin: float, name: str, tradeoff: float) -> None:
    shifted = c._replace(time=c.time + origin)
    node_times = origin + np.linspace(0.0, 800.0, 12)
    periods = np.array([0.7, 1.0, 2.5, 7.0, 20.0])
    with pytest.MonkeyPatch.context() as monkeypatch:
        force_path(name, monkeypatch)
        power = chunked_lombscargle(*shifted, periods, node_times, tradeoff)
    assert_true_to_oracle(power, shifted, periods, node_times, tradeoff)


@pytest.mark.parametrize(("cadence", "n"), [(uniform, 300), (seasonal, 300), (realistic, 500)])
def test_gives_the_image_of_the_astropy_loop(cadence: Callable[[np.random.Generator, int], NDArray], n: int) -> None:
    """On the paper's grid: the loop is off by its own rounding in a few nearly singular cells, not in the image."""
    c = curve(cadence, n, seed=5)
    power = chunked_lombscargle(*c, PAPER_PERIODS, PAPER_NODES)
    loop = astropy_loop(c, PAPER_PERIODS, PAPER_NODES, 2.0)
    finite = np.isfinite(loop)
    compared = finite & (power > 1e-6 * power.max()) & (effective_points(c, PAPER_PERIODS, PAPER_NODES, 2.0) >= 3)
    assert compared.sum() > 0.8 * compared.size
    agree = np.isclose(power[compared], loop[compared], rtol=1e-6, atol=0.0)
    assert agree.mean() >= 0.9999
    steps = np.abs(uint8_image(np.where(finite, power, 0.0)) - uint8_image(np.where(finite, loop, 0.0)))
    assert steps.max() <= 1
    assert (steps > 0).mean() <= 1e-4


def effective_points(c: Curve, periods: NDArray, node_times: NDArray, tradeoff: float) -> NDArray[np.int64]:
    """How many points weigh more than 1e-6 of the heaviest in each cell."""
    exponent = (c.time[:, None, None] - node_times[:, None]) / (tradeoff * periods)
    logarithm = -(exponent**2) - 2.0 * np.log(c.flux_err)[:, None, None]
    return (logarithm > logarithm.max(axis=0) + np.log(1e-6)).sum(axis=0)


def uint8_image(power: NDArray) -> NDArray[np.int64]:
    """The paper's image, as integers that can be subtracted."""
    shifted = power - power.min()
    return (shifted * 255.0 / shifted.max()).astype(np.uint8).astype(np.int64)


@pytest.mark.realdata
def test_agrees_with_astropy_on_a_real_light_curve(real_data) -> None:
    file = real_data / "asassn" / "skypatrol_v2" / "vxmen.csv"
    table = np.genfromtxt(file, delimiter=",", names=True, skip_header=1, usecols=("jd", "flux", "flux_err"))
    c = Curve(table["jd"] - 2400000.5, table["flux"], table["flux_err"])
    c = Curve(*(v[np.isfinite(c.flux) & (c.flux_err < 99.0)] for v in c))
    node_times = np.linspace(c.time.min(), c.time.max(), 20)
    power = chunked_lombscargle(*c, PERIODS, node_times)
    loop = astropy_loop(c, PERIODS, node_times, 2.0)
    compared = np.isfinite(loop) & (power > 1e-6 * power.max())
    compared &= effective_points(c, PERIODS, node_times, 2.0) >= 3
    assert len(c.time) > 500
    np.testing.assert_allclose(power[compared], loop[compared], rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Few points


def test_no_points_give_no_power(path: str) -> None:
    assert not chunked_lombscargle([], [], [], PERIODS, NODES).any()
    assert not cells_with_data([], PERIODS, NODES).any()


def test_one_point_gives_no_power(path: str) -> None:
    power = chunked_lombscargle([59400.0], [3.0], [0.1], PERIODS, NODES)
    assert not power.any()


@pytest.mark.parametrize("times", [[59400.0, 59403.3], [59400.0, 59403.3, 59404.4]])
def test_two_or_three_points_are_fitted_exactly(path: str, times: list[float]) -> None:
    """So that the power is half their weighted sum of squares about the mean."""
    c = Curve(np.array(times), np.array([1.0, 2.0, 5.0])[: len(times)], np.array([0.1, 0.2, 0.1])[: len(times)])
    power = chunked_lombscargle(*c, PERIODS, NODES)
    width = 2.0 * PERIODS
    weight = np.exp(-(((c.time - NODES[:, None, None]) / width[:, None]) ** 2)) / c.flux_err**2
    mean = (weight * c.flux).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1e-300)
    squares = (weight * (c.flux - mean[..., None]) ** 2).sum(axis=-1)
    filled = cells_with_data(c.time, PERIODS, NODES)
    expected = np.where(filled, squares / 2.0 / (np.sqrt(2.0 * np.pi) * width), 0.0)
    assert filled.any()
    np.testing.assert_allclose(power, expected, rtol=1e-6, atol=0.0)


def test_points_at_one_time_give_no_power(path: str) -> None:
    power = chunked_lombscargle(np.full(6, 59400.0), np.arange(6.0), np.full(6, 0.1), PERIODS, NODES)
    assert not power.any()


def test_a_constant_flux_gives_no_power(path: str) -> None:
    c = curve(seasonal, 200, seed=6, mixed_errors=True)
    assert not chunked_lombscargle(c.time, np.full(200, 0.1), c.flux_err, PERIODS, NODES).any()


def test_cells_with_data_are_those_with_a_near_point() -> None:
    time = realistic(np.random.default_rng(7), 60)
    nearest = np.abs(time[:, None] - NODES).min(axis=0)
    for radius in (0.5, EMPTY_RADIUS):
        cells = cells_with_data(time, PERIODS, NODES, tradeoff=1.5, radius=radius)
        np.testing.assert_array_equal(cells, nearest[:, None] <= radius * 1.5 * PERIODS)


def test_power_is_zero_just_where_there_are_no_data(path: str) -> None:
    c = curve(clumps, 60, seed=8)
    power = chunked_lombscargle(*c, PERIODS, NODES)
    filled = cells_with_data(c.time, PERIODS, NODES)
    assert 0 < filled.sum() < filled.size
    np.testing.assert_array_equal(power > 0.0, filled)


# ---------------------------------------------------------------------------------------------------------------------
# Invariances and extremes


def test_order_of_points_does_not_matter(path: str) -> None:
    c = curve(realistic, 200, seed=9)
    order = np.argsort(c.time, kind="stable")
    np.testing.assert_array_equal(
        chunked_lombscargle(*c, PERIODS, NODES), chunked_lombscargle(*(v[order] for v in c), PERIODS, NODES)
    )


def test_origin_of_time_does_not_matter(path: str) -> None:
    """In multiples of 2^-10 d all three origins are exact, so that only the nodes' own rounding remains."""
    c = curve(seasonal, 200, seed=10)
    time = np.round(c.time * 1024.0) / 1024.0
    node_times = START + 14.5 * np.arange(24)
    expected = chunked_lombscargle(time, c.flux, c.flux_err, PERIODS, node_times)
    for origin in (-START, 2400000.5):
        power = chunked_lombscargle(time + origin, c.flux, c.flux_err, PERIODS, node_times + origin)
        np.testing.assert_allclose(power, expected, rtol=1e-6, atol=1e-12 * expected.max())


def test_flux_and_errors_scale_the_power(path: str) -> None:
    c = curve(seasonal, 200, seed=11, mixed_errors=True)
    expected = chunked_lombscargle(*c, PERIODS, NODES)
    scaled = chunked_lombscargle(c.time, 1e-9 * (c.flux - 5.0), 1e-12 * c.flux_err, PERIODS, NODES)
    np.testing.assert_allclose(scaled, 1e6 * expected, rtol=1e-5, atol=1e-12 * scaled.max())


def test_extreme_errors_do_not_overflow(path: str) -> None:
    c = curve(uniform, 100, seed=12)
    expected = chunked_lombscargle(*c, PERIODS, NODES)
    for factor in (1e-140, 1e140):
        power = chunked_lombscargle(c.time, c.flux, factor * c.flux_err, PERIODS, NODES)
        np.testing.assert_allclose(power * factor**2, expected, rtol=1e-6, atol=1e-12 * expected.max())


@needs_80_bits
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_one_absurd_error_does_not_spoil_the_others(path: str, factor: float) -> None:
    c = curve(seasonal, 100, seed=13)
    c.flux_err[30] *= factor
    assert_true_to_oracle(chunked_lombscargle(*c, PERIODS, NODES), c, PERIODS, NODES, 2.0)


def test_points_whose_weights_underflow_count_for_nothing(path: str) -> None:
    c = curve(uniform, 50, seed=19)
    c.flux_err[:] = 1e170
    c.flux_err[20:24] = 0.01
    heavy = chunked_lombscargle(*(v[20:24] for v in c), PERIODS, NODES)
    power = chunked_lombscargle(*c, PERIODS, NODES)
    compared = cells_with_data(c.time[20:24], PERIODS, NODES)
    assert np.isfinite(power).all()
    np.testing.assert_allclose(power[compared], heavy[compared], rtol=1e-6)


@needs_80_bits
def test_an_outlier_does_not_spoil_the_others(path: str) -> None:
    c = curve(seasonal, 200, seed=14)
    c.flux[30] += 1e4
    assert_true_to_oracle(chunked_lombscargle(*c, PERIODS, NODES), c, PERIODS, NODES, 2.0)


# ---------------------------------------------------------------------------------------------------------------------
# The object, batches, and bad input


def test_a_transform_can_be_used_again() -> None:
    """Its buffers, tables for several sizes, and points inside and outside the nodes do not disturb each other."""
    transform = ChunkedTransform(PERIODS, NODES)
    curves = [curve(uniform, 2000, 1), curve(beyond_the_nodes, 900, 2), curve(clumps, 3, 3), curve(seasonal, 1500, 4)]
    for c in [*curves, *curves]:
        np.testing.assert_array_equal(transform(*c), chunked_lombscargle(*c, PERIODS, NODES))


def test_the_more_points_the_more_periods_go_by_fft() -> None:
    transform = ChunkedTransform(PAPER_PERIODS, PAPER_NODES)
    splits = [transform._first_long_window(n) for n in (30, 300, 3000, 300_000)]
    assert len(PAPER_PERIODS) > splits[0] > splits[1] > splits[2] > splits[3] == 0


def test_batch_is_one_by_one() -> None:
    curves = [curve(uniform, 50, 1), curve(uniform, 0, 2), curve(seasonal, 300, 3), curve(clumps, 1, 4)]
    flat = Curve(*(np.concatenate(columns) for columns in zip(*curves, strict=True)))
    offsets = np.cumsum([0, *(len(c.time) for c in curves)])
    power = chunked_lombscargle_batch(*flat, offsets, PERIODS, NODES)
    assert power.shape == (4, len(NODES), len(PERIODS))
    for c, image in zip(curves, power, strict=True):
        np.testing.assert_array_equal(image, chunked_lombscargle(*c, PERIODS, NODES))
    out = np.full_like(power, np.nan)
    assert chunked_lombscargle_batch(*flat, offsets, PERIODS, NODES, out=out) is out
    np.testing.assert_array_equal(out, power)


def test_single_precision_and_read_only_input_are_taken() -> None:
    c = curve(seasonal, 100, seed=15)
    flux, flux_err = c.flux.astype(np.float32), c.flux_err.astype(np.float32)
    flux.flags.writeable = flux_err.flags.writeable = c.time.flags.writeable = False
    expected = chunked_lombscargle(c.time, flux.astype(np.float64), flux_err.astype(np.float64), PERIODS, NODES)
    np.testing.assert_array_equal(chunked_lombscargle(c.time, flux, flux_err, PERIODS, NODES), expected)


def test_input_is_not_changed() -> None:
    c = curve(realistic, 100, seed=16)
    copies = Curve(*(v.copy() for v in c))
    chunked_lombscargle(*c, PERIODS, NODES)
    for before, after in zip(copies, c, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_pickled_transform_is_the_same() -> None:
    c = curve(seasonal, 1000, seed=17)
    transform = ChunkedTransform(PERIODS[::-1], NODES, tradeoff=1.5)
    expected = transform(*c)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transform))(*c), expected)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.nan, "time is nan at point 3"),
        (1, np.inf, "flux is inf at point 3"),
        (2, np.nan, "flux_err is nan at point 3"),
        (2, 0.0, "flux_err is 0.0 at point 3"),
        (2, -1.0, "flux_err is -1.0 at point 3"),
    ],
)
def test_bad_points_are_refused(column: int, value: float, message: str) -> None:
    c = curve(uniform, 10, seed=18)
    c[column][3] = value
    with pytest.raises(DataError, match=message):
        chunked_lombscargle(*c, PERIODS, NODES)
    with pytest.raises(DataError, match="light curve 1: " + message):
        flat = Curve(*(np.concatenate([[1.0], v]) for v in c))
        chunked_lombscargle_batch(*flat, [0, 1, 11], PERIODS, NODES)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="equally long"):
        chunked_lombscargle([1.0, 2.0], [1.0, 2.0], [0.1], PERIODS, NODES)


def test_a_power_beyond_double_precision_is_refused() -> None:
    with pytest.raises(DataError, match="ratio must be below"):
        chunked_lombscargle([59400.0, 59401.0], [1.0, 2.0], [1e-160, 1e-160], PERIODS, NODES)


@pytest.mark.parametrize("offsets", [[], [0, 3, 2], [0, 5], [-1, 2]])
def test_bad_offsets_are_refused(offsets: list[int]) -> None:
    with pytest.raises(DataError, match="offsets"):
        chunked_lombscargle_batch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.1, 0.1, 0.1], offsets, PERIODS, NODES)


@pytest.mark.parametrize(
    ("periods", "node_times", "tradeoff"),
    [
        ([1.0, 0.0], NODES, 2.0),
        ([1.0, -2.0], NODES, 2.0),
        ([1.0, np.nan], NODES, 2.0),
        ([], NODES, 2.0),
        (PERIODS, [np.inf], 2.0),
        (PERIODS, [], 2.0),
        (PERIODS, NODES, 0.0),
        (PERIODS, NODES, np.nan),
    ],
)
def test_bad_grids_are_refused(periods: NDArray, node_times: NDArray, tradeoff: float) -> None:
    with pytest.raises(ConfigError):
        chunked_lombscargle([1.0], [1.0], [0.1], periods, node_times, tradeoff)


@pytest.mark.parametrize("out", [np.empty((3, 3)), np.empty((24, 17), dtype=np.float32)])
def test_a_wrong_out_is_refused(out: NDArray) -> None:
    with pytest.raises(ConfigError, match="out must"):
        ChunkedTransform(PERIODS, NODES)([59000.0], [1.0], [0.1], out=out)
