"""How fast, and into how many bytes, stars are simulated as a space survey sees them.

    python benchmarks/sectors.py [--stars N]

A star-sector is one star for one sector: target, spots, companion, flares, some 19,000 cadences with their noise and
flags, and the tables of truth. Times are CPU times of this process. The exit code is 1 when fewer than 10 star-sectors
are made a second, or one takes more than 30 kB of a shard.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from machine import describe
from varistar.lightcurves.shards import write_shard
from varistar.sky.spacecraft import SectorSettings, simulate_targets

LEAST_PER_SECOND = 10.0
MOST_KILOBYTES = 30.0
WARM_UP_STARS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=100)
    arguments = parser.parse_args()
    print(describe())
    settings = SectorSettings(n_stars=arguments.stars)
    simulate_targets(settings, range(WARM_UP_STARS))  # compiles

    start = time.process_time()
    sky = simulate_targets(settings)
    seconds = time.process_time() - start
    sectors = int(sky.truth["sectors"].list.len().sum())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-00000.parquet"
        write_shard(path, sky.light_curves)
        kilobytes = path.stat().st_size / sectors / 1e3
    strong = sky.flares.filter(sky.flares["peak_snr"] > 5.0).height
    print(f"{len(sky.light_curves)} stars, {sectors} star-sectors, {sky.flares.height} flares ({strong} above 5 sigma)")
    print(f"{1e3 * seconds / sectors:.1f} ms a star-sector: {sectors / seconds:.0f} a second (at least 10)")
    print(f"{kilobytes:.1f} kB a star-sector in a shard (at most 30)")
    return 0 if sectors / seconds >= LEAST_PER_SECOND and kilobytes <= MOST_KILOBYTES else 1


if __name__ == "__main__":
    sys.exit(main())
