"""Simulate one spotted star for every training example, at the epochs of the template that will carry it.

Stars are drawn from Table 1 of the paper (000). Their flux is computed at the template's own epochs, so no
interpolation stands between the simulation and the light curve; the median that injection divides by comes from a grid
of about a day. Templates repeat only when there are more simulations than templates. An example's random stream depends
on the seed and its number alone.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.job import Done, run_job
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder, atomic_path, folder_hash, link_file
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.foundation.settings import Settings
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves
from varistar.physics.spots import SpotPrior, SpottedStar, simulate_positive
from varistar.surveys.definition import Survey

from .splits import SPLITS

SIMULATIONS_PER_SHARD = 1024
STARS_PER_BATCH = 256  # on an accelerator


class SampleSettings(Settings):
    """One training sample: its templates, its size and its stars.

    Attributes
    ----------
    templates : name of the template set.
    simulations : number of examples; templates repeat when there are fewer of them.
    prior : distributions that the stars are drawn from.
    """

    templates: str
    simulations: Annotated[int, Field(gt=0)]
    seed: int = 88
    prior: SpotPrior = SpotPrior()


class SimulationPiece(NamedTuple):
    """Examples of one split (rows of `plan_examples`) whose templates stand in one shard of a template set."""

    templates: Path
    examples: pl.DataFrame
    settings: SampleSettings
    window_start: float
    device: str


def plan_examples(templates: pl.DataFrame, settings: SampleSettings) -> pl.DataFrame:
    """Which template carries which simulation: one row per example, with `simulation`, `template` and `split`.

    Every template is used n or n + 1 times, in a shuffled order, so that the sample's splits have the templates'
    shares.
    """
    order = np.random.default_rng(settings.seed).permutation(templates.height)
    rows = np.tile(order, -(-settings.simulations // templates.height))[: settings.simulations]
    chosen = templates.sort("star_id").select("star_id", "split", "shard", "row")[rows]
    return chosen.rename({"star_id": "template"}).with_columns(simulation=pl.int_range(pl.len(), dtype=pl.Int64))


def build_simulations(
    templates: Path,
    settings: SampleSettings,
    window_start: float,
    folder: Path,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> int | None:
    """Simulate every example of a sample; returns the number of draws refused because their flux was not positive.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    templates : folder of a template set.
    window_start : time [d] at which the simulated window begins, the survey's first day.
    folder : replaced; receives `<split>/part-*.parquet`, one row per example: `simulation`, `template`, its `shard`
        and `row` in the template set, `period_days` (equatorial), `effective_period_days` (what the light curve
        shows), the star's other parameters, `median_flux`, `n_redraws`, and `spot_flux`, a list with one value for
        each epoch of the template. A part's templates stand in one shard.
    """
    device = choose_device(accelerator).type
    items, names = simulation_pieces(templates, settings, window_start, device)

    def deliver(done: Iterator[Done]) -> int:
        redraws = 0
        with atomic_folder(folder) as whole:
            for name, (target, summary) in zip(names, done, strict=True):
                link_file(target.with_suffix(".parquet"), whole / name)
                redraws += summary["redraws"]
        return redraws

    return run_job(
        simulate_piece,
        items,
        folder.with_name(f"{folder.name}.parts"),
        simulation_key(templates, settings, window_start, device),
        deliver,
        for_device(engine, device),
        "simulations",
        lambda item: item.templates / item.examples["shard"][0],
        [len(item.examples) for item in items],
    )


def simulation_pieces(
    templates: Path, settings: SampleSettings, window_start: float, device: str
) -> tuple[list[SimulationPiece], list[str]]:
    """The sample in pieces, each of one split and one shard of templates, and the name of each one's file."""
    plan = plan_examples(pl.read_parquet(templates / "stars.parquet", glob=False), settings)
    pieces: list[SimulationPiece] = []
    names: list[str] = []
    for split in SPLITS:
        parts = [
            part
            for _, examples in plan.filter(split=split).sort("shard", "row").group_by("shard", maintain_order=True)
            for part in examples.iter_slices(SIMULATIONS_PER_SHARD)
        ]
        pieces += [SimulationPiece(templates, part, settings, window_start, device) for part in parts]
        names += [f"{split}/part-{number:05d}.parquet" for number in range(len(parts))]
    return pieces, names


def simulation_key(templates: Path, settings: SampleSettings, window_start: float, device: str) -> dict[str, Any]:
    """What the simulations depend on."""
    return {
        "templates": folder_hash(templates),
        "settings": settings.model_dump(mode="json"),
        "window_start": window_start,
        "device": device,
    }


def simulate_piece(piece: SimulationPiece, target: Path) -> dict[str, int]:
    """Simulate the examples of a piece into `<target>.parquet`."""
    light_curves = read_shard(piece.templates / piece.examples["shard"][0], columns=["time", "flux", "flux_err"])
    rows, fluxes = [], []
    for example, star in zip(piece.examples.iter_rows(named=True), _simulated(piece, light_curves), strict=True):
        parameters = asdict(star.parameters)
        truth = {"period_days": parameters.pop("period"), "effective_period_days": star.effective_period}
        rows.append(example | truth | parameters | {"median_flux": star.median, "n_redraws": star.n_redraws})
        fluxes.append(star.flux.astype(np.float32))
    offsets = np.concatenate([[0], np.cumsum([len(flux) for flux in fluxes])])
    spot_flux = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(fluxes)))
    table = pl.DataFrame(rows).to_arrow().append_column("spot_flux", spot_flux)
    with atomic_path(target.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return {"redraws": sum(row["n_redraws"] for row in rows)}


def _simulated(piece: SimulationPiece, light_curves: LightCurves) -> Iterator[SpottedStar]:
    """The stars of the examples, at the epochs of their templates."""
    settings, numbers = piece.settings, piece.examples["simulation"].to_list()
    begin, end = (light_curves.offsets[piece.examples["row"].to_numpy() + k] for k in (0, 1))
    epochs = [light_curves["time"][first:last] for first, last in zip(begin, end, strict=True)]
    if piece.device == "cpu":
        for number, time in zip(numbers, epochs, strict=True):
            yield simulate_positive(settings.prior, time, piece.window_start, settings.seed, number)
        return
    from varistar.physics import on_torch

    for first in range(0, len(numbers), STARS_PER_BATCH):
        some = slice(first, first + STARS_PER_BATCH)
        yield from on_torch.simulate_positive(
            settings.prior, epochs[some], piece.window_start, settings.seed, numbers[some], piece.device
        )


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.samples.{name}", SampleSettings)
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    templates = root / "build/periods/templates" / settings.templates
    folder, accelerator = root / "build/periods/simulations" / name, lookup(read_params(root), "accelerator")
    redraws = build_simulations(templates, settings, survey.window[0], folder, accelerator=accelerator)
    if redraws is not None:
        print(f"{name}: {settings.simulations} simulations; {redraws} draws with non-positive flux were drawn again")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
