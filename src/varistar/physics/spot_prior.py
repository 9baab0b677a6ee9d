"""Which spotted stars there are: the parameters of one star, and the distribution they are drawn from."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import Settings

#: A region has fully emerged after a tenth of its lifetime, but after two days at the latest (butterpy 1.0.0).
LONGEST_EMERGENCE_DAYS = 2.0


@dataclass(frozen=True)
class SpotParameters:
    """One spotted star.

    Attributes
    ----------
    period : float
        Rotation period at the equator [d].
    activity : float
        Emergence rate of active regions, in units of the Sun's.
    cycle_period : float
        Time between the starts of two activity cycles [yr of 365 d].
    cycle_overlap : float
        Time for which a cycle goes on after the next has started [yr]; at most two cycles are active at once.
    min_latitude, max_latitude : float
        Bounds of the active latitudes on both hemispheres [deg].
    spot_lifetime : float
        Decay time of a spot, in rotations at the equator.
    inclination : float
        Angle between the rotation axis and the line of sight [deg]; 90 is equator-on.
    shear : float
        (Omega_equator - Omega_pole) / Omega_equator; negative for a star whose poles rotate faster.
    alpha_med : float
        Median over all spots of the largest area times contrast, as a fraction of the disk.
    butterfly : bool
        Whether the active latitude moves from `max_latitude` to `min_latitude` during a cycle.

    Raises
    ------
    ConfigError
        When a value is not finite or lies outside its range.
    """

    period: float
    activity: float
    cycle_period: float
    cycle_overlap: float
    min_latitude: float
    max_latitude: float
    spot_lifetime: float
    inclination: float
    shear: float
    alpha_med: float = 0.005
    butterfly: bool = True

    def __post_init__(self) -> None:
        for name in ("period", "cycle_period", "spot_lifetime", "alpha_med"):
            self._require(name, 0 < getattr(self, name) < math.inf, "be positive")
        self._require("activity", 0 <= self.activity < math.inf, "not be negative")
        self._require("cycle_overlap", 0 <= self.cycle_overlap <= self.cycle_period, "lie in 0 to the cycle period")
        self._require("min_latitude", 0 <= self.min_latitude < self.max_latitude, "lie in 0 to max_latitude")
        self._require("max_latitude", self.max_latitude < 90, "be less than 90 deg")
        self._require("inclination", 0 <= self.inclination <= 90, "lie in 0 to 90 deg")
        self._require("shear", -math.inf < self.shear <= 1, "be at most 1")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ConfigError(f"spot parameters: {name} must {rule} (got {getattr(self, name)!r})")

    @property
    def decay_days(self) -> float:
        """e-folding time of the Gaussian decay of a spot's area [d]."""
        return self.period * self.spot_lifetime

    @property
    def emergence_days(self) -> float:
        """e-folding time of the Gaussian growth of a spot's area [d]."""
        return min(LONGEST_EMERGENCE_DAYS, self.decay_days / 10)


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if not -math.inf < bounds[0] <= bounds[1] < math.inf:
        raise ValueError("must be two finite numbers, the smaller first")
    return bounds


def _positive(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] <= 0:
        raise ValueError("must be positive, because its logarithm or inverse is used")
    return bounds


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[Range, AfterValidator(_positive)]


class SpotPrior(Settings):
    """The distribution of spotted stars; the defaults are Table 1 of the paper.

    Attributes
    ----------
    period, period_law : equatorial period [d], uniform in itself or in its logarithm.
    short_period, short_period_share : a share of the stars has its period drawn from here instead [d], log-uniform.
    activity : log-uniform, in units of the Sun's.
    cycle_period : log-uniform [yr].
    min_cycle_overlap : the overlap is log-uniform from here to the cycle period [yr].
    min_latitude : uniform [deg].
    max_latitude, latitude_gap : the highest active latitude is uniform from `latitude_gap` above the lowest to
        `max_latitude` [deg].
    spot_lifetime, spot_lifetime_unit : log-uniform, in rotations at the equator or in days.
    inclination_law : "sin2", uniform in sin^2 i, is the paper's; "isotropic", uniform in cos i, is that of axes without
        a preferred direction.
    shear, shear_weights : size of the shear, log-uniform, and the weights of stars whose shear is positive (as the
        Sun's), zero and negative.
    alpha_med : median over the spots of area times contrast.
    butterfly_fraction : share of the stars whose active latitude moves towards the equator.

    Source: papers/000, Table 1; the butterfly fraction, which the table omits, and the order of the dependent draws
    from the published generator (`Flutter` of butterpy 1.0.0).
    """

    period: PositiveRange = (1.0, 30.0)
    period_law: Literal["uniform", "log"] = "uniform"
    short_period: PositiveRange = (1.0, 10.0)
    short_period_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    activity: PositiveRange = (0.1, 10.0)
    cycle_period: PositiveRange = (1.0, 40.0)
    min_cycle_overlap: Positive = 0.1
    min_latitude: Range = (0.0, 40.0)
    max_latitude: Annotated[float, Field(lt=90)] = 85.0
    latitude_gap: Positive = 5.0
    spot_lifetime: PositiveRange = (1.0, 10.0)
    spot_lifetime_unit: Literal["rotations", "days"] = "rotations"
    inclination_law: Literal["sin2", "isotropic"] = "sin2"
    shear: PositiveRange = (0.1, 1.0)
    shear_weights: tuple[float, float, float] = (0.5, 0.25, 0.25)
    alpha_med: Positive = 0.005
    butterfly_fraction: Annotated[float, Field(ge=0, le=1)] = 0.8

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_cycle_overlap > self.cycle_period[0]:
            raise ValueError("min_cycle_overlap must not exceed the shortest cycle_period")
        if self.min_latitude[0] < 0 or self.min_latitude[1] + self.latitude_gap > self.max_latitude:
            raise ValueError("min_latitude must lie between 0 and max_latitude - latitude_gap")
        if not (min(self.shear_weights) >= 0 and 0 < sum(self.shear_weights) < math.inf):
            raise ValueError("shear_weights must be finite, not negative, and not all zero")
        if self.shear[1] > 1:
            raise ValueError("shear must be at most 1")
        return self


def draw_spot_parameters(prior: SpotPrior, rng: np.random.Generator) -> SpotParameters:
    """Draw one star from `prior`."""
    period = _period(prior, rng)
    cycle_period = log_uniform(rng, *prior.cycle_period)
    min_latitude = rng.uniform(*prior.min_latitude)
    lifetime = log_uniform(rng, *prior.spot_lifetime)
    return SpotParameters(
        period=period,
        activity=log_uniform(rng, *prior.activity),
        cycle_period=cycle_period,
        cycle_overlap=log_uniform(rng, prior.min_cycle_overlap, cycle_period),
        min_latitude=min_latitude,
        max_latitude=rng.uniform(min_latitude + prior.latitude_gap, prior.max_latitude),
        spot_lifetime=lifetime if prior.spot_lifetime_unit == "rotations" else lifetime / period,
        inclination=_inclination(prior, rng),
        shear=_shear(prior, rng),
        alpha_med=prior.alpha_med,
        butterfly=bool(rng.random() < prior.butterfly_fraction),
    )


def _period(prior: SpotPrior, rng: np.random.Generator) -> float:
    # A prior without short periods takes no number for them from the stream, so its stars do not depend on the choice.
    if prior.short_period_share > 0 and rng.random() < prior.short_period_share:
        return log_uniform(rng, *prior.short_period)
    return rng.uniform(*prior.period) if prior.period_law == "uniform" else log_uniform(rng, *prior.period)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform, clipped because rounding may carry it over the bounds."""
    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)


def _inclination(prior: SpotPrior, rng: np.random.Generator) -> float:
    u = rng.random()
    return math.degrees(math.asin(math.sqrt(u)) if prior.inclination_law == "sin2" else math.acos(u))


def _shear(prior: SpotPrior, rng: np.random.Generator) -> float:
    weights = np.asarray(prior.shear_weights) / sum(prior.shear_weights)
    sign = rng.choice([1.0, 0.0, -1.0], p=weights)
    return float(sign * log_uniform(rng, *prior.shear))
