"""Sweep a period network: how one trial is trained and scored. What is tried, and the winner: `experiments.search`.

Torch and matplotlib are imported inside the functions, since they cost seconds.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.search import VariantTask, keep_winner, own_values, require_examples, sweep_key
from varistar.foundation.accelerator import choose_device
from varistar.foundation.params import PARAMS, lookup, read_params, read_section
from varistar.foundation.settings import validate
from varistar.surveys.definition import Survey

from .preprocess import AnyRepresentation, read_representation
from .reliability import accuracy_at_coverage
from .scores import within
from .settings import PeriodsSettings
from .sweep_settings import SweepSettings
from .variants import TARGETS, Variant, read_variant

if TYPE_CHECKING:
    from varistar.experiments.sweep import Done, OnEpoch, Sweep

    from .network import PeriodNetwork

WING = "periods"
ACCURACY = "within_10pct_at_20pct_coverage"
SECONDS = "fit_seconds"
COVERAGE = 0.2
LABELS = {ACCURACY: "within 10%, of the surest fifth of stars", SECONDS: "seconds of training"}


def sweep_variant(
    root: Path,
    name: str,
    trials: int,
    workers: int = 1,
    storage: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> "list[Done]":
    """Sweep the training of variant `name` until `trials` trials are finished; returns the best, see `run_sweep`.

    Figures of it are drawn to `build/sweeps/<name>-*.png` and logged to its run.

    Parameters
    ----------
    storage : address of a database; by default the journal `build/sweeps/<name>.journal`.
    say : is told each trial's outcome in one line, and each figure's.

    Raises
    ------
    ConfigError
        When there is no such variant, or its sweep was begun with other parameters or data.
    DataError
        When the variant's images have not been made, or have no examples to train on or to score.
    """
    from varistar.experiments.sweep import run_sweep
    from varistar.figures.sweep import draw_sweep

    sweep, task = _plan(root, name, storage)
    best = run_sweep(sweep, task, own_values(task.base, task.settings), trials, workers, say)
    for path in draw_sweep(sweep, LABELS):
        say(f"{path}: drawn")
    return best


def write_winner(root: Path, name: str, winner: str, storage: str | None = None) -> "Done":
    """Add the best trial of the sweep of variant `name` to params.yaml; see `keep_winner`."""
    return keep_winner(_plan(root, name, storage)[0], PeriodsSettings, name, winner)


@dataclass(frozen=True)
class PeriodTask(VariantTask):
    """Training and scoring of one trial."""

    base: Variant
    representation: AnyRepresentation
    survey: Survey

    def score(self, chosen: Mapping[str, Any], on_epoch: "OnEpoch", scratch: Path) -> dict[str, float]:
        """Accuracy on the validation split, and the seconds that the fit took: of the processor, or on CUDA by clock.

        Other trials on this machine do not count for the former.
        """
        from .train import train

        variant = validate(Variant, chosen["variant"], "trial")
        clock = time.perf_counter if choose_device(self.accelerator).type == "cuda" else time.process_time
        start = clock()
        network, done = train(variant, [self.examples], scratch / "checkpoints", on_epoch, self.accelerator)
        seconds = clock() - start
        return {
            ACCURACY: self._accuracy(network),
            SECONDS: seconds,
            "within_10pct": done.history[done.best_epoch]["validation_within_10pct"],
            "best_epoch": done.best_epoch,
        }

    def _accuracy(self, network: "PeriodNetwork") -> float:
        """Among the surest fifth of the validation stars with a period; NaN if there is none, which fails the trial."""
        from .heads import Answer
        from .measure import PeriodMeter
        from .network import CalibratedNetwork

        device = choose_device(self.accelerator)
        meter = PeriodMeter(self.representation, CalibratedNetwork(network).eval().to(device), self.survey, device)
        validation = join_arrays([open_arrays(self.examples / "validation")])
        period = validation.index[TARGETS[self.base.target]]
        stars = np.flatnonzero(period.is_not_null())
        answers = dict(zip(Answer._fields, meter.answers(validation.gather(stars)).T, strict=True))
        right = within(answers["period"], period.to_numpy()[stars], 0.1)
        found = accuracy_at_coverage(answers["p_within_10pct"], right, COVERAGE)
        return math.nan if found is None else found


def _plan(root: Path, name: str, storage: str | None) -> "tuple[Sweep, PeriodTask]":
    from varistar.experiments.sweep import Sweep

    params = read_params(root)
    base = read_variant(root, name)
    settings = validate(SweepSettings, lookup(params, WING).get("sweep") or {}, f"{PARAMS}: {WING}.sweep")
    images = root / "build/periods/images" / base.images
    require_examples(images, f"dvc repro images@{base.images}")
    task = PeriodTask(
        base,
        settings,
        images,
        lookup(params, "accelerator"),
        read_representation(root, base.representation),
        read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey),
    )
    ways: dict[str, Literal["maximize", "minimize"]] = {ACCURACY: "maximize", SECONDS: "minimize"}
    sweep = Sweep(
        root,
        name,
        WING,
        sweep_key(root, task),
        {objective: ways[objective] for objective in settings.objectives},
        watch="validation_within_10pct",
        warmup=base.training.max_epochs // 3,
        seed=settings.seed,
        storage=storage,
    )
    return sweep, task
