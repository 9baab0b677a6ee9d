"""Stars that pulsate: the shapes of Cepheids and RR Lyrae stars, the modes of delta Scuti stars, and nu_max of giants.

A shape is a magnitude against phase in turns, positive when fainter, as a Fourier series in which harmonic k has the
weight q^(k-1) / k: the larger q, the steeper the rise. Phase zero is in the middle of the rise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORDERS = np.arange(1, 8)
#: Logarithm of a Cepheid's period [d], and how long after the steepest rise its bump comes [turns]: on the falling
#: branch at 6 d, on top at 10 d, on the rise at 20 d (the Hertzsprung progression).
BUMP_LOG_PERIOD = (0.78, 1.0, 1.3)
BUMP_PHASE = (0.48, 0.16, -0.12)
#: Period ratio of the first overtone to the fundamental of delta Scuti stars (Petersen diagram).
OVERTONE_RATIO = 0.773
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Pulsator:
    """A star that pulsates in one dominant mode, and what disturbs it.

    Attributes
    ----------
    period_days : of the dominant mode
    amplitude : full range [mag]
    steepness : q, from 0 for a sine to almost 1
    bump : phase and height, in units of the amplitude, of a Cepheid's bump
    blazhko : period [d], relative change of amplitude and change of phase [turns] of an RR Lyrae star's modulation
    modes : further modes, each frequency [1/d], semi-amplitude [mag] and phase [turns]
    """

    period_days: float
    amplitude: float
    steepness: float
    bump: tuple[float, float] = (0.0, 0.0)
    blazhko: tuple[float, float, float] = (np.inf, 0.0, 0.0)
    modes: tuple[tuple[float, float, float], ...] = ()


def pulsator_magnitude(pulsator: Pulsator, time: Array) -> Array:
    """Magnitude against time [d], shape (m,); the dominant mode has phase zero at time zero."""
    period, depth, swing = pulsator.blazhko
    slow = 2.0 * np.pi * time / period
    shape = pulsation_shape(pulsator, time / pulsator.period_days + swing * np.cos(slow))
    change = (1.0 + depth * np.sin(slow)) * shape
    for frequency, amplitude, phase in pulsator.modes:
        change = change + amplitude * np.sin(2.0 * np.pi * (frequency * time + phase))
    return change


def pulsation_shape(pulsator: Pulsator, phase: Array) -> Array:
    """The dominant mode alone, against phase in turns, with the full range `amplitude`."""
    grid = _profile(pulsator, np.linspace(0.0, 1.0, 400, endpoint=False))
    return pulsator.amplitude / np.ptp(grid) * (_profile(pulsator, phase) - grid.mean())


def _profile(pulsator: Pulsator, phase: Array) -> Array:
    weights = pulsator.steepness ** (ORDERS - 1) / ORDERS
    angle = 2.0 * np.pi * phase
    profile = -np.sin(angle[:, None] * ORDERS) @ weights
    where, height = pulsator.bump
    if height:
        full = 2.0 * weights[0] * (1.0 + pulsator.steepness / 2.0)
        profile -= height * full * np.exp((np.cos(angle - 2.0 * np.pi * where) - 1.0) / 0.12)
    return profile


def draw_pulsator(rng: np.random.Generator, subtype: str, period_days: float) -> Pulsator:
    """A pulsating star of this period with the shape and amplitude of its subtype.

    Amplitudes and shapes are ours, rounded from the period-amplitude diagrams of OGLE and Gaia: RRab stars follow the
    Bailey diagram, Cepheids are weakest near 10 d and have a bump between 6 and 20 d, overtones are almost sines.
    """
    match subtype:
        case "RRAB":
            amplitude = np.interp(period_days, (0.43, 0.55, 0.65, 0.85), (1.25, 1.0, 0.7, 0.35)) + rng.normal(0, 0.12)
            steep = np.interp(amplitude, (0.3, 1.2), (0.55, 0.85))
            return Pulsator(period_days, max(amplitude, 0.2), steep, blazhko=_blazhko(rng, 0.4))
        case "RRC":
            return Pulsator(period_days, rng.uniform(0.3, 0.55), rng.uniform(0.1, 0.3), blazhko=_blazhko(rng, 0.1))
        case "DCEP":
            log_period = np.log10(period_days)
            amplitude = np.interp(log_period, (0.4, 0.8, 1.0, 1.4), (0.75, 0.75, 0.6, 1.05)) * rng.lognormal(0, 0.2)
            height = 0.22 if 0.7 < log_period < 1.35 else 0.0
            where = float(np.interp(log_period, BUMP_LOG_PERIOD, BUMP_PHASE))
            return Pulsator(period_days, amplitude, rng.uniform(0.5, 0.7), bump=(where, height))
        case "DCEPS":
            return Pulsator(period_days, rng.uniform(0.2, 0.45), rng.uniform(0.1, 0.3))
        case "CW":
            return Pulsator(period_days, rng.uniform(0.4, 1.0), rng.uniform(0.2, 0.5))
        case "HADS":
            first = rng.uniform(0.25, 0.6)
            return Pulsator(period_days, first, rng.uniform(0.4, 0.6), modes=_overtone(rng, period_days, first))
        case _:
            first = float(np.clip(rng.lognormal(np.log(0.03), 0.6), 0.005, 0.15))
            return Pulsator(period_days, first, rng.uniform(0.0, 0.15), modes=_modes(rng, period_days, first))


def _blazhko(rng: np.random.Generator, share: float) -> tuple[float, float, float]:
    """Modulation of `share` of the stars, over 10 to 200 d."""
    if rng.random() > share:
        return np.inf, 0.0, 0.0
    return float(np.exp(rng.uniform(np.log(10.0), np.log(200.0)))), rng.uniform(0.05, 0.3), rng.uniform(0.0, 0.03)


def _overtone(rng: np.random.Generator, period_days: float, amplitude: float) -> tuple[tuple[float, float, float], ...]:
    """The first overtone of three in ten high-amplitude stars."""
    if rng.random() > 0.3:
        return ()
    frequency = 1.0 / (period_days * rng.normal(OVERTONE_RATIO, 0.002))
    return ((frequency, amplitude * rng.uniform(0.05, 0.25), rng.random()),)


def _modes(rng: np.random.Generator, period_days: float, amplitude: float) -> tuple[tuple[float, float, float], ...]:
    """Up to five weaker modes within a factor of two of the dominant frequency."""
    return tuple(
        (rng.uniform(0.55, 1.8) / period_days, 0.5 * amplitude * rng.uniform(0.1, 0.8), rng.random())
        for _ in range(rng.integers(0, 6))
    )


def oscillation_period(teff: float, logg: float) -> float:
    """1 / nu_max [d] of a star of this temperature [K] and gravity [cgs] (papers/000, eq. 11, with f = 1)."""
    nu_max = 3076.0 * 10.0 ** (logg - 4.438) * (teff / 5772.0) ** -0.5
    return 1e6 / nu_max / SECONDS_PER_DAY
