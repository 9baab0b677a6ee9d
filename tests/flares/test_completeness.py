"""The chance to find a flare against chances that are known."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from varistar.flares.completeness import CompletenessSurface, chance_at, completeness_of, rising
from varistar.foundation.errors import DataError
from varistar.physics.flares import SHAPE_AREA, WIDTH_LAW, Flares, flare_flux


def some_flares(n: int, seed: int, chance: object = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ed, snr = 10.0 ** rng.uniform(0.0, 3.0, n), 10.0 ** rng.uniform(0.0, 2.0, n)
    p = true_chance(ed, snr) if chance is None else np.full(n, chance)
    return pl.DataFrame({"equivalent_duration_s": ed, "peak_snr": snr, "recovered": rng.random(n) < p})


def true_chance(ed: np.ndarray, snr: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-4.0 * np.log(snr / 8.0) - 0.3 * np.log(ed / 30.0)))


def test_a_smooth_chance_is_recovered() -> None:
    surface = completeness_of(some_flares(60_000, 1))
    rng = np.random.default_rng(2)
    ed, snr = 10.0 ** rng.uniform(0.3, 2.7, 500), 10.0 ** rng.uniform(0.1, 1.9, 500)
    # 830 flares to a bin, known to 0.017; the chance's curvature over a bin of 0.38 in ln(S/N) makes 0.03 of the rest
    np.testing.assert_allclose(surface(ed, snr), true_chance(ed, snr), atol=0.08)
    assert np.mean(surface(ed, snr) - true_chance(ed, snr)) == pytest.approx(0.0, abs=0.01)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(30, 400))
def test_it_never_falls_and_is_a_chance_everywhere(seed: int, n: int) -> None:
    surface = completeness_of(some_flares(n, seed))
    ed, snr = np.logspace(-2.0, 5.0, 60)[:, None], np.logspace(-2.0, 4.0, 70)
    chance = surface(ed, snr)
    assert chance.shape == (60, 70)
    assert chance.min() >= 0.0 and chance.max() <= 1.0
    assert np.diff(chance, axis=0).min() >= -1e-12 and np.diff(chance, axis=1).min() >= -1e-12


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_method_that_finds_all_or_nothing(chance: float) -> None:
    surface = completeness_of(some_flares(200, 3, chance))
    np.testing.assert_allclose(surface(np.logspace(-1, 4, 20), np.logspace(-1, 3, 20)), chance, atol=1e-14)


@pytest.mark.parametrize("shape", [(3, 4), (6, 12)])
def test_the_surface_is_the_nearest_that_rises(shape: tuple[int, int]) -> None:
    """Against a general solver of the same problem; without weight, values follow the others alone."""
    rng = np.random.default_rng(4)
    values, weights = rng.random(shape), rng.integers(1, 40, shape).astype(float)
    index = np.arange(values.size).reshape(shape)
    pairs = [*zip(index[:-1].ravel(), index[1:].ravel(), strict=True)]
    pairs += zip(index[:, :-1].ravel(), index[:, 1:].ravel(), strict=True)
    steps = np.zeros((len(pairs), values.size))
    for row, (lower, upper) in enumerate(pairs):
        steps[row, [lower, upper]] = -1.0, 1.0
    w, v = weights.ravel(), values.ravel()
    solved = minimize(
        lambda x: np.sum(w * (x - v) ** 2),
        np.full(values.size, 0.5),
        jac=lambda x: 2.0 * w * (x - v),
        constraints={"type": "ineq", "fun": lambda x: steps @ x, "jac": lambda x: steps},
        method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-13},
    )
    np.testing.assert_allclose(rising(values, weights), solved.x.reshape(shape), atol=1e-5)
    hidden = values.copy()
    hidden[1, 1], weights[1, 1] = 0.0, 1e-6
    shown = rising(hidden, weights)
    hidden[1, 1] = 1.0
    elsewhere = np.ones(shape, dtype=bool)
    elsewhere[1, 1] = False
    np.testing.assert_allclose(shown[elsewhere], rising(hidden, weights)[elsewhere], atol=1e-4)


def test_of_a_star_it_is_the_mean_over_its_flares() -> None:
    """Against flares drawn by the law of widths, seen at any phase, and looked up one by one."""
    ed_nodes, snr_nodes = np.array([0.1, 1e4]), np.array([3.0, 30.0])
    surface = CompletenessSurface(ed_nodes, snr_nodes, np.array([[0.0, 1.0], [0.0, 1.0]]))
    err, cadence = 0.002, 2.0 / 1440.0
    chance = surface.of_star(err, cadence)
    rng = np.random.default_rng(6)
    n = 4000
    time = cadence * np.arange(-3, 4)
    for ed in (3.0, 10.0, 40.0):
        zero, slope, scatter = WIDTH_LAW
        fwhm = 10.0 ** (zero + slope * np.log10(ed) + scatter * rng.standard_normal(n)) / 1440.0
        amplitude = ed / (SHAPE_AREA * 86400.0 * fwhm)
        at = cadence * rng.uniform(-0.5, 0.5, n)
        flares = Flares(at, amplitude, fwhm, np.arange(n))
        snr = np.array([flare_flux(flares.take(slice(k, k + 1)), time, cadence).max() / err for k in range(n)])
        looked_up = surface(np.full(n, ed), snr)
        # the mean of heights stands for the heights themselves: they differ by some 10 % with the phase
        expected = pytest.approx(looked_up.mean(), abs=0.01 + 4.0 * looked_up.std() / np.sqrt(n))
        assert float(chance(np.array(ed))) == expected
    grid = chance(np.logspace(-2, 5, 300))
    assert np.all(np.diff(grid) >= -1e-12) and grid[0] == 0.0 and grid[-1] == pytest.approx(1.0)


def test_what_cannot_be_binned_is_refused() -> None:
    flares = some_flares(100, 1)
    both = pl.concat([flares.with_columns(method=pl.lit(name)) for name in "ab"])
    with pytest.raises(DataError, match="of one method"):
        completeness_of(both)
    with pytest.raises(DataError, match="got 1 flares"):
        completeness_of(flares.head(1))
    with pytest.raises(DataError, match="got 0 flares"):
        completeness_of(flares.head(0))


def test_each_cadence_has_the_chance_of_the_nearest() -> None:
    surfaces = {2.0: completeness_of(some_flares(2000, 1)), 30.0: completeness_of(some_flares(2000, 2))}
    of_star, ed = chance_at(surfaces), np.logspace(0, 3, 7)
    for minutes, nearest in ((2.0, 2.0), (3.9, 2.0), (1.1, 2.0), (16.0, 30.0), (29.4, 30.0)):
        chance = of_star(0.001, minutes / 1440)
        assert chance is not None
        np.testing.assert_array_equal(chance(ed), surfaces[nearest].of_star(0.001, minutes / 1440)(ed))
    assert of_star(0.001, 8.0 / 1440) is None, "four times two, and nobody injected anything there"
