"""Real TESS stars whose flares others have marked: what networks and simple methods find of them, side by side.

    python benchmarks/real_flares.py [--points FOLDER] [--windows FOLDER] [--output PAGE]

The network of windows is the study's `replica` where `make study` has trained it, the short `windows` elsewhere. Six
stars with labels and two quiet ones (`real_flare_data.py`), none of which our networks have seen; scores of
events, star by star; flares injected into them; false events; CPU time; and the network fine-tuned on all labelled
stars but the one that is scored (`real_flare_tuning.py`). Light curves and lists are read from VARISTAR_REAL_DATA
(default ../shared/data); none of them is copied into the project.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

import real_flare_page as page
from real_flare_data import MATCH, QUIET, event_snr, read_real
from real_flare_tuning import tuned_on, with_threshold
from varistar.experiments.content import content_hash, read_content
from varistar.figures.style import save_figure
from varistar.flares.draws import GridDraw
from varistar.flares.events import ACCEPT_PRESETS, PRESETS, accept, find_events
from varistar.flares.examples import ExampleSettings
from varistar.flares.finder import CLOSE, FlareFinder
from varistar.flares.inject import searched_days
from varistar.flares.known import KnownStar
from varistar.flares.labels import join_close
from varistar.flares.matching import Matched, event_scores, match_events
from varistar.flares.network import Ensemble
from varistar.flares.orbits import Array, Orbit, OrbitSettings
from varistar.flares.published import read_stella_weights
from varistar.flares.recovery import (
    Method,
    Recovery,
    false_positives,
    join_recoveries,
    judge,
    recovery_table,
    run_recovery,
)
from varistar.flares.score import WindowScorer
from varistar.flares.simple import SIMPLE
from varistar.flares.trend import TrendSettings, mask_events, orbit_trend
from varistar.flares.variants import read_variant
from varistar.foundation.errors import one_sentence
from varistar.foundation.params import find_root, read_section

Find = Callable[[str, Sequence[Orbit]], pl.DataFrame]

SEED = 88
POINTS, WINDOWS = "network of points", "network of windows"
RELEASED, CHECKED = "stella's weights, as released", "stella's weights, checked, each peak once"
#: Of the networks that stella's authors published, those at hand.
WEIGHTS = ("ensemble_s0005_i0350_b0.73.h5", "ensemble_s0018_i0350_b0.73.h5")
#: How stella takes the light under a flare away.
RELEASED_TREND = TrendSettings(method="running_median", before=5, after=10, after_share=0.0)
#: What is injected, by the quantity it is a grid of.
DRAWS = {
    "amplitude": GridDraw(amplitudes=(0.005, 0.01, 0.02, 0.05), fwhm_minutes=(2, 4, 8, 16, 32), per_cell_per_day=0.1),
    "peak_snr": GridDraw(
        peak_snrs=(5, 7, 10, 15, 30), fwhm_minutes=(2, 4, 8, 16, 32), per_cell_per_day=0.1, seed=SEED + 1
    ),
}
SIMULATED, THRESHOLD, TUNED = "simulated stars alone", "threshold from real stars", "fine-tuned on real stars"
SECTOR_DAYS = 27.0


class Found(NamedTuple):
    """What a method finds in all stars: events with `peak_snr`, and CPU seconds for a sector, median over stars."""

    events: pl.DataFrame
    seconds: float


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    root, start = find_root(), time.perf_counter()
    stars = read_real(options.data, read_section(root, "flares.orbits", OrbitSettings))
    finder = FlareFinder.of_folder(options.points, "cpu")
    finds = methods(finder, FlareFinder.of_folder(options.windows, "cpu"), options.data / "flares/stella_weights")
    found = {name: search(find, stars) for name, find in finds.items()}
    print(f"searched, {time.perf_counter() - start:.0f} s", flush=True)
    recoveries = recover(stars, dict.fromkeys((star.star_id for star in stars), finds))
    print(f"injected, {time.perf_counter() - start:.0f} s", flush=True)
    tuned = leave_one_out(root, options.points, [star for star in stars if star.star_id not in QUIET])
    print(f"tuned, {time.perf_counter() - start:.0f} s", flush=True)
    results = {
        "stars": stars,
        "scores": {name: scores(one.events, stars, found[POINTS].events) for name, one in found.items()},
        "seconds": {name: one.seconds for name, one in found.items()},
        "injected": injected_tables(recoveries),
        "false": false_tables(recoveries["amplitude"], stars),
        "tuned": tuned,
        "threshold": finder.events.seed,
        "contents": {
            f"{name} ({folder.name})": content_hash(folder)
            for name, folder in ((POINTS, options.points), (WINDOWS, options.windows))
        },
    }
    figure = options.output.with_suffix(".png")
    save_figure(page.draw(results), figure)
    text = page.write(results, figure.name, time.perf_counter() - start)
    options.output.write_text(text, encoding="utf-8")
    print(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = find_root()
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("VARISTAR_REAL_DATA", root.parent / "shared/data"))
    )
    calibrated, studied = root / "build/flares/calibrated", root / "build/flares/study/calibrated/replica"
    parser.add_argument("--points", type=Path, default=calibrated / "points")
    parser.add_argument("--windows", type=Path, default=studied if studied.is_dir() else calibrated / "windows")
    parser.add_argument("--output", type=Path, default=root / "docs/real-flares.md")
    options = parser.parse_args()
    for name in ("flares", "tess"):
        if not (options.data / name).is_dir():
            sys.exit(f"{options.data / name}: no such folder; set VARISTAR_REAL_DATA to the folder of real data")
    return options


def methods(points: FlareFinder, windows: FlareFinder, weights: Path) -> dict[str, Find]:
    """All methods by their printed names."""
    stella = WindowScorer(Ensemble([read_stella_weights(weights / name) for name in WEIGHTS]).eval())

    def score(orbits: Sequence[Orbit]) -> list[Array]:
        return [stella.score(orbit, CLOSE) for orbit in orbits]

    def released(star_id: str, orbits: Sequence[Orbit]) -> pl.DataFrame:
        return find_events(orbits, score(orbits), PRESETS["released"], star_id)

    def checked(star_id: str, orbits: Sequence[Orbit]) -> pl.DataFrame:
        events = released(star_id, orbits)
        judged = accept(events, orbits, _released_flux(events, orbits), ACCEPT_PRESETS["released"])
        return judged.filter("accepted").unique(["orbit", "peak"], keep="first", maintain_order=True)

    return {POINTS: points.find, WINDOWS: windows.find, RELEASED: released, CHECKED: checked, **SIMPLE}


def _released_flux(events: pl.DataFrame, orbits: Sequence[Orbit]) -> list[Array]:
    """Each orbit over its running median without the events."""
    fluxes = []
    for number, orbit in enumerate(orbits):
        own = events.filter(orbit=number)
        masked = mask_events(len(orbit), own["first"].to_numpy(), own["last"].to_numpy(), RELEASED_TREND)
        fluxes.append(orbit.flux / orbit_trend(orbit, masked, RELEASED_TREND).values)
    return fluxes


def search(find: Find, stars: Sequence[KnownStar]) -> Found:
    """Search all stars; the last one twice, at first, so that nothing is compiled while time is taken."""
    find(stars[-1].star_id, stars[-1].orbits)
    tables, costs = [], []
    for star in stars:
        began = time.process_time()
        events = find(star.star_id, star.orbits)
        costs.append((time.process_time() - began) * SECTOR_DAYS / searched_days(star.orbits))
        tables.append(event_snr(events, star.orbits))
    return Found(pl.concat(tables, how="diagonal_relaxed"), float(np.median(costs)))


def scores(events: pl.DataFrame, stars: Sequence[KnownStar], reference: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Scores on the labelled stars, `original` labels and `joined` ones: `event_scores`, `stars` with those of each,
    and `less`, the F1 less that of the reference's events."""
    labelled = [star.star_id for star in stars if star.star_id not in QUIET]
    labels = pl.concat([star.labels for star in stars])
    report = {}
    for name, known in (("original", labels), ("joined", join_close(labels))):
        own, theirs = (pair(table.filter(pl.col("star_id").is_in(labelled)), known) for table in (events, reference))
        report[name] = event_scores(own, SEED) | {
            "stars": {star: event_scores(_of_star(own, star), SEED) for star in labelled},
            "less": f1_difference(own, theirs),
        }
    return report


def pair(events: pl.DataFrame, labels: pl.DataFrame) -> Matched:
    """Events beside labels; a duplicate is false however strong, in both sets of scores."""
    fits = match_events(events, labels, MATCH).events
    doubled = (fits["fits"] & ~fits["hit"]).to_numpy()
    snr = pl.when(pl.Series(doubled)).then(None).otherwise(pl.col("peak_snr"))
    return match_events(events.with_columns(peak_snr=snr), labels, MATCH)


def f1_difference(first: Matched, second: Matched, n: int = 2000) -> tuple[float, float, float]:
    """F1 of the first less that of the second, and its 95 % interval over stars, both drawn together."""
    stars = sorted({*first.labels["star_id"]})
    counts = np.array([[_f1_parts(_of_star(one, star)) for star in stars] for one in (first, second)], dtype=float)
    rows = np.random.default_rng(SEED).integers(0, len(stars), (n, len(stars)))
    drawn = counts[:, rows].sum(axis=2)
    whole = counts.sum(axis=1)
    differences = drawn[0, :, 0] / drawn[0, :, 1] - drawn[1, :, 0] / drawn[1, :, 1]
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(whole[0, 0] / whole[0, 1] - whole[1, 0] / whole[1, 1]), float(low), float(high)


def _f1_parts(matched: Matched) -> tuple[int, int]:
    return 2 * int(matched.events["hit"].sum()), len(matched.events) + len(matched.labels)


def _of_star(matched: Matched, star_id: str) -> Matched:
    return Matched(*(table.filter(star_id=star_id) for table in (matched.events, matched.labels)))


def recover(stars: Sequence[KnownStar], finds: Mapping[str, Mapping[str, Find]]) -> dict[str, Recovery]:
    """Inject every draw of `DRAWS` into every star, and search with the methods that `finds` has for it."""

    def of_star(find: Find, star_id: str) -> Callable[[list[Orbit]], pl.DataFrame]:
        return lambda orbits: find(star_id, orbits)

    recoveries = {}
    for name, draw in DRAWS.items():
        parts = []
        for star in stars:
            own = [Method(method, of_star(find, star.star_id)) for method, find in finds[star.star_id].items()]
            parts.append(run_recovery(star.star_id, star.orbits, star.labels, own, draw))
        recoveries[name] = join_recoveries(parts)
    return recoveries


def injected_tables(recoveries: Mapping[str, Recovery]) -> dict[str, pl.DataFrame]:
    """The recovered share by the quantity of each draw, in its own cells."""
    tables = {}
    for name, recovery in recoveries.items():
        edges = DRAWS[name].peak_snrs or DRAWS[name].amplitudes
        tables[name] = recovery_table(judge(recovery), {name: edges})
    return tables


def false_tables(recovery: Recovery, stars: Sequence[KnownStar]) -> dict[str, pl.DataFrame]:
    """`false_positives` of the `quiet` stars as they are, of all stars `flipped`, and of each star, by its name."""
    known = pl.concat([star.labels for star in stars])

    def of(chosen: Sequence[str], light_curve: str) -> pl.DataFrame:
        mine = pl.col("star_id").is_in(chosen)
        part = Recovery(recovery.injected, recovery.found.filter(mine), recovery.searched.filter(mine))
        return false_positives(part, known).filter(light_curve=light_curve)

    names = [star.star_id for star in stars]
    each = {star_id: of([star_id], "flipped") for star_id in names}
    return {"quiet": of(QUIET, "uninjected"), "flipped": of(names, "flipped"), **each}


def leave_one_out(root: Path, points: Path, stars: Sequence[KnownStar]) -> dict[str, Any]:
    """Each labelled star searched by a network that learned from the others: scores, recovery and false events of the
    network as it was, of the same with a threshold from the others, and of it fine-tuned on them."""
    variant = read_variant(root, "points")
    settings = read_section(root, "flares.examples", ExampleSettings).points
    content, finder = read_content(points), FlareFinder.of_folder(points, "cpu")
    finders: dict[str, dict[str, FlareFinder]] = {}
    for star in stars:
        others = [other for other in stars if other is not star]
        with tempfile.TemporaryDirectory() as scratch:
            tuned = tuned_on(content, others, variant, settings, Path(scratch))
        finders[star.star_id] = {SIMULATED: finder, THRESHOLD: with_threshold(content, others, variant), TUNED: tuned}
        print(f"  tuned without {star.star_id}: threshold {tuned.events.seed:.3f}", flush=True)
    events = {
        name: pl.concat(
            [event_snr(finders[one.star_id][name].find(one.star_id, one.orbits), one.orbits) for one in stars]
        )
        for name in (SIMULATED, THRESHOLD, TUNED)
    }
    finds = {star: {name: one.find for name, one in own.items()} for star, own in finders.items()}
    recoveries = recover(stars, finds)
    thresholds = {star: {name: one.events.seed for name, one in own.items()} for star, own in finders.items()}
    return {
        "scores": {name: scores(table, stars, events[THRESHOLD]) for name, table in events.items()},
        "injected": injected_tables(recoveries),
        "false": false_tables(recoveries["amplitude"], stars),
        "thresholds": thresholds,
        "false_per_day": variant.false_per_day,
    }


if __name__ == "__main__":
    with one_sentence():
        main()
