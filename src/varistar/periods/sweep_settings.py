"""What a sweep tries, as data: dotted keys of a variant, each with a range or choices."""

import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from varistar.foundation.params import lookup
from varistar.foundation.settings import Settings

from .variants import Variant


class Values(Settings):
    """The values that are tried for one key: a range from .. to, or choices.

    Attributes
    ----------
    from, to : both belong to the range; over a field of whole numbers, whole numbers are drawn.
    log : evenly in the logarithm.
    where : what other keys must be for this one to be tried, such as `{network.head: distribution}` for what means
        something to one head alone; elsewhere the variant's own value stays.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Annotated[float | None, Field(alias="from", allow_inf_nan=False)] = None
    to: Annotated[float | None, Field(allow_inf_nan=False)] = None
    log: bool = False
    choices: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    where: dict[str, Any] = {}

    @property
    def ends(self) -> tuple[float, float] | None:
        """The ends of a range."""
        return None if self.from_ is None or self.to is None else (self.from_, self.to)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        of_a_range = {"from_", "to", "log"} & self.model_fields_set
        if (self.ends is None) == (self.choices is None) or (self.choices and of_a_range):
            raise ValueError("give either from and to, or choices")
        if self.ends and not self.ends[0] < self.ends[1]:
            raise ValueError("a range must run from the smaller to the larger value")
        if self.ends and self.log and self.ends[0] <= 0:
            raise ValueError("a logarithmic range must begin above zero")
        return self


def _default_space() -> dict[str, Values]:
    values = {
        "training.learning_rate": {"from": 2e-4, "to": 2e-2, "log": True},
        "training.batch_size": {"choices": [32, 64, 100, 200]},
        "training.schedule": {"choices": ["onecycle", "plateau"]},
        "network.filters": {"choices": [[8, 16, 32], [16, 32, 64]]},
        "network.dropout": {"from": 0.0, "to": 0.3},
        "network.softness": {"from": 0.01, "to": 0.1, "log": True, "where": {"network.head": "distribution"}},
    }
    return {key: Values.model_validate(item) for key, item in values.items()}


class SweepSettings(Settings):
    """How variants are swept.

    Attributes
    ----------
    objectives : with `within_10pct_at_20pct_coverage` alone, trials that fall behind are pruned; with `fit_seconds`
        beside it the sweep looks for all compromises, and prunes none.
    space : what is tried, by the dotted key of a variant below its `network` or `training`, for every variant. A
        variant's own values always belong to it: a range is widened to hold them, and choices are added to. Keys that
        are not named keep the variant's own values.
    seed : of what is drawn.
    """

    objectives: Annotated[
        tuple[Literal["within_10pct_at_20pct_coverage", "fit_seconds"], ...], Field(min_length=1, max_length=2)
    ] = ("within_10pct_at_20pct_coverage",)
    space: Annotated[dict[str, Values], Field(min_length=1)] = Field(default_factory=_default_space)
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives names one of them twice")
        for key, values in self.space.items():
            _require_fit(key, values)
            for other, wanted in values.where.items():
                _require_value(other, wanted, f"space.{key}.where")
                if other in self.space and self.space[other].where:
                    raise ValueError(f"space.{key}.where names '{other}', which depends on another key itself")
        return self


def sweepable_fields(model: type[Settings] = Variant) -> dict[str, FieldInfo]:
    """The fields that can be swept, by dotted key: all below `network` and `training`.

    What stands beside these cannot: another sample or representation would need images of its own.
    """
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        for part in _settings_in(field.annotation):
            for key, inner in sweepable_fields(part).items():
                found[f"{name}.{key}"] = inner
        if model is not Variant and not _settings_in(field.annotation):
            found[name] = field
    return found


def is_whole(key: str) -> bool:
    """Whether a key's values are whole numbers."""
    return _numbers(sweepable_fields()[key].annotation) == {int}


def _settings_in(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [part for member in _members(annotation) for part in _settings_in(member)]


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types among which a union, or what is annotated, lets one choose."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[:1]
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()


def _numbers(annotation: Any) -> set[type]:
    if annotation in (int, float):
        return {annotation}
    return {number for member in _members(annotation) for number in _numbers(member)}


def _require_fit(key: str, values: Values) -> None:
    """Refuse values that the key cannot have; raises ValueError."""
    where = f"space.{key}"
    for value in values.choices or ():
        _require_value(key, value, where)
    if values.ends:
        _require_key(key, where)
        if not _numbers(sweepable_fields()[key].annotation):
            raise ValueError(f"{where}: its values are no numbers, so that they have no range; give choices")
        for end in values.ends:
            _require_value(key, int(end) if is_whole(key) and end.is_integer() else end, where)


def _require_key(key: str, where: str) -> None:
    if key not in (fields := sweepable_fields()):
        raise ValueError(f"{where}: a variant has no '{key}' to sweep; there are {', '.join(fields)}")


def _require_value(key: str, value: Any, where: str) -> None:
    _require_key(key, where)
    try:
        as_written(key, value)
    except ValidationError as error:
        raise ValueError(f"{where}: '{key}' cannot be {json.dumps(value)}: {error.errors()[0]['msg']}") from None


def as_written(key: str, value: Any) -> Any:
    """A value of a key as a variant's JSON has it, so that equal values look equal; raises ValidationError."""
    field = sweepable_fields()[key]
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    adapter = TypeAdapter(kind)
    return adapter.dump_python(adapter.validate_json(json.dumps(value), strict=True), mode="json")


def with_values(variant: Variant, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that params.yaml states for a variant, with these dotted ones set."""
    stated = variant.model_dump(mode="json", exclude_unset=True)
    for key, value in values.items():
        *path, last = key.split(".")
        section = stated
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return stated


def value_of(variant: Variant, key: str) -> Any:
    """The value of a dotted key, as it is written."""
    return lookup(variant.model_dump(mode="json"), key)
