"""The flare catalog of the embedded survey: how small a flare the champion finds there, then its flares.

The first is measured as on a real survey: flares are injected into its own light curves, and sought as all others are,
also in longer exposures, as far as the champion knows them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from varistar.experiments.registry import champion
from varistar.flares.draws import GridDraw
from varistar.flares.finder import FlareFinder
from varistar.flares.labels import LABELS
from varistar.flares.recovery import (
    TOLERANCE_MINUTES,
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
    shards: Sequence[Path], model: Path, draw: GridDraw, accelerator: Accelerator = "auto"
) -> pl.DataFrame:
    """Inject flares into every star of a survey; one row per flare and cadence that the model was trained with, with
    `recovered` (see `recovery.judge`) and `cadence_minutes`.

    Raises
    ------
    DataError
        When no star could be searched.
    """
    finder = FlareFinder.of_folder(model, accelerator)
    nothing_known = pl.DataFrame(schema=LABELS)
    parts: dict[float, list[Recovery]] = {}
    for shard in shards:
        for star_id, orbits in read_orbits(shard, finder.orbits):
            method = Method("network", partial(finder.find, star_id))
            searched, _ = searchable(orbits, finder)
            for minutes in [one for one in finder.rules if searched and one >= finder.nearest(searched[0])]:
                recovery = run_recovery(star_id, searched, nothing_known, [method], draw, minutes)
                parts.setdefault(minutes, []).append(recovery)
    if not parts:
        raise DataError("there is no star into which flares can be injected; make the survey with `dvc repro`")
    judged = [
        judge(join_recoveries(part), max(TOLERANCE_MINUTES, minutes)).with_columns(cadence_minutes=pl.lit(minutes))
        for minutes, part in parts.items()
    ]
    return pl.concat(judged)


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
    write_part(recover_survey(shards, folder, draw, accelerator), recovery)
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
