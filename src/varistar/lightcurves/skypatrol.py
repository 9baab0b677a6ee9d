"""Readers of ASAS-SN light curves, the five ways in which Sky Patrol and its relatives write them.

A failed row, in which everything or the flux error is 99.99, stays as a point without flux: a cut counts and drops it.
In a co-added Sky Patrol v2 file such a row repeats the star's reference flux, which is no measurement of that night.
A non-detection (`>16.642`, or a magnitude error of 99.99 or 99.999) has neither magnitude nor magnitude error, but
keeps its flux and its limit. Camera codes are case-sensitive (`bd` observed in V, `bD` in g) and kept as they are, the
stray `bF{}` too.
"""

import re

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

from .assemble import assemble
from .inputs import FileTable, file_stem, require
from .table import TIME_ORIGIN, LightCurves
from .text import TextTable

SURVEY = "ASAS-SN"

#: Cameras that observed in V, until 2018; every other camera observes in g. True of every row of Sky Patrol that states
#: its filter.
V_CAMERAS = ("ba", "bb", "bc", "bd", "be", "bf", "bg", "bh")

#: Quality codes: good, bad, and neither.
QUALITY = {"G": 0, "B": 1, "U": 2}

#: What stands for a number that could not be measured; the magnitude error of an upper limit is also 99.999.
_UNMEASURED = 99.99


def read_v1(table: FileTable) -> LightCurves:
    """Sky Patrol v1: CSV, heliocentric dates, V and g, every exposure on its own (dithers about 110 s apart).

    The star is named by the file.
    """
    columns = {
        "time": table.numbers("HJD") - TIME_ORIGIN["HJD-2400000.5"],
        **_photometry(table, flux="flux(mJy)", flux_err="flux_err", mag="mag", mag_err="mag_err", limit="Limit"),
        "fwhm": table.numbers("FWHM"),
        "camera": table.words("Camera"),
        "band": table.words("Filter"),
    }
    return assemble(columns, file_stem(table.path), "HJD-2400000.5", survey=SURVEY)


def read_v2(table: FileTable) -> LightCurves:
    """Sky Patrol v2 from the web page: CSV, Julian dates in UTC, co-added epochs in V and g with a quality code.

    The star is the Sky Patrol number of the comment lines, else named by the file.
    """
    columns = {
        "time": table.numbers("JD") - TIME_ORIGIN["MJD_UTC"],
        **_photometry(table, flux="Flux", flux_err="Flux Error", mag="Mag", mag_err="Mag Error", limit="Limit"),
        "fwhm": table.numbers("FWHM"),
        "camera": table.words("Camera"),
        "band": table.words("Filter"),
        "quality": _quality(table, "Quality"),
    }
    comments = "\n".join(table.comments) if isinstance(table, TextTable) else ""
    found = re.search(r"SkyPatrol ID:\s*(\S+)", comments)
    return assemble(columns, found.group(1) if found else file_stem(table.path), "MJD_UTC", survey=SURVEY)


def read_client(table: FileTable) -> LightCurves:
    """Sky Patrol v2 from its Python client: CSV or Parquet, one star or many, in any order.

    Older files call the camera `cam` and state neither filter nor quality; the filter then follows from the camera.
    """
    camera_name = "camera" if "camera" in table.names else "cam"
    require(table, [camera_name])
    camera = table.words(camera_name)
    columns = {
        "time": table.numbers("jd") - TIME_ORIGIN["MJD_UTC"],
        **_photometry(table, flux="flux", flux_err="flux_err", mag="mag", mag_err="mag_err", limit="limit"),
        "fwhm": table.numbers("fwhm"),
        "camera": camera,
        "band": table.words("phot_filter") if "phot_filter" in table.names else _band_of(camera),
    }
    if "quality" in table.names:
        columns["quality"] = _quality(table, "quality")
    return assemble(columns, table.words("asas_sn_id"), "MJD_UTC", survey=SURVEY)


def read_coadd(table: FileTable) -> LightCurves:
    """The pipeline's own table of co-added images: separated by blanks, the camera inside the image's name.

    Its UTC dates are read, not the heliocentric ones, so that these stars can stand in one table with those of Sky
    Patrol v2. The star is named by the file, without an ending `_g` or `_V`.
    """
    images = table.words("IMAGE")
    camera = np.array([_camera_of(table, row, image) for row, image in enumerate(images)], dtype=np.str_)
    columns = {
        "time": table.numbers("JD") - TIME_ORIGIN["MJD_UTC"],
        **_photometry(table, flux="flux (mJy)", flux_err="flux_err", mag="mag", mag_err="mag_err", limit="Limit"),
        "fwhm": table.numbers("FWHM"),
        "camera": camera,
        "band": _band_of(camera),
    }
    return assemble(columns, re.sub(r"_[gV]$", "", file_stem(table.path)), "MJD_UTC", survey=SURVEY)


def _photometry(
    table: FileTable, flux: str, flux_err: str, mag: str, mag_err: str, limit: str
) -> dict[str, NDArray[np.float64]]:
    """Fluxes [mJy], magnitudes and limits, NaN wherever the survey writes that there is none."""
    values = {
        "flux": table.numbers(flux),
        "flux_err": table.numbers(flux_err),
        "mag": table.numbers(mag, limits=True),
        "mag_err": table.numbers(mag_err),
        "limit": table.numbers(limit),
    }
    undetected = ~(values["mag_err"] < 99.0) | np.isnan(values["mag"])
    without_error = np.isclose(values["flux_err"], _UNMEASURED, rtol=0.0, atol=1e-4) | ~np.isfinite(values["flux_err"])
    failed = undetected & without_error
    for name in ("mag", "mag_err"):
        values[name][undetected] = np.nan
    for name in ("flux", "flux_err", "limit"):
        values[name][failed] = np.nan
    values["limit"][~(values["limit"] < 99.0)] = np.nan
    return values


def _quality(table: FileTable, name: str) -> NDArray[np.int32]:
    """The quality codes as numbers."""
    words = table.words(name)
    quality = np.full(len(words), -1, dtype=np.int32)
    for code, number in QUALITY.items():
        quality[words == code] = number
    if (quality < 0).any():
        row = int(np.argmax(quality < 0))
        expected = ", ".join(QUALITY)
        raise DataError(
            f"{table.path}: {table.where(row)}, column '{name}': expected one of {expected}, got '{words[row]}'"
        )
    return quality


def _band_of(camera: NDArray[np.str_]) -> NDArray[np.str_]:
    """The band in which each camera observes."""
    return np.where(np.isin(camera, V_CAMERAS), "V", "g")


def _camera_of(table: FileTable, row: int, image: str) -> str:
    """The camera code in the name of an image, `coadd_br000210`."""
    found = re.fullmatch(r"coadd_([A-Za-z]+)\d+", image)
    if not found:
        raise DataError(
            f"{table.path}: {table.where(row)}, column 'IMAGE': expected a name like coadd_br000210, got '{image}'"
        )
    return found.group(1)
