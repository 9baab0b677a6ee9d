"""Training through `fit` (Lightning, checkpoints, metrics) against a bare PyTorch loop over the same batches.

Both train the paper's network on the same images for the same epochs, one thread each, in turns in one process.
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
from varistar.periods.network import PeriodNetwork
from varistar.periods.variants import NetworkSettings

EPOCHS = 2


@dataclass(frozen=True)
class Memory:
    """Examples in memory."""

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[rows]


def examples(count: int, seed: int) -> Memory:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 1, 64, 64), dtype=np.uint8)
    return Memory(images, rng.uniform(1, 30, count).astype(np.float32))


def with_fit(train: Memory, validation: Memory, settings: FitSettings) -> None:
    torch.manual_seed(0)
    network = PeriodNetwork(NetworkSettings(), (64, 64))
    with tempfile.TemporaryDirectory() as folder:
        fit(
            network,
            network.head.loss,
            lambda raw, target: {},
            train,
            validation,
            settings,
            Path(folder) / "fit",
            None,
            "cpu",
        )


def with_a_bare_loop(train: Memory, validation: Memory, settings: FitSettings) -> None:
    torch.manual_seed(0)
    network = PeriodNetwork(NetworkSettings(), (64, 64))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for epoch in range(settings.max_epochs):
        network.train()
        order = np.random.default_rng(epoch).permutation(len(train))
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            inputs, targets = torch.from_numpy(train.images[rows]), torch.from_numpy(train.targets[rows])
            optimizer.zero_grad()
            network.head.loss(network(inputs), targets).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for start in range(0, len(validation), settings.batch_size):
                network(torch.from_numpy(validation.images[start : start + settings.batch_size]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, validation = examples(arguments.examples, 0), examples(arguments.examples // 8, 1)
    settings = FitSettings(max_epochs=EPOCHS, patience=EPOCHS, shuffle=True)
    seconds = np.empty((arguments.repeats, 2))
    for repeat in range(arguments.repeats):
        for column, run in enumerate((with_fit, with_a_bare_loop)):
            start = time.process_time()
            run(train, validation, settings)
            seconds[repeat, column] = time.process_time() - start
    rate = EPOCHS * arguments.examples / seconds.min(axis=0)
    print(describe())
    print(f"fit {rate[0]:.0f} examples/s, bare PyTorch loop {rate[1]:.0f} examples/s, ratio {rate[0] / rate[1]:.2f}")


if __name__ == "__main__":
    main()
