"""Figures of one star show what was given to them."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varistar.figures.examples import injection_figure, statistics_figure
from varistar.figures.style import save_figure

RNG = np.random.default_rng(4)
TIME = np.sort(RNG.uniform(58500, 60300, 400))
TEMPLATE = RNG.normal(10, 0.2, 400)
SPOTS = 1 + 0.1 * np.sin(TIME)
EDGES = np.geomspace(0.5, 60, 41)
CHANNELS = {
    "sum": np.arange(40, dtype=np.uint8),
    "mean_logarithm": np.arange(100, 20, -2, dtype=np.uint8),
    "points": np.full(40, 146, np.uint8),
}
PROBABILITIES = np.r_[np.full(10, 0.01), np.full(10, 0.09)]
ANSWER = {"period": 12.3, "period_low": 9.0, "period_high": 15.0, "p_within_10pct": 0.42}


def injection(template: np.ndarray = TEMPLATE) -> Figure:
    return injection_figure(TIME, template, SPOTS, template * SPOTS, "a star", unit="counts")


def statistics(true_period: float | None = 11.0) -> Figure:
    flux = TEMPLATE / 10
    return statistics_figure(
        TIME, flux, CHANNELS, EDGES, PROBABILITIES, (1.0, 30.0), ANSWER, true_period, "a star"
    )  # fmt: skip


def labels(panel: Axes) -> dict[str, object]:
    handles, names = panel.get_legend_handles_labels()
    return dict(zip(names, handles, strict=True))


def test_four_rows_of_an_injection() -> None:
    panels = injection().axes
    fluxes = (TEMPLATE, SPOTS, TEMPLATE * SPOTS, TEMPLATE * SPOTS - TEMPLATE)
    for panel, flux in zip(panels, fluxes, strict=True):
        np.testing.assert_array_equal(panel.lines[0].get_xydata(), np.column_stack([TIME, flux]))
        assert all(not len(line.get_xdata()) for line in panel.lines[1:]), "nothing is out of the axis"
        low, high = panel.get_ylim()
        assert low < flux.min() and flux.max() < high
    assert [panel.get_ylabel() for panel in panels] == [
        "flux [counts]", "relative flux", "flux [counts]", "flux [counts]",
    ]  # fmt: skip
    assert panels[0].get_ylim() == panels[2].get_ylim(), "the light curves can be compared"
    assert len({panel.get_xlim() for panel in panels}) == 1


def test_outliers_stand_at_the_end_of_the_axis() -> None:
    template = TEMPLATE.copy()
    template[[7, 9]] = 500, -300
    panel = injection(template).axes[0]
    kept, above, below = panel.lines
    assert len(kept.get_xdata()) == 398
    assert (above.get_marker(), list(above.get_xdata())) == ("^", [TIME[7]])
    assert (below.get_marker(), list(below.get_xdata())) == ("v", [TIME[9]])
    low, high = panel.get_ylim()
    assert 5 < low < below.get_ydata()[0] < above.get_ydata()[0] < high < 15


def test_a_constant_star_has_an_axis() -> None:
    panel = injection_figure(TIME, np.full(400, 3.0), np.ones(400), np.full(400, 3.0), "constant").axes[0]
    low, high = panel.get_ylim()
    assert low < 3 < high
    assert len(panel.lines[0].get_xdata()) == 400


def test_channels_are_stretched_and_their_levels_told() -> None:
    _, seen, _ = statistics().axes
    mesh = seen.collections[0]
    colors = np.asarray(mesh.get_array()).reshape(3, 40)
    np.testing.assert_allclose(colors[0], np.arange(40) / 39)
    np.testing.assert_allclose(colors[1], 1 - np.arange(40) / 39)
    assert (colors[2] == colors[2, 0]).all()
    named = dict(zip((tick.get_text() for tick in seen.get_yticklabels()), seen.get_yticks(), strict=True))
    assert named == {"sum: 0 to 39": 0.5, "mean logarithm: 22 to 100": 1.5, "points: 146": 2.5}
    assert seen.yaxis_inverted(), "the first channel stands on top"
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], EDGES)


def test_the_distribution_and_what_is_read_off_it() -> None:
    _, seen, said = statistics().axes
    drawn = labels(said)
    values, edges, _ = drawn["predicted distribution"].get_data()
    np.testing.assert_allclose(edges[[0, 10, 20]], [1, np.sqrt(30), 30])
    assert (values * np.diff(np.log(edges))).sum() == pytest.approx(1)
    assert values[-1] / values[0] == pytest.approx(9)
    assert set(drawn["answer: 12.30 d, right with p = 0.42"].get_xdata()) == {12.3}
    assert set(drawn["true: 11.00 d"].get_xdata()) == {11.0}
    span = drawn["central 68%"]
    assert (span.get_x(), span.get_x() + span.get_width()) == (9, 15)
    assert [set(line.get_xdata()) for line in seen.lines] == [{11.0}]
    assert seen.get_xlim() == said.get_xlim() == (EDGES[0], EDGES[-1])
    assert seen.get_xscale() == said.get_xscale() == "log"


def test_a_star_without_a_known_period() -> None:
    _, seen, said = statistics(None).axes
    assert not seen.lines
    assert not any(label.startswith("true") for label in labels(said))


@pytest.mark.parametrize("draw", [injection, statistics])
def test_nothing_is_cut_off_and_equal_figures_are_equal_files(draw: object, tmp_path: Path) -> None:
    figure = draw()
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    for i, box in enumerate(boxes):
        assert page.containsx(box.x0) and page.containsx(box.x1)
        assert page.containsy(box.y0) and page.containsy(box.y1)
        assert not any(box.padded(-2).overlaps(other) for other in boxes[:i]), "nothing overlaps"
    for name, drawn in (("a.png", figure), ("b.png", draw())):
        save_figure(drawn, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
