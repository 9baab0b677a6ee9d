"""Distances against SciPy's and by hand, changes of known size, and intervals that hold what they should."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from varistar.realism.compare import LEAST_STARS, compare, draw_counts
from varistar.realism.names import QUANTITIES


def sample(values: dict[str, np.ndarray], cluster: np.ndarray | None = None) -> pl.DataFrame:
    n = len(next(iter(values.values())))
    names = [str(i) for i in range(n)] if cluster is None else [str(c) for c in cluster]
    return pl.DataFrame(
        {"star_id": [str(i) for i in range(n)], "cluster": names}
        | {name: pl.Series(values.get(name, [None] * n), dtype=pl.Float64) for name in QUANTITIES}
    )


def row(real: pl.DataFrame, simulated: pl.DataFrame, name: str) -> dict[str, float]:
    return compare(real, simulated).filter(pl.col("quantity") == name).row(0, named=True)


def test_distances_of_two_samples() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(0, 0.3, 21), rng.lognormal(0.2, 0.3, 200)
    found = row(sample({"scatter": a}), sample({"scatter": b}), "scatter")
    # The largest difference of the two cumulative distributions, at each value of either.
    at = np.concatenate([a, b])
    ks = max(abs((a <= x).mean() - (b <= x).mean()) for x in at)
    assert found["ks"] == pytest.approx(ks)
    assert found["ks_p"] == pytest.approx(stats.ks_2samp(a, b).pvalue)
    q = (np.arange(100000) + 0.5) / 100000
    apart = np.mean(np.abs(np.quantile(a, q, method="inverted_cdf") - np.quantile(b, q, method="inverted_cdf")))
    assert found["wasserstein"] * stats.median_abs_deviation(a, scale=1 / 1.4826) == pytest.approx(apart, rel=1e-3)
    assert found["change"] == pytest.approx(np.median(b) / np.median(a))
    assert found["change_low"] < found["change"] < found["change_high"]
    assert [found[f"real_p{p}"] for p in (10, 50, 90)] == pytest.approx(np.percentile(a, [10, 50, 90]).tolist())
    assert found["n_real"] == 21 and found["n_simulated"] == 200


def test_each_scale_has_its_change() -> None:
    a = {"error": np.full(9, 2.0), "limit_median": np.full(9, 17.0), "memory_1d": np.full(9, -0.02)}
    b = {"error": np.full(9, 2.3), "limit_median": np.full(9, 17.3), "memory_1d": np.full(9, 0.02)}
    # A share that is mostly zero: medians are, means are not.
    a["outliers_4"], b["outliers_4"] = np.array([0.0] * 8 + [0.09]), np.array([0.0] * 8 + [0.27])
    table = {r["quantity"]: r for r in compare(sample(a), sample(b)).iter_rows(named=True)}
    assert table["error"]["change"] == pytest.approx(1.15) and table["error"]["alike"]
    assert table["limit_median"]["change"] == pytest.approx(0.3) and not table["limit_median"]["alike"]
    assert table["memory_1d"]["change"] == pytest.approx(0.04) and table["memory_1d"]["alike"]
    assert table["outliers_4"]["change"] == pytest.approx(3.0) and not table["outliers_4"]["alike"]
    assert list(table) == [name for name in QUANTITIES if name in a]


@pytest.mark.parametrize(("factor", "alike"), [(1.19, True), (1.21, False), (1 / 1.19, True), (1 / 1.21, False)])
def test_alike_is_a_fifth_either_way(factor: float, alike: bool) -> None:
    found = row(sample({"error": np.full(9, 1.0)}), sample({"error": np.full(9, factor)}), "error")
    assert found["alike"] is alike


def test_without_a_ratio_there_is_no_answer() -> None:
    found = row(sample({"nondetections": np.zeros(9)}), sample({"nondetections": np.full(9, 0.1)}), "nondetections")
    assert np.isnan(found["change"]) and found["alike"] is None and found["change_low"] is None


def test_quantities_that_a_sample_lacks_are_left_out() -> None:
    few = np.full(30, np.nan)
    few[: LEAST_STARS - 1] = 1.0
    part = sample({"error": np.ones(30), "flagged": few}).with_columns(pl.col("flagged").fill_nan(None))
    assert compare(part, part)["quantity"].to_list() == ["error"]


def test_the_interval_holds_the_truth_and_grows_with_clusters() -> None:
    """Of 60 pairs of samples of one distribution nearly all intervals hold 1; whole clusters say less than stars."""
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b = rng.lognormal(0, 0.5, 40), rng.lognormal(0, 0.5, 40)
        found = row(sample({"scatter": a}), sample({"scatter": b}), "scatter")
        held.append(found["change_low"] <= 1 <= found["change_high"])
    assert sum(held) >= 52  # 57 are expected; fewer than 52 would come once in a hundred
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(8), 25)
    values = np.exp(rng.standard_normal(8)[cluster] + 0.01 * rng.standard_normal(200))
    alone = row(sample({"scatter": values}), sample({"scatter": values}), "scatter")
    together = row(sample({"scatter": values}, cluster), sample({"scatter": values}, cluster), "scatter")
    assert together["change_high"] / together["change_low"] > 2 * alone["change_high"] / alone["change_low"]


def test_medians_of_draws_are_those_of_repeated_values() -> None:
    from varistar.realism.compare import _middles

    rng = np.random.default_rng(3)
    values = rng.standard_normal(15)
    counts = draw_counts(rng, np.array([f"c{i // 3}" for i in range(15)]), 50)
    assert (counts.sum(axis=1) == 15).all() and (counts[:, 0] == counts[:, 2]).all()
    medians, means = _middles(values, counts, "ratio"), _middles(values, counts, "share")
    for drawn, median, mean in zip(counts, medians, means, strict=True):
        repeated = np.repeat(values, drawn.astype(int))
        assert median == pytest.approx(np.median(repeated)) and mean == pytest.approx(np.mean(repeated))


def test_the_same_samples_give_the_same_table() -> None:
    rng = np.random.default_rng(4)
    a, b = sample({"error": rng.random(30)}), sample({"error": rng.random(50)})
    assert compare(a, b, seed=1).equals(compare(a, b, seed=1))
    assert not compare(a, b, seed=1).equals(compare(a, b, seed=2))
