"""What was measured beside what is true: which flares an event has, and biases and pulls that are known beforehand."""

import math

import numpy as np
import polars as pl
import pytest

from varistar.flares.draws import GridDraw
from varistar.flares.fidelity import (
    QUANTITIES,
    at_peaks,
    beside_truth,
    bins_of,
    fidelity_report,
    fidelity_table,
)
from varistar.flares.inject import inject
from varistar.flares.labels import LABELS
from varistar.flares.measure import MEASURED, OVERLAPS_NEXT, MeasureSettings, measure_events
from varistar.flares.orbits import Orbit

MINUTE = 1 / 1440
CADENCE = 2 * MINUTE
NOISE = 1e-3


def labels_of(*rows: tuple[float, float, float]) -> pl.DataFrame:
    """Of star "a", from (tpeak [min], amplitude, equivalent duration [s])."""
    given = {
        "star_id": ["a"] * len(rows),
        "tpeak": [row[0] * MINUTE for row in rows],
        "amplitude": [row[1] for row in rows],
        "fwhm_minutes": [5.0] * len(rows),
        "equivalent_duration_s": [row[2] for row in rows],
        "peak_snr": [row[1] / NOISE for row in rows],
    }
    nothing = {name: [None] * len(rows) for name in LABELS if name not in given}
    return pl.DataFrame(given | nothing, schema_overrides=LABELS).select(LABELS.keys())


def measured(*rows: tuple[float, float], quality: int = 0) -> pl.DataFrame:
    """Events of star "a", from first and last minute, each measured as one flare of 0.01 and 10 s."""
    n = len(rows)
    values = {name: [1.0] * n for name in MEASURED} | {"amplitude": [0.01] * n, "equivalent_duration_s": [10.0] * n}
    times = {"tstart": [a * MINUTE for a, _ in rows], "tstop": [b * MINUTE for _, b in rows]}
    return pl.DataFrame({"star_id": ["a"] * n, **values, **times, "quality": [quality] * n})


def test_an_event_has_the_flares_that_peak_in_it_or_next_to_it() -> None:
    labels = labels_of(
        (101.0, 0.02, 8.0), (107.0, 0.03, 0.9), (115.9, 0.001, 0.2), (116.1, 0.5, 90.0), (90.0, 0.5, 9.0)
    )
    (row,) = beside_truth(measured((100.0, 110.0)), labels).iter_rows(named=True)
    assert row["n_flares"] == 3 and row["overlaps"]
    assert row["true_equivalent_duration_s"] == pytest.approx(9.1)
    assert (row["true_amplitude"], row["true_tpeak"]) == pytest.approx((0.03, 107.0 * MINUTE))
    assert row["snr"] == pytest.approx(30.0)
    assert (row["amplitude"], row["equivalent_duration_s"]) == (0.01, 10.0)


def test_a_flare_between_two_events_is_the_nearers() -> None:
    found = beside_truth(measured((100.0, 110.0), (116.0, 120.0)), labels_of((114.0, 0.01, 5.0)))
    assert found["n_flares"].to_list() == [1] and len(found) == 1
    both = beside_truth(measured((100.0, 110.0), (116.0, 120.0)), labels_of((114.0, 0.01, 5.0), (105.0, 0.02, 7.0)))
    assert both["true_equivalent_duration_s"].to_list() == [7.0, 5.0]


def test_a_tenth_of_the_light_or_a_neighbour_makes_an_overlap() -> None:
    for second, overlaps in ((0.9, False), (1.1, True)):
        labels = labels_of((101.0, 0.02, 10.0), (107.0, 0.01, second))
        assert beside_truth(measured((100.0, 110.0)), labels)["overlaps"].to_list() == [overlaps]
    cut = measured((100.0, 110.0), quality=OVERLAPS_NEXT)
    assert beside_truth(cut, labels_of((101.0, 0.02, 10.0)))["overlaps"].to_list() == [True]


def test_events_without_fit_or_flare_are_left_out() -> None:
    unfitted = measured((100.0, 110.0)).with_columns(amplitude=pl.lit(None, pl.Float64))
    for events in (unfitted, measured((200.0, 210.0)), unfitted.clear()):
        found = beside_truth(events, labels_of((105.0, 0.02, 10.0)))
        assert len(found) == 0 and len(fidelity_table(found)) == 0 and fidelity_report(found) == {}


def test_biases_and_pulls_are_those_put_in() -> None:
    """Measured 1.2 times the truth, with errors that are stated two thirds of what they are."""
    n, rng = 20000, np.random.default_rng(1)
    true, error = rng.uniform(1.0, 2.0, n), np.full(n, 0.02)
    columns = {name: 1.2 * true + 1.5 * error * rng.standard_normal(n) for name in QUANTITIES}
    columns["tpeak"] = true + 0.01 + 1.5 * error * rng.standard_normal(n)
    snr = np.geomspace(3.0, 100.0, n)
    beside = pl.DataFrame(
        {**columns, **{f"true_{name}": true for name in QUANTITIES}, **dict.fromkeys(QUANTITIES.values(), 0.02)}
    ).with_columns(snr=pl.Series(snr), overlaps=pl.Series(np.arange(n) % 2 == 0))
    table = fidelity_table(beside)
    assert bins_of(table).filter(pl.col("quantity") == "tpeak")["n"].sum() == n
    for row in bins_of(table).iter_rows(named=True):
        few = 5.0 / np.sqrt(row["n"])
        if row["quantity"] == "tpeak":
            assert row["bias"] == pytest.approx(0.01 / MINUTE, abs=1.5 * 0.03 / MINUTE * few)
            assert row["pull_width"] == pytest.approx(1.5, abs=1.5 * 1.5 * few)
        else:
            assert row["bias"] == pytest.approx(1.2, abs=0.03 * few)
            assert row["high"] > row["bias"] > row["low"] and row["pull"] > 5.0
    report = fidelity_report(beside)
    assert set(report) == {"single", "overlapping"}
    assert list(report["single"]["amplitude"]) == ["3-5", "5-7", "7-10", "10-15", "15-30", ">=30", "all >=5"]
    assert report["single"]["tpeak"]["all >=5"]["pull_width"] == pytest.approx(1.5, rel=0.05)


def test_what_was_not_measured_has_no_part_in_a_bias() -> None:
    labels = labels_of((101.0, 0.02, 10.0), (205.0, 0.02, 10.0))
    found = beside_truth(measured((100.0, 110.0), (200.0, 210.0)), labels)
    row = pl.int_range(pl.len())
    without = found.with_columns(
        equivalent_duration_s=pl.when(row == 0).then(math.nan).otherwise(10.0),
        fwhm_minutes=pl.when(row == 0).then(None).otherwise(pl.col("fwhm_minutes")),
    )
    report = fidelity_report(without)["single"]
    counts = {quantity: report[quantity]["all >=5"]["n"] for quantity in report}
    assert counts == {"tpeak": 2, "amplitude": 2, "fwhm_minutes": 1, "equivalent_duration_s": 1}
    assert report["equivalent_duration_s"]["all >=5"]["bias"] == pytest.approx(1.0)


def a_star(seed: int = 0, m: int = 9000) -> Orbit:
    rng = np.random.default_rng(seed)
    flux = 1.0 + NOISE * rng.standard_normal(m)
    return Orbit(CADENCE * np.arange(m), flux, np.full(m, NOISE), np.arange(m), CADENCE)


def test_events_at_peaks_cover_the_flares_and_join_where_they_touch() -> None:
    orbit = a_star()
    spans = {"tstart": [10.0, 16.0, None, 40.0], "tstop": [16.0, 20.0, None, 42.0]}
    given = pl.DataFrame(spans).select((pl.all() * MINUTE).cast(pl.Float64))
    labels = labels_of((12.0, 0.02, 8.0), (17.0, 0.02, 8.0), (30.0, 0.02, 8.0), (41.0, 0.02, 8.0)).with_columns(given)
    events = at_peaks("a", [orbit], labels)
    assert events.select("first", "last").rows() == [(5, 10), (20, 21)]
    assert events["tstart"].to_list() == pytest.approx([10 * MINUTE, 40 * MINUTE])


def test_injected_flares_at_their_peaks_are_measured_without_bias() -> None:
    """White noise and nothing else: no selection, so that biases and pulls are the measurement's alone."""
    draw = GridDraw(peak_snrs=(10.0, 20.0, 40.0), fwhm_minutes=(4.0, 8.0), per_cell_per_day=1.5, apart=60)
    beside = []
    for seed in range(4):
        orbit = a_star(seed)
        (star,), labels = inject("a", [orbit], pl.DataFrame(schema=LABELS), draw.model_copy(update={"seed": seed}))
        events = at_peaks("a", [star], labels)
        beside.append(beside_truth(measure_events(events, [star], None, MeasureSettings()), labels))
    table = fidelity_table(pl.concat(beside)).filter((pl.col("snr_high") == np.inf) & (pl.col("events") == "single"))
    rows = {row["quantity"]: row for row in table.filter(pl.col("snr_low") == 5.0).iter_rows(named=True)}
    assert min(row["n"] for row in rows.values()) > 80
    for quantity, row in rows.items():
        # 5 errors of the width of a normal sample, half a percentile range having 1.2 / sqrt(n) of its width
        assert abs(row["pull_width"] - 1.0) < 5 * 1.2 / np.sqrt(row["n"]), quantity
        assert abs(row["pull"]) < 5 * 1.25 / np.sqrt(row["n"]), quantity
    assert rows["equivalent_duration_s"]["bias"] == pytest.approx(1.0, abs=0.05)
