"""Random walks are the processes they say they are, and quasars walk as published."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from varistar.physics.red_noise import (
    DISTANCE_MODULUS,
    REDSHIFT,
    damped_oscillation,
    damped_random_walk,
    quasar_walk,
)


@pytest.mark.parametrize("timescale", [0.5, 3.0, 200.0, 5000.0])
def test_random_walk_is_the_cholesky_factor_of_its_covariance(timescale: float) -> None:
    """The factor is unique, so any other process would give other numbers from the same normals."""
    time = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 300))
    covariance = 0.09 * np.exp(-np.abs(time[:, None] - time) / timescale)
    expected = np.linalg.cholesky(covariance) @ np.random.default_rng(4).standard_normal(300)
    np.testing.assert_allclose(damped_random_walk(np.random.default_rng(4), time, timescale, 0.3), expected, atol=1e-8)


def test_random_walk_stands_still_between_equal_times() -> None:
    walk = damped_random_walk(np.random.default_rng(1), np.array([5.0, 5.0, 6.0, 6.0]), 2.0, 1.0)
    assert walk[0] == walk[1] != walk[2] == walk[3]


def test_oscillation_has_the_covariance_it_says() -> None:
    time = np.array([0.0, 1.0, 3.5, 7.0, 20.0, 60.0])
    rng = np.random.default_rng(8)
    waves = np.array([damped_oscillation(rng, time, 7.0, 30.0) for _ in range(4000)])
    lag = np.abs(time[:, None] - time)
    # a covariance of 4000 pairs has a standard deviation of at most sqrt(2 / 4000)
    np.testing.assert_allclose(
        np.cov(waves.T), np.exp(-lag / 30.0) * np.cos(2 * np.pi * lag / 7.0), atol=5 * np.sqrt(2 / 4000)
    )


def test_distance_moduli_are_those_of_the_cosmology() -> None:
    distmod = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0).distmod(REDSHIFT).value
    np.testing.assert_allclose(DISTANCE_MODULUS, distmod, atol=0.006)


def test_quasars_walk_as_published() -> None:
    """MacLeod et al. (2010), worked by hand for i = 17 at z = 0.5, lambda = 4770 / 1.5 = 3180 Angstrom.

    M_i = 17 - 42.26 - 0.376 = -25.64, log10 M = 2 + 0.27 * 25.64 = 8.92; log10 SF = -0.51 + 0.048 - 0.346 - 0.014,
    log10 tau = 2.4 - 0.017 - 0.079 - 0.016.
    """
    rng = np.random.default_rng(3)
    walks = np.log10([quasar_walk(rng, 17.0, 0.5) for _ in range(4000)])
    timescale, deviation = walks.mean(axis=0)
    assert timescale == pytest.approx(2.288 + np.log10(1.5), abs=0.02)
    assert deviation == pytest.approx(-0.822 - np.log10(np.sqrt(2)), abs=0.02)


def test_luminous_quasars_vary_less() -> None:
    rng = np.random.default_rng(3)
    faint, bright = (np.median([quasar_walk(rng, i_mag, 1.0)[1] for _ in range(500)]) for i_mag in (19.0, 16.0))
    assert bright < 0.8 * faint
