"""Binning, held against a loop over points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.foundation.errors import DataError
from varistar.lightcurves.binning import bin_epochs
from varistar.lightcurves.table import LightCurves

NAN = np.nan


def one_star(**columns) -> LightCurves:
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    for name in ("flux", "flux_err", "mag", "mag_err", "limit", "fwhm"):
        if name in arrays:
            arrays[name] = arrays[name].astype(np.float32)
    return LightCurves(("x",), np.array([0, len(arrays["time"])]), arrays, "MJD_UTC")


def slow_mean(values, errors):
    """Weighted mean and its error of the points that count."""
    finite = np.isfinite(values)
    known = finite & np.isfinite(errors) & (errors > 0)
    if known.any():
        weight = 1.0 / errors[known].astype(float) ** 2
        return np.sum(weight * values[known]) / weight.sum(), weight.sum() ** -0.5
    return (values[finite].mean() if finite.any() else NAN), NAN


def slow_bins(star: LightCurves, within: float) -> list[dict]:
    """The runs of one star, in the order of time."""
    runs = []
    for series in sorted({(c, b) for c, b in zip(star["camera"], star["band"], strict=True)}):
        mine = [k for k in range(len(star["time"])) if (star["camera"][k], star["band"][k]) == series]
        last = None
        for k in sorted(mine, key=lambda k: star["time"][k]):
            if last is None or not star["time"][k] - last <= within:
                runs.append([])
            runs[-1].append(k)
            last = star["time"][k]
    bins = []
    for run in runs:
        column = {name: values[run] for name, values in star.columns.items()}
        flux, flux_err = slow_mean(column["flux"], column["flux_err"])
        counts = np.isfinite(column["flux"])
        if counts.any():
            time = slow_mean(column["time"][counts], column["flux_err"][counts])[0]
        else:
            time = column["time"].mean()
        mag, mag_err = slow_mean(column["mag"], column["mag_err"])
        known = np.isfinite(column["fwhm"])
        bins.append(
            {
                "time": time,
                "flux": flux,
                "flux_err": flux_err,
                "mag": mag,
                "mag_err": mag_err,
                "fwhm": column["fwhm"][known].mean() if known.any() else NAN,
                "camera": column["camera"][0],
                "band": column["band"][0],
                "quality": int(np.bitwise_or.reduce(column["quality"])),
            }
        )
    return sorted(bins, key=lambda b: b["time"])


@settings(deadline=None)
@given(n=st.lists(st.integers(0, 12), min_size=1, max_size=4), seed=st.integers(0, 10_000), missing=st.floats(0, 0.5))
def test_against_a_loop(make_lightcurves, n, seed, missing):
    names = ("time", "flux", "flux_err", "mag", "mag_err", "fwhm", "camera", "band", "quality")
    stars = make_lightcurves(n, seed, names, missing=missing)
    owner = np.repeat(np.arange(len(n)), n)
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(owner)), owner))
    stars = LightCurves(stars.star_id, stars.offsets, {k: v[shuffled] for k, v in stars.columns.items()}, "MJD_UTC")
    binned = bin_epochs(stars, 1.0)
    assert binned.star_id == stars.star_id
    for i in range(len(stars)):
        expected, found = slow_bins(stars.star(i), 1.0), binned.star(i)
        assert len(expected) == len(found["time"])
        np.testing.assert_allclose(found["time"], [b["time"] for b in expected], rtol=0, atol=1e-6)
        for name in ("flux", "flux_err", "mag", "mag_err", "fwhm"):
            # Means are stored in single precision; their sums are made in double.
            np.testing.assert_allclose(found[name], [b[name] for b in expected], rtol=3e-7, err_msg=name)
        for name in ("camera", "band", "quality"):
            assert found[name].tolist() == [b[name] for b in expected]


def test_three_dithers_become_one_point():
    seconds = np.array([0.0, 110.0, 220.0, 86400.0, 86510.0])
    star = one_star(time=58000 + seconds / 86400, flux=[1, 2, 3, 10, 20], flux_err=[1, 1, 1, 1, 3])
    binned = bin_epochs(star, 0.01)
    np.testing.assert_allclose((binned["time"] - 58000) * 86400, [110.0, 86411.0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(binned["flux"], [2.0, 11.0], rtol=1e-6)
    np.testing.assert_allclose(binned["flux_err"], [3**-0.5, 0.9**0.5], rtol=1e-6)
    assert {name: v.dtype for name, v in binned.columns.items()} == {n: v.dtype for n, v in star.columns.items()}


def test_cameras_and_bands_stay_apart():
    star = one_star(
        time=[0.0, 0.001, 0.002, 0.003], flux=[1, 2, 3, 4], flux_err=[1] * 4,
        camera=["ba", "bA", "ba", "ba"], band=["V", "g", "V", "g"],
    )  # fmt: skip
    binned = bin_epochs(star, 0.01)
    assert sorted(zip(binned["flux"], binned["camera"], binned["band"], strict=True)) == [
        (2.0, "bA", "g"),
        (2.0, "ba", "V"),
        (4.0, "ba", "g"),
    ]


def test_equal_times_of_one_camera_join():
    binned = bin_epochs(one_star(time=[1.0, 1.0], flux=[1, 3], flux_err=[1, 1]), 1e-6)
    assert binned["time"].tolist() == [1.0] and binned["flux"].tolist() == [2.0]


def test_points_without_a_time_stay_by_themselves():
    binned = bin_epochs(one_star(time=[1.0, NAN, NAN], flux=[1, 2, 3], flux_err=[1, 1, 1]), 1.0)
    assert binned["flux"].tolist() == [1.0, 2.0, 3.0]


def test_nothing_to_bin(make_lightcurves, assert_same):
    for n in ([], [0], [0, 0]):
        assert_same(bin_epochs(make_lightcurves(n), 1.0), make_lightcurves(n))


@pytest.mark.parametrize("within", [0.0, -1.0, NAN])
def test_the_gap_is_positive(make_lightcurves, within):
    with pytest.raises(DataError, match="expected a positive number"):
        bin_epochs(make_lightcurves([3]), within)
