"""Windows are whole, flares stand at their centre, and those without a flare keep away from every one."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.flares.labels import LABELS, read_guenther
from varistar.flares.network import WindowNetwork
from varistar.flares.network_settings import WindowSettings as NetworkSettings
from varistar.flares.orbits import Orbit, OrbitSettings, split_orbits
from varistar.flares.score import score_windows
from varistar.flares.windows import (
    INDEX,
    WindowSettings,
    candidate_windows,
    class_shares,
    cut_windows,
    draw_limit,
    draw_windows,
    place_labels,
    training_windows,
)
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate

CADENCE = 1.0 / 720.0
SMALL = WindowSettings(length=10, close=0, clearance=8, faint_clearance=3, strides=(10, 5, 1))


def make_orbit(start: float, n: int, lost: Sequence[int] = (), seed: int = 0) -> Orbit:
    """An orbit of `n` cadences of noise, no two of one flux."""
    flux = 1.0 + 0.001 * np.random.default_rng([seed, n]).standard_normal(n)
    flux[list(lost)] = np.nan
    time = start + CADENCE * np.arange(n, dtype=np.float64)
    return Orbit(time, flux, np.full(n, 0.001), np.arange(n), CADENCE)


def make_labels(*rows: Mapping[str, Any], star_id: str = "a") -> pl.DataFrame:
    """LABELS of one star."""
    return pl.DataFrame(
        [{**dict.fromkeys(LABELS), "star_id": star_id, "source": "made up", **row} for row in rows], LABELS
    )


def at(orbit: Orbit, cadence: float, **more: Any) -> dict[str, Any]:
    """A label at this cadence."""
    return {"tpeak": float(orbit.time[0] + CADENCE * cadence), "amplitude": 0.1, **more}


def others(index: pl.DataFrame) -> list[tuple[int, int]]:
    """Where windows without a flare are centred."""
    return index.filter(pl.col("label") == 0).select("orbit", "centre").rows()


@st.composite
def stars(draw: st.DrawFn) -> tuple[list[Orbit], pl.DataFrame, WindowSettings]:
    """Up to three orbits a day apart with lost cadences, and labels of every faintness in and between them."""
    orbits = [
        make_orbit(10.0 + i, n, draw(st.lists(st.integers(0, n - 1), max_size=4)))
        for i, n in enumerate(draw(st.lists(st.integers(1, 90), min_size=1, max_size=3)))
    ]
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        orbit, cadence = draw(st.sampled_from(orbits)), draw(st.integers(-20, 110)) + draw(st.floats(-0.4, 0.4))
        snr = draw(st.sampled_from([None, 0.5, 1.0, 2.0, 3.0, 50.0]))
        rows.append(at(orbit, cadence, peak_snr=snr, amplitude=draw(st.sampled_from([None, 0.1, 0.2]))))
    chosen = WindowSettings(
        length=draw(st.integers(2, 12)),
        close=draw(st.sampled_from([0, 1, 3])),
        clearance=draw(st.integers(0, 12)),
        faint_clearance=draw(st.integers(0, 6)),
        tolerance_days=CADENCE,
        recentre=draw(st.integers(0, 3)),
        estimate_snr=draw(st.booleans()),
        strides=draw(st.sampled_from([(12,), (12, 6, 1), (1,)])),
    )
    return orbits, make_labels(*rows), chosen


@settings(deadline=None, max_examples=150)
@given(stars())
def test_candidates_against_a_search_cadence_by_cadence(case: tuple[list[Orbit], pl.DataFrame, WindowSettings]) -> None:
    orbits, labels, chosen = case
    flares, free = by_hand(orbits, labels, chosen)
    index = candidate_windows("a", orbits, labels, chosen)
    assert dict(index.schema) == INDEX
    found = index.filter(pl.col("label") == 1)
    assert set(found.select("orbit", "centre").rows()) == flares and found.height == len(flares)
    drawn = others(index)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= free
    if chosen.strides[-1] == 1:
        assert set(drawn) == free, "the finest grid is every cadence"
    coarsest = set(others(index.filter(pl.col("draw") < 1)))
    for stretch in stretches(free, orbits):
        on_coarsest = [rank for rank, place in enumerate(stretch) if place in coarsest]
        assert on_coarsest, "no stretch without a window"
        assert all(b - a == chosen.strides[0] for a, b in pairwise(on_coarsest)), "lost cadences do not count"
        assert max(on_coarsest[0], len(stretch) - 1 - on_coarsest[-1]) < chosen.strides[0]


def by_hand(
    orbits: list[Orbit], labels: pl.DataFrame, chosen: WindowSettings
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The centres of windows of flares, and all centres of windows without a flare that are allowed."""
    every = [(i, c) for i, orbit in enumerate(orbits) for c in range(len(orbit))]
    good = [(i, c) for i, c in every if np.isfinite(orbits[i].flux[c])]
    whole = {(i, c) for i, c in good if window_by_hand(orbits[i], c, chosen)}
    flares, blocked = set(), set()
    for row in labels.iter_rows(named=True):
        snr = row["peak_snr"]
        errors = np.concatenate([orbit.flux_err for orbit in orbits])
        if snr is None and chosen.estimate_snr and row["amplitude"] is not None:
            snr = row["amplitude"] / np.median(errors)
        if snr is not None and snr < chosen.faint_snr:
            continue
        faint = snr is not None and snr < chosen.flare_snr
        times = [row["tpeak"]]
        near = sorted(good, key=lambda place: (abs(orbits[place[0]].time[place[1]] - row["tpeak"]), place))[:1]
        for i, c in near:
            if abs(orbits[i].time[c] - row["tpeak"]) > chosen.tolerance_days:
                continue
            steps = sorted(range(-chosen.recentre, chosen.recentre + 1), key=abs)
            around = [c + step for step in steps if 0 <= c + step < len(orbits[i])]
            c = max(around, key=lambda k: np.nan_to_num(orbits[i].flux[k], nan=-np.inf))
            times.append(orbits[i].time[c])
            if not faint and (i, c) in whole:
                flares.add((i, c))
        reach = CADENCE * (chosen.faint_clearance if faint else chosen.clearance)
        for j, k in every:
            if min(times) - reach < orbits[j].time[k] < max(times) + reach:
                blocked.add((j, k))
    return flares, whole - blocked


def window_by_hand(orbit: Orbit, centre: int, chosen: WindowSettings) -> list[int]:
    """The cadences of a window: from its centre one after the other, past no more lost ones than may be; or none."""
    found = [centre]
    for step, wanted in ((-1, chosen.length // 2), (1, chosen.length - chosen.length // 2 - 1)):
        k, lost = centre, 0
        while wanted:
            k += step
            if not 0 <= k < len(orbit) or lost > chosen.close:
                return []
            if np.isnan(orbit.flux[k]):
                lost += 1
            else:
                found.append(k)
                wanted, lost = wanted - 1, 0
    return sorted(found)


def stretches(free: set[tuple[int, int]], orbits: Sequence[Orbit]) -> list[list[tuple[int, int]]]:
    """Neighbours among the cadences that are not lost, together."""
    found: list[list[tuple[int, int]]] = []
    for i, orbit in enumerate(orbits):
        together = False
        for c in np.flatnonzero(orbit.good).tolist():
            if (i, c) not in free:
                together = False
            elif together:
                found[-1].append((i, c))
            else:
                found.append([(i, c)])
                together = True
    return found


def test_the_defaults_are_the_papers() -> None:
    """200 cadences with the flare at cadence 100, the others at least 100 away."""
    orbit = make_orbit(10.0, 5000)
    peaks = [700.3, 1500.0, 4000.0]
    windows, index = training_windows(
        {"a": [orbit]}, make_labels(*(at(orbit, peak) for peak in peaks)), WindowSettings()
    )
    flares = (index["label"] == 1).to_numpy()
    assert windows.shape == (13, 200) and windows.dtype == np.float32
    assert index.filter(flares)["centre"].to_list() == [700, 1500, 4000]
    assert windows[flares][:, 100].tolist() == orbit.flux[[700, 1500, 4000]].astype(np.float32).tolist()
    away = np.abs(index.filter(~flares)["centre"].to_numpy()[:, None] - np.array(peaks)).min()
    assert away >= 100


def test_what_becomes_of_each_label() -> None:
    orbit = make_orbit(10.0, 300, lost=[200])
    placed = place_labels(
        [orbit],
        make_labels(
            at(orbit, 100.4, peak_snr=3.0),
            at(orbit, 120, peak_snr=2.9),
            at(orbit, 130, peak_snr=0.9),
            at(orbit, 400),
            at(orbit, 205),
            at(orbit, 200.2),
            at(orbit, 4),
            at(orbit, 100, amplitude=0.05, peak_snr=9.0),
            at(orbit, 100, amplitude=None, peak_snr=9.0),
            {"tstart": 10.01, "tstop": 10.02},
        ),
        SMALL,
    )
    assert placed["use"].to_list() == [
        "flare", "faint", "noise", "outside", "incomplete", "incomplete", "incomplete", "same cadence", "same cadence",
        "outside",
    ]  # fmt: skip
    assert placed["centre"].to_list() == [100, 120, 130, None, 205, 201, 4, 100, 100, None]
    assert placed["orbit"].to_list() == [0, 0, 0, None, 0, 0, 0, 0, 0, None]


@pytest.mark.parametrize(("close", "uses"), [(2, ["incomplete"] * 3), (3, ["flare", "flare", "same cadence"])])
def test_a_label_on_a_lost_cadence_is_placed_beside_it(close: int, uses: list[str]) -> None:
    orbit = make_orbit(10.0, 300, lost=[200, 201, 202])
    labels = make_labels(*(at(orbit, c, amplitude=height) for c, height in ((200.2, 0.2), (202.4, 0.2), (199, 0.1))))
    placed = place_labels([orbit], labels, SMALL.model_copy(update={"close": close}))
    assert placed["centre"].to_list() == [199, 203, 199]
    assert placed["use"].to_list() == uses


def test_without_a_single_cadence_nothing_can_be_placed() -> None:
    orbit = make_orbit(10.0, 30, lost=range(30))
    assert place_labels([orbit], make_labels(at(orbit, 15)), SMALL)["use"].to_list() == ["outside"]
    assert candidate_windows("a", [orbit], make_labels(at(orbit, 15)), SMALL).height == 0


def test_a_label_is_placed_if_a_cadence_is_near_enough() -> None:
    orbit = make_orbit(10.0, 300)
    beyond = make_labels(*({"tpeak": orbit.time[-1] + days} for days in (0.0199, 0.0201)))
    assert place_labels([orbit], beyond, WindowSettings())["use"].to_list() == ["incomplete", "outside"]


@pytest.mark.parametrize(("estimate", "uses"), [(True, ["noise", "faint", "flare"]), (False, ["flare"] * 3)])
def test_an_unknown_signal_to_noise_is_estimated_or_enough(estimate: bool, uses: list[str]) -> None:
    orbit = make_orbit(10.0, 300)
    labels = make_labels(*(at(orbit, 100 + 20 * i, amplitude=height) for i, height in enumerate([5e-4, 2e-3, 4e-3])))
    placed = place_labels([orbit], labels, SMALL.model_copy(update={"estimate_snr": estimate}))
    assert placed["use"].to_list() == uses
    if estimate:
        assert placed["peak_snr"].to_numpy() == pytest.approx([0.5, 2.0, 4.0])
    else:
        assert placed["peak_snr"].null_count() == 3


def test_the_centre_is_the_label_or_the_highest_flux_near_it() -> None:
    orbit = make_orbit(10.0, 300)
    orbit.flux[[103, 104]] = 1.5, 1.7
    labels = make_labels(at(orbit, 100))
    centres = [
        place_labels([orbit], labels, SMALL.model_copy(update={"recentre": reach}))["centre"][0] for reach in (0, 3, 9)
    ]
    assert centres == [100, 103, 104]
    orbit.flux[90:120] = 1.0
    assert place_labels([orbit], labels, SMALL.model_copy(update={"recentre": 3}))["centre"][0] == 100, "of equals"


def test_labels_that_share_their_highest_flux_are_one_window() -> None:
    orbit = make_orbit(10.0, 300)
    orbit.flux[101] = 2.0
    labels = make_labels(at(orbit, 100, amplitude=0.2), at(orbit, 102, amplitude=0.7))
    index = candidate_windows("a", [orbit], labels, SMALL.model_copy(update={"recentre": 1}))
    assert index.filter(pl.col("label") == 1).select("centre", "amplitude").rows() == [(101, 0.7)]


def test_a_flare_does_not_give_way_to_a_faint_one() -> None:
    orbit = make_orbit(10.0, 300)
    labels = make_labels(at(orbit, 100, peak_snr=3.0), at(orbit, 100, amplitude=0.2, peak_snr=2.0))
    assert place_labels([orbit], labels, SMALL)["use"].to_list() == ["flare", "faint"]


def test_noise_is_as_if_it_were_not_there_and_faint_flares_are_avoided() -> None:
    orbit = make_orbit(10.0, 300)
    every = SMALL.model_copy(update={"strides": (1,)})
    nothing = candidate_windows("a", [orbit], make_labels(), every)
    noise = candidate_windows("a", [orbit], make_labels(at(orbit, 100, peak_snr=0.99)), every)
    faint = candidate_windows("a", [orbit], make_labels(at(orbit, 100, peak_snr=1.0)), every)
    flare = candidate_windows("a", [orbit], make_labels(at(orbit, 100, peak_snr=3.0)), every)
    assert noise.equals(nothing)
    missing = [sorted({c for _, c in others(nothing)} - {c for _, c in others(index)}) for index in (faint, flare)]
    assert missing == [list(range(98, 103)), list(range(93, 108))]
    assert [(index["label"] == 1).sum() for index in (nothing, noise, faint, flare)] == [0, 0, 0, 1]


def test_a_flare_keeps_windows_away_from_its_beginning_to_its_end() -> None:
    orbit = make_orbit(10.0, 300)
    bounds = {"tstart": float(orbit.time[90]), "tstop": float(orbit.time[140])}
    every = SMALL.model_copy(update={"strides": (1,)})
    for label in (at(orbit, 100, **bounds), bounds):
        centres = {c for _, c in others(candidate_windows("a", [orbit], make_labels(label), every))}
        assert {c for c in range(20, 280)} - centres == set(range(83, 148))


def test_a_flare_in_the_gap_between_orbits_keeps_windows_away() -> None:
    first, second = make_orbit(10.0, 100), make_orbit(10.0 + CADENCE * 110, 100)
    chosen = SMALL.model_copy(update={"strides": (1,), "clearance": 30, "tolerance_days": CADENCE})
    centres = others(candidate_windows("a", [first, second], make_labels(at(first, 105)), chosen))
    assert max(c for orbit, c in centres if orbit == 0) == 75
    assert min(c for orbit, c in centres if orbit == 1) == 25
    noise = candidate_windows("a", [first, second], make_labels(at(first, 105, peak_snr=0.5)), chosen)
    assert noise.equals(candidate_windows("a", [first, second], make_labels(), chosen))


@pytest.mark.parametrize("close", [0, 1, 2])
def test_windows_are_closed_over_short_gaps_and_reach_over_no_others(close: int) -> None:
    """Flux tells the place, so that it shows what a window is made of."""
    orbits = []
    for i in range(3):
        orbit = make_orbit(10.0 + i, 997, lost=[100, 333, 334, 800])
        orbit.flux[:] = np.where(orbit.good, 10_000.0 * i + np.arange(997), np.nan)
        orbits.append(orbit)
    chosen = WindowSettings(length=50, close=close, strides=(50, 10), flare_fraction=0.01)
    labels = make_labels(*(at(orbits[1], cadence) for cadence in (50, 210, 520)))
    windows, index = training_windows({"a": orbits}, labels, chosen)
    assert len(windows) > 40
    steps = np.diff(windows, axis=1)
    assert set(np.unique(steps)) == set(np.arange(1.0, close + 2.0))
    assert windows[:, 25].tolist() == (10_000.0 * index["orbit"] + index["centre"]).to_list()
    for window, orbit, centre in zip(windows, index["orbit"], index["centre"], strict=True):
        assert (window - 10_000.0 * orbit).tolist() == window_by_hand(orbits[orbit], centre, chosen)


def test_a_window_is_learned_where_the_search_answers() -> None:
    """The rule of the search is written apart; both keep to the published one."""
    rng = np.random.default_rng(4)
    orbit = make_orbit(10.0, 3000, lost=np.flatnonzero(rng.random(3000) < 0.3).tolist() + list(range(2000, 2012)))
    for close in (0, 3, 7):
        chosen = WindowSettings(close=close, strides=(1,), clearance=0)
        learned = candidate_windows("a", [orbit], make_labels(), chosen)["centre"].to_list()
        answered = np.flatnonzero(np.isfinite(score_windows(WindowNetwork(NetworkSettings()).eval(), orbit, close)))
        assert learned == answered.tolist()
    assert len(learned) > 1000


def test_as_many_windows_without_a_flare_as_the_share_leaves() -> None:
    sky = {star: [make_orbit(10.0, 4000, seed=i)] for i, star in enumerate("abc")}
    labels = pl.concat([make_labels(*(at(sky["a"][0], c) for c in (600, 1200, 2000)))])
    for share, expected in ((0.234, 10), (0.5, 3), (0.1, 27)):
        _, index = training_windows(sky, labels, WindowSettings(flare_fraction=share))
        found = class_shares(index)
        assert (found["flares"], found["others"]) == (3, expected)
        assert found["flares_of_all"] == pytest.approx(3 / (3 + expected))
        assert found["flares_per_other"] == pytest.approx(3 / expected)


def test_the_papers_two_fractions() -> None:
    index = pl.DataFrame({"label": [1] * 5389 + [0] * 17684})
    shares = class_shares(index)
    assert shares["flares_of_all"] == pytest.approx(0.2336, abs=5e-5)
    assert shares["flares_per_other"] == pytest.approx(0.3047, abs=5e-5)


def test_windows_overlap_only_where_there_are_too_few() -> None:
    orbit = make_orbit(10.0, 4000)
    labels = make_labels(*(at(orbit, c) for c in (200, 3800)))
    chosen = WindowSettings(length=100, clearance=100, strides=(100, 50, 25))
    candidates = candidate_windows("a", [orbit], labels, chosen)
    coarse = (candidates.filter(pl.col("label") == 0)["draw"] < 1).sum()
    for share in (2 / (2 + coarse), 2 / (2 + coarse + 5), 1e-9):
        drawn = draw_windows(candidates, chosen.model_copy(update={"flare_fraction": share}))
        rest = drawn.filter(pl.col("label") == 0)
        apart = rest["centre"].sort().diff().drop_nulls().min()
        if rest.height == coarse:
            assert apart == 100
        else:
            assert (rest["draw"] < 1).sum() == coarse and apart in (25, 50)
    assert rest.height == (candidates["label"] == 0).sum(), "all there are, if they are too few"


def test_draws_depend_on_the_star_and_the_seed_alone() -> None:
    sky = {star: [make_orbit(10.0, 4000)] for star in ("a", "b", "c")}
    labels = make_labels(*(at(sky["b"][0], c) for c in (600, 1200, 2000)), star_id="b")
    chosen = WindowSettings()
    windows, index = training_windows(sky, labels, chosen)
    reversed_windows, reversed_index = training_windows(dict(reversed(sky.items())), labels.reverse(), chosen)
    assert index.equals(reversed_index) and np.array_equal(windows, reversed_windows)
    own = candidate_windows("b", sky["b"], labels, chosen)
    pool = pl.concat([own, candidate_windows("a", sky["a"], labels.clear(), chosen)])
    two = draw_windows(pool, chosen).filter(pl.col("star_id") == "b")
    three = index.filter(pl.col("star_id") == "b")
    assert three.join(two, on=["orbit", "centre"], how="anti").height == 0, "another star only takes places"
    centres = [
        tuple(others(candidate_windows(star, sky["a"], labels.clear(), WindowSettings(seed=seed))))
        for star, seed in (("a", 88), ("b", 88), ("a", 89))
    ]
    assert len(set(centres)) == 3, "each star and each seed has grids of its own"


def test_every_order_of_candidates_gives_the_same_draw() -> None:
    orbit = make_orbit(10.0, 4000)
    candidates = candidate_windows("a", [orbit], make_labels(at(orbit, 1000)), WindowSettings())
    mixed = candidates.sample(fraction=1.0, shuffle=True, seed=1)
    assert draw_windows(mixed, WindowSettings()).equals(draw_windows(candidates, WindowSettings()))


def test_stars_without_flares_labels_or_orbits() -> None:
    orbit = make_orbit(10.0, 1000)
    windows, index = training_windows({"a": [orbit], "empty": []}, make_labels(), WindowSettings())
    assert windows.shape == (0, 200) and index.height == 0 and dict(index.schema) == INDEX
    assert np.isnan(class_shares(index)["flares_of_all"])
    lonely = make_labels(at(orbit, 5), star_id="empty")
    assert candidate_windows("empty", [], lonely, WindowSettings()).height == 0
    assert place_labels([], lonely, WindowSettings())["use"].to_list() == ["outside"]
    assert training_windows({}, lonely, WindowSettings())[0].shape == (0, 200)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"star_id": "other"}, r"star other: has no orbit 0"),
        ({"orbit": 1}, r"star a: has no orbit 1"),
        ({"orbit": -1}, r"star a: has no orbit -1"),
        ({"centre": -4}, r"star a: there is no window about cadence -4 of orbit 0"),
        ({"centre": 4}, r"star a: there is no window about cadence 4 of orbit 0"),
        ({"centre": 296}, r"star a: there is no window about cadence 296 of orbit 0"),
        ({"centre": 203}, r"star a: there is no window about cadence 203 of orbit 0"),
    ],
)
def test_an_index_of_other_light_curves_is_refused(change: dict[str, Any], sentence: str) -> None:
    orbit = make_orbit(10.0, 300, lost=[200])
    index = pl.DataFrame([{**dict.fromkeys(INDEX), "star_id": "a", "orbit": 0, "centre": 100, **change}], INDEX)
    with pytest.raises(DataError, match=sentence):
        cut_windows(index, {"a": [orbit]}, SMALL)


@pytest.mark.parametrize("centre", [5, 195, 295])
def test_a_window_may_touch_the_edge(centre: int) -> None:
    orbit = make_orbit(10.0, 300, lost=[200])
    index = pl.DataFrame([{**dict.fromkeys(INDEX), "star_id": "a", "orbit": 0, "centre": centre}], INDEX)
    window = cut_windows(index, {"a": [orbit]}, SMALL)
    assert window[0].tolist() == orbit.flux[centre - 5 : centre + 5].astype(np.float32).tolist()


@given(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=6), st.integers(0, 3))
@settings(deadline=None, max_examples=100)
def test_the_limit_of_the_draw_does_not_depend_on_the_parts(flares: int, sizes: list[int], seed: int) -> None:
    chosen = WindowSettings(flare_fraction=0.4)
    parts = [np.random.default_rng([seed, i]).random(size) for i, size in enumerate(sizes)]
    every = np.sort(np.concatenate([np.empty(0), *parts]))
    limit = draw_limit(flares, iter(parts), chosen)
    assert (every <= limit).sum() == min(round(flares * 1.5), len(every))
    assert limit == draw_limit(flares, [every], chosen)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"faint_snr": 5.0}, r"flares\.windows: faint_snr, 5, must not be above flare_snr, 3"),
        ({"strides": [100, 100]}, r"strides must become smaller, not \(100, 100\)"),
        ({"strides": []}, r"'strides'"),
        ({"length": 1}, r"'length': .*greater than or equal to 2"),
        ({"flare_fraction": 1.0}, r"'flare_fraction'"),
        ({"size": 200}, r"'size' does not exist"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        validate(WindowSettings, values, "flares.windows")


@pytest.mark.realdata
@pytest.mark.parametrize(("close", "found"), [(0, 30), (7, 61)])
def test_windows_of_published_flares_have_their_maximum_at_the_centre(real_data: Path, close: int, found: int) -> None:
    """Half of them have a lost cadence in their window."""
    labels = read_guenther(real_data / "flares" / "Guenther_2020_flare_catalog.txt")
    sky: dict[str, list[Orbit]] = {}
    for path in sorted((real_data / "flares" / "guenther_lc").glob("*.npy")):
        time, flux, error = np.load(path)
        sky[f"TIC {int(path.name[:9])}"] = split_orbits(time, flux, error, None, OrbitSettings())
    windows, index = training_windows(sky, labels, WindowSettings(close=close))
    flares = (index["label"] == 1).to_numpy()
    assert int(flares.sum()) == found
    assert class_shares(index)["flares_of_all"] == pytest.approx(0.234, abs=0.002)
    assert np.isfinite(windows).all()
    # some labels are minutes off, and on fast rotators the flux rises elsewhere
    assert np.mean(peak_near_centre(windows[flares])) > 0.6
    assert np.mean(peak_near_centre(windows[~flares])) < 0.2


def peak_near_centre(windows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the flux above a line through the middle 40 cadences is highest within 3 of the centre."""
    middle = windows[:, 80:121].astype(np.float64)
    x = np.arange(41) - 20.0
    line = np.polynomial.polynomial.polyfit(x, middle.T, 1)
    return np.abs(np.argmax(middle - (line[0][:, None] + line[1][:, None] * x), axis=1) - 20) <= 3
