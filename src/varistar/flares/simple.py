"""What simple methods find in the test stars, so that a network's score can be read."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.splits import SplitSettings
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import write_json
from varistar.foundation.params import find_root, read_section

from .baselines import CHANG, RUNNING_MEDIAN, FilterSettings, filter_events, run_events
from .inject import searched_days
from .known import KnownStar, read_known
from .matching import average_precision_of_events
from .measured import CHUNK
from .orbits import Orbit, OrbitSettings
from .verdict import counted, event_report, match_known

#: By printed name, what makes EVENTS of a star's id and orbits.
SIMPLE: dict[str, Callable[[str, Sequence[Orbit]], pl.DataFrame]] = {
    "three sigma, Savitzky-Golay": lambda star_id, orbits: run_events(orbits, CHANG, star_id),
    "three sigma, running median": lambda star_id, orbits: run_events(orbits, RUNNING_MEDIAN, star_id),
    "matched filter": lambda star_id, orbits: filter_events(orbits, FilterSettings(), star_id),
}


def simple_scores(
    known: Sequence[KnownStar], stars: pl.DataFrame, engine: Engine | None = None
) -> dict[str, dict[str, Any]]:
    """The scores of events of each simple method, `event_report` with `average_precision`, by printed name.

    The latter goes by the events' significance, down to each method's own threshold.

    Parameters
    ----------
    stars : truth of the stars.
    """
    chunks = [tuple(known[first : first + CHUNK]) for first in range(0, len(known), CHUNK)]
    done = run_all(_search_chunk, chunks, engine, "simple methods", lambda chunk: f"star {chunk[0].star_id}")
    found = {chunk[0].star_id: events for chunk, events in done}
    labels = pl.concat([star.labels for star in known])
    days = pl.DataFrame(
        {"star_id": [star.star_id for star in known], "days": [searched_days(star.orbits) for star in known]}
    )
    scores = {}
    for name in SIMPLE:
        matched = match_known(pl.concat([found[chunk[0].star_id][name] for chunk in chunks]), labels)
        precision = average_precision_of_events(counted(matched), "significance")
        scores[name] = event_report(matched, stars, days) | {"average_precision": precision}
    return scores


def _search_chunk(stars: Sequence[KnownStar]) -> dict[str, pl.DataFrame]:
    return {name: pl.concat([find(star.star_id, star.orbits) for star in stars]) for name, find in SIMPLE.items()}


def read_test(root: Path) -> list[KnownStar]:
    """The test stars of the simulated sectors that have a light curve."""
    orbits, splits = (
        read_section(root, "flares.orbits", OrbitSettings),
        read_section(root, "flares.split", SplitSettings),
    )
    return [star for star in read_known(root / "build/flares/sectors", orbits, splits, "test") if star.orbits]


def main() -> None:
    """The stage."""
    root = find_root()
    stars = pl.read_parquet(root / "build/flares/sectors/truth.parquet", glob=False)
    known = read_test(root)
    scores = simple_scores(known, stars)
    write_json(root / "metrics/flares/baselines.json", {"n_stars": len(known), "methods": scores})
    for name, found in scores.items():
        print(f"{name}: F1 {found['counted_f1']:.3f} on {len(known)} test stars")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
