"""Settings are frozen, strict and closed, and every mistake is one sentence with the key's path and what it may be."""

import datetime
import json
from typing import Annotated, Any, Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import Settings, validate

Name = Annotated[str, Field(pattern="^[a-z]+$")]


class Lens(Settings):
    focal_length: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    coating: Literal["none", "silver"] = "none"


class Telescope(Settings):
    name: str
    n_mirrors: Annotated[int, Field(ge=0)] = 1
    open: bool = True
    window: tuple[float, float]
    lenses: dict[Name, Lens] = {}
    finder: Lens | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.window[0] < self.window[1]:
            raise ValueError("window must run from the smaller to the larger value")
        return self


GOOD: dict[str, Any] = {
    "name": "Cassius",
    "window": [1, 2.5],
    "lenses": {"first": {"focal_length": 3}},
    "finder": {"focal_length": 0.5, "coating": "silver"},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """`GOOD` with another value at a dotted key."""
    values = json.loads(json.dumps(GOOD))
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section[part]
    section[last] = value
    return values


def sentence(values: Any) -> str:
    with pytest.raises(ConfigError) as error:
        validate(Telescope, values, "params.yaml: here")
    text = str(error.value)
    assert text.startswith("params.yaml: here: ")
    assert "\n" not in text
    return text.removeprefix("params.yaml: here: ")


def test_good_values_are_read_as_they_are() -> None:
    telescope = validate(Telescope, GOOD, "here")
    assert telescope == Telescope(
        name="Cassius",
        window=(1.0, 2.5),
        lenses={"first": Lens(focal_length=3.0)},
        finder=Lens(focal_length=0.5, coating="silver"),
    )
    assert isinstance(telescope.window[0], float)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nmirrors", 2, "key 'nmirrors' does not exist; allowed here: finder, lenses, n_mirrors, name, open, window"),
        ("lenses.first.focal", 2, "key 'lenses.first.focal' does not exist; allowed here: coating, focal_length"),
        ("finder.focal", 2, "key 'finder.focal' does not exist; allowed here: coating, focal_length"),
        ("lenses.first.focal_length", -1, "'lenses.first.focal_length': Input should be greater than 0 (got -1)"),
        ("lenses.first.coating", "gold", "'lenses.first.coating': Input should be 'none' or 'silver' (got 'gold')"),
        ("n_mirrors", "2", "'n_mirrors': Input should be a valid integer (got '2')"),
        ("n_mirrors", True, "'n_mirrors': Input should be a valid integer (got True)"),
        ("n_mirrors", 1.5, "'n_mirrors': Input should be a valid integer (got 1.5)"),
        ("n_mirrors", None, "'n_mirrors': Input should be a valid integer (got None)"),
        ("open", "yes", "'open': Input should be a valid boolean (got 'yes')"),
        ("open", 1, "'open': Input should be a valid boolean (got 1)"),
        ("name", 3, "'name': Input should be a valid string (got 3)"),
        ("window", [1, None], "'window.1': Input should be a valid number (got None)"),
        ("window", [1], "'window.1': Field required"),
        ("window", 3, "'window': Input should be a valid array (got 3)"),
        ("lenses", [], "'lenses': Input should be an object (got [])"),
        (
            "lenses.SECOND",
            {"focal_length": 1},
            "'lenses.SECOND': String should match pattern '^[a-z]+$' (got 'SECOND')",
        ),
        ("lenses.first.focal_length", float("nan"), "'lenses.first.focal_length': Input should be a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_what_it_may_be(key: str, value: Any, said: str) -> None:
    assert sentence(changed(key, value)).startswith(said)


def test_a_date_which_yaml_reads_by_itself_is_a_word() -> None:
    assert validate(Telescope, GOOD | {"name": datetime.date(2019, 1, 1)}, "here").name == "2019-01-01"
    assert sentence(GOOD | {"n_mirrors": datetime.date(2019, 1, 1)}) == (
        "'n_mirrors': Input should be a valid integer (got '2019-01-01')"
    )


def test_a_missing_key_and_a_section_that_is_none() -> None:
    assert sentence({"window": [1, 2]}) == "'name': Field required"
    assert sentence(3) == "Input should be an object (got 3)"
    assert sentence(None) == "Input should be an object (got None)"


def test_values_that_disagree_are_told_without_repeating_the_section() -> None:
    assert sentence(changed("window", [2, 1])) == "window must run from the smaller to the larger value"

    class Site(Settings):
        telescope: Telescope

    with pytest.raises(ConfigError) as error:
        validate(Site, {"telescope": changed("window", [2, 1])}, "site")
    assert str(error.value) == "site: 'telescope': window must run from the smaller to the larger value"


def test_the_first_mistake_is_told_and_the_others_are_counted() -> None:
    text = sentence(GOOD | {"n_mirrors": -1, "open": 3, "name": 5})
    assert text == "'name': Input should be a valid string (got 5) (2 more)"


def test_a_mistyped_key_explains_the_missing_one() -> None:
    values = {key: value for key, value in GOOD.items() if key != "name"}
    values["nmae"] = "Cassius"
    assert sentence(values).startswith("key 'nmae' does not exist; allowed here: finder, lenses, n_mirrors, name")


@pytest.mark.parametrize("odd", [{datetime.date(2019, 1, 1): 1}, {(1, 2): 3}])
def test_odd_keys_are_an_error_of_the_user(odd: dict[Any, Any]) -> None:
    assert sentence(GOOD | odd)


def test_a_section_that_contains_itself() -> None:
    values: dict[str, Any] = dict(GOOD)
    values["finder"] = values
    assert "not plain keys and values" in sentence(values)


def test_settings_never_change() -> None:
    telescope = validate(Telescope, GOOD, "here")
    with pytest.raises(ValidationError, match="frozen"):
        telescope.name = "other"  # type: ignore[misc]


@given(
    st.builds(
        Telescope,
        name=st.text(),
        n_mirrors=st.integers(0, 2**40),
        open=st.booleans(),
        window=st.tuples(st.floats(-1e300, 0), st.floats(1e-300, 1e300)),
        lenses=st.dictionaries(
            st.from_regex("^[a-z]+$", fullmatch=True), st.builds(Lens, focal_length=st.floats(1e-300, 1e300))
        ),
        finder=st.none()
        | st.builds(Lens, focal_length=st.floats(1e-3, 10), coating=st.sampled_from(["none", "silver"])),
    )
)
def test_what_is_saved_reads_back_equal(telescope: Telescope) -> None:
    assert validate(Telescope, telescope.model_dump(mode="json"), "here") == telescope
    assert validate(Telescope, json.loads(telescope.model_dump_json()), "here") == telescope
