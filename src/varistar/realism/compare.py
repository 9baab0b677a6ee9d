"""Real and simulated stars, quantity by quantity: medians, quantiles, distances, and how far apart the samples are."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from .names import QUANTITIES, Scale
from .residuals import MAD_TO_SD, Array

QUANTILES = (0.1, 0.5, 0.9)
#: Fewer stars than this have no distribution.
LEAST_STARS = 5
RESAMPLES = 1000
#: Alike are ratios up to 1.2 in either direction (0.198 mag), and correlations that differ by no more than 0.05.
RATIO, CORRELATION = 1.2, 0.05


def compare(real: pl.DataFrame, simulated: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Compare two samples of stars.

    Parameters
    ----------
    real, simulated : one row per star: `cluster`, stars of which are drawn together, and columns of `QUANTITIES`
    seed : of the bootstrap

    Returns
    -------
    DataFrame
        One row for each quantity that at least `LEAST_STARS` of both have: `quantity`, `group`, `scale`, `unit`,
        `intrinsic`, `n_real`, `n_simulated`, `real_p10` ... `simulated_p90`; `ks` and `ks_p` (Kolmogorov-Smirnov; the p
        value takes stars as independent); `wasserstein` in robust standard deviations of the real sample, null where
        that is zero; `change`, simulated against real by the quantity's scale, its 95 % bootstrap interval `change_low`
        to `change_high` by cluster; and `alike`, whether the change is within 20 % (`RATIO`, `CORRELATION`).
    """
    rng = np.random.default_rng(seed)
    draws = [_draw_clusters(rng, sample["cluster"]) for sample in (real, simulated)]
    rows = []
    for name, quantity in QUANTITIES.items():
        known = [sample[name].is_not_null().to_numpy() for sample in (real, simulated)]
        if min(part.sum() for part in known) < LEAST_STARS:
            continue
        values = [s[name].drop_nulls().to_numpy() for s in (real, simulated)]
        ks = ks_2samp(*values)
        spread = MAD_TO_SD * float(np.median(np.abs(values[0] - np.median(values[0]))))
        middles = [_middles(v, np.ones((1, len(v))), quantity.scale) for v in values]
        drawn = [_middles(v, d[:, k], quantity.scale) for v, d, k in zip(values, draws, known, strict=True)]
        change = float(_change(middles[0], middles[1], quantity.scale)[0])
        low, high = _interval(_change(drawn[0], drawn[1], quantity.scale))
        rows.append(
            {
                "quantity": name,
                "group": quantity.group,
                "scale": quantity.scale,
                "unit": quantity.unit,
                "intrinsic": quantity.intrinsic,
                "n_real": len(values[0]),
                "n_simulated": len(values[1]),
                **_quantiles("real", values[0]),
                **_quantiles("simulated", values[1]),
                "ks": float(ks.statistic),
                "ks_p": float(ks.pvalue),
                "wasserstein": float(wasserstein_distance(*values)) / spread if spread > 0 else None,
                "change": change,
                "change_low": low,
                "change_high": high,
                "alike": _is_alike(change, quantity.scale),
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "quantity": pl.String,
    "group": pl.String,
    "scale": pl.String,
    "unit": pl.String,
    "intrinsic": pl.Boolean,
    "n_real": pl.Int64,
    "n_simulated": pl.Int64,
    **{f"{sample}_p{100 * q:.0f}": pl.Float64 for sample in ("real", "simulated") for q in QUANTILES},
    **dict.fromkeys(("ks", "ks_p", "wasserstein", "change", "change_low", "change_high"), pl.Float64),
    "alike": pl.Boolean,
}


def draw_counts(rng: np.random.Generator, cluster: NDArray, n: int) -> Array:
    """How often each star is in each of `n` bootstrap samples of whole clusters, shape (n, stars)."""
    names, member = np.unique(cluster, return_inverse=True)
    return rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=n)[:, member].astype(np.float64)


def _draw_clusters(rng: np.random.Generator, cluster: pl.Series) -> Array:
    return draw_counts(rng, cluster.to_numpy(), RESAMPLES)


def _middles(values: Array, counts: Array, scale: Scale) -> Array:
    """The middle of each bootstrap sample, shape (n,): the median, of shares the mean; NaN of an empty sample."""
    total = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        if scale == "share":
            return counts @ values / total
    order = np.argsort(values)
    reached = np.cumsum(counts[:, order], axis=1)
    low = (reached >= 0.5 * total[:, None]).argmax(axis=1)
    high = (reached > 0.5 * total[:, None]).argmax(axis=1)
    return np.where(total > 0, 0.5 * (values[order][low] + values[order][high]), np.nan)


def _change(real: Array, simulated: Array, scale: Scale) -> Array:
    """Simulated over real; simulated less real of magnitudes and correlations. NaN where there is no ratio."""
    if scale in ("magnitude", "correlation"):
        return simulated - real
    return np.where(real > 0, simulated / np.where(real > 0, real, 1.0), np.nan)


def _interval(changes: Array) -> tuple[float | None, float | None]:
    known = changes[np.isfinite(changes)]
    return (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975))) if len(known) else (None, None)


def _is_alike(change: float, scale: Scale) -> bool | None:
    if not np.isfinite(change):
        return None
    if scale == "correlation":
        return abs(change) <= CORRELATION
    return abs(change) <= 2.5 * np.log10(RATIO) if scale == "magnitude" else 1.0 / RATIO <= change <= RATIO


def _quantiles(sample: str, values: Array) -> dict[str, float]:
    return {f"{sample}_p{100 * q:.0f}": float(np.quantile(values, q)) for q in QUANTILES}
