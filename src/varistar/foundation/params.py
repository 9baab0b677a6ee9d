"""Reading params.yaml: one file, YAML 1.2 as DVC reads it, and one section at a time.

A stage reads the section it depends on and no other, so that DVC's parameter dependencies and the code agree.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .errors import ConfigError
from .settings import SettingsT, validate

PARAMS = "params.yaml"


def find_root(start: Path | None = None) -> Path:
    """The project's folder: the nearest one at or above `start` (default: here) that holds params.yaml.

    Raises
    ------
    ConfigError
        When there is none, or `start` does not exist.
    """
    start = (start or Path.cwd()).resolve()
    if not start.exists():
        raise ConfigError(f"{start}: no such folder")
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise ConfigError(f"no {PARAMS} in {start} or above it: run this inside a varistar project, or give --root")


def read_params(root: Path) -> dict[str, Any]:
    """The whole of params.yaml as plain values.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML, or is not a mapping.
    """
    path = root / PARAMS
    try:
        params = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        at = "" if line is None else f" at line {line + 1}"
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{path}: not valid YAML{at}: {problem}") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: expected sections such as 'surveys' and 'periods', found {type(params).__name__}")
    return params


def lookup(params: dict[str, Any], key: str) -> Any:
    """The value at a dotted key, such as `periods.samples.clump`.

    Raises
    ------
    ConfigError
        When it does not exist; the sentence lists what does.
    """
    value: Any = params
    for depth, part in enumerate(parts := key.split(".")):
        if not isinstance(value, dict) or part not in value:
            where = ".".join(parts[:depth]) or "the top level"
            there = ", ".join(map(str, value)) if isinstance(value, dict) else "no keys"
            raise ConfigError(f"{PARAMS}: '{key}' does not exist; {where} has {there}")
        value = value[part]
    return value


def read_section(root: Path, key: str, model: type[SettingsT]) -> SettingsT:
    """The section at a dotted key of params.yaml, validated as `model`."""
    return validate(model, lookup(read_params(root), key), f"{PARAMS}: {key}")
