"""Recovery and false positives of methods whose answers are known, and intervals against scipy."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, chi2

from varistar.flares.draws import GridDraw, LawDraw
from varistar.flares.events import EVENTS, events_of_runs
from varistar.flares.inject import inject, relabel, searched_days
from varistar.flares.labels import LABELS
from varistar.flares.orbits import Orbit, bin_orbit, exposures_in
from varistar.flares.recovery import (
    SNR_BINS,
    Method,
    Recovery,
    bias_table,
    false_positives,
    join_recoveries,
    judge,
    recovery_table,
    run_recovery,
)
from varistar.foundation.errors import DataError

CADENCE = 2.0 / 1440.0
NOISE = 0.002
NOBODY = pl.DataFrame(schema=LABELS)
SETTINGS = GridDraw(peak_snrs=(1.0, 5.0, 7.0, 10.0, 15.0, 30.0, 60.0), per_cell_per_day=0.05)


def orbits_of(star_id: str) -> list[Orbit]:
    rng = np.random.default_rng(int(star_id))
    orbits = []
    for start in (1500.0, 1513.0):
        time = start + CADENCE * np.arange(7000)
        flux = 1.0 + NOISE * rng.standard_normal(7000)
        flux[2000:2100] = np.nan
        orbits.append(Orbit(time, flux, np.full(7000, NOISE), np.arange(7000), CADENCE))
    return orbits


def threshold(orbits: list[Orbit], sigmas: float = 5.0) -> pl.DataFrame:
    """Every run of cadences above the median by so much."""
    runs = []
    for k, orbit in enumerate(orbits):
        high = np.concatenate([[False], orbit.flux > np.nanmedian(orbit.flux) + sigmas * NOISE, [False]])
        steps = np.diff(high.astype(int))
        for first, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            runs.append((k, int(first), int(stop) - 1, int(first + np.argmax(orbit.flux[first:stop]))))
    return events_of_runs(orbits, runs, "?")


def nothing(orbits: list[Orbit]) -> pl.DataFrame:
    return pl.DataFrame(schema=EVENTS)


def everything(orbits: list[Orbit]) -> pl.DataFrame:
    """Each orbit is one event."""
    return events_of_runs(orbits, [(k, 0, len(orbit) - 1, 0) for k, orbit in enumerate(orbits)], "?")


class Oracle:
    """Knows what is injected: an event on each flare where the light curve is not the star's own."""

    def __init__(self, star_id: str, settings: GridDraw = SETTINGS, late_minutes: float = 0.0) -> None:
        self.star_id, self.settings, self.late = star_id, settings, late_minutes / 1440.0

    def __call__(self, orbits: list[Orbit]) -> pl.DataFrame:
        injected = inject(self.star_id, orbits_of(self.star_id), NOBODY, self.settings)
        pairs = zip(orbits, injected.orbits, strict=True)
        if not all(np.array_equal(orbit.flux, other.flux, equal_nan=True) for orbit, other in pairs):
            return nothing(orbits)
        at = pl.col("tpeak") + self.late
        return injected.labels.select(
            "amplitude", "equivalent_duration_s", tpeak=at, tstart=at, tstop=at, p=pl.lit(1.0), star_id=pl.lit("?")
        ).with_columns(pl.col("amplitude") * 0.8)


def run(stars: Sequence[str], known: pl.DataFrame = NOBODY) -> Recovery:
    parts = []
    for star in stars:
        methods = [
            Method("oracle", Oracle(star)),
            Method("nothing", nothing),
            Method("everything", everything),
            Method("threshold", threshold),
        ]
        parts.append(run_recovery(star, orbits_of(star), known, methods, SETTINGS))
    return join_recoveries(parts)


@pytest.fixture(scope="module")
def recovery() -> Recovery:
    return run(["1", "2", "3"])


@pytest.fixture(scope="module")
def judged(recovery: Recovery) -> pl.DataFrame:
    return judge(recovery)


def share(judged: pl.DataFrame, method: str) -> float:
    return float(judged.filter(method=method)["recovered"].mean())  # type: ignore[arg-type]


def test_who_knows_finds_all_and_who_finds_nothing_or_everything_recovers_none(
    recovery: Recovery, judged: pl.DataFrame
) -> None:
    assert len(judged) == 4 * len(recovery.injected) > 400
    assert share(judged, "oracle") == 1.0
    assert share(judged, "nothing") == 0.0
    assert share(judged, "everything") == 0.0
    assert judged.filter(method="everything")["already"].all()
    assert 0.2 < share(judged, "threshold") < 0.9
    assert set(recovery.found["star_id"]) == {"1", "2", "3"}


def test_recovery_of_a_threshold_is_a_direct_count(recovery: Recovery, judged: pl.DataFrame) -> None:
    """Flare by flare: is there a cadence high enough in the run around the peak, or a run that peaks near?"""
    rows = iter(judged.filter(method="threshold").iter_rows(named=True))
    for star in ("1", "2", "3"):
        before = orbits_of(star)
        after = inject(star, before, NOBODY, SETTINGS).orbits
        runs = [[list(map(tuple, r))] for r in (runs_above(before), runs_above(after))]
        for row in recovery.injected.filter(star_id=star).iter_rows(named=True):
            fits = [
                [a <= row["tpeak"] <= b or abs(peak - row["tpeak"]) <= 6.0 / 1440.0 for a, b, peak in which[0]]
                for which in runs
            ]
            told = next(rows)
            assert told["tpeak"] == row["tpeak"]
            assert told["already"] == any(fits[0])
            assert told["n_events"] == sum(fits[1])
            assert told["recovered"] == (any(fits[1]) and not any(fits[0]))


def runs_above(orbits: list[Orbit]) -> list[tuple[float, float, float]]:
    """Start, stop and peak of each run above five sigma, cadence by cadence."""
    runs: list[tuple[float, float, float]] = []
    for orbit in orbits:
        bar = np.nanmedian(orbit.flux) + 5.0 * NOISE
        run: list[int] = []
        for i in range(len(orbit) + 1):
            if i < len(orbit) and orbit.flux[i] > bar:
                run.append(i)
            elif run:
                peak = max(run, key=lambda j: orbit.flux[j])
                runs.append((orbit.time[run[0]], orbit.time[run[-1]], orbit.time[peak]))
                run = []
    return runs


def test_cells_count_every_flare_once_with_wilsons_interval(judged: pl.DataFrame) -> None:
    table = recovery_table(judged)
    assert table.columns == ["method", "peak_snr_low", "peak_snr_high", "n", "n_recovered", "fraction", "low", "high"]
    assert table["peak_snr_low"].to_list() == list(SNR_BINS[:-1]) * 4
    for row in table.iter_rows(named=True):
        inside = judged.filter(
            pl.col("method") == row["method"],
            pl.col("peak_snr") >= row["peak_snr_low"],
            pl.col("peak_snr") < row["peak_snr_high"],
        )
        assert (row["n"], row["n_recovered"]) == (len(inside), inside["recovered"].sum())
        interval = binomtest(row["n_recovered"], row["n"]).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-12)
        assert row["fraction"] == row["n_recovered"] / row["n"]
    steps = table.filter(method="threshold")["fraction"].to_list()
    assert steps == sorted(steps) and steps[-1] > 0.97 and steps[0] < 0.9


def test_a_grid_has_all_its_cells(judged: pl.DataFrame) -> None:
    table = recovery_table(judged, {"amplitude": (0.001, 0.01, 1.0), "fwhm_minutes": (*SETTINGS.fwhm_minutes, 90.0)})
    assert len(table) == 4 * 2 * 7
    assert table.filter(method="oracle")["n"].sum() == len(judged) // 4
    empty = table.filter(fwhm_minutes_low=64.0)
    assert len(empty) == 8 and empty["n"].sum() == 0
    assert empty["fraction"].is_null().all() and set(empty["low"]) == {0.0} and set(empty["high"]) == {1.0}
    with pytest.raises(DataError, match="no column 'energy_erg'"):
        recovery_table(judged, {"energy_erg": (1e30, 1e31)})


@pytest.mark.parametrize(("late", "found"), [(5.99, 1.0), (-5.99, 1.0), (6.01, 0.0), (-6.01, 0.0)])
def test_peaks_may_be_six_minutes_apart(late: float, found: float) -> None:
    part = run_recovery("1", orbits_of("1"), NOBODY, [Method("late", Oracle("1", late_minutes=late))], SETTINGS)
    assert share(judge(part), "late") == found


def test_a_flare_within_an_event_is_recovered_wherever_the_event_peaks(recovery: Recovery) -> None:
    flare = recovery.injected.row(0, named=True)
    for reach, recovered in ((0.001, True), (-0.001, False)):
        event = {"tstart": flare["tpeak"] - 0.3, "tstop": flare["tpeak"] + reach, "tpeak": flare["tpeak"] - 0.2}
        found = pl.DataFrame(
            [{"star_id": flare["star_id"], "method": "m", "light_curve": "injected", **event, "p": 0.7}]
        )
        searched = recovery.searched.filter(method="nothing").with_columns(method=pl.lit("m"))
        judged = judge(Recovery(recovery.injected.head(1), found, searched))
        assert judged["recovered"].to_list() == [recovered]
        assert judged["p"].to_list() == [0.7 if recovered else None]


def test_bias_is_that_of_the_measurement(judged: pl.DataFrame) -> None:
    table = bias_table(judged).filter(method="oracle")
    amplitude, duration = (table.filter(quantity=name) for name in ("amplitude", "equivalent_duration_s"))
    for column in ("ratio", "ratio_low", "ratio_high"):
        np.testing.assert_allclose(amplitude[column].to_numpy(), 0.8, rtol=1e-12)
        np.testing.assert_allclose(duration[column].to_numpy(), 1.0, rtol=1e-12)
    assert amplitude["n"].to_list() == recovery_table(judged).filter(method="oracle")["n_recovered"].to_list()
    unmeasured = bias_table(judged).filter(method="threshold")
    assert unmeasured["n"].sum() == 0 and unmeasured["ratio"].is_null().all()


def test_false_positives_are_all_that_is_not_known_and_all_that_is_upside_down() -> None:
    """A bright flare of the star's own, and a dip, in a light curve that is otherwise below the bar."""
    orbits = orbits_of("1")
    orbits[0].flux[:] = np.clip(orbits[0].flux, 1.0 - 4.5 * NOISE, 1.0 + 4.5 * NOISE)
    orbits[1].flux[:] = np.clip(orbits[1].flux, 1.0 - 4.5 * NOISE, 1.0 + 4.5 * NOISE)
    orbits[0].flux[500:505] += 0.1
    orbits[1].flux[3000:3010] -= 0.1
    orbits[1].flux[4000:4010] -= 0.1
    methods = [Method("threshold", threshold), Method("nothing", nothing)]
    part = run_recovery("1", orbits, NOBODY, methods, SETTINGS)
    times = {"tstart": orbits[0].time[500], "tstop": orbits[0].time[504], "tpeak": orbits[0].time[500] - 0.01}
    known = pl.DataFrame([{"star_id": "1", **times}, {"star_id": "2", "tpeak": orbits[0].time[502]}], schema=LABELS)
    days = searched_days(orbits)
    for labels, flares in ((known, 0), (known.filter(star_id="2"), 1)):
        table = false_positives(part, labels)
        counts = {(row[0], row[1]): row[2] for row in table.iter_rows()}
        assert counts == {
            ("threshold", "uninjected"): flares,
            ("threshold", "flipped"): 2,
            ("nothing", "uninjected"): 0,
            ("nothing", "flipped"): 0,
        }
        for row in table.iter_rows(named=True):
            n = row["n"]
            assert row["days"] == pytest.approx(days) and row["per_day"] == pytest.approx(n / days)
            assert row["low"] == pytest.approx(0.5 * chi2.ppf(0.025, 2 * n) / days if n else 0.0)
            assert row["high"] == pytest.approx(0.5 * chi2.ppf(0.975, 2 * n + 2) / days)


def test_stars_add_up(recovery: Recovery, judged: pl.DataFrame) -> None:
    one = [judge(run([star])) for star in ("3", "1", "2")]
    order = ["method", "star_id", "tpeak"]
    assert pl.concat(one).sort(order).equals(judged.sort(order))
    table = false_positives(recovery, NOBODY)
    assert set(table["days"].round(9)) == {round(sum(searched_days(orbits_of(star)) for star in "123"), 9)}


def test_a_threshold_may_be_raised_afterwards(recovery: Recovery) -> None:
    higher = recovery._replace(found=recovery.found.filter(pl.col("p") > 1.0))
    assert not judge(higher)["recovered"].any()
    assert len(judge(higher)) == len(judge(recovery))


def test_flares_in_gaps_are_not_asked_for() -> None:
    part = run_recovery("1", orbits_of("1"), NOBODY, [Method("nothing", nothing)], LawDraw(rate_times=5.0))
    assert 0 < part.injected["peak_snr"].null_count() < len(part.injected)
    assert judge(part)["peak_snr"].null_count() == 0


def test_no_star_is_no_recovery() -> None:
    empty = join_recoveries([])
    assert judge(empty).is_empty() and recovery_table(judge(empty)).is_empty()
    assert false_positives(empty, NOBODY).is_empty()


def test_methods_are_named_once_and_their_events_have_times() -> None:
    with pytest.raises(DataError, match="different names"):
        run_recovery("1", orbits_of("1"), NOBODY, [Method("a", nothing), Method("a", nothing)], SETTINGS)
    with pytest.raises(DataError, match="method b: its events have no column 'tstart'"):
        run_recovery("1", orbits_of("1"), NOBODY, [Method("b", lambda _: pl.DataFrame({"p": [1.0]}))], SETTINGS)


def test_a_star_may_be_searched_in_longer_exposures() -> None:
    """The same flares, as those exposures show them; and days do not change."""
    orbits = orbits_of("1")
    asked: list[list[Orbit]] = []

    def keep(given: list[Orbit]) -> pl.DataFrame:
        asked.append(given)
        return nothing(given)

    plain, joined = (
        run_recovery("1", orbits, NOBODY, [Method("m", keep)], SETTINGS, minutes) for minutes in (0.0, 10.0)
    )
    same = ("tpeak", "amplitude", "fwhm_minutes", "equivalent_duration_s")
    assert joined.injected.select(same).equals(plain.injected.select(same))
    assert joined.injected.equals(relabel(plain.injected, asked[4]))
    size = exposures_in(10.0, orbits[0])
    assert size > 1
    for before, after in zip(asked[:3], asked[3:], strict=True):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(other.flux, bin_orbit(one, size).flux)
    days = joined.searched["days"].to_numpy()
    assert days == pytest.approx(plain.searched["days"].to_numpy(), rel=0.02)
