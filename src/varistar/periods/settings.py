"""The section `periods` of params.yaml: everything the wing can be told, and whether its names refer to something."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from varistar.experiments.fit_settings import FitSettings
from varistar.experiments.promotion import GateSettings
from varistar.experiments.splits import SplitSettings
from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import Settings

from .images import ImageSettings
from .preprocess import AnyRepresentation
from .sample_settings import SampleSettings, StarSettings
from .sweep_settings import SweepSettings
from .templates import TemplateSettings
from .variants import NetworkSettings, Variant, require_readable

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Preset(Settings):
    """A network and its training, to be used with any image set."""

    network: NetworkSettings
    training: FitSettings


class Promotion(GateSettings):
    """When a challenger becomes champion.

    Attributes
    ----------
    sample : challenger and champion are compared on this sample's test set.
    """

    sample: str


class PeriodsSettings(Settings):
    """The period wing; each part is described at its model.

    Attributes
    ----------
    tests : samples on whose test sets every variant is evaluated.
    variants : what every rebuild trains.
    study : what `make study` trains, the rows of the paper's Table 3 among it; names differ from `variants`.
    """

    survey: str
    split: SplitSettings
    templates: dict[Name, TemplateSettings]
    stars: dict[Name, StarSettings]
    samples: dict[Name, SampleSettings]
    representations: dict[Name, AnyRepresentation]
    images: dict[Name, ImageSettings]
    tests: Annotated[tuple[str, ...], Field(min_length=1)]
    variants: dict[Name, Variant]
    study: dict[Name, Variant] = {}
    presets: dict[Name, Preset] = {}
    sweep: SweepSettings = SweepSettings()
    promotion: Promotion

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        wanted: list[tuple[str, str, Mapping[str, Settings]]] = [
            ("promotion.sample", self.promotion.sample, self.samples)
        ]
        for key, sample in self.samples.items():
            for number, part in enumerate(sample.parts):
                wanted.append((f"samples.{key}.parts.{number}.templates", part.templates, self.templates))
                wanted.append((f"samples.{key}.parts.{number}.stars", part.stars, self.stars))
        for key, shown in self.images.items():
            wanted.append((f"images.{key}.sample", shown.sample, self.samples))
            wanted.append((f"images.{key}.representation", shown.representation, self.representations))
        for number, test in enumerate(self.tests):
            wanted.append((f"tests.{number}", test, self.samples))
        for section, variants in (("variants", self.variants), ("study", self.study)):
            for key, variant in variants.items():
                wanted.append((f"{section}.{key}, which sees {variant.images},", variant.images, self.images))
        for key, name, known in wanted:
            if name not in known:
                raise ValueError(f"{key} names '{name}', which does not exist; there are {', '.join(known)}")
        for name, shown in self.images.items():
            if name != f"{shown.sample}-{shown.representation}":
                raise ValueError(
                    f"images.{name} must be called {shown.sample}-{shown.representation}, after what it shows"
                )
        for section, variants in (("variants", self.variants), ("study", self.study)):
            for key, variant in variants.items():
                try:
                    require_readable(variant.network, self.representations[variant.representation])
                except ConfigError as error:
                    raise ValueError(f"{section}.{key}.network: {error}") from None
        if both := self.variants.keys() & self.study.keys():
            raise ValueError(f"'{min(both)}' stands in variants and in study; its scores would be mistaken")
        if self.promotion.sample not in self.tests:
            raise ValueError(f"promotion.sample names '{self.promotion.sample}', which is not among tests")
        return self
