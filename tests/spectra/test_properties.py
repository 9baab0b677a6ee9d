"""The kernels over random cadences: what they promise everywhere, against forty digits, and what must not matter.

Cadences are made of clumps from minutes to years wide, years apart, with points at one time, none, or one to three; the
errors of one star span six decades, those of all stars eighteen; times count from zero, or are MJD or JD.
"""

from collections.abc import Callable
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from astropy.timeseries import LombScargle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.spectra.chunked import ChunkedTransforms, Grid, cells_with_data, chunked_lombscargle
from varistar.spectra.periodogram import lombscargle_power
from varistar.spectra.window import spectral_window

PERIODS = np.array([0.7, 1.0, 2.5, 7.0, 20.0, 29.0])
NODES = np.linspace(0.0, 900.0, 13)
ORIGINS = st.sampled_from([0.0, 58484.5, 2458485.0])
#: Times are multiples of 2^-20 d (0.08 s), so that they are exact from all these origins.
TICK = 2.0**-20

modest = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Curve(NamedTuple):
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


@st.composite
def curves(draw: st.DrawFn, fewest: int = 0) -> Curve:
    """A light curve in no order of time, from origin 0."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(
        st.lists(st.integers(1, 25), min_size=1, max_size=5) | st.sampled_from([[1], [2], [3], [1, 1], [2, 1], []])
    )
    parts = [np.empty(0)]
    for size in sizes:
        width = 10.0 ** draw(st.floats(-3.0, 2.5))
        parts.append(draw(st.floats(-100.0, 1000.0)) + width * rng.uniform(-0.5, 0.5, size))
    time = np.concatenate(parts)
    if len(time) < fewest:
        time = np.concatenate([time, rng.uniform(0.0, 900.0, fewest)])
    if draw(st.booleans()):
        time = np.concatenate([time, rng.choice(time, len(time) // 3)]) if len(time) else time
    time = np.round(rng.permutation(time) / TICK) * TICK
    flux_err = 10.0 ** (draw(st.floats(-9.0, 9.0)) + draw(st.floats(0.0, 6.0)) * (rng.uniform(size=len(time)) - 0.5))
    noise = flux_err * rng.normal(size=len(time))
    signal = 10.0 ** draw(st.floats(-1.0, 2.0)) * np.median(flux_err, keepdims=True).sum() if len(time) else 0.0
    return Curve(time, noise + signal * np.sin(time / draw(st.floats(0.1, 5.0))), flux_err)


def forty_digits(c: Curve, period: float, node: float, tradeoff: float) -> tuple[float, float]:
    """One cell of the transform, and the smallest variance of its cosines and sines along any axis."""
    with mpmath.workdps(40):
        period, node = mpmath.mpf(float(period)), mpmath.mpf(float(node))
        x, y, e = ([mpmath.mpf(float(v)) for v in values] for values in c)
        width = tradeoff * period
        w = [mpmath.exp(-(((a - node) / width) ** 2)) / b**2 for a, b in zip(x, e, strict=True)]
        total = mpmath.fsum(w)
        waves = [mpmath.expjpi(2 * (a - node) / period) for a in x]
        columns = [[z.real for z in waves], [z.imag for z in waves], y]
        means = [mpmath.fdot(w, column) / total for column in columns]
        cos, sin, y = ([v - mean for v in column] for column, mean in zip(columns, means, strict=True))
        cc, ss, cs, cy, sy = (
            mpmath.fsum(p * q * r for p, q, r in zip(w, a, b, strict=True))
            for a, b in ((cos, cos), (sin, sin), (cos, sin), (cos, y), (sin, y))
        )
        determinant = cc * ss - cs * cs
        if determinant <= 0:
            return 0.0, 0.0
        explained = (ss * cy**2 + cc * sy**2 - 2 * cs * cy * sy) / determinant
        return float(explained / 2 / (mpmath.sqrt(2 * mpmath.pi) * width)), float(determinant / (cc + ss) / total)


def assert_accurate(power: NDArray, c: Curve, node_times: NDArray, tradeoff: float, rng: np.random.Generator) -> None:
    """Finite and not negative everywhere; of a few cells with three effective points, all digits that are promised."""
    assert np.isfinite(power).all()
    assert (power >= 0.0).all()
    filled = cells_with_data(c.time, PERIODS, node_times, tradeoff)
    assert not power[~filled].any()
    strong = np.argwhere(power > 1e-6 * power.max())
    for i, j in rng.permutation(strong)[:3]:
        truth, spread = forty_digits(c, PERIODS[j], node_times[i], tradeoff)
        if spread > 1e-18:
            assert power[i, j] == pytest.approx(truth, rel=1e-6, abs=0.0)
    for i, j in rng.permutation(np.argwhere(filled & (power <= 1e-6 * power.max())))[:1]:
        truth, spread = forty_digits(c, PERIODS[j], node_times[i], tradeoff)
        if spread > 1e-18:
            assert truth <= 1.01e-6 * power.max()


# ---------------------------------------------------------------------------------------------------------------------
# The chunked transform


@modest
@given(
    c=curves(),
    origin=ORIGINS,
    way=st.sampled_from(["fft", "cheapest"]),
    tradeoff=st.sampled_from([1.0, 2.0, 4.0]),
    seed=st.integers(0, 1000),
)
def test_transform_keeps_its_promise(
    force_path: Callable[[str, pytest.MonkeyPatch], None], c: Curve, origin: float, way: str, tradeoff: float, seed: int
) -> None:
    moved, node_times = c._replace(time=c.time + origin), NODES + origin
    with pytest.MonkeyPatch.context() as monkeypatch:
        force_path(way, monkeypatch)
        power = chunked_lombscargle(*moved, PERIODS, node_times, tradeoff)
    assert_accurate(power, moved, node_times, tradeoff, np.random.default_rng(seed))


@modest
@given(c=curves(fewest=6), seed=st.integers(0, 1000))
def test_several_maps_keep_the_promise_too(c: Curve, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grids = [Grid(PERIODS, 1.0), Grid(PERIODS, 4.0)]
    for grid, power in zip(grids, ChunkedTransforms(grids, NODES)(*c), strict=True):
        assert_accurate(power, c, NODES, grid.tradeoff, rng)


@modest
@given(c=curves(fewest=3), origin=ORIGINS, seed=st.integers(0, 1000))
def test_what_must_not_matter_to_the_transform(c: Curve, origin: float, seed: int) -> None:
    """Origin and order of time, and a constant in the flux; a factor of two in the flux is four in the power exactly.

    Only cells of ordinary condition are compared: few effective points turn the last digit of the constant to noise.
    """
    power = chunked_lombscargle(*c, PERIODS, NODES)
    order = np.random.default_rng(seed).permutation(len(c.time))
    time, flux, flux_err = (v[order] for v in c)
    constant = 4.0 * np.abs(flux).max()
    other = chunked_lombscargle(time + origin, flux + constant, flux_err, PERIODS, NODES + origin)
    np.testing.assert_allclose(other, power, rtol=1e-5, atol=1e-8 * power.max())
    doubled = chunked_lombscargle(c.time, 2.0 * c.flux, c.flux_err, PERIODS, NODES)
    np.testing.assert_array_equal(doubled, 4.0 * power)
    halved = chunked_lombscargle(c.time, c.flux, 2.0 * c.flux_err, PERIODS, NODES)
    np.testing.assert_array_equal(halved, 0.25 * power)


# ---------------------------------------------------------------------------------------------------------------------
# The periodogram and the window


@modest
@given(c=curves(), origin=ORIGINS, n_terms=st.integers(1, 3))
def test_periodogram_is_a_fraction_and_that_of_astropy(c: Curve, origin: float, n_terms: int) -> None:
    frequency, power = lombscargle_power(c.time + origin, c.flux, c.flux_err, 2.0, 30.0, 2.0, n_terms)
    assert np.isfinite(power).all()
    assert ((power >= 0.0) & (power <= 1.0)).all()
    some = np.arange(0, len(power), max(len(power) // 10, 1))
    for f, p in zip(frequency[some], power[some], strict=True):
        design = LombScargle(c.time - c.time.mean(), c.flux, c.flux_err, nterms=n_terms).design_matrix(f)
        values = np.linalg.svd(design / np.linalg.norm(design, axis=0), compute_uv=False)
        if values[-1] > 1e-3 * values[0]:
            exact = LombScargle(c.time - c.time.mean(), c.flux, c.flux_err, nterms=n_terms)
            assert p == pytest.approx(float(exact.power(f, method="chi2")), abs=1e-6)


@modest
@given(c=curves(), origin=ORIGINS)
def test_window_is_the_sum_over_the_points(c: Curve, origin: float) -> None:
    frequency, power = spectral_window(c.time + origin, c.flux_err, 1.5, 2.0)
    weight = (c.flux_err.min(initial=1e9) / c.flux_err) ** 2
    for f, p in list(zip(frequency, power, strict=True))[:: max(len(power) // 20, 1)]:
        sums = (weight * np.exp(2j * np.pi * f * c.time)).sum() / weight.sum()
        assert p == pytest.approx(abs(sums) ** 2, abs=1e-9)
