"""Every score of a test, against small tables that can be scored by hand."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.experiments.gates import cluster_bootstrap
from varistar.foundation.files import write_json
from varistar.periods.verdict import ACCURACIES, SEED, members_scores, mixture_scores, scores_of, split_by_stars

#: Of six stars of 10 d the periods found, and how sure of them one is.
FOUND = {"period": [10.5, 9.2, 5.0, 20.0, 10.0, 2.0], "p_within_10pct": [0.9, 0.8, 0.7, 0.3, 0.6, 0.1]}
RIGHT = [True, True, False, False, True, False]


def stars(n: int = 6, **columns: Any) -> pl.DataFrame:
    """Stars of 10 d that show 9.5 d, each on a template of its own."""
    plain = {
        "star_id": [f"s{number}" for number in range(n)],
        "true_period": [10.0] * n,
        "shown_period": [9.5] * n,
        "stars": ["paper"] * n,
        "templates": ["clump"] * n,
        "template": [f"t{number}" for number in range(n)],
        "sigma": [1.0] * n,
        "cumulative": [0.5] * n,
        "crps": [0.1] * n,
        "amplitude": [0.02] * n,
        "template_flux": [10.0] * n,
        "template_scatter": [0.01] * n,
        "n_points": [500] * n,
    }
    return pl.DataFrame(plain | columns, strict=False)


def test_periods_and_confidence_by_hand() -> None:
    scores = scores_of(stars(**FOUND))
    assert scores["n"] == 6
    assert scores["within_10pct"] == 0.5
    # against 9.5 d, 10.5 is 10.5% off, and 9.2 and 10 are within
    assert scores["shown_within_10pct"] == pytest.approx(2 / 6, abs=1e-6)
    # a fifth of six stars is the surest one
    assert scores["within_10pct_at_19.8pct_coverage"] == 1.0
    # surest first: right, right, wrong, right, wrong, wrong
    risks = [0, 0, 1 / 3, 1 / 4, 2 / 5, 1 / 2]
    assert scores["area_under_risk_coverage"] == pytest.approx(np.mean(risks))
    # four are more probably right than not, and three of them are
    assert scores["reported"] == {"coverage": pytest.approx(4 / 6), "within_10pct": 0.75}
    assert scores["confusion"] == {
        "1:1": 0.5, "1:2": pytest.approx(1 / 6, abs=1e-6), "2:1": pytest.approx(1 / 6, abs=1e-6), "1:3": 0.0,
        "3:1": 0.0, "alias": 0.0, "lunar": 0.0, "other": pytest.approx(1 / 6, abs=1e-6),
    }  # fmt: skip
    # six bins of one star each
    assert scores["calibration_error"] == pytest.approx(np.mean([0.1, 0.2, 0.7, 0.3, 0.4, 0.1]))
    assert scores["crps"] == 0.1
    # fewer than twenty stars reach no accuracy that is believed
    assert scores["coverage_at"] == {f"{accuracy:.2f}": 0.0 for accuracy in ACCURACIES}


def test_trust_and_the_published_coverage_by_hand() -> None:
    scores = scores_of(stars(**FOUND, sigma=[1.0, 2.29, 1.24, 5.0, 2.5, 1.0]))
    # sigma / P: 0.095, 0.249, 0.248, 0.25 (not strictly below), 0.25, 0.5
    assert scores["n_trusted"] == 3
    assert scores["coverage"] == 0.5
    assert scores["trusted_within_10pct"] == pytest.approx(2 / 3, abs=1e-6)
    assert scores["correct"] == pytest.approx(2 / 6, abs=1e-6)


def test_the_surest_fifth_is_taken_of_any_number() -> None:
    p = np.linspace(0.99, 0.01, 50)
    right = np.arange(50) < 7
    scores = scores_of(stars(50, period=np.where(right, 10.0, 4.0), p_within_10pct=p))
    assert scores["within_10pct_at_19.8pct_coverage"] == 0.7
    low, high = scores["within_10pct_at_19.8pct_coverage_interval"]
    assert 0.3 < low < 0.7 < high <= 1.0
    # 7 of the surest 20 at most are right, which is none of the wanted accuracies
    assert set(scores["coverage_at"].values()) == {0.0}
    right = np.arange(50) < 36
    scores = scores_of(stars(50, period=np.where(right, 10.0, 4.0), p_within_10pct=p))
    # 36 of 40 are right nine times in ten, 36 of 50 are 72%
    assert scores["coverage_at"] == {"0.71": 1.0, "0.88": 0.8, "0.90": 0.8, "0.95": 0.74}


def test_intervals_keep_the_examples_of_a_template_together() -> None:
    """Forty examples of four templates are worth four, of which two are right."""
    template = np.repeat(["a", "b", "c", "d"], 10)
    period = np.where(np.isin(template, ["a", "b"]), 10.0, 4.0)
    p = np.linspace(0.1, 0.9, 40)
    low, high = scores_of(stars(40, period=period, p_within_10pct=p, template=template))["within_10pct_interval"]
    assert (low, high) == cluster_bootstrap(period == 10.0, template, SEED)[1:] == (0.0, 1.0)
    apart = scores_of(stars(40, period=period, p_within_10pct=p))["within_10pct_interval"]
    assert 0.3 < apart[0] < 0.5 < apart[1] < 0.7


def test_one_template_says_nothing_of_others() -> None:
    scores = scores_of(stars(**FOUND, template=["same"] * 6))
    assert scores["within_10pct_interval"] == (0.0, 1.0)


def test_where_the_truth_lies_in_the_distribution() -> None:
    scores = scores_of(stars(**FOUND, cumulative=[0.5, 0.32, 0.12, 0.96, 0.5, 0.999]))
    assert scores["interval_coverage"] == {
        "0.50": 0.5, "0.68": 0.5, "0.90": pytest.approx(4 / 6, abs=1e-6), "0.95": pytest.approx(5 / 6, abs=1e-6)
    }  # fmt: skip
    assert scores["pit"] == [0, 1, 0, 1, 0, 2, 0, 0, 0, 2]


def test_scores_by_what_makes_a_star_hard() -> None:
    table = stars(
        **FOUND,
        amplitude=[0.001, 0.02, 0.02, 0.5, 0.02, 0.02],
        template_scatter=[0.01] * 5 + [0.0],
        n_points=[200, 199, 900, 900, 900, 5000],
        templates=["quasar"] * 2 + ["clump"] * 4,
        template_flux=[10.0] * 5 + [math.nan],
    )
    by = scores_of(table)["by"]
    counted = {what: {label: row["n"] for label, row in rows.items() if row["n"]} for what, rows in by.items()}
    assert counted["amplitude"] == {"<0.003": 1, "0.01-0.03": 4, ">=0.3": 1}
    assert counted["points"] == {"<200": 1, "200-400": 1, "800-1600": 3, ">=1600": 1}
    assert counted["signal_to_noise"] == {"<0.3": 1, "2-2.6": 3, ">=2.6": 2}
    assert counted["templates"] == {"clump": 4, "quasar": 2}
    assert counted["magnitude"] == {"13-14 mag": 5}, "10 mJy is 13.9 mag"
    assert by["templates"]["quasar"]["within_10pct"] == 1.0
    assert by["templates"]["clump"]["within_10pct"] == 0.25
    assert by["amplitude"]["0.003-0.01"]["within_10pct"] is None


def test_stars_without_a_period_are_only_asked_how_often_they_get_one() -> None:
    nothing = [math.nan] * 4
    silent = stars(
        4, true_period=nothing, shown_period=nothing, cumulative=nothing, crps=nothing, period=[3.0] * 4,
        p_within_10pct=[0.2, 0.5, 0.51, math.nan],
    )  # fmt: skip
    scores = scores_of(silent)
    assert scores.keys() == {"n", "false_periods"}
    assert scores["n"] == 4
    assert {key: scores["false_periods"][key] for key in ("n", "claimed", "rate")} == {
        "n": 4,
        "claimed": 1,
        "rate": 0.25,
    }


def test_the_order_of_the_stars_means_nothing() -> None:
    rng = np.random.default_rng(3)
    table = stars(
        60,
        period=rng.choice([10.0, 5.0, 3.3], 60),
        p_within_10pct=rng.permutation(60) / 60,
        cumulative=rng.random(60),
        crps=rng.random(60),
        template=rng.choice(list("abcdefgh"), 60),
    )
    first, second = scores_of(table), scores_of(table.sample(fraction=1.0, shuffle=True, seed=5))
    assert flat(first) == pytest.approx(flat(second), abs=1e-12)
    worse = scores_of(table.with_columns(p_within_10pct=1 - pl.col("p_within_10pct")))
    assert flat(first)["area_under_risk_coverage"] != flat(worse)["area_under_risk_coverage"]


@pytest.mark.parametrize("n", [1, 2, 6])
def test_scores_can_be_written_as_json(n: int, tmp_path: Any) -> None:
    """Every number is finite or null, of one star too, and when none is trusted or reported."""
    unsure = stars(n, period=[4.0] * n, p_within_10pct=[0.1] * n, sigma=[3.0] * n)
    scores = scores_of(unsure)
    write_json(tmp_path / "scores.json", scores)
    assert scores["reported"] == {"coverage": 0.0, "within_10pct": None}
    assert scores["trusted_within_10pct"] is None


def test_kinds_of_stars_are_told_apart() -> None:
    table = stars(**FOUND, stars=["paper", "flat", "paper", "flat", "old", "paper"])
    apart = split_by_stars(table)
    assert list(apart) == ["flat", "old", "paper"]
    assert {kind: rows["star_id"].to_list() for kind, rows in apart.items()} == {
        "flat": ["s1", "s3"],
        "old": ["s4"],
        "paper": ["s0", "s2", "s5"],
    }


def test_members_are_scored_one_by_one() -> None:
    second = {"period": [10.0] * 6, "p_within_10pct": [0.5] * 6}
    found = members_scores([stars(**FOUND), stars(**second, sigma=[9.0] * 6)])
    assert found == {
        "within_10pct": [0.5, 1.0],
        "coverage": [pytest.approx(5 / 6, abs=1e-6), 0.0],
        "trusted_within_10pct": [0.6, None],
        "within_10pct_at_19.8pct_coverage": [1.0, 1.0],
    }


def flat(scores: Any, prefix: str = "") -> dict[str, float]:
    """The numbers below scores, by their keys joined."""
    if isinstance(scores, dict | list | tuple):
        pairs = scores.items() if isinstance(scores, dict) else enumerate(scores)
        return {key: value for name, below in pairs for key, value in flat(below, f"{prefix}.{name}").items()}
    return {} if scores is None else {prefix.removeprefix("."): scores}


def test_thresholds_come_from_the_calibration_stars_and_are_kept_on_the_others() -> None:
    """A hundred stars, the surest right: on the test the same confidences are worth less, and that is what is told."""
    sure = np.linspace(0.99, 0.0, 100)
    calibration = stars(100, period=[10.0] * 71 + [5.0] * 29, p_within_10pct=sure)
    no_period = [True, False] * 20 + [False] * 60
    test = stars(
        100,
        period=[10.0] * 50 + [5.0] * 50,
        true_period=[math.nan if none else 10.0 for none in no_period],
        p_within_10pct=sure,
    )
    found = mixture_scores(calibration, test)
    assert found["n"] == 100
    right = np.array([place < 50 and not none for place, none in enumerate(no_period)])
    # 71 of 71 are right, and so are 71 of the 78 for 90% and 71 of 80 for 88%
    for accuracy, taken in {"0.71": 100, "0.88": 80, "0.90": 78, "0.95": 74}.items():
        row = found["at_accuracy"][accuracy]
        assert row["threshold"] == pytest.approx(sure[taken - 1]), accuracy
        assert row["coverage"] == taken / 100
        assert row["within_10pct"] == pytest.approx(right[:taken].mean())
        low, high = row["within_10pct_interval"]
        assert low < row["within_10pct"] < high
    bins = np.array_split(np.arange(100)[::-1], 10)
    expected = np.mean([abs(sure[mine].mean() - right[mine].mean()) for mine in bins])
    assert found["calibration_error"] == pytest.approx(expected)


def test_where_no_threshold_is_good_enough_no_star_is_taken() -> None:
    wrong = stars(40, period=[5.0] * 40, p_within_10pct=np.linspace(0.9, 0.1, 40))
    for row in mixture_scores(wrong, wrong)["at_accuracy"].values():
        nothing = {"threshold": None, "coverage": 0.0, "within_10pct": None, "within_10pct_interval": None}
        assert row == nothing
