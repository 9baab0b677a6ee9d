"""Arrays for training: memory-mapped `.npy` shards with named axes, and one index row per example.

    folder/
      axes.json              {"axes": ["example", "period", "time"], "dtype": "uint8", "shape": [n, 64, 64], ...}
      part-00000.npy         [rows, ...]
      index.parquet          one row per example: its id, truth and split, and the shard and row of its array

Ids travel in the same table as the arrays, so the two cannot come apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path, link_file, read_json, write_json


def write_array_shard(target: Path, values: NDArray, index: pl.DataFrame) -> None:
    """Write arrays and their index rows as `<target>.npy` and `<target>.rows.parquet`, which `collect_arrays` takes."""
    with atomic_path(target.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    with atomic_path(target.with_suffix(".rows.parquet")) as temporary:
        index.write_parquet(temporary, compression="zstd")


def collect_arrays(
    folder: Path,
    axes: Sequence[str],
    targets: Iterable[Path],
    describe: dict[str, Any],
    truth: pl.DataFrame | None = None,
) -> int:
    """Make an array set of written shards, in their order; returns the number of examples.

    Parameters
    ----------
    folder : receives the set; the shards get a second name in it.
    axes : names of the arrays' axes, the first of them `example`.
    targets : as given to `write_array_shard`; a shard without rows is left out.
    describe : anything else that a reader must know, such as the grids of the axes; JSON values.
    truth : further columns of the index, by `star_id`.
    """
    indices = [pl.DataFrame(schema={"star_id": pl.String, "shard": pl.Int32, "row": pl.Int32})]
    number = 0
    for target in targets:
        rows = pl.read_parquet(target.with_suffix(".rows.parquet"), glob=False)
        if rows.height:
            link_file(target.with_suffix(".npy"), folder / _shard_name(number))
            place = {"shard": pl.lit(number, pl.Int32), "row": pl.int_range(pl.len(), dtype=pl.Int32)}
            indices.append(rows.with_columns(**place))
            number += 1
    index = pl.concat(indices, how="diagonal")
    if truth is not None:
        index = index.join(truth, on="star_id", how="left", maintain_order="left")
    with atomic_path(folder / "index.parquet") as temporary:
        index.write_parquet(temporary, compression="zstd")
    first = np.load(folder / _shard_name(0), mmap_mode="r") if number else np.zeros((0,), np.uint8)
    shape = [index.height, *first.shape[1:]]
    write_json(folder / "axes.json", {**describe, "axes": list(axes), "dtype": str(first.dtype), "shape": shape})
    return index.height


@dataclass(frozen=True)
class ArraySet:
    """An array set on disk.

    Attributes
    ----------
    index : one row per example, in the order of `gather`'s row numbers.
    shape : (n, ...) of the whole set.
    describe : the content of axes.json.
    shards : the memory-mapped arrays, by the number that the index's column `shard` names.
    """

    folder: Path
    index: pl.DataFrame
    shape: tuple[int, ...]
    describe: dict[str, Any]
    shards: dict[int, NDArray]

    def __len__(self) -> int:
        return self.index.height

    def gather(self, rows: NDArray[np.int64]) -> NDArray:
        """The arrays of these examples, shape (len(rows), ...), copied out of the memory maps."""
        shard = self.index["shard"].to_numpy()[rows]
        row = self.index["row"].to_numpy()[rows]
        out = np.empty((len(rows), *self.shape[1:]), dtype=self.describe["dtype"])
        for number in np.unique(shard):
            here = shard == number
            out[here] = self.shards[int(number)][row[here]]
        return out


def open_arrays(folder: Path) -> ArraySet:
    """Open an array set without reading its arrays.

    Raises
    ------
    DataError
        When a part of it is missing or damaged.
    """
    describe = read_json(folder / "axes.json")
    try:
        shape = tuple(describe["shape"])
        index = pl.read_parquet(folder / "index.parquet", glob=False)
        shards = {n: np.load(folder / _shard_name(n), mmap_mode="r") for n in index["shard"].unique().sort().to_list()}
        places = index["shard"].to_numpy(), index["row"].to_numpy()
    except (OSError, EOFError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{folder}: damaged array set: {error}") from None
    sizes = [len(values) for values in shards.values()]
    expected = np.repeat(list(shards), sizes), np.concatenate([np.arange(size) for size in (0, *sizes)])
    if not all(np.array_equal(*pair) for pair in zip(places, expected, strict=True)):
        raise DataError(f"{folder}: the index does not name each row of each shard once, in their order")
    if any(values.shape[1:] != shape[1:] for values in shards.values()):
        raise DataError(f"{folder}: its arrays are not all of the shape that axes.json tells, {list(shape)}")
    return ArraySet(folder, index, shape, describe, shards)


def join_arrays(sets: Sequence[ArraySet]) -> ArraySet:
    """Array sets of one shape, one after the other, as one.

    Raises
    ------
    DataError
        When there is none, or their arrays differ in shape.
    """
    if len({found.shape[1:] for found in sets}) != 1:
        raise DataError(f"array sets of the shapes {[found.shape for found in sets]} cannot be joined")
    if len(sets) == 1:
        return sets[0]
    indices: list[pl.DataFrame] = []
    shards: dict[int, NDArray] = {}
    for found in sets:
        first = len(shards)
        numbers = {old: first + place for place, old in enumerate(found.shards)}
        shards |= {numbers[old]: values for old, values in found.shards.items()}
        indices.append(found.index.with_columns(pl.col("shard").replace_strict(numbers, return_dtype=pl.Int32)))
    index = pl.concat(indices, how="diagonal")
    return ArraySet(sets[0].folder, index, (index.height, *sets[0].shape[1:]), sets[0].describe, shards)


def _shard_name(number: int) -> str:
    return f"part-{number:05d}.npy"
