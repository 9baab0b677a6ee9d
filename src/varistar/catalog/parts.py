"""What the pieces of a prediction leave, and how they become one catalog; alike for every wing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_path
from varistar.lightcurves.readers import Source


def keep_inputs(outputs: set[Path], sources: Sequence[Source]) -> None:
    """Refuse to write over a file that is read."""
    for source in sources:
        if source.path.resolve() in outputs:
            raise DataError(f"{source.path}: an input, which the catalog would replace; name another output")


def part_of(target: Path, name: str) -> Path:
    """Where a piece leaves its table of this name."""
    return target.with_name(f"{target.name}.{name}.parquet")


def write_part(table: pl.DataFrame, path: Path) -> None:
    """Write a piece's table, whole or not at all."""
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd")


def summary_of(measured: int, refused: pl.DataFrame) -> dict[str, Any]:
    """What a piece says of itself: how many stars have a row, and of its `refused` how many could not be read."""
    return {
        "measured": measured,
        "refused": refused.height,
        "unread": int(refused["unread"].sum()),
        "first": refused["reason"][0] if refused.height else None,
    }


def nothing_read(summaries: Sequence[dict[str, Any]]) -> str | None:
    """Inputs of which nothing can be read are a mistake of the user, not an empty catalog: a sentence about them."""
    measured, refused, unread = (sum(one[name] for one in summaries) for name in ("measured", "refused", "unread"))
    if measured or not refused or unread < refused:
        return None
    first = next(one["first"] for one in summaries if one["refused"])
    return first if refused == 1 else f"none of the {refused} files can be measured, first {first}"


def repeated_stars(measured: Sequence[Path]) -> pl.DataFrame:
    """The rows of stars that have one already: `row`, counted through all pieces, and the columns of the refused.

    Eight bytes a star are held in memory; names are compared only where those agree.
    """
    rows = pl.scan_parquet(list(measured), glob=False).select("star_id", "source").with_row_index("row")
    hashes = rows.select("row", pl.col("star_id").hash().alias("hash")).collect()
    suspects = hashes.filter(pl.col("hash").is_duplicated())["row"]
    again = (
        rows.filter(pl.col("row").is_in(suspects.implode())).collect().filter(~pl.col("star_id").is_first_distinct())
    )
    return again.with_columns(reason=pl.lit("the star stands in a file before this one"))


def require_names_that_fit(measured: Sequence[Path], output: Path) -> None:
    """FITS holds ASCII only, and an escaped name is another name."""
    if output.suffix == ".fits":
        names = (
            pl.scan_parquet(list(measured), glob=False)
            .select("star_id")
            .filter(~pl.col("star_id").str.contains(r"^[ -~]*$"))
        )
        if (foreign := names.first().collect()).height:
            raise DataError(
                f"{output}: FITS cannot hold the name '{foreign.item()}', which is not ASCII; "
                f"give --output another ending, and the finished work is used"
            )
