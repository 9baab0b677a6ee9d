"""Flares against the published template in extended precision, and their statistics against the laws they follow."""

from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest

from varistar.physics.flares import (
    SHAPE_AREA,
    WIDTH_LAW,
    FlareLaw,
    Flares,
    draw_flare_law,
    draw_flares,
    flare_energy,
    flare_flux,
    flare_shape,
    join_flares,
)

MINUTE = 1.0 / 1440.0


def published(x: float) -> mpmath.mpf:
    """The convolution of Tovar Mendoza et al. (2022) as an integral, up to its height; x in published widths."""
    b, c = -0.251299705922117, 0.22675974948468916
    d1, d2, f1 = 0.15551880775110513, 1.2150539528490194, 0.12695865022878844

    def integrand(s: mpmath.mpf) -> mpmath.mpf:
        return mpmath.exp(-(((x - s - b) / c) ** 2)) * (f1 * mpmath.exp(-d1 * s) + (1 - f1) * mpmath.exp(-d2 * s))

    middle = max(x - b, 0.0)
    return mpmath.quad(integrand, [0, *sorted({middle, middle + 1.0}), middle + 3.0])


def some_flares(n: int, seed: int = 1) -> Flares:
    rng = np.random.default_rng(seed)
    tpeak = np.sort(rng.uniform(2.0, 8.0, n))
    return Flares(tpeak, 10.0 ** rng.uniform(-3, 1, n), 10.0 ** rng.uniform(-4, -1.5, n), np.arange(n))


def test_the_template_is_the_published_one_with_unit_height_and_width() -> None:
    x = np.array([-1.0, -0.4, 0.0, 0.3, 1.0, 3.0, 10.0])
    at, width = -0.0025694348, 1.0866563463
    expected = np.array([float(published(at + width * v) / published(at)) for v in x])
    np.testing.assert_allclose(flare_shape(x), expected, rtol=1e-9)


def test_the_peak_is_one_at_zero_and_half_is_one_wide() -> None:
    x = np.linspace(-3.0, 3.0, 600_001)
    shape = flare_shape(x)
    assert shape.max() == pytest.approx(1.0, abs=1e-9)
    assert x[np.argmax(shape)] == pytest.approx(0.0, abs=2e-4)  # flat there: 1e-9 of the height is 3e-5 wide
    above = x[shape >= 0.5]
    assert above[-1] - above[0] == pytest.approx(1.0, abs=2.1e-5)  # two steps of the grid
    assert flare_shape(np.array([-5.0]))[0] == 0.0


def test_equivalent_duration_is_the_integral() -> None:
    x = np.linspace(-3.0, 150.0, 1_000_001)
    assert np.trapezoid(flare_shape(x), x) == pytest.approx(SHAPE_AREA, rel=1e-8)
    flare = Flares(np.zeros(1), np.array([0.5]), np.array([10 * MINUTE]), np.zeros(1, np.int64))
    assert flare.equivalent_duration[0] == pytest.approx(0.5 * 600.0 * SHAPE_AREA)


@pytest.mark.parametrize("exposure", [20 / 86400, 120 / 86400, 1800 / 86400])
def test_exposures_are_averaged(exposure: float) -> None:
    """Against the mean of many points in each exposure, on touching exposures and on ones with gaps."""
    flares = some_flares(5)
    time = np.arange(1.5, 9.0, exposure)
    time = time[np.random.default_rng(0).random(len(time)) < 0.8]
    offsets = exposure * ((np.arange(4000) + 0.5) / 4000 - 0.5)
    chosen = np.linspace(0, len(time) - 1, 150).astype(int)
    chosen = np.union1d(chosen, np.searchsorted(time, flares.tpeak))
    phase = ((time[chosen, None] + offsets)[..., None] - flares.tpeak) / flares.fwhm
    expected = (flare_shape(phase) * flares.amplitude).sum(axis=2).mean(axis=1)
    # the midpoint rule's error, h^2 f'' / 24 with f'' below 30 amplitude / fwhm^2 in steps of exposure / 4000
    steepest = np.max(flares.amplitude * 30.0 / 24.0 * (exposure / 4000 / flares.fwhm) ** 2)
    np.testing.assert_allclose(flare_flux(flares, time, exposure)[chosen], expected, rtol=1e-6, atol=1e-7 + steepest)


def test_all_the_light_arrives_whatever_the_cadence() -> None:
    flares = some_flares(8)
    for exposure in (1 / 720, 1 / 48):
        flux = flare_flux(flares, np.arange(0.0, 30.0, exposure), exposure)
        assert flux.sum() * exposure * 86400 == pytest.approx(flares.equivalent_duration.sum(), rel=1e-4)


def test_flares_add_up_and_do_not_act_before_they_begin() -> None:
    flares = some_flares(6)
    time = np.arange(0.0, 12.0, 1 / 720)
    alone = sum(flare_flux(flares.take(np.array([k])), time, 1 / 720) for k in range(6))
    together = flare_flux(flares, time, 1 / 720)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    first = np.min(flares.tpeak - 2.0 * flares.fwhm)
    assert np.all(together[time < first - 1 / 720] == 0.0) and np.all(together >= 0.0)
    assert len(flare_flux(flares.take(np.array([], int)), time, 1 / 720)) == len(time)


def test_outbursts_follow_the_law() -> None:
    law = FlareLaw(rate=0.5, alpha=1.9, bounds=(1.0, 1000.0))
    days = 4000.0
    flares = draw_flares(np.random.default_rng(3), law, 100.0, 100.0 + days)
    assert np.all(np.diff(flares.tpeak) >= 0)
    first = pd.Series(flares.equivalent_duration).groupby(flares.outburst).max().to_numpy()
    expected = days * law.per_day()
    assert abs(len(first) - expected) < 5 * np.sqrt(expected)
    # the largest flare of an outburst is its first, as the others are below 0.7 of it
    slope = 1.0 + len(first) / np.sum(np.log(first / 1.0))  # Crawford et al. (1970), unbounded
    cut = 1000.0 ** (1 - 1.9)
    bias = 0.9**2 * cut * np.log(1000.0) / (1 - cut)  # of that estimate by the upper bound, to first order
    assert slope == pytest.approx(1.9 + bias, abs=5 * 0.9 / np.sqrt(len(first)) + bias)
    above = np.sum(first > 10.0)
    wanted = days * 0.5 * (1.0 - 100.0 ** (1 - 1.9))
    assert abs(above - wanted) < 5 * np.sqrt(wanted)


def test_widths_follow_the_equivalent_durations_with_scatter() -> None:
    flares = draw_flares(np.random.default_rng(4), FlareLaw(2.0, 1.6), 0.0, 2000.0)
    x, y = np.log10(flares.equivalent_duration), np.log10(flares.fwhm / MINUTE)
    slope, zero = np.polyfit(x, y, 1)
    error = WIDTH_LAW[2] / np.sqrt(len(x)) / x.std()
    assert abs(slope - WIDTH_LAW[1]) < 5 * error
    assert abs(zero - WIDTH_LAW[0]) < 5 * error * np.hypot(1, x.mean())
    assert np.std(y - zero - slope * x) == pytest.approx(WIDTH_LAW[2], rel=0.03)


def test_larger_outbursts_are_more_often_complex() -> None:
    flares = draw_flares(np.random.default_rng(5), FlareLaw(1.0, 1.7), 0.0, 3000.0)
    outbursts = pd.DataFrame({"n": 1, "ed": flares.equivalent_duration}).groupby(flares.outburst)
    table = outbursts.agg({"n": "sum", "ed": "max"})
    small, large = table[table.ed < 1.0], table[table.ed > 30.0]
    assert (small.n > 1).mean() < 0.2 < 0.4 < (large.n > 1).mean() < 0.65


def test_a_star_that_does_not_flare_has_none() -> None:
    none = draw_flares(np.random.default_rng(0), FlareLaw(0.0, 2.0), 0.0, 1000.0)
    assert len(none) == 0 and len(join_flares([none, none])) == 0


def test_joined_outbursts_keep_apart() -> None:
    parts = [draw_flares(np.random.default_rng(k), FlareLaw(1.0, 1.8), 30.0 * k, 30.0 * k + 20) for k in range(3)]
    joined = join_flares(parts)
    assert len(np.unique(joined.outburst)) == sum(len(np.unique(part.outburst)) for part in parts)
    assert np.all(np.diff(joined.tpeak) >= 0)


def test_cool_and_young_stars_flare_most() -> None:
    def rate(teff: float, age: float) -> float:
        return float(np.median([draw_flare_law(np.random.default_rng(i), teff, age, (1, 100)).rate for i in range(99)]))

    assert rate(3200, 100) == pytest.approx(rate(3200, 700))  # M dwarfs stay active for 800 Myr
    assert rate(3200, 4000) < 0.5 * rate(3200, 700)
    assert rate(5000, 100) < 0.2 * rate(3200, 100) and rate(5000, 700) < 0.2 * rate(5000, 50)


def test_energy_against_a_star_that_is_its_own_flare() -> None:
    """A star of 9000 K that doubles for a second emits its disk's light of a second more."""
    disk = np.pi * (2 * 6.957e10) ** 2
    assert flare_energy(np.array(1.0), 9000.0, 2.0) == pytest.approx(5.670374e-5 * 9000.0**4 * disk)
    assert flare_energy(np.array(1.0), 3000.0, 1.0) < 0.05 * flare_energy(np.array(1.0), 9000.0, 1.0)


@pytest.mark.realdata
def test_energies_of_real_flares(real_data: Path) -> None:
    """TIC 358108509 (2824 K, 0.129 Sun by its file): energies that others published, within 20 % of ours."""
    catalog = pd.read_csv(real_data / "flares" / "Guenther_2020_flare_catalog.txt")
    star = catalog[(catalog.TIC == 358108509) & catalog.Ebol.notna()]
    duration = 1.827 * star.Amp * star.FWHMdt * 86400.0  # area of the template used there (Davenport et al. 2014)
    ratio = star.Ebol / flare_energy(duration.to_numpy(), 2824.0, 0.129)
    assert len(ratio) == 4 and ratio.between(0.8, 1.25).all()
