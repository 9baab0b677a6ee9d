"""How fast the simulated surveys are made: stars a second without spots and with, sectors a second, bytes a star.

    python benchmarks/sky.py --stars 8000 --workers 2

Times are of whole runs of `write_ground` and `write_space`, shards on disk included, after a small run that compiles
and starts the workers.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from machine import describe
from varistar.sky.ground import SkySettings, StarCounts
from varistar.sky.snapshot import write_ground, write_space
from varistar.sky.spacecraft import SectorSettings


def timed(kinds: dict[str, int], folder: Path, workers: int) -> tuple[float, float]:
    """Stars a second and bytes a star of a ground-based survey of these kinds."""
    counts = StarCounts.model_validate(dict.fromkeys(StarCounts().model_dump(), 0) | kinds)
    started = time.perf_counter()
    write_ground(SkySettings(counts=counts), folder, workers)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(kinds.values()) / seconds, size / sum(kinds.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print(describe())
    n = options.stars
    samples = {
        "without spots": {"clump": n // 2, "quasar": n // 4, "constant": n - n // 2 - n // 4},
        "with spots": {"rotator": n // 4},
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        timed({"clump": 16, "rotator": 16}, root / "warm", options.workers)
        for name, kinds in samples.items():
            rate, size = timed(kinds, root / name.replace(" ", "-"), options.workers)
            print(f"ground, {name}: {rate:.0f} stars/s, {size / 1000:.1f} kB a star ({sum(kinds.values())} stars)")
        settings = SectorSettings(n_stars=n // 40)
        started = time.perf_counter()
        write_space(settings, root / "space", options.workers)
        seconds = time.perf_counter() - started
        sectors = settings.n_stars * (1 + settings.second_sector)
        print(f"space: about {sectors / seconds:.0f} star-sectors/s ({settings.n_stars} stars)")


if __name__ == "__main__":
    main()
