"""A folder of files becomes a store: everything is taken or refused with a reason, and again means what is new."""

import gzip
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import ConfigError, DataError
from varistar.lightcurves.cuts import Cuts
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.shards import point_bytes, write_shard
from varistar.lightcurves.store import Store, shard_bytes_for
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.surveys import folder as module
from varistar.surveys.folder import Ingested, ingest

MakeStars = Callable[..., LightCurves]
WriteStar = Callable[[Path, LightCurves], Path]

CUTS = Cuts(bands=("g",), min_points=20)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets are cut as large ones are."""
    monkeypatch.setattr("varistar.lightcurves.store.SMALLEST_SHARD_BYTES", 1)


@pytest.fixture
def raw(tmp_path: Path, make_stars: MakeStars, write_skypatrol: WriteStar) -> Path:
    """Four stars, the last with too few points, as Sky Patrol files of several kinds."""
    sky = concatenate([make_stars(["a", "b", "c"]), make_stars(["d"], n_points=7)])
    for i, name in enumerate("abcd"):
        write_skypatrol(tmp_path / "raw" / f"{name}.csv", sky.star(i))
    packed = tmp_path / "raw" / "b.csv"
    (tmp_path / "raw" / "b.csv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    return tmp_path / "raw"


def reports(store: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The losses, and the refused: the name of each file and the reason without the file's path."""
    refused = pl.read_parquet(store / "refused.parquet")
    assert all(reason.startswith(source) for source, reason in refused.iter_rows())
    return pl.read_parquet(store / "losses.parquet"), {
        Path(source).name: reason.removeprefix(f"{source}: ") for source, reason in refused.iter_rows()
    }


def test_every_file_is_taken_and_the_cuts_are_counted_but_not_applied(raw: Path, tmp_path: Path) -> None:
    done = ingest([raw], tmp_path / "store", CUTS)
    assert done == Ingested(n_stars=4, n_kept=3, reasons={"fewer than 20 points": 1}, n_refused=0)
    index = Store(tmp_path / "store").index()
    assert dict(index.select("star_id", "n_points").iter_rows()) == {"a": 60, "b": 60, "c": 60, "d": 7}
    losses, refused = reports(tmp_path / "store")
    assert dict(losses.select("star_id", "kept").iter_rows()) == {"a": True, "b": True, "c": True, "d": False}
    assert losses["n_before"].to_list() == [60, 60, 60, 7]
    assert refused == {}


def test_what_is_stored_is_what_was_written(make_stars: MakeStars, write_skypatrol: WriteStar, tmp_path: Path) -> None:
    star = make_stars(["a"])
    write_skypatrol(tmp_path / "a.csv", star)
    ingest([tmp_path / "a.csv"], tmp_path / "store", CUTS)
    stored = Store(tmp_path / "store").read_stars(["a"])
    np.testing.assert_allclose(stored["time"], star["time"], rtol=0, atol=5e-7)
    for name in ("flux", "flux_err", "mag", "camera", "band", "quality"):
        np.testing.assert_array_equal(stored[name], star[name])
    assert (stored.survey, stored.time_system, stored.flux_unit) == ("ASAS-SN", "MJD_UTC", "mJy")


def test_again_adds_nothing(raw: Path, tmp_path: Path) -> None:
    first = ingest([raw], tmp_path / "store", CUTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    assert ingest([raw], tmp_path / "store", CUTS) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_new_epochs_are_a_new_version_and_the_latest_counts(
    raw: Path, make_stars: MakeStars, write_skypatrol: WriteStar, tmp_path: Path
) -> None:
    ingest([raw], tmp_path / "store", CUTS)
    old_shard = (tmp_path / "store" / "part-00000.parquet").read_bytes()
    longer = make_stars(["d"], n_points=33, seed=2)
    write_skypatrol(raw / "d.csv", longer)
    done = ingest([raw], tmp_path / "store", CUTS)
    assert (done.n_stars, done.n_kept, done.reasons) == (4, 4, {})
    store = Store(tmp_path / "store")
    index = store.index().filter(star_id="d")
    assert index.rows() == [("d", "part-00004.parquet", 0, 1, 33)], "a star of a set of four fills a sixteenth of it"
    assert store.index().height == 4
    assert len(store.read_stars(["d"])["time"]) == 33
    assert (tmp_path / "store" / "part-00000.parquet").read_bytes() == old_shard


def test_a_mixed_folder(raw: Path, make_stars: MakeStars, write_skypatrol: WriteStar, tmp_path: Path) -> None:
    """Files that are no light curves, of another survey, or of a star that came before, are refused one by one."""
    (raw / "README.md").write_text("# notes\n")
    (raw / "empty.csv").touch()
    (raw / "header.csv").write_text("JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera\n")
    write_skypatrol(raw / "sub" / "a.csv", make_stars(["a"], seed=4))
    (raw / "ztf.csv").write_text("mjd,mag,magerr\n58600.0,15.0,0.1\n58601.0,15.1,0.1\n")
    write_shard(raw / "space.parquet", make_stars(["s"], time_system="BTJD", flux_unit="relative", survey="TESS"))
    (raw / ".hidden.csv").write_text("nonsense")
    done = ingest([raw], tmp_path / "store", CUTS)
    assert (done.n_stars, done.n_refused) == (4, 6)
    _, refused = reports(tmp_path / "store")
    known = "but the store is of survey 'ASAS-SN', MJD_UTC, mJy; ingest it into a store of its own"
    assert refused == {
        "README.md": "only comments; expected a line of column names and points below it",
        "empty.csv": "the file is empty",
        "header.csv": "has column names but no points",
        "a.csv": "the star 'a' stands in a file before it",
        "ztf.csv": f"of survey 'ZTF', MJD_UTC, mJy, {known}",
        "space.parquet": f"of survey 'TESS', BTJD, relative, {known}",
    }
    assert sorted(Store(tmp_path / "store").index()["star_id"]) == ["a", "b", "c", "d"]


def test_the_stores_own_kind_is_the_standard(raw: Path, make_stars: MakeStars, tmp_path: Path) -> None:
    Store(tmp_path / "store").append(make_stars(["h"], time_system="HJD-2400000.5"))
    with pytest.raises(
        DataError, match=r"none of the 4 files can be taken, first \S*a\.csv: of survey 'ASAS-SN', MJD_"
    ):
        ingest([raw], tmp_path / "store", CUTS)
    assert Store(tmp_path / "store").index()["star_id"].to_list() == ["h"]


def test_a_store_into_another(raw: Path, make_stars: MakeStars, write_skypatrol: WriteStar, tmp_path: Path) -> None:
    """Of a store, the latest versions are taken, and its reports are no light curves."""
    ingest([raw], tmp_path / "one", CUTS)
    write_skypatrol(raw / "d.csv", make_stars(["d"], n_points=33, seed=2))
    ingest([raw], tmp_path / "one", CUTS)
    done = ingest([tmp_path / "one"], tmp_path / "two", CUTS)
    assert (done.n_stars, done.n_kept, done.n_refused) == (4, 4, 0)
    two = Store(tmp_path / "two").index()
    assert dict(two.select("star_id", "n_points").iter_rows())["d"] == 33
    assert set(two["version"]) == {0}


def test_a_store_among_its_own_inputs(raw: Path, tmp_path: Path) -> None:
    first = ingest([raw], raw / "store", CUTS)
    assert ingest([raw], raw / "store", CUTS) == first
    assert Store(raw / "store").index().height == 4
    with pytest.raises(DataError, match="store: the store itself is no input"):
        ingest([raw / "store"], raw / "store", CUTS)


def test_nothing_to_take(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"raw: holds no light curves$"):
        ingest([tmp_path / "raw"], tmp_path / "store", CUTS)
    with pytest.raises(DataError, match=r"gone: no such file or folder$"):
        ingest([tmp_path / "gone"], tmp_path / "store", CUTS)
    assert not (tmp_path / "store").exists()
    (tmp_path / "raw" / "a.csv").touch()
    with pytest.raises(DataError, match=r"^\S*a\.csv: the file is empty$"):
        ingest([tmp_path / "raw"], tmp_path / "store", CUTS)
    (tmp_path / "raw" / "b.csv").touch()
    with pytest.raises(DataError, match=r"^none of the 2 files can be taken, first \S*a\.csv: the file is empty$"):
        ingest([tmp_path / "raw"], tmp_path / "store", CUTS)


def test_a_table_of_no_known_format(tmp_path: Path) -> None:
    rows = "".join(f"{58600 + i}.5,{1000 + i},{10},{'V' if i % 2 else 'g'}\n" for i in range(50))
    (tmp_path / "mine.csv").write_text(f"mjd,f,e,filter\n{rows}")
    with pytest.raises(DataError, match=r"its columns are mjd, f, e, filter; give a mapping"):
        ingest([tmp_path / "mine.csv"], tmp_path / "store", CUTS)
    mapping = {"time": "mjd", "flux": "f", "flux_err": "e", "band": "filter", "units": {"flux": "uJy"}}
    done = ingest([tmp_path / "mine.csv"], tmp_path / "store", CUTS, mapping=mapping)
    assert (done.n_stars, done.n_kept) == (1, 1)
    np.testing.assert_allclose(Store(tmp_path / "store").read_stars(["mine"])["flux"], np.arange(1000, 1050) / 1000)
    losses, _ = reports(tmp_path / "store")
    assert losses["lost_band"].to_list() == [25]
    with pytest.raises(ConfigError, match=r"mapping: key 'tme' does not exist; allowed here: .*time"):
        ingest([tmp_path / "mine.csv"], tmp_path / "other", CUTS, mapping={"tme": "mjd"})
    with pytest.raises(DataError, match="has the unit 'parsec', where a flux density"):
        wrong = mapping | {"units": {"flux": "parsec"}}
        ingest([tmp_path / "mine.csv"], tmp_path / "other", CUTS, mapping=wrong)


def test_a_format_by_name(raw: Path, tmp_path: Path) -> None:
    assert ingest([raw], tmp_path / "store", CUTS, format="skypatrol_v2").n_stars == 4
    with pytest.raises(DataError, match="there is no format 'skypatrol'; known are skypatrol_v1, "):
        ingest([raw / "a.csv"], tmp_path / "other", CUTS, format="skypatrol")
    with pytest.raises(DataError, match=r"a\.csv: not a FITS file, so not of format 'spoc'"):
        ingest([raw / "a.csv"], tmp_path / "other", CUTS, format="spoc")


def test_a_full_disk_keeps_the_store_as_it_was(
    raw: Path, tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    ingest([raw / "a.csv"], tmp_path / "store", CUTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    with small_disk(1000), pytest.raises(DataError, match=r"pieces failed, .*cannot be written: .*File too large"):
        ingest([raw], tmp_path / "store", CUTS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before
    assert ingest([raw], tmp_path / "store", CUTS).n_stars == 4
    assert Store(tmp_path / "store").index().height == 4


def test_a_store_that_is_a_file(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(DataError, match="store: cannot be made a folder"):
        ingest([raw], tmp_path / "store", CUTS)
    assert (tmp_path / "store").read_text() == "mine"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_store_whatever_reads_it_and_as_one_file_after_the_other(
    raw: Path, make_stars: MakeStars, write_skypatrol: WriteStar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of two files, kinds that alternate, and a shard among them."""
    (raw / "ab.csv").write_text("mjd,mag,magerr\n58600.0,15.0,0.1\n58601.0,15.1,0.1\n")
    write_skypatrol(raw / "ba.csv", make_stars(["ba"], seed=8))
    write_skypatrol(raw / "sub" / "a.csv", make_stars(["a"], seed=4))
    write_shard(raw / "bb.parquet", make_stars(["s", "t"], seed=5))
    done = ingest([raw], tmp_path / "one", CUTS, engine=1)
    monkeypatch.setattr(module, "FILES_PER_PIECE", 2)
    again = ingest([raw], tmp_path / "two", CUTS, engine=2)
    assert done is not None
    assert (done, done.n_stars, done.n_refused) == (again, 7, 2)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    read = [source.read() for source in find_sources([raw])]
    taken = [part for part in read if part.survey != "ZTF"][:-1]
    size = sum(point_bytes(part) * int(part.offsets[-1]) for part in taken)
    Store(tmp_path / "plain").extend(taken, shard_bytes_for(size))
    for path in (tmp_path / "plain").iterdir():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    assert len(Store(tmp_path / "one").shards()) == len(Store(tmp_path / "plain").shards()) == 7


def test_an_interrupted_ingest_reads_only_what_is_left(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest([raw], tmp_path / "undisturbed", CUTS)
    monkeypatch.setattr(module, "FILES_PER_PIECE", 1)
    read, seen = Source.read, []

    def interrupted(source: Source, *arguments: Any) -> LightCurves:
        if source.path.name == "c.csv" and "c.csv" not in seen:
            seen.append("c.csv")
            raise KeyboardInterrupt
        seen.append(source.path.name)
        return read(source, *arguments)

    monkeypatch.setattr(Source, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ingest([raw], tmp_path / "store", CUTS, engine=1)
    assert not (tmp_path / "store").exists()
    done = ingest([raw], tmp_path / "store", CUTS, engine=1)
    assert done is not None and done.n_stars == 4
    assert seen == ["a.csv", "b.csv.gz", "c.csv", "c.csv", "d.csv"]
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")
    assert not (tmp_path / "store.parts").exists()


def test_a_set_is_cut_into_at_most_sixteen_shards_or_one_more(make_stars: MakeStars, tmp_path: Path) -> None:
    write_shard(tmp_path / "in.parquet", make_stars([f"star {i}" for i in range(100)]))
    ingest([tmp_path / "in.parquet"], tmp_path / "store", CUTS)
    assert 16 <= len(Store(tmp_path / "store").shards()) <= 17


@pytest.mark.realdata
def test_real_files_of_one_kind_and_of_several(real_data: Path, tmp_path: Path) -> None:
    """Heliocentric v1 files cannot join the UTC dates of v2, nor can tables of truth; a store is of one kind."""
    cuts = Cuts(bands=("g",), window=(58484.5, 60311.5))
    done = ingest([real_data / "asassn" / "skypatrol_v2"], tmp_path / "v2", cuts)
    assert (done.n_stars, done.n_refused) == (22, 0)
    assert done.n_kept + sum(done.reasons.values()) == 22
    for folder in ("skypatrol_v2", "skypatrol_v1_periodic"):
        for path in (real_data / "asassn" / folder).iterdir():
            shutil.copy(path, tmp_path)
    files = [path for path in tmp_path.iterdir() if path.suffix == ".csv"]
    done = ingest(files, tmp_path / "mixed", cuts)
    assert done.n_stars + done.n_refused == len(files)
    reasons = pl.read_parquet(tmp_path / "mixed" / "refused.parquet")["reason"]
    assert done.n_refused >= 16
    assert reasons.str.contains("ingest it into a store of its own|not a light curve of a known format").all()
