"""Run a promoted network over light curves and write a catalog.

Inputs are Parquet shards, raw files of any format that `varistar ingest` reads, or folders of either. They are worked
off in independent pieces, each written whole before it counts, so a prediction that was killed goes on where it
stopped.

A star has one row: of a store its latest version counts, of several files the first that measured it.
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
from varistar.lightcurves.inputs import file_stem
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves
from varistar.periods.measure import PeriodMeter

from .columns import CATALOG, REFUSED, flag
from .files import check_output, write_parts

FILES_PER_PIECE = 64
PIECE_OF_CATALOG = {name: column.dtype for name, column in CATALOG.items()} | {"source": pl.String}
PIECE_OF_REFUSED = REFUSED | {"unread": pl.Boolean}


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
        When an input does not exist, none holds light curves, the output cannot be written, or a piece failed twice;
        what was done is kept in `<name>.parts`, and the same command goes on from it.
    RegistryError
        When the model is damaged.
    """
    refused = output.with_name(f"{output.stem}.refused{output.suffix}")
    parts = output.with_name(f"{output.stem}.parts")
    check_output(output)
    sources = [source for source in find_sources(inputs) if parts.resolve() not in source.path.resolve().parents]
    _keep_inputs({output.resolve(), refused.resolve()}, sources)
    pieces = _pieces(sources)
    PeriodMeter.of_folder(model)  # a damaged model is found before any work is done
    _start_or_resume(parts, {"model": content_hash(model), "pieces": _fingerprint(sources)})
    left = [
        (number, piece, model, parts) for number, piece in enumerate(pieces) if not _refused(parts, number).exists()
    ]
    failed = [
        f"{item[1][0].path}: {' '.join(outcome.reason.split())}"
        for item, outcome in run_items(_predict_piece, left, workers, "predict")
        if isinstance(outcome, Failure)
    ]
    if failed:
        raise DataError(
            f"{len(failed)} of {len(pieces)} pieces failed, first {failed[0]}; the others are kept in {parts}, run the "
            "same command again to go on"
        )
    n_stars, n_refused = _join(parts, len(pieces), output, refused)
    shutil.rmtree(parts)
    return Prediction(output, refused, n_stars, n_refused)


def _keep_inputs(outputs: set[Path], sources: Sequence[Source]) -> None:
    """Refuse to write over a file that is read."""
    for source in sources:
        if source.path.resolve() in outputs:
            raise DataError(f"{source.path}: an input, which the catalog would replace; name another output")


def _pieces(sources: Sequence[Source]) -> list[list[Source]]:
    """Independent pieces of work: each Parquet file, which may be a shard of many stars, alone; others by the dozen."""
    shards = [[source] for source in sources if source.path.suffix == ".parquet"]
    others = [source for source in sources if source.path.suffix != ".parquet"]
    return shards + [others[start : start + FILES_PER_PIECE] for start in range(0, len(others), FILES_PER_PIECE)]


def _fingerprint(sources: Sequence[Source]) -> str:
    """A hash of the inputs' names, sizes and times of change."""
    states = [(source.path.resolve(), source.path.stat()) for source in sources]
    described = [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _start_or_resume(parts: Path, key: dict[str, str]) -> None:
    """Keep the finished pieces of the same model and inputs, and drop those of others."""
    key_file = parts / "key.json"
    if parts.exists() and not key_file.exists() and any(parts.iterdir()):
        raise DataError(f"{parts}: needed for the work, but holds something else; name another output")
    if key_file.exists() and read_json(key_file) != key:
        shutil.rmtree(parts)
    write_json(key_file, key)


def _predict_piece(item: tuple[int, Sequence[Source], Path, Path]) -> None:
    """Measure one piece; its table of refused stars is written last and marks it as done."""
    import torch

    number, sources, model, parts = item
    torch.set_num_threads(1)
    meter = PeriodMeter.of_folder(model)
    digest = content_hash(model)
    rows, refused = [pl.DataFrame(schema=PIECE_OF_CATALOG)], [pl.DataFrame(schema=PIECE_OF_REFUSED)]
    for source in sources:
        shown = pl.lit(_shown(source.path)).alias("source")
        try:
            light_curves = source.read()
            _require_time_system(source, light_curves, meter)
        except DataError as error:
            unread = {"star_id": file_stem(source.path), "reason": str(error), "unread": True}
            refused.append(pl.DataFrame([unread]).with_columns(shown).select(*PIECE_OF_REFUSED))
            continue
        kept, losses = apply_cuts(light_curves, meter.survey.cuts)
        lost = losses.filter(~pl.col("kept")).with_columns(shown, unread=pl.lit(False))
        refused.append(lost.select(*PIECE_OF_REFUSED))
        rows.append(_catalog_rows(kept, meter, digest).with_columns(shown))
    _write(pl.concat(rows), _rows(parts, number))
    _write(pl.concat(refused), _refused(parts, number))


def _require_time_system(source: Source, light_curves: LightCurves, meter: PeriodMeter) -> None:
    """Times with another zero than the survey's would fall outside the network's images, or in the wrong place."""
    own, wanted = light_curves.time_system, meter.survey.time_system
    if TIME_ORIGIN[own] != TIME_ORIGIN[wanted]:
        raise DataError(f"{source.path}: times in {own}, where the model expects {wanted}")


def _catalog_rows(light_curves: LightCurves, meter: PeriodMeter, model: str) -> pl.DataFrame:
    table = meter.measure(light_curves)
    table = table.with_columns(flag(table, meter.survey), pl.lit(model).alias("model"))
    return table.select(pl.col(name).cast(column.dtype) for name, column in CATALOG.items())


def _join(parts: Path, n_pieces: int, output: Path, refused: Path) -> tuple[int, int]:
    """Write the catalog and the table of the refused from the pieces; returns their numbers of rows."""
    measured = [_rows(parts, number) for number in range(n_pieces)]
    unmeasured = [_refused(parts, number) for number in range(n_pieces)]
    _require_light_curves(measured, unmeasured, parts)
    _require_names_that_fit(measured, output)
    repeated = _repeated_stars(measured)
    _write(repeated.select(*PIECE_OF_REFUSED), parts / "repeated.parquet")
    schema = pl.Schema({name: column.dtype for name, column in CATALOG.items()})
    units = {name: column.unit for name, column in CATALOG.items()}
    n_refused = write_parts([*unmeasured, parts / "repeated.parquet"], refused, pl.Schema(REFUSED), {})
    return write_parts(measured, output, schema, units, without=repeated["row"].to_list()), n_refused


def _repeated_stars(measured: Sequence[Path]) -> pl.DataFrame:
    """The rows of stars that have one already: `row`, counted through all pieces, and the columns of the refused.

    Eight bytes a star are held in memory; names are compared only where those agree.
    """
    rows = pl.scan_parquet(list(measured)).select("star_id", "source").with_row_index("row")
    hashes = rows.select("row", pl.col("star_id").hash().alias("hash")).collect()
    suspects = hashes.filter(pl.col("hash").is_duplicated())["row"].to_list()
    again = rows.filter(pl.col("row").is_in(suspects)).collect().filter(~pl.col("star_id").is_first_distinct())
    return again.with_columns(reason=pl.lit("the star stands in a file before this one"), unread=pl.lit(False))


def _require_light_curves(measured: Sequence[Path], unmeasured: Sequence[Path], parts: Path) -> None:
    """Inputs of which nothing can be read are a mistake of the user, not an empty catalog."""
    refused = pl.scan_parquet(list(unmeasured)).select(pl.len(), pl.col("unread").all()).collect()
    n_refused, all_unread = refused.row(0)
    n_measured = pl.scan_parquet(list(measured)).select(pl.len()).collect().item()
    if n_measured == 0 and n_refused > 0 and all_unread:
        first = pl.scan_parquet(list(unmeasured)).select("reason").first().collect().item()
        shutil.rmtree(parts)
        raise DataError(first if n_refused == 1 else f"none of the {n_refused} files can be measured, first {first}")


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


def _rows(parts: Path, number: int) -> Path:
    return parts / f"stars-{number:05d}.parquet"


def _refused(parts: Path, number: int) -> Path:
    return parts / f"refused-{number:05d}.parquet"


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
