"""Young stars and what their discs do to their light: dust that passes in front, and gas that falls in bursts.

Both are ours, after the classes and time scales of Cody et al. (2014) and Hillenbrand et al. (2022).
"""

import numpy as np
from numpy.typing import NDArray

from .red_noise import Array, damped_random_walk


def dips(rng: np.random.Generator, time: Array, period: float) -> Array:
    """Quasi-periodic dimming [mag], shape (m,): one dip a turn, each of its own depth, width and moment.

    Depths are log-normal around a level that wanders over some ten turns, so dips fade and return. Widths are 0.06 to
    0.16 turns, moments scatter by 0.05 turns.
    """
    turns = (time - time[0]) / period + rng.random()
    first = int(turns[0]) - 1
    count = int(turns[-1]) + 2 - first
    level = rng.lognormal(np.log(0.2), 0.4)
    wander = damped_random_walk(rng, np.arange(count, dtype=np.float64), 10.0, 0.6)
    depth = level * np.exp(wander + rng.normal(0.0, 0.3, count) - 0.2)
    width = rng.uniform(0.06, 0.16, count)
    moment = 0.5 + rng.normal(0.0, 0.05, count)
    change = np.zeros_like(time)
    cycle = turns.astype(np.int64) - first
    for neighbour in (-1, 0, 1):
        i = np.clip(cycle + neighbour, 0, count - 1)
        distance = (turns - first - i - moment[i]) / width[i]
        change += depth[i] * np.exp(-0.5 * distance**2)
    return change


def bursts(rng: np.random.Generator, time: Array) -> Array:
    """Bursts of accretion [mag, negative], shape (m,): a fast rise, a slow decay, one every week to two months."""
    span = float(time[-1] - time[0])
    every = np.exp(rng.uniform(np.log(7.0), np.log(60.0)))
    start = time[0] + np.sort(rng.uniform(-60.0, span, rng.poisson((span + 60.0) / every)))
    height = rng.exponential(0.2, len(start))
    decay = rng.uniform(1.0, 8.0, len(start))
    return -_bursts_at(time, start, height, decay)


def _bursts_at(time: Array, start: Array, height: Array, decay: Array) -> NDArray[np.float64]:
    """Sum of the bursts, each h (x exp(1 - x)) with x in units of half its decay, over twenty units."""
    change = np.zeros_like(time)
    first = np.searchsorted(time, start)
    last = np.searchsorted(time, start + 10.0 * decay)
    for burst in range(len(start)):
        seen = slice(first[burst], last[burst])
        x = (time[seen] - start[burst]) / (0.5 * decay[burst])
        change[seen] += height[burst] * x * np.exp(1.0 - x)
    return change
