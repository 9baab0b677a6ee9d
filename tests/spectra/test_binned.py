"""The binned periodogram and window against astropy and direct sums at the same frequencies, and against finer ones."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra import binned
from varistar.spectra.binned import BinnedPeriodogram
from varistar.spectra.window import spectral_window

START = 58484.5
EDGES = np.geomspace(0.75, 60.0, 41)


class Curve(NamedTuple):
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


def curve(n: int, seed: int, span: float = 1800.0, period: float = 13.0) -> Curve:
    """A sinusoid with mixed errors, about one point in each of `n` nights, in no order of time."""
    rng = np.random.default_rng(seed)
    time = START + np.floor(rng.uniform(0.0, span, n)) + rng.normal(0.3, 0.08, n)
    flux_err = 0.02 * 10.0 ** rng.uniform(-0.5, 0.5, n)
    return Curve(time, 5.0 + 0.05 * np.sin(2.0 * np.pi * time / period) + flux_err * rng.normal(size=n), flux_err)


def chi2_about_mean(c: Curve) -> float:
    weight = c.flux_err**-2.0
    return float((weight * (c.flux - np.average(c.flux, weights=weight)) ** 2).sum())


def frequencies(c: Curve, edges: NDArray) -> NDArray[np.float64]:
    """Three to each 1/span from the longest period on, or closer, so that the narrowest bin holds one."""
    step = min(1.0 / (3.0 * np.ptp(c.time)), 0.9 * np.abs(np.diff(1.0 / edges)).min())
    return np.arange(1.0 / edges[-1], 1.0 / edges[0], step)


def highest(frequency: NDArray, values: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Of each bin of period."""
    bins = np.clip(np.searchsorted(edges, 1.0 / frequency, side="right") - 1, 0, len(edges) - 2)
    return np.array([values[bins == b].max() for b in range(len(edges) - 1)])


def direct_window(c: Curve, frequency: NDArray) -> NDArray[np.float64]:
    weight = c.flux_err**-2.0 / (c.flux_err**-2.0).sum()
    return np.abs(np.exp(2j * np.pi * np.outer(frequency, c.time - START)) @ weight) ** 2


def smallest_variance(c: Curve, frequency: float) -> float:
    """Of the weighted cosines and sines along any axis."""
    phase = 2.0 * np.pi * frequency * (c.time - START)
    return float(np.linalg.eigvalsh(np.cov(np.cos(phase), np.sin(phase), ddof=0, aweights=c.flux_err**-2.0))[0])


# ---------------------------------------------------------------------------------------------------------------------
# Against the same frequencies


@pytest.mark.parametrize(("n", "span"), [(9, 1800.0), (60, 1800.0), (60, 30.0), (800, 1800.0), (300, 7.0)])
def test_bins_hold_the_highest_of_astropys_powers(n: int, span: float) -> None:
    """To what the sums' errors leave: TOLERANCE over the smallest variance, as a part of the chi^2 about the mean."""
    c = curve(n, seed=n, span=span)
    delta_chi2, _ = BinnedPeriodogram(EDGES)(*c)
    frequency = frequencies(c, EDGES)
    exact = LombScargle(c.time - c.time.mean(), c.flux, c.flux_err, fit_mean=True)
    expected = highest(frequency, 2.0 * exact.power(frequency, method="cython", normalization="psd"), EDGES)
    told_apart = np.array([smallest_variance(c, f) for f in frequency])
    assert told_apart.min() > 2.0 * binned.SINGULAR
    error = 4.0 * binned.TOLERANCE * highest(frequency, 1.0 / told_apart, EDGES) * chi2_about_mean(c)
    assert (expected > 1e3 * error).mean() > 0.7
    assert (np.abs(delta_chi2 - expected) <= error).all()


@pytest.mark.parametrize(("n", "span"), [(9, 1800.0), (400, 1800.0), (60, 30.0)])
def test_the_window_is_that_of_direct_sums(n: int, span: float) -> None:
    c = curve(n, seed=n + 1, span=span)
    _, window = BinnedPeriodogram(EDGES)(*c)
    frequency = frequencies(c, EDGES)
    expected = highest(frequency, direct_window(c, frequency), EDGES)
    np.testing.assert_allclose(window, expected, rtol=0.0, atol=4.0 * binned.TOLERANCE)


def test_the_window_of_the_night_is_that_of_the_spectral_window() -> None:
    c = curve(400, seed=3)
    _, window = BinnedPeriodogram([0.9, 1.1, 1.3])(*c)
    frequency, power = spectral_window(c.time, c.flux_err, 1.0 / 0.9, oversample=30.0)
    assert window[0] == pytest.approx(power[frequency > 1.0 / 1.1].max(), rel=0.12)
    assert window[1] < 0.1 * window[0]


# ---------------------------------------------------------------------------------------------------------------------
# Against finer frequencies


@pytest.mark.parametrize("seasonal", [False, True])
def test_the_peak_is_hardly_lower_than_on_a_finer_grid(seasonal: bool) -> None:
    """3 % on average and 9 % at most for even coverage, sinc(1/6)^2; a little more with gaps that sharpen the peak."""
    rng = np.random.default_rng(4)
    lost = []
    for period in rng.uniform(2.0, 28.0, 30):
        time = 365.25 * rng.integers(0, 5, 300) + rng.uniform(0.0, 215.0, 300)
        time = START + (time if seasonal else rng.uniform(0.0, 1800.0, 300))
        flux = np.sin(2.0 * np.pi * time / period) + 0.05 * rng.normal(size=300)
        c = Curve(time, flux, np.full(300, 0.05))
        # Bins in whose middle the signal lies, since at an edge the nearest frequency may stand in the next.
        edges = period * np.geomspace(0.8, 1.25, 6)
        delta_chi2, _ = BinnedPeriodogram(edges)(*c)
        assert np.argmax(delta_chi2) == 2
        fine = np.arange(1.0 / edges[3], 1.0 / edges[2], 1.0 / (60.0 * np.ptp(time)))
        truth = 2.0 * LombScargle(time - START, flux, c.flux_err).power(fine, normalization="psd").max()
        lost.append(1.0 - delta_chi2[2] / truth)
    assert min(lost) > -3e-4  # what the finer grid loses itself
    assert np.mean(lost) < (0.05 if seasonal else 0.04)
    assert max(lost) < (0.14 if seasonal else 0.11)


def test_every_bin_holds_a_frequency_of_the_shortest_light_curve() -> None:
    delta_chi2, window = BinnedPeriodogram(np.geomspace(0.75, 60.0, 209))(*curve(40, seed=5, span=20.0))
    assert (window > 0.0).all()
    assert (delta_chi2 > 0.0).all()


# ---------------------------------------------------------------------------------------------------------------------
# What does not matter, and ugly light curves


def test_order_unit_and_origin_do_not_matter() -> None:
    c = curve(300, seed=6)
    periodogram = BinnedPeriodogram(EDGES)
    expected = periodogram(*c)
    order = np.random.default_rng(7).permutation(300)
    for other in (Curve(*(v[order] for v in c)), Curve(c.time, 1024.0 * c.flux, 1024.0 * c.flux_err)):
        for values, those in zip(periodogram(*other), expected, strict=True):
            np.testing.assert_array_equal(values, those)
    for values, those in zip(periodogram(c.time + 2.4e6, 7.0 - c.flux, c.flux_err), expected, strict=True):
        np.testing.assert_allclose(values, those, rtol=0.0, atol=1e-5 * those.max())


def test_smaller_errors_are_more_significant() -> None:
    c = curve(300, seed=8)
    (delta_chi2, window), (four_times, same) = (BinnedPeriodogram(EDGES)(*c[:2], c.flux_err / k) for k in (1.0, 2.0))
    np.testing.assert_allclose(four_times, 4.0 * delta_chi2, rtol=1e-12)
    np.testing.assert_array_equal(same, window)


def test_one_light_curve_leaves_nothing_for_the_next() -> None:
    kept = BinnedPeriodogram(EDGES)
    for n, seed in ((300, 9), (5, 10), (0, 11), (900, 12), (300, 9)):
        c = curve(n, seed)
        for values, those in zip(kept(*c), BinnedPeriodogram(EDGES)(*c), strict=True):
            np.testing.assert_array_equal(values, those)


def test_a_pickle_makes_the_same() -> None:
    c, periodogram = curve(200, seed=13), BinnedPeriodogram(EDGES)
    for values, again in zip(periodogram(*c), pickle.loads(pickle.dumps(periodogram))(*c), strict=True):
        np.testing.assert_array_equal(values, again)


@pytest.mark.parametrize(
    "c",
    [
        *(curve(n, seed=14) for n in range(4)),
        Curve(np.full(20, START), np.arange(20.0), np.ones(20)),
        Curve(START + np.arange(20.0), np.full(20, 3.1), np.ones(20)),
    ],
    ids=["none", "one", "two", "three", "one time", "one flux"],
)
def test_nothing_to_see_is_zeros(c: Curve) -> None:
    delta_chi2, window = BinnedPeriodogram(EDGES)(*c)
    assert delta_chi2.shape == window.shape == (40,)
    assert not delta_chi2.any()
    assert not window.any()


@pytest.mark.parametrize("span", [0.01, 0.3, 1.0, 2.0, 5.0])
def test_no_sinusoid_explains_more_than_there_is(span: float) -> None:
    """Of points so near in time that the sine is a line and the cosine its curvature."""
    rng = np.random.default_rng(15)
    x = rng.uniform(-0.5, 0.5, 60)
    c = Curve(START + span * x, x**2 + 1e-3 * rng.normal(size=60), np.full(60, 1e-3))
    delta_chi2, _ = BinnedPeriodogram(EDGES)(*c)
    assert np.isfinite(delta_chi2).all()
    assert delta_chi2.max() <= chi2_about_mean(c) * (1.0 + 1e-9)
    assert not delta_chi2[EDGES[:-1] > 30.0 * span].any()


def test_points_at_one_hour_have_no_sinusoid_of_a_day() -> None:
    """And two nights none, where all points have one of two phases: only noise would tell cosine from sine."""
    rng = np.random.default_rng(16)
    time = START + np.arange(200.0) + rng.uniform(-1e-5, 1e-5, 200)
    c = Curve(time, rng.normal(size=200), np.ones(200))
    for period in (1.0, 2.0):
        # The first frequency is that of the last edge.
        delta_chi2, _ = BinnedPeriodogram([0.9999999 * period, period])(*c)
        assert not delta_chi2.any()
    assert BinnedPeriodogram([2.9, 3.1])(*c)[0] > 0.0


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([1.0], "two or more"),
        ([1.0, 1.0, 2.0], "ascend"),
        ([2.0, 1.0], "ascend"),
        ([0.0, 1.0], "positive"),
        ([-1.0, 1.0], "positive"),
        ([1.0, np.nan], "every edge must be finite; got nan"),
        ([], "at least one"),
    ],
)
def test_edges_that_are_none_are_refused(edges: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BinnedPeriodogram(edges)


@pytest.mark.parametrize(("column", "value"), [(0, np.inf), (1, np.nan), (2, 0.0), (2, -1.0)])
def test_a_bad_point_is_refused(column: int, value: float) -> None:
    c = curve(10, seed=17)
    c[column][7] = value
    with pytest.raises(DataError, match="at point 7"):
        BinnedPeriodogram(EDGES)(*c)
