"""A survey is data: what params.yaml may say of one, and what it may not."""

from pathlib import Path
from typing import Any

import pytest

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import read_params
from varistar.foundation.settings import validate
from varistar.surveys.definition import Survey, with_alias_ranges

REPOSITORY = Path(__file__).resolve().parents[2]

TESS: dict[str, Any] = {
    "description": "TESS, sectors 1 to 13",
    "time_system": "BTJD",
    "window": [1325.0, 1682.5],
    "cuts": {"bands": None, "window": [58324.5, 58682.0], "quality": None, "quality_bits": 175, "min_points": 1000},
    "period_range": [0.1, 13],
    "aliases": {"orbit": [13.4, 14.0]},
}


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        validate(Survey, TESS | changes, "surveys.tess")
    return str(error.value).removeprefix("surveys.tess: ")


def test_a_survey_of_a_users_own_is_an_entry_and_no_code() -> None:
    survey = validate(Survey, TESS, "surveys.tess")
    assert survey.window == (1325.0, 1682.5)
    assert survey.cuts.quality_bits == 175
    assert survey.aliases == {"orbit": (13.4, 14.0)}
    assert validate(Survey, survey.model_dump(mode="json"), "again") == survey


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": [2, 1]}, "window must run from the smaller to the larger value"),
        ({"window": [1, 1]}, "window must run from the smaller to the larger value"),
        ({"window": [1, float("nan")]}, "window must run from the smaller to the larger value"),
        ({"period_range": [30, 1]}, "period_range must run from the smaller to the larger value"),
        ({"period_range": [0, 1]}, "'period_range.0': Input should be greater than 0 (got 0)"),
        ({"aliases": {"day": [-1, 1]}}, "'aliases.day.0': Input should be greater than 0 (got -1)"),
        ({"aliases": {"day": [1.1, 0.9]}}, "aliases.day must run from the smaller to the larger value"),
        ({"aliases": [1.0]}, "'aliases': Input should be an object (got [1.0])"),
        (
            {"time_system": "JD"},
            "'time_system': Input should be 'MJD_UTC', 'HJD-2400000.5', 'BJD-2400000.5', 'BTJD' or",
        ),
        (
            {"cuts": {"min_pionts": 3}},
            "key 'cuts.min_pionts' does not exist; allowed here: bands, bin_within_minutes, ",
        ),
        ({"cuts": {"window": [2, 1]}}, "'cuts.window': the window must begin before it ends"),
        (
            {"telescope": "TESS"},
            "key 'telescope' does not exist; allowed here: aliases, cuts, description",
        ),
    ],
)
def test_what_a_survey_may_not_be(changes: dict[str, Any], said: str) -> None:
    assert refusal(**changes).startswith(said)


def test_the_surveys_of_the_project_are_those_of_the_paper() -> None:
    """000, section 2: 2019-01-01 to 2024-01-01, at least 150 points in g; the released code ends a day earlier."""
    surveys = {name: validate(Survey, values, name) for name, values in read_params(REPOSITORY)["surveys"].items()}
    paper, released = surveys["asassn"], surveys["asassn_released"]
    assert paper.window == paper.cuts.window == (58484.5, 60311.5)
    assert released.window == released.cuts.window == (58484.5, 60310.5)
    for survey in (paper, released):
        assert (survey.cuts.min_points, survey.cuts.bands, survey.period_range) == (150, ("g",), (1.0, 30.0))
        assert survey.time_system == "MJD_UTC"


def test_aliases_of_before_become_ranges() -> None:
    before = TESS | {"aliases": {"orbit": 13.7, "day": 1.0}, "alias_width": 0.02}
    survey = validate(Survey, with_alias_ranges(before), "survey")
    assert survey.aliases["orbit"] == pytest.approx((13.426, 13.974))
    assert survey.aliases["day"] == pytest.approx((0.98, 1.02))
    assert with_alias_ranges(TESS) == TESS
