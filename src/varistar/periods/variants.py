"""A variant: one network, its images and its training, as one entry of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from varistar.experiments.fit_settings import FitSettings
from varistar.foundation.settings import Settings

Channels = Annotated[int, Field(gt=0)]
PositiveDays = Annotated[float, Field(gt=0)]


class NetworkSettings(Settings):
    """A network of the paper's family.

    Attributes
    ----------
    filters : channels of the three convolutions.
    head : `laplace` (published) or `distribution`.
    maximum_period : unit of the Laplace head's output [d] (AMB-10).
    sigma : what the Laplace head's second output means: the standard deviation, sqrt(2) times the Laplace scale, as in
        the released code, or the Laplace `scale` itself, as in the paper's eq. 5 (AMB-11).
    period_range, bins : the histogram of the distribution head spans these periods [d], evenly in their logarithm.
    softness : standard deviation in ln(period) of the label that the distribution head learns.
    """

    filters: tuple[Channels, Channels, Channels] = (8, 16, 32)
    head: Literal["laplace", "distribution"] = "laplace"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    maximum_period: Annotated[float, Field(gt=0)] = 30.0
    sigma: Literal["standard_deviation", "scale"] = "standard_deviation"
    period_range: tuple[PositiveDays, PositiveDays] = (1.0, 30.0)
    bins: Annotated[int, Field(ge=8)] = 160
    softness: Annotated[float, Field(gt=0)] = 0.03

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.period_range[0] < self.period_range[1]:
            raise ValueError("period_range must run from the smaller to the larger value")
        return self


class Variant(Settings):
    """What is trained and compared under one name.

    Attributes
    ----------
    sample, representation : what it is trained on, and how that is shown; together they name the image set.
    """

    sample: str
    representation: str
    network: NetworkSettings = NetworkSettings()
    training: FitSettings = FitSettings()

    @property
    def images(self) -> str:
        """Name of the image set."""
        return f"{self.sample}-{self.representation}"
