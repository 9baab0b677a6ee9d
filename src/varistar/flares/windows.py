"""The paper's training samples: short pieces of a light curve with a flare at their centre, or with none near it.

A star's labels are placed on its cadences (`place_labels`), which gives the windows of flares; every other window that
could be drawn from it follows (`candidate_windows`). Of all stars' candidates as many without a flare are drawn as the
wanted share of flares leaves (`draw_windows`), and these are cut out (`cut_windows`).

**Lost cadences.** A window lies in one orbit, and over gaps of at most `close` lost cadences it is closed: it holds the
`length` cadences about its centre that there are. So the published code does, which drops lost cadences and ends a
stretch where a step in time is longer than the median and 1.5 standard deviations of all steps, seven lost cadences in
a sector of two orbits. The search has the same rule, hence what is learned is what is asked. Other than in the
published code nothing is stitched where a flare was cut out (AMB-61).

**Faint flares.** A simulated star has flares that nobody could see, and a light curve cannot teach what it does not
show. A label counts as a flare from `flare_snr` on. Below `faint_snr` it is noise, and windows are drawn as if it were
not there: of the embedded survey's 7,206 such flares none is 3 sigma even to a filter of its own shape. Between the two
lie those that a network may or may not see, where either answer is right: they are no flares to learn, and no window
without a flare is centred near them. Near is `faint_clearance`, much less than the `clearance` around a flare, since
the windows of the most active stars, which need them most, would otherwise be halved.

**What 30 % means.** The paper calls 5389 flares among 17,684 others 30 %; that is flares per other window, and 23.4 %
of all windows (AMB-50). The settings take the latter and `class_shares` gives both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings
from varistar.sky.streams import stream

from .labels import LABELS
from .orbits import Orbit

Array = NDArray[np.float64]
Use = Literal["flare", "faint", "noise", "outside", "incomplete", "same cadence"]

#: A row for every window: where its centre lies, and what is there; of a window without a flare `tpeak`, `amplitude`
#: and `peak_snr` are null. `draw` is the order in which windows without a flare are taken, 0 for flares.
INDEX: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    "orbit": pl.Int32,
    "centre": pl.Int32,
    "tpeak": pl.Float64,
    "label": pl.Int8,
    "amplitude": pl.Float64,
    "peak_snr": pl.Float64,
    "draw": pl.Float64,
}


class WindowSettings(Settings):
    """How windows are made; lengths and distances are in cadences.

    Attributes
    ----------
    length : of a window; its centre is cadence length // 2.
    close : the most cadences in a row that may be lost from a window; 0 wants them all.
    tolerance_days : a label is placed on the nearest cadence that is not lost, if that is no farther [d].
    recentre : the centre is the highest flux so near to the labelled time; 0, the paper's, takes the label at its word.
    flare_snr : least peak_snr of a flare.
    faint_snr : least peak_snr of a label that windows without a flare keep away from.
    estimate_snr : whether an unknown peak_snr is the amplitude over the star's median error; otherwise, as in the
        paper, such a label is a flare however faint.
    clearance, faint_clearance : least distance between the centre of a window without a flare and any flare, or any
        label between faint_snr and flare_snr, from its beginning to its end where they are known.
    flare_fraction : share of flares among the windows drawn.
    strides : windows without a flare are `strides[0]` apart; where those are too few, some that are strides[1] apart
        join them, and so on. With strides[0] of at least the length, windows overlap only then.
    seed : of the grids on which windows without a flare lie, and of their order.
    """

    length: Annotated[int, Field(ge=2)] = 200
    close: Annotated[int, Field(ge=0)] = 7
    tolerance_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.02
    recentre: Annotated[int, Field(ge=0)] = 0
    flare_snr: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0
    faint_snr: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    estimate_snr: bool = True
    clearance: Annotated[int, Field(ge=0)] = 100
    faint_clearance: Annotated[int, Field(ge=0)] = 15
    flare_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.234
    strides: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (200, 100, 50, 25)
    seed: Annotated[int, Field(ge=0)] = 88

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.faint_snr > self.flare_snr:
            raise ValueError(f"faint_snr, {self.faint_snr:g}, must not be above flare_snr, {self.flare_snr:g}")
        if any(one <= other for one, other in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"strides must become smaller, not {self.strides}")
        return self


def training_windows(
    stars: Mapping[str, Sequence[Orbit]], labels: pl.DataFrame, settings: WindowSettings
) -> tuple[NDArray[np.float32], pl.DataFrame]:
    """Windows of these stars, in order of star, orbit and centre, and the table that says what they are.

    A star without labels gives windows without a flare; labels of other stars are not used.

    Returns
    -------
    windows : float32 (n, length), in units of the orbit's median flux
    index : INDEX, n rows
    """
    index = draw_windows(all_candidates(stars, labels, settings), settings)
    return cut_windows(index, stars, settings), index


def place_labels(orbits: Sequence[Orbit], labels: pl.DataFrame, settings: WindowSettings) -> pl.DataFrame:
    """One star's labels with the cadence that each is placed on, and what becomes of it.

    Returns
    -------
    DataFrame
        LABELS, with estimates of unknown `peak_snr` where they are asked for, and the columns `orbit` and `centre` i32,
        null where no cadence is near enough, and `use`: "flare" for a window; "faint" between the two limits; "noise"
        below them; "outside", no cadence near enough, or no peak given; "incomplete", the window reaches over a gap
        that is not closed or the orbit's edge; "same cadence", a larger flare is placed there.
    """
    if not orbits:
        nowhere = pl.lit(None, pl.Int32)
        return labels.with_columns(orbit=nowhere, centre=nowhere, use=pl.lit("outside"))
    cadences = _Cadences(orbits, settings)
    tpeak, amplitude, snr = (labels[name].to_numpy().astype(np.float64) for name in ("tpeak", "amplitude", "peak_snr"))
    place, found = cadences.nearest(tpeak, settings.tolerance_days)
    if settings.estimate_snr and np.isfinite(cadences.flux_err).any():
        snr = np.where(np.isnan(snr), amplitude / np.nanmedian(cadences.flux_err), snr)
    place = cadences.highest(place, settings.recentre)
    chosen = found & ~(snr < settings.flare_snr) & cadences.whole[place]
    use = np.select(
        [~found, snr < settings.faint_snr, snr < settings.flare_snr, ~chosen, ~_largest(place, amplitude, chosen)],
        ["outside", "noise", "faint", "incomplete", "same cadence"],
        "flare",
    )
    placed = {
        "peak_snr": pl.Series(snr).fill_nan(None),
        "orbit": pl.Series(cadences.orbit[place], dtype=pl.Int32),
        "centre": pl.Series(cadences.within[place], dtype=pl.Int32),
    }
    return labels.with_columns(**placed, use=pl.Series(use.astype(np.str_), dtype=pl.String)).with_columns(
        pl.when(pl.Series(found)).then(pl.col(name)).alias(name) for name in ("orbit", "centre")
    )


def all_candidates(
    stars: Mapping[str, Sequence[Orbit]], labels: pl.DataFrame, settings: WindowSettings
) -> pl.DataFrame:
    """`candidate_windows` of star after star; labels of other stars are not used."""
    of_star = labels.partition_by("star_id", as_dict=True)
    none = pl.DataFrame(schema=LABELS)
    parts = [
        candidate_windows(star_id, orbits, of_star.get((star_id,), none), settings) for star_id, orbits in stars.items()
    ]
    return pl.concat([pl.DataFrame(schema=INDEX), *parts])


def candidate_windows(
    star_id: str, orbits: Sequence[Orbit], labels: pl.DataFrame, settings: WindowSettings
) -> pl.DataFrame:
    """Every window of a flare of one star, and every window without a flare that might be drawn.

    What is drawn depends on the seed and the star's name alone, not on other stars.

    Parameters
    ----------
    labels : LABELS of this star.

    Returns
    -------
    INDEX, in order of orbit and centre.
    """
    if not orbits:
        return pl.DataFrame(schema=INDEX)
    placed = place_labels(orbits, labels, settings)
    cadences = _Cadences(orbits, settings)
    free = cadences.whole & ~_near_label(placed, orbits, cadences, settings)
    ranks, draw = _on_grids(free[cadences.good], settings.strides, stream(settings.seed, "flare windows", star_id))
    others = cadences.good[ranks]
    flares = placed.filter(pl.col("use") == "flare").with_columns(label=pl.lit(1), draw=pl.lit(0.0))
    rest = pl.DataFrame({"orbit": cadences.orbit[others], "centre": cadences.within[others], "draw": draw})
    return (
        pl.concat([flares, rest.with_columns(label=pl.lit(0))], how="diagonal_relaxed")
        .with_columns(star_id=pl.lit(star_id))
        .select(INDEX.keys())
        .cast(INDEX)  # type: ignore[arg-type]
        .sort("orbit", "centre")
    )


def draw_windows(candidates: pl.DataFrame, settings: WindowSettings) -> pl.DataFrame:
    """All windows of flares among these, and as many without a flare as the wanted share of flares leaves.

    If there are not so many, all are taken; `class_shares` says what came of it.

    Parameters
    ----------
    candidates : INDEX, of any stars in any order.

    Returns
    -------
    INDEX, in order of star, orbit and centre.
    """
    of_flare = candidates["label"] == 1
    limit = draw_limit(int(of_flare.sum()), [candidates.filter(~of_flare)["draw"].to_numpy()], settings)
    return drawn(candidates, limit).sort("star_id", "orbit", "centre")


def draw_limit(flares: int, draws: Iterable[Array], settings: WindowSettings) -> float:
    """The highest `draw` of a window without a flare that is taken, if there are so many flares; -1 for none.

    Parameters
    ----------
    draws : of the candidates without a flare, part by part: no more than those taken and one part are held at once.
    """
    wanted = round(flares * (1.0 / settings.flare_fraction - 1.0))
    least = np.empty(0)
    for part in draws:
        least = np.concatenate([least, part])
        if len(least) > wanted:
            least = np.partition(least, wanted)[:wanted]
    return float(least.max(initial=-1.0))


def drawn(candidates: pl.DataFrame, limit: float) -> pl.DataFrame:
    """The candidates that are flares, or whose `draw` is not above the limit."""
    return candidates.filter((pl.col("label") == 1) | (pl.col("draw") <= limit))


def cut_windows(
    index: pl.DataFrame, stars: Mapping[str, Sequence[Orbit]], settings: WindowSettings
) -> NDArray[np.float32]:
    """The windows of an index, float32 (n, length), in units of the orbit's median flux.

    Raises
    ------
    DataError
        When a star or an orbit of the index is not there, or a window is not whole: the index is of other light curves.
    """
    windows = np.empty((index.height, settings.length), dtype=np.float32)
    rows = index.select("star_id", "orbit", "centre").with_row_index("row")
    for (star_id, orbit), part in rows.partition_by("star_id", "orbit", as_dict=True, include_key=False).items():
        orbits = stars.get(str(star_id), ())
        if not 0 <= orbit < len(orbits):
            raise DataError(f"star {star_id}: has no orbit {orbit}, in which the index has windows")
        cadences = _Cadences([orbits[orbit]], settings)
        centre = part["centre"].to_numpy()
        whole = np.isin(centre, np.flatnonzero(cadences.whole))
        if not whole.all():
            raise DataError(f"star {star_id}: there is no window about cadence {centre[~whole][0]} of orbit {orbit}")
        first = np.searchsorted(cadences.good, centre) - settings.length // 2
        flux = cadences.flux[cadences.good]
        windows[part["row"].to_numpy()] = sliding_window_view(flux, settings.length)[first]
    return windows


def class_shares(index: pl.DataFrame) -> dict[str, float]:
    """How many windows are flares and how many not, and the two numbers that are called their fraction (AMB-50)."""
    flares = int((index["label"] == 1).sum())
    others = index.height - flares
    return {
        "flares": flares,
        "others": others,
        "flares_of_all": flares / index.height if index.height else np.nan,
        "flares_per_other": flares / others if others else np.nan,
    }


class _Cadences:
    """A star's orbits one after the other.

    Attributes
    ----------
    time, flux, flux_err : float64 (m,)
    orbit, within : int32 (m,), which orbit, and which cadence of it
    good : int64 (n,), the cadences that are not lost; what a window holds is consecutive here
    whole : bool (m,), whether there is a window centred here: that lies in one orbit and over no gap that is not closed
    """

    def __init__(self, orbits: Sequence[Orbit], settings: WindowSettings) -> None:
        lengths = np.array([len(orbit) for orbit in orbits], dtype=np.int64)
        self.time, self.flux, self.flux_err = (
            np.concatenate([np.empty(0), *(getattr(orbit, name) for orbit in orbits)])
            for name in ("time", "flux", "flux_err")
        )
        self.orbit = np.repeat(np.arange(len(orbits), dtype=np.int32), lengths)
        self.begin = np.repeat(np.cumsum(lengths) - lengths, lengths)
        self.end = self.begin + np.repeat(lengths, lengths)
        self.within = (np.arange(len(self.time)) - self.begin).astype(np.int32)
        self.good = np.flatnonzero(np.isfinite(self.flux))
        apart = (np.diff(self.good) > settings.close + 1) | (np.diff(self.orbit[self.good]) > 0)
        starts = np.concatenate([[0], np.flatnonzero(apart) + 1])
        counts = np.diff(starts, append=len(self.good))
        start, stop = (np.repeat(edge, counts) for edge in (starts, starts + counts))
        first = np.arange(len(self.good)) - settings.length // 2
        self.whole = np.zeros(len(self.time), dtype=bool)
        self.whole[self.good] = (first >= start) & (first + settings.length <= stop)

    def nearest(self, times: Array, tolerance: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The cadence nearest to each time that is not lost, and whether it is near enough."""
        if not len(self.good):
            return np.zeros(len(times), dtype=np.int64), np.zeros(len(times), dtype=bool)
        time = self.time[self.good]
        after = np.searchsorted(time, times)
        left, right = (np.clip(rank, 0, len(time) - 1) for rank in (after - 1, after))
        rank = np.where(times - time[left] <= time[right] - times, left, right)
        return self.good[rank], np.abs(time[rank] - times) <= tolerance

    def highest(self, places: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
        """The cadence of highest flux at most `reach` from each of these, the nearest of equals, in the same orbit."""
        steps = np.array(sorted(range(-reach, reach + 1), key=abs))
        near = places[:, None] + steps
        inside = (near >= self.begin[places, None]) & (near < self.end[places, None])
        near = np.where(inside, near, places[:, None])
        flux = np.where(np.isfinite(self.flux[near]), self.flux[near], -np.inf)
        return near[np.arange(len(places)), np.argmax(flux, axis=1)]


def _largest(place: NDArray[np.int64], amplitude: Array, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the chosen labels is the largest on its cadence; one of unknown amplitude gives way."""
    order = np.lexsort((-amplitude, place, ~chosen))
    order = order[: int(chosen.sum())]
    _, first = np.unique(place[order], return_index=True)
    largest = np.zeros(len(place), dtype=bool)
    largest[order[first]] = True
    return largest


def _near_label(
    placed: pl.DataFrame, orbits: Sequence[Orbit], cadences: _Cadences, settings: WindowSettings
) -> NDArray[np.bool_]:
    """Which cadences are too near to a label for the centre of a window without a flare, shape (m,).

    Distances are taken in time, so that a flare in a gap keeps windows away too.
    """
    counted = placed.filter(pl.col("peak_snr").fill_null(np.inf) >= settings.faint_snr)
    centre = np.full(counted.height, np.nan)
    on_grid = counted["orbit"].is_not_null().to_numpy()
    begins = np.cumsum([0, *(len(orbit) for orbit in orbits)])
    here = counted.filter(on_grid)
    centre[on_grid] = cadences.time[begins[here["orbit"].to_numpy()] + here["centre"].to_numpy()]
    times = np.stack([centre, *(counted[name].to_numpy() for name in ("tpeak", "tstart", "tstop"))]).astype(np.float64)
    faint = (counted["peak_snr"] < settings.flare_snr).fill_null(False).to_numpy()
    reach = np.where(faint, settings.faint_clearance, settings.clearance) * orbits[0].cadence
    timed = np.isfinite(times).any(axis=0)
    first = np.searchsorted(cadences.time, np.fmin.reduce(times)[timed] - reach[timed], side="right")
    last = np.searchsorted(cadences.time, np.fmax.reduce(times)[timed] + reach[timed], side="left")
    n = len(cadences.time)
    steps = np.bincount(first, minlength=n + 1) - np.bincount(np.maximum(first, last), minlength=n + 1)
    return np.cumsum(steps)[:n] > 0


def _on_grids(
    free: NDArray[np.bool_], strides: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Cadences of ever finer grids over each stretch of free ones, and the order in which they are to be drawn.

    They are counted without the lost ones, so that windows that are closed over a gap do not overlap for that. No
    stretch reaches over more, since no window is centred on the first cadence after a gap or of an orbit. Each has
    grids of its own with a random beginning. The order of a cadence is at random between the number of its coarsest
    grid and the next, so that a finer grid waits until the coarser are used up.
    """
    places = np.flatnonzero(free)
    begins = np.flatnonzero(np.diff(places, prepend=-2) > 1) if len(places) else places
    lengths = np.diff(begins, append=len(places))
    phase = rng.integers(0, np.minimum(lengths, strides[0])) if len(lengths) else lengths
    along = np.arange(len(places)) - np.repeat(begins + phase, lengths)
    grid = np.select([along % stride == 0 for stride in strides], np.arange(len(strides)), -1)
    on_grid = grid >= 0
    return places[on_grid], grid[on_grid] + rng.random(int(on_grid.sum()))
