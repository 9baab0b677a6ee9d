"""params.yaml as one frozen, validated model: the frame that holds every wing's section."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from varistar.flares.settings import FlaresSettings
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import PARAMS, read_params
from varistar.foundation.settings import Settings, validate
from varistar.periods.settings import PeriodsSettings
from varistar.sky.ground import SkySettings
from varistar.sky.spacecraft import SectorSettings
from varistar.surveys.definition import Survey

Size = Literal["smoke", "laptop", "study", "paper"]


class Params(Settings):
    """The whole of params.yaml.

    Attributes
    ----------
    size : the size that the parameters were last switched to.
    accelerator : where images are made and networks run.
    sizes : what each size sets, by dotted key.
    sky, sectors : the simulated surveys, from the ground and from space, whose snapshots are embedded.
    """

    size: Size
    accelerator: Accelerator
    sizes: dict[Size, dict[str, Any]]
    sky: SkySettings
    sectors: SectorSettings
    surveys: dict[str, Survey]
    periods: PeriodsSettings
    flares: FlaresSettings

    @model_validator(mode="after")
    def _survey_exists(self) -> Self:
        for wing, survey in (("periods", self.periods.survey), ("flares", self.flares.survey)):
            if survey not in self.surveys:
                raise ValueError(
                    f"{wing}.survey names '{survey}', which does not exist; "
                    f"there are {', '.join(self.surveys) or 'none'}"
                )
        window = self.surveys[self.periods.survey].window
        for name, representation in self.periods.representations.items():
            if representation.window not in (None, window):
                raise ValueError(
                    f"periods.representations.{name}.window is {list(representation.window or ())}, "
                    f"the window of the survey '{self.periods.survey}' is {list(window)}"
                )
        return self


def read_config(root: Path) -> Params:
    """Read and check params.yaml in `root`.

    Raises
    ------
    ConfigError
        One sentence with the key's path and what it may be.
    """
    return validate(Params, read_params(root), PARAMS)


def set_value(params: dict[str, Any], key: str, value: Any) -> Any:
    """Set a dotted key that exists already; returns the value it had.

    Raises
    ------
    ConfigError
        When the key does not exist.
    """
    *path, last = key.split(".")
    section = params
    for part in path:
        section = section.get(part) if isinstance(section, dict) else None  # type: ignore[assignment]
    if not isinstance(section, dict) or last not in section:
        raise ConfigError(f"{PARAMS}: '{key}' does not exist")
    before, section[last] = section[last], value
    return before


def json_schema() -> str:
    """The JSON schema of params.yaml."""
    return json.dumps(Params.model_json_schema(), indent=2)
