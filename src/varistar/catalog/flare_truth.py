"""A flare catalog beside the truth of simulated stars: which are real, which were missed, which periods are right.

Pairs are those of `varistar.flares.matching`. A flare that stays below the noise of a cadence is not looked for: stars
with a thousand of them would have one beside every false event. So

    completeness = flares found / flares whose highest cadence has the signal-to-noise ratio of the bin
    purity       = events that belong to a flare above `VISIBLE` / events, by the ratio that was measured
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from varistar.flares.matching import MatchSettings, event_scores, match_events, rates_by, reliability
from varistar.foundation.intervals import wilson_interval
from varistar.periods.scores import within

#: Signal-to-noise ratio of its highest cadence that a flare needs to be looked for, and to count as one that anybody
#: would see.
VISIBLE, PLAIN = 1.5, 5.0
SNR_EDGES = (1.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0)
PERIOD_TOLERANCE = 0.1
SEED = 88


class Judged(NamedTuple):
    """What a catalog is worth.

    Attributes
    ----------
    bins : `fraction`, "completeness" or "purity", by `peak_snr` (true or measured), with `n`, `stars`, `rate`, `low`,
        `high`.
    calibration : what the probabilities are worth, as `reliability` gives it.
    summary : plain values for JSON.
    """

    bins: pl.DataFrame
    calibration: pl.DataFrame
    summary: dict[str, Any]


def judge_flares(flares: pl.DataFrame, labels: pl.DataFrame, stars: pl.DataFrame) -> Judged:
    """Hold the flares of a catalog against the true ones of the stars that it searched.

    Parameters
    ----------
    flares : `FLARES`.
    labels : LABELS of all stars.
    stars : with `star_id` and `searched_days`.
    """
    seen = labels.filter((pl.col("peak_snr") >= VISIBLE) & pl.col("star_id").is_in(stars["star_id"].implode()))
    matched = match_events(flares, seen, MatchSettings(faint_snr=PLAIN))
    bins = [
        rates_by(rows, "peak_snr", SNR_EDGES, seed=SEED).select(pl.lit(name).alias("fraction"), pl.all())
        for name, rows in (("completeness", matched.labels), ("purity", matched.events))
        if len(rows)
    ]
    summary = event_scores(matched, SEED)
    summary["expected_purity"] = flares["p"].mean()
    summary["false_per_day"] = summary["false_positives"] / stars["searched_days"].sum()
    if flares.is_empty():
        return Judged(pl.concat(bins) if bins else pl.DataFrame(), pl.DataFrame(), summary)
    table, errors = reliability(matched.events["hit"].to_numpy(), flares["p"].to_numpy())
    return Judged(pl.concat(bins), table, summary | errors)


def judge_periods(stars: pl.DataFrame, truth: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The stars with `true_days`, the period that their spots show, `right` (within 10 %) and `doubled_or_halved`.

    Parameters
    ----------
    stars : `STARS`.
    truth : `star_id`, `kind` and `shown_period_days`, null for a star that shows no rotation.
    """
    known = truth.select("star_id", "kind", true_days="shown_period_days")
    table = stars.join(known, on="star_id", how="left", maintain_order="left")
    measured, true = (
        table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("rotation_days", "true_days")
    )
    table = table.with_columns(
        right=pl.Series(within(measured, true, PERIOD_TOLERANCE)),
        doubled_or_halved=pl.Series(
            within(measured, 2.0 * true, PERIOD_TOLERANCE) | within(measured, 0.5 * true, PERIOD_TOLERANCE)
        ),
    )
    accepted = table.filter("rotation_accepted")
    rotating = accepted.filter(pl.col("true_days").is_not_null())
    n_right = int(rotating["right"].sum())
    low, high = wilson_interval(n_right, len(rotating))
    return table, {
        "stars": len(table),
        "with_rotation": int(table["true_days"].is_not_null().sum()),
        "accepted": len(accepted),
        "accepted_with_rotation": len(rotating),
        "right": n_right,
        "right_fraction": n_right / len(rotating) if len(rotating) else None,
        "right_interval": [low, high],
        "doubled_or_halved": int(rotating["doubled_or_halved"].sum()),
        "accepted_by_kind": dict(sorted(accepted.group_by("kind").len().iter_rows())),
    }
