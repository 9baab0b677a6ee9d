"""Variability without a clock: random walks that forget, and how far and how fast those of quasars go."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Redshifts, and the distance modulus there (flat, H0 = 70 km/s/Mpc, Omega_m = 0.3).
REDSHIFT = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0])
DISTANCE_MODULUS = np.array([34.70, 36.73, 38.32, 39.96, 40.96, 42.26, 43.15, 44.10, 45.19, 45.96, 47.03, 47.77])


def damped_random_walk(rng: np.random.Generator, time: Array, timescale: float, deviation: float) -> Array:
    """A stationary Ornstein-Uhlenbeck process, exactly: autocorrelation exp(-lag / timescale).

    Parameters
    ----------
    time : shape (m,), ascending [d]
    timescale : e-folding time of the autocorrelation [d]
    deviation : standard deviation at any time
    """
    return _walk(rng.standard_normal(len(time)), time, timescale, deviation)


@njit(cache=True)
def _walk(normals: Array, time: Array, timescale: float, deviation: float) -> Array:
    """x_i = r x_(i-1) + sqrt(1 - r^2) z_i with r = exp(-step / timescale), times the deviation."""
    walk = np.empty_like(time)
    value = 0.0
    for i in range(len(time)):
        step = (time[i] - time[i - 1]) / timescale if i else np.inf
        value = math.exp(-step) * value + math.sqrt(-math.expm1(-2.0 * step)) * normals[i]
        walk[i] = deviation * value
    return walk


def damped_oscillation(rng: np.random.Generator, time: Array, period: float, memory: float) -> Array:
    """A stochastically driven, damped oscillation of unit variance at ascending times, shape (m,).

    Sine and cosine with amplitudes that are independent random walks; its autocorrelation is
    exp(-lag / memory) cos(2 pi lag / period).
    """
    angle = 2.0 * np.pi * (time - time[0]) / period
    cosine = damped_random_walk(rng, time, memory, 1.0)
    sine = damped_random_walk(rng, time, memory, 1.0)
    return cosine * np.cos(angle) + sine * np.sin(angle)


def quasar_walk(
    rng: np.random.Generator, i_mag: float, redshift: float, wavelength: float = 4770.0
) -> tuple[float, float]:
    """Timescale as observed [d] and standard deviation [mag] of a quasar's damped random walk.

    The relations of MacLeod et al. (2010, table 1) with absolute magnitude, black-hole mass and wavelength in the rest
    frame, log10 f = A + B log10(wavelength / 4000) + C (M_i + 23) + D log10(M / 10^9); the mass is drawn around
    2.0 - 0.27 M_i as there, the scatter about the relations (0.1 and 0.2 dex) is ours. M_i is K-corrected to redshift
    2 for a power law of index -0.5 (Richards et al. 2006).

    Parameters
    ----------
    i_mag : apparent magnitude in i
    redshift : 0.02 to 4
    wavelength : of the band as observed [Angstrom]; the default is that of g
    """
    abs_i = i_mag - np.interp(redshift, REDSHIFT, DISTANCE_MODULUS) + 1.25 * np.log10((1.0 + redshift) / 3.0)
    mass = -9.0 + rng.normal(2.0 - 0.27 * abs_i, max(0.58 + 0.011 * abs_i, 0.2))
    colour = np.log10(wavelength / (1.0 + redshift) / 4000.0)
    structure = -0.51 - 0.479 * colour + 0.131 * (abs_i + 23.0) + 0.18 * mass + rng.normal(0.0, 0.1)
    timescale = 2.4 + 0.17 * colour + 0.03 * (abs_i + 23.0) + 0.21 * mass + rng.normal(0.0, 0.2)
    return float(10.0**timescale * (1.0 + redshift)), float(10.0**structure / np.sqrt(2.0))
