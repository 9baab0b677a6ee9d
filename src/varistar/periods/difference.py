"""How much better is one variant than another, on the same stars? Paired, so that what is hard for both cancels."""

from pathlib import Path

import polars as pl
from numpy.typing import NDArray

from varistar.experiments.gates import Difference, paired_bootstrap
from varistar.foundation.errors import DataError

from .scores import within
from .variants import section_of
from .verdict import SEED

TOLERANCES = {"within_10pct": 0.1, "within_20pct": 0.2}


def differences(root: Path, first: str, second: str) -> dict[str, dict[str, Difference]]:
    """The first variant less the second, with the 95% interval of a bootstrap of whole templates.

    Returns
    -------
    by test of stars with a period and score; shown_within_10pct is against the period that the light curve shows.

    Raises
    ------
    DataError
        When a variant has not been evaluated here, or the two were measured on different stars.
    ConfigError
        When there is no such variant.
    """
    one, other = (_measured(root, name) for name in (first, second))
    both = one.join(other, on=["test", "star_id"], suffix="_other", maintain_order="left")
    if not one.height == other.height == both.height:
        raise DataError(f"'{first}' and '{second}' were measured on different stars; `dvc repro` evaluates them again")
    found: dict[str, dict[str, Difference]] = {}
    for (test,), table in both.filter(~pl.col("true_period").is_nan()).group_by("test", maintain_order=True):
        true_period, shown = (table[name].to_numpy() for name in ("true_period", "shown_period"))
        periods = table["period"].to_numpy(), table["period_other"].to_numpy()
        scores = {name: (true_period, tolerance) for name, tolerance in TOLERANCES.items()}
        scores["shown_within_10pct"] = shown, 0.1
        groups = table["template"].to_numpy()
        found[str(test)] = {
            name: _difference([within(period, truth, tolerance) for period in periods], groups)
            for name, (truth, tolerance) in scores.items()
        }
    return found


def _difference(right: list[NDArray], groups: NDArray) -> Difference:
    mean, low, high = paired_bootstrap(right[0], right[1], SEED, groups=groups)
    return Difference(mean=mean, low=low, high=high)


def _measured(root: Path, name: str) -> pl.DataFrame:
    path = root / "build/periods/measured" / f"{name}.parquet"
    command = {"variants": f"dvc repro evaluate@{name}", "study": f"dvc repro study/dvc.yaml:evaluate@{name}"}
    how = command[section_of(root, name)]
    if not path.exists():
        raise DataError(f"{path}: '{name}' has not been evaluated here; `{how}` does")
    return pl.read_parquet(
        path, columns=["test", "star_id", "template", "period", "true_period", "shown_period"], glob=False
    )
