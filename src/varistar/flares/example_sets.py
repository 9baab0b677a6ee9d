"""Examples as networks learn from them, read from the array sets that `examples` writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from varistar.bulk.arrays import ArraySet, join_arrays, open_arrays
from varistar.foundation.errors import DataError

#: Seed of the order of windows.
MIXED = 88


class WindowExamples:
    """Windows with their labels, as `fit` reads them: these of an array set, in this order."""

    def __init__(self, arrays: ArraySet, rows: NDArray[np.int64]) -> None:
        self.arrays = arrays
        self.rows = rows
        self.targets: NDArray[np.float32] = arrays.index["label"].to_numpy()[rows].astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Windows of flux, float32 (len(rows), length)."""
        return self.arrays.gather(self.rows[rows])


class PointExamples:
    """Stretches with label and weight of every cadence, as `fit` reads them."""

    def __init__(self, arrays: ArraySet) -> None:
        self.arrays = arrays
        self.targets: NDArray[np.float32] = arrays.gather(np.arange(len(arrays)))[:, -2:].astype(np.float32)

    def __len__(self) -> int:
        return len(self.targets)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the network reads, float32 (len(rows), channels, length)."""
        return self.arrays.gather(rows)[:, :-2].astype(np.float32)


def open_examples(folders: Sequence[Path], split: str) -> WindowExamples | PointExamples:
    """The examples of a split, of whichever kind they are.

    Windows are mixed once and for all, as the published code does before it trains without shuffling: star after star,
    the last star's would weigh most.

    Raises
    ------
    DataError
        When there is none.
    """
    arrays = join_arrays([open_arrays(folder / split) for folder in folders])
    if not len(arrays):
        raise DataError(f"{folders[0] / split}: no examples; there are too few stars for this split")
    if len(arrays.shape) == 2:
        return WindowExamples(arrays, np.random.default_rng(MIXED).permutation(len(arrays)))
    return PointExamples(arrays)
