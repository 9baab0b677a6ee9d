"""Dust dims once a turn, gas brightens in bursts, and both stay on their side of zero."""

import numpy as np
import pytest

from varistar.physics.discs import _bursts_at, bursts, dips

TIME = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 1200))


def test_dips_dim_and_return_with_the_period() -> None:
    fundamental = []
    for seed in range(20):
        change = dips(np.random.default_rng(seed), TIME, 5.0)
        assert change.min() >= 0.0 and 0.05 < change.max() < 6.0
        waves = [abs(np.mean((change - change.mean()) * np.exp(2j * np.pi * TIME / p))) for p in (5.0, 4.6, 5.4, 3.7)]
        fundamental.append(waves[0] / max(waves[1:]))
    assert np.median(fundamental) > 3.0


def test_every_turn_has_its_own_dip() -> None:
    time = np.arange(0.0, 50.0, 0.01)
    change = dips(np.random.default_rng(4), time, 5.0)
    deepest = change[: 500 * (len(time) // 500)].reshape(-1, 500).max(axis=1)
    assert deepest.min() > 0 and deepest.max() > 1.2 * deepest.min()


def test_no_dip_is_cut_off_where_one_turn_ends_and_the_next_begins() -> None:
    """In steps of 0.002 turns a Gaussian of 0.06 turns bends by at most (0.002 / 0.06)^2 = 0.0011 of its depth."""
    time = np.arange(0.0, 1000.0, 0.01)
    for seed in range(5):
        change = dips(np.random.default_rng(seed), time, 5.0)
        assert np.abs(np.diff(change, 2)).max() < 0.0013 * change.max()


def test_one_epoch_is_enough() -> None:
    assert dips(np.random.default_rng(0), np.array([58500.0]), 5.0).shape == (1,)
    assert bursts(np.random.default_rng(0), np.array([58500.0])).shape == (1,)


def test_bursts_brighten_and_are_the_sum_of_all() -> None:
    assert all(bursts(np.random.default_rng(seed), TIME).max() <= 0.0 for seed in range(20))
    rng = np.random.default_rng(1)
    start, height, decay = np.sort(rng.uniform(58400, 60300, 60)), rng.exponential(0.3, 60), rng.uniform(1, 8, 60)
    x = np.maximum(TIME[:, None] - start, 0.0) / (0.5 * decay)
    expected = (height * x * np.exp(1 - x)).sum(axis=1)
    # beyond twenty units a burst is below 20 exp(-19) = 1.2e-7 of its height
    np.testing.assert_allclose(_bursts_at(TIME, start, height, decay), expected, atol=1e-6)
    assert _bursts_at(np.array([start[0] + 0.5 * decay[0]]), start[:1], height[:1], decay[:1]) == pytest.approx(
        height[0]
    )
