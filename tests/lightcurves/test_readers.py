"""Formats made by hand: what real files do not show, and everything that can be wrong with a file."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from varistar.foundation.errors import ConfigError, DataError
from varistar.lightcurves.inputs import expand_inputs
from varistar.lightcurves.readers import FORMATS, detect_format, read
from varistar.lightcurves.shards import write_shard

V1 = """HJD,UT Date,Camera,FWHM,Limit,mag,mag_err,flux(mJy),flux_err,Filter
2458003.5,2017-09-07.0,ba,2.1,16.4,13.0,0.01,22.9,0.21,V
2458001.5,2017-09-05.0,bA,2.2,99.990,99.990,99.990,99.990,99.990,g
2458002.5,2017-09-06.0,bA,2.2,16.642,>16.642,99.990,-0.3,0.2,g
"""
V2 = """# ASAS-SN SkyPatrol ID: 12345
# Gaia DR2: 99


JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera
2458001.5,55.0,0.2,12.1,0.004,16.5,1.7,V,G,bd
2458002.5,54.0,0.2,12.1,0.004,16.5,1.7,g,B,bF{}
2458002.5,53.0,0.2,12.2,0.004,16.5,1.7,g,U,bD
"""
COADD = """###  JD HJD UT_date IMAGE FWHM Diff Limit mag mag_err counts count_err flux (mJy) flux_err
2458017.8  2458017.9  2017-09-21.3  coadd_br000210 1.42 -1.44 18.0     >inf  99.990  0.0  0.0   0.000  nan
2458018.8  2458018.9  2017-09-22.3  coadd_bB000677 1.47 -1.44 18.0     16.5  0.05  1700.6  54.5   0.910  0.075
"""
ATLAS = """###MJD m dm uJy duJy F err chi/N RA Dec x y maj min phi apfit mag5sig Sky Obs
57284.0  12.0  0.001 56971   83 c  0 267 293.8  29.7  7753.1  9727.2 4.38 3.86 -79.3 -0.4 19.1 21.2 02a57284o0035c
57285.0 -17.1  1.179  -520  613 o  1   0 293.8  29.7  2293.9    47.7 5.54 3.57 -17.2 -0.5 18.9 20.6 01a57302o0105o
"""
CLIENT = {
    "asas_sn_id": [7, 5, 7, 5],
    "jd": [2458003.5, 2458001.5, 2458002.5, 2458000.5],
    "flux": [1.0, 2.0, 3.0, 4.0],
    "flux_err": [0.1, 99.99, 0.3, 0.4],
    "mag": [16.0, 15.0, 17.5, 14.0],
    "mag_err": [0.01, 99.99, 99.999, 0.01],
    "limit": [17.0, 99.99, 17.5, 17.0],
    "fwhm": [1.5, 1.5, 1.5, 1.5],
    "image_id": ["a", "b", "c", "d"],
    "camera": ["bi", "bj", "ba", "bA"],
    "quality": ["G", "B", "G", "G"],
    "phot_filter": ["g", "g", "V", "g"],
}


@pytest.fixture
def save(tmp_path):
    """A function that writes bytes or text to a file."""

    def write(content, name="star.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def client_parquet(tmp_path):
    """A function that writes the client's Parquet; float32, as it stores them."""

    def write(**changes):
        columns = {**CLIENT, **changes}
        kinds = {name: pa.float32() for name in ("flux", "flux_err", "mag", "mag_err", "limit", "fwhm")}
        path = tmp_path / "data.parq"
        arrays = {name: pa.array(v, kinds.get(name)) for name, v in columns.items() if v is not None}
        pq.write_table(pa.table(arrays), path)
        return path

    return write


def test_failed_rows_and_limits_of_v1(save):
    star = read(save(V1, "FK Com.csv"))
    assert star.star_id == ("FK Com",)
    assert star["time"].tolist() == [58001.0, 58002.0, 58003.0]
    np.testing.assert_allclose(star["flux"], [np.nan, -0.3, 22.9], rtol=1e-6)
    np.testing.assert_allclose(star["mag"], [np.nan, np.nan, 13.0], rtol=1e-6)
    np.testing.assert_allclose(star["limit"], [np.nan, 16.642, 16.4], rtol=1e-6)
    assert star["camera"].tolist() == ["bA", "bA", "ba"]


def test_a_flux_of_99_99_is_a_flux(save):
    content = V1 + "2458004.5,2017-09-08.0,ba,2.1,16.4,11.4,0.01,99.990,0.21,V\n"
    assert read(save(content))["flux"][-1] == np.float32(99.99)


def test_v2_takes_the_star_from_the_comment_and_keeps_equal_times_in_order(save):
    star = read(save(V2))
    assert star.star_id == ("12345",)
    assert star["camera"].tolist() == ["bd", "bF{}", "bD"]
    assert star["quality"].tolist() == [0, 1, 2]
    assert read(save(V2.split("\n\n\n")[1], "só a fájl.csv")).star_id == ("só a fájl",)


def test_coadd_without_an_error_is_no_measurement(save):
    star = read(save(COADD, "PKS 0001_g.dat"))
    assert star.star_id == ("PKS 0001",)
    assert star["camera"].tolist() == ["br", "bB"]
    np.testing.assert_allclose(star["flux"], [np.nan, 0.91], rtol=1e-6)
    np.testing.assert_allclose(star["limit"], [np.nan, 18.0], rtol=1e-6)


def test_atlas_negative_flux_has_no_magnitude(save):
    star = read(save(ATLAS, "x.txt"))
    np.testing.assert_allclose(star["flux"], [56.971, -0.52], rtol=1e-6)
    assert np.isnan(star["mag"]).tolist() == [False, True]
    assert star["band"].tolist() == ["c", "o"]
    assert star["camera"].tolist() == ["02a", "01a"]


def test_client_parquet_holds_many_stars_in_any_order(client_parquet):
    path = client_parquet()
    assert detect_format(path) == "skypatrol_client"
    stars = read(path)
    assert stars.star_id == ("7", "5")
    assert stars.n_points.tolist() == [2, 2]
    assert stars["time"].tolist() == [58002.0, 58003.0, 58000.0, 58001.0]
    np.testing.assert_allclose(stars["flux"], [3.0, 1.0, 4.0, np.nan])
    np.testing.assert_allclose(stars["mag"], [np.nan, 16.0, 14.0, np.nan])
    np.testing.assert_allclose(stars["limit"], [17.5, 17.0, 17.0, np.nan])
    assert stars["quality"].tolist() == [0, 0, 0, 1]
    assert stars["band"].tolist() == ["V", "g", "g", "g"]


def test_client_csv_and_parquet_agree(client_parquet, save, assert_same):
    names = list(CLIENT)
    lines = [",".join(names), *(",".join(str(v) for v in row) for row in zip(*CLIENT.values(), strict=True))]
    assert_same(read(save('# "name":"x"\n' + "\n".join(lines))), read(client_parquet()))


def test_client_without_filter_takes_the_band_from_the_camera(client_parquet):
    stars = read(client_parquet(phot_filter=None, quality=None))
    assert stars["band"].tolist() == ["V", "g", "g", "g"]
    assert "quality" not in stars.columns


def test_nulls_in_parquet_are_missing_values(client_parquet):
    stars = read(client_parquet(flux=[None, 2.0, 3.0, None]))
    np.testing.assert_allclose(stars["flux"], [3.0, np.nan, np.nan, np.nan])


def test_irsa_tables_may_hold_many_objects(save):
    header = "oid,mjd,mag,magerr,catflags,filtercode,exptime\n"
    stars = read(
        save(header + "2,58001.0,16.4,0.1,0,zg,30\n1,58003.0,18.9,0.1,32768,zr,60\n2,58000.0,16.4,0.1,0,zg,30\n")
    )
    assert stars.star_id == ("2", "1")
    np.testing.assert_allclose((stars["time"] - [58000, 58001, 58003]) * 86400, [15, 15, 30], atol=1e-4)
    np.testing.assert_allclose(stars["flux"], [1.0, 1.0, 0.1], rtol=1e-6)
    np.testing.assert_allclose(stars["flux_err"], [0.0921, 0.0921, 0.00921], rtol=1e-3)
    assert stars["band"].tolist() == ["g", "g", "r"]
    assert stars["quality"].tolist() == [0, 0, 32768]


def test_three_columns_take_star_and_band_from_the_name(save):
    content = "mjd,mag,magerr\n58000.0,16.4,0.1\n"
    named, unnamed = read(save(content, "V1_r.csv")), read(save(content, "V1.csv"))
    assert (named.star_id, named["band"].tolist()) == (("V1",), ["r"])
    assert (unnamed.star_id, unnamed["band"].tolist()) == (("V1",), [""])


def test_pipeline_file(spoc_file, save):
    star = read(save(spoc_file(), "anything.fits"))
    assert star.star_id == ("TIC 42",)
    assert (star.time_system, star.flux_unit, star.survey) == ("BTJD", "electron/s", "TESS")
    assert np.isnan(star["flux"]).sum() == 5
    assert np.isnan(star["time"][-1]) and np.isfinite(star["time"][:-1]).all()
    assert set(star["camera"]) == {"2-3"}
    packed = read(save(gzip.compress(spoc_file()), "anything.fits.gz"))
    assert packed.star_id == star.star_id


def test_a_shard_is_a_format_too(make_lightcurves, assert_same, tmp_path):
    stars = make_lightcurves([4, 0, 3])
    write_shard(tmp_path / "x.parquet", stars)
    assert detect_format(tmp_path / "x.parquet") == "shard"
    assert_same(read(tmp_path / "x.parquet"), stars)


def test_windows_line_ends_and_byte_order_mark(save, assert_same):
    plain = read(save(V2))
    assert_same(read(save(b"\xef\xbb\xbf" + V2.replace("\n", "\r\n").encode())), plain)


def test_all_missing_is_no_error(save):
    line = "2458001.5,x,ba,nan,99.990,99.990,99.990,99.990,99.990,V\n"
    star = read(save(V1.splitlines()[0] + "\n" + 5 * line))
    assert star.n_points.tolist() == [5]
    assert np.isnan(star["flux"]).all()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b" \n\n ", "the file is empty"),
        (b"# only\n# comments\n", "only comments"),
        (V1.splitlines()[0].encode(), "has column names but no points"),
        (b"a,b,c\n1,2,3\n", r"not a light curve of a known format: its columns are a, b, c; give a mapping"),
        (b"a,a\n1,2\n", "names the column 'a' twice"),
        (b"\x00\x01\x02garbage" * 50, "neither FITS, Parquet nor UTF-8 text"),
        (bytes(range(128, 256)) * 20, "neither FITS, Parquet nor UTF-8 text"),
        (b"PAR1 and no more", "truncated or damaged Parquet"),
        (b"SIMPLE  = nonsense" * 200, "truncated or damaged FITS"),
        (b"\x1f\x8b\x08 no gzip at all", "truncated or damaged gzip"),
        (gzip.compress(V1.encode())[:-20], "truncated or damaged gzip"),
        (gzip.compress(b""), "the file is empty"),
        (V1.replace("22.9", "bright").encode(), r"line 2, column 'flux\(mJy\)': expected a number, got 'bright'"),
        (V2.replace("53.0", "5E").encode(), "line 8, column 'Flux': expected a number, got '5E'"),
        (V1.encode()[:-30], "line 4 has 5 cells where 10 were expected"),
        (V1.encode() + b"1,2,3,4,5,6,7,8,9,10,11\n", "line 5 has 11 cells where 10 were expected"),
        (V2.replace(",B,", ",0.004,").encode(), "line 7, column 'Quality': expected one of G, B, U, got '0.004'"),
        (COADD.replace("coadd_bB", "ref_").encode(), "line 3, column 'IMAGE': expected a name like coadd_br000210"),
    ],
)
def test_bad_files(save, content, message):
    path = save(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9, 0.99])
def test_truncated_binary_files(client_parquet, spoc_file, save, fraction):
    parquet, pipeline = client_parquet().read_bytes(), spoc_file()
    with pytest.raises(DataError, match=r"cut\.parq: truncated or damaged Parquet"):
        read(save(parquet[: int(fraction * len(parquet))], "cut.parq"))
    with pytest.raises(DataError, match=r"cut\.fits: (truncated or damaged FITS|a FITS file without)"):
        read(save(pipeline[: int(fraction * len(pipeline))], "cut.fits"))


def test_a_damaged_page_of_parquet(client_parquet, save):
    rng = np.random.default_rng(0)
    path = client_parquet(flux=rng.normal(size=4).tolist())
    content = bytearray(path.read_bytes())
    place = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    content[place : place + 12] = b"\xff" * 12
    with pytest.raises(DataError, match="column 'jd' is damaged"):
        read(save(bytes(content), "damaged.parq"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cards": {"TELESCOP": "Hubble"}}, "of telescope 'Hubble', where one of TESS or Kepler was expected"),
        ({"extension": "TARGETTABLES"}, "a FITS file without the extension LIGHTCURVE"),
        ({"without": ["PDCSAP_FLUX"]}, "lacks the column 'PDCSAP_FLUX'"),
        ({"without": ["QUALITY"]}, "lacks the column 'QUALITY'"),
        ({"units": {"PDCSAP_FLUX": "ppm"}}, "column 'PDCSAP_FLUX' has unit 'ppm', where e-/s was expected"),
        ({"table_cards": {"BJDREFI": 2400000}}, r"times count from BJD 2400000\.0, where 2457000\.0 \(BTJD\)"),
        ({"cards": {"OBJECT": ""}}, "the header lacks OBJECT"),
    ],
)
def test_other_fits_files(spoc_file, save, changes, message):
    with pytest.raises(DataError, match=message):
        read(save(spoc_file(**changes), "x.fits"))


def test_an_image_is_no_light_curve(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(DataError, match=r"image\.fits: a FITS file without the extension LIGHTCURVE"):
        read(tmp_path / "image.fits")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="a folder or device, where one light-curve file was expected"):
        read(tmp_path)


@pytest.mark.parametrize("name", [*FORMATS, "spoc", "shard"])
def test_a_wrong_named_format_says_what_is_missing(save, name):
    with pytest.raises(DataError, match=r"lacks the column '|not a FITS file|truncated or damaged shard"):
        read(save("time,brightness\n1,2\n"), format=name)


def test_a_named_format_is_not_guessed_again(save, spoc_file, client_parquet):
    with pytest.raises(DataError, match="lacks the column 'JD'; it has HJD, UT Date"):
        read(save(V1), format="skypatrol_v2")
    with pytest.raises(DataError, match="a FITS file, where a table of format 'ztf_irsa' was expected"):
        read(save(spoc_file(), "x.fits"), format="ztf_irsa")
    with pytest.raises(DataError, match="no shard of light curves"):
        read(client_parquet(), format="shard")
    with pytest.raises(DataError, match="there is no format 'ogle'; known are skypatrol_v1"):
        read(save(V1), format="ogle")
    with pytest.raises(DataError, match="the format 'mapped' and a mapping of columns go together"):
        read(save(V1), format="mapped")
    with pytest.raises(DataError, match="the format 'mapped' and a mapping of columns go together"):
        read(save(V1), format="skypatrol_v1", mapping={"time": "HJD", "mag": "mag"})


def test_parquet_with_words_for_numbers(client_parquet):
    with pytest.raises(DataError, match="row 2, column 'flux': expected a number, got 'much'"):
        read(client_parquet_words(client_parquet))
    with pytest.raises(DataError, match="column 'jd' should hold numbers, not list"):
        read(client_parquet(jd=[[1.0], [2.0], [3.0], [4.0]]))


def client_parquet_words(client_parquet):
    path = client_parquet()
    table = pq.read_table(path)
    words = pa.array(["1.0", "much", "", "2.0"])
    pq.write_table(table.set_column(table.schema.get_field_index("flux"), "flux", words), path)
    return path


def test_expand_inputs(tmp_path):
    for name in ("b.csv", "sub/a.csv", ".hidden/x.csv", "sub/.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    below = [tmp_path / "b.csv", tmp_path / "sub" / "a.csv"]
    assert expand_inputs([tmp_path]) == below
    assert expand_inputs([tmp_path / "sub" / "a.csv", tmp_path]) == below[::-1]
    assert expand_inputs([tmp_path / ".hidden" / "x.csv"]) == [tmp_path / ".hidden" / "x.csv"]
    with pytest.raises(DataError, match="no such file or folder"):
        expand_inputs([tmp_path / "gone"])


def test_a_wrong_mapping_is_a_mistake_of_the_configuration(save):
    with pytest.raises(ConfigError, match="mapping: key 'flx' does not exist"):
        read(save(V1), mapping={"time": "HJD", "flx": "mag"})
    with pytest.raises(ConfigError, match="needs a column for 'flux' or for 'mag'"):
        read(save(V1), mapping={"time": "HJD"})
