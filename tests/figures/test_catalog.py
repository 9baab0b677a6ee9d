"""The figure of a catalog's completeness shows what its tables hold."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varistar.figures.catalog import SCORES, TITLES, completeness_figure
from varistar.figures.style import save_figure

CLASSES = ("1:1", "1:2", "2:1", "1:3", "3:1", "alias", "other")
CONFUSION = {
    "in_range": dict(zip(CLASSES, (80, 2, 0, 0, 1, 6, 9), strict=True)),
    "out_of_range": dict(zip(CLASSES, (0, 1, 0, 0, 0, 0, 20), strict=True)),
}


def row(dimension: str, name: str, n_with_period: int, n_reported: int, n_right: int) -> dict[str, object]:
    completeness = n_right / n_with_period if n_with_period else None
    purity = n_right / n_reported if n_reported else None
    counts = {"n_stars": 50, "n_with_period": n_with_period, "n_in_catalog": 40, "n_reported": n_reported}
    ends = {
        f"{name}_{end}": value for name in ("completeness", "purity") for end, value in (("low", 0.1), ("high", 0.9))
    }
    return {"dimension": dimension, "bin": name, **counts, "completeness": completeness, "purity": purity, **ends}


# In every dimension: a bin where some are right, one that reports none, one where no period can be right.
BINS = (("some", 20, 16, 12), ("silent", 10, 0, 0), ("all false", 0, 8, 0))
GROUPS = pl.DataFrame([row(dimension, *numbers) for dimension in TITLES for numbers in BINS])
CURVES = pl.concat(
    pl.DataFrame({"score": score, "completeness": np.linspace(0, 0.4 + i / 10, 30), "purity": np.linspace(1, 0.1, 30)})
    for i, score in enumerate(SCORES)
)


def draw(groups: pl.DataFrame = GROUPS, curves: pl.DataFrame = CURVES) -> Figure:
    return completeness_figure(groups, curves, CONFUSION, "a catalog")


def points(panel: Axes, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in panel.lines if line.get_marker() == marker and len(line.get_xdata())]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


def test_fractions_stand_beside_the_middle_of_their_bin() -> None:
    panels = dict(zip(TITLES, draw().axes, strict=False))
    for dimension, panel in panels.items():
        assert panel.get_title() == TITLES[dimension]
        assert [label.get_text() for label in panel.get_xticklabels()] == ["some (50)", "silent (50)", "all false (50)"]
        completeness = [(-0.12, 0.6), (0.88, 0.0)] if dimension != "measured_period" else []
        np.testing.assert_allclose(points(panel, "o"), [*completeness, (0.12, 0.75)])
        assert points(panel, "x") == [(2.0, 0.2)], "8 of 40 rows are reported, none of them can be right"
        bars = [tuple(line.get_ydata()) for line in panel.lines if line.get_marker() == "None"]
        assert bars == [(0.1, 0.9)] * (len(completeness) + 1)


def test_curves_and_confusion() -> None:
    *_, curves, confusion = draw().axes
    lines = {line.get_label(): line for line in curves.lines}
    for score, (color, label) in SCORES.items():
        table = CURVES.filter(pl.col("score") == score)
        np.testing.assert_array_equal(lines[label].get_xydata(), table.select("completeness", "purity"))
        assert lines[label].get_color() == color
    assert [label.get_text() for label in confusion.get_xticklabels()] == list(CLASSES)
    heights = [bar.get_height() for bar in confusion.patches]
    assert heights == [*CONFUSION["in_range"].values(), *CONFUSION["out_of_range"].values()]
    assert [bar.get_y() for bar in confusion.patches[7:]] == list(CONFUSION["in_range"].values())
    assert confusion.get_ylim()[1] > 80, "no bar is cut off"


def test_the_legend_tells_colours_and_marks() -> None:
    figure = draw()
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["completeness", "purity", "all false"]
    drawn = {line.get_color() for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert drawn == {line.get_color() for line in legend.get_lines()} and len(drawn) == 3


@pytest.mark.parametrize("case", ["all", "without bins", "without anything"])
def test_nothing_is_cut_off_and_equal_figures_are_equal_files(case: str, tmp_path: Path) -> None:
    groups = GROUPS if case == "all" else GROUPS.filter(pl.col("dimension") == "period")
    curves = CURVES.clear() if case == "without anything" else CURVES
    groups = groups.clear() if case == "without anything" else groups
    figure = draw(groups, curves)
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    boxes = [panel.get_tightbbox() for panel in figure.axes] + [figure.legends[0].get_window_extent()]
    for i, box in enumerate(boxes):
        assert page.containsx(box.x0) and page.containsx(box.x1)
        assert page.containsy(box.y0) and page.containsy(box.y1)
        assert not any(box.padded(-2).overlaps(other) for other in boxes[:i]), "nothing overlaps"
    for name, drawn in (("a.png", figure), ("b.png", draw(groups, curves))):
        save_figure(drawn, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
