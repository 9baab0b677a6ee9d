"""The surveys as folders: equal settings give equal bytes, whoever makes them, which read back as the sky."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk import estimate
from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import COLUMNS, LightCurves, concatenate
from varistar.sky import ground, snapshot
from varistar.sky.ground import SkySettings, StarCounts, simulate_sky
from varistar.sky.snapshot import write_ground, write_space
from varistar.sky.spacecraft import FLARES, STARS, SectorSettings, simulate_targets
from varistar.sky.spacecraft import TRUTH as SPACE_TRUTH

GROUND = SkySettings(n_fields=18, counts=StarCounts().of(60), span=(58300.0, 58600.0))
SPACE = SectorSettings(n_stars=5, second_sector=0.2)
TINY = SkySettings(n_fields=1, counts=StarCounts().of(14), span=(58500.0, 58560.0))
NOTHING = SkySettings(counts=StarCounts(**dict.fromkeys(StarCounts.model_fields, 0)))

Write = Callable[..., Path | None]


def made(folder: Path | None) -> Path:
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def from_ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(write_ground(GROUND, tmp_path_factory.mktemp("sky") / "ground", 1))


@pytest.fixture(scope="module")
def from_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(write_space(SPACE, tmp_path_factory.mktemp("sky") / "space", 1))


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stored(folder: Path) -> LightCurves:
    return concatenate(list(Store(folder / "light_curves").iter_shards()))


def assert_equal(left: LightCurves, right: LightCurves) -> None:
    assert left.star_id == right.star_id and left.columns.keys() == right.columns.keys()
    assert (left.time_system, left.flux_unit, left.survey) == (right.time_system, right.flux_unit, right.survey)
    for name, values in left.columns.items():
        np.testing.assert_array_equal(values, right[name])


# ---------------------------------------------------------------------------------------------------------------------
# What is written


def test_the_ground_based_survey_is_the_sky(from_ground: Path) -> None:
    sky = simulate_sky(GROUND)
    assert content(from_ground) == {"light_curves", "stars.parquet", "truth.parquet", "README.md"}
    assert_equal(stored(from_ground), sky.light_curves)
    assert set(stored(from_ground).columns) == set(COLUMNS)
    assert pl.read_parquet(from_ground / "stars.parquet").equals(sky.stars)
    assert pl.read_parquet(from_ground / "truth.parquet").equals(sky.truth)
    assert not from_ground.with_name("ground.parts").exists()


def test_the_space_based_survey_is_the_sky(from_space: Path) -> None:
    sky = simulate_targets(SPACE)
    assert content(from_space) == {"light_curves", "stars.parquet", "truth.parquet", "flares.parquet", "README.md"}
    assert_equal(stored(from_space), sky.light_curves)
    for name, table in (("stars", sky.stars), ("truth", sky.truth), ("flares", sky.flares)):
        assert pl.read_parquet(from_space / f"{name}.parquet").equals(table)


@pytest.mark.parametrize("survey", ["from_ground", "from_space"])
def test_tables_join_the_light_curves(survey: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(survey)
    names = set(Store(folder / "light_curves").index()["star_id"])
    for table in ("stars", "truth"):
        rows = pl.read_parquet(folder / f"{table}.parquet")["star_id"]
        assert set(rows) == names and rows.is_unique().all()


def test_space_tables_have_their_columns_even_without_flares(from_space: Path, tmp_path: Path) -> None:
    quiet = SPACE.model_validate(
        {"n_stars": 2, "shares": dict.fromkeys(type(SPACE.shares).model_fields, 0) | {"quiet": 1}}
    )
    folder = made(write_space(quiet, tmp_path / "quiet", 1))
    for where in (from_space, folder):
        for table, schema in (("stars", STARS), ("truth", SPACE_TRUTH), ("flares", FLARES)):
            assert dict(pl.read_parquet_schema(where / f"{table}.parquet")) == schema
    assert pl.read_parquet(folder / "flares.parquet").height == 0


@pytest.mark.parametrize(
    ("survey", "said"),
    [
        ("from_ground", f"60 stars ({GROUND.counts.clump} clump, {GROUND.counts.quasar} quasar"),
        ("from_space", "5 stars ("),
        ("from_space", "sectors 14, 15"),
    ],
)
def test_the_datasheet_says_what_it_is_and_names_every_column(
    survey: str, said: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(survey)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.isascii() and said in text
    assert "Not real data" in text and "seed 88" in text and '"seed": 88' in text
    assert f"{int(stored(folder).offsets[-1])} " in text
    sections = {part.split(":")[0].split("\n")[0].strip(): part for part in text.split("\n## ")[1:]}
    for table in folder.glob("*.parquet"):
        for column in pl.read_parquet_schema(table):
            assert f"| `{column}` | " in sections[table.name]
    for column in stored(folder).columns:
        assert f"| `{column}` | " in sections["light_curves/part-*.parquet"]


def test_a_shared_cadence_packs_well(tmp_path: Path) -> None:
    crowded = SkySettings(n_fields=1, counts=StarCounts(**dict.fromkeys(StarCounts.model_fields, 12)))
    folder = made(write_ground(crowded, tmp_path / "crowded", 1))
    points = int(Store(folder / "light_curves").index()["n_points"].sum())
    size = sum(file.stat().st_size for file in (folder / "light_curves").iterdir())
    # 47 bytes before compression, of which flux and magnitudes carry 2.5 bytes of noise
    assert points > 50_000 and size / points < 5


# ---------------------------------------------------------------------------------------------------------------------
# Who makes it


def test_two_workers_write_the_same_bytes(from_ground: Path, tmp_path: Path) -> None:
    assert folder_hash(made(write_ground(GROUND, tmp_path / "again", 2))) == folder_hash(from_ground)


def test_two_workers_write_the_same_bytes_from_space(from_space: Path, tmp_path: Path) -> None:
    assert folder_hash(made(write_space(SPACE, tmp_path / "again", 2))) == folder_hash(from_space)


def test_another_seed_is_another_sky(from_ground: Path, tmp_path: Path) -> None:
    other = made(write_ground(GROUND.model_copy(update={"seed": 1}), tmp_path / "other", 1))
    assert not set(stored(other).star_id) & set(stored(from_ground).star_id)


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int, error: BaseException) -> list[Any]:
    """Let the call of this number to a function of `snapshot` fail; returns the arguments of all calls."""
    real, calls = getattr(snapshot, name), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return real(*arguments)

    monkeypatch.setattr(snapshot, name, failing)
    return calls


@pytest.mark.parametrize(
    ("write", "settings", "made_by", "pieces", "survey"),
    [
        (write_ground, GROUND, "simulate_piece", 18, "from_ground"),
        (write_space, SPACE, "simulate_targets", 5, "from_space"),
    ],
)
def test_an_interrupted_run_goes_on_where_it_was(
    write: Write,
    settings: Any,
    made_by: str,
    pieces: int,
    survey: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    calls = fail_at(monkeypatch, made_by, 3, KeyboardInterrupt())
    folder = tmp_path / survey.removeprefix("from_")
    with pytest.raises(KeyboardInterrupt):
        write(settings, folder, 1)
    assert not folder.exists() and len(calls) == 3
    write(settings, folder, 1)
    assert len(calls) == 1 + pieces, "the third piece is made twice, and no other"
    assert folder_hash(folder) == folder_hash(request.getfixturevalue(survey))
    assert not folder.with_name(f"{folder.name}.parts").exists()


def test_a_piece_that_fails_is_named_and_the_others_are_kept(
    from_ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ground"
    made(write_ground(TINY, folder, 1))
    before = folder_hash(folder)
    calls = fail_at(monkeypatch, "simulate_piece", 3, DataError("no luck"))
    with pytest.raises(
        DataError, match=r"1 of 18 pieces failed, first field 2: no luck; .*run the same command"
    ) as caught:
        write_ground(GROUND, folder, 1)
    assert "\n" not in str(caught.value)
    assert folder_hash(folder) == before, "what was there is there"
    write_ground(GROUND, folder, 1)
    assert len(calls) == 19
    assert folder_hash(folder) == folder_hash(from_ground)


def test_what_other_settings_left_is_not_taken_up(
    from_ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        fail_at(patch, "simulate_piece", 3, KeyboardInterrupt())
        write_ground(GROUND.model_copy(update={"seed": 1}), tmp_path / "sky", 1)
    assert folder_hash(made(write_ground(GROUND, tmp_path / "sky", 1))) == folder_hash(from_ground)


# ---------------------------------------------------------------------------------------------------------------------
# Pieces and shards


def test_a_large_field_is_made_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sky = simulate_sky(TINY)
    whole = {star: i for i, star in enumerate(sky.light_curves.star_id)}
    monkeypatch.setattr(ground, "STARS_PER_PIECE", 4)
    monkeypatch.setattr(snapshot, "PIECES", 2)
    sizes = []
    real = snapshot.simulate_piece
    monkeypatch.setattr(snapshot, "simulate_piece", lambda s, piece: sizes.append(piece.n_stars) or real(s, piece))
    folder = made(write_ground(TINY, tmp_path / "sky", 1))
    assert sizes == [4, 4, 3, 3]
    shards = list(Store(folder / "light_curves").iter_shards())
    assert [len(shard) for shard in shards] == [8, 6]
    assert_equal(stored(folder), sky.light_curves.take([whole[star] for star in stored(folder).star_id]))
    assert sorted(stored(folder).star_id) == sorted(whole)


@pytest.mark.parametrize(("fields", "shards"), [(3, 3), (snapshot.PIECES, snapshot.PIECES), (36, 18), (100, 17)])
def test_a_sky_is_cut_into_some_sixteen_shards_of_whole_fields(fields: int, shards: int) -> None:
    pieces = ground.sky_pieces(SkySettings(n_fields=fields, counts=StarCounts().of(2000)))
    batches = list(snapshot._batches(pieces))
    assert len(batches) == shards
    assert [piece for batch in batches for piece in batch] == pieces


@pytest.mark.parametrize(("stars", "shards"), [(1, 1), (5, 5), (100, 15), (1100, 18)])
def test_the_space_based_survey_is_cut_into_some_sixteen_shards(
    stars: int, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 stars at most; the work itself is left out."""
    seen: list[Any] = []
    monkeypatch.setattr(snapshot, "run_job", lambda function, items, *_: seen.extend(items))
    write_space(SectorSettings(n_stars=stars), tmp_path / "sky", 1)
    assert [number for batch in seen for number in batch.indices] == list(range(stars))
    assert len(seen) == shards and max(len(batch.indices) for batch in seen) <= snapshot.TARGETS_PER_PIECE


# ---------------------------------------------------------------------------------------------------------------------
# Before the work


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "light_curves").mkdir(parents=True)
    (folder / "light_curves" / "part-00099.parquet").write_text("old")
    write_ground(TINY, folder, 1)
    assert content(folder) == {"light_curves", "stars.parquet", "truth.parquet", "README.md"}
    assert content(folder / "light_curves") == {"part-00000.parquet"}


@pytest.mark.parametrize(("write", "settings"), [(write_ground, TINY), (write_space, SPACE)])
def test_a_folder_with_other_things_is_not_replaced(write: Write, settings: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"mine: holds 'thesis\.tex'.*name a folder of its own$"):
        write(settings, folder, 1)
    assert (folder / "thesis.tex").read_text() == "mine"
    assert content(tmp_path) == {"mine"}


def test_a_survey_from_space_is_not_replaced_by_one_from_the_ground(from_space: Path) -> None:
    with pytest.raises(DataError, match=r"holds 'flares\.parquet'"):
        write_ground(TINY, from_space, 1)


def test_a_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sky").write_text("mine")
    calls = fail_at(monkeypatch, "simulate_piece", 99, KeyboardInterrupt())
    with pytest.raises(DataError, match="sky: is a file"):
        write_ground(TINY, tmp_path / "sky", 1)
    assert (tmp_path / "sky").read_text() == "mine" and not calls


@pytest.mark.parametrize(("write", "settings"), [(write_ground, NOTHING), (write_space, SectorSettings(n_stars=0))])
def test_a_sky_without_stars_is_refused_and_nothing_is_lost(write: Write, settings: Any, tmp_path: Path) -> None:
    folder = tmp_path / "sky"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    with pytest.raises(DataError, match="sky without stars"):
        write(settings, folder, 1)
    assert (folder / "README.md").read_text() == "old"


@pytest.mark.parametrize(
    ("write", "settings", "said"),
    [(write_ground, TINY, "14 stars in 1 piece; at most 0.3 MB"), (write_space, SPACE, "5 stars in 5 pieces; at most")],
)
def test_a_long_work_is_announced(
    write: Write, settings: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []
    write(settings, tmp_path / "short", 1, announced.append)
    assert announced == []
    monkeypatch.setattr(estimate, "WORTH_A_TRIAL", 1)
    write(settings, tmp_path / "long", 1, announced.append)
    (sentence,) = announced
    assert sentence.startswith(said) and "of disk; about " in sentence and sentence.endswith(" s on 1 worker")
    assert folder_hash(tmp_path / "long") == folder_hash(tmp_path / "short")


@pytest.mark.parametrize(
    ("survey", "most"), [("from_ground", snapshot.GROUND_BYTES), ("from_space", snapshot.SPACE_BYTES)]
)
def test_a_star_takes_no_more_disk_than_is_foreseen(survey: str, most: int, request: pytest.FixtureRequest) -> None:
    """The shards of the pieces become the result's; the tables are there twice."""
    folder: Path = request.getfixturevalue(survey)
    stars = len(stored(folder))
    curves = sum(file.stat().st_size for file in (folder / "light_curves").iterdir())
    tables = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    assert curves + 2 * tables < most * stars


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "GROUND_BYTES", 10**18)
    with pytest.raises(DataError, match=r"14 stars may need .* there, and .* are free"):
        write_ground(TINY, tmp_path / "sky", 1)
    assert content(tmp_path) == set()
