"""Where and when active regions emerge on a star: the model of butterpy 1.0.0, compiled.

Each day, each of the (at most two) active cycles sweeps a grid of 2 hemispheres x 16 latitudes x 36 longitudes. A
region of area A_n = 100 exp(-n / 2) deg^2, n = 0..4, emerges in a cell with the daily probability r exp(n / 2), after
the observed n(A) ~ A^-2 of the Sun, where r is the rate of the largest regions,

    r = 10 activity sin^2(pi phase) (2 sinh(1/4) / 100) p_j / (72 sum p) + c ,
    p_j = exp(-((latitude_j - mean) / width)^2) ,

and c = 1e-4 in the cells where a region of the largest area has emerged 5 to 14 days before (active nests), else 0.
`phase` runs from 0 to 1 over a cycle's length, cycle_period + cycle_overlap. With a butterfly, mean and width follow
the active latitude from max_latitude to min_latitude (Hathaway 2010, 2015), else they are constant. A region's tilt
follows Joy's law with scatter (Wang & Sheeley 1989, 1991). Rates after Schrijver & Harvey (1994) and
van Ballegooijen (1998, section 4).

butterpy draws from NumPy's legacy global generator. Here the same Mersenne Twister (Matsumoto & Nishimura 1998) is
run on a state of its own, so a seed gives the regions that butterpy gives after `np.random.seed(seed)`, and nothing
else is touched: stars may be simulated in any order, process or thread.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError

from .spot_prior import SpotParameters

N_LATITUDES = 16
N_LONGITUDES = 36
#: Latitude bands of the northern hemisphere, then those of the southern.
N_BANDS = 2 * N_LATITUDES
YEAR_DAYS = 365.0

LARGEST_AREA = 100.0
#: A_0 / A_n, which is also the rate of regions of area A_n relative to those of area A_0.
AREA_RATIO = np.exp(0.5 * np.arange(5))
TOTAL_RATIO = AREA_RATIO.sum()
#: Rate of the largest regions on a Sun at maximum [1 / d]: a(t) = 10 times the integral of A^-2 over their bin.
SOLAR_RATE = 10 * 2 * np.sinh(0.25) / LARGEST_AREA
NEST_RATE = 1e-4
NEST_OPENS_DAYS = 5
NEST_CLOSES_DAYS = 15
#: Two cycles may each put one region a day into each of the 32 latitude bands.
MOST_NESTS = 2 * N_BANDS * (NEST_CLOSES_DAYS + 1)
#: butterpy emerges regions up to this far beyond the mean active latitudes [deg].
BUTTERFLY_MARGIN = 7.0

#: The nests of a star: the cells that are open today, and a ring of the large regions that made them.
_NESTS = np.dtype(
    [
        ("is_open", np.uint8, (N_BANDS, N_LONGITUDES)),
        ("open_in_band", np.int64, N_BANDS),
        ("latest", np.int64, N_BANDS * N_LONGITUDES),
        ("founded", np.int64, MOST_NESTS),
        ("cell", np.int64, MOST_NESTS),
        ("n_founded", np.int64),
        ("n_expired", np.int64),
    ]
)
#: A Mersenne Twister: its state, the numbers made from it, and what is left of a pair of normal numbers.
_STREAM = np.dtype(
    [
        ("words", np.uint32, 624),
        ("uniforms", np.float64, 312),
        ("next_uniform", np.int64),
        ("spare", np.float64),
        ("has_spare", np.uint8),
    ],
    align=True,
)


@dataclass(frozen=True)
class ActiveRegions:
    """The `n` active regions of a star, in the order of their days.

    Attributes
    ----------
    day : int64 array, shape (n,)
        Day on which the region is largest, counted from the start of the simulation.
    latitude : float64 array, shape (n,)
        Latitude of the centre [rad], positive on the northern hemisphere.
    longitude : float64 array, shape (n,)
        Longitude of the centre at time 0 [rad], in 0 to 2 pi.
    area : float64 array, shape (n,)
        Initial area [deg^2]; butterpy's peak flux density `bmax` [G] is 2.5 times this.
    tilt : float64 array, shape (n,)
        Angle between the bipole's axis and the equator [rad].
    cycle : int64 array, shape (n,)
        Number of the activity cycle; that which begins on day 0 is 0, the one before it -1.
    """

    day: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    area: NDArray[np.float64]
    tilt: NDArray[np.float64]
    cycle: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.day)


def emerge_regions(parameters: SpotParameters, duration_days: int, seed: int) -> ActiveRegions:
    """Emerge the active regions of a star.

    Parameters
    ----------
    parameters : SpotParameters
    duration_days : int
        Days from the start of cycle 0 for which regions emerge.
    seed : int
        0 to 2^32 - 1. The result is that of butterpy 1.0.0 after `np.random.seed(seed)`.

    Raises
    ------
    ConfigError
        When the duration or the seed is out of range.
    """
    if duration_days < 0:
        raise ConfigError(f"duration_days must not be negative (got {duration_days})")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"the seed of the emergence must lie in 0 to 2^32 - 1 (got {seed})")
    rows = _emerge(
        np.zeros(1, _STREAM),
        np.zeros(1, _NESTS),
        int(duration_days),
        parameters.activity,
        YEAR_DAYS * parameters.cycle_period,
        YEAR_DAYS * (parameters.cycle_period + parameters.cycle_overlap),
        parameters.min_latitude,
        parameters.max_latitude,
        parameters.butterfly,
        np.uint32(seed),
    )
    day, latitude, longitude, area, tilt, cycle = np.ascontiguousarray(rows.T)
    return ActiveRegions(day.astype(np.int64), latitude, longitude, area, tilt, cycle.astype(np.int64))


@njit(cache=True)
def _emerge(
    stream: Any,
    nests: Any,
    n_days: int,
    activity: float,
    cycle_days: float,
    active_days: float,
    min_latitude: float,
    max_latitude: float,
    butterfly: bool,
    seed: np.uint32,
) -> NDArray[np.float64]:
    """The regions as rows (day, latitude, longitude, area, tilt, cycle), from arrays of one stream and one `_NESTS`."""
    stream, nests = stream[0], nests[0]
    _seed(stream, seed)
    margin = BUTTERFLY_MARGIN if butterfly else 0.0
    lowest = max(min_latitude - margin, 0.0)
    band_width = (min(max_latitude + margin, 90.0) - lowest) / N_LATITUDES
    mean, width = (max_latitude + min_latitude) / 2, max_latitude - min_latitude
    rate, band_rate = np.empty(N_LATITUDES), np.empty(N_BANDS)
    rows = np.empty((512, 6))
    n = 0
    for day in range(n_days):
        _open_nests(nests, day)
        current = np.float64(day) // cycle_days
        for cycle in (current, current - 1):
            phase = (day - cycle_days * cycle) / active_days
            if not 0 <= phase <= 1:
                continue
            if butterfly:
                mean = max_latitude * (min_latitude / max_latitude) ** phase
                width = max_latitude / 5 - phase * (max_latitude - min_latitude) / 7
            _set_rates(rate, lowest, band_width, mean, width, activity * SOLAR_RATE * np.sin(np.pi * phase) ** 2)
            for band in range(N_BANDS):
                band_rate[band] = N_LONGITUDES * rate[band % N_LATITUDES] + NEST_RATE * nests.open_in_band[band]
            band, chance = _next_emergence(stream, band_rate, 0)
            while band < N_BANDS:
                size, column = _size_and_column(chance, band_rate[band], rate[band % N_LATITUDES], nests.is_open[band])
                longitude = 360.0 / N_LONGITUDES * (_uniform(stream) + column)
                latitude = lowest + band_width * (_uniform(stream) + band % N_LATITUDES)
                tilt = _tilt(stream, latitude)
                if size == 0:
                    _found_nest(nests, day, band, column)
                if n == len(rows):
                    rows = np.concatenate((rows, np.empty_like(rows)))
                rows[n, 0] = day
                rows[n, 1] = np.radians(latitude if band < N_LATITUDES else -latitude)
                rows[n, 2] = np.radians(longitude)
                rows[n, 3] = LARGEST_AREA / AREA_RATIO[size]
                rows[n, 4] = np.radians(tilt)
                rows[n, 5] = cycle
                n += 1
                band, chance = _next_emergence(stream, band_rate, band + 1)
    return rows[:n]


@njit(cache=True)
def _set_rates(
    rate: NDArray[np.float64], lowest: float, band_width: float, mean: float, width: float, total_rate: float
) -> None:
    """Set the rate of the largest regions in one cell of each latitude [1 / d], outside nests.

    The Gaussian p_j is found from its neighbour's, outwards from the band that holds the mean: three exponentials
    instead of sixteen, which agree to a few units in the last place.
    """
    centre = min(int((mean - lowest) / band_width), N_LATITUDES - 1)
    step = band_width / width
    offset = (lowest + band_width * (centre + 0.5) - mean) / width
    shrink = np.exp(-step * step)
    upward, downward = shrink * np.exp(-2 * offset * step), shrink * np.exp(2 * offset * step)
    total = rate[centre] = 1.0
    for i in range(centre + 1, N_LATITUDES):
        rate[i] = rate[i - 1] * upward
        total += rate[i]
        upward *= shrink * shrink
    for i in range(centre - 1, -1, -1):
        rate[i] = rate[i + 1] * downward
        total += rate[i]
        downward *= shrink * shrink
    for i in range(N_LATITUDES):
        rate[i] *= total_rate / (2 * N_LONGITUDES * total)


@njit(cache=True)
def _next_emergence(stream: Any, band_rate: NDArray[np.float64], band: int) -> tuple[int, float]:
    """Draw a number for each band from `band` on, until one is below the daily probability of a region of any size.

    Returns that band and number, or the number of bands where there is none.
    """
    uniforms, cursor = stream.uniforms, stream.next_uniform
    chance = 1.0
    while band < N_BANDS:
        if cursor == len(uniforms):
            _refill(stream)
            cursor = 0
        chance = uniforms[cursor]
        cursor += 1
        if chance < band_rate[band] * TOTAL_RATIO:
            break
        band += 1
    stream.next_uniform = cursor
    return band, chance


@njit(cache=True)
def _size_and_column(chance: float, total: float, band_rate: float, is_open: NDArray[np.uint8]) -> tuple[int, int]:
    """Where `chance` falls in the cumulative rate over sizes and, within a size, over the longitudes of one band.

    The sums run in the order in which butterpy adds them.
    """
    size = 0
    upper = total
    while chance > upper and size < len(AREA_RATIO) - 1:
        size += 1
        upper += total * AREA_RATIO[size]
    column = 0
    upper += (band_rate + NEST_RATE * is_open[0] - total) * AREA_RATIO[size]
    while chance > upper and column < N_LONGITUDES - 1:
        column += 1
        upper += (band_rate + NEST_RATE * is_open[column]) * AREA_RATIO[size]
    return size, column


@njit(cache=True)
def _tilt(stream: Any, latitude: float) -> float:
    """Joy's law for 86 % of the regions, within half a degree of the equator's direction for the others [deg]."""
    if _uniform(stream) > 0.14:
        scatter = _bounded_normal(stream, 1.6)
        return 0.5 * latitude + 2.0 + 27.0 * scatter * _bounded_normal(stream, 1.8)
    return _bounded_normal(stream, 0.5)


@njit(cache=True)
def _bounded_normal(stream: Any, bound: float) -> float:
    """A standard normal number between -`bound` and `bound`."""
    while True:
        x = _normal(stream)
        if abs(x) < bound:
            return x


@njit(cache=True)
def _found_nest(nests: Any, day: int, band: int, column: int) -> None:
    slot = nests.n_founded % MOST_NESTS
    nests.founded[slot] = day
    nests.cell[slot] = band * N_LONGITUDES + column
    nests.latest[nests.cell[slot]] = day
    nests.n_founded += 1


@njit(cache=True)
def _open_nests(nests: Any, day: int) -> None:
    """Open the nests of this morning; a later large region in a cell replaces the former."""
    for event in range(nests.n_expired, nests.n_founded):
        cell = nests.cell[event % MOST_NESTS]
        nests.is_open[cell // N_LONGITUDES, cell % N_LONGITUDES] = False
        nests.open_in_band[cell // N_LONGITUDES] = 0
    for event in range(nests.n_expired, nests.n_founded):
        cell, founded = nests.cell[event % MOST_NESTS], nests.founded[event % MOST_NESTS]
        band, column = cell // N_LONGITUDES, cell % N_LONGITUDES
        if day - founded >= NEST_CLOSES_DAYS:
            nests.n_expired = event + 1
        elif day - founded >= NEST_OPENS_DAYS and nests.latest[cell] == founded and not nests.is_open[band, column]:
            nests.is_open[band, column] = True
            nests.open_in_band[band] += 1


@njit(cache=True)
def _seed(stream: Any, seed: np.uint32) -> None:
    words = stream.words
    words[0] = seed
    for i in range(1, len(words)):
        before = np.uint32(words[i - 1] ^ (words[i - 1] >> np.uint32(30)))
        words[i] = np.uint32(np.uint32(1812433253) * before + np.uint32(i))
    stream.next_uniform = len(stream.uniforms)
    stream.has_spare = False


@njit(cache=True)
def _uniform(stream: Any) -> float:
    """The next number in [0, 1)."""
    if stream.next_uniform == len(stream.uniforms):
        _refill(stream)
    x = stream.uniforms[stream.next_uniform]
    stream.next_uniform += 1
    return x


@njit(cache=True)
def _normal(stream: Any) -> float:
    """The next standard normal number, by Marsaglia's polar method, which makes them in pairs."""
    if stream.has_spare:
        stream.has_spare = False
        return stream.spare
    while True:
        x = 2.0 * _uniform(stream) - 1.0
        y = 2.0 * _uniform(stream) - 1.0
        square = x * x + y * y
        if 0.0 < square < 1.0:
            break
    scale = np.sqrt(-2.0 * np.log(square) / square)
    stream.spare = scale * x
    stream.has_spare = True
    return scale * y


@njit(cache=True)
def _refill(stream: Any) -> None:
    """Advance the state by 624 words and make 312 numbers of 53 bits from them."""
    words = stream.words
    for i in range(227):
        words[i] = words[i + 397] ^ _twist(words[i], words[i + 1])
    for i in range(227, 623):
        words[i] = words[i - 227] ^ _twist(words[i], words[i + 1])
    words[623] = words[396] ^ _twist(words[623], words[0])
    # made in an array of its own: within one record, the compiler cannot tell that words and uniforms do not overlap
    uniforms = np.empty(312)
    for i in range(312):
        high = np.int32(_temper(words[2 * i]) >> np.uint32(5))
        low = np.int32(_temper(words[2 * i + 1]) >> np.uint32(6))
        uniforms[i] = (high * 2.0**26 + low) * 2.0**-53
    stream.uniforms[:] = uniforms
    stream.next_uniform = 0


@njit(cache=True)
def _twist(word: np.uint32, following: np.uint32) -> np.uint32:
    mixed = np.uint32((word & np.uint32(0x80000000)) | (following & np.uint32(0x7FFFFFFF)))
    return np.uint32((mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF)))


@njit(cache=True)
def _temper(word: np.uint32) -> np.uint32:
    word = np.uint32(word ^ (word >> np.uint32(11)))
    word = np.uint32(word ^ ((word << np.uint32(7)) & np.uint32(0x9D2C5680)))
    word = np.uint32(word ^ ((word << np.uint32(15)) & np.uint32(0xEFC60000)))
    return np.uint32(word ^ (word >> np.uint32(18)))
