"""A light curve becomes orbits, each with its own cadence, and these become longer exposures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.flares.orbits import Orbit, OrbitSettings, bin_orbit, exposures_in, split_orbits

MINUTE = 1.0 / 1440.0


def make_orbit(flux: np.ndarray, flux_err: np.ndarray | float = 0.01, minutes: float = 2.0) -> Orbit:
    m = len(flux)
    return Orbit(
        1500.0 + minutes * MINUTE * np.arange(m), flux, np.broadcast_to(flux_err, m), np.arange(m), minutes / 1440
    )


def test_each_orbit_has_its_own_cadence() -> None:
    """As a star has that was observed every half hour, and years later every ten minutes."""
    half_hours, tens = 30 * MINUTE * np.arange(400), 700.0 + 10 * MINUTE * np.arange(1000)
    time = np.concatenate([tens, half_hours])
    orbits = split_orbits(time, np.ones(1400), np.full(1400, 0.1), None, OrbitSettings())
    assert [len(orbit) for orbit in orbits] == [400, 1000]
    assert [orbit.cadence / MINUTE for orbit in orbits] == pytest.approx([30.0, 10.0])
    assert all(orbit.good.all() for orbit in orbits)
    np.testing.assert_array_equal(orbits[0].point, 1000 + np.arange(400))


def test_points_at_one_time_are_no_orbit() -> None:
    time = np.concatenate([np.full(300, 5.0), 10.0 + 2 * MINUTE * np.arange(300)])
    orbits = split_orbits(time, np.ones(600), np.ones(600), None, OrbitSettings())
    assert [orbit.point[0] for orbit in orbits] == [300]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 17), st.integers(1, 120), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
def test_longer_exposures_are_the_means_of_what_counts(size: int, m: int, seed: int, lost: float) -> None:
    rng = np.random.default_rng(seed)
    flux = np.where(rng.random(m) < lost, np.nan, rng.normal(1.0, 0.1, m))
    errors = np.where(rng.random(m) < 0.2, np.nan, rng.uniform(0.01, 0.1, m))
    errors[np.isnan(flux)] = np.nan
    orbit = make_orbit(flux, errors)
    binned = bin_orbit(orbit, size)
    assert len(binned) == m // size and binned.cadence == size * orbit.cadence
    for k in range(m // size):
        part = slice(k * size, (k + 1) * size)
        good = np.isfinite(flux[part])
        assert binned.time[k] == pytest.approx(orbit.time[part].mean(), rel=1e-12)
        if 2 * good.sum() < size:
            assert np.isnan(binned.flux[k]) and np.isnan(binned.flux_err[k])
            continue
        assert binned.flux[k] == pytest.approx(flux[part][good].mean())
        known = errors[part][np.isfinite(errors[part])]
        # each that counts has the mean variance of those that are known
        expected = np.sqrt(np.mean(known**2) / good.sum()) if len(known) else np.nan
        assert binned.flux_err[k] == pytest.approx(expected, nan_ok=True)


def test_a_longer_exposure_begins_with_its_first_point() -> None:
    orbit = make_orbit(np.ones(9))
    orbit.point[:] = [-1, 4, 5, -1, -1, -1, 6, 7, 8]
    assert bin_orbit(orbit, 3).point.tolist() == [4, -1, 6]
    assert bin_orbit(orbit, 1) is orbit


@pytest.mark.parametrize(("minutes", "size"), [(2.0, 1), (3.0, 2), (4.0, 2), (10.0, 5), (30.0, 15), (1.0, 1), (0.0, 1)])
def test_a_whole_number_of_cadences_makes_an_exposure(minutes: float, size: int) -> None:
    assert exposures_in(minutes, make_orbit(np.ones(3), minutes=1.99)) == size
