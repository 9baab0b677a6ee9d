"""Examples come from the array sets as they were written, windows in one mixed order."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.arrays import open_arrays
from varistar.flares.example_sets import PointExamples, WindowExamples, open_examples
from varistar.flares.examples import ExampleSettings
from varistar.flares.finder import FlareFinder
from varistar.flares.inject import inject
from varistar.flares.labels import read_simulated
from varistar.flares.stars import read_orbits
from varistar.foundation.params import read_section


def test_windows_are_read_with_their_labels(project: Any) -> None:
    folder = project.build / "examples/windows"
    arrays, examples = open_arrays(folder / "train"), open_examples([folder], "train")
    assert isinstance(examples, WindowExamples)
    rows = np.array([5, 0, 5])
    assert examples.gather(rows).dtype == examples.targets.dtype == np.float32
    np.testing.assert_array_equal(examples.gather(rows), arrays.gather(examples.rows[rows]))
    np.testing.assert_array_equal(examples.targets, arrays.index["label"].to_numpy()[examples.rows])
    np.testing.assert_array_equal(np.sort(examples.rows), np.arange(len(arrays)))


def test_windows_come_in_one_mixed_order(project: Any) -> None:
    """A batch is of many stars even where nothing is shuffled; star after star it would be of few."""
    first, again = (open_examples([project.build / "examples/windows"], "train") for _ in range(2))
    np.testing.assert_array_equal(first.rows, again.rows)
    star = first.arrays.index["star_id"].to_numpy()
    changes = [int((one[1:] != one[:-1]).sum()) for one in (star, star[first.rows])]
    assert changes[1] > 3 * changes[0]


def test_stretches_are_read_with_label_and_weight_of_every_cadence(project: Any) -> None:
    folder = project.build / "examples/points"
    arrays, examples = open_arrays(folder / "train"), open_examples([folder], "train")
    assert isinstance(examples, PointExamples)
    rows = np.array([7, 2, 7])
    whole, read = arrays.gather(rows), examples.gather(rows)
    assert read.dtype == examples.targets.dtype == np.float32
    np.testing.assert_array_equal(read, whole[:, :-2])
    np.testing.assert_array_equal(examples.targets[rows], whole[:, -2:])
    assert len(examples) == len(arrays) == len(examples.targets)
    mask, (label, weight) = read[:, -1], examples.targets[rows].swapaxes(0, 1)
    assert (weight <= mask).all() and (label <= mask).all()


def test_a_network_learns_from_what_it_will_be_served(project: Any) -> None:
    """A light curve's channels bit for bit, but for the half precision in which examples are kept."""
    finder = FlareFinder.of_folder(project.build / "calibrated/points", "cpu")
    served: list[np.ndarray] = []
    finder.network.register_forward_pre_hook(lambda network, inputs: served.append(inputs[0][0].numpy()))
    chosen = read_section(project.root, "flares.examples", ExampleSettings).points
    labels = read_simulated(project.build / "sectors/flares.parquet")
    arrays = open_arrays(project.build / "examples/points/train")
    stars = arrays.index["star_id"].unique().to_list()
    shards = sorted((project.build / "sectors/light_curves").glob("*.parquet"))
    for star_id, orbits in (star for shard in shards for star in read_orbits(shard, finder.orbits) if star[0] in stars):
        served.clear()
        finder.scores(inject(star_id, orbits, labels, chosen.inject).orbits)
        assert len(served) == len(orbits) > 0
        for number, channels in enumerate(served):
            mine = (pl.col("star_id") == star_id) & (pl.col("orbit") == number) & (pl.col("size") == 1)
            rows = np.flatnonzero(arrays.index.select(mine).to_series().to_numpy())
            learned = np.concatenate(list(arrays.gather(rows)[:, :-2]), axis=1)[:, : channels.shape[1]]
            np.testing.assert_array_equal(channels.astype(np.float16), learned)


@pytest.mark.parametrize("name", ["points", "windows"])
def test_two_folders_are_read_one_after_the_other(project: Any, name: str) -> None:
    """But for the order of windows, which are mixed."""
    folder = project.build / "examples" / name
    one, both = open_examples([folder], "validation"), open_examples([folder, folder], "validation")
    first, second = (np.argsort(read.rows) if name == "windows" else np.arange(len(read)) for read in (one, both))
    np.testing.assert_array_equal(both.targets[second], np.concatenate([one.targets[first]] * 2))
    np.testing.assert_array_equal(both.gather(second), np.concatenate([one.gather(first)] * 2))
