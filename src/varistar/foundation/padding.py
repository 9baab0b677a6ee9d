"""How ragged work is cut into rectangles for an accelerator."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

#: Lengths to which windows are padded: powers of two and half-way between, so that at most a third is padding.
PADDED_LENGTHS = (4, *(step for power in range(3, 31) for step in (2**power, 3 * 2 ** (power - 1))))


def padded_windows(begin: Tensor, length: Tensor, largest: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rectangles that together hold every element of every window once.

    Windows of similar length share a rectangle, so that a sum over a window is a sum over a row: the same in every run,
    unlike one by atomic additions. The device is waited for once.

    Parameters
    ----------
    begin, length : int64 (n_windows,)
        Window `i` holds the elements `begin[i]:begin[i] + length[i]` of some array; windows may overlap or be empty.
    largest : elements that a rectangle may hold, unless a single window is longer.

    Yields
    ------
    windows : int64 (rows,), the windows of this rectangle; empty ones are in none.
    elements : int64 (rows, columns), their elements; beyond a window's end, 0.
    inside : bool (rows, columns), which of these belong to the window.
    """
    lengths, order = torch.sort(length, stable=True)
    limits = torch.tensor((0, *PADDED_LENGTHS), device=length.device)
    ends = torch.searchsorted(lengths, limits, right=True).tolist()
    for columns, (first, last) in zip(PADDED_LENGTHS, pairwise(ends), strict=True):
        rows = max(1, largest // columns)
        place = torch.arange(columns if first < last else 0, device=length.device)
        for start in range(first, last, rows):
            windows = order[start : min(start + rows, last)]
            inside = place < length[windows, None]
            yield windows, (begin[windows, None] + place) * inside, inside
