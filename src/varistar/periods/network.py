"""Networks that read a light curve in some representation and answer with a period.

The published network (000, Table 2) is three convolutions whose pools shrink the time axis to nothing, then three fully
connected layers. `PeriodAxisNetwork` treats the period axis as what it is: along ln(period) a harmonic is a shift, so
one set of weights serves all periods, and what half and twice a period show is put beside it. `NightsNetwork`, a
challenger, sees no periods at all but the points in their order.

Every network takes uint8 arrays of shape (n, *representation.shape) and gives the `raw` output of its head.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from varistar.foundation.errors import ConfigError

from .heads import DistributionHead, Head, make_head
from .nights import Nights
from .preprocess import AnyRepresentation
from .statistics import CHANNELS, Statistics
from .variants import NetworkSettings, require_readable


def build_network(settings: NetworkSettings, representation: AnyRepresentation) -> "PeriodNetwork":
    """An untrained network for this representation.

    Raises
    ------
    ConfigError
        When the trunk cannot read the representation.
    """
    require_readable(settings, representation)
    if isinstance(representation, Statistics):
        return PeriodAxisNetwork(settings, representation)
    if isinstance(representation, Nights):
        return NightsNetwork(settings, representation.shape[0])
    return ImageNetwork(settings, representation.shape)


class PeriodNetwork(nn.Module):
    """A trunk under a head."""

    head: Head


class ImageNetwork(PeriodNetwork):
    """The published layers (000, Table 2) under either head.

    Raises
    ------
    ConfigError
        When the convolutions leave nothing of an image; they need 7 rows and 35 columns.
    """

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
        self.head = make_head(settings)
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * rows * columns, 256), nn.ReLU(), nn.Dropout(settings.dropout),
            nn.Linear(256, 64), nn.ReLU(), nn.Dropout(settings.dropout),
            nn.Linear(64, self.head.outputs),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Raw output, shape (n, outputs), of images, uint8 (n, rows, columns)."""
        unit = (images[:, None].float() / 255).contiguous(memory_format=torch.channels_last)
        return self.dense(self.convolutions(unit))


class PeriodAxisNetwork(PeriodNetwork):
    """Convolutions along ln(period), shared by all periods, under a distribution over its bins.

    Beside every channel of `SHIFTED` stand the same channels at P/2, 2P, P/3 and 3P, and the periodogram at the day's
    alias of P. Blocks are residual and dilated; each adds the mean and maximum over all periods, for a peak means less
    the more there are. The last convolution gives each bin its logit, and what is left of all bins that of no period.
    """

    SHIFTED = ("sum", "periodogram", "window")
    ALIASED = ("periodogram",)
    FACTORS = (0.5, 2.0, 1 / 3, 3.0)
    DILATIONS = (1, 2, 4)
    KERNEL = 5

    mirror: Tensor
    mirrored: Tensor
    logarithm: Tensor

    def __init__(self, settings: NetworkSettings, statistics: Statistics) -> None:
        super().__init__()
        self.head = make_head(settings)
        self.noise = settings.noise
        self.first, self.bins = statistics.margins[0], statistics.bins
        self.shifts = [round(math.log(factor) / statistics.step) for factor in self.FACTORS]
        names = list(CHANNELS)
        self.shifted, self.aliased = ([names.index(name) for name in some] for some in (self.SHIFTED, self.ALIASED))
        self._place_tables(statistics)
        inputs = len(names) + len(self.shifts) * len(self.shifted) + len(self.aliased) + 1
        width = settings.filters[0]
        self.scale = nn.BatchNorm1d(len(names), affine=False)
        self.stem = nn.Conv1d(inputs, width, self.KERNEL, padding=self.KERNEL // 2)
        blocks = []
        for filters, dilation in zip(settings.filters, self.DILATIONS, strict=True):
            blocks.append(_Block(width, filters, self.KERNEL, dilation, settings.dropout))
            width = filters
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.BatchNorm1d(width)
        self.logits = nn.Conv1d(width, 1, 1)
        self.none = (
            nn.Sequential(nn.Linear(2 * width, 16), nn.ReLU(), nn.Linear(16, 1)) if self.head.no_period else None
        )

    def forward(self, statistics: Tensor) -> Tensor:
        """Raw output, shape (n, bins) or one more, of statistics, uint8 (n, channels, bins and margins)."""
        values = self.scale(statistics.float())
        if self.training and self.noise:
            values = values + self.noise * torch.randn_like(values)
        beside = [_shifted(values[:, self.shifted], shift) for shift in self.shifts]
        alias = values[:, self.aliased].index_select(2, self.mirror) * self.mirrored
        logarithm = self.logarithm.expand(values.shape[0], 1, -1)
        hidden = self.blocks(self.stem(torch.cat([values, *beside, alias, logarithm], dim=1)))
        hidden = torch.relu(self.last(hidden))
        raw = self.logits(hidden)[:, 0, self.first : self.first + self.bins]
        return raw if self.none is None else torch.cat([raw, self.none(_mean_and_maximum(hidden))], dim=1)

    def _place_tables(self, statistics: Statistics) -> None:
        """For each bin the one at the alias 1/|1 - 1/P| and whether there is one, and ln(period) about zero."""
        periods = torch.from_numpy(statistics.periods())
        alias = 1 / (1 - 1 / periods).abs().clamp(min=1e-6)
        place = torch.floor((torch.log(alias / statistics.period_range[0])) / statistics.step).long() + self.first
        inside = (place >= 0) & (place < len(periods))
        logarithm = torch.log(periods)
        tables = {
            "mirror": torch.where(inside, place, 0),
            "mirrored": inside.float(),
            "logarithm": ((logarithm - logarithm.mean()) / logarithm.std()).float(),
        }
        for name, value in tables.items():
            self.register_buffer(name, value, persistent=False)


class NightsNetwork(PeriodNetwork):
    """Strided convolutions along time until little of it is left, then means and maxima over the rest."""

    KERNEL = 7

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        self.head = make_head(settings)
        self.noise = settings.noise
        layers: list[nn.Module] = []
        for filters in settings.filters:
            layers += [
                nn.Conv1d(channels, filters, self.KERNEL, stride=2, padding=self.KERNEL // 2),
                nn.BatchNorm1d(filters), nn.ReLU(),
                nn.Conv1d(filters, filters, self.KERNEL, padding=self.KERNEL // 2),
                nn.BatchNorm1d(filters), nn.ReLU(), nn.Dropout(settings.dropout),
            ]  # fmt: skip
            channels = filters
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(2 * channels, 128), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(128, self.head.outputs)
        )

    def forward(self, nights: Tensor) -> Tensor:
        """Raw output, shape (n, outputs), of nights, uint8 (n, 2, nights)."""
        values = (nights.float() - 128.0) / 25.5
        if self.training and self.noise:
            values = values + self.noise * torch.randn_like(values)
        return self.dense(_mean_and_maximum(self.convolutions(values)))


class Ensemble(PeriodNetwork):
    """Networks of one kind whose distributions are averaged."""

    def __init__(self, members: Sequence[PeriodNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        head = members[0].head
        if not isinstance(head, DistributionHead):
            raise ConfigError("an ensemble averages distributions; a Laplace head has none to average")
        self.head = head

    def forward(self, arrays: Tensor) -> Tensor:
        """The logarithm of the members' mean probabilities, which a head reads as any raw output."""
        each = torch.stack([torch.log_softmax(member(arrays).float(), dim=1) for member in self.members])
        return torch.logsumexp(each, dim=0) - math.log(len(self.members))


class CalibratedNetwork(nn.Module):
    """A network with its calibration: what is served.

    Parameters
    ----------
    stretch : of the head's distribution.
    slope, offset : of the logit of `p_within_10pct`, so that it is as often right as it says.
    """

    network: PeriodNetwork
    stretch: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, network: PeriodNetwork, stretch: float = 1.0, slope: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.network = network
        for name, value in (("stretch", stretch), ("slope", slope), ("offset", offset)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(self, arrays: Tensor) -> Tensor:
        """Answers, shape (n, 10): the fields of `heads.Answer`."""
        return self.answers(self.network(arrays))

    def answers(self, raw: Tensor) -> Tensor:
        """Calibrated answers, shape (n, 10), from the network's raw output."""
        answer = self.network.head.answer(raw, self.stretch)
        honest = torch.sigmoid(self.slope * torch.logit(answer.p_within_10pct, eps=1e-6) + self.offset)
        # the other candidates keep their odds against the first, and share what it leaves at most
        raised = honest / answer.p_within_10pct.clamp(min=1e-6)
        others = {
            name: torch.minimum(raised * getattr(answer, name), 1 - honest)
            for name in ("second_p", "p_half", "p_double")
        }
        return torch.stack(answer._replace(p_within_10pct=honest, **others), dim=1)


class _Block(nn.Module):
    """A residual block along the last axis that knows the mean and maximum over all of it."""

    def __init__(self, inputs: int, filters: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.BatchNorm1d(inputs)
        self.wide = nn.Conv1d(inputs, filters, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.whole = nn.Linear(2 * filters, filters)
        self.second = nn.BatchNorm1d(filters)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Conv1d(filters, filters, 1)
        self.past = nn.Identity() if inputs == filters else nn.Conv1d(inputs, filters, 1)

    def forward(self, values: Tensor) -> Tensor:
        hidden = self.wide(torch.relu(self.first(values)))
        hidden = hidden + self.whole(_mean_and_maximum(hidden))[:, :, None]
        return self.past(values) + self.narrow(self.dropout(torch.relu(self.second(hidden))))


def _mean_and_maximum(values: Tensor) -> Tensor:
    """Over the last axis of (n, channels, length), shape (n, 2 channels)."""
    return torch.cat([values.mean(dim=2), values.amax(dim=2)], dim=1)


def _shifted(values: Tensor, shift: int) -> Tensor:
    """What stands `shift` bins further along the last axis, zeros beyond its ends."""
    far = min(abs(shift), values.shape[2])
    if shift >= 0:
        return nn.functional.pad(values[:, :, far:], (0, far))
    return nn.functional.pad(values[:, :, : values.shape[2] - far], (far, 0))
