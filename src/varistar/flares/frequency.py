"""How often flares of each size come: the flare frequency distribution.

Sizes are equivalent durations or energies, in any unit, one for all. Every event counts as much as its probability is,
and stands for the flares of its size that were missed: each star may have its own completeness.

Where a distribution begins matters more than how it is fitted. An event counts from the size on from which its star's
completeness stays above `least_completeness`, so that no correction exceeds its inverse, and from `lowest` on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.stats import gamma

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import Settings

Array = NDArray[np.float64]
Completeness = Callable[[Array], Array]

#: Where completeness is read off: so many sizes from a ten-thousandth of the smallest event to this times the largest.
SIZES, BEYOND = 2000, 30.0


class FrequencySettings(Settings):
    """What of a sample the law is fitted to.

    Attributes
    ----------
    lowest : smallest size that counts, in the unit of the sizes; None where completeness alone decides.
    largest : where the law ends; None for never.
    least_completeness : an event counts where its star's completeness is at least this, there and above.
    fewest : no slope is given for a smaller sum of probabilities.
    level : of the intervals.
    """

    lowest: float | None = Field(default=None, gt=0.0)
    largest: float | None = Field(default=None, gt=0.0)
    least_completeness: float = Field(default=0.3, gt=0.0, le=1.0)
    fewest: float = Field(default=5.0, ge=2.0)
    level: float = Field(default=0.95, gt=0.0, lt=1.0)


@dataclass(frozen=True)
class FlareSample:
    """What was found on one star, or on several that were searched alike.

    Attributes
    ----------
    size : float64 (n,), positive
    p : float64 (n,), probability of each event
    days : searched [d]
    completeness : chance to find a flare of a size, array to array; None for one
    star_id : for errors
    """

    size: Array
    p: Array
    days: float
    completeness: Completeness | None = None
    star_id: str = "?"

    def found(self, size: Array) -> Array:
        """The completeness at these sizes, any shape."""
        if self.completeness is None:
            return np.ones_like(size)
        return np.clip(np.asarray(self.completeness(size), dtype=np.float64), 0.0, 1.0)


def frequency_table(samples: Sequence[FlareSample], settings: FrequencySettings | None = None) -> pl.DataFrame:
    """The cumulative flare frequency distribution, one row per event, from the largest down.

    Events at size x stand for p / sum_s days_s C_s(x) flares a day: the time in which they could have been found.

    Returns
    -------
    `size`; `p`; `completeness`, the stars' mean weighted by their days; `n`, the sum of p from this size up;
    `found_per_day`, n / days; `rate_per_day` with `rate_low` and `rate_high`, corrected, null where the completeness is
    below `least_completeness`. The interval is the count's.

    Raises
    ------
    DataError
        When sizes are not positive, probabilities lie outside 0 to 1, or days are not positive.
    """
    settings = settings or FrequencySettings()
    check_samples(samples)
    size, p = np.concatenate([s.size for s in samples]), np.concatenate([s.p for s in samples])
    order = np.argsort(-size, kind="stable")
    size, p = size[order], p[order]
    days = math.fsum(s.days for s in samples)
    effective = np.sum([s.days * s.found(size) for s in samples], axis=0) if len(size) else np.zeros(0)
    n = np.cumsum(p)
    enough = np.minimum.accumulate(effective >= settings.least_completeness * days)
    rate = np.cumsum(np.divide(p, effective, out=np.zeros_like(p), where=enough))
    low, high = poisson_interval(n, settings.level)
    scale = np.divide(rate, n, out=np.zeros_like(n), where=n > 0.0)
    corrected = {"rate_per_day": rate, "rate_low": scale * low, "rate_high": scale * high}
    table = pl.DataFrame({"size": size, "p": p, "completeness": effective / days, "n": n, "found_per_day": n / days})
    return table.with_columns(
        pl.when(pl.Series(enough)).then(pl.Series(values)).otherwise(None).alias(name)
        for name, values in corrected.items()
    )


def binned_slope(samples: Sequence[FlareSample], edges: Array) -> tuple[float, float] | None:
    """The paper's way: a straight line by least squares through the logarithms of the binned distribution.

    Flares a day in bins of log10 x, weighted by p and uncorrected for completeness; empty bins are left out and all
    others count alike. dN/dlog x ~ x^(1 - alpha), so alpha is one minus the slope of the line. For comparison: it gives
    a bin of one event the say of a bin of a hundred.

    Returns
    -------
    alpha and its standard error by the line's residuals; None for fewer than three bins with events.

    Raises
    ------
    DataError
        As `frequency_table`.
    """
    check_samples(samples)
    size, p = np.concatenate([s.size for s in samples]), np.concatenate([s.p for s in samples])
    count, _ = np.histogram(size, edges, weights=p)
    width, centre = np.diff(np.log10(edges)), 0.5 * (np.log10(edges[1:]) + np.log10(edges[:-1]))
    filled = count > 0.0
    if int(filled.sum()) < 3:
        return None
    x, y = centre[filled], np.log10(count[filled] / width[filled])
    slope, zero = np.polyfit(x, y, 1)
    scatter = np.sum((y - zero - slope * x) ** 2) / (len(x) - 2) if len(x) > 2 else 0.0
    return 1.0 - float(slope), math.sqrt(scatter / float(np.sum((x - x.mean()) ** 2)))


def poisson_interval(count: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Interval of an expected count (Garwood 1936), of any shape; a count may be a sum of probabilities.

    A sum of probabilities is taken as so many flares seen beyond doubt. Were each p exact the interval could be
    narrower, by the ratio of sum p^2 to sum p; it is not narrowed, as networks are calibrated on the average of stars.
    """
    count = np.asarray(count, dtype=np.float64)
    tail = 0.5 * (1.0 - level)
    low = np.where(count > 0.0, gamma.ppf(tail, np.maximum(count, 1e-9)), 0.0)
    return low, gamma.ppf(1.0 - tail, count + 1.0)


def size_cuts(samples: Sequence[FlareSample], settings: FrequencySettings) -> Array:
    """The size from which each star counts, shape (stars,); infinite for one that is never complete enough.

    Raises
    ------
    ConfigError
        When neither `lowest` nor a completeness that falls says where a star's flares begin to count.
    """
    sizes = np.concatenate([s.size for s in samples])
    if settings.lowest is None and len(sizes) == 0:
        return np.ones(len(samples))  # nothing counts anywhere
    smallest = settings.lowest if settings.lowest is not None else 1e-4 * float(sizes.min())
    largest = settings.largest or max(float(sizes.max(initial=smallest)), smallest) * BEYOND
    grid = np.geomspace(smallest, max(largest, smallest * 1.01), SIZES)
    cuts = np.empty(len(samples))
    for k, sample in enumerate(samples):
        short = np.flatnonzero(sample.found(grid) < settings.least_completeness)
        if len(short) == 0 and settings.lowest is None:
            raise ConfigError(
                f"star {sample.star_id}: completeness never falls below {settings.least_completeness:g},"
                " so `lowest` must say from which size on flares count"
            )
        first = 0 if len(short) == 0 else int(short[-1]) + 1
        cuts[k] = grid[first] if first < len(grid) else math.inf
    return cuts


def counted(sample: FlareSample, cut: float, settings: FrequencySettings) -> NDArray[np.bool_]:
    """Which flares of one star lie between its lower cut and the largest size asked for, shape (n,)."""
    upper = math.inf if settings.largest is None else settings.largest
    return (sample.size >= cut) & (sample.size <= upper)


def check_samples(samples: Sequence[FlareSample]) -> None:
    """Refuse samples from which no distribution can be made.

    Raises
    ------
    DataError
        When there is no star, or one has sizes and probabilities that do not fit or are no sizes and probabilities.
    """
    if not samples:
        raise DataError("a flare frequency distribution needs at least one star that was searched")
    for sample in samples:
        if sample.size.shape != sample.p.shape or sample.size.ndim != 1:
            shapes = f"{sample.size.shape} and {sample.p.shape}"
            raise DataError(f"star {sample.star_id}: expected one probability per flare, got {shapes}")
        if not (np.isfinite(sample.size).all() and np.all(sample.size > 0.0)):
            raise DataError(f"star {sample.star_id}: sizes of flares must be positive and finite")
        if not np.all((sample.p >= 0.0) & (sample.p <= 1.0)):
            raise DataError(f"star {sample.star_id}: probabilities must lie between 0 and 1")
        if not (math.isfinite(sample.days) and sample.days > 0.0):
            raise DataError(f"star {sample.star_id}: the days searched must be positive, got {sample.days:g}")
