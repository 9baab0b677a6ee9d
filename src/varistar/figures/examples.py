"""Figures of one star: how an example is made, and what a network of the period axis sees in it and says."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .periods import ROUND_PERIODS
from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A line that stands out from the dark and the bright end of the colours.
ON_MAGMA = "#63d0e6"


def injection_figure(
    time: NDArray, template_flux: NDArray, spot_flux: NDArray, injected_flux: NDArray, title: str, unit: str = "mJy"
) -> "Figure":
    """How an example is made (000, Fig. 2): the template, the simulation, the two together, and the difference.

    The light curves share their axis; points far beyond the others stand at its ends.

    Parameters
    ----------
    time : [d], shape (m,).
    template_flux, injected_flux : in `unit`, shape (m,).
    spot_flux : relative flux of the simulated star at the same epochs, shape (m,).
    """
    figure, panels = new_figure(8, 8, rows=4)
    together, added = np.concatenate([template_flux, injected_flux]), injected_flux - template_flux
    rows = (
        ("original light curve", f"flux [{unit}]", template_flux, together, INK),
        ("simulation at its epochs", "relative flux", spot_flux, spot_flux, ACCENT),
        ("injected light curve", f"flux [{unit}]", injected_flux, together, INK),
        ("injected minus original", f"flux [{unit}]", added, added, ACCENT),
    )  # fmt: skip
    for panel, (label, flux_label, flux, of_axis, color) in zip(panels, rows, strict=True):
        low, high = _limits(of_axis)
        beyond = (flux < low) | (flux > high)
        panel.plot(time[~beyond], flux[~beyond], ".", ms=2.5, color=color, alpha=0.6)
        for far, end, marker in ((flux > high, high, "^"), (flux < low, low, "v")):
            panel.plot(time[far], np.full(far.sum(), end), marker, ms=3, color=SECOND, alpha=0.7)
        panel.set(ylabel=flux_label, ylim=_padded(low, high))
        panel.set_title(label, fontsize=9, loc="left", pad=3)
        panel.sharex(panels[0])
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    panels[-1].set_xlabel("time [d]")
    figure.suptitle(title, fontsize=10)
    return figure


def _limits(flux: NDArray) -> tuple[float, float]:
    """The lowest and highest flux, but of outliers no more than half the range of 99% of the points beyond it."""
    if not len(flux) or flux.min() == flux.max():
        middle = float(flux[0]) if len(flux) else 0.0
        return middle - 0.5, middle + 0.5
    low, high = np.percentile(flux, [0.5, 99.5])
    reach = 0.5 * (high - low)
    return max(float(flux.min()), low - reach), min(float(flux.max()), high + reach)


def _padded(low: float, high: float) -> tuple[float, float]:
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def statistics_figure(
    time: NDArray,
    flux: NDArray,
    channels: Mapping[str, NDArray],
    edges: NDArray,
    probabilities: NDArray,
    period_range: tuple[float, float],
    answer: Mapping[str, float],
    true_period: float | None,
    title: str,
) -> "Figure":
    """A light curve, what a network of the period axis sees of it, and what it says.

    Parameters
    ----------
    time, flux : [d] and relative, shape (m,).
    channels : by name, one statistic in each bin of period, uint8 (bins,).
    edges : of those bins [d], shape (bins + 1,).
    probabilities : predicted probability of each bin of ln(period), all of a width, shape (k,).
    period_range : lower edge of the first and upper edge of the last of those [d].
    answer : `period`, `period_low` and `period_high` [d], the central 68%, and `p_within_10pct`.
    true_period : [d]; None for a star without one or of unknown period.
    """
    figure, (curve, seen, said) = new_figure(8.5, 8.2, rows=3)
    low, high = _limits(flux)
    curve.plot(time, np.clip(flux, low, high), ".", ms=2.5, color=INK, alpha=0.6)
    curve.set(xlabel="time [d]", ylabel="relative flux", ylim=_padded(low, high))
    _draw_channels(seen, channels, edges)
    _draw_distribution(said, probabilities, period_range, answer)
    for panel in (seen, said):
        _logarithmic(panel, edges[0], edges[-1])
        if true_period is not None:
            color = ON_MAGMA if panel is seen else SECOND
            panel.axvline(true_period, color=color, lw=1, ls=":", label=f"true: {true_period:.2f} d")
    said.set_xlabel("period [d]")
    said.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_channels(panel: "Axes", channels: Mapping[str, NDArray], edges: NDArray) -> None:
    """Each channel as a row of colours from its own lowest to its own highest level, which are named."""
    rows = np.arange(len(channels) + 1)
    levels = np.stack(list(channels.values())).astype(float)
    lowest, highest = levels.min(axis=1), levels.max(axis=1)
    stretched = (levels - lowest[:, None]) / np.maximum(highest - lowest, 1)[:, None]
    panel.pcolormesh(edges, rows, stretched, cmap="magma", vmin=0, vmax=1, rasterized=True)
    spans = [
        f"{low:.0f} to {high:.0f}" if low < high else f"{low:.0f}" for low, high in zip(lowest, highest, strict=True)
    ]
    names = [f"{name.replace('_', ' ')}: {span}" for name, span in zip(channels, spans, strict=True)]
    panel.set_yticks(rows[:-1] + 0.5, names, fontsize=8)
    panel.tick_params(axis="y", length=0)
    panel.invert_yaxis()
    panel.set_title("what the network sees (levels of 255)", fontsize=9, loc="left")


def _draw_distribution(
    panel: "Axes", probabilities: NDArray, period_range: tuple[float, float], answer: Mapping[str, float]
) -> None:
    steps = np.geomspace(*period_range, len(probabilities) + 1)
    density = probabilities / np.log(steps[1] / steps[0])
    panel.stairs(density, steps, fill=True, color=QUIET, alpha=0.7, label="predicted distribution")
    panel.axvspan(answer["period_low"], answer["period_high"], color=ACCENT, alpha=0.13, lw=0, label="central 68%")
    label = f"answer: {answer['period']:.2f} d, right with p = {answer['p_within_10pct']:.2f}"
    panel.axvline(answer["period"], color=ACCENT, lw=1.2, label=label)
    panel.set(ylabel="probability per ln(period)", ylim=(0, 1.08 * max(density.max(), 1e-9)))
    panel.set_title("what it says", fontsize=9, loc="left")


def _logarithmic(panel: "Axes", shortest: float, longest: float) -> None:
    panel.set_xscale("log")
    panel.set_xlim(shortest, longest)
    panel.set_xticks([tick for tick in ROUND_PERIODS if shortest <= tick <= longest])
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
