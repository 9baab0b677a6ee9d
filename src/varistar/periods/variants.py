"""A variant: one network, its examples and its training, as one entry of params.yaml."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from varistar.experiments.fit_settings import Trainable
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import PARAMS, lookup, read_params, read_section
from varistar.foundation.settings import Settings

if TYPE_CHECKING:
    from .preprocess import AnyRepresentation

Channels = Annotated[int, Field(gt=0)]
PositiveDays = Annotated[float, Field(gt=0)]


#: Of `periods` in params.yaml, those that name variants.
SECTIONS = ("variants", "study")
#: The column of the truth that holds each kind of target [d].
TARGETS = {"equatorial": "period_days", "shown": "effective_period_days"}
#: The trunk that reads each kind of representation.
TRUNK_OF = {"image": "image", "statistics": "period_axis", "nights": "nights"}


class NetworkSettings(Settings):
    """A network and its head.

    Attributes
    ----------
    trunk : `image` is the paper's; `period_axis` convolves along ln(period) and reads statistics; `nights` convolves
        along time and reads binned light curves.
    filters : channels of the three convolutions, or of the three blocks.
    dropout : probability.
    noise : standard deviation of the Gaussian noise that training adds to the inputs, in units of each channel's own
        for `period_axis`, of a star's scatter for `nights`.
    head : `laplace` (published) or `distribution`.
    maximum_period : unit of the Laplace head's output [d] (AMB-10).
    sigma : what the Laplace head's second output means: the standard deviation, sqrt(2) times the Laplace scale, as in
        the released code, or the Laplace `scale` itself, as in the paper's eq. 5 (AMB-11).
    beta : exponent of the predicted variance by which the Laplace head weighs each star's loss, so that stars which are
        hard are not given up (beta-NLL; Seitzer et al. 2022); 0 is the published likelihood.
    period_range, bins : the histogram of the distribution head spans these periods [d], evenly in their logarithm.
    softness : standard deviation in ln(period) of the label that the distribution head learns.
    no_period : the distribution has one more class, of stars without a period in the range, and learns from those too.
    """

    trunk: Literal["image", "period_axis", "nights"] = "image"
    filters: tuple[Channels, Channels, Channels] = (8, 16, 32)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    noise: Annotated[float, Field(ge=0)] = 0.0
    head: Literal["laplace", "distribution"] = "laplace"
    maximum_period: Annotated[float, Field(gt=0)] = 30.0
    sigma: Literal["standard_deviation", "scale"] = "standard_deviation"
    beta: Annotated[float, Field(ge=0, le=1)] = 0.0
    period_range: tuple[PositiveDays, PositiveDays] = (1.0, 30.0)
    bins: Annotated[int, Field(ge=8)] = 160
    softness: Annotated[float, Field(gt=0)] = 0.03
    no_period: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.period_range[0] < self.period_range[1]:
            raise ValueError("period_range must run from the smaller to the larger value")
        if self.no_period and self.head != "distribution":
            raise ValueError("no_period belongs to the distribution head; a Laplace distribution has no such class")
        return self


def require_readable(network: NetworkSettings, representation: "AnyRepresentation") -> None:
    """Refuse a network that cannot read its representation.

    Raises
    ------
    ConfigError
        When another trunk reads this kind, or a trunk along the period axis has another axis than its representation.
    """
    if TRUNK_OF[representation.kind] != network.trunk:
        raise ConfigError(
            f"a representation of the kind '{representation.kind}' is read by the trunk "
            f"'{TRUNK_OF[representation.kind]}', not by '{network.trunk}'"
        )
    if representation.kind == "statistics":
        ours, theirs = (network.period_range, network.bins), (representation.period_range, representation.bins)
        if network.head != "distribution" or ours != theirs:
            raise ConfigError(
                f"the trunk 'period_axis' gives a distribution over the {theirs[1]} bins of its representation, from "
                f"{theirs[0][0]:g} to {theirs[0][1]:g} d; head, bins and period_range must say the same"
            )


class Variant(Trainable):
    """What is trained and compared under one name.

    Attributes
    ----------
    sample, representation : what it is trained on, and how that is shown; together they name the image set.
    target : the period that it learns: `equatorial` is the simulation's parameter, as in the paper; `shown` is the one
        that the light curve shows, of the latitudes where the spots are.
    published : predictive efficiency [%] of the row of Table 3 of the paper that this variant repeats.
    """

    sample: str
    representation: str
    target: Literal["equatorial", "shown"] = "equatorial"
    network: NetworkSettings = NetworkSettings()
    published: Annotated[float, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _averages(self) -> Self:
        if self.ensemble and self.network.head != "distribution":
            raise ValueError("an ensemble averages distributions; a Laplace head has none to average")
        return self

    @property
    def images(self) -> str:
        """Name of the image set."""
        return f"{self.sample}-{self.representation}"


def section_of(root: Path, name: str) -> str:
    """Where params.yaml names a variant: `variants`, which every rebuild trains, or `study`.

    Raises
    ------
    ConfigError
        When neither does.
    """
    periods = lookup(read_params(root), "periods")
    for section in SECTIONS:
        if name in (periods.get(section) or {}):
            return section
    there = ", ".join(name for section in SECTIONS for name in periods.get(section) or {})
    raise ConfigError(f"{PARAMS}: there is no variant '{name}'; there are {there}")


def read_variant(root: Path, name: str) -> Variant:
    """The variant of this name, of every rebuild or of the study."""
    return read_section(root, f"periods.{section_of(root, name)}.{name}", Variant)
