"""The one preprocessing path of training and prediction: light curves to arrays, in any representation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Tag

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import PARAMS, lookup, read_params
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves

from .nights import Nights, make_nights
from .representation import Representation, make_images
from .statistics import Statistics, make_statistics

KINDS: dict[str, type[Representation] | type[Statistics] | type[Nights]] = {
    "image": Representation,
    "statistics": Statistics,
    "nights": Nights,
}


def _kind(values: Any) -> str:
    """Which representation is meant; models of old say nothing and mean an image."""
    return str(values.get("kind", "image") if isinstance(values, Mapping) else getattr(values, "kind", ""))


AnyRepresentation = Annotated[
    Annotated[Representation, Tag("image")]
    | Annotated[Statistics, Tag("statistics")]
    | Annotated[Nights, Tag("nights")],
    Discriminator(_kind, "kind", f"'kind' must be one of {', '.join(KINDS)}"),
]


def representation_of(values: Mapping[str, Any], where: str) -> Representation | Statistics | Nights:
    """The representation that these values describe.

    Raises
    ------
    ConfigError
        One sentence that begins with `where`.
    """
    kind = _kind(values)
    if kind not in KINDS:
        raise ConfigError(f"{where}: 'kind' must be one of {', '.join(KINDS)} (got '{kind}')")
    return validate(KINDS[kind], values, where)


def read_representation(root: Path, name: str) -> Representation | Statistics | Nights:
    """Representation `name` of params.yaml in `root`."""
    key = f"periods.representations.{name}"
    return representation_of(lookup(read_params(root), key), f"{PARAMS}: {key}")


def preprocess(
    lightcurves: LightCurves, representation: Representation | Statistics | Nights, device: str
) -> NDArray[np.uint8]:
    """The arrays of n light curves, shape (n, *representation.shape), as networks read them.

    On one kind of device, "cpu" or "cuda", equal light curves give equal arrays to the bit. Statistics and nights are
    made on the processor; of images, at most one pixel in a thousand differs between the two, by one level:
    `on_torch.make_images`.
    """
    if isinstance(representation, Statistics):
        return make_statistics(lightcurves, representation)
    if isinstance(representation, Nights):
        return make_nights(lightcurves, representation)
    if device == "cpu":
        return make_images(lightcurves, representation)
    from . import on_torch

    return on_torch.make_images(lightcurves, representation, device)
