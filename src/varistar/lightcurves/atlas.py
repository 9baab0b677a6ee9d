"""Reader of ATLAS forced photometry."""

import numpy as np

from .assemble import assemble
from .inputs import FileTable, file_stem
from .table import LightCurves

SURVEY = "ATLAS"

#: Half of the 30 s exposure [d]; the file's dates are those of its start.
_HALF_EXPOSURE = 15.0 / 86400.0

_MJY_PER_UJY = 1e-3


def read_forced(table: FileTable) -> LightCurves:
    """The table of the forced-photometry server: `###MJD m dm uJy duJy F err ... mag5sig Sky Obs`.

    A forced flux may be zero or negative. Its magnitude is then written as minus that of its absolute value (or as
    nonsense), and is missing here. `err` becomes `quality`; the camera is the first three letters of `Obs`. Absurd
    fluxes from exposures through cloud stay: their errors are as large. The star is named by the file.
    """
    flux, mag, mag_err = (table.numbers(name) for name in ("uJy", "m", "dm"))
    undetected = ~(flux > 0.0)
    columns = {
        "time": table.numbers("MJD") + _HALF_EXPOSURE,
        "flux": flux * _MJY_PER_UJY,
        "flux_err": table.numbers("duJy") * _MJY_PER_UJY,
        "mag": np.where(undetected, np.nan, mag),
        "mag_err": np.where(undetected, np.nan, mag_err),
        "limit": table.numbers("mag5sig"),
        "camera": table.words("Obs").astype("U3"),
        "band": table.words("F"),
        "quality": np.nan_to_num(table.numbers("err")),
    }
    return assemble(columns, file_stem(table.path), "MJD_UTC", survey=SURVEY)
