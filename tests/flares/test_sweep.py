"""A sweep of a flare variant begins with it, sees no star but those to learn from, and its winner becomes a variant."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from varistar.experiments.search import own_values, suggest
from varistar.experiments.search_space import sweepable_fields
from varistar.experiments.tracking import find_run
from varistar.flares.settings import FlaresSettings
from varistar.flares.sweep import PRECISION, SECONDS, FlareTask, sweep_variant, write_winner
from varistar.flares.sweep_settings import SweepSettings
from varistar.flares.variants import FlareVariant
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import read_params, read_section
from varistar.foundation.settings import validate

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "points"


@pytest.fixture(params=["points", "windows"])
def base(request: pytest.FixtureRequest) -> FlareVariant:
    return read_section(REPOSITORY, f"flares.variants.{request.param}", FlareVariant)


@pytest.fixture
def swept(copied: Any, in_project: Callable[[Path], Any]) -> Iterator[Any]:
    """A project whose sweep has nothing but the training and validation examples, and the repository's params.yaml."""
    for folder in ("examples/points/calibration", "examples/windows", "networks", "calibrated", "sectors"):
        shutil.rmtree(copied.build / folder)
    text = (REPOSITORY / "params.yaml").read_text()
    smaller = {
        "max_epochs: 8\n        patience: 8\n        shuffle: true\n        precision": "max_epochs: 2\n"
        "        patience: 2\n        shuffle: true\n        precision",
        "network: {trunk: points, filters: [8, 16, 24, 32, 48]}": "network: {trunk: points, filters: [4, 6]}",
        "[[8, 12, 16, 24], [8, 16, 24, 32, 48, 64], [16, 24, 32, 48, 64]]": "[[3, 4], [4, 6, 8]]",
    }
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    (copied.root / "params.yaml").write_text(text)
    with in_project(copied.root):
        yield copied


def test_the_repositorys_space_is_the_default() -> None:
    written = read_section(REPOSITORY, "flares", FlaresSettings).sweep
    assert written.model_dump() == SweepSettings().model_dump()


def test_the_own_values_suggest_the_variant_itself(base: FlareVariant) -> None:
    own = own_values(base, SweepSettings())
    assert suggest(optuna.trial.FixedTrial(own), base, SweepSettings()) == base
    assert ("network.dice" in own) == (base.network.trunk == "points"), "what means nothing to windows is left alone"


def test_what_is_suggested_is_a_variant_that_reads_the_same_examples(base: FlareVariant) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    found = [suggest(study.ask(), base, SweepSettings()) for _ in range(40)]
    assert {(one.examples, one.network.trunk, one.events) for one in found} == {
        (base.examples, base.network.trunk, base.events)
    }
    assert len({one.training.learning_rate for one in found}) > 20
    if base.network.trunk == "points":
        assert {one.network.kernel for one in found} == {3, 5, 7, 9}  # type: ignore[union-attr]
        assert {len(one.network.filters) for one in found} == {4, 5, 6}
    for one in found:
        assert validate(FlareVariant, one.model_dump(mode="json", exclude_unset=True), "") == one


def test_a_network_that_is_not_stated_says_what_it_is_once_a_key_of_it_is() -> None:
    base = FlareVariant()
    assert "network" not in base.model_fields_set
    found = suggest(optuna.trial.FixedTrial(own_values(base, SweepSettings())), base, SweepSettings())
    assert found == base and found.network.trunk == "points"


def test_keys_of_both_networks_can_be_swept_and_their_values_fit_either() -> None:
    fields = sweepable_fields(FlareVariant)
    assert {"network.dice", "network.dense", "training.weight_decay"} <= fields.keys()
    assert not any(key.startswith("events") for key in fields), "a threshold changes no average precision"
    for filters in ([16, 64], [4, 5, 6]):
        validate(SweepSettings, {"space": {"network.filters": {"choices": [filters]}}}, "sweep")
    with pytest.raises(ConfigError, match=r"space\.network\.kernel: 'network\.kernel' cannot be 0: "):
        validate(SweepSettings, {"space": {"network.kernel": {"choices": [3, 0]}}}, "sweep")


def test_a_sweep_trains_and_scores_without_the_other_splits(swept: Any) -> None:
    lines: list[str] = []
    best = sweep_variant(swept.root, NAME, 3, say=lines.append)
    drawn = [swept.root / f"build/sweeps/flares-{NAME}-{name}.png" for name in ("history", "importance")]
    assert len(lines) == 5 and all(f"{PRECISION} " in line for line in lines[:3])
    assert lines[3:] == [f"{path}: drawn" for path in drawn]
    assert 0 < best[0].values[PRECISION] <= 1
    assert sweep_variant(swept.root, NAME, 3) == best
    left = {path.name for path in (swept.root / "build/sweeps").glob("[!.]*")}
    assert left == {f"flares-{NAME}.journal", *(path.name for path in drawn)}
    assert find_run(swept.root, "flares", {"sweep.role": "study"}) is not None


def test_the_winner_becomes_a_variant_and_nothing_else_changes(swept: Any) -> None:
    best = sweep_variant(swept.root, NAME, 2)
    path, before = swept.root / "params.yaml", read_params(swept.root)
    lines = path.read_text().splitlines()
    assert write_winner(swept.root, NAME, "winner") == best[0]
    after = read_params(swept.root)
    own, winner = (read_section(swept.root, f"flares.variants.{name}", FlareVariant) for name in (NAME, "winner"))
    assert winner == suggest(optuna.trial.FixedTrial(best[0].suggested), own, SweepSettings.model_validate(
        before["flares"]["sweep"]
    ))  # fmt: skip
    after["flares"]["variants"].pop("winner")
    assert after == before
    changed = path.read_text().splitlines()
    assert [line for line in changed if line in lines] and set(lines) <= set(changed)
    with pytest.raises(ConfigError, match=r"'flares\.variants\.winner' exists already"):
        write_winner(swept.root, NAME, "winner")


def test_the_cost_of_a_search_is_an_objective_too(swept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([3.0, 1.0])
    monkeypatch.setattr(FlareTask, "_seconds_per_sector", lambda self, content: next(costs))
    text = (swept.root / "params.yaml").read_text()
    (swept.root / "params.yaml").write_text(text.replace(f"[{PRECISION}]", f"[{PRECISION}, {SECONDS}]"))
    best = sweep_variant(swept.root, NAME, 2)
    assert 1.0 in {done.values[SECONDS] for done in best}, "nothing is cheaper, so it is a compromise"
    assert (swept.root / f"build/sweeps/flares-{NAME}-compromise.png").stat().st_size > 10_000


def test_a_deeper_network_costs_more(project: Any) -> None:
    from varistar.experiments.content import ModelContent
    from varistar.flares.finder import describe_model
    from varistar.flares.network import build_network
    from varistar.flares.network_settings import PointSettings
    from varistar.flares.orbits import OrbitSettings
    from varistar.flares.representation import PointRepresentation
    from varistar.surveys.definition import Survey

    survey = read_section(project.root, "surveys.tess", Survey)
    task = FlareTask(FlareVariant(), SweepSettings(), project.build / "examples/points", "cpu", project.root)
    costs = []
    for filters in ((2,), (64, 64, 64)):
        variant = FlareVariant(network=PointSettings(filters=filters))
        representation = PointRepresentation()
        spec = describe_model(variant, representation, OrbitSettings(), survey, {})
        network = build_network(variant.network, representation)
        costs.append(task._seconds_per_sector(ModelContent(spec, network.state_dict())))
    assert 0 < costs[0] < costs[1]


def test_mistakes_are_named(swept: Any) -> None:
    with pytest.raises(ConfigError, match="there is no variant 'huge' of flares"):
        sweep_variant(swept.root, "huge", 1)
    with pytest.raises(ConfigError, match="there is no sweep 'flares-points'"):
        write_winner(swept.root, NAME, "winner")
    with pytest.raises(DataError, match=r"these examples have not been made; .*examples@windows`"):
        sweep_variant(swept.root, "windows", 1)
    sweep_variant(swept.root, NAME, 1)
    path = swept.root / "params.yaml"
    path.write_text(path.read_text().replace("network.dice: {from: 0.0, to: 2.0", "network.dice: {from: 0.0, to: 3.0"))
    with pytest.raises(ConfigError, match="was begun with other parameters or data"):
        sweep_variant(swept.root, NAME, 2)
