"""A training sample outside the pipeline: of any size, on any engine, simulated and injected in one pass."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from varistar.bulk.engine import Engine, for_device
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, run_job
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError
from varistar.foundation.files import require_replaceable
from varistar.foundation.params import lookup, read_params, read_section
from varistar.surveys.definition import Survey

from .inject import collect_injections, inject_piece
from .simulate import SampleSettings, SimulationPiece, simulate_piece, simulation_key, simulation_pieces
from .splits import SPLITS

BYTES_PER_EXAMPLE = 12_000  # simulated and injected, at a thousand points


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
    settings = read_section(root, f"periods.samples.{name}", SampleSettings)
    if examples is not None:
        settings = settings.model_copy(update={"simulations": examples})
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    templates = root / "build/periods/templates" / settings.templates
    if not templates.is_dir():
        raise DataError(
            f"{templates}: these templates have not been made; use `dvc repro templates@{settings.templates}`"
        )
    require_replaceable(folder, lambda path: path.name in SPLITS and (path / "truth.parquet").exists())
    device = choose_device(accelerator).type
    pieces, names = simulation_pieces(templates, settings, survey.window[0], device)
    sizes = [len(piece.examples) for piece in pieces]
    engine = for_device(engine, device)
    parts = folder.with_name(f"{folder.name}.parts")
    foresee(parts, pieces, sum(sizes), BYTES_PER_EXAMPLE, _try_piece, engine, announce)

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        targets = [target for target, _ in done]
        light_curves = [target.with_suffix(".parquet") for target in targets]
        return collect_injections(names, light_curves, [_simulated(target) for target in targets], folder)

    return run_job(
        _sample_piece,
        pieces,
        parts,
        simulation_key(templates, settings, survey.window[0], accelerator),
        deliver,
        engine,
        f"sample {name}",
        lambda piece: piece.templates / piece.examples["shard"][0],
        sizes,
    )


def _sample_piece(piece: SimulationPiece, target: Path) -> dict[str, int]:
    simulated = _simulated(target)
    simulate_piece(piece, simulated.with_suffix(""))
    return inject_piece(piece.templates, simulated, target)


def _try_piece(piece: SimulationPiece, stars: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _sample_piece(piece._replace(examples=piece.examples[:stars]), Path(folder) / "trial")["examples"]


def _simulated(target: Path) -> Path:
    return target.with_name(f"{target.name}-simulated.parquet")
