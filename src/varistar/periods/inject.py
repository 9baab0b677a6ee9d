"""Inject the simulated stars into their templates.

The template's flux is multiplied by the simulated star's flux relative to its median, epoch by epoch:

    flux_i = template_i * spot_flux(t_i) / median(spot_flux)

This is equation A5 of the paper (000) with its indices put right (AMB-4); since the simulation is evaluated at the
template's own epochs, its interpolation weights vanish. The template's errors stay as they are.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from varistar.bulk.local import run_all
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder, atomic_path
from varistar.foundation.params import find_root, read_section
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.table import LightCurves

from .simulate import SampleSettings
from .splits import SPLITS

KEPT = ("time", "flux", "flux_err", "camera")


def inject(templates: LightCurves, spot_flux: np.ndarray, median_flux: np.ndarray) -> LightCurves:
    """Light curves of the templates with the simulated variability.

    Parameters
    ----------
    templates : n light curves; of their columns, `KEPT` stay.
    spot_flux : shape (m,), relative flux of the simulated stars at the templates' points, in their order.
    median_flux : shape (n,), median of each simulated star's flux over its window.
    """
    factor = spot_flux / np.repeat(median_flux, templates.n_points)
    columns = {name: values for name, values in templates.columns.items() if name in KEPT}
    columns["flux"] = (templates["flux"] * factor).astype(np.float32)
    return LightCurves(
        templates.star_id, templates.offsets, columns, templates.time_system, templates.flux_unit, templates.survey
    )


def build_injections(templates: Path, simulations: Path, folder: Path, workers: int | None = None) -> dict[str, int]:
    """Inject every simulation; returns the number of examples in each split.

    Writes `<split>/part-*.parquet`, light curves whose star id is `<template>/<simulation>`, and
    `<split>/truth.parquet`
    with one row for each of them in the same order: that id as `star_id`, `template`, `simulation`, `period_days` and
    the star's parameters. The folder `test` is the frozen test set; its content hash is its version.
    """
    parts = {split: sorted((simulations / split).glob("part-*.parquet")) for split in SPLITS}
    items = [(templates, part, folder / split / part.name) for split in SPLITS for part in parts[split]]
    for _ in run_all(_inject_shard, items, workers, "injections", lambda item: item[1]):
        pass
    counts: dict[str, int] = {}
    for split in SPLITS:
        truth = _truth(parts[split])
        with atomic_path(folder / split / "truth.parquet") as temporary:
            truth.write_parquet(temporary, compression="zstd")
        counts[split] = truth.height
    return counts


def _inject_shard(item: tuple[Path, Path, Path]) -> None:
    templates, simulations, target = item
    table = pq.read_table(simulations, columns=["shard", "row", "median_flux", "spot_flux"])
    light_curves = read_shard(templates / table["shard"][0].as_py()).take(table["row"].to_numpy())
    spot_flux = table["spot_flux"].combine_chunks().flatten().to_numpy()
    injected = inject(light_curves, spot_flux, table["median_flux"].to_numpy())
    write_shard(target, replace(injected, star_id=tuple(_truth([simulations])["star_id"])))


def _truth(parts: list[Path]) -> pl.DataFrame:
    """The truth of these simulations, without their flux."""
    if not parts:
        return pl.DataFrame(schema={"star_id": pl.String, "period_days": pl.Float64})
    truth = pl.concat([pl.read_parquet(part).drop("spot_flux", "shard", "row") for part in parts])
    return truth.select(pl.format("{}/{}", "template", "simulation").alias("star_id"), pl.all())


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.samples.{name}", SampleSettings)
    build = root / "build/periods"
    with atomic_folder(build / "injected" / name) as folder:
        counts = build_injections(build / "templates" / settings.templates, build / "simulations" / name, folder)
    print(f"{name}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
