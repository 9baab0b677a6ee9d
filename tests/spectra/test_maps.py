"""Several maps in one pass against one by one, and their quantities against a fit."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra.cells import TOLERANCE
from varistar.spectra.chunked import ChunkedTransform, ChunkedTransforms, Grid, Quantity, cells_with_data

START, STOP = 58484.5, 60311.5
NODES = np.linspace(START, STOP, 24)
LINEAR, LOGARITHMIC = np.linspace(1.0, 30.0, 17), np.geomspace(0.5, 30.0, 12)
GRIDS = [
    Grid(LINEAR),
    Grid(LOGARITHMIC, 2.0, "delta_chi2"),
    Grid(LINEAR[::-1], 4.0),
    Grid(LINEAR, 2.0, "delta_chi2"),
    Grid([5.0, 2.0, 5.0], 0.5),
]


class Curve(NamedTuple):
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


def curve(n: int, seed: int) -> Curve:
    """A 13-day signal in seasons of 215 days, in no order of time."""
    rng = np.random.default_rng(seed)
    time = START + 365.25 * rng.integers(0, 5, n) + rng.uniform(0.0, 215.0, n)
    flux_err = 0.01 * 10.0 ** rng.uniform(-0.5, 0.5, n)
    return Curve(time, 12.0 + 0.1 * np.sin(2.0 * np.pi * time / 13.0) + flux_err * rng.normal(size=n), flux_err)


def flat(curves: list[Curve]) -> tuple[Curve, NDArray[np.int64]]:
    return Curve(*map(np.concatenate, zip(*curves, strict=True))), np.cumsum([0, *(len(c.time) for c in curves)])


def delta_chi2(c: Curve, period: float, node: float, tradeoff: float) -> float:
    """By how much a sinusoid beside the constant lowers the chi^2 of the points in the window, by least squares."""
    root = np.exp(-0.5 * ((c.time - node) / (tradeoff * period)) ** 2) / c.flux_err
    phase = 2.0 * np.pi * (c.time - node) / period
    design = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1)
    chi2 = []
    for columns in (1, 3):
        a, b = root[:, None] * design[:, :columns], root * (c.flux - 12.0)
        chi2.append(((b - a @ np.linalg.lstsq(a, b)[0]) ** 2).sum())
    return float(chi2[0] - chi2[1])


# ---------------------------------------------------------------------------------------------------------------------
# What the maps hold


@pytest.mark.parametrize("n", [5, 60, 1500])
def test_maps_are_those_of_single_transforms(path: str, n: int) -> None:
    """But for the FFT's length, which the widest window sets, and so the rounding: in weak cells up to TOLERANCE."""
    c = curve(n, seed=n)
    for grid, image in zip(GRIDS, ChunkedTransforms(GRIDS, NODES)(*c), strict=True):
        single = ChunkedTransform(grid.periods, NODES, grid.tradeoff, grid.quantity)(*c)
        np.testing.assert_allclose(image, single, rtol=1e-9, atol=1e-9 * single.max())
        np.testing.assert_allclose(image, single, rtol=2.0 * TOLERANCE, atol=0.0)


@pytest.mark.parametrize("n", [60, 1500])
def test_maps_of_one_window_width_share_their_cells_to_the_bit(n: int) -> None:
    c = curve(n, seed=n)
    psd, chi2, reverse = ChunkedTransforms([GRIDS[0], GRIDS[3], Grid(LINEAR[::-1])], NODES)(*c)
    np.testing.assert_array_equal(psd, ChunkedTransform(LINEAR, NODES)(*c))
    np.testing.assert_array_equal(reverse, psd[:, ::-1])
    np.testing.assert_allclose(chi2, psd * (2.0 * np.sqrt(2.0 * np.pi) * 2.0 * LINEAR), rtol=1e-14)


@pytest.mark.parametrize("quantity", ["psd", "delta_chi2"])
@pytest.mark.parametrize("n", [5, 60, 1500])
def test_each_period_may_have_its_own_tradeoff(path: str, n: int, quantity: Quantity) -> None:
    """Each column is that of the map with this tradeoff for all; in weak cells up to TOLERANCE, as above."""
    c = curve(n, seed=n)
    tradeoffs = np.maximum(2.0 * LOGARITHMIC, 8.0) / LOGARITHMIC
    image = ChunkedTransforms([Grid(LOGARITHMIC, tradeoffs, quantity)], NODES)(*c)[0]
    for j, tradeoff in enumerate(tradeoffs):
        single = ChunkedTransform(LOGARITHMIC, NODES, tradeoff, quantity)(*c)[:, j]
        np.testing.assert_allclose(image[:, j], single, rtol=2.0 * TOLERANCE, atol=1e-12 * image.max())
    assert len(np.unique(tradeoffs)) > 5


def test_tradeoffs_that_are_all_one_are_that_one() -> None:
    c = curve(300, seed=14)
    each = Grid(LINEAR.tolist(), np.full(len(LINEAR), 2.0).tolist())
    transforms = ChunkedTransforms([GRIDS[0], each], NODES)
    assert len(transforms._periods) == len(LINEAR)
    one, other = pickle.loads(pickle.dumps(transforms))(*c)
    np.testing.assert_array_equal(one, other)


def test_cells_know_each_periods_own_width() -> None:
    c, tradeoffs = curve(12, seed=15), np.geomspace(0.5, 8.0, len(LINEAR))
    mask = np.zeros((len(NODES), len(LINEAR)), dtype=np.bool_)
    ChunkedTransforms([Grid(LINEAR, tradeoffs)], NODES)(*c, cells=[mask])
    expected = [cells_with_data(c.time, [p], NODES, tradeoff) for p, tradeoff in zip(LINEAR, tradeoffs, strict=True)]
    np.testing.assert_array_equal(mask, np.hstack(expected))
    assert 0.1 < mask.mean() < 0.9


def test_delta_chi2_is_that_of_a_fit() -> None:
    c = curve(400, seed=1)
    image = ChunkedTransform(LOGARITHMIC, NODES, 2.0, "delta_chi2")(*c)
    compared = [(i, j) for i in range(0, 24, 3) for j in range(4, 12, 2) if image[i, j] > 1e-3 * image.max()]
    assert len(compared) > 10
    for i, j in compared:
        assert image[i, j] == pytest.approx(delta_chi2(c, LOGARITHMIC[j], NODES[i], 2.0), rel=1e-6)


def test_rows_that_grids_share_are_computed_once() -> None:
    assert len(ChunkedTransforms([GRIDS[0], GRIDS[3], GRIDS[4]], NODES)._periods) == len(LINEAR) + 2


@pytest.mark.parametrize(
    "c",
    [curve(60, seed=2), curve(0, seed=3), Curve(curve(20, seed=4).time, np.ones(20), np.ones(20))],
    ids=["seasons", "no points", "constant flux"],
)
def test_cells_are_those_with_data(c: Curve) -> None:
    transforms = ChunkedTransforms(GRIDS, NODES)
    cells = [np.zeros(shape, dtype=np.bool_) for shape in transforms.shapes]
    images = transforms(*c, cells=cells)
    for grid, mask, image in zip(GRIDS, cells, images, strict=True):
        np.testing.assert_array_equal(mask, cells_with_data(c.time, grid.periods, NODES, grid.tradeoff))
        assert not image[~mask].any()
    mask = np.zeros_like(cells[0])
    ChunkedTransform(LINEAR, NODES)(*c, cells=mask)
    np.testing.assert_array_equal(mask, cells[0])


# ---------------------------------------------------------------------------------------------------------------------
# Batches, pickles, and bad input


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
def test_a_batch_is_one_by_one_to_the_bit_in_any_order(order: list[int]) -> None:
    curves = [curve(1200, 5), curve(0, 6), curve(3, 7), curve(300, 8), curve(1100, 9)]
    points, offsets = flat([curves[i] for i in order])
    transforms = ChunkedTransforms(GRIDS, NODES)
    cells = [np.zeros((5, *shape), dtype=np.bool_) for shape in transforms.shapes]
    images = transforms.batch(*points, offsets, cells=cells)
    for place, i in enumerate(order):
        masks = [np.zeros(shape, dtype=np.bool_) for shape in transforms.shapes]
        for g, single in enumerate(ChunkedTransforms(GRIDS, NODES)(*curves[i], cells=masks)):
            np.testing.assert_array_equal(images[g][place], single)
            np.testing.assert_array_equal(cells[g][place], masks[g])


def test_out_is_written_and_returned() -> None:
    c = curve(100, seed=10)
    transforms = ChunkedTransforms(GRIDS[:2], NODES)
    out = [np.full(shape, np.nan) for shape in transforms.shapes]
    images = transforms(*c, out)
    for given, image, new in zip(out, images, transforms(*c), strict=True):
        assert image is given
        np.testing.assert_array_equal(image, new)


def test_a_pickle_makes_the_same_maps() -> None:
    c = curve(200, seed=11)
    transforms = ChunkedTransforms(GRIDS, NODES)
    for image, again in zip(transforms(*c), pickle.loads(pickle.dumps(transforms))(*c), strict=True):
        np.testing.assert_array_equal(image, again)


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ([], "at least one grid"),
        ([Grid([1.0, -2.0])], "periods must be positive; got -2.0"),
        ([Grid(LINEAR), Grid(LINEAR, 0.0)], "tradeoff must be positive and finite; got 0.0"),
        ([Grid(LINEAR, [2.0, 4.0])], "one tradeoff, or one for each of 17 periods; got 2$"),
        ([Grid([1.0, 2.0, 3.0], [2.0, -4.0, np.nan])], "tradeoff must be positive and finite; got -4.0$"),
        ([Grid(LINEAR, 2.0, "chi2")], "quantity must be psd or delta_chi2; got 'chi2'"),  # type: ignore[arg-type]
    ],
)
def test_bad_grids_are_refused(grids: list[Grid], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChunkedTransforms(grids, NODES)


def test_wrong_room_is_refused() -> None:
    transforms, c = ChunkedTransforms(GRIDS[:2], NODES), curve(10, seed=12)
    good = [np.empty(shape) for shape in transforms.shapes]
    with pytest.raises(ConfigError, match=r"out must be float64 of shape \(24, 17\), \(24, 12\); got float64"):
        transforms(*c, good[::-1])
    with pytest.raises(ConfigError, match="cells must be bool"):
        transforms(*c, good, good)
    with pytest.raises(ConfigError, match="out must"):
        transforms.batch(*c, [0, 10], good)


def test_a_bad_point_is_refused_by_its_star() -> None:
    c = curve(10, seed=13)
    c.flux_err[7] = 0.0
    with pytest.raises(DataError, match="light curve 1: flux_err is 0"):
        ChunkedTransforms(GRIDS, NODES).batch(*c, [0, 5, 10])
