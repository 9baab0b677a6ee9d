"""A folder of files as a survey: read them all into a store, and say what was refused and what the cuts would take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.inputs import expand_inputs
from varistar.lightcurves.readers import read
from varistar.lightcurves.store import Store
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
    store. Writes `losses.parquet` (one row per star: points lost by reason) and `refused.parquet` (files that could not
    be read, with the reason) beside the shards.

    Raises
    ------
    DataError
        When an input does not exist, or no file could be read.
    """
    store = Store(folder)
    files = expand_inputs(inputs)
    refused: list[dict[str, str]] = []
    losses: list[pl.DataFrame] = []

    def readable() -> Iterator[LightCurves]:
        kind = None
        seen: set[str] = set()
        for file in files:
            try:
                light_curves = read(file, format, mapping)  # type: ignore[arg-type]
                kind = kind or (light_curves.time_system, light_curves.flux_unit)
                if (light_curves.time_system, light_curves.flux_unit) != kind:
                    raise DataError(
                        f"{file}: in {light_curves.time_system} and {light_curves.flux_unit}, those before it in "
                        f"{kind[0]} and {kind[1]}; ingest it into a store of its own"
                    )
                if twice := seen.intersection(light_curves.star_id):
                    raise DataError(f"{file}: the star '{min(twice)}' stands in a file before it")
            except DataError as error:
                refused.append({"source": str(file), "reason": str(error)})
                continue
            seen.update(light_curves.star_id)
            losses.append(apply_cuts(light_curves, cuts)[1])
            yield light_curves

    store.extend(readable())
    if not losses:
        why = f": {refused[0]['reason']}" if refused else ""
        raise DataError(f"none of the {len(files)} files holds light curves{why}")
    lost = pl.concat(losses)
    _write(lost, folder / "losses.parquet")
    _write(pl.DataFrame(refused, schema={"source": pl.String, "reason": pl.String}), folder / "refused.parquet")
    counted = lost.filter(~pl.col("kept")).group_by("reason").len().sort("len", descending=True)
    return Ingested(lost.height, int(lost["kept"].sum()), dict(counted.iter_rows()), len(refused))


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")
