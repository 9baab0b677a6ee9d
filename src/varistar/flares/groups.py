"""The young groups whose members the paper searched, with their ages: its Table 1.

The text of the paper that this follows lost its Greek letters and some errors. Greek letters are put back where age and
reference tell which group is meant: the Chamaeleontis of 3.7 Myr (Murphy et al. 2013) is epsilon, that of 11 Myr (Bell
et al. 2015) eta; Pictoris is beta and For chi1. An error that was lost is null, as where the source gives none; it is
not filled in from elsewhere. "Pleiades | 1125" is read as 112 with an error of 5, Dahm's (2015) result. The counts sum
to 1971 of the 3193 stars of the sample, so they too may not be whole, and of BANYAN's 27 groups 23 are named.
"""

import math
from itertools import pairwise

import polars as pl

#: Edges of the paper's age bins [Myr]; a lower edge belongs to its bin, so that 45 Myr is in 45-125.
AGE_EDGES = (1.0, 20.0, 30.0, 45.0, 125.0, math.inf)

#: name, age [Myr], error, youngest and oldest where a range is given, stars, reference of the age
_TABLE_1: tuple[tuple[str, float, float | None, float | None, float | None, int, str], ...] = (
    ("AB Doradus", 149.0, None, None, None, 283, "Bell et al. (2015)"),
    ("Argus", 45.0, None, 40.0, 50.0, 38, "Zuckerman (2019)"),
    ("beta Pictoris", 24.0, 3.0, None, None, 144, "Bell et al. (2015)"),
    ("Carina", 45.0, None, None, None, 78, "Bell et al. (2015)"),
    ("Carina-Near", 200.0, None, None, None, 57, "Zuckerman et al. (2006)"),
    ("Columba", 42.0, None, None, None, 129, "Bell et al. (2015)"),
    ("epsilon Chamaeleontis", 3.7, None, None, None, 14, "Murphy et al. (2013)"),
    ("eta Chamaeleontis", 11.0, 3.0, None, None, 3, "Bell et al. (2015)"),
    ("Hyades", 750.0, 100.0, None, None, 61, "Brandt & Huang (2015)"),
    ("IC 2391", 50.0, 5.0, None, None, 7, "Barrado y Navascués et al. (2004)"),
    ("IC 2602", 46.0, None, None, None, 22, "Dobbie et al. (2010)"),
    ("Lower Centaurus Crux", 15.0, 3.0, None, None, 338, "Pecaut & Mamajek (2016)"),
    ("Octans", 35.0, 5.0, None, None, 80, "Murphy & Lawson (2015)"),
    ("Platais 8", 60.0, None, None, None, 13, "Platais et al. (1998)"),
    ("Pleiades", 112.0, 5.0, None, None, 11, "Dahm (2015)"),
    ("Taurus", 1.5, None, 1.0, 2.0, 11, "Kenyon & Hartmann (1995)"),
    ("Tucana-Horologium", 45.0, 5.0, None, None, 182, "Bell et al. (2015)"),
    ("TW Hydrae", 10.0, 3.0, None, None, 33, "Bell et al. (2015)"),
    ("Upper Centaurus Lupus", 16.0, 2.0, None, None, 436, "Pecaut & Mamajek (2016)"),
    ("Upper CrA", 10.0, None, None, None, 6, "Gagné et al. (2018)"),
    ("Upper Scorpius", 10.0, 3.0, None, None, 13, "Pecaut & Mamajek (2016)"),
    ("Ursa Major cluster", 414.0, 23.0, None, None, 3, "Jones et al. (2015)"),
    ("chi1 For", 500.0, None, None, None, 9, "Pöhnl & Paunzen (2010)"),
)


def young_groups() -> pl.DataFrame:
    """Table 1, one row per group: `group`; `age_myr`, the middle where a range is given; `age_error_myr`;
    `youngest_myr`, `oldest_myr`, the range, null where none is given; `n_stars`; `reference`; `age_bin`.
    """
    schema = {
        "group": pl.String,
        "age_myr": pl.Float64,
        "age_error_myr": pl.Float64,
        "youngest_myr": pl.Float64,
        "oldest_myr": pl.Float64,
        "n_stars": pl.Int64,
        "reference": pl.String,
    }
    table = pl.DataFrame(list(_TABLE_1), schema=schema, orient="row")
    return table.with_columns(label_bins(pl.col("age_myr"), AGE_EDGES).alias("age_bin"))


def label_bins(values: pl.Expr, edges: tuple[float, ...]) -> pl.Expr:
    """The bin, such as "30-45" or "125+", in which each value lies; null outside all, or where null or NaN.

    Edges ascend; a lower edge belongs to its bin, an upper one to the next. The last may be infinite. The names are an
    Enum, so that tables sort as the bins do.
    """
    names = bin_names(edges)
    label = pl.lit(None, dtype=pl.String)
    for (low, high), name in zip(pairwise(edges), names, strict=True):
        label = pl.when((values >= low) & (values < high) & values.is_not_nan()).then(pl.lit(name)).otherwise(label)
    return label.cast(pl.Enum(names))


def bin_names(edges: tuple[float, ...]) -> list[str]:
    """The names of the bins between edges, in their order."""
    return [f"{low:g}+" if math.isinf(high) else f"{low:g}-{high:g}" for low, high in pairwise(edges)]
