"""The chunked Lomb-Scargle transforms of many stars at once, in torch: the same code on a processor and on CUDA.

The definition is that of `chunked`, the sums are those of `bandpass`; what differs is how they are had. The device is
kept busy with four large steps, each over a sub-batch of stars whose size follows from a budget of memory:

1. The Fourier coefficients of each star's points, by a non-uniform FFT: points are spread over SPREAD cells of a grid
   twice as fine as the modes need, which one FFT and a division by the spreading kernel's own coefficients turn into
   modes. Points that share their cells are added up first, in order of time, so that no two additions race: results do
   not depend on the order in which an accelerator's threads come by.
2. Bands around the frequencies m/P, times Gaussians, folded modulo the FFT length; one FFT gives all sums at all nodes.
3. The two-parameter fit of every cell from its eight sums, and an estimate of its error.
4. The cells whose error may exceed TOLERANCE point by point, in padded windows, with the care of `exact`.

All of it is float64: in float32 a badly conditioned cell becomes an image's maximum. The sums over a star's points are
taken in an order that may depend on the size of the sub-batch: results are the same within rounding, not to the bit.
"""

import math
from collections.abc import Iterator

import numpy as np
import scipy.fft
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from varistar.foundation.errors import ConfigError
from varistar.foundation.padding import padded_windows

from .chunked import EMPTY_RADIUS, Quantity
from .curves_on_torch import (
    Curves,
    Values,
    nearest_points,
    read_flat,
    read_limits,
    rows_of_points,
    standardised,
    to_tensor,
)
from .points import read_grid

#: Cells whose estimated error exceeds this fraction of their power are summed point by point, as in `chunked`.
TOLERANCE = 5e-7
#: Reach of windows and of bands in units of their widths, as in `bandpass`; least weights of a cell, as in `exact`.
REACH = 5.8
BAND_REACH = 5.6
NEGLIGIBLE_EXPONENT = 60.0
OPEN_AXIS = 1e-24
#: Cells over which a point is spread, and the exponent of the kernel exp(KERNEL (sqrt(1 - z^2) - 1)), -1 < z < 1, that
#: leaves errors of 1e-14 (Barnett, Magland & af Klinteberg 2019).
SPREAD = 16
KERNEL = 2.3 * SPREAD
#: Error of a sum in units of the sum of the absolute values of its terms, wherever the node is: three times the largest
#: that was measured, over random, seasonal, clumped and nightly times.
NOISE = 2e-15
#: Points further than this many widths from the nodes need not be told apart when a window's ends are sought.
FURTHEST = 10.0
#: Bytes at work at a time where the caller does not say: what a processor's caches like, and what fills an accelerator.
MEMORY = {"cpu": 2**27, "cuda": 2**33}


class BatchedTransform:
    """The transform of many stars for one grid: tables on a device, and the steps above.

    Parameters
    ----------
    periods : (n_periods,)
        In any order and spacing [d].
    node_times : (n_node_times,)
        At least two, evenly spaced and ascending [d]; `ChunkedTransform` takes others.
    tradeoff : window width in periods
    quantity : {"psd", "delta_chi2"}, as in `ChunkedTransform`
    device : where to compute
    memory : bytes to work with, beside the result; at least one star is always computed at a time.

    Raises
    ------
    ConfigError
        For nodes that are not evenly spaced and ascending, and as `ChunkedTransform`.
    """

    def __init__(
        self,
        periods: ArrayLike,
        node_times: ArrayLike,
        tradeoff: float = 2.0,
        quantity: Quantity = "psd",
        device: torch.device | str = "cpu",
        memory: int | None = None,
    ) -> None:
        given, nodes = read_grid(periods, "period"), read_grid(node_times, "node time")
        self.tradeoff, self.device = float(tradeoff), torch.device(device)
        if not np.all(given > 0.0):
            raise ConfigError(f"periods must be positive; got {given.min()} d")
        if not (math.isfinite(self.tradeoff) and self.tradeoff > 0.0):
            raise ConfigError(f"the tradeoff must be positive and finite; got {self.tradeoff}")
        if quantity not in ("psd", "delta_chi2"):
            raise ConfigError(f"the quantity must be psd or delta_chi2; got {quantity!r}")
        order = np.argsort(given, kind="stable")
        self.shape = (len(nodes), len(given))
        self._rank = None if np.all(order[:-1] < order[1:]) else self._on_device(np.argsort(order))
        ascending = given[order]
        self._start, self._span = float(nodes[0]), float(nodes[-1] - nodes[0])
        spacing = _spacing(nodes, tolerance=1e-8 * self.tradeoff * ascending[0])
        self._room, self._far = (widths * self.tradeoff * float(ascending[-1]) for widths in (REACH, FURTHEST))
        self._n_fft = scipy.fft.next_fast_len(math.ceil((self._span + 2.0 * self._room) / spacing))
        self._length = self._n_fft * spacing
        self._n_side, tables = _band_tables(ascending, self.tradeoff, self._length, self._n_fft)
        self._wraps = [(self._on_device(index), self._on_device(band)) for index, band in tables]
        self._nodes, self._periods = self._on_device(nodes), self._on_device(ascending)
        self._widths = self.tradeoff * self._periods
        by_width = 1.0 / (math.sqrt(2.0 * math.pi) * self._widths)
        self._scale = by_width if quantity == "psd" else torch.full_like(by_width, 2.0)
        self._n_grid = scipy.fft.next_fast_len(4 * self._n_side + 2)
        self._kernel_modes = self._on_device(_kernel_modes(self._n_side, self._n_grid))
        self._memory = memory or MEMORY.get(self.device.type, 2**30)

    def __call__(self, time: Values, flux: Values, flux_err: Values, offsets: Values) -> Tensor:
        """The transforms of stars whose points stand one after the other.

        Parameters
        ----------
        time, flux, flux_err : (n_points,), NumPy arrays or tensors on any device
            Star `i` owns the points `offsets[i]:offsets[i + 1]`, in any order of time.
        offsets : (n_stars + 1,)

        Returns
        -------
        power : float64 tensor (n_stars, n_node_times, n_periods) on the device
            Of the quantity asked for, as `ChunkedTransform.batch`, within 1e-6 of a cell's power where it is above
            1e-6 of the star's largest.
            The order in memory is that of (n_stars, n_periods, n_node_times).

        Raises
        ------
        DataError
            As `ChunkedTransform.batch`; the message names the star by its index.
        """
        points, limits = read_flat(time, flux, flux_err, offsets, self.device)
        n_nodes, n_periods = self.shape
        power = torch.zeros((len(limits) - 1, n_periods, n_nodes), dtype=torch.float64, device=self.device)
        for stars in self._sub_batches(np.diff(limits)):
            solved = self._solve(standardised(points, limits, stars))
            power[self._on_device(stars)] = solved if self._rank is None else solved[:, self._rank]
        return power.transpose(1, 2)

    def _on_device(self, values: NDArray) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _sub_batches(self, n_points: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """The stars that have points in groups of similar numbers of points, each within the budget of memory."""
        n_nodes, n_periods = self.shape
        per_point = 8 * (8 * SPREAD + 40)
        fixed = 16 * (3 * self._n_grid + 14 * self._n_side + 16 * n_periods * self._n_fft) + 200 * n_periods * n_nodes
        order = np.argsort(-n_points, kind="stable")
        order = order[: np.count_nonzero(n_points)]
        while len(order):
            count = max(1, int(self._memory // (fixed + per_point * n_points[order[0]])))
            yield order[:count]
            order = order[count:]

    def _solve(self, curves: Curves) -> Tensor:
        """The power of each star of a sub-batch, (n_stars, n_periods, n_nodes), periods ascending."""
        nearest, distance = nearest_points(curves.time, curves.n_points, self._nodes)
        wanted = distance[:, None, :] <= EMPTY_RADIUS * self._widths[:, None]
        wanted &= curves.varies[:, None, None]
        sums, noise = self._sums(curves)
        rounding = 2.0 * math.pi * np.finfo(np.float64).eps * self._length / self._periods
        power, accurate = _fit(sums, noise, rounding)
        power = torch.where(wanted & accurate, power, 0.0)
        self._solve_exactly(curves, nearest, distance, wanted & ~accurate, power)
        return power * (curves.unit[:, None, None] * self._scale[:, None])

    def _sums(self, curves: Curves) -> tuple[Tensor, Tensor]:
        """The windowed sums of `bandpass`, complex (n_stars, n_periods, 4, n_nodes), and their error, (n_stars,).

        The four are S + i Sy; then for m = 1 that of 1 and that of y; then for m = 2 that of 1.
        """
        offset = curves.time - self._start
        near = (offset > -self._room) & (offset < self._span + self._room)
        weight = torch.where(near, curves.weight, 0.0)
        # The smaller the angle, the smaller its rounding.
        turns = torch.where(offset < 0.5 * self._length, offset, offset - self._length) / self._length
        modes = self._modes(torch.where(near, turns, 0.0), curves.flux, weight)
        wraps = (modes[:, index].mul_(band) for index, band in self._wraps)
        folded = next(wraps)
        for part in wraps:
            folded[:, : part.shape[1]] += part
        sums = torch.fft.ifft(folded, norm="forward")[..., : self.shape[0]]
        return sums, NOISE * (weight * torch.sqrt(1.0 + curves.flux**2)).sum(dim=1)

    def _modes(self, turns: Tensor, flux: Tensor, weight: Tensor) -> Tensor:
        """Fourier coefficients -n_side..n_side of 1 + i y, of 1 and of y, one after the other: (n_stars, 3 (2 n + 1)).

        `turns` are the times in units of T, ascending but for one step back by a turn.
        """
        n_stars, n_points = turns.shape
        place = turns * self._n_grid
        left = torch.ceil(place - 0.5 * SPREAD)
        cells = torch.arange(SPREAD, device=self.device)
        z = (2.0 / SPREAD) * ((left - place)[:, :, None] + cells)
        kernel = torch.exp(KERNEL * (torch.sqrt((1.0 - z * z).clamp(min=0.0)) - 1.0))
        strength = torch.stack([weight, weight * flux], dim=2)
        spread = (kernel[:, :, :, None] * strength[:, :, None, :]).flatten(0, 1)
        row = torch.arange(n_stars, device=self.device)[:, None]
        first_cell = left.long() + (row * self._n_grid)
        begin = _runs(first_cell.flatten())
        # As many runs as points; the surplus ones at the end are empty and add nothing, to the last star.
        runs = torch.segment_reduce(spread, "sum", offsets=begin, axis=0, unsafe=True, initial=0.0)
        point = begin[:-1].clamp(max=n_stars * n_points - 1)
        star = point // n_points
        cell = first_cell.flatten()[point] - star * self._n_grid
        grid = torch.zeros((n_stars * self._n_grid, 2), dtype=torch.float64, device=self.device)
        for k in range(SPREAD):
            grid.index_add_(0, star * self._n_grid + (cell + k) % self._n_grid, runs[:, k])
        spectrum = torch.fft.fft(torch.view_as_complex(grid).view(n_stars, self._n_grid))
        n = self._n_side
        both = torch.cat([spectrum[:, -n:], spectrum[:, : n + 1]], dim=1) / self._kernel_modes
        mirror = both.flip(1).conj()
        return torch.cat([both, 0.5 * (both + mirror), -0.5j * (both - mirror)], dim=1)

    def _solve_exactly(self, curves: Curves, nearest: Tensor, distance: Tensor, wanted: Tensor, power: Tensor) -> None:
        """Fill the wanted cells of `power` point by point."""
        star, j, i = wanted.nonzero(as_tuple=True)
        node, period, width, distance = self._nodes[i], self._periods[j], self._widths[j], distance[star, i]
        origin = nearest[star, i] + star * curves.time.shape[1]
        time, flux, weight = curves.time.flatten(), curves.flux.flatten(), curves.weight.flatten()
        # A heavier point than the nearest may be that much further away before it weighs nothing.
        reach = torch.sqrt(distance**2 + width**2 * (NEGLIGIBLE_EXPONENT - torch.log(weight[origin])))
        begin, end = self._window_limits(curves, star, node - reach, node + reach)
        value = torch.zeros_like(reach)
        for cells, points, inside in padded_windows(begin, end - begin, self._memory // 200):
            here, p = node[cells, None], period[cells, None]
            start = (distance[cells] / width[cells]) ** 2
            x = time[points]
            age = (x - here) / width[cells, None]
            w = torch.where(inside, weight[points] * torch.exp(start[:, None] - age**2), 0.0)
            half_angle = 0.5 * _angle((x - time[origin[cells], None]) / p)
            value[cells] = torch.exp(-start) * _explained(half_angle, flux[points], w)
        power[star, j, i] = value

    def _window_limits(self, curves: Curves, star: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where each star's points later than `low` begin, and those later than `high`, in the flattened arrays.

        The stars are strung along one ascending axis. That rounds times to 1e-8 d, where weights are negligible.
        """
        n_stars, n_points = curves.time.shape
        first, last = -self._far, self._span + self._far
        shift = (last - first + 2.0) * torch.arange(n_stars, device=self.device, dtype=torch.float64)
        within = torch.arange(n_points, device=self.device) < curves.n_points[:, None]
        along = torch.where(within, (curves.time - self._start).clamp(first, last), last + 1.0)
        axis = (along + shift[:, None]).flatten()
        begin, end = ((edge - self._start).clamp(first, last + 0.5) + shift[star] for edge in (low, high))
        return torch.searchsorted(axis, begin), torch.searchsorted(axis, end)


def cells_with_data(
    time: Values,
    offsets: Values,
    periods: ArrayLike,
    node_times: ArrayLike,
    tradeoff: float = 2.0,
    radius: float = EMPTY_RADIUS,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Which cells have a point within `radius` window widths of their node: `chunked.cells_with_data` of many stars.

    Parameters as there, with `offsets` as in `BatchedTransform`; bool tensor (n_stars, n_node_times, n_periods).
    """
    limits = read_limits(offsets, len(time))
    times = to_tensor(time, torch.device(device))
    rows, n_points = rows_of_points(limits, np.arange(len(limits) - 1), times.device)
    padded = torch.where(rows < 0, math.inf, times[rows]) if len(times) else times.new_full(rows.shape, math.inf)
    nodes, widths = read_grid(node_times, "node time"), float(tradeoff) * read_grid(periods, "period")
    distance = nearest_points(padded.sort(dim=1).values, n_points, torch.from_numpy(nodes).to(device))[1]
    return distance[:, :, None] <= radius * torch.from_numpy(widths).to(device)


def _spacing(nodes: NDArray[np.float64], tolerance: float) -> float:
    """The distance between evenly spaced ascending nodes."""
    spacing = float(nodes[-1] - nodes[0]) / max(len(nodes) - 1, 1)
    if not spacing > 0.0 or np.abs(nodes - np.linspace(nodes[0], nodes[-1], len(nodes))).max() > tolerance:
        raise ConfigError("node times must be at least two, evenly spaced and ascending; ChunkedTransform takes others")
    return spacing


def _band_tables(
    periods: NDArray[np.float64], tradeoff: float, length: float, n_fft: int
) -> tuple[int, list[tuple[NDArray[np.int64], NDArray[np.float64]]]]:
    """The highest mode n, and for each time that bands wrap around the FFT where its modes stand and their factors.

    Both arrays are (the first n_periods that wrap so often, 4, n_fft), their places those in the output of `_modes`.
    """
    harmonic = np.array([0, 1, 1, 2])
    half_width = BAND_REACH / (math.pi * tradeoff * periods[:, None])
    first = np.floor(length * (harmonic / periods[:, None] - half_width)).astype(np.int64)
    last = np.ceil(length * (harmonic / periods[:, None] + half_width)).astype(np.int64)
    n_side = int(max(-first.min(), last.max()))
    # Short periods have wide bands; where rounding makes one narrower than the next, it is read a little further.
    n_wraps = -(-(last - first + 1).max(axis=1) // n_fft)
    n_wraps = np.maximum.accumulate(n_wraps[::-1])[::-1]
    tables = []
    for wrap in range(n_wraps[0]):
        wide = np.count_nonzero(n_wraps > wrap)
        begin = first[:wide, :, None]
        k = begin + (np.arange(n_fft) - begin) % n_fft + wrap * n_fft
        width = tradeoff * periods[:wide, None, None]
        distance = math.pi * width * (k / length - harmonic[:, None] / periods[:wide, None, None])
        band = math.sqrt(math.pi) * width / length * np.exp(-(distance**2))
        inside = np.abs(k) <= n_side
        place = n_side + k + (2 * n_side + 1) * np.array([0, 1, 2, 1])[:, None]
        tables.append((np.where(inside, place, 0), np.where(inside, band, 0.0)))
    return n_side, tables


def _kernel_modes(n_side: int, n_grid: int) -> NDArray[np.float64]:
    """Fourier coefficients -n_side..n_side of the spreading kernel, by Gauss-Legendre quadrature."""
    z, weight = np.polynomial.legendre.leggauss(6 * SPREAD)
    kernel = 0.5 * SPREAD * weight * np.exp(KERNEL * (np.sqrt(1.0 - z**2) - 1.0))
    turns = np.arange(n_side + 1) / n_grid
    half = np.cos(np.pi * SPREAD * turns[:, None] * z) @ kernel
    return np.concatenate([half[:0:-1], half])


def _runs(values: Tensor) -> Tensor:
    """Where runs of equal values begin, int64 (n + 1,): as many runs as there could be, those at the end empty."""
    n = len(values)
    step = torch.ones(n, dtype=torch.int64, device=values.device)
    step[1:] = values[1:] != values[:-1]
    return torch.searchsorted(torch.cumsum(step, dim=0), torch.arange(1, n + 2, device=values.device))


def _angle(turns: Tensor) -> Tensor:
    """The angle of so many turns [rad], reduced to -pi..pi before it is rounded."""
    return (turns - torch.round(turns)).mul_(2.0 * math.pi)


def _fit(sums: Tensor, noise: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """The power of each cell, (n_stars, n_periods, n_nodes), and whether its error is surely within TOLERANCE.

    By elimination, and with the estimate of the error, of `chunked`.
    """
    zeroth, first, first_y, second = (torch.view_as_real(sums[:, :, k]) for k in range(4))
    total = zeroth[..., 0]
    share = 1.0 / total
    y = zeroth[..., 1] * share
    c, s = (first * share[..., None]).unbind(-1)
    cos2, sin2 = (second * share[..., None]).unbind(-1)
    yc, ys = (first_y * share[..., None]).unbind(-1)
    # Phases turn clockwise in the sums; both sines change their sign, which the power does not see.
    cc, ss, cs = 0.5 + 0.5 * cos2 - c * c, 0.5 - 0.5 * cos2 - s * s, 0.5 * sin2 - c * s
    cy, sy = yc - c * y, ys - s * y
    slope = cs / cc
    rest = ss - slope * cs
    amplitude_s = (sy - slope * cy) / rest
    amplitude_c = cy / cc - slope * amplitude_s
    explained = 0.5 * (amplitude_c * cy + amplitude_s * sy)
    amplitude = amplitude_c.abs() + amplitude_s.abs()
    error = noise[:, None, None] * share + rounding[:, None]
    # The smaller eigenvalue of the matrix is at least cc rest / (cc + ss); beyond its reach there is no bound, and
    # where all is noise, not even a sign.
    accurate = (total > 0.0) & (cc > 0.0) & (rest > 0.0) & (cc * rest > 100.0 * error * (cc + ss))
    accurate &= amplitude * error * (1.0 + y.abs() + amplitude) <= TOLERANCE * explained
    return total * explained, accurate


def _explained(half_angle: Tensor, flux: Tensor, weight: Tensor) -> Tensor:
    """Half the weighted sum of squares of the flux that a sinusoid explains, over the last axis, as `exact` has it."""
    sine, cosine = torch.sin(half_angle), torch.cos(half_angle)
    series = torch.stack([-2.0 * sine * sine, 2.0 * sine * cosine, flux], dim=1)
    total = weight.sum(dim=1)[:, None, None]
    series -= (series @ weight[:, :, None]) / torch.where(total > 0.0, total, 1.0)
    spread = _products(series[:, :2], weight)
    cos_tilt, sin_tilt = _half_angle(spread[:, 0, 0] - spread[:, 1, 1], 2.0 * spread[:, 0, 1])
    axes = torch.stack([cos_tilt, sin_tilt, -sin_tilt, cos_tilt], dim=1).view(-1, 2, 2)
    products = _products(torch.cat([axes @ series[:, :2], series[:, 2:]], dim=1), weight)
    (aa, ab, ya), (_, bb, yb), (_, _, yy) = (row.unbind(1) for row in products.unbind(1))
    # The tilt of the axes is rounded, so a trace of the first axis remains in the second.
    bb, yb = bb - ab * ab / aa, yb - ab * ya / aa
    second = torch.where(bb > OPEN_AXIS * aa, yb * yb / bb, 0.0)
    return 0.5 * torch.where(aa > 0.0, torch.minimum(ya * ya / aa + second, yy), 0.0)


def _products(series: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of the products of any two series, (n, k, k), of `series` (n, k, points)."""
    return (series * weight[:, None]) @ series.transpose(1, 2)


def _half_angle(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of half the angle of the vectors (x, y)."""
    length = torch.sqrt(x * x + y * y)
    # The half angle's larger side comes from a sum, the smaller from the double-angle formula, so nothing cancels.
    larger = torch.sqrt(0.5 * (1.0 + x.abs() / length))
    smaller = 0.5 * y / (length * larger)
    cosine = torch.where(x >= 0.0, larger, smaller.abs())
    sine = torch.where(x >= 0.0, smaller, torch.copysign(larger, y))
    return torch.where(length > 0.0, cosine, 1.0), torch.where(length > 0.0, sine, 0.0)
