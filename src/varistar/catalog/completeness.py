"""How complete and how pure is a catalog? A simulated survey can tell, since its truth is known.

Definitions (ours), for every star of the truth:

- It has a *signal* when `period_days` is not null: constant, clump and irregular stars and quasars have none. The truth
  may say a second period, `shown_period_days`: spots away from the equator show one longer than the equator's. Where
  that column or a value of it is missing, the shown period is `period_days`.
- It has a period *in range* when a true period lies in the range that the survey searches, ends included.
- It is *reported* when it has a row in the catalog and is trusted (no bit `UNTRUSTED`). The second variant, *clean*,
  also asks for neither `ALIAS` nor `EDGE`.
- It is *right* when the catalog's period is within 10% of a true period in range: the equatorial, the shown, or
  *either*; the last is meant where nothing else is said. A reported star that is not right is false, and so is every
  reported star without a signal or with its periods out of range.

    completeness      = reported and right / stars with a period in range, whether they have a row or not
    purity            = reported and right / reported
    false-period rate = reported / stars with a row, among those without a signal

Fractions come with 95% Wilson intervals. Where nothing was counted, a fraction is null and its interval 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from varistar.figures.catalog import completeness_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, DataError, one_sentence
from varistar.foundation.files import atomic_path, write_json
from varistar.foundation.intervals import wilson_interval
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.periods.scores import PERIOD_EDGES
from varistar.surveys.definition import Survey

from .columns import CatalogColumn
from .truth import CONFUSIONS, REPORTED, RIGHT, confusion, judge, read_table

MAGNITUDES = tuple(range(4, 24))
AMPLITUDES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
POINTS = (100, 200, 400, 800, 1600, 3200)
CURVE = 200  # thresholds kept of a curve
NAMED = 3  # stars named of those that are missing

GROUPS: dict[str, CatalogColumn] = {
    "dimension": CatalogColumn(
        pl.String,
        "",
        "what the stars are grouped by: all, signal, kind, subtype, population, period (true), magnitude, amplitude, "
        "n_points, measured_period",
    ),
    "bin": CatalogColumn(pl.String, "", "the group; a lower edge belongs to its bin, an upper one to the next"),
    "n_stars": CatalogColumn(pl.Int64, "", "stars of the truth"),
    "n_with_period": CatalogColumn(pl.Int64, "", "of them with a true period in the searched range"),
    "n_in_catalog": CatalogColumn(pl.Int64, "", "of them with a row in the catalog"),
    "n_reported": CatalogColumn(pl.Int64, "", "of those, trusted"),
    "n_right": CatalogColumn(pl.Int64, "", "of those, within 10% of a true period in range"),
    "completeness": CatalogColumn(pl.Float64, "", "n_right / n_with_period"),
    "completeness_low": CatalogColumn(pl.Float64, "", "lower end of its 95% interval"),
    "completeness_high": CatalogColumn(pl.Float64, "", "upper end of its 95% interval"),
    "purity": CatalogColumn(pl.Float64, "", "n_right / n_reported"),
    "purity_low": CatalogColumn(pl.Float64, "", "lower end of its 95% interval"),
    "purity_high": CatalogColumn(pl.Float64, "", "upper end of its 95% interval"),
}
COUNTS = ("n_stars", "n_with_period", "n_in_catalog", "n_reported", "n_right")

CURVES: dict[str, CatalogColumn] = {
    "score": CatalogColumn(pl.String, "", "column of the catalog that decides, in the place of the flags"),
    "threshold": CatalogColumn(
        pl.Float64, "", "a star is reported up to this fractional_uncertainty, or from this p_within_10pct on"
    ),
    "n_reported": CatalogColumn(pl.Int64, "", "stars reported"),
    "n_right": CatalogColumn(pl.Int64, "", "of them right"),
    "completeness": CatalogColumn(pl.Float64, "", "n_right / stars with a period in range"),
    "purity": CatalogColumn(pl.Float64, "", "n_right / n_reported"),
}


@dataclass(frozen=True)
class Completeness:
    """What a catalog is worth.

    Attributes
    ----------
    groups : one row per group and bin, with the columns of `GROUPS`. The bins of a dimension part the stars: none is
        left out or counted twice. By what the catalog says (`n_points`, `measured_period`), stars without a row stand
        in a bin of their own.
    curves : purity against completeness as a threshold moves, with the columns of `CURVES`; at most `CURVE` thresholds
        of each score.
    summary : the headline numbers, rounded, plain values for JSON.
    """

    groups: pl.DataFrame
    curves: pl.DataFrame
    summary: dict[str, Any]


def measure_completeness(
    catalog: pl.DataFrame,
    refused: pl.DataFrame | None,
    truth: pl.DataFrame,
    period_range: tuple[float, float] = (1.0, 30.0),
) -> Completeness:
    """Judge a catalog by the truth.

    Parameters
    ----------
    catalog : one row per star, with `star_id`, `period` [d], `fractional_uncertainty`, `p_within_10pct`, `n_points` and
        `flags` (see `varistar.catalog.columns`). Stars that the truth does not know are counted and left out.
    refused : `star_id` of stars that were refused a row; None where no such table exists. Stars that stand in neither
        table are counted and named in the summary; they count as not reported.
    truth : one row per star, with `star_id` and `period_days` [d]; what there is of `shown_period_days` [d], `kind`,
        `subtype`, `population`, `g_mag` [mag] and `amplitude` [mag] is used.
    period_range : shortest and longest period searched [d].

    Raises
    ------
    ConfigError
        When the period range has no length.
    DataError
        When a column is missing or holds no numbers, a star stands twice in a table, a true period is not positive, the
        truth is empty, or catalog and truth share no star.
    """
    if not 0 < period_range[0] < period_range[1]:
        raise ConfigError(f"period_range must run from a shorter to a longer period, not {list(period_range)}")
    if refused is not None and "star_id" not in refused.columns:
        raise DataError(f"the table of the refused has no column 'star_id'; it has {', '.join(refused.columns)}")
    stars = judge(catalog, truth, period_range)
    groups = _all_groups(stars, period_range)
    curves = {
        "fractional_uncertainty": _curve(stars, "fractional_uncertainty", descending=False),
        "p_within_10pct": _curve(stars, "p_within_10pct", descending=True),
    }
    summary = {
        "period_range": list(period_range),
        **_accounts(stars, catalog, refused),
        **{name: _headline(stars, name) for name in REPORTED},
        "by_kind": _by_kind(groups),
        "confusion": _confusion(stars),
        "completeness_at_90pct_purity": {
            name: _round(curve.filter(pl.col("purity") >= 0.9)["completeness"].max() or 0.0)
            for name, curve in curves.items()
        },
    }
    return Completeness(groups, pl.concat([_thinned(curve) for curve in curves.values()]), summary)


def _all_groups(stars: pl.DataFrame, period_range: tuple[float, float]) -> pl.DataFrame:
    parts = [
        stars.group_by(bins.alias("bin"))
        .agg(**_counts("trusted", "either"))
        .sort("bin")
        .select(pl.lit(name).alias("dimension"), pl.col("bin").cast(pl.String), *COUNTS)
        for name, bins in _dimensions(stars, period_range).items()
    ]
    groups = pl.concat(parts)
    for fraction, among in (("completeness", "n_with_period"), ("purity", "n_reported")):
        low, high = wilson_interval(groups["n_right"], groups[among])
        groups = groups.with_columns(
            pl.when(pl.col(among) > 0).then(pl.col("n_right") / pl.col(among)).alias(fraction),
            pl.Series(f"{fraction}_low", low),
            pl.Series(f"{fraction}_high", high),
        )
    return groups.select(pl.col(name).cast(column.dtype) for name, column in GROUPS.items())


def _dimensions(stars: pl.DataFrame, period_range: tuple[float, float]) -> dict[str, pl.Series]:
    """Each star's bin in every dimension that the truth has, as an Enum in the order of reading."""
    shortest, longest = period_range
    inner = (edge for edge in PERIOD_EDGES if shortest < edge < longest)
    periods = (shortest, *inner, float(np.nextafter(longest, np.inf)))  # the longest period belongs to the range
    signal = (
        pl.when(pl.col("with_period_either")).then(pl.lit("in range"))
        .when(pl.col("true_period").is_not_null()).then(pl.lit("out of range")).otherwise(pl.lit("none"))
    )  # fmt: skip
    bins = {
        "all": _named(pl.Series(["all"] * stars.height)),
        "signal": stars.select(signal.cast(pl.Enum(["in range", "out of range", "none"]))).to_series(),
    }
    for column in ("kind", "subtype", "population"):
        if column in stars.columns:
            bins[column] = _named(stars[column])
    bins["period"] = _cut(stars["true_period"], periods, " d", "none")
    if "g_mag" in stars.columns:
        bins["magnitude"] = _cut(stars["g_mag"], MAGNITUDES, "", "unknown")
    if "amplitude" in stars.columns:
        bins["amplitude"] = _cut(stars["amplitude"], AMPLITUDES, "", "unknown")
    bins["n_points"] = _cut(stars["n_points"], POINTS, "", "no row")
    bins["measured_period"] = _cut(stars["period"], periods, " d", "no row")
    return bins


def _named(names: pl.Series) -> pl.Series:
    return names.cast(pl.Enum(names.unique().sort()))


def _cut(values: pl.Series, edges: tuple[float, ...], unit: str, without: str) -> pl.Series:
    """The bin of each value, `without` for null."""
    between = [f"{low:g}-{high:g}{unit}" for low, high in pairwise(edges)]
    labels = [f"below {edges[0]:g}{unit}", *between, f"above {edges[-1]:g}{unit}", without]
    places = np.where(values.is_null(), len(labels) - 1, np.digitize(values.to_numpy(), edges))
    return pl.Series(labels).gather(places).cast(pl.Enum(labels))


def _counts(reported: str, sense: str) -> dict[str, pl.Expr]:
    """What is counted of stars, by a variant of reported and a sense of right."""
    return {
        "n_stars": pl.len(),
        "n_with_period": pl.col(f"with_period_{sense}").sum(),
        "n_in_catalog": pl.col("in_catalog").sum(),
        "n_reported": pl.col(reported).sum(),
        "n_right": (pl.col(reported) & pl.col(f"right_{sense}")).sum(),
    }


def _curve(stars: pl.DataFrame, score: str, descending: bool) -> pl.DataFrame:
    """Purity and completeness at every threshold on a score, the surest star first; equal scores go together."""
    n_with_period = stars["with_period_either"].sum()
    measured = stars.filter("in_catalog").drop_nulls(score).sort(score, descending=descending)
    curve = measured.select(
        score=pl.lit(score),
        threshold=pl.col(score),
        n_reported=pl.int_range(1, pl.len() + 1),
        n_right=pl.col("right_either").cast(pl.Int64).cum_sum(),
    )
    curve = curve.filter((pl.col("threshold") != pl.col("threshold").shift(-1)).fill_null(True))
    return curve.with_columns(
        completeness=pl.when(n_with_period > 0).then(pl.col("n_right") / n_with_period),
        purity=pl.col("n_right") / pl.col("n_reported"),
    ).select(pl.col(name).cast(column.dtype) for name, column in CURVES.items())


def _thinned(curve: pl.DataFrame) -> pl.DataFrame:
    """Thresholds of a curve in geometric steps, since little happens where most stars are reported already."""
    if not curve.height:
        return curve
    return curve[np.unique(np.geomspace(1, curve.height, CURVE).round().astype(int)) - 1]


def _accounts(stars: pl.DataFrame, catalog: pl.DataFrame, refused: pl.DataFrame | None) -> dict[str, Any]:
    """Where the stars of the truth are, and how many of the catalog it does not know."""
    without = stars.filter(~pl.col("in_catalog"))["star_id"]
    missing = (
        without if refused is None else without.filter(~without.is_in(refused["star_id"].cast(pl.String).implode()))
    )
    n_in_catalog = stars.height - len(without)
    return {
        "n_stars": stars.height,
        "n_in_catalog": n_in_catalog,
        "n_refused": len(without) - len(missing),
        "n_missing": len(missing),
        "missing": missing.head(NAMED).to_list(),
        "n_unknown_to_truth": catalog.height - n_in_catalog,
    }


def _headline(stars: pl.DataFrame, reported: str) -> dict[str, Any]:
    """Completeness and purity of the whole catalog, by each sense of right, and the false periods."""
    numbers: dict[str, Any] = {}
    for sense in RIGHT:
        counts = stars.select(**_counts(reported, sense)).row(0, named=True)
        right, n_with_period, n_reported = (counts[name] for name in ("n_right", "n_with_period", "n_reported"))
        numbers[f"right_{sense}"] = {
            "n_right": right,
            "n_with_period": n_with_period,
            **_fraction("completeness", right, n_with_period),
            **_fraction("purity", right, n_reported),
        }
    either = numbers.pop("right_either")
    silent = stars.filter(pl.col("true_period").is_null())
    beyond = stars.filter(pl.col("true_period").is_not_null() & ~pl.col("with_period_either"))
    return {
        "n_reported": int(stars[reported].sum()),
        **either,
        **numbers,
        **_fraction("false_period_rate", int(silent[reported].sum()), int(silent["in_catalog"].sum())),
        **_fraction("reported_of_out_of_range", int(beyond[reported].sum()), int(beyond["in_catalog"].sum())),
    }


def _fraction(name: str, part: int, whole: int) -> dict[str, Any]:
    low, high = wilson_interval(part, whole)
    return {name: _round(part / whole) if whole else None, f"{name}_interval": [_round(low), _round(high)]}


def _round(value: Any) -> float:
    return round(float(value), 4)


def _by_kind(groups: pl.DataFrame) -> dict[str, dict[str, Any]]:
    kinds = groups.filter(pl.col("dimension") == "kind").select("bin", *COUNTS, "completeness", "purity")
    return {row.pop("bin"): row for row in kinds.with_columns(pl.col("completeness", "purity").round(4)).to_dicts()}


def _confusion(stars: pl.DataFrame) -> dict[str, dict[str, int]]:
    """What the trusted periods are of the true ones, for stars with a period in range and out of it."""
    tables = {}
    for name, here in (("in_range", pl.col("with_period_either")), ("out_of_range", ~pl.col("with_period_either"))):
        some = stars.filter(here, pl.col("trusted"), pl.col("true_period").is_not_null())
        true = [some[column].to_numpy() for column in ("period_days", "shown_period_days")]
        classes = np.bincount(confusion(some["period"].to_numpy(), true), minlength=len(CONFUSIONS))
        tables[name] = dict(zip(CONFUSIONS, classes.tolist(), strict=True))
    return tables


def evaluate_catalog(catalog: Path, truth: Path, period_range: tuple[float, float]) -> Completeness:
    """`measure_completeness` of files; the table of the refused is the one that `varistar predict` wrote beside.

    Raises
    ------
    DataError
        When a file is missing or is no such table; the sentence names it.
    """
    beside = catalog.with_name(f"{catalog.stem}.refused{catalog.suffix}")
    tables = read_table(catalog), read_table(beside) if beside.exists() else None, read_table(truth)
    try:
        return measure_completeness(*tables, period_range)
    except DataError as error:
        raise DataError(f"{catalog} and {truth}: {error}") from None


def completeness_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary as a short printed table."""
    shortest, longest = summary["period_range"]
    lines = [
        f"{summary['n_stars']} stars are known: {summary['n_in_catalog']} in the catalog, {summary['n_refused']} "
        f"refused; {summary['trusted']['n_with_period']} have a period from {shortest:g} to {longest:g} d"
    ]
    if summary["n_missing"]:
        names = ", ".join(f"'{name}'" for name in summary["missing"])
        lines.append(f"neither in the catalog nor among the refused: {summary['n_missing']}, first {names}")
    if summary["n_unknown_to_truth"]:
        lines.append(f"in the catalog, unknown to the truth and left out: {summary['n_unknown_to_truth']}")
    lines.append(f"  {'':<14}{'reported':>9}{'completeness':>23}{'purity':>23}{'false-period rate':>23}")
    for name in REPORTED:
        row = summary[name]
        shown = "".join(_shown(row, fraction) for fraction in ("completeness", "purity", "false_period_rate"))
        lines.append(f"  {name:<14}{row['n_reported']:>9}{shown}")
    lines.append(
        f"  {'kind':<14}{'stars':>9}{'with period':>13}{'reported':>10}{'right':>8}{'complete':>10}{'pure':>8}"
    )
    for kind, row in summary["by_kind"].items():
        counts = f"{row['n_stars']:>9}{row['n_with_period']:>13}{row['n_reported']:>10}{row['n_right']:>8}"
        lines.append(f"  {kind:<14}{counts}{_number(row['completeness']):>10}{_number(row['purity']):>8}")
    return lines


def _shown(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{_number(row[name]):>9} ({low:.3f}-{high:.3f})".rjust(23)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def write_completeness(done: Completeness, folder: Path, figure: Path, title: str) -> None:
    """Write `completeness.parquet` (`GROUPS`) and `risk_coverage.parquet` (`CURVES`) into `folder`, and the figure."""
    for name, table in (("completeness", done.groups), ("risk_coverage", done.curves)):
        with atomic_path(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary, compression="zstd")
    save_figure(completeness_figure(done.groups, done.curves, done.summary["confusion"], title), figure)


def searched_range(root: Path) -> tuple[float, float]:
    """The period range [d] of the survey that the project's networks are made for."""
    name = lookup(read_params(root), "periods.survey")
    return read_section(root, f"surveys.{name}", Survey).period_range


def main() -> None:
    """The stage: the project's catalog against the truth of its simulated survey."""
    root = find_root()
    catalog, truth = root / "build/catalog/periods.parquet", root / "data/ground/truth.parquet"
    done = evaluate_catalog(catalog, truth, searched_range(root))
    figure = root / "build/figures/catalog/completeness.png"
    write_completeness(done, root / "build/catalog", figure, "the catalog of the simulated survey against its truth")
    write_json(root / "metrics/catalog.json", done.summary)
    print("\n".join(completeness_lines(done.summary)))


if __name__ == "__main__":
    with one_sentence():
        main()
