"""Simple methods find simple signals, and stand beside the networks star by star."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import LightCurves
from varistar.periods.baselines import METHODS, baseline_scores, build_baselines, chunked_argmax
from varistar.periods.cleaning import clean, without_trend
from varistar.periods.scores import best_constant, period_scores, within
from varistar.periods.verdict import fraction_interval
from varistar.spectra.chunked import chunked_lombscargle
from varistar.spectra.periodogram import lombscargle_peak
from varistar.surveys.definition import Survey


def sines(survey: Survey, period: float, amplitude: float, n_stars: int = 12) -> LightCurves:
    """Stars of one period in noise of one, with two points a night through the survey."""
    rng = np.random.default_rng(1)
    m = 700
    time = np.sort(rng.uniform(*survey.window, (n_stars, m)), axis=1)
    phase = rng.uniform(0, 2 * np.pi, (n_stars, 1))
    flux = 50 + amplitude * np.sin(2 * np.pi * time / period + phase) + rng.normal(0, 1, (n_stars, m))
    return LightCurves(
        star_id=tuple(f"star-{number}" for number in range(n_stars)),
        offsets=np.arange(n_stars + 1) * m,
        columns={
            "time": time.ravel(),
            "flux": flux.ravel().astype(np.float32),
            "flux_err": np.ones(n_stars * m, np.float32),
        },
        time_system="MJD_UTC",
    )


@pytest.mark.parametrize("period", [4.2, 11.0, 23.0])
def test_a_strong_signal_is_found_by_both_maps(survey: Survey, period: float) -> None:
    """The window of two periods makes a broad peak, so within a tenth."""
    for found in chunked_argmax(sines(survey, period, amplitude=10), survey):
        np.testing.assert_allclose(found, period, rtol=0.1)


def test_the_published_map_prefers_noise_at_short_periods(survey: Survey) -> None:
    """Its factor 1/dt lets them outshine a weak signal at a long period, which delta chi^2 still shows."""
    published, delta_chi2 = chunked_argmax(sines(survey, 22.0, amplitude=0.7), survey)
    right = [np.mean(np.abs(found / 22.0 - 1) < 0.1) for found in (published, delta_chi2)]
    assert right[0] <= 0.25 < 0.75 <= right[1]
    assert np.median(published) < 5


def test_the_brightest_row_is_that_of_the_map_summed_over_time(survey: Survey) -> None:
    light_curves = sines(survey, 15.0, amplitude=1.0, n_stars=4)
    periods = 30 ** (np.arange(128) / 127)
    nodes = np.linspace(*survey.window, 128)
    published, delta_chi2 = chunked_argmax(light_curves, survey)
    for i in range(4):
        star = light_curves.star(i)
        rows = chunked_lombscargle(star["time"], star["flux"], star["flux_err"], periods, nodes, 2.0).sum(axis=0)
        assert published[i] == pytest.approx(periods[np.argmax(rows)])
        assert delta_chi2[i] == pytest.approx(periods[np.argmax(rows * np.sqrt(2 * np.pi) * 2 * periods)])


def test_a_flat_star_has_some_period_and_no_error(survey: Survey) -> None:
    light_curves = sines(survey, 15.0, amplitude=0.0, n_stars=2)
    light_curves.columns["flux"][:] = 3.0
    for found in chunked_argmax(light_curves, survey):
        assert ((found >= 1) & (found <= 30)).all()


@pytest.mark.parametrize("sample", ["clump", "quasar"])
def test_the_table_has_every_method_for_every_test_star(
    project: Any, injected: Callable[..., LightCurves], survey: Survey, sample: str
) -> None:
    table = pl.read_parquet(project.build / "baselines" / f"{sample}.parquet")
    light_curves = injected(sample, "test")
    assert table.columns == ["star_id", *METHODS]
    assert table["star_id"].to_list() == sorted(light_curves.star_id)
    training = pl.read_parquet(project.build / "injected" / sample / "train/truth.parquet")["period_days"]
    assert set(table["constant"]) == {best_constant(training.to_numpy())}
    for i, star_id in enumerate(light_curves.star_id):
        star = light_curves.star(i)
        found = table.row(by_predicate=pl.col("star_id") == star_id, named=True)
        for column, points, n_terms in (
            ("lomb_scargle", star, 1),
            ("lomb_scargle_3_harmonics", star, 3),
            ("lomb_scargle_cleaned", without_trend(clean(star), 40.0), 1),
        ):
            columns = (points[name] for name in ("time", "flux", "flux_err"))
            peak = lombscargle_peak(*columns, *survey.period_range, n_terms=n_terms)
            assert found[column] == pytest.approx(peak.period, nan_ok=True)
        assert [found["chunked_argmax"], found["chunked_argmax_delta_chi2"]] == [
            values[0] for values in chunked_argmax(star, survey)
        ]


def test_a_step_between_cameras_misleads_only_the_raw_light_curve(tmp_path: Path, survey: Survey) -> None:
    """Two cameras take turns of 12 d and differ by ten amplitudes."""
    light_curves = sines(survey, 5.3, amplitude=1.5)
    second = np.floor(light_curves["time"] / 12) % 2 == 1
    light_curves.columns["flux"][second] += 15
    light_curves.columns["camera"] = np.where(second, "bb", "ba")
    write_sample(tmp_path, light_curves, [5.3] * 12)
    table = build_baselines(tmp_path, survey, engine=Engine(workers=1))
    assert within(table["lomb_scargle_cleaned"].to_numpy(), np.full(12, 5.3), 0.01).all()
    assert within(table["lomb_scargle"].to_numpy(), np.full(12, 24.0), 0.01).all()


def test_three_harmonics_find_what_is_no_sine(tmp_path: Path, survey: Survey) -> None:
    """Two minima a cycle, of unlike depth, as of a contact binary: a sine sees half the period."""
    light_curves = sines(survey, 9.0, amplitude=0.0)
    phase = 2 * np.pi * light_curves["time"] / 9.0
    light_curves.columns["flux"][:] += 3 * np.cos(2 * phase) + 1.5 * np.cos(phase) + np.sin(3 * phase)
    write_sample(tmp_path, light_curves, [9.0] * 12)
    table = build_baselines(tmp_path, survey, engine=Engine(workers=1))
    assert within(table["lomb_scargle_3_harmonics"].to_numpy(), np.full(12, 9.0), 0.01).all()
    assert within(table["lomb_scargle"].to_numpy(), np.full(12, 4.5), 0.01).all()


@pytest.mark.filterwarnings("error")
def test_stars_without_a_period_are_measured_and_not_scored(tmp_path: Path, survey: Survey) -> None:
    light_curves = sines(survey, 7.0, amplitude=10)
    write_sample(tmp_path, light_curves, [7.0] * 8 + [None] * 4)
    table = build_baselines(tmp_path, survey, engine=Engine(workers=1))
    assert table.height == 12
    some = table.filter(pl.col("star_id").is_in(light_curves.star_id[:8]))
    assert table["constant"].unique().to_list() == [best_constant(np.array([7.0]))]
    truth = pl.read_parquet(tmp_path / "test/truth.parquet")
    scores = baseline_scores(table, truth)
    for column, label in METHODS.items():
        expected = period_scores(np.full(8, 7.0), some[column].to_numpy())
        assert scores[label] | {"within_10pct_interval": None} == expected | {"within_10pct_interval": None}
        assert scores[label]["n"] == 8


def test_training_stars_without_a_period_are_an_error(tmp_path: Path, survey: Survey) -> None:
    write_sample(tmp_path, sines(survey, 7.0, amplitude=10), [None] * 12)
    with pytest.raises(DataError, match="train: no examples with a period; the sample is too small for this split"):
        build_baselines(tmp_path, survey, engine=Engine(workers=1))


def write_sample(folder: Path, light_curves: LightCurves, period_days: list[float | None]) -> None:
    """A sample whose test and training stars are these."""
    periods = pl.Series(period_days, dtype=pl.Float64)
    names = list(light_curves.star_id)
    truth = pl.DataFrame({"star_id": names, "template": names, "period_days": periods})
    for split in ("test", "train"):
        write_shard(folder / split / "part-00000.parquet", light_curves)
        truth.write_parquet(folder / split / "truth.parquet")


@pytest.mark.parametrize(("split", "what"), [("test", "examples"), ("train", "examples with a period")])
def test_an_empty_split_is_an_error_that_says_so(copied: Any, survey: Survey, split: str, what: str) -> None:
    folder = copied.build / "injected/clump"
    truth = pl.read_parquet(folder / split / "truth.parquet")
    shutil.rmtree(folder / split)
    (folder / split).mkdir()
    truth.clear().write_parquet(folder / split / "truth.parquet")
    with pytest.raises(DataError, match=rf"{split}: no {what}; the sample is too small for this split"):
        build_baselines(folder, survey, engine=Engine(workers=1))


def test_a_damaged_part_is_an_error_that_names_it(copied: Any, survey: Survey) -> None:
    part = min((copied.build / "injected/clump/test").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-99])
    with pytest.raises(DataError, match=rf"^{part}"):
        build_baselines(copied.build / "injected/clump", survey, engine=Engine(workers=1))


@pytest.mark.parametrize("sample", ["clump", "broad"])
def test_simple_methods_are_scored_by_kind_of_star_against_the_truth_of_the_same_star(
    project: Any, sample: str
) -> None:
    truth = pl.read_parquet(project.build / "injected" / sample / "test/truth.parquet")
    periods = {row["star_id"]: row["period_days"] for row in truth.rows(named=True)}
    table = pl.read_parquet(project.build / "baselines" / f"{sample}.parquet")
    table = table.sample(fraction=1.0, shuffle=True, seed=3)
    written = read_json(project.root / "metrics/periods/baselines" / f"{sample}.json")
    assert set(written) == set(truth.filter(pl.col("period_days").is_not_null())["stars"]), "no constant star"
    for kind, scores in written.items():
        mine = table.join(truth.filter(stars=kind).select("star_id", "template"), on="star_id")
        true_period = np.array([periods[star] for star in mine["star_id"]])
        for column, label in METHODS.items():
            period = mine[column].to_numpy()
            interval = fraction_interval(within(period, true_period, 0.1), mine["template"].to_numpy())
            expected = period_scores(true_period, period) | {"within_10pct_interval": interval}
            assert scores[label] == json.loads(json.dumps(expected))
            assert scores[label]["n"] == mine.height > 0
        assert scores.keys() == set(METHODS.values())
        assert json.loads(json.dumps(baseline_scores(table, truth.filter(stars=kind)))) == scores
