"""One table in four formats: each reads back as the same rows in the same order."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from varistar.catalog.files import ENDINGS, check_output, write_parts
from varistar.foundation.errors import DataError

SCHEMA = pl.Schema({"star_id": pl.String, "period": pl.Float64, "flags": pl.Int32, "n_points": pl.Int64})
UNITS = {"star_id": "", "period": "d", "flags": "", "n_points": ""}


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Three parts, the middle one empty, each with a column that the table has not."""
    rng = np.random.default_rng(2)
    paths = []
    for number, n in enumerate((5, 0, 300)):
        table = pl.DataFrame(
            {
                "source": [f"file {i}" for i in range(n)],
                "star_id": [f'{number}-00{i}, "of {i}"' if i % 3 else f"{i:05d}" for i in range(n)],
                "period": rng.uniform(0, 1, n) ** -20,
                "flags": rng.integers(0, 16, n),
                "n_points": rng.integers(0, 2**40, n),
            },
            schema={"source": pl.String, **SCHEMA},
        )
        paths.append(tmp_path / f"part-{number}")
        table.write_parquet(paths[-1])
    return paths


def rows_of(path: Path) -> list[tuple]:
    """The rows of a table in any of the formats, read with other software than wrote them where there is some."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path).rows()
    if path.suffix == ".csv":
        return pl.read_csv(path, schema=dict(SCHEMA)).rows()
    table = Table.read(path, format="ascii.ecsv" if path.suffix == ".ecsv" else "fits")
    names = [None if name is np.ma.masked else str(name) for name in table["star_id"]]
    return list(zip(names, *(table[name].tolist() for name in SCHEMA.names()[1:]), strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_parts_become_one_table(tmp_path: Path, parts: Sequence[Path], ending: str) -> None:
    path = tmp_path / f"catalog{ending}"
    n = write_parts(parts, path, SCHEMA, UNITS)
    expected = pl.concat([pl.read_parquet(part) for part in parts]).select(SCHEMA.names()).rows()
    assert n == 305
    assert rows_of(path) == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_are_left_out_wherever_they_stand(tmp_path: Path, parts: Sequence[Path], ending: str) -> None:
    everything = pl.concat([pl.read_parquet(part) for part in parts]).select(SCHEMA.names()).rows()
    without = [0, 4, 5, 304]
    n = write_parts(parts, tmp_path / f"catalog{ending}", SCHEMA, UNITS, without)
    assert n == 301
    assert rows_of(tmp_path / f"catalog{ending}") == [row for i, row in enumerate(everything) if i not in without]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_without_rows_still_has_its_columns(tmp_path: Path, parts: Sequence[Path], ending: str) -> None:
    path = tmp_path / f"empty{ending}"
    for given in ([], [parts[1]]):
        assert write_parts(given, path, SCHEMA, UNITS) == 0
        assert rows_of(path) == []
        names = pl.read_csv(path).columns if ending == ".csv" else None
        names = names or (pl.read_parquet(path).columns if ending == ".parquet" else Table.read(path).colnames)
        assert names == SCHEMA.names()


@pytest.mark.parametrize("ending", [".ecsv", ".fits"])
def test_formats_that_know_units_carry_them(tmp_path: Path, parts: Sequence[Path], ending: str) -> None:
    write_parts(parts, tmp_path / f"catalog{ending}", SCHEMA, UNITS)
    table = Table.read(tmp_path / f"catalog{ending}")
    assert str(table["period"].unit) == "d"
    assert all(table[name].unit is None for name in ("star_id", "flags", "n_points"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_words_beyond_ascii_and_missing_ones(tmp_path: Path, ending: str) -> None:
    schema = pl.Schema({"star_id": pl.String, "period": pl.Float64, "flags": pl.Int32, "n_points": pl.Int64})
    rows = {"star_id": ["ε Eri", "星1", None, "plain"], "period": [1.0, 2.0, 3.0, float("nan")]}
    table = pl.DataFrame(rows | {"flags": [0] * 4, "n_points": [1] * 4}, schema=schema)
    table.write_parquet(tmp_path / "part")
    write_parts([tmp_path / "part"], tmp_path / f"catalog{ending}", schema, UNITS)
    names = [row[0] for row in rows_of(tmp_path / f"catalog{ending}")]
    escaped = ["\\u03b5 Eri", "\\u661f1", None, "plain"]
    assert names == (escaped if ending == ".fits" else ["ε Eri", "星1", None, "plain"])


@pytest.mark.parametrize("name", ["catalog", "catalog.txt", "catalog.CSV", "catalog.csv.gz", ".csv"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"the ending must be one of \.parquet, \.csv, \.ecsv, \.fits$"):
        check_output(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").mkdir()
    with pytest.raises(DataError, match=r"catalog\.csv: a folder, where the name of a file was expected"):
        check_output(tmp_path / "catalog.csv")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_old_catalog(
    tmp_path: Path, parts: Sequence[Path], small_disk: Callable[[int], AbstractContextManager[None]], ending: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / f"catalog{ending}"
    path.write_text("old")
    with small_disk(1024), pytest.raises(DataError, match=rf"catalog\{ending}: cannot be written: File too large"):
        write_parts(parts, path, SCHEMA, UNITS)
    assert [file.name for file in folder.iterdir()] == [path.name]
    assert path.read_text() == "old"
