"""The whole chain: Parquet in, catalog out, and training sets, with where the time and the memory go.

    python benchmarks/chain.py [--stars 1000 10000] [--examples 2000] [--figure docs/performance.png]

The survey is the embedded one, its stars repeated under other names; networks are untrained, which is as fast. Rates
are by the clock and include the start of all processes; memory is the largest sum over the command's processes. What
one light curve costs is CPU time of one process, part by part. The templates of the training set are the pipeline's
(`dvc repro templates`).
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
import psutil
import torch

from machine import describe
from varistar.catalog.columns import flag
from varistar.experiments.content import ModelContent, write_content
from varistar.figures.style import ACCENT, SECOND, new_figure, save_figure
from varistar.foundation.params import find_root, read_section
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.store import SHARD_BYTES, Store
from varistar.lightcurves.table import LightCurves
from varistar.periods.cleaning import clean
from varistar.periods.measure import PeriodMeter, describe_model
from varistar.periods.network import build_network
from varistar.periods.preprocess import read_representation
from varistar.periods.representation import Representation
from varistar.periods.variants import Variant
from varistar.spectra.chunked import ChunkedTransform
from varistar.surveys.definition import Survey
from varistar.surveys.pieces import STARS_PER_PIECE

SURVEY_STARS = 96_000_000
MODELS = {"paper": "clump-8-16-32", "champion": "period-axis"}
SAMPLE_INTERVAL = 0.1  # s
LARGEST_ALONE = 10_000  # stars that one process is asked to do
DOLLARS_PER_CORE_HOUR = 0.04  # of a cloud, to say what the survey would cost
COLUMNS_READ = ("mag", "mag_err", "camera", "band", "quality")
POINT_BYTES = 38  # of all columns, before compression


@dataclass(frozen=True)
class Catalog:
    """One prediction: stars, network, workers, stars per second, and memory [bytes]."""

    stars: int
    network: str
    workers: int
    rate: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, nargs="+", default=[1000, 10000], help="sizes of the survey")
    parser.add_argument("--examples", type=int, default=2000, help="size of the training set")
    parser.add_argument("--figure", type=Path, help="draw the README's picture into this file")
    options = parser.parse_args()
    root = find_root()
    print(describe(), flush=True)
    (root / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root / ".cache") as folder:
        work = Path(folder)
        models = {name: untrained(root, variant, work / "models" / name) for name, variant in MODELS.items()}
        parts = {name: where_the_time_goes(root, model) for name, model in models.items()}
        print_parts(parts)
        catalogs = measure_catalogs(root, models, work, options.stars)
        example_seconds = measure_training_set(root, work, options.examples)
    print_plan(root, parts, example_seconds)
    if options.figure:
        draw(parts, catalogs, options.figure)


def untrained(root: Path, name: str, folder: Path) -> Path:
    """The content of a variant's network before any training."""
    variant = read_section(root, f"periods.variants.{name}", Variant)
    representation = read_representation(root, variant.representation)
    survey = read_section(root, "surveys.asassn", Survey)
    torch.manual_seed(0)
    network = build_network(variant.network, representation)
    spec = describe_model(variant.network, representation, survey, {}, {})
    write_content(folder, ModelContent(spec, network.state_dict()))
    return folder


def where_the_time_goes(root: Path, model: Path) -> dict[str, float]:
    """CPU time of each part of a prediction [s per light curve that passes the cuts], on one thread, warm."""
    torch.set_num_threads(1)
    meter = PeriodMeter.of_folder(model, "cpu")
    paths = sorted((root / "data/ground/light_curves").glob("part-*.parquet"))
    one_shard(paths[0], meter, {})
    seconds: dict[str, float] = {}
    stars = sum(one_shard(path, meter, seconds) for path in paths)
    seconds["the rest of the arrays"] = seconds.pop("arrays") - seconds["clean"] - seconds["transform"]
    order = ("read", "cut", "clean", "transform", "the rest of the arrays", "network", "rows")
    return {name: seconds[name] / stars for name in order}


def one_shard(path: Path, meter: PeriodMeter, seconds: dict[str, float]) -> int:
    """Predict one shard and add each part's CPU time to `seconds`; returns its stars.

    Cleaning and transform are measured by themselves, too: they are parts of making arrays. Of another representation
    than an image the transform is no part that can be told apart, and counts with the rest.
    """
    representation = meter.representation
    laps = [("", time.process_time())]

    def lap(name: str) -> None:
        laps.append((name, time.process_time()))

    light_curves = read_shard(path, COLUMNS_READ)
    lap("read")
    kept, _ = apply_cuts(light_curves, meter.survey.cuts)
    lap("cut")
    image = representation if isinstance(representation, Representation) else None
    cleaned = kept if image and not image.clean else clean(kept)
    lap("clean")
    if image:
        nodes = np.linspace(*(image.window or (0.0, 1.0)), image.nodes)
        transform = ChunkedTransform(image.periods.values(), nodes, image.tradeoff)
        for begin, end in pairwise(cleaned.offsets):
            transform(cleaned["time"][begin:end], cleaned["flux"][begin:end], cleaned["flux_err"][begin:end])
    lap("transform")
    arrays = meter.arrays(kept)
    lap("arrays")
    table = meter.measure(kept, meter.raw(arrays))
    lap("network")
    table.with_columns(flag(table, meter.survey)).write_parquet(io.BytesIO())
    lap("rows")
    for (_, before), (name, after) in pairwise(laps):
        seconds[name] = seconds.get(name, 0.0) + after - before
    return len(kept)


def print_parts(parts: dict[str, dict[str, float]]) -> None:
    print("\nwhere the time goes [ms of one core per light curve]")
    print(f"{'':<24}" + "".join(f"{name:>12}" for name in parts))
    for part in next(iter(parts.values())):
        print(f"{part:<24}" + "".join(f"{1e3 * seconds[part]:12.3f}" for seconds in parts.values()))
    print(f"{'sum':<24}" + "".join(f"{1e3 * sum(seconds.values()):12.3f}" for seconds in parts.values()))


def measure_catalogs(root: Path, models: dict[str, Path], work: Path, sizes: list[int]) -> list[Catalog]:
    """`varistar predict` from a store of each size."""
    print(f"\nParquet in, catalog out\n{'stars':>8} {'network':<10} {'workers':>7} {'stars/s':>8} {'memory':>9}")
    catalogs = []
    for size in sizes:
        store = work / f"store-{size}"
        Store(store).extend(repeated_survey(root, size))
        for name, model in models.items():
            for workers in (1, 2) if size <= LARGEST_ALONE else (2,):
                words = ["predict", "periods", store, "--model", model, "--output", work / "catalog.parquet"]
                seconds, memory = timed(root, *words, "--workers", workers)
                catalogs.append(Catalog(size, name, workers, size / seconds, memory))
                rate = f"{size / seconds:8.0f} {memory / 1e6:6.0f} MB"
                print(f"{size:>8} {name:<10} {workers:>7} {rate}", flush=True)
    return catalogs


def repeated_survey(root: Path, size: int) -> Iterator[LightCurves]:
    """The embedded survey's stars again and again, under new names, until there are `size` of them."""
    shards = [read_shard(path) for path in sorted((root / "data/ground/light_curves").glob("part-*.parquet"))]
    made = 0
    while made < size:
        for shard in shards:
            part = shard.slice(0, min(len(shard), size - made))
            yield replace(part, star_id=tuple(f"{star}-{made + i}" for i, star in enumerate(part.star_id)))
            made += len(part)


def measure_training_set(root: Path, work: Path, examples: int) -> float:
    """Simulate and inject a sample, make its images; returns the seconds of an example on two processes."""
    print(f"\ntraining set of {examples} on two processes")
    sample = ["simulate", "clump", "--examples", examples, "--output", work / "sample"]
    images = ["transform", work / "sample", "--representation", "paper", "--output", work / "images"]
    total = 0.0
    for words in (sample, images):
        seconds, memory = timed(root, *words, "--workers", 2)
        total += seconds
        print(f"  varistar {words[0]:<10} {seconds:7.1f} s {memory / 1e6:6.0f} MB", flush=True)
    print(f"  10^5 examples at this rate: {1e5 * total / examples / 60:.1f} min")
    return total / examples


def timed(root: Path, *words: object) -> tuple[float, int]:
    """Run `varistar` with these words: its duration [s], and its processes' largest memory together [bytes]."""
    command = [sys.executable, "-m", "varistar.cli", *map(str, words)]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid)
            largest = max(largest, sum(one.memory_info().rss for one in (family, *family.children(recursive=True))))
        time.sleep(SAMPLE_INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed; run it alone to see why")
    return time.perf_counter() - start, largest


def print_plan(root: Path, parts: dict[str, dict[str, float]], example_seconds: float) -> None:
    """What the whole of ASAS-SN would take, from the rates of this run."""
    stored = sum(path.stat().st_size for path in (root / "data/ground/light_curves").glob("part-*.parquet"))
    rows = pl.scan_parquet(root / "data/ground/light_curves/part-*.parquet").select(pl.len(), pl.col("n_points").sum())
    stars, points = rows.collect().row(0)
    raw = POINT_BYTES * points / stars
    print(f"\n{SURVEY_STARS} light curves, from these rates")
    print(f"  a star: {raw / 1e3:.0f} kB raw, {stored / stars / 1e3:.1f} kB as simulated, rounded and compressed")
    print(
        f"  the store: {SURVEY_STARS * raw / 1e12:.1f} TB raw, {SURVEY_STARS * raw / SHARD_BYTES:.0f} shards of 128 MB"
    )
    print(f"  {SURVEY_STARS / STARS_PER_PIECE:.0f} pieces of work")
    for name, seconds in parts.items():
        hours = SURVEY_STARS * sum(seconds.values()) / 3600
        print(
            f"  {name}: {hours:.0f} core hours, ${hours * DOLLARS_PER_CORE_HOUR:.0f}; {hours / 2 / 24:.1f} days on two "
            f"cores, {60 * hours / 64:.0f} min on 64"
        )
    print(f"  training set of 10^6: {1e6 * example_seconds / 3600:.1f} h on two cores")


def draw(parts: dict[str, dict[str, float]], catalogs: list[Catalog], path: Path) -> None:
    """Where the time of a light curve goes, and the rate against the size of the survey."""
    figure, (left, right) = new_figure(8.4, 2.9, columns=2)
    colours = [ACCENT, SECOND]
    labels = list(next(iter(parts.values())))
    for row, (name, seconds) in enumerate(parts.items()):
        places = [index + 0.38 * (row - 0.5) for index in range(len(labels))]
        left.barh(places, [1e3 * seconds[label] for label in labels], 0.36, color=colours[row], label=f"{name} network")
    left.set_yticks(range(len(labels)), labels)
    left.invert_yaxis()
    left.set(xlabel="ms of one core per light curve")
    left.legend(frameon=False, fontsize=9)
    for row, name in enumerate(parts):
        for workers, style in ((1, "o--"), (2, "s-")):
            chosen = [one for one in catalogs if (one.network, one.workers) == (name, workers)]
            right.plot(
                [one.stars for one in chosen], [one.rate for one in chosen], style, color=colours[row], ms=4,
                label=f"{name}, {workers} {'processes' if workers > 1 else 'process'}",
            )  # fmt: skip
    right.set(xscale="log", xlabel="stars", ylabel="Parquet in, catalog out [stars/s]", ylim=(0, None))
    right.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
