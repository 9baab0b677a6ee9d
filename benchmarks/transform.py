"""How much faster the chunked transform is than the loop of the paper's appendix B, and how close.

    python benchmarks/transform.py [--points 300 1000 3000] [--seconds 5]

Both are measured in this one run, on the same light curves and the paper's 128 x 128 grid: for each curve the transform
in bursts before and after the loop over all 16,384 cells, in CPU time of this one process. Then the transform's
throughput, by the clock, on one process and on two. The deviation is the largest over cells above 1e-6 of the image's
maximum in which at least three points weigh more than 1e-6 of the heaviest; the loop's own rounding is part of it.
"""

import argparse
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

from machine import describe
from varistar.spectra.chunked import ChunkedTransform

START, STOP = 58484.5, 60311.5
PERIODS = np.linspace(1.0, 30.0, 128)
NODES = np.linspace(START, STOP, 128)
TRADEOFF = 2.0

Curve = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[300, 1000, 3000], help="points of a light curve")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each throughput measurement")
    options = parser.parse_args()
    print(describe())
    print(f"{'N':>5} {'cadence':<10} {'loop [s]':>9} {'ours [ms]':>10} {'ratio':>7} {'deviation':>10} {'pixels':>7}")
    for n_points in options.points:
        for cadence in CADENCES:
            print(compare(curve(cadence, n_points, seed=n_points), cadence), flush=True)
    for n_processes in (1, 2):
        rate = throughput(n_processes, options.seconds)
        print(f"{rate:8.0f} light curves/s on {n_processes} process{'es' if n_processes > 1 else ''}, N = 300 to 3000")


def uniform(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START, STOP, n)


def seasonal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Seasons of 215 days with gaps of 150."""
    return START + 365.25 * rng.integers(0, 5, n) + rng.uniform(0.0, 215.0, n)


def realistic(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Nights of three sites within seasons; a third of the epochs are three dithers 104 seconds apart."""
    epochs = np.floor(seasonal(rng, n)) + rng.choice([0.05, 0.3, 0.6], n) + rng.normal(0.0, 0.05, n)
    dithered = epochs[: n // 3]
    return np.concatenate([epochs, dithered + 0.0012, dithered + 0.0024])[rng.permutation(n + 2 * (n // 3))[:n]]


CADENCES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "uniform": uniform,
    "seasonal": seasonal,
    "realistic": realistic,
}


def curve(cadence: str, n: int, seed: int) -> Curve:
    """A 13-day signal with noise of its own size."""
    rng = np.random.default_rng(seed)
    when = np.sort(CADENCES[cadence](rng, n))
    flux_err = rng.uniform(0.008, 0.02, n)
    return when, 1.0 + 0.02 * np.sin(2.0 * np.pi * when / 13.0) + flux_err * rng.normal(size=n), flux_err


def compare(c: Curve, cadence: str) -> str:
    """One row of the table: times, ratio, largest deviation, and the share of uint8 pixels that differ."""
    transform = ChunkedTransform(PERIODS, NODES, TRADEOFF)
    power = transform(*c)
    durations = burst(transform, c)
    begin = time.process_time()
    loop = astropy_loop(c)
    reference = time.process_time() - begin
    ours = float(np.median(durations + burst(transform, c)))
    finite = np.isfinite(loop)
    compared = finite & (power > 1e-6 * power.max()) & (effective_points(c) >= 3)
    deviation = np.abs(power[compared] / loop[compared] - 1.0).max()
    pixels = (uint8_image(np.where(finite, power, 0.0)) != uint8_image(np.where(finite, loop, 0.0))).mean()
    return (
        f"{len(c[0]):5d} {cadence:<10} {reference:9.3f} {1e3 * ours:10.3f} {reference / ours:6.0f}x "
        f"{deviation:10.1e} {pixels:7.1e}"
    )


def burst(transform: ChunkedTransform, c: Curve, n: int = 100) -> list[float]:
    """CPU times of some transforms in a row [s]."""
    out = np.empty(transform.shape)
    durations = []
    for _ in range(n):
        begin = time.process_time()
        transform(*c, out=out)
        durations.append(time.process_time() - begin)
    return durations


def astropy_loop(c: Curve) -> NDArray[np.float64]:
    """The loop of the paper's appendix B."""
    when, flux, flux_err = c
    power = np.empty((len(NODES), len(PERIODS)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for j, period in enumerate(PERIODS):
            width = TRADEOFF * period
            for i, node in enumerate(NODES):
                window = np.exp(-(((when - node) / width) ** 2) / 2.0)
                periodogram = LombScargle(when, flux, flux_err / window)
                power[i, j] = periodogram.power(1.0 / period, normalization="psd") / (np.sqrt(2.0 * np.pi) * width)
    return power


def effective_points(c: Curve) -> NDArray[np.int64]:
    """How many points weigh more than 1e-6 of the heaviest in each cell."""
    when, _, flux_err = c
    counts = np.empty((len(NODES), len(PERIODS)), dtype=np.int64)
    for i, node in enumerate(NODES):
        logarithm = -(((when[:, None] - node) / (TRADEOFF * PERIODS)) ** 2) - 2.0 * np.log(flux_err)[:, None]
        counts[i] = (logarithm > logarithm.max(axis=0) + np.log(1e-6)).sum(axis=0)
    return counts


def uint8_image(power: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The paper's image: minimum off, maximum to 255, truncated."""
    shifted = power - power.min()
    return (shifted * 255.0 / shifted.max()).astype(np.uint8)


def throughput(n_processes: int, seconds: float) -> float:
    """Light curves per second of `n_processes` processes that each run for `seconds`."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_processes)
    with context.Pool(n_processes, initializer=set_barrier, initargs=(barrier,)) as pool:
        return sum(pool.map(transforms_per_second, [seconds] * n_processes, chunksize=1))


def set_barrier(barrier: "multiprocessing.synchronize.Barrier") -> None:
    """Keep the barrier where the worker finds it."""
    globals()["_barrier"] = barrier


def transforms_per_second(seconds: float) -> float:
    """The rate of one worker over curves of all cadences and lengths, once all workers are ready."""
    curves = [curve(cadence, n, seed) for seed, n in enumerate((300, 600, 1000, 2000, 3000)) for cadence in CADENCES]
    flat = [np.concatenate(columns) for columns in zip(*curves, strict=True)]
    offsets = np.cumsum([0, *(len(c[0]) for c in curves)])
    transform = ChunkedTransform(PERIODS, NODES, TRADEOFF)
    out = transform.batch(*flat, offsets)
    globals()["_barrier"].wait()
    done, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        transform.batch(*flat, offsets, out=out)
        done += len(curves)
    return done / elapsed


if __name__ == "__main__":
    main()
