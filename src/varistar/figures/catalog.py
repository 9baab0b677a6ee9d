"""Figures of a catalog whose truth is known: each takes tables and returns a figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "period": "true period",
    "measured_period": "period in the catalog",
    "magnitude": "g [mag]",
    "amplitude": "full amplitude [mag]",
    "n_points": "points of the light curve",
    "kind": "kind",
}
FRACTIONS = {"completeness": (ACCENT, -0.12), "purity": (SECOND, 0.12)}  # colour, and place beside the middle
SCORES = {"fractional_uncertainty": (ACCENT, "sigma / P"), "p_within_10pct": (SECOND, "p within 10%")}


def completeness_figure(
    groups: pl.DataFrame, curves: pl.DataFrame, confusion: Mapping[str, Mapping[str, int]], title: str
) -> "Figure":
    """Completeness and purity of a catalog by what its stars are, as a threshold moves, and which periods are mistaken.

    Bars are 95% intervals. A cross is the fraction reported of a group in which no period can be right: all false.

    Parameters
    ----------
    groups : `dimension`, `bin`, the counts `n_with_period`, `n_in_catalog` and `n_reported`, and `completeness` and
        `purity`, each with `_low` and `_high`; a dimension of `TITLES` that it lacks leaves its panel empty.
    curves : `score`, `completeness` and `purity`, in the order of the threshold.
    confusion : number of trusted stars by class, for true periods `in_range` and `out_of_range`.
    """
    figure, panels = new_figure(17, 8, columns=4, rows=2)
    for panel, (dimension, label) in zip(panels, TITLES.items(), strict=False):
        # Which period a missed star would have had in the catalog, nobody knows: of that, only the purity means much.
        fractions = ["purity"] if dimension == "measured_period" else list(FRACTIONS)
        _draw_bins(panel, groups.filter(pl.col("dimension") == dimension), fractions)
        panel.set_title(label)
    _draw_curves(panels[-2], curves)
    _draw_confusion(panels[-1], confusion)
    for panel in panels:
        panel.title.set_fontsize(9)
    for name, color, marker in (("completeness", ACCENT, "o"), ("purity", SECOND, "o"), ("all false", INK, "x")):
        panels[0].plot([], [], marker, ms=5, color=color, label=name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_bins(panel: "Axes", bins: pl.DataFrame, fractions: Sequence[str]) -> None:
    for name in fractions:
        color, aside = FRACTIONS[name]
        for place, row in enumerate(bins.iter_rows(named=True)):
            # Where no period can be right, purity is 0 by definition; the cross says more.
            if row[name] is None or not row["n_with_period"]:
                continue
            panel.plot([place + aside] * 2, [row[f"{name}_low"], row[f"{name}_high"]], color=color, lw=1.2, alpha=0.6)
            panel.plot(place + aside, row[name], "o", ms=5, color=color)
    for place, row in enumerate(bins.iter_rows(named=True)):
        if row["n_in_catalog"] and not row["n_with_period"]:
            panel.plot(place, row["n_reported"] / row["n_in_catalog"], "x", ms=5, color=INK)
    labels = [f"{row['bin']} ({row['n_stars']})" for row in bins.iter_rows(named=True)]
    panel.set_xticks(range(bins.height), labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=7)
    panel.set(ylim=(-0.03, 1.03), xlim=(-0.5, max(bins.height, 1) - 0.5))


def _draw_curves(panel: "Axes", curves: pl.DataFrame) -> None:
    for score, (color, label) in SCORES.items():
        curve = curves.filter(pl.col("score") == score)
        panel.plot(curve["completeness"], curve["purity"], color=color, lw=1.4, label=label)
    panel.set(xlabel="completeness", ylabel="purity", xlim=(0, None), ylim=(-0.03, 1.03))
    panel.set_title("as the threshold moves")
    panel.legend(frameon=False, fontsize=8)


def _draw_confusion(panel: "Axes", confusion: Mapping[str, Mapping[str, int]]) -> None:
    """The number of stars of each class, those with a period out of range on top of the others."""
    inside, outside = confusion["in_range"], confusion["out_of_range"]
    panel.bar(list(inside), list(inside.values()), color=ACCENT, label="true period in range")
    panel.bar(list(outside), list(outside.values()), bottom=list(inside.values()), color=QUIET, label="out of range")
    panel.set_title("trusted period : true period, number of stars")
    panel.set_ylim(0, 1.05 * max(1, *(inside[name] + outside[name] for name in inside)))
    panel.locator_params(axis="y", integer=True)
    panel.legend(frameon=False, fontsize=8)
