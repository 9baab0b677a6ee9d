"""When a field of the simulated survey is exposed: night, season, Moon, weather, and the camera whose turn it is.

Four sites on three continents carry five mounts of four cameras each, as ASAS-SN's do. A field belongs to one camera
of every mount that can see it, and some fields lie where two pointings overlap. The times then follow from the sky: a
mount exposes the field on some of the clear nights on which it stands high enough in the dark. Season, day, sidereal
and lunar patterns are therefore in the times for the reason for which they are in real ones. Two of the mounts worked
in the V band until autumn 2018 and went on in g, with other camera codes; the others have always worked in g.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from . import ephemeris
from .ephemeris import Array, Direction
from .streams import stream

#: The Sun is lower than this in the dark, and a field is observed above this altitude and within this hour angle.
TWILIGHT = np.radians(-12.0)
LOWEST = np.radians(28.0)
HOUR_ANGLE = np.radians(15.0 * 5.1)
MOON_DISTANCE = np.radians(43.0)
#: A field that is up for fewer hours than this in a night is visited less often.
ENOUGH_HOURS = 2.0
#: On this share of nights a camera visits the field when its mount's plan says, and on this share because it says so.
AT_PLANNED_TIME, AS_PLANNED = 0.8, 0.35
#: Planned times are kept to this part of the hours in which the field is up.
PUNCTUAL = 0.06
#: On this share of nights a camera's turns are evenly spaced, else random.
REGULAR = 0.75
#: Visits crowd towards the field's culmination, with this power of the altitude's sine.
CULMINATION = 3.0
#: Within this time [d] of a visit with the same pointing, this share of visits is left out.
RECENT = 0.6
LEFT_OUT = 0.65
#: All of a site's mounts stood still [MJD]: the spring of 2020. A field is taken up again some days after the end.
CLOSURES = {"CTIO": (58931.0, 58973.0), "SAAO": (58933.0, 58974.0), "McDonald": (58933.0, 58952.0)}
TAKEN_UP_DAYS = 3.0
#: Outages of a mount: a year has so many, and they last so long [d], exponentially.
OUTAGES_PER_YEAR, OUTAGE_DAYS = 0.8, 22.0
#: Times considered in a night: every half hour, within seven hours of midnight.
HOURS = np.arange(-7.0, 7.01, 0.5)
#: Sky under a full Moon at 90 degrees from the field, in units of the dark sky: 0.9 mag deeper exposures without it.
FULL_MOON = 4.0
OVERLAP = 0.48
#: A field that more mounts than this can reach gets fewer visits from each.
ENOUGH_MOUNTS = 3
SECOND_VISIT = 0.012
#: A visit is three dithers this far apart [d], which are co-added; now and then they make two rows.
DITHER = 0.00125
SPLIT_VISIT = 0.02
#: Before any mount's first night [MJD].
FIRST_NIGHT = 56000.0
#: A mount favours a field for so many days [d, exponential], then another: its chance varies by this factor both ways.
FAVOUR_DAYS, FAVOUR = 9.0, 2.2
#: From here on mounts visit a field less and less often [MJD].
FULL_RATE_UNTIL = 58484.5


class Site(NamedTuple):
    """A place on Earth [deg], the share of its nights that are open, and the lowest culmination of its fields [deg]."""

    name: str
    longitude: float
    latitude: float
    open_fraction: float
    lowest_culmination: float


class Mount(NamedTuple):
    """Four cameras on a mount, in one band between two MJD.

    Its chance to visit a field on an open night, and by how much of itself that falls in a year; its images' width
    [pixel], how much deeper they are than others' [mag], and the share of rows that it flags beyond those of clouds.
    """

    site: Site
    cameras: tuple[str, str, str, str]
    band: str
    first_night: float
    last_night: float
    visit: float
    decline: float
    fwhm: float
    depth: float
    flagged: float


HALEAKALA = Site("Haleakala", -156.26, 20.71, 0.72, 43.0)
MCDONALD = Site("McDonald", -104.02, 30.68, 0.60, 29.0)
CTIO = Site("CTIO", -70.80, -30.17, 0.76, 40.0)
SAAO = Site("SAAO", 20.81, -32.38, 0.62, 40.0)
SITES = (HALEAKALA, MCDONALD, CTIO, SAAO)
EVER = np.inf
MOUNTS = (
    Mount(HALEAKALA, ("ba", "bb", "bc", "bd"), "V", 56200.0, 58451.0, 0.30, 0.0, 1.62, 0.10, 0.04),
    Mount(CTIO, ("be", "bf", "bg", "bh"), "V", 56770.0, 58386.0, 0.32, 0.0, 1.47, -0.10, 0.06),
    Mount(HALEAKALA, ("bA", "bB", "bC", "bD"), "g", 58452.0, EVER, 0.62, 0.10, 1.98, 0.26, 0.00),
    Mount(MCDONALD, ("bq", "br", "bs", "bt"), "g", 58010.0, EVER, 0.58, 0.10, 1.45, -0.03, 0.09),
    Mount(CTIO, ("bE", "bF", "bG", "bH"), "g", 58390.0, EVER, 0.58, 0.07, 1.44, -0.05, 0.00),
    Mount(CTIO, ("bi", "bj", "bk", "bl"), "g", 58010.0, EVER, 0.60, 0.04, 1.44, 0.00, 0.00),
    Mount(SAAO, ("bm", "bn", "bo", "bp"), "g", 58074.0, EVER, 0.44, 0.05, 1.48, 0.05, 0.03),
)


@dataclass(frozen=True)
class Nights:
    """What every field shares at one site: `k` nights of `j` times each.

    Attributes
    ----------
    time, sidereal : shape (k, j)
        MJD UTC [d], and local sidereal time [rad].
    dark : bool, shape (k, j)
    moon : Direction of shape (k, j)
    moon_sky : shape (k, j)
        The sky's brightness from the Moon at 90 degrees from it, in units of the dark sky.
    open : bool, shape (k,)
    cloud : shape (k,)
        Extinction above a clear night's [mag].
    """

    time: Array
    sidereal: Array
    dark: NDArray[np.bool_]
    moon: Direction
    moon_sky: Array
    open: NDArray[np.bool_]
    cloud: Array


class View(NamedTuple):
    """A field in the nights of a site: `k` nights of `j` times each.

    Attributes
    ----------
    nights : of the site
    sine_altitude, distance : of the field; its distance is from the Moon [rad], shape (k, j)
    weight : how much of a night's visits come up to each time, shape (k, j)
    long_enough : whether the field is up for long, from 0 to 1, shape (k,)
    """

    nights: Nights
    sine_altitude: Array
    distance: Array
    weight: Array
    long_enough: Array


@dataclass(frozen=True)
class Visits:
    """The exposures of a field in order of time, `m` of them.

    Attributes
    ----------
    time : mid-exposure [MJD UTC]
    camera : camera codes
    visit : exposures of one visit, minutes apart and under one sky, have the same number
    airmass, cloud : airmass, and extinction by cloud [mag]
    moon_sky : the sky's brightness from the Moon, in units of the dark sky
    """

    time: Array
    camera: NDArray[np.str_]
    visit: NDArray[np.int64]
    airmass: Array
    cloud: Array
    moon_sky: Array

    def take(self, points: NDArray) -> Self:
        """The exposures at these indices, or where this mask is true."""
        return type(self)(*(getattr(self, name)[points] for name in self.__dataclass_fields__))


def site_nights(seed: int, start: float, stop: float) -> dict[str, Nights]:
    """The nights of every site between two MJD: geometry, Moon and weather, the same for all fields."""
    return {site.name: _nights(seed, site, start, stop) for site in SITES}


def field_visits(seed: int, field: int, place: Direction, nights: dict[str, Nights], coadded: bool = True) -> Visits:
    """When the survey exposes the field at `place` [rad], and under which sky.

    Each mount points one of its cameras there, and with probability `OVERLAP` a second one; every camera that can see
    the field visits it on a random part of its open nights. The three dithers of a visit are one row where they are
    `coadded` (but for a few, which are two), and three rows else.
    """
    rng = stream(seed, "pointing", field)
    pointings = rng.permutation(4)[: 2 if rng.random() < OVERLAP else 1]
    mounts = {mount: _preference(mount.site, place) for mount in MOUNTS}
    serving = sum(preference > 0 for mount, preference in mounts.items() if mount.last_night == EVER)
    share = min(1.0, ENOUGH_MOUNTS / serving)
    sites = {mount.site for mount, preference in mounts.items() if preference}
    views = {site: _view(site, place, nights[site.name]) for site in sites}
    parts = []
    for pointing in pointings:
        cameras = [
            _camera_visits(seed, field, mount, pointing, share * preference, views[mount.site])
            for mount, preference in mounts.items()
            if preference
        ]
        parts.append(_without_recent(stream(seed, "schedule", field, int(pointing)), _joined(cameras)))
    joined = _joined(parts)
    rows = _dithered(stream(seed, "dithers", field), joined, coadded)
    return rows.take(np.argsort(rows.time, kind="stable"))


def _joined(parts: list[Visits]) -> Visits:
    """The visits of all cameras in order of time, numbered."""
    joined = Visits(*(np.concatenate([getattr(p, name) for p in parts]) for name in Visits.__dataclass_fields__))
    joined = joined.take(np.argsort(joined.time, kind="stable"))
    return replace(joined, visit=np.arange(len(joined.time)))


def _without_recent(rng: np.random.Generator, visits: Visits) -> Visits:
    """The survey's schedule: of two visits in one night, one is more often left for another."""
    second = np.flatnonzero(np.diff(visits.time) < RECENT) + 1
    second = second[rng.random(len(second)) < LEFT_OUT]
    return visits.take(np.delete(np.arange(len(visits.time)), second - rng.integers(0, 2, len(second))))


def _preference(site: Site, place: Direction) -> float:
    """The sine of the field's altitude when it culminates, with which a mount's visits go; zero where it is too low."""
    highest = np.pi / 2 - np.abs(place.dec - np.radians(site.latitude))
    return float(np.sin(highest)) if highest > np.radians(site.lowest_culmination) else 0.0


def _nights(seed: int, site: Site, start: float, stop: float) -> Nights:
    midnight = np.arange(np.floor(start), np.floor(stop), dtype=np.float64) + (-site.longitude / 360.0) % 1.0
    time = midnight[:, None] + HOURS / 24.0
    latitude = np.radians(site.latitude)
    sidereal = ephemeris.sidereal_time(time, np.radians(site.longitude))
    sun, moon = ephemeris.sun(time), ephemeris.moon(time)
    is_open, cloud = _weather(stream(seed, "weather", site.name), site, midnight)
    return Nights(
        time=time,
        sidereal=sidereal,
        dark=ephemeris.sine_altitude(sun, sidereal, latitude) < np.sin(TWILIGHT),
        moon=moon,
        moon_sky=_moon_sky(sun, moon, ephemeris.sine_altitude(moon, sidereal, latitude)),
        open=is_open,
        cloud=cloud,
    )


def _moon_sky(sun: Direction, moon: Direction, sine_altitude: Array) -> Array:
    """Moonlight against phase angle (Krisciunas & Schaefer 1991, eq. 20), fading in over its first 20 degrees."""
    phase_angle = 180.0 - np.degrees(ephemeris.separation(sun, moon))
    brightness = 10.0 ** (-0.4 * (0.026 * phase_angle + 4e-9 * phase_angle**4))
    return FULL_MOON * brightness * np.clip(sine_altitude / np.sin(np.radians(20.0)), 0.0, 1.0)


def _weather(rng: np.random.Generator, site: Site, midnight: Array) -> tuple[NDArray[np.bool_], Array]:
    """Open nights and cloud, from a first-order autoregression (memory of three nights) with a wet season.

    The site closes above the quantile that leaves `open_fraction`; below it, cloud grows towards closing.
    """
    memory = 0.7
    shocks = rng.standard_normal(len(midnight)) * np.sqrt(1 - memory**2)
    shocks[0] /= np.sqrt(1 - memory**2)
    badness: Array = lfilter([1.0], [1.0, -memory], shocks)
    badness += 0.4 * np.cos(2 * np.pi * (midnight - rng.uniform(0, 365.25)) / 365.25)
    threshold = np.quantile(badness, site.open_fraction)
    return badness < threshold, 0.36 * np.exp(1.6 * np.minimum(badness - threshold, 0.0))


def _standing_still(seed: int, mount: Mount, night: Array, later: float) -> NDArray[np.bool_]:
    """The nights on which a mount does not work: its own outages, and its site's closure and `later` [d]."""
    rng = stream(seed, "outages", mount.cameras[0])
    number = int(np.ceil(OUTAGES_PER_YEAR * max(night[-1] - FIRST_NIGHT, 0.0) / 365.25)) + 50
    start = FIRST_NIGHT + np.cumsum(rng.exponential(365.25 / OUTAGES_PER_YEAR, number))
    stop = start + rng.exponential(OUTAGE_DAYS, number)
    first, last = CLOSURES.get(mount.site.name, (np.inf, -np.inf))
    out = np.searchsorted(start, night) > np.searchsorted(np.sort(stop), night)
    return out | ((night >= first) & (night < last + later))


def _view(site: Site, place: Direction, nights: Nights) -> View:
    """How a field stands in the nights of a site, which all cameras there share."""
    sine_altitude = ephemeris.sine_altitude(place, nights.sidereal, np.radians(site.latitude))
    hour_angle = (nights.sidereal - place.ra + np.pi) % (2 * np.pi) - np.pi
    distance = ephemeris.separation(place, nights.moon)
    up = (sine_altitude > np.sin(LOWEST)) & (np.abs(hour_angle) < HOUR_ANGLE)
    seen = nights.dark & up & (distance > MOON_DISTANCE)
    weight = np.cumsum(np.where(seen, np.abs(sine_altitude) ** CULMINATION, 0.0), axis=1)
    hours = np.sum(seen, axis=1) * (HOURS[1] - HOURS[0])
    return View(nights, sine_altitude, distance, weight, np.minimum(hours / ENOUGH_HOURS, 1.0))


def _chance(rng: np.random.Generator, seed: int, mount: Mount, view: View) -> Array:
    """The chance of a visit in each night, without what other mounts do."""
    night = view.nights.time[:, 0]
    years = np.maximum(night - FULL_RATE_UNTIL, 0.0) / 365.25
    chance = mount.visit * np.exp(-mount.decline * years) * view.long_enough * _favour(rng, night)
    at_work = (night > mount.first_night) & (night < mount.last_night)
    idle = _standing_still(seed, mount, night, rng.exponential(TAKEN_UP_DAYS))
    return np.where(view.nights.open & at_work & ~idle & (view.weight[:, -1] > 0), chance, 0.0)


def _camera_visits(seed: int, field: int, mount: Mount, pointing: int, share: float, view: View) -> Visits:
    """One camera's exposures of the field, to the nearest 1e-5 d; a night draws its numbers whether used or not."""
    rng = stream(seed, "visits", field, mount.cameras[pointing])
    sky, weight = view.nights, view.weight
    chance = share * _chance(rng, seed, mount, view)
    plan = stream(seed, "plan", field, mount.cameras[0]).random((2, len(weight)))
    rows, columns = [], []
    for often in (1.0, SECOND_VISIT):
        turn, when = _turns(rng, len(weight)), rng.random(len(weight))
        if often == 1.0:
            turn = np.where(rng.random(len(weight)) < AS_PLANNED, plan[0], turn)
            about = np.clip(plan[1] + PUNCTUAL * rng.standard_normal(len(weight)), 0.0, 0.999)
            when = np.where(rng.random(len(weight)) < AT_PLANNED_TIME, about, when)
        visited = np.flatnonzero(turn < often * chance)
        rows.append(visited)
        columns.append(np.argmax(weight[visited] > (when * weight[:, -1])[visited, None], axis=1))
    row, column = np.concatenate(rows), np.concatenate(columns)

    step = (HOURS[1] - HOURS[0]) / 24.0
    time = sky.time[row, column] + step * rng.uniform(-0.5, 0.5, len(row))
    patchy = sky.cloud[row] * rng.lognormal(0.0, 0.5, len(row))
    moon_sky = sky.moon_sky[row, column] * _scattering(view.distance[row, column])
    return Visits(
        time=np.round(time, 5),
        camera=np.full(len(row), mount.cameras[pointing]),
        visit=np.zeros(len(row), dtype=np.int64),
        airmass=1.0 / view.sine_altitude[row, column],
        cloud=patchy,
        moon_sky=moon_sky,
    )


def _favour(rng: np.random.Generator, night: Array) -> Array:
    """How much a mount favours the field on each night: a factor that lasts for some nights, one on average."""
    blocks = int(np.ceil(2.0 * (night[-1] - night[0]) / FAVOUR_DAYS)) + 20
    ends = night[0] + np.cumsum(rng.exponential(FAVOUR_DAYS, blocks))
    factor = np.where(rng.random(blocks + 1) < 0.5, FAVOUR, 1.0 / FAVOUR)
    return factor[np.searchsorted(ends, night)] * 2.0 / (FAVOUR + 1.0 / FAVOUR)


def _turns(rng: np.random.Generator, nights: int) -> Array:
    """A number in [0, 1) for each night; many in a row are spread evenly, as multiples of the golden ratio are."""
    even = (rng.random() + np.arange(nights) * (np.sqrt(5.0) - 1.0) / 2.0) % 1.0
    return np.where(rng.random(nights) < REGULAR, even, rng.random(nights))


def _scattering(distance: Array) -> Array:
    """Moonlight against its distance from the field, one at 90 degrees (Krisciunas & Schaefer 1991, eqs 16 to 19)."""
    degrees = np.degrees(distance)
    return (10**5.36 * (1.06 + np.cos(distance) ** 2) + 10 ** (6.15 - degrees / 40.0)) / 250775.0


def _dithered(rng: np.random.Generator, visits: Visits, coadded: bool) -> Visits:
    """The rows that the three dithers of each visit make."""
    number = np.arange(len(visits.time))
    split = rng.random(len(number)) < SPLIT_VISIT
    rows = np.concatenate([number, number[split]] if coadded else [number, number, number])
    steps = [np.zeros(len(number)), np.ones(split.sum())] if coadded else [np.full(len(number), k) for k in (-1, 0, 1)]
    dithered = visits.take(rows)
    return replace(dithered, time=np.round(dithered.time + DITHER * np.concatenate(steps), 5))
