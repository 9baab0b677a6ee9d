"""What flares take from the atmosphere of a young planet: section 5.3 of the paper, for V1298 Tau d.

High-energy light drives hydrogen off a planet of radius R and mass M at the distance a,

    dM/dt = -xi eta L_HE R^3 / (4 a^2 G M),

with the efficiency eta, L_HE constant for 100 Myr and then falling as t^-1.5 (Owen & Wu 2017, eq. 22), and xi = 1
without flares. The planet is a solid core (Fortney, Marley & Barnes 2007) under an adiabatic envelope and an isothermal
radiative layer; its radius follows from the envelope's mass and age as in Owen & Wu (2017, eqs. 4 and 13) and Owen &
Campos Estrada (2020). A flare of amplitude A through TESS is psi A times the star in the ultraviolet, where

    psi = [UV(9000 K) / UV(T_star)] / [TESS(9000 K) / TESS(T_star)],    UV(T) = integral of B(lambda, T) over the band.

xi(F) for F = 1 + psi A times the star's light is read from the mass-loss rates of Bisikalo et al. (2018), 2.0, 3.8, 8.0
and 35 x 10^10 g/s at 1, 10, 100 and 1000 times the quiet flux, by straight lines in the logarithms.

The text of the paper that this follows lost its symbols. Assumed are therefore: the core's mass (5 Earths) and
composition (a third iron, no ice) and the efficiency (0.1), as in Owen & Campos Estrada; the ultraviolet band (100 to
400 nm); the form of xi; that amplitudes reach 100 %, since the text calls flares of 40 to 60 times the star's light
larger than its own; that amplitudes are uniform up to there, and that a time step has a flare with a chance of 10 %.
Such a flare lasts for the whole step, a million years: `Flaring.share` is the fraction of the time in which a star
flares, and `share_of_time` tells what light curves show, which is far less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from astropy import constants, units
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.optimize import brentq
from scipy.special import beta, betaincc

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import Settings

Array = NDArray[np.float64]

# cgs
GRAVITY = float(constants.G.cgs.value)
BOLTZMANN = float(constants.k_B.cgs.value)
STEFAN = float(constants.sigma_sb.cgs.value)
SUN_LIGHT = float(constants.L_sun.cgs.value)
SUN_RADIUS = float(constants.R_sun.cgs.value)
EARTH_MASS, EARTH_RADIUS = float(constants.M_earth.cgs.value), float(constants.R_earth.cgs.value)
AU = float(constants.au.cgs.value)
MYR = float((1e6 * units.yr).to(units.s).value)
PLANCK_NM_K = float((constants.h * constants.c / constants.k_B).to(units.nm * units.K).value)

#: Mean mass of a particle of solar composition [g], adiabatic index, and opacity kappa = K P^A T^B (Rogers & Seager
#: 2010), as Owen & Wu use them.
PARTICLE = 2.35 * float(constants.m_p.cgs.value)
ADIABAT = 5.0 / 3.0
OPACITY, OPACITY_P, OPACITY_T = 10.0**-7.32, 0.68, 0.45
#: An envelope has cooled for no less than this [Myr].
YOUNGEST_COOLING = 100.0

FLARE_TEFF = 9000.0
TESS_NM, UV_NM = (600.0, 1000.0), (100.0, 400.0)
#: High-energy flux in units of the quiet star's, and mass loss in units of the quiet one (Bisikalo et al. 2018).
FLARE_FLUX, FLARE_LOSS = (1.0, 10.0, 100.0, 1000.0), (1.0, 1.9, 4.0, 17.5)


class Host(Settings):
    """The star, V1298 Tau unless told otherwise (David et al. 2019a, b).

    Attributes
    ----------
    teff, radius, mass : [K, Sun, Sun].
    saturated : high-energy luminosity while it is constant [Sun], per solar mass.
    saturation_myr, decay : how long that is, and the power of age by which it falls afterwards.
    """

    teff: float = Field(default=4970.0, gt=0.0)
    radius: float = Field(default=1.345, gt=0.0)
    mass: float = Field(default=1.101, gt=0.0)
    saturated: float = Field(default=10.0**-3.5, ge=0.0)
    saturation_myr: float = Field(default=100.0, gt=0.0)
    decay: float = Field(default=1.5, ge=0.0)


class Planet(Settings):
    """The planet, V1298 Tau d unless told otherwise (David et al. 2019a, and the assumptions above).

    Attributes
    ----------
    radius, age_myr : of the whole planet now [Earth], when it is so old; they fix the envelope's mass.
    core_mass : [Earth]; iron, ice : fractions of it, one of them zero.
    separation_au : from the star; efficiency : of the high-energy light.
    """

    radius: float = Field(default=6.41, gt=0.0)
    age_myr: float = Field(default=23.0, gt=0.0)
    core_mass: float = Field(default=5.0, gt=0.0)
    iron: float = Field(default=1.0 / 3.0, ge=0.0, le=1.0)
    ice: float = Field(default=0.0, ge=0.0, le=1.0)
    separation_au: float = Field(default=0.1083, gt=0.0)
    efficiency: float = Field(default=0.1, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Planet":
        if self.iron > 0.0 and self.ice > 0.0:
            raise ValueError("a core has iron or ice beside its rock, not both: one of the fractions must be zero")
        return self


class Flaring(Settings):
    """How a star flares.

    Attributes
    ----------
    share : fraction of the time in which it does, or the chance of a flare that lasts a time step.
    smallest, largest, alpha : amplitudes through TESS, and their law dN/dA ~ A^-alpha; 0 is uniform.
    uv_nm : band of the ultraviolet.
    """

    share: float = Field(default=0.1, ge=0.0, le=1.0)
    smallest: float = Field(default=0.005, gt=0.0)
    largest: float = Field(default=1.0, gt=0.0)
    alpha: float = 0.0
    uv_nm: tuple[float, float] = UV_NM

    @model_validator(mode="after")
    def _ascends(self) -> "Flaring":
        if self.smallest >= self.largest:
            raise ValueError("the largest amplitude must exceed the smallest")
        return self


@dataclass(frozen=True)
class Track:
    """A planet's atmosphere with time.

    Attributes
    ----------
    age : float64 (n,) [Myr]
    envelope : float64 (n, draws) [Earth masses]
    radius : float64 (n, draws) [Earth radii]
    factor : float64 (n - 1, draws), xi in each step
    """

    age: Array
    envelope: Array
    radius: Array
    factor: Array


def compare_scenarios(
    planet: Planet,
    host: Host,
    flaring: Flaring,
    flares_until: Sequence[float] = (200.0, 1000.0),
    stop_myr: float = 1000.0,
    step_myr: float = 1.0,
) -> pl.DataFrame:
    """The paper's comparison, in expectation: without flares, and with flares up to each of these ages [Myr].

    Returns
    -------
    One row per scenario: `flares_until_myr` (0 without); `envelope_start`, `envelope_left`, `lost` [Earth masses];
    `radius_left` [Earth radii]; `extra_loss`, the part by which more is lost than without flares; `less_left`, the part
    by which less is left. The paper says 4 % and 7 % and "loses more atmosphere", the first. Null where nothing is lost
    or left without flares.

    Raises
    ------
    ConfigError
        As `evolve`.
    """
    rows = []
    for until in (0.0, *flares_until):
        track = evolve(planet, host, flaring if until else None, until, stop_myr, step_myr)
        start, left = float(track.envelope[0, 0]), float(track.envelope[-1, 0])
        rows.append((until, start, left, start - left, float(track.radius[-1, 0])))
    names = ("flares_until_myr", "envelope_start", "envelope_left", "lost", "radius_left")
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")
    lost, left = table["lost"][0], table["envelope_left"][0]
    return table.with_columns(
        extra_loss=(pl.col("lost") - lost) / lost if lost > 0.0 else pl.lit(None, pl.Float64),
        less_left=(left - pl.col("envelope_left")) / left if left > 0.0 else pl.lit(None, pl.Float64),
    )


def evolve(
    planet: Planet,
    host: Host,
    flaring: Flaring | None = None,
    flares_until: float = math.inf,
    stop_myr: float = 1000.0,
    step_myr: float = 1.0,
    rng: np.random.Generator | None = None,
    draws: int = 1,
) -> Track:
    """The planet from its age to `stop_myr`.

    Steps are of the second order (midpoint), each with one xi. Without `rng` that is its expectation; with it each of
    `draws` planets meets a flare of random amplitude in a step, or none.

    Parameters
    ----------
    flaring : None for no flares.
    flares_until : age at which flares end [Myr]; a step belongs to its beginning.

    Raises
    ------
    ConfigError
        When no envelope makes the planet as large as it is, when `stop_myr` is not later than now, or when steps are
        not positive.
    """
    if not step_myr > 0.0:
        raise ConfigError(f"time steps must be positive, got {step_myr:g} Myr")
    if stop_myr <= planet.age_myr:
        raise ConfigError(
            f"the planet is {planet.age_myr:g} Myr old already: it cannot be followed to {stop_myr:g} Myr"
        )
    structure = Structure(planet, host)
    steps = math.ceil((stop_myr - planet.age_myr) / step_myr - 1e-9)
    age = np.linspace(planet.age_myr, stop_myr, steps + 1)
    factor = _factors(flaring, host, age[:-1] < flares_until, rng, draws)
    envelope = np.empty((len(age), factor.shape[1]))
    envelope[0] = structure.envelope_of(planet.radius, planet.age_myr)
    for k in range(steps):
        step = age[k + 1] - age[k]
        half = envelope[k] - 0.5 * step * factor[k] * structure.loss(envelope[k], age[k])
        middle = structure.loss(np.maximum(half, 0.0), age[k] + 0.5 * step)
        envelope[k + 1] = np.maximum(envelope[k] - step * factor[k] * middle, 0.0)
    radius = np.stack([structure.radius(mass, when) for mass, when in zip(envelope, age, strict=True)])
    return Track(age, envelope, radius, factor)


def high_energy_light(host: Host, age_myr: float) -> float:
    """Luminosity of the star in X-rays and the extreme ultraviolet [erg/s]."""
    fall = max(age_myr / host.saturation_myr, 1.0) ** -host.decay
    return host.saturated * host.mass * SUN_LIGHT * fall


def contrast(teff: float, uv_nm: tuple[float, float] = UV_NM, tess_nm: tuple[float, float] = TESS_NM) -> float:
    """psi: how many times larger a flare of 9000 K is in the ultraviolet than through TESS, on a star of `teff` [K]."""
    uv, tess = (band_light(FLARE_TEFF, *band) / band_light(teff, *band) for band in (uv_nm, tess_nm))
    return uv / tess


def band_light(teff: float, low_nm: float, high_nm: float) -> float:
    """Integral of Planck's function over wavelength, as a fraction of all that a blackbody emits, times teff^4 [K^4].

    With t = hc / (lambda k T) that is 15 / pi^4 times the integral of t^3 / (e^t - 1), summed as a series in e^-t.
    """
    n = np.arange(1.0, 201.0)

    def below(wavelength: float) -> float:
        t = PLANCK_NM_K / (wavelength * teff)
        return float(np.sum(np.exp(-n * t) * (t**3 / n + 3.0 * t**2 / n**2 + 6.0 * t / n**3 + 6.0 / n**4)))

    return 15.0 / math.pi**4 * teff**4 * (below(high_nm) - below(low_nm))


def flare_factor(flux: Array) -> Array:
    """xi at so many times the quiet high-energy flux, of any shape; beyond a thousand the last line goes on."""
    x, y = np.log(FLARE_FLUX), np.log(FLARE_LOSS)
    log_flux = np.log(np.maximum(flux, 1.0))
    beyond = np.maximum(log_flux - x[-1], 0.0) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.exp(np.interp(log_flux, x, y) + beyond)


def mean_flare_factor(flaring: Flaring, teff: float) -> float:
    """Expected xi of a star that flares: 1 + share (mean xi of a flare - 1)."""
    # the median of each of 4096 equal parts of the amplitudes
    amplitude = _amplitudes(flaring, (np.arange(4096) + 0.5) / 4096)
    return 1.0 + flaring.share * float(np.mean(flare_factor(1.0 + contrast(teff, flaring.uv_nm) * amplitude)) - 1.0)


def share_of_time(rate_per_day: float, minutes: float) -> float:
    """The fraction of the time that flares of this mean length fill, such as their FWHM: at most one."""
    return min(rate_per_day * minutes / 1440.0, 1.0)


def core_radius(mass: float, iron: float, ice: float) -> float:
    """Radius [Earth] of rock and iron, or rock and ice, of this mass [Earth] (Fortney et al. 2007, eqs. 7 and 8)."""
    log_mass = math.log10(mass)
    if ice > 0.0:
        square, linear, zero = 0.0912 * ice + 0.1603, 0.3330 * ice + 0.7387, 0.4639 * ice + 1.1193
    else:
        rock = 1.0 - iron
        square, linear, zero = 0.0592 * rock + 0.0975, 0.2337 * rock + 0.4938, 0.3102 * rock + 0.7932
    return square * log_mass**2 + linear * log_mass + zero


class Structure:
    """Radius and mass loss of one planet, for any mass and age of its envelope.

    Where convection ends at r, the envelope is X = q(r) t^(1 / (2 + A)) of the core, with t the time it has cooled and
    A the opacity's power of pressure: one curve q(r) holds the planet at all ages.
    """

    def __init__(self, planet: Planet, host: Host) -> None:
        self._planet, self._host = planet, host
        self._mass = planet.core_mass * EARTH_MASS
        self._core = core_radius(planet.core_mass, planet.iron, planet.ice) * EARTH_RADIUS
        self._distance = planet.separation_au * AU
        self._teq = host.teff * math.sqrt(host.radius * SUN_RADIUS / (2.0 * self._distance))
        depth = np.geomspace(1e-5, 1e3, 4000)
        self._log_depth = np.log(depth)
        self._log_q = np.log(self._envelope_curve(depth))

    def radius(self, envelope: Array, age_myr: float) -> Array:
        """Of the planet to its photosphere [Earth], for these envelopes [Earth masses], of any shape."""
        fraction = np.maximum(envelope / self._planet.core_mass, 1e-30)
        cooled = max(age_myr, YOUNGEST_COOLING) * MYR
        log_q = np.log(fraction) - math.log(cooled) / (2.0 + OPACITY_P)
        boundary = self._core * (1.0 + np.exp(np.interp(log_q, self._log_q, self._log_depth)))
        height = BOLTZMANN * self._teq * boundary**2 / (PARTICLE * GRAVITY * self._mass)
        gravity = GRAVITY * self._mass / boundary**2
        # where so little lies on the core that radiation carries its heat all the way down, nothing convects
        weight = fraction * self._mass * gravity / (4.0 * math.pi * self._core**2)
        pressure = np.minimum(self._boundary_pressure(boundary, cooled / fraction), weight)
        photosphere = (2.0 / 3.0 * gravity / (OPACITY * self._teq**OPACITY_T)) ** (1.0 / (1.0 + OPACITY_P))
        # an envelope so thin that it is transparent adds nothing
        return (boundary + height * np.maximum(np.log(pressure / photosphere), 0.0)) / EARTH_RADIUS

    def envelope_of(self, radius: float, age_myr: float) -> float:
        """The envelope [Earth masses] that makes the planet so large [Earth].

        Raises
        ------
        ConfigError
            When no envelope from 1e-6 to 10 times the core does.
        """

        def excess(log_fraction: float) -> float:
            envelope = np.array([self._planet.core_mass * math.exp(log_fraction)])
            return float(self.radius(envelope, age_myr)[0]) - radius

        thin, thick = math.log(1e-6), math.log(10.0)
        if excess(thin) > 0.0 or excess(thick) < 0.0:
            raise ConfigError(
                f"no envelope makes a core of {self._planet.core_mass:g} Earth masses {radius:g} Earth radii large"
            )
        return self._planet.core_mass * math.exp(float(brentq(excess, thin, thick, xtol=1e-12)))

    def loss(self, envelope: Array, age_myr: float) -> Array:
        """Mass loss without flares [Earth masses / Myr], zero where there is no envelope."""
        size = self.radius(envelope, age_myr) * EARTH_RADIUS
        mass = self._mass + envelope * EARTH_MASS
        light = high_energy_light(self._host, age_myr)
        rate = self._planet.efficiency * light * size**3 / (4.0 * self._distance**2 * GRAVITY * mass)
        return np.where(envelope > 0.0, rate * MYR / EARTH_MASS, 0.0)

    def _envelope_curve(self, depth: Array) -> Array:
        """q for convective layers so deep, in core radii."""
        boundary = self._core * (1.0 + depth)
        power = 1.0 / (ADIABAT - 1.0)
        core_density = self._mass / (4.0 / 3.0 * math.pi * self._core**3)
        sound = BOLTZMANN * self._teq / PARTICLE
        steepness = (ADIABAT - 1.0) / ADIABAT * GRAVITY * self._mass / (sound * boundary)
        per_density = (
            3.0 * (1.0 + depth) ** 3 / core_density * steepness**power * shape_integral(2, 1.0 / (1.0 + depth))
        )
        density = PARTICLE / (BOLTZMANN * self._teq) * self._boundary_pressure(boundary, 1.0)
        return (per_density * density) ** ((1.0 + OPACITY_P) / (2.0 + OPACITY_P))

    def _boundary_pressure(self, boundary: Array, cooled_over_fraction: Array | float) -> Array:
        """At the radiative boundary, where radiation carries what the cooling envelope gives off [dyn / cm^2]."""
        x = self._core / boundary
        ratio = shape_integral(2, x) / shape_integral(1, x)
        power = 64.0 * math.pi * STEFAN * self._teq ** (4.0 - OPACITY_T) / (3.0 * OPACITY * self._mass)
        return (ratio * power * boundary * cooled_over_fraction) ** (1.0 / (1.0 + OPACITY_P))


def shape_integral(n: int, x: Array) -> Array:
    """I_n = integral from x to 1 of u^n (1 / u - 1)^(1 / (gamma - 1)) du: an incomplete beta function, of any shape."""
    power = 1.0 / (ADIABAT - 1.0)
    a, b = n - power + 1.0, power + 1.0
    return beta(a, b) * betaincc(a, b, x)


def _factors(
    flaring: Flaring | None, host: Host, flares: NDArray[np.bool_], rng: np.random.Generator | None, draws: int
) -> Array:
    """xi in each step, shape (steps, draws); one draw for the expectation."""
    if flaring is None:
        return np.ones((len(flares), draws))
    if rng is None:
        return np.where(flares, mean_flare_factor(flaring, host.teff), 1.0)[:, None]
    shape = (len(flares), draws)
    flare = (rng.random(shape) < flaring.share) & flares[:, None]
    amplitude = _amplitudes(flaring, rng.random(shape))
    return np.where(flare, flare_factor(1.0 + contrast(host.teff, flaring.uv_nm) * amplitude), 1.0)


def _amplitudes(flaring: Flaring, chance: Array) -> Array:
    """Amplitudes below which a flare is with this chance."""
    slope = 1.0 - flaring.alpha
    if abs(slope) < 1e-9:
        return flaring.smallest * (flaring.largest / flaring.smallest) ** chance
    low, high = flaring.smallest**slope, flaring.largest**slope
    return (low + chance * (high - low)) ** (1.0 / slope)
