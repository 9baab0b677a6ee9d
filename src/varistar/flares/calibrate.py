"""Calibrate a flare network on stars of its own.

Three things are found. Slope and offset make the logit of a cadence as often right as it says. The threshold is set
where so many false events a day remain as the variant allows, not where a score is best: faint flares make every score
drift. And slope and offset of the logit of an event's highest cadence make the probability of an event honest, which
every statistic of flares is weighted by. Threshold and events are those of each cadence that the network was trained
with, found in the same stars in exposures of that length.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from varistar.experiments.calibration import honest_logit
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.ensemble import gather_members
from varistar.experiments.splits import SplitSettings
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .events import EventSettings, find_events
from .example_sets import PointExamples, open_examples
from .examples import ExampleSettings, TruthSettings, cadence_truth
from .finder import FlareFinder, of_cadence
from .inject import searched_days
from .known import KnownStar, at_cadence, read_known
from .orbits import Orbit
from .variants import FlareVariant, folder_of, read_variant

#: Thresholds are looked for between these, so often in halves.
SEEDS = (0.05, 0.99)
HALVES = 14
BATCH = 64


def calibrate(
    content: ModelContent,
    examples: Path,
    stars: Sequence[KnownStar],
    truth: TruthSettings,
    false_per_day: float | None,
    accelerator: Accelerator = "auto",
) -> ModelContent:
    """The content with its calibration.

    Parameters
    ----------
    examples : folder of the array sets that the network learned from, among them `calibration`.
    stars : of the calibration split.
    false_per_day : as `FlareVariant` has it.

    Raises
    ------
    DataError
        When there is no star to calibrate on.
    """
    if not any(star.orbits for star in stars):
        raise DataError(f"{examples}: no star is left to calibrate on; give the split a fraction under flares.split")
    finder = FlareFinder.of_content(content, accelerator)
    slope, offset = honest_logit(*_cadences(finder, examples))
    calibration = {"slope": slope, "offset": offset}
    finder = FlareFinder.of_content(_with(content, calibration), accelerator)
    for minutes, rule in finder.rules.items():
        search = Search.of_stars(finder, [at_cadence(star, minutes) for star in stars], rule.events, truth)
        if false_per_day is None:  # where the variant has it, on the scale of the calibrated probability
            seed = float(np.clip(expit(slope * logit(rule.events.seed) + offset), *SEEDS))
        else:
            seed = lowest_threshold(search.false_events, int(false_per_day * search.days))
        event_slope, event_offset = honest_logit(*search.events(SEEDS[0]))
        numbers = {"seed": seed, "event_slope": event_slope, "event_offset": event_offset}
        calibration |= {of_cadence(name, minutes, list(finder.rules)): value for name, value in numbers.items()}
    return _with(content, calibration)


def lowest_threshold(false_events: Callable[[float], int], allowed: int) -> float:
    """The lowest threshold within `SEEDS` with which no more false events are found than allowed; the highest where
    there is none.

    Parameters
    ----------
    false_events : their number at a threshold, which hardly ever rises with it.
    """
    low, high = SEEDS
    if false_events(low) <= allowed:
        return low
    for _ in range(HALVES):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if false_events(middle) <= allowed else (middle, high)
    return high


@dataclass(frozen=True)
class Search:
    """Stars with their scores, in which events can be found with any threshold under the rule that is served.

    Attributes
    ----------
    scores : of each star, for each orbit float64 (m,).
    truth : of each star, `cadence_truth` of each orbit.
    """

    stars: Sequence[KnownStar]
    scores: Sequence[Sequence[NDArray]]
    truth: Sequence[Sequence[NDArray[np.float32]]]
    rule: EventSettings

    @classmethod
    def of_stars(
        cls, finder: FlareFinder, stars: Sequence[KnownStar], rule: EventSettings, truth: TruthSettings
    ) -> Self:
        """The stars as a network scores them."""
        scores = [finder.scores(star.orbits) for star in stars]
        known = [[cadence_truth(orbit, star.labels, truth) for orbit in star.orbits] for star in stars]
        return cls(stars, scores, known, rule)

    @property
    def days(self) -> float:
        """Of light curve."""
        return sum(searched_days(star.orbits) for star in self.stars)

    def events(self, seed: float) -> tuple[NDArray, NDArray[np.bool_]]:
        """Scores of all events, and which of them are flares, both (n,)."""
        scores, flares = [np.empty(0)], [np.empty(0, bool)]
        for star, its_scores, its_truth in zip(self.stars, self.scores, self.truth, strict=True):
            events = find_events(star.orbits, its_scores, self.rule.at(seed), star.star_id)
            scores.append(events["p"].to_numpy())
            flares.append(is_true(events, star.orbits, its_truth))
        return np.concatenate(scores), np.concatenate(flares)

    def false_events(self, seed: float) -> int:
        """How many events are no flares."""
        return int((~self.events(seed)[1]).sum())


def is_true(events: pl.DataFrame, orbits: Sequence[Orbit], truth: Sequence[NDArray]) -> NDArray[np.bool_]:
    """Which events hold a cadence that flares brighten visibly, shape (n,).

    Parameters
    ----------
    truth : `cadence_truth` of each orbit.
    """
    lit = [(label > 0) | (orbit.good & (weight == 0)) for orbit, (label, weight) in zip(orbits, truth, strict=True)]
    spans = events.select("orbit", "first", "last").iter_rows()
    return np.array([lit[number][first : last + 1].any() for number, first, last in spans], dtype=bool)


def _with(content: ModelContent, calibration: dict[str, float]) -> ModelContent:
    return replace(content, spec=content.spec.model_copy(update={"calibration": calibration}))


def _cadences(finder: FlareFinder, examples: Path) -> tuple[NDArray, NDArray[np.bool_]]:
    """Uncalibrated probability and truth of every window, or of every cadence that counts, of the calibration split."""
    found = open_examples([examples], "calibration")
    logits = []
    with torch.inference_mode():
        for start in range(0, len(found), BATCH):
            batch = found.gather(np.arange(start, min(start + BATCH, len(found))))
            logits.append(finder.network.network(torch.from_numpy(batch).to(finder.device)).cpu().numpy())
    p, targets = expit(np.concatenate(logits)), found.targets
    if isinstance(found, PointExamples):
        counts = targets[:, 1] > 0
        return p[counts], targets[:, 0][counts] > 0.5
    return p, targets > 0.5


def calibrate_variant(root: Path, variant: FlareVariant, members: ModelContent) -> ModelContent:
    """The calibrated model of a variant's members, on what the project has for that."""
    build = root / "build/flares"
    orbits = FlareFinder.of_content(members, "cpu").orbits
    stars = read_known(build / "sectors", orbits, read_section(root, "flares.split", SplitSettings), "calibration")
    truth = read_section(root, "flares.examples", ExampleSettings).points.truth
    accelerator = lookup(read_params(root), "accelerator")
    examples = build / "examples" / variant.examples
    return calibrate(members, examples, stars, truth, variant.false_per_day, accelerator)


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_variant(root, name)
    own = folder_of(root, name)
    content = calibrate_variant(root, variant, gather_members(own / "networks" / name, variant.ensemble))
    write_content(own / "calibrated" / name, content)
    print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in content.spec.calibration.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
