"""From light curves to the images that networks read: the one preprocessing path of training and prediction.

    light curve -> (cleaned) -> chunked Lomb-Scargle power, times x periods -> masked -> pooled -> scaled -> uint8

Rows of an image are periods, columns are times. The published images (000, section 3.3 and released code) are the
settings' default; the others answer to what they hide: `delta_chi2` undoes the division by the width of the window,
which makes noise at short periods outshine signals at long ones, and a `log` scale with a fixed ceiling keeps the
significance that scaling each image to its own maximum throws away.
"""

from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import LightCurves
from varistar.spectra.chunked import ChunkedTransform

from .cleaning import clean

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

    kind: Literal["image"] = "image"
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

    def transform(self, window: tuple[float, float]) -> ChunkedTransform:
        """The transform of this representation with its time nodes over `window` [d]."""
        nodes = np.linspace(*window, self.nodes)
        return ChunkedTransform(self.periods.values(), nodes, self.tradeoff, self.power)

    @property
    def axes(self) -> tuple[str, str]:
        return "period", "time"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (periods) and columns (times) of an image."""
        return self.periods.count // self.pool, self.nodes // self.pool


def make_images(lightcurves: LightCurves, representation: Representation) -> NDArray[np.uint8]:
    """The images of n light curves, shape (n, periods, times), uint8.

    A star's image depends on its own points and the representation only, never on its neighbours. A star without points
    gets an empty image.
    """
    images = np.zeros((len(lightcurves), *representation.shape), dtype=np.uint8)
    survey_grid = representation.window and representation.transform(representation.window)
    power = np.empty((representation.nodes, representation.periods.count))
    valid = np.empty(power.shape, dtype=np.bool_)
    lightcurves = clean(lightcurves) if representation.clean else lightcurves
    for image, (begin, end) in zip(images, pairwise(lightcurves.offsets), strict=True):
        if begin == end:
            continue
        time, flux, flux_err = (lightcurves[name][begin:end] for name in ("time", "flux", "flux_err"))
        transform = survey_grid or representation.transform((time.min(), time.max()))
        transform(time, flux, flux_err, out=power, cells=valid)
        image[:] = image_of_power(power, valid, representation)
    return images


def image_of_power(power: NDArray, valid: NDArray[np.bool_], representation: Representation) -> NDArray[np.uint8]:
    """The image of one power map.

    Parameters
    ----------
    power, valid : shape (nodes, periods), in the representation's quantity; cells that hold no data are not valid.
    """
    if representation.mask == "interpolate":
        power, valid = _interpolated(power, valid), np.ones_like(valid)
    image = np.empty(representation.shape, dtype=np.uint8)
    logarithm_of_ceiling = np.log1p(representation.ceiling) if representation.scale == "log" else 0.0
    _draw(
        power, valid, representation.mask == "minimum", representation.pool, logarithm_of_ceiling,
        255 * representation.gain, image,
    )  # fmt: skip
    return image


def _interpolated(power: NDArray, valid: NDArray[np.bool_]) -> NDArray:
    """Cubic patches between the cells with data, at those without; 0 outside, or where those with data span no area."""
    filled = np.where(valid, power, 0.0)
    if valid.all() or not valid.any():
        return filled
    from scipy.interpolate import griddata
    from scipy.spatial import QhullError

    cells = np.indices(power.shape).reshape(2, -1).T
    with suppress(QhullError):
        filled[~valid] = griddata(
            cells[valid.ravel()], power[valid], cells[~valid.ravel()], method="cubic", fill_value=0.0
        )
    return np.maximum(filled, 0.0)  # cubic patches undershoot; power cannot be negative


@njit(cache=True)
def _draw(
    power: NDArray[np.float64],
    valid: NDArray[np.bool_],
    fill_with_minimum: bool,
    pool: int,
    logarithm_of_ceiling: float,
    brightness: float,
    image: NDArray[np.uint8],
) -> None:
    """Fill, pool, turn, scale and round one power map into `image`.

    A `logarithm_of_ceiling` of 0 asks for the scale of the image itself.
    """
    filling = 0.0
    if fill_with_minimum and valid.any():
        filling = np.inf
        for i in range(power.shape[0]):
            for j in range(power.shape[1]):
                if valid[i, j]:
                    filling = min(filling, power[i, j])
    columns, rows = image.shape[1], image.shape[0]
    pooled = np.zeros((columns, rows))
    for i in range(columns * pool):
        for j in range(rows * pool):
            pooled[i // pool, j // pool] += power[i, j] if valid[i, j] else filling
    pooled /= pool * pool
    if logarithm_of_ceiling > 0.0:
        lowest, unit = 0.0, logarithm_of_ceiling
    else:
        lowest, unit = pooled.min(), pooled.max() - pooled.min()
    for i in range(columns):
        for j in range(rows):
            value = pooled[i, j]
            above = np.log(1.0 + value) if logarithm_of_ceiling > 0.0 else value - lowest
            image[j, i] = np.uint8(min(brightness * (above / unit), 255.0)) if above > 0.0 else 0
