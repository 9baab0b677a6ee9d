"""The catalog's columns agree with each other and with the truth."""

import numpy as np
import pytest

from varistar.sky.population import KINDS, MAGNITUDES, Kind, Star, draw_star

CENTRE = (100.0, -30.0)


def draw(kind: Kind, count: int = 200) -> list[Star]:
    return [draw_star(88, kind, i, 2, CENTRE) for i in range(count)]


def column(stars: list[Star], name: str) -> np.ndarray:
    return np.array([star.gaia[name] for star in stars])


def absolute_g(stars: list[Star]) -> np.ndarray:
    """000, eqs. 1 and 2."""
    distance = np.abs(1000 / column(stars, "parallax"))
    return column(stars, "phot_g_mean_mag") - 5 * np.log10(distance) + 5


@pytest.mark.parametrize("kind", KINDS)
def test_magnitudes_keep_to_their_range(kind: Kind) -> None:
    mags = np.array([star.g_mag for star in draw(kind)])
    mean, deviation, brightest, faintest = MAGNITUDES[kind]
    assert mags.min() >= brightest and mags.max() <= faintest
    assert np.median(mags) == pytest.approx(mean, abs=0.5 * deviation)


def test_clump_stars_are_found_by_the_papers_equations() -> None:
    stars = draw("clump", 600)
    found = (absolute_g(stars) > -0.5) & (absolute_g(stars) < 1.5)
    assert found.mean() > 0.95
    trusted = column(stars, "parallax") > 5 * column(stars, "parallax_error")
    assert (found & trusted).mean() > 0.8
    assert np.median(absolute_g(stars)[trusted]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("kind", ["constant", "eclipsing", "semiregular"])
def test_other_stars_are_not_taken_for_clump_stars(kind: Kind) -> None:
    stars = draw(kind)
    trusted = column(stars, "parallax") > 5 * column(stars, "parallax_error")
    found = (absolute_g(stars) > -0.5) & (absolute_g(stars) < 1.5) & trusted
    assert found.mean() < 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quasar"])
def test_radius_temperature_luminosity_and_gravity_agree(kind: Kind) -> None:
    stars = draw(kind)
    radius, luminosity, teff = (column(stars, name) for name in ("radius_val", "lum_val", "teff"))
    np.testing.assert_allclose(luminosity, radius**2 * (teff / 5772.0) ** 4, rtol=1e-9)
    mass = 10 ** (column(stars, "logg") - 4.438) * radius**2
    assert mass.min() > 0.1 and mass.max() < 6.0
    assert teff.min() > 2800 and teff.max() < 8500


def test_the_sun_would_be_the_sun() -> None:
    stars = [star for star in draw("constant", 400) if abs(star.gaia["teff"] - 5772) < 100]
    assert np.median(column(stars, "radius_val")) == pytest.approx(1.0, abs=0.15)
    assert np.median(column(stars, "logg")) == pytest.approx(4.44, abs=0.1)


def test_parallaxes_scatter_by_their_errors() -> None:
    stars = draw("constant", 400)
    teff, luminosity = column(stars, "teff"), column(stars, "lum_val")
    solar = abs(teff - 5772) < 300
    # near the Sun's temperature the bolometric correction is 0.06 within 0.02 mag
    modulus = column(stars, "phot_g_mean_mag") - (4.74 - 2.5 * np.log10(luminosity) - 0.06)
    true_parallax = 1000 / 10 ** (modulus / 5 + 1)
    pull = (column(stars, "parallax") - true_parallax) / np.hypot(column(stars, "parallax_error"), 0.01 * true_parallax)
    assert 0.6 < np.std(pull[solar]) < 1.3


def test_quasars_have_no_stellar_parameters_and_no_parallax() -> None:
    stars = draw("quasar", 400)
    for name in ("teff", "logg", "radius_val", "lum_val", "mh", "vbroad"):
        assert np.isnan(column(stars, name)).all()
    pull = column(stars, "parallax") / column(stars, "parallax_error")
    assert abs(pull.mean()) < 0.2 and np.std(pull) == pytest.approx(1.0, abs=0.15)


def test_hot_rotators_turn_as_fast_as_their_lines_are_broad() -> None:
    stars = [s for s in draw("rotator", 600) if s.subtype == "hot" and np.isfinite(s.gaia["vbroad"])]
    period = np.array([star.period_days for star in stars])
    speed = 50.6 * column(stars, "radius_val") / period
    broadening = column(stars, "vbroad")
    assert len(stars) > 10
    assert np.all(broadening < np.hypot(speed, 5.0) + 5 * column(stars, "vbroad_error"))
    sine = np.sin(np.radians([star.inclination for star in stars]))
    np.testing.assert_allclose(broadening, np.hypot(speed * sine, 5), atol=5 * column(stars, "vbroad_error").max())


def test_positions_are_within_half_a_degree_of_the_field() -> None:
    stars = draw("clump")
    east = (column(stars, "ra_deg") - CENTRE[0]) * np.cos(np.radians(column(stars, "dec_deg")))
    north = column(stars, "dec_deg") - CENTRE[1]
    assert np.hypot(east, north).max() < 0.51
    assert np.hypot(east, north).max() > 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_only_periodic_kinds_have_periods(kind: Kind) -> None:
    periods = np.array([star.period_days for star in draw(kind, 50)])
    if kind in ("clump", "quasar", "constant"):
        assert np.isnan(periods).all()
    else:
        assert np.all(periods > 0.04) and np.all(periods <= 200.0)
