"""Arrays for training: memory-mapped `.npy` shards with named axes, and one index row per example.

    folder/
      axes.json              {"axes": ["example", "period", "time"], "dtype": "uint8", "shape": [n, 64, 64], ...}
      part-00000.npy         [rows, ...]
      index.parquet          one row per example: its id, truth and split, and the shard and row of its array

Ids travel in the same table as the arrays, so the two cannot come apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path, read_json, write_json


def write_array_shard(folder: Path, number: int, values: NDArray, index: pl.DataFrame) -> pl.DataFrame:
    """Write shard `number` and return its index rows, with the columns `shard` and `row` added."""
    with atomic_path(folder / _shard_name(number)) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    return index.with_columns(shard=pl.lit(number, pl.Int32), row=pl.int_range(pl.len(), dtype=pl.Int32))


def write_array_index(folder: Path, axes: Sequence[str], index: pl.DataFrame, describe: dict[str, Any]) -> None:
    """Write the index and the axes of an array set whose shards are written.

    Parameters
    ----------
    axes : names of the array's axes, the first of them `example`.
    index : the rows that `write_array_shard` returned, in any order; they are stored by shard and row.
    describe : anything else that a reader must know, such as the grids of the axes; JSON values.
    """
    index = index.sort("shard", "row")
    with atomic_path(folder / "index.parquet") as temporary:
        index.write_parquet(temporary, compression="zstd")
    shards = index["shard"].unique().sort().to_list()
    first = np.load(folder / _shard_name(shards[0]), mmap_mode="r") if shards else np.zeros((0,), np.uint8)
    shape = [index.height, *first.shape[1:]]
    write_json(folder / "axes.json", {**describe, "axes": list(axes), "dtype": str(first.dtype), "shape": shape})


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
        index = pl.read_parquet(folder / "index.parquet")
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
