"""Anybody's table, told which column is which."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from varistar.foundation.errors import DataError
from varistar.lightcurves.generic import ColumnMapping
from varistar.lightcurves.readers import read

RELATIVE = {"units": {"flux": "relative"}}


@pytest.fixture
def csv_file(tmp_path):
    """A function that writes a text file."""

    def write(content, name="star.csv"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize("separator", [",", "\t", " ", "  "])
def test_separators(csv_file, separator):
    path = csv_file("mjd,f,e\n58001.0,1.0,0.1\n58000.0,2.0,0.2\n".replace(",", separator), "HD 1.txt")
    star = read(path, mapping={"time": "mjd", "flux": "f", "flux_err": "e", **RELATIVE})
    assert star.star_id == ("HD 1",)
    assert (star.time_system, star.flux_unit, star.survey) == ("MJD_UTC", "relative", "")
    assert star["time"].tolist() == [58000.0, 58001.0]
    np.testing.assert_allclose(star["flux_err"], [0.2, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    "unit, factor, flux_unit",
    [
        ("mJy", 1.0, "mJy"),
        ("uJy", 1e-3, "mJy"),
        ("Jy", 1e3, "mJy"),
        ("nJy", 1e-6, "mJy"),
        ("erg / (s cm2 Hz)", 1e26, "mJy"),
        ("e-/s", 1.0, "electron/s"),
        ("electron / s", 1.0, "electron/s"),
        ("normalised", 1.0, "relative"),
        ("", 1.0, "relative"),
    ],
)
def test_units_of_flux(csv_file, unit, factor, flux_unit):
    path = csv_file("mjd,f,e\n58000,2.0,0.5\n")
    star = read(path, mapping={"time": "mjd", "flux": "f", "flux_err": "e", "units": {"flux": unit}})
    assert star.flux_unit == flux_unit
    np.testing.assert_allclose(star["flux"], np.float32(2.0 * factor), rtol=1e-6)
    np.testing.assert_allclose(star["flux_err"], np.float32(0.5 * factor), rtol=1e-6)


def test_a_unit_in_the_name_of_a_column(csv_file):
    path = csv_file("mjd,flux [uJy],err (mJy)\n58000,2000.0,0.5\n")
    star = read(path, mapping={"time": "mjd", "flux": "flux [uJy]", "flux_err": "err (mJy)"})
    assert (star["flux"].tolist(), star["flux_err"].tolist(), star.flux_unit) == ([2.0], [0.5], "mJy")


@pytest.mark.parametrize(
    "units, message",
    [
        ({}, "column 'f' states no unit"),
        ({"flux": "furlong"}, "column 'f' has the unit 'furlong', where a flux density"),
        ({"flux": "km"}, "column 'f' has the unit 'km', where a flux density"),
        ({"flux": "mag"}, "column 'f' has the unit 'mag', where a flux density"),
        ({"flux": "mJy", "time": "mJy"}, "column 'mjd' has the unit 'mJy', where a time"),
        ({"flux": "mJy", "flux_err": "e-/s"}, "'e' is in electron/s, but 'f' in mJy"),
    ],
)
def test_units_that_cannot_be_converted(csv_file, units, message):
    path = csv_file("mjd,f,e\n58000,2.0,0.5\n")
    with pytest.raises(DataError, match=message):
        read(path, mapping={"time": "mjd", "flux": "f", "flux_err": "e", "units": units})


@pytest.mark.parametrize(
    "name, value, system, expected",
    [
        ("JD", 2458000.5, "MJD_UTC", 58000.0),
        ("mjd", 58000.0, "MJD_UTC", 58000.0),
        ("HJD", 2458000.5, "HJD-2400000.5", 58000.0),
        ("hjd", 58000.0, "HJD-2400000.5", 58000.0),
        ("BJD", 2458000.5, "BJD-2400000.5", 58000.0),
        ("BTJD", 1325.25, "BTJD", 1325.25),
        ("btjd", 2458325.25, "BTJD", 1325.25),
        ("bkjd", 120.5, "BKJD", 120.5),
    ],
)
def test_time_systems_by_name(csv_file, name, value, system, expected):
    star = read(csv_file(f"{name},f\n{value},1\n"), mapping={"time": name, "flux": "f", **RELATIVE})
    assert star.time_system == system
    np.testing.assert_allclose(star["time"], expected, rtol=0, atol=1e-9)


def test_time_system_that_no_name_tells(csv_file):
    path = csv_file("t,f\n86400,1\n")
    mapping = {"time": "t", "flux": "f", "units": {"flux": "relative", "time": "s"}}
    with pytest.raises(DataError, match="the time system of column 't' is not known; give the mapping a time_system"):
        read(path, mapping=mapping)
    assert read(path, mapping={**mapping, "time_system": "BTJD"})["time"].tolist() == [1.0]


def test_magnitudes_alone_give_fluxes(csv_file):
    path = csv_file("mjd,m,e\n58000,16.4,0.1\n58001,>17,\n58002,13.9,0.2\n")
    star = read(path, mapping={"time": "mjd", "mag": "m", "mag_err": "e"})
    assert star.flux_unit == "mJy"
    np.testing.assert_allclose(star["flux"], [1.0, np.nan, 10.0], rtol=1e-6)
    np.testing.assert_allclose(star["flux_err"], [0.1 * np.log(10) / 2.5, np.nan, 2 * np.log(10) / 2.5], rtol=1e-6)


def test_every_column_and_many_stars(csv_file):
    path = csv_file(
        "who,jd,f,e,m,me,lim,w,cam,b,q\n"
        '"Ł, 1",2458001.5,1,0.1,16.4,0.1,17.5,2.0,A,r,0\n'
        "☆2,2458000.5,2,0.2,15.6,0.1,17.5,2.1,B,g,\n"
        '"Ł, 1",2458000.5,3,0.3,15.2,0.1,17.5,2.2,A,r,4\n'
    )
    mapping = ColumnMapping(
        time="jd", flux="f", flux_err="e", mag="m", mag_err="me", limit="lim", fwhm="w", camera="cam", band="b",
        quality="q", star_id="who", survey="mine", units={"flux": "mJy"},
    )  # fmt: skip
    stars = read(path, mapping=mapping)
    assert stars.star_id == ("Ł, 1", "☆2")
    assert stars.survey == "mine"
    assert stars["flux"].tolist() == [3.0, 1.0, 2.0]
    assert stars["quality"].tolist() == [4, 0, 0]
    assert stars["camera"].tolist() == ["A", "A", "B"]
    assert stars["band"].tolist() == ["r", "r", "g"]
    np.testing.assert_allclose(stars["fwhm"], [2.2, 2.0, 2.1], rtol=1e-6)


@pytest.mark.parametrize("flag", ["0.5", "4294967296"])
def test_flags_are_whole_numbers(csv_file, flag):
    path = csv_file(f"mjd,f,q\n58000,1,0\n58001,1,{flag}\n")
    with pytest.raises(DataError, match="line 3, column 'q': expected whole 32-bit numbers"):
        read(path, mapping={"time": "mjd", "flux": "f", "quality": "q", **RELATIVE})


def test_a_mapped_column_that_is_not_there(csv_file):
    with pytest.raises(DataError, match="lacks the column 'flux'; it has mjd, f"):
        read(csv_file("mjd,f\n58000,1\n"), mapping={"time": "mjd", "flux": "flux", **RELATIVE})


def test_flux_without_errors_has_missing_errors(csv_file):
    star = read(csv_file("mjd,f\n58000,1\n"), mapping={"time": "mjd", "flux": "f", **RELATIVE})
    assert np.isnan(star["flux_err"]).all()


def test_parquet_states_units_in_its_schema(tmp_path):
    schema = pa.schema(
        [
            pa.field("mjd", pa.float64()),
            pa.field("f", pa.float64(), metadata={"unit": "uJy"}),
            pa.field("id", pa.int64()),
        ]
    )
    table = pa.table({"mjd": [58001.0, 58000.0], "f": [1000.0, None], "id": [2**62, 2**62]}, schema=schema)
    pq.write_table(table, tmp_path / "x.parquet")
    star = read(tmp_path / "x.parquet", mapping={"time": "mjd", "flux": "f", "star_id": "id"})
    assert star.star_id == (str(2**62),)
    np.testing.assert_allclose(star["flux"], [np.nan, 1.0])


def test_ecsv_states_units_and_dates(tmp_path):
    table = Table(
        {
            "when": Time([2458001.5, 2458000.5], format="jd", scale="utc"),
            "f": [2.0, 1.0] * units.uJy,
            "e": MaskedColumn([0.1, 0.2], mask=[False, True], unit="uJy"),
            "cam": ["b", "a "],
        }
    )
    path = tmp_path / "x.ecsv"
    table.write(path, format="ascii.ecsv")
    mapping = {"time": "when", "flux": "f", "flux_err": "e", "camera": "cam", "time_system": "MJD_UTC"}
    star = read(path, mapping=mapping)
    assert star["time"].tolist() == [58000.0, 58001.0]
    np.testing.assert_allclose(star["flux"], [1e-3, 2e-3], rtol=1e-6)
    np.testing.assert_allclose(star["flux_err"], [np.nan, 1e-4], rtol=1e-6)
    assert star["camera"].tolist() == ["a", "b"]


def test_damaged_ecsv(tmp_path):
    path = tmp_path / "x.ecsv"
    path.write_text("# %ECSV 1.0\n# ---\n# datatype: [}\nmjd f\n1 2\n")
    with pytest.raises(DataError, match=r"x\.ecsv: damaged ECSV"):
        read(path, mapping={"time": "mjd", "flux": "f", **RELATIVE})


def test_a_unit_of_the_mapping_overrides_that_of_the_file(tmp_path):
    path = tmp_path / "x.ecsv"
    Table({"mjd": [58000.0], "f": [2.0] * units.uJy}).write(path, format="ascii.ecsv")
    star = read(path, mapping={"time": "mjd", "flux": "f", "units": {"flux": "mJy"}})
    assert star["flux"].tolist() == [2.0]
