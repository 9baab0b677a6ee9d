"""The planet against its limits, its own energy balance and the integrals it rests on."""

import math

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.models import BlackBody
from scipy.integrate import quad, solve_ivp

from varistar.flares import evaporation as ev
from varistar.flares.evaporation import Flaring, Host, Planet, Structure, Track, evolve
from varistar.foundation.errors import ConfigError

PLANET, HOST, FLARING = Planet(), Host(), Flaring()


@pytest.fixture(scope="module")
def quiet() -> Track:
    return evolve(PLANET, HOST, step_myr=2.0)


def test_planck_integrals_match_astropy() -> None:
    for teff, band in ((4970.0, (100.0, 400.0)), (9000.0, (600.0, 1000.0)), (2500.0, (200.0, 5000.0))):
        body = BlackBody(teff * u.K, scale=1.0 * u.erg / u.cm**2 / u.s / u.AA / u.sr)
        expected, _ = quad(lambda nm, body=body: body(nm * u.nm).value, *band, epsabs=0.0, epsrel=1e-8)
        # sigma T^4 / pi is the radiance of all wavelengths; astropy's is per Angstrom
        radiance = ev.STEFAN * ev.band_light(teff, *band) / math.pi / 10.0
        assert radiance == pytest.approx(expected, rel=1e-6)
    assert ev.band_light(5000.0, 1.0, 1e7) == pytest.approx(5000.0**4, rel=1e-6)


def test_a_flare_on_a_star_as_hot_as_itself_has_no_contrast() -> None:
    assert ev.contrast(9000.0) == pytest.approx(1.0, rel=1e-12)
    values = [ev.contrast(teff) for teff in (3000.0, 4970.0, 7000.0, 9000.0, 12000.0)]
    assert np.all(np.diff(values) < 0.0) and values[-1] < 1.0
    assert ev.contrast(4970.0) == pytest.approx(10.70, abs=0.01)
    assert ev.contrast(4970.0, (600.0, 1000.0)) == pytest.approx(1.0, rel=1e-12)


def test_the_flare_factor_goes_through_bisikalos_models() -> None:
    np.testing.assert_allclose(ev.flare_factor(np.array([1.0, 10.0, 100.0, 1000.0])), [1.0, 1.9, 4.0, 17.5], rtol=1e-12)
    flux = np.geomspace(1.0, 1e5, 400)
    assert np.all(np.diff(ev.flare_factor(flux)) > 0.0)
    assert ev.flare_factor(np.array([1e4]))[0] == pytest.approx(17.5**2 / 4.0)


def test_the_mean_factor_is_the_integral_over_amplitudes() -> None:
    for alpha in (0.0, 1.0, 2.2):
        flaring = Flaring(alpha=alpha, share=0.3)
        psi = ev.contrast(HOST.teff)

        def law(a: float, alpha: float = alpha) -> float:
            return a**-alpha

        def weighted(a: float, alpha: float = alpha, psi: float = psi) -> float:
            return float(ev.flare_factor(np.array([1.0 + psi * a]))[0]) * a**-alpha

        bounds = (flaring.smallest, flaring.largest)
        knee = [9.0 / psi]
        mean = quad(weighted, *bounds, points=knee)[0] / quad(law, *bounds)[0]
        assert ev.mean_flare_factor(flaring, HOST.teff) == pytest.approx(1.0 + 0.3 * (mean - 1.0), rel=1e-5)


def test_shape_integrals_match_quadrature() -> None:
    for n in (1, 2):
        for x in (0.05, 0.4, 0.9):
            expected, _ = quad(lambda v, n=n: v**n * (1.0 / v - 1.0) ** 1.5, x, 1.0)
            assert ev.shape_integral(n, np.array([x]))[0] == pytest.approx(expected, rel=1e-7)


def test_cores_have_the_published_radii() -> None:
    assert ev.core_radius(1.0, 0.0, 0.0) == pytest.approx(1.1034)  # all rock
    assert ev.core_radius(1.0, 1.0, 0.0) == pytest.approx(0.7932)  # all iron
    assert ev.core_radius(1.0, 0.0, 1.0) == pytest.approx(1.5832)  # all ice
    assert ev.core_radius(1.0, 1.0 / 3.0, 0.0) == pytest.approx(1.0, abs=0.01)  # Earth
    with pytest.raises(ValueError, match="iron or ice"):
        Planet(iron=0.3, ice=0.3)


def test_the_structure_solves_owen_and_wus_two_equations() -> None:
    """Eq. 4, the envelope's mass, and eq. 13, its cooling, at the boundary that the table gives."""
    structure = Structure(PLANET, HOST)
    core_cm = ev.core_radius(5.0, 1 / 3, 0.0) * ev.EARTH_RADIUS
    teq = 4970.0 * math.sqrt(1.345 * ev.SUN_RADIUS / (2 * 0.1083 * ev.AU))
    assert teq == pytest.approx(845.0, abs=1.0)  # David et al. (2019b)
    particle_k = ev.PARTICLE / ev.BOLTZMANN
    gm = ev.GRAVITY * 5.0 * ev.EARTH_MASS
    for fraction, age in ((0.05, 23.0), (0.01, 800.0), (0.2, 3000.0)):
        log_q = math.log(fraction) - math.log(max(age, 100.0) * ev.MYR) / (2.0 + ev.OPACITY_P)
        r = core_cm * (1.0 + math.exp(np.interp(log_q, structure._log_q, structure._log_depth)))
        integrals = [quad(lambda v, n=n: v**n * (1 / v - 1) ** 1.5, core_cm / r, 1.0)[0] for n in (1, 2)]
        pressure_law = 64 * math.pi * ev.STEFAN * teq ** (4 - 0.45) * r * integrals[1] / integrals[0]
        pressure_law *= max(age, 100.0) * ev.MYR / (3 * ev.OPACITY * 5.0 * ev.EARTH_MASS * fraction)
        density = particle_k / teq * pressure_law ** (1 / 1.68)
        steep = 0.4 * gm * particle_k / (teq * r)
        mass = 4.0 * math.pi * r**3 * density * steep**1.5 * integrals[1]
        assert mass / (5.0 * ev.EARTH_MASS) == pytest.approx(fraction, rel=1e-4)
        # above it an isothermal layer up to an optical depth of 2/3, kappa P = 2/3 g
        top = float(structure.radius(np.array([5.0 * fraction]), age)[0]) * ev.EARTH_RADIUS
        pressure = density * teq / particle_k * math.exp(-(top - r) * gm * particle_k / (teq * r**2))
        depth = ev.OPACITY * pressure**0.68 * teq**0.45 * pressure / (gm / r**2)
        assert depth == pytest.approx(2.0 / 3.0, rel=1e-3)


def test_radius_grows_with_the_envelope_shrinks_with_age_and_ends_at_the_core() -> None:
    structure = Structure(PLANET, HOST)
    envelope = np.geomspace(1e-9, 5.0, 200)  # through the end of convection at some 1e-6
    radius = structure.radius(envelope, 500.0)
    assert np.all(np.diff(radius) >= 0.0) and radius[-1] > 2.0 * radius[0]
    core = ev.core_radius(5.0, 1 / 3, 0.0)
    assert structure.radius(np.zeros(1), 500.0)[0] == pytest.approx(core, rel=1e-3)
    ages = [float(structure.radius(np.array([0.25]), age)[0]) for age in (23.0, 100.0, 300.0, 1000.0)]
    assert ages[0] == ages[1] > ages[2] > ages[3]
    assert structure.radius(np.array([structure.envelope_of(6.41, 23.0)]), 23.0)[0] == pytest.approx(6.41, rel=1e-9)


def test_light_is_constant_then_falls_without_a_jump() -> None:
    assert ev.high_energy_light(HOST, 23.0) == ev.high_energy_light(HOST, 100.0)
    assert ev.high_energy_light(HOST, 400.0) == pytest.approx(ev.high_energy_light(HOST, 100.0) / 8.0)
    assert ev.high_energy_light(HOST, 1.0) / ev.SUN_LIGHT == pytest.approx(1.101 * 10**-3.5)


def test_without_flares_or_contrast_nothing_changes(quiet: Track) -> None:
    for flaring in (Flaring(share=0.0), Flaring(smallest=1e-12, largest=2e-12)):
        np.testing.assert_allclose(evolve(PLANET, HOST, flaring, step_myr=2.0).envelope, quiet.envelope, rtol=1e-9)
    late = evolve(PLANET, HOST, FLARING, flares_until=1.0, step_myr=2.0)
    np.testing.assert_array_equal(late.envelope, quiet.envelope)
    dark = evolve(PLANET, Host(saturated=0.0), FLARING, step_myr=20.0)
    np.testing.assert_array_equal(dark.envelope, np.full_like(dark.envelope, dark.envelope[0, 0]))


def test_absorbed_light_pays_for_what_is_lifted(quiet: Track) -> None:
    """Light through the planet's disk, times the efficiency, is the potential energy of what is lost."""
    light = np.array([ev.high_energy_light(HOST, age) for age in quiet.age])
    radius = quiet.radius[:, 0] * ev.EARTH_RADIUS
    received = 0.1 * light / (4.0 * math.pi * (0.1083 * ev.AU) ** 2) * math.pi * radius**2
    mass = (5.0 + quiet.envelope[:, 0]) * ev.EARTH_MASS
    lifted = np.trapezoid(ev.GRAVITY * mass / radius, -quiet.envelope[:, 0] * ev.EARTH_MASS)
    assert lifted == pytest.approx(float(np.trapezoid(received, quiet.age * ev.MYR)), rel=2e-3)


def test_an_adaptive_solver_agrees_and_steps_converge_at_second_order() -> None:
    structure = Structure(PLANET, HOST)
    start = [structure.envelope_of(6.41, 23.0)]

    def rate(age: float, envelope: np.ndarray) -> np.ndarray:
        return -structure.loss(envelope, age)

    middle = solve_ivp(rate, (23.0, 100.0), start, rtol=1e-9, atol=1e-12).y[:, -1]
    truth = float(solve_ivp(rate, (100.0, 400.0), middle, rtol=1e-9, atol=1e-12).y[0, -1])
    errors = [abs(evolve(PLANET, HOST, stop_myr=400.0, step_myr=h).envelope[-1, 0] - truth) for h in (4.0, 1.0)]
    assert errors[1] < 2e-5 and errors[1] < errors[0] / 4.0  # the bend at 100 Myr costs some of the sixteen


def test_flares_take_more_the_longer_and_the_stronger_they_are() -> None:
    table = ev.compare_scenarios(PLANET, HOST, FLARING, step_myr=5.0)
    assert table["flares_until_myr"].to_list() == [0.0, 200.0, 1000.0]
    assert table["extra_loss"][0] == 0.0 < table["extra_loss"][1] < table["extra_loss"][2] < 0.1
    assert table["less_left"][0] == 0.0 < table["less_left"][1] < table["less_left"][2] < 0.1
    assert table["radius_left"].is_sorted(descending=True) and 2.0 < table["radius_left"][2] < 3.5
    np.testing.assert_allclose(table["lost"] + table["envelope_left"], table["envelope_start"], rtol=1e-12)
    more = ev.compare_scenarios(PLANET, HOST, Flaring(share=0.2), step_myr=5.0)
    assert more["extra_loss"][2] > 1.8 * table["extra_loss"][2]
    real = ev.compare_scenarios(PLANET, HOST, Flaring(share=ev.share_of_time(0.5, 10.0), alpha=2.2), step_myr=5.0)
    assert 0.0 < real["extra_loss"][2] < 1e-3  # flares fill less than a hundredth of the time


def test_random_flares_scatter_about_their_expectation_and_repeat() -> None:
    """The loss is nearly linear in the factor, so that the mean of many planets is the expected one."""
    drawn = [evolve(PLANET, HOST, FLARING, 1000.0, 1000.0, 10.0, np.random.default_rng(3), draws=100) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0].envelope, drawn[1].envelope)
    assert drawn[0].factor.shape == (98, 100)
    mean = ev.mean_flare_factor(FLARING, HOST.teff)
    scatter = drawn[0].factor.std() / math.sqrt(drawn[0].factor.size)
    assert abs(drawn[0].factor.mean() - mean) < 5.0 * scatter
    expected = evolve(PLANET, HOST, FLARING, 1000.0, 1000.0, 10.0).envelope[-1, 0]
    last = drawn[0].envelope[-1]
    assert abs(last.mean() - expected) < 5.0 * last.std() / math.sqrt(100) + 1e-4
    assert np.all(np.diff(drawn[0].envelope, axis=0) <= 0.0)


def test_a_planet_may_lose_everything_and_stays_bare() -> None:
    track = evolve(Planet(core_mass=2.0, separation_au=0.05, radius=6.0), HOST, step_myr=5.0)
    assert track.envelope[-1, 0] == 0.0 and np.all(track.envelope >= 0.0)
    assert track.radius[-1, 0] == pytest.approx(ev.core_radius(2.0, 1 / 3, 0.0), rel=1e-3)


def test_impossible_planets_and_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="no envelope"):
        evolve(Planet(radius=1.0), HOST)
    with pytest.raises(ConfigError, match="old already"):
        evolve(PLANET, HOST, stop_myr=20.0)
    with pytest.raises(ConfigError, match="positive"):
        evolve(PLANET, HOST, step_myr=0.0)
    with pytest.raises(ValueError, match="exceed"):
        Flaring(smallest=2.0)
    assert ev.share_of_time(1000.0, 10.0) == 1.0
