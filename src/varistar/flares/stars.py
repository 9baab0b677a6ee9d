"""Stars of a folder of light curves, one by one, as orbits."""

from collections.abc import Iterator
from pathlib import Path

from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves

from .orbits import Orbit, OrbitSettings, split_orbits


def orbits_of(light_curves: LightCurves, settings: OrbitSettings) -> Iterator[tuple[str, list[Orbit]]]:
    """Each star with its orbits, in the order of the table; a star without a usable orbit has none."""
    for i, star_id in enumerate(light_curves.star_id):
        star = light_curves.star(i)
        quality = star["quality"] if "quality" in star.columns else None
        yield star_id, split_orbits(star["time"], star["flux"], star["flux_err"], quality, settings)


def shards_of(sectors: Path) -> list[Path]:
    """The shards of simulated sectors, in order.

    Parameters
    ----------
    sectors : as `varistar.sky.snapshot.write_space` writes them.

    Raises
    ------
    DataError
        When there are none.
    """
    shards = sorted((sectors / "light_curves").glob("part-*.parquet"))
    if not shards:
        raise DataError(f"{sectors / 'light_curves'}: there are no light curves; make them with `dvc repro`")
    return shards


def read_orbits(shard: Path, settings: OrbitSettings) -> Iterator[tuple[str, list[Orbit]]]:
    """The stars of a Parquet shard."""
    return orbits_of(read_shard(shard), settings)
