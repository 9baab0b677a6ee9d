"""The windows that networks learn from, drawn from all stars at once.

Flares gather on few stars, and a shard may hold none of them. What could be drawn is therefore listed shard by shard;
then each split is drawn from all shards together; and what was drawn is cut out, again shard by shard.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from numpy.typing import NDArray

from varistar.bulk.arrays import collect_arrays, write_array_shard
from varistar.bulk.engine import Engine, as_engine
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import Split, SplitSettings, split_stars
from varistar.foundation.files import atomic_folder, atomic_path, folder_hash

from .labels import read_simulated
from .orbits import OrbitSettings
from .stars import read_orbits, shards_of
from .windows import WindowSettings, all_candidates, cut_windows, draw_limit, drawn


class ShardPiece(NamedTuple):
    """One shard of light curves, whose candidates are to be listed."""

    shard: Path
    flares: Path
    learnt: tuple[Split, ...]
    splits: SplitSettings
    orbits: OrbitSettings
    settings: WindowSettings


class DrawnPiece(NamedTuple):
    """The same shard, with its list and the highest `draw` that is taken in each split."""

    piece: ShardPiece
    candidates: Path
    limits: Mapping[Split, float]


def build_windows(
    sectors: Path,
    learnt: Sequence[Split],
    orbits: OrbitSettings,
    splits: SplitSettings,
    settings: WindowSettings,
    folder: Path,
    engine: Engine | None = None,
) -> dict[str, int] | None:
    """Windows of all stars of `sectors`; returns the number in each split.

    Two resumable jobs, one inside the other, whose work is kept beside `folder` until both are done. Of an array of
    processes the last cuts all that was drawn, on its own machine, and the others return None.

    Parameters
    ----------
    sectors : as `varistar.sky.snapshot.write_space` writes them.
    learnt : the splits that are wanted.
    folder : replaced; receives an array set for each of them.

    Raises
    ------
    DataError
        When there are no light curves.
    """
    shards = shards_of(sectors)
    described = {"orbits": orbits.model_dump(mode="json"), "settings": settings.model_dump(mode="json")}
    key = described | {
        "splits": splits.model_dump(mode="json"),
        "learnt": list(learnt),
        "sectors": folder_hash(sectors),
    }
    engine = as_engine(engine)
    here = Engine(workers=engine.workers) if engine.name == "slurm" else engine

    def cut(done: Iterator[Done]) -> dict[str, int] | None:
        listed = list(done)
        limits = {split: _limit(split, listed, settings) for split in learnt}
        cuts = [DrawnPiece(item, _list_of(target), limits) for item, (target, _) in zip(items, listed, strict=True)]
        parts = folder.with_name(f"{folder.name}.cut")
        return run_job(_cut_shard, cuts, parts, key | {"limits": limits}, deliver, here, "cut", _shard_of)

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        targets = [target for target, _ in done]
        with atomic_folder(folder) as whole:
            return {
                split: collect_arrays(
                    whole / split, ["example", "cadence"], [_of_split(target, split) for target in targets], described
                )
                for split in learnt
            }

    items = [ShardPiece(shard, sectors / "flares.parquet", tuple(learnt), splits, orbits, settings) for shard in shards]
    parts = folder.with_name(f"{folder.name}.parts")
    return run_job(_list_shard, items, parts, key, cut, engine, "windows", lambda item: item.shard)


def _list_shard(piece: ShardPiece, target: Path) -> dict[str, int]:
    """Write the candidates of a shard, with their `split`; returns how many are flares in each split."""
    stars = dict(read_orbits(piece.shard, piece.orbits))
    of_star = pl.DataFrame(
        {"star_id": list(stars), "split": split_stars(list(stars), piece.splits)},
        schema={"star_id": pl.String, "split": pl.String},
    ).filter(pl.col("split").is_in(piece.learnt))
    mine = {name: stars[name] for name in of_star["star_id"]}
    candidates = all_candidates(mine, read_simulated(piece.flares), piece.settings).join(of_star, on="star_id")
    with atomic_path(_list_of(target)) as temporary:
        candidates.sort("star_id", "orbit", "centre").write_parquet(temporary, compression="zstd")
    flares = candidates.filter(pl.col("label") == 1)["split"]
    return {split: int((flares == split).sum()) for split in piece.learnt}


def _limit(split: Split, listed: Sequence[Done], settings: WindowSettings) -> float:
    """The highest `draw` that is taken of a split, from the lists of all shards."""
    mine = (pl.col("split") == split) & (pl.col("label") == 0)
    draws: Iterator[NDArray[Any]] = (
        pl.scan_parquet(_list_of(target), glob=False).filter(mine).select("draw").collect()["draw"].to_numpy()
        for target, _ in listed
    )
    return draw_limit(sum(flares[split] for _, flares in listed), draws, settings)


def _cut_shard(cut: DrawnPiece, target: Path) -> dict[str, int]:
    """Write what was drawn of a shard, an array shard for each split."""
    stars = dict(read_orbits(cut.piece.shard, cut.piece.orbits))
    candidates = pl.read_parquet(cut.candidates, glob=False)
    for split, limit in cut.limits.items():
        index = drawn(candidates.filter(pl.col("split") == split).drop("split"), limit)
        write_array_shard(_of_split(target, split), cut_windows(index, stars, cut.piece.settings), index)
    return {}


def _shard_of(cut: DrawnPiece) -> Path:
    return cut.piece.shard


def _list_of(target: Path) -> Path:
    return target.with_suffix(".parquet")


def _of_split(target: Path, split: str) -> Path:
    return target.with_name(f"{target.name}-{split}")
