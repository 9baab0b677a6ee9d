"""A variant: one network, its training, and how its scores become events, as one entry of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from varistar.experiments.fit_settings import Trainable
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import PARAMS, lookup, read_params, read_section

from .events import EventSettings
from .network_settings import NetworkSettings, PointSettings

WING = "flares"
#: Of `flares` in params.yaml, those that name variants.
SECTIONS = ("variants", "study")


class FlareVariant(Trainable):
    """What is trained and compared under one name.

    Attributes
    ----------
    examples : the kind of examples that it learns from, as its trunk reads them.
    events : how its scores become events; `seed` is a threshold on uncalibrated scores.
    false_per_day : events per day that may be found in light curves of calibration stars where no flare is: calibration
        sets the threshold there, with `grow` no higher. None keeps the threshold as it is given.
    measures : whether heights, widths and energies of what it finds are held against the truth.
    """

    examples: Literal["windows", "points"] = "points"
    network: NetworkSettings = PointSettings()
    events: EventSettings = EventSettings()
    false_per_day: Annotated[float, Field(gt=0)] | None = 0.01
    measures: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        read = "windows" if self.network.trunk == "window" else "points"
        if self.examples != read:
            raise ValueError(f"the trunk '{self.network.trunk}' reads {read}, not {self.examples}")
        return self


def section_of(root: Path, name: str) -> str:
    """Where params.yaml names a variant: `variants`, which every rebuild trains, or `study`.

    Raises
    ------
    ConfigError
        When neither does.
    """
    flares = lookup(read_params(root), WING)
    for section in SECTIONS:
        if name in (flares.get(section) or {}):
            return section
    there = ", ".join(name for section in SECTIONS for name in flares.get(section) or {})
    raise ConfigError(f"{PARAMS}: there is no variant '{name}' of flares; there are {there}")


def folder_of(root: Path, name: str) -> Path:
    """Where a variant's networks, calibration and measurements are kept: the study's apart, since a rebuild waits for
    whatever the variants leave in theirs."""
    build = root / "build/flares"
    return build if section_of(root, name) == "variants" else build / "study"


def stage_of(root: Path, name: str, stage: str) -> str:
    """What DVC calls a stage of a variant."""
    folder = WING if section_of(root, name) == "variants" else f"{WING}/study"
    return f"{folder}/dvc.yaml:{stage}@{name}"


def read_variant(root: Path, name: str) -> FlareVariant:
    """The variant of this name, of every rebuild or of the study."""
    return read_section(root, f"{WING}.{section_of(root, name)}.{name}", FlareVariant)
