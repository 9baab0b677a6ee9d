"""What an accelerator does with the heavy steps: transforms, images, spots, answers and training, and how exactly.

    python benchmarks/accelerator.py [--accelerator auto|cpu|cuda] [--quick]

Everything it needs is made here from a seed. Rates on CUDA are by the clock, after the device has finished, on data
that are where they would be: the transforms' light curves and the networks' images on the device, those of
`make_images` and of the spots in the processor's memory. Rates of the processor are per core, in CPU time of one
thread, since other work on the machine would count otherwise. Deviations are from the compiled kernels of the
processor, on the same light curves.
"""

import argparse
import copy
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from machine import describe
from varistar.foundation.accelerator import choose_device
from varistar.foundation.errors import one_sentence
from varistar.foundation.params import find_root, read_section
from varistar.lightcurves.table import LightCurves
from varistar.periods import representation as on_processor
from varistar.periods.measure import CUDA_BATCH
from varistar.periods.network import CalibratedNetwork, PeriodNetwork, build_network
from varistar.periods.on_torch import make_images
from varistar.periods.preprocess import read_representation
from varistar.periods.representation import Representation
from varistar.periods.variants import Variant
from varistar.physics import dimming
from varistar.physics.emergence import ActiveRegions, emerge_regions
from varistar.physics.on_torch import spot_flux
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters
from varistar.spectra.chunked import ChunkedTransform
from varistar.spectra.on_torch import BatchedTransform

START, STOP = 58484.5, 60311.5
PAPER = Representation(window=(START, STOP))
PERIODS, NODES = PAPER.periods.values(), np.linspace(START, STOP, PAPER.nodes)
DURATION_DAYS, WINDOW_DAYS, MEDIAN_STEP_DAYS = 4380, 1825.0, 1.03
EXAMPLES = 1_000_000
NETWORKS = ("clump-8-16-32", "period-axis")  # of params.yaml
SEED = 2026

T = TypeVar("T")


class Sizes(NamedTuple):
    """How much of everything is measured."""

    transforms: tuple[int, ...]
    compared: int
    images: int
    stars: int
    answers: int
    training_batches: tuple[int, ...]


FULL = Sizes((64, 256, 1024, 4096, 8192), 300, 8192, 1000, 262_144, (100, 1024, 8192))
ON_CPU = Sizes((64, 256), 200, 200, 100, 4096, (100, 1024))
QUICK = Sizes((6, 12), 12, 12, 8, 256, (100,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--quick", action="store_true", help="a few of everything, in seconds")
    options = parser.parse_args()
    with one_sentence():
        device = choose_device(options.accelerator)
    sizes = QUICK if options.quick else FULL if device.type == "cuda" else ON_CPU
    torch.set_num_threads(1)
    print(describe())
    print(f"device: {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'one core of the processor'}\n")
    transforms(device, sizes)
    images_per_second = images(device, sizes)
    emergence_ms, stars_per_second = spotted_stars(device, sizes)
    inference(device, sizes)
    training(device, sizes)
    on_cores = EXAMPLES * emergence_ms / 1e3
    on_device = EXAMPLES / stars_per_second + EXAMPLES / images_per_second
    print(
        f"\n{EXAMPLES:.0e} examples: emergence of active regions {on_cores / 60:.1f} core-minutes; then flux and "
        f"images {on_device / 60:.1f} minutes on the device (from the rates above; reading and writing not counted)"
    )


def transforms(device: torch.device, sizes: Sizes) -> None:
    """Light curves per second by size of the batch, the compiled kernel's beside them, and the deviation from it."""
    curves = light_curves(sizes.compared, SEED)
    compiled, transform = ChunkedTransform(PERIODS, NODES), BatchedTransform(PERIODS, NODES, device=device)
    columns = [curves[name].astype(np.float64) for name in ("time", "flux", "flux_err")]
    elapsed, expected = processor_seconds(lambda: compiled.batch(*columns, curves.offsets))
    print(f"{'transforms':<22} {'compiled, one core':>20}: {len(curves) / elapsed:10.0f} light curves/s")
    for size in sizes.transforms:
        batch = curves if size == len(curves) else light_curves(size, SEED + size)
        points = [torch.from_numpy(batch[name].astype(np.float64)).to(device) for name in ("time", "flux", "flux_err")]
        rate = size / seconds(lambda points=points, batch=batch: transform(*points, batch.offsets), device)
        peak = f", {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB at most" if device.type == "cuda" else ""
        print(f"{'':<22} {f'batch of {size}':>20}: {rate:10.0f} light curves/s{peak}")
    power = transform(*columns, curves.offsets).cpu().numpy()
    strong = expected > 1e-6 * expected.max(axis=(1, 2), keepdims=True)
    counted = strong & np.stack([effective_points(one) >= 3 for one in per_star(curves)])
    deviation = np.abs(power[counted] / expected[counted] - 1.0)
    print(
        f"{'':<22} {'deviation':>20}: {deviation.max():10.1e} at most, in {counted.sum()} cells of {len(curves)} "
        f"curves above 1e-6 of the largest with 3 points or more; all finite: {np.isfinite(power).all()}"
    )


def images(device: torch.device, sizes: Sizes) -> float:
    """Images per second from light curves in memory to images in memory, and the pixels that differ."""
    curves = light_curves(sizes.images, SEED)
    rate = len(curves) / seconds(lambda: make_images(curves, PAPER, device), device)
    some = curves.slice(0, min(sizes.compared, len(curves)))
    elapsed, expected = processor_seconds(lambda: on_processor.make_images(some, PAPER))
    steps = np.abs(make_images(some, PAPER, device).astype(int) - expected)
    print(f"{'images':<22} {'compiled, one core':>20}: {len(some) / elapsed:10.0f} images/s")
    print(f"{'':<22} {'torch':>20}: {rate:10.0f} images/s")
    print(f"{'':<22} {'pixels that differ':>20}: {np.mean(steps > 0):10.1e}, by {steps.max()} levels at most")
    return rate


def spotted_stars(device: torch.device, sizes: Sizes) -> tuple[float, float]:
    """Milliseconds of a core for a star's regions, and stars per second for their flux at 1000 epochs and on a grid."""
    rng = np.random.default_rng(SEED)
    stars: list[SpotParameters] = [draw_spot_parameters(SpotPrior(), rng) for _ in range(sizes.stars)]

    def emerge() -> list[ActiveRegions]:
        return [emerge_regions(star, DURATION_DAYS, number) for number, star in enumerate(stars)]

    elapsed, regions = processor_seconds(emerge)
    grid = np.arange(0.0, WINDOW_DAYS, MEDIAN_STEP_DAYS)
    times = [400.0 + np.concatenate([np.sort(rng.uniform(0.0, WINDOW_DAYS, 1000)), grid]) for _ in stars]
    time_, offsets = np.concatenate(times), np.arange(len(stars) + 1) * len(times[0])
    flux = spot_flux(stars, regions, time_, offsets, device).cpu().numpy()
    compiled, expected = processor_seconds(
        lambda: np.concatenate([dimming.spot_flux(*star) for star in zip(stars, regions, times, strict=True)])
    )
    rate = len(stars) / seconds(lambda: spot_flux(stars, regions, time_, offsets, device), device)
    print(f"{'spotted stars':<22} {'emergence, one core':>20}: {1e3 * elapsed / len(stars):10.2f} ms a star")
    print(f"{'':<22} {'compiled, one core':>20}: {len(stars) / compiled:10.0f} stars/s")
    print(f"{'':<22} {'torch':>20}: {rate:10.0f} stars/s, deviation {np.abs(flux - expected).max():.1e} at most")
    return 1e3 * elapsed / len(stars), rate


def inference(device: torch.device, sizes: Sizes) -> None:
    """Answers per second of each network."""
    for name in NETWORKS:
        plain, shape = untrained(name)
        network = CalibratedNetwork(plain, 1.0).eval().to(device)
        inputs = random_arrays(sizes.answers, shape, device)

        def answer(precision: torch.dtype, network=network, inputs=inputs) -> None:
            with torch.inference_mode(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
                for batch in inputs.split(CUDA_BATCH):
                    network(batch)

        print(f"answers of {name}")
        for precision in (torch.float32, torch.bfloat16):
            rate = len(inputs) / seconds(lambda p=precision, answer=answer: answer(p), device)
            print(f"{'':<22} {str(precision).removeprefix('torch.'):>20}: {rate:10.0f} stars/s")


def training(device: torch.device, sizes: Sizes) -> None:
    """Examples per second of training each network on arrays that are on the device."""
    n = 8 * max(sizes.training_batches) if device.type == "cuda" else 2 * max(sizes.training_batches)
    period = torch.rand(n, generator=torch.Generator().manual_seed(SEED)).mul(29.0).add(1.0).to(device)
    for name in NETWORKS:
        plain, shape = untrained(name)
        inputs = random_arrays(n, shape, device)
        print(f"training of {name}")
        for batch in sizes.training_batches:
            for mixed in (False, True):
                network = copy.deepcopy(plain).to(device).train()
                optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)

                def epoch(network=network, optimizer=optimizer, inputs=inputs, batch=batch, mixed=mixed) -> None:
                    for part, truth in zip(inputs.split(batch), period.split(batch), strict=True):
                        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
                            raw = network(part)
                        optimizer.zero_grad(set_to_none=True)
                        network.head.loss(raw.float(), truth).backward()
                        optimizer.step()

                label = f"batch {batch}, {'mixed' if mixed else 'float32'}"
                print(f"{'':<22} {label:>20}: {n / seconds(epoch, device):10.0f} examples/s")


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The least time of some runs after a first one: by the clock on CUDA, CPU time on a processor."""
    if device.type == "cpu":
        work()
        return min(processor_seconds(work)[0] for _ in range(2))
    work()
    durations = []
    for _ in range(repeats):
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        durations.append(time.perf_counter() - begin)
    return min(durations)


def processor_seconds(work: Callable[[], T]) -> tuple[float, T]:
    """CPU time of one run after a first one, which may compile, and its result."""
    work()
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def light_curves(n: int, seed: int) -> LightCurves:
    """Turning stars of 300 to 3000 points: at random times, in seasons, and in nights with dithers, in turn."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(300, 3001, n)
    times = [np.sort(CADENCES[i % len(CADENCES)](rng, size)) for i, size in enumerate(sizes)]
    when = np.concatenate(times)
    flux_err = rng.uniform(0.008, 0.02, len(when)).astype(np.float32)
    period = np.repeat(rng.uniform(1.0, 30.0, n), sizes)
    flux = 1.0 + 0.02 * np.sin(2.0 * np.pi * when / period) + flux_err * rng.normal(size=len(when))
    columns: dict[str, NDArray] = {"time": when, "flux": flux.astype(np.float32), "flux_err": flux_err}
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return LightCurves(tuple(map(str, range(n))), offsets, columns, "MJD_UTC", "relative")


def uniform(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(START, STOP, n)


def seasonal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Seasons of 215 days with gaps of 150."""
    return START + 365.25 * rng.integers(0, 5, n) + rng.uniform(0.0, 215.0, n)


def nightly(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Nights of three sites within seasons; of a third of the epochs three dithers, 104 seconds apart."""
    epochs = np.floor(seasonal(rng, n)) + rng.choice([0.05, 0.3, 0.6], n) + rng.normal(0.0, 0.05, n)
    dithered = epochs[: n // 3]
    return np.concatenate([epochs, dithered + 0.0012, dithered + 0.0024])[rng.permutation(n + 2 * (n // 3))[:n]]


CADENCES = (uniform, seasonal, nightly)


def per_star(curves: LightCurves) -> list[NDArray[np.float64]]:
    return [curves["time"][begin:end] for begin, end in pairwise(curves.offsets)]


def effective_points(when: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many points weigh more than 1e-6 of the heaviest, in each cell (nodes, periods)."""
    distance = np.sort(np.abs(when - NODES[:, None]), axis=1)
    radius = np.sqrt(distance[:, :1] ** 2 + np.log(1e6) * (PAPER.tradeoff * PERIODS) ** 2)
    return np.stack([np.searchsorted(row, limits) for row, limits in zip(distance, radius, strict=True)])


def untrained(name: str) -> tuple[PeriodNetwork, tuple[int, int]]:
    """The network of a variant of params.yaml before any training, and the shape of what it reads."""
    root = find_root()
    variant = read_section(root, f"periods.variants.{name}", Variant)
    representation = read_representation(root, variant.representation)
    torch.manual_seed(SEED)
    return build_network(variant.network, representation), representation.shape


def random_arrays(n: int, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator).to(device)


if __name__ == "__main__":
    main()
