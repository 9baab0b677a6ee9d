"""What stars do: periods are periods, changes belong to the star, and each kind varies as its kind does."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.timeseries import LombScargle

from varistar.sky.population import KINDS, Kind, Star, draw_star
from varistar.sky.signals import harmonics_of, simulate_signal

TIME = np.sort(np.random.default_rng(2).uniform(58484.5, 60311.5, 700))


def stars(kind: Kind, count: int, subtype: str = "") -> list[Star]:
    drawn = (draw_star(88, kind, i, 0, (100.0, -30.0)) for i in range(40 * count))
    return [star for star in drawn if not subtype or star.subtype == subtype][:count]


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_finite_with_median_zero_and_belong_to_the_star(kind: Kind) -> None:
    drawn = stars(kind, 5)
    signals = [simulate_signal(88, star, TIME) for star in drawn]
    for star, signal in zip(drawn, signals, strict=True):
        assert signal.change.dtype == np.float64 and signal.change.shape == TIME.shape
        assert np.all(np.isfinite(signal.change)) and np.median(signal.change) == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_array_equal(signal.change, simulate_signal(88, star, TIME).change)
    if kind == "constant":
        assert not any(np.ptp(signal.change) for signal in signals)
    else:
        changes = [signal.change for signal in signals]
        assert np.abs(np.corrcoef(changes)[np.triu_indices(5, 1)]).max() < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_harmonics_and_shown_period_are_known_where_there_is_a_period(kind: Kind) -> None:
    for star in stars(kind, 12):
        signal = simulate_signal(88, star, TIME)
        assert np.isnan(signal.shown_period) == np.isnan(star.period_days)
        assert np.isnan(signal.harmonics).all() == np.isnan(star.period_days)
        if np.isfinite(star.period_days):
            assert signal.harmonics.max() == 1.0 and signal.harmonics.min() >= 0.0
        if not star.spots and np.isfinite(star.period_days):
            assert signal.shown_period == star.period_days


@pytest.mark.parametrize(("kind", "subtype"), [("eclipsing", ""), ("cepheid", ""), ("delta_scuti", "HADS")])
def test_periodic_stars_repeat_with_their_period_and_not_with_half_of_it(kind: Kind, subtype: str) -> None:
    differing = []
    for star in stars(kind, 40, subtype):
        time = np.linspace(0.0, 2 * star.period_days, 800, endpoint=False)
        change = simulate_signal(88, star, time).change
        one, later = change[:400], change[400:]
        if kind != "delta_scuti":  # an overtone comes on top there
            np.testing.assert_allclose(one, later, atol=1e-9)
        differing.append(np.abs(np.roll(one, 200) - one).max() / np.ptp(one))
        if kind == "eclipsing":
            np.testing.assert_allclose(simulate_signal(88, star, TIME).harmonics, harmonics_of(one), atol=0.02)
    assert np.mean(np.array(differing) > 0.02) > 0.9


def test_harmonics_of_a_shape_are_its_fourier_amplitudes() -> None:
    phase = np.linspace(0, 1, 512, endpoint=False)
    shape = 0.2 * np.cos(2 * np.pi * phase + 1.0) + 0.4 * np.sin(4 * np.pi * phase) + 0.1 * np.sin(8 * np.pi * phase)
    np.testing.assert_allclose(harmonics_of(shape + 7.0), [0.5, 1.0, 0.0, 0.25], atol=1e-12)


def test_eclipsing_binaries_look_like_half_their_period() -> None:
    """Two nearly equal minima a turn: the second harmonic leads in contact binaries."""
    leading = [np.argmax(simulate_signal(88, star, TIME).harmonics) for star in stars("eclipsing", 30, "EW")]
    assert np.mean(np.array(leading) == 1) > 0.9


def test_spotted_stars_show_the_period_they_are_said_to() -> None:
    """The strongest period of a stable star's light is the shown one or half of it."""
    drawn = [star for star in stars("rotator", 200) if star.spots == "stable" and 2 < star.period_days < 20]
    drawn = [star for star in drawn if star.inclination > 50][:10]
    found = []
    for star in drawn:
        signal = simulate_signal(88, star, TIME)
        first_year = TIME[0] + 400.0 > TIME
        scargle = LombScargle(TIME[first_year], signal.change[first_year], nterms=2)
        frequency = np.linspace(0.4, 2.5, 1500) / signal.shown_period
        ratio = frequency[np.argmax(scargle.power(frequency))] * signal.shown_period
        found.append(min(abs(ratio - 1.0), abs(ratio - 2.0), abs(ratio - 0.5)))
    assert len(found) == 10 and np.median(found) < 0.03


def test_oscillations_grow_with_their_period() -> None:
    drawn = stars("oscillating", 60)
    spread = np.array([np.std(simulate_signal(88, star, TIME).change) for star in drawn])
    slope = np.polyfit(np.log([star.period_days for star in drawn]), np.log(spread), 1)[0]
    assert slope == pytest.approx(0.85, abs=0.15)
    assert spread.min() > 0.0005 and spread.max() < 0.06


def test_oscillations_peak_at_nu_max() -> None:
    """The power of many stars of one period, added up: each of them is a random series."""
    star = replace(stars("oscillating", 1)[0], period_days=8.0)
    frequency = np.linspace(0.05, 0.25, 400)
    power = np.zeros(400)
    for index in range(25):
        change = simulate_signal(88, replace(star, key=("oscillating", index)), TIME).change
        power += LombScargle(TIME, change / np.std(change)).power(frequency)
    assert 1 / frequency[np.argmax(power)] == pytest.approx(8.0, rel=0.03)
    # nu_max = 1.447 muHz, so the neighbours stand 0.267 x 1.447^0.764 = 0.354 muHz = 0.0306 / d away
    beside, between = (
        power[np.min(np.abs(frequency[:, None] - lines), axis=1) < 0.003].mean()
        for lines in ([0.125 - 0.0306, 0.125 + 0.0306], [0.110, 0.140])
    )
    assert beside > 1.5 * between


def test_quasars_vary_by_tenths_of_a_magnitude_and_clump_stars_do_not() -> None:
    time = np.arange(58484.5, 60311.5, 2.0)
    quasars = [np.std(simulate_signal(88, star, time).change) for star in stars("quasar", 60)]
    clump = [np.std(simulate_signal(88, star, time).change) for star in stars("clump", 60)]
    assert 0.05 < np.median(quasars) < 0.3
    assert np.max(clump) < 0.02


def test_young_stars_dim_or_brighten() -> None:
    """Dippers lean to faint and bursters to bright: the asymmetry M of Cody et al. (2014)."""

    def asymmetry(subtype: str) -> float:
        changes = [simulate_signal(88, star, TIME).change for star in stars("young", 15, subtype)]
        extremes = [np.mean(np.sort(change)[np.r_[:70, -70:0]]) / np.std(change) for change in changes]
        return float(np.median(extremes))

    assert asymmetry("dipper") > 0.25 and asymmetry("burster") < -0.25


@pytest.mark.parametrize("kind", KINDS)
def test_one_epoch_is_enough(kind: Kind) -> None:
    signal = simulate_signal(88, stars(kind, 1)[0], TIME[:1])
    assert signal.change.tolist() == [0.0]
