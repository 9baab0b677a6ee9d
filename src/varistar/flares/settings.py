"""The section `flares` of params.yaml: everything the wing can be told, and whether its names refer to something."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from varistar.experiments.promotion import GateSettings
from varistar.experiments.splits import SplitSettings
from varistar.foundation.settings import Settings
from varistar.sky.spacecraft import SectorSettings

from .draws import GridDraw
from .examples import ExampleSettings
from .labelled import LabelledSettings
from .measure import MeasureSettings
from .network_settings import PointSettings
from .orbits import OrbitSettings
from .phase import PhaseSettings
from .rotation import RotationSettings
from .sweep_settings import SweepSettings
from .variants import FlareVariant

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class FlaresSettings(Settings):
    """The flare wing; each part is described at its model.

    Attributes
    ----------
    sectors : simulated stars that are learned from and tested on.
    labelled : light curves whose flares people have labelled, from which the networks learn beside the simulated ones.
    variants : what every rebuild trains.
    study : what `make study` trains; names differ from `variants`.
    recovery : what is injected into the test stars.
    injected : what is injected into the survey that the catalog is made of.
    measure, rotation, phase : how a catalog measures flares, rotation and the phase of the spots.
    promotion : what a challenger must reach on the test stars.
    sweep : what `varistar sweep flares VARIANT` tries.
    """

    survey: str
    split: SplitSettings
    orbits: OrbitSettings = OrbitSettings()
    sectors: SectorSettings
    examples: ExampleSettings = ExampleSettings()
    labelled: LabelledSettings | None = None
    variants: dict[Name, FlareVariant]
    study: dict[Name, FlareVariant] = {}
    recovery: GridDraw = GridDraw()
    injected: GridDraw = GridDraw()
    measure: MeasureSettings = MeasureSettings()
    rotation: RotationSettings = RotationSettings()
    phase: PhaseSettings = PhaseSettings()
    promotion: GateSettings
    sweep: SweepSettings = SweepSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if both := self.variants.keys() & self.study.keys():
            raise ValueError(f"'{min(both)}' stands in variants and in study; its scores would be mistaken")
        for name, variant in (self.variants | self.study).items():
            if variant.ensemble and variant.members < 2:
                raise ValueError(f"{name}: an ensemble needs at least 2 members")
            if not isinstance(variant.network, PointSettings) and self.examples.windows.length != 200:
                raise ValueError(f"{name}: the trunk 'window' reads 200 cadences; examples.windows.length must be 200")
        return self
