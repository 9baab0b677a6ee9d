"""A sector looks like those of the pipeline: times, gaps, flags and noise."""

from pathlib import Path

import numpy as np
import pytest

from varistar.lightcurves.readers import read
from varistar.sky.noise import binary_step
from varistar.sky.sectors import (
    CADENCE,
    IMPULSE,
    LAST_SECTOR,
    MOMENTUM_DUMP,
    SECTOR_START,
    STRAYLIGHT,
    WITHOUT_FLUX,
    observe_sector,
    round_flux,
    sector_times,
)


def scatter(time: np.ndarray, flux: np.ndarray) -> float:
    """Relative scatter from one good cadence to the next, by their median absolute difference."""
    step = np.diff(flux)[np.diff(time) < 1.5 * CADENCE] / np.median(flux)
    return float(1.4826 * np.median(np.abs(step)) / np.sqrt(2))


@pytest.mark.parametrize("sector", [1, 8, LAST_SECTOR])
def test_a_sector_is_two_orbits_of_regular_cadences(sector: int) -> None:
    times = sector_times(3, sector)
    steps = np.diff(times.time)
    gap = int(np.argmax(steps))
    assert 0.9 < steps[gap] < 1.5
    np.testing.assert_allclose(np.delete(steps, gap), CADENCE, atol=2**-20)
    assert times.n_lost == pytest.approx(steps[gap] / CADENCE, abs=2)
    np.testing.assert_array_equal(times.orbit, np.arange(len(times.time)) > gap)
    assert times.time[0] == pytest.approx(SECTOR_START[sector - 1], abs=1e-6)
    assert times.time[-1] < SECTOR_START[sector] - 0.9
    np.testing.assert_array_equal(times.time, sector_times(3, sector).time)


def test_dumps_come_every_three_days() -> None:
    times = sector_times(3, 14)
    starts = np.flatnonzero(np.diff((times.quality & MOMENTUM_DUMP > 0).astype(int)) == 1) + 1
    assert 7 <= len(starts) <= 10
    assert times.since_dump[starts].max() <= CADENCE
    assert np.all(times.since_dump >= 0.0) and times.since_dump.max() < 3.2
    intervals = np.diff(times.time[starts])
    assert np.all(np.abs(intervals / intervals.min() % 1.0 - 0.5) > 0.49)


def test_noise_and_flags_of_a_quiet_star() -> None:
    times = sector_times(3, 14)
    seen = observe_sector(np.random.default_rng(1), 11.5, np.ones(len(times.time)), times)
    flagged = (seen["quality"] & WITHOUT_FLUX) > 0
    np.testing.assert_array_equal(np.isnan(seen["flux"]), flagged)
    np.testing.assert_array_equal(np.isnan(seen["flux_err"]), flagged)
    good = seen["quality"] == 0
    measured = scatter(times.time[good], seen["flux"][good])
    stated = np.median(seen["flux_err"][good]) / np.median(seen["flux"][good])
    assert measured == pytest.approx(stated, rel=0.2)


def test_noise_grows_with_magnitude_to_a_floor() -> None:
    times = sector_times(3, 14)
    measured = {}
    for tmag in (5.0, 7.0, 10.0, 14.0):
        seen = observe_sector(np.random.default_rng(2), tmag, np.ones(len(times.time)), times)
        good = seen["quality"] == 0
        measured[tmag] = scatter(times.time[good], seen["flux"][good])
    assert measured[7.0] < measured[10.0] / 2.5 < measured[14.0] / 20.0
    assert measured[5.0] > 1e-4  # photons alone would be 7e-5


def test_straylight_lifts_and_flags_the_ends_of_orbits() -> None:
    times = sector_times(3, 14)
    hit = 0
    for seed in range(30):
        seen = observe_sector(np.random.default_rng(seed), 12.0, np.ones(len(times.time)), times)
        stray = (seen["quality"] & STRAYLIGHT) > 0
        if not stray.any():
            continue
        hit += 1
        kept = stray & np.isfinite(seen["flux"])
        assert 0.3 < kept.sum() / stray.sum() < 0.7
        quiet = seen["quality"] == 0
        assert np.median(seen["flux_err"][kept]) > 1.02 * np.median(seen["flux_err"][quiet])
        for orbit in (0, 1):
            mine = np.flatnonzero(stray & (times.orbit == orbit))
            assert mine[-1] - mine[0] == len(mine) - 1 and len(mine) * CADENCE < 1.4
    assert 3 <= hit <= 19  # 35 %, five standard deviations on either side


def test_sharp_flares_are_taken_for_cosmic_rays() -> None:
    times = sector_times(3, 14)
    light = np.ones(len(times.time))
    peaks = np.arange(500, len(light) - 500, 100)
    light[peaks] += 0.3
    seen = observe_sector(np.random.default_rng(3), 10.0, light, times)
    marked = (seen["quality"] & IMPULSE) > 0
    assert 0.3 < marked[peaks].mean() < 0.5
    assert marked.sum() < marked[peaks].sum() + 10  # and the few cosmic rays that any star has


def test_rounding_keeps_at_least_the_steps_asked_for() -> None:
    rng = np.random.default_rng(4)
    columns = {"flux": rng.normal(1000.0, 5.0, 999), "flux_err": rng.uniform(4.0, 6.0, 999)}
    columns["flux"][5] = columns["flux_err"][5] = np.nan
    rounded = round_flux(columns, 4.0)
    step = binary_step(np.asarray(np.nanmin(columns["flux_err"]) / 4.0))
    assert step <= 1.0
    np.testing.assert_array_equal(rounded["flux"] % step, columns["flux"] * 0.0)
    assert np.nanmax(np.abs(rounded["flux"] - columns["flux"])) <= 0.5 * step
    np.testing.assert_allclose(rounded["flux_err"], columns["flux_err"], rtol=2**-6)


@pytest.mark.realdata
def test_noise_is_that_of_real_files(real_data: Path) -> None:
    """Scatter, error and flags of the two quiet stars and the faint one, within a third of the simulated median."""
    for name, tmag in (("*55652896*", 11.50), ("*159449703*", 10.14), ("*358108509*", 14.33)):
        (file,) = (real_data / "tess").glob(name)
        star = read(file)
        good = np.isfinite(star["flux"]) & (star["quality"] == 0)
        real = scatter(star["time"][good], star["flux"][good].astype(float))
        simulated, lost = [], []
        times = sector_times(3, 14)
        for seed in range(9):
            seen = observe_sector(np.random.default_rng(seed), tmag, np.ones(len(times.time)), times)
            quiet = seen["quality"] == 0
            simulated.append(scatter(times.time[quiet], seen["flux"][quiet]))
            lost.append((~np.isfinite(seen["flux"])).sum() + times.n_lost)
        assert real == pytest.approx(np.median(simulated), rel=0.33)
        assert 0.4 < np.median(lost) / (~np.isfinite(star["flux"])).sum() < 2.5
