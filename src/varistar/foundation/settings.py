"""The base of every settings model: frozen, strict, and closed to unknown keys."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ConfigError


class Settings(BaseModel):
    """A section of params.yaml. Unknown keys are refused and values never change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


SettingsT = TypeVar("SettingsT", bound=Settings)


def validate(model: type[SettingsT], values: Mapping[str, Any], where: str) -> SettingsT:
    """Read `values` as `model`.

    Raises
    ------
    ConfigError
        One sentence that names the first wrong key by its full path (below `where`) and what it may be.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        others = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            allowed = _siblings(model, first["loc"])
            raise ConfigError(
                f"{where}: key '{path}' does not exist; allowed here: {', '.join(allowed)}{others}"
            ) from None
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] == "missing" else f" (got {first['input']!r:.80})"
        raise ConfigError(f"{where}: '{path}': {message}{given}{others}") from None


def _siblings(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed beside the last part of `loc`."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in loc[:-1]:
        node = _resolve(node, definitions)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
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
