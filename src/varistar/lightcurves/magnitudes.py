"""Between AB magnitudes and fluxes in mJy."""

import numpy as np
from numpy.typing import NDArray

#: The AB magnitude of a flux of 1 mJy; 16.4 to 1e-4 mag, as Sky Patrol's g magnitudes use it.
AB_ZERO_POINT = 16.4

#: Magnitudes per unit of ln(flux).
_POGSON = 2.5 / np.log(10.0)


def flux_of(mag: NDArray[np.float64], mag_err: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The flux [mJy] of AB magnitudes, `10 ** (-0.4 (mag - 16.4))`, and its error, to first order in `mag_err`."""
    flux = 10.0 ** (-0.4 * (mag - AB_ZERO_POINT))
    return flux, flux * mag_err / _POGSON
