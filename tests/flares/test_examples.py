"""What is labelled is what the flares' light says, and nothing of an orbit is lost on its way to training."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.bulk.arrays import open_arrays
from varistar.bulk.engine import Engine
from varistar.experiments.splits import SplitSettings, split_stars
from varistar.flares import window_examples
from varistar.flares.draws import TrainingDraw
from varistar.flares.examples import (
    KINDS,
    LEARNT,
    ExampleSettings,
    StretchSettings,
    TruthSettings,
    build_examples,
    cadence_truth,
    star_stretches,
)
from varistar.flares.inject import inject
from varistar.flares.labels import LABELS, read_simulated
from varistar.flares.orbits import Orbit, OrbitSettings, bin_orbit
from varistar.flares.representation import make_points
from varistar.flares.stars import read_orbits
from varistar.flares.windows import INDEX, cut_windows, training_windows
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.files import folder_hash
from varistar.foundation.params import read_section
from varistar.physics.flares import Flares, flare_flux

CADENCE = 2.0 / 1440.0
NOISE = 0.002
TRUTH = TruthSettings()


def make_orbit(m: int, missing: Any = (), noise: Any = NOISE, seed: int = 0) -> Orbit:
    """White noise about 1, NaN at the cadences `missing`; flux and error vary from cadence to cadence."""
    flux = 1.0 + NOISE * np.random.default_rng(seed).standard_normal(m)
    errors = np.broadcast_to(noise, m).astype(np.float64)
    lost = np.zeros(m, bool)
    lost[list(missing)] = True
    flux, errors = np.where(lost, np.nan, flux), np.where(lost, np.nan, errors)
    return Orbit(1500.0 + CADENCE * np.arange(m), flux, errors, np.arange(m), CADENCE)


def make_labels(*flares: tuple[float, float, float], star_id: str = "1") -> pl.DataFrame:
    """LABELS of (tpeak, amplitude, fwhm_minutes)."""
    columns = dict(zip(("tpeak", "amplitude", "fwhm_minutes"), zip(*flares, strict=True), strict=True))
    rows = {name: columns.get(name, [None] * len(flares)) for name in LABELS} | {"star_id": [star_id] * len(flares)}
    return pl.DataFrame(rows, schema=LABELS)


def brute_force(orbit: Orbit, labels: pl.DataFrame, truth: TruthSettings) -> NDArray:
    """Label and weight by the definition, flare by flare over the whole orbit and cadence by cadence."""
    label, weight = np.zeros(len(orbit)), np.where(np.isnan(orbit.flux), 0.0, 1.0)
    unsure = set()
    for tpeak, amplitude, minutes in labels.select("tpeak", "amplitude", "fwhm_minutes").iter_rows():
        one = Flares(np.array([tpeak]), np.array([amplitude]), np.array([minutes / 1440.0]), np.zeros(1, np.int64))
        light = flare_flux(one, orbit.time, orbit.cadence)
        snr = {i: light[i] / orbit.flux_err[i] for i in range(len(orbit)) if not np.isnan(orbit.flux[i])}
        matched = sum(value**2 for value in snr.values()) ** 0.5
        if matched < truth.unseen:
            continue
        unsure |= {i for i, value in snr.items() if value >= truth.tail}
        if matched >= truth.found:
            for i, value in snr.items():
                if value >= truth.visible or value == max(snr.values()):
                    label[i] = 1.0
    for i in unsure:
        if not label[i]:
            weight[i] = 0.0
    return np.stack([label, weight])


# ---------------------------------------------------------------------------------------------------------------------
# Which cadences belong to a flare


@st.composite
def flares_in_orbits(draw: st.DrawFn) -> tuple[Orbit, pl.DataFrame]:
    m = draw(st.integers(3, 400))
    missing = draw(st.sets(st.integers(0, m - 2), max_size=m // 2))
    seed = draw(st.integers(0, 2**31))
    noise = NOISE * np.random.default_rng(seed).uniform(0.5, 2.0, m)
    flare = st.tuples(
        st.floats(-0.1, 1.1).map(lambda x: 1500.0 + x * m * CADENCE),
        st.floats(-1.0, 4.0).map(lambda x: NOISE * 10.0**x),
        st.floats(-1.0, 2.0).map(lambda x: 10.0**x),
    )
    return make_orbit(m, missing, noise, seed), make_labels(*draw(st.lists(flare, min_size=1, max_size=4)))


@settings(max_examples=150, deadline=None)
@given(flares_in_orbits(), st.sampled_from([TRUTH, TruthSettings(visible=2.0, tail=0.5, found=8.0, unseen=8.0)]))
def test_the_truth_is_that_of_brute_force(case: tuple[Orbit, pl.DataFrame], truth: TruthSettings) -> None:
    """However faint or bright, short or long the flares are, overlapping, over gaps and beyond the ends."""
    orbit, labels = case
    found = cadence_truth(orbit, labels, truth)
    assert (found.shape, found.dtype) == ((2, len(orbit)), np.float32)
    np.testing.assert_array_equal(found, brute_force(orbit, labels, truth))


@settings(max_examples=50, deadline=None)
@given(flares_in_orbits())
def test_a_missing_cadence_never_counts_and_a_flare_always_does(case: tuple[Orbit, pl.DataFrame]) -> None:
    orbit, labels = case
    label, weight = cadence_truth(orbit, labels, TRUTH)
    assert set(np.unique(label)) | set(np.unique(weight)) <= {0.0, 1.0}
    assert not weight[~orbit.good].any() and not label[~orbit.good].any()
    assert (weight[label == 1] == 1).all()
    np.testing.assert_array_equal(cadence_truth(orbit, labels[::-1], TRUTH), [label, weight])


def matched_snr(amplitude: float, minutes: float, orbit: Orbit, tpeak: float) -> float:
    flare = Flares(np.array([tpeak]), np.array([amplitude]), np.array([minutes / 1440.0]), np.zeros(1, np.int64))
    return float(np.sqrt(np.sum((flare_flux(flare, orbit.time, orbit.cadence) / orbit.flux_err) ** 2)))


@pytest.mark.parametrize("minutes", [0.3, 3.0, 20.0])
def test_the_matched_ratio_decides_what_a_flare_is(minutes: float) -> None:
    """Noise below `unseen`, nothing either way up to `found`, and a flare from there on."""
    orbit, tpeak = make_orbit(2000), 1501.0
    unit = matched_snr(1.0, minutes, orbit, tpeak)
    truth = {
        ratio: cadence_truth(orbit, make_labels((tpeak, ratio / unit, minutes)), TRUTH)
        for ratio in (TRUTH.unseen - 0.01, TRUTH.unseen + 0.01, TRUTH.found - 0.01, TRUTH.found + 0.01)
    }
    noise, least, most, flare = truth.values()
    assert not noise[0].any() and noise[1].all()
    for between in (least, most):
        assert not between[0].any() and (between[1] == 0).any()
    assert flare[0].any() and (flare[1] == 0).sum() < (most[1] == 0).sum()


def test_a_flare_that_is_nowhere_above_the_noise_has_its_highest_cadence() -> None:
    """Many cadences of less than the noise stand out together."""
    orbit, minutes, tpeak = make_orbit(3000), 90.0, 1502.0
    amplitude = 0.95 * NOISE
    assert matched_snr(amplitude, minutes, orbit, tpeak) > TRUTH.found
    label, weight = cadence_truth(orbit, make_labels((tpeak, amplitude, minutes)), TRUTH)
    assert label.sum() == 1 and abs(orbit.time[np.argmax(label)] - tpeak) <= CADENCE
    assert (weight == 0).sum() > 20, "the rest of it is its tail"


@pytest.mark.parametrize("phase", [-0.45, -0.2, 0.0, 0.2, 0.45])
def test_a_flare_shorter_than_an_exposure_is_in_the_one_it_falls_in(phase: float) -> None:
    orbit = make_orbit(200)
    labels = make_labels((orbit.time[100] + phase * CADENCE, 1000 * NOISE, 0.1))
    label, weight = cadence_truth(orbit, labels, TRUTH)
    assert label[100] == 1
    np.testing.assert_array_equal([label, weight], brute_force(orbit, labels, TRUTH))


def test_a_flare_in_a_gap_or_another_orbit_leaves_no_mark() -> None:
    orbit = make_orbit(1000, range(200, 600))
    middle = 1500.0 + 400 * CADENCE
    for tpeak in (middle, 1400.0, 1600.0):
        label, weight = cadence_truth(orbit, make_labels((tpeak, 5 * NOISE, 3.0)), TRUTH)
        assert not label.any()
        np.testing.assert_array_equal(weight, orbit.good)


def test_without_errors_everything_is_in_units_of_one() -> None:
    """As everywhere in the wing: nothing is known of the noise."""
    orbit = make_orbit(500, noise=np.nan)
    label, weight = cadence_truth(orbit, make_labels((1500.2, 100.0, 3.0)), TRUTH)
    assert label.any()
    known = make_orbit(500, noise=1.0)
    np.testing.assert_array_equal([label, weight], cadence_truth(known, make_labels((1500.2, 100.0, 3.0)), TRUTH))


# ---------------------------------------------------------------------------------------------------------------------
# Stretches


PLAIN = StretchSettings(length=64, inject=None)


@settings(max_examples=20, deadline=None)
@given(st.integers(200, 700), st.sets(st.integers(0, 198), max_size=60), st.integers(64, 300))
def test_stretches_put_together_are_the_orbit(m: int, missing: set[int], length: int) -> None:
    """The representation of the whole orbit, and its truth; what is beyond its end is missing and counts nothing."""
    orbits = [make_orbit(m, missing, seed=1), make_orbit(m // 2 + 100, seed=2)]
    labels = make_labels((1500.1, 20 * NOISE, 4.0), (1500.25, 5 * NOISE, 4.0))
    chosen = PLAIN.model_copy(update={"length": length})
    arrays, index = star_stretches("1", orbits, labels, chosen)
    assert arrays.dtype == np.float16
    assert arrays.shape == (index.height, chosen.representation.channels + 2, length)
    for number, orbit in enumerate(orbits):
        mine = (index["orbit"] == number).to_numpy()
        assert index.filter(mine)["first"].to_list() == list(range(0, len(orbit), length))
        joined = np.concatenate(list(arrays[mine]), axis=1)
        points = make_points(orbit, chosen.representation)
        np.testing.assert_array_equal(joined[:-2, : len(orbit)], points.astype(np.float16))
        np.testing.assert_array_equal(joined[-2:, : len(orbit)], cadence_truth(orbit, labels, TRUTH))
        assert not joined[:, len(orbit) :].any(), "mask 0, label 0, weight 0"
    assert set(index["star_id"]) == {"1"}


def test_only_flares_of_the_star_count() -> None:
    orbits = [make_orbit(300)]
    others = make_labels((1500.1, 50 * NOISE, 4.0), star_id="2")
    arrays, _ = star_stretches("1", orbits, others, PLAIN)
    assert not arrays[:, -2].any()


def test_what_is_injected_is_shown_and_labelled() -> None:
    orbits, draw = [make_orbit(4000)], TrainingDraw(per_day=4.0, peak_snr=(20.0, 300.0))
    own = make_labels((1501.0, 50 * NOISE, 4.0))
    chosen = StretchSettings(length=512, inject=draw)
    arrays, index = star_stretches("1", orbits, own, chosen)
    injected = inject("1", orbits, own, draw)
    assert injected.labels.height > 10
    both = pl.concat([own, injected.labels])
    expected, _ = star_stretches("1", injected.orbits, both, chosen.model_copy(update={"inject": None}))
    np.testing.assert_array_equal(arrays, expected)
    joined = np.concatenate(list(arrays), axis=1)[:, :4000]
    (orbit,) = orbits
    for tpeak in both["tpeak"]:
        assert joined[-2, np.argmin(np.abs(orbit.time - tpeak))] == 1
    plain, same = star_stretches("1", orbits, own, chosen.model_copy(update={"inject": None}))
    assert plain[:, -2].sum() < arrays[:, -2].sum() and same.equals(index)


def test_longer_exposures_stand_beside_the_light_curve() -> None:
    """The same light curve joined, flares injected before, with the truth of what it then shows."""
    orbits, own = [make_orbit(3000, range(40, 60)), make_orbit(900, seed=1)], make_labels((1501.0, 50 * NOISE, 4.0))
    draw = TrainingDraw(per_day=4.0, peak_snr=(20.0, 300.0))
    chosen = StretchSettings(length=128, inject=draw, cadences=(2.0, 10.0, 30.0))
    arrays, index = star_stretches("1", orbits, own, chosen)
    injected = inject("1", orbits, own, draw)
    plain = chosen.model_copy(update={"inject": None, "cadences": (2.0,)})
    labels = pl.concat([own, injected.labels])
    for size in (1, 5, 15):
        joined = [bin_orbit(orbit, size) for orbit in injected.orbits]
        rows = (index["size"] == size).to_numpy()
        alone = plain.model_copy(update={"cadences": (2.0 * size,)})
        expected, its_index = star_stretches("1", joined, labels, alone)
        np.testing.assert_array_equal(arrays[rows], expected)
        assert expected[:, -2].any()
        assert index.filter(rows).drop("size").equals(its_index.drop("size"))
    assert set(index["size"]) == {1, 5, 15}


@pytest.mark.parametrize(
    ("minutes", "sizes"),
    [(2.0, [1, 2, 5, 15]), (1 / 3, [6, 12, 30, 90]), (10 / 3, [1, 3, 9]), (29.4, [1]), (100.0, [])],
)
def test_exposures_are_whole_numbers_of_the_light_curves_own(minutes: float, sizes: list[int]) -> None:
    orbit = Orbit(np.arange(9.0), np.ones(9), np.ones(9), np.arange(9), minutes / 1440)
    assert StretchSettings(cadences=(2.0, 4.0, 10.0, 30.0)).sizes(orbit) == sizes


@pytest.mark.parametrize(
    "cadences", [(), (0.0,), (10.0, 2.0), (2.0, 2.0), (2.0, 61.0), (2.0, float("inf")), (4.0, 10.0)]
)
def test_cadences_ascend_from_that_of_the_sectors(cadences: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="cadences"):
        StretchSettings(cadences=cadences)


def test_a_star_without_orbits_has_no_stretches() -> None:
    arrays, index = star_stretches("1", [], make_labels((1500.1, 0.1, 4.0)), StretchSettings())
    assert (arrays.shape, index.height) == ((0, StretchSettings().representation.channels + 2, 2048), 0)


# ---------------------------------------------------------------------------------------------------------------------
# The stage


@pytest.fixture
def parts(project: Any) -> tuple[OrbitSettings, SplitSettings, ExampleSettings]:
    return (
        read_section(project.root, "flares.orbits", OrbitSettings),
        read_section(project.root, "flares.split", SplitSettings),
        read_section(project.root, "flares.examples", ExampleSettings),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_star_is_in_its_split_and_no_other(project: Any, parts: Any, kind: str) -> None:
    stars = {split: set(open_arrays(project.build / "examples" / kind / split).index["star_id"]) for split in LEARNT}
    truth = pl.read_parquet(project.build / "sectors/truth.parquet")["star_id"].to_list()
    of_star = dict(zip(truth, split_stars(truth, parts[1]), strict=True))
    for split, found in stars.items():
        assert found and {of_star[star] for star in found} == {split}
    assert set(of_star.values()) > set(LEARNT), "some stars are left to test on"
    if kind == "points":
        assert sum(map(len, stars.values())) == sum(split in LEARNT for split in of_star.values())


def test_points_are_the_stretches_of_their_stars(project: Any, parts: Any) -> None:
    orbits, _, chosen = parts
    labels = read_simulated(project.build / "sectors/flares.parquet")
    shards = sorted((project.build / "sectors/light_curves").glob("*.parquet"))
    stars = {name: its_orbits for shard in shards[:4] for name, its_orbits in read_orbits(shard, orbits)}
    checked = 0
    for split in LEARNT:
        arrays = open_arrays(project.build / "examples/points" / split)
        for star in set(arrays.index["star_id"]) & stars.keys():
            expected, index = star_stretches(star, stars[star], labels, chosen.points)
            rows = np.flatnonzero((arrays.index["star_id"] == star).to_numpy())
            np.testing.assert_array_equal(arrays.gather(rows), expected)
            assert arrays.index[rows].select(index.columns).equals(index)
            checked += 1
    assert checked >= 4


def test_windows_are_cut_from_the_light_curves(project: Any, parts: Any) -> None:
    orbits, _, chosen = parts
    shards = sorted((project.build / "sectors/light_curves").glob("*.parquet"))
    stars = {name: its_orbits for shard in shards for name, its_orbits in read_orbits(shard, orbits)}
    for split in LEARNT:
        arrays = open_arrays(project.build / "examples/windows" / split)
        expected = cut_windows(arrays.index, stars, chosen.windows)
        np.testing.assert_array_equal(arrays.gather(np.arange(len(arrays))), expected)
        assert set(arrays.index["label"]) == {0, 1}


def test_windows_are_drawn_from_all_shards_together(project: Any, parts: Any) -> None:
    """As they are from all stars at once, whichever shards they lie in."""
    orbits, splits, chosen = parts
    shards = sorted((project.build / "sectors/light_curves").glob("*.parquet"))
    stars = {name: its_orbits for shard in shards for name, its_orbits in read_orbits(shard, orbits)}
    labels = read_simulated(project.build / "sectors/flares.parquet")
    of_star = dict(zip(stars, split_stars(list(stars), splits), strict=True))
    for split in LEARNT:
        arrays = open_arrays(project.build / "examples/windows" / split)
        mine = {name: stars[name] for name in stars if of_star[name] == split}
        windows, index = training_windows(mine, labels, chosen.windows)
        assert arrays.index.select(list(INDEX)).sort("star_id", "orbit", "centre").equals(index)
        assert len(arrays) == len(windows)
        flares = int((index["label"] == 1).sum())
        assert len(arrays) == flares + round(flares * (1 / chosen.windows.flare_fraction - 1))
    without = set(stars) - set(labels.filter(pl.col("peak_snr") >= chosen.windows.flare_snr)["star_id"])
    assert without & set(arrays.index["star_id"]), "stars without a flare give windows too"


def test_a_drawing_that_was_killed_goes_on_where_it_was(
    project: Any, parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either job, and what was listed and cut before is not done again."""
    sectors, folder, done = project.build / "sectors", tmp_path / "windows", []
    real = {name: getattr(window_examples, name) for name in ("_list_shard", "_cut_shard")}

    def build(killed: str, after: int) -> None:
        def step(name: str) -> Callable[[Any, Path], dict[str, int]]:
            def once(piece: Any, target: Path) -> dict[str, int]:
                if name == killed and sum(one == name for one in done) == after:
                    raise KeyboardInterrupt
                done.append(name)
                return real[name](piece, target)

            return once

        for name in real:
            monkeypatch.setattr(window_examples, name, step(name))
        build_examples(sectors, "windows", *parts, folder, Engine(workers=1))

    shards = len(list((sectors / "light_curves").glob("*.parquet")))
    for killed in real:
        with pytest.raises(KeyboardInterrupt):
            build(killed, shards // 2)
        assert not folder.exists(), "nothing half done"
    build("nothing", 0)
    assert [done.count(name) for name in real] == [shards, shards]
    assert folder_hash(folder) == folder_hash(project.build / "examples/windows")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["windows"]


@pytest.mark.parametrize("kind", KINDS)
def test_examples_do_not_depend_on_the_workers(
    project: Any, parts: Any, kind: str, tmp_path: Path, in_project: Callable[[Path], Any]
) -> None:
    with in_project(project.root):
        counts = build_examples(project.build / "sectors", kind, *parts, tmp_path / kind, Engine(workers=2))
    assert counts == {split: len(open_arrays(tmp_path / kind / split)) for split in LEARNT}
    assert folder_hash(tmp_path / kind) == folder_hash(project.build / "examples" / kind)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [kind]


def test_stretches_do_not_depend_on_the_shards(project: Any, parts: Any, tmp_path: Path) -> None:
    """Where other stars are missing, those that are left have the same."""
    sectors = tmp_path / "sectors"
    shutil.copytree(project.build / "sectors", sectors)
    kept = sorted((sectors / "light_curves").glob("*.parquet"))[::3]
    for shard in set((sectors / "light_curves").glob("*.parquet")) - set(kept):
        shard.unlink()
    build_examples(sectors, "points", *parts, tmp_path / "points", Engine(workers=1))
    seen = 0
    for split in LEARNT:
        few, all_ = (open_arrays(folder / split) for folder in (tmp_path / "points", project.build / "examples/points"))
        mine = np.flatnonzero(all_.index["star_id"].is_in(few.index["star_id"].unique().to_list()).to_numpy())
        np.testing.assert_array_equal(few.gather(np.arange(len(few))), all_.gather(mine))
        seen += len(few)
    assert seen > 100


def test_the_arrays_say_how_they_were_made(project: Any, parts: Any) -> None:
    orbits, _, chosen = parts
    for kind in KINDS:
        described = open_arrays(project.build / "examples" / kind / "train").describe
        assert described["orbits"] == orbits.model_dump(mode="json")
        assert described["settings"] == getattr(chosen, kind).model_dump(mode="json")


def test_what_cannot_be_made_is_said_in_a_sentence(project: Any, parts: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no examples of the kind 'arrows'; there are windows and points"):
        build_examples(project.build / "sectors", "arrows", *parts, tmp_path / "arrows")
    with pytest.raises(DataError, match=r"light_curves: there are no light curves; make them with `dvc repro`"):
        build_examples(tmp_path, "points", *parts, tmp_path / "points")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tail": 1.5}, "tail must not be above visible"),
        ({"unseen": 6.0}, "nor unseen above found"),
        ({"found": 0}, "found"),
    ],
)
def test_thresholds_that_contradict_each_other_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TruthSettings(**changes)
