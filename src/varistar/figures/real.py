"""Figures of real stars whose periods are published."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What nightly sampling makes of a frequency: |f - 1| and f + 1 per day.
DAY = (-1.0, 1.0)
TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30, 50)


def agreement_figure(published: NDArray, measured: Mapping[str, NDArray], title: str) -> "Figure":
    """Published against measured period, one panel for each method, on logarithmic axes.

    The band holds what is within 10%; dotted lines are twice and half the period, solid ones its one-day aliases.

    Parameters
    ----------
    published : [d], shape (n,).
    measured : by method, periods [d], shape (n,).
    """
    every = np.concatenate([published, *measured.values()])
    low, high = 0.8 * every.min(), 1.25 * every.max()
    figure, panels = new_figure(3.4 * len(measured) + 0.4, 3.8, columns=len(measured))
    truth = np.geomspace(low, high, 2000)
    for panel, (name, period) in zip(panels, measured.items(), strict=True):
        panel.fill_between(truth, 0.9 * truth, 1.1 * truth, color=ACCENT, alpha=0.12, lw=0)
        for factor in (0.5, 2.0):
            panel.plot(truth, factor * truth, color=QUIET, lw=0.7, ls=":")
        for day in DAY:
            panel.plot(truth, 1 / np.maximum(np.abs(1 / truth + day), 1e-9), color=QUIET, lw=0.7)
        right = np.abs(period - published) <= 0.1 * published
        panel.scatter(published, period, s=16, lw=0, color=np.where(right, ACCENT, SECOND), zorder=3)
        panel.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), xlabel="published period [d]")
        shown = [tick for tick in TICKS if low <= tick <= high]
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_ticks(shown)
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        panel.set_title(f"{name}: {right.sum()} of {len(right)}", fontsize=9, color=INK)
    panels[0].set_ylabel("measured period [d]")
    figure.suptitle(title, fontsize=10)
    return figure
