"""Evaluate a variant on the frozen test sets of all samples, along the path that prediction takes.

The test light curves are measured from the table, as a catalog's are, so what is scored is what is served. Each kind of
star on each sample is a test of its own, named `sample/stars`. The scores go into `metrics/` and to the variant's
MLflow run, with the figures and the packaged model.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from varistar.experiments.content import content_hash
from varistar.experiments.publish import publish
from varistar.figures.experiments import coverage_figure, reliability_figure, thresholds_figure
from varistar.figures.periods import loss_figure, predicted_figure
from varistar.figures.style import save_figure
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_path, folder_hash, write_json
from varistar.foundation.params import find_root, lookup, read_params

from .example import example_figures
from .measure import WING, served_network
from .measured import measure_split
from .reliability import pit_histogram, reliability_table, risk_coverage
from .scores import period_scores, within
from .variants import read_variant, section_of
from .verdict import members_scores, mixture_scores, scores_of, split_by_stars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The scores of what every rebuild trains, and those of the study.
REPORTS = {"variants": "metrics/periods", "study": "metrics/study"}


def evaluate_variant(
    content: Path, members: Path, injected: Path, samples: list[str], accelerator: Accelerator = "auto"
) -> tuple[dict[str, pl.DataFrame], dict[str, dict[str, Any]]]:
    """Measure and score a variant on every test.

    Parameters
    ----------
    content : folder of the calibrated model.
    members : folder of its members' contents, as `train_variant` writes it.
    injected : folder of the injected samples.

    Returns
    -------
    by `sample/stars`, the measurements, and the scores; `members` among these holds what each network scores by itself,
    with its own widths.
    """
    each = sorted(members.iterdir(), key=lambda path: int(path.name))
    tables: dict[str, pl.DataFrame] = {}
    scores: dict[str, dict[str, Any]] = {}
    for sample in samples:
        measured = measure_split([content, *each], injected / sample, accelerator=accelerator)
        apart = [split_by_stars(table) for table in measured]
        version = folder_hash(injected / sample / "test")
        for stars, table in apart[0].items():
            test = f"{sample}/{stars}"
            tables[test] = table
            scores[test] = {"test_set": version} | scores_of(table)
            if not table["true_period"].is_nan().all():
                scores[test]["members"] = members_scores([member[stars] for member in apart[1:]])
    return tables, scores


def validation_score(content: Path, injected: Path, accelerator: Accelerator = "auto") -> float | None:
    """Fraction within 10% of a sample's validation stars with a period: what may be looked at to choose a variant."""
    (table,) = measure_split([content], injected, "validation", accelerator=accelerator)
    scores = period_scores(table["true_period"].to_numpy(), table["period"].to_numpy())
    return scores["within_10pct"]


def draw(table: pl.DataFrame, name: str) -> "dict[str, Figure]":
    """The figures of one test whose stars have periods."""
    true_period, period, sigma, p = (
        table[column].to_numpy() for column in ("true_period", "period", "sigma", "p_within_10pct")
    )
    right = within(period, true_period, 0.1)
    pit = pit_histogram(table["cumulative"].to_numpy())
    return {
        "predicted": predicted_figure(table, name),
        "coverage": coverage_figure({name: risk_coverage(p, right)}, name),
        "reliability": reliability_figure(reliability_table(p, right), p, pit, name),
        "thresholds": thresholds_figure(sigma, period, true_period, name),
    }


def _test_to_draw(scores: Mapping[str, dict[str, Any]], sample: str) -> str:
    """The largest test of stars with a period, on this sample where it has one."""
    with_period = [test for test in scores if "within_10pct" in scores[test]]
    own = [test for test in with_period if test.partition("/")[0] == sample]
    return max(own or with_period, key=lambda test: scores[test]["n"])


def _numbers(scores: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among nested scores, with their keys joined."""
    found: dict[str, float] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, float | int):
            found[f"{prefix}{key}".replace("<", "below ").replace(">=", "from ")] = value
        elif key.endswith("_interval") and value is not None:
            found |= _numbers(dict(zip(("low", "high"), value, strict=True)), f"{prefix}{key}.")
    return found


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    params = read_params(root)
    variant = read_variant(root, name)
    build, accelerator = root / "build/periods", lookup(params, "accelerator")
    content, injected = build / "calibrated" / name, build / "injected"
    samples, chosen_on = lookup(params, "periods.tests"), lookup(params, "periods.promotion.sample")
    tables, scores = evaluate_variant(content, build / "networks" / name, injected, samples, accelerator)
    everything = pl.concat([table.with_columns(test=pl.lit(test)) for test, table in tables.items()])
    with atomic_path(build / "measured" / f"{name}.parquet") as temporary:
        everything.write_parquet(temporary, compression="zstd")
    (calibration,) = measure_split([content], injected / chosen_on, "calibration", accelerator=accelerator)
    of_sample = everything.filter(pl.col("test").str.starts_with(f"{chosen_on}/"))
    mixture = {"sample": chosen_on} | mixture_scores(calibration, of_sample)
    report = {
        "content": content_hash(content),
        "sample": variant.sample,
        "target": variant.target,
        "validation_within_10pct": validation_score(content, injected / chosen_on, accelerator),
        "mixture": mixture,
    }
    write_json(root / REPORTS[section_of(root, name)] / f"{name}.json", report | {"tests": scores})
    shown_on = variant.sample if variant.sample in samples else chosen_on
    drawn = _test_to_draw(scores, shown_on)
    figures = {
        "loss": loss_figure(pl.read_parquet(build / "histories" / f"{name}.parquet", glob=False), name),
        **example_figures(content, injected / shown_on, variant.representation, accelerator),
        **draw(tables[drawn], f"{name}, {drawn}"),
    }
    folder = root / "build/figures/periods" / name
    for key, figure in figures.items():
        save_figure(figure, folder / f"{key}.png")
    numbers = {
        f"{test}/{key}": value
        for test, of_test in (scores | {"mixture": mixture}).items()
        for key, value in _numbers(of_test).items()
    }
    publish(root, WING, name, build / "networks" / name, content, numbers, folder, served_network)
    for test, of_test in scores.items():
        if "within_10pct" in of_test:
            print(f"{name}: {of_test['within_10pct']:.3f} of {of_test['n']} stars of {test} are within 10%")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
