"""Find the flares of light curves with a trained network: the one path that evaluation and prediction share.

A network answers for light curves of the cadences that it was trained with, and for those between; each has a threshold
of its own, and an orbit is judged by that of the nearest. Shorter exposures are joined to the shortest that it knows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit, logit

from varistar.experiments.content import Architecture, ModelContent, ModelSpec, read_content
from varistar.experiments.ensemble import count_members
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, RegistryError
from varistar.foundation.settings import Settings, validate
from varistar.surveys.definition import Survey

from .events import EventSettings, find_events
from .network import WINDOW, CalibratedFlareNetwork, Ensemble, FlareNetwork, build_network, fuse
from .network_settings import network_settings_of
from .orbits import Array, Orbit, OrbitSettings, bin_orbit
from .representation import PointRepresentation
from .score import score_points, score_windows
from .variants import WING, FlareVariant

MINUTES = 1440.0
#: Missing cadences in a row that windows are closed over where a model does not say, as the published code does.
CLOSE = 7
#: The numbers that calibration finds, and what stands for an uncalibrated network: `slope` and `offset` make the logit
#: of a cadence honest.
OF_SCORES = {"slope": 1.0, "offset": 0.0}
#: Those of each length of exposures: `event_slope` and `event_offset` make the logit of an event's highest cadence
#: honest; `seed` is the threshold.
OF_EVENTS = {"event_slope": 1.0, "event_offset": 0.0, "seed": None}
#: What a network knows that does not say it [min].
CADENCES = (2.0,)
#: By this factor a cadence may lie beyond those that a network knows.
BEYOND = 1.1


class EventRule(NamedTuple):
    """How scores become events at one cadence, with the calibrated threshold, and slope and offset of the logit of an
    event's score, so that it is as often a flare as it says."""

    events: EventSettings
    slope: float
    offset: float

    def honest(self, score: NDArray) -> Array:
        """Calibrated probability of events with these scores."""
        return expit(self.slope * logit(np.clip(score, 1e-6, 1 - 1e-6)) + self.offset)


@dataclass(frozen=True)
class FlareFinder:
    """A network with everything that it needs to find flares.

    Attributes
    ----------
    network : what it reads to calibrated probabilities; in evaluation mode.
    representation : what a network of points reads; None for one of windows.
    orbits : how a light curve becomes orbits.
    rules : how scores become events, by the cadences that the network was trained with [min], ascending.
    survey : the survey it was trained for.
    device : where the network is.
    close : the most cadences in a row that may be missing from a window, as in those it was trained on.
    """

    network: CalibratedFlareNetwork
    representation: PointRepresentation | None
    orbits: OrbitSettings
    rules: dict[float, EventRule]
    survey: Survey
    device: torch.device
    close: int = CLOSE

    @classmethod
    def of_content(cls, content: ModelContent, accelerator: Accelerator = "auto") -> Self:
        """Build the network of a model's content.

        Raises
        ------
        ConfigError
            When CUDA is asked for and there is none.
        RegistryError
            When the content is not a flare network, or its weights do not fit its architecture or are no numbers.
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
            cadences = validate(_Cadences, {"cadences": given.get("cadences", CADENCES)}, "preprocessing").cadences
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
        for name, tensor in network.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise RegistryError(f"the weights '{name}' are not all finite numbers")
        close = given.get("close", CLOSE)
        if isinstance(close, bool) or not isinstance(close, int) or close < 0:
            raise RegistryError(f"model.json: preprocessing: 'close' must be a number of cadences, not {close!r}")
        numbers = _numbers(spec.calibration, OF_SCORES)
        rules = {minutes: _rule(events, spec.calibration, minutes, cadences) for minutes in cadences}
        served = CalibratedFlareNetwork(fuse(network), numbers["slope"], numbers["offset"]).eval()
        device = choose_device(accelerator)
        return cls(served.to(device), representation, orbits, rules, survey, device, close)

    @classmethod
    def of_folder(cls, folder: Path, accelerator: Accelerator = "auto") -> Self:
        """Build the network whose content stands in `folder`."""
        return cls.of_content(read_content(folder), accelerator)

    @property
    def events(self) -> EventSettings:
        """How scores become events at the shortest cadence that the network knows."""
        return self.rules[min(self.rules)].events

    def prepare(self, orbits: Sequence[Orbit]) -> list[Orbit]:
        """The orbits that the network can search: those of shorter cadences than it knows in as few as possible of its
        exposures, and without those of longer ones, or with too few cadences once they are joined."""
        shortest = min(self.rules) / BEYOND
        joined = []
        for orbit in orbits:
            size = math.ceil(shortest / (MINUTES * orbit.cadence))
            binned = bin_orbit(orbit, size)
            if size > 1 and int(binned.good.sum()) < self.orbits.min_cadences:
                continue
            if MINUTES * binned.cadence <= BEYOND * max(self.rules):
                joined.append(binned)
        return joined

    def nearest(self, orbit: Orbit) -> float:
        """The cadence that the network knows [min] that is nearest to an orbit's, in ratio."""
        return min(self.rules, key=lambda minutes: abs(math.log(minutes / (MINUTES * orbit.cadence))))

    def scores(self, orbits: Sequence[Orbit]) -> list[Array]:
        """Calibrated probability that each cadence belongs to a flare, of each orbit shape (m,); NaN where unknown."""
        if self.representation is None:
            return [score_windows(self.network, orbit, self.close) for orbit in orbits]
        return [score_points(self.network, orbit, self.representation) for orbit in orbits]

    def find(
        self,
        star_id: str,
        orbits: Sequence[Orbit],
        scores: Sequence[Array] | None = None,
        seed: float | None = None,
    ) -> pl.DataFrame:
        """The star's EVENTS, with calibrated `p`, and `score`, the highest of its cadences.

        Parameters
        ----------
        scores : spare making them again where they are at hand.
        seed : a threshold for all cadences, in place of the calibrated ones.
        """
        scores = self.scores(orbits) if scores is None else scores
        nearest = [self.nearest(orbit) for orbit in orbits]
        found = []
        for minutes in sorted(set(nearest)) or [min(self.rules)]:
            rule = self.rules[minutes]
            settings = rule.events if seed is None else rule.events.at(seed)
            own = [
                score if its == minutes else np.full(len(score), np.nan)
                for its, score in zip(nearest, scores, strict=True)
            ]
            events = find_events(orbits, own, settings, star_id)
            honest = pl.Series(rule.honest(events["p"].to_numpy()), dtype=pl.Float64)
            found.append(events.with_columns(score="p", p=honest))
        return pl.concat(found).sort("orbit", "first", maintain_order=True)


class _Cadences(Settings):
    cadences: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)]


def of_cadence(name: str, minutes: float, cadences: Sequence[float]) -> str:
    """The key in a calibration of a number that each cadence has: `seed` of the shortest, `seed@30` of another."""
    return name if minutes == min(cadences) else f"{name}@{minutes:g}"


def _rule(
    events: EventSettings, calibration: Mapping[str, Any], minutes: float, cadences: Sequence[float]
) -> EventRule:
    keys = {of_cadence(name, minutes, cadences): default for name, default in OF_EVENTS.items()}
    slope, offset, seed = _numbers(calibration, keys).values()
    return EventRule(events if seed is None else events.at(seed), slope, offset)


def _numbers(given: Mapping[str, Any], wanted: Mapping[str, float | None]) -> dict[str, Any]:
    """Numbers of a calibration, with what an uncalibrated one lacks."""
    numbers = {name: given.get(name, default) for name, default in wanted.items()}
    for name, value in numbers.items():
        kind = name.partition("@")[0]
        if value is None and kind == "seed":
            continue
        if isinstance(value, bool) or not isinstance(value, float | int) or not np.isfinite(value):
            raise RegistryError(f"model.json: calibration: '{name}' must be a finite number, not {value!r}")
        if kind.endswith("slope") and not value > 0:
            raise RegistryError(f"model.json: calibration: '{name}' must be a positive number, not {value!r}")
        if kind == "seed" and not 0 < value < 1:
            raise RegistryError(f"model.json: calibration: '{name}' must be between 0 and 1, not {value!r}")
    return numbers


def describe_model(
    variant: FlareVariant,
    representation: PointRepresentation | None,
    orbits: OrbitSettings,
    survey: Survey,
    training_data: dict[str, str],
    close: int = CLOSE,
    cadences: Sequence[float] = CADENCES,
) -> ModelSpec:
    """The specification of an uncalibrated flare network, without metrics; `close` is of windows alone, `cadences` of
    points."""
    shown = {"close": close} if representation is None else {"representation": representation.model_dump(mode="json")}
    return ModelSpec(
        wing=WING,
        architecture=Architecture(name=variant.network.trunk, settings=variant.network.model_dump(mode="json")),
        preprocessing={
            **shown,
            "orbits": orbits.model_dump(mode="json"),
            "events": variant.events.model_dump(mode="json"),
            "survey": survey.model_dump(mode="json"),
            "cadences": list(cadences),
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
