"""Spot phases of one orbit: where 0 lies, partial rotations, and what shows none."""

import numpy as np
import pytest

from varistar.flares.orbits import Orbit
from varistar.flares.phase import PAPER, PhaseSettings, count_exposure, phase_at, spot_phase
from varistar.foundation.errors import DataError

CADENCE = 1.0 / 720.0
HARMONICS = PhaseSettings()


def make_orbit(period: float, maximum: float = 1683.2, days: float = 12.8, noise: float = 1e-3, depth: float = 0.01):
    time = 1683.0 + CADENCE * np.arange(round(days / CADENCE))
    flux = 1.0 + depth * np.cos(2 * np.pi * (time - maximum) / period)
    flux += noise * np.random.default_rng(3).standard_normal(len(time))
    return Orbit(time, flux, np.full(len(time), noise), np.arange(len(time)), CADENCE)


def expected(orbit: Orbit, period: float, maximum: float = 1683.2) -> np.ndarray:
    return ((orbit.time - maximum) / period + 0.5) % 1.0 - 0.5


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of phases around the circle."""
    return np.abs((one - other + 0.5) % 1.0 - 0.5)


@pytest.mark.parametrize("period", [0.25, 1.0, 3.7, 11.0])
def test_zero_is_where_the_star_is_brightest(period: float) -> None:
    orbit = make_orbit(period)
    phase = spot_phase(orbit, None, period, HARMONICS)
    # The phase of a sinusoid is known to sqrt(2 / n) / (2 pi SNR), 2e-4 here; its overtone may shift the top by more.
    assert apart(phase, expected(orbit, period)).max() < 0.01
    assert phase.min() >= -0.5 and phase.max() < 0.5
    assert np.mean(orbit.flux[np.abs(phase) < 0.1]) > 1.008 and np.mean(orbit.flux[np.abs(phase) > 0.4]) < 0.992


@pytest.mark.parametrize("period", [0.25, 1.0, 3.7])
def test_minima_lie_at_the_ends(period: float) -> None:
    orbit = make_orbit(period)
    phase = spot_phase(orbit, None, period, PAPER)
    # Half a step of the grid of minima, a hundredth, and what noise shifts them by in a flat-bottomed wave.
    assert np.median(apart(phase, expected(orbit, period))) < 0.02
    assert apart(phase, expected(orbit, period)).max() < 0.12


def test_minima_follow_a_period_that_changes() -> None:
    orbit = make_orbit(1.0)
    rotations = (orbit.time - 1683.0) * (1.0 + 0.02 * (orbit.time - 1683.0))
    orbit.flux[:] = 1.0 + 0.01 * np.cos(2 * np.pi * rotations)
    true = (rotations + 0.5) % 1.0 - 0.5
    assert apart(spot_phase(orbit, None, 1.0, PAPER), true).max() < 0.05
    assert apart(spot_phase(orbit, None, 1.0, HARMONICS), true).max() > 0.3


def test_one_minimum_gives_all_phases_of_an_orbit() -> None:
    orbit = make_orbit(10.0, maximum=1684.0, noise=1e-4)
    phase = spot_phase(orbit, None, 10.0, PAPER)
    assert apart(phase, expected(orbit, 10.0, 1684.0)).max() < 0.05


def test_flares_do_not_move_the_phase() -> None:
    clean, flaring = make_orbit(2.0), make_orbit(2.0)
    # A flare of an hour and a half at every rotation, always at a quarter: worst for the phase.
    mask = np.abs(expected(clean, 2.0) - 0.25) < 0.015
    flaring.flux[mask] += 0.2
    masked = spot_phase(flaring, mask, 2.0, HARMONICS)
    assert apart(masked, expected(clean, 2.0)).max() < 0.01
    # Unmasked they are outliers, of which a least-squares fit would make 0.1.
    assert apart(spot_phase(flaring, None, 2.0, HARMONICS), expected(clean, 2.0)).max() < 0.03


def test_a_slope_does_not_move_the_phase() -> None:
    orbit = make_orbit(5.0)
    orbit.flux[:] += 0.003 * (orbit.time - orbit.time.mean())
    assert apart(spot_phase(orbit, None, 5.0, HARMONICS), expected(orbit, 5.0)).max() < 0.01


def test_the_brighter_of_two_maxima_is_zero() -> None:
    orbit = make_orbit(2.0, depth=0.0)
    cycle = 2 * np.pi * (orbit.time - 1683.2) / 2.0
    orbit.flux[:] += 0.003 * np.cos(cycle) + 0.01 * np.cos(2 * cycle)
    assert apart(spot_phase(orbit, None, 2.0, HARMONICS), expected(orbit, 2.0)).max() < 0.01


def test_lost_cadences_have_a_phase() -> None:
    orbit = make_orbit(2.0)
    orbit.flux[3000:5000] = np.nan
    assert apart(spot_phase(orbit, None, 2.0, HARMONICS), expected(orbit, 2.0)).max() < 0.01


def test_what_shows_no_rotation_has_no_phase() -> None:
    constant = make_orbit(2.0, depth=0.0)
    assert np.isnan(spot_phase(constant, None, 2.0, HARMONICS)).all()
    assert np.isnan(spot_phase(make_orbit(20.0), None, 20.0, HARMONICS)).all()
    masked = np.ones(len(constant), dtype=bool)
    assert np.isnan(spot_phase(constant, masked, 2.0, HARMONICS)).all()


def test_nonsense_is_refused() -> None:
    orbit = make_orbit(2.0)
    for period in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="a rotation period must be positive"):
            spot_phase(orbit, None, period, HARMONICS)
    with pytest.raises(DataError, match="a mask of 3 cadences does not fit an orbit of 9216"):
        spot_phase(orbit, np.zeros(3, dtype=bool), 2.0, HARMONICS)


def test_a_flare_has_the_phase_of_its_cadence() -> None:
    first, second = make_orbit(2.0), make_orbit(2.0)
    second.time[:] += 14.0
    phases = [expected(first, 2.0), expected(second, 2.0)]
    tpeak = np.array([1690.0, 1683.0 + 14.5, 1696.5, 1600.0, np.nan])
    found = phase_at(tpeak, [first, second], phases)
    assert apart(found[:2], ((tpeak[:2] - 1683.2) / 2.0 + 0.5) % 1.0 - 0.5).max() <= 0.5 * CADENCE / 2.0 + 1e-9
    assert np.isnan(found[2:]).all()


def test_exposure_counts_what_was_searched_at_a_known_phase() -> None:
    phases = [np.array([-0.5, -0.26, 0.1, np.nan]), np.array([0.49, 0.2])]
    searched = [np.array([True, True, False, True]), np.array([True, True])]
    assert count_exposure(phases, searched, 4).tolist() == [2.0, 0.0, 1.0, 1.0]
    assert count_exposure([], [], 4).tolist() == [0.0] * 4
