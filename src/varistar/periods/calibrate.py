"""Calibrate a model's uncertainty on a split of its own.

Three numbers by maximum likelihood. `stretch` is about the distribution: a Laplace head's widths are multiplied by it,
a distribution head's logits divided by it. `slope` and `offset` are about the probability of being right within 10%,
whose logit they change (Platt 1999): soft labels make a network say less than it knows, and a new kind of star more.
Slope and offset change no ranking, and the stretch none by width.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from varistar.bulk.arrays import join_arrays, open_arrays
from varistar.experiments.calibration import honest_logit
from varistar.experiments.content import ModelContent, write_content
from varistar.experiments.ensemble import gather_members
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params

from .heads import Head, LaplaceHead
from .measure import PeriodMeter
from .scores import within
from .variants import TARGETS, read_variant

STRETCHES = (0.1, 10.0)


def best_stretch(head: Head, raw: Tensor, period: Tensor) -> float:
    """The stretch under which the true periods are most likely.

    Parameters
    ----------
    raw : raw outputs, shape (n, outputs).
    period : true periods [d], shape (n,), NaN for a star without one.

    Notes
    -----
    For the Laplace head the maximum is known: the mean of |P - P_true| / b. For the distribution head the temperature
    is found within `STRETCHES` by bounded minimisation of the cross-entropy with the true class.
    """
    has_period = torch.isfinite(period)
    if isinstance(head, LaplaceHead):
        predicted, scale = (head.unit * value for value in head.positive(raw[has_period]))
        stretch = float(((predicted - period[has_period]).abs() / scale).mean())
    else:
        known = has_period | head.no_period
        true_class = (torch.bucketize(torch.log(period), head.edges) - 1).clamp(0, head.bins - 1)
        true_class = torch.where(has_period, true_class, head.outputs - 1)[known]

        def surprise(log_stretch: float) -> float:
            return float(torch.nn.functional.cross_entropy(raw[known].double() / np.exp(log_stretch), true_class))

        stretch = float(np.exp(minimize_scalar(surprise, bounds=np.log(STRETCHES), method="bounded").x))
    return round(stretch, 6)


def calibrate(
    content: ModelContent,
    splits: Sequence[Path],
    accelerator: Accelerator = "auto",
    target: str = TARGETS["equatorial"],
) -> ModelContent:
    """The content with its calibration, fitted on array sets of the calibration split.

    Parameters
    ----------
    target : the column of the truth that holds the period.

    Raises
    ------
    DataError
        When the split has no star with a period.
    """
    examples = join_arrays([open_arrays(folder) for folder in splits])
    period = examples.index[target].cast(pl.Float32).fill_null(np.nan).to_numpy()
    if not np.isfinite(period).any():
        raise DataError(f"{splits[0]}: the calibration split is empty; give it a fraction under periods.split")
    meter = PeriodMeter.of_content(content, accelerator)
    raw = meter.raw(examples.gather(np.arange(len(examples))))
    head = meter.network.network.head.cpu()
    stretch = best_stretch(head, raw, torch.from_numpy(period.copy()))
    answer = head.answer(raw, torch.tensor(stretch))
    right = within(answer.period.numpy(), period, 0.1)
    slope, offset = honest_logit(answer.p_within_10pct.numpy(), right)
    calibration = {"stretch": stretch, "slope": slope, "offset": offset, "examples": len(examples)}
    return replace(content, spec=content.spec.model_copy(update={"calibration": calibration}))


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant = read_variant(root, name)
    build = root / "build/periods"
    images = build / "images" / variant.images / "calibration"
    members = gather_members(build / "networks" / name, variant.ensemble)
    content = calibrate(members, [images], lookup(read_params(root), "accelerator"), TARGETS[variant.target])
    write_content(build / "calibrated" / name, content)
    found = content.spec.calibration
    print(f"{name}: stretch {found['stretch']:.3f}, slope {found['slope']:.3f}, offset {found['offset']:+.3f}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
