"""Every column that a simulated survey writes has a meaning, and nothing else has."""

import pytest

from varistar.sky.columns import CATALOG_MEANINGS, FLARE_MEANINGS, MEANINGS, SPACE_MEANINGS, TRUTH_MEANINGS
from varistar.sky.ground import CATALOG, TRUTH
from varistar.sky.spacecraft import FLARES, STARS
from varistar.sky.spacecraft import TRUTH as SPACE_TRUTH


@pytest.mark.parametrize(
    ("columns", "meanings"),
    [
        (CATALOG, CATALOG_MEANINGS),
        (TRUTH, {"star_id", *TRUTH_MEANINGS}),
        (STARS, CATALOG_MEANINGS),
        ({**STARS, **SPACE_TRUTH, **TRUTH}, SPACE_MEANINGS),
        (FLARES, FLARE_MEANINGS),
    ],
)
def test_columns_and_meanings_are_the_same_names(columns: dict, meanings: dict) -> None:
    assert set(columns) == set(meanings)


@pytest.mark.parametrize("meanings", [MEANINGS, SPACE_MEANINGS, FLARE_MEANINGS])
def test_a_meaning_fits_into_a_row_of_a_table(meanings: dict[str, str]) -> None:
    for text in meanings.values():
        assert text.strip() == text != "" and text.isascii()
        assert not set("|\n") & set(text)
