"""The figures of a flare catalog show what their tables hold, also where these are nearly empty."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.figures import flare_science as module
from varistar.figures.star import star_figure
from varistar.figures.style import save_figure

JUDGED = pl.DataFrame(
    {
        "fraction": ["completeness", "completeness", "purity"],
        "group": ["1.5-3", ">=30", "<1.5"],
        "n": [10, 20, 3],
        "rate": [0.2, 0.9, 0.5],
        "low": [0.1, 0.8, None],
        "high": [0.3, 1.0, None],
    }
)
CALIBRATION = pl.DataFrame({"p_mean": [0.2, 0.9], "fraction": [0.25, 0.85], "low": [0.1, 0.8], "high": [0.4, 0.9]})
SLOPES = pl.DataFrame(
    {
        "by": ["all"],
        "group": ["all"],
        "alpha": [2.0],
        "stars_low": [1.8],
        "stars_high": [2.2],
        "lowest": [1e32],
        "rate": [0.5],
        "true_alpha": [1.9],
    }
)


def test_bins_stand_in_order_and_small_ones_first() -> None:
    rates, honest = module.found_figure(JUDGED, CALIBRATION).axes
    assert [label.get_text() for label in rates.get_xticklabels()] == ["<1.5", "1.5-3", ">=30"]
    (completeness, purity) = rates.lines
    assert completeness.get_ydata().tolist() == [0.2, 0.9]
    assert np.round(purity.get_xdata()).tolist() == [0.0]
    assert honest.lines[1].get_ydata().tolist() == [0.25, 0.85]


def test_the_law_is_drawn_through_its_rate() -> None:
    size = np.geomspace(1e34, 1e31, 30)
    table = pl.DataFrame({"size": size, "found_per_day": np.arange(1, 31) / 100})
    table = table.select(pl.lit("all").alias("by"), pl.lit("all").alias("group"), pl.all())
    table = table.with_columns(rate_per_day=pl.when(pl.col("size") > 1e32).then(pl.col("found_per_day")))
    panel = module.frequency_figure(table, SLOPES).axes[0]
    found, corrected, law = panel.lines
    assert len(found.get_xdata()) == 30
    assert min(corrected.get_xdata()) > 1e32
    assert (law.get_xdata()[0], law.get_ydata()[0]) == (1e32, 0.5)
    assert np.allclose(np.diff(np.log(law.get_ydata())) / np.diff(np.log(law.get_xdata())), -1.0)
    assert "2.00 (1.80 to 2.20), true 1.90" in corrected.get_label()


def test_the_sine_lies_on_the_expected_flares() -> None:
    edges = np.linspace(-0.5, 0.5, 21)
    histogram = pl.DataFrame({"phase_low": edges[:-1], "phase_high": edges[1:], "flares": 10.0})
    histogram = histogram.with_columns(flares_low=7.0, flares_high=13.0, expected=10.0, sample=pl.lit("all"))
    columns = {"sample": ["all"], "n_flares": [200.0], "difference": [-0.1], "difference_low": [-0.2]}
    faces = pl.DataFrame(columns | {"difference_high": [0.0], "amplitude": [0.05], "phase_of_most": [0.25]})
    panels = module.phase_figure(histogram, faces).axes
    expected, sine = panels[0].lines
    assert set(expected.get_ydata()) == {10.0}
    assert np.argmax(sine.get_ydata()) in (14, 15)
    assert sine.get_ydata().max() == np.max(10 * (1 + 0.05 * np.cos(2 * np.pi * (edges[:-1] + 0.025 - 0.25))))
    assert panels[1].get_title() == panels[2].get_title() == "no flare with a phase"
    assert len(module.phase_figure(pl.DataFrame(), pl.DataFrame()).axes) == 3


@pytest.mark.filterwarnings("error")
def test_the_star_figure_marks_its_events(tmp_path: Path) -> None:
    time = np.concatenate([np.arange(0, 2, 0.01), np.arange(5, 7, 0.01)])
    cadences = pl.DataFrame(
        {"orbit": np.repeat([0, 1], 200), "time": time, "flux": 1.0, "p": np.where(np.arange(400) == 350, 0.9, 0.0)}
    ).with_columns(model=pl.col("flux"))
    events = pl.DataFrame(
        {"orbit": [1], "tpeak": [6.5], "tstart": [6.49], "tstop": [6.52], "p": [0.9], "peak_flux": [0.1]}
    )
    figure = star_figure(cadences, events, "a star", "BTJD")
    first, second, _ = figure.axes[:3]
    assert len(first.lines[0].get_xdata()) == 200
    assert len(second.lines[0].get_xdata()) == 199, "the bright cadence is drawn apart"
    assert second.lines[1].get_xdata().tolist() == [6.5]
    assert first.get_title() == "a star: 1 events, which make 0.9 flares"
    save_figure(figure, tmp_path / "star.png")
    empty = star_figure(cadences, events.clear(), "b", "BTJD")
    assert [text.get_text() for text in empty.axes[-1].texts] == ["no flare"]
