"""Depth, rounding, and the scatter that is put on a star: what belongs to a visit, a field, a camera and a star."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.lightcurves.magnitudes import AB_ZERO_POINT
from varistar.sky import noise
from varistar.sky.cadence import Visits, field_visits, site_nights
from varistar.sky.ephemeris import Direction
from varistar.sky.noise import SATURATION, Exposures

SEED = 5
PLACE = Direction(np.asarray(2.0), np.asarray(-0.6))
#: A star that is bright, and does not saturate.
BRIGHT = SATURATION + 1.3
QUARTERS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]

values = st.floats(1e-4, 1e4)


@pytest.fixture(scope="module")
def visits() -> Visits:
    return field_visits(SEED, 0, PLACE, site_nights(SEED, 58284.0, 60312.0))


@pytest.fixture(scope="module")
def exposures(visits: Visits) -> Exposures:
    return noise.expose(SEED, 0, PLACE, visits).at((1, 1))


def regular(number: int, camera: str = "bi", days: float = 1.0, rows: int = 1, **sky: float) -> Visits:
    """A visit every so many days under an unchanging sky, of rows 108 s apart."""
    visit = np.repeat(np.arange(number), rows)
    flat = {name: np.full(len(visit), sky.get(name, value)) for name, value in UNCHANGING.items()}
    time = 58500.0 + days * visit + 0.00125 * np.tile(np.arange(rows), number)
    return Visits(time=time, camera=np.full(len(visit), camera), visit=visit, **flat)


UNCHANGING = {"airmass": 1.1, "cloud": 0.02, "moon_sky": 0.0}


def joined(*parts: Visits) -> Visits:
    """The visits of several cameras, numbered anew."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Visits.__dataclass_fields__}
    visits = Visits(**{**columns, "visit": np.arange(len(columns["time"]))})
    return visits.take(np.argsort(visits.time, kind="stable"))


def measured(mag: float, exposures: Exposures, star: int) -> np.ndarray:
    """The flux of a star that does nothing."""
    return noise.measure(np.random.default_rng(star), np.full(len(exposures.limit), mag), exposures)


def residual(mag: float, exposures: Exposures, star: int) -> np.ndarray:
    """What is measured of a star that does nothing less its magnitude, positive fainter [mag]."""
    return AB_ZERO_POINT - 2.5 * np.log10(np.maximum(measured(mag, exposures, star), 1e-3)) - mag


def spread(values: np.ndarray) -> float:
    """A standard deviation that outliers do not move."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


# ---------------------------------------------------------------------------------------------------------------------
# Numbers as they are written down


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


@pytest.mark.parametrize("mag", [8.0, 10.5, 12.5, 15.0, 17.5, 19.0])
@pytest.mark.parametrize("steps", [1.0, 4.0])
def test_a_table_is_exact_in_32_bits_and_shows_no_magnitude_below_the_limit(
    exposures: Exposures, mag: float, steps: float
) -> None:
    true = measured(mag, exposures, 1)
    flux, shown, error = noise.round_like_a_table(true, exposures, steps)
    flux_err = exposures.flux_err
    for column in (flux, shown, error, flux_err, exposures.limit, exposures.fwhm):
        np.testing.assert_array_equal(column.astype(np.float32).astype(np.float64), column)
    assert np.all(np.abs(flux - true) <= flux_err / steps / 2)
    seen = flux >= 5 * flux_err
    np.testing.assert_array_equal(np.isfinite(shown), seen)
    np.testing.assert_array_equal(np.isfinite(error), seen)
    assert np.all(error[seen] >= noise.MAG_ERR_STEP)
    off = np.abs(shown[seen] - (AB_ZERO_POINT - 2.5 * np.log10(flux[seen])))
    # the last term is for what float64 itself loses
    assert np.all(off <= error[seen] / steps / 2 + 1e-12)
    exact = flux_err[seen] / flux[seen] / 0.92
    assert np.all(np.abs(error[seen] - exact) <= np.maximum(exact / 32, noise.MAG_ERR_STEP))


def test_a_faint_star_is_sometimes_seen(exposures: Exposures) -> None:
    limit = float(np.median(exposures.limit))
    shown = noise.round_like_a_table(measured(limit, exposures, 1), exposures, 2.0)[1]
    assert 0.2 < np.isnan(shown).mean() < 0.8


def test_flux_of_a_magnitude() -> None:
    assert noise.limit_flux(np.asarray(AB_ZERO_POINT)) == pytest.approx(1.0)
    assert noise.limit_flux(np.asarray(AB_ZERO_POINT - 5.0)) == pytest.approx(100.0)


# ---------------------------------------------------------------------------------------------------------------------
# Depth


def test_errors_follow_the_limit(exposures: Exposures) -> None:
    np.testing.assert_allclose(exposures.flux_err, noise.limit_flux(exposures.limit) / 5, rtol=2.0**-13)


def test_depth_falls_with_airmass_cloud_and_moon(visits: Visits) -> None:
    here = noise.expose(SEED, 0, PLACE, visits).limit
    lower = noise.expose(SEED, 0, PLACE, replace(visits, airmass=visits.airmass + 0.5)).limit
    np.testing.assert_allclose(here - lower, 0.5 * noise.EXTINCTION)
    cloudy = noise.expose(SEED, 0, PLACE, replace(visits, cloud=visits.cloud + 0.1)).limit
    assert np.ptp(here - cloudy) == pytest.approx(0, abs=1e-12) and (here - cloudy)[0] > 0.1
    # an exposure that the sky limits is shallower by the square root of what the sky is brighter
    dark, bright = (noise.expose(SEED, 0, PLACE, replace(visits, moon_sky=0 * visits.moon_sky + m)) for m in (0, 3))
    np.testing.assert_allclose(dark.limit - bright.limit, 2.5 * np.log10(np.sqrt(1 + 3)))


def test_exposures_that_are_not_coadded_are_shallower_by_root_three(visits: Visits) -> None:
    together, alone = (noise.expose(SEED, 0, PLACE, visits, coadded) for coadded in (True, False))
    np.testing.assert_allclose(together.limit - alone.limit, 2.5 * np.log10(np.sqrt(3)))
    np.testing.assert_array_equal(together.shift, alone.shift)


def test_crowded_fields_are_shallower(visits: Visits) -> None:
    pole, plane = (Direction(*np.radians(np.array(place))) for place in ((192.86, 27.13), (266.4, -28.94)))
    lost = noise.expose(SEED, 0, pole, visits).limit - noise.expose(SEED, 0, plane, visits).limit
    assert np.ptp(lost) == pytest.approx(0, abs=1e-12) and lost[0] > 0.1


def test_limits_fall_off_axis(visits: Visits) -> None:
    on_axis = noise.expose(SEED, 0, PLACE, visits)
    cameras = on_axis.cameras
    np.testing.assert_array_equal(cameras.code[cameras.of], visits.camera)
    for quarter in QUARTERS:
        there = on_axis.at(quarter)
        distance = np.hypot(*(noise.QUARTER * np.array(quarter) - cameras.centre).T)[cameras.of]
        lost = noise.VIGNETTING * (distance / noise.FIELD_RADIUS) ** 2
        np.testing.assert_allclose(there.limit, on_axis.limit - lost, rtol=0, atol=noise.LIMIT_STEP / 2)
        np.testing.assert_array_equal(there.limit % noise.LIMIT_STEP, 0)
        np.testing.assert_array_equal(there.shift, on_axis.shift)
    assert cameras.centre.std() > 0


@pytest.mark.parametrize("quarter", QUARTERS)
def test_quarters(quarter: tuple[int, int]) -> None:
    assert noise.quarter_of(0.3 * quarter[0], 2.0 * quarter[1]) == quarter


def test_exposures_belong_to_the_field_and_the_seed(visits: Visits) -> None:
    first, again, field, seed = (
        noise.expose(*who, PLACE, visits) for who in ((SEED, 0), (SEED, 0), (SEED, 1), (SEED + 1, 0))
    )
    for name in ("limit", "fwhm", "quality", "shift"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        for other in (field, seed):
            assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_a_field_without_visits_can_be_exposed(visits: Visits) -> None:
    nothing = noise.expose(SEED, 0, PLACE, visits.take(np.zeros(len(visits.time), dtype=bool))).at((1, 1))
    assert len(nothing.limit) == len(nothing.flux_err) == len(measured(14.0, nothing, 1)) == 0


def test_cloud_flags_exposures() -> None:
    clear, cloudy = (noise.expose(SEED, 0, PLACE, regular(4000, days=0.1, cloud=cloud)) for cloud in (0.0, 0.8))
    assert set(clear.quality) <= {0, 1}
    assert cloudy.quality.mean() > 0.5 > 2 * clear.quality.mean() > 0


def test_focus_belongs_to_the_camera_and_not_to_the_field() -> None:
    def widths(field: int, camera: str) -> np.ndarray:
        return noise.expose(SEED, field, PLACE, regular(6000, camera)).fwhm

    def months(width: np.ndarray) -> np.ndarray:
        return np.median(width.reshape(-1, 30), axis=1)

    here, there, other = widths(1, "bi"), widths(2, "bi"), widths(1, "bm")
    assert not np.array_equal(here, there)
    assert np.corrcoef(months(here), months(there))[0, 1] > 0.7
    # there are a hundred changes of focus
    assert abs(np.corrcoef(months(here), months(other))[0, 1]) < 0.5
    np.testing.assert_array_equal(here % noise.WIDTH_STEP, 0)


# ---------------------------------------------------------------------------------------------------------------------
# A star's scatter


def test_dithers_of_a_visit_share_the_error_of_calibration() -> None:
    exposures = noise.expose(SEED, 0, PLACE, regular(300, rows=3), coadded=False).at((1, 1))
    assert np.all(np.ptp(exposures.shift.reshape(300, 3), axis=1) == 0)
    within, between = [], []
    for star in range(20):
        rows = residual(BRIGHT, exposures, star).reshape(300, 3)
        within.append(spread(rows - rows.mean(axis=1, keepdims=True)) * np.sqrt(3 / 2))
        between.append(spread(rows.mean(axis=1)))
    assert 0 < np.median(within) < 0.6 * np.median(between)


def test_stars_of_a_field_share_a_part_of_it(exposures: Exposures) -> None:
    """The median over many stars is the common shift, on which each star's own errors leave what they average to."""
    common = np.median([residual(BRIGHT, exposures, star) for star in range(80)], axis=0)
    shift = exposures.shift
    slope, offset = np.polyfit(shift, common, 1)
    error = np.std(common - slope * shift - offset) / (np.std(shift) * np.sqrt(len(shift)))
    assert error < 0.1
    assert slope == pytest.approx(1.0, abs=5 * error + 0.02)


def test_scatter_over_error_falls_to_about_one_for_faint_stars(exposures: Exposures) -> None:
    ratios = []
    for mag in (12.5, 14.0, 15.5, 18.5):
        flux = noise.limit_flux(np.asarray(mag))
        own = [spread((measured(mag, exposures, star) - flux) / exposures.flux_err) for star in range(40)]
        ratios.append(np.median(own))
    assert np.all(np.diff(ratios) < 0)
    assert ratios[0] > 3 and 0.9 < ratios[-1] < 1.5


def camera_medians(mag: float, exposures: Exposures, star: int) -> np.ndarray:
    """The residual's median in each camera."""
    values, cameras = residual(mag, exposures, star), exposures.cameras
    return np.array([np.median(values[cameras.of == i]) for i in range(len(cameras.code))])


@pytest.fixture(scope="module")
def two_cameras() -> Exposures:
    """Two cameras that expose within a minute of each other, every third night."""
    return noise.expose(
        SEED, 0, PLACE, joined(regular(500, "bi", days=3.0), replace(regular(500, "bm", days=3.0), time=SOON))
    ).at((1, 1))


SOON = regular(500, days=3.0).time + 0.0005


def test_cameras_differ_for_good(two_cameras: Exposures) -> None:
    early = two_cameras.visits.time < np.median(two_cameras.visits.time)
    halves: list[list[float]] = [[], []]
    for star in range(60):
        values = residual(BRIGHT, two_cameras, star)
        for differences, half in zip(halves, (early, ~early), strict=True):
            first, second = (np.median(values[half & (two_cameras.cameras.of == i)]) for i in (0, 1))
            differences.append(first - second)
    assert np.corrcoef(halves)[0, 1] > 0.5
    assert 0.005 < np.std(halves[0]) < 0.1


def test_cameras_of_a_night_share_a_part_of_a_stars_errors(two_cameras: Exposures) -> None:
    """From one night to the next but two, when all that is slow has gone: what is left in common is of the night."""
    first, second = (two_cameras.cameras.of == i for i in (0, 1))
    pairs = []
    for star in range(20):
        values = residual(BRIGHT, two_cameras, star) - two_cameras.shift
        pairs.append([np.clip(np.diff(values[camera]), -0.1, 0.1) for camera in (first, second)])
    steps = np.concatenate(pairs, axis=1)
    together = np.corrcoef(steps)[0, 1]
    assert together > 5 / np.sqrt(steps.shape[1])
    # and not of another night
    assert abs(np.corrcoef(steps[0][:-2], steps[1][2:])[0, 1]) < 5 / np.sqrt(steps.shape[1])


def test_stars_that_saturate_scatter_and_are_offset_more(exposures: Exposures) -> None:
    saturated, bright = SATURATION - 1.7, BRIGHT
    scatter, offset = [], []
    for mag in (saturated, bright):
        stars = range(30)
        medians = [camera_medians(mag, exposures, star) for star in stars]
        offset.append(np.median([np.std(values) for values in medians]))
        within = [residual(mag, exposures, s) - m[exposures.cameras.of] for s, m in zip(stars, medians, strict=True)]
        scatter.append(np.median([spread(values) for values in within]))
    assert scatter[0] > 1.5 * scatter[1]
    assert offset[0] > 2 * offset[1]


def test_failed_exposures_hold_noise_alone(exposures: Exposures) -> None:
    stars, flux = 150, noise.limit_flux(np.asarray(BRIGHT))
    failed = np.concatenate([measured(BRIGHT, exposures, star) < 0.1 * flux for star in range(stars)])
    expected = noise.FAILED * len(failed)
    assert np.sum(failed) == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_a_star_depends_on_its_stream_alone(exposures: Exposures) -> None:
    np.testing.assert_array_equal(measured(14.0, exposures, 3), measured(14.0, exposures, 3))
    assert not np.array_equal(measured(14.0, exposures, 3), measured(14.0, exposures, 4))


def test_bad_exposures_are_mostly_too_faint(exposures: Exposures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "FAILED", 0.0)
    bad = {}
    for share in (0.0, 0.3):
        monkeypatch.setattr(noise, "BAD_SHARE", share)
        monkeypatch.setattr(noise, "BAD_SIZE", 1.0)
        errors = np.concatenate([residual(BRIGHT, exposures, star) for star in range(6)])
        bad[share] = errors[np.abs(errors) > 0.5]
    assert len(bad[0.0]) < 10 and len(bad[0.3]) > 500
    # all bad exposures are as large in both directions
    expected = noise.BAD_FAINT
    assert np.mean(bad[0.3] > 0) == pytest.approx(expected, abs=5 * np.sqrt(0.25 / len(bad[0.3])))
