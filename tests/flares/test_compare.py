"""The challenger is chosen on validation stars alone, and the comparison holds what was measured on one test."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from varistar.flares.compare import PAPER, best_first, choose_challenger, compare, comparison_lines
from varistar.foundation.errors import ConfigError

EVENTS = {
    "counted_labels": 9, "counted_events": 8, "counted_precision": 0.75, "counted_precision_interval": [0.6, 0.9],
    "counted_recall": 0.7, "counted_recall_interval": [0.5, 0.8], "counted_f1": 0.7, "counted_f1_interval": [0.5, 0.8],
    "recall_lenient": 0.8, "duplicates": 0, "average_precision": 0.6, "false": {"all": {"per_day": 0.01}}, "by": {},
}  # fmt: skip
WINDOWS = {"accuracy": 0.98, "precision": 0.97, "recall": 0.9, "average_precision": None, "roc_auc": 0.99}
CADENCES = {"dice": 0.6, "iou": 0.4, "precision": 0.5, "recall": 0.8, "average_precision": 0.7}
RECOVERED = {
    "by_snr": {"5-7": {"fraction": None}, "7-10": {"fraction": 0.81}},
    "false": {"uninjected": {"per_day": 0.02}, "flipped": {"per_day": 0.03}},
}


def report(validation: float | None, f1: float, test_set: str = "one") -> dict[str, Any]:
    return {
        "test_set": test_set, "n_stars": 5, "days": 100.0, "validation": {"average_precision": validation, "f1": 0.1},
        "events": EVENTS | {"counted_f1": f1}, "windows": WINDOWS, "cadences": CADENCES, "members": {},
    }  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose networks `a` and `b` were measured; of the study `b` and `c` on more stars, `d` on yet others."""
    params = {"flares": {"variants": {"a": {}, "b": {}}, "study": {"c": {}, "d": {}, "e": {}}}}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(params, file)
    written = {
        "flares/a": report(0.9, 0.2), "flares/b": report(0.5, 0.8),
        "study/flares/b": report(0.6, 0.9, "more"), "study/flares/c": report(0.99, 0.7, "more"),
        "study/flares/d": report(0.99, 0.7, "another"), "study/flares/of-old": report(0.99, 0.7, "more"),
        "flares/baselines": {"methods": {"simple": EVENTS | {"counted_f1": 0.9}}},
        "flares/recovery": {"methods": dict.fromkeys(("a", "b", "simple"), RECOVERED)},
    }  # fmt: skip
    for name, content in written.items():
        path = tmp_path / "metrics" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path


def test_the_challenger_is_the_best_of_what_every_rebuild_trains_on_validation_stars(root: Path) -> None:
    assert compare(root)["challenger"] == "a"


def test_no_test_score_changes_the_choice() -> None:
    metrics = {"a": report(0.6, 0.1), "b": report(0.5, 0.9)}
    better = copy.deepcopy(metrics)
    better["b"]["events"]["average_precision"] = 1.0
    assert choose_challenger(metrics) == choose_challenger(better) == "a"
    assert choose_challenger({"a": report(None, 0.1), "b": report(0.01, 0.1)}) == "b"


def test_without_variants_there_is_no_challenger() -> None:
    with pytest.raises(ConfigError, match=r"flares\.variants names no variant"):
        choose_challenger({})


def test_only_what_was_measured_on_the_same_stars_is_compared(root: Path) -> None:
    summary = compare(root)
    assert summary["networks"] == ["a", "b"]
    assert list(summary["events"]) == ["a", "b", "simple"]
    assert list(summary["windows"]) == [PAPER, "a", "b"]
    assert "by" not in summary["events"]["a"]
    assert summary["events"]["b"]["counted_f1"] == 0.8
    study = summary["study"]
    assert study["networks"] == list(study["events"]) == ["b", "c"]
    assert study["events"]["b"]["counted_f1"] == 0.9
    assert study["recovery"] == {}
    shutil.copy(root / "metrics/flares/baselines.json", root / "metrics/study/flares")
    assert list(compare(root)["study"]["events"]) == ["b", "c", "simple"]


def test_without_a_study_there_is_none(root: Path) -> None:
    shutil.rmtree(root / "metrics/study")
    summary = compare(root)
    assert summary["study"] is None
    assert not any("the study" in line for line in comparison_lines(summary))


def test_networks_stand_before_simple_methods_and_the_better_before_the_worse(root: Path) -> None:
    summary = compare(root)
    assert list(best_first(summary["events"], summary["networks"])) == ["b", "a", "simple"]


def test_the_printed_tables_have_every_method_and_number(root: Path) -> None:
    lines = comparison_lines(compare(root))
    text = "\n".join(lines)
    assert "9 flares of S/N 3 or more on 5 test stars, 100 days" in text
    assert "events, the study: 9 flares" in text
    assert text.count("simple") == 2
    (events,) = (line for line in lines if "0.800 (0.500-0.800)" in line)
    assert events.split()[0] == "b"
    windows, _ = (line for line in lines if line.strip().startswith(PAPER))
    assert windows.split()[-5:] == ["0.984", "0.988", "0.942", "0.992", "-"]
    recovered = [line.split() for line in lines if line.split()[-2:] == ["0.020", "0.030"]]
    assert [row[:3] for row in recovered] == [[name, "-", "0.810"] for name in ("a", "b", "simple")]
    widths = {len(line) for line in lines if line.strip().startswith(("a ", "b ", "simple ")) and "0.020" in line}
    assert len(widths) == 1
