"""A fetch is complete or says why not, whatever the archive, the disk and whoever kills it do on the way."""

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from filelock import FileLock

from varistar.archives.fetch import Fetched, Found, Product, fetch, read_ids
from varistar.archives.manifest import Manifest
from varistar.archives.transfer import Gone, Line, Manners, Refused
from varistar.foundation.errors import DataError


def content_of(id: str, size: int = 200_000) -> bytes:
    return np.random.default_rng([ord(letter) for letter in id]).bytes(size)


class Shelf:
    """An archive of two files per id, on a loopback server, which notes what it was asked."""

    def __init__(self, url: str, ids: Sequence[str], batch: int = 2, query: str = "all", stated: bool = True):
        self.url, self.ids, self.batch, self.query, self.stated = url, ids, batch, query, stated
        self.asked: list[list[str]] = []
        self.changed: dict[str, str] = {}

    def find(self, ids: Sequence[str], line: Line) -> Found:
        self.asked.append(list(ids))
        products = {id: [self.product(f"{id}{part}") for part in "12"] for id in ids if id in self.ids}
        return Found(products, {id: f"there is no {id}" for id in ids if id not in products})

    def product(self, name: str) -> Product:
        md5 = hashlib.md5(content_of(self.changed.get(name, name))).hexdigest() if self.stated else None
        return Product(f"{name}.bin", f"{self.url}/{name}.bin", size=200_000 if self.stated else None, md5=md5)


@pytest.fixture
def archive(loopback: Any) -> Any:
    """A server with the files of the ids a to f."""
    for name in (f"{id}{part}" for id in "abcdef" for part in "12"):
        loopback.answers[f"/{name}.bin"] = loopback.Reply(content_of(name))
    return loopback


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def expected(ids: str) -> dict[str, bytes]:
    return {f"{id}{part}.bin": content_of(f"{id}{part}") for id in ids for part in "12"}


def refused_in(folder: Path) -> dict[str, str]:
    return dict(pl.read_parquet(folder / ".fetched" / "refused.parquet").iter_rows())


def test_all_files_once(archive: Any, quick: Manners, tmp_path: Path) -> None:
    shelf = Shelf(archive.url, "abcdef")
    assert fetch(shelf, ["a", "b", "c", "a", "x"], tmp_path, Line(quick)) == Fetched(3, 0, {"x": "there is no x"})
    assert shelf.asked == [["a", "b"], ["c", "x"]]
    assert files_in(tmp_path) == expected("abc")
    assert refused_in(tmp_path) == {"x": "there is no x"}
    assert list((tmp_path / ".fetched" / "parts").iterdir()) == []
    assert fetch(shelf, ["a", "b", "c", "d"], tmp_path, Line(quick)) == Fetched(1, 3, {})
    assert shelf.asked[2:] == [["d"]]
    assert archive.count(".bin") == 8
    assert refused_in(tmp_path) == {}


def test_the_manifest_says_what_stands_there_and_where_from(archive: Any, quick: Manners, tmp_path: Path) -> None:
    fetch(Shelf(archive.url, "ab"), ["a", "b"], tmp_path, Line(quick))
    lines = [json.loads(line) for line in (tmp_path / ".fetched" / "manifest.jsonl").read_text().splitlines()]
    assert {line["file"] for line in lines} == set(expected("ab"))
    for line in lines:
        content = content_of(line["file"].removesuffix(".bin"))
        assert line["sha256"] == hashlib.sha256(content).hexdigest()
        assert line["md5"] == hashlib.md5(content).hexdigest()
        assert (line["bytes"], line["n_files"], line["query"]) == (200_000, 2, "all")
        assert line["url"] == f"{archive.url}/{line['file']}" and line["id"] == line["file"][0]
        assert line["fetched"].endswith("+00:00")


def test_a_file_that_was_harmed_or_lost_is_fetched_again(archive: Any, quick: Manners, tmp_path: Path) -> None:
    shelf = Shelf(archive.url, "abc")
    fetch(shelf, "abc", tmp_path, Line(quick))
    (tmp_path / "a2.bin").unlink()
    harmed = bytearray(content_of("c1"))
    harmed[77] ^= 1
    (tmp_path / "c1.bin").write_bytes(harmed)
    assert fetch(shelf, "abc", tmp_path, Line(quick)) == Fetched(2, 1, {})
    assert files_in(tmp_path) == expected("abc")
    assert sorted(request.path for request in archive.asked[6:]) == ["/a2.bin", "/c1.bin"]


def test_another_question_is_asked_but_a_file_not_sent_twice(archive: Any, quick: Manners, tmp_path: Path) -> None:
    """An id that is complete for one question need not be for another, which may have more files for its answer."""
    fetch(Shelf(archive.url, "ab", query="some"), "ab", tmp_path, Line(quick))
    shelf = Shelf(archive.url, "ab", query="all")
    assert fetch(shelf, "ab", tmp_path, Line(quick)) == Fetched(2, 0, {})
    assert shelf.asked == [["a", "b"]] and archive.count(".bin") == 4
    assert fetch(shelf, "ab", tmp_path, Line(quick)) == Fetched(0, 2, {})
    assert fetch(shelf, "ab", tmp_path, Line(quick), refresh=True) == Fetched(2, 0, {})
    assert archive.count(".bin") == 4


def test_a_file_that_the_archive_has_changed(archive: Any, quick: Manners, tmp_path: Path) -> None:
    """A new checksum at the same address is a new file."""
    shelf = Shelf(archive.url, "a")
    fetch(shelf, "a", tmp_path, Line(quick))
    archive.answers["/a1.bin"] = archive.Reply(content_of("new"))
    shelf.changed["a1"] = "new"
    assert fetch(shelf, "a", tmp_path, Line(quick), refresh=True) == Fetched(1, 0, {})
    assert files_in(tmp_path) == {"a1.bin": content_of("new"), "a2.bin": content_of("a2")}
    assert archive.count("a2.bin") == 1


def test_a_file_of_the_same_name_from_elsewhere(archive: Any, quick: Manners, tmp_path: Path) -> None:
    """Where nothing is stated about the content, another address may mean another content."""
    fetch(Shelf(archive.url, "a", query="old", stated=False), "a", tmp_path, Line(quick))
    archive.answers = {"/new/a1.bin": archive.Reply(b"new")} | archive.answers
    fetch(Shelf(f"{archive.url}/new", "a", stated=False), "a", tmp_path, Line(quick))
    assert files_in(tmp_path) == {"a1.bin": b"new", "a2.bin": content_of("a2")}
    assert archive.count("/new/") == 2


def test_faults_on_the_way(archive: Any, quick: Manners, tmp_path: Path) -> None:
    archive.stumble("/a1", archive.Reply(status=503), archive.Reply(content_of("a1"), sent=150_000))
    archive.stumble("/a2", archive.Reply(status=429, headers={"Retry-After": "0"}), archive.Reply(sent=0))
    archive.stumble("/b1", archive.Reply(b"<html>maintenance</html>"), archive.Reply(content_of("a1")))
    assert fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick)) == Fetched(2, 0, {})
    assert files_in(tmp_path) == expected("ab")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (content_of("a2"), r"a1\.bin: what came has the MD5 \w+, where \w+ was stated, at try 4$"),
        (b"short", r"a1\.bin: 5 bytes came, where 200000 were stated, at try 4$"),
    ],
)
def test_a_file_that_stays_damaged(archive: Any, quick: Manners, tmp_path: Path, wrong: bytes, reason: str) -> None:
    archive.answers["/a1.bin"] = archive.Reply(wrong)
    done = fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick))
    assert (done.n_new, list(done.refused)) == (1, ["a"])
    assert pl.Series([done.refused["a"]]).str.contains(reason).all(), done.refused
    assert archive.count("/a1") == 4
    assert set(files_in(tmp_path)) == {"a2.bin", "b1.bin", "b2.bin"}
    archive.answers["/a1.bin"] = archive.Reply(content_of("a1"))
    assert fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick)) == Fetched(1, 1, {})
    assert archive.count("/a2") == 1


def test_a_file_of_another_kind(loopback: Any, quick: Manners, tmp_path: Path) -> None:
    """A page that says sorry, with the status 200, is no FITS file."""
    loopback.answers["/a"] = loopback.Reply(b"SIMPLE  =")
    loopback.stumble("/a", loopback.Reply(b"sorry"))

    class One:
        query, batch = "one", 1

        def find(self, ids: Sequence[str], line: Line) -> Found:
            return Found({"a": [Product("a.fits", f"{loopback.url}/a", begins=b"SIMPLE")]}, {})

    assert fetch(One(), ["a"], tmp_path, Line(quick)).n_new == 1
    assert files_in(tmp_path) == {"a.fits": b"SIMPLE  ="}
    assert loopback.count("/a") == 2


@pytest.mark.parametrize("name", ["../escape", "sub/file", ".hidden", "/tmp/escape", ""])
def test_a_name_that_leads_elsewhere(loopback: Any, quick: Manners, tmp_path: Path, name: str) -> None:
    loopback.answers["/a"] = loopback.Reply(b"content")

    class One:
        query, batch = "one", 1

        def find(self, ids: Sequence[str], line: Line) -> Found:
            return Found({"a": [Product(name, f"{loopback.url}/a")]}, {})

    with pytest.raises(DataError, match="which is no plain name of a file"):
        fetch(One(), ["a"], tmp_path / "folder", Line(quick))
    assert files_in(tmp_path) == {} and loopback.asked == []


def test_a_question_that_is_refused(archive: Any, quick: Manners, tmp_path: Path) -> None:
    class Picky(Shelf):
        def find(self, ids: Sequence[str], line: Line) -> Found:
            if "b" in ids:
                raise Refused("not with b")
            return super().find(ids, line)

    done = fetch(Picky(archive.url, "abcd"), "abcd", tmp_path, Line(quick))
    assert done == Fetched(2, 0, {"a": "not with b", "b": "not with b"})
    with pytest.raises(DataError, match=r"^none of the 2 ids can be had, first not with b$"):
        fetch(Picky(archive.url, "abcd"), "ab", tmp_path, Line(quick))
    with pytest.raises(DataError, match=r"^there is no y$"):
        fetch(Picky(archive.url, "abcd"), "y", tmp_path, Line(quick))


def test_nothing_wanted(archive: Any, quick: Manners, tmp_path: Path) -> None:
    assert fetch(Shelf(archive.url, "a"), [], tmp_path, Line(quick)) == Fetched(0, 0, {})


def test_an_archive_that_goes_silent_ends_the_fetch(archive: Any, quick: Manners, tmp_path: Path) -> None:
    """What came before stays, the refused are written down, and the same command goes on from there."""
    for name in ("b1", "b2", "c1", "c2", "d1", "d2"):
        archive.stumble(f"/{name}", *[archive.Reply(status=502)] * 4)
    shelf, alone = Shelf(archive.url, "abcdef", batch=1), quick.model_copy(update={"jobs": 1})
    with pytest.raises(Gone, match="given up after 3 losses in a row"):
        fetch(shelf, "abcdef", tmp_path, Line(alone))
    assert shelf.asked == [["a"], ["b"], ["c"]]
    assert files_in(tmp_path) == expected("a")
    assert set(refused_in(tmp_path)) == {"b"}
    for name in ("b1", "b2", "c1", "c2", "d1", "d2"):
        archive.stumble(f"/{name}")
    assert fetch(shelf, "abcdef", tmp_path, Line(quick)) == Fetched(5, 1, {})
    assert files_in(tmp_path) == expected("abcdef")


def test_who_interrupts_waits_for_nobody(archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that waits for its next try is given up at once, without that try."""

    def interrupted(self: Manifest, entry: Any) -> None:
        while archive.count("/a2") == 0:
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "add", interrupted)
    archive.stumble("/a2", archive.Reply(status=503))
    patient = Manners(jobs=2, first_wait=20, longest_wait=20, interval=0)
    with pytest.raises(KeyboardInterrupt):
        fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(patient))
    assert archive.count("/a2") == 1


def test_two_fetches_into_one_folder(archive: Any, quick: Manners, tmp_path: Path) -> None:
    (tmp_path / ".fetched").mkdir()
    with (
        FileLock(tmp_path / ".fetched" / "lock"),
        pytest.raises(DataError, match="another fetch is at work in this folder"),
    ):
        fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(quick))


def test_a_full_disk(
    archive: Any, quick: Manners, tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(quick))
    with small_disk(100_000), pytest.raises(DataError, match="cannot be written: File too large"):
        fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick))
    assert files_in(tmp_path) == expected("a")
    assert fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick)) == Fetched(1, 1, {})
    assert files_in(tmp_path) == expected("ab")


def test_a_folder_that_is_a_file(archive: Any, quick: Manners, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(DataError, match="mine"):
        fetch(Shelf(archive.url, "a"), "a", tmp_path / "mine", Line(quick))
    assert (tmp_path / "mine").read_text() == "mine"


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_fetch import Shelf
from varistar.archives.fetch import fetch
from varistar.archives.transfer import Line, Manners
shelf = Shelf(sys.argv[1], "abc", stated=sys.argv[4] == "stated")
fetch(shelf, "abc", Path(sys.argv[2]), Line(Manners(jobs=1, interval=0, timeout=60)))
"""


@pytest.mark.parametrize("stated", ["stated", "unstated"])
def test_killed_between_files_and_in_the_middle_of_one(
    archive: Any, quick: Manners, tmp_path: Path, stated: str
) -> None:
    """The process dies by SIGKILL when three files are whole and 150 kB of the fourth have come."""
    archive.answers["/b2.bin"] = archive.Reply(content_of("b2"))
    archive.stumble("/b2.bin", archive.Reply(content_of("b2"), sent=150_000, stall=True))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, archive.url, str(tmp_path), str(Path(__file__).parent), stated]
    )
    assert archive.stalled.wait(60)
    part = tmp_path / ".fetched" / "parts" / "b2.bin"
    while not part.exists() and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert files_in(tmp_path) == {name: content for name, content in expected("ab").items() if name != "b2.bin"}
    assert content_of("b2").startswith(part.read_bytes())
    # As if more had reached the disk: what a download keeps back in memory is lost with its process.
    part.write_bytes(content_of("b2")[:150_000])

    before = len(archive.asked)
    shelf = Shelf(archive.url, "abc", stated=stated == "stated")
    assert fetch(shelf, "abc", tmp_path, Line(quick)) == Fetched(2, 1, {})
    assert files_in(tmp_path) == expected("abc")
    after = archive.asked[before:]
    assert {request.path for request in after} == {"/b2.bin", "/c1.bin", "/c2.bin"}
    # Without a checksum, what stands there might be of another version, so all of it is asked for again.
    ranges = [request.range for request in after if request.path == "/b2.bin"]
    assert ranges == (["bytes=150000-"] if stated == "stated" else [""])


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_around_the_line_of_a_file(
    archive: Any, quick: Manners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A file whose line is missing is fetched again; one that has its line is not."""
    add, added = Manifest.add, []

    def interrupted(self: Manifest, entry: Any) -> None:
        added.append(entry.file)
        if moment == "after" or len(added) < 3:
            add(self, entry)
        if len(added) >= 3:
            raise KeyboardInterrupt

    alone = Manners(jobs=1, interval=0)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Manifest, "add", interrupted)
        fetch(Shelf(archive.url, "abc"), "abc", tmp_path, Line(alone))
    assert added[:3] == ["a1.bin", "a2.bin", "b1.bin"]
    assert refused_in(tmp_path) == {}
    before = len(archive.asked)
    done = fetch(Shelf(archive.url, "abc"), "abc", tmp_path, Line(alone))
    assert done.n_new + done.n_known == 3 and done.n_known >= 1
    assert files_in(tmp_path) == expected("abc")
    again = [request.path for request in archive.asked[before:]]
    assert ("/b1.bin" in again) == (moment == "before") and "/a2.bin" not in again


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_files_come_side_by_side_but_never_more_than_allowed(archive: Any, tmp_path: Path, jobs: int) -> None:
    """The first files wait for each other, so that they come only if all jobs are at work at once."""
    under_way, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(jobs)

    def watched(request: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(20)
        with lock:
            under_way -= 1
        return archive.Reply(content_of(request.path[1:3]))

    archive.answers = {".bin": watched}
    shelf = Shelf(archive.url, "abcd", batch=4)
    assert fetch(shelf, "abcd", tmp_path, Line(Manners(jobs=jobs, interval=0))) == Fetched(4, 0, {})
    assert most == jobs and files_in(tmp_path) == expected("abcd")


def test_a_part_of_another_version_is_found_out(archive: Any, quick: Manners, tmp_path: Path) -> None:
    (tmp_path / ".fetched" / "parts").mkdir(parents=True)
    (tmp_path / ".fetched" / "parts" / "a1.bin").write_bytes(b"old" * 1000)
    (tmp_path / ".fetched" / "parts" / "a2.bin").write_bytes(content_of("a2"))
    assert fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(quick)) == Fetched(1, 0, {})
    assert files_in(tmp_path) == expected("a")
    assert [request.range for request in archive.asked] == ["bytes=3000-", ""]


def test_a_manifest_cut_anywhere_is_a_shorter_manifest(archive: Any, quick: Manners, tmp_path: Path) -> None:
    """Wherever a kill stops the writing, the lines before count, and the next line starts on its own."""
    fetch(Shelf(archive.url, "ab"), "ab", tmp_path, Line(quick))
    path = tmp_path / ".fetched" / "manifest.jsonl"
    whole = path.read_bytes()
    entry = Manifest(tmp_path).standing("a1.bin", f"{archive.url}/a1.bin")
    assert entry is not None
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        manifest = Manifest(tmp_path)
        n_lines = whole[:length].count(b"\n")
        assert sum(manifest.standing(name, f"{archive.url}/{name}") is not None for name in expected("ab")) == n_lines
        manifest.add(entry)
        lines = path.read_bytes().splitlines()
        assert len(lines) == n_lines + 1 and json.loads(lines[-1])["file"] == "a1.bin"


@pytest.mark.parametrize("wrong", ["{", "[]", "{}", '{"id": 5}', "\xff\xfe", ""])
def test_a_manifest_that_is_none(archive: Any, quick: Manners, tmp_path: Path, wrong: str) -> None:
    fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(quick))
    path = tmp_path / ".fetched" / "manifest.jsonl"
    first, second = path.read_text().splitlines()
    path.write_bytes("\n".join([first, wrong, second, ""]).encode("latin-1"))
    with pytest.raises(DataError, match=r"manifest\.jsonl: line 2: not a line of a manifest"):
        fetch(Shelf(archive.url, "a"), "a", tmp_path, Line(quick))


def test_ids_from_a_table(tmp_path: Path) -> None:
    """Nineteen digits stay exact, and zeros in front stay."""
    ids = ["5211052415435948544", "5211052415435948545", "007"]
    (tmp_path / "ids.csv").write_text("star,mag\n" + "".join(f" {id} ,1.5\n" for id in ids))
    assert read_ids(tmp_path / "ids.csv", "star") == ids
    (tmp_path / "one.csv").write_text("\n".join(["star", *ids]))
    assert read_ids(tmp_path / "one.csv") == ids
    pl.DataFrame({"star": [int(id) for id in ids]}).write_parquet(tmp_path / "ids.parquet")
    assert read_ids(tmp_path / "ids.parquet", "star") == [*ids[:2], "7"]


TABLES: Mapping[str, tuple[str | pl.DataFrame | None, str]] = {
    "gone.csv": (None, "no such file$"),
    "several.csv": ("star,mag\n1,2\n", "has several columns, so say which holds the ids; it has star, mag$"),
    "lacking.csv": ("star,mag\n1,2\n", "has no column 'id'; it has star, mag$"),
    "hole.csv": ("id,mag\n1,2\n,3\n", "row 2, column 'id': the id is missing$"),
    "floats.parquet": (pl.DataFrame({"id": [1.5]}), "column 'id' should hold words or whole numbers, not Float64$"),
    "text.parquet": ("id\n1\n", "cannot be read as CSV or Parquet: "),
    "empty.csv": ("", "cannot be read as CSV or Parquet: "),
}


@pytest.mark.parametrize("name", TABLES)
def test_ids_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    content, message = TABLES[name]
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        content.write_parquet(path)
    with pytest.raises(DataError, match=rf"{name}: {message}"):
        read_ids(path, None if name == "several.csv" else "id")
