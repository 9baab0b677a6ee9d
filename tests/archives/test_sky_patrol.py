"""Stars of ASAS-SN arrive a file each, in batches, through the client's own questions to a server that stumbles.

The client's addresses are fixed, so the loopback server is set as the proxy for them: it sees what Sky Patrol would.
"""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import polars as pl
import pytest

from varistar.archives import sky_patrol
from varistar.archives.fetch import Fetched
from varistar.archives.sky_patrol import fetch_sky_patrol, find_in_cone
from varistar.archives.transfer import Manners
from varistar.foundation.errors import ConfigError, DataError
from varistar.lightcurves.cuts import Cuts
from varistar.lightcurves.readers import detect_format, read
from varistar.lightcurves.store import Store
from varistar.surveys.folder import ingest

pytest.importorskip("pyasassn")

FRONT = "asassn-lb01.ifa.hawaii.edu:9006"
HOSTS = ["asassn-data01.ifa.hawaii.edu", "asassn-data02.ifa.hawaii.edu"]
GAIA = 5211052415435948000


def points_of(star: int) -> pl.DataFrame:
    """Thirty epochs as the client delivers them, in no order, with a non-detection."""
    rng = np.random.default_rng(star)
    jd = 2458600.5 + rng.permutation(30) * 1.25
    flux = rng.uniform(9, 11, 30)
    mag = 16.4 - 2.5 * np.log10(flux)
    return pl.DataFrame(
        {
            "asas_sn_id": np.full(30, star),
            "jd": jd,
            "flux": flux,
            "flux_err": np.full(30, 0.05),
            "mag": mag,
            "mag_err": np.where(np.arange(30) == 7, 99.99, 0.006),
            "limit": np.full(30, 17.4),
            "fwhm": np.full(30, 1.5),
            "image_id": [f"coadd_{number}" for number in range(30)],
            "camera": rng.choice(["bk", "bG"], 30),
            "quality": rng.choice(["G", "B"], 30),
            "phot_filter": np.full(30, "g"),
        }
    )


def as_parquet(table: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    table.write_parquet(content)
    return content.getvalue()


class SkyPatrolServer:
    """What Sky Patrol does: it answers with the stars that it knows, and holds their points in blocks under a hash."""

    stars = range(1, 60)
    without_points = (13,)

    def __init__(self, loopback: Any):
        self.reply = loopback.Reply
        self.held: dict[str, list[int]] = {}
        answers = loopback.answers
        answers["/get_current_message"] = self.reply(b"All is well.")
        answers["/get_schema"] = loopback.recorded("sky_patrol_schema.json")
        answers["/get_counts"] = loopback.recorded("sky_patrol_counts.json")
        answers["/get_block_servers"] = loopback.as_json(HOSTS)
        answers["/lookup_targets/catalog_list"] = self.look_up
        answers["/lookup_cone/"] = lambda request: self.reply(as_parquet(self.index([3, 4, 5], "asas_sn_id")))
        answers["/get_block/"] = self.block

    def index(self, stars: list[int], column: str) -> pl.DataFrame:
        index = pl.DataFrame({"asas_sn_id": stars, "ra_deg": [1.0] * len(stars), "dec_deg": [2.0] * len(stars)})
        return index.with_columns((pl.col("asas_sn_id") + GAIA).alias("gaia_id")) if column == "gaia_id" else index

    def look_up(self, request: Any) -> Any:
        asked = json.loads(request.body)
        ids, column = asked["tar_ids"], asked["id_col"]
        known = [star for star in self.stars if (star + GAIA if column == "gaia_id" else star) in ids]
        assert asked["catalog"] == ("stellar_main" if column == "gaia_id" else "master_list")
        question = f"listlen-{len(ids)}_listfirst-{ids[0]}_listend-{ids[-1]}|catalog-{asked['catalog']}|id_col-{column}"
        self.held[question] = known
        return self.reply(as_parquet(self.index(known, column)))

    def block(self, request: Any) -> Any:
        named = unquote(urlsplit(request.path).path).removeprefix("/get_block/query_hash-")
        hashed, place = named.split("-block_idx-")
        question = base64.decodebytes(hashed.encode()).decode().split("|cols-")[0]
        number = int(place.split("-catalog-")[0])
        stars = self.held[question][sky_patrol.BLOCK * number : sky_patrol.BLOCK * (number + 1)]
        tables = [points_of(star) for star in stars if star not in self.without_points]
        return self.reply(as_parquet(pl.concat(tables or [points_of(1).clear()])))


@pytest.fixture
def patrol(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sky Patrol behind its own addresses."""
    SkyPatrolServer(loopback)
    monkeypatch.setenv("http_proxy", loopback.url)
    return loopback


def hosts_of(patrol: Any, part: str) -> list[str]:
    return [urlsplit(request.path).netloc for request in patrol.asked if part in request.path]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_file_per_star_that_our_reader_reads(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    done = fetch_sky_patrol(["3", "99", "017", "13"], tmp_path, manners=quick)
    assert (done.n_new, done.n_known) == (2, 0)
    assert done.refused == {
        "99": "Sky Patrol does not know the star with asas_sn_id 99",
        "13": "Sky Patrol has no light curve of the star with asas_sn_id 13",
    }
    assert names_in(tmp_path) == {"3.parquet", "17.parquet"}
    for star in (3, 17):
        path = tmp_path / f"{star}.parquet"
        sent = points_of(star).sort("jd")
        assert detect_format(path) == "skypatrol_client"
        assert pl.read_parquet(path).equals(sent)
        light_curve = read(path)
        assert light_curve.star_id == (str(star),)
        np.testing.assert_array_equal(light_curve["flux"], sent["flux"].cast(pl.Float32))
        np.testing.assert_array_equal(np.isnan(light_curve["mag"]), sent["mag_err"] > 99)
    assert set(hosts_of(patrol, "lookup")) == {FRONT}
    assert hosts_of(patrol, "get_block/") == [f"{HOSTS[0]}:9006"]


def test_batches_and_resume(patrol: Any, quick: Manners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_patrol.SkyPatrol, "batch", 10)
    ids = [str(star) for star in range(20, 45)]
    assert fetch_sky_patrol(ids[:12], tmp_path, manners=quick) == Fetched(12, 0, {})
    assert patrol.count("lookup_targets") == patrol.count("get_block/") == 2
    assert fetch_sky_patrol(ids, tmp_path, manners=quick) == Fetched(13, 12, {})
    questions = [json.loads(request.body)["tar_ids"] for request in patrol.asked if "lookup_targets" in request.path]
    assert questions[2:] == [list(range(32, 42)), [42, 43, 44]]
    assert patrol.count("get_schema") == 2
    assert names_in(tmp_path) == {f"{id}.parquet" for id in ids}
    for id in ids:
        assert read(tmp_path / f"{id}.parquet").star_id == (id,)


def test_several_blocks(patrol: Any, quick: Manners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More stars than one block holds: every block is asked for, of all servers in turn."""
    monkeypatch.setattr(sky_patrol, "BLOCK", 10)
    ids = [str(star) for star in range(20, 45)]
    assert fetch_sky_patrol(ids, tmp_path, manners=quick) == Fetched(25, 0, {})
    for id in ids:
        assert read(tmp_path / f"{id}.parquet").star_id == (id,)
    assert hosts_of(patrol, "get_block/") == [f"{HOSTS[number]}:9006" for number in (0, 1, 0)]


def test_by_gaia(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    """Nineteen digits stay exact all the way; the file is named by the star's own number."""
    wanted, unknown = str(GAIA + 8), str(GAIA + 100)
    done = fetch_sky_patrol([wanted, unknown], tmp_path, "gaia_id", quick)
    assert done == Fetched(1, 0, {unknown: f"Sky Patrol does not know the star with gaia_id {unknown}"})
    assert names_in(tmp_path) == {"8.parquet"}
    assert fetch_sky_patrol([wanted], tmp_path, "gaia_id", quick) == Fetched(0, 1, {})


def test_newest_epochs(patrol: Any, quick: Manners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_sky_patrol(["5"], tmp_path, manners=quick)
    more = pl.concat([points_of(5), points_of(5).with_columns(pl.col("jd") + 500)])
    monkeypatch.setitem(globals(), "points_of", lambda star: more)
    assert fetch_sky_patrol(["5"], tmp_path, manners=quick) == Fetched(0, 1, {})
    assert fetch_sky_patrol(["5"], tmp_path, manners=quick, refresh=True) == Fetched(1, 0, {})
    assert pl.read_parquet(tmp_path / "5.parquet").height == 60
    assert fetch_sky_patrol(["5"], tmp_path, manners=quick) == Fetched(0, 1, {})


@pytest.mark.parametrize("part", ["get_schema", "get_block_servers", "lookup_targets", "get_block/"])
@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"sent": 0}, {"content": b"null"}, {"content": b"[]"}, {"content": b""}], ids=str
)
def test_a_server_that_stumbles(patrol: Any, quick: Manners, tmp_path: Path, part: str, fault: dict[str, Any]) -> None:
    """An error, no answer, or an answer that is none: each is met with another try."""
    patrol.stumble(part, patrol.Reply(**fault), patrol.Reply(**fault))
    assert fetch_sky_patrol(["3", "4"], tmp_path, manners=quick) == Fetched(2, 0, {})
    assert names_in(tmp_path) == {"3.parquet", "4.parquet"}
    assert patrol.count(part) >= 3


def test_a_broken_block_server_is_left_for_the_next(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    patrol.stumble(HOSTS[0], *[patrol.Reply(status=500)] * 9)
    assert fetch_sky_patrol(["3"], tmp_path, manners=quick) == Fetched(1, 0, {})
    assert hosts_of(patrol, "get_block/") == [f"{host}:9006" for host in HOSTS]


def test_a_server_that_stays_away(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    patrol.stumble("lookup_targets", *[patrol.Reply(status=502)] * 9)
    with pytest.raises(
        DataError, match=r"^Sky Patrol's answer about 1 stars, the first 3: .* 502 Bad Gateway, at try 4$"
    ):
        fetch_sky_patrol(["3"], tmp_path, manners=quick)
    assert names_in(tmp_path) == set()


def test_the_package_keeps_its_own_requests(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    """For others in this process the client is as it was, also after an error."""
    import pyasassn.client  # type: ignore[import-untyped]
    import requests

    fetch_sky_patrol(["3"], tmp_path, manners=quick)
    with pytest.raises(DataError):
        fetch_sky_patrol(["99"], tmp_path, manners=quick)
    assert pyasassn.client.requests is requests


def test_a_cone(patrol: Any, quick: Manners) -> None:
    patrol.stumble("lookup_cone", patrol.Reply(status=503))
    assert find_in_cone(270.5, -88.25, 0.1, quick) == ["3", "4", "5"]
    assert patrol.asked[-1].path.endswith("/lookup_cone/radius0.1_ra270.5_dec-88.25")
    for cone in ((360, 0, 1), (0, 91, 1), (0, 0, 0), (0, 0, float("nan"))):
        with pytest.raises(ConfigError, match="no cone of the sky"):
            find_in_cone(*cone, quick)


@pytest.mark.parametrize("wrong", ["", "J1234", "-5", "1.5"])
def test_ids_that_are_none(patrol: Any, quick: Manners, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(DataError, match=rf"^the asas_sn_id '{wrong}' is no whole number$"):
        fetch_sky_patrol(["3", wrong], tmp_path / "folder", manners=quick)
    assert patrol.asked == [] and not (tmp_path / "folder").exists()


@pytest.mark.parametrize("by", ["tyc_id", "name"])
def test_an_id_that_the_catalog_lacks(patrol: Any, quick: Manners, tmp_path: Path, by: str) -> None:
    with pytest.raises(ConfigError, match=rf"stellar_main has no numbers '{by}', only asas_sn_id, .*tic_id"):
        fetch_sky_patrol(["3"], tmp_path, by, quick)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyasassn.client", None)
    with pytest.raises(ConfigError, match=r'needs its Python client: pip install "varistar\[skypatrol\]"$'):
        fetch_sky_patrol(["3"], tmp_path)


def test_into_a_store(patrol: Any, quick: Manners, tmp_path: Path) -> None:
    fetch_sky_patrol(["3", "4", "99"], tmp_path / "raw", manners=quick)
    done = ingest([tmp_path / "raw"], tmp_path / "store", Cuts(bands=("g",), min_points=5))
    assert (done.n_stars, done.n_kept, done.n_refused) == (2, 2, 0)
    stars = Store(tmp_path / "store").read_stars(["4"])
    assert (stars.survey, stars.time_system, stars.flux_unit) == ("ASAS-SN", "MJD_UTC", "mJy")
    np.testing.assert_allclose(stars["time"], points_of(4).sort("jd")["jd"] - 2400000.5, rtol=0, atol=1e-9)
