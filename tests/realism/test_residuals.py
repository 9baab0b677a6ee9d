"""Median polish finds the offsets and the trend that were put in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.realism.residuals import BLOCK_DAYS, group_medians, robust_sd, take_apart


def test_offsets_and_slow_dips_are_taken_out_and_noise_stays() -> None:
    rng = np.random.default_rng(2)
    time = np.sort(rng.uniform(58000, 58250, 1500))
    camera = rng.integers(0, 4, 1500)
    offset = np.array([0.0, 0.05, -0.03, 0.08])[camera]
    dip = 0.2 * np.exp(-0.5 * ((time - 58120) / 60.0) ** 2)
    noise = 0.01 * rng.standard_normal(1500)
    apart = take_apart(time, 13.0 + offset + dip + noise, camera, np.zeros(1500, np.int64))
    np.testing.assert_allclose(apart.of_camera + apart.trend + apart.value, 13.0 + offset + dip + noise, atol=1e-12)
    found = np.array([apart.of_camera[camera == one][0] for one in range(4)])
    # Medians of 375 points each: a standard error of 1.25 * 0.01 / sqrt(375) = 0.65 mmag, five of them.
    np.testing.assert_allclose(found - found[0], [0.0, 0.05, -0.03, 0.08], atol=5 * 0.65e-3 * np.sqrt(2))
    # A straight line between block medians misses the dip by (block / width)^2 / 8 of its depth, 6 mmag, at most.
    assert robust_sd(apart.value) == pytest.approx(0.01, rel=0.2)
    assert np.corrcoef(apart.value, noise)[0, 1] > 0.9


def test_fast_signals_stay() -> None:
    time = np.arange(58000.0, 58300.0, 0.37)
    signal = 0.1 * np.sin(2 * np.pi * time / (BLOCK_DAYS / 10))
    apart = take_apart(time, 13.0 + signal, np.zeros(len(time), np.int64), np.zeros(len(time), np.int64))
    np.testing.assert_allclose(apart.value, signal, atol=0.02)


def test_few_points_have_a_constant_trend() -> None:
    time, mag = np.array([0.0, 100.0, 200.0]), np.array([1.0, 2.0, 6.0])
    apart = take_apart(time, mag, np.zeros(3, np.int64), np.zeros(3, np.int64))
    np.testing.assert_array_equal(apart.value, [-1.0, 0.0, 4.0])


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-10, 10)), min_size=1, max_size=60))
def test_group_medians_are_medians(points: list[tuple[int, float]]) -> None:
    group, values = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    found = group_medians(values, group)
    for one in range(group.max() + 1):
        mine = values[group == one]
        if len(mine):
            assert found[one] == pytest.approx(np.median(mine))
        else:
            assert np.isnan(found[one])
