"""When fields are exposed: the sky's own rules hold, and fields share their nights."""

import numpy as np
import pytest

from varistar.sky import ephemeris
from varistar.sky.cadence import (
    LOWEST,
    MOUNTS,
    SITES,
    SPLIT_DELAY,
    SPLIT_VISIT,
    Nights,
    Visits,
    field_visits,
    site_nights,
)
from varistar.sky.ephemeris import Direction

START, STOP = 58484.0, 59300.0
SITE_OF = {camera: mount.site for mount in MOUNTS for camera in mount.cameras}
#: Exposures lie within a quarter of an hour of the time at which darkness and altitude were asked.
JITTER = np.radians(15.0 * 0.25)


@pytest.fixture(scope="module")
def nights() -> dict[str, Nights]:
    return site_nights(7, START, STOP)


def place(ra_deg: float, dec_deg: float) -> Direction:
    return Direction(np.asarray(np.radians(ra_deg)), np.asarray(np.radians(dec_deg)))


@pytest.fixture(scope="module", params=[(30.0, -65.0), (200.0, -25.0), (120.0, 5.0), (330.0, 50.0)])
def seen(request, nights) -> tuple[Direction, Visits]:  # type: ignore[no-untyped-def]
    where = place(*request.param)
    return where, field_visits(7, 3, where, nights)


def test_visits_ascend_and_fill_the_span(seen, nights) -> None:  # type: ignore[no-untyped-def]
    visits = seen[1]
    assert np.all(np.diff(visits.time) >= 0)
    assert visits.time[0] >= START and visits.time[-1] < STOP + 1
    assert 150 < len(visits.time) < 1000


def test_every_visit_is_at_night_and_the_field_is_up(seen) -> None:  # type: ignore[no-untyped-def]
    where, visits = seen
    for site in SITES:
        here = np.array([SITE_OF[camera] is site for camera in visits.camera])
        sidereal = ephemeris.sidereal_time(visits.time[here], np.radians(site.longitude))
        latitude = np.radians(site.latitude)
        sun = np.arcsin(ephemeris.sine_altitude(ephemeris.sun(visits.time[here]), sidereal, latitude))
        star = np.arcsin(ephemeris.sine_altitude(where, sidereal, latitude))
        assert np.all(sun < np.radians(-12.0) + JITTER)
        assert np.all(star > LOWEST - JITTER)
        assert np.all(visits.airmass[here] >= 1.0)


def test_a_camera_does_not_expose_on_closed_nights(seen, nights) -> None:  # type: ignore[no-untyped-def]
    visits = seen[1]
    for site in SITES:
        here = visits.time[np.array([SITE_OF[camera] is site for camera in visits.camera])]
        middle = nights[site.name].time.mean(axis=1)
        night = np.abs(here[:, None] - middle).argmin(axis=1)
        assert np.all(nights[site.name].open[night])


def test_sites_are_open_as_often_as_they_say(nights) -> None:  # type: ignore[no-untyped-def]
    for site in SITES:
        assert nights[site.name].open.mean() == pytest.approx(site.open_fraction, abs=0.01)


def test_the_sun_makes_the_season(nights) -> None:  # type: ignore[no-untyped-def]
    where = place(90.0, 23.0)
    visits = field_visits(7, 5, where, nights)
    assert np.degrees(ephemeris.separation(where, ephemeris.sun(visits.time))).min() > 40.0
    gaps = np.diff(visits.time)
    assert 60.0 < gaps.max() < 150.0


@pytest.mark.parametrize(
    ("dec_deg", "northern", "southern"), [(-75.0, False, True), (60.0, True, False), (0.0, True, True)]
)
def test_sites_see_their_part_of_the_sky(nights, dec_deg, northern, southern) -> None:  # type: ignore[no-untyped-def]
    cameras = set(field_visits(7, 9, place(150.0, dec_deg), nights).camera)
    latitudes = [SITE_OF[camera].latitude for camera in cameras]
    assert (max(latitudes) > 0) is northern and (min(latitudes) < 0) is southern
    assert 2 <= len(cameras) <= 10


def test_the_moon_is_kept_at_a_distance_and_brightens_the_sky(seen) -> None:  # type: ignore[no-untyped-def]
    where, visits = seen
    moon, sun = ephemeris.moon(visits.time), ephemeris.sun(visits.time)
    assert np.degrees(ephemeris.separation(where, moon)).min() > 19.0
    phase = ephemeris.separation(moon, sun)
    assert np.median(visits.moon_sky[phase > np.radians(150)]) > 20 * np.median(visits.moon_sky[phase < np.radians(60)])


def test_some_visits_are_split_in_two(nights) -> None:  # type: ignore[no-untyped-def]
    pairs = points = 0
    for field in range(12):
        visits = field_visits(7, field, place(30.0 * field, -30.0), nights)
        for camera in set(visits.camera):
            steps = np.diff(visits.time[visits.camera == camera])
            pairs += np.isclose(steps, SPLIT_DELAY, atol=2e-5).sum()
        points += len(visits.time)
    assert pairs / points == pytest.approx(SPLIT_VISIT, abs=5 * np.sqrt(SPLIT_VISIT / points))


def test_a_field_does_not_depend_on_others(nights) -> None:  # type: ignore[no-untyped-def]
    where = place(10.0, -10.0)
    first = field_visits(7, 1, where, nights)
    field_visits(7, 2, where, nights)
    again = field_visits(7, 1, where, site_nights(7, START, STOP))
    np.testing.assert_array_equal(first.time, again.time)
    np.testing.assert_array_equal(first.camera, again.camera)
    assert not np.isin(first.time, field_visits(7, 2, where, nights).time).all()
