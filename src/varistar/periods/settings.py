"""The section `periods` of params.yaml: everything the wing can be told, and whether its names refer to something."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from varistar.experiments.fit_settings import FitSettings
from varistar.experiments.gates import Gate
from varistar.foundation.settings import Settings

from .images import ImageSettings
from .representation import Representation
from .simulate import SampleSettings
from .splits import SplitSettings
from .templates import TemplateSettings
from .variants import NetworkSettings, Variant

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Preset(Settings):
    """A network and its training, to be used with any image set."""

    network: NetworkSettings
    training: FitSettings


class Promotion(Settings):
    """When a challenger becomes champion.

    Attributes
    ----------
    sample : challenger and champion are compared on this sample's test set.
    gates : what must hold, by metric.
    """

    sample: str
    gates: dict[str, Gate]


class PeriodsSettings(Settings):
    """The period wing; each part is described at its model."""

    survey: str
    split: SplitSettings
    templates: dict[Name, TemplateSettings]
    samples: dict[Name, SampleSettings]
    representations: dict[Name, Representation]
    images: dict[Name, ImageSettings]
    variants: dict[Name, Variant]
    presets: dict[Name, Preset] = {}
    promotion: Promotion

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        wanted: list[tuple[str, str, Mapping[str, Settings]]] = [
            ("promotion.sample", self.promotion.sample, self.samples)
        ]
        for key, sample in self.samples.items():
            wanted.append((f"samples.{key}.templates", sample.templates, self.templates))
        for key, shown in self.images.items():
            wanted.append((f"images.{key}.sample", shown.sample, self.samples))
            wanted.append((f"images.{key}.representation", shown.representation, self.representations))
        for key, variant in self.variants.items():
            wanted.append((f"variants.{key}, which sees {variant.images},", variant.images, self.images))
        for key, name, known in wanted:
            if name not in known:
                raise ValueError(f"{key} names '{name}', which does not exist; there are {', '.join(known)}")
        for name, shown in self.images.items():
            if name != f"{shown.sample}-{shown.representation}":
                raise ValueError(
                    f"images.{name} must be called {shown.sample}-{shown.representation}, after what it shows"
                )
        return self
