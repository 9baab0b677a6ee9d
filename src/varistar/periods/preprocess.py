"""The one preprocessing path of training and prediction: light curves to images, on the device that there is."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from varistar.lightcurves.table import LightCurves

from .representation import Representation, make_images

if TYPE_CHECKING:
    import torch


def preprocess(lightcurves: LightCurves, representation: Representation, device: "torch.device") -> NDArray[np.uint8]:
    """The images of n light curves, shape (n, periods, times), as networks read them.

    On one kind of device equal light curves give equal images to the bit. Between processor and CUDA at most one pixel
    in a thousand differs, by one level: `on_torch.make_images`.
    """
    if device.type == "cpu":
        return make_images(lightcurves, representation)
    from . import on_torch

    return on_torch.make_images(lightcurves, representation, device)
