"""Which stars the simulated sky holds, and what a Gaia-like catalog says of each.

A star is drawn as a kind at an apparent magnitude; its kind decides where it may stand in the Hertzsprung-Russell
diagram, and there follows what else is known of it (`diagram`). Periods come from the star's place where nature ties
them to it: rotation to colour and age, oscillations to gravity, orbits to radius and mass, pulsation to luminosity.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeVar, get_args

import numpy as np

from varistar.physics.eclipses import Binary, draw_binary
from varistar.physics.pulsation import oscillation_period

from .diagram import (
    QUASAR_COLOUR,
    SEQUENCE_COLOUR,
    Place,
    Population,
    catalog_of_quasar,
    catalog_of_star,
    clump_giant,
    draw_place,
    dwarf,
    giant,
    horizontal_branch,
    red_giant,
    sequence,
    visual_magnitude,
)
from .rotation import dwarf_period, evolved_period, hot_period, young_period
from .streams import log_uniform, opaque_id, stream, truncated_normal

Kind = Literal[
    "clump",
    "quasar",
    "rotator",
    "oscillating",
    "cepheid",
    "rr_lyrae",
    "delta_scuti",
    "eclipsing",
    "semiregular",
    "irregular",
    "young",
    "constant",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SpotsKind = Literal["paper", "independent", "stable", ""]
Name = TypeVar("Name", bound=str)

#: Mean magnitude g of each kind: mean, standard deviation, brightest, faintest.
MAGNITUDES: dict[Kind, tuple[float, float, float, float]] = {
    "clump": (14.75, 0.9, 12.0, 16.5),
    "quasar": (17.45, 0.55, 16.0, 18.3),
    "rotator": (13.9, 0.9, 12.0, 15.8),
    "oscillating": (13.2, 0.9, 11.0, 15.5),
    "cepheid": (13.0, 1.1, 10.5, 15.5),
    "rr_lyrae": (14.2, 0.9, 12.0, 16.0),
    "delta_scuti": (13.4, 0.9, 11.0, 15.5),
    "eclipsing": (13.4, 1.1, 10.5, 15.5),
    "semiregular": (12.7, 0.8, 10.5, 14.5),
    "irregular": (12.8, 0.8, 10.5, 14.5),
    "young": (14.2, 0.9, 12.0, 16.0),
    "constant": (14.2, 1.0, 12.0, 16.5),
}
#: Shares of the four populations: of stars of any kind (the paper's sample, papers/000, section 6.1) and of rotators.
SHARES: dict[Population, float] = {"giant": 0.55, "dwarf": 0.20, "subgiant": 0.23, "hot": 0.02}
ROTATOR_SHARES: dict[Population, float] = {"dwarf": 0.5, "subgiant": 0.25, "giant": 0.13, "hot": 0.12}
#: How a rotator's spots live: as in the paper's Table 1, for a time that rotation has no part in, or almost for ever.
SPOTS_SHARES: dict[SpotsKind, float] = {"paper": 0.35, "independent": 0.4, "stable": 0.25}
#: Periods of oscillating giants [d].
OSCILLATIONS = (1.0, 35.0)
#: Half the side of the square around a field's centre over which its stars are strewn [deg].
HALF_SIDE = 2.2


@dataclass(frozen=True)
class Star:
    """One object of the sky with its truth and its catalog entry; NaN or "" where it has no such value.

    Attributes
    ----------
    key : (kind, index), which names the star's random streams
    subtype : as 'dwarf' among rotators or 'RRAB' among RR Lyrae stars
    population : the paper's, by true absolute magnitude and colour; "" for quasars
    spots : the prior of a spotted star's spots: "paper" (Table 1), "independent" (lifetimes in days whatever the
        rotation, solar-like shear) or "stable" (few, large and long-lived)
    g_mag, v_mag : mean magnitude in the survey's g and in V
    period_days : equatorial rotation period of spotted stars, orbital or pulsation period of others
    inclination : of the rotation axis or orbit [deg], NaN where nothing depends on it
    place : in the Hertzsprung-Russell diagram, None for quasars
    binary : the pair that an eclipsing star is
    gaia : catalog values by column name
    """

    key: tuple[Kind, int]
    star_id: str
    field: int
    subtype: str
    population: Population | Literal[""]
    spots: SpotsKind
    g_mag: float
    v_mag: float
    period_days: float
    inclination: float
    place: Place | None
    binary: Binary | None
    gaia: dict[str, float]

    @property
    def kind(self) -> Kind:
        return self.key[0]


@dataclass(frozen=True)
class _Nature:
    """What a kind decides about a star; `turning` is the radius of what turns where that is not its place's [Sun]."""

    subtype: str
    place: Place | None = None
    period_days: float = np.nan
    inclination: float = np.nan
    spots: SpotsKind = ""
    binary: Binary | None = None
    turning: float | None = None


def draw_star(seed: int, kind: Kind, index: int, field: int, centre_deg: tuple[float, float]) -> Star:
    """Star number `index` of its kind, within the square of 4.4 degrees around the centre (RA, Dec) of its field."""
    rng = stream(seed, "star", kind, index)
    g_mag = truncated_normal(rng, *MAGNITUDES[kind])
    nature = _draw_nature(kind, rng)
    place = nature.place
    ra, dec = _position(rng, centre_deg)
    # only a rotation or an orbit that the star's rotation follows has an inclination, and broadens lines
    gaia = (
        catalog_of_quasar(rng, g_mag)
        if place is None
        else catalog_of_star(rng, g_mag, place, nature.turning or place.radius, nature.period_days, nature.inclination)
    )
    return Star(
        key=(kind, index),
        star_id=opaque_id(seed, "star", kind, index),
        field=field,
        subtype=nature.subtype,
        population=place.population if place else "",
        spots=nature.spots,
        g_mag=g_mag,
        v_mag=visual_magnitude(g_mag, place.colour if place else QUASAR_COLOUR),
        period_days=nature.period_days,
        inclination=nature.inclination,
        place=place,
        binary=nature.binary,
        gaia={"ra_deg": ra, "dec_deg": dec, **gaia},
    )


def _draw_nature(kind: Kind, rng: np.random.Generator) -> _Nature:
    match kind:
        case "clump":
            return _Nature("giant", clump_giant(rng))
        case "quasar":
            return _Nature("quasar")
        case "rotator":
            return _draw_rotator(rng)
        case "oscillating":
            return _draw_oscillating(rng)
        case "cepheid":
            return _draw_cepheid(rng)
        case "rr_lyrae":
            return _draw_rr_lyrae(rng)
        case "delta_scuti":
            subtype = _choose(rng, {"DSCT": 0.75, "HADS": 0.25})
            return _Nature(subtype, dwarf(rng, rng.uniform(0.25, 0.45)), log_uniform(rng, 0.05, 0.20))
        case "eclipsing":
            return _draw_eclipsing(rng)
        case "semiregular":
            period = log_uniform(rng, 30.0, 200.0)
            return _Nature("SR", _asymptotic_giant(rng, period), period)
        case "irregular":
            return _Nature("L", _asymptotic_giant(rng, log_uniform(rng, 30.0, 200.0)))
        case "young":
            return _draw_young(rng)
        case "constant":
            population = _choose(rng, SHARES)
            return _Nature(population, draw_place(rng, population))


def _draw_rotator(rng: np.random.Generator) -> _Nature:
    """Spotted dwarfs, subgiants and giants as in close binaries, and stars above the Kraft break."""
    subtype = _choose(rng, ROTATOR_SHARES)
    match subtype:
        case "dwarf":
            colour = min(0.7 + rng.exponential(0.55), SEQUENCE_COLOUR[-1])
            place = dwarf(rng, colour)
            period = dwarf_period(rng, colour)
        case "subgiant":
            place = _active_subgiant(rng)
            period = evolved_period(rng, place)
        case "giant":
            place = draw_place(rng, "giant")
            period = evolved_period(rng, place)
        case _:
            place = dwarf(rng, rng.uniform(0.15, 0.59))
            period = hot_period(rng, place)
    return _Nature(subtype, place, period, _isotropic(rng), _choose(rng, SPOTS_SHARES))


def _active_subgiant(rng: np.random.Generator) -> Place:
    """An RS CVn star or sub-subgiant, at the foot of the giant branch and to its right, or higher up on it."""
    while True:
        foot = giant(rng, rng.normal(3.3, 0.6), rng.normal(1.22, 0.1))
        place = foot if rng.random() < 0.7 else red_giant(rng, rng.uniform(0.0, 2.0))
        if place.population == "subgiant":
            return place


def _draw_oscillating(rng: np.random.Generator) -> _Nature:
    """A giant whose gravity gives 1 / nu_max within OSCILLATIONS."""
    while True:
        place = red_giant(rng, rng.uniform(-2.7, 0.2))
        period = oscillation_period(place.teff, place.logg)
        if OSCILLATIONS[0] <= period <= OSCILLATIONS[1]:
            return _Nature("OSARG", place, period)


def _draw_cepheid(rng: np.random.Generator) -> _Nature:
    """Classical Cepheids in the fundamental mode or an overtone, and those of type II, each on its period-luminosity
    relation (M_G = -4.05 - 2.6 (log P - 1); type II 2.2 mag fainter at 10 d and less steep)."""
    subtype = _choose(rng, {"DCEP": 0.65, "DCEPS": 0.2, "CW": 0.15})
    shortest, longest = {"DCEP": (2.5, 40.0), "DCEPS": (0.8, 6.0), "CW": (1.0, 30.0)}[subtype]
    period = log_uniform(rng, shortest, longest)
    fundamental = np.log10(period / 0.7 if subtype == "DCEPS" else period) - 1.0
    colour = 0.85 + 0.2 * fundamental + rng.normal(0.0, 0.05)
    if subtype == "CW":
        return _Nature(
            subtype,
            Place(-1.85 - 1.7 * fundamental + rng.normal(0.0, 0.15), colour, 0.55, rng.normal(-1.0, 0.3), True),
            period,
        )
    mass = 5.8 * 10.0 ** (0.3 * fundamental)
    return _Nature(
        subtype,
        Place(-4.05 - 2.6 * fundamental + rng.normal(0.0, 0.15), colour, mass, rng.normal(0.0, 0.15), True),
        period,
    )


def _asymptotic_giant(rng: np.random.Generator, period: float) -> Place:
    """A giant that pulsates in `period` [d], 30 to 200: the longer, the brighter and redder."""
    longer = np.log10(period / 30.0)
    return giant(rng, -1.2 - 1.2 * longer + rng.normal(0.0, 0.2), max(2.0 + longer + rng.normal(0.0, 0.25), 1.7))


def _draw_rr_lyrae(rng: np.random.Generator) -> _Nature:
    subtype = _choose(rng, {"RRAB": 0.7, "RRC": 0.3})
    if subtype == "RRAB":
        return _Nature(subtype, horizontal_branch(rng, 0.62), float(np.clip(rng.normal(0.57, 0.08), 0.42, 0.85)))
    return _Nature(subtype, horizontal_branch(rng, 0.45), rng.uniform(0.24, 0.42))


def _draw_eclipsing(rng: np.random.Generator) -> _Nature:
    """Detached, close and contact pairs of dwarfs; their common light is brighter than the primary's."""
    subtype = _choose(rng, {"EA": 0.55, "EB": 0.2, "EW": 0.25})
    bluest, reddest = (0.4, 1.3) if subtype == "EW" else (0.1, 1.6)
    primary = dwarf(rng, rng.uniform(bluest, reddest))
    mass_ratio = rng.uniform(0.25 if subtype == "EW" else 0.4, 1.0)
    binary = draw_binary(rng, subtype, primary.radius, primary.mass, mass_ratio)
    secondary = binary.surface_ratio * (binary.radii[1] / binary.radii[0]) ** 2
    both = replace(primary, abs_g=primary.abs_g - 2.5 * math.log10(1.0 + secondary))
    return _Nature(subtype, both, binary.period_days, binary.inclination, binary=binary, turning=primary.radius)


def _draw_young(rng: np.random.Generator) -> _Nature:
    """Stars 0.7 to 2.2 mag above the main sequence: spotted, dimmed by dust once a turn, or accreting in bursts."""
    subtype = _choose(rng, {"spotted": 0.5, "dipper": 0.25, "burster": 0.25})
    colour = rng.uniform(1.2, 3.0)
    abs_g = sequence(colour) - rng.uniform(0.7, 2.2)
    place = Place(
        abs_g, colour, float(np.interp(colour, (1.2, 2.0, 3.0), (1.0, 0.6, 0.25))), rng.normal(0.0, 0.1), False
    )
    match subtype:
        case "spotted":
            return _Nature(subtype, place, young_period(rng), _isotropic(rng), "stable")
        case "dipper":
            return _Nature(subtype, place, young_period(rng), float(np.degrees(np.arccos(rng.uniform(0.0, 0.4)))))
        case _:
            return _Nature(subtype, place)


def _isotropic(rng: np.random.Generator) -> float:
    """Inclination [deg] of an axis without a preferred direction."""
    return math.degrees(math.acos(rng.random()))


def _position(rng: np.random.Generator, centre_deg: tuple[float, float]) -> tuple[float, float]:
    """RA and Dec [deg], uniform over a square of the plane that touches the sky at the centre."""
    side = math.tan(math.radians(HALF_SIDE))
    east, north = rng.uniform(-side, side, 2)
    ra, dec = np.radians(centre_deg)
    # the point of the plane as a vector along the centre, north and east, turned to the centre's place
    outward, upward = math.cos(dec) - north * math.sin(dec), math.sin(dec) + north * math.cos(dec)
    return (
        math.degrees(ra + math.atan2(east, outward)) % 360.0,
        math.degrees(math.atan2(upward, math.hypot(east, outward))),
    )


def _choose(rng: np.random.Generator, shares: dict[Name, float]) -> Name:
    names = list(shares)
    return names[bisect_right(list(accumulate(shares.values())), rng.random() * sum(shares.values()))]
