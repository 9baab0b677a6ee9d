"""Scores along an orbit: those of window after window, and none where there is no whole window."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from varistar.flares.network import CalibratedFlareNetwork, Ensemble, FlareNetwork, WindowNetwork, build_network
from varistar.flares.network_settings import PointSettings, WindowSettings
from varistar.flares.orbits import Orbit
from varistar.flares.representation import PointRepresentation, make_points
from varistar.flares.score import BLOCK, WindowScorer, score_points, score_windows
from varistar.foundation.errors import ConfigError


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed: int = 0, **settings: Any) -> WindowNetwork:
    """With weights and biases so large that windows differ."""
    torch.manual_seed(seed)
    made = build_network(WindowSettings(**settings))
    for weights in made.parameters():
        nn.init.normal_(weights, std=weights[0].numel() ** -0.5 if weights.ndim > 1 else 0.3)
    assert isinstance(made, WindowNetwork)
    return made.eval()


def points_network() -> FlareNetwork:
    torch.manual_seed(0)
    return build_network(PointSettings(filters=(4, 6, 8)), PointRepresentation()).eval()


def orbit(m: int, missing: Any = (), seed: int = 0) -> Orbit:
    """Noise with a flare of 30 times the star."""
    rng = np.random.default_rng(seed)
    flux = 1 + 0.3 * rng.normal(size=m)
    flux[m // 2 : m // 2 + 20] += 30 * np.exp(-np.arange(20)[: m - m // 2] / 5)
    flux[list(missing)] = np.nan
    return Orbit(np.arange(m) / 720, flux, np.full(m, 0.3), np.arange(m), 1 / 720)


def one_by_one(made: nn.Module, flux: NDArray) -> NDArray:
    """The network's own output for each window of 200, in float64."""
    windows = torch.from_numpy(flux.astype(np.float32)).unfold(0, 200, 1)
    with torch.no_grad():
        return torch.cat([made(part) for part in windows.split(500)]).double().numpy()


@pytest.mark.parametrize("m", [200, 201, 531, 532, 199 + BLOCK, 200 + BLOCK])
def test_sliding_gives_the_scores_of_window_after_window(m: int) -> None:
    """Logits within the rounding of float32, whose sums over 3200 terms are good to some 1e-6 of the largest."""
    made = network()
    flux = orbit(m).flux
    expected = one_by_one(made, flux)
    (sliding,) = WindowScorer(made).sliding
    with torch.inference_mode():
        logits = sliding.logits(torch.from_numpy(flux.astype(np.float32))).numpy()
    assert len(logits) == m - 199
    np.testing.assert_allclose(logits, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
    assert m < 500 or expected.std() > 0.1, "windows that do not differ prove nothing"


@pytest.mark.parametrize("shape", [{"filters": (3, 5), "dense": 4}, {"filters": (8, 2), "dense": 1}])
def test_sliding_knows_other_widths(shape: dict[str, Any]) -> None:
    made, given = network(**shape), orbit(900)
    expected = 1 / (1 + np.exp(-one_by_one(made, given.flux)))
    np.testing.assert_allclose(score_windows(made, given)[100:801], expected, atol=1e-5)


def test_a_window_feels_each_of_its_cadences_and_no_other() -> None:
    made = network()
    flux = orbit(600).flux
    (sliding,) = WindowScorer(made).sliding

    def logits(values: NDArray) -> NDArray:
        with torch.inference_mode():
            return sliding.logits(torch.from_numpy(values.astype(np.float32))).numpy()

    before = logits(flux)
    for place in (0, 199, 300, 599):
        changed = flux.copy()
        changed[place] -= 5.0
        felt = np.abs(logits(changed) - before) > 1e-4
        inside = (np.arange(401) <= place) & (place < np.arange(401) + 200)
        assert not felt[~inside].any()
        assert felt[inside].mean() > 0.9


def test_an_ensemble_is_averaged_and_calibrated() -> None:
    served = CalibratedFlareNetwork(Ensemble([network(seed) for seed in range(3)]), 0.6, -0.3).eval()
    given = orbit(700)
    scores = score_windows(served, given)
    np.testing.assert_allclose(scores[100:601], one_by_one(served, given.flux), atol=1e-5)
    assert scores.dtype == np.float64 and np.nanstd(scores) > 0.05


def test_no_window_leaves_the_orbit_or_lacks_a_cadence() -> None:
    made = network()
    given = orbit(1000, missing=[420, 421, 900])
    scores = score_windows(made, given)
    expected = np.full(1000, np.nan)
    for i in range(1000):
        window = given.flux[max(i - 100, 0) : i + 100]
        if len(window) == 200 and np.isfinite(window).all():
            expected[i] = 1 / (1 + np.exp(-one_by_one(made, window)[0]))
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert set(np.flatnonzero(np.isfinite(scores))) == {*range(100, 321), *range(522, 801)}


def test_short_gaps_are_closed_where_that_is_asked_for() -> None:
    """As in the published code: the 200 good cadences about each, put together."""
    made = network()
    given = orbit(1000, missing=[420, 421, 600, 601, 602])
    scores = score_windows(made, given, close=2)
    good = given.good
    first = np.flatnonzero(good & (np.arange(1000) < 600))
    expected = np.full(1000, np.nan)
    for part in (first, np.arange(603, 1000)):
        expected[part[100 : len(part) - 99]] = 1 / (1 + np.exp(-one_by_one(made, given.flux[part])))
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.isnan(scores[[420, 421]]).all() and np.isfinite(scores[[419, 422]]).all()


@pytest.mark.parametrize("m", [1, 150, 199])
def test_an_orbit_without_a_whole_window_has_no_scores(m: int) -> None:
    assert np.isnan(score_windows(network(), orbit(m))).all()
    assert np.isnan(score_windows(network(), orbit(400, missing=range(0, 400, 3)), close=1)[[0, 3]]).all()


def test_a_network_of_points_cannot_be_slid() -> None:
    with pytest.raises(ConfigError, match="only a network of windows can be slid"):
        WindowScorer(points_network())


def test_points_are_scored_where_there_is_flux_up_to_the_very_ends() -> None:
    made = points_network()
    given = orbit(500, missing=[0, 40, 41, 300])
    scores = score_points(made, given, PointRepresentation())
    np.testing.assert_array_equal(np.isfinite(scores), given.good)
    with torch.no_grad():
        logits = made(torch.from_numpy(make_points(given, PointRepresentation()))[None])[0].double().numpy()
    np.testing.assert_allclose(scores[given.good], 1 / (1 + np.exp(-logits[given.good])), rtol=1e-5)
    served = CalibratedFlareNetwork(made, 2.0, 1.0).eval()
    calibrated = score_points(served, given, PointRepresentation())
    np.testing.assert_allclose(calibrated[given.good], 1 / (1 + np.exp(-2 * logits[given.good] - 1)), rtol=1e-5)
    assert scores.dtype == np.float64 and np.nanstd(scores) > 0
