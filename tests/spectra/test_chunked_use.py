"""How the chunked transform is used: few points, invariances, the object and its batches, and bad input."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError, DataError
from varistar.spectra.chunked import (
    EMPTY_RADIUS,
    ChunkedTransform,
    ChunkedTransforms,
    Grid,
    cells_with_data,
    chunked_lombscargle,
    chunked_lombscargle_batch,
)

START, STOP = 58484.5, 60311.5
PAPER_PERIODS = np.linspace(1.0, 30.0, 128)
PAPER_NODES = np.linspace(START, STOP, 128)
PERIODS = np.linspace(1.0, 30.0, 17)
NODES = np.linspace(START, STOP, 24)


class Curve(NamedTuple):
    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]


def curve(n: int, seed: int, margin: float = 0.0, mixed_errors: bool = False) -> Curve:
    """A 13-day signal in seasons of 215 days that reach `margin` days beyond the nodes, in no order of time."""
    rng = np.random.default_rng(seed)
    time = START + 365.25 * rng.integers(0, 5, n) + rng.uniform(-margin, 215.0 + margin, n)
    flux_err = 0.01 * 10.0 ** rng.uniform(-1.0, 1.0, n) if mixed_errors else np.full(n, 0.01)
    return Curve(time, 12.0 + 0.1 * np.sin(2.0 * np.pi * time / 13.0) + flux_err * rng.normal(size=n), flux_err)


# ---------------------------------------------------------------------------------------------------------------------
# Few points


def test_no_points_give_no_power(path: str) -> None:
    assert not chunked_lombscargle([], [], [], PERIODS, NODES).any()
    assert not cells_with_data([], PERIODS, NODES).any()


def test_one_point_gives_no_power(path: str) -> None:
    power = chunked_lombscargle([59400.0], [3.0], [0.1], PERIODS, NODES)
    assert not power.any()


@pytest.mark.parametrize("times", [[59400.0, 59403.3], [59400.0, 59403.3, 59404.4]])
def test_two_or_three_points_are_fitted_exactly(path: str, times: list[float]) -> None:
    """So that the power is half their weighted sum of squares about the mean."""
    c = Curve(np.array(times), np.array([1.0, 2.0, 5.0])[: len(times)], np.array([0.1, 0.2, 0.1])[: len(times)])
    power = chunked_lombscargle(*c, PERIODS, NODES)
    width = 2.0 * PERIODS
    weight = np.exp(-(((c.time - NODES[:, None, None]) / width[:, None]) ** 2)) / c.flux_err**2
    mean = (weight * c.flux).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1e-300)
    squares = (weight * (c.flux - mean[..., None]) ** 2).sum(axis=-1)
    filled = cells_with_data(c.time, PERIODS, NODES)
    expected = np.where(filled, squares / 2.0 / (np.sqrt(2.0 * np.pi) * width), 0.0)
    assert filled.any()
    np.testing.assert_allclose(power, expected, rtol=1e-6, atol=0.0)


def test_points_at_one_time_give_no_power(path: str) -> None:
    power = chunked_lombscargle(np.full(6, 59400.0), np.arange(6.0), np.full(6, 0.1), PERIODS, NODES)
    assert not power.any()


def test_a_constant_flux_gives_no_power(path: str) -> None:
    c = curve(200, seed=6, mixed_errors=True)
    assert not chunked_lombscargle(c.time, np.full(200, 0.1), c.flux_err, PERIODS, NODES).any()


def test_cells_with_data_are_those_with_a_near_point() -> None:
    time = curve(20, seed=7).time
    nearest = np.abs(time[:, None] - NODES).min(axis=0)
    for radius in (0.5, EMPTY_RADIUS):
        cells = cells_with_data(time, PERIODS, NODES, tradeoff=1.5, radius=radius)
        np.testing.assert_array_equal(cells, nearest[:, None] <= radius * 1.5 * PERIODS)


def test_power_is_zero_just_where_there_are_no_data(path: str) -> None:
    """With points in pairs, since one alone has no power either."""
    c = curve(40, seed=8)
    c.time[1::2] = c.time[::2] + 0.3
    power = chunked_lombscargle(*c, PERIODS, NODES)
    filled = cells_with_data(c.time, PERIODS, NODES)
    assert 0 < filled.sum() < filled.size
    np.testing.assert_array_equal(power > 0.0, filled)


# ---------------------------------------------------------------------------------------------------------------------
# Invariances and extremes


def test_order_of_points_does_not_matter(path: str) -> None:
    c = curve(200, seed=9)
    order = np.argsort(c.time, kind="stable")
    np.testing.assert_array_equal(
        chunked_lombscargle(*c, PERIODS, NODES), chunked_lombscargle(*(v[order] for v in c), PERIODS, NODES)
    )


def test_origin_of_time_does_not_matter(path: str) -> None:
    """In multiples of 2^-10 d all three origins are exact, so that only the nodes' own rounding remains."""
    c = curve(200, seed=10)
    time = np.round(c.time * 1024.0) / 1024.0
    node_times = START + 14.5 * np.arange(24)
    expected = chunked_lombscargle(time, c.flux, c.flux_err, PERIODS, node_times)
    for origin in (-START, 2400000.5):
        power = chunked_lombscargle(time + origin, c.flux, c.flux_err, PERIODS, node_times + origin)
        np.testing.assert_allclose(power, expected, rtol=1e-6, atol=1e-12 * expected.max())


def test_flux_and_errors_scale_the_power(path: str) -> None:
    c = curve(200, seed=11, mixed_errors=True)
    expected = chunked_lombscargle(*c, PERIODS, NODES)
    scaled = chunked_lombscargle(c.time, 1e-9 * (c.flux - 5.0), 1e-12 * c.flux_err, PERIODS, NODES)
    np.testing.assert_allclose(scaled, 1e6 * expected, rtol=1e-5, atol=1e-12 * scaled.max())


def test_extreme_errors_do_not_overflow(path: str) -> None:
    c = curve(100, seed=12)
    expected = chunked_lombscargle(*c, PERIODS, NODES)
    for factor in (1e-140, 1e140):
        power = chunked_lombscargle(c.time, c.flux, factor * c.flux_err, PERIODS, NODES)
        np.testing.assert_allclose(power * factor**2, expected, rtol=1e-6, atol=1e-12 * expected.max())


def test_points_whose_weights_underflow_count_for_nothing(path: str) -> None:
    c = curve(50, seed=19)
    c.flux_err[:] = 1e170
    c.flux_err[20:24] = 0.01
    heavy = chunked_lombscargle(*(v[20:24] for v in c), PERIODS, NODES)
    power = chunked_lombscargle(*c, PERIODS, NODES)
    compared = cells_with_data(c.time[20:24], PERIODS, NODES)
    assert np.isfinite(power).all()
    np.testing.assert_allclose(power[compared], heavy[compared], rtol=1e-6, atol=1e-20 * heavy.max())


# ---------------------------------------------------------------------------------------------------------------------
# The object, batches, and bad input


def test_a_transform_can_be_used_again() -> None:
    """Its buffers, tables for several sizes, and points inside and outside the nodes do not disturb each other."""
    transform = ChunkedTransform(PERIODS, NODES)
    curves = [curve(2000, 1), curve(900, 2, margin=700.0), curve(3, 3), curve(1500, 4)]
    for c in [*curves, *curves]:
        np.testing.assert_array_equal(transform(*c), chunked_lombscargle(*c, PERIODS, NODES))


def test_the_more_points_the_more_periods_go_by_fft() -> None:
    transforms = ChunkedTransforms([Grid(PAPER_PERIODS)], PAPER_NODES)
    by_fft = [len(transforms._rows_by_fft(n)) for n in (30, 300, 3000, 300_000)]
    assert 0 < by_fft[0] < by_fft[1] < by_fft[2] < by_fft[3] == len(PAPER_PERIODS)


def test_grids_too_large_for_the_fft_go_point_by_point(monkeypatch: pytest.MonkeyPatch) -> None:
    c = curve(100, seed=20)
    expected = chunked_lombscargle(*c, PERIODS, NODES)
    monkeypatch.setattr("varistar.spectra.maps.LARGEST_FOLD", 1000)
    assert len(ChunkedTransforms([Grid(PERIODS)], NODES)._rows_by_fft(100)) == 0
    np.testing.assert_allclose(chunked_lombscargle(*c, PERIODS, NODES), expected, rtol=1e-6)


def test_batch_is_one_by_one() -> None:
    curves = [curve(50, 1), curve(0, 2), curve(300, 3), curve(1, 4)]
    flat = Curve(*(np.concatenate(columns) for columns in zip(*curves, strict=True)))
    offsets = np.cumsum([0, *(len(c.time) for c in curves)])
    power = chunked_lombscargle_batch(*flat, offsets, PERIODS, NODES)
    assert power.shape == (4, len(NODES), len(PERIODS))
    for c, image in zip(curves, power, strict=True):
        np.testing.assert_array_equal(image, chunked_lombscargle(*c, PERIODS, NODES))
    out = np.full_like(power, np.nan)
    assert chunked_lombscargle_batch(*flat, offsets, PERIODS, NODES, out=out) is out
    np.testing.assert_array_equal(out, power)


def test_single_precision_and_read_only_input_are_taken() -> None:
    c = curve(100, seed=15)
    flux, flux_err = c.flux.astype(np.float32), c.flux_err.astype(np.float32)
    flux.flags.writeable = flux_err.flags.writeable = c.time.flags.writeable = False
    expected = chunked_lombscargle(c.time, flux.astype(np.float64), flux_err.astype(np.float64), PERIODS, NODES)
    np.testing.assert_array_equal(chunked_lombscargle(c.time, flux, flux_err, PERIODS, NODES), expected)


def test_input_is_not_changed() -> None:
    c = curve(100, seed=16)
    copies = Curve(*(v.copy() for v in c))
    chunked_lombscargle(*c, PERIODS, NODES)
    for before, after in zip(copies, c, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_pickled_transform_is_the_same() -> None:
    c = curve(1000, seed=17)
    transform = ChunkedTransform(PERIODS[::-1], NODES, tradeoff=1.5)
    expected = transform(*c)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transform))(*c), expected)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, np.nan, "time is nan at point 3"),
        (1, np.inf, "flux is inf at point 3"),
        (2, np.nan, "flux_err is nan at point 3"),
        (2, 0.0, "flux_err is 0.0 at point 3"),
        (2, -1.0, "flux_err is -1.0 at point 3"),
    ],
)
def test_bad_points_are_refused(column: int, value: float, message: str) -> None:
    c = curve(10, seed=18)
    c[column][3] = value
    with pytest.raises(DataError, match=message):
        chunked_lombscargle(*c, PERIODS, NODES)
    with pytest.raises(DataError, match="light curve 1: " + message):
        flat = Curve(*(np.concatenate([[1.0], v]) for v in c))
        chunked_lombscargle_batch(*flat, [0, 1, 11], PERIODS, NODES)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="equally long"):
        chunked_lombscargle([1.0, 2.0], [1.0, 2.0], [0.1], PERIODS, NODES)


def test_a_power_beyond_double_precision_is_refused() -> None:
    with pytest.raises(DataError, match="ratio must be below"):
        chunked_lombscargle([59400.0, 59401.0], [1.0, 2.0], [1e-160, 1e-160], PERIODS, NODES)


@pytest.mark.parametrize("offsets", [[], [0, 3, 2], [0, 5], [-1, 2]])
def test_bad_offsets_are_refused(offsets: list[int]) -> None:
    with pytest.raises(DataError, match="offsets"):
        chunked_lombscargle_batch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.1, 0.1, 0.1], offsets, PERIODS, NODES)


@pytest.mark.parametrize(
    ("periods", "node_times", "tradeoff"),
    [
        ([1.0, 0.0], NODES, 2.0),
        ([1.0, -2.0], NODES, 2.0),
        ([1.0, np.nan], NODES, 2.0),
        ([], NODES, 2.0),
        (PERIODS, [np.inf], 2.0),
        (PERIODS, [], 2.0),
        (PERIODS, NODES, 0.0),
        (PERIODS, NODES, np.nan),
    ],
)
def test_bad_grids_are_refused(periods: NDArray, node_times: NDArray, tradeoff: float) -> None:
    with pytest.raises(ConfigError):
        chunked_lombscargle([1.0], [1.0], [0.1], periods, node_times, tradeoff)


@pytest.mark.parametrize("out", [np.empty((3, 3)), np.empty((24, 17), dtype=np.float32)])
def test_a_wrong_out_is_refused(out: NDArray) -> None:
    with pytest.raises(ConfigError, match="out must"):
        ChunkedTransform(PERIODS, NODES)([59000.0], [1.0], [0.1], out=out)
