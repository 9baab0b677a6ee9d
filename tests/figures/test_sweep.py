"""Figures of sweeps show what their tables hold, of any number of trials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from varistar.figures.style import save_figure
from varistar.figures.sweep import Objective, compromise_figure, history_figure, importance_figure

ACCURACY = Objective("accuracy", "how right", "maximize")
COST = Objective("cost", "how dear", "minimize")

TRIALS = pl.DataFrame(
    {
        "trial": [0, 1, 2, 3, 4, 5, 6],
        "state": ["completed", "killed", "pruned", "completed", "completed", "failed", "completed"],
        "own": [True, False, False, False, False, False, False],
        "best": [False, False, False, True, True, False, False],
        "accuracy": [0.5, None, None, 0.7, 0.6, None, 0.4],
        "cost": [9.0, None, None, 8.0, 2.0, None, 5.0],
    }
)
SHARES = pl.DataFrame({"key": ["rate", "width"], "accuracy": [0.8, 0.2], "cost": [0.1, 0.9]})
NONE = TRIALS.clear()

FIGURES: dict[str, Callable[[], Figure]] = {
    "history": lambda: history_figure(TRIALS, [ACCURACY, COST], "title"),
    "history of one": lambda: history_figure(TRIALS[:1], [ACCURACY], "title"),
    "history of none": lambda: history_figure(NONE, [ACCURACY], "title"),
    "importance": lambda: importance_figure(SHARES, 20, [ACCURACY, COST], "title"),
    "importance of too few": lambda: importance_figure(SHARES.clear(), 3, [ACCURACY], "title"),
    "compromise": lambda: compromise_figure(TRIALS, (ACCURACY, COST), "title"),
    "compromise of none": lambda: compromise_figure(NONE, (ACCURACY, COST), "title"),
}


def lines_of(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.lines}


def test_every_trial_is_in_the_history() -> None:
    accuracy, cost = history_figure(TRIALS, [ACCURACY, COST], "hill").axes
    for panel, column in ((accuracy, "accuracy"), (cost, "cost")):
        lines = lines_of(panel)
        np.testing.assert_array_equal(lines["completed"].get_xdata(), [0, 3, 4, 6])
        np.testing.assert_array_equal(lines["completed"].get_ydata(), TRIALS[column].drop_nulls())
        shown = {label: list(lines[label].get_xdata()) for label in ("pruned", "failed", "killed, run again")}
        assert shown == {"pruned": [2], "failed": [5], "killed, run again": [1]}
        assert set(lines["own values"].get_ydata()) == {TRIALS[column][0]}
    np.testing.assert_array_equal(lines_of(accuracy)["best so far"].get_ydata(), [0.5, 0.7, 0.7, 0.7])
    np.testing.assert_array_equal(lines_of(cost)["best so far"].get_ydata(), [9.0, 8.0, 2.0, 2.0])


def test_what_has_no_value_stands_at_the_foot_whatever_the_values() -> None:
    for scale in (1.0, 1e6):
        (panel,) = history_figure(TRIALS.with_columns(pl.col("accuracy") * scale), [ACCURACY], "hill").axes
        low, high = panel.get_ylim()
        assert 0.3 * scale < low and high < 0.8 * scale, "the axis spans the values alone"
        mark = lines_of(panel)["pruned"]
        place = mark.get_transform().transform(np.column_stack(mark.get_data()))
        assert 0 < panel.transAxes.inverted().transform(place)[0, 1] < 0.1


def test_the_order_of_rows_does_not_matter() -> None:
    (panel,) = history_figure(TRIALS.reverse(), [ACCURACY], "hill").axes
    np.testing.assert_array_equal(lines_of(panel)["best so far"].get_ydata(), [0.5, 0.7, 0.7, 0.7])


def test_shares_are_bars_in_their_order() -> None:
    accuracy, cost = importance_figure(SHARES, 20, [ACCURACY, COST], "hill").axes
    assert [bar.get_width() for bar in accuracy.patches] == [0.8, 0.2]
    assert [bar.get_width() for bar in cost.patches] == [0.1, 0.9]
    for panel in (accuracy, cost):
        assert [label.get_text() for label in panel.get_yticklabels()] == ["rate", "width"]
    assert accuracy.yaxis_inverted() and cost.yaxis_inverted()
    assert {text.get_text() for text in accuracy.texts} == {"80%", "20%"}


def test_a_word_stands_where_nothing_can_be_said() -> None:
    few = importance_figure(SHARES.clear(), 3, [ACCURACY], "hill")
    assert few.axes[0].texts[0].get_text() == "3 completed trials are too few to say"
    assert "3 completed trials" in few.get_suptitle()
    constant = SHARES.with_columns(accuracy=pl.lit(None, pl.Float64))
    accuracy, cost = importance_figure(constant, 20, [ACCURACY, COST], "hill").axes
    assert [text.get_text() for text in accuracy.texts] == ["all trials scored the same"]
    assert [text.get_text() for text in cost.texts] == ["10%", "90%"]
    assert [label.get_text() for label in cost.get_yticklabels()] == ["rate", "width"]


def test_compromises_are_joined_and_numbered() -> None:
    (panel,) = compromise_figure(TRIALS, (ACCURACY, COST), "hill").axes
    lines = lines_of(panel)
    assert len(lines["completed"].get_xdata()) == 4
    np.testing.assert_array_equal(lines["compromises"].get_xdata(), [2.0, 8.0])
    np.testing.assert_array_equal(lines["compromises"].get_ydata(), [0.6, 0.7])
    assert [text.get_text() for text in panel.texts] == ["4", "3"]
    np.testing.assert_array_equal(lines["own values"].get_data(), [[9.0], [0.5]])
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("how dear", "how right")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("error")
def test_figures_are_drawn_without_warnings_and_alike(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        save_figure(FIGURES[name](), path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 5_000
