"""The networks of the flare wing as settings, which load without torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import Settings, validate

Channels = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class WindowSettings(Settings):
    """The published network (002, Fig. 2): one answer for a window of 200 cadences.

    Attributes
    ----------
    filters : channels of the two convolutions.
    dense : width of the layer before the last.
    dropout : probability.
    initialisation : `keras` draws kernels by Glorot & Bengio (2010) and sets biases to zero, as the published networks
        began; `torch` leaves PyTorch's own.
    """

    trunk: Literal["window"] = "window"
    filters: tuple[Channels, Channels] = (16, 64)
    dense: Channels = 32
    dropout: Probability = 0.1
    initialisation: Literal["keras", "torch"] = "keras"


class PointSettings(Settings):
    """A network with one answer for every cadence of an orbit.

    Attributes
    ----------
    filters : channels at each depth, the first at full cadence and each next one at half the cadence before.
    kernel : length of the convolutions, odd.
    dropout : probability.
    dice : weight of the soft Dice loss beside the cross-entropy.
    """

    trunk: Literal["points"] = "points"
    filters: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=10)] = (8, 16, 24, 32, 48)
    kernel: Annotated[int, Field(ge=1)] = 5
    dropout: Probability = 0.1
    dice: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="after")
    def _odd(self) -> "PointSettings":
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd, so that it has a middle")
        return self


TRUNKS: dict[str, type[WindowSettings] | type[PointSettings]] = {"window": WindowSettings, "points": PointSettings}

NetworkSettings = Annotated[WindowSettings | PointSettings, Field(discriminator="trunk")]


def network_settings_of(values: Mapping[str, Any], where: str) -> WindowSettings | PointSettings:
    """The network that these values describe.

    Raises
    ------
    ConfigError
        One sentence that begins with `where`.
    """
    trunk = values.get("trunk")
    if not isinstance(trunk, str) or trunk not in TRUNKS:
        raise ConfigError(f"{where}: 'trunk' must be one of {', '.join(TRUNKS)} (got {trunk!r:.80})")
    return validate(TRUNKS[trunk], values, where)
