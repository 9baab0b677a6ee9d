"""Training through `fit` (Lightning, checkpoints, metrics) against a bare PyTorch loop over the same batches.

    python benchmarks/training.py [--variants clump-8-16-32 period-axis] [--examples 4000]

Both train a variant's network, of `periods.variants` or `periods.study` in params.yaml, on the same random arrays for
the same epochs, one thread each, in turns in one process. Seconds are CPU time; `seconds per 10^4 examples and epoch`
are what varistar.sizes estimates the cost of a rebuild from.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from machine import describe
from varistar.experiments.fit import fit
from varistar.experiments.fit_settings import FitSettings
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.periods.network import PeriodNetwork, build_network
from varistar.periods.preprocess import AnyRepresentation, read_representation
from varistar.periods.variants import Variant

EPOCHS = 2


@dataclass(frozen=True)
class Memory:
    """Examples in memory."""

    arrays: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.arrays)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.arrays[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["clump-8-16-32", "period-axis"])
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    root = find_root()
    torch.set_num_threads(1)
    print(describe())
    for name in options.variants:
        section = "variants" if name in lookup(read_params(root), "periods.variants") else "study"
        variant = read_section(root, f"periods.{section}.{name}", Variant)
        representation = read_representation(root, variant.representation)
        seconds = measure(variant, representation, options.examples, options.repeats)
        rate = EPOCHS * options.examples / seconds
        print(
            f"{name:<20} fit {rate[0]:.0f} examples/s, bare PyTorch loop {rate[1]:.0f} examples/s, "
            f"ratio {rate[0] / rate[1]:.2f}; {1e4 / rate[0]:.1f} s per 10^4 examples and epoch",
            flush=True,
        )


def measure(variant: Variant, representation: AnyRepresentation, count: int, repeats: int) -> NDArray[np.float64]:
    """The least CPU time [s] of both, shape (2,)."""
    train, validation = examples(count, representation.shape, 0), examples(count // 8, representation.shape, 1)
    settings = variant.training.model_copy(update={"max_epochs": EPOCHS, "patience": EPOCHS})
    seconds = np.empty((repeats, 2))
    for repeat in range(repeats):
        for column, run in enumerate((with_fit, with_a_bare_loop)):
            torch.manual_seed(0)
            network = build_network(variant.network, representation)
            start = time.process_time()
            run(network, train, validation, settings)
            seconds[repeat, column] = time.process_time() - start
    return seconds.min(axis=0)


def examples(count: int, shape: tuple[int, int], seed: int) -> Memory:
    rng = np.random.default_rng(seed)
    arrays = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Memory(arrays, rng.uniform(1, 30, count).astype(np.float32))


def with_fit(network: PeriodNetwork, train: Memory, validation: Memory, settings: FitSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "fit"
        fit(network, network.head.loss, lambda *_: {}, train, validation, settings, checkpoints, None, "cpu")


def with_a_bare_loop(network: PeriodNetwork, train: Memory, validation: Memory, settings: FitSettings) -> None:
    def raw(inputs: NDArray[np.uint8]) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "mixed"):
            return network(torch.from_numpy(inputs)).float()

    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for epoch in range(settings.max_epochs):
        network.train()
        order = np.random.default_rng(epoch).permutation(len(train))
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            optimizer.zero_grad()
            network.head.loss(raw(train.arrays[rows]), torch.from_numpy(train.targets[rows])).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for start in range(0, len(validation), settings.batch_size):
                raw(validation.arrays[start : start + settings.batch_size])


if __name__ == "__main__":
    main()
