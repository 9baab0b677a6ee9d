"""A variant: one network, its images and its training, as one entry of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from varistar.experiments.fit_settings import FitSettings
from varistar.foundation.settings import Settings


class NetworkSettings(Settings):
    """A network of the paper's family.

    Attributes
    ----------
    filters : channels of the three convolutions.
    head : `laplace` (published) or `distribution`.
    maximum_period : unit of the Laplace head's output [d] (AMB-10).
    sigma : what the Laplace head's second output means: the standard deviation, sqrt(2) times the Laplace scale, as in
        the
        released code, or the Laplace `scale` itself, as in the paper's eq. 5 (AMB-11).
    period_range, bins : the histogram of the distribution head spans these periods [d], evenly in their logarithm.
    softness : standard deviation in ln(period) of the label that the distribution head learns.
    """

    filters: tuple[int, int, int] = (8, 16, 32)
    head: Literal["laplace", "distribution"] = "laplace"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    maximum_period: Annotated[float, Field(gt=0)] = 30.0
    sigma: Literal["standard_deviation", "scale"] = "standard_deviation"
    period_range: tuple[float, float] = (1.0, 30.0)
    bins: Annotated[int, Field(ge=8)] = 160
    softness: Annotated[float, Field(gt=0)] = 0.03


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
