"""Reading light curves from a file, whatever survey wrote it.

`read` tells the format from the content. Formats are data: a line in `FORMATS` says which columns give a format away
and which function reads it, so that a new survey is one function and one line.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.settings import validate

from .atlas import read_forced
from .generic import ColumnMapping, read_mapped
from .inputs import FileTable, FitsFile, ParquetTable, expand_inputs, open_input, require
from .shards import is_shard, read_rows, read_shard
from .skypatrol import read_client, read_coadd, read_v1, read_v2
from .spacecraft import read_spoc
from .store import split_off_store
from .table import LightCurves
from .text import listed
from .ztf import read_irsa, read_magnitudes

__all__ = ["FORMATS", "ColumnMapping", "Format", "Source", "detect_format", "expand_inputs", "find_sources", "read"]

Format = Literal[
    "skypatrol_v1",
    "skypatrol_v2",
    "skypatrol_client",
    "asassn_coadd",
    "ztf_irsa",
    "ztf_magnitudes",
    "atlas_forced",
    "spoc",
    "shard",
    "mapped",
]


class TableFormat(NamedTuple):
    """A format that is a table of points."""

    meaning: str
    #: The columns that give it away.
    columns: tuple[str, ...]
    read: Callable[[FileTable], LightCurves]
    #: Whether other columns than these speak against it.
    nothing_else: bool = False


#: Formats that are tables of points, in the order in which they are tried.
FORMATS: dict[Format, TableFormat] = {
    "skypatrol_v1": TableFormat(
        "ASAS-SN Sky Patrol v1, CSV",
        ("HJD", "Camera", "FWHM", "Limit", "mag", "mag_err", "flux(mJy)", "flux_err", "Filter"),
        read_v1,
    ),
    "skypatrol_v2": TableFormat(
        "ASAS-SN Sky Patrol v2 from the web page, CSV",
        ("JD", "Flux", "Flux Error", "Mag", "Mag Error", "Limit", "FWHM", "Filter", "Quality", "Camera"),
        read_v2,
    ),
    "skypatrol_client": TableFormat(
        "ASAS-SN Sky Patrol v2 from the Python client, CSV or Parquet",
        ("asas_sn_id", "jd", "flux", "flux_err", "mag", "mag_err", "limit", "fwhm"),
        read_client,
    ),
    "asassn_coadd": TableFormat(
        "ASAS-SN photometry of co-added images, separated by blanks",
        ("JD", "HJD", "IMAGE", "FWHM", "Limit", "mag", "mag_err", "flux (mJy)", "flux_err"),
        read_coadd,
    ),
    "ztf_irsa": TableFormat(
        "ZTF light curves from IRSA, CSV", ("oid", "mjd", "mag", "magerr", "catflags", "filtercode"), read_irsa
    ),
    "ztf_magnitudes": TableFormat(
        "ZTF magnitudes, CSV of three columns", ("mjd", "mag", "magerr"), read_magnitudes, True
    ),
    "atlas_forced": TableFormat(
        "ATLAS forced photometry, separated by blanks",
        ("MJD", "m", "dm", "uJy", "duJy", "F", "err", "mag5sig", "Obs"),
        read_forced,
    ),
}


def read(
    path: Path | str, format: Format | None = None, mapping: ColumnMapping | Mapping[str, Any] | None = None
) -> LightCurves:
    """Read the light curves of one file, which may be gzipped.

    Parameters
    ----------
    path
        The file.
    format
        The format, a key of `FORMATS`; `spoc` for a TESS or Kepler pipeline file; `shard` for a shard of a store;
        `mapped` for a table whose columns `mapping` names. Without it the format is told from the content.
    mapping
        Which column is which, for a table of no known format, e.g. `{"time": "mjd", "flux": "f", "units": {"flux":
        "uJy"}}`. With it the format is `mapped`.

    Returns
    -------
    LightCurves
        One star or many, each in the order of time.

    Raises
    ------
    DataError
        One sentence that names the file, where known the line and column, and what was expected.
    ConfigError
        When the mapping itself is wrong.
    """
    path = Path(path)
    if format is not None and format not in get_args(Format):
        raise DataError(f"{path}: there is no format '{format}'; known are {', '.join(get_args(Format))}")
    if (mapping is None) if format == "mapped" else (mapping is not None and format is not None):
        raise DataError(f"{path}: the format 'mapped' and a mapping of columns go together")
    opened = open_input(path)
    if mapping is not None:
        chosen = mapping if isinstance(mapping, ColumnMapping) else validate(ColumnMapping, mapping, "mapping")
        return read_mapped(_table(opened, "mapped"), chosen)
    format = format or _detect(opened)
    if format == "shard":
        return read_shard(path)
    if format == "spoc":
        if not isinstance(opened, FitsFile):
            raise DataError(f"{path}: not a FITS file, so not of format 'spoc'")
        return read_spoc(opened)
    table = _table(opened, format)
    require(table, FORMATS[format].columns)
    return FORMATS[format].read(table)


@dataclass(frozen=True)
class Source:
    """A file of light curves; of a store's shard, the rows that no later version replaces.

    Attributes
    ----------
    path
    rows : int64 array, or None where the whole file counts
    """

    path: Path
    rows: NDArray[np.int64] | None = None

    def read(
        self, format: Format | None = None, mapping: ColumnMapping | Mapping[str, Any] | None = None
    ) -> LightCurves:
        """Its light curves; see `read`."""
        return read(self.path, format, mapping) if self.rows is None else read_rows(self.path, self.rows)[0]


def find_sources(paths: Iterable[Path]) -> list[Source]:
    """The light curves that `paths` mean: files, shards and folders of them.

    Shards that stand in one folder count as the store that they are: of each star the latest version.

    Raises
    ------
    DataError
        When a path does not exist, or there is nothing to read.
    """
    paths = list(paths)
    folders: dict[Path, list[Path]] = {}
    for file in expand_inputs(paths):
        folders.setdefault(file.parent, []).append(file)
    sources = []
    for files in folders.values():
        parts, others = split_off_store(files)
        sources += [Source(part.path, part.rows) for part in parts] + [Source(file) for file in others]
    if not sources:
        raise DataError(f"{', '.join(map(str, paths)) or 'the input'}: holds no light curves")
    return sources


def detect_format(path: Path | str) -> Format:
    """Tell the format of a file from its content.

    Raises
    ------
    DataError
        When it is none that is known here; the message lists the columns that were found.
    """
    return _detect(open_input(Path(path)))


def _detect(opened: FileTable | FitsFile) -> Format:
    """The format of an opened file."""
    if isinstance(opened, FitsFile):
        return "spoc"
    if isinstance(opened, ParquetTable) and is_shard(opened.metadata):
        return "shard"
    found = set(opened.names)
    for name, candidate in FORMATS.items():
        columns = set(candidate.columns)
        if columns == found or (columns < found and not candidate.nothing_else):
            return name
    raise DataError(
        f"{opened.path}: not a light curve of a known format: its columns are {listed(opened.names)}; "
        f"give a mapping that says which is which"
    )


def _table(opened: FileTable | FitsFile, format: Format) -> FileTable:
    """The opened file as a table of points."""
    if isinstance(opened, FitsFile):
        raise DataError(f"{opened.path}: a FITS file, where a table of format '{format}' was expected")
    return opened
