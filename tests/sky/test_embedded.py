"""The embedded surveys in data/ are what the generators make of the settings in params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from varistar.foundation.params import read_section
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import concatenate
from varistar.sky.ground import SkySettings
from varistar.sky.snapshot import write_ground, write_space
from varistar.sky.spacecraft import SectorSettings

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_BYTES = 15_000_000


class Kind(NamedTuple):
    """A survey: where it lies, what its settings are called, and what makes it."""

    name: str
    section: str
    settings: type[Any]
    write: Callable[..., Path | None]
    tables: tuple[str, ...]


KINDS = (
    Kind("ground", "sky", SkySettings, write_ground, ("stars", "truth")),
    Kind("space", "sectors", SectorSettings, write_space, ("stars", "truth", "flares")),
)


@pytest.fixture(scope="module", params=KINDS, ids=[kind.name for kind in KINDS])
def surveys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kind, Path, Path]:
    """An embedded survey, and the same made anew."""
    kind: Kind = request.param
    embedded = REPOSITORY / "data" / kind.name
    if not (embedded / "light_curves").is_dir():
        pytest.fail(f"data/{kind.name} is missing: `make pull` fetches it")
    settings = read_section(REPOSITORY, kind.section, kind.settings)
    made = kind.write(settings, tmp_path_factory.mktemp("sky") / kind.name, 1)
    assert made is not None
    return kind, embedded, made


def test_tables_are_reproduced(surveys: tuple[Kind, Path, Path]) -> None:
    kind, *folders = surveys
    for table in kind.tables:
        embedded, made = (pl.read_parquet(folder / f"{table}.parquet") for folder in folders)
        assert made.equals(embedded), table
        assert made.height > 0


def test_light_curves_are_reproduced(surveys: tuple[Kind, Path, Path]) -> None:
    _, *folders = surveys
    embedded, made = (concatenate(list(Store(folder / "light_curves").iter_shards())) for folder in folders)
    assert made.star_id == embedded.star_id
    assert (made.time_system, made.flux_unit, made.survey) == (
        embedded.time_system,
        embedded.flux_unit,
        embedded.survey,
    )
    np.testing.assert_array_equal(made.offsets, embedded.offsets)
    assert made.columns.keys() == embedded.columns.keys()
    for name, values in embedded.columns.items():
        np.testing.assert_array_equal(made[name], values, err_msg=name)


def test_a_survey_says_what_it_is(surveys: tuple[Kind, Path, Path]) -> None:
    _, embedded, made = surveys
    text = (embedded / "README.md").read_text(encoding="utf-8")
    assert "Not real data" in text
    assert text == (made / "README.md").read_text(encoding="utf-8")


def test_both_are_small() -> None:
    files = [file for kind in KINDS for file in (REPOSITORY / "data" / kind.name).rglob("*") if file.is_file()]
    assert files, "data/ is missing: `make pull` fetches it"
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
