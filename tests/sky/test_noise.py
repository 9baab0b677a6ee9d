"""Depth, rounding, and the scatter that is put on a star."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.sky import noise
from varistar.sky.cadence import Visits, field_visits, site_nights
from varistar.sky.ephemeris import Direction
from varistar.sky.noise import Exposures

PLACE = Direction(np.asarray(2.0), np.asarray(-0.6))

values = st.floats(1e-4, 1e4)


@pytest.fixture(scope="module")
def exposures() -> Exposures:
    visits = field_visits(5, 0, PLACE, site_nights(5, 58484.0, 60312.0))
    return noise.expose(5, 0, PLACE, visits)


@given(values)
def test_binary_step(value: float) -> None:
    step = float(noise.binary_step(np.asarray(value)))
    assert step <= value < 2 * step
    assert np.frexp(step)[0] == 0.5


@given(values, st.integers(1, 12))
def test_to_bits(value: float, bits: int) -> None:
    rounded = float(noise.to_bits(np.asarray(value), bits))
    assert abs(rounded - value) <= value * 2.0**-bits
    mantissa = np.frexp(rounded)[0] * 2.0**bits
    assert mantissa == np.round(mantissa)


@given(st.floats(-5.0, 500.0), st.floats(0.01, 1.0), st.floats(1.0, 10.0))
def test_flux_keeps_its_meaning_when_rounded(flux: float, flux_err: float, steps: float) -> None:
    rounded = float(noise.to_steps(np.asarray(flux), noise.binary_step(np.asarray(flux_err / steps))))
    assert abs(rounded - flux) <= flux_err / steps / 2
    assert np.float32(rounded) == rounded


def test_errors_follow_the_limit(exposures: Exposures) -> None:
    np.testing.assert_allclose(exposures.flux_err, noise.limit_flux(exposures.limit) / 5, rtol=2.0**-7)
    assert noise.limit_flux(np.asarray(16.4)) == 1.0


def test_depth_falls_with_airmass_cloud_and_moon(exposures: Exposures) -> None:
    visits = exposures.visits
    for cause in (visits.airmass, visits.cloud, visits.moon_sky):
        low, high = np.quantile(cause, [0.2, 0.8])
        assert np.median(exposures.limit[cause <= low]) > np.median(exposures.limit[cause >= high])


def test_cloud_flags_exposures(exposures: Exposures) -> None:
    flagged = exposures.quality == 1
    assert 0.05 < flagged.mean() < 0.25
    assert np.median(exposures.visits.cloud[flagged]) > 2 * np.median(exposures.visits.cloud[~flagged])
    assert np.median(exposures.limit[flagged]) < np.median(exposures.limit[~flagged]) - 0.15


def steady(mag: float, exposures: Exposures, star: int) -> np.ndarray:
    flux = np.full(len(exposures.limit), noise.limit_flux(np.asarray(mag)))
    return noise.measure(np.random.default_rng(star), flux, exposures)


@pytest.mark.parametrize(("mag", "low", "high"), [(12.5, 7.0, 16.0), (14.0, 2.5, 6.0), (17.5, 0.95, 1.45)])
def test_scatter_over_error_falls_to_one_for_faint_stars(exposures, mag, low, high) -> None:  # type: ignore[no-untyped-def]
    ratios = []
    for star in range(40):
        residual = (steady(mag, exposures, star) - noise.limit_flux(np.asarray(mag))) / exposures.flux_err
        ratios.append(1.4826 * np.median(np.abs(residual - np.median(residual))))
    assert low < np.median(ratios) < high


def test_camera_offsets_are_of_the_right_size(exposures: Exposures) -> None:
    cameras = np.unique(exposures.visits.camera)
    spreads = []
    for star in range(60):
        mag = -2.5 * np.log10(np.maximum(steady(12.5, exposures, star), 1e-3))
        spreads.append(np.std([np.median(mag[exposures.visits.camera == c]) for c in cameras], ddof=1))
    assert 0.008 < np.median(spreads) < 0.03


def test_a_table_shows_no_magnitude_below_the_limit(exposures: Exposures) -> None:
    measured = steady(17.5, exposures, 1)
    flux, mag, mag_err = noise.round_like_a_table(measured, exposures, 2.0)
    below = flux.astype(np.float32) < noise.limit_flux(exposures.limit.astype(np.float32).astype(float))
    assert 0.05 < below.mean() < 0.95
    np.testing.assert_array_equal(np.isnan(mag), below)
    np.testing.assert_array_equal(np.isnan(mag_err), below)
    seen = ~below
    assert np.all(np.abs(mag[seen] - (16.4 - 2.5 * np.log10(flux[seen]))) <= mag_err[seen] / 4)
    np.testing.assert_allclose(mag_err[seen], 2.5 / np.log(10) * exposures.flux_err[seen] / flux[seen], rtol=2.0**-4)


def test_focus_belongs_to_the_camera_and_not_to_the_field() -> None:
    time = np.arange(58500.0, 59000.0, 1.0)
    flat = np.zeros(len(time))
    visits = Visits(time, np.full(len(time), "bi"), flat + 1.1, flat, flat, flat)
    here, there = (noise.expose(5, field, PLACE, visits).fwhm for field in (1, 2))
    assert np.corrcoef(here, there)[0, 1] > 0.5
    assert here.min() > 1.3 and here.max() < 2.6
