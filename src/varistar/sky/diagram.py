"""Where a star stands in the Hertzsprung-Russell diagram, and what a Gaia-like catalog therefore says of it.

Absolute magnitude and colour are drawn; distance, parallax, temperature, luminosity, radius and gravity follow from
them, so the columns agree with each other. There is no extinction and no parallax zero point.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Population = Literal["hot", "giant", "dwarf", "subgiant"]

#: The dwarfs' main sequence from O5 to M7: BP - RP, and absolute magnitude in G (rounded from E. Mamajek's table).
SEQUENCE_COLOUR = np.array(
    [
        -0.46,
        -0.42,
        -0.36,
        -0.28,
        -0.19,
        -0.11,
        0.0,
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
        1.3,
        1.6,
        2.0,
        2.4,
        2.8,
        3.2,
        3.6,
        4.0,
        4.5,
    ]
)
SEQUENCE_ABS_G = np.array(
    [-5.3, -4.0, -2.9, -2.0, -1.1, -0.2, 1.0, 1.9, 2.7, 3.6, 4.6, 5.7, 6.8, 7.6, 8.7, 9.9, 11.3, 12.5, 13.3, 13.9, 14.4]
)
#: The giant branch from the coolest stars of the asymptotic branch to its base: absolute magnitude, colour.
BRANCH_ABS_G = np.array([-2.7, -2.4, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.2])
BRANCH_COLOUR = np.array([2.7, 2.2, 1.9, 1.56, 1.34, 1.26, 1.20, 1.12, 1.04])
#: Temperatures of stars bluer than the colour relation, and bolometric corrections in V (there as good as G) of stars
#: hotter than 8000 K and in G of stars cooler than 3300 K (Pecaut & Mamajek 2013, rounded).
HOT_COLOUR = np.array([-0.46, -0.42, -0.36, -0.28, -0.19, -0.11, 0.0, 0.2])
HOT_TEFF = np.array([41400.0, 33300.0, 26000.0, 20600.0, 15700.0, 12300.0, 9900.0, 8495.0])
EXTREME_TEFF = np.array([2400.0, 2700.0, 3060.0, 3300.0, 8000.0, 9900.0, 12300.0, 15700.0, 20600.0, 26000.0, 41400.0])
EXTREME_CORRECTION = np.array([-2.3, -1.85, -1.30, -1.06, 0.02, -0.25, -0.73, -1.34, -2.03, -2.58, -3.76])
SUN_BOLOMETRIC = 4.74
SUN_TEFF = 5772.0
SUN_LOGG = 4.438
#: Equatorial speed of a star of one solar radius that turns once a day [km/s].
SUN_SPEED = 50.6


@dataclass(frozen=True)
class Place:
    """Where a star stands in the Hertzsprung-Russell diagram: M_G, BP - RP [mag], mass [Sun], and [Fe/H]."""

    abs_g: float
    colour: float
    mass: float
    metallicity: float
    is_giant: bool

    @cached_property
    def teff(self) -> float:
        """Effective temperature [K]."""
        return temperature(self.colour, self.metallicity, self.is_giant)

    @cached_property
    def luminosity(self) -> float:
        """In units of the Sun's."""
        return luminosity(self.abs_g, self.teff)

    @cached_property
    def radius(self) -> float:
        """In units of the Sun's, from luminosity and temperature."""
        return math.sqrt(self.luminosity) * (SUN_TEFF / self.teff) ** 2

    @cached_property
    def logg(self) -> float:
        """Logarithm of the surface gravity [cgs], from mass and radius."""
        return SUN_LOGG + math.log10(self.mass) - 2.0 * math.log10(self.radius)

    @property
    def population(self) -> Population:
        return population(self.abs_g, self.colour)


def population(abs_g: float, colour: float) -> Population:
    """The paper's four populations (papers/000, section 6.1, eqs. 8 and 9); hot stars first.

    By its own equation only giants brighter than M_G = -1 or so are "giants": the red clump counts as "subgiant".
    """
    if colour < 0.6:
        return "hot"
    if abs_g <= 2.0 * colour - 4.0:
        return "giant"
    return "dwarf" if abs_g >= 1.4 * colour + 2.8 else "subgiant"


def dwarf(rng: np.random.Generator, colour: float) -> Place:
    """A star of the main sequence; its mass from the luminosity, L = M^4."""
    abs_g = sequence(colour) + rng.normal(0.0, 0.15)
    mass = luminosity(abs_g, temperature(colour, 0.0, False)) ** 0.25
    return Place(abs_g, colour, mass, rng.normal(-0.05, 0.2), False)


def sequence(colour: float) -> float:
    """Absolute magnitude in G of the main sequence at a colour BP - RP."""
    return float(np.interp(colour, SEQUENCE_COLOUR, SEQUENCE_ABS_G))


def red_giant(rng: np.random.Generator, abs_g: float) -> Place:
    """A star of the giant branch; poorer ones are bluer."""
    metallicity = rng.normal(-0.1, 0.2)
    colour = float(np.interp(abs_g, BRANCH_ABS_G, BRANCH_COLOUR)) + 0.1 * (metallicity + 0.1) + rng.normal(0.0, 0.03)
    return Place(abs_g, colour, rng.uniform(0.9, 1.8), metallicity, True)


def clump_giant(rng: np.random.Generator) -> Place:
    """A giant of the red clump."""
    return giant(rng, rng.normal(0.5, 0.25), rng.normal(1.22, 0.06))


def giant(rng: np.random.Generator, abs_g: float, colour: float) -> Place:
    """A giant or subgiant of this absolute magnitude and colour, of 0.9 to 1.8 solar masses."""
    return Place(abs_g, colour, rng.uniform(0.9, 1.8), rng.normal(-0.1, 0.2), True)


def horizontal_branch(rng: np.random.Generator, colour: float) -> Place:
    """A metal-poor star of the horizontal branch, about this colour."""
    return Place(rng.normal(0.63, 0.12), rng.normal(colour, 0.05), 0.6, rng.normal(-1.4, 0.3), True)


def draw_place(rng: np.random.Generator, wanted: Population) -> Place:
    """A star of the population `wanted`, as a sample limited in apparent magnitude holds them.

    Hot stars are dwarfs, few of them O and B, and one in ten of the horizontal branch; giants stand on the upper giant
    branch; subgiants are a mixture of the red clump, the lower giant branch and the true subgiants; dwarfs are mostly
    F and G, with a tail to M.
    """
    while True:
        place = _draw_once(rng, wanted)
        if place.population == wanted:
            return place


def _draw_once(rng: np.random.Generator, wanted: Population) -> Place:
    match wanted:
        case "hot" if rng.random() < 0.1:
            return horizontal_branch(rng, rng.uniform(-0.1, 0.55))
        case "hot":
            return dwarf(rng, max(0.6 - rng.exponential(0.2), SEQUENCE_COLOUR[0]))
        case "giant":
            return red_giant(rng, -0.9 - 1.8 * rng.random() ** 1.5)
        case "dwarf":
            return dwarf(rng, min(0.62 + rng.exponential(0.35), SEQUENCE_COLOUR[-1]))
    mixture = rng.random()
    if mixture < 0.5:
        return clump_giant(rng)
    if mixture < 0.8:
        return red_giant(rng, rng.uniform(-0.8, 3.2))
    return giant(rng, rng.uniform(2.4, 4.0), rng.uniform(0.75, 1.05))


def catalog_of_star(
    rng: np.random.Generator, g_mag: float, place: Place, turning: float, period_days: float, inclination: float
) -> dict[str, float]:
    """The catalog entry of a star: what follows from its place in the diagram.

    Its lines are as broad as a body of radius `turning` [Sun] makes them that turns with this period and inclination;
    either may be NaN.
    """
    body = {
        "radius_val": place.radius,
        "lum_val": place.luminosity,
        "teff": place.teff,
        "logg": place.logg,
        "mh": place.metallicity,
    }
    mean_g = gaia_magnitude(g_mag, place.colour)
    entry = stellar_entry(rng, mean_g, place.colour, place.abs_g, place.is_giant)
    return {**entry, **body, **line_broadening(rng, mean_g, turning, period_days, inclination)}


def stellar_entry(
    rng: np.random.Generator, mean_g: float, colour: float, abs_g: float, is_giant: bool
) -> dict[str, float]:
    """What the catalog measures of a star: parallax from its distance, and magnitudes."""
    parallax_error = _parallax_error(rng, mean_g)
    parallax = 1000.0 / 10.0 ** ((mean_g - abs_g + 5.0) / 5.0) + parallax_error * rng.standard_normal()
    infrared = mean_g - (1.75 * colour - 0.1 * colour**2) + rng.normal(0.0, 0.03)
    step = (-0.07 if is_giant else 0.06 * max(colour - 1.2, 0.0)) + rng.normal(0.0, 0.02)
    return {
        **_astrometry(mean_g, parallax, parallax_error),
        **_photometry(rng, mean_g, colour),
        "catwise_w1": infrared,
        "catwise_w2": infrared - step,
        "ruwe": 0.92 + rng.lognormal(math.log(0.09), 0.5),
    }


def catalog_of_quasar(rng: np.random.Generator, g_mag: float) -> dict[str, float]:
    """The catalog entry of a quasar: no parallax beyond its error, no stellar parameters, red beyond 3 micrometres."""
    colour = QUASAR_COLOUR + rng.normal(0.0, 0.15)
    mean_g = gaia_magnitude(g_mag, colour)
    parallax_error = _parallax_error(rng, mean_g)
    infrared = mean_g - rng.normal(3.6, 0.4)
    unknown = dict.fromkeys(("radius_val", "lum_val", "teff", "logg", "mh", "vbroad", "vbroad_error"), np.nan)
    return {
        **_astrometry(mean_g, parallax_error * rng.standard_normal(), parallax_error),
        **_photometry(rng, mean_g, colour),
        "catwise_w1": infrared,
        "catwise_w2": infrared - rng.normal(1.1, 0.15),
        "ruwe": 0.92 + rng.lognormal(math.log(0.11), 0.5),
        **unknown,
    }


#: Mean BP - RP of quasars.
QUASAR_COLOUR = 0.6


def visual_magnitude(g_mag: float, colour: float) -> float:
    """Johnson V from the survey's g, taken as SDSS g, and BP - RP, by way of G (Riello et al. 2021, appendix C).

    Outside 0.3 to 3.0, where their relation of g ends, g - V is that of the end.
    """
    inside = min(max(colour, 0.3), 3.0)
    g_to_gaia = 0.2199 - 0.6365 * inside - 0.1548 * inside**2 + 0.0064 * inside**3
    return g_mag + g_to_gaia - _visual_to_gaia(inside)


def gaia_magnitude(g_mag: float, colour: float) -> float:
    """Gaia G from the survey's g, as `visual_magnitude`."""
    return visual_magnitude(g_mag, colour) + _visual_to_gaia(colour)


def _visual_to_gaia(colour: float) -> float:
    """G - V."""
    return -0.02704 + 0.01424 * colour - 0.2156 * colour**2 + 0.01426 * colour**3


def _astrometry(mean_g: float, parallax: float, parallax_error: float) -> dict[str, float]:
    """Parallax [mas] and the absolute magnitude that it gives (papers/000, eqs. 1 and 2), NaN where it gives none."""
    abs_g = mean_g + 5.0 * math.log10(parallax / 100.0) if parallax > 0 else np.nan
    return {"parallax": parallax, "parallax_error": parallax_error, "abs_g_mag": abs_g}


def _photometry(rng: np.random.Generator, mean_g: float, colour: float) -> dict[str, float]:
    """G, BP, RP and TESS magnitude of the mean colour."""
    red = mean_g - red_colour(colour) + rng.normal(0.0, 0.01)
    return {
        "phot_g_mean_mag": mean_g,
        "phot_bp_mean_mag": red + colour,
        "phot_rp_mean_mag": red,
        "tmag": tess_magnitude(mean_g, colour),
    }


def tess_magnitude(mean_g: float, colour: float) -> float:
    """TESS magnitude of G and BP - RP (Stassun et al. 2019, eq. 1)."""
    return mean_g - tess_colour(colour)


def tess_colour(colour: float) -> float:
    """G less TESS magnitude, against BP - RP."""
    return 0.00522555 * colour**3 - 0.0891337 * colour**2 + 0.633923 * colour - 0.0324473


def red_colour(colour: float) -> float:
    """G - RP against BP - RP: a parabola through the stellar locus, with a scatter of 0.01 mag."""
    return 0.62 * colour - 0.065 * colour**2


def _parallax_error(rng: np.random.Generator, mean_g: float) -> float:
    """Typical error [mas] of Gaia DR3: 0.018 for bright stars, 0.07 at G = 17."""
    return math.hypot(0.018, 0.07 * 10.0 ** (0.3 * (mean_g - 17.0))) * rng.lognormal(0.0, 0.15)


def temperature(colour: float, metallicity: float, is_giant: bool) -> float:
    """Effective temperature [K] (Mucciarelli, Bellazzini & Massari 2021, BP - RP of Gaia EDR3; hot stars see above).

    Their relations hold to BP - RP = 1.5 (dwarfs) and 2.6 (giants); redder, the same polynomials stay within 200 K of
    E. Mamajek's dwarfs.
    """
    if colour < HOT_COLOUR[-1]:
        return float(np.interp(colour, HOT_COLOUR, HOT_TEFF))
    for_giants = (0.5323, 0.4775, -0.0344, -0.0110, -0.0020, -0.0009)
    for_dwarfs = (0.4929, 0.5092, -0.0353, 0.0192, -0.0020, -0.0395)
    b = for_giants if is_giant else for_dwarfs
    theta = (b[0] + b[1] * colour + b[2] * colour**2) + (b[3] + b[4] * metallicity + b[5] * colour) * metallicity
    return 5040.0 / theta


def luminosity(abs_g: float, teff: float) -> float:
    """Luminosity [Sun] with the bolometric correction of Gaia DR2 (Andrae et al. 2018, table 4; else see above)."""
    if not 3300.0 <= teff <= 8000.0:
        correction = float(np.interp(teff, EXTREME_TEFF, EXTREME_CORRECTION))
    else:
        warm = (6.000e-2, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15)
        cool = (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14)
        a = warm if teff >= 4000.0 else cool
        t = teff - SUN_TEFF
        correction = a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * a[4])))
    return 10.0 ** (-0.4 * (abs_g + correction - SUN_BOLOMETRIC))


def line_broadening(
    rng: np.random.Generator, mean_g: float, radius: float, period_days: float, inclination: float
) -> dict[str, float]:
    """vbroad [km/s] of stars brighter than G = 13.5: v sin i of a rotator and 5 km/s from everything else."""
    error = rng.lognormal(math.log(1.5), 0.4)
    projected = SUN_SPEED * radius / period_days * math.sin(math.radians(inclination))
    rotation = projected if math.isfinite(projected) else rng.lognormal(math.log(3.0), 0.5)
    measured = math.hypot(rotation, 5.0) + error * rng.standard_normal()
    if mean_g > 13.5:
        return {"vbroad": np.nan, "vbroad_error": np.nan}
    return {"vbroad": max(measured, 1.0), "vbroad_error": error}
