"""How deep an exposure is, and what the simulated survey measures of a star in it.

Errors follow the depth alone, as ASAS-SN's do: `flux_err` is a fifth of the flux at the 5-sigma limit. The true
scatter is larger, and is made of the parts that real residuals show: photon noise somewhat above the stated error, and
errors of calibration that the dithers of one visit share. Those have a floor that does not average down, with heavy
tails, in part common to all stars of the field; offsets between cameras; drifts of each camera over weeks and months;
responses to focus, airmass, moonlight and season (hence power at the day, the month and the year); and bad exposures,
most of them too faint. Stars brighter than the saturation limit are measured badly.

The sizes of these parts were fitted by hand to the even seasons of 21 real light curves, through the tables of
`realism`, and are judged by the odd ones (docs/sky.md).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from varistar.lightcurves.magnitudes import AB_ZERO_POINT

from . import ephemeris
from .cadence import FULL_RATE_UNTIL, MOUNTS, Visits
from .ephemeris import Array, Direction
from .streams import stream

#: 5-sigma limit at the zenith of a dark clear night, and what an airmass more costs [mag]; V is shallower than g.
DARK_LIMIT = {"g": 18.93, "V": 18.2}
EXTINCTION = 0.42
#: Three dithers reach deeper than one by this [mag].
COADDED_GAIN = 1.25 * np.log10(3.0)
#: Light lost at the edge of a camera's field, 2.3 degrees from its centre [mag].
VIGNETTING = 0.35
FIELD_RADIUS = 2.3
#: The depth is known in each quarter of the field, at this distance from the centre in both directions [deg].
QUARTER = 1.1
#: Each camera's pointing differs from the field's centre by this [deg].
POINTING = 0.2
#: Mean time between changes of a camera's focus [d]; times between the nodes of a camera's drifts [d], their size.
FOCUS_BLOCK_DAYS = 60.0
DRIFTS = ((10.0, 0.005), (150.0, 0.0055))
#: Scatter of calibration: of all stars of a field [mag], share of visits with wide errors, and how much wider.
COMMON = 0.006
WIDE_SHARE = 0.12
WIDE = 2.8
#: Share of visits that are bad, the standard deviation of their errors [mag], and how many of them are too faint.
BAD_SHARE = 0.070
BAD_SIZE = 0.070
BAD_FAINT = 0.75
#: Share of rows that failed, and hold noise alone.
FAILED = 0.0010
#: Scatter of calibration that the dithers of a visit do not share [mag].
DITHER_SCATTER = 0.007
#: Errors of a star that all cameras share in a night: time between their nodes [d], and their median size [mag].
NIGHT_DAYS, NIGHT = 2.4, 0.0120
#: Stars brighter than this saturate [mag].
SATURATION = 11.2
#: Steps of limits [mag] and of widths [pixel].
LIMIT_STEP = 1.0 / 256.0
WIDTH_STEP = 1.0 / 64.0
MAG_ERR_STEP = 1.0 / 16384.0
#: Errors from moonlight stop growing at this sky, in units of the dark one.
BRIGHT_SKY = 4.0

MOUNT_OF = {camera: mount for mount in MOUNTS for camera in mount.cameras}


class Cameras(NamedTuple):
    """The `k` cameras of a field, and which of them took each of its `m` exposures.

    Attributes
    ----------
    code, band : text, shape (k,)
    centre : pointing relative to the field's centre [deg], shape (k, 2)
    of : the camera of each exposure, shape (m,)
    """

    code: NDArray[np.str_]
    band: NDArray[np.str_]
    centre: Array
    of: NDArray[np.intp]


@dataclass(frozen=True)
class Exposures:
    """The exposures of a field as an observer's table has them, shape (m,) each.

    Attributes
    ----------
    visits : when, with which camera, and under which sky
    limit : 5-sigma limiting magnitude on the camera's axis
    fwhm : width of the point-spread function [pixel], one for the image, in steps of 1/64
    quality : 0 good, 1 flagged (ASAS-SN's B)
    shift : error of calibration [mag] that all stars share
    cameras : which camera took which exposure
    """

    visits: Visits
    limit: Array
    fwhm: Array
    quality: NDArray[np.int32]
    shift: Array
    cameras: Cameras

    def at(self, quarter: tuple[int, int]) -> Self:
        """The same exposures in a quarter of the field, shallower off a camera's axis, with limits in steps.

        The stars of a quarter share their limits, as all stars of a field do their times, so that a store packs well.
        """
        off_axis = np.sum((self.cameras.centre - QUARTER * np.asarray(quarter)) ** 2, axis=1) / FIELD_RADIUS**2
        return replace(self, limit=to_steps(self.limit - (VIGNETTING * off_axis)[self.cameras.of], LIMIT_STEP))

    @cached_property
    def flux_err(self) -> Array:
        """A fifth of the flux at the limit [mJy], to four digits."""
        return to_bits(limit_flux(self.limit) / 5.0, 13)


def expose(seed: int, field: int, place: Direction, visits: Visits, coadded: bool = True) -> Exposures:
    """Give the visits of a field their depth, sharpness, flags, and the errors that all its stars share.

    Depth falls with airmass, cloud, moonlight and, near the Galactic plane, crowding; cloud flags an exposure.
    """
    rng = stream(seed, "depth", field)
    cameras = _cameras(seed, field, visits)
    mounts = [MOUNT_OF[str(code)] for code in cameras.code]
    crowding = 0.55 * np.exp(-np.abs(np.degrees(ephemeris.galactic_latitude(place))) / 8.0)
    zero = np.array([DARK_LIMIT[mount.band] + mount.depth for mount in mounts]) - crowding + rng.normal(0.0, 0.12)
    zero = zero + _camera_normal(seed, cameras.code, "zero") * 0.12 + rng.normal(0.0, 0.08, len(mounts))
    if not coadded:
        zero = zero - COADDED_GAIN
    n_visits = int(visits.visit.max()) + 1 if len(visits.visit) else 0
    patchy = rng.lognormal(np.log(0.20), 0.3) * np.abs(rng.standard_normal(n_visits))[visits.visit]
    limit = (
        zero[cameras.of]
        - EXTINCTION * (visits.airmass - 1.0)
        - 3.4 * visits.cloud
        - 1.25 * np.log10(1.0 + visits.moon_sky)
        - patchy
    )
    return Exposures(
        visits=visits,
        limit=limit,
        fwhm=to_steps(_focus(seed, rng, cameras, mounts, visits), WIDTH_STEP),
        quality=_flags(rng, cameras, mounts, visits),
        shift=(COMMON * _heavy_tailed(rng, n_visits))[visits.visit],
        cameras=cameras,
    )


def quarter_of(east: float, north: float) -> tuple[int, int]:
    """The quarter of the field in which a star stands, `east` and `north` of the centre: signs."""
    return 1 if east > 0 else -1, 1 if north > 0 else -1


def measure(rng: np.random.Generator, mag: Array, exposures: Exposures) -> Array:
    """What the survey measures [mJy] of a star of true magnitude `mag`, shape (m,), before rounding.

    The star's own weaknesses (floor, offsets, drifts, response to focus and sky) are drawn from `rng` as well.

    Parameters
    ----------
    exposures : in the star's quarter (`Exposures.at`)
    """
    visits, points = exposures.visits, len(mag)
    mean = float(np.mean(mag)) if points else np.inf
    bleed = max(SATURATION - mean, 0.0)
    shift = exposures.shift + _camera_errors(rng, exposures, bleed) + _sky_errors(rng, exposures)
    n_visits = int(visits.visit.max()) + 1 if points else 0
    shift += _nightly(rng, visits.time)
    own = rng.lognormal(0.0, 0.35) * _floor(mean) * _heavy_tailed(rng, n_visits) + _bad(rng, n_visits)
    shift += own[visits.visit]
    shift += (DITHER_SCATTER + 0.03 * bleed) * rng.standard_normal(points)
    photon = rng.lognormal(np.log(1.15), 0.12) * exposures.flux_err * rng.standard_normal(points)
    failed = rng.random(points) < FAILED
    return np.where(failed, 0.0, limit_flux(mag + shift)) + photon


def limit_flux(limit: Array) -> Array:
    """Flux [mJy] of a magnitude."""
    return np.exp((-0.4 * np.log(10.0)) * (limit - AB_ZERO_POINT))


def round_like_a_table(flux: Array, exposures: Exposures, steps_per_error: float) -> tuple[Array, Array, Array]:
    """Flux, `mag` and `mag_err` as they are written down; the magnitudes are NaN where the flux is below the limit.

    Flux and magnitude are rounded to steps of which at least `steps_per_error` fit into their error, `mag_err` to steps
    of 6e-5 or to six bits. All steps are powers of two: the numbers are exact in 32 bits, end in zeros, and pack
    well.
    """
    flux_err = exposures.flux_err
    flux = to_steps(flux, binary_step(flux_err / steps_per_error))
    detected = flux >= 5.0 * flux_err
    safe = np.where(detected, flux, 1.0)
    mag_err = flux_err / safe / 0.92  # the constant of Sky Patrol's tables; 2.5 / ln 10 is 1/0.921
    mag_err = np.maximum(to_steps(mag_err, np.maximum(MAG_ERR_STEP, binary_step(mag_err) / 32.0)), MAG_ERR_STEP)
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


def _cameras(seed: int, field: int, visits: Visits) -> Cameras:
    codes, index = np.unique(visits.camera, return_inverse=True)
    centre = [stream(seed, "centre", field, str(code)).normal(0.0, POINTING, 2) for code in codes]
    return Cameras(codes, np.array([MOUNT_OF[str(code)].band for code in codes]), np.reshape(centre, (-1, 2)), index)


def _camera_normal(seed: int, cameras: NDArray[np.str_], what: str) -> Array:
    """A standard normal that belongs to each camera, the same in every field."""
    return np.array([stream(seed, what, str(camera)).standard_normal() for camera in cameras])


def _focus(seed: int, rng: np.random.Generator, cameras: Cameras, mounts: list, visits: Visits) -> Array:
    """Widths: each mount has its own, and a camera is out of focus now and then, for months at a time."""
    fwhm = np.empty(len(visits.time))
    for i, (camera, mount) in enumerate(zip(cameras.code, mounts, strict=True)):
        mine = cameras.of == i
        own = stream(seed, "focus", str(camera))
        sharp, soft = mount.fwhm * (1.0 + 0.03 * own.standard_normal()), own.normal(2.05, 0.05)
        blocks = int(np.ceil(12000.0 / FOCUS_BLOCK_DAYS))
        edges = 55000.0 + np.cumsum(own.exponential(FOCUS_BLOCK_DAYS, blocks))
        block = np.searchsorted(edges, visits.time[mine])
        level = np.where(own.random(blocks + 1) < 0.07, soft, sharp) * (1.0 + 0.012 * own.standard_normal(blocks + 1))
        fwhm[mine] = level[block]
    return fwhm * (1.0 + 0.012 * rng.standard_normal(len(fwhm))) + rng.exponential(0.025, len(fwhm))


def _flags(rng: np.random.Generator, cameras: Cameras, mounts: list, visits: Visits) -> NDArray[np.int32]:
    """Flags for cloud, and those that a mount sets on its own; both became rarer over the years."""
    own = np.array([mount.flagged for mount in mounts])[cameras.of]
    rarer = np.exp(-0.12 * np.maximum(visits.time - FULL_RATE_UNTIL, 0.0) / 365.25)
    cloudy = 0.9 / (1.0 + np.exp((0.42 - visits.cloud) / 0.08))
    return (rng.random(len(own)) < (0.06 + cloudy + own) * rarer).astype(np.int32)


def _heavy_tailed(rng: np.random.Generator, number: int) -> Array:
    """Normal numbers, a few of which are wider."""
    wide = np.where(rng.random(number) < WIDE_SHARE, WIDE, 1.0)
    return wide * rng.standard_normal(number)


def _camera_errors(rng: np.random.Generator, exposures: Exposures, bleed: float) -> Array:
    """Offsets between cameras, and their drifts [mag]: nodes joined by straight lines."""
    cameras, time = exposures.cameras, exposures.visits.time
    n = len(cameras.code)
    offsets = (rng.lognormal(np.log(0.0155), 0.5) + 0.06 * bleed) * rng.standard_normal(n)
    errors = offsets[cameras.of]
    for days, size in DRIFTS:
        errors += size * _wander(rng, time, days, n, cameras.of)
    return errors


def _nightly(rng: np.random.Generator, time: Array) -> Array:
    """What calibration does to this star alone, in all cameras of a night [mag]."""
    days = NIGHT_DAYS * rng.lognormal(0.0, 0.9)
    return NIGHT * rng.lognormal(0.0, 0.9) * _wander(rng, time, days, 1, np.zeros(len(time), dtype=np.intp))


def _wander(rng: np.random.Generator, time: Array, days: float, number: int, which: NDArray[np.intp]) -> Array:
    """One of `number` curves at each time: straight lines between nodes `days` apart, standard normal there."""
    if not len(time):
        return np.zeros(0)
    start = time.min()
    curves = rng.standard_normal((number, int((time.max() - start) / days) + 2))
    return _between_nodes(curves, which, time, start, days)


@njit(cache=True)
def _between_nodes(curves: Array, which: NDArray[np.intp], time: Array, start: float, days: float) -> Array:
    values = np.empty(len(time))
    for i in range(len(time)):
        place = (time[i] - start) / days
        node = int(place)
        before = curves[which[i], node]
        values[i] = before + (curves[which[i], node + 1] - before) * (place - node)
    return values


def _sky_errors(rng: np.random.Generator, exposures: Exposures) -> Array:
    """Errors [mag] in step with focus, airmass (day), moonlight (29.5 d) and season (year), of random sign."""
    visits = exposures.visits
    focus, airmass, moon, season = rng.standard_normal(4) * (0.010, 0.045, 0.0045, 0.011)
    angle = 2 * np.pi / 365.25 * visits.time
    first, second = season * np.array([np.cos(phase := 2 * np.pi * rng.random()), np.sin(phase)])
    return (
        focus * (exposures.fwhm - 1.5)
        + airmass * (visits.airmass - 1.2)
        + moon * np.minimum(visits.moon_sky, BRIGHT_SKY)
        + first * np.cos(angle)
        - second * np.sin(angle)
    )


def _floor(mag: float) -> float:
    """Scatter of calibration from visit to visit, of this star alone [mag]: 0.004 to g = 12.3, 0.01 at 16."""
    return float(np.interp(mag, [12.0, 12.3, 12.8, 13.5, 14.2, 16.0], [0.0035, 0.0035, 0.0045, 0.0045, 0.0080, 0.010]))


def _bad(rng: np.random.Generator, visits: int) -> Array:
    """Errors of the visits that are bad, zero for the others."""
    hit = rng.random(visits) < BAD_SHARE * rng.lognormal(0.0, 0.8)
    sign = np.where(rng.random(visits) < BAD_FAINT, 1.0, -1.0)
    return np.where(hit, sign * np.abs(rng.normal(0.0, BAD_SIZE, visits)), 0.0)
