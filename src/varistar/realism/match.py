"""Simulated stars chosen to have the magnitudes of the real ones."""

import numpy as np
from numpy.typing import NDArray

from .residuals import Array

#: How far a partner's magnitude may be [mag].
TOLERANCE = 0.25
#: Partners of a real star, at most.
MOST = 15


def match_magnitudes(real: Array, simulated: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each real star the same number of simulated partners.

    In rounds, each real star, from bright to faint, takes the simulated star nearest in magnitude that none has taken;
    a round in which one finds none within `TOLERANCE` does not count, and ends it. Real stars that find none in the
    first round are left out. Nothing is drawn at random.

    Parameters
    ----------
    real, simulated : magnitudes, shape (n,) and (m,)

    Returns
    -------
    the indices of the real stars that stay, and of the simulated ones, each in ascending order.
    """
    free = np.ones(len(simulated), dtype=np.bool_)
    first = _take_partners(real, np.argsort(real, kind="stable"), simulated, free)
    stay = np.array([star for star, partner in first if partner is not None], dtype=np.int64)
    chosen = [partner for _, partner in first if partner is not None]
    for _ in range(MOST - 1):
        found = [partner for _, partner in _take_partners(real, stay, simulated, free)]
        if not found or None in found:
            break
        chosen += [partner for partner in found if partner is not None]
    return np.sort(stay), np.sort(np.array(chosen, dtype=np.int64))


def _take_partners(
    real: Array, stars: NDArray[np.int64], simulated: Array, free: NDArray[np.bool_]
) -> list[tuple[int, int | None]]:
    """One round; `free` loses those that are taken."""
    pairs: list[tuple[int, int | None]] = []
    for star in stars:
        away = np.where(free, np.abs(simulated - real[star]), np.inf)
        nearest = int(np.argmin(away)) if len(away) else None
        if nearest is None or away[nearest] > TOLERANCE:
            pairs.append((int(star), None))
            continue
        free[nearest] = False
        pairs.append((int(star), nearest))
    return pairs
