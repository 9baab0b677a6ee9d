"""One independent random stream for every thing that is drawn, named by a key.

A stream depends on the seed and its own key alone, so that a star is the same whichever stars are drawn beside it, in
whichever order and by however many workers.
"""

import hashlib
import math

import numpy as np
from scipy.special import ndtr, ndtri


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """The generator of the thing called `key`, as in `stream(88, "star", "clump", 17)`."""
    return np.random.default_rng(np.random.SeedSequence((seed, _number(key))))


def opaque_id(seed: int, *key: str | int) -> str:
    """Eighteen digits that name the thing called `key` and say nothing about it (59 bits: a million share none)."""
    return str(10**17 + (_number((seed, *key)) % (9 * 10**17)))


def _number(key: tuple[str | int, ...]) -> int:
    """A stable 64-bit number for a key; Python's own hash of text changes from run to run."""
    plain = [str(part) if isinstance(part, str) else int(part) for part in key]  # NumPy writes its own otherwise
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=8).digest(), "little")


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def truncated_normal(rng: np.random.Generator, mean: float, deviation: float, low: float, high: float) -> float:
    """A normal number between two bounds."""
    bottom, top = ndtr((low - mean) / deviation), ndtr((high - mean) / deviation)
    return float(mean + deviation * ndtri(rng.uniform(bottom, top)))
