"""Stars with their flares, split by split."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.experiments.splits import SPLITS, SplitSettings, split_stars
from varistar.flares.known import at_cadence, read_known
from varistar.flares.labels import read_simulated
from varistar.flares.orbits import OrbitSettings, split_orbits
from varistar.flares.stars import orbits_of, read_orbits, shards_of
from varistar.foundation.errors import DataError
from varistar.foundation.params import read_section
from varistar.lightcurves.shards import read_shard
from varistar.physics.flares import Flares, flare_flux

ORBITS = OrbitSettings()


@pytest.fixture(scope="module")
def sectors(project: Any) -> Path:
    return project.build / "sectors"


@pytest.fixture(scope="module")
def splits(project: Any) -> SplitSettings:
    return read_section(project.root, "flares.split", SplitSettings)


def test_stars_come_with_their_orbits_in_the_order_of_the_table(sectors: Path) -> None:
    for shard in shards_of(sectors)[:2]:
        curves = read_shard(shard)
        found = list(read_orbits(shard, ORBITS))
        assert [name for name, _ in found] == list(curves.star_id)
        for i, (_, orbits) in enumerate(found):
            star = curves.star(i)
            expected = split_orbits(star["time"], star["flux"], star["flux_err"], star["quality"], ORBITS)
            assert len(orbits) == len(expected) > 0
            for one, other in zip(orbits, expected, strict=True):
                np.testing.assert_array_equal(one.time, other.time)
                np.testing.assert_array_equal(one.flux, other.flux)


def test_flags_decide_what_counts_and_none_are_needed(sectors: Path) -> None:
    """A star without a usable orbit is there, and has none."""
    curves = read_shard(shards_of(sectors)[0])
    assert (curves.star(0)["quality"] != 0).any()
    strict, lax = (
        sum(int(orbit.good.sum()) for _, orbits in orbits_of(curves, settings) for orbit in orbits)
        for settings in (OrbitSettings(quality=(0,)), OrbitSettings(spoiled=0))
    )
    assert strict < lax
    assert [(name, len(orbits)) for name, orbits in orbits_of(curves, OrbitSettings(min_cadences=10**6))] == [
        (name, 0) for name in curves.star_id
    ]


def test_every_star_is_known_in_one_split_with_its_own_flares(sectors: Path, splits: SplitSettings) -> None:
    truth = pl.read_parquet(sectors / "truth.parquet")["star_id"].to_list()
    labels = read_simulated(sectors / "flares.parquet")
    seen: list[str] = []
    for split in SPLITS:
        stars = read_known(sectors, ORBITS, splits, split)
        names = [star.star_id for star in stars]
        assert names == sorted(names) and len(names) > 1
        assert set(split_stars(names, splits)) == {split}
        for star in stars:
            assert star.orbits and star.labels.equals(labels.filter(star_id=star.star_id))
        seen += names
    assert sorted(seen) == sorted(truth)
    everything = read_known(sectors, ORBITS, None, "test")
    assert [star.star_id for star in everything] == sorted(truth)
    assert sum(star.labels.height for star in everything) == labels.height > 0


def test_what_is_missing_is_named(sectors: Path, splits: SplitSettings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"light_curves: there are no light curves; make them with `dvc repro`"):
        read_known(tmp_path, ORBITS, splits, "test")
    (tmp_path / "light_curves").symlink_to(sectors / "light_curves")
    with pytest.raises(DataError, match=r"flares\.parquet"):
        read_known(tmp_path, ORBITS, splits, "test")


def test_longer_exposures_show_the_same_flares_with_their_own_signal(sectors: Path, splits: SplitSettings) -> None:
    """The signal-to-noise ratio is that of the highest exposure, of the flare alone."""
    stars = read_known(sectors, ORBITS, splits, "test")
    assert all(at_cadence(star, 2.0) is star for star in stars)
    checked = 0
    for star in stars:
        binned = at_cadence(star, 30.0)
        assert [len(orbit) for orbit in binned.orbits] == [len(orbit) // 15 for orbit in star.orbits]
        assert binned.labels.drop("tstart", "tstop", "peak_snr").equals(star.labels.drop("tstart", "tstop", "peak_snr"))
        for row in binned.labels.drop_nulls("peak_snr").iter_rows(named=True):
            (orbit,) = [one for one in binned.orbits if one.time[0] - 0.02 < row["tpeak"] < one.time[-1] + 0.02]
            flare = Flares(
                *(np.array([row[n]]) for n in ("tpeak", "amplitude")),
                np.array([row["fwhm_minutes"] / 1440]),
                np.zeros(1, int),
            )
            light = flare_flux(flare, orbit.time, orbit.cadence) / orbit.flux_err
            assert row["peak_snr"] == pytest.approx(np.nanmax(light), rel=1e-6)
            assert row["tstart"] <= orbit.time[np.nanargmax(light)] <= row["tstop"]
            checked += 1
    assert checked > 10


def test_flares_that_no_exposure_shows_have_no_signal(sectors: Path, splits: SplitSettings) -> None:
    star = next(star for star in read_known(sectors, ORBITS, splits, "train") if star.labels.height > 3)
    nowhere = star._replace(
        orbits=[star.orbits[0]], labels=star.labels.with_columns(tpeak=star.orbits[0].time[-1] + 3.0)
    )
    assert at_cadence(nowhere, 10.0).labels["peak_snr"].is_null().all()
