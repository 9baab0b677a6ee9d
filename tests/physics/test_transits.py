"""Hidden light against sums over the disk and closed forms; orbits against geometry."""

import numpy as np
import pytest

from varistar.physics.transits import Companion, Orbit, binary_flux, hidden_light, projected, transit_flux

LIMB = (0.3, 0.25)
GRID = 1500


def summed(z: float, p: float, limb: tuple[float, float], n: int = GRID) -> float:
    """Light under the dark disk, added up on a square grid over it."""
    axis = ((np.arange(n) + 0.5) / n * 2 - 1) * p
    x, y = np.meshgrid(axis, axis)
    r2 = (x + z) ** 2 + y**2
    mu = np.sqrt(np.maximum(1 - r2[(x**2 + y**2 < p * p) & (r2 < 1)], 0))
    light = 1 - limb[0] * (1 - mu) - limb[1] * (1 - mu) ** 2
    return float(light.sum() * (2 * p / n) ** 2 / (np.pi * (1 - limb[0] / 3 - limb[1] / 6)))


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9, 1.0, 1.4])
def test_hidden_light_is_that_under_the_disk(p: float) -> None:
    z = np.array([0.0, 0.3 * p, abs(1 - p) * 0.98, 0.5, p, 0.9, 1.0, 1 + 0.5 * p, 1 + 0.98 * p])
    expected = [summed(value, p, LIMB) for value in z]
    # a grid of n^2 cells errs by its boundary cells at random: their number is 2 pi n, each 4 p^2 / n^2 large
    error = 5 * np.sqrt(2 * np.pi * GRID * 2) * 4 * p**2 / GRID**2
    np.testing.assert_allclose(hidden_light(z, p, LIMB), expected, rtol=0, atol=error)


def lens(z: np.ndarray, p: float) -> np.ndarray:
    """Area that circles of radius 1 and p have in common, their centres z apart."""
    a = np.arccos((z**2 + 1 - p**2) / (2 * z))
    b = np.arccos((z**2 + p**2 - 1) / (2 * z * p))
    return a + p**2 * b - np.sin(a) * z


def test_uniform_disks_overlap_in_a_lens() -> None:
    """Without limb darkening the area of two circles' lens, in closed form."""
    rng = np.random.default_rng(2)
    for p in (0.05, 0.4, 1.3):
        z = rng.uniform(abs(1 - p) + 1e-6, 1 + p - 1e-6, 200)
        np.testing.assert_allclose(hidden_light(z, p, (0, 0)), lens(z, p) / np.pi, rtol=0, atol=1e-9 * min(p, 1.0) ** 2)


def test_ends_of_the_range() -> None:
    assert hidden_light(np.array([1.1, 5.0]), 0.1, LIMB).tolist() == [0.0, 0.0]
    assert hidden_light(np.array([0.0, 0.2]), 1.5, LIMB) == pytest.approx(1.0, abs=1e-12)
    centre = hidden_light(np.array([0.0]), 0.01, LIMB)[0]
    assert centre == pytest.approx(0.01**2 / (1 - LIMB[0] / 3 - LIMB[1] / 6), rel=1e-4)
    z = np.linspace(0, 1.2, 5001)
    assert np.all(np.diff(hidden_light(z, 0.2, LIMB)) <= 1e-12)  # limb darkening and leaving both hide less


def test_duration_and_depth_of_a_transit() -> None:
    """First to last contact is P / pi asin(sqrt((1 + p)^2 - b^2) / (a sin i)) (Seager & Mallen-Ornelas 2003)."""
    period, a, b, p = 3.0, 9.0, 0.4, 0.1
    orbit = Orbit(period, 1.0, a, float(np.degrees(np.arccos(b / a))))
    time = np.linspace(0.0, 3.0, 300_001)
    flux = transit_flux(time, orbit, p, LIMB)
    inside = time[flux < 1.0]
    sine = np.sqrt(1 - (b / a) ** 2)
    duration = period / np.pi * np.arcsin(np.sqrt((1 + p) ** 2 - b**2) / (a * sine))
    assert inside[-1] - inside[0] == pytest.approx(duration, abs=3e-5)
    assert time[np.argmin(flux)] == pytest.approx(1.0, abs=2e-5)
    assert 1 - flux.min() == pytest.approx(hidden_light(np.array([b]), p, LIMB)[0], rel=1e-8)
    assert np.all(flux[np.abs(time - 2.5) < 0.3] == 1.0)  # behind the star a dark planet is not seen


def test_projected_distance() -> None:
    orbit = Orbit(4.0, 0.0, 10.0, 60.0)
    separation, in_front = projected(np.array([0.0, 1.0, 2.0, 3.0]), orbit)
    np.testing.assert_allclose(separation, [5.0, 10.0, 5.0, 10.0], rtol=1e-12)
    assert in_front[0] and not in_front[2]


def test_eclipses_of_two_stars() -> None:
    orbit, p = Orbit(2.0, 0.0, 6.0, 90.0), 0.6
    share = 0.2
    time = np.array([0.0, 0.5, 1.0, 1.5])
    flux = binary_flux(time, orbit, Companion(p, share, 0.0), (0.0, 0.0))
    np.testing.assert_allclose(flux, [1 - 0.8 * p**2, 1.0, 1 - share, 1.0], rtol=1e-12)
    partly = np.array([0.08, 1.08])
    overlap = lens(projected(partly, orbit)[0], p)
    expected = 1 - np.array([0.8, share / p**2]) * overlap / np.pi
    np.testing.assert_allclose(binary_flux(partly, orbit, Companion(p, share, 0.0), (0.0, 0.0)), expected, rtol=1e-8)
    equal = binary_flux(np.array([0.02, 1.02]), orbit, Companion(1.0, 0.5, 0.0), LIMB)
    assert equal[0] == pytest.approx(equal[1], rel=1e-10)
    tides = binary_flux(np.array([0.5, 0.25]), orbit, Companion(p, share, 0.1), LIMB)
    np.testing.assert_allclose(tides, [1.05, 1.0], atol=1e-12)
