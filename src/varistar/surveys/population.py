"""Which stars the simulated sky holds, and what a Gaia-like catalog says of each.

A star is drawn as a kind at an apparent magnitude; absolute magnitude and colour place it in the Hertzsprung-Russell
diagram, and distance, parallax, temperature, luminosity, radius and gravity follow from them, so the columns agree
with each other. There is no extinction and no parallax zero point.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtr, ndtri

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
#: The dwarfs' main sequence: BP - RP, and absolute magnitude in G, without extinction.
SEQUENCE_COLOUR = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.4, 2.8])
SEQUENCE_ABS_G = np.array([1.0, 1.9, 2.7, 3.6, 4.6, 5.7, 6.8, 7.6, 8.7, 9.9, 11.3])
SUN_BOLOMETRIC = 4.74
SUN_TEFF = 5772.0
SUN_LOGG = 4.438
#: Equatorial speed of a star of one solar radius that turns once a day [km/s].
SUN_SPEED = 50.6


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


@dataclass(frozen=True)
class _Place:
    """Where a star stands in the Hertzsprung-Russell diagram: M_G, BP - RP [mag], mass [Sun], and [Fe/H]."""

    abs_g: float
    colour: float
    mass: float
    metallicity: float
    is_giant: bool


def draw_star(seed: int, kind: Kind, index: int, field: int, centre_deg: tuple[float, float]) -> Star:
    """Star number `index` of its kind, within half a degree of the centre (RA, Dec) of its field."""
    rng = stream(seed, "star", kind, index)
    g_mag = _truncated_normal(rng, *MAGNITUDES[kind])
    subtype, period_days, place = _draw_kind(kind, rng)
    inclination = float(np.degrees(np.arccos(rng.random()))) if kind == "rotator" else np.nan
    ra, dec = _position(rng, centre_deg)
    gaia = _extragalactic(rng, g_mag) if place is None else _stellar(rng, g_mag, place, period_days, inclination)
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


def _draw_kind(kind: Kind, rng: np.random.Generator) -> tuple[str, float, _Place | None]:
    """Subtype, period [d] and place in the diagram (None for a quasar) of a star of this kind."""
    match kind:
        case "clump":
            return "giant", np.nan, _giant(rng, rng.normal(0.5, 0.25), rng.normal(1.22, 0.06))
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
            return "SR", period, _giant(rng, -1.0 - 1.2 * np.log10(period / 30.0), rng.uniform(1.9, 3.0))
        case "constant":
            return "dwarf", np.nan, _dwarf(rng, 0.5, 1.6)


def _draw_rotator(rng: np.random.Generator) -> tuple[str, float, _Place]:
    """Spotted dwarfs, subgiants and giants as in close binaries, and stars above the Kraft break."""
    subtype = _choose(rng, ("dwarf", "subgiant", "giant", "hot"), (0.5, 0.2, 0.2, 0.1))
    match subtype:
        case "dwarf":
            return subtype, _log_uniform(rng, 1.0, 30.0), _dwarf(rng, 0.8, 2.4)
        case "subgiant":
            return subtype, _log_uniform(rng, 1.5, 30.0), _giant(rng, rng.uniform(2.2, 3.8), rng.uniform(1.0, 1.25))
        case "giant":
            return subtype, _log_uniform(rng, 6.0, 45.0), _giant(rng, rng.uniform(0.0, 2.0), rng.uniform(1.15, 1.5))
        case _:
            return subtype, _log_uniform(rng, 1.0, 6.0), _dwarf(rng, 0.40, 0.58)


def _draw_binary(rng: np.random.Generator) -> tuple[str, float, _Place]:
    """Detached, close and contact eclipsing binaries of two dwarfs, half a magnitude above the main sequence."""
    subtype = _choose(rng, ("EA", "EB", "EW"), (0.5, 0.2, 0.3))
    shortest, longest = {"EA": (0.8, 12.0), "EB": (0.5, 3.0), "EW": (0.25, 0.6)}[subtype]
    single = _dwarf(rng, 0.3, 1.2)
    return subtype, _log_uniform(rng, shortest, longest), replace(single, abs_g=single.abs_g - 0.5)


def _draw_pulsator(rng: np.random.Generator) -> tuple[str, float, _Place]:
    """RR Lyrae stars, delta Scuti stars, and Cepheids on M_G = -4.05 - 2.6 (log P - 1)."""
    subtype = _choose(rng, ("RRAB", "RRC", "DSCT", "CEP"), (0.4, 0.15, 0.2, 0.25))
    match subtype:
        case "RRAB":
            return subtype, rng.uniform(0.43, 0.80), _horizontal_branch(rng, 0.62)
        case "RRC":
            return subtype, rng.uniform(0.24, 0.42), _horizontal_branch(rng, 0.45)
        case "DSCT":
            return subtype, _log_uniform(rng, 0.05, 0.20), _dwarf(rng, 0.25, 0.45)
        case _:
            period = _log_uniform(rng, 2.5, 30.0)
            abs_g = -4.05 - 2.6 * (np.log10(period) - 1.0) + rng.normal(0.0, 0.15)
            return subtype, period, _Place(abs_g, rng.normal(0.85, 0.08), 5.0, 0.0, True)


def _giant(rng: np.random.Generator, abs_g: float, colour: float) -> _Place:
    return _Place(abs_g, colour, rng.uniform(0.9, 1.8), rng.normal(-0.1, 0.2), True)


def _horizontal_branch(rng: np.random.Generator, colour: float) -> _Place:
    return _Place(rng.normal(0.63, 0.12), rng.normal(colour, 0.05), 0.6, rng.normal(-1.4, 0.3), True)


def _dwarf(rng: np.random.Generator, bluest: float, reddest: float) -> _Place:
    """A star of the main sequence; its mass from the luminosity, L = M^4."""
    colour = rng.uniform(bluest, reddest)
    abs_g = float(np.interp(colour, SEQUENCE_COLOUR, SEQUENCE_ABS_G)) + rng.normal(0.0, 0.15)
    mass = _luminosity(abs_g, _temperature(colour, 0.0, False)) ** 0.25
    return _Place(abs_g, colour, mass, rng.normal(-0.05, 0.2), False)


def _stellar(
    rng: np.random.Generator, g_mag: float, place: _Place, period_days: float, inclination: float
) -> dict[str, float]:
    """The catalog entry of a star: parallax from its distance, the rest from its place in the diagram."""
    colour = place.colour
    mean_g = _gaia_magnitude(g_mag, colour)
    parallax_error = _parallax_error(rng, mean_g)
    parallax = 1000.0 / 10.0 ** ((mean_g - place.abs_g + 5.0) / 5.0)
    teff = _temperature(colour, place.metallicity, place.is_giant)
    luminosity = _luminosity(place.abs_g, teff)
    radius = np.sqrt(luminosity) * (SUN_TEFF / teff) ** 2
    return {
        "parallax": parallax + parallax_error * rng.standard_normal(),
        "parallax_error": parallax_error,
        **_photometry(rng, mean_g, colour),
        "radius_val": radius,
        "lum_val": luminosity,
        "ruwe": 0.92 + rng.lognormal(np.log(0.09), 0.5),
        "teff": teff,
        "logg": SUN_LOGG + np.log10(place.mass) - 2.0 * np.log10(radius),
        "mh": place.metallicity,
        **_line_broadening(rng, mean_g, radius, period_days, inclination),
    }


def _extragalactic(rng: np.random.Generator, g_mag: float) -> dict[str, float]:
    """The catalog entry of a quasar: no parallax beyond its error, no stellar parameters."""
    colour = rng.normal(0.6, 0.15)
    mean_g = _gaia_magnitude(g_mag, colour)
    parallax_error = _parallax_error(rng, mean_g)
    unknown = dict.fromkeys(("radius_val", "lum_val", "teff", "logg", "mh", "vbroad", "vbroad_error"), np.nan)
    return {
        "parallax": parallax_error * rng.standard_normal(),
        "parallax_error": parallax_error,
        **_photometry(rng, mean_g, colour),
        "ruwe": 0.92 + rng.lognormal(np.log(0.11), 0.5),
        **unknown,
    }


def _gaia_magnitude(g_mag: float, colour: float) -> float:
    """Gaia G from the survey's g, taken as SDSS g, and BP - RP (Riello et al. 2021, appendix C)."""
    return g_mag + 0.2199 - 0.6365 * colour - 0.1548 * colour**2 + 0.0064 * colour**3


def _photometry(rng: np.random.Generator, mean_g: float, colour: float) -> dict[str, float]:
    """G, BP and RP; G - RP follows BP - RP with a scatter of 0.01 mag (a parabola through the stellar locus)."""
    red = mean_g - (0.62 * colour - 0.065 * colour**2) + rng.normal(0.0, 0.01)
    return {"phot_g_mean_mag": mean_g, "phot_bp_mean_mag": red + colour, "phot_rp_mean_mag": red}


def _parallax_error(rng: np.random.Generator, mean_g: float) -> float:
    """Typical error [mas] of Gaia DR3: 0.018 for bright stars, 0.07 at G = 17."""
    return float(np.hypot(0.018, 0.07 * 10.0 ** (0.3 * (mean_g - 17.0))) * rng.lognormal(0.0, 0.15))


def _temperature(colour: float, metallicity: float, is_giant: bool) -> float:
    """Effective temperature [K] (Mucciarelli, Bellazzini & Massari 2021, BP - RP of Gaia EDR3)."""
    giant = (0.5323, 0.4775, -0.0344, -0.0110, -0.0020, -0.0009)
    dwarf = (0.4929, 0.5092, -0.0353, 0.0192, -0.0020, -0.0395)
    b = giant if is_giant else dwarf
    theta = (b[0] + b[1] * colour + b[2] * colour**2) + (b[3] + b[4] * metallicity + b[5] * colour) * metallicity
    return 5040.0 / theta


def _luminosity(abs_g: float, teff: float) -> float:
    """Luminosity [Sun] with the bolometric correction of Gaia DR2 (Andrae et al. 2018, table 4)."""
    t = np.clip(teff, 3300.0, 8000.0) - SUN_TEFF
    warm = (6.000e-2, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15)
    cool = (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14)
    correction = np.polynomial.polynomial.polyval(t, warm if teff >= 4000.0 else cool)
    return float(10.0 ** (-0.4 * (abs_g + correction - SUN_BOLOMETRIC)))


def _line_broadening(
    rng: np.random.Generator, mean_g: float, radius: float, period_days: float, inclination: float
) -> dict[str, float]:
    """vbroad [km/s] of stars brighter than G = 13.5: v sin i of a rotator and 5 km/s from everything else."""
    error = float(rng.lognormal(np.log(1.5), 0.4))
    projected = SUN_SPEED * radius / period_days * np.sin(np.radians(inclination))
    rotation = projected if np.isfinite(projected) else rng.lognormal(np.log(3.0), 0.5)
    measured = float(np.hypot(rotation, 5.0) + error * rng.standard_normal())
    if mean_g > 13.5:
        return {"vbroad": np.nan, "vbroad_error": np.nan}
    return {"vbroad": max(measured, 1.0), "vbroad_error": error}


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
