"""Reader of the light curves that the TESS and Kepler pipelines deliver, one star in one sector or quarter per file.

Times are barycentric mid-cadence dates (BTJD for TESS, BKJD for Kepler); the flux is the pipeline's corrected
`PDCSAP_FLUX` in electrons per second. A cadence without flux stays as a missing value, with its quality bits, so that
a regular series stays regular. A cadence without a time comes last.
"""

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from varistar.foundation.errors import DataError

from .assemble import assemble
from .inputs import FitsFile
from .table import TIME_ORIGIN, LightCurves, TimeSystem


class Mission(NamedTuple):
    """What differs between the two missions' files."""

    time_system: TimeSystem
    quality: str
    #: Keywords that together name the detector.
    detector: tuple[str, ...]


MISSIONS = {
    "TESS": Mission("BTJD", "QUALITY", ("CAMERA", "CCD")),
    "Kepler": Mission("BKJD", "SAP_QUALITY", ("CHANNEL",)),
}


def read_spoc(file: FitsFile) -> LightCurves:
    """The light curve of a pipeline file, short or long cadence, whatever the file is called.

    The star is the header's `OBJECT`, such as `TIC 441420236` or `KIC 1026146`; camera and CCD (`1-4`) or the channel
    is its camera, and the mission its survey and band.

    Raises
    ------
    DataError
        When the file is truncated or damaged, or is not such a light curve.
    """
    primary, header, data = _open(file)
    survey = str(primary.get("TELESCOP", "")).strip()
    if survey not in MISSIONS:
        expected = " or ".join(MISSIONS)
        raise DataError(f"{file.path}: a FITS file of telescope '{survey}', where one of {expected} was expected")
    mission = MISSIONS[survey]
    _check(file, header, data, mission)
    points = len(data)
    detector = "-".join(str(primary.get(key, header.get(key, ""))) for key in mission.detector)
    columns = {
        "time": _native(data["TIME"]),
        "flux": _native(data["PDCSAP_FLUX"]),
        "flux_err": _native(data["PDCSAP_FLUX_ERR"]),
        "camera": np.full(points, detector),
        "band": np.full(points, survey),
        "quality": _native(data[mission.quality]),
    }
    star = str(primary.get("OBJECT", "")).strip()
    if not star:
        raise DataError(f"{file.path}: the header lacks OBJECT, the name of the star")
    return assemble(columns, star, mission.time_system, "electron/s", survey)


def _open(file: FitsFile) -> tuple[fits.Header, fits.Header, Any]:
    """The primary header, and header and data of the light curve, with every warning of damage taken for an error.

    The files' checksums are not asked: the pipelines' own do not verify, even of intact files.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            for damage in (".*truncated.*", ".*Error validating header.*"):
                warnings.filterwarnings("error", damage)
            with fits.open(io.BytesIO(file.content), memmap=False, lazy_load_hdus=False) as hdus:
                found = next((hdu for hdu in hdus[1:] if hdu.name == "LIGHTCURVE"), None)
                if found is None:
                    raise DataError(f"{file.path}: a FITS file without the extension LIGHTCURVE")
                return hdus[0].header, found.header, np.array(found.data)
    except DataError:
        raise
    except Exception as error:  # astropy meets a damaged file with errors of many classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file.path}: truncated or damaged FITS: {reason}") from None


def _check(file: FitsFile, header: fits.Header, data: Any, mission: Mission) -> None:
    """The columns are there, in the units that the table will claim."""
    for name in ("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", mission.quality):
        if name not in (data.dtype.names or ()):
            raise DataError(f"{file.path}: the light curve lacks the column '{name}'")
    origin = float(header.get("BJDREFI", np.nan)) + float(header.get("BJDREFF", 0.0))
    if origin != TIME_ORIGIN[mission.time_system]:
        raise DataError(
            f"{file.path}: times count from BJD {origin}, where {TIME_ORIGIN[mission.time_system]} "
            f"({mission.time_system}) was expected"
        )
    for number, name in enumerate(data.dtype.names, start=1):
        unit = str(header.get(f"TUNIT{number}", ""))
        if name.startswith("PDCSAP_FLUX") and unit not in ("e-/s", "electron/s"):
            raise DataError(f"{file.path}: column '{name}' has unit '{unit}', where e-/s was expected")


def _native(values: np.ndarray) -> np.ndarray:
    """The same numbers in the byte order of this machine."""
    return values.astype(values.dtype.newbyteorder("="))
