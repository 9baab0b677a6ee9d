"""The chunked transform summed point by point: slow in long windows, accurate in every cell.

One cell is a weighted least-squares fit of a sinusoid and a constant. Few or clumped points must not cost digits that
the data do not force it to lose. So phases are counted from the point nearest to the node, and the cosine is replaced
by cosine - 1, which is then exact to its last digit for the points of a clump however small; and the two regressors are
made orthogonal by turning them to their principal axes, after their weighted means are taken off. Where the points fix
fewer than three numbers (two points, or many at one time) the fit along the axis that they leave open is dropped: the
power is then the least-squares one, half the weighted sum of squares that the fit explains.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cells import nearest_point, polynomial

#: A point is left out of a cell when its weight is below exp(-60) = 1e-26 of that of the cell's nearest point. Weights
#: of 1e-16 still count where the others stand in a clump: in one of minutes, cosines of long periods vary by no more.
NEGLIGIBLE_EXPONENT = 60.0
#: The points leave the second axis open when the regressors' variance along it is below this fraction of that along the
#: first: coordinates are rounded at 1e-16 to 1e-14 of the first's, the root of this fraction is 1e-12.
OPEN_AXIS = 1e-24

# Taylor series from the highest power down, good to 1e-17 for exp on (-0.7, 0), cos and sin(x)/x on (-pi/2, pi/2).
_EXP = tuple(1.0 / math.factorial(n) for n in range(12, -1, -1))
_COS = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(11, -1, -1))
_SIN = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(11, -1, -1))


@njit(cache=True, error_model="numpy")
def exact_power(
    wanted: NDArray[np.bool_],
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    periods: NDArray[np.float64],
    widths: NDArray[np.float64],
    node_times: NDArray[np.float64],
    power: NDArray[np.float64],
) -> None:
    """Fill the wanted cells of `power` with half the weighted sum of squares that a sinusoid explains.

    Parameters
    ----------
    wanted : (n_rows, n_nodes)
        The cells to compute; the others are left as they are.
    time : (n_points,), at least one, ascending [d]
    flux : (n_points,)
        In any unit; no mean need be taken off.
    weight : (n_points,)
        1 / flux_err^2 in any unit, at most 1.
    periods, widths : (n_rows,), ascending widths [d]
    node_times : (n_nodes,) [d]
    power : (n_rows, n_nodes)
        Written in units of flux^2 weight.
    """
    scratch = np.zeros((4, time.size))
    for i in range(node_times.size):
        nearest = nearest_point(time, node_times[i])
        # A heavier point than the nearest may be that much further away before it weighs nothing.
        exponents = NEGLIGIBLE_EXPONENT - math.log(weight[nearest])
        distance = abs(time[nearest] - node_times[i])
        begin = end = nearest
        for j in range(periods.size):
            if wanted[j, i]:
                reach = math.sqrt(distance * distance + widths[j] * widths[j] * exponents)
                while begin > 0 and node_times[i] - time[begin - 1] < reach:
                    begin -= 1
                while end < time.size and time[end] - node_times[i] < reach:
                    end += 1
                start = (distance / widths[j]) ** 2
                first, n = np.uint64(begin), np.uint64(end - begin)
                _regressors(time, weight, first, n, node_times[i], time[nearest], periods[j], widths[j], start, scratch)
                power[j, i] = math.exp(-start) * _explained(flux, first, n, scratch)


@njit(cache=True, fastmath={"contract"})
def _regressors(
    time: NDArray[np.float64],
    weight: NDArray[np.float64],
    begin: np.uint64,
    n: np.uint64,
    node: float,
    origin: float,
    period: float,
    width: float,
    start: float,
    scratch: NDArray[np.float64],
) -> None:
    """Write weights times exp(start), and cosine - 1 and sine from `origin` on, of the points `begin:begin + n`.

    Written for vector instructions. Windows are passed as unsigned limits, since array slices would be counted
    references and signed indices might be negative. The library's exp, cos and sin would be calls; polynomials after a
    reduction of the argument are not, and are three times as fast. They are good to 1e-13 and 1e-15.
    """
    frequency, inverse_width = 1.0 / period, 1.0 / width
    for k in range(n):
        distance = (time[begin + k] - node) * inverse_width
        e = polynomial(_EXP, max(start - distance * distance, -700.0) / 1024.0)
        for _ in range(10):
            e *= e
        scratch[0, k] = weight[begin + k] * e
        cycles = (time[begin + k] - origin) * frequency
        half_angle = math.pi * (cycles - math.floor(cycles + 0.5))
        cos_half = polynomial(_COS, half_angle * half_angle)
        sin_half = polynomial(_SIN, half_angle * half_angle) * half_angle
        scratch[1, k] = -2.0 * sin_half * sin_half
        scratch[2, k] = 2.0 * sin_half * cos_half


@njit(cache=True, error_model="numpy")
def _explained(flux: NDArray[np.float64], begin: np.uint64, n: np.uint64, scratch: NDArray[np.float64]) -> float:
    """Half the weighted sum of squares of the flux that the regressors in `scratch` explain."""
    cos_tilt, sin_tilt = _half_angle(*_centre(flux, begin, n, scratch))
    aa, ab, bb, ya, yb, yy = _covariances(n, scratch, cos_tilt, sin_tilt)
    explained = 0.0
    if aa > 0.0:
        explained = ya * ya / aa
        # The tilt of the axes is rounded, so a trace of the first axis remains in the second.
        bb -= ab * ab / aa
        yb -= ab * ya / aa
        if bb > OPEN_AXIS * aa:
            explained += yb * yb / bb
    return 0.5 * min(explained, yy)


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _centre(
    flux: NDArray[np.float64], begin: np.uint64, n: np.uint64, scratch: NDArray[np.float64]
) -> tuple[float, float]:
    """Take the weighted means off the regressors, add the centred flux as scratch[3], and return CC - SS and 2 CS."""
    total = mean_c = mean_s = mean_y = 0.0
    for k in range(n):
        total += scratch[0, k]
        mean_c += scratch[0, k] * scratch[1, k]
        mean_s += scratch[0, k] * scratch[2, k]
        mean_y += scratch[0, k] * flux[begin + k]
    if total == 0.0:
        return 0.0, 0.0
    mean_c /= total
    mean_s /= total
    mean_y /= total
    difference = product = 0.0
    for k in range(n):
        w, c, s = scratch[0, k], scratch[1, k] - mean_c, scratch[2, k] - mean_s
        scratch[1, k], scratch[2, k], scratch[3, k] = c, s, flux[begin + k] - mean_y
        difference += w * (c * c - s * s)
        product += w * c * s
    return difference, 2.0 * product


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _covariances(
    n: np.uint64, scratch: NDArray[np.float64], cos_tilt: float, sin_tilt: float
) -> tuple[float, float, float, float, float, float]:
    """Weighted sums aa, ab, bb, ya, yb, yy, with a and b the axes along which cosine and sine vary most and least."""
    aa = ab = bb = ya = yb = yy = 0.0
    for k in range(n):
        w, c, s, y = scratch[0, k], scratch[1, k], scratch[2, k], scratch[3, k]
        a = c * cos_tilt + s * sin_tilt
        b = s * cos_tilt - c * sin_tilt
        aa += w * a * a
        ab += w * a * b
        bb += w * b * b
        ya += w * a * y
        yb += w * b * y
        yy += w * y * y
    return aa, ab, bb, ya, yb, yy


@njit(cache=True, error_model="numpy")
def _half_angle(x: float, y: float) -> tuple[float, float]:
    """Cosine and sine of half the angle of the vector (x, y)."""
    length = math.sqrt(x * x + y * y)
    if length == 0.0:
        return 1.0, 0.0
    # The half angle's larger side comes from a sum, the smaller from the double-angle formula, so nothing cancels.
    larger = math.sqrt(0.5 * (1.0 + abs(x) / length))
    smaller = 0.5 * y / (length * larger)
    if x >= 0.0:
        return larger, smaller
    return abs(smaller), math.copysign(larger, y)
