"""Shards: what is written is read, and nothing else is."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varistar.foundation.errors import DataError
from varistar.lightcurves import shards
from varistar.lightcurves.shards import latest_rows, read_rows, read_shard, shard_metadata, shard_rows, write_shard
from varistar.lightcurves.table import COLUMNS, REQUIRED, LightCurves

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
OPTIONAL = [name for name in COLUMNS if name not in REQUIRED]


@st.composite
def light_curves(draw):
    """Any table: stars of any name, also without points; values of any kind; any subset of the optional columns."""
    n = draw(st.lists(st.integers(0, 6), max_size=6))
    m = sum(n)
    ids = draw(st.lists(TEXT, min_size=len(n), max_size=len(n), unique=True))
    names = [*REQUIRED, *draw(st.lists(st.sampled_from(OPTIONAL), unique=True))]
    columns = {}
    for name in names:
        dtype = COLUMNS[name].dtype
        if dtype is np.str_:
            values = draw(st.lists(TEXT, min_size=m, max_size=m))
        elif dtype is np.int32:
            values = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=m, max_size=m))
        else:
            width = 64 if dtype is np.float64 else 32
            values = draw(st.lists(st.floats(width=width), min_size=m, max_size=m))
        columns[name] = np.array(values, dtype=dtype)
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
    system = draw(st.sampled_from(["MJD_UTC", "HJD-2400000.5", "BTJD", "BKJD"]))
    unit = draw(st.sampled_from(["mJy", "electron/s", "relative"]))
    return LightCurves(tuple(ids), offsets, columns, system, unit, draw(TEXT))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=light_curves())
def test_round_trip(tmp_path, assert_same, table):
    path = tmp_path / "part-00000.parquet"
    write_shard(path, table)
    assert_same(read_shard(path), table)


@pytest.mark.parametrize("bounds", [(2048, 16_000_000), (3, 16_000_000), (2048, 1), (2048, 700)])
def test_row_groups_do_not_change_the_content(make_lightcurves, assert_same, tmp_path, monkeypatch, bounds):
    monkeypatch.setattr(shards, "ROW_GROUP_STARS", bounds[0])
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", bounds[1])
    table = make_lightcurves([5, 0, 3, 0, 0, 12, 1, 1, 0], seed=3)
    path = tmp_path / "x.parquet"
    write_shard(path, table)
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 9 and max(sizes) <= bounds[0]
    assert len(sizes) == 1 if bounds == (2048, 16_000_000) else len(sizes) > 1
    assert_same(read_shard(path), table)
    for rows in ([8, 0, 5], [2], [], [5, 5, 1]):
        found, versions = read_rows(path, np.array(rows, dtype=np.int64))
        assert_same(found, table.take(rows))
        assert versions.tolist() == [0] * len(rows)


def test_arrays_are_writable_and_own_their_memory(make_lightcurves, tmp_path):
    """One array type for the kernels, whatever the number of row groups."""
    write_shard(tmp_path / "x.parquet", make_lightcurves([5, 5]))
    for values in read_shard(tmp_path / "x.parquet").columns.values():
        assert values.flags.writeable and values.flags.c_contiguous


def test_only_wanted_columns_are_read(make_lightcurves, tmp_path):
    path = tmp_path / "x.parquet"
    write_shard(path, make_lightcurves([5, 2]))
    assert set(read_shard(path, columns=[]).columns) == set(REQUIRED)
    assert set(read_shard(path, columns=["camera", "time"]).columns) == {*REQUIRED, "camera"}
    assert set(read_shard(path).columns) == set(COLUMNS)
    write_shard(path, make_lightcurves([5, 2], names=REQUIRED))
    with pytest.raises(DataError, match=r"x\.parquet: lacks the column 'camera'; it has time, flux, flux_err"):
        read_shard(path, columns=["camera"])
    with pytest.raises(DataError, match="lacks the column 'colour'"):
        read_shard(path, columns=["colour"])


@pytest.mark.parametrize("n", [[], [0], [0, 0, 0]])
def test_empty_shards(make_lightcurves, assert_same, tmp_path, n):
    table = make_lightcurves(n)
    write_shard(tmp_path / "x.parquet", table)
    assert_same(read_shard(tmp_path / "x.parquet"), table)
    assert shard_rows(tmp_path / "x.parquet").num_rows == len(n)


def test_the_latest_version_of_a_star_is_the_star(make_lightcurves, assert_same, tmp_path):
    table = make_lightcurves([3, 2, 4, 1, 2], star_id=["a", "b", "a", "c", "b"])
    write_shard(tmp_path / "x.parquet", table, np.array([1, 0, 0, 5, 0], dtype=np.int32))
    assert_same(read_shard(tmp_path / "x.parquet"), table.take([0, 3, 4]))
    everything, versions = read_rows(tmp_path / "x.parquet")
    assert_same(everything, table)
    assert versions.tolist() == [1, 0, 0, 5, 0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=20))
def test_latest_rows_against_a_loop(rows):
    best: dict[str, tuple[int, int]] = {}
    for row, (star, version) in enumerate(rows):
        best[star] = max(best.get(star, (-1, -1)), (version, row))
    expected = sorted(row for _, row in best.values())
    found = latest_rows([star for star, _ in rows], np.array([version for _, version in rows], dtype=np.int32))
    assert found.tolist() == expected


def test_equal_content_gives_equal_bytes(make_lightcurves, tmp_path):
    table = make_lightcurves([300, 0, 200], seed=4)
    again = make_lightcurves([300, 0, 200], seed=4)
    reordered = LightCurves(
        again.star_id, again.offsets, dict(reversed(again.columns.items())), "MJD_UTC", survey="test"
    )
    for name, content in (("a", table), ("b", again), ("c", reordered)):
        write_shard(tmp_path / name, content)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_stars_that_share_their_times_cost_little(make_lightcurves, tmp_path):
    """What keeps an embedded survey small: the times of a field are stored once, not once per star."""
    field = make_lightcurves([1000], names=REQUIRED, missing=0.0)
    rng = np.random.default_rng(0)
    stars = field.take([0] * 50)
    noise = rng.normal(size=50_000).astype(np.float32)
    stars = LightCurves(tuple(map(str, range(50))), stars.offsets, {**stars.columns, "flux": noise}, "MJD_UTC")
    write_shard(tmp_path / "x.parquet", stars)
    group = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0)
    sizes = {group.column(i).path_in_schema: group.column(i).total_compressed_size for i in range(group.num_columns)}
    assert sizes["time.list.element"] < 2 * 8 * 1000
    assert sizes["flux.list.element"] < 4 * 50_000


def test_other_software_can_read_a_shard(make_lightcurves, tmp_path):
    table = make_lightcurves([3, 0, 2], seed=5)
    write_shard(tmp_path / "x.parquet", table, 7)
    frame = pl.read_parquet(tmp_path / "x.parquet")
    assert frame["star_id"].to_list() == list(table.star_id)
    assert frame["version"].to_list() == [7, 7, 7]
    assert frame["n_points"].to_list() == [3, 0, 2]
    assert frame["camera"].to_list() == [table.star(i)["camera"].tolist() for i in range(3)]
    np.testing.assert_array_equal(frame["flux"].explode().drop_nulls(), table["flux"])


def test_metadata(make_lightcurves, tmp_path):
    table = make_lightcurves([1], time_system="BTJD", flux_unit="relative", survey="TESS")
    write_shard(tmp_path / "x.parquet", table)
    metadata = shard_metadata(tmp_path / "x.parquet")
    assert metadata == {"format": 1, "time_system": "BTJD", "flux_unit": "relative", "survey": "TESS"}


def test_a_shard_of_a_newer_format_is_refused(make_lightcurves, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "FORMAT", 2)
    write_shard(tmp_path / "x.parquet", make_lightcurves([1]))
    monkeypatch.undo()
    with pytest.raises(DataError, match="a shard of format 2, newer than the 1 known here"):
        read_shard(tmp_path / "x.parquet")


def test_missing_truncated_and_foreign_files(make_lightcurves, tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(DataError, match=r"x\.parquet: no such file"):
        read_shard(path)
    write_shard(path, make_lightcurves([500, 500], seed=6))
    content = path.read_bytes()
    for size in (0, 3, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"x\.parquet: truncated or damaged shard") as caught:
            read_shard(path)
        assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"time": [1.0]}), path)
    with pytest.raises(DataError, match=r"x\.parquet: a Parquet file, but no shard of light curves"):
        read_shard(path)


@pytest.mark.parametrize("column", ["time", "flux", "camera", "star_id"])
def test_a_damaged_page_is_noticed(make_lightcurves, tmp_path, column):
    path = tmp_path / "x.parquet"
    write_shard(path, make_lightcurves([500, 500], seed=6))
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith(column))
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 24] = b"\xff" * 24
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="truncated or damaged shard"):
        read_shard(path)


def test_lists_that_do_not_fit_are_noticed(make_lightcurves, tmp_path):
    path = tmp_path / "x.parquet"
    write_shard(path, make_lightcurves([2, 3], names=REQUIRED))
    table = pq.read_table(path)
    wrong = table.set_column(table.schema.get_field_index("flux"), table.schema.field("flux"), table["flux"][::-1])
    pq.write_table(wrong, path)
    with pytest.raises(DataError, match="the lists of 'flux' do not fit n_points"):
        read_shard(path)


def test_a_full_disk_leaves_the_file_of_before(make_lightcurves, assert_same, tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    before = make_lightcurves([4])
    write_shard(path, before)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match=r"x\.parquet: cannot be written: No space left on device"):
        write_shard(path, make_lightcurves([9]))
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]
    assert_same(read_shard(path), before)


def test_text_that_arrow_cuts_into_chunks(make_lightcurves, assert_same, tmp_path, monkeypatch):
    """Arrow makes several arrays of a long column of words (of 2^24 of them, or 2 GB); the file is the same."""
    table = make_lightcurves([5, 0, 9, 3], seed=8)
    words = {name: np.char.add(table[name], "-long") for name in ("camera", "band")}
    table = replace(table, columns=table.columns | words)
    write_shard(tmp_path / "one.parquet", table)
    to_arrow, cut = pa.array, []

    def chunked(values, *arguments, **named):
        array = to_arrow(values, *arguments, **named)
        if not (isinstance(values, np.ndarray) and values.dtype.kind == "U" and len(values) > 7):
            return array
        cut.append(len(array))
        return pa.chunked_array([array[:4], array[4:7], array[7:]])

    monkeypatch.setattr(pa, "array", chunked)
    write_shard(tmp_path / "several.parquet", table)
    monkeypatch.undo()
    assert cut == [17, 17]
    assert (tmp_path / "several.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert_same(read_shard(tmp_path / "several.parquet"), table)


def test_too_many_points_for_one_shard():
    huge = np.broadcast_to(np.float32(1.0), 2**31)
    columns = {"time": np.broadcast_to(1.0, 2**31), "flux": huge, "flux_err": huge}
    table = LightCurves(("x",), np.array([0, 2**31]), columns, "BTJD")
    with pytest.raises(DataError, match="2147483648 points do not fit in one shard"):
        write_shard("unused.parquet", table)


def test_metadata_is_json(make_lightcurves, tmp_path):
    write_shard(tmp_path / "x.parquet", make_lightcurves([1], survey="Sürvey ☆"))
    stored = pq.read_schema(tmp_path / "x.parquet").metadata[shards.METADATA_KEY]
    assert json.loads(stored)["survey"] == "Sürvey ☆"
