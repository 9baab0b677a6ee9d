"""Folds part windows or stars as they say, and cross-validation asks no network about what it has learned."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.bulk.engine import Engine
from varistar.flares import folds as module
from varistar.flares.example_sets import WindowExamples
from varistar.flares.examples import LEARNT
from varistar.flares.folds import SCORES, By, cross_validate, fold_scores, folds, main
from varistar.flares.matching import window_scores
from varistar.flares.variants import FlareVariant, read_variant
from varistar.foundation.errors import ConfigError, DataError


def table(stars: Mapping[str, tuple[int, int]]) -> pl.DataFrame:
    """An index with so many flares and other windows of each star."""
    rows = [(star, int(i < flares)) for star, (flares, rest) in stars.items() for i in range(flares + rest)]
    return pl.DataFrame(rows, {"star_id": pl.String, "label": pl.Int8}, orient="row")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=5, max_size=20), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_folds_by_star_part_no_star_and_share_out_the_flares(counts: list[tuple[int, int]], seed: int) -> None:
    index = table({f"star {i}": (flares, rest + 1) for i, (flares, rest) in enumerate(counts)})
    fold = folds(index, "star", seed=seed)
    assert (
        index.with_columns(fold=pl.Series(fold)).group_by("star_id").agg(pl.col("fold").n_unique())["fold"].max() == 1
    )
    flares = np.bincount(fold, weights=index["label"].to_numpy(), minlength=5)
    # the last flaring star that came into the fullest fold found it the emptiest
    assert flares.max() - flares.min() <= max(count for count, _ in counts)


def test_stars_without_flares_fill_the_smaller_folds() -> None:
    index = table({"active": (100, 1), **{f"quiet {i}": (0, 10) for i in range(45)}})
    assert np.bincount(folds(index, "star")).tolist() == [111, *[110] * 4]


def test_folds_by_sample_are_equal_and_part_stars() -> None:
    index = table({"a": (30, 73), "b": (10, 20)})
    fold = folds(index, "sample", seed=3)
    assert sorted(np.bincount(fold)) == [26, 26, 27, 27, 27]
    assert len(set(fold[:103])) == 5
    assert not np.array_equal(fold, folds(index, "sample", seed=4))


@pytest.mark.parametrize("by", ["star", "sample"])
def test_too_few_for_the_folds(by: Any) -> None:
    with pytest.raises(DataError, match=rf"2 {by}s cannot be divided into 5 folds"):
        folds(table({"a": (1, 0), "b": (1, 0)}), by)


# ---------------------------------------------------------------------------------------------------------------------
# Cross-validation


@pytest.fixture(scope="module")
def asked(project: Any) -> pl.DataFrame:
    return cross_validate(project.build / "examples/windows", short(project), 3, Engine(workers=1))


def short(project: Any) -> FlareVariant:
    return read_variant(project.root, "windows")


def test_every_window_is_asked_once_in_each_way(project: Any, asked: pl.DataFrame) -> None:
    index = join_arrays([open_arrays(project.build / "examples/windows" / split) for split in LEARNT]).index
    for by in get_args(By):
        part = asked.filter(by=by)
        key = ["star_id", "label", "amplitude", "peak_snr"]
        assert part.select(key).sort(key).equals(index.select(key).sort(key))
        assert part["p"].is_between(0, 1).all() and part["p"].n_unique() > 10
        assert part["fold"].unique().sort().to_list() == [0, 1, 2]
    assert (asked.filter(by="star").group_by("star_id").agg(pl.col("fold").n_unique())["fold"] == 1).all()
    assert (asked.filter(by="sample").group_by("star_id").agg(pl.col("fold").n_unique())["fold"] > 1).any(), "the leak"


def test_no_network_learns_or_chooses_from_what_it_is_asked(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor, by star, from any window of a star that it is asked of, or that its epoch is chosen by."""
    seen: list[tuple[WindowExamples, WindowExamples]] = []
    fit = module.fit

    def watched(network: Any, loss: Any, score: Any, train: Any, validation: Any, *rest: Any, **named: Any) -> Any:
        seen.append((train, validation))
        return fit(network, loss, score, train, validation, *rest, **named)

    monkeypatch.setattr(module, "fit", watched)
    cross_validate(project.build / "examples/windows", short(project), 3, Engine(workers=1))
    assert len(seen) == 6
    for (train, validation), (by, fold) in zip(seen, ((by, k) for by in get_args(By) for k in range(3)), strict=True):
        index = train.arrays.index
        asked = np.flatnonzero(folds(index, by, 3) == fold)
        three = [set(rows.tolist()) for rows in (train.rows, validation.rows, asked)]
        assert sum(map(len, three)) == index.height == len(set.union(*three))
        assert not np.array_equal(train.rows, np.sort(train.rows)), "mixed"
        if by == "star":
            stars = [set(index["star_id"].to_numpy()[list(rows)]) for rows in three]
            assert not (stars[0] & stars[1] or stars[0] & stars[2] or stars[1] & stars[2])


def test_folds_do_not_depend_on_the_workers(
    project: Any, asked: pl.DataFrame, in_project: Callable[[Path], Any]
) -> None:
    with in_project(project.root):
        assert cross_validate(project.build / "examples/windows", short(project), 3, Engine(workers=2)).equals(asked)


def test_scores_are_those_of_each_fold(asked: pl.DataFrame) -> None:
    found = fold_scores(asked)
    for by in get_args(By):
        each = [window_scores(part["label"] == 1, part["p"]) for part in asked.filter(by=by).partition_by("fold")]
        for name in SCORES:
            values = [scores[name] for scores in each]
            assert found[by][name]["folds"] == values
            if None in values:
                assert found[by][name]["mean"] is None
            else:
                assert found[by][name]["mean"] == pytest.approx(np.mean(values))
                assert found[by][name]["scatter"] == pytest.approx(np.std(values, ddof=1))


def table_of(p: Mapping[str, list[float]]) -> pl.DataFrame:
    """Two folds of two flares and two others each, with these p, in both ways."""
    parts = [
        pl.DataFrame({"by": by, "fold": [0] * 4 + [1] * 4, "label": [1, 1, 0, 0] * 2, "p": values})
        for by, values in p.items()
    ]
    return pl.concat(parts)


def test_the_leak_is_the_difference_of_the_means_with_its_error() -> None:
    right, wrong = [0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1]
    leak = fold_scores(table_of({"sample": right + right, "star": right + wrong}))["leak"]
    assert leak["recall"] == {"difference": pytest.approx(0.25), "error": pytest.approx(0.25)}
    assert leak["precision"] == {"difference": 0.0, "error": 0.0}
    assert leak["accuracy"] == {"difference": pytest.approx(0.125), "error": pytest.approx(0.125)}


def test_a_score_that_a_fold_lacks_is_undefined() -> None:
    never = fold_scores(table_of({"sample": [0.1] * 8, "star": [0.9, 0.9, 0.1, 0.1] * 2}))
    assert never["sample"]["precision"] == {"mean": None, "scatter": None, "folds": [None, None]}
    assert never["leak"]["precision"] == {"difference": None, "error": None}
    assert never["leak"]["recall"]["difference"] == -1.0


def test_a_network_of_points_has_no_folds(project: Any) -> None:
    with pytest.raises(ConfigError, match="folds are of windows; the trunk 'points' reads points"):
        cross_validate(project.build / "examples/points", read_variant(project.root, "points"))


@pytest.mark.parametrize("arguments", [["--folds", "1"], ["--epochs", "0"]])
def test_what_is_no_cross_validation_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="--folds must be 2 or more, and --epochs positive"):
        main(arguments)


def test_the_command_writes_scores_and_figures(
    copied: Any, in_project: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with in_project(copied.root):
        main(["--epochs", "1", "--folds", "3"])
    said = json.loads((copied.root / "metrics/study/flares/folds.json").read_text())
    assert (said["variant"], said["epochs"], said["n_folds"]) == ("windows", 1, 3)
    assert said["windows"] == sum(len(open_arrays(copied.build / "examples/windows" / split)) for split in LEARNT)
    assert len(said["star"]["accuracy"]["folds"]) == 3
    names = {path.name for path in (copied.root / "build/figures/flares/folds").iterdir()}
    assert names == {"folds.png", "sample.png", "star.png"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["folds by sample", "folds by star"]
