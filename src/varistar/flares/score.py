"""For every cadence of an orbit, how likely a flare is there. What cannot be answered is NaN.

The published network answers for one window of 200 cadences; slid along an orbit it would do everything 200 times over
that neighbouring windows share. `WindowScorer` does that once. Layers become convolutions along the flux whose steps
grow with each pooling, 1, 2, 4, as pooling keeps every cadence. Only the two outermost positions at either end of a
window see its padding; they are computed apart, from the few inputs that they depend on. The dense layer over the other
46 is a convolution, done by Fourier transforms. The scores are those of window after window, but for the rounding of
float32. Ours.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from varistar.foundation.errors import ConfigError

from .network import CENTRE, WINDOW, CalibratedFlareNetwork, FlareNetwork, WindowNetwork, mean_logit
from .orbits import Orbit
from .representation import PointRepresentation, make_points

Array = NDArray[np.float64]

#: Positions that the dense layer sees, those at each end that see padding, and cadences from one to the next.
POSITIONS, ENDS, STEP = WINDOW // 4, 2, 4
#: Cadences from the first to the last position between the ends.
SPAN = STEP * (POSITIONS - 2 * ENDS - 1)
#: Length of a Fourier transform, the windows it answers for, and those treated at once, few enough for the cache.
FRAME = 512
HOP = FRAME - SPAN
BLOCK = 12 * HOP


def score_points(
    network: FlareNetwork | CalibratedFlareNetwork, orbit: Orbit, representation: PointRepresentation
) -> Array:
    """Probability that each cadence belongs to a flare, float64 (m,), NaN where the flux is missing.

    Parameters
    ----------
    network : of points; in evaluation mode, as are all that are read back.
    representation : the one it was trained with.
    """
    served = _served(network)
    device = next(served.parameters()).device
    with torch.inference_mode():
        return served(torch.from_numpy(make_points(orbit, representation))[None].to(device))[0].double().cpu().numpy()


def score_windows(network: FlareNetwork | CalibratedFlareNetwork, orbit: Orbit, close: int = 0) -> Array:
    """Probability of a flare in the middle of each window: `WindowScorer`, prepared for one orbit."""
    return WindowScorer(network).score(orbit, close)


class WindowScorer:
    """A window network, or several averaged, prepared to be slid along orbits.

    Raises
    ------
    ConfigError
        For a network that does not read windows.
    """

    def __init__(self, network: FlareNetwork | CalibratedFlareNetwork) -> None:
        self.served = _served(network)
        self.sliding: list[_SlidingNetwork] = []
        for part in self.served.network.parts:
            if not isinstance(part, WindowNetwork):
                raise ConfigError("only a network of windows can be slid along an orbit; one of points reads it whole")
            self.sliding.append(_SlidingNetwork(part))

    def score(self, orbit: Orbit, close: int = 0) -> Array:
        """Probability of a flare at each cadence i, from the window [i - 100, i + 100); float64 (m,).

        Parameters
        ----------
        close : the most cadences in a row that may be missing from a window. It then holds the 200 good ones about the
            gap, put together, as the published code has them (it closes up to some seven). With 0 a window that lacks a
            cadence has no score, as has, with any, the one of a cadence that is missing itself or within 100 of an end
            (AMB-53).
        """
        scores = np.full(len(orbit), np.nan)
        good = np.flatnonzero(orbit.good)
        for part in np.split(good, np.flatnonzero(np.diff(good) > close + 1) + 1):
            if len(part) >= WINDOW:
                scores[part[CENTRE : len(part) - WINDOW + 1 + CENTRE]] = self._slide(orbit.flux[part])
        return scores

    @torch.inference_mode()
    def _slide(self, flux: Array) -> Array:
        """Probabilities, shape (m - 199,), of flux of shape (m,) without gaps."""
        values = torch.from_numpy(flux.astype(np.float32)).to(next(self.served.parameters()).device)
        logits = torch.stack([network.logits(values) for network in self.sliding])
        together = mean_logit(logits) if len(logits) > 1 else logits[0]
        return self.served.probability(together).double().cpu().numpy()


class _SlidingNetwork:
    """The weights of a window network, arranged for all windows of a flux at once.

    In what follows s is the first cadence of a window, and `map[:, t]` of a layer its value at cadence t.
    """

    @torch.inference_mode()
    def __init__(self, network: WindowNetwork) -> None:
        reach = network.KERNELS[0] // 2
        # The first convolution as it is three, two and one cadences within a window's start, inside, and before its end
        kept = torch.ones(2 * reach + 1, 1, 1, 2 * reach + 1, device=network.first.weight.device)
        for j in range(reach):
            kept[j, ..., : reach - j] = 0.0
            kept[-1 - j, ..., reach + 1 + j :] = 0.0
        self.variants = len(kept)
        self.first = (kept * network.first.weight).flatten(0, 1)
        self.first_bias = _bias(network.first).repeat(self.variants)
        self.second, self.second_bias = network.second.weight, _bias(network.second)
        # by tap, then channel: three successive maps, stacked, are one product away from the second convolution
        self.stacked = self.second.transpose(1, 2).flatten(1)
        dense = network.dense.weight.unflatten(1, (POSITIONS, -1))
        self.dense_bias = _bias(network.dense)[:, None]
        self.ends = torch.cat([dense[:, :ENDS], dense[:, -ENDS:]], dim=1).flatten(1)
        taps = dense.new_zeros(len(dense), dense.shape[2], FRAME)
        taps[:, :, : SPAN + 1 : STEP] = dense[:, ENDS:-ENDS].transpose(1, 2)
        self.spectrum = torch.fft.rfft(taps).conj_physical().permute(2, 1, 0).contiguous()
        self.last, self.last_bias = network.last.weight[0], _bias(network.last)

    def logits(self, flux: Tensor) -> Tensor:
        """Logits of all windows, shape (m - 199,), of flux, float32 (m,)."""
        blocks = range(0, len(flux) - WINDOW + 1, BLOCK)
        return torch.cat([self._block(flux[first : first + BLOCK + WINDOW - 1]) for first in blocks])

    def _block(self, flux: Tensor) -> Tensor:
        """The same, of so few windows that all maps fit into the processor's cache."""
        windows = len(flux) - WINDOW + 1
        inside, start, end = self._first_layer(flux, windows)
        padded = functional.conv1d(inside[None], self.second, self.second_bias, dilation=2)[0].relu_()
        # this map begins at cadence 2, where the first position that has both neighbours is
        at = [padded[:, t - 2 : t - 2 + windows] for t in (6, WINDOW - 8)]
        ends = torch.cat(
            [
                torch.maximum(self._second_layer(start, 0), self._second_layer(start, 1)),
                torch.maximum(self._second_layer(start, 2), at[0]),
                torch.maximum(at[1], self._second_layer(end, 0)),
                torch.maximum(self._second_layer(end, 1), self._second_layer(end, 2)),
            ]
        )
        between = torch.maximum(padded[:, :-2], padded[:, 2:])[:, STEP * ENDS - 2 :]
        dense = torch.addmm(self.dense_bias, self.ends, ends)
        dense += self._dense_between(between, windows)
        return self.last @ dense.relu_() + self.last_bias

    def _first_layer(self, flux: Tensor, windows: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first layer, pooled: its map of cadences, and what the ends of each window need of it.

        Returns
        -------
        inside : shape (channels, m - 1), pooled from cadences t and t + 1.
        start, end : shape (5 channels, windows): the first four and the last four positions of a window, and zeros
            where it is padded.
        """
        maps = functional.conv1d(flux[None, None], self.first, self.first_bias, padding=(self.variants - 1) // 2)[0]
        maps = maps.relu_().unflatten(0, (self.variants, -1))
        middle = self.variants // 2
        inside = torch.maximum(maps[middle, :, :-1], maps[middle, :, 1:])
        zero = inside.new_zeros(inside.shape[0], windows)

        def pooled(left: int, right: int, t: int) -> Tensor:
            """Of these variants of the map at cadences s + t and s + t + 1."""
            return torch.maximum(maps[left, :, t : t + windows], maps[right, :, t + 1 : t + 1 + windows])

        def at(t: int) -> Tensor:
            return inside[:, t : t + windows]

        start = [zero, pooled(0, 1, 0), pooled(2, 3, 2), at(4), at(6)]
        end = [at(WINDOW - 8), at(WINDOW - 6), pooled(3, 4, WINDOW - 4), pooled(5, 6, WINDOW - 2), zero]
        return inside, torch.cat(start), torch.cat(end)

    def _second_layer(self, stack: Tensor, place: int) -> Tensor:
        """The second layer over three successive positions of a stack of them, shape (channels, windows)."""
        channels = self.second.shape[1]
        taps = stack[channels * place : channels * (place + 3)]
        return torch.addmm(self.second_bias[:, None], self.stacked, taps).relu_()

    def _dense_between(self, values: Tensor, windows: int) -> Tensor:
        """The dense layer over the positions between the ends: sum over q of w_q values[:, s + 4 q], by overlap-save.

        Rounding is relative to the largest value of a frame of 512 cadences.
        """
        frames = math.ceil(windows / HOP)
        values = functional.pad(values[:, : windows + SPAN], (0, frames * HOP - windows))
        # Laid out as bmm takes them at once, rather than frequency after frequency
        spectra = torch.fft.rfft(values.unfold(1, FRAME, HOP)).permute(2, 1, 0).contiguous()
        products = torch.bmm(spectra, self.spectrum).permute(2, 1, 0)
        return torch.fft.irfft(products, n=FRAME)[:, :, :HOP].flatten(1)[:, :windows]


def _served(network: FlareNetwork | CalibratedFlareNetwork) -> CalibratedFlareNetwork:
    """The network with its calibration, or with none."""
    return network if isinstance(network, CalibratedFlareNetwork) else CalibratedFlareNetwork(network)


def _bias(layer: torch.nn.Conv1d | torch.nn.Linear) -> Tensor:
    bias = layer.bias
    assert bias is not None
    return bias
