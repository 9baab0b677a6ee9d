"""What a sweep may try is read from params.yaml, and what a variant cannot have is refused with what it can."""

import sys
from pathlib import Path
from subprocess import run
from typing import Any, Literal

import pytest

from varistar.experiments.search_space import Values, sweepable_fields, value_of, with_values
from varistar.foundation.errors import ConfigError
from varistar.foundation.params import read_section
from varistar.foundation.settings import Settings, validate
from varistar.periods.settings import PeriodsSettings
from varistar.periods.sweep_settings import SweepSettings
from varistar.periods.variants import Variant

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_repositorys_space_is_the_default() -> None:
    written = read_section(REPOSITORY, "periods", PeriodsSettings).sweep
    assert written.model_dump() == SweepSettings().model_dump()


def test_settings_are_written_as_they_were_read() -> None:
    section = {"space": {"network.dropout": {"from": 0.0, "to": 0.5}, "network.filters": {"choices": [[1, 2, 3]]}}}
    assert validate(SweepSettings, section, "sweep").model_dump(mode="json", exclude_unset=True) == section


def test_every_setting_of_network_and_training_can_be_swept_and_no_other() -> None:
    parts = {"network": Variant.model_fields["network"], "training": Variant.model_fields["training"]}
    wanted = {f"{name}.{key}" for name, part in parts.items() for key in part.annotation.model_fields}  # type: ignore[union-attr]
    assert wanted <= set(sweepable_fields(Variant)) and "network.filters" in wanted
    assert {key.split(".")[0] for key in sweepable_fields(Variant)} == set(parts)


def test_settings_within_settings_are_swept_by_their_own_keys() -> None:
    class Deep(Settings):
        depth: int = 1

    class Wide(Settings):
        width: float = 2.0

    class Part(Settings):
        trunk: Deep | Wide = Deep()
        noise: Deep | None = None
        kind: Literal["a", "b"] = "a"

    class Whole(Settings):
        network: Part = Part()
        other: Deep = Deep()

    found = sweepable_fields(Whole)
    assert set(found) == {f"network.{key}" for key in ("trunk.depth", "trunk.width", "noise.depth", "kind")}


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (
            {"network.width": {"choices": [1]}},
            r"a variant has no 'network\.width' to sweep; there are .*network\.filters",
        ),
        ({"width": {"from": 1, "to": 2}}, "a variant has no 'width' to sweep; there are"),
        ({"sample": {"choices": ["clump"]}}, "a variant has no 'sample' to sweep; there are"),
        ({"network.dropout": {"from": 0.1, "to": 1.5}}, r"'network\.dropout' cannot be 1\.5: .*less than 1"),
        ({"network.dropout": {"from": 0.3, "to": 0.3}}, r"'space\.network\.dropout': .*from the smaller to the larger"),
        ({"network.dropout": {"from": 0.0, "to": 0.3, "log": True}}, "a logarithmic range must begin above zero"),
        ({"network.dropout": {"from": 0.1}}, "give either from and to, or choices"),
        ({"network.dropout": {}}, "give either from and to, or choices"),
        ({"network.dropout": {"from": 0.0, "choices": [0.1]}}, "give either from and to, or choices"),
        ({"network.dropout": {"choices": [0.1], "log": True}}, "give either from and to, or choices"),
        ({"network.dropout": {"choices": []}}, "at least 1 item"),
        ({"network.dropout": {"from": "a", "to": 1}}, r"'space\.network\.dropout\.from': .*valid number"),
        (
            {"network.dropout": {"low": 0.1, "high": 0.2}},
            r"'space\.network\.dropout\.low' does not exist; .*from, log, to",
        ),
        ({"network.filters": {"from": 1, "to": 2}}, r"space\.network\.filters: its values are no numbers"),
        ({"network.filters": {"choices": [[8, 16]]}}, r"'network\.filters' cannot be \[8, 16\]"),
        ({"training.shuffle": {"from": 0, "to": 1}}, r"space\.training\.shuffle: its values are no numbers"),
        ({"training.batch_size": {"from": 8.5, "to": 20}}, r"'training\.batch_size' cannot be 8\.5: .*valid integer"),
        ({"training.schedule": {"choices": ["linear"]}}, r"'training\.schedule' cannot be \"linear\": .*'onecycle'"),
        (
            {"network.softness": {"from": 0.1, "to": 0.2, "where": {"network.head": "gauss"}}},
            r"space\.network\.softness\.where: 'network\.head' cannot be \"gauss\"",
        ),
        (
            {"network.softness": {"from": 0.1, "to": 0.2, "where": {"network.hat": "gauss"}}},
            r"space\.network\.softness\.where: a variant has no 'network\.hat'",
        ),
        (
            {
                "network.softness": {"from": 0.1, "to": 0.2, "where": {"network.bins": 80}},
                "network.bins": {"choices": [80], "where": {"network.head": "distribution"}},
            },
            r"space\.network\.softness\.where names 'network\.bins', which depends on another key itself",
        ),
        ({}, "at least 1 item"),
    ],
)
def test_what_cannot_be_swept_is_named(space: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: periods\.sweep: .*{sentence}") as raised:
        validate(SweepSettings, {"space": space}, "params.yaml: periods.sweep")
    assert "\n" not in str(raised.value)


def test_an_objective_stands_once() -> None:
    with pytest.raises(ConfigError, match="objectives names one of them twice"):
        validate(SweepSettings, {"objectives": ["fit_seconds", "fit_seconds"]}, "sweep")


def test_a_range_over_whole_numbers_may_be_logarithmic() -> None:
    settings = validate(SweepSettings, {"space": {"training.batch_size": {"from": 8, "to": 256, "log": True}}}, "sweep")
    assert settings.space["training.batch_size"] == Values.model_validate({"from": 8.0, "to": 256.0, "log": True})


def test_values_are_put_where_their_keys_say() -> None:
    variant = Variant(sample="clump", representation="log")
    values = {"network.filters": [1, 2, 3], "training.batch_size": 7}
    changed = validate(Variant, with_values(variant, values), "")
    assert {key: value_of(changed, key) for key in values} == values
    assert with_values(variant, values).keys() == {"sample", "representation", "network", "training"}
    assert changed.training.learning_rate == variant.training.learning_rate


def test_the_settings_load_without_torch_and_optuna() -> None:
    code = (
        "import sys, varistar.periods.sweep_settings; sys.exit(str({'torch', 'optuna', 'mlflow'} & sys.modules.keys()))"
    )
    answer = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stderr.strip() == "set()"
