"""How much better is one variant than another at the flares of the same test stars?

Whole stars are drawn with replacement, both variants' results together (percentile bootstrap of clusters), so that what
is hard for both cancels, and flares of one star do not pass for independent.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.experiments.gates import Difference
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json

from .evaluate import REPORTS
from .variants import folder_of, section_of, stage_of
from .verdict import OF_LABELS, SEED

Array = NDArray[np.float64]

RESAMPLINGS = 2000
#: The group of all flares that count.
ALL = "all flares"
#: What is counted of each star.
FOUND, LABELS, TRUE, EVENTS, FALSE = range(5)


class _Measured(NamedTuple):
    """What the evaluation of a variant has left: its events, the test's labels, both matched, and its report."""

    events: pl.DataFrame
    labels: pl.DataFrame
    report: dict


def differences(root: Path, first: str, second: str) -> dict[str, dict[str, Difference]]:
    """The first variant less the second, with 95% intervals.

    Returns
    -------
    by group: of `ALL`, `counted_f1`, `counted_precision`, `counted_recall` and `false_per_day`, as evaluation defines
    them; of each bin of S/N that holds flares, `counted_recall`. An interval is NaN where the test has a single star.

    Raises
    ------
    DataError
        When a variant has not been evaluated here, or the two were measured on different stars.
    ConfigError
        When there is no such variant.
    """
    one, other = (_measured(root, name) for name in (first, second))
    if one.report["test_set"] != other.report["test_set"] or one.labels.height != other.labels.height:
        stages = " ".join(stage_of(root, name, "evaluate") for name in (first, second))
        raise DataError(
            f"'{first}' and '{second}' were measured on different stars; `dvc repro {stages}` measures them again"
        )
    days, n_stars = float(one.report["days"]), int(one.report["n_stars"])
    scores: dict[str, Callable[[Array], Array]] = {
        "counted_f1": _f1,
        "counted_precision": _precision,
        "counted_recall": _recall,
        "false_per_day": lambda counts: counts[..., FALSE] / days,
    }
    found = {ALL: _of_group((one, other), pl.lit(True), n_stars, scores)}
    edges = [*OF_LABELS["peak_snr"], np.inf]
    for low, high in pairwise(edges):
        inside = (pl.col("peak_snr") >= low) & (pl.col("peak_snr") < high)
        if one.labels.filter("counts").filter(inside).height:
            name = f"S/N {low:g} to {high:g}" if np.isfinite(high) else f"S/N from {low:g}"
            found[name] = _of_group((one, other), inside, n_stars, {"counted_recall": _recall})
    return found


def _of_group(
    pair: tuple[_Measured, _Measured], labels: pl.Expr, n_stars: int, scores: dict[str, Callable[[Array], Array]]
) -> dict[str, Difference]:
    """The differences of these scores, of the labels for which the expression holds."""
    names = sorted({name for one in pair for table in (one.events, one.labels) for name in table["star_id"].unique()})
    # stars in which there is nothing to find, and nothing was found, are drawn too
    counts = [np.zeros((max(n_stars, len(names)), 5)) for _ in pair]
    for one, count in zip(pair, counts, strict=True):
        count[: len(names)] = _counts(one, labels, names)
    stars = len(counts[0])
    drawn = np.random.default_rng(SEED).multinomial(stars, np.full(stars, 1 / stars), RESAMPLINGS)
    found = {}
    for name, score in scores.items():
        mean = float(score(counts[0].sum(axis=0)) - score(counts[1].sum(axis=0)))
        resampled = score(drawn @ counts[0]) - score(drawn @ counts[1])
        low, high = np.nanpercentile(resampled, [2.5, 97.5]) if stars > 1 else (np.nan, np.nan)
        found[name] = Difference(mean=mean, low=float(low), high=float(high))
    return found


def _counts(one: _Measured, labels: pl.Expr, names: list[str]) -> Array:
    """Of each star, shape (n, 5): labels found, labels, events that are true, events, and events that fit no label."""
    stars = pl.DataFrame({"star_id": names}, schema={"star_id": pl.String})
    of_labels = one.labels.filter("counts").filter(labels).group_by("star_id").agg(pl.sum("hit"), pl.len())
    of_events = one.events.filter("counts").group_by("star_id").agg(pl.sum("hit"), pl.len())
    false = one.events.group_by("star_id").agg((~pl.col("fits")).sum().alias("false"))
    for table, suffix in ((of_labels, "_label"), (of_events, "_event"), (false, "")):
        stars = stars.join(table, on="star_id", how="left", suffix=suffix, maintain_order="left")
    return stars.drop("star_id").fill_null(0).to_numpy().astype(np.float64)


def _recall(counts: Array) -> Array:
    return _share(counts[..., FOUND], counts[..., LABELS])


def _precision(counts: Array) -> Array:
    return _share(counts[..., TRUE], counts[..., EVENTS])


def _f1(counts: Array) -> Array:
    return _share(counts[..., FOUND] + counts[..., TRUE], counts[..., LABELS] + counts[..., EVENTS])


def _share(part: Array, whole: Array) -> Array:
    """Their ratio; 0 of nothing, where a variant found nothing at all."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


def _measured(root: Path, name: str) -> _Measured:
    report = root / REPORTS[section_of(root, name)] / f"{name}.json"
    paths = [folder_of(root, name) / folder / f"{name}.parquet" for folder in ("measured", "recalled")]
    for path in (*paths, report):
        if not path.exists():
            stage = stage_of(root, name, "evaluate")
            raise DataError(f"{path}: '{name}' has not been evaluated here; `dvc repro {stage}` does")
    events, labels = (pl.read_parquet(path, glob=False) for path in paths)
    return _Measured(events, labels, read_json(report))
