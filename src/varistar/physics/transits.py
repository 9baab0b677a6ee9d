"""Bodies that pass before a star: planets, and the companions of eclipsing binaries.

A dark disk of radius p before a limb-darkened disk of radius one, their centres z apart, hides

    integral over r of  I(r) 2 r kappa(r) dr,    cos kappa = (r^2 + z^2 - p^2) / (2 r z),

where kappa is half the arc of the ring r that it covers, and I = 1 - u1 (1 - mu) - u2 (1 - mu)^2, mu^2 = 1 - r^2. The
integral is taken numerically for any p; rings that are covered whole have a closed form. Orbits are circles.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Nodes and weights in the angle theta of r = lower + (upper - lower) (1 - cos theta) / 2, which takes the square roots
#: out of both ends: 24 are good to 1e-9 of the smaller disk's light (measured, p = 0.01 to 1.2).
_ANGLES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_ANGLES, _WEIGHTS = 0.5 * np.pi * (_ANGLES + 1.0), 0.5 * np.pi * _WEIGHTS
_COSINES, _SINES = np.cos(_ANGLES), np.sin(_ANGLES)


@dataclass(frozen=True)
class Orbit:
    """A circular orbit.

    Attributes
    ----------
    period : [d]
    epoch : time at which the companion is in front [d]
    axis : radius of the orbit in units of the star's
    inclination : [deg], 90 is edge-on
    """

    period: float
    epoch: float
    axis: float
    inclination: float


@dataclass(frozen=True)
class Companion:
    """A second star.

    Attributes
    ----------
    radius : in units of the primary's
    light : its share of the light of both, 0 to 1
    ellipsoidal : full range of the wave with half the period that the tides raise, in units of the light of both
    """

    radius: float
    light: float
    ellipsoidal: float


def transit_flux(time: Array, orbit: Orbit, radius: float, limb: tuple[float, float]) -> Array:
    """Flux of a star with a dark planet, in units of the star's; shape (m,) as `time` [d].

    Parameters
    ----------
    radius : of the planet, in units of the star's
    limb : u1 and u2 of the quadratic law
    """
    separation, in_front = projected(time, orbit)
    flux = np.ones(len(time))
    seen = in_front & (separation < 1.0 + radius)
    flux[seen] -= hidden_light(separation[seen], radius, limb)
    return flux


def binary_flux(time: Array, orbit: Orbit, companion: Companion, limb: tuple[float, float]) -> Array:
    """Flux of two stars with equal limb darkening that eclipse each other, in units of that of both round stars.

    The tides show as a cosine of twice the phase, brightest at quadrature.
    """
    separation, in_front = projected(time, orbit)
    near = separation < 1.0 + companion.radius
    primary, secondary = near & in_front, near & ~in_front
    flux = np.ones(len(time))
    flux[primary] -= (1.0 - companion.light) * hidden_light(separation[primary], companion.radius, limb)
    # before the companion's disk, whose radius is now the unit, passes the primary
    unit = companion.radius
    flux[secondary] -= companion.light * hidden_light(separation[secondary] / unit, 1.0 / unit, limb)
    phase = (time - orbit.epoch) / orbit.period
    return flux - 0.5 * companion.ellipsoidal * np.cos(4.0 * np.pi * phase)


def projected(time: Array, orbit: Orbit) -> tuple[Array, NDArray[np.bool_]]:
    """Distance of the centres on the sky [star radii], and whether the companion is the nearer; shape (m,) each."""
    angle = 2.0 * np.pi * ((time - orbit.epoch) / orbit.period)
    along = math.cos(math.radians(orbit.inclination)) * np.cos(angle)
    return orbit.axis * np.hypot(np.sin(angle), along), np.cos(angle) > 0.0


def hidden_light(separation: Array, radius: float, limb: tuple[float, float]) -> Array:
    """Share of a star's light that a dark disk hides, shape (m,).

    Parameters
    ----------
    separation : shape (m,), of the centres, in units of the star's radius, not negative
    radius : of the disk, in the same unit; it may be larger than the star
    limb : u1 and u2 of the quadratic law
    """
    u1, u2 = limb
    whole = math.pi * (1.0 - u1 / 3.0 - u2 / 6.0)
    return _hidden(np.ascontiguousarray(separation, dtype=np.float64), radius, u1, u2) / whole


@njit(cache=True)
def _hidden(separation: Array, radius: float, u1: float, u2: float) -> Array:
    hidden = np.zeros(len(separation))
    for i in range(len(separation)):
        z = separation[i]
        lower, upper = abs(z - radius), min(z + radius, 1.0)
        if z < radius:
            hidden[i] = _central_light(min(radius - z, 1.0), u1, u2)
        if lower >= upper:
            continue
        half = 0.5 * (upper - lower)
        total = 0.0
        for k in range(len(_COSINES)):
            r = lower + half * (1.0 - _COSINES[k])
            cosine = (r * r + z * z - radius * radius) / (2.0 * r * z)
            arc = math.acos(min(max(cosine, -1.0), 1.0))
            dark = 1.0 - math.sqrt(max(1.0 - r * r, 0.0))
            total += _WEIGHTS[k] * _SINES[k] * r * arc * (1.0 - dark * (u1 + u2 * dark))
        hidden[i] += 2.0 * half * total
    return hidden


@njit(cache=True)
def _central_light(r: float, u1: float, u2: float) -> float:
    """Light of the disk within r of its centre."""
    mu = math.sqrt(1.0 - r * r)
    even, cube = 0.5 * (1.0 - u1 - u2) * (1.0 - mu * mu), (u1 + 2.0 * u2) * (1.0 - mu**3) / 3.0
    return 2.0 * math.pi * (even + cube - 0.25 * u2 * (1.0 - mu**4))
