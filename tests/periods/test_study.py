"""The study's pictures show whatever has been measured here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from varistar.foundation.errors import DataError
from varistar.periods import study
from varistar.periods.study import draw_study

NAMES = {"table3", "panels"} | {
    f"{kind}-{test}" for kind in ("ablation", "coverage") for test in ("clump-paper", "broad-long_lived")
}


def test_every_picture_is_drawn(project: Any) -> None:
    figures = draw_study(project.root)
    assert set(figures) == NAMES
    for figure in figures.values():
        assert figure.axes


def test_a_row_whose_measurements_are_elsewhere_is_shown_by_its_scores(
    copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are committed, measurements are not."""
    metrics = copied.root / "metrics"
    (metrics / "study").mkdir(parents=True)
    shutil.copy(metrics / "periods/clump-8-16-32.json", metrics / "study/a-quasar-8-16-32.json")
    drawn: dict[str, Any] = {}
    for name in ("table3_figure", "panels_figure", "ablation_figure", "coverage_figure"):
        monkeypatch.setattr(study, name, lambda *given, name=name: drawn.setdefault(name, given))
    draw_study(copied.root)
    assert [row["name"] for row in drawn["table3_figure"][0]] == ["clump-8-16-32", "a-quasar-8-16-32"]
    assert set(drawn["panels_figure"][0]) == {"clump-8-16-32"}
    assert set(drawn["coverage_figure"][0]) == {"clump-8-16-32", "period-axis"}
    rows = drawn["ablation_figure"][0]
    scores = json.loads((metrics / "periods/period-axis.json").read_text())["tests"]["clump/paper"]
    (ours,) = (row for row in rows if row["variant"] == "period-axis")
    assert (ours["group"], ours["within_10pct"]) == ("others", scores["within_10pct"])
    groups = list(dict.fromkeys(row["group"] for row in rows))
    assert groups == ["networks of images", "others", "simple methods"]


def test_nothing_measured_is_an_error_that_says_what_measures(project: Any, tmp_path: Path) -> None:
    shutil.copy(project.root / "params.yaml", tmp_path)
    with pytest.raises(DataError, match=r"metrics: nothing has been evaluated; `make repro` or `make study` does"):
        draw_study(tmp_path)
