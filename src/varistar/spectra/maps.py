"""Several chunked transforms of one star in one pass: linear and logarithmic periods, several window widths and units.

Each map is a `Grid`. Its columns are *rows* here: a period and a window width, under which the sums of all node times
lie side by side. Rows that several grids share are computed once, and all rows share the check of the points and the
non-uniform FFT. A row goes one of two ways, whichever is cheaper for that many points: by FFT (`bandpass`), or point
by point (`direct`). Cells that this leaves inaccurate are summed with more care (`exact`).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError

from .bandpass import REACH, BandPass, band_limits, fft_length
from .cells import near_cells, solve_cell
from .direct import direct_power
from .exact import exact_power
from .points import Points, read_grid, read_offsets, read_points

#: Widths from a node beyond which points tell nothing about the signal there: their weight is below exp(-25) = 1.4e-11.
EMPTY_RADIUS = 5.0
#: More numbers than these (1 GiB) are not folded at once; such grids are summed point by point.
LARGEST_FOLD = 2**26

Quantity = Literal["psd", "delta_chi2"]


class Grid(NamedTuple):
    """One map: its periods, its windows, and what its cells hold.

    Attributes
    ----------
    periods : (n_periods,)
        In any order and spacing [d].
    tradeoff : float or (n_periods,)
        Window width in periods; one for all, or each period's own.
    quantity : {"psd", "delta_chi2"}
        The published power [1/d], or by how much a sinusoid lowers the chi^2 of the points in the window, which is
        2 sqrt(2 pi) times the window width times that power.
    """

    periods: ArrayLike
    tradeoff: ArrayLike = 2.0
    quantity: Quantity = "psd"


class ChunkedTransforms:
    """The transforms for some grids over the same node times, with their tables, buffers and FFT plans.

    It runs on one thread and must not be shared between threads. A pickle carries the grids only.

    Parameters
    ----------
    grids : one or more
    node_times : (n_node_times,)
        From the origin of the light curves' times [d]. Evenly spaced ascending nodes are fast, others slow.

    Raises
    ------
    ConfigError
        For no grid, an unknown quantity, a period, node time or tradeoff that is not finite, or a period or tradeoff
        that is not positive.
    """

    def __init__(self, grids: Sequence[Grid], node_times: ArrayLike) -> None:
        if len(grids) == 0:
            raise ConfigError("at least one grid of periods is needed; got none")
        self.node_times = read_grid(node_times, "node time")
        self.grids = [_read(grid) for grid in grids]
        pairs = np.concatenate(
            [np.stack([grid.periods * np.asarray(grid.tradeoff), grid.periods], axis=1) for grid in self.grids]
        )
        # Rows ascend in width, so that a node's windows only grow.
        rows, row_of = np.unique(pairs, axis=0, return_inverse=True)
        self._widths, self._periods = np.ascontiguousarray(rows.T)
        self._columns = np.split(row_of.ravel(), np.cumsum([np.size(grid.periods) for grid in self.grids])[:-1])
        self._scales = [_scale(grid) for grid in self.grids]
        self._spacing = _spacing(self.node_times, tolerance=1e-8 * self._widths[0])
        room = REACH * self._widths[-1] / self._spacing if self._spacing else 0.0
        # FFT lengths for points within the span of the nodes, and for points out to the reach of the windows.
        span = len(self.node_times) - 1
        self._fft_lengths = fft_length(span + room), fft_length(span + 2.0 * room)
        self._power = np.empty((len(rows), len(self.node_times)))
        self._fft_rows: dict[int, NDArray[np.int64]] = {}
        self._bandpasses: dict[tuple[int, int], BandPass] = {}

    def __reduce__(self) -> tuple[type["ChunkedTransforms"], tuple[list[Grid], NDArray]]:
        return ChunkedTransforms, (self.grids, self.node_times)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(n_node_times, n_periods) of each map."""
        return [(len(self.node_times), np.size(grid.periods)) for grid in self.grids]

    def __call__(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike,
        out: Sequence[NDArray[np.float64]] | None = None,
        cells: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[NDArray[np.float64]]:
        """The maps of one star.

        Parameters
        ----------
        time, flux, flux_err : (n_points,)
            Times in any order [d]; flux and its standard deviation in one unit. No points are allowed.
        out : float64 of `shapes`, optional
            Where to write the maps.
        cells : bool of `shapes`, optional
            Where to write which cells have a point within EMPTY_RADIUS window widths; the others are empty, power 0.

        Raises
        ------
        DataError
            For a point that is not finite, an error that is not positive, or arrays of different lengths.
        ConfigError
            For an `out` or `cells` of another shape or type.
        """
        out = self._room(out, np.float64, "out")
        points = read_points(time, flux, flux_err)
        times = np.sort(np.asarray(time, dtype=np.float64)) if points is None else points.time
        near = near_cells(times, self.node_times, EMPTY_RADIUS * self._widths)
        if cells is not None:
            for mask, columns in zip(self._room(cells, np.bool_, "cells"), self._columns, strict=True):
                np.take(near.T, columns, axis=1, out=mask)
        self._power[:] = 0.0
        unit = 0.0
        if points is not None:
            self._solve(points, near)
            unit = points.unit
        for image, columns, scale in zip(out, self._columns, self._scales, strict=True):
            _deliver(self._power, columns, unit * scale, image)
        return out

    def batch(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike,
        offsets: ArrayLike,
        out: Sequence[NDArray[np.float64]] | None = None,
        cells: Sequence[NDArray[np.bool_]] | None = None,
    ) -> list[NDArray[np.float64]]:
        """The maps of many stars: star `i` owns the points `offsets[i]:offsets[i + 1]`; a leading axis of stars.

        Raises
        ------
        DataError, ConfigError
            As for one star; the message names the star by its index.
        """
        time, flux, flux_err = np.asarray(time), np.asarray(flux), np.asarray(flux_err)
        limits = read_offsets(offsets, len(time))
        out = self._room(out, np.float64, "out", len(limits) - 1)
        if cells is not None:
            cells = self._room(cells, np.bool_, "cells", len(limits) - 1)
        for star, (begin, end) in enumerate(pairwise(limits)):
            masks = None if cells is None else [stars[star] for stars in cells]
            points = time[begin:end], flux[begin:end], flux_err[begin:end]
            try:
                self(*points, [stars[star] for stars in out], masks)
            except DataError as error:
                raise DataError(f"light curve {star}: {error}") from None
        return out

    def _room(self, arrays: Sequence[NDArray] | None, dtype: type, name: str, *n_stars: int) -> list[NDArray]:
        """The given arrays, checked, or new ones: one for each grid."""
        shapes = [(*n_stars, *shape) for shape in self.shapes]
        if arrays is None:
            return [np.empty(shape, dtype=dtype) for shape in shapes]
        if [array.shape for array in arrays] != shapes or any(array.dtype != dtype for array in arrays):
            wanted = ", ".join(map(str, shapes))
            got = ", ".join(f"{array.dtype} of shape {array.shape}" for array in arrays)
            raise ConfigError(f"{name} must be {np.dtype(dtype)} of shape {wanted}; got {got}")
        return list(arrays)

    def _solve(self, points: Points, wanted: NDArray[np.bool_]) -> None:
        """Fill the wanted cells of all rows; `wanted` is used up."""
        time, flux, weight, _ = points
        rows = self._rows_by_fft(len(time))
        if len(rows):
            self._solve_by_fft(points, rows, wanted)
        grid = self._periods, self._widths, self.node_times
        direct_power(wanted, time, flux, weight, *grid, self._power)
        exact_power(wanted, time, flux, weight, *grid, self._power)

    def _solve_by_fft(self, points: Points, rows: NDArray[np.int64], wanted: NDArray[np.bool_]) -> None:
        """Solve the cells of some rows by FFT; leave in `wanted` those that are not accurate."""
        time, flux, weight, _ = points
        room = REACH * self._widths[-1]
        start, stop = self.node_times[0], self.node_times[-1]
        if time[0] < start - room or time[-1] > stop + room:
            inside = slice(*np.searchsorted(time, [start - room, stop + room]))
            time, flux, weight = time[inside], flux[inside], weight[inside]
        if not len(time):
            return
        extent = max(time[-1] - start, stop - time[0])
        n_fft = self._fft_lengths[0] if extent + room <= self._fft_lengths[0] * self._spacing else self._fft_lengths[1]
        if (len(rows), n_fft) not in self._bandpasses:
            periods, widths = self._periods[rows], self._widths[rows]
            self._bandpasses[len(rows), n_fft] = BandPass(periods, widths / periods, start, self._spacing, n_fft)
        bandpass = self._bandpasses[len(rows), n_fft]
        sums, noise = bandpass(time, flux, weight)
        _solve_rows(sums.view(np.float64), noise, bandpass.rounding, rows, wanted, self._power)

    def _rows_by_fft(self, n_points: int) -> NDArray[np.int64]:
        """The rows to be solved by FFT, ascending: those with which a star takes the least work."""
        if self._spacing == 0.0 or 4 * self._fft_lengths[1] * len(self._periods) > LARGEST_FOLD:
            return np.empty(0, dtype=np.int64)
        # Each choice has tables of its own, so few are kept: one for each power of two of the number of points.
        size = n_points.bit_length()
        if size not in self._fft_rows:
            self._fft_rows[size] = _cheapest_rows(
                0.75 * 2**size, self._periods, self._widths, len(self.node_times), self._spacing, self._fft_lengths[0]
            )
        return self._fft_rows[size]


def _read(grid: Grid) -> Grid:
    """The grid, checked, with its periods as an array."""
    periods, tradeoff = read_grid(grid.periods, "period"), np.asarray(grid.tradeoff, dtype=np.float64)
    if not np.all(periods > 0.0):
        raise ConfigError(f"periods must be positive; got {periods.min()} d")
    if tradeoff.shape not in ((), periods.shape):
        raise ConfigError(f"there must be one tradeoff, or one for each of {len(periods)} periods; got {tradeoff.size}")
    if not np.all(good := np.isfinite(tradeoff) & (tradeoff > 0.0)):
        raise ConfigError(f"the tradeoff must be positive and finite; got {tradeoff[~good][0]}")
    if grid.quantity not in ("psd", "delta_chi2"):
        raise ConfigError(f"the quantity must be psd or delta_chi2; got {grid.quantity!r}")
    return Grid(periods, tradeoff, grid.quantity)


def _scale(grid: Grid) -> NDArray[np.float64]:
    """What turns half the explained sum of squares into the grid's quantity, for each period."""
    periods = np.asarray(grid.periods)
    if grid.quantity == "delta_chi2":
        return np.full(len(periods), 2.0)
    return 1.0 / (math.sqrt(2.0 * math.pi) * np.asarray(grid.tradeoff) * periods)


def _spacing(node_times: NDArray[np.float64], tolerance: float) -> float:
    """The distance between nodes where they are evenly spaced and ascend, else 0."""
    if len(node_times) < 2 or not node_times[-1] > node_times[0]:
        return 0.0
    even = np.linspace(node_times[0], node_times[-1], len(node_times))
    if np.abs(node_times - even).max() > tolerance:
        return 0.0
    return float((node_times[-1] - node_times[0]) / (len(node_times) - 1))


def _cheapest_rows(
    n_points: float,
    periods: NDArray[np.float64],
    widths: NDArray[np.float64],
    n_nodes: int,
    spacing: float,
    n_fft: int,
) -> NDArray[np.int64]:
    """The rows to be solved by FFT, the others point by point, at the least cost.

    A non-uniform FFT must reach the highest mode of all its rows, so that those with the highest go point by point. The
    costs are counts of operations times their measured durations [ns]: only their ratios matter, and not much.
    """
    per_cell, per_pair, per_mode, per_band_mode, per_fft_point = 100.0, 5.0, 20.0, 2.0, 1.0
    nodes_in_window = np.minimum(2.0 * EMPTY_RADIUS * widths / spacing, n_nodes)
    point_by_point = per_cell * n_nodes + per_pair * n_points * nodes_in_window
    first, count = band_limits(periods, widths / periods, n_fft * spacing)
    by_fft = per_band_mode * count.sum(axis=1) + per_fft_point * 4 * n_fft
    modes = 2 * np.maximum(-first.min(axis=1), (first + count).max(axis=1))
    order = np.argsort(-modes, kind="stable")
    remaining = np.cumsum(by_fft[order][::-1])[::-1] + per_mode * modes[order]
    cost = np.concatenate([[0.0], np.cumsum(point_by_point[order])]) + np.concatenate([remaining, [0.0]])
    return np.sort(order[np.argmin(cost) :])


@njit(cache=True, error_model="numpy")
def _solve_rows(
    sums: NDArray[np.float64],
    noise: float,
    rounding: NDArray[np.float64],
    rows: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    power: NDArray[np.float64],
) -> None:
    """Fill the wanted cells of some rows of `power` from their sums, and leave wanted those that are not accurate.

    Parameters
    ----------
    sums : (n_some, 4, at least 2 n_nodes)
        From `BandPass`, as pairs of real and imaginary part.
    noise : float
        The error of each sum, wherever its node is.
    rounding : (n_some,)
        The error of each sum in units of the sum of weights, from the rounding of phases.
    rows : (n_some,)
    wanted, power : (n_rows, n_nodes)
    """
    for j in range(rows.size):
        r = rows[j]
        _solve_row(sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3], noise, rounding[j], wanted[r], power[r])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _solve_row(
    zeroth: NDArray[np.float64],
    first: NDArray[np.float64],
    first_y: NDArray[np.float64],
    second: NDArray[np.float64],
    noise: float,
    rounding: float,
    wanted: NDArray[np.bool_],
    power: NDArray[np.float64],
) -> None:
    """One row of `_solve_rows`, without branches, for vector instructions."""
    for i in range(power.size):
        total = zeroth[2 * i]
        share = 1.0 / total
        y = zeroth[2 * i + 1] * share
        c, s = first[2 * i] * share, first[2 * i + 1] * share
        cos2, sin2 = second[2 * i] * share, second[2 * i + 1] * share
        cc, cs, ss = 0.5 + 0.5 * cos2 - c * c, 0.5 * sin2 - c * s, 0.5 - 0.5 * cos2 - s * s
        cy, sy = first_y[2 * i] * share - c * y, first_y[2 * i + 1] * share - s * y
        explained, accurate = solve_cell(cc, cs, ss, cy, sy, 1.0 + abs(y), noise * share + rounding)
        accurate &= total > 0.0
        power[i] = total * explained if accurate & wanted[i] else 0.0
        wanted[i] &= not accurate


@njit(cache=True)
def _deliver(
    power: NDArray[np.float64], rows: NDArray[np.int64], scale: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Write row `rows[j]` of the work array (n_rows, n_nodes) times scale[j] to column j of `out`."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = power[rows[j], i] * scale[j]
