"""A star is in one split, whatever stands beside it."""

import hashlib
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.experiments.splits import SPLITS, SplitSettings, split_stars
from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate

star_ids = st.lists(st.text(min_size=1), min_size=1, max_size=30)


@st.composite
def split_settings(draw: st.DrawFn) -> SplitSettings:
    """Fractions in percent that add up to 1, some of them zero."""
    edges = sorted(draw(st.lists(st.integers(0, 100), min_size=3, max_size=3)))
    shares = np.diff([0, *edges, 100]) / 100
    return SplitSettings(**dict(zip(SPLITS, shares, strict=True)), seed=draw(st.integers(-5, 5)))


@settings(deadline=None)
@given(star_ids, split_settings(), st.randoms())
def test_a_star_is_in_one_split_in_any_order_company_and_number(
    stars: list[str], chosen: SplitSettings, random: Random
) -> None:
    known = dict(zip(stars, split_stars(stars, chosen).tolist(), strict=True))
    mixed = random.choices([*stars, "another star", "and one more"], k=40)
    for star, split in zip(mixed, split_stars(mixed, chosen), strict=True):
        assert known.setdefault(star, split) == split
        assert split_stars([star], chosen)[0] == split


@settings(deadline=None)
@given(star_ids, split_settings())
def test_the_split_is_where_the_hash_falls_among_the_fractions(stars: list[str], chosen: SplitSettings) -> None:
    for star, split in zip(stars, split_stars(stars, chosen), strict=True):
        digest = hashlib.blake2b(f"{chosen.seed}/{star}".encode(), digest_size=8).hexdigest()
        place, edge = int(digest, 16) / 16**16, 0.0
        for name in SPLITS:
            edge += getattr(chosen, name)
            if place < edge:
                assert split == name
                break


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.1, 0.1), (0.8, 0.1, 0.0, 0.1), (0.25, 0.25, 0.25, 0.25)])
def test_the_shares_are_near_the_fractions(fractions: tuple[float, ...]) -> None:
    n = 20_000
    chosen = SplitSettings(**dict(zip(SPLITS, fractions, strict=True)))
    splits = split_stars([f"{number:018d}" for number in range(n)], chosen)
    for name, fraction in zip(SPLITS, fractions, strict=True):
        # five standard deviations of a binomial number; none may come where none is due
        assert abs((splits == name).sum() - n * fraction) <= 5 * np.sqrt(n * fraction * (1 - fraction))


def test_a_split_of_everything_takes_every_star() -> None:
    for name in SPLITS:
        chosen = SplitSettings(**{other: float(other == name) for other in SPLITS})
        assert set(split_stars([str(n) for n in range(200)], chosen)) == {name}


def test_another_seed_is_another_split() -> None:
    stars = [str(n) for n in range(2000)]
    quarters = dict.fromkeys(SPLITS, 0.25)
    first, second = (split_stars(stars, SplitSettings(**quarters, seed=seed)) for seed in (1, 2))
    assert abs(np.mean(first == second) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_no_stars_have_no_splits() -> None:
    assert split_stars([], SplitSettings()).tolist() == []


def test_the_defaults_are_those_of_the_design() -> None:
    assert SplitSettings().fractions == (0.7, 0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"train": 0.8}, r"periods\.split: .*must add up to 1, not 1\.1"),
        ({"train": 1.2, "validation": -0.2, "calibration": 0, "test": 0}, r"'train': .*less than or equal to 1"),
        ({"holdout": 0.1}, r"'holdout' does not exist; allowed here: calibration, seed, test, train, validation"),
    ],
)
def test_fractions_that_cannot_be_are_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        validate(SplitSettings, values, "periods.split")
