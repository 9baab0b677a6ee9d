"""What a training sample is made of: kinds of stars, on template sets, and what is done to those that train."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from varistar.foundation.params import read_section
from varistar.foundation.settings import Settings
from varistar.physics.spot_prior import Positive, PositiveRange, SpotPrior

Probability = Annotated[float, Field(ge=0, le=1)]

#: Which signal a key of `StarSettings` describes.
SIGNAL_OF = {"prior": "spots", "timescale": "red_noise", "deviation": "red_noise"}


class StarSettings(Settings):
    """One kind of star.

    Attributes
    ----------
    signal : "spots", a spotted star that turns; "none", a constant star, its template as it is; "red_noise", a damped
        random walk, which varies without a period.
    prior : of spots, the distributions that the stars are drawn from.
    timescale : of red noise, its e-folding time, log-uniform [d].
    deviation : of red noise, its standard deviation in units of the mean flux, log-uniform.
    """

    signal: Literal["spots", "none", "red_noise"]
    prior: SpotPrior = SpotPrior()
    timescale: PositiveRange = (3.0, 300.0)
    deviation: PositiveRange = (0.003, 0.1)

    @model_validator(mode="after")
    def _of_one_signal(self) -> Self:
        for key, signal in SIGNAL_OF.items():
            if key in self.model_fields_set and signal != self.signal:
                raise ValueError(f"{key} describes stars whose signal is '{signal}', and this one is '{self.signal}'")
        return self


class PartSettings(Settings):
    """A part of a sample: one kind of star on one template set.

    Attributes
    ----------
    templates : name of the template set.
    stars : name of the kind of star.
    share : of the sample's examples, in units of the sum of its parts' shares.
    unique : at most so many different templates, of all splits together; None takes all.
    """

    templates: str
    stars: str
    share: Positive = 1.0
    unique: Annotated[int, Field(gt=0)] | None = None


class Augmentation(Settings):
    """How training examples are made poorer than their templates; 0 is never.

    Attributes
    ----------
    drop_epochs : a star loses a share of its points that is drawn uniformly up to this.
    drop_camera : probability that one of a star's cameras is left out, where it has several.
    noise : probability that a star's errors grow by a factor, log-uniform between 1 and 3, and its noise with them.
    borrow_window : probability that a star keeps only its points near those of another template.
    """

    drop_epochs: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_camera: Probability = 0.0
    noise: Probability = 0.0
    borrow_window: Probability = 0.0


class SampleSettings(Settings):
    """One training sample.

    Attributes
    ----------
    simulations : number of examples; templates repeat when there are fewer of them.
    parts : the kinds of stars, and on which templates.
    augment : what is done to the examples of the split `train`.
    """

    simulations: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)] = 88
    parts: Annotated[tuple[PartSettings, ...], Field(min_length=1)]
    augment: Augmentation = Augmentation()


def read_sample(root: Path, name: str) -> tuple[SampleSettings, dict[str, StarSettings]]:
    """Sample `name` of params.yaml in `root`, and the kinds of stars in it.

    Raises
    ------
    ConfigError
        When one of them does not exist or is wrong.
    """
    sample = read_section(root, f"periods.samples.{name}", SampleSettings)
    kinds = dict.fromkeys(part.stars for part in sample.parts)
    return sample, {kind: read_section(root, f"periods.stars.{kind}", StarSettings) for kind in kinds}
