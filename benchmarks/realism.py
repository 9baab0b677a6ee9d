"""The tables of docs/sky.md: how alike the simulated and the real ground-based survey are.

    python benchmarks/realism.py <folder of real data> --output build/realism

Skies are simulated at the places of the real stars, which their Gaia identifiers tell: twelve of them with their own
weather, outages and cameras, since one history would give itself away whatever the simulator does. The real stars are
then told from the simulated ones, and so are the stars of a thirteenth sky from those of the twelve: as well as that
they can be told that nothing but their history sets apart. Seasons of the half `fit` were used to choose the
simulator's constants, those of `judge` were not.
"""

import argparse
import os
import re
import shutil
from pathlib import Path

import polars as pl
from astropy import units
from astropy_healpix import HEALPix

from varistar.realism.report import measure_realism
from varistar.realism.words import summary_lines
from varistar.sky.ground import SkySettings, StarCounts
from varistar.sky.snapshot import write_ground

SKIES = 12
#: Shifts a Gaia source identifier to the number of its cell in a nested HEALPix map of level 12.
SOURCE_TO_CELL = 35


def places_of(files: list[Path]) -> tuple[tuple[float, float], ...]:
    """Right ascension and declination [deg] of each star, to an arcminute."""
    grid = HEALPix(nside=2**12, order="nested")
    places = []
    for file in files:
        found = re.search(r"^# Gaia DR2: (\d+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        if found is None:
            raise SystemExit(f"{file}: names no Gaia source in its head")
        lon, lat = grid.healpix_to_lonlat(int(found[1]) >> SOURCE_TO_CELL)
        places.append((float(lon.to_value(units.deg)), float(lat.to_value(units.deg))))
    return tuple(places)


def simulate(places: tuple[tuple[float, float], ...], seeds: range, stars: int, folder: Path, workers: int) -> Path:
    """One survey of several skies; a field of each place and sky."""
    none = dict.fromkeys(StarCounts().model_dump(), 0)
    truths = []
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "light_curves").mkdir(parents=True)
    for seed in seeds:
        counts = StarCounts.model_validate(none | {"clump": stars})
        sky = SkySettings(seed=seed, places=places, n_fields=len(places), counts=counts)
        made = write_ground(sky, folder / f"sky-{seed}", workers)
        assert made is not None
        for shard in sorted((made / "light_curves").iterdir()):
            shard.rename(folder / "light_curves" / f"part-{len(truths):02d}{shard.stem[-3:]}.parquet")
        truth = pl.read_parquet(made / "truth.parquet")
        truths.append(truth.with_columns(pl.col("field") + 1000 * len(truths)))
        shutil.rmtree(made)
    pl.concat(truths).write_parquet(folder / "truth.parquet")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("--output", type=Path, default=Path("build/realism"))
    parser.add_argument("--half", choices=("fit", "judge"), action="append")
    parser.add_argument("--stars", type=int, default=420, help="stars of each sky")
    parser.add_argument("--skies", type=int, default=SKIES)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    files = sorted((options.real / "asassn/skypatrol_v2").glob("[0-9]*.csv"))
    places = places_of(files)
    skies = simulate(places, range(1, options.skies + 1), options.stars, options.output / "skies", options.workers)
    another = simulate(places, range(1000, 1001), len(places), options.output / "another", options.workers)
    for half in options.half or ("fit", "judge"):
        for name, stars in (("real", files), ("another", [another / "light_curves"])):
            found = measure_realism(stars, skies, options.output / f"{name}-{half}", kinds=("clump",), half=half)
            print(f"\n{name} stars against simulated ones, seasons to {half}")
            print("\n".join(summary_lines(found)))
            for method, area in found.stars.by_method.items():
                print(f"  {method} alone: {area:.3f}")


if __name__ == "__main__":
    main()
