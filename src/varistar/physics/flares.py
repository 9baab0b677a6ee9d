"""Stellar flares in white light: their shape in time, how large and frequent they are, and the energy they carry.

The shape is the continuous template of Tovar Mendoza et al. (2022, AJ 164, 17): a Gaussian of heating convolved with a
sum of two exponential decays,

    f(x) = integral over s > 0 of  exp(-((x - s - b) / c)^2) (f1 exp(-d1 s) + (1 - f1) exp(-d2 s)),

at x = (t - t_peak) / FWHM. As published it peaks at 0.950, 0.0026 before zero, and is 1.087 wide; here height, place
and width are divided out, so that a flare of amplitude A and width w is A high at t_peak and w wide at A / 2.

The convolution with a normal density is an exponentially modified Gaussian, whose integral is known. Exposures are
therefore averaged exactly, however short the flare.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: b, c, d1, d2 and f1 of the published fit; where f is largest, how wide it is at half of that, and what brings it to
#: one there, which follow from them.
GAUSS_CENTRE, GAUSS_WIDTH = -0.251299705922117, 0.22675974948468916
DECAYS = (0.15551880775110513, 1.2150539528490194)
SLOW_SHARE = 0.12695865022878844
PUBLISHED_PEAK_AT, PUBLISHED_FWHM = -0.0025694348, 1.0866563463
HEIGHT = 3.481828091745
#: Integral of the template: equivalent duration over amplitude and FWHM.
_DECAY_AREA = SLOW_SHARE / DECAYS[0] + (1.0 - SLOW_SHARE) / DECAYS[1]
SHAPE_AREA = HEIGHT * math.sqrt(math.pi) * GAUSS_WIDTH / PUBLISHED_FWHM * _DECAY_AREA
#: A flare is followed until it is this faint, in units of the star's flux.
FAINTEST = 1e-8
#: A flare has not begun so many of its widths before its peak: the Gaussian is below 1e-14 there.
RISE_WIDTHS = 1.5

DAY_SECONDS = 86400.0
#: log10(FWHM / minutes) = 0.42 + 0.20 log10(equivalent duration / s), with a normal scatter of 0.22. Between the tables
#: of GJ 1243 (Davenport et al. 2014: 0.38, 0.19, 0.19 for classical flares above 3 s), Ilin et al. (2021: 0.37, 0.13,
#: 0.22), Ikuta et al. (2023: 0.43 to 0.64, 0.14 to 0.23, 0.17) and Guenther et al. (2020: 0.50, 0.23, 0.41).
WIDTH_LAW = (0.42, 0.20, 0.22)
REFERENCE_ED = 10.0

#: Temperature of a flare [K], after Hawley & Fisher (1992) and Shibayama et al. (2013).
FLARE_TEFF = 9000.0
#: Corners of TESS's response [nm, relative], read from its published response function (version 2.0).
RESPONSE_NM = (570, 580, 590, 600, 640, 700, 720, 770, 800, 890, 920, 950, 970, 1000, 1030, 1062)
RESPONSE = (0.005, 0.49, 0.63, 0.68, 0.71, 0.768, 0.783, 0.757, 0.777, 0.763, 0.694, 0.616, 0.484, 0.299, 0.139, 0.03)
STEFAN_BOLTZMANN = 5.670374e-5  # erg / s / cm^2 / K^4
SOLAR_RADIUS = 6.957e10  # cm
PLANCK_NM_K = 1.438777e7  # h c / k


@dataclass(frozen=True)
class Flares:
    """`n` flares of one star; those of one outburst share its number.

    Attributes
    ----------
    tpeak : float64 (n,), ascending [d]
    amplitude : float64 (n,), height in units of the star's flux
    fwhm : float64 (n,) [d]
    outburst : int64 (n,)
    """

    tpeak: Array
    amplitude: Array
    fwhm: Array
    outburst: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tpeak)

    @property
    def equivalent_duration(self) -> Array:
        """Time in which the quiet star emits as much [s], shape (n,)."""
        return SHAPE_AREA * self.amplitude * self.fwhm * DAY_SECONDS

    def take(self, flares: NDArray | slice) -> Self:
        """The flares with these indices, in this order."""
        return type(self)(self.tpeak[flares], self.amplitude[flares], self.fwhm[flares], self.outburst[flares])


@dataclass(frozen=True)
class FlareLaw:
    """How often a star flares: outbursts of equivalent duration above E come `rate` (E / 10 s)^(1 - alpha) times a day.

    Attributes
    ----------
    rate : outbursts above 10 s a day; 0 for a star that does not flare
    alpha : of dN/dE ~ E^-alpha, more than one
    bounds : smallest and largest equivalent duration [s]
    """

    rate: float
    alpha: float
    bounds: tuple[float, float] = (0.5, 30000.0)

    def per_day(self) -> float:
        """Outbursts of any size a day."""
        low, high = self.bounds
        slope = 1.0 - self.alpha
        return self.rate * ((low / REFERENCE_ED) ** slope - (high / REFERENCE_ED) ** slope)


def flare_flux(flares: Flares, time: Array, exposure: float) -> Array:
    """What the flares add to the star's flux, in its units, each value the mean over an exposure.

    Parameters
    ----------
    time : shape (m,), middles of the exposures, ascending [d]
    exposure : length of each [d], positive

    Returns
    -------
    float64 array, shape (m,). The sum leaves out what each flare emits after it has faded below 1e-8.
    """
    flux = np.zeros(len(time))
    _add_flares(flux, time, exposure, flares.tpeak, flares.amplitude, flares.fwhm)
    return flux


def join_flares(parts: Sequence[Flares]) -> Flares:
    """Flares of one star in successive times, in the order of their peaks, their outbursts numbered on."""
    before = np.cumsum([0, *(int(part.outburst.max(initial=-1)) + 1 for part in parts)])
    joined = Flares(
        tpeak=np.concatenate([part.tpeak for part in parts]),
        amplitude=np.concatenate([part.amplitude for part in parts]),
        fwhm=np.concatenate([part.fwhm for part in parts]),
        outburst=np.concatenate([part.outburst + first for part, first in zip(parts, before, strict=False)]),
    )
    return joined.take(np.argsort(joined.tpeak, kind="stable"))


def flare_shape(x: Array) -> Array:
    """The template at x = (t - t_peak) / FWHM, any shape: 1 at its peak, x = 0."""
    flat = np.ascontiguousarray(x, dtype=np.float64).ravel()
    return _shape(flat).reshape(np.shape(x))


def flare_energy(equivalent_duration: Array, teff: float, radius: float) -> Array:
    """Energy [erg] that flares emit at all wavelengths as blackbodies of 9000 K.

    A flare as bright as the star through TESS covers the share q of its disk, so that

        E = ED  sigma T_f^4  pi R^2 q,    q = N(T_star) / N(T_f),    N(T) = integral of S(lambda) lambda B(lambda, T).

    S is the response, with lambda because a detector counts photons (Shibayama et al. 2013, eqs. 1-6; Guenther et al.
    2020, section 2.4; theirs weight energies).

    Parameters
    ----------
    equivalent_duration : any shape [s]
    teff, radius : of the star [K, Sun]
    """
    area = np.pi * (radius * SOLAR_RADIUS) ** 2 * _photons(teff) / _photons(FLARE_TEFF)
    return equivalent_duration * (STEFAN_BOLTZMANN * FLARE_TEFF**4 * area)


def draw_flare_law(rng: np.random.Generator, teff: float, age_myr: float, bounds: tuple[float, float]) -> FlareLaw:
    """The flare law of an active dwarf.

    0.3 outbursts above 10 s a day at 3500 K and below, ten times fewer for every 1300 K more, with a scatter of 0.3
    dex: GJ 1243 has 1.1 a day, YZ CMi 0.6, EV Lac and Proxima 0.36, AU Mic 0.12 (tables of Davenport et al. 2014 and
    Ikuta et al. 2023, and marks on Proxima's sector 11). Stars above 4000 K decline after 50 Myr, cooler ones only
    after 800 Myr (Feinstein et al. 2020), here by age^-1. alpha is 1.98 on GJ 1243 and 1.92 to 2.18 in Guenther et al.
    (2020).
    """
    youth = 800.0 if teff < 4000.0 else 50.0
    decline = min(youth / age_myr, 1.0)
    rate = 0.3 * 10.0 ** (-max(teff - 3500.0, 0.0) / 1300.0 + rng.normal(0.0, 0.3)) * decline
    return FlareLaw(rate, float(np.clip(rng.normal(1.97, 0.12), 1.6, 2.4)), bounds)


def draw_flares(rng: np.random.Generator, law: FlareLaw, start: float, stop: float) -> Flares:
    """Flares of a star between two times [d]: outbursts at random (Poisson), each of one flare or of several.

    The law's equivalent duration is that of an outburst's first flare. More flares follow one to a few widths behind,
    each of 0.1 to 0.7 times the first, the more often the larger it is: as on GJ 1243, where 5 % of the flares below
    1 s, 43 % of 3 to 10 s and 55 % of the larger are complex.
    """
    outbursts = int(rng.poisson((stop - start) * law.per_day()))
    begin = np.sort(rng.uniform(start, stop, outbursts))
    first = _power_law(rng.random(outbursts), law)
    width = _draw_width(rng, first)
    chance = np.clip(0.15 + 0.25 * np.log10(first), 0.02, 0.55)
    more = np.where(rng.random(outbursts) < chance, np.minimum(rng.geometric(0.65, outbursts), 5), 0)
    parent = np.repeat(np.arange(outbursts), more)
    following = first[parent] * rng.uniform(0.1, 0.7, len(parent))
    delay = width[parent] * rng.uniform(0.5, 5.0, len(parent))
    ed = np.concatenate([first, following])
    fwhm = np.concatenate([width, _draw_width(rng, following)])
    flares = Flares(
        tpeak=np.concatenate([begin, begin[parent] + delay]),
        amplitude=ed / (SHAPE_AREA * fwhm * DAY_SECONDS),
        fwhm=fwhm,
        outburst=np.concatenate([np.arange(outbursts), parent]),
    )
    return flares.take(np.argsort(flares.tpeak, kind="stable"))


def _power_law(uniform: Array, law: FlareLaw) -> Array:
    """Equivalent durations [s] whose cumulative probability is `uniform`, between the law's bounds."""
    low, high = (bound ** (1.0 - law.alpha) for bound in law.bounds)
    return (low + uniform * (high - low)) ** (1.0 / (1.0 - law.alpha))


def _draw_width(rng: np.random.Generator, equivalent_duration: Array) -> Array:
    """FWHM [d] by `WIDTH_LAW`."""
    zero, slope, scatter = WIDTH_LAW
    log_minutes = zero + slope * np.log10(equivalent_duration) + scatter * rng.standard_normal(len(equivalent_duration))
    return 10.0**log_minutes / 1440.0


def _photons(teff: float) -> float:
    """Photons that a blackbody's surface sends through the response, in arbitrary units."""
    wavelength = np.arange(RESPONSE_NM[0], RESPONSE_NM[-1] + 1.0)
    planck = wavelength**-4.0 / np.expm1(PLANCK_NM_K / (wavelength * teff))
    return float(np.sum(np.interp(wavelength, RESPONSE_NM, RESPONSE) * planck))


@njit(cache=True)
def _add_flares(flux: Array, time: Array, exposure: float, tpeak: Array, amplitude: Array, fwhm: Array) -> None:
    """Exposures that touch each other share an edge, at which the integral is taken once."""
    for k in range(len(tpeak)):
        tail = max(math.log(amplitude[k] / FAINTEST) / (DECAYS[0] * PUBLISHED_FWHM), RISE_WIDTHS)
        first = np.searchsorted(time, tpeak[k] - RISE_WIDTHS * fwhm[k] - 0.5 * exposure)
        last = np.searchsorted(time, tpeak[k] + tail * fwhm[k] + 0.5 * exposure)
        scale = amplitude[k] * fwhm[k] / exposure
        edge, remaining = -math.inf, SHAPE_AREA
        for i in range(first, last):
            begin = (time[i] - 0.5 * exposure - tpeak[k]) / fwhm[k]
            if abs(begin - edge) * fwhm[k] > 1e-9 * exposure:
                remaining = _area_after(begin)
            edge = (time[i] + 0.5 * exposure - tpeak[k]) / fwhm[k]
            after = _area_after(edge)
            flux[i] += scale * (remaining - after)
            remaining = after


@njit(cache=True)
def _shape(x: Array) -> Array:
    """The template, in its published units divided by its published peak."""
    values = np.empty_like(x)
    for i in range(len(x)):
        s = PUBLISHED_PEAK_AT + PUBLISHED_FWHM * x[i]
        values[i] = HEIGHT * (
            SLOW_SHARE * decay_after_gauss(s, DECAYS[0]) + (1.0 - SLOW_SHARE) * decay_after_gauss(s, DECAYS[1])
        )
    return values


@njit(cache=True)
def _area_after(x: float) -> float:
    """Integral of the template from x to infinity."""
    s = PUBLISHED_PEAK_AT + PUBLISHED_FWHM * x
    gauss = 0.5 * GAUSS_WIDTH * math.sqrt(math.pi) * math.erfc((s - GAUSS_CENTRE) / GAUSS_WIDTH)
    area = 0.0
    for share, decay in ((SLOW_SHARE, DECAYS[0]), (1.0 - SLOW_SHARE, DECAYS[1])):
        area += share / decay * (gauss + decay_after_gauss(s, decay))
    return HEIGHT * area / PUBLISHED_FWHM


@njit(cache=True)
def decay_after_gauss(s: float, decay: float) -> float:
    """exp(-((s - b) / c)^2) convolved with exp(-decay s) for s > 0. It is below 1e-14 before the Gaussian begins."""
    late = (s - GAUSS_CENTRE) / GAUSS_WIDTH
    if late < -6.0:
        return 0.0
    half = 0.5 * decay * GAUSS_WIDTH
    growth = math.exp(half * half - 2.0 * half * late)
    return 0.5 * math.sqrt(math.pi) * GAUSS_WIDTH * growth * math.erfc(half - late)
