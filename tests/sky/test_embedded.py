"""The embedded survey in data/ is what the generator makes of the seed in params.yaml."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.foundation.params import read_section
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import concatenate
from varistar.sky.ground import SkySettings
from varistar.sky.snapshot import write_snapshot

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The embedded snapshot, and one made anew."""
    if not (REPOSITORY / "data/light_curves").is_dir():
        pytest.fail("data/ is missing: `make pull` fetches it")
    made = write_snapshot(read_section(REPOSITORY, "sky", SkySettings), tmp_path_factory.mktemp("sky") / "data")
    return REPOSITORY / "data", made


@pytest.mark.parametrize("table", ["stars.parquet", "truth.parquet"])
def test_tables_are_reproduced(snapshots: tuple[Path, Path], table: str) -> None:
    embedded, made = (pl.read_parquet(folder / table) for folder in snapshots)
    assert made.equals(embedded)


def test_light_curves_are_reproduced(snapshots: tuple[Path, Path]) -> None:
    embedded, made = (concatenate(list(Store(folder / "light_curves").iter_shards())) for folder in snapshots)
    assert made.star_id == embedded.star_id
    assert made.columns.keys() == embedded.columns.keys()
    for name, values in embedded.columns.items():
        np.testing.assert_array_equal(made[name], values, err_msg=name)


def test_snapshot_is_small_and_says_what_it_is(snapshots: tuple[Path, Path]) -> None:
    embedded, _ = snapshots
    assert sum(file.stat().st_size for file in embedded.rglob("*") if file.is_file()) < 8_000_000
    assert "Not real data" in (embedded / "README.md").read_text(encoding="utf-8")
