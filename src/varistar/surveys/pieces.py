"""Light curves as pieces of work: any inputs, cut so that workers share them evenly, and read as a survey asks.

How the inputs are cut does not depend on the workers, and so neither do the results.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.inputs import file_stem
from varistar.lightcurves.readers import Source
from varistar.lightcurves.shards import is_shard, latest_rows, shard_rows
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves, concatenate

from .definition import Survey

FILES_PER_PIECE = 64
STARS_PER_PIECE = 512

#: A star or file without a result, and why.
REFUSED = {"star_id": pl.String, "source": pl.String, "reason": pl.String}


class Passed(NamedTuple):
    """Light curves that passed a survey's cuts, and the file that they stand in, as it is shown to the user."""

    light_curves: LightCurves
    source: str


class Joined(NamedTuple):
    """Light curves of several files, and the file of each."""

    light_curves: LightCurves
    sources: list[str]


def cut_into_pieces(sources: Sequence[Source]) -> tuple[list[list[Source]], list[int]]:
    """Pieces of work and the number of stars in each: the rows of shards by the hundred, other files by the dozen, of
    which each counts as one star.

    Raises
    ------
    DataError
        When there is nothing to cut.
    """
    if not sources:
        raise DataError("there are no light curves but those of the output itself")
    parts: list[tuple[Source, int]] = []
    others: list[Source] = []
    for source in sources:
        if rows := _shard_rows(source):
            parts += [(Source(source.path, some), len(some)) for some in rows]
        else:
            others.append(source)
    dozens = [others[start : start + FILES_PER_PIECE] for start in range(0, len(others), FILES_PER_PIECE)]
    return [[part] for part, _ in parts] + dozens, [size for _, size in parts] + [len(dozen) for dozen in dozens]


def read_passing(
    sources: Sequence[Source], survey: Survey, at_most: int | None = None
) -> tuple[list[Passed], pl.DataFrame]:
    """Read a piece and apply the survey's cuts.

    Parameters
    ----------
    at_most : sources, and stars of each, that are looked at.

    Returns
    -------
    the light curves that passed, in the order of their sources; and the stars and files that did not, with the columns
    of `REFUSED` and `unread`, which says that a file could not be read at all.
    """
    passed: list[Passed] = []
    refused = [pl.DataFrame(schema=REFUSED | {"unread": pl.Boolean})]
    for source in sources[:at_most]:
        shown = pl.lit(shown_path(source.path)).alias("source")
        try:
            light_curves = source.read()
            _require_time_system(source, light_curves, survey)
        except DataError as error:
            unread = {"star_id": file_stem(source.path), "reason": str(error), "unread": True}
            refused.append(pl.DataFrame([unread]).with_columns(shown).select(refused[0].columns))
            continue
        tried = light_curves if at_most is None else light_curves.slice(0, min(at_most, len(light_curves)))
        kept, losses = apply_cuts(tried, survey.cuts)
        lost = losses.filter(~pl.col("kept")).with_columns(shown, unread=pl.lit(False))
        refused.append(lost.select(refused[0].columns))
        passed.append(Passed(kept, shown_path(source.path)))
    return passed, pl.concat(refused)


def join_alike(passed: Sequence[Passed]) -> Iterator[Joined]:
    """Neighbours of one time system and flux unit joined, with the file of each star; for a network's batch costs the
    same however few stars stand in it."""
    for _, alike in groupby(passed, key=lambda one: (one.light_curves.time_system, one.light_curves.flux_unit)):
        parts = list(alike)
        sources = [one.source for one in parts for _ in one.light_curves.star_id]
        yield Joined(concatenate([one.light_curves for one in parts]), sources)


def _shard_rows(source: Source) -> list[NDArray[np.int64]]:
    """The rows of a shard by at most `STARS_PER_PIECE`, each lot within a row group; none of another file."""
    if source.path.suffix != ".parquet":
        return []
    try:
        found = pq.read_metadata(source.path)
        if not is_shard(found.metadata or {}):
            return []
        rows = source.rows
        if rows is None:
            table = shard_rows(source.path)
            rows = latest_rows(table["star_id"].combine_chunks(), table["version"].to_numpy())
    except (pa.ArrowException, OSError, DataError):
        return []  # damaged, as who reads it will say
    ends = np.cumsum([found.row_group(group).num_rows for group in range(found.num_row_groups)])
    groups = np.split(np.sort(rows), np.searchsorted(np.sort(rows), ends[:-1]))
    return [lot for group in groups if len(group) for lot in np.array_split(group, -(-len(group) // STARS_PER_PIECE))]


def _require_time_system(source: Source, light_curves: LightCurves, survey: Survey) -> None:
    """Times with another zero than the survey's would fall outside a network's images, or in the wrong place."""
    own, wanted = light_curves.time_system, survey.time_system
    if TIME_ORIGIN[own] != TIME_ORIGIN[wanted]:
        raise DataError(f"{source.path}: times in {own}, where the model expects {wanted}")


def shown_path(file: Path) -> str:
    """A path as results give it: relative where the file lies below the working folder."""
    return str(file.resolve().relative_to(Path.cwd()) if file.resolve().is_relative_to(Path.cwd()) else file)
