"""The chunked transform against sums in extended precision and against astropy's loop."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from astropy.timeseries import LombScargle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.spectra.chunked import cells_with_data, chunked_lombscargle

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
        assert power[i, j] == pytest.approx(fifty_digits(c, periods[j], node_times[i], tradeoff), rel=1e-6, abs=0.0)


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
def test_is_true_to_extended_precision_for_any_cadence(
    force_path: Callable[[str, pytest.MonkeyPatch], None], c: Curve, origin: float, name: str, tradeoff: float
) -> None:
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
def test_agrees_with_astropy_on_a_real_light_curve(real_data: Path) -> None:
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


@needs_80_bits
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_one_absurd_error_does_not_spoil_the_others(path: str, factor: float) -> None:
    c = curve(seasonal, 100, seed=13)
    c.flux_err[30] *= factor
    assert_true_to_oracle(chunked_lombscargle(*c, PERIODS, NODES), c, PERIODS, NODES, 2.0)


@needs_80_bits
def test_an_outlier_does_not_spoil_the_others(path: str) -> None:
    c = curve(seasonal, 200, seed=14)
    c.flux[30] += 1e4
    assert_true_to_oracle(chunked_lombscargle(*c, PERIODS, NODES), c, PERIODS, NODES, 2.0)
