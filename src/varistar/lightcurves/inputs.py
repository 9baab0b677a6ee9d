"""An input file, opened: named columns of numbers and words, whatever kind of file they stand in.

A reader asks a `FileTable` for `numbers("mag")` or `words("camera")` and does not care whether that was text, Parquet
or ECSV. What goes wrong on the way is a `DataError` that names the file, and the line and column where they are known.
"""

import codecs
import gzip
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

from .text import TextTable, listed


class FileTable(Protocol):
    """A table in a file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns, as the file writes them."""

    def numbers(self, name: str, limits: bool = False) -> NDArray[np.float64]:
        """A column of numbers, NaN where a cell is empty; with `limits`, also where a cell is a limit such as `>16.6`.

        Raises
        ------
        DataError
            When there is no such column, or a cell is no number.
        """

    def words(self, name: str) -> NDArray[np.str_]:
        """A column of words without blanks around them; whole numbers are words too."""

    def unit(self, name: str) -> str | None:
        """The unit that the file states for a column."""

    def where(self, row: int) -> str:
        """The place of a point in the file, for a message."""


@dataclass(frozen=True)
class FitsFile:
    """A FITS file that has not been looked into."""

    path: Path
    content: bytes


def open_input(path: Path) -> FileTable | FitsFile:
    """Open a light-curve file and tell its kind from its content; a gzipped file is unpacked first.

    Raises
    ------
    DataError
        When the file is missing, a folder, empty, damaged, or of no kind known here.
    """
    content = _content(path)
    if content[:4] == b"PAR1":
        return ParquetTable(path, content)
    if content[:6] == b"SIMPLE":
        return FitsFile(path, content)
    text = _text(path, content)
    if text.startswith("# %ECSV"):
        return EcsvTable(path, text)
    return TextTable.parse(path, text)


def expand_inputs(paths: Iterable[Path]) -> list[Path]:
    """The files that `paths` mean: a file is itself, a folder all files below it, in the order of their names.

    Hidden files and folders are left out. A file is not opened: one that holds no light curve is refused by `read`.

    Raises
    ------
    DataError
        When a path does not exist.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            hidden = path.is_dir() and any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not hidden:
                files[file] = None
    return list(files)


def file_stem(path: Path) -> str:
    """The name of a file without `.gz` and without one further suffix."""
    return Path(path.name.removesuffix(".gz")).stem


def require(table: FileTable, names: Sequence[str]) -> None:
    """Check that a table has these columns.

    Raises
    ------
    DataError
        That names the first column which is missing, and those that are there.
    """
    if missing := [name for name in names if name not in table.names]:
        raise DataError(f"{table.path}: lacks the column '{missing[0]}'; it has {listed(table.names)}")


@dataclass(frozen=True)
class ParquetTable:
    """The columns of a Parquet file with one point per row."""

    path: Path
    content: bytes

    @cached_property
    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(pa.BufferReader(self.content))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.path}: truncated or damaged Parquet: {_first_line(error)}") from None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._file.schema_arrow.names)

    @property
    def metadata(self) -> dict[bytes, bytes]:
        return self._file.schema_arrow.metadata or {}

    def numbers(self, name: str, limits: bool = False) -> NDArray[np.float64]:
        column = self._column(name)
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            cells = column.to_pylist()
            known = [None if cell is None or (limits and cell.lstrip().startswith(">")) else cell for cell in cells]
            return _floats(self.path, name, known)
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise DataError(f"{self.path}: column '{name}' should hold numbers, not {kind}")
        return np.array(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), dtype=np.float64)

    def words(self, name: str) -> NDArray[np.str_]:
        column = self._column(name)
        if pa.types.is_nested(column.type):
            raise DataError(f"{self.path}: column '{name}' should hold words, not {column.type}")
        text = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))
        codes = text.combine_chunks().dictionary_encode() if len(text) else None
        if codes is None:
            return np.empty(0, dtype="U1")
        return np.array(codes.dictionary.to_pylist(), dtype=np.str_)[codes.indices.to_numpy()]

    def unit(self, name: str) -> str | None:
        metadata = self._file.schema_arrow.field(name).metadata or {}
        stated = metadata.get(b"unit")
        return stated.decode() if stated else None

    def where(self, row: int) -> str:
        return f"row {row + 1}"

    def _column(self, name: str) -> pa.ChunkedArray:
        require(self, [name])
        try:
            return self._file.read(columns=[name])[name]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: column '{name}' is damaged: {_first_line(error)}") from None


@dataclass(frozen=True)
class EcsvTable:
    """The columns of an ECSV file, astropy's text format that states units."""

    path: Path
    text: str

    @cached_property
    def _table(self) -> Any:
        from astropy.table import Table

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Table.read(self.text, format="ascii.ecsv")
        except Exception as error:  # the parser has no common class for what it cannot read
            raise DataError(f"{self.path}: damaged ECSV: {_first_line(error)}") from None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._table.colnames)

    def numbers(self, name: str, limits: bool = False) -> NDArray[np.float64]:
        values = self._values(name)
        if values.dtype.kind in "iufb":
            return values.astype(np.float64)
        cells = [str(cell).strip() for cell in values]
        return _floats(self.path, name, [None if limits and cell.startswith(">") else cell for cell in cells])

    def words(self, name: str) -> NDArray[np.str_]:
        return np.char.strip(self._values(name).astype(np.str_))

    def unit(self, name: str) -> str | None:
        require(self, [name])
        unit = getattr(self._table[name], "unit", None)
        return None if unit is None else str(unit)

    def where(self, row: int) -> str:
        return f"row {row + 1}"

    def _values(self, name: str) -> NDArray:
        require(self, [name])
        column: Any = self._table[name]
        if hasattr(column, "jd1"):  # astropy's Time: the Julian date in the scale that it states
            return np.asarray(column.jd, dtype=np.float64)
        masked = np.ma.isMaskedArray(column)
        if masked and column.dtype.kind in "iuf":
            return np.asarray(column.astype(np.float64).filled(np.nan))
        return np.asarray(column.filled("") if masked else column)


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked where they are gzipped."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if not path.is_file():
        raise DataError(f"{path}: a folder or device, where one light-curve file was expected")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: truncated or damaged gzip file: {_first_line(error)}") from None
    if not content or content.isspace():
        raise DataError(f"{path}: the file is empty")
    return content


def _text(path: Path, content: bytes) -> str:
    """The text that a file holds; UTF-8, with or without a byte-order mark."""
    try:
        text = codecs.decode(content, "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{path}: neither FITS, Parquet nor UTF-8 text, so not a light curve that can be read")
    return text


def _floats(path: Path, name: str, cells: Sequence[str | None]) -> NDArray[np.float64]:
    """Numbers out of words, NaN for None and for an empty word."""
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell:
            try:
                values[row] = float(cell)
            except ValueError:
                raise DataError(f"{path}: row {row + 1}, column '{name}': expected a number, got '{cell}'") from None
    return values


def _first_line(error: Exception) -> str:
    """What an exception says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
