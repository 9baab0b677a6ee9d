"""Light curves from an archive: fetched into a folder of files, completely, whatever happens on the way.

An archive is a `Source`: it says which files it has for some ids, and `fetch` gets them. A file takes its name only
when it is whole and verified, and then gets its line in the manifest; so a fetch that is killed at any moment goes on
where it stopped when the same command is given again. The manifest, the list of what was refused and the parts of files
that are still on their way stand in the folder's `.fetched`, which no reader of light curves looks into.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import polars as pl
from filelock import FileLock, Timeout
from tqdm import tqdm

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path

from .manifest import HIDDEN, Entry, Manifest
from .transfer import Line, Passing, Refused, file_digests

REFUSED = "refused.parquet"


@dataclass(frozen=True)
class Product:
    """A file that an archive has.

    Attributes
    ----------
    file : the name to store it under.
    url : where it is, or what was asked when the answer held the `content`.
    content : bytes, where they came with the answer already.
    size, md5 : as the archive states them.
    begins : the bytes with which every file of its kind begins.
    """

    file: str
    url: str
    content: bytes | None = None
    size: int | None = None
    md5: str | None = None
    begins: bytes = b""


@dataclass(frozen=True)
class Found:
    """An archive's answer: of every id that was asked about its products, or why there are none.

    Two ids may share a file only if its content came with the answer.
    """

    products: Mapping[str, Sequence[Product]]
    absent: Mapping[str, str]


class Source(Protocol):
    """An archive, and what is asked of it for each id."""

    @property
    def query(self) -> str:
        """What is asked: the archive and every setting that changes its answer."""

    @property
    def batch(self) -> int:
        """How many ids one question may be about."""

    def find(self, ids: Sequence[str], line: Line) -> Found:
        """Ask about some ids; called by one thread at a time.

        Raises
        ------
        Refused
            When the archive refuses the question.
        Gone
            When it answers nothing any more.
        """


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: ids that were fetched, ids whose files stood there already, and the reasons of the refused."""

    n_new: int
    n_known: int
    refused: Mapping[str, str]


def fetch(source: Source, ids: Sequence[str], folder: Path, line: Line, refresh: bool = False) -> Fetched:
    """Get the files of some ids into `folder`; what stands there unharmed is not asked for again.

    Writes `.fetched/manifest.jsonl`, a line per file with its checksum and where it came from, and
    `.fetched/refused.parquet`, the ids that could not be had this time, with the reason.

    Parameters
    ----------
    refresh
        Ask for every id again, since an archive may have something new. A file whose address is known and whose
        checksum fits what the archive states is still not sent again.

    Raises
    ------
    DataError
        When nothing at all could be had, the archive went silent, the folder cannot be written, or another fetch
        writes to it.
    """
    wanted = list(dict.fromkeys(ids))
    refused: dict[str, str] = {}
    n_new = 0
    with _alone_in(folder):
        manifest = Manifest(folder)
        asked = [id for id in wanted if refresh or not manifest.is_complete(id, source.query)]
        try:
            with tqdm(total=len(wanted), initial=len(wanted) - len(asked), unit="id", disable=None) as bar:
                for id, reason in _fetch_all(source, asked, manifest, line):
                    bar.update()
                    if reason is None:
                        n_new += 1
                    else:
                        refused[id] = reason
        finally:
            _write_refused(refused, folder)
    if refused and len(refused) == len(wanted):
        first = next(iter(refused.values()))
        raise DataError(first if len(wanted) == 1 else f"none of the {len(wanted)} ids can be had, first {first}")
    return Fetched(n_new, len(wanted) - len(asked), refused)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder against a second fetch, which would append to the same parts of files."""
    try:
        (folder / HIDDEN / "parts").mkdir(parents=True, exist_ok=True)
        with FileLock(folder / HIDDEN / "lock", timeout=0):
            yield
    except Timeout:
        raise DataError(f"{folder}: another fetch is at work in this folder; wait for its end") from None
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None


def _fetch_all(source: Source, ids: Sequence[str], manifest: Manifest, line: Line) -> Iterator[tuple[str, str | None]]:
    """Each id with the reason of its refusal, or None when all its files are there."""
    with ThreadPoolExecutor(line.manners.jobs) as pool:
        try:
            for start in range(0, len(ids), source.batch):
                yield from _fetch_batch(source, ids[start : start + source.batch], manifest, line, pool)
        except BaseException:  # nobody listens any more, or Ctrl-C
            line.close()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_batch(
    source: Source, ids: Sequence[str], manifest: Manifest, line: Line, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, str | None]]:
    try:
        found = source.find(ids, line)
    except Refused as error:
        yield from ((id, str(error)) for id in ids)
        return
    on_the_way = {
        id: [pool.submit(_obtain, id, product, len(products), source.query, manifest, line) for product in products]
        for id, products in found.products.items()
    }
    for id in ids:
        yield id, _first_refusal(on_the_way[id]) if id in on_the_way else found.absent[id]


def _obtain(id: str, product: Product, n_files: int, query: str, manifest: Manifest, line: Line) -> None:
    """Store a product, unless it stands there already, and enter it in the manifest.

    Raises
    ------
    Refused
    """
    standing = manifest.standing(product.file, product.url)
    if standing and product.content is None and product.md5 in (None, standing.md5):
        manifest.add(replace(standing, id=id, query=query, n_files=n_files))
        return
    sha256, md5 = _store(product, manifest.folder, line)
    manifest.add(
        Entry(
            id=id,
            query=query,
            n_files=n_files,
            file=product.file,
            bytes=(manifest.folder / product.file).stat().st_size,
            sha256=sha256,
            md5=md5,
            url=product.url,
            fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )


def _store(product: Product, folder: Path, line: Line) -> tuple[str, str]:
    """Put a product under its name once it is whole; returns its digests."""
    if not product.file or Path(product.file).name != product.file or product.file.startswith("."):
        raise Refused(f"{product.url}: called '{product.file}', which is no plain name of a file")
    path = folder / product.file
    if product.content is not None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(product.content)
        return file_digests(path)
    part = folder / HIDDEN / "parts" / product.file

    def download(attempt: int) -> tuple[str, str]:
        # Only a checksum would tell a file that is put together from parts of two versions.
        resume = product.md5 is not None
        if not (resume and part.exists() and part.stat().st_size == product.size):
            line.download(product.url, part, resume)
        digests = file_digests(part)
        if fault := _fault(product, part, digests[1]):
            part.unlink()
            raise Passing(fault)
        return digests

    digests = line.persist(product.url, download)
    part.replace(path)
    return digests


def _fault(product: Product, part: Path, md5: str) -> str | None:
    """What speaks against a downloaded file."""
    size = part.stat().st_size
    if product.size not in (None, size):
        return f"{size} bytes came, where {product.size} were stated"
    if product.md5 not in (None, md5):
        return f"what came has the MD5 {md5}, where {product.md5} was stated"
    with part.open("rb") as file:
        begins = file.read(len(product.begins))
    return None if begins == product.begins else f"what came does not begin with {product.begins.decode()}"


def _first_refusal(futures: Sequence[Future[None]]) -> str | None:
    """Wait for all files of an id; the reason why it is not complete, if it is not."""
    reasons = []
    for future in futures:
        try:
            future.result()
        except Refused as error:
            reasons.append(str(error))
    return reasons[0] if reasons else None


def _write_refused(refused: Mapping[str, str], folder: Path) -> None:
    rows = {"id": list(refused), "reason": list(refused.values())}
    with atomic_path(folder / HIDDEN / REFUSED) as temporary:
        pl.DataFrame(rows, schema={"id": pl.String, "reason": pl.String}).write_parquet(temporary, compression="zstd")


def read_ids(path: Path, column: str | None = None) -> list[str]:
    """Read ids from a CSV or Parquet file, as words, so that an id of 19 digits stays exact.

    Parameters
    ----------
    column : may be left out where the file has only one.

    Raises
    ------
    DataError
        When the file cannot be read, lacks the column, or a row lacks its id.
    """
    try:
        table = pl.read_parquet(path) if path.suffix in (".parquet", ".parq") else pl.read_csv(path, infer_schema=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as CSV or Parquet: {str(error).splitlines()[0]}") from None
    if column is None and table.width == 1:
        column = table.columns[0]
    if column not in table.columns:
        missing = "several columns, so say which holds the ids" if column is None else f"no column '{column}'"
        raise DataError(f"{path}: has {missing}; it has {', '.join(table.columns)}")
    ids = table[column]
    if not (ids.dtype == pl.String or ids.dtype.is_integer()):
        raise DataError(f"{path}: column '{column}' should hold words or whole numbers, not {ids.dtype}")
    words = ids.cast(pl.String).str.strip_chars()
    if (words.is_null() | (words == "")).any():
        row = (words.is_null() | (words == "")).arg_true()[0]
        raise DataError(f"{path}: row {row + 1}, column '{column}': the id is missing")
    return words.to_list()
