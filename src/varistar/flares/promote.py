"""Promotion of flare networks: challenger and champion on the same test stars."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl

from varistar.experiments.content import content_hash
from varistar.experiments.gates import Comparison, Difference, Scores, paired_bootstrap
from varistar.experiments.promotion import Contest, GateSettings
from varistar.experiments.splits import SplitSettings
from varistar.foundation.errors import RegistryError
from varistar.foundation.params import lookup, read_params, read_section

from .evaluate import test_set_hash
from .examples import ExampleSettings
from .finder import FlareFinder, served_network
from .known import read_known
from .matching import Matched, average_precision_of_events
from .measured import search_known
from .variants import WING
from .verdict import SEED, counted, event_report, match_known

#: The headline scores of events, and what is called a flare without being one.
METRICS = ("counted_f1", "counted_precision", "counted_recall", "average_precision", "false_per_day")


class _Judged(NamedTuple):
    """What one model found in the test stars."""

    scores: Scores
    matched: Matched


def contest(root: Path) -> Contest:
    """How flare networks are compared, and what they must reach."""
    settings = read_section(root, "flares.promotion", GateSettings)
    return Contest(WING, settings.gates, partial(compare_on_test_stars, root), "simulated stars", served_network)


def compare_on_test_stars(root: Path, candidate: Path, champion: Path | None) -> Comparison:
    """Both models on the test stars of the simulated sectors, flare by flare.

    Metrics are `METRICS`. Of the paired difference of `counted_recall` there is an interval, which keeps the flares of
    a star together.

    Raises
    ------
    RegistryError
        When there are no simulated sectors.
    """
    sectors = root / "build/flares/sectors"
    if not (sectors / "truth.parquet").exists():
        raise RegistryError(f"{sectors}: there are no test stars here to compare on; make them with `dvc repro`")
    judged = [_judge(root, sectors, folder) for folder in (candidate, champion) if folder]
    if len(judged) == 1:
        return Comparison(challenger=judged[0].scores)
    first, second = (counted(one.matched).labels.sort("star_id", "tpeak") for one in judged)
    hits = [table["hit"].to_numpy() for table in (first, second)]
    mean, low, high = paired_bootstrap(hits[0], hits[1], seed=SEED, groups=first["star_id"].to_numpy())
    differences = {"counted_recall": Difference(mean=mean, low=low, high=high)}
    return Comparison(challenger=judged[0].scores, champion=judged[1].scores, differences=differences)


def _judge(root: Path, sectors: Path, folder: Path) -> _Judged:
    accelerator = lookup(read_params(root), "accelerator")
    truth = read_section(root, "flares.examples", ExampleSettings).points.truth
    splits = read_section(root, "flares.split", SplitSettings)
    orbits = FlareFinder.of_folder(folder, "cpu").orbits
    known = [star for star in read_known(sectors, orbits, splits, "test") if star.orbits]
    (searched,) = search_known(folder, [], known, truth, accelerator=accelerator)
    labels = pl.concat([star.labels for star in known])
    matched, candidates = (match_known(table, labels) for table in (searched.events, searched.candidates))
    stars = pl.read_parquet(sectors / "truth.parquet", glob=False)
    report = event_report(matched, stars, searched.days)
    report["average_precision"] = average_precision_of_events(counted(candidates))
    report["false_per_day"] = report["false"]["all"]["per_day"]
    metrics = {name: report[name] for name in METRICS}
    return _Judged(
        Scores(content=content_hash(folder), test_set=test_set_hash(sectors, known), metrics=metrics), matched
    )
