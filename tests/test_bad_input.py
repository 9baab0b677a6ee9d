"""Bad input of every kind, through the command line: one clear sentence, exit code 2, and nothing lost.

A light curve that is bad only in its points is no mistake of the user: the points or the star are left out, and counted
with a reason.
"""

import gzip
import io
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from safetensors.numpy import load_file, save_file

from varistar.experiments.content import content_hash
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import COLUMNS, LightCurves, concatenate

Run = Callable[..., Any]
Refuses = Callable[..., str]
MakeStars = Callable[..., LightCurves]
WriteStar = Callable[[Path, LightCurves], Path]
Limit = Callable[[int], AbstractContextManager[None]]

HEADER = "JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera\n"
ROW = "2458500.5,10,0.1,13.9,0.01,17.5,1.5,g,G,bs\n"


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks, which are empty and stay."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def fits_bytes(*hdus: Any) -> bytes:
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(content)
    return content.getvalue()


def tess_bytes(unit: str = "e-/s") -> bytes:
    columns = [
        fits.Column("TIME", "D", unit="BJD - 2457000, days", array=np.linspace(1500, 1527, 200)),
        fits.Column("PDCSAP_FLUX", "E", unit=unit, array=np.full(200, 1000.0)),
        fits.Column("PDCSAP_FLUX_ERR", "E", unit=unit, array=np.full(200, 1.0)),
        fits.Column("QUALITY", "J", array=np.zeros(200)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    table.header.update({"BJDREFI": 2457000, "BJDREFF": 0.0})
    content = io.BytesIO()
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": "TESS", "OBJECT": "TIC 42", "CAMERA": 2, "CCD": 3})
    fits.HDUList([primary, table]).writeto(content)
    return content.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def shard_bytes(make_stars: MakeStars, tmp_path: Path) -> bytes:
    write_shard(tmp_path / "whole.parquet", make_stars(["a", "b"]))
    return (tmp_path / "whole.parquet").read_bytes()


#: Files that are no light curves: their name, their content and what is said of them.
FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "the file is empty"),
    "blanks": ("a.csv", b"  \n \n", "the file is empty"),
    "another format": ("a.npy", b"\x93NUMPY\x01\x00", "neither FITS, Parquet nor UTF-8 text"),
    "UTF-16": ("a.csv", (HEADER + ROW).encode("utf-16"), "neither FITS, Parquet nor UTF-8 text"),
    "JSON": ("a.json", b'{"time": [1, 2]}\n', "not a light curve of a known format"),
    "prose": ("a.txt", b"Dear colleague,\nthe night was cloudy\n", "not a light curve of a known format"),
    "comments": ("a.csv", b"# one\n# two\n", "only comments"),
    "names only": ("a.csv", HEADER.encode(), "has column names but no points"),
    "a missing column": (
        "a.csv",
        (HEADER.replace("Flux Error,", "") + ROW.replace("0.1,", "", 1)).encode(),
        "its columns are JD, Flux, Mag, Mag Error, Limit, FWHM, Filter, Quality, Camera; give a mapping",
    ),
    "a column twice": ("a.csv", HEADER.replace("Mag Error", "Flux").encode(), "names the column 'Flux' twice"),
    "a word for a number": (
        "a.csv",
        (HEADER + ROW + ROW.replace(",10,", ",ten,")).encode(),
        "line 3, column 'Flux': expected a number, got 'ten'",
    ),
    "an unknown quality": (
        "a.csv",
        (HEADER + ROW.replace(",G,", ",X,")).encode(),
        "line 2, column 'Quality': expected one of G, B, U, got 'X'",
    ),
    "a torn line": ("a.csv", (HEADER + ROW + ROW[:20]).encode(), "line 3 has 4 cells where 10 were expected"),
    "torn gzip": ("a.csv.gz", gzip.compress((HEADER + ROW * 99).encode())[:-12], "truncated or damaged gzip file"),
    "torn FITS": ("a.fits", tess_bytes()[:7000], "truncated or damaged FITS"),
    "FITS without a table": ("a.fits", fits_bytes(fits.ImageHDU(np.zeros((5, 5)))), "LIGHTCURVE"),
    "FITS in an unknown unit": ("a.fits", tess_bytes("furlong"), "furlong"),
    "torn Parquet": ("a.parquet", parquet_bytes(pa.table({"jd": [1.0] * 999}))[:-300], "truncated or damaged Parquet"),
    "Parquet without light curves": (
        "a.parquet",
        parquet_bytes(pa.table({"name": ["a"], "colour": [1.0]})),
        "its columns are name, colour; give a mapping",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_light_curve(
    name: str, refuses: Refuses, project: Path, period_model: Path, make_stars: MakeStars
) -> None:
    file, content, said = FILES[name]
    (project / file).write_bytes(content)
    Store(project / "store").append(make_stars(["old"]))
    (project / "catalog.csv").write_text("old")
    before = everything(project)
    for words in (
        ("ingest", file, "--output", "store"),
        ("predict", "periods", file, "--output", "catalog.csv", "--model", period_model, "--workers", "1"),
    ):
        sentence = refuses(*words)
        assert sentence.startswith(f"{file}: ") and said in sentence
        assert everything(project) == before


@pytest.mark.parametrize("cut", [10, 400, 3000, -1, -8, -200])
def test_a_truncated_shard(
    cut: int, refuses: Refuses, project: Path, period_model: Path, make_stars: MakeStars, tmp_path: Path
) -> None:
    for name in ("part-00000.parquet", "mine.parquet"):
        (project / name).write_bytes(shard_bytes(make_stars, tmp_path)[:cut])
        said = refuses("ingest", name, "--output", "store")
        assert said.startswith(f"{name}: truncated or damaged")
        said = refuses("predict", "periods", name, "--output", "c.csv", "--model", period_model, "--workers", "1")
        assert said.startswith(f"{name}: truncated or damaged")
        assert not (project / "c.csv").exists()


def test_a_shard_with_damage_inside(
    refuses: Refuses, project: Path, period_model: Path, make_stars: MakeStars, tmp_path: Path
) -> None:
    content = bytearray(shard_bytes(make_stars, tmp_path))
    content[200:1500] = bytes(1300)
    (project / "a.parquet").write_bytes(content)
    words = ("predict", "periods", "a.parquet", "--output", "c.csv", "--model", period_model, "--workers", "1")
    assert refuses(*words).startswith("a.parquet: truncated or damaged shard")


def test_a_shard_of_the_future(refuses: Refuses, project: Path, make_stars: MakeStars, tmp_path: Path) -> None:
    table = pq.read_table(io.BytesIO(shard_bytes(make_stars, tmp_path)))
    meaning = json.loads(table.schema.metadata[b"varistar"]) | {"format": 99}
    newer = table.replace_schema_metadata({b"varistar": json.dumps(meaning).encode()})
    (project / "a.parquet").write_bytes(parquet_bytes(newer))
    assert "a shard of format 99, newer than the 1 known here" in refuses("ingest", "a.parquet", "--output", "store")


def test_a_unit_or_time_system_that_is_not_known(refuses: Refuses, project: Path) -> None:
    (project / "a.csv").write_text("date,f,e\n58500.5,1,0.1\n")
    mapping: dict[str, Any] = {"time": "date", "flux": "f", "flux_err": "e", "units": {"flux": "parsec"}}
    words = ("ingest", "a.csv", "--output", "store", "--mapping", "m.json")
    for changes, said in [
        ({}, "a.csv: the time system of column 'date' is not known; give the mapping a time_system, one of MJD_UTC, "),
        ({"time_system": "UTC"}, "mapping: 'time_system': Input should be 'MJD_UTC', 'HJD-2400000.5', "),
        (
            {"time_system": "MJD_UTC"},
            "a.csv: column 'f' has the unit 'parsec', where a flux density, electron/s or rel",
        ),
        ({"time_system": "MJD_UTC", "units": {"flux": "mJy", "time": "kg"}}, "a.csv: column 'date' has the unit 'kg'"),
        (
            {"time_system": "MJD_UTC", "units": {"flux": "mJy"}, "flux": "g"},
            "a.csv: lacks the column 'g'; it has date, f, e",
        ),
    ]:
        (project / "m.json").write_text(json.dumps(mapping | changes))
        assert refuses(*words).startswith(said)


def test_paths_that_are_not_there(refuses: Refuses, project: Path, period_model: Path) -> None:
    (project / "nothing").mkdir()
    for path, said in (("gone", "gone: no such file or folder"), ("nothing", "nothing: holds no light curves")):
        assert refuses("ingest", path, "--output", "store") == said
        assert refuses("predict", "periods", path, "--output", "c.csv", "--model", period_model) == said
    assert sorted(path.name for path in project.iterdir()) == ["nothing", "params.yaml"]


# Light curves that are bad in their points


def with_columns(light_curves: LightCurves, **columns: np.ndarray) -> LightCurves:
    """The same stars with other values in some columns."""
    typed = {name: np.asarray(values).astype(COLUMNS[name].dtype) for name, values in columns.items()}
    return replace(light_curves, columns=light_curves.columns | typed)


@pytest.fixture
def catalog_of(varistar: Run, project: Path, make_period_model: Callable[..., Path]) -> Callable[..., Any]:
    """A function that predicts light curves; returns each star's period or the reason why it has none."""
    model = make_period_model(clean=True)

    def measure(light_curves: LightCurves) -> dict[str, float | str]:
        write_shard(project / "in.parquet", light_curves)
        options = ("--output", "out.parquet", "--model", model, "--workers", "1")
        answer = varistar("predict", "periods", "in.parquet", *options)
        assert (answer.code, answer.err) == (0, "")
        measured = dict(pl.read_parquet("out.parquet").select("star_id", "period").iter_rows())
        refused = dict(pl.read_parquet("out.refused.parquet").select("star_id", "reason").iter_rows())
        assert measured.keys().isdisjoint(refused)
        assert sorted([*measured, *refused]) == sorted(light_curves.star_id)
        return measured | refused

    return measure


FEW = "fewer than 20 points"


def test_points_without_values_are_left_out(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["nan", "inf", "no time", "some", "good"])
    m = len(stars["flux"])
    owner = np.repeat(np.array(stars.star_id), stars.n_points)
    flux = np.where(owner == "nan", np.nan, np.where(owner == "inf", np.inf, stars["flux"]))
    some = (owner == "some") & (np.arange(m) % 3 == 0)
    time = np.where(owner == "no time", np.nan, stars["time"])
    answers = catalog_of(with_columns(stars, flux=np.where(some, np.nan, flux), time=time))
    assert answers["nan"] == answers["inf"] == answers["no time"] == FEW
    alone = stars.where(~some)
    expected = catalog_of(alone)
    assert answers["some"] == expected["some"]
    assert answers["good"] == expected["good"]


def test_one_point_and_none(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = concatenate([make_stars(["one"], n_points=1), make_stars(["enough"], n_points=20)])
    nobody = stars.star(0).where(np.array([False]))
    answers = catalog_of(concatenate([stars, LightCurves(("none",), nobody.offsets, nobody.columns, "MJD_UTC")]))
    assert answers["one"] == answers["none"] == FEW
    assert np.isfinite(answers["enough"])


@pytest.mark.parametrize("error", [0.0, -0.1, np.nan, np.inf])
def test_errors_that_are_none(error: float, catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["bad", "half", "good"])
    owner = np.repeat(np.array(stars.star_id), stars.n_points)
    wrong = (owner == "bad") | ((owner == "half") & (np.arange(len(owner)) % 2 == 0))
    answers = catalog_of(with_columns(stars, flux_err=np.where(wrong, error, stars["flux_err"])))
    expected = catalog_of(stars.where(~wrong))
    assert answers == expected
    assert answers["bad"] == FEW and np.isfinite(answers["half"])


def test_the_order_of_points_does_not_matter(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["a", "b"])
    rng = np.random.default_rng(0)
    shuffled = np.concatenate([rng.permutation(60), 60 + rng.permutation(60)])
    mixed = {name: values[shuffled] for name, values in stars.columns.items()}
    assert catalog_of(LightCurves(stars.star_id, stars.offsets, mixed, "MJD_UTC")) == pytest.approx(catalog_of(stars))


def test_times_that_repeat(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["pairs", "all at once"])
    time = stars["time"].copy()
    time[1:60:2] = time[0:60:2]
    time[60:] = 58600.0
    answers = catalog_of(with_columns(stars, time=time))
    assert all(np.isfinite(period) and period > 0 for period in answers.values())


def test_one_camera_many_and_none(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["star"])
    alone = catalog_of(with_columns(stars, camera=np.full(60, "bs")))
    many = catalog_of(with_columns(stars, camera=np.array([f"c{i}" for i in range(60)])))
    nothing = {name: values for name, values in stars.columns.items() if name != "camera"}
    none = catalog_of(LightCurves(stars.star_id, stars.offsets, nothing, "MJD_UTC"))
    assert alone == many == none, "a camera with few points has the star's median, and one camera has it too"
    assert np.isfinite(alone["star"])


def test_fluxes_that_never_change_or_are_not_positive(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    stars = make_stars(["constant", "dark", "negative"])
    owner = np.repeat(np.array(stars.star_id), stars.n_points)
    flux = np.where(owner == "constant", 7.0, np.where(owner == "dark", 0.0, -stars["flux"]))
    answers = catalog_of(with_columns(stars, flux=flux, flux_err=np.full(180, 0.1)))
    assert all(np.isfinite(period) and period > 0 for period in answers.values())


def test_names_of_every_kind(catalog_of: Callable[..., Any], make_stars: MakeStars) -> None:
    names = ["ε Eri", "星", "", " ", 'quo"te', "comma, name", "line\nbreak", "007", "nan", "../../etc"]
    answers = catalog_of(make_stars(names))
    assert all(np.isfinite(answers[name]) for name in names)


# Models


@pytest.fixture
def model(project: Path, period_model: Path) -> Path:
    """A model's content that a test may damage."""
    shutil.copytree(period_model, project / "model")
    return project / "model"


@pytest.fixture
def refuses_model(refuses: Refuses, project: Path, model: Path, make_stars: MakeStars) -> Callable[[], str]:
    """A function that predicts with the damaged model, which must be refused before any work; returns the sentence."""
    Store(project / "store").append(make_stars(["a"]))

    def run() -> str:
        said = refuses("predict", "periods", "store", "--output", "out.csv", "--model", "model")
        assert not list(project.glob("out*"))
        return said

    return run


def edit_spec(model: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    spec = json.loads((model / "model.json").read_text())
    change(spec)
    (model / "model.json").write_text(json.dumps(spec))


class Exploit:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploited"),)


def test_a_pickle_is_never_opened(model: Path, refuses_model: Callable[[], str]) -> None:
    import pickle

    (model / "weights.pkl").write_bytes(pickle.dumps(Exploit()))
    assert refuses_model() == (
        "model: refusing 'weights.pkl': a model holds weights.safetensors and model.json only, and never a pickle"
    )
    (model / "weights.pkl").rename(model / "weights.safetensors")
    assert refuses_model().startswith("model/weights.safetensors: not a safetensors file (pickle is refused)")
    assert not Path("exploited").exists()


def test_a_model_that_is_not_whole(model: Path, refuses_model: Callable[[], str]) -> None:
    weights = (model / "weights.safetensors").read_bytes()
    for content in (b"", weights[:50], weights[:-10]):
        (model / "weights.safetensors").write_bytes(content)
        assert refuses_model().startswith("model/weights.safetensors: not a safetensors file")
    (model / "weights.safetensors").unlink()
    assert refuses_model().startswith("model: 'weights.safetensors' is missing")
    shutil.rmtree(model)
    assert refuses_model() == "model: no such model: expected a folder with weights.safetensors and model.json"


def test_weights_that_do_not_fit(model: Path, refuses_model: Callable[[], str]) -> None:
    path = model / "weights.safetensors"
    tensors = load_file(path)
    name = "dense.1.weight"
    for changed in (
        {name: tensors[name][:, :-1]},
        {name: None},
        {"surplus": np.zeros(3, np.float32)},
    ):
        kept = {key: value for key, value in (tensors | changed).items() if value is not None}
        save_file({key: np.ascontiguousarray(value) for key, value in kept.items()}, path)
        said = refuses_model()
        assert said.startswith("the weights do not fit the architecture: ")
        assert next(iter(changed)) in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec.update(wing="flares"), "this model belongs to the wing 'flares', not to 'periods'"),
        (lambda spec: spec.update(format=2), "model/model.json: 'format': Input should be 1 (got 2)"),
        (
            lambda spec: spec.update(colour=1),
            "model/model.json: key 'colour' does not exist; allowed here: architecture,",
        ),
        (lambda spec: spec.pop("calibration"), "model/model.json: 'calibration': Field required"),
        (
            lambda spec: spec["preprocessing"].pop("representation"),
            "model.json: representation: 'window': Field required",
        ),
        (
            lambda spec: spec["preprocessing"]["representation"].update(nodes="many"),
            "model.json: representation: 'nodes': Input should be a valid integer (got 'many')",
        ),
        (
            lambda spec: spec["preprocessing"]["representation"].update(nodes=34),
            "model.json: images of 8 x 34 pixels are too small for the network",
        ),
        (
            lambda spec: spec["preprocessing"]["representation"]["periods"].update(count=6),
            "model.json: images of 6 x 36 pixels are too small for the network",
        ),
        (
            lambda spec: spec["preprocessing"]["representation"]["periods"].update(count=16),
            "the weights do not fit the architecture: size mismatch for dense.1.weight",
        ),
        (lambda spec: spec["preprocessing"].pop("survey"), "model.json: survey: 'description': Field required"),
        (
            lambda spec: spec["preprocessing"]["survey"]["cuts"].update(min_points=-1),
            "model.json: survey: 'cuts.min_points': Input should be greater than or equal to 0 (got -1)",
        ),
        (
            lambda spec: spec["architecture"]["settings"].update(head="gauss"),
            "model.json: architecture: 'head': Input should be 'laplace' or 'distribution' (got 'gauss')",
        ),
        (
            lambda spec: spec["architecture"]["settings"].update(head="distribution"),
            "the weights do not fit the architecture: size mismatch for dense.7.",
        ),
        (
            lambda spec: spec["calibration"].update(stretch="wide"),
            "model.json: calibration: 'stretch' must be a finite number, not 'wide'",
        ),
        (
            lambda spec: spec["calibration"].update(stretch=-1.0),
            "model.json: calibration: 'stretch' must be a positive number, not -1.0",
        ),
    ],
)
def test_a_model_whose_parts_do_not_fit(
    model: Path, refuses_model: Callable[[], str], change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    edit_spec(model, change)
    assert refuses_model().startswith(said)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_specification_that_is_none(model: Path, refuses_model: Callable[[], str], content: bytes) -> None:
    (model / "model.json").write_bytes(content)
    assert "model.json: " in refuses_model()


# The champion


def test_champions_that_are_missing_or_damaged(
    refuses: Refuses, project: Path, period_model: Path, make_stars: MakeStars, crown: Callable[[Path, Path], None]
) -> None:
    Store(project / "store").append(make_stars(["a"]))
    words = ("predict", "periods", "store", "--output", "out.csv")
    assert refuses(*words) == "no champion for periods: train one and run varistar promote periods"
    crown(project, period_model)
    digest = content_hash(period_model)[:12]
    folder = project / "models" / "periods" / digest

    edit_spec(folder, lambda spec: spec["calibration"].update(stretch=2.0))
    assert refuses(*words) == f"{folder}: damaged: it is not the model {digest} that was promoted"
    shutil.rmtree(folder)
    assert refuses(*words) == f"{folder}: the model {digest} is missing: 'dvc pull models.dvc' brings what DVC keeps"
    record = project / "registry" / "periods.json"
    record.write_text(record.read_text()[:-30])
    assert refuses(*words).startswith(f"{record}: not valid JSON")
    assert not list(project.glob("out*"))


# Parameters


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "seed: 88\n\nsectors",
            "sede: 88\n\nsectors",
            "params.yaml: key 'sky.sede' does not exist; allowed here: coadded, counts,",
        ),
        (
            "size: laptop",
            "size: tiny",
            "params.yaml: 'size': Input should be 'smoke', 'laptop', 'study' or 'paper' (got",
        ),
        (
            "survey: asassn\n",
            "survey: ztf\n",
            "params.yaml: periods.survey names 'ztf', which does not exist; there are",
        ),
        ("sky: #", "sky #", "not valid YAML at line 10: could not find expected ':'"),
        (
            "period_range: [1.0, 30.0]",
            "period_range: [30.0, 1.0]",
            "period_range must run from the smaller to the larger",
        ),
        ("min_points: 150", "min_points: lots", "'surveys.asassn.cuts.min_points': Input should be a valid integer"),
    ],
)
def test_wrong_params(refuses: Refuses, project: Path, old: str, new: str, said: str) -> None:
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new))
    before = everything(project)
    assert said in refuses("config")
    assert said in refuses("size", "smoke", "--yes")
    assert everything(project) == before


# A full disk


def test_a_full_disk(
    refuses: Refuses,
    varistar: Run,
    project: Path,
    period_model: Path,
    make_stars: MakeStars,
    write_skypatrol: WriteStar,
    small_disk: Limit,
) -> None:
    write_skypatrol(project / "a.csv", make_stars(["a"]))
    varistar("ingest", "a.csv", "--output", "store")
    write_skypatrol(project / "b.csv", make_stars(["b"], n_points=600))
    (project / "catalog.csv").write_text("old")
    before = everything(project)
    with small_disk(2000):
        said = refuses("ingest", "a.csv", "b.csv", "--output", "store")
        assert "cannot be written: " in said and "store.parts" in said
        after = everything(project)
        assert {path: after[path] for path in before} == before
        assert "params.yaml: cannot be written: File too large" in refuses("size", "paper", "--yes")
        assert everything(project) == after
    words = ("predict", "periods", "store", "--output", "catalog.csv", "--model", period_model, "--workers", "1")
    with small_disk(500):
        said = refuses(*words)
    assert "stars.parquet: cannot be written: File too large" in said
    assert (project / "catalog.csv").read_text() == "old"
    assert varistar(*words).code == 0
    assert pl.read_csv("catalog.csv")["star_id"].to_list() == ["a"]


def test_outputs_that_cannot_be_written(
    refuses: Refuses, project: Path, period_model: Path, make_stars: MakeStars, write_skypatrol: WriteStar
) -> None:
    write_skypatrol(project / "a.csv", make_stars(["a"]))
    (project / "file").write_text("mine")
    predict = ("predict", "periods", "a.csv", "--model", period_model, "--workers", "1", "--output")
    before = everything(project)
    for words, said in [
        ((*predict, "file/catalog.csv"), "cannot be written: "),
        ((*predict, "catalog.xlsx"), "catalog.xlsx: the ending must be one of .parquet, .csv, .ecsv, .fits"),
        ((*predict, "a.csv"), "a.csv: an input, which the catalog would replace; name another output"),
        (("ingest", "a.csv", "--output", "file"), "file: cannot be made a folder: File exists"),
        (("survey", "simulate", "--output", "file"), "file: is a file, where a folder is to be made"),
        (("survey", "simulate", "--output", "file/below"), "file: is a file, where a folder is to be made"),
    ]:
        assert said in refuses(*words)
        assert everything(project) == before
