"""Template sets: real or simulated stars whose noise the training data borrow.

Two families, as in the paper (000, section 3.2): faint quasars (milliquas) and red-clump giants, which hardly vary.
A template must have no period of its own, or the network would learn the wrong label; stars whose Lomb-Scargle peak is
too strong are screened out and listed, which the paper does not do.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.splits import SplitSettings, split_stars
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_folder, atomic_path
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.foundation.settings import Settings
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.store import Part, Store
from varistar.lightcurves.table import LightCurves
from varistar.spectra.periodogram import lombscargle_peak_batch
from varistar.surveys.definition import Survey


class TemplateSettings(Settings):
    """How a template set is chosen.

    Attributes
    ----------
    select : `red_clump` takes stars by absolute magnitude, `quasar` takes the sources that the stars table calls
        quasars.
    absolute_magnitude : bounds of M_G [mag] of the red clump (000, section 3.2.2).
    parallax_over_error : least signal-to-noise of the parallax; 0 keeps every star, as the paper does.
    max_own_power : screening threshold on the star's own standard-normalised Lomb-Scargle power (0 to 1) within the
        survey's period range; 1 screens nothing.
    min_points : least number of points after the cuts; None takes the survey's.
    """

    select: Literal["red_clump", "quasar"]
    absolute_magnitude: tuple[float, float] = (-0.5, 1.5)
    parallax_over_error: Annotated[float, Field(ge=0)] = 5.0
    max_own_power: Annotated[float, Field(gt=0, le=1)] = 0.2
    min_points: Annotated[int, Field(ge=3)] | None = None


def select_stars(stars: pl.DataFrame, settings: TemplateSettings) -> pl.Series:
    """The ids of the stars that belong to the family.

    Parameters
    ----------
    stars : one row per star, with `star_id`, `catalog_source`, and for the red clump the Gaia columns
        `phot_g_mean_mag` [mag], `parallax` and `parallax_error` [mas].

    Notes
    -----
    Red clump: M_G = G - 5 log10(d) + 5 with d = |1000 / parallax| pc (000, eqs. 1-2), no extinction correction and no
    parallax zero point.
    """
    if settings.select == "quasar":
        return stars.filter(pl.col("catalog_source") == "milliquas")["star_id"]
    distance_pc = (1000 / pl.col("parallax")).abs()
    absolute = pl.col("phot_g_mean_mag") - 5 * distance_pc.log10() + 5
    faint, bright = max(settings.absolute_magnitude), min(settings.absolute_magnitude)
    good = pl.col("parallax") >= settings.parallax_over_error * pl.col("parallax_error")
    if settings.parallax_over_error == 0:
        good = pl.lit(True)
    stellar = pl.col("catalog_source") == "stellar_main"
    return stars.filter(stellar & good & (absolute > bright) & (absolute < faint))["star_id"]


def screen_stars(lightcurves: LightCurves, survey: Survey, max_power: float) -> tuple[NDArray[np.bool_], pl.DataFrame]:
    """Which stars have no period of their own, shape (n,), and a table of those that have one.

    The peak of the floating-mean Lomb-Scargle periodogram within the survey's period range is compared with
    `max_power`; a threshold on power, not on false-alarm probability, because the noise of a survey is not white.
    """
    time, flux, flux_err = (lightcurves[name] for name in ("time", "flux", "flux_err"))
    period, power = lombscargle_peak_batch(time, flux, flux_err, lightcurves.offsets, *survey.period_range)
    keep = power <= max_power
    periodic = np.flatnonzero(~keep)
    reasons = [f"own period of {period[i]:.2f} d (Lomb-Scargle power {power[i]:.2f})" for i in periodic]
    table = pl.DataFrame(
        {"star_id": [lightcurves.star_id[i] for i in periodic], "reason": reasons},
        schema={"star_id": pl.String, "reason": pl.String},
    )
    return keep, table


def build_templates(
    parts: Sequence[Part],
    chosen: set[str],
    settings: TemplateSettings,
    survey: Survey,
    splits: SplitSettings,
    folder: Path,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """Cut, screen and store the chosen stars; returns the table of templates.

    Writes `part-*.parquet` (light curves), `stars.parquet` (star_id, n_points, split, shard, row) and
    `refused.parquet` (star_id, reason) into `folder`.
    """
    cuts = (
        survey.cuts
        if settings.min_points is None
        else survey.cuts.model_copy(update={"min_points": settings.min_points})
    )
    items = [
        (part, folder / f"part-{number:05d}.parquet", chosen, cuts, survey, settings.max_own_power)
        for number, part in enumerate(parts)
    ]
    done = run_all(_template_shard, items, engine, "templates", lambda item: item[0].path)
    refused = [part for _, part in done]
    table = Store(folder).index().select("star_id", "shard", "row", "n_points")
    if not table.height:
        raise DataError(f"no star of {len(chosen)} chosen passes the cuts and the screening for own periods")
    table = table.with_columns(split=pl.Series(split_stars(table["star_id"].to_list(), splits), dtype=pl.String))
    _write(table, folder / "stars.parquet")
    _write(pl.concat(refused).sort("star_id"), folder / "refused.parquet")
    return table


def _template_shard(item: tuple[Part, Path, set[str], Cuts, Survey, float]) -> pl.DataFrame:
    """Read one shard, keep its templates, write them; returns the refused stars with reasons."""
    part, target, chosen, cuts, survey, max_power = item
    lightcurves = part.read()
    lightcurves = lightcurves.take([i for i, star in enumerate(lightcurves.star_id) if star in chosen])
    lightcurves, losses = apply_cuts(lightcurves, cuts)
    keep, periodic = screen_stars(lightcurves, survey, max_power)
    kept = lightcurves.take(np.flatnonzero(keep))
    if len(kept):
        write_shard(target, kept)
    return pl.concat([losses.filter(~pl.col("kept")).select("star_id", "reason"), periodic])


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")


def main(name: str) -> None:
    """The stage: template set `name` of params.yaml, from the survey's light curves in data/."""
    root = find_root()
    settings = read_section(root, f"periods.templates.{name}", TemplateSettings)
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    splits = read_section(root, "periods.split", SplitSettings)
    chosen = set(select_stars(pl.read_parquet(root / "data/ground/stars.parquet", glob=False), settings))
    with atomic_folder(root / "build/periods/templates" / name) as folder:
        parts = Store(root / "data/ground/light_curves").parts()
        table = build_templates(parts, chosen, settings, survey, splits, folder)
    print(f"{name}: {table.height} templates of {len(chosen)} chosen stars")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
