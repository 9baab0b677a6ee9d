"""How often stars flare: star by star, by temperature and age, and by the size of the flares.

Every event counts as much as its probability is: an event of p = 0.5 is half a flare (section 4.1 of the paper). A rate
is the sum of probabilities over the days that were searched, and stars that were searched in vain count with theirs.

Two intervals stand beside a rate of several stars. `rate_low` and `rate_high` are Poisson's, the uncertainty of the
count. `stars_low` and `stars_high` draw the stars again: where few stars make most of the flares, as they do, that is
much wider, and is what another sample of such stars would give.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import Settings

from .frequency import Completeness, FlareSample, FrequencySettings, poisson_interval
from .groups import AGE_EDGES, label_bins
from .power_law import fit_slope

Array = NDArray[np.float64]

#: Edges of the temperature bins [K]. The paper's are lost but for 2300, 4000, where Fig. 14 splits, and 6200, the Kraft
#: break; those between are ours.
TEFF_EDGES = (2300.0, 3200.0, 4000.0, 5000.0, 6200.0, math.inf)
COOL_AND_HOT = (2300.0, 4000.0, math.inf)

STAR_COLUMNS = {
    "star_id": pl.String,
    "searched_days": pl.Float64,
    "n_events": pl.Int64,
    "n_flares": pl.Float64,
    "rate_per_day": pl.Float64,
    "rate_low": pl.Float64,
    "rate_high": pl.Float64,
    "mean_amplitude": pl.Float64,
    "largest_amplitude": pl.Float64,
    "largest_size": pl.Float64,
    "alpha": pl.Float64,
    "alpha_low": pl.Float64,
    "alpha_high": pl.Float64,
    "alpha_flares": pl.Float64,
}


class RateSettings(Settings):
    """How rates are counted.

    Attributes
    ----------
    size : column of the events that says how large a flare is, for the power law and the largest flare.
    frequency : of the power law; its level is that of all intervals.
    teff_edges, age_edges : of the bins [K, Myr], ascending.
    resamples, seed : of the bootstrap by star.
    """

    size: str = "equivalent_duration_s"
    frequency: FrequencySettings = Field(default_factory=FrequencySettings)
    teff_edges: tuple[float, ...] = TEFF_EDGES
    age_edges: tuple[float, ...] = AGE_EDGES
    resamples: int = Field(default=1000, ge=1)
    seed: int = 0


def star_rates(
    stars: pl.DataFrame,
    events: pl.DataFrame,
    settings: RateSettings | None = None,
    completeness: dict[str, Completeness] | None = None,
) -> pl.DataFrame:
    """One row per star, in the order of `stars`, with the columns of `STAR_COLUMNS`.

    Parameters
    ----------
    stars : `star_id` and `searched_days` [d], one row per star that was searched, with flares or without.
    events : `star_id`, `p`, `amplitude` and the column of `settings.size`; others are ignored. Amplitudes and sizes may
        be null where a flare could not be measured: it counts in the rate, but not in the means or the law.
    completeness : of stars by `star_id`, chance to find a flare of a size; without it a star has a power law only if
        `settings.frequency.lowest` says where it begins.

    Returns
    -------
    n_flares is the sum of p; the mean amplitude is weighted by p; the largest are of events with p of at least 0.5;
    alpha_flares is the sum of p that the power law rests on. Null where there is nothing to say.

    Raises
    ------
    DataError
        When a column is missing, a star stands twice, days are not positive, p is not between 0 and 1, or an event's
        star was not searched.
    """
    settings = settings or RateSettings()
    check_tables(stars, events, settings.size)
    measured = pl.col("amplitude").is_not_null()
    likely = pl.col("p") >= 0.5
    counted = events.group_by("star_id").agg(
        n_events=pl.len().cast(pl.Int64),
        n_flares=pl.col("p").sum(),
        mean_amplitude=_weighted_mean("amplitude", measured),
        largest_amplitude=pl.col("amplitude").filter(likely).max(),
        largest_size=pl.col(settings.size).filter(likely).max(),
    )
    table = stars.select("star_id", pl.col("searched_days").cast(pl.Float64)).join(
        counted, on="star_id", how="left", maintain_order="left"
    )
    table = table.with_columns(pl.col("n_events", "n_flares").fill_null(0))
    table = _with_rate(table, settings.frequency.level)
    laws = _star_laws(table, events, settings, completeness or {})
    return pl.concat([table, laws], how="horizontal").select(pl.col(c).cast(t) for c, t in STAR_COLUMNS.items())


def rates_by_group(
    stars: pl.DataFrame, events: pl.DataFrame, by: Sequence[str], settings: RateSettings | None = None
) -> pl.DataFrame:
    """Rates and mean amplitudes of the stars that share the columns `by`, such as `teff_bin` and `age_bin`.

    Parameters
    ----------
    stars : as `star_rates`, with the columns `by` (`with_bins` adds them); stars with a null among them are left out.
    events : as `star_rates`.

    Returns
    -------
    One row per group that has stars, sorted: `by`, `n_stars`, `n_flaring` (with half a flare or more), `searched_days`,
    `n_flares`, `rate_per_day`, `rate_low`, `rate_high`, `stars_low`, `stars_high`, `mean_amplitude`.

    Raises
    ------
    DataError
        As `star_rates`.
    """
    settings = settings or RateSettings()
    check_tables(stars, events, settings.size, by)
    stars = stars.select("star_id", "searched_days", *by).drop_nulls(list(by))
    per_star = events.group_by("star_id").agg(
        n=pl.col("p").sum(),
        weight=pl.col("p").filter(pl.col("amplitude").is_not_null()).sum(),
        light=(pl.col("p") * pl.col("amplitude")).sum(),
    )
    joined = stars.join(per_star, on="star_id", how="left").with_columns(pl.col("n", "weight", "light").fill_null(0.0))
    groups = joined.group_by(by).agg(
        n_stars=pl.len().cast(pl.Int64),
        n_flaring=(pl.col("n") >= 0.5).sum().cast(pl.Int64),
        searched_days=pl.col("searched_days").sum(),
        n_flares=pl.col("n").sum(),
        mean_amplitude=pl.when(pl.col("weight").sum() > 0.0).then(pl.col("light").sum() / pl.col("weight").sum()),
        counts=pl.col("n"),
        days=pl.col("searched_days"),
    )
    groups = _with_rate(groups.sort(by), settings.frequency.level)
    spread = [
        _rate_of_other_stars(np.array(count), np.array(days), settings)
        for count, days in groups.select("counts", "days").iter_rows()
    ]
    spread_columns = {"stars_low": [low for low, _ in spread], "stars_high": [high for _, high in spread]}
    groups = groups.with_columns(pl.Series(name, values, dtype=pl.Float64) for name, values in spread_columns.items())
    last = ("rate_per_day", "rate_low", "rate_high", "stars_low", "stars_high", "mean_amplitude")
    return groups.select(*by, "n_stars", "n_flaring", "searched_days", "n_flares", *last)


def rates_by_size(
    stars: pl.DataFrame,
    events: pl.DataFrame,
    by: Sequence[str],
    edges: Sequence[float],
    settings: RateSettings | None = None,
) -> pl.DataFrame:
    """The paper's Figs. 13 and 14: flares a day in bins of size, in each group of stars; uncorrected.

    Parameters
    ----------
    stars, events, by : as `rates_by_group`.
    edges : of the sizes, ascending; events outside are left out.

    Returns
    -------
    One row per group and bin, empty bins included: `by`, `size_low`, `size_high`, `n_stars`, `searched_days`,
    `n_flares`, `rate_per_day`, `rate_low`, `rate_high`.

    Raises
    ------
    DataError
        As `star_rates`.
    ConfigError
        When there are fewer than two edges, or they do not ascend.
    """
    settings = settings or RateSettings()
    check_tables(stars, events, settings.size, by)
    if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
        raise ConfigError("edges of flare sizes must be two or more and ascend")
    stars = stars.select("star_id", "searched_days", *by).drop_nulls(list(by))
    groups = stars.group_by(by).agg(n_stars=pl.len().cast(pl.Int64), searched_days=pl.col("searched_days").sum())
    bins = pl.DataFrame({"size_low": edges[:-1], "size_high": edges[1:]}, schema_overrides={"size_low": pl.Float64})
    bins = bins.with_columns(pl.col("size_high").cast(pl.Float64), bin=pl.int_range(pl.len()))
    size = pl.col(settings.size)
    inside = events.filter((size >= edges[0]) & (size < edges[-1])).with_columns(
        bin=pl.lit(np.array(edges)).search_sorted(size, side="right").cast(pl.Int64) - 1
    )
    counts = inside.join(stars, on="star_id").group_by([*by, "bin"]).agg(n_flares=pl.col("p").sum())
    table = groups.join(bins, how="cross").join(counts, on=[*by, "bin"], how="left")
    table = table.with_columns(pl.col("n_flares").fill_null(0.0)).sort([*by, "bin"]).drop("bin")
    columns = (*by, "size_low", "size_high", "n_stars", "searched_days", "n_flares")
    return _with_rate(table.select(columns), settings.frequency.level)


def with_bins(stars: pl.DataFrame, settings: RateSettings | None = None) -> pl.DataFrame:
    """The stars with `teff_bin` and `age_bin`, from `teff` [K] and `age_myr`; null where those are unknown or outside.

    Raises
    ------
    DataError
        When a column is missing.
    """
    settings = settings or RateSettings()
    _need(stars, ("teff", "age_myr"), "the stars")
    return stars.with_columns(
        teff_bin=label_bins(pl.col("teff").cast(pl.Float64), settings.teff_edges),
        age_bin=label_bins(pl.col("age_myr").cast(pl.Float64), settings.age_edges),
    )


def largest_flares(events: pl.DataFrame, n: int = 20, size: str = "amplitude", least_p: float = 0.5) -> pl.DataFrame:
    """The superflares: the `n` largest events that are at least as probable as `least_p`, largest first.

    All columns of the events stay. A tie is broken by star and peak, so that the list does not depend on their order.

    Raises
    ------
    DataError
        When a column is missing.
    """
    _need(events, ("star_id", "tpeak", "p", size), "the events")
    likely = events.filter((pl.col("p") >= least_p) & pl.col(size).is_not_null())
    return likely.sort([size, "star_id", "tpeak"], descending=[True, False, False]).head(n)


# ---------------------------------------------------------------------------------------------------------------------
# Shared by the tables


def check_tables(stars: pl.DataFrame, events: pl.DataFrame, size: str, by: Sequence[str] = ()) -> None:
    """Refuse tables that would give a wrong rate without a word; see `star_rates`.

    Raises
    ------
    DataError
        Naming the first mistake.
    """
    _need(stars, ("star_id", "searched_days", *by), "the stars")
    _need(events, ("star_id", "p", "amplitude", size), "the events")
    twice = stars.filter(pl.col("star_id").is_duplicated())
    if len(twice):
        raise DataError(f"star {twice['star_id'][0]} stands twice in the table of searched stars")
    days = pl.col("searched_days")
    idle = stars.filter(days.is_null() | days.is_nan() | days.is_infinite() | (days <= 0.0))
    if len(idle):
        raise DataError(
            f"star {idle['star_id'][0]}: the days searched must be positive, got {idle['searched_days'][0]}"
        )
    p = pl.col("p")
    wrong = events.filter(p.is_null() | p.is_nan() | (p < 0.0) | (p > 1.0))
    if len(wrong):
        raise DataError(f"star {wrong['star_id'][0]}: a probability must lie between 0 and 1, got {wrong['p'][0]}")
    strangers = events.join(stars, on="star_id", how="anti")
    if len(strangers):
        raise DataError(f"star {strangers['star_id'][0]} has flares, but is not among the stars that were searched")


def _need(table: pl.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{what} need the column '{missing[0]}'")


def _weighted_mean(column: str, where: pl.Expr) -> pl.Expr:
    """Mean weighted by p, null without weight."""
    weight = pl.col("p").filter(where).sum()
    return pl.when(weight > 0.0).then((pl.col("p") * pl.col(column)).filter(where).sum() / weight)


def _with_rate(table: pl.DataFrame, level: float) -> pl.DataFrame:
    """The table with `rate_per_day`, `rate_low` and `rate_high` from `n_flares` and `searched_days`."""
    days = table["searched_days"].to_numpy()
    low, high = poisson_interval(table["n_flares"].to_numpy(), level)
    return table.with_columns(
        rate_per_day=pl.col("n_flares") / pl.col("searched_days"),
        rate_low=pl.Series(low / days, dtype=pl.Float64),
        rate_high=pl.Series(high / days, dtype=pl.Float64),
    )


def _star_laws(
    stars: pl.DataFrame, events: pl.DataFrame, settings: RateSettings, completeness: dict[str, Completeness]
) -> pl.DataFrame:
    """The power law of each star, in their order; null where there is too little, or nothing says where it begins."""
    sized = events.filter(pl.col(settings.size) > 0.0).select("star_id", settings.size, "p")
    parts = {str(key[0]): part for key, part in sized.partition_by("star_id", as_dict=True).items()}
    rows: list[tuple[float | None, ...]] = []
    for star, days in stars.select("star_id", "searched_days").iter_rows():
        found = completeness.get(star)
        if star not in parts or (found is None and settings.frequency.lowest is None):
            rows.append((None,) * 4)
            continue
        size, p = parts[star][settings.size].to_numpy(), parts[star]["p"].to_numpy()
        sample = FlareSample(size.astype(np.float64), p.astype(np.float64), days, found, star)
        law = fit_slope([sample], settings.frequency)
        rows.append((None,) * 4 if law is None else (law.alpha, law.low, law.high, law.n))
    names = ("alpha", "alpha_low", "alpha_high", "alpha_flares")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")


def _rate_of_other_stars(count: Array, days: Array, settings: RateSettings) -> tuple[float | None, float | None]:
    """Percentiles of the group's rate when its stars are drawn again; null for a single star, which says nothing."""
    if len(count) < 2:
        return None, None
    rng = np.random.default_rng(settings.seed)
    times = rng.multinomial(len(count), np.full(len(count), 1.0 / len(count)), size=settings.resamples)
    level = settings.frequency.level
    low, high = np.quantile((times @ count) / (times @ days), [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    return float(low), float(high)
