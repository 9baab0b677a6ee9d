"""The difference of two variants, against the obvious loop and by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.experiments.differences import difference_lines
from varistar.experiments.gates import paired_bootstrap
from varistar.foundation.errors import ConfigError, DataError
from varistar.periods.difference import differences
from varistar.periods.verdict import SEED

PARAMS = "periods: {variants: {one: {}, other: {}}, study: {third: {}}}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    rng = np.random.default_rng(4)
    n = 90
    true = rng.uniform(1, 30, n)
    true[80:] = np.nan
    stars = pl.DataFrame(
        {
            "test": ["clump/paper"] * 50 + ["broad/long_lived"] * 30 + ["broad/constant"] * 10,
            "star_id": [f"s{i}" for i in range(n)],
            "template": [f"t{i // 4}" for i in range(n)],
            "true_period": true,
            "shown_period": true * 1.3,
        }
    )
    for name, spread in (("one", 0.08), ("other", 0.3)):
        write(tmp_path, name, stars.with_columns(period=pl.col("true_period") * rng.normal(1, spread, n)))
    return tmp_path


def write(root: Path, name: str, table: pl.DataFrame) -> None:
    path = root / "build/periods/measured" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def read(root: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(root / "build/periods/measured" / f"{name}.parquet")


def test_each_test_and_score_is_the_paired_bootstrap_of_its_stars(root: Path) -> None:
    found = differences(root, "one", "other")
    assert set(found) == {"clump/paper", "broad/long_lived"}, "stars without a period have no score"
    for test, scores in found.items():
        one, other = (read(root, name).filter(test=test) for name in ("one", "other"))
        for name, truth, tolerance in (
            ("within_10pct", "true_period", 0.1),
            ("within_20pct", "true_period", 0.2),
            ("shown_within_10pct", "shown_period", 0.1),
        ):
            right = [
                [abs(row["period"] - row[truth]) / row[truth] <= tolerance for row in table.iter_rows(named=True)]
                for table in (one, other)
            ]
            expected = paired_bootstrap(right[0], right[1], SEED, groups=one["template"].to_numpy())
            assert (scores[name].mean, scores[name].low, scores[name].high) == expected


def test_the_order_of_the_stars_does_not_matter_and_that_of_the_variants_is_the_sign(root: Path) -> None:
    before = differences(root, "one", "other")
    write(root, "other", read(root, "other").sample(fraction=1.0, shuffle=True, seed=2))
    assert differences(root, "one", "other") == before
    turned = differences(root, "other", "one")["clump/paper"]["within_10pct"]
    assert turned.mean == -before["clump/paper"]["within_10pct"].mean


def test_it_is_printed_with_its_interval(root: Path) -> None:
    found = differences(root, "one", "other")
    value = found["clump/paper"]["within_10pct"]
    (line,) = (line for line in difference_lines(found) if line.split()[:2] == ["clump/paper", "within_10pct"])
    assert line.split()[2:] == [f"{value.mean:+.4f}", f"{value.low:+.4f}", "to", f"{value.high:+.4f}"]


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(ConfigError, match="there is no variant 'fourth'; there are one, other, third"):
        differences(root, "one", "fourth")
    with pytest.raises(
        DataError, match=r"has not been evaluated here; `dvc repro study/dvc\.yaml:evaluate@third` does"
    ):
        differences(root, "one", "third")
    write(root, "other", read(root, "other").head(40))
    with pytest.raises(DataError, match="'one' and 'other' were measured on different stars"):
        differences(root, "one", "other")
