"""What each kind of star does: its noise-free magnitude against time.

Signals are drawn from the star's own stream; every one is exact at the times asked for and is a magnitude relative to
the star's mean level, positive when fainter.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from varistar.physics.spot_prior import SpotPrior, draw_spot_parameters
from varistar.physics.spots import simulate_star

from .ephemeris import Array
from .population import Star
from .streams import stream

#: The rotators' spots: few, large and long-lived, on a star that turns almost rigidly. The period is the star's own.
SPOTS = SpotPrior(
    activity=(0.02, 0.1),
    cycle_period=(5.0, 30.0),
    min_latitude=(0.0, 20.0),
    max_latitude=45.0,
    spot_lifetime=(300.0, 900.0),
    spot_lifetime_unit="days",
    shear=(0.005, 0.05),
    shear_weights=(0.7, 0.3, 0.0),
)
#: Spot size of a star that turns in five days; faster stars have larger spots.
SPOT_SIZE = 0.012
#: Eclipsing binaries: ranges of primary depth [mag], secondary to primary, and width [phase]; ellipsoidal to primary.
ECLIPSES = {
    "EA": ((0.15, 0.90), (0.1, 0.9), (0.012, 0.035), 0.00),
    "EB": ((0.20, 0.60), (0.3, 0.7), (0.040, 0.060), 0.15),
    "EW": ((0.10, 0.40), (0.7, 0.95), (0.050, 0.070), 0.20),
}
#: Pulsating stars: ranges of full amplitude [mag] and of steepness.
PULSATIONS = {
    "RRAB": ((0.50, 1.20), (0.65, 0.85)),
    "RRC": ((0.30, 0.55), (0.10, 0.30)),
    "DSCT": ((0.08, 0.40), (0.10, 0.40)),
    "CEP": ((0.30, 1.00), (0.30, 0.70)),
}


def magnitude_change(seed: int, star: Star, time: Array) -> Array:
    """Change of `star`'s magnitude at ascending `time` [d], shape (m,), with median zero."""
    rng = stream(seed, "signal", *star.key)
    match star.kind:
        case "rotator":
            change = _spotted(rng, star, time)
        case "eclipsing":
            change = _eclipsing(rng, star, time)
        case "pulsating":
            change = _pulsating(rng, star, time)
        case "semiregular":
            change = _semiregular(rng, star.period_days, time)
        case "quasar":
            change = damped_random_walk(rng, time, rng.lognormal(np.log(200.0), 0.6), rng.lognormal(np.log(0.15), 0.4))
        case "clump":
            change = damped_random_walk(rng, time, 3.0, rng.lognormal(np.log(0.003), 0.4))
        case _:
            change = np.zeros_like(time)
    return change - np.median(change)


def damped_random_walk(rng: np.random.Generator, time: Array, timescale: float, deviation: float) -> Array:
    """A stationary Ornstein-Uhlenbeck process at ascending times, exactly and without a loop.

    x(t) = deviation exp(-t / timescale) W(exp(2 t / timescale)) with a Wiener process W, so its increments are
    independent normals. Long spans would overflow the exponential and are walked in pieces of 100 timescales, each
    starting from the last value of the one before.

    Parameters
    ----------
    time : shape (m,), ascending [d]
    timescale : e-folding time of the autocorrelation [d]
    deviation : standard deviation at any time
    """
    normals = rng.standard_normal(len(time))
    walk = np.empty_like(time)
    piece = np.floor((time - time[0]) / (100.0 * timescale))
    starts = np.append(np.flatnonzero(np.diff(piece, prepend=-1.0)), len(time))
    value, now = 0.0, -np.inf
    for start, stop in pairwise(starts):
        elapsed = (time[start:stop] - time[start]) / timescale
        kept = np.exp((now - time[start]) / timescale)
        clock = np.exp(2.0 * elapsed)
        steps = np.sqrt(np.diff(clock, prepend=0.0)) * normals[start:stop]
        steps[0] = kept * value + np.sqrt(1.0 - kept**2) * normals[start]
        walk[start:stop] = np.exp(-elapsed) * np.cumsum(steps)
        value, now = walk[stop - 1], time[stop - 1]
    return deviation * walk


def _spotted(rng: np.random.Generator, star: Star, time: Array) -> Array:
    """A spotted star of known period and inclination, well-behaved enough that its period is a fact.

    Two cycles overlap by half, which keeps the activity constant (sin^2 + cos^2). Draws whose flux is not positive are
    drawn again.
    """
    size = SPOT_SIZE * (star.period_days / 5.0) ** -0.3 * rng.lognormal(0.0, 0.4)
    prior = SPOTS.model_copy(update={"period": (star.period_days, star.period_days), "alpha_med": size})
    while True:
        parameters = draw_spot_parameters(prior, rng)
        parameters = replace(parameters, inclination=star.inclination, cycle_overlap=parameters.cycle_period)
        spotted = simulate_star(parameters, time, float(time[0]), rng)
        if spotted.lowest_flux > 0:
            return -2.5 * np.log10(spotted.flux)


def _eclipsing(rng: np.random.Generator, star: Star, time: Array) -> Array:
    """Two eclipses on an ellipsoidal wave."""
    phase = (time / star.period_days + rng.random()) % 1.0
    depths, ratios, widths, ellipsoidal = ECLIPSES[star.subtype]
    primary, ratio, width = rng.uniform(*depths), rng.uniform(*ratios), rng.uniform(*widths)
    eclipses = primary * (_eclipse(phase, width) + ratio * _eclipse(phase - 0.5, width))
    return eclipses + 0.5 * ellipsoidal * primary * (1.0 + np.cos(4.0 * np.pi * phase))


def _eclipse(phase: Array, width: float) -> Array:
    """One at mid-eclipse, zero a few `width` away, in units of phase (the profile of Mikulasek 2015, exponent one)."""
    distance = np.abs((phase + 0.5) % 1.0 - 0.5)
    return np.exp(1.0 - np.cosh(np.minimum(distance / width, 20.0)))


def _pulsating(rng: np.random.Generator, star: Star, time: Array) -> Array:
    """A Fourier series sum_k q^(k-1) sin(2 pi k phase) / k: the larger q, the steeper the rise."""
    amplitudes, steepnesses = PULSATIONS[star.subtype]
    amplitude, steepness = rng.uniform(*amplitudes), rng.uniform(*steepnesses)
    order = np.arange(1, 7)
    weights = steepness ** (order - 1) / order
    full = np.ptp(_series(np.linspace(0.0, 1.0, 500), weights))
    return amplitude / full * _series(time / star.period_days + rng.random(), weights)


def _series(phase: Array, weights: Array) -> Array:
    harmonics = np.arange(1, len(weights) + 1)
    return np.sin(2.0 * np.pi * phase[:, None] * harmonics) @ weights


def _semiregular(rng: np.random.Generator, period: float, time: Array) -> Array:
    """A wave whose amplitude and phase wander over some ten cycles, on a slower wander of the mean."""
    amplitude = rng.lognormal(np.log(0.12), 0.5) * (period / 60.0) ** 0.4
    memory = 10.0 * period
    cosine = 1.0 + 0.5 * damped_random_walk(rng, time, memory, 1.0)
    sine = 0.5 * damped_random_walk(rng, time, memory, 1.0)
    angle = 2.0 * np.pi * (time / period + rng.random())
    slow = 0.4 * damped_random_walk(rng, time, 8.0 * period, 1.0)
    return amplitude * (cosine * np.cos(angle) + sine * np.sin(angle) + slow)
