"""Simple methods find simple signals, and stand beside the networks star by star."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json
from varistar.lightcurves.table import LightCurves
from varistar.periods.baselines import METHODS, baseline_scores, build_baselines, chunked_argmax
from varistar.periods.scores import best_constant, period_scores
from varistar.spectra.chunked import chunked_lombscargle
from varistar.spectra.periodogram import lombscargle_peak
from varistar.surveys.definition import Survey

STEP = 29 / 127  # of the 128 trial periods


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
    periods = 1 + STEP * np.arange(128)
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
        peak = lombscargle_peak(star["time"], star["flux"], star["flux_err"], *survey.period_range)
        assert found["lomb_scargle"] == pytest.approx(peak.period, nan_ok=True)
        assert [found["chunked_argmax"], found["chunked_argmax_delta_chi2"]] == [
            values[0] for values in chunked_argmax(star, survey)
        ]


@pytest.mark.parametrize("split", ["test", "train"])
def test_an_empty_split_is_an_error_that_says_so(copied: Any, survey: Survey, split: str) -> None:
    folder = copied.build / "injected/clump"
    truth = pl.read_parquet(folder / split / "truth.parquet")
    shutil.rmtree(folder / split)
    (folder / split).mkdir()
    truth.clear().write_parquet(folder / split / "truth.parquet")
    with pytest.raises(DataError, match=rf"{split}: no examples; the sample is too small for this split"):
        build_baselines(folder, survey, engine=Engine(workers=1))


def test_a_damaged_part_is_an_error_that_names_it(copied: Any, survey: Survey) -> None:
    part = min((copied.build / "injected/clump/test").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-99])
    with pytest.raises(DataError, match=rf"^{part}"):
        build_baselines(copied.build / "injected/clump", survey, engine=Engine(workers=1))


def test_simple_methods_are_scored_against_the_truth_of_the_same_star(project: Any) -> None:
    truth = pl.read_parquet(project.build / "injected/clump/test/truth.parquet")
    periods = dict(truth["star_id", "period_days"].iter_rows())
    table = pl.read_parquet(project.build / "baselines/clump.parquet").sample(fraction=1.0, shuffle=True, seed=3)
    scores = baseline_scores(table, truth)
    for column, label in METHODS.items():
        true_period = pl.Series([periods[star] for star in table["star_id"]]).to_numpy()
        assert scores[label] == period_scores(true_period, table[column].to_numpy())
    written = read_json(project.root / "metrics/periods/baselines/clump.json")
    assert written == json.loads(json.dumps(scores))
