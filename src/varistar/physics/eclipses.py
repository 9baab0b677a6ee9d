"""Two stars that eclipse each other: their geometry, and their light against the phase of the orbit.

The stars are uniform discs on a Kepler orbit; a tide makes each brighter when it is seen from the side. Lengths are in
units of the orbit's semi-major axis a. There is no limb darkening and no reflection.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Semi-major axis of one solar mass and one day [solar radii]; a = AXIS (M P^2)^(1/3), Kepler's third law.
AXIS = 4.208
#: Full ellipsoidal range of a star: TIDE (mass of the other / mass) radius^3 sin^2 i (Morris 1985, for u = 0.6 and
#: gravity darkening 0.3).
TIDE = 2.5
#: Newton's method reaches the eccentric anomaly to rounding in so many steps for eccentricities up to 0.6.
KEPLER_STEPS = 8


@dataclass(frozen=True)
class Binary:
    """A pair of stars; the primary is the one of higher surface brightness or mass.

    Attributes
    ----------
    period_days : of the orbit
    radii : of primary and secondary, in units of a
    surface_ratio : surface brightness of the secondary to that of the primary
    mass_ratio : secondary to primary
    inclination : of the orbit [deg], 90 edge-on
    eccentricity, periastron : and the argument of periastron [deg] of the secondary's motion
    """

    period_days: float
    radii: tuple[float, float]
    surface_ratio: float
    mass_ratio: float
    inclination: float
    eccentricity: float = 0.0
    periastron: float = 0.0


def binary_magnitude(binary: Binary, phase: Array) -> Array:
    """Magnitude against orbital phase, zero for both stars whole and without tides, positive when fainter.

    Phase is in turns, any shape (m,), zero in the middle of the primary eclipse, where the secondary is in front.
    """
    angle, distance = _orbit(binary, phase)
    sine = math.sin(math.radians(binary.inclination))
    in_front = np.sin(angle)
    apart = distance * np.sqrt(np.maximum(1.0 - (sine * in_front) ** 2, 0.0))
    primary, secondary = binary.radii
    light = primary**2 + binary.surface_ratio * secondary**2
    shares = primary**2 / light, binary.surface_ratio * secondary**2 / light
    hidden = _overlap(apart, primary, secondary) / np.pi
    lost = hidden * np.where(in_front > 0, 1.0, binary.surface_ratio) / light
    tide = TIDE * sine**2 * (shares[0] * binary.mass_ratio * primary**3 + shares[1] / binary.mass_ratio * secondary**3)
    flux = (1.0 - lost) * (1.0 - tide * in_front**2 / distance**3)
    return -2.5 * np.log10(np.maximum(flux, 1e-4))


def _orbit(binary: Binary, phase: Array) -> tuple[Array, Array]:
    """Angle from the plane of the sky to the secondary [rad], a quarter turn in primary eclipse, and distance [a]."""
    turn = 2.0 * np.pi * phase
    e = binary.eccentricity
    if e == 0.0:
        return turn + np.pi / 2, np.ones_like(turn)
    omega = math.radians(binary.periastron)
    stretch = math.sqrt((1 + e) / (1 - e))
    first = 2.0 * math.atan2(math.sin((np.pi / 2 - omega) / 2), stretch * math.cos((np.pi / 2 - omega) / 2))
    mean = (turn + first - e * math.sin(first) + np.pi) % (2 * np.pi) - np.pi
    anomaly = mean + e * np.sin(mean)
    for _ in range(KEPLER_STEPS):
        anomaly -= (anomaly - e * np.sin(anomaly) - mean) / (1.0 - e * np.cos(anomaly))
    true = 2.0 * np.arctan2(stretch * np.sin(anomaly / 2), np.cos(anomaly / 2))
    return true + omega, 1.0 - e * np.cos(anomaly)


def _overlap(apart: Array, one: float, other: float) -> Array:
    """Area common to two circles of radii `one` and `other` whose centres are `apart`."""
    small, large = sorted((one, other))
    area = np.where(apart <= large - small, np.pi * small**2, 0.0)
    partly = (apart > large - small) & (apart < large + small)
    d = apart[partly]
    near = np.clip((d**2 + small**2 - large**2) / (2 * d * small), -1, 1)
    far = np.clip((d**2 + large**2 - small**2) / (2 * d * large), -1, 1)
    kite = (-d + small + large) * (d + small - large) * (d - small + large) * (d + small + large)
    area[partly] = small**2 * np.arccos(near) + large**2 * np.arccos(far) - np.sqrt(np.maximum(kite, 0.0)) / 2
    return area


def draw_binary(
    rng: np.random.Generator, subtype: str, radius: float, mass: float, mass_ratio: float, shares: float = 0.35
) -> Binary:
    """An eclipsing pair whose primary has this radius and mass [Sun]; of each subtype's period, by its geometry.

    A detached pair ("EA") has a log-normal period around 2.8 d (median and width of the EA stars of the VSX), and both
    stars well inside their Roche lobes; the primary of a close one ("EB") nearly fills its lobe, and both stars of a
    contact one ("EW") overfill theirs in a common envelope of one temperature. Radius and lobe then give the period by
    Kepler's third law, so that the bluer a contact binary, the longer its period. `shares` of the detached pairs wider
    than 3 d are eccentric. The secondary is a star of the main sequence, radius M^0.9 and luminosity M^4.
    """
    lobes = roche_lobe(1.0 / mass_ratio), roche_lobe(mass_ratio)
    ratio = mass_ratio**0.9
    surface, eccentricity = mass_ratio**2.2, 0.0
    match subtype:
        case "EA":
            shortest = period_of_axis(radius / (0.7 * lobes[0]), mass * (1.0 + mass_ratio))
            period = 0.0
            while not shortest < period < max(60.0, 2.0 * shortest):
                period = rng.lognormal(np.log(2.8), 1.07)
            primary = radius / (AXIS * (mass * (1.0 + mass_ratio) * period**2) ** (1 / 3))
            secondary = min(primary * ratio, 0.9 * lobes[1])
            if period > 3.0 and rng.random() < shares:
                eccentricity = min(rng.rayleigh(0.2), 0.5)
        case "EB":
            primary = rng.uniform(0.8, 0.99) * lobes[0]
            secondary = min(primary * ratio, 0.99 * lobes[1])
        case _:
            filling = rng.uniform(1.0, 1.06)
            primary, secondary = filling * lobes[0], filling * lobes[1]
            surface = rng.uniform(0.85, 1.0)
    if subtype != "EA":
        period = period_of_axis(radius / primary, mass * (1.0 + mass_ratio))
    widest = 0.75 * (primary + secondary) / (1.0 + eccentricity)
    return Binary(
        period_days=float(period),
        radii=(float(primary), float(secondary)),
        surface_ratio=float(surface),
        mass_ratio=mass_ratio,
        inclination=float(np.degrees(np.arccos(rng.uniform(0.0, widest)))),
        eccentricity=float(eccentricity),
        periastron=float(rng.uniform(0.0, 360.0)),
    )


def roche_lobe(mass_ratio: float) -> float:
    """Radius of a star's Roche lobe [a]; `mass_ratio` is its own mass to the other's (Eggleton 1983)."""
    cube_root = mass_ratio ** (1 / 3)
    return 0.49 * cube_root**2 / (0.6 * cube_root**2 + math.log1p(cube_root))


def period_of_axis(axis: float, mass: float) -> float:
    """Period [d] of an orbit of semi-major axis [solar radii] around a total mass [Sun]."""
    return math.sqrt((axis / AXIS) ** 3 / mass)
