"""A measurement is of one star, whoever stands beside it, and the same one in evaluation and in prediction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.catalog.predict import predict
from varistar.experiments.content import ModelContent, read_content
from varistar.foundation.errors import RegistryError
from varistar.lightcurves.table import LightCurves
from varistar.periods.measure import BATCH, PeriodMeter, describe_model, served_network
from varistar.periods.network import PeriodNetwork
from varistar.periods.representation import make_images
from varistar.periods.variants import NetworkSettings

VARIANTS = ("clump-8-16-32", "clump-log-distribution")


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def content(project: Any, name: str) -> ModelContent:
    return read_content(project.build / "calibrated" / name)


@pytest.fixture
def meter(content: ModelContent) -> PeriodMeter:
    return PeriodMeter.of_content(content, "cpu")


def test_a_star_alone_is_measured_as_in_its_shard(meter: PeriodMeter, injected: Callable[..., LightCurves]) -> None:
    light_curves = injected("clump", "train")
    together = meter.measure(light_curves)
    assert together["star_id"].to_list() == list(light_curves.star_id)
    for i in range(len(light_curves)):
        assert meter.measure(light_curves.star(i)).equals(together[i])
    order = np.random.default_rng(0).permutation(len(light_curves))
    assert meter.measure(light_curves.take(order)).equals(together[order])
    assert together["period"].n_unique() > 5, "a network that says one thing proves nothing"


@pytest.mark.parametrize("n", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_an_answer_does_not_depend_on_where_it_stands_in_a_batch(meter: PeriodMeter, n: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2 * BATCH + 3, 1, 8, 36), dtype=np.uint8)
    some = np.random.default_rng(1).permutation(len(images))[:n]
    np.testing.assert_array_equal(meter.answers(images[some]), meter.answers(images)[some])
    np.testing.assert_array_equal(meter.raw(images[some]), meter.raw(images)[some])


def test_the_table_says_what_the_answers_are(meter: PeriodMeter, injected: Callable[..., LightCurves]) -> None:
    light_curves = injected("clump", "test")
    table = meter.measure(light_curves)
    answers = meter.answers(make_images(light_curves, meter.representation)[:, None])
    for column, values in zip(("period", "sigma", "p_within_10pct"), answers.T, strict=True):
        np.testing.assert_array_equal(table[column].to_numpy(), values.astype(np.float64))
    np.testing.assert_array_equal(table["fractional_uncertainty"], table["sigma"] / table["period"])
    np.testing.assert_array_equal(table["n_points"], light_curves.n_points)
    assert table.columns == ["star_id", "period", "sigma", "fractional_uncertainty", "p_within_10pct", "n_points"]
    assert meter.measure(light_curves, make_images(light_curves, meter.representation)[:, None]).equals(table)


def test_nobody_is_measured_as_an_empty_table(meter: PeriodMeter, injected: Callable[..., LightCurves]) -> None:
    someone = injected("clump", "test")
    nobody = meter.measure(someone.take([]))
    assert (nobody.height, nobody.schema) == (0, meter.measure(someone).schema)
    outputs = meter.network.network.head.outputs
    assert meter.raw(meter.images(someone.take([]))).shape == (0, outputs)


def test_the_calibration_of_the_content_is_applied(
    content: ModelContent, meter: PeriodMeter, injected: Callable[..., LightCurves]
) -> None:
    images = meter.images(injected("clump", "test"))
    assert float(meter.network.stretch) == pytest.approx(content.spec.calibration["stretch"])
    doubled = replace(content, spec=content.spec.model_copy(update={"calibration": {"stretch": 3.0}}))
    assert (PeriodMeter.of_content(doubled).answers(images)[:, 1] != meter.answers(images)[:, 1]).all()
    without = replace(content, spec=content.spec.model_copy(update={"calibration": {}}))
    assert float(PeriodMeter.of_content(without).network.stretch) == 1.0


def test_measuring_is_without_dropout(meter: PeriodMeter) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 36), dtype=np.uint8)
    np.testing.assert_array_equal(meter.answers(images), meter.answers(images))


# ---------------------------------------------------------------------------------------------------------------------
# One path


def test_evaluation_and_prediction_measure_the_same(project: Any, name: str, tmp_path: Path) -> None:
    """The evaluated test set against a catalog of the same files, to the bit."""
    evaluated = pl.read_parquet(project.build / "measured" / f"{name}.parquet")
    model = project.build / "calibrated" / name
    shards = sorted((project.build / "injected/clump/test").glob("part-*.parquet"))
    predict(shards, model, tmp_path / "catalog.parquet", Engine(workers=1))
    catalog = pl.read_parquet(tmp_path / "catalog.parquet").sort("star_id")
    assert catalog["star_id"].to_list() == evaluated["star_id"].to_list()
    shared = ["period", "sigma", "p_within_10pct", "n_points"]
    schema = {column: catalog.schema[column] for column in shared}
    assert catalog.select(shared).equals(evaluated.select(shared).cast(schema))


def test_a_described_network_is_built_again_as_it_was(
    content: ModelContent, meter: PeriodMeter, injected: Callable[..., LightCurves]
) -> None:
    settings = NetworkSettings.model_validate(content.spec.architecture.settings)
    spec = describe_model(settings, meter.representation, meter.survey, {"validation_loss": 1.0}, {"build/x": "0" * 32})
    again = PeriodMeter.of_content(ModelContent(spec, meter.network.network.state_dict()))
    assert (again.representation, again.survey) == (meter.representation, meter.survey)
    images = meter.images(injected("clump", "test"))
    np.testing.assert_array_equal(again.raw(images), meter.raw(images))
    assert spec.calibration == {}


def test_what_is_served_is_what_measures(content: ModelContent, meter: PeriodMeter) -> None:
    network, example = served_network(content)
    assert example.shape == (2, 1, 8, 36)
    assert example.dtype == np.uint8
    assert not network.training
    served = PeriodMeter(meter.representation, network, meter.survey, meter.device)
    # the served weights lie in another order in memory, which may round differently
    np.testing.assert_allclose(served.answers(example), meter.answers(example), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Contents that are no period network


def changed(content: ModelContent, **changes: Any) -> ModelContent:
    return replace(content, spec=content.spec.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"wing": "flares"}, "belongs to the wing 'flares', not to 'periods'"),
        ({"preprocessing": {}}, r"model\.json: representation: 'window'"),
        ({"calibration": {"stretch": 0.0}}, "'stretch' must be a positive number, not 0.0"),
        ({"calibration": {"stretch": "1"}}, "'stretch' must be a positive number, not '1'"),
    ],
)
def test_a_specification_that_is_no_period_network_is_refused(
    content: ModelContent, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RegistryError, match=sentence):
        PeriodMeter.of_content(changed(content, **changes))


def test_a_specification_with_an_unknown_setting_is_refused(content: ModelContent) -> None:
    settings = content.spec.architecture.settings | {"layers": 4}
    architecture = content.spec.architecture.model_copy(update={"settings": settings})
    with pytest.raises(RegistryError, match=r"model\.json: architecture: key 'layers' does not exist"):
        PeriodMeter.of_content(changed(content, architecture=architecture))


def test_weights_of_another_architecture_are_refused(content: ModelContent) -> None:
    settings = content.spec.architecture.settings | {"filters": [4, 4, 4]}
    architecture = content.spec.architecture.model_copy(update={"settings": settings})
    with pytest.raises(RegistryError, match=r"the weights do not fit the architecture: .*size mismatch") as refused:
        PeriodMeter.of_content(changed(content, architecture=architecture))
    assert "\n" not in str(refused.value)
    fewer = dict(list(content.tensors.items())[1:])
    with pytest.raises(RegistryError, match="the weights do not fit the architecture"):
        PeriodMeter.of_content(replace(content, tensors=fewer))


def test_a_damaged_folder_is_refused(copied: Any, name: str) -> None:
    folder = copied.build / "calibrated" / name
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(RegistryError, match=r"weights\.safetensors"):
        PeriodMeter.of_folder(folder)


def test_the_network_is_that_of_the_settings(project: Any, name: str, meter: PeriodMeter) -> None:
    assert isinstance(meter.network.network, PeriodNetwork)
    head = project.params["periods"]["variants"][name]["network"]["head"]
    assert type(meter.network.network.head).__name__.lower().startswith(head)
    assert meter.survey.model_dump(mode="json")["window"] == project.params["surveys"]["asassn"]["window"]
