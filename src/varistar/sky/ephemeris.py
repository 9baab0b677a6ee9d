"""Where the Sun, the Moon and a star stand in the sky of a site, to a fraction of a degree.

The simulated survey needs to know when a field is up in the dark and how bright the Moon makes it, so the short series
of the Astronomical Almanac are enough (0.01 degrees for the Sun, 0.3 for the Moon; equinox of date, taken as J2000).
All angles are radians; times are MJD UTC.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MJD_J2000 = 51544.5


class Direction(NamedTuple):
    """Right ascension and declination [rad]."""

    ra: Array
    dec: Array


def sun(mjd: Array) -> Direction:
    """The Sun's place, within 0.01 degrees (Astronomical Almanac, section C)."""
    days = mjd - MJD_J2000
    mean_anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = 280.460 + 0.9856474 * days + 1.915 * np.sin(mean_anomaly) + 0.020 * np.sin(2 * mean_anomaly)
    return _equatorial(np.radians(longitude), np.zeros_like(longitude))


def moon(mjd: Array) -> Direction:
    """The Moon's geocentric place, within 0.5 degrees (Astronomical Almanac, section D)."""
    century = (mjd - MJD_J2000) / 36525.0

    def wave(amplitude: float, phase: float, rate: float) -> Array:
        return amplitude * np.sin(np.radians(phase + rate * century))

    longitude = (
        218.32
        + 481267.881 * century
        + wave(6.29, 135.0, 477198.87)
        - wave(1.27, 259.3, -413335.36)
        + wave(0.66, 235.7, 890534.22)
        + wave(0.21, 269.9, 954397.74)
        - wave(0.19, 357.5, 35999.05)
        - wave(0.11, 186.5, 966404.03)
    )
    latitude = (
        wave(5.13, 93.3, 483202.02)
        + wave(0.28, 228.2, 960400.89)
        - wave(0.28, 318.3, 6003.15)
        - wave(0.17, 217.6, -407332.21)
    )
    return _equatorial(np.radians(longitude), np.radians(latitude))


def sidereal_time(mjd: Array, longitude: float) -> Array:
    """Local mean sidereal time [rad] at an east longitude [rad]."""
    return np.radians((280.46061837 + 360.98564736629 * (mjd - MJD_J2000)) % 360.0) + longitude


def sine_altitude(place: Direction, sidereal: Array, latitude: float) -> Array:
    """Sine of the altitude of `place` at a latitude [rad]."""
    return np.sin(latitude) * np.sin(place.dec) + np.cos(latitude) * np.cos(place.dec) * np.cos(sidereal - place.ra)


def separation(a: Direction, b: Direction) -> Array:
    """The angle between two places [rad]."""
    cosine = np.sin(a.dec) * np.sin(b.dec) + np.cos(a.dec) * np.cos(b.dec) * np.cos(a.ra - b.ra)
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def galactic_latitude(place: Direction) -> Array:
    """Galactic latitude [rad] (IAU pole: RA 192.85948, Dec +27.12825 degrees)."""
    pole = Direction(np.radians(192.85948), np.radians(27.12825))
    return np.pi / 2 - separation(place, pole)


def _equatorial(longitude: Array, latitude: Array) -> Direction:
    """Ecliptic to equatorial."""
    obliquity = np.radians(23.439)
    y = np.cos(obliquity) * np.cos(latitude) * np.sin(longitude) - np.sin(obliquity) * np.sin(latitude)
    z = np.sin(obliquity) * np.cos(latitude) * np.sin(longitude) + np.cos(obliquity) * np.sin(latitude)
    return Direction(np.arctan2(y, np.cos(latitude) * np.cos(longitude)) % (2 * np.pi), np.arcsin(z))
