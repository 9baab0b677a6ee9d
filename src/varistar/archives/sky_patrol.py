"""Light curves of ASAS-SN from Sky Patrol v2, a Parquet file per star with the columns that its server sends.

The package `skypatrol` (pyasassn) knows the server: what it holds, how stars are asked for, and where their points then
wait in blocks. It is asked through its own `query_list` and `cone_search`, with two changes, since it waits for answers
without limit, takes an error page for an answer, and downloads blocks in forked processes that swallow every error: its
requests run on our line, and our `_get_curves` downloads the blocks.
"""

import importlib
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from varistar.foundation.errors import ConfigError, DataError

from .fetch import Fetched, Found, Product, fetch
from .transfer import Line, Manners, garbage_passes

#: Stars whose points wait in one block of the server.
BLOCK = 1000

_PORT = 9006
_only_one = threading.Lock()


def fetch_sky_patrol(
    ids: Sequence[str], folder: Path, by: str = "asas_sn_id", manners: Manners | None = None, refresh: bool = False
) -> Fetched:
    """Fetch stars from Sky Patrol v2 into `folder`, each as `<asas_sn_id>.parquet`, in the order of its times.

    Parameters
    ----------
    ids : whole numbers.
    by
        What the ids are: `asas_sn_id`, or a column of the catalog `stellar_main`, such as `gaia_id` (Gaia DR2).
    refresh : fetch stars again that are there already, for their newest epochs.

    Raises
    ------
    ConfigError
        When the package is not installed, or the catalog has no such column.
    DataError
        When an id is no number; else see `fetch`.
    """
    _client_module()
    for id in ids:
        if not id.isdecimal():
            raise DataError(f"the {by} '{id}' is no whole number")
    return fetch(SkyPatrol(by), [str(int(id)) for id in ids], folder, Line(manners), refresh)


def find_in_cone(ra: float, dec: float, radius: float, manners: Manners | None = None) -> list[str]:
    """The ASAS-SN ids of all stars within `radius` of a place on the sky (all degrees, ICRS).

    Raises
    ------
    ConfigError
        When the package is not installed, or there is no such cone.
    DataError
        When the server cannot be asked.
    """
    if not (0 <= ra < 360 and -90 <= dec <= 90 and 0 < radius <= 180):
        raise ConfigError(f"no cone of the sky: right ascension {ra}, declination {dec}, radius {radius} degrees")
    line = Line(manners)

    def ask(attempt: int) -> list[str]:
        with _requests_on(line), garbage_passes():
            return [str(id) for id in _open_client(line).cone_search(ra, dec, radius)["asas_sn_id"]]

    return line.persist("Sky Patrol's cone search", ask)


class SkyPatrol:
    """Sky Patrol as a source; the points come with its answer."""

    batch = BLOCK

    def __init__(self, by: str = "asas_sn_id"):
        self._by = by
        self._catalog = "master_list" if by == "asas_sn_id" else "stellar_main"
        self._client: Any = None
        self.query = f"Sky Patrol v2 by {by}"

    def find(self, ids: Sequence[str], line: Line) -> Found:
        what = f"Sky Patrol's answer about {len(ids)} stars, the first {ids[0]}"
        numbers, curves = line.persist(what, lambda attempt: self._ask(ids, line, attempt))
        products, absent = {}, {}
        for id in ids:
            files = [_file_of(number, curves[number]) for number in numbers.get(id, ()) if number in curves]
            if files:
                products[id] = files
            else:
                known = "has no light curve of" if id in numbers else "does not know"
                absent[id] = f"Sky Patrol {known} the star with {self._by} {id}"
        return Found(products, absent)

    def _ask(
        self, ids: Sequence[str], line: Line, attempt: int
    ) -> tuple[dict[str, list[int]], dict[int, pl.DataFrame]]:
        """The ASAS-SN numbers of each id that is known, and the points of each number.

        One piece: when a block fails, the question is put again, since the server holds blocks for a while only.
        """
        with _requests_on(line), garbage_passes():
            # Opened again after a failure: the hosts that hold the blocks may have changed.
            client = self._client = _open_client(line) if attempt or self._client is None else self._client
            catalog = client.catalogs[self._catalog]
            kinds = dict(zip(catalog["col_names"], catalog["dtypes"], strict=True))
            if kinds.get(self._by) != "bigint":
                numbers = ", ".join(name for name, kind in kinds.items() if kind == "bigint")
                raise ConfigError(f"Sky Patrol's {self._catalog} has no numbers '{self._by}', only {numbers}")
            client.attempt = attempt
            curves = client.query_list([int(id) for id in ids], self._by, self._catalog, download=True)
            found: dict[str, list[int]] = {}
            for wanted, star in zip(client.index[self._by], client.index["asas_sn_id"], strict=True):
                found.setdefault(str(int(wanted)), []).append(int(star))
            return found, curves


def _file_of(number: int, points: pl.DataFrame) -> Product:
    content = io.BytesIO()
    points.write_parquet(content, compression="zstd")
    return Product(f"{number}.parquet", f"skypatrol:asas_sn_id={number}", content.getvalue())


def _client_module() -> Any:
    try:
        return importlib.import_module("pyasassn.client")
    except ImportError:
        raise ConfigError('Sky Patrol needs its Python client: pip install "varistar[skypatrol]"') from None


def _open_client(line: Line) -> Any:
    """The package's client, which asks the server for its schema, with our way to download blocks."""
    module = _client_module()

    class Client(module.SkyPatrolClient):  # type: ignore[name-defined]
        attempt = 0

        def _get_curves(self, query_hash: str, ids: list, catalog: str, *_: Any) -> dict[int, pl.DataFrame]:
            blocks = [self._block(query_hash, number, catalog) for number in range(-(-len(ids) // BLOCK))]
            if not blocks:
                return {}
            points = pl.concat(blocks).sort("jd", maintain_order=True)
            return {int(key[0]): part for key, part in points.partition_by("asas_sn_id", as_dict=True).items()}

        def _block(self, query_hash: str, number: int, catalog: str) -> pl.DataFrame:
            host = self.block_servers[(number + self.attempt) % len(self.block_servers)]
            address = host if ":" in host else f"{host}:{_PORT}"
            block = f"query_hash-{query_hash}-block_idx-{number}-catalog-{catalog}"
            return pl.read_parquet(line.session.get(f"http://{address}/get_block/{block}").content)

    return Client(verbose=False)


@contextmanager
def _requests_on(line: Line) -> Iterator[None]:
    """Put the requests of the client's module on our line, for a while."""
    module = _client_module()
    with _only_one:
        own, module.requests = module.requests, line.session
        try:
            yield
        finally:
            module.requests = own
