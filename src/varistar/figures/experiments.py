"""Figures of the period experiments: how good networks are, and how honest.

Each takes scores or measured stars and returns a figure. Fractions are drawn in percent of the stars that have a
period; intervals and bands are 95%.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.intervals import wilson_interval

from .periods import draw_guides
from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUSTED = 0.25
#: Different in lightness too, so that they can be told apart without colours; then the lines change.
COLORS = (ACCENT, SECOND, "#e3a92b", "#7a4b8c", "#63b0d6", INK)
LINES = ("-", "--", "-.", ":")
#: Accuracies that the guide lines mark.
GUIDES = (0.71, 0.88, 0.90, 0.95)
#: The coverage of the paper's network (000, Table 3, e), at which accuracies are compared.
PUBLISHED_COVERAGE = 0.198
#: The first stars of a curve, whose accuracy is luck.
FIRST_STARS = 19
#: Thresholds of the paper's Fig. 8: on sigma [d], and on sigma / P.
SIGMAS = np.arange(1, 17, 0.28)
FRACTIONS = np.arange(0.05, 1.5, 0.025)
METRICS = {
    "within_10pct": "within 10% of the true period [%]",
    "within_10pct_at_19.8pct_coverage": "within 10% among the surest 19.8% [%]",
}
TEMPLATES = {"all": ("o", "-"), "few": ("s", "--")}  # marker and line, by what the examples are made from


def panels_figure(tables: Mapping[str, pl.DataFrame], captions: Mapping[str, str], title: str) -> "Figure":
    """Predicted against true period of many networks (000, Fig. 6): trusted stars over the density of all.

    Trusted stars within 10% are blue, others orange, and counted; a prediction beyond the axis stands at its end. The
    band holds what is within 10%, the dotted lines are twice and half the true period.

    Parameters
    ----------
    tables : by panel, `true_period`, `period` and `sigma` [d], one row per star; rows without a truth are left out.
    captions : a line under the names that have one.
    """
    columns = min(4, max(len(tables), 1))
    rows = max(-(-len(tables) // columns), 1)
    figure, panels = new_figure(2.7 * columns + 0.3, 3.05 * rows + 0.4, columns, rows)
    stars = {name: table.drop_nulls("true_period").drop_nans("true_period") for name, table in tables.items()}
    top = max([31.0, *(period for table in stars.values() for period in table["true_period"])])
    for place, (panel, (name, table)) in enumerate(zip(panels, stars.items(), strict=False)):
        trusted = table.filter(pl.col("sigma") / pl.col("period") < TRUSTED)
        _draw_density(panel, table["true_period"].to_numpy(), table["period"].to_numpy(), top)
        draw_guides(panel, top)
        true, period = trusted["true_period"].to_numpy(), trusted["period"].to_numpy()
        color = np.where(np.abs(period - true) <= 0.1 * true, ACCENT, SECOND)
        size = np.clip(1500 / max(len(true), 1), 2, 12)
        panel.scatter(true, np.minimum(period, 0.99 * top), s=size, lw=0, color=color, alpha=0.7)
        panel.text(
            0.03, 0.97, f"{len(true)} of {table.height} trusted", transform=panel.transAxes, va="top", fontsize=7
        )
        panel.set_title(f"{name}\n{captions.get(name, '')}".rstrip(), fontsize=8)
        panel.set(xlim=(0, top), ylim=(0, top))
        panel.tick_params(labelsize=7)
        if place % columns == 0:
            panel.set_ylabel("predicted period [d]", fontsize=8)
        if place + columns >= len(tables):
            panel.set_xlabel("true period [d]", fontsize=8)
    for panel in panels[len(tables) :]:
        panel.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_density(panel: "Axes", true: NDArray, period: NDArray, top: float) -> None:
    counts, edges, _ = np.histogram2d(true, np.minimum(period, 0.99 * top), bins=36, range=[[0, top], [0, top]])
    # The square root shows the tails; a faint top leaves room for the trusted stars above it.
    shade = np.sqrt(counts.T)
    panel.pcolormesh(edges, edges, shade, cmap="Greys", vmin=0, vmax=2.2 * max(shade.max(), 1), rasterized=True)


def table3_figure(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """The published predictive efficiencies (000, Table 3) beside ours, and how often our trusted stars are right.

    A small dot is a seed, the line their range and the large dot their median.

    Parameters
    ----------
    rows : `name`; `published`, the fraction of trusted stars; and with one number per seed, empty for a row that was
        not run, `coverage`, ours, and `trusted_within_10pct`, None where no star was trusted.
    """
    figure, (efficiency, accuracy) = new_figure(9.5, 1.4 + 0.33 * max(len(rows), 3), columns=2)
    for place, row in enumerate(rows):
        published = 100 * row["published"]
        ours = _draw_seeds(efficiency, place, row["coverage"])
        if ours is not None:
            efficiency.plot([published, ours], [place, place], color=QUIET, lw=2.5, alpha=0.5, zorder=1)
        efficiency.plot(published, place, "D", ms=8, mfc="none", mec=INK, zorder=6)
        right = _draw_seeds(accuracy, place, [value for value in row["trusted_within_10pct"] if value is not None])
        if right is None:
            reason = "no trusted star" if row["coverage"] else "not run"
            accuracy.text(1.5, place, reason, va="center", fontsize=8, color=INK)
    accuracy.set(xlim=(-2, 102), xlabel="of our trusted stars within 10% [%]")
    longest = max(efficiency.dataLim.x1, 1)
    efficiency.set(xlabel="predictive efficiency: stars trusted [%]", xlim=(-0.02 * longest, 1.06 * longest))
    for panel, names in ((efficiency, [row["name"] for row in rows]), (accuracy, [""] * len(rows))):
        panel.set_yticks(range(len(rows)), names, fontsize=8)
        panel.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        panel.grid(axis="x", color=QUIET, lw=0.4, alpha=0.5)
    marks = [
        efficiency.plot([], [], "D", ms=8, mfc="none", mec=INK, label="published")[0],
        efficiency.plot([], [], "o-", ms=6.5, color=ACCENT, label="here: median and range of seeds")[0],
    ]
    figure.legend(handles=marks, loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_seeds(panel: "Axes", place: float, values: Sequence[float]) -> float | None:
    """The fractions of all seeds on one row; returns their median [%], None where there are none."""
    if not len(values):
        return None
    percent = 100 * np.asarray(values)
    panel.plot([percent.min(), percent.max()], [place, place], color=ACCENT, lw=1.4, zorder=4)
    panel.plot(percent, np.full(len(percent), place), "o", ms=3, color=ACCENT, alpha=0.7, zorder=4)
    panel.plot(np.median(percent), place, "o", ms=6.5, color=ACCENT, zorder=5)
    return float(np.median(percent))


def coverage_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> "Figure":
    """How often the surest stars are right, as more and more of them are taken; guide lines at `GUIDES`.

    The vertical line is the coverage of the paper's network. Where less than 20 stars are taken nothing is drawn.

    Parameters
    ----------
    curves : by method, coverage and accuracy of the surest 1, 2, ... n stars, shape (n,) each.
    """
    figure, (panel,) = new_figure(7.5, 4.6)
    for number, (name, curve) in enumerate(curves.items()):
        coverage, accuracy = (np.asarray(values, dtype=float)[FIRST_STARS:] for values in curve)
        stars = np.arange(len(coverage)) + FIRST_STARS + 1
        low, high = wilson_interval(accuracy * stars, stars)
        color, line = _look(number)
        panel.plot(100 * coverage, 100 * accuracy, ls=line, lw=1.5, color=color, label=name)
        panel.fill_between(100 * coverage, 100 * low, 100 * high, color=color, alpha=0.1, lw=0)
    for guide in GUIDES:
        panel.axhline(100 * guide, color=QUIET, lw=0.8, ls=":", zorder=0)
        # 88 and 90 are too near each other for two labels in one place.
        side = "top" if guide == 0.88 else "bottom"
        panel.text(100, 100 * guide, f"{guide:.0%}", ha="right", va=side, fontsize=7, color=INK, alpha=0.7)
    panel.axvline(100 * PUBLISHED_COVERAGE, color=QUIET, lw=0.8, ls=":", zorder=0)
    panel.set(xlabel="stars taken, the surest first [%]", ylabel="of them within 10% of the true period [%]")
    panel.set(xlim=(0, 100), ylim=(0, 101))
    if curves:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def reliability_figure(table: Sequence[Mapping[str, Any]], p: ArrayLike, pit: ArrayLike, title: str) -> "Figure":
    """Is a predicted probability kept, and is the truth anywhere in the predicted distributions equally often?

    Parameters
    ----------
    table : a row per bin of stars: `predicted` (mean p), `right` (fraction) and `right_interval`.
    p : predicted probability that the period is right, shape (n,), for the histogram; NaN is left out.
    pit : how many stars have their truth in each of equal parts of their predicted distribution, shape (bins,).
    """
    figure, (kept, flat) = new_figure(9, 4.2, columns=2)
    known = np.asarray(p, dtype=float)[~np.isnan(np.asarray(p, dtype=float))]
    counts, edges = np.histogram(known, bins=20, range=(0, 1))
    label = f"histogram of the predicted ({len(known)} stars)"
    kept.bar(edges[:-1], 0.2 * counts / max(counts.max(), 1), 0.05, align="edge", color=QUIET, alpha=0.5, label=label)
    kept.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--", label="honest")
    for row in table:
        kept.plot([row["predicted"]] * 2, row["right_interval"], color=ACCENT, lw=1.2)
    predicted, right = ([row[key] for row in table] for key in ("predicted", "right"))
    kept.plot(predicted, right, "o", ms=5, color=ACCENT, label="stars of similar prediction, 95%")
    kept.set(xlabel="predicted probability to be within 10%", ylabel="fraction within 10%", xlim=(0, 1), ylim=(0, 1.02))
    kept.legend(frameon=False, fontsize=8, loc="upper left")
    _draw_pit(flat, np.asarray(pit))
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_pit(panel: "Axes", pit: NDArray) -> None:
    n, share = int(pit.sum()), 1 / len(pit)
    low, high = (n * (share + z * np.sqrt(share * (1 - share) / max(n, 1))) for z in (-1.96, 1.96))
    panel.bar(np.arange(len(pit)) * share, pit, share, align="edge", color=ACCENT, alpha=0.75, ec="white", lw=0.5)
    panel.axhspan(low, high, color=INK, alpha=0.12, lw=0, label="honest, 95%")
    panel.axhline(n * share, color=INK, lw=0.8, ls="--")
    panel.set(xlabel="predicted probability of a shorter period", ylabel="stars", xlim=(0, 1))
    panel.set_ylim(0, 1.25 * max(*pit, high, 1))
    panel.legend(frameon=False, fontsize=8, loc="upper left")


def thresholds_figure(sigma: NDArray, period: NDArray, true_period: NDArray, title: str) -> "Figure":
    """How many stars a threshold on the uncertainty keeps, and how many of them are right (000, Fig. 8).

    The vertical lines are the paper's threshold on sigma / P, and that on sigma which keeps most nearly as many stars.

    Parameters
    ----------
    sigma, period, true_period : [d], shape (n,); a star whose truth is NaN is left out.
    """
    known = ~np.isnan(true_period)
    sigma, period, true = sigma[known], period[known], true_period[known]
    right = np.abs(period - true) <= 0.1 * true
    figure, panels = new_figure(9.5, 4.2, columns=2)
    trusted = (sigma / period < TRUSTED).sum()
    alike = SIGMAS[np.argmin([abs((sigma < limit).sum() - trusted) for limit in SIGMAS])]
    cuts = ((sigma, SIGMAS, alike, "sigma [d]"), (sigma / period, FRACTIONS, TRUSTED, "sigma / P"))
    for panel, (quantity, limits, marked, label) in zip(panels, cuts, strict=True):
        kept = quantity < limits[:, None]
        n, n_right = kept.sum(axis=1), (kept & right).sum(axis=1)
        accuracy = np.where(n > 0, n_right / np.maximum(n, 1), np.nan)
        low, high = wilson_interval(np.where(n > 0, n_right, np.nan), n)
        panel.plot(limits, 100 * n / max(len(true), 1), color=INK, lw=1.4, ls="--", label="kept, of all stars")
        panel.plot(limits, 100 * accuracy, color=ACCENT, lw=1.6, label="within 10%, of those kept")
        panel.fill_between(limits, 100 * low, 100 * high, color=ACCENT, alpha=0.15, lw=0)
        panel.axvline(marked, color=SECOND, lw=1, ls=":")
        panel.set_title(f"below {marked:.3g}: {(quantity < marked).sum()} stars", fontsize=9)
        panel.set(xlabel=f"threshold on {label}", ylabel="stars [%]", ylim=(0, 102), xlim=(0, limits[-1]))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def learning_figure(points: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """How accuracy grows with the number of training examples, a colour for each method.

    Circles and solid lines: all templates there are; squares and dashed lines: few of them, repeated more often.

    Parameters
    ----------
    points : `method`, `examples`, `templates` (all or few) and, where they are known, the keys of `METRICS` and
        each with `_interval`.
    """
    figure, panels = new_figure(9.5, 4.4, columns=2)
    methods = list(dict.fromkeys(point["method"] for point in points))
    for panel, (metric, label) in zip(panels, METRICS.items(), strict=True):
        for number, method in enumerate(methods):
            color, _ = _look(number)
            for templates, (marker, line) in TEMPLATES.items():
                mine = [p for p in points if (p["method"], p["templates"]) == (method, templates)]
                mine = sorted((p for p in mine if p.get(metric) is not None), key=lambda p: p["examples"])
                for point in mine:
                    panel.plot([point["examples"]] * 2, _percent(point, metric)[1:], lw=1.2, color=color, alpha=0.7)
                values = [_percent(point, metric)[0] for point in mine]
                panel.plot([p["examples"] for p in mine], values, marker=marker, ls=line, ms=5, lw=1.2, color=color)
        panel.set(xscale="log", xlabel="training examples", ylabel=label)
        panel.set_ylim(0, 1.06 * max(panel.dataLim.y1, 1) if points else 100)
    for number, method in enumerate(methods):
        panels[0].plot([], [], color=_look(number)[0], lw=3, label=method)
    for templates, (marker, line) in TEMPLATES.items():
        if any(point["templates"] == templates for point in points):
            panels[0].plot([], [], marker=marker, ls=line, ms=5, lw=1.2, color=QUIET, label=f"{templates} templates")
    if points:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def ablation_figure(rows: Sequence[Mapping[str, Any]], title: str, reference: str | None = None) -> "Figure":
    """The accuracy of variants in their groups, simple methods in grey; dotted, what the reference reaches.

    Parameters
    ----------
    rows : `group`, `variant`, `baseline` (whether it is a simple method) and, where they are known, the keys of
        `METRICS` and each with `_interval`. Groups in the order of their first row.
    reference : the variant that the others are changes of.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    lines: list[Mapping[str, Any]] = []
    for group in groups:
        lines += [{"variant": group, "baseline": None}, *(row for row in rows if row["group"] == group)]
    figure, panels = new_figure(9.5, 1.2 + 0.27 * max(len(lines), 4), columns=2)
    for panel, (metric, label) in zip(panels, METRICS.items(), strict=True):
        for place, row in enumerate(lines):
            if row.get(metric) is None:
                continue
            value, low, high = _percent(row, metric)
            color = QUIET if row["baseline"] else ACCENT
            panel.plot([low, high], [place, place], lw=1.4, color=color)
            panel.plot(value, place, "o", ms=5.5, color=color)
            if row["variant"] == reference:
                panel.axvline(value, color=INK, lw=0.8, ls=":", zorder=0)
        panel.set(xlabel=label, xlim=(0, 1.06 * max(panel.dataLim.x1, 1) if lines else 100))
        panel.set_ylim(max(len(lines), 1) - 0.5, -0.5)
        panel.grid(axis="x", color=QUIET, lw=0.4, alpha=0.5)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(lines)), [row["variant"] for row in lines], fontsize=8)
    panels[1].set_yticks([])
    for tick, row in zip(panels[0].get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if row["baseline"] is None else "normal")
    figure.suptitle(title, fontsize=10)
    return figure


def _percent(row: Mapping[str, Any], metric: str) -> tuple[float, float, float]:
    """A metric and its interval [%]; NaN, which is not drawn, where the interval is not known."""
    low, high = row.get(f"{metric}_interval") or (np.nan, np.nan)
    return 100 * row[metric], 100 * low, 100 * high


def _look(number: int) -> tuple[str, str]:
    """Colour and line of the method of this number."""
    return COLORS[number % len(COLORS)], LINES[number // len(COLORS) % len(LINES)]
