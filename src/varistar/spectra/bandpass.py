"""Windowed Fourier sums at evenly spaced times, for all points and all windows at once.

The chunked transform needs, at every node t and for every period P = 1/nu with window width d = tradeoff * P, sums
over the points (x, y, iv = 1/flux_err^2) of the form

    A_m(t) = sum iv g exp(-((x - t)/d)^2) exp(-i m omega (x - t)),   g = 1 or y,   m = 0, 1, 2,   omega = 2 pi nu.

As a function of t this is a convolution of the points with a modulated Gaussian, so that its Fourier series over a
period T is the points' own times a Gaussian band around the frequency m nu (ours; Poisson's summation formula):

    A_m(t) = sum_k F_k  sqrt(pi) d/T exp(-(pi d (k/T - m nu))^2)  exp(2 pi i k t / T),
    F_k = sum iv g exp(-2 pi i k x / T).

One non-uniform FFT gives F_k. With T = n_fft * (node spacing) the nodes are the points of an FFT of length n_fft, into
which the band is folded modulo n_fft. Only three things are inexact: the FFTs, the ends of the bands, and the windows
that reach around T; each stays below 3e-15 of the sum over all points. That is a small error only where the window
holds a fair share of the points: the caller gets `noise` to tell.
"""

import math

import finufft
import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

#: T leaves room for this many widths between its ends, at which windows have fallen to exp(-5.8^2) = 2.5e-15.
REACH = 5.8
#: Bands are cut where they have fallen to exp(-5.6^2) = 2e-14; their two tails hold erfc(5.6) = 2.4e-15 of their area.
BAND_REACH = 5.6
#: Bands start and end at multiples of this many modes, as do FFT lengths: no ragged ends to loop over.
BLOCK = 16
NUFFT_TOLERANCE = 1e-13
#: The error of a sum in units of the sum of the absolute values of what the non-uniform FFT adds up, wherever the node
#: is: twice the largest that was measured, over random, clumped, seasonal and daily times.
NOISE = 2e-15


class BandPass:
    """The sums A_m at times `start + spacing * i`, for some periods; holds their tables, buffers and FFT plan.

    Parameters
    ----------
    periods : (n_periods,) [d]
    tradeoff : window width in periods, one for all or (n_periods,)
    start, spacing : first node time and distance between nodes [d]
    n_fft : length of the FFT in nodes; windows of REACH widths must not meet around it
    """

    def __init__(
        self,
        periods: NDArray[np.float64],
        tradeoff: float | NDArray[np.float64],
        start: float,
        spacing: float,
        n_fft: int,
    ) -> None:
        self.periods, self.widths, self.start = periods, tradeoff * periods, start
        self.length = n_fft * spacing  # T
        self.first, self.count = band_limits(periods, tradeoff, self.length)
        # What rounding the phases of a window's points adds to their sums, in units of their weight.
        self.rounding = 2.0 * math.pi * np.finfo(np.float64).eps * self.length / periods
        self.bands = np.exp(_exponents(periods, self.widths, self.length, self.first, self.count))
        self.bands *= np.repeat(math.sqrt(math.pi) / self.length * self.widths, self.count.sum(axis=1))
        self.n_side = int(max(-self.first.min(), (self.first + self.count).max()))
        self.plan = finufft.Plan(1, (2 * self.n_side + 1,), eps=NUFFT_TOLERANCE, isign=-1, nthreads=1)
        self.modes = np.empty((6, 2 * self.n_side + 1))
        self.folded = np.empty((len(periods), 4, n_fft), dtype=np.complex128)

    def __call__(
        self, time: NDArray[np.float64], flux: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.complex128], float]:
        """The sums of one star, and how large the error of each may be.

        Parameters
        ----------
        time, flux, weight : (n_points,)
            Times within REACH widths of the nodes [d]; flux of zero mean and unit scatter; weights of at most 1.

        Returns
        -------
        sums : complex (n_periods, 4, n_fft)
            S + i Sy; then for m = 1 that of 1 and that of y; then for m = 2 that of 1. The last axis is the
            nodes and, beyond them, the times that close the circle. The array is reused by the next call.
        noise : float
            Error of the real or imaginary part of any sum.
        """
        angle, strength, total = _on_circle(time, flux, weight, self.start, self.length)
        self.plan.setpts(angle)
        _split(self.plan.execute(strength), self.modes)
        _fold(self.modes, self.bands, self.first, self.count, self.n_side, self.folded)
        sums = scipy.fft.ifft(self.folded, axis=-1, norm="forward", overwrite_x=True, workers=1)
        return sums, NOISE * total


def fft_length(nodes: float) -> int:
    """The shortest good FFT length of at least this many nodes: a multiple of BLOCK and of factors 2, 3 and 5 only."""
    return BLOCK * scipy.fft.next_fast_len(math.ceil(nodes / BLOCK), real=True)


def band_limits(
    periods: NDArray[np.float64], tradeoff: float | NDArray[np.float64], length: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First mode and number of modes of the band around m/period for m = 0, 1, 2: two arrays (n_periods, 3)."""
    centre = np.arange(3) / periods[:, None]
    half_width = BAND_REACH / (math.pi * (tradeoff * periods)[:, None])
    first = np.floor(length * (centre - half_width) / BLOCK).astype(np.int64) * BLOCK
    last = np.ceil(length * (centre + half_width) / BLOCK).astype(np.int64) * BLOCK
    return first, last - first


@njit(cache=True)
def _exponents(
    periods: NDArray[np.float64],
    widths: NDArray[np.float64],
    length: float,
    first: NDArray[np.int64],
    count: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The exponents of the Gaussian bands of each period around its frequency times m = 0, 1, 2, in a row."""
    exponents = np.empty(count.sum())
    place = 0
    for j in range(periods.size):
        for m in range(3):
            for k in range(count[j, m]):
                distance = math.pi * widths[j] * ((first[j, m] + k) / length - m / periods[j])
                exponents[place + k] = -distance * distance
            place += count[j, m]
    return exponents


@njit(cache=True)
def _on_circle(
    time: NDArray[np.float64], flux: NDArray[np.float64], weight: NDArray[np.float64], start: float, length: float
) -> tuple[NDArray[np.float64], NDArray[np.complex128], float]:
    """Times as angles from -pi to pi, weights times 1 + i flux, and the sum of the latter's absolute values."""
    angle = np.empty(time.size)
    strength = np.empty(time.size, dtype=np.complex128)
    total = 0.0
    for k in range(time.size):
        offset = time[k] - start
        # The smaller the angle, the smaller its rounding.
        angle[k] = 2.0 * math.pi / length * (offset if offset < 0.5 * length else offset - length)
        strength[k] = complex(weight[k], weight[k] * flux[k])
        total += abs(strength[k])
    return angle, strength, total


@njit(cache=True, fastmath={"contract"})
def _split(both: NDArray[np.complex128], modes: NDArray[np.float64]) -> None:
    """From the modes -n..n of 1 + i y: real and imaginary parts of them, of those of 1, and of those of y."""
    last = both.size - 1
    for k in range(both.size):
        here, mirror = both[k], both[last - k]
        modes[0, k] = here.real
        modes[1, k] = here.imag
        modes[2, k] = 0.5 * (here.real + mirror.real)
        modes[3, k] = 0.5 * (here.imag - mirror.imag)
        modes[4, k] = 0.5 * (here.imag + mirror.imag)
        modes[5, k] = 0.5 * (mirror.real - here.real)


@njit(cache=True, fastmath={"contract"})
def _fold(
    modes: NDArray[np.float64],
    bands: NDArray[np.float64],
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    n_side: int,
    folded: NDArray[np.complex128],
) -> None:
    """Multiply the modes by each band and add up those that coincide modulo the FFT length."""
    total = np.empty((2, folded.shape[2]))
    used = 0
    for j in range(folded.shape[0]):
        for series, m, row in ((0, 0, 0), (1, 1, 2), (2, 1, 4), (3, 2, 2)):
            begin = used + count[j, :m].sum()
            _fold_one(modes, row, first[j, m] + n_side, bands, begin, count[j, m], first[j, m], total)
            for k in range(folded.shape[2]):
                folded[j, series, k] = complex(total[0, k], total[1, k])
        used += count[j].sum()


@njit(cache=True, fastmath={"contract"})
def _fold_one(
    modes: NDArray[np.float64],
    row: int,
    begin_mode: int,
    bands: NDArray[np.float64],
    begin_band: int,
    count: int,
    first: int,
    total: NDArray[np.float64],
) -> None:
    """Fold the modes in `row` (real part) and the next (imaginary), times a band, into `total`, (2, FFT length).

    Written for vector instructions: array slices would be counted references, and signed indices might be negative.
    """
    total[:] = 0.0
    n_fft = total.shape[1]
    place = first % n_fft
    done = 0
    while done < count:
        run = np.uint64(min(n_fft - place, count - done))
        to, band, mode = np.uint64(place), np.uint64(begin_band + done), np.uint64(begin_mode + done)
        for part in range(2):
            for k in range(run):
                total[part, to + k] += bands[band + k] * modes[row + part, mode + k]
        done += n_fft - place
        place = 0
