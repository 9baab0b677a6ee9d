"""Of the stars that TESS has observed every 2-minute light curve arrives, and nothing else."""

import io
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from varistar.archives.fetch import Fetched
from varistar.archives.mast import fetch_mast
from varistar.archives.transfer import Manners
from varistar.foundation.errors import ConfigError, DataError
from varistar.lightcurves.cuts import Cuts
from varistar.lightcurves.store import Store
from varistar.surveys.folder import ingest

pytest.importorskip("astroquery")

FIRST = "tess2018206045859-s0001-{:016d}-0120-s_lc.fits"
LATER = "tess2020186164531-s0027-{:016d}-0189-s_lc.fits"


def light_curve(name: str) -> bytes:
    """A pipeline's file of 50 cadences of the star in its name."""
    flux = 1000.0 + np.arange(50)
    columns = [
        fits.Column("TIME", "D", unit="BJD - 2457000, days", array=1325.0 + np.arange(50) / 720),
        fits.Column("PDCSAP_FLUX", "E", unit="e-/s", array=flux),
        fits.Column("PDCSAP_FLUX_ERR", "E", unit="e-/s", array=np.ones(50)),
        fits.Column("QUALITY", "J", array=np.zeros(50)),
    ]
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": "TESS", "OBJECT": f"TIC {int(name.split('-')[2])}", "CAMERA": 1, "CCD": 2})
    table = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    table.header.update({"BJDREFI": 2457000, "BJDREFF": 0.0})
    content = io.BytesIO()
    fits.HDUList([primary, table]).writeto(content)
    return content.getvalue()


@pytest.fixture
def mast(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MAST's portal, which filters its recorded rows as it is asked, and its files."""
    monkeypatch.setattr("astroquery.mast.discovery_portal.PortalAPI._column_configs", {})

    def invoke(request: Any) -> Any:
        asked = json.loads(parse_qs(request.body.decode())["request"][0])
        service = {"Mast.Caom.Filtered": "observations", "Mast.Caom.Products": "products"}[asked["service"]]
        answer = json.loads(loopback.recorded(f"mast_{service}.json").content)
        if service == "observations":
            wanted = {each["paramName"]: set(each["values"]) for each in asked["params"]["filters"]}
        else:
            wanted = {"obsID": set(asked["params"]["obsid"].split(","))}
        answer["data"] = [
            row for row in answer["data"] if all(str(row[name]) in values for name, values in wanted.items())
        ]
        return loopback.as_json(answer)

    def download(request: Any) -> Any:
        name = unquote(urlsplit(request.path).query).removeprefix("uri=mast:TESS/product/")
        return loopback.Reply(light_curve(name))

    loopback.answers["/columnsconfig"] = loopback.recorded("mast_columns.json")
    loopback.answers["/api/v0/invoke"] = invoke
    loopback.answers["/api/v0.1/Download/file"] = download
    return loopback


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_every_two_minute_light_curve(mast: Any, quick: Manners, tmp_path: Path) -> None:
    """Neither pixels, nor validation, nor the 20-second series; a star with nothing else is refused."""
    done = fetch_mast(["TIC 1001", "1002", "tic1003", "1004"], tmp_path, manners=quick, server=mast.url)
    none = "MAST has no 2-minute light curve of TIC"
    assert done == Fetched(2, 0, {"1003": f"{none} 1003", "1004": f"{none} 1004"})
    assert names_in(tmp_path) == {FIRST.format(1001), LATER.format(1001), FIRST.format(1002)}
    assert (tmp_path / FIRST.format(1002)).read_bytes() == light_curve(FIRST.format(1002))
    assert mast.count("Download") == 3
    assert fetch_mast(["1001", "1002"], tmp_path, manners=quick, server=mast.url) == Fetched(0, 2, {})
    assert mast.count("Download") == 3


def test_one_question_for_many_stars(mast: Any, quick: Manners, tmp_path: Path) -> None:
    fetch_mast([str(tic) for tic in range(990, 1015)], tmp_path, manners=quick, server=mast.url)
    questions = [parse_qs(request.body.decode())["request"][0] for request in mast.asked if "invoke" in request.path]
    assert [json.loads(question)["service"] for question in questions] == [
        "Mast.Caom.Filtered",
        "Mast.Caom.Products",
        "Mast.Caom.Filtered",
    ]


def test_some_sectors_and_later_all(mast: Any, quick: Manners, tmp_path: Path) -> None:
    """A star that is complete in one sector is not complete; what stands there is not sent again."""
    done = fetch_mast(["1001", "1002"], tmp_path, [27], quick, server=mast.url)
    assert done == Fetched(1, 0, {"1002": "MAST has no 2-minute light curve in the sectors 27 of TIC 1002"})
    assert names_in(tmp_path) == {LATER.format(1001)}
    assert fetch_mast(["1001", "1002"], tmp_path, manners=quick, server=mast.url) == Fetched(2, 0, {})
    assert mast.count("Download") == 3
    assert fetch_mast(["1001"], tmp_path, [27], quick, refresh=True, server=mast.url) == Fetched(1, 0, {})
    assert mast.count("Download") == 3


def test_faults_of_the_portal_and_of_the_files(mast: Any, quick: Manners, tmp_path: Path) -> None:
    error = mast.as_json({"status": "ERROR", "msg": "the database is away", "data": [], "fields": []})
    mast.stumble("/api/v0/invoke", mast.Reply(status=503), error, mast.Reply(b"<html>"))
    good = light_curve(FIRST.format(1002))
    mast.stumble("Download", mast.Reply(b'{"status": "ERROR"}'), mast.Reply(good, sent=700), mast.Reply(status=500))
    assert fetch_mast(["1002"], tmp_path, manners=quick, server=mast.url) == Fetched(1, 0, {})
    assert (tmp_path / FIRST.format(1002)).read_bytes() == good
    assert mast.asked[-1].range == ""


@pytest.mark.parametrize("garbage", [b"", b"null", b"{}", b'{"status": "ERROR", "msg": "away"}'])
def test_columns_that_are_none(mast: Any, quick: Manners, tmp_path: Path, garbage: bytes) -> None:
    """Astroquery remembers what it heard first."""
    mast.stumble("/columnsconfig", mast.Reply(garbage))
    assert fetch_mast(["1002"], tmp_path, manners=quick, server=mast.url) == Fetched(1, 0, {})


@pytest.mark.parametrize("garbage", [b"", b"null", b"[]", b'{"status": "COMPLETE"}'])
@pytest.mark.parametrize("nth", [0, 1])
def test_answers_that_are_none(mast: Any, quick: Manners, tmp_path: Path, garbage: bytes, nth: int) -> None:
    """The first and the second question are each put again."""
    good = mast.answers["/api/v0/invoke"]
    replies = [good] * nth + [lambda _: mast.Reply(garbage)]
    mast.answers["/api/v0/invoke"] = lambda request: (replies.pop(0) if replies else good)(request)
    assert fetch_mast(["1002"], tmp_path, manners=quick, server=mast.url) == Fetched(1, 0, {})
    assert mast.count("/api/v0/invoke") == 3 + nth


def test_the_portal_stays_in_trouble(mast: Any, quick: Manners, tmp_path: Path) -> None:
    error = mast.as_json({"status": "ERROR", "msg": "the database is away", "data": [], "fields": []})
    mast.answers["/api/v0/invoke"] = error
    with pytest.raises(DataError, match=r"^MAST's answer about 1 stars, .* reports the database is away, at try 4$"):
        fetch_mast(["1001"], tmp_path, manners=quick, server=mast.url)


def test_a_file_that_is_listed_but_not_there(mast: Any, quick: Manners, tmp_path: Path) -> None:
    mast.stumble("s0027", mast.Reply(status=404))
    done = fetch_mast(["1001", "1002"], tmp_path, manners=quick, server=mast.url)
    assert done.n_new == 1 and list(done.refused) == ["1001"]
    assert done.refused["1001"].endswith("_lc.fits: the server answers 404 Not Found")
    assert names_in(tmp_path) == {FIRST.format(1001), FIRST.format(1002)}
    assert fetch_mast(["1001", "1002"], tmp_path, manners=quick, server=mast.url) == Fetched(1, 1, {})


def test_into_a_store(mast: Any, quick: Manners, tmp_path: Path) -> None:
    """The folder goes to `ingest` as it is: what stands beside the light curves is no input."""
    fetch_mast(["1001", "1002"], tmp_path / "raw", [1], quick, server=mast.url)
    done = ingest([tmp_path / "raw"], tmp_path / "store", Cuts(bands=("TESS",), min_points=20))
    assert (done.n_stars, done.n_kept, done.n_refused) == (2, 2, 0)
    stars = Store(tmp_path / "store").read_stars(["TIC 1001"])
    assert (stars.survey, stars.time_system) == ("TESS", "BTJD")
    np.testing.assert_array_equal(stars["flux"], 1000.0 + np.arange(50))


@pytest.mark.parametrize("wrong", ["TIC", "KIC 1026146", "1.5", "", "TIC 12345678901234567"])
def test_ids_that_are_none(mast: Any, quick: Manners, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(DataError, match=rf"^'{wrong}' is no TIC number, such as 'TIC 441420236'$"):
        fetch_mast(["1001", wrong], tmp_path / "folder", manners=quick, server=mast.url)
    assert mast.asked == [] and not (tmp_path / "folder").exists()


def test_a_sector_that_is_none(quick: Manners, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no sector 0"):
        fetch_mast(["1001"], tmp_path, [0], quick)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "astroquery.mast", None)
    with pytest.raises(ConfigError, match=r'^MAST needs astroquery: pip install "varistar\[mast\]"$'):
        fetch_mast(["1001"], tmp_path)


def test_the_manifest_has_the_address_of_each_file(mast: Any, quick: Manners, tmp_path: Path) -> None:
    fetch_mast(["1002"], tmp_path, manners=quick, server=mast.url)
    line = pl.read_ndjson(tmp_path / ".fetched" / "manifest.jsonl").row(0, named=True)
    assert line["url"] == f"{mast.url}/api/v0.1/Download/file?uri=mast:TESS/product/{FIRST.format(1002)}"
    assert (line["id"], line["query"]) == ("1002", "MAST, TESS 2-minute light curves of SPOC")
