"""The chunked Lomb-Scargle transform: how strong each period is at each time.

At a node time t and for a period P = 1/nu the points are seen through a Gaussian window of width d = tradeoff * P,

    power(t, P) = LombScargle(x, y, dy=e/w).power(nu, normalization="psd") / (sqrt(2 pi) d),
    w = exp(-((x - t)/d)^2 / 2)

(000_83964f5f60524143.txt, section 3.3 and appendix B), a floating-mean Lomb-Scargle of the points near t. With
W = w^2/e^2 and weighted means over the window this is, in closed form (ours),

    power = S/2 (SS CY^2 + CC SY^2 - 2 CS CY SY) / (CC SS - CS^2) / (sqrt(2 pi) d),

S = sum W, and CC, SS, CS, CY, SY the weighted (co)variances of cos(2 pi nu x), sin(2 pi nu x) and y: eight sums a cell.

Short windows hold few points, so that their cells are summed point by point (`direct`); long windows overlap, so that
the sums of all their cells come from one non-uniform FFT (`bandpass`). Of the latter, a cell in which the noise of the
other points could matter is summed point by point again; a cell in which rounding could still matter is summed with
more care (`exact`). Several such maps of a star are made in one pass (`maps`). Every cell is finite:

- a cell is *empty*, and its power 0, if no point lies within EMPTY_RADIUS = 5 window widths of its node, beyond which a
  point weighs less than 1.4e-11 of what it weighs at the node (`cells_with_data` tells which cells are not empty);
- a cell whose points fix fewer than three numbers has the power of the least-squares fit: 0 for one point or for many
  at one time, half the weighted sum of squares about the mean for two.

The loop above gives NaN and infinity or rounding noise in these cells.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cells import near_cells
from .maps import EMPTY_RADIUS, ChunkedTransforms, Grid, Quantity
from .points import read_grid

__all__ = [
    "EMPTY_RADIUS",
    "ChunkedTransform",
    "ChunkedTransforms",
    "Grid",
    "Quantity",
    "cells_with_data",
    "chunked_lombscargle",
    "chunked_lombscargle_batch",
]


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
    return near_cells(times, read_grid(node_times, "node time"), radius * widths).T


class ChunkedTransform:
    """The transform for one grid: the object that a worker keeps, with its tables, buffers and FFT plans.

    It runs on one thread and must not be shared between threads. A pickle carries the grid only.

    Parameters
    ----------
    periods, node_times, tradeoff
        As in `chunked_lombscargle`.
    quantity : {"psd", "delta_chi2"}
        The power, or 2 sqrt(2 pi) d times it: by how much a sinusoid lowers the chi^2 of the points in the window.
    """

    def __init__(
        self, periods: ArrayLike, node_times: ArrayLike, tradeoff: float = 2.0, quantity: Quantity = "psd"
    ) -> None:
        self._maps = ChunkedTransforms([Grid(periods, tradeoff, quantity)], node_times)
        self.node_times = self._maps.node_times
        (grid,) = self._maps.grids
        self.periods, self.tradeoff, self.quantity = np.asarray(grid.periods), float(tradeoff), grid.quantity

    def __reduce__(self) -> tuple[type["ChunkedTransform"], tuple[NDArray, NDArray, float, Quantity]]:
        return ChunkedTransform, (self.periods, self.node_times, self.tradeoff, self.quantity)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_node_times, n_periods)."""
        return self._maps.shapes[0]

    def __call__(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike,
        out: NDArray[np.float64] | None = None,
        cells: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """The transform of one star, as `chunked_lombscargle`.

        Parameters
        ----------
        out : float64 of `shape`, optional
            Where to write it.
        cells : bool of `shape`, optional
            Where to write `cells_with_data`, which the transform needs anyway.
        """
        return self._maps(time, flux, flux_err, _alone(out), _alone(cells))[0]

    def batch(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike,
        offsets: ArrayLike,
        out: NDArray[np.float64] | None = None,
        cells: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """The transforms of many stars, as `chunked_lombscargle_batch`; `out` and `cells` (n_stars, *shape)."""
        return self._maps.batch(time, flux, flux_err, offsets, _alone(out), _alone(cells))[0]


def _alone(array: NDArray | None) -> list[NDArray] | None:
    """The array as the list of one grid's."""
    return None if array is None else [array]
