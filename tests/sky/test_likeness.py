"""The statistics of a light curve made by hand, and the sky against real ones."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json
from varistar.lightcurves.table import LightCurves
from varistar.sky.ground import SkySettings, StarCounts, simulate_sky
from varistar.sky.likeness import BRIGHT, cadence_statistics, compare_with_cadence_stats

WINDOW = (58500.0, 58900.0)


def by_hand() -> LightCurves:
    """Camera bA every night for 50 nights, half a year later bB for 50, a pair, a flag, a non-detection."""
    time = np.concatenate([58510.0 + np.arange(50), 58740.0 + np.arange(50), [58560.3, 58560.305, 58560.4, 58400.0]])
    mag = np.concatenate([13.0 + 0.02 * (np.arange(50) % 2), np.full(50, 13.1), [13.0, 13.0, np.nan, 13.0]])
    quality = np.zeros(len(time), dtype=np.int32)
    quality[10] = 1
    order = np.argsort(time)
    camera = np.where(time < 58600, "bA", "bB")
    columns = {
        "time": time,
        "flux": np.ones_like(time),
        "flux_err": np.full_like(time, 0.004),
        "mag": mag,
        "mag_err": np.where(np.isnan(mag), np.nan, 0.004),
        "limit": np.full_like(time, 17.5),
        "fwhm": np.full_like(time, 1.5),
        "camera": camera,
        "quality": quality,
    }
    ordered = {name: values[order] for name, values in columns.items()}
    return LightCurves(("one",), np.array([0, len(time)]), ordered, "MJD_UTC")


def test_statistics_of_a_light_curve_made_by_hand() -> None:
    found = {name: values.tolist() for name, values in cadence_statistics(by_hand(), WINDOW).items()}
    assert found["n_good"] == [101] and found["n_epochs"] == [100] and found["n_cam"] == [2]
    assert found["frac_quality_B"] == [1 / 103] and found["frac_nondetection"] == [1 / 103]
    assert found["gap_max"] == pytest.approx([58740.0 - 58560.3])
    assert found["n_seasonal_gaps_gt40d"] == [1]
    assert found["seasonal_gap_days"] == pytest.approx([179.7])
    assert found["limit_mag_B"] == [17.5]
    assert found["camera_offset_sd_mag"] == pytest.approx([np.std([13.0, 13.1], ddof=1)])
    assert len(found["mag_err_13.0"]) == 101


def test_night_to_night_scatter_is_that_of_one_camera() -> None:
    rng = np.random.default_rng(5)
    time = np.arange(58500.0, 58900.0, 0.5)
    camera = np.where(np.arange(len(time)) % 2, "bA", "bB")
    mag = 13.0 + 0.02 * rng.standard_normal(len(time)) + 0.5 * (camera == "bA")
    columns = {name: np.ones_like(time) for name in ("flux", "flux_err", "limit", "fwhm")}
    columns |= {"time": time, "mag": mag, "mag_err": np.full_like(time, 0.005), "camera": camera}
    columns["quality"] = np.zeros(len(time), np.int32)
    found = cadence_statistics(LightCurves(("a",), np.array([0, len(time)]), columns, "MJD_UTC"), WINDOW)
    # the difference of two normals divided by sqrt(2), to 5 standard errors of a median absolute deviation
    assert found["night_to_night_sd_over_err"][0] == pytest.approx(4.0, rel=5 * 1.17 / np.sqrt(800))


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(DataError, match="window_mjd"):
        compare_with_cadence_stats(by_hand(), {"skypatrol_v2": {}})


@pytest.mark.realdata
def test_the_sky_is_like_real_light_curves(real_data: Path) -> None:
    """Medians of the bright quiet stars of the embedded sky's fields: within 25 %, or 0.2 mag."""
    samples = read_json(real_data / "asassn" / "cadence_stats.json")
    counts = StarCounts(**(dict.fromkeys(StarCounts.model_fields, 0) | {"clump": 360, "constant": 144}))
    sky = simulate_sky(SkySettings(counts=counts))
    bright = np.flatnonzero((sky.truth["g_mag"] < BRIGHT).to_numpy())
    table = compare_with_cadence_stats(sky.light_curves.take(bright), samples["skypatrol_v2"])
    rows = {row["quantity"]: row for row in table.iter_rows(named=True)}
    assert {
        "n_good", "n_epochs", "n_nights", "n_cam", "frac_quality_B", "frac_nondetection", "gap_days_all", "gap_max",
        "n_seasonal_gaps_gt40d", "seasonal_gap_days", "fwhm_px", "limit_mag_good", "limit_mag_B",
        "camera_offset_sd_mag", "night_to_night_sd_over_err", "mag_err_12.0", "mag_err_13.0", "mag_err_14.0",
    } <= set(rows)  # fmt: skip
    for quantity, row in rows.items():
        simulated, real = row["simulated_p50"], row["real_p50"]
        allowed = 0.2 if quantity.startswith("limit") else 0.25 * real
        assert abs(simulated - real) <= allowed, f"{quantity}: {simulated} is not like {real}"


@pytest.mark.realdata
def test_fine_quantiles_are_in_range(real_data: Path) -> None:
    """The 10 and 90 % points of what shapes a template: within a factor of two."""
    samples = read_json(real_data / "asassn" / "cadence_stats.json")
    sky = simulate_sky(
        SkySettings(counts=StarCounts(**(dict.fromkeys(StarCounts.model_fields, 0) | {"constant": 144})))
    )
    bright = np.flatnonzero((sky.truth["g_mag"] < BRIGHT).to_numpy())
    table = compare_with_cadence_stats(sky.light_curves.take(bright), samples["skypatrol_v2"])
    for row in table.filter(pl.col("quantity") != "frac_nondetection").iter_rows(named=True):
        for point in ("p10", "p90"):
            ratio = row[f"simulated_{point}"] / row[f"real_{point}"]
            assert 0.5 < ratio < 2.0, f"{row['quantity']} {point}: {row}"
