"""Files of a Zenodo record, such as the catalogs and the network weights that the papers released."""

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from varistar.foundation.errors import DataError

from .fetch import Fetched, Found, Product, fetch
from .transfer import Line, Manners, garbage_passes

SERVER = "https://zenodo.org"

#: What the paper on the periods of ASAS-SN stars released. It states two DOIs for its data: the one of all versions and
#: the one of the version that it cites.
RELEASES = {"periods": "15848601", "periods-v1.0": "16929947", "periods-notebooks": "17387593"}


def fetch_zenodo(
    record: str,
    folder: Path,
    patterns: Sequence[str] = ("*",),
    manners: Manners | None = None,
    server: str = SERVER,
) -> Fetched:
    """Fetch the files of a record into `folder`; a download that was interrupted goes on where it stopped.

    Parameters
    ----------
    record : a key of `RELEASES`, a number, a DOI, or the address of a record.
    patterns : of the names of the files that are wanted, such as `*.csv`.

    Raises
    ------
    DataError
        When there is no such record, or it has no such file; else see `fetch`.
    """
    number = _number_of(record)
    line = Line(manners)
    products = _list_files(number, line, server.rstrip("/"))
    chosen = {name: product for name, product in products.items() if any(fnmatch(name, p) for p in patterns)}
    if not chosen:
        raise DataError(
            f"Zenodo record {number}: has no file {' or '.join(patterns)}; it has {', '.join(products) or 'none'}"
        )
    return fetch(Record(number, chosen), list(chosen), folder, line)


def _number_of(record: str) -> str:
    """The number of a record in any of the ways to state it."""
    found = re.fullmatch(r"(?:.*zenodo\.|.*zenodo\.org/records?/)?(\d+)/?", RELEASES.get(record, record).strip())
    if not found:
        raise DataError(
            f"'{record}' is no Zenodo record: expected a number, a DOI such as 10.5281/zenodo.15848601, "
            f"or one of {', '.join(RELEASES)}"
        )
    return found[1]


def _list_files(number: str, line: Line, server: str) -> dict[str, Product]:
    """The files of a record by name; the number of all versions leads to the latest."""
    what = f"Zenodo record {number}"
    url = f"{server}/api/records/{number}"

    def ask(attempt: int) -> Any:
        with garbage_passes():
            return line.session.get(url).json()

    try:
        return {file["key"]: _product(file) for file in line.persist(what, ask)["files"]}
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{what}: its answer does not list files, so they may be restricted; see {server}/records/{number}"
        ) from None


def _product(file: dict[str, Any]) -> Product:
    """A file as the record describes it; every checksum of Zenodo is an MD5 today."""
    kind, _, digest = str(file["checksum"]).partition(":")
    return Product(
        file["key"], file["links"]["self"], size=int(file["size"]), md5=digest.lower() if kind == "md5" else None
    )


class Record:
    """A Zenodo record as a source; the ids are the names of its files."""

    batch = 1000

    def __init__(self, number: str, products: dict[str, Product]):
        self._products = products
        self.query = f"Zenodo record {number}"

    def find(self, ids: Sequence[str], line: Line) -> Found:
        return Found({id: [self._products[id]] for id in ids}, {})
