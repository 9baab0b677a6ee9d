"""The global periodogram against astropy's exact method."""

import numpy as np
import pytest
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra.periodogram import lombscargle_peak, lombscargle_peak_batch, lombscargle_power

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def curve(n: int, seed: int, period: float = 13.0, span: float = 1800.0) -> Curve:
    """A sinusoid at nights within seasons, with mixed errors, in no order of time."""
    rng = np.random.default_rng(seed)
    time = 58484.5 + rng.permutation(np.floor(rng.uniform(0.0, span, n))) + rng.normal(0.0, 0.05, n)
    flux_err = 0.02 * 10.0 ** rng.uniform(-0.5, 0.5, n)
    return time, 5.0 + 0.05 * np.sin(2.0 * np.pi * time / period) + flux_err * rng.normal(size=n), flux_err


def astropy_power(c: Curve, frequency: NDArray) -> NDArray[np.float64]:
    """Exact sums; from the middle of the light curve, where astropy's own rounding is smallest."""
    time, flux, flux_err = c
    return LombScargle(time - time.mean(), flux, flux_err).power(frequency, method="cython")


@pytest.mark.parametrize("n", [4, 8, 50, 700])
@pytest.mark.parametrize("span", [20.0, 1800.0])
def test_power_is_that_of_astropy(n: int, span: float) -> None:
    """The sums' errors, 1e-12, are divided by the determinant: small for few points, and near one cycle a night."""
    c = curve(n, seed=n, span=span)
    frequency, power = lombscargle_power(*c, 1.0, 30.0, oversample=3.0)
    expected = astropy_power(c, frequency)
    np.testing.assert_allclose(power, expected, rtol=0.0, atol=1e-9 if n >= 50 else 1e-7)


@pytest.mark.parametrize("n_terms", [2, 3, 6])
@pytest.mark.parametrize("n", [30, 400])
@pytest.mark.parametrize("span", [100.0, 1800.0])
def test_power_of_several_terms_is_that_of_astropy(n: int, n_terms: int, span: float) -> None:
    """Where the harmonics can be told apart; elsewhere astropy's matrix is as good as singular."""
    time, flux, flux_err = curve(n, seed=n, span=span)
    frequency, power = lombscargle_power(time, flux, flux_err, 3.1, 30.0, 3.0, n_terms)
    exact = LombScargle(time - time.mean(), flux, flux_err, nterms=n_terms)
    some = slice(None, None, max(len(frequency) // 60, 1))
    conditions = np.array([condition(exact, f) for f in frequency[some]])
    good = conditions < 1e3
    assert good.mean() > 0.5
    expected = exact.power(frequency[some], method="chi2")
    np.testing.assert_allclose(power[some][good], expected[good], rtol=0.0, atol=1e-8)


def condition(periodogram: LombScargle, frequency: float) -> float:
    """Of the weighted design matrix with columns of length 1."""
    design = periodogram.design_matrix(frequency)
    return float(np.linalg.cond(design / np.linalg.norm(design, axis=0)))


def test_several_terms_find_the_period_whose_overtones_are_stronger() -> None:
    """Of a signal with most of its power in the second and third harmonics: one term finds half the period."""
    rng = np.random.default_rng(11)
    time = 58484.5 + rng.uniform(0.0, 300.0, 400)
    phase = 2.0 * np.pi * time / 7.3
    flux = 0.2 * np.cos(phase) + np.cos(2.0 * phase + 1.0) + 0.6 * np.cos(3.0 * phase) + 0.3 * rng.normal(size=400)
    c = (time, flux, np.full(400, 0.3))
    assert lombscargle_peak(*c, 2.0, 12.0, n_terms=1).period == pytest.approx(3.65, rel=1e-3)
    assert lombscargle_peak(*c, 2.0, 12.0, n_terms=3).period == pytest.approx(7.3, rel=1e-3)


def test_terms_that_cannot_be_told_apart_have_no_power() -> None:
    """At one cycle a day of points at one hour, and where eight points have four times."""
    time = 59000.0 + np.arange(40.0)
    flux = np.random.default_rng(12).normal(size=40)
    frequency, power = lombscargle_power(time, flux, np.ones(40), 1.0, 2.0, 4.0, n_terms=2)
    assert np.isfinite(power).all()
    assert power[-1] == 0.0
    assert frequency[-1] == pytest.approx(1.0)
    assert 0.0 < power[1] < 1.0
    _, power = lombscargle_power(np.repeat(time[:4], 2), flux[:8], np.ones(8), 1.7, 8.0, n_terms=2)
    assert len(power) > 5
    assert not power.any()


@pytest.mark.parametrize("n_terms", [1, 2, 4])
def test_as_many_parameters_as_points_have_no_periodogram(n_terms: int) -> None:
    for n, some in ((2 * n_terms + 1, False), (2 * n_terms + 2, True)):
        assert bool(len(lombscargle_power(*curve(n, seed=13), 1.0, 30.0, n_terms=n_terms)[1])) == some


def test_a_term_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="n_terms must be at least 1; got 0"):
        lombscargle_power(*curve(10, seed=14), 1.0, 30.0, n_terms=0)


def test_frequencies_are_even_and_span_the_periods() -> None:
    time, flux, flux_err = curve(100, seed=1)
    frequency, _ = lombscargle_power(time, flux, flux_err, 2.0, 25.0, oversample=4.0)
    step = 1.0 / (4.0 * np.ptp(time))
    np.testing.assert_allclose(np.diff(frequency), step, rtol=1e-9)
    assert frequency[0] == pytest.approx(1.0 / 25.0)
    assert 1.0 / 2.0 - step < frequency[-1] <= 1.0 / 2.0 * (1.0 + 1e-12)


@pytest.mark.parametrize("period", [1.3, 5.0, 13.0, 28.0])
def test_peak_is_refined_beyond_the_grid(period: float) -> None:
    """To the maximum of the exact periodogram, within 3 % of the natural width of a peak."""
    c = curve(400, seed=2, period=period)
    peak = lombscargle_peak(*c, 1.0, 30.0)
    width = 1.0 / np.ptp(c[0])
    fine = 1.0 / peak.period + np.linspace(-1.0, 1.0, 2001) * width
    exact = astropy_power(c, fine)
    assert abs(1.0 / peak.period - fine[np.argmax(exact)]) < 0.03 * width
    assert peak.power == pytest.approx(exact.max(), abs=0.01)
    assert peak.period == pytest.approx(period, rel=0.01)


def test_peak_may_lie_at_the_end_of_the_range() -> None:
    c = curve(200, seed=3, period=31.0)
    _, power = lombscargle_power(*c, 3.0, 30.9)
    assert np.argmax(power) == 0
    assert lombscargle_peak(*c, 3.0, 30.9) == (pytest.approx(30.9), power[0])


def test_order_and_origin_of_time_and_scale_of_flux_do_not_matter() -> None:
    time, flux, flux_err = curve(150, seed=4)
    order = np.argsort(time)
    expected = lombscargle_peak(time, flux, flux_err, 1.0, 30.0)
    other = lombscargle_peak(time[order] + 2400000.5, 7.0 - 3.0 * flux[order], 1e-3 * flux_err[order], 1.0, 30.0)
    assert other == (pytest.approx(expected.period, rel=1e-9), pytest.approx(expected.power, rel=1e-7))


@pytest.mark.parametrize(
    "c",
    [
        ([], [], []),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 1.0], [0.1, 0.1, 0.1]),
        ([5.0] * 6, np.arange(6.0), np.ones(6)),
        (np.arange(6.0), np.full(6, 0.1), np.ones(6)),
    ],
    ids=["none", "three points", "one time", "one flux"],
)
def test_nothing_to_find(c: Curve) -> None:
    peak = lombscargle_peak(*c, 1.0, 30.0)
    assert np.isnan(peak.period)
    assert peak.power == 0.0


@pytest.mark.parametrize("n_terms", [1, 3])
def test_batch_is_one_by_one(n_terms: int) -> None:
    """To the bit, though the batch keeps its FFT plans."""
    curves = [curve(60, 5), curve(0, 6), curve(300, 7), curve(40, 8, span=1700.0), curve(60, 5)]
    flat = [np.concatenate(columns) for columns in zip(*curves, strict=True)]
    offsets = np.cumsum([0, *(len(c[0]) for c in curves)])
    period, power = lombscargle_peak_batch(*flat, offsets, 1.0, 30.0, n_terms=n_terms)
    for star, c in enumerate(curves):
        expected = lombscargle_peak(*c, 1.0, 30.0, n_terms=n_terms)
        np.testing.assert_array_equal([period[star], power[star]], expected)


def test_bad_points_are_refused_by_their_star() -> None:
    time, flux, flux_err = curve(10, seed=8)
    flux_err[7] = 0.0
    with pytest.raises(DataError, match="light curve 1: flux_err is 0"):
        lombscargle_peak_batch(time, flux, flux_err, [0, 5, 10], 1.0, 30.0)


@pytest.mark.parametrize(
    ("min_period", "max_period", "oversample"),
    [(0.0, 30.0, 5.0), (30.0, 1.0, 5.0), (1.0, np.inf, 5.0), (1.0, np.nan, 5.0), (1.0, 30.0, 0.0)],
)
def test_bad_ranges_are_refused(min_period: float, max_period: float, oversample: float) -> None:
    with pytest.raises(ConfigError):
        lombscargle_peak(*curve(10, seed=9), min_period, max_period, oversample)
