"""The one-pass sums against the careful ones: every cell that they claim to have solved, and which they leave."""

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.spectra.direct import LARGEST_EXPONENT, direct_power
from varistar.spectra.exact import exact_power

NODES = 59000.0 + np.linspace(0.0, 300.0, 40)
PERIODS = np.geomspace(0.3, 40.0, 25)
WIDTHS = 2.0 * PERIODS

Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def scaled(time: NDArray, seed: int, spread_of_errors: float = 0.0) -> Points:
    """Ascending times, a flux of zero mean and unit scatter with a strong 9-day signal, and weights of at most 1."""
    rng = np.random.default_rng(seed)
    weight = 10.0 ** (-spread_of_errors * rng.uniform(size=len(time)))
    flux = np.sin(2.0 * np.pi * time / 9.0) + 0.5 * rng.normal(size=len(time))
    flux -= (weight * flux).sum() / weight.sum()
    flux /= np.sqrt((weight * flux**2).sum() / weight.sum())
    return np.sort(time), flux[np.argsort(time)], weight / weight.max()


def solve(points: Points, wanted: NDArray[np.bool_] | None = None) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """The power by one pass and by the careful sums, (n_periods, n_nodes), and which cells the first has left."""
    left = np.ones((len(PERIODS), len(NODES)), dtype=np.bool_) if wanted is None else wanted.copy()
    power, careful = np.full(left.shape, -1.0), np.empty(left.shape)
    direct_power(left, *points, PERIODS, WIDTHS, NODES, power)
    exact_power(np.ones_like(left), *points, PERIODS, WIDTHS, NODES, careful)
    return power, careful, left


def times(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return (
        59000.0
        + {
            "dense": rng.uniform(-50.0, 350.0, n),
            "gap": np.where(rng.uniform(size=n) < 0.5, rng.uniform(-50.0, 80.0, n), rng.uniform(230.0, 350.0, n)),
            "clumps": rng.choice([3.0, 77.0, 78.0, 240.0], n) + rng.uniform(0.0, 0.2, n),
            "dithers": rng.integers(0, 300, n) + 0.0012 * rng.integers(0, 3, n),
        }[kind]
    )


@pytest.mark.parametrize("kind", ["dense", "gap", "clumps", "dithers"])
@pytest.mark.parametrize("n", [3, 20, 300, 2000])
@pytest.mark.parametrize("spread_of_errors", [0.0, 3.0])
def test_solved_cells_are_accurate(kind: str, n: int, spread_of_errors: float) -> None:
    points = scaled(times(kind, n, np.random.default_rng(n)), n, spread_of_errors)
    power, careful, left = solve(points)
    np.testing.assert_allclose(power[~left], careful[~left], rtol=5e-7, atol=1e-300)
    assert (power[left] == -1.0).all()


@pytest.mark.parametrize(("kind", "most_left"), [("dense", 0.01), ("gap", 0.05), ("dithers", 0.3)])
def test_ordinary_cells_are_not_left(kind: str, most_left: float) -> None:
    """Gaps leave cells 70 widths from all points, and dithers of one night cannot tell the harmonics apart."""
    _, _, left = solve(scaled(times(kind, 2000, np.random.default_rng(1)), 1))
    assert left.mean() < most_left


def test_cells_without_three_points_are_left() -> None:
    for when in ([59010.0], [59010.0, 59013.0], [59010.0, 59013.0, 59013.0]):
        time = np.array(when)
        _, _, left = solve((time, np.array([1.0, -1.0, 0.5])[: len(time)], np.ones(len(time))))
        assert left.all()


def test_a_nearest_point_that_weighs_nothing_leaves_its_cells() -> None:
    """Weights within the window span more than the polynomials reach."""
    time, flux, weight = scaled(times("dense", 300, np.random.default_rng(2)), 2)
    nearest = int(np.abs(time - NODES[7]).argmin())
    weight[nearest] = np.exp(-LARGEST_EXPONENT)
    _, _, left = solve((time, flux, weight))
    assert left[:, 7].all()
    assert not left[:, 20].all()


def test_only_wanted_cells_are_written() -> None:
    wanted = np.random.default_rng(3).uniform(size=(len(PERIODS), len(NODES))) < 0.5
    power, _, left = solve(scaled(times("dense", 300, np.random.default_rng(3)), 3), wanted)
    np.testing.assert_array_equal(power >= 0.0, wanted & ~left)
    assert not (left & ~wanted).any()


def test_fluxes_that_cancel_do_not_hide_their_rounding() -> None:
    """Light points in opposite pairs, each pair at one time: of the sums of y, 3e5 each, hardly 3e-4 is left."""
    rng = np.random.default_rng(4)
    pairs = np.repeat(59000.0 + rng.uniform(0.0, 300.0, 100), 2)
    light = np.tile([3e5, -3e5], 100) * np.repeat(rng.uniform(0.5, 1.0, 100), 2) + 3e-4 * np.sin(pairs)
    order = np.argsort(pairs, kind="stable")
    heavy = scaled(62000.0 + rng.uniform(0.0, 300.0, 300), 4)
    time, flux = np.append(pairs[order], heavy[0]), np.append(light[order], heavy[1])
    power, careful, left = solve((time, flux, np.append(np.full(200, 1e-10), heavy[2])))
    np.testing.assert_allclose(power[~left], careful[~left], rtol=5e-7, atol=1e-300)
