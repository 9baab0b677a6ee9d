"""Figures of a sweep, and all of them drawn; each figure takes tables and is returned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import polars as pl

from .style import ACCENT, INK, QUIET, SECOND, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from varistar.experiments.study import Sweep

#: How trials without a value are marked, at the foot of the panel.
UNSCORED = {"pruned": ("|", QUIET), "failed": ("x", SECOND), "killed": ("+", SECOND)}
WORDS = {"pruned": "pruned", "failed": "failed", "killed": "killed, run again"}


class Objective(NamedTuple):
    """A column of a table of trials, how an axis calls it, and which way it is better."""

    column: str
    label: str
    direction: Literal["maximize", "minimize"]


def draw_sweep(sweep: "Sweep", labels: Mapping[str, str]) -> list[Path]:
    """Draw what came of a sweep to `<name>-*.png` beside its journal, and log it to its run; returns the files.

    Parameters
    ----------
    labels : how an axis calls each objective.
    """
    from varistar.experiments.sweep import importances, keep_figures, trial_table

    trials, title = trial_table(sweep), f"Sweep of {sweep.name}"
    objectives = [Objective(name, labels[name], direction) for name, direction in sweep.objectives.items()]
    completed = trials.filter(state="completed").height
    figures = {
        "history": history_figure(trials, objectives, title),
        "importance": importance_figure(importances(sweep), completed, objectives, title),
    }
    if len(objectives) == 2:
        figures["compromise"] = compromise_figure(trials, (objectives[0], objectives[1]), title)
    keep_figures(sweep, figures)
    paths = [sweep.folder / f"{sweep.name}-{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def history_figure(trials: pl.DataFrame, objectives: Sequence[Objective], title: str) -> "Figure":
    """Each trial's objectives by its number, and the best so far; trials without a value stand at the foot.

    Parameters
    ----------
    trials : `trial`, `state` (completed, pruned, failed or killed), `own` (whether the trial had the values that the
        sweep started from, whose objective is dotted) and the objectives' columns, one row per trial.
    """
    figure, panels = new_figure(7.5, 0.5 + 2.9 * len(objectives), rows=len(objectives))
    done = trials.filter(state="completed").sort("trial")
    for panel, (column, label, direction) in zip(panels, objectives, strict=True):
        value = done[column].to_numpy()
        best = (np.maximum if direction == "maximize" else np.minimum).accumulate(value)
        panel.step(done["trial"], best, where="post", color=INK, lw=1, label="best so far")
        panel.plot(done["trial"], value, ".", ms=7, color=ACCENT, label="completed")
        for start in done.filter("own")[column][:1]:
            panel.axhline(start, color=INK, lw=0.8, ls=":", label="own values")
        for state, (marker, color) in UNSCORED.items():
            number = trials.filter(state=state)["trial"]
            if len(number):
                foot = panel.get_xaxis_transform()
                panel.plot(number, [0.03] * len(number), marker, ms=6, color=color, transform=foot, label=WORDS[state])
        panel.set_ylabel(label, fontsize=9)
        panel.locator_params(axis="x", integer=True, min_n_ticks=1)
        panel.margins(y=0.12)
    panels[-1].set_xlabel("trial")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=6, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def importance_figure(shares: pl.DataFrame, completed: int, objectives: Sequence[Objective], title: str) -> "Figure":
    """How much of each objective's variance each swept key explains.

    Parameters
    ----------
    shares : `key` and, in each objective's column, its share; without rows where the trials were too few, and null
        where an objective did not vary.
    completed : how many trials the shares come from.
    """
    figure, panels = new_figure(5.2 * len(objectives), 1.3 + 0.34 * max(shares.height, 3), len(objectives))
    for panel, (column, label, _) in zip(panels, objectives, strict=True):
        share = shares[column]
        panel.set_title(label, fontsize=9)
        panel.set(xlim=(0, 1), xlabel="share of what single keys explain")
        if shares.is_empty() or share.null_count() == shares.height:
            reason = (
                "all trials scored the same" if shares.height else f"{completed} completed trials are too few to say"
            )
            _say(panel, reason)
            continue
        panel.barh(range(shares.height), share.fill_null(0), color=ACCENT, height=0.62)
        for row, value in enumerate(share):
            panel.annotate(
                f"{value:.0%}" if value is not None else "?", (value or 0, row), (3, 0),
                textcoords="offset points", va="center", fontsize=8, color=INK,
            )  # fmt: skip
        panel.set_yticks(range(shares.height), shares["key"], fontsize=9)
        panel.invert_yaxis()
    figure.suptitle(f"{title}: {completed} completed trials", fontsize=10)
    return figure


def _say(panel: "Axes", sentence: str) -> None:
    panel.text(0.5, 0.5, sentence, ha="center", va="center", transform=panel.transAxes, fontsize=9, color=INK)
    panel.set_yticks([])


def compromise_figure(trials: pl.DataFrame, objectives: tuple[Objective, Objective], title: str) -> "Figure":
    """The first of two objectives against the second, and those trials that no other beats in both.

    Parameters
    ----------
    trials : `trial`, `state`, `own`, `best` (whether no other trial beats it in both) and the objectives' columns, one
        row per trial.
    """
    figure, (panel,) = new_figure(6.4, 4.4)
    first, second = objectives
    done = trials.filter(state="completed")
    panel.plot(done[second.column], done[first.column], ".", ms=7, color=QUIET, label="completed")
    best = done.filter("best").sort(second.column, first.column)
    # Between two compromises nothing better than the worse of both is known.
    after: Literal["post", "pre"] = "post" if second.direction == "minimize" else "pre"
    panel.step(
        best[second.column], best[first.column], "o-", where=after, ms=5, lw=1, color=ACCENT, label="compromises"
    )
    for row in best.iter_rows(named=True):
        place = (row[second.column], row[first.column])
        panel.annotate(str(row["trial"]), place, (4, 4), textcoords="offset points", fontsize=8, color=ACCENT)
    own = done.filter("own")
    panel.plot(own[second.column], own[first.column], "o", ms=11, mfc="none", color=SECOND, label="own values")
    panel.set(xlabel=second.label, ylabel=first.label)
    panel.margins(0.08)
    figure.legend(loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
