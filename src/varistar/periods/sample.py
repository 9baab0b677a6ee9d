"""A training sample outside the pipeline: of any size, on any engine, simulated and injected in one pass."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import SPLITS
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError
from varistar.foundation.files import require_replaceable
from varistar.foundation.params import lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .inject import InjectionPiece, collect_injections, inject_piece
from .sample_settings import SampleSettings, read_sample
from .simulate import SimulationPiece, simulate_piece, simulation_key, simulation_pieces

BYTES_PER_EXAMPLE = 12_000  # simulated and injected, at a thousand points


class SamplePiece(NamedTuple):
    """Simulations of one piece, and the sample they belong to."""

    simulations: SimulationPiece
    settings: SampleSettings


def make_sample(
    root: Path,
    name: str,
    folder: Path,
    examples: int | None = None,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
    announce: Announce | None = None,
) -> dict[str, int] | None:
    """Make sample `name` of params.yaml; returns the number of examples in each split.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    folder : replaced; it looks as `build_injections` makes it.
    examples : number of simulations, instead of the sample's own.
    announce : is told before the work what it will take.

    Raises
    ------
    DataError
        When the sample's templates have not been made, the disk is too small, or a piece failed.
    """
    settings, stars = read_sample(root, name)
    if examples is not None:
        settings = settings.model_copy(update={"simulations": examples})
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    templates = root / "build/periods/templates"
    for part in settings.parts:
        if not (folder_of := templates / part.templates).is_dir():
            raise DataError(
                f"{folder_of}: these templates have not been made; use `dvc repro templates@{part.templates}`"
            )
    require_replaceable(folder, lambda path: path.name in SPLITS and (path / "truth.parquet").exists())
    device = choose_device(accelerator).type
    pieces, names = simulation_pieces(templates, settings, stars, survey.window[0], device)
    items = [SamplePiece(piece, settings) for piece in pieces]
    sizes = [len(piece.examples) for piece in pieces]
    engine = for_device(engine, device)
    parts = folder.with_name(f"{folder.name}.parts")
    foresee(parts, items, sum(sizes), BYTES_PER_EXAMPLE, _try_piece, engine, announce)

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        return collect_injections(names, [target for target, _ in done], folder)

    return run_job(
        _sample_piece,
        items,
        parts,
        simulation_key(templates, settings, stars, survey.window[0], accelerator),
        deliver,
        engine,
        f"sample {name}",
        lambda item: item.simulations.shard,
        sizes,
    )


def _sample_piece(piece: SamplePiece, target: Path) -> dict[str, int]:
    simulated = target.with_name(f"{target.name}-simulated.parquet")
    simulate_piece(piece.simulations, simulated.with_suffix(""))
    return inject_piece(InjectionPiece(piece.simulations.templates, simulated, piece.settings), target)


def _try_piece(piece: SamplePiece, stars: int) -> int:
    some = piece.simulations._replace(examples=piece.simulations.examples[:stars])
    with tempfile.TemporaryDirectory() as folder:
        return _sample_piece(piece._replace(simulations=some), Path(folder) / "trial")["examples"]
