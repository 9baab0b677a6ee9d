"""Put flares that are known into light curves of any star: for training, and to see which of them a method finds.

A flare of height A adds A times the star's median flux, averaged over each exposure, and its light has photon noise:
where an error sigma is known, of which the share s of the variance comes from the star's own photons, a flare that adds
f raises the variance to sigma^2 (1 + s f). Cadences that are lost stay lost.

What is drawn depends on the seed and the star's id alone, so that a star has the same flares whichever stars are
injected beside it, in any order and by any number of workers.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.physics.flares import DECAYS, PUBLISHED_FWHM, RISE_WIDTHS, Flares, flare_flux
from varistar.sky.streams import stream

from .draws import AnyFlares, AnyPlaced, LawDraw, PaperDraw, PlacedDraw, draw_sizes, law_flares, paper_flares
from .labels import LABELS
from .orbits import Array, Orbit

#: Without errors, the noise is that of so many cadences together, of which so many steps must be good.
LOCAL_CADENCES, LOCAL_STEPS = 200, 20


class Injected(NamedTuple):
    """Light curves with flares, and the flares: LABELS in the order of their peaks, `source` being "injected".

    `tstart` and `tstop` are the first and last good cadence in which the flare alone is above the noise, or its highest
    where none is. `peak_snr` is its highest cadence, of that which holds the peak and its neighbours, over the noise
    before the injection: the error, or without one the scatter of steps between the 200 cadences around. All three are
    null where the cadence of the peak is not good.
    """

    orbits: list[Orbit]
    labels: pl.DataFrame


def inject(star_id: str, orbits: Sequence[Orbit], known: pl.DataFrame, settings: PlacedDraw | LawDraw) -> Injected:
    """Add flares to the light curve of one star.

    Parameters
    ----------
    orbits : of the star.
    known : LABELS; those of this star are kept clear, except by `LawDraw`.

    Raises
    ------
    DataError
        When a flare is to have a signal-to-noise ratio where the light curve has neither errors nor noise.
    """
    rng = stream(settings.seed, "injected flares", star_id)
    photons = stream(settings.seed, "photons of injected flares", star_id)
    if isinstance(settings, LawDraw):
        flares: list[AnyFlares] = list(law_flares(rng, orbits, settings))
    else:
        flares = _placed(rng, star_id, orbits, known.filter(pl.col("star_id") == star_id), settings)
    injected = [
        _with_light(orbit, _light(part, orbit.time, orbit.cadence), photons, settings.photon_share)
        for orbit, part in zip(orbits, flares, strict=True)
    ]
    tables = [_label(star_id, part, orbit) for orbit, part in zip(orbits, flares, strict=True)]
    return Injected(injected, pl.concat([pl.DataFrame(schema=LABELS), *tables]).sort("tpeak", maintain_order=True))


def flip(orbits: Sequence[Orbit]) -> list[Orbit]:
    """The light curve upside down about the median of each orbit: 2 median - flux.

    What it has of flares points down, so whatever is found in it is false: noise, glitches, trends, and the dips of
    eclipses and transits, which have become bumps.
    """
    return [replace(orbit, flux=2.0 * _median(orbit.flux) - orbit.flux) for orbit in orbits]


def relabel(labels: pl.DataFrame, orbits: Sequence[Orbit]) -> pl.DataFrame:
    """The LABELS of one star as other exposures show its flares: `tstart`, `tstop` and `peak_snr` as `Injected` has
    them.

    Parameters
    ----------
    labels : with `tpeak`, `amplitude` and `fwhm_minutes`; one without amplitude stays as it is.
    """
    noise = [_noise(orbit) for orbit in orbits]
    seen = np.full((labels.height, 3), math.nan)
    for row, (tpeak, amplitude, minutes) in enumerate(labels.select("tpeak", "amplitude", "fwhm_minutes").iter_rows()):
        if amplitude is None:
            continue
        flare = Flares(np.array([tpeak]), np.array([amplitude]), np.array([minutes / 1440.0]), np.zeros(1, np.int64))
        for orbit, its_noise in zip(orbits, noise, strict=True):
            if abs(tpeak - 0.5 * (orbit.time[0] + orbit.time[-1])) < 0.5 * (len(orbit) + 1) * orbit.cadence:
                seen[row] = _extent(flare, orbit, its_noise)
    columns = {name: pl.Series(seen[:, k]).fill_nan(None) for k, name in enumerate(("tstart", "tstop", "peak_snr"))}
    known = pl.col("amplitude").is_not_null()
    return labels.with_columns(
        pl.when(known).then(values).otherwise(pl.col(name)).alias(name) for name, values in columns.items()
    )


def searched_days(orbits: Sequence[Orbit]) -> float:
    """Good cadences, as days."""
    return float(sum(int(orbit.good.sum()) * orbit.cadence for orbit in orbits))


def _median(flux: Array) -> float:
    good = flux[np.isfinite(flux)]
    return float(np.median(good)) if len(good) else math.nan


def _placed(
    rng: np.random.Generator, star_id: str, orbits: Sequence[Orbit], known: pl.DataFrame, settings: PlacedDraw
) -> list[AnyFlares]:
    """The flares of each orbit."""
    if isinstance(settings, PaperDraw):
        drawn = paper_flares(rng, settings)
        orbit_of, cadence, chosen = _places(rng, orbits, known, drawn.fwhm, settings)
        drawn = drawn.take(chosen)
        parts: list[AnyFlares] = []
        for k, orbit in enumerate(orbits):
            own = _in_orbit(k, orbit_of, cadence)
            parts.append(replace(drawn.take(own), tpeak=orbit.time[cadence[own]]))
        return parts
    height, fwhm, in_snr = draw_sizes(rng, searched_days(orbits), settings)
    orbit_of, cadence, chosen = _places(rng, orbits, known, fwhm, settings)
    height, fwhm = height[chosen], fwhm[chosen]
    phase = rng.uniform(-0.49, 0.49, len(chosen))  # never on a neighbour, were cadences a little uneven
    parts = []
    for k, orbit in enumerate(orbits):
        own = _in_orbit(k, orbit_of, cadence)
        tpeak = orbit.time[cadence[own]] + phase[own] * orbit.cadence
        flares = Flares(tpeak, height[own], fwhm[own], np.arange(len(own)))
        parts.append(_of_snr(flares, star_id, orbit) if in_snr else flares)
    return parts


def _in_orbit(k: int, orbit_of: NDArray[np.int64], cadence: NDArray[np.int64]) -> NDArray[np.int64]:
    """The flares of orbit `k`, in order of time."""
    own = np.flatnonzero(orbit_of == k)
    return own[np.argsort(cadence[own])]


def _places(
    rng: np.random.Generator, orbits: Sequence[Orbit], known: pl.DataFrame, fwhm: Array, settings: AnyPlaced
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Orbit and cadence of each flare that finds room, and which it is; all of shape (k,).

    One after the other, each flare takes any cadence that those before it and the known flares leave open.
    """
    free = np.concatenate([np.empty(0, np.bool_), *(_free(orbit, settings) for orbit in orbits)])
    start = np.cumsum([0, *map(len, orbits)])
    taken = [
        (int(start[k]) + first, int(start[k]) + last + settings.apart, k)
        for k, orbit in enumerate(orbits)
        for first, last in _cadences_of(known, orbit)
    ]
    found = []
    for flare, width in enumerate(fwhm):
        open_ = free.copy()
        reach = [max(settings.apart, math.ceil(settings.apart_widths * width / orbit.cadence)) for orbit in orbits]
        for begin, end, k in taken:
            open_[max(begin - reach[k] + 1, start[k]) : max(min(end, start[k + 1]), start[k])] = False
        places = np.flatnonzero(open_)
        if len(places):
            place = int(places[rng.integers(len(places))])
            k = int(np.searchsorted(start, place, side="right")) - 1
            taken.append((place, place + reach[k], k))
            found.append((k, place - int(start[k]), flare))
    orbit_of, cadence, chosen = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return orbit_of, cadence, chosen


def _free(orbit: Orbit, settings: AnyPlaced) -> NDArray[np.bool_]:
    """Good cadences far enough from gaps and ends, shape (m,)."""
    free = orbit.good.copy()
    steps = np.diff(np.concatenate([[True], orbit.good, [True]]).astype(np.int8))
    begins, ends = np.flatnonzero(steps == -1), np.flatnonzero(steps == 1)
    gaps = [(int(a), int(b)) for a, b in zip(begins, ends, strict=True) if b - a >= settings.gap]
    m = len(orbit)
    for begin, end in [(0, 0), *gaps, (m, m)]:
        free[max(begin - settings.from_gaps, 0) : end + settings.from_gaps] = False
    return free


def _cadences_of(known: pl.DataFrame, orbit: Orbit) -> list[tuple[int, int]]:
    """First and last cadence of each known flare, counted on beyond the orbit's ends."""
    spans = known.select(
        pl.min_horizontal("tstart", "tpeak").fill_nan(None), pl.max_horizontal("tstop", "tpeak").fill_nan(None)
    ).drop_nulls()
    times = spans.to_numpy().astype(np.float64)
    inside = np.interp(times, orbit.time, np.arange(len(orbit)))
    place = inside + (times - np.clip(times, orbit.time[0], orbit.time[-1])) / orbit.cadence
    return [(int(first), int(last)) for first, last in zip(np.floor(place[:, 0]), np.ceil(place[:, 1]), strict=True)]


def _of_snr(flares: Flares, star_id: str, orbit: Orbit) -> Flares:
    """Flares whose `amplitude` is their signal-to-noise ratio, with the amplitude that gives them that."""
    unit = replace(flares, amplitude=np.ones(len(flares)))
    noise = _noise(orbit)
    snr = np.array([_highest(unit.take(slice(k, k + 1)), orbit, noise)[0] for k in range(len(unit))])
    if not np.all(np.isfinite(snr)):
        raise DataError(f"star {star_id}: flares of a given signal-to-noise ratio need errors of the flux, or noise")
    return replace(flares, amplitude=flares.amplitude / snr)


def _noise(orbit: Orbit) -> Array:
    """Noise of each good cadence, shape (m,): its error, or the scatter of steps around it; NaN where both lack."""
    noise = orbit.flux_err.copy()
    lacking = orbit.good & ~np.isfinite(noise)
    everywhere = _scatter_of_steps(orbit.flux) if lacking.any() else math.nan
    for begin in range(0, len(orbit), LOCAL_CADENCES):
        block = slice(begin, begin + LOCAL_CADENCES)
        if lacking[block].any():
            local = _scatter_of_steps(orbit.flux[block])
            noise[block][lacking[block]] = local if local > 0.0 else everywhere
    return noise


def _scatter_of_steps(flux: Array) -> float:
    """Standard deviation of white noise that would step as much from cadence to cadence, by the median step."""
    steps = np.abs(np.diff(flux))
    steps = steps[np.isfinite(steps)]
    scatter = 1.4826 * float(np.median(steps)) / math.sqrt(2.0) if len(steps) >= LOCAL_STEPS else math.nan
    return scatter if scatter > 0.0 else math.nan


def _highest(flare: AnyFlares, orbit: Orbit, noise: Array) -> tuple[float, int]:
    """Signal-to-noise ratio of one flare, and the cadence that has it; NaN where its peak is not seen."""
    tpeak = float(flare.tpeak[0])
    after = int(np.clip(np.searchsorted(orbit.time, tpeak), 1, len(orbit) - 1))
    nearest = after - int(tpeak - orbit.time[after - 1] < orbit.time[after] - tpeak)
    if not orbit.good[nearest] or abs(orbit.time[nearest] - tpeak) > 0.51 * orbit.cadence:
        return math.nan, nearest
    near = np.arange(max(nearest - 1, 0), min(nearest + 2, len(orbit)))
    near = near[orbit.good[near]]
    snr = _light(flare, orbit.time[near], orbit.cadence) / noise[near]
    if not np.isfinite(snr).any():
        return math.nan, nearest
    return float(np.nanmax(snr)), int(near[np.nanargmax(snr)])


def _light(flares: AnyFlares, time: Array, exposure: float) -> Array:
    """What flares add at these times, shape (m,)."""
    if isinstance(flares, Flares):
        return flare_flux(flares, time, exposure)
    added = np.zeros(len(time))
    for tpeak, amplitude, rise, fall in zip(flares.tpeak, flares.amplitude, flares.rise, flares.fall, strict=True):
        since = time - tpeak
        before = np.exp(-0.5 * (since / rise) ** 2)
        added += amplitude * np.where(since <= 0.0, before, np.exp(-np.maximum(since, 0.0) / fall))
    return added


def _with_light(orbit: Orbit, added: Array, rng: np.random.Generator, photon_share: float) -> Orbit:
    """The orbit with this much more light, and its photon noise."""
    more = photon_share * orbit.flux_err**2 * np.maximum(added, 0.0)  # differences of integrals may round below
    noise = np.sqrt(np.nan_to_num(more)) * rng.standard_normal(len(orbit))
    return replace(orbit, flux=orbit.flux + added + noise, flux_err=np.sqrt(orbit.flux_err**2 + more))


def _label(star_id: str, flares: AnyFlares, orbit: Orbit) -> pl.DataFrame:
    """LABELS of flares in this orbit."""
    noise = _noise(orbit)
    seen = np.array([_extent(flares.take(slice(k, k + 1)), orbit, noise) for k in range(len(flares))]).reshape(-1, 3)
    return pl.DataFrame(
        {
            "star_id": [star_id] * len(flares),
            "tpeak": flares.tpeak,
            "tstart": seen[:, 0],
            "tstop": seen[:, 1],
            "amplitude": flares.amplitude,
            "fwhm_minutes": 1440.0 * flares.fwhm,
            "equivalent_duration_s": flares.equivalent_duration,
            "peak_snr": seen[:, 2],
            "source": ["injected"] * len(flares),
        },
        schema=LABELS,
    ).with_columns(pl.col("tstart", "tstop", "peak_snr").fill_nan(None))


def _extent(flare: AnyFlares, orbit: Orbit, noise: Array) -> tuple[float, float, float]:
    """Time of the first and last cadence in which one flare is above the noise, and its signal-to-noise ratio."""
    snr, highest = _highest(flare, orbit, noise)
    if not math.isfinite(snr):
        return math.nan, math.nan, math.nan
    # the slower decay is the last to sink below the noise
    fades = math.log(max(snr, 1.0)) / (DECAYS[0] * PUBLISHED_FWHM) + RISE_WIDTHS
    width = float(flare.fwhm[0]) / orbit.cadence
    low = max(highest - math.ceil(RISE_WIDTHS * width) - 2, 0)
    part = slice(low, highest + math.ceil(fades * width) + 3)
    above = np.flatnonzero(_light(flare, orbit.time[part], orbit.cadence) > noise[part])
    first, last = (low + above[0], low + above[-1]) if len(above) else (highest, highest)
    return float(orbit.time[first]), float(orbit.time[last]), snr
