"""A shard: light curves of many stars in one Parquet file, one row per star with list columns.

Beside the columns of the light curve a row has `star_id`, `version` and `n_points`; the file's metadata says survey,
time system and flux unit. Lists of numbers are kept flat on disk, so that reading gives the flat values and offsets of
a `LightCurves` without a Python loop over stars. No list or element is ever null: a missing number is NaN.

Encodings were chosen by measurement (ours). Measured numbers (`flux`, `mag`, their errors and limits) are split into
byte streams, which lets Zstandard find what their exponents have in common. Times are plain, in pages that hold many
stars: stars of one field share their times, and a repeat costs next to nothing. What takes few values is a dictionary.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path

from .table import COLUMNS, REQUIRED, LightCurves

#: Layout of the file; a reader refuses a newer one.
FORMAT = 1
METADATA_KEY = b"varistar"

#: Bounds of a row group, the piece that is read at once: stars, and bytes before compression.
ROW_GROUP_STARS = 2048
ROW_GROUP_BYTES = 16_000_000

_PAGE_BYTES = 8_000_000
_COMPRESSION_LEVEL = 3
_BYTE_STREAMS = ("flux", "flux_err", "mag", "mag_err", "limit")
_DICTIONARIES = ("fwhm", "camera", "band", "quality")
_ROW_COLUMNS = ("star_id", "version", "n_points")
_TEXT = tuple(name for name, column in COLUMNS.items() if column.dtype is np.str_)


def write_shard(path: Path, lightcurves: LightCurves, version: int | NDArray[np.int32] = 0) -> None:
    """Write light curves as one file, atomically; equal content gives equal bytes.

    Parameters
    ----------
    path
        The file; a file of this name is replaced.
    lightcurves
        Any number of stars, also none; a star may have no points.
    version : int, or int array of shape (n,)
        Version of all rows, or of each.

    Raises
    ------
    DataError
        When the file cannot be written; then there is no file, or the one of before.
    """
    table = _to_arrow(lightcurves, np.broadcast_to(np.int32(version), len(lightcurves)))
    paths = {name: f"{name}.list.element" for name in lightcurves.columns}
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            table.schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            data_page_size=_PAGE_BYTES,
            use_dictionary=[paths[name] for name in _DICTIONARIES if name in paths],
            use_byte_stream_split=[paths[name] for name in _BYTE_STREAMS if name in paths],
        ) as writer,
    ):
        for start, stop in _row_groups(lightcurves):
            writer.write_table(table.slice(start, stop - start), row_group_size=stop - start)


def read_shard(path: Path, columns: Sequence[str] | None = None) -> LightCurves:
    """Read a shard; of a star with several versions, the latest.

    Parameters
    ----------
    path
        The file.
    columns
        Columns wanted beside `time`, `flux` and `flux_err`; all by default.

    Raises
    ------
    DataError
        When the file is missing, truncated, no shard, or lacks a column.
    """
    lightcurves, versions = read_rows(path, columns=columns)
    latest = latest_rows(lightcurves.star_id, versions)
    return lightcurves if len(latest) == len(lightcurves) else lightcurves.take(latest)


def read_rows(
    path: Path, rows: NDArray[np.int64] | None = None, columns: Sequence[str] | None = None
) -> tuple[LightCurves, NDArray[np.int32]]:
    """Read rows of a shard as they stand: every version, in the order of `rows` (all by default).

    Only the row groups in which these rows stand are read.

    Returns
    -------
    LightCurves and the versions of its stars, shape (n,)
    """
    file, metadata = _open(path)
    present = [name for name in COLUMNS if name in file.schema_arrow.names]
    wanted = present if columns is None else [name for name in COLUMNS if name in {*REQUIRED, *columns}]
    if unknown := [name for name in (*REQUIRED, *(columns or ())) if name not in present]:
        raise DataError(f"{path}: lacks the column '{unknown[0]}'; it has {', '.join(present)}")
    groups, position = _groups_of(file, rows)
    try:
        parts = [file.read_row_group(group, columns=[*_ROW_COLUMNS, *wanted]) for group in groups]
        lightcurves, versions = _from_arrow(parts, wanted, metadata)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if position is None:
        return lightcurves, versions
    return lightcurves.take(position), versions[position]


def shard_rows(path: Path) -> pa.Table:
    """`star_id`, `version` and `n_points` of every row of a shard."""
    file, _ = _open(path)
    try:
        return file.read(columns=list(_ROW_COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def shard_metadata(path: Path) -> dict[str, str]:
    """Survey, time system and flux unit of a shard."""
    return _open(path)[1]


def is_shard(metadata: dict[bytes, bytes]) -> bool:
    """Whether a Parquet file with this metadata is a shard."""
    return METADATA_KEY in metadata


def latest_rows(star_id: Sequence[str], versions: NDArray[np.int32]) -> NDArray[np.int64]:
    """The rows, in rising order, that hold the latest version of their star; of equal versions the last row."""
    star = pa.array(star_id, type=pa.string()).dictionary_encode().indices.to_numpy()
    order = np.lexsort((versions, star))
    last_of_star = np.diff(star[order], append=-1) != 0
    return np.sort(order[last_of_star])


def point_bytes(lightcurves: LightCurves) -> int:
    """The bytes of one point before compression; a word counts as one byte, for it is a dictionary's index."""
    return sum(1 if name in _TEXT else values.dtype.itemsize for name, values in lightcurves.columns.items())


def _to_arrow(lightcurves: LightCurves, versions: NDArray[np.int32]) -> pa.Table:
    """The rows of a shard."""
    if int(lightcurves.offsets[-1]) > np.iinfo(np.int32).max:
        raise DataError(f"{int(lightcurves.offsets[-1])} points do not fit in one shard; write them as several")
    offsets = pa.array(lightcurves.offsets.astype(np.int32))
    arrays = [
        pa.array(lightcurves.star_id, type=pa.string()),
        pa.array(np.ascontiguousarray(versions), type=pa.int32()),
        pa.array(lightcurves.n_points.astype(np.int32)),
    ]
    fields = [pa.field(name, array.type, False) for name, array in zip(_ROW_COLUMNS, arrays, strict=True)]
    for name in (name for name in COLUMNS if name in lightcurves.columns):
        plain: NDArray = lightcurves[name].astype(COLUMNS[name].dtype, copy=False)
        values = _text(plain) if name in _TEXT else pa.array(plain)
        kind = pa.list_(pa.field("element", values.type, nullable=False))
        arrays.append(pa.ListArray.from_arrays(offsets, values, type=kind))
        fields.append(pa.field(name, kind, nullable=False))
    content = {
        "format": FORMAT,
        "survey": lightcurves.survey,
        "time_system": lightcurves.time_system,
        "flux_unit": lightcurves.flux_unit,
    }
    metadata = {METADATA_KEY: json.dumps(content, sort_keys=True).encode()}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _text(words: NDArray[np.str_]) -> pa.Array:
    """Words as Arrow has them. Codes of one or two letters are told apart as numbers, ten times as fast as as text."""
    if words.dtype.itemsize in (4, 8):
        found = pa.array(np.ascontiguousarray(words).view(f"u{words.dtype.itemsize}")).dictionary_encode()
        different = pa.array(found.dictionary.to_numpy().view(words.dtype), type=pa.string())
        return pa.DictionaryArray.from_arrays(found.indices, different).dictionary_decode()
    values = pa.array(words, type=pa.string())
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _row_groups(lightcurves: LightCurves) -> Iterator[tuple[int, int]]:
    """First and last-but-one star of each row group: as many as its bounds allow, and at least one."""
    points = max(1, ROW_GROUP_BYTES // point_bytes(lightcurves))
    start = 0
    while start < len(lightcurves):
        fitting = int(np.searchsorted(lightcurves.offsets, lightcurves.offsets[start] + points, side="right")) - 1
        stop = min(max(fitting, start + 1), start + ROW_GROUP_STARS, len(lightcurves))
        yield start, stop
        start = stop


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """A shard's file and what its metadata says."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    metadata = file.schema_arrow.metadata or {}
    if not is_shard(metadata):
        raise DataError(f"{path}: a Parquet file, but no shard of light curves")
    content = json.loads(metadata[METADATA_KEY])
    if content["format"] > FORMAT:
        raise DataError(f"{path}: a shard of format {content['format']}, newer than the {FORMAT} known here")
    words = [f"{name}.list.element" for name in _TEXT if name in file.schema_arrow.names]
    return pq.ParquetFile(path, metadata=file.metadata, read_dictionary=words), content


def _groups_of(file: pq.ParquetFile, rows: NDArray[np.int64] | None) -> tuple[list[int], NDArray[np.int64] | None]:
    """The row groups that hold `rows`, and the position of each row among all rows of these groups."""
    sizes = np.array([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)], dtype=np.int64)
    if rows is None:
        return list(range(len(sizes))), None
    ends = np.cumsum(sizes)
    owner = np.searchsorted(ends, rows, side="right")
    groups = np.unique(owner)
    first = ends - sizes
    first_among_read = np.zeros(len(sizes), dtype=np.int64)
    first_among_read[groups] = np.cumsum(sizes[groups]) - sizes[groups]
    return groups.tolist(), rows - first[owner] + first_among_read[owner]


def _from_arrow(
    parts: list[pa.Table], names: Sequence[str], metadata: dict[str, Any]
) -> tuple[LightCurves, NDArray[np.int32]]:
    """Row groups as one table; every array is fresh and writable, filled with one copy."""
    star_id = tuple(star for part in parts for star in part["star_id"].to_pylist())
    versions = np.concatenate([np.empty(0, np.int32), *(part["version"].to_numpy() for part in parts)])
    counts = np.concatenate([np.empty(0, np.int64), *(part["n_points"].to_numpy() for part in parts)])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = {}
    for name in names:
        lists = [chunk for part in parts for chunk in part[name].chunks]
        lengths = np.concatenate([np.empty(0, np.int64), *(np.diff(chunk.offsets.to_numpy()) for chunk in lists)])
        if not np.array_equal(lengths, counts):
            raise ValueError(f"the lists of '{name}' do not fit n_points")
        columns[name] = _flat(name, [chunk.flatten() for chunk in lists], int(offsets[-1]))
    kept = {key: metadata[key] for key in ("time_system", "flux_unit", "survey")}
    return LightCurves(star_id, offsets, columns, **kept), versions


def _flat(name: str, pieces: list[pa.Array], points: int) -> NDArray:
    """The values of a column in one array."""
    if name in _TEXT:
        words = [np.array(piece.dictionary.to_pylist(), np.str_)[piece.indices.to_numpy()] for piece in pieces]
        return np.concatenate([np.empty(0, "U1"), *words])
    flat: NDArray = np.empty(points, COLUMNS[name].dtype)
    start = 0
    for piece in pieces:
        flat[start : start + len(piece)] = piece.to_numpy()
        start += len(piece)
    return flat


def _damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that is not what it was when it was written."""
    return DataError(f"{path}: truncated or damaged shard: {(str(error).splitlines() or ['no content'])[0]}")
