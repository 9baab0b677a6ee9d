"""Figures show what their tables hold, and equal figures are equal files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from varistar.figures.periods import (
    comparison_figure,
    draw_guides,
    image_figure,
    loss_figure,
    predicted_figure,
    scaling_figure,
)
from varistar.figures.style import ACCENT, QUIET, new_figure, save_figure
from varistar.foundation.errors import DataError
from varistar.periods.representation import PeriodGrid, Representation

HISTORY = pl.DataFrame(
    {
        "epoch": range(6),
        "train_loss": [3.0, 2.0, 1.5, 1.2, 1.0, 0.9],
        "validation_loss": [3.1, 2.2, 1.8, 1.7, 1.9, 2.0],
        "validation_within_10pct": [0.1, 0.2, 0.25, 0.3, 0.29, 0.31],
    }
)
MEMBERS = pl.concat(
    HISTORY.with_columns(pl.col("validation_loss").shift(shift, fill_value=3.0), member=pl.lit(member))
    for member, shift in enumerate((0, 2))
)


def measured(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(n)
    true = rng.uniform(1, 30, n)
    period = true * np.where(rng.random(n) < 0.6, rng.uniform(0.92, 1.08, n), rng.uniform(0.3, 3, n))
    return pl.DataFrame({"true_period": true, "period": period, "sigma": period * rng.uniform(0.05, 0.6, n)})


def sine_images(draw: str = "image") -> Figure:
    time = np.linspace(100.0, 900.0, 400)
    images = {}
    for name, spacing in (("paper", "linear"), ("log", "log")):
        grid = PeriodGrid(minimum=1.0, maximum=30.0, count=32, spacing=spacing)  # type: ignore[arg-type]
        image = np.arange(16 * 20, dtype=np.uint8).reshape(16, 20)
        images[name] = (image, Representation(window=(0.0, 1000.0), nodes=40, periods=grid))
    if draw == "scaling":
        return scaling_figure(images, (100.0, 900.0), 2 * np.pi, "a sine")
    return image_figure(time, 1 + 0.1 * np.sin(time), images, 2 * np.pi, "a sine")


FIGURES: dict[str, Callable[[], Figure]] = {
    "loss": lambda: loss_figure(HISTORY, "title"),
    "loss of members": lambda: loss_figure(MEMBERS, "title"),
    "loss of one epoch": lambda: loss_figure(HISTORY[:1], "title"),
    "predicted": lambda: predicted_figure(measured(300), "title"),
    "predicted of none": lambda: predicted_figure(measured(0), "title"),
    "comparison": lambda: comparison_figure(SCORES, "title"),
    "comparison of one": lambda: comparison_figure({"best constant": SCORES["best constant"]}, "title"),
    "image": sine_images,
    "scaling": lambda: sine_images("scaling"),
}
SCORES = {
    "a network": {"within_10pct": 0.45, "within_10pct_interval": [0.4, 0.5], "coverage": 0.3},
    "another network": {"within_10pct": 0.35, "within_10pct_interval": [0.31, 0.4], "coverage": 0.2},
    "best constant": {"within_10pct": 0.1, "within_10pct_interval": [0.08, 0.13]},
}


def test_losses_and_their_best_epoch() -> None:
    loss, score = loss_figure(HISTORY, "clump").axes
    lines = {line.get_label(): line for line in loss.lines}
    np.testing.assert_array_equal(lines["training"].get_ydata(), HISTORY["train_loss"])
    np.testing.assert_array_equal(lines["validation"].get_ydata(), HISTORY["validation_loss"])
    np.testing.assert_array_equal(lines["validation"].get_xdata(), [1, 2, 3, 4, 5, 6])
    assert (*lines["best epoch"].get_xdata(), *lines["best epoch"].get_ydata()) == (4, 1.7)
    np.testing.assert_array_equal(score.lines[0].get_ydata(), HISTORY["validation_within_10pct"])


def test_every_member_has_its_lines_and_best_epoch() -> None:
    loss, score = loss_figure(MEMBERS, "clump").axes
    shown = [line for line in loss.lines if line.get_color() == ACCENT]
    first, second = MEMBERS.partition_by("member")
    for line, member in zip(shown, (first, second), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), member.select(pl.col("epoch") + 1, "validation_loss"))
    assert loss.get_xlim() == (0.5, 6.5), "epochs are counted within a member"
    best = [tuple(line.get_xydata()[0]) for line in loss.lines if line.get_marker() == "o"]
    assert best == [(4, 1.7), (6, 1.7)]
    assert [tuple(line.get_xydata()[0]) for line in score.lines if line.get_marker() == "o"] == [(4, 0.3), (6, 0.31)]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation", "best epoch"]
    assert shown[0].get_linewidth() < loss_figure(HISTORY, "clump").axes[0].lines[1].get_linewidth()


def test_guides_are_what_counts_as_right() -> None:
    _, (panel,) = new_figure(3, 3)
    draw_guides(panel, 40.0)
    assert [tuple(line.get_ydata()) for line in panel.lines] == [(0, 40), (0, 20), (0, 80)]
    band = panel.collections[0].get_paths()[0]
    assert band.contains_point((20, 21.9)) and band.contains_point((20, 18.1))
    assert not band.contains_point((20, 22.1)) and not band.contains_point((20, 17.9))


def test_epochs_are_whole_numbers() -> None:
    for history in (HISTORY[:1], HISTORY[:2], HISTORY):
        for panel in loss_figure(history, "clump").axes:
            assert all(tick == round(tick) for tick in panel.get_xticks())


def test_every_star_is_shown_and_counted() -> None:
    table = measured(300)
    panels = predicted_figure(table, "clump").axes
    trusted = table.filter(table["sigma"] / table["period"] < 0.25)
    assert 0 < trusted.height < table.height
    for panel, stars, label in zip(panels, (table, trusted), ("all", "sigma / P < 25%"), strict=True):
        right = (stars["period"] - stars["true_period"]).abs() <= 0.1 * stars["true_period"]
        assert panel.get_title() == f"{label}: {stars.height} stars, {right.mean():.1%} within 10%"
        inside, above = (c for c in panel.collections if isinstance(c, PathCollection))
        on_axis = stars.filter(pl.col("period") <= 31.0)
        np.testing.assert_array_equal(inside.get_offsets(), on_axis.select("true_period", "period"))
        beyond = stars.filter(pl.col("period") > 31.0)
        assert beyond.height > 0
        np.testing.assert_array_equal(above.get_offsets()[:, 0], beyond["true_period"])
        assert (above.get_offsets()[:, 1] < panel.get_ylim()[1]).all()
        colors = {tuple(color) for color in inside.get_facecolors()}
        assert len(colors) == 2, "right and wrong periods differ in colour"


def test_long_periods_stay_on_the_axis() -> None:
    table = pl.DataFrame({"true_period": [5.0, 80.0], "period": [5.0, 79.0], "sigma": [0.1, 0.1]})
    for panel in predicted_figure(table, "long").axes:
        assert panel.get_xlim() == panel.get_ylim() == (0, 80)


def test_no_stars_and_one() -> None:
    assert [panel.get_title() for panel in predicted_figure(measured(0), "none").axes] == [
        "all: 0 stars",
        "sigma / P < 25%: 0 stars",
    ]
    one = pl.DataFrame({"true_period": [5.0], "period": [5.0], "sigma": [4.0]})
    assert [panel.get_title() for panel in predicted_figure(one, "one").axes] == [
        "all: 1 star, 100.0% within 10%",
        "sigma / P < 25%: 0 stars",
    ]


def test_methods_in_their_order_with_their_intervals() -> None:
    figure = comparison_figure(SCORES, "clump test set")
    (panel,) = figure.axes
    assert [tick.get_text() for tick in panel.get_yticklabels()] == list(SCORES)
    assert panel.yaxis_inverted(), "the first method stands on top"
    bars = [bar for bar in panel.patches if bar.get_width() > 0]
    assert [bar.get_width() for bar in bars] == [0.45, 0.35, 0.1]
    assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == pytest.approx([0, 1, 2])
    assert [tuple(line.get_xdata()) for line in panel.lines] == [(0.4, 0.5), (0.31, 0.4), (0.08, 0.13)]
    assert [text.get_text() for text in panel.texts] == ["0.450", "0.350", "0.100"]
    assert bars[0].get_facecolor() == bars[1].get_facecolor() != bars[2].get_facecolor()
    legend = {
        t.get_text(): h.get_facecolor()
        for t, h in zip(*(figure.legends[0].texts, figure.legends[0].get_patches()), strict=True)
    }
    assert legend == {"network": bars[0].get_facecolor(), "simple method": bars[2].get_facecolor()}
    assert ACCENT != QUIET


def test_images_stand_on_their_own_axes() -> None:
    curve, paper, log = sine_images().axes
    assert curve.get_title() == "a sine"
    assert len(curve.lines[0].get_xdata()) == 400
    for panel, name in ((paper, "paper"), (log, "log")):
        assert name in panel.get_title()
        mesh = panel.collections[0]
        np.testing.assert_array_equal(np.asarray(mesh.get_array()).ravel(), np.arange(320, dtype=np.uint8))
        corners = mesh.get_coordinates()
        np.testing.assert_allclose(corners[0, [0, -1], 0], [0, 1000], err_msg="nodes span the window, not the star")
        np.testing.assert_allclose(corners[[0, -1], 0, 1], [1, 30])
        steps = np.diff(corners[:, 0, 1] if name == "paper" else np.log(corners[:, 0, 1]))
        np.testing.assert_allclose(steps, steps[0])
        assert set(panel.lines[0].get_ydata()) == {2 * np.pi}
    assert (paper.get_yscale(), log.get_yscale()) == ("linear", "log")


def test_scalings_share_their_colours() -> None:
    image = np.full((16, 20), 255, np.uint8)
    image[:4] = 0
    representation = Representation(window=None, nodes=40, periods=PeriodGrid(count=32))
    images = {"once": (image // 10, representation), "ten times": (image, representation)}
    once, ten = scaling_figure(images, (10.0, 50.0), 3.0, "one star").axes
    assert [panel.get_title() for panel in (once, ten)] == [
        "once\n0.0% of pixels at 255",
        "ten times\n75.0% of pixels at 255",
    ]
    for panel, (drawn, _) in zip((once, ten), images.values(), strict=True):
        mesh = panel.collections[0]
        np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(drawn.shape), drawn)
        assert mesh.get_clim() == (0, 255)
        np.testing.assert_allclose(mesh.get_coordinates()[0, [0, -1], 0], [10, 50])
        assert set(panel.lines[0].get_ydata()) == {3.0}


def test_an_image_without_a_window_spans_its_star() -> None:
    time = np.array([10.0, 20.0, 50.0])
    shown = (np.zeros((4, 4), np.uint8), Representation(window=None, nodes=8, periods=PeriodGrid(count=8)))
    _, panel = image_figure(time, np.ones(3), {"own": shown}, 3.0, "short").axes
    np.testing.assert_allclose(panel.collections[0].get_coordinates()[0, [0, -1], 0], [10, 50])


@pytest.mark.parametrize("name", FIGURES)
def test_equal_figures_are_equal_files(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    for path in ("a.png", "b.png"):
        save_figure(figure, tmp_path / path)
    save_figure(FIGURES[name](), tmp_path / "c.png")
    first, again, anew = ((tmp_path / path).read_bytes() for path in ("a.png", "b.png", "c.png"))
    assert first.startswith(b"\x89PNG") and len(first) > 5000
    assert first == again == anew
    assert b"Software" not in first and b"Creation" not in first
    assert plt.get_fignums() == [], "figures belong to no window"


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    boxes = [panel.get_tightbbox() for panel in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    for box in boxes:
        assert page.containsx(box.x0) and page.containsx(box.x1)
        assert page.containsy(box.y0) and page.containsy(box.y1)
    for i, box in enumerate(boxes):
        assert not any(box.padded(-2).overlaps(other) for other in boxes[:i]), "nothing overlaps"


def test_a_full_disk_leaves_the_old_figure(
    tmp_path: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    (tmp_path / "a.png").write_text("old")
    figure, _ = new_figure(3, 2)
    with small_disk(500), pytest.raises(DataError, match=r"a\.png: cannot be written: File too large"):
        save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_panels_come_row_by_row() -> None:
    figure, panels = new_figure(4, 6, columns=2, rows=3)
    assert len(panels) == 6
    corners = [panel.get_position() for panel in panels]
    assert corners[0].x0 < corners[1].x0 and corners[0].y0 == corners[1].y0 > corners[2].y0
    assert figure.get_size_inches().tolist() == [4, 6]
