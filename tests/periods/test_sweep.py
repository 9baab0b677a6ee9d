"""A sweep of a variant begins with it, sees no star but those to learn from, and its winner becomes a variant."""

import shutil
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import optuna
import pytest

from varistar.experiments.search import own_values, suggest
from varistar.experiments.store import client
from varistar.experiments.tracking import find_run
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import read_params, read_section
from varistar.foundation.settings import validate
from varistar.periods.settings import PeriodsSettings
from varistar.periods.sweep import ACCURACY, SECONDS, PeriodTask, sweep_variant, write_winner
from varistar.periods.sweep_settings import SweepSettings
from varistar.periods.variants import Variant

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "period-axis"
HEADS = ("clump-8-16-32", NAME)


@pytest.fixture(params=HEADS)
def base(request: pytest.FixtureRequest) -> Variant:
    return read_section(REPOSITORY, f"periods.variants.{request.param}", Variant)


@pytest.fixture
def swept(copied: Any, in_project: Callable[[Path], Any]) -> Iterator[Any]:
    """A project whose sweep has nothing but the training and validation images, and the repository's params.yaml."""
    folder = copied.build / "images/broad-statistics"
    for split in ("calibration", "test"):
        shutil.rmtree(folder / split)
    shutil.rmtree(copied.build / "injected")
    text = (REPOSITORY / "params.yaml").read_text()
    smaller = {
        "max_epochs: 8": "max_epochs: 2", "filters: [32, 32, 32]": "filters: [8, 8, 8]", "nodes: 128": "nodes: 32",
        "bins: 162": "bins: 40", "margins: [14, 32]": "margins: [3, 8]",
    }  # fmt: skip
    for old, new in smaller.items():
        assert old in text
        text = text.replace(old, new)
    (copied.root / "params.yaml").write_text(text)
    with in_project(copied.root):
        yield copied


def space(**tried: Any) -> SweepSettings:
    """A sweep of these keys (`__` for a dot)."""
    return validate(
        SweepSettings, {"space": {key.replace("__", "."): values for key, values in tried.items()}}, "sweep"
    )


def test_the_own_values_suggest_the_variant_itself(base: Variant) -> None:
    narrow = space(training__batch_size={"choices": [7]}, training__learning_rate={"from": 0.1, "to": 0.2, "log": True})
    for settings in (SweepSettings(), narrow, space(network__bins={"from": 200, "to": 300})):
        own = own_values(base, settings)
        assert suggest(optuna.trial.FixedTrial(own), base, settings) == base
        study = optuna.create_study()
        study.enqueue_trial(own)
        assert suggest(study.ask(), base, settings) == base
    assert ("network.softness" in own_values(base, SweepSettings())) == (base.network.head == "distribution")


def test_what_is_suggested_lies_in_the_space_and_is_a_variant(base: Variant) -> None:
    settings = space(
        training__learning_rate={"from": 0.01, "to": 0.02, "log": True},
        training__batch_size={"choices": [16, 32]},
        training__shuffle={"choices": [False]},
        network__filters={"choices": [[4, 8, 4]]},
        network__bins={"from": 150, "to": 155},
        network__softness={"from": 0.01, "to": 0.1, "where": {"network.head": "distribution"}},
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    found = [suggest(study.ask(), base, settings) for _ in range(60)]
    assert {v.training.batch_size for v in found} == {16, 32, base.training.batch_size}
    assert {v.training.shuffle for v in found} == {True, False}
    assert {v.network.filters for v in found} == {(4, 8, 4), base.network.filters}
    assert {v.network.bins for v in found} == set(range(150, base.network.bins + 1)), "whole numbers, up to its own"
    rates = [v.training.learning_rate for v in found]
    assert base.training.learning_rate <= min(rates) < 0.01 < max(rates) <= 0.02
    assert all(float(f"{rate:.4g}") == rate for rate in rates)
    assert (len({v.network.softness for v in found}) > 1) == (base.network.head == "distribution")
    for variant in found:
        assert validate(Variant, variant.model_dump(mode="json", exclude_unset=True), "") == variant
        assert (variant.sample, variant.training.max_epochs) == (base.sample, base.training.max_epochs)


def test_a_key_can_depend_on_one_that_is_swept(base: Variant) -> None:
    """Whichever stands first in the section."""
    settings = space(
        network__softness={"from": 0.2, "to": 0.3, "where": {"network.head": "distribution"}},
        network__head={"choices": ["laplace", "distribution"]},
    )
    plain = base.network.model_copy(update={"no_period": False})
    base = base.model_copy(update={"network": plain, "ensemble": False})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    found = [suggest(study.ask(), base, settings).network for _ in range(30)]
    assert {network.head for network in found} == {"laplace", "distribution"}
    for network in found:
        assert (network.softness == base.network.softness) == (network.head == "laplace")


def test_an_own_value_that_a_logarithm_cannot_hold_is_named(base: Variant) -> None:
    settings = space(training__weight_decay={"from": 1e-6, "to": 1e-2, "log": True})
    base = base.model_copy(update={"training": base.training.model_copy(update={"weight_decay": 0.0})})
    with pytest.raises(ConfigError, match=r"space\.training\.weight_decay: .* own value, 0.*, cannot belong to a log"):
        own_values(base, settings)


def test_a_sweep_trains_and_scores_without_the_other_splits(swept: Any) -> None:
    lines: list[str] = []
    best = sweep_variant(swept.root, NAME, 3, say=lines.append)
    drawn = [swept.root / f"build/sweeps/{NAME}-{name}.png" for name in ("history", "importance")]
    assert len(lines) == 5 and all(ACCURACY in line for line in lines[:3])
    assert lines[3:] == [f"{path}: drawn" for path in drawn]
    assert 0 <= best[0].values[ACCURACY] <= 1
    again = sweep_variant(swept.root, NAME, 3)
    assert again == best
    left = {path.name for path in (swept.root / "build/sweeps").glob("[!.]*")}
    assert left == {f"{NAME}.journal", *(path.name for path in drawn)}
    study = find_run(swept.root, "periods", {"sweep.role": "study"})
    assert study is not None
    kept = client(study.uri).list_artifacts(study.id, "figures")
    assert {Path(artifact.path).name for artifact in kept} == {"history.png", "importance.png"}


def test_the_winner_becomes_a_variant_and_nothing_else_changes(swept: Any) -> None:
    best = sweep_variant(swept.root, NAME, 2)
    path = swept.root / "params.yaml"
    text, before = path.read_text(), read_params(swept.root)
    for base in ("axis-winner", "axis-second"):
        assert write_winner(swept.root, NAME, base) == best[0]
    after = read_params(swept.root)
    validate(PeriodsSettings, after["periods"], "")
    winner = read_section(swept.root, "periods.variants.axis-winner", Variant)
    own = read_section(swept.root, f"periods.variants.{NAME}", Variant)
    assert winner == suggest(optuna.trial.FixedTrial(best[0].suggested), own, SweepSettings())
    for name in ("axis-winner", "axis-second"):
        after["periods"]["variants"].pop(name)
    assert after == before
    lines = path.read_text().splitlines()
    changes = SequenceMatcher(None, text.splitlines(), lines, autojunk=False).get_opcodes()
    assert [kind for kind, *_ in changes] == ["equal", "insert", "equal"]
    with pytest.raises(ConfigError, match=r"'periods\.variants\.axis-winner' exists already"):
        write_winner(swept.root, NAME, "axis-winner")
    with pytest.raises(ConfigError, match=r"params\.yaml: periods: 'variants\.a b'"):
        write_winner(swept.root, NAME, "a b")
    assert path.read_text().splitlines() == lines


def test_speed_is_an_objective_too(swept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    score = PeriodTask.score

    def recorded(self: PeriodTask, chosen: Any, on_epoch: Any, scratch: Path) -> dict[str, float]:
        values = score(self, chosen, on_epoch, scratch)
        seen.append((values[ACCURACY], values[SECONDS]))
        return values

    monkeypatch.setattr(PeriodTask, "score", recorded)
    text = (swept.root / "params.yaml").read_text()
    assert f"objectives: [{ACCURACY}]" in text
    (swept.root / "params.yaml").write_text(text.replace(f"[{ACCURACY}]", f"[{ACCURACY}, {SECONDS}]"))
    best = sweep_variant(swept.root, NAME, 2)
    assert all(seconds > 0 for _, seconds in seen) and len(seen) == 2
    assert best[0].values[ACCURACY] == max(accuracy for accuracy, _ in seen)
    assert min(done.values[SECONDS] for done in best) == min(seconds for _, seconds in seen)
    assert (swept.root / f"build/sweeps/{NAME}-compromise.png").stat().st_size > 10_000


def test_mistakes_are_named(swept: Any) -> None:
    with pytest.raises(ConfigError, match=r"there is no variant 'huge'; there are clump-8-16-32, period-axis, "):
        sweep_variant(swept.root, "huge", 1)
    with pytest.raises(ConfigError, match="there is no sweep"):
        write_winner(swept.root, NAME, "winner")
    sweep_variant(swept.root, NAME, 1)
    path = swept.root / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("softness: 0.03", "softness: 0.05"))
    with pytest.raises(ConfigError, match="was begun with other parameters or data"):
        sweep_variant(swept.root, NAME, 2)
    path.write_text(text.replace("{from: 0.0, to: 0.3}", "{from: 0.5, to: 0.3}"))
    with pytest.raises(ConfigError, match=r"'space\.network\.dropout': a range must run from the smaller"):
        sweep_variant(swept.root, NAME, 2)
    path.write_text(text)
    shutil.rmtree(swept.build / "images/broad-statistics")
    with pytest.raises(DataError, match="have not been made; make them with `dvc repro images@broad-statistics`"):
        sweep_variant(swept.root, NAME, 2)
