"""What stars do: periods are periods, and the random walk is the one it says it is."""

import numpy as np
import pytest

from varistar.sky.population import Kind, Star, draw_star
from varistar.sky.signals import damped_random_walk, magnitude_change


def walk_by_recursion(normals: np.ndarray, time: np.ndarray, timescale: float) -> np.ndarray:
    """x_i = r x_(i-1) + sqrt(1 - r^2) z_i with r = exp(-dt / timescale)."""
    walk = [normals[0]]
    for step, normal in zip(np.diff(time), normals[1:], strict=True):
        kept = np.exp(-step / timescale)
        walk.append(kept * walk[-1] + np.sqrt(1 - kept**2) * normal)
    return np.array(walk)


@pytest.mark.parametrize("timescale", [0.5, 3.0, 200.0, 5000.0])
def test_random_walk_is_the_recursion(timescale: float) -> None:
    time = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 800))
    ours = damped_random_walk(np.random.default_rng(4), time, timescale, 0.3)
    theirs = 0.3 * walk_by_recursion(np.random.default_rng(4).standard_normal(800), time, timescale)
    # the sum of increments that grow as exp(2 t / timescale) loses digits where two times nearly coincide
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_random_walk_has_the_covariance_it_says() -> None:
    time = np.array([0.0, 1.0, 1.0, 30.0, 250.0, 2000.0])
    rng = np.random.default_rng(8)
    walks = np.array([damped_random_walk(rng, time, 20.0, 2.0) for _ in range(4000)])
    expected = 4.0 * np.exp(-np.abs(time[:, None] - time) / 20.0)
    # a covariance of 4000 pairs has a standard deviation of at most sqrt(2 / 4000) of the variance
    np.testing.assert_allclose(np.cov(walks.T), expected, atol=5 * 4.0 * np.sqrt(2 / 4000))


def stars(kind: Kind, count: int) -> list[Star]:
    return [draw_star(88, kind, i, 0, (100.0, -30.0)) for i in range(count)]


@pytest.mark.parametrize("kind", ["eclipsing", "pulsating"])
def test_periodic_stars_repeat(kind: Kind) -> None:
    for star in stars(kind, 30):
        time = np.linspace(0.0, star.period_days, 400, endpoint=False)
        one = magnitude_change(88, star, time)
        later = magnitude_change(88, star, time + 1000 * star.period_days)
        np.testing.assert_allclose(one, later, atol=1e-8)
        half = magnitude_change(88, star, time + star.period_days / 2)
        assert np.abs(half - one).max() > 0.004, "the true period is not half of the one given"
        assert 0.05 < np.ptp(one) < 1.6


def test_eclipses_make_a_star_fainter_and_pulsators_rise_faster_than_they_fall() -> None:
    time = np.linspace(0.0, 1.0, 4000, endpoint=False)
    detached = next(star for star in stars("eclipsing", 30) if star.subtype == "EA")
    change = magnitude_change(88, detached, time * detached.period_days)
    assert change.max() > 0.1 and change.min() > -0.01
    for star in (star for star in stars("pulsating", 30) if star.subtype == "RRAB"):
        change = magnitude_change(88, star, time * star.period_days)
        assert np.mean(np.diff(change) > 0) != pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["rotator", "quasar", "semiregular", "clump", "constant", "eclipsing"])
def test_changes_are_finite_with_median_zero_and_belong_to_the_star(kind: Kind) -> None:
    time = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 700))
    changes = [magnitude_change(88, star, time) for star in stars(kind, 4)]
    for star, change in zip(stars(kind, 4), changes, strict=True):
        assert np.all(np.isfinite(change)) and np.median(change) == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_array_equal(change, magnitude_change(88, star, time))
    if kind == "constant":
        assert not np.any(changes)
    else:
        assert np.abs(np.corrcoef(changes)[np.triu_indices(4, 1)]).max() < 0.95


def test_quasars_vary_by_tenths_of_a_magnitude_and_clump_stars_do_not() -> None:
    time = np.arange(58484.5, 60311.5, 2.0)
    quasars = [np.std(magnitude_change(88, star, time)) for star in stars("quasar", 60)]
    clump = [np.std(magnitude_change(88, star, time)) for star in stars("clump", 60)]
    assert 0.07 < np.median(quasars) < 0.3
    assert np.max(clump) < 0.02
