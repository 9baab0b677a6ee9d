"""The section `flares` of params.yaml: every mistake is named by its key."""

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from varistar.flares.settings import FlaresSettings
from varistar.flares.variants import FlareVariant, read_variant, section_of
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import lookup, read_params
from varistar.foundation.settings import validate

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def section() -> dict[str, Any]:
    return copy.deepcopy(read_params(REPOSITORY)["flares"])


def changed(section: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    # the YAML has anchors, so that a change in one place is one in another
    whole = copy.deepcopy({"flares": section})
    path, _, last = f"flares.{key}".rpartition(".")
    holder = lookup(whole, path)
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return whole["flares"]


def refusal(section: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        validate(FlaresSettings, section, "params.yaml: flares")
    sentence = str(refused.value)
    assert sentence.startswith("params.yaml: flares: ") and "\n" not in sentence
    return sentence.removeprefix("params.yaml: flares: ")


def test_the_repository_is_configured(section: dict[str, Any]) -> None:
    settings = validate(FlaresSettings, section, "params.yaml: flares")
    assert {"points", "windows"} <= settings.variants.keys()
    for name, variant in (settings.variants | settings.study).items():
        assert read_variant(REPOSITORY, name) == variant
        assert section_of(REPOSITORY, name) == ("variants" if name in settings.variants else "study")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("survey", None, "'survey': "),
        ("colour", 3, "key 'colour' does not exist; allowed here: examples, injected, labelled, measure, "),
        ("split.train", 0.7, "'split': the four fractions must add up to 1, not 1.1"),
        ("orbits.gap_days", -0.4, "'orbits.gap_days': "),
        ("orbits.gaps", 0.4, "key 'orbits.gaps' does not exist; allowed here: gap_days, "),
        ("sectors.sectors", [3, 2], "'sectors': sectors must ascend"),
        ("sectors.n_stars", "320", "'sectors.n_stars': "),
        ("examples.points.length", 10, "'examples.points.length': "),
        ("examples.points.truth", {"tail": 2.0}, "'examples.points.truth': tail must not be above visible"),
        ("examples.points.inject.per_day", 0, "'examples.points.inject.per_day': "),
        ("examples.points.representation", {"hours": [0]}, "'examples.points.representation.hours.0': "),
        (
            "examples.windows.length",
            100,
            "windows: the trunk 'window' reads 200 cadences; examples.windows.length",
        ),
        ("variants.points.network.kernel", 4, "'variants.points.network.points': kernel must be odd"),
        ("variants.points.network.trunk", "axis", "'variants.points.network': "),
        ("variants.points.examples", "windows", "'variants.points': the trunk 'points' reads points, not windows"),
        ("variants.windows.examples", "points", "'variants.windows': the trunk 'window' reads windows, not points"),
        ("variants.points.events", {"seed": 0.1}, "'variants.points.events': grow must not be above seed, got 0.2 and"),
        ("variants.points.false_per_day", 0, "'variants.points.false_per_day': "),
        ("variants.points.members", 0, "'variants.points.members': "),
        ("variants.points.members", 1, "points: an ensemble needs at least 2 members"),
        ("variants.points.training.max_epochs", 0, "'variants.points.training.max_epochs': "),
        ("variants.points.colour", 1, "key 'variants.points.colour' does not exist; allowed here: ensemble, events, "),
        ("variants.a b", {}, "'variants.a b': "),
        ("recovery.peak_snrs", [5, 3], "'recovery.peak_snrs': "),
        ("promotion.gates.counted_f1", {}, "'promotion.gates.counted_f1': a gate needs one of minimum, maximum, "),
    ],
)
def test_a_mistake_is_named_by_its_key(section: dict[str, Any], key: str, value: Any, words: str) -> None:
    sentence = refusal(changed(section, key, value))
    assert sentence.startswith(words), sentence


def test_a_name_stands_in_one_place(section: dict[str, Any]) -> None:
    twice = section | {"study": section.get("study", {}) | {"points": section["variants"]["points"]}}
    assert refusal(twice) == "'points' stands in variants and in study; its scores would be mistaken"


def test_studied_variants_are_held_to_the_same(section: dict[str, Any]) -> None:
    alone = section["variants"]["points"] | {"members": 1}
    assert refusal(section | {"study": {"alone": alone}}) == "alone: an ensemble needs at least 2 members"


def test_windows_of_another_length_are_for_who_has_no_network_of_them(section: dict[str, Any]) -> None:
    short = changed(section, "examples.windows.length", 100)
    points = {name: variant for name, variant in short["variants"].items() if variant["examples"] == "points"}
    assert validate(FlaresSettings, short | {"variants": points, "study": {}}, "").examples.windows.length == 100


# ---------------------------------------------------------------------------------------------------------------------
# One variant


@pytest.fixture
def root(tmp_path: Path, section: dict[str, Any]) -> Path:
    studied = section | {"study": {"wide": {"false_per_day": 0.5}}}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump({"flares": studied}, file)
    return tmp_path


def test_a_variant_is_found_wherever_it_is_named(root: Path) -> None:
    assert (section_of(root, "points"), section_of(root, "wide")) == ("variants", "study")
    assert read_variant(root, "wide") == FlareVariant(false_per_day=0.5)
    assert read_variant(root, "windows").network.trunk == "window"


def test_a_variant_that_is_nowhere_is_refused_with_those_that_are(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"params\.yaml: there is no variant 'wid' of flares; there are .*points.* wide"
    ):
        read_variant(root, "wid")


def test_a_variant_with_a_mistake_is_named_in_full(root: Path) -> None:
    text = (root / "params.yaml").read_text().replace("false_per_day: 0.5", "false_per_day: -0.5")
    (root / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"^params\.yaml: flares\.study\.wide: 'false_per_day': "):
        read_variant(root, "wide")
