"""The autocorrelation against a plain double loop, and of noise whose memory is known."""

import numpy as np
import pytest

from varistar.realism.memory import CLIP, LAGS, LEAST_PAIRS, autocorrelation


def in_pairs(time: np.ndarray, scaled: np.ndarray, camera: np.ndarray, season: np.ndarray) -> dict[str, float]:
    """All pairs in NumPy matrices."""
    z = np.clip(scaled, -CLIP, CLIP)
    z = z - z.mean()
    apart = time[None, :] - time[:, None]
    pair = (np.arange(len(z))[None, :] > np.arange(len(z))[:, None]) & (season[:, None] == season[None, :])
    found = {}
    for lag, (low, high) in LAGS.items():
        for name, kind in (("memory", camera[:, None] == camera[None, :]), ("shared", camera[:, None] != camera[None])):
            chosen = pair & kind & (apart >= low) & (apart <= high)
            products = np.outer(z, z)[chosen]
            enough = len(products) >= LEAST_PAIRS
            found[f"{name}_{lag}"] = products.mean() / np.var(z) if enough else np.nan
    return found


@pytest.mark.parametrize("n", [5, 60, 300])
def test_against_all_pairs(n: int) -> None:
    rng = np.random.default_rng(n)
    time = np.sort(rng.uniform(0, n / 2, n))
    scaled = rng.standard_t(3, n)
    camera, season = rng.integers(0, 3, n), np.floor(time / 40).astype(np.int64)
    found = autocorrelation(time, scaled, camera, season)
    expected = in_pairs(time, scaled, camera, season)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, nan_ok=True, abs=1e-12)


def test_noise_that_remembers_for_days() -> None:
    """A first-order process of 3 d: correlation exp(-lag / 3 d), the same between cameras."""
    rng = np.random.default_rng(3)
    n, memory = 40000, 3.0
    keep = np.exp(-1.0 / memory)
    z = np.empty(n)
    z[0] = rng.standard_normal()
    for i in range(1, n):
        z[i] = keep * z[i - 1] + np.sqrt(1 - keep**2) * rng.standard_normal()
    found = autocorrelation(np.arange(n, dtype=float), z, rng.integers(0, 2, n), np.zeros(n, np.int64))
    # 40000 / (2 * 3) independent values: a standard error of 0.012.
    for name in ("memory", "shared"):
        assert found[f"{name}_1d"] == pytest.approx(np.exp(-1 / 3), abs=0.05)
        assert found[f"{name}_10d"] == pytest.approx(np.exp(-10 / 3), abs=0.05)
        assert found[f"{name}_30d"] == pytest.approx(0.0, abs=0.05)


def test_constant_residuals_have_none() -> None:
    time = np.arange(100.0)
    zeros = np.zeros(100, np.int64)
    assert all(np.isnan(value) for value in autocorrelation(time, np.zeros(100), zeros, zeros).values())
