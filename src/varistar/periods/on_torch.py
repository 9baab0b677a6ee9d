"""Injection and images on an accelerator, batch by batch.

Everything means what it means in `inject` and `representation`; only where and in which order it is computed
differs. Power maps never leave the device, and pixels do so once.
"""

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.spectra.on_torch import BatchedTransform, cells_with_data

from . import representation as on_processor
from .cleaning import clean
from .representation import Representation

#: Bytes of power maps that are held at a time.
POWER_MEMORY = {"cpu": 2**26, "cuda": 2**33}


def inject(
    flux: ArrayLike | Tensor,
    spot_flux: ArrayLike | Tensor,
    median_flux: ArrayLike | Tensor,
    offsets: ArrayLike | Tensor,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Templates' flux with the simulated variability, as `inject.inject` has it.

    Parameters
    ----------
    flux : (m,), the templates', any unit.
    spot_flux : (m,), relative flux of the simulated stars at the same points.
    median_flux : (n,), each simulated star's over its window.
    offsets : (n + 1,), star `i` owns the points `offsets[i]:offsets[i + 1]`, the first from 0 on.

    Returns
    -------
    float32 tensor (m,) on the device

    Raises
    ------
    DataError
        When the numbers of points or stars differ.
    """
    place = partial(torch.as_tensor, device=device)
    flux, spot_flux, median_flux, offsets = place(flux), place(spot_flux), place(median_flux), place(offsets)
    if not (len(flux) == len(spot_flux) and len(median_flux) == len(offsets) - 1):
        raise DataError(
            f"{len(flux)} points of {len(offsets) - 1} templates cannot take {len(spot_flux)} points of "
            f"{len(median_flux)} simulations"
        )
    medians = torch.repeat_interleave(median_flux.double(), offsets.diff(), output_size=len(flux))
    return (flux.double() * (spot_flux.double() / medians)).float()


def make_images(
    lightcurves: LightCurves, representation: Representation, device: torch.device | str = "cpu"
) -> NDArray[np.uint8]:
    """The images of n light curves, shape (n, periods, times), uint8, as `representation.make_images` draws them.

    At most one pixel in a thousand differs from those, and by one level: the powers agree to 1e-6, and a pixel changes
    where that takes it over the edge of a level.

    Cleaning stays on the processor. So do whole images where each light curve spans its own grid (`window` None), since
    every one would need tables of its own, and those with interpolated masks, a triangulation.
    """
    if representation.window is None or representation.mask == "interpolate":
        return on_processor.make_images(lightcurves, representation)
    device = torch.device(device)
    lightcurves = clean(lightcurves) if representation.clean else lightcurves
    time, flux, flux_err = (
        torch.from_numpy(lightcurves[name].astype(np.float64)).to(device) for name in ("time", "flux", "flux_err")
    )
    periods, nodes = representation.periods.values(), np.linspace(*representation.window, representation.nodes)
    transform = BatchedTransform(periods, nodes, representation.tradeoff, representation.power, device)
    images = torch.empty((len(lightcurves), *representation.shape), dtype=torch.uint8, device=device)
    at_once = max(1, POWER_MEMORY.get(device.type, 2**28) // (8 * len(periods) * len(nodes)))
    for start in range(0, len(lightcurves), at_once):
        limits = lightcurves.offsets[start : start + at_once + 1]
        power = transform(time, flux, flux_err, limits)
        valid = None
        if representation.mask == "minimum":
            valid = cells_with_data(time, limits, periods, nodes, representation.tradeoff, device=device)
        images[start : start + at_once] = images_of_power(power, valid, representation)
    return images.cpu().numpy()


def images_of_power(power: Tensor, valid: Tensor | None, representation: Representation) -> Tensor:
    """The images of power maps, uint8 (n, periods, times), on their device.

    Parameters
    ----------
    power : float64 (n, nodes, periods), in the representation's quantity, 0 in cells that hold no data.
    valid : bool, likewise, which cells hold data; None leaves the others 0.
    """
    power = power.transpose(1, 2)
    if valid is not None:
        valid = valid.transpose(1, 2)
        lowest = torch.where(valid, power, math.inf).amin(dim=(1, 2), keepdim=True)
        power = torch.where(valid, power, torch.where(torch.isfinite(lowest), lowest, 0.0))
    rows, columns = representation.shape
    pool = representation.pool
    pooled = power.reshape(-1, rows, pool, columns, pool).mean(dim=(2, 4))
    if representation.scale == "log":
        unit = torch.log1p(pooled.clamp(min=0.0)) / math.log1p(representation.ceiling)
    else:
        lowest, highest = pooled.amin(dim=(1, 2), keepdim=True), pooled.amax(dim=(1, 2), keepdim=True)
        unit = (pooled - lowest) / torch.where(highest > lowest, highest - lowest, 1.0)
    return (255.0 * representation.gain * unit).clamp(max=255.0).to(torch.uint8)
