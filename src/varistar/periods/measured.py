"""Measurements of injected stars beside their truth, by one or several models that read the same arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.splits import Split
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard

from .measure import PeriodMeter
from .network import CalibratedNetwork
from .reliability import crps_of_histogram

#: Of the truth, with the names in a table of measurements.
TRUTH = {
    "period_days": "true_period",
    "effective_period_days": "shown_period",
    "stars": "stars",
    "templates": "templates",
    "template": "template",
    "amplitude": "amplitude",
    "template_flux": "template_flux",
    "template_scatter": "template_scatter",
}
#: Edges in ln(period [d]) of the histogram that predicted distributions are compared in, of whatever head.
LN_EDGES = np.linspace(np.log(0.25), np.log(120.0), 401)


def measure_split(
    contents: Sequence[Path],
    injected: Path,
    split: Split = "test",
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> list[pl.DataFrame]:
    """Each model's measurements of a sample's split beside the truth, one row per star, sorted by star.

    Parameters
    ----------
    contents : folders of models with one representation.

    Returns
    -------
    for each model the columns of `PeriodMeter.measure` and `TRUTH` (periods NaN where there is none), and where there
    is one `cumulative`, the predicted probability that the period is at most the true one, and `crps` in ln(period).

    Raises
    ------
    DataError
        When the split is empty, or a part of it is damaged.
    """
    parts = sorted((injected / split).glob("part-*.parquet"))
    items = [(tuple(contents), path, accelerator) for path in parts]
    done = run_all(_measure_shard, items, engine, f"{split} set", lambda item: item[1])
    measured = [tables for _, tables in done]
    if not measured:
        raise DataError(f"{injected / split}: the {split} set is empty; the sample is too small for this split")
    return [pl.concat(tables).sort("star_id") for tables in zip(*measured, strict=True)]


def _measure_shard(item: tuple[tuple[Path, ...], Path, Accelerator]) -> list[pl.DataFrame]:
    contents, path, accelerator = item
    torch.set_num_threads(1)
    meters = [PeriodMeter.of_folder(content, accelerator) for content in contents]
    light_curves = read_shard(path)
    truth = pl.read_parquet(path.with_name("truth.parquet"), columns=["star_id", *TRUTH], glob=False).rename(TRUTH)
    truth = truth.with_columns(pl.col("true_period", "shown_period").cast(pl.Float64).fill_null(np.nan))
    arrays = meters[0].arrays(light_curves)
    tables = []
    for meter in meters:
        raw = meter.raw(arrays)
        table = meter.measure(light_curves, raw).join(truth, on="star_id", how="left", maintain_order="left")
        cumulative, crps = _against_truth(meter.network.cpu(), raw, table["true_period"].to_numpy())
        tables.append(table.with_columns(cumulative=pl.Series(cumulative), crps=pl.Series(crps)))
    return tables


def _against_truth(network: CalibratedNetwork, raw: Tensor, true_period: NDArray) -> tuple[NDArray, NDArray]:
    """Where the truth lies in each predicted distribution, and the score of that; NaN where there is no period."""
    head, stretch = network.network.head, network.stretch
    known = torch.from_numpy(true_period.astype(np.float32))
    edges = torch.from_numpy(np.exp(LN_EDGES).astype(np.float32)).expand(len(known), -1)
    below = head.cumulative(raw, stretch, edges).numpy().astype(np.float64)
    below[:, 0], below[:, -1] = 0.0, 1.0
    probabilities = np.diff(below, axis=1).clip(min=0)
    crps = crps_of_histogram(probabilities, LN_EDGES, np.log(true_period))
    cumulative = head.cumulative(raw, stretch, torch.nan_to_num(known, nan=1.0)).numpy().astype(np.float64)
    return np.where(np.isnan(true_period), np.nan, cumulative), crps
