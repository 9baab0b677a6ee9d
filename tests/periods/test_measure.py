"""A measurement is of one star, whoever stands beside it, and the same one in evaluation and in prediction."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from scipy import special

from varistar.bulk.engine import Engine
from varistar.catalog.predict import predict
from varistar.experiments.content import ModelContent, read_content
from varistar.foundation.errors import RegistryError
from varistar.lightcurves.table import LightCurves
from varistar.periods.heads import Answer, DistributionHead
from varistar.periods.measure import BATCH, PeriodMeter, describe_model, served_network
from varistar.periods.network import CalibratedNetwork, Ensemble, PeriodNetwork, build_network
from varistar.periods.nights import Nights
from varistar.periods.preprocess import preprocess
from varistar.periods.representation import PeriodGrid, Representation
from varistar.periods.variants import NetworkSettings
from varistar.surveys.definition import Survey

from .conftest import REPOSITORY

VARIANTS = {"clump-8-16-32": "clump", "period-axis": "broad"}


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def sample(name: str) -> str:
    return VARIANTS[name]


@pytest.fixture
def content(project: Any, name: str) -> ModelContent:
    return read_content(project.build / "calibrated" / name)


@pytest.fixture
def meter(content: ModelContent) -> PeriodMeter:
    return PeriodMeter.of_content(content, "cpu")


def test_a_star_alone_is_measured_as_in_its_shard(
    meter: PeriodMeter, injected: Callable[..., LightCurves], sample: str
) -> None:
    light_curves = injected(sample, "train")
    together = meter.measure(light_curves)
    assert together["star_id"].to_list() == list(light_curves.star_id)
    for i in range(0, len(light_curves), 4):
        assert meter.measure(light_curves.star(i)).equals(together[i])
    order = np.random.default_rng(0).permutation(len(light_curves))
    assert meter.measure(light_curves.take(order)).equals(together[order])
    assert together["period"].n_unique() > 5, "a network that says one thing proves nothing"


def arrays(meter: PeriodMeter, n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, *meter.representation.shape), dtype=np.uint8)


@pytest.mark.parametrize("n", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_an_answer_does_not_depend_on_where_it_stands_in_a_batch(meter: PeriodMeter, n: int) -> None:
    images = arrays(meter, 2 * BATCH + 3)
    some = np.random.default_rng(1).permutation(len(images))[:n]
    np.testing.assert_array_equal(meter.answers(images[some]), meter.answers(images)[some])
    np.testing.assert_array_equal(meter.raw(images[some]), meter.raw(images)[some])


def test_the_table_says_what_the_answers_are(
    meter: PeriodMeter, injected: Callable[..., LightCurves], sample: str
) -> None:
    light_curves = injected(sample, "test")
    table = meter.measure(light_curves)
    images = preprocess(light_curves, meter.representation, "cpu")
    for column, values in zip(Answer._fields, meter.answers(images).T, strict=True):
        np.testing.assert_array_equal(table[column].to_numpy(), values.astype(np.float64), err_msg=column)
    np.testing.assert_array_equal(table["fractional_uncertainty"], table["sigma"] / table["period"])
    np.testing.assert_array_equal(table["n_points"], light_curves.n_points)
    assert table.columns == ["star_id", *Answer._fields, "fractional_uncertainty", "n_points"]
    assert meter.measure(light_curves, meter.raw(images)).equals(table)
    assert table.select(pl.col(pl.Float64).exclude("second_period").is_finite().all()).row(0) == (True,) * 10


def test_a_second_period_of_no_probability_is_none(meter: PeriodMeter, injected: Callable[..., LightCurves]) -> None:
    class Sure(PeriodNetwork):
        """Whatever it sees, it is sure of the 14th bin."""

        def forward(self, arrays: torch.Tensor) -> torch.Tensor:
            return 1e3 * torch.nn.functional.one_hot(torch.full((len(arrays),), 13), self.head.outputs).float()

    sure = Sure()
    sure.head = DistributionHead(NetworkSettings(head="distribution", bins=40))
    table = replace(meter, network=CalibratedNetwork(sure)).measure(injected("clump", "test"))
    assert table["second_period"].is_nan().all() and (table["second_p"] == 0).all()
    assert table["period"].is_finite().all()


def test_nobody_is_measured_as_an_empty_table(
    meter: PeriodMeter, injected: Callable[..., LightCurves], sample: str
) -> None:
    someone = injected(sample, "test")
    nobody = meter.measure(someone.take([]))
    assert (nobody.height, nobody.schema) == (0, meter.measure(someone).schema)
    outputs = meter.network.network.head.outputs
    assert meter.raw(meter.arrays(someone.take([]))).shape == (0, outputs)


def test_the_calibration_of_the_content_is_applied(content: ModelContent, meter: PeriodMeter) -> None:
    images = arrays(meter, 9)
    head, raw = meter.network.network.head, meter.raw(images)
    found = content.spec.calibration
    answer = head.answer(raw, torch.tensor(found["stretch"]))
    p = special.expit(found["slope"] * special.logit(answer.p_within_10pct.double().numpy()) + found["offset"])
    answers = meter.answers(images)
    np.testing.assert_allclose(answers[:, Answer._fields.index("p_within_10pct")], p, rtol=1e-4)
    np.testing.assert_allclose(answers[:, Answer._fields.index("sigma")], answer.sigma, rtol=1e-5)


@pytest.mark.parametrize(
    ("calibration", "numbers"),
    [
        ({}, (1.0, 1.0, 0.0)),
        ({"stretch": 3.0, "examples": 12}, (3.0, 1.0, 0.0)),
        ({"stretch": 2, "slope": 0.5, "offset": -1.25, "examples": 12}, (2.0, 0.5, -1.25)),
    ],
)
def test_what_a_calibration_lacks_changes_nothing(
    content: ModelContent, calibration: dict[str, float], numbers: tuple[float, ...]
) -> None:
    """One that has not been made, and one from before there were slopes."""
    network = PeriodMeter.of_content(changed(content, calibration=calibration)).network
    assert (float(network.stretch), float(network.slope), float(network.offset)) == numbers


def test_measuring_is_without_dropout_and_noise(meter: PeriodMeter) -> None:
    images = arrays(meter, 9)
    np.testing.assert_array_equal(meter.answers(images), meter.answers(images))
    assert not any(module.training for module in meter.network.modules())


def test_members_answer_together(project: Any) -> None:
    """The mean of their probabilities, each from its own content."""
    meter = PeriodMeter.of_folder(project.build / "calibrated/period-axis", "cpu")
    assert isinstance(meter.network.network, Ensemble)
    images = arrays(meter, 20)
    folders = [project.build / "networks/period-axis" / str(number) for number in range(2)]
    each = [special.softmax(PeriodMeter.of_folder(folder, "cpu").raw(images), axis=1) for folder in folders]
    np.testing.assert_allclose(special.softmax(meter.raw(images), axis=1), np.mean(each, axis=0), rtol=1e-4, atol=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# One path


def test_evaluation_and_prediction_measure_the_same(project: Any, name: str, sample: str, tmp_path: Path) -> None:
    """The evaluated test set against a catalog of the same files, to the bit."""
    evaluated = pl.read_parquet(project.build / "measured" / f"{name}.parquet")
    evaluated = evaluated.filter(pl.col("test").str.starts_with(f"{sample}/")).sort("star_id")
    model = project.build / "calibrated" / name
    shards = sorted((project.build / "injected" / sample / "test").glob("part-*.parquet"))
    predict(shards, model, tmp_path / "catalog.parquet", Engine(workers=1))
    catalog = pl.read_parquet(tmp_path / "catalog.parquet").sort("star_id")
    assert catalog["star_id"].to_list() == evaluated["star_id"].to_list()
    shared = [column for column in (*Answer._fields, "n_points") if column in catalog.columns]
    assert {"period", "sigma", "p_within_10pct", "p_no_period"} <= set(shared)
    schema = {column: catalog.schema[column] for column in shared}
    assert catalog.select(shared).equals(evaluated.select(shared).cast(schema))


def test_a_described_network_is_built_again_as_it_was(content: ModelContent, meter: PeriodMeter) -> None:
    settings = NetworkSettings.model_validate(content.spec.architecture.settings)
    spec = describe_model(settings, meter.representation, meter.survey, {"validation_loss": 1.0}, {"build/x": "0" * 32})
    again = PeriodMeter.of_content(ModelContent(spec, meter.network.network.state_dict()))
    assert (again.representation, again.survey) == (meter.representation, meter.survey)
    np.testing.assert_array_equal(again.raw(arrays(meter, 7)), meter.raw(arrays(meter, 7)))
    assert spec.calibration == {}
    assert spec.architecture.name == settings.trunk


def test_a_network_of_nights_measures(survey: Survey, injected: Callable[..., LightCurves]) -> None:
    settings = NetworkSettings(trunk="nights", filters=(4, 4, 4), head="distribution", bins=20, no_period=True)
    shown = Nights(window=survey.window, count=64)
    network = build_network(settings, shown)
    meter = PeriodMeter.of_content(ModelContent(describe_model(settings, shown, survey, {}, {}), network.state_dict()))
    light_curves = injected("broad", "test")
    table = meter.measure(light_curves)
    assert table["p_no_period"].is_between(0, 1).all() and table["period"].is_between(1, 30).all()
    assert meter.measure(light_curves.star(2)).equals(table[2])


def test_what_is_served_is_what_measures(content: ModelContent, meter: PeriodMeter) -> None:
    network, example = served_network(content)
    assert example.shape == (2, *meter.representation.shape)
    assert example.dtype == np.uint8
    assert not network.training
    served = PeriodMeter(meter.representation, network, meter.survey, meter.device)
    # the served weights lie in another order in memory, which may round differently
    np.testing.assert_allclose(served.answers(example), meter.answers(example), rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Models of old

#: What a setting has come to be called or to hold since the first models were written.
SINCE = {"trunk", "noise", "beta", "no_period"}


@pytest.mark.parametrize("head", ["laplace", "distribution"])
def test_a_model_of_the_first_format_measures_as_it_did(
    head: Any, survey: Survey, injected: Callable[..., LightCurves]
) -> None:
    """Without trunk or kind, and with a stretch alone for its calibration."""
    shown = Representation(window=survey.window, nodes=36, periods=PeriodGrid(count=8), pool=1)
    settings = NetworkSettings(filters=(4, 4, 4), head=head)
    network = build_network(settings, shown)
    new = ModelContent(describe_model(settings, shown, survey, {}, {}), network.state_dict())
    architecture = new.spec.architecture.model_copy(
        update={"name": "period_cnn", "settings": settings.model_dump(mode="json", exclude=SINCE)}
    )
    preprocessing = new.spec.preprocessing | {"representation": shown.model_dump(mode="json", exclude={"kind"})}
    old = changed(new, architecture=architecture, preprocessing=preprocessing, calibration={"stretch": 1.5})
    light_curves = injected("clump", "test")
    table = PeriodMeter.of_content(old).measure(light_curves)
    assert table.equals(PeriodMeter.of_content(changed(new, calibration={"stretch": 1.5})).measure(light_curves))
    assert (table["p_no_period"] == 0).all()


def test_the_champions_of_the_repository_measure(injected: Callable[..., LightCurves]) -> None:
    folders = sorted((REPOSITORY / "models/periods").glob("*/model.json"))
    if not folders:
        pytest.skip("no champion here (dvc pull models.dvc)")
    light_curves = injected("clump", "test")
    for file in folders:
        table = PeriodMeter.of_folder(file.parent, "cpu").measure(light_curves)
        assert table["star_id"].to_list() == list(light_curves.star_id)
        assert table["period"].is_between(0.9, 31).all() and table["p_within_10pct"].is_between(0, 1).all()


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
        ({"calibration": {"stretch": "1"}}, "'stretch' must be a finite number, not '1'"),
        ({"calibration": {"slope": -1.0}}, "'slope' must be a positive number, not -1.0"),
        ({"calibration": {"offset": math.inf}}, "'offset' must be a finite number, not inf"),
        ({"calibration": {"offset": None}}, "'offset' must be a finite number, not None"),
        ({"preprocessing": {"representation": {"kind": "sketch"}}}, r"model\.json: representation: 'kind' must be one"),
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
    lost = next(name for name in content.tensors if name.endswith("weight"))
    fewer = {name: tensor for name, tensor in content.tensors.items() if name != lost}
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
    assert isinstance(meter.network.network, Ensemble) == (name == "period-axis")
    head = project.params["periods"]["variants"][name]["network"]["head"]
    assert type(meter.network.network.head).__name__.lower().startswith(head)
    assert meter.survey.model_dump(mode="json")["window"] == project.params["surveys"]["asassn"]["window"]
