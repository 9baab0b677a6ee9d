"""Sweep the training of a variant: which values are tried, how a trial is scored, and the winner as a variant.

Trials learn from the train split and are scored on the validation split alone; calibration and test sets stay unseen,
so that what a sweep finds can be compared with other variants as if it had been written by hand.

Optuna, torch and matplotlib are imported inside the functions, since they cost seconds.
"""

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.lineage import inputs_at
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import atomic_path
from varistar.foundation.params import PARAMS, lookup, read_params, read_section
from varistar.foundation.settings import validate
from varistar.surveys.definition import Survey

from .preprocess import AnyRepresentation, read_representation
from .reliability import accuracy_at_coverage
from .scores import within
from .settings import PeriodsSettings
from .sweep_settings import SweepSettings, Values, as_written, is_whole, value_of, with_values
from .variants import SECTIONS, TARGETS, Variant, read_variant

if TYPE_CHECKING:
    from optuna.trial import Trial

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

    sweep, task = _plan(root, name, storage)
    best = run_sweep(sweep, task, own_values(task.base, task.settings), trials, workers, say)
    for path in _draw(sweep):
        say(f"{path}: drawn")
    return best


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


def _draw(sweep: "Sweep") -> list[Path]:
    from varistar.experiments.sweep import importances, keep_figures, trial_table
    from varistar.figures.style import save_figure
    from varistar.figures.sweep import Objective, compromise_figure, history_figure, importance_figure

    trials, title = trial_table(sweep), f"Sweep of {sweep.name}"
    objectives = [Objective(name, LABELS[name], direction) for name, direction in sweep.objectives.items()]
    completed = trials.filter(state="completed").height
    figures = {
        "history": history_figure(trials, objectives, title),
        "importance": importance_figure(importances(sweep), completed, objectives, title),
    }
    if len(objectives) == 2:
        figures["compromise"] = compromise_figure(trials, (objectives[0], objectives[1]), title)
    keep_figures(sweep, figures)
    paths = [sweep.folder / f"{sweep.name}-{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def own_values(base: Variant, settings: SweepSettings) -> dict[str, Any]:
    """The variant's own values, as `suggest` would have to suggest them.

    Raises
    ------
    ConfigError
        When a value cannot belong to the range that is swept.
    """
    values: dict[str, Any] = {}
    for key, tried in _in_order(settings):
        if _applies(tried, base, {}):
            own = value_of(base, key)
            if tried.ends and (own is None or (tried.log and own <= 0)):
                kind = "logarithmic range" if tried.log else "range"
                raise ConfigError(
                    f"{PARAMS}: periods.sweep: space.{key}: the variant's own value, {own}, cannot belong to a {kind}; "
                    "give the variant another, or choices"
                )
            values[key] = own if tried.ends else _name_of(own)
    return values


def suggest(trial: "Trial", base: Variant, settings: SweepSettings) -> Variant:
    """The variant that a trial tries.

    Raises
    ------
    ConfigError
        When the values do not go together.
    """
    found: dict[str, Any] = {}
    for key, tried in _in_order(settings):
        if _applies(tried, base, found):
            own = value_of(base, key)
            found[key] = _from_range(trial, key, tried, own) if tried.ends else _from_choices(trial, key, tried, own)
    return validate(Variant, with_values(base, found), f"trial {trial.number}")


def _in_order(settings: SweepSettings) -> list[tuple[str, Values]]:
    """What depends on other keys comes after them."""
    return sorted(settings.space.items(), key=lambda item: bool(item[1].where))


def _applies(tried: Values, base: Variant, found: Mapping[str, Any]) -> bool:
    """Whether a key is tried where `found` was chosen already."""
    return all(
        _name_of(found[key] if key in found else value_of(base, key)) == _name_of(as_written(key, wanted))
        for key, wanted in tried.where.items()
    )


def _from_range(trial: "Trial", key: str, tried: Values, own: float) -> float:
    low, high = tried.ends or (own, own)
    low, high = min(low, own), max(high, own)
    if is_whole(key):
        return trial.suggest_int(key, int(low), int(high), log=tried.log)
    value = trial.suggest_float(key, low, high, log=tried.log)
    # four digits, as one writes them into params.yaml
    return value if value == own else min(max(float(f"{value:.4g}"), low), high)


def _from_choices(trial: "Trial", key: str, tried: Values, own: Any) -> Any:
    values = [own, *(as_written(key, value) for value in tried.choices or ())]
    by_name = {_name_of(value): value for value in values}
    return by_name[trial.suggest_categorical(key, list(by_name))]


def _name_of(value: Any) -> str | float | bool | None:
    """A value as Optuna can store it: a list becomes text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


@dataclass(frozen=True)
class VariantTask:
    """Training and scoring of one trial, in whichever process."""

    base: Variant
    settings: SweepSettings
    images: Path
    representation: AnyRepresentation
    survey: Survey
    accelerator: Accelerator

    def choose(self, trial: "Trial") -> dict[str, Any]:
        """The variant, with the keys that params.yaml states for it and those that are swept.

        Not `published`: a winner is no row of the paper's Table 3.
        """
        chosen = suggest(trial, self.base, self.settings)
        return {"variant": chosen.model_dump(mode="json", exclude_unset=True, exclude={"published"})}

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
        """Among the surest fifth of the validation stars with a period; NaN if there is none, which fails the trial."""
        from .heads import Answer
        from .measure import PeriodMeter
        from .network import CalibratedNetwork

        device = choose_device(self.accelerator)
        meter = PeriodMeter(self.representation, CalibratedNetwork(network).eval().to(device), self.survey, device)
        validation = join_arrays([open_arrays(self.images / "validation")])
        period = validation.index[TARGETS[self.base.target]]
        stars = np.flatnonzero(period.is_not_null())
        answers = dict(zip(Answer._fields, meter.answers(validation.gather(stars)).T, strict=True))
        right = within(answers["period"], period.to_numpy()[stars], 0.1)
        found = accuracy_at_coverage(answers["p_within_10pct"], right, COVERAGE)
        return math.nan if found is None else found


def _plan(root: Path, name: str, storage: str | None) -> "tuple[Sweep, VariantTask]":
    from varistar.experiments.sweep import Sweep

    params = read_params(root)
    base = read_variant(root, name)
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
        read_representation(root, base.representation),
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
    sections = {section: before["periods"].get(section, {}) for section in SECTIONS}
    for section, variants in sections.items():
        if name in variants:
            raise ConfigError(
                f"{PARAMS}: 'periods.{section}.{name}' exists already; choose another name for the winner"
            )
    section = next(section for section, variants in sections.items() if base in variants)
    row, column = sections[section].lc.key(base)
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
    wanted["periods"][section][name] = dict(entry)
    if plain.load(changed) != wanted:
        raise ConfigError(f"{PARAMS}: 'periods.{section}' is laid out in a way to which '{name}' cannot be added")
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
