"""Figures of how alike simulated and real light curves are: each takes tables and returns a figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 7
#: Quantities in the figure of what gives simulated stars away.
TOP = 15


def overlays_figure(real: pl.DataFrame, simulated: pl.DataFrame, table: pl.DataFrame) -> "Figure":
    """The cumulative distribution of each quantity over real and over simulated stars.

    Parameters
    ----------
    real, simulated : one row per star, with the quantities as columns; nulls are left out.
    table : `quantity`, `unit`, `scale` (a ratio's axis is logarithmic where all is positive), `ks` and `alike`, one row
        per quantity, in the order of drawing. The title of one that is not alike is coloured.
    """
    rows = max(-(-table.height // COLUMNS), 1)
    figure, panels = new_figure(2.15 * COLUMNS, 1.75 * rows + 0.4, columns=COLUMNS, rows=rows)
    for panel, row in zip(panels, table.iter_rows(named=True), strict=False):
        samples = [sample[row["quantity"]].drop_nulls().to_numpy() for sample in (simulated, real)]
        for values, color in zip(samples, (SECOND, ACCENT), strict=True):
            _draw_steps(panel, values, color)
        together = np.concatenate(samples)
        if row["scale"] == "ratio" and 0 < 5 * together.min(initial=np.inf) < together.max(initial=0):
            _make_logarithmic(panel, together.max() / together.min())
        else:
            panel.locator_params(axis="x", nbins=4)
        unit = f" [{row['unit']}]" if row["unit"] else ""
        panel.set_title(f"{row['quantity']}{unit}", fontsize=7, color=SECOND if row["alike"] is False else INK)
        panel.annotate(f"{row['ks']:.2f}", (0.97, 0.06), xycoords="axes fraction", ha="right", fontsize=7, color=INK)
        panel.tick_params(which="both", labelsize=6)
        panel.set(ylim=(0, 1.02), yticks=(0, 0.5, 1))
    for panel in panels[table.height :]:
        panel.set_axis_off()
    handles = [
        panels[0].plot([], [], color=color, label=f"{name}: {sample.height} stars")[0]
        for name, sample, color in (("real", real, ACCENT), ("simulated", simulated, SECOND))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    figure.suptitle("Shares of stars below; numbers are Kolmogorov-Smirnov distances", fontsize=9, x=0.01, ha="left")
    return figure


def telltale_figure(scores: Mapping[str, pl.DataFrame], telltale: pl.DataFrame, groups: pl.DataFrame) -> "Figure":
    """How well a classifier tells real from simulated, and by what.

    Parameters
    ----------
    scores : by what was judged, a table of `is_real` and `score`, of which real rows should have the higher.
    telltale : `quantity` and `alone`, the AUC of a quantity by itself, and `importance`; the `TOP` furthest from 0.5
        are drawn.
    groups : `group` and `alone`, the AUC of classifiers that see that group of quantities only.
    """
    figure, (roc, single, grouped) = new_figure(12.5, 4.2, columns=3)
    for (name, table), color in zip(scores.items(), (ACCENT, SECOND), strict=False):
        false, true = _roc(table["is_real"].to_numpy(), table["score"].to_numpy())
        area = np.trapezoid(true, false)
        roc.plot(false, true, color=color, label=f"{name}: AUC {area:.3f}")
    roc.plot([0, 1], [0, 1], color=QUIET, ls=":", lw=0.8)
    roc.set(xlabel="simulated taken for real", ylabel="real taken for real", xlim=(-0.01, 1), ylim=(0, 1.01))
    roc.legend(frameon=False, fontsize=8, loc="lower right")
    best = telltale.sort((pl.col("alone") - 0.5).abs(), "quantity", descending=[True, False]).head(TOP)
    _draw_bars(single, best["quantity"].to_list(), best["alone"].to_numpy())
    single.set_xlabel("AUC of one quantity (right: real values are larger)", fontsize=8)
    _draw_bars(grouped, groups["group"].to_list(), groups["alone"].to_numpy())
    grouped.set_xlabel("AUC of a classifier that sees one group", fontsize=8)
    return figure


def _draw_steps(panel: "Axes", values: NDArray, color: str) -> None:
    ordered = np.sort(values)
    panel.step(ordered, np.arange(1, len(ordered) + 1) / max(len(ordered), 1), where="post", color=color, lw=1.2)


def _make_logarithmic(panel: "Axes", span: float) -> None:
    """A logarithmic axis on which a few numbers stand, however short it is."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 30 else (1,), numticks=6))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _roc(is_real: NDArray[np.bool_], score: NDArray) -> tuple[NDArray, NDArray]:
    """Shares of simulated and of real rows with a score of at least each threshold, from none to all."""
    thresholds = np.unique(score)
    false, true = (1.0 - np.searchsorted(np.sort(score[rows]), thresholds) / rows.sum() for rows in (~is_real, is_real))
    return np.append(0.0, false[::-1]), np.append(0.0, true[::-1])


def _draw_bars(panel: "Axes", names: list[str], areas: NDArray) -> None:
    """Areas as bars from 0.5, the value beside each."""
    panel.barh(range(len(names)), areas - 0.5, left=0.5, color=np.where(areas > 0.5, ACCENT, SECOND), height=0.66)
    for place, area in enumerate(areas):
        side = 1 if area > 0.5 else -1
        panel.annotate(
            f"{area:.2f}",
            (area, place),
            (3 * side, 0),
            textcoords="offset points",
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=7,
            color=INK,
        )
    panel.axvline(0.5, color=INK, lw=0.7)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(min(0.42, float(areas.min(initial=0.5)) - 0.08), max(0.58, float(areas.max(initial=0.5)) + 0.1))
