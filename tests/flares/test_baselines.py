"""Flares without a network."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.flares.baselines import (
    CHANG,
    RUNNING_MEDIAN,
    FilterSettings,
    RunSettings,
    filter_events,
    run_events,
    running_median,
    running_polynomial,
)
from varistar.flares.events import EVENTS
from varistar.flares.orbits import Orbit, OrbitSettings, split_orbits
from varistar.lightcurves.readers import read
from varistar.physics.flares import Flares, flare_flux

CADENCE = 2.0 / 1440.0
NOISE = 0.002


def an_orbit(flux: np.ndarray, error: float = NOISE) -> Orbit:
    time = 1500.0 + CADENCE * np.arange(len(flux))
    return Orbit(time, flux, np.where(np.isfinite(flux), error, np.nan), np.arange(len(flux)), CADENCE)


def with_flares(
    n: int, peaks: list[float], amplitudes: list[float], minutes: list[float], seed: int | None = 0, spots: float = 0.01
) -> Orbit:
    """A spotted star, flares with their peaks on these cadences, and noise unless the seed is None."""
    time = CADENCE * np.arange(n)
    flares = Flares(
        CADENCE * np.array(peaks), np.array(amplitudes), np.array(minutes) / 1440.0, np.zeros(len(peaks), int)
    )
    noise = 0.0 if seed is None else NOISE * np.random.default_rng(seed).standard_normal(n)
    return an_orbit(1.0 + spots * np.sin(2 * np.pi * time / 4.0) + flare_flux(flares, time, CADENCE) + noise)


def peaks_of(events: pl.DataFrame) -> list[int]:
    return events["peak"].to_list()


def test_running_median_against_a_loop():
    rng = np.random.default_rng(0)
    flux = rng.normal(size=150)
    flux[rng.random(150) < 0.3] = np.nan
    flux[60:90] = np.nan
    trend = running_median(flux, 21)
    for i in range(150):
        window = flux[max(i - 10, 0) : i + 11]
        window = window[np.isfinite(window)]
        if len(window) < 21 // 4:
            assert np.isnan(trend[i])
        else:
            assert trend[i] == pytest.approx(np.median(window), abs=1e-14)
    assert np.isnan(trend[70:80]).all()


def test_running_polynomial_is_a_local_least_squares_fit_that_leaves_outliers_out():
    t = np.arange(200.0)
    parabola = 1.0 + 1e-3 * t - 2e-5 * t**2
    np.testing.assert_allclose(running_polynomial(parabola, 15), parabola, atol=1e-12)
    rng = np.random.default_rng(1)
    flux = parabola + 1e-3 * rng.uniform(-1.0, 1.0, 200)  # nothing beyond three standard deviations
    trend = running_polynomial(flux, 15)
    for i in (7, 60, 150):
        near = slice(i - 7, i + 8)
        assert trend[i] == pytest.approx(np.polyval(np.polyfit(t[near] - i, flux[near], 2), 0.0), abs=1e-10)
    outlier = flux.copy()
    outlier[100] += 1.0
    assert running_polynomial(outlier, 15)[100] == pytest.approx(parabola[100], abs=2e-3)


def test_running_polynomial_does_not_reach_across_a_gap():
    flux = np.concatenate([np.full(50, 1.0), np.full(6, np.nan), np.full(50, 2.0), np.full(6, np.nan), np.full(5, 3.0)])
    trend = running_polynomial(flux, 15)
    np.testing.assert_allclose(trend, flux, atol=1e-12)  # NaN where the flux is
    assert np.isnan(running_polynomial(np.full(9, np.nan), 15)).all()


def chang_oracle(excess: np.ndarray, error: np.ndarray, n1: float, n2: float, n3: int) -> list[tuple[int, int]]:
    """Eqs. 3a-d in flux, cadence by cadence."""
    finite = excess[np.isfinite(excess)]
    sigma = 1.4826 * np.median(np.abs(finite - np.median(finite)))
    runs, run = [], []
    for i in range(len(excess) + 1):
        if i < len(excess) and excess[i] > 0 and excess[i] / sigma >= n1 and (excess[i] - error[i]) / sigma >= n2:
            run.append(i)
            continue
        if len(run) >= n3:
            runs.append((run[0], run[-1]))
        run = []
    return runs


@pytest.mark.parametrize("settings", [RUNNING_MEDIAN, RunSettings(n1=1.0, n2=0.5, n3=2), RunSettings(n1=0.5, n2=1.0)])
def test_runs_are_those_of_the_criteria(settings):
    rng = np.random.default_rng(3)
    orbit = with_flares(2000, [300, 700.4, 1500], [0.02, 0.05, 0.012], [8, 20, 40])
    flux = orbit.flux.copy()
    flux[rng.random(2000) < 0.05] = np.nan
    orbit = Orbit(orbit.time, flux, NOISE * rng.uniform(0.5, 2.0, 2000), orbit.point, CADENCE)
    events = run_events([orbit], settings, "s")
    excess = flux - running_median(flux, 217)
    assert events.select("first", "last").rows() == chang_oracle(
        excess, orbit.flux_err, settings.n1, settings.n2, settings.n3
    )
    assert len(events) >= 2
    for first, last, peak in events.select("first", "last", "peak").iter_rows():
        assert peak == first + np.nanargmax(excess[first : last + 1])


def test_the_error_counts_against_a_flare():
    """With the sign of the magnitudes, large errors would make flares (AltaiPony #66)."""
    orbit = with_flares(2000, [1000], [0.02], [10])
    assert len(run_events([orbit], RUNNING_MEDIAN, "s")) == 1
    unsure = Orbit(orbit.time, orbit.flux, np.full(2000, 0.02), orbit.point, CADENCE)
    assert len(run_events([unsure], RUNNING_MEDIAN, "s")) == 0


def test_runs_end_at_masked_cadences():
    orbit = with_flares(2000, [1000], [0.1], [10], seed=0)
    whole = run_events([orbit], RUNNING_MEDIAN, "s")
    flux = orbit.flux.copy()
    flux[1004] = np.nan
    cut = run_events([an_orbit(flux)], RUNNING_MEDIAN, "s")
    assert whole["first"][0] < 1004 < whole["last"][0]
    assert cut["last"][0] == 1003 and cut["first"][1] == 1005 and cut["edge"][:2].all()


def test_the_paper_s_baseline_needs_brighter_flares():
    """A polynomial over 15 cadences follows most of a long flare."""
    orbit = with_flares(
        8000, [1000, 2000, 3000, 4000, 5000, 6000], [0.02, 0.05, 0.3, 0.02, 0.05, 0.3], [6] * 3 + [30] * 3
    )
    by_polynomial = run_events([orbit], CHANG, "s")
    by_median = run_events([orbit], RUNNING_MEDIAN, "s")
    assert [p for p in (1000, 2000, 3000, 4000, 5000, 6000) if any(abs(q - p) <= 2 for q in peaks_of(by_median))] == [
        1000, 2000, 3000, 4000, 5000, 6000
    ]  # fmt: skip
    assert len(by_polynomial) < len(by_median) and any(abs(q - 3000) <= 2 for q in peaks_of(by_polynomial))


def test_the_filter_finds_flares_that_runs_do_not():
    peaks, found = [500 + 500 * k for k in range(14)], {"filter": 0, "runs": 0}
    for seed in range(5):
        orbit = with_flares(8000, peaks, [0.009] * 14, [20] * 14, seed=seed)
        for name, events in (
            ("filter", filter_events([orbit], FilterSettings(), "s")),
            ("runs", run_events([orbit], RUNNING_MEDIAN, "s")),
        ):
            near = [p for p in peaks if any(abs(q - p) <= 5 for q in peaks_of(events))]
            found[name] += len(near)
            assert len(events) <= len(near) + 2
    assert found["filter"] >= 65 and found["runs"] <= 55  # of 70


def test_the_filter_measures_amplitude_and_width():
    orbit = with_flares(10000, [1000, 2500.3], [0.1, 0.2], [22, 7], spots=0.0)
    events = filter_events([orbit], FilterSettings(), "s")
    assert peaks_of(events) == pytest.approx([1000, 2500], abs=1)
    np.testing.assert_allclose(events["amplitude"], [0.1, 0.19], rtol=0.1)  # of the highest exposure
    assert events["fwhm_minutes"].to_list() == [22.0, 7.0]


def test_significance_is_that_of_least_squares():
    """By the matrix form of weighted least squares, on data without noise but with its errors."""
    n, width = 1500, 15.0
    orbit = with_flares(n, [700], [0.08], [width], seed=4, spots=0.0)
    errors = NOISE * np.random.default_rng(5).uniform(0.5, 2.0, n)
    orbit = Orbit(orbit.time, orbit.flux, errors, orbit.point, CADENCE)
    events = filter_events([orbit], FilterSettings(fwhm_minutes=(width,)), "s")
    excess = orbit.flux - running_median(orbit.flux, 217)
    pulls = excess / errors
    scaled = errors * 1.4826 * np.median(np.abs(pulls - np.median(pulls)))
    fits = []
    for at in range(690, 711):
        flare = Flares(np.array([at * CADENCE]), np.ones(1), np.array([width / 1440.0]), np.zeros(1, int))
        model = flare_flux(flare, CADENCE * np.arange(n), CADENCE)
        model /= model.max()
        model[model < 0.03] = 0.0  # where the templates end
        design = (model / scaled)[:, None]
        (amplitude,), *_ = np.linalg.lstsq(design, excess / scaled, rcond=None)
        fits.append((amplitude * np.linalg.norm(design), amplitude))
    q, amplitude = max(fits)
    assert events["amplitude"][0] == pytest.approx(amplitude, rel=1e-9)
    assert 0.5 * q < events["significance"][0] <= q * (1 + 1e-9)  # divided by the spread, at least one


def test_the_filter_in_white_noise_and_with_cosmic_rays():
    rng = np.random.default_rng(6)
    flux = 1.0 + NOISE * rng.standard_normal(20000)
    assert len(filter_events([an_orbit(flux)], FilterSettings(), "s")) <= 1
    flux[np.arange(200, 20000, 400)] += 10 * NOISE
    rays = filter_events([an_orbit(flux)], FilterSettings(), "s")
    assert len(rays) <= 6  # of 50
    assert len(filter_events([an_orbit(flux)], FilterSettings(rest=-100.0), "s")) >= 45
    np.testing.assert_array_equal(filter_events([an_orbit(flux)], FilterSettings(), "s"), rays)


def test_the_filter_beside_gaps():
    """A gap in the decay ends nothing, cadences that are masked are never first, last or peak, and events are apart."""
    orbit = with_flares(4000, [1000, 1100, 2000], [0.2, 0.1, 0.1], [20, 10, 10], spots=0.0)
    flux = orbit.flux.copy()
    flux[1003:1006] = np.nan
    flux[1500:1998] = np.nan
    orbit = an_orbit(flux)
    events = filter_events([orbit], FilterSettings(), "s")
    assert {1000, 1100, 2000} <= {round(p, -1) for p in peaks_of(events)} and len(events) <= 4
    for name in ("first", "last", "peak"):
        assert orbit.good[events[name].to_numpy()].all()
    assert (events["first"][1:] > events["last"][:-1]).all()
    assert events["first"][0] < 1003 and events["last"][0] > 1006


def test_the_filter_in_red_noise():
    """Noise that is smooth over 40 minutes has wide maxima, which count as the noise that they are."""
    rng = np.random.default_rng(7)
    smooth = np.convolve(rng.standard_normal(20019), np.ones(20) / np.sqrt(20), mode="valid")
    flux = 1.0 + NOISE * (smooth + 0.5 * rng.standard_normal(20000))
    assert len(filter_events([an_orbit(flux)], FilterSettings(), "s")) <= 5


@pytest.mark.parametrize("seed", range(4))
def test_events_of_a_crowd_are_apart(seed):
    rng = np.random.default_rng(seed)
    peaks = np.cumsum(rng.uniform(3.0, 60.0, 60))
    orbit = with_flares(2500, list(peaks), list(rng.uniform(0.02, 0.3, 60)), list(rng.uniform(3.0, 40.0, 60)), seed)
    events = filter_events([orbit], FilterSettings(), "s")
    assert len(events) > 8 and (events["first"][1:] > events["last"][:-1]).all()
    assert events["peak"].is_between(events["first"], events["last"]).all()


def test_a_flare_ends_where_a_stronger_one_has_begun():
    orbit = with_flares(4000, [2000, 2040], [0.04, 0.3], [50, 3], spots=0.0)
    events = filter_events([orbit], FilterSettings(split_sigma=None), "s")
    assert (events["first"][1:] > events["last"][:-1]).all()
    assert {2000, 2040} <= {round(p, -1) for p in peaks_of(events)}


@pytest.mark.parametrize("n_nan", [0, 8, 9])
def test_short_and_empty_orbits(n_nan):
    flux = np.ones(9)
    flux[:n_nan] = np.nan
    for events in (
        run_events([an_orbit(flux)], CHANG, "s"),
        run_events([an_orbit(flux)], RUNNING_MEDIAN, "s"),
        filter_events([an_orbit(flux)], FilterSettings(), "s"),
        filter_events([], FilterSettings(), "s"),
    ):
        assert len(events) == 0 and dict(events.schema).items() >= {k: v() for k, v in EVENTS.items()}.items()


def test_orbits_are_numbered_and_errors_may_be_missing():
    orbit = with_flares(2000, [1000], [0.1], [10])
    blind = Orbit(orbit.time + 20.0, orbit.flux, np.full(2000, np.nan), orbit.point, CADENCE)
    for events in (
        run_events([orbit, blind], RUNNING_MEDIAN, "s"),
        filter_events([orbit, blind], FilterSettings(), "s"),
    ):
        events = events.filter(pl.col("significance") > 10)
        assert events["orbit"].to_list() == [0, 1]
        assert events["tpeak"].to_list() == [orbit.time[events["peak"][0]], blind.time[events["peak"][1]]]
        assert events["p"].to_list() == [1.0, 1.0]


@pytest.mark.realdata
def test_the_filter_on_proxima(real_data: Path) -> None:
    """Of 91 flares marked by eye, those that are bright."""
    (file,) = (real_data / "tess").glob("*388857263*")
    curve = read(file)
    star = split_orbits(curve["time"], curve["flux"], curve["flux_err"], curve["quality"], OrbitSettings())
    marks = pl.read_csv(real_data / "tess" / "proxima_s0011_fbeye_flares.csv")
    bright = marks.sort("ed", descending=True).head(20)["tpeak"].to_numpy()
    counts = {}
    for name, events in (
        ("filter", filter_events(star, FilterSettings(), "Proxima")),
        ("chang", run_events(star, CHANG, "Proxima")),
    ):
        start, stop = events["tstart"].to_numpy(), events["tstop"].to_numpy()
        counts[name] = sum(bool(np.any((start <= t + 1e-3) & (t - 1e-3 <= stop))) for t in bright)
    assert counts["filter"] >= 18 and counts["chang"] < counts["filter"]
