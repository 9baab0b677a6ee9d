"""Inject the simulated stars into their templates.

The template's flux is multiplied by the simulated star's flux relative to its median, epoch by epoch:

    flux_i = template_i * spot_flux(t_i) / median(spot_flux)

This is equation A5 of the paper (000) with its indices put right (AMB-4); since the simulation is evaluated at the
template's own epochs, its interpolation weights vanish. The template's errors stay as they are.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from varistar.bulk.engine import Engine
from varistar.bulk.job import Done, run_job
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder, folder_hash, link_file
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


def build_injections(
    templates: Path, simulations: Path, folder: Path, engine: Engine | None = None
) -> dict[str, int] | None:
    """Inject every simulation; returns the number of examples in each split.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last. `folder` is replaced.

    Writes `<split>/part-*.parquet`, light curves whose star id is `<template>/<simulation>`, and
    `<split>/truth.parquet` with one row for each of them in the same order: that id as `star_id`, `template`,
    `simulation`, `period_days` and the star's parameters. The folder `test` is the frozen test set; its content hash is
    its version.
    """
    parts = [part for split in SPLITS for part in sorted((simulations / split).glob("part-*.parquet"))]

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        names = [f"{part.parent.name}/{part.name}" for part in parts]
        return collect_injections(names, [target.with_suffix(".parquet") for target, _ in done], parts, folder)

    return run_job(
        _inject_part,
        [(templates, part) for part in parts],
        folder.with_name(f"{folder.name}.parts"),
        {"templates": folder_hash(templates), "simulations": folder_hash(simulations)},
        deliver,
        engine,
        "injections",
        lambda item: item[1],
    )


def collect_injections(
    names: Sequence[str], light_curves: Sequence[Path], simulations: Sequence[Path], folder: Path
) -> dict[str, int]:
    """Put injected parts, each with its simulations, into `folder` as `build_injections` describes it.

    Parameters
    ----------
    names : `<split>/part-*.parquet` of each part.
    """
    counts: dict[str, int] = {}
    with atomic_folder(folder) as whole:
        for name, part in zip(names, light_curves, strict=True):
            link_file(part, whole / name)
        for split in SPLITS:
            truth = _truth(
                [part for name, part in zip(names, simulations, strict=True) if name.startswith(f"{split}/")]
            )
            (whole / split).mkdir(exist_ok=True)
            truth.write_parquet(whole / split / "truth.parquet", compression="zstd")
            counts[split] = truth.height
    return counts


def _inject_part(item: tuple[Path, Path], target: Path) -> dict[str, int]:
    return inject_piece(*item, target)


def inject_piece(templates: Path, simulations: Path, target: Path) -> dict[str, int]:
    """Inject the simulations of one part into their templates: light curves into `<target>.parquet`."""
    table = pq.read_table(simulations, columns=["shard", "row", "median_flux", "spot_flux"])
    light_curves = read_shard(templates / table["shard"][0].as_py()).take(table["row"].to_numpy())
    spot_flux = table["spot_flux"].combine_chunks().flatten().to_numpy()
    injected = inject(light_curves, spot_flux, table["median_flux"].to_numpy())
    named = replace(injected, star_id=tuple(_truth([simulations])["star_id"]))
    write_shard(target.with_suffix(".parquet"), named)
    return {"examples": len(named)}


def _truth(parts: list[Path]) -> pl.DataFrame:
    """The truth of these simulations, without their flux."""
    if not parts:
        return pl.DataFrame(schema={"star_id": pl.String, "period_days": pl.Float64})
    truth = pl.concat([pl.scan_parquet(part, glob=False).drop("spot_flux", "shard", "row") for part in parts]).collect()
    return truth.select(pl.format("{}/{}", "template", "simulation").alias("star_id"), pl.all())


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.samples.{name}", SampleSettings)
    build = root / "build/periods"
    counts = build_injections(
        build / "templates" / settings.templates, build / "simulations" / name, build / "injected" / name
    )
    if counts is not None:
        print(f"{name}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
