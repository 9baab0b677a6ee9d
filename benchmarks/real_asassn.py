"""ASAS-SN: eclipsing binaries with published periods, and real stars that have none.

Templates are the Sky Patrol v2 stars and the v1 eclipsers with their eclipses masked (the star-like set) and the Fermi
blazars (the faint set, with a lower minimum of points). All are dealt into folds, and each fold is measured by a
network to which none of its stars has lent noise.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from real_data import (
    SURE,
    Kind,
    Noise,
    build_sample,
    counted,
    deal,
    in_folds,
    paragraph,
    skill,
    skill_lines,
    take,
    train_network,
)
from varistar.catalog.columns import Flag, flag
from varistar.foundation.params import read_section
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods.measure import PeriodMeter
from varistar.periods.sample_settings import SampleSettings, read_sample
from varistar.periods.templates import screen_stars
from varistar.spectra.periodogram import lombscargle_peak_batch
from varistar.surveys.definition import Survey
from varistar.surveys.folder import ingest

FOLDERS = {"v2": "skypatrol_v2", "v1": "skypatrol_v1_periodic", "blazars": "blazars_g"}
VARIANT = "period-axis"
SAMPLE = "broad"
SETS = {"clump": "stars", "quasar": "faint"}  # of the sample's templates, and what stands for them here
FAINT_POINTS = 50  # inside the survey's window the blazars keep 47 to 357 points, half of them fewer than 90
OWN_POWER = {"stars": 0.2, "faint": 0.5}  # the noise of 50 points alone reaches a Lomb-Scargle power of 0.3
DITHER_MINUTES = 6.0  # three dithers, 110 s apart, become one point
MASK_FACTOR = 1.3  # eclipses are masked this much wider than published
HARMONICS = {
    "P": 1.0,
    "P/2": 0.5,
    "2P": 2.0,
    "P/3": 1 / 3,
    "3P": 3.0,
    "2P/3": 2 / 3,
    "3P/2": 1.5,
    "P/4": 0.25,
    "4P": 4.0,
}


def measure_asassn(root: Path, data: Path, simulations: int, folds: int, members: int, scratch: Path) -> str:
    """The section of the report."""
    survey = read_section(root, "surveys.asassn", Survey)
    kind = Kind.read(root, VARIANT, survey, members)
    truth = pl.read_csv(data / "skypatrol_v1_periodic/truth.csv")
    stars = read_surveys(data, scratch, survey.cuts)
    binned = survey.cuts.model_copy(update={"bin_within_minutes": DITHER_MINUTES})
    faint = survey.cuts.model_copy(update={"min_points": FAINT_POINTS})
    periodic, losses = apply_cuts(stars["v1"], binned)
    quiet = {
        "Sky Patrol v2 stars": apply_cuts(stars["v2"], survey.cuts)[0],
        "eclipsers, eclipses masked": masked(stars["v1"], truth, binned, stars["v2"]),
        "Fermi blazars": apply_cuts(stars["blazars"], faint)[0],
    }
    work = partial(measure_fold, root, kind, survey, periodic, quiet, simulations, folds, scratch)
    done = in_folds(work, folds, "ASAS-SN")
    eclipsers, others, skills = (pl.concat(tables) for tables in zip(*done, strict=True))
    return section(with_truth(eclipsers, truth, losses), others, skills)


class Fold(NamedTuple):
    """What one fold gives: its eclipsers and its stars without a period, measured, and the network's skill."""

    eclipsers: pl.DataFrame
    others: pl.DataFrame
    skills: pl.DataFrame


def measure_fold(
    root: Path,
    kind: Kind,
    survey: Survey,
    periodic: LightCurves,
    quiet: Mapping[str, LightCurves],
    simulations: int,
    folds: int,
    scratch: Path,
    fold: int,
) -> Fold:
    """Train on the other folds' noise and measure this fold."""
    folder = scratch / f"asassn-{fold}"
    # with its eclipses masked, an eclipser is still itself
    names = {star for group in (periodic, *quiet.values()) for star in group.star_id}
    mine = deal(sorted(names), folds, fold)
    bright, masked_out, blazars = (take(group, set(group.star_id) - mine) for group in quiet.values())
    noise = {
        "stars": Noise(concatenate([bright, masked_out]), survey.cuts.min_points, OWN_POWER["stars"]),
        "faint": Noise(blazars, FAINT_POINTS, OWN_POWER["faint"]),
    }
    sample, kinds = read_sample(root, SAMPLE)
    injected = build_sample(noise, on_real_noise(sample, simulations), kinds, survey, folder)
    model = train_network(kind, injected, survey, folder / "network")
    meter = PeriodMeter.of_folder(model)
    others = [
        measure_quiet(name, take(group, mine), meter, survey, OWN_POWER["faint" if "blazars" in name else "stars"])
        for name, group in quiet.items()
    ]
    return Fold(measure(take(periodic, mine), meter, survey), pl.concat(others), skill(model, injected))


def read_surveys(folder: Path, scratch: Path, cuts: Cuts) -> dict[str, LightCurves]:
    """The three groups of light curves, through the same ingest and store as any survey."""
    stars = {}
    for name, place in FOLDERS.items():
        done = ingest([folder / place], scratch / name, cuts)
        assert done is not None
        print(f"{place}: {done.n_stars} stars, {done.n_kept} pass the cuts, {done.n_refused} files hold no light curve")
        stars[name] = concatenate(list(Store(scratch / name).iter_shards()))
    return stars


def on_real_noise(sample: SampleSettings, simulations: int) -> SampleSettings:
    """The sample of params.yaml with the real template sets in the place of the simulated ones."""
    parts = tuple(part.model_copy(update={"templates": SETS[part.templates]}) for part in sample.parts)
    return sample.model_copy(update={"parts": parts, "simulations": simulations})


def masked(eclipsers: LightCurves, truth: pl.DataFrame, cuts: Cuts, like: LightCurves) -> LightCurves:
    """The eclipsers out of eclipse, after the cuts.

    Their heliocentric times are taken as if they were the observatory's: templates lend their noise and their sampling,
    which 8 minutes do not change at periods of a day and more.
    """
    outside = eclipsers.where(~in_eclipse(eclipsers, truth))
    return apply_cuts(replace(outside, time_system=like.time_system), cuts)[0]


def in_eclipse(lightcurves: LightCurves, truth: pl.DataFrame) -> np.ndarray:
    """Which points lie in a primary or secondary eclipse, shape (m,), by the published elements."""
    eclipsed = np.zeros(int(lightcurves.offsets[-1]), dtype=bool)
    by_star = {Path(row["file"]).stem: row for row in truth.iter_rows(named=True)}
    for i, star in enumerate(lightcurves.star_id):
        row, points = by_star[star], slice(*lightcurves.offsets[i : i + 2])
        phase = ((lightcurves["time"][points] + 2400000.5 - row["epoch_hjd"]) / row["period_d"]) % 1
        primary = row["ecl_dur1_phase"] or 0.15
        for centre, width in ((0.0, primary), (row["phase_min2"] or 0.5, row["ecl_dur2_phase"] or primary)):
            distance = np.abs((phase - centre + 0.5) % 1 - 0.5)
            eclipsed[points] |= distance < MASK_FACTOR * width / 2
    return eclipsed


def measure(periodic: LightCurves, meter: PeriodMeter, survey: Survey) -> pl.DataFrame:
    """The fold's stars by the network that has not seen them, and by Lomb-Scargle."""
    flat = (periodic[name] for name in ("time", "flux", "flux_err"))
    periods, _ = lombscargle_peak_batch(*flat, periodic.offsets, *survey.period_range)
    return meter.measure(periodic).with_columns(lomb_scargle=pl.Series(periods))


def measure_quiet(
    group: str, light_curves: LightCurves, meter: PeriodMeter, survey: Survey, max_own_power: float
) -> pl.DataFrame:
    """The fold's stars without a known period, as they are: what is claimed, and what the alias flag says of it."""
    table = meter.measure(light_curves)
    flags = flag(table, survey)
    keep, _ = screen_stars(light_curves, survey, max_own_power)
    return table.select("star_id", "period", "p_within_10pct").with_columns(
        group=pl.lit(group),
        alias=(flags & int(Flag.ALIAS)) != 0,
        quiet=pl.Series(keep),
    )


def with_truth(table: pl.DataFrame, truth: pl.DataFrame, losses: pl.DataFrame) -> pl.DataFrame:
    """The measurements beside the published periods, with the stars that were refused."""
    stem = pl.col("file").str.strip_suffix(".csv").alias("star_id")
    published = truth.select(stem, "name", "type", pl.col("period_d").alias("published"))
    refused = losses.filter(~pl.col("kept")).select("star_id", "reason", "n_after")
    both = table.join(published, on="star_id", how="right").sort("published").join(refused, on="star_id", how="left")
    return both.with_columns(harmonic=harmonics(both, "period"), lomb_scargle_harmonic=harmonics(both, "lomb_scargle"))


def harmonics(table: pl.DataFrame, column: str) -> pl.Series:
    """Which multiple of the published period the one in `column` is within 10% of."""
    named = []
    for period, published in zip(table[column], table["published"], strict=True):
        if period is None:
            named.append(None)
            continue
        near = {name: abs(period / (factor * published) - 1) for name, factor in HARMONICS.items()}
        best = min(near, key=near.__getitem__)
        named.append(best if near[best] <= 0.1 else "none")
    return pl.Series(named, dtype=pl.String)


def section(table: pl.DataFrame, others: pl.DataFrame, skills: pl.DataFrame) -> str:
    """The part of the page on ASAS-SN."""
    introduction = f"""
        Sixteen stars whose periods are published (VSX), most of them detached eclipsing binaries. Templates are the Sky
        Patrol v2 stars and the eclipsers with their eclipses masked, and Fermi blazars as the faint set, which need
        {FAINT_POINTS} points where a star needs 150; those with a strong period of their own are left out. Onto them
        goes the mixture of the sample `{SAMPLE}`: stars as in the paper, long-lived spots, constant stars and
        irregular ones."""
    claims = """
        The templates themselves, nothing injected, each measured by the network of the fold it lends nothing to. A
        period is claimed where p is above 0.5; the third column leaves out claims at an alias of the survey. Intervals
        are 95% (Wilson). A star that was too periodic to be a template is counted apart: there a claim may be right."""
    return "\n\n".join(
        [
            "## ASAS-SN: eclipsing binaries",
            paragraph(introduction),
            "\n".join(star_lines(table)),
            "`which` is the multiple of the published period that lies within 10% of the answer, and p the probability"
            " that the\nnetwork gives its answer.",
            paragraph(reading(table)),
            "### Stars without a period",
            paragraph(claims),
            "\n".join(claim_lines(others)),
            paragraph(claims_found(others)),
            "### Held-out injections into the same noise",
            "\n".join(skill_lines(skills)),
            paragraph(few_templates(skills)),
        ]
    )


def few_templates(skills: pl.DataFrame) -> str:
    right = skills.filter(pl.col("p_within_10pct") > SURE)["right"]
    return f"""
        They share a handful of test templates, so these counts are no independent trials. Of all with p above 0.5,
        those without a period among them, {right.sum()} of {len(right)} ({right.mean():.0%}) are within 10%, where p
        promises more than half. Half of some twenty bright stars train a fold's network, and three or four calibrate
        it: too few to know what real noise can do."""


def star_lines(table: pl.DataFrame) -> list[str]:
    """The table of stars, in Markdown."""
    lines = [
        "| star | type | published P [d] | network P [d] | p | which | Lomb-Scargle P [d] | which | points |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.iter_rows(named=True):
        star = f"| {row['name']} | {row['type']} | {row['published']:.4f} "
        if row["period"] is None:
            lines.append(star + f"| refused: {row['reason']} ({row['n_after']}) | | | | | |")
            continue
        network = f"| {row['period']:.2f} | {row['p_within_10pct']:.2f} | {row['harmonic']} "
        classical = f"| {row['lomb_scargle']:.3f} | {row['lomb_scargle_harmonic']} "
        lines.append(star + network + classical + f"| {row['n_points']} |")
    return lines


def reading(table: pl.DataFrame) -> str:
    measured = table.filter(pl.col("period").is_not_null())
    sure = measured.filter(pl.col("p_within_10pct") > SURE)
    named = ", ".join(f"{row['name']} ({row['harmonic']})" for row in sure.iter_rows(named=True))
    columns = ("harmonic", "lomb_scargle_harmonic")
    right, half, none = ([int((measured[c] == name).sum()) for c in columns] for name in ("P", "P/2", "none"))
    return f"""
        Of {measured.height} stars measured, {sure.height} have p above 0.5 and would be reported in a
        catalog{": " * bool(named) + named}. Counting every answer, reported or not: the network gives the published
        period {right[0]} times, half of it {half[0]} times and no simple multiple {none[0]} times; Lomb-Scargle
        {right[1]}, {half[1]} and {none[1]} times (it searches 1 to 30 d, so an answer of 1.000 d is the end of its
        range, and the day). The networks know spotted stars only: two eclipses per orbit look like one dip per half
        period, and narrow eclipses of otherwise constant stars touch few points and look like nothing. Stars fainter
        than 16.5 mag are mostly non-detections and fail the cut of 150 points."""


def claim_lines(others: pl.DataFrame) -> list[str]:
    """What is claimed of the stars without a period, in Markdown."""
    lines = ["| stars | p > 0.5 | p > 0.5 and no alias |", "|---|---|---|"]
    groups = {str(name): rows for (name,), rows in others.group_by("group", maintain_order=True)}
    quiet = {name: rows.filter("quiet") for name, rows in groups.items()}
    rows = quiet | {"all of these": pl.concat(quiet.values()), "own period": others.filter(~pl.col("quiet"))}
    for name, table in rows.items():
        claimed = table.filter(pl.col("p_within_10pct") > SURE)
        kept = claimed.filter(~pl.col("alias")).height
        lines.append(f"| {name} | {counted(claimed.height, table.height)} | {counted(kept, table.height)} |")
    return lines


def claims_found(others: pl.DataFrame) -> str:
    """The claims one by one."""
    claimed = others.filter(pl.col("p_within_10pct") > SURE).sort("period")
    words = [
        f"{row['star_id']} at {row['period']:.2f} d (p {row['p_within_10pct']:.2f}"
        + (", alias" if row["alias"] else "")
        + ("" if row["quiet"] else ", own period")
        + ")"
        for row in claimed.iter_rows(named=True)
    ]
    return f"Claimed were {'; '.join(words)}." if words else "None was claimed."
