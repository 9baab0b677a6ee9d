"""Where a star stands in the Hertzsprung-Russell diagram, and what a Gaia-like catalog therefore says of it.

Absolute magnitude and colour are drawn; distance, parallax, temperature, luminosity, radius and gravity follow from
them, so the columns agree with each other. There is no extinction and no parallax zero point.
"""

from dataclasses import dataclass

import numpy as np

#: The dwarfs' main sequence: BP - RP, and absolute magnitude in G, without extinction.
SEQUENCE_COLOUR = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.4, 2.8])
SEQUENCE_ABS_G = np.array([1.0, 1.9, 2.7, 3.6, 4.6, 5.7, 6.8, 7.6, 8.7, 9.9, 11.3])
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


def giant(rng: np.random.Generator, abs_g: float, colour: float) -> Place:
    return Place(abs_g, colour, rng.uniform(0.9, 1.8), rng.normal(-0.1, 0.2), True)


def horizontal_branch(rng: np.random.Generator, colour: float) -> Place:
    return Place(rng.normal(0.63, 0.12), rng.normal(colour, 0.05), 0.6, rng.normal(-1.4, 0.3), True)


def dwarf(rng: np.random.Generator, bluest: float, reddest: float) -> Place:
    """A star of the main sequence; its mass from the luminosity, L = M^4."""
    colour = rng.uniform(bluest, reddest)
    abs_g = float(np.interp(colour, SEQUENCE_COLOUR, SEQUENCE_ABS_G)) + rng.normal(0.0, 0.15)
    mass = luminosity(abs_g, temperature(colour, 0.0, False)) ** 0.25
    return Place(abs_g, colour, mass, rng.normal(-0.05, 0.2), False)


def catalog_of_star(
    rng: np.random.Generator, g_mag: float, place: Place, period_days: float, inclination: float
) -> dict[str, float]:
    """The catalog entry of a star: parallax from its distance, the rest from its place in the diagram."""
    colour = place.colour
    mean_g = gaia_magnitude(g_mag, colour)
    parallax_error = _parallax_error(rng, mean_g)
    parallax = 1000.0 / 10.0 ** ((mean_g - place.abs_g + 5.0) / 5.0)
    teff = temperature(colour, place.metallicity, place.is_giant)
    lum = luminosity(place.abs_g, teff)
    radius = np.sqrt(lum) * (SUN_TEFF / teff) ** 2
    return {
        "parallax": parallax + parallax_error * rng.standard_normal(),
        "parallax_error": parallax_error,
        **_photometry(rng, mean_g, colour),
        "radius_val": radius,
        "lum_val": lum,
        "ruwe": 0.92 + rng.lognormal(np.log(0.09), 0.5),
        "teff": teff,
        "logg": SUN_LOGG + np.log10(place.mass) - 2.0 * np.log10(radius),
        "mh": place.metallicity,
        **_line_broadening(rng, mean_g, radius, period_days, inclination),
    }


def catalog_of_quasar(rng: np.random.Generator, g_mag: float) -> dict[str, float]:
    """The catalog entry of a quasar: no parallax beyond its error, no stellar parameters."""
    colour = rng.normal(0.6, 0.15)
    mean_g = gaia_magnitude(g_mag, colour)
    parallax_error = _parallax_error(rng, mean_g)
    unknown = dict.fromkeys(("radius_val", "lum_val", "teff", "logg", "mh", "vbroad", "vbroad_error"), np.nan)
    return {
        "parallax": parallax_error * rng.standard_normal(),
        "parallax_error": parallax_error,
        **_photometry(rng, mean_g, colour),
        "ruwe": 0.92 + rng.lognormal(np.log(0.11), 0.5),
        **unknown,
    }


def gaia_magnitude(g_mag: float, colour: float) -> float:
    """Gaia G from the survey's g, taken as SDSS g, and BP - RP (Riello et al. 2021, appendix C)."""
    return g_mag + 0.2199 - 0.6365 * colour - 0.1548 * colour**2 + 0.0064 * colour**3


def _photometry(rng: np.random.Generator, mean_g: float, colour: float) -> dict[str, float]:
    """G, BP and RP; G - RP follows BP - RP with a scatter of 0.01 mag (a parabola through the stellar locus)."""
    red = mean_g - (0.62 * colour - 0.065 * colour**2) + rng.normal(0.0, 0.01)
    return {"phot_g_mean_mag": mean_g, "phot_bp_mean_mag": red + colour, "phot_rp_mean_mag": red}


def _parallax_error(rng: np.random.Generator, mean_g: float) -> float:
    """Typical error [mas] of Gaia DR3: 0.018 for bright stars, 0.07 at G = 17."""
    return float(np.hypot(0.018, 0.07 * 10.0 ** (0.3 * (mean_g - 17.0))) * rng.lognormal(0.0, 0.15))


def temperature(colour: float, metallicity: float, is_giant: bool) -> float:
    """Effective temperature [K] (Mucciarelli, Bellazzini & Massari 2021, BP - RP of Gaia EDR3)."""
    for_giants = (0.5323, 0.4775, -0.0344, -0.0110, -0.0020, -0.0009)
    for_dwarfs = (0.4929, 0.5092, -0.0353, 0.0192, -0.0020, -0.0395)
    b = for_giants if is_giant else for_dwarfs
    theta = (b[0] + b[1] * colour + b[2] * colour**2) + (b[3] + b[4] * metallicity + b[5] * colour) * metallicity
    return 5040.0 / theta


def luminosity(abs_g: float, teff: float) -> float:
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
