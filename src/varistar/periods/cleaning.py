"""Light curves with honest errors, without outliers and without steps between cameras."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from varistar.lightcurves.table import LightCurves

#: A camera with fewer points has no median of its own.
FEWEST_POINTS = 12


def clean(lightcurves: LightCurves) -> LightCurves:
    """n light curves as relative flux about zero; see `clean_flux`. Of the columns, time and flux stay."""
    offsets = lightcurves.offsets
    codes = np.zeros(int(offsets[-1]), dtype=np.int64)
    if "camera" in lightcurves.columns:
        _number_cameras(_as_numbers(lightcurves["camera"]), offsets, codes)
    flux, flux_err, keep = _clean_stars(
        lightcurves["flux"].astype(np.float64), lightcurves["flux_err"].astype(np.float64), codes, offsets
    )
    columns = {"time": lightcurves["time"], "flux": flux, "flux_err": flux_err}
    return replace(lightcurves, columns=columns, flux_unit="relative").where(keep)


@njit(cache=True)
def clean_flux(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], camera: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Relative flux about zero with honest errors, and which points are no outliers.

    Each camera with at least 12 points has its own median subtracted, the others the star's; all are divided by the
    star's median. Points beyond five times the scatter (1.4826 MAD) are dropped, twice. Errors are raised in quadrature
    until their median is that scatter, since the errors of ground-based surveys are too small for bright stars.

    Parameters
    ----------
    flux, flux_err : shape (m,), any unit.
    camera : shape (m,), codes from zero.

    Returns
    -------
    relative flux, its error, and the points to keep, each of shape (m,).
    """
    median = np.median(flux)
    unit = abs(median) if median != 0 else 1.0
    relative = np.empty_like(flux)
    for code in range(camera.max() + 1):
        mine = camera == code
        count = mine.sum()
        if count:
            centre = np.median(flux[mine]) if count >= FEWEST_POINTS else median
            relative[mine] = (flux[mine] - centre) / unit
    error = flux_err / unit
    keep = np.ones(len(flux), dtype=np.bool_)
    scatter = 0.0
    for _ in range(2):
        centre = np.median(relative[keep])
        scatter = 1.4826 * np.median(np.abs(relative[keep] - centre))
        keep &= np.abs(relative - centre) <= 5 * max(scatter, 1e-12)
        if not keep.any():
            keep[:] = True
            break
    missing = scatter**2 - np.median(error[keep]) ** 2
    if missing > 0:
        error = np.sqrt(error**2 + missing)
    return relative, error, keep


def without_trend(lightcurves: LightCurves, width: float) -> LightCurves:
    """n cleaned light curves without their slow changes, see `detrend`; points in order of time."""
    order = np.concatenate(
        [[], *(begin + np.argsort(lightcurves["time"][begin:end]) for begin, end in pairwise(lightcurves.offsets))]
    ).astype(np.int64)
    columns = {name: values[order] for name, values in lightcurves.columns.items()}
    flux = columns["flux"].copy()
    for begin, end in pairwise(lightcurves.offsets):
        time, error = columns["time"][begin:end].astype(np.float64), columns["flux_err"][begin:end]
        flux[begin:end] = detrend(time, columns["flux"][begin:end], error, width)
    return replace(lightcurves, columns=columns | {"flux": flux})


@njit(cache=True)
def detrend(
    time: NDArray[np.float64], flux: NDArray[np.float64], flux_err: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """The flux without its slow changes: less its weighted mean under a Gaussian around each point.

    Seasons, weather and red noise raise a periodogram wherever they please; a sinusoid of period P keeps all but
    exp(-2 (pi width / P)^2) of its amplitude, and periods below 2 width all of it.

    Parameters
    ----------
    time : shape (m,), ascending [d].
    flux, flux_err : shape (m,).
    width : standard deviation of the Gaussian, which is cut at three of them [d].
    """
    weight = 1.0 / flux_err**2
    total, weighted = weight.copy(), weight * flux
    for i in range(time.size):
        k = i + 1
        while k < time.size and time[k] <= time[i] + 3.0 * width:
            near = np.exp(-0.5 * ((time[k] - time[i]) / width) ** 2)
            total[i] += near * weight[k]
            total[k] += near * weight[i]
            weighted[i] += near * weight[k] * flux[k]
            weighted[k] += near * weight[i] * flux[i]
            k += 1
    return flux - weighted / total


@njit(cache=True)
def _clean_stars(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], camera: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """`clean_flux` of each star, into flat arrays."""
    relative, error = np.empty_like(flux), np.empty_like(flux_err)
    keep = np.ones(flux.size, dtype=np.bool_)
    for star in range(offsets.size - 1):
        begin, end = offsets[star], offsets[star + 1]
        if begin < end:
            own = clean_flux(flux[begin:end], flux_err[begin:end], camera[begin:end])
            relative[begin:end], error[begin:end], keep[begin:end] = own
    return relative, error, keep


def _as_numbers(words: NDArray[np.str_]) -> NDArray[np.uint32]:
    """Words as their characters, shape (m, length of the longest)."""
    return np.ascontiguousarray(words).view(np.uint32).reshape(len(words), words.dtype.itemsize // 4)


@njit(cache=True)
def _number_cameras(words: NDArray[np.uint32], offsets: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Number each star's cameras in the order in which they come, into `codes`."""
    for star in range(offsets.size - 1):
        begin, end = offsets[star], offsets[star + 1]
        first_seen = np.empty(end - begin, dtype=np.int64)
        n_cameras = 0
        for k in range(begin, end):
            code = 0
            while code < n_cameras and not _same(words, k, first_seen[code]):
                code += 1
            if code == n_cameras:
                first_seen[code] = k
                n_cameras += 1
            codes[k] = code


@njit(cache=True)
def _same(words: NDArray[np.uint32], one: int, other: int) -> bool:
    differences = 0
    for letter in range(words.shape[1]):
        differences += words[one, letter] != words[other, letter]
    return differences == 0
