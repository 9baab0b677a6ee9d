"""The sizes of the pipeline: what a size costs, and the switch from one to another.

The estimates are sums of rates measured on two cores of a 2024 server processor (see docs/performance.md); they are
meant to tell ten minutes from a night.
"""

import io
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from varistar.config import Params, set_value
from varistar.flares.settings import FlaresSettings
from varistar.flares.variants import FlareVariant
from varistar.foundation.errors import ConfigError
from varistar.foundation.files import atomic_path
from varistar.foundation.params import PARAMS, lookup, read_params
from varistar.foundation.settings import validate
from varistar.periods.settings import PeriodsSettings
from varistar.periods.variants import Variant

CORES = 2
# Seconds of one core, of two that are busy.
SIMULATION_SECONDS = 0.004  # an example: spots at the template's epochs
ARRAY_SECONDS = {"image": 0.0015, "statistics": 0.0033, "nights": 0.0002}  # an example
IMAGE_EPOCH_SECONDS = {8: 3.0, 16: 5.5, 32: 12.0, 64: 33.0}  # 10^4 examples in mixed precision, by the first filters
EPOCH_SECONDS = {"period_axis": 10.0, "nights": 16.0}  # the same of the other trunks
FLOAT32_FACTOR = 2.0  # as long as in mixed precision: 1.5 of narrow networks to 2.3 of wide ones
MEASUREMENT_SECONDS = 0.004  # a test star and network
STAGE_SECONDS = 4.0  # start of a stage's process, its imports and its bookkeeping
EXAMPLE_BYTES = 6_700  # simulated and injected; its arrays take a byte for each number
FLARE_STAR_SECONDS = 1.2  # a simulated sector: made, cut into examples, searched, injected into, at four cadences
FLARE_EPOCH_SECONDS = {"points": 0.085, "windows": 0.0045}  # a star that is learned from, float32 or mixed
FLARE_STAR_BYTES = 210_000
FLARE_CATALOG_SECONDS = 80.0  # of the embedded sectors, with injections and what follows from the catalog


@dataclass(frozen=True)
class Cost:
    """Estimated seconds on two cores, and bytes on disk."""

    seconds: float
    bytes: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes)

    def __str__(self) -> str:
        return f"about {_duration(self.seconds)} on two cores and {_bytes(self.bytes)} of disk"


@dataclass(frozen=True)
class Costs:
    """What a whole rebuild costs, and what the study costs after it."""

    rebuild: Cost
    study: Cost


def estimate(params: Params) -> Costs:
    """What a whole rebuild with these parameters costs, and the study after it.

    Every network is taken to use all of its epochs. Samples and images that nothing needs are not made; what a rebuild
    has made the study makes no more.
    """
    periods = params.periods
    rebuild = _Needs.of(periods, periods.variants.values(), set(periods.tests))
    both = _Needs.of(periods, [*periods.variants.values(), *periods.study.values()], set(periods.tests))
    more = _Needs(both.samples - rebuild.samples, both.images - rebuild.images)
    # a variant is trained, calibrated and evaluated; then come comparison, promotion and catalog
    fixed = len(periods.templates) + len(periods.tests) + 3 * len(periods.variants) + 4
    return Costs(
        _cost(periods, rebuild, periods.variants.values(), fixed) + _cost_of_flares(params.flares),
        _cost(periods, more, periods.study.values(), len(periods.study)) + _cost_of_flare_study(params.flares),
    )


class _Needs(NamedTuple):
    """Names of the samples and the image sets that must be made."""

    samples: set[str]
    images: set[str]

    @classmethod
    def of(cls, periods: PeriodsSettings, variants: Iterable[Variant], tests: set[str]) -> "_Needs":
        images = {variant.images for variant in variants}
        return cls(tests | {periods.images[name].sample for name in images}, images)


def _cost(periods: PeriodsSettings, needs: _Needs, variants: Collection[Variant], stages: int) -> Cost:
    """Of making these needs, training these variants, and so many stages of other kinds."""
    count = {name: sample.simulations for name, sample in periods.samples.items()}
    core_seconds = SIMULATION_SECONDS * sum(count[name] for name in needs.samples)
    stored = float(EXAMPLE_BYTES * sum(count[name] for name in needs.samples))
    for image in (periods.images[name] for name in needs.images):
        representation = periods.representations[image.representation]
        core_seconds += ARRAY_SECONDS[representation.kind] * count[image.sample]
        stored += math.prod(representation.shape) * count[image.sample]
    tested = periods.split.test * sum(count[name] for name in periods.tests)
    seconds = core_seconds / CORES + STAGE_SECONDS * (stages + 2 * len(needs.samples) + len(needs.images))
    for variant in variants:
        seconds += _training_seconds(variant, periods.split.train * count[variant.sample])
        # measured as a whole, and where there are several networks each of them alone
        networks = (variant.members if variant.ensemble else 1) + (variant.members if variant.members > 1 else 0)
        seconds += MEASUREMENT_SECONDS * networks * tested / CORES
    return Cost(seconds, stored)


def _cost_of_flares(flares: FlaresSettings) -> Cost:
    """Of simulating the sectors, training and testing the variants, and the catalog of the embedded sectors."""
    stars = flares.sectors.n_stars
    seconds = (
        FLARE_STAR_SECONDS * stars / CORES + FLARE_CATALOG_SECONDS + STAGE_SECONDS * (9 + 3 * len(flares.variants))
    )
    seconds += sum(_flare_training_seconds(flares, variant) for variant in flares.variants.values())
    return Cost(seconds, FLARE_STAR_BYTES * stars)


def _cost_of_flare_study(flares: FlaresSettings) -> Cost:
    """Of training and testing the study's variants."""
    training = sum(_flare_training_seconds(flares, variant) for variant in flares.study.values())
    return Cost(training + 3 * STAGE_SECONDS * len(flares.study), 0.0)


def _flare_training_seconds(flares: FlaresSettings, variant: FlareVariant) -> float:
    epoch = FLARE_EPOCH_SECONDS[variant.examples] * flares.split.train * flares.sectors.n_stars
    return epoch * variant.training.max_epochs * math.ceil(variant.members / CORES)


def _training_seconds(variant: Variant, examples: float) -> float:
    """Of all of a variant's networks, which are trained side by side, one on a core."""
    network, training = variant.network, variant.training
    epoch = EPOCH_SECONDS.get(network.trunk) or _by_filters(network.filters[0])
    slower = 1.0 if training.precision == "mixed" else FLOAT32_FACTOR
    return slower * epoch * training.max_epochs * examples / 1e4 * math.ceil(variant.members / CORES)


def _by_filters(first: int) -> float:
    """Seconds of an epoch of the image trunk; wider than the measured ones, in proportion to the width squared."""
    wide_enough = [seconds for filters, seconds in IMAGE_EPOCH_SECONDS.items() if filters >= first]
    widest = max(IMAGE_EPOCH_SECONDS)
    return min(wide_enough, default=IMAGE_EPOCH_SECONDS[widest] * (first / widest) ** 2)


@dataclass(frozen=True)
class Switch:
    """A change of size: the new text of params.yaml, what it costs, and each key's old and new value."""

    name: str
    text: str
    costs: Costs
    changes: dict[str, tuple[Any, Any]]


def plan_switch(root: Path, name: str) -> Switch:
    """What switching to size `name` would change; nothing is written.

    Raises
    ------
    ConfigError
        When params.yaml is wrong before or after the change, the size does not exist, or a key that it sets does not.
    """
    plain = read_params(root)
    sizes = validate(Params, plain, PARAMS).sizes
    validate(Params, {**plain, "size": name}, PARAMS)
    if name not in sizes:
        raise ConfigError(f"{PARAMS}: 'sizes.{name}' does not exist; sizes has {', '.join(sizes) or 'none'}")
    wanted = {**sizes[name], "size": name}
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 1000  # what is one line stays one
    yaml.indent(mapping=2, sequence=4, offset=2)
    params = yaml.load((root / PARAMS).read_text(encoding="utf-8"))
    changes = {}
    for key, value in wanted.items():
        before = set_value(params, key, value)
        if before != value:
            changes[key] = (before, value)
    for key, value in wanted.items():
        if lookup(params, key) != value:
            raise ConfigError(
                f"{PARAMS}: 'sizes.{name}' cannot set '{key}' to {value}, since it is one YAML anchor with another key "
                "that this size sets; write it out, or merge the anchor as {<<: *anchor, key: value}"
            )
    text = io.StringIO()
    yaml.dump(params, text)
    switched = validate(Params, YAML(typ="safe", pure=True).load(text.getvalue()), PARAMS)
    return Switch(name, text.getvalue(), estimate(switched), changes)


def apply_switch(root: Path, switch: Switch) -> None:
    """Write the new params.yaml; comments and order stay."""
    with atomic_path(root / PARAMS) as temporary:
        temporary.write_text(switch.text, encoding="utf-8")


class _Representer(RoundTripRepresenter):
    """Writes null as that word, not as nothing."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return "a minute"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 3 * 86400 else f"{seconds / 86400:.0f} days"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
