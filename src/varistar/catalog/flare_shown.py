"""The light curves that the figures of the flare science show: around the largest flares, and of sectors whose rotation
is trusted or not, with their periodograms."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from varistar.flares.orbits import Orbit, OrbitSettings
from varistar.flares.rotation import Doubt, RotationSettings, sector_of_orbits
from varistar.flares.spectrum import bin_cadences, periodogram
from varistar.flares.stars import read_orbits, shards_of
from varistar.flares.trend import TrendSettings, mask_events

SHOWN_LARGEST, AROUND_DAYS = 4, 0.12
SHOWN_SECTORS = 4
LIGHT = {"rank": pl.Int64, "star_id": pl.String, "minutes": pl.Float64, "flux": pl.Float64}
CURVES = {"sector": pl.String, "time": pl.Float64, "flux": pl.Float64}
SPECTRA = {"sector": pl.String, "period_days": pl.Float64, "power": pl.Float64}


def light_of_largest(survey: Path, largest: pl.DataFrame, orbits: OrbitSettings) -> pl.DataFrame:
    """The light curves around the first of the largest flares: `rank` from 1, `star_id`, `minutes` from the peak and
    `flux`."""
    wanted = largest.head(SHOWN_LARGEST).with_row_index("rank", offset=1)
    parts = [pl.DataFrame(schema=LIGHT)]
    for star_id, its_orbits in _orbits(survey, wanted, orbits):
        for row in wanted.filter(pl.col("star_id") == star_id).iter_rows(named=True):
            orbit = its_orbits[row["orbit"]]
            near = orbit.good & (np.abs(orbit.time - row["tpeak"]) <= AROUND_DAYS)
            part = pl.DataFrame({"minutes": 1440.0 * (orbit.time[near] - row["tpeak"]), "flux": orbit.flux[near]})
            parts.append(part.select(pl.lit(row["rank"]).alias("rank"), pl.lit(star_id).alias("star_id"), pl.all()))
    return pl.concat([part.cast(pl.Schema(LIGHT)) for part in parts]).sort("rank", "minutes")


def shown_sectors(sectors: pl.DataFrame) -> pl.DataFrame:
    """Of the commonest verdicts on a sector's period, which `flags` are, the sector with the median power of each.

    Returns
    -------
    rows of `sectors`, the commonest verdict first, with `verdict` in words.
    """
    measured = sectors.drop_nulls("power").sort("flags", "power", "star_id", "sector")
    groups = sorted(measured.partition_by("flags"), key=len, reverse=True)[:SHOWN_SECTORS]
    rows = pl.concat([measured.clear(), *(group.slice((len(group) - 1) // 2, 1) for group in groups)])
    words = [", ".join(str(doubt.name).lower() for doubt in Doubt if flags & doubt) for flags in rows["flags"]]
    return rows.with_columns(verdict=pl.Series([word or "trusted" for word in words], dtype=pl.String))


def light_of_sectors(
    survey: Path,
    shown: pl.DataFrame,
    flares: pl.DataFrame,
    orbits: OrbitSettings,
    settings: RotationSettings,
    trend: TrendSettings,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Light curve and periodogram of some sectors, flares left out, as their rotation was measured.

    Parameters
    ----------
    shown : `star_id` and `sector` of each.
    flares : the catalog's, with `orbit`, `first` and `last`.

    Returns
    -------
    curves : `sector` (star and number), `time` [d] and `flux`, about its orbit's mean.
    spectra : `sector`, `period_days` and `power`.
    """
    curves, spectra = [pl.DataFrame(schema=CURVES)], [pl.DataFrame(schema=SPECTRA)]
    for star_id, its_orbits in _orbits(survey, shown, orbits):
        own = flares.filter(pl.col("star_id") == star_id)
        numbers = sector_of_orbits(its_orbits)
        for sector in shown.filter(pl.col("star_id") == star_id)["sector"]:
            mine = [number for number, of in enumerate(numbers) if of == sector]
            events = [own.filter(pl.col("orbit") == number) for number in mine]
            masks = [
                mask_events(len(its_orbits[number]), found["first"].to_numpy(), found["last"].to_numpy(), trend)
                for number, found in zip(mine, events, strict=True)
            ]
            points = bin_cadences(
                [its_orbits[number] for number in mine], masks, settings.bin_minutes, settings.orbit_constants
            )
            spectrum = periodogram(points, settings.shortest_days, settings.longest_days, settings.oversample)
            name = pl.lit(f"{star_id}, {sector}").alias("sector")
            curves.append(pl.DataFrame({"time": points.time, "flux": points.flux}).select(name, pl.all()))
            if spectrum is not None:
                shape = {"period_days": 1.0 / spectrum.frequency, "power": spectrum.power}
                spectra.append(pl.DataFrame(shape).select(name, pl.all()))
    return pl.concat(curves), pl.concat(spectra)


def _orbits(survey: Path, wanted: pl.DataFrame, settings: OrbitSettings) -> Iterator[tuple[str, list[Orbit]]]:
    """The orbits of each star that is named in a table."""
    names = set(wanted["star_id"])
    for shard in shards_of(survey):
        for star_id, orbits in read_orbits(shard, settings):
            if star_id in names:
                yield star_id, orbits
