"""Every example has its own star, whoever computes it, and templates repeat only when they must."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.bulk.engine import Engine
from varistar.experiments.splits import SPLITS
from varistar.foundation.errors import DataError
from varistar.foundation.params import read_section
from varistar.lightcurves.shards import read_shard
from varistar.periods import simulate
from varistar.periods.sample_settings import PartSettings, SampleSettings, StarSettings
from varistar.periods.simulate import FAINTEST, TRUTH, build_simulations, irregular_star, plan_examples
from varistar.physics.spots import SpotPrior, simulate_positive, stream_of

REPOSITORY = Path(__file__).resolve().parents[2]


def template_table(n: int) -> pl.DataFrame:
    """A table of `n` templates, in no order, in shards of three."""
    order = np.random.default_rng(n).permutation(n)
    return pl.DataFrame(
        {
            "star_id": [f"star-{number:03d}" for number in order],
            "split": [SPLITS[number % 4] for number in order],
            "shard": [f"part-{number // 3:05d}.parquet" for number in order],
            "row": [int(number % 3) for number in order],
        }
    )


def sample_of(*parts: PartSettings, **values: Any) -> SampleSettings:
    return SampleSettings(parts=parts or (PartSettings(templates="clump", stars="spotted"),), **values)


def one_part(table: pl.DataFrame, **values: Any) -> pl.DataFrame:
    return plan_examples({"clump": table}, sample_of(**values))


# ---------------------------------------------------------------------------------------------------------------------
# The plan


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 5))
def test_every_template_is_used_n_or_one_more_times(n_templates: int, simulations: int, seed: int) -> None:
    templates = template_table(n_templates)
    plan = one_part(templates, simulations=simulations, seed=seed)
    assert plan["simulation"].to_list() == list(range(simulations))
    used = dict.fromkeys(templates["star_id"], 0) | dict(plan.group_by("template").len().iter_rows())
    assert set(used.values()) <= {simulations // n_templates, simulations // n_templates + 1}
    assert sum(used.values()) == simulations


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 60))
def test_an_example_is_where_its_template_is(n_templates: int, simulations: int) -> None:
    templates = template_table(n_templates)
    places = {star: place for star, *place in templates.iter_rows()}
    for row in one_part(templates, simulations=simulations).iter_rows(named=True):
        assert [row["split"], row["shard"], row["row"]] == places[row["template"]]


def test_the_order_is_shuffled_by_the_seed() -> None:
    orders = {tuple(one_part(template_table(40), simulations=40, seed=seed)["template"]) for seed in (0, 1, 2)}
    assert len(orders) == 3
    assert tuple(sorted(template_table(40)["star_id"])) not in orders


def test_a_sample_of_one_part_takes_its_templates_in_the_order_of_the_seed() -> None:
    """That samples of one part stay what they have been, star by star."""
    templates = template_table(7)
    order = np.random.default_rng(88).permutation(7)
    expected = [sorted(templates["star_id"])[order[number % 7]] for number in range(20)]
    assert one_part(templates, simulations=20)["template"].to_list() == expected


shares = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=5)


def mixture(shares: list[float], simulations: int) -> pl.DataFrame:
    """Parts on template sets of 5, 6, ... templates, each with a kind of its own."""
    parts = [PartSettings(templates=f"set-{i}", stars=f"kind-{i}", share=share) for i, share in enumerate(shares)]
    tables = {f"set-{i}": template_table(5 + i) for i in range(len(shares))}
    return plan_examples(tables, sample_of(*parts, simulations=simulations))


@settings(deadline=None)
@given(shares, st.integers(1, 300))
def test_every_part_gets_its_share(shares: list[float], simulations: int) -> None:
    """Webster's method: there is a number x with round(share x) examples of every part."""
    plan = mixture(shares, simulations)
    assert plan["simulation"].to_list() == list(range(simulations))
    counts = np.array([plan.filter(stars=f"kind-{i}").height for i in range(len(shares))])
    assert counts.sum() == simulations
    lowest = max((count - 0.5) / share for count, share in zip(counts, shares, strict=True))
    highest = min((count + 0.5) / share for count, share in zip(counts, shares, strict=True))
    assert lowest <= highest * (1 + 1e-9)
    if len(shares) < 3:
        assert np.all(np.abs(counts - simulations * np.array(shares) / sum(shares)) <= 0.5 + 1e-9)


@settings(deadline=None)
@given(shares, st.integers(1, 60), st.integers(1, 60))
def test_more_examples_change_none(shares: list[float], simulations: int, more: int) -> None:
    assert mixture(shares, simulations + more).head(simulations).equals(mixture(shares, simulations))


@settings(deadline=None)
@given(shares, st.integers(1, 300))
def test_a_part_uses_its_own_templates_evenly(shares: list[float], simulations: int) -> None:
    plan = mixture(shares, simulations)
    for i in range(len(shares)):
        part = plan.filter(stars=f"kind-{i}")
        assert set(part["templates"]) <= {f"set-{i}"}
        used = dict.fromkeys(template_table(5 + i)["star_id"], 0) | dict(part.group_by("template").len().iter_rows())
        assert max(used.values()) - min(used.values()) <= 1


def test_parts_on_the_same_templates_take_them_in_orders_of_their_own() -> None:
    parts = [PartSettings(templates="clump", stars=kind) for kind in ("spotted", "constant")]
    plan = plan_examples({"clump": template_table(40)}, sample_of(*parts, simulations=80))
    first, second = (plan.filter(stars=kind)["template"].to_list() for kind in ("spotted", "constant"))
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize(("unique", "found"), [(1, 1), (7, 7), (40, 40), (1000, 40)])
def test_unique_bounds_the_number_of_templates(unique: int, found: int) -> None:
    part = PartSettings(templates="clump", stars="spotted", unique=unique)
    plan = plan_examples({"clump": template_table(40)}, sample_of(part, simulations=90))
    used = plan.group_by("template").len()["len"]
    assert len(used) == found
    assert used.max() - used.min() <= 1


# ---------------------------------------------------------------------------------------------------------------------
# The simulations

STARS = {
    "spotted": StarSettings(signal="spots", prior=SpotPrior(activity=(3.0, 10.0))),
    "constant": StarSettings(signal="none"),
    "irregular": StarSettings(signal="red_noise", timescale=(5.0, 50.0), deviation=(0.01, 0.05)),
}
SAMPLE = sample_of(simulations=20, seed=7)
MIXED = sample_of(
    PartSettings(templates="clump", stars="spotted"),
    PartSettings(templates="clump", stars="constant"),
    PartSettings(templates="quasar", stars="irregular", share=2.0),
    simulations=24,
    seed=7,
)


@pytest.fixture
def build(project: Any, survey: Any, tmp_path: Path) -> Callable[..., tuple[pl.DataFrame, int]]:
    """Simulate a sample on the project's templates; every example, and how many draws were refused."""

    def run(name: str = "simulations", workers: int = 1, sample: SampleSettings = SAMPLE) -> tuple[pl.DataFrame, int]:
        templates, engine = project.build / "templates", Engine(workers=workers)
        redraws = build_simulations(templates, sample, STARS, survey.window[0], tmp_path / name, engine)
        parts = sorted((tmp_path / name).glob("*/part-*.parquet"))
        tables = [pl.read_parquet(part).with_columns(folder=pl.lit(part.parent.name)) for part in parts]
        return pl.concat(tables).sort("simulation"), redraws

    return run


@pytest.fixture
def template_of(project: Any) -> Callable[[dict[str, Any]], Any]:
    """The light curve that an example says is its template's."""

    def read(row: dict[str, Any]) -> Any:
        template = read_shard(project.build / "templates" / row["templates"] / row["shard"]).star(row["row"])
        assert template.star_id == (row["template"],)
        return template

    return read


@pytest.mark.parametrize("sample", [SAMPLE, MIXED])
def test_what_is_stored_is_the_star_that_was_simulated(
    build: Callable[..., Any], template_of: Callable[..., Any], survey: Any, sample: SampleSettings
) -> None:
    table, redraws = build(sample=sample)
    assert table["simulation"].to_list() == list(range(sample.simulations))
    for row in table.filter(stars="spotted").iter_rows(named=True):
        time = template_of(row)["time"]
        star = simulate_positive(STARS["spotted"].prior, time, survey.window[0], seed=7, number=row["simulation"])
        np.testing.assert_array_equal(np.float32(row["spot_flux"]), star.flux.astype(np.float32))
        assert (row["median_flux"], row["n_redraws"]) == (star.median, star.n_redraws)
        assert row["period_days"] == star.parameters.period
        shown = row["effective_period_days"]
        assert (np.nan if shown is None else shown) == pytest.approx(star.effective_period, nan_ok=True)
        others = asdict(star.parameters)
        del others["period"]
        assert {name: row[name] for name in others} == others
        assert row["timescale_days"] is row["deviation"] is None
    assert redraws == table["n_redraws"].sum()


def test_stars_darker_than_black_are_drawn_again(build: Callable[..., Any]) -> None:
    assert build()[1] > 0, "a prior this active has such stars"


def test_a_mixture_has_its_kinds_and_their_truth(build: Callable[..., Any], template_of: Callable[..., Any]) -> None:
    table, _ = build(sample=MIXED)
    assert dict(table.group_by("stars").len().iter_rows()) == {"spotted": 6, "constant": 6, "irregular": 12}
    assert {**table.schema}.items() >= TRUTH.items()
    for row in table.filter(pl.col("stars") != "spotted").iter_rows(named=True):
        known = {name for name in TRUTH if row[name] is not None}
        time = template_of(row)["time"]
        if row["stars"] == "constant":
            assert row["spot_flux"] == [1.0] * len(time)
            assert known == {"median_flux", "n_redraws"}
        else:
            star = irregular_star(STARS["irregular"], time, stream_of(7, row["simulation"]))
            np.testing.assert_array_equal(np.float32(row["spot_flux"]), star.flux.astype(np.float32))
            assert (row["timescale_days"], row["deviation"]) == (star.truth["timescale_days"], star.truth["deviation"])
            assert known == {"median_flux", "n_redraws", "timescale_days", "deviation"}
        assert (row["median_flux"], row["n_redraws"]) == (1.0, 0)


def test_kinds_do_not_change_one_another(build: Callable[..., Any]) -> None:
    """The same numbers, of which all are spotted: a star depends on the seed and its number, and on its template."""
    alone = sample_of(
        PartSettings(templates="clump", stars="spotted"),
        PartSettings(templates="clump", stars="spotted"),
        PartSettings(templates="quasar", stars="spotted", share=2.0),
        simulations=24,
        seed=7,
    )
    mixed = build("mixed", sample=MIXED)[0].filter(stars="spotted")
    same = build("alone", sample=alone)[0].filter(pl.col("simulation").is_in(mixed["simulation"].to_list()))
    assert same.equals(mixed)


def test_examples_are_in_the_split_of_their_template(build: Callable[..., Any], project: Any) -> None:
    table, _ = build()
    splits = dict(pl.read_parquet(project.build / "templates/clump/stars.parquet")["star_id", "split"].iter_rows())
    assert table["folder"].to_list() == table["split"].to_list() == [splits[star] for star in table["template"]]
    assert table["split"].n_unique() == 4


def test_neither_shards_nor_workers_change_a_star(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, _ = build("whole", sample=MIXED)
    by_workers, _ = build("by-workers", workers=2, sample=MIXED)
    monkeypatch.setattr(simulate, "SIMULATIONS_PER_SHARD", 2)
    in_pieces, _ = build("in-pieces", sample=MIXED)
    assert len(list((tmp_path / "in-pieces").glob("*/*"))) > len(list((tmp_path / "whole").glob("*/*")))
    assert whole.equals(by_workers)
    assert whole.equals(in_pieces)


def test_an_accelerator_simulates_the_same_stars(
    build: Callable[..., Any], project: Any, survey: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code, on the processor, in batches of two."""
    monkeypatch.setattr(simulate, "STARS_PER_BATCH", 2)
    there, _ = build(sample=MIXED)
    pieces, _ = simulate.simulation_pieces(project.build / "templates", MIXED, STARS, survey.window[0], "cpu:0")
    for number, piece in enumerate(pieces):
        simulate.simulate_piece(piece, tmp_path / f"torch-{number}")
    here = pl.concat([pl.read_parquet(path) for path in tmp_path.glob("torch-*.parquet")]).sort("simulation")
    inexact = ["spot_flux", "median_flux"]
    assert here.drop(inexact).equals(there.drop(*inexact, "folder"))
    for name in inexact:
        np.testing.assert_allclose(here[name].explode(), there[name].explode(), atol=1e-7)


def test_a_parts_templates_stand_in_one_shard(build: Callable[..., Any], tmp_path: Path) -> None:
    build(sample=MIXED)
    parts = list((tmp_path / "simulations").glob("*/part-*.parquet"))
    assert len(parts) > 4
    places = [pl.read_parquet(part, columns=["templates", "shard", "split"]) for part in parts]
    assert all(place.unique().height == 1 for place in places)


def test_another_seed_is_another_sample(build: Callable[..., Any]) -> None:
    first, second = build("a")[0], build("b", sample=SAMPLE.model_copy(update={"seed": 8}))[0]
    assert not set(first["period_days"]) & set(second["period_days"])


def test_periods_are_the_priors(project: Any) -> None:
    """Table 1: uniform between 1 and 30 days; 60 of them have a mean of 15.5 +- 1.1."""
    parts = (project.build / "simulations/clump").glob("*/part-*.parquet")
    periods = pl.concat([pl.read_parquet(part, columns=["period_days"]) for part in parts])["period_days"]
    assert len(periods) == 60
    assert periods.min() >= 1 and periods.max() <= 30
    assert periods.mean() == pytest.approx(15.5, abs=4 * 8.4 / np.sqrt(60))


def test_templates_from_before_the_survey_are_an_error_that_says_so(project: Any, tmp_path: Path) -> None:
    templates, folder = project.build / "templates", tmp_path / "simulations"
    with pytest.raises(DataError, match=r"part-\d{5}\.parquet: epochs run from -\d+\.\d to .* after the start of"):
        build_simulations(templates, SAMPLE, STARS, 59000.0, folder, Engine(workers=1))


# ---------------------------------------------------------------------------------------------------------------------
# Stars without a period


def test_an_irregular_star_is_a_random_walk_about_one() -> None:
    """exp(-1) is left of the correlation after the timescale; with 4 10^4 of them the error is about 0.5 %."""
    settings = StarSettings(signal="red_noise", timescale=(3.0, 3.0), deviation=(0.05, 0.05))
    time = np.arange(120_000.0)
    flux = irregular_star(settings, time, np.random.default_rng(1)).flux
    assert flux.mean() == pytest.approx(1.0, abs=0.05 * 0.02)
    assert flux.std() == pytest.approx(0.05, rel=0.02)
    assert np.corrcoef(flux[3:], flux[:-3])[0, 1] == pytest.approx(np.exp(-1), abs=0.02)


def test_its_parameters_are_log_uniform() -> None:
    settings, time = StarSettings(signal="red_noise"), np.arange(3.0)
    stars = [irregular_star(settings, time, np.random.default_rng(seed)).truth for seed in range(2000)]
    for name, (low, high) in {"timescale_days": (3.0, 300.0), "deviation": (0.003, 0.1)}.items():
        share = np.log([star[name] / low for star in stars]) / np.log(high / low)
        assert share.min() >= 0 and share.max() <= 1
        np.testing.assert_allclose(np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)


def test_it_stays_positive() -> None:
    wild = StarSettings(signal="red_noise", deviation=(2.0, 2.0))
    flux = irregular_star(wild, np.arange(1000.0), np.random.default_rng(0)).flux
    assert flux.min() == FAINTEST
    assert flux.max() > 2


def test_the_order_of_its_epochs_does_not_matter() -> None:
    settings, time = StarSettings(signal="red_noise"), np.random.default_rng(3).uniform(0, 100, 50)
    order = np.argsort(time)
    shuffled, ordered = (irregular_star(settings, t, np.random.default_rng(0)).flux for t in (time, time[order]))
    np.testing.assert_array_equal(shuffled[order], ordered)


def test_long_lived_spots_live_as_the_parameters_say() -> None:
    prior = read_section(REPOSITORY, "periods.stars.long_lived", StarSettings).prior
    assert (prior.spot_lifetime, prior.spot_lifetime_unit) == ((10.0, 316.0), "days")
    assert (prior.period, prior.short_period, prior.short_period_share) == ((1.0, 30.0), (1.0, 10.0), 0.5)
