"""The one preprocessing path of training and prediction: light curves to images, on the device that there is."""

import numpy as np
from numpy.typing import NDArray

from varistar.lightcurves.table import LightCurves

from .representation import Representation, make_images


def preprocess(lightcurves: LightCurves, representation: Representation, device: str) -> NDArray[np.uint8]:
    """The images of n light curves, shape (n, periods, times), as networks read them.

    On one kind of device, "cpu" or "cuda", equal light curves give equal images to the bit. Between the two at most one
    pixel in a thousand differs, by one level: `on_torch.make_images`.
    """
    if device == "cpu":
        return make_images(lightcurves, representation)
    from . import on_torch

    return on_torch.make_images(lightcurves, representation, device)
