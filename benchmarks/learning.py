"""The learning curve of period networks: how many examples they need, and whether repeated templates hurt.

    python benchmarks/learning.py [--examples 1000 3000 10000 30000] [--templates 70 200] [--seeds 1]

The question of sections 4.3 and 4.4 of the paper (000), asked of its network and of ours. All examples come from one
sample `clump`, as params.yaml describes it and as large as is needed; the templates must have been made (`dvc repro
templates`). A training set of n is the first n stars, with and without a period, of the train split in an order that is
fixed, so the smaller sets are parts of the larger. At the two smallest of the sizes below the largest there is also one
of equally many stars in few templates. Validation, calibration and test are the same for all: the sample's own splits,
which share no template with what is trained on. Scores are of the calibrated networks on the test stars of the kind
`paper`, of all seeds together.

Epochs are those of params.yaml, and on a small set as many more as make its steps not fewer than those of 3,000
examples. Trainings run side by side, one on each core (VARISTAR_WORKERS); their seconds are CPU time, which other work
on the machine changes little.

Everything is kept in `.cache/learning` until the last training is done, and a killed run goes on. Sample and images
stay there and serve as long as their settings and templates are the same; after a change of the code that makes them,
remove the folder.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from machine import describe
from varistar.bulk.arrays import collect_arrays, open_arrays, write_array_shard
from varistar.bulk.engine import for_device, read_engine
from varistar.bulk.job import Done, run_job
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.gates import cluster_bootstrap
from varistar.figures.experiments import learning_figure
from varistar.figures.style import save_figure
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, DataError, one_sentence
from varistar.foundation.files import write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.periods.calibrate import calibrate
from varistar.periods.images import build_images
from varistar.periods.measure import describe_model
from varistar.periods.measured import measure_split
from varistar.periods.preprocess import read_representation, representation_of
from varistar.periods.sample import make_sample
from varistar.periods.sample_settings import read_sample
from varistar.periods.scores import within
from varistar.periods.simulate import simulation_key
from varistar.periods.train import train
from varistar.periods.variants import TARGETS, Variant
from varistar.periods.verdict import PAPERS_COVERAGE, SEED, scores_of, split_by_stars
from varistar.surveys.definition import Survey

T = TypeVar("T")

NETWORKS = ("clump-8-16-32", "period-axis")
SAMPLE = "clump"
STARS = "paper"  # the kind that is scored
STEPS_OF = 3000  # examples; fewer are shown in more epochs
ORDER = 43  # seed of the order that training sets are taken from
CLAIM = 100_000, 20  # examples; minutes on two cores


class Training(NamedTuple):
    """One training: a variant with its seed and epochs, on so many examples, of a few templates or of all."""

    name: str
    variant: Variant
    images: Path
    survey: Survey
    accelerator: Accelerator
    examples: int
    few: int | None

    @property
    def point(self) -> tuple[str, int, int | None]:
        """What trainings that differ only in their seed have in common."""
        return self.name, self.examples, self.few


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[1000, 3000, 10000, 30000], help="training sets")
    parser.add_argument("--templates", type=int, nargs="+", default=[70, 200], help="few templates")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each point")
    parser.add_argument("--output", type=Path, default=Path("docs/learning.png"), help="the figure")
    options = parser.parse_args()
    root = find_root()
    machine = describe()
    print(machine, flush=True)
    sizes, few = sorted(set(options.examples)), sorted(set(options.templates))
    if min(*sizes, *few, options.seeds) < 1:
        raise ConfigError("--examples, --templates and --seeds must be positive")
    variants = {name: read_section(root, f"periods.variants.{name}", Variant) for name in NETWORKS}
    simulations = simulations_for(root, sizes, few)
    folder = make_examples(root, simulations, [variant.representation for variant in variants.values()])
    points = train_all(root, folder, variants, sizes, few, options.seeds)
    test = pl.read_parquet(folder / "sample/test/truth.parquet", glob=False).filter(stars=STARS)
    tested = {"stars": test.height, "templates": test["template"].n_unique()}
    write_json(root / "metrics/learning.json", {"machine": machine, "test": tested, "points": points})
    print_points(points)
    print_claim(points, {name: variant.training.max_epochs for name, variant in variants.items()})
    title = f"{tested['stars']} test stars in {tested['templates']} templates; circles: all templates, squares: few"
    drawn = [point | {"method": label(point), "templates": "few" if point["few"] else "all"} for point in points]
    save_figure(learning_figure(drawn, title), root / options.output)


def simulations_for(root: Path, sizes: Sequence[int], few: Sequence[int]) -> int:
    """How many simulations hold the largest training set, and the repeated sizes in the fewest templates.

    A part of a sample uses its templates equally often, or once more; so n simulations with p parts, on t templates,
    use each at least n / t - p times.

    Raises
    ------
    DataError
        When the templates have not been made, or as few as are asked for are not fewer than there are.
    """
    settings, _ = read_sample(root, SAMPLE)
    (name,) = {part.templates for part in settings.parts}
    file = root / "build/periods/templates" / name / "stars.parquet"
    if not file.exists():
        raise DataError(f"{file}: these templates have not been made; use `dvc repro templates@{name}`")
    split = pl.read_parquet(file, columns=["split"], glob=False)["split"]
    training = int((split == "train").sum())
    if few[-1] >= training:
        raise DataError(f"{file}: holds {training} templates to train on; --templates {few[-1]} is not fewer")
    uses = max(ceil(sizes[-1] / training), *(ceil(size / few[0]) for size in repeated(sizes)), 1)
    return len(split) * (uses + len(settings.parts))


def repeated(sizes: Sequence[int]) -> Sequence[int]:
    """The sizes at which templates are few, too; not the largest, for which the sample would have to be huge."""
    return sizes[:-1][:2]


def make_examples(root: Path, simulations: int, representations: Sequence[str]) -> Path:
    """The folder that holds the sample and, under their names, its images in each representation; made if need be."""
    params = read_params(root)
    accelerator = lookup(params, "accelerator")
    settings, stars = read_sample(root, SAMPLE)
    settings = settings.model_copy(update={"simulations": simulations})
    survey = read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey)
    shown = {name: read_representation(root, name) for name in representations}
    key = simulation_key(root / "build/periods/templates", settings, stars, survey.window[0], accelerator)
    key |= {name: representation.model_dump(mode="json") for name, representation in shown.items()}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    folder = root / ".cache/learning" / digest
    sample = folder / "sample"
    work: dict[Path, Callable[[], object]] = {
        sample: partial(make_sample, root, SAMPLE, sample, simulations, accelerator=accelerator)
    }
    for name, representation in shown.items():
        work[folder / name] = partial(build_images, sample, representation, folder / name, accelerator=accelerator)
    for made, make in work.items():
        if made.is_dir():
            print(f"{simulations} simulations, {made.name}: at hand", flush=True)
            continue
        start = time.perf_counter()
        make()
        print(f"{simulations} simulations, {made.name}: {time.perf_counter() - start:.0f} s by the clock", flush=True)
    return folder


def train_all(
    root: Path, folder: Path, variants: dict[str, Variant], sizes: Sequence[int], few: Sequence[int], seeds: int
) -> list[dict[str, Any]]:
    """Train every point of the curve with every seed, side by side; returns the points with their scores."""
    params = read_params(root)
    accelerator = lookup(params, "accelerator")
    survey = read_section(root, f"surveys.{lookup(params, 'periods.survey')}", Survey)
    sets = [(size, None) for size in sizes] + [
        (size, count) for size in repeated(sizes) for count in few if count < size
    ]
    trainings = [
        Training(name, seeded(variant, size, seed), folder / variant.representation, survey, accelerator, size, count)
        # the longest first, so that the last to be done are short
        for size, count in sorted(sets, key=lambda chosen: -chosen[0])
        for name, variant in variants.items()
        for seed in range(seeds)
    ]
    points = run_job(
        train_one,
        trainings,
        folder / "trainings",
        {"trainings": [[*one.point, one.variant.model_dump(mode="json")] for one in trainings]},
        partial(score, trainings, folder / "sample"),
        for_device(read_engine("local"), choose_device(accelerator).type),
        "trainings",
        lambda one: f"{one.name} on {one.examples} examples",
    )
    assert points is not None  # it is None in the array of a batch system only
    return points


def seeded(variant: Variant, examples: int, seed: int) -> Variant:
    """The variant with this seed, and with epochs enough for as many steps as `STEPS_OF` examples give."""
    fit = variant.training
    least = fit.max_epochs * ceil(STEPS_OF / fit.batch_size)
    epochs = max(fit.max_epochs, ceil(least / ceil(examples / fit.batch_size)))
    training = fit.model_copy(update={"max_epochs": epochs, "patience": epochs, "seed": fit.seed + seed})
    return variant.model_copy(update={"sample": SAMPLE, "training": training, "members": 1, "ensemble": False})


def train_one(training: Training, target: Path) -> dict[str, Any]:
    """Train and calibrate one network; writes its content, and returns what it took."""
    variant, accelerator = training.variant, training.accelerator
    images = target.with_name(f"{target.name}-images")
    truth = cut_images(training.images, training.examples, training.few, images)
    epochs: list[int] = []  # of this process; an interrupted training has some behind it
    wall, cpu = time.perf_counter(), time.process_time()
    network, done = train(
        variant,
        [images],
        target.with_name(f"{target.name}-checkpoints"),
        lambda epoch, metrics: epochs.append(epoch),
        accelerator,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    described = open_arrays(images / "train").describe
    shown = representation_of(described["representation"], f"{images}: representation")
    spec = describe_model(variant.network, shown, training.survey, {}, {}, described["device"])
    content = ModelContent(spec, network.state_dict())
    calibrated = calibrate(content, [images / "calibration"], accelerator, TARGETS[variant.target])
    write_content(model_of(target), calibrated)
    shutil.rmtree(images)
    whole = len(done.history) / max(len(epochs), 1)
    return {
        "templates": truth["template"].n_unique(),
        "with_period": int(truth["period_days"].is_not_null().sum()),
        "epochs": len(done.history),
        "best_epoch": done.best_epoch,
        "seconds": round(cpu * whole, 3),
        "wall_seconds": round(wall * whole, 3),
    }


def cut_images(images: Path, examples: int, few: int | None, folder: Path) -> pl.DataFrame:
    """An image set with so many of the training examples, and all of the other splits; returns the truth of those."""
    shutil.rmtree(folder, ignore_errors=True)
    whole = open_arrays(images / "train")
    rows = choose_rows(whole.index["template"].to_numpy(), examples, few)
    truth = whole.index[rows].drop("shard", "row")
    write_array_shard(folder / "chosen", whole.gather(rows), truth)
    collect_arrays(folder / "train", whole.describe["axes"], [folder / "chosen"], whole.describe)
    for split in ("validation", "calibration"):
        (folder / split).symlink_to((images / split).resolve())
    return truth


def choose_rows(template: NDArray, examples: int, few: int | None) -> NDArray[np.int64]:
    """Rows of a training set, shape (examples,): the first of a fixed order that stand in the first `few` templates.

    Parameters
    ----------
    template : of each example of the train split, shape (n,).
    few : None for all templates.

    Raises
    ------
    DataError
        When there are not so many.
    """
    order = np.random.default_rng(ORDER).permutation(len(template))
    if few is not None:
        chosen = list(dict.fromkeys(template[order]))[:few]
        order = order[np.isin(template[order], chosen)]
    if len(order) < examples:
        raise DataError(
            f"the sample holds {len(order)} of the {examples} examples asked for in {few or 'all'} templates"
        )
    return order[:examples]


def model_of(target: Path) -> Path:
    return target.with_name(f"{target.name}-model")


def score(trainings: Sequence[Training], sample: Path, done: Iterator[Done]) -> list[dict[str, Any]]:
    """The points of the curve: what was trained, how well it measures the test stars, and what it took."""
    targets, took = zip(*done, strict=True)
    measured: dict[int, pl.DataFrame] = {}
    for name in NETWORKS:  # those of one name read the same arrays
        own = [number for number, training in enumerate(trainings) if training.name == name]
        tables = measure_split(
            [model_of(targets[number]) for number in own], sample, accelerator=trainings[0].accelerator
        )
        measured |= dict(zip(own, tables, strict=True))
    points = []
    for point in sorted({training.point for training in trainings}, key=lambda key: (key[0], key[2] or 0, key[1])):
        numbers = [number for number, training in enumerate(trainings) if training.point == point]
        name, examples, few = point
        known = {"method": name, "examples": examples, "few": few, "seeds": len(numbers)} | took[numbers[0]]
        for cost in ("seconds", "wall_seconds"):
            known[cost] = round(float(np.mean([took[number][cost] for number in numbers])), 3)
        points.append(known | accuracies([split_by_stars(measured[number])[STARS] for number in numbers]))
    return points


def accuracies(tables: Sequence[pl.DataFrame]) -> dict[str, Any]:
    """The scores of one point, and their intervals, from the measurements of all its seeds."""
    table = pl.concat(tables)
    scores = scores_of(table)
    surest = table.sort("p_within_10pct", descending=True, maintain_order=True).head(
        max(round(PAPERS_COVERAGE * table.height), 1)
    )
    right = within(surest["period"].to_numpy(), surest["true_period"].to_numpy(), 0.1)
    both = ("within_10pct", "within_10pct_interval", "within_10pct_at_19.8pct_coverage")
    return {name: scores[name] for name in both} | {
        "within_10pct_at_19.8pct_coverage_interval": cluster_bootstrap(right, surest["template"].to_numpy(), SEED)[1:]
    }


def label(point: dict[str, Any]) -> str:
    return f"{point['method']}, {point['few']} templates" if point["few"] else str(point["method"])


def print_points(points: Sequence[dict[str, Any]]) -> None:
    print(f"\n{'network':<32} {'examples':>8} {'templates':>9} {'epochs':>6} {'within 10%':>21} {'surest 19.8%':>21}")
    for point in points:
        accuracy = "".join(
            f"{point[name]:8.3f} ({low:.3f}-{high:.3f})"
            for name in ("within_10pct", "within_10pct_at_19.8pct_coverage")
            for low, high in [point[f"{name}_interval"]]
        )
        print(f"{label(point):<32} {point['examples']:>8} {point['templates']:>9} {point['epochs']:>6}{accuracy}")


def print_claim(points: Sequence[dict[str, Any]], epochs: dict[str, int]) -> None:
    """What training takes, and the claim: 10^5 examples in less than 20 minutes, each network on a core of its own.

    `epochs` of each network are those of params.yaml. The rates include validation, whose share is the smaller the
    larger the largest training set is.
    """
    examples, limit = CLAIM
    print("\ntraining on the largest set")
    minutes = {}
    for name in NETWORKS:
        point = max((p for p in points if p["method"] == name and not p["few"]), key=lambda p: p["examples"])
        rate = point["seconds"] / (point["examples"] * point["epochs"])
        minutes[name] = rate * examples * epochs[name] / 60
        print(
            f"  {name:<16}{1e4 * rate:6.2f} CPU s per 10^4 examples and epoch; {point['examples']} examples, "
            f"{point['epochs']} epochs: {point['seconds']:.0f} CPU s, {point['wall_seconds']:.0f} s by the clock"
        )
    said = ", ".join(f"{name} {one:.1f} min ({epochs[name]} epochs)" for name, one in minutes.items())
    kept = "less" if max(minutes.values()) < limit else "not less"
    print(f"  10^5 examples at this rate, side by side on two cores: {said}: {kept} than {limit} min")


if __name__ == "__main__":
    with one_sentence():
        main()
