"""What a network finds in the test stars in exposures of each length that it was trained with, beside a matched filter.

The light curves are those of the test, joined to longer exposures; their flares are the same, with the signal-to-noise
ratios that they have there. Injected flares are the same at every cadence too, and are counted in calm stars alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.content import content_hash
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .baselines import FilterSettings, filter_events
from .draws import GridDraw
from .finder import FlareFinder
from .inject import searched_days
from .known import KnownStar, at_cadence
from .matching import event_scores, match_events
from .measured import CHUNK
from .recover import CALM
from .recovery import (
    TOLERANCE_MINUTES,
    WITH_AND_WITHOUT,
    Method,
    Recovery,
    join_recoveries,
    judge,
    recovery_table,
    run_recovery,
)
from .simple import read_test
from .verdict import MATCH, SEED, false_events

NETWORK, FILTER = "network", "matched filter"
#: Of the scores of events, what is told.
TOLD = ("n_events", "counted_labels", "counted_f1", "counted_precision", "counted_recall")


class _Piece(NamedTuple):
    content: Path
    stars: tuple[KnownStar, ...]
    draw: GridDraw | None
    accelerator: Accelerator


class _Found(NamedTuple):
    """What was found in some stars at one cadence: events by method, LABELS, days, and what was recovered."""

    events: dict[str, pl.DataFrame]
    labels: pl.DataFrame
    days: pl.DataFrame
    recovery: Recovery


def cadence_report(
    content: Path,
    known: Sequence[KnownStar],
    stars: pl.DataFrame,
    draw: GridDraw | None,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> dict[str, dict[str, Any]]:
    """The scores of a model at each of its cadences.

    Parameters
    ----------
    content : folder of the calibrated model.
    known : stars with a light curve.
    stars : truth of the stars, `star_id` and `kind`.
    draw : what is injected, too; None injects nothing.

    Returns
    -------
    by cadence [min] and method: `events`, the scores `TOLD` with their intervals; `false`, events a day that fit no
    label; `recovered`, the share of injected flares by their signal-to-noise ratio at that cadence.

    Raises
    ------
    DataError
        When there is no star.
    """
    if not known:
        raise DataError("no star is left to search; there are too few stars for a test split")
    chunks = [tuple(known[first : first + CHUNK]) for first in range(0, len(known), CHUNK)]
    items = [_Piece(content, chunk, draw, accelerator) for chunk in chunks]
    done = run_all(_search_chunk, items, engine, "cadences", lambda item: f"star {item.stars[0].star_id}")
    found = {item.stars[0].star_id: parts for item, parts in done}
    ordered = [found[chunk[0].star_id] for chunk in chunks]
    calm = stars.filter(pl.col("kind").is_in(CALM))["star_id"].to_list()
    return {
        f"{minutes:g}": _report([part[minutes] for part in ordered], minutes, stars, calm) for minutes in ordered[0]
    }


def _report(
    parts: Sequence[_Found], minutes: float, stars: pl.DataFrame, calm: Sequence[str]
) -> dict[str, dict[str, Any]]:
    tolerance = max(TOLERANCE_MINUTES, minutes)
    settings = MATCH.model_copy(update={"tolerance_minutes": tolerance})
    labels, days = (pl.concat([getattr(part, name) for part in parts]) for name in ("labels", "days"))
    judged = judge(join_recoveries(part.recovery for part in parts), tolerance)
    judged = judged.filter(pl.col("star_id").is_in(list(calm)))
    report = {}
    for method in parts[0].events:
        events = pl.concat([part.events[method] for part in parts])
        matched = match_events(events, labels.with_columns(pl.col("peak_snr").fill_null(0.0)), settings)
        scores = event_scores(matched, SEED)
        told = {key: value for key, value in scores.items() if key.removesuffix("_interval") in TOLD}
        shares = recovery_table(judged.filter(method=method))
        report[method] = {
            "events": told,
            "false": false_events(matched.events, stars, days)["all"],
            "recovered": {
                f"{row['peak_snr_low']:g}": {key: row[key] for key in ("n", "fraction", "low", "high")}
                for row in shares.iter_rows(named=True)
            },
        }
    return report


def _search_chunk(piece: _Piece) -> dict[float, _Found]:
    """By cadence [min]."""
    torch.set_num_threads(1)
    finder = FlareFinder.of_folder(piece.content, piece.accelerator)
    return {minutes: _search(finder, piece, minutes) for minutes in finder.rules}


def _search(finder: FlareFinder, piece: _Piece, minutes: float) -> _Found:
    seen = [at_cadence(star, minutes) for star in piece.stars]
    events = {
        NETWORK: pl.concat([finder.find(star.star_id, star.orbits) for star in seen]),
        FILTER: pl.concat([filter_events(star.orbits, FilterSettings(), star.star_id) for star in seen]),
    }
    days = pl.DataFrame(
        {"star_id": [star.star_id for star in seen], "days": [searched_days(star.orbits) for star in seen]}
    )
    recovery = join_recoveries(
        run_recovery(
            star.star_id,
            star.orbits,
            star.labels,
            _methods(finder, star.star_id),
            piece.draw,
            minutes,
            WITH_AND_WITHOUT,
        )
        for star in piece.stars
        if piece.draw is not None
    )
    return _Found(events, pl.concat([star.labels for star in seen]), days, recovery)


def _methods(finder: FlareFinder, star_id: str) -> list[Method]:
    return [
        Method(NETWORK, lambda orbits: finder.find(star_id, orbits)),
        Method(FILTER, lambda orbits: filter_events(orbits, FilterSettings(), star_id)),
    ]


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    params = read_params(root)
    content = root / "build/flares/calibrated" / name
    draw = read_section(root, "flares.recovery", GridDraw)
    stars = pl.read_parquet(root / "build/flares/sectors/truth.parquet", glob=False)
    known = read_test(root)
    report = cadence_report(content, known, stars, draw, accelerator=lookup(params, "accelerator"))
    write_json(
        root / "metrics/flares/cadences" / f"{name}.json",
        {"content": content_hash(content), "n_stars": len(known), "cadences": report},
    )
    for minutes, methods in report.items():
        shown = (
            f"{method} F1 {of_method['events']['counted_f1'] or 0.0:.3f},"
            f" {of_method['false']['per_day']:.3f} false a day"
            for method, of_method in methods.items()
        )
        print(f"{name}, {minutes} minutes: {'; '.join(shown)}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
