"""Windows cut into rectangles."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from varistar.foundation.padding import padded_windows


@given(
    st.lists(st.tuples(st.integers(0, 50), st.one_of(st.integers(0, 5), st.integers(0, 900))), max_size=40),
    st.integers(1, 3000),
)
def test_rectangles_hold_each_element_once(windows: list[tuple[int, int]], largest: int) -> None:
    begin, length = torch.tensor(windows, dtype=torch.int64).reshape(-1, 2).unbind(1)
    held: dict[int, list[int]] = {}
    for rows, elements, inside in padded_windows(begin, length, largest):
        assert elements.shape == inside.shape == (len(rows), elements.shape[1])
        assert elements.numel() <= max(largest, elements.shape[1])
        assert not elements[~inside].any()
        # no row is mostly padding
        assert torch.all(2 * length[rows] > elements.shape[1] - 4)
        for row, mine, valid in zip(rows.tolist(), elements, inside, strict=True):
            held.setdefault(row, []).extend(mine[valid].tolist())
    assert held == {i: list(np.arange(b, b + n)) for i, (b, n) in enumerate(windows) if n}
