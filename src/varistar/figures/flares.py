"""Figures of the flare wing: each takes tables or arrays and returns a figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: One for each of several curves, different in lightness too.
COLORS = (ACCENT, SECOND, "#e3a92b", "#7a4b8c", "#63b0d6", INK)
#: Of the colours of a light curve: what is surely no flare, and what surely is one.
PROBABILITY = ("#b9c2c8", "#d1603d")
#: Example windows of each kind, and the kinds by (is a flare, is called one).
EXAMPLES = 3
CALLED = {
    (True, True): "flares found",
    (True, False): "flares missed",
    (False, True): "others called flares",
    (False, False): "others called none",
}
#: What of a flare is drawn beside its truth.
MEASURES = {
    "amplitude": "amplitude",
    "fwhm_minutes": "full width at half height",
    "equivalent_duration_s": "equivalent duration",
}


def history_figure(history: pl.DataFrame, title: str) -> "Figure":
    """Loss and scores by epoch (002, Fig. 3, left); thin lines are the other members.

    Parameters
    ----------
    history : one row per member and epoch, with `member`, `epoch`, `train_loss`, `validation_loss` and any further
        `validation_` scores.
    """
    figure, (loss, score) = new_figure(9, 3.8, columns=2)
    scores = [name for name in history.columns if name.startswith("validation_") and name != "validation_loss"]
    for number, member in enumerate(history.partition_by("member", maintain_order=True)):
        width, alpha = (1.6, 1.0) if number == 0 else (0.7, 0.6)
        lines = [(loss, "train_loss", QUIET), (loss, "validation_loss", ACCENT)]
        lines += [(score, name, color) for name, color in zip(scores, COLORS, strict=False)]
        for panel, column, color in lines:
            named = column.replace("train_loss", "training").replace("validation_loss", "validation")
            label = named.removeprefix("validation_").replace("_", " ") if number == 0 else None
            panel.plot(member["epoch"] + 1, member[column], ".-", color=color, lw=width, alpha=alpha, ms=4, label=label)
    for panel, name in ((loss, "loss"), (score, "of the validation examples")):
        panel.set(xlabel="epoch", ylabel=name)
        panel.locator_params(axis="x", integer=True, min_n_ticks=1)
        panel.legend(frameon=False, fontsize=8)
    score.set_ylim(None, 1.02)
    figure.suptitle(title, fontsize=10)
    return figure


def curves_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str, threshold: float = 0.5) -> "Figure":
    """Receiver operating characteristic, and precision and recall (002, Fig. 3, right); dots stand at `threshold`.

    Parameters
    ----------
    curves : by name, which examples are flares, bool (n,), some but not all, and how likely each is said to be.
    """
    figure, (roc, both) = new_figure(9, 4.2, columns=2)
    for color, (name, (truth, p)) in zip(COLORS, curves.items(), strict=False):
        true = np.asarray(truth, dtype=bool)
        order = np.argsort(-np.asarray(p), kind="stable")
        falling = np.asarray(p)[order]
        # equal probabilities are one step
        last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        hits, taken = np.cumsum(true[order])[last], last + 1
        recall, false = hits / true.sum(), (taken - hits) / (~true).sum()
        roc.plot(np.append(0, false), np.append(0, recall), color=color, lw=1.5, label=name)
        both.plot(recall, hits / taken, color=color, lw=1.5, label=name)
        above = int((falling[last] > threshold).sum()) - 1
        if above >= 0:
            roc.plot(false[above], recall[above], "o", ms=6, color=color)
            both.plot(recall[above], (hits / taken)[above], "o", ms=6, color=color)
    roc.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(-0.01, 1.01), ylim=(0, 1.02))
    roc.plot([0, 1], [0, 1], color=INK, lw=0.7, ls="--")
    both.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    both.legend(frameon=False, fontsize=8, loc="lower left")
    figure.suptitle(title, fontsize=10)
    return figure


def confusion_figure(
    counts: Mapping[tuple[bool, bool], int],
    examples: Mapping[tuple[bool, bool], Sequence[tuple[ArrayLike, float]]],
    title: str,
) -> "Figure":
    """How many windows are called what, with some of each kind (002, Fig. 4).

    Parameters
    ----------
    counts, examples : by (is a flare, is called one), how many, and up to `EXAMPLES` windows of flux with their p.
    """
    figure, panels = new_figure(9, 5.2, columns=2, rows=2)
    width = max([1, *(len(np.asarray(flux)) for some in examples.values() for flux, _ in some)])
    for place, (panel, (key, kind)) in enumerate(zip(panels, CALLED.items(), strict=True)):
        for number, (flux, p) in enumerate(list(examples.get(key, ()))[:EXAMPLES]):
            values = np.asarray(flux, dtype=np.float64)
            low, high = values.min(), values.max()
            level = EXAMPLES - 1 - number
            color = ACCENT if key[0] == key[1] else SECOND
            panel.plot(level + 0.75 * (values - low) / max(high - low, 1e-12), lw=0.8, color=color)
            note = f"p = {p:.2f}, from lowest to highest {high - low:.2g}"
            panel.text(width, level + 0.78, note, fontsize=7, ha="right", va="bottom", color=INK)
        panel.set(yticks=[], xlim=(-1, width), ylim=(-0.1, EXAMPLES + 0.1), title=f"{counts.get(key, 0)} {kind}")
        panel.title.set_fontsize(9)
        if place >= 2:
            panel.set_xlabel("cadence of the window")
    figure.suptitle(title, fontsize=10)
    return figure


def reliability_figure(tables: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    """How often what is called p is a flare (002, Fig. 6), with 95% intervals, and below how many there are.

    Parameters
    ----------
    tables : by name, a row per bin: `p_mean`, `fraction`, `low`, `high` and `n`.
    """
    figure, panels = new_figure(4.4 * max(len(tables), 1), 4.2, columns=max(len(tables), 1))
    for panel, (name, table) in zip(panels, tables.items(), strict=False):
        panel.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--", label="honest")
        panel.vlines(table["p_mean"], table["low"], table["high"], color=ACCENT, lw=1.2)
        panel.plot(table["p_mean"], table["fraction"], "o-", ms=5, lw=0.8, color=ACCENT, label="bins, 95%")
        n = int(table["n"].sum())
        panel.set(xlabel="probability of a flare", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"{n} {name}")
        panel.title.set_fontsize(9)
    panels[0].set_ylabel("fraction that are flares")
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(title, fontsize=10)
    return figure


def amplitude_figure(amplitude: NDArray, p: NDArray, fold: ArrayLike | None, title: str) -> "Figure":
    """Probability of known flares against their amplitude (002, Fig. 5), a colour for each fold.

    Parameters
    ----------
    amplitude : in units of the star's flux, shape (n,), positive.
    p : shape (n,).
    fold : of cross-validation, shape (n,); None where all were left out together.
    """
    figure, (panel,) = new_figure(6.5, 4.2)
    folds = np.zeros(len(p), dtype=int) if fold is None else np.asarray(fold)
    for number, one in enumerate(np.unique(folds)):
        mine = folds == one
        label = None if fold is None else f"fold {one}: {(p[mine] > 0.5).mean():.1%} above 0.5"
        color = COLORS[number % len(COLORS)]
        panel.plot(100 * amplitude[mine], p[mine], ".", ms=5, mew=0, alpha=0.6, color=color, label=label)
    panel.axhline(0.5, color=INK, lw=0.7, ls="--")
    panel.set(xscale="log", xlabel="amplitude [%]", ylabel="probability of a flare", ylim=(-0.02, 1.02))
    panel.xaxis.set_major_formatter("{x:g}")
    if fold is not None:
        panel.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def folds_figure(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> "Figure":
    """Scores of cross-validation in folds of windows and in folds of stars: a dot for each fold, a bar for their mean.

    Parameters
    ----------
    scores : for "sample" and "star", of each score its `mean` and its `folds`, None where undefined.
    """
    names = list(scores["sample"])
    figure, panels = new_figure(2.4 * len(names), 3.4, columns=len(names))
    for panel, name in zip(panels, names, strict=True):
        for place, by, color in ((0.0, "sample", SECOND), (1.3, "star", ACCENT)):
            score = scores[by][name]
            values = np.array([value for value in score["folds"] if value is not None], dtype=np.float64)
            across = place + 0.12 * np.linspace(-1.0, 1.0, len(values))
            panel.plot(across, values, "o", ms=5, mew=0, color=color, alpha=0.7)
            if score["mean"] is not None:
                panel.plot([place - 0.28, place + 0.28], [score["mean"]] * 2, color=color, lw=2.0)
                note = f"{score['mean']:.3f}"
                panel.annotate(
                    note, (place + 0.3, score["mean"]), (2, 0), textcoords="offset points", va="center", fontsize=8
                )
        panel.set_xticks([0.0, 1.3], ["by sample", "by star"], fontsize=9)
        panel.set(xlim=(-0.5, 2.2), title=name.replace("_", " "))
        panel.title.set_fontsize(9)
    figure.suptitle(title, fontsize=10)
    return figure


def light_curve_figure(
    stretches: Sequence[Mapping[str, NDArray]], events: pl.DataFrame, labels: pl.DataFrame, title: str, zoom: int = 3
) -> "Figure":
    """A light curve coloured by probability with what was found in it (002, Fig. 12), and some events enlarged, from
    the highest to the lowest.

    Triangles above are events, those below known flares; the lines are the light beneath and the fitted flares. Flares
    much higher than the star's own changes leave the upper panel.

    Parameters
    ----------
    stretches : of each orbit `time` [d], `flux` and `p`, NaN where unknown, and `model`, NaN where there is none; shape
        (m,).
    events : `tstart`, `tstop`, `tpeak` [d] and `amplitude`, which may be null.
    labels : `tpeak` [d]; may be empty.
    zoom : events that are enlarged.
    """
    fitted = events.drop_nulls("amplitude").sort("amplitude", descending=True)
    chosen = np.unique(np.linspace(0, max(len(fitted) - 1, 0), zoom).round().astype(np.int64))[: len(fitted)]
    enlarged = fitted[chosen]
    rows, columns = (2, len(enlarged)) if len(enlarged) else (1, 1)
    figure, panels = new_figure(10, 2.4 + 1.8 * rows, columns, rows)
    whole, closer = panels[0], panels[columns:]
    for panel in panels[1:columns]:
        panel.remove()
    grid = whole.get_gridspec()
    assert grid is not None
    whole.set_subplotspec(grid[0, :])
    _draw_stretches(whole, stretches, 1.5)
    low, high = _seen_range(stretches)
    whole.set(xlabel="time [d]", ylim=(low, high))
    inside = 0.03 * (high - low)
    for table, level, marker, color in ((events, high - inside, "v", ACCENT), (labels, low + inside, "^", INK)):
        whole.plot(table["tpeak"], np.full(len(table), level), marker, ms=4, mew=0, color=color, alpha=0.8)
    for panel, event in zip(closer, enlarged.iter_rows(named=True), strict=True):
        length = max(event["tstop"] - event["tstart"], 0.01)
        span = event["tstart"] - 1.5 * length, event["tstop"] + 2.0 * length
        parts = [_part(stretch, *span) for stretch in stretches]
        _draw_stretches(panel, [part for part in parts if len(part["time"])], 4.0)
        bottom, top = panel.get_ylim()
        for table, level, marker, color in ((events, top, "v", ACCENT), (labels, bottom, "^", INK)):
            near = table.filter(pl.col("tpeak").is_between(*span))["tpeak"]
            panel.plot(near, np.full(len(near), level), marker, ms=5, mew=0, color=color, alpha=0.8)
        panel.set(xlim=span, xlabel="time [d]")
        panel.locator_params(axis="x", nbins=4)
        panel.ticklabel_format(axis="x", useOffset=False)
    for panel in (whole, *closer[:1]):
        panel.set_ylabel("relative flux")
    _explain(figure, whole)
    figure.suptitle(title, fontsize=10)
    return figure


def _seen_range(stretches: Sequence[Mapping[str, NDArray]]) -> tuple[float, float]:
    """The range of the flux, but for flares more than three times as high as the star's own changes."""
    flux = np.concatenate([np.empty(0), *(stretch["flux"] for stretch in stretches)])
    flux = flux[np.isfinite(flux)]
    if not len(flux):
        return 0.0, 1.0
    first, last = np.percentile(flux, [1, 99])
    low, high = float(flux.min()), min(float(flux.max()), last + 3.0 * (last - first))
    margin = 0.08 * max(high - low, 1e-6)
    return low - margin, high + margin


def _part(stretch: Mapping[str, NDArray], start: float, stop: float) -> dict[str, NDArray]:
    inside = (stretch["time"] >= start) & (stretch["time"] <= stop)
    return {name: values[inside] for name, values in stretch.items()}


def _draw_stretches(panel: "Axes", stretches: Sequence[Mapping[str, NDArray]], size: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("probability", PROBABILITY)
    for stretch in stretches:
        p = np.nan_to_num(stretch["p"])
        order = np.argsort(p, kind="stable")  # the likeliest on top
        panel.scatter(
            stretch["time"][order], stretch["flux"][order], s=size**2, c=p[order], cmap=colors, vmin=0, vmax=1, lw=0
        )
        panel.plot(stretch["time"], stretch["model"], color=ACCENT, lw=1.0)


def _explain(figure: "Figure", panel: "Axes") -> None:
    marks = [
        panel.plot([], [], "o", ms=4, mew=0, color=PROBABILITY[0], label="p = 0")[0],
        panel.plot([], [], "o", ms=4, mew=0, color=PROBABILITY[1], label="p = 1")[0],
        panel.plot([], [], "v", ms=5, mew=0, color=ACCENT, label="found")[0],
        panel.plot([], [], "^", ms=5, mew=0, color=INK, label="known")[0],
        panel.plot([], [], color=ACCENT, lw=1.0, label="fit")[0],
    ]
    figure.legend(handles=marks, loc="outside lower right", ncols=5, frameon=False, fontsize=8)


def measures_figure(beside: pl.DataFrame, table: pl.DataFrame, title: str) -> "Figure":
    """What was measured over what is true of amplitude, FWHM and equivalent duration, by signal-to-noise ratio: each
    flare, the bias with 68% of the flares, and below how much wider than one the pulls are.

    Parameters
    ----------
    beside : a row per event: `snr`, `overlaps`, each quantity and `true_<quantity>`.
    table : a row per `events` ("single", "overlapping"), `quantity` and bin, `snr_low` to `snr_high`: `bias`, `low`,
        `high` and `pull_width`, which may be null.
    """
    figure, panels = new_figure(10, 5.6, columns=3, rows=2)
    edges = sorted({high for high in table["snr_high"] if np.isfinite(high)})
    last = 3.0 * max(edges, default=30.0)
    for place, (quantity, name) in enumerate(MEASURES.items()):
        upper, lower = panels[place], panels[place + 3]
        for events, color, shift in (("single", ACCENT, 0.97), ("overlapping", SECOND, 1.03)):
            own = beside.filter(pl.col("overlaps") == (events == "overlapping"))
            ratio = own[quantity] / own[f"true_{quantity}"]
            upper.plot(own["snr"], ratio, ".", ms=3, mew=0, alpha=0.35, color=color)
            bins = table.filter((pl.col("events") == events) & (pl.col("quantity") == quantity))
            if bins.is_empty():
                continue
            low, high = bins["snr_low"].to_numpy(), np.minimum(bins["snr_high"].to_numpy(), last)
            middle = shift * np.sqrt(low * high)
            upper.vlines(middle, bins["low"], bins["high"], color=INK, lw=2.4)
            upper.vlines(middle, bins["low"], bins["high"], color=color, lw=1.4)
            upper.plot(middle, bins["bias"], "o", ms=5, color=color, mec=INK, mew=0.6, label=events)
            lower.plot(middle, bins["pull_width"].cast(pl.Float64).fill_null(np.nan), "o-", ms=5, lw=0.8, color=color)
        for panel, honest in ((upper, 1.0), (lower, 1.0)):
            panel.axhline(honest, color=INK, lw=0.8, ls="--")
            panel.set(xscale="log", xlim=(2.5, 1.3 * last))
            panel.xaxis.set_major_formatter("{x:g}")
        upper.set(yscale="log", ylim=(0.2, 5.0), title=name)
        upper.set_yticks([0.2, 0.5, 1.0, 2.0, 5.0], ["0.2", "0.5", "1", "2", "5"])
        upper.set_yticks([], minor=True)
        upper.title.set_fontsize(9)
        lower.set(xlabel="true signal-to-noise ratio of the peak", ylim=(0.0, 3.0))
    panels[0].set_ylabel("measured / true")
    panels[3].set_ylabel("width of the pulls")
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def comparison_figure(scores: Mapping[str, Mapping[str, Any]], networks: Sequence[str], title: str) -> "Figure":
    """Precision, recall and F1 of the events of each method on the same stars, with 95% intervals over stars.

    Parameters
    ----------
    scores : of each method `counted_precision`, `counted_recall`, `counted_f1` and each with `_interval`; None where
        there are none.
    networks : which of the methods are networks.
    """
    figure, panels = new_figure(10, 1.1 + 0.42 * max(len(scores), 2), columns=3)
    for panel, metric in zip(panels, ("counted_f1", "counted_precision", "counted_recall"), strict=True):
        for place, (name, score) in enumerate(scores.items()):
            value = score[metric]
            if value is None:
                continue
            low, high = score[f"{metric}_interval"] or (value, value)
            panel.barh(place, value, color=ACCENT if name in networks else QUIET, height=0.62)
            panel.plot([low, high], [place, place], color=INK, lw=1.2)
            panel.annotate(f"{value:.2f}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        panel.set(xlim=(0, 1.15), xlabel=metric.removeprefix("counted_").replace("f1", "F1"))
        panel.set_yticks(range(len(scores)), list(scores) if panel is panels[0] else [""] * len(scores), fontsize=8)
        panel.set_ylim(max(len(scores), 1) - 0.5, -0.5)
    figure.suptitle(title, fontsize=10)
    return figure
