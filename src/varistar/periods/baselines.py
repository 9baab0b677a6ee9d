"""What simple methods say of the test set, so that a network's score can be read.

Global Lomb-Scargle, the brightest row of the chunked map as published and without its factor 1/dt, and the best
constant: the one period that is within 10% of most training examples, which needs no light curve at all.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from varistar.bulk.engine import Engine, run_all
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_path, write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves
from varistar.spectra.chunked import ChunkedTransform
from varistar.spectra.periodogram import lombscargle_peak_batch
from varistar.surveys.definition import Survey

from .scores import best_constant, period_scores

NODES, PERIODS, TRADEOFF = 128, 128, 2.0
METHODS = {
    "lomb_scargle": "Lomb-Scargle",
    "chunked_argmax": "chunked argmax",
    "chunked_argmax_delta_chi2": "chunked argmax, delta chi2",
    "constant": "best constant",
}


def chunked_argmax(lightcurves: LightCurves, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """The period of the brightest row of the chunked map, summed over time: as published, and as delta chi^2.

    Returns
    -------
    two arrays of shape (n,) [d].
    """
    periods = np.linspace(*survey.period_range, PERIODS)
    transform = ChunkedTransform(periods, np.linspace(*survey.window, NODES), TRADEOFF)
    best = np.empty((2, len(lightcurves)))
    for i in range(len(lightcurves)):
        star = lightcurves.star(i)
        power = transform(star["time"], star["flux"], star["flux_err"]).sum(axis=0)
        best[:, i] = periods[np.argmax(power)], periods[np.argmax(power * periods)]
    return best[0], best[1]


def _baseline_shard(item: tuple[Path, Survey]) -> pl.DataFrame:
    path, survey = item
    light_curves = read_shard(path, columns=["time", "flux", "flux_err"])
    time, flux, flux_err = (light_curves[name] for name in ("time", "flux", "flux_err"))
    published, delta_chi2 = chunked_argmax(light_curves, survey)
    return pl.DataFrame(
        {
            "star_id": list(light_curves.star_id),
            "lomb_scargle": lombscargle_peak_batch(time, flux, flux_err, light_curves.offsets, *survey.period_range)[0],
            "chunked_argmax": published,
            "chunked_argmax_delta_chi2": delta_chi2,
        }
    )


def build_baselines(injected: Path, survey: Survey, engine: Engine | None = None) -> pl.DataFrame:
    """The baselines' periods [d] of a sample's test set, one column each, one row per star.

    Raises
    ------
    DataError
        When the test or the training split is empty, or a part of it is damaged.
    """
    items = [(path, survey) for path in sorted((injected / "test").glob("part-*.parquet"))]
    done = run_all(_baseline_shard, items, engine, "baselines", lambda item: item[0])
    parts = [part for _, part in done]
    training = pl.read_parquet(injected / "train/truth.parquet", glob=False)["period_days"].to_numpy()
    for split, examples in (("test", parts), ("train", training)):
        if not len(examples):
            raise DataError(f"{injected / split}: no examples; the sample is too small for this split")
    return pl.concat(parts).sort("star_id").with_columns(constant=pl.lit(best_constant(training)))


def baseline_scores(table: pl.DataFrame, truth: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The scores of the simple methods by their printed names.

    Parameters
    ----------
    table : as `build_baselines` gives it.
    truth : `star_id` and `period_days` of the same stars.
    """
    both = table.join(truth.select("star_id", "period_days"), on="star_id", how="left")
    true_period = both["period_days"].to_numpy()
    return {label: period_scores(true_period, both[column].to_numpy()) for column, label in METHODS.items()}


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml."""
    root = find_root()
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    injected = root / "build/periods/injected" / name
    table = build_baselines(injected, survey)
    with atomic_path(root / "build/periods/baselines" / f"{name}.parquet") as temporary:
        table.write_parquet(temporary, compression="zstd")
    scores = baseline_scores(table, pl.read_parquet(injected / "test/truth.parquet", glob=False))
    write_json(root / "metrics/periods/baselines" / f"{name}.json", scores)
    print(f"{name}: {table.height} test stars")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
