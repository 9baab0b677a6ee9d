"""Slopes of simulated flares: bias, coverage and the closed form as oracles."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import kstest

from varistar.flares.frequency import FlareSample, FrequencySettings
from varistar.flares.power_law import bootstrap_slope, closed_form_slope, fit_slope, goodness
from varistar.foundation.errors import ConfigError, DataError

FROM_ONE = FrequencySettings(lowest=1.0)


def rising(size: np.ndarray) -> np.ndarray:
    """A completeness that rises from 0 to 1 around 8."""
    return 1.0 / (1.0 + (size / 8.0) ** -2.5)


def pareto(rng: np.random.Generator, n: int, alpha: float) -> np.ndarray:
    return (1.0 - rng.random(n)) ** (-1.0 / (alpha - 1.0))


def seen(rng: np.random.Generator, alpha: float, mean: float, days: float = 100.0) -> FlareSample:
    """Flares above 1, `mean` of them expected, seen through `rising`."""
    sizes = pareto(rng, int(rng.poisson(mean)), alpha)
    sizes = sizes[rng.random(len(sizes)) < rising(sizes)]
    return FlareSample(sizes, np.ones(len(sizes)), days, rising)


@pytest.mark.parametrize("weighted", [False, True])
def test_without_completeness_it_is_the_closed_form(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = pareto(rng, 40, 2.1)
    p = rng.uniform(0.3, 1.0, 40) if weighted else np.ones(40)
    fit = fit_slope([FlareSample(sizes, p, 50.0)], FROM_ONE)
    likeliest, unbiased = closed_form_slope(sizes, 1.0, p)
    assert fit is not None
    assert fit.likeliest == pytest.approx(likeliest, abs=1e-6)
    assert fit.alpha == pytest.approx(unbiased, abs=1e-6)
    assert fit.n == pytest.approx(p.sum()) and fit.lowest == 1.0
    assert fit.rate == pytest.approx(p.sum() / 50.0)
    # the profile of a gamma likelihood: n (beta / b - 1 - ln(beta / b)) = 3.841 / 2
    for end in (fit.low, fit.high):
        ratio = (end - 1.0) / (likeliest - 1.0)
        assert p.sum() * (ratio - 1.0 - math.log(ratio)) == pytest.approx(3.8414588 / 2.0, rel=1e-4)


def test_the_closed_form_is_unbiased_and_ignores_flares_below_the_cut() -> None:
    rng = np.random.default_rng(1)
    values = np.array([closed_form_slope(pareto(rng, 8, 1.9), 1.0) for _ in range(4000)])
    error = values[:, 1].std() / math.sqrt(4000)
    assert abs(values[:, 1].mean() - 1.9) < 4.0 * error
    assert values[:, 0].mean() - 1.9 == pytest.approx(0.9 / 7.0, abs=4.0 * error)  # beta n / (n - 1) of a Pareto law
    sizes = pareto(rng, 50, 1.9)
    assert closed_form_slope(np.append(sizes, 0.5), 1.0) == closed_form_slope(sizes, 1.0)
    assert all(math.isnan(value) for value in closed_form_slope(sizes, 1e9))


def test_the_likelihood_is_the_one_of_the_docstring() -> None:
    """Against the brute force: quadrature to infinity by another rule, and a search for the maximum."""
    rng = np.random.default_rng(2)
    sample = seen(rng, 1.8, 300.0)
    fit = fit_slope([sample])
    assert fit is not None
    logs = np.log(sample.size[sample.size >= fit.lowest])

    def minus(alpha: float) -> float:
        def density(u: float) -> float:
            return math.exp((1.0 - alpha) * u) * float(rising(np.exp(np.array([u])))[0])

        integral = quad(density, math.log(fit.lowest), 100.0, limit=300)[0]
        return alpha * logs.sum() + len(logs) * math.log(integral)

    best = minimize_scalar(minus, bounds=(1.2, 3.0), method="bounded", options={"xatol": 1e-7})
    assert fit.likeliest == pytest.approx(best.x, abs=1e-4)
    for end in (fit.low, fit.high):
        assert minus(end) - best.fun == pytest.approx(3.8414588 / 2.0, rel=1e-3)


@pytest.mark.parametrize("alpha", [1.5, 2.2])
def test_slopes_are_unbiased_and_intervals_cover_through_completeness(alpha: float) -> None:
    trials, fits = 200, []
    covered = {0.68: 0, 0.95: 0}
    for seed in range(trials):
        sample = seen(np.random.default_rng(seed), alpha, 160.0 if alpha < 2.0 else 800.0)
        for level in covered:
            fit = fit_slope([sample], FrequencySettings(level=level))
            assert fit is not None
            covered[level] += fit.low <= alpha <= fit.high
        fits.append((fit.alpha, fit.rate * fit.lowest ** (alpha - 1.0) * 100.0, fit.n))
    corrected, rate, n = np.array(fits).T
    error = corrected.std() / math.sqrt(trials)
    assert n.mean() < 80.0
    assert abs(corrected.mean() - alpha) < 3.5 * error
    for level, count in covered.items():
        assert abs(count / trials - level) < 3.5 * math.sqrt(level * (1.0 - level) / trials)
    assert rate.mean() == pytest.approx(160.0 if alpha < 2.0 else 800.0, rel=0.03)


def test_the_bias_of_few_flares_is_removed_through_completeness() -> None:
    fits = []
    for seed in range(500):
        sample = seen(np.random.default_rng(seed), 2.0, 800.0)
        fit = fit_slope([FlareSample(sample.size[:14], sample.p[:14], 1.0, rising)], FrequencySettings(lowest=7.0))
        if fit is not None:
            fits.append((fit.alpha, fit.likeliest))
    corrected, likeliest = np.array(fits).T
    error = corrected.std() / math.sqrt(len(fits))
    assert len(fits) > 300 and likeliest.mean() - 2.0 > 4.0 * error
    assert abs(corrected.mean() - 2.0) < 3.5 * error


def test_leaving_completeness_out_would_be_wrong() -> None:
    sample = seen(np.random.default_rng(3), 2.0, 4000.0)
    with_it = fit_slope([sample])
    assert with_it is not None
    without = fit_slope([FlareSample(sample.size, sample.p, sample.days)], FrequencySettings(lowest=with_it.lowest))
    assert without is not None
    assert with_it.low < 2.0 < with_it.high and without.high < 2.0


def test_weights_widen_the_interval_and_false_events_of_low_probability_hardly_matter() -> None:
    rng = np.random.default_rng(4)
    sizes = pareto(rng, 200, 2.0)
    sure = fit_slope([FlareSample(sizes, np.ones(200), 10.0)], FROM_ONE)
    half = fit_slope([FlareSample(sizes, np.full(200, 0.5), 10.0)], FROM_ONE)
    assert sure is not None and half is not None
    assert half.likeliest == pytest.approx(sure.likeliest) and half.rate == pytest.approx(sure.rate / 2.0)
    assert (half.high - half.low) / (sure.high - sure.low) == pytest.approx(math.sqrt(2.0), rel=0.02)
    none = fit_slope([FlareSample(np.append(sizes, 1e4), np.append(np.ones(200), 0.0), 10.0)], FROM_ONE)
    assert none is not None and none.likeliest == pytest.approx(sure.likeliest, abs=1e-6)


def test_stars_are_joined_each_with_its_own_completeness_and_rate() -> None:
    """A star searched in vain lowers the rate but not the slope; one that is never complete changes nothing."""
    rng = np.random.default_rng(5)
    deep, shallow = seen(rng, 1.8, 300.0, 30.0), seen(rng, 1.8, 3000.0, 10.0)
    stretched = FlareSample(shallow.size, shallow.p, 10.0, lambda size: rising(size))
    both = fit_slope([deep, stretched])
    assert both is not None and both.low < 1.8 < both.high
    alone = [fit_slope([deep]), fit_slope([stretched])]
    assert all(fit is not None and both.high - both.low < fit.high - fit.low for fit in alone)
    vain = FlareSample(np.zeros(0), np.zeros(0), 40.0, rising)
    with_vain = fit_slope([deep, stretched, vain])
    assert with_vain is not None
    assert with_vain.likeliest == pytest.approx(both.likeliest, abs=1e-6)
    assert with_vain.rate == pytest.approx(both.rate / 2.0, rel=1e-3)
    deaf = FlareSample(np.array([100.0]), np.ones(1), 1e4, lambda size: 0.01 * rising(size))
    with_deaf = fit_slope([deep, stretched, deaf])
    assert with_deaf is not None and with_deaf.rate == pytest.approx(both.rate, rel=1e-3)


def test_a_law_that_ends_may_be_flatter_than_one() -> None:
    rng = np.random.default_rng(6)
    for alpha in (0.5, 1.0, 1.7):
        # inverse of the cumulative x^(1 - alpha) between 1 and 100
        chance, slope = rng.random(6000), 1.0 - alpha
        sizes = 100.0**chance if slope == 0.0 else (1.0 + chance * (100.0**slope - 1.0)) ** (1.0 / slope)
        fit = fit_slope([FlareSample(sizes, np.ones(6000), 60.0)], FrequencySettings(lowest=1.0, largest=100.0))
        assert fit is not None
        assert abs(fit.alpha - alpha) < 2.0 * (fit.high - fit.low) and fit.high - fit.low < 0.1
        assert fit.rate == pytest.approx(100.0)


def test_the_fit_has_no_unit() -> None:
    sample = seen(np.random.default_rng(7), 1.8, 400.0)
    erg = FlareSample(sample.size * 1e32, sample.p, sample.days, lambda size: rising(size / 1e32))
    first, second = fit_slope([sample]), fit_slope([erg])
    assert first is not None and second is not None
    assert (second.alpha, second.low, second.rate) == pytest.approx((first.alpha, first.low, first.rate), rel=1e-6)
    assert second.lowest == pytest.approx(first.lowest * 1e32)


def test_the_bootstrap_by_star_agrees_with_the_profile_for_like_stars_and_is_wider_for_unlike_ones() -> None:
    rng = np.random.default_rng(8)
    like = [seen(rng, 1.8, 150.0) for _ in range(60)]
    fit = fit_slope(like)
    assert fit is not None
    low, high = bootstrap_slope(like, seed=0, n=600)
    assert low < fit.likeliest < high
    assert (high - low) / (fit.high - fit.low) == pytest.approx(1.0, abs=0.3)
    assert bootstrap_slope(like, seed=0, n=600) == (low, high)
    unlike = [seen(rng, 1.3 if k % 2 else 2.6, 150.0 if k % 2 else 3000.0) for k in range(60)]
    wide, mixed = bootstrap_slope(unlike, seed=0, n=600), fit_slope(unlike)
    assert mixed is not None and wide[1] - wide[0] > 1.5 * (mixed.high - mixed.low)
    vain = [FlareSample(np.zeros(0), np.zeros(0), 1.0, rising)]
    assert all(math.isnan(end) for end in bootstrap_slope(vain, seed=0, n=20))


def test_goodness_is_uniform_for_the_law_and_small_for_another() -> None:
    chances = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        sample = seen(rng, 1.9, 300.0)
        weighted = FlareSample(sample.size, rng.uniform(0.5, 1.0, len(sample.size)), 10.0, rising)
        fit = fit_slope([weighted])
        assert fit is not None
        chances.append(goodness([weighted], fit.likeliest, seed, n=19)[1])
    assert abs(np.mean(chances) - 0.525) < 3.5 * math.sqrt(1.0 / 12.0 / 50.0)
    assert np.mean(np.array(chances) <= 0.1) < 0.25
    # a bent law: steep above 30
    rng = np.random.default_rng(9)
    bent = np.concatenate([pareto(rng, 600, 1.3).clip(max=30.0) * rng.uniform(0.9, 1.0, 600)])
    other = FlareSample(bent[bent >= 1.0], np.ones(int(np.sum(bent >= 1.0))), 10.0)
    fit = fit_slope([other], FROM_ONE)
    assert fit is not None
    distance, chance = goodness([other], fit.likeliest, 0, n=39, settings=FROM_ONE)
    assert chance == 1.0 / 40.0 and distance > 0.1


def test_goodness_measures_the_distance_of_kolmogorov_and_smirnov() -> None:
    sizes = pareto(np.random.default_rng(10), 80, 2.0)
    expected = kstest(np.log(sizes), lambda u: -np.expm1(-1.1 * u)).statistic
    distance, _ = goodness([FlareSample(sizes, np.ones(80), 1.0)], 2.1, 0, n=1, settings=FROM_ONE)
    assert distance == pytest.approx(expected, abs=2e-3)


def test_too_few_flares_have_no_slope_and_bad_ones_are_refused() -> None:
    few = FlareSample(np.array([2.0, 3.0, 9.0, 5.0]), np.ones(4), 1.0)
    assert fit_slope([few], FROM_ONE) is None
    assert fit_slope([few], FrequencySettings(lowest=1.0, fewest=4.0)) is not None
    assert fit_slope([FlareSample(np.full(9, 1.0), np.ones(9), 1.0)], FROM_ONE) is None  # all alike: no slope
    assert fit_slope([FlareSample(np.zeros(0), np.zeros(0), 1.0)]) is None
    assert math.isnan(goodness([FlareSample(np.zeros(0), np.zeros(0), 1.0)], 2.0, 0)[0])
    with pytest.raises(ConfigError, match="`lowest` must say"):
        fit_slope([few])
    with pytest.raises(DataError, match="between 0 and 1"):
        fit_slope([FlareSample(np.ones(1), np.array([-0.1]), 1.0)], FROM_ONE)
