"""One cell of the chunked transform: which points it sees, and its power from sums over them.

A cell is solved from weighted means over its points: of y, of c and s (cosine and sine of the phase, from any origin),
and of their products. Rounding makes each of them wrong by `error`. The solution says how much that matters, so that a
cell is either accurate to TOLERANCE or left for a more careful sum.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: A cell's error may be this fraction of its power.
TOLERANCE = 5e-7


@njit(cache=True)
def near_cells(
    time: NDArray[np.float64], node_times: NDArray[np.float64], reach: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which nodes have one of the ascending times within each reach, as (n_reaches, n_nodes)."""
    near = np.zeros((reach.size, node_times.size), dtype=np.bool_)
    if time.size > 0:
        for i in range(node_times.size):
            distance = abs(time[nearest_point(time, node_times[i])] - node_times[i])
            for j in range(reach.size):
                near[j, i] = distance <= reach[j]
    return near


@njit(cache=True, error_model="numpy")
def nearest_point(time: NDArray[np.float64], node: float) -> int:
    """The index of the point nearest to `node`, in ascending times of which there is at least one."""
    after = int(np.searchsorted(time, node))
    if after == time.size or (after > 0 and node - time[after - 1] < time[after] - node):
        return after - 1
    return after


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def solve_cell(
    cc: float, cs: float, ss: float, cy: float, sy: float, size_y: float, error: float
) -> tuple[float, bool]:
    """The power of a cell per unit weight, and whether it is accurate; without branches, for vector instructions.

    With M the 2 x 2 matrix of (CC, CS; CS, SS), v = (CY, SY) and u = M^-1 v the fitted amplitudes, the power is u.v/2,
    and errors dM and dv change it by u.dv - u.dM.u/2. M is solved by elimination: the closed formula with its
    determinant would spread the rounding of a nearly singular M over all of u.

    Parameters
    ----------
    cc, cs, ss, cy, sy : float
        Weighted (co)variances of cosine, sine and y.
    size_y : float
        At least one plus the size of the y: their mean or root mean square.
    error : float
        Of each weighted mean; of one with y, in units of `size_y`.
    """
    slope = cs / cc
    rest = ss - slope * cs
    amplitude_s = (sy - slope * cy) / rest
    amplitude_c = cy / cc - slope * amplitude_s
    explained = 0.5 * (amplitude_c * cy + amplitude_s * sy)
    amplitude = abs(amplitude_c) + abs(amplitude_s)
    # The smaller eigenvalue of M is at least cc rest / (cc + ss); beyond its reach the estimate is no bound. Rounding
    # can make the variances negative where there are none.
    accurate = (cc > 0.0) & (rest > 0.0) & (cc * rest > 100.0 * error * (cc + ss))
    accurate &= amplitude * error * (size_y + amplitude) <= TOLERANCE * explained
    return explained, accurate


@njit(cache=True, fastmath={"contract"})
def polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """The polynomial with these coefficients, the highest power's first."""
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
