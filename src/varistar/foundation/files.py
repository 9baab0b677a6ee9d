"""Files that are either whole or not there: atomic writes, and hashes of folders."""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import DataError, VaristarError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the final name, on failure it is removed.

    Raises
    ------
    DataError
        When the disk is full or the folder cannot be written.
    """
    with _in_one_sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; on success it replaces `path` as a whole.

    Raises
    ------
    DataError
        When the disk is full, `path` is a file, or its place cannot be written; what stood at `path` is still there.
    """
    with _in_one_sentence(path):
        place = path.resolve()  # a link to a folder stays one
        if place.is_file():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
        old = temporary.with_suffix(".old")
        try:
            yield temporary
            temporary.chmod(0o755)
            if place.exists():
                place.rename(old)
            temporary.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def link_file(source: Path, target: Path) -> None:
    """Give a finished file a second name, at no cost where the file system can; else copy it.

    Raises
    ------
    DataError
        When the target cannot be written.
    """
    with _in_one_sentence(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)


def require_replaceable(folder: Path, own: Callable[[Path], bool]) -> None:
    """Refuse a folder that holds something which is not ours to replace.

    Raises
    ------
    DataError
        When `own` does not hold for something in it.
    """
    foreign = sorted(path.name for path in folder.iterdir() if not own(path)) if folder.is_dir() else []
    if foreign:
        raise DataError(f"{folder}: would be replaced, but holds '{foreign[0]}'; name a folder of its own")


@contextmanager
def _in_one_sentence(path: Path) -> Iterator[None]:
    """What the operating system refuses, as an error for the user."""
    try:
        yield
    except VaristarError:
        raise
    except Exception as error:
        # Polars and safetensors raise classes of their own, but quote the number of the system's error.
        quoted = re.search(r"\(os error (\d+)\)", str(error))
        if not quoted and not isinstance(error, OSError):
            raise
        reason = os.strerror(int(quoted[1])) if quoted else getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be written: {reason}") from error


def write_json(path: Path, content: Any) -> None:
    """Write `content` as readable JSON with sorted keys, atomically, so that equal content gives equal bytes.

    Raises
    ------
    DataError
        When it holds NaN or infinity, which JSON has no word for, or the file cannot be written.
    """
    try:
        text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except ValueError as error:
        raise DataError(f"{path}: cannot be written as JSON: {error}") from None
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        When it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None


def folder_hash(folder: Path) -> str:
    """The SHA-256 of a folder's files, names and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
