"""The periodogram of a sector, in which an offset between its orbits is no variation of the star.

Each orbit is in units of its own median, so that what differs between orbits is not the star's: a constant of each
orbit is fitted together with the sinusoid. With w the weights of a sector's cadences, z = exp(2 pi i f t), and for
orbit o the sums W_o = sum w, Z_o = sum w z and Y_o = sum w y z (y about the orbit's mean), the cosine and sine that
the constants leave over have

    CC + SS = W - sum |Z_o|^2 / W_o,    CC - SS + 2 i CS = sum w z^2 - sum Z_o^2 / W_o,    CY + i SY = sum Y_o,

and power = (SS CY^2 + CC SY^2 - 2 CS CY SY) / (CC SS - CS^2) / sum w y^2, the fraction of the variance of the cadences
that the sinusoid explains (ours; with one orbit it is that of `astropy.timeseries.LombScargle`).

Cadences are averaged to bins first. That lowers the power of a period P by 1 - sinc^2(bin / P): with ten minutes 1.6 %
at 0.1 d, 0.1 % at 0.4 d. The variance is that of the cadences themselves, so that the power is not that of the bins.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from varistar.spectra.fourier import FourierSums

from .orbits import Orbit

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Where the product of the variances of cosine and sine that the constants leave over is below this, they cannot be
#: told from constants: the power is 0.
SINGULAR = 1e-6


class Spectrum(NamedTuple):
    """A sector's periodogram: ascending frequency (k,) [1/d] and power (k,), and the time span [d]."""

    frequency: Array
    power: Array
    span: float


class Points(NamedTuple):
    """A sector in bins, each of shape (n,): time [d], flux about its orbit's mean (or the sector's), cadences, and
    orbit from 0; and the sum of squares of the cadences themselves."""

    time: Array
    flux: Array
    weight: Array
    orbit: NDArray[np.int64]
    squares: float


def bin_cadences(orbits: Sequence[Orbit], flaring: Sequence[Mask], bin_minutes: float, orbit_constants: bool) -> Points:
    """The cadences that count, in bins.

    Parameters
    ----------
    flaring : for each orbit, shape (m,), cadences to leave out.
    bin_minutes : cadences are averaged over so long.
    orbit_constants : whether the flux is about the mean of its orbit, rather than of them all.
    """
    used = [orbit.good & ~mask for orbit, mask in zip(orbits, flaring, strict=True)]
    every = np.concatenate([orbit.flux[use] for orbit, use in zip(orbits, used, strict=True)])
    common = every.mean() if len(every) else math.nan
    parts, squares = [], 0.0
    for number, (orbit, use) in enumerate(zip(orbits, used, strict=True)):
        if not use.any():
            continue
        flux = orbit.flux[use]
        flux = flux - (flux.mean() if orbit_constants else common)
        squares += float(flux @ flux)
        place = np.flatnonzero(use) // max(round(bin_minutes / (1440.0 * orbit.cadence)), 1)
        _, index, count = np.unique(place, return_inverse=True, return_counts=True)
        time = np.bincount(index, orbit.time[use]) / count
        owner = np.full(len(count), number if orbit_constants else 0)
        parts.append((time, np.bincount(index, flux) / count, count, owner))
    if not parts:
        return Points(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), 0.0)
    binned, flux, count, owner = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Points(binned, flux, count.astype(np.float64), owner, squares)


def periodogram(points: Points, shortest_days: float, longest_days: float, oversample: float) -> Spectrum | None:
    """The periodogram of the module; None for fewer than ten bins, or when all have one flux.

    Parameters
    ----------
    shortest_days, longest_days : range of the periods [d], which goes on to the time span where that is longer.
    oversample : frequencies in a natural width, 1 / (time span).
    """
    if len(points.time) < 10 or not points.squares > 0.0:
        return None
    span = float(points.time[-1] - points.time[0])
    lowest = min(1.0 / span, 1.0 / longest_days)
    step = 1.0 / (oversample * span)
    n = math.floor((1.0 / shortest_days - lowest) / step) + 1
    if n < 3:
        return None
    middle = lowest + step * (n // 2)
    time = points.time - 0.5 * (points.time[0] + points.time[-1])
    sums = FourierSums(1e-9)
    strengths = np.stack([points.weight, points.weight * points.flux]).astype(np.complex128)
    square = sums(2.0 * time, strengths[:1], middle, step, n)[0]
    norm, both = np.full(n, points.weight.sum()), np.zeros(n, dtype=np.complex128)
    ends = np.flatnonzero(np.diff(points.orbit)) + 1
    for part in np.split(np.arange(len(time)), ends):
        mine = slice(int(part[0]), int(part[-1]) + 1)
        window, signal = sums(time[mine], strengths[:, mine], middle, step, n)
        weight = points.weight[mine].sum()
        both += signal - window * (points.weight[mine] @ points.flux[mine]) / weight
        square -= window**2 / weight
        norm -= np.abs(window) ** 2 / weight
    cc, ss, cs = 0.5 * (norm + square.real), 0.5 * (norm - square.real), 0.5 * square.imag
    determinant = cc * ss - cs * cs
    safe = determinant > SINGULAR * points.weight.sum() ** 2
    explained = ss * both.real**2 + cc * both.imag**2 - 2.0 * cs * both.real * both.imag
    power: Array = np.where(safe, explained, 0.0) / np.where(safe, determinant, 1.0) / points.squares
    frequency: Array = lowest + step * np.arange(n, dtype=np.float64)
    return Spectrum(frequency, np.clip(power, 0.0, 1.0), span)
