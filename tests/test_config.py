"""params.yaml as a whole: the project's own is in order, and every mistake in one is a sentence with the key's path."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from varistar.config import Params, json_schema, read_config, set_value
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import lookup, read_params

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def mistake(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], Any]], str]:
    """A function that makes a change to the project's params.yaml and returns the sentence that refuses it."""

    def refusal(change: Callable[[dict[str, Any]], Any]) -> str:
        params = json.loads(json.dumps(read_params(REPOSITORY)))  # without anchors, so that one key is one value
        change(params)
        (tmp_path / "params.yaml").write_text(json.dumps(params))
        with pytest.raises(ConfigError) as error:
            read_config(tmp_path)
        text = str(error.value)
        assert text.startswith("params.yaml: ") and "\n" not in text
        return text.removeprefix("params.yaml: ")

    return refusal


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a dotted key that may be new."""

    def change(params: dict[str, Any]) -> None:
        *path, last = key.split(".")
        (lookup(params, ".".join(path)) if path else params)[last] = value

    return change


def test_the_projects_own_params_are_in_order() -> None:
    params = read_config(REPOSITORY)
    assert params.size == "laptop", "the only size whose dvc.lock is committed"
    assert set(params.sizes) == {"smoke", "laptop", "study", "paper"}
    for key, value in params.sizes["laptop"].items():
        assert lookup(read_params(REPOSITORY), key) == value, f"{key} is not what the size says"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        # a key that does not exist
        (
            "sise",
            "laptop",
            "key 'sise' does not exist; allowed here: accelerator, flares, periods, sectors, size, sizes, sky, surveys",
        ),
        (
            "periods.samples.clump.simulation",
            3,
            "key 'periods.samples.clump.simulation' does not exist; allowed here: augment, parts, seed, simulations",
        ),
        ("surveys.asassn.cuts.bnads", ["g"], "key 'surveys.asassn.cuts.bnads' does not exist; allowed here: bands, "),
        (
            "periods.variants.clump-8-16-32.network.filter",
            [1, 2, 3],
            "key 'periods.variants.clump-8-16-32.network.filter' does not exist; allowed here: beta, bins, dropout",
        ),
        # a wrong type
        ("sky.seed", "88", "'sky.seed': Input should be a valid integer (got '88')"),
        ("sky", 88, "'sky': Input should be an object (got 88)"),
        ("periods.survey", ["asassn"], "'periods.survey': Input should be a valid string (got ['asassn'])"),
        ("surveys.asassn.cuts.bands", "g", "'surveys.asassn.cuts.bands': Input should be a valid array (got 'g')"),
        ("surveys.asassn.window", [58484.5], "'surveys.asassn.window.1': Field required"),
        ("surveys.asassn.window", None, "'surveys.asassn.window': Input should be a valid array (got None)"),
        (
            "periods.variants.clump-8-16-32.training.shuffle",
            "no",
            "'periods.variants.clump-8-16-32.training.shuffle': Input should be a valid boolean (got 'no')",
        ),
        # out of range
        ("size", "tiny", "'size': Input should be 'smoke', 'laptop', 'study' or 'paper' (got 'tiny')"),
        (
            "periods.samples.clump.simulations",
            0,
            "'periods.samples.clump.simulations': Input should be greater than 0 (got 0)",
        ),
        (
            "surveys.asassn.aliases.day",
            [1.1, 0.9],
            "'surveys.asassn': aliases.day must run from the smaller to the larger",
        ),
        ("periods.split.train", 0.8, "'periods.split': the four fractions must add up to 1, not 1.1"),
        (
            "periods.representations.log.pool",
            3,
            "'periods.representations.log.image': pool must divide nodes and periods.",
        ),
        (
            "periods.variants.clump-8-16-32.network.head",
            "gauss",
            "'periods.variants.clump-8-16-32.network.head': Input should be 'laplace' or 'distribution' (got 'gauss')",
        ),
        ("periods.promotion.gates.within_10pct", {}, "'periods.promotion.gates.within_10pct': a gate needs one of"),
        ("periods.samples.a b", {"parts": [], "simulations": 1}, "'periods.samples.a b': String should match"),
        # a name that refers to nothing
        (
            "periods.survey",
            "ztf",
            "periods.survey names 'ztf', which does not exist; there are asassn, asassn_released",
        ),
        ("surveys", {}, "periods.survey names 'asassn', which does not exist; there are none"),
        (
            "periods.samples.clump.parts",
            [{"templates": "dwarf", "stars": "paper"}],
            "'periods': samples.clump.parts.0.templates names 'dwarf', which does not exist; there are clump, quasar",
        ),
        (
            "periods.images.clump-log.representation",
            "lin",
            "'periods': images.clump-log.representation names 'lin', which does not exist; there are paper, mini",
        ),
        (
            "periods.promotion.sample",
            "dwarf",
            "'periods': promotion.sample names 'dwarf', which does not exist; there are clump, quasar",
        ),
        (
            "periods.variants.clump-8-16-32.representation",
            "nights",
            "'periods': variants.clump-8-16-32, which sees clump-nights, names 'clump-nights', which does not exist;",
        ),
        (
            "periods.images.pictures",
            {"sample": "clump", "representation": "log"},
            "'periods': images.pictures must be called clump-log, after what it shows",
        ),
        # windows that disagree
        (
            "periods.representations.paper.window",
            [58484.5, 60310.5],
            "periods.representations.paper.window is [58484.5, 60310.5], the window of the survey 'asassn' is [58484",
        ),
        (
            "surveys.asassn.window",
            [60311.5, 58484.5],
            "'surveys.asassn': window must run from the smaller to the larger",
        ),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_was_expected(
    mistake: Callable[..., str], key: str, value: Any, said: str
) -> None:
    assert mistake(put(key, value)).startswith(said)


def test_what_is_missing_is_named(mistake: Callable[..., str]) -> None:
    assert mistake(lambda params: params.pop("periods")) == "'periods': Field required"
    assert mistake(lambda params: params["periods"]["samples"]["clump"].pop("parts")) == (
        "'periods.samples.clump.parts': Field required"
    )


def test_a_window_of_each_light_curves_own_fits_every_survey(tmp_path: Path) -> None:
    params = read_params(REPOSITORY)
    params["periods"]["representations"]["paper"]["window"] = None
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    assert read_config(tmp_path).periods.representations["paper"].window is None


def test_values_are_set_where_they_are_and_nowhere_else() -> None:
    params = {"a": {"b": {"c": 1}}, "d": 2}
    assert set_value(params, "a.b.c", 5) == 1
    assert set_value(params, "d", None) == 2
    assert params == {"a": {"b": {"c": 5}}, "d": None}
    for key in ("a.x", "a.b.c.d", "x", "d.e", ""):
        with pytest.raises(ConfigError, match=rf"^params\.yaml: '{re.escape(key)}' does not exist$"):
            set_value(params, key, 1)
    assert params == {"a": {"b": {"c": 5}}, "d": None}


# The JSON schema


def complaints(value: Any, schema: dict[str, Any], definitions: dict[str, Any], path: str = "") -> list[str]:
    """What a JSON schema has against a value: as much of the standard as pydantic writes, read independently of it."""
    if "$ref" in schema:
        return complaints(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, path)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        found = [complaints(value, choice, definitions, path) for choice in choices]
        return [] if [] in found else min(found, key=len)
    said = []
    types: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
        "number": (int, float),
    }  # fmt: skip
    kind = schema.get("type")
    if kind and (not isinstance(value, types[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{path}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        said.append(f"{path}: {value!r} is not among {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        said.append(f"{path}: {value!r} is not {schema['const']}")
    for word, wrong in {
        "minimum": lambda bound: value < bound,
        "maximum": lambda bound: value > bound,
        "exclusiveMinimum": lambda bound: value <= bound,
        "exclusiveMaximum": lambda bound: value >= bound,
        "minItems": lambda bound: len(value) < bound,
        "maxItems": lambda bound: len(value) > bound,
        "pattern": lambda bound: not re.search(bound, value),
    }.items():
        if word in schema and wrong(schema[word]):
            said.append(f"{path}: {value!r} is against {word} {schema[word]}")
    if isinstance(value, dict):
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        said += [f"{path}.{key} is missing" for key in schema.get("required", []) if key not in value]
        for key, inner in value.items():
            fitting = (
                [known[key]] if key in known else [s for pattern, s in patterns.items() if re.search(pattern, key)]
            )
            more = schema.get("additionalProperties", True)
            if not fitting and more is False:
                said.append(f"{path}.{key} does not exist")
            for below in fitting or ([more] if isinstance(more, dict) else []):
                said += complaints(inner, below, definitions, f"{path}.{key}")
    if isinstance(value, list):
        places = schema.get("prefixItems", [])
        for i, inner in enumerate(value):
            below = places[i] if i < len(places) else schema.get("items", {})
            said += complaints(inner, below, definitions, f"{path}.{i}") if isinstance(below, dict) else []
    return said


def test_the_schema_describes_the_projects_params() -> None:
    schema = json.loads(json_schema())
    assert complaints(read_params(REPOSITORY), schema, schema["$defs"]) == []
    assert schema == Params.model_json_schema()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sise", 1, ".sise does not exist"),
        ("size", "tiny", "'tiny' is not among"),
        ("sky.seed", "88", "'88' is no integer"),
        ("surveys.asassn.window", [1.0], "is against minItems 2"),
        ("periods.samples.clump.simulations", 0, "is against exclusiveMinimum 0"),
        ("periods.samples.clump.simulation", 3, ".periods.samples.clump.simulation does not exist"),
        ("periods.variants.clump-8-16-32.network.head", "gauss", "is not among ['laplace', 'distribution']"),
    ],
)
def test_the_schema_speaks_against_what_is_wrong(key: str, value: Any, said: str) -> None:
    params = read_params(REPOSITORY)
    put(key, value)(params)
    schema = json.loads(json_schema())
    assert any(said in complaint for complaint in complaints(params, schema, schema["$defs"]))
