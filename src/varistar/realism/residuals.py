"""What is left of a magnitude when the camera's zero point and the star's slow changes are taken out.

A star's magnitudes are modelled as offset(camera) + trend(time) + residual by median polish (Tukey 1977, chapter 11):
the offsets are medians of magnitude minus trend, the trend runs linearly between the medians of magnitude minus offset
in blocks of a season. So a star's own dips over months count neither as scatter nor as an error of a camera, while
what one camera does alone stays in the residuals.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Groups by number, from 0 on where they are those of cameras.
Codes = NDArray[np.integer]

#: Length of a block [d]. Signals faster than twice that stay whole, the synodic month of 29.53 d among them.
BLOCK_DAYS = 30.0
#: A block with fewer points says nothing about the trend.
LEAST_BLOCK_POINTS = 5
ITERATIONS = 4
#: Standard deviation of a normal distribution in units of its median absolute deviation.
MAD_TO_SD = 1.4826


class Residuals(NamedTuple):
    """Magnitudes taken apart: `of_camera` + `trend` + `value` is the magnitude [mag], each of shape (m,)."""

    value: Array
    of_camera: Array
    trend: Array


def take_apart(time: Array, mag: Array, camera: Codes, season: Codes) -> Residuals:
    """Median polish of one star's magnitudes by camera and block.

    Parameters
    ----------
    time, mag : shape (m,), finite [d] and [mag]
    camera, season : the number of each point's camera, from 0 on, and of its season
    """
    numbered = season * 1_000_000 + np.floor(time / BLOCK_DAYS).astype(np.int64)
    block = np.unique(numbered, return_inverse=True)[1]
    counts = np.bincount(block)
    full = counts >= LEAST_BLOCK_POINTS
    node = (np.bincount(block, time) / counts)[full]
    trend = np.full(len(mag), np.median(mag))
    offset = np.zeros(len(mag))
    for _ in range(ITERATIONS):
        offset = group_medians(mag - trend, camera)[camera]
        # Only differences between cameras are the cameras'.
        offset -= np.median(offset)
        if full.any():
            trend = np.interp(time, node, group_medians(mag - offset, block)[full])
    return Residuals(mag - offset - trend, offset, trend)


def group_medians(values: Array, group: Codes) -> Array:
    """The median of each group, NaN for one without points; groups are numbered from 0 on."""
    counts = np.bincount(group)
    ordered = values[np.lexsort((values, group))]
    first = np.cumsum(counts) - counts
    low, high = first + (counts - 1) // 2, first + counts // 2
    filled = counts > 0
    medians = np.full(len(counts), np.nan)
    medians[filled] = 0.5 * (ordered[low[filled]] + ordered[high[filled]])
    return medians


def robust_sd(values: Array) -> float:
    """Standard deviation from the median absolute deviation; NaN of nothing."""
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values)))) if len(values) else np.nan
