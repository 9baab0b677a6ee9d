"""Arrays and their ids come back as they were written, joined or not, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.bulk.arrays import ArraySet, collect_arrays, join_arrays, open_arrays, write_array_shard
from varistar.foundation.errors import DataError

Written = tuple[Path, NDArray[np.uint8]]


def write(folder: Path, sizes: list[int], shape: tuple[int, ...] = (4, 6), first: int = 0) -> Written:
    """An array set of these shard sizes, written out of order, whose every value tells its example."""
    n = sum(sizes)
    values = np.random.default_rng(first).integers(0, 256, (n, *shape), dtype=np.uint8)
    ends = np.cumsum([0, *sizes])
    targets = [folder.with_name(f"{folder.name}.parts") / f"{number:05d}" for number in range(len(sizes))]
    for number in reversed(range(len(sizes))):
        write_array_shard(
            targets[number],
            values[ends[number] : ends[number + 1]],
            pl.DataFrame(
                {
                    "star_id": [f"star-{first + row}" for row in range(ends[number], ends[number + 1])],
                    "period_days": np.arange(ends[number], ends[number + 1]) + float(first),
                }
            ),
        )
    assert collect_arrays(folder, ["example", "period", "time"], targets, {"made": {"of": [1, 2]}}) == n
    return folder, values


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Written]:
    return lambda sizes, name="set", **more: write(tmp_path / name, sizes, **more)


def check(found: ArraySet, values: NDArray[np.uint8], first: int = 0) -> None:
    """Every example has its own array, in whatever order they are asked for."""
    assert len(found) == len(values)
    assert found.shape == values.shape
    ids = [f"star-{first + row}" for row in range(len(values))]
    assert found.index["star_id"].to_list() == ids
    rng = np.random.default_rng(0)
    for rows in (np.arange(len(values)), rng.permutation(len(values)), rng.integers(0, max(len(values), 1), 7)):
        np.testing.assert_array_equal(found.gather(rows), values[rows])
    for number, row, expected in zip(found.index["shard"], found.index["row"], values, strict=True):
        np.testing.assert_array_equal(found.shards[number][row], expected)


@pytest.mark.parametrize("sizes", [[5], [3, 1, 4], [1] * 12])
def test_what_is_written_comes_back(written: Callable[..., Written], sizes: list[int]) -> None:
    folder, values = written(sizes)
    found = open_arrays(folder)
    check(found, values)
    assert found.describe == {
        "axes": ["example", "period", "time"],
        "dtype": "uint8",
        "shape": [sum(sizes), 4, 6],
        "made": {"of": [1, 2]},
    }


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_any_rows_of_any_shards(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder, values = write(tmp_path_factory.mktemp("arrays"), sizes, shape=(2,))
    rows = np.array(data.draw(st.lists(st.integers(0, sum(sizes) - 1), max_size=20)), dtype=np.int64)
    gathered = open_arrays(folder).gather(rows)
    assert gathered.dtype == np.uint8
    np.testing.assert_array_equal(gathered, values[rows])


def test_what_is_gathered_is_a_copy_that_may_be_changed(written: Callable[..., Written]) -> None:
    for sizes in ([4], [2, 2]):
        folder, values = written(sizes, name=f"set-of-{len(sizes)}")
        open_arrays(folder).gather(np.array([1]))[:] = 0
        check(open_arrays(folder), values)


def test_other_numbers_than_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float16)
    write_array_shard(tmp_path / "0", values, pl.DataFrame({"star_id": ["a", "b", "c"]}))
    collect_arrays(tmp_path / "set", ["example", "channel"], [tmp_path / "0"], {})
    found = open_arrays(tmp_path / "set")
    assert (found.describe["dtype"], found.gather(np.arange(3)).dtype) == ("float16", np.float16)
    np.testing.assert_array_equal(found.gather(np.array([2, 0])), values[[2, 0]])


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, [3, 2])[0] for name in ("a", "b")]
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]
    assert files[0].keys() == {"axes.json", "index.parquet", "part-00000.npy", "part-00001.npy"}


def test_an_empty_set_is_a_set(tmp_path: Path) -> None:
    """A small sample may have no star in a split."""
    write_array_shard(tmp_path / "0", np.zeros((0, 4, 6), np.uint8), pl.DataFrame(schema={"star_id": pl.String}))
    for name, targets in (("a", []), ("b", [tmp_path / "0"])):
        assert collect_arrays(tmp_path / name, ["example", "period", "time"], targets, {}) == 0
    found = open_arrays(tmp_path / "a")
    assert len(found) == 0
    assert len(found.gather(np.arange(0))) == 0
    assert len(join_arrays([found, open_arrays(tmp_path / "b")])) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Joining


def test_joined_sets_are_one_after_the_other(written: Callable[..., Written]) -> None:
    parts = [written([3, 2], name="a"), written([4], name="b", first=5), written([1, 1, 1], name="c", first=9)]
    joined = join_arrays([open_arrays(folder) for folder, _ in parts])
    check(joined, np.concatenate([values for _, values in parts]))
    assert joined.index["period_days"].to_list() == list(range(12))


def test_a_join_of_one_set_is_the_set(written: Callable[..., Written]) -> None:
    folder, values = written([3, 2])
    check(join_arrays([open_arrays(folder)]), values)


def test_the_same_set_may_be_joined_twice(written: Callable[..., Written]) -> None:
    folder, values = written([2, 1])
    joined = join_arrays([open_arrays(folder)] * 2)
    np.testing.assert_array_equal(joined.gather(np.arange(6)), np.concatenate([values, values]))


def test_a_join_keeps_columns_that_one_set_lacks(written: Callable[..., Written], tmp_path: Path) -> None:
    folder, _ = written([1])
    write_array_shard(tmp_path / "0", np.zeros((1, 4, 6), np.uint8), pl.DataFrame({"star_id": ["x"]}))
    collect_arrays(tmp_path / "b", ["example", "period", "time"], [tmp_path / "0"], {})
    joined = join_arrays([open_arrays(folder), open_arrays(tmp_path / "b")])
    assert joined.index["period_days"].to_list() == [0.0, None]


def test_sets_of_different_shapes_are_refused(written: Callable[..., Written]) -> None:
    sets = [open_arrays(written([2], name=name, shape=shape)[0]) for name, shape in (("a", (4, 6)), ("b", (6, 4)))]
    with pytest.raises(DataError, match=r"\(2, 4, 6\), \(2, 6, 4\)"):
        join_arrays(sets)
    with pytest.raises(DataError, match="cannot be joined"):
        join_arrays([])


# ---------------------------------------------------------------------------------------------------------------------
# Damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def other_rows(path: Path) -> None:
    np.save(path, np.zeros((2, 4, 6), np.uint8))


def compensated(path: Path) -> None:
    """As many rows in all, but in the wrong shards."""
    other_rows(path)
    np.save(path.with_name("part-00000.npy"), np.zeros((4, 4, 6), np.uint8))


def other_shape(path: Path) -> None:
    np.save(path, np.zeros((3, 4, 5), np.uint8))


def pickled(path: Path) -> None:
    np.save(path, np.full((3,), None), allow_pickle=True)


def no_shard_column(path: Path) -> None:
    pl.read_parquet(path).drop("shard").write_parquet(path)


def rows_beyond(path: Path) -> None:
    pl.read_parquet(path).with_columns(row=pl.col("row") + 1).write_parquet(path)


def no_shape(path: Path) -> None:
    path.write_text(json.dumps({"axes": ["example"]}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("axes.json", Path.unlink),
        ("axes.json", truncate),
        ("axes.json", no_shape),
        ("axes.json", lambda path: path.write_text("[]")),
        ("index.parquet", Path.unlink),
        ("index.parquet", truncate),
        ("index.parquet", no_shard_column),
        ("index.parquet", rows_beyond),
        ("part-00001.npy", Path.unlink),
        ("part-00001.npy", truncate),
        ("part-00001.npy", other_rows),
        ("part-00001.npy", compensated),
        ("part-00001.npy", other_shape),
        ("part-00001.npy", pickled),
        ("part-00001.npy", lambda path: path.write_bytes(b"")),
    ],
)
def test_a_damaged_set_is_refused_by_name(
    written: Callable[..., Written], name: str, damage: Callable[[Path], object]
) -> None:
    folder, _ = written([3, 3])
    damage(folder / name)
    with pytest.raises(DataError, match=rf"^{folder}"):
        open_arrays(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_arrays(tmp_path / "nowhere")
