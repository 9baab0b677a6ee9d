"""A folder of files as a survey: read them all into a store, and say what was refused and what the cuts would take."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from varistar.bulk.engine import Engine
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path
from varistar.foundation.settings import validate
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.readers import ColumnMapping, Format, Source, find_sources
from varistar.lightcurves.shards import point_bytes, read_rows, shard_metadata, shard_rows, write_shard
from varistar.lightcurves.store import LOSSES, REFUSED, Store, shard_bytes_for
from varistar.lightcurves.table import LightCurves, concatenate

FILES_PER_PIECE = 64
ALONE = 10_000_000  # bytes of a file that is a piece by itself


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: stars read, those that pass the cuts, lost stars by reason, and refused files."""

    n_stars: int
    n_kept: int
    reasons: dict[str, int]
    n_refused: int


class Piece(NamedTuple):
    """Files that one worker reads, and how."""

    sources: Sequence[Source]
    format: Format | None
    mapping: ColumnMapping | None
    cuts: Cuts


def ingest(
    inputs: Sequence[Path],
    folder: Path,
    cuts: Cuts,
    format: Format | None = None,
    mapping: Mapping[str, Any] | None = None,
    engine: Engine | int | None = None,
    announce: Announce | None = None,
) -> Ingested | None:
    """Read files of any known format and append their stars to the store in `folder`.

    All points are stored; the cuts are counted, not applied, so that another survey definition can be tried on the same
    store. Writes beside the shards what this ingest met: `losses.parquet` (one row per star: points lost by reason) and
    `refused.parquet` (files that were not taken, with the reason).

    A store holds one survey, time system and flux unit: those that it has, or those of the first file. Files are read
    in pieces, and appended in their order when the last is read: neither engine nor interruptions change the store.

    Parameters
    ----------
    engine : where the files are read, or a number of workers; see `as_engine`.
    announce : is told before the work what it will take.

    Returns
    -------
    what was done; None in a process of a Slurm array that is not the last.

    Raises
    ------
    DataError
        When an input does not exist, or no file could be taken.
    ConfigError
        When the mapping is wrong.
    """
    parts = folder.with_name(f"{folder.name}.parts")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: cannot be made a folder: File exists")
    chosen = None if mapping is None else validate(ColumnMapping, mapping, "mapping")
    sources = [source for source in find_sources(inputs) if not _is_own(source.path.resolve(), folder, parts)]
    pieces = [Piece(some, format, chosen, cuts) for some in _some_at_a_time(sources)]
    key = {
        "inputs": fingerprint(source.path for source in sources),
        "format": format,
        "mapping": mapping and dict(mapping),
        "cuts": cuts.model_dump(mode="json"),
    }
    if sources:
        size = sum(source.path.stat().st_size for source in sources)
        foresee(parts, pieces, len(sources), 2 * size // len(sources), _try_piece, engine, announce, "file")
    take = partial(_take, store=Store(folder))
    done = run_job(_read_piece, pieces, parts, key, take, engine, "ingest", _first_file)
    if isinstance(done, str):
        raise DataError(done)
    return done


def _is_own(file: Path, folder: Path, parts: Path) -> bool:
    """Whether a file is the store's, or of its unfinished work."""
    return file.parent == folder.resolve() or parts.resolve() in file.parents


def _some_at_a_time(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """The sources in order: each shard, which may hold many stars, alone; other files by the dozen."""
    for alone, alike in groupby(
        sources, key=lambda source: source.rows is not None or source.path.stat().st_size > ALONE
    ):
        some, size = list(alike), 1 if alone else FILES_PER_PIECE
        yield from (some[start : start + size] for start in range(0, len(some), size))


def _first_file(piece: Piece) -> Path:
    return piece.sources[0].path


def _read_piece(piece: Piece, target: Path) -> dict[str, Any]:
    """Read the files of a piece, in a worker; neighbours of one kind share a shard.

    The summary tells of each file in order what it is, how many stars and bytes, and in which shard, or why it cannot
    be taken.
    """
    files: list[dict[str, Any]] = []
    readable: list[LightCurves] = []
    shards = 0
    for source in piece.sources:
        try:
            light_curves = source.read(piece.format, piece.mapping)
        except DataError as error:
            files.append({"source": str(source.path), "reason": str(error)})
            continue
        if readable and _kind(light_curves) != _kind(readable[0]):
            _write_shard(readable, target, shards, piece.cuts)
            readable, shards = [], shards + 1
        readable.append(light_curves)
        size = point_bytes(light_curves) * int(light_curves.offsets[-1])
        found = {"kind": _described(light_curves), "stars": len(light_curves), "bytes": size, "shard": shards}
        files.append({"source": str(source.path), **found})
    if readable:
        _write_shard(readable, target, shards, piece.cuts)
    return {"files": files}


def _try_piece(piece: Piece, files: int) -> int:
    read = 0
    for source in piece.sources[:files]:
        with suppress(DataError):
            source.read(piece.format, piece.mapping)
            read += 1
    return read


def _kind(light_curves: LightCurves) -> tuple[Any, ...]:
    """What light curves must have in common to stand in one shard, and come out of it as they went in."""
    return _described(light_curves), light_curves.columns.keys()


def _write_shard(readable: Sequence[LightCurves], target: Path, number: int, cuts: Cuts) -> None:
    light_curves = concatenate(readable)
    write_shard(_shard(target, number), light_curves)
    _write(apply_cuts(light_curves, cuts)[1], _losses(target, number))


def _take(done: Iterator[Done], store: Store) -> Ingested | str:
    """Append what can be taken to the store; a sentence where that is nothing."""
    refused: list[dict[str, str]] = []
    taken = list(_accept(done, _standard_of(store), refused))
    if not taken:
        first = refused[0]["reason"] if refused else f"{store.folder}: the store itself is no input"
        return first if len(refused) == 1 else f"none of the {len(refused)} files can be taken, first {first}"
    store.extend(_read_back(taken), shard_bytes_for(sum(file.size for file in taken)))
    lost = pl.concat(_read_losses(taken))
    _write(lost, store.folder / LOSSES)
    _write(pl.DataFrame(refused, schema={"source": pl.String, "reason": pl.String}), store.folder / REFUSED)
    counted = lost.filter(~pl.col("kept")).group_by("reason").len().sort("len", "reason", descending=[True, False])
    return Ingested(lost.height, int(lost["kept"].sum()), dict(counted.iter_rows()), len(refused))


class _Taken(NamedTuple):
    """A file that is taken: its stars `start` to `stop - 1` of a shard, and their size in bytes."""

    target: Path
    shard: int
    start: int
    stop: int
    size: int


def _accept(done: Iterator[Done], standard: str | None, refused: list[dict[str, str]]) -> Iterator[_Taken]:
    """The files to take, in their order; the others, each with its reason, are added to `refused`."""
    seen: set[str] = set()
    for target, summary in done:
        shard, stars, start = -1, [], 0
        for file in summary["files"]:
            if "reason" in file:
                refused.append(file)
                continue
            if file["shard"] != shard:
                shard, start = file["shard"], 0
                stars = shard_rows(_shard(target, shard))["star_id"].to_pylist()
            stop = start + file["stars"]
            standard = standard or file["kind"]
            if reason := _misfit(file["kind"], standard, stars[start:stop], seen):
                refused.append({"source": file["source"], "reason": f"{file['source']}: {reason}"})
            else:
                seen.update(stars[start:stop])
                yield _Taken(target, shard, start, stop, file["bytes"])
            start = stop


def _misfit(kind: str, standard: str, stars: Sequence[str], seen: set[str]) -> str | None:
    """Why a file of another kind than the store, or with a star that came before, cannot be taken."""
    if kind != standard:
        return f"of {kind}, but the store is of {standard}; ingest it into a store of its own"
    if twice := seen.intersection(stars):
        return f"the star '{min(twice)}' stands in a file before it"
    return None


def _read_back(taken: Sequence[_Taken]) -> Iterator[LightCurves]:
    """The light curves of the files, one file after the other."""
    for (target, shard), files in groupby(taken, key=lambda file: file[:2]):
        light_curves, _ = read_rows(_shard(target, shard))
        yield from (light_curves.slice(file.start, file.stop) for file in files)


def _read_losses(taken: Sequence[_Taken]) -> Iterator[pl.DataFrame]:
    for (target, shard), files in groupby(taken, key=lambda file: file[:2]):
        losses = pl.read_parquet(_losses(target, shard), glob=False)
        yield from (losses[file.start : file.stop] for file in files)


def _standard_of(store: Store) -> str | None:
    """What the stars of a store have in common; None while it has none."""
    shards = store.shards()
    if not shards:
        return None
    metadata = shard_metadata(shards[0])
    return f"survey '{metadata['survey']}', {metadata['time_system']}, {metadata['flux_unit']}"


def _described(light_curves: LightCurves) -> str:
    return f"survey '{light_curves.survey}', {light_curves.time_system}, {light_curves.flux_unit}"


def _shard(target: Path, number: int) -> Path:
    return target.with_name(f"{target.name}.{number}.shard.parquet")


def _losses(target: Path, number: int) -> Path:
    return target.with_name(f"{target.name}.{number}.losses.parquet")


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
