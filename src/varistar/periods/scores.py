"""How right are these periods? The scores of one method on one test set, with intervals.

Definitions follow the paper (000, section 4): the fractional error is |P - P_true| / P_true (eq. 7), the fractional
uncertainty sigma / P (eq. 6), and a star is trusted where that is strictly below 25% (AMB-16). What the paper calls
predictive efficiency is a coverage: the fraction of stars that are trusted, right or wrong (AMB-17).

A star without a period, such as a constant one, has NaN for its truth. No period is right for it, so that the scores
leave it out; `varistar.periods.reliability` measures how often a period is claimed for it all the same.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.intervals import wilson_interval
from varistar.lightcurves.magnitudes import AB_ZERO_POINT

TRUSTED = 0.25
INTERVALS = (0.5, 0.68, 0.9, 0.95)

#: Of the true period [d].
PERIOD_EDGES = (1.0, 3.0, 7.0, 15.0, 30.0)
#: Of the injected signal's amplitude, relative to the median flux.
AMPLITUDE_EDGES = (0.003, 0.01, 0.03, 0.1, 0.3)
#: Of the template's g magnitude [AB mag], as `g_magnitude` gives it.
MAGNITUDE_EDGES = (12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0)
#: Of the number of points.
POINTS_EDGES = (200, 400, 800, 1600)
#: Of the amplitude over the scatter of the light curve without it.
SIGNAL_TO_NOISE_EDGES = (0.3, 1.0, 2.0, 2.6)

LUNAR_MONTH = 29.53  # synodic [d]
RATIOS = {"1:1": 1.0, "1:2": 1 / 2, "2:1": 2.0, "1:3": 1 / 3, "3:1": 3.0}  # of a measured period to the true one


def fractional_error(period: NDArray, true_period: NDArray) -> NDArray[np.float64]:
    """|P - P_true| / P_true; infinite where there is no period."""
    error = np.abs(period - true_period) / true_period
    return np.where(np.isfinite(error), error, np.inf)


def within(period: NDArray, true_period: NDArray, tolerance: float) -> NDArray[np.bool_]:
    """Which periods are right within this fraction of the truth."""
    return fractional_error(period, true_period) <= tolerance


def period_scores(true_period: NDArray, period: NDArray, sigma: NDArray | None = None) -> dict[str, Any]:
    """The scores of the stars that have a period.

    Parameters
    ----------
    true_period, period : [d], shape (n,); a star whose truth is NaN is left out.
    sigma : standard deviation [d], shape (n,); None for a method without uncertainties.

    Returns
    -------
    `n`, the stars with a period; `within_10pct`, `within_20pct`, `within_25pct`, the first with `within_10pct_interval`
    (95%); the same by true period under `by_period`; `median_fractional_error`; `bias`, the median of ln(P / P_true);
    `half`, `double`: fractions within 10% of P/2 and 2P; with `sigma` also `coverage` (of trusted stars),
    `trusted_within_10pct`, `trusted_within_20pct`, their number, and `correct`, the fraction of all stars that are
    trusted and within 10%.
    """
    known = ~np.isnan(true_period)
    true_period, period = true_period[known], period[known]
    right = within(period, true_period, 0.1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(period / true_period)
    scores: dict[str, Any] = {
        "n": len(period),
        "within_10pct": _mean(right),
        "within_10pct_interval": wilson_interval(int(right.sum()), len(right)),
        "within_20pct": _mean(within(period, true_period, 0.2)),
        "within_25pct": _mean(within(period, true_period, 0.25)),
        "half": _mean(within(2 * period, true_period, 0.1)),
        "double": _mean(within(period / 2, true_period, 0.1)),
        "median_fractional_error": _finite(np.median(fractional_error(period, true_period))) if len(period) else None,
        "bias": _finite(np.median(log_ratio)) if len(period) else None,
        "by_period": _by_period(true_period, right),
    }
    if sigma is not None:
        trusted = sigma[known] / period < TRUSTED
        scores |= {
            "coverage": _mean(trusted),
            "n_trusted": int(trusted.sum()),
            "trusted_within_10pct": _mean(right[trusted]),
            "trusted_within_20pct": _mean(within(period, true_period, 0.2)[trusted]),
            "correct": _mean(right & trusted),
        }
    return scores


def by_bins(values: NDArray, edges: Sequence[float], right: NDArray[np.bool_], unit: str = "") -> dict[str, Any]:
    """How often the period is right, by another quantity.

    Parameters
    ----------
    values : shape (n,); a star with NaN stands in no bin.
    edges : ascending, such as `AMPLITUDE_EDGES`; a lower edge belongs to its bin. What lies below the first and from
        the last on has a bin too.
    right : which periods are within 10%, shape (n,).
    unit : of the values, for the labels.

    Returns
    -------
    by label, such as "0.3-1 mag": `n`, `within_10pct` (None for no stars) and `within_10pct_interval` (95%).
    """
    inner = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    labels = [f"{label} {unit}".rstrip() for label in (f"<{edges[0]:g}", *inner, f">={edges[-1]:g}")]
    place = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
    return {label: _counted(right[place == number]) for number, label in enumerate(labels)}


def by_group(names: pl.Series | Sequence[str | None], right: NDArray[np.bool_]) -> dict[str, Any]:
    """How often the period is right in each group, such as a kind of star.

    Parameters
    ----------
    names : shape (n,); null is "unknown".
    right : which periods are within 10%, shape (n,).

    Returns
    -------
    by name, in alphabetical order, the numbers of `by_bins`.
    """
    group = pl.Series(names).cast(pl.String).fill_null("unknown").to_numpy()
    return {name: _counted(right[group == name]) for name in sorted(set(group))}


def g_magnitude(template_flux: NDArray) -> NDArray[np.float64]:
    """The g magnitude [AB mag] of a flux [mJy]; NaN where that is not positive."""
    flux = np.asarray(template_flux, dtype=np.float64)
    return AB_ZERO_POINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def harmonic_confusion(true_period: NDArray, period: NDArray) -> dict[str, float | None]:
    """What the periods are where they are not the true ones.

    Parameters
    ----------
    true_period, period : [d], shape (n,); a star whose truth is NaN is left out.

    Returns
    -------
    fractions that sum to one, each star under the first that holds within 10%: "1:1"; "1:2", half the true period;
    "2:1"; "1:3"; "3:1"; "alias", of the frequency |f - 1| or f + 1 per day, where f is the true one, which a site sees
    that observes once a night (a tenth is wide here: of any truth beyond 20 d all answers from 0.95 to 1.05 d are one);
    "lunar", the synodic month or half of it, unless the truth itself is near one of them; "other", no period included.
    None for no stars.
    """
    known = ~np.isnan(true_period)
    true_period, period = true_period[known], period[known]
    explained = {label: within(period, ratio * true_period, 0.1) for label, ratio in RATIOS.items()}
    with np.errstate(divide="ignore", invalid="ignore"):  # the alias of one day is no period
        below, above = (within(period, 1 / np.abs(1 / true_period + day), 0.1) for day in (-1, 1))
    explained["alias"] = below | above
    explained["lunar"] = _near_moon(period) & ~_near_moon(true_period)
    explained["other"] = np.ones(len(period), dtype=bool)
    first = np.argmax(list(explained.values()), axis=0)
    return {label: _mean(first == number) for number, label in enumerate(explained)}


def interval_coverage(cumulative: NDArray) -> dict[str, float | None]:
    """How often central intervals hold the truth.

    Parameters
    ----------
    cumulative : shape (n,), each star's predicted probability that the period is at most the true one. Uniform when the
        uncertainties are honest. NaN, a star without a true period, is left out.
    """
    cumulative = cumulative[~np.isnan(cumulative)]
    return {f"{level:.2f}": _mean(np.abs(cumulative - 0.5) <= level / 2) for level in INTERVALS}


def best_constant(true_period: NDArray) -> float:
    """The one period [d] that is within 10% of most of these, the baseline without any light curve.

    A period is right for truths from P / 1.1 to P / 0.9; of the windows of that width the fullest is taken, and of the
    periods that are right for all of it the middle one. At least one star must have a period; truths that are NaN, of
    stars without one, do not count.
    """
    ordered = np.sort(true_period[~np.isnan(true_period)])
    stop = np.searchsorted(ordered, ordered * (1.1 / 0.9), side="right")
    fullest = np.argmax(stop - np.arange(len(ordered)))
    return float(1.1 * ordered[fullest] + 0.9 * ordered[stop[fullest] - 1]) / 2


def _by_period(true_period: NDArray, right: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    table = {}
    for low, high in pairwise(PERIOD_EDGES):
        here = (true_period >= low) & (true_period < high)
        table[f"{low:g}-{high:g} d"] = {"n": int(here.sum()), "within_10pct": _mean(right[here])}
    return table


def _counted(right: NDArray[np.bool_]) -> dict[str, Any]:
    interval = wilson_interval(int(right.sum()), len(right))
    return {"n": len(right), "within_10pct": _mean(right), "within_10pct_interval": interval}


def _near_moon(period: NDArray) -> NDArray[np.bool_]:
    month = np.full(len(period), LUNAR_MONTH)
    return within(period, month, 0.1) | within(period, month / 2, 0.1)


def _mean(values: NDArray) -> float | None:
    return round(float(np.mean(values)), 6) if len(values) else None


def _finite(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
