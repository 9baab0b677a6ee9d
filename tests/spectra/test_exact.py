"""The direct sums against fifty decimal digits, in cells that are hard to sum."""

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.spectra.exact import exact_power

NODE = 59000.0
DITHERS = NODE + np.array([0.0, 0.0012, 0.0024])


def one_cell(
    time: NDArray, flux: NDArray, weight: NDArray, period: float, tradeoff: float = 2.0, node: float = NODE
) -> float:
    power = np.full((1, 1), np.nan)
    wanted, periods, nodes = np.ones((1, 1), dtype=np.bool_), np.array([period]), np.array([node])
    exact_power(wanted, time, flux, weight, periods, tradeoff * periods, nodes, power)
    return float(power[0, 0])


def fifty_digits(
    time: NDArray, flux: NDArray, weight: NDArray, period: float, tradeoff: float = 2.0, node: float = NODE
) -> float:
    """Half the weighted sum of squares that a sinusoid explains beyond a constant, by solving the normal equations."""
    with mpmath.workdps(50):
        offsets = [mpmath.mpf(float(t)) - mpmath.mpf(float(node)) for t in time]
        width, turn = mpmath.mpf(tradeoff) * mpmath.mpf(float(period)), 2 * mpmath.pi / mpmath.mpf(float(period))
        w = [mpmath.mpf(float(v)) * mpmath.exp(-((u / width) ** 2)) for u, v in zip(offsets, weight, strict=True)]
        rows = [[mpmath.mpf(1), mpmath.cos(turn * u), mpmath.sin(turn * u)] for u in offsets]
        y = [mpmath.mpf(float(v)) for v in flux]
        normal = mpmath.matrix(3, 3)
        right = mpmath.matrix(3, 1)
        for a in range(3):
            right[a] = mpmath.fsum(p * r[a] * q for p, r, q in zip(w, rows, y, strict=True))
            for b in range(3):
                normal[a, b] = mpmath.fsum(p * r[a] * r[b] for p, r in zip(w, rows, strict=True))
        solution = mpmath.lu_solve(normal, right)
        fitted = mpmath.fsum(solution[a] * right[a] for a in range(3))
        return float((fitted - right[0] ** 2 / normal[0, 0]) / 2)


@pytest.mark.parametrize("period", [0.3, 1.0, 7.0, 30.0])
@pytest.mark.parametrize("n", [3, 4, 10, 300])
def test_many_points(period: float, n: int) -> None:
    rng = np.random.default_rng(n)
    time = np.sort(NODE + period * rng.uniform(-12.0, 12.0, n))
    flux, weight = rng.normal(size=n), rng.uniform(0.01, 1.0, n)
    assert one_cell(time, flux, weight, period) == pytest.approx(
        fifty_digits(time, flux, weight, period), rel=1e-11, abs=0.0
    )


@pytest.mark.parametrize("period", [1.0, 7.0, 30.0])
@pytest.mark.parametrize("offset", [0.0, 3.0, -9.5])
def test_a_clump_of_minutes(period: float, offset: float) -> None:
    """The regressors of four dithers vary by 1e-4 along one axis and by 1e-8 along the other."""
    time = np.append(DITHERS, NODE + 0.0047) + offset
    flux, weight = np.array([1.0, -0.3, 0.2, 0.5]), np.array([1.0, 0.5, 0.7, 0.9])
    assert one_cell(time, flux, weight, period) == pytest.approx(
        fifty_digits(time, flux, weight, period), rel=1e-6, abs=0.0
    )


def test_a_clump_and_a_point_that_weighs_almost_nothing() -> None:
    """A point at 1e-17 of the weight is not negligible where the clump leaves an axis as good as open."""
    time, flux, weight = np.append(DITHERS, NODE + 245.0), np.array([1.0, -0.3, 0.2, 1e6]), np.ones(4)
    with_point, without = (fifty_digits(time[:n], flux[:n], weight[:n], 20.0) for n in (4, 3))
    assert with_point != pytest.approx(without, rel=1e-4, abs=0.0)
    assert one_cell(time, flux, weight, 20.0) == pytest.approx(with_point, rel=1e-6, abs=0.0)


def test_a_cell_far_from_all_points() -> None:
    """At 26 widths the sums underflow unless weights are taken relative to the nearest point's."""
    time, flux, weight = NODE + np.array([116.0, 116.4, 117.0, 117.9]), np.array([1.0, 2.0, -1.0, 0.5]), np.ones(4)
    expected = fifty_digits(time, flux, weight, 2.2)
    assert 0.0 < expected < 1e-290
    assert one_cell(time, flux, weight, 2.2) == pytest.approx(expected, rel=1e-6, abs=0.0)


def test_a_heavy_point_beyond_a_light_one() -> None:
    """The nearest point's weight is 1e-24 of the others', which stand where it would hide points of its own weight."""
    time = NODE + np.array([0.1, 18.0, 18.3, 19.1])
    flux, weight = np.array([5.0, 1.0, 2.0, -1.0]), np.array([1e-24, 1.0, 1.0, 1.0])
    assert one_cell(time, flux, weight, 1.0) == pytest.approx(fifty_digits(time, flux, weight, 1.0), rel=1e-6, abs=0.0)


@pytest.mark.parametrize("times", [[0.0, 1.3], [0.0, 1.3, 1.3], [0.0, 0.0, 1e-9], [-5.0, 5.5, 5.5]])
def test_two_distinct_times_leave_an_axis_open(times: list[float]) -> None:
    """The sinusoid then goes through the weighted mean at each of the two."""
    time, flux = NODE + np.array(times), np.array([1.0, 3.0, 7.0])[: len(times)]
    weight = np.array([1.0, 0.5, 0.25])[: len(times)]
    w = weight * np.exp(-(((time - NODE) / 6.0) ** 2))
    mean = (w * flux).sum() / w.sum()
    groups = [time == t for t in np.unique(time)]
    explained = sum(w[g].sum() * ((w[g] * flux[g]).sum() / w[g].sum() - mean) ** 2 for g in groups)
    assert one_cell(time, flux, weight, 3.0) == pytest.approx(explained / 2.0, rel=1e-9, abs=0.0)


@pytest.mark.parametrize("seed", range(30))
def test_many_points_at_two_times(seed: int) -> None:
    """However they scatter, only the difference between the two times' means is explained."""
    rng = np.random.default_rng(seed)
    times, group = rng.uniform(-4.0, 4.0, 2), np.sort(np.append(rng.integers(0, 2, 6), [0, 1]))
    order = np.argsort(times[group], kind="stable")
    time, flux, weight = NODE + times[group][order], rng.normal(size=8), rng.uniform(0.1, 1.0, 8)
    w = weight * np.exp(-(((time - NODE) / 6.0) ** 2))
    mean = (w * flux).sum() / w.sum()
    groups = [time == t for t in np.unique(time)]
    explained = sum(w[g].sum() * ((w[g] * flux[g]).sum() / w[g].sum() - mean) ** 2 for g in groups)
    assert one_cell(time, flux, weight, 3.0) == pytest.approx(explained / 2.0, rel=1e-9, abs=0.0)


def test_only_wanted_cells_are_written() -> None:
    rng = np.random.default_rng(1)
    wanted = rng.uniform(size=(5, 7)) < 0.5
    power = np.full(wanted.shape, -1.0)
    time = np.sort(NODE + rng.uniform(0.0, 100.0, 50))
    flux, weight = rng.normal(size=50), np.ones(50)
    periods = np.linspace(1.0, 9.0, 5)
    exact_power(wanted, time, flux, weight, periods, 2.0 * periods, NODE + np.linspace(0, 99, 7), power)
    np.testing.assert_array_equal(power >= 0.0, wanted)
