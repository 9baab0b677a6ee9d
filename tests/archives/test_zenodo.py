"""Of a Zenodo record the files that are wanted arrive with the checksum that it states."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.archives.fetch import Fetched
from varistar.archives.transfer import Manners
from varistar.archives.zenodo import fetch_zenodo
from varistar.foundation.errors import DataError

FILES = {
    "reportable.csv": b"asas_sn_id,Prot\n17,2.5\n25,11.25\n",
    "training_clumpstars.csv": b"asas_sn_id\n33\n41\n",
    "asassn_cnn_model_weights.zip": b"PK\x05\x06" + bytes(18),
}


@pytest.fixture
def zenodo(loopback: Any) -> Any:
    """The number of all versions leads to the latest, as Zenodo does it."""
    for name, content in FILES.items():
        loopback.answers[f"/api/records/16929947/files/{name}/content"] = loopback.Reply(content)
    loopback.answers["/api/records/16929947"] = loopback.recorded("zenodo_record.json")
    loopback.answers["/api/records/15848601"] = loopback.Reply(
        status=302, headers={"Location": "/api/records/16929947"}
    )
    return loopback


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "record",
    [
        "periods",
        "periods-v1.0",
        "15848601",
        "10.5281/zenodo.15848601",
        "https://doi.org/10.5281/zenodo.16929947",
        "https://zenodo.org/records/16929947",
        "zenodo.org/record/16929947/",
    ],
)
def test_a_record_by_every_name(zenodo: Any, quick: Manners, tmp_path: Path, record: str) -> None:
    assert fetch_zenodo(record, tmp_path, manners=quick, server=zenodo.url) == Fetched(3, 0, {})
    assert files_in(tmp_path) == FILES
    assert pl.read_csv(tmp_path / "reportable.csv")["Prot"].to_list() == [2.5, 11.25]


def test_some_files_and_later_the_others(zenodo: Any, quick: Manners, tmp_path: Path) -> None:
    assert fetch_zenodo("16929947", tmp_path, ["*.csv"], quick, zenodo.url) == Fetched(2, 0, {})
    assert set(files_in(tmp_path)) == {"reportable.csv", "training_clumpstars.csv"}
    assert fetch_zenodo("16929947", tmp_path, ["rep*", "*.zip"], quick, zenodo.url) == Fetched(1, 1, {})
    assert files_in(tmp_path) == FILES
    assert zenodo.count("/content") == 3


def test_a_download_that_broke_off_goes_on(zenodo: Any, quick: Manners, tmp_path: Path) -> None:
    (tmp_path / ".fetched" / "parts").mkdir(parents=True)
    (tmp_path / ".fetched" / "parts" / "reportable.csv").write_bytes(FILES["reportable.csv"][:20])
    fetch_zenodo("16929947", tmp_path, ["reportable.csv"], quick, zenodo.url)
    assert zenodo.asked[-1].range == "bytes=20-"
    assert files_in(tmp_path) == {"reportable.csv": FILES["reportable.csv"]}


def test_a_wrong_checksum(zenodo: Any, quick: Manners, tmp_path: Path) -> None:
    """Once it is tried again, for ever it is refused, and the file never takes its name."""
    wrong = zenodo.Reply(FILES["reportable.csv"].replace(b"17", b"18"))
    zenodo.stumble("/reportable.csv/", wrong)
    zenodo.stumble("/training_clumpstars.csv/", *[wrong] * 9)
    done = fetch_zenodo("16929947", tmp_path, ["*.csv"], quick, zenodo.url)
    assert (done.n_new, list(done.refused)) == (1, ["training_clumpstars.csv"])
    assert files_in(tmp_path) == {"reportable.csv": FILES["reportable.csv"]}
    assert zenodo.count("/training_clumpstars.csv/") == quick.tries


def test_a_record_that_stumbles(zenodo: Any, quick: Manners, tmp_path: Path) -> None:
    busy = zenodo.Reply(status=429, headers={"Retry-After": "0"})
    zenodo.stumble("/api/records/16929947", busy, zenodo.Reply(b"<html>"), zenodo.Reply(sent=0))
    assert fetch_zenodo("16929947", tmp_path, manners=quick, server=zenodo.url).n_new == 3


@pytest.mark.parametrize(
    ("record", "patterns", "message"),
    [
        ("mine", ["*"], r"^'mine' is no Zenodo record: expected a number, a DOI such as .*, or one of periods, "),
        ("10.1093/mnras/123", ["*"], r"is no Zenodo record"),
        ("404", ["*"], r"/api/records/404: the server answers 404 Not Found$"),
        ("16929947", ["*.fits", "x"], r"^Zenodo record 16929947: has no file \*\.fits or x; it has reportable\.csv, "),
        ("8", ["*"], r"^Zenodo record 8: its answer does not list files, so they may be restricted; see http"),
    ],
)
def test_what_is_not_there(
    zenodo: Any, quick: Manners, tmp_path: Path, record: str, patterns: list[str], message: str
) -> None:
    zenodo.answers["/api/records/8"] = zenodo.as_json({"id": 8, "metadata": {"access_right": "restricted"}})
    with pytest.raises(DataError, match=message):
        fetch_zenodo(record, tmp_path / "folder", patterns, quick, zenodo.url)
    assert not (tmp_path / "folder").exists()
