"""A small survey of made-up stars, several cameras and five seasons."""

from collections.abc import Callable

import numpy as np
import pytest

from varistar.lightcurves.assemble import assemble
from varistar.lightcurves.table import LightCurves, concatenate


@pytest.fixture(scope="session")
def make_survey() -> Callable[..., LightCurves]:
    """A function that makes `n` stars of normal noise; `scatter` is in units of the stated error of 0.01 mag."""

    def make(n: int, seed: int, scatter: float = 2.0, gap: float = 100.0, bright: float = 12.5) -> LightCurves:
        return concatenate([_star(np.random.default_rng([seed, i]), i, scatter, gap, bright) for i in range(n)])

    return make


def _star(rng: np.random.Generator, index: int, scatter: float, gap: float, bright: float) -> LightCurves:
    """One star, observed in every year but for `gap` days, by three cameras."""
    season = np.sort(rng.uniform(0, 365.25 - gap, size=(5, 60)), axis=1)
    start = rng.uniform(0, 365.25)
    time = (58484.5 + start + 365.25 * np.arange(-1, 4)[:, None] + season).ravel()
    m = len(time)
    mag = bright + 0.1 * (index % 10) + scatter * 0.01 * rng.standard_normal(m)
    columns = {
        "time": time,
        "flux": 10 ** (-0.4 * (mag - 16.4)),
        "flux_err": np.full(m, 0.01),
        "mag": mag,
        "mag_err": 0.01 * rng.uniform(0.8, 1.2, m),
        "limit": rng.normal(17.5, 0.3, m),
        "fwhm": rng.normal(1.5, 0.05, m),
        "camera": rng.choice(["ba", "bB", "bC"], m),
        "band": np.full(m, "g"),
        "quality": (rng.random(m) < 0.1).astype(np.int32),
    }
    return assemble(columns, f"star {index}", "MJD_UTC", survey="made up")
