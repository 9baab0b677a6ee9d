"""What is served is what was calibrated, from the same two files to the same bits; what is not a model is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy.special import expit, logit

from varistar.experiments.content import ModelContent, read_content, write_content
from varistar.flares.events import find_events
from varistar.flares.finder import CLOSE, FlareFinder, served_network
from varistar.flares.network import WINDOW, CalibratedFlareNetwork, Ensemble
from varistar.flares.orbits import Orbit
from varistar.flares.representation import make_points
from varistar.flares.score import score_windows
from varistar.flares.stars import read_orbits
from varistar.foundation.errors import RegistryError, VaristarError

VARIANTS = ("points", "windows")


@pytest.fixture(params=VARIANTS)
def folder(request: pytest.FixtureRequest, project: Any) -> Path:
    return project.build / "calibrated" / request.param


@pytest.fixture(scope="module")
def stars(project: Any) -> list[tuple[str, list[Orbit]]]:
    settings = FlareFinder.of_folder(project.build / "calibrated/points", "cpu").orbits
    shards = sorted((project.build / "sectors/light_curves").glob("*.parquet"))[:2]
    return [star for shard in shards for star in read_orbits(shard, settings)]


def with_calibration(content: ModelContent, **numbers: Any) -> ModelContent:
    return replace(content, spec=content.spec.model_copy(update={"calibration": numbers}))


# ---------------------------------------------------------------------------------------------------------------------
# Scores and events


def test_a_content_written_and_read_back_gives_equal_scores(
    folder: Path, stars: list[tuple[str, list[Orbit]]], tmp_path: Path
) -> None:
    content = read_content(folder)
    first, again = FlareFinder.of_content(content, "cpu"), FlareFinder.of_folder(folder, "cpu")
    write_content(tmp_path / "copy", content)
    copy = FlareFinder.of_folder(tmp_path / "copy", "cpu")
    for star_id, orbits in stars:
        for finder in (again, copy):
            for one, other in zip(first.scores(orbits), finder.scores(orbits), strict=True):
                np.testing.assert_array_equal(one, other)
            assert finder.find(star_id, orbits).equals(first.find(star_id, orbits))


def test_points_are_answered_from_the_whole_orbit(project: Any, stars: list[tuple[str, list[Orbit]]]) -> None:
    """By the mean probability of the members, with slope and offset of the calibration, NaN where nothing is."""
    folder = project.build / "calibrated/points"
    finder = FlareFinder.of_folder(folder, "cpu")
    numbers = read_content(folder).spec.calibration
    assert isinstance(finder.network.network, Ensemble)
    members = [FlareFinder.of_folder(project.build / f"networks/points/{k}", "cpu").network for k in range(2)]
    for _, orbits in stars[:2]:
        for orbit, score in zip(orbits, finder.scores(orbits), strict=True):
            assert (score.shape, score.dtype) == ((len(orbit),), np.float64)
            np.testing.assert_array_equal(np.isnan(score), ~orbit.good)
            points = torch.from_numpy(make_points(orbit, finder.representation))[None]
            with torch.inference_mode():
                mean = np.mean([member(points)[0].double().numpy() for member in members], axis=0)
            expected = expit(numbers["slope"] * logit(mean) + numbers["offset"])
            np.testing.assert_allclose(score, expected, atol=2e-5)


def test_windows_are_answered_one_by_one(project: Any, stars: list[tuple[str, list[Orbit]]]) -> None:
    finder = FlareFinder.of_folder(project.build / "calibrated/windows", "cpu")
    (_, (orbit, *_)), *_ = stars
    (score,) = finder.scores([orbit])
    np.testing.assert_array_equal(score, score_windows(finder.network, orbit, CLOSE))
    whole = [i for i in range(100, len(orbit) - 100) if orbit.good[i - 100 : i + 100].all()][::500]
    windows = np.stack([orbit.flux[i - 100 : i + 100] for i in whole]).astype(np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(score[whole], finder.network(torch.from_numpy(windows)).numpy(), rtol=1e-3)


def test_events_are_those_of_the_scores_with_an_honest_p(folder: Path, stars: list[tuple[str, list[Orbit]]]) -> None:
    finder = FlareFinder.of_folder(folder, "cpu")
    low = replace(finder, events=finder.events.model_copy(update={"seed": 0.1, "grow": 0.05}))
    found = 0
    for star_id, orbits in stars:
        scores = finder.scores(orbits)
        events = low.find(star_id, orbits)
        expected = find_events(orbits, scores, low.events, star_id)
        assert events.drop("score", "p").equals(expected.drop("p"))
        assert events["score"].equals(expected["p"].alias("score"))
        np.testing.assert_array_equal(events["p"], finder.honest(expected["p"].to_numpy()))
        assert low.find(star_id, orbits, scores).equals(events)
        found += events.height
    assert found > 3
    assert low.find("nobody", []).schema == events.schema


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30).map(np.array),
    st.floats(0.01, 20.0),
    st.floats(-20.0, 20.0),
)
def test_the_p_of_events_rises_with_their_score(project: Any, score: np.ndarray, slope: float, offset: float) -> None:
    finder = FlareFinder.of_folder(project.build / "calibrated/windows", "cpu")
    p = replace(finder, event_slope=slope, event_offset=offset).honest(np.sort(score))
    assert ((p >= 0) & (p <= 1)).all() and (np.diff(p) >= -1e-15).all()
    np.testing.assert_allclose(replace(finder, event_slope=1.0, event_offset=0.0).honest(score), score, atol=1.1e-6)


@pytest.mark.parametrize("seed", [0.9, 0.2, 0.07])
def test_the_calibrated_threshold_is_served(folder: Path, seed: float) -> None:
    content = read_content(folder)
    assert content.spec.preprocessing["events"].get("seed", 0.5) == 0.5
    served = FlareFinder.of_content(with_calibration(content, seed=seed), "cpu").events
    given = FlareFinder.of_content(with_calibration(content), "cpu").events
    # events that grow no further than their threshold do so at any threshold
    grow = seed if given.grow == given.seed else min(given.grow, seed)
    assert (served.seed, served.grow) == (seed, grow)


def test_an_uncalibrated_network_answers_as_it_learned(project: Any) -> None:
    finder = FlareFinder.of_folder(project.build / "networks/points/0", "cpu")
    assert (float(finder.network.slope), float(finder.network.offset)) == (1.0, 0.0)
    assert (finder.event_slope, finder.event_offset, finder.events.seed) == (1.0, 0.0, 0.5)
    assert not finder.network.training


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def refusal(content: ModelContent) -> str:
    with pytest.raises(RegistryError) as refused:
        FlareFinder.of_content(content, "cpu")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_model_of_another_wing_is_refused(folder: Path) -> None:
    content = read_content(folder)
    foreign = replace(content, spec=content.spec.model_copy(update={"wing": "periods"}))
    assert refusal(foreign) == "this model belongs to the wing 'periods', not to 'flares'"


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"slope": float("nan")}, "'slope' must be a finite number, not nan"),
        ({"offset": float("inf")}, "'offset' must be a finite number, not inf"),
        ({"event_offset": "0.5"}, "'event_offset' must be a finite number, not '0.5'"),
        ({"slope": True}, "'slope' must be a finite number, not True"),
        ({"event_slope": None}, "'event_slope' must be a finite number, not None"),
        ({"slope": 0.0}, "'slope' must be a positive number, not 0.0"),
        ({"event_slope": -1.0}, "'event_slope' must be a positive number, not -1.0"),
        ({"seed": 0.0}, "'seed' must be between 0 and 1, not 0.0"),
        ({"seed": 1}, "'seed' must be between 0 and 1, not 1"),
        ({"seed": float("nan")}, "'seed' must be a finite number, not nan"),
    ],
)
def test_a_calibration_that_is_none_is_refused(folder: Path, numbers: dict[str, Any], sentence: str) -> None:
    content = read_content(folder)
    assert refusal(with_calibration(content, **numbers)) == f"model.json: calibration: {sentence}"


def drop(tensors: dict[str, Any], key: str) -> None:
    del tensors[key]


def widen(tensors: dict[str, Any], key: str) -> None:
    tensors[key] = np.concatenate([tensors[key]] * 2)


def rename(tensors: dict[str, Any], key: str) -> None:
    tensors[f"{key}2"] = tensors.pop(key)


@pytest.mark.parametrize("spoil", [drop, widen, rename, lambda tensors, key: tensors.clear()])
def test_weights_that_do_not_fit_are_refused(folder: Path, spoil: Callable[[dict[str, Any], str], None]) -> None:
    content = read_content(folder)
    tensors = dict(content.tensors)
    spoil(tensors, min(tensors))
    assert refusal(replace(content, tensors=tensors)).startswith("the weights do not fit the architecture: ")


def test_members_of_another_number_are_refused(project: Any) -> None:
    content = read_content(project.build / "calibrated/points")
    first = {name: tensor for name, tensor in content.tensors.items() if name.startswith("members.0.")}
    alone = FlareFinder.of_content(replace(content, tensors=first), "cpu").network.network
    assert len(alone.parts) == 1
    moved = {name.replace("members.0.", "members.3."): tensor for name, tensor in first.items()}
    assert refusal(replace(content, tensors=moved)).startswith("the weights do not fit the architecture: ")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("orbits", {"gap_days": -1.0}, "orbits: 'gap_days'"),
        ("orbits", {"gap": 1.0}, "orbits: key 'gap' does not exist"),
        ("events", {"seed": 0.1, "grow": 0.5}, "events: grow must not be above seed"),
        ("events", {"peak": "top"}, "events: 'peak'"),
        ("survey", {}, "survey: "),
    ],
)
def test_a_preprocessing_that_is_none_is_refused(folder: Path, key: str, value: Any, words: str) -> None:
    content = read_content(folder)
    changed = content.spec.preprocessing | {key: value}
    spec = content.spec.model_copy(update={"preprocessing": changed})
    assert refusal(replace(content, spec=spec)).startswith(f"model.json: {words}")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (None, "the trunk 'points' needs a representation to read"),
        ({"version": 2}, "representation: 'version'"),
        ({"hours": []}, "representation: 'hours'"),
        ({"hours": [12.0]}, "the weights do not fit the architecture"),
    ],
)
def test_a_representation_that_the_network_cannot_read_is_refused(project: Any, shown: Any, words: str) -> None:
    content = read_content(project.build / "calibrated/points")
    changed = {name: value for name, value in content.spec.preprocessing.items() if name != "representation"}
    changed |= {} if shown is None else {"representation": shown}
    assert words in refusal(replace(content, spec=content.spec.model_copy(update={"preprocessing": changed})))


def test_a_network_of_windows_takes_no_representation(project: Any) -> None:
    content = read_content(project.build / "calibrated/windows")
    changed = content.spec.preprocessing | {"representation": {}}
    sentence = refusal(replace(content, spec=content.spec.model_copy(update={"preprocessing": changed})))
    assert sentence == "model.json: the trunk 'window' reads the flux as it is, and takes no representation"


@pytest.mark.parametrize("settings", [{}, {"trunk": "axis"}, {"trunk": "points", "filters": []}, {"trunk": ["points"]}])
def test_an_architecture_that_is_none_is_refused(folder: Path, settings: dict[str, Any]) -> None:
    content = read_content(folder)
    other = content.spec.architecture.model_copy(update={"settings": settings})
    sentence = refusal(replace(content, spec=content.spec.model_copy(update={"architecture": other})))
    assert sentence.startswith("model.json: architecture: ")


def test_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    """Whatever is wrong with them, in one sentence that names the file."""

    def try_with(damage: Callable[[Path], object]) -> str:
        write_content(tmp_path / "model", read_content(folder))
        damage(tmp_path / "model")
        with pytest.raises(VaristarError) as refused:
            FlareFinder.of_folder(tmp_path / "model", "cpu")
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def shorten(model: Path) -> None:
        weights = model / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-5])

    def without_wing(model: Path) -> None:
        spec = json.loads((model / "model.json").read_text())
        (model / "model.json").write_text(json.dumps({name: spec[name] for name in spec if name != "wing"}))

    def lose_a_layer(model: Path) -> None:
        tensors = load_file(model / "weights.safetensors")
        tensors.pop(max(tensors))
        save_file(tensors, model / "weights.safetensors")

    assert "weights.safetensors: not a safetensors file" in try_with(shorten)
    assert "model.json: 'wing'" in try_with(without_wing)
    assert "model.json: " in try_with(lambda model: (model / "model.json").write_text("[1"))
    assert "the weights do not fit the architecture" in try_with(lose_a_layer)
    assert "refusing 'weights.pkl'" in try_with(lambda model: (model / "weights.pkl").write_bytes(b""))
    assert "'weights.safetensors' is missing" in try_with(lambda model: (model / "weights.safetensors").unlink())


# ---------------------------------------------------------------------------------------------------------------------
# What the registry packages


def test_the_packaged_network_is_the_served_one(folder: Path) -> None:
    network, example = served_network(read_content(folder))
    assert isinstance(network, CalibratedFlareNetwork) and not network.training
    assert (example.dtype, len(example)) == (np.float32, 2)
    if folder.name == "windows":
        assert example.shape == (2, WINDOW)
    with torch.inference_mode():
        p = network(torch.from_numpy(example)).numpy()
    assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()
    served = FlareFinder.of_folder(folder, "cpu").network
    with torch.inference_mode():
        np.testing.assert_array_equal(served(torch.from_numpy(example)).numpy(), p)
