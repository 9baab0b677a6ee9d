"""The command line as a new user meets it: its help, its answers, its exit codes, and what it leaves on disk."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from typer.main import get_command

import varistar as package
from varistar.archives.fetch import Fetched
from varistar.bulk.arrays import open_arrays
from varistar.cli import app
from varistar.experiments.content import content_hash
from varistar.experiments.promotion import Outcome
from varistar.flares.label import Labelled
from varistar.foundation.files import write_json
from varistar.foundation.params import read_params
from varistar.lightcurves.readers import Format
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.sky.ground import StarCounts

REPOSITORY = Path(__file__).resolve().parents[1]

Run = Callable[..., Any]
Refuses = Callable[..., str]
MakeStars = Callable[..., LightCurves]
WriteStar = Callable[[Path, LightCurves], Path]


def commands(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command and group by the words that call it."""
    found = {path: command}
    for name, below in getattr(command, "commands", {}).items():
        found |= commands(below, (*path, name))
    return found


COSTS = (
    r"a whole rebuild takes about \d+ minutes on two cores and \d+ MB of disk; the study about \d+ (minutes|hours) on "
    r"two cores and \d+ MB of disk\n$"
)
COMMANDS = commands(get_command(app))
WINGS = (
    ("train", "periods", "x"),
    ("promote", "periods"),
    ("champion", "periods"),
    ("rollback", "periods", "--reason", "x"),
)


# Help


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(varistar: Run, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = varistar(*words, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: varistar {' '.join(words)}".rstrip())
    assert "..." not in re.sub(r"[\]}>]\.\.\.", "", answer.out), "a summary is cut off"
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    summary = (COMMANDS[words].help or "").split("\n\n")[0]
    assert summary.endswith(".") and len(summary) > 20
    for parameter in COMMANDS[words].params:
        record = getattr(parameter, "help", None)
        assert record and record.rstrip(" ]").endswith((".", "preset instead.")), f"{parameter.name} is not explained"


def test_the_first_thing_a_user_sees(varistar: Run) -> None:
    answer = varistar()
    listed = re.findall(r"^  (\w+)  +\S", answer.out + answer.err, flags=re.MULTILINE)
    assert set(listed) == {words[0] for words in COMMANDS if words}
    assert varistar("--version").out == f"varistar {package.__version__}\n"


def test_the_help_of_ingest_names_every_format(varistar: Run) -> None:
    text = " ".join(varistar("ingest", "--help").out.split())
    assert all(re.search(rf"\b{name}\b", text) for name in get_args(Format) if name != "mapped")


def test_help_is_quick_to_load() -> None:
    """What a command needs is imported when it runs: help loads neither torch nor MLflow."""
    code = "import sys, varistar.cli; print([m for m in ('torch', 'mlflow', 'numba', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Mistakes that every command answers alike


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_an_option_that_does_not_exist(varistar: Run, words: tuple[str, ...]) -> None:
    answer = varistar(*words, "--colour")
    assert answer.code == 2
    assert "No such option: --colour" in answer.err and "Traceback" not in answer.err
    assert f"Try 'varistar {' '.join(words)} --help' for help." in answer.err


def test_a_command_that_does_not_exist(varistar: Run) -> None:
    answer = varistar("pretrain")
    assert answer.code == 2 and "No such command 'pretrain'" in answer.err


@pytest.mark.parametrize("words", [*WINGS, ("predict", "periods", "x.csv", "--output", "y.csv")], ids=lambda w: w[0])
def test_a_wing_that_does_not_exist(refuses: Refuses, project: Path, words: tuple[str, ...]) -> None:
    wrong = ["colours" if word == "periods" else word for word in words]
    assert refuses(*wrong) == "there is no wing 'colours'; there are periods and flares"


@pytest.mark.parametrize(
    "words",
    [
        ("config",),
        ("size", "smoke"),
        ("report",),
        ("status",),
        ("survey", "simulate", "--output", "sky"),
        ("ingest", ".", "--output", "store"),
        ("predict", "periods", ".", "--output", "y.csv"),
        *WINGS,
    ],
    ids=lambda words: words[0],
)
def test_outside_a_project(refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Any) -> None:
    monkeypatch.chdir(tmp_path)
    said = refuses(*words)
    assert said == f"no params.yaml in {tmp_path} or above it: run this inside a varistar project, or give --root"
    assert refuses(*words, "--root", "typo") == f"{tmp_path / 'typo'}: no such folder"
    assert list(tmp_path.iterdir()) == []


# config and size


def test_config_says_what_is_trained_and_what_it_costs(varistar: Run, project: Path) -> None:
    answer = varistar("config")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("params.yaml is in order: size laptop, survey asassn\n")
    for name in read_params(project)["periods"]["variants"]:
        assert f"  {name}: " in answer.out
    assert re.search(COSTS, answer.out)
    schema = varistar("config", "--schema")
    assert json.loads(schema.out)["title"] == "Params"


def test_a_size_is_written_when_it_is_confirmed(
    varistar: Run, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = (project / "params.yaml").read_bytes()
    monkeypatch.setattr("typer.confirm", lambda question: False)
    declined = varistar("size", "smoke")
    assert declined.code == 0
    assert "  periods.samples.clump.simulations: 5000 -> 400\n" in declined.out
    assert "  size: laptop -> smoke\na whole rebuild takes about" in declined.out
    assert (project / "params.yaml").read_bytes() == before

    monkeypatch.setattr("typer.confirm", None)
    monkeypatch.chdir(tmp_path)
    done = varistar("size", "smoke", "--yes", "--root", project)
    assert done.out.splitlines()[-1] == "params.yaml is at size smoke; `dvc repro` rebuilds what it changes"
    assert read_params(project)["size"] == "smoke"
    again = varistar("size", "smoke", "--root", project)
    assert again.code == 0 and again.out.startswith("params.yaml is at size smoke already\n")
    assert varistar("size", "laptop", "-y", "--root", project).code == 0
    assert (project / "params.yaml").read_bytes() == before


# survey simulate


def test_the_simulated_survey(varistar: Run, refuses: Refuses, project: Path) -> None:
    params = read_params(project)
    none = dict.fromkeys(StarCounts().model_dump(), 0)
    params["sky"] = {"seed": 5, "n_fields": 1, "counts": none | {"constant": 2}}
    params["sectors"] = {"seed": 5, "n_stars": 1}
    (project / "params.yaml").write_text(json.dumps(params))
    answer = varistar("survey", "simulate", "--output", "sky", "--workers", "1")
    said = [f"sky/{name}: made; its README.md says what it holds" for name in ("ground", "space")]
    assert (answer.code, answer.out.splitlines()) == (0, said)
    for name, stars in (("ground", 2), ("space", 1)):
        assert pl.read_parquet(project / "sky" / name / "stars.parquet").height == stars
        assert Store(project / "sky" / name / "light_curves").index().height == stars
    larger = varistar(
        *(
            "survey",
            "simulate",
            "--output",
            "other",
            "--only",
            "ground",
            "--stars",
            "5",
            "--seed",
            "6",
            "--workers",
            "1",
        )
    )
    assert larger.code == 0 and not (project / "other/space").exists()
    assert pl.read_parquet(project / "other/ground/truth.parquet").height == 5


def test_fields_where_a_user_wants_them(varistar: Run, refuses: Refuses, project: Path) -> None:
    (project / "places.csv").write_text("ra_deg,dec_deg\n10.0,-30.0\n200.0,20.0\n")
    words = ("survey", "simulate", "--output", "sky", "--only", "ground", "--stars", "6", "--workers", "1", "--places")
    assert varistar(*words, "places.csv").code == 0
    ra = pl.read_parquet(project / "sky/ground/stars.parquet")["ra_deg"]
    assert (((ra - 10.0).abs() < 4.0) | ((ra - 200.0).abs() < 4.0)).all()
    for text, said in (
        ("ra_deg,dec_deg\n10.0,85.0\n", "sky: places must lie in -78 to 70 degrees of declination"),
        ("ra_deg,dec_deg\n10.0,\n", "places.csv: row 1 is no place on the sky"),
        ("ra_deg,dec_deg\n", "places.csv: holds no place"),
        ("ra,dec\n1,2\n", "places.csv: has no column 'ra_deg'"),
        ("ra_deg,dec_deg\nhere,there\n", "places.csv: ra_deg and dec_deg must be numbers"),
    ):
        (project / "places.csv").write_text(text)
        assert said in refuses(*words, "places.csv")
    assert "cannot be read as a table of places" in refuses(*words, "gone.csv")
    assert "--targets is of the space-based survey" in refuses(*words, "places.csv", "--targets", "3")
    only_space = ("survey", "simulate", "--output", "sky", "--only", "space")
    assert "--stars and --places are of the ground-based survey" in refuses(*only_space, "--stars", "3")
    (project / "thesis/ground").mkdir(parents=True)
    (project / "thesis/ground/chapter.tex").write_text("mine")
    assert "thesis/ground: holds 'chapter.tex'" in refuses("survey", "simulate", "--output", "thesis")
    assert (project / "thesis/ground/chapter.tex").read_text() == "mine"


# ingest


@pytest.fixture
def raw(project: Path, make_stars: MakeStars, write_skypatrol: WriteStar) -> Path:
    """Three stars in Sky Patrol files, one with few points, and a file that is none."""
    sky = concatenate([make_stars(["a", "b"], n_points=160), make_stars(["c"], n_points=7)])
    for i, name in enumerate("abc"):
        write_skypatrol(project / "raw" / f"{name}.csv", sky.star(i))
    (project / "raw" / "notes.txt").write_text("cloudy\n")
    return project / "raw"


def test_ingest_again_and_with_new_epochs(
    varistar: Run, raw: Path, make_stars: MakeStars, write_skypatrol: WriteStar
) -> None:
    said = (
        "store: 3 stars read, of which 2 pass the cuts of asassn\n"
        "  1 fewer than 150 points\n"
        "1 files refused; the reasons stand in store/refused.parquet\n"
    )
    for _ in range(2):
        answer = varistar("ingest", "raw", "--output", "store")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out == said
        assert [path.name for path in Store("store").shards()] == ["part-00000.parquet"]
    write_skypatrol(raw / "c.csv", make_stars(["c"], n_points=170, seed=8))
    answer = varistar("ingest", raw / "c.csv", "--output", "store")
    assert answer.out == "store: 1 stars read, of which 1 pass the cuts of asassn\n"
    index = Store("store").index()
    assert index.filter(star_id="c").select("version", "n_points").rows() == [(1, 170)]
    assert index.height == 3


def test_ingest_with_a_mapping(varistar: Run, refuses: Refuses, project: Path) -> None:
    (project / "mine.csv").write_text("t,f,e\n" + "".join(f"{58500 + i},{10 + i % 3},0.1\n" for i in range(30)))
    assert "give a mapping that says which is which" in refuses("ingest", "mine.csv", "--output", "store")
    mapping: dict[str, Any] = {"time": "t", "flux": "f", "flux_err": "e", "time_system": "MJD_UTC"}
    (project / "columns.json").write_text(json.dumps(mapping))
    said = refuses("ingest", "mine.csv", "--output", "store", "--mapping", "columns.json")
    assert said.startswith("mine.csv: column 'f' states no unit; give the mapping one, such as units: {flux: mJy}")
    (project / "columns.json").write_text(json.dumps(mapping | {"units": {"flux": "mJy"}}))
    answer = varistar("ingest", "mine.csv", "--output", "store", "--mapping", "columns.json")
    assert answer.out.startswith("store: 1 stars read")
    (project / "columns.json").write_text("[1]")
    assert refuses("ingest", "mine.csv", "--output", "store", "--mapping", "columns.json") == (
        "mapping: Input should be an object (got [1])"
    )
    (project / "columns.json").write_text("{")
    assert refuses("ingest", "mine.csv", "--output", "store", "--mapping", "columns.json").startswith(
        "columns.json: not valid JSON"
    )
    assert refuses("ingest", "mine.csv", "--output", "store", "--mapping", "gone.json") == "gone.json: no such file"
    assert refuses("ingest", "mine.csv", "--output", "store", "--mapping", ".") == ".: cannot be read: Is a directory"


def test_ingest_for_a_survey_that_does_not_exist(refuses: Refuses, raw: Path) -> None:
    said = refuses("ingest", "raw", "--output", "store", "--survey", "ztf")
    assert said == "params.yaml: 'surveys.ztf' does not exist; surveys has asassn, asassn_released, tess"
    assert not Path("store").exists()


# train, promote, rollback


def test_training_a_variant_that_cannot_be_trained(refuses: Refuses, project: Path) -> None:
    assert refuses("train", "periods", "dwarf").startswith(
        "params.yaml: there is no variant 'dwarf'; there are clump-8-16-32, period-axis, a-quasar-8-16-32, "
    )
    assert refuses("train", "periods", "clump-8-16-32", "--preset", "fast") == (
        "params.yaml: 'periods.presets.fast' does not exist; periods.presets has replica, hygienic"
    )
    assert refuses("train", "periods", "clump-8-16-32") == (
        f"{project}/build/periods/images/clump-paper: these images have not been made; make them with "
        "`dvc repro images@clump-paper`"
    )


def test_promotion_without_anything_to_promote(refuses: Refuses, project: Path, period_model: Path) -> None:
    assert refuses("promote", "periods").startswith(
        f"{project}/metrics/periods.json: no comparison yet names a challen"
    )
    assert refuses("promote", "periods", "--candidate", "nothing").startswith(
        "nothing: no such model: expected a folder"
    )
    assert refuses("promote", "periods", "--force") == "a forced promotion needs a reason: give --reason"
    assert refuses("promote", "periods", "--candidate", period_model).startswith(
        f"{project}/build/periods/injected/broad/test: there is no test set here to compare on"
    )
    assert refuses("rollback", "periods", "--reason", "x") == (
        "no champion of periods before the present one: nothing to roll back to"
    )
    assert refuses("rollback", "periods", "--reason", " ") == "a reason is needed: the record keeps it"
    assert refuses("champion", "periods") == "no champion for periods: train one and run varistar promote periods"
    assert not (project / "registry").exists()


@pytest.mark.parametrize(("options", "code"), [((), 2), (("--if-better",), 0)])
def test_gates_that_refuse(
    varistar: Run, project: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: int
) -> None:
    outcome = Outcome(
        ["challenger beside champion", "abc stays champion"], ["within_10pct is 0.1, at least 0.2 wanted"]
    )
    monkeypatch.setattr("varistar.experiments.promotion.promote_candidate", lambda *arguments: outcome)
    answer = varistar("promote", "periods", *options)
    assert answer.code == code
    assert answer.out == "challenger beside champion\nabc stays champion\n"
    assert answer.err == "  refused: within_10pct is 0.1, at least 0.2 wanted\n"


def test_a_training_outside_the_pipeline(varistar: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("varistar.periods.trial.train_trial", lambda *a: asked.append(a) or Path("build/trials/x"))
    answer = varistar("train", "periods", "clump-8-16-32", "--preset", "replica", "--output", "out")
    assert asked == [(project, "clump-8-16-32", "replica", Path("out"))]
    assert "`varistar promote periods --candidate build/trials/x` compares it with the champion" in answer.out


@pytest.mark.parametrize(
    "words",
    [("train", "periods", "x"), ("train", "flares", "x"), ("finetune", "flares", "x", "--labelled", "y")],
    ids=" ".join,
)
def test_a_folder_of_other_things_is_no_place_for_a_model(refuses: Refuses, project: Path, words: Any) -> None:
    (project / "papers").mkdir()
    (project / "papers/draft.tex").touch()
    (project / "papers/model.json").touch()
    said = refuses(*words, "--output", "papers")
    assert said == "papers: would be replaced, but holds 'draft.tex'; name a folder of its own"


def test_the_folder_of_labelled_stars_is_named_as_params_yaml_means_it(
    varistar: Run, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Labelled(1, 2, 3, {}, "0123456789ab")
    monkeypatch.setattr("varistar.flares.label.label_light_curves", lambda *arguments: done)
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    elsewhere = project.parent / "elsewhere"
    for output, shown in (("stars", "below/stars"), ("../data/stars", "data/stars"), (elsewhere, str(elsewhere))):
        answer = varistar("label", "flares", ".", "--labels", "list.csv", "--output", output)
        assert answer.out.endswith(f"{{folder: {shown}, version: '0123456789ab'}}\n"), answer.err


# predict


def test_predict_with_the_champion_or_another_model(
    varistar: Run,
    refuses: Refuses,
    raw: Path,
    period_model: Path,
    make_period_model: Callable[..., Path],
    crown: Callable[[Path, Path], None],
) -> None:
    words = ("predict", "periods", "raw", "--output", "out/catalog.csv", "--workers", "1")
    assert refuses(*words) == "no champion for periods: train one and run varistar promote periods"
    crown(Path.cwd(), period_model)
    answer = varistar(*words)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "out/catalog.csv: 2 stars\nout/catalog.refused.csv: 2 refused, with reasons\n"
    catalog = pl.read_csv("out/catalog.csv")
    assert catalog["star_id"].to_list() == ["a", "b"]
    assert set(catalog["model"]) == {content_hash(period_model)}
    refused = dict(pl.read_csv("out/catalog.refused.csv").select("source", "reason").iter_rows())
    assert set(refused) == {"raw/c.csv", "raw/notes.txt"}
    assert refused["raw/c.csv"] == "fewer than 20 points"
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == ["catalog.csv", "catalog.refused.csv"]

    other = make_period_model(seed=3)
    assert varistar(*words, "--model", other).code == 0
    assert set(pl.read_csv("out/catalog.csv")["model"]) == {content_hash(other)}


def test_predict_what_ingest_stored(varistar: Run, raw: Path, period_model: Path) -> None:
    """The way of every user: ingest files, predict the store."""
    varistar("ingest", "raw", "--output", "store")
    options = ("--model", period_model, "--workers", "1")
    answer = varistar("predict", "periods", "store", "--output", "catalog.parquet", *options)
    assert answer.out == "catalog.parquet: 2 stars\ncatalog.refused.parquet: 1 refused, with reasons\n"
    varistar("predict", "periods", "raw", "--output", "direct.parquet", *options)
    assert pl.read_parquet("catalog.parquet").equals(pl.read_parquet("direct.parquet"))


def test_predict_with_no_workers(varistar: Run, raw: Path) -> None:
    answer = varistar("predict", "periods", "raw", "--output", "c.csv", "--workers", "0")
    assert answer.code == 2 and "--workers" in answer.err and "1" in answer.err


def test_the_installed_program(raw: Path, period_model: Path) -> None:
    """As a process of its own, which starts and ends as it should."""
    program = [sys.executable, "-m", "varistar.cli"]
    words = ["predict", "periods", "raw", "--output", "catalog.fits", "--model", period_model, "--workers", "1"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "catalog.fits: 2 stars\ncatalog.refused.fits: 2 refused, with reasons\n"
    wrong = subprocess.run([*program, "size", "huge"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "varistar: params.yaml: 'size': Input should be 'smoke', 'laptop', 'study' or 'paper' (got 'huge')\n"
    )


# fetch, simulate, transform, engines


def test_fetch_needs_to_know_which_stars(refuses: Refuses, project: Path) -> None:
    for archive in ("skypatrol", "mast"):
        said = refuses("fetch", archive, "--output", "files")
        assert said == "say which stars: ids, or a file of them with --ids"
        assert refuses("fetch", archive, "7", "--ids", "stars.csv", "--output", "files") == said
    assert refuses("fetch", "mast", "--ids", "stars.csv", "--output", "files") == "stars.csv: no such file"
    Path("stars.csv").write_text("tic,name\n7,seven\n")
    assert refuses("fetch", "mast", "--ids", "stars.csv", "--output", "files") == (
        "stars.csv: has several columns, so say which holds the ids; it has tic, name"
    )
    assert not (project / "files").exists()


def test_a_cone_needs_no_ids(refuses: Refuses, project: Path) -> None:
    for more in (("7",), ("--ids", "stars.csv"), ("--by", "gaia_id")):
        said = refuses("fetch", "skypatrol", *more, "--cone", "10", "20", "0.1", "--output", "files")
        assert said == "--cone finds all stars of a place by their asas_sn_id: give no ids and no --by with it"


def test_fetch_takes_ids_from_a_column(varistar: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(ids: list[str], folder: Path, sectors: Any, refresh: bool) -> Fetched:
        asked.append((ids, folder, sectors, refresh))
        return Fetched(1, 0, {"8": "MAST has no 2-minute light curve of TIC 8"})

    monkeypatch.setattr("varistar.archives.mast.fetch_mast", fetch)
    Path("stars.csv").write_text("tic,name\n7,seven\n8,eight\n")
    answer = varistar("fetch", "mast", "--ids", "stars.csv:tic", "--sector", "3", "--sector", "4", "--output", "files")
    assert asked == [(["7", "8"], Path("files"), [3, 4], False)]
    assert answer.out == (
        "files: 1 fetched, 0 there already, 1 refused\n"
        "  8: MAST has no 2-minute light curve of TIC 8\n"
        "all of the refused stand in files/.fetched/refused.parquet\n"
    )


def test_simulate_needs_templates(refuses: Refuses, project: Path) -> None:
    assert refuses("simulate", "clump", "--output", "sample") == (
        f"{project}/build/periods/templates/clump: these templates have not been made; use `dvc repro templates@clump`"
    )
    assert refuses("simulate", "dwarfs", "--output", "sample").startswith("params.yaml: 'periods.samples.dwarfs'")


def test_transform_makes_images_of_raw_files(varistar: Run, refuses: Refuses, raw: Path) -> None:
    words = ("transform", "raw", "--output", "images", "--workers", "1")
    assert "'periods.representations.sketch' does not exist" in refuses(*words, "--representation", "sketch")
    answer = varistar(*words, "--representation", "paper", "--representation", "log")
    assert (answer.code, answer.out) == (0, "images: 2 stars in 2 representations; 2 refused\n")
    for name in ("paper", "log"):
        assert open_arrays(Path("images") / name).index["star_id"].to_list() == ["a", "b"]


@pytest.mark.parametrize("words", [("predict", "periods"), ("transform", "--representation", "paper"), ("ingest",)])
def test_engines_that_do_not_exist(refuses: Refuses, raw: Path, period_model: Path, words: tuple[str, ...]) -> None:
    more = ("--model", period_model) if words[0] == "predict" else ()
    for engine in ("cluster", "local@here", "dask@", "slurm@x"):
        said = refuses(*words, "raw", "--output", "out.parquet", *more, "--engine", engine)
        assert said.startswith(("there is no engine", "the engine")) and engine.partition("@")[0] in said
    said = refuses(*words, "raw", "--output", "out.parquet", *more, "--engine", "slurm")
    assert "needs a job array" in said


def test_an_accelerator_that_is_not_there(
    refuses: Refuses, raw: Path, period_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("predict", "periods", "raw", "--output", "c.csv", "--model", period_model, "--accelerator", "cuda")
    assert refuses(*words).startswith("accelerator 'cuda' was asked for, but torch finds no CUDA device here")


# report and status


def test_a_report_of_nothing_yet(varistar: Run, project: Path) -> None:
    answer = varistar("report")
    assert (answer.code, answer.err) == (0, "")
    for line in (
        "no comparison of methods yet in periods.json; `make repro` makes one",
        "no comparison of methods yet in flares.json; `make repro` makes one",
        "champion: no champion for periods: train one and run varistar promote periods",
        "champion: no champion for flares: train one and run varistar promote flares",
        "catalog:  none yet; `dvc repro catalog` makes it with the champion",
        "figures:  none yet; `make repro` draws them",
    ):
        assert line in answer.out.splitlines()


def test_a_report_of_everything(
    varistar: Run, refuses: Refuses, project: Path, period_model: Path, crown: Callable[[Path, Path], None]
) -> None:
    crown(project, period_model)
    network = {"n": 40, "within_10pct": 0.4, "within_10pct_interval": [0.3, 0.5], "within_20pct": 0.6}
    method = {"n": 40, "within_10pct": 0.1, "within_10pct_interval": [0.05, 0.2], "within_20pct": 0.2}
    best = {"within_10pct_at_19.8pct_coverage": 0.7}
    scores = {"mine": network | {"coverage": 0.25, "trusted_within_10pct": None} | best, "best constant": method}
    silent = {"mine": {"n": 50, "claimed": 1, "rate": 0.02, "rate_interval": [0.004, 0.105]}}
    tables = {"tests": {"clump/paper": scores}, "false_periods": {"clump/constant": silent}}
    study = {"tests": {}, "false_periods": {}}
    write_json(project / "metrics/periods.json", {"challenger": "mine", **tables, "study": study, "table3": []})
    catalog = project / "build/catalog/periods.parquet"
    catalog.parent.mkdir(parents=True)
    pl.DataFrame({"p_within_10pct": [0.9, 0.5001, 0.5, 0.1, None]}).write_parquet(catalog)
    (project / "build/figures/periods").mkdir(parents=True)
    text = varistar("report").out
    assert "clump/paper: 40 test stars" in text
    assert re.search(r"mine +0\.400 \(0\.300-0\.500\) +0\.600 +0\.700 +0\.250\n", text)
    assert re.search(r"best constant +0\.100 \(0\.050-0\.200\) +0\.200\n", text)
    assert re.search(r"mine +1 of 50 +2\.000% \(0\.400%-10\.500%\)", text)
    assert re.search(
        rf"champion: periods {content_hash(period_model):.12} since \S+ \(0\.123 of its test stars within 10%\)", text
    )
    assert f"catalog:  {catalog} (5 stars, 2 whose period is more probably right than not)" in text
    assert f"figures:  {project / 'build/figures'}" in text

    catalog.write_bytes(catalog.read_bytes()[:-20])
    assert refuses("report") == f"{catalog}: not a catalog; `dvc repro catalog` makes it again"
    write_json(project / "metrics/periods.json", {"tests": {"clump/paper": {"mine": {}}}})
    assert refuses("report").endswith("periods.json: not a comparison of methods; `make repro` makes it again")
    (project / "metrics/periods.json").write_text("{")
    assert "periods.json: not valid JSON" in refuses("report")


def test_a_damaged_champion_is_reported(
    varistar: Run, project: Path, period_model: Path, crown: Callable[[Path, Path], None]
) -> None:
    crown(project, period_model)
    digest = content_hash(period_model)[:12]
    (project / "models" / "periods" / digest / "weights.safetensors").write_bytes(b"")
    answer = varistar("report")
    assert answer.code == 0
    assert f"{digest}: damaged: it is not the model {digest} that was promoted" in answer.out


FLARES = ("compare", "flare_science")


def test_status_follows_the_pipeline(
    varistar: Run,
    project: Path,
    period_model: Path,
    crown: Callable[[Path, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    answer = varistar("status")
    assert (answer.code, answer.err) == (1, "")
    assert "pipeline: ERROR: you are not inside of a DVC repository" in answer.out
    assert "champion: no champion for periods: train one and run varistar promote periods\n" in answer.out

    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--quiet", "--no-scm"], check=True)
    for folder, last in ((project, ("compare", "illustrate", "completeness")), (project / "flares", FLARES)):
        folder.mkdir(exist_ok=True)
        stages = (f"{name}: {{cmd: cp in.txt {name}.txt, deps: [in.txt], outs: [{name}.txt]}}" for name in last)
        (folder / "dvc.yaml").write_text(f"stages: {{{', '.join(stages)}}}\n")
        (folder / "in.txt").write_text("1")
    crown(project, period_model)
    monkeypatch.setattr("varistar.report.SCORES", {"periods": ("within_10pct", "{:.3f}")})
    answer = varistar("status")
    assert answer.code == 1
    run = "compare, illustrate, completeness, flares/dvc.yaml:compare, flares/dvc.yaml:flare_science"
    assert answer.out.startswith(f"pipeline: `dvc repro` would run {run}\nchampion: ")
    subprocess.run([*dvc, "repro", "--quiet", "--all-pipelines"], check=True)
    answer = varistar("status")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("pipeline: up to date\nchampion: ")
    shutil.rmtree(project / "models")
    answer = varistar("status")
    assert answer.code == 1 and "is missing: 'dvc pull models.dvc'" in answer.out
