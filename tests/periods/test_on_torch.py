"""Injection and images in torch against the processor's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.periods import inject as on_processor
from varistar.periods import representation as representations
from varistar.periods.on_torch import images_of_power, inject, make_images
from varistar.periods.representation import PeriodGrid, Representation

START, STOP = 58484.5, 60311.5
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def survey(sizes: list[int], seed: int) -> LightCurves:
    """Stars that turn, seen by two cameras in seasons, with some points far off."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    star = np.repeat(np.arange(len(sizes)), sizes)
    time = START + 365.25 * rng.choice([0, 1, 3, 4], n) + rng.uniform(0, 215, n)
    time = time[np.lexsort((time, star))]
    period = rng.uniform(1.0, 30.0, len(sizes))[star]
    camera = rng.choice(["ba", "bE"], n)
    flux = 5 + 0.2 * np.sin(2 * np.pi * time / period) + rng.normal(0, 0.1, n) + np.where(camera == "ba", 0.0, 0.6)
    flux[rng.random(n) < 0.03] += 5
    columns: dict[str, NDArray] = {
        "time": time,
        "flux": flux.astype(np.float32),
        "flux_err": rng.uniform(0.02, 0.06, n).astype(np.float32),
        "camera": camera,
    }
    return LightCurves(tuple(f"star {i}" for i in range(len(sizes))), offsets, columns, "MJD_UTC")


def representation(**changes: Any) -> Representation:
    return Representation(window=(START, STOP), nodes=64, periods=PeriodGrid(count=48)).model_copy(update=changes)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"power": "delta_chi2", "scale": "log", "clean": True},
        {"mask": "minimum", "pool": 1},
        {"mask": "minimum", "power": "delta_chi2", "gain": 10.0},
        {"periods": PeriodGrid(count=48, spacing="log"), "pool": 4, "tradeoff": 3.0},
        {"window": None},
        {"mask": "interpolate"},
    ],
)
def test_images_as_the_processors(changes: dict[str, Any], device: str) -> None:
    light_curves = survey([300, 0, 900, 1, 150, 3], seed=1)
    asked = representation(**changes)
    expected = representations.make_images(light_curves, asked)
    images = make_images(light_curves, asked, device)
    assert images.shape == expected.shape and images.dtype == np.uint8
    steps = np.abs(images.astype(int) - expected)
    assert steps.max() <= 1 and np.count_nonzero(steps) <= 1e-3 * steps.size
    assert expected.max() > 100


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mask", ["zero", "minimum"])
def test_fill_of_cells_without_data(mask: str, device: str) -> None:
    """Points stand around every other node: power is high there, and there is nothing between."""
    asked = representation(nodes=8, periods=PeriodGrid(minimum=3.0, maximum=5.0, count=4), pool=1, mask=mask)
    light_curves = survey([600], seed=7)
    node = START + (STOP - START) / 7 * np.repeat([0, 2, 4, 6], 150)
    time = np.sort(node + np.random.default_rng(7).uniform(-20.0, 20.0, 600))
    light_curves = replace(light_curves, columns=light_curves.columns | {"time": time})
    expected = representations.make_images(light_curves, asked)
    images = make_images(light_curves, asked, device)
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert images[0, :, 1::2].max() == 0
    assert (images[0, :, ::2].min() == 0) == (mask == "minimum")


@pytest.mark.parametrize("fill", [None, "minimum"])
@pytest.mark.parametrize("scale", ["image", "log"])
def test_pixels_of_given_power_are_equal(fill: str | None, scale: str) -> None:
    """Given the same power, no pixel differs; maps without data and flat ones among them."""
    asked = representation(mask=fill or "zero", scale=scale, gain=1.5)
    rng = np.random.default_rng(2)
    maps = rng.exponential(100.0, (5, 64, 48))
    valid = rng.random(maps.shape) < 0.7
    valid[1], valid[2], maps[3] = False, True, 4.0
    maps[~valid] = 0.0
    expected = np.stack([representations.image_of_power(m, v, asked) for m, v in zip(maps, valid, strict=True)])
    images = images_of_power(torch.from_numpy(maps), torch.from_numpy(valid) if fill else None, asked).numpy()
    # sums of a pixel's cells may round differently, at the edge of a level
    assert np.count_nonzero(images != expected) <= 1
    assert not images[1].any()


def test_images_do_not_depend_on_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    light_curves = survey([300, 200, 900, 250, 0], seed=3)
    whole = make_images(light_curves, representation())
    monkeypatch.setattr("varistar.periods.on_torch.POWER_MEMORY", {"cpu": 2 * 8 * 64 * 48})
    np.testing.assert_array_equal(make_images(light_curves, representation()), whole)
    np.testing.assert_array_equal(make_images(light_curves.slice(2, 4), representation()), whole[2:4])


def test_no_light_curves() -> None:
    assert make_images(survey([5], seed=4).slice(0, 0), representation()).shape == (0, 24, 32)


@pytest.mark.parametrize("device", DEVICES)
def test_inject(device: str) -> None:
    light_curves = survey([30, 0, 50], seed=5)
    rng = np.random.default_rng(5)
    spot_flux, median = rng.uniform(0.5, 1.0, 80), rng.uniform(0.5, 1.0, 3)
    expected = on_processor.inject(light_curves, spot_flux, median)["flux"]
    injected = inject(light_curves["flux"], spot_flux, median, light_curves.offsets, device)
    assert injected.dtype == torch.float32 and injected.device.type == device
    np.testing.assert_array_equal(injected.cpu().numpy(), expected)
    with pytest.raises(DataError, match="80 points of 3 templates cannot take 79"):
        inject(light_curves["flux"], spot_flux[1:], median, light_curves.offsets)
