"""Whether a challenger may take the champion's place: pure comparison, no files.

A comparison holds what a challenger and the champion scored on the same frozen test set, star by star, and the
bootstrap interval of the difference. Gates are data, from params.yaml: bounds on a metric, and on its change.
Differences are always challenger minus champion.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from varistar.foundation.errors import DataError, RegistryError
from varistar.foundation.settings import Settings

from .content import Metrics


class Scores(Settings):
    """What one model scored.

    Attributes
    ----------
    content
        The model's content hash.
    test_set
        The hash of the frozen test set.
    metrics
        Null where a metric is undefined.
    """

    content: str
    test_set: str
    metrics: Metrics


class Difference(Settings):
    """The mean of challenger minus champion over the test stars, and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class Comparison(Settings):
    """A challenger beside the champion, if there is one; `differences` by metric, from `paired_bootstrap`."""

    challenger: Scores
    champion: Scores | None = None
    differences: dict[str, Difference] = Field(default_factory=dict)


class Gate(Settings):
    """The bounds that one metric must keep.

    Attributes
    ----------
    minimum, maximum
        Of the challenger's value; a first champion must keep these too.
    least_change, most_change
        Of challenger minus champion: `least_change: -0.005` lets an accuracy fall by half a percent,
        `most_change: 0` lets an error not rise.
    confident
        Hold the changes against the end of the bootstrap interval that is nearer to failing, not against the mean.
    """

    minimum: float | None = None
    maximum: float | None = None
    least_change: float | None = None
    most_change: float | None = None
    confident: bool = False

    @model_validator(mode="after")
    def _bounds_something(self) -> "Gate":
        if all(b is None for b in (self.minimum, self.maximum, self.least_change, self.most_change)):
            raise ValueError("a gate needs one of minimum, maximum, least_change, most_change")
        return self


def gate(comparison: Comparison, gates: Mapping[str, Gate]) -> list[str]:
    """Why the challenger may not be promoted, a sentence each; empty when it may.

    A metric that the comparison lacks, or that is undefined, fails its gate. Without a champion only `minimum` and
    `maximum` count.

    Raises
    ------
    RegistryError
        When the two were scored on different test sets: no difference between them would mean anything.
    """
    challenger, champion = comparison.challenger, comparison.champion
    if champion is not None and champion.test_set != challenger.test_set:
        raise RegistryError(
            f"challenger and champion were scored on different test sets ({challenger.test_set:.12} and"
            f" {champion.test_set:.12}): score the champion on the challenger's first"
        )
    if not gates:
        return ["there are no gates"]
    failures = []
    for metric, bounds in sorted(gates.items()):
        failures += _value_failures(metric, challenger.metrics.get(metric), bounds)
        if champion is not None:
            failures += _change_failures(metric, comparison, bounds)
    return failures


def paired_bootstrap(
    challenger: ArrayLike, champion: ArrayLike, seed: int, n: int = 2000, groups: ArrayLike | None = None
) -> tuple[float, float, float]:
    """The mean difference between two models over the same stars, and its 95 % interval.

    Stars are drawn with replacement, both models' results together, so what makes a star hard for both cancels
    (percentile bootstrap; Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    challenger, champion : array of shape (stars,)
        One number per star, such as correct (1) or not (0), in the same order of stars.
    seed : int
        Of the resampling.
    n : int
        How many resamplings.
    groups : array of shape (stars,), optional
        Which stars share something, such as a template, and are drawn together, as in `cluster_bootstrap`.

    Returns
    -------
    mean, low, high : float
        Of challenger minus champion; the interval is the 2.5th to the 97.5th percentile.

    Raises
    ------
    DataError
        When the arrays are empty, differ in shape, or hold values that are not finite.
    """
    first, second = np.asarray(challenger, dtype=np.float64), np.asarray(champion, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise DataError(
            f"a paired comparison needs one value per star of both models, got {first.shape}, {second.shape}"
        )
    difference = first - second
    if not np.isfinite(difference).all():
        star = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise DataError(
            f"a paired comparison needs finite values, got {first[star]} and {second[star]} for star {star}"
        )
    return cluster_bootstrap(difference, np.arange(difference.size) if groups is None else groups, seed, n)


def cluster_bootstrap(values: ArrayLike, groups: ArrayLike, seed: int, n: int = 2000) -> tuple[float, float, float]:
    """The mean over examples that come in groups, and its 95 % interval.

    Examples of a group, such as those that share a template, are hard or easy together: an interval that takes them for
    independent is too narrow. Whole groups are drawn with replacement, as many as there are, and the mean is over the
    examples drawn (percentile bootstrap of clusters; Field & Welsh 2007). With fewer than some twenty groups it is too
    narrow still.

    Parameters
    ----------
    values : array of shape (examples,)
        One number per example, such as correct (1) or not (0).
    groups : array of shape (examples,)
        The name or number of each example's group.
    seed : int
        Of the resampling.
    n : int
        How many resamplings.

    Returns
    -------
    mean, low, high : float
        The interval is the 2.5th to the 97.5th percentile; NaN where all examples are one group of several, which says
        nothing of how groups differ.

    Raises
    ------
    DataError
        When there are no examples, a value is not finite, or there is not one group per value.
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if values.ndim != 1 or values.size == 0 or groups.shape != values.shape:
        raise DataError(f"a bootstrap needs one value and one group per example, got {values.shape}, {groups.shape}")
    if not np.isfinite(values).all():
        example = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"a bootstrap needs finite values, got {values[example]} for example {example}")
    _, group = np.unique(groups, return_inverse=True)
    total, size = np.bincount(group, weights=values), np.bincount(group)
    if len(size) == 1 < size[0]:
        return float(values.mean()), math.nan, math.nan
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(0, len(size), len(size)) for _ in range(n))
    means = [total[rows].sum() / size[rows].sum() for rows in drawn]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def _value_failures(metric: str, value: float | None, bounds: Gate) -> list[str]:
    """Whether the challenger's own value keeps the bounds."""
    if value is None:
        return [f"{metric} was not measured or is undefined"]
    if bounds.minimum is not None and value < bounds.minimum:
        return [f"{metric} is {value:.6g}, below the minimum {bounds.minimum:.6g}"]
    if bounds.maximum is not None and value > bounds.maximum:
        return [f"{metric} is {value:.6g}, above the maximum {bounds.maximum:.6g}"]
    return []


def _change_failures(metric: str, comparison: Comparison, bounds: Gate) -> list[str]:
    """Whether the change from champion to challenger keeps the bounds."""
    if bounds.least_change is None and bounds.most_change is None:
        return []
    difference = comparison.differences.get(metric) or _without_interval(metric, comparison)
    if difference is None:
        return [f"{metric} cannot be compared: it was not measured on the champion"]
    if bounds.confident and math.isnan(difference.low):
        return [f"{metric} has no bootstrap interval, which its gate asks for"]
    worst, best = (difference.low, difference.high) if bounds.confident else (difference.mean, difference.mean)
    which = "at the end of its interval " if bounds.confident else ""
    if bounds.least_change is not None and worst < bounds.least_change:
        return [f"{metric} changes by {which}{worst:+.6g}, less than {bounds.least_change:+.6g}"]
    if bounds.most_change is not None and best > bounds.most_change:
        return [f"{metric} changes by {which}{best:+.6g}, more than {bounds.most_change:+.6g}"]
    return []


def _without_interval(metric: str, comparison: Comparison) -> Difference | None:
    """The difference of the two metrics, where no bootstrap was made."""
    challenger = comparison.challenger.metrics.get(metric)
    champion = comparison.champion.metrics.get(metric) if comparison.champion else None
    if challenger is None or champion is None:
        return None
    return Difference(mean=challenger - champion, low=math.nan, high=math.nan)
