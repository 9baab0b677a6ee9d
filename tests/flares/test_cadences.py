"""At every cadence a model is scored as if the light curves had come so."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.experiments.content import content_hash
from varistar.flares import cadences
from varistar.flares.baselines import FilterSettings, filter_events
from varistar.flares.draws import GridDraw
from varistar.flares.finder import FlareFinder
from varistar.flares.inject import searched_days
from varistar.flares.known import KnownStar, at_cadence
from varistar.flares.matching import MatchSettings, event_scores, match_events
from varistar.flares.simple import read_test
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json

DRAW = GridDraw(peak_snrs=(5.0, 30.0, 100.0), fwhm_minutes=(8.0, 32.0), per_cell_per_day=0.3)


@pytest.fixture(scope="module")
def known(project: Any) -> list[KnownStar]:
    return read_test(project.root)


@pytest.fixture(scope="module")
def stars(project: Any) -> pl.DataFrame:
    return pl.read_parquet(project.build / "sectors/truth.parquet").with_columns(kind=pl.lit("quiet"))


def test_scores_are_those_of_the_joined_light_curves(project: Any, known: list[KnownStar], stars: pl.DataFrame) -> None:
    content = project.build / "calibrated/points"
    report = cadences.cadence_report(content, known, stars, DRAW, Engine(workers=1), "cpu")
    assert list(report) == ["2", "4", "10", "30"]
    finder = FlareFinder.of_folder(content, "cpu")
    for minutes, methods in report.items():
        joined = [at_cadence(star, float(minutes)) for star in known]
        labels = pl.concat([star.labels for star in joined]).with_columns(pl.col("peak_snr").fill_null(0.0))
        by_hand = {
            "network": [finder.find(star.star_id, star.orbits) for star in joined],
            "matched filter": [filter_events(star.orbits, FilterSettings(), star.star_id) for star in joined],
        }
        assert methods.keys() == by_hand.keys()
        rule = MatchSettings(faint_snr=3.0, tolerance_minutes=max(6.0, float(minutes)))
        for name, events in by_hand.items():
            matched = match_events(pl.concat(events), labels, rule)
            scores = event_scores(matched, 88)
            told = methods[name]["events"]
            assert {"counted_f1", "counted_f1_interval", "n_events"} < told.keys()
            assert told == {key: scores[key] for key in told}
            wrong = methods[name]["false"]
            assert wrong["n"] == (~matched.events["fits"]).sum()
            assert wrong["days"] == pytest.approx(sum(searched_days(star.orbits) for star in joined))
            shares = methods[name]["recovered"]
            assert list(shares) == ["5", "7", "10", "15", "30"] and shares["30"]["n"] > 5
        assert methods["matched filter"]["recovered"]["30"]["fraction"] > 0.6, minutes


def test_stars_that_are_not_calm_take_no_part_in_the_recovery(project: Any, known: list[KnownStar]) -> None:
    truth = pl.read_parquet(project.build / "sectors/truth.parquet").with_columns(kind=pl.lit("eclipsing"))
    content = project.build / "calibrated/windows"
    report = cadences.cadence_report(content, known[:2], truth, DRAW, Engine(workers=1), "cpu")
    assert list(report) == ["2"], "the network of windows knows no other cadence"
    assert report["2"]["network"]["recovered"] == {}


def test_no_star_is_told(project: Any, stars: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no star is left to search"):
        cadences.cadence_report(project.build / "calibrated/points", [], stars, None)


def test_the_stage(
    project: Any, in_project: Callable[[Path], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "project"
    shutil.copytree(project.root, root)
    with in_project(root):
        cadences.main("points")
    written = read_json(root / "metrics/flares/cadences/points.json")
    assert written["content"] == content_hash(project.build / "calibrated/points")
    assert set(written["cadences"]) == {"2", "4", "10", "30"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"points, {minutes} minutes" for minutes in (2, 4, 10, 30)]
