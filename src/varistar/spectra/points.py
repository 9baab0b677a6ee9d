"""The points of one star as the spectra's kernels take them: checked, in order of time, and scaled."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from varistar.foundation.errors import ConfigError, DataError

#: Powers are squares of flux over error, and must be finite.
LARGEST_RATIO = 1e150


class Points(NamedTuple):
    """One star's points, scaled so that no sum over them overflows.

    Attributes
    ----------
    time : float64 (n_points,), ascending [d]
    flux : float64 (n_points,)
        Of zero weighted mean and unit weighted scatter.
    weight : float64 (n_points,)
        1 / flux_err^2 in units of the largest.
    unit : float
        What a weighted sum of squares of `flux` is multiplied with to be one of the given flux over its errors.
    """

    time: NDArray[np.float64]
    flux: NDArray[np.float64]
    weight: NDArray[np.float64]
    unit: float


def read_points(time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike) -> Points | None:
    """Check, sort and scale one star's points; None where there is nothing that varies.

    Parameters
    ----------
    time, flux, flux_err : (n_points,)
        In any order of time.

    Raises
    ------
    DataError
        For a value that is not finite, an error that is not positive, or arrays of different lengths.
    """
    # Copies, since compiled kernels take writable arrays only, or would be compiled anew for others.
    x, y, e = (np.array(values, dtype=np.float64, order="C") for values in (time, flux, flux_err))
    if not (x.ndim == 1 and x.shape == y.shape == e.shape):
        raise DataError(f"time, flux and flux_err must be equally long; got shapes {x.shape}, {y.shape} and {e.shape}")
    finite, ascending, smallest = _inspect(x, y, e)
    if not finite:
        _refuse_first_not_finite(time=x, flux=y, flux_err=e)
    if len(x) == 0:
        return None
    if not smallest > 0.0:
        raise DataError(f"flux_err is {smallest} at point {int(np.argmin(e))}; errors must be positive")
    if not ascending:
        order = np.argsort(x, kind="stable")
        x, y, e = x[order], y[order], e[order]
    weight = (smallest / e) ** 2
    largest, scatter = _standardise(y, weight)
    if scatter == 0.0:
        return None
    ratio = largest * scatter / smallest
    if not ratio < LARGEST_RATIO:
        raise DataError(f"flux varies by {largest:.3g} with errors of {smallest:.3g}: the ratio must be below 1e150")
    return Points(x, y, weight, ratio * ratio)


def read_times(time: ArrayLike, flux_err: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check one star's times and errors, for what needs no flux.

    Returns
    -------
    time, weight : float64 (n_points,)
        In the given order; 1 / flux_err^2 in units of the largest.

    Raises
    ------
    DataError
        As `read_points`.
    """
    x, e = (np.array(values, dtype=np.float64, order="C") for values in (time, flux_err))
    if not (x.ndim == 1 and x.shape == e.shape):
        raise DataError(f"time and flux_err must be equally long; got shapes {x.shape} and {e.shape}")
    _refuse_first_not_finite(time=x, flux_err=e)
    if len(x) and not e.min() > 0.0:
        raise DataError(f"flux_err is {e.min()} at point {int(np.argmin(e))}; errors must be positive")
    return x, (e.min(initial=math.inf) / e) ** 2


def read_grid(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """One axis of an image as a checked array of at least one finite number.

    Raises
    ------
    ConfigError
        When it is anything else.
    """
    grid = np.array(values, dtype=np.float64, order="C")
    if grid.ndim != 1 or len(grid) == 0:
        raise ConfigError(f"the {name}s must be a list of at least one; got shape {grid.shape}")
    if not (finite := np.isfinite(grid)).all():
        raise ConfigError(f"every {name} must be finite; got {grid[~finite][0]}")
    return grid


def read_offsets(offsets: ArrayLike, n_points: int) -> list[int]:
    """The limits between stars in flat arrays of `n_points`, as a list that starts at 0 or later and never falls.

    Raises
    ------
    DataError
        When they fall or point outside the arrays.
    """
    limits = np.asarray(offsets)
    if limits.ndim != 1 or len(limits) == 0 or limits[0] < 0 or limits[-1] > n_points or np.any(np.diff(limits) < 0):
        raise DataError(f"offsets must be an ascending list within 0 and the number of points, {n_points}")
    return [int(limit) for limit in limits]


@njit(cache=True)
def _inspect(
    time: NDArray[np.float64], flux: NDArray[np.float64], flux_err: NDArray[np.float64]
) -> tuple[bool, bool, float]:
    """Whether all values are finite, whether the times ascend, and the smallest error, in one pass."""
    finite = ascending = True
    smallest = math.inf
    for k in range(time.size):
        finite &= math.isfinite(time[k]) and math.isfinite(flux[k]) and math.isfinite(flux_err[k])
        ascending &= k == 0 or time[k - 1] <= time[k]
        smallest = min(smallest, flux_err[k])
    return finite, ascending, smallest


def _refuse_first_not_finite(**columns: NDArray[np.float64]) -> None:
    """Raise the error that names the first value that is not finite."""
    for name, values in columns.items():
        if not (finite := np.isfinite(values)).all():
            point = int(np.argmin(finite))
            raise DataError(f"{name} is {values[point]} at point {point}; points that are not finite must be cut first")


@njit(cache=True, error_model="numpy")
def _standardise(flux: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Give `flux`, in place, zero weighted mean and unit weighted scatter.

    Returns
    -------
    largest : float
        The largest distance of a flux from the mean.
    scatter : float
        The scatter in units of it; 0, and the flux is of no use, where no flux that weighs anything varies.
    """
    mean = (weight * flux).sum() / weight.sum()
    # A constant flux has a mean that is rounded.
    rounding = 4.0 * np.finfo(np.float64).eps * np.abs(flux).max()
    flux -= mean
    largest = np.abs(flux).max()
    if largest <= rounding:
        return largest, 0.0
    flux /= largest
    scatter = math.sqrt((weight * flux * flux).sum() / weight.sum())
    flux /= scatter
    return largest, scatter
