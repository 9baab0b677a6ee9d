"""Inject the simulated stars into their templates, and write down what is true of every example.

The template's flux is multiplied by the simulated star's flux relative to its median, epoch by epoch:

    flux_i = template_i * spot_flux(t_i) / median(spot_flux)

This is equation A5 of the paper (000) with its indices put right (AMB-4); since the simulation is evaluated at the
template's own epochs, its interpolation weights vanish. The template's errors stay as they are. Where the sample asks
for it, examples that train are made poorer than that (`augment`); no other split ever is.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from varistar.bulk.engine import Engine
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import SPLITS
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_folder, atomic_path, folder_hash, link_file
from varistar.foundation.params import find_root, read_section
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.table import LightCurves

from .augment import Augmented, augment
from .sample_settings import Augmentation, SampleSettings

KEPT = ("time", "flux", "flux_err", "camera")
#: Sets the streams of augmentation apart from those of the stars themselves, whose key is their number alone.
AUGMENTATION = 1


class InjectionPiece(NamedTuple):
    """A file of simulations, the folder of the template sets, and the sample they belong to."""

    templates: Path
    simulations: Path
    settings: SampleSettings


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
    templates: Path, simulations: Path, settings: SampleSettings, folder: Path, engine: Engine | None = None
) -> dict[str, int] | None:
    """Inject every simulation; returns the number of examples in each split.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    templates : folder of the template sets, one folder in it for each.
    simulations : as `build_simulations` writes them.
    settings : the sample's.
    folder : replaced; receives `<split>/part-*.parquet`, light curves whose star id is `<template>/<simulation>`, and
        `<split>/truth.parquet`, one row for each of them in the same order: that id as `star_id`; what is known of the
        simulation; `n_points`; `amplitude`, the range from the 5th to the 95th percentile of the factor that was
        injected, at the light curve's epochs; `template_flux`, the median of the template's flux in its unit;
        `template_scatter`, 1.4826 times the median absolute deviation from it, relative to it; and `noise_factor`, what
        augmentation multiplied the errors by. The folder `test` is the frozen test set; its content hash is its
        version.

    Raises
    ------
    DataError
        When there are no simulations, or a piece failed.
    """
    parts = [part for split in SPLITS for part in sorted((simulations / split).glob("part-*.parquet"))]
    if not parts:
        raise DataError(f"{simulations}: holds no simulations")

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        names = [f"{part.parent.name}/{part.name}" for part in parts]
        return collect_injections(names, [target for target, _ in done], folder)

    return run_job(
        inject_piece,
        [InjectionPiece(templates, part, settings) for part in parts],
        folder.with_name(f"{folder.name}.parts"),
        {
            "templates": {part.templates: folder_hash(templates / part.templates) for part in settings.parts},
            "simulations": folder_hash(simulations),
            "settings": settings.model_dump(mode="json"),
        },
        deliver,
        engine,
        "injections",
        lambda item: item.simulations,
    )


def collect_injections(names: Sequence[str], targets: Sequence[Path], folder: Path) -> dict[str, int]:
    """Put what `inject_piece` wrote into `folder` as `build_injections` describes it.

    Parameters
    ----------
    names : `<split>/part-*.parquet` of each piece.
    targets : what each piece was given; at least one.
    """
    counts: dict[str, int] = {}
    with atomic_folder(folder) as whole:
        for name, target in zip(names, targets, strict=True):
            link_file(target.with_suffix(".parquet"), whole / name)
        truths = [pl.read_parquet(_truth_of(target), glob=False) for target in targets]
        for split in SPLITS:
            own = [truth for name, truth in zip(names, truths, strict=True) if name.startswith(f"{split}/")]
            (whole / split).mkdir(exist_ok=True)
            truth = pl.concat(own or [truths[0].clear()])
            truth.write_parquet(whole / split / "truth.parquet", compression="zstd")
            counts[split] = truth.height
    return counts


def inject_piece(piece: InjectionPiece, target: Path) -> dict[str, int]:
    """Inject the simulations of one file: light curves into `<target>.parquet`, truth into `<target>-truth.parquet`."""
    table = pq.read_table(piece.simulations)
    simulated: pl.DataFrame = pl.from_arrow(table.drop_columns(["spot_flux"]))  # type: ignore[assignment]
    folder, shard, split = (simulated[name][0] for name in ("templates", "shard", "split"))
    light_curves = read_shard(piece.templates / folder / shard)
    templates = light_curves.take(simulated["row"].to_numpy())
    spot_flux = table["spot_flux"].combine_chunks().flatten().to_numpy()
    injected = inject(templates, spot_flux, simulated["median_flux"].to_numpy())
    augmented = Augmented(injected, np.ones(len(spot_flux), dtype=np.bool_), np.ones(len(injected)))
    if split == "train" and piece.settings.augment != Augmentation():
        stars = pl.read_parquet(piece.templates / folder / "stars.parquet", glob=False)
        # No window of another split: nothing of its stars must be learnt from.
        lenders = light_curves.take(stars.filter(shard=shard, split="train")["row"].to_numpy())
        streams = [_stream(piece.settings.seed, number) for number in simulated["simulation"]]
        augmented = augment(injected, piece.settings.augment, streams, lenders)
    truth = _truth(simulated, templates, spot_flux, augmented)
    write_shard(target.with_suffix(".parquet"), replace(augmented.light_curves, star_id=tuple(truth["star_id"])))
    with atomic_path(_truth_of(target)) as temporary:
        truth.write_parquet(temporary, compression="zstd")
    return {"examples": truth.height}


def _stream(seed: int, number: int) -> np.random.Generator:
    """The random stream of the augmentation of star `number`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, AUGMENTATION)))


def _truth(
    simulated: pl.DataFrame, templates: LightCurves, spot_flux: NDArray[np.float32], augmented: Augmented
) -> pl.DataFrame:
    """The truth of these examples; `spot_flux` is that at the templates' epochs, shape (m,)."""
    shown = augmented.light_curves.offsets
    ranges = [np.percentile(flux, [5, 95]) for flux in np.split(spot_flux[augmented.kept], shown[1:-1])]
    fluxes = np.split(templates["flux"].astype(np.float64), templates.offsets[1:-1])
    typical = np.array([np.median(flux) for flux in fluxes])
    scatter = [1.4826 * np.median(np.abs(flux - median)) for flux, median in zip(fluxes, typical, strict=True)]
    return simulated.drop("shard", "row").select(
        pl.format("{}/{}", "template", "simulation").alias("star_id"),
        pl.all(),
        n_points=pl.Series(augmented.light_curves.n_points),
        amplitude=pl.Series(np.ptp(ranges, axis=1)) / pl.col("median_flux"),
        template_flux=pl.Series(typical),
        template_scatter=pl.Series(scatter) / pl.Series(typical),
        noise_factor=pl.Series(augmented.noise_factor),
    )


def _truth_of(target: Path) -> Path:
    return target.with_name(f"{target.name}-truth.parquet")


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.samples.{name}", SampleSettings)
    build = root / "build/periods"
    counts = build_injections(build / "templates", build / "simulations" / name, settings, build / "injected" / name)
    if counts is not None:
        print(f"{name}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
