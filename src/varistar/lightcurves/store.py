"""A store: a folder of shards, `part-00000.parquet` and on, to which stars and new epochs of stars are added.

A shard is never changed once it is written, so that what was computed from it stays valid. New epochs of a known star
make a new row, with its whole light curve and the next version number; the latest version is the star. What ends
half-way leaves whole shards and no half one, and is simply run again: a star that is already there is not written
twice.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

from .assemble import count_per_star
from .shards import point_bytes, read_rows, shard_metadata, shard_rows, write_shard
from .table import LightCurves, concatenate

#: Largest size of a shard, in bytes of its columns before compression; and below which a set is not cut.
SHARD_BYTES, SMALLEST_SHARD_BYTES = 128_000_000, 1_000_000

#: A set is cut into at least this many shards, so that several workers share it.
SHARDS_PER_SET = 16

#: Tables that stand beside shards: points lost to cuts, files refused, and what is true of simulated stars.
REPORTS = LOSSES, REFUSED, TRUTH = "losses.parquet", "refused.parquet", "truth.parquet"

_LOCK_SECONDS = 10.0

_NO_ROWS = pl.DataFrame(
    schema={"star_id": pl.String, "shard": pl.String, "row": pl.Int64, "version": pl.Int32, "n_points": pl.Int32}
)


def shard_bytes_for(set_bytes: int) -> int:
    """The shard size for a set of known size: 128 MB, or a sixteenth of the set, but at least 1 MB."""
    return max(SMALLEST_SHARD_BYTES, min(SHARD_BYTES, math.ceil(set_bytes / SHARDS_PER_SET)))


@dataclass(frozen=True)
class Part:
    """One shard of a store, with the rows of it that no later version replaces; it can be sent to another process.

    Attributes
    ----------
    path
    rows : int64 array, or None where all rows hold
    """

    path: Path
    rows: NDArray[np.int64] | None

    def read(self, columns: Sequence[str] | None = None) -> LightCurves:
        """The stars of this shard; see `read_shard`."""
        return read_rows(self.path, self.rows, columns)[0]


class Store:
    """The shards in a folder.

    Parameters
    ----------
    folder
        The folder; it is made by the first `append`.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def shards(self) -> list[Path]:
        """The shards in the order in which they were written."""
        found = (path for path in self.folder.glob("part-*.parquet") if _number_of(path) is not None)
        return sorted(found, key=lambda path: _number_of(path) or 0)

    def append(self, lightcurves: LightCurves, shard_bytes: int = SHARD_BYTES) -> list[Path]:
        """Add stars, or new versions of known stars; returns the shards written. See `extend`."""
        return self.extend([lightcurves], shard_bytes)

    def extend(self, parts: Iterable[LightCurves], shard_bytes: int = SHARD_BYTES) -> list[Path]:
        """Add the stars of all parts, which need not fit in memory together.

        A new star has version 0, a known one the version after its latest. A star whose light curve equals its
        latest version is passed over: what was interrupted can be run again.

        Parameters
        ----------
        parts
            Light curves of one survey, time system and flux unit, the store's own if it has any.
        shard_bytes
            Size of a shard in bytes before compression; `shard_bytes_for` gives it for a set of known size.

        Returns
        -------
        list of Path
            The shards written.

        Raises
        ------
        DataError
            When the parts do not fit together or do not fit the store, a star comes twice, another process is
            writing, or the disk is full. The shards before stay, whole.
        """
        written: list[Path] = []
        with self._writing():
            known = self.index()
            for batch in _batches(self._checked(parts), shard_bytes):
                news, versions = self._news(batch, known)
                if len(news):
                    written.append(self._next_path())
                    write_shard(written[-1], news, versions)
        return written

    def index(self) -> pl.DataFrame:
        """Where the latest version of each star stands.

        Returns
        -------
        pl.DataFrame
            `star_id`, `shard` (the file's name), `row` in it, `version` and `n_points`, one row per star, in the
            order of shards and rows.
        """
        return _latest(self._every_row())

    def parts(self) -> list[Part]:
        """The shards with their rows that hold, without the shards in which none does."""
        return _holding(self.folder, self._every_row())

    def iter_shards(self, columns: Sequence[str] | None = None) -> Iterator[LightCurves]:
        """The light curves shard by shard, each star once, in its latest version.

        Parameters
        ----------
        columns
            Columns wanted beside `time`, `flux` and `flux_err`; all by default.
        """
        for part in self.parts():
            yield part.read(columns)

    def read_stars(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> LightCurves:
        """The latest light curves of these stars, in this order.

        Raises
        ------
        DataError
            When a star is not in the store, or the store is empty.
        """
        if not self.shards():
            raise DataError(f"{self.folder}: holds no light curves")
        index = self.index()
        asked = pl.DataFrame({"star_id": pl.Series(ids, dtype=pl.String)})
        found = asked.join(index, on="star_id", how="left", maintain_order="left")
        if (missing := found.filter(pl.col("shard").is_null())).height:
            raise DataError(f"{self.folder}: has no star '{missing['star_id'][0]}'")
        return self._rows(found, columns)

    def _every_row(self) -> pl.DataFrame:
        """The columns of `index` for every row of every shard."""
        return pl.concat([_NO_ROWS, *(_rows_of(path) for path in self.shards())])

    def _rows(self, places: pl.DataFrame, columns: Sequence[str] | None = None) -> LightCurves:
        """The light curves at these places (`shard`, `row`), in their order."""
        shards = places["shard"].unique(maintain_order=True).to_list()
        pieces, origin = [], []
        for shard in shards:
            here = np.flatnonzero((places["shard"] == shard).to_numpy())
            pieces.append(read_rows(self.folder / shard, places["row"].to_numpy()[here], columns)[0])
            origin.append(here)
        if not pieces:
            return read_rows(self.shards()[0], np.empty(0, dtype=np.int64), columns)[0]
        joined = concatenate(pieces)
        back = np.argsort(np.concatenate(origin))
        return joined if (np.diff(back) == 1).all() else joined.take(back)

    def _checked(self, parts: Iterable[LightCurves]) -> Iterator[LightCurves]:
        """The parts, held against the store and against the parts before them."""
        shards = self.shards()
        standard = shard_metadata(shards[0]) if shards else None
        seen: set[str] = set()
        for part in parts:
            own = {"survey": part.survey, "time_system": part.time_system, "flux_unit": part.flux_unit}
            standard = standard or own
            for key, value in own.items():
                if standard[key] != value:
                    raise DataError(
                        f"{self.folder}: holds light curves of {key} '{standard[key]}', so not of '{value}'"
                    )
            for star in part.star_id:
                if star in seen:
                    raise DataError(f"{self.folder}: star '{star}' comes twice in one addition; merge its parts first")
                seen.add(star)
            yield part

    def _news(self, batch: LightCurves, known: pl.DataFrame) -> tuple[LightCurves, NDArray[np.int32]]:
        """The stars of a batch that the store lacks in this form, and their versions."""
        stars = pl.DataFrame({"star_id": pl.Series(batch.star_id, dtype=pl.String)})
        places = stars.join(known, on="star_id", how="left", maintain_order="left")
        versions = places["version"].fill_null(-1).to_numpy() + np.int32(1)
        old = np.flatnonzero(versions > 0)
        if not len(old):
            return batch, versions
        stored = self._rows(places[old])
        fresh = np.ones(len(batch), dtype=np.bool_)
        fresh[old] = ~_equal_stars(batch.take(old), stored)
        return batch.take(np.flatnonzero(fresh)), versions[fresh]

    def _next_path(self) -> Path:
        """The name of the next shard."""
        shards = self.shards()
        number = (_number_of(shards[-1]) or 0) + 1 if shards else 0
        return self.folder / f"part-{number:05d}.parquet"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other writers out, and sweep up what one that was killed left behind."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be made a folder: {error.strerror or error}") from None
        lock = FileLock(self.folder.parent / f".{self.folder.name}.lock")
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout:
            raise DataError(f"{self.folder}: another process is writing to this store") from None
        try:
            for leftover in self.folder.glob(".part-*.tmp"):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def split_off_store(files: Sequence[Path]) -> tuple[list[Part], list[Path]]:
    """Of files in one folder, the shards, taken together as a store, and the other files, damaged shards among them.

    The reports that stand beside shards are neither.
    """
    rows, others = [_NO_ROWS], []
    for file in files:
        try:
            if _number_of(file) is None:
                raise DataError(f"{file}: not named as a shard")
            rows.append(_rows_of(file))
        except DataError:
            others.append(file)
    if len(rows) == 1:
        return [], others
    return _holding(files[0].parent, pl.concat(rows)), [file for file in others if file.name not in REPORTS]


def _rows_of(shard: Path) -> pl.DataFrame:
    """The columns of `Store.index` for every row of a shard."""
    rows = pl.DataFrame(shard_rows(shard)).with_row_index("row").with_columns(shard=pl.lit(shard.name))
    return rows.select(pl.col(name).cast(dtype) for name, dtype in _NO_ROWS.schema.items())


def _holding(folder: Path, every: pl.DataFrame) -> list[Part]:
    """The shards with their rows that no later version replaces, without the shards in which none does."""
    sizes = dict(every.group_by("shard").len().iter_rows())
    holding = _latest(every).group_by("shard", maintain_order=True).agg("row")
    return [
        Part(folder / shard, None if len(rows) == sizes[shard] else np.array(rows))
        for shard, rows in holding.iter_rows()
    ]


def _latest(every: pl.DataFrame) -> pl.DataFrame:
    """Of each star the row with the latest version, of equal versions the last, in the order of the rows."""
    ranked = every.with_row_index("order").sort("version", maintain_order=True)
    return ranked.unique("star_id", keep="last", maintain_order=True).sort("order").drop("order")


def _number_of(path: Path) -> int | None:
    """The number in a shard's name."""
    found = re.fullmatch(r"part-(\d{5,})\.parquet", path.name)
    return int(found.group(1)) if found else None


def _batches(parts: Iterable[LightCurves], shard_bytes: int) -> Iterator[LightCurves]:
    """The parts, joined and cut so that each batch fills a shard and the last one takes the rest."""
    waiting: list[LightCurves] = []
    size = 0
    for part in parts:
        points = max(1, shard_bytes // point_bytes(part))
        start = 0
        while start < len(part):
            room = max(0, points - size)
            fitting = int(np.searchsorted(part.offsets, part.offsets[start] + room, side="right")) - 1
            stop = min(max(fitting, start if waiting else start + 1), len(part))
            if stop > start:
                waiting.append(part.slice(start, stop))
                size += int(part.offsets[stop] - part.offsets[start])
                start = stop
            if start < len(part):
                yield concatenate(waiting)
                waiting, size = [], 0
    if waiting:
        yield concatenate(waiting)


def _equal_stars(left: LightCurves, right: LightCurves) -> NDArray[np.bool_]:
    """Which stars, matched by position, have the same points in the same columns, shape (n,); NaN equals NaN."""
    equal = left.n_points == right.n_points
    if left.columns.keys() != right.columns.keys():
        return np.zeros(len(left), dtype=np.bool_)
    same_length = np.flatnonzero(equal)
    a, b = left.take(same_length), right.take(same_length)
    differs = np.zeros(int(a.offsets[-1]), dtype=np.bool_)
    for name, values in a.columns.items():
        other = b[name]
        missing = (values != values) & (other != other)
        differs |= (values != other) & ~missing
    equal[same_length] = count_per_star(differs, a.offsets) == 0
    return equal
