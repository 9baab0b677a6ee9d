"""The columns of a period catalog, their units and meaning, and the bits of its flags."""

from enum import IntFlag
from typing import NamedTuple

import numpy as np
import polars as pl

from varistar.surveys.definition import Survey

TRUSTED = 0.5  # of p_within_10pct: more probably right than not
AMBIGUOUS = 0.5  # of the second candidate's probability, in units of the first's
EDGE = 0.02


class CatalogColumn(NamedTuple):
    """One column: its polars type, unit and meaning."""

    dtype: type[pl.DataType]
    unit: str
    meaning: str


CATALOG: dict[str, CatalogColumn] = {
    "star_id": CatalogColumn(pl.String, "", "the star's id in its survey"),
    "period": CatalogColumn(pl.Float64, "d", "period"),
    "sigma": CatalogColumn(pl.Float64, "d", "calibrated standard deviation of the period"),
    "fractional_uncertainty": CatalogColumn(pl.Float64, "", "sigma / period"),
    "p_within_10pct": CatalogColumn(pl.Float64, "", "predicted probability that the period is right within 10%"),
    "period_low": CatalogColumn(pl.Float64, "d", "the period is longer with a probability of 84%, if there is one"),
    "period_high": CatalogColumn(pl.Float64, "d", "the period is shorter with a probability of 84%, if there is one"),
    "p_no_period": CatalogColumn(pl.Float64, "", "predicted probability that there is no period in the range"),
    "second_period": CatalogColumn(pl.Float64, "d", "second candidate, more than 20% from the first"),
    "second_p": CatalogColumn(pl.Float64, "", "predicted probability that the second candidate is right within 10%"),
    "p_half": CatalogColumn(pl.Float64, "", "predicted probability that half the period is right within 10%"),
    "p_double": CatalogColumn(pl.Float64, "", "predicted probability that twice the period is right within 10%"),
    "n_points": CatalogColumn(pl.Int64, "", "points of the light curve after the cuts"),
    "flags": CatalogColumn(pl.Int32, "", "sum of the bits of `Flag`; 0 is a star with nothing to remark"),
    "model": CatalogColumn(pl.String, "", "content hash of the model, SHA-256"),
}


class Flag(IntFlag):
    """What a user of a row should know.

    `UNTRUSTED` p_within_10pct of one half or less, or unknown. `ALIAS` the period lies at an alias of the survey's
    sampling. `EDGE` it lies within 2% of an end of the searched range, or beyond it. `FEW_POINTS` fewer than twice the
    points that the cuts ask for. `AMBIGUOUS` the second candidate is at least half as probable.
    """

    UNTRUSTED = 1
    ALIAS = 2
    EDGE = 4
    FEW_POINTS = 8
    AMBIGUOUS = 16


def flag(table: pl.DataFrame, survey: Survey) -> pl.Series:
    """The flags of measured stars, one integer for each row of `table` (see `CATALOG`)."""
    period = table["period"].to_numpy()
    low, high = np.array(list(survey.aliases.values())).reshape(-1, 2).T
    shortest, longest = survey.period_range
    near_alias = ((low <= period[:, None]) & (period[:, None] <= high)).any(axis=1)
    bits = np.zeros(len(period), dtype=np.int32)
    p, second_p = (table[name].to_numpy() for name in ("p_within_10pct", "second_p"))
    bits[~(p > TRUSTED)] |= Flag.UNTRUSTED
    bits[second_p > AMBIGUOUS * p] |= Flag.AMBIGUOUS
    bits[near_alias] |= Flag.ALIAS
    bits[(period <= shortest * (1 + EDGE)) | (period >= longest * (1 - EDGE))] |= Flag.EDGE
    bits[table["n_points"].to_numpy() < 2 * survey.cuts.min_points] |= Flag.FEW_POINTS
    return pl.Series("flags", bits, dtype=pl.Int32)
