"""Calibrate a network's uncertainty on a split of its own.

One number per network, `stretch`, chosen by maximum likelihood: the Laplace head's widths are multiplied by it, the
distribution head's logits divided by it. It changes no period of the Laplace head and no ranking by width.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.content import ModelContent, read_content, write_content
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .measure import PeriodMeter
from .network import Head, LaplaceHead
from .variants import Variant

STRETCHES = (0.1, 10.0)


def best_stretch(head: Head, raw: Tensor, period: Tensor) -> float:
    """The stretch under which the true periods are most likely.

    Parameters
    ----------
    raw : raw outputs, shape (n, outputs).
    period : true periods [d], shape (n,).

    Notes
    -----
    For the Laplace head the maximum is known: the mean of |P - P_true| / b. For the distribution head the temperature
    is found within `STRETCHES` by bounded minimisation of the cross-entropy with the true bin.
    """
    if isinstance(head, LaplaceHead):
        predicted, scale = (head.unit * value for value in head.positive(raw))
        stretch = float(((predicted - period).abs() / scale).mean())
    else:
        true_bin = (torch.bucketize(torch.log(period), head.edges) - 1).clamp(0, head.outputs - 1)

        def surprise(log_stretch: float) -> float:
            return float(torch.nn.functional.cross_entropy(raw.double() / np.exp(log_stretch), true_bin))

        stretch = float(np.exp(minimize_scalar(surprise, bounds=np.log(STRETCHES), method="bounded").x))
    return round(stretch, 6)


def calibrate(content: ModelContent, splits: Sequence[Path], accelerator: Accelerator = "auto") -> ModelContent:
    """The content with its calibration, fitted on array sets of the calibration split.

    Raises
    ------
    DataError
        When the split is empty.
    """
    examples = join_arrays([open_arrays(folder) for folder in splits])
    if not len(examples):
        raise DataError(f"{splits[0]}: the calibration split is empty; give it a fraction under periods.split")
    meter = PeriodMeter.of_content(content, accelerator)
    raw = meter.raw(examples.gather(np.arange(len(examples)))[:, None])
    period = torch.from_numpy(examples.index["period_days"].to_numpy().astype(np.float32))
    stretch = best_stretch(meter.network.network.head.cpu(), raw, period)
    calibration = {"stretch": stretch, "examples": len(examples)}
    return replace(content, spec=content.spec.model_copy(update={"calibration": calibration}))


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_section(root, f"periods.variants.{name}", Variant)
    build = root / "build/periods"
    images = build / "images" / variant.images / "calibration"
    content = calibrate(read_content(build / "networks" / name), [images], lookup(read_params(root), "accelerator"))
    write_content(build / "calibrated" / name, content)
    print(f"{name}: widths are stretched by {content.spec.calibration['stretch']:.3f}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
