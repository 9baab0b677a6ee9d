"""A trial is the pipeline's training without the pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from varistar.experiments.content import content_hash, read_content
from varistar.foundation.errors import ConfigError, DataError
from varistar.periods.trial import train_trial

NAME = "clump-8-16-32"


@pytest.mark.parametrize("name", [NAME, "period-axis"])
def test_a_trial_gives_what_the_stages_gave(copied: Any, in_project: Callable[[Path], Any], name: str) -> None:
    """Members and their ensemble, too."""
    with in_project(copied.root):
        folder = train_trial(copied.root, name)
    assert folder == copied.root / "build/trials" / name
    assert content_hash(folder) == content_hash(copied.build / "calibrated" / name)
    assert {path.name for path in folder.parent.iterdir() if not path.name.startswith(".")} == {
        name, f"{name}.history.parquet"
    }, "members are not left behind"  # fmt: skip


def test_a_preset_replaces_network_and_training(copied: Any, in_project: Callable[[Path], Any]) -> None:
    copied.change(periods__presets__replica__training__max_epochs=2)
    with in_project(copied.root):
        folder = train_trial(copied.root, NAME, preset="replica")
        elsewhere = train_trial(copied.root, NAME, preset="replica", output=copied.root / "mine")
    assert (folder.name, elsewhere) == (f"{NAME}-replica", copied.root / "mine")
    assert content_hash(folder) == content_hash(elsewhere)
    spec = read_content(folder).spec
    assert spec.architecture.settings["head"] == "laplace"
    assert spec.metrics["learning_rate"] == pytest.approx(1e-5)
    assert spec.preprocessing == read_content(copied.build / "calibrated" / NAME).spec.preprocessing
    assert spec.calibration["examples"] > 0


def test_what_does_not_exist_is_named(copied: Any, in_project: Callable[[Path], Any]) -> None:
    with in_project(copied.root):
        with pytest.raises(ConfigError, match=r"there is no variant 'huge'; there are clump-8-16-32, "):
            train_trial(copied.root, "huge")
        with pytest.raises(ConfigError, match=r"'periods\.presets\.quick' does not exist; .* has .*replica"):
            train_trial(copied.root, NAME, preset="quick")
        (copied.build / "images/clump-paper").rename(copied.build / "elsewhere")
        with pytest.raises(
            DataError, match=r"clump-paper: these images have not been made; .*`dvc repro images@clump-paper`"
        ):
            train_trial(copied.root, NAME)
