"""The chunked transform summed point by point in one pass, where a few points make a cell.

Short windows, and windows that hold the far edge of a season only, are dear by FFT: the first for their many modes, the
second since the noise of all points drowns them. Here their sums run over the points that matter. Phases are counted
from the point nearest to the node, weights in units of its own. One pass with uncentred sums is fast, and accurate
unless the points stand so close together, or are so few, that the sums nearly cancel; such cells are left to `exact`.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cells import nearest_point, polynomial, solve_cell

#: The points that are left out of a cell weigh together less than this fraction of its nearest point. The sums of y
#: lose no more: the scaled flux has unit scatter, so that sum w |y| is at most sum w (Cauchy and Schwarz).
NEGLECTED = 1e-12
#: The error of a weighted mean: what is neglected, times up to (cos - 1)^2 = 4, and the rounding of the sums.
ERROR = 1e-11
#: Weights down to exp(-this) of the nearest point's are good to 1e-12; a cell that needs others is left.
LARGEST_EXPONENT = 60.0

# Taylor series from the highest power down, good to 1e-15 for exp on (-60/256, 0), to 1e-13 for cos and sin(x)/x on
# (-pi/2, pi/2).
_EXP = tuple(1.0 / math.factorial(n) for n in range(10, -1, -1))
_COS = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(10, -1, -1))
_SIN = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(9, -1, -1))


@njit(cache=True, error_model="numpy")
def direct_power(
    wanted: NDArray[np.bool_],
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    periods: NDArray[np.float64],
    widths: NDArray[np.float64],
    node_times: NDArray[np.float64],
    power: NDArray[np.float64],
) -> None:
    """Fill the wanted cells of `power`, and leave wanted those that are not accurate.

    Parameters
    ----------
    wanted : (n_rows, n_nodes)
    time, flux, weight : (n_points,), at least one
        Ascending times [d]; flux of zero weighted mean and unit weighted scatter; weights of at most 1.
    periods, widths : (n_rows,), ascending widths [d]
    node_times : (n_nodes,) [d]
    power : (n_rows, n_nodes)
        Written in units of flux^2 weight.
    """
    total = weight.sum()
    for i in range(node_times.size):
        nearest = nearest_point(time, node_times[i])
        begin = end = nearest
        # Points that weigh up to 1 may stand where the window is that much weaker.
        exponents = math.log(total / NEGLECTED) - math.log(weight[nearest])
        if not exponents <= LARGEST_EXPONENT:
            continue
        distance = abs(time[nearest] - node_times[i])
        for j in range(periods.size):
            if wanted[j, i]:
                reach = math.sqrt(distance * distance + widths[j] * widths[j] * exponents)
                while begin > 0 and node_times[i] - time[begin - 1] < reach:
                    begin -= 1
                while end < time.size and time[end] - node_times[i] < reach:
                    end += 1
                start = (distance / widths[j]) ** 2
                first, n = np.uint64(begin), np.uint64(end - begin)
                per_weight, accurate, weights = _one_pass(
                    time, flux, weight, first, n, node_times[i], time[nearest], 1.0 / periods[j], 1.0 / widths[j], start
                )
                if accurate:
                    power[j, i] = math.exp(-start) * weights * per_weight
                    wanted[j, i] = False


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _one_pass(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    weight: NDArray[np.float64],
    begin: np.uint64,
    n: np.uint64,
    node: float,
    origin: float,
    frequency: float,
    inverse_width: float,
    start: float,
) -> tuple[float, bool, float]:
    """Power per weight of the points `begin:begin + n`, whether it is accurate, and their weight times exp(start).

    Written for vector instructions, as `exact`: unsigned limits, and polynomials for exp, cos and sin.
    """
    total = mean_y = mean_c = mean_s = cc = cs = ss = cy = sy = yy = 0.0
    for k in range(n):
        distance = (time[begin + k] - node) * inverse_width
        e = polynomial(_EXP, (start - distance * distance) * (1.0 / 256.0))
        for _ in range(8):
            e *= e
        w, y = weight[begin + k] * e, flux[begin + k]
        cycles = (time[begin + k] - origin) * frequency
        half_angle = math.pi * (cycles - math.floor(cycles + 0.5))
        cos_half = polynomial(_COS, half_angle * half_angle)
        sin_half = polynomial(_SIN, half_angle * half_angle) * half_angle
        c, s = -2.0 * sin_half * sin_half, 2.0 * sin_half * cos_half
        wy, wc, ws = w * y, w * c, w * s
        total += w
        mean_y += wy
        mean_c += wc
        mean_s += ws
        cc += wc * c
        cs += wc * s
        ss += ws * s
        cy += wc * y
        sy += ws * y
        yy += wy * y
    share = 1.0 / total
    y, c, s = mean_y * share, mean_c * share, mean_s * share
    per_weight, accurate = solve_cell(
        cc * share - c * c,
        cs * share - c * s,
        ss * share - s * s,
        cy * share - c * y,
        sy * share - s * y,
        1.0 + math.sqrt(yy * share),
        ERROR,
    )
    return per_weight, accurate, total
