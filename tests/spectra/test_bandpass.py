"""The band-pass sums against direct sums in extended precision."""

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.spectra.bandpass import BLOCK, REACH, BandPass, band_limits, fft_length

START, SPACING, N_NODES = 58484.5, 14.0, 20
PERIODS = np.array([1.0, 1.7, 4.0, 11.0])
TRADEOFF = 2.0


def direct_sums(time: NDArray, flux: NDArray, weight: NDArray, n_nodes: int) -> NDArray[np.complex128]:
    """S + i Sy, and the sums for m = 1 of 1, for m = 1 of y, and for m = 2 of 1: shape (n_periods, 4, n_nodes)."""
    x, y, w = (v.astype(np.longdouble) for v in (time, flux, weight))
    offset = x - (np.longdouble(START) + np.longdouble(SPACING) * np.arange(n_nodes))[:, None]
    sums = np.empty((len(PERIODS), 4, n_nodes), dtype=np.complex128)
    for j, period in enumerate(PERIODS.astype(np.longdouble)):
        windowed = w * np.exp(-((offset / (TRADEOFF * period)) ** 2))
        phase = 2 * np.longdouble("3.14159265358979323846264338327950288") * offset / period
        sums[j, 0] = windowed.sum(axis=1) + 1j * (windowed * y).sum(axis=1)
        sums[j, 1] = (windowed * np.cos(phase)).sum(axis=1) - 1j * (windowed * np.sin(phase)).sum(axis=1)
        sums[j, 2] = (windowed * y * np.cos(phase)).sum(axis=1) - 1j * (windowed * y * np.sin(phase)).sum(axis=1)
        sums[j, 3] = (windowed * np.cos(2 * phase)).sum(axis=1) - 1j * (windowed * np.sin(2 * phase)).sum(axis=1)
    return sums


def times(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    span = SPACING * (N_NODES - 1)
    return (
        START
        + {
            "uniform": rng.uniform(0.0, span, 500),
            "daily": np.arange(0.0, span, 1.0),
            "clump": 100.0 + rng.uniform(0.0, 0.2, 500),
            "one time": np.full(50, 70.0),
            "two points": np.array([3.0, 250.0]),
            "beyond the nodes": rng.uniform(-0.9 * room(), span + 0.9 * room(), 500),
        }[kind]
    )


def room() -> float:
    """How far from a node its longest window reaches [d]."""
    return REACH * TRADEOFF * PERIODS.max()


@pytest.mark.parametrize("kind", ["uniform", "daily", "clump", "one time", "two points", "beyond the nodes"])
def test_sums_are_within_the_noise_they_claim(kind: str) -> None:
    """The noise, plus what rounding the phases of the points in the window may add."""
    rng = np.random.default_rng(1)
    time = np.sort(times(kind, rng))
    flux, weight = rng.normal(size=len(time)), rng.uniform(0.1, 1.0, len(time))
    n_fft = fft_length(N_NODES - 1 + 2.0 * room() / SPACING)
    bandpass = BandPass(PERIODS, TRADEOFF, START, SPACING, n_fft)
    for _ in range(2):
        sums, noise = bandpass(time, flux, weight)
        truth = direct_sums(time, flux, weight, N_NODES)
        in_window = direct_sums(time, np.abs(flux), weight, N_NODES)[:, 0]
        rounding = 4.0 * np.pi * np.finfo(np.float64).eps * bandpass.length / PERIODS[:, None]
        allowed = noise + rounding * (in_window.real + in_window.imag)
        assert (np.abs(sums[:, :, :N_NODES] - truth) <= allowed[:, None]).all()
        assert noise < 1e-11 * weight.sum()


@pytest.mark.parametrize("nodes", [1.0, 15.9, 16.0, 150.0, 700.3])
def test_fft_lengths_are_long_enough_and_round(nodes: float) -> None:
    length = fft_length(nodes)
    assert nodes <= length <= 1.5 * nodes + BLOCK
    assert length % BLOCK == 0
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


def test_bands_hold_the_whole_gaussian() -> None:
    first, count = band_limits(PERIODS, TRADEOFF, length=1000.0)
    assert (first % BLOCK == 0).all()
    assert (count % BLOCK == 0).all()
    for ends in (first - 1, first + count):
        distance = np.pi * TRADEOFF * PERIODS[:, None] * (ends / 1000.0 - np.arange(3) / PERIODS[:, None])
        assert (np.exp(-(distance**2)) < 1e-13).all()
