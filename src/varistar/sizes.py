"""The sizes of the pipeline: what a size costs, and the switch from one to another.

The estimates are sums of rates measured on two cores of a 2024 server processor (see docs/performance.md); they are
meant to tell ten minutes from a night.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from varistar.config import Params, set_value
from varistar.foundation.errors import ConfigError
from varistar.foundation.files import atomic_path
from varistar.foundation.params import PARAMS, lookup, read_params
from varistar.foundation.settings import validate

SIMULATION_SECONDS = 0.004  # one example and core: spots at the template's epochs
IMAGE_SECONDS = 0.0016  # one example and core: transform and image
EPOCH_SECONDS = {8: 4.5, 16: 9.3, 32: 25.0, 64: 76.0}  # 10^4 examples on two cores, by the first layer's filters
STAGE_SECONDS = 6.0  # start of a stage's process, its imports and its bookkeeping
EXAMPLE_BYTES = {"simulation": 3_000, "light curve": 9_000, "image": 4_096}


@dataclass(frozen=True)
class Cost:
    """Estimated seconds on two cores and bytes on disk of a whole rebuild."""

    seconds: float
    bytes: float

    def __str__(self) -> str:
        return f"about {_duration(self.seconds)} on two cores and {_bytes(self.bytes)} of disk"


def estimate(params: Params) -> Cost:
    """What a whole rebuild with these parameters costs.

    Every variant is taken to use all of its epochs.
    """
    periods = params.periods
    examples = {name: sample.simulations for name, sample in periods.samples.items()}
    shown = {name: examples[image.sample] for name, image in periods.images.items()}
    n_examples, n_images = sum(examples.values()), sum(shown.values())
    seconds = n_examples * SIMULATION_SECONDS / 2 + n_images * IMAGE_SECONDS / 2
    for variant in periods.variants.values():
        trained = periods.split.train * shown[variant.images]
        seconds += variant.training.max_epochs * trained / 1e4 * EPOCH_SECONDS.get(variant.network.filters[0], 76.0)
    seconds += STAGE_SECONDS * (len(periods.templates) + 3 * len(examples) + len(shown) + 3 * len(periods.variants) + 2)
    stored = (
        n_examples * (EXAMPLE_BYTES["simulation"] + EXAMPLE_BYTES["light curve"]) + n_images * EXAMPLE_BYTES["image"]
    )
    return Cost(seconds, stored)


@dataclass(frozen=True)
class Switch:
    """A change of size: the new text of params.yaml, what it costs, and each key's old and new value."""

    name: str
    text: str
    cost: Cost
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
    yaml.width = 120
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


def _duration(seconds: float) -> str:
    if seconds < 90:
        return "a minute"
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 3 * 86400 else f"{seconds / 86400:.0f} days"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
