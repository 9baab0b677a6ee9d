"""An archive on this machine: a server on loopback that gives recorded answers, and stumbles when it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from varistar.archives.transfer import Line, Manners

RECORDED = Path(__file__).parent / "recorded"


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    range: str
    body: bytes


class Reply(NamedTuple):
    """An answer; `sent` bytes of it, then the connection drops; with `stall` it stays open in silence instead."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}
    sent: int | None = None
    stall: bool = False


class Loopback:
    """The server: `answers` are tried in order, by a part of the path; `stumble` puts faults before them."""

    Reply = Reply

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.closing = threading.Event()
        self.stalled = threading.Event()
        self._faults: dict[str, list[Reply]] = {}
        self._lock = threading.Lock()

    def stumble(self, part: str, *faults: Reply) -> None:
        """The next answers to paths with this part."""
        self._faults[part] = list(faults)

    def count(self, part: str) -> int:
        """How many requests with this part in the path came."""
        return sum(part in request.path for request in self.asked)

    def reply_to(self, request: Asked) -> Reply:
        with self._lock:
            self.asked.append(request)
            for part, faults in self._faults.items():
                if part in request.path and faults:
                    return faults.pop(0)
        for part, answer in self.answers.items():
            if part in request.path:
                reply = answer(request) if callable(answer) else answer
                return _part_of(reply, request.range) if request.range else reply
        return Reply(b"no such page", 404)

    def recorded(self, name: str) -> Reply:
        """A recorded answer, whose links lead to this server."""
        text = (RECORDED / name).read_text(encoding="utf-8").replace("{server}", self.url)
        return Reply(text.encode(), headers={"Content-Type": "application/json"})

    def as_json(self, content: Any) -> Reply:
        return Reply(json.dumps(content).encode(), headers={"Content-Type": "application/json"})

    url = ""


def _part_of(reply: Reply, wanted: str) -> Reply:
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    size = len(reply.content)
    if start >= size:
        return Reply(b"", 416, {"Content-Range": f"bytes */{size}"})
    stated = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
    return Reply(reply.content[start:], 206, reply.headers | stated)


class _Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        server: Loopback = self.server.loopback  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = server.reply_to(Asked(self.command, self.path, self.headers.get("Range", ""), body))
        if reply.sent == 0 and not reply.stall:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content[: reply.sent])
        self.wfile.flush()
        if reply.stall:
            server.stalled.set()
            server.closing.wait(30)

    do_GET = do_POST = do_HEAD = _answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server on loopback that knows nothing yet."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    loopback = Loopback()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.loopback = loopback  # type: ignore[attr-defined]
    loopback.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield loopback
    loopback.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def quick() -> Manners:
    """Manners that cost a test no time."""
    return Manners(tries=4, first_wait=0.001, longest_wait=0.01, timeout=5, interval=0, jobs=3, losses=3)


@pytest.fixture
def naps() -> list[float]:
    """The waits [s] of `line`, none of which is waited for."""
    return []


@pytest.fixture
def line(naps: list[float]) -> Line:
    """A line with usual waits that are only noted down."""
    return Line(Manners(tries=5, timeout=5, interval=0), sleep=naps.append)
