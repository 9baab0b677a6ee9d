"""A network that is taught further learns from the labelled stars that are its own, and keeps all else."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.experiments.content import content_hash, read_content
from varistar.experiments.splits import SplitSettings
from varistar.experiments.tracking import find_run
from varistar.flares import finetune
from varistar.flares.calibrate import SEEDS
from varistar.flares.examples import ExampleSettings, StretchSettings
from varistar.flares.finder import FlareFinder
from varistar.flares.finetune import (
    TAUGHT,
    TuningSettings,
    fine_tune,
    labelled_f1,
    make_stretches,
    thresholds_upside_down,
    tune_trial,
    with_seeds,
)
from varistar.flares.inject import flip, searched_days
from varistar.flares.known import KnownStar, read_known
from varistar.flares.label import label_light_curves
from varistar.flares.labels import read_simulated
from varistar.flares.orbits import OrbitSettings
from varistar.flares.variants import read_variant
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import read_section

SHORT = TuningSettings(epochs=1, copies=1, held=1)


@pytest.fixture(scope="module")
def labelled(project: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    flares = read_simulated(project.build / "sectors/flares.parquet").filter(pl.col("peak_snr") > 8)
    flares.select("star_id", "tpeak", "amplitude").write_csv(folder / "list.csv")
    label_light_curves([project.build / "sectors/light_curves"], folder / "list.csv", folder / "stars", OrbitSettings())
    return folder / "stars"


@pytest.fixture(scope="module")
def stars(labelled: Path) -> list[KnownStar]:
    return read_known(labelled, OrbitSettings(), None, "train")[:2]


def teach(project: Any, stars: list[KnownStar], scratch: Path, **changes: Any) -> tuple[Any, Any]:
    """The content before and after."""
    content = read_content(project.build / "calibrated/points")
    settings = read_section(project.root, "flares.examples", ExampleSettings).points
    tuning = SHORT.model_copy(update=changes)
    variant = read_variant(project.root, "points")
    return content, fine_tune(content, stars, variant, settings, tuning, scratch, "cpu")


def test_weights_move_a_little_and_statistics_not_at_all(project: Any, stars: list[KnownStar], tmp_path: Path) -> None:
    before, after = teach(project, stars, tmp_path)
    assert before.tensors.keys() == after.tensors.keys()
    for name, tensor in before.tensors.items():
        now = np.asarray(after.tensors[name])
        if "running" in name or "num_batches" in name:
            np.testing.assert_array_equal(now, tensor, err_msg=name)
        elif "weight" in name:
            assert not np.array_equal(now, tensor), name
            np.testing.assert_allclose(now, tensor, atol=0.2)
    kept, now = (
        {name: value for name, value in one.spec.calibration.items() if not name.startswith("seed")}
        for one in (before, after)
    )
    assert now == kept
    assert after.spec.preprocessing == before.spec.preprocessing and not list(tmp_path.iterdir())


def test_the_same_stars_teach_the_same(project: Any, stars: list[KnownStar], tmp_path: Path) -> None:
    (_, one), (_, other) = (teach(project, stars, tmp_path / str(k)) for k in range(2))
    _, slower = teach(project, stars, tmp_path / "slower", slower=1e-9)
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor, other.tensors[name])
    before = read_content(project.build / "calibrated/points").tensors
    moved = [
        sum(float(np.abs(np.asarray(after.tensors[name]) - tensor).sum()) for name, tensor in before.items())
        for after in (slower, one)
    ]
    assert moved[0] < 1e-3 * moved[1]


def test_the_threshold_leaves_so_many_events_upside_down(project: Any, stars: list[KnownStar]) -> None:
    """As the model with this threshold finds them."""
    content = read_content(project.build / "calibrated/points")
    days, seeds = sum(searched_days(star.orbits) for star in stars), []
    for allowed in (0, 5):
        found = thresholds_upside_down(content, stars, (allowed + 0.5) / days, "cpu")
        seeds.append(found["seed"])
        finder = FlareFinder.of_content(with_seeds(content, found), "cpu")
        left = sum(finder.find(star.star_id, flip(star.orbits)).height for star in stars)
        assert left <= allowed or seeds[-1] == SEEDS[1]
    assert SEEDS[0] <= seeds[1] <= seeds[0] <= SEEDS[1]
    assert with_seeds(content, {}).spec == content.spec


def test_the_old_threshold_does_not_matter_to_the_new(project: Any, stars: list[KnownStar]) -> None:
    """Below `grow` it once made the rule grow no further than the threshold, at any."""
    content = with_seeds(read_content(project.build / "calibrated/points"), {"offset": 2.0})  # many cadences grow
    days = sum(searched_days(star.orbits) for star in stars)
    for allowed in (2, 8, 20, 50, 100):
        low, high = (
            thresholds_upside_down(with_seeds(content, {"seed": seed}), stars, (allowed + 0.5) / days, "cpu")
            for seed in (0.01, 0.9)
        )
        assert low == high


def test_stretches_are_of_the_cadences_that_the_model_knows(
    project: Any, stars: list[KnownStar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = read_content(project.build / "calibrated/points")
    preprocessing = content.spec.preprocessing | {"cadences": [2.0, 10.0]}
    content = replace(content, spec=content.spec.model_copy(update={"preprocessing": preprocessing}))
    settings = read_section(project.root, "flares.examples", ExampleSettings).points
    used: list[StretchSettings] = []

    def note(stars: Any, settings: StretchSettings, copies: range, seed: int) -> Any:
        used.append(settings)
        return make_stretches(stars, settings, copies, seed)

    monkeypatch.setattr(finetune, "make_stretches", note)
    variant = read_variant(project.root, "points")
    fine_tune(content, stars, variant, settings.model_copy(update={"cadences": (30.0,)}), SHORT, tmp_path, "cpu")
    assert [one.cadences for one in used] == [(2.0, 10.0)] * 2


def test_another_teaching_does_not_go_on_from_the_checkpoints_of_one_that_was_interrupted(
    copied: Any, labelled: Path, in_project: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one does."""
    shutil.copytree(labelled, tmp_path / "other")
    flares = pl.read_parquet(labelled / "flares.parquet")
    flares.with_columns(pl.col("amplitude") * 2).write_parquet(tmp_path / "other/flares.parquet")
    asked: list[Path] = []

    def interrupted(*arguments: Any) -> Any:
        asked.append(arguments[5])
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "fine_tune", interrupted)
    teachings: list[tuple[Path, TuningSettings]] = [
        (labelled, SHORT),
        (labelled, SHORT),
        (tmp_path / "other", SHORT),
        (labelled, SHORT.model_copy(update={"slower": 0.2})),
    ]
    with in_project(copied.root):
        for folder, tuning in teachings:
            with pytest.raises(KeyboardInterrupt):
                tune_trial(copied.root, "points", folder, tuning=tuning)
        copied.change(flares__variants__points__training__batch_size=32)
        with pytest.raises(KeyboardInterrupt):
            tune_trial(copied.root, "points", labelled, tuning=SHORT)
    assert asked[0] == asked[1] and len(set(asked)) == 4


def test_stretches_differ_from_copy_to_copy_in_what_is_injected(project: Any, stars: list[KnownStar]) -> None:
    settings = read_section(project.root, "flares.examples", ExampleSettings).points
    one, both = (make_stretches(stars[:1], settings, range(n), 7) for n in (1, 2))
    assert len(both) == 2 * len(one) and both.targets.shape[1] == 2
    half = len(one)
    assert not np.array_equal(both.arrays[:half], both.arrays[half:])
    np.testing.assert_array_equal(both.arrays[:half], one.arrays)
    without = make_stretches(stars[:1], settings.model_copy(update={"inject": None}), range(2), 7)
    np.testing.assert_array_equal(without.arrays[:half], without.arrays[half:])


def test_a_trial_keeps_the_test_stars_aside(
    copied: Any, labelled: Path, in_project: Callable[[Path], Any], tmp_path: Path
) -> None:
    with in_project(copied.root):
        done = tune_trial(copied.root, "points", labelled, tuning=SHORT)
        splits = read_section(copied.root, "flares.split", SplitSettings)
        counts = [len(read_known(labelled, OrbitSettings(), splits, split)) for split in (*TAUGHT, "test")]
        assert (done.stars, done.kept_aside) == (sum(counts[:3]), counts[3])
        assert done.folder == copied.root / "build/trials/points-tuned"
        content = read_content(done.folder)
        assert "labelled" in content.spec.training_data
        aside = read_known(labelled, OrbitSettings(), splits, "test")
        assert done.after == labelled_f1(FlareFinder.of_folder(done.folder, "cpu"), aside)
        assert find_run(copied.root, "flares", {"from": content_hash(copied.build / "calibrated/points")}) is not None
        assert not done.folder.with_name("points-tuned.checkpoints").exists()


def test_mistakes_are_named(copied: Any, labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="windows: only a network of points"):
        tune_trial(copied.root, "windows", labelled)
    with pytest.raises(DataError, match="holds no labelled light curves; make it with `varistar label flares`"):
        tune_trial(copied.root, "points", tmp_path)
    with pytest.raises(DataError, match="no such model; make it with `dvc repro"):
        tune_trial(copied.root, "points", labelled, model=tmp_path / "none")
    with pytest.raises(ConfigError, match="windows: a network of windows, where one of points was expected"):
        tune_trial(copied.root, "points", labelled, model=copied.build / "calibrated/windows")
    copied.change(flares__split={"train": 0.0, "validation": 0.0, "calibration": 0.0, "test": 1.0, "seed": 4})
    with pytest.raises(DataError, match="all labelled stars are in the test"):
        tune_trial(copied.root, "points", labelled)
