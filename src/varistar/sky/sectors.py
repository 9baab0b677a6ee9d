"""How a TESS-like spacecraft looks at one star for a sector: when, with which flags, and with which errors.

A sector is two orbits of 13.7 days with a downlink between them. Cadences last two minutes. All stars of a sector
share its times, which real ones do up to some minutes of light travel, and its momentum dumps; each has its own
noise. The sizes below were set by the pipeline's own files of five stars and by the three stars of Guenther et al.
(2020) among the real data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from varistar.physics.red_noise import damped_random_walk

from .ephemeris import Array
from .noise import binary_step, to_bits, to_steps
from .streams import stream

CADENCE = 1.0 / 720.0
#: First cadence of sectors 1 to 28 [BTJD], to about half a day; the last ends a day before the next begins.
SECTOR_START = (
    *(1325.29, 1354.10, 1385.95, 1410.91, 1437.99, 1468.27, 1491.63, 1517.37, 1543.22, 1569.43, 1596.78, 1624.96),
    *(1653.92, 1683.35, 1711.37, 1738.65, 1764.69, 1790.66, 1816.09, 1842.51, 1870.44, 1899.32, 1928.10, 1955.80),
    *(1983.63, 2010.27, 2036.28, 2061.85),
)
LAST_SECTOR = len(SECTOR_START) - 1
BETWEEN_SECTORS = 1.0
#: Times are written to this step [d], a twelfth of a second.
TIME_STEP = 2.0**-20

#: The pipeline's quality bits. Cadences with the first group have no flux.
EARTH_POINT, COARSE_POINT, ARGABRIGHTENING, MOMENTUM_DUMP, EXCLUDED = 8, 4, 16, 32, 128
STRAYLIGHT, IMPULSE = 2048, 512
WITHOUT_FLUX = EARTH_POINT | COARSE_POINT | ARGABRIGHTENING | MOMENTUM_DUMP | EXCLUDED

#: Electrons per second of a star of magnitude zero in TESS's band, as a magnitude (instrument handbook).
ZERO_POINT = 20.44
#: Pixels of the aperture by magnitude.
APERTURE_TMAG, APERTURE_PIXELS = (6.5, 8.0, 10.0, 11.5, 14.5), (22.0, 17.0, 14.0, 11.0, 7.0)
#: Seconds of a cadence that count: cosmic-ray rejection drops two of ten exposures.
COUNTED_SECONDS = 95.0
#: Electrons^2 of a pixel and cadence, and what photons count beyond their own noise: fitted to PDCSAP_FLUX_ERR of the
#: five files, which it meets to 14 %.
PIXEL_VARIANCE = 2.0e4
PHOTON_EXCESS = 1.1
SKY_PER_PIXEL = 150.0  # electrons / s, median
#: Scatter from cadence to cadence of a bright quiet star that is not photons [relative], and of slower kinds.
JITTER = 1.6e-4
FAST_RED, SLOW_RED = 8e-5, 1.5e-4


@dataclass(frozen=True)
class SectorTimes:
    """The `n` cadences of a sector that have a time.

    Attributes
    ----------
    time : float64 (n,), ascending [BTJD]
    quality : int32 (n,), the spacecraft's flags
    orbit : int8 (n,), 0 or 1
    since_dump : float64 (n,), time since the last momentum dump or start of an orbit [d]
    n_lost : cadences of the downlink, which have no time
    """

    time: Array
    quality: NDArray[np.int32]
    orbit: NDArray[np.int8]
    since_dump: Array
    n_lost: int


def sector_times(seed: int, sector: int) -> SectorTimes:
    """When the spacecraft looks in `sector` (1 to `LAST_SECTOR`), and what is wrong with it then."""
    rng = stream(seed, "sector", sector)
    start, stop = SECTOR_START[sector - 1], SECTOR_START[sector] - BETWEEN_SECTORS
    count = int(min(stop - start, 27.9) / CADENCE)
    grid = to_steps(start + CADENCE * np.arange(count, dtype=np.float64), TIME_STEP)
    middle = 0.5 * (grid[0] + grid[-1]) + rng.normal(0.0, 0.15)
    down = middle + np.array([-0.5, 0.5]) * rng.uniform(0.95, 1.45)
    kept = (grid < down[0]) | (grid > down[1])
    time = grid[kept]
    orbit = (time > middle).astype(np.int8)
    quality = np.zeros(len(time), dtype=np.int32)
    dumps = grid[0] + rng.uniform(2.5, 3.1) * np.arange(1, 12)
    dumps = dumps[dumps < grid[-1]]
    lengths = rng.integers(4, 10, len(dumps))
    for dump, length in zip(dumps, lengths, strict=True):
        quality[(time >= dump) & (time < dump + length * CADENCE)] |= MOMENTUM_DUMP
    starts = np.array([grid[0], down[1]])
    for begin in starts:
        quality[(time >= begin) & (time < begin + rng.uniform(0.03, 0.2))] |= EXCLUDED
    quality[rng.choice(len(time), rng.poisson(25))] |= ARGABRIGHTENING
    quality[rng.choice(len(time), rng.poisson(14))] |= COARSE_POINT
    resets = np.sort(np.concatenate([starts, dumps]))
    since = time - resets[np.maximum(np.searchsorted(resets, time, side="right") - 1, 0)]
    return SectorTimes(time, quality, orbit, np.maximum(since, 0.0), int(np.sum(~kept)))


def observe_sector(rng: np.random.Generator, tmag: float, light: Array, times: SectorTimes) -> dict[str, Array]:
    """What the pipeline delivers of a star for one sector, in the table's columns but `camera`.

    Parameters
    ----------
    tmag : magnitude in TESS's band of `light` = 1
    light : shape (n,), true flux at `times`, averaged over each cadence, in units of the quiet star's
    """
    electrons = 10.0 ** (-0.4 * (tmag - ZERO_POINT)) * rng.lognormal(0.0, 0.04)
    stray, quality = _straylight(rng, times)
    flux_err = _stated_error(rng, tmag, electrons * light, stray)
    flux = electrons * light * (1.0 + _instrument(rng, times, float(np.median(flux_err)) / electrons))
    scatter = flux_err * rng.lognormal(np.log(0.95), 0.06)
    flux += scatter * (rng.standard_normal(len(light)) + _impulses(rng, len(light)))
    flux += 0.02 * electrons * stray  # what the pipeline's background leaves
    quality |= np.where(_stands_out(flux, scatter) & (rng.random(len(flux)) < 0.4), IMPULSE, 0).astype(np.int32)
    flux[(quality & WITHOUT_FLUX) > 0] = np.nan
    flux_err[np.isnan(flux)] = np.nan
    return {"time": times.time, "flux": flux, "flux_err": flux_err, "quality": quality}


def round_flux(columns: dict[str, Array], steps_per_error: float) -> dict[str, Array]:
    """Fluxes to steps of a power of two, at least so many to the sector's smallest error; errors to six bits.

    Such numbers are exact in 32 bits, end in zeros, and therefore pack well.
    """
    step = binary_step(np.asarray(np.nanmin(columns["flux_err"])) / steps_per_error)
    finite = np.isfinite(columns["flux_err"])
    flux_err = np.where(finite, to_bits(np.where(finite, columns["flux_err"], 1.0), 6), np.nan)
    return {**columns, "flux": to_steps(columns["flux"], step), "flux_err": flux_err}


def _straylight(rng: np.random.Generator, times: SectorTimes) -> tuple[Array, NDArray[np.int32]]:
    """Light of Earth and Moon in the star's camera, 1 at the worst, and the flags with it.

    One star in three has it, for up to 1.3 days at one end of each orbit. Half of what is flagged has no flux.
    """
    stray, quality = np.zeros(len(times.time)), times.quality.copy()
    if rng.random() > 0.35:
        return stray, quality
    late, hours = rng.random() < 0.5, rng.uniform(0.3, 1.3)
    for orbit in (0, 1):
        mine = np.flatnonzero(times.orbit == orbit)
        edge = times.time[mine[-1 if late else 0]]
        stray[mine] = np.exp(-3.0 * np.abs(times.time[mine] - edge) / hours)
    quality[stray > np.exp(-3.0)] |= STRAYLIGHT
    quality[stray > np.exp(-1.5)] |= EXCLUDED
    return stray, quality


def _stated_error(rng: np.random.Generator, tmag: float, electrons: Array, stray: Array) -> Array:
    """PDCSAP_FLUX_ERR: photons of star and sky, and the aperture's pixels; shape (n,) [electron/s]."""
    pixels = float(np.interp(tmag, APERTURE_TMAG, APERTURE_PIXELS))
    sky = SKY_PER_PIXEL * rng.lognormal(0.0, 0.35) * pixels
    photons = np.maximum(electrons, 0.0) + sky * (1.0 + 10.0 * stray)
    variance = PHOTON_EXCESS * photons * COUNTED_SECONDS + pixels * PIXEL_VARIANCE
    return np.sqrt(variance) / COUNTED_SECONDS * 1.08 * rng.lognormal(0.0, 0.06)


def _instrument(rng: np.random.Generator, times: SectorTimes, error: float) -> Array:
    """What the pipeline leaves of the spacecraft's own changes, relative, shape (n,).

    Jitter that grows from dump to dump, wander within hours and within days, a kick after each dump, the warm-up of
    each orbit, and an offset between the orbits. A part follows the photon `error`, as in apertures of faint stars.
    """
    n = len(times.time)
    jitter = JITTER * rng.lognormal(0.0, 0.3) * (0.7 + 0.2 * times.since_dump) * rng.standard_normal(n)
    fast = np.hypot(FAST_RED, 0.12 * error) * rng.lognormal(0.0, 0.3)
    slow = np.hypot(SLOW_RED, 0.06 * error) * rng.lognormal(0.0, 0.4)
    wander = damped_random_walk(rng, times.time, 0.15, fast) + damped_random_walk(rng, times.time, 4.0, slow)
    kick = rng.normal(0.0, 2.0 * SLOW_RED) * np.exp(-times.since_dump / 0.08)
    first = np.array([times.time[times.orbit == orbit][0] for orbit in (0, 1)])
    warm_up = rng.normal(0.0, 2.5 * SLOW_RED, 2)[times.orbit] * np.exp(-(times.time - first[times.orbit]) / 0.5)
    return jitter + wander + kick + warm_up + rng.normal(0.0, slow, 2)[times.orbit]


def _impulses(rng: np.random.Generator, n: int) -> Array:
    """Single bad cadences, three in a sector, four standard deviations and more [standard deviations]."""
    hit = rng.random(n) < 1.5e-4
    sign = np.where(rng.random(n) < 0.65, 1.0, -1.0)
    return np.where(hit, sign * (4.0 + rng.exponential(3.0, n)), 0.0)


def _stands_out(flux: Array, scatter: Array) -> NDArray[np.bool_]:
    """Cadences six standard deviations above, or below, both their neighbours: cosmic rays, and peaks of sharp flares.

    The pipeline marks 20 to 44 cadences of the flare stars Proxima and AU Mic, and 1 to 3 of quiet stars.
    """
    rise, fall = np.diff(flux, prepend=flux[0]), -np.diff(flux, append=flux[-1])
    return (np.minimum(np.abs(rise), np.abs(fall)) > 6.0 * scatter) & (rise * fall > 0.0)
