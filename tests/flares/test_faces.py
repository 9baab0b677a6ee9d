"""Flares by phase: what was put in is found, intervals keep their level, and even phases pass for even."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson

from varistar.flares.faces import (
    FACES,
    FaceSettings,
    combine_exposure,
    compare_faces,
    even_phases,
    fit_modulation,
    phase_histogram,
)
from varistar.foundation.errors import DataError

EVEN = np.ones(100)
CENTRES = (np.arange(100) + 0.5) / 100 - 0.5
#: What was searched, by far unevenly: three times as much at some phases as at others.
UNEVEN = 1.0 + 0.5 * np.sin(2 * np.pi * CENTRES) + 0.2 * np.cos(4 * np.pi * CENTRES)


def draw(seed: list[int], n: int, amplitude: float, most: float, exposure: np.ndarray, purity=(0.5, 0.8, 0.95)):
    """Phases and probabilities of events: flares that prefer a phase, and false alarms that do not."""
    rng = np.random.default_rng(seed)
    p = rng.choice(purity, n)
    rate = exposure * (1.0 + amplitude * np.cos(2 * np.pi * (CENTRES - most)))
    flare, alarm = (rng.choice(100, n, p=share / share.sum()) for share in (rate, exposure))
    place = np.where(rng.random(n) < p, flare, alarm)
    return (place + rng.random(n)) / 100 - 0.5, p


@pytest.mark.parametrize(("amplitude", "most"), [(0.0, 0.0), (0.3, 0.5), (0.5, 0.2)])
def test_intervals_hold_the_truth_as_often_as_they_say(amplitude: float, most: float) -> None:
    n, difference = 60, -2.0 * amplitude * np.cos(2 * np.pi * most)
    fits = [fit_modulation(*draw([s, 11], 300, amplitude, most, UNEVEN), UNEVEN) for s in range(n)]
    held = np.mean([fit.difference_low <= difference <= fit.difference_high for fit in fits])
    # Three standard deviations of a binomial of 60.
    assert abs(held - 0.68) < 3.0 * np.sqrt(0.68 * 0.32 / n)
    spread = np.std([fit.difference for fit in fits])
    assert np.mean([fit.difference for fit in fits]) == pytest.approx(difference, abs=3.0 * spread / np.sqrt(n))
    wide = np.mean([fit.amplitude_low <= amplitude <= fit.amplitude_high for fit in fits])
    assert wide > 0.68 - 3.0 * np.sqrt(0.68 * 0.32 / n)


def test_the_spread_of_the_difference_is_that_of_counts() -> None:
    # Of n flares with p = 1, x is the mean of 2 cos: its variance is 2 / n, and that of -2 x four times as much.
    fits = [fit_modulation(*draw([s, 12], 400, 0.0, 0.0, EVEN, (1.0,)), EVEN) for s in range(60)]
    assert np.std([fit.difference for fit in fits]) == pytest.approx(np.sqrt(8.0 / 400), rel=0.25)
    half = np.mean([0.5 * (fit.difference_high - fit.difference_low) for fit in fits])
    assert half == pytest.approx(0.9945 * np.sqrt(8.0 / 400), rel=0.05)


def test_a_strong_preference_is_found_at_its_phase() -> None:
    fit = fit_modulation(*draw([1], 4000, 0.6, 0.3, UNEVEN), UNEVEN, level=0.99)
    assert fit.amplitude_low < 0.6 < fit.amplitude_high
    assert fit.phase_of_most == pytest.approx(0.3, abs=0.04)
    assert fit.p_value < 1e-20
    # All flares at one phase: as strong as can be.
    extreme = fit_modulation(np.full(200, 0.5), np.ones(200), EVEN)
    assert extreme.amplitude > 0.99 and extreme.amplitude_high == 1.0 and extreme.difference > 1.98


def test_the_likelihood_ratio_and_the_score_say_the_same_of_a_slight_preference() -> None:
    phase, p = draw([2], 3000, 0.08, 0.1, UNEVEN)
    fit, even = fit_modulation(phase, p, UNEVEN), even_phases(phase, p, UNEVEN)
    assert np.log(even.p_rayleigh) == pytest.approx(np.log(fit.p_value), rel=0.2)


def test_false_alarms_are_not_counted_as_flares() -> None:
    phase, p = draw([3], 6000, 0.5, 0.0, EVEN, (0.3,))
    assert fit_modulation(phase, p, EVEN).amplitude == pytest.approx(0.5, abs=0.15)
    assert fit_modulation(phase, np.ones_like(p), EVEN).amplitude == pytest.approx(0.15, abs=0.05)


def test_exposure_is_no_preference() -> None:
    phase, p = draw([4], 5000, 0.0, 0.0, UNEVEN)
    assert fit_modulation(phase, p, EVEN).p_value < 1e-6 and even_phases(phase, p, EVEN).p_kuiper < 1e-6
    assert fit_modulation(phase, p, UNEVEN).p_value > 0.01 and even_phases(phase, p, UNEVEN).p_kuiper > 0.01


def test_chances_of_even_phases_are_even() -> None:
    n = 1000
    chances = np.array([even_phases(*draw([s, 13], 120, 0.0, 0.0, UNEVEN), UNEVEN) for s in range(n)])
    for test in (0, 1):
        for q in (0.5, 0.1):
            assert np.mean(chances[:, test] < q) == pytest.approx(q, abs=3.5 * np.sqrt(q * (1 - q) / n)), (test, q)


def test_rayleigh_is_the_textbook_one_for_flares_of_equal_weight() -> None:
    phase, p = draw([5], 200, 0.2, 0.0, EVEN, (1.0,))
    length = np.abs(np.exp(2j * np.pi * phase).sum())
    assert even_phases(phase, p, EVEN).p_rayleigh == pytest.approx(np.exp(-(length**2) / 200), rel=1e-9)


def test_kuiper_sees_what_rayleigh_cannot() -> None:
    rng = np.random.default_rng(6)
    phase = (rng.normal(0.0, 0.05, 300) + rng.choice([0.0, 0.5], 300) + 0.5) % 1.0 - 0.5
    even = even_phases(phase, np.ones(300), EVEN)
    assert even.p_kuiper < 1e-6 and even.p_rayleigh > 0.001


def test_counts_have_poisson_intervals() -> None:
    settings = FaceSettings(bins=4, level=0.9)
    phase = np.concatenate([np.full(3, -0.4), np.full(10, 0.1)])
    table = phase_histogram(phase, np.ones(13), EVEN, settings)
    assert table["flares"].to_list() == [3.0, 0.0, 10.0, 0.0]
    assert table["expected"].to_list() == pytest.approx([3.25] * 4)
    for count, low, high in table.select("flares", "flares_low", "flares_high").iter_rows():
        assert poisson.cdf(count, high) == pytest.approx(0.05)
        assert low == 0.0 if count == 0 else poisson.sf(count - 1, low) == pytest.approx(0.05)


def test_events_of_half_a_probability_weigh_half() -> None:
    settings = FaceSettings(bins=2)
    whole = phase_histogram(np.full(20, 0.2), np.ones(20), EVEN, settings)
    half = phase_histogram(np.full(20, 0.2), np.full(20, 0.5), EVEN, settings)
    for name in ("flares", "flares_low", "flares_high"):
        assert half[name][1] == pytest.approx(0.5 * whole[name][1])
    uneven = phase_histogram(np.full(20, 0.2), np.ones(20), np.repeat([3.0, 1.0], 50), settings)
    assert uneven["expected"].to_list() == pytest.approx([15.0, 5.0])


def test_stars_count_as_they_flare() -> None:
    exposures = np.array([[10.0, 30.0], [1000.0, 0.0], [0.0, 0.0]])
    assert combine_exposure(exposures, np.array([4.0, 1.0, 9.0])).tolist() == pytest.approx([0.4, 0.6])
    with pytest.raises(DataError, match="no star with flares has a known rotation phase"):
        combine_exposure(exposures, np.array([0.0, 0.0, 5.0]))


def test_small_and_large_flares_are_compared_apart() -> None:
    spotted, p = draw([7], 800, 0.7, 0.5, EVEN)
    evenly, q = draw([9], 400, 0.0, 0.0, EVEN)
    events = pl.DataFrame(
        {
            "phase": np.concatenate([spotted, evenly, [np.nan]]),
            "p": np.concatenate([p, q, [1.0]]),
            "amplitude": np.concatenate([np.full(800, 0.01), np.full(400, 0.2), [0.2]]),
        }
    )
    table = compare_faces(events, EVEN, FaceSettings())
    assert table.schema == FACES and table["sample"].to_list() == ["all", "small", "large"]
    assert table["n_events"].to_list() == [1200, 800, 400]
    assert table["n_flares"].to_list() == pytest.approx([p.sum() + q.sum(), p.sum(), q.sum()])
    everything, small, large = table["difference"]
    assert small == pytest.approx(1.4, abs=0.3) and abs(large) < 0.5 and large < everything < small
    assert table["p_rayleigh"][1] < 1e-10
    few = compare_faces(events.filter(pl.col("amplitude") < 0.05), EVEN, FaceSettings())
    assert few["n_flares"][2] == 0.0 and few["difference"][2] is None


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(DataError, match="at least one event with a probability above 0"):
        fit_modulation(np.empty(0), np.empty(0), EVEN)
    with pytest.raises(DataError, match="the exposure is zero"):
        even_phases(np.zeros(1), np.ones(1), np.zeros(100))
    with pytest.raises(DataError, match="7 bins of phase do not divide the 100 of the exposure"):
        phase_histogram(np.zeros(1), np.ones(1), EVEN, FaceSettings(bins=7))
