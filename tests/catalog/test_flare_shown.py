"""What the figures show is what was measured: the same periodogram, the same flares left out, the right flare."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.catalog.flare_shown import light_of_largest, light_of_sectors, shown_sectors
from varistar.flares.orbits import OrbitSettings
from varistar.flares.rotation import RotationSettings, measure_sectors
from varistar.flares.stars import read_orbits, shards_of
from varistar.flares.trend import TrendSettings, mask_events
from varistar.lightcurves.shards import write_shard

from .test_flares import AMPLITUDES, PERIOD, TPEAKS, spotted  # type: ignore[import-not-found]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stars in two shards, of which one flares."""
    folder = tmp_path_factory.mktemp("survey")
    (folder / "light_curves").mkdir()
    write_shard(folder / "light_curves/part-00000.parquet", spotted("quiet", False, 2))
    write_shard(folder / "light_curves/part-00001.parquet", spotted("flaring", True, 1))
    return folder


def test_a_sectors_periodogram_is_the_one_that_was_measured(survey: Path) -> None:
    orbits = dict(read_orbits(shards_of(survey)[1], OrbitSettings()))["flaring"]
    nearest = [(number, int(np.argmin(np.abs(orbit.time - t)))) for number, orbit in enumerate(orbits) for t in TPEAKS]
    inside = [(n, i) for n, i in nearest if 0 < i < len(orbits[n]) - 1]
    flares = pl.DataFrame(
        {
            "star_id": ["flaring"] * len(inside),
            "orbit": [n for n, _ in inside],
            "first": [i - 2 for _, i in inside],
            "last": [i + 20 for _, i in inside],
        }
    )
    trend = TrendSettings()
    masks = [
        mask_events(len(orbit), part["first"].to_numpy(), part["last"].to_numpy(), trend)
        for number, orbit in enumerate(orbits)
        for part in [flares.filter(pl.col("orbit") == number)]
    ]
    sectors = measure_sectors("flaring", orbits, masks, RotationSettings())
    curves, spectra = light_of_sectors(survey, sectors, flares, OrbitSettings(), RotationSettings(), trend)
    assert spectra["sector"].unique().to_list() == ["flaring, 1"]
    assert spectra["power"].max() == pytest.approx(sectors["power"].item(), rel=1e-3)
    highest = spectra["period_days"][int(np.argmax(spectra["power"].to_numpy()))]
    assert highest == pytest.approx(PERIOD, rel=0.02)
    with_flares = light_of_sectors(survey, sectors, flares.clear(), OrbitSettings(), RotationSettings(), trend)[0]
    assert curves.height < with_flares.height
    assert curves["flux"].max() < with_flares["flux"].max()


def test_the_largest_flare_is_shown_at_its_peak(survey: Path) -> None:
    orbits = dict(read_orbits(shards_of(survey)[1], OrbitSettings()))["flaring"]
    place = int(np.argmax(AMPLITUDES))
    number = next(i for i, orbit in enumerate(orbits) if orbit.time[0] <= TPEAKS[place] <= orbit.time[-1])
    largest = pl.DataFrame({"star_id": ["flaring"], "orbit": [number], "tpeak": [TPEAKS[place]]})
    light = light_of_largest(survey, largest, OrbitSettings())
    assert light["rank"].unique().to_list() == [1]
    peak = light["minutes"][int(np.argmax(light["flux"].to_numpy()))]
    assert abs(peak) < 4.0
    assert light_of_largest(survey, largest.clear(), OrbitSettings()).is_empty()


def test_the_commonest_verdicts_are_shown_each_by_its_median_power() -> None:
    sectors = pl.DataFrame(
        {
            "star_id": list("abcdefg"),
            "sector": [1] * 7,
            "power": [0.3, 0.1, 0.2, 0.9, 0.8, None, 0.4],
            "flags": [0, 0, 0, 33, 33, 64, 1],
        },
        schema_overrides={"flags": pl.Int32},
    )
    shown = shown_sectors(sectors)
    assert shown.select("star_id", "verdict").rows() == [("c", "trusted"), ("e", "long, incoherent"), ("g", "long")]
    assert shown_sectors(sectors.clear()).is_empty()
