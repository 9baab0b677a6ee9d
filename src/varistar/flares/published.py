"""The weights that stella's authors published, read into `WindowNetwork`.

Files are Keras' HDF5. Nothing but numbers is read from them, by h5py, which nothing else needs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from varistar.foundation.errors import ConfigError, DataError

from .network import WindowNetwork
from .network_settings import WindowSettings


def read_stella_weights(path: Path) -> WindowNetwork:
    """A published network, in evaluation mode.

    Raises
    ------
    ConfigError
        Without h5py.
    DataError
        When the file is not HDF5, or does not hold the layers of the published network.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError("to read Keras' weights the package h5py is needed: pip install h5py") from None
    try:
        with h5py.File(path, "r") as file:
            layers = _layers(file["model_weights"])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not weights that Keras wrote as HDF5: {error}") from None
    network = WindowNetwork(WindowSettings())
    # Keras has (taps, inputs, outputs), PyTorch (outputs, inputs, taps)
    arrays = [array for kernel, bias in layers for array in (kernel.T, bias)]
    weights = network.state_dict()
    given, wanted = [array.shape for array in arrays], [tuple(tensor.shape) for tensor in weights.values()]
    if given != wanted:
        raise DataError(f"{path}: not the published network: its layers are {given}, expected {wanted}")
    network.load_state_dict(
        {name: torch.from_numpy(array.astype(np.float32)) for name, array in zip(weights, arrays, strict=True)}
    )
    return network.eval()


def _layers(weights: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer that has some, in the order of the network."""
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in weights.attrs["layer_names"]]
    return [(_named(weights[name], "kernel"), _named(weights[name], "bias")) for name in names if len(weights[name])]


def _named(layer: Any, kind: str) -> np.ndarray:
    """The one array of a layer whose name is this, or this with Keras' ":0"."""
    found: list[np.ndarray] = []

    def look(name: str, item: Any) -> None:
        if name.rsplit("/", 1)[-1].split(":")[0] == kind:
            found.append(np.asarray(item))

    layer.visititems(look)
    if len(found) != 1:
        raise KeyError(f"layer '{layer.name}' has {len(found)} arrays named '{kind}', expected one")
    return found[0]
