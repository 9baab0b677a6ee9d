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
from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard
from varistar.periods import simulate
from varistar.periods.simulate import SampleSettings, build_simulations, plan_examples
from varistar.periods.splits import SPLITS
from varistar.physics.spots import SpotPrior, simulate_positive


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


def sample_of(**values: Any) -> SampleSettings:
    return SampleSettings(**{"templates": "clump", "simulations": 10, **values})


# ---------------------------------------------------------------------------------------------------------------------
# The plan


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 5))
def test_every_template_is_used_n_or_one_more_times(n_templates: int, simulations: int, seed: int) -> None:
    templates = template_table(n_templates)
    plan = plan_examples(templates, sample_of(simulations=simulations, seed=seed))
    assert plan["simulation"].to_list() == list(range(simulations))
    used = dict.fromkeys(templates["star_id"], 0) | dict(plan.group_by("template").len().iter_rows())
    assert set(used.values()) <= {simulations // n_templates, simulations // n_templates + 1}
    assert sum(used.values()) == simulations


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 60))
def test_an_example_is_where_its_template_is(n_templates: int, simulations: int) -> None:
    templates = template_table(n_templates)
    plan = plan_examples(templates, sample_of(simulations=simulations))
    places = {star: place for star, *place in templates.iter_rows()}
    for row in plan.iter_rows(named=True):
        assert [row["split"], row["shard"], row["row"]] == places[row["template"]]


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(1, 60))
def test_more_examples_change_none(n_templates: int, simulations: int, more: int) -> None:
    templates = template_table(n_templates)
    plan = plan_examples(templates, sample_of(simulations=simulations))
    longer = plan_examples(
        templates.sample(fraction=1.0, shuffle=True, seed=0), sample_of(simulations=simulations + more)
    )
    assert longer.head(simulations).equals(plan)


def test_the_order_is_shuffled_by_the_seed() -> None:
    orders = {
        tuple(plan_examples(template_table(40), sample_of(simulations=40, seed=seed))["template"]) for seed in (0, 1, 2)
    }
    assert len(orders) == 3
    assert tuple(sorted(template_table(40)["star_id"])) not in orders


# ---------------------------------------------------------------------------------------------------------------------
# The simulations

SAMPLE = sample_of(simulations=20, seed=7, prior=SpotPrior(activity=(3.0, 10.0)))


@pytest.fixture
def build(project: Any, survey: Any, tmp_path: Path) -> Callable[..., tuple[pl.DataFrame, int]]:
    """Simulate `SAMPLE` with the project's clump templates; every example, and how many draws were refused."""

    def run(name: str = "simulations", workers: int = 1, sample: SampleSettings = SAMPLE) -> tuple[pl.DataFrame, int]:
        templates = project.build / "templates/clump"
        redraws = build_simulations(templates, sample, survey.window[0], tmp_path / name, Engine(workers=workers))
        parts = sorted((tmp_path / name).glob("*/part-*.parquet"))
        tables = [pl.read_parquet(part).with_columns(folder=pl.lit(part.parent.name)) for part in parts]
        return pl.concat(tables).sort("simulation"), redraws

    return run


def test_what_is_stored_is_the_star_that_was_simulated(build: Callable[..., Any], project: Any, survey: Any) -> None:
    table, redraws = build()
    assert table["simulation"].to_list() == list(range(20))
    for row in table.iter_rows(named=True):
        template = read_shard(project.build / "templates/clump" / row["shard"]).star(row["row"])
        assert template.star_id == (row["template"],)
        star = simulate_positive(SAMPLE.prior, template["time"], survey.window[0], seed=7, number=row["simulation"])
        np.testing.assert_array_equal(np.float32(row["spot_flux"]), star.flux.astype(np.float32))
        assert (row["median_flux"], row["n_redraws"]) == (star.median, star.n_redraws)
        assert row["period_days"] == star.parameters.period
        assert row["effective_period_days"] == pytest.approx(star.effective_period, nan_ok=True)
        others = asdict(star.parameters)
        del others["period"]
        assert {name: row[name] for name in others} == others
    assert redraws == table["n_redraws"].sum() > 0, "a prior this active has stars that are darker than black"


def test_examples_are_in_the_split_of_their_template(build: Callable[..., Any], project: Any) -> None:
    table, _ = build()
    splits = dict(pl.read_parquet(project.build / "templates/clump/stars.parquet")["star_id", "split"].iter_rows())
    assert table["folder"].to_list() == table["split"].to_list() == [splits[star] for star in table["template"]]
    assert table["split"].n_unique() == 4


def test_neither_shards_nor_workers_change_a_star(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, _ = build("whole")
    by_workers, _ = build("by-workers", workers=2)
    monkeypatch.setattr(simulate, "SIMULATIONS_PER_SHARD", 2)
    in_pieces, _ = build("in-pieces")
    assert len(list((tmp_path / "in-pieces").glob("*/*"))) > len(list((tmp_path / "whole").glob("*/*")))
    assert whole.equals(by_workers)
    assert whole.equals(in_pieces)


def test_a_parts_templates_stand_in_one_shard(build: Callable[..., Any], tmp_path: Path) -> None:
    build()
    parts = list((tmp_path / "simulations").glob("*/part-*.parquet"))
    assert len(parts) > 4
    assert all(pl.read_parquet(part, columns=["shard"])["shard"].n_unique() == 1 for part in parts)


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
    with pytest.raises(DataError, match=r"part-\d{5}\.parquet: epochs run from -\d+\.\d to .* after the start of"):
        build_simulations(
            project.build / "templates/clump", SAMPLE, 59000.0, tmp_path / "simulations", Engine(workers=1)
        )
