"""Files are whole or not there, whatever interrupts the writing, and a folder's hash is its names and bytes."""

import errno
import json
import math
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, atomic_path, folder_hash, read_json, write_json

Limit = Callable[[int], AbstractContextManager[None]]
TABLE = pl.DataFrame({"x": np.random.default_rng(0).random(20_000)})


def below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert below(tmp_path) == {"new/folder/a.txt": b"whole"}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("interruption", [ValueError("bug"), KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, interruption: BaseException) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(type(interruption)), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise interruption
    assert below(tmp_path) == {"a.txt": b"old"}


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(DataError) as error, atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(error.value) == f"{tmp_path / 'a.txt'}: cannot be written: No space left on device"
    assert below(tmp_path) == {"a.txt": b"old"}


WRITERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.write_text("x" * 50_000),
    "numpy": lambda path: np.save(path.open("wb"), np.zeros(10_000)),
    "polars Parquet": TABLE.write_parquet,
    "polars Parquet stream": lambda path: TABLE.lazy().sink_parquet(path),
    "polars CSV stream": lambda path: TABLE.lazy().sink_csv(path),
    "pyarrow Parquet": lambda path: pq.write_table(TABLE.to_arrow(), path),
    "safetensors": lambda path: save_file({"x": np.zeros(10_000)}, path),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writers_failure_on_a_full_disk_is_one_sentence(tmp_path: Path, small_disk: Limit, writer: str) -> None:
    (tmp_path / "a").write_text("old")
    with small_disk(4096), pytest.raises(DataError) as error, atomic_path(tmp_path / "a") as temporary:
        WRITERS[writer](temporary)
    assert str(error.value).startswith(f"{tmp_path / 'a'}: cannot be written: ")
    assert re.fullmatch(r"[^\n]*(File too large|requested and \d+ written)", str(error.value))  # NumPy counts
    assert below(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_a_place_that_cannot_be_written(tmp_path: Path, atomic: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(DataError, match=r"cannot be written: (Not a directory|File exists)"),
        atomic(tmp_path / "file" / "below"),
    ):
        raise AssertionError("nothing to write to")
    assert below(tmp_path) == {"file": b"in the way"}


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="a: cannot be written: Is a directory"), atomic_path(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_an_error_for_the_user_stays_what_it_is(tmp_path: Path) -> None:
    for atomic in (atomic_path, atomic_folder):
        with pytest.raises(DataError) as error, atomic(tmp_path / "a"):
            raise DataError("in.csv: truncated (os error 2)")
        assert str(error.value) == "in.csv: truncated (os error 2)"
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for content in ("first", "second"):
        with atomic_folder(folder) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / content).write_text(content)
    assert below(tmp_path) == {"set/sub/second": b"second"}
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("interruption", [ValueError("bug"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path, interruption: BaseException) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_text("old")
    expected = DataError if isinstance(interruption, OSError) else type(interruption)
    with pytest.raises(expected), atomic_folder(tmp_path / "set") as temporary:
        (temporary / "new").write_text("new")
        raise interruption
    assert below(tmp_path) == {"set/old": b"old"}


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DataError, match="set: cannot be written: Not a directory"), atomic_folder(tmp_path / "set"):
        raise AssertionError("nothing to write to")
    assert below(tmp_path) == {"set": b"mine"}


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk" / "set").mkdir(parents=True)
    (tmp_path / "disk" / "set" / "old").touch()
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    with atomic_folder(tmp_path / "set") as temporary:
        (temporary / "new").write_text("new")
    assert (tmp_path / "set").is_symlink()
    assert below(tmp_path) == {"disk/set/new": b"new"}
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["set"]


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_text("old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DataError, match="set: cannot be written: Input/output error"), atomic_folder(tmp_path / "set"):
        pass
    assert below(tmp_path) == {"set/old": b"old"}


def test_equal_json_gives_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": {"é": True}})
    write_json(tmp_path / "b.json", {"a": {"é": True}, "b": (1, 2.5, None)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and text.index('"a"') < text.index('"b"')
    assert read_json(tmp_path / "a.json") == {"a": {"é": True}, "b": [1, 2.5, None]} == json.loads(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_without_a_word_for_it_is_refused(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", {"score": 0.5})
    before = below(tmp_path)
    with pytest.raises(DataError, match=r"a\.json: cannot be written as JSON: .*not JSON compliant"):
        write_json(tmp_path / "a.json", {"score": value})
    assert below(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "not valid JSON"), (b"", "not valid JSON"), (b"\xff", "not valid JSON")]
)
def test_wrong_json(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json: {said}"):
        read_json(tmp_path / "a.json")


def test_json_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: no such file$"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


NAMES = st.from_regex(r"[ab]{1,2}(/[ab]{1,2})?", fullmatch=True)
FOLDERS = st.dictionaries(NAMES, st.binary(max_size=2), max_size=3).filter(
    lambda files: not any(name.split("/")[0] in files for name in files if "/" in name)
)


def write_all(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@given(FOLDERS, FOLDERS)
@example({"a/b": b"1"}, {"b/b": b"1"})
@example({"a": b"b", "b": b"a"}, {"a": b"a", "b": b"b"})
@example({"a": b"", "b": b""}, {"a": b""})
def test_folders_have_equal_hashes_where_names_and_bytes_are_equal(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    base = tmp_path_factory.mktemp("folders")
    hashes = [folder_hash(write_all(base / name, files)) for name, files in (("one", one), ("other", other))]
    assert (hashes[0] == hashes[1]) == (one == other)
    assert len(hashes[0]) == 64


def test_a_hash_knows_neither_order_nor_times_nor_modes(tmp_path: Path) -> None:
    files = {"b": b"1", "a": b"2", "sub/c": b"3"}
    first = write_all(tmp_path / "first", files)
    second = write_all(tmp_path / "second", dict(reversed(files.items())))
    os.utime(second / "a", (1, 1))
    (second / "b").chmod(0o600)
    (second / "empty").mkdir()
    assert folder_hash(first) == folder_hash(second)
    (second / "b").rename(second / "B")
    assert folder_hash(first) != folder_hash(second)
