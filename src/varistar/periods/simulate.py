"""Simulate the star of every training example, at the epochs of the template that will carry it.

A sample has parts, each one kind of star on one template set. Spotted stars are drawn from a prior, by default Table 1
of the paper (000); constant stars do not vary, and irregular ones are damped random walks, which have no period. Their
flux is computed at the template's own epochs, so no interpolation stands between the simulation and the light curve;
the median that injection divides by comes from a grid of about a day. Templates repeat only when a part has more
examples than templates. An example's random stream depends on the seed and its number alone.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import SPLITS
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder, atomic_path, folder_hash, link_file
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.lightcurves.shards import read_shard
from varistar.physics.red_noise import damped_random_walk
from varistar.physics.spot_prior import SpotPrior, log_uniform
from varistar.physics.spots import SpottedStar, simulate_positive, stream_of
from varistar.surveys.definition import Survey

from .sample_settings import SampleSettings, StarSettings, read_sample

SIMULATIONS_PER_SHARD = 1024
STARS_PER_BATCH = 256  # on an accelerator
FAINTEST = 0.01  # of its mean, the least flux of an irregular star: a random walk knows no bound

#: What is known of a star, null where its kind has no such thing.
TRUTH: dict[str, pl.DataType | type[pl.DataType]] = {
    "period_days": pl.Float64,
    "effective_period_days": pl.Float64,
    "activity": pl.Float64,
    "cycle_period": pl.Float64,
    "cycle_overlap": pl.Float64,
    "min_latitude": pl.Float64,
    "max_latitude": pl.Float64,
    "spot_lifetime": pl.Float64,
    "inclination": pl.Float64,
    "shear": pl.Float64,
    "alpha_med": pl.Float64,
    "butterfly": pl.Boolean,
    "timescale_days": pl.Float64,
    "deviation": pl.Float64,
    "median_flux": pl.Float64,
    "n_redraws": pl.Int64,
}


class SimulationPiece(NamedTuple):
    """Examples of one split (rows of `plan_examples`) whose templates stand in one shard of one template set."""

    templates: Path
    examples: pl.DataFrame
    stars: Mapping[str, StarSettings]
    seed: int
    window_start: float
    device: str

    @property
    def shard(self) -> Path:
        """The shard of the templates."""
        return self.templates / self.examples["templates"][0] / self.examples["shard"][0]


def plan_examples(templates: Mapping[str, pl.DataFrame], settings: SampleSettings) -> pl.DataFrame:
    """Which template carries which simulation: one row per example, in the order of their numbers.

    A part uses each of its templates n or n + 1 times, in a shuffled order, so that its splits have the templates'
    shares. A longer sample begins with the shorter one.

    Parameters
    ----------
    templates : table of each template set, with `star_id`, `split`, `shard` and `row`.

    Returns
    -------
    `simulation`, the number; `stars`, the kind; `templates`, the set's name; `template`, the star; its `split`, and its
    `shard` and `row` in the set.
    """
    rng = np.random.default_rng(settings.seed)
    part_of = _apportion([part.share for part in settings.parts], settings.simulations)
    plans = []
    for number, part in enumerate(settings.parts):
        table = templates[part.templates].sort("star_id").rename({"star_id": "template"})
        order = rng.permutation(table.height)[: part.unique]
        simulations = np.flatnonzero(part_of == number)
        chosen = table[np.resize(order, len(simulations))]
        named = chosen.with_columns(
            simulation=pl.Series(simulations, dtype=pl.Int64),
            stars=pl.lit(part.stars),
            templates=pl.lit(part.templates),
        )
        plans.append(named.select("simulation", "stars", "templates", "template", "split", "shard", "row"))
    return pl.concat(plans).sort("simulation")


def _apportion(shares: Sequence[float], n: int) -> NDArray[np.int64]:
    """The part that each of `n` examples belongs to, shape (n,), dealt out evenly: each part gets its share, rounded.

    The method of Webster: example j of a part with share s stands at (j + 1/2) / s, and the first n are taken. Every
    part gets round(s x) for the x that makes the sum n, and more examples leave the first as they are.
    """
    total = sum(shares)
    counts = [int(np.ceil(n * share / total)) + len(shares) for share in shares]
    places = np.concatenate([(np.arange(count) + 0.5) / share for count, share in zip(counts, shares, strict=True)])
    parts = np.repeat(np.arange(len(shares)), counts)
    return parts[np.argsort(places, kind="stable")][:n]


def build_simulations(
    templates: Path,
    settings: SampleSettings,
    stars: Mapping[str, StarSettings],
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
    templates : folder of the template sets, one folder in it for each.
    stars : the kinds of stars that the sample's parts name.
    window_start : time [d] at which the simulated window begins, the survey's first day.
    folder : replaced; receives `<split>/part-*.parquet`, one row per example: the columns of `plan_examples`;
        `period_days` (equatorial), `effective_period_days` (what the light curve shows) and the spots' parameters, null
        for a star without spots; `timescale_days` and `deviation`, null for one that is not irregular; `median_flux`,
        `n_redraws`, and `spot_flux`, the star's relative flux at each epoch of the template. The templates of one file
        stand in one shard.
    """
    device = choose_device(accelerator).type
    items, names = simulation_pieces(templates, settings, stars, window_start, device)

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
        simulation_key(templates, settings, stars, window_start, device),
        deliver,
        for_device(engine, device),
        "simulations",
        lambda item: item.shard,
        [len(item.examples) for item in items],
    )


def simulation_pieces(
    templates: Path, settings: SampleSettings, stars: Mapping[str, StarSettings], window_start: float, device: str
) -> tuple[list[SimulationPiece], list[str]]:
    """The sample in pieces, each of one split and one shard of templates, and the name of each one's file."""
    names = {part.templates for part in settings.parts}
    tables = {name: pl.read_parquet(templates / name / "stars.parquet", glob=False) for name in names}
    plan = plan_examples(tables, settings).sort("templates", "shard", "row", "simulation")
    pieces: list[SimulationPiece] = []
    files: list[str] = []
    for split in SPLITS:
        parts = [
            part
            for _, examples in plan.filter(split=split).group_by("templates", "shard", maintain_order=True)
            for part in examples.iter_slices(SIMULATIONS_PER_SHARD)
        ]
        pieces += [SimulationPiece(templates, part, stars, settings.seed, window_start, device) for part in parts]
        files += [f"{split}/part-{number:05d}.parquet" for number in range(len(parts))]
    return pieces, files


def simulation_key(
    templates: Path, settings: SampleSettings, stars: Mapping[str, StarSettings], window_start: float, device: str
) -> dict[str, Any]:
    """What the simulations depend on."""
    return {
        "templates": {part.templates: folder_hash(templates / part.templates) for part in settings.parts},
        "settings": settings.model_dump(mode="json"),
        "stars": {part.stars: stars[part.stars].model_dump(mode="json") for part in settings.parts},
        "window_start": window_start,
        "device": device,
    }


def simulate_piece(piece: SimulationPiece, target: Path) -> dict[str, int]:
    """Simulate the examples of a piece into `<target>.parquet`."""
    simulated = _simulate(piece)
    examples = piece.examples.rows(named=True)
    rows = [example | star.truth for example, star in zip(examples, simulated, strict=True)]
    fluxes = [star.flux.astype(np.float32) for star in simulated]
    offsets = np.concatenate([[0], np.cumsum([len(flux) for flux in fluxes])])
    spot_flux = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(fluxes)))
    known = pl.DataFrame(rows, schema={**piece.examples.schema, **TRUTH})
    with atomic_path(target.with_suffix(".parquet")) as temporary:
        pq.write_table(known.to_arrow().append_column("spot_flux", spot_flux), temporary, compression="zstd")
    return {"redraws": int(known["n_redraws"].sum())}


class Simulated(NamedTuple):
    """A star's relative flux at the epochs of its template, shape (m,), and what is known of it (of `TRUTH`)."""

    flux: NDArray[np.float64]
    truth: dict[str, Any]


def _simulate(piece: SimulationPiece) -> list[Simulated]:
    """The stars of the examples, at the epochs of their templates."""
    light_curves = read_shard(piece.shard, columns=[])
    begin, end = (light_curves.offsets[piece.examples["row"].to_numpy() + k] for k in (0, 1))
    epochs = [light_curves["time"][first:last] for first, last in zip(begin, end, strict=True)]
    numbers, kinds = piece.examples["simulation"].to_list(), piece.examples["stars"].to_list()
    stars: dict[int, Simulated] = {}
    for kind in sorted(set(kinds)):
        rows = [row for row, name in enumerate(kinds) if name == kind]
        of_kind = _of_kind(piece, piece.stars[kind], [epochs[row] for row in rows], [numbers[row] for row in rows])
        stars.update(zip(rows, of_kind, strict=True))
    return [stars[row] for row in range(len(kinds))]


def _of_kind(
    piece: SimulationPiece, settings: StarSettings, epochs: Sequence[NDArray[np.float64]], numbers: Sequence[int]
) -> Iterator[Simulated]:
    """Stars of one kind."""
    match settings.signal:
        case "spots":
            yield from map(_known, _spotted(piece, settings.prior, epochs, numbers))
        case "red_noise":
            for time, number in zip(epochs, numbers, strict=True):
                yield irregular_star(settings, time, stream_of(piece.seed, number))
        case "none":
            for time in epochs:
                yield Simulated(np.ones(len(time)), {"median_flux": 1.0, "n_redraws": 0})


def _spotted(
    piece: SimulationPiece, prior: SpotPrior, epochs: Sequence[NDArray[np.float64]], numbers: Sequence[int]
) -> Iterator[SpottedStar]:
    if piece.device == "cpu":
        for time, number in zip(epochs, numbers, strict=True):
            yield simulate_positive(prior, time, piece.window_start, piece.seed, number)
        return
    from varistar.physics import on_torch

    for first in range(0, len(numbers), STARS_PER_BATCH):
        some = slice(first, first + STARS_PER_BATCH)
        yield from on_torch.simulate_positive(
            prior, epochs[some], piece.window_start, piece.seed, numbers[some], piece.device
        )


def _known(star: SpottedStar) -> Simulated:
    parameters = asdict(star.parameters)
    shown = star.effective_period if np.isfinite(star.effective_period) else None
    truth = {"period_days": parameters.pop("period"), "effective_period_days": shown}
    return Simulated(star.flux, truth | parameters | {"median_flux": star.median, "n_redraws": star.n_redraws})


def irregular_star(settings: StarSettings, time: NDArray[np.float64], rng: np.random.Generator) -> Simulated:
    """A star that varies without a period: 1 + a damped random walk, but nowhere below `FAINTEST`.

    The walk's timescale and deviation are log-uniform in their ranges; its mean, one, is what injection divides by.
    """
    timescale, deviation = log_uniform(rng, *settings.timescale), log_uniform(rng, *settings.deviation)
    order = np.argsort(time, kind="stable")
    flux = np.empty(len(time))
    flux[order] = 1.0 + damped_random_walk(rng, time[order], timescale, deviation)
    truth = {"timescale_days": timescale, "deviation": deviation, "median_flux": 1.0, "n_redraws": 0}
    return Simulated(np.maximum(flux, FAINTEST), truth)


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    settings, stars = read_sample(root, name)
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    templates, folder = root / "build/periods/templates", root / "build/periods/simulations" / name
    accelerator = lookup(read_params(root), "accelerator")
    redraws = build_simulations(templates, settings, stars, survey.window[0], folder, accelerator=accelerator)
    if redraws is not None:
        print(f"{name}: {settings.simulations} simulations; {redraws} draws with non-positive flux were drawn again")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
