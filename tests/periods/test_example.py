"""The example that is drawn is a clear star of the test set, and nothing where there is none."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.lightcurves.store import Store
from varistar.periods import example
from varistar.periods.example import example_figures
from varistar.periods.measure import PeriodMeter

SHOWN = {
    "clump-8-16-32": ("clump", "paper", "image_figure"),
    "period-axis": ("broad", "statistics", "statistics_figure"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_star_is_shown_that_is_clearer_than_nine_in_ten(
    project: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sample, representation, drawer = SHOWN[name]
    drawn: list[Any] = []
    monkeypatch.setattr(example, drawer, lambda *given: drawn.append(given) or "a figure")
    injected = project.build / "injected" / sample
    figures = example_figures(project.build / "calibrated" / name, injected, representation)
    assert figures == {"example": "a figure"}
    spotted = pl.read_parquet(injected / "test/truth.parquet").filter(pl.col("activity").is_not_null())
    clear = sorted(
        spotted.rows(named=True), key=lambda row: (row["amplitude"] / row["template_scatter"], row["star_id"])
    )
    star = clear[int(0.9 * (len(clear) - 1))]
    (given,) = drawn
    light_curve = Store(injected / "test").read_stars([star["star_id"]])
    np.testing.assert_array_equal(given[0], light_curve["time"])
    assert np.median(given[1]) == pytest.approx(1)
    assert [value for value in given if isinstance(value, float)] == [star["period_days"]]
    assert f"{star['period_days']:.2f} d" in given[-1]
    if drawer == "statistics_figure":
        meter = PeriodMeter.of_folder(project.build / "calibrated" / name)
        probabilities, answer = given[4], given[6]
        assert probabilities.shape == (meter.representation.bins,)
        # what is not in the bins is the probability that there is no period
        assert probabilities.sum() + answer["p_no_period"] == pytest.approx(1, abs=1e-5)
        assert answer["star_id"] == star["star_id"]


def test_without_a_spotted_star_there_is_no_example(copied: Any) -> None:
    injected = copied.build / "injected/broad"
    truth = pl.read_parquet(injected / "test/truth.parquet")
    truth.filter(pl.col("activity").is_null()).write_parquet(injected / "test/truth.parquet")
    assert example_figures(copied.build / "calibrated/period-axis", injected, "statistics") == {}
