"""A network of points, trained on simulated stars, taught further by real ones, and asked of a star it never saw.

The teaching is the project's own (`varistar.flares.finetune`), with its defaults: everything is fixed in advance and
nothing looks at the star that is scored. Where the network as it was finds a strong event that no label fits, a doubt
is noted, since lists are incomplete.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from real_flare_data import event_snr, left_over
from varistar.experiments.content import ModelContent
from varistar.flares.examples import StretchSettings
from varistar.flares.finder import FlareFinder
from varistar.flares.finetune import TuningSettings, fine_tune, thresholds_upside_down, with_seeds
from varistar.flares.known import KnownStar
from varistar.flares.labelled import DOUBTFUL
from varistar.flares.labels import LABELS
from varistar.flares.variants import FlareVariant

TUNING = TuningSettings()
EPOCHS, COPIES, SLOWER = TUNING.epochs, TUNING.copies, TUNING.slower


def tuned_on(
    content: ModelContent,
    others: Sequence[KnownStar],
    variant: FlareVariant,
    settings: StretchSettings,
    scratch: Path,
) -> FlareFinder:
    """The network with every member trained further on these stars, and a threshold found on them."""
    finder = FlareFinder.of_content(content, "cpu")
    taught = [with_doubts(finder, star) for star in others]
    return FlareFinder.of_content(fine_tune(content, taught, variant, settings, TUNING, scratch, "cpu"), "cpu")


def with_threshold(content: ModelContent, stars: Sequence[KnownStar], variant: FlareVariant) -> FlareFinder:
    """The network with the threshold that these stars upside down ask for."""
    assert variant.false_per_day is not None
    seeds = thresholds_upside_down(content, stars, variant.false_per_day, "cpu")
    return FlareFinder.of_content(with_seeds(content, seeds), "cpu")


def with_doubts(finder: FlareFinder, star: KnownStar) -> KnownStar:
    """The star with a doubt for each strong event that fits none of its labels."""
    events = event_snr(finder.find(star.star_id, star.orbits), star.orbits)
    unlabelled = left_over(events, star.labels).select("star_id", "tpeak", "tstart", "tstop")
    doubt: dict[str, Any] = {"peak_snr": pl.lit(DOUBTFUL), "source": pl.lit("doubt")}
    unknown = {name: pl.lit(None, kind) for name, kind in LABELS.items() if name not in unlabelled.columns}
    doubts = unlabelled.with_columns(**(unknown | doubt)).select(LABELS.keys())
    return star._replace(labels=pl.concat([star.labels, doubts]))
