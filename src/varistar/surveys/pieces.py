"""Light curves as pieces of work: any inputs, cut so that workers share them evenly, and read as a survey asks.

How the inputs are cut does not depend on the workers, and so neither do the results.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from varistar.foundation.errors import DataError
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.inputs import file_stem
from varistar.lightcurves.readers import Source
from varistar.lightcurves.shards import is_shard, latest_rows, shard_rows
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves

from .definition import Survey

FILES_PER_PIECE = 64
STARS_PER_PIECE = 512

#: A star or file without a result, and why.
REFUSED = {"star_id": pl.String, "source": pl.String, "reason": pl.String}


class Passed(NamedTuple):
    """Light curves that passed a survey's cuts, and the file that they stand in, as it is shown to the user."""

    light_curves: LightCurves
    source: str


def cut_into_pieces(sources: Sequence[Source]) -> tuple[list[list[Source]], list[int]]:
    """Pieces of work and the number of stars in each: the rows of shards by the hundred, other files by the dozen, of
    which each counts as one star."""
    parts = [part for source in sources if source.path.suffix == ".parquet" for part in _cut(source)]
    others = [source for source in sources if source.path.suffix != ".parquet"]
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
        shown = pl.lit(_shown(source.path)).alias("source")
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
        passed.append(Passed(kept, _shown(source.path)))
    return passed, pl.concat(refused)


def _cut(source: Source) -> Iterator[tuple[Source, int]]:
    """A Parquet file in parts of at most `STARS_PER_PIECE` stars, each within a row group, and their sizes."""
    try:
        found = pq.read_metadata(source.path)
        rows = source.rows
        if rows is None and is_shard(found.metadata or {}) and found.num_rows > STARS_PER_PIECE:
            table = shard_rows(source.path)
            rows = latest_rows(table["star_id"].combine_chunks(), table["version"].to_numpy())
    except (pa.ArrowException, OSError, DataError):
        yield source, 1  # damaged, as who reads it will say
        return
    if rows is None:
        yield source, found.num_rows if is_shard(found.metadata or {}) else 1
        return
    ends = np.cumsum([found.row_group(group).num_rows for group in range(found.num_row_groups)])
    rows = np.sort(rows)
    for group in np.split(rows, np.searchsorted(rows, ends[:-1])):
        for part in np.array_split(group, -(-len(group) // STARS_PER_PIECE)) if len(group) else []:
            yield Source(source.path, part), len(part)


def _require_time_system(source: Source, light_curves: LightCurves, survey: Survey) -> None:
    """Times with another zero than the survey's would fall outside a network's images, or in the wrong place."""
    own, wanted = light_curves.time_system, survey.time_system
    if TIME_ORIGIN[own] != TIME_ORIGIN[wanted]:
        raise DataError(f"{source.path}: times in {own}, where the model expects {wanted}")


def _shown(file: Path) -> str:
    """A path as results give it: relative where the file lies below the working folder."""
    return str(file.resolve().relative_to(Path.cwd()) if file.resolve().is_relative_to(Path.cwd()) else file)
