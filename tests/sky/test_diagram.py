"""The diagram's relations meet where they join, give the Sun the Sun's numbers, and hold the paper's populations."""

from collections import Counter

import numpy as np
import pytest

from varistar.sky.diagram import (
    SEQUENCE_COLOUR,
    Place,
    Population,
    catalog_of_star,
    draw_place,
    dwarf,
    gaia_magnitude,
    luminosity,
    population,
    red_giant,
    sequence,
    temperature,
    tess_magnitude,
    visual_magnitude,
)


def test_the_sun_is_the_sun() -> None:
    sun = Place(4.67, 0.82, 1.0, 0.0, False)
    # the colour relation scatters by 61 K and the Sun's colour is known to 0.02, another 60 K
    assert sun.teff == pytest.approx(5772, abs=100)
    assert sun.luminosity == pytest.approx(1.0, abs=0.04)
    assert sun.radius == pytest.approx(1.0, abs=0.04)
    assert sun.logg == pytest.approx(4.438, abs=0.04)
    # Willmer (2018): g = 5.05 (AB, SDSS), V = 4.81, G = 4.67, and T = 4.26 of Stassun et al. (2019)
    assert visual_magnitude(5.05, 0.82) == pytest.approx(4.81, abs=0.03)
    assert gaia_magnitude(5.05, 0.82) == pytest.approx(4.67, abs=0.03)
    assert tess_magnitude(4.67, 0.82) == pytest.approx(4.26, abs=0.04)


def test_relations_join_without_a_step() -> None:
    def step(values: list[float]) -> float:
        return float(np.abs(np.diff(values)).max())

    assert step([-2.5 * np.log10(luminosity(0.0, t)) for t in np.arange(2500.0, 40000.0, 2.0)]) < 0.02
    assert step([np.log10(temperature(c, 0.0, False)) for c in np.arange(-0.1, 4.5, 0.002)]) < 0.002
    assert step([gaia_magnitude(0.0, c) for c in np.arange(-0.45, 4.5, 0.002)]) < 0.01
    cooler = [temperature(c, 0.0, True) for c in np.arange(0.0, 3.3, 0.01)]
    assert np.all(np.diff(cooler) < 0) and min(cooler) > 2500


def test_main_sequence_runs_from_o_to_m() -> None:
    rng = np.random.default_rng(0)
    hottest, coolest = dwarf(rng, SEQUENCE_COLOUR[0]), dwarf(rng, SEQUENCE_COLOUR[-1])
    assert hottest.teff > 38000 and 15 < hottest.mass < 60 and 5 < hottest.radius < 20
    assert coolest.teff < 2800 and coolest.mass < 0.25 and coolest.radius < 0.25
    assert np.all(np.diff([sequence(colour) for colour in SEQUENCE_COLOUR]) > 0)


@pytest.mark.parametrize(
    ("abs_g", "colour", "expected"),
    [
        (1.0, 0.59, "hot"),
        (-5.0, 0.3, "hot"),
        (0.0, 2.0, "giant"),
        (0.01, 2.0, "subgiant"),
        (0.5, 1.22, "subgiant"),
        (5.6, 2.0, "dwarf"),
        (5.59, 2.0, "subgiant"),
        (4.67, 0.82, "dwarf"),
    ],
)
def test_populations_are_cut_as_in_the_paper(abs_g: float, colour: float, expected: str) -> None:
    assert population(abs_g, colour) == expected


@pytest.mark.parametrize("wanted", ["hot", "giant", "dwarf", "subgiant"])
def test_places_are_drawn_in_their_population(wanted: Population) -> None:
    rng = np.random.default_rng(1)
    places = [draw_place(rng, wanted) for _ in range(300)]
    assert Counter(place.population for place in places) == {wanted: 300}
    assert np.ptp([place.abs_g for place in places]) > 1.0


def test_red_giants_climb_to_low_gravity() -> None:
    rng = np.random.default_rng(1)
    foot, tip = ([red_giant(rng, m).logg for _ in range(50)] for m in (3.0, -2.6))
    assert np.median(foot) == pytest.approx(3.4, abs=0.25) and np.median(tip) == pytest.approx(0.5, abs=0.3)


def test_absolute_magnitude_is_that_of_the_measured_parallax() -> None:
    rng = np.random.default_rng(2)
    far = Place(-2.5, 2.0, 1.2, 0.0, True)
    entries = [catalog_of_star(rng, 18.5, far, far.radius, np.nan, np.nan) for _ in range(400)]
    parallax = np.array([entry["parallax"] for entry in entries])
    abs_g = np.array([entry["abs_g_mag"] for entry in entries])
    assert 0 < np.sum(parallax <= 0) < 400
    np.testing.assert_array_equal(np.isnan(abs_g), parallax <= 0)
    near = parallax > 0
    mean_g = np.array([entry["phot_g_mean_mag"] for entry in entries])
    np.testing.assert_allclose(abs_g[near], mean_g[near] - 5 * np.log10(1000 / parallax[near]) + 5)
