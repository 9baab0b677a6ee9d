"""Light of spots, of eclipses and of pulsation, made up: what each looks like."""

import numpy as np
import pytest

from varistar.flares.orbits import Orbit
from varistar.flares.rotation import PAPER, Doubt, RotationSettings, measure_sectors
from varistar.flares.spectrum import Points, bin_cadences
from varistar.flares.spotlike import likeness, unsteadiness

CADENCE = 1.0 / 720.0


def sector(light, noise: float = 1e-3, seed: int = 0) -> list[Orbit]:
    rng = np.random.default_rng(seed)
    orbits = []
    for begin in (1683.0, 1696.8):
        time = begin + CADENCE * np.arange(9200)
        flux = light(time) + noise * rng.standard_normal(len(time))
        orbits.append(Orbit(time, flux, np.full(len(time), noise), np.arange(len(time)), CADENCE))
    return orbits


def points_of(light) -> Points:
    orbits = sector(light)
    return bin_cadences(orbits, [np.zeros(len(orbit), dtype=bool) for orbit in orbits], 10.0, True)


def wave(time: np.ndarray, period: float, phase: float = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * (time / period + phase))


def spots(period: float):
    """Two spots, of which one grows by a fifth in a sector and the other drifts by a twentieth of a turn."""

    def light(t: np.ndarray) -> np.ndarray:
        age = (t - 1683.0) / 27.0
        first, second = (np.maximum(wave(t, period, p), -0.2) for p in (0.0, 0.35 + 0.05 * age))
        return 1.0 - 0.02 * (1.0 + 0.2 * age) * first - 0.012 * second

    return light


def detached(period: float):
    """Dips of a twentieth of the orbit, two of different depth, on weak spots."""

    def light(t: np.ndarray) -> np.ndarray:
        phase = (t / period) % 1.0
        dips = [depth * np.exp(-0.5 * ((phase - at) / 0.02) ** 2) for depth, at in ((0.3, 0.25), (0.1, 0.75))]
        return 1.0 - sum(dips) + 0.005 * wave(t, period)

    return light


def touching(period: float):
    """Two minima of almost one depth, sharper than the maxima."""
    return lambda t: 1.0 + 0.2 * (np.abs(np.cos(2 * np.pi * t / period)) ** 1.5) + 0.01 * np.cos(2 * np.pi * t / period)


def steep(period: float):
    return lambda t: 1.0 + 0.2 * sum(0.75 ** (k - 1) / k * wave(t, period / k) for k in range(1, 8))


def modes(period: float):
    return lambda t: 1.0 + 0.01 * wave(t, period) + 0.004 * wave(t, period / 1.37) + 0.003 * wave(t, period / 0.81)


@pytest.mark.parametrize("period", [0.3, 0.9, 2.5, 6.0])
def test_spots_are_spots(period: float) -> None:
    assert likeness(points_of(spots(period)), 1.0 / period) == (False, False)


@pytest.mark.parametrize(("period", "turns"), [(0.8, 1.0), (0.8, 2.0), (2.1, 2.0)])
def test_dips_are_eclipses_at_the_orbit_and_at_its_half(period: float, turns: float) -> None:
    assert likeness(points_of(detached(period)), turns / period) == (True, False)


@pytest.mark.parametrize("period", [0.25, 0.42])
def test_stars_that_touch_are_eclipses(period: float) -> None:
    assert likeness(points_of(touching(period)), 2.0 / period) == (True, False)
    upside_down = points_of(lambda t: 2.0 - touching(period)(t))  # spots may repeat as well, not with such minima
    assert likeness(upside_down, 2.0 / period) == (False, False)


@pytest.mark.parametrize("period", [0.45, 0.7])
def test_a_steep_rise_that_repeats_is_pulsation(period: float) -> None:
    assert likeness(points_of(steep(period)), 1.0 / period) == (False, True)


def test_two_fast_waves_are_pulsation_but_not_if_the_second_is_as_slow_as_a_latitude() -> None:
    assert likeness(points_of(modes(0.12)), 1 / 0.12) == (False, True)
    shear = points_of(lambda t: 1.0 + 0.01 * wave(t, 0.3) + 0.005 * wave(t, 1.0 / (1 / 0.3 + 0.06)))
    assert likeness(shear, 1 / 0.3) == (False, False)


def test_unsteadiness_is_the_scatter_of_the_quarters() -> None:
    """An amplitude that grows evenly from 0.8 to 1.2: quarters of 0.85, 0.95, 1.05 and 1.15 scatter by 0.112."""

    def growing(t: np.ndarray) -> np.ndarray:
        return 1.0 + 0.02 * (0.8 + 0.4 * (t - 1683.0) / 26.58) * wave(t, 0.7)

    assert unsteadiness(points_of(growing), 1 / 0.7) == pytest.approx(0.112, abs=0.01)
    # noise alone: 2e-3 / sqrt(cadences of a quarter / 2), of the amplitude
    assert unsteadiness(points_of(lambda t: 1.0 + 0.02 * wave(t, 0.7)), 1 / 0.7) < 0.003


def test_ours_refuses_what_is_no_rotation_and_the_paper_does_not() -> None:
    for light, doubt in ((detached(0.8), Doubt.ECLIPSES), (steep(0.6), Doubt.PULSATES), (spots(2.5), Doubt(0))):
        for settings, expected in ((RotationSettings(), doubt), (PAPER, Doubt(0))):
            (row,) = measure_sectors("star", sector(light), None, settings).iter_rows(named=True)
            assert row["flags"] & (Doubt.ECLIPSES | Doubt.PULSATES) == expected
            assert settings is PAPER or row["flags"] == expected
