"""A store grows by whole shards, keeps the latest version of a star, and survives being interrupted."""

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varistar.foundation.errors import DataError
from varistar.lightcurves import store as store_module
from varistar.lightcurves.shards import point_bytes, read_shard
from varistar.lightcurves.store import Store, shard_bytes_for
from varistar.lightcurves.table import concatenate


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "stars")


def stars_in(store: Store) -> dict[str, np.ndarray]:
    """The times of every star, star by star."""
    found = {}
    for shard in store.iter_shards():
        for i, star in enumerate(shard.star_id):
            assert star not in found
            found[star] = shard.star(i)["time"]
    return found


def test_an_empty_store(store):
    assert store.shards() == [] and store.parts() == [] and list(store.iter_shards()) == []
    assert store.index().height == 0
    assert store.index().columns == ["star_id", "shard", "row", "version", "n_points"]
    with pytest.raises(DataError, match="holds no light curves"):
        store.read_stars(["a"])


def test_append_and_read(store, make_lightcurves, assert_same):
    table = make_lightcurves([5, 0, 7])
    written = store.append(table)
    assert [path.name for path in written] == ["part-00000.parquet"]
    assert store.shards() == written
    (only,) = store.iter_shards()
    assert_same(only, table)
    assert store.index().rows() == [
        ("star 0", "part-00000.parquet", 0, 0, 5),
        ("star 1", "part-00000.parquet", 1, 0, 0),
        ("star 2", "part-00000.parquet", 2, 0, 7),
    ]


def test_shards_are_filled_up_to_their_size(store, make_lightcurves, assert_same):
    table = make_lightcurves([10] * 25)
    written = store.append(table, shard_bytes=100 * point_bytes(table))
    assert [len(read_shard(path)) for path in written] == [10, 10, 5]
    assert_same(concatenate(list(store.iter_shards())), table)


def test_parts_are_joined_across_their_ends(store, make_lightcurves, assert_same):
    ids = iter(f"s{i}" for i in itertools.count())
    parts = [
        make_lightcurves(n, seed=k, star_id=list(itertools.islice(ids, len(n))))
        for k, n in enumerate([[4, 4], [], [30], [1] * 9, [0, 0], [3]])
    ]
    store.extend(iter(parts), shard_bytes=10 * point_bytes(parts[0]))
    sizes = [int(part.offsets[-1]) for part in store.iter_shards()]
    assert sizes == [8, 30, 9, 3]  # a star larger than a shard has one for itself
    assert_same(concatenate(list(store.iter_shards())), concatenate(parts))


@pytest.mark.parametrize(
    "size, expected", [(3.2e7, 2_000_000), (0, 1_000_000), (1.6e7, 1_000_000), (1e12, 128_000_000)]
)
def test_shard_size_of_a_set(size, expected):
    assert shard_bytes_for(size) == expected


def test_shard_names_go_on_beyond_five_digits(store, make_lightcurves):
    store.append(make_lightcurves([1]))
    (store.folder / "part-00000.parquet").rename(store.folder / "part-99999.parquet")
    store.append(make_lightcurves([1], star_id=["new"]))
    assert [path.name for path in store.shards()] == ["part-99999.parquet", "part-100000.parquet"]


def test_new_epochs_are_a_new_version(store, make_lightcurves, assert_same):
    old, new = make_lightcurves([5, 4, 3], seed=1), make_lightcurves([8, 2], seed=2, star_id=["star 1", "star 9"])
    first = store.append(old)[0].read_bytes()
    store.append(new)
    assert store.shards()[0].read_bytes() == first  # a shard is never changed
    index = store.index()
    assert index.select("star_id", "version", "n_points").rows() == [
        ("star 0", 0, 5),
        ("star 2", 0, 3),
        ("star 1", 1, 8),
        ("star 9", 0, 2),
    ]
    assert_same(concatenate(list(store.iter_shards())), concatenate([old.take([0, 2]), new]))
    assert_same(store.read_stars(["star 9", "star 0", "star 1"]), concatenate([new.star(1), old.star(0), new.star(0)]))


def test_a_shard_whose_stars_are_all_replaced_has_no_part(store, make_lightcurves):
    store.append(make_lightcurves([3, 3], seed=1))
    store.append(make_lightcurves([4, 4], seed=2))
    assert [part.path.name for part in store.parts()] == ["part-00001.parquet"]
    assert [part.rows for part in store.parts()] == [None]


def test_the_same_again_writes_nothing(store, make_lightcurves):
    table = make_lightcurves([5, 0, 7])
    store.append(table)
    assert store.append(table) == []
    shifted = make_lightcurves([5, 0, 7])
    shifted["flux"][0] += 1
    assert len(store.append(shifted)) == 1
    assert store.index().select("star_id", "version").rows() == [("star 1", 0), ("star 2", 0), ("star 0", 1)]


def test_a_column_more_is_a_new_version(store, make_lightcurves):
    store.append(make_lightcurves([5], names=("time", "flux", "flux_err")))
    assert len(store.append(make_lightcurves([5], names=("time", "flux", "flux_err", "camera")))) == 1
    assert store.index()["version"].to_list() == [1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "ć", "☆ d"]), st.integers(0, 5), max_size=4), min_size=1, max_size=5
    ),
    points=st.integers(1, 12),
)
def test_any_history_leaves_the_last_light_curve_of_each_star(tmp_path_factory, make_lightcurves, steps, points):
    store = Store(tmp_path_factory.mktemp("store") / "stars")
    expected: dict[str, np.ndarray] = {}
    versions: dict[str, int] = {}
    for seed, step in enumerate(steps):
        table = make_lightcurves(list(step.values()), seed=seed, star_id=list(step))
        for i, star in enumerate(step):
            times = table.star(i)["time"]
            changed = star not in expected or len(times) != len(expected[star]) or (times != expected[star]).any()
            versions[star] = versions.get(star, -1) + int(changed)
            expected[star] = times
        store.append(table, shard_bytes=points * point_bytes(table))
    found = stars_in(store)
    assert set(found) == set(expected)
    for star, times in expected.items():
        np.testing.assert_array_equal(found[star], times)
    index = store.index()
    assert dict(zip(index["star_id"], index["version"], strict=True)) == versions
    if expected:
        asked = sorted(expected)
        read = store.read_stars(asked, columns=[])
        assert read.star_id == tuple(asked)
        assert read.n_points.tolist() == [len(expected[star]) for star in asked]


def test_read_stars(store, make_lightcurves, assert_same):
    table = make_lightcurves([3, 1, 4, 1, 5])
    store.append(table, shard_bytes=5 * point_bytes(table))
    assert len(store.shards()) > 2
    assert_same(store.read_stars(["star 4", "star 0", "star 0", "star 3"]), table.take([4, 0, 0, 3]))
    assert_same(store.read_stars([]), table.take([]))
    assert set(store.read_stars(["star 1"], columns=["band"]).columns) == {"time", "flux", "flux_err", "band"}
    with pytest.raises(DataError, match="has no star 'Vega'"):
        store.read_stars(["star 1", "Vega"])


def test_a_star_twice_in_one_addition_is_refused(store, make_lightcurves):
    with pytest.raises(DataError, match="star 'x' comes twice in one addition; merge its parts first"):
        store.append(make_lightcurves([2, 3], star_id=["x", "x"]))
    with pytest.raises(DataError, match="star 'x' comes twice"):
        store.extend([make_lightcurves([2], star_id=["x"]), make_lightcurves([2], star_id=["x"])])


@pytest.mark.parametrize(
    "meaning, message",
    [
        ({"time_system": "BTJD"}, "holds light curves of time_system 'MJD_UTC', so not of 'BTJD'"),
        ({"flux_unit": "relative"}, "holds light curves of flux_unit 'mJy', so not of 'relative'"),
        ({"survey": "other"}, "holds light curves of survey 'test', so not of 'other'"),
    ],
)
def test_light_curves_of_another_kind_are_refused(store, make_lightcurves, meaning, message):
    store.append(make_lightcurves([2]))
    with pytest.raises(DataError, match=message):
        store.append(make_lightcurves([2], star_id=["y"], **meaning))
    with pytest.raises(DataError, match=message):
        Store(store.folder.parent / "new").extend(
            [make_lightcurves([2]), make_lightcurves([2], star_id=["y"], **meaning)]
        )
    assert len(store.shards()) == 1


def test_other_files_in_the_folder_are_no_shards(store, make_lightcurves):
    store.append(make_lightcurves([2]))
    for name in ("losses.parquet", "part-7.parquet", "part-00001.parquet.bak", "README"):
        (store.folder / name).touch()
    assert [path.name for path in store.shards()] == ["part-00000.parquet"]


def test_a_damaged_shard_is_named(store, make_lightcurves):
    store.append(make_lightcurves([200, 200]))
    path = store.shards()[0]
    path.write_bytes(path.read_bytes()[:-10])
    for action in (store.index, store.parts, lambda: store.append(make_lightcurves([1], star_id=["z"]))):
        with pytest.raises(DataError, match=r"part-00000\.parquet: truncated or damaged shard"):
            action()


def test_an_interrupted_addition_is_run_again(store, make_lightcurves, assert_same, monkeypatch, tmp_path):
    """The disk fills up at the third shard; after a second run the shards are those of a run without trouble."""
    table = make_lightcurves([10] * 30, seed=8)
    size = 60 * point_bytes(table)
    write, calls = store_module.write_shard, itertools.count()

    def until_full(path, *rest):
        if next(calls) == 2:
            raise DataError(f"{path}: cannot be written: No space left on device")
        write(path, *rest)

    monkeypatch.setattr(store_module, "write_shard", until_full)
    with pytest.raises(DataError, match=r"part-00002\.parquet: cannot be written: No space left on device"):
        store.append(table, size)
    monkeypatch.undo()
    assert len(list(store.folder.iterdir())) == 2
    store.append(table, size)
    untroubled = Store(tmp_path / "untroubled")
    untroubled.append(table, size)
    assert [p.read_bytes() for p in store.shards()] == [p.read_bytes() for p in untroubled.shards()]


KILLED = """
    import os, sys
    import numpy as np
    import pyarrow.parquet as pq
    from varistar.lightcurves.store import Store
    from varistar.lightcurves.table import LightCurves

    folder, kill_at = sys.argv[1], int(sys.argv[2])
    n = 20
    ones = np.ones(10 * n, np.float32)
    columns = {"time": np.arange(10.0 * n), "flux": ones, "flux_err": ones}
    table = LightCurves(tuple(map(str, range(n))), np.arange(0, 10 * n + 1, 10), columns, "BTJD")
    calls = 0
    close = pq.ParquetWriter.close
    def die(self):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), 9)
        close(self)
    pq.ParquetWriter.close = die
    Store(folder).append(table, 50 * 16)
"""


def test_a_killed_writer_leaves_no_half_shard(store, tmp_path):
    """A process is killed in the middle of its second shard; the next one goes on and sweeps up."""
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    source = Path(store_module.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}

    def run(kill_at: int) -> int:
        return subprocess.run(
            [sys.executable, str(script), str(store.folder), str(kill_at)], env=environment, timeout=60, check=False
        ).returncode

    assert run(2) == -9
    assert [path.name for path in store.shards()] == ["part-00000.parquet"]
    assert len(list(store.folder.glob(".part-*.tmp"))) == 1
    assert len(stars_in(store)) == 5
    assert run(0) == 0
    assert not list(store.folder.glob(".part-*.tmp"))
    assert len(stars_in(store)) == 20
    assert store.index()["version"].unique().to_list() == [0]


def test_two_writers_do_not_meet(store, make_lightcurves, monkeypatch):
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.05)
    store.append(make_lightcurves([1]))
    with (
        FileLock(store.folder.parent / f".{store.folder.name}.lock"),
        pytest.raises(DataError, match="another process is writing to this store"),
    ):
        store.append(make_lightcurves([1], star_id=["y"]))
    assert len(store.append(make_lightcurves([1], star_id=["y"]))) == 1


def test_a_file_where_the_folder_should_be(tmp_path, make_lightcurves):
    (tmp_path / "stars").touch()
    with pytest.raises(DataError, match="stars: cannot be made a folder"):
        Store(tmp_path / "stars").append(make_lightcurves([1]))


def test_parts_can_be_sent_to_another_process(store, make_lightcurves, assert_same):
    import pickle

    store.append(make_lightcurves([3, 2, 1], seed=1))
    store.append(make_lightcurves([9], seed=2, star_id=["star 1"]))
    for part, direct in zip(store.parts(), store.iter_shards(), strict=True):
        assert_same(pickle.loads(pickle.dumps(part)).read(), direct)


def test_the_index_agrees_with_the_shards(store, make_lightcurves):
    store.append(make_lightcurves([3, 2, 1], seed=1), shard_bytes=1)
    for row in store.index().iter_rows(named=True):
        shard = read_shard(store.folder / row["shard"])
        assert shard.star_id[row["row"]] == row["star_id"]
        assert shard.n_points[row["row"]] == row["n_points"]
    assert store.index().schema["row"] == pl.Int64
