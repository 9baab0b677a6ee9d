"""A table written as text: comments, one line of column names, then one point per line.

The columns are separated by commas, tabs or blanks, whichever the line of names uses. A line of names that begins with
`###` is separated by blanks, as the ASAS-SN and ATLAS photometry writes it; every other line that begins with `#` is a
comment. Blank lines do not count.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

Separator = Literal[",", "\t", " "]

#: Words for a number that is not there.
MISSING = ("", "null", "None", "--", "N/A", "NA")


@dataclass(frozen=True)
class TextTable:
    """The columns of a text file.

    Attributes
    ----------
    comments : the lines before the names, without `#` and blanks around them
    names : the names of the columns
    rows : the number and text of each line of points
    """

    path: Path
    comments: tuple[str, ...]
    names: tuple[str, ...]
    separator: Separator
    rows: tuple[tuple[int, str], ...]

    @classmethod
    def parse(cls, path: Path, text: str) -> Self:
        """Find the names and the rows.

        Raises
        ------
        DataError
            When there is no line of names, or it names a column twice.
        """
        lines = [(number, line.strip("\r")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        first = next((i for i, (_, line) in enumerate(lines) if line.startswith("###") or line[0] != "#"), None)
        if first is None:
            raise DataError(f"{path}: only comments; expected a line of column names and points below it")
        names, separator = _names(lines[first][1])
        if twice := {name for name in names if names.count(name) > 1}:
            raise DataError(f"{path}: names the column '{min(twice)}' twice")
        comments = tuple(line.strip("# ") for _, line in lines[:first])
        return cls(path, comments, names, separator, tuple(row for row in lines[first + 1 :] if row[1][0] != "#"))

    def numbers(self, name: str, limits: bool = False) -> NDArray[np.float64]:
        """A column of numbers; see `FileTable`."""
        cells = self._column(name)
        unknown = cells.is_in(MISSING) | (cells.str.starts_with(">") if limits else False)
        values = cells.cast(pl.Float64, strict=False)
        if (wrong := (values.is_null() & ~unknown)).any():
            row = int(wrong.arg_max() or 0)
            raise DataError(f"{self.path}: {self.where(row)}, column '{name}': expected a number, got '{cells[row]}'")
        return values.fill_null(np.nan).to_numpy(writable=True)

    def words(self, name: str) -> NDArray[np.str_]:
        """A column of words; see `FileTable`."""
        return self._column(name).to_numpy().astype(np.str_)

    def unit(self, name: str) -> str | None:
        """The unit in parentheses or brackets that ends the column's name, as in `flux(mJy)`."""
        found = re.search(r"[(\[]([^()\[\]]+)[)\]]$", name)
        return found.group(1).strip() if found else None

    def where(self, row: int) -> str:
        """The line of the file in which a point stands."""
        return f"line {self.rows[row][0]}"

    def _column(self, name: str) -> pl.Series:
        """The cells of a column, without blanks around them."""
        if name not in self.names:
            raise DataError(f"{self.path}: lacks the column '{name}'; it has {listed(self.names)}")
        return self._cells[name].fill_null("").str.strip_chars()

    @cached_property
    def _cells(self) -> pl.DataFrame:
        """All cells as text, one row per point."""
        if not self.rows:
            raise DataError(f"{self.path}: has column names but no points")
        lines = [line for _, line in self.rows]
        if self.separator == " ":
            lines = ["\t".join(line.split()) for line in lines]
        separator = "," if self.separator == "," else "\t"
        self._check_widths(lines, separator)
        try:
            return pl.read_csv(
                "\n".join(lines).encode(),
                separator=separator,
                has_header=False,
                new_columns=list(self.names),
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{self.path}: not a table of {len(self.names)} columns: {str(error).splitlines()[0]}"
            ) from None

    def _check_widths(self, lines: list[str], separator: str) -> None:
        """Every line has as many cells as there are names; a file cut off in the middle of a line has not."""
        expected = len(self.names)
        for row, line in enumerate(lines):
            if line.count(separator) != expected - 1 and '"' not in line:
                cells = line.count(separator) + 1
                raise DataError(f"{self.path}: {self.where(row)} has {cells} cells where {expected} were expected")


def listed(names: tuple[str, ...]) -> str:
    """Names for a message, the first dozen of them, each at most 24 characters."""
    shown = ", ".join(name if len(name) <= 24 else f"{name[:23]}…" for name in names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names)} in all)"


def _names(line: str) -> tuple[tuple[str, ...], Separator]:
    """The names of the columns and what separates them.

    Between blanks, a unit in parentheses belongs to the name before it: `flux (mJy)` is one column.
    """
    separator: Separator = " " if line.startswith("###") else "," if "," in line else "\t" if "\t" in line else " "
    line = line.lstrip("# ")
    if separator == " ":
        line = re.sub(r"\s+(?=\()", " ", line)
        names = re.findall(r"\S+(?: \(\S+\))?", line)
    else:
        names = line.split(separator)
    return tuple(name.strip().strip('"') for name in names), separator
