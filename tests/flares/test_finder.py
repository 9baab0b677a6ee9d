"""What is served is what was calibrated, from the same two files to the same bits; what is not a model is refused."""

import json
import math
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
from varistar.flares.events import EventSettings, find_events
from varistar.flares.examples import ExampleSettings
from varistar.flares.finder import CLOSE, EventRule, FlareFinder, served_network
from varistar.flares.network import WINDOW, CalibratedFlareNetwork, Ensemble
from varistar.flares.orbits import Orbit, bin_orbit
from varistar.flares.representation import make_points
from varistar.flares.score import score_windows
from varistar.flares.stars import read_orbits
from varistar.flares.windows import WindowSettings
from varistar.foundation.errors import RegistryError, VaristarError
from varistar.foundation.params import read_section

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


def with_preprocessing(content: ModelContent, **values: Any) -> ModelContent:
    given = content.spec.preprocessing | values
    return replace(content, spec=content.spec.model_copy(update={"preprocessing": given}))


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


def test_windows_are_closed_over_as_many_lost_cadences_as_those_learned_from(
    project: Any, stars: list[tuple[str, list[Orbit]]]
) -> None:
    content = read_content(project.build / "calibrated/windows")
    learned = read_section(project.root, "flares.examples", ExampleSettings).windows.close
    assert content.spec.preprocessing["close"] == learned == WindowSettings().close == CLOSE
    (_, (orbit, *_)), *_ = stars
    lost = replace(orbit, flux=np.where(np.arange(len(orbit)) % 500 < 3, np.nan, orbit.flux))
    for close, answered in ((2, False), (3, True)):
        finder = FlareFinder.of_content(with_preprocessing(content, close=close), "cpu")
        (score,) = finder.scores([lost])
        np.testing.assert_array_equal(score, score_windows(finder.network, lost, close))
        assert np.isfinite(score[1005:1095]).any() == answered


@pytest.mark.parametrize("close", [-1, 2.5, True, "7", None])
def test_a_content_that_closes_over_no_number_of_cadences_is_refused(project: Any, close: Any) -> None:
    content = with_preprocessing(read_content(project.build / "calibrated/windows"), close=close)
    with pytest.raises(RegistryError, match=r"model\.json: preprocessing: 'close' must be a number of cadences, not"):
        FlareFinder.of_content(content, "cpu")


def test_events_are_those_of_the_scores_with_an_honest_p(folder: Path, stars: list[tuple[str, list[Orbit]]]) -> None:
    finder = FlareFinder.of_folder(folder, "cpu")
    (rule, *_) = finder.rules.values()
    low = finder.rules | {2.0: rule._replace(events=rule.events.model_copy(update={"seed": 0.1, "grow": 0.05}))}
    finder = replace(finder, rules=low)
    found = 0
    for star_id, orbits in stars:
        scores = finder.scores(orbits)
        events = finder.find(star_id, orbits)
        expected = find_events(orbits, scores, low[2.0].events, star_id)
        assert events.drop("score", "p").equals(expected.drop("p"))
        assert events["score"].equals(expected["p"].alias("score"))
        np.testing.assert_array_equal(events["p"], rule.honest(expected["p"].to_numpy()))
        assert finder.find(star_id, orbits, scores).equals(events)
        found += events.height
        higher = find_events(orbits, scores, low[2.0].events.at(0.3), star_id)
        assert finder.find(star_id, orbits, scores, 0.3).drop("score", "p").equals(higher.drop("p"))
    assert found > 3
    assert finder.find("nobody", []).schema == events.schema


def test_each_orbit_is_judged_by_the_rule_of_the_nearest_cadence(
    project: Any, stars: list[tuple[str, list[Orbit]]]
) -> None:
    """A star of two cadences has the events that each of its orbits has alone."""
    finder = FlareFinder.of_folder(project.build / "calibrated/points", "cpu")
    assert list(finder.rules) == [2.0, 4.0, 10.0, 30.0]
    seeds = {2.0: 0.3, 4.0: 0.4, 10.0: 0.2, 30.0: 0.1}
    finder = replace(
        finder,
        rules={minutes: EventRule(EventSettings().at(seed), 1.0 + seed, seed) for minutes, seed in seeds.items()},
    )
    for size, minutes in ((1, 2.0), (2, 4.0), (3, 4.0), (4, 10.0), (8, 10.0), (9, 30.0), (15, 30.0), (20, 30.0)):
        assert finder.nearest(bin_orbit(stars[0][1][0], size)) == minutes, size
    found = 0
    for star_id, orbits in stars:
        mixed = [bin_orbit(orbit, size) for orbit, size in zip(orbits, (15, 1), strict=False)]
        events = finder.find(star_id, mixed)
        assert events["orbit"].is_sorted()
        for number, orbit in enumerate(mixed):
            alone = finder.find(star_id, [orbit])
            rule = finder.rules[30.0 if number == 0 else 2.0]
            expected = find_events([orbit], finder.scores([orbit]), rule.events, star_id)
            np.testing.assert_array_equal(alone["p"], rule.honest(expected["p"].to_numpy()))
            mine = events.filter(events["orbit"] == number)
            assert mine.drop("orbit").equals(alone.drop("orbit"))
            found += mine.height
    assert found > 3


@pytest.mark.parametrize(
    ("minutes", "served"),
    [
        (1 / 3, 2.0),
        (0.98, 1.96),
        (2.0, 2.0),
        (25 / 60, 25 / 12),
        (10 / 3, 10 / 3),
        (29.4, 29.4),
        (32.9, 32.9),
        (34, None),
    ],
)
def test_shorter_exposures_are_joined_and_longer_ones_not_searched(
    project: Any, minutes: float, served: float | None
) -> None:
    finder = FlareFinder.of_folder(project.build / "calibrated/points", "cpu")
    orbit = white_orbit(3000, minutes)
    prepared = finder.prepare([orbit])
    assert [1440 * one.cadence for one in prepared] == pytest.approx([] if served is None else [served])
    if served == minutes:
        assert prepared[0] is orbit
    alone = FlareFinder.of_folder(project.build / "calibrated/windows", "cpu")
    expected = [] if served is None or served > 2.2 else [served]
    assert [1440 * one.cadence for one in alone.prepare([orbit])] == pytest.approx(expected)


def test_too_little_is_left_of_a_short_orbit_of_short_exposures(project: Any) -> None:
    finder = FlareFinder.of_folder(project.build / "calibrated/points", "cpu")
    assert finder.orbits.min_cadences == 200
    assert len(finder.prepare([white_orbit(1200, 1 / 3), white_orbit(1199, 1 / 3), white_orbit(200, 2.0)])) == 2


def white_orbit(m: int, minutes: float) -> Orbit:
    flux = 1.0 + 0.01 * np.random.default_rng(0).standard_normal(m)
    return Orbit(minutes / 1440 * np.arange(m), flux, np.full(m, 0.01), np.arange(m), minutes / 1440)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30).map(np.array),
    st.floats(0.01, 20.0),
    st.floats(-20.0, 20.0),
)
def test_the_p_of_events_rises_with_their_score(project: Any, score: np.ndarray, slope: float, offset: float) -> None:
    finder = FlareFinder.of_folder(project.build / "calibrated/windows", "cpu")
    rule = finder.rules[2.0]
    p = rule._replace(slope=slope, offset=offset).honest(np.sort(score))
    assert ((p >= 0) & (p <= 1)).all() and (np.diff(p) >= -1e-15).all()
    np.testing.assert_allclose(rule._replace(slope=1.0, offset=0.0).honest(score), score, atol=1.1e-6)


@pytest.mark.parametrize("seed", [0.9, 0.2, 0.07])
def test_the_calibrated_threshold_is_served(folder: Path, seed: float) -> None:
    content = read_content(folder)
    assert content.spec.preprocessing["events"].get("seed", 0.5) == 0.5
    numbers = {"seed": seed, "seed@30": 0.5 * seed, "event_offset@30": 1.5}
    served = FlareFinder.of_content(with_calibration(content, **numbers), "cpu").rules
    given = FlareFinder.of_content(with_calibration(content), "cpu").rules
    assert served.keys() == given.keys()
    for minutes, rule in served.items():
        its_seed = {2.0: seed, 30.0: 0.5 * seed}.get(minutes, 0.5)
        # events that grow no further than their threshold do so at any threshold
        before = given[minutes].events
        grow = its_seed if before.grow == before.seed else min(before.grow, its_seed)
        assert (rule.events.seed, rule.events.grow) == (its_seed, grow)
        assert (rule.slope, rule.offset) == (1.0, 1.5 if minutes == 30.0 else 0.0)


def test_a_network_that_does_not_say_its_cadences_knows_two_minutes(folder: Path) -> None:
    content = read_content(folder)
    before = {name: value for name, value in content.spec.preprocessing.items() if name != "cadences"}
    finder = FlareFinder.of_content(
        replace(content, spec=content.spec.model_copy(update={"preprocessing": before})), "cpu"
    )
    assert list(finder.rules) == [2.0]


def test_an_uncalibrated_network_answers_as_it_learned(project: Any) -> None:
    finder = FlareFinder.of_folder(project.build / "networks/points/0", "cpu")
    assert (float(finder.network.slope), float(finder.network.offset)) == (1.0, 0.0)
    for rule in finder.rules.values():
        assert (rule.slope, rule.offset, rule.events.seed) == (1.0, 0.0, 0.5)
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
        ({"seed@30": 1.5}, "'seed@30' must be between 0 and 1, not 1.5"),
        ({"event_slope@30": 0.0}, "'event_slope@30' must be a positive number, not 0.0"),
    ],
)
def test_a_calibration_that_is_none_is_refused(folder: Path, numbers: dict[str, Any], sentence: str) -> None:
    content = read_content(folder)
    if "@" in sentence and folder.name == "windows":
        pytest.skip("the network of windows knows one cadence")
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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    content = read_content(folder)
    name = min(content.tensors)
    spoilt = np.array(content.tensors[name])
    spoilt.flat[-1] = value
    assert refusal(replace(content, tensors=content.tensors | {name: spoilt})) == (
        f"the weights '{name}' are not all finite numbers"
    )


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
        ("cadences", [], "preprocessing: 'cadences'"),
        ("cadences", [2.0, -1.0], "preprocessing: 'cadences"),
        ("events", {"seed": 1.0}, "events: 'seed'"),
        ("events", {"seed": 0.0, "grow": 0.0}, "events: 'seed'"),
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
