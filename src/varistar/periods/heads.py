"""What a network's raw output means: a Laplace distribution around a period, or a histogram over ln(period).

A Laplace distribution cannot say "P or 2P", so the `distribution` head answers with a histogram over the logarithm of
the period instead, with a class more, if wanted, for stars that have no period in the range.

Conventions: a head's raw output is called `raw`; an `Answer` holds tensors of shape (n,). Where a star has no period
the target is NaN.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .variants import NetworkSettings

TOLERANCE = 0.1  # a period counts as right when it is within this fraction of the truth
RIGHT_FOR = 1 / (1 + TOLERANCE), 1 / (1 - TOLERANCE)  # times the period: the truths for which it is right
LOW, HIGH = 0.158655, 0.841345  # the central 68%


class Answer(NamedTuple):
    """What is read off a predicted distribution, each of shape (n,).

    Attributes
    ----------
    period, sigma : [d], and standard deviation.
    p_within_10pct : probability that the period is right within 10%.
    period_low, period_high : the central 68% of the periods there may be [d].
    p_no_period : probability that there is no period in the range; 0 where the head has no such class.
    second_period, second_p : the second candidate [d], apart from the first by more than 20%, and its probability; NaN
        and 0 from a Laplace head.
    p_half, p_double : probabilities that the true period is half or twice the one given.
    """

    period: Tensor
    sigma: Tensor
    p_within_10pct: Tensor
    period_low: Tensor
    period_high: Tensor
    p_no_period: Tensor
    second_period: Tensor
    second_p: Tensor
    p_half: Tensor
    p_double: Tensor


class LaplaceHead(nn.Module):
    """A period and the width of a Laplace distribution around it, through a softplus (000, eq. 4)."""

    no_period = False

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.outputs = 2
        self.unit = settings.maximum_period
        self.beta = settings.beta
        # b = scale_of_sigma * sigma is the Laplace scale
        self.scale_of_sigma = 1 / math.sqrt(2) if settings.sigma == "standard_deviation" else 1.0

    def positive(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Period and Laplace scale b, both in units of the longest period."""
        period, sigma = nn.functional.softplus(raw).unbind(dim=1)
        return period, self.scale_of_sigma * sigma + 1e-6

    def loss(self, raw: Tensor, period: Tensor) -> Tensor:
        """Mean negative log-likelihood, ln(2b) + |P - P_true| / b (000, eq. 5), weighed by b^(2 beta)."""
        predicted, scale = self.positive(raw)
        each = torch.log(2 * scale) + (predicted - period / self.unit).abs() / scale
        return (each * scale.detach() ** (2 * self.beta)).mean() if self.beta else each.mean()

    def answer(self, raw: Tensor, stretch: Tensor) -> Answer:
        """`stretch` multiplies the width."""
        period, scale = (self.unit * value for value in self.positive(raw))
        scale = stretch * scale
        below, above = (0.5 * torch.exp(-abs(1 - factor) * period / scale) for factor in RIGHT_FOR)
        half, double = (self._between(factor * period, period, scale) for factor in (0.5, 2.0))
        reach = math.log(2 * LOW) * scale
        nothing = torch.zeros_like(period)
        return Answer(
            period, math.sqrt(2) * scale, 1 - below - above, period + reach, period - reach, nothing,
            nothing + math.nan, nothing, half, double,
        )  # fmt: skip

    def _between(self, other: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Probability of the truths for which another period is right, all on one side of the centre."""
        near, far = (0.5 * torch.exp(-(factor * other - centre).abs() / scale) for factor in RIGHT_FOR)
        return (near - far).abs()

    def cumulative(self, raw: Tensor, stretch: Tensor, period: Tensor) -> Tensor:
        """Probability that the period is at most `period` [d], of shape (n,), or (n, k) for several of each star."""
        centre, scale = ((self.unit * value).view(-1, *(1,) * (period.ndim - 1)) for value in self.positive(raw))
        distance = (period - centre) / (stretch * scale)
        tail = 0.5 * torch.exp(-distance.abs())
        return torch.where(distance < 0, tail, 1 - tail)


class DistributionHead(nn.Module):
    """A histogram over ln(period), and after its bins the class without a period where there is one."""

    edges: Tensor
    centres: Tensor
    near: Tensor
    apart: Tensor
    harmonic: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.bins = settings.bins
        self.no_period = settings.no_period
        self.outputs = settings.bins + settings.no_period
        self.softness = settings.softness
        shortest, longest = settings.period_range
        edges = torch.linspace(math.log(shortest), math.log(longest), settings.bins + 1, dtype=torch.float64)
        centres = (edges[1:] + edges[:-1]) / 2
        tables = {
            "edges": edges,
            "centres": centres,
            # near[k, j]: the part of bin j for which the centre of bin k is right
            "near": _near(centres, edges),
            "apart": ((centres[:, None] - centres).abs() > math.log(1.2)).double(),
            "harmonic": torch.stack([_near(centres + math.log(factor), edges) for factor in (0.5, 2.0)]),
        }
        for name, value in tables.items():
            self.register_buffer(name, value.float(), persistent=False)

    def loss(self, raw: Tensor, period: Tensor) -> Tensor:
        """Cross-entropy with a Gaussian label around the true ln(period), or the class without a period."""
        has_period = torch.isfinite(period)
        known = torch.where(has_period, period, 1.0)
        distance = (torch.log(known)[:, None] - self.centres) / self.softness
        label = torch.softmax(-0.5 * distance**2, dim=1)
        if self.no_period:
            label = torch.cat([label * has_period[:, None], (~has_period)[:, None].to(label.dtype)], dim=1)
        return nn.functional.cross_entropy(raw, label)

    def answer(self, raw: Tensor, stretch: Tensor) -> Answer:
        """The window of +-10% that holds most probability, and half the central 68% interval.

        `stretch` is the temperature that divides the logits. Interval and width are those of the period if there is
        one.
        """
        logits = raw / stretch
        # apart from the class without a period, beside which a histogram may vanish
        p = torch.softmax(logits[:, : self.bins], dim=1)
        none = torch.softmax(logits, dim=1)[:, self.bins] if self.no_period else torch.zeros_like(p[:, 0])
        windows = p @ self.near.T
        mass, best = windows.max(dim=1)
        second_mass, second = (windows * self.apart[best]).max(dim=1)
        low, high = (self._quantile(p, q) for q in (LOW, HIGH))
        half, double = ((p * table[best]).sum(dim=1) for table in self.harmonic)
        within, second_p, half, double = ((1 - none) * x.clamp(max=1.0) for x in (mass, second_mass, half, double))
        return Answer(
            self._centre(p, best), (high - low) / 2, within, low, high, none,
            self._centre(p, second), second_p, half, double,
        )  # fmt: skip

    def _centre(self, p: Tensor, best: Tensor) -> Tensor:
        """The mean of the distribution within 10% of the centres of these bins [d]."""
        weight = p * self.near[best] + 1e-30 * self.near[best]
        return torch.exp((weight * self.centres).sum(dim=1) / weight.sum(dim=1))

    def cumulative(self, raw: Tensor, stretch: Tensor, period: Tensor) -> Tensor:
        """Probability that the period is at most `period` [d], if there is one; shapes as of a Laplace head."""
        p = torch.softmax((raw / stretch)[:, : self.bins], dim=1)
        below = p.cumsum(dim=1)
        below = torch.cat([torch.zeros_like(below[:, :1]), below], dim=1)
        width = self.edges[1] - self.edges[0]
        place = ((torch.log(period) - self.edges[0]) / width).clamp(0, self.bins - 1e-4)
        left = place.floor().long()
        low, high = (below.gather(1, (left + k).view(len(raw), -1)).view_as(period) for k in (0, 1))
        return low + (place - left) * (high - low)

    def _quantile(self, p: Tensor, q: float) -> Tensor:
        """The period [d] below which the histogram holds the fraction `q`."""
        below = p.cumsum(dim=1)
        bin_ = (below < q).sum(dim=1, keepdim=True).clamp(max=self.bins - 1)
        inside = p.gather(1, bin_)
        part = (q - (below.gather(1, bin_) - inside)) / inside.clamp(min=1e-12)
        width = self.edges[1] - self.edges[0]
        return torch.exp(self.edges[bin_] + part.clamp(0, 1) * width)[:, 0]


def _near(centres: Tensor, edges: Tensor) -> Tensor:
    """The part of bin j in which a period at centre k is right, shape (k, j); centres and edges in ln(period)."""
    low, high = (centres + math.log(factor) for factor in RIGHT_FOR)
    overlap = torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])
    return overlap.clamp(min=0) / (edges[1:] - edges[:-1])


Head = LaplaceHead | DistributionHead


def make_head(settings: NetworkSettings) -> Head:
    """The head that the settings name."""
    return LaplaceHead(settings) if settings.head == "laplace" else DistributionHead(settings)
