"""Figures of injected flares and what was found of them."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .flares import COLORS
from .style import ACCENT, INK, QUIET, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Edges in amplitude, 6 to a factor of ten.
AMPLITUDES = 10.0 ** np.linspace(-3.0, 0.0, 19)


def recovered_figure(judged: pl.DataFrame, title: str) -> "Figure":
    """How many flares were injected, and how many of them each method recovered, by amplitude.

    Parameters
    ----------
    judged : `method`, `amplitude` (in units of the star's flux) and `recovered`, a row per method and flare.
    """
    methods = judged["method"].unique(maintain_order=True).to_list()
    columns = min(max(len(methods), 1), 3)
    rows = -(-max(len(methods), 1) // columns)
    figure, panels = new_figure(3.3 * columns, 2.7 * rows + 0.5, columns, rows)
    for place, (panel, method) in enumerate(zip(panels, methods, strict=False)):
        own = judged.filter(method=method)
        share = float(own["recovered"].to_numpy().mean())
        for values, color, label in (
            (own["amplitude"], QUIET, "injected"),
            (own.filter("recovered")["amplitude"], ACCENT, "recovered"),
        ):
            panel.hist(values, list(AMPLITUDES), color=color, label=label)
        panel.set(xscale="log", title=f"{method}: {share:.0%} of {len(own)}")
        panel.title.set_fontsize(9)
        if place + columns >= len(methods):
            panel.set_xlabel("amplitude", fontsize=9)
        if place % columns == 0:
            panel.set_ylabel("flares", fontsize=9)
    for panel in panels[len(methods) :]:
        panel.set_axis_off()
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def surface_figure(table: pl.DataFrame, title: str) -> "Figure":
    """The recovered share [%] by height and width.

    Parameters
    ----------
    table : `method`, `fwhm_minutes_low` and `_high`, `amplitude_low` and `_high` or `peak_snr_low` and `_high`, a full
        grid for each method, and `fraction`, null of none.
    """
    height, label, factor = ("amplitude", "amplitude [%]", 100.0)
    if "amplitude_low" not in table.columns:
        height, label, factor = ("peak_snr", "peak signal-to-noise ratio", 1.0)
    methods = table["method"].unique(maintain_order=True).to_list()
    columns = min(max(len(methods), 1), 3)
    rows = -(-max(len(methods), 1) // columns)
    figure, panels = new_figure(3.6 * columns, 3.1 * rows + 0.4, columns, rows)
    for place, (panel, method) in enumerate(zip(panels, methods, strict=False)):
        own = table.filter(method=method).sort("fwhm_minutes_low", f"{height}_low")
        x, y = (_edges(own, name) for name in (height, "fwhm_minutes"))
        shape = len(y) - 1, len(x) - 1
        values = own["fraction"].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(shape)
        panel.pcolormesh(x, y, values, cmap="Blues", vmin=0, vmax=1, rasterized=True)
        for i, j in np.argwhere(np.isfinite(values)):
            color = "white" if values[i, j] > 0.55 else INK
            at = np.sqrt(x[j] * x[j + 1]), np.sqrt(y[i] * y[i + 1])
            panel.text(*at, f"{100 * values[i, j]:.0f}", ha="center", va="center", fontsize=7, color=color)
        panel.set(xscale="log", yscale="log", title=method)
        panel.set_yticks(y, [f"{edge:g}" for edge in y])
        panel.set_xticks(x, [f"{factor * edge:g}" for edge in x])
        panel.minorticks_off()
        panel.tick_params(labelsize=7)
        panel.title.set_fontsize(9)
        if place + columns >= len(methods):
            panel.set_xlabel(label, fontsize=9)
        if place % columns == 0:
            panel.set_ylabel("FWHM [min]", fontsize=9)
    for panel in panels[len(methods) :]:
        panel.set_axis_off()
    figure.suptitle(f"{title}: recovered [%]", fontsize=10)
    return figure


def by_snr_figure(table: pl.DataFrame, title: str) -> "Figure":
    """The recovered share by signal-to-noise ratio of the peak, with 95% intervals.

    Parameters
    ----------
    table : `method`, `peak_snr_low`, `peak_snr_high`, `n`, and `fraction`, `low`, `high`, null of none.
    """
    figure, (panel,) = new_figure(7.5, 4.2)
    methods = table["method"].unique(maintain_order=True).to_list()
    bins = table.select("peak_snr_low", "peak_snr_high").unique(maintain_order=True).rows()
    for number, method in enumerate(methods):
        own = table.filter(method=method).with_row_index("place").filter(pl.col("n") > 0)
        x = own["place"] + 0.08 * (number - 0.5 * (len(methods) - 1))
        color = COLORS[number % len(COLORS)]
        panel.vlines(x, own["low"], own["high"], color=color, lw=1.2)
        panel.plot(x, own["fraction"], "o-", ms=5, lw=0.8, color=color, label=method)
    names = [f"{low:g}-{high:g}" if np.isfinite(high) else f"from {low:g}" for low, high in bins]
    panel.set_xticks(range(len(bins)), names)
    panel.set(xlabel="peak signal-to-noise ratio", ylabel="recovered", ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _edges(table: pl.DataFrame, name: str) -> np.ndarray:
    return np.array(sorted({*table[f"{name}_low"], *table[f"{name}_high"]}))
