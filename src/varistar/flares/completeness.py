"""The chance to find a flare, as a function of its size: what rates are corrected with.

From injected flares, of which each was found or not, follows the share found in bins of equivalent duration and peak
signal-to-noise ratio. The chance never falls as either grows (ours: the least-squares surface, weighted by the number
of flares, among those that rise in both), and is linear in between in the logarithms of both. Each cadence has a chance
of its own, since a flare of many exposures in one is a single point in another.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import isotonic_regression

from varistar.foundation.errors import DataError
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA, WIDTH_LAW, Flares, flare_flux

from .orbits import Array

#: A bin without flares weighs this many: it is pulled by its neighbours alone.
NO_FLARES = 1e-6
#: Projections on what rises in one direction and in the other, in turns, at most.
TURNS, SETTLED = 500, 1e-10
DAY_MINUTES = 1440.0
#: A cadence is like another that is at most so many times as long.
NEAR = 2.0
#: Widths by their law, at so many nodes of Gauss-Hermite's rule.
WIDTH_NODES = 21


@dataclass(frozen=True)
class CompletenessSurface:
    """The chance to find a flare.

    Attributes
    ----------
    equivalent_duration_s : float64 (a,), a >= 2, ascending [s]
    peak_snr : float64 (b,), b >= 2, ascending
    fraction : float64 (a, b), between 0 and 1, never falling along either
    """

    equivalent_duration_s: Array
    peak_snr: Array
    fraction: Array

    def __call__(self, equivalent_duration_s: Array, peak_snr: Array) -> Array:
        """The chance, of the arguments' common shape; beyond what was injected, that at its border."""
        nodes = (np.log(self.equivalent_duration_s), np.log(self.peak_snr))
        asked = np.broadcast_arrays(equivalent_duration_s, peak_snr)
        point = [np.clip(np.log(x), node[0], node[-1]) for x, node in zip(asked, nodes, strict=True)]
        # weights of an interpolation may sum to a little more than one
        return np.clip(RegularGridInterpolator(nodes, self.fraction)(np.stack(point, axis=-1)), 0.0, 1.0)

    def of_star(self, flux_err: float, cadence: float) -> Callable[[Array], Array]:
        """The chance by equivalent duration [s] alone, on a star with these errors and this cadence [d].

        It is the mean over the widths that flares of one equivalent duration have (`WIDTH_LAW`), and over the phases at
        which an exposure meets their peak.
        """
        z, weight = np.polynomial.hermite_e.hermegauss(WIDTH_NODES)
        zero, slope, scatter = WIDTH_LAW

        def chance(equivalent_duration_s: Array) -> Array:
            ed = np.asarray(equivalent_duration_s, dtype=np.float64)[..., None]
            fwhm = 10.0 ** (zero + slope * np.log10(ed) + scatter * z) / 1440.0
            amplitude = ed / (SHAPE_AREA * fwhm * DAY_SECONDS)
            ratio, seen = _seen_height()
            height = np.exp(np.interp(np.log(fwhm / cadence), ratio, seen))
            return np.minimum(self(ed, amplitude * height / flux_err) @ (weight / weight.sum()), 1.0)

        return chance


def completeness_of(judged: pl.DataFrame, n_durations: int = 6, n_snrs: int = 12) -> CompletenessSurface:
    """The chance to find a flare, from one method's `judge`d flares.

    Parameters
    ----------
    judged : columns `equivalent_duration_s`, `peak_snr` and `recovered`, of one `method` where there is that column.
    n_durations, n_snrs : bins of either, of equal numbers of flares; a bin stands at its median.

    Raises
    ------
    DataError
        When there are several methods, or not flares of two sizes and two signal-to-noise ratios.
    """
    if "method" in judged.columns and judged["method"].n_unique() > 1:
        raise DataError("completeness is that of one method, and these flares were judged for several")
    ed, snr, recovered = (
        judged[name].cast(pl.Float64).to_numpy() for name in ("equivalent_duration_s", "peak_snr", "recovered")
    )
    known = (ed > 0.0) & (snr > 0.0) & np.isfinite(ed * snr)
    ed, snr, recovered = ed[known], snr[known], recovered[known]
    (row, durations), (column, snrs) = _equal_bins(ed, n_durations), _equal_bins(snr, n_snrs)
    if len(durations) < 2 or len(snrs) < 2:
        raise DataError(f"completeness needs injected flares of several sizes and heights, got {len(ed)} flares")
    n, found = np.zeros((2, len(durations), len(snrs)))
    np.add.at(n, (row, column), 1.0)
    np.add.at(found, (row, column), recovered)
    by_snr = found.sum(axis=0) / n.sum(axis=0)
    fraction = np.where(n > 0.0, found / np.maximum(n, 1.0), by_snr)
    return CompletenessSurface(durations, snrs, rising(fraction, np.maximum(n, NO_FLARES)))


def chance_at(
    surfaces: Mapping[float, CompletenessSurface],
) -> Callable[[float, float], Callable[[Array], Array] | None]:
    """What `of_star` says, from flares that were injected at several cadences [min]: the chance to find a flare on a
    star with these errors and this cadence [d], as the nearest of them has it; None more than `NEAR` times away."""

    def of_star(flux_err: float, cadence: float) -> Callable[[Array], Array] | None:
        minutes = DAY_MINUTES * cadence
        nearest = min(surfaces, key=lambda known: abs(math.log(known / minutes)))
        if not 1.0 / NEAR <= nearest / minutes <= NEAR:
            return None
        return surfaces[nearest].of_star(flux_err, cadence)

    return of_star


def rising(values: Array, weights: Array) -> Array:
    """The surface that falls along neither axis and is nearest to `values` in weighted squares, shape (a, b).

    Dykstra's alternating projections (Boyle & Dykstra 1986), each of them isotonic regressions in one direction.
    """
    surface, first, second = values, np.zeros_like(values), np.zeros_like(values)
    for _ in range(TURNS):
        down = _rising_rows((surface + first).T, weights.T).T
        first = surface + first - down
        across = _rising_rows(down + second, weights)
        second = down + second - across
        moved = max(float(np.max(np.abs(across - before))) for before in (surface, down))
        surface = across
        if moved < SETTLED:
            break
    # what little it has not settled
    return np.clip(np.maximum.accumulate(np.maximum.accumulate(surface, axis=0), axis=1), 0.0, 1.0)


def _rising_rows(values: Array, weights: Array) -> Array:
    return np.array([isotonic_regression(v, weights=w).x for v, w in zip(values, weights, strict=True)])


def _equal_bins(values: Array, bins: int) -> tuple[NDArray[np.intp], Array]:
    """The bin of each value, and the median of each bin; ascending, none empty."""
    if not len(values):
        return np.empty(0, np.intp), np.empty(0)
    edges = np.quantile(values, np.arange(1, bins) / bins)
    _, place = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    return place, np.array([np.median(values[place == k]) for k in range(place.max() + 1)])


@lru_cache(maxsize=1)
def _seen_height() -> tuple[Array, Array]:
    """Logarithm of the highest exposure of a flare of height 1, its mean over the phases, by log(FWHM / exposure)."""
    ratios = np.logspace(-3.0, 3.0, 121)
    exposures = np.arange(-2.0, 3.0)
    phases = (np.arange(20) + 0.5) / 20 - 0.5
    heights = [np.mean([_peak(phase, ratio, exposures) for phase in phases]) for ratio in ratios]
    return np.log(ratios), np.log(heights)


def _peak(phase: float, fwhm: float, exposures: Array) -> float:
    flare = Flares(np.array([phase]), np.ones(1), np.array([fwhm]), np.zeros(1, np.int64))
    return float(flare_flux(flare, exposures, 1.0).max())
