"""From a score per cadence to events: which cadences are one flare, and which of them is its peak.

Cadences that score above `grow` and follow each other are one candidate; it is an event if one of them scores above
`seed`. Between two of them `bridge_masked` cadences may lack a flux or a score, and `bridge_low` may score too low.
The peak lies inside its own event, so that no two events share one (AMB-52, AMB-56), and an event of a single cadence
counts (AMB-57). An event is cut in two where its flux falls far below both of two maxima (`split_sigma`); flares that
overlap more stay one event, since to tell them apart needs a model of their shape. On the embedded simulated sky, of
the events that a cut at 6 sigma adds to those of the matched filter, nine in ten are known flares.

The p of an event is its highest score. The scores of neighbouring cadences come from almost the same data, so 1 minus
the product of (1 - p), which takes them for independent, would say one of every long event.

Two presets repeat others. `paper` is Feinstein et al. (2020, section 3.4). `released` is stella as released: groups of
good cadences at most three apart, the peak the highest flux among all cadences from 50 before the group to 50 behind
it, by which neighbouring groups report the same peak, and a star with one cadence above the threshold has no flare.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings

from .orbits import Array, Orbit

#: `orbit` counts the orbits of the star, `first`, `last` and `peak` the cadences of the orbit, `last` included; `edge`
#: says that the cadence before or behind the event is missing, so that it may have been longer.
EVENTS: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    **dict.fromkeys(("orbit", "first", "last", "peak"), pl.Int32),
    **dict.fromkeys(("tstart", "tstop", "tpeak", "p"), pl.Float64),
    "edge": pl.Boolean,
}
#: What `accept` adds.
CHECKS = ("fails_sigma", "fails_following", "fails_neighbours", "fails_amplitude")

#: An array for each orbit, or what makes it: the flux with the star's own changes divided out or subtracted.
Detrended = Sequence[Array] | Callable[[Orbit], Array]

#: How far outside its group stella looks for a peak [good cadences].
_VICINITY = 50


class EventSettings(Settings):
    """Which cadences are one event.

    Attributes
    ----------
    seed : an event has a cadence that scores above this.
    grow : its cadences score above this, at most `seed`.
    inclusive : "above" includes the threshold itself.
    bridge_masked : cadences without a flux or score that may lie between two of an event.
    bridge_low : cadences that score too low and may lie between two of an event.
    min_cadences : from the first to the last, before it is cut.
    peak : "flux", the highest detrended flux in the event; "score", its highest score and of equal ones the highest
        flux; "vicinity", stella's.
    split_sigma : an event is cut at its lowest cadence between two that are so much higher [errors of the flux], each
        part with a cadence above `seed`; None never cuts.
    """

    seed: float = Field(default=0.5, gt=0.0, lt=1.0)
    grow: float = Field(default=0.2, ge=0.0, lt=1.0)
    inclusive: bool = False
    bridge_masked: int = Field(default=3, ge=0)
    bridge_low: int = Field(default=0, ge=0)
    min_cadences: int = Field(default=1, ge=1)
    peak: Literal["flux", "score", "vicinity"] = "flux"
    split_sigma: float | None = Field(default=6.0, gt=0.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.grow <= self.seed:
            raise ValueError(f"grow must not be above seed, got {self.grow} and {self.seed}")
        return self

    def at(self, seed: float) -> Self:
        """The same rule at another threshold; one that grows no further than its threshold does so at any."""
        grow = seed if self.grow == self.seed else min(self.grow, seed)
        return self.model_copy(update={"seed": seed, "grow": grow})


PRESETS = {
    "ours": EventSettings(),
    "paper": EventSettings(grow=0.5, bridge_masked=0, peak="score", split_sigma=None),
    "released": EventSettings(
        grow=0.5, inclusive=True, bridge_masked=10**6, bridge_low=2, peak="vicinity", split_sigma=None
    ),
}


class AcceptSettings(Settings):
    """What the detrended light curve must show at an event (paper, section 3.4; its lost numbers are AMB-55).

    Attributes
    ----------
    around : cadences on each side of the event that give the local level and scatter.
    scatter : "mad", 1.4826 times the median absolute deviation, which other flares nearby hardly change; or "std".
    amplitude_sigma : by how many sigma the peak stands above the level.
    following, following_sigma : so many cadences behind the peak stand so many sigma above it too.
    min_amplitude : which the amplitude must exceed, in units of the star's flux.
    """

    around: int = Field(default=100, ge=2)
    scatter: Literal["mad", "std"] = "mad"
    amplitude_sigma: float = 1.5
    following: int = Field(default=2, ge=0)
    following_sigma: float = 1.0
    min_amplitude: float = 0.005


ACCEPT_PRESETS = {
    "ours": AcceptSettings(),
    "paper": AcceptSettings(scatter="std"),
    "released": AcceptSettings(scatter="std", around=40, following=1, min_amplitude=0.002),
}


def find_events(
    orbits: Sequence[Orbit],
    scores: Sequence[Array],
    settings: EventSettings,
    star_id: str,
    detrended: Detrended | None = None,
) -> pl.DataFrame:
    """The events of one star, in order of orbit and first cadence.

    Parameters
    ----------
    scores : for each orbit shape (m,), NaN where there is none.
    detrended : flux that says where the peak is, for each orbit shape (m,); the orbits' own by default.

    Returns
    -------
    DataFrame with the columns `EVENTS`. With `peak="vicinity"` p is that of the peak.

    Raises
    ------
    DataError
        When there is not one score for every cadence.
    """
    _same_cadences(star_id, "scores", orbits, scores)
    fluxes = [orbit.flux for orbit in orbits] if detrended is None else _detrended(star_id, orbits, detrended)
    if settings.peak == "vicinity" and sum(int(_above(score, settings.seed, settings).sum()) for score in scores) == 1:
        return pl.DataFrame(schema=EVENTS)
    rows: list[dict[str, Any]] = []
    for number, (orbit, score, flux) in enumerate(zip(orbits, scores, fluxes, strict=True)):
        seen = orbit.good & np.isfinite(flux)
        if settings.peak != "vicinity":  # stella has a score for every good cadence
            seen &= np.isfinite(score)
        high = _above(score, settings.grow, settings) & seen
        seeds = _above(score, settings.seed, settings) & seen
        for start, stop in _runs(high, seen, settings):
            if stop - start + 1 < settings.min_cadences or not seeds[start : stop + 1].any():
                continue
            for first, last in split_run(np.where(seen, flux, np.nan), orbit, start, stop, settings.split_sigma, seeds):
                peak, p = _peak(first, last, score, flux, orbit, seen, high, settings.peak)
                rows.append({"orbit": number, **_event(orbit, first, last, peak, seen), "p": p})
    return pl.DataFrame([{"star_id": star_id, **row} for row in rows], schema=EVENTS)


def events_of_runs(
    orbits: Sequence[Orbit], runs: Sequence[tuple[int, int, int, int]], star_id: str, p: float = 1.0
) -> pl.DataFrame:
    """Events whose (orbit, first, last, peak) are known, such as those of a method without probabilities."""
    rows = [
        {"star_id": star_id, "orbit": k, **_event(orbits[k], first, last, peak, orbits[k].good), "p": p}
        for k, first, last, peak in runs
    ]
    return pl.DataFrame(rows, schema=EVENTS)


def accept(
    events: pl.DataFrame, orbits: Sequence[Orbit], detrended: Detrended, settings: AcceptSettings
) -> pl.DataFrame:
    """Which checks the events of one star fail; none is removed.

    The level is the median, and sigma the scatter, of the `around` cadences on each side of the event, without it. The
    amplitude is the peak above the level. A neighbour of the peak, or one that follows, that is masked is not asked.

    Parameters
    ----------
    events : of these orbits, with the columns `EVENTS`.
    detrended : for each orbit shape (m,), NaN where unknown.

    Returns
    -------
    `events` with booleans: `fails_sigma`, the amplitude is below `amplitude_sigma` sigma; `fails_following`, a cadence
    of those that follow the peak is below `following_sigma` sigma; `fails_neighbours`, the cadence before or behind the
    peak is not lower; `fails_amplitude`, the amplitude does not exceed `min_amplitude`; and `accepted`, none of them.

    Raises
    ------
    DataError
        When an orbit's detrended flux has another length, or an event lies in none of the orbits.
    """
    star_id = events["star_id"][0] if len(events) else ""
    fluxes = _detrended(star_id, orbits, detrended)
    checks = np.zeros((len(events), len(CHECKS)), dtype=bool)
    for row, (number, first, last, peak) in enumerate(events.select("orbit", "first", "last", "peak").iter_rows()):
        if not (0 <= number < len(orbits) and 0 <= first <= last < len(fluxes[number])):
            raise DataError(f"event {row} of star '{star_id}' lies in none of its {len(orbits)} orbits")
        checks[row] = _failures(fluxes[number], first, last, peak, settings)
    columns = [pl.Series(name, checks[:, k], dtype=pl.Boolean) for k, name in enumerate(CHECKS)]
    return events.with_columns(*columns, pl.Series("accepted", ~checks.any(axis=1), dtype=pl.Boolean))


def _same_cadences(star_id: str, what: str, orbits: Sequence[Orbit], values: Sequence[Array]) -> None:
    shapes, wanted = [np.shape(value) for value in values], [(len(orbit),) for orbit in orbits]
    if shapes != wanted:
        raise DataError(f"the {what} of star '{star_id}' must have the shapes of its orbits, {wanted}, not {shapes}")


def _detrended(star_id: str, orbits: Sequence[Orbit], detrended: Detrended) -> list[Array]:
    fluxes = [detrended(orbit) for orbit in orbits] if callable(detrended) else list(detrended)
    _same_cadences(star_id, "detrended fluxes", orbits, fluxes)
    return fluxes


def _above(score: Array, threshold: float, settings: EventSettings) -> NDArray[np.bool_]:
    return score >= threshold if settings.inclusive else score > threshold


def _runs(high: NDArray[np.bool_], seen: NDArray[np.bool_], settings: EventSettings) -> Iterator[tuple[int, int]]:
    """First and last cadence of each candidate; what is `high` is `seen` too."""
    index = np.flatnonzero(high)
    if len(index) == 0:
        return
    count = np.cumsum(seen)
    low: NDArray[np.int64] = count[index[1:] - 1] - count[index[:-1]]
    masked = np.diff(index) - 1 - low
    ends = np.flatnonzero((low > settings.bridge_low) | (masked > settings.bridge_masked))
    firsts, lasts = index[np.append(0, ends + 1)], index[np.append(ends, len(index) - 1)]
    yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


def split_run(
    flux: Array, orbit: Orbit, first: int, last: int, sigma: float | None, seeds: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """First and last cadence of the parts of an event, cut where the flux falls by so many errors below two maxima.

    Of all cadences the one is taken that lies deepest below the highest before it and the highest behind it, whichever
    of them is lower: the maxima's prominence. It ends the first part, and both parts are looked at again.

    Parameters
    ----------
    flux : shape (m,), NaN where masked; `first` and `last` are not.
    orbit : whose median error in the event is meant; without one nothing is cut.
    sigma : None cuts nothing.
    seeds : shape (m,); every part holds one of these.
    """
    inside = first + np.flatnonzero(np.isfinite(flux[first : last + 1]))
    errors = orbit.flux_err[inside]
    if sigma is None or len(inside) < 3 or not np.isfinite(errors).any():
        return [(first, last)]
    values = flux[inside]
    lower = np.minimum(np.maximum.accumulate(values), np.maximum.accumulate(values[::-1])[::-1])
    depth = lower - values
    if seeds is not None:
        count = np.cumsum(seeds[inside])
        depth[(count == 0) | (count == count[-1])] = 0.0
    deepest = int(np.argmax(depth))
    if not depth[deepest] >= sigma * np.nanmedian(errors) or depth[deepest] == 0.0:
        return [(first, last)]
    parts = ((first, int(inside[deepest])), (int(inside[deepest + 1]), last))
    return [cut for part in parts for cut in split_run(flux, orbit, *part, sigma, seeds)]


def _peak(
    first: int,
    last: int,
    score: Array,
    flux: Array,
    orbit: Orbit,
    seen: NDArray[np.bool_],
    high: NDArray[np.bool_],
    kind: Literal["flux", "score", "vicinity"],
) -> tuple[int, float]:
    """The peak of an event, and its p."""
    if kind == "vicinity":
        peak = _peak_in_vicinity(first, last, high, orbit)
        return peak, float(score[peak])
    inside = first + np.flatnonzero(seen[first : last + 1])
    if kind == "score":
        peak = int(inside[np.lexsort((orbit.flux[inside], score[inside]))[-1]])
    else:
        peak = int(inside[np.argmax(flux[inside])])
    return peak, float(score[inside].max())


def _peak_in_vicinity(first: int, last: int, high: NDArray[np.bool_], orbit: Orbit) -> int:
    """Stella's peak, in whichever group. Cadences that are not good do not count, the one 50 behind is left out, and
    towards the end of the light curve only its last 50 are searched, be the group longer or not."""
    good = np.flatnonzero(orbit.good)
    begin, end = np.searchsorted(good, (first, last))
    if begin < _VICINITY:
        searched = good[: end + _VICINITY]
    elif end + _VICINITY > len(good):
        searched = good[-_VICINITY:]
    else:
        searched = good[begin - _VICINITY : end + _VICINITY]
    searched = searched[high[searched]]
    return int(searched[np.argmax(orbit.flux[searched])])


def _event(orbit: Orbit, first: int, last: int, peak: int, seen: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "first": first,
        "last": last,
        "peak": peak,
        "tstart": float(orbit.time[first]),
        "tstop": float(orbit.time[last]),
        "tpeak": float(orbit.time[peak]),
        "edge": bool(first == 0 or last == len(orbit) - 1 or not (seen[first - 1] and seen[last + 1])),
    }


def _failures(flux: Array, first: int, last: int, peak: int, settings: AcceptSettings) -> tuple[bool, ...]:
    """Which of `CHECKS` fail; all that ask for the peak do where it is masked."""
    before, after = flux[max(first - settings.around, 0) : first], flux[last + 1 : last + 1 + settings.around]
    level, sigma = _level(np.concatenate([before, after]), settings.scatter)
    amplitude = flux[peak] - level
    following = flux[peak + 1 : peak + 1 + settings.following] - level
    neighbours = np.append(flux[max(peak - 1, 0) : peak], flux[peak + 1 : peak + 2])
    return (
        not amplitude >= settings.amplitude_sigma * sigma,
        bool(np.any(following < settings.following_sigma * sigma)),
        bool(np.any(neighbours >= flux[peak])) or bool(np.isnan(flux[peak])),
        not amplitude > settings.min_amplitude,
    )


def _level(values: Array, scatter: Literal["mad", "std"]) -> tuple[float, float]:
    """Median and scatter of what is not NaN; NaN where that is less than two cadences, so that nothing is above it."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return np.nan, np.nan
    level = float(np.median(values))
    sigma = values.std() if scatter == "std" else 1.4826 * np.median(np.abs(values - level))
    return level, float(sigma)
