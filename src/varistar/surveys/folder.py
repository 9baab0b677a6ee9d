"""A folder of files as a survey: read them all into a store, and say what was refused and what the cuts would take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.shards import shard_metadata
from varistar.lightcurves.store import LOSSES, REFUSED, Store
from varistar.lightcurves.table import LightCurves


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: stars read, those that pass the cuts, lost stars by reason, and refused files."""

    n_stars: int
    n_kept: int
    reasons: dict[str, int]
    n_refused: int


def ingest(
    inputs: Sequence[Path],
    folder: Path,
    cuts: Cuts,
    format: str | None = None,
    mapping: Mapping[str, Any] | None = None,
) -> Ingested:
    """Read files of any known format and append their stars to the store in `folder`.

    All points are stored; the cuts are counted, not applied, so that another survey definition can be tried on the same
    store. Writes beside the shards what this ingest met: `losses.parquet` (one row per star: points lost by reason) and
    `refused.parquet` (files that were not taken, with the reason).

    A store holds one survey, time system and flux unit: those that it has, or those of the first file.

    Raises
    ------
    DataError
        When an input does not exist, or no file could be taken.
    """
    store = Store(folder)
    sources = [source for source in find_sources(inputs) if folder.resolve() != source.path.resolve().parent]
    refused: list[dict[str, str]] = []
    losses: list[pl.DataFrame] = []

    def acceptable() -> Iterator[LightCurves]:
        standard = _standard_of(store)
        seen: set[str] = set()
        for source in sources:
            try:
                light_curves = source.read(format, mapping)  # type: ignore[arg-type]
                standard = standard or _described(light_curves)
                _require_fit(source, light_curves, standard, seen)
            except DataError as error:
                refused.append({"source": str(source.path), "reason": str(error)})
                continue
            seen.update(light_curves.star_id)
            losses.append(apply_cuts(light_curves, cuts)[1])
            yield light_curves

    store.extend(acceptable())
    if not losses:
        first = refused[0]["reason"] if refused else f"{folder}: the store itself is no input"
        raise DataError(first if len(refused) == 1 else f"none of the {len(refused)} files can be taken, first {first}")
    lost = pl.concat(losses)
    _write(lost, folder / LOSSES)
    _write(pl.DataFrame(refused, schema={"source": pl.String, "reason": pl.String}), folder / REFUSED)
    counted = lost.filter(~pl.col("kept")).group_by("reason").len().sort("len", "reason", descending=[True, False])
    return Ingested(lost.height, int(lost["kept"].sum()), dict(counted.iter_rows()), len(refused))


def _standard_of(store: Store) -> str | None:
    """What the stars of a store have in common; None while it has none."""
    shards = store.shards()
    if not shards:
        return None
    metadata = shard_metadata(shards[0])
    return f"survey '{metadata['survey']}', {metadata['time_system']}, {metadata['flux_unit']}"


def _described(light_curves: LightCurves) -> str:
    return f"survey '{light_curves.survey}', {light_curves.time_system}, {light_curves.flux_unit}"


def _require_fit(source: Source, light_curves: LightCurves, standard: str, seen: set[str]) -> None:
    """Refuse a file of another kind than the store, or with a star that came before."""
    if (own := _described(light_curves)) != standard:
        raise DataError(f"{source.path}: of {own}, but the store is of {standard}; ingest it into a store of its own")
    if twice := seen.intersection(light_curves.star_id):
        raise DataError(f"{source.path}: the star '{min(twice)}' stands in a file before it")


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
