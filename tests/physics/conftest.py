"""butterpy, the oracle of the spotted stars, run from a seed without leaving a trace in NumPy's global generator."""

from collections.abc import Callable, Iterator

import butterpy
import numpy as np
import pytest

from varistar.physics.spot_prior import SpotParameters


@pytest.fixture
def butterpy_surface() -> Iterator[Callable[[SpotParameters, int, int], butterpy.Surface]]:
    """A function that gives butterpy's surface with its regions for (parameters, duration_days, seed)."""

    def emerge(parameters: SpotParameters, duration_days: int, seed: int) -> butterpy.Surface:
        np.random.seed(seed)  # noqa: NPY002
        surface = butterpy.Surface()
        surface.emerge_regions(
            ndays=duration_days,
            activity_level=parameters.activity,
            butterfly=parameters.butterfly,
            cycle_period=parameters.cycle_period,
            cycle_overlap=parameters.cycle_overlap,
            max_lat=parameters.max_latitude,
            min_lat=parameters.min_latitude,
        )
        return surface

    before = np.random.get_state()  # noqa: NPY002
    yield emerge
    np.random.set_state(before)  # noqa: NPY002
