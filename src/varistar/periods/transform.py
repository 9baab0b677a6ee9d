"""The images of any light curves, outside the pipeline: the arrays that networks read, on any engine."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from varistar.bulk.arrays import collect_arrays, write_array_shard
from varistar.bulk.engine import Engine, for_device
from varistar.bulk.estimate import Announce, foresee
from varistar.bulk.job import Done, fingerprint, run_job
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, atomic_path, require_replaceable
from varistar.foundation.params import lookup, read_params, read_section
from varistar.lightcurves.readers import Source, find_sources
from varistar.lightcurves.store import TRUTH
from varistar.surveys.definition import Survey
from varistar.surveys.pieces import REFUSED, cut_into_pieces, join_alike, read_passing

from .preprocess import AnyRepresentation, preprocess, read_representation


class Transformed(NamedTuple):
    """What a transform wrote: its folder, the stars with images, and the stars and files without."""

    folder: Path
    n_stars: int
    n_refused: int


class TransformPiece(NamedTuple):
    """Light curves that one worker turns into images, and how."""

    sources: Sequence[Source]
    survey: Survey
    representations: dict[str, AnyRepresentation]
    device: str


def transform_light_curves(
    root: Path,
    inputs: Sequence[Path],
    names: Sequence[str],
    folder: Path,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
    announce: Announce | None = None,
) -> Transformed | None:
    """Make the images of every star in `inputs` that passes the cuts of the project's survey.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    names : representations of params.yaml.
    folder : replaced; receives an array set for each of them, `<name>/`, and `refused.parquet`. Where a file
        truth.parquet stands beside the light curves, its columns join the index.
    announce : is told before the work what it will take.

    Raises
    ------
    DataError
        When an input does not exist, no star passes, the disk is too small, or a piece failed.
    """
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    shown = {name: read_representation(root, name) for name in names}
    parts = folder.with_name(f"{folder.name}.parts")
    require_replaceable(folder, lambda path: path.name == "refused.parquet" or (path / "axes.json").exists())
    own = {parts.resolve(), folder.resolve()}
    sources = [source for source in find_sources(inputs) if not own & {*source.path.resolve().parents}]
    device = choose_device(accelerator).type
    cut, sizes = cut_into_pieces(sources)
    pieces = [TransformPiece(some, survey, shown, device) for some in cut]
    bytes_per_star = sum(one.shape[0] * one.shape[1] for one in shown.values()) + 100
    engine = for_device(engine, device)
    foresee(parts, pieces, sum(sizes), bytes_per_star, _try_piece, engine, announce)
    described = {name: {"representation": one.model_dump(mode="json"), "device": device} for name, one in shown.items()}
    truth = _truth(sources)
    key = {
        "inputs": fingerprint(source.path for source in sources),
        "survey": survey.model_dump(mode="json"),
        "shown": described,
    }

    def deliver(done: Iterator[Done]) -> Transformed:
        targets, summaries = zip(*done, strict=True)
        if not any(one["stars"] for one in summaries):
            first = next((one["first"] for one in summaries if one["first"]), "there are no stars")
            raise DataError(f"no star can be shown, the first because: {first}")
        _require_one_of_each(targets, next(iter(shown)))
        with atomic_folder(folder) as whole:
            for name, one in shown.items():
                written = [_target(target, name) for target in targets]
                collect_arrays(whole / name, ["example", *one.axes], written, described[name], truth)
            refused = pl.concat([pl.read_parquet(_refused(target), glob=False) for target in targets])
            refused.write_parquet(whole / "refused.parquet", compression="zstd")
        return Transformed(folder, sum(one["stars"] for one in summaries), refused.height)

    return run_job(
        _transform_piece, pieces, parts, key, deliver, engine, "transform", lambda piece: piece.sources[0].path, sizes
    )


def _transform_piece(piece: TransformPiece, target: Path) -> dict[str, object]:
    passed, refused = read_passing(piece.sources, piece.survey)
    joined = list(join_alike(passed))
    stars = [star for one in joined for star in one.light_curves.star_id]
    index = pl.DataFrame({"star_id": pl.Series(stars, dtype=pl.String)})
    for name, representation in piece.representations.items():
        images = [preprocess(one.light_curves, representation, piece.device) for one in joined]
        nothing = np.zeros((0, *representation.shape), np.uint8)
        write_array_shard(_target(target, name), np.concatenate([nothing, *images]), index)
    with atomic_path(_refused(target)) as temporary:
        refused.select(*REFUSED).write_parquet(temporary, compression="zstd")
    return {"stars": len(stars), "first": refused["reason"][0] if refused.height else None}


def _try_piece(piece: TransformPiece, stars: int) -> int:
    passed, _ = read_passing(piece.sources, piece.survey, stars)
    for one in passed:
        for representation in piece.representations.values():
            preprocess(one.light_curves, representation, piece.device)
    return sum(len(one.light_curves) for one in passed)


def _require_one_of_each(targets: Sequence[Path], name: str) -> None:
    written = [_target(target, name).with_suffix(".rows.parquet") for target in targets]
    stars = pl.concat([pl.read_parquet(rows, glob=False) for rows in written])
    if (again := stars.filter(pl.col("star_id").is_duplicated())).height:
        star = again["star_id"][0]
        raise DataError(f"the star '{star}' stands in two files; ingest them into a store, whose latest version counts")


def _truth(sources: Sequence[Source]) -> pl.DataFrame | None:
    """The truth that stands beside the light curves."""
    files = [folder / TRUTH for folder in dict.fromkeys(source.path.parent for source in sources)]
    tables = [_read_truth(file) for file in files if file.exists()]
    return pl.concat(tables, how="diagonal_relaxed").unique("star_id", keep="first") if tables else None


def _read_truth(file: Path) -> pl.DataFrame:
    try:
        truth = pl.read_parquet(file, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
    if truth.schema.get("star_id") != pl.String:
        raise DataError(f"{file}: lacks the column 'star_id' of words; it has {', '.join(truth.columns)}")
    return truth


def _target(target: Path, name: str) -> Path:
    return target.with_name(f"{target.name}-{name}")


def _refused(target: Path) -> Path:
    return target.with_name(f"{target.name}-refused.parquet")
