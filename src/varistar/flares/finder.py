"""Find the flares of light curves with a trained network: the one path that evaluation and prediction share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from varistar.experiments.content import Architecture, ModelContent, ModelSpec, read_content
from varistar.experiments.members import count_members
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, RegistryError
from varistar.foundation.settings import validate
from varistar.surveys.definition import Survey

from .events import EventSettings, find_events
from .network import WINDOW, CalibratedFlareNetwork, Ensemble, FlareNetwork, build_network
from .network_settings import network_settings_of
from .orbits import Array, Orbit, OrbitSettings
from .representation import PointRepresentation
from .score import score_points, score_windows
from .variants import WING, FlareVariant

#: Missing cadences in a row that windows are closed over, as the published code does.
CLOSE = 7
#: The numbers that calibration finds, and what stands for an uncalibrated network: `slope` and `offset` make the logit
#: of a cadence honest, `event_slope` and `event_offset` that of an event's highest cadence; `seed` is the threshold.
CALIBRATION = {"slope": 1.0, "offset": 0.0, "event_slope": 1.0, "event_offset": 0.0, "seed": None}


@dataclass(frozen=True)
class FlareFinder:
    """A network with everything that it needs to find flares.

    Attributes
    ----------
    network : what it reads to calibrated probabilities; in evaluation mode.
    representation : what a network of points reads; None for one of windows.
    orbits : how a light curve becomes orbits.
    events : how scores become events, with the calibrated threshold.
    event_slope, event_offset : of the logit of an event's score, so that it is as often a flare as it says.
    survey : the survey it was trained for.
    device : where the network is.
    """

    network: CalibratedFlareNetwork
    representation: PointRepresentation | None
    orbits: OrbitSettings
    events: EventSettings
    event_slope: float
    event_offset: float
    survey: Survey
    device: torch.device

    @classmethod
    def of_content(cls, content: ModelContent, accelerator: Accelerator = "auto") -> Self:
        """Build the network of a model's content.

        Raises
        ------
        ConfigError
            When CUDA is asked for and there is none.
        RegistryError
            When the content is not a flare network, or its weights do not fit its architecture.
        """
        spec = content.spec
        if spec.wing != WING:
            raise RegistryError(f"this model belongs to the wing '{spec.wing}', not to '{WING}'")
        given = spec.preprocessing
        try:
            settings = network_settings_of(spec.architecture.settings, "architecture")
            shown = given.get("representation")
            representation = None if shown is None else validate(PointRepresentation, shown, "representation")
            orbits = validate(OrbitSettings, given.get("orbits", {}), "orbits")
            events = validate(EventSettings, given.get("events", {}), "events")
            survey = validate(Survey, given.get("survey", {}), "survey")
            count = count_members(content.tensors)
            networks = [build_network(settings, representation) for _ in range(max(count, 1))]
        except ConfigError as error:
            raise RegistryError(f"model.json: {error}") from None
        network: FlareNetwork = Ensemble(networks) if count else networks[0]
        try:
            network.load_state_dict(content.state_dict())
        except RuntimeError as error:
            mismatch = str(error).splitlines()[-1].strip()
            raise RegistryError(f"the weights do not fit the architecture: {mismatch}") from None
        numbers = _calibration(spec.calibration)
        if numbers["seed"] is not None:
            # a variant that grows its events no further than its threshold does so at any threshold
            grow = numbers["seed"] if events.grow == events.seed else min(events.grow, numbers["seed"])
            events = events.model_copy(update={"seed": numbers["seed"], "grow": grow})
        served = CalibratedFlareNetwork(network, numbers["slope"], numbers["offset"]).eval()
        device = choose_device(accelerator)
        slope, offset = numbers["event_slope"], numbers["event_offset"]
        return cls(served.to(device), representation, orbits, events, slope, offset, survey, device)

    @classmethod
    def of_folder(cls, folder: Path, accelerator: Accelerator = "auto") -> Self:
        """Build the network whose content stands in `folder`."""
        return cls.of_content(read_content(folder), accelerator)

    def scores(self, orbits: Sequence[Orbit]) -> list[Array]:
        """Calibrated probability that each cadence belongs to a flare, of each orbit shape (m,); NaN where unknown."""
        if self.representation is None:
            return [score_windows(self.network, orbit, CLOSE) for orbit in orbits]
        return [score_points(self.network, orbit, self.representation) for orbit in orbits]

    def find(self, star_id: str, orbits: Sequence[Orbit], scores: Sequence[Array] | None = None) -> pl.DataFrame:
        """The star's EVENTS, with calibrated `p`, and `score`, the highest of its cadences.

        `scores` spares making them again where they are at hand.
        """
        scores = self.scores(orbits) if scores is None else scores
        events = find_events(orbits, scores, self.events, star_id)
        return events.with_columns(score="p", p=pl.Series(self.honest(events["p"].to_numpy()), dtype=pl.Float64))

    def honest(self, score: NDArray) -> Array:
        """Calibrated probability of events with these scores."""
        return expit(self.event_slope * logit(np.clip(score, 1e-6, 1 - 1e-6)) + self.event_offset)


def _calibration(given: Mapping[str, Any]) -> dict[str, Any]:
    """The calibration of a model, with what an uncalibrated one lacks."""
    numbers = {name: given.get(name, default) for name, default in CALIBRATION.items()}
    for name, value in numbers.items():
        if value is None and name == "seed":
            continue
        if isinstance(value, bool) or not isinstance(value, float | int) or not np.isfinite(value):
            raise RegistryError(f"model.json: calibration: '{name}' must be a finite number, not {value!r}")
        if name.endswith("slope") and not value > 0:
            raise RegistryError(f"model.json: calibration: '{name}' must be a positive number, not {value!r}")
        if name == "seed" and not 0 < value < 1:
            raise RegistryError(f"model.json: calibration: 'seed' must be between 0 and 1, not {value!r}")
    return numbers


def describe_model(
    variant: FlareVariant,
    representation: PointRepresentation | None,
    orbits: OrbitSettings,
    survey: Survey,
    training_data: dict[str, str],
) -> ModelSpec:
    """The specification of an uncalibrated flare network, without metrics."""
    shown = {} if representation is None else {"representation": representation.model_dump(mode="json")}
    return ModelSpec(
        wing=WING,
        architecture=Architecture(name=variant.network.trunk, settings=variant.network.model_dump(mode="json")),
        preprocessing={
            **shown,
            "orbits": orbits.model_dump(mode="json"),
            "events": variant.events.model_dump(mode="json"),
            "survey": survey.model_dump(mode="json"),
        },
        calibration={},
        metrics={},
        training_data=training_data,
    )


def served_network(content: ModelContent) -> tuple[torch.nn.Module, NDArray[np.float32]]:
    """What the model registry packages: the calibrated network, and a batch of its input."""
    finder = FlareFinder.of_content(content, "cpu")
    rng = np.random.default_rng(0)
    if finder.representation is None:
        return finder.network, (1.0 + 0.001 * rng.standard_normal((2, WINDOW))).astype(np.float32)
    points = rng.standard_normal((2, finder.representation.channels, 1024)).astype(np.float32)
    points[:, -1] = 1.0
    return finder.network, points
