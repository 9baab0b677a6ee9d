"""What a network that answers for every cadence reads from an orbit.

Each of `hours` is a channel: the flux less its trend over so many hours, in units of the noise, compressed by asinh so
that a superflare stands beside a faint one. Over half a day a flare of hours stays whole, but a star that turns in
0.3 d swings by tens of times its noise; over an hour and a half the same star is still, to about its noise, and a flare
that lasts less than half of that loses little. The network sees both. The last channel is the mask: 1 where the flux
counts, 0 where it does not and all other channels are 0 as well.

The trend is a running median, smoothed by a running mean, and the running median of what that leaves. One median alone
would not do: on a slope a flare of some cadences shifts it along the slope by half as many, which hides a third of a
flare of ten minutes and 8 times the noise on a star that varies by 5 % in 0.3 d; the second leaves it whole. The noise
is that of second differences, which rotation leaves alone, by their running median, since it doubles within an orbit
when the satellite shakes.

Nothing is taken from a missing cadence, and no channel depends on the unit of flux. Windows are shorter at the ends of
an orbit, where a steep flux is not flat. Where cadences are long a window of hours would hold two or three of them,
and its median would follow any flare: it has at least `least` to either side. What a flare looks like depends on the
cadence, in two minutes a curve and in thirty a single point, so that a channel may say how long it is. Training and
prediction call `make_points` alike. Ours.
"""

import math
from typing import Annotated, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from varistar.foundation.settings import Settings

from .orbits import Orbit

Array = NDArray[np.float64]
Hours = Annotated[float, Field(gt=0)]

#: Standard deviation over median absolute second difference of white noise.
NOISE_OF_SECOND_DIFFERENCE = 1.482602 / math.sqrt(6.0)
#: As little of the orbit's own noise as a stretch of it may have; real ones have 0.65 to 1.7 times.
LEAST_NOISE = 0.5
#: Bits in a word of the set that a running median keeps: few enough that a float64 holds the word exactly.
WORD_BITS = 32
#: Of cadences [d].
TWO_MINUTES = 2.0 / 1440.0


class PointRepresentation(Settings):
    """How an orbit is shown, saved with every model.

    Attributes
    ----------
    version : of the arithmetic; a model is read only by the one it was trained with.
    hours : lengths of the windows of the trends [h], one channel each.
    noise_hours : length of the running noise [h].
    least : cadences that every window has to either side, however long they are.
    cadence : whether there is a channel for the logarithm of the cadence's length, 0 at two minutes.
    """

    kind: Literal["points"] = "points"
    version: Literal[1] = 1
    hours: Annotated[tuple[Hours, ...], Field(min_length=1)] = (12.0, 1.5)
    noise_hours: Hours = 12.0
    least: Annotated[int, Field(ge=1)] = 1
    cadence: bool = False

    @property
    def channels(self) -> int:
        """One for each trend, perhaps one for the cadence, and the mask."""
        return len(self.hours) + self.cadence + 1


def make_points(orbit: Orbit, settings: PointRepresentation) -> NDArray[np.float32]:
    """The channels of an orbit of m cadences, float32 (channels, m).

    Flux without any noise, a constant say, shows nothing but its mask and cadence.
    """
    good = orbit.good
    out = np.zeros((settings.channels, len(orbit)), dtype=np.float32)
    out[-1] = good
    if settings.cadence:
        out[-2, good] = math.log(orbit.cadence / TWO_MINUTES)
    noise = _running_noise(orbit.flux, good, _half_window(settings.noise_hours, orbit, settings.least))
    if noise is None:
        return out
    for channel, hours in enumerate(settings.hours):
        flat = _flattened(orbit.flux, _half_window(hours, orbit, settings.least))
        out[channel, good] = np.arcsinh(flat[good] / noise)
    return out


def _half_window(hours: float, orbit: Orbit, least: int) -> int:
    """Cadences to either side that lie in a window."""
    return max(least, round(hours / 48.0 / orbit.cadence))


def _running_noise(flux: Array, good: NDArray[np.bool_], half: int) -> Array | None:
    """Standard deviation of the white noise at each good cadence, shape (good,); None where there is none at all."""
    values = flux[good]
    if len(values) < 3:
        return None
    change = np.full(len(flux), np.nan)
    change[np.flatnonzero(good)[1:-1]] = np.abs(values[:-2] - 2.0 * values[1:-1] + values[2:])
    # in flux of few levels most differences are zero
    typical = np.nanmedian(change) or np.nanmean(change)
    if not typical > 0.0:
        return None
    local = _running_median(change, half)
    return NOISE_OF_SECOND_DIFFERENCE * np.fmax(local[good], LEAST_NOISE * typical)


def _flattened(flux: Array, half: int) -> Array:
    """The flux less its trend, shape (m,), NaN where it is missing."""
    rest = flux - _running_mean(np.where(np.isnan(flux), np.nan, _running_median(flux, half)), half)
    return rest - _running_median(rest, half)


def _running_mean(values: Array, half: int) -> Array:
    """The mean of what is finite from `half` before to `half` after each cadence, shape (m,); NaN where nothing is."""
    finite = np.isfinite(values)
    place = np.arange(len(values))
    first, last = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    total, count = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(finite, values, 0.0), finite))
    counted = count[last] - count[first]
    return np.where(counted > 0, (total[last] - total[first]) / np.maximum(counted, 1), np.nan)


def _running_median(values: Array, half: int) -> Array:
    """The median of what is finite, in the same windows, shape (m,); NaN where nothing is."""
    finite = np.flatnonzero(np.isfinite(values))  # NaN makes sorting five times slower
    order = finite[np.argsort(values[finite])]
    rank = np.full(len(values), -1)
    rank[order] = np.arange(len(order))
    return _median_by_rank(rank, values[order], half)


@njit(cache=True)
def _median_by_rank(rank: NDArray[np.int64], ascending: Array, half: int) -> Array:
    """A running median in a time that hardly depends on the width of the window.

    The window is a set of ranks, one bit each, and `place` the rank of its median. As the window moves the median moves
    past one or two members of the set, which are found a word of bits at a time.
    """
    members = np.zeros(len(ascending) // WORD_BITS + 1, dtype=np.int64)
    medians = np.full(len(rank), np.nan)
    count, place, upto = 0, -1, 0  # members, and how many of them have a rank of at most `place`
    for entering in range(len(rank) + half):
        leaving, centre = entering - 2 * half - 1, entering - half
        if entering < len(rank) and rank[entering] >= 0:
            members[rank[entering] // WORD_BITS] ^= 1 << rank[entering] % WORD_BITS
            count += 1
            upto += rank[entering] <= place
        if leaving >= 0 and rank[leaving] >= 0:
            members[rank[leaving] // WORD_BITS] ^= 1 << rank[leaving] % WORD_BITS
            count -= 1
            upto -= rank[leaving] <= place
        if centre < 0 or count == 0:
            continue
        lower = (count + 1) // 2
        while upto > lower:
            place = _last_until(members, place) - 1
            upto -= 1
        while upto < lower:
            place = _first_from(members, place + 1)
            upto += 1
        place = _last_until(members, place)
        upper = place if count % 2 else _first_from(members, place + 1)
        medians[centre] = 0.5 * (ascending[place] + ascending[upper])
    return medians


@njit(cache=True)
def _first_from(members: NDArray[np.int64], rank: int) -> int:
    """The smallest member that is not below `rank`; there must be one."""
    word = rank // WORD_BITS
    bits = members[word] >> (rank % WORD_BITS) << (rank % WORD_BITS)
    while bits == 0:
        word += 1
        bits = members[word]
    return word * WORD_BITS + math.frexp(float(bits & -bits))[1] - 1


@njit(cache=True)
def _last_until(members: NDArray[np.int64], rank: int) -> int:
    """The largest member that is not above `rank`; there must be one."""
    word = rank // WORD_BITS
    bits = members[word] & ((2 << (rank % WORD_BITS)) - 1)
    while bits == 0:
        word -= 1
        bits = members[word]
    return word * WORD_BITS + math.frexp(float(bits))[1] - 1
