"""Joining exposures that follow each other within minutes.

ASAS-SN takes three dithered exposures about 110 s apart at each visit. Their errors are correlated, and no period of
interest is as short, so that a visit is better treated as one measurement.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

from .assemble import codes_of
from .table import LightCurves


def bin_epochs(lightcurves: LightCurves, within_days: float) -> LightCurves:
    """Make one point of each run of points of one star, camera and band.

    A run ends where the next point of that star, camera and band comes more than `within_days` later; visits must
    therefore lie further apart than the exposures of a visit. A point without a time stays by itself.

    Parameters
    ----------
    lightcurves : n stars
        Points in any order.
    within_days : float
        Largest gap inside a run [d].

    Returns
    -------
    LightCurves
        The same n stars, each in the order of time. Of a run, `time` and `flux` are means weighted with
        `1 / flux_err ** 2`, and `flux_err` is the error of that mean for independent errors; `mag` and `mag_err`
        likewise with their own errors; `limit` and `fwhm` are plain means; `quality` has the bits of all. Missing
        values are left out of a mean; points without an error count, equally, only in a run in which none has one,
        and then the error stays missing. A run without any flux has the plain mean of its times.

    Raises
    ------
    DataError
        When `within_days` is not positive.
    """
    if not within_days > 0:
        raise DataError(f"points cannot be binned within {within_days} days; expected a positive number")
    columns, points = lightcurves.columns, int(lightcurves.offsets[-1])
    if points == 0:
        return lightcurves
    star = np.repeat(np.arange(len(lightcurves)), lightcurves.n_points)
    series = star
    for name in ("camera", "band"):
        if name in columns:
            codes = codes_of(columns[name])
            series = series * (codes.max() + 1) + codes
    order = np.lexsort((columns["time"], series))
    ordered = {name: values[order] for name, values in columns.items()}
    together = (np.diff(series[order]) == 0) & (np.diff(ordered["time"]) <= within_days)
    first = np.concatenate([[0], np.flatnonzero(~together) + 1])
    binned, star = _bin(ordered, first), star[order][first]
    back = np.lexsort((binned["time"], star))
    counts = np.bincount(star, minlength=len(lightcurves))
    return replace(
        lightcurves,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns={name: values[back] for name, values in binned.items()},
    )


def _bin(columns: dict[str, NDArray], first: NDArray[np.int64]) -> dict[str, NDArray]:
    """Join runs of neighbouring points; `first`, shape (runs,), says where each begins."""
    lengths = np.diff(first, append=len(columns["time"]))
    binned: dict[str, NDArray] = {}
    weight, binned["flux_err"] = _weights(columns["flux"], columns["flux_err"], first)
    binned["flux"] = _mean(columns["flux"], weight, first)
    # The date of the mean flux. Relative to the run's first point, for a mean of large dates would lose digits.
    begin = columns["time"][first]
    unweighted = np.repeat(np.add.reduceat(weight, first) == 0, lengths)
    since_begin = columns["time"] - np.repeat(begin, lengths)
    binned["time"] = begin + _mean(since_begin, np.where(unweighted, 1.0, weight), first)
    if "mag" in columns:
        mag_err = columns.get("mag_err", np.full_like(columns["mag"], np.nan))
        weight, binned["mag_err"] = _weights(columns["mag"], mag_err, first)
        binned["mag"] = _mean(columns["mag"], weight, first)
    for name in ("limit", "fwhm"):
        if name in columns:
            binned[name] = _mean(columns[name], np.isfinite(columns[name]).astype(np.float64), first)
    for name in ("camera", "band"):
        if name in columns:
            binned[name] = columns[name][first]
    if "quality" in columns:
        binned["quality"] = np.bitwise_or.reduceat(columns["quality"], first)
    return {name: binned[name].astype(values.dtype) for name, values in columns.items() if name in binned}


def _weights(
    values: NDArray, errors: NDArray, first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weight of each point in its run, zero for one that does not count, and the error of each run's mean."""
    finite = np.isfinite(values)
    known = finite & np.isfinite(errors) & (errors > 0)
    weight = np.where(known, 1.0 / np.square(np.where(known, errors, 1.0), dtype=np.float64), 0.0)
    total = np.add.reduceat(weight, first)
    with np.errstate(divide="ignore"):
        error = np.where(total > 0, 1.0 / np.sqrt(total), np.nan)
    without_error = np.repeat(total == 0, np.diff(first, append=len(values)))
    return np.where(without_error, finite.astype(np.float64), weight), error


def _mean(values: NDArray, weight: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weighted mean over each run, NaN where nothing counts."""
    total = np.add.reduceat(np.where(weight > 0, values, 0.0) * weight, first)
    with np.errstate(invalid="ignore"):
        return total / np.add.reduceat(weight, first)
