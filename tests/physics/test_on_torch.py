"""The spotted stars in torch against the compiled ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.physics import dimming, on_torch
from varistar.physics.emergence import ActiveRegions, emerge_regions
from varistar.physics.on_torch import spot_flux
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters
from varistar.physics.spots import SpotSimulation, simulate_positive

DURATION = 4380
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]

Stars = tuple[list[SpotParameters], list[ActiveRegions], NDArray[np.float64], NDArray[np.int64]]


def draw_stars(n: int, seed: int) -> Stars:
    """Stars of the paper's prior, each with epochs of its own, in no order; the second has none."""
    rng = np.random.default_rng(seed)
    parameters = [draw_spot_parameters(SpotPrior(), rng) for _ in range(n)]
    regions = [emerge_regions(one, DURATION, number) for number, one in enumerate(parameters)]
    sizes = rng.integers(50, 600, n)
    sizes[1] = 0
    time = rng.uniform(300.0, 4000.0, sizes.sum())
    return parameters, regions, time, np.concatenate([[0], np.cumsum(sizes)])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pairs", [1000, None])
def test_equal_to_the_compiled(pairs: int | None, device: str) -> None:
    parameters, regions, time, offsets = draw_stars(12, seed=1)
    flux = spot_flux(parameters, regions, time, offsets, device, pairs)
    assert flux.dtype == torch.float64 and flux.device.type == device
    deepest = 0.0
    for star, (a, b) in enumerate(pairwise(offsets)):
        expected = dimming.spot_flux(parameters[star], regions[star], time[a:b])
        deepest = max([deepest, *(1.0 - expected)])
        np.testing.assert_allclose(flux[a:b].cpu().numpy(), expected, atol=3e-8)
    assert deepest > 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_stars_of_a_sky_are_those_drawn_one_by_one(device: str) -> None:
    """Also those that are drawn again because their flux is not positive."""
    prior = SpotPrior(activity=(3.0, 10.0))
    rng = np.random.default_rng(2)
    numbers = [*range(19, -1, -1)]
    epochs = [58484.5 + np.sort(rng.uniform(0, 1827, n)) for n in rng.integers(20, 90, len(numbers))]
    stars = on_torch.simulate_positive(prior, epochs, 58484.5, 7, numbers, device)
    for star, number, time in zip(stars, numbers, epochs, strict=True):
        expected = simulate_positive(prior, time, 58484.5, 7, number)
        np.testing.assert_allclose(star.flux, expected.flux, atol=1e-7)
        assert star.median == pytest.approx(expected.median, abs=1e-7)
        assert star.lowest_flux == pytest.approx(expected.lowest_flux, abs=1e-7)
        for name in ("parameters", "n_regions", "window_start", "n_redraws", "effective_period"):
            assert getattr(star, name) == getattr(expected, name)
    assert sum(star.n_redraws for star in stars) > 0
    with pytest.raises(ConfigError, match="2 draws in a row gave a star whose flux is not positive"):
        on_torch.simulate_positive(
            SpotPrior(activity=(300.0, 1000.0)), epochs, 58484.5, 7, numbers, device, SpotSimulation(max_redraws=1)
        )


def test_one_spot_by_hand() -> None:
    """At its brightest, at both edges of its life, and behind the star."""
    star = SpotParameters(
        period=10.0, activity=1.0, cycle_period=10.0, cycle_overlap=1.0, min_latitude=0.0, max_latitude=40.0,
        spot_lifetime=3.0, inclination=60.0, shear=0.2, alpha_med=0.01,
    )  # fmt: skip
    latitude, longitude = 0.3, 1.1
    one = ActiveRegions(
        day=np.array([100]), latitude=np.array([latitude]), longitude=np.array([longitude]), area=np.array([5.0]),
        tilt=np.array([0.0]), cycle=np.array([0]),
    )  # fmt: skip
    life = np.array([100 - 5.01 * star.emergence_days, 100 - 4.99 * star.emergence_days, 249.9, 250.1])
    time = np.concatenate([np.linspace(95.0, 160.0, 300), life])
    age = np.where(time < 100, (time - 100) / star.emergence_days, (time - 100) / 30.0)
    phase = 2 * np.pi * (1 - 0.2 * np.sin(latitude) ** 2) / 10.0 * time + longitude
    beta = np.cos(np.pi / 3) * np.sin(latitude) + np.sin(np.pi / 3) * np.cos(latitude) * np.cos(phase)
    expected = 1 - 0.01 * np.exp(-(age**2)) * np.maximum(beta, 0) * (np.abs(age) <= 5)
    flux = spot_flux([star], [one], time, np.array([0, len(time)])).numpy()
    np.testing.assert_allclose(flux, expected, rtol=0, atol=1e-14)
    assert flux[-4] == flux[-1] == 1.0


def test_a_star_without_regions_shines_evenly() -> None:
    parameters, regions, time, offsets = draw_stars(3, seed=2)
    nothing = ActiveRegions(*(values[:0] for values in vars(regions[0]).values()))
    assert torch.all(spot_flux(parameters, [nothing] * 3, time, offsets) == 1.0)
    mixed = spot_flux(parameters, [regions[0], regions[1], nothing], time, offsets)
    assert torch.all(mixed[offsets[2] :] == 1.0) and torch.any(mixed[: offsets[1]] < 1.0)


def test_no_stars() -> None:
    assert spot_flux([], [], np.empty(0), np.array([0])).shape == (0,)


def test_what_does_not_fit_is_refused() -> None:
    parameters, regions, time, offsets = draw_stars(3, seed=3)
    with pytest.raises(DataError, match="fit the offsets"):
        spot_flux(parameters[:2], regions, time, offsets)
    with pytest.raises(DataError, match="fit the offsets"):
        spot_flux(parameters, regions, time[:-1], offsets)
    time[4] = np.nan
    with pytest.raises(DataError, match="nan of a star to be simulated"):
        spot_flux(parameters, regions, time, offsets)
