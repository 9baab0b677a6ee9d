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

from varistar.experiments import registry
from varistar.experiments.content import content_hash, read_content, write_content
from varistar.experiments.gates import paired_bootstrap
from varistar.experiments.packaging import load_packaged
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import folder_hash
from varistar.periods.evaluate import measure_test_set
from varistar.periods.measure import PeriodMeter, served_network
from varistar.periods.promote import compare_on_test_set, promote_challenger, roll_back
from varistar.periods.scores import period_scores, within

CLUMP, LOG = "clump-8-16-32", "clump-log-distribution"
OPEN = {"within_10pct": {"minimum": 0.0}, "margin_over_constant_low": {"minimum": -1.0}}


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


def spoiled(place: Any, name: str = LOG) -> Path:
    """A candidate whose every answer is the same, far from most periods."""
    content = read_content(candidate(place, name))
    tensors = {key: np.zeros_like(value) for key, value in content.tensors.items()}
    last = max(key for key in tensors if key.endswith("bias") and key.startswith("dense"))
    tensors[last] = np.where(np.arange(len(tensors[last])) == 3, 20, 0).astype(np.float32)
    write_content(place.root / "spoiled", replace(content, tensors=tensors))
    return place.root / "spoiled"


def champion_hash(place: Any) -> str | None:
    return registry.champion(place.root, "periods").content_hash if registry.history(place.root, "periods") else None


# ---------------------------------------------------------------------------------------------------------------------
# The comparison


def test_a_first_candidate_is_compared_with_the_constant(place: Any) -> None:
    compared = compare_on_test_set(place.root, candidate(place, LOG), None, "clump")
    assert (compared.champion, compared.differences) == (None, {})
    assert compared.challenger.content == content_hash(candidate(place, LOG))
    assert compared.challenger.test_set == folder_hash(place.build / "injected/clump/test")
    table = measure_test_set(candidate(place, LOG), place.build / "injected/clump")
    true_period, period, sigma = (table[name].to_numpy() for name in ("true_period", "period", "sigma"))
    scores = period_scores(true_period, period, sigma)
    metrics = dict(compared.challenger.metrics)
    baselines = pl.read_parquet(place.build / "baselines/clump.parquet")
    constants = dict(baselines["star_id", "constant"].iter_rows())
    constant = np.array([constants[star] for star in table["star_id"]])
    low = paired_bootstrap(within(period, true_period, 0.1), within(constant, true_period, 0.1), seed=20)[1]
    assert metrics.pop("margin_over_constant_low") == low
    assert metrics == {name: scores[name] for name in metrics}
    assert {"within_10pct", "within_20pct", "coverage", "trusted_within_10pct"} <= metrics.keys()


def test_two_models_are_compared_star_by_star(place: Any) -> None:
    compared = compare_on_test_set(place.root, candidate(place, LOG), candidate(place, CLUMP), "clump")
    assert compared.champion is not None
    assert compared.champion.content == content_hash(candidate(place, CLUMP))
    assert compared.champion.test_set == compared.challenger.test_set
    tables = [measure_test_set(candidate(place, name), place.build / "injected/clump") for name in (LOG, CLUMP)]
    for name, tolerance in (("within_10pct", 0.1), ("within_20pct", 0.2)):
        right = [within(t["period"].to_numpy(), t["true_period"].to_numpy(), tolerance) for t in tables]
        difference = compared.differences[name]
        assert difference.mean == pytest.approx(right[0].mean() - right[1].mean())
        assert difference.low <= difference.mean <= difference.high
        assert (difference.mean, difference.low, difference.high) == paired_bootstrap(*right, seed=20)


def test_a_model_compared_with_itself_does_not_differ(place: Any) -> None:
    compared = compare_on_test_set(place.root, candidate(place, LOG), candidate(place, LOG), "clump")
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
    assert outcome.lines[0].startswith(f"challenger {digest[:12]}, no champion yet; test set of clump, version ")
    assert outcome.lines[-1] == f"{digest[:12]} is champion now"
    champion = registry.champion(place.root, "periods")
    assert (champion.content_hash, champion.reason) == (digest, "passed the gates")
    assert content_hash(champion.folder) == digest
    assert champion.comparison == compare_on_test_set(place.root, candidate(place, challenger), None, "clump")
    assert place.packaged == [None]


def test_a_first_candidate_below_the_minimum_is_refused(place: Any) -> None:
    place.change(periods__promotion__gates={"within_10pct": {"minimum": 0.99}})
    outcome = promote_challenger(place.root, candidate(place, LOG))
    (refusal,) = outcome.refusals
    assert refusal.startswith("within_10pct is ") and refusal.endswith("below the minimum 0.99")
    assert outcome.lines[-1] == "there is no champion"
    assert champion_hash(place) is None
    assert not (place.root / "models").exists()
    assert place.packaged == [], "MLflow has nothing to set without a champion"


def test_a_worse_challenger_is_refused_and_the_champion_stands(place: Any) -> None:
    promote_challenger(place.root, candidate(place, CLUMP))
    place.change(periods__promotion__gates={"within_20pct": {"least_change": 0.01}})
    worse = spoiled(place)
    first = content_hash(candidate(place, CLUMP))
    outcome = promote_challenger(place.root, worse)
    assert len(outcome.refusals) == 1 and outcome.refusals[0].startswith("within_20pct changes by -")
    assert outcome.lines[-1] == f"{first[:12]} stays champion"
    assert f"champion {first[:12]}" in outcome.lines[0]
    assert champion_hash(place) == first
    assert place.packaged == [None, worse], "the refused one can be looked at as @challenger"


def test_a_refused_challenger_may_be_forced_with_a_reason(place: Any) -> None:
    promote_challenger(place.root, candidate(place, CLUMP))
    place.change(periods__promotion__gates={"within_20pct": {"least_change": 0.01}})
    worse = spoiled(place)
    outcome = promote_challenger(place.root, worse, force=True, reason="a demonstration")
    assert outcome.refusals == []
    assert champion_hash(place) == content_hash(worse)
    event = registry.history(place.root, "periods")[-1]
    assert (event.forced, event.reason, event.previous) == (
        True,
        "a demonstration",
        content_hash(candidate(place, CLUMP)),
    )
    assert len(event.failures) == 1 and event.failures[0].startswith("within_20pct changes by -")


def test_forcing_what_passes_is_no_force(place: Any) -> None:
    promote_challenger(place.root, candidate(place, LOG), force=True, reason="in any case")
    (event,) = registry.history(place.root, "periods")
    assert (event.forced, event.failures, event.reason) == (False, (), "in any case")


@pytest.mark.parametrize("reason", ["", "   "])
def test_force_needs_a_reason(place: Any, reason: str) -> None:
    with pytest.raises(RegistryError, match="reason"):
        promote_challenger(place.root, candidate(place, LOG), force=True, reason=reason)
    assert champion_hash(place) is None


def test_the_champion_is_not_compared_with_itself(place: Any) -> None:
    promote_challenger(place.root, candidate(place, LOG))
    record = (place.root / "registry/periods.json").read_bytes()
    outcome = promote_challenger(place.root, candidate(place, LOG))
    digest = content_hash(candidate(place, LOG))
    assert (outcome.lines, outcome.refusals) == ([f"{digest[:12]} is the champion already"], [])
    assert (place.root / "registry/periods.json").read_bytes() == record
    assert place.packaged == [None, None], "but MLflow is set from the record again"


def test_the_champion_before_comes_back(place: Any) -> None:
    promote_challenger(place.root, candidate(place, CLUMP))
    promote_challenger(place.root, candidate(place, LOG))
    first = content_hash(candidate(place, CLUMP))
    outcome = roll_back(place.root, "it was wrong")
    assert outcome.lines == [f"{first[:12]} is champion again"]
    assert champion_hash(place) == first
    assert place.packaged == [None, None, None]
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        roll_back(place.root, "once more")


def test_a_model_without_calibration_is_refused(place: Any) -> None:
    uncalibrated = place.build / "networks/clump-log-distribution"
    with pytest.raises(RegistryError, match="not calibrated, so its uncertainties mean nothing"):
        promote_challenger(place.root, uncalibrated, force=True, reason="to see")


def test_another_test_set_is_another_comparison(place: Any) -> None:
    """The champion is scored again on the test set of today, not remembered from the one of its promotion."""
    promote_challenger(place.root, candidate(place, CLUMP))
    test = place.build / "injected/clump/test"
    truth = pl.read_parquet(test / "truth.parquet")
    truth.with_columns(period_days=pl.col("period_days") * 1.5).write_parquet(test / "truth.parquet")
    promote_challenger(place.root, candidate(place, LOG))
    first, second = (event.comparison for event in registry.history(place.root, "periods"))
    assert second.champion.content == first.challenger.content
    assert second.champion.test_set == second.challenger.test_set != first.challenger.test_set
    assert second.champion.metrics != first.challenger.metrics


# ---------------------------------------------------------------------------------------------------------------------
# What is missing or damaged


def test_what_is_missing_is_named_with_the_way_to_it(place: Any) -> None:
    shutil.rmtree(place.build / "injected/clump/test")
    with pytest.raises(RegistryError, match=r"test: there is no test set here to compare on; make it with `dvc repro`"):
        promote_challenger(place.root, candidate(place, LOG))
    shutil.rmtree(place.build / "calibrated")
    with pytest.raises(RegistryError, match=r"the challenger is not here; make it with `dvc repro compare`"):
        promote_challenger(place.root)
    (place.root / "metrics/periods.json").unlink()
    with pytest.raises(RegistryError, match=r"periods\.json: no comparison yet names a challenger"):
        promote_challenger(place.root)
    with pytest.raises(RegistryError, match="no such model"):
        promote_challenger(place.root, place.root / "nowhere")


def test_a_test_set_without_baselines_is_named(place: Any) -> None:
    (place.build / "baselines/clump.parquet").unlink()
    with pytest.raises(RegistryError, match=r"clump\.parquet: .* make it with `dvc repro`"):
        promote_challenger(place.root, candidate(place, LOG))


def test_a_damaged_candidate_or_champion_stops_everything(place: Any) -> None:
    promote_challenger(place.root, candidate(place, CLUMP))
    weights = candidate(place, LOG) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(Exception, match=r"weights\.safetensors") as refused:
        promote_challenger(place.root, candidate(place, LOG))
    assert "\n" not in str(refused.value)
    champion = registry.champion(place.root, "periods").folder / "model.json"
    champion.write_text("{}")
    with pytest.raises(RegistryError, match="damaged: it is not the model"):
        promote_challenger(place.root, candidate(place, LOG))


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
        promote_challenger(copied.root, candidate(copied, LOG))
        meter = PeriodMeter.of_folder(candidate(copied, LOG))
        images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 36), dtype=np.uint8)
        answers = load_packaged(copied.root, "periods").predict(images)
    np.testing.assert_allclose(answers, meter.answers(images), rtol=1e-4)
    champion = registry.champion(copied.root, "periods").folder
    assert (copied.root / "models.dvc").is_file()
    shutil.rmtree(champion)
    dvc(copied.root, "checkout", "--quiet", "models.dvc")
    assert content_hash(champion) == content_hash(candidate(copied, LOG))


def test_a_broken_dvc_is_told_in_one_sentence(place: Any) -> None:
    (place.root / ".dvc").mkdir()
    (place.root / ".dvc/config").write_text("[core\n")
    with pytest.raises(RegistryError, match=r"^models/: DVC cannot track the champion: ") as refused:
        promote_challenger(place.root, candidate(place, LOG))
    assert "\n" not in str(refused.value)
