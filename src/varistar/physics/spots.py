"""The light curve of a spotted star, at the epochs at which it was observed.

A spot at latitude `lat` and longitude `lon` turns with Omega(lat) = Omega_equator (1 - shear sin^2 lat) and is seen at

    beta(t) = cos i sin lat + sin i cos lat cos(Omega(lat) t + lon)

(1 at the disk's centre, negative behind the star). Its area times contrast grows and decays as a Gaussian of age with
two widths, and the flux, in units of the unspotted star's, is

    flux(t) = 1 - sum over spots of  a_s exp(-((t - t_s) / tau)^2) max(beta_s(t), 0),

with tau = emergence_days before the day t_s and decay_days after it, and a_s = alpha_med area_s / median(area). There
is no limb darkening. The model is that of butterpy 1.0.0 (Aigrain et al. 2015; Claytor et al. 2022), evaluated at the
wanted epochs instead of on a 30-minute grid that is interpolated later.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import erf

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import Settings

from .emergence import ActiveRegions, emerge_regions
from .spot_prior import Positive, SpotParameters, SpotPrior, draw_spot_parameters

#: A spot is left out where its area is below exp(-25) = 1.4e-11 of its largest.
CUT_WIDTHS = 5.0


def _ascending(polynomial: Chebyshev) -> tuple[float, ...]:
    return tuple(polynomial.convert(kind=Polynomial).coef.tolist())


#: Coefficients of the polynomials that stand for cos(2 pi sqrt(z)) on 0 <= z <= 1/4, to 1.2e-10, and for exp(-y / 64)
#: on 0 <= y <= CUT_WIDTHS^2, to 4e-11 of it.
COS_SERIES = _ascending(Chebyshev.interpolate(lambda z: np.cos(2 * np.pi * np.sqrt(z)), 7, [0, 0.25]))
EXP_SERIES = _ascending(Chebyshev.interpolate(lambda y: np.exp(-y / 64), 6, [0, CUT_WIDTHS**2]))


class SpotSimulation(Settings):
    """How long a star is simulated, and which part of that is observed.

    Attributes
    ----------
    duration_days : active regions emerge for this long.
    window_days : length of the observed window, unless the epochs need a longer one.
    earliest_start_days, latest_start_days : the window starts uniformly between these, or as late as it can end within
        the duration.
    median_step_days : step of the grid over the window of which the median flux is taken. The paper's is 30 minutes;
        about a day, but no simple multiple of one, gives the median to 5e-4 (largest error of 16 draws of Table 1).
    max_redraws : a prior is given up after so many stars in a row whose flux is not positive.

    Source: papers/000, Appendix A; the numbers are the published generator's.
    """

    duration_days: Annotated[int, Field(gt=0)] = 12 * 365
    window_days: Positive = 5 * 365.0
    earliest_start_days: Annotated[float, Field(ge=0)] = 365.0
    latest_start_days: Annotated[float, Field(allow_inf_nan=False)] = 7 * 365.0
    median_step_days: Positive = 1.03
    max_redraws: Annotated[int, Field(ge=0)] = 1000

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.latest_start_days < self.earliest_start_days:
            raise ValueError("latest_start_days must not be earlier than earliest_start_days")
        if self.earliest_start_days + self.window_days > self.duration_days:
            raise ValueError("duration_days must hold window_days after earliest_start_days")
        return self


@dataclass(frozen=True)
class SpottedStar:
    """One simulated star as it was observed.

    Attributes
    ----------
    parameters : SpotParameters
        `parameters.period` is the label: the equatorial period.
    flux : float64 array, shape (n,)
        Flux at the epochs, in units of the unspotted star's.
    median : float
        Median flux over the whole window, by which the flux is divided when it is injected.
    lowest_flux : float
        The lowest flux at any epoch or step of the median's grid. The model adds spots without bound, so it may be
        negative.
    effective_period : float
        Period that the light curve shows [d], see `effective_period`.
    n_regions : int
        Active regions that emerged during the simulation.
    window_start : float
        Day of the simulation on which the survey starts.
    n_redraws : int
        Stars that were drawn and refused before this one.
    """

    parameters: SpotParameters
    flux: NDArray[np.float64]
    median: float
    lowest_flux: float
    effective_period: float
    n_regions: int
    window_start: float
    n_redraws: int = 0


def simulate_positive(
    prior: SpotPrior,
    epochs: NDArray[np.float64],
    survey_start: float,
    seed: int,
    number: int,
    simulation: SpotSimulation | None = None,
) -> SpottedStar:
    """Simulate star `number` of the sky `seed`: draw it from `prior` until its flux is positive everywhere.

    Of the paper's prior 3 % are redrawn, all of at least three times the Sun's activity. The result depends on the
    arguments alone, so stars may be simulated in any order, in shards of any size and by any number of workers.

    Parameters
    ----------
    prior : SpotPrior
    epochs : float64 array, shape (n,)
        Times of the observations [d].
    survey_start : float
        Time at which the observed window starts, in the same system as `epochs` [d].
    seed, number : int
        Not negative; their random streams are independent (`numpy.random.SeedSequence`).
    simulation : SpotSimulation, optional

    Raises
    ------
    ConfigError
        When `max_redraws` stars in a row have no positive flux.
    DataError
        When the epochs are not finite, or do not fit into the simulated time.
    """
    simulation = simulation or SpotSimulation()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    for n_redraws in range(simulation.max_redraws + 1):
        star = simulate_star(draw_spot_parameters(prior, rng), epochs, survey_start, rng, simulation)
        if star.lowest_flux > 0:
            return replace(star, n_redraws=n_redraws)
    raise ConfigError(
        f"spot prior: {simulation.max_redraws + 1} draws in a row gave a star whose flux is not positive everywhere; "
        "alpha_med or activity is too large"
    )


def simulate_star(
    parameters: SpotParameters,
    epochs: NDArray[np.float64],
    survey_start: float,
    rng: np.random.Generator,
    simulation: SpotSimulation | None = None,
) -> SpottedStar:
    """Simulate one star and observe it at `epochs`, through a window at a random time of its activity.

    Arguments and errors as in `simulate_positive`; the flux may be negative.
    """
    simulation = simulation or SpotSimulation()
    span = _observed_span(epochs, survey_start, simulation)
    latest_start = min(simulation.latest_start_days, simulation.duration_days - span)
    window_start = float(rng.uniform(simulation.earliest_start_days, latest_start))
    regions = emerge_regions(parameters, simulation.duration_days, int(rng.integers(2**32)))
    spots = spots_between(parameters, regions, window_start, window_start + span)
    flux = _flux(spots, epochs - survey_start + window_start)
    grid_flux = _flux(spots, np.arange(window_start, window_start + span, simulation.median_step_days))
    return SpottedStar(
        parameters=parameters,
        flux=flux,
        median=float(np.median(grid_flux)),
        lowest_flux=float(min(flux.min(), grid_flux.min())),
        effective_period=_effective_period(spots, window_start, window_start + span),
        n_regions=len(regions),
        window_start=window_start,
    )


def _observed_span(epochs: NDArray[np.float64], survey_start: float, simulation: SpotSimulation) -> float:
    """Length of the window [d]: the settings', or longer where the epochs need it.

    The published window of 5 x 365 d is two days short of the survey's five years; the paper's interpolation holds the
    last flux there, we go on simulating.
    """
    if len(epochs) == 0 or not np.all(np.isfinite(epochs)):
        raise DataError("a star needs at least one epoch, and all epochs finite, to be simulated")
    first, last = float(epochs.min()) - survey_start, float(epochs.max()) - survey_start
    longest = simulation.duration_days - simulation.earliest_start_days
    if first < 0 or last > longest:
        raise DataError(
            f"epochs run from {first:.1f} to {last:.1f} d after the start of the survey; the simulation covers 0 to "
            f"{longest:.1f} d"
        )
    return max(simulation.window_days, last)


def spot_flux(parameters: SpotParameters, regions: ActiveRegions, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flux of a spotted star in units of the unspotted star's, at any times, in any order.

    Parameters
    ----------
    parameters : SpotParameters
    regions : ActiveRegions
        In the order of their days, as `emerge_regions` gives them.
    time : float64 array, shape (n,)
        Days since the start of the simulation.

    Returns
    -------
    float64 array, shape (n,)
        Exactly 1 where there is no spot. Its error is at most 3e-9 of the summed depth of the spots in sight.
    """
    time = np.asarray(time, dtype=np.float64)
    if len(time) == 0:
        return np.empty(0)
    return _flux(spots_between(parameters, regions, time.min(), time.max()), time)


def effective_period(parameters: SpotParameters, regions: ActiveRegions, start: float, stop: float) -> float:
    """The period that the light curve shows between the days `start` and `stop` [d]; NaN if no spot is seen to turn.

    It belongs to the mean angular velocity of the spots, each weighted by its rotational signal: the integral of its
    area over the window times the amplitude of the fundamental of max(offset + swing cos phase, 0),

        amplitude = (swing phase_0 + offset sin phase_0) / pi,  cos phase_0 = -offset / swing,  where the spot sets,

    `swing` where it never sets and 0 where it never rises (ours). Of 221 stars of the paper's prior with shear, the
    centroid of the light curve's power within the spots' frequencies agreed with it to 5 % in 95 %; weighted by area
    alone, in 90 %; the equatorial period, in 28 %.
    """
    return _effective_period(spots_between(parameters, regions, start, stop), start, stop)


@dataclass(frozen=True)
class Spots:
    """What the flux needs of each of `n` spots: beta = offset + swing cos(2 pi (turns_per_day t + turns))."""

    day: NDArray[np.float64]
    depth: NDArray[np.float64]
    turns_per_day: NDArray[np.float64]
    turns: NDArray[np.float64]
    offset: NDArray[np.float64]
    swing: NDArray[np.float64]
    emergence_days: float
    decay_days: float


def spots_between(parameters: SpotParameters, regions: ActiveRegions, start: float, stop: float) -> Spots:
    """The spots of the regions that can be seen between the days `start` and `stop`."""
    first = np.searchsorted(regions.day, start - CUT_WIDTHS * parameters.decay_days)
    last = np.searchsorted(regions.day, stop + CUT_WIDTHS * parameters.emergence_days, side="right")
    seen = slice(int(first), int(last))
    inclination = math.radians(parameters.inclination)
    sine = np.sin(regions.latitude[seen])
    # butterpy leaves out regions below 0.1 G; the smallest that emerges has 34 G
    median_area = np.median(regions.area) if len(regions) else 1.0
    return Spots(
        day=regions.day[seen].astype(np.float64),
        depth=regions.area[seen] * (parameters.alpha_med / median_area),
        turns_per_day=(1 - parameters.shear * sine**2) / parameters.period,
        turns=regions.longitude[seen] / (2 * np.pi),
        offset=math.cos(inclination) * sine,
        swing=math.sin(inclination) * np.sqrt(1 - sine**2),
        emergence_days=parameters.emergence_days,
        decay_days=parameters.decay_days,
    )


def _effective_period(spots: Spots, start: float, stop: float) -> float:
    cos_0 = np.clip(-spots.offset / np.maximum(spots.swing, 1e-300), -1, 1)
    amplitude = (spots.swing * np.arccos(cos_0) + spots.offset * np.sqrt(1 - cos_0**2)) / np.pi
    weight = spots.depth * amplitude * (_area_before(spots, stop) - _area_before(spots, start))
    if not weight.sum() > 0:
        return math.nan
    turns_per_day = float(np.average(spots.turns_per_day, weights=weight))
    return 1 / turns_per_day if turns_per_day > 0 else math.inf


def _area_before(spots: Spots, time: float) -> NDArray[np.float64]:
    """Integral of each spot's area from its largest to `time`, in units of the largest times sqrt(pi) / 2 [d]."""
    age = time - spots.day
    width = np.where(age < 0, spots.emergence_days, spots.decay_days)
    return width * erf(age / width)


def _flux(spots: Spots, time: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.any(time[1:] < time[:-1]):
        order = np.argsort(time)
        flux = np.empty_like(time)
        flux[order] = _flux(spots, time[order])
        return flux
    return _sum_spots(
        time,
        spots.day,
        spots.depth,
        spots.turns_per_day,
        spots.turns,
        spots.offset,
        spots.swing,
        spots.emergence_days,
        spots.decay_days,
    )


@njit(cache=True)
def _sum_spots(
    time: NDArray[np.float64],
    day: NDArray[np.float64],
    depth: NDArray[np.float64],
    turns_per_day: NDArray[np.float64],
    turns: NDArray[np.float64],
    offset: NDArray[np.float64],
    swing: NDArray[np.float64],
    emergence: float,
    decay: float,
) -> NDArray[np.float64]:
    """The flux at the ascending `time`; `day` ascends too, so the ends of each spot's times only move forward."""
    flux = np.ones_like(time)
    first = middle = last = 0
    for s in range(len(day)):
        while first < len(time) and time[first] < day[s] - CUT_WIDTHS * emergence:
            first += 1
        while middle < len(time) and time[middle] < day[s]:
            middle += 1
        while last < len(time) and time[last] <= day[s] + CUT_WIDTHS * decay:
            last += 1
        if offset[s] + swing[s] <= 0.0:
            continue
        spot = (day[s], depth[s], turns_per_day[s], turns[s], offset[s], swing[s])
        # slices, because a[i] with i from a range(lo, hi) keeps a test for negative i that stops vectorisation
        _dim(time[first:middle], flux[first:middle], spot, emergence)
        _dim(time[middle:last], flux[middle:last], spot, decay)
    return flux


@njit(cache=True, fastmath={"contract", "nnan", "ninf", "nsz"})
def _dim(time: NDArray[np.float64], flux: NDArray[np.float64], spot: tuple[float, ...], width: float) -> None:
    """Subtract one spot. The loop has no branch or library call, so that it compiles to vector instructions."""
    day, depth, turns_per_day, turns, offset, swing = spot
    per_width = 1.0 / width
    for i in range(len(time)):
        age = (time[i] - day) * per_width
        phase = turns_per_day * time[i] + turns
        beta = offset + swing * _cos_turns(phase - np.rint(phase))
        flux[i] -= depth * _exp_negative(age * age) * (beta if beta > 0.0 else 0.0)


@njit(cache=True, fastmath={"contract", "nnan", "ninf", "nsz"})
def _cos_turns(x: float) -> float:
    """cos(2 pi x) for |x| <= 1/2."""
    c0, c1, c2, c3, c4, c5, c6, c7 = COS_SERIES
    z = x * x
    return c0 + z * (c1 + z * (c2 + z * (c3 + z * (c4 + z * (c5 + z * (c6 + z * c7))))))


@njit(cache=True, fastmath={"contract", "nnan", "ninf", "nsz"})
def _exp_negative(y: float) -> float:
    """exp(-y) for 0 <= y <= CUT_WIDTHS^2, as the 64th power of a polynomial."""
    c0, c1, c2, c3, c4, c5, c6 = EXP_SERIES
    root = c0 + y * (c1 + y * (c2 + y * (c3 + y * (c4 + y * (c5 + y * c6)))))
    for _ in range(6):
        root = root * root
    return root
