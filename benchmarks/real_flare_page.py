"""The page and the figure that `real_flares.py` makes of its results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from machine import describe
from real_data import paragraph
from real_flare_data import FAINT_SNR, PROXIMA, QUIET, SECTORS, STRONG_SNR, label_heights, shown
from real_flare_tuning import COPIES, EPOCHS, SLOWER
from varistar.figures.flares import COLORS
from varistar.figures.style import INK, new_figure
from varistar.figures.style import QUIET as GREY
from varistar.flares.inject import searched_days
from varistar.flares.labels import JOIN_MINUTES, join_close

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The first of the methods is ours, which the others are compared with.
RATES = ("precision", "recall", "f1")
TOP = 3


def write(results: Mapping[str, Any], figure: str, seconds: float) -> str:
    """The whole page."""
    parts = [
        *introduction(results["stars"], results["contents"], seconds),
        "## Scores",
        *score_section(results["scores"]),
        f"![F1 and recovered share of each method]({figure})",
        "### Star by star",
        *star_section(results["scores"]),
        "## Injected flares",
        *injected_section(results["injected"]),
        "## False events",
        *false_section(results["false"], results["threshold"], results["scores"]),
        "## Time",
        *time_section(results["seconds"]),
        "## Fine-tuned on real stars",
        *tuned_section(results["tuned"]),
        "## What this says",
        *conclusion(results),
    ]
    return "\n\n".join(parts) + "\n"


def introduction(stars: Sequence[Any], contents: Mapping[str, str], seconds: float) -> list[str]:
    what = """
        Networks trained on simulated stars alone, the published weights of stella and simple methods search real TESS
        stars whose flares others have marked. The page is made by"""
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in contents.items())
    made = f"""
        It took {seconds / 60:.0f} minutes. Light curves and lists are no part of the project; the command reads them
        from `VARISTAR_REAL_DATA`. Flags 512 and 2048 do not cost a cadence; the three light curves of Guenther's stars
        came without the flagged cadences. Weights: {weights}. Machine: {describe()}."""
    rows = []
    ratios = []
    for star in stars:
        snr = star.labels["peak_snr"].to_numpy()
        source = "none, quiet" if star.star_id in QUIET else star.labels["source"][0]
        joined = join_close(star.labels).height if star.labels.height else 0
        days, faint = searched_days(star.orbits), int((snr < FAINT_SNR).sum())
        rows.append(
            (shown(star.star_id), SECTORS[star.star_id], f"{days:.1f}", source, star.labels.height, joined, faint)
        )
        ratios.append(label_heights(star) / snr)
    low, middle, high = np.nanpercentile(np.concatenate(ratios), [16, 50, 84])
    labels = f"""
        Labels are Guenther et al.'s (2020) and, for {shown(PROXIMA)}, those that people marked with FBeye. Lists are
        scored as they are, where several rows may be parts of one flare, and with rows joined that follow each other
        within {JOIN_MINUTES:g} minutes. The peak's signal-to-noise ratio of a label is its listed amplitude over the
        error of the nearest cadence; the light curves' own highest cadence within 6 minutes, above a spline through
        the rest, is {middle:.2f} times that (median; 68%: {low:.2f} to {high:.2f})."""
    head = ("star", "sector", "days", "labels of", "labels", "joined", f"S/N < {FAINT_SNR:g}")
    command = "```\npython benchmarks/real_flares.py\n```"
    return ["# Real flares", paragraph(what), command, paragraph(made), table(head, rows), paragraph(labels)]


def score_section(scores: Mapping[str, Any]) -> list[str]:
    """Scores of all events, and of those that count."""
    how = """
        An event and a label fit if their peaks are at most 6 minutes apart or their intervals touch, and are paired
        one to one; an event left over is false, and so is a duplicate, of which there is a column. Intervals are 95%
        over stars; of six stars they are too narrow."""
    parts = [paragraph(how)]
    for name, title in (("original", "Labels as listed"), ("joined", "Rows within 12 minutes joined")):
        rows = []
        for method, both in scores.items():
            one = both[name]
            counts = (one["n_events"], one["true_positives"], one["false_positives"], one["duplicates"])
            rates = [f"{one[rate]:.2f}" if one[rate] is not None else "-" for rate in RATES[:2]]
            rows.append((method, *counts, *rates, interval(one, "f1"), less(one["less"])))
        found = next(iter(scores.values()))[name]["n_labels"]
        head = ("method", "events", "true", "false", "duplicates", "precision", "recall", "F1", "F1 less ours")
        parts += [f"{title}: {found} labels.", table(head, rows)]
    counted = f"""
        Lists go deeper than any method sees and lack flares that are plain. Here labels below S/N {FAINT_SNR:g} and the
        events paired with them do not count, nor do events that fit no label and stand at S/N {STRONG_SNR:g} or more
        (a limit set before anything was scored); duplicates still count as false."""
    apart = [
        (
            method,
            *(interval(both["original"], f"counted_{rate}") for rate in RATES),
            interval(both["joined"], "counted_f1"),
        )
        for method, both in scores.items()
    ]
    rates_head = ("method", "precision", "recall", "F1", "F1, joined")
    quoted = """
        Guenther's stars are among those that stella's authors trained on, so that the scores of their weights are not
        independent there. Two of their ten published networks are at hand and averaged. AltaiPony was not run."""
    return [*parts, paragraph(counted), table(rates_head, apart), paragraph(quoted)]


def star_section(scores: Mapping[str, Any]) -> list[str]:
    """F1 of each star, and what it is made of."""
    stars = list(next(iter(scores.values()))["joined"]["stars"])
    parts = []
    for name, what in (("original", "labels as listed"), ("joined", "rows within 12 minutes joined")):
        rows = []
        for method, both in scores.items():
            own = both[name]["stars"]
            rows.append((method, *(_of_one(own[star]) for star in stars)))
        parts += [
            f"F1 with true / false / missed, {what}.",
            table(("method", *(shown(star) for star in stars)), rows),
        ]
    return parts


def injected_section(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """Recovered shares by amplitude and by signal-to-noise ratio."""
    how = """
        Flares go into all eight stars, labelled flares kept clear, widths 2 to 32 minutes; one is recovered where an
        event fits it and none did before. Intervals are Wilson's, as if the stars' noise were one, and too narrow."""
    parts = [paragraph(how)]
    for name, one in tables.items():
        cells = one.select(f"{name}_low", f"{name}_high").unique(maintain_order=True).rows()
        rows = []
        for method in one["method"].unique(maintain_order=True):
            own = one.filter(method=method)
            rows.append((method, *(_share(row) for row in own.iter_rows(named=True))))
        n = one.filter(method=one["method"][0])["n"].to_list()
        percent = name == "amplitude"
        names = [f"{100 * a:g}-{100 * b:g}%" if percent else f"S/N {a:g}-{b:g}" for a, b in cells]
        head = ("recovered [%]", *(f"{cell} ({k})" for cell, k in zip(names, n, strict=True)))
        parts.append(table(head, rows))
    return parts


def false_section(tables: Mapping[str, pl.DataFrame], threshold: float, scores: Mapping[str, Any]) -> list[str]:
    """False events a day, of the quiet stars and upside down, and the counts of each star upside down."""
    quiet, flipped = tables["quiet"], tables["flipped"]
    stars = [name for name in tables if name not in ("quiet", "flipped")]
    rows = []
    for method in flipped["method"]:
        counts = [tables[star].filter(method=method)["n"][0] for star in stars]
        rows.append((method, *(_rate(one.filter(method=method)) for one in (quiet, flipped)), *counts))
    days = quiet["days"][0], flipped["days"][0]
    what = f"""
        Events a day, with 95% intervals, in the two quiet stars as they are ({days[0]:.0f} d) and in all stars upside
        down ({days[1]:.0f} d), and the number in each upside down. Upside down, dips become bumps: {shown(QUIET[0])}
        has transits, AU Mic shallow ones, and whatever goes beneath a light that spots modulate stands up. The quiet
        stars may have flares that nobody listed. Our network's threshold, {threshold:.2f}, is from simulated stars."""
    head = ("method", "quiet, a day", "upside down, a day", *(shown(star) for star in stars))
    labelled = [star for star in stars if star not in QUIET]
    unlabelled = []
    for method, both in scores.items():
        upright = both["original"]["false_positives"] - both["original"]["duplicates"]
        down = sum(tables[star].filter(method=method)["n"][0] for star in labelled)
        unlabelled.append((method, upright, down))
    beside = """
        Lists are incomplete: where a method finds far more without a label in a light curve than upside down, much of
        it is light that rises, flares among it, though glitches that only rise are not seen upside down."""
    second = ("six labelled stars", "events that fit no label", "events upside down")
    return [paragraph(what), table(head, rows), paragraph(beside), table(second, unlabelled)]


def time_section(seconds: Mapping[str, float]) -> list[str]:
    """CPU seconds per sector, and their ratios to ours."""
    first = next(iter(seconds.values()))
    rows = [(method, f"{value:.3f}", f"{value / first:.2f}") for method, value in seconds.items()]
    what = """
        CPU time of one core to search a sector of 27 days, median over the eight stars, all in one run and after one
        search that compiles what is to be compiled. The machine was shared; ratios say more than seconds."""
    return [paragraph(what), table(("method", "seconds per sector", "over ours"), rows)]


def tuned_section(tuned: Mapping[str, Any]) -> list[str]:
    """The network with and without real stars."""
    allowed = tuned["false_per_day"]
    what = f"""
        Each of the six labelled stars is searched by a network that learned from the other five: {EPOCHS} epochs on
        {COPIES} injections into each, at {SLOWER:g} times the first learning rate. Its threshold is the lowest that
        leaves {allowed:g} events a day in the other five upside down. The first row is the network as it was, the
        second the same with a threshold found as the fine-tuned one's. All of this was fixed before a score was seen,
        and nothing of it looks at the star that is scored."""
    rows = []
    for name, both in tuned["scores"].items():
        shares = tuned["injected"]["peak_snr"].filter(method=name)
        recovered = [f"{100 * row['fraction']:.0f}" for row in shares.iter_rows(named=True)]
        flipped = _rate(tuned["false"]["flipped"].filter(method=name))
        scored = [interval(both[kind], rate) for kind in ("original", "joined") for rate in ("f1", "counted_f1")]
        rows.append((name, *scored, less(both["joined"]["less"]), *recovered, flipped))
    bins = tuned["injected"]["peak_snr"].filter(method=rows[0][0]).select("peak_snr_low", "peak_snr_high").rows()
    head = (
        "network of points",
        *("F1", "F1, counted", "F1, joined", "F1, joined and counted", "F1, joined, less second row"),
        *(f"S/N {low:g}-{high:g} [%]" for low, high in bins),
        "upside down, a day",
    )
    stars = list(tuned["thresholds"])
    each = []
    for name, both in tuned["scores"].items():
        own = both["joined"]["stars"]
        each.append((name, *(_of_one(own[star], tuned["thresholds"][star][name]) for star in stars)))
    below = "F1 with true / false / missed, rows joined, and the threshold."
    return [paragraph(what), table(head, rows), below, table(("", *(shown(star) for star in stars)), each)]


def conclusion(results: Mapping[str, Any]) -> list[str]:
    """What the numbers say, and whether the intervals let it be said."""
    scores = results["scores"]
    ours = next(iter(scores))
    lines = []
    for name, what in (("original", "labels as listed"), ("joined", "rows joined")):
        order = sorted(scores, key=lambda method: -scores[method][name]["f1"])
        ranks = "; ".join(f"{method} ({scores[method][name]['f1']:.2f})" for method in order[:TOP])
        above, below, open_ = (
            _listed(method for method in scores if method != ours and _sign(scores[method][name]["less"]) == sign)
            for sign in (1, -1, 0)
        )
        lines.append(f"""
            By F1 with {what} the first {TOP} of {len(order)} are {ranks}. Paired by star, the difference from our
            network has an interval above zero for {above}, below zero for {below}, and on both sides for {open_}.""")
    raw, checked = (scores[name]["joined"] for name in scores if name.startswith("stella"))
    lines.append(f"""
        Stella's rule gives {raw["n_events"]} events on the labelled stars, {raw["duplicates"]} of them duplicates; the
        checks and each peak once leave {checked["n_events"]}, and F1 changes from {raw["f1"]:.2f} to
        {checked["f1"]:.2f}.""")
    tuned = results["tuned"]["scores"]
    before, middle, after = (tuned[name]["joined"] for name in tuned)
    verdict = {1: "more than chance", -1: "a loss", 0: "not told from chance"}[_sign(after["less"])]
    lines.append(f"""
        Fine-tuning moves F1 with rows joined from {before["f1"]:.2f} to {after["f1"]:.2f}; at a threshold found the
        same way, from {middle["f1"]:.2f}, a change of {less(after["less"])}, which is {verdict} by its interval.""")
    lines.append("""
        Six labelled stars, two makers of lists and one sector each are few. Which method is best on another star these
        tables cannot say; they do say where a method fails: star by star, by strength and upside down.""")
    return [paragraph(line) for line in lines]


def draw(results: Mapping[str, Any]) -> "Figure":
    """F1 of each method, and the recovered share by signal-to-noise ratio."""
    figure, (left, right) = new_figure(11, 4.6, columns=2)
    scores, recovered = results["scores"], results["injected"]["peak_snr"]
    colors = dict(zip(scores, (*COLORS, GREY), strict=True))
    for place, (method, both) in enumerate(scores.items()):
        for shift, name, face in ((-0.15, "original", "white"), (0.15, "joined", colors[method])):
            low, high = both[name]["f1_interval"]
            left.plot([low, high], [place + shift] * 2, color=colors[method], lw=1.2)
            left.plot(both[name]["f1"], place + shift, "o", ms=6, mec=colors[method], mfc=face)
        own = recovered.filter(method=method)
        x = np.arange(own.height) + 0.07 * (place - 0.5 * (len(scores) - 1))
        right.vlines(x, own["low"], own["high"], color=colors[method], lw=1.2)
        right.plot(x, own["fraction"], "o-", ms=4, lw=0.8, color=colors[method])
    left.set_yticks(range(len(scores)), list(scores), fontsize=8)
    left.set(xlim=(0, 1), ylim=(len(scores) - 0.5, -0.5), xlabel="F1 of events on six labelled stars")
    left.set_title("open: labels as listed; filled: rows joined", fontsize=9, color=INK)
    bins = recovered.select("peak_snr_low", "peak_snr_high").unique(maintain_order=True).rows()
    right.set_xticks(range(len(bins)), [f"{low:g}-{high:g}" for low, high in bins])
    right.set(ylim=(0, 1.02), xlabel="peak signal-to-noise ratio", ylabel="recovered")
    right.set_title("flares injected into eight real stars", fontsize=9, color=INK)
    return figure


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def interval(scores: Mapping[str, Any], rate: str) -> str:
    """A rate with its interval."""
    if scores[rate] is None:
        return "-"
    low, high = scores[f"{rate}_interval"]
    return f"{scores[rate]:.2f} ({low:.2f} to {high:.2f})"


def less(difference: tuple[float, float, float]) -> str:
    """A difference with its interval; nothing of a method from itself."""
    return "-" if not any(difference) else "{:+.2f} ({:+.2f} to {:+.2f})".format(*difference)


def _of_one(scores: Mapping[str, Any], threshold: float | None = None) -> str:
    f1 = "-" if scores["f1"] is None else f"{scores['f1']:.2f}"
    counts = f"{scores['true_positives']} / {scores['false_positives']} / {scores['false_negatives']}"
    return f"{f1}, {counts}" + ("" if threshold is None else f"; {threshold:.2f}")


def _share(row: Mapping[str, Any]) -> str:
    if row["fraction"] is None:
        return "-"
    return f"{100 * row['fraction']:.0f} ({100 * row['low']:.0f} to {100 * row['high']:.0f})"


def _rate(row: pl.DataFrame) -> str:
    return f"{row['per_day'][0]:.3f} ({row['low'][0]:.3f} to {row['high'][0]:.3f})"


def _sign(difference: tuple[float, float, float]) -> int:
    """Of the interval, 0 where it holds zero."""
    return int(difference[1] > 0.0) - int(difference[2] < 0.0)


def _listed(names: Iterable[str]) -> str:
    return "; ".join(names) or "none"
