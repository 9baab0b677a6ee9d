"""Promotion of period networks: challenger and champion on the same frozen test set."""

from functools import partial
from pathlib import Path

import polars as pl
from numpy.typing import NDArray

from varistar.experiments.content import content_hash
from varistar.experiments.gates import Comparison, Difference, Scores, paired_bootstrap
from varistar.experiments.promotion import Contest
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import folder_hash
from varistar.foundation.params import lookup, read_params, read_section

from .measure import WING, served_network
from .measured import measure_split
from .reliability import accuracy_at_coverage, false_period_rate
from .scores import period_scores, within
from .settings import Promotion
from .verdict import PAPERS_COVERAGE, SURE

BOOTSTRAP_SEED = 20


def contest(root: Path) -> Contest:
    """How period networks are compared, and what they must reach."""
    settings = read_section(root, "periods.promotion", Promotion)
    compare = partial(compare_on_test_set, root, sample=settings.sample)
    return Contest(WING, settings.gates, compare, settings.sample, served_network)


def compare_on_test_set(root: Path, candidate: Path, champion: Path | None, sample: str) -> Comparison:
    """Both models measured on a sample's frozen test set, star by star.

    Metrics are the headline scores of the stars with a period; `margin_over_constant_low`, the lower end of the 95%
    interval of the fraction within 10%, less that of the best constant on the same stars; and `false_period_rate`, the
    fraction of the stars without a period that get one with p_within_10pct > 0.5. Intervals keep the examples of a
    template together.
    """
    injected = root / "build/periods/injected" / sample
    baselines = root / "build/periods/baselines" / f"{sample}.parquet"
    if not (injected / "test/truth.parquet").exists():
        raise RegistryError(f"{injected / 'test'}: there is no test set here to compare on; make it with `dvc repro`")
    if not baselines.exists():
        raise RegistryError(f"{baselines}: there are no baselines to compare with; make it with `dvc repro`")
    constant = pl.read_parquet(baselines, columns=["star_id", "constant"], glob=False)
    version = folder_hash(injected / "test")
    accelerator = lookup(read_params(root), "accelerator")
    folders = [folder for folder in (candidate, champion) if folder]
    tables = [measure_split([folder], injected, accelerator=accelerator)[0] for folder in folders]
    scores = [_scores(content_hash(f), version, table, constant) for f, table in zip(folders, tables, strict=True)]
    if len(tables) == 1:
        return Comparison(challenger=scores[0])
    differences = {}
    with_period, without = (
        [table.filter(pl.col("true_period").is_nan() == is_nan) for table in tables] for is_nan in (False, True)
    )
    for name, tolerance in (("within_10pct", 0.1), ("within_20pct", 0.2)):
        right = [within(t["period"].to_numpy(), t["true_period"].to_numpy(), tolerance) for t in with_period]
        differences[name] = _difference(right[0], right[1], with_period[0])
    if without[0].height:
        claims = [(t["p_within_10pct"] > SURE).to_numpy() for t in without]
        differences["false_period_rate"] = _difference(claims[0], claims[1], without[0])
    return Comparison(challenger=scores[0], champion=scores[1], differences=differences)


def _difference(challenger: NDArray, champion: NDArray, stars: pl.DataFrame) -> Difference:
    groups = stars["template"].to_numpy()
    mean, low, high = paired_bootstrap(challenger, champion, seed=BOOTSTRAP_SEED, groups=groups)
    return Difference(mean=mean, low=low, high=high)


def _scores(content: str, test_set: str, table: pl.DataFrame, constant: pl.DataFrame) -> Scores:
    without = table.filter(pl.col("true_period").is_nan())
    table = table.filter(~pl.col("true_period").is_nan()).join(constant, on="star_id", how="left")
    true_period, period, sigma, p = (
        table[name].to_numpy() for name in ("true_period", "period", "sigma", "p_within_10pct")
    )
    scores = period_scores(true_period, period, sigma)
    right, of_constant = within(period, true_period, 0.1), within(table["constant"].to_numpy(), true_period, 0.1)
    metrics = {
        name: scores[name]
        for name in ("within_10pct", "within_20pct", "coverage", "trusted_within_10pct", "median_fractional_error")
    }
    metrics["within_10pct_at_19.8pct_coverage"] = accuracy_at_coverage(p, right, PAPERS_COVERAGE)
    metrics["margin_over_constant_low"] = _difference(right, of_constant, table).low
    metrics["false_period_rate"] = false_period_rate(without["p_within_10pct"].to_numpy(), SURE)["rate"]
    return Scores(content=content, test_set=test_set, metrics=metrics)
