"""What is measured of one light curve: the numbers by which a simulated one should not be told from a real one.

Rows are all measurements of one band in the window; a good row is a detection without quality flag. Nothing is measured
across the gap between two seasons but that gap itself, so that a star's seasons can be parted into halves (`seasons`).
Residuals are what is left of good magnitudes after each camera's zero point and the star's trend over a month are taken
out (`residuals`). A quantity that a light curve cannot give (no quality column, one camera, too few pairs) is null.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import rankdata

from varistar.foundation.errors import DataError
from varistar.lightcurves.table import LightCurves
from varistar.spectra.periodogram import lombscargle_power

from .memory import autocorrelation
from .names import QUANTITIES
from .residuals import MAD_TO_SD, Array, Codes, group_medians, robust_sd, take_apart
from .rows import Rows, rows_of
from .seasons import Half, in_half

#: Rows closer than this are one epoch [d].
EPOCH = 0.01
#: A star or season with fewer good rows is not measured.
LEAST_GOOD = 30
#: A camera with fewer good rows has neither an offset nor a response.
LEAST_CAMERA = 20
#: Fewer pairs of neighbours say nothing about their scatter.
LEAST_PAIRS = 10
#: Length of the blocks whose medians show a camera's drift [d], and the rows that a block needs.
DRIFT_DAYS, LEAST_DRIFT = 60.0, 5
#: Periods at which the sampling or the Moon imitates signals [d].
ALIASES = {"power_day": 1.0, "power_sidereal_day": 0.99727, "power_month": 29.5306, "power_year": 365.25}
#: A period's power needs so many of its cycles.
CYCLES = 2.0
#: The periodogram's range and the slow end of where its highest peak is looked for [d].
SHORTEST, LONGEST, SLOWEST_PEAK = 0.9, 400.0, 30.0
#: Frequencies in 1 / span.
OVERSAMPLE = 3.0


def quantities(
    lightcurves: LightCurves,
    window: tuple[float, float],
    half: Half = "both",
    per: Literal["star", "season"] = "star",
    bands: tuple[str, ...] | None = ("g",),
) -> pl.DataFrame:
    """Measure light curves with magnitudes.

    Parameters
    ----------
    lightcurves : n stars
    window : first and last MJD
    half : which of each star's seasons are measured
    per : one row per star, its seasons of that half together, or one per season
    bands : bands that count; a table without bands loses nothing

    Returns
    -------
    DataFrame
        `star_id`, `season` (only per season), `n_good`, `mag` (median of good magnitudes), and a column for each of
        `QUANTITIES`, null where it cannot be measured. Stars and seasons with fewer than `LEAST_GOOD` good rows are
        left out.

    Raises
    ------
    DataError
        When the light curves have no magnitudes.
    """
    if missing := [name for name in ("mag", "mag_err") if name not in lightcurves.columns]:
        raise DataError(f"the light curves of '{lightcurves.survey}' lack the column '{missing[0]}'")
    found = []
    for i in range(len(lightcurves)):
        star = rows_of(lightcurves.star(i), window, bands)
        star = star.take(in_half(star.season, half))
        if per == "star":
            found += [{"star_id": lightcurves.star_id[i], **values} for values in _measure(star)]
            continue
        for season in np.unique(star.season):
            label = {"star_id": lightcurves.star_id[i], "season": int(season)}
            found += [{**label, **values} for values in _measure(star.take(star.season == season))]
    season_column = {"season": pl.Int64} if per == "season" else {}
    schema = {"star_id": pl.String, **season_column, "n_good": pl.Int64, "mag": pl.Float64}
    table = pl.DataFrame(found, schema=schema | dict.fromkeys(QUANTITIES, pl.Float64))
    return table.with_columns(pl.col(name).fill_nan(None) for name in QUANTITIES)


def _measure(rows: Rows) -> Iterator[dict[str, float]]:
    """The quantities of some seasons of a star; nothing where too few rows are good."""
    good = rows.take(rows.good)
    if len(good.time) < LEAST_GOOD:
        return
    apart = take_apart(good.time, good.mag, good.camera, good.season)
    scaled = apart.value / (robust_sd(apart.value) or np.nan)
    yield {
        "n_good": len(good.time),
        "mag": float(np.median(good.mag)),
        **_cadence(rows),
        **_cameras(rows),
        **_depth(rows, good),
        **_errors(good),
        **_scatter(good, apart.value),
        **_zero_points(good, apart.of_camera, apart.value),
        "trend_sd": robust_sd(apart.trend),
        **_tails(scaled),
        **autocorrelation(good.time, scaled, good.camera, good.season),
        "fwhm_response": _response(scaled, good.fwhm, good.camera),
        "limit_response": _response(scaled, good.limit, good.camera),
        **_powers(good.time, apart.value, apart.trend),
    }


def _cadence(rows: Rows) -> dict[str, float]:
    """When the star was observed."""
    time, season = rows.time, rows.season
    begin, counts = np.unique(season, return_index=True, return_counts=True)[1:]
    # Two cameras at once make one epoch.
    first = np.diff(time, prepend=-np.inf) > EPOCH
    new_night = np.diff(np.floor(time), prepend=-np.inf) > 0
    gaps = np.diff(time[first])[np.diff(season[first]) == 0]
    return {
        "points_per_season": float(np.median(counts)),
        "epochs_per_season": float(np.median(np.add.reduceat(first, begin, dtype=np.int64))),
        "nights_per_season": float(np.median(np.add.reduceat(new_night, begin, dtype=np.int64))),
        "points_per_night": float(len(time) / new_night.sum()),
        "points_per_epoch": float(len(time) / first.sum()),
        "season_length": float(np.median(time[begin + counts - 1] - time[begin])),
        "season_gap": _quantile(rows.gap_after[begin], 0.5),
        "gap_10": _quantile(gaps, 0.1),
        "gap_median": _quantile(gaps, 0.5),
        "gap_90": _quantile(gaps, 0.9),
        "gap_largest": _quantile(gaps, 1.0),
        "hour_concentration": float(np.abs(np.mean(np.exp(2j * np.pi * time[first])))),
        "moon_concentration": float(np.abs(np.mean(np.exp(2j * np.pi * time[first] / ALIASES["power_month"])))),
    }


def _cameras(rows: Rows) -> dict[str, float]:
    """Which cameras took turns."""
    counts = np.bincount(rows.camera)
    switches = np.diff(rows.camera)[np.diff(rows.season) == 0] != 0
    return {
        "cameras": float((counts > 0).sum()),
        "camera_share": float(counts.max() / counts.sum()),
        "camera_switches": float(switches.mean()) if len(switches) else np.nan,
    }


def _depth(rows: Rows, good: Rows) -> dict[str, float]:
    """How deep and sharp the exposures are, and how many failed or are doubted."""
    lost = rows.limit[~rows.good]
    return {
        "nondetections": float(1.0 - rows.detected.mean()),
        "flagged": float(rows.flagged.mean()),
        "limit_median": _quantile(good.limit, 0.5),
        "limit_spread": 0.5 * (_quantile(good.limit, 0.84) - _quantile(good.limit, 0.16)),
        "limit_of_cameras": _spread_of_cameras(good.limit, good.camera),
        "limit_lost": _quantile(good.limit, 0.5) - (_quantile(lost, 0.5) if len(lost) >= LEAST_PAIRS else np.nan),
        "fwhm_median": _quantile(good.fwhm, 0.5),
        "fwhm_spread": 0.5 * (_quantile(good.fwhm, 0.84) - _quantile(good.fwhm, 0.16)),
        "fwhm_of_cameras": _spread_of_cameras(good.fwhm, good.camera),
    }


def _errors(good: Rows) -> dict[str, float]:
    """The stated errors, and whether they follow the limit: a 5-sigma limit leaves a fifth of its flux as error."""
    follow = 2.5 / np.log(10.0) / 5.0 * 10.0 ** (0.4 * (good.mag - good.limit))
    median = float(np.median(good.mag_err))
    return {
        "error": median,
        "error_spread": 0.5 * float(np.subtract(*np.quantile(good.mag_err, [0.84, 0.16]))) / median,
        "error_over_limit": _quantile(good.mag_err / follow, 0.5),
    }


def _scatter(good: Rows, value: Array) -> dict[str, float]:
    """Scatter in units of the stated errors, over all times and between neighbours in one camera."""
    order = np.lexsort((good.time, good.camera))
    neighbours = (np.diff(good.camera[order]) == 0) & (np.diff(good.season[order]) == 0)
    apart = np.diff(good.time[order])
    step = np.diff(value[order]) / np.hypot(good.mag_err[order][1:], good.mag_err[order][:-1])
    same_night = step[neighbours & (apart < 0.5)]
    next_night = step[neighbours & (apart > 0.5) & (apart < 1.5)]
    return {
        "scatter": robust_sd(value),
        "scatter_over_error": float(MAD_TO_SD * np.median(np.abs(value / good.mag_err))),
        "same_night_over_error": _size(same_night),
        "night_to_night_over_error": _size(next_night),
    }


def _zero_points(good: Rows, of_camera: Array, value: Array) -> dict[str, float]:
    """How much cameras differ, and how one drifts against the others."""
    counts = np.bincount(good.camera)
    rich = counts >= LEAST_CAMERA
    offsets = group_medians(of_camera, good.camera)[rich]
    block = good.season * 1_000_000 + np.floor(good.time / DRIFT_DAYS).astype(np.int64)
    block = np.unique(block, return_inverse=True)[1]
    blocks, part, rows = np.unique(good.camera * (block.max() + 1) + block, return_inverse=True, return_counts=True)
    # Where one camera observes alone, its drift is taken for the star's.
    company = np.bincount(blocks % (block.max() + 1))[blocks % (block.max() + 1)] > 1
    drift = group_medians(value, part)[(rows >= LEAST_DRIFT) & company]
    return {
        "camera_offsets": float(np.std(offsets, ddof=1)) if len(offsets) > 1 else np.nan,
        "camera_drift": float(MAD_TO_SD * np.median(np.abs(drift))) if len(drift) > 3 else np.nan,
    }


def _tails(scaled: Array) -> dict[str, float]:
    """Outliers, and the shape of the residuals, which are scaled to a robust standard deviation of one."""
    low, middle, high = np.quantile(scaled, [0.02, 0.5, 0.98])
    clipped = np.clip(scaled, -10.0, 10.0)
    return {
        "outliers_4": float(np.mean(np.abs(scaled) > 4.0)),
        "outliers_bright": float(np.mean(scaled < -4.0)),
        "outliers_6": float(np.mean(np.abs(scaled) > 6.0)),
        "asymmetry": float((high + low - 2.0 * middle) / (high - low)) if high > low else np.nan,
        "kurtosis": float(np.mean((clipped - clipped.mean()) ** 4) / (np.var(clipped) ** 2 or np.nan)),
    }


def _response(scaled: Array, condition: Array, camera: Codes) -> float:
    """Mean over cameras of the size of the rank correlation of residual and condition, weighted by rows."""
    sizes, weights = [], []
    known = np.isfinite(condition)
    for one in np.flatnonzero(np.bincount(camera[known], minlength=1) >= LEAST_CAMERA):
        mine = known & (camera == one)
        ranks = np.stack([rankdata(scaled[mine]), rankdata(condition[mine])])
        ranks -= ranks.mean(axis=1, keepdims=True)
        norm = np.sqrt(np.prod((ranks**2).sum(axis=1)))
        if norm > 0:
            sizes.append(abs(float(ranks[0] @ ranks[1])) / norm)
            weights.append(int(mine.sum()))
    return float(np.average(sizes, weights=weights)) if sizes else np.nan


def _powers(time: Array, value: Array, trend: Array) -> dict[str, float]:
    """Lomb-Scargle power of the residuals at the aliases, in units of the median power; the year's with the trend."""
    found = dict.fromkeys([*ALIASES, "power_peak"], np.nan)
    span = float(time[-1] - time[0])
    for values, names in ((value, [*ALIASES][:-1]), (value + trend, ["power_year"])):
        frequency, power = lombscargle_power(time, values, np.ones_like(values), SHORTEST, LONGEST, OVERSAMPLE)
        if not len(power) or not (median := np.median(power)) > 0:
            continue
        for name in names:
            near = np.abs(frequency - 1.0 / ALIASES[name]) < 0.6 / span
            if span >= CYCLES * ALIASES[name] and near.any():
                found[name] = float(power[near].max() / median)
        if values is value:
            found["power_peak"] = float(power[frequency > 1.0 / SLOWEST_PEAK].max() / median)
    return found


def _size(steps: Array) -> float:
    return float(MAD_TO_SD * np.median(np.abs(steps))) if len(steps) >= LEAST_PAIRS else np.nan


def _quantile(values: Array, q: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, q)) if len(known) else np.nan


def _spread_of_cameras(values: Array, camera: Codes) -> float:
    """Standard deviation of the medians of cameras with enough rows."""
    known = np.isfinite(values)
    counts = np.bincount(camera[known], minlength=1)
    rich = group_medians(values[known], camera[known])[counts >= LEAST_CAMERA] if known.any() else np.empty(0)
    return float(np.std(rich, ddof=1)) if len(rich) > 1 else np.nan
