"""Is periodic light that of spots? What eclipses and pulsation do that spots do not (ours).

Spots come, go and drift: from one quarter of a sector to the next the wave that they make changes by some percent, and
its overtones are weak, since a spot takes half a turn to cross the disk. Hence, with the wave's `unsteadiness` the
scatter of its complex amplitude among the quarters over its mean, and of what repeats the share that the first waves,
the fundamental and its overtones, leave over,

    eclipses        steady, and much light beyond the first three waves: dips far shorter than the period; or steadier
                    than spots ever are, with minima that are mirrored and sharper than the maxima, as stars that touch
                    have
    pulsation       steadier than spots ever are, with a steep rise; or a second wave, at a frequency that is
                    neither a multiple of the first or of its half, nor so near to one that a star's latitudes could
                    turn with it, and faster than stars turn

The limits are set by the simulated training, validation and calibration stars.
"""

import math
from typing import NamedTuple

import numpy as np

from .spectrum import Array, Mask, Points, periodogram

#: Waves that are asked for, with the fundamental.
WAVES = 16
#: Unsteadiness below which light is steady, and below which it is steadier than spots.
STEADY, STEADIER = 0.045, 0.0095
#: Share beyond three waves of eclipses, and beyond two of a steep rise; the fundamental is that of the stronger wave,
#: of which a binary has two in an orbit.
SHARP, STEEP = 0.06, 0.015
#: Share beyond the fundamental of stars that touch, and how far the phase of their first overtone may be from that of
#: minima that are mirrored [rad].
POINTED, MIRRORED = 0.003, 0.35
#: Of a second wave: share of the variance, frequency from which on stars do not turn [1/d], distance
#: from multiples of the first that differential rotation does not explain [1/d], and multiples that are asked for.
SECOND, FAST, SHEAR, MULTIPLES = 0.03, 4.0, 0.1, 12
#: A slower first wave is not asked for a second [1/d].
SLOW = 2.0
SHORTEST_DAYS, LONGEST_DAYS = 0.03, 12.0


class Likeness(NamedTuple):
    """What periodic light looks like that spots do not."""

    eclipses: bool
    pulsates: bool


def likeness(points: Points, frequency: float) -> Likeness:
    """What light of this frequency [1/d] looks like."""
    unsteady = unsteadiness(points, frequency)
    if not unsteady < math.inf:
        return Likeness(False, False)
    shares, pointed = _overtones(points, frequency)
    dips = unsteady < STEADY and 1.0 - shares[2] > SHARP
    touching = unsteady < STEADIER and 1.0 - shares[0] > POINTED and pointed < MIRRORED
    steep = unsteady < STEADIER and 1.0 - shares[1] > STEEP and not dips
    return Likeness(dips or (touching and not steep), steep or _second_wave(points, frequency))


def unsteadiness(points: Points, frequency: float) -> float:
    """Scatter of the wave's complex amplitude among the quarters of the time, over its mean; infinite where a quarter
    is empty."""
    time = points.time - points.time[0]
    quarter = np.minimum(4.0 * time // time[-1], 3.0)
    amplitudes = []
    for k in range(4):
        mine = quarter == k
        if mine.sum() < 20:
            return math.inf
        parts = _fit(points, frequency, 2, mine)[0]
        amplitudes.append(complex(parts[0], parts[1]))
    mean = sum(amplitudes) / 4.0
    scatter = math.sqrt(sum(abs(one - mean) ** 2 for one in amplitudes) / 4.0)
    return scatter / abs(mean) if abs(mean) > 0.0 else math.inf


def _overtones(points: Points, frequency: float) -> tuple[list[float], float]:
    """What the first one, two, three waves explain, in units of what all do; and how far the first overtone is from
    making mirrored minima, sharper than the maxima [rad]."""
    every = np.ones(len(points.time), dtype=bool)
    whole = _fit(points, frequency, WAVES, every)[1]
    shares = [_fit(points, frequency, k, every)[1] / whole if whole > 0.0 else 1.0 for k in (1, 2, 3)]
    parts = _fit(points, frequency, 2, every)[0]
    first, second = (math.atan2(-parts[2 * k + 1], parts[2 * k]) for k in (0, 1))
    # at the minimum of the first wave the second has its minimum too
    away = (second - 2.0 * first + math.pi) % (2.0 * math.pi)
    return shares, min(away, 2.0 * math.pi - away)


def _second_wave(points: Points, frequency: float) -> bool:
    """Whether another fast wave stands beside a fast first one and its overtones."""
    if frequency < SLOW:
        return False
    every = np.ones(len(points.time), dtype=bool)
    rest = _without(points, 0.5 * frequency, every)
    spectrum = periodogram(rest, SHORTEST_DAYS, LONGEST_DAYS, 20.0)
    if spectrum is None:
        return False
    second = float(spectrum.frequency[np.argmax(spectrum.power)])
    multiples = 0.5 * frequency * np.arange(1, MULTIPLES + 1)
    if second < FAST or np.abs(second - multiples).min() < SHEAR:
        return False
    return float(spectrum.power.max()) > SECOND


def _without(points: Points, frequency: float, part: Mask) -> Points:
    """The points without a wave and its overtones."""
    return points._replace(flux=points.flux - _model(points, frequency, WAVES, part))


def _model(points: Points, frequency: float, terms: int, part: Mask) -> Array:
    waves, parts = _waves(points, frequency, terms), _fit(points, frequency, terms, part)[0]
    centred = waves - _means(waves, points)
    return np.asarray(centred @ parts, dtype=np.float64)


def _fit(points: Points, frequency: float, terms: int, part: Mask) -> tuple[Array, float]:
    """Amplitudes of cosine and sine of a wave and its overtones about each orbit's mean, and the sum of squares that
    they explain."""
    some = Points(points.time[part], points.flux[part], points.weight[part], points.orbit[part], points.squares)
    waves = _waves(points, frequency, terms)[part]
    root = np.sqrt(some.weight)
    table = (waves - _means(waves, some)) * root[:, None]
    target = (some.flux - _means(some.flux[:, None], some)[:, 0]) * root
    parts = np.linalg.lstsq(table, target, rcond=None)[0]
    return np.asarray(parts, dtype=np.float64), float(target @ target - np.sum((target - table @ parts) ** 2))


def _waves(points: Points, frequency: float, terms: int) -> Array:
    angle = 2.0 * math.pi * frequency * (points.time - points.time[0])
    return np.stack([wave(k * angle) for k in range(1, terms + 1) for wave in (np.cos, np.sin)], axis=1)


def _means(values: Array, points: Points) -> Array:
    """The mean of each column in each orbit, shape (n, columns)."""
    _, orbit = np.unique(points.orbit, return_inverse=True)
    total = np.bincount(orbit, points.weight)
    means = np.stack([np.bincount(orbit, points.weight * column) / total for column in values.T], axis=1)
    return np.asarray(means[orbit], dtype=np.float64)
