"""Figures of the period wing: each takes tables and returns a figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

ROUND_PERIODS = (0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100)


def loss_figure(history: pl.DataFrame, title: str) -> "Figure":
    """Training and validation loss by epoch (000, Fig. 4), and the validation set's fraction within 10%.

    Parameters
    ----------
    history : one row per epoch, with `epoch`, `train_loss`, `validation_loss` and `validation_within_10pct`; of several
        networks, a column `member` says whose row it is.
    """
    figure, (loss, score) = new_figure(9, 3.6, columns=2)
    members = history.partition_by("member", maintain_order=True) if "member" in history.columns else [history]
    width, size = (1.5, 6) if len(members) == 1 else (0.8, 3)
    for number, member in enumerate(members):
        epoch = member["epoch"] + 1
        for panel, column, color, label in (
            (loss, "train_loss", QUIET, "training"),
            (loss, "validation_loss", ACCENT, "validation"),
            (score, "validation_within_10pct", ACCENT, "validation"),
        ):
            # One entry of the legend stands for all members.
            name = label if number == 0 else None
            panel.plot(epoch, member[column], ".-", lw=width, ms=size, color=color, label=name)
        best = member["validation_loss"].arg_min() or 0
        for panel, column in ((loss, "validation_loss"), (score, "validation_within_10pct")):
            name = "best epoch" if number == 0 else None
            panel.plot(epoch[best], member[column][best], "o", ms=7, mfc="none", color=SECOND, label=name, zorder=3)
    for panel in (loss, score):
        panel.set(xlabel="epoch", xlim=(0.5, history["epoch"].max() + 1.5))  # type: ignore[operator]
        panel.locator_params(axis="x", integer=True, min_n_ticks=1)
    loss.set_ylabel("loss")
    loss.legend(frameon=False, fontsize=8)
    score.set(ylabel="fraction of validation stars within 10%", ylim=(0, None))
    members_shown = f": {len(members)} members" if len(members) > 1 else ""
    figure.suptitle(f"{title}{members_shown}", fontsize=10)
    return figure


def predicted_figure(table: pl.DataFrame, title: str) -> "Figure":
    """Predicted against true period (000, Fig. 5): all stars, and those with sigma / P below 25%.

    The band holds what is within 10%, the dotted lines are twice and half the true period, and a period beyond the axis
    is a triangle at its end.

    Parameters
    ----------
    table : `true_period`, `period` and `sigma` [d], one row per star.
    """
    figure, panels = new_figure(8.6, 4.3, columns=2)
    trusted = table.filter(pl.col("sigma") / pl.col("period") < 0.25)
    for panel, stars, label in zip(panels, (table, trusted), ("all", "sigma / P < 25%"), strict=True):
        true, period = stars["true_period"].to_numpy(), stars["period"].to_numpy()
        right = np.abs(period - true) <= 0.1 * true
        top = max([31.0, *table["true_period"]])
        draw_guides(panel, top)
        inside, color = period <= top, np.where(right, ACCENT, SECOND)
        size = np.clip(4000 / max(len(true), 1), 5, 20)
        panel.scatter(true[inside], period[inside], s=size, lw=0, color=color[inside], alpha=0.6)
        above = np.full((~inside).sum(), 0.99 * top)
        panel.scatter(true[~inside], above, s=2 * size, lw=0, color=SECOND, alpha=0.6, marker="^")
        share = f", {right.mean():.1%} within 10%" if len(right) else ""
        stars_shown = f"{label}: {len(right)} star{'s' * (len(right) != 1)}{share}"
        panel.set(xlabel="true period [d]", xlim=(0, top), ylim=(0, top), title=stars_shown)
        panel.title.set_fontsize(9)
    panels[0].set_ylabel("predicted period [d]")
    figure.suptitle(title, fontsize=10)
    return figure


def draw_guides(panel: "Axes", top: float) -> None:
    """What is right, within 10%, twice and half, on periods from 0 to `top` [d]."""
    line = np.array([0.0, top])
    panel.fill_between(line, 0.9 * line, 1.1 * line, color=ACCENT, alpha=0.12, lw=0)
    panel.plot(line, line, color=INK, lw=0.7, ls="--")
    panel.plot(line, line / 2, color=QUIET, lw=0.7, ls=":")
    panel.plot(line, 2 * line, color=QUIET, lw=0.7, ls=":")


def comparison_figure(scores: Mapping[str, Mapping[str, Any]], title: str) -> "Figure":
    """Fraction within 10% of each method on the same test stars, with 95% intervals.

    Parameters
    ----------
    scores : of each method, `within_10pct` and `within_10pct_interval`, in the order of drawing.
    """
    figure, (panel,) = new_figure(7.5, 0.5 + 0.42 * max(len(scores), 2))
    for place, score in enumerate(scores.values()):
        low, high = score["within_10pct_interval"]
        value = score["within_10pct"]
        color = ACCENT if "coverage" in score else QUIET
        panel.barh(place, value, color=color, height=0.62)
        panel.plot([low, high], [place, place], color=INK, lw=1.2)
        panel.annotate(
            f"{value:.3f}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    for color, label in ((ACCENT, "network"), (QUIET, "simple method")):
        panel.barh([0], [0], color=color, label=label)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    panel.set_yticks(range(len(scores)), list(scores), fontsize=9)
    panel.invert_yaxis()
    panel.margins(x=0.08)
    panel.set(xlabel="fraction of test stars within 10% of the true period", xlim=(0, None), title=title)
    panel.title.set_fontsize(10)
    return figure


def image_figure(
    time: NDArray, flux: NDArray, images: Mapping[str, tuple[NDArray, Any]], true_period: float, title: str
) -> "Figure":
    """A light curve beside the images that networks see of it (000, Fig. 3).

    Parameters
    ----------
    time, flux : [d] and relative, shape (m,).
    images : by name, a uint8 image of shape (rows, columns) and its `Representation`.
    true_period : [d], marked in the images.
    """
    figure, panels = new_figure(4.2 * (1 + len(images)), 3.6, columns=1 + len(images))
    panels[0].plot(time, flux, ".", ms=2, color=INK, alpha=0.5)
    panels[0].set(xlabel="time [d]", ylabel="relative flux", title=title)
    for panel, (name, (image, representation)) in zip(panels[1:], images.items(), strict=True):
        _draw_image(panel, image, representation, (time.min(), time.max()), true_period)
        panel.set_title(f"representation `{name}`")
    for panel in panels:
        panel.locator_params(axis="x", nbins=4)
        panel.title.set_fontsize(9)
    return figure


def scaling_figure(
    images: Mapping[str, tuple[NDArray, Any]], span: tuple[float, float], true_period: float, title: str
) -> "Figure":
    """One star's image under several scalings (000, Fig. 7), on one scale of colours.

    Parameters
    ----------
    images : by name, a uint8 image of shape (rows, columns) and its `Representation`.
    span : first and last point of the light curve [d], for a representation without a window.
    true_period : [d], marked in the images.
    """
    figure, panels = new_figure(3.4 * len(images) + 0.2, 3.8, columns=len(images))
    for panel, (name, (image, representation)) in zip(panels, images.items(), strict=True):
        mesh = _draw_image(panel, image, representation, span, true_period)
        mesh.set_clim(0, 255)
        panel.set_title(f"{name}\n{(image == 255).mean():.1%} of pixels at 255", fontsize=9)
        panel.locator_params(axis="x", nbins=4)
    for panel in panels[1:]:
        panel.set_ylabel("")
    # No colour bar: with one, the layout changes a little each time the figure is drawn.
    figure.suptitle(f"{title}; black pixels are 0, the lightest 255", fontsize=10)
    return figure


def _draw_image(
    panel: "Axes", image: NDArray, representation: Any, span: tuple[float, float], true_period: float
) -> "QuadMesh":
    """An image on its axes of time [d] and period [d]; `span` where the representation has no window."""
    grid = representation.periods
    first, last = representation.window or span
    periods = np.geomspace if grid.spacing == "log" else np.linspace
    edges = periods(grid.minimum, grid.maximum, image.shape[0] + 1)
    nodes = np.linspace(first, last, image.shape[1] + 1)
    mesh = panel.pcolormesh(nodes, edges, image, cmap="magma", rasterized=True)
    if grid.spacing == "log":
        panel.set_yscale("log")
        panel.set_yticks([tick for tick in ROUND_PERIODS if grid.minimum <= tick <= grid.maximum])
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
    panel.axhline(true_period, color="white", lw=0.8, ls=":")
    panel.set(xlabel="time [d]", ylabel="period [d]")
    return mesh
