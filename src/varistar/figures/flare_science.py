"""Figures of what a flare catalog says (002, Figs. 8 to 17): each takes tables and returns a figure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .style import ACCENT, INK, QUIET, SECOND, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Criteria of the rotation periods (002, section 3.3): width and period, second and first peak.
WIDEST, SECOND_PEAK = 0.4, 0.96
ENERGY = "energy [erg]"


def figures_of(tables: Mapping[str, pl.DataFrame]) -> dict[str, "Figure"]:
    """All figures of a catalog's science, by name, from its tables; see `varistar.catalog.flare_science`."""
    return {
        "found": found_figure(tables["judged"], tables["calibration"]),
        "rotation": rotation_figure(tables["periods"], tables["sectors"]),
        "periodograms": periodogram_figure(tables["shown_sectors"], tables["sector_light"], tables["sector_spectra"]),
        "colours": colour_figure(tables["periods"]),
        "rates": rates_figure(tables["rates"], tables["rates_by_energy"]),
        "frequencies": frequency_figure(tables["frequencies"], tables["slopes"]),
        "phases": phase_figure(tables["phase_histogram"], tables["faces"]),
        "largest": largest_figure(tables["largest_light"], tables["largest"]),
        "evaporation": evaporation_figure(tables["tracks"], tables["scenarios"]),
    }


def found_figure(judged: pl.DataFrame, calibration: pl.DataFrame) -> "Figure":
    """Completeness and purity by signal-to-noise ratio, and what the probabilities are worth.

    Parameters
    ----------
    judged : `fraction`, `group`, `n`, `rate`, `low`, `high`.
    calibration : `p_mean`, `fraction`, `low`, `high`.
    """
    figure, (rates, honest) = new_figure(10, 4, columns=2)
    groups = sorted(judged["group"].unique(), key=_lower_end)
    for name, color, aside in (("completeness", ACCENT, -0.1), ("purity", SECOND, 0.1)):
        part = judged.filter(pl.col("fraction") == name)
        place = np.array([groups.index(group) for group in part["group"]]) + aside
        rates.vlines(place, part["low"].fill_null(0), part["high"].fill_null(1), color=color, lw=1.2, alpha=0.6)
        rates.plot(place, part["rate"], "o", ms=5, color=color, label=name)
        for x, row in zip(place, part.iter_rows(named=True), strict=True):
            rates.annotate(str(row["n"]), (x, row["rate"]), (4, 3), textcoords="offset points", fontsize=6, color=color)
    rates.set_xticks(range(len(groups)), groups, fontsize=8)
    rates.set(xlabel="highest cadence / noise: true one, and for the purity the measured", ylim=(-0.03, 1.06))
    rates.legend(frameon=False, fontsize=8)
    honest.plot([0, 1], [0, 1], color=QUIET, lw=1)
    if not calibration.is_empty():
        honest.vlines(calibration["p_mean"], calibration["low"], calibration["high"], color=ACCENT, lw=1.2, alpha=0.6)
        honest.plot(calibration["p_mean"], calibration["fraction"], "o", ms=5, color=ACCENT)
    honest.set(xlabel="probability in the catalog", ylabel="of them flares", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def _lower_end(group: str) -> tuple[float, bool]:
    """By which the names of bins are sorted: "<1.5", "1.5-3", ">=30", then others."""
    number = group.lstrip("<>=").split("-")[0]
    return (float(number) if number[:1].isdigit() else np.inf, not group.startswith("<"))


def rotation_figure(stars: pl.DataFrame, sectors: pl.DataFrame) -> "Figure":
    """Rotation periods: how many, on what evidence, in several sectors, and beside the truth (002, Figs. 8 to 10).

    Parameters
    ----------
    stars : `star_id`, `teff`, `rotation_days`, `rotation_accepted`, `true_days`.
    sectors : `star_id`, `sector`, `period_days`, `width_days`, `power`, `second_power`, `flags`.
    """
    figure, panels = new_figure(12, 7, columns=3, rows=2)
    accepted = stars.filter("rotation_accepted")
    edges = np.geomspace(0.1, 13.0, 18).tolist()
    panels[0].hist(accepted["rotation_days"], edges, color=ACCENT)
    panels[0].set(xscale="log", xlabel="rotation period [d]", ylabel="stars with a trusted one")
    warm = np.arange(2500.0, 9001.0, 500.0).tolist()
    for part, color, label in ((stars, QUIET, "searched"), (accepted, ACCENT, "with a trusted period")):
        panels[1].hist(part["teff"].drop_nulls(), warm, color=color, label=label)
    panels[1].set(xlabel="temperature [K]", ylabel="stars")
    panels[1].legend(frameon=False, fontsize=8)
    _draw_criteria(panels[2], sectors)
    _draw_sectors(panels[3], stars, sectors)
    _draw_true_periods(panels[4], accepted)
    for part, color, label in (
        (stars.filter(~pl.col("rotation_accepted")), QUIET, "not trusted"),
        (accepted, ACCENT, "trusted"),
    ):
        panels[5].plot(
            part["teff"].cast(pl.Float64).fill_null(np.nan), part["rotation_days"], "o", ms=4, color=color, label=label
        )
    panels[5].set(yscale="log", xlabel="temperature [K]", ylabel="rotation period [d]")
    panels[5].legend(frameon=False, fontsize=8)
    return figure


def _draw_criteria(panel: "Axes", sectors: pl.DataFrame) -> None:
    """Width against second peak of each sector; what is trusted lies below both lines, and passes the other tests."""
    shown = sectors.with_columns(
        x=pl.col("width_days") / pl.col("period_days"), y=pl.col("second_power") / pl.col("power")
    )
    for passes, color, label in ((False, QUIET, "doubted"), (True, ACCENT, "trusted")):
        part = shown.filter((pl.col("flags") == 0) == passes)
        panel.plot(part["x"].clip(1e-4, 2.0), part["y"], "o", ms=4, color=color, label=label)
    panel.axvline(WIDEST, color=SECOND, lw=1, ls="--")
    panel.axhline(SECOND_PEAK, color=SECOND, lw=1, ls="--")
    panel.set(xscale="log", xlabel="width of the peak / period", ylabel="second peak / first", ylim=(-0.03, 1.05))
    panel.legend(frameon=False, fontsize=8)


def _draw_sectors(panel: "Axes", stars: pl.DataFrame, sectors: pl.DataFrame) -> None:
    """The periods of the sectors of stars that were seen in several, beside the star's own."""
    several = sectors.filter(pl.len().over("star_id") > 1).join(
        stars.select("star_id", "rotation_days", "rotation_accepted"), on="star_id"
    )
    for trusted, color, label in ((False, QUIET, "not trusted"), (True, ACCENT, "trusted")):
        part = several.filter(pl.col("rotation_accepted") == trusted)
        panel.plot(part["rotation_days"], part["period_days"], "o", ms=4, color=color, label=label)
    _draw_ratios(panel)
    panel.set(xlabel="period of the star [d]", ylabel="period of a sector [d]")
    panel.legend(frameon=False, fontsize=8)


def _draw_true_periods(panel: "Axes", accepted: pl.DataFrame) -> None:
    for kind, part in accepted.drop_nulls("true_days").sort("kind").group_by("kind", maintain_order=True):
        panel.plot(part["true_days"], part["rotation_days"], "o", ms=4, label=str(kind[0]).replace("_", " "))
    _draw_ratios(panel)
    panel.set(xlabel="true period of the spots [d]", ylabel="trusted period [d]")
    panel.legend(frameon=False, fontsize=8)


def _draw_ratios(panel: "Axes") -> None:
    """Lines of equal, half and twice the period."""
    line = np.array([0.08, 40.0])
    for ratio, style in ((1.0, "-"), (0.5, ":"), (2.0, ":")):
        panel.plot(line, ratio * line, style, color=INK, lw=0.7)
    panel.set(xscale="log", yscale="log", xlim=line, ylim=line)


def periodogram_figure(sectors: pl.DataFrame, curves: pl.DataFrame, spectra: pl.DataFrame) -> "Figure":
    """Light curves of some sectors and their periodograms, with the Gaussian of the highest peak (002, Fig. 9).

    Parameters
    ----------
    sectors : one row for each: `star_id`, `sector`, `period_days`, `width_days` or null, `power`, `doubled`, `verdict`.
    curves : `sector` (star and number), `time` [d], `flux` about the mean.
    spectra : `sector`, `period_days`, `power`.
    """
    figure, panels = new_figure(11, 2.1 * max(len(sectors), 1), columns=2, rows=max(len(sectors), 1))
    for light, power, row in zip(panels[::2], panels[1::2], sectors.iter_rows(named=True), strict=False):
        name = f"{row['star_id']}, {row['sector']}"
        curve, spectrum = curves.filter(pl.col("sector") == name), spectra.filter(pl.col("sector") == name)
        light.plot(curve["time"], 100 * curve["flux"], ".", ms=1.5, color=ACCENT)
        light.set_title(f"{name}: {row['verdict']}", fontsize=8)
        light.set_ylabel("flux [%]")
        power.plot(spectrum["period_days"], spectrum["power"], color=INK, lw=0.8)
        peak = row["period_days"] / (2 if row["doubled"] else 1)
        if row["width_days"] is not None:
            width = row["width_days"] / (2 if row["doubled"] else 1)
            near = np.linspace(max(peak - 4 * width, 0.05), peak + 4 * width, 200)
            power.plot(near, row["power"] * np.exp(-0.5 * ((near - peak) / width) ** 2), color=SECOND, lw=1.2)
        power.axvline(row["period_days"], color=SECOND, lw=0.8, ls=":")
        twice = ", half of which is the peak" if row["doubled"] else ""
        power.set_title(f"{row['period_days']:.3g} d{twice}", fontsize=8)
        power.set(xscale="log", ylabel="power")
    panels[2 * max(len(sectors), 1) - 2].set_xlabel("time [d]")
    panels[2 * max(len(sectors), 1) - 1].set_xlabel("period [d]")
    return figure


def colour_figure(stars: pl.DataFrame) -> "Figure":
    """Rotation, largest flare and rate of flares by colour (002, Figs. 11 and 12).

    Parameters
    ----------
    stars : `bp_rp`, `rotation_days`, `rotation_accepted`, `rate_per_day`, `largest_energy_erg`, `n_flares`.
    """
    figure, panels = new_figure(12, 3.8, columns=3)
    rotating = stars.filter("rotation_accepted")
    flaring = stars.filter(pl.col("n_flares") >= 0.5)
    rate = np.log10(np.maximum(rotating["rate_per_day"].to_numpy(), 1e-2))
    dots = panels[0].scatter(rotating["bp_rp"], rotating["rotation_days"], c=rate, s=16, cmap="viridis")
    figure.colorbar(dots, ax=panels[0], label="log10 of flares a day")
    panels[0].set(yscale="log", ylabel="rotation period [d]")
    panels[1].plot(flaring["bp_rp"], flaring["largest_energy_erg"].fill_null(np.nan), "o", ms=4, color=ACCENT)
    panels[1].set(yscale="log", ylabel="largest energy of a flare [erg]")
    panels[2].plot(flaring["bp_rp"], flaring["rate_per_day"], "o", ms=4, color=ACCENT)
    panels[2].set(yscale="log", ylabel="flares a day")
    for panel in panels:
        panel.set_xlabel("BP - RP [mag]")
    return figure


def rates_figure(rates: pl.DataFrame, by_energy: pl.DataFrame) -> "Figure":
    """Rates by temperature and age, and in bins of energy for each temperature (002, Fig. 13).

    Parameters
    ----------
    rates : `by`, `teff_bin`, `age_bin`, `n_stars`, `rate_per_day`, `stars_low`, `stars_high`, `plain_per_day`.
    by_energy : `teff_bin`, `size_low`, `size_high`, `rate_per_day`, `rate_low`, `rate_high`.
    """
    figure, panels = new_figure(14, 4, columns=3)
    for panel, name, label in ((panels[0], "teff_bin", "temperature [K]"), (panels[1], "age_bin", "age [Myr]")):
        part = rates.filter(pl.col("by") == name)
        place = np.arange(part.height)
        low, high = (part[end].fill_null(np.nan).to_numpy() for end in ("stars_low", "stars_high"))
        panel.vlines(place, np.maximum(low, 1e-3), high, color=ACCENT, lw=1.2, alpha=0.6)
        panel.plot(place, part["rate_per_day"], "o", ms=5, color=ACCENT, label="found")
        panel.plot(place, part["plain_per_day"], "_", ms=14, color=INK, label="true, above 5 times the noise")
        names = [f"{row[name]}\n({row['n_stars']})" for row in part.iter_rows(named=True)]
        panel.set_xticks(place, names, fontsize=8)
        panel.set(yscale="log", xlabel=f"{label} (stars)", ylabel="flares a day")
    panels[0].legend(frameon=False, fontsize=8)
    for number, ((name,), part) in enumerate(by_energy.group_by("teff_bin", maintain_order=True)):
        filled = part.filter(pl.col("n_flares") > 0)
        middle = (filled["size_low"] * filled["size_high"]).sqrt() * (1.0 + 0.05 * number)
        color = _shade(number, by_energy["teff_bin"].n_unique())
        panels[2].vlines(middle, filled["rate_low"], filled["rate_high"], color=color, lw=1, alpha=0.5)
        panels[2].plot(middle, filled["rate_per_day"], ".-", color=color, label=f"{name} K")
    panels[2].set(xscale="log", yscale="log", xlabel=ENERGY, ylabel="flares a day and star, as found")
    panels[2].legend(frameon=False, fontsize=8)
    return figure


def _shade(number: int, of: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    return tuple(colormaps["viridis"](0.92 * number / max(of - 1, 1)))


def frequency_figure(frequencies: pl.DataFrame, slopes: pl.DataFrame) -> "Figure":
    """Cumulative distributions of energy, corrected for completeness, with the laws that fit (002, Fig. 14).

    Parameters
    ----------
    frequencies : `by`, `group`, `size`, `found_per_day`, `rate_per_day` (null below the cut).
    slopes : `by`, `group`, `alpha`, `stars_low`, `stars_high`, `lowest`, `rate`, `true_alpha`.
    """
    figure, panels = new_figure(15, 4.4, columns=3)
    for panel, by, label in zip(
        panels, ("all", "teff_bin", "age_bin"), ("all stars", "by temperature [K]", "by age [Myr]"), strict=True
    ):
        shown = frequencies.filter(pl.col("by") == by)
        groups = shown["group"].unique(maintain_order=True).to_list()
        for number, group in enumerate(groups):
            _draw_law(panel, shown, slopes, group, _shade(number, len(groups)) if len(groups) > 1 else ACCENT)
        panel.set(xscale="log", yscale="log", xlabel=ENERGY, title=label)
        panel.title.set_fontsize(10)
        if groups:
            panel.legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("flares above this energy, a day and star")
    return figure


def _draw_law(
    panel: "Axes", frequencies: pl.DataFrame, slopes: pl.DataFrame, group: str, color: str | tuple[float, ...]
) -> None:
    """One group: as found (thin), corrected (dots), and the law (dashed)."""
    part = frequencies.filter(pl.col("group") == group)
    panel.plot(part["size"], part["found_per_day"], color=color, lw=0.6, alpha=0.6)
    kept = part.drop_nulls("rate_per_day")
    law = slopes.filter(pl.col("group") == group)
    name = group.split(" ")[-1]
    if law.is_empty():
        panel.plot(kept["size"], kept["rate_per_day"], ".", ms=3, color=color, label=name)
        return
    row = law.row(0, named=True)
    interval = "" if row["stars_low"] is None else f" ({row['stars_low']:.2f} to {row['stars_high']:.2f})"
    true = "" if row["true_alpha"] is None else f", true {row['true_alpha']:.2f}"
    panel.plot(
        kept["size"], kept["rate_per_day"], ".", ms=3, color=color, label=f"{name}: {row['alpha']:.2f}{interval}{true}"
    )
    size = np.geomspace(row["lowest"], max(float(part["size"].max() or row["lowest"]), row["lowest"]), 50)  # type: ignore[arg-type]
    panel.plot(size, row["rate"] * (size / row["lowest"]) ** (1.0 - row["alpha"]), "--", color=color, lw=1)


def phase_figure(histogram: pl.DataFrame, faces: pl.DataFrame) -> "Figure":
    """Flares by the phase of the rotation, with the sine that fits and what an even rate gives (002, Fig. 15).

    Parameters
    ----------
    histogram : `sample`, `phase_low`, `phase_high`, `flares`, `flares_low`, `flares_high`, `expected`.
    faces : `sample`, `difference` with its ends, `amplitude`, `phase_of_most`, `n_flares`.
    """
    figure, panels = new_figure(13, 4, columns=3)
    for panel, sample in zip(panels, ("all", "small", "large"), strict=True):
        part = histogram.filter(pl.col("sample") == sample) if histogram.width else histogram
        if not part.height:
            panel.set_title("no flare with a phase", fontsize=9)
            continue
        middle = (0.5 * (part["phase_low"] + part["phase_high"])).to_numpy()
        panel.bar(middle, part["flares"], 0.9 / part.height, color=QUIET)
        panel.vlines(middle, part["flares_low"], part["flares_high"], color=INK, lw=0.8)
        panel.plot(middle, part["expected"], drawstyle="steps-mid", color=ACCENT, lw=1, label="even rate")
        row = faces.filter(pl.col("sample") == sample).row(0, named=True)
        title = f"{sample}: {row['n_flares']:.0f} flares"
        if row["amplitude"] is not None:
            wave = 1.0 + row["amplitude"] * np.cos(2.0 * np.pi * (middle - row["phase_of_most"]))
            panel.plot(middle, part["expected"].to_numpy() * wave, color=SECOND, lw=1.5, label="sine that fits")
            low, high = row["difference_low"], row["difference_high"]
            title += f"; spotted - bright face {100 * row['difference']:.0f}% ({100 * low:.0f} to {100 * high:.0f})"
        panel.set_title(title, fontsize=9)
        panel.set(xlabel="phase; 0 is brightest", ylim=(0, None))
    panels[0].set_ylabel("flares, weighted by p")
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def largest_figure(light: pl.DataFrame, largest: pl.DataFrame) -> "Figure":
    """The light curves around the largest flares (002, Fig. 16).

    Parameters
    ----------
    light : `rank` from 1, `star_id`, `minutes` from the peak, `flux`.
    largest : one row per rank, in order: `peak_flux`, `p`, `energy_erg` or null.
    """
    ranks = light["rank"].unique().sort().to_list()
    figure, panels = new_figure(12, 3.4, columns=max(len(ranks), 1))
    for panel, rank in zip(panels, ranks, strict=False):
        part, row = light.filter(pl.col("rank") == rank), largest.row(int(rank) - 1, named=True)
        panel.plot(part["minutes"], part["flux"], ".-", ms=3, lw=0.7, color=ACCENT)
        energy = "" if row["energy_erg"] is None else f", {row['energy_erg']:.1e} erg"
        panel.set_title(f"{row['star_id']}\np = {row['p']:.2f}{energy}", fontsize=8)
        panel.set_xlabel("minutes from the peak")
    panels[0].set_ylabel("flux / median")
    return figure


def evaporation_figure(tracks: pl.DataFrame, scenarios: pl.DataFrame) -> "Figure":
    """The atmosphere of V1298 Tau d with time, without flares and with them (002, Fig. 17).

    Parameters
    ----------
    tracks : `assumption`, `flares_until_myr` (0 for none), `age_myr`, `envelope` [Earth masses].
    scenarios : `assumption`, `share`, `flares_until_myr`, `extra_loss`.
    """
    titles = {"paper": "flares as the paper assumes", "catalog": "flares as young stars here have them"}
    names = tracks["assumption"].unique(maintain_order=True).to_list()
    figure, panels = new_figure(5.5 * len(names), 4, columns=len(names))
    for panel, name in zip(panels, names, strict=True):
        own = tracks.filter(pl.col("assumption") == name)
        rows = scenarios.filter(pl.col("assumption") == name)
        for (until, color), row in zip(
            ((0.0, INK), (200.0, ACCENT), (1000.0, SECOND)), rows.iter_rows(named=True), strict=True
        ):
            part = own.filter(pl.col("flares_until_myr") == until)
            label = f"until {until:g} Myr: {100 * (row['extra_loss'] or 0.0):.2g}% more lost" if until else "no flares"
            panel.plot(part["age_myr"], part["envelope"], color=color, lw=1.4, label=label)
        panel.set(xscale="log", xlabel="age [Myr]", ylabel="hydrogen [Earth masses]")
        panel.set_title(f"{titles.get(name, name)}: {rows['share'][0]:.2g} of the time", fontsize=9)
        panel.legend(frameon=False, fontsize=8)
    return figure
