"""Run a promoted network over light curves and write a catalog.

Inputs are Parquet shards, raw files of any format that `varistar ingest` reads, or folders of either. They are worked
off in independent pieces, each written whole before it counts, so a prediction that was killed goes on where it
stopped. The pieces do not depend on the engine that does them, and so neither do the catalog's bytes.

A star has one row: of a store its latest version counts, of several files the first that measured it.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.experiments.content import content_hash
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError, RegistryError
from varistar.lightcurves.readers import Source, find_sources
from varistar.periods.measure import PeriodMeter
from varistar.surveys.pieces import REFUSED, Passed, cut_into_pieces, join_alike, read_passing

from .columns import CATALOG, flag
from .files import check_output, write_parts
from .parts import (
    keep_inputs,
    nothing_read,
    part_of,
    repeated_stars,
    require_names_that_fit,
    summary_of,
    write_part,
)

BYTES_PER_ROW = 768  # of a catalog and the pieces before it together; measured 120 (Parquet) to 600 (FITS)
PIECE_OF_CATALOG = {name: column.dtype for name, column in CATALOG.items()} | {"source": pl.String}


class Prediction(NamedTuple):
    """What a prediction wrote."""

    catalog: Path
    refused: Path
    n_stars: int
    n_refused: int


class Piece(NamedTuple):
    """Sources that one worker measures, the model, its folder and content hash, and where it runs."""

    sources: Sequence[Source]
    model: Path
    digest: str
    device: str


def predict(
    inputs: Sequence[Path],
    model: Path,
    output: Path,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
    announce: Announce | None = None,
) -> Prediction | None:
    """Measure the period of every star in `inputs` with the model in folder `model`.

    Parameters
    ----------
    output : the catalog, one row per star with the columns of `CATALOG`; its ending chooses the format. Beside it
        `<name>.refused<ending>` lists every star and file that has no row, with the reason.
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
    if not sources:
        raise DataError(f"{parts}: unfinished work, and no input")
    keep_inputs({output.resolve(), refused.resolve()}, sources)
    device = choose_device(accelerator).type
    PeriodMeter.of_folder(model, accelerator)  # a damaged model is found before any work is done
    digest = content_hash(model)
    cut, sizes = cut_into_pieces(sources)
    pieces = [Piece(some, model, digest, device) for some in cut]
    engine = for_device(engine, device)
    foresee(parts, pieces, sum(sizes), BYTES_PER_ROW, _try_piece, engine, announce)
    key = {
        "model": digest,
        "device": device,
        "inputs": fingerprint(source.path for source in sources),
        "folder": str(Path.cwd()),  # paths in the catalog are relative to it
    }
    join = partial(_join, output=output, refused=refused)
    done = run_job(_predict_piece, pieces, parts, key, join, engine, "predict", _first_file, sizes)
    if isinstance(done, str):
        raise DataError(done)
    return done


def _first_file(piece: Piece) -> Path:
    return piece.sources[0].path


def _predict_piece(piece: Piece, target: Path) -> dict[str, Any]:
    """Measure one piece, in a worker."""
    import torch

    torch.set_num_threads(1)
    rows, refused = _measure_sources(piece)
    write_part(rows, part_of(target, "stars"))
    write_part(refused.drop("unread"), part_of(target, "refused"))
    return summary_of(rows.height, refused)


def _measure_sources(piece: Piece, at_most: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Catalog rows of a piece, and its refused stars and files, of which `unread` says that they could not be read.

    Parameters
    ----------
    at_most : sources, and stars of each, that are looked at.
    """
    meter = _meter(piece.model, piece.digest, piece.device)
    passed, refused = read_passing(piece.sources, meter.survey, at_most)
    return _catalog_rows(passed, meter, piece.digest), refused


def _try_piece(piece: Piece, stars: int) -> int:
    return _measure_sources(piece, stars)[0].height


@lru_cache(maxsize=1)
def _meter(model: Path, digest: str, device: str) -> PeriodMeter:
    """The model, loaded once by each worker."""
    if content_hash(model) != digest:
        raise RegistryError(f"{model}: has changed since the prediction was begun")
    return PeriodMeter.of_folder(model, "cuda" if device == "cuda" else "cpu")


def _catalog_rows(passed: Sequence[Passed], meter: PeriodMeter, digest: str) -> pl.DataFrame:
    """The rows of light curves that passed the cuts, each with the name of its file."""
    tables = [pl.DataFrame(schema=PIECE_OF_CATALOG)]
    for light_curves, sources in join_alike(passed):
        table = meter.measure(light_curves)
        table = table.with_columns(
            flag(table, meter.survey), model=pl.lit(digest), source=pl.Series(sources, dtype=pl.String)
        )
        tables.append(table.select(pl.col(name).cast(dtype) for name, dtype in PIECE_OF_CATALOG.items()))
    return pl.concat(tables)


def _join(done: Iterator[Done], output: Path, refused: Path) -> Prediction | str:
    """Write the catalog and the table of the refused from the pieces; a sentence where there is nothing to write."""
    targets, summaries = zip(*done, strict=True)
    if nothing := nothing_read(summaries):
        return nothing
    measured = [part_of(target, "stars") for target in targets]
    require_names_that_fit(measured, output)
    repeated = repeated_stars(measured)
    again = targets[0].with_name("repeated.parquet")
    write_part(repeated.select(*REFUSED), again)
    schema = pl.Schema({name: column.dtype for name, column in CATALOG.items()})
    units = {name: column.unit for name, column in CATALOG.items()}
    refusals = [*(part_of(target, "refused") for target in targets), again]
    n_refused = write_parts(refusals, refused, pl.Schema(REFUSED), {})
    n_stars = write_parts(measured, output, schema, units, without=repeated["row"].to_list())
    return Prediction(output, refused, n_stars, n_refused)
