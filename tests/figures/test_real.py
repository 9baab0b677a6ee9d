"""The figure of real stars shows where each answer lies."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from varistar.figures.real import agreement_figure
from varistar.figures.style import ACCENT, SECOND, save_figure

PUBLISHED = np.array([0.97, 1.4, 5.0, 19.0])
MEASURED = {"network": np.array([28.0, 3.5, 5.1, 21.5]), "Lomb-Scargle": np.array([1.03, 1.4, 5.0, 19.0])}


def test_every_answer_stands_in_its_panel_and_right_ones_are_coloured() -> None:
    panels = agreement_figure(PUBLISHED, MEASURED, "title").axes
    assert [panel.get_title() for panel in panels] == ["network: 1 of 4", "Lomb-Scargle: 4 of 4"]
    for panel, period, right in zip(panels, MEASURED.values(), ([0, 0, 1, 0], [1, 1, 1, 1]), strict=True):
        (points,) = [drawn for drawn in panel.collections if len(drawn.get_offsets()) == len(PUBLISHED)]
        np.testing.assert_array_equal(points.get_offsets(), np.column_stack([PUBLISHED, period]))
        expected = [to_rgba(ACCENT if one else SECOND) for one in right]
        np.testing.assert_allclose(points.get_facecolors(), expected)


def test_guides_are_harmonics_and_aliases() -> None:
    (panel, _) = agreement_figure(PUBLISHED, MEASURED, "title").axes
    half, double, minus, plus = (line.get_data() for line in panel.lines)
    np.testing.assert_allclose(half[1], half[0] / 2)
    np.testing.assert_allclose(double[1], 2 * double[0])
    for (true, alias), day in ((minus, -1), (plus, 1)):
        np.testing.assert_allclose(1 / alias, np.abs(1 / true + day), atol=1e-8)


def test_all_answers_are_inside_the_axes() -> None:
    for panel in agreement_figure(PUBLISHED, MEASURED, "title").axes:
        for low, high in (panel.get_xlim(), panel.get_ylim()):
            assert low < 0.97
            assert high > 28.0


@pytest.mark.parametrize("methods", [1, 3])
def test_equal_figures_are_equal_files(tmp_path: Path, methods: int) -> None:
    measured = {f"method {number}": PUBLISHED for number in range(methods)}
    for name in ("one.png", "other.png"):
        save_figure(agreement_figure(PUBLISHED, measured, "title"), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
