"""The light curves of spotted stars, against butterpy and against the model written out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate
from varistar.physics.dimming import effective_period, spot_flux
from varistar.physics.emergence import ActiveRegions, emerge_regions
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters
from varistar.physics.spots import SpotSimulation, simulate_positive, simulate_star

STAR = SpotParameters(
    period=7.3,
    activity=3.0,
    cycle_period=2.0,
    cycle_overlap=1.0,
    min_latitude=5.0,
    max_latitude=50.0,
    spot_lifetime=4.0,
    inclination=65.0,
    shear=0.3,
)
#: name: (parameters, duration_days, seed)
CASES = {
    "solar shear": (STAR, 400, 1),
    "rigid": (replace(STAR, shear=0.0), 400, 2),
    "anti-solar shear": (replace(STAR, shear=-0.8), 400, 3),
    "poles at rest": (replace(STAR, shear=1.0, max_latitude=85.0), 400, 4),
    "no butterfly": (replace(STAR, butterfly=False), 400, 5),
    "equator-on": (replace(STAR, inclination=90.0), 400, 6),
    "pole-on": (replace(STAR, inclination=0.0), 400, 7),
    "fast": (replace(STAR, period=1.0, spot_lifetime=1.0), 400, 8),
    "slow and long-lived": (replace(STAR, period=30.0, spot_lifetime=10.0), 400, 9),
    "negative flux": (replace(STAR, activity=10.0, alpha_med=0.03), 300, 10),
} | {f"draw {i}": (draw_spot_parameters(SpotPrior(), np.random.default_rng(i)), 400, 100 + i) for i in range(8)}
SURVEY_START = 58484.5
SHORT = SpotSimulation(duration_days=1200, window_days=400.0, latest_start_days=700.0)


def epochs_between(start: float, stop: float, n: int, seed: int = 0) -> np.ndarray:
    """Ascending random epochs that float32 holds exactly, because butterpy rounds its times to float32."""
    epochs = np.random.default_rng(seed).uniform(start, stop, n).astype(np.float32)
    return np.sort(epochs).astype(np.float64)


def written_out(parameters: SpotParameters, regions: ActiveRegions, time: np.ndarray) -> np.ndarray:
    """Each spot's dimming by the model's formulas, with library functions and without a cut, shape (spots, times)."""
    inclination = np.radians(parameters.inclination)
    latitude, longitude = regions.latitude[:, None], regions.longitude[:, None]
    age = time - regions.day[:, None]
    width = np.where(age < 0, parameters.emergence_days, parameters.decay_days)
    area = parameters.alpha_med * regions.area[:, None] / np.median(regions.area) * np.exp(-((age / width) ** 2))
    omega = 2 * np.pi / parameters.period * (1 - parameters.shear * np.sin(latitude) ** 2)
    beta = np.cos(inclination) * np.sin(latitude)
    beta = beta + np.sin(inclination) * np.cos(latitude) * np.cos(omega * time + longitude)
    return area * np.maximum(beta, 0)


@pytest.mark.parametrize("case", CASES)
def test_flux_is_that_of_butterpy(case, butterpy_surface):
    parameters, duration, seed = CASES[case]
    surface = butterpy_surface(parameters, duration, seed)
    time = epochs_between(0, duration, 300)
    theirs = surface.evolve_spots(
        time,
        inclination=parameters.inclination,
        period=parameters.period,
        shear=parameters.shear,
        tau_evol=parameters.spot_lifetime,
        alpha_med=parameters.alpha_med,
    ).flux
    ours = spot_flux(parameters, emerge_regions(parameters, duration, seed), time)
    # butterpy adds its spots in float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert np.ptp(theirs) > 1e-4


@pytest.mark.parametrize("case", CASES)
def test_flux_is_the_model_written_out(case):
    parameters, duration, seed = CASES[case]
    regions = emerge_regions(parameters, duration, seed)
    time = np.sort(np.random.default_rng(1).uniform(-50, duration + 500, 400))
    dimming = written_out(parameters, regions, time)
    assert len(regions) > 0
    flux = spot_flux(parameters, regions, time)
    # the polynomials of the exponential (2.6e-9) and the cosine (1.2e-10), the cut (1.4e-11), and the sum's rounding
    whole_depth = (parameters.alpha_med * regions.area / np.median(regions.area)).sum()
    tolerance = 3e-9 * dimming.sum(axis=0) + 3e-10 * whole_depth + 1e-13
    assert np.all(np.abs(flux - (1 - dimming.sum(axis=0))) <= tolerance)


def test_times_in_any_order_give_the_same_flux():
    regions = emerge_regions(STAR, 700, 1)
    time = np.random.default_rng(0).uniform(0, 700, 200)
    order = np.argsort(time)
    assert np.array_equal(spot_flux(STAR, regions, time)[order], spot_flux(STAR, regions, time[order]))
    assert np.array_equal(spot_flux(STAR, regions, time), [spot_flux(STAR, regions, np.array([t]))[0] for t in time])


def test_flux_is_at_most_one_and_exactly_one_without_spots():
    regions = emerge_regions(STAR, 700, 1)
    assert spot_flux(STAR, regions, np.linspace(0, 700, 500)).max() <= 1
    long_after = np.array([700 + 6 * STAR.decay_days, 1e6])
    assert np.array_equal(spot_flux(STAR, regions, long_after), [1, 1])
    none = emerge_regions(replace(STAR, activity=0.0), 700, 1)
    assert len(none) == 0
    assert np.array_equal(spot_flux(STAR, none, np.linspace(0, 700, 500)), np.ones(500))
    assert spot_flux(STAR, regions, np.array([])).shape == (0,)


def test_the_effective_period_of_a_rigid_star_is_its_period():
    rigid = replace(STAR, shear=0.0)
    assert effective_period(rigid, emerge_regions(rigid, 700, 1), 100, 600) == pytest.approx(7.3, rel=1e-12)


def test_the_effective_period_weighs_each_spot_by_its_rotational_signal():
    regions = _spots_at(day=[50, 100, 220], latitude=[0.1, 0.9, -0.4], area=[100.0, 40.0, 60.0])
    start, stop = 80.0, 210.0
    weights, frequencies = [], []
    for i in range(3):
        one = ActiveRegions(*(getattr(regions, name)[i : i + 1] for name in vars(regions)))
        latitude = one.latitude[0]

        def area_at(time: float, day: float = float(one.day[0])) -> float:
            width = STAR.emergence_days if time < day else STAR.decay_days
            return np.exp(-(((time - day) / width) ** 2))

        def signal(phase: float, latitude: float = latitude) -> float:
            inclination = np.radians(STAR.inclination)
            beta = np.cos(inclination) * np.sin(latitude)
            return max(beta + np.sin(inclination) * np.cos(latitude) * np.cos(phase), 0) * np.cos(phase)

        lifetime = quad(area_at, start, stop, points=[one.day[0]] if start < one.day[0] < stop else None)[0]
        amplitude = quad(signal, -np.pi, np.pi, limit=200)[0] / np.pi
        weights.append(one.area[0] * lifetime * amplitude)
        frequencies.append((1 - STAR.shear * np.sin(latitude) ** 2) / STAR.period)
    expected = 1 / np.average(frequencies, weights=weights)
    assert effective_period(STAR, regions, start, stop) == pytest.approx(expected, rel=1e-6)


def test_there_is_no_effective_period_without_a_rotational_signal():
    regions = emerge_regions(STAR, 700, 1)
    assert np.isnan(effective_period(replace(STAR, inclination=0.0), regions, 100, 600))
    assert np.isnan(effective_period(STAR, regions, 5000, 6000))
    hidden = _spots_at(day=[50], latitude=[-1.2], area=[100.0])
    assert np.isnan(effective_period(STAR, hidden, 0, 100))


def test_a_star_is_its_regions_seen_through_its_window():
    rng = np.random.default_rng(3)
    epochs = SURVEY_START + epochs_between(0, 400, 150)
    star = simulate_star(STAR, epochs, SURVEY_START, rng, SHORT)
    rng = np.random.default_rng(3)
    start = rng.uniform(365, 700)
    regions = emerge_regions(STAR, 1200, int(rng.integers(2**32)))
    assert star.window_start == start
    assert star.n_regions == len(regions) > 0
    assert np.array_equal(star.flux, spot_flux(STAR, regions, epochs - SURVEY_START + start))
    daily = spot_flux(STAR, regions, np.arange(start, start + 400, 1.03))
    assert star.median == np.median(daily)
    assert star.lowest_flux == min(daily.min(), star.flux.min())
    half_hourly = spot_flux(STAR, regions, np.arange(start, start + 400, 1 / 48))
    assert abs(star.median - np.median(half_hourly)) < 0.1 * half_hourly.std()
    assert star.effective_period == effective_period(STAR, regions, start, start + 400)
    assert star.parameters == STAR


def test_the_window_starts_in_its_range_and_holds_all_epochs():
    simulation = SpotSimulation(duration_days=800, window_days=200.0, earliest_start_days=100, latest_start_days=550)
    quiet = replace(STAR, activity=0.0)
    for last, latest_start in [(150.0, 550.0), (350.0, 450.0), (700.0, 100.0)]:
        epochs = SURVEY_START + np.array([0.0, last])
        starts = [
            simulate_star(quiet, epochs, SURVEY_START, np.random.default_rng(i), simulation).window_start
            for i in range(200)
        ]
        assert 100 <= min(starts) <= 100 + 0.05 * (latest_start - 100)
        assert latest_start - 0.05 * (latest_start - 100) <= max(starts) <= latest_start


@pytest.mark.parametrize(
    ("offsets", "message"),
    [([], "at least one epoch"), ([1.0, np.nan], "finite"), ([-0.5, 1.0], "-0.5 to 1.0 d"), ([1.0, 836.0], "835.0 d")],
)
def test_epochs_outside_the_simulation_are_refused(offsets, message):
    with pytest.raises(DataError, match=message):
        simulate_star(STAR, SURVEY_START + np.array(offsets), SURVEY_START, np.random.default_rng(0), SHORT)


def test_a_star_depends_on_its_number_alone():
    epochs = SURVEY_START + epochs_between(0, 400, 50)
    stars = {i: simulate_positive(SpotPrior(), epochs, SURVEY_START, 88, i, SHORT) for i in (3, 0, 7)}
    for i in (7, 3, 0):
        again = simulate_positive(SpotPrior(), epochs, SURVEY_START, 88, i, SHORT)
        assert again.parameters == stars[i].parameters
        assert np.array_equal(again.flux, stars[i].flux)
        assert again.median == stars[i].median
    assert len({star.parameters.period for star in stars.values()}) == 3
    other_seed = simulate_positive(SpotPrior(), epochs, SURVEY_START, 89, 3, SHORT)
    assert other_seed.parameters != stars[3].parameters


def test_stars_without_positive_flux_are_drawn_again_and_counted():
    prior = SpotPrior(alpha_med=0.03, cycle_period=(1, 2))
    epochs = SURVEY_START + epochs_between(0, 400, 50)
    redrawn = 0
    for number in range(30):
        star = simulate_positive(prior, epochs, SURVEY_START, 1, number, SHORT)
        assert star.lowest_flux > 0
        redrawn += star.n_redraws
        rng = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(number,)))
        refused = [
            simulate_star(draw_spot_parameters(prior, rng), epochs, SURVEY_START, rng, SHORT)
            for _ in range(star.n_redraws + 1)
        ]
        assert refused.pop().parameters == star.parameters
        assert all(candidate.lowest_flux <= 0 for candidate in refused)
    assert redrawn > 5


def test_a_prior_without_positive_stars_is_given_up():
    hopeless = SpotPrior(alpha_med=5.0, activity=(10, 10), cycle_period=(1, 2))
    simulation = SHORT.model_copy(update={"max_redraws": 3})
    with pytest.raises(ConfigError, match="4 draws in a row"):
        simulate_positive(hopeless, SURVEY_START + np.arange(100.0), SURVEY_START, 0, 0, simulation)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latest_start_days": 100}, "latest_start_days must not be earlier"),
        ({"window_days": 12 * 365.0}, "duration_days must hold window_days"),
        ({"median_step_days": 0}, "median_step_days"),
        ({"max_redraws": -1}, "max_redraws"),
        ({"years": 12}, "'years' does not exist"),
    ],
)
def test_an_impossible_simulation_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        validate(SpotSimulation, values, "params.yaml")


def _spots_at(day: list[int], latitude: list[float], area: list[float]) -> ActiveRegions:
    zeros = np.zeros(len(day))
    return ActiveRegions(np.array(day), np.array(latitude), zeros, np.array(area), zeros, zeros.astype(int))
