"""What is measured stands beside the truth of the same star, and several models see the same stars."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from varistar.bulk.engine import Engine
from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.periods.measure import PeriodMeter
from varistar.periods.measured import LN_EDGES, TRUTH, measure_split
from varistar.periods.network import CalibratedNetwork
from varistar.periods.reliability import crps_of_histogram

VARIANTS = ("clump-8-16-32", "period-axis")
ALONE = Engine(workers=1)


@pytest.fixture(scope="module")
def tables(project: Any) -> dict[str, pl.DataFrame]:
    """Each variant's measurements of the test set of `broad`."""
    injected = project.build / "injected/broad"
    return {name: measure_split([project.build / "calibrated" / name], injected, engine=ALONE)[0] for name in VARIANTS}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_star_stands_beside_its_own_truth(project: Any, tables: dict[str, pl.DataFrame], name: str) -> None:
    table = tables[name]
    truth = pl.read_parquet(project.build / "injected/broad/test/truth.parquet").sort("star_id")
    assert table["star_id"].to_list() == truth["star_id"].to_list()
    silent = truth["period_days"].is_null()
    assert silent.any() and not silent.all()
    for column, ours in TRUTH.items():
        known = table[ours].filter(~silent) if ours in ("true_period", "shown_period") else table[ours]
        assert known.to_list() == (truth.filter(~silent) if len(known) < len(silent) else truth)[column].to_list()
    for column in ("true_period", "shown_period", "cumulative", "crps"):
        assert table[column].is_nan().to_list() == silent.to_list(), column
    assert table.drop("amplitude").null_count().sum_horizontal()[0] == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_measurements_are_those_of_each_star_alone(
    project: Any, tables: dict[str, pl.DataFrame], injected: Callable[..., LightCurves], name: str
) -> None:
    meter = PeriodMeter.of_folder(project.build / "calibrated" / name)
    light_curves = injected("broad", "test")
    head, stretch = meter.network.network.head, meter.network.stretch
    for row in tables[name].gather_every(3).iter_rows(named=True):
        star = light_curves.star(light_curves.star_id.index(row["star_id"]))
        (alone,) = meter.measure(star).rows(named=True)
        assert {column: row[column] for column in alone} == pytest.approx(alone, nan_ok=True, abs=0)
        if not np.isnan(row["true_period"]):
            truth = torch.tensor([row["true_period"]], dtype=torch.float32)
            expected = float(head.cumulative(meter.raw(meter.arrays(star)), stretch, truth))
            assert row["cumulative"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_distance_of_a_distribution_from_the_truth(
    project: Any, tables: dict[str, pl.DataFrame], injected: Callable[..., LightCurves], name: str
) -> None:
    """Integrated on a fine grid in ln(period), where the distribution is taken to end with the histogram's edges."""
    meter = PeriodMeter.of_folder(project.build / "calibrated" / name)
    light_curves = injected("broad", "test")
    head, stretch = meter.network.network.head, meter.network.stretch
    fine = np.linspace(LN_EDGES[0], LN_EDGES[-1], 20_001)
    some = tables[name].filter(~pl.col("true_period").is_nan()).head(4)
    for row in some.iter_rows(named=True):
        raw = meter.raw(meter.arrays(light_curves.star(light_curves.star_id.index(row["star_id"]))))
        grid = torch.tensor(np.exp(fine), dtype=torch.float32)
        below = head.cumulative(raw.expand(len(fine), -1), stretch, grid).double().numpy()
        apart = (below - (fine >= np.log(row["true_period"]))) ** 2
        assert row["crps"] == pytest.approx(np.trapezoid(apart, fine), abs=0.02)


def test_a_narrow_laplace_distribution_scores_as_its_formula_says() -> None:
    """The histogram is fine enough that a distribution of a few percent is told from a point."""
    scale, centre, truth = 0.03, np.log(8.0), np.log(9.0)
    below = np.where(centre > LN_EDGES, np.exp(-abs(LN_EDGES - centre) / scale) / 2, 0)
    below = np.where(centre > LN_EDGES, below, 1 - np.exp(-abs(LN_EDGES - centre) / scale) / 2)
    (found,) = crps_of_histogram(np.diff(below)[None] / np.diff(below).sum(), LN_EDGES, [truth])
    distance = abs(truth - centre)
    expected = distance + scale * np.exp(-distance / scale) - 0.75 * scale  # Jordan, Krueger & Lerch (2019)
    assert found == pytest.approx(expected, rel=0.02)


def test_several_models_measure_as_each_alone(project: Any, tables: dict[str, pl.DataFrame]) -> None:
    """With arrays that are made once, and each with its own network."""
    calibrated = project.build / "calibrated/period-axis"
    members = [project.build / "networks/period-axis" / number for number in "01"]
    together = measure_split([calibrated, *members], project.build / "injected/broad", engine=ALONE)
    assert together[0].equals(tables["period-axis"])
    for member, table in zip(members, together[1:], strict=True):
        (alone,) = measure_split([member], project.build / "injected/broad", engine=ALONE)
        assert table.equals(alone)
    assert not together[1]["period"].equals(together[2]["period"])


def test_the_split_that_is_asked_for(project: Any) -> None:
    truth = pl.read_parquet(project.build / "injected/broad/validation/truth.parquet")
    content, injected = project.build / "calibrated/period-axis", project.build / "injected/broad"
    (table,) = measure_split([content], injected, "validation", engine=ALONE)
    assert table["star_id"].to_list() == sorted(truth["star_id"])


def test_the_network_stays_on_its_device_until_all_is_measured(
    project: Any, tables: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a module `cpu` moves the weights themselves, so that arrays on an accelerator would find none."""
    asked: list[str] = []
    measure, to_cpu = PeriodMeter.raw, CalibratedNetwork.cpu
    monkeypatch.setattr(PeriodMeter, "raw", lambda self, arrays: asked.append("raw") or measure(self, arrays))
    monkeypatch.setattr(CalibratedNetwork, "cpu", lambda self: asked.append("cpu") or to_cpu(self))
    shards = len(list((project.build / "injected/broad/test").glob("part-*.parquet")))
    measure_split([project.build / "calibrated/period-axis"], project.build / "injected/broad", engine=ALONE)
    assert asked == ["raw", "cpu"] * shards


def test_an_empty_split_is_an_error_that_says_so(project: Any, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"test: the test set is empty; the sample is too small for this split"):
        measure_split([project.build / "calibrated/period-axis"], tmp_path, engine=ALONE)


def test_a_damaged_part_is_an_error_that_names_it(copied: Any) -> None:
    part = max((copied.build / "injected/clump/test").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-99])
    with pytest.raises(DataError, match=rf"^{part}"):
        measure_split([copied.build / "calibrated/period-axis"], copied.build / "injected/clump", engine=ALONE)
