"""When a field of the simulated survey is exposed: night, season, Moon, weather, and the camera whose turn it is.

Four sites on three continents carry five mounts of four cameras each, as ASAS-SN's do. A field belongs to one camera
of every mount that can see it, and some fields lie where two pointings overlap. The times then follow from the sky: a
mount exposes the field on some of the clear nights on which it stands high enough in the dark. Season, day, sidereal
and lunar patterns are therefore in the times for the reason for which they are in real ones.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from . import ephemeris
from .ephemeris import Array, Direction
from .streams import stream

#: The Sun is lower than this in the dark, and a field is observed above this altitude and within this hour angle.
TWILIGHT = np.radians(-12.0)
LOWEST = np.radians(29.0)
HOUR_ANGLE = np.radians(15.0 * 4.6)
MOON_DISTANCE = np.radians(20.0)
#: Times considered in a night: every half hour, within seven hours of midnight.
HOURS = np.arange(-7.0, 7.01, 0.5)
#: Sky under a full Moon at 90 degrees from the field, in units of the dark sky: 1.2 mag deeper exposures without it.
FULL_MOON = 4.0
OVERLAP = 0.35
#: A field that more mounts than this can reach gets fewer visits from each.
ENOUGH_MOUNTS = 3
#: A mount takes a field that culminates this much above its lowest altitude.
HEADROOM = np.radians(8.0)
SECOND_VISIT = 0.06
SPLIT_VISIT = 0.022
SPLIT_DELAY = 0.00125


class Site(NamedTuple):
    """A place on Earth: degrees, and the share of its nights that are open."""

    name: str
    longitude: float
    latitude: float
    open_fraction: float


class Mount(NamedTuple):
    """Four cameras on a mount; its chance to visit a field on an open night, first night, and own share of flags."""

    site: Site
    cameras: tuple[str, str, str, str]
    visit: float
    first_night: float
    flagged: float


HALEAKALA = Site("Haleakala", -156.26, 20.71, 0.72)
MCDONALD = Site("McDonald", -104.02, 30.68, 0.60)
CTIO = Site("CTIO", -70.80, -30.17, 0.76)
SAAO = Site("SAAO", 20.81, -32.38, 0.62)
SITES = (HALEAKALA, MCDONALD, CTIO, SAAO)
MOUNTS = (
    Mount(HALEAKALA, ("bA", "bB", "bC", "bD"), 0.29, 0.0, 0.00),
    Mount(MCDONALD, ("bq", "br", "bs", "bt"), 0.28, 0.0, 0.10),
    Mount(CTIO, ("bE", "bF", "bG", "bH"), 0.27, 0.0, 0.00),
    Mount(CTIO, ("bi", "bj", "bk", "bl"), 0.28, 0.0, 0.00),
    Mount(SAAO, ("bm", "bn", "bo", "bp"), 0.27, 58568.0, 0.03),
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


@dataclass(frozen=True)
class Visits:
    """The exposures of a field in order of time, `m` of them.

    Attributes
    ----------
    time : mid-exposure [MJD UTC]
    camera : camera codes
    airmass, cloud : airmass, and extinction by cloud [mag]
    moon_sky : the sky's brightness from the Moon, in units of the dark sky
    flagged : the mount's own share of flagged rows
    """

    time: Array
    camera: NDArray[np.str_]
    airmass: Array
    cloud: Array
    moon_sky: Array
    flagged: Array

    def take(self, points: NDArray) -> Self:
        """The exposures at these indices, or where this mask is true."""
        return type(self)(*(getattr(self, name)[points] for name in self.__dataclass_fields__))


def site_nights(seed: int, start: float, stop: float) -> dict[str, Nights]:
    """The nights of every site between two MJD: geometry, Moon and weather, the same for all fields."""
    return {site.name: _nights(seed, site, start, stop) for site in SITES}


def field_visits(seed: int, field: int, place: Direction, nights: dict[str, Nights]) -> Visits:
    """When the survey exposes the field at `place` [rad], and under which sky.

    Each mount points one of its cameras there, and with probability `OVERLAP` a second one; every camera that can see
    the field visits it on a random part of its open nights.
    """
    rng = stream(seed, "pointing", field)
    pointings = rng.permutation(4)[: 2 if rng.random() < OVERLAP else 1]
    mounts = [mount for mount in MOUNTS if _highest(mount.site, place) > LOWEST + HEADROOM]
    share = min(1.0, ENOUGH_MOUNTS / len(mounts))
    parts = [
        _camera_visits(stream(seed, "visits", field, mount.cameras[pointing]), mount, pointing, share, place, nights)
        for mount in mounts
        for pointing in pointings
    ]
    joined = Visits(*(np.concatenate([getattr(p, name) for p in parts]) for name in Visits.__dataclass_fields__))
    return joined.take(np.argsort(joined.time, kind="stable"))


def _highest(site: Site, place: Direction) -> float:
    """Altitude [rad] of the field when it culminates."""
    return float(np.pi / 2 - np.abs(place.dec - np.radians(site.latitude)))


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
    """Open nights and cloud, from a first-order autoregression (memory of two nights) with a wet season.

    The site closes above the quantile that leaves `open_fraction`; below it, cloud grows towards closing.
    """
    memory = 0.6
    shocks = rng.standard_normal(len(midnight)) * np.sqrt(1 - memory**2)
    shocks[0] /= np.sqrt(1 - memory**2)
    badness: Array = lfilter([1.0], [1.0, -memory], shocks)
    badness += 0.4 * np.cos(2 * np.pi * (midnight - rng.uniform(0, 365.25)) / 365.25)
    threshold = np.quantile(badness, site.open_fraction)
    return badness < threshold, 0.36 * np.exp(1.6 * np.minimum(badness - threshold, 0.0))


def _camera_visits(
    rng: np.random.Generator, mount: Mount, pointing: int, share: float, place: Direction, nights: dict[str, Nights]
) -> Visits:
    """One camera's exposures of the field, to the nearest 1e-5 d; a night draws its numbers whether used or not."""
    sky = nights[mount.site.name]
    sine_altitude = ephemeris.sine_altitude(place, sky.sidereal, np.radians(mount.site.latitude))
    hour_angle = (sky.sidereal - place.ra + np.pi) % (2 * np.pi) - np.pi
    distance = ephemeris.separation(place, sky.moon)
    seen = sky.dark & (sine_altitude > np.sin(LOWEST)) & (np.abs(hour_angle) < HOUR_ANGLE) & (distance > MOON_DISTANCE)
    weight = np.cumsum(np.where(seen, np.abs(sine_altitude), 0.0), axis=1)

    chances = share * mount.visit * np.array([1.0, SECOND_VISIT])
    rows, columns = [], []
    for chance in chances:
        turn, when = rng.random((2, len(weight)))
        visited = sky.open & (turn < chance) & (weight[:, -1] > 0) & (sky.time[:, 0] > mount.first_night)
        rows.append(np.flatnonzero(visited))
        columns.append(np.argmax(weight > (when * weight[:, -1])[:, None], axis=1)[visited])
    row, column = np.concatenate(rows), np.concatenate(columns)

    step = (HOURS[1] - HOURS[0]) / 24.0
    time = sky.time[row, column] + step * rng.uniform(-0.5, 0.5, len(row))
    patchy = sky.cloud[row] * rng.lognormal(0.0, 0.5, len(row))
    moon_sky = sky.moon_sky[row, column] * _scattering(distance[row, column])
    visits = Visits(
        time=np.round(time, 5),
        camera=np.full(len(row), mount.cameras[pointing]),
        airmass=1.0 / sine_altitude[row, column],
        cloud=patchy,
        moon_sky=moon_sky,
        flagged=np.full(len(row), mount.flagged),
    )
    return _with_split_exposures(rng, visits)


def _scattering(distance: Array) -> Array:
    """Moonlight against its distance from the field, one at 90 degrees (Krisciunas & Schaefer 1991, eqs 16 to 19)."""
    degrees = np.degrees(distance)
    return (10**5.36 * (1.06 + np.cos(distance) ** 2) + 10 ** (6.15 - degrees / 40.0)) / 250775.0


def _with_split_exposures(rng: np.random.Generator, visits: Visits) -> Visits:
    """A few visits come as two rows two minutes apart, because their dithers were not co-added."""
    split = np.flatnonzero(rng.random(len(visits.time)) < SPLIT_VISIT)
    doubled = visits.take(np.concatenate([np.arange(len(visits.time)), split]))
    doubled.time[len(visits.time) :] += SPLIT_DELAY
    return doubled
