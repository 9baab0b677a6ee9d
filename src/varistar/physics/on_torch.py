"""The light curves of many spotted stars at once, in torch: the same code on a processor and on CUDA.

The model, and the cut of a spot's life at CUT_WIDTHS, are those of `spots`; active regions come from `emergence`, which
is sequential and stays on the processor. Each epoch asks for the spots that can be seen then, a window of the spots in
order of their days, and the windows are summed as the rows of rectangles: no atomic additions, the same sum in every
run. All of it is float64, since a phase of thousands of turns leaves float32 too few digits.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from varistar.foundation.errors import DataError
from varistar.foundation.padding import padded_windows

from .dimming import CUT_WIDTHS, Spots, spots_between
from .emergence import ActiveRegions
from .spot_prior import SpotParameters, SpotPrior, draw_spot_parameters
from .spots import SpotSimulation, SpottedStar, draw_view, never_positive, stream_of

#: Pairs of an epoch and a spot that are computed at a time where the caller does not say.
PAIRS = {"cpu": 2**16, "cuda": 2**25}


def simulate_positive(
    prior: SpotPrior,
    epochs: Sequence[NDArray[np.float64]],
    survey_start: float,
    seed: int,
    numbers: Sequence[int],
    device: torch.device | str = "cpu",
    simulation: SpotSimulation | None = None,
) -> list[SpottedStar]:
    """Simulate stars `numbers` of the sky `seed`, each at its own epochs, as `spots.simulate_positive` does one by one.

    The stars, their regions and redraws are the same, and so is their flux within 1e-8 of the depth of their spots.

    Raises
    ------
    ConfigError, DataError
        As `spots.simulate_positive`.
    """
    simulation = simulation or SpotSimulation()
    streams = [stream_of(seed, number) for number in numbers]
    stars: dict[int, SpottedStar] = {}
    for n_redraws in range(simulation.max_redraws + 1):
        left = [i for i in range(len(streams)) if i not in stars]
        if not left:
            break
        views = [
            draw_view(draw_spot_parameters(prior, streams[i]), epochs[i], survey_start, streams[i], simulation)
            for i in left
        ]
        times = [time for view in views for time in (view.time, view.grid)]
        limits = np.cumsum([0, *map(len, times)])
        parameters, regions = [view.parameters for view in views], [view.regions for view in views]
        flux = spot_flux(parameters, regions, np.concatenate(times), limits[::2], device).cpu().numpy()
        for place, (i, view) in enumerate(zip(left, views, strict=True)):
            begin, middle, end = limits[2 * place : 2 * place + 3]
            star = view.star(flux[begin:middle], flux[middle:end], n_redraws)
            if star.lowest_flux > 0:
                stars[i] = star
    if len(stars) < len(streams):
        raise never_positive(simulation)
    return [stars[i] for i in range(len(streams))]


def spot_flux(
    parameters: Sequence[SpotParameters],
    regions: Sequence[ActiveRegions],
    time: ArrayLike,
    offsets: NDArray[np.int64],
    device: torch.device | str = "cpu",
    pairs: int | None = None,
) -> Tensor:
    """Flux of spotted stars in units of the unspotted stars', at any times, in any order.

    Parameters
    ----------
    parameters, regions : of length n
        As `spots.spot_flux` takes them of one star.
    time : (m,), finite
        Days since the start of each simulation; star `i` owns the times `offsets[i]:offsets[i + 1]`.
    offsets : (n + 1,)
    device : where to compute
    pairs : how many pairs of an epoch and a spot to compute at a time.

    Returns
    -------
    float64 tensor (m,) on the device
        Exactly 1 where there is no spot; as `spots.spot_flux`, within 1e-8 of the summed depth of the spots in sight.

    Raises
    ------
    DataError
        When there are not as many stars as parameters, or a time is not finite.
    """
    device = torch.device(device)
    time = np.asarray(time, dtype=np.float64)
    if not len(parameters) == len(regions) == len(offsets) - 1 or offsets[0] != 0 or offsets[-1] != len(time):
        raise DataError(
            f"{len(parameters)} stars' regions and times must fit the offsets; got {len(offsets) - 1} stars"
        )
    if not np.all(np.isfinite(time)):
        raise DataError(f"time {time[~np.isfinite(time)][0]} of a star to be simulated is not finite")
    stars = [
        spots_between(one, its, *_span(time[begin:end]))
        for one, its, begin, end in zip(parameters, regions, offsets[:-1], offsets[1:], strict=True)
    ]
    begin, end = _windows(stars, time, offsets)
    when = torch.from_numpy(time).to(device)
    spots = torch.from_numpy(_columns(stars)).to(device)
    first, length = torch.from_numpy(begin).to(device), torch.from_numpy(end - begin).to(device)
    per_life = torch.from_numpy(_per_life(stars, offsets)).to(device)
    flux = torch.ones_like(when)
    for epochs, seen, inside in padded_windows(first, length, pairs or PAIRS.get(device.type, 2**20)):
        flux[epochs] = 1.0 - _dimming(when[epochs, None], per_life[:, epochs, None], spots[:, seen], inside)
    return flux


def _span(time: NDArray[np.float64]) -> tuple[float, float]:
    return (float(time.min()), float(time.max())) if len(time) else (0.0, 0.0)


def _windows(
    stars: Sequence[Spots], time: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first spot, and that after the last, that can be seen at each time, in the spots of all stars in a row."""
    begin, end = np.empty(len(time), dtype=np.int64), np.empty(len(time), dtype=np.int64)
    before = 0
    for spots, start, stop in zip(stars, offsets[:-1], offsets[1:], strict=True):
        epochs = time[start:stop]
        begin[start:stop] = before + np.searchsorted(spots.day, epochs - CUT_WIDTHS * spots.decay_days)
        last = np.searchsorted(spots.day, epochs + CUT_WIDTHS * spots.emergence_days, side="right")
        end[start:stop] = before + last
        before += len(spots.day)
    return begin, end


def _columns(stars: Sequence[Spots]) -> NDArray[np.float64]:
    """What `_dimming` needs of each spot, one row for each quantity: (6, number of spots)."""
    names = ("day", "depth", "turns_per_day", "turns", "offset", "swing")
    return np.stack([np.concatenate([getattr(spots, name) for spots in stars] or [np.empty(0)]) for name in names])


def _per_life(stars: Sequence[Spots], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / emergence time and 1 / decay time of the spots of each epoch's star [1/d]: (2, m)."""
    lives = np.array([(spots.emergence_days, spots.decay_days) for spots in stars]).reshape(-1, 2)
    return np.repeat(1.0 / lives.T, np.diff(offsets), axis=1)


def _dimming(time: Tensor, per_life: Tensor, spots: Tensor, inside: Tensor) -> Tensor:
    """The light that each epoch's spots take, (epochs,).

    `time` is (epochs, 1), `per_life` (2, epochs, 1), `spots` (6, epochs, most spots) and used up.
    """
    day, depth, turns_per_day, turns, offset, swing = spots
    age = time - day
    age.mul_(torch.where(age < 0.0, *per_life))
    phase = turns_per_day.mul_(time).add_(turns)
    phase.sub_(torch.round(phase)).mul_(2.0 * math.pi)
    in_sight = phase.cos_().mul_(swing).add_(offset).clamp_(min=0.0)
    return age.square_().neg_().exp_().mul_(depth).mul_(in_sight).mul_(inside).sum(dim=1)
