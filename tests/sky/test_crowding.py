"""The light of neighbours against the integral of the star counts that it is drawn from."""

import numpy as np
import pytest
from scipy.integrate import quad

from varistar.sky.crowding import (
    APERTURE,
    BRIGHTEST,
    COUNTS_AT_17,
    COUNTS_IN_PLANE,
    FAINTEST,
    PLANE_SCALE,
    SLOPE,
    neighbours_light,
)

DRAWS = 4000


def lights(mag: float, latitude: float, draws: int = DRAWS) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.array([neighbours_light(rng, mag, latitude) for _ in range(draws)])


def moment(mag: float, latitude: float, power: float) -> float:
    """Integral over the neighbours of an aperture of their light, in the star's, to a power."""
    at_17 = COUNTS_AT_17 + COUNTS_IN_PLANE * np.exp(-abs(latitude) / PLANE_SCALE)

    def density(fainter: float) -> float:
        return SLOPE * np.log(10) * at_17 * 10 ** (SLOPE * (mag + fainter - 17)) * 10 ** (-0.4 * power * fainter)

    return APERTURE * quad(density, -BRIGHTEST, FAINTEST)[0]


@pytest.mark.parametrize(("mag", "latitude"), [(12.0, 5.0), (15.0, -40.0), (17.5, 0.0), (17.5, 80.0)])
def test_number_and_light_of_neighbours_are_those_of_the_counts(mag: float, latitude: float) -> None:
    light = lights(mag, latitude)
    # a compound Poisson sum: its mean is the first moment, its variance the second
    error = np.sqrt(moment(mag, latitude, 2) / DRAWS)
    assert light.mean() == pytest.approx(moment(mag, latitude, 1), abs=5 * error)
    alone = np.exp(-moment(mag, latitude, 0))
    assert np.mean(light == 0) == pytest.approx(alone, abs=5 * np.sqrt(alone * (1 - alone) / DRAWS))


def test_the_plane_is_crowded_on_both_sides_alike_and_faint_stars_suffer_most() -> None:
    assert lights(14.0, 0.0, 500).mean() > lights(14.0, 30.0, 500).mean() > 0
    np.testing.assert_array_equal(lights(14.0, 20.0, 50), lights(14.0, -20.0, 50))
    assert lights(17.0, 0.0, 500).mean() > lights(13.0, 0.0, 500).mean()


def test_light_is_never_negative_and_no_neighbour_is_much_brighter_than_the_star() -> None:
    light = lights(7.0, 80.0, 20_000)
    # so bright a star has two neighbours less than once in these draws: each light is one neighbour's
    assert 20_000 * moment(7.0, 80.0, 0) ** 2 / 2 < 0.2
    assert light.min() == 0.0
    one = light[light > 0]
    assert len(one) > 20
    assert one.min() >= 10 ** (-0.4 * FAINTEST) and one.max() <= 10 ** (0.4 * BRIGHTEST)
