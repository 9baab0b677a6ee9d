"""The base of every settings model: frozen, strict, and closed to unknown keys."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ConfigError


class Settings(BaseModel):
    """A section of params.yaml. Unknown keys are refused and values never change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


SettingsT = TypeVar("SettingsT", bound=Settings)


def validate(model: type[SettingsT], values: Mapping[str, Any], where: str) -> SettingsT:
    """Read `values` as `model`, strictly: the word "20" and the truth value `true` are no numbers.

    Raises
    ------
    ConfigError
        One sentence that names the first wrong key by its full path (below `where`) and what it may be.
    """
    try:
        # By way of JSON, since strictness between Python types would refuse a list where the model has a tuple.
        text = json.dumps(values, default=str)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: not plain keys and values: {error}") from None
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(model, error)}") from None


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    """The first mistake, an unknown key before others since it may explain them, and how many more there are."""
    errors = error.errors()
    first = next((mistake for mistake in errors if mistake["type"] == "extra_forbidden"), errors[0])
    path = ".".join(str(part) for part in first["loc"] if part != "[key]")
    others = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"key '{path}' does not exist; allowed here: {', '.join(_siblings(model, first['loc']))}{others}"
    message = first["msg"].removeprefix("Value error, ")
    # What one value cannot show, such as two keys that disagree, the message tells by itself.
    given = "" if isinstance(first["input"], dict) or first["type"] == "missing" else f" (got {first['input']!r:.80})"
    return (f"'{path}': " if path else "") + f"{message}{given}{others}"


def _siblings(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed beside the last part of `loc`."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in loc[:-1]:
        node = _resolve(node, definitions)
        of_any_name = [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]
        node = node.get("properties", {}).get(part) or next(filter(None, of_any_name), {})
    return sorted(_resolve(node, definitions).get("properties", {}))


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and of a choice take the first object."""
    while True:
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
        elif choices := node.get("anyOf") or node.get("oneOf"):
            node = next((choice for choice in choices if "$ref" in choice), choices[0])
        else:
            return node
