"""Light curves and files that the tests of this room share."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from varistar.lightcurves.table import COLUMNS, LightCurves

Maker = Callable[..., LightCurves]
Rows = Callable[[Path], list[dict[str, str]]]

CAMERAS = ("ba", "bA", "bF{}", "bi")


@pytest.fixture(scope="session")
def make_lightcurves() -> Maker:
    """A function that makes light curves of the given lengths with random, partly missing values."""

    def make(
        n_points: Sequence[int],
        seed: int = 0,
        names: Sequence[str] = tuple(COLUMNS),
        star_id: Sequence[str] | None = None,
        missing: float = 0.1,
        **meaning: Any,
    ) -> LightCurves:
        rng = np.random.default_rng(seed)
        offsets = np.concatenate([[0], np.cumsum(n_points)]).astype(np.int64)
        m = int(offsets[-1])
        columns: dict[str, np.ndarray] = {}
        for name in names:
            if name == "camera":
                columns[name] = np.array(CAMERAS)[rng.integers(0, len(CAMERAS), m)]
            elif name == "band":
                columns[name] = np.array(["V", "g"])[rng.integers(0, 2, m)]
            elif name == "quality":
                columns[name] = rng.integers(0, 3, m).astype(np.int32)
            else:
                values = 58000.0 + np.cumsum(rng.random(m)) if name == "time" else rng.normal(14.0, 1.0, m)
                holes = rng.random(m) < (0.0 if name == "time" else missing)
                columns[name] = np.where(holes, np.nan, values).astype(COLUMNS[name].dtype)
        ids = tuple(f"star {i}" for i in range(len(n_points))) if star_id is None else tuple(star_id)
        return LightCurves(ids, offsets, columns, **{"time_system": "MJD_UTC", "survey": "test", **meaning})

    return make


@pytest.fixture(scope="session")
def assert_same() -> Callable[[LightCurves, LightCurves], None]:
    """A function that asserts that two tables are equal in everything, NaN equal to NaN."""

    def check(left: LightCurves, right: LightCurves) -> None:
        assert left.star_id == right.star_id
        assert (left.time_system, left.flux_unit, left.survey) == (right.time_system, right.flux_unit, right.survey)
        np.testing.assert_array_equal(left.offsets, right.offsets)
        assert set(left.columns) == set(right.columns)
        for name, values in left.columns.items():
            assert values.dtype.kind == right[name].dtype.kind, name
            assert values.dtype.kind == "U" or values.dtype == right[name].dtype, name
            np.testing.assert_array_equal(values, right[name], err_msg=name)

    return check


@pytest.fixture(scope="session")
def csv_rows() -> Rows:
    """A function that reads a comma-separated file the slow and obvious way: comments off, one dict per row."""

    def rows(path: Path) -> list[dict[str, str]]:
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        return list(csv.DictReader(lines))

    return rows


@pytest.fixture(scope="session")
def spoc_file() -> Callable[..., bytes]:
    """A function that makes a small pipeline file; what is given replaces a card, a column's unit or a column."""

    def make(
        cards: dict[str, Any] | None = None,
        table_cards: dict[str, Any] | None = None,
        units: dict[str, str] | None = None,
        without: Sequence[str] = (),
        extension: str = "LIGHTCURVE",
    ) -> bytes:
        n = 200
        time = 1500.0 + np.arange(n) / 720.0
        time[50] = np.nan
        flux = np.linspace(900.0, 1100.0, n)
        flux[60:65] = np.nan
        standard = {"PDCSAP_FLUX": "e-/s", "PDCSAP_FLUX_ERR": "e-/s", "TIME": "BJD - 2457000, days", **(units or {})}
        arrays = {
            "TIME": ("D", time),
            "PDCSAP_FLUX": ("E", flux),
            "PDCSAP_FLUX_ERR": ("E", np.full(n, 2.0)),
            "QUALITY": ("J", np.arange(n) % 3 * 128),
        }
        columns = [
            fits.Column(name=name, format=kind, array=values, unit=standard.get(name))
            for name, (kind, values) in arrays.items()
            if name not in without
        ]
        primary = fits.PrimaryHDU()
        primary.header.update({"TELESCOP": "TESS", "OBJECT": "TIC 42", "CAMERA": 2, "CCD": 3, **(cards or {})})
        table = fits.BinTableHDU.from_columns(columns, name=extension)
        table.header.update({"BJDREFI": 2457000, "BJDREFF": 0.0, **(table_cards or {})})
        content = io.BytesIO()
        fits.HDUList([primary, table]).writeto(content)
        return content.getvalue()

    return make
