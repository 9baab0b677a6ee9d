"""Which cadences are a flare, and where its peak is."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.flares.events import (
    ACCEPT_PRESETS,
    CHECKS,
    EVENTS,
    PRESETS,
    AcceptSettings,
    EventSettings,
    accept,
    events_of_runs,
    find_events,
)
from varistar.flares.orbits import Orbit
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate

CADENCE = 2.0 / 1440.0


def an_orbit(flux: Sequence[float] | np.ndarray, start: float = 1500.0) -> Orbit:
    values = np.asarray(flux, dtype=np.float64)
    time = start + CADENCE * np.arange(len(values))
    return Orbit(time, values, np.full(len(values), 0.001), np.arange(len(values)), CADENCE)


def found(score: Sequence[float], flux: Sequence[float] | None = None, **settings: object) -> list[tuple[int, ...]]:
    """First, last and peak of the events of one orbit."""
    orbit = an_orbit(np.ones(len(score)) if flux is None else flux)
    events = find_events([orbit], [np.array(score, dtype=np.float64)], EventSettings(**settings), "s")  # type: ignore[arg-type]
    return events.select("first", "last", "peak").rows()


def oracle(score: np.ndarray, flux: np.ndarray, settings: EventSettings) -> list[tuple[int, int, int]]:
    """Cadence by cadence: each that is high joins the event before it if what lies between may be bridged."""
    events: list[list[int]] = []
    seen = [not np.isnan(score[i] + flux[i]) for i in range(len(score))]
    for i in range(len(score)):
        if not seen[i] or not score[i] > settings.grow:
            continue
        if events:
            between = range(events[-1][-1] + 1, i)
            low = sum(seen[j] for j in between)
            if low <= settings.bridge_low and len(between) - low <= settings.bridge_masked:
                events[-1].append(i)
                continue
        events.append([i])
    result = []
    for event in events:
        if max(score[event]) > settings.seed and event[-1] - event[0] + 1 >= settings.min_cadences:
            own = [j for j in range(event[0], event[-1] + 1) if seen[j]]
            key = {"flux": lambda j: (flux[j], -j), "score": lambda j: (score[j], flux[j], j)}[settings.peak]
            result += [(part[0], part[-1], max(part, key=key)) for part in cut_by_loops(own, score, flux, settings)]
    return result


def cut_by_loops(own: list[int], score: np.ndarray, flux: np.ndarray, settings: EventSettings) -> list[list[int]]:
    """The deepest of all valleys between two maxima, each with a seed on its side; errors are 0.001."""
    best, deepest = 0, 0.0
    for k in range(1, len(own) - 1):
        parts = own[: k + 1], own[k + 1 :]
        depth = min(max(flux[part]) for part in parts) - flux[own[k]]
        if depth > deepest and all(max(score[part]) > settings.seed for part in parts):
            best, deepest = k, depth
    if settings.split_sigma is None or deepest == 0.0 or deepest < settings.split_sigma * 0.001:
        return [own]
    left, right = own[: best + 1], own[best + 1 :]
    return cut_by_loops(left, score, flux, settings) + cut_by_loops(right, score, flux, settings)


levels = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.9, np.nan])
fluxes = st.sampled_from([0.9, 1.0, 1.1, 1.2, np.nan])


@settings(deadline=None)
@given(
    st.lists(st.tuples(levels, fluxes), min_size=1, max_size=40),
    st.sampled_from([(0.5, 0.5), (0.5, 0.2), (0.2, 0.2)]),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from(["flux", "score"]),
    st.sampled_from([None, 50.0, 150.0]),
)
def test_events_are_those_of_the_oracle_and_share_nothing(cadences, thresholds, masked, low, least, peak, cut):
    score, flux = np.array(cadences).T
    seed, grow = thresholds
    rule = EventSettings(
        seed=seed, grow=grow, bridge_masked=masked, bridge_low=low, min_cadences=least, peak=peak, split_sigma=cut
    )
    events = find_events([an_orbit(flux)], [score], rule, "s")
    assert events.select("first", "last", "peak").rows() == oracle(score, flux, rule)
    assert dict(events.schema) == {name: type_() for name, type_ in EVENTS.items()}
    assert events["peak"].is_unique().all() and (events["first"][1:] > events["last"][:-1]).all()
    assert events["peak"].is_between(events["first"], events["last"]).all()
    for first, last, p in events.select("first", "last", "p").iter_rows():
        inside = score[first : last + 1][np.isfinite(flux[first : last + 1])]
        assert p == np.nanmax(inside)


def test_hysteresis_and_bridges():
    score = [0, 0.3, 0.9, 0.3, 0, 0.3, 0.3, 0, 0.6, np.nan, np.nan, 0.3, 0]
    assert found(score) == [(1, 3, 1), (8, 11, 8)]
    assert found(score, bridge_masked=1) == [(1, 3, 1), (8, 8, 8)]
    assert found(score, bridge_low=1) == [(1, 11, 1)]
    assert found(score, grow=0.5) == [(2, 2, 2), (8, 8, 8)]
    assert found(score, min_cadences=2) == [(1, 3, 1), (8, 11, 8)]


def test_two_maxima_are_two_events_if_the_flux_between_says_so():
    score, flux = np.full(9, 0.9), np.array([1.0, 1.1, 1.05, 1.02, 1.028, 1.04, 1.03, 1.02, 1.0])
    assert found(score, flux) == [(0, 3, 1), (4, 8, 5)]  # 0.02 deep, and errors of 0.001
    assert found(score, flux, split_sigma=19.9) == [(0, 3, 1), (4, 8, 5)]
    assert found(score, flux, split_sigma=20.1) == found(score, flux, split_sigma=None) == [(0, 8, 1)]
    score[4:] = 0.4
    assert found(score, flux) == [(0, 8, 1)]  # the second has no seed
    rng = np.random.default_rng(1)
    noise = [found(np.full(200, 0.9), 1.0 + 0.001 * rng.standard_normal(200)) for _ in range(100)]
    assert sum(len(events) > 1 for events in noise) <= 5


def test_an_orbit_without_errors_is_not_cut():
    orbit = an_orbit([1.0, 1.5, 1.0, 1.5, 1.0])
    blind = Orbit(orbit.time, orbit.flux, np.full(5, np.nan), orbit.point, orbit.cadence)
    assert len(find_events([orbit], [np.ones(5)], EventSettings(), "s")) == 2
    assert len(find_events([blind], [np.ones(5)], EventSettings(), "s")) == 1


def test_one_cadence_alone_is_an_event():
    """AMB-57."""
    assert found([0, 0, 0.9, 0, 0]) == [(2, 2, 2)]
    assert found([0.9]) == [(0, 0, 0)]
    assert found([np.nan, np.nan]) == []


def test_the_peak_by_each_rule():
    """The paper: of equal highest scores the highest flux. AMB-52: the highest detrended flux."""
    score, flux = [0, 0.9, 0.9, 0.8, 0], [1.0, 1.1, 1.2, 1.3, 1.5]
    orbit, scores = an_orbit(flux), [np.array(score)]
    assert find_events([orbit], scores, PRESETS["paper"], "s")["peak"].to_list() == [2]
    assert find_events([orbit], scores, PRESETS["ours"], "s")["peak"].to_list() == [3]
    falling = np.array([0.0, 3.0, 2.0, 1.0, 0.0])
    for detrended in ([falling], lambda _: falling):
        events = find_events([orbit], scores, PRESETS["ours"], "s", detrended)
        assert events["peak"].to_list() == [1] and events["tpeak"].to_list() == [orbit.time[1]]


def test_the_paper_asks_for_more_than_half():
    orbit, scores = an_orbit(np.ones(5)), [np.array([0, 0.5, 0, 0.5, 0])]
    assert len(find_events([orbit], scores, PRESETS["paper"], "s")) == 0
    assert len(find_events([orbit], scores, PRESETS["released"], "s")) == 1


def two_groups() -> tuple[Orbit, np.ndarray]:
    """Two flares 30 cadences apart, the second brighter."""
    score, flux = np.zeros(400), np.ones(400)
    score[200:203], flux[200:203] = 0.9, (1.2, 1.1, 1.05)
    score[230:233], flux[230:233] = 0.7, (1.5, 1.3, 1.1)
    return an_orbit(flux), score


def test_the_released_rule_reports_one_peak_twice_and_ours_does_not():
    """AMB-56."""
    orbit, score = two_groups()
    released = find_events([orbit], [score], PRESETS["released"], "s")
    assert released.select("first", "last", "peak", "p").rows() == [(200, 202, 230, 0.7), (230, 232, 230, 0.7)]
    ours = find_events([orbit], [score], PRESETS["ours"], "s")
    assert ours.select("first", "last", "peak", "p").rows() == [(200, 202, 200, 0.9), (230, 232, 230, 0.7)]


def released_oracle(score: np.ndarray, flux: np.ndarray) -> list[int]:
    """Stella's peaks in a light curve without gaps, by loops over the cadences at 0.5 and above."""
    high = [i for i in range(len(score)) if score[i] >= 0.5]
    if len(high) == 1:
        return []
    groups: list[list[int]] = []
    for i in high:
        if groups and i - groups[-1][-1] <= 3:
            groups[-1].append(i)
        else:
            groups.append([i])
    peaks = []
    for group in groups:
        if group[0] < 50:
            region = range(min(group[-1] + 50, len(score)))
        elif group[-1] + 50 > len(score):
            region = range(len(score) - 50, len(score))
        else:
            region = range(group[0] - 50, group[-1] + 50)
        peaks.append(max((i for i in region if score[i] >= 0.5), key=lambda i: (flux[i], -i)))
    return peaks


@pytest.mark.parametrize("seed", range(20))
def test_the_released_rule_is_that_of_the_oracle(seed):
    rng = np.random.default_rng(seed)
    score, flux = rng.choice([0.0, 0.5, 0.9], 300, p=[0.95, 0.025, 0.025]), 1.0 + rng.random(300)
    events = find_events([an_orbit(flux)], [score], PRESETS["released"], "s")
    assert events["peak"].to_list() == released_oracle(score, flux)
    # masked cadences are as if they were not there, and have no scores
    gaps = np.sort(rng.choice(300, 60))
    place = np.delete(np.arange(300 + len(gaps)), gaps + np.arange(len(gaps)))
    wide_score, wide_flux = np.full((2, 300 + len(gaps)), np.nan)
    wide_score[place], wide_flux[place] = score, flux
    wide = find_events([an_orbit(wide_flux)], [wide_score], PRESETS["released"], "s")
    assert wide["peak"].to_list() == place[events["peak"].to_numpy()].tolist()


def test_the_released_rule_loses_a_star_s_only_cadence():
    """AMB-57."""
    orbits, scores = [an_orbit(np.ones(9)), an_orbit(np.ones(9), 1510.0)], [np.zeros(9), np.zeros(9)]
    scores[1][4] = 0.9
    assert len(find_events(orbits, scores, PRESETS["released"], "s")) == 0
    assert find_events(orbits, scores, PRESETS["ours"], "s").select("orbit", "peak").rows() == [(1, 4)]
    scores[0][4] = 0.9
    assert find_events(orbits, scores, PRESETS["released"], "s").select("orbit", "peak").rows() == [(0, 4), (1, 4)]


@pytest.mark.parametrize(
    ("first", "hole", "edge"), [(0, None, True), (1, None, False), (6, None, True), (3, 2, True), (3, 5, True)]
)
def test_an_event_beside_nothing_is_flagged(first, hole, edge):
    score, flux = np.zeros(8), np.ones(8)
    score[first : first + 2] = 0.9
    if hole is not None:
        flux[hole] = np.nan
    events = find_events([an_orbit(flux)], [score], EventSettings(), "s")
    assert events.select("first", "last", "edge").rows() == [(first, first + 1, edge)]


def test_events_that_are_known():
    events = events_of_runs([an_orbit(np.ones(9)), an_orbit(np.ones(9), 1510.0)], [(1, 2, 4, 3)], "s")
    assert events.rows() == [("s", 1, 2, 4, 3, *(1510.0 + CADENCE * np.array([2, 4, 3])), 1.0, False)]
    assert dict(events_of_runs([], [], "s").schema) == dict(events.schema)


def a_flare(**changes: float) -> np.ndarray:
    """Alternating 0.001 about one, and a flare on cadence 200; `c198=1.2` sets cadence 198."""
    flux = 1.0 + 0.001 * (-1.0) ** np.arange(400)
    flux[200:204] = 1.02, 1.012, 1.006, 1.003
    for name, value in changes.items():
        flux[int(name[1:])] = value
    return flux


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, ()),
        ({"c200": 1.004, "c201": 1.003, "c202": 1.002}, ("fails_amplitude",)),
        ({"c201": 1.0005}, ("fails_following",)),
        ({"c202": 1.0005}, ("fails_following",)),
        ({"c199": 1.02}, ("fails_neighbours",)),
        ({"c201": 1.03}, ("fails_neighbours",)),
        ({"c200": 1.0005, "c201": 0.999}, ("fails_sigma", "fails_following", "fails_amplitude")),
        ({"c201": np.nan}, ()),
        ({"c199": np.nan, "c201": np.nan, "c202": np.nan}, ()),
        ({"c200": np.nan}, ("fails_sigma", "fails_neighbours", "fails_amplitude")),
    ],
)
def test_each_check_of_the_paper(changes, failed):
    flux = a_flare(**changes)
    orbit = an_orbit(np.ones(400))
    events = events_of_runs([orbit], [(0, 199, 203, 200)], "s")
    for preset in ("ours", "paper"):
        checked = accept(events, [orbit], lambda _: flux, ACCEPT_PRESETS[preset])
        assert tuple(name for name in CHECKS if checked[name][0]) == failed
        assert checked["accepted"].to_list() == [not failed]
        # a level of zero instead of one says the same
        assert accept(events, [orbit], [flux - 1.0], ACCEPT_PRESETS[preset]).equals(checked)


def test_sigma_is_that_of_the_surroundings_without_the_event():
    flux = a_flare()
    orbit = an_orbit(flux)
    events = events_of_runs([orbit], [(0, 200, 203, 200)], "s")
    sigma = np.std(np.concatenate([flux[100:200], flux[204:304]]))  # its median is 1
    for factor, fails in ((0.999, False), (1.001, True)):
        asked = AcceptSettings(scatter="std", amplitude_sigma=factor * 0.02 / sigma)
        assert accept(events, [orbit], [flux], asked)["fails_sigma"].to_list() == [fails]
    for least, fails in ((0.0199, False), (0.0201, True)):
        asked = AcceptSettings(min_amplitude=least)
        assert accept(events, [orbit], [flux], asked)["fails_amplitude"].to_list() == [fails]
    flux[240:245] = 1.5  # another flare: of 200 cadences five
    assert accept(events, [orbit], [flux], AcceptSettings(scatter="std"))["fails_sigma"].to_list() == [True]
    assert accept(events, [orbit], [flux], AcceptSettings(scatter="mad"))["fails_sigma"].to_list() == [False]


def test_the_release_asks_less_of_a_flare():
    flux = a_flare(c200=1.004, c201=1.003, c202=1.0)
    orbit = an_orbit(flux)
    events = events_of_runs([orbit], [(0, 200, 203, 200)], "s")
    assert accept(events, [orbit], [flux], ACCEPT_PRESETS["released"])["accepted"].to_list() == [True]
    assert accept(events, [orbit], [flux], ACCEPT_PRESETS["paper"])["accepted"].to_list() == [False]


def test_events_without_surroundings_are_not_accepted_and_none_is_no_error():
    orbit = an_orbit([1.0, 1.5, 1.2])
    events = events_of_runs([orbit], [(0, 0, 2, 1)], "s")
    assert accept(events, [orbit], [orbit.flux], AcceptSettings())["accepted"].to_list() == [False]
    empty = accept(events.clear(), [orbit], [orbit.flux], AcceptSettings())
    assert len(empty) == 0 and set(CHECKS) < set(empty.columns)


def test_mistakes_are_told():
    orbit = an_orbit(np.ones(5))
    with pytest.raises(DataError, match=r"scores of star 'TIC 1' must have the shapes of its orbits, \[\(5,\)\]"):
        find_events([orbit], [np.zeros(4)], EventSettings(), "TIC 1")
    with pytest.raises(DataError, match="detrended fluxes of star 's'"):
        find_events([orbit], [np.zeros(5)], EventSettings(), "s", [])
    events = events_of_runs([orbit], [(0, 1, 2, 1)], "TIC 1").with_columns(orbit=1)
    with pytest.raises(DataError, match="event 0 of star 'TIC 1' lies in none of its 1 orbits"):
        accept(events, [orbit], [orbit.flux], AcceptSettings())
    with pytest.raises(ConfigError, match="grow must not be above seed"):
        validate(EventSettings, {"seed": 0.3, "grow": 0.4}, "params.yaml")


@pytest.mark.parametrize("seed", [0.0, 1.0, -0.1, 3.0, math.nan])
def test_a_threshold_is_a_probability(seed):
    with pytest.raises(ValueError, match="seed"):
        EventSettings(seed=seed, grow=0.0)


def test_a_rule_at_another_threshold():
    assert EventSettings(seed=0.5, grow=0.2).at(0.9) == EventSettings(seed=0.9, grow=0.2)
    assert EventSettings(seed=0.5, grow=0.2).at(0.1) == EventSettings(seed=0.1, grow=0.1)
    assert EventSettings(seed=0.5, grow=0.5, bridge_low=2).at(0.9) == EventSettings(seed=0.9, grow=0.9, bridge_low=2)
