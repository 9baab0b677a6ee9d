"""The flare catalog of the embedded survey: how small a flare the champion finds there, then its flares.

The first is measured as on a real survey: flares are injected into its own light curves, and sought as all others are,
also in longer exposures, as far as the champion knows them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.registry import champion
from varistar.flares.draws import GridDraw
from varistar.flares.finder import FlareFinder
from varistar.flares.labels import LABELS
from varistar.flares.recovery import (
    TOLERANCE_MINUTES,
    WITH_AND_WITHOUT,
    Method,
    Recovery,
    join_recoveries,
    judge,
    run_recovery,
)
from varistar.flares.stars import read_orbits
from varistar.flares.variants import WING
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import PARAMS, find_root, lookup, read_params
from varistar.foundation.settings import validate

from .flare_star import searchable
from .flares import FlarePrediction, predict_flares, read_catalog_settings
from .parts import write_part

SURVEY = "data/space"
CATALOG = "build/catalog/flares.parquet"
RECOVERY = "build/catalog/flares.recovery.parquet"
#: What is injected where params.yaml has no `flares.injected`: mostly flares that are neither always nor never found.
INJECTED = GridDraw(peak_snrs=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 30.0, 100.0), per_cell_per_day=0.02)


def recover_survey(
    shards: Sequence[Path], model: Path, draw: GridDraw, engine: Engine | None = None, accelerator: Accelerator = "auto"
) -> pl.DataFrame:
    """Inject flares into every star of a survey; one row per flare and cadence that the model was trained with, with
    `recovered` (see `recovery.judge`) and `cadence_minutes`.

    Raises
    ------
    DataError
        When no star could be searched.
    """
    items = [_Piece(shard, model, draw, accelerator) for shard in shards]
    done = run_all(_recover_shard, items, engine, "injections", lambda piece: piece.shard)
    found = {piece.shard: part for piece, part in done}
    parts: dict[float, list[Recovery]] = {}
    for shard in shards:
        for minutes, recovery in found[shard].items():
            parts.setdefault(minutes, []).append(recovery)
    if not parts:
        raise DataError("there is no star into which flares can be injected; make the survey with `dvc repro`")
    judged = [
        judge(join_recoveries(parts[minutes]), max(TOLERANCE_MINUTES, minutes)).with_columns(
            cadence_minutes=pl.lit(minutes)
        )
        for minutes in sorted(parts)
    ]
    return pl.concat(judged)


class _Piece(NamedTuple):
    shard: Path
    model: Path
    draw: GridDraw
    accelerator: Accelerator


def _recover_shard(piece: _Piece) -> dict[float, Recovery]:
    """By cadence, what is recovered in the stars of a shard."""
    torch.set_num_threads(1)
    finder = FlareFinder.of_folder(piece.model, piece.accelerator)
    nothing_known = pl.DataFrame(schema=LABELS)
    parts: dict[float, list[Recovery]] = {}
    for star_id, orbits in read_orbits(piece.shard, finder.orbits):
        methods = [Method("network", partial(finder.find, star_id))]
        searched, _ = searchable(orbits, finder)
        for minutes in [one for one in finder.rules if searched and one >= finder.nearest(searched[0])]:
            recovery = run_recovery(star_id, searched, nothing_known, methods, piece.draw, minutes, WITH_AND_WITHOUT)
            parts.setdefault(minutes, []).append(recovery)
    return {minutes: join_recoveries(part) for minutes, part in parts.items()}


def predict_survey(root: Path) -> FlarePrediction | None:
    """Run the champion over the simulated sectors of `data/space`; the catalog is `build/catalog/flares.parquet`."""
    folder = champion(root, WING).folder
    params = read_params(root)
    accelerator = lookup(params, "accelerator")
    draw = validate(
        GridDraw, lookup(params, "flares").get("injected", INJECTED.model_dump()), f"{PARAMS}: flares.injected"
    )
    shards = sorted((root / SURVEY / "light_curves").glob("part-*.parquet"))
    recovery = root / RECOVERY
    recovery.parent.mkdir(parents=True, exist_ok=True)
    write_part(recover_survey(shards, folder, draw, accelerator=accelerator), recovery)
    return predict_flares(
        [root / SURVEY / "light_curves"],
        folder,
        root / CATALOG,
        accelerator=accelerator,
        stars=root / SURVEY / "stars.parquet",
        recovery=recovery,
        settings=read_catalog_settings(root),
    )


def main() -> None:
    """The stage."""
    if done := predict_survey(find_root()):
        print(f"{done.n_flares} flares of {done.n_stars} stars; {done.n_refused} stars refused, with reasons")


if __name__ == "__main__":
    with one_sentence():
        main()
