"""Sweeps of a variant's network and training: which values a trial tries, and the winner as a variant of its own.

What the wings share. A wing says how one trial is trained and scored (`VariantTask.score`), and reads its settings.
Trials learn from the train split and are scored on the validation split alone; calibration and test sets stay unseen,
so that what a sweep finds can be compared with other variants as if it had been written by hand.

Optuna is imported where a sweep runs, since it costs seconds.
"""

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from varistar.bulk.arrays import open_arrays
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import atomic_path
from varistar.foundation.params import PARAMS
from varistar.foundation.settings import Settings, SettingsT, validate

from .fit_settings import Trainable
from .lineage import inputs_at
from .search_space import SearchSettings, Values, as_written, is_whole, value_of, with_values

if TYPE_CHECKING:
    from optuna.trial import Trial

    from .sweep import Done, OnEpoch, Sweep

#: Of a wing in params.yaml, what names variants.
SECTIONS = ("variants", "study")


@dataclass(frozen=True)
class VariantTask(ABC):
    """What is tried with one variant, in whichever process.

    Attributes
    ----------
    base : the variant that the sweep starts from.
    examples : folder of the array sets `train` and `validation`.
    """

    base: Trainable
    settings: SearchSettings
    examples: Path
    accelerator: Accelerator

    def choose(self, trial: "Trial") -> dict[str, Any]:
        """The variant, with the keys that params.yaml states for it and those that are swept.

        Not `published`: a winner is no row of a paper's table.
        """
        chosen = suggest(trial, self.base, self.settings)
        return {"variant": chosen.model_dump(mode="json", exclude_unset=True, exclude={"published"})}

    @abstractmethod
    def score(self, chosen: Mapping[str, Any], on_epoch: "OnEpoch", scratch: Path) -> Mapping[str, float]:
        """Train the chosen variant's first network and score it on the validation split; see `sweep.Task`."""


def require_examples(examples: Path, made_by: str) -> None:
    """Refuse to sweep without examples to train on and to score.

    Raises
    ------
    DataError
        When there are none.
    """
    for split in ("train", "validation"):
        if not (examples / split / "index.parquet").is_file():
            raise DataError(f"{examples}: these {examples.parent.name} have not been made; make them with `{made_by}`")
        if not len(open_arrays(examples / split)):
            raise DataError(f"{examples / split}: no examples; the sample is too small for this split")


def own_values(base: Trainable, settings: SearchSettings) -> dict[str, Any]:
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
                    f"{PARAMS}: {settings.wing}.sweep: space.{key}: the variant's own value, {own}, cannot belong to a "
                    f"{kind}; give the variant another, or choices"
                )
            values[key] = own if tried.ends else _name_of(own)
    return values


def suggest(trial: "Trial", base: SettingsT, settings: SearchSettings) -> SettingsT:
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
            suggested = _from_range if tried.ends else _from_choices
            found[key] = suggested(trial, type(base), key, tried, own)
    return validate(type(base), with_values(base, found), f"trial {trial.number}")


def _in_order(settings: SearchSettings) -> list[tuple[str, Values]]:
    """What depends on other keys comes after them."""
    return sorted(settings.space.items(), key=lambda item: bool(item[1].where))


def _applies(tried: Values, base: Settings, found: Mapping[str, Any]) -> bool:
    """Whether a key is tried where `found` was chosen already."""
    return all(
        _name_of(found[key] if key in found else value_of(base, key)) == _name_of(as_written(type(base), key, wanted))
        for key, wanted in tried.where.items()
    )


def _from_range(trial: "Trial", variant: type[Settings], key: str, tried: Values, own: float) -> float:
    low, high = tried.ends or (own, own)
    low, high = min(low, own), max(high, own)
    if is_whole(variant, key):
        return trial.suggest_int(key, int(low), int(high), log=tried.log)
    value = trial.suggest_float(key, low, high, log=tried.log)
    # four digits, as one writes them into params.yaml
    return value if value == own else min(max(float(f"{value:.4g}"), low), high)


def _from_choices(trial: "Trial", variant: type[Settings], key: str, tried: Values, own: Any) -> Any:
    values = [own, *(as_written(variant, key, value) for value in tried.choices or ())]
    by_name = {_name_of(value): value for value in values}
    return by_name[trial.suggest_categorical(key, list(by_name))]


def _name_of(value: Any) -> str | float | bool | None:
    """A value as Optuna can store it: a list becomes text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def sweep_key(root: Path, task: VariantTask) -> str:
    """What makes this the same sweep: where it starts, what it tries, and its examples."""
    described = [task.base.model_dump(mode="json"), task.settings.model_dump(mode="json")]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for split in ("train", "validation"):
        digest.update((task.examples / split / "index.parquet").read_bytes())
        digest.update((task.examples / split / "axes.json").read_bytes())
    for item in inputs_at(root, [task.examples]):
        digest.update(item.md5.encode())
    return digest.hexdigest()[:12]


def keep_winner(sweep: "Sweep", wing: type[Settings], base: str, winner: str) -> "Done":
    """Add the best trial of a sweep of variant `base` to params.yaml, as the variant `winner` below it.

    Of several objectives the first decides. No other byte of params.yaml changes.

    Parameters
    ----------
    wing : the model of the wing's section, whose name is the sweep's experiment.

    Raises
    ------
    ConfigError
        When there is no such sweep, the name is taken or not a name, or the entry cannot be added.
    """
    from .sweep import best_trials

    best = best_trials(sweep)
    if not best:
        raise ConfigError(f"sweep '{sweep.name}': no trial was completed, so none can win")
    path = sweep.root / PARAMS
    text, entry = path.read_text(encoding="utf-8"), best[0].chosen["variant"]
    changed, section = _with_variant(text, sweep.experiment, base, winner, entry)
    validate(wing, section, f"{PARAMS}: {sweep.experiment}")
    with atomic_path(path) as temporary:
        temporary.write_text(changed, encoding="utf-8")
    return best[0]


def _with_variant(
    text: str, wing: str, base: str, name: str, entry: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any]]:
    """The text of params.yaml with an entry below that of `base`, and the wing's section in it.

    Lines are added, since writing the file anew would reflow what its author laid out.
    """
    before = YAML().load(text)
    sections = {section: before[wing].get(section) or {} for section in SECTIONS}
    for section, variants in sections.items():
        if name in variants:
            raise ConfigError(f"{PARAMS}: '{wing}.{section}.{name}' exists already; choose another name for the winner")
    section = next(section for section, variants in sections.items() if base in variants)
    row, column = before[wing][section].lc.key(base)
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
    wanted[wing][section][name] = dict(entry)
    if plain.load(changed) != wanted:
        raise ConfigError(f"{PARAMS}: '{wing}.{section}' is laid out in a way to which '{name}' cannot be added")
    return changed, wanted[wing]


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
