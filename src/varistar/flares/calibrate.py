"""Calibrate a flare network on stars of its own.

Three things are found. Slope and offset make the logit of a cadence as often right as it says. The threshold is set
where so many false events a day remain as the variant allows, not where a score is best: faint flares make every score
drift. And slope and offset of the logit of an event's highest cadence make the probability of an event honest, which
every statistic of flares is weighted by.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from varistar.experiments.calibration import honest_logit
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.members import gather_members
from varistar.experiments.splits import SplitSettings
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .events import EventSettings, find_events
from .examples import ExampleSettings, TruthSettings, cadence_truth
from .finder import FlareFinder
from .inject import searched_days
from .known import KnownStar, read_known
from .orbits import Orbit
from .train import PointExamples, open_examples
from .variants import FlareVariant, read_variant

#: Thresholds are looked for between these.
SEEDS = (0.05, 0.99)
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
    score, is_flare, days = _events(finder, stars, truth)
    if false_per_day is None:  # where the variant has it, on the scale of the calibrated probability
        calibration["seed"] = float(np.clip(expit(slope * logit(finder.events.seed) + offset), *SEEDS))
    else:
        calibration["seed"] = threshold_for(score[~is_flare], days, false_per_day)
    event_slope, event_offset = honest_logit(score, is_flare)
    return _with(content, calibration | {"event_slope": event_slope, "event_offset": event_offset})


def threshold_for(false_scores: NDArray, days: float, per_day: float) -> float:
    """The lowest score above which no more than `per_day` false events a day lie, within `SEEDS`.

    Parameters
    ----------
    false_scores : of the events that are no flares, found in `days` of light curves.
    """
    allowed = int(np.floor(per_day * days))
    ordered = np.sort(false_scores)[::-1]
    return float(np.clip(ordered[allowed] if allowed < len(ordered) else 0.0, *SEEDS))


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


def _events(
    finder: FlareFinder, stars: Sequence[KnownStar], truth: TruthSettings
) -> tuple[NDArray, NDArray[np.bool_], float]:
    """Scores of all events that the lowest threshold finds, which of them are flares, and the days searched."""
    low: EventSettings = finder.events.model_copy(update={"seed": SEEDS[0], "grow": min(finder.events.grow, SEEDS[0])})
    scores, flares, days = [np.empty(0)], [np.empty(0, bool)], 0.0
    for star in stars:
        events = find_events(star.orbits, finder.scores(star.orbits), low, star.star_id)
        known = [cadence_truth(orbit, star.labels, truth) for orbit in star.orbits]
        scores.append(events["p"].to_numpy())
        flares.append(is_true(events, star.orbits, known))
        days += searched_days(star.orbits)
    return np.concatenate(scores), np.concatenate(flares), days


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
    build = root / "build/flares"
    content = calibrate_variant(root, variant, gather_members(build / "networks" / name, variant.ensemble))
    write_content(build / "calibrated" / name, content)
    print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in content.spec.calibration.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
