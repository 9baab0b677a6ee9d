"""What params.yaml says of the period wing is checked as a whole, and what is wrong is named."""

import copy
from pathlib import Path
from typing import Any

import pytest

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import lookup, read_params
from varistar.foundation.settings import validate
from varistar.periods.sample_settings import Augmentation
from varistar.periods.settings import PeriodsSettings
from varistar.periods.variants import NetworkSettings, Variant

REPOSITORY = Path(__file__).resolve().parents[2]


def periods(**changes: Any) -> dict[str, Any]:
    """The repository's section `periods` with these dotted keys set (`__` for a dot), or removed if None."""
    section = copy.deepcopy(read_params(REPOSITORY)["periods"])
    for key, value in changes.items():
        *path, last = key.split("__")
        place = section
        for name in path:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return section


def test_the_repositorys_parameters_are_valid() -> None:
    settings = validate(PeriodsSettings, periods(), "params.yaml: periods")
    assert settings.model_dump(mode="json", exclude_unset=True) == periods()
    for variant in (settings.variants | settings.study).values():
        assert variant.images in settings.images


def test_the_replica_is_the_papers_training() -> None:
    """Adam at 1e-5, batches of 100 without shuffling, at most 500 epochs, patience 20 (features A.1.5)."""
    replica = validate(PeriodsSettings, periods(), "periods").presets["replica"]
    training = replica.training
    assert (replica.network.filters, replica.network.head, replica.network.sigma) == (
        (8, 16, 32), "laplace", "standard_deviation"
    )  # fmt: skip
    assert (training.optimizer, training.learning_rate, training.schedule) == ("adam", 1e-5, "plateau")
    assert (training.batch_size, training.max_epochs, training.patience, training.shuffle) == (100, 500, 20, False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {
                "samples__clump__parts": [
                    {"templates": "clump", "stars": "paper"},
                    {"templates": "no", "stars": "paper"},
                ]
            },
            r"samples\.clump\.parts\.1\.templates names 'no', .* there are clump, quasar",
        ),
        (
            {"samples__clump__parts": [{"templates": "clump", "stars": "novae"}]},
            r"samples\.clump\.parts\.0\.stars names 'novae', .* there are paper, long_lived, constant, irregular",
        ),
        ({"samples__clump__parts": []}, r"'samples\.clump\.parts': .* at least 1 item"),
        (
            {"samples__clump__parts": [{"templates": "clump", "stars": "paper", "share": 0}]},
            r"'samples\.clump\.parts\.0\.share': .* greater than 0",
        ),
        (
            {"samples__clump__parts": [{"templates": "clump", "stars": "paper", "weight": 1}]},
            r"key 'samples\.clump\.parts\.0\.weight' does not exist; allowed here: share, stars, templates, unique",
        ),
        ({"samples__clump__augment": {"noise": 1.5}}, r"'samples\.clump\.augment\.noise': .* less than or equal to 1"),
        (
            {"samples__clump__augment": {"drop": 0.5}},
            r"key 'samples\.clump\.augment\.drop' does not exist; allowed here: borrow_window, drop_camera, drop_e",
        ),
        ({"samples__clump__seed": -1}, r"'samples\.clump\.seed'"),
        ({"stars__paper__signal": "novae"}, r"'stars\.paper\.signal': Input should be 'spots', 'none' or 'red_noise'"),
        ({"stars__paper__timescale": [1, 2]}, r"'stars\.paper': timescale describes .* 'red_noise', .* is 'spots'"),
        ({"stars__constant__prior": {}}, r"'stars\.constant': prior describes .* 'spots', and this one is 'none'"),
        ({"stars__irregular__deviation": [0, 1]}, r"'stars\.irregular\.deviation': must be positive"),
        ({"stars__long_lived__prior__shear": [0.5, 0.1]}, r"'stars\.long_lived\.prior\.shear': must be two finite"),
        ({"stars": None}, r"'stars': Field required"),
        ({"images__clump-log__sample": "giants"}, r"images\.clump-log\.sample names 'giants'"),
        ({"images__clump-log__representation": "sqrt"}, r"images\.clump-log\.representation names 'sqrt'"),
        (
            {"variants__clump-8-16-32__representation": "sqrt"},
            r"variants\.clump-8-16-32, which sees clump-sqrt, names 'clump-sqrt', which does not exist",
        ),
        ({"promotion__sample": "dwarfs"}, r"promotion\.sample names 'dwarfs'"),
        (
            {"images__other": {"sample": "clump", "representation": "log"}},
            r"images\.other must be called clump-log, after what it shows",
        ),
        ({"samples__clump__simulations": 0}, r"'samples\.clump\.simulations'"),
        ({"samples__clump__simulation": 10}, r"key 'samples\.clump\.simulation' does not exist; allowed here: .*seed"),
        ({"samples__a b": {"parts": [{"templates": "clump", "stars": "paper"}], "simulations": 1}}, "a b"),
        ({"promotion__gates__within_10pct": {}}, r"'promotion\.gates\.within_10pct': a gate needs one of minimum"),
        ({"split__train": 0.6}, r"'split': the four fractions must add up to 1, not 0\.9"),
        ({"promotion": None}, r"'promotion': Field required"),
        (
            {"variants__period-axis__network__head": "gauss"},
            r"'variants\.period-axis\.network\.head'",
        ),
        (
            {"variants__period-axis__network__trunk": "image"},
            r"variants\.period-axis\.network: a representation of the kind 'statistics' is read by the trunk 'period_",
        ),
        ({"variants__period-axis__network__bins": 100}, r"variants\.period-axis\.network: .* over the 162 bins of its"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: periods: .*{sentence}"):
        validate(PeriodsSettings, periods(**changes), "params.yaml: periods")


def test_by_default_examples_are_as_the_templates_are() -> None:
    assert set(Augmentation().model_dump().values()) == {0.0}
    samples = validate(PeriodsSettings, periods(), "periods").samples
    assert {name for name, sample in samples.items() if sample.augment != Augmentation()} == {"broad-augmented"}


@pytest.mark.parametrize("name", ["smoke", "laptop", "study", "paper"])
def test_every_size_sets_keys_that_exist(name: str) -> None:
    params = read_params(REPOSITORY)
    section = periods()
    for key, value in params["sizes"][name].items():
        lookup(params, key)
        if not key.startswith("periods."):
            continue  # other wings' sections are theirs to check
        *path, last = key.removeprefix("periods.").split(".")
        place = section
        for part in path:
            place = place[part]
        place[last] = value
    validate(PeriodsSettings, section, name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filters", [8, 16]),
        ("filters", [8, 0, 32]),
        ("dropout", 1.0),
        ("maximum_period", 0.0),
        ("period_range", [30.0, 1.0]),
        ("period_range", [0.0, 30.0]),
        ("bins", 7),
        ("softness", 0.0),
        ("sigma", "variance"),
    ],
)
def test_networks_that_cannot_be_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        validate(NetworkSettings, {key: value}, "network")


def test_a_variant_sees_the_images_of_its_sample_in_its_representation() -> None:
    assert Variant(sample="clump", representation="log").images == "clump-log"


def test_the_defaults_are_the_published_network() -> None:
    network = NetworkSettings()
    assert (network.filters, network.head, network.dropout) == ((8, 16, 32), "laplace", 0.1)
    assert (network.maximum_period, network.sigma) == (30.0, "standard_deviation")
