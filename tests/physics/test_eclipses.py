"""Eclipses against geometry: areas by counting, depths by hand, Kepler's equation by bisection."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from varistar.physics.eclipses import Binary, _overlap, binary_magnitude, draw_binary, period_of_axis, roche_lobe

EDGE_ON = Binary(3.0, (0.1, 0.05), 0.4, 0.6, 90.0)


@pytest.mark.parametrize(("one", "other"), [(1.0, 1.0), (1.0, 0.3), (0.2, 0.7)])
def test_overlap_is_the_area_counted_on_a_grid(one: float, other: float) -> None:
    step = 0.004
    x, y = np.meshgrid(*(np.arange(-1.2, 1.2, step) + step / 2,) * 2)
    inside = np.hypot(x, y) < one
    apart = np.array([0.0, 0.1, 0.35, 0.6, 0.69, 0.71, 1.0, 1.29, 1.31, 2.5])
    counted = [np.sum(inside & (np.hypot(x - d, y) < other)) * step**2 for d in apart]
    # a cell on the rim counts or not: the error is some cells of a rim of 2 pi / step
    np.testing.assert_allclose(_overlap(apart, one, other), counted, atol=2e-3)


def test_a_small_star_in_front_hides_its_area_and_behind_is_hidden_whole() -> None:
    tideless = replace(EDGE_ON, radii=(1e-3, 5e-4))
    depth = binary_magnitude(tideless, np.array([0.0, 0.5, 0.25]))
    light = 1.0 + 0.4 * 0.25
    np.testing.assert_allclose(depth, -2.5 * np.log10(1 - np.array([0.25, 0.4 * 0.25, 0.0]) / light), atol=1e-6)


def test_tides_make_two_equal_waves_an_orbit_brightest_from_the_side() -> None:
    wide_open = replace(EDGE_ON, radii=(0.3, 0.3), inclination=40.0)
    phase = np.linspace(0, 1, 200, endpoint=False)
    change = binary_magnitude(wide_open, phase)
    flux = 10 ** (-0.4 * change)
    waves = np.abs(np.fft.rfft(flux))[1:6]
    assert waves[1] > 1e6 * waves[[0, 2, 3, 4]].max()
    assert phase[np.argmin(change)] % 0.5 == pytest.approx(0.25)
    # by hand, 2.5 sin^2(40) (0.909 x 0.6 x 0.2^3 + 0.091 / 0.6 x 0.1^3), of shares of the light 4 : 0.4
    uneven = binary_magnitude(replace(EDGE_ON, radii=(0.2, 0.1), inclination=40.0), np.array([0.0, 0.25]))
    expected = 2.5 * 0.41318 * (4 / 4.4 * 0.6 * 0.008 + 0.4 / 4.4 / 0.6 * 0.001)
    assert 1 - 10 ** (-0.4 * uneven[0]) == pytest.approx(expected, rel=1e-4)
    assert uneven[1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("periastron", [0.0, 40.0, 110.0, 200.0, 290.0])
def test_the_secondary_eclipse_of_an_eccentric_orbit_comes_when_kepler_says(periastron: float) -> None:
    e = 0.4
    pair = replace(EDGE_ON, radii=(0.01, 0.01), eccentricity=e, periastron=periastron)

    def phase_of(true: float) -> float:
        anomaly = 2 * np.arctan2(np.sqrt(1 - e) * np.sin(true / 2), np.sqrt(1 + e) * np.cos(true / 2))
        return (anomaly - e * np.sin(anomaly)) / (2 * np.pi)

    omega = np.radians(periastron)
    expected = (phase_of(1.5 * np.pi - omega) - phase_of(0.5 * np.pi - omega)) % 1.0
    phase = np.linspace(0.0, 1.0, 20001)
    change = binary_magnitude(pair, phase)
    away = (phase > 0.05) & (phase < 0.95)
    eclipse = phase[away][change[away] > 0.5 * change[away].max()]
    assert eclipse.mean() == pytest.approx(expected, abs=1e-3)
    assert change[0] == pytest.approx(change[-1], abs=1e-9) and change[0] > 0.3


def test_kepler_and_roche() -> None:
    assert period_of_axis(215.03, 1.0) == pytest.approx(365.25, rel=1e-3)
    assert roche_lobe(1.0) == pytest.approx(0.379, abs=1e-3)
    # Eggleton's formula is within 1 % of Paczynski's 0.462 (q / (1 + q))^(1/3) at small ratios within 3 %
    assert roche_lobe(0.1) == pytest.approx(0.462 * (0.1 / 1.1) ** (1 / 3), rel=0.03)


@pytest.mark.parametrize("subtype", ["EA", "EB", "EW"])
def test_drawn_pairs_eclipse_and_fit_their_lobes(subtype: str) -> None:
    rng = np.random.default_rng(5)
    phase = np.linspace(0, 1, 1000)
    fills = []
    for _ in range(100):
        ratio = rng.uniform(0.4, 1.0)
        pair = draw_binary(rng, subtype, 1.0, 1.0, ratio)
        fills.append([pair.radii[0] / roche_lobe(1 / ratio), pair.radii[1] / roche_lobe(ratio)])
        axis = brentq(lambda a, pair=pair, ratio=ratio: period_of_axis(a, 1 + ratio) - pair.period_days, 0.5, 300)
        # as the contact binary's common envelope, the radius of the primary is the one given
        assert pair.radii[0] * axis == pytest.approx(1.0, rel=1e-6)
        assert np.ptp(binary_magnitude(pair, phase)) > 0.01
        touching = np.cos(np.radians(pair.inclination)) * (1 - pair.eccentricity)
        assert touching < pair.radii[0] + pair.radii[1]
    low, high = np.min(fills), np.max(fills)
    assert {"EA": high <= 0.9, "EB": low > 0.5 and high < 1.0, "EW": low >= 1.0 and high < 1.07}[subtype]


def test_eccentric_pairs_are_detached_and_wide() -> None:
    rng = np.random.default_rng(6)
    pairs = [draw_binary(rng, "EA", 1.0, 1.0, 0.8) for _ in range(300)]
    eccentric = [pair for pair in pairs if pair.eccentricity > 0]
    assert len(eccentric) > 20 and min(pair.period_days for pair in eccentric) > 3.0
    assert all(pair.eccentricity <= 0.5 for pair in eccentric)
