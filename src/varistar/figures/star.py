"""The figure of one star in which flares were sought."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of flares shown closely, how many, and how far around the peak [d].
CLOSE, AROUND = 4, 0.08
LIT = 0.1


def star_figure(cadences: pl.DataFrame, events: pl.DataFrame, star_id: str, time_system: str) -> "Figure":
    """The light curve coloured by the probability of a flare, and its highest flares closely, with what was fitted.

    Parameters
    ----------
    cadences : `orbit`, `time` [d], `flux` in units of its median, `p` (NaN unknown) and `model`, in order of time.
    events : `tpeak`, `tstart`, `tstop` [d], `p`, `peak_flux` (null unknown) and `orbit`.
    """
    orbits = cadences.partition_by("orbit", maintain_order=True)
    figure, panels = new_figure(13, 2.2 * len(orbits) + 2.8, rows=len(orbits) + 1)
    for panel, orbit in zip(panels, orbits, strict=False):
        _draw_light(panel, orbit, 2.0)
        own = events.filter(pl.col("orbit") == orbit["orbit"][0])
        if len(own):  # an unclipped line without points would take all the room there is
            heights = [float(orbit["flux"].max())] * len(own)  # type: ignore[arg-type]
            panel.plot(own["tpeak"], heights, "v", ms=4, color=SECOND, clip_on=False)
        panel.set_ylabel("flux / median")
    highest = events.filter(pl.col("peak_flux").is_not_null()).sort("peak_flux", descending=True).head(CLOSE)
    _draw_closely(panels[-1], cadences, highest)
    panels[len(orbits) - 1].set_xlabel(f"time [d, {time_system}]")
    likely = float(events["p"].sum())
    panels[0].set_title(f"{star_id}: {len(events)} events, which make {likely:.1f} flares", fontsize=10)
    return figure


def _draw_light(panel: "Axes", cadences: pl.DataFrame, size: float) -> None:
    """Points, grey where no flare is likely and the redder the likelier it is."""
    from matplotlib.colors import LinearSegmentedColormap

    p = np.nan_to_num(cadences["p"].to_numpy())
    lit = p > LIT
    time, flux = cadences["time"].to_numpy(), cadences["flux"].to_numpy()
    panel.plot(time[~lit], flux[~lit], ".", ms=size, color=QUIET, rasterized=True)
    colours = LinearSegmentedColormap.from_list("p", [QUIET, ACCENT, SECOND])
    panel.scatter(time[lit], flux[lit], c=p[lit], s=4 * size, cmap=colours, vmin=0.0, vmax=1.0, zorder=3)


def _draw_closely(panel: "Axes", cadences: pl.DataFrame, highest: pl.DataFrame) -> None:
    """The highest flares side by side, each in its own axes."""
    panel.set_axis_off()
    if highest.is_empty():
        panel.text(0.5, 0.5, "no flare", ha="center", va="center", color=INK, transform=panel.transAxes)
        return
    width = 1.0 / CLOSE
    for number, row in enumerate(highest.iter_rows(named=True)):
        inset = panel.inset_axes((number * width + 0.02, 0.12, width - 0.05, 0.74))
        first, last = row["tstart"] - AROUND, row["tstop"] + AROUND
        near = cadences.filter((pl.col("orbit") == row["orbit"]) & pl.col("time").is_between(first, last))
        _draw_light(inset, near, 4.0)
        inset.plot(near["time"], near["model"], color=INK, lw=0.9)
        inset.set_title(f"{row['tpeak']:.3f}: p = {row['p']:.2f}", fontsize=8)
        inset.tick_params(labelsize=7, colors=INK)
        inset.ticklabel_format(useOffset=False)
        inset.locator_params(axis="x", nbins=4)
        inset.spines[["top", "right"]].set_visible(False)
