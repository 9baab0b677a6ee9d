"""Measured events: injected flares with their truth, what may be wrong with them, and their energies."""

import numpy as np
import polars as pl
import pytest

from varistar.flares import measure
from varistar.flares.fits import FitSettings
from varistar.flares.measure import (
    EDGE,
    GAP,
    MEASURED,
    NOT_FITTED,
    OVERLAPS_NEXT,
    OVERLAPS_PREVIOUS,
    PEAK_MISSING,
    POOR_FIT,
    SATURATED_WIDTH,
    UNSEEN_LIGHT,
    UNSURE_TREND,
    MeasureSettings,
    Star,
    measure_events,
    tess_luminosity,
)
from varistar.flares.orbits import Array, Orbit
from varistar.flares.trend import TrendSettings
from varistar.foundation.errors import DataError
from varistar.physics.flares import Flares, flare_energy, flare_flux

MINUTE = 1 / 1440
CADENCE = 1 / 720
NOISE = 1e-3
OURS = MeasureSettings()


def an_orbit(
    flares: Flares, light: Array | float = 1.0, cadence: float = CADENCE, m: int = 4000, seed: int = 0
) -> Orbit:
    rng = np.random.default_rng(seed)
    time = 1500.0 + cadence * np.arange(m)
    flux = light + flare_flux(flares, time, cadence) + NOISE * rng.normal(size=m)
    return Orbit(time, flux, np.full(m, NOISE), np.arange(m), cadence)


def regular(rng: np.random.Generator, n: int, cadence: float, step: int, peak_snr: float, fwhm: float) -> Flares:
    """A flare every `step` cadences."""
    tpeak = 1500.0 + cadence * (step * (np.arange(n) + 0.5) + rng.uniform(0, 1, n))
    return Flares(tpeak, np.full(n, peak_snr * NOISE), np.full(n, fwhm * MINUTE), np.arange(n))


def events_at(orbit: Orbit, flares: Flares, before: int = 4, after: int = 8, number: int = 0) -> pl.DataFrame:
    places = np.rint((flares.tpeak - orbit.time[0]) / orbit.cadence).astype(int)
    first, last = np.maximum(places - before, 0), np.minimum(places + after, len(orbit) - 1)
    return pl.DataFrame(
        {
            "star_id": "a star",
            "orbit": np.full(len(places), number, np.int32),
            "first": first.astype(np.int32),
            "last": last.astype(np.int32),
            "peak": places.astype(np.int32),
            "tstart": orbit.time[first],
            "tstop": orbit.time[last],
            "tpeak": orbit.time[np.clip(places, 0, len(orbit) - 1)],
            "p": np.full(len(places), 0.9),
        }
    )


def one(tpeak: float, amplitude: float = 0.05, fwhm: float = 8.0) -> Flares:
    return Flares(np.array([tpeak]), np.array([amplitude]), np.array([fwhm * MINUTE]), np.zeros(1, np.int64))


def measure_one(orbit: Orbit, flares: Flares, settings: MeasureSettings = OURS) -> dict:
    return measure_events(events_at(orbit, flares), [orbit], None, settings).row(0, named=True)


@pytest.mark.parametrize(
    "cadence, peak_snr, fwhm",
    [(20 / 86400, 20.0, 3.0), (CADENCE, 20.0, 8.0), (CADENCE, 200.0, 8.0), (1 / 48, 40.0, 60.0)],
)
def test_pulls_of_injected_flares(cadence: float, peak_snr: float, fwhm: float) -> None:
    """200 flares on a rotating star, trend and noise unknown: differences over errors are standard normal."""
    rng = np.random.default_rng(1)
    step, n = 150, 200
    flares = regular(rng, n, cadence, step, peak_snr, fwhm)
    period = 3000 * cadence
    light = 1.0 + 0.01 * np.sin(2 * np.pi * cadence * np.arange(step * n) / period)
    orbit = an_orbit(flares, light, cadence, step * n)
    found = measure_events(events_at(orbit, flares), [orbit], None, OURS)
    assert (found["n_components"] == 1).mean() >= 0.97
    for value, error, truth in (
        ("amplitude", "amplitude_err", flares.amplitude),
        ("tpeak", "tpeak_err", flares.tpeak),
        ("fwhm_minutes", "fwhm_err_minutes", flares.fwhm / MINUTE),
        ("equivalent_duration_s", "equivalent_duration_err_s", flares.equivalent_duration),
    ):
        pull = (found[value].to_numpy() - truth) / found[error].to_numpy()
        # 5 errors of mean and deviation of 200, and 0.1 for the trend's error that the flares share
        assert abs(np.nanmean(pull)) < 5 / np.sqrt(n) + 0.1, value
        assert abs(1.4826 * np.nanmedian(np.abs(pull)) - 1.0) < 5 * 1.17 / np.sqrt(n), value
    assert (found["quality"] == 0).mean() > 0.9


def test_data_and_fit_tell_the_same_equivalent_duration() -> None:
    """The event's own cadences, long enough to hold all light, and what they cost in error."""
    rng = np.random.default_rng(2)
    flares = regular(rng, 30, CADENCE, 400, 200.0, 6.0)
    orbit = an_orbit(flares, m=12000)
    found = measure_events(events_at(orbit, flares, 10, 120), [orbit], None, OURS)
    pull = (found["data_duration_s"].to_numpy() - flares.equivalent_duration) / found["data_duration_err_s"].to_numpy()
    assert np.abs(pull).max() < 4.5
    assert found["data_duration_err_s"].mean() > 2 * found["equivalent_duration_err_s"].mean()
    short = measure_events(events_at(orbit, flares, 2, 3), [orbit], None, OURS)
    assert (short["data_duration_s"] < 0.9 * found["data_duration_s"]).all()
    np.testing.assert_allclose(short["equivalent_duration_s"], found["equivalent_duration_s"], rtol=0.05)


@pytest.mark.parametrize("period", [0.2, 0.25, 0.5])
def test_fast_rotators(period: float) -> None:
    """Ten per cent of rotation, flares at all phases: none of it is taken for flare, and no flare for rotation."""
    rng = np.random.default_rng(3)
    flares = regular(rng, 40, CADENCE, 200, 30.0, 10.0)
    phase = 2 * np.pi * CADENCE * np.arange(8000) / period
    orbit = an_orbit(flares, 1.0 + 0.05 * np.sin(phase) + 0.01 * np.sin(2 * phase), m=8000)
    found = measure_events(events_at(orbit, flares), [orbit], None, OURS)
    ratio = found["equivalent_duration_s"].to_numpy() / flares.equivalent_duration
    assert np.median(ratio) == pytest.approx(1.0, abs=0.04)
    assert np.abs(ratio - 1.0).max() < 0.12
    assert np.median(found["amplitude"]) == pytest.approx(0.03, rel=0.05)


def test_a_long_flare_is_not_eaten() -> None:
    """Two hours wide, on a star that turns in eight days, found only near its top."""
    flare = one(1502.5, 0.05, 120.0)
    light = 1.0 + 0.01 * np.sin(2 * np.pi * CADENCE * np.arange(4000) / 8.0)
    orbit = an_orbit(flare, light)
    found = measure_events(events_at(orbit, flare, 40, 120), [orbit], None, OURS).row(0, named=True)
    assert found["equivalent_duration_s"] == pytest.approx(flare.equivalent_duration[0], rel=0.1)


def test_overlapping_flares_are_counted() -> None:
    pair = Flares(
        1502.0 + np.array([0.0, 16.0]) * MINUTE, np.array([0.05, 0.03]), np.full(2, 8 * MINUTE), np.zeros(2, np.int64)
    )
    orbit = an_orbit(pair)
    event = events_at(orbit, pair.take(slice(0, 1)), 4, 20)
    found = measure_events(event, [orbit], None, OURS).row(0, named=True)
    assert found["n_components"] == 2
    assert found["tpeak"] == pytest.approx(1502.0, abs=MINUTE)
    assert found["amplitude"] == pytest.approx(0.05, abs=5 * found["amplitude_err"])
    assert found["equivalent_duration_s"] == pytest.approx(
        pair.equivalent_duration.sum(), abs=5 * found["equivalent_duration_err_s"]
    )


def test_neighbouring_events_do_not_share_light() -> None:
    """The second stands on the first's tail."""
    pair = Flares(1502.0 + np.array([0.0, 0.04]), np.array([0.3, 0.02]), np.full(2, 12 * MINUTE), np.arange(2))
    orbit = an_orbit(pair)
    found = measure_events(events_at(orbit, pair), [orbit], None, OURS)
    assert found["quality"][0] & OVERLAPS_NEXT and found["quality"][1] & OVERLAPS_PREVIOUS
    for i in range(2):
        assert found["amplitude"][i] == pytest.approx(pair.amplitude[i], abs=5 * found["amplitude_err"][i])


def test_missing_peak_gap_and_edges() -> None:
    flare = one(1502.0)
    orbit = an_orbit(flare)
    assert measure_one(orbit, flare)["quality"] == 0
    place = round(2.0 * 720)
    flux = orbit.flux.copy()
    flux[place : place + 1] = np.nan
    holed = Orbit(orbit.time, flux, orbit.flux_err, orbit.point, orbit.cadence)
    found = measure_one(holed, flare)
    assert found["quality"] == GAP | PEAK_MISSING
    assert found["amplitude"] == pytest.approx(0.05, abs=5 * found["amplitude_err"])
    assert found["peak_flux"] < 0.05
    late = one(1500.0 + 3996 * CADENCE)
    found = measure_one(an_orbit(late), late)
    assert found["quality"] & EDGE and found["amplitude"] == pytest.approx(0.05, rel=0.25)
    early = one(1500.0 + 2 * CADENCE)
    found = measure_one(an_orbit(early), early)
    assert found["quality"] & EDGE and found["amplitude"] == pytest.approx(0.05, rel=0.25)


def test_what_is_no_flare_is_marked() -> None:
    quiet = one(1502.0, 1e-12)
    dip = an_orbit(one(1502.0, 0.05))
    upside_down = Orbit(dip.time, 2.0 - dip.flux, dip.flux_err, dip.point, dip.cadence)
    empty = Orbit(dip.time, np.full(4000, np.nan), dip.flux_err, dip.point, dip.cadence)
    box = 0.05 * (np.abs(dip.time - 1502.0) < 15 * MINUTE)
    assert measure_one(an_orbit(one(1502.0, 0.5), 1.0 + 10 * box), quiet, MeasureSettings())["quality"] & POOR_FIT
    nothing = measure_events(events_at(empty, quiet), [empty], Star(3000.0, 0.3), OURS).row(0, named=True)
    assert nothing["quality"] & NOT_FITTED and nothing["quality"] & GAP
    assert nothing["tpeak"] == events_at(empty, quiet)["tpeak"][0]
    missing = ("amplitude", "peak_flux", "equivalent_duration_s", "data_duration_s", "energy_erg", "chi2_reduced")
    assert all(nothing[name] is None for name in missing) and nothing["n_components"] == 0
    assert measure_one(upside_down, quiet)["peak_flux"] < 0.02
    spike = np.where(np.arange(4000) == 1440, 0.3, 0.0)
    assert measure_one(an_orbit(quiet, 1.0 + spike), quiet)["quality"] & SATURATED_WIDTH


def test_light_that_was_not_seen_is_not_counted() -> None:
    """The event is a cadence on a hump that lasts an hour: what the fit makes of the hump is not the event's."""
    hump = 0.05 * np.exp(-0.5 * ((CADENCE * np.arange(4000) - 2.0) / (30 * MINUTE)) ** 2)
    nothing = one(1502.0, 1e-12)
    orbit = an_orbit(nothing, 1.0 + hump)
    event = events_at(orbit, nothing, 0, 0)
    wild = FitSettings(width_scatter=None, widest=1000.0)
    stiff = TrendSettings(stiffness_days=(2.0, 2.0))
    for most_light, believed in ((None, True), (4.0, False)):
        settings = MeasureSettings(fit=wild, trend=stiff, most_light=most_light)
        found = measure_events(event, [orbit], Star(3000.0, 0.3), settings).row(0, named=True)
        assert bool(found["quality"] & UNSEEN_LIGHT) != believed
        assert (found["equivalent_duration_s"] > 4 * found["data_duration_s"]) == believed
    assert found["equivalent_duration_s"] == found["data_duration_s"] > 0
    assert found["equivalent_duration_err_s"] == found["data_duration_err_s"]
    assert found["energy_erg"] == pytest.approx(
        float(flare_energy(np.array(found["data_duration_s"]), 3000.0, 0.3)), rel=1e-12
    )


def test_light_without_noise_has_no_signal_to_noise_ratio() -> None:
    flare = one(1502.0)
    time = 1500.0 + CADENCE * np.arange(4000)
    flux = 1.0 + np.where(np.abs(time - 1502.0) < 3 * MINUTE, 0.05, 0.0)
    orbit = Orbit(time, flux, np.full(4000, np.nan), np.arange(4000), CADENCE)
    found = measure_one(orbit, flare, MeasureSettings(trend=TrendSettings(method="running_median")))
    assert found["peak_snr"] is None and found["peak_flux"] == pytest.approx(0.05)
    numbers = [value for value in found.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()


def test_a_trend_hidden_for_long_is_unsure() -> None:
    """Light that wanders within an hour and does not repeat, four hours of it hidden."""
    bell = np.exp(-0.5 * (np.arange(-100, 101) / 25.0) ** 2)
    light = 1.0 + 0.05 * np.convolve(np.random.default_rng(5).normal(size=4200), bell / np.linalg.norm(bell), "valid")
    flare = one(1502.0)
    orbit = an_orbit(flare, light)
    found = measure_events(events_at(orbit, flare, 60, 60), [orbit], None, OURS).row(0, named=True)
    assert found["quality"] & UNSURE_TREND


def test_events_keep_their_order_and_columns() -> None:
    flares = regular(np.random.default_rng(4), 6, CADENCE, 300, 50.0, 8.0)
    orbits = [an_orbit(flares, seed=0), an_orbit(flares.take(slice(0, 3)), seed=1)]
    events = pl.concat([events_at(orbits[0], flares), events_at(orbits[1], flares.take(slice(0, 3)), number=1)])
    found = measure_events(events, orbits, Star(3000.0, 0.3), OURS)
    assert found.columns[: len(events.columns)] == events.columns
    assert {name: found.schema[name] for name in MEASURED} == MEASURED
    order = np.random.default_rng(0).permutation(len(events))
    shuffled = measure_events(events[order], orbits, Star(3000.0, 0.3), OURS)
    assert shuffled.equals(found[order])
    none = measure_events(events.clear(), orbits, None, OURS)
    assert len(none) == 0 and none.schema == found.schema


def test_heights_in_units_of_the_median_or_of_the_light_beneath() -> None:
    flare = one(1502.0)
    light = 1.0 + 0.3 * np.cos(2 * np.pi * (CADENCE * np.arange(4000) - 2.0) / 3.0)
    orbit = an_orbit(flare, light)
    by_median = measure_one(orbit, flare)
    by_trend = measure_one(orbit, flare, MeasureSettings(unit="trend"))
    assert by_median["amplitude"] == pytest.approx(0.05, rel=0.08)
    assert by_median["amplitude"] / by_trend["amplitude"] == pytest.approx(1.3, rel=0.02)


@pytest.mark.parametrize("settings", [measure.PAPER, measure.RELEASED])
def test_the_papers_way(settings: MeasureSettings) -> None:
    flare = one(1502.0, 0.05, 10.0)
    orbit = an_orbit(flare)
    found = measure_one(orbit, flare, settings)
    assert found["n_components"] == 1 and found["fall_minutes"] > 0
    assert found["amplitude"] == pytest.approx(0.05, rel=0.15)
    assert found["peak_flux"] == pytest.approx(orbit.flux[1440 - 3 : 1440 + 4].max() - 1.0, abs=4e-3)


def test_energies() -> None:
    flare = one(1502.0)
    orbit = an_orbit(flare)
    events = events_at(orbit, flare)
    found = measure_events(events, [orbit], Star(3200.0, 0.3, 100.0, 0.03), OURS).row(0, named=True)
    sure = measure_events(events, [orbit], Star(3200.0, 0.3), OURS).row(0, named=True)
    duration, error = found["equivalent_duration_s"], found["equivalent_duration_err_s"]
    assert found["energy_erg"] == pytest.approx(float(flare_energy(np.array(duration), 3200.0, 0.3)))
    assert sure["energy_err_erg"] / sure["energy_erg"] == pytest.approx(error / duration)
    # E(T) by brute force: half the difference of one standard deviation each way
    high, low = (float(flare_energy(np.array(1.0), teff, 0.3)) for teff in (3300.0, 3100.0))
    by_teff = 0.5 * (high - low) / float(flare_energy(np.array(1.0), 3200.0, 0.3))
    expected = np.sqrt((error / duration) ** 2 + by_teff**2 + 0.2**2)
    assert found["energy_err_erg"] / found["energy_erg"] == pytest.approx(expected, rel=0.01)
    assert found["energy_tess_erg"] == pytest.approx(duration * tess_luminosity(3200.0, 0.3))
    with pytest.raises(DataError, match="teff"):
        measure_events(events, [orbit], Star(float("nan"), 0.3), OURS)


def test_luminosity_in_the_band() -> None:
    """The Sun emits 3.828e33 erg/s; a grey response would pass all of it, TESS's a third to a quarter."""
    assert tess_luminosity(5772.0, 2.0) == pytest.approx(4 * tess_luminosity(5772.0, 1.0))
    assert 0.2 < tess_luminosity(5772.0, 1.0) / 3.828e33 < 0.35
    # long wavelengths follow T: Rayleigh and Jeans
    assert tess_luminosity(2e6, 1.0) / tess_luminosity(1e6, 1.0) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"orbit": 1}, "orbit 1, but the star has 1"),
        ({"last": 4000}, "orbit 0 has 0 to 3999"),
        ({"first": 1500, "last": 1400}, "cadences 1500 to 1400"),
    ],
)
def test_events_must_lie_in_their_orbit(change: dict, message: str) -> None:
    flare = one(1502.0)
    orbit = an_orbit(flare)
    events = events_at(orbit, flare)
    wrong = events.with_columns(pl.lit(value, dtype=pl.Int32).alias(name) for name, value in change.items())
    with pytest.raises(DataError, match=message):
        measure_events(wrong, [orbit], None, OURS)
    with pytest.raises(DataError, match="shares cadences"):
        measure_events(pl.concat([events, events]), [orbit], None, OURS)
    with pytest.raises(DataError, match="column 'last' is missing"):
        measure_events(events.drop("last"), [orbit], None, OURS)
