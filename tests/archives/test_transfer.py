"""A fault that may pass is met with patience, any other at once; nothing is asked faster than was promised."""

import gzip
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests

from varistar.archives.transfer import Gone, Line, Manners, Passing, Refused, file_digests
from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate

CONTENT = np.random.default_rng(1).bytes(3_000_000)


def get(line: Line, url: str) -> bytes:
    return line.persist("the page", lambda _: line.session.get(url).content)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500},
        {"status": 429},
        {"status": 408},
        {"sent": 0},
        {"content": b"much", "sent": 2},
    ],
    ids=str,
)
def test_a_fault_that_may_pass(loopback: Any, line: Line, naps: list[float], fault: dict[str, Any]) -> None:
    loopback.answers["/page"] = loopback.Reply(b"here")
    loopback.stumble("/page", *[loopback.Reply(**fault)] * 3)
    assert get(line, f"{loopback.url}/page") == b"here"
    assert loopback.count("/page") == 4
    # 1, 2 and 4 s, each between its half and itself.
    assert len(naps) == 3
    for nap, longest in zip(naps, (1, 2, 4), strict=True):
        assert longest / 2 <= nap <= longest


def test_silence_is_a_fault_that_may_pass(loopback: Any, naps: list[float]) -> None:
    line = Line(Manners(timeout=0.1, interval=0), sleep=naps.append)
    loopback.answers["/page"] = loopback.Reply(b"here")
    loopback.stumble("/page", loopback.Reply(b"here", sent=0, stall=True), loopback.Reply(b"here", sent=2, stall=True))
    assert get(line, f"{loopback.url}/page") == b"here"
    assert len(naps) == 2


def test_every_request_has_the_time_limit(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of packages that run on the session and know no limits."""
    limits = []
    send = requests.adapters.HTTPAdapter.send

    def noted(self: Any, request: Any, **options: Any) -> Any:
        limits.append(options["timeout"])
        return send(self, request, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", noted)
    loopback.answers["/page"] = loopback.Reply(b"here")
    loopback.answers["/moved"] = loopback.Reply(status=301, headers={"Location": "/page"})
    session = Line(Manners(timeout=7.5, interval=0)).session
    session.get(f"{loopback.url}/moved")
    session.post(f"{loopback.url}/page", json={}, timeout=None)
    assert limits == [7.5, 7.5, 7.5]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_answer_that_will_not_change(loopback: Any, line: Line, naps: list[float], status: int) -> None:
    loopback.answers["/page"] = loopback.Reply(status=status)
    with pytest.raises(Refused, match=rf"^http://\S+/page: the server answers {status} "):
        get(line, f"{loopback.url}/page")
    assert loopback.count("/page") == 1 and naps == []


def test_an_address_that_is_none(line: Line, naps: list[float]) -> None:
    with pytest.raises(Refused, match=r"^the page: Invalid URL"):
        get(line, "nowhere")
    assert naps == []


def test_a_server_that_is_not_there(naps: list[float]) -> None:
    line = Line(Manners(tries=2, losses=2, interval=0), sleep=naps.append)
    with pytest.raises(Refused, match=r"^the page: the connection failed \(ConnectionError\), at try 2$"):
        get(line, "http://127.0.0.1:1/")
    with pytest.raises(Gone, match=r"^given up after 2 losses in a row, the last the page: .* run it again"):
        get(line, "http://127.0.0.1:1/")


def test_losses_count_in_a_row_only(naps: list[float]) -> None:
    line = Line(Manners(tries=1, losses=2), sleep=naps.append)

    def fail(_: int) -> None:
        raise Passing("busy")

    for _ in range(5):
        with pytest.raises(Refused):
            line.persist("it", fail)
        assert line.persist("it", lambda attempt: attempt) == 0


def test_the_server_says_when_to_come_back(loopback: Any, line: Line, naps: list[float]) -> None:
    loopback.answers["/page"] = loopback.Reply(b"here")
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    stated = ["30", soon, "in a while", "-5"]
    loopback.stumble("/page", *[loopback.Reply(status=429, headers={"Retry-After": words}) for words in stated])
    assert get(line, f"{loopback.url}/page") == b"here"
    assert naps[0] == 30
    assert 50 <= naps[1] <= 60
    assert 2 <= naps[2] <= 4 and 4 <= naps[3] <= 8


def test_a_wait_that_is_too_long(loopback: Any, line: Line, naps: list[float]) -> None:
    loopback.stumble("/page", loopback.Reply(status=503, headers={"Retry-After": "3600"}))
    with pytest.raises(Refused, match=r"503 Service Unavailable, at try 1; it asks to wait 3600 s$"):
        get(line, f"{loopback.url}/page")
    assert naps == []


def test_waits_are_those_of_the_seed_and_never_too_long() -> None:
    def waits(seed: int) -> list[float]:
        taken: list[float] = []
        line = Line(Manners(tries=12, first_wait=3, longest_wait=20), seed, taken.append)

        def fail(_: int) -> None:
            raise Passing("busy")

        with pytest.raises(Refused):
            line.persist("it", fail)
        return taken

    assert waits(5) == waits(5) != waits(6)
    assert len(waits(5)) == 11 and all(10 <= wait <= 20 for wait in waits(5)[3:])


def test_requests_of_all_threads_keep_the_pace(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only our sleep moves, and that has gone on by itself before the last request."""
    now, lock = [100.0], threading.Lock()
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        with lock:
            naps.append(seconds)
            now[0] += seconds

    monkeypatch.setattr("varistar.archives.transfer.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    loopback.answers["/page"] = loopback.Reply(b"here")
    line = Line(Manners(interval=2.0))
    threads = [threading.Thread(target=get, args=(line, f"{loopback.url}/page")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert naps == [0.0, 2.0, 2.0, 2.0]
    now[0] += 1.5
    get(line, f"{loopback.url}/page")
    assert naps[4] == 0.5


def download_through(line: Line, url: str, path: Path, resume: bool) -> None:
    line.persist("the file", lambda _: line.download(url, path, resume))


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("cuts", [(1_500_000,), (2_000_000, 500_000), (2_999_999,)])
def test_a_download_that_breaks_off(
    loopback: Any, line: Line, tmp_path: Path, resume: bool, cuts: Iterable[int]
) -> None:
    """With `resume` the second try asks for the rest only; every byte that reached the disk counts."""
    loopback.answers["/file"] = loopback.Reply(CONTENT)
    loopback.stumble("/file", loopback.Reply(CONTENT, sent=next(iter(cuts))))
    download_through(line, f"{loopback.url}/file", tmp_path / "file", resume)
    assert (tmp_path / "file").read_bytes() == CONTENT
    ranges = [request.range for request in loopback.asked]
    assert len(ranges) == 2 and ranges[0] == ""
    assert bool(ranges[1]) == (resume and next(iter(cuts)) >= 1 << 20)


def test_a_server_that_does_not_do_parts(loopback: Any, line: Line, tmp_path: Path) -> None:
    """It sends all of it, or another part, or refuses; the file is what it should be in each case."""
    path = tmp_path / "file"
    loopback.answers["/file"] = loopback.Reply(CONTENT)
    elsewhere = loopback.Reply(CONTENT[9:], 206, {"Content-Range": f"bytes 9-{len(CONTENT) - 1}/{len(CONTENT)}"})
    for fault in (loopback.Reply(CONTENT), elsewhere, loopback.Reply(status=416)):
        path.write_bytes(CONTENT[:1000])
        loopback.stumble("/file", fault)
        download_through(line, f"{loopback.url}/file", path, resume=True)
        assert path.read_bytes() == CONTENT
    path.write_bytes(CONTENT + b"more")
    download_through(line, f"{loopback.url}/file", path, resume=True)
    assert path.read_bytes() == CONTENT


def test_a_closed_line_waits_no_more() -> None:
    line = Line(Manners(first_wait=1000, longest_wait=1000))
    tries = []

    def fail(attempt: int) -> None:
        tries.append(attempt)
        line.close()
        raise Passing("busy")

    with pytest.raises(Refused):
        line.persist("it", fail)
    assert tries == [0]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    sha256, md5 = file_digests(tmp_path / "abc")  # the test vectors of FIPS 180-2 and RFC 1321
    assert sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert md5 == "900150983cd24fb0d6963f7d28e17f72"


def test_manners_that_are_none() -> None:
    with pytest.raises(ConfigError, match="'tries'"):
        validate(Manners, {"tries": 0}, "manners")


def test_what_is_packed_on_the_way_is_not_asked_for(loopback: Any, line: Line, tmp_path: Path) -> None:
    """A file that is itself gzipped arrives as it is."""
    packed = gzip.compress(b"points")
    loopback.answers["/file"] = loopback.Reply(packed)
    download_through(line, f"{loopback.url}/file", tmp_path / "file.gz", resume=True)
    assert (tmp_path / "file.gz").read_bytes() == packed
