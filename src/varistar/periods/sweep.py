"""Sweep the training of a variant: which values are tried, how a trial is scored, and the winner as a variant.

Trials learn from the train split and are scored on the validation split alone; calibration and test sets stay unseen,
so that what a sweep finds can be compared with other variants as if it had been written by hand.

Optuna and torch are imported inside the functions, so that the settings load without them.
"""

import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.fit_settings import FitSettings
from varistar.experiments.lineage import inputs_at
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import atomic_path
from varistar.foundation.params import PARAMS, lookup, read_params, read_section
from varistar.foundation.settings import Settings, validate
from varistar.surveys.definition import Survey

from .representation import Representation
from .scores import within
from .settings import PeriodsSettings
from .variants import Channels, NetworkSettings, Variant

if TYPE_CHECKING:
    from optuna.trial import Trial

    from varistar.experiments.sweep import Done, OnEpoch, Sweep

    from .network import PeriodNetwork

WING = "periods"
ACCURACY = "within_10pct_at_20pct_coverage"
SECONDS = "fit_seconds"
COVERAGE = 0.2
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class SweepSettings(Settings):
    """Which values a sweep tries; the variant's own always belong to them.

    Attributes
    ----------
    objectives : with `within_10pct_at_20pct_coverage` alone, trials that fall behind are pruned; with `fit_seconds`
        beside it the sweep looks for all compromises, and prunes none.
    learning_rate, softness : from .. to, evenly in the logarithm; softness is the distribution head's alone.
    dropout : from .. to.
    batch_size, schedule, filters : choices; without any the variant's own stays.
    """

    objectives: Annotated[
        tuple[Literal["within_10pct_at_20pct_coverage", "fit_seconds"], ...], Field(min_length=1, max_length=2)
    ] = ("within_10pct_at_20pct_coverage",)
    learning_rate: tuple[Positive, Positive] = (2e-4, 2e-2)
    dropout: tuple[Probability, Probability] = (0.0, 0.3)
    softness: tuple[Positive, Positive] = (0.01, 0.1)
    batch_size: tuple[Annotated[int, Field(gt=0)], ...] = (32, 64, 100, 200)
    schedule: tuple[Literal["plateau", "onecycle", "constant"], ...] = ("onecycle", "plateau")
    filters: tuple[tuple[Channels, Channels, Channels], ...] = ((8, 16, 32), (16, 32, 64))
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("learning_rate", "dropout", "softness"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must run from the smaller to the larger value")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives names one of them twice")
        return self


def sweep_variant(
    root: Path,
    name: str,
    trials: int,
    workers: int = 1,
    storage: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> "list[Done]":
    """Sweep the training of variant `name` until `trials` trials are finished; returns the best, see `run_sweep`.

    Parameters
    ----------
    storage : address of a database; by default the journal `build/sweeps/<name>.journal`.
    say : is told each trial's outcome in one line.

    Raises
    ------
    ConfigError
        When there is no such variant, or its sweep was begun with other parameters or data.
    DataError
        When the variant's images have not been made, or have no examples to train on or to score.
    """
    from varistar.experiments.sweep import run_sweep

    sweep, task = _plan(root, name, storage)
    return run_sweep(sweep, task, own_values(task.base, task.settings), trials, workers, say)


def write_winner(root: Path, name: str, winner: str, storage: str | None = None) -> "Done":
    """Add the best trial of the sweep of variant `name` to params.yaml, as the variant `winner` below it.

    Of several objectives the first decides. No other byte of params.yaml changes.

    Raises
    ------
    ConfigError
        When there is no such sweep, the name is taken or not a name, or the entry cannot be added.
    """
    from varistar.experiments.sweep import best_trials

    sweep, _ = _plan(root, name, storage)
    best = best_trials(sweep)
    if not best:
        raise ConfigError(f"sweep '{name}': no trial was completed, so none can win")
    text = _with_variant((root / PARAMS).read_text(encoding="utf-8"), name, winner, best[0].chosen["variant"])
    with atomic_path(root / PARAMS) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return best[0]


def own_values(base: Variant, settings: SweepSettings) -> dict[str, Any]:
    """The variant's own values, as `suggest` would have to suggest them."""
    values: dict[str, Any] = {"learning_rate": base.training.learning_rate, "dropout": base.network.dropout}
    if base.network.head == "distribution":
        values["softness"] = base.network.softness
    if settings.batch_size:
        values["batch_size"] = base.training.batch_size
    if settings.schedule:
        values["schedule"] = base.training.schedule
    if settings.filters:
        values["filters"] = _filters_name(base.network.filters)
    return values


def suggest(trial: "Trial", base: Variant, settings: SweepSettings) -> Variant:
    """The variant that a trial tries."""
    own = own_values(base, settings)
    found: dict[str, Any] = {}
    for name, log in (("learning_rate", True), ("dropout", False), ("softness", True)):
        if name in own:
            low, high = getattr(settings, name)
            value = trial.suggest_float(name, min(low, own[name]), max(high, own[name]), log=log)
            # four digits, as one writes them into params.yaml
            found[name] = value if value == own[name] else float(f"{value:.4g}")
    choices: dict[str, list[Any]] = {
        "batch_size": list(settings.batch_size),
        "schedule": list(settings.schedule),
        "filters": [_filters_name(filters) for filters in settings.filters],
    }
    for name, among in choices.items():
        if name in own:
            found[name] = trial.suggest_categorical(name, list(dict.fromkeys([own[name], *among])))
    if "filters" in found:
        found["filters"] = tuple(map(int, found["filters"].split("-")))
    network = {key: value for key, value in found.items() if key in NetworkSettings.model_fields}
    training = {key: value for key, value in found.items() if key in FitSettings.model_fields}
    return base.model_copy(
        update={
            "network": base.network.model_copy(update=network),
            "training": base.training.model_copy(update=training),
        }
    )


def _filters_name(filters: tuple[int, ...]) -> str:
    return "-".join(map(str, filters))


@dataclass(frozen=True)
class VariantTask:
    """Training and scoring of one trial, in whichever process."""

    base: Variant
    settings: SweepSettings
    images: Path
    representation: Representation
    survey: Survey
    accelerator: Accelerator

    def choose(self, trial: "Trial") -> dict[str, Any]:
        """The variant, with the keys that params.yaml states for it and those that are swept."""
        chosen = suggest(trial, self.base, self.settings)
        return {"variant": chosen.model_dump(mode="json", exclude_unset=True)}

    def score(self, chosen: Mapping[str, Any], on_epoch: "OnEpoch", scratch: Path) -> dict[str, float]:
        """Accuracy on the validation split, and the seconds that the fit took: of the processor, or on CUDA by clock.

        Other trials on this machine do not count for the former.
        """
        from .train import train

        variant = validate(Variant, chosen["variant"], "trial")
        clock = time.perf_counter if choose_device(self.accelerator).type == "cuda" else time.process_time
        start = clock()
        network, done = train(variant, [self.images], scratch / "checkpoints", on_epoch, self.accelerator)
        seconds = clock() - start
        return {
            ACCURACY: self._accuracy(network),
            SECONDS: seconds,
            "within_10pct": done.history[done.best_epoch]["validation_within_10pct"],
            "best_epoch": done.best_epoch,
        }

    def _accuracy(self, network: "PeriodNetwork") -> float:
        from .measure import PeriodMeter
        from .network import CalibratedNetwork

        device = choose_device(self.accelerator)
        meter = PeriodMeter(self.representation, CalibratedNetwork(network, 1.0).eval().to(device), self.survey, device)
        validation = join_arrays([open_arrays(self.images / "validation")])
        answers = meter.answers(validation.gather(np.arange(len(validation)))[:, None])
        return accuracy_of_surest(answers, validation.index["period_days"].to_numpy())


def accuracy_of_surest(answers: NDArray, true_period: NDArray, coverage: float = COVERAGE) -> float:
    """Fraction within 10% among this fraction of n stars, those that the network is surest of.

    Parameters
    ----------
    answers : period [d], standard deviation [d] and probability of being within 10%, shape (n, 3).
    true_period : [d], shape (n,).
    """
    surest = np.argsort(-answers[:, 2], kind="stable")[: max(round(coverage * len(answers)), 1)]
    return float(within(answers[surest, 0], true_period[surest], 0.1).mean())


def _plan(root: Path, name: str, storage: str | None) -> "tuple[Sweep, VariantTask]":
    from varistar.experiments.sweep import Sweep

    params = read_params(root)
    base = read_section(root, f"periods.variants.{name}", Variant)
    settings = validate(SweepSettings, lookup(params, "periods").get("sweep", {}), f"{PARAMS}: periods.sweep")
    images = root / "build/periods/images" / base.images
    for split in ("train", "validation"):
        if not (images / split / "index.parquet").is_file():
            made = f"make them with `dvc repro images@{base.images}`"
            raise DataError(f"{images}: these images have not been made; {made}")
        if not len(open_arrays(images / split)):
            raise DataError(f"{images / split}: no examples; the sample is too small for this split")
    task = VariantTask(
        base,
        settings,
        images,
        read_section(root, f"periods.representations.{base.representation}", Representation),
        read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey),
        lookup(params, "accelerator"),
    )
    ways: dict[str, Literal["maximize", "minimize"]] = {ACCURACY: "maximize", SECONDS: "minimize"}
    sweep = Sweep(
        root,
        name,
        WING,
        _key(root, task),
        {objective: ways[objective] for objective in settings.objectives},
        watch="validation_within_10pct",
        warmup=base.training.max_epochs // 3,
        seed=settings.seed,
        storage=storage,
    )
    return sweep, task


def _key(root: Path, task: VariantTask) -> str:
    """What makes this the same sweep: where it starts, what it tries, and its examples."""
    described = [task.base.model_dump(mode="json"), task.settings.model_dump(mode="json")]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((task.images / split / "index.parquet").read_bytes())
        digest.update((task.images / split / "axes.json").read_bytes())
    for item in inputs_at(root, [task.images]):
        digest.update(item.md5.encode())
    return digest.hexdigest()[:12]


def _with_variant(text: str, base: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text of params.yaml with an entry below that of `base`.

    Lines are added, since writing the file anew would reflow what its author laid out.
    """
    before = YAML().load(text)
    variants = before["periods"]["variants"]
    if name in variants:
        raise ConfigError(f"{PARAMS}: 'periods.variants.{name}' exists already; choose another name for the winner")
    row, column = variants.lc.key(base)
    lines = text.splitlines()
    end = row + 1
    for number in range(row + 1, len(lines)):
        line = lines[number].strip()
        if line and not line.startswith("#"):
            if len(lines[number]) - len(lines[number].lstrip()) <= column:
                break
            end = number + 1
    added = [" " * column + line if line else line for line in _as_yaml({name: entry}).splitlines()]
    changed = "\n".join([*lines[:end], *added, *lines[end:]]) + "\n"
    plain = YAML(typ="safe", pure=True)
    wanted = plain.load(text)
    wanted["periods"]["variants"][name] = dict(entry)
    if plain.load(changed) != wanted:
        raise ConfigError(f"{PARAMS}: 'periods.variants' is laid out in a way to which '{name}' cannot be added")
    validate(PeriodsSettings, wanted["periods"], f"{PARAMS}: periods")
    return changed


def _as_yaml(entry: Mapping[str, Any]) -> str:
    text = io.StringIO()
    YAML().dump(_laid_out(entry), text)
    return text.getvalue()


def _laid_out(value: Any) -> Any:
    """A key to a line, and a list in one."""
    if isinstance(value, Mapping):
        return {key: _laid_out(item) for key, item in value.items()}
    if isinstance(value, list):
        value = CommentedSeq(value)
        value.fa.set_flow_style()
    return value
