"""Run a promoted network over light curves and write a catalog.

Inputs are Parquet shards, raw files of any format that `varistar ingest` reads, or folders of either. They are worked
off in independent pieces, each written whole before it counts, so a prediction that was killed goes on where it
stopped. The pieces do not depend on the engine that does them, and so neither do the catalog's bytes.

A star has one row: of a store its latest version counts, of several files the first that measured it.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import varistar
from varistar.bulk.engine import Engine, as_engine, processes
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.experiments.content import content_hash
from varistar.foundation.errors import DataError, RegistryError
from varistar.foundation.files import atomic_path
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.inputs import file_stem
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.shards import is_shard, latest_rows, shard_rows
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves, concatenate
from varistar.periods.measure import PeriodMeter

from .columns import CATALOG, REFUSED, flag
from .files import check_output, write_parts

FILES_PER_PIECE = 64
STARS_PER_PIECE = 512
TRIAL_PIECES, TRIAL_STARS = 16, 64
BYTES_PER_ROW = 512  # of a catalog and the pieces before it together; measured 60 (Parquet) to 400 (FITS)
PIECE_OF_CATALOG = {name: column.dtype for name, column in CATALOG.items()} | {"source": pl.String}


class Prediction(NamedTuple):
    """What a prediction wrote."""

    catalog: Path
    refused: Path
    n_stars: int
    n_refused: int


class Piece(NamedTuple):
    """Sources that one worker measures, and the model: its folder and content hash."""

    sources: Sequence[Source]
    model: Path
    digest: str


def predict(
    inputs: Sequence[Path],
    model: Path,
    output: Path,
    engine: Engine | int | None = None,
    announce: Callable[[str], None] | None = None,
) -> Prediction | None:
    """Measure the period of every star in `inputs` with the model in folder `model`.

    Parameters
    ----------
    output : the catalog, one row per star with the columns of `CATALOG`; its ending chooses the format. Beside it
        `<name>.refused<ending>` lists every star and file that has no row, with the reason.
    engine : where the stars are measured, or a number of workers; see `as_engine`.
    announce : is told before the work what it will take; a trial of a few stars is timed for that.

    Returns
    -------
    what was written; None in a process of a Slurm array that is not the last.

    Raises
    ------
    DataError
        When an input does not exist, none holds light curves, the output cannot be written, the disk is too small, or a
        piece failed twice; what was done is kept in `<name>.parts`, and the same command goes on from it.
    RegistryError
        When the model is damaged.
    """
    refused = output.with_name(f"{output.stem}.refused{output.suffix}")
    parts = output.with_name(f"{output.stem}.parts")
    check_output(output)
    sources = [source for source in find_sources(inputs) if parts.resolve() not in source.path.resolve().parents]
    _keep_inputs({output.resolve(), refused.resolve()}, sources)
    PeriodMeter.of_folder(model)  # a damaged model is found before any work is done
    digest = content_hash(model)
    pieces, sizes = _pieces(sources, model, digest)
    _require_disk(output, sum(sizes))
    if announce:
        announce(_estimate(pieces, sum(sizes), as_engine(engine)))
    key = {
        "model": digest,
        "inputs": fingerprint(source.path for source in sources),
        "folder": str(Path.cwd()),  # paths in the catalog are relative to it
        "cut": [FILES_PER_PIECE, STARS_PER_PIECE],
        "varistar": varistar.__version__,
    }
    join = partial(_join, output=output, refused=refused)
    done = run_job(_predict_piece, pieces, parts, key, join, engine, "predict", _first_file, sizes)
    if isinstance(done, str):
        raise DataError(done)
    return done


def _keep_inputs(outputs: set[Path], sources: Sequence[Source]) -> None:
    """Refuse to write over a file that is read."""
    for source in sources:
        if source.path.resolve() in outputs:
            raise DataError(f"{source.path}: an input, which the catalog would replace; name another output")


def _pieces(sources: Sequence[Source], model: Path, digest: str) -> tuple[list[Piece], list[int]]:
    """Independent pieces of work and the number of stars in each: the rows of Parquet files by the hundred, other files
    by the dozen, of which each counts as one star."""
    parts = [part for source in sources if source.path.suffix == ".parquet" for part in _cut(source)]
    others = [source for source in sources if source.path.suffix != ".parquet"]
    dozens = [others[start : start + FILES_PER_PIECE] for start in range(0, len(others), FILES_PER_PIECE)]
    pieces = [Piece([part], model, digest) for part, _ in parts] + [Piece(dozen, model, digest) for dozen in dozens]
    return pieces, [size for _, size in parts] + [len(dozen) for dozen in dozens]


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


def _require_disk(output: Path, n_rows: int) -> None:
    """Refuse work whose results the disk cannot hold."""
    folder = next(parent for parent in output.resolve().parents if parent.exists())
    needed, free = n_rows * BYTES_PER_ROW, shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{output}: {n_rows} stars need about {_megabytes(needed)} there, and {_megabytes(free)} are free"
        )


def _estimate(pieces: Sequence[Piece], n_stars: int, engine: Engine) -> str:
    """What a prediction will take, in a sentence."""
    sentence = f"{n_stars} stars in {len(pieces)} pieces; at most {_megabytes(n_stars * BYTES_PER_ROW)} of disk"
    seconds = _seconds_per_star(pieces)
    if seconds is None:
        return sentence
    workers = processes(engine)
    if workers is None:
        return f"{sentence}; about {_duration(seconds * n_stars)} of one processor"
    workers = min(workers, len(pieces))
    return f"{sentence}; about {_duration(seconds * n_stars / workers)} on {workers} worker{'s'[: workers - 1]}"


def _seconds_per_star(pieces: Sequence[Piece]) -> float | None:
    """The time that one star takes one worker, from a trial of the first of the pieces that can be read."""
    for piece in pieces[:TRIAL_PIECES]:
        if _measure_sources(piece, at_most=1)[0].height:  # and what is compiled on first use, is
            started = time.perf_counter()
            rows, refused = _measure_sources(piece, at_most=TRIAL_STARS)
            return (time.perf_counter() - started) / (rows.height + refused.height)
    return None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _first_file(piece: Piece) -> Path:
    return piece.sources[0].path


def _predict_piece(piece: Piece, target: Path) -> dict[str, Any]:
    """Measure one piece, in a worker."""
    import torch

    torch.set_num_threads(1)
    rows, refused = _measure_sources(piece)
    _write(rows, _rows(target))
    _write(refused.drop("unread"), _refused(target))
    return {
        "measured": rows.height,
        "refused": refused.height,
        "unread": int(refused["unread"].sum()),
        "first": refused["reason"][0] if refused.height else None,
    }


def _measure_sources(piece: Piece, at_most: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Catalog rows of a piece, and its refused stars and files, of which `unread` says that they could not be read.

    Parameters
    ----------
    at_most : sources, and stars of each, that are looked at.
    """
    meter = _meter(piece.model, piece.digest)
    kept, refused = [], [pl.DataFrame(schema=REFUSED | {"unread": pl.Boolean})]
    for source in piece.sources[:at_most]:
        shown = pl.lit(_shown(source.path)).alias("source")
        try:
            light_curves = source.read()
            _require_time_system(source, light_curves, meter)
        except DataError as error:
            unread = {"star_id": file_stem(source.path), "reason": str(error), "unread": True}
            refused.append(pl.DataFrame([unread]).with_columns(shown).select(refused[0].columns))
            continue
        tried = light_curves if at_most is None else light_curves.slice(0, min(at_most, len(light_curves)))
        passed, losses = apply_cuts(tried, meter.survey.cuts)
        lost = losses.filter(~pl.col("kept")).with_columns(shown, unread=pl.lit(False))
        refused.append(lost.select(refused[0].columns))
        kept.append((passed, _shown(source.path)))
    return _catalog_rows(kept, meter, piece.digest), pl.concat(refused)


@lru_cache(maxsize=1)
def _meter(model: Path, digest: str) -> PeriodMeter:
    """The model, loaded once by each worker."""
    if content_hash(model) != digest:
        raise RegistryError(f"{model}: has changed since the prediction was begun")
    return PeriodMeter.of_folder(model)


def _require_time_system(source: Source, light_curves: LightCurves, meter: PeriodMeter) -> None:
    """Times with another zero than the survey's would fall outside the network's images, or in the wrong place."""
    own, wanted = light_curves.time_system, meter.survey.time_system
    if TIME_ORIGIN[own] != TIME_ORIGIN[wanted]:
        raise DataError(f"{source.path}: times in {own}, where the model expects {wanted}")


def _catalog_rows(kept: Sequence[tuple[LightCurves, str]], meter: PeriodMeter, digest: str) -> pl.DataFrame:
    """The rows of light curves that passed the cuts, each with the name of its file; files of one kind are measured
    together, for a network's batch costs the same however few stars stand in it."""
    tables = [pl.DataFrame(schema=PIECE_OF_CATALOG)]
    for _, alike in groupby(kept, key=lambda one: (one[0].time_system, one[0].flux_unit)):
        parts, names = zip(*alike, strict=True)
        table = meter.measure(concatenate(parts))
        source = np.repeat(names, [len(part) for part in parts])
        table = table.with_columns(flag(table, meter.survey), model=pl.lit(digest), source=pl.Series(source))
        tables.append(table.select(pl.col(name).cast(dtype) for name, dtype in PIECE_OF_CATALOG.items()))
    return pl.concat(tables)


def _join(done: Iterator[Done], output: Path, refused: Path) -> Prediction | str:
    """Write the catalog and the table of the refused from the pieces; a sentence where there is nothing to write."""
    targets, summaries = zip(*done, strict=True)
    if nothing := _nothing_read(summaries):
        return nothing
    measured = [_rows(target) for target in targets]
    _require_names_that_fit(measured, output)
    repeated = _repeated_stars(measured)
    again = targets[0].with_name("repeated.parquet")
    _write(repeated.select(*REFUSED), again)
    schema = pl.Schema({name: column.dtype for name, column in CATALOG.items()})
    units = {name: column.unit for name, column in CATALOG.items()}
    n_refused = write_parts([*map(_refused, targets), again], refused, pl.Schema(REFUSED), {})
    n_stars = write_parts(measured, output, schema, units, without=repeated["row"].to_list())
    return Prediction(output, refused, n_stars, n_refused)


def _nothing_read(summaries: Sequence[dict[str, Any]]) -> str | None:
    """Inputs of which nothing can be read are a mistake of the user, not an empty catalog: a sentence about them."""
    measured, refused, unread = (sum(one[name] for one in summaries) for name in ("measured", "refused", "unread"))
    if measured or not refused or unread < refused:
        return None
    first = next(one["first"] for one in summaries if one["refused"])
    return first if refused == 1 else f"none of the {refused} files can be measured, first {first}"


def _repeated_stars(measured: Sequence[Path]) -> pl.DataFrame:
    """The rows of stars that have one already: `row`, counted through all pieces, and the columns of the refused.

    Eight bytes a star are held in memory; names are compared only where those agree.
    """
    rows = pl.scan_parquet(list(measured)).select("star_id", "source").with_row_index("row")
    hashes = rows.select("row", pl.col("star_id").hash().alias("hash")).collect()
    suspects = hashes.filter(pl.col("hash").is_duplicated())["row"]
    again = (
        rows.filter(pl.col("row").is_in(suspects.implode())).collect().filter(~pl.col("star_id").is_first_distinct())
    )
    return again.with_columns(reason=pl.lit("the star stands in a file before this one"))


def _require_names_that_fit(measured: Sequence[Path], output: Path) -> None:
    """FITS holds ASCII only, and an escaped name is another name."""
    if output.suffix == ".fits":
        names = pl.scan_parquet(list(measured)).select("star_id").filter(~pl.col("star_id").str.contains(r"^[ -~]*$"))
        if (foreign := names.first().collect()).height:
            raise DataError(
                f"{output}: FITS cannot hold the name '{foreign.item()}', which is not ASCII; "
                f"give --output another ending, and the finished work is used"
            )


def _shown(file: Path) -> str:
    """A path as the catalog gives it: relative where the file lies below the working folder."""
    return str(file.resolve().relative_to(Path.cwd()) if file.resolve().is_relative_to(Path.cwd()) else file)


def _rows(target: Path) -> Path:
    return target.with_name(f"{target.name}.stars.parquet")


def _refused(target: Path) -> Path:
    return target.with_name(f"{target.name}.refused.parquet")


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
