"""Seasons are cut where a star is never observed, and every season is in exactly one half."""

import numpy as np
import pytest

from varistar.realism.seasons import ORIGIN, gaps_after, in_half, season_of


@pytest.mark.parametrize("start", [0.0, 77.0, 200.0, 364.0])
def test_a_season_is_what_lies_between_the_gaps_of_the_calendar(start: float) -> None:
    rng = np.random.default_rng(int(start))
    number = np.repeat(np.arange(5), 80)
    days = rng.uniform(0, 250, len(number))
    time = ORIGIN + start + 365.25 * number + days
    season = season_of(time)
    assert len(np.unique(season)) == 5
    for one in range(5):
        assert len(np.unique(season[number == one])) == 1
    assert (np.diff(season[np.argsort(time)]) >= 0).all()


def test_seasons_keep_their_numbers_when_points_are_lost() -> None:
    rng = np.random.default_rng(1)
    time = np.sort(ORIGIN + 40.0 + 365.25 * rng.integers(0, 5, 900) + rng.uniform(0, 200, 900))
    some = rng.random(900) < 0.3
    np.testing.assert_array_equal(season_of(time)[some], season_of(time[some]))


def test_no_epochs_have_no_seasons() -> None:
    assert season_of(np.empty(0)).shape == (0,)
    assert gaps_after(np.empty(0), np.empty(0, np.int64)).shape == (0,)


def test_halves_are_even_and_odd_seasons() -> None:
    season = np.arange(-3, 6)
    np.testing.assert_array_equal(season[in_half(season, "fit")], [-2, 0, 2, 4])
    np.testing.assert_array_equal(season[in_half(season, "judge")], [-3, -1, 1, 3, 5])
    assert in_half(season, "both").all()


def test_the_gap_to_the_next_season_is_known_to_neighbours_only() -> None:
    mjd = np.array([0.0, 1.0, 51.0, 52.0, 700.0])
    found = gaps_after(mjd, np.array([0, 0, 1, 1, 3]))
    np.testing.assert_array_equal(found, [50.0, 50.0, np.nan, np.nan, np.nan])
