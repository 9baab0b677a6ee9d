"""The Slurm engine: one job array, of which each process does every n-th piece.

sbatch --array=0-9 --cpus-per-task=4 --wrap "varistar predict periods survey/ --output catalog.parquet --engine slurm"
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from varistar.foundation.errors import ConfigError

_VARIABLES = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT")


@dataclass(frozen=True)
class Share:
    """The pieces of one process of an array: those whose number leaves the rest `rank` when divided by `count`.

    Attributes
    ----------
    array : the array's job number, which its processes have in common.
    processors : of this process; None where Slurm does not say.
    """

    rank: int
    count: int
    array: str
    processors: int | None


def read_share(environment: Mapping[str, str] = os.environ) -> Share:
    """The share that Slurm's environment gives this process.

    Raises
    ------
    ConfigError
        When this is no process of an array, or one whose numbers are not in equal steps.
    """
    number = {name: int(value) for name in _VARIABLES if (value := environment.get(name, "")).isdecimal()}
    number.setdefault("SLURM_ARRAY_TASK_STEP", 1)
    if missing := [name for name in _VARIABLES if name not in number]:
        raise ConfigError(f"the engine slurm needs a job array (sbatch --array=0-9), but {missing[0]} is not set")
    task, first, step, count = (number[name] for name in _VARIABLES)
    rank, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= rank < count:
        raise ConfigError(
            f"the engine slurm needs a job array in equal steps (sbatch --array=0-9), but this is process {task} of "
            f"{count} from {first} in steps of {step}"
        )
    processors = environment.get("SLURM_CPUS_PER_TASK", "")
    array = environment.get("SLURM_ARRAY_JOB_ID", "")
    return Share(rank, count, array, int(processors) if processors.isdecimal() else None)
