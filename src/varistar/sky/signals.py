"""What each kind of star does: its noise-free magnitude against time, and what is true of it.

Signals are drawn from the star's own stream; every one is exact at the times asked for and is a magnitude relative to
the star's median level, positive when fainter.
"""

from dataclasses import dataclass

import numpy as np

from varistar.physics.discs import bursts, dips
from varistar.physics.eclipses import binary_magnitude
from varistar.physics.pulsation import draw_pulsator, pulsation_shape, pulsator_magnitude
from varistar.physics.red_noise import REDSHIFT, damped_oscillation, damped_random_walk, quasar_walk

from .ephemeris import Array
from .population import Star
from .rotation import spot_range
from .spotted import spotted_light
from .streams import stream

#: Phases at which a periodic shape is measured.
PHASES = np.linspace(0.0, 1.0, 512, endpoint=False)
UNKNOWN = np.full(4, np.nan)
PURE_SINE = np.array([1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class Signal:
    """A star's noise-free light.

    Attributes
    ----------
    change : magnitude relative to the median at the epochs, positive fainter, float64 (m,)
    shown_period : the period that the light curve shows [d]: of a spotted star the mean over its spots, which differs
        from the equator's where the star turns differentially; of others the star's period; NaN for none
    harmonics : amplitudes of the first four harmonics of that period in units of the strongest, (4,), NaN for none
    """

    change: Array
    shown_period: float
    harmonics: Array


def simulate_signal(seed: int, star: Star, time: Array) -> Signal:
    """What `star` does at ascending `time` [d], shape (m,), m at least one."""
    rng = stream(seed, "signal", *star.key)
    if star.spots:
        change, shown_period, harmonics = _spotted(rng, star, time)
    else:
        change, harmonics = _change(rng, star, time)
        shown_period = star.period_days
    return Signal(change - np.median(change), shown_period, harmonics)


def _spotted(rng: np.random.Generator, star: Star, time: Array) -> tuple[Array, float, Array]:
    wanted = spot_range(rng, star.subtype, star.period_days, star.gaia["teff"])
    light = spotted_light(rng, star.spots, star.period_days, star.inclination, wanted, time)
    return -2.5 * np.log10(light.flux), light.shown_period, light.harmonics


def _change(rng: np.random.Generator, star: Star, time: Array) -> tuple[Array, Array]:
    """Change of magnitude and harmonics of a star without spots."""
    if star.binary is not None:
        phase = time / star.period_days + rng.random()
        return binary_magnitude(star.binary, phase), harmonics_of(binary_magnitude(star.binary, PHASES))
    match star.kind:
        case "cepheid" | "rr_lyrae" | "delta_scuti":
            pulsator = draw_pulsator(rng, star.subtype, star.period_days)
            when = time + star.period_days * rng.random()
            return pulsator_magnitude(pulsator, when), harmonics_of(pulsation_shape(pulsator, PHASES))
        case "oscillating":
            return _oscillating(rng, star.period_days, time), PURE_SINE
        case "semiregular":
            return _semiregular(rng, star.period_days, time), PURE_SINE
        case "irregular":
            timescale = np.exp(rng.uniform(np.log(20.0), np.log(200.0)))
            return damped_random_walk(rng, time, timescale, rng.lognormal(np.log(0.07), 0.5)), UNKNOWN
        case "young":
            return _young(rng, star, time)
        case "quasar":
            redshift = float(np.clip(rng.lognormal(np.log(0.7), 0.6), REDSHIFT[0], REDSHIFT[-1]))
            # the mean colour of bright quasars is g - i = 0.3
            return damped_random_walk(rng, time, *quasar_walk(rng, star.g_mag - 0.3, redshift)), UNKNOWN
        case "clump":
            return damped_random_walk(rng, time, 3.0, rng.lognormal(np.log(0.003), 0.4)), UNKNOWN
        case _:
            return np.zeros_like(time), UNKNOWN


def harmonics_of(shape: Array) -> Array:
    """Amplitudes of the first four harmonics of one turn, sampled evenly, in units of the strongest."""
    amplitudes = np.abs(np.fft.rfft(shape)[1:5])
    return amplitudes / amplitudes.max()


def _oscillating(rng: np.random.Generator, period: float, time: Array) -> Array:
    """Stochastic modes around nu_max, and granulation of half their amplitude.

    The strongest mode has the star's period, one on either side stands a large separation away (0.267 nu_max^0.764 in
    microhertz, Yu et al. 2018). The amplitude is 5 mmag at 12 d and grows with the period to the power 0.85, from
    Kepler's giants to OSARGs (ours); a mode forgets its phase in 20 periods.
    """
    amplitude = 0.005 * (period / 12.0) ** 0.85 * rng.lognormal(0.0, 0.35)
    nu_max = 1e6 / (86400.0 * period)
    separation = 0.267 * nu_max**0.764
    change = damped_oscillation(rng, time, period, 20.0 * period)
    for side in (-1.0, 1.0):
        neighbour = period * nu_max / (nu_max + side * separation)
        change += 0.4 * damped_oscillation(rng, time, neighbour, 20.0 * period)
    return amplitude * (change + 0.5 * damped_random_walk(rng, time, 0.5 * period, 1.0))


def _semiregular(rng: np.random.Generator, period: float, time: Array) -> Array:
    """A wave whose amplitude and phase wander over some ten cycles, on a slower wander of the mean.

    Three in ten have a long secondary period, 8.5 to 10 times as long.
    """
    amplitude = rng.lognormal(np.log(0.12), 0.5) * (period / 60.0) ** 0.4
    memory = 10.0 * period
    angle = 2.0 * np.pi * (time / period + rng.random())
    change = np.cos(angle) + 0.5 * damped_oscillation(rng, time, period, memory)
    change += 0.4 * damped_random_walk(rng, time, 8.0 * period, 1.0)
    if rng.random() < 0.3:
        change += 0.7 * np.cos(2.0 * np.pi * (time / (period * rng.uniform(8.5, 10.0)) + rng.random()))
    return amplitude * change


def _young(rng: np.random.Generator, star: Star, time: Array) -> tuple[Array, Array]:
    """Dust in front of the star once a turn, or bursts of accretion; both on a slow walk of some hundredths."""
    walk = damped_random_walk(rng, time, rng.uniform(5.0, 30.0), rng.lognormal(np.log(0.04), 0.4))
    if star.subtype == "burster":
        return walk + bursts(rng, time), UNKNOWN
    # the mean dip: a Gaussian of width 0.11 turns, widened by the scatter of its moments
    shape = np.exp(-0.5 * ((PHASES - 0.5) / np.hypot(0.11, 0.05)) ** 2)
    return walk + dips(rng, time, star.period_days), harmonics_of(shape)
