"""Arguments and options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varistar.foundation.accelerator import Accelerator

if TYPE_CHECKING:
    from varistar.bulk.engine import Engine

Root = Annotated[
    Path | None, typer.Option(help="The project's folder; by default the nearest at or above the current one.")
]
Inputs = Annotated[list[Path], typer.Argument(help="Light curves: files, shards, or folders of them.", metavar="INPUT")]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="local, dask, ray, dask@ADDRESS or ray@ADDRESS of a running cluster, or slurm inside a job array; by "
        "default what VARISTAR_ENGINE says, else local. The result is the same to the byte.",
        metavar="ENGINE",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each processor.")]
AcceleratorName = Annotated[
    Accelerator | None,
    typer.Option(
        "--accelerator",
        help="Where stars and images are made and networks run; auto takes a GPU if any. Default: as params.yaml says.",
    ),
]


def engine_of(name: str | None, workers: int | None) -> "Engine":
    """The engine that the options name."""
    from varistar.bulk.engine import read_engine

    return read_engine(name, workers)


def accelerator_of(name: Accelerator | None, root: Path | None) -> Accelerator:
    """The accelerator that the option names, else the project's; outside of a project, `auto`."""
    from varistar.foundation.params import lookup, read_params

    if name is not None:
        return name
    folder = project_of(root)
    return "auto" if folder is None else lookup(read_params(folder), "accelerator")


def project_of(root: Path | None) -> Path | None:
    """The project's folder; None outside of a project."""
    from varistar.foundation.errors import ConfigError
    from varistar.foundation.params import find_root

    try:
        return find_root(root)
    except ConfigError:
        return None


def others_go_on() -> None:
    """What a process of a job array says that is not the last."""
    print("this process has done its share; the last process of the array puts the result together")
