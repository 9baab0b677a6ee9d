"""Labelled light curves become what simulated ones are, and nothing that a list leaves out teaches that it is no flare.

Simulated stars stand for real ones: their brighter flares are the list, and the others what the list has missed.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.arrays import open_arrays
from varistar.experiments.splits import split_stars
from varistar.flares import examples, train
from varistar.flares.examples import ExampleSettings, TruthSettings, cadence_truth
from varistar.flares.known import read_known
from varistar.flares.label import complete_labels, find_doubts, label_light_curves, read_list, star_key
from varistar.flares.labelled import DOUBTFUL, find_labelled, join_sectors, version_of, with_labelled
from varistar.flares.labels import LABELS, read_simulated
from varistar.flares.orbits import Orbit, OrbitSettings
from varistar.flares.stars import read_orbits, shards_of
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import read_section
from varistar.lightcurves.shards import read_shard, write_shard
from varistar.lightcurves.table import LightCurves
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA

ORBITS = OrbitSettings()
LISTED_SNR = 8.0


@pytest.fixture(scope="module")
def sectors(project: Any) -> Path:
    return project.build / "sectors"


@pytest.fixture(scope="module")
def listed(sectors: Path) -> pl.DataFrame:
    """The flares of the list: those of a high peak, of the stars that have some."""
    return read_simulated(sectors / "flares.parquet").filter(pl.col("peak_snr") >= LISTED_SNR)


@pytest.fixture(scope="module")
def labelled(sectors: Path, listed: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    table = folder / "list.csv"
    listed.select("tpeak", pl.col("amplitude").alias("amp"), "equivalent_duration_s", TIC="star_id").write_csv(table)
    label_light_curves([sectors / "light_curves"], table, folder / "stars", ORBITS)
    return folder / "stars"


def test_the_stars_of_the_list_are_read_as_simulated_ones_are(labelled: Path, listed: pl.DataFrame) -> None:
    stars = read_known(labelled, ORBITS, None, "train")
    assert {star.star_id for star in stars} == set(listed["star_id"])
    for star in stars:
        flares = star.labels.drop_nulls("amplitude").sort("tpeak")
        expected = listed.filter(star_id=star.star_id).sort("tpeak")
        np.testing.assert_allclose(flares["tpeak"], expected["tpeak"], atol=1e-9)
        np.testing.assert_allclose(flares["amplitude"], expected["amplitude"])
        # the width is not in the list, but what has this height and this equivalent duration has it
        np.testing.assert_allclose(flares["fwhm_minutes"], expected["fwhm_minutes"], rtol=1e-6)
        # the list's amplitude is that of the peak itself, which no exposure shows whole
        assert np.all(flares["peak_snr"].to_numpy() > 0.9 * expected["peak_snr"].to_numpy())
        assert set(flares["source"]) == {"list.csv"}


def test_what_stands_out_unnamed_counts_neither_way_and_the_rest_does(labelled: Path, sectors: Path) -> None:
    """Most flares below the list's limit that one would see are not taught as none; nearly all cadences still count."""
    truth = read_simulated(sectors / "flares.parquet")
    missed, hidden, counted, cadences = 0, 0, 0, 0
    for star in read_known(labelled, ORBITS, None, "train"):
        for orbit in star.orbits:
            label, weight = cadence_truth(orbit, star.labels, TruthSettings())
            counted, cadences = counted + int((weight > 0).sum()), cadences + int(orbit.good.sum())
            own = truth.filter((pl.col("star_id") == star.star_id) & pl.col("peak_snr").is_between(6.0, LISTED_SNR))
            for tpeak in own["tpeak"]:
                if orbit.time[0] < tpeak < orbit.time[-1]:
                    place = int(np.argmin(np.abs(orbit.time - tpeak)))
                    missed += 1
                    hidden += weight[place] == 0 or label[place] == 1
    # on stars that vary fast some drown in what a star does anyway; a matched filter alone would hide 22 of 39
    assert missed > 20 and hidden > 0.8 * missed
    assert counted > 0.95 * cadences


def test_doubts_are_what_the_filter_finds_and_no_label_names(labelled: Path) -> None:
    stars = read_known(labelled, ORBITS, None, "train")
    doubts = pl.concat([star.labels for star in stars]).filter(pl.col("amplitude").is_null())
    assert doubts.height and set(doubts["source"]) == {"doubt"} and set(doubts["peak_snr"]) == {DOUBTFUL}
    assert (doubts["tstart"] <= doubts["tpeak"]).all() and (doubts["tpeak"] <= doubts["tstop"]).all()
    star = max(stars, key=lambda one: one.labels.drop_nulls("amplitude").height)
    named = star.labels.drop_nulls("amplitude")
    unlisted = find_doubts(star.star_id, star.orbits, named.clear())
    assert unlisted.height > find_doubts(star.star_id, star.orbits, named).height, "a label settles a doubt"


def test_a_doubt_gives_way_to_a_label() -> None:
    time = np.arange(2000) * 2 / 1440
    orbit = Orbit(time, np.ones(2000), np.full(2000, 0.001), np.arange(2000), 2 / 1440)
    flare = {"tpeak": time[700], "amplitude": 0.05, "fwhm_minutes": 10.0}
    doubt = {"tpeak": time[702], "tstart": time[690], "tstop": time[710], "peak_snr": DOUBTFUL}
    table = pl.DataFrame([dict.fromkeys(LABELS) | row for row in (flare, doubt)], LABELS)
    label, weight = cadence_truth(orbit, table, TruthSettings())
    assert label[700] == 1 and weight[700] == 1
    assert weight[691] == 0 and weight[685] == 1 and label[691] == 0


def test_what_a_list_does_not_state_is_estimated(labelled: Path, listed: pl.DataFrame) -> None:
    star = max(read_known(labelled, ORBITS, None, "train"), key=lambda one: one.labels.drop_nulls("amplitude").height)
    stated = listed.filter(pl.col("star_id") == star.star_id, pl.col("peak_snr") > 15).sort("tpeak")
    assert stated.height > 3
    bare = stated.with_columns(
        **{
            name: pl.lit(None, pl.Float64)
            for name in ("amplitude", "fwhm_minutes", "equivalent_duration_s", "peak_snr")
        }
    )
    found = complete_labels(bare, star.orbits).sort("tpeak")
    assert found.height >= stated.height - 1, "of two that overlap one may stand below the other"
    stated = stated.filter(pl.col("tpeak").is_in(found["tpeak"].to_list()))
    # an exposure averages, and where flares overlap one stands on the other
    ratio = found["amplitude"].to_numpy() / stated["amplitude"].to_numpy()
    assert 0.5 < np.median(ratio) < 1.2
    width = found["fwhm_minutes"].to_numpy()
    duration = SHAPE_AREA * found["amplitude"].to_numpy() * width / 1440 * DAY_SECONDS
    np.testing.assert_allclose(np.log10(width), 0.42 + 0.20 * np.log10(duration), rtol=1e-9)


def test_flares_in_gaps_and_on_other_stars_are_left_out(sectors: Path, tmp_path: Path) -> None:
    shard = read_shard(shards_of(sectors)[0])
    name, (first, *_) = next((name, orbits) for name, orbits in read_orbits(shards_of(sectors)[0], ORBITS) if orbits)
    table = tmp_path / "list.csv"
    good = first.time[np.flatnonzero(first.good)[500]]
    table.write_text(f"star_id,tpeak,amp\n{name},{good},0.02\n{name},{first.time[0] - 5},0.5\nTIC 1,{good},0.1\n")
    write_shard(tmp_path / "part.parquet", shard)
    done = label_light_curves([tmp_path / "part.parquet"], table, tmp_path / "out", ORBITS)
    assert (done.stars, done.flares) == (1, 1)
    assert done.left_out == {"that the list does not name": len(shard) - 1}


def test_a_stars_files_are_joined_and_its_times_may_be_full_dates(sectors: Path, tmp_path: Path) -> None:
    shard = shards_of(sectors)[0]
    i, orbits = next((i, orbits) for i, (_, orbits) in enumerate(read_orbits(shard, ORBITS)) if len(orbits) == 2)
    star = read_shard(shard).star(i)
    renamed = LightCurves(("TIC 0077",), *(getattr(star, name) for name in (
        "offsets", "columns", "time_system", "flux_unit", "survey"
    )))  # fmt: skip
    middle = 0.5 * (orbits[0].time[-1] + orbits[1].time[0])
    for number, keep in enumerate((renamed["time"] > middle, renamed["time"] <= middle)):
        write_shard(tmp_path / f"lc/{number}/part-00000.parquet", renamed.where(keep))
    peaks = [orbit.time[np.flatnonzero(orbit.good)[300]] + 2457000 for orbit in orbits]
    (tmp_path / "list.csv").write_text("TIC,tpeak,amp\n" + "".join(f"77,{peak!r},0.02\n" for peak in map(float, peaks)))
    done = label_light_curves([tmp_path / "lc"], tmp_path / "list.csv", tmp_path / "out", ORBITS)
    assert (done.stars, done.flares) == (1, 2)
    (known,) = read_known(tmp_path / "out", ORBITS, None, "train")
    assert known.star_id == "TIC 0077" and len(known.orbits) == 2
    np.testing.assert_array_equal(known.orbits[1].flux, orbits[1].flux)


def test_the_same_inputs_give_the_same_version(labelled: Path, sectors: Path, tmp_path: Path) -> None:
    done = label_light_curves(
        [sectors / "light_curves"], labelled.parent / "list.csv", tmp_path / "stars", ORBITS
    )  # fmt: skip
    assert done.version == version_of(labelled) == version_of(tmp_path / "stars")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("TIC 77", ("TIC", "77")),
        ("tic-0077", ("TIC", "77")),
        ("KIC_7", ("KIC", "7")),
        (" 0770", ("", "770")),
        ("0", ("", "0")),
        ("TIC", ("", "TIC")),
        ("GJ 0077", ("", "GJ 0077")),
    ],
)
def test_what_a_name_says(name: str, key: tuple[str, str]) -> None:
    assert star_key(name) == key


def named(star: LightCurves, name: str, **changes: Any) -> LightCurves:
    return replace(star, star_id=(name,), **changes)


@pytest.fixture
def two_orbits(sectors: Path) -> tuple[LightCurves, list[Orbit]]:
    """A simulated star with two orbits."""
    shard = shards_of(sectors)[0]
    i, orbits = next((i, orbits) for i, (_, orbits) in enumerate(read_orbits(shard, ORBITS)) if len(orbits) == 2)
    return read_shard(shard).star(i), orbits


@pytest.mark.parametrize(
    ("light_curves", "rows", "expected"),
    [
        (["TIC 966"], ["TIC 966", "966"], {"TIC 966": 2}),
        (["966"], ["TIC-966", "966"], {"966": 2}),
        (["TIC 77", "KIC 77"], ["TIC 77", "TIC 77"], {"TIC 77": 2}),
        (["TIC 77", "KIC 77"], ["TIC 77", "kic-77"], {"TIC 77": 1, "KIC 77": 1}),
        (["TIC 77", "KIC 77"], ["77", "77"], {"TIC 77": 2, "KIC 77": 2}),
    ],
)
def test_whose_flares_they_are(
    light_curves: list[str],
    rows: list[str],
    expected: dict[str, int],
    two_orbits: tuple[LightCurves, list[Orbit]],
    tmp_path: Path,
) -> None:
    star, orbits = two_orbits
    for number, name in enumerate(light_curves):
        write_shard(tmp_path / f"lc/{number}/part-00000.parquet", named(star, name))
    peaks = [float(orbit.time[np.flatnonzero(orbit.good)[300]]) for orbit in orbits]
    lines = [f"{name},{peak!r},0.02\n" for name, peak in zip(rows, peaks, strict=True)]
    (tmp_path / "list.csv").write_text("star_id,tpeak,amp\n" + "".join(lines))
    label_light_curves([tmp_path / "lc"], tmp_path / "list.csv", tmp_path / "out", ORBITS)
    stars = read_known(tmp_path / "out", ORBITS, None, "train")
    assert {one.star_id: one.labels.drop_nulls("amplitude").height for one in stars} == expected


def test_files_of_one_star_are_joined_where_only_one_catalog_can_be_meant(
    two_orbits: tuple[LightCurves, list[Orbit]], tmp_path: Path
) -> None:
    """Two names of one star would put it into two splits."""
    star, (first, second) = two_orbits
    for number, (name, orbit) in enumerate((("TIC 77", first), ("77", second))):
        inside = (star["time"] >= orbit.time[0]) & (star["time"] <= orbit.time[-1])
        write_shard(tmp_path / f"lc/{number}/part-00000.parquet", named(star, name).where(inside))
    (tmp_path / "list.csv").write_text(f"star_id,tpeak,amp\n77,{first.time[np.flatnonzero(first.good)[300]]},0.02\n")
    label_light_curves([tmp_path / "lc"], tmp_path / "list.csv", tmp_path / "out", ORBITS)
    (known,) = read_known(tmp_path / "out", ORBITS, None, "train")
    assert known.star_id == "TIC 77" and len(known.orbits) == 2


def test_orbits_of_other_cadences_are_cut_out(two_orbits: tuple[LightCurves, list[Orbit]], tmp_path: Path) -> None:
    """Whichever comes first; what is left is as it was."""
    star, orbits = two_orbits
    for number, (slow, kept) in enumerate(((0, 1), (1, 0))):
        folder = tmp_path / str(number)
        inside = (star["time"] >= orbits[slow].time[0]) & (star["time"] <= orbits[slow].time[-1])
        write_shard(folder / "part.parquet", named(star, "TIC 77").where(~inside | (np.arange(len(inside)) % 5 == 0)))
        peak = orbits[kept].time[np.flatnonzero(orbits[kept].good)[300]]
        (folder / "list.csv").write_text(f"star_id,tpeak,amp\n77,{peak},0.02\n")
        done = label_light_curves([folder / "part.parquet"], folder / "list.csv", folder / "out", ORBITS)
        assert done.left_out == {"orbits of another cadence than 1.8 to 2.2 minutes": 1}
        (known,) = read_known(folder / "out", ORBITS, None, "train")
        (orbit,) = known.orbits
        for name in ("time", "flux", "flux_err"):
            np.testing.assert_array_equal(getattr(orbit, name), getattr(orbits[kept], name))


@pytest.mark.parametrize("change", [{"flux_unit": "mJy"}, {"time_system": "BKJD"}])
def test_a_star_whose_files_cannot_be_joined_stops_no_other(
    change: dict[str, Any], two_orbits: tuple[LightCurves, list[Orbit]], tmp_path: Path
) -> None:
    star, (orbit, _) = two_orbits
    for number, one in enumerate((named(star, "TIC 5"), named(star, "TIC 77"), named(star, "TIC 77", **change))):
        write_shard(tmp_path / f"lc/{number}/part-00000.parquet", one)
    peak = orbit.time[np.flatnonzero(orbit.good)[300]]
    (tmp_path / "list.csv").write_text(f"star_id,tpeak,amp\n5,{peak},0.02\n77,{peak},0.02\n")
    done = label_light_curves([tmp_path / "lc"], tmp_path / "list.csv", tmp_path / "out", ORBITS)
    assert done.stars == 1 and done.left_out == {"of more than one time system or flux unit": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Lists


def test_lists_are_told_by_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("TIC,tpeak,Amp,FWHMdt\n77,2458357.25,0.02,0.0125\n")
    assert read_list(path).select("star_id", "tpeak", "fwhm_minutes").row(0) == ("TIC 77", 1357.25, 18.0)
    path.write_text("Target_ID,tpeak,amp,prob\n77,1357.25,0.02,0.9\n")
    assert read_list(path).select("star_id", "tpeak", "amplitude").row(0) == ("77", 1357.25, 0.02)
    path.write_text("tpeak,amp,ed_s\n1357.25,0.02,5\n")
    assert read_list(path, "TIC 5").select("star_id", "equivalent_duration_s").row(0) == ("TIC 5", 5.0)
    pl.DataFrame({"star_id": ["a"], "tstart": [1.0], "tstop": [2.0]}).write_parquet(tmp_path / "list.parquet")
    assert read_list(tmp_path / "list.parquet").select("star_id", "tpeak", "tstop").row(0) == ("a", None, 2.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tpeak,amp\n1,2\n", "names no star; it needs a column 'star_id', or --star"),
        ("star_id,amp\na,2\n", "lacks the column 'tpeak', and 'tstart' with 'tstop'"),
        ("star_id,tpeak\na,1\nb,\n", "line 3: expected the time of a flare"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"list\.csv: {sentence}"):
        read_list(path)


def test_a_list_of_another_time_system_is_refused(sectors: Path, listed: pl.DataFrame, tmp_path: Path) -> None:
    listed.select("star_id", "amplitude", pl.col("tpeak") - 100.0).write_csv(tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"no listed flare falls into these light curves: \d+ that .*; \d+ without a"):
        label_light_curves([sectors / "light_curves"], tmp_path / "list.csv", tmp_path / "out", ORBITS)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_not_replaced(sectors: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"would be replaced, but holds 'notes\.txt'"):
        label_light_curves([sectors / "light_curves"], labelled.parent / "list.csv", tmp_path, ORBITS)


# ---------------------------------------------------------------------------------------------------------------------
# In the pipeline


@pytest.mark.parametrize("kind", ["points", "windows"])
def test_examples_of_labelled_stars_join_those_of_simulated_ones(
    kind: str, copied: Any, labelled: Path, in_project: Callable[[Path], Any]
) -> None:
    """A labelled star is in one split, by its name; a training reads the joined set as any other."""
    name = "labelled-7"
    star = read_shard(shards_of(labelled)[0]).take([0, 0, 0, 0])
    names = tuple(f"{name}{letter}" for letter in "abcd")
    renamed = LightCurves(names, *(getattr(star, key) for key in (
        "offsets", "columns", "time_system", "flux_unit", "survey"
    )))  # fmt: skip
    folder = copied.root / "data/labelled"
    write_shard(folder / "light_curves/part-00000.parquet", renamed)
    flares = pl.read_parquet(labelled / "flares.parquet").filter(star_id=star.star_id[0])
    pl.concat([flares.with_columns(star_id=pl.lit(one)) for one in names]).write_parquet(folder / "flares.parquet")
    before = {split: open_arrays(copied.build / "examples" / kind / split).index for split in examples.LEARNT}
    copied.change(flares__labelled={"folder": "data/labelled", "version": version_of(folder)})
    with in_project(copied.root):
        examples.main(kind)
        where = split_stars(names, read_section(copied.root, "flares.split", examples.SplitSettings))
        for split in examples.LEARNT:
            stars = set(open_arrays(copied.build / "examples" / kind / split).index["star_id"])
            assert {one for one in stars if one in names} == {
                n for n, own in zip(names, where, strict=True) if own == split
            }
            if kind == "points":
                assert stars - set(names) == set(before[split]["star_id"])
        assert not list((copied.build / "examples").glob("*.stars"))
        assert len(train.open_examples([copied.build / "examples" / kind], "train"))


def test_a_folder_that_changed_is_refused_with_its_version(copied: Any, labelled: Path) -> None:
    assert find_labelled(copied.root) is None
    copied.change(flares__labelled=None)
    assert find_labelled(copied.root) is None
    copied.change(flares__labelled={"folder": str(labelled), "version": "0" * 12})
    with pytest.raises(DataError, match=rf"is version {version_of(labelled)}, where params\.yaml names 000000000000"):
        find_labelled(copied.root)
    copied.change(flares__labelled={"folder": "nowhere", "version": "0" * 12})
    with pytest.raises(
        DataError, match="nowhere: holds no labelled light curves; make it with `varistar label flares`"
    ):
        find_labelled(copied.root)
    copied.change(flares__labelled={"folder": "nowhere", "version": "new"})
    with pytest.raises(ConfigError, match=r"params\.yaml: flares\.labelled: 'version'"):
        find_labelled(copied.root)


def test_joined_stars_are_all_there(labelled: Path, sectors: Path, tmp_path: Path) -> None:
    join_sectors([sectors, labelled], tmp_path / "both")
    assert len(shards_of(tmp_path / "both")) == len(shards_of(sectors)) + len(shards_of(labelled))
    rows = [read_simulated(folder / "flares.parquet").height for folder in (sectors, labelled, tmp_path / "both")]
    assert rows[2] == rows[0] + rows[1]
    assert ExampleSettings().points.truth == TruthSettings()


def test_joined_stars_are_made_once_and_stay_until_the_work_is_delivered(
    labelled: Path, sectors: Path, tmp_path: Path
) -> None:
    """As the processes of an array share them; what an interrupted one left goes with them."""
    scratch, work = tmp_path / "points.stars", tmp_path / "points.parts"
    work.mkdir()
    with with_labelled(sectors, labelled, scratch) as one:
        before = one.stat().st_ino
        with with_labelled(sectors, labelled, scratch) as other:
            assert other == one
        assert one.stat().st_ino == before and len(shards_of(one)) > len(shards_of(sectors))
    assert one.is_dir()
    with with_labelled(sectors, sectors, scratch) as another:
        assert another != one
        work.rmdir()
    assert not scratch.exists()
