"""What the networks learn from: windows with and without a flare, and stretches in which each cadence is labelled.

Both are cut from the same stars. Into the stretches further flares are injected, since most stars flare seldom; the
windows hold the stars' own, as the paper's did. Stretches are also cut from the same light curves in longer exposures.

A cadence belongs to a flare where that adds at least `visible` times the noise, if all of the flare together stands
out: if the root of the summed squares of its signal-to-noise ratios, which a matched filter would reach, is at least
`found`. Below `unseen` nobody could tell, and the flare is noise. What lies between, and the tails of flares, does not
count either way.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from varistar.bulk.arrays import collect_arrays, write_array_shard
from varistar.bulk.engine import Engine
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import Split, SplitSettings, split_stars
from varistar.foundation.errors import ConfigError, one_sentence
from varistar.foundation.files import atomic_folder, folder_hash
from varistar.foundation.params import find_root, read_section
from varistar.foundation.settings import Settings
from varistar.physics.flares import Flares, flare_flux

from .draws import TrainingDraw
from .inject import inject
from .labelled import find_labelled, with_labelled
from .labels import read_simulated
from .orbits import Array, Orbit, OrbitSettings, bin_orbit
from .representation import PointRepresentation, make_points
from .stars import read_orbits, shards_of
from .trend import flux_noise
from .window_examples import build_windows
from .windows import WindowSettings

#: The splits that networks see; the test is measured from the light curves, as a catalog is.
LEARNT: tuple[Split, ...] = ("train", "validation", "calibration")
KINDS = ("windows", "points")
#: The table beside the stretches.
STRETCHES: dict[str, type[pl.DataType]] = {"star_id": pl.String, **dict.fromkeys(("orbit", "size", "first"), pl.Int32)}
Minutes = Annotated[float, Field(gt=0, le=60)]
#: Cadence of the simulated sectors, in which test stars are searched.
SECTOR_MINUTES = 2.0
#: A flare is looked for so far around its peak, in units of its FWHM: behind it has faded by a factor of 10^8.
REACH = (2.0, 100.0)


class TruthSettings(Settings):
    """Which cadences belong to a flare; all in units of the noise.

    Attributes
    ----------
    visible : what a flare adds at least where it is labelled.
    tail : what it adds at least where the label does not count.
    found, unseen : matched signal-to-noise ratio of the flare, from which on it is labelled, and below which it is not
        there.
    """

    visible: Annotated[float, Field(gt=0)] = 1.0
    tail: Annotated[float, Field(gt=0)] = 0.3
    found: Annotated[float, Field(gt=0)] = 5.0
    unseen: Annotated[float, Field(ge=0)] = 2.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (self.tail <= self.visible and self.unseen <= self.found):
            raise ValueError("tail must not be above visible, nor unseen above found")
        return self


class StretchSettings(Settings):
    """Stretches of light curves for a network of points.

    Attributes
    ----------
    representation : what the network reads.
    length : cadences of a stretch; an orbit's last one is filled up with missing cadences.
    cadences : lengths of the exposures [min], ascending from that of the sectors, in which test stars are searched;
        each is rounded to a whole number of the light curve's own, and one that is shorter than those is left out.
    inject : flares that are added; None adds none.
    """

    representation: PointRepresentation = PointRepresentation()
    length: Annotated[int, Field(ge=64)] = 2048
    cadences: Annotated[tuple[Minutes, ...], Field(min_length=1)] = (2.0,)
    inject: TrainingDraw | None = TrainingDraw()
    truth: TruthSettings = TruthSettings()

    @field_validator("cadences")
    @classmethod
    def _ascending(cls, cadences: tuple[float, ...]) -> tuple[float, ...]:
        if list(cadences) != sorted(set(cadences)) or cadences[0] != SECTOR_MINUTES:
            raise ValueError(f"must ascend from {SECTOR_MINUTES:g}, the cadence of the sectors")
        return cadences

    def sizes(self, orbit: Orbit) -> list[int]:
        """How many of an orbit's cadences make one of each length, ascending."""
        return sorted({round(minutes / 1440.0 / orbit.cadence) for minutes in self.cadences} - {0})


class ExampleSettings(Settings):
    """Both kinds of examples."""

    windows: WindowSettings = WindowSettings()
    points: StretchSettings = StretchSettings()


class ExamplePiece(NamedTuple):
    """One shard of light curves, and one split of its stars, of which stretches are to be made."""

    shard: Path
    flares: Path
    split: Split
    splits: SplitSettings
    orbits: OrbitSettings
    settings: StretchSettings


def cadence_truth(orbit: Orbit, labels: pl.DataFrame, settings: TruthSettings) -> NDArray[np.float32]:
    """Whether each cadence belongs to a flare, and with which weight it counts, float32 (2, m).

    Parameters
    ----------
    labels : LABELS of the orbit's star, with `tpeak`, `amplitude` and `fwhm_minutes`; where one has no amplitude, from
        its `tstart` to its `tstop` nothing counts either way.
    """
    noise = flux_noise(orbit)
    label = np.zeros(len(orbit), dtype=np.float32)
    weight = orbit.good.astype(np.float32)
    unsure = np.zeros(len(orbit), dtype=bool)
    doubts = labels.filter(pl.col("amplitude").is_null()).select("tstart", "tstop").drop_nulls()
    for begin, end in doubts.iter_rows():
        unsure |= (orbit.time >= begin) & (orbit.time <= end)
    flares = labels.drop_nulls("amplitude").select("tpeak", "amplitude", "fwhm_minutes")
    for tpeak, amplitude, minutes in flares.iter_rows():
        fwhm = minutes / 1440.0
        begin, end = tpeak - REACH[0] * fwhm - orbit.cadence, tpeak + REACH[1] * fwhm + orbit.cadence
        part = slice(*np.searchsorted(orbit.time, (begin, end)))
        snr = np.where(
            orbit.good[part], _light(orbit.time[part], tpeak, amplitude, fwhm, orbit.cadence) / noise[part], 0
        )
        matched = float(np.sqrt(np.sum(snr**2)))
        if matched < settings.unseen:
            continue
        if matched >= settings.found:
            label[part][snr >= settings.visible] = 1.0
            label[part][snr == snr.max()] = 1.0
        unsure[part] |= snr >= settings.tail
    weight[unsure & (label == 0)] = 0.0
    return np.stack([label, weight])


def _light(time: Array, tpeak: float, amplitude: float, fwhm: float, exposure: float) -> Array:
    one = Flares(np.array([tpeak]), np.array([amplitude]), np.array([fwhm]), np.zeros(1, np.int64))
    return flare_flux(one, time, exposure)


def star_stretches(
    star_id: str, orbits: Sequence[Orbit], labels: pl.DataFrame, settings: StretchSettings
) -> tuple[NDArray[np.float16], pl.DataFrame]:
    """The stretches of one star, float16 (n, channels + 2, length): what the network reads, label and weight.

    Returns
    -------
    with the stretches a table of n rows: `star_id`, `orbit`, `size`, the light curve's cadences in each of the
    stretch's, and `first`, the one of the stretch's with which it begins.
    """
    own = labels.filter(pl.col("star_id") == star_id)
    if settings.inject is not None and orbits:
        injected = inject(star_id, orbits, own, settings.inject)
        orbits, own = injected.orbits, pl.concat([own, injected.labels])
    length = settings.length
    found, rows = [], []
    for number, size, orbit in _binned(orbits, settings):
        channels = np.concatenate(
            [make_points(orbit, settings.representation), cadence_truth(orbit, own, settings.truth)]
        )
        count = -(-len(orbit) // length)
        padded = np.zeros((len(channels), count * length), dtype=np.float16)
        padded[:, : len(orbit)] = channels
        found.append(padded.reshape(len(channels), count, length).swapaxes(0, 1))
        rows += [(star_id, number, size, k * length) for k in range(count)]
    shape = (0, settings.representation.channels + 2, length)
    index = pl.DataFrame(rows, schema=STRETCHES, orient="row")
    return np.concatenate([np.empty(shape, np.float16), *found]), index


def _binned(orbits: Sequence[Orbit], settings: StretchSettings) -> Iterator[tuple[int, int, Orbit]]:
    """Each orbit, by number, in exposures of each length."""
    for number, orbit in enumerate(orbits):
        for size in settings.sizes(orbit):
            yield number, size, bin_orbit(orbit, size)


def build_examples(
    sectors: Path,
    kind: str,
    orbits: OrbitSettings,
    splits: SplitSettings,
    settings: ExampleSettings,
    folder: Path,
    engine: Engine | None = None,
) -> dict[str, int] | None:
    """Examples of one kind from all stars of `sectors`; returns the number in each split.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    sectors : as `varistar.sky.snapshot.write_space` writes them.
    folder : replaced; receives one array set for each split of `LEARNT`.

    Raises
    ------
    ConfigError
        When there is no such kind.
    DataError
        When there are no light curves.
    """
    if kind not in KINDS:
        raise ConfigError(f"there are no examples of the kind '{kind}'; there are {' and '.join(KINDS)}")
    if kind == "windows":
        return build_windows(sectors, LEARNT, orbits, splits, settings.windows, folder, engine)
    shards = shards_of(sectors)
    items = [
        ExamplePiece(shard, sectors / "flares.parquet", split, splits, orbits, settings.points)
        for split in LEARNT
        for shard in shards
    ]
    axes = ["example", "channel", "cadence"]
    described = {"orbits": orbits.model_dump(mode="json"), "settings": settings.points.model_dump(mode="json")}

    def deliver(done: Iterator[Done]) -> dict[str, int]:
        counts: dict[str, int] = {}
        with atomic_folder(folder) as whole:
            for split in LEARNT:
                targets = [target for target, _ in islice(done, len(shards))]
                counts[split] = collect_arrays(whole / split, axes, targets, described)
        return counts

    key = described | {"splits": splits.model_dump(mode="json"), "sectors": folder_hash(sectors)}
    parts = folder.with_name(f"{folder.name}.parts")
    return run_job(_make_piece, items, parts, key, deliver, engine, kind, lambda item: item.shard)


def _make_piece(piece: ExamplePiece, target: Path) -> dict[str, int]:
    stars = dict(read_orbits(piece.shard, piece.orbits))
    splits = split_stars(list(stars), piece.splits)
    mine = [name for name, split in zip(stars, splits, strict=True) if split == piece.split]
    labels = read_simulated(piece.flares).filter(pl.col("star_id").is_in(mine))
    made = [star_stretches(name, stars[name], labels, piece.settings) for name in mine]
    made.append(star_stretches("", [], labels, piece.settings))  # so that none is a table too
    arrays, index = np.concatenate([one for one, _ in made]), pl.concat([rows for _, rows in made])
    write_array_shard(target, arrays, index)
    return {"examples": len(arrays)}


def main(kind: str) -> None:
    """The stage: examples of this kind, `windows` or `points`."""
    root = find_root()
    build = root / "build/flares"
    with with_labelled(build / "sectors", find_labelled(root), build / f"examples/{kind}.stars") as stars:
        counts = build_examples(
            stars,
            kind,
            read_section(root, "flares.orbits", OrbitSettings),
            read_section(root, "flares.split", SplitSettings),
            read_section(root, "flares.examples", ExampleSettings),
            build / "examples" / kind,
        )
    if counts:
        print(f"{kind}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
