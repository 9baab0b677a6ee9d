"""A catalog has one row per star, a reason for every star without one, and the same content however it came about."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from varistar.bulk import job
from varistar.bulk.engine import Engine
from varistar.bulk.estimate import foresee
from varistar.catalog import predict as module
from varistar.catalog.columns import CATALOG, flag
from varistar.catalog.predict import Prediction, predict
from varistar.experiments.content import content_hash
from varistar.foundation.errors import DataError, RegistryError
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods.measure import PeriodMeter
from varistar.surveys import pieces
from varistar.surveys.definition import Survey

MakeStars = Callable[..., LightCurves]
WriteStar = Callable[[Path, LightCurves], Path]

GOOD = [f"star {i}" for i in range(12)]
SPARSE = ["sparse 0", "sparse 1"]


@pytest.fixture(scope="module")
def sky(make_stars: MakeStars) -> LightCurves:
    """Twelve stars that pass the cuts and two with too few points."""
    return concatenate([make_stars(GOOD), make_stars(SPARSE, n_points=19, seed=1)])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, sky: LightCurves) -> Path:
    """`sky` in four shards; to be read only."""
    folder = tmp_path_factory.mktemp("sky") / "store"
    for start in range(0, len(sky), 4):
        Store(folder).append(sky.slice(start, min(start + 4, len(sky))))
    return folder


@pytest.fixture(scope="module")
def expected(sky: LightCurves, period_model: Path, small_survey: Survey) -> pl.DataFrame:
    """The catalog of `sky`, each star measured alone: cuts, image, network and flags, without files between them."""
    meter = PeriodMeter.of_folder(period_model)
    tables = []
    for i in range(len(sky)):
        kept, _ = apply_cuts(sky.star(i), small_survey.cuts)
        if len(kept):
            table = meter.measure(kept)
            tables.append(table.with_columns(flag(table, small_survey), model=pl.lit(content_hash(period_model))))
    return pl.concat(tables).select(pl.col(name).cast(column.dtype) for name, column in CATALOG.items())


def run(inputs: Path | Sequence[Path], model: Path, output: Path) -> tuple[pl.DataFrame, pl.DataFrame, Prediction]:
    """Predict in this process; returns the catalog, the refused and what was said of them."""
    done = predict([inputs] if isinstance(inputs, Path) else inputs, model, output, engine=1)
    catalog, refused = pl.read_parquet(done.catalog), pl.read_parquet(done.refused)
    assert (done.n_stars, done.n_refused) == (catalog.height, refused.height)
    assert not list(output.parent.glob("*.parts"))
    return catalog, refused, done


def test_every_star_has_a_row_or_a_reason(
    store: Path, period_model: Path, expected: pl.DataFrame, tmp_path: Path
) -> None:
    catalog, refused, done = run(store, period_model, tmp_path / "new" / "catalog.parquet")
    assert done.refused == tmp_path / "new" / "catalog.refused.parquet"
    assert catalog.equals(expected)
    assert catalog["star_id"].to_list() == GOOD
    assert catalog["period"].n_unique() == len(GOOD), "an answer that does not depend on the star tests nothing"
    assert refused.schema == pl.Schema(pieces.REFUSED)
    assert refused["star_id"].to_list() == SPARSE
    assert set(refused["reason"]) == {"fewer than 20 points"}
    assert set(refused["source"]) == {str(store / "part-00003.parquet")}


def test_all_formats_hold_the_same(store: Path, period_model: Path, expected: pl.DataFrame, tmp_path: Path) -> None:
    for ending in ("csv", "ecsv", "fits"):
        predict([store], period_model, tmp_path / f"catalog.{ending}", engine=1)
    assert pl.read_csv(tmp_path / "catalog.csv", schema=dict(expected.schema)).equals(expected)
    refused = pl.read_csv(tmp_path / "catalog.refused.csv")
    assert refused["star_id"].to_list() == SPARSE
    for ending, file_format in (("ecsv", "ascii.ecsv"), ("fits", "fits")):
        table = Table.read(tmp_path / f"catalog.{ending}", format=file_format)
        assert str(table["period"].unit) == str(table["sigma"].unit) == "d"
        for name in expected.columns:
            pairs = zip(table[name].tolist(), expected[name].to_list(), strict=True)
            assert all(_same(read, written) for read, written in pairs), name
        refused_table = Table.read(tmp_path / f"catalog.refused.{ending}", format=file_format)
        assert refused_table["reason"].tolist() == refused["reason"].to_list()


def test_raw_files_and_shards_give_the_same_answers(
    sky: LightCurves, period_model: Path, write_skypatrol: WriteStar, tmp_path: Path
) -> None:
    shard = tmp_path / "part-00000.parquet"
    for i in range(4):
        write_skypatrol(tmp_path / "raw" / f"star {i}.csv", sky.star(i))
    write_shard(shard, sky.slice(4, 14))
    catalog, refused, _ = run([tmp_path / "raw", shard], period_model, tmp_path / "out" / "catalog.parquet")
    whole, _, _ = run(shard, period_model, tmp_path / "out" / "shard.parquet")
    assert sorted(catalog["star_id"]) == sorted(GOOD)
    assert refused["star_id"].to_list() == SPARSE
    assert catalog.filter(pl.col("star_id").is_in(whole["star_id"].implode())).equals(whole)
    alone, _, _ = run(tmp_path / "raw" / "star 2.csv", period_model, tmp_path / "out" / "alone.parquet")
    assert alone.equals(catalog.filter(star_id="star 2"))


def test_bad_files_are_refused_with_their_reason(
    sky: LightCurves, period_model: Path, write_skypatrol: WriteStar, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    write_skypatrol(raw / "good.csv", sky.star(0))
    write_skypatrol(raw / "torn.csv", sky.star(1))
    (raw / "torn.csv").write_text((raw / "torn.csv").read_text()[:-20])
    (raw / "empty.csv").touch()
    (raw / "notes.csv.gz").write_bytes(b"\x1f\x8bnot gzip")
    (raw / "ndarray.npy").write_bytes(b"\x93NUMPY\x00")
    shard = write_shard_of(sky.slice(2, 5), raw / "part-00000.parquet")
    shard.write_bytes(shard.read_bytes()[:-100])
    catalog, refused, _ = run(raw, period_model, tmp_path / "catalog.parquet")
    assert catalog["star_id"].to_list() == ["good"]
    reasons = dict(refused.select(pl.col("star_id"), pl.col("reason")).iter_rows())
    assert set(reasons) == {"torn", "empty", "notes", "ndarray", "part-00000"}
    for star, words in {
        "torn": "line 61 has 5 cells where 10 were expected",
        "empty": "the file is empty",
        "notes": "truncated or damaged gzip file",
        "ndarray": "neither FITS, Parquet nor UTF-8 text",
        "part-00000": "truncated or damaged",
    }.items():
        assert words in reasons[star]
    assert sorted(refused["source"]) == sorted(str(path) for path in raw.iterdir() if path.name != "good.csv")


def write_shard_of(light_curves: LightCurves, path: Path) -> Path:
    write_shard(path, light_curves)
    return path


@pytest.mark.realdata
def test_real_sky_patrol_files(real_data: Path, make_period_model: Callable[..., Path], tmp_path: Path) -> None:
    survey = Survey(
        description="ASAS-SN g",
        time_system="MJD_UTC",
        window=(58484.5, 60311.5),
        cuts={"bands": ["g"], "window": [58484.5, 60311.5], "min_points": 150},  # type: ignore[arg-type]
        period_range=(1.0, 30.0),
    )
    model = make_period_model(survey=survey)
    folder = real_data / "asassn" / "skypatrol_v2"
    catalog, refused, _ = run(folder, model, tmp_path / "catalog.parquet")
    n_files = sum(1 for _ in folder.iterdir())
    assert catalog.height + refused.height == n_files
    assert catalog.height >= 15
    assert (catalog["n_points"] >= 150).all()
    assert (refused["reason"] == "fewer than 150 points").all()


# One row per star


def test_the_latest_version_of_a_star_counts(
    sky: LightCurves, make_stars: MakeStars, period_model: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.append(sky)
    longer = concatenate([make_stars(GOOD[3:4], n_points=80, seed=5), make_stars(["new"], seed=6)])
    store.append(longer)
    catalog, _, _ = run(store.folder, period_model, tmp_path / "catalog.parquet")
    fresh, _, _ = run(write_shard_of(longer, tmp_path / "fresh.parquet"), period_model, tmp_path / "fresh_out.parquet")
    assert sorted(catalog["star_id"]) == sorted([*GOOD, "new"])
    assert catalog.filter(pl.col("star_id").is_in([GOOD[3], "new"])).sort("star_id").equals(fresh.sort("star_id"))
    globbed, _, _ = run(sorted(store.folder.glob("*.parquet")), period_model, tmp_path / "globbed.parquet")
    assert globbed.equals(catalog)


def test_reports_of_an_ingest_are_no_light_curves(store: Path, period_model: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    for name in ("losses.parquet", "refused.parquet"):
        pl.DataFrame({"source": ["x"], "reason": ["y"]}).write_parquet(tmp_path / "store" / name)
    _, refused, _ = run(tmp_path / "store", period_model, tmp_path / "catalog.parquet")
    assert refused["star_id"].to_list() == SPARSE


def test_a_star_in_two_files_is_measured_once(
    sky: LightCurves, make_stars: MakeStars, period_model: Path, write_skypatrol: WriteStar, tmp_path: Path
) -> None:
    write_skypatrol(tmp_path / "a" / "star 0.csv", sky.star(0))
    write_skypatrol(tmp_path / "b" / "star 0.csv", make_stars(["star 0"], n_points=70, seed=9))
    write_skypatrol(tmp_path / "c" / "star 0.csv", make_stars(["star 0"], n_points=7, seed=9))
    inputs = [tmp_path / name for name in "abc"]
    catalog, refused, _ = run(inputs, period_model, tmp_path / "catalog.parquet")
    assert catalog["star_id"].to_list() == ["star 0"]
    assert catalog["n_points"].to_list() == [60], "the first file counts"
    reasons = {Path(source).parent.name: reason for _, source, reason in refused.iter_rows()}
    assert reasons == {"b": "the star stands in a file before this one", "c": "fewer than 20 points"}
    other_way_round, _, _ = run(inputs[::-1], period_model, tmp_path / "reversed.parquet")
    assert other_way_round["n_points"].to_list() == [70]


def test_a_file_given_twice_is_read_once(
    store: Path, period_model: Path, expected: pl.DataFrame, tmp_path: Path
) -> None:
    twice, refused, _ = run([store / "part-00001.parquet", store], period_model, tmp_path / "catalog.parquet")
    assert twice.sort("star_id").equals(expected.sort("star_id"))
    assert refused["star_id"].to_list() == SPARSE


def test_names_beyond_ascii(make_stars: MakeStars, period_model: Path, tmp_path: Path) -> None:
    names = ["ε Eridani", "星 7", 'quo"ted, name', " blanks "]
    shard = write_shard_of(make_stars(names), tmp_path / "étoiles.parquet")
    catalog, _, _ = run(shard, period_model, tmp_path / "catálogo.parquet")
    assert catalog["star_id"].to_list() == names
    predict([shard], period_model, tmp_path / "catálogo.csv", engine=1)
    assert pl.read_csv(tmp_path / "catálogo.csv")["star_id"].to_list() == names


def test_fits_holds_no_names_beyond_ascii_and_the_work_is_kept(
    make_stars: MakeStars, period_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard_of(make_stars(["plain", "ε Eridani"]), tmp_path / "étoiles.parquet")
    with pytest.raises(DataError, match=r"out\.fits: FITS cannot hold the name 'ε Eridani'"):
        predict([shard], period_model, tmp_path / "out.fits", engine=1)
    assert not (tmp_path / "out.fits").exists()
    monkeypatch.setattr(pieces, "apply_cuts", None)
    catalog, _, _ = run(shard, period_model, tmp_path / "out.parquet")
    assert catalog["star_id"].to_list() == ["plain", "ε Eridani"]


# Interruptions


class Work:
    """Counts the stars that are measured, and fails at one of them as often as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measured: list[str] = []
        self.fails_at = ""
        self.error: BaseException = RuntimeError("the weather")
        measure = PeriodMeter.measure

        def counted(meter: PeriodMeter, light_curves: LightCurves) -> pl.DataFrame:
            if self.fails_at in light_curves.star_id:
                raise self.error
            self.measured += light_curves.star_id
            return measure(meter, light_curves)

        monkeypatch.setattr(PeriodMeter, "measure", counted)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def test_a_failed_piece_is_tried_again_and_the_others_are_not(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    output = tmp_path / "catalog.parquet"
    work.fails_at, work.error = "star 5", RuntimeError("the weather\nis bad")
    with pytest.raises(DataError) as error:
        predict([store], period_model, output, engine=1)
    parts = tmp_path / "catalog.parts"
    assert str(error.value) == (
        f"1 of 4 pieces failed, first {store / 'part-00001.parquet'}: RuntimeError: the weather is bad; the others are "
        f"kept in {parts}, where failed.json lists the failed; run the same command again to go on"
    )
    assert not output.exists() and parts.is_dir()
    assert work.measured == GOOD[:4] + GOOD[8:]

    work.measured, work.fails_at = [], ""
    catalog, _, _ = run(store, period_model, output)
    assert work.measured == GOOD[4:8]
    assert catalog.equals(expected)


def test_ctrl_c_keeps_what_is_done(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    work.fails_at, work.error = "star 9", KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        predict([store], period_model, tmp_path / "catalog.parquet", engine=1)
    work.measured, work.fails_at = [], ""
    catalog, _, _ = run(store, period_model, tmp_path / "catalog.parquet")
    assert work.measured == GOOD[8:]
    assert catalog.equals(expected)


def test_a_piece_without_its_last_file_is_done_again(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    """A piece's mark is written last: a piece that was killed before it counts as not done."""
    work.fails_at = "star 9"
    with pytest.raises(DataError):
        predict([store], period_model, tmp_path / "catalog.parquet", engine=1)
    (mark,) = (tmp_path / "catalog.parts").glob("*/00000.done.json")
    mark.unlink()
    work.measured, work.fails_at = [], ""
    catalog, _, _ = run(store, period_model, tmp_path / "catalog.parquet")
    assert work.measured == GOOD[:4] + GOOD[8:]
    assert catalog.equals(expected)


def test_another_model_starts_anew(
    store: Path, period_model: Path, make_period_model: Callable[..., Path], work: Work, tmp_path: Path
) -> None:
    work.fails_at = "star 5"
    with pytest.raises(DataError):
        predict([store], period_model, tmp_path / "catalog.parquet", engine=1)
    work.measured, work.fails_at = [], ""
    other = make_period_model(seed=7)
    catalog, _, _ = run(store, other, tmp_path / "catalog.parquet")
    assert work.measured == GOOD
    assert set(catalog["model"]) == {content_hash(other)}


def test_changed_inputs_start_anew(
    store: Path, sky: LightCurves, make_stars: MakeStars, period_model: Path, work: Work, tmp_path: Path
) -> None:
    changing = tmp_path / "store"
    shutil.copytree(store, changing)
    work.fails_at = "star 5"
    with pytest.raises(DataError):
        predict([changing], period_model, tmp_path / "catalog.parquet", engine=1)
    work.measured, work.fails_at = [], ""
    Store(changing).append(make_stars(["late"], seed=3))
    catalog, _, _ = run(changing, period_model, tmp_path / "catalog.parquet")
    assert sorted(work.measured) == sorted([*GOOD, "late"]) == sorted(catalog["star_id"])


def test_a_full_disk_loses_neither_the_old_catalog_nor_the_finished_pieces(
    store: Path,
    period_model: Path,
    expected: pl.DataFrame,
    work: Work,
    small_disk: Callable[[int], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    output = tmp_path / "catalog.parquet"
    output.write_text("old")
    with small_disk(2000), pytest.raises(DataError, match=r"pieces failed, first .*cannot be written: File too large"):
        predict([store], period_model, output, engine=1)
    assert output.read_text() == "old"
    finished = {path.name.split(".")[0] for path in (tmp_path / "catalog.parts").glob("*/*.done.json")}
    assert not list((tmp_path / "catalog.parts").rglob(".*"))
    work.measured = []
    catalog, _, _ = run(store, period_model, output)
    assert catalog.equals(expected)
    assert len(work.measured) == len(GOOD) - sum(4 for number in finished if number != "00003")


KILLER = """
import os, signal, sys, time
from pathlib import Path

if "forkserver" in " ".join(sys.orig_argv) or "predict(" in " ".join(sys.orig_argv):
    from varistar.lightcurves import readers

    read = readers.Source.read

    def killed(self, *arguments):
        if self.path.name == "part-00001.parquet":
            others, deadline = Path(os.environ["OTHERS"]), time.monotonic() + 60
            while not list(others.glob("*/00000.done.json")) and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, *arguments)

    readers.Source.read = killed
"""


@pytest.fixture
def deadly_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_workers: None) -> None:
    """In processes that start now, reading a store's second shard is death, once the first is measured."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(KILLER)  # which every process imports first
    monkeypatch.setenv("OTHERS", str(tmp_path / "catalog.parts"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(module.__file__).parents[2])]))


@pytest.mark.usefixtures("deadly_shard")
def test_a_killed_program_goes_on_where_it_stopped(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    output = tmp_path / "catalog.parquet"
    code = "import sys; from pathlib import Path; from varistar.catalog.predict import predict; "
    code += "predict([Path(sys.argv[1])], Path(sys.argv[2]), Path(sys.argv[3]), engine=1)"
    killed = subprocess.run([sys.executable, "-c", code, store, period_model, output], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not output.exists()
    catalog, _, _ = run(store, period_model, output)
    assert work.measured == GOOD[4:]
    assert catalog.equals(expected)


@pytest.mark.usefixtures("deadly_shard")
def test_a_worker_that_is_killed_again_and_again_fails_its_piece_alone(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    output = tmp_path / "catalog.parquet"
    shards = [store / "part-00000.parquet", store / "part-00001.parquet"]
    with pytest.raises(DataError, match=r"^1 of 2 pieces failed, first \S*part-00001\.parquet: its worker .* killed"):
        predict(shards, period_model, output, engine=2)
    assert not output.exists()
    catalog, _, _ = run(shards, period_model, output)
    assert work.measured == GOOD[4:8]
    assert catalog.equals(expected[:8])


# What is refused before any work


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "outcomes", None)


@pytest.mark.usefixtures("no_work")
def test_mistakes_are_found_before_any_work(store: Path, period_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "taken.parts").mkdir()
    (tmp_path / "taken.parts" / "thesis.tex").write_text("mine")
    output = tmp_path / "catalog.parquet"
    for inputs, path, said in [
        ([store], tmp_path / "catalog.txt", "the ending must be one of"),
        ([store], tmp_path / "folder.csv", "a folder, where the name of a file was expected"),
        ([store], tmp_path / "file" / "catalog.csv", "cannot be written"),
        ([store], tmp_path / "taken.csv", r"taken\.parts: needed for the work, but holds something else"),
        ([tmp_path / "gone"], output, "gone: no such file or folder"),
        ([tmp_path / "empty"], output, "empty: holds no light curves"),
        ([], output, "the input: holds no light curves"),
        ([store], store / "part-00002.parquet", r"part-00002\.parquet: an input, which the catalog would replace"),
    ]:
        with pytest.raises(DataError, match=said):
            predict(inputs, period_model, path)
    with pytest.raises(RegistryError, match=r"empty: 'model\.json' is missing"):
        predict([store], tmp_path / "empty", output)
    assert not output.exists()
    assert (tmp_path / "taken.parts" / "thesis.tex").read_text() == "mine"


def test_nothing_but_bad_files(period_model: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    output = tmp_path / "catalog.parquet"
    output.write_text("old")
    (raw / "a.csv").touch()
    with pytest.raises(DataError, match=r"^\S*a\.csv: the file is empty$"):
        predict([raw], period_model, output, engine=1)
    (raw / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"^none of the 2 files can be measured, first \S*a\.csv: the file is empty$"):
        predict([raw], period_model, output, engine=1)
    assert output.read_text() == "old"
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"raw", "catalog.parquet"}


def test_stars_that_all_fail_the_cuts_are_a_catalog_without_rows(
    make_stars: MakeStars, period_model: Path, tmp_path: Path
) -> None:
    shard = write_shard_of(make_stars(SPARSE, n_points=3), tmp_path / "sparse.parquet")
    for ending in ("parquet", "csv", "ecsv", "fits"):
        done = predict([shard], period_model, tmp_path / f"catalog.{ending}", engine=1)
        assert (done.n_stars, done.n_refused) == (0, 2)
    assert pl.read_parquet(tmp_path / "catalog.parquet").schema == {n: c.dtype for n, c in CATALOG.items()}


def test_an_empty_shard_is_nothing_to_remark(
    store: Path, make_stars: MakeStars, period_model: Path, expected: pl.DataFrame, tmp_path: Path
) -> None:
    shutil.copytree(store, tmp_path / "store")
    nobody = make_stars(["x"]).slice(0, 0)
    write_shard(tmp_path / "store" / "part-00004.parquet", nobody)
    catalog, refused, _ = run(tmp_path / "store", period_model, tmp_path / "catalog.parquet")
    assert catalog.equals(expected)
    assert refused["star_id"].to_list() == SPARSE
    with pytest.raises(DataError, match="holds no light curves"):
        predict([tmp_path / "store" / "part-00004.parquet"], period_model, tmp_path / "nobody.csv")


def test_times_of_another_origin_are_refused(make_stars: MakeStars, period_model: Path, tmp_path: Path) -> None:
    """BTJD counts from another day: unconverted, the star would fall out of the images that the network knows."""
    good = make_stars(["mjd"])
    helio = make_stars(["hjd"], seed=1, time_system="HJD-2400000.5")
    space = make_stars(["btjd"], seed=2, time_system="BTJD")
    space.columns["time"] -= 2457000 - 2400000.5
    for name, light_curves in (("mjd", good), ("hjd", helio), ("btjd", space)):
        write_shard(tmp_path / "in" / f"{name}.parquet", light_curves)
    catalog, refused, _ = run(tmp_path / "in", period_model, tmp_path / "catalog.parquet")
    assert sorted(catalog["star_id"]) == ["hjd", "mjd"]
    assert refused["reason"].to_list() == [
        f"{tmp_path / 'in' / 'btjd.parquet'}: times in BTJD, where the model expects MJD_UTC"
    ]


def test_a_catalog_among_its_inputs(store: Path, period_model: Path, expected: pl.DataFrame, tmp_path: Path) -> None:
    """A catalog may lie beside the light curves; to write over it as an input is refused, and nothing is lost."""
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    catalog, _, _ = run(folder, period_model, folder / "catalog.parquet")
    assert catalog.equals(expected)
    with pytest.raises(DataError, match=r"catalog(\.refused)?\.parquet: an input, which the catalog would replace"):
        predict([folder], period_model, folder / "catalog.parquet", engine=1)
    assert pl.read_parquet(folder / "catalog.parquet").equals(expected)


def test_an_interrupted_catalog_beside_its_inputs_goes_on(
    store: Path, period_model: Path, expected: pl.DataFrame, work: Work, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    work.fails_at = "star 5"
    with pytest.raises(DataError):
        predict([folder], period_model, folder / "catalog.parquet", engine=1)
    work.measured, work.fails_at = [], ""
    catalog, refused, _ = run(folder, period_model, folder / "catalog.parquet")
    assert work.measured == GOOD[4:8]
    assert catalog.equals(expected)
    assert refused["star_id"].to_list() == SPARSE


def test_sources_are_named_from_the_working_folder(
    store: Path, period_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    for given in (Path("store"), tmp_path / "store"):
        _, refused, _ = run(given, period_model, tmp_path / "catalog.parquet")
        assert set(refused["source"]) == {str(Path("store") / "part-00003.parquet")}


def test_a_star_is_measured_alike_in_any_company(
    sky: LightCurves, period_model: Path, expected: pl.DataFrame, tmp_path: Path
) -> None:
    order = np.random.default_rng(4).permutation(len(sky))
    write_shard(tmp_path / "all.parquet", sky.take(order))
    catalog, _, _ = run(tmp_path / "all.parquet", period_model, tmp_path / "catalog.parquet")
    assert catalog.sort("star_id").equals(expected.sort("star_id"))


# Pieces and engines


@pytest.mark.parametrize("name", ["local", "dask", "ray"])
def test_the_same_bytes_whatever_does_the_work(
    store: Path, period_model: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the pieces are smaller than the shards."""
    if name != "local":
        pytest.importorskip({"dask": "distributed"}.get(name, name))
    monkeypatch.setattr(pieces, "STARS_PER_PIECE", 3)
    predict([store], period_model, tmp_path / "one.parquet", engine=1)
    predict([store], period_model, tmp_path / "two.parquet", engine=Engine(name, workers=2))  # type: ignore[arg-type]
    for kind in ("", ".refused"):
        one, two = (tmp_path / f"{file}{kind}.parquet" for file in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_shards_are_cut_within_their_row_groups(
    make_stars: MakeStars, period_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row that holds is measured once, and a piece reads one row group."""
    monkeypatch.setattr("varistar.lightcurves.shards.ROW_GROUP_STARS", 7)
    monkeypatch.setattr(pieces, "STARS_PER_PIECE", 4)
    names = [f"star {i}" for i in range(24)]
    store = Store(tmp_path / "store")
    store.append(make_stars(names[:20]))
    store.append(make_stars([names[3], names[8], *names[20:]], n_points=70, seed=1))
    sources = find_sources([store.folder])
    cut, sizes = pieces.cut_into_pieces(sources)
    parts = [(part, size) for (part,), size in zip(cut, sizes, strict=True)]
    assert [len(part.rows) if part.rows is not None else size for part, size in parts] == sizes
    assert sorted(star for part, _ in parts for star in part.read().star_id) == sorted(names)
    for part, size in parts:
        assert size <= 4
        assert part.rows is not None and len(set(part.rows // 7)) == 1
    catalog, _, _ = run(store.folder, period_model, tmp_path / "catalog.parquet")
    assert dict(catalog.select("star_id", "n_points").iter_rows()) == {
        name: 70 if name in (names[3], names[8], *names[20:]) else 60 for name in names
    }
    assert catalog.height == 24


def test_versions_in_one_file_are_cut_by_their_latest(
    make_stars: MakeStars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "STARS_PER_PIECE", 3)
    sky = concatenate([make_stars(["a", "b", "c"]), make_stars(["b", "d"], n_points=70, seed=1)])
    write_shard(tmp_path / "both.parquet", sky, np.array([0, 0, 0, 1, 0], np.int32))
    parts = [part for (part,) in pieces.cut_into_pieces([Source(tmp_path / "both.parquet")])[0]]
    assert [star for part in parts for star in part.read().star_id] == ["a", "c", "b", "d"]


def test_what_it_will_take_is_announced(
    store: Path, period_model: Path, expected: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("varistar.bulk.estimate.WORTH_A_TRIAL", 14)
    said: list[str] = []
    predict([store], period_model, tmp_path / "catalog.parquet", 1, announce=said.append)
    (sentence,) = said
    assert re.fullmatch(r"14 stars in 4 pieces; at most 0\.0 MB of disk; about \d+ s on 1 worker", sentence), sentence
    assert pl.read_parquet(tmp_path / "catalog.parquet").equals(expected)


def test_a_trial_looks_for_what_can_be_read(
    store: Path, period_model: Path, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing else")
    cut, sizes = pieces.cut_into_pieces([Source(tmp_path / "torn.parquet"), *find_sources([store])])
    assert sizes == [4, 4, 4, 2, 1]
    digest = content_hash(period_model)
    items = [module.Piece(some, period_model, digest, "cpu") for some in (cut[-1], *cut[:-1])]
    said: list[str] = []
    monkeypatch.setattr("varistar.bulk.estimate.WORTH_A_TRIAL", 1000)
    foresee(tmp_path / "x", items, 1000, 100, module._try_piece, Engine(workers=1), said.append)
    assert work.measured == [*GOOD[:1], *GOOD[:4]]
    foresee(tmp_path / "x", items[:1], 1000, 2000, module._try_piece, Engine(workers=1), said.append)
    assert said[0].startswith("1000 stars in 5 pieces; at most 0.1 MB of disk; about ")
    assert said[1:] == ["1000 stars in 1 piece; at most 2.0 MB of disk"]
    foresee(tmp_path / "x", items[:1], 999, 2000, module._try_piece, Engine(workers=1), said.append)
    assert len(said) == 2, "what is done at once needs no estimate"


def test_a_disk_that_is_too_small(
    store: Path, period_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=14 * module.BYTES_PER_ROW - 1))
    with pytest.raises(DataError, match=r"catalog\.parts: 14 stars may need 0\.0 MB there, and 0\.0 MB are free"):
        predict([store], period_model, tmp_path / "new" / "catalog.csv")
    assert not list(tmp_path.iterdir())
    (tmp_path / "new/catalog.parts").mkdir(parents=True)  # work that was begun has part of it already
    assert predict([store], period_model, tmp_path / "new" / "catalog.csv", 1) is not None
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=14 * module.BYTES_PER_ROW))
    assert predict([store], period_model, tmp_path / "catalog.csv", 1) is not None


def test_a_model_that_changes_on_the_way(store: Path, make_period_model: Callable[..., Path], tmp_path: Path) -> None:
    model = make_period_model(seed=11)
    piece = module.Piece(find_sources([store])[:1], model, "the hash of before", "cpu")
    with pytest.raises(RegistryError, match="has changed since the prediction was begun"):
        module._predict_piece(piece, tmp_path / "00000")
    assert not list(tmp_path.iterdir())


def _same(read: object, written: object) -> bool:
    """Equal, or nothing in both: astropy reads the NaN of a FITS table as masked."""
    return read == written or (written != written and (read is None or read != read))
