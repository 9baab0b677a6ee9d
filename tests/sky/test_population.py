"""The catalog's columns agree with each other and with the truth, and periods with the stars that have them."""

from collections import Counter

import numpy as np
import pytest

from varistar.physics.pulsation import oscillation_period
from varistar.sky.diagram import population, sequence
from varistar.sky.population import HALF_SIDE, KINDS, MAGNITUDES, SHARES, Kind, Star, draw_star

CENTRE = (100.0, -30.0)
SPOTTED = ("rotator", "young")
APERIODIC = ("clump", "quasar", "irregular", "constant")


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


@pytest.mark.parametrize("kind", KINDS)
def test_a_star_depends_on_seed_kind_and_index_alone(kind: Kind) -> None:
    star, again, elsewhere = (draw_star(88, kind, 7, field, CENTRE) for field in (2, 2, 5))
    assert star == again and star.gaia == elsewhere.gaia
    assert draw_star(89, kind, 7, 2, CENTRE).g_mag != star.g_mag
    assert draw_star(88, kind, 8, 2, CENTRE).star_id != star.star_id


def test_clump_stars_are_found_by_the_papers_equations() -> None:
    stars = draw("clump", 600)
    found = (absolute_g(stars) > -0.5) & (absolute_g(stars) < 1.5)
    assert found.mean() > 0.95
    trusted = column(stars, "parallax") > 5 * column(stars, "parallax_error")
    assert (found & trusted).mean() > 0.8
    assert np.median(absolute_g(stars)[trusted]) == pytest.approx(0.5, abs=0.06)


def test_stars_of_any_kind_come_in_the_papers_populations() -> None:
    counts = Counter(star.population for star in draw("constant", 3000))
    for name, share in SHARES.items():
        # five standard deviations of a binomial share
        assert counts[name] / 3000 == pytest.approx(share, abs=5 * np.sqrt(share / 3000))
    assert set(Counter(star.population for star in draw("rotator"))) == set(SHARES)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quasar"])
def test_radius_temperature_luminosity_and_gravity_agree(kind: Kind) -> None:
    stars = draw(kind)
    radius, luminosity, teff = (column(stars, name) for name in ("radius_val", "lum_val", "teff"))
    np.testing.assert_allclose(luminosity, radius**2 * (teff / 5772.0) ** 4, rtol=1e-9)
    mass = 10 ** (column(stars, "logg") - 4.438) * radius**2
    np.testing.assert_allclose(mass, [star.place.mass for star in stars if star.place], rtol=1e-9)
    assert mass.min() > 0.08 and mass.max() < 30.0
    assert teff.min() > 2400 and teff.max() < 42000


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quasar"])
def test_population_and_photometry_follow_from_the_place(kind: Kind) -> None:
    for star in draw(kind, 50):
        assert star.place is not None
        assert star.population == population(star.place.abs_g, star.place.colour)
        colour = star.gaia["phot_bp_mean_mag"] - star.gaia["phot_rp_mean_mag"]
        assert colour == pytest.approx(star.place.colour)
        # g, V and T order as red or blue light weighs
        bluish = (star.g_mag - star.v_mag, star.v_mag - star.gaia["phot_g_mean_mag"])
        assert (min(bluish) > -0.01) == (colour > 0.4) or -0.2 < min(bluish) < 0.05
        assert star.gaia["tmag"] < star.gaia["phot_g_mean_mag"] or colour < 0.1
        assert star.gaia["catwise_w1"] < star.gaia["tmag"] or colour < 0.2
        assert abs(star.gaia["catwise_w1"] - star.gaia["catwise_w2"]) < 0.35


def test_parallaxes_scatter_by_their_errors() -> None:
    stars = draw("constant", 400)
    modulus = column(stars, "phot_g_mean_mag") - [star.place.abs_g for star in stars if star.place]
    pull = (column(stars, "parallax") - 1000 / 10 ** (modulus / 5 + 1)) / column(stars, "parallax_error")
    assert abs(pull.mean()) < 0.2 and np.std(pull) == pytest.approx(1.0, abs=0.15)


def test_quasars_have_no_stellar_parameters_and_no_parallax() -> None:
    stars = draw("quasar", 400)
    assert {star.population for star in stars} == {""} and {star.place for star in stars} == {None}
    for name in ("teff", "logg", "radius_val", "lum_val", "mh", "vbroad"):
        assert np.isnan(column(stars, name)).all()
    pull = column(stars, "parallax") / column(stars, "parallax_error")
    assert abs(pull.mean()) < 0.2 and np.std(pull) == pytest.approx(1.0, abs=0.15)
    np.testing.assert_array_equal(np.isnan(column(stars, "abs_g_mag")), column(stars, "parallax") <= 0)
    # Stern et al. (2012): W1 - W2 > 0.8
    assert np.mean(column(stars, "catwise_w1") - column(stars, "catwise_w2") > 0.8) > 0.9


@pytest.mark.parametrize("kind", ["rotator", "eclipsing"])
def test_lines_are_as_broad_as_the_star_turns(kind: Kind) -> None:
    stars = [star for star in draw(kind, 600) if np.isfinite(star.gaia["vbroad"])]
    assert len(stars) > 100
    # of a pair, the catalog's radius is that of a star with both lights
    companions = [
        star.binary.surface_ratio * (star.binary.radii[1] / star.binary.radii[0]) ** 2 if star.binary else 0.0
        for star in stars
    ]
    radius = column(stars, "radius_val") / np.sqrt(1.0 + np.array(companions))
    speed = 50.6 * radius / np.array([star.period_days for star in stars])
    sine = np.sin(np.radians([star.inclination for star in stars]))
    expected = np.maximum(np.hypot(speed * sine, 5), 1.0)
    pull = (column(stars, "vbroad") - expected) / column(stars, "vbroad_error")
    assert np.abs(pull).max() < 5 and np.std(pull) == pytest.approx(1.0, abs=0.2)


def test_positions_fill_the_square_around_the_field() -> None:
    for centre in ((100.0, -30.0), (0.5, 62.0), (359.0, -80.0)):
        stars = [draw_star(88, "clump", i, 2, centre) for i in range(400)]
        ra, dec = np.radians(column(stars, "ra_deg")), np.radians(column(stars, "dec_deg"))
        ra0, dec0 = np.radians(centre)
        # the gnomonic projection
        cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
        east = np.degrees(np.cos(dec) * np.sin(ra - ra0) / cosine)
        north = np.degrees((np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / cosine)
        side = np.degrees(np.tan(np.radians(HALF_SIDE)))
        for plane in (east, north):
            assert np.abs(plane).max() < side and np.abs(plane).max() > 0.97 * side
            # uniform: a quarter of the stars in each quarter, within four binomial deviations
            np.testing.assert_allclose(np.histogram(plane, 4, (-side, side))[0], 100, atol=35)
        assert column(stars, "ra_deg").min() >= 0 and column(stars, "ra_deg").max() < 360


@pytest.mark.parametrize("kind", KINDS)
def test_only_periodic_kinds_have_periods(kind: Kind) -> None:
    stars = draw(kind, 60)
    periods = np.array([star.period_days for star in stars])
    if kind in APERIODIC:
        assert np.isnan(periods).all()
    elif kind == "young":
        assert all(np.isnan(star.period_days) == (star.subtype == "burster") for star in stars)
    else:
        assert np.all(periods > 0.04)
    assert all(bool(star.spots) == (star.subtype == "spotted" or kind == "rotator") for star in stars)
    assert all((star.binary is not None) == (kind == "eclipsing") for star in stars)


def test_two_fifths_of_the_rotators_have_spots_of_their_own_lifetime() -> None:
    spots = Counter(star.spots for star in draw("rotator", 600))
    assert spots["independent"] / 600 == pytest.approx(0.4, abs=0.1)
    assert min(spots["paper"], spots["stable"]) > 100


def test_giants_oscillate_at_nu_max_of_their_own_gravity() -> None:
    stars = draw("oscillating")
    periods = np.array([star.period_days for star in stars])
    np.testing.assert_allclose(
        periods, [oscillation_period(star.gaia["teff"], star.gaia["logg"]) for star in stars], rtol=1e-9
    )
    assert periods.min() >= 1.0 and periods.max() <= 35.0 and np.percentile(periods, 90) > 10.0
    assert column(stars, "logg").max() < 2.1


def test_cepheids_keep_to_their_period_luminosity_relations() -> None:
    stars = draw("cepheid", 500)
    for subtype, slope in (("DCEP", -2.6), ("DCEPS", -2.6), ("CW", -1.7)):
        ours = [star for star in stars if star.subtype == subtype and star.place]
        fit = np.polyfit([np.log10(s.period_days) for s in ours], [s.place.abs_g for s in ours if s.place], 1)
        assert fit[0] == pytest.approx(slope, abs=0.25)
    at_ten = {
        subtype: np.mean(
            [s.place.abs_g + 2.6 * (np.log10(s.period_days) - 1) for s in stars if s.subtype == subtype and s.place]
        )
        for subtype in ("DCEP", "DCEPS", "CW")
    }
    assert at_ten["DCEPS"] < at_ten["DCEP"] < at_ten["CW"] - 1.0


def test_bluer_contact_binaries_have_longer_periods() -> None:
    pairs = [star for star in draw("eclipsing", 800) if star.subtype == "EW" and star.place]
    colour = np.array([star.place.colour for star in pairs if star.place])
    period = np.array([star.period_days for star in pairs])
    assert np.corrcoef(colour, np.log10(period))[0, 1] < -0.8
    # medians of the VSX's EW stars: 0.37 d, from 0.24 to 0.81 d
    assert np.median(period) == pytest.approx(0.37, abs=0.12) and period.min() > 0.15 and period.max() < 1.0


def test_young_stars_stand_above_the_main_sequence() -> None:
    for star in draw("young"):
        assert star.place is not None
        assert 0.69 < sequence(star.place.colour) - star.place.abs_g < 2.21
