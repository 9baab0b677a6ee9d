"""The difference of two variants at the flares of the same stars, against sums by hand."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.flares.difference import ALL, differences
from varistar.flares.matching import event_scores
from varistar.flares.verdict import match_known
from varistar.foundation.errors import ConfigError, DataError

PARAMS = "flares: {variants: {one: {}, other: {}}, study: {third: {}}}"
N_STARS = 12


def labels() -> pl.DataFrame:
    """Ten flares of each of eight stars, an hour apart; the other four have none."""
    rng = np.random.default_rng(2)
    rows = [(f"s{star}", 10 + k / 24, None, None, rng.uniform(1, 40)) for star in range(8) for k in range(10)]
    names = ["star_id", "tpeak", "tstart", "tstop", "peak_snr"]
    return pl.DataFrame(rows, dict.fromkeys(names[:1], pl.String) | dict.fromkeys(names[1:], pl.Float64), orient="row")


def write(root: Path, name: str, chance: float, wrong: int, test: str = "test") -> None:
    """Found: this share of all flares, and so many false events."""
    rng = np.random.default_rng(int(100 * chance))
    known = labels()
    found = known.filter(pl.Series(rng.random(known.height) < chance)).select("star_id", "tpeak")
    false = pl.DataFrame(
        {"star_id": [f"s{k % N_STARS}" for k in range(wrong)], "tpeak": [20.0 + k for k in range(wrong)]}
    )
    events = pl.concat([found, false.cast(dict(found.schema))]).with_columns(
        tstart=pl.col("tpeak"), tstop=pl.col("tpeak"), p=0.9
    )
    matched = match_known(events, known)
    for folder, table in (("measured", matched.events), ("recalled", matched.labels)):
        path = root / "build/flares" / folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)
    report = {"test_set": test, "n_stars": N_STARS, "days": 300.0, **event_scores(matched, 0)}
    path = root / "metrics/flares" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    write(tmp_path, "one", 0.8, 3)
    write(tmp_path, "other", 0.5, 30)
    return tmp_path


def report(root: Path, name: str) -> dict:
    return json.loads((root / f"metrics/flares/{name}.json").read_text())


def test_the_means_are_those_of_the_two_evaluations(root: Path) -> None:
    found = differences(root, "one", "other")
    one, other = report(root, "one"), report(root, "other")
    for score in ("counted_f1", "counted_precision", "counted_recall"):
        assert found[ALL][score].mean == pytest.approx(one[score] - other[score], abs=1e-12)
        assert found[ALL][score].low < found[ALL][score].mean < found[ALL][score].high
    assert found[ALL]["false_per_day"].mean == pytest.approx((3 - 30) / 300)
    assert all(scores.keys() == {"counted_recall"} for group, scores in found.items() if group != ALL)
    bins = {"S/N 3 to 5", "S/N 5 to 7", "S/N 7 to 10", "S/N 10 to 15", "S/N 15 to 30", "S/N from 30"}
    assert found.keys() == {ALL} | bins


def test_the_interval_is_that_of_whole_stars(root: Path) -> None:
    """Against the spread of recall that its eight stars give, drawn by a plain loop."""
    both = [
        pl.read_parquet(root / f"build/flares/recalled/{name}.parquet").filter("counts") for name in ("one", "other")
    ]
    stars = [f"s{k}" for k in range(N_STARS)]
    tables = [{star: table.filter(star_id=star)["hit"].to_numpy() for star in stars} for table in both]
    rng, drawn = np.random.default_rng(5), []
    for _ in range(1500):
        some = rng.choice(stars, N_STARS)
        recall = [np.concatenate([table[star] for star in some]).mean() for table in tables]
        drawn.append(recall[0] - recall[1])
    value = differences(root, "one", "other")[ALL]["counted_recall"]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert (value.low, value.high) == pytest.approx((low, high), abs=0.25 * (high - low))


def test_the_order_of_the_variants_is_the_sign_and_a_variant_is_as_good_as_itself(root: Path) -> None:
    found, turned = differences(root, "one", "other"), differences(root, "other", "one")
    for score, value in found[ALL].items():
        assert turned[ALL][score].mean == -value.mean
    for value in differences(root, "one", "one")[ALL].values():
        assert (value.mean, value.low, value.high) == (0.0, 0.0, 0.0)


def test_a_variant_that_finds_nothing_has_no_precision(root: Path) -> None:
    write(root, "other", 0.0, 0)
    found = differences(root, "one", "other")[ALL]
    assert found["counted_precision"].mean == pytest.approx(report(root, "one")["counted_precision"])
    assert all(np.isfinite([value.low, value.high]).all() for value in found.values())


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match="there is no variant 'fourth' of flares; there are one, other, third"):
        differences(root, "one", "fourth")
    with pytest.raises(DataError, match=r"not been evaluated here; `dvc repro flares/study/dvc\.yaml:evaluate@third`"):
        differences(root, "one", "third")
    write(root, "other", 0.5, 3, test="another")
    stages = r"flares/dvc\.yaml:evaluate@one flares/dvc\.yaml:evaluate@other"
    with pytest.raises(DataError, match=f"'one' and 'other' were measured on different stars; `dvc repro {stages}`"):
        differences(root, "one", "other")
