"""Which points and stars the cuts take, and that every loss is counted once."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.lightcurves.cuts import REASONS, Cuts, apply_cuts
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves

NAN = np.nan


@pytest.fixture
def table():
    """A function that makes light curves out of columns; points per star in `n`."""

    def make(n, time_system="MJD_UTC", **columns):
        m = sum(n)
        given_columns = {"time": np.arange(m, dtype=float), "flux": np.ones(m), "flux_err": np.ones(m), **columns}
        arrays = {name: np.asarray(values) for name, values in given_columns.items()}
        offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
        return LightCurves(tuple(f"s{i}" for i in range(len(n))), offsets, arrays, time_system)

    return make


def losses(report: pl.DataFrame, star: int = 0) -> dict[str, int]:
    """What a star lost, without the reasons that took nothing."""
    row = report.row(star, named=True)
    return {reason: row[f"lost_{reason}"] for reason in REASONS if row[f"lost_{reason}"]}


def test_each_reason_takes_its_points(table):
    star = table(
        [7],
        time=[1.0, 2.0, NAN, 99.0, 5.0, 6.0, 7.0],
        flux=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        flux_err=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        mag=[9.0, 9.0, 9.0, 9.0, NAN, 9.0, 9.0],
        mag_err=[0.1] * 7,
        band=["g", "V", "g", "g", "g", "g", "g"],
        quality=np.array([0, 0, 0, 0, 0, 1, 0], dtype=np.int32),
    )
    kept, report = apply_cuts(star, Cuts(bands=("g",), window=(0.0, 10.0), min_points=1))
    assert kept["time"].tolist() == [1.0]
    assert losses(report) == dict.fromkeys(REASONS, 1)
    assert report["n_before"].to_list() == [7] and report["n_after"].to_list() == [1]
    assert report["kept"].to_list() == [True] and report["reason"].to_list() == [None]


def test_a_point_counts_under_the_first_reason(table):
    wrong = {"flux": [NAN, 1.0], "mag": [NAN, NAN], "flux_err": [NAN, -1.0], "band": ["V", "g"]}
    assert losses(apply_cuts(table([2], **wrong), Cuts(bands=("g",)))[1]) == {"band": 1, "non_detection": 1}
    assert losses(apply_cuts(table([2], **wrong), Cuts())[1]) == {"not_finite": 1, "non_detection": 1}
    assert losses(apply_cuts(table([2], **wrong), Cuts(max_mag_err=None))[1]) == {"not_finite": 1, "bad_error": 1}


def test_a_failed_row_is_told_from_a_non_detection(table):
    """Both have no magnitude, but only the failed row has no flux."""
    star = table([2], flux=[NAN, -0.3], flux_err=[NAN, 0.2], mag=[NAN, NAN], mag_err=[NAN, NAN])
    assert losses(apply_cuts(star, Cuts())[1]) == {"not_finite": 1, "non_detection": 1}


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, np.inf])
def test_bad_errors(table, bad):
    star = table([1], flux_err=[bad])
    assert losses(apply_cuts(star, Cuts())[1]) == {"bad_error": 1}
    assert losses(apply_cuts(star, Cuts(require_errors=False))[1]) == {}


def test_all_missing_is_counted_not_raised(table):
    kept, report = apply_cuts(table([3], time=[NAN] * 3, flux=[NAN] * 3), Cuts())
    assert len(kept) == 0 and kept.offsets.tolist() == [0]
    assert losses(report) == {"not_finite": 3}


def test_mag_err_below_a_bound(table):
    star = table([4], mag=[15.0] * 4, mag_err=[0.1, 0.5, 99.99, NAN])
    assert losses(apply_cuts(star, Cuts(max_mag_err=0.5))[1]) == {"non_detection": 3}
    assert losses(apply_cuts(star, Cuts())[1]) == {"non_detection": 2}


def test_quality_values_and_bits(table):
    star = table([4], quality=np.array([0, 1, 2, 129], dtype=np.int32))
    assert losses(apply_cuts(star, Cuts())[1]) == {"quality": 3}
    assert losses(apply_cuts(star, Cuts(quality=(0, 2)))[1]) == {"quality": 2}
    assert losses(apply_cuts(star, Cuts(quality=None, quality_bits=128))[1]) == {"quality": 1}
    assert losses(apply_cuts(star, Cuts(quality=None))[1]) == {}


def test_a_table_without_a_column_loses_nothing_to_it(table):
    assert losses(apply_cuts(table([3]), Cuts(bands=("g",)))[1]) == {}


@pytest.mark.parametrize("time_system", TIME_ORIGIN)
def test_the_window_is_in_mjd_whatever_the_time_system(table, time_system):
    mjd = np.array([58484.4, 58484.5, 60000.0, 60311.5, 60311.6])
    star = table([5], time_system, time=mjd - (TIME_ORIGIN[time_system] - 2400000.5))
    kept, report = apply_cuts(star, Cuts(window=(58484.5, 60311.5), min_points=1))
    assert losses(report) == {"window": 2}
    assert kept.n_points.tolist() == [3]


def test_stars_with_too_few_points_are_refused_with_a_reason(table):
    stars = table([149, 150, 0, 151], quality=np.zeros(450, dtype=np.int32))
    kept, report = apply_cuts(stars, Cuts())
    assert kept.star_id == ("s1", "s3")
    assert kept.n_points.tolist() == [150, 151]
    assert report["kept"].to_list() == [False, True, False, True]
    assert report["reason"].to_list() == ["fewer than 150 points", None, "fewer than 150 points", None]
    np.testing.assert_array_equal(kept["time"], np.concatenate([np.arange(149, 299), np.arange(299, 450)]))


def test_no_stars(table):
    kept, report = apply_cuts(table([]), Cuts())
    assert len(kept) == 0
    assert report.height == 0
    assert report.schema["star_id"] == pl.String and report.schema["lost_band"] == pl.Int64


def test_min_points_counts_what_is_left_after_binning(table):
    star = table([6], time=[0.0, 0.001, 0.002, 1.0, 1.001, 1.002])
    cuts = Cuts(bin_within_minutes=5.0, min_points=2)
    kept, report = apply_cuts(star, cuts)
    assert kept.n_points.tolist() == [2]
    assert report.select("n_before", "merged", "n_after").row(0) == (6, 4, 2)
    assert len(apply_cuts(star, cuts.model_copy(update={"min_points": 3}))[0]) == 0


def test_bad_points_do_not_spoil_a_bin(table):
    star = table([2], time=[0.0, 0.001], flux=[5.0, NAN], quality=np.array([0, 0], dtype=np.int32))
    kept, _ = apply_cuts(star, Cuts(bin_within_minutes=5.0, min_points=1))
    assert kept["flux"].tolist() == [5.0]


@settings(deadline=None)
@given(
    n=st.lists(st.integers(0, 8), max_size=5),
    seed=st.integers(0, 1000),
    bands=st.sampled_from([None, ("g",), ("g", "V"), ()]),
    bits=st.sampled_from([0, 1, 2]),
    binned=st.sampled_from([None, 500.0]),
    min_points=st.integers(0, 4),
)
def test_every_point_is_accounted_for(make_lightcurves, n, seed, bands, bits, binned, min_points):
    stars = make_lightcurves(n, seed, missing=0.2)
    cuts = Cuts(bands=bands, quality=None, quality_bits=bits, bin_within_minutes=binned, min_points=min_points)
    kept, report = apply_cuts(stars, cuts)
    lost = sum(report[f"lost_{reason}"] for reason in REASONS)
    assert (report["n_before"] == lost + report["merged"] + report["n_after"]).all()
    assert report["star_id"].to_list() == list(stars.star_id)
    assert report["kept"].to_list() == [after >= min_points for after in report["n_after"]]
    assert kept.star_id == tuple(report.filter("kept")["star_id"])
    assert kept.n_points.tolist() == report.filter("kept")["n_after"].to_list()
    if binned is None:
        _assert_kept_points(stars, kept, cuts)


def _assert_kept_points(stars, kept, cuts):
    """Point by point, the slow way."""
    for index, name in enumerate(kept.star_id):
        star = stars.star(stars.star_id.index(name))
        expected = [
            k
            for k in range(int(star.offsets[-1]))
            if (cuts.bands is None or star["band"][k] in cuts.bands)
            and np.isfinite(star["flux"][k])
            and np.isfinite(star["mag"][k])
            and star["mag_err"][k] < 99
            and not int(star["quality"][k]) & cuts.quality_bits
            and np.isfinite(star["flux_err"][k])
            and star["flux_err"][k] > 0
        ]
        np.testing.assert_array_equal(kept.star(index)["time"], star["time"][expected])


@pytest.mark.parametrize(
    "values, message",
    [
        ({"window": (2.0, 1.0)}, "'window': the window must begin before it ends"),
        ({"window": (1.0,)}, "'window"),
        ({"min_points": -1}, "'min_points'"),
        ({"bin_within_minutes": 0.0}, "'bin_within_minutes'"),
        ({"max_mag_err": 0.0}, "'max_mag_err'"),
        ({"min_epochs": 150}, "key 'min_epochs' does not exist; allowed here: bands"),
    ],
)
def test_wrong_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        validate(Cuts, values, "survey.cuts")
