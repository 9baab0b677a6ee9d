"""The light beneath flares: against a dense solution of the same spline, and against stars whose light is known."""

import numpy as np
import pytest

from varistar.flares.orbits import Array, Orbit
from varistar.flares.trend import PAPER, TrendSettings, _log_likelihood, _smooth, local_trend, mask_events, orbit_trend

OURS = TrendSettings()


def an_orbit(light: Array, noise: float, cadence: float = 1 / 720, seed: int = 0, errors: float | None = None) -> Orbit:
    rng = np.random.default_rng(seed)
    m = len(light)
    seen = light + noise * rng.normal(size=m)
    return Orbit(1500.0 + cadence * np.arange(m), seen, np.full(m, errors or noise), np.arange(m), cadence)


def rotator(period: float, m: int = 7200, cadence: float = 1 / 720, amplitude: float = 0.03) -> Array:
    phase = 2 * np.pi * cadence * np.arange(m) / period
    return 1.0 + amplitude * (np.sin(phase) + 0.3 * np.sin(2 * phase + 1.0))


def every(m: int, step: int, length: int) -> np.ndarray:
    return (np.arange(m) % step >= step - length) & (np.arange(m) < m - 50)


def dense_covariance(m: int, density: float) -> Array:
    """Of a Wiener process integrated once from nothing: min(i, j)^2 (3 max(i, j) - min(i, j)) / 6 times its density."""
    i = np.arange(float(m))
    low, high = np.minimum(i[:, None], i), np.maximum(i[:, None], i)
    return density * low**2 * (3.0 * high - low) / 6.0


def test_smoother_against_dense_algebra() -> None:
    """The spline, its variance and its likelihood by matrices, level and slope of the start as free parameters, with
    cadences missing one by one and ten in a row."""
    rng = np.random.default_rng(2)
    m, density = 60, 3e-3
    variance = rng.uniform(0.5, 2.0, m)
    flux = np.cumsum(np.cumsum(np.sqrt(density) * rng.normal(size=m))) + np.sqrt(variance) * rng.normal(size=m)
    variance[[0, 1, 2, 7, *range(30, 40)]] = np.inf
    seen = np.isfinite(variance)
    free = np.stack([np.ones(m), np.arange(float(m))], axis=1)

    def dense(q: float) -> tuple[Array, Array, float]:
        prior = dense_covariance(m, q)
        total = prior[np.ix_(seen, seen)] + np.diag(variance[seen])
        gain = np.linalg.solve(total, prior[seen]).T
        start_cover = np.linalg.inv(free[seen].T @ np.linalg.solve(total, free[seen]))
        start = start_cover @ free[seen].T @ np.linalg.solve(total, flux[seen])
        left = flux[seen] - free[seen] @ start
        rest = free - gain @ free[seen]
        spread = np.diag(prior - gain @ prior[seen]) + np.einsum("ij,jk,ik->i", rest, start_cover, rest)
        likelihood = (
            np.linalg.slogdet(total)[1] - np.linalg.slogdet(start_cover)[1] + left @ np.linalg.solve(total, left)
        )
        return free @ start + gain @ left, spread, -0.5 * likelihood

    known = np.where(seen, flux, 0.0)
    values, spread = _smooth(known, variance, density)
    expected, expected_spread, _ = dense(density)
    # level and slope are taken for unknown to 1e4 and 300 standard deviations, so 1e-5 of the variances is lost
    np.testing.assert_allclose(values, expected, atol=1e-4)
    np.testing.assert_allclose(spread, expected_spread, rtol=1e-4)
    ours = [_log_likelihood(known, variance, q) for q in (density, 0.3 * density)]
    assert ours[0] - ours[1] == pytest.approx(dense(density)[2] - dense(0.3 * density)[2], abs=1e-3)


@pytest.mark.parametrize("period, noise", [(0.2, 3e-3), (0.3, 1e-3), (1.0, 1e-3), (8.0, 1e-3)])
def test_rotators_are_followed_under_masks_as_well_as_the_errors_say(period: float, noise: float) -> None:
    light = rotator(period)
    orbit = an_orbit(light, noise)
    masked = every(len(orbit), 400, 30)  # an hour
    found = orbit_trend(orbit, masked, OURS)
    off = found.values - light
    assert np.std(off[~masked]) < 0.4 * noise
    assert np.std(off[masked]) < max(1.5 * noise, 1e-3)
    assert 0.3 < np.std(off[masked] / found.errors[masked]) < 1.6
    assert found.scatter == pytest.approx(1.0, abs=0.06)


def test_a_masked_flare_leaves_no_trace_and_its_tail_little() -> None:
    light = rotator(3.0)
    orbit = an_orbit(light, 1e-3)
    flux = orbit.flux.copy()
    flux[3000:3120] += 0.5 * np.exp(-np.arange(120) / 30.0)
    flared = Orbit(orbit.time, flux, orbit.flux_err, orbit.point, orbit.cadence)
    masked = mask_events(len(orbit), np.array([3000]), np.array([3119]), OURS)
    assert masked.sum() == 120 + 3 + 5 + 120
    np.testing.assert_array_equal(orbit_trend(flared, masked, OURS).values, orbit_trend(orbit, masked, OURS).values)
    assert np.abs(orbit_trend(flared, masked, OURS).values - light)[masked].max() < 1e-3


def test_cadences_that_nobody_masked_are_outvoted() -> None:
    light = rotator(2.0)
    orbit = an_orbit(light, 1e-3)
    flux = orbit.flux.copy()
    flux[100::250] += 0.2  # two hundred sigma, every eight hours
    spiked = Orbit(orbit.time, flux, orbit.flux_err, orbit.point, orbit.cadence)
    none = np.zeros(len(orbit), bool)
    off = orbit_trend(spiked, none, OURS).values - light
    assert np.abs(off[100::250]).max() < 1e-3


@pytest.mark.parametrize("cadence", [20 / 86400, 1 / 720, 1 / 48])
def test_any_cadence(cadence: float) -> None:
    light = rotator(1.5, m=1200, cadence=cadence)
    orbit = an_orbit(light, 2e-3, cadence)
    found = orbit_trend(orbit, np.zeros(1200, bool), OURS)
    assert np.std(found.values - light) < 1.2e-3


def test_noise_is_found_whatever_the_errors_claim() -> None:
    orbit = an_orbit(rotator(1.0), 2e-3, errors=1e-3)
    assert orbit_trend(orbit, np.zeros(len(orbit), bool), OURS).scatter == pytest.approx(2.0, rel=0.06)
    unknown = Orbit(orbit.time, orbit.flux, np.full(len(orbit), np.nan), orbit.point, orbit.cadence)
    assert orbit_trend(unknown, np.zeros(len(orbit), bool), OURS).scatter == pytest.approx(2e-3, rel=0.06)


@pytest.mark.parametrize("settings", [OURS, PAPER])
def test_missing_cadences_edges_and_nothing_at_all(settings: TrendSettings) -> None:
    light = rotator(4.0)
    orbit = an_orbit(light, 1e-3)
    flux = orbit.flux.copy()
    flux[:200] = flux[2000:2100] = flux[-1:] = np.nan
    holes = Orbit(orbit.time, flux, orbit.flux_err, orbit.point, orbit.cadence)
    none = np.zeros(len(orbit), bool)
    found = orbit_trend(holes, none, settings)
    assert np.isfinite(found.values).all()
    assert np.abs(found.values - light)[2000:2100].max() < 3e-3
    assert np.isnan(orbit_trend(holes, ~none, settings).values).all()
    constant = Orbit(orbit.time, np.ones(len(orbit)), orbit.flux_err, orbit.point, orbit.cadence)
    np.testing.assert_allclose(orbit_trend(constant, none, settings).values, 1.0, atol=1e-9)


def test_local_trend_is_clamped_at_the_orbits_ends() -> None:
    """AMB-66: near an orbit's start the window begins with the orbit, and does not wrap around."""
    light = rotator(4.0)
    orbit = an_orbit(light, 1e-3)
    early = local_trend(orbit, 4, 8, PAPER)
    assert early.clamped and early.first == 0 and len(early.values) == 8 + 10 + 100 + 1
    middle = local_trend(orbit, 3000, 3010, PAPER)
    assert not middle.clamped and middle.first == 3000 - 5 - 100 and len(middle.values) == 5 + 11 + 10 + 200
    late = local_trend(orbit, 7195, 7199, OURS)
    assert late.clamped and late.first + len(late.values) == 7200
    for found in (early, middle, late):
        window = slice(found.first, found.first + len(found.values))
        assert np.abs(found.values - light[window]).max() < 5e-3


def test_the_paper_joins_what_is_not_masked_by_a_line() -> None:
    orbit = an_orbit(1.0 + 1e-4 * np.arange(400.0), 1e-12)
    flux = orbit.flux.copy()
    flux[195:212] += 1.0
    found = local_trend(Orbit(orbit.time, flux, orbit.flux_err, orbit.point, orbit.cadence), 200, 201, PAPER)
    np.testing.assert_allclose(found.values[20:-20], 1.0 + 1e-4 * (found.first + np.arange(len(found.values))[20:-20]))


@pytest.mark.parametrize("wrong", [{"stiffness_days": (1.0, 0.1)}, {"stiffness_days": (0.0, 1.0)}, {"kernel": 4}])
def test_settings_refuse_nonsense(wrong: dict) -> None:
    with pytest.raises(ValueError):
        TrendSettings(**wrong)
