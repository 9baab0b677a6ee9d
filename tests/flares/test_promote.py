"""Challenger and champion search the same stars, and the better one is served."""

import shutil
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
from varistar.experiments.promotion import Outcome, promote_candidate
from varistar.experiments.splits import SplitSettings
from varistar.flares.finder import FlareFinder, served_network
from varistar.flares.inject import searched_days
from varistar.flares.known import read_known
from varistar.flares.matching import Matched, average_precision_of_events
from varistar.flares.promote import METRICS, compare_on_test_stars, contest
from varistar.flares.verdict import FAINT_SNR, match_known
from varistar.foundation.errors import RegistryError
from varistar.foundation.files import write_json
from varistar.foundation.params import read_section

OPEN = {"false_per_day": {"maximum": 1e6}}


@pytest.fixture
def place(copied: Any, in_project: Callable[[Path], Any]) -> Iterator[Any]:
    """A project to promote in, whose gates are open and whose MLflow is not asked."""
    copied.change(flares__promotion__gates=OPEN)
    with in_project(copied.root) as patch:

        def restore(root: Path, wing: str, load_network: Any, *, challenger: Path | None = None) -> str:
            assert (root, wing, load_network) == (copied.root, "flares", served_network)
            return "1"

        patch.setattr(registry, "restore_mlflow", restore)
        yield copied


def promote(root: Path, *arguments: Any, **named: Any) -> Outcome:
    return promote_candidate(root, contest(root), *arguments, **named)


def with_seed(place: Any, name: str, seed: float) -> Path:
    """The variant with a threshold of its own."""
    content = read_content(place.build / "calibrated" / name)
    spec = content.spec.model_copy(update={"calibration": content.spec.calibration | {"seed": seed}})
    write_content(place.root / f"{name}-{seed}", replace(content, spec=spec))
    return place.root / f"{name}-{seed}"


def blind(place: Any) -> Path:
    """A candidate that never sees a flare."""
    content = read_content(place.build / "calibrated/points")
    tensors = {key: np.zeros_like(value) for key, value in content.tensors.items()}
    tensors |= {key: np.full_like(value, -50.0) for key, value in tensors.items() if key.endswith("last.bias")}
    write_content(place.root / "blind", replace(content, tensors=tensors))
    return place.root / "blind"


def champion_hash(place: Any) -> str | None:
    return registry.champion(place.root, "flares").content_hash if registry.history(place.root, "flares") else None


def search(place: Any, folder: Path) -> tuple[Matched, float]:
    """What a finder finds in the test stars beside their labels, and the days of their light curves."""
    finder = FlareFinder.of_folder(folder, "cpu")
    splits = read_section(place.root, "flares.split", SplitSettings)
    stars = read_known(place.build / "sectors", finder.orbits, splits, "test")
    events = pl.concat([finder.find(star.star_id, star.orbits) for star in stars])
    labels = pl.concat([star.labels for star in stars])
    return match_known(events, labels), sum(searched_days(star.orbits) for star in stars)


def bright(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels that count: their peak was observed, and stands out."""
    return labels.filter(pl.col("peak_snr") >= FAINT_SNR).sort("star_id", "tpeak")


# ---------------------------------------------------------------------------------------------------------------------
# The comparison


def test_a_first_candidate_is_scored_on_the_test_stars(place: Any) -> None:
    folder = with_seed(place, "points", 0.3)
    compared = compare_on_test_stars(place.root, folder, None)
    assert (compared.champion, compared.differences) == (None, {})
    assert compared.challenger.content == content_hash(folder)
    metrics = compared.challenger.metrics
    assert tuple(metrics) == METRICS
    matched, days = search(place, folder)
    counts = matched.events.filter("counts")
    labels = bright(matched.labels)
    assert 0 < labels["hit"].sum() < labels.height
    recall, precision = labels["hit"].mean(), counts["hit"].mean()
    assert metrics["counted_recall"] == pytest.approx(recall)
    assert metrics["counted_precision"] == pytest.approx(precision)
    assert metrics["counted_f1"] == pytest.approx(2 * recall * precision / (recall + precision))
    assert metrics["false_per_day"] == pytest.approx((~matched.events["fits"]).sum() / days)
    low, _ = search(place, with_seed(place, "points", 0.05))
    expected = average_precision_of_events(Matched(low.events.filter("counts"), low.labels.filter("counts")))
    assert metrics["average_precision"] == pytest.approx(expected)


def test_two_models_are_compared_flare_by_flare(place: Any) -> None:
    """With an interval that keeps the flares of a star together."""
    folders = [with_seed(place, "points", 0.3), place.build / "calibrated/windows"]
    compared = compare_on_test_stars(place.root, *folders)
    assert compared.champion is not None
    assert compared.champion.content == content_hash(folders[1])
    assert compared.champion.test_set == compared.challenger.test_set
    tables = [bright(search(place, folder)[0].labels) for folder in folders]
    assert tables[0].drop("hit", "event", "fits").equals(tables[1].drop("hit", "event", "fits"))
    hits = [table["hit"].to_numpy() for table in tables]
    difference = compared.differences["counted_recall"]
    assert compared.differences.keys() == {"counted_recall"}
    assert difference.mean == pytest.approx(hits[0].mean() - hits[1].mean())
    assert difference.mean == pytest.approx(
        compared.challenger.metrics["counted_recall"] - compared.champion.metrics["counted_recall"]
    )
    expected = paired_bootstrap(hits[0], hits[1], seed=88, groups=tables[0]["star_id"].to_numpy())
    assert (difference.mean, difference.low, difference.high) == expected


def test_a_model_compared_with_itself_does_not_differ(place: Any) -> None:
    folder = with_seed(place, "points", 0.3)
    compared = compare_on_test_stars(place.root, folder, folder)
    assert {(d.mean, d.low, d.high) for d in compared.differences.values()} == {(0.0, 0.0, 0.0)}
    assert compared.champion is not None
    assert compared.champion.metrics == compared.challenger.metrics


def test_the_test_set_is_the_sectors_and_the_stars(place: Any) -> None:
    def name() -> str:
        return compare_on_test_stars(place.root, place.build / "calibrated/windows", None).challenger.test_set

    before = name()
    place.change(flares__split__seed=3)
    other_stars = name()
    place.change(flares__split__seed=4)
    assert name() == before != other_stars
    (place.build / "sectors/README.md").write_text("another sky")
    assert name() not in (before, other_stars)


# ---------------------------------------------------------------------------------------------------------------------
# Promotion


def test_the_challenger_of_the_comparison_becomes_the_first_champion(place: Any) -> None:
    write_json(place.root / "metrics/flares.json", {"challenger": "points"})
    outcome = promote(place.root)
    folder = place.build / "calibrated/points"
    digest = content_hash(folder)
    assert outcome.refusals == []
    begin = f"challenger {digest[:12]}, no champion yet; test set of simulated stars, version "
    assert outcome.lines[0].startswith(begin)
    assert outcome.lines[-1] == f"{digest[:12]} is champion now"
    champion = registry.champion(place.root, "flares")
    assert champion.content_hash == digest == content_hash(champion.folder)
    assert champion.comparison == compare_on_test_stars(place.root, folder, None)


def test_a_worse_challenger_is_refused_and_the_champion_stands(place: Any) -> None:
    first = with_seed(place, "points", 0.3)
    assert promote(place.root, first).refusals == []
    place.change(flares__promotion__gates={"counted_recall": {"least_change": 0.0}})
    outcome = promote(place.root, blind(place))
    assert len(outcome.refusals) == 1 and outcome.refusals[0].startswith("counted_recall changes by -")
    assert outcome.lines[-1] == f"{content_hash(first)[:12]} stays champion"
    assert champion_hash(place) == content_hash(first)


def test_the_gates_of_the_repository_hold_a_first_champion_too(place: Any) -> None:
    gates = {"counted_f1": {"minimum": 0.999}, "counted_recall": {"least_change": 0.0}}
    place.change(flares__promotion__gates=gates)
    outcome = promote(place.root, place.build / "calibrated/points")
    assert len(outcome.refusals) == 1 and outcome.refusals[0].endswith("below the minimum 0.999")
    assert outcome.lines[-1] == "there is no champion"
    assert champion_hash(place) is None and not (place.root / "models").exists()


def test_what_cannot_be_compared_is_said_in_a_sentence(place: Any) -> None:
    with pytest.raises(RegistryError, match="not calibrated, so its uncertainties mean nothing"):
        promote(place.root, place.build / "networks/points/0")
    with pytest.raises(RegistryError, match=r"flares\.json: no comparison yet names a challenger"):
        promote(place.root)
    write_json(place.root / "metrics/flares.json", {"challenger": "elsewhere"})
    with pytest.raises(RegistryError, match=r"elsewhere: the challenger is not here"):
        promote(place.root)
    shutil.rmtree(place.build / "sectors")
    with pytest.raises(RegistryError, match=r"sectors: there are no test stars here to compare on; make them"):
        promote(place.root, place.build / "calibrated/points")
