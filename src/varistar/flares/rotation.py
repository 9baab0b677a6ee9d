"""Rotation periods from spots: a periodogram per sector, the criteria of Feinstein et al. (2020, section 3.3), and one
period per star from all its sectors.

Orbits are normalised separately, and a constant of each is fitted together with the sinusoid, so that no offset passes
for a period of an orbit's length. Beyond the paper, a period must foretell parts of the sector to which it was not
fitted, is doubled where spots on both sides of the star show half of it, and must not look like eclipses or pulsation.
"""

import math
from collections.abc import Sequence
from enum import IntFlag
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.optimize import least_squares

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings
from varistar.spectra.periodogram import refined_maximum

from .orbits import Orbit
from .spectrum import Array, Mask, Points, Spectrum, bin_cadences, periodogram
from .spotlike import likeness

#: Half widths, in natural widths 1 / (time span), of what is fitted by a Gaussian and of what a resonance hides: the
#: 40 and 33 bins of stella, of which 50 are a natural width.
FITTED, HIDDEN = 0.8, 0.66
SECTORS: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    "sector": pl.Int32,
    **dict.fromkeys(("period_days", "width_days", "power", "second_period_days", "second_power"), pl.Float64),
    "doubled": pl.Boolean,
    "flags": pl.Int32,
}
STARS: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    "period_days": pl.Float64,
    "n_sectors": pl.Int32,
    "n_sectors_agreeing": pl.Int32,
    "accepted": pl.Boolean,
    "reason": pl.String,
}


class Doubt(IntFlag):
    """Why a sector's period is not trusted; 0 is a period that passes.

    `LONG` not shorter than the longest trusted, or the power only rises towards long periods. `BROAD` the peak is too
    wide for its period. `AMBIGUOUS` the second peak is nearly as high. `WEAK` too little is explained. `UNSTEADY` the
    orbits have different periods. `INCOHERENT` one part of the sector does not foretell the others. `EMPTY` there is
    no periodogram. `ECLIPSES`, `PULSATES` nothing else speaks against it, but the light looks like those.
    """

    LONG = 1
    BROAD = 2
    AMBIGUOUS = 4
    WEAK = 8
    UNSTEADY = 16
    INCOHERENT = 32
    EMPTY = 64
    ECLIPSES = 128
    PULSATES = 256


class RotationSettings(Settings):
    """How a rotation period is found and when it is believed. The defaults are ours; see `PAPER` and `RELEASED`.

    Attributes
    ----------
    shortest_days, longest_days : periods searched from, and trusted below [d]; the search itself goes on to the time
        span, so that what is slower is seen to be.
    bin_minutes : cadences are averaged over so long.
    oversample : frequencies in a natural width, 1 / (time span).
    orbit_constants : fit a constant to each orbit rather than one to the sector.
    max_width : of the Gaussian fitted to the peak (standard deviation), in units of the period.
    max_second : of the second peak's power, in units of the first's.
    resonances : multiples of the period at which no second peak is sought.
    min_power : fraction of the variance that the period explains.
    orbits_within_days : how far each orbit's own period may be from their mean; null to not ask.
    min_foretold : fraction of the variance beyond white noise that the period, with its overtone, still explains in
        thirds of the sector to which it was not fitted; null to not ask. Wandering light foretells little of itself.
    double : twice the period is the rotation if that, with its overtone, foretells so much more, in units of what the
        period foretells: spots on both sides of a star show half its period. Null to not ask.
    spots_only : refuse what looks like eclipses or pulsation (`spotlike`).
    agreement_days, agreement : how far periods of two sectors may differ [d, and in units of the period]; both
        hold, but null asks nothing.
    star_rule : "mode" of the periods, rounded to 0.01 d, or "votes" of all candidates.
    """

    shortest_days: float = Field(default=0.1, gt=0.0)
    longest_days: float = Field(default=12.0, gt=0.0)
    bin_minutes: float = Field(default=10.0, gt=0.0)
    oversample: float = Field(default=20.0, ge=4.0)
    orbit_constants: bool = True
    max_width: float = Field(default=0.4, gt=0.0)
    max_second: float = Field(default=0.96, gt=0.0, le=1.0)
    resonances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    min_power: float = Field(default=0.005, ge=0.0, le=1.0)
    orbits_within_days: float | None = None
    min_foretold: float | None = 0.3
    double: float | None = 0.1
    spots_only: bool = True
    agreement_days: float | None = Field(default=None, gt=0.0)
    agreement: float | None = Field(default=0.1, gt=0.0)
    star_rule: Literal["votes", "mode"] = "votes"


#: The paper's criteria, and those of the code it released (stella 0.2).
PAPER = RotationSettings(
    orbit_constants=False,
    min_foretold=None,
    double=None,
    spots_only=False,
    agreement_days=0.1,
    agreement=None,
    star_rule="mode",
)
RELEASED = PAPER.model_copy(update={"max_width": 0.6, "agreement_days": 0.3, "orbits_within_days": 1.0})
PRESETS = {"ours": RotationSettings(), "paper": PAPER, "released": RELEASED}


def measure_sectors(
    star_id: str,
    orbits: Sequence[Orbit],
    flaring: Sequence[Mask] | None,
    settings: RotationSettings,
    sectors: Sequence[int] | None = None,
) -> pl.DataFrame:
    """The rotation period of one star in each sector.

    Parameters
    ----------
    orbits : in order of time.
    flaring : for each orbit, shape (m,), cadences to leave out; None leaves out none.
    sectors : the sector of each orbit; None numbers them from 1 as `sector_of_orbits` does.

    Returns
    -------
    pl.DataFrame
        The columns `SECTORS`, one row per sector; `flags` is the sum of the bits of `Doubt`, and what could not be
        measured is null.

    Raises
    ------
    DataError
        When masks or sectors do not fit the orbits.
    """
    masks = [np.zeros(len(orbit), dtype=bool) for orbit in orbits] if flaring is None else list(flaring)
    numbers = sector_of_orbits(orbits) if sectors is None else list(sectors)
    if [len(mask) for mask in masks] != [len(orbit) for orbit in orbits]:
        raise DataError(f"star {star_id}: the masks of flares do not fit the cadences of its {len(orbits)} orbits")
    if len(numbers) != len(orbits):
        raise DataError(f"star {star_id}: {len(numbers)} sectors are named for {len(orbits)} orbits")
    rows = []
    for sector in sorted(set(numbers)):
        mine = [i for i, number in enumerate(numbers) if number == sector]
        row = measure_rotation([orbits[i] for i in mine], [masks[i] for i in mine], settings)
        rows.append({"star_id": star_id, "sector": sector, **row})
    return pl.DataFrame(rows, schema=SECTORS)


def sector_of_orbits(orbits: Sequence[Orbit], longest_days: float = 28.5) -> list[int]:
    """Number the sectors from 1: orbits whose cadences span `longest_days` at most belong together."""
    numbers: list[int] = []
    start = -math.inf
    for orbit in orbits:
        if orbit.time[-1] - start > longest_days:
            start = float(orbit.time[0])
            numbers.append(numbers[-1] + 1 if numbers else 1)
        else:
            numbers.append(numbers[-1])
    return numbers


def measure_rotation(orbits: Sequence[Orbit], flaring: Sequence[Mask], settings: RotationSettings) -> dict[str, object]:
    """The rotation period that a few orbits show: the columns of `SECTORS` but `star_id` and `sector`."""
    points, spectrum = _spectrum(orbits, flaring, settings)
    if spectrum is None:
        return {"doubled": False, "flags": int(Doubt.EMPTY)}
    frequency, power, _ = spectrum
    top = int(np.argmax(power))
    best, height = refined_maximum(frequency, power, top)
    width = _peak_width(spectrum, best)
    second, second_power = _second_peak(spectrum, best, settings.resonances)
    own = _foretold(points, best, 1)
    twice = _foretold(points, best / 2.0, 2) if settings.double is not None else -math.inf
    doubled = own > 0.0 and twice - own > (settings.double or 0.0) * own
    period = (2.0 if doubled else 1.0) / best
    doubts = {
        Doubt.LONG: top == 0 or period >= settings.longest_days,
        Doubt.BROAD: not width < settings.max_width / best,
        Doubt.AMBIGUOUS: second_power > settings.max_second * height,
        Doubt.WEAK: not height > settings.min_power,
        Doubt.UNSTEADY: _unsteady(orbits, flaring, settings),
        Doubt.INCOHERENT: settings.min_foretold is not None
        and not max(own, twice, _foretold(points, best, 2)) > settings.min_foretold * _beyond_white(points),
    }
    flags = sum(int(doubt) for doubt, holds in doubts.items() if holds)
    if settings.spots_only and flags == 0:
        looks = likeness(points, best)
        flags = Doubt.ECLIPSES * looks.eclipses | Doubt.PULSATES * looks.pulsates
    return {
        "period_days": period,
        "width_days": width * (2.0 if doubled else 1.0) if math.isfinite(width) else None,
        "power": height,
        "second_period_days": second,
        "second_power": second_power,
        "doubled": doubled,
        "flags": int(flags),
    }


def _spectrum(
    orbits: Sequence[Orbit], flaring: Sequence[Mask], settings: RotationSettings
) -> tuple[Points, Spectrum | None]:
    points = bin_cadences(orbits, flaring, settings.bin_minutes, settings.orbit_constants)
    return points, periodogram(points, settings.shortest_days, settings.longest_days, settings.oversample)


def _peak_width(spectrum: Spectrum, best: float) -> float:
    """Standard deviation of a Gaussian in period, fitted to the peak at frequency `best` [d]; infinity for no fit."""
    near = np.abs(spectrum.frequency - best) <= FITTED / spectrum.span
    period, power = 1.0 / spectrum.frequency[near], spectrum.power[near]
    start = (float(power.max()), 1.0 / best, 0.4 / spectrum.span / best**2)

    def misfit(parameters: Array) -> Array:
        height, centre, width = parameters
        return height * np.exp(-0.5 * ((period - centre) / width) ** 2) - power

    if len(period) < 4 or not start[0] > 0.0:
        return math.inf
    fit = least_squares(misfit, start, x_scale=start, max_nfev=100)
    return abs(float(fit.x[2])) if fit.success else math.inf


def _second_peak(spectrum: Spectrum, best: float, resonances: Sequence[float]) -> tuple[float | None, float]:
    """Period [d] and power of the highest peak that is no resonance of frequency `best`; (None, 0) without one."""
    frequency, power, span = spectrum
    inner = power[1:-1]
    peaks = np.flatnonzero((inner > power[:-2]) & (inner >= power[2:])) + 1
    for resonance in resonances:
        peaks = peaks[np.abs(frequency[peaks] - best / resonance) > HIDDEN / span]
    if not len(peaks):
        return None, 0.0
    second, height = refined_maximum(frequency, power, int(peaks[np.argmax(power[peaks])]))
    return 1.0 / second, height


def _foretold(points: Points, frequency: float, terms: int) -> float:
    """Fraction of the variance that sinusoids explain in each third of the time when fitted to the other two.

    Constants are those of each orbit, in the third as in the rest: only the variation is foretold. It can be negative.
    """
    angle = 2.0 * math.pi * frequency * (points.time - points.time[0])
    waves = np.stack([wave(k * angle) for k in range(1, terms + 1) for wave in (np.cos, np.sin)], axis=1)
    third = np.minimum(3.0 * (points.time - points.time[0]) // (points.time[-1] - points.time[0]), 2.0)
    foretold = 0.0
    for left_out in range(3):
        hidden = third == left_out
        known, asked = (_about_means(points, waves, part) for part in (~hidden, hidden))
        if len(known[0]) <= 2 * terms or not len(asked[0]):
            return -math.inf
        amplitudes = np.linalg.lstsq(known[0], known[1], rcond=None)[0]
        foretold += float(asked[1] @ asked[1] - np.sum((asked[1] - asked[0] @ amplitudes) ** 2))
    return foretold / points.squares


def _beyond_white(points: Points) -> float:
    """Fraction of the variance that is not white noise, whose size is that of the steps from bin to bin (ours)."""
    steps = np.diff(points.flux)
    inside = np.diff(points.orbit) == 0
    weight = points.weight[1:] * points.weight[:-1] / (points.weight[1:] + points.weight[:-1])
    white = len(points.flux) * float(np.mean(weight[inside] * steps[inside] ** 2)) if inside.any() else 0.0
    return max(float(points.weight @ points.flux**2) - white, 0.0) / points.squares


def _about_means(points: Points, waves: Array, part: Mask) -> tuple[Array, Array]:
    """Waves and flux of a part of the points about the part's mean in each orbit, times the root of the weight."""
    weight, (_, orbit) = points.weight[part], np.unique(points.orbit[part], return_inverse=True)
    values = np.column_stack([waves[part], points.flux[part]])
    total = np.bincount(orbit, weight)
    means = np.stack([np.bincount(orbit, weight * column) / total for column in values.T], axis=1)
    values = (values - means[orbit]) * np.sqrt(weight)[:, None]
    return values[:, :-1], values[:, -1]


def _unsteady(orbits: Sequence[Orbit], flaring: Sequence[Mask], settings: RotationSettings) -> bool:
    """Whether an orbit's own period is farther from the orbits' mean than the settings allow."""
    if settings.orbits_within_days is None:
        return False
    spectra = [_spectrum([o], [m], settings)[1] for o, m in zip(orbits, flaring, strict=True)]
    periods = np.array([1.0 / s.frequency[np.argmax(s.power)] for s in spectra if s is not None])
    return bool(np.any(np.abs(periods - periods.mean()) >= settings.orbits_within_days))


def combine_sectors(sectors: pl.DataFrame, settings: RotationSettings) -> pl.DataFrame:
    """One period per star from the periods of its sectors.

    A sector's candidates are its period, the second peak's, half and twice the period. The star's is the median of
    those that agree with a reference, one from each sector: the mode of the periods (the paper's rule), or the
    candidate for which the trusted sectors have most votes, of weight 1 for a period, the ratio of powers for the
    second peak, and 1/4 for half and twice; of equals the longest period, since it is its half that spots may show.

    Parameters
    ----------
    sectors : as `measure_sectors` gives it, of any number of stars.

    Returns
    -------
    pl.DataFrame
        The columns `STARS`, by `star_id`. `n_sectors_agreeing` counts trusted sectors, those without a flag.
        `accepted` when most of these agree; otherwise `reason` says why not.
    """
    rows = [
        {"star_id": star_id, **_combine(part, settings)}
        for (star_id,), part in sectors.sort("star_id", "sector").group_by("star_id", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema=STARS)


def _combine(part: pl.DataFrame, settings: RotationSettings) -> dict[str, object]:
    """The columns of `STARS` but `star_id`."""
    trusted = [_candidates(row) for row in part.filter(pl.col("flags") == 0).iter_rows(named=True)]
    if not trusted:
        strongest = part.sort("power", descending=True, nulls_last=True).row(0, named=True)
        names = ", ".join(str(doubt.name).lower() for doubt in Doubt if strongest["flags"] & doubt)
        answer = {"period_days": strongest["period_days"], "n_sectors_agreeing": 0}
        return {**answer, "n_sectors": len(part), "accepted": False, "reason": f"no sector is trusted: {names}"}
    reference = (_mode if settings.star_rule == "mode" else _most_votes)(trusted, settings)
    agreeing = [min(near, key=lambda p: abs(p - reference)) for c in trusted if (near := _near(c, reference, settings))]
    accepted = 2 * len(agreeing) > len(trusted)
    return {
        "period_days": float(np.median(agreeing)),
        "n_sectors": len(part),
        "n_sectors_agreeing": len(agreeing),
        "accepted": accepted,
        "reason": "" if accepted else f"only {len(agreeing)} of {len(trusted)} trusted sectors agree",
    }


def _candidates(row: dict[str, float]) -> dict[float, float]:
    """The periods that a sector allows, the likeliest first, with the weight of its vote [d]."""
    period, second = row["period_days"], row["second_period_days"]
    others = {} if second is None else {second: row["second_power"] / row["power"]}
    return {period: 1.0, **others, period / 2.0: 0.25, 2.0 * period: 0.25}


def _near(candidates: dict[float, float], reference: float, settings: RotationSettings) -> dict[float, float]:
    """Those candidates that agree with the reference."""
    in_days = math.inf if settings.agreement_days is None else settings.agreement_days
    in_periods = math.inf if settings.agreement is None else settings.agreement * reference
    within = min(in_days, in_periods)
    return {period: vote for period, vote in candidates.items() if abs(period - reference) <= within}


def _mode(trusted: list[dict[float, float]], settings: RotationSettings) -> float:
    """The most frequent period, rounded to 0.01 d; of equals that of the earliest sector."""
    del settings
    periods = [round(next(iter(candidates)), 2) for candidates in trusted]
    commonest = max(periods, key=periods.count)
    return next(p for candidates in trusted for p in candidates if round(p, 2) == commonest)


def _most_votes(trusted: list[dict[float, float]], settings: RotationSettings) -> float:
    """The candidate near which the sectors' best votes sum to most."""

    def votes(candidate: tuple[float, float]) -> tuple[float, float, float]:
        best = (max(_near(candidates, candidate[0], settings).values(), default=0.0) for candidates in trusted)
        return round(sum(best), 9), candidate[1], candidate[0]

    candidates = (item for each in trusted for item in each.items() if item[0] < settings.longest_days)
    return max(candidates, key=votes)[0]
