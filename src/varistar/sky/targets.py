"""Which stars the space survey points at, and what a catalog says of each.

Mostly cool dwarfs, young and old, as among the 2-minute targets of TESS; some hotter dwarfs, giants, planet hosts, fast
binaries and short-period pulsators. A star's mass and age give its rotation. Its catalog entry has the columns of the
ground survey's stars and `tmag`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from varistar.physics.eclipses import AXIS
from varistar.physics.flares import FlareLaw, draw_flare_law

from .diagram import SUN_BOLOMETRIC, SUN_LOGG, SUN_TEFF, line_broadening, stellar_entry, tess_colour
from .streams import log_uniform, opaque_id, stream, truncated_normal

TargetKind = Literal["flaring", "quiet", "planet_host", "eclipsing", "pulsating"]
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)

#: The dwarfs' main sequence by effective temperature [K]: mass and radius [Sun], BP - RP, and the bolometric correction
#: in G, rounded after Pecaut & Mamajek (2013 and later tables). `diagram` has no masses and radii by temperature.
SEQUENCE_TEFF = (2800, 3000, 3200, 3400, 3600, 3850, 4200, 4600, 5000, 5300, 5700, 6000, 6500, 7000, 7700, 8500)
MASS = (0.10, 0.16, 0.23, 0.37, 0.44, 0.57, 0.65, 0.73, 0.78, 0.88, 0.98, 1.08, 1.33, 1.50, 1.75, 1.95)
RADIUS = (0.13, 0.20, 0.27, 0.36, 0.45, 0.58, 0.65, 0.71, 0.76, 0.82, 0.98, 1.12, 1.43, 1.55, 1.75, 1.85)
COLOUR = (3.95, 3.35, 2.83, 2.50, 2.20, 1.84, 1.52, 1.27, 1.04, 0.93, 0.82, 0.74, 0.59, 0.44, 0.28, 0.13)
CORRECTION = (-1.9, -1.5, -1.2, -1.0, -0.8, -0.6, -0.4, -0.2, -0.08, -0.03, 0.03, 0.06, 0.06, 0.05, 0.0, -0.05)

#: Magnitudes of the targets: mean, standard deviation, brightest, faintest; cool stars are a magnitude fainter.
MAGNITUDES = (11.2, 1.7, 6.5, 15.0)
#: Temperatures of each kind [K] as (share, coolest, hottest).
TEMPERATURES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "flaring": ((0.65, 2850.0, 3900.0), (0.27, 3900.0, 5200.0), (0.08, 5200.0, 5800.0)),
    "quiet": ((0.35, 2850.0, 3900.0), (0.25, 3900.0, 5200.0), (0.4, 5200.0, 7000.0)),
    "planet_host": ((0.4, 3000.0, 3900.0), (0.3, 3900.0, 5200.0), (0.3, 5200.0, 6500.0)),
    "eclipsing": ((1.0, 3900.0, 6500.0),),
    "pulsating": ((1.0, 6900.0, 8200.0),),
}
#: A star of a lower gravity than this is no dwarf.
LOWEST_DWARF_LOGG = 3.5
#: Share of the quiet stars that are giants, and of each subtype among the variable stars; ranges of their periods [d].
GIANTS = 0.25
BINARIES = (("EA", 0.5, 0.5, 5.0), ("EW", 0.5, 0.22, 0.45))
PULSATORS = (("DSCT", 0.7, 0.03, 0.20), ("RRAB", 0.3, 0.43, 0.80))
#: Stars without spots that could be seen to turn: hotter than this, and giants.
HOTTEST_SPOTTED = 6600.0
HOTTEST_FLARING = 5900.0


class Pair(NamedTuple):
    """What two stars that eclipse each other look like: the companion's radius and the orbit's, in units of the star's
    radius, and the inclination of the orbit [deg], in whose plane both turn."""

    radius: float
    axis: float
    inclination: float


@dataclass(frozen=True)
class Target:
    """One star of the space survey; NaN where it has no such value.

    Attributes
    ----------
    subtype : spectral class of a dwarf (M, K, G, F), 'giant', or type of variable (EA, EW, DSCT, RRAB)
    teff, radius, mass, luminosity : [K, Sun]
    rotation_days : at the equator
    period_days : of the companion or the pulsation
    inclination : of the rotation axis [deg], and of the orbit of a pair
    pair : of an eclipsing binary
    flare_law : of a star that flares, else a rate of zero
    catalog : catalog values by column name
    """

    index: int
    star_id: str
    kind: TargetKind
    subtype: str
    tmag: float
    teff: float
    radius: float
    mass: float
    luminosity: float
    age_myr: float
    rotation_days: float
    period_days: float
    inclination: float
    pair: Pair | None
    flare_law: FlareLaw
    catalog: dict[str, float]


def draw_target(
    seed: int, index: int, shares: Mapping[str, float], flare_bounds: tuple[float, float] = (0.5, 30000.0)
) -> Target:
    """Star number `index` of the survey, whatever other stars there are.

    Parameters
    ----------
    shares : weight of each kind of `TARGET_KINDS`
    flare_bounds : smallest and largest equivalent duration of a flare [s]
    """
    rng = stream(seed, "target", index)
    kind = TARGET_KINDS[_choose(rng, [shares[kind] for kind in TARGET_KINDS])]
    subtype, period = _variable(rng, kind)
    teff, radius, mass, colour, abs_g = _body(rng, kind, subtype)
    age = _age(rng, kind, teff)
    rotation = np.nan if subtype in ("giant", "DSCT", "RRAB") else _rotation(rng, teff, mass, age)
    if kind == "eclipsing":
        rotation = period  # so close a pair is locked
    pair = _draw_pair(rng, subtype, radius, mass, period) if kind == "eclipsing" else None
    inclination = pair.inclination if pair else float(np.degrees(np.arccos(rng.random())))
    flares = kind == "flaring" or (kind == "planet_host" and teff < HOTTEST_FLARING)
    law = draw_flare_law(rng, teff, age, flare_bounds) if flares else FlareLaw(0.0, 2.0, flare_bounds)
    centre = MAGNITUDES[0] + (1.0 if teff < 3900.0 else 0.0)
    tmag = truncated_normal(rng, centre, *MAGNITUDES[1:])
    return Target(
        index=index,
        star_id=opaque_id(seed, "target", index),
        kind=kind,
        subtype=subtype or _spectral_class(teff),
        tmag=tmag,
        teff=teff,
        radius=radius,
        mass=mass,
        luminosity=radius**2 * (teff / SUN_TEFF) ** 4,
        age_myr=age,
        rotation_days=rotation if teff < HOTTEST_SPOTTED else np.nan,
        period_days=period,
        inclination=inclination,
        pair=pair,
        flare_law=law,
        catalog=_catalog(rng, tmag, colour, abs_g, (teff, radius, mass), (rotation, inclination)),
    )


def scaled_axis(period_days: float, mass: float, radius: float) -> float:
    """Radius of an orbit around `mass` in units of the star's `radius` [Sun], by Kepler's third law."""
    return AXIS * period_days ** (2.0 / 3.0) * mass ** (1.0 / 3.0) / radius


def _draw_pair(rng: np.random.Generator, subtype: str, radius: float, mass: float, period_days: float) -> Pair:
    """A companion on the main sequence that always eclipses; those of type EW touch."""
    ratio, hidden = rng.uniform(0.5, 1.0), rng.uniform(0.0, 0.8)
    touching = 1.05 * (1.0 + ratio)
    apart = max(scaled_axis(period_days, mass * (1.0 + ratio), radius), 1.3 * (1.0 + ratio))
    axis = touching if subtype == "EW" else apart
    return Pair(ratio, axis, float(np.degrees(np.arccos(hidden * (1.0 + ratio) / axis))))


def _variable(rng: np.random.Generator, kind: TargetKind) -> tuple[str, float]:
    """Subtype, where the temperature does not give it, and period [d] of a binary, a pulsator or a planet."""
    match kind:
        case "eclipsing" | "pulsating":
            table = BINARIES if kind == "eclipsing" else PULSATORS
            subtype, _, shortest, longest = table[_choose(rng, [row[1] for row in table])]
            return subtype, log_uniform(rng, shortest, longest)
        case "planet_host":
            return "", log_uniform(rng, 0.6, 15.0)
        case "quiet" if rng.random() < GIANTS:
            return "giant", np.nan
        case _:
            return "", np.nan


def _body(rng: np.random.Generator, kind: TargetKind, subtype: str) -> tuple[float, float, float, float, float]:
    """Temperature [K], radius and mass [Sun], BP - RP and absolute G of a star."""
    if subtype == "giant":
        teff, radius, mass = rng.uniform(4500.0, 5100.0), log_uniform(rng, 3.5, 15.0), rng.uniform(0.9, 1.8)
    elif subtype == "RRAB":
        teff, radius, mass = rng.uniform(6200.0, 7000.0), rng.uniform(4.5, 6.0), 0.65
    else:
        bands = TEMPERATURES[kind]
        _, coolest, hottest = bands[_choose(rng, [band[0] for band in bands])]
        teff = rng.uniform(coolest, hottest)
        radius = float(np.interp(teff, SEQUENCE_TEFF, RADIUS)) * rng.lognormal(0.0, 0.04)
        mass = float(np.interp(teff, SEQUENCE_TEFF, MASS)) * rng.lognormal(0.0, 0.03)
    colour = float(np.interp(teff, SEQUENCE_TEFF, COLOUR)) + rng.normal(0.0, 0.02)
    bolometric = SUN_BOLOMETRIC - 5.0 * np.log10(radius) - 10.0 * np.log10(teff / SUN_TEFF)
    return teff, radius, mass, colour, float(bolometric - np.interp(teff, SEQUENCE_TEFF, CORRECTION))


def _age(rng: np.random.Generator, kind: TargetKind, teff: float) -> float:
    """Age [Myr]: flare stars are young, or cool; of the planet hosts one in four is young."""
    young = {"flaring": 0.75 if teff < 4000.0 else 1.0, "planet_host": 0.25}.get(kind, 0.0)
    if rng.random() < young:
        return log_uniform(rng, 1.0, 800.0)
    return rng.uniform(800.0, 5000.0 if kind == "flaring" else 10000.0)


def _rotation(rng: np.random.Generator, teff: float, mass: float, age_myr: float) -> float:
    """Rotation period [d].

    Stars leave a spread of 0.2 to 8 d for a sequence that slows as age^0.55, after about 100 Myr and, below 0.5 Sun,
    600 Myr; F stars never do (ours, in the shape of the Pleiades and Praesepe). The sequence ends at 30 d.
    """
    if teff > 6250.0:
        return log_uniform(rng, 0.8, 6.0)
    stays_fast = np.exp(-age_myr / (600.0 if mass < 0.5 else 100.0))
    slow = 11.0 * (age_myr / 650.0) ** 0.55 * (mass / 0.8) ** -0.6 * rng.lognormal(0.0, 0.12)
    fast = log_uniform(rng, 0.2, 8.0)
    slow *= (1.0 + (slow / 30.0) ** 4) ** -0.25
    return float(fast if rng.random() < stays_fast else max(slow, 0.2))


def _spectral_class(teff: float) -> str:
    return "M" if teff < 3900.0 else "K" if teff < 5200.0 else "G" if teff < 6000.0 else "F"


def _catalog(
    rng: np.random.Generator,
    tmag: float,
    colour: float,
    abs_g: float,
    body: tuple[float, float, float],
    spin: tuple[float, float],
) -> dict[str, float]:
    """The catalog entry; what a catalog infers of the star itself has errors here."""
    (teff, radius, mass), (rotation, inclination) = body, spin
    logg = SUN_LOGG + np.log10(mass) - 2.0 * np.log10(radius)
    mean_g = tmag + tess_colour(colour)
    return {
        "ra_deg": 360.0 * rng.random(),
        "dec_deg": np.degrees(np.arcsin(rng.uniform(-1.0, 1.0))),
        **stellar_entry(rng, mean_g, colour, abs_g, logg < LOWEST_DWARF_LOGG),
        "tmag": tmag,
        "radius_val": radius * rng.lognormal(0.0, 0.03),
        "lum_val": radius**2 * (teff / SUN_TEFF) ** 4 * rng.lognormal(0.0, 0.03),
        "teff": teff + rng.normal(0.0, 60.0),
        "logg": logg + rng.normal(0.0, 0.03),
        "mh": rng.normal(-0.05, 0.2),
        **line_broadening(rng, mean_g, radius, rotation, inclination),
    }


def _choose(rng: np.random.Generator, weights: list[float]) -> int:
    return int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))
