"""Stars whose flares are known: simulated ones, split by split."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from varistar.experiments.splits import Split, SplitSettings, split_stars

from .inject import relabel
from .labels import read_simulated
from .orbits import Orbit, OrbitSettings, bin_orbit, exposures_in
from .stars import read_orbits, shards_of


class KnownStar(NamedTuple):
    """A star with its orbits and LABELS."""

    star_id: str
    orbits: Sequence[Orbit]
    labels: pl.DataFrame


def read_known(sectors: Path, orbits: OrbitSettings, splits: SplitSettings | None, split: Split) -> list[KnownStar]:
    """The stars of one split, sorted by name.

    Parameters
    ----------
    sectors : as `varistar.sky.snapshot.write_space` writes them.
    splits : None takes all stars.

    Raises
    ------
    DataError
        When there are no light curves.
    """
    shards = shards_of(sectors)
    labels = read_simulated(sectors / "flares.parquet")
    stars = []
    for shard in shards:
        read = list(read_orbits(shard, orbits))
        names = [name for name, _ in read]
        chosen = np.ones(len(names), bool) if splits is None else split_stars(names, splits) == split
        for (name, its_orbits), mine in zip(read, chosen, strict=True):
            if mine:
                stars.append(KnownStar(name, its_orbits, labels.filter(pl.col("star_id") == name)))
    return sorted(stars, key=lambda star: star.star_id)


def at_cadence(star: KnownStar, minutes: float) -> KnownStar:
    """The star as exposures about so many minutes long show it; as it is where its own are no shorter."""
    sizes = [exposures_in(minutes, orbit) for orbit in star.orbits]
    if all(size == 1 for size in sizes):
        return star
    orbits = [bin_orbit(orbit, size) for orbit, size in zip(star.orbits, sizes, strict=True)]
    return KnownStar(star.star_id, orbits, relabel(star.labels, orbits))
