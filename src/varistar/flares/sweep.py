"""Sweep a flare network: how one trial is trained and scored. What is tried, and the winner: `experiments.search`.

A trial trains one network, whatever the variant's members. Its threshold is not part of it: average precision is that
of all thresholds together, and calibration sets the one that is served.

Torch and matplotlib are imported inside the functions, since they cost seconds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from varistar.experiments.search import VariantTask, keep_winner, own_values, require_examples, sweep_key
from varistar.foundation.accelerator import choose_device
from varistar.foundation.params import PARAMS, lookup, read_params
from varistar.foundation.settings import validate

from .orbits import Orbit
from .settings import FlaresSettings
from .sweep_settings import SweepSettings
from .variants import WING, FlareVariant, read_variant

if TYPE_CHECKING:
    from varistar.experiments.content import ModelContent
    from varistar.experiments.sweep import Done, OnEpoch, Sweep

PRECISION = "average_precision"
SECONDS = "seconds_per_sector"
LABELS = {PRECISION: "average precision, validation", SECONDS: "seconds to search a sector"}
#: Two orbits, each of so many two-minute cadences, 25 days in all, and how often they are searched for their cost.
ORBITS, CADENCES, REPEATS = 2, 9000, 3


def sweep_variant(
    root: Path,
    name: str,
    trials: int,
    workers: int = 1,
    storage: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> "list[Done]":
    """Sweep variant `name` until `trials` trials are finished; returns the best, see `run_sweep`.

    Figures of it are drawn to `build/sweeps/flares-<name>-*.png` and logged to its run.

    Parameters
    ----------
    storage : address of a database; by default the journal `build/sweeps/flares-<name>.journal`.
    say : is told each trial's outcome in one line, and each figure's.

    Raises
    ------
    ConfigError
        When there is no such variant, or its sweep was begun with other parameters or data.
    DataError
        When the variant's examples have not been made, or there are none to train on or to score.
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
    return keep_winner(_plan(root, name, storage)[0], FlaresSettings, name, winner)


@dataclass(frozen=True)
class FlareTask(VariantTask):
    """Training and scoring of one trial."""

    base: FlareVariant
    root: Path

    def score(self, chosen: Mapping[str, Any], on_epoch: "OnEpoch", scratch: Path) -> dict[str, float]:
        """Average precision on the validation examples, of the epoch that is kept, and what a search costs."""
        from varistar.experiments.content import ModelContent
        from varistar.experiments.members import Lesson

        from .train import learn

        variant = validate(FlareVariant, chosen["variant"], "trial")
        began = time.process_time()
        spec, done = learn(Lesson(self.root, "trial", variant, self.examples, scratch / "checkpoints", on_epoch, {}))
        fitted = time.process_time() - began
        return {
            PRECISION: done.history[done.best_epoch][f"validation_{PRECISION}"],
            SECONDS: self._seconds_per_sector(ModelContent(spec, done.weights)),
            "fit_seconds": fitted,
            "best_epoch": done.best_epoch,
        }

    def _seconds_per_sector(self, content: "ModelContent") -> float:
        """Seconds to score a sector of white noise, the least of a few: of the processor, or on CUDA by clock."""
        from .finder import FlareFinder

        finder = FlareFinder.of_content(content, self.accelerator)
        clock = time.perf_counter if choose_device(self.accelerator).type == "cuda" else time.process_time
        sector, seconds = _quiet_sector(), []
        for _ in range(REPEATS):
            began = clock()
            finder.scores(sector)
            seconds.append(clock() - began)
        return min(seconds)


def _quiet_sector() -> list[Orbit]:
    rng, cadence, orbits = np.random.default_rng(0), 2.0 / 1440.0, []
    for number in range(ORBITS):
        days = 14.0 * number + cadence * np.arange(CADENCES, dtype=np.float64)
        flux = rng.normal(1.0, 1e-3, CADENCES)
        orbits.append(Orbit(days, flux, np.full(CADENCES, 1e-3), np.arange(CADENCES), cadence))
    return orbits


def _plan(root: Path, name: str, storage: str | None) -> "tuple[Sweep, FlareTask]":
    from varistar.experiments.sweep import Sweep

    params = read_params(root)
    base = read_variant(root, name)
    settings = validate(SweepSettings, lookup(params, WING).get("sweep") or {}, f"{PARAMS}: {WING}.sweep")
    examples = root / "build/flares/examples" / base.examples
    require_examples(examples, f"dvc repro flares/dvc.yaml:examples@{base.examples}")
    task = FlareTask(base, settings, examples, lookup(params, "accelerator"), root)
    ways: dict[str, Literal["maximize", "minimize"]] = {PRECISION: "maximize", SECONDS: "minimize"}
    sweep = Sweep(
        root,
        f"{WING}-{name}",  # variants of another wing may have this name
        WING,
        sweep_key(root, task),
        {objective: ways[objective] for objective in settings.objectives},
        watch=f"validation_{PRECISION}",
        warmup=base.training.max_epochs // 3,
        seed=settings.seed,
        storage=storage,
    )
    return sweep, task
