"""Networks that read an image and answer with a period.

The published network (000, Table 2) is three convolutions whose pools shrink the time axis to nothing, then three fully
connected layers. Its `laplace` head answers with a period and a width. A Laplace distribution cannot say "P or 2P", so
the `distribution` head answers with a histogram over the logarithm of the period instead; period, width and the
probability of being within 10% are read off it.

Conventions: images are uint8 of shape (n, 1, rows, columns); a head's raw output is called `raw`; an `Answer` holds
three tensors of shape (n,): the period [d], its standard deviation [d] and the probability that the period is right
within 10%.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from varistar.foundation.errors import ConfigError

from .variants import NetworkSettings

TOLERANCE = 0.1  # a period counts as right when it is within this fraction of the truth
RIGHT_FOR = 1 / (1 + TOLERANCE), 1 / (1 - TOLERANCE)  # times the period: the truths for which it is right


class Answer(NamedTuple):
    """Period [d], standard deviation [d] and probability of being within 10%, each of shape (n,)."""

    period: Tensor
    sigma: Tensor
    p_within_10pct: Tensor


class LaplaceHead(nn.Module):
    """A period and the width of a Laplace distribution around it, through a softplus (000, eq. 4)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.outputs = 2
        self.unit = settings.maximum_period
        # b = scale_of_sigma * sigma is the Laplace scale
        self.scale_of_sigma = 1 / math.sqrt(2) if settings.sigma == "standard_deviation" else 1.0

    def positive(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Period and Laplace scale b, both in units of the longest period."""
        period, sigma = nn.functional.softplus(raw).unbind(dim=1)
        return period, self.scale_of_sigma * sigma + 1e-6

    def loss(self, raw: Tensor, period: Tensor) -> Tensor:
        """Mean negative log-likelihood, ln(2b) + |P - P_true| / b (000, eq. 5)."""
        predicted, scale = self.positive(raw)
        return (torch.log(2 * scale) + (predicted - period / self.unit).abs() / scale).mean()

    def answer(self, raw: Tensor, stretch: Tensor) -> Answer:
        """`stretch` multiplies the width."""
        period, scale = (self.unit * value for value in self.positive(raw))
        scale = stretch * scale
        below, above = (0.5 * torch.exp(-abs(1 - factor) * period / scale) for factor in RIGHT_FOR)
        return Answer(period, math.sqrt(2) * scale, 1 - below - above)

    def cumulative(self, raw: Tensor, stretch: Tensor, period: Tensor) -> Tensor:
        """Probability that the period is at most `period` [d]."""
        centre, scale = (self.unit * value for value in self.positive(raw))
        distance = (period - centre) / (stretch * scale)
        tail = 0.5 * torch.exp(-distance.abs())
        return torch.where(distance < 0, tail, 1 - tail)


class DistributionHead(nn.Module):
    """A histogram over ln(period)."""

    edges: Tensor
    centres: Tensor
    near: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.outputs = settings.bins
        self.softness = settings.softness
        shortest, longest = settings.period_range
        edges = torch.linspace(math.log(shortest), math.log(longest), settings.bins + 1, dtype=torch.float64)
        centres = (edges[1:] + edges[:-1]) / 2
        # near[k, j]: the part of bin j for which the centre of bin k is right
        low, high = (centres + math.log(factor) for factor in RIGHT_FOR)
        overlap = torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])
        near = overlap.clamp(min=0) / (edges[1:] - edges[:-1])
        for name, value in (("edges", edges), ("centres", centres), ("near", near)):
            self.register_buffer(name, value.float(), persistent=False)

    def loss(self, raw: Tensor, period: Tensor) -> Tensor:
        """Cross-entropy with a Gaussian label around the true ln(period)."""
        distance = (torch.log(period)[:, None] - self.centres) / self.softness
        return nn.functional.cross_entropy(raw, torch.softmax(-0.5 * distance**2, dim=1))

    def answer(self, raw: Tensor, stretch: Tensor) -> Answer:
        """The window of +-10% that holds most probability, and half the central 68% interval.

        `stretch` is the temperature that divides the logits.
        """
        p = torch.softmax(raw / stretch, dim=1)
        mass, best = (p @ self.near.T).max(dim=1)
        weight = p * self.near[best]
        period = torch.exp((weight * self.centres).sum(dim=1) / weight.sum(dim=1))
        low, high = (self._quantile(p, q) for q in (0.158655, 0.841345))
        return Answer(period, (high - low) / 2, mass.clamp(max=1.0))

    def cumulative(self, raw: Tensor, stretch: Tensor, period: Tensor) -> Tensor:
        """Probability that the period is at most `period` [d]."""
        below = torch.softmax(raw / stretch, dim=1).cumsum(dim=1)
        below = torch.cat([torch.zeros_like(below[:, :1]), below], dim=1)
        width = self.edges[1] - self.edges[0]
        place = ((torch.log(period) - self.edges[0]) / width).clamp(0, self.outputs - 1e-4)
        left = place.floor().long()
        low, high = (below.gather(1, (left + k)[:, None])[:, 0] for k in (0, 1))
        return low + (place - left) * (high - low)

    def _quantile(self, p: Tensor, q: float) -> Tensor:
        """The period [d] below which the histogram holds the fraction `q`."""
        below = p.cumsum(dim=1)
        bin_ = (below < q).sum(dim=1, keepdim=True).clamp(max=self.outputs - 1)
        inside = p.gather(1, bin_)
        part = (q - (below.gather(1, bin_) - inside)) / inside.clamp(min=1e-12)
        width = self.edges[1] - self.edges[0]
        return torch.exp(self.edges[bin_] + part.clamp(0, 1) * width)[:, 0]


Head = LaplaceHead | DistributionHead


class PeriodNetwork(nn.Module):
    """Image to raw output: the published layers (000, Table 2) under either head.

    Raises
    ------
    ConfigError
        When the convolutions leave nothing of an image; they need 7 rows and 35 columns.
    """

    head: Head

    def __init__(self, settings: NetworkSettings, image_shape: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        rows, columns = image_shape
        channels = 1
        for i, filters in enumerate(settings.filters):
            rows, columns = rows - 2, columns - 2
            if min(rows, columns) < 1:
                raise ConfigError(f"images of {image_shape[0]} x {image_shape[1]} pixels are too small for the network")
            # the last pool spans all that is left of the time axis
            width = min(3, columns) if i < 2 else columns
            # Pooled before the ReLU, which gives the same values and gradients at a third of the work.
            layers += [
                nn.Conv2d(channels, filters, 3),
                nn.MaxPool2d((1, width)),
                nn.ReLU(),
                nn.Dropout2d(settings.dropout),
            ]
            columns //= width
            channels = filters
        # channels_last halves the time of a training step on a processor
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = LaplaceHead(settings) if settings.head == "laplace" else DistributionHead(settings)
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * rows * columns, 256), nn.ReLU(), nn.Dropout(settings.dropout),
            nn.Linear(256, 64), nn.ReLU(), nn.Dropout(settings.dropout),
            nn.Linear(64, self.head.outputs),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Raw output, shape (n, outputs), of uint8 images, shape (n, 1, rows, columns)."""
        unit = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        return self.dense(self.convolutions(unit))


class CalibratedNetwork(nn.Module):
    """A network with its calibration: what is served."""

    network: PeriodNetwork
    stretch: Tensor

    def __init__(self, network: PeriodNetwork, stretch: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("stretch", torch.tensor(stretch, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Answers, shape (n, 3): period [d], sigma [d], probability of being within 10%."""
        return torch.stack(self.network.head.answer(self.network(images), self.stretch), dim=1)
