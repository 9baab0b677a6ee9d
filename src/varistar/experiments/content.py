"""A model's content: a folder of two files, `weights.safetensors` and `model.json`.

The content is everything that decides what a network answers, and nothing else: the weights, and as JSON the
architecture with its settings, the preprocessing, the calibration, the metrics and the hashes of the training data.
No run id, no time and no pickle. Equal content gives equal bytes, so its SHA-256 names it.

This module knows nothing of a wing: a wing turns the content into a network.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from varistar.foundation.errors import ConfigError, DataError, RegistryError
from varistar.foundation.files import atomic_folder, folder_hash, read_json, write_json
from varistar.foundation.settings import Settings, validate

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.safetensors"
SPEC = "model.json"
# What NumPy and safetensors both hold exactly; bfloat16 is not among them.
DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")

WingName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _finite_or_none(value: Any) -> Any:
    """JSON has no NaN: a metric that is not a finite number is undefined, and says so as null."""
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value


Metrics = dict[str, Annotated[float | None, BeforeValidator(_finite_or_none)]]


class Architecture(Settings):
    """The name under which a wing builds the network, and the settings it is built with."""

    name: str
    settings: dict[str, Any]


class ModelSpec(Settings):
    """`model.json`.

    Attributes
    ----------
    preprocessing
        The whole specification of the path from light curve to the network's input.
    calibration
        What turns the network's output into calibrated values.
    metrics
        On the frozen test set; null where a metric is undefined.
    training_data
        Path to hash, as DVC or the array store gives it.
    """

    format: Literal[1] = 1
    wing: WingName
    architecture: Architecture
    preprocessing: dict[str, Any]
    calibration: dict[str, Any]
    metrics: Metrics
    training_data: dict[str, str]


@dataclass(frozen=True)
class ModelContent:
    """A model: its specification and its tensors by name.

    Tensors may be given as NumPy arrays or torch tensors; those read back are NumPy arrays.
    """

    spec: ModelSpec
    tensors: "Mapping[str, NDArray[Any] | torch.Tensor]"

    def state_dict(self) -> "dict[str, torch.Tensor]":
        """The tensors for `torch.nn.Module.load_state_dict`, as copies that the network may change."""
        import torch

        return {name: torch.from_numpy(_array(name, tensor).copy()) for name, tensor in self.tensors.items()}


def write_content(folder: Path, content: ModelContent) -> str:
    """Write `content` as `folder`, whole or not at all, and return its hash.

    Raises
    ------
    RegistryError
        When a tensor or a value of the specification cannot be written as safetensors or JSON.
    """
    from safetensors.numpy import save_file

    arrays = {name: _array(name, content.tensors[name]) for name in sorted(content.tensors)}
    spec = content.spec.model_dump(mode="python")
    try:
        json.dumps(spec, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{folder / SPEC}: cannot be written as JSON: {error}") from None
    with atomic_folder(folder) as temporary:
        # No metadata: safetensors does not promise the order of its keys, hence not the bytes.
        save_file(arrays, temporary / WEIGHTS)
        (temporary / WEIGHTS).chmod(0o644)
        write_json(temporary / SPEC, spec)
    return folder_hash(folder)


def read_content(folder: Path) -> ModelContent:
    """Read the content in `folder`.

    Raises
    ------
    RegistryError
        When a file is missing, is one too many (a pickle, say), is damaged, or lacks a required key.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check_files(folder)
    try:
        spec = validate(ModelSpec, _object(read_json(folder / SPEC)), str(folder / SPEC))
    except (ConfigError, DataError) as error:
        raise RegistryError(str(error)) from None
    try:
        return ModelContent(spec, load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, KeyError) as error:
        raise RegistryError(f"{folder / WEIGHTS}: not a safetensors file (pickle is refused): {error}") from None


def content_hash(folder: Path) -> str:
    """The SHA-256 that names the content in `folder`; it does not load the weights.

    Raises
    ------
    RegistryError
        When `folder` does not hold exactly the two files.
    """
    check_files(folder)
    return folder_hash(folder)


def check_files(folder: Path) -> None:
    """Refuse a folder that does not hold exactly `weights.safetensors` and `model.json`."""
    if not folder.is_dir():
        raise RegistryError(f"{folder}: no such model: expected a folder with {WEIGHTS} and {SPEC}")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    if foreign := sorted(present - {WEIGHTS, SPEC}):
        raise RegistryError(
            f"{folder}: refusing '{foreign[0]}': a model holds {WEIGHTS} and {SPEC} only, and never a pickle"
        )
    if missing := sorted({WEIGHTS, SPEC} - present):
        raise RegistryError(f"{folder}: '{missing[0]}' is missing: a model holds {WEIGHTS} and {SPEC}")


def _object(content: Any) -> dict[str, Any]:
    """A JSON object, which is what a specification is."""
    if not isinstance(content, dict):
        raise DataError(f"{SPEC}: expected a JSON object, got {type(content).__name__}")
    return content


def _array(name: str, tensor: Any) -> NDArray[Any]:
    """A tensor as a contiguous, little-endian array of a dtype that round-trips."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
            raise RegistryError(f"tensor '{name}' is {tensor.dtype}; expected one of {', '.join(DTYPES)}")
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.name not in DTYPES:
        raise RegistryError(f"tensor '{name}' is {array.dtype}; expected one of {', '.join(DTYPES)}")
    # Not ascontiguousarray, which would make a scalar one-dimensional.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
