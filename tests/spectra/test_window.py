"""The spectral window against its definition, and its peaks where a cadence repeats."""

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra.window import spectral_window, window_peaks


def nights(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nights near one hour within seasons of 200 days, with mixed errors, in no order of time."""
    rng = np.random.default_rng(seed)
    time = 58484.5 + np.floor(365.25 * rng.integers(0, 5, n)) + rng.integers(0, 200, n) + rng.normal(0.0, 0.03, n)
    return time, 0.02 * 10.0 ** rng.uniform(-0.5, 0.5, n)


@pytest.mark.parametrize("n", [2, 3, 50, 800])
def test_window_is_its_definition(n: int) -> None:
    time, flux_err = nights(n, seed=n)
    frequency, power = spectral_window(time, flux_err, 2.0, oversample=3.0)
    some = np.arange(0, len(frequency), 7)
    offset = (time - 59000.0).astype(np.longdouble)
    phase = 2 * np.longdouble("3.14159265358979323846264338327950288") * frequency[some, None] * offset
    weight = flux_err.astype(np.longdouble) ** -2
    expected = (
        (weight * np.cos(phase)).sum(axis=1) ** 2 + (weight * np.sin(phase)).sum(axis=1) ** 2
    ) / weight.sum() ** 2
    np.testing.assert_allclose(power[some], expected.astype(np.float64), rtol=0.0, atol=1e-10)
    assert frequency[0] == 0.0
    assert power[0] == pytest.approx(1.0, abs=1e-11)
    np.testing.assert_allclose(np.diff(frequency), 1.0 / (3.0 * np.ptp(time)), rtol=1e-9)
    assert 2.0 - frequency[1] < frequency[-1] <= 2.0


def test_peaks_are_the_day_the_year_and_their_sums() -> None:
    time, flux_err = nights(2000, seed=1)
    frequency, power = window_peaks(time, flux_err, 1.1, n_peaks=4)
    width = 1.0 / np.ptp(time)
    assert (np.diff(power) <= 0.0).all()
    assert frequency[0] == pytest.approx(1.0, abs=0.05 * width)
    year = 1.0 / 365.25
    np.testing.assert_allclose(np.sort(frequency), [year, 1.0 - year, 1.0, 1.0 + year], rtol=0.0, atol=0.2 * width)
    assert power[0] > 0.9


def test_peaks_are_maxima_of_the_window_itself() -> None:
    """Each is at least as high as the window around it, to the error of a parabola, and the first maximum is none."""
    time, flux_err = nights(300, seed=2)
    width = 1.0 / np.ptp(time)
    weight = flux_err**-2 / (flux_err**-2).sum()
    for f, p in zip(*window_peaks(time, flux_err, 1.5, n_peaks=8, oversample=10.0), strict=True):
        near = f + np.linspace(-0.2, 0.2, 41) * width
        window = np.abs(np.exp(2j * np.pi * near[:, None] * (time - 59000.0)) @ weight) ** 2
        assert f > width
        assert p == pytest.approx(window.max(), rel=0.02)
        assert abs(near[window.argmax()] - f) < 0.05 * width


def test_two_times_repeat_at_multiples_of_their_rate() -> None:
    frequency, power = window_peaks([59000.0, 59004.0], [0.1, 0.1], 1.05)
    np.testing.assert_allclose(np.sort(frequency), [0.25, 0.5, 0.75, 1.0], rtol=1e-9)
    np.testing.assert_allclose(power, 1.0, rtol=1e-9)


def test_order_origin_and_scale_of_errors_do_not_matter() -> None:
    time, flux_err = nights(100, seed=3)
    order = np.random.default_rng(4).permutation(100)
    expected = window_peaks(time, flux_err, 1.5)
    other = window_peaks(time[order] + 2400000.5, 1e6 * flux_err[order], 1.5)
    np.testing.assert_allclose(other, expected, rtol=1e-7)


@pytest.mark.parametrize("time", [[], [59000.0], [59000.0] * 5])
def test_fewer_than_two_times_have_no_window(time: list[float]) -> None:
    for values in (*spectral_window(time, np.ones(len(time)), 1.0), *window_peaks(time, np.ones(len(time)), 1.0)):
        assert values.shape == (0,)


def test_few_frequencies_have_no_peaks() -> None:
    assert [len(values) for values in window_peaks([1.0, 2.0], [0.1, 0.1], 0.1)] == [0, 0]


@pytest.mark.parametrize(
    ("time", "flux_err", "message"),
    [
        ([1.0, np.nan], [0.1, 0.1], "time is nan at point 1"),
        ([1.0, 2.0], [0.1, 0.0], "flux_err is 0.0 at point 1"),
        ([1.0, 2.0], [0.1], "equally long"),
    ],
)
def test_bad_points_are_refused(time: list[float], flux_err: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        spectral_window(time, flux_err, 1.0)


@pytest.mark.parametrize(("max_frequency", "oversample"), [(0.0, 5.0), (np.inf, 5.0), (1.0, 0.0), (np.nan, 5.0)])
def test_bad_ranges_are_refused(max_frequency: float, oversample: float) -> None:
    with pytest.raises(ConfigError, match="must be positive and finite"):
        spectral_window([1.0, 2.0], [0.1, 0.1], max_frequency, oversample)
