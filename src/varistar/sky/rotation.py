"""How fast spotted stars turn, and how much that shows: periods by colour and age, amplitudes by period.

Dwarfs brake: their period grows with the square root of age along a sequence that depends on colour, which the young
reach only after a while, the redder the later. Between two lines of the period-colour diagram few stars are found, the
intermediate-period gap.
"""

import math

import numpy as np

from .diagram import SUN_SPEED, Place, red_colour

#: The slow sequence of the Praesepe (age 0.67 Gyr): BP - RP and period [d], medians of the stars of Rampalli et al.
#: (2021) on it.
SLOW_COLOUR = np.array([0.5, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6])
SLOW_PERIOD = np.array([2.0, 3.8, 7.6, 9.3, 11.0, 12.0, 13.5, 14.5, 16.0, 18.3, 20.5, 22.0])
SLOW_AGE = 0.67
#: Time [Gyr] in which all but 1/e of the stars of a colour reach the sequence (their share at the Praesepe's age).
BRAKE_COLOUR = np.array([1.8, 2.2, 2.6, 2.8, 3.0])
BRAKE_AGE = np.array([0.25, 0.40, 0.75, 1.10, 5.0])
#: A, B and x0 of the gap's two edges, P = A (x - x0) + B sqrt(x - x0) with x = G - RP (papers/000, eq. 12).
UPPER_EDGE = (68.2277, -43.7301, -0.0653)
LOWER_EDGE = (34.0405, -2.6183, 0.3510)
#: The gap is that of partly convective K and M dwarfs: from where its edges part to where stars convect fully.
GAP_COLOURS = (0.5, 1.15)
#: Share of the stars in the gap that stay there.
GAP_SHARE = 0.2
#: Ages of spotted dwarfs [Gyr], log-uniform; older ones turn too slowly and have too few spots to be noticed.
AGES = (0.05, 4.0)
#: Orbital speed at the surface of the Sun [km/s], above which a star is torn apart.
CRITICAL_SPEED = 437.0
#: Shortest period [d] of a dwarf.
SHORTEST = 0.3
#: Temperatures [K] of Kepler's stars, and their range in a turn to that of cooler stars of the same period.
RANGE_TEFF = np.array([4750.0, 5150.0, 5450.0, 5750.0, 6050.0, 6350.0])
RANGE_FACTOR = np.array([1.0, 0.81, 0.58, 0.33, 0.16, 0.07])


def dwarf_period(rng: np.random.Generator, colour: float) -> float:
    """Rotation period [d] of a dwarf of this BP - RP and of random age; four of five in the gap are drawn again."""
    x = red_colour(colour)
    while True:
        period = _period_at_age(rng, colour, math.exp(rng.uniform(*np.log(AGES))))
        if not in_gap(x, period) or rng.random() < GAP_SHARE:
            return period


def _period_at_age(rng: np.random.Generator, colour: float, age: float) -> float:
    """On the slow sequence within 10 %, or, of those not yet there, log-uniform between the shortest and it."""
    slow = float(np.interp(colour, SLOW_COLOUR, SLOW_PERIOD)) * math.sqrt(age / SLOW_AGE)
    braking = float(np.interp(colour, BRAKE_COLOUR, BRAKE_AGE))
    if rng.random() < math.exp(-age / braking):
        return math.exp(rng.uniform(math.log(SHORTEST), math.log(max(slow, 2 * SHORTEST))))
    return max(slow * rng.lognormal(0.0, 0.1), SHORTEST)


def in_gap(x: float, period: float) -> bool:
    """Whether a star of G - RP = x lies between the edges of the gap."""
    return GAP_COLOURS[0] < x < GAP_COLOURS[1] and gap_edge(x, LOWER_EDGE) < period < gap_edge(x, UPPER_EDGE)


def gap_edge(x: float, edge: tuple[float, float, float]) -> float:
    """Period [d] of an edge of the gap at G - RP = x, above the edge's x0 (papers/000, eq. 12)."""
    slope, bend, start = edge
    return slope * (x - start) + bend * math.sqrt(x - start)


def hot_period(rng: np.random.Generator, place: Place) -> float:
    """Period [d] of a star above the Kraft break, which turns with 15 to 200 km/s at its equator."""
    return period_of_speed(place, math.exp(rng.uniform(math.log(15.0), math.log(200.0))))


def evolved_period(rng: np.random.Generator, place: Place) -> float:
    """Period [d] of a spotted giant or subgiant, kept or spun up by a companion.

    Its equator moves with 12 to 60 km/s, and at most half as fast as would tear it apart. Large stars turn in months,
    the RS CVn stars and sub-subgiants at the foot of the giant branch in 2 to 20 days.
    """
    fastest = min(60.0, 0.5 * CRITICAL_SPEED * math.sqrt(place.mass / place.radius))
    return period_of_speed(place, math.exp(rng.uniform(math.log(12.0), math.log(fastest))))


def period_of_speed(place: Place, speed: float) -> float:
    """Period [d] of a star whose equator moves with `speed` [km/s]."""
    return SUN_SPEED * place.radius / speed


def young_period(rng: np.random.Generator) -> float:
    """Period [d] of a star on its way to the main sequence: around 4.5, from 0.6 to 16."""
    return float(np.clip(rng.lognormal(math.log(4.5), 0.6), 0.6, 16.0))


def spot_range(rng: np.random.Generator, subtype: str, period_days: float, teff: float) -> float:
    """How much a spotted star's flux changes in a turn: the 5-95 percentile range, in units of its mean.

    Dwarfs and hot stars follow the Kepler stars of McQuillan et al. (2014): our fit to their medians by period and
    temperature, 0.052 / (1 + (P / 5 d)^1.23), less for stars hotter than 4750 K, with their scatter. Active giants and
    subgiants, and young stars, are log-normal around 0.03, 0.05 and 0.07.
    """
    match subtype:
        case "giant":
            return float(rng.lognormal(math.log(0.03), 0.6))
        case "subgiant":
            return float(rng.lognormal(math.log(0.05), 0.6))
        case "spotted":
            return float(rng.lognormal(math.log(0.07), 0.5))
    warm = float(np.interp(teff, RANGE_TEFF, RANGE_FACTOR))
    scatter = float(np.interp(teff, (5000.0, 5600.0), (0.55, 0.85)))
    return float(warm * 0.052 / (1.0 + (period_days / 5.0) ** 1.23) * rng.lognormal(0.0, scatter))
