"""A light curve as it is, night after night: what a network without any period analysis before it reads.

Each of `count` equal spans of the survey's window holds the weighted mean of its points, in units of the star's
scatter, and how well that mean is known. With spans of a day at the least, a challenger of another kind must find the
period in the order of the points by itself; within a span the time is lost, so that it cannot know periods of a day or
two.
"""

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import LightCurves
from varistar.spectra.points import read_points

from .cleaning import clean

#: Scatters from the median that become 0 and 255; the cleaning has cut at 5.
CLIP = 5.0
CHANNELS = ("flux", "weight")


class Nights(Settings):
    """Binned light curves.

    Attributes
    ----------
    window : where the first span begins and the last one ends [d, in the survey's time system].
    count : equal spans in it.
    """

    kind: Literal["nights"] = "nights"
    window: tuple[float, float]
    count: Annotated[int, Field(ge=64)] = 1824

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.window[0] < self.window[1]:
            raise ValueError("window must run from the smaller to the larger value")
        return self

    @property
    def axes(self) -> tuple[str, str]:
        return "channel", "night"

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and nights."""
        return len(CHANNELS), self.count


def make_nights(lightcurves: LightCurves, settings: Nights) -> NDArray[np.uint8]:
    """The nights of n light curves, uint8 (n, 2, count).

    Channel 0 is the mean flux, 128 at the star's median and where there is no point; channel 1 is 255 (1 - exp(-w)),
    rounded down, for a mean whose variance is 1 / w of the star's, 0 where there is no point. A star whose flux does
    not vary shows nothing.

    Raises
    ------
    DataError
        For a point that is not finite or an error that is not positive.
    """
    out = np.zeros((len(lightcurves), *settings.shape), dtype=np.uint8)
    out[:, 0] = 128
    cleaned = clean(lightcurves)
    for star, (begin, end) in enumerate(pairwise(cleaned.offsets)):
        points = read_points(*(cleaned[name][begin:end] for name in ("time", "flux", "flux_err")))
        if points is not None:
            _bin(points.time, points.flux, points.weight * points.unit, *settings.window, out[star])
    return out


@njit(cache=True)
def _bin(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    first: float,
    last: float,
    out: NDArray[np.uint8],
) -> None:
    """One star with points into `out` (2, count); flux in any unit, weights 1 / variance in that unit."""
    count = out.shape[1]
    centre = np.median(flux)
    scatter = max(1.4826 * np.median(np.abs(flux - centre)), 1e-12)
    total, weighted = np.zeros(count), np.zeros(count)
    for k in range(time.size):
        night = math.floor((time[k] - first) / (last - first) * count)
        if 0 <= night < count:
            total[night] += weight[k]
            weighted[night] += weight[k] * (flux[k] - centre)
    for night in range(count):
        if total[night] > 0.0:
            level = 127.5 * (1.0 + weighted[night] / total[night] / scatter / CLIP) + 0.5
            out[0, night] = np.uint8(min(max(level, 0.0), 255.0))
            out[1, night] = np.uint8(255.0 * (1.0 - math.exp(-total[night] * scatter * scatter)))
