"""Which flares are injected: how many of them, how high and how wide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from varistar.foundation.settings import Settings
from varistar.physics.flares import DAY_SECONDS, Flares, draw_flare_law, draw_flares
from varistar.physics.spot_prior import Positive, PositiveRange
from varistar.sky.streams import log_uniform

from .orbits import Array, Orbit

#: Flares that peaked so long before an orbit [d] may still fade in it.
BEFORE_ORBIT = 0.2


def _edges(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) < 2 or not all(0.0 < low < high < math.inf for low, high in pairwise(values)):
        raise ValueError("must be at least two positive numbers that ascend")
    return values


Edges = Annotated[tuple[float, ...], AfterValidator(_edges)]


class AnyDraw(Settings):
    """What all draws share.

    Attributes
    ----------
    seed : of everything drawn.
    photon_share : part of the errors' variance that is the star's own photon noise; 0 leaves the flares without noise.
    """

    seed: int = Field(default=88, ge=0)
    photon_share: float = Field(default=1.0, ge=0.0, le=1.0)


class AnyPlaced(AnyDraw):
    """Flares whose peaks fall at random on good cadences, as many as find room.

    Attributes
    ----------
    apart, apart_widths : the next flare, injected or known, is at least `apart` cadences behind a peak, and so many of
        its FWHM.
    from_gaps : cadences between a peak and the next gap or end of the orbit; 0 allows flares at the edges.
    gap : missing cadences in a row that make a gap.
    """

    apart: int = Field(default=100, ge=1)
    apart_widths: float = Field(default=5.0, ge=0.0)
    from_gaps: int = Field(default=50, ge=0)
    gap: int = Field(default=5, ge=1)


class GridDraw(AnyPlaced):
    """A grid of heights and widths, each cell as full as the others, log-uniform within.

    Attributes
    ----------
    amplitudes : edges of the cells, in units of the star's flux.
    peak_snrs : edges of the cells in `peak_snr`; where given, they replace the amplitudes.
    fwhm_minutes : edges of the cells [min].
    per_cell_per_day : flares of each cell per day of good cadences.
    """

    kind: Literal["grid"] = "grid"
    amplitudes: Edges = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)
    peak_snrs: Edges | None = None
    fwhm_minutes: Edges = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    per_cell_per_day: Positive = 0.04


class PaperDraw(AnyPlaced):
    """The injection of section 4.3 of the paper: its code's flare, of Gaussian rise and exponential decay, taken in the
    middle of each exposure, with its peak on one.

    The paper's scatter of the amplitudes is lost; 0.03 puts 1 % of the flares above 11 %. As in its code, nothing keeps
    the flares apart or from gaps.

    Attributes
    ----------
    count : flares in a light curve.
    amplitude, scatter : of a normal distribution, drawn again where it is not positive.
    rise_days, fall_days : bounds of uniform distributions [d].
    """

    kind: Literal["paper"] = "paper"
    apart: int = Field(default=1, ge=1)
    apart_widths: float = Field(default=0.0, ge=0.0)
    from_gaps: int = Field(default=0, ge=0)
    count: int = Field(default=10, ge=0)
    amplitude: Positive = 0.04
    scatter: float = Field(default=0.03, ge=0.0)
    rise_days: PositiveRange = (5e-5, 2e-4)
    fall_days: PositiveRange = (3e-4, 4e-3)


class TrainingDraw(AnyPlaced):
    """Flares to learn from: as many faint as bright ones, at the edges too.

    Attributes
    ----------
    per_day : flares per day of good cadences.
    peak_snr : bounds of a log-uniform distribution.
    fwhm_minutes, scatter : median of a log-normal distribution [min], and its standard deviation [dex].
    """

    kind: Literal["training"] = "training"
    from_gaps: int = Field(default=0, ge=0)
    per_day: Positive = 2.0
    peak_snr: PositiveRange = (3.0, 300.0)
    fwhm_minutes: Positive = 5.0
    scatter: float = Field(default=0.35, ge=0.0)


class LawDraw(AnyDraw):
    """Flares as an active dwarf has them (`draw_flare_law`, `draw_flares`): at any time, on one another, and in gaps.

    Attributes
    ----------
    teff, age_myr : bounds of the star's temperature [K], uniform, and of its age, log-uniform.
    rate_times : factor on the law's rate.
    equivalent_duration_s : smallest and largest [s].
    """

    kind: Literal["law"] = "law"
    teff: PositiveRange = (2800.0, 4500.0)
    age_myr: PositiveRange = (10.0, 800.0)
    rate_times: Positive = 1.0
    equivalent_duration_s: PositiveRange = (0.5, 30000.0)


PlacedDraw = GridDraw | PaperDraw | TrainingDraw
Draw = Annotated[PlacedDraw | LawDraw, Field(discriminator="kind")]


@dataclass(frozen=True)
class PaperFlares:
    """`n` flares of the paper: A exp(-(t - tpeak)^2 / (2 rise^2)) up to the peak, A exp(-(t - tpeak) / fall) after it.

    Attributes
    ----------
    tpeak, rise, fall : float64 (n,) [d]
    amplitude : float64 (n,), in units of the star's flux
    """

    tpeak: Array
    amplitude: Array
    rise: Array
    fall: Array

    def __len__(self) -> int:
        return len(self.tpeak)

    @property
    def fwhm(self) -> Array:
        """[d], shape (n,)."""
        return self.rise * math.sqrt(2.0 * math.log(2.0)) + self.fall * math.log(2.0)

    @property
    def equivalent_duration(self) -> Array:
        """[s], shape (n,)."""
        return self.amplitude * (self.rise * math.sqrt(math.pi / 2.0) + self.fall) * DAY_SECONDS

    def take(self, flares: NDArray | slice) -> Self:
        """The flares with these indices, in this order."""
        return type(self)(self.tpeak[flares], self.amplitude[flares], self.rise[flares], self.fall[flares])


AnyFlares = Flares | PaperFlares


def law_flares(rng: np.random.Generator, orbits: Sequence[Orbit], settings: LawDraw) -> list[Flares]:
    """The flares of one star in each of its orbits."""
    teff = rng.uniform(*settings.teff)
    age = log_uniform(rng, *settings.age_myr)
    law = draw_flare_law(rng, teff, age, settings.equivalent_duration_s)
    law = replace(law, rate=settings.rate_times * law.rate)
    return [draw_flares(rng, law, orbit.time[0] - BEFORE_ORBIT, orbit.time[-1]) for orbit in orbits]


def paper_flares(rng: np.random.Generator, settings: PaperDraw) -> PaperFlares:
    """The flares of one light curve, all at time 0."""
    amplitude = rng.normal(settings.amplitude, settings.scatter, settings.count)
    while (wrong := amplitude <= 0.0).any():
        amplitude[wrong] = rng.normal(settings.amplitude, settings.scatter, int(wrong.sum()))
    rise, fall = (rng.uniform(*bounds, settings.count) for bounds in (settings.rise_days, settings.fall_days))
    return PaperFlares(np.zeros(settings.count), amplitude, rise, fall)


def draw_sizes(rng: np.random.Generator, days: float, settings: GridDraw | TrainingDraw) -> tuple[Array, Array, bool]:
    """Height and FWHM [d] of the flares, in random order, and whether the heights are signal-to-noise ratios."""
    if isinstance(settings, TrainingDraw):
        n = math.floor(settings.per_day * days + rng.random())
        low, high = np.log(settings.peak_snr)
        height = np.exp(rng.uniform(low, high, n))
        return height, settings.fwhm_minutes * 10.0 ** (settings.scatter * rng.standard_normal(n)) / 1440.0, True
    heights = np.log(settings.peak_snrs or settings.amplitudes)
    widths = np.log(settings.fwhm_minutes)
    cells = (len(heights) - 1) * (len(widths) - 1)
    n = math.floor(settings.per_cell_per_day * cells * days + rng.random())
    # dealt like decks of cards, so that no cell has two flares more than another
    decks = [rng.permutation(cells) for _ in range(math.ceil(n / cells))]
    i, j = np.divmod(np.concatenate([np.empty(0, np.int64), *decks])[:n], len(widths) - 1)
    height = np.exp(rng.uniform(heights[i], heights[i + 1]))
    return height, np.exp(rng.uniform(widths[j], widths[j + 1])) / 1440.0, settings.peak_snrs is not None
