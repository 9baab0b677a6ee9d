"""Figures of the flare wing show what their tables hold, and equal figures are equal files."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from varistar.figures.flares import (
    MEASURES,
    amplitude_figure,
    comparison_figure,
    confusion_figure,
    curves_figure,
    folds_figure,
    history_figure,
    light_curve_figure,
    measures_figure,
    reliability_figure,
)
from varistar.figures.recovery import by_snr_figure, recovered_figure, surface_figure
from varistar.figures.style import save_figure
from varistar.flares.recovery import recovery_table

RNG = np.random.default_rng(3)
TRUTH = RNG.random(300) < 0.3
P = np.clip(0.5 * TRUTH + 0.6 * RNG.random(300), 0, 1)
HISTORY = pl.DataFrame(
    {
        "member": [0, 0, 0, 1, 1, 1],
        "epoch": [0, 1, 2] * 2,
        "train_loss": [1.0, 0.5, 0.3, 1.1, 0.6, 0.4],
        "validation_loss": [1.1, 0.6, 0.4, 1.2, 0.7, 0.5],
        "validation_accuracy": [0.8, 0.9, 0.95, 0.7, 0.8, 0.9],
    }
)
EVENTS = pl.DataFrame(
    {
        "tstart": [0.99, 3.99, 6.99, 8.49],
        "tstop": [1.05, 4.05, 7.05, 8.55],
        "tpeak": [1.0, 4.0, 7.0, 8.5],
        "amplitude": [0.5, 0.1, 0.02, None],
    }
)
LABELS = pl.DataFrame({"tpeak": [1.0, 4.0]})
JUDGED = pl.DataFrame(
    {
        "method": ["one"] * 200 + ["other"] * 200,
        "amplitude": np.tile(10.0 ** RNG.uniform(-2.5, -0.1, 200), 2),
        "fwhm_minutes": np.tile(10.0 ** RNG.uniform(0.01, 1.4, 200), 2),
        "peak_snr": np.tile(RNG.uniform(5, 50, 200), 2),
        "recovered": RNG.random(400) < 0.6,
    }
)


def stretch() -> dict[str, np.ndarray]:
    time = np.arange(0, 10, 2 / 1440)
    flux = 1 + 0.01 * np.sin(time)
    p = np.zeros(len(time))
    for peak, height in ((1.0, 0.5), (4.0, 0.1), (7.0, 0.02)):
        flare = height * np.exp(-np.maximum(time - peak, 0) / 0.01) * (time >= peak)
        flux, p = flux + flare, np.maximum(p, flare > 0.005)
    return {"time": time, "flux": flux, "p": p, "model": flux}


DRAWN: dict[str, Callable[[], Figure]] = {
    "history": lambda: history_figure(HISTORY, "x"),
    "curves": lambda: curves_figure({"windows": (TRUTH, P)}, "x"),
    "confusion": lambda: confusion_figure({(True, True): 3}, {(True, True): [(np.sin(np.arange(200)), 0.9)]}, "x"),
    "reliability": lambda: reliability_figure({"windows": RELIABLE}, "x"),
    "amplitude": lambda: amplitude_figure(np.geomspace(0.01, 1, 300), P, np.arange(300) % 5, "x"),
    "folds": lambda: folds_figure(FOLDS, "x"),
    "light_curve": lambda: light_curve_figure([stretch()], EVENTS, LABELS, "x"),
    "measures": lambda: measures_figure(BESIDE, BIASES, "x"),
    "comparison": lambda: comparison_figure({"ours": SCORE, "simple": SCORE}, ["ours"], "x"),
    "recovered": lambda: recovered_figure(JUDGED, "x"),
    "surface": lambda: surface_figure(recovery_table(JUDGED, CELLS), "x"),
    "by_snr": lambda: by_snr_figure(recovery_table(JUDGED), "x"),
}
RELIABLE = pl.DataFrame(
    {"p_mean": [0.1, 0.8], "fraction": [0.2, 0.7], "low": [0.1, 0.6], "high": [0.3, 0.8], "n": [5, 7]}
)
BESIDE = pl.DataFrame(
    {"snr": [4.0, 20.0], "overlaps": [False, True]}
    | {f"{prefix}{name}": [1.0, 2.0] for name in MEASURES for prefix in ("", "true_")}
)
BIASES = pl.DataFrame(
    [
        {"events": events, "quantity": name, "snr_low": 3.0, "snr_high": high, "bias": 1.0, "low": 0.8, "high": 1.3}
        | {"pull_width": width}
        for events, high, width in (("single", 10.0, 1.1), ("overlapping", np.inf, None))
        for name in MEASURES
    ]
)
SCORE = {
    name: value
    for metric in ("counted_f1", "counted_precision", "counted_recall")
    for name, value in ((metric, 0.5), (f"{metric}_interval", (0.4, 0.6)))
}
FOLDS = {
    "sample": {"accuracy": {"mean": 0.9, "folds": [0.8, 0.9, 1.0]}, "recall": {"mean": 0.7, "folds": [0.7, 0.7, 0.7]}},
    "star": {"accuracy": {"mean": 0.7, "folds": [0.6, 0.7, 0.8]}, "recall": {"mean": None, "folds": [None, 0.5, 0.4]}},
}
CELLS = {"amplitude": (0.003, 0.03, 0.8), "fwhm_minutes": (1.0, 5.0, 25.0)}


@pytest.mark.parametrize("name", DRAWN)
def test_equal_figures_are_equal_files_and_belong_to_no_window(name: str, tmp_path: Path) -> None:
    for copy in ("a.png", "b.png"):
        save_figure(DRAWN[name](), tmp_path / copy)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", DRAWN)
def test_panels_do_not_cover_one_another(name: str) -> None:
    figure = DRAWN[name]()
    figure.canvas.draw()
    boxes = [panel.get_window_extent() for panel in figure.axes if panel.axison]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_curves_pass_through_what_the_threshold_gives() -> None:
    roc, both = curves_figure({"windows": (TRUTH, P)}, "x").axes
    called = P > 0.5
    recall, precision = called[TRUTH].mean(), TRUTH[called].mean()
    (dot,) = (line for line in both.lines if line.get_marker() == "o")
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((recall, precision))
    (dot,) = (line for line in roc.lines if line.get_marker() == "o")
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx((called[~TRUTH].mean(), recall))
    assert both.lines[0].get_xdata()[-1] == 1.0


def test_equal_probabilities_are_one_step() -> None:
    roc, _ = curves_figure({"all alike": ([True, False, True, False], [0.7] * 4)}, "x").axes
    assert list(roc.lines[0].get_xdata()) == [0, 1]


def test_every_member_has_its_lines_and_the_first_its_names() -> None:
    loss, score = history_figure(HISTORY, "x").axes
    assert len(loss.lines) == 4
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert [text.get_text() for text in score.get_legend().get_texts()] == ["accuracy"]
    assert list(score.lines[1].get_ydata()) == [0.7, 0.8, 0.9]


def test_each_fold_has_its_dot_and_both_ways_their_mean_if_there_is_one() -> None:
    accuracy, recall = folds_figure(FOLDS, "x").axes
    assert [panel.get_title() for panel in (accuracy, recall)] == ["accuracy", "recall"]
    dots, mean, others, other_mean = (list(line.get_ydata()) for line in accuracy.lines)
    assert (dots, mean, others, other_mean) == ([0.8, 0.9, 1.0], [0.9, 0.9], [0.6, 0.7, 0.8], [0.7, 0.7])
    assert [len(line.get_ydata()) for line in recall.lines] == [3, 2, 2]


def test_windows_of_each_kind_are_counted_and_shown() -> None:
    counts = {(True, True): 4, (True, False): 3, (False, True): 2, (False, False): 1}
    figure = confusion_figure(counts, {(False, True): [(np.arange(200.0), 0.6)] * 9}, "x")
    assert [panel.get_title() for panel in figure.axes] == [
        "4 flares found", "3 flares missed", "2 others called flares", "1 others called none"
    ]  # fmt: skip
    assert [len(panel.lines) for panel in figure.axes] == [0, 0, 3, 0]


def test_a_light_curve_shows_all_events_and_enlarges_fitted_ones() -> None:
    whole, *closer = light_curve_figure([stretch()], EVENTS, LABELS, "x").axes
    found, known = (next(line for line in whole.lines if line.get_marker() == marker) for marker in "v^")
    assert len(closer) == 3
    assert found.get_xdata().tolist() == [1.0, 4.0, 7.0, 8.5]
    assert known.get_xdata().tolist() == [1.0, 4.0]
    for panel, event in zip(closer, EVENTS.iter_rows(named=True), strict=False):
        assert panel.get_xlim()[0] < event["tpeak"] < panel.get_xlim()[1]
    # the giant leaves the upper panel, so that the others are seen
    assert whole.get_ylim()[1] < 1.4 < closer[0].get_ylim()[1]


def test_a_light_curve_without_events_has_one_panel() -> None:
    figure = light_curve_figure([stretch()], EVENTS.clear(), LABELS.clear(), "x")
    assert len(figure.axes) == 1


def test_recovered_flares_are_among_the_injected() -> None:
    one, other = (panel for panel in recovered_figure(JUDGED, "x").axes if panel.axison)
    for panel, method in ((one, "one"), (other, "other")):
        injected, recovered = (sum(bar.get_height() for bar in bars) for bars in panel.containers)
        own = JUDGED.filter(method=method)
        assert (injected, recovered) == (200, own["recovered"].sum())
        assert panel.get_title() == f"{method}: {own['recovered'].mean():.0%} of 200"


@pytest.mark.parametrize("height", ["amplitude", "peak_snr"])
def test_a_surface_writes_the_share_into_each_cell(height: str) -> None:
    cells = CELLS if height == "amplitude" else {"peak_snr": (5.0, 20.0, 50.0), "fwhm_minutes": (1.0, 5.0, 25.0)}
    table = recovery_table(JUDGED, cells)
    panel = surface_figure(table, "x").axes[0]
    for row in table.filter(method="one").iter_rows(named=True):
        (text,) = (
            text
            for text in panel.texts
            if row[f"{height}_low"] < text.get_position()[0] < row[f"{height}_high"]
            and row["fwhm_minutes_low"] < text.get_position()[1] < row["fwhm_minutes_high"]
        )
        assert text.get_text() == f"{100 * row['fraction']:.0f}"


def test_bins_without_flares_are_left_out_of_the_curve() -> None:
    table = recovery_table(JUDGED.filter((pl.col("peak_snr") < 10) | (pl.col("peak_snr") >= 15)))
    panel = by_snr_figure(table, "x").axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["5-7", "7-10", "10-15", "15-30", "from 30"]
    lines = [line for line in panel.lines if line.get_label() in ("one", "other")]
    assert [len(line.get_xdata()) for line in lines] == [4, 4]
