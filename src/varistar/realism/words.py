"""A comparison in words and tables: Markdown for people, JSON for programs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from .compare import CORRELATION, RATIO
from .names import QUANTITIES
from .tell_apart import Verdict

#: Rows of the table of what gives simulated stars away.
TOP = 12


@dataclass(frozen=True)
class Realism:
    """How alike two samples are.

    Attributes
    ----------
    table : the comparison by quantity, see `compare`
    stars, seasons : how well a classifier tells stars, or single seasons, apart
    n_real, n_simulated : stars compared
    left_out : real stars that were not compared, by reason
    about : what was compared, for the report
    """

    table: pl.DataFrame
    stars: Verdict
    seasons: Verdict
    n_real: int
    n_simulated: int
    left_out: dict[str, int]
    about: dict[str, Any]


def as_json(found: Realism) -> dict[str, Any]:
    """The comparison as JSON can hold it; what cannot be measured is null."""
    return {
        "about": found.about,
        "n_real": found.n_real,
        "n_simulated": found.n_simulated,
        "left_out": found.left_out,
        "quantities": {row.pop("quantity"): row for row in _records(found.table)},
        "tell_apart": {"stars": _verdict(found.stars), "seasons": _verdict(found.seasons)},
    }


def as_markdown(found: Realism) -> str:
    """The comparison as a page to read."""
    about = found.about
    alike, judged = _counted(found.table)
    left_out = "".join(f"; {count} real left out: {reason}" for reason, count in found.left_out.items())
    matched = ", chosen to have their magnitudes" if about["matched_by_magnitude"] else ""
    kinds = f" ({', '.join(about['kinds'])})" if about["kinds"] else ""
    without = "".join(f"; nothing that needs `{name}`" for name in about["columns_left_out"])
    return f"""# Real and simulated light curves

{found.n_real} real stars, and {found.n_simulated} simulated ones{kinds}{matched}{left_out}.
MJD {about["window"][0]:g} to {about["window"][1]:g}, seasons: {about["half"]}{without}.

- **{alike} of {judged}** quantities of the survey are within 20 %.
- A classifier that sees a star's quantities tells real from simulated with an AUC of {_auc(found.stars)};
  one that sees a single season's, {_auc(found.seasons)}. 0.5 is a coin, 1 is certainty.

## What gives the simulated stars away

`importance` is the AUC lost when a quantity is shuffled among stars that the classifier has not seen: small where
others say the same. `alone` is the AUC of the quantity by itself: above 0.5 where real values are larger, below where
they are smaller. What the stars decide rather than the survey is not shown to the classifier; but real stars that dip
within days do so in outliers, asymmetry and memory, which are shown.

{_numbers_of(found.stars.telltale.head(TOP), ("quantity", "group", "importance", "alone"))}

By group; here `alone` is the AUC of a classifier that sees nothing else.

{_numbers_of(found.stars.groups, ("group", "importance", "alone"))}

## Quantity by quantity

10, 50 and 90 % points; `change` is simulated against real with its 95 % interval: the ratio of medians (of means, for a
share), and the difference for magnitudes and correlations. `alike` is a ratio up to {RATIO:g} in either direction,
{2.5 * math.log10(RATIO):.2f} mag, or a correlation that differs by at most {CORRELATION:g}. `distance` is that of
Wasserstein, in robust standard deviations of the real sample; `KS` is that of Kolmogorov and Smirnov, with its p value.
Quantities marked * depend on the stars more than on the survey.

{_comparison(found.table)}

## What the quantities mean

{_table(("quantity", "unit", "meaning"), ((f"`{n}`", q.unit, q.meaning) for n, q in QUANTITIES.items()))}
"""


def summary_lines(found: Realism) -> list[str]:
    """The answer in four lines, for a terminal."""
    alike, judged = _counted(found.table)
    stars, seasons = found.stars, found.seasons
    return [
        f"{found.n_real} real stars, {found.n_simulated} simulated; seasons: {found.about['half']}",
        f"{alike} of {judged} quantities of the survey are within 20 %",
        f"AUC by star {stars.auc:.3f} ({stars.interval[0]:.3f} to {stars.interval[1]:.3f}), by season {seasons.auc:.3f}"
        " (0.5 is a coin, 1 is certainty)",
        f"gives them away most: {', '.join(stars.telltale['quantity'][:3])}",
    ]


def _counted(table: pl.DataFrame) -> tuple[int, int]:
    """How many of the quantities that the survey decides are alike, and of how many that could be judged."""
    own = table.filter(~pl.col("intrinsic"))["alike"]
    return int(own.sum()), own.count()


def _auc(verdict: Verdict) -> str:
    return f"**{verdict.auc:.3f}** ({verdict.interval[0]:.3f} to {verdict.interval[1]:.3f})"


def _comparison(table: pl.DataFrame) -> str:
    rows = []
    for row in _records(table):
        answer = {True: "yes", False: "**no**", None: ""}[row["alike"]]
        rows.append(
            (
                f"`{row['quantity']}`{'*' * row['intrinsic']}",
                " / ".join(_number(row[f"real_p{q}"]) for q in (10, 50, 90)),
                " / ".join(_number(row[f"simulated_p{q}"]) for q in (10, 50, 90)),
                f"{_number(row['change'])} ({_number(row['change_low'])} to {_number(row['change_high'])})",
                answer,
                _number(row["wasserstein"]),
                f"{row['ks']:.2f} ({row['ks_p']:.1g})",
            )
        )
    return _table(("quantity", "real", "simulated", "change", "alike", "distance", "KS (p)"), rows)


def _numbers_of(table: pl.DataFrame, names: Sequence[str]) -> str:
    return _table(
        names, ([_number(v) if isinstance(v, float) else v for v in row] for row in table.select(names).iter_rows())
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    """Three significant digits; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "auc": verdict.auc,
        "auc_interval": list(verdict.interval),
        "by_method": dict(verdict.by_method),
        "telltale": {row.pop("quantity"): row for row in _records(verdict.telltale)},
        "groups": {row.pop("group"): row for row in _records(verdict.groups)},
    }


def _records(table: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows, NaN as None."""
    numbers = [name for name, kind in table.schema.items() if kind == pl.Float64]
    return table.with_columns(pl.col(numbers).fill_nan(None)).to_dicts()
