"""How deep an exposure is, and what the simulated survey measures of a star in it.

Errors follow the depth alone, as ASAS-SN's do: `flux_err` is a fifth of the flux at the 5-sigma limit. The true
scatter is larger, and is made of the parts that real residuals show: photon noise somewhat above the stated error, a
floor that does not average down within a night, offsets between cameras, slow drifts of each camera, sensitivity to
focus, airmass and moonlight (hence power at the day, the month and the year), and outliers. Their sizes were chosen so
that the table of `likeness` agrees.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from varistar.lightcurves.magnitudes import AB_ZERO_POINT

from . import ephemeris
from .cadence import Visits
from .ephemeris import Array, Direction
from .streams import stream

#: 5-sigma limit at the zenith of a dark clear night, and what an airmass more costs [mag].
DARK_LIMIT = 18.36
EXTINCTION = 0.45
#: Mean time between changes of a camera's focus, and time over which its errors drift [d].
FOCUS_BLOCK_DAYS = 60.0
DRIFT_DAYS = 150.0
#: Step of limits [mag] and widths [pixel].
FINE_STEP = 1.0 / 64.0
#: Errors from moonlight stop growing at this sky, in units of the dark one.
BRIGHT_SKY = 4.0


@dataclass(frozen=True)
class Exposures:
    """The exposures of a field as an observer's table has them, shape (m,) each.

    Attributes
    ----------
    visits : when, with which camera, and under which sky
    limit : 5-sigma limiting magnitude, in steps of 1/64
    flux_err : a fifth of the flux at the limit [mJy], to one percent
    fwhm : width of the point-spread function [pixel], in steps of 1/64
    quality : 0 good, 1 flagged (ASAS-SN's B)
    """

    visits: Visits
    limit: Array
    flux_err: Array
    fwhm: Array
    quality: NDArray[np.int32]

    def take(self, points: NDArray) -> Self:
        """The exposures at these indices, or where this mask is true."""
        rest = (self.limit[points], self.flux_err[points], self.fwhm[points], self.quality[points])
        return type(self)(self.visits.take(points), *rest)


def expose(seed: int, field: int, place: Direction, visits: Visits) -> Exposures:
    """Give the visits of a field their depth, sharpness and flags.

    Depth falls with airmass, cloud, moonlight and, near the Galactic plane, crowding; cloud flags an exposure.
    """
    rng = stream(seed, "depth", field)
    cameras, index = np.unique(visits.camera, return_inverse=True)
    crowding = 0.55 * np.exp(-np.abs(np.degrees(ephemeris.galactic_latitude(place))) / 8.0)
    zero = DARK_LIMIT - crowding + rng.normal(0.0, 0.15) + _camera_normal(seed, cameras, "zero") * 0.16
    zero = zero + rng.normal(0.0, 0.10, len(cameras))
    limit = (
        zero[index]
        - EXTINCTION * (visits.airmass - 1.0)
        - 1.7 * visits.cloud
        - 1.25 * np.log10(1.0 + visits.moon_sky)
        - np.abs(rng.normal(0.0, 0.15, len(index)))
    )
    doubtful = 0.03 + 0.9 / (1.0 + np.exp((0.42 - visits.cloud) / 0.08)) + visits.flagged
    limit = to_steps(limit, FINE_STEP)
    return Exposures(
        visits=visits,
        limit=limit,
        flux_err=to_bits(limit_flux(limit) / 5.0, 7),
        fwhm=to_steps(_focus(seed, rng, cameras, index, visits.time), FINE_STEP),
        quality=(rng.random(len(index)) < doubtful).astype(np.int32),
    )


def measure(rng: np.random.Generator, flux: Array, exposures: Exposures) -> Array:
    """What the survey measures of a star of true `flux` [mJy, shape (m,)], before rounding.

    The star's own weaknesses (floor, offsets, drifts, response to focus and sky) are drawn from `rng` as well.
    """
    visits = exposures.visits
    cameras, index = np.unique(visits.camera, return_inverse=True)
    shift = _camera_errors(rng, cameras, index, visits.time) + _sky_errors(rng, exposures)
    shift += rng.lognormal(0.0, 0.22) * _floor(flux) * rng.standard_normal(len(flux))
    shift += _outliers(rng, len(flux))
    photon = rng.lognormal(np.log(1.15), 0.12) * exposures.flux_err * rng.standard_normal(len(flux))
    failed = rng.random(len(flux)) < 0.0015
    return np.where(failed, 0.0, flux * 10.0 ** (-0.4 * shift)) + photon


def limit_flux(limit: Array) -> Array:
    """Flux [mJy] of a magnitude."""
    return 10.0 ** (-0.4 * (limit - AB_ZERO_POINT))


def round_like_a_table(flux: Array, exposures: Exposures, steps_per_error: float) -> tuple[Array, Array, Array]:
    """Flux, `mag` and `mag_err` as they are written down; the magnitudes are NaN where the flux is below the limit.

    Flux and magnitude are rounded to steps of which at least `steps_per_error` fit into their error, `mag_err` to four
    bits. All steps are powers of two: the numbers are exact in 32 bits, end in zeros, and therefore pack well.
    """
    flux = to_steps(flux, binary_step(exposures.flux_err / steps_per_error))
    detected = flux >= limit_flux(exposures.limit)
    safe = np.where(detected, flux, 1.0)
    mag_err = to_bits(2.5 / np.log(10.0) * exposures.flux_err / safe, 4)
    mag = to_steps(AB_ZERO_POINT - 2.5 * np.log10(safe), binary_step(mag_err / steps_per_error))
    return flux, np.where(detected, mag, np.nan), np.where(detected, mag_err, np.nan)


def to_steps(values: Array, step: Array | float) -> Array:
    """Values rounded to multiples of `step`."""
    return np.round(values / step) * step


def binary_step(largest: Array) -> Array:
    """The largest power of two that is not above `largest`, which is positive."""
    return np.ldexp(1.0, np.frexp(largest)[1] - 1)


def to_bits(values: Array, bits: int) -> Array:
    """Positive values rounded to so many bits of mantissa."""
    return to_steps(values, binary_step(values) * 2.0 ** (1 - bits))


def _camera_normal(seed: int, cameras: NDArray[np.str_], what: str) -> Array:
    """A standard normal that belongs to each camera, the same in every field."""
    return np.array([stream(seed, what, str(camera)).standard_normal() for camera in cameras])


def _focus(
    seed: int, rng: np.random.Generator, cameras: NDArray[np.str_], index: NDArray[np.intp], time: Array
) -> Array:
    """Widths: cameras are sharp (1.5 pixel) or soft (2.05), and change over for months at a time."""
    fwhm = np.empty(len(time))
    for i, camera in enumerate(cameras):
        mine = index == i
        own = stream(seed, "focus", str(camera))
        soft_share = 0.80 if own.random() < 0.12 else 0.13
        sharp, soft = own.normal(1.475, 0.035), own.normal(2.05, 0.05)
        blocks = int(np.ceil(12000.0 / FOCUS_BLOCK_DAYS))
        edges = 55000.0 + np.cumsum(own.exponential(FOCUS_BLOCK_DAYS, blocks))
        block = np.searchsorted(edges, time[mine])
        is_soft = own.random(blocks + 1) < soft_share
        level = np.where(is_soft, soft, sharp) * (1.0 + 0.012 * own.standard_normal(blocks + 1))
        fwhm[mine] = level[block]
    return fwhm * (1.0 + 0.012 * rng.standard_normal(len(time))) + rng.exponential(0.025, len(time))


def _camera_errors(rng: np.random.Generator, cameras: NDArray[np.str_], index: NDArray[np.intp], time: Array) -> Array:
    """Offsets between cameras and their slow drifts [mag]: nodes `DRIFT_DAYS` apart, joined by straight lines."""
    offsets = rng.lognormal(np.log(0.0185), 0.4) * rng.standard_normal(len(cameras))
    nodes = np.arange(time.min() - 1.0, time.max() + DRIFT_DAYS, DRIFT_DAYS)
    drifts = 0.006 * rng.standard_normal((len(cameras), len(nodes)))
    errors = offsets[index]
    for i in range(len(cameras)):
        mine = index == i
        errors[mine] += np.interp(time[mine], nodes, drifts[i])
    return errors


def _sky_errors(rng: np.random.Generator, exposures: Exposures) -> Array:
    """Errors [mag] in step with focus, airmass (day), moonlight (29.5 d) and season (year), of random sign."""
    visits = exposures.visits
    focus, airmass, moon, season = rng.standard_normal(4) * (0.015, 0.008, 0.002, 0.003)
    year = np.cos(2 * np.pi * (visits.time / 365.25 + rng.random()))
    return (
        focus * (exposures.fwhm - 1.5)
        + airmass * (visits.airmass - 1.2)
        + moon * np.minimum(visits.moon_sky, BRIGHT_SKY)
        + season * year
    )


def _floor(flux: Array) -> Array:
    """Scatter [mag] that does not come from photons: 0.01 at g = 12.3, 0.014 at 13, 0.022 beyond 14."""
    mag = AB_ZERO_POINT - 2.5 * np.log10(flux)
    return np.minimum(0.014 * 10.0 ** (0.2 * (mag - 13.0)), 0.022)


def _outliers(rng: np.random.Generator, points: int) -> Array:
    """One point in a hundred is off by 0.1 mag or so, mostly too faint."""
    hit = rng.random(points) < 0.01
    sign = np.where(rng.random(points) < 0.7, 1.0, -1.0)
    return np.where(hit, sign * rng.exponential(0.10, points), 0.0)
