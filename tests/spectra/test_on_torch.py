"""The transforms in torch against the processor's, and against direct sums in extended precision."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra import chunked
from varistar.spectra.curves_on_torch import read_flat, standardised
from varistar.spectra.on_torch import BatchedTransform, _runs, cells_with_data

START, STOP = 58484.5, 60311.5
PERIODS = np.linspace(1.0, 30.0, 128)
NODES = np.linspace(START, STOP, 128)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]

QUANTITIES = ("psd", "delta_chi2")

Flat = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def uniform(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START, STOP, n)


def seasonal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Seasons of 215 days with gaps of 150."""
    return START + 365.25 * rng.integers(0, 5, n) + rng.uniform(0.0, 215.0, n)


def nightly(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Nights of two sites within seasons, with dithers 104 seconds apart, some of them at one time."""
    nights = np.floor(seasonal(rng, n)) + rng.choice([0.05, 0.6], n) + rng.normal(0.0, 0.05, n)
    return nights[rng.integers(0, n // 2 + 1, n)] + 0.0012 * rng.integers(0, 3, n)


def clumps(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Four nights."""
    return rng.choice([58700.0, 58701.0, 59400.0, 59990.0], n) + rng.uniform(0.0, 0.3, n)


def beyond_the_nodes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START - 900.0, STOP + 900.0, n)


CADENCES = [uniform, seasonal, nightly, clumps, beyond_the_nodes]


def stars(cadence: Callable[[np.random.Generator, int], NDArray], sizes: list[int], seed: int) -> Flat:
    """Light curves in no order of time, each with a signal, a trend and errors of its own."""
    rng = np.random.default_rng(seed)
    time = np.concatenate([cadence(rng, n) for n in sizes])
    flux_err = 0.01 * 10.0 ** rng.uniform(-1.0, 1.0, len(time))
    period = np.repeat(rng.uniform(1.0, 30.0, len(sizes)), sizes)
    flux = 12.0 + 0.1 * np.sin(2.0 * np.pi * time / period) + 1e-4 * (time - START)
    flux += flux_err * rng.normal(size=len(time))
    return time, flux, flux_err, np.concatenate([[0], np.cumsum(sizes)])


def strong(power: NDArray) -> NDArray[np.bool_]:
    """Cells above a millionth of their star's largest."""
    return power > 1e-6 * power.max(axis=(1, 2), keepdims=True)


def effective_points(time: NDArray, periods: NDArray, nodes: NDArray, tradeoff: float) -> NDArray[np.int64]:
    """How many points weigh more than 1e-6 of the heaviest, in each cell (nodes, periods)."""
    age = (time - nodes[:, None, None]) / (tradeoff * periods[:, None])
    exponent = age**2 - (age**2).min(axis=2, keepdims=True)
    return (exponent < np.log(1e6)).sum(axis=2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cadence", CADENCES)
def test_equal_to_the_processors(cadence: Callable, device: str) -> None:
    time, flux, flux_err, offsets = stars(cadence, [300, 1200, 40, 611], seed=1)
    expected = chunked.chunked_lombscargle_batch(time, flux, flux_err, offsets, PERIODS, NODES)
    power = BatchedTransform(PERIODS, NODES, device=device)(time, flux, flux_err, offsets)
    assert power.shape == expected.shape and power.dtype == torch.float64 and power.device.type == device
    power = power.cpu().numpy()
    assert np.isfinite(power).all() and (power >= 0.0).all()
    limits = list(pairwise(offsets))
    points = np.stack([effective_points(time[a:b], PERIODS, NODES, 2.0) for a, b in limits])
    compared = strong(expected) & (points >= 3)
    assert compared.any(axis=(1, 2)).all()
    np.testing.assert_allclose(power[compared], expected[compared], rtol=1e-6)
    assert not power[expected == 0.0].any()


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1.1e-19, reason="long double is no wider than double here")
@pytest.mark.parametrize("tradeoff", [0.8, 2.0, 5.0])
def test_the_definition(tradeoff: float) -> None:
    periods, nodes = np.array([1.0, 1.7, 4.0, 13.0, 30.0]), np.linspace(START, STOP, 17)
    time, flux, flux_err, offsets = stars(nightly, [700, 150], seed=2)
    power = BatchedTransform(periods, nodes, tradeoff)(time, flux, flux_err, offsets).numpy()
    for star, (a, b) in enumerate(pairwise(offsets)):
        x, y, e = (values[a:b].astype(np.longdouble) for values in (time, flux, flux_err))
        near = effective_points(time[a:b], periods, nodes, tradeoff) >= 4
        expected = np.zeros(near.shape)
        for i, j in np.argwhere(near):
            expected[i, j] = direct_power(x, y, e, periods[j], nodes[i], tradeoff)
        compared = expected > 1e-6 * expected.max()
        assert compared.sum() >= 20
        np.testing.assert_allclose(power[star][compared], expected[compared], rtol=1e-6)


def direct_power(x: NDArray, y: NDArray, e: NDArray, period: float, node: float, tradeoff: float) -> float:
    """One cell by the closed formula, in the precision of its arguments."""
    width = np.longdouble(tradeoff) * period
    age = (x - node) / width
    w = np.exp((age**2).min() - age**2) / e**2
    total, angle = w.sum(), 2 * np.pi * ((x - node) / period)
    cos, sin, dy = (values - (w * values).sum() / total for values in (np.cos(angle), np.sin(angle), y))
    cc, ss, cs = (w * cos * cos).sum(), (w * sin * sin).sum(), (w * cos * sin).sum()
    cy, sy = (w * cos * dy).sum(), (w * sin * dy).sum()
    explained = (ss * cy**2 + cc * sy**2 - 2 * cs * cy * sy) / (cc * ss - cs**2)
    return float(np.exp(-(age**2).min()) * explained / 2 / (np.sqrt(2 * np.pi) * width))


def test_sums_are_as_accurate_as_the_error_estimate_says() -> None:
    """Everywhere: also at nodes without points, where nothing but the error is left."""
    periods = np.array([1.0, 5.0, 30.0])
    for cadence in CADENCES:
        time, flux, flux_err, offsets = stars(cadence, [200], seed=3)
        transform = BatchedTransform(periods, NODES)
        curves = standardised(*read_flat(time, flux, flux_err, offsets, torch.device("cpu")), np.array([0]))
        sums, noise = transform._sums(curves)
        x, y, w = (values[0].numpy().astype(np.longdouble) for values in (curves.time, curves.flux, curves.weight))
        nodes = np.longdouble(START) + np.arange(len(NODES)) * np.longdouble(STOP - START) / (len(NODES) - 1)
        for j, period in enumerate(periods):
            age = x - nodes[:, None]
            g = w * np.exp(-((age / (2 * period)) ** 2))
            angle = 2 * np.longdouble("3.14159265358979323846") * age / period
            first, second = np.exp(-1j * angle), np.exp(-2j * angle)
            expected = np.stack([g @ (1 + 1j * y), (g * first).sum(1), (g * first) @ y, (g * second).sum(1)])
            phases = 2 * np.pi * np.finfo(float).eps * transform._length / period * (g @ (1 + abs(y)))
            error = np.abs(sums[0, j].numpy() - expected)
            assert np.all(error <= np.sqrt(2) * noise.item() + phases)


def test_points_far_outside_the_nodes() -> None:
    """Seen from the last node of long periods only, four to five widths away."""
    time, flux, flux_err, offsets = stars(uniform, [40, 60], seed=10)
    time = STOP + 250.0 + 60.0 * (time - START) / (STOP - START)
    expected = chunked.chunked_lombscargle_batch(time, flux, flux_err, offsets, PERIODS, NODES)
    power = BatchedTransform(PERIODS, NODES)(time, flux, flux_err, offsets).numpy()
    compared = strong(expected)
    assert 3 <= compared.sum() < 200
    np.testing.assert_allclose(power[compared], expected[compared], rtol=1e-6)


def test_points_of_one_cell_are_added_before_they_are_spread() -> None:
    assert _runs(torch.tensor([3, 3, 5, 5, 5, 2])).tolist() == [0, 2, 5, 6, 6, 6, 6]
    assert _runs(torch.tensor([7])).tolist() == [0, 1]


def test_results_depend_on_neither_neighbours_nor_memory_nor_order() -> None:
    time, flux, flux_err, offsets = stars(nightly, [500, 90, 1, 0, 300], seed=4)
    whole = BatchedTransform(PERIODS[::9], NODES)(time, flux, flux_err, offsets).numpy()
    small = BatchedTransform(PERIODS[::9], NODES, memory=1)(time, flux, flux_err, offsets).numpy()
    np.testing.assert_allclose(small, whole, rtol=1e-8, atol=1e-12 * whole.max())
    a, b = offsets[1:3]
    alone = BatchedTransform(PERIODS[::9], NODES)(time[a:b][::-1], flux[a:b][::-1], flux_err[a:b][::-1], [0, b - a])
    np.testing.assert_allclose(alone[0].numpy(), whole[1], rtol=1e-6, atol=1e-9 * whole[1].max())


def test_delta_chi2() -> None:
    """By how much a sinusoid lowers the chi^2 of the points: the power without the width of the window."""
    time, flux, flux_err, offsets = stars(seasonal, [200], seed=11)
    power, delta = (BatchedTransform(PERIODS, NODES, 3.0, name)(time, flux, flux_err, offsets) for name in QUANTITIES)
    torch.testing.assert_close(delta, 2.0 * np.sqrt(2.0 * np.pi) * 3.0 * torch.from_numpy(PERIODS) * power)


def test_tensors_offsets_that_start_later_and_periods_in_any_order() -> None:
    time, flux, flux_err, offsets = stars(seasonal, [200, 300], seed=5)
    periods = np.array([9.0, 2.0, 30.0, 4.5])
    expected = chunked.chunked_lombscargle_batch(time, flux, flux_err, offsets, periods, NODES)
    tensors = (torch.from_numpy(values) for values in (time, flux, flux_err, offsets[1:]))
    power = BatchedTransform(periods, NODES)(*tensors).numpy()
    assert power.shape == (1, 128, 4)
    compared = strong(expected)[1]
    np.testing.assert_allclose(power[0][compared], expected[1][compared], rtol=1e-6)


def test_points_that_fix_no_sinusoid() -> None:
    """Nothing, one point, two at one time, a constant: no power. Two points: half their scatter about the mean."""
    node = NODES[60]
    flat = [[], [node], [node + 1.0] * 2, [node, node + 3.0, node + 5.0], [node - 0.3, node + 0.9]]
    flux = np.array([7.0, 1.0, 2.0, 5.0, 5.0, 5.0, 1.0, 3.0])
    offsets = np.cumsum([0] + [len(times) for times in flat])
    power = BatchedTransform(PERIODS, NODES)(np.concatenate(flat), flux, np.full(8, 0.1), offsets).numpy()
    assert np.isfinite(power).all()
    assert not power[:2].any() and not power[3].any()
    assert power[2].max() < 1e-20
    weight = np.exp(-((np.array([-0.3, 0.9])[:, None] / (2.0 * PERIODS)) ** 2)) / 0.01
    scatter = 4.0 * weight[0] * weight[1] / weight.sum(axis=0)
    np.testing.assert_allclose(power[4, 60], scatter / 2 / (np.sqrt(2 * np.pi) * 2.0 * PERIODS), rtol=1e-9)


def test_huge_ratios_of_errors_stay_finite_and_accurate() -> None:
    time, flux, _, offsets = stars(uniform, [120], seed=6)
    flux_err = 10.0 ** np.random.default_rng(6).uniform(-60.0, 140.0, 120)
    flux = flux * 1e-60
    expected = chunked.chunked_lombscargle_batch(time, flux, flux_err, offsets, PERIODS[::5], NODES)
    power = BatchedTransform(PERIODS[::5], NODES)(time, flux, flux_err, offsets).numpy()
    assert np.isfinite(power).all()
    assert power.max() == pytest.approx(expected.max(), rel=1e-6)


@pytest.mark.parametrize("radius", [1.0, 5.0])
def test_cells_with_data(radius: float) -> None:
    time, _, _, offsets = stars(seasonal, [30, 0, 5], seed=7)
    found = cells_with_data(time, offsets, PERIODS, NODES, 2.0, radius)
    for star, (a, b) in enumerate(pairwise(offsets)):
        expected = chunked.cells_with_data(time[a:b], PERIODS, NODES, 2.0, radius)
        np.testing.assert_array_equal(found[star].numpy(), expected)
    assert not cells_with_data(np.empty(0), np.zeros(3, dtype=int), PERIODS, NODES).any()


def test_no_stars() -> None:
    nothing = np.empty(0)
    assert BatchedTransform(PERIODS, NODES)(nothing, nothing, nothing, np.array([0])).shape == (0, 128, 128)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"flux": np.nan}, "light curve 1: flux is nan at point 3"),
        ({"time": np.inf}, "light curve 1: time is inf at point 3"),
        ({"flux_err": 0.0}, "light curve 1: flux_err is 0.0 at point 3"),
        ({"flux": 1e200}, "light curve 1: flux varies by"),
    ],
)
def test_bad_points_are_refused_by_name(changes: dict[str, float], sentence: str) -> None:
    time, flux, flux_err, offsets = stars(uniform, [20, 30, 40], seed=8)
    columns = {"time": np.sort(time), "flux": flux, "flux_err": flux_err}
    for name, value in changes.items():
        columns[name][23] = value
    with pytest.raises(DataError, match=sentence):
        BatchedTransform(PERIODS, NODES)(**columns, offsets=offsets)


def test_points_of_no_star_are_not_judged() -> None:
    time, flux, flux_err, offsets = stars(uniform, [20, 30], seed=9)
    flux[:20] = np.nan
    assert BatchedTransform(PERIODS, NODES)(time, flux, flux_err, offsets[1:]).isfinite().all()


@pytest.mark.parametrize(
    ("periods", "nodes", "tradeoff", "sentence"),
    [
        ([1.0, 0.0], NODES, 2.0, "periods must be positive"),
        ([1.0], NODES, -1.0, "tradeoff must be positive"),
        ([1.0], NODES[::-1], 2.0, "evenly spaced"),
        ([1.0], [1.0, 2.0, 4.0], 2.0, "evenly spaced"),
        ([1.0], [1.0], 2.0, "at least two"),
    ],
)
def test_bad_grids_are_refused(periods: list, nodes: list, tradeoff: float, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BatchedTransform(periods, nodes, tradeoff)


def test_an_unknown_quantity_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'chi2'"):
        BatchedTransform(PERIODS, NODES, 2.0, "chi2")


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="equally long"):
        BatchedTransform(PERIODS, NODES)(np.ones(3), np.ones(2), np.ones(3), np.array([0, 3]))
