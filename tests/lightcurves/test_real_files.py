"""Every kind of real file, compared with a slow reading of the same text."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from varistar.foundation.errors import DataError
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.readers import detect_format, read
from varistar.lightcurves.table import LightCurves, concatenate

pytestmark = pytest.mark.realdata


def numbers(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """A column of text as numbers, a limit as NaN."""
    return np.array([np.nan if row[name].startswith(">") else float(row[name]) for row in rows])


def missing(lightcurves: LightCurves, name: str) -> int:
    return int(np.isnan(lightcurves[name]).sum())


def v2_files(real_data: Path) -> list[Path]:
    return sorted((real_data / "asassn" / "skypatrol_v2").glob("*-light-curves.csv"))


def v1_files(real_data: Path) -> list[Path]:
    found = sorted((real_data / "asassn").glob("skypatrol_v1_*/*.csv"))
    return [path for path in found if path.name != "truth.csv"]


def test_skypatrol_v2(real_data, csv_rows):
    files = v2_files(real_data)
    assert len(files) == 21
    for path in files:
        assert detect_format(path) == "skypatrol_v2"
        star, rows = read(path), csv_rows(path)
        assert star.star_id == (path.name.removesuffix("-light-curves.csv"),)
        assert (star.time_system, star.flux_unit, star.survey) == ("MJD_UTC", "mJy", "ASAS-SN")
        order = np.argsort(numbers(rows, "JD"), kind="stable")
        rows = [rows[i] for i in order]
        np.testing.assert_allclose(star["time"], numbers(rows, "JD") - 2400000.5, rtol=0, atol=1e-9)
        assert star["camera"].tolist() == [row["Camera"] for row in rows]
        assert star["band"].tolist() == [row["Filter"] for row in rows]
        assert star["quality"].tolist() == [{"G": 0, "B": 1, "U": 2}[row["Quality"]] for row in rows]
        np.testing.assert_array_equal(star["fwhm"], numbers(rows, "FWHM").astype(np.float32))
        mag_err, flux_err = numbers(rows, "Mag Error"), numbers(rows, "Flux Error")
        detected, failed = mag_err < 99, flux_err > 99
        for name, column in (("mag", "Mag"), ("mag_err", "Mag Error")):
            expected = np.where(detected, numbers(rows, column), np.nan).astype(np.float32)
            np.testing.assert_array_equal(star[name], expected)
        for name, column in (("flux", "Flux"), ("flux_err", "Flux Error"), ("limit", "Limit")):
            expected = np.where(failed, np.nan, numbers(rows, column)).astype(np.float32)
            np.testing.assert_array_equal(star[name], expected)


def test_quirks_of_skypatrol_v2(real_data):
    stars = concatenate([read(path) for path in v2_files(real_data)])
    codes, counts = np.unique(stars["quality"], return_counts=True)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == {0: 30314, 1: 4228, 2: 1975}
    assert missing(stars, "flux") == 35  # failed rows, which repeat the reference flux
    assert missing(stars, "mag") == 35 + 7  # and upper limits, which keep their flux
    for camera, count in (("bF{}", 1), ("bq{}", 1), ("cB", 72), ("bd", 575), ("bD", 656)):
        assert (stars["camera"] == camera).sum() == count
    assert set(stars["band"][stars["camera"] == "bd"]) == {"V"}
    assert set(stars["band"][stars["camera"] == "bD"]) == {"g"}


def test_skypatrol_client_csv(real_data, csv_rows):
    path = real_data / "asassn" / "skypatrol_v2" / "vxmen.csv"
    assert detect_format(path) == "skypatrol_client"
    star = read(path)
    assert star.star_id == ("12702",)
    assert star.n_points.tolist() == [1065]
    assert "quality" not in star.columns
    assert set(star["band"]) == {"g"}
    assert np.all(np.diff(star["time"]) > 0)  # unsorted in the file
    rows = sorted(csv_rows(path), key=lambda row: float(row["jd"]))
    np.testing.assert_array_equal(star["flux"], numbers(rows, "flux").astype(np.float32))
    assert star["camera"].tolist() == [row["cam"] for row in rows]
    assert 58029 < star["time"][0] < star["time"][-1] < 59094


def test_the_band_follows_from_the_camera(real_data):
    """The rule with which files that state no filter are read holds wherever the filter is stated."""
    from varistar.lightcurves.skypatrol import V_CAMERAS

    for path in v2_files(real_data) + v1_files(real_data):
        star = read(path)
        np.testing.assert_array_equal(np.isin(star["camera"], V_CAMERAS), star["band"] == "V")


def test_skypatrol_v1(real_data, csv_rows):
    files = v1_files(real_data)
    assert len(files) == 23
    limits = failures = 0
    for path in files:
        assert detect_format(path) == "skypatrol_v1"
        star, rows = read(path), csv_rows(path)
        assert star.star_id == (path.stem,)
        assert (star.time_system, star.flux_unit) == ("HJD-2400000.5", "mJy")
        assert "quality" not in star.columns
        order = np.argsort(numbers(rows, "HJD"), kind="stable")
        rows = [rows[i] for i in order]
        np.testing.assert_allclose(star["time"], numbers(rows, "HJD") - 2400000.5, rtol=0, atol=1e-9)
        is_limit = np.array([row["mag"].startswith(">") for row in rows])
        failed = np.array([row["mag"] == row["flux_err"] == "99.990" for row in rows])
        np.testing.assert_array_equal(np.isnan(star["mag"]), is_limit | failed)
        np.testing.assert_array_equal(np.isnan(star["mag_err"]), is_limit | failed)
        np.testing.assert_array_equal(np.isnan(star["flux"]), failed)
        np.testing.assert_array_equal(np.isnan(star["limit"]), failed)
        written = numbers(rows, "flux(mJy)").astype(np.float32)
        np.testing.assert_array_equal(star["flux"][~failed], written[~failed])
        limits, failures = limits + int(is_limit.sum()), failures + int(failed.sum())
    assert (limits, failures) == (8952, 2208)


def test_dithers_stay_separate_points_until_they_are_binned(real_data):
    star = read(real_data / "asassn" / "skypatrol_v1_periodic" / "a293-29-asas.csv")
    detected = star.where(np.isfinite(star["flux"]) & (star["band"] == "g"))
    seconds = np.diff(detected["time"]) * 86400
    assert 90 < np.median(seconds[seconds < 600]) < 130
    binned, report = apply_cuts(star, Cuts(bands=("g",), bin_within_minutes=10))
    assert 0.3 < report["n_after"][0] / (report["n_after"][0] + report["merged"][0]) < 0.4
    for camera in np.unique(binned["camera"]):
        assert np.diff(binned["time"][binned["camera"] == camera]).min() > 10 / 1440


def test_coadded_blazars(real_data):
    files = sorted((real_data / "asassn" / "blazars_g").glob("*.dat"))
    assert len(files) == 30
    failures = 0
    for path in files:
        assert detect_format(path) == "asassn_coadd"
        star = read(path)
        rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
        assert star.star_id == (path.name.removesuffix("_g.dat"),)
        assert star.time_system == "MJD_UTC"
        rows.sort(key=lambda row: float(row[0]))
        np.testing.assert_allclose(star["time"], [float(row[0]) - 2400000.5 for row in rows], rtol=0, atol=1e-9)
        assert star["camera"].tolist() == [re.match(r"coadd_(\D+)", row[3]).group(1) for row in rows]
        assert set(star["band"]) == {"g"}
        np.testing.assert_array_equal(np.isnan(star["mag"]), [row[7].startswith(">") for row in rows])
        failed = np.array([row[12] == "nan" for row in rows])
        np.testing.assert_array_equal(np.isnan(star["flux"]), failed)
        assert np.isfinite(star["limit"][~failed]).all()
        failures += int(failed.sum())
    assert failures == 76


def test_ztf_from_irsa(real_data, csv_rows):
    for path in sorted((real_data / "other_surveys").glob("*-z*1.csv")):
        assert detect_format(path) == "ztf_irsa"
        star, rows = read(path), csv_rows(path)
        assert star.star_id == (rows[0]["oid"],)
        assert star.n_points.tolist() == [len(rows)]
        assert set(star["band"]) == {rows[0]["filtercode"][1]}
        assert (star.time_system, star.flux_unit, star.survey) == ("MJD_UTC", "mJy", "ZTF")
        assert star["quality"].tolist() == [int(row["catflags"]) for row in rows]
        start_to_middle = (star["time"] - numbers(rows, "mjd")) * 86400
        np.testing.assert_allclose(start_to_middle, numbers(rows, "exptime") / 2, atol=1e-5)
        light_travel = (numbers(rows, "hjd") - 2400000.5 - star["time"]) * 86400
        assert np.abs(light_travel).max() < 504
        np.testing.assert_allclose(10 ** (-0.4 * (star["mag"] - 16.4)), star["flux"], rtol=1e-5)
        relative = star["flux_err"] / star["flux"]
        np.testing.assert_allclose(relative * 2.5 / np.log(10), star["mag_err"], rtol=1e-5)


def test_ztf_dates_are_mid_exposure(real_data, csv_rows):
    """Against astropy's light travel time from Palomar, to a tenth of a second."""
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    path = real_data / "other_surveys" / "svkv70-zg1.csv"
    star, rows = read(path), csv_rows(path)
    palomar = EarthLocation.from_geodetic(-116.865, 33.358, 1712)
    with iers.conf.set_temp("auto_download", False):
        time = Time(star["time"], format="mjd", scale="utc", location=palomar)
        position = SkyCoord(float(rows[0]["ra"]), float(rows[0]["dec"]), unit="deg")
        travel = time.light_travel_time(position, "heliocentric").to_value("s")
    measured = (numbers(rows, "hjd") - 2400000.5 - star["time"]) * 86400
    ordinary = numbers(rows, "exptime") == 30
    assert ordinary.sum() > 1000
    np.testing.assert_allclose(measured[ordinary], travel[ordinary], rtol=0, atol=0.1)


def test_ztf_magnitudes(real_data):
    truth = pl.read_csv(real_data / "ztf_yso" / "truth.csv")
    files = sorted((real_data / "ztf_yso").glob("*_[gr].csv"))
    assert len(files) == 106
    stars = [read(path) for path in files]
    assert {star.star_id[0] for star in stars} >= set(truth["ID"].to_list()[:5])
    for path, star in zip(files, stars, strict=True):
        assert star.star_id[0] + f"_{star['band'][0]}.csv" == path.name
        assert np.isfinite(star["flux"]).all()
        assert star.time_system == "MJD_UTC"


def test_atlas_forced_photometry(real_data):
    bands = set()
    for name in ("a293-29", "m1338"):
        path = real_data / "other_surveys" / f"{name}-atlas.txt"
        assert detect_format(path) == "atlas_forced"
        star = read(path)
        rows = [line.split() for line in path.read_text().splitlines()[1:]]
        rows.sort(key=lambda row: float(row[0]))
        assert star.n_points.tolist() == [len(rows)]
        np.testing.assert_allclose((star["time"] - [float(r[0]) for r in rows]) * 86400, 15.0, atol=1e-5)
        np.testing.assert_allclose(star["flux"], [float(r[3]) / 1000 for r in rows], rtol=1e-6)
        np.testing.assert_array_equal(np.isnan(star["mag"]), [float(r[3]) <= 0 for r in rows])
        assert star["camera"].tolist() == [r[18][:3] for r in rows]
        assert star["quality"].tolist() == [int(r[6]) for r in rows]
        good = (star["flux"] > 0) & (star["flux"] < 1e4)
        from_flux = 23.9 - 2.5 * np.log10(star["flux"][good].astype(float) * 1000)
        assert np.median(np.abs(from_flux - star["mag"][good])) < 0.01
        bands |= set(star["band"])
    assert bands == {"c", "o", "H"}


@pytest.mark.parametrize("mission", ["tess", "kepler"])
def test_pipeline_files(real_data, mission):
    systems = {"tess": ("BTJD", "TESS", "QUALITY"), "kepler": ("BKJD", "Kepler", "SAP_QUALITY")}
    time_system, survey, quality = systems[mission]
    files = sorted((real_data / mission).glob("*.fits"))
    assert len(files) == {"tess": 5, "kepler": 6}[mission]
    for path in files:
        assert detect_format(path) == "spoc"
        star = read(path)
        raw = fits.getdata(path, "LIGHTCURVE")
        assert (star.time_system, star.flux_unit, star.survey) == (time_system, "electron/s", survey)
        assert star.star_id == (fits.getheader(path)["OBJECT"],)
        assert star.n_points.tolist() == [len(raw)]
        order = np.argsort(raw["TIME"], kind="stable")
        np.testing.assert_array_equal(star["time"], raw["TIME"][order])
        np.testing.assert_array_equal(star["flux"], raw["PDCSAP_FLUX"][order])
        np.testing.assert_array_equal(star["flux_err"], raw["PDCSAP_FLUX_ERR"][order])
        np.testing.assert_array_equal(star["quality"], raw[quality][order])
        assert star["time"].dtype.isnative and star["flux"].dtype.isnative
        cadence = np.nanmedian(np.diff(star["time"])) * 1440
        expected = 2.0 if mission == "tess" else 58.85 / 60 if "_slc" in path.name else 29.42
        assert cadence == pytest.approx(expected, rel=1e-2)


def test_the_data_alert_naming_needs_no_reader_of_its_own(real_data):
    star = read(next((real_data / "tess").glob("hlsp_*.fits")))
    assert star.star_id == ("TIC 55652896",)
    assert set(star["camera"]) == {"4-1"}


def test_gzipped_files_read_alike(real_data, tmp_path, assert_same):
    for path in (v2_files(real_data)[0], next((real_data / "kepler").glob("*.fits"))):
        packed = tmp_path / (path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
        assert_same(read(packed), read(path))


def test_merged_surveys_are_read_with_a_mapping(real_data):
    path = real_data / "other_surveys" / "v773tau_merged.csv"
    with pytest.raises(DataError, match="give a mapping"):
        read(path)
    columns = {name: name for name in ("flux", "flux_err", "mag", "mag_err", "camera")}
    stars = read(path, mapping={"time": "HJD", "star_id": "survey", "units": {"flux": "relative"}, **columns})
    assert set(stars.star_id) == {"KELT", "SWASP", "HATNET", "ASAS", "ASAS_SN"}  # written with a blank before each
    assert (stars.time_system, stars.flux_unit) == ("HJD-2400000.5", "relative")
    kelt = stars.star(stars.star_id.index("KELT"))
    assert 54000 < kelt["time"][0] < 60000


def test_files_that_are_no_light_curves_are_refused(real_data):
    for name in ("asassn/cadence_stats.json", "asassn/blazars_g/fermi_matches.csv", "ztf_yso/truth.csv"):
        with pytest.raises(DataError, match="not a light curve of a known format"):
            read(real_data / name)
    with pytest.raises(DataError, match="neither FITS, Parquet nor UTF-8 text"):
        read(real_data / "tess" / "proxima_s0011_fbeye_flares.idlsav")


@pytest.mark.parametrize("group, folder", [("skypatrol_v2", "skypatrol_v2"), ("blazars_g", "blazars_g")])
def test_the_cuts_keep_as_many_points_as_were_counted_before(real_data, group, folder):
    """The counts of cadence_stats.json were made with other software, which took every code but B for good."""
    statistics = json.loads((real_data / "asassn" / "cadence_stats.json").read_text())[group]
    counted = {row["file"]: row["n_good"] for row in statistics["per_lightcurve"]}
    stars = concatenate([read(real_data / "asassn" / folder / name) for name in counted])
    cuts = Cuts(bands=("g",), window=tuple(statistics["window_mjd"]), quality=(0, 2), min_points=0)
    kept, report = apply_cuts(stars, cuts)
    assert kept.n_points.tolist() == list(counted.values())
    assert report["n_after"].to_list() == list(counted.values())


def test_all_v2_stars_pass_the_cuts_of_the_paper(real_data):
    stars = concatenate([read(path) for path in v2_files(real_data)])
    kept, report = apply_cuts(stars, Cuts(bands=("g",), window=(58484.5, 60311.5)))
    assert kept.star_id == stars.star_id
    assert kept.n_points.min() == 427
    assert set(kept["band"]) == {"g"} and set(kept["quality"]) == {0}
    assert np.isfinite(kept["mag"]).all()
    lost = report.select(pl.sum_horizontal(pl.col("^lost_.*$"))).to_series()
    assert (lost + report["n_after"] == report["n_before"]).all()
