"""How good are these events, windows and cadences? Scores against what is known, with intervals by star.

**Events.** An event and a label (a known flare) of one star fit if their peaks are at most `tolerance_minutes` apart,
or if their intervals touch; a label without an interval is its peak. Of all ways to pair them, each at most once, the
one with the most pairs is taken, then that with the most labels that count (`faint_snr`), then that with the least sum
of distances between peaks: an assignment, solved exactly for each group of events and labels that fit one another.
An event left over is a false positive, also where it fits a label that another event has; those are the duplicates.

Precision is the share of events, recall that of labels that are paired, and F1 = 2 TP / (events + labels). The last is
also the mean of "is paired" over events and labels together, so one bootstrap of whole stars serves all three.

Lists of flares often have several rows for one outburst, of which a method may find one event. `recall_lenient` counts
every label that fits an event. Lenient pairing would change no precision: an event that fits a label is left over only
when its labels have others.

Lists are also incomplete, and deeper than any method can see. In a second set of scores, `counted_`, nothing faint
counts: no label below `faint_snr`, and no event paired with one; nor does an event left over whose own `peak_snr` is at
least `strong_snr`, which is likely a flare that the list lacks. A label whose `peak_snr` is null counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from varistar.experiments.gates import cluster_bootstrap
from varistar.foundation.errors import DataError
from varistar.foundation.intervals import wilson_interval
from varistar.foundation.settings import Settings

Array = NDArray[np.float64]


class MatchSettings(Settings):
    """When an event is a label, and what counts.

    Attributes
    ----------
    tolerance_minutes : largest distance between peaks [min].
    overlap : intervals that touch fit too.
    faint_snr : labels with a smaller `peak_snr` do not count in the second set of scores.
    strong_snr : events left over with at least this `peak_snr` do not count there; None where the list is complete.
    """

    tolerance_minutes: float = Field(default=6.0, ge=0.0)
    overlap: bool = True
    faint_snr: float = 5.0
    strong_snr: float | None = None


@dataclass(frozen=True)
class Matched:
    """Events and labels side by side.

    Attributes
    ----------
    events : the events with `label`, the row of the label it is paired with or null; `hit`, whether there is one;
        `fits`, whether any label fits; `counts`, whether the second set of scores counts it.
    labels : the labels with `event`, `hit`, `fits` and `counts`, likewise.
    """

    events: pl.DataFrame
    labels: pl.DataFrame


def match_events(events: pl.DataFrame, labels: pl.DataFrame, settings: MatchSettings) -> Matched:
    """Pair the events of any number of stars with their labels.

    Parameters
    ----------
    events : columns `star_id`, `tpeak`, `tstart`, `tstop` [d], and `peak_snr` if `strong_snr` is set.
    labels : columns `star_id`, `tpeak`, and `tstart`, `tstop`, `peak_snr` or null.

    Raises
    ------
    DataError
        When a column is missing or a peak is not finite.
    """
    times = ("star_id", "tpeak", "tstart", "tstop")
    _need("events", events, times if settings.strong_snr is None else (*times, "peak_snr"))
    _need("labels", labels, (*times, "peak_snr"))
    event, label, distance = _fitting(events, labels, settings)
    counts = ~(_floats(labels, "peak_snr") < settings.faint_snr)
    label_of = _assign(event, label, distance, counts, len(events))
    hit = label_of >= 0
    event_of = np.full(len(labels), -1)
    event_of[label_of[hit]] = np.flatnonzero(hit)
    event_counts = ~hit
    event_counts[hit] = counts[label_of[hit]]
    if settings.strong_snr is not None:
        event_counts &= hit | ~(_floats(events, "peak_snr") >= settings.strong_snr)
    return Matched(
        _beside(events, "label", label_of, np.isin(np.arange(len(events)), event), event_counts),
        _beside(labels, "event", event_of, np.isin(np.arange(len(labels)), label), counts),
    )


def event_scores(matched: Matched, seed: int, n: int = 2000) -> dict[str, Any]:
    """Precision, recall and F1 of events, each with its 95 % interval over stars (`cluster_bootstrap`).

    Parameters
    ----------
    seed, n : of the resampling, and how often.

    Returns
    -------
    `n_events`, `n_labels`, `true_positives`, `false_positives`, `false_negatives`, `duplicates`, `precision`, `recall`,
    `f1`, `recall_lenient`; of what counts, `counted_events` (their number), `counted_labels`, `counted_precision`,
    `counted_recall`, `counted_f1`; and after each rate, `<rate>_interval`. None for a rate of nothing, and for the
    interval where there are no two stars.
    """
    events, labels = matched.events, matched.labels
    hits = int(events["hit"].sum())
    scores: dict[str, Any] = {
        "n_events": len(events),
        "n_labels": len(labels),
        "true_positives": hits,
        "false_positives": len(events) - hits,
        "false_negatives": len(labels) - hits,
        "duplicates": int((events["fits"] & ~events["hit"]).sum()),
        **_rates("", events, labels, seed, n),
        **_rate("recall_lenient", labels["fits"], labels["star_id"], seed, n),
    }
    events, labels = events.filter("counts"), labels.filter("counts")
    return scores | {
        "counted_events": len(events),
        "counted_labels": len(labels),
        **_rates("counted_", events, labels, seed, n),
    }


def average_precision_of_events(matched: Matched, score: str = "p") -> float | None:
    """Area under precision and recall of events, paired as above, as the bar on their column `score` falls. A label
    without an event is never found. None without labels."""
    n_labels = len(matched.labels)
    if n_labels == 0:
        return None
    hit = matched.events["hit"].to_numpy()
    return float(average_precision(hit, _floats(matched.events, score)) * hit.sum() / n_labels) if hit.any() else 0.0


def rates_by(
    rows: pl.DataFrame,
    column: str,
    edges: Sequence[float] | None = None,
    outcome: str = "hit",
    seed: int = 0,
    n: int = 2000,
) -> pl.DataFrame:
    """How often `outcome` is true, by another quantity: recall of labels, precision of events, or any other.

    Parameters
    ----------
    rows : columns `star_id`, `column` and the boolean `outcome`, such as `Matched.labels` joined with the stars.
    edges : ascending; a lower edge belongs to its bin. What lies below the first and from the last on has a bin too.
        None groups by the values themselves.

    Returns
    -------
    DataFrame `group` (such as "0.01-0.1", or "unknown" for null), `n`, `stars`, `rate`, and `low`, `high`, the 95 %
    interval over stars; in order of the quantity, the unknown last, without empty groups.
    """
    _need("rows", rows, ("star_id", column, outcome))
    if edges is None:
        names = rows[column].cast(pl.String).to_list()
        order = [*map(str, rows[column].drop_nulls().unique().sort().cast(pl.String)), None]
    else:
        values = _floats(rows, column)
        inner = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
        order = [f"<{edges[0]:g}", *inner, f">={edges[-1]:g}", None]
        place = np.searchsorted(np.asarray(edges), values, side="right")
        names = [order[k] for k in np.where(np.isnan(values), len(order) - 1, place)]
    group = pl.Series(names, dtype=pl.String)
    table = []
    for name in order:
        part = rows.filter(group.is_null() if name is None else (group == name).fill_null(False))
        if len(part):
            stars, hits = part["star_id"].to_numpy(), part[outcome].to_numpy().astype(float)
            rate, low, high = cluster_bootstrap(hits, stars, seed, n)
            shown = "unknown" if name is None else name
            table.append((shown, len(part), len(set(stars)), rate, low, high))
    schema = {
        "group": pl.String,
        "n": pl.Int64,
        "stars": pl.Int64,
        **dict.fromkeys(("rate", "low", "high"), pl.Float64),
    }
    return pl.DataFrame(table, schema=schema, orient="row").with_columns(pl.col("low", "high").fill_nan(None))


def window_scores(is_flare: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """Scores of windows, each a flare or not (paper, section 2.4): `n`, `n_flares`, `true_positives`,
    `false_positives`, `false_negatives`, `true_negatives`, `accuracy`, `precision`, `recall`, `f1`,
    `average_precision`, `roc_auc`; None where undefined. Shapes (n,); a window is called a flare above `threshold`.

    Raises
    ------
    DataError : when the shapes differ or a p is not finite.
    """
    truth, p = _pair(is_flare, p)
    called = p > threshold
    tp, fp = int((truth & called).sum()), int((~truth & called).sum())
    fn, tn = int((truth & ~called).sum()), int((~truth & ~called).sum())
    return {
        "n": len(p),
        "n_flares": tp + fn,
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
        "accuracy": _share(tp + tn, len(p)),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "average_precision": average_precision(truth, p) if tp + fn else None,
        "roc_auc": roc_auc(truth, p) if tp + fn and fp + tn else None,
    }


def cadence_scores(in_flare: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """Scores of cadences, each in a flare or not: those of `window_scores`, `dice` (its F1), and `iou`, the share of
    what is called or true that is both. Shapes (m,); a cadence without a score (NaN) does not count."""
    scored = np.isfinite(np.asarray(p, dtype=np.float64))
    scores = window_scores(np.asarray(in_flare)[scored], np.asarray(p)[scored], threshold)
    tp, wrong = scores["true_positives"], scores["false_positives"] + scores["false_negatives"]
    return scores | {"n_unscored": int((~scored).sum()), "dice": scores["f1"], "iou": _share(tp, tp + wrong)}


def average_precision(truth: ArrayLike, p: ArrayLike) -> float:
    """Sum over thresholds of precision times the step in recall; equal p are one step. Shapes (n,), some true."""
    truth, p = _pair(truth, p)
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    hits = np.cumsum(truth[order])[last]
    return float(np.sum(hits / (last + 1) * np.diff(hits, prepend=0)) / hits[-1])


def roc_auc(truth: ArrayLike, p: ArrayLike) -> float:
    """Chance that a true one has a higher p than a false one, equal ones half. Shapes (n,), one of each at least."""
    truth, p = _pair(truth, p)
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - 0.5 * (count - 1))[place]
    n_true = int(truth.sum())
    return float((rank[truth].sum() - 0.5 * n_true * (n_true + 1)) / (n_true * (len(p) - n_true)))


def reliability(truth: ArrayLike, p: ArrayLike, bins: int = 10) -> tuple[pl.DataFrame, dict[str, float]]:
    """How often what is called p is true (paper, section 2.5 and figure 6).

    Parameters
    ----------
    truth, p : shape (n,), at least one.
    bins : of equal numbers as far as equal p allow, which stay together; there may be fewer.

    Returns
    -------
    DataFrame `p_low`, `p_high`, `n`, `p_mean`, `fraction`, and `low`, `high`, its 95 % Wilson interval; and `brier`,
    the mean of (p - truth)^2, and `ece`, the mean over all of |p_mean - fraction| of their bin.
    """
    truth, p = _pair(truth, p)
    ordered = np.sort(p)
    starts = np.unique(ordered[(np.arange(bins) * len(p)) // bins])
    place = np.searchsorted(starts, p, side="right") - 1
    rows = []
    for k in range(len(starts)):
        inside, true = p[place == k], int(truth[place == k].sum())
        known = (float(inside.min()), float(inside.max()), len(inside), float(inside.mean()), true / len(inside))
        rows.append((*known, *wilson_interval(true, len(inside))))
    names = ("p_low", "p_high", "n", "p_mean", "fraction", "low", "high")
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64) | {"n": pl.Int64}, orient="row")
    ece = ((table["p_mean"] - table["fraction"]).abs() * table["n"]).sum() / len(p)
    return table, {"brier": float(np.mean((p - truth) ** 2)), "ece": float(ece)}


def _need(what: str, table: pl.DataFrame, columns: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in table.columns]:
        raise DataError(f"the {what} lack the column '{missing[0]}'; needed are {', '.join(columns)}")


def _floats(table: pl.DataFrame, column: str) -> Array:
    """A column as float64, NaN for null."""
    return table[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _fitting(
    events: pl.DataFrame, labels: pl.DataFrame, settings: MatchSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Rows of each event and label that fit, and the distance of their peaks [min]."""
    for what, table in (("events", events), ("labels", labels)):
        if not np.isfinite(_floats(table, "tpeak")).all():
            raise DataError(
                f"the {what} have a peak time that is null or not finite, which nothing can be matched with"
            )
    start, stop = (pl.col(name).cast(pl.Float64).fill_nan(None) for name in ("tstart", "tstop"))
    tpeak = pl.col("tpeak").cast(pl.Float64)
    whole = start.is_not_null() & stop.is_not_null()
    columns = [
        pl.col("star_id").cast(pl.String),
        tpeak.alias("t"),
        pl.when(whole).then(start).otherwise(tpeak).alias("a"),
        pl.when(whole).then(stop).otherwise(tpeak).alias("b"),
    ]
    pairs = (
        events.select(columns)
        .with_row_index("event")
        .join(labels.select(columns).with_row_index("label"), on="star_id", suffix="_l")
        .with_columns(((pl.col("t") - pl.col("t_l")).abs() * 1440.0).alias("distance"))
    )
    # a thousandth of a second for times that are equal but for rounding
    near = pl.col("distance") <= settings.tolerance_minutes + 1e-5
    touch = (pl.col("a") <= pl.col("b_l")) & (pl.col("a_l") <= pl.col("b"))
    pairs = pairs.filter(near | touch if settings.overlap else near)
    return (
        pairs["event"].to_numpy().astype(np.int64),
        pairs["label"].to_numpy().astype(np.int64),
        pairs["distance"].to_numpy(),
    )


def _assign(
    event: NDArray[np.int64],
    label: NDArray[np.int64],
    distance: Array,
    counts: NDArray[np.bool_],
    n_events: int,
) -> NDArray[np.int64]:
    """The label of each event, -1 for none."""
    label_of = np.full(n_events, -1, dtype=np.int64)
    if len(event) == 0:
        return label_of
    size = n_events + len(counts)
    graph = coo_array((np.ones(len(event)), (event, n_events + label)), shape=(size, size))
    part = connected_components(graph, directed=False)[1][event]
    order = np.argsort(part, kind="stable")
    for pairs in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        rows, row = np.unique(event[pairs], return_inverse=True)
        columns, column = np.unique(label[pairs], return_inverse=True)
        gain = np.zeros((len(rows), len(columns)))
        # A pair gains more than all distances together, and a label that counts gains as much again: among labels
        # that can be paired at once (a matroid) no number is given up for that.
        nearness = 1.0 - distance[pairs] / (distance[pairs].max() + 1.0)
        gain[row, column] = (1.0 + counts[label[pairs]]) * (min(gain.shape) + 1) + nearness
        for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[i, j] > 0.0:
                label_of[rows[i]] = columns[j]
    return label_of


def _beside(
    table: pl.DataFrame,
    name: str,
    other: NDArray[np.int64],
    fits: NDArray[np.bool_],
    counts: NDArray[np.bool_],
) -> pl.DataFrame:
    partner = pl.Series(name, other, dtype=pl.Int64)
    return table.with_columns(
        partner.set(partner < 0, None),
        (partner >= 0).alias("hit"),
        pl.Series("fits", fits, dtype=pl.Boolean),
        pl.Series("counts", counts, dtype=pl.Boolean),
    )


def _rates(prefix: str, events: pl.DataFrame, labels: pl.DataFrame, seed: int, n: int) -> dict[str, Any]:
    hit, star = pl.concat([events["hit"], labels["hit"]]), pl.concat([events["star_id"], labels["star_id"]])
    return {
        **_rate(f"{prefix}precision", events["hit"], events["star_id"], seed, n),
        **_rate(f"{prefix}recall", labels["hit"], labels["star_id"], seed, n),
        **_rate(f"{prefix}f1", hit, star, seed, n),
    }


def _rate(name: str, hit: pl.Series, star: pl.Series, seed: int, n: int) -> dict[str, Any]:
    if len(hit) == 0:
        return {name: None, f"{name}_interval": None}
    rate, low, high = cluster_bootstrap(hit.to_numpy().astype(float), star.to_numpy(), seed, n)
    return {name: rate, f"{name}_interval": None if np.isnan(low) else (low, high)}


def _pair(truth: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.bool_], Array]:
    true, score = np.asarray(truth).astype(bool), np.asarray(p, dtype=np.float64)
    if true.ndim != 1 or true.shape != score.shape:
        raise DataError(f"scores need one p for each truth, got {true.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise DataError(f"scores need finite p, got {score[~np.isfinite(score)][0]}")
    return true, score


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
