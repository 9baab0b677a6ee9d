"""What a model and each of its members find in stars whose flares are known."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.content import ModelContent, read_content
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError

from .calibrate import SEEDS, is_true
from .examples import TruthSettings, cadence_truth
from .finder import FlareFinder
from .inject import searched_days
from .known import KnownStar
from .orbits import Array

#: Stars of one piece of work.
CHUNK = 4


class Searched(NamedTuple):
    """Stars as one model sees them; the lists have an item for each star, in the order of the stars.

    Attributes
    ----------
    scores : of each star, for each orbit float64 (m,): calibrated probability of each cadence, NaN where unknown.
    truth : of each star, for each orbit float32 (2, m): `cadence_truth`.
    events : EVENTS that the model serves, with `score` and `real`, whether a visible flare is in it.
    candidates : the same at the lowest threshold that calibration considers, to see what other thresholds would give.
    days : `star_id`, and `days` of good cadences.
    seconds_per_day : CPU time of a search, median over stars [s], per day of light curve.
    """

    scores: list[list[Array]]
    truth: list[list[NDArray[np.float32]]]
    events: pl.DataFrame
    candidates: pl.DataFrame
    days: pl.DataFrame
    seconds_per_day: float


class _Piece(NamedTuple):
    content: Path
    members: tuple[Path, ...]
    stars: tuple[KnownStar, ...]
    truth: TruthSettings
    accelerator: Accelerator


class _Star(NamedTuple):
    """One star and model, as `Searched` of one."""

    scores: list[Array]
    events: pl.DataFrame
    candidates: pl.DataFrame
    seconds: float


def search_known(
    content: Path,
    members: Sequence[Path],
    stars: Sequence[KnownStar],
    truth: TruthSettings,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> list[Searched]:
    """Search stars with a calibrated model, and with each of its members under the model's calibration.

    Parameters
    ----------
    content, members : folders of contents.

    Raises
    ------
    DataError
        When no star has a light curve.
    """
    seen = [star for star in stars if star.orbits]
    if not seen:
        raise DataError(f"{content}: no star is left to search; there are too few stars for this split")
    chunks = [tuple(seen[first : first + CHUNK]) for first in range(0, len(seen), CHUNK)]
    items = [_Piece(content, tuple(members), chunk, truth, accelerator) for chunk in chunks]
    done = run_all(_search_chunk, items, engine, "test stars", lambda item: f"{content}, star {item.stars[0].star_id}")
    found = {item.stars[0].star_id: result for item, result in done}
    truths = [one for chunk in chunks for one in found[chunk[0].star_id][0]]
    days = [searched_days(star.orbits) for star in seen]
    table = pl.DataFrame({"star_id": [star.star_id for star in seen], "days": days})
    searched = []
    for model in range(1 + len(members)):
        each = [one for chunk in chunks for one in found[chunk[0].star_id][1][model]]
        events, candidates = (pl.concat([getattr(one, name) for one in each]) for name in ("events", "candidates"))
        cost = float(np.median([one.seconds / length for one, length in zip(each, days, strict=True)]))
        searched.append(Searched([one.scores for one in each], truths, events, candidates, table, cost))
    return searched


def _search_chunk(piece: _Piece) -> tuple[list[list[NDArray[np.float32]]], list[list[_Star]]]:
    """The truth of each star, and by model what it finds in each."""
    torch.set_num_threads(1)
    served = read_content(piece.content)
    finders = [FlareFinder.of_content(content, piece.accelerator) for content in (served, *_members(served, piece))]
    truths = [[cadence_truth(orbit, star.labels, piece.truth) for orbit in star.orbits] for star in piece.stars]
    both = list(zip(piece.stars, truths, strict=True))
    return truths, [[_search(finder, star, truth) for star, truth in both] for finder in finders]


def _members(served: ModelContent, piece: _Piece) -> list[ModelContent]:
    """The members, calibrated as the model is, so that their scores tell how far chance goes and nothing else."""
    members = [read_content(path) for path in piece.members]
    return [replace(one, spec=one.spec.model_copy(update={"calibration": served.spec.calibration})) for one in members]


def _search(finder: FlareFinder, star: KnownStar, truth: list[NDArray[np.float32]]) -> _Star:
    began = time.process_time()
    scores = finder.scores(star.orbits)
    events = finder.find(star.star_id, star.orbits, scores)
    seconds = time.process_time() - began
    candidates = finder.find(star.star_id, star.orbits, scores, SEEDS[0])
    events, candidates = (
        table.with_columns(real=pl.Series(is_true(table, star.orbits, truth))) for table in (events, candidates)
    )
    return _Star(scores, events, candidates, seconds)
