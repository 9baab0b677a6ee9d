"""A flare catalog holds the flares that are there, every star that was searched, and a reason for every other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.table import Table

from varistar.catalog.flare_columns import TABLES, schema_of
from varistar.catalog.flare_star import half_found
from varistar.catalog.flares import FlarePrediction, predict_flares
from varistar.experiments.content import content_hash, read_content, write_content
from varistar.flares.completeness import completeness_of
from varistar.flares.finder import FlareFinder
from varistar.flares.measure import Star, measure_events
from varistar.flares.stars import orbits_of
from varistar.foundation.errors import DataError, RegistryError
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.physics.flares import Flares, flare_flux

CADENCE, NOISE, SPOTS, PERIOD = 2.0 / 1440.0, 0.001, 0.01, 2.7
TPEAKS = np.array([1703.0, 1706.31, 1718.02, 1721.5])
AMPLITUDES = np.array([0.05, 0.3, 0.02, 0.08])
FWHM = 8.0 / 1440.0


def spotted(name: str, flares: bool, seed: int, cadence: float = CADENCE, start: float = 1700.0) -> LightCurves:
    """Two orbits of eleven days with a gap of two between; points with flag 16, and some without flux."""
    rng = np.random.default_rng(seed)
    time = np.concatenate([np.arange(0.0, 11.0, cadence), np.arange(13.0, 24.0, cadence)]) + start
    flux = 1.0 + SPOTS * np.cos(2 * np.pi * time / PERIOD) + NOISE * rng.standard_normal(len(time))
    if flares:
        shape = Flares(TPEAKS, AMPLITUDES, np.full(len(TPEAKS), FWHM), np.arange(len(TPEAKS)))
        flux += flare_flux(shape, time, cadence)
    quality = np.zeros(len(time), np.int32)
    quality[200:230] = 16
    flux[200:230] += 0.5
    flux[400:410] = np.nan
    columns = {
        "time": time,
        "flux": (5000.0 * flux).astype(np.float32),
        "flux_err": np.full(len(time), 5000.0 * NOISE, np.float32),
        "quality": quality,
    }
    return LightCurves((name,), np.array([0, len(time)]), columns, "BTJD", "electron/s", "test")


@pytest.fixture(scope="module")
def sky() -> LightCurves:
    """One star with four flares, one without, one whose cadence is half an hour."""
    return concatenate([spotted("flaring", True, 1), spotted("quiet", False, 2), spotted("slow", False, 3, 1 / 48)])


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory, sky: LightCurves) -> Path:
    path = tmp_path_factory.mktemp("sky") / "part-00000.parquet"
    write_shard(path, sky)
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("known") / "stars.csv"
    pl.DataFrame({"star_id": ["flaring", "other"], "teff": [3400, 5000], "radius_val": [0.4, 1.0]}).write_csv(path)
    return path


def run(
    inputs: Sequence[Path], model: Path, output: Path, **more: Path
) -> tuple[FlarePrediction, dict[str, pl.DataFrame]]:
    done = predict_flares(inputs, model, output, 1, "cpu", **more)  # type: ignore[arg-type]
    tables = {"": pl.read_parquet(output)} | {name: pl.read_parquet(path) for name, path in done.beside.items()}
    assert (done.n_flares, done.n_stars, done.n_refused) == tuple(len(tables[n]) for n in ("", "stars", "refused"))
    assert not list(output.parent.glob("*.parts"))
    return done, tables


@pytest.fixture(scope="module")
def tables(
    tmp_path_factory: pytest.TempPathFactory, shard: Path, flare_model: Path, known: Path
) -> dict[str, pl.DataFrame]:
    return run([shard], flare_model, tmp_path_factory.mktemp("out") / "flares.parquet", stars=known)[1]


def test_the_flares_that_are_there_are_found_and_measured(tables: dict[str, pl.DataFrame], flare_model: Path) -> None:
    flares = tables[""].sort("tpeak")
    assert flares["star_id"].to_list() == ["flaring"] * 4, "nothing on the quiet star, and no flagged cadences"
    assert np.abs(flares["tpeak"].to_numpy() - TPEAKS).max() < 1 / 1440
    assert flares["amplitude"].to_numpy() == pytest.approx(AMPLITUDES, rel=0.15)
    assert flares["orbit"].to_list() == [0, 0, 1, 1]
    assert set(flares["time_system"]) == {"BTJD"}
    assert set(flares["model"]) == {content_hash(flare_model)}
    for name, columns in TABLES.items():
        assert tables[name].schema == schema_of(columns)


def test_the_catalog_is_what_finder_and_measurement_say(
    tables: dict[str, pl.DataFrame], sky: LightCurves, flare_model: Path
) -> None:
    finder = FlareFinder.of_folder(flare_model, "cpu")
    ((_, orbits),) = orbits_of(sky.star(0), finder.orbits)
    from varistar.flares.measure import MeasureSettings

    alone = measure_events(finder.find("flaring", orbits), orbits, Star(3400.0, 0.4), MeasureSettings())
    same = [name for name in tables[""].columns if name in alone.columns]
    assert len(same) > 20
    assert tables[""].select(same).equals(alone.select(same))
    assert tables[""]["energy_erg"].is_not_null().all()


def test_every_star_that_was_searched_has_a_row(tables: dict[str, pl.DataFrame]) -> None:
    stars = {row["star_id"]: row for row in tables["stars"].iter_rows(named=True)}
    assert list(stars) == ["flaring", "quiet"]
    flaring, quiet = stars["flaring"], stars["quiet"]
    assert flaring["searched_days"] == pytest.approx(22.0 - 40 * CADENCE, abs=3 * CADENCE)
    assert flaring["n_events"] == 4
    assert flaring["n_flares"] == pytest.approx(tables[""]["p"].sum())
    assert flaring["rate_low"] < flaring["rate_per_day"] == flaring["n_flares"] / flaring["searched_days"]
    assert (quiet["n_events"], quiet["rate_per_day"], quiet["rate_low"]) == (0, 0.0, 0.0)
    assert quiet["rate_high"] > 0
    assert (flaring["teff"], flaring["radius"], flaring["tmag"]) == (3400.0, 0.4, None)
    assert quiet["teff"] is None
    assert flaring["noise"] == pytest.approx(NOISE, rel=0.02)
    assert flaring["equivalent_duration_50_s"] is None
    refused = tables["refused"].row(0, named=True)
    assert (len(tables["refused"]), refused["star_id"]) == (1, "slow")
    assert refused["reason"] == "a cadence of 30 minutes, where the network knows 2"


@pytest.fixture(scope="module")
def model_of_cadences(tmp_path_factory: pytest.TempPathFactory, flare_model: Path) -> Path:
    """The same network, said to know up to half an hour."""
    content = read_content(flare_model)
    given = content.spec.preprocessing
    shown = given["representation"] | {"least": 5}
    spec = content.spec.model_copy(
        update={
            "preprocessing": given | {"cadences": [2.0, 10.0, 30.0], "representation": shown},
            "calibration": {"seed": 0.5, "seed@10": 0.8, "seed@30": 0.3, "event_offset@30": 2.0},
        }
    )
    folder = tmp_path_factory.mktemp("model of cadences") / "model"
    write_content(folder, replace(content, spec=spec))
    return folder


@pytest.mark.parametrize(
    ("minutes", "served", "tpeaks"),
    [(1 / 3, 2.0, TPEAKS), (0.98, 1.96, TPEAKS), (10.0, 10.0, TPEAKS[[0, 1, 3]]), (30.0, 30.0, TPEAKS[[1]])],
)
def test_flares_are_found_at_every_cadence_that_the_network_knows(
    model_of_cadences: Path, tmp_path: Path, minutes: float, served: float, tpeaks: np.ndarray
) -> None:
    """End to end; shorter exposures are joined, and the table of stars says which were searched."""
    write_shard(tmp_path / "in/part.parquet", spotted("flaring", True, 1, minutes / 1440))
    _, tables = run([tmp_path / "in/part.parquet"], model_of_cadences, tmp_path / "flares.parquet")
    found = tables[""].filter(pl.col("p") > 0.5).sort("tpeak")
    away = np.abs(found["tpeak"].to_numpy()[:, None] - TPEAKS).min(axis=1)
    assert (away < max(2.0, served) / 1440).all(), "nothing but flares"
    assert all(np.abs(found["tpeak"].to_numpy() - tpeak).min() < max(2.0, served) / 1440 for tpeak in tpeaks)
    star = tables["stars"].row(0, named=True)
    assert star["cadence_minutes"] == pytest.approx(served, rel=1e-6)
    assert star["noise"] == pytest.approx(NOISE * np.sqrt(minutes / served), rel=0.02)
    assert star["searched_days"] == pytest.approx(22.0, abs=50 * served / 1440)
    assert tables["phases"]["searched_days"].sum() == pytest.approx(star["searched_days"])
    assert found["energy_erg"].is_null().all() and found["equivalent_duration_s"].is_not_null().all()


def test_a_star_of_several_cadences_is_searched_at_each(model_of_cadences: Path, tmp_path: Path) -> None:
    """The flares are those of its parts; what it says of its noise is that of the longest part. An hour is no cadence
    that the network knows, and a star that has no other is refused."""
    slow, fast = spotted("star", True, 1, 10.0 / 1440), spotted("star", True, 2)
    later = LightCurves(fast.star_id, fast.offsets, fast.columns | {"time": fast.columns["time"] + 40.0}, *_of(fast))
    hourly = spotted("star", True, 3, 1.0 / 24.0, 1800.0)
    whole = LightCurves(
        ("star",),
        np.array([0, sum(part.offsets[-1] for part in (slow, later, hourly))]),
        {name: np.concatenate([part.columns[name] for part in (slow, later, hourly)]) for name in slow.columns},
        *_of(slow),
    )
    write_shard(tmp_path / "in/part.parquet", concatenate([whole, spotted("hourly", True, 4, 1.0 / 24.0)]))
    _, tables = run([tmp_path / "in/part.parquet"], model_of_cadences, tmp_path / "flares.parquet")
    star = tables["stars"].row(0, named=True)
    assert (star["star_id"], star["n_orbits"]) == ("star", 4)
    assert star["cadence_minutes"] == pytest.approx(10.0) or star["cadence_minutes"] == pytest.approx(2.0)
    assert star["searched_days"] == pytest.approx(44.0, abs=1.0)
    assert tables["phases"]["searched_days"].sum() == pytest.approx(star["searched_days"])
    orbits = tables[""].sort("tpeak")["orbit"].to_list()
    assert set(orbits) == {0, 1, 2, 3} and orbits == sorted(orbits)
    refused = tables["refused"].row(0, named=True)
    assert (refused["star_id"], refused["reason"]) == (
        "hourly",
        "a cadence of 60 minutes, where the network knows 2 to 30",
    )


def _of(light_curves: LightCurves) -> tuple[str, str, str]:
    return light_curves.time_system, light_curves.flux_unit, light_curves.survey


def test_sensitivity_is_that_of_the_nearest_cadence(model_of_cadences: Path, tmp_path: Path) -> None:
    write_shard(
        tmp_path / "in/part.parquet",
        concatenate([spotted("two", False, 1), spotted("ten", False, 2, 10 / 1440), spotted("slow", False, 3, 1 / 48)]),
    )
    rng = np.random.default_rng(0)
    size = rng.uniform(-1, 4, 8000)
    minutes = np.repeat([2.0, 10.0], 4000)
    table = pl.DataFrame(
        {
            "equivalent_duration_s": 10**size,
            "peak_snr": 10 ** (size - 0.5),
            "recovered": size > np.where(minutes == 2.0, 1.0, 2.0),
            "cadence_minutes": minutes,
        }
    )
    table.write_parquet(tmp_path / "recovery.parquet")
    _, tables = run(
        [tmp_path / "in/part.parquet"],
        model_of_cadences,
        tmp_path / "f.parquet",
        recovery=tmp_path / "recovery.parquet",
    )
    two, ten, slow = tables["stars"]["equivalent_duration_50_s"].to_list()
    finder = FlareFinder.of_folder(model_of_cadences, "cpu")
    assert list(finder.rules) == [2.0, 10.0, 30.0]
    for half, name, cadence in ((two, 2.0, CADENCE), (ten, 10.0, 10 / 1440)):
        surface = completeness_of(table.filter(pl.col("cadence_minutes") == name))
        noise = tables["stars"].filter(pl.col("cadence_minutes").is_between(0.9 * name, 1.1 * name))["noise"][0]
        assert half == pytest.approx(half_found(surface.of_star(noise, cadence)), rel=1e-6)
    assert slow is None, "nobody injected anything near half an hour"


def test_rotation_and_its_phases(tables: dict[str, pl.DataFrame]) -> None:
    stars = tables["stars"]
    assert stars["rotation_accepted"].to_list() == [True, True]
    assert stars["rotation_days"].to_numpy() == pytest.approx(PERIOD, rel=0.02)
    assert stars["rotation_doubts"].to_list() == [0, 0]
    expected = (tables[""].sort("tpeak")["tpeak"].to_numpy() / PERIOD + 0.5) % 1.0 - 0.5
    off = (tables[""].sort("tpeak")["phase"].to_numpy() - expected + 0.5) % 1.0 - 0.5
    assert np.abs(off).max() < 0.03
    days = tables["phases"].group_by("star_id").agg(pl.col("searched_days").sum()).sort("star_id")
    assert days["searched_days"].to_numpy() == pytest.approx(stars["searched_days"].to_numpy())


def test_formats_hold_the_same(
    tables: dict[str, pl.DataFrame], shard: Path, known: Path, flare_model: Path, tmp_path: Path
) -> None:
    predict_flares([shard], flare_model, tmp_path / "flares.fits", 1, "cpu", stars=known)
    predict_flares([shard], flare_model, tmp_path / "flares.csv", 1, "cpu", stars=known)
    table = Table.read(tmp_path / "flares.fits")
    assert str(table["energy_erg"].unit) == "erg"
    assert table["tpeak"].tolist() == tables[""]["tpeak"].to_list()
    stars = pl.read_csv(tmp_path / "flares.stars.csv", schema=dict(tables["stars"].schema))
    empty_is_null = pl.col("rotation_reason").fill_null("")
    assert stars.with_columns(empty_is_null).equals(tables["stars"].with_columns(empty_is_null))


def test_a_star_in_two_files_counts_once(shard: Path, sky: LightCurves, flare_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    write_shard(other, concatenate([spotted("new", True, 5), sky.star(0), spotted("last", True, 6)]))
    _, tables = run([other, shard], flare_model, tmp_path / "out" / "flares.parquet")
    assert sorted(tables["stars"]["star_id"]) == ["flaring", "last", "new", "quiet"]
    assert tables[""].group_by("star_id").len().sort("star_id").rows() == [("flaring", 4), ("last", 4), ("new", 4)]
    assert tables["phases"].group_by("star_id").len()["len"].to_list() == [20] * 4
    assert len(tables["sectors"]) == 4
    again = tables["refused"].filter(pl.col("star_id") == "flaring")
    assert again["reason"].to_list() == ["the star stands in a file before this one"]


def test_engines_and_interruptions_do_not_change_a_byte(shard: Path, flare_model: Path, tmp_path: Path) -> None:
    from varistar.bulk.engine import Engine

    first, second = tmp_path / "a" / "flares.parquet", tmp_path / "b" / "flares.parquet"
    predict_flares([shard], flare_model, first, 1, "cpu")  # type: ignore[arg-type]
    predict_flares([shard], flare_model, second, Engine(workers=2), "cpu")
    for path in first.parent.glob("*.parquet"):
        assert path.read_bytes() == (second.parent / path.name).read_bytes(), path.name


def test_injected_flares_say_how_small_a_flare_is_found(shard: Path, flare_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = rng.uniform(-1, 4, 4000)
    table = pl.DataFrame({"equivalent_duration_s": 10**size, "peak_snr": 10 ** (size - 0.5), "recovered": size > 1.5})
    table.write_parquet(tmp_path / "recovery.parquet")
    _, tables = run([shard], flare_model, tmp_path / "flares.parquet", recovery=tmp_path / "recovery.parquet")
    half = tables["stars"]["equivalent_duration_50_s"].to_numpy()
    assert np.all((half > 0.5) & (half < 300.0))
    assert (tables["stars"]["amplitude_50"] > 0).all()


@pytest.mark.parametrize("minutes", [[], [None], ["two"], [0.0], [float("nan")]])
def test_injected_flares_need_a_cadence_that_is_one(
    minutes: list[object], shard: Path, flare_model: Path, tmp_path: Path
) -> None:
    n, recovery = len(minutes), tmp_path / "recovery.parquet"
    columns = {"equivalent_duration_s": [1.0] * n, "peak_snr": [5.0] * n, "recovered": [True] * n}
    pl.DataFrame({**columns, "cadence_minutes": minutes}).write_parquet(recovery)
    with pytest.raises(DataError, match="'cadence_minutes' must hold positive numbers, and at least one"):
        predict_flares([shard], flare_model, tmp_path / "flares.parquet", 1, "cpu", recovery=recovery)  # type: ignore[arg-type]


def test_too_few_injected_flares_of_a_cadence_are_told_of_by_file(
    shard: Path, flare_model: Path, tmp_path: Path
) -> None:
    few = {"equivalent_duration_s": [1.0], "peak_snr": [5.0], "recovered": [True], "cadence_minutes": [2.0]}
    pl.DataFrame(few).write_parquet(tmp_path / "recovery.parquet")
    with pytest.raises(DataError, match=r"recovery\.parquet: completeness needs injected flares of several sizes"):
        predict_flares(
            [shard],
            flare_model,
            tmp_path / "flares.parquet",
            1,  # type: ignore[arg-type]
            "cpu",
            recovery=tmp_path / "recovery.parquet",
        )


def test_half_found() -> None:
    assert half_found(lambda ed: 1 / (1 + (20.0 / ed) ** 2)) == pytest.approx(20.0, rel=1e-3)
    assert half_found(lambda ed: np.full_like(ed, 0.4)) is None
    assert half_found(lambda ed: np.full_like(ed, 0.9)) is None


def test_what_cannot_be_used_is_refused(
    shard: Path, flare_model: Path, period_model: Path, known: Path, tmp_path: Path
) -> None:
    out = tmp_path / "flares.parquet"
    with pytest.raises(RegistryError, match="belongs to the wing 'periods'"):
        predict_flares([shard], period_model, out, 1, "cpu")  # type: ignore[arg-type]
    (tmp_path / "odd.csv").write_text("star_id,teff\na,hot\n")
    with pytest.raises(DataError, match="'teff' holds String; expected numbers"):
        predict_flares([shard], flare_model, out, 1, "cpu", stars=tmp_path / "odd.csv")  # type: ignore[arg-type]
    (tmp_path / "twice.csv").write_text("star_id,teff\na,1\na,2\n")
    with pytest.raises(DataError, match="star 'a' stands twice"):
        predict_flares([shard], flare_model, out, 1, "cpu", stars=tmp_path / "twice.csv")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no column 'equivalent_duration_s'"):
        predict_flares([shard], flare_model, out, 1, "cpu", recovery=known)  # type: ignore[arg-type]
    stars = tmp_path / "flares.stars.csv"
    stars.write_bytes(known.read_bytes())
    with pytest.raises(DataError, match="an input, which the catalog would replace"):
        predict_flares([shard], flare_model, tmp_path / "flares.csv", 1, "cpu", stars=stars)  # type: ignore[arg-type]
    (tmp_path / "bad.csv").write_text("nothing,that,is,known\n")
    with pytest.raises(DataError, match=r"bad\.csv"):
        predict_flares([tmp_path / "bad.csv"], flare_model, out, 1, "cpu")  # type: ignore[arg-type]
