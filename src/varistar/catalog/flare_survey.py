"""The flare catalog of the embedded survey: how small a flare the champion finds there, then its flares.

The first is measured as on a real survey: flares are injected into its own light curves, and sought as all others are.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from varistar.experiments.registry import champion
from varistar.flares.draws import GridDraw
from varistar.flares.finder import FlareFinder
from varistar.flares.labels import LABELS
from varistar.flares.recovery import Method, join_recoveries, judge, run_recovery
from varistar.flares.stars import read_orbits
from varistar.flares.variants import WING
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import PARAMS, find_root, lookup, read_params
from varistar.foundation.settings import validate

from .flare_star import refusal_of
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
    """Inject flares into every star of a survey; one row per flare, with `recovered` (see `recovery.judge`).

    Raises
    ------
    DataError
        When no star could be searched.
    """
    finder = FlareFinder.of_folder(model, accelerator)
    nothing_known = pl.DataFrame(schema=LABELS)
    parts = []
    for shard in shards:
        for star_id, orbits in read_orbits(shard, finder.orbits):
            if refusal_of(orbits, finder) is None:
                method = Method("network", partial(finder.find, star_id))
                parts.append(run_recovery(star_id, orbits, nothing_known, [method], draw))
    if not parts:
        raise DataError("there is no star into which flares can be injected; make the survey with `dvc repro`")
    return judge(join_recoveries(parts))


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
