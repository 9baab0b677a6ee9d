"""The scores of a search among stars whose flares are known: of events, windows and cadences.

Simulated stars have flares that nobody could see. Labels below `FAINT_SNR`, and those whose peak no cadence observed,
are not counted as missed, nor are events that are paired with one counted as found; every headline (`counted_`) is so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .frequency import poisson_interval
from .known import KnownStar
from .matching import (
    Matched,
    MatchSettings,
    average_precision_of_events,
    cadence_scores,
    event_scores,
    match_events,
    rates_by,
    reliability,
    window_scores,
)
from .measured import Searched
from .windows import WindowSettings, training_windows

FAINT_SNR = 3.0
MATCH = MatchSettings(faint_snr=FAINT_SNR)
SEED = 88
#: Edges of the bins in which flares, and their stars, are counted apart.
OF_LABELS = {
    "peak_snr": (FAINT_SNR, 5.0, 7.0, 10.0, 15.0, 30.0),
    "amplitude": (0.003, 0.01, 0.03, 0.1, 0.3),
    "fwhm_minutes": (2.0, 4.0, 8.0, 16.0, 32.0),
}
OF_STARS = {"tmag": (9.0, 10.0, 11.0, 12.0, 13.0, 14.0), "rotation_days": (0.5, 1.0, 3.0, 10.0)}
#: Events that are less likely, which are most of the candidates, say nothing about honesty.
LEAST_P = 0.1
#: A network of points answers for cadences; for a window it is asked for its highest answer so near to the middle.
NEAR_CENTRE = 2


def match_known(events: pl.DataFrame, labels: pl.DataFrame) -> Matched:
    """Events beside the LABELS of simulated stars; a label whose peak was not observed is as faint as one can be."""
    return match_events(events, labels.with_columns(pl.col("peak_snr").fill_null(0.0)), MATCH)


def counted(matched: Matched) -> Matched:
    """What of them counts."""
    return Matched(matched.events.filter("counts"), matched.labels.filter("counts"))


def event_report(matched: Matched, stars: pl.DataFrame, days: pl.DataFrame) -> dict[str, Any]:
    """The scores of events.

    Parameters
    ----------
    matched : by `match_known`.
    stars : truth of the stars, `star_id`, `kind` and the columns `OF_STARS`.
    days : `star_id` and the `days` searched, of all stars, also of those in which nothing was found.

    Returns
    -------
    `event_scores`; `by`: recall of labels and precision of events that count, by quantity and bin; `false`: events that
    fit no label, of all stars and by kind: `n`, `days`, `per_day` and its interval `low`, `high`.
    """
    known = stars.select("star_id", "kind", *OF_STARS)
    scored = counted(matched)
    events, labels = (table.join(known, on="star_id", how="left") for table in (scored.events, scored.labels))
    by = {
        "recall": {name: _bins(labels, name, edges) for name, edges in (OF_LABELS | OF_STARS).items()},
        "precision": {name: _bins(events, name, edges) for name, edges in OF_STARS.items()},
    }
    return event_scores(matched, SEED) | {"by": by, "false": false_events(matched.events, known, days)}


def false_events(events: pl.DataFrame, stars: pl.DataFrame, days: pl.DataFrame) -> dict[str, dict[str, float]]:
    """How often something is found where no flare fits, in `all` stars and in each kind, with Garwood's intervals.

    Parameters
    ----------
    events : with `fits`.
    stars : `star_id` and `kind`.
    days : `star_id` and `days`.
    """
    wrong = events.filter(~pl.col("fits")).group_by("star_id").len("n")
    each = days.join(stars.select("star_id", "kind"), on="star_id", how="left").join(wrong, on="star_id", how="left")
    kinds = {str(kind): part for (kind,), part in each.sort("kind").group_by(["kind"], maintain_order=True)}
    groups = {"all": each} | kinds
    return {name: _per_day(int(part["n"].sum()), float(part["days"].sum())) for name, part in groups.items()}


def search_report(
    searched: Searched, known: Sequence[KnownStar], stars: pl.DataFrame, windows: WindowSettings, near: int
) -> tuple[dict[str, Any], Matched, pl.DataFrame]:
    """All scores of a model.

    Parameters
    ----------
    known : the stars that were searched, in their order.
    windows, near : as `score_test_windows`.

    Returns
    -------
    `events`, `windows` and `cadences`; the events that are served, matched; and the windows, as `score_test_windows`.
    """
    labels = pl.concat([star.labels for star in known])
    matched, candidates = (match_known(table, labels) for table in (searched.events, searched.candidates))
    index = score_test_windows(searched, known, windows, near)
    is_flare, p = index["label"].to_numpy() == 1, index["p"].to_numpy()
    possible = possible_events(searched)
    report = {
        "events": event_report(matched, stars, searched.days)
        | {"average_precision": average_precision_of_events(counted(candidates))}
        | honesty(possible["real"].to_numpy(), possible["p"].to_numpy()),
        "windows": window_scores(is_flare, p) | honesty(is_flare, p),
        "cadences": cadences_report(searched),
    }
    return report, matched, index


def score_test_windows(
    searched: Searched, known: Sequence[KnownStar], settings: WindowSettings, near: int
) -> pl.DataFrame:
    """Windows of these stars, drawn as those for training are, and the model's `p` for each: the highest calibrated
    probability of the cadences at most `near` from its middle.

    Returns
    -------
    INDEX with `p`.
    """
    labels = pl.concat([star.labels for star in known])
    _, index = training_windows({star.star_id: star.orbits for star in known}, labels, settings)
    place = {star.star_id: number for number, star in enumerate(known)}
    p = np.zeros(index.height)
    for row, (star_id, orbit, centre) in enumerate(index.select("star_id", "orbit", "centre").iter_rows()):
        p[row] = np.nanmax(searched.scores[place[star_id]][orbit][centre - near : centre + near + 1])
    return index.with_columns(p=pl.Series(p))


def cadences_report(searched: Searched) -> dict[str, Any]:
    """The scores of the cadences that count, one way or the other (`cadence_truth`)."""
    truth = np.concatenate([one for star in searched.truth for one in star], axis=1)
    p = np.concatenate([one for star in searched.scores for one in star])
    counts = truth[1] > 0
    return cadence_scores(truth[0][counts] > 0.5, p[counts])


def possible_events(searched: Searched) -> pl.DataFrame:
    """The candidates whose probability is put to the test, `LEAST_P` and above, served or not."""
    return searched.candidates.filter(pl.col("p") >= LEAST_P)


def honesty(truth: NDArray[np.bool_], p: NDArray) -> dict[str, float]:
    """`brier` and `ece` of probabilities; nothing of none."""
    return reliability(truth, p)[1] if len(p) else {}


def _bins(rows: pl.DataFrame, column: str, edges: Sequence[float]) -> dict[str, dict[str, Any]]:
    table = rates_by(rows, column, edges, seed=SEED)
    return {row.pop("group"): row for row in table.iter_rows(named=True)}


def _per_day(n: int, days: float) -> dict[str, float]:
    low, high = poisson_interval(n)
    return {"n": n, "days": days, "per_day": n / days, "low": float(low) / days, "high": float(high) / days}
