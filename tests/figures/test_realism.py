"""The figures of realism show what their tables hold."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_curve

from varistar.figures.realism import TOP, overlays_figure, telltale_figure
from varistar.figures.style import save_figure


def overlays(n_real: int = 20) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(n_real)
    real, simulated = (
        pl.DataFrame({"gap": rng.lognormal(0, 1, n), "flat": np.ones(n), "memory": rng.normal(0, 0.1, n)})
        for n in (n_real, 60)
    )
    table = pl.DataFrame(
        {
            "quantity": ["gap", "flat", "memory"],
            "unit": ["d", "", ""],
            "scale": ["ratio", "ratio", "correlation"],
            "ks": [0.25, 0.0, 0.5],
            "alike": [True, None, False],
        }
    )
    return real, simulated, table


def verdict(n: int = 80) -> tuple[dict[str, pl.DataFrame], pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(n)
    is_real = np.arange(n) % 3 == 0
    scores = {
        name: pl.DataFrame({"is_real": is_real, "score": np.round(rng.random(n) + lift * is_real, 1)})
        for name, lift in (("stars", 0.5), ("seasons", 0.1))
    }
    names = [f"q{i}" for i in range(TOP + 5)]
    telltale = pl.DataFrame({"quantity": names, "importance": 0.0, "alone": np.linspace(0.1, 0.7, len(names))})
    return scores, telltale, pl.DataFrame({"group": ["cadence", "tails"], "alone": [0.9, 0.45]})


def test_every_star_stands_in_its_distribution() -> None:
    real, simulated, table = overlays()
    panels = overlays_figure(real, simulated, table).axes[:3]
    for panel, name in zip(panels, table["quantity"], strict=True):
        for line, sample in zip(panel.lines[:2], (simulated, real), strict=True):
            x, y = line.get_data()
            np.testing.assert_array_equal(x, np.sort(sample[name]))
            np.testing.assert_allclose(y, np.arange(1, sample.height + 1) / sample.height)
    assert [panel.get_title() for panel in panels] == ["gap [d]", "flat", "memory"]
    assert [panel.get_xscale() for panel in panels] == ["log", "linear", "linear"]
    assert panels[2].title.get_color() != panels[0].title.get_color() == panels[1].title.get_color()


def test_the_curve_is_scikit_learns() -> None:
    scores, telltale, groups = verdict()
    roc, single, grouped = telltale_figure(scores, telltale, groups).axes
    for line, table in zip(roc.lines, scores.values(), strict=False):
        false, true, _ = roc_curve(table["is_real"], table["score"], drop_intermediate=False)
        np.testing.assert_allclose(line.get_xdata(), false, atol=1e-12)
        np.testing.assert_allclose(line.get_ydata(), true, atol=1e-12)
        assert f"AUC {np.trapezoid(true, false):.3f}" in line.get_label()
    assert [label.get_text() for label in grouped.get_yticklabels()] == ["cadence", "tails"]
    shown = [label.get_text() for label in single.get_yticklabels()]
    far = telltale.sort((pl.col("alone") - 0.5).abs(), descending=True)["quantity"][:TOP]
    assert shown == far.to_list()


@pytest.mark.parametrize("name", ["overlays", "overlays of few", "telltale", "telltale of few"])
@pytest.mark.filterwarnings("error")
def test_equal_tables_give_equal_files(name: str, tmp_path: Path) -> None:
    for file in ("a.png", "b.png"):
        if name.startswith("overlays"):
            figure = overlays_figure(*overlays(2 if "few" in name else 20))
        else:
            figure = telltale_figure(*verdict(4 if "few" in name else 80))
        save_figure(figure, tmp_path / file)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
