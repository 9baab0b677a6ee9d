"""The points of many stars as the torch kernels take them: checked, in rows, in order of time, and scaled."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.foundation.errors import DataError

from .points import LARGEST_RATIO, read_offsets, read_points

Values = NDArray | Tensor


class Curves(NamedTuple):
    """Light curves of similar length as the rows of arrays, ascending in time, scaled as `points.Points`.

    Beyond a star's points its last time is repeated, with weight and flux 0.

    Attributes
    ----------
    time, flux, weight : (n_stars, most points)
    n_points : (n_stars,), points of each star; at least one.
    unit : (n_stars,), see `Points`.
    varies : (n_stars,), whether there is anything to transform.
    """

    time: Tensor
    flux: Tensor
    weight: Tensor
    n_points: Tensor
    unit: Tensor
    varies: Tensor


def read_flat(
    time: Values, flux: Values, flux_err: Values, offsets: Values, device: torch.device
) -> tuple[tuple[Tensor, Tensor, Tensor], NDArray[np.int64]]:
    """The points on the device and the stars' limits on the processor, checked."""
    points = (to_tensor(time, device), to_tensor(flux, device), to_tensor(flux_err, device))
    shapes = [tuple(values.shape) for values in points]
    if not (points[0].ndim == 1 and shapes[0] == shapes[1] == shapes[2]):
        raise DataError(
            f"time, flux and flux_err must be equally long; got shapes {shapes[0]}, {shapes[1]}, {shapes[2]}"
        )
    limits = read_limits(offsets, len(points[0]))
    good = torch.isfinite(torch.stack(points)).all(dim=0) & (points[2] > 0.0)
    for point in (~good).nonzero().flatten().tolist():
        if limits[0] <= point < limits[-1]:
            _refuse_star(int(np.searchsorted(limits, point, side="right")) - 1, points, limits)
    return points, limits


def read_limits(offsets: Values, n_points: int) -> NDArray[np.int64]:
    """The checked offsets on the processor."""
    on_processor = offsets.cpu().numpy() if isinstance(offsets, Tensor) else offsets
    return np.array(read_offsets(on_processor, n_points), dtype=np.int64)


def to_tensor(values: Values, device: torch.device) -> Tensor:
    """The values as float64 on the device, from arrays of any strides."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    return tensor.to(device, torch.float64)


def _refuse_star(star: int, points: tuple[Tensor, Tensor, Tensor], limits: NDArray[np.int64]) -> None:
    """Raise the error that `read_points` has for this star."""
    try:
        read_points(*(values[limits[star] : limits[star + 1]].cpu().numpy() for values in points))
    except DataError as error:
        raise DataError(f"light curve {star}: {error}") from None


def standardised(points: tuple[Tensor, Tensor, Tensor], limits: NDArray[np.int64], stars: NDArray[np.int64]) -> Curves:
    """Sort and scale the points of these stars, none of which is empty, as `read_points` does."""
    rows, n_points = rows_of_points(limits, stars, points[0].device)
    inside = rows >= 0
    time, order = torch.where(inside, points[0][rows], math.inf).sort(dim=1, stable=True)
    rows = rows.gather(1, order)
    time = torch.where(inside, time, time.gather(1, n_points[:, None] - 1))
    flux, error = points[1][rows], torch.where(inside, points[2][rows], math.inf)
    smallest = error.amin(dim=1, keepdim=True)
    weight = (smallest / error) ** 2
    total = weight.sum(dim=1, keepdim=True)
    flux = torch.where(inside, flux, 0.0)
    # A constant flux has a mean that is rounded.
    rounding = 4.0 * np.finfo(np.float64).eps * flux.abs().amax(dim=1, keepdim=True)
    flux = torch.where(inside, flux - (weight * flux).sum(dim=1, keepdim=True) / total, 0.0)
    largest = flux.abs().amax(dim=1, keepdim=True)
    flux = flux / torch.where(largest > rounding, largest, 1.0)
    scatter = torch.sqrt((weight * flux**2).sum(dim=1, keepdim=True) / total)
    varies = (largest > rounding) & (scatter > 0.0)
    ratio = (largest * scatter / smallest)[:, 0]
    for row in (varies[:, 0] & ~(ratio < LARGEST_RATIO)).nonzero().flatten().tolist():
        _refuse_star(int(stars[row]), points, limits)
    return Curves(time, flux / torch.where(varies, scatter, 1.0), weight, n_points, ratio**2, varies[:, 0])


def rows_of_points(limits: NDArray[np.int64], stars: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
    """Each star's points as a row of places in the flat arrays, -1 beyond its last, and how many it has."""
    begin = torch.from_numpy(limits[stars]).to(device)
    n_points = torch.from_numpy(limits[stars + 1]).to(device) - begin
    place = torch.arange(int(np.diff(limits)[stars].max(initial=1)), device=device)
    return torch.where(place < n_points[:, None], begin[:, None] + place, -1), n_points


def nearest_points(time: Tensor, n_points: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Each star's point nearest to each node, and how far it is; both (n_stars, n_nodes). Without points: infinitely.

    `time` (n_stars, most points) ascends in each row, of which the first `n_points` count.
    """
    after = torch.searchsorted(time, nodes.expand(len(time), -1).contiguous())
    last = (n_points[:, None] - 1).clamp(min=0)
    before, after = torch.minimum((after - 1).clamp(min=0), last), torch.minimum(after, last)
    gap_before, gap_after = ((time.gather(1, place) - nodes).abs() for place in (before, after))
    nearer = gap_before < gap_after
    distance = torch.where(nearer, gap_before, gap_after)
    return torch.where(nearer, before, after), distance.masked_fill((n_points == 0)[:, None], math.inf)
