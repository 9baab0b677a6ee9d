"""What simple methods say of the test set, so that a network's score can be read.

Global Lomb-Scargle, with three harmonics, and of the light curve cleaned and without its trend; the brightest row of
the chunked map, as published, without its factor 1/dt, and that of the cleaned light curve; and the best constant: the
one period that is within 10% of most training examples, which needs no light curve at all.

The map's trial periods are evenly spaced in ln P, 2.7% apart from 1 to 30 d. The paper's are evenly spaced in P, by
0.23 d: a quarter of the shortest, where a period must be within a tenth.
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

from .cleaning import clean, without_trend
from .scores import best_constant, period_scores, within
from .verdict import fraction_interval

NODES, PERIODS, TRADEOFF = 128, 128, 2.0
HARMONICS = 3
TREND = 40.0  # [d]; what changes more slowly is removed from a cleaned light curve
METHODS = {
    "lomb_scargle": "Lomb-Scargle",
    "lomb_scargle_3_harmonics": "Lomb-Scargle, 3 harmonics",
    "lomb_scargle_cleaned": "Lomb-Scargle, cleaned",
    "chunked_argmax": "chunked argmax",
    "chunked_argmax_delta_chi2": "chunked argmax, delta chi2",
    "chunked_argmax_cleaned": "chunked argmax, delta chi2, cleaned",
    "constant": "best constant",
}


def chunked_argmax(lightcurves: LightCurves, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """The period of the brightest row of the chunked map, summed over time: as published, and as delta chi^2.

    Returns
    -------
    two arrays of shape (n,) [d].
    """
    periods = np.geomspace(*survey.period_range, PERIODS)
    transform = ChunkedTransform(periods, np.linspace(*survey.window, NODES), TRADEOFF)
    best = np.empty((2, len(lightcurves)))
    for i in range(len(lightcurves)):
        star = lightcurves.star(i)
        power = transform(star["time"], star["flux"], star["flux_err"]).sum(axis=0)
        best[:, i] = periods[np.argmax(power)], periods[np.argmax(power * periods)]
    return best[0], best[1]


def _baseline_shard(item: tuple[Path, Survey]) -> pl.DataFrame:
    path, survey = item
    light_curves = read_shard(path)
    published, delta_chi2 = chunked_argmax(light_curves, survey)
    cleaned = without_trend(clean(light_curves), TREND)
    return pl.DataFrame(
        {
            "star_id": list(light_curves.star_id),
            "lomb_scargle": _highest_peak(light_curves, survey),
            "lomb_scargle_3_harmonics": _highest_peak(light_curves, survey, HARMONICS),
            "lomb_scargle_cleaned": _highest_peak(cleaned, survey),
            "chunked_argmax": published,
            "chunked_argmax_delta_chi2": delta_chi2,
            "chunked_argmax_cleaned": chunked_argmax(cleaned, survey)[1],
        }
    )


def _highest_peak(lightcurves: LightCurves, survey: Survey, n_terms: int = 1) -> np.ndarray:
    """The period [d] of each star's highest peak, shape (n,)."""
    time, flux, flux_err = (lightcurves[name] for name in ("time", "flux", "flux_err"))
    return lombscargle_peak_batch(time, flux, flux_err, lightcurves.offsets, *survey.period_range, n_terms=n_terms)[0]


def build_baselines(injected: Path, survey: Survey, engine: Engine | None = None) -> pl.DataFrame:
    """The baselines' periods [d] of a sample's test set, one column each, one row per star.

    Raises
    ------
    DataError
        When the test or the training split is empty, no training example has a period, or a part is damaged.
    """
    items = [(path, survey) for path in sorted((injected / "test").glob("part-*.parquet"))]
    done = run_all(_baseline_shard, items, engine, "baselines", lambda item: item[0])
    parts = [part for _, part in done]
    training = pl.read_parquet(injected / "train/truth.parquet", glob=False)["period_days"].drop_nulls()
    for split, what, examples in (("test", "examples", parts), ("train", "examples with a period", training)):
        if not len(examples):
            raise DataError(f"{injected / split}: no {what}; the sample is too small for this split")
    constant = best_constant(training.to_numpy())
    return pl.concat(parts).sort("star_id").with_columns(constant=pl.lit(constant))


def baseline_scores(table: pl.DataFrame, truth: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The scores of the simple methods by their printed names.

    Parameters
    ----------
    table : as `build_baselines` gives it.
    truth : `star_id`, `template` and `period_days` of these stars or some of them; those without a period (null) are
        not scored. Intervals keep the examples of a template together.
    """
    both = table.join(truth.select("star_id", "template", "period_days").drop_nulls(), on="star_id")
    true_period, template = both["period_days"].to_numpy(), both["template"].to_numpy()
    scores = {}
    for column, label in METHODS.items():
        period = both[column].to_numpy()
        scores[label] = period_scores(true_period, period)
        scores[label]["within_10pct_interval"] = fraction_interval(within(period, true_period, 0.1), template)
    return scores


def main(name: str) -> None:
    """The stage: sample `name` of params.yaml; each kind of star that has periods is scored by itself."""
    root = find_root()
    survey = read_section(root, f"surveys.{lookup(read_params(root), 'periods.survey')}", Survey)
    injected = root / "build/periods/injected" / name
    table = build_baselines(injected, survey)
    with atomic_path(root / "build/periods/baselines" / f"{name}.parquet") as temporary:
        table.write_parquet(temporary, compression="zstd")
    truth = pl.read_parquet(
        injected / "test/truth.parquet", columns=["star_id", "stars", "template", "period_days"], glob=False
    )
    kinds = truth.drop_nulls("period_days").partition_by("stars", as_dict=True)
    scores = {str(kind): baseline_scores(table, stars) for (kind,), stars in kinds.items()}
    write_json(root / "metrics/periods/baselines" / f"{name}.json", scores)
    print(f"{name}: {table.height} test stars")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
