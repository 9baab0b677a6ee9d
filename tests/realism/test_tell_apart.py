"""What is the same cannot be told apart, what is different can, and the difference is named."""

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.realism.names import QUANTITIES
from varistar.realism.quantities import quantities
from varistar.realism.tell_apart import auc
from varistar.realism.tell_apart import tell_apart as tell_apart_thoroughly

#: The same with few trees, which are enough for what is tested here.
tell_apart = partial(tell_apart_thoroughly, repeats=1, trees=8)

WINDOW = (58000.0, 61000.0)


@pytest.fixture(scope="module")
def stars(make_survey: Callable[..., LightCurves]) -> pl.DataFrame:
    """The quantities of eighty stars of one survey."""
    table = quantities(make_survey(80, seed=20), WINDOW)
    return table.with_columns(cluster="star_id")


def test_two_halves_of_one_survey_cannot_be_told_apart(stars: pl.DataFrame) -> None:
    found = tell_apart(stars[::2], stars[1::2])
    # Of 40 and 40 independent scores the AUC has a standard error of 0.065.
    assert found.auc == pytest.approx(0.5, abs=0.2)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.telltale["importance"].max() < 0.2


def test_another_survey_is_told_and_what_gives_it_away_is_named(
    stars: pl.DataFrame, make_survey: Callable[..., LightCurves]
) -> None:
    louder = quantities(make_survey(60, seed=21, scatter=3.0), WINDOW).with_columns(cluster="star_id")
    found = tell_apart(stars, louder)
    assert found.auc > 0.98 and found.interval[0] > 0.95
    assert all(area > 0.9 for area in found.by_method.values())
    # Larger in the second sample: the AUC by itself is near 0.
    alone = dict(found.telltale.select("quantity", "alone").iter_rows())
    assert alone["scatter_over_error"] < 0.02 and alone["scatter"] < 0.02
    assert found.telltale["quantity"][0] in ("scatter", "scatter_over_error", "night_to_night_over_error")
    groups = {group: area for group, _, area in found.groups.iter_rows()}
    assert found.groups["group"][0] == "scatter" and groups["scatter"] > 0.98
    assert 0.25 < groups["cadence"] < 0.75
    score = found.scores
    assert score["is_real"].sum() == 80 and score.height == 140
    assert roc_auc_score(score["is_real"], score["score"]) == pytest.approx(found.auc)


def test_what_the_stars_decide_is_not_shown(stars: pl.DataFrame) -> None:
    own = [name for name, quantity in QUANTITIES.items() if quantity.intrinsic]
    assert "trend_sd" in own
    changed = stars[1::2].with_columns(pl.col(name) * 100 + 1 for name in own)
    assert tell_apart(stars[::2], changed).auc == tell_apart(stars[::2], stars[1::2]).auc


def test_fields_are_not_told_by_heart(stars: pl.DataFrame) -> None:
    """Stars of a simulated field share a cadence; that must not help where the fields are as the real ones are."""
    cadence = [name for name, quantity in QUANTITIES.items() if quantity.group == "cadence"]
    field = np.repeat(np.arange(8), 5)
    shared = stars[1::2].with_columns(pl.Series(name, stars[name].to_numpy()[field]) for name in cadence)
    # Only the cadence speaks: everything else is the same noise in both.
    blind = [name for name in QUANTITIES if name not in cadence]
    real = stars[::2].with_columns(pl.lit(None, pl.Float64).alias(name) for name in blind)
    shared = shared.with_columns(pl.lit(None, pl.Float64).alias(name) for name in blind)
    by_heart = tell_apart(real, shared).auc
    honest = tell_apart(real, shared.with_columns(cluster=pl.Series([f"field {f}" for f in field]))).auc
    assert by_heart > honest + 0.1
    assert honest < 0.7


def test_seasons_of_a_star_stay_together(make_survey: Callable[..., LightCurves]) -> None:
    survey = make_survey(24, seed=22)
    seasons = quantities(survey, WINDOW, per="season").with_columns(cluster="star_id")
    names = seasons["star_id"].unique(maintain_order=True).to_list()
    real, other = (seasons.filter(pl.col("star_id").is_in(half)) for half in (names[::2], names[1::2]))
    # Each star has a mark of its own, which would give it away to those who saw another of its seasons.
    marks = {name: value for name, value in zip(names, np.random.default_rng(6).random(24), strict=True)}
    real, other = (t.with_columns(fwhm_median=pl.col("star_id").replace_strict(marks)) for t in (real, other))
    found = tell_apart(real, other)
    assert found.scores.select("star_id", "season").n_unique() == found.scores.height == 120
    assert 0.2 < found.auc < 0.75


def test_the_same_rows_give_the_same_verdict(stars: pl.DataFrame) -> None:
    first, second = (tell_apart(stars[::2], stars[1::2], seed=3) for _ in range(2))
    assert first.auc == second.auc and first.interval == second.interval
    assert first.telltale.equals(second.telltale) and first.scores.equals(second.scores)
    assert tell_apart(stars[::2], stars[1::2], seed=4).auc != first.auc


def test_the_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    label, weight = rng.integers(0, 2, 300), rng.integers(0, 4, 300).astype(float)
    for score in (rng.random(300) + 0.3 * label, rng.integers(0, 5, 300).astype(float), np.ones(300)):
        assert auc(label, score) == pytest.approx(roc_auc_score(label, score))
        assert auc(label, score, weight) == pytest.approx(roc_auc_score(label, score, sample_weight=weight))


def test_too_little_to_judge_is_refused(stars: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="at least two of each"):
        tell_apart(stars[:1], stars[1:])
    nothing = stars.with_columns(pl.lit(None, pl.Float64).alias(name) for name in QUANTITIES)
    with pytest.raises(DataError, match="a quantity that both have"):
        tell_apart(nothing[:40], nothing[40:])
