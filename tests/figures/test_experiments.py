"""The figures of the experiments show what their tables hold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.stats import binomtest

from varistar.figures.experiments import (
    FRACTIONS,
    GUIDES,
    METRICS,
    SIGMAS,
    ablation_figure,
    coverage_figure,
    learning_figure,
    panels_figure,
    reliability_figure,
    table3_figure,
    thresholds_figure,
)
from varistar.figures.style import ACCENT, INK, QUIET, SECOND, save_figure

SUREST = "within_10pct_at_19.8pct_coverage"


def stars(n: int, seed: int = 0, sigma: float | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    true = rng.uniform(1, 30, n)
    period = true * np.where(rng.random(n) < 0.6, rng.uniform(0.93, 1.07, n), rng.uniform(0.3, 3, n))
    spread = np.full(n, sigma) if sigma else period * rng.uniform(0.05, 0.6, n)
    return pl.DataFrame({"true_period": true, "period": period, "sigma": spread})


def curve(n: int, accuracy: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    taken = np.arange(1, n + 1)
    return taken / n, np.cumsum(np.random.default_rng(seed).random(n) < accuracy) / taken


TABLES = {"(a) quasar": stars(300), "(b) clump": stars(200, 1), "(c) none": stars(100, 2, sigma=1e3)}
ROWS = [
    {"name": "(a)", "published": 0.0381, "coverage": [0.03, 0.05, 0.031], "trusted_within_10pct": [0.6, None, 0.7]},
    {"name": "(e)", "published": 0.1982, "coverage": [0.31], "trusted_within_10pct": [0.8]},
    {"name": "(i)", "published": 0.0018, "coverage": [0.0, 0.0], "trusted_within_10pct": [None, None]},
    {"name": "(k)", "published": 0.0019, "coverage": [], "trusted_within_10pct": []},
]
CURVES = {"network": curve(400, 0.8, 0), "simple method": curve(300, 0.4, 1), "few stars": curve(15, 0.5, 2)}
BINS = [
    {"n": 50, "predicted": 0.15, "right": 0.2, "right_interval": (0.11, 0.33)},
    {"n": 50, "predicted": 0.7, "right": 0.66, "right_interval": (0.52, 0.78)},
]
PS = np.r_[np.full(50, 0.17), np.full(50, 0.72), np.nan]
PIT = np.array([30, 10, 20, 40])
POINTS = [
    {"method": "image", "examples": 10_000, "templates": "all", "within_10pct": 0.4,
     "within_10pct_interval": (0.38, 0.42), SUREST: 0.7, f"{SUREST}_interval": (0.6, 0.8)},
    {"method": "image", "examples": 1_000, "templates": "all", "within_10pct": 0.3},
    {"method": "image", "examples": 100_000, "templates": "few", "within_10pct": 0.35, SUREST: None},
    {"method": "statistics", "examples": 1_000, "templates": "all", "within_10pct": 0.5},
]  # fmt: skip
VARIANTS = [
    {"group": "simple", "variant": "Lomb-Scargle", "baseline": True, "within_10pct": 0.2,
     "within_10pct_interval": (0.18, 0.22), SUREST: None},
    {"group": "head", "variant": "laplace", "baseline": False, "within_10pct": 0.3, SUREST: 0.5},
    {"group": "simple", "variant": "constant", "baseline": True, "within_10pct": 0.1},
    {"group": "head", "variant": "histogram", "baseline": False, "within_10pct": 0.35,
     "within_10pct_interval": (0.33, 0.38), SUREST: 0.6, f"{SUREST}_interval": (0.5, 0.7)},
]  # fmt: skip


def thresholds(table: pl.DataFrame) -> Figure:
    sigma, period, true = (table[name].to_numpy() for name in ("sigma", "period", "true_period"))
    return thresholds_figure(sigma, period, true, "title")


FIGURES: dict[str, Callable[[], Figure]] = {
    "panels": lambda: panels_figure(TABLES, dict.fromkeys(TABLES, "published 19.82%, here 10.2%"), "title"),
    "panels of twelve": lambda: panels_figure({str(k): stars(40, k) for k in range(12)}, {"3": "a"}, "title"),
    "panels of none": lambda: panels_figure({"empty": stars(0)}, {}, "title"),
    "table 3": lambda: table3_figure(ROWS, "title"),
    "coverage": lambda: coverage_figure(CURVES, "title"),
    "coverage of none": lambda: coverage_figure({}, "title"),
    "reliability": lambda: reliability_figure(BINS, PS, PIT, "title"),
    "reliability of none": lambda: reliability_figure([], [], np.zeros(10, dtype=int), "title"),
    "thresholds": lambda: thresholds(stars(500)),
    "thresholds of none": lambda: thresholds(stars(0)),
    "learning": lambda: learning_figure(POINTS, "title"),
    "learning of one": lambda: learning_figure(POINTS[:1], "title"),
    "learning of none": lambda: learning_figure([], "title"),
    "ablation": lambda: ablation_figure(VARIANTS, "title", "laplace"),
    "ablation of one": lambda: ablation_figure(VARIANTS[:1], "title"),
    "ablation of none": lambda: ablation_figure([], "title"),
}


def lines_of(panel: Axes, color: str, marker: str = "None") -> list[np.ndarray]:
    chosen = [line for line in panel.lines if line.get_color() == color and line.get_marker() == marker]
    return [np.asarray(line.get_xydata()) for line in chosen if len(line.get_xdata())]


def scattered(panel: Axes) -> PathCollection:
    (found,) = (collection for collection in panel.collections if isinstance(collection, PathCollection))
    return found


def test_trusted_stars_stand_over_all() -> None:
    panels = panels_figure(TABLES, {"(a) quasar": "published 3.81%"}, "title").axes
    assert [panel.get_title() for panel in panels] == ["(a) quasar\npublished 3.81%", "(b) clump", "(c) none"]
    for panel, table in zip(panels, TABLES.values(), strict=True):
        trusted = table.filter(table["sigma"] / table["period"] < 0.25)
        points = scattered(panel)
        shown = trusted.select("true_period", pl.col("period").clip(upper_bound=0.99 * 31))
        np.testing.assert_allclose(np.asarray(points.get_offsets()), shown)
        right = (trusted["period"] / trusted["true_period"] - 1).abs() <= 0.1
        assert [tuple(color[:3]) for color in np.asarray(points.get_facecolors())] == [
            to_rgba(ACCENT if good else SECOND)[:3] for good in right
        ]
        assert panel.texts[0].get_text() == f"{trusted.height} of {table.height} trusted"
        density = np.asarray(panel.collections[0].get_array())
        assert (density**2).sum() == pytest.approx(table.height), "every star is in the density"
        assert panel.get_xlim() == panel.get_ylim() == (0, 31)
    assert not len(scattered(panels[2]).get_offsets())


def test_density_is_not_transposed() -> None:
    table = pl.DataFrame({"true_period": [5.0], "period": [25.0], "sigma": [50.0]})
    (panel,) = panels_figure({"one": table}, {}, "title").axes
    density = np.asarray(panel.collections[0].get_array()).reshape(36, 36)
    ((row, column),) = np.argwhere(density)
    assert (row, column) == (int(25 / 31 * 36), int(5 / 31 * 36)), "periods upwards, truths to the right"


def test_stars_without_a_truth_are_left_out() -> None:
    table = pl.DataFrame({"true_period": [5.0, None, np.nan], "period": [5.0] * 3, "sigma": [0.1] * 3})
    (panel,) = panels_figure({"one": table}, {}, "title").axes
    assert panel.texts[0].get_text() == "1 of 1 trusted"


def test_more_panels_than_rows_hold() -> None:
    panels = FIGURES["panels of twelve"]().axes
    assert [panel.get_title() for panel in panels] == ["0", "1", "2", "3\na", *map(str, range(4, 12))]
    assert len({round(panel.get_position().x0, 3) for panel in panels}) == 4
    five = panels_figure({str(k): stars(5, k) for k in range(5)}, {}, "title").axes
    assert [panel.axison for panel in five] == [True] * 5 + [False] * 3
    assert [bool(panel.get_xlabel()) for panel in five[:5]] == [False, True, True, True, True]


def test_published_against_ours() -> None:
    efficiency, accuracy = table3_figure(ROWS, "title").axes
    np.testing.assert_allclose(
        np.concatenate(lines_of(efficiency, ACCENT, "o")),
        [[3, 0], [5, 0], [3.1, 0], [3.1, 0], [31, 1], [31, 1], [0, 2], [0, 2], [0, 2]],
        err_msg="every seed, then their median",
    )
    np.testing.assert_allclose(lines_of(efficiency, ACCENT)[0], [[3, 0], [5, 0]], err_msg="their range")
    published = [
        line.get_xydata()[0] for line in efficiency.lines if line.get_marker() == "D" and len(line.get_xdata())
    ]
    np.testing.assert_allclose(published, [[3.81, 0], [19.82, 1], [0.18, 2], [0.19, 3]])
    np.testing.assert_allclose(lines_of(efficiency, QUIET)[1], [[19.82, 1], [31, 1]], err_msg="published to ours")
    np.testing.assert_allclose(
        np.concatenate(lines_of(accuracy, ACCENT, "o")), [[60, 0], [70, 0], [65, 0], [80, 1], [80, 1]]
    )
    said = {text.get_position()[1]: text.get_text() for text in accuracy.texts}
    assert said == {2: "no trusted star", 3: "not run"}
    assert [tick.get_text() for tick in efficiency.get_yticklabels()] == ["(a)", "(e)", "(i)", "(k)"]
    assert efficiency.get_ylim() == accuracy.get_ylim() == (3.5, -0.5)
    assert efficiency.get_xlim()[1] > 31


def test_curves_begin_at_their_twentieth_star() -> None:
    figure = coverage_figure(CURVES, "title")
    (panel,) = figure.axes
    drawn = {line.get_label(): line for line in panel.lines}
    for name, (coverage, accuracy) in CURVES.items():
        shown = np.column_stack([coverage, accuracy])[19:]
        np.testing.assert_allclose(drawn[name].get_xydata(), 100 * shown.reshape(-1, 2))
    assert len({drawn[name].get_color() for name in CURVES}) == 3
    flat = [line.get_ydata()[0] for line in panel.lines if list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(flat, [100 * guide for guide in GUIDES])
    assert [text.get_text() for text in panel.texts] == ["71%", "88%", "90%", "95%"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CURVES)


def test_bands_are_wilson_intervals() -> None:
    coverage, accuracy = CURVES["network"]
    (panel,) = coverage_figure({"network": (coverage, accuracy)}, "title").axes
    band = np.asarray(panel.collections[0].get_paths()[0].vertices)
    for k in (20, 57, 400):
        interval = binomtest(round(accuracy[k - 1] * k), k).proportion_ci(0.95, method="wilson")
        at = band[np.isclose(band[:, 0], 100 * coverage[k - 1]), 1]
        np.testing.assert_allclose([at.min(), at.max()], [100 * interval.low, 100 * interval.high], rtol=1e-6)


def test_more_methods_than_colours_differ() -> None:
    figure = coverage_figure({str(k): curve(30, 0.5, k) for k in range(13)}, "title")
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.legends[0].get_lines()}
    assert len(looks) == 13


def test_reliability_and_its_histogram() -> None:
    kept, flat = reliability_figure(BINS, PS, PIT, "title").axes
    np.testing.assert_allclose(lines_of(kept, ACCENT, "o")[0], [[0.15, 0.2], [0.7, 0.66]])
    np.testing.assert_allclose(lines_of(kept, ACCENT), [[[0.15, 0.11], [0.15, 0.33]], [[0.7, 0.52], [0.7, 0.78]]])
    bars = {round(bar.get_x(), 2): bar.get_height() for bar in kept.patches if bar.get_height()}
    assert bars == {0.15: pytest.approx(0.2), 0.7: pytest.approx(0.2)}
    assert "histogram of the predicted (100 stars)" in kept.get_legend_handles_labels()[1]
    *counts, band = flat.patches
    assert [bar.get_height() for bar in counts] == list(PIT)
    assert [bar.get_x() for bar in counts] == [0, 0.25, 0.5, 0.75]
    assert set(flat.lines[0].get_ydata()) == {25.0}
    assert (band.get_y() + band.get_height() / 2, band.get_height()) == (25, pytest.approx(2 * 1.96 * 18.75**0.5))
    assert flat.get_ylim()[1] > 40, "no bar is cut off"


def test_thresholds_are_those_of_the_paper() -> None:
    assert len(SIGMAS) == len(FRACTIONS) == 58
    table = stars(500)
    table = pl.concat([table, table[:20].with_columns(true_period=pl.lit(np.nan))])
    known = table.filter(table["true_period"].is_not_nan())
    for panel, limits, quantity in zip(
        thresholds(table).axes, (SIGMAS, FRACTIONS), (known["sigma"], known["sigma"] / known["period"]), strict=True
    ):
        kept, accuracy, marked = panel.lines
        for place in (3, 8, 57):
            taken = known.filter(quantity < limits[place])
            right = ((taken["period"] / taken["true_period"] - 1).abs() <= 0.1).sum()
            assert kept.get_ydata()[place] == pytest.approx(100 * taken.height / 500)
            assert accuracy.get_ydata()[place] == pytest.approx(100 * right / taken.height)
        np.testing.assert_array_equal(kept.get_xdata(), limits)
        cut = marked.get_xdata()[0]
        assert panel.get_title() == f"below {cut:.3g}: {(quantity < cut).sum()} stars"
    on_sigma, on_fraction = (panel.lines[2].get_xdata()[0] for panel in thresholds(table).axes)
    trusted = (known["sigma"] / known["period"] < 0.25).sum()
    away = [abs((known["sigma"] < limit).sum() - trusted) for limit in SIGMAS]
    assert on_fraction == 0.25
    assert abs((known["sigma"] < on_sigma).sum() - trusted) == min(away), "as many stars as the paper's threshold"


def test_where_no_star_is_kept_nothing_is_right_or_wrong() -> None:
    for panel in thresholds(stars(50, sigma=1e3)).axes:
        kept, accuracy, _ = panel.lines
        assert (np.asarray(kept.get_ydata()) == 0).all()
        assert np.isnan(accuracy.get_ydata()).all()


def test_learning_by_method_and_templates() -> None:
    figure = learning_figure(POINTS, "title")
    accuracy, surest = figure.axes
    image, statistics = ACCENT, SECOND
    np.testing.assert_allclose(lines_of(accuracy, image, "o"), [[[1_000, 30], [10_000, 40]]])
    np.testing.assert_allclose(lines_of(accuracy, image, "s"), [[[100_000, 35]]])
    np.testing.assert_allclose(lines_of(accuracy, statistics, "o"), [[[1_000, 50]]])
    np.testing.assert_allclose(lines_of(surest, image, "o"), [[[10_000, 70]]])
    assert not lines_of(surest, image, "s") and not lines_of(surest, statistics, "o")
    bars = [bar for bar in lines_of(accuracy, image) if np.isfinite(bar).all()]
    np.testing.assert_allclose(bars, [[[10_000, 38], [10_000, 42]]])
    np.testing.assert_allclose(lines_of(surest, image), [[[10_000, 60], [10_000, 80]]])
    assert accuracy.get_xscale() == surest.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "image", "statistics", "all templates", "few templates",
    ]  # fmt: skip


def test_variants_stand_in_their_groups() -> None:
    accuracy, surest = ablation_figure(VARIANTS, "title", "laplace").axes
    ticks = accuracy.get_yticklabels()
    assert [tick.get_text() for tick in ticks] == ["simple", "Lomb-Scargle", "constant", "head", "laplace", "histogram"]
    assert [tick.get_fontweight() == "bold" for tick in ticks] == [True, False, False, True, False, False]
    np.testing.assert_allclose(np.concatenate(lines_of(accuracy, QUIET, "o")), [[20, 1], [10, 2]])
    np.testing.assert_allclose(np.concatenate(lines_of(accuracy, ACCENT, "o")), [[30, 4], [35, 5]])
    np.testing.assert_allclose(np.concatenate(lines_of(surest, ACCENT, "o")), [[50, 4], [60, 5]])
    assert not lines_of(surest, QUIET, "o")
    np.testing.assert_allclose(lines_of(accuracy, QUIET)[0], [[18, 1], [22, 1]])
    np.testing.assert_allclose(lines_of(surest, ACCENT)[-1], [[50, 5], [70, 5]])
    for panel, value in ((accuracy, 30), (surest, 50)):
        ((low, high),) = lines_of(panel, INK)
        assert low[0] == high[0] == pytest.approx(value), "the reference"
    assert [panel.get_xlabel() for panel in (accuracy, surest)] == list(METRICS.values())
    assert accuracy.yaxis_inverted() and accuracy.get_ylim() == surest.get_ylim()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("error")
def test_nothing_is_cut_off_and_equal_figures_are_equal_files(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    for path, drawn in (("a.png", figure), ("b.png", FIGURES[name]())):
        save_figure(drawn, tmp_path / path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    page = figure.bbox.padded(1)
    boxes = [panel.get_tightbbox() for panel in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    for i, box in enumerate(boxes):
        assert page.containsx(box.x0) and page.containsx(box.x1)
        assert page.containsy(box.y0) and page.containsy(box.y1)
        assert not any(box.padded(-2).overlaps(other) for other in boxes[:i]), "nothing overlaps"
