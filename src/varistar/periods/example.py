"""A star of a test set whose light changes clearly: what a network sees of it, and what it says."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from varistar.figures.examples import statistics_figure
from varistar.figures.periods import image_figure
from varistar.foundation.accelerator import Accelerator
from varistar.lightcurves.store import Store

from .measure import PeriodMeter
from .representation import Representation
from .statistics import CHANNELS, Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def example_figures(
    content: Path, injected: Path, representation: str, accelerator: Accelerator = "auto"
) -> "dict[str, Figure]":
    """The light curve beside its image, or its statistics under what the network says; nothing of nights.

    Parameters
    ----------
    injected : a sample, of whose test set the star with a period is shown whose amplitude is larger, in units of its
        template's scatter, than that of nine in ten.
    representation : its name.
    """
    truth = pl.read_parquet(injected / "test/truth.parquet", glob=False).filter(pl.col("period_days").is_not_null())
    if not truth.height:
        return {}
    clear = truth.sort(pl.col("amplitude") / pl.col("template_scatter"), "star_id")
    star = clear.row(int(0.9 * (truth.height - 1)), named=True)
    light_curve = Store(injected / "test").read_stars([star["star_id"]])
    meter = PeriodMeter.of_folder(content, accelerator)
    arrays = meter.arrays(light_curve)
    title = f"an injected star of {star['period_days']:.2f} d"
    time, flux = light_curve["time"], light_curve["flux"] / np.median(light_curve["flux"])
    if isinstance(meter.representation, Representation):
        shown = {representation: (arrays[0], meter.representation)}
        return {"example": image_figure(time, flux, shown, star["period_days"], title)}
    if not isinstance(meter.representation, Statistics):
        return {}
    settings = meter.representation
    raw, stretch = meter.raw(arrays), float(meter.network.stretch)
    answer = meter.measure(light_curve, raw).row(0, named=True)
    probabilities = torch.softmax(raw[0] / stretch, dim=0)[: settings.bins].numpy()
    channels = dict(zip(CHANNELS, arrays[0], strict=True))
    figure = statistics_figure(
        time, flux, channels, settings.edges(), probabilities, settings.period_range, answer, star["period_days"], title
    )
    return {"example": figure}
