"""The chunked Lomb-Scargle transform: how strong each period is at each time.

At a node time t and for a period P = 1/nu the points are seen through a Gaussian window of width d = tradeoff * P,

    power(t, P) = LombScargle(x, y, dy=e/w).power(nu, normalization="psd") / (sqrt(2 pi) d),
    w = exp(-((x - t)/d)^2 / 2)

(000_83964f5f60524143.txt, section 3.3 and appendix B), a floating-mean Lomb-Scargle of the points near t. With
W = w^2/e^2 and weighted means over the window this is, in closed form (ours),

    power = S/2 (SS CY^2 + CC SY^2 - 2 CS CY SY) / (CC SS - CS^2) / (sqrt(2 pi) d),

S = sum W, and CC, SS, CS, CY, SY the weighted (co)variances of cos(2 pi nu x), sin(2 pi nu x) and y: eight sums a cell.

Short windows hold few points, so that their cells are summed point by point (`exact`); long windows overlap, so that
the sums of all their cells come from one non-uniform FFT (`bandpass`). Of the latter, a cell in which the rounding
errors could matter is summed point by point again. Every cell is finite:

- a cell is *empty*, and its power 0, if no point lies within EMPTY_RADIUS = 5 window widths of its node, beyond which a
  point weighs less than 1.4e-11 of what it weighs at the node (`cells_with_data` tells which cells are not empty);
- a cell whose points fix fewer than three numbers has the power of the least-squares fit: 0 for one point or for many
  at one time, half the weighted sum of squares about the mean for two.

The loop above gives NaN and infinity or rounding noise in these cells.
"""

import math
from functools import cached_property
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError

from .bandpass import REACH, BandPass, band_limits, fft_length
from .exact import exact_power, nearest_point
from .points import Points, read_grid, read_offsets, read_points

#: Widths from a node beyond which points tell nothing about the signal there: their weight is below exp(-25) = 1.4e-11.
EMPTY_RADIUS = 5.0
#: Cells whose estimated error exceeds this fraction of their power are summed point by point.
TOLERANCE = 5e-7
#: More numbers than these (1 GiB) are not folded at once; such grids are summed point by point.
LARGEST_FOLD = 2**26


def chunked_lombscargle(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    periods: ArrayLike,
    node_times: ArrayLike,
    tradeoff: float = 2.0,
) -> NDArray[np.float64]:
    """The chunked Lomb-Scargle transform of one star.

    Parameters
    ----------
    time, flux, flux_err : (n_points,)
        Times in any order and from any origin [d]; flux and its standard deviation in one unit. No points are allowed.
    periods : (n_periods,)
        In any order and spacing [d].
    node_times : (n_node_times,)
        From the origin of `time` [d]. Evenly spaced ascending nodes are fast, others slow.
    tradeoff : float
        Window width in periods: a larger one is sharper in period and blunter in time.

    Returns
    -------
    power : float64 (n_node_times, n_periods)
        In 1/d; finite everywhere. See the module for its definition.

    Raises
    ------
    DataError
        For a point that is not finite, an error that is not positive, or arrays of different lengths.
    ConfigError
        For a period, node time or tradeoff that is not finite, or a period or tradeoff that is not positive.
    """
    return ChunkedTransform(periods, node_times, tradeoff)(time, flux, flux_err)


def chunked_lombscargle_batch(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike,
    offsets: ArrayLike,
    periods: ArrayLike,
    node_times: ArrayLike,
    tradeoff: float = 2.0,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The chunked Lomb-Scargle transforms of many stars whose points stand one after the other.

    Parameters
    ----------
    time, flux, flux_err : (n_points,)
        Star `i` owns the points `offsets[i]:offsets[i + 1]`.
    offsets : (n_stars + 1,)
    periods, node_times, tradeoff
        As in `chunked_lombscargle`.
    out : float64 (n_stars, n_node_times, n_periods), optional
        Where to write the result.

    Returns
    -------
    power : float64 (n_stars, n_node_times, n_periods)

    Raises
    ------
    DataError, ConfigError
        As `chunked_lombscargle`; the message names the star by its index.
    """
    return ChunkedTransform(periods, node_times, tradeoff).batch(time, flux, flux_err, offsets, out)


def cells_with_data(
    time: ArrayLike,
    periods: ArrayLike,
    node_times: ArrayLike,
    tradeoff: float = 2.0,
    radius: float = EMPTY_RADIUS,
) -> NDArray[np.bool_]:
    """Which cells have a point within `radius` window widths of their node, as bool (n_node_times, n_periods).

    With the default radius these are the cells that the transform computes; the others are empty, power 0. The loop of
    the paper's appendix B keeps finite numbers out to sqrt(2 ln(4.5e161 / flux_err)) = 27 to 28 widths, where double
    precision underflows.
    """
    widths = float(tradeoff) * read_grid(periods, "period")
    times = np.sort(np.array(time, dtype=np.float64))
    return _near_cells(times, read_grid(node_times, "node time"), radius * widths).T


class ChunkedTransform:
    """The transform for one grid: the object that a worker keeps, with its tables, buffers and FFT plans.

    It runs on one thread and must not be shared between threads. A pickle carries the grid only.

    Parameters
    ----------
    periods, node_times, tradeoff
        As in `chunked_lombscargle`.
    """

    def __init__(self, periods: ArrayLike, node_times: ArrayLike, tradeoff: float = 2.0) -> None:
        self.periods = read_grid(periods, "period")
        self.node_times = read_grid(node_times, "node time")
        self.tradeoff = float(tradeoff)
        if not np.all(self.periods > 0.0):
            raise ConfigError(f"periods must be positive; got {self.periods.min()} d")
        if not (math.isfinite(self.tradeoff) and self.tradeoff > 0.0):
            raise ConfigError(f"the tradeoff must be positive and finite; got {self.tradeoff}")
        self._order = np.argsort(self.periods, kind="stable")
        self._ascending = self.periods[self._order]
        self._widths = self.tradeoff * self._ascending
        self._spacing = _spacing(self.node_times, tolerance=1e-8 * self._widths[0])
        self._power = np.empty((len(self.periods), len(self.node_times)))
        self._bandpasses: dict[tuple[int, int], BandPass] = {}
        self._splits: dict[int, int] = {}

    def __reduce__(self) -> tuple[type["ChunkedTransform"], tuple[NDArray, NDArray, float]]:
        return ChunkedTransform, (self.periods, self.node_times, self.tradeoff)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_node_times, n_periods)."""
        return len(self.node_times), len(self.periods)

    def __call__(
        self, time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike, out: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """The transform of one star, as `chunked_lombscargle`, written to `out` where given."""
        if out is None:
            out = np.empty(self.shape)
        elif out.shape != self.shape or out.dtype != np.float64:
            raise ConfigError(f"out must be float64 of shape {self.shape}; got {out.dtype} of shape {out.shape}")
        points = read_points(time, flux, flux_err)
        if points is None:
            out[:] = 0.0
            return out
        wanted = _near_cells(points.time, self.node_times, EMPTY_RADIUS * self._widths)
        self._power[:] = 0.0
        direct = self._first_long_window(len(points.time))
        if direct < len(self.periods):
            self._solve_long_windows(points, direct, wanted)
        time, flux, weight, unit = points
        exact_power(wanted, time, flux, weight, self._ascending, self.node_times, self.tradeoff, self._power)
        _deliver(self._power, unit / (math.sqrt(2.0 * math.pi) * self._widths), self._order, out)
        return out

    def batch(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike,
        offsets: ArrayLike,
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """The transforms of many stars, as `chunked_lombscargle_batch`."""
        time, flux, flux_err = np.asarray(time), np.asarray(flux), np.asarray(flux_err)
        limits = read_offsets(offsets, len(time))
        shape = (len(limits) - 1, *self.shape)
        if out is None:
            out = np.empty(shape)
        elif out.shape != shape:
            raise ConfigError(f"out must have the shape {shape}; got {out.shape}")
        for star, (begin, end) in enumerate(pairwise(limits)):
            try:
                self(time[begin:end], flux[begin:end], flux_err[begin:end], out=out[star])
            except DataError as error:
                raise DataError(f"light curve {star}: {error}") from None
        return out

    def _solve_long_windows(self, points: Points, direct: int, wanted: NDArray[np.bool_]) -> None:
        """Solve the cells of the periods from `direct` on by FFT; leave in `wanted` those that are not accurate."""
        room = REACH * self._widths[-1]
        start, stop = self.node_times[0], self.node_times[-1]
        inside = slice(*np.searchsorted(points.time, [start - room, stop + room]))
        time, flux, weight = points.time[inside], points.flux[inside], points.weight[inside]
        if not len(time):
            return
        extent = max(time[-1] - start, stop - time[0])
        n_fft = self._fft_lengths[0] if extent + room <= self._fft_lengths[0] * self._spacing else self._fft_lengths[1]
        if (direct, n_fft) not in self._bandpasses:
            periods = self._ascending[direct:]
            self._bandpasses[direct, n_fft] = BandPass(periods, self.tradeoff, start, self._spacing, n_fft)
        sums, noise = self._bandpasses[direct, n_fft](time, flux, weight)
        rounding = 2.0 * math.pi * np.finfo(np.float64).eps * n_fft * self._spacing / self._ascending[direct:]
        _solve(sums.view(np.float64), noise, rounding, wanted[direct:], self._power[direct:])

    @cached_property
    def _fft_lengths(self) -> tuple[int, int]:
        """FFT lengths for points within the span of the nodes, and for points out to the reach of the windows."""
        span = len(self.node_times) - 1
        room = REACH * self._widths[-1] / self._spacing
        return fft_length(span + room), fft_length(span + 2.0 * room)

    def _first_long_window(self, n_points: int) -> int:
        """The first of the ascending periods to be solved by FFT: the split at which a star takes the least work."""
        if self._spacing == 0.0 or 4 * self._fft_lengths[1] * len(self.periods) > LARGEST_FOLD:
            return len(self.periods)
        # Each split has tables of its own, so few are kept: one for each power of two of the number of points.
        size = n_points.bit_length()
        if size not in self._splits:
            self._splits[size] = _cheapest_split(
                0.75 * 2**size, self._ascending, self.tradeoff, self.shape[0], self._spacing, self._fft_lengths[0]
            )
        return self._splits[size]


def _spacing(node_times: NDArray[np.float64], tolerance: float) -> float:
    """The distance between nodes where they are evenly spaced and ascend, else 0."""
    if len(node_times) < 2 or not node_times[-1] > node_times[0]:
        return 0.0
    even = np.linspace(node_times[0], node_times[-1], len(node_times))
    if np.abs(node_times - even).max() > tolerance:
        return 0.0
    return float((node_times[-1] - node_times[0]) / (len(node_times) - 1))


def _cheapest_split(
    n_points: float, periods: NDArray[np.float64], tradeoff: float, n_nodes: int, spacing: float, n_fft: int
) -> int:
    """How many of the shortest of the ascending periods to sum point by point, the others by FFT, at the least cost.

    The costs are counts of operations times their measured durations [ns]: only their ratios matter, and not much.
    """
    per_cell, per_pair, per_mode, per_band_mode, per_fft_point = 100.0, 5.0, 20.0, 2.0, 1.0
    nodes_in_window = np.minimum(2.0 * EMPTY_RADIUS * tradeoff * periods / spacing, n_nodes)
    point_by_point = per_cell * n_nodes + per_pair * n_points * nodes_in_window
    first, count = band_limits(periods, tradeoff, n_fft * spacing)
    by_fft = per_band_mode * count.sum(axis=1) + per_fft_point * 4 * n_fft
    modes = 2 * np.maximum(-first.min(axis=1), (first + count).max(axis=1))
    remaining = np.concatenate([np.cumsum(by_fft[::-1])[::-1] + per_mode * modes, [0.0]])
    return int(np.argmin(np.concatenate([[0.0], np.cumsum(point_by_point)]) + remaining))


@njit(cache=True)
def _near_cells(
    time: NDArray[np.float64], node_times: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which nodes have one of the ascending times within each reach, as (n_periods, n_nodes)."""
    near = np.zeros((reach.size, node_times.size), dtype=np.bool_)
    if time.size > 0:
        for i in range(node_times.size):
            distance = abs(time[nearest_point(time, node_times[i])] - node_times[i])
            for j in range(reach.size):
                near[j, i] = distance <= reach[j]
    return near


@njit(cache=True, error_model="numpy")
def _solve(
    sums: NDArray[np.float64],
    noise: float,
    rounding: NDArray[np.float64],
    wanted: NDArray[np.bool_],
    power: NDArray[np.float64],
) -> None:
    """Fill the wanted cells of `power` from their sums, and leave wanted those whose error may exceed TOLERANCE.

    Parameters
    ----------
    sums : (n_periods, 4, at least 2 n_nodes)
        From `BandPass`, as pairs of real and imaginary part.
    noise : float
        The error of each sum, wherever its node is.
    rounding : (n_periods,)
        The error of each sum in units of the sum of weights, from the rounding of phases.
    wanted, power : (n_periods, n_nodes)
    """
    for j in range(power.shape[0]):
        _solve_row(sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3], noise, rounding[j], wanted[j], power[j])


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
    """One period of `_solve`, without branches, for vector instructions.

    With sums per weight, M the 2 x 2 matrix of (CC, CS; CS, SS), v = (CY, SY) and u = M^-1 v the fitted amplitudes, the
    power per weight is u.v/2, and errors dM and dv change it by u.dv - u.dM.u/2. M is solved by elimination: the closed
    formula with its determinant would spread the rounding of a nearly singular M over all of u.
    """
    for i in range(power.size):
        total = zeroth[2 * i]
        share = 1.0 / total
        y = zeroth[2 * i + 1] * share
        c, s = first[2 * i] * share, first[2 * i + 1] * share
        cos2, sin2 = second[2 * i] * share, second[2 * i + 1] * share
        cc, ss, cs = 0.5 + 0.5 * cos2 - c * c, 0.5 - 0.5 * cos2 - s * s, 0.5 * sin2 - c * s
        cy, sy = first_y[2 * i] * share - c * y, first_y[2 * i + 1] * share - s * y
        slope = cs / cc
        rest = ss - slope * cs
        amplitude_s = (sy - slope * cy) / rest
        amplitude_c = cy / cc - slope * amplitude_s
        explained = 0.5 * (amplitude_c * cy + amplitude_s * sy)
        amplitude = abs(amplitude_c) + abs(amplitude_s)
        error = noise * share + rounding
        # The smaller eigenvalue of M is at least cc rest / (cc + ss); beyond its reach the estimate is no bound.
        accurate = (total > 0.0) & (cc * rest > 100.0 * error * (cc + ss))
        accurate &= amplitude * error * (1.0 + abs(y) + amplitude) <= TOLERANCE * explained
        power[i] = total * explained if accurate & wanted[i] else 0.0
        wanted[i] &= not accurate


@njit(cache=True)
def _deliver(
    power: NDArray[np.float64], scale: NDArray[np.float64], column: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    """Turn the work array (n_periods, n_nodes) to (n_nodes, n_periods), its row j times scale[j] to column[j]."""
    for i in range(power.shape[1]):
        for j in range(power.shape[0]):
            out[i, column[j]] = power[j, i] * scale[j]
