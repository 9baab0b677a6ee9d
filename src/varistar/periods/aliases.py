"""Is a period the alias of another? Arbitration between an answer and what nightly sampling makes of it.

A star that is seen once a night shows frequency f and, nearly as well, |f - 1| and f + 1 per day. A network that reads
statistics along the period axis cannot always tell them apart, since it sees heights in bins and no phases; and of a
star that turns within a day it knows the alias only, where its periods begin at a day. The periodogram of the whole
light curve can tell them apart if the signal is strong: each candidate has its highest Lomb-Scargle power near its
frequency, and an alias whose power is the larger replaces the answer, provided that it explains a least share of the
variance. Of weak signals the noise decides which peak is higher, and spots that come and go move power about: that
share is chosen on simulated stars (`choose_share`), where the truth is known. Catalogs do not arbitrate; the benchmark
on real stars does.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.spectra.periodogram import Peak, lombscargle_peak

from .cleaning import clean, detrend
from .scores import within

#: What one observation a night adds to a frequency [1/d].
DAY = (-1.0, 1.0)
WIDTH = 0.05  # of the answer's frequency: the peak may lie this far from what the network says, and its aliases as far
RESOLUTION = 2.0  # in units of 1/(time span): no window is narrower, and solar and sidereal day stand in one
LONGEST = 30.0  # [d]; the alias of a period near one day lies anywhere, and what is longer is a season's trend
MOST_COST = 0.005
NO_SHARE = 1.0  # explains more than all of the variance: no answer is replaced


class Rival(NamedTuple):
    """The best alias of an answer: its period [d], its Lomb-Scargle power, and the power near the answer."""

    period: float
    power: float
    answers_power: float


def arbitrate(time: NDArray, flux: NDArray, flux_err: NDArray, period: float, least_share: float) -> float:
    """The answer, or its one-day alias where the light curve says so.

    Parameters
    ----------
    time, flux, flux_err : shape (m,), times in any order [d]; flux without steps and trends, as `arbitrate_stars`
        makes it.
    period : the answer [d]; NaN stays NaN.
    least_share : of the variance, which an alias must explain to be taken, from 0 to 1.

    Returns
    -------
    `period` itself, or the period [d] of the alias's peak.
    """
    return _decide(period, find_rival(time, flux, flux_err, period), least_share)


def arbitrate_stars(
    lightcurves: LightCurves, period: NDArray, least_share: float, trend: float = 40.0
) -> NDArray[np.float64]:
    """`arbitrate` for n light curves, cleaned and without slow changes; shape (n,).

    Parameters
    ----------
    period : the answers [d], shape (n,).
    trend : changes slower than this are removed, as `Statistics.trend` has it [d].

    Raises
    ------
    DataError
        When there is not one answer for each star.
    """
    rivals = find_rivals(lightcurves, period, trend)
    return np.array([_decide(float(own), rival, least_share) for own, rival in zip(period, rivals, strict=True)])


def find_rivals(lightcurves: LightCurves, period: NDArray, trend: float = 40.0) -> list[Rival]:
    """The best alias of each answer, of light curves that are cleaned and detrended first; see `arbitrate_stars`."""
    if len(period) != len(lightcurves):
        raise DataError(f"{len(lightcurves)} light curves need as many periods, not {len(period)}")
    cleaned = clean(lightcurves)
    rivals = []
    for own, (begin, end) in zip(period, pairwise(cleaned.offsets), strict=True):
        time, flux, flux_err = (cleaned[name][begin:end] for name in ("time", "flux", "flux_err"))
        order = np.argsort(time, kind="stable")
        time, flux, flux_err = time[order].astype(np.float64), flux[order], flux_err[order]
        rivals.append(find_rival(time, detrend(time, flux, flux_err, trend), flux_err, float(own)))
    return rivals


def find_rival(time: NDArray, flux: NDArray, flux_err: NDArray, period: float) -> Rival:
    """The alias of an answer [d] with the highest power; of power 0 where there is none, or beyond 30 d."""
    if not period <= LONGEST or len(time) < 2 or np.ptp(time) == 0:
        return Rival(np.nan, 0.0, 0.0)
    frequency = 1 / period
    half_width = max(WIDTH * frequency, RESOLUTION / float(np.ptp(time)))
    own = _highest(time, flux, flux_err, frequency, half_width)
    # Near half a cycle a day, an alias within the same window is the answer itself.
    aliases = [alias for day in DAY if abs((alias := abs(frequency + day)) - frequency) > 2 * half_width]
    peaks = [_highest(time, flux, flux_err, alias, half_width) for alias in aliases]
    best = max(peaks, key=lambda peak: peak.power, default=Peak(np.nan, 0.0))
    return Rival(best.period, best.power, own.power)


def choose_share(
    period: NDArray, true_period: NDArray, rivals: list[Rival], most_cost: float = MOST_COST
) -> tuple[float, float, float]:
    """The lowest share that does little harm, and so, of those that do, the one that does most good.

    Of each share, the gain is the fraction of stars that arbitration puts right, the cost that of those it puts wrong.
    Both grow as the share falls; the lowest is taken whose cost is at most `most_cost`.

    Parameters
    ----------
    period, true_period : answers and truths [d] of stars set aside for this, shape (n,); stars without a period (NaN)
        do not count.
    rivals : the best alias of each answer.

    Returns
    -------
    share, gain and cost; (`NO_SHARE`, 0, 0) where even the strongest rival costs too much, or there is none.
    """
    known = np.isfinite(true_period)
    if not known.any():
        return NO_SHARE, 0.0, 0.0
    alias, power, own_power = (np.array(column)[known] for column in zip(*rivals, strict=True))
    before = within(period[known], true_period[known], 0.1)
    after = within(alias, true_period[known], 0.1)
    won = np.flatnonzero(power > own_power)
    won = won[np.argsort(-power[won], kind="stable")]
    # Entry k is what happens when the k + 1 strongest rivals that win are let through.
    gain, cost = (np.cumsum(changed[won]) / known.sum() for changed in (after & ~before, before & ~after))
    allowed = int(np.searchsorted(cost, most_cost, side="right"))
    if not allowed:
        return NO_SHARE, 0.0, 0.0
    weakest = allowed - 1
    return float(np.nextafter(power[won[weakest]], 0)), float(gain[weakest]), float(cost[weakest])


def _decide(period: float, rival: Rival, least_share: float) -> float:
    return rival.period if rival.power > max(least_share, rival.answers_power) else period


def _highest(time: NDArray, flux: NDArray, flux_err: NDArray, frequency: float, half_width: float) -> Peak:
    """The highest peak within `half_width` of a frequency [1/d]; of power 0 where that holds no period to search."""
    lowest = max(frequency - half_width, 1 / LONGEST)
    highest = frequency + half_width
    if not lowest < highest:
        return Peak(np.nan, 0.0)
    return lombscargle_peak(time, flux, flux_err, 1 / highest, 1 / lowest, oversample=10.0)
