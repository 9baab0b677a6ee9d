"""Which stars the simulated sky holds, and what a Gaia-like catalog says of each.

A star is drawn as a kind at an apparent magnitude; absolute magnitude and colour place it in the Hertzsprung-Russell
diagram, and distance, parallax, temperature, luminosity, radius and gravity follow from them, so the columns agree
with each other. There is no extinction and no parallax zero point.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtr, ndtri

from .diagram import Place, catalog_of_quasar, catalog_of_star, dwarf, giant, horizontal_branch
from .streams import opaque_id, stream

Kind = Literal["clump", "quasar", "rotator", "eclipsing", "pulsating", "semiregular", "constant"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Mean magnitude g of each kind: mean, standard deviation, brightest, faintest.
MAGNITUDES: dict[Kind, tuple[float, float, float, float]] = {
    "clump": (14.75, 0.9, 12.0, 16.5),
    "quasar": (17.45, 0.55, 16.0, 18.3),
    "rotator": (13.9, 0.9, 12.0, 15.8),
    "eclipsing": (13.8, 0.9, 12.0, 15.5),
    "pulsating": (14.0, 0.9, 12.0, 15.8),
    "semiregular": (13.0, 0.7, 12.0, 14.5),
    "constant": (14.2, 1.0, 12.0, 16.5),
}


@dataclass(frozen=True)
class Star:
    """One object of the sky with its truth and its catalog entry; NaN where it has no such value.

    Attributes
    ----------
    key : (kind, index), which names the star's random streams
    g_mag : mean magnitude in the survey's band
    subtype : as 'dwarf' among rotators or 'RRAB' among pulsating stars
    period_days : rotation, orbital or pulsation period, NaN for none
    inclination : of the rotation axis [deg], NaN where nothing depends on it
    gaia : catalog values by column name
    """

    key: tuple[Kind, int]
    star_id: str
    field: int
    subtype: str
    g_mag: float
    period_days: float
    inclination: float
    gaia: dict[str, float]

    @property
    def kind(self) -> Kind:
        return self.key[0]


def draw_star(seed: int, kind: Kind, index: int, field: int, centre_deg: tuple[float, float]) -> Star:
    """Star number `index` of its kind, within half a degree of the centre (RA, Dec) of its field."""
    rng = stream(seed, "star", kind, index)
    g_mag = _truncated_normal(rng, *MAGNITUDES[kind])
    subtype, period_days, place = _draw_kind(kind, rng)
    inclination = float(np.degrees(np.arccos(rng.random()))) if kind == "rotator" else np.nan
    ra, dec = _position(rng, centre_deg)
    gaia = (
        catalog_of_quasar(rng, g_mag) if place is None else catalog_of_star(rng, g_mag, place, period_days, inclination)
    )
    return Star(
        key=(kind, index),
        star_id=opaque_id(seed, "star", kind, index),
        field=field,
        subtype=subtype,
        g_mag=g_mag,
        period_days=period_days,
        inclination=inclination,
        gaia={"ra_deg": ra, "dec_deg": dec, **gaia},
    )


def _draw_kind(kind: Kind, rng: np.random.Generator) -> tuple[str, float, Place | None]:
    """Subtype, period [d] and place in the diagram (None for a quasar) of a star of this kind."""
    match kind:
        case "clump":
            return "giant", np.nan, giant(rng, rng.normal(0.5, 0.25), rng.normal(1.22, 0.06))
        case "quasar":
            return "quasar", np.nan, None
        case "rotator":
            return _draw_rotator(rng)
        case "eclipsing":
            return _draw_binary(rng)
        case "pulsating":
            return _draw_pulsator(rng)
        case "semiregular":
            period = _log_uniform(rng, 30.0, 200.0)
            return "SR", period, giant(rng, -1.0 - 1.2 * np.log10(period / 30.0), rng.uniform(1.9, 3.0))
        case "constant":
            return "dwarf", np.nan, dwarf(rng, 0.5, 1.6)


def _draw_rotator(rng: np.random.Generator) -> tuple[str, float, Place]:
    """Spotted dwarfs, subgiants and giants as in close binaries, and stars above the Kraft break."""
    subtype = _choose(rng, ("dwarf", "subgiant", "giant", "hot"), (0.5, 0.2, 0.2, 0.1))
    match subtype:
        case "dwarf":
            return subtype, _log_uniform(rng, 1.0, 30.0), dwarf(rng, 0.8, 2.4)
        case "subgiant":
            return subtype, _log_uniform(rng, 1.5, 30.0), giant(rng, rng.uniform(2.2, 3.8), rng.uniform(1.0, 1.25))
        case "giant":
            return subtype, _log_uniform(rng, 6.0, 45.0), giant(rng, rng.uniform(0.0, 2.0), rng.uniform(1.15, 1.5))
        case _:
            return subtype, _log_uniform(rng, 1.0, 6.0), dwarf(rng, 0.40, 0.58)


def _draw_binary(rng: np.random.Generator) -> tuple[str, float, Place]:
    """Detached, close and contact eclipsing binaries of two dwarfs, half a magnitude above the main sequence."""
    subtype = _choose(rng, ("EA", "EB", "EW"), (0.5, 0.2, 0.3))
    shortest, longest = {"EA": (0.8, 12.0), "EB": (0.5, 3.0), "EW": (0.25, 0.6)}[subtype]
    single = dwarf(rng, 0.3, 1.2)
    return subtype, _log_uniform(rng, shortest, longest), replace(single, abs_g=single.abs_g - 0.5)


def _draw_pulsator(rng: np.random.Generator) -> tuple[str, float, Place]:
    """RR Lyrae stars, delta Scuti stars, and Cepheids on M_G = -4.05 - 2.6 (log P - 1)."""
    subtype = _choose(rng, ("RRAB", "RRC", "DSCT", "CEP"), (0.4, 0.15, 0.2, 0.25))
    match subtype:
        case "RRAB":
            return subtype, rng.uniform(0.43, 0.80), horizontal_branch(rng, 0.62)
        case "RRC":
            return subtype, rng.uniform(0.24, 0.42), horizontal_branch(rng, 0.45)
        case "DSCT":
            return subtype, _log_uniform(rng, 0.05, 0.20), dwarf(rng, 0.25, 0.45)
        case _:
            period = _log_uniform(rng, 2.5, 30.0)
            abs_g = -4.05 - 2.6 * (np.log10(period) - 1.0) + rng.normal(0.0, 0.15)
            return subtype, period, Place(abs_g, rng.normal(0.85, 0.08), 5.0, 0.0, True)


def _position(rng: np.random.Generator, centre_deg: tuple[float, float]) -> tuple[float, float]:
    """RA and Dec [deg] within half a degree of the centre, uniform on the sphere's small cap."""
    distance, angle = 0.5 * np.sqrt(rng.random()), 2 * np.pi * rng.random()
    dec = centre_deg[1] + distance * np.cos(angle)
    ra = centre_deg[0] + distance * np.sin(angle) / np.cos(np.radians(dec))
    return float(ra % 360.0), float(dec)


def _truncated_normal(rng: np.random.Generator, mean: float, deviation: float, low: float, high: float) -> float:
    bottom, top = ndtr((np.array([low, high]) - mean) / deviation)
    return float(mean + deviation * ndtri(rng.uniform(bottom, top)))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _choose(rng: np.random.Generator, names: tuple[str, ...], shares: tuple[float, ...]) -> str:
    return names[int(rng.choice(len(names), p=shares))]
