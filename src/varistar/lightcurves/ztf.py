"""Readers of ZTF light curves, which have magnitudes and no fluxes."""

import re

import numpy as np

from .assemble import assemble
from .inputs import FileTable, file_stem
from .magnitudes import flux_of
from .table import LightCurves

SURVEY = "ZTF"

#: The usual exposure [s].
EXPOSURE = 30.0

_SECONDS_PER_DAY = 86400.0


def read_irsa(table: FileTable) -> LightCurves:
    """The table that IRSA delivers: `oid, expid, hjd, mjd, mag, magerr, catflags, filtercode, ...`.

    One star for each `oid`, which is one object in one field and filter. `mjd` is the start of the exposure: half the
    exposure is added, after which it agrees with `hjd` up to the light travel time. `catflags` becomes `quality`.
    """
    exposure = table.numbers("exptime") if "exptime" in table.names else EXPOSURE
    mag, mag_err = table.numbers("mag"), table.numbers("magerr")
    flux, flux_err = flux_of(mag, mag_err)
    columns = {
        "time": table.numbers("mjd") + 0.5 * exposure / _SECONDS_PER_DAY,
        "flux": flux,
        "flux_err": flux_err,
        "mag": mag,
        "mag_err": mag_err,
        "band": np.char.replace(table.words("filtercode"), "z", "", count=1),
        "quality": np.nan_to_num(table.numbers("catflags")),
    }
    if "limitmag" in table.names:
        columns["limit"] = table.numbers("limitmag")
    return assemble(columns, table.words("oid"), "MJD_UTC", survey=SURVEY)


def read_magnitudes(table: FileTable) -> LightCurves:
    """Three columns `mjd, mag, magerr` of one star in one band.

    The star and the band are in the file's name, `<star>_g.csv`; without such an ending the band stays unknown. `mjd`
    is taken as the start of a usual exposure of 30 s.
    """
    found = re.fullmatch(r"(.+)_([gri])", file_stem(table.path))
    star, band = found.groups() if found else (file_stem(table.path), "")
    mag, mag_err = table.numbers("mag"), table.numbers("magerr")
    flux, flux_err = flux_of(mag, mag_err)
    columns = {
        "time": table.numbers("mjd") + 0.5 * EXPOSURE / _SECONDS_PER_DAY,
        "flux": flux,
        "flux_err": flux_err,
        "mag": mag,
        "mag_err": mag_err,
        "band": np.full(len(mag), band),
    }
    return assemble(columns, star, "MJD_UTC", survey=SURVEY)
