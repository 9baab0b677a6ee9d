"""The simulated surveys as files: the data set that is embedded in the project (`varistar survey simulate`).

The ground-based survey is a folder with `light_curves/part-*.parquet`, `stars.parquet`, `truth.parquet` and a
datasheet, `README.md`; the space-based one is a folder like it, with `flares.parquet` beside. They are made in pieces,
by any number of workers, and written straight into shards. The same settings give the same bytes. A folder is replaced
as a whole, or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from varistar.bulk.engine import Engine
from varistar.bulk.estimate import foresee
from varistar.bulk.job import Done, run_job
from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, atomic_path, link_file
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import COLUMNS

from .columns import FLARE_MEANINGS, MEANINGS, SPACE_MEANINGS
from .ground import CATALOG, SURVEY, TRUTH, Piece, SkySettings, join_skies, simulate_piece, sky_pieces
from .spacecraft import FLARES, STARS, SectorSettings, simulate_targets
from .spacecraft import SURVEY as SPACE_SURVEY
from .spacecraft import TRUTH as SPACE_TRUTH

#: Shards that a survey is to have, where its stars are enough.
PIECES = 16
#: Most stars of a shard of the space-based survey, whose light curves are long.
TARGETS_PER_PIECE = 64
#: Bytes of a star in the pieces and the result together, at most.
GROUND_BYTES, SPACE_BYTES = 24_000, 160_000

Announce = Callable[[str], None]


class _Batch(NamedTuple):
    """What a worker makes: pieces of the ground-based survey that share a shard."""

    settings: SkySettings
    pieces: tuple[Piece, ...]


class _Targets(NamedTuple):
    """What a worker makes: stars of the space-based survey that share a shard."""

    settings: SectorSettings
    indices: range


def write_ground(
    settings: SkySettings, folder: Path, engine: Engine | int | None = None, announce: Announce | None = None
) -> Path | None:
    """Simulate the ground-based survey and write it into `folder`, which is replaced.

    Parameters
    ----------
    engine : where the pieces are made, or a number of workers; the bytes are the same.
    announce : is told before the work what it will take.

    Returns
    -------
    the folder; None in a process of a Slurm array that is not the last.

    Raises
    ------
    DataError
        When the settings ask for no star, or the folder cannot be written or holds something else, which would be lost.
    """
    batches = [_Batch(settings, tuple(some)) for some in _batches(sky_pieces(settings))]
    stars = sum(piece.n_stars for batch in batches for piece in batch.pieces)
    tables: dict[str, Any] = {"stars": CATALOG, "truth": TRUTH}

    def finish(done: Iterator[Done]) -> Path:
        return _finish(done, folder, tables, lambda truth, points: _ground_datasheet(settings, truth, points))

    _require_room(folder, stars, tables)
    parts = folder.with_name(f"{folder.name}.parts")
    foresee(parts, batches, stars, GROUND_BYTES, _try_batch, engine, announce)
    sizes = [sum(piece.n_stars for piece in batch.pieces) for batch in batches]
    key = {"sky": settings.model_dump(mode="json")}
    return run_job(_make_batch, batches, parts, key, finish, engine, "simulate", _first_field, sizes)


def write_space(
    settings: SectorSettings, folder: Path, engine: Engine | int | None = None, announce: Announce | None = None
) -> Path | None:
    """Simulate the space-based survey and write it into `folder`; arguments and errors as in `write_ground`."""
    size = min(TARGETS_PER_PIECE, max(1, -(-settings.n_stars // PIECES)))
    starts = range(0, settings.n_stars, size)
    batches = [_Targets(settings, range(start, min(start + size, settings.n_stars))) for start in starts]
    tables: dict[str, Any] = {"stars": STARS, "truth": SPACE_TRUTH, "flares": FLARES}

    def finish(done: Iterator[Done]) -> Path:
        return _finish(done, folder, tables, lambda truth, points: _space_datasheet(settings, truth, points))

    _require_room(folder, settings.n_stars, tables)
    parts = folder.with_name(f"{folder.name}.parts")
    foresee(parts, batches, settings.n_stars, SPACE_BYTES, _try_targets, engine, announce)
    key = {"sectors": settings.model_dump(mode="json")}
    sizes = [len(batch.indices) for batch in batches]
    return run_job(_make_targets, batches, parts, key, finish, engine, "simulate", _first_target, sizes)


def _batches(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    """Pieces that share a shard: as many as leave `PIECES` shards. No shard parts a field of a small sky, whose stars
    share their exposures."""
    size = max(1, len(pieces) // PIECES)
    yield from (pieces[start : start + size] for start in range(0, len(pieces), size))


def _require_room(folder: Path, stars: int, tables: Mapping[str, Any]) -> None:
    if not stars:
        raise DataError(f"{folder}: these settings ask for a sky without stars")
    there = next(place for place in (folder, *folder.parents, Path()) if place.exists())
    if not there.is_dir():
        raise DataError(f"{there}: is a file, where a folder is to be made")
    known = {"light_curves", "README.md", *(f"{name}.parquet" for name in tables)}
    if folder.is_dir() and (foreign := sorted({path.name for path in folder.iterdir()} - known)):
        raise DataError(
            f"{folder}: holds '{foreign[0]}', which is no part of a simulated sky; name a folder of its own"
        )


def _make_batch(batch: _Batch, target: Path) -> dict[str, Any]:
    """A shard of the ground-based survey with its tables, in a worker."""
    sky = join_skies([simulate_piece(batch.settings, piece) for piece in batch.pieces])
    write_shard(target.with_name(f"{target.name}.shard.parquet"), sky.light_curves)
    _write_tables(target, {"stars": sky.stars, "truth": sky.truth})
    return {"points": int(sky.light_curves.offsets[-1])}


def _make_targets(batch: _Targets, target: Path) -> dict[str, Any]:
    """A shard of the space-based survey with its tables, in a worker."""
    sky = simulate_targets(batch.settings, batch.indices)
    write_shard(target.with_name(f"{target.name}.shard.parquet"), sky.light_curves)
    _write_tables(target, {"stars": sky.stars, "truth": sky.truth, "flares": sky.flares})
    return {"points": int(sky.light_curves.offsets[-1])}


def _write_tables(target: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        with atomic_path(target.with_name(f"{target.name}.{name}.parquet")) as temporary:
            table.write_parquet(temporary, compression="zstd", statistics=False)


def _try_batch(batch: _Batch, stars: int) -> int:
    """A trial of the first stars of a batch."""
    first = batch.pieces[0]
    few = Piece(first.field, tuple((kind, numbers[: -(-stars // len(first.stars))]) for kind, numbers in first.stars))
    return len(simulate_piece(batch.settings, few).light_curves)


def _try_targets(batch: _Targets, stars: int) -> int:
    return len(simulate_targets(batch.settings, batch.indices[: max(1, stars // 8)]).light_curves)


def _first_field(batch: _Batch) -> str:
    return f"field {batch.pieces[0].field}"


def _first_target(batch: _Targets) -> str:
    return f"star {batch.indices[0]}"


def _finish(
    done: Iterator[Done],
    folder: Path,
    tables: dict[str, Any],
    datasheet: Callable[[pl.LazyFrame, int], str],
) -> Path:
    """Put the pieces together: their shards become the set's, their tables one each."""
    points, stems = 0, []
    with atomic_folder(folder) as temporary:
        (temporary / "light_curves").mkdir()
        for number, (stem, summary) in enumerate(done):
            shard = stem.with_name(f"{stem.name}.shard.parquet")
            link_file(shard, temporary / "light_curves" / f"part-{number:05d}.parquet")
            points += summary["points"]
            stems.append(stem)
        for name, schema in tables.items():
            files = [stem.with_name(f"{stem.name}.{name}.parquet") for stem in stems]
            rows = pl.scan_parquet(files, glob=False).select(list(schema))
            rows.sink_parquet(temporary / f"{name}.parquet", compression="zstd", statistics=False)
        truth = pl.scan_parquet(temporary / "truth.parquet", glob=False)
        (temporary / "README.md").write_text(datasheet(truth, points), encoding="utf-8")
    return folder


def _ground_datasheet(settings: SkySettings, truth: pl.LazyFrame, points: int) -> str:
    """What the folder holds, how it was made, and what it is not."""
    first, last = settings.span
    return f"""# A simulated sky, from the ground

**Not real data.** These light curves were simulated by varistar in the likeness of ASAS-SN's; no star, position or
measurement in them is real. `docs/sky.md` says how, and how alike they are.

- {_counted(truth)} in {settings.n_fields} fields, {points} points (survey `{SURVEY}`), seed {settings.seed}
- MJD {first} to {last}, V and g; time system MJD_UTC; fluxes in mJy
- numbers are rounded to powers of two: flux and magnitude to at least {settings.steps_per_error:g} steps per error
- made by `varistar survey simulate --only ground --output <folder>`; the same settings give the same bytes
- free of any rights: it was made by a program

## light_curves/part-*.parquet

One row per star. A non-detection has a flux below the limit, and no magnitude.

{_light_curve_columns()}

## stars.parquet: what a catalog says

{_table((name, MEANINGS[name]) for name in CATALOG)}

## truth.parquet: what is true, for judging results only

{_table((name, MEANINGS[name]) for name in TRUTH)}

## Settings

```json
{settings.model_dump_json(indent=2)}
```
"""


def _space_datasheet(settings: SectorSettings, truth: pl.LazyFrame, points: int) -> str:
    """What the folder holds, how it was made, and what it is not."""
    return f"""# A simulated sky, from space

**Not real data.** These light curves were simulated by varistar in the likeness of TESS's 2-minute ones; no star or
measurement in them is real. `docs/sky.md` says how, and how alike they are.

- {_counted(truth)}, {points} cadences of 2 minutes (survey `{SPACE_SURVEY}`), seed {settings.seed}
- sectors {", ".join(map(str, settings.sectors))}; time system BTJD; fluxes in electrons per second
- numbers are rounded to powers of two: flux to at least {settings.steps_per_error:g} steps per error
- made by `varistar survey simulate --only space --output <folder>`; the same settings give the same bytes
- free of any rights: it was made by a program

## light_curves/part-*.parquet

One row per star, with all its sectors. A cadence without flux keeps its time, where it has one, and its flags.

{_light_curve_columns("time", "flux", "flux_err", "camera", "band", "quality")}

## stars.parquet: what a catalog says

{_table((name, MEANINGS[name]) for name in STARS)}

## truth.parquet: what is true of the stars

{_table((name, SPACE_MEANINGS[name]) for name in SPACE_TRUTH)}

## flares.parquet: every flare, however faint

{_table((name, FLARE_MEANINGS[name]) for name in FLARES)}

## Settings

```json
{settings.model_dump_json(indent=2)}
```
"""


def _counted(truth: pl.LazyFrame) -> str:
    """How many stars of which kinds, the most frequent first."""
    kinds = truth.group_by("kind").len().sort("len", "kind", descending=[True, False]).collect()
    return f"{kinds['len'].sum()} stars ({', '.join(f'{count} {kind}' for kind, count in kinds.iter_rows())})"


def _light_curve_columns(*names: str) -> str:
    chosen = {name: COLUMNS[name] for name in names or COLUMNS}
    return _table((name, f"{column.unit}: {column.meaning}".removeprefix(": ")) for name, column in chosen.items())


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| column | meaning |", "|---|---|", *(f"| `{name}` | {meaning} |" for name, meaning in rows)])
