"""Networks trained on real noise: what the surveys' parts of `real_periods.py` share."""

import itertools
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.ensemble import gather_members
from varistar.experiments.splits import SPLITS, SplitSettings, split_stars
from varistar.foundation.errors import DataError
from varistar.foundation.intervals import wilson_interval
from varistar.foundation.params import read_section
from varistar.lightcurves.cuts import apply_cuts
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves
from varistar.periods.calibrate import calibrate
from varistar.periods.images import build_images
from varistar.periods.inject import build_injections
from varistar.periods.measure import describe_model
from varistar.periods.measured import measure_split
from varistar.periods.preprocess import AnyRepresentation, read_representation
from varistar.periods.sample_settings import SampleSettings, StarSettings
from varistar.periods.scores import within
from varistar.periods.simulate import build_simulations
from varistar.periods.templates import TemplateSettings, build_templates
from varistar.periods.train import train
from varistar.periods.variants import Variant
from varistar.surveys.definition import Survey

Result = TypeVar("Result")

SHARES = {"train": 0.5, "validation": 0.15, "calibration": 0.15, "test": 0.2}
SURE = 0.5
ALONE = Engine(workers=1)  # folds are worked off side by side, so that each keeps to its own process
COPY = "~"  # before the number of a scrambled copy, in a template's name


@dataclass(frozen=True)
class Kind:
    """One kind of network, its representation over a survey's own window."""

    variant: Variant
    representation: AnyRepresentation

    @classmethod
    def read(cls, root: Path, name: str, survey: Survey, members: int) -> "Kind":
        """Variant `name` of params.yaml, with `members` networks if it averages several."""
        variant = read_section(root, f"periods.variants.{name}", Variant)
        shown = read_representation(root, variant.representation)
        alike = variant.model_copy(update={"members": members if variant.ensemble else 1})
        return cls(alike, shown.model_copy(update={"window": survey.window}))


@dataclass(frozen=True)
class Noise:
    """Stars that lend their noise, and what is asked of them."""

    light_curves: LightCurves
    min_points: int
    max_own_power: float


def build_sample(
    noise: Mapping[str, Noise], sample: SampleSettings, stars: Mapping[str, StarSettings], survey: Survey, folder: Path
) -> Path:
    """Templates, simulations and injections, as the pipeline's stages make them; returns the injections' folder."""
    for name, lent in noise.items():
        fewest = survey.cuts.model_copy(update={"min_points": lent.min_points})
        store = Store(folder / "light_curves" / name)
        store.append(apply_cuts(lent.light_curves, fewest)[0])
        # the family is chosen already; `select` is not used
        settings = TemplateSettings(select="red_clump", min_points=lent.min_points, max_own_power=lent.max_own_power)
        target = folder / "templates" / name
        chosen = set(lent.light_curves.star_id)
        table = build_templates(store.parts(), chosen, settings, survey, SplitSettings(**SHARES), target, ALONE)
        table.with_columns(split=fair_splits(table["star_id"])).write_parquet(target / "stars.parquet")
        print(f"  {name}: {table.height} templates of {len(chosen)} light curves")
    build_simulations(folder / "templates", sample, stars, survey.window[0], folder / "simulations", ALONE)
    build_injections(folder / "templates", folder / "simulations", sample, folder / "injected", ALONE)
    return folder / "injected"


def fair_splits(templates: pl.Series) -> pl.Series:
    """Each template's split: copies of a star are in one, and no split has less than half its share of the stars.

    Of few stars a hash may leave a split without any; the first seed is taken whose hash does not.
    """
    star_of = [template.split(COPY)[0] for template in templates]
    stars = sorted(set(star_of))
    if len(stars) < len(SPLITS):
        raise DataError(f"{len(stars)} stars are too few for templates; {len(SPLITS)} splits need as many")
    for seed in itertools.count():
        split = dict(zip(stars, split_stars(stars, SplitSettings(**SHARES, seed=seed)).tolist(), strict=True))
        counts = [list(split.values()).count(name) for name in SPLITS]
        if all(count >= max(1, share * len(stars) / 2) for count, share in zip(counts, SHARES.values(), strict=True)):
            return pl.Series([split[star] for star in star_of], dtype=pl.String)


def train_network(kind: Kind, injected: Path, survey: Survey, folder: Path) -> Path:
    """Images, training of all members and calibration; returns the folder of the calibrated model."""
    images = folder / "images"
    build_images(injected, kind.representation, images, ALONE)
    training = kind.variant.training
    for number in range(kind.variant.members):
        seeded = training.model_copy(update={"seed": training.seed + number})
        variant = kind.variant.model_copy(update={"training": seeded})
        network, done = train(variant, [images], folder / "checkpoints" / str(number))
        best: dict[str, float | None] = {key: round(value, 6) for key, value in done.history[done.best_epoch].items()}
        spec = describe_model(variant.network, kind.representation, survey, best, {})
        write_content(folder / "members" / str(number), ModelContent(spec, network.state_dict()))
    content = gather_members(folder / "members", kind.variant.ensemble)
    write_content(folder / "model", calibrate(content, [images / "calibration"]))
    return folder / "model"


def skill(model: Path, injected: Path) -> pl.DataFrame:
    """How a network does on the held-out injections of its own fold: one row per star, with `stars`, its kind."""
    (table,) = measure_split([model], injected, engine=ALONE)
    right = within(table["period"].to_numpy(), table["true_period"].to_numpy(), 0.1)
    return table.select("stars", "p_within_10pct", right=pl.Series(right))


def skill_lines(skills: pl.DataFrame) -> list[str]:
    """A table of all folds' test sets, in Markdown."""
    lines = ["| simulated stars | n | within 10% | p > 0.5 | of these within 10% |", "|---|---|---|---|---|"]
    for (kind,), rows in sorted(skills.group_by("stars")):
        sure = rows.filter(pl.col("p_within_10pct") > SURE)
        periodic = rows["right"].any()
        share, sure_share = (
            f"{table['right'].mean():.1%}" if periodic and table.height else "-" for table in (rows, sure)
        )
        claimed = f"{sure.height / rows.height:.1%}"
        lines.append(f"| {str(kind).replace('_', '-')} | {rows.height} | {share} | {claimed} | {sure_share} |")
    return lines


def in_folds(measure: Callable[[int], Result], folds: int, what: str) -> list[Result]:
    """What `measure` gives for each fold, in their order; folds are worked off in processes side by side."""
    done = dict(run_all(measure, range(folds), None, what, lambda fold: f"{what}, fold {fold + 1}"))
    return [done[fold] for fold in range(folds)]


def deal(names: list[str], folds: int, fold: int) -> set[str]:
    """The names that belong to a fold, dealt out in their order."""
    return set(sorted(names)[fold::folds])


def take(light_curves: LightCurves, names: set[str]) -> LightCurves:
    """The stars with these names."""
    return light_curves.take(np.flatnonzero([star in names for star in light_curves.star_id]))


def counted(successes: int, n: int) -> str:
    """A count with its 95% interval."""
    low, high = wilson_interval(successes, n)
    return f"{successes} of {n} ({low:.0%} to {high:.0%})"


def paragraph(text: str) -> str:
    """Wrapped, for Markdown."""
    return textwrap.fill(" ".join(text.split()), 118, break_on_hyphens=False)
