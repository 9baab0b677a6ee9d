"""Asking a server for something until it answers, and no faster than is polite.

A fault that may pass (no connection, no answer in time, a busy or broken server, a damaged file) is met with
another try, after a wait that doubles and varies at random, or as long as the server asks for. Anything else is refused
at once.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import requests
from pydantic import Field

from varistar import __version__
from varistar.foundation.errors import DataError, VaristarError
from varistar.foundation.settings import Settings

Answer = TypeVar("Answer")

#: Answers of a server that another try may change, besides those from 500: timed out, too early, too many requests.
PASSING_STATUS = (408, 425, 429)

_CHUNK = 1 << 20


class Manners(Settings):
    """How to ask: patience with faults, and the load that is put on a server.

    Attributes
    ----------
    tries : how often one thing is asked for.
    first_wait, longest_wait : s; the wait doubles from the one up to the other.
    timeout : s without a sign of the server.
    interval : s between the starts of two requests, of all threads together.
    jobs : files under way at a time.
    losses : things in a row that could not be had before the server counts as gone.
    """

    tries: Annotated[int, Field(ge=1)] = 6
    first_wait: Annotated[float, Field(ge=0)] = 1.0
    longest_wait: Annotated[float, Field(ge=0)] = 120.0
    timeout: Annotated[float, Field(gt=0)] = 60.0
    interval: Annotated[float, Field(ge=0)] = 0.1
    jobs: Annotated[int, Field(ge=1, le=16)] = 4
    losses: Annotated[int, Field(ge=1)] = 3


class Passing(Exception):
    """A fault that may pass; `wait` [s] is what the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class Refused(DataError):
    """One thing that cannot be had, while others may."""


class Gone(DataError):
    """A server that answers nothing any more."""


class Line:
    """A line to a server: one `session` that keeps the manners, and `persist` for what may fail.

    Parameters
    ----------
    manners
    seed : of the random part of the waits.
    sleep : called with seconds; by default the wait ends early when the line is `close`d.
    """

    def __init__(self, manners: Manners | None = None, seed: int = 0, sleep: Callable[[float], object] | None = None):
        self.manners = manners or Manners()
        self.session = _Session(self.manners)
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._rng = np.random.default_rng(seed)
        self._lost = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """End every wait and every download that is under way in any thread."""
        self._closed.set()

    def persist(self, what: str, action: Callable[[int], Answer]) -> Answer:
        """Call `action` with 0, 1, ... until it raises neither `Passing` nor an error of a request that may pass.

        Parameters
        ----------
        what : names the thing in a message.

        Raises
        ------
        Refused
            When it cannot be had, or not after all tries.
        Gone
            When several things in a row could not be had after all tries.
        """
        for attempt in range(self.manners.tries):
            try:
                with _told_apart(what):
                    answer = action(attempt)
                with self._lock:
                    self._lost = 0
                return answer
            except Passing as fault:
                last, wait = fault, max(fault.wait, self._back_off(attempt))
            if attempt + 1 == self.manners.tries or last.wait > self.manners.longest_wait:
                break
            self._sleep(wait)
            if self._closed.is_set():
                break
        asked = f"; it asks to wait {last.wait:.0f} s" if last.wait > self.manners.longest_wait else ""
        raise self._loss(f"{what}: {last}, at try {attempt + 1}{asked}")

    def download(self, url: str, path: Path, resume: bool = False) -> None:
        """Download once into `path`; with `resume`, only what is not there yet, where the server can do that.

        Raises
        ------
        Passing
            When the line was closed meanwhile, or what is there does not fit.
        requests.RequestException
        """
        there = path.stat().st_size if resume and path.exists() else 0
        # Packed on the way, a part would not be a part of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        response = self.session.get(url, headers=headers, stream=True)
        goes_on = response.status_code == requests.codes.partial_content
        fits = response.headers.get("Content-Range", "").startswith(f"bytes {there}-") if goes_on else response.ok
        if not fits:
            response.close()
            path.unlink(missing_ok=True)
            raise Passing("the server has no part of the file that fits what came before")
        with response, path.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                if self._closed.is_set():
                    raise Passing("interrupted")

    def _back_off(self, attempt: int) -> float:
        """Seconds; the random half keeps many clients from coming back at the same moment."""
        with self._lock:
            spread = self._rng.uniform(0.5, 1.0)
        return min(self.manners.first_wait * 2.0**attempt, self.manners.longest_wait) * spread

    def _loss(self, reason: str) -> DataError:
        with self._lock:
            self._lost += 1
            if self._lost < self.manners.losses:
                return Refused(reason)
        return Gone(f"given up after {self._lost} losses in a row, the last {reason}; run it again to go on from here")


class _Session(requests.Session):
    """A session with a time limit and a pace, in which an answer that is an error is `Passing` or `Refused`."""

    def __init__(self, manners: Manners):
        super().__init__()
        self.headers["User-Agent"] = f"varistar/{__version__} {self.headers['User-Agent']}"
        self._manners = manners
        self._turn = threading.Lock()
        self._next = 0.0

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        with self._turn:  # who waits in here holds the others up
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self._manners.interval
        response = super().send(request, **options | {"timeout": self._manners.timeout})
        status = response.status_code
        # That a range cannot be had is for who asked for one.
        if response.ok or status == requests.codes.requested_range_not_satisfiable:
            return response
        response.close()
        reason = f"the server answers {status} {response.reason}"
        if status in PASSING_STATUS or status >= 500:
            raise Passing(reason, _retry_after(response))
        raise Refused(f"{request.url}: {reason}")


@contextmanager
def _told_apart(what: str) -> Iterator[None]:
    """Errors of a request as `Passing` or `Refused`."""
    try:
        yield
    except requests.Timeout:
        raise Passing("no answer in time") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise Passing(f"the connection failed ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Refused(f"{what}: {error}") from None


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait, stated as such or as a date; 0 when it states none that can be read."""
    stated = response.headers.get("Retry-After", "0")
    try:
        if stated.strip().isdigit():
            return float(stated)
        return max((parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return 0.0


@contextmanager
def garbage_passes() -> Iterator[None]:
    """Around a package that reads a server's answers: one that it cannot read is a fault that may pass.

    A server under repair often answers with a page, or with nothing, as if all were well.
    """
    try:
        yield
    except (VaristarError, Passing, requests.ConnectionError, requests.Timeout):
        raise
    except Exception as error:  # such packages have no common class for what they cannot read
        raise Passing(f"an answer that cannot be read ({type(error).__name__})") from None


def file_digests(path: Path) -> tuple[str, str]:
    """The SHA-256 and the MD5 of a file, in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()
