"""Pulsating stars: shapes are periodic and lean the right way, bumps progress, modes are where they are said to be."""

import numpy as np
import pytest

from varistar.physics.pulsation import (
    Pulsator,
    draw_pulsator,
    oscillation_period,
    pulsation_shape,
    pulsator_magnitude,
)

PHASE = np.linspace(0.0, 1.0, 1000, endpoint=False)
PERIODS = {"RRAB": 0.57, "RRC": 0.32, "DCEP": 8.0, "DCEPS": 3.0, "CW": 15.0, "HADS": 0.1, "DSCT": 0.08}


@pytest.mark.parametrize("subtype", PERIODS)
def test_shapes_have_mean_zero_their_amplitude_and_one_turn(subtype: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        pulsator = draw_pulsator(rng, subtype, PERIODS[subtype])
        shape = pulsation_shape(pulsator, PHASE)
        # 400 phases miss the extremes of a steep series by a hundredth
        assert np.ptp(shape) == pytest.approx(pulsator.amplitude, rel=0.01)
        assert abs(shape.mean()) < 0.01 * pulsator.amplitude
        np.testing.assert_allclose(shape, pulsation_shape(pulsator, PHASE + 7.0), atol=1e-10)


@pytest.mark.parametrize("subtype", ["RRAB", "HADS", "DCEP"])
def test_stars_brighten_faster_than_they_fade(subtype: str) -> None:
    period = 3.0 if subtype == "DCEP" else PERIODS[subtype]
    shape = pulsation_shape(draw_pulsator(np.random.default_rng(1), subtype, period), PHASE)
    assert np.mean(np.diff(shape) < 0) < 0.42


def test_series_is_the_sum_it_says() -> None:
    q = 0.5
    pulsator = Pulsator(1.0, 1.0, q)
    closed = -np.imag(-np.log(1 - q * np.exp(2j * np.pi * PHASE))) / q
    # orders beyond the seventh would add q^7 / 8 / (1 - q) at most, and twice that to the range
    beyond = q**7 / 8 / (1 - q) / np.ptp(closed)
    np.testing.assert_allclose(pulsation_shape(pulsator, PHASE), closed / np.ptp(closed), atol=2 * beyond)


def test_bumps_of_cepheids_go_from_the_falling_branch_over_the_top_to_the_rise() -> None:
    """The Hertzsprung progression: where the bump makes the star brighter than one without."""

    def bump(period: float) -> float:
        pulsator = draw_pulsator(np.random.default_rng(2), "DCEP", period)
        plain = Pulsator(period, pulsator.amplitude, pulsator.steepness)
        excess = pulsation_shape(pulsator, PHASE) - pulsation_shape(plain, PHASE)
        phase = PHASE[np.argmin(excess)]
        return float((phase + 0.5) % 1.0 - 0.5)

    where = [bump(period) for period in (6.2, 8.0, 10.0, 14.0, 19.0)]
    assert np.all(np.diff(where) < 0) and where[0] > 0.3 and where[-1] < 0.0


def test_rr_lyrae_of_longer_period_vary_less() -> None:
    rng = np.random.default_rng(4)
    short, long = (np.mean([draw_pulsator(rng, "RRAB", p).amplitude for _ in range(200)]) for p in (0.45, 0.75))
    assert short > 1.5 * long


def test_modulated_star_repeats_only_with_both_periods() -> None:
    pulsator = Pulsator(0.5, 1.0, 0.6, blazhko=(40.0, 0.2, 0.02))
    time = np.linspace(0.0, 1.0, 200)
    start = pulsator_magnitude(pulsator, time)
    np.testing.assert_allclose(start, pulsator_magnitude(pulsator, time + 40.0), atol=1e-9)
    assert np.abs(start - pulsator_magnitude(pulsator, time + 10.0)).max() > 0.1


def test_modes_stand_at_their_frequencies() -> None:
    time = np.arange(0.0, 100.0, 0.01)
    pulsator = Pulsator(0.1, 0.02, 0.0, modes=((13.0, 0.004, 0.2), (17.5, 0.002, 0.9)))
    power = np.abs(np.fft.rfft(pulsator_magnitude(pulsator, time))) * 2 / len(time)
    frequency = np.fft.rfftfreq(len(time), 0.01)
    for expected, amplitude in ((10.0, 0.01), (13.0, 0.004), (17.5, 0.002)):
        assert power[np.argmin(np.abs(frequency - expected))] == pytest.approx(amplitude, rel=1e-3)


def test_the_suns_five_minutes_and_a_red_giants_days() -> None:
    assert oscillation_period(5772.0, 4.438) * 86400.0 == pytest.approx(1e6 / 3076.0)
    # a tenth of the gravity, a tenth of the frequency
    assert oscillation_period(5772.0, 1.438) == pytest.approx(1000 * oscillation_period(5772.0, 4.438))
