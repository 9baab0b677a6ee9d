"""The embedded data set: equal settings give equal bytes, which read back as the sky they came from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import COLUMNS, concatenate
from varistar.sky.ground import SkySettings, StarCounts, simulate_field, simulate_sky, survey_nights
from varistar.sky.snapshot import CONTENT, SHARDS, write_snapshot

SMALL = SkySettings(
    n_fields=35,
    counts=StarCounts(clump=60, quasar=10, rotator=6, eclipsing=3, pulsating=3, semiregular=3, constant=5),
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_snapshot(SMALL, tmp_path_factory.mktemp("sky") / "data")


def test_equal_settings_give_equal_bytes(snapshot: Path, tmp_path: Path) -> None:
    assert folder_hash(write_snapshot(SMALL, tmp_path / "again")) == folder_hash(snapshot)
    other = SMALL.model_copy(update={"seed": 1})
    assert folder_hash(write_snapshot(other, tmp_path / "other")) != folder_hash(snapshot)


def test_files_hold_the_sky(snapshot: Path) -> None:
    sky = simulate_sky(SMALL)
    parts = list(Store(snapshot / "light_curves").iter_shards())
    assert len(parts) >= SHARDS
    stored = concatenate(parts)
    assert stored.star_id == sky.light_curves.star_id
    assert (stored.time_system, stored.flux_unit, stored.survey) == ("MJD_UTC", "mJy", "simulated-asassn")
    for name in COLUMNS:
        np.testing.assert_array_equal(stored[name], sky.light_curves[name])
    assert pl.read_parquet(snapshot / "stars.parquet").equals(sky.stars)
    assert pl.read_parquet(snapshot / "truth.parquet").equals(sky.truth)


def test_workers_in_any_order_make_the_same_sky() -> None:
    nights = survey_nights(SMALL)
    order = np.random.default_rng(3).permutation(SMALL.n_fields)
    with ThreadPoolExecutor(4) as pool:
        made = dict(zip(order, pool.map(lambda field: simulate_field(SMALL, field, nights), order), strict=True))
    joined = concatenate([made[field].light_curves for field in range(SMALL.n_fields)])
    sky = simulate_sky(SMALL)
    assert joined.star_id == sky.light_curves.star_id
    for name in COLUMNS:
        np.testing.assert_array_equal(joined[name], sky.light_curves[name])


def test_the_datasheet_says_what_it_is(snapshot: Path) -> None:
    text = (snapshot / "README.md").read_text(encoding="utf-8")
    assert text.isascii()
    assert "Not real data" in text and "seed 88" in text and "60 clump" in text
    for table in ("stars", "truth"):
        for column in pl.read_parquet(snapshot / f"{table}.parquet").columns:
            assert f"| `{column}` |" in text


def test_a_shared_cadence_packs_well(tmp_path: Path) -> None:
    crowded = SkySettings(n_fields=1, counts=StarCounts(**dict.fromkeys(StarCounts.model_fields, 12)))
    folder = write_snapshot(crowded, tmp_path / "crowded")
    points = simulate_sky(crowded).light_curves.offsets[-1]
    size = sum(file.stat().st_size for file in (folder / "light_curves").iterdir())
    # 47 bytes before compression, of which flux and magnitudes carry 2.5 bytes of noise
    assert size / points < 4.2


TINY = SkySettings(n_fields=1, counts=StarCounts(**(dict.fromkeys(StarCounts.model_fields, 0) | {"constant": 1})))


def test_a_snapshot_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "light_curves").mkdir(parents=True)
    (folder / "light_curves" / "part-00099.parquet").write_text("old")
    write_snapshot(TINY, folder)
    assert {path.name for path in folder.iterdir()} == CONTENT
    assert [path.name for path in (folder / "light_curves").iterdir()] == ["part-00000.parquet"]


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"holds 'thesis\.tex'"):
        write_snapshot(TINY, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_sky_without_stars_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    nothing = SkySettings(counts=StarCounts(**dict.fromkeys(StarCounts.model_fields, 0)))
    with pytest.raises(DataError, match="sky without stars"):
        write_snapshot(nothing, tmp_path)
    assert (tmp_path / "old").exists()
