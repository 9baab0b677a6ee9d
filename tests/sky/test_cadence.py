"""When fields are exposed: the sky's own rules and the mounts' hold, and fields share their nights."""

from itertools import combinations

import numpy as np
import pytest

from varistar.sky import cadence, ephemeris
from varistar.sky.cadence import (
    CLOSURES,
    DITHER,
    HOUR_ANGLE,
    HOURS,
    LOWEST,
    MOON_DISTANCE,
    MOUNTS,
    OVERLAP,
    RECENT,
    SITES,
    SPLIT_VISIT,
    TWILIGHT,
    Mount,
    Nights,
    Visits,
    field_visits,
    site_nights,
)
from varistar.sky.ephemeris import Direction

SEED, START, STOP = 7, 58000.0, 59600.0
MOUNT_OF = {camera: mount for mount in MOUNTS for camera in mount.cameras}
#: Exposures lie within this [d] of the time at which darkness and altitude were asked, and the sky turns by so much.
NEAR = (HOURS[1] - HOURS[0]) / 24 + DITHER
TURN = 2 * np.pi * 1.003 * NEAR
#: A night's last exposure comes so long after its first hour [d], by which nights are told apart.
NIGHT = (HOURS[-1] - HOURS[0]) / 24 + NEAR


@pytest.fixture(scope="module")
def nights() -> dict[str, Nights]:
    return site_nights(SEED, START, STOP)


def place(ra_deg: float, dec_deg: float) -> Direction:
    return Direction(np.asarray(np.radians(ra_deg)), np.asarray(np.radians(dec_deg)))


PLACES = [(30.0, -65.0), (200.0, -25.0), (120.0, 5.0), (330.0, 50.0)]


@pytest.fixture(scope="module", params=PLACES)
def seen(request, nights) -> tuple[Direction, Visits]:  # type: ignore[no-untyped-def]
    where = place(*request.param)
    return where, field_visits(SEED, 3, where, nights)


@pytest.fixture(scope="module")
def many(nights) -> list[Visits]:  # type: ignore[no-untyped-def]
    """The visits of forty fields."""
    return [field_visits(SEED, field, place(9.0 * field, 3.0 * field - 70.0), nights) for field in range(40)]


def of_mount(visits: Visits, mount: Mount) -> np.ndarray:
    """When a mount exposed the field."""
    return visits.time[np.isin(visits.camera, mount.cameras)]


def night_of(time: np.ndarray, nights: Nights) -> np.ndarray:
    """The night of each exposure at a site."""
    return np.searchsorted(nights.time[:, 0] - NEAR, time, side="right") - 1


# ---------------------------------------------------------------------------------------------------------------------
# The sky


def test_visits_ascend_in_the_span_to_the_second(seen) -> None:  # type: ignore[no-untyped-def]
    visits = seen[1]
    assert len(visits.time) > 100
    assert np.all(np.diff(visits.time) >= 0)
    assert visits.time[0] >= START - NIGHT and visits.time[-1] < STOP + 1
    np.testing.assert_array_equal(visits.time, np.round(visits.time, 5))


def test_every_visit_is_at_night_and_the_field_is_up(seen) -> None:  # type: ignore[no-untyped-def]
    where, visits = seen
    for site in SITES:
        here = np.array([MOUNT_OF[camera].site is site for camera in visits.camera])
        sidereal = ephemeris.sidereal_time(visits.time[here], np.radians(site.longitude))
        latitude = np.radians(site.latitude)
        sun = np.arcsin(ephemeris.sine_altitude(ephemeris.sun(visits.time[here]), sidereal, latitude))
        altitude = np.arcsin(ephemeris.sine_altitude(where, sidereal, latitude))
        hour_angle = (sidereal - where.ra + np.pi) % (2 * np.pi) - np.pi
        assert np.all(sun < TWILIGHT + TURN)
        assert np.all(altitude > LOWEST - TURN)
        assert np.all(np.abs(hour_angle) < HOUR_ANGLE + TURN)
        assert np.all(np.abs(np.arcsin(1 / visits.airmass[here]) - altitude) < TURN)


def test_the_moon_is_kept_at_a_distance_and_brightens_the_sky(seen) -> None:  # type: ignore[no-untyped-def]
    where, visits = seen
    moon, sun = ephemeris.moon(visits.time), ephemeris.sun(visits.time)
    # the Moon goes 16 degrees a day at most
    assert ephemeris.separation(where, moon).min() > MOON_DISTANCE - np.radians(16.0 * NEAR)
    phase = ephemeris.separation(moon, sun)
    assert visits.moon_sky.min() >= 0
    assert np.median(visits.moon_sky[phase > np.radians(150)]) > 20 * np.median(visits.moon_sky[phase < np.radians(60)])


def test_moonlight_scatters_most_near_the_moon() -> None:
    """Krisciunas & Schaefer (1991), eqs 16 to 19, in units of what they give at 90 degrees."""
    scattered = cadence._scattering(np.radians(np.array([20.0, 40.0, 60.0, 90.0])))
    assert np.all(np.diff(scattered) < 0) and scattered[-1] == pytest.approx(1.0, abs=1e-5)


def test_the_sun_makes_the_season(nights) -> None:  # type: ignore[no-untyped-def]
    where = place(90.0, 23.0)
    visits = field_visits(SEED, 5, where, nights)
    assert np.degrees(ephemeris.separation(where, ephemeris.sun(visits.time))).min() > 40.0
    gaps = np.diff(visits.time)
    assert 60.0 < gaps.max() < 150.0


@pytest.mark.parametrize(
    ("dec_deg", "northern", "southern"), [(-75.0, False, True), (60.0, True, False), (0.0, True, True)]
)
def test_sites_see_their_part_of_the_sky(nights, dec_deg, northern, southern) -> None:  # type: ignore[no-untyped-def]
    visits = field_visits(SEED, 9, place(150.0, dec_deg), nights)
    latitudes = [MOUNT_OF[camera].site.latitude for camera in set(visits.camera)]
    assert (max(latitudes) > 0) is northern and (min(latitudes) < 0) is southern


@pytest.mark.parametrize("dec_deg", [-78.0, 70.0])
def test_the_ends_of_the_sky_are_seen(nights, dec_deg) -> None:  # type: ignore[no-untyped-def]
    assert len(field_visits(SEED, 9, place(150.0, dec_deg), nights).time) > 100


# ---------------------------------------------------------------------------------------------------------------------
# Sites and mounts


def test_sites_are_open_as_often_as_they_say_and_clouds_come_before_closing(nights) -> None:  # type: ignore[no-untyped-def]
    for site in SITES:
        sky = nights[site.name]
        assert sky.open.mean() == pytest.approx(site.open_fraction, abs=1.5 / len(sky.open))
        assert sky.cloud.min() > 0 and sky.cloud[sky.open].max() <= sky.cloud[~sky.open].min()
    together = np.corrcoef([nights[site.name].open for site in SITES])
    assert np.abs(together - np.eye(len(SITES))).max() < 0.3, "sites have weather of their own"


def test_nobody_works_on_closed_nights(many, nights) -> None:  # type: ignore[no-untyped-def]
    for mount in MOUNTS:
        sky = nights[mount.site.name]
        time = np.concatenate([of_mount(visits, mount) for visits in many])
        assert len(time) > 100
        assert np.all(sky.open[night_of(time, sky)])


def test_mounts_have_cameras_of_their_own() -> None:
    assert len(MOUNT_OF) == 4 * len(MOUNTS)
    assert all(camera.isascii() for camera in MOUNT_OF)


def test_mounts_work_between_their_first_and_last_night(many) -> None:  # type: ignore[no-untyped-def]
    for mount in MOUNTS:
        time = np.concatenate([of_mount(visits, mount) for visits in many])
        assert time.min() > mount.first_night
        assert time.max() < mount.last_night + NIGHT


def test_a_mount_in_v_goes_on_in_g(many) -> None:  # type: ignore[no-untyped-def]
    changed = [mount for mount in MOUNTS if mount.band == "V"]
    assert len(changed) == 2
    for before in changed:
        (after,) = (
            mount
            for mount in MOUNTS
            if mount.site is before.site and mount.band == "g" and 0 < mount.first_night - before.last_night < 10
        )
        assert not set(before.cameras) & set(after.cameras)
        last = max(of_mount(visits, before).max(initial=0.0) for visits in many)
        first = min(of_mount(visits, after).min(initial=np.inf) for visits in many)
        assert last < first


def test_closures_stop_all_of_a_site(many) -> None:  # type: ignore[no-untyped-def]
    for site, (first, last) in CLOSURES.items():
        time = np.concatenate([of_mount(v, mount) for v in many for mount in MOUNTS if mount.site.name == site])
        assert START < first < last < STOP
        assert not np.any((time > first + NIGHT) & (time < last))
        assert np.any(time > last)


def idle_share(visits: list[Visits], nights: dict[str, Nights]) -> float:
    """Of the open nights on which a mount could work, those on which it exposed none of many fields."""
    idle = []
    for mount in MOUNTS:
        sky = nights[mount.site.name]
        first, last = CLOSURES.get(mount.site.name, (np.inf, -np.inf))
        night = sky.time[:, 0]
        working = (night > mount.first_night) & (night < mount.last_night) & sky.open
        working &= (night < first - 1) | (night > last + 30)
        worked = np.zeros(len(night), dtype=bool)
        worked[night_of(np.concatenate([of_mount(v, mount) for v in visits]), sky)] = True
        idle.append(~worked[working])
    return float(np.mean(np.concatenate(idle)))


def test_outages_stop_a_mount_in_every_field_as_often_as_they_say(nights, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Outages begin at random: a mount is in none of them on exp(-rate x duration) of the nights."""
    monkeypatch.setattr(cadence, "OUTAGE_DAYS", 6.0)
    idle = []
    for rate in (1e-9, 8.0):
        monkeypatch.setattr(cadence, "OUTAGES_PER_YEAR", rate)
        visits = [field_visits(SEED, field, place(11.0 * field, 4.0 * field - 70.0), nights) for field in range(32)]
        idle.append(idle_share(visits, nights))
    number = 8.0 * sum(min(mount.last_night, STOP) - max(mount.first_night, START) for mount in MOUNTS) / 365.25
    out = (idle[1] - idle[0]) / (1 - idle[0])
    # a sum of so many exponential times scatters by sqrt(2 / number)
    assert idle[0] < 0.1
    assert out == pytest.approx(1 - np.exp(-8.0 * 6.0 / 365.25), rel=5 * np.sqrt(2 / number))


def test_times_before_the_survey_have_no_visits() -> None:
    early = site_nights(SEED, 10000.0, 10100.0)
    visits = field_visits(SEED, 3, place(*PLACES[0]), early)
    assert all(len(getattr(visits, name)) == 0 for name in Visits.__dataclass_fields__)


# ---------------------------------------------------------------------------------------------------------------------
# Pointings


def pointings(visits: Visits) -> set[int]:
    """Which of its four cameras each mount points at the field."""
    return {MOUNT_OF[camera].cameras.index(camera) for camera in set(visits.camera)}


def test_a_field_is_in_one_pointing_or_where_two_overlap(many) -> None:  # type: ignore[no-untyped-def]
    numbers = np.array([len(pointings(visits)) for visits in many])
    assert set(numbers) == {1, 2}
    assert np.mean(numbers == 2) == pytest.approx(OVERLAP, abs=5 * np.sqrt(OVERLAP * (1 - OVERLAP) / len(many)))
    assert set.union(*map(pointings, many)) == {0, 1, 2, 3}


def test_of_two_visits_in_a_night_one_is_left_for_another(nights, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    where = place(*PLACES[1])
    monkeypatch.setattr(cadence, "OVERLAP", 0.0)
    times = []
    for left_out in (0.0, cadence.LEFT_OUT, 1.0):
        monkeypatch.setattr(cadence, "LEFT_OUT", left_out)
        visits = field_visits(SEED, 4, where, nights)
        first_rows = visits.take(np.unique(visits.visit, return_index=True)[1])
        assert len(pointings(visits)) == 1
        times.append(first_rows.time)
    every, some, fewest = times
    assert len(every) > len(some) > len(fewest)
    assert set(fewest) < set(every) > set(some)
    steps = np.diff(every, prepend=-np.inf, append=np.inf)
    alone = every[(steps[:-1] > RECENT) & (steps[1:] > RECENT)]
    assert 0 < len(alone) < len(every) and set(alone) <= set(fewest) & set(some)
    assert np.mean(np.diff(fewest) < RECENT) < 0.3 * np.mean(np.diff(every) < RECENT)


# ---------------------------------------------------------------------------------------------------------------------
# Dithers


def groups(visits: Visits) -> list[Visits]:
    """The rows of each visit."""
    return [visits.take(visits.visit == number) for number in np.unique(visits.visit)]


def shares_its_sky(rows: Visits) -> bool:
    return all(len(set(getattr(rows, name))) == 1 for name in ("camera", "airmass", "cloud", "moon_sky"))


def test_some_visits_make_two_rows(many) -> None:  # type: ignore[no-untyped-def]
    visits = [rows for field in many for rows in groups(field)]
    number = np.array([len(rows.time) for rows in visits])
    assert set(number) == {1, 2}
    share = np.mean(number == 2)
    assert share == pytest.approx(SPLIT_VISIT, abs=5 * np.sqrt(SPLIT_VISIT / len(visits)))
    for rows in (rows for rows in visits if len(rows.time) == 2):
        assert shares_its_sky(rows)
        assert np.diff(rows.time) == pytest.approx(DITHER, abs=1.1e-5)


def test_visits_that_are_not_coadded_are_three_rows_108_seconds_apart(seen, nights) -> None:  # type: ignore[no-untyped-def]
    where, coadded = seen
    dithers = field_visits(SEED, 3, where, nights, coadded=False)
    first = np.unique(coadded.visit, return_index=True)[1]
    assert len(dithers.time) == 3 * len(first)
    assert abs(DITHER * 86400 - 108) < 1e-6
    for rows, number in zip(groups(dithers), first, strict=True):
        assert len(rows.time) == 3 and shares_its_sky(rows)
        np.testing.assert_allclose(rows.time - coadded.time[number], [-DITHER, 0, DITHER], rtol=0, atol=1.1e-5)
        for name in ("camera", "visit", "airmass", "cloud", "moon_sky"):
            assert getattr(rows, name)[1] == getattr(coadded, name)[number]


# ---------------------------------------------------------------------------------------------------------------------
# Streams


def test_a_field_does_not_depend_on_others(nights) -> None:  # type: ignore[no-untyped-def]
    where = place(10.0, -10.0)
    first = field_visits(SEED, 1, where, nights)
    other = field_visits(SEED, 2, where, nights)
    again = field_visits(SEED, 1, where, site_nights(SEED, START, STOP))
    for name in Visits.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.isin(first.time, other.time).all()


def test_another_seed_has_other_weather(nights) -> None:  # type: ignore[no-untyped-def]
    other = site_nights(SEED + 1, START, STOP)
    for site in SITES:
        np.testing.assert_array_equal(other[site.name].time, nights[site.name].time)
        agree = np.mean(other[site.name].open == nights[site.name].open)
        assert agree < 0.8
    for a, b in combinations(SITES, 2):
        assert not np.array_equal(nights[a.name].cloud, nights[b.name].cloud)
