"""The power law of flare sizes by maximum likelihood, with completeness inside.

Flares obey

    dN / dx dt = A x^-alpha,    and star s shows    A days_s C_s(x) x^-alpha    of them,

where C_s is the chance to find one. A and alpha follow from the extended likelihood of a Poisson process. At its
maximum over A, which may differ from star to star, what is left is

    L(alpha) = -alpha sum p ln x - sum_s n_s ln Z_s(alpha),    Z_s = integral of x^-alpha C_s(x) dx,

with n_s the sum of the probabilities p of the star's events: an event of p = 0.5 counts half. Events are not binned.
L is concave and its derivatives are cumulants of ln x under the law, so the maximum is unique and the bias of order
1 / n is known,

    bias = sum n_s kappa3_s / (2 (sum n_s kappa2_s)^2)

(Cox & Snell 1968, for an exponential family). Without completeness and upper end this is alpha = 1 + n / sum ln(x / x0)
and the correction (n - 1) / n of Crawford, Jauncey & Murdoch (1970).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from .frequency import BEYOND, FlareSample, FrequencySettings, check_samples, counted, poisson_interval, size_cuts

Array = NDArray[np.float64]

#: Integrals in ln x: panels of Gauss-Legendre nodes, exact for smooth completeness and good to 1e-3 for a step.
PANELS, NODES = 64, 4
#: Slopes that are looked for; without an upper end to the sizes only above one can the law be normalised.
STEEPEST, FLATTEST = 12.0, -8.0


@dataclass(frozen=True)
class Slope:
    """The law that fits.

    Attributes
    ----------
    alpha : of dN/dx ~ x^-alpha, its bias of order 1 / n removed
    likeliest : the maximum of the likelihood
    low, high : interval by the profile of the likelihood
    n : sum of the probabilities above the cuts
    lowest : the smallest of the stars' cuts
    rate, rate_low, rate_high : flares above `lowest` a day, by the law; its interval is the count's, at this alpha
    """

    alpha: float
    likeliest: float
    low: float
    high: float
    n: float
    lowest: float
    rate: float
    rate_low: float
    rate_high: float


def fit_slope(samples: Sequence[FlareSample], settings: FrequencySettings | None = None) -> Slope | None:
    """The power law of flares on stars that share alpha, whatever their rates; None for too few events.

    Raises
    ------
    DataError
        As `frequency_table`.
    ConfigError
        When neither `lowest` nor a completeness that falls says where the law begins.
    """
    settings = settings or FrequencySettings()
    check_samples(samples)
    samples, cuts = _useful(samples, settings)
    if sum(float(s.p[counted(s, cut, settings)].sum()) for s, cut in zip(samples, cuts, strict=True)) < settings.fewest:
        return None
    problem = _prepare(samples, cuts, settings)
    likeliest = _solve(problem)
    if likeliest is None:
        return None
    alpha = max(likeliest - problem.bias(likeliest), problem.range[0])
    low, high = _profile_interval(problem, likeliest, settings.level)
    # A from its maximum at this alpha, then the law's integral from `lowest`, the unit, on
    exposure = float(np.sum(problem.days * np.exp(problem.log_integral(alpha))))
    above = _law_from_one(alpha, None if settings.largest is None else settings.largest / problem.unit)
    few, many = poisson_interval(problem.total, settings.level)
    rate, rate_low, rate_high = (count * above / exposure for count in (problem.total, float(few), float(many)))
    return Slope(alpha, likeliest, low, high, problem.total, problem.unit, rate, rate_low, rate_high)


def bootstrap_slope(
    samples: Sequence[FlareSample], seed: int, n: int = 1000, settings: FrequencySettings | None = None
) -> tuple[float, float]:
    """The interval of alpha when the stars, not the flares, are drawn again: honest where stars differ in alpha.

    Percentiles of `n` resamplings by star. Each solves for the maximum on a grid of alpha with steps of 0.01 and linear
    interpolation; NaN for both ends where too few resamplings have a solution (fewer than half).

    Raises
    ------
    DataError, ConfigError
        As `fit_slope`.
    """
    settings = settings or FrequencySettings()
    check_samples(samples)
    samples, cuts = _useful(samples, settings)
    if not samples:
        return math.nan, math.nan
    problem = _prepare(samples, cuts, settings)
    grid = np.arange(*problem.range, 0.01)
    expected = np.stack([problem.cumulants(alpha)[0] for alpha in grid], axis=1)  # (stars, grid)
    score = problem.n[:, None] * expected - problem.log_sum[:, None]
    times = np.random.default_rng(seed).multinomial(len(samples), np.full(len(samples), 1.0 / len(samples)), size=n)
    drawn = times @ score  # falls along the grid
    after = np.argmax(drawn < 0.0, axis=1)
    row = np.flatnonzero(after > 0)
    if len(row) < max(n // 2, 1):
        return math.nan, math.nan
    above, below = drawn[row, after[row] - 1], drawn[row, after[row]]
    alpha = grid[after[row] - 1] + 0.01 * above / (above - below)
    low, high = np.quantile(alpha, [0.5 - 0.5 * settings.level, 0.5 + 0.5 * settings.level])
    return float(low), float(high)


def goodness(
    samples: Sequence[FlareSample], alpha: float, seed: int, n: int = 200, settings: FrequencySettings | None = None
) -> tuple[float, float]:
    """Could these flares come from this law? Kolmogorov and Smirnov's distance and its chance by simulation.

    The distance is between the weighted distribution of the events and the law that the stars show, completeness
    included. Fitting alpha brings the two closer, so the same numbers of events with the same probabilities are drawn
    `n` times from the law, and alpha is fitted again to each (Clauset, Shalizi & Newman 2009, section 4.1).

    Returns
    -------
    The distance, and the fraction of simulations (with the data as one more) whose distance is as large or larger: a
    small one speaks against the law. NaN for both without events.

    Raises
    ------
    DataError, ConfigError
        As `fit_slope`.
    """
    settings = settings or FrequencySettings()
    check_samples(samples)
    samples, cuts = _useful(samples, settings)
    if not samples:
        return math.nan, math.nan
    problem = _prepare(samples, cuts, settings)
    counts = [counted(sample, cut, settings) for sample, cut in zip(samples, cuts, strict=True)]
    star = np.concatenate([np.full(int(which.sum()), k) for k, which in enumerate(counts)])
    p = np.concatenate([sample.p[which] for sample, which in zip(samples, counts, strict=True)])
    u = np.log(np.concatenate([s.size[which] for s, which in zip(samples, counts, strict=True)]) / problem.unit)
    if not p.sum() > 0.0:
        return math.nan, math.nan
    distance = _distance(problem, alpha, u, p)
    rng = np.random.default_rng(seed)
    as_far = 0
    for _ in range(n):
        drawn = _draw(problem, alpha, star, rng)
        again = replace(problem, log_sum=np.bincount(star, p * drawn, len(samples)).astype(np.float64))
        fitted = _solve(again)
        as_far += fitted is None or _distance(again, fitted, drawn, p) >= distance
    return distance, (as_far + 1) / (n + 1)


def closed_form_slope(size: Array, lowest: float, p: Array | None = None) -> tuple[float, float]:
    """Alpha of complete events above `lowest`, without an upper end: the likeliest and the unbiased.

    1 + n / sum p ln(x / lowest), and (n - 1) / n of its excess over one (Crawford, Jauncey & Murdoch 1970); n is the
    sum of the probabilities. NaN without events.
    """
    counts = size >= lowest
    weight = np.ones(int(counts.sum())) if p is None else p[counts]
    n, logs = float(weight.sum()), float(np.sum(weight * np.log(size[counts] / lowest)))
    if not logs > 0.0:
        return math.nan, math.nan
    return 1.0 + n / logs, 1.0 + (n - 1.0) / logs


@dataclass(frozen=True)
class _Problem:
    """The likelihood's sums; u = ln(x / unit), and the unit is the smallest of the stars' cuts.

    Attributes
    ----------
    n, log_sum, days : shape (stars,), sums of p and of p u, days searched
    node, weight : shape (stars, nodes), u and its measure, completeness and the dx / du = e^u included
    start, end : shape (stars,) and one number, between which u lies
    tail : shape (stars,), completeness beyond the end; zero where the law ends there
    """

    n: Array
    log_sum: Array
    days: Array
    node: Array
    weight: Array
    tail: Array
    start: Array
    end: float
    unit: float

    @property
    def total(self) -> float:
        return float(self.n.sum())

    @property
    def range(self) -> tuple[float, float]:
        """Slopes at which the law can be normalised."""
        return (1.0 + 1e-4 if self.tail.any() else FLATTEST), STEEPEST

    def log_integral(self, alpha: float) -> Array:
        """ln Z_s in units of `unit`^(1 - alpha), shape (stars,)."""
        return np.log(self._moments(alpha)[0])

    def cumulants(self, alpha: float) -> tuple[Array, Array, Array]:
        """Mean, variance and third central moment of u under the law, each of shape (stars,)."""
        z, first, second, third = self._moments(alpha)
        mean, square, cube = first / z, second / z, third / z
        return mean, square - mean**2, cube - 3.0 * mean * square + 2.0 * mean**3

    def log_likelihood(self, alpha: float) -> float:
        return float(-alpha * self.log_sum.sum() - self.n @ self.log_integral(alpha))

    def score(self, alpha: float) -> float:
        """Slope of the likelihood; it falls with alpha."""
        return float(self.n @ self.cumulants(alpha)[0] - self.log_sum.sum())

    def bias(self, alpha: float) -> float:
        _, variance, third = self.cumulants(alpha)
        return float(self.n @ third) / (2.0 * float(self.n @ variance) ** 2)

    def _moments(self, alpha: float) -> list[Array]:
        """Integrals of u^k C e^((1 - alpha) u) for k = 0 to 3, each of shape (stars,)."""
        density = self.weight * np.exp(-alpha * self.node)
        moments = [np.sum(density * self.node**k, axis=1) for k in range(4)]
        if self.tail.any():
            # beyond the end u is the end plus an exponential deviate of mean 1 / (alpha - 1)
            mean, end = 1.0 / (alpha - 1.0), self.end
            mass = self.tail * mean * math.exp((1.0 - alpha) * end)
            moments[0] = moments[0] + mass
            moments[1] = moments[1] + mass * (end + mean)
            moments[2] = moments[2] + mass * (end**2 + 2.0 * end * mean + 2.0 * mean**2)
            moments[3] = moments[3] + mass * (end**3 + 3.0 * end**2 * mean + 6.0 * end * mean**2 + 6.0 * mean**3)
        return moments


def _useful(samples: Sequence[FlareSample], settings: FrequencySettings) -> tuple[list[FlareSample], Array]:
    """The stars that are complete enough somewhere, and the size from which each counts."""
    cuts = size_cuts(samples, settings)
    useful = cuts < (math.inf if settings.largest is None else settings.largest)
    return [sample for sample, use in zip(samples, useful, strict=True) if use], cuts[useful]


def _prepare(samples: Sequence[FlareSample], cuts: Array, settings: FrequencySettings) -> _Problem:
    counts = [counted(sample, cut, settings) for sample, cut in zip(samples, cuts, strict=True)]
    unit = float(cuts.min())
    logs = [np.log(sample.size[which] / unit) for sample, which in zip(samples, counts, strict=True)]
    weights = [sample.p[which] for sample, which in zip(samples, counts, strict=True)]
    largest = max((float(u.max(initial=0.0)) for u in logs), default=0.0)
    if settings.largest is None:
        end = max(largest, math.log(float(cuts.max()) / unit)) + math.log(BEYOND)
    else:
        end = math.log(settings.largest / unit)
    node, weight = _quadrature(np.log(cuts / unit), end)
    found = np.stack([sample.found(unit * np.exp(u)) for sample, u in zip(samples, node, strict=True)])
    at_end = np.array([float(sample.found(np.array([unit * math.exp(end)]))[0]) for sample in samples])
    return _Problem(
        n=np.array([float(w.sum()) for w in weights]),
        log_sum=np.array([float(w @ u) for w, u in zip(weights, logs, strict=True)]),
        days=np.array([sample.days for sample in samples]),
        node=node,
        weight=weight * found * np.exp(node),
        tail=at_end if settings.largest is None else np.zeros(len(samples)),
        start=np.log(cuts / unit),
        end=end,
        unit=unit,
    )


def _quadrature(start: Array, end: float) -> tuple[Array, Array]:
    """Nodes and weights between each start and the end, two arrays of shape (stars, nodes)."""
    x, w = _gauss()
    unit = ((np.arange(PANELS)[:, None] + x) / PANELS).ravel()
    length = end - start[:, None]
    return start[:, None] + length * unit, length * np.tile(w / PANELS, PANELS)


def _gauss() -> tuple[Array, Array]:
    """Nodes and weights of one panel, from zero to one."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    return 0.5 + 0.5 * x, 0.5 * w


def _solve(problem: _Problem) -> float | None:
    """Where the likelihood is highest; None where that is at an end of the slopes looked for."""
    flat, steep = problem.range
    if problem.score(flat) <= 0.0 or problem.score(steep) >= 0.0:
        return None
    return float(brentq(problem.score, flat, steep, xtol=1e-9))


def _profile_interval(problem: _Problem, likeliest: float, level: float) -> tuple[float, float]:
    """Where twice the likelihood falls by chi^2 of one degree of freedom, or the end of the slopes looked for."""
    floor = problem.log_likelihood(likeliest) - 0.5 * float(chi2.ppf(level, 1))

    def above(alpha: float) -> float:
        return problem.log_likelihood(alpha) - floor

    flat, steep = problem.range
    low = flat if above(flat) > 0.0 else float(brentq(above, flat, likeliest, xtol=1e-7))
    high = steep if above(steep) > 0.0 else float(brentq(above, likeliest, steep, xtol=1e-7))
    return low, high


def _law_from_one(alpha: float, largest: float | None) -> float:
    """Integral of x^-alpha from 1 to `largest`, or to infinity."""
    if largest is None:
        return 1.0 / (alpha - 1.0)
    if abs(alpha - 1.0) < 1e-9:
        return math.log(largest)
    return (largest ** (1.0 - alpha) - 1.0) / (1.0 - alpha)


def _distance(problem: _Problem, alpha: float, u: Array, p: Array) -> float:
    """Largest distance between the weighted distribution of u and the law's."""
    order = np.argsort(u, kind="stable")
    seen = np.cumsum(p[order]) / p.sum()
    share = problem.n / problem.total
    law = share @ np.stack([np.interp(u[order], *curve) for curve in _cumulative(problem, alpha)])
    return float(np.max(np.maximum(np.abs(seen - law), np.abs(seen - p[order] / p.sum() - law))))


def _draw(problem: _Problem, alpha: float, star: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """One u for each event, from the law that its star shows."""
    chance = rng.random(len(star))
    drawn = np.empty(len(star))
    for k, (u, below) in enumerate(_cumulative(problem, alpha)):
        drawn[star == k] = np.interp(chance[star == k], below, u)
    return drawn


def _cumulative(problem: _Problem, alpha: float) -> list[tuple[Array, Array]]:
    """For each star u and the fraction of its events below: by nodes, and beyond the end by eighths of the scale."""
    # the width of the measure around each node is its weight, so that these are edges between them
    shares = np.linspace(0.0, 1.0, PANELS + 1)[:-1, None] + _gauss()[1].cumsum() / PANELS
    shares = np.concatenate([[0.0], shares.ravel()])
    density = problem.weight * np.exp(-alpha * problem.node)
    curves = []
    beyond = np.arange(0.125, 16.0, 0.125) if problem.tail.any() else np.zeros(0)
    for k in range(len(problem.n)):
        u = problem.start[k] + (problem.end - problem.start[k]) * shares
        below = np.concatenate([[0.0], np.cumsum(density[k])])
        if len(beyond):
            mass = problem.tail[k] / (alpha - 1.0) * math.exp((1.0 - alpha) * problem.end)
            u = np.concatenate([u, problem.end + beyond / (alpha - 1.0)])
            below = np.concatenate([below, below[-1] - mass * np.expm1(-beyond)])
        curves.append((u, below / below[-1]))
    return curves
