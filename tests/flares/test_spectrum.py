"""The periodogram of orbits, against dense least squares and astropy."""

import numpy as np
import pytest
from astropy.timeseries import LombScargle

from varistar.flares.orbits import Orbit
from varistar.flares.spectrum import bin_cadences, periodogram

CADENCE = 1.0 / 720.0


def make_orbit(start: float, days: float, flux, rng: np.random.Generator, noise: float = 1e-3) -> Orbit:
    time = start + CADENCE * np.arange(round(days / CADENCE))
    values = flux(time) + noise * rng.standard_normal(len(time))
    return Orbit(time, values, np.full(len(time), noise), np.arange(len(time)), CADENCE)


def no_flares(orbits: list[Orbit]) -> list[np.ndarray]:
    return [np.zeros(len(orbit), dtype=bool) for orbit in orbits]


@pytest.fixture
def orbits() -> list[Orbit]:
    """Two short orbits of different level and length, with lost cadences."""
    rng = np.random.default_rng(1)
    made = [
        make_orbit(1000.0, 2.0, lambda t: 1.0 + 0.002 * np.sin(9.0 * t), rng),
        make_orbit(1002.7, 1.3, lambda t: 1.01 + 0.002 * np.sin(9.0 * t), rng),
    ]
    for orbit in made:
        orbit.flux[rng.integers(0, len(orbit), 200)] = np.nan
    return made


def test_power_is_that_of_least_squares_with_a_constant_for_each_orbit(orbits: list[Orbit]) -> None:
    points = bin_cadences(orbits, no_flares(orbits), CADENCE * 1440, True)
    spectrum = periodogram(points, 0.1, 2.0, 5.0)
    assert spectrum is not None
    good = [orbit.good for orbit in orbits]
    time, flux = (
        np.concatenate([getattr(o, n)[g] for o, g in zip(orbits, good, strict=True)]) for n in ("time", "flux")
    )
    owner = np.repeat([0, 1], [g.sum() for g in good])
    constants = np.stack([owner == 0, owner == 1], axis=1).astype(float)

    def squares(design: np.ndarray) -> float:
        return float(np.sum((flux - design @ np.linalg.lstsq(design, flux, rcond=None)[0]) ** 2))

    alone = squares(constants)
    for k in range(0, len(spectrum.frequency), 17):
        angle = 2 * np.pi * spectrum.frequency[k] * (time - time[0])
        with_waves = squares(np.column_stack([constants, np.cos(angle), np.sin(angle)]))
        # The transform is good to 1e-9 of the sum of strengths, of which a single orbit leaves at least 1e-3.
        assert spectrum.power[k] == pytest.approx(1.0 - with_waves / alone, abs=1e-6)


def test_one_orbit_has_the_power_of_astropy(orbits: list[Orbit]) -> None:
    orbit = orbits[0]
    spectrum = periodogram(bin_cadences([orbit], no_flares([orbit]), CADENCE * 1440, True), 0.1, 1.0, 5.0)
    assert spectrum is not None
    peer = LombScargle(orbit.time[orbit.good], orbit.flux[orbit.good])
    assert spectrum.power == pytest.approx(peer.power(spectrum.frequency, method="slow"), abs=1e-6)
    assert spectrum.frequency[0] == pytest.approx(1.0 / np.ptp(orbit.time), rel=1e-2)


def test_bins_lose_as_much_power_as_the_module_says() -> None:
    orbit = make_orbit(0.0, 13.0, lambda t: 1.0 + 0.01 * np.sin(2 * np.pi * t / 0.1), np.random.default_rng(2), 0.0)
    spectrum = periodogram(bin_cadences([orbit], no_flares([orbit]), 10.0, True), 0.05, 1.0, 20.0)
    assert spectrum is not None
    assert spectrum.power.max() == pytest.approx(np.sinc(10.0 / 144.0) ** 2, abs=1e-3)


def test_bins_count_what_is_not_masked(orbits: list[Orbit]) -> None:
    masks = no_flares(orbits)
    masks[0][100:400] = True
    points = bin_cadences(orbits, masks, 10.0, True)
    used = [o.good & ~m for o, m in zip(orbits, masks, strict=True)]
    assert points.weight.sum() == sum(u.sum() for u in used)
    assert points.weight.max() == 5
    for number, (orbit, use) in enumerate(zip(orbits, used, strict=True)):
        mine = points.orbit == number
        assert points.weight[mine] @ points.flux[mine] == pytest.approx(0.0, abs=1e-12)
        assert points.weight[mine] @ points.time[mine] == pytest.approx(orbit.time[use].sum())


def test_without_light_there_is_no_periodogram(orbits: list[Orbit]) -> None:
    masks = [np.ones(len(orbit), dtype=bool) for orbit in orbits]
    assert periodogram(bin_cadences(orbits, masks, 10.0, True), 0.1, 2.0, 5.0) is None
    for orbit in orbits:
        orbit.flux[:] = 1.0
    assert periodogram(bin_cadences(orbits, no_flares(orbits), 10.0, True), 0.1, 2.0, 5.0) is None
