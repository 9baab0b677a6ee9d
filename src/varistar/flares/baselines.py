"""Flares without a network, for comparison: runs of high cadences, and a matched filter.

Both work orbit by orbit on the flux with the star's own changes subtracted: r = flux - trend, sigma its scatter.

**Runs** (Chang et al. 2015, ApJ 814, 35, eqs. 3a-d). A cadence is high if r is positive, r / sigma >= N1, and with its
own error e against it still (r - e) / sigma >= N2; N3 high cadences in a row are a flare. Chang et al. write magnitudes
m, in which a flare is negative and the third criterion has m + e. Copied with that sign into flux it says nothing that
the second does not (AltaiPony #66).

**Matched filter** (ours). Let t be the template of a flare (`varistar.physics.flares`) averaged over exposures, with
its peak on cadence k. The best amplitude of least squares is sum(r t / s^2) / sum(t^2 / s^2), over the good cadences,
and its signal-to-noise ratio

    q = sum(r t / s^2) / sqrt(sum(t^2 / s^2)),

with s the cadences' errors scaled to the scatter of r. Where r is redder than white the spread of q over all k exceeds
one for wide templates, and q is divided by that spread. The highest q above the threshold over all k and widths is a
flare; its cadences are masked, and the next is sought in what remains. Cosmic rays look like the narrowest template:
where the q of all cadences but the highest falls below `rest`, only that one is masked, and it is no flare.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import savgol_filter

from varistar.foundation.settings import Settings
from varistar.physics.flares import RISE_WIDTHS, Flares, flare_flux

from .events import events_of_runs, split_run
from .orbits import Array, Orbit

#: A template is followed until it has fallen to this share of its peak.
_FADED = 0.03
#: Share of a template's power (sum of t^2 / s^2) that must fall on good cadences.
_SEEN = 0.5
#: Cadences missing in a row across which the polynomial filter does not reach, rounds of clipping and their limit in
#: standard deviations, and the polynomial's order: lightkurve's, which the paper used.
_BREAK, _ROUNDS, _CLIP, _ORDER = 5, 3, 3.0, 2


class RunSettings(Settings):
    """Flares as runs of high cadences.

    Attributes
    ----------
    trend : "savgol", polynomials of second order, with outliers left out; or "median", a running median.
    window_days : of the trend, rounded to an odd number of cadences [d].
    n1, n2, n3 : least height [sigma], least height less its error [sigma], least number of cadences in a row.
    split_sigma : where a run is cut in two, as an event is (`varistar.flares.events.EventSettings`).
    """

    trend: Literal["savgol", "median"] = "median"
    window_days: float = Field(default=0.3, gt=0.0)
    n1: float = Field(default=3.0, ge=0.0)
    n2: float = Field(default=2.0, ge=0.0)
    n3: int = Field(default=3, ge=1)
    split_sigma: float | None = Field(default=None, gt=0.0)


#: What the paper compares with: 15 cadences of 2 minutes.
CHANG = RunSettings(trend="savgol", window_days=30.0 / 1440.0, n1=3.0, n2=1.0, n3=3)
RUNNING_MEDIAN = RunSettings()


class FilterSettings(Settings):
    """The matched filter.

    Attributes
    ----------
    window_days : of the running median [d].
    fwhm_minutes : widths of the templates [min].
    threshold : least signal-to-noise ratio.
    rest : least of it without the flare's highest cadence.
    split_sigma : where a flare is cut in two, as an event is (`varistar.flares.events.EventSettings`).
    """

    window_days: float = Field(default=0.3, gt=0.0)
    fwhm_minutes: tuple[float, ...] = Field(default=(2.0, 3.0, 4.5, 7.0, 10.0, 15.0, 22.0, 33.0, 50.0), min_length=1)
    threshold: float = Field(default=5.0, gt=0.0)
    rest: float = 2.0
    split_sigma: float | None = Field(default=6.0, gt=0.0)


def run_events(orbits: Sequence[Orbit], settings: RunSettings, star_id: str) -> pl.DataFrame:
    """Flares of one star as runs of high cadences.

    Returns
    -------
    DataFrame with the columns `varistar.flares.events.EVENTS`, p one for all, and `significance`, r of the peak in
    sigma. The peak is the highest r of the run.
    """
    runs, strength = [], []
    for number, orbit in enumerate(orbits):
        excess = orbit.flux - _trend(orbit, settings.trend, settings.window_days)
        sigma = _scatter(excess)
        error = np.where(np.isfinite(orbit.flux_err), orbit.flux_err, sigma)
        high = (excess > 0) & (excess >= settings.n1 * sigma) & (excess - error >= settings.n2 * sigma)
        change = np.flatnonzero(np.diff(high, prepend=False, append=False))
        for first, stop in change.reshape(-1, 2).tolist():
            if stop - first < settings.n3:
                continue
            for part in split_run(excess, orbit, first, stop - 1, settings.split_sigma):
                peak = _highest(excess, *part)
                runs.append((number, *part, peak))
                strength.append(excess[peak] / sigma if sigma > 0 else np.inf)
    return _with_significance(events_of_runs(orbits, runs, star_id), strength)


def filter_events(orbits: Sequence[Orbit], settings: FilterSettings, star_id: str) -> pl.DataFrame:
    """Flares of one star by the matched filter.

    Returns
    -------
    DataFrame with the columns `varistar.flares.events.EVENTS`, p one for all; `significance`, q; `fwhm_minutes` and
    `amplitude` of the template that gave it (its highest exposure), which the parts of one that is cut share. A flare
    lasts from where its template rises above one sigma to where that has fallen below and the flux with it, and its
    peak is its highest r.
    """
    runs, strength, width, height = [], [], [], []
    for number, orbit in enumerate(orbits):
        excess = orbit.flux - running_median(orbit.flux, _cadences(settings.window_days, orbit))
        templates = [_template(minutes / 1440.0, orbit.cadence) for minutes in settings.fwhm_minutes]
        for found in _filter(excess, _errors(orbit, excess), templates, settings):
            first, last, q, k, amplitude = found
            for part in split_run(excess, orbit, first, last, settings.split_sigma):
                runs.append((number, *part, _highest(excess, *part)))
                strength.append(q)
                width.append(settings.fwhm_minutes[k])
                height.append(amplitude)
    events = _with_significance(events_of_runs(orbits, runs, star_id), strength)
    return events.with_columns(
        pl.Series("fwhm_minutes", width, dtype=pl.Float64), pl.Series("amplitude", height, dtype=pl.Float64)
    ).sort("orbit", "first")


def running_median(flux: Array, window: int) -> Array:
    """Median of the good cadences of an odd window around each, shape (m,), narrower at the ends.

    NaN where fewer than a quarter of the window are good.
    """
    least = max(window // 4, 1)
    values = pl.Series(flux).fill_nan(None).rolling_median(window, min_samples=least, center=True)
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def running_polynomial(flux: Array, window: int) -> Array:
    """Savitzky-Golay filter of second order, shape (m,), as lightkurve's `flatten` uses it.

    It works on the good cadences, put side by side, of each stretch without a gap of five; a stretch shorter than the
    window has its median. Cadences beyond three standard deviations are left out and the rest filtered again, three
    times; between them the trend is interpolated. NaN where the flux is.
    """
    good = np.flatnonzero(np.isfinite(flux))
    trend = np.full(len(flux), np.nan)
    if len(good) == 0:
        return trend
    kept = np.ones(len(good), dtype=bool)
    for _ in range(_ROUNDS):
        trend[good] = np.interp(good, good[kept], _filter_stretches(flux, good[kept], window))
        off = np.abs(flux[good] - trend[good])
        clipped = kept & (off < _CLIP * np.std(flux[good] - trend[good]) + 1e-14)
        if not clipped.any():
            break
        kept = clipped
    return trend


def _filter_stretches(flux: Array, cadences: NDArray[np.int64], window: int) -> Array:
    bounds = [0, *(np.flatnonzero(np.diff(cadences) > _BREAK) + 1).tolist(), len(cadences)]
    fitted = np.empty(len(cadences))
    for start, stop in pairwise(bounds):
        values = flux[cadences[start:stop]]
        if stop - start >= window:
            fitted[start:stop] = savgol_filter(values, window, _ORDER)
        elif stop > start:
            fitted[start:stop] = np.median(values)
    return fitted


def _trend(orbit: Orbit, kind: Literal["savgol", "median"], window_days: float) -> Array:
    window = _cadences(window_days, orbit)
    if kind == "savgol":
        return running_polynomial(orbit.flux, max(window, _ORDER + 1))
    return running_median(orbit.flux, window)


def _cadences(window_days: float, orbit: Orbit) -> int:
    """The odd number of cadences that is nearest. A spacing differs by 1e-5 from orbit to orbit, so that an even number
    needs a margin to be rounded the same way always: up."""
    return 2 * math.floor(window_days / orbit.cadence / 2.0 + 1e-3) + 1


def _scatter(values: Array) -> float:
    """1.4826 times the median absolute deviation of what is not NaN; infinite for nothing."""
    values = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else np.inf


def _errors(orbit: Orbit, excess: Array) -> Array:
    """The cadences' errors, scaled to the scatter of the flux: equal ones where the pipeline gives none."""
    known = np.where(np.isfinite(orbit.flux_err), orbit.flux_err, np.nan)
    typical = np.nanmedian(known) if np.isfinite(known).any() else 1.0
    errors = np.where(np.isfinite(known), known, typical)
    return errors * _scatter(excess / errors)


def _with_significance(events: pl.DataFrame, strength: Sequence[float]) -> pl.DataFrame:
    return events.with_columns(pl.Series("significance", strength, dtype=pl.Float64))


def _template(fwhm: float, cadence: float) -> tuple[Array, int]:
    """A flare of this width [d] with its peak in the middle of a cadence, highest cadence one; and which that is."""
    before = int(np.ceil(RISE_WIDTHS * fwhm / cadence)) + 1
    after = int(np.ceil(12.0 * fwhm / cadence)) + 1
    flare = Flares(np.zeros(1), np.ones(1), np.array([fwhm]), np.zeros(1, dtype=np.int64))
    shape = flare_flux(flare, cadence * np.arange(-before, after + 1, dtype=np.float64), cadence)
    shape /= shape.max()
    shown = np.flatnonzero(shape >= _FADED)
    first, last = min(int(shown[0]), before), int(shown[-1])
    return shape[first : last + 1], before - first


def _filter(
    excess: Array, error: Array, templates: Sequence[tuple[Array, int]], settings: FilterSettings
) -> list[tuple[int, int, float, int, float]]:
    """First and last cadence, q, template and amplitude of each flare, the strongest first."""
    good = np.isfinite(excess) & (error > 0.0) & np.isfinite(error)
    weight = np.where(good, 1.0 / np.where(good, error, 1.0) ** 2, 0.0)
    value = np.where(good, excess, 0.0)
    q = np.empty((len(templates), len(excess)))
    for k, (shape, centre) in enumerate(templates):
        _ratios(value, weight, shape, centre, 0, len(excess), q[k])
    spread = np.array([_scatter(row[row != 0.0]) for row in q])
    spread = np.where(np.isfinite(spread), np.maximum(spread, 1.0), 1.0)
    q /= spread[:, None]
    taken = np.zeros(len(excess), dtype=bool)
    found: list[tuple[int, int, float, int, float]] = []
    while True:
        k, at = divmod(int(np.argmax(q)), q.shape[1])
        if not q[k, at] >= settings.threshold:
            return found
        shape, centre = templates[k]
        amplitude, rest, highest = _fit(value, weight, shape, at - centre)
        if rest / spread[k] >= settings.rest:
            first, last = _extent(value, weight, taken, amplitude * shape, at, centre)
            found.append((first, last, float(q[k, at]), k, amplitude))
            taken[first : last + 1] = True
        else:
            first = last = highest
        weight[first : last + 1] = 0.0
        for j, (other, middle) in enumerate(templates):
            start, stop = max(first - len(other), 0), min(last + len(other) + 1, len(excess))
            _ratios(value, weight, other, middle, start, stop, q[j])
            q[j, start:stop] /= spread[j]


def _fit(value: Array, weight: Array, shape: Array, start: int) -> tuple[float, float, int]:
    """Amplitude of the template that begins on cadence `start`, q without the highest cadence, and which that is."""
    first, last = max(start, 0), min(start + len(shape), len(value))
    part = shape[first - start : last - start]
    signal, power = value[first:last] * part * weight[first:last], part**2 * weight[first:last]
    highest = int(np.argmax(value[first:last] ** 2 * weight[first:last] * (value[first:last] > 0.0)))
    left = power.sum() - power[highest]
    rest = (signal.sum() - signal[highest]) / np.sqrt(left) if left > 0.0 else 0.0
    return float(signal.sum() / power.sum()), float(rest), first + highest


def _extent(
    value: Array, weight: Array, taken: NDArray[np.bool_], model: Array, at: int, centre: int
) -> tuple[int, int]:
    """First and last cadence, both good, of a flare whose model has its peak, its element `centre`, on cadence `at`.

    It holds the cadences where the model exceeds one sigma, and after them those where the flux does, until two in a
    row do not; but none from where another flare has taken one.
    """
    start = at - centre
    cadences = np.arange(max(start, 0), min(start + len(model), len(value)))
    above = cadences[(model[cadences - start] ** 2 * weight[cadences] > 1.0) | (cadences == at)]
    first, last = int(above[0]), int(above[-1])
    high = (value > 0.0) & (value**2 * weight > 1.0)
    while high[last + 1 : last + 3].any():
        last += 1
    before, behind = np.flatnonzero(taken[first:at]), np.flatnonzero(taken[at : last + 1])
    first = first + int(before[-1]) + 1 if len(before) else first
    last = at + int(behind[0]) - 1 if len(behind) else last
    good = first + np.flatnonzero(weight[first : last + 1])
    return int(good[0]), int(good[-1])


def _highest(excess: Array, first: int, last: int) -> int:
    return first + int(np.nanargmax(excess[first : last + 1]))


@njit(cache=True, fastmath=True)
def _ratios(value: Array, weight: Array, shape: Array, centre: int, start: int, stop: int, q: Array) -> None:
    """Signal-to-noise ratio of the template with its peak on the cadences from `start` to `stop`; 0 where it peaks on
    a masked one or too little of it is seen."""
    full = 0.0
    for j in range(len(shape)):
        full += shape[j] * shape[j]
    for i in range(start, stop):
        q[i] = 0.0
        if weight[i] == 0.0:
            continue
        first = max(i - centre, 0)
        last = min(i - centre + len(shape), len(value))
        shift = centre - i
        signal, power = 0.0, 0.0
        for j in range(first, last):
            t = shape[j + shift]
            signal += value[j] * weight[j] * t
            power += t * t * weight[j]
        if power >= _SEEN * full * weight[i]:
            q[i] = signal / np.sqrt(power)
