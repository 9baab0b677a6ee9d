"""Networks that say where a light curve flares.

`WindowNetwork` is the published one (002, Fig. 2, and the released code): two convolutions and two dense layers that
look at 200 cadences and say whether there is a flare in the middle. `PointNetwork`, ours, is a U-Net along time: it
reads an orbit of any length and says of every cadence whether it belongs to a flare.

A network's output is the logit of a probability; a calibrated one's is the probability.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from varistar.foundation.errors import ConfigError

from .network_settings import PointSettings, WindowSettings
from .representation import PointRepresentation

#: Cadences in the window of the published network, and the one among them that it is asked about.
WINDOW, CENTRE = 200, 100
#: About the part of all cadences that belong to a flare: what an untrained network answers everywhere.
RARE = 0.01


def build_network(
    settings: WindowSettings | PointSettings, representation: PointRepresentation | None = None
) -> "FlareNetwork":
    """An untrained network.

    Parameters
    ----------
    representation : what a network of points reads; the window network reads the flux itself.

    Raises
    ------
    ConfigError
        When the trunk cannot read the representation.
    """
    if isinstance(settings, WindowSettings):
        if representation is not None:
            raise ConfigError("the trunk 'window' reads the flux as it is, and takes no representation")
        return WindowNetwork(settings)
    if representation is None:
        raise ConfigError("the trunk 'points' needs a representation to read")
    return PointNetwork(settings, representation.channels)


def make_loss(settings: WindowSettings | PointSettings) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of logits against targets with which this network is trained."""
    if isinstance(settings, WindowSettings):
        return functional.binary_cross_entropy_with_logits
    return lambda logits, targets: point_loss(logits, targets, settings.dice)


def point_loss(logits: Tensor, targets: Tensor, dice: float) -> Tensor:
    """Cross-entropy, averaged over the cadences that count, plus `dice` times the soft Dice loss of all of them.

    The Dice loss, 1 - (2 sum p y + 1) / (sum p + sum y + 1), is a share of the flares' cadences, however rare they
    are. Where nothing counts the loss is 0.

    Parameters
    ----------
    logits : shape (n, m).
    targets : shape (n, 2, m): the label, 0 to 1, and the weight with which the cadence counts; 0 where it is missing,
        and there any label will do.
    """
    label, weight = targets.unbind(1)
    label = torch.where(weight > 0, label, 0.0)
    each = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    cross_entropy = (weight * each).sum() / weight.sum().clamp(min=1e-6)
    p = torch.sigmoid(logits)
    common, both = (weight * p * label).sum(), (weight * (p + label)).sum()
    return cross_entropy + dice * (1 - (2 * common + 1) / (both + 1))


class FlareNetwork(nn.Module):
    """Gives logits: of shape (n,) for windows (n, 200), of shape (n, m) for points (n, channels, m)."""

    @property
    def parts(self) -> "list[FlareNetwork]":
        """The networks that are averaged."""
        return [self]


class WindowNetwork(FlareNetwork):
    """The published layers; with the published widths they have 105,729 parameters.

    Dense weights are in the order of Keras' Flatten: all channels of the first position, then those of the next.
    """

    KERNELS = 7, 3

    def __init__(self, settings: WindowSettings) -> None:
        super().__init__()
        first, second = settings.filters
        self.first, self.second = (
            nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
            for inputs, outputs, kernel in zip((1, first), (first, second), self.KERNELS, strict=True)
        )
        self.dense = nn.Linear(WINDOW // 4 * second, settings.dense)
        self.last = nn.Linear(settings.dense, 1)
        self.dropout = nn.Dropout(settings.dropout)
        if settings.initialisation == "keras":
            for layer in (self.first, self.second, self.dense, self.last):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, windows: Tensor) -> Tensor:
        """Logits, shape (n,), of windows of flux in units of its median, float32 (n, 200)."""
        hidden = windows[:, None]
        for convolution in (self.first, self.second):
            hidden = self.dropout(functional.max_pool1d(torch.relu(convolution(hidden)), 2))
        hidden = torch.relu(self.dense(hidden.transpose(1, 2).flatten(1)))
        return self.last(self.dropout(hidden))[:, 0]


class PointNetwork(FlareNetwork):
    """A U-Net along time that nothing reaches from a missing cadence but that it is missing.

    At each depth two convolutions; going down, pairs of cells are pooled; coming up, each cell is repeated and put
    beside what was at that depth, and convolved once more. Whatever a layer says where the mask is 0 is set to 0, which
    is what convolutions find beyond the ends. An orbit therefore gets the same answers however many cadences of mask 0
    are appended to it; some are, to a multiple of the largest cell.
    """

    def __init__(self, settings: PointSettings, channels: int) -> None:
        super().__init__()
        filters, kernel = settings.filters, settings.kernel
        self.kernel = kernel
        self.down = nn.ModuleList()
        for outputs in filters:
            self.down.append(
                nn.ModuleList([_Convolution(channels, outputs, kernel), _Convolution(outputs, outputs, kernel)])
            )
            channels = outputs
        self.narrow, self.up = nn.ModuleList(), nn.ModuleList()
        for outputs in reversed(filters[:-1]):
            self.narrow.append(nn.Conv1d(channels, outputs, 1, bias=False))
            self.up.append(_Convolution(2 * outputs, outputs, kernel))
            channels = outputs
        self.dropout = nn.Dropout(settings.dropout)
        self.last = nn.Conv1d(channels, 1, 1)
        nn.init.constant_(cast(Tensor, self.last.bias), math.log(RARE / (1 - RARE)))

    @property
    def receptive_field(self) -> int:
        """Cadences that one answer depends on at most; 328 for the default settings."""
        depth, half, widest = len(self.up), self.kernel // 2, 0
        for place in range(2**depth):
            first = last = place
            for _ in range(depth):
                first, last = (first - half) // 2, (last + half) // 2
            for _ in range(depth):
                first, last = 2 * (first - 2 * half), 2 * (last + 2 * half) + 1
            widest = max(widest, last - first + 1 + 4 * half)
        return widest

    def forward(self, points: Tensor) -> Tensor:
        """Logits, shape (n, m), of float32 (n, channels, m), of whose channels the last is the mask."""
        cadences, cells = points.shape[2], 2 ** len(self.up)
        hidden = functional.pad(points, (0, (cadences + cells - 1) // cells * cells - cadences))
        mask = hidden[:, -1:]
        hidden = hidden * mask
        above: list[tuple[Tensor, Tensor]] = []
        for depth, pair in enumerate(self.down):
            if depth:
                hidden, mask = _pooled(hidden), _pooled(mask)
            for convolution in cast(nn.ModuleList, pair):
                hidden = convolution(hidden, mask)
            above.append((hidden, mask))
        hidden = self.dropout(hidden)
        for narrow, convolution, (beside, mask) in zip(self.narrow, self.up, reversed(above[:-1]), strict=True):
            repeated = functional.interpolate(narrow(hidden), scale_factor=2.0) * mask
            hidden = self.dropout(convolution(torch.cat([beside, repeated], dim=1), mask))
        # by index, since torch.export would take a slice for a promise about the length
        return self.last(hidden)[:, 0].index_select(1, torch.arange(cadences, device=hidden.device))


class Ensemble(FlareNetwork):
    """Networks whose probabilities are averaged."""

    def __init__(self, members: Sequence[FlareNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def parts(self) -> list[FlareNetwork]:
        return [cast(FlareNetwork, member) for member in self.members]

    def forward(self, inputs: Tensor) -> Tensor:
        return mean_logit(torch.stack([member(inputs) for member in self.members]))


def mean_logit(logits: Tensor) -> Tensor:
    """The logit of the mean probability over the first axis, also where the probabilities round to 0 or 1."""
    yes, no = (torch.logsumexp(functional.logsigmoid(sign * logits.float()), dim=0) for sign in (1, -1))
    return yes - no


def fuse(network: FlareNetwork) -> FlareNetwork:
    """The same network, in evaluation mode, with every normalisation folded into the convolution before it.

    It answers the same but for the rounding of float32, and sooner.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, _Convolution):
            module.weights = fuse_conv_bn_eval(module.weights, cast(nn.BatchNorm1d, module.norm))
            module.norm = nn.Identity()
    return network


class CalibratedFlareNetwork(nn.Module):
    """A network with its calibration: what is served.

    Parameters
    ----------
    slope, offset : of the logit, so that a probability is as often right as it says.
    """

    network: FlareNetwork
    slope: Tensor
    offset: Tensor

    def __init__(self, network: FlareNetwork, slope: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.network = network
        for name, value in (("slope", slope), ("offset", offset)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The axes of its input along which it takes any length."""
        return (0, 2) if isinstance(self.network.parts[0], PointNetwork) else (0,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Probabilities, shape (n,) of windows and (n, m) of points, where they are NaN at mask 0."""
        p = self.probability(self.network(inputs))
        return p if inputs.ndim == 2 else torch.where(inputs[:, -1] > 0, p, math.nan)

    def probability(self, logits: Tensor) -> Tensor:
        """Calibrated probability, any shape."""
        return torch.sigmoid(self.slope * logits + self.offset)


class _Convolution(nn.Module):
    """Convolved, normalised, rectified and masked, in the length it has."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weights = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm1d(outputs)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.norm(self.weights(values)).relu_() * mask


def _pooled(values: Tensor) -> Tensor:
    """The larger of each pair along the last axis; of pooling itself torch.export makes one length only."""
    return torch.maximum(values[:, :, ::2], values[:, :, 1::2])
