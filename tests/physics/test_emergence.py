"""Active regions: the same ones as butterpy's from the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.foundation.errors import ConfigError
from varistar.physics.emergence import N_LATITUDES, N_LONGITUDES, ActiveRegions, _set_rates, emerge_regions
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters

SUN = SpotParameters(
    period=24.5,
    activity=1.0,
    cycle_period=11.0,
    cycle_overlap=2.0,
    min_latitude=7.0,
    max_latitude=28.0,
    spot_lifetime=5.0,
    inclination=90.0,
    shear=0.3,
)
#: Two cycles are always active, and change within the year.
FAST_CYCLES = replace(SUN, activity=10.0, cycle_period=1.0, cycle_overlap=1.0)
#: name: (parameters, duration_days, seed)
CASES = {
    "Sun": (SUN, 500, 1),
    "smallest seed": (FAST_CYCLES, 300, 0),
    "largest seed": (FAST_CYCLES, 300, 2**32 - 1),
    "no butterfly": (replace(FAST_CYCLES, butterfly=False), 300, 2),
    "from the equator": (replace(FAST_CYCLES, min_latitude=0.0), 300, 3),
    "to the pole": (replace(FAST_CYCLES, min_latitude=40.0, max_latitude=85.0), 300, 4),
    "narrow at the equator": (replace(FAST_CYCLES, min_latitude=0.0, max_latitude=0.5), 300, 5),
    "no overlap": (replace(FAST_CYCLES, cycle_overlap=0.0), 500, 6),
    "odd cycle length": (replace(FAST_CYCLES, cycle_period=1.2345, cycle_overlap=0.678), 500, 7),
    "three cycles with nests": (FAST_CYCLES, 1000, 8),
    "no regions": (replace(SUN, activity=0.1), 20, 9),
} | {f"draw {i}": (draw_spot_parameters(SpotPrior(), np.random.default_rng(i)), 400, 100 + i) for i in range(8)}


@pytest.mark.parametrize("case", CASES)
def test_regions_are_those_of_butterpy(case, butterpy_surface):
    parameters, duration, seed = CASES[case]
    ours = emerge_regions(parameters, duration, seed)
    theirs = butterpy_surface(parameters, duration, seed).regions
    assert np.array_equal(ours.day, theirs["nday"])
    # the rest is the same arithmetic in another order: a few roundings of numbers below ten
    assert_same = {"rtol": 1e-13, "atol": 1e-14}
    theta_positive, theta_negative, phi_positive, phi_negative = _poles(ours)
    np.testing.assert_allclose(theta_positive, theirs["thpos"], **assert_same)
    np.testing.assert_allclose(theta_negative, theirs["thneg"], **assert_same)
    np.testing.assert_allclose(phi_positive, theirs["phpos"], **assert_same)
    np.testing.assert_allclose(phi_negative, theirs["phneg"], **assert_same)
    np.testing.assert_allclose(2.5 * ours.area, theirs["bmax"], **assert_same)
    np.testing.assert_allclose(ours.tilt, theirs["ang"], **assert_same)


def test_the_cases_cover_what_they_say():
    counts = {name: len(emerge_regions(*case)) for name, case in CASES.items()}
    assert counts.pop("no regions") == 0
    assert min(counts.values()) > 0
    draws = [CASES[f"draw {i}"][0] for i in range(8)]
    assert {parameters.butterfly for parameters in draws} == {True, False}
    active = emerge_regions(*CASES["three cycles with nests"])
    assert set(active.cycle) == {-1, 0, 1, 2}
    assert len(np.unique(active.area)) == 5
    assert _regions_in_nests(active) > 10


def test_a_seed_gives_one_star_and_touches_no_other_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = emerge_regions(SUN, 700, 1)
    emerge_regions(SUN, 700, 2)
    again = emerge_regions(SUN, 700, 1)
    assert np.array_equal(first.longitude, again.longitude)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_longer_simulation_begins_with_the_shorter_one():
    shorter, longer = emerge_regions(FAST_CYCLES, 300, 5), emerge_regions(FAST_CYCLES, 600, 5)
    assert len(longer) > len(shorter) > 0
    assert np.array_equal(longer.latitude[: len(shorter)], shorter.latitude)


@pytest.mark.parametrize(("duration", "seed"), [(-1, 0), (10, -1), (10, 2**32)])
def test_impossible_arguments_are_refused(duration, seed):
    with pytest.raises(ConfigError, match="must"):
        emerge_regions(SUN, duration, seed)


@given(
    st.floats(0.0, 40.0),
    st.floats(5.0, 45.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.01, 1.0]),
)
def test_rates_by_recurrence_are_the_gaussian_of_the_model(min_latitude, gap, phase, scale):
    max_latitude = min_latitude + gap * scale
    lowest = max(min_latitude - 7.0, 0.0)
    band_width = (max_latitude + 7.0 - lowest) / N_LATITUDES
    mean = max_latitude * (min_latitude / max_latitude) ** phase
    width = max_latitude / 5 - phase * (max_latitude - min_latitude) / 7
    rate = np.empty(N_LATITUDES)
    _set_rates(rate, lowest, band_width, mean, width, 0.5)
    latitude = lowest + band_width * (np.arange(N_LATITUDES) + 0.5)
    nearest = np.min(np.abs(latitude - mean))
    profile = np.exp((nearest / width) ** 2 - ((latitude - mean) / width) ** 2)
    expected = 0.5 * profile / (2 * N_LONGITUDES * profile.sum())
    # the exponent's rounding grows with the exponent; rates that small never matter
    np.testing.assert_allclose(rate, expected, rtol=1e-12, atol=1e-16)


def _poles(regions: ActiveRegions) -> tuple[np.ndarray, ...]:
    """The positions of both poles of each bipole as butterpy lists them: theta, theta, phi, phi [rad]."""
    polarity = 1.0 - 2.0 * (regions.cycle % 2)
    half = polarity * 0.5 * np.radians(np.sqrt(regions.area))
    theta = 0.5 * np.pi - regions.latitude
    d_theta, d_phi = half * np.sin(regions.tilt), half * np.cos(regions.tilt) / np.cos(regions.latitude)
    return theta + d_theta, theta - d_theta, regions.longitude + d_phi, regions.longitude - d_phi


def _regions_in_nests(regions: ActiveRegions) -> int:
    """How many regions emerged within 5 to 14 days and ten degrees of a large one: nests make them frequent."""
    large = np.flatnonzero(regions.area == regions.area.max())
    age = regions.day - regions.day[large][:, None]
    same = np.abs(regions.longitude - regions.longitude[large][:, None]) < np.radians(10)
    same &= np.abs(regions.latitude - regions.latitude[large][:, None]) < np.radians(3)
    return int(np.count_nonzero((age >= 5) & (age < 15) & same))
