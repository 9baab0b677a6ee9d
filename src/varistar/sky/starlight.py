"""What a target of the space survey does beside flaring: spots, planet, companion, pulsation, granulation."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from varistar.physics.red_noise import damped_random_walk
from varistar.physics.spot_prior import SpotPrior, draw_spot_parameters
from varistar.physics.spots import SpotSimulation, simulate_star
from varistar.physics.transits import Companion, Orbit, binary_flux, hidden_light, transit_flux

from .ephemeris import Array
from .sectors import CADENCE
from .streams import stream
from .targets import Pair, Target, scaled_axis

#: Spots: few, large and long-lived, on stars that turn almost rigidly, so that the equatorial period is nearly shown.
SPOTS = SpotPrior(
    activity=(0.02, 0.1),
    cycle_period=(5.0, 30.0),
    min_latitude=(0.0, 20.0),
    max_latitude=45.0,
    spot_lifetime=(60.0, 900.0),
    spot_lifetime_unit="days",
    shear=(0.005, 0.1),
    shear_weights=(0.7, 0.3, 0.0),
)
#: Spot size of a star that turns in five days; faster stars have larger spots, stars beyond a billion years smaller.
SPOT_SIZE = 0.007
OLD_SPOTS = 0.12
#: Radii of planets [Sun], log-uniform: 0.9 to 11 of Earth's.
PLANET_RADII = (0.0083, 0.10)


@dataclass(frozen=True)
class StarLight:
    """A star's light without flares: flux (n,) with median one, and the truth that only its drawing knows."""

    flux: Array
    shown_period_days: float
    depth: float


def star_light(seed: int, target: Target, time: Array, lengths: list[int]) -> StarLight:
    """What a star does beside flaring, at ascending `time` [d] in pieces (sectors) of the given lengths."""
    rng = stream(seed, "target light", target.index)
    spots, shown = np.ones_like(time), np.nan
    if np.isfinite(target.rotation_days):
        spots, shown = _spots(rng, target, time, lengths)
    other, depth = _variability(rng, target, time)
    flux = spots * other
    return StarLight(flux / np.median(flux), shown, depth)


def _spots(rng: np.random.Generator, target: Target, time: Array, lengths: list[int]) -> tuple[Array, float]:
    """Flux of the spotted star at `time`, and the period that its spots show [d].

    Spots are simulated 90 times a rotation and at least every 0.1 d, and joined by cubics. As on the ground, cycles
    overlap by half, which keeps the activity constant, and stars whose flux is not positive are drawn again.
    """
    step = min(target.rotation_days / 90.0, 0.1)
    ends = np.cumsum(lengths)
    pieces = [time[stop - length : stop] for stop, length in zip(ends, lengths, strict=True)]
    grids = [np.arange(piece[0] - 2 * step, piece[-1] + 3 * step, step) for piece in pieces]
    first, span = float(grids[0][0]), float(grids[-1][-1] - grids[0][0])
    simulation = SpotSimulation(
        duration_days=int(6 * 365 + span) + 2,
        window_days=span + 1.0,
        earliest_start_days=5 * 365.0,
        latest_start_days=6 * 365.0,
    )
    size = SPOT_SIZE * (target.rotation_days / 5.0) ** -0.2 * rng.lognormal(0.0, 0.4)
    size *= OLD_SPOTS if target.age_myr > 1000.0 else 1.0
    prior = SPOTS.model_copy(update={"period": (target.rotation_days,) * 2, "alpha_med": size})
    while True:
        parameters = draw_spot_parameters(prior, rng)
        cycle = parameters.cycle_period
        parameters = replace(parameters, inclination=target.inclination, cycle_overlap=cycle)
        star = simulate_star(parameters, np.concatenate(grids), first, rng, simulation)
        if star.lowest_flux > 0:
            break
    coarse = np.split(star.flux, np.cumsum([len(grid) for grid in grids])[:-1])
    fine = [CubicSpline(grid, flux)(piece) for grid, flux, piece in zip(grids, coarse, pieces, strict=True)]
    return np.concatenate(fine), star.effective_period


def _variability(rng: np.random.Generator, target: Target, time: Array) -> tuple[Array, float]:
    """Planet, companion, pulsation or granulation as a factor, and the deepest loss of light by what passes before."""
    if target.pair:
        return _binary(rng, target, target.pair, time)
    match target.kind, target.subtype:
        case "planet_host", _:
            return _planet(rng, target, time)
        case _, "DSCT":
            return _many_modes(rng, target.period_days, time), np.nan
        case _, "RRAB":
            return _steep_rise(rng, target.period_days, time), np.nan
        case _, "giant":
            size = rng.lognormal(np.log(3e-4), 0.3) * target.radius / 8.0
            return 1.0 + damped_random_walk(rng, time, 0.04 * target.radius, size), np.nan
        case _:
            return np.ones_like(time), np.nan


def _planet(rng: np.random.Generator, target: Target, time: Array) -> tuple[Array, float]:
    low, high = np.log(PLANET_RADII)
    radius = min(float(np.exp(rng.uniform(low, high))) / target.radius, 0.3)
    axis = scaled_axis(target.period_days, target.mass, target.radius)
    impact, epoch = rng.uniform(0.0, 0.9), time[0] + target.period_days * rng.random()
    orbit = Orbit(target.period_days, epoch, axis, float(np.degrees(np.arccos(impact / axis))))
    limb = _limb(target.teff)
    flux = _over_cadences(time, lambda at: transit_flux(at, orbit, radius, limb))
    return flux, float(hidden_light(np.array([impact]), radius, limb)[0])


def _binary(rng: np.random.Generator, target: Target, pair: Pair, time: Array) -> tuple[Array, float]:
    """Two main-sequence stars that eclipse each other."""
    if target.subtype == "EW":
        glow, tides = rng.uniform(0.85, 1.0), rng.uniform(0.12, 0.30)
    else:
        glow, tides = pair.radius ** rng.uniform(1.0, 4.0), min(2.6 * pair.radius / pair.axis**3, 0.1)
    epoch = time[0] + target.period_days * rng.random()
    orbit = Orbit(target.period_days, epoch, pair.axis, pair.inclination)
    companion = Companion(pair.radius, glow * pair.radius**2 / (1.0 + glow * pair.radius**2), tides)
    limb = _limb(target.teff)
    cycle = binary_flux(orbit.epoch + target.period_days * np.linspace(0.0, 1.0, 1001), orbit, companion, limb)
    flux = _over_cadences(time, lambda at: binary_flux(at, orbit, companion, limb))
    return flux, float(1.0 - cycle.min() / cycle.max())


def _limb(teff: float) -> tuple[float, float]:
    """Quadratic limb darkening in TESS's band, smoothed by eye after Claret (2017)."""
    return float(np.interp(teff, (3000.0, 4500.0, 6000.0, 8000.0), (0.26, 0.42, 0.27, 0.18))), 0.24


def _over_cadences(time: Array, flux: Callable[[Array], Array]) -> Array:
    """The mean over each cadence by Gauss's rule of three points."""
    off = 0.5 * CADENCE * np.sqrt(0.6)
    return (5.0 * flux(time - off) + 8.0 * flux(time) + 5.0 * flux(time + off)) / 18.0


def _many_modes(rng: np.random.Generator, period: float, time: Array) -> Array:
    """The main mode of a delta Scuti star and four to eight lesser ones; two minutes blur them by 1.5 % at most."""
    count = int(rng.integers(4, 9))
    frequency = np.concatenate([[1.0], rng.uniform(0.6, 2.0, count)]) / period
    size = rng.lognormal(np.log(0.01), 0.7) * np.concatenate([[1.0], rng.uniform(0.05, 0.6, count)])
    flux = np.ones_like(time)
    for f, a, phase in zip(frequency, size, rng.random(count + 1), strict=True):
        flux += min(a, 0.1) * np.sin(2.0 * np.pi * (f * time + phase))
    return flux


def _steep_rise(rng: np.random.Generator, period: float, time: Array) -> Array:
    """An RR Lyrae star of type ab: sum over k of q^(k - 1) sin(2 pi k phase) / k magnitudes."""
    amplitude, steepness = rng.uniform(0.3, 0.8), rng.uniform(0.65, 0.85)
    angle = 2.0 * np.pi * (time / period + rng.random())
    series = sum(steepness ** (k - 1) / k * np.sin(k * angle) for k in range(1, 8))
    return 10.0 ** (-0.4 * 0.5 * amplitude * series)
