"""What a sweep tries, as data: dotted keys of a variant, each with a range or choices. The wings share it.

A wing says which of its models is swept, what its sweeps aim at, and what they try where params.yaml does not say.
"""

import json
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from varistar.foundation.params import lookup
from varistar.foundation.settings import Settings


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


class SearchSettings(Settings):
    """How the variants of a wing are swept.

    Attributes
    ----------
    wing, swept : the wing, and the model of its variants.
    objectives : with the first that the wing offers alone, trials that fall behind are pruned; with another beside it
        the sweep looks for all compromises, and prunes none.
    space : what is tried, by the dotted key of a variant below its `network` or `training`, for every variant. A
        variant's own values always belong to it: a range is widened to hold them, and choices are added to. Keys that
        are not named keep the variant's own values.
    seed : of what is drawn.
    """

    wing: ClassVar[str]
    swept: ClassVar[type[Settings]]

    objectives: tuple[str, ...]
    space: Annotated[dict[str, Values], Field(min_length=1)]
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives names one of them twice")
        for key, values in self.space.items():
            _require_fit(self.swept, key, values)
            for other, wanted in values.where.items():
                _require_value(self.swept, other, wanted, f"space.{key}.where")
                if other in self.space and self.space[other].where:
                    raise ValueError(f"space.{key}.where names '{other}', which depends on another key itself")
        return self


def make_space(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Values]:
    """A space as params.yaml would write it."""
    return {key: Values.model_validate(item) for key, item in values.items()}


#: What of a variant can be swept. What stands beside these cannot: other examples would have to be made first.
PARTS = ("network", "training")


def sweepable_fields(variant: type[Settings]) -> dict[str, list[FieldInfo]]:
    """The fields that can be swept, by dotted key: all below `PARTS`, of every network that a variant may have."""
    found: dict[str, list[FieldInfo]] = {}
    for name in PARTS:
        if name in variant.model_fields:
            _collect(name, variant.model_fields[name], found)
    return found


def _collect(key: str, field: FieldInfo, found: dict[str, list[FieldInfo]]) -> None:
    parts = _settings_in(field.annotation)
    if not parts:
        found.setdefault(key, []).append(field)
    for part in parts:
        for name, inner in part.model_fields.items():
            _collect(f"{key}.{name}", inner, found)


def is_whole(variant: type[Settings], key: str) -> bool:
    """Whether a key's values are whole numbers."""
    return _numbers_of(variant, key) == {int}


def _numbers_of(variant: type[Settings], key: str) -> set[type]:
    return {number for field in sweepable_fields(variant)[key] for number in _numbers(field.annotation)}


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


def _require_fit(variant: type[Settings], key: str, values: Values) -> None:
    """Refuse values that the key cannot have; raises ValueError."""
    where = f"space.{key}"
    for value in values.choices or ():
        _require_value(variant, key, value, where)
    if values.ends:
        _require_key(variant, key, where)
        if not _numbers_of(variant, key):
            raise ValueError(f"{where}: its values are no numbers, so that they have no range; give choices")
        for end in values.ends:
            whole = is_whole(variant, key) and end.is_integer()
            _require_value(variant, key, int(end) if whole else end, where)


def _require_key(variant: type[Settings], key: str, where: str) -> None:
    if key not in (fields := sweepable_fields(variant)):
        raise ValueError(f"{where}: a variant has no '{key}' to sweep; there are {', '.join(fields)}")


def _require_value(variant: type[Settings], key: str, value: Any, where: str) -> None:
    _require_key(variant, key, where)
    try:
        as_written(variant, key, value)
    except ValidationError as error:
        raise ValueError(f"{where}: '{key}' cannot be {json.dumps(value)}: {error.errors()[0]['msg']}") from None


def as_written(variant: type[Settings], key: str, value: Any) -> Any:
    """A value of a key as a variant's JSON has it, so that equal values look equal.

    Raises
    ------
    ValidationError
        When it is none that any of the networks can have there.
    """
    kinds = [
        Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        for field in sweepable_fields(variant)[key]
    ]
    for kind in kinds[:-1]:
        try:
            return _written(kind, value)
        except ValidationError:
            continue
    return _written(kinds[-1], value)


def _written(kind: Any, value: Any) -> Any:
    adapter = TypeAdapter(kind)
    return adapter.dump_python(adapter.validate_json(json.dumps(value), strict=True), mode="json")


def with_values(variant: Settings, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that params.yaml states for a variant, with these dotted ones set; a part of which it states nothing is
    stated whole, since a network has to say what it is."""
    stated, whole = variant.model_dump(mode="json", exclude_unset=True), variant.model_dump(mode="json")
    for key, value in values.items():
        *path, last = key.split(".")
        section, default = stated, whole
        for part in path:
            default = default[part]
            section = section.setdefault(part, default)
        section[last] = value
    return stated


def value_of(variant: Settings, key: str) -> Any:
    """The value of a dotted key, as it is written."""
    return lookup(variant.model_dump(mode="json"), key)
