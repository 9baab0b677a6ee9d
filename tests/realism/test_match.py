"""Partners of like magnitude, the same number for each real star, and none taken twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varistar.realism.match import MOST, TOLERANCE, match_magnitudes

magnitudes = st.lists(st.floats(12, 15), max_size=25).map(np.array)


@given(magnitudes, st.lists(st.floats(12, 15), max_size=80).map(np.array))
def test_the_matched_sample(real: np.ndarray, simulated: np.ndarray) -> None:
    stay, chosen = match_magnitudes(real, simulated)
    assert len(np.unique(chosen)) == len(chosen) and len(np.unique(stay)) == len(stay)
    assert len(chosen) % max(len(stay), 1) == 0
    if len(stay):
        rounds = len(chosen) // len(stay)
        assert 1 <= rounds <= MOST
        # Sorted values pair off within the tolerance, if any pairing does.
        apart = np.sort(simulated[chosen]) - np.repeat(np.sort(real[stay]), rounds)
        assert np.abs(apart).max() <= TOLERANCE + 1e-12
    for star in set(range(len(real))) - set(stay.tolist()):
        near = np.flatnonzero(np.abs(simulated - real[star]) <= TOLERANCE)
        assert set(near.tolist()) <= set(chosen.tolist())


def test_the_faint_and_the_bright_are_chosen_as_often_as_they_are_real() -> None:
    rng = np.random.default_rng(1)
    real = np.concatenate([np.full(3, 13.0), np.full(7, 14.0)])
    simulated = rng.uniform(12, 17, 1000)
    stay, chosen = match_magnitudes(real, simulated)
    assert stay.tolist() == list(range(10))
    rounds = len(chosen) // 10
    assert rounds >= 10
    assert (np.abs(simulated[chosen] - 13.0) < 0.3).sum() == 3 * rounds


@pytest.mark.parametrize("simulated", [np.empty(0), np.array([16.0, 9.0])])
def test_without_partners_nothing_stays(simulated: np.ndarray) -> None:
    stay, chosen = match_magnitudes(np.array([13.0, 14.0]), simulated)
    assert len(stay) == len(chosen) == 0
