"""Spotted stars vary as much as they are to, at the period they are said to show."""

import numpy as np
import pytest

from varistar.sky import spotted
from varistar.sky.population import SpotsKind
from varistar.sky.spotted import PRIORS, _harmonics, spotted_light

TIME = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 900))


def power(time: np.ndarray, flux: np.ndarray, period: float, stretch: float) -> float:
    """Mean power at a period within stretches of so many days, so that spots need not keep their phase for longer."""
    stretches = np.floor((time - time[0]) / stretch)
    waves = (flux - flux.mean()) * np.exp(2j * np.pi * time / period)
    return float(np.mean([abs(waves[stretches == part].sum()) ** 2 for part in np.unique(stretches)]))


@pytest.mark.parametrize("spots", PRIORS)
def test_range_in_a_turn_is_the_one_wanted(spots: SpotsKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on the unscaled fluxes, of stars that are not seen from near their pole."""
    fluxes: list[np.ndarray] = []
    measure = spotted.flux_of
    monkeypatch.setattr(spotted, "flux_of", lambda *view: fluxes.append(measure(*view)) or fluxes[-1])
    achieved = []
    for seed in range(10):
        light = spotted_light(np.random.default_rng(seed), spots, 6.0, 75.0, 0.01, TIME)
        at_epochs, in_turns = fluxes[-2], fluxes[-1].reshape(spotted.WINDOWS, spotted.SAMPLES)
        deepest = np.argmin(at_epochs)
        scale = (1 - light.flux[deepest]) / (1 - at_epochs[deepest])
        np.testing.assert_allclose(1 - light.flux, scale * (1 - at_epochs), atol=1e-12)
        low, high = np.percentile(scale * in_turns, [5, 95], axis=1)
        achieved.append(np.median(high - low))
    assert max(achieved) <= 0.01 * (1 + 1e-9) and np.median(achieved) == pytest.approx(0.01)


def test_light_shows_the_period_it_says() -> None:
    """The stable stars' power at the shown period exceeds that a tenth away, whatever their equator's."""
    gains = []
    for seed in range(12):
        light = spotted_light(np.random.default_rng(seed), "stable", 7.0, 60.0, 0.03, TIME)
        assert light.shown_period == pytest.approx(7.0, rel=0.06)
        away = max(power(TIME, light.flux, light.shown_period * f, 300.0) for f in (0.87, 0.93, 1.08, 1.15))
        gains.append(power(TIME, light.flux, light.shown_period, 300.0) / away)
    assert np.median(gains) > 5.0


def test_lifetimes_in_days_and_solar_shear_belong_to_the_independent_prior() -> None:
    prior = PRIORS["independent"]
    assert prior.spot_lifetime == (10.0, 316.0) and prior.spot_lifetime_unit == "days"
    assert prior.shear_weights == (1.0, 0.0, 0.0) and prior.shear == (0.05, 0.3)
    shown = [
        spotted_light(np.random.default_rng(seed), "independent", 10.0, 70.0, 0.01, TIME).shown_period
        for seed in range(12)
    ]
    # higher latitudes turn more slowly than the equator
    assert min(shown) >= 10.0 and 10.1 < np.median(shown) < 12.5


def test_a_star_seen_from_its_pole_does_not_vary_by_its_cycle_instead() -> None:
    for seed in range(8):
        light = spotted_light(np.random.default_rng(seed), "paper", 6.0, 0.5, 0.005, TIME)
        assert np.ptp(light.flux) < 0.005 / spotted.SMALLEST_SHARE * 1.001


def test_harmonics_are_those_of_the_turns() -> None:
    phase = np.arange(spotted.SAMPLES) / spotted.SAMPLES * 2
    turn = 0.3 * np.sin(2 * np.pi * phase + 0.4) + 0.6 * np.cos(4 * np.pi * phase) + 0.06 * np.sin(8 * np.pi * phase)
    np.testing.assert_allclose(_harmonics(np.tile(5.0 + turn, (3, 1))), [0.5, 1.0, 0.0, 0.1], atol=1e-12)
    assert np.isnan(_harmonics(np.zeros((3, spotted.SAMPLES)))).all()
