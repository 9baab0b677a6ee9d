"""A catalog beside the truth: both tables read and checked, and every star judged.

`varistar.catalog.completeness` states the definitions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.periods.scores import within

from .columns import Flag
from .files import ENDINGS

TOLERANCE = 0.1
REPORTED = {"trusted": Flag.UNTRUSTED, "clean": Flag.UNTRUSTED | Flag.ALIAS | Flag.EDGE}  # bits that may not be set
RIGHT = ("either", "equatorial", "shown")
RATIOS = {"1:1": 1.0, "1:2": 1 / 2, "2:1": 2.0, "1:3": 1 / 3, "3:1": 3.0}  # of a measured period to the true one
CONFUSIONS = (*RATIOS, "alias", "other")

MEASURED = ("period", "fractional_uncertainty", "p_within_10pct", "n_points", "flags")
NAMES = ("kind", "subtype", "population")
TRUE_NUMBERS = ("period_days", "shown_period_days", "g_mag", "amplitude")


def judge(catalog: pl.DataFrame, truth: pl.DataFrame, period_range: tuple[float, float]) -> pl.DataFrame:
    """What is true of each star, what the catalog says, and whether that is reported and right.

    Parameters
    ----------
    catalog, truth : see `measure_completeness`.
    period_range : shortest and longest period searched [d].

    Returns
    -------
    one row per star of the truth, in its order: the columns of both (null where the catalog has no row), and

    - `in_catalog`; `trusted` and `clean`, the variants of reported;
    - `with_period_<sense>`: a true period is in range; `right_<sense>`: and the catalog's is within 10% of it, whether
      reported or not; `<sense>` is one of `RIGHT`;
    - `true_period` [d]: the shown one, except where the equatorial alone is in range.

    Raises
    ------
    DataError
        When a table is not what it should be, or the two share no star.
    """
    catalog, truth = _tidy_catalog(catalog), _tidy_truth(truth)
    if catalog.height and not catalog["star_id"].is_in(truth["star_id"].implode()).any():
        raise DataError(
            f"catalog and truth share no star_id, such as '{catalog['star_id'][0]}' and '{truth['star_id'][0]}'; "
            "expected the same stars"
        )
    stars = truth.join(catalog.with_columns(in_catalog=True), on="star_id", how="left", maintain_order="left")
    period = stars["period"].to_numpy()
    shortest, longest = period_range
    true = {"equatorial": stars["period_days"].to_numpy(), "shown": stars["shown_period_days"].to_numpy()}
    inside = {sense: (shortest <= days) & (days <= longest) for sense, days in true.items()}
    right = {sense: inside[sense] & within(period, days, TOLERANCE) for sense, days in true.items()}
    inside["either"], right["either"] = (each["equatorial"] | each["shown"] for each in (inside, right))
    only_equatorial = inside["equatorial"] & ~inside["shown"]
    return stars.with_columns(
        pl.col("in_catalog").fill_null(False),
        *(((pl.col("flags") & int(bits)) == 0).fill_null(False).alias(name) for name, bits in REPORTED.items()),
        *(pl.Series(f"with_period_{sense}", inside[sense]) for sense in RIGHT),
        *(pl.Series(f"right_{sense}", right[sense]) for sense in RIGHT),
        pl.Series("true_period", np.where(only_equatorial, true["equatorial"], true["shown"])).fill_nan(None),
    )


def _tidy_catalog(catalog: pl.DataFrame) -> pl.DataFrame:
    """The columns that are used, as their types; NaN is null."""
    catalog = _with_ids(catalog, "catalog", MEASURED)
    tidy = catalog.select("star_id").with_columns(_number(catalog, "catalog", name) for name in MEASURED)
    whole = ("n_points", "flags")
    for name, is_wrong, wanted in (
        *(
            (name, ~pl.col(name).is_finite() | (pl.col(name) != pl.col(name).round()), "a whole number")
            for name in whole
        ),
        ("period", ~(pl.col("period") > 0) | ~pl.col("period").is_finite(), "more than 0 d, or null for no period"),
    ):
        if (wrong := tidy.filter(is_wrong)).height:
            star, value = wrong["star_id"][0], wrong[name][0]
            raise DataError(f"star '{star}' of the catalog has {name} {value:g}; expected {wanted}")
    return tidy.with_columns(pl.col(whole).cast(pl.Int64))


def _tidy_truth(truth: pl.DataFrame) -> pl.DataFrame:
    """The columns that are used, as their types: a shown period for every star that has one, and names without gaps."""
    truth = _with_ids(truth, "truth", ("period_days",))
    if "rotation_days" in truth.columns:
        raise DataError("the truth is the space survey's, whose stars have several periods; expected the ground's")
    if not truth.height:
        raise DataError("the truth has no rows; expected one for each star")
    numbers = [_number(truth, "truth", name) for name in TRUE_NUMBERS if name in truth.columns]
    names = [truth[name].cast(pl.String).fill_null("unknown") for name in NAMES if name in truth.columns]
    tidy = truth.select("star_id").with_columns(numbers + names)
    if "shown_period_days" not in tidy.columns:
        tidy = tidy.with_columns(shown_period_days="period_days")
    for name in ("period_days", "shown_period_days"):
        wrong = tidy.filter(~((pl.col(name) > 0) & pl.col(name).is_finite()))
        if wrong.height:
            star, value = wrong.row(0, named=True)["star_id"], wrong[name][0]
            raise DataError(
                f"star '{star}' of the truth has {name} {value:g}; expected more than 0 d, or null for no period"
            )
    if "kind" in tidy.columns and "subtype" in tidy.columns:
        tidy = tidy.with_columns(subtype=pl.concat_str("kind", "subtype", separator=" "))
    # A star without a period shows none.
    shown = pl.when(pl.col("period_days").is_not_null()).then(pl.coalesce("shown_period_days", "period_days"))
    return tidy.with_columns(shown_period_days=shown)


def _with_ids(table: pl.DataFrame, name: str, wanted: Sequence[str]) -> pl.DataFrame:
    if missing := [column for column in ("star_id", *wanted) if column not in table.columns]:
        raise DataError(f"the {name} has no column '{missing[0]}'; it has {', '.join(table.columns) or 'none'}")
    table = table.with_columns(pl.col("star_id").cast(pl.String))
    if table["star_id"].null_count():
        raise DataError(f"row {table['star_id'].is_null().arg_max()} of the {name} has no star_id")
    again = table.filter(pl.col("star_id").is_duplicated())["star_id"]
    if len(again):
        rows = (again == again[0]).sum()
        raise DataError(f"star '{again[0]}' stands in {rows} rows of the {name}; expected one row for each star")
    return table


def _number(table: pl.DataFrame, where: str, name: str) -> pl.Series:
    column = table[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise DataError(f"the column '{name}' of the {where} holds {column.dtype}; expected numbers")
    return column.cast(pl.Float64).fill_nan(None)


def confusion(period: NDArray, true_periods: Sequence[NDArray]) -> NDArray[np.int64]:
    """Which of `CONFUSIONS` each measured period is, shape (n,): the first that holds within 10%.

    "2:1" is twice the true period, and so on. An alias has the frequency |f - 1| or f + 1 per day, where f is the true
    one: what a site sees that observes once a night.

    Parameters
    ----------
    period : [d], shape (n,).
    true_periods : one or more true periods [d], each of shape (n,); any of them may explain the measured one.
    """
    explained = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for true in true_periods:
            ratios = [within(period, ratio * true, TOLERANCE) for ratio in RATIOS.values()]
            below, above = (within(period, 1 / np.abs(1 / true + day), TOLERANCE) for day in (-1, 1))
            explained.append([*ratios, below | above, np.ones(len(true), dtype=bool)])
    return np.argmax(np.any(explained, axis=0), axis=0)


def read_table(path: Path) -> pl.DataFrame:
    """A table in any of the formats in which `varistar predict` writes one.

    Raises
    ------
    DataError
        When it is missing, has another ending, or cannot be read.
    """
    if path.suffix not in ENDINGS:
        raise DataError(f"{path}: the ending must be one of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        if path.suffix == ".csv":
            # A star's id is a name: of a number, leading zeros would be lost.
            return pl.read_csv(path, schema_overrides={"star_id": pl.String}, infer_schema_length=None, glob=False)
        return _read_astropy(path)
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a table that can be read: {str(error).splitlines()[0]}") from None


def _read_astropy(path: Path) -> pl.DataFrame:
    from astropy.table import Table

    table = Table.read(path, format="ascii.ecsv" if path.suffix == ".ecsv" else "fits")
    table.convert_bytestring_to_unicode()
    return pl.DataFrame({name: table[name].tolist() for name in table.colnames})
