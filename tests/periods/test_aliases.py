"""Arbitration finds the period behind a one-day alias, and leaves alone what it cannot tell."""

import numpy as np
import pytest
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.periods.aliases import (
    NO_SHARE,
    Rival,
    arbitrate,
    arbitrate_stars,
    choose_share,
    find_rival,
)

SPAN = 800
NOISE = 0.02


def nightly(seed: int = 0, n: int = 300) -> NDArray[np.float64]:
    """Times of one observation in most nights, within two hours of the same hour."""
    rng = np.random.default_rng(seed)
    nights = np.sort(rng.choice(SPAN, n, replace=False))
    return 58000.0 + nights + 0.3 + rng.uniform(-1, 1, n) / 24


def sinusoid(period: float, amplitude: float = 0.05, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    time = nightly(seed)
    noise = NOISE * np.random.default_rng([seed, 1]).normal(size=len(time))
    flux = amplitude * np.sin(2 * np.pi * time / period + 0.4) + noise
    return time, flux, np.full(len(time), NOISE)


def alias(period: float, day: float) -> float:
    return 1 / abs(1 / period + day)


@pytest.mark.parametrize("period", [0.72, 0.9, 1.19, 1.4, 2.6, 5.3, 8.4, 17.0, 29.0])
@pytest.mark.parametrize("day", [-1.0, 1.0])
def test_the_period_behind_an_alias_is_found(period: float, day: float) -> None:
    answer = alias(period, day) * 1.01  # a network is not exact
    assert arbitrate(*sinusoid(period), answer, 0.3) == pytest.approx(period, rel=0.01)


@pytest.mark.parametrize("period", [1.03, 1.4, 2.0, 3.7, 8.4, 17.0, 29.0])
def test_a_right_answer_stays_to_the_bit(period: float) -> None:
    for error in (0.98, 1.0, 1.02):
        assert arbitrate(*sinusoid(period), error * period, 0.0) == error * period


def test_an_alias_that_explains_too_little_is_not_taken() -> None:
    light_curve = sinusoid(5.3)
    answer = alias(5.3, -1.0)
    power = find_rival(*light_curve, answer).power
    amplitude, noise = 0.05, NOISE
    assert power == pytest.approx(amplitude**2 / (amplitude**2 + 2 * noise**2), abs=0.05)
    assert arbitrate(*light_curve, answer, power + 1e-6) == answer
    assert arbitrate(*light_curve, answer, power - 1e-6) == pytest.approx(5.3, rel=0.01)
    assert arbitrate(*light_curve, answer, NO_SHARE) == answer


def test_another_period_than_an_alias_is_none_of_its_business() -> None:
    # the answer is simply wrong: neither it nor its aliases 1.11 d and 0.91 d hold the signal of 5.3 d
    assert arbitrate(*sinusoid(5.3), 10.2, 0.3) == 10.2


def test_time_may_come_in_any_order_and_from_any_origin() -> None:
    time, flux, flux_err = sinusoid(5.3)
    order = np.random.default_rng(3).permutation(len(time))
    there = arbitrate(time[order] - 50000, flux[order], flux_err[order], alias(5.3, -1.0), 0.3)
    assert there == pytest.approx(arbitrate(time, flux, flux_err, alias(5.3, -1.0), 0.3), rel=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_light_curve_no_rival(n: int) -> None:
    time, flux, flux_err = (column[:n] for column in sinusoid(5.3))
    assert arbitrate(time, flux, flux_err, 1.23, 0.0) == 1.23


def test_no_answer_stays_none() -> None:
    assert np.isnan(arbitrate(*sinusoid(5.3), np.nan, 0.0))


def test_stars_are_cleaned_and_detrended_first() -> None:
    """A step between cameras and a trend hide the signal from the bare periodogram, and not from that of the stars."""
    time, flux, flux_err = sinusoid(5.3)
    half = np.arange(len(time)) % 2 == 0
    trend = 0.2 * np.sin(2 * np.pi * time / 500)
    raw = 1 + flux + 0.5 * half + trend
    columns = {
        "time": np.tile(time, 2),
        "flux": np.tile(raw, 2).astype(np.float32),
        "flux_err": np.tile(flux_err, 2).astype(np.float32),
        "camera": np.tile(np.where(half, "ba", "bb"), 2),
    }
    stars = LightCurves(("a", "b"), np.array([0, len(time), 2 * len(time)]), columns, "MJD_UTC")
    answer = alias(5.3, -1.0)
    assert arbitrate(time, raw, flux_err, answer, 0.3) == answer
    found = arbitrate_stars(stars, np.array([answer, 5.3]), 0.3)
    assert found[0] == pytest.approx(5.3, rel=0.01)
    assert found[1] == 5.3
    with pytest.raises(DataError, match="2 light curves need as many periods, not 1"):
        arbitrate_stars(stars, np.array([answer]), 0.3)


def brute_share(
    period: NDArray, true: NDArray, rivals: list[Rival], most_cost: float
) -> tuple[float, tuple[float, float]]:
    """Every threshold there is, tried one after the other."""
    known = np.isfinite(true)
    best = (NO_SHARE, (0.0, 0.0))
    winners = [r.power for r, counts in zip(rivals, known, strict=True) if counts and r.power > r.answers_power]
    for share in sorted(np.nextafter(winners, 0), reverse=True):
        after = np.array(
            [r.period if r.power > max(share, r.answers_power) else p for p, r in zip(period, rivals, strict=True)]
        )
        was, now = (np.abs(p - true)[known] <= 0.1 * true[known] for p in (period, after))
        if np.mean(was & ~now) <= most_cost:
            best = (share, (float(np.mean(now & ~was)), float(np.mean(was & ~now))))
    return best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most_cost", [0.0, 0.02, 1.0])
def test_the_share_is_the_lowest_that_is_allowed(seed: int, most_cost: float) -> None:
    rng = np.random.default_rng(seed)
    true = np.where(rng.random(200) < 0.1, np.nan, rng.uniform(1, 30, 200))
    period = np.where(rng.random(200) < 0.5, true, rng.uniform(1, 30, 200))
    period = np.where(np.isnan(period), 5.0, period)
    # strong rivals are right more often
    powers = rng.random((200, 2))
    rivals = [
        Rival(float(t if rng.random() < power else 0.9), float(power), float(own))
        for t, (power, own) in zip(true, powers, strict=True)
    ]
    share, gain, cost = choose_share(period, true, rivals, most_cost)
    lowest, changes = brute_share(period, true, rivals, most_cost)
    assert share == lowest
    assert (gain, cost) == pytest.approx(changes)
    assert cost <= most_cost


def test_no_share_where_arbitration_harms() -> None:
    rivals = [Rival(1.2, 0.9, 0.1)] * 50
    assert choose_share(np.full(50, 6.0), np.full(50, 6.0), rivals) == (NO_SHARE, 0.0, 0.0)


def test_no_share_without_rivals() -> None:
    assert choose_share(np.full(5, 6.0), np.full(5, 6.0), [Rival(1.2, 0.1, 0.9)] * 5) == (NO_SHARE, 0.0, 0.0)


@pytest.mark.parametrize(("most_cost", "expected"), [(0.0, (0.6, 0.02, 0.0)), (0.01, (0.2, 0.02, 0.01))])
def test_a_cost_is_paid_up_to_its_limit(most_cost: float, expected: tuple[float, float, float]) -> None:
    """Of a hundred stars two are put right, then one put wrong, then one that is wrong anyway, then one wrong again."""
    period = np.full(100, 6.0)
    true = np.where(np.arange(100) < 2, 0.857, 6.0)
    true[3] = 20.0
    winners = [Rival(0.857, power, 0.1) for power in (0.7, 0.6, 0.3, 0.2, 0.15)]
    rivals = [*winners, *[Rival(0.857, 0.3, 0.5)] * 95]
    share, gain, cost = choose_share(period, true, rivals, most_cost)
    assert (share, gain, cost) == pytest.approx(expected)
    assert share < expected[0]
