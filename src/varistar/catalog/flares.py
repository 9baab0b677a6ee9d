"""Run a promoted flare network over light curves and write a flare catalog: what `flare_columns` describes.

Inputs, pieces and how a prediction goes on after it was killed are those of `predict`. Light curves are read as they
are: a cadence that is flagged keeps its place in its orbit, and `split_orbits` decides which count. A star stands once,
in the first file that holds it; `varistar ingest` joins the sectors of a star, which come in files of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.experiments.content import content_hash
from varistar.flares.completeness import chance_at, completeness_of
from varistar.flares.finder import FlareFinder
from varistar.flares.stars import orbits_of
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError, RegistryError
from varistar.foundation.params import PARAMS, read_params
from varistar.foundation.settings import validate
from varistar.lightcurves.inputs import file_stem
from varistar.lightcurves.readers import Source, find_sources
from varistar.surveys.pieces import REFUSED, cut_into_pieces, shown_path

from .files import check_output, write_parts
from .flare_columns import TABLES, schema_of
from .flare_star import Chance, FlareCatalogSettings, StarTables, catalog_star, searchable
from .parts import keep_inputs, nothing_read, part_of, repeated_stars, require_names_that_fit, summary_of, write_part
from .truth import read_table

BYTES_PER_STAR = 65536  # of all tables and the pieces before them: some hundred flares of 200 bytes, twice
#: What of a table of stars is used, and the names it may have there, the first that is found.
KNOWN = {"tmag": ("tmag",), "teff": ("teff",), "radius": ("radius", "radius_val")}


class FlarePrediction(NamedTuple):
    """What a prediction wrote: the flares, the tables beside them by name, and their rows."""

    flares: Path
    beside: dict[str, Path]
    n_flares: int
    n_stars: int
    n_refused: int


class FlarePiece(NamedTuple):
    """Sources that one worker searches; the model, its content hash and where it runs; the tables of stars and of
    injected flares, if any, and a hash that says their state; and the settings as JSON."""

    sources: Sequence[Source]
    model: Path
    digest: str
    device: str
    stars: Path | None
    recovery: Path | None
    state: str
    settings: str


def read_catalog_settings(root: Path) -> FlareCatalogSettings:
    """The settings in params.yaml, sections `measure`, `rotation` and `phase` of `flares`; ours where one is absent."""
    flares = read_params(root).get("flares", {})
    given = {name: flares[name] for name in FlareCatalogSettings.model_fields if name in flares}
    return validate(FlareCatalogSettings, given, f"{PARAMS}: flares")


def predict_flares(
    inputs: Sequence[Path],
    model: Path,
    output: Path,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
    announce: Announce | None = None,
    stars: Path | None = None,
    recovery: Path | None = None,
    settings: FlareCatalogSettings | None = None,
) -> FlarePrediction | None:
    """Find and measure the flares of every star in `inputs` with the model in folder `model`.

    Parameters
    ----------
    output : one row per flare; its ending chooses the format. The tables beside it are named as `flare_columns` says.
    announce : is told before the work what it will take.
    stars : a table with `star_id` and what there is of `tmag`, `teff` and `radius`; energies need the last two.
    recovery : flares that were injected into the survey, each found or not, as `varistar.flares.recovery.judge` gives
        them, with `cadence_minutes` where they were injected at several; from them follows how small a flare is found
        on each star.

    Returns
    -------
    what was written; None in a process of a Slurm array that is not the last.

    Raises
    ------
    DataError
        When an input does not exist, none holds light curves, a table lacks a column, the output cannot be written, the
        disk is too small, or a piece failed twice; the same command then goes on with what was done.
    RegistryError
        When the model is damaged, or finds no flares.
    """
    beside = {
        name: output.with_name(f"{output.stem}.{name}{output.suffix}") for name in (*filter(None, TABLES), "refused")
    }
    parts = output.with_name(f"{output.stem}.parts")
    check_output(output)
    sources = [source for source in find_sources(inputs) if parts.resolve() not in source.path.resolve().parents]
    if not sources:
        raise DataError(f"{parts}: unfinished work, and no input")
    tables = [path for path in (stars, recovery) if path is not None]
    written = {path.resolve() for path in (output, *beside.values())}
    keep_inputs(written, [*sources, *map(Source, tables)])
    device = choose_device(accelerator).type
    FlareFinder.of_folder(model, accelerator)  # a damaged model or table is found before any work is done
    state = fingerprint(tables)
    _known_stars(stars, state)
    _chance(recovery, state)
    digest = content_hash(model)
    shown = (settings or FlareCatalogSettings()).model_dump_json()
    cut, sizes = cut_into_pieces(sources)
    pieces = [FlarePiece(some, model, digest, device, stars, recovery, state, shown) for some in cut]
    engine = for_device(engine, device)
    foresee(parts, pieces, sum(sizes), BYTES_PER_STAR, _try_piece, engine, announce)
    key = {
        "model": digest,
        "device": device,
        "settings": shown,
        "inputs": fingerprint(source.path for source in sources),
        "tables": state,
        "folder": str(Path.cwd()),  # paths in the table of the refused are relative to it
    }
    join = partial(_join, output=output, beside=beside)
    done = run_job(_predict_piece, pieces, parts, key, join, engine, "predict", _first_file, sizes)
    if isinstance(done, str):
        raise DataError(done)
    return done


def _first_file(piece: FlarePiece) -> Path:
    return piece.sources[0].path


def _try_piece(piece: FlarePiece, stars: int) -> int:
    return _search(piece, stars)[0]["stars"].height


def _predict_piece(piece: FlarePiece, target: Path) -> dict[str, Any]:
    """Search one piece, in a worker."""
    import torch

    torch.set_num_threads(1)
    tables, refused = _search(piece)
    for name, table in tables.items():
        write_part(table, part_of(target, name or "flares"))
    write_part(refused.drop("unread"), part_of(target, "refused"))
    return summary_of(tables["stars"].height, refused)


def _search(piece: FlarePiece, at_most: int | None = None) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The tables of a piece, each with the number `place` of its star in the piece, and its refused stars and files.

    Parameters
    ----------
    at_most : sources, and stars of each, that are looked at.
    """
    finder = _finder(piece.model, piece.digest, piece.device)
    settings = FlareCatalogSettings.model_validate_json(piece.settings)
    chance, known = _chance(piece.recovery, piece.state), _known_stars(piece.stars, piece.state)
    found: list[tuple[StarTables, str]] = []
    refused: list[tuple[str, str, str, bool]] = []
    for source in piece.sources[:at_most]:
        shown = shown_path(source.path)
        try:
            light_curves = source.read()
        except DataError as error:
            refused.append((file_stem(source.path), shown, str(error), True))
            continue
        tried = light_curves if at_most is None else light_curves.slice(0, min(at_most, len(light_curves)))
        for i, (star_id, orbits) in enumerate(orbits_of(tried, finder.orbits)):
            searched, reason = searchable(orbits, finder)
            if reason is not None:
                refused.append((star_id, shown, reason, False))
                continue
            numbers = known.get(star_id, dict.fromkeys(KNOWN))
            found.append((catalog_star(star_id, tried.star(i), searched, finder, numbers, chance, settings), shown))
    schema = REFUSED | {"unread": pl.Boolean}
    return _tables(found, piece.digest), pl.DataFrame(refused, schema=schema, orient="row")


def _tables(found: Sequence[tuple[StarTables, str]], digest: str) -> dict[str, pl.DataFrame]:
    """The stars' rows below each other."""
    answer = {}
    for name, columns in TABLES.items():
        schema = schema_of(columns)
        empty = pl.DataFrame(schema={**schema, "place": pl.Int64, "source": pl.String})
        parts = [
            getattr(star, {"": "flares", "stars": "star"}.get(name, name)).with_columns(
                place=pl.lit(place, pl.Int64), source=pl.lit(source)
            )
            for place, (star, source) in enumerate(found)
        ]
        table = pl.concat([empty, *parts])
        answer[name] = table.with_columns(model=pl.lit(digest)) if "model" in columns else table
    return answer


@lru_cache(maxsize=1)
def _finder(model: Path, digest: str, device: str) -> FlareFinder:
    """The model, loaded once by each worker."""
    if content_hash(model) != digest:
        raise RegistryError(f"{model}: has changed since the prediction was begun")
    return FlareFinder.of_folder(model, "cuda" if device == "cuda" else "cpu")


@lru_cache(maxsize=1)
def _known_stars(path: Path | None, state: str) -> Mapping[str, dict[str, float | None]]:
    """What a table says of each star: the keys of `KNOWN`."""
    del state  # for the cache
    if path is None:
        return {}
    table = read_table(path)
    if "star_id" not in table.columns:
        raise DataError(f"{path}: there is no column 'star_id'; there are {', '.join(table.columns)}")
    columns = {name: next((other for other in names if other in table.columns), None) for name, names in KNOWN.items()}
    for name in filter(None, columns.values()):
        if not (table[name].dtype.is_numeric() or table[name].dtype == pl.Null):
            raise DataError(f"{path}: the column '{name}' holds {table[name].dtype}; expected numbers")
    table = table.select(
        pl.col("star_id").cast(pl.String),
        *(
            (pl.lit(None) if column is None else pl.col(column)).cast(pl.Float64).fill_nan(None).alias(name)
            for name, column in columns.items()
        ),
    )
    again = table.filter(pl.col("star_id").is_duplicated())
    if len(again):
        raise DataError(f"{path}: star '{again['star_id'][0]}' stands twice; expected one row for each star")
    return {row.pop("star_id"): row for row in table.iter_rows(named=True)}


@lru_cache(maxsize=1)
def _chance(path: Path | None, state: str) -> Chance | None:
    """The chance to find a flare, from those injected at the nearest cadence."""
    del state  # for the cache
    if path is None:
        return None
    table = read_table(path)
    if missing := [name for name in ("equivalent_duration_s", "peak_snr", "recovered") if name not in table.columns]:
        raise DataError(f"{path}: there is no column '{missing[0]}'; there are {', '.join(table.columns)}")
    if "cadence_minutes" not in table.columns:
        return completeness_of(table).of_star
    minutes = table["cadence_minutes"]
    if (
        table.is_empty()
        or not minutes.dtype.is_numeric()
        or not (minutes.is_finite() & (minutes > 0)).fill_null(False).all()
    ):
        raise DataError(f"{path}: the column 'cadence_minutes' must hold positive numbers, and at least one")
    by_cadence = table.group_by(pl.col("cadence_minutes").cast(pl.Float64), maintain_order=True)
    try:
        return chance_at({float(cadence): completeness_of(part) for (cadence,), part in by_cadence})
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _join(done: Iterator[Done], output: Path, beside: Mapping[str, Path]) -> FlarePrediction | str:
    """Write all tables from the pieces; a sentence where there is nothing to write."""
    targets, summaries = zip(*done, strict=True)
    if nothing := nothing_read(summaries):
        return nothing
    measured = [part_of(target, "stars") for target in targets]
    require_names_that_fit(measured, output)
    repeated = repeated_stars(measured)
    again = targets[0].with_name("repeated.parquet")
    write_part(repeated.select(*REFUSED), again)
    left_out = _places(measured, repeated["row"])
    rows = {}
    for name, columns in TABLES.items():
        parts = [part_of(target, name or "flares") for target in targets]
        units = {column: entry.unit for column, entry in columns.items()}
        without = _rows_of(parts, left_out)
        rows[name] = write_parts(parts, beside.get(name, output), schema_of(columns), units, without)
    refusals = [*(part_of(target, "refused") for target in targets), again]
    n_refused = write_parts(refusals, beside["refused"], pl.Schema(REFUSED), {})
    return FlarePrediction(output, dict(beside), rows[""], rows["stars"], n_refused)


def _places(measured: Sequence[Path], rows: pl.Series) -> list[list[int]]:
    """For each piece, the places in it of stars that are left out, from their rows counted through all pieces."""
    if rows.is_empty():
        return []
    places, before = [], 0
    for part in measured:
        stars = pl.read_parquet(part, columns=["place"], glob=False)["place"]
        inside = rows.filter((rows >= before) & (rows < before + len(stars))) - before
        places.append(stars.gather(inside).to_list())
        before += len(stars)
    return places


def _rows_of(parts: Sequence[Path], left_out: Sequence[list[int]]) -> list[int]:
    """The rows, counted through all parts, of stars that are left out."""
    answer, before = [], 0
    for part, places in zip(parts, left_out, strict=False):
        column = pl.read_parquet(part, columns=["place"], glob=False)["place"]
        answer += [before + int(row) for row in column.is_in(places).arg_true()]
        before += len(column)
    return answer
