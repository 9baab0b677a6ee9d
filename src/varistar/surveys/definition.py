"""A survey as data: its bands, time system, window, cuts, period range and aliases.

Surveys stand in params.yaml under `surveys`, so that a new one is an entry there and no code.
"""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.cuts import Cuts
from varistar.lightcurves.table import TimeSystem

PositiveDays = Annotated[float, Field(gt=0)]


class Survey(Settings):
    """What varistar has to know of a survey.

    Attributes
    ----------
    window : (first, last) time of the survey [d, in `time_system`]; transforms span it, whatever a star's own epochs.
    cuts : the quality cuts of light curves; `cuts.window` is usually the same window.
    period_range : shortest and longest period searched [d].
    aliases : by name, the periods [d] from one to another at which the sampling or the Moon imitates a signal; they
        may overlap (AMB-25).
    """

    description: str
    time_system: TimeSystem
    window: tuple[float, float]
    cuts: Cuts
    period_range: tuple[PositiveDays, PositiveDays]
    aliases: dict[str, tuple[PositiveDays, PositiveDays]] = {}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ranges = {"window": self.window, "period_range": self.period_range}
        for name, (first, last) in (ranges | {f"aliases.{key}": value for key, value in self.aliases.items()}).items():
            if not first < last:
                raise ValueError(f"{name} must run from the smaller to the larger value")
        return self


def with_alias_ranges(given: dict[str, Any]) -> dict[str, Any]:
    """A survey as JSON, of today or of before: an alias was a period once, and half the width of all `alias_width`."""
    if "alias_width" not in given:
        return given
    width = given["alias_width"]
    ranges = {name: [period * (1 - width), period * (1 + width)] for name, period in given["aliases"].items()}
    return {key: value for key, value in given.items() if key != "alias_width"} | {"aliases": ranges}
