"""The authors' weights: laid out as Keras lays them out, and sure of a real flare."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from varistar.flares.orbits import OrbitSettings, split_orbits
from varistar.flares.published import read_stella_weights
from varistar.flares.score import score_windows
from varistar.foundation.errors import DataError
from varistar.lightcurves.readers import read

h5py = pytest.importorskip("h5py")

SHAPES = {"conv1d": (7, 1, 16), "conv1d_1": (3, 16, 64), "dense": (3200, 32), "dense_1": (32, 1)}
Weights = dict[str, tuple[np.ndarray, np.ndarray]]


def some_weights() -> Weights:
    rng = np.random.default_rng(0)
    return {
        name: (
            rng.normal(scale=np.prod(shape[:-1]) ** -0.5, size=shape).astype("f4"),
            rng.normal(scale=0.3, size=shape[-1]).astype("f4"),
        )
        for name, shape in SHAPES.items()
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes weights as Keras 2 or 3 does, among layers that have none, and not in order of name."""

    def written(weights: Weights, keras: int) -> Path:
        path = tmp_path / f"keras{keras}.h5"
        with h5py.File(path, "w") as file:
            group = file.create_group("model_weights")
            names = [name for layer in weights for name in (layer, f"dropout_{layer}")]
            group.attrs["layer_names"] = [name.encode() if keras == 2 else name for name in names]
            for name in reversed(names):
                layer = group.create_group(name)
                for kind, values in zip(("kernel", "bias"), weights.get(name, ()), strict=False):
                    layer[f"{name}/{kind}:0" if keras == 2 else f"sequential/{name}/{kind}"] = values
        return path

    return written


@pytest.mark.parametrize("keras", [2, 3])
def test_weights_mean_what_they_mean_to_keras(write: Callable[..., Path], keras: int) -> None:
    """The published layers in NumPy, values as (positions, channels), on the arrays as they are in the file."""
    weights = some_weights()
    network = read_stella_weights(write(weights, keras))
    window = 1 + np.random.default_rng(1).normal(size=200)
    values = window[:, None]
    for name in ("conv1d", "conv1d_1"):
        kernel, bias = weights[name]
        half = len(kernel) // 2
        padded = np.pad(values, ((half, half), (0, 0)))
        rows = [np.tensordot(padded[i : i + len(kernel)], kernel, 2) + bias for i in range(len(values))]
        values = np.maximum(rows, 0).reshape(-1, 2, len(bias)).max(axis=1)
    hidden = np.maximum(values.ravel() @ weights["dense"][0] + weights["dense"][1], 0)
    expected = hidden @ weights["dense_1"][0] + weights["dense_1"][1]
    with torch.no_grad():
        logit = network(torch.from_numpy(window[None].astype("f4")))
    np.testing.assert_allclose(logit, expected, rtol=1e-5)


def test_files_that_are_not_the_published_network_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    weights = some_weights()
    text = tmp_path / "weights.h5"
    text.write_text("not HDF5")
    with pytest.raises(DataError, match=r"weights.h5: not weights that Keras wrote as HDF5"):
        read_stella_weights(text)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(DataError, match=r"other.h5: not weights that Keras wrote as HDF5"):
        read_stella_weights(tmp_path / "other.h5")
    with pytest.raises(DataError, match="not the published network: its layers are"):
        read_stella_weights(write({**weights, "dense_2": weights["dense_1"]}, 3))
    narrow = {**weights, "conv1d": (weights["conv1d"][0][:5], weights["conv1d"][1])}
    with pytest.raises(DataError, match="not the published network: its layers are"):
        read_stella_weights(write(narrow, 2))
    without = {**weights, "dense": weights["dense"][:1]}
    with pytest.raises(DataError, match="has 0 arrays named 'bias'"):
        read_stella_weights(write(without, 2))


@pytest.mark.realdata
def test_the_published_networks_are_sure_of_a_flare_of_au_mic(real_data: Path) -> None:
    """The flare of 5 % in sector 1, and not of the quiet cadences."""
    (file,) = (real_data / "tess").glob("*0000000441420236*_lc.fits")
    star = read(file)
    orbits = split_orbits(*(star[name] for name in ("time", "flux", "flux_err", "quality")), OrbitSettings())
    first = orbits[0]
    peak = int(np.nanargmax(first.flux))
    for name in ("ensemble_s0005_i0350_b0.73.h5", "ensemble_s0018_i0350_b0.73.h5"):
        scores = score_windows(read_stella_weights(real_data / "flares" / "stella_weights" / name), first, close=7)
        assert np.nanmin(scores[peak - 2 : peak + 3]) > 0.95
        assert np.nanmedian(scores) < 0.05
        assert np.nanmean(scores > 0.5) < 0.05
