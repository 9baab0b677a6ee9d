"""What is scored is what is served, and where it is published it can be found again."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.experiments import publish
from varistar.experiments.content import content_hash, read_content
from varistar.experiments.splits import SplitSettings
from varistar.experiments.store import client, tracking_uri
from varistar.flares import compare, evaluate, recover, simple
from varistar.flares.examples import ExampleSettings
from varistar.flares.finder import FlareFinder, served_network
from varistar.flares.known import KnownStar
from varistar.flares.labels import LABELS
from varistar.flares.measured import Searched, search_known
from varistar.flares.orbits import Orbit
from varistar.flares.verdict import counted, false_events, match_known, score_test_windows
from varistar.flares.windows import WindowSettings
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json
from varistar.foundation.params import read_section

ALONE = Engine(workers=1)
NAMES = ("points", "windows")


@pytest.fixture(scope="module")
def evaluated(project: Any, in_project: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The project with everything measured, and what was asked of the model registry; to be read only."""
    root = tmp_path_factory.mktemp("evaluated") / "project"
    shutil.copytree(project.root, root)
    packaged: list[dict[str, Any]] = []
    with in_project(root) as patch:
        patch.setattr(publish, "package", lambda root, folder, load, **more: packaged.append({"at": folder} | more))
        for name in NAMES:
            evaluate.main(name)
        simple.main()
        recover.main()
        compare.main()
    return replace(project, root=root), packaged


def metrics_of(evaluated: Any, name: str) -> dict[str, Any]:
    return read_json(evaluated[0].root / "metrics/flares" / f"{name}.json")


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_are_those_of_the_stars_of_the_test_searched_as_a_catalog_is(evaluated: Any, name: str) -> None:
    project, _ = evaluated
    metrics = metrics_of(evaluated, name)
    known = simple.read_test(project.root)
    finder = FlareFinder.of_folder(project.build / "calibrated" / name, "cpu")
    found = pl.concat([finder.find(star.star_id, star.orbits) for star in known])
    matched = match_known(found, pl.concat([star.labels for star in known]))
    written = pl.read_parquet(project.build / "measured" / f"{name}.parquet")
    assert written.drop("real").equals(matched.events)
    assert pl.read_parquet(project.build / "recalled" / f"{name}.parquet").equals(matched.labels)
    events, labels = counted(matched).events, counted(matched).labels
    assert metrics["events"]["counted_events"] == len(events)
    assert metrics["events"]["counted_labels"] == len(labels) == (labels["peak_snr"] >= 3).sum() > 0
    hits = events["hit"].sum() + labels["hit"].sum()
    assert metrics["events"]["counted_f1"] == pytest.approx(hits / (len(events) + len(labels)))
    assert (metrics["n_stars"], metrics["content"]) == (len(known), content_hash(project.build / "calibrated" / name))
    splits = read_section(project.root, "flares.split", SplitSettings)
    assert splits.test > 0 and {star.star_id for star in known}.isdisjoint(learnt(project))


def learnt(project: Any) -> set[str]:
    folders = [project.build / "examples/points" / split for split in ("train", "validation", "calibration")]
    return {star for folder in folders for star in pl.read_parquet(folder / "index.parquet")["star_id"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_member_is_scored_under_the_calibration_of_the_model(evaluated: Any, name: str) -> None:
    project, _ = evaluated
    content = project.build / "calibrated" / name
    members = sorted((project.build / "networks" / name).iterdir())
    written = metrics_of(evaluated, name)["members"]
    assert all(len(values) == len(members) for part in written.values() for values in part.values())
    known, truth = simple.read_test(project.root)[:2], read_section(project.root, "flares.examples", ExampleSettings)
    searched = search_known(content, members, known, truth.points.truth, ALONE, "cpu")
    spec = read_content(content).spec
    for member, one in zip(members, searched[1:], strict=True):
        own = read_content(member)
        alike = replace(own, spec=own.spec.model_copy(update={"calibration": spec.calibration}))
        finder = FlareFinder.of_content(alike, "cpu")
        for star, scores in zip(known, one.scores, strict=True):
            for mine, again in zip(scores, finder.scores(star.orbits), strict=True):
                np.testing.assert_array_equal(mine, again)


def test_results_do_not_depend_on_how_the_work_is_shared(evaluated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = evaluated
    known = simple.read_test(project.root)[:3]
    truth = read_section(project.root, "flares.examples", ExampleSettings).points.truth
    content = project.build / "calibrated/points"
    (whole,) = search_known(content, [], known, truth, ALONE, "cpu")
    monkeypatch.setattr("varistar.flares.measured.CHUNK", 1)
    (apart,) = search_known(content, [], known, truth, ALONE, "cpu")
    assert apart.events.equals(whole.events)
    assert apart.candidates.equals(whole.candidates)
    assert apart.days.equals(whole.days)


def test_no_star_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no star is left to search"):
        search_known(tmp_path, [], [], ExampleSettings().points.truth, ALONE)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_finite_or_null(evaluated: Any, name: str) -> None:
    numbers = evaluate.numbers_of(metrics_of(evaluated, name))
    assert len(numbers) > 60
    assert all(math.isfinite(number) for number in numbers.values())


def test_what_is_measured_is_held_against_the_truth(evaluated: Any) -> None:
    measures = metrics_of(evaluated, "points")["measures"]
    assert set(measures) == {"own", "injected", "peaks"}
    single = measures["peaks"]["single"]
    assert set(single) == {"tpeak", "amplitude", "fwhm_minutes", "equivalent_duration_s"}
    duration = single["equivalent_duration_s"]["all >=5"]
    assert duration["n"] > 20 and duration["low"] < duration["bias"] < duration["high"]
    assert duration["bias"] == pytest.approx(1.0, abs=0.15)


def test_scores_figures_and_costs_are_added_to_the_run_that_trained_the_network(evaluated: Any) -> None:
    project, packaged = evaluated
    for name, asked in zip(NAMES, packaged, strict=True):
        store = client(tracking_uri(project.root))
        experiment = store.get_experiment_by_name("flares")
        weights = content_hash(project.build / "networks" / name / "0")
        (run,) = store.search_runs([experiment.experiment_id], f"tags.weights = '{weights}'")
        metrics = metrics_of(evaluated, name)
        assert run.data.metrics["validation_loss"] is not None
        assert run.data.metrics["seconds_per_sector"] > 0
        assert run.data.metrics["windows.n"] == metrics["windows"]["n"]
        assert run.data.metrics["events.false.all.per_day"] == metrics["events"]["false"]["all"]["per_day"]
        assert "seconds" not in json.dumps(metrics)
        kept = {Path(file.path).stem for file in store.list_artifacts(run.info.run_id, "figures")}
        drawn = {path.stem for path in (project.root / "build/figures/flares" / name).iterdir()}
        assert kept == drawn >= {"history", "light_curve"}
        assert asked == {
            "at": project.build / "calibrated" / name, "experiment": "flares", "run_id": run.info.run_id
        }  # fmt: skip
    network, batch = served_network(read_content(project.build / "calibrated/points"))
    assert len(batch) == 2 and network is not None


def test_the_whole_chain_is_compared(evaluated: Any) -> None:
    summary = read_json(evaluated[0].root / "metrics/flares.json")
    assert summary["events"].keys() == {*NAMES, *simple.SIMPLE} == summary["recovery"].keys()
    assert summary["challenger"] in NAMES
    assert any(summary["challenger"] in line for line in compare.comparison_lines(summary))


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts on events that are made up


def labels_of(*rows: tuple[str, float, float | None]) -> pl.DataFrame:
    given = {
        "star_id": [row[0] for row in rows],
        "tpeak": [row[1] for row in rows],
        "peak_snr": [row[2] for row in rows],
    }
    nothing = {name: [None] * len(rows) for name in LABELS if name not in given}
    return pl.DataFrame(given | nothing, schema_overrides=LABELS).select(LABELS.keys())


def events_of(*rows: tuple[str, float]) -> pl.DataFrame:
    times = [row[1] for row in rows]
    return pl.DataFrame({"star_id": [row[0] for row in rows], "tpeak": times, "tstart": times, "tstop": times})


def test_faint_and_unobserved_flares_count_neither_way() -> None:
    labels = labels_of(("a", 1.0, 10.0), ("a", 2.0, 2.9), ("a", 3.0, None), ("a", 4.0, 3.0))
    scored = counted(match_known(events_of(("a", 1.0), ("a", 2.0), ("a", 3.0), ("a", 9.0)), labels))
    assert scored.labels["tpeak"].to_list() == [1.0, 4.0]
    assert scored.events["tpeak"].to_list() == [1.0, 9.0]


def test_false_events_are_those_that_fit_nothing_over_all_days() -> None:
    events = pl.DataFrame({"star_id": ["a", "a", "b"], "fits": [False, True, False]})
    stars = pl.DataFrame({"star_id": ["a", "b", "c"], "kind": ["quiet", "flaring", "quiet"]})
    days = pl.DataFrame({"star_id": ["a", "b", "c"], "days": [10.0, 20.0, 30.0]})
    found = false_events(events, stars, days)
    assert {kind: (row["n"], row["days"]) for kind, row in found.items()} == {
        "all": (2, 60.0), "flaring": (1, 20.0), "quiet": (1, 40.0)
    }  # fmt: skip
    for row in found.values():
        assert row["low"] < row["per_day"] == row["n"] / row["days"] < row["high"]


def test_a_window_is_asked_for_its_highest_score_near_its_middle() -> None:
    rng = np.random.default_rng(1)
    time = np.arange(3000) * 2 / 1440
    orbit = Orbit(time, 1 + 0.001 * rng.standard_normal(3000), np.full(3000, 0.001), np.arange(3000), 2 / 1440)
    star = KnownStar("a", [orbit], labels_of(("a", float(time[1000]), 30.0), ("a", float(time[2000]), 30.0)))
    scores = np.zeros(3000)
    scores[1002], scores[1997] = 0.8, 0.9
    none = pl.DataFrame()
    searched = Searched([[scores]], [], none, none, none, 0.0)
    for near, expected in ((2, [0.8, 0.0]), (3, [0.8, 0.9]), (0, [0.0, 0.0])):
        windows = score_test_windows(searched, [star], WindowSettings(), near)
        assert windows.filter(pl.col("label") == 1)["p"].to_list() == expected
        assert (windows.filter(pl.col("label") == 0)["p"] == 0).all()
