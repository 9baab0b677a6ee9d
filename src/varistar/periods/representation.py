"""From light curves to the images that networks read: the one preprocessing path of training and prediction.

    light curve -> (cleaned) -> chunked Lomb-Scargle power, times x periods -> masked -> pooled -> scaled -> uint8

Rows of an image are periods, columns are times. The published images (000, section 3.3 and released code) are the
settings' default; the others answer to what they hide: `delta_chi2` undoes the division by the width of the window,
which makes noise at short periods outshine signals at long ones, and a `log` scale with a fixed ceiling keeps the
significance that scaling each image to its own maximum throws away.
"""

from contextlib import suppress
from typing import Annotated, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.interpolate import griddata
from scipy.spatial import QhullError

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import LightCurves
from varistar.spectra.chunked import ChunkedTransform, cells_with_data

PositiveInt = Annotated[int, Field(gt=0)]


class PeriodGrid(Settings):
    """The trial periods [d]: `count` of them, evenly spaced in period or in its logarithm."""

    minimum: Annotated[float, Field(gt=0)] = 1.0
    maximum: Annotated[float, Field(gt=0)] = 30.0
    count: PositiveInt = 128
    spacing: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError("minimum must be below maximum")
        return self

    def values(self) -> NDArray[np.float64]:
        """The periods, shape (count,), ascending."""
        space = np.linspace if self.spacing == "linear" else np.geomspace
        return space(self.minimum, self.maximum, self.count)


class Representation(Settings):
    """What an image shows; saved with every model, so that prediction prepares its input as training did.

    Attributes
    ----------
    window : first and last time node [d, in the survey's time system]; None lets each light curve span its own, as the
        released code does (AMB-6).
    nodes : number of time nodes.
    tradeoff : width of the Gaussian window in periods.
    clean : remove per-camera medians and outliers, and raise errors to the observed scatter, before the transform.
    power : `psd` as published; `delta_chi2` without the factor 1/(sqrt(2 pi) dt).
    mask : value of cells that hold no data: zero, the image's minimum, or a cubic interpolation (the published fill,
        which is not reproducible to the bit: AMB-22).
    pool : side of the squares of cells that are averaged into one pixel.
    scale : `image` subtracts the image's minimum and divides by its maximum; `log` takes log(1 + x) up to `ceiling`.
    gain : factor after scaling; what exceeds the largest pixel value is clipped (10 is a row of Table 3).
    """

    window: tuple[float, float] | None
    nodes: PositiveInt = 128
    periods: PeriodGrid = PeriodGrid()
    tradeoff: Annotated[float, Field(gt=0)] = 2.0
    clean: bool = False
    power: Literal["psd", "delta_chi2"] = "psd"
    mask: Literal["zero", "minimum", "interpolate"] = "zero"
    pool: PositiveInt = 2
    scale: Literal["image", "log"] = "image"
    gain: Annotated[float, Field(gt=0)] = 1.0
    ceiling: Annotated[float, Field(gt=0)] = 1000.0

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.window and not self.window[0] < self.window[1]:
            raise ValueError("window must run from the smaller to the larger value")
        if self.nodes % self.pool or self.periods.count % self.pool:
            raise ValueError("pool must divide nodes and periods.count")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (periods) and columns (times) of an image."""
        return self.periods.count // self.pool, self.nodes // self.pool


def make_images(lightcurves: LightCurves, representation: Representation) -> NDArray[np.uint8]:
    """The images of n light curves, shape (n, periods, times), uint8.

    A star's image depends on its own points and the representation only, never on its neighbours. A star without points
    gets an empty image.
    """
    periods, tradeoff = representation.periods.values(), representation.tradeoff
    images = np.zeros((len(lightcurves), *representation.shape), dtype=np.uint8)
    survey_grid = representation.window and ChunkedTransform(
        periods, _nodes(representation.window, representation), tradeoff
    )
    for i in range(len(lightcurves)):
        star = lightcurves.star(i)
        if not star.offsets[-1]:
            continue
        time, flux, flux_err = _prepared(star, representation.clean)
        transform = survey_grid or ChunkedTransform(periods, _nodes((time.min(), time.max()), representation), tradeoff)
        valid = cells_with_data(time, periods, transform.node_times, tradeoff)
        images[i] = image_of_power(transform(time, flux, flux_err), valid, representation)
    return images


def image_of_power(power: NDArray, valid: NDArray[np.bool_], representation: Representation) -> NDArray[np.uint8]:
    """The image of one power map.

    Parameters
    ----------
    power, valid : shape (nodes, periods); cells that hold no data are not valid.
    """
    if representation.power == "delta_chi2":
        window_width = representation.tradeoff * representation.periods.values()
        power = 2 * np.sqrt(2 * np.pi) * window_width * power
    filled = _fill(power, valid, representation.mask).T
    rows, columns = representation.shape
    pooled = filled.reshape(rows, representation.pool, columns, representation.pool).mean(axis=(1, 3))
    if representation.scale == "log":
        unit = np.log1p(np.maximum(pooled, 0)) / np.log1p(representation.ceiling)
    else:
        unit = pooled - pooled.min()
        unit /= unit.max() or 1.0
    return np.minimum(255 * representation.gain * unit, 255).astype(np.uint8)


def _nodes(window: tuple[float, float], representation: Representation) -> NDArray[np.float64]:
    return np.linspace(*window, representation.nodes)


def _fill(power: NDArray, valid: NDArray[np.bool_], mask: str) -> NDArray:
    """`power` with its empty cells filled, shape (nodes, periods)."""
    if valid.all() or not valid.any():
        return power
    if mask == "minimum":
        return np.where(valid, power, power[valid].min())
    if mask == "interpolate":
        return np.where(valid, power, _interpolated(power, valid))
    return np.where(valid, power, 0.0)


def _interpolated(power: NDArray, valid: NDArray[np.bool_]) -> NDArray:
    """Cubic patches between the cells with data, at those without; 0 outside, or where those with data span no area."""
    cells = np.indices(power.shape).reshape(2, -1).T
    filled = np.zeros(power.shape)
    with suppress(QhullError):
        filled[~valid] = griddata(
            cells[valid.ravel()], power[valid], cells[~valid.ravel()], method="cubic", fill_value=0.0
        )
    return np.maximum(filled, 0.0)  # cubic patches undershoot; power cannot be negative


def _prepared(star: LightCurves, clean: bool) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Time, flux and error of one star as float64, cleaned if asked."""
    time, flux, flux_err = (star[name].astype(np.float64) for name in ("time", "flux", "flux_err"))
    if not clean:
        return time, flux, flux_err
    camera = np.zeros(len(time), dtype=np.int64)
    if "camera" in star.columns:
        camera = np.unique(star["camera"], return_inverse=True)[1]
    flux, flux_err, keep = clean_flux(flux, flux_err, camera)
    return time[keep], flux[keep], flux_err[keep]


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
            centre = np.median(flux[mine]) if count >= 12 else median
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
