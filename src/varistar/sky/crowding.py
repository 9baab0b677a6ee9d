"""The light of neighbours that falls into a star's aperture: 2 pixels, or 16 arcseconds, in radius.

Stars are counted as N(< G) = N17(b) 10^(0.25 (G - 17)), with 1,500 of them to a square degree at the poles of the
Galaxy and seven times as many in its plane (a round description of star counts, ours).
"""

import numpy as np

#: Area of the aperture [deg^2].
APERTURE = np.pi * (16.0 / 3600.0) ** 2
COUNTS_AT_17 = 1500.0
COUNTS_IN_PLANE = 9000.0
PLANE_SCALE = 12.0
SLOPE = 0.25
#: Neighbours from this much brighter than the star to this much fainter are drawn [mag].
BRIGHTEST, FAINTEST = 1.0, 4.0


def neighbours_light(rng: np.random.Generator, mag: float, latitude: float) -> float:
    """The light of all neighbours in units of the star's own.

    Parameters
    ----------
    mag : of the star.
    latitude : Galactic [deg].
    """
    density = COUNTS_AT_17 + COUNTS_IN_PLANE * np.exp(-abs(latitude) / PLANE_SCALE)
    faintest = density * 10.0 ** (SLOPE * (mag + FAINTEST - 17.0))
    brightest = density * 10.0 ** (SLOPE * (mag - BRIGHTEST - 17.0))
    number = rng.poisson(APERTURE * (faintest - brightest))
    counts = rng.uniform(brightest, faintest, number)
    fainter = np.log10(counts / density) / SLOPE + 17.0 - mag
    return float(np.sum(10.0 ** (-0.4 * fainter)))
