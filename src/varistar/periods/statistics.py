"""A light curve as statistics along the logarithm of the period: what a network of the period axis reads.

An image keeps when a star showed a period; most of what it keeps is empty. Here the time axis is summed up, and each of
`CHANNELS` is one number for each period bin, the bins evenly spaced in ln(period) so that half and twice a period are
the same number of bins away everywhere. Changes slower than `trend` are removed first. The channels are:

- of the chunked delta chi^2 map: its sum over time, the mean of its logarithm and its 80th percentile (a signal that
  lasts raises all three, an outlier one), and the part of the time that holds data;
- of the whole light curve: the highest delta chi^2 of the periodogram and of the spectral window in the bin;
- of the star: number of points, scatter and published error, the same in all bins.

Windows are `tradeoff` periods wide, but never narrower than `least_width`: at one point a day a window of two short
periods would hold nothing. Values are stored as 256 levels between fixed bounds, so that the arrays are small, equal in
training and prediction to the bit, and coarser than neither the noise of the statistics nor the noise that training
adds.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import LightCurves
from varistar.spectra.binned import BinnedPeriodogram
from varistar.spectra.chunked import ChunkedTransforms, Grid
from varistar.spectra.points import read_points

from .cleaning import clean, detrend

#: Each channel with the values that become 0 and 255.
CHANNELS = {
    "sum": (0.0, 14.0),  # ln(1 + delta chi^2 summed over time)
    "mean_logarithm": (0.0, 8.0),
    "percentile": (0.0, 10.0),  # of ln(1 + delta chi^2), the 80th
    "covered": (0.0, 1.0),
    "periodogram": (0.0, 14.0),  # ln(1 + delta chi^2)
    "window": (0.0, 1.0),
    "points": (0.0, 12.0),  # ln
    "scatter": (-10.0, 2.0),  # ln of the relative scatter, 1.4826 MAD
    "error": (-10.0, 2.0),  # ln of the relative error, the median
}
PERCENTILE = 0.8

Days = Annotated[float, Field(gt=0)]


class Statistics(Settings):
    """Statistics along the period axis; saved with every model, so that prediction prepares its input as training did.

    Attributes
    ----------
    window : first and last time node [d, in the survey's time system].
    nodes : number of time nodes.
    period_range : the periods that a network may answer with [d].
    bins : bins of ln(period) in that range.
    margins : further bins below and above it, where harmonics lie.
    tradeoff, least_width : width of the Gaussian window in periods, and the least one [d].
    trend : changes slower than this are removed first: the width of a Gaussian [d], which should be no less than the
        longest period.
    """

    kind: Literal["statistics"] = "statistics"
    window: tuple[float, float]
    nodes: Annotated[int, Field(gt=1)] = 128
    period_range: tuple[Days, Days] = (1.0, 30.0)
    bins: Annotated[int, Field(ge=8)] = 162
    margins: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (14, 32)
    tradeoff: Annotated[float, Field(gt=0)] = 2.0
    least_width: Days = 8.0
    trend: Days = 40.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("window", "period_range"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must run from the smaller to the larger value")
        return self

    @property
    def axes(self) -> tuple[str, str]:
        return "channel", "period"

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and bins."""
        return len(CHANNELS), sum(self.margins) + self.bins

    @property
    def step(self) -> float:
        """Width of a bin in ln(period)."""
        return math.log(self.period_range[1] / self.period_range[0]) / self.bins

    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins [d], shape (bins + margins + 1,), ascending."""
        below, above = self.margins
        return self.period_range[0] * np.exp(self.step * np.arange(-below, self.bins + above + 1))

    def periods(self) -> NDArray[np.float64]:
        """Centres of the bins [d], ascending."""
        edges = self.edges()
        return np.sqrt(edges[1:] * edges[:-1])


def make_statistics(lightcurves: LightCurves, settings: Statistics) -> NDArray[np.uint8]:
    """The statistics of n light curves, uint8 (n, channels, bins).

    What a star gets depends on its own points and the settings only. A star without points gets zeros.

    Raises
    ------
    DataError
        For a point that is not finite or an error that is not positive.
    """
    out = np.zeros((len(lightcurves), *settings.shape), dtype=np.uint8)
    transforms, periodogram = _tools(settings)
    published = _median_errors(lightcurves)
    cleaned = clean(lightcurves)
    for star, (begin, end) in enumerate(pairwise(cleaned.offsets)):
        if begin == end:
            continue
        time, flux, flux_err = (cleaned[name][begin:end] for name in ("time", "flux", "flux_err"))
        order = np.argsort(time, kind="stable")
        time, flux, flux_err = time[order].astype(np.float64), flux[order], flux_err[order]
        read_points(time, flux, flux_err)  # refuses points that would leave nothing of the others' trend
        flat = detrend(time, flux, flux_err, settings.trend)
        _fill(out[star], transforms, periodogram, time, flat, flux_err, published[star])
    return out


@lru_cache(maxsize=4)
def _tools(settings: Statistics) -> tuple[ChunkedTransforms, BinnedPeriodogram]:
    """The kernels with their tables and plans, kept from one shard to the next."""
    periods = settings.periods()
    widths = np.maximum(settings.tradeoff * periods, settings.least_width)
    grid = Grid(periods, widths / periods, "delta_chi2")
    nodes = np.linspace(*settings.window, settings.nodes)
    return ChunkedTransforms([grid], nodes), BinnedPeriodogram(settings.edges())


def _fill(
    out: NDArray[np.uint8],
    transforms: ChunkedTransforms,
    periodogram: BinnedPeriodogram,
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    flux_err: NDArray[np.float64],
    published_error: float,
) -> None:
    """All channels of one star with points, cleaned and without its trend."""
    cells = np.empty(transforms.shapes[0], dtype=np.bool_)
    (power,) = transforms(time, flux, flux_err, cells=[cells])
    logarithm = np.log1p(power)
    rank = math.ceil(PERCENTILE * len(power)) - 1
    highest, window = periodogram(time, flux, flux_err)
    scatter = 1.4826 * float(np.median(np.abs(flux - np.median(flux))))
    values = {
        "sum": np.log1p(power.sum(axis=0)),
        "mean_logarithm": logarithm.mean(axis=0),
        "percentile": np.partition(logarithm, rank, axis=0)[rank],
        "covered": cells.mean(axis=0),
        "periodogram": np.log1p(highest),
        "window": window,
        "points": math.log(len(time)),
        "scatter": math.log(max(scatter, 1e-5)),
        "error": math.log(max(published_error, 1e-5)),
    }
    for row, (name, (low, high)) in zip(out, CHANNELS.items(), strict=True):
        row[:] = np.clip(255.0 * (values[name] - low) / (high - low) + 0.5, 0.0, 255.0)


def _median_errors(lightcurves: LightCurves) -> NDArray[np.float64]:
    """Each star's median error over the size of its median flux; 1 where there is none."""
    errors = np.ones(len(lightcurves))
    for star, (begin, end) in enumerate(pairwise(lightcurves.offsets)):
        if begin < end:
            unit = abs(float(np.median(lightcurves["flux"][begin:end])))
            errors[star] = float(np.median(lightcurves["flux_err"][begin:end])) / (unit or 1.0)
    return errors
