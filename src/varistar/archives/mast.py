"""Light curves of TESS from MAST: the pipeline's (SPOC) 2-minute files, one per star and sector.

Astroquery finds the files; its requests run on our line. The files themselves we download, since astroquery writes
under the final name from the first byte, and neither tries again nor keeps a checksum.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from varistar.foundation.errors import ConfigError, DataError

from .fetch import Fetched, Found, Product, fetch
from .transfer import Line, Manners, Passing, garbage_passes

SERVER = "https://mast.stsci.edu"

#: Stars per question. A star that is observed all year has up to some hundred sectors of ten files.
BATCH = 20

#: A 2-minute light curve by the pipeline's rule for names; that of 20 s ends in `fast-lc.fits`.
_LIGHT_CURVE = re.compile(r"tess\d{13}-s(?P<sector>\d{4})-(?P<tic>\d{16})-\d{4}-[a-z]_lc\.fits")


def fetch_mast(
    ids: Sequence[str],
    folder: Path,
    sectors: Sequence[int] = (),
    manners: Manners | None = None,
    refresh: bool = False,
    server: str = SERVER,
) -> Fetched:
    """Fetch the 2-minute light curves of TESS stars into `folder`, under MAST's names.

    Parameters
    ----------
    ids : TIC numbers, with or without `TIC` before them.
    sectors : only these; by default all.
    refresh : ask again about stars that are complete already, for new sectors.

    Raises
    ------
    ConfigError
        When astroquery is not installed, or a sector is below 1.
    DataError
        When an id is no TIC number; else see `fetch`.
    """
    _require_astroquery()
    if min(sectors, default=1) < 1:
        raise ConfigError(f"there is no sector {min(sectors)}; TESS counts them from 1")
    return fetch(Mast(sectors, server), [_tic_of(id) for id in ids], folder, Line(manners), refresh)


def _require_astroquery() -> None:
    try:
        import astroquery.mast  # noqa: F401
    except ImportError:
        raise ConfigError('MAST needs astroquery: pip install "varistar[mast]"') from None


def _tic_of(id: str) -> str:
    found = re.fullmatch(r"(?:TIC)?\s*(\d{1,16})", id.strip(), re.IGNORECASE)
    if not found:
        raise DataError(f"'{id}' is no TIC number, such as 'TIC 441420236'")
    return str(int(found[1]))


class Mast:
    """MAST as a source of 2-minute light curves."""

    batch = BATCH

    def __init__(self, sectors: Sequence[int] = (), server: str = SERVER):
        self._sectors = sorted(set(sectors))
        self._server = server.rstrip("/")
        self._only = f" in the sectors {', '.join(map(str, self._sectors))}" if self._sectors else ""
        self.query = f"MAST, TESS 2-minute light curves of SPOC{self._only}"

    def find(self, ids: Sequence[str], line: Line) -> Found:
        what = f"MAST's answer about {len(ids)} stars, the first TIC {ids[0]}"
        files = line.persist(what, lambda attempt: self._ask(ids, line, attempt))
        products: dict[str, list[Product]] = {}
        for name, uri in sorted(files.items()):
            named = _LIGHT_CURVE.fullmatch(name)
            if named and (not self._sectors or int(named["sector"]) in self._sectors):
                url = f"{self._server}/api/v0.1/Download/file?uri={quote(uri, safe=':/')}"
                products.setdefault(str(int(named["tic"])), []).append(Product(name, url, begins=b"SIMPLE"))
        none = f"MAST has no 2-minute light curve{self._only} of TIC"
        return Found(
            {id: products[id] for id in ids if id in products},
            {id: f"{none} {id}" for id in ids if id not in products},
        )

    def _ask(self, ids: Sequence[str], line: Line, attempt: int) -> dict[str, str]:
        """The names of all products of the stars' observations, with their addresses in the archive."""
        from astroquery.exceptions import NoResultsWarning, RemoteServiceError

        observations = self._open(line, fresh=attempt > 0)
        with garbage_passes(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NoResultsWarning)
            try:
                found = observations.query_criteria(
                    obs_collection="TESS", provenance_name="SPOC", dataproduct_type="timeseries", target_name=list(ids)
                )
                if len(found) == 0:
                    return {}
                products = observations.get_product_list(found)
            except RemoteServiceError as error:
                raise Passing(f"the server reports {error}") from None
            return dict(zip(map(str, products["productFilename"]), map(str, products["dataURI"]), strict=True))

    def _open(self, line: Line, fresh: bool) -> Any:
        """Astroquery's door to observations; its addresses are fixed at its import, so they are set here."""
        from astroquery.mast import ObservationsClass

        observations = ObservationsClass()
        portal = observations._portal_api_connection
        portal._session = line.session
        if fresh:  # astroquery keeps the portal's columns for the whole process, garbage too
            portal._column_configs.clear()
        portal.MAST_REQUEST_URL = f"{self._server}/api/v0/invoke"
        portal.COLUMNS_CONFIG_URL = f"{self._server}/portal/Mashup/Mashup.asmx/columnsconfig"
        return observations
