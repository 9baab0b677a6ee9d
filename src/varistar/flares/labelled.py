"""Light curves whose flares people have labelled, as `label` writes them: joined with the simulated stars, or alone.

The folder has the form of simulated sectors, so that whatever reads those reads it too. A *doubt* is a row of its
flares without an amplitude: between its `tstart` and `tstop` something stands out that the list does not name. Lists
are incomplete where flares are faint, so there neither answer is right. Its `peak_snr` is `DOUBTFUL`, too bright to be
noise and too faint to count, as long as that lies between `faint_snr` and `flare_snr` of the windows.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import polars as pl
from filelock import FileLock
from pydantic import Field

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, folder_hash, link_file
from varistar.foundation.params import PARAMS, lookup, read_params
from varistar.foundation.settings import Settings, validate

from .stars import shards_of

#: From `faint_snr` on, and below `flare_snr`: with others in params.yaml a doubt would be noise, or a flare.
DOUBTFUL = 2.5
#: How much of a folder's hash says which version of it is meant.
VERSION_LENGTH = 12


class LabelledSettings(Settings):
    """Labelled light curves that are learned from beside the simulated ones.

    Attributes
    ----------
    folder : as `varistar label flares` writes it; below the project, or anywhere.
    version : the beginning of its hash, as that command says it; by it, and not by the files, DVC knows what changed,
        so that a folder that is not the project's, or none, is no stage's dependency.
    """

    folder: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{VERSION_LENGTH}}}$")]


def version_of(folder: Path) -> str:
    """What `LabelledSettings.version` must say."""
    return folder_hash(folder)[:VERSION_LENGTH]


def require_labelled(folder: Path) -> Path:
    """The folder, if it holds labelled light curves.

    Raises
    ------
    DataError
        When it does not.
    """
    if not (folder / "flares.parquet").is_file() or not any(folder.glob("light_curves/part-*.parquet")):
        raise DataError(f"{folder}: holds no labelled light curves; make it with `varistar label flares`")
    return folder


def find_labelled(root: Path) -> Path | None:
    """The folder that `flares.labelled` in params.yaml means; None where that is null, or not given.

    Raises
    ------
    DataError
        When there are no labelled light curves, or not in the version that params.yaml names.
    """
    given = lookup(read_params(root), "flares").get("labelled")
    if given is None:
        return None
    settings = validate(LabelledSettings, given, f"{PARAMS}: flares.labelled")
    folder = require_labelled(root / settings.folder)
    if (found := version_of(folder)) != settings.version:
        raise DataError(
            f"{folder}: is version {found}, where params.yaml names {settings.version}; if that is meant, set "
            f"flares.labelled.version to {found}"
        )
    return folder


@contextmanager
def with_labelled(sectors: Path, labelled: Path | None, scratch: Path) -> Iterator[Path]:
    """The simulated and the labelled stars as one folder; the former alone where nothing is labelled.

    It is there until the work is delivered, for the other processes of an array, and for work that goes on.

    Parameters
    ----------
    scratch : holds it, under the versions of both; its shards are links. Beside it, with the ending `.parts`, `run_job`
        keeps the work until it is delivered.
    """
    if labelled is None:
        yield sectors
        return
    joined = scratch / f"{version_of(sectors)}-{version_of(labelled)}"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch.with_name(f".{scratch.name}.lock")):  # an array's processes begin at the same time
        if not joined.is_dir():
            join_sectors([sectors, labelled], joined)
    yield joined
    if not scratch.with_suffix(".parts").exists():
        shutil.rmtree(scratch, ignore_errors=True)


def join_sectors(folders: Sequence[Path], target: Path) -> None:
    """Shards and flares of several folders as one."""
    shards = [shard for folder in folders for shard in shards_of(folder)]
    flares = [pl.read_parquet(folder / "flares.parquet", glob=False) for folder in folders]
    with atomic_folder(target) as whole:
        (whole / "light_curves").mkdir()
        for number, shard in enumerate(shards):
            link_file(shard, whole / "light_curves" / f"part-{number:05d}.parquet")
        pl.concat(flares, how="diagonal").write_parquet(whole / "flares.parquet")
