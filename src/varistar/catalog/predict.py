"""Run a promoted network over light curves and write a catalog.

Inputs are Parquet shards, raw files of any format that `varistar ingest` reads, or folders of either. They are worked
off in independent pieces, each written whole before it counts, so a prediction that was killed goes on where it
stopped.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from varistar.bulk.local import Failure, run_items
from varistar.experiments.content import content_hash
from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path, read_json, write_json
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.inputs import expand_inputs
from varistar.lightcurves.readers import read
from varistar.lightcurves.table import LightCurves
from varistar.periods.measure import PeriodMeter

from .columns import CATALOG, REFUSED, flag
from .files import check_ending, write_parts

FILES_PER_PIECE = 64
_NO_STARS = pl.DataFrame(schema={name: column.dtype for name, column in CATALOG.items()})
_NO_REFUSALS = pl.DataFrame(schema=REFUSED)


@dataclass(frozen=True)
class Prediction:
    """What a prediction wrote."""

    catalog: Path
    refused: Path
    n_stars: int
    n_refused: int


def predict(inputs: Sequence[Path], model: Path, output: Path, workers: int | None = None) -> Prediction:
    """Measure the period of every star in `inputs` with the model in folder `model`.

    Parameters
    ----------
    output : the catalog, one row per star with the columns of `CATALOG`; its ending chooses the format. Beside it
        `<name>.refused<ending>` lists every star and file that has no row, with the reason.

    Raises
    ------
    DataError
        When an input does not exist, the ending is unknown, or a piece failed twice; what was done is kept in
        `<output>.parts`, and the same command goes on from it.
    RegistryError
        When the model is damaged.
    """
    check_ending(output)
    pieces = _pieces(expand_inputs(inputs))
    parts = output.with_name(output.name + ".parts")
    PeriodMeter.of_folder(model)  # a damaged model is found before any work is done
    _start_or_resume(parts, {"model": content_hash(model), "pieces": _fingerprint(pieces)})
    left = [
        (number, piece, model, parts) for number, piece in enumerate(pieces) if not _refused(parts, number).exists()
    ]
    failed = [
        f"{item[1][0]}: {outcome.reason}"
        for item, outcome in run_items(_predict_piece, left, workers, "predict")
        if isinstance(outcome, Failure)
    ]
    if failed:
        raise DataError(
            f"{len(failed)} of {len(pieces)} pieces failed, first {failed[0]}; the others are kept in {parts}, run the "
            "same command again to go on"
        )
    refused = output.with_name(f"{output.stem}.refused{output.suffix}")
    numbers = range(len(pieces))
    schema = pl.Schema({name: column.dtype for name, column in CATALOG.items()})
    units = {name: column.unit for name, column in CATALOG.items()}
    n_refused = write_parts([_refused(parts, n) for n in numbers], refused, pl.Schema(REFUSED), {})
    n_stars = write_parts([_rows(parts, n) for n in numbers], output, schema, units)
    shutil.rmtree(parts)
    return Prediction(output, refused, n_stars, n_refused)


def _pieces(files: Sequence[Path]) -> list[list[Path]]:
    """Independent pieces of work: each Parquet file, which may be a shard of many stars, alone; others by the dozen."""
    shards = [[file] for file in files if file.suffix == ".parquet"]
    others = [file for file in files if file.suffix != ".parquet"]
    return shards + [others[start : start + FILES_PER_PIECE] for start in range(0, len(others), FILES_PER_PIECE)]


def _fingerprint(pieces: Sequence[Sequence[Path]]) -> str:
    """A hash of the inputs' names, sizes and times of change."""
    described = [
        [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for piece in pieces for file in piece
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _start_or_resume(parts: Path, key: dict[str, str]) -> None:
    """Keep the finished pieces of the same model and inputs, and drop those of others."""
    if (parts / "key.json").exists() and read_json(parts / "key.json") != key:
        shutil.rmtree(parts)
    write_json(parts / "key.json", key)


def _predict_piece(item: tuple[int, Sequence[Path], Path, Path]) -> None:
    """Measure one piece; its table of refused stars is written last and marks it as done."""
    import torch

    number, files, model, parts = item
    torch.set_num_threads(1)
    meter = PeriodMeter.of_folder(model)
    tables, refused = [_NO_STARS], [_NO_REFUSALS]
    for file in files:
        try:
            light_curves = read(file)
        except DataError as error:
            row = {"star_id": [file.stem], "source": [_shown(file)], "reason": [str(error)]}
            refused.append(pl.DataFrame(row, schema=REFUSED))
            continue
        kept, losses = apply_cuts(light_curves, meter.survey.cuts)
        lost = losses.filter(~pl.col("kept")).with_columns(source=pl.lit(_shown(file)))
        refused.append(lost.select(*REFUSED))
        tables.append(_catalog_rows(kept, meter, content_hash(model)))
    _write(pl.concat(tables), _rows(parts, number))
    _write(pl.concat(refused), _refused(parts, number))


def _catalog_rows(light_curves: LightCurves, meter: PeriodMeter, model: str) -> pl.DataFrame:
    table = meter.measure(light_curves)
    table = table.with_columns(flag(table, meter.survey), pl.lit(model).alias("model"))
    return table.select(pl.col(name).cast(column.dtype) for name, column in CATALOG.items())


def _shown(file: Path) -> str:
    """A path as the catalog gives it: relative where the file lies below the working folder."""
    return str(file.resolve().relative_to(Path.cwd()) if file.resolve().is_relative_to(Path.cwd()) else file)


def _rows(parts: Path, number: int) -> Path:
    return parts / f"stars-{number:05d}.parquet"


def _refused(parts: Path, number: int) -> Path:
    return parts / f"refused-{number:05d}.parquet"


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
