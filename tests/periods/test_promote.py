"""The champion changes for a reason that can be read, and only after a fair comparison."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.experiments import promotion, registry
from varistar.experiments.content import content_hash, read_content, write_content
from varistar.experiments.gates import paired_bootstrap
from varistar.experiments.packaging import load_packaged
from varistar.experiments.promotion import Outcome, promote_candidate
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import folder_hash
from varistar.foundation.params import read_params
from varistar.periods.measure import PeriodMeter, served_network
from varistar.periods.measured import measure_split
from varistar.periods.promote import compare_on_test_set, contest
from varistar.periods.reliability import accuracy_at_coverage
from varistar.periods.scores import period_scores, within

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE, AXIS = "clump-8-16-32", "period-axis"
OPEN = {"within_10pct": {"minimum": 0.0}, "margin_over_constant_low": {"minimum": -1.0}}


def promote_challenger(root: Path, *arguments: Any, **named: Any) -> Outcome:
    return promote_candidate(root, contest(root), *arguments, **named)


def roll_back(root: Path, reason: str) -> Outcome:
    return promotion.roll_back(root, contest(root), reason)


@pytest.fixture
def place(copied: Any, in_project: Callable[[Path], Any]) -> Iterator[Any]:
    """A project to promote in, whose gates are open and whose MLflow only remembers what it was asked."""
    copied.change(periods__promotion__gates=OPEN)
    with in_project(copied.root) as patch:
        asked: list[Path | None] = []

        def restore(root: Path, wing: str, load_network: Any, *, challenger: Path | None = None) -> str:
            assert (root, wing, load_network) == (copied.root, "periods", served_network)
            asked.append(challenger)
            return "1"

        patch.setattr(registry, "restore_mlflow", restore)
        yield replace(copied, packaged=asked)


def candidate(place: Any, name: str) -> Path:
    return place.build / "calibrated" / name


def spoiled(place: Any, name: str = AXIS) -> Path:
    """A candidate whose every answer is the same, the shortest of periods that are all as probable."""
    content = read_content(candidate(place, name))
    tensors = {key: np.zeros_like(value) for key, value in content.tensors.items()}
    write_content(place.root / "spoiled", replace(content, tensors=tensors))
    return place.root / "spoiled"


def champion_hash(place: Any) -> str | None:
    return registry.champion(place.root, "periods").content_hash if registry.history(place.root, "periods") else None


# ---------------------------------------------------------------------------------------------------------------------
# The comparison


def test_a_first_candidate_is_compared_with_the_constant(place: Any) -> None:
    compared = compare_on_test_set(place.root, candidate(place, AXIS), None, "broad")
    assert (compared.champion, compared.differences) == (None, {})
    assert compared.challenger.content == content_hash(candidate(place, AXIS))
    assert compared.challenger.test_set == folder_hash(place.build / "injected/broad/test")
    (whole,) = measure_split([candidate(place, AXIS)], place.build / "injected/broad")
    table, silent = (whole.filter(pl.col("true_period").is_nan() == is_nan) for is_nan in (False, True))
    true_period, period, sigma = (table[name].to_numpy() for name in ("true_period", "period", "sigma"))
    scores = period_scores(true_period, period, sigma)
    right = within(period, true_period, 0.1)
    scores["within_10pct_at_19.8pct_coverage"] = accuracy_at_coverage(table["p_within_10pct"].to_numpy(), right, 0.198)
    metrics = dict(compared.challenger.metrics)
    baselines = pl.read_parquet(place.build / "baselines/broad.parquet")
    constants = dict(baselines["star_id", "constant"].iter_rows())
    of_constant = within(np.array([constants[star] for star in table["star_id"]]), true_period, 0.1)
    low = paired_bootstrap(right, of_constant, seed=20, groups=table["template"].to_numpy())[1]
    assert metrics.pop("margin_over_constant_low") == low
    assert metrics.pop("false_period_rate") == np.mean(silent["p_within_10pct"].to_numpy() > 0.5)
    assert metrics == {name: scores[name] for name in metrics}
    assert {"within_10pct", "within_20pct", "coverage", "trusted_within_10pct"} <= metrics.keys()
    assert 0 < silent.height < whole.height


def test_two_models_are_compared_star_by_star(place: Any) -> None:
    """With intervals that keep the examples of a template together, and the silent stars by themselves."""
    compared = compare_on_test_set(place.root, candidate(place, AXIS), candidate(place, IMAGE), "broad")
    assert compared.champion is not None
    assert compared.champion.content == content_hash(candidate(place, IMAGE))
    assert compared.champion.test_set == compared.challenger.test_set
    both = [measure_split([candidate(place, name)], place.build / "injected/broad")[0] for name in (AXIS, IMAGE)]
    tables, silent = ([t.filter(pl.col("true_period").is_nan() == is_nan) for t in both] for is_nan in (False, True))
    values = {"false_period_rate": [(t["p_within_10pct"] > 0.5).to_numpy() for t in silent]}
    for name, tolerance in (("within_10pct", 0.1), ("within_20pct", 0.2)):
        values[name] = [within(t["period"].to_numpy(), t["true_period"].to_numpy(), tolerance) for t in tables]
    assert compared.differences.keys() == values.keys()
    for name, (first, second) in values.items():
        groups = (silent if name == "false_period_rate" else tables)[0]["template"].to_numpy()
        assert len(set(groups)) < len(groups), "templates repeat, so that grouping them matters"
        difference = compared.differences[name]
        assert difference.mean == pytest.approx(first.mean() - second.mean())
        expected = paired_bootstrap(first, second, seed=20, groups=groups)
        assert (difference.mean, difference.low, difference.high) == expected


def test_a_period_for_a_star_without_one_counts_against_a_model(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenger that claims all of them, where the champion claims none, is refused by the gate."""
    gates = read_params(REPOSITORY)["periods"]["promotion"]["gates"]
    place.change(periods__promotion__gates={"false_period_rate": gates["false_period_rate"]})

    def measured(contents: Any, *given: Any, **more: Any) -> list[pl.DataFrame]:
        loud = content_hash(contents[0]) == content_hash(candidate(place, AXIS))
        (table,) = measure_split(contents, *given, **more)
        return [table.with_columns(p_within_10pct=pl.lit(0.9 if loud else 0.1))]

    monkeypatch.setattr("varistar.periods.promote.measure_split", measured)
    assert promote_challenger(place.root, candidate(place, IMAGE)).refusals == []
    (first, *others) = promote_challenger(place.root, candidate(place, AXIS)).refusals
    assert first == "false_period_rate is 1, above the maximum 0.03"
    assert champion_hash(place) == content_hash(candidate(place, IMAGE)), others


def test_a_model_compared_with_itself_does_not_differ(place: Any) -> None:
    compared = compare_on_test_set(place.root, candidate(place, AXIS), candidate(place, AXIS), "broad")
    assert {(d.mean, d.low, d.high) for d in compared.differences.values()} == {(0.0, 0.0, 0.0)}
    assert compared.champion is not None
    assert compared.champion.metrics == compared.challenger.metrics


# ---------------------------------------------------------------------------------------------------------------------
# Promotion


def test_the_challenger_of_the_comparison_becomes_the_first_champion(place: Any) -> None:
    challenger = json.loads((place.root / "metrics/periods.json").read_text())["challenger"]
    outcome = promote_challenger(place.root)
    digest = content_hash(candidate(place, challenger))
    assert outcome.refusals == []
    assert outcome.lines[0].startswith(f"challenger {digest[:12]}, no champion yet; test set of broad, version ")
    assert outcome.lines[-1] == f"{digest[:12]} is champion now"
    champion = registry.champion(place.root, "periods")
    assert (champion.content_hash, champion.reason) == (digest, "passed the gates")
    assert content_hash(champion.folder) == digest
    assert champion.comparison == compare_on_test_set(place.root, candidate(place, challenger), None, "broad")
    assert place.packaged == [None]


def test_a_first_candidate_below_the_minimum_is_refused(place: Any) -> None:
    place.change(periods__promotion__gates={"within_10pct": {"minimum": 0.99}})
    outcome = promote_challenger(place.root, candidate(place, AXIS))
    (refusal,) = outcome.refusals
    assert refusal.startswith("within_10pct is ") and refusal.endswith("below the minimum 0.99")
    assert outcome.lines[-1] == "there is no champion"
    assert champion_hash(place) is None
    assert not (place.root / "models").exists()
    assert place.packaged == [], "MLflow has nothing to set without a champion"


def test_a_worse_challenger_is_refused_and_the_champion_stands(place: Any) -> None:
    promote_challenger(place.root, candidate(place, IMAGE))
    place.change(periods__promotion__gates={"within_20pct": {"least_change": 0.01}})
    worse = spoiled(place)
    first = content_hash(candidate(place, IMAGE))
    outcome = promote_challenger(place.root, worse)
    assert len(outcome.refusals) == 1 and outcome.refusals[0].startswith("within_20pct changes by -")
    assert outcome.lines[-1] == f"{first[:12]} stays champion"
    assert f"champion {first[:12]}" in outcome.lines[0]
    assert champion_hash(place) == first
    assert place.packaged == [None, worse], "the refused one can be looked at as @challenger"


def test_a_refused_challenger_may_be_forced_with_a_reason(place: Any) -> None:
    promote_challenger(place.root, candidate(place, IMAGE))
    place.change(periods__promotion__gates={"within_20pct": {"least_change": 0.01}})
    worse = spoiled(place)
    outcome = promote_challenger(place.root, worse, force=True, reason="a demonstration")
    assert outcome.refusals == []
    assert champion_hash(place) == content_hash(worse)
    event = registry.history(place.root, "periods")[-1]
    assert (event.forced, event.reason, event.previous) == (
        True,
        "a demonstration",
        content_hash(candidate(place, IMAGE)),
    )
    assert len(event.failures) == 1 and event.failures[0].startswith("within_20pct changes by -")


def test_forcing_what_passes_is_no_force(place: Any) -> None:
    promote_challenger(place.root, candidate(place, AXIS), force=True, reason="in any case")
    (event,) = registry.history(place.root, "periods")
    assert (event.forced, event.failures, event.reason) == (False, (), "in any case")


@pytest.mark.parametrize("reason", ["", "   "])
def test_force_needs_a_reason(place: Any, reason: str) -> None:
    with pytest.raises(RegistryError, match="reason"):
        promote_challenger(place.root, candidate(place, AXIS), force=True, reason=reason)
    assert champion_hash(place) is None


def test_the_champion_is_not_compared_with_itself(place: Any) -> None:
    promote_challenger(place.root, candidate(place, AXIS))
    record = (place.root / "registry/periods.json").read_bytes()
    outcome = promote_challenger(place.root, candidate(place, AXIS))
    digest = content_hash(candidate(place, AXIS))
    assert (outcome.lines, outcome.refusals) == ([f"{digest[:12]} is the champion already"], [])
    assert (place.root / "registry/periods.json").read_bytes() == record
    assert place.packaged == [None, None], "but MLflow is set from the record again"


def test_the_champion_before_comes_back(place: Any) -> None:
    promote_challenger(place.root, candidate(place, IMAGE))
    promote_challenger(place.root, candidate(place, AXIS))
    first = content_hash(candidate(place, IMAGE))
    outcome = roll_back(place.root, "it was wrong")
    assert outcome.lines == [f"{first[:12]} is champion again"]
    assert champion_hash(place) == first
    assert place.packaged == [None, None, None]
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        roll_back(place.root, "once more")


def test_a_model_without_calibration_is_refused(place: Any) -> None:
    uncalibrated = place.build / "networks/period-axis/0"
    with pytest.raises(RegistryError, match="not calibrated, so its uncertainties mean nothing"):
        promote_challenger(place.root, uncalibrated, force=True, reason="to see")


def test_another_test_set_is_another_comparison(place: Any) -> None:
    """The champion is scored again on the test set of today, not remembered from the one of its promotion."""
    promote_challenger(place.root, candidate(place, IMAGE))
    test = place.build / "injected/broad/test"
    truth = pl.read_parquet(test / "truth.parquet")
    truth.with_columns(period_days=pl.col("period_days") * 1.5).write_parquet(test / "truth.parquet")
    promote_challenger(place.root, candidate(place, AXIS))
    first, second = (event.comparison for event in registry.history(place.root, "periods"))
    assert second.champion.content == first.challenger.content
    assert second.champion.test_set == second.challenger.test_set != first.challenger.test_set
    assert second.champion.metrics != first.challenger.metrics


# ---------------------------------------------------------------------------------------------------------------------
# What is missing or damaged


def test_what_is_missing_is_named_with_the_way_to_it(place: Any) -> None:
    shutil.rmtree(place.build / "injected/broad/test")
    with pytest.raises(RegistryError, match=r"test: there is no test set here to compare on; make it with `dvc repro`"):
        promote_challenger(place.root, candidate(place, AXIS))
    shutil.rmtree(place.build / "calibrated")
    with pytest.raises(RegistryError, match=r"the challenger is not here; make it with `make repro`"):
        promote_challenger(place.root)
    (place.root / "metrics/periods.json").unlink()
    with pytest.raises(RegistryError, match=r"periods\.json: no comparison yet names a challenger"):
        promote_challenger(place.root)
    with pytest.raises(RegistryError, match="no such model"):
        promote_challenger(place.root, place.root / "nowhere")


def test_a_test_set_without_baselines_is_named(place: Any) -> None:
    (place.build / "baselines/broad.parquet").unlink()
    with pytest.raises(RegistryError, match=r"broad\.parquet: .* make it with `dvc repro`"):
        promote_challenger(place.root, candidate(place, AXIS))


def test_a_damaged_candidate_or_champion_stops_everything(place: Any) -> None:
    promote_challenger(place.root, candidate(place, IMAGE))
    weights = candidate(place, AXIS) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(Exception, match=r"weights\.safetensors") as refused:
        promote_challenger(place.root, candidate(place, AXIS))
    assert "\n" not in str(refused.value)
    champion = registry.champion(place.root, "periods").folder / "model.json"
    champion.write_text("{}")
    with pytest.raises(RegistryError, match="damaged: it is not the model"):
        promote_challenger(place.root, candidate(place, AXIS))


# ---------------------------------------------------------------------------------------------------------------------
# With DVC and MLflow


def dvc(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def test_a_promotion_from_end_to_end(copied: Any, in_project: Callable[[Path], Any]) -> None:
    """DVC tracks the champion's content, and MLflow serves its answers."""
    dvc(copied.root, "init", "--no-scm", "--quiet")
    copied.change(periods__promotion__gates=OPEN)
    with in_project(copied.root):
        promote_challenger(copied.root, candidate(copied, AXIS))
        meter = PeriodMeter.of_folder(candidate(copied, AXIS))
        arrays = np.random.default_rng(0).integers(0, 256, (5, *meter.representation.shape), dtype=np.uint8)
        answers = load_packaged(copied.root, "periods").predict(arrays)
    np.testing.assert_allclose(answers, meter.answers(arrays), rtol=1e-4)
    champion = registry.champion(copied.root, "periods").folder
    assert (copied.root / "models.dvc").is_file()
    shutil.rmtree(champion)
    dvc(copied.root, "checkout", "--quiet", "models.dvc")
    assert content_hash(champion) == content_hash(candidate(copied, AXIS))


def test_a_broken_dvc_is_told_in_one_sentence(place: Any) -> None:
    (place.root / ".dvc").mkdir()
    (place.root / ".dvc/config").write_text("[core\n")
    with pytest.raises(RegistryError, match=r"^models/: DVC cannot track the champion: ") as refused:
        promote_challenger(place.root, candidate(place, AXIS))
    assert "\n" not in str(refused.value)
