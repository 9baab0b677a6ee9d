"""Probabilities that were wrong by a known distortion are put right, and no more false events are served than asked."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from varistar.experiments.calibration import honest_logit
from varistar.experiments.content import ModelContent, content_hash, read_content, write_content
from varistar.experiments.ensemble import gather_members
from varistar.experiments.splits import SplitSettings
from varistar.flares.calibrate import HALVES, SEEDS, _cadences, calibrate, is_true, lowest_threshold
from varistar.flares.events import EVENTS, find_events
from varistar.flares.example_sets import open_examples
from varistar.flares.examples import TruthSettings, cadence_truth
from varistar.flares.finder import FlareFinder
from varistar.flares.inject import searched_days
from varistar.flares.known import KnownStar, at_cadence, read_known
from varistar.flares.orbits import Orbit
from varistar.foundation.errors import DataError
from varistar.foundation.params import read_section

VARIANTS = ("points", "windows")
TRUTH = TruthSettings()


# ---------------------------------------------------------------------------------------------------------------------
# The threshold

scores = st.lists(st.floats(0.0, 1.0), max_size=60).map(np.array)
numbers = st.integers(0, 70)


def threshold(found: np.ndarray, allowed: int) -> float:
    return lowest_threshold(lambda seed: int((found > seed).sum()), allowed)


@settings(deadline=None)
@given(scores, numbers)
def test_no_more_false_events_than_allowed_lie_above_the_threshold(found: np.ndarray, allowed: int) -> None:
    """Unless even the highest threshold lets more through; and a lower one would let too many through."""
    seed = threshold(found, allowed)
    assert SEEDS[0] <= seed <= SEEDS[1]
    if seed < SEEDS[1]:
        assert (found > seed).sum() <= allowed
    if seed > SEEDS[0]:
        assert (found > seed - 1.01 * (SEEDS[1] - SEEDS[0]) / 2**HALVES).sum() > allowed


@settings(deadline=None)
@given(scores, numbers, numbers)
def test_who_allows_more_gets_no_higher_a_threshold(found: np.ndarray, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert threshold(found, high) <= threshold(found, low)
    assert threshold(found, low) <= threshold(np.append(found, 1.0), low)


def test_no_false_events_leave_the_lowest_threshold() -> None:
    assert threshold(np.empty(0), 0) == SEEDS[0]


# ---------------------------------------------------------------------------------------------------------------------
# Which events are flares


def test_an_event_is_a_flare_if_a_flare_brightens_one_of_its_cadences() -> None:
    """Seen or not; but not where cadences are missing, which have no weight either."""
    flux = np.where(np.isin(np.arange(40), [30, 31]), np.nan, 1.0)
    orbit = Orbit(np.arange(40.0), flux, np.ones(40), np.arange(40), 1.0)
    label, weight = np.zeros(40), orbit.good.astype(float)
    label[10:13], weight[20:22] = 1.0, 0.0
    spans = [(0, 9), (8, 10), (11, 11), (12, 15), (13, 19), (18, 20), (22, 25), (29, 32), (0, 39)]
    rows = [{"star_id": "1", "orbit": 1, "first": first, "last": last} for first, last in spans]
    events = pl.DataFrame(rows, schema={name: kind for name, kind in EVENTS.items() if name in rows[0]})
    other = np.zeros((2, 40))
    expected = [False, True, True, True, False, True, False, False, True]
    empty = Orbit(np.arange(40.0), np.full(40, np.nan), np.ones(40), np.arange(40), 1.0)
    assert is_true(events, [empty, orbit], [other, np.stack([label, weight])]).tolist() == expected
    assert is_true(events[:0], [empty, orbit], [other, other]).shape == (0,)


# ---------------------------------------------------------------------------------------------------------------------
# A model's content


@pytest.fixture(params=VARIANTS)
def trained(request: pytest.FixtureRequest, project: Any) -> tuple[str, ModelContent, Path]:
    """A variant's name, its content as training left it, and its examples."""
    name = request.param
    content = gather_members(project.build / "networks" / name, name == "points")
    return name, content, project.build / "examples" / name


@pytest.fixture(scope="module")
def stars(project: Any) -> list[KnownStar]:
    finder = FlareFinder.of_folder(project.build / "calibrated/points", "cpu")
    splits = read_section(project.root, "flares.split", SplitSettings)
    return read_known(project.build / "sectors", finder.orbits, splits, "calibration")


def with_calibration(content: ModelContent, **numbers: float) -> ModelContent:
    return replace(content, spec=content.spec.model_copy(update={"calibration": numbers}))


def test_the_content_gets_its_calibration_and_nothing_else(
    trained: tuple[str, ModelContent, Path], stars: list[KnownStar]
) -> None:
    """Each number again, from the finder as it is served and from the truth."""
    name, content, examples = trained
    allowed = 0.2 if name == "points" else None
    calibrated = calibrate(content, examples, stars, TRUTH, allowed, "cpu")
    numbers = calibrated.spec.calibration
    of_events = ("event_slope", "event_offset", "seed")
    cadences = {2.0: ""} | ({4.0: "@4", 10.0: "@10", 30.0: "@30"} if name == "points" else {})
    assert set(numbers) == {"slope", "offset"} | {f"{key}{end}" for key in of_events for end in cadences.values()}
    found = open_examples([examples], "calibration")
    network = FlareFinder.of_content(content, "cpu").network.network
    with torch.inference_mode():
        p = expit(network(torch.from_numpy(found.gather(np.arange(len(found))))).numpy().astype(np.float64))
    counts = np.ones(p.shape, bool) if name == "windows" else found.targets[:, 1] > 0
    truth = found.targets if name == "windows" else found.targets[:, 0]
    assert [numbers["slope"], numbers["offset"]] == pytest.approx(
        honest_logit(p[counts], truth[counts] > 0.5), rel=1e-3
    )

    finder = FlareFinder.of_content(with_calibration(content, slope=numbers["slope"], offset=numbers["offset"]), "cpu")
    rule = finder.rules[2.0].events
    for minutes, end in cadences.items():
        seen = [at_cadence(star, minutes) for star in stars]
        score, is_flare = found_at(SEEDS[0], finder, seen)
        assert is_flare.any() and not is_flare.all()
        honest = honest_logit(score, is_flare)
        assert (numbers[f"event_slope{end}"], numbers[f"event_offset{end}"]) == honest
        seed = numbers[f"seed{end}"]
        if allowed:  # as many false events as are allowed, under the very rule that is served
            days = sum(searched_days(star.orbits) for star in seen)
            served = FlareFinder.of_content(calibrated, "cpu")
            assert served.rules[minutes].events == rule.at(seed)
            wrong = [false_events_of(served, star) for star in seen]
            assert sum(wrong) <= math.floor(allowed * days)
            assert seed == SEEDS[0] or (~found_at(seed - 1e-4, finder, seen)[1]).sum() > math.floor(allowed * days)
        else:  # the threshold on uncalibrated scores, where it has gone
            served_p = finder.network.probability(torch.logit(torch.tensor(rule.seed, dtype=torch.float64)))
            assert seed == pytest.approx(float(served_p.clip(*SEEDS)), rel=1e-6)

    assert calibrated.spec.model_copy(update={"calibration": {}}) == content.spec
    assert content.spec.calibration == {}
    assert calibrated.tensors is content.tensors


def found_at(seed: float, finder: FlareFinder, stars: list[KnownStar]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the events, and which are flares, under the rule of two minutes at another threshold."""
    score, is_flare = [], []
    for star in stars:
        events = find_events(star.orbits, finder.scores(star.orbits), finder.rules[2.0].events.at(seed), star.star_id)
        truth = [cadence_truth(one, star.labels, TRUTH) for one in star.orbits]
        score += events["p"].to_list()
        is_flare += is_true(events, star.orbits, truth).tolist()
    return np.array(score), np.array(is_flare)


def false_events_of(finder: FlareFinder, star: KnownStar) -> int:
    """How many of the events that are served are no flares."""
    truth = [cadence_truth(one, star.labels, TRUTH) for one in star.orbits]
    return int((~is_true(finder.find(star.star_id, star.orbits), star.orbits, truth)).sum())


def test_calibrating_again_gives_the_same(trained: tuple[str, ModelContent, Path], stars: list[KnownStar]) -> None:
    """Whatever the content's numbers were before."""
    _, content, examples = trained
    once = calibrate(content, examples, stars[:2], TRUTH, 0.2, "cpu").spec
    before = with_calibration(content, slope=3.0, offset=-1.0, event_slope=0.5, event_offset=2.0, seed=0.02)
    assert calibrate(before, examples, stars[:2], TRUTH, 0.2, "cpu").spec == once


def test_a_known_distortion_of_the_network_is_undone(project: Any) -> None:
    """Flares are drawn as they would be if the network were wrong by a slope and an offset, then its last layer is made
    more sure of itself; both are found, within standard errors by the inverse of the Fisher information."""
    content, examples = read_content(project.build / "networks/points/0"), project.build / "examples/points"
    slope, offset, surer = 1.6, 3.0, 1.25
    tensors = {name: surer * value if name.startswith("last.") else value for name, value in content.tensors.items()}
    p, sure = (
        _cadences(FlareFinder.of_content(replace(content, tensors=each), "cpu"), examples)[0].astype(np.float64)
        for each in (content.tensors, tensors)
    )
    x = logit(np.clip(p, 1e-6, 1 - 1e-6))
    honest, design = expit(slope * x + offset), np.stack([x, np.ones(len(x))])
    flares = np.random.default_rng(1).random(len(p)) < honest
    errors = np.sqrt(np.diag(np.linalg.inv((design * honest * (1 - honest)) @ design.T)))
    assert (np.abs(np.array(honest_logit(p, flares)) - [slope, offset]) < 4 * errors).all()
    twisted = honest_logit(sure, flares)
    assert (np.abs(np.array([surer * twisted[0], twisted[1]]) - [slope, offset]) < 4 * errors).all()


@pytest.mark.parametrize("batch", [1, 7, 10**6])
def test_the_batches_change_nothing(
    trained: tuple[str, ModelContent, Path], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content, examples = trained
    finder = FlareFinder.of_content(content, "cpu")
    p, truth = _cadences(finder, examples)
    monkeypatch.setattr("varistar.flares.calibrate.BATCH", batch)
    again, same = _cadences(finder, examples)
    np.testing.assert_allclose(again, p, rtol=1e-4)
    np.testing.assert_array_equal(truth, same)


def test_the_stage_wrote_the_calibrated_content(
    trained: tuple[str, ModelContent, Path], stars: list[KnownStar], project: Any, tmp_path: Path
) -> None:
    name, content, examples = trained
    allowed = project.params["flares"]["variants"][name].get("false_per_day", 0.01)
    again = write_content(tmp_path / "again", calibrate(content, examples, stars, TRUTH, allowed, "cpu"))
    assert content_hash(project.build / "calibrated" / name) == again


def test_stars_without_orbits_cannot_calibrate(trained: tuple[str, ModelContent, Path], stars: list[KnownStar]) -> None:
    _, content, examples = trained
    for none in ([], [star._replace(orbits=[]) for star in stars]):
        with pytest.raises(DataError, match=r"no star is left to calibrate on; give the split a fraction under flares"):
            calibrate(content, examples, none, TRUTH, 0.01, "cpu")
