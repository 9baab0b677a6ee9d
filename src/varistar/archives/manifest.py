"""What was fetched into a folder: a line per file, appended when the file is whole and stands under its name.

Lines are only ever appended, so that a kill costs at most the line that is being written; a later line about the same
file for the same question counts.
"""

import errno
import json
import os
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from varistar.foundation.errors import DataError

from .transfer import file_digests

#: The part of a folder that readers of light curves leave out.
HIDDEN = ".fetched"
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest.

    Attributes
    ----------
    id, query : what was asked.
    n_files : how many files that question has for its answer; the id is complete when all are there.
    file, bytes, sha256, md5 : the file as it was stored.
    url : where it came from.
    fetched : when, UTC, ISO 8601.
    """

    id: str
    query: str
    n_files: int
    file: str
    bytes: int
    sha256: str
    md5: str
    url: str
    fetched: str


class Manifest:
    """The manifest of a folder; safe to use from several threads.

    Raises
    ------
    DataError
        When a line other than the last is not one of a manifest.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / HIDDEN / MANIFEST
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], dict[str, Entry]] = {}
        self._files: dict[str, Entry] = {}
        for entry in _read_lines(self._path):
            self._keep(entry)

    def is_complete(self, id: str, query: str) -> bool:
        """Whether every file of this answer stands there with the content that was fetched."""
        answer = self._answers.get((id, query), {})
        n_files = next(reversed(answer.values())).n_files if answer else -1
        return len(answer) == n_files and all(self._is_intact(entry) for entry in answer.values())

    def standing(self, file: str, url: str) -> Entry | None:
        """The entry of a file that came from this address, if it still stands there with the same content."""
        entry = self._files.get(file)
        return entry if entry and entry.url == url and self._is_intact(entry) else None

    def add(self, entry: Entry) -> None:
        """Append a line about a file that stands under its name."""
        line = json.dumps(asdict(entry)).encode() + b"\n"
        with self._lock:
            with self._path.open("ab", buffering=0) as file:
                before = file.tell()
                if file.write(line) < len(line):  # a full disk takes a part; another line must not follow on it
                    file.truncate(before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        answer = self._answers.setdefault((entry.id, entry.query), {})
        answer.pop(entry.file, None)  # the latest comes last
        answer[entry.file] = self._files[entry.file] = entry

    def _is_intact(self, entry: Entry) -> bool:
        # Another id or question may have stored other content under the name since.
        if self._files[entry.file].sha256 != entry.sha256:
            return False
        path = self.folder / entry.file
        return path.is_file() and path.stat().st_size == entry.bytes and file_digests(path)[0] == entry.sha256


def _read_lines(path: Path) -> list[Entry]:
    """The lines of a manifest; what a kill left of a last line is cut off, so that the next line starts anew."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = Entry(**json.loads(line))
            if any(not isinstance(getattr(entry, field.name), field.type) for field in fields(Entry)):  # type: ignore[arg-type]
                raise TypeError
            entries.append(entry)
        except (ValueError, TypeError):
            raise DataError(
                f"{path}: line {number}: not a line of a manifest; delete the line, and its file is fetched again"
            ) from None
    return entries
