"""Spotted stars as a survey observes them: drawn, seen through a window of their activity, drawn again if impossible.

The model of the light is that of `dimming`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import Settings

from .dimming import Spots, effective_period_of, flux_of, spots_between
from .emergence import ActiveRegions, emerge_regions
from .spot_prior import Positive, SpotParameters, SpotPrior, draw_spot_parameters


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
    rng = stream_of(seed, number)
    for n_redraws in range(simulation.max_redraws + 1):
        star = simulate_star(draw_spot_parameters(prior, rng), epochs, survey_start, rng, simulation)
        if star.lowest_flux > 0:
            return replace(star, n_redraws=n_redraws)
    raise never_positive(simulation)


def stream_of(seed: int, number: int) -> np.random.Generator:
    """The random stream of star `number` of the sky `seed`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def never_positive(simulation: SpotSimulation) -> ConfigError:
    """The error for a prior that gives no star of positive flux."""
    return ConfigError(
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
    view = draw_view(parameters, epochs, survey_start, rng, simulation or SpotSimulation())
    return view.star(flux_of(view.spots, view.time), flux_of(view.spots, view.grid))


@dataclass(frozen=True)
class View:
    """A star's active regions and the times at which its flux is needed, in days of its simulation.

    Attributes
    ----------
    spots : those that can be seen in the window.
    window_start, window_stop : of the window over which the median is taken.
    time : float64 (n,), the epochs of observation.
    grid : float64 (m,), the steps of the median's grid.
    """

    parameters: SpotParameters
    regions: ActiveRegions
    spots: Spots
    window_start: float
    window_stop: float
    time: NDArray[np.float64]
    grid: NDArray[np.float64]

    def star(self, flux: NDArray[np.float64], grid_flux: NDArray[np.float64], n_redraws: int = 0) -> SpottedStar:
        """The star whose flux is `flux` at `time` and `grid_flux` on `grid`."""
        return SpottedStar(
            parameters=self.parameters,
            flux=flux,
            median=float(np.median(grid_flux)),
            lowest_flux=float(min(flux.min(), grid_flux.min())),
            effective_period=effective_period_of(self.spots, self.window_start, self.window_stop),
            n_regions=len(self.regions),
            window_start=self.window_start,
            n_redraws=n_redraws,
        )


def draw_view(
    parameters: SpotParameters,
    epochs: NDArray[np.float64],
    survey_start: float,
    rng: np.random.Generator,
    simulation: SpotSimulation,
) -> View:
    """Draw a star's active regions and the window through which it is seen; arguments as in `simulate_star`."""
    span = _observed_span(epochs, survey_start, simulation)
    latest_start = min(simulation.latest_start_days, simulation.duration_days - span)
    start = float(rng.uniform(simulation.earliest_start_days, latest_start))
    regions = emerge_regions(parameters, simulation.duration_days, int(rng.integers(2**32)))
    return View(
        parameters=parameters,
        regions=regions,
        spots=spots_between(parameters, regions, start, start + span),
        window_start=start,
        window_stop=start + span,
        time=epochs - survey_start + start,
        grid=np.arange(start, start + span, simulation.median_step_days),
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
