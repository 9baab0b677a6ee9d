"""How alike simulated and real light curves are: the same statistics of both, side by side.

The real ones were measured once from 21 ASAS-SN light curves (Sky Patrol 2, g = 12.3 to 14.5) and from 11 of faint
active galaxies, and are kept beside the real data as `asassn/cadence_stats.json`. This prints the table for them:

    python -m varistar.sky.likeness <folder of real data>/asassn/cadence_stats.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.files import read_json
from varistar.lightcurves.table import LightCurves

from .ground import SkySettings, simulate_sky

Array = NDArray[np.float64]

#: Rows closer than this are one epoch [d].
EPOCH = 0.01
SEASONAL_GAP = 40.0
LEAST_CAMERA_POINTS = 30
#: A half magnitude is compared where the real sample has this many points.
LEAST_ERRORS = 300
QUANTILES = (10, 50, 90)
#: Faintest mean magnitude of a star that is compared with the bright real ones.
BRIGHT = 14.0
#: Brightest mean magnitude of a quasar that is compared with the faint real ones.
FAINT = 17.4


def compare_with_cadence_stats(lightcurves: LightCurves, stats: Mapping[str, Any]) -> pl.DataFrame:
    """Set the quantiles of simulated light curves beside those of real ones.

    Parameters
    ----------
    lightcurves : stars like those of the real sample, with magnitudes
    stats : one sample of `cadence_stats.json`, with `window_mjd` and `summary`

    Returns
    -------
    DataFrame
        `quantity` and its 10, 50 and 90 % points, `simulated_p10` ... `real_p90`. A quantity that either sample lacks
        is left out.

    Raises
    ------
    DataError
        When `stats` is not such a sample.
    """
    if not {"window_mjd", "summary"} <= set(stats):
        raise DataError("cadence statistics must have the keys 'window_mjd' and 'summary'")
    simulated = cadence_statistics(lightcurves, tuple(stats["window_mjd"]))
    rows = []
    for quantity, values in simulated.items():
        real = _real_quantiles(stats["summary"], quantity)
        if real is None or not len(values):
            continue
        quantiles = [*np.percentile(values, QUANTILES), *real]
        rows.append([quantity, *(float(f"{value:.4g}") for value in quantiles)])
    names = [f"{sample}_p{q}" for sample in ("simulated", "real") for q in QUANTILES]
    return pl.DataFrame(rows, schema=["quantity", *names], orient="row")


def cadence_statistics(lightcurves: LightCurves, window: tuple[float, float]) -> dict[str, Array]:
    """The statistics of `cadence_stats.json` for these stars, between two MJD; most have one value for each star.

    Good points are detections without a quality flag; an epoch is a run of rows less than `EPOCH` apart. The night to
    night scatter is 1.4826 / sqrt(2) times the median absolute difference of one camera's successive nights; camera
    offsets are the standard deviation of the medians of cameras with at least `LEAST_CAMERA_POINTS` points.
    """
    stars = [_one_star(lightcurves.star(i), window) for i in range(len(lightcurves))]
    names = list(dict.fromkeys(name for star in stars for name in star))
    return {name: np.concatenate([np.atleast_1d(star[name]) for star in stars if name in star]) for name in names}


def _real_quantiles(summary: Mapping[str, Any], quantity: str) -> list[float] | None:
    """The real sample's quantiles; those of `mag_err_13.0` stand at `mag_err_by_halfmag` / `13.0`."""
    if quantity.startswith("mag_err_"):
        found = (summary.get("mag_err_by_halfmag") or {}).get(quantity.removeprefix("mag_err_"))
        return None if found is None or found["n"] < LEAST_ERRORS else [found[f"p{q}"] for q in QUANTILES]
    found = summary.get(quantity)
    return None if found is None else [found[str(q)] for q in QUANTILES]


def _one_star(star: LightCurves, window: tuple[float, float]) -> dict[str, Array | float]:
    inside = (star["time"] >= window[0]) & (star["time"] <= window[1])
    star = star.where(inside)
    detected, flagged = np.isfinite(star["mag"]), star["quality"] != 0
    good = star.where(detected & ~flagged)
    if len(good["time"]) < 2:
        return {}
    time = good["time"]
    epochs = time[np.diff(time, prepend=-np.inf) > EPOCH]
    gaps = np.diff(epochs)
    seasonal = gaps[gaps > SEASONAL_GAP]
    error = float(np.median(good["mag_err"]))
    return {
        "n_good": float(len(time)),
        "n_epochs": float(len(epochs)),
        "n_nights": float(len(np.unique(np.floor(time)))),
        "n_cam": float(len(np.unique(good["camera"]))),
        "frac_quality_B": float(np.mean(flagged)),
        "frac_nondetection": float(np.mean(~detected)),
        "gap_days_all": gaps,
        "gap_max": float(gaps.max()),
        "n_seasonal_gaps_gt40d": float(len(seasonal)),
        "seasonal_gap_days": seasonal,
        "fwhm_px": good["fwhm"],
        "limit_mag_good": good["limit"],
        "limit_mag_B": star["limit"][flagged],
        **_camera_scatter(good, error),
        **_errors_by_magnitude(good),
    }


def _camera_scatter(good: LightCurves, error: float) -> dict[str, Array | float]:
    """Spread between cameras, and from night to night within one."""
    medians, steps = [], []
    for camera in np.unique(good["camera"]):
        mine = good["camera"] == camera
        time, mag = good["time"][mine], good["mag"][mine]
        apart = np.diff(time)
        steps.append(np.diff(mag)[(apart > 0.5) & (apart < 1.5)])
        if len(mag) >= LEAST_CAMERA_POINTS:
            medians.append(np.median(mag))
    found: dict[str, Array | float] = {}
    if len(medians) > 1:
        found["camera_offset_sd_mag"] = float(np.std(medians, ddof=1))
    if sum(len(step) for step in steps) >= LEAST_CAMERA_POINTS:
        scatter = 1.4826 * np.median(np.abs(np.concatenate(steps))) / np.sqrt(2.0)
        found["night_to_night_sd_over_err"] = float(scatter / error)
    return found


def _errors_by_magnitude(good: LightCurves) -> dict[str, Array | float]:
    """The errors of the points in each half magnitude, named by its bright edge."""
    edge = np.floor(good["mag"] * 2.0) / 2.0
    return {f"mag_err_{float(low):.1f}": good["mag_err"][edge == low] for low in np.unique(edge)}


def main() -> None:
    """Print the tables of docs/sky.md: the default sky's bright quiet stars, and its faint quasars."""
    samples = read_json(Path(sys.argv[1]))
    sky = simulate_sky(SkySettings())
    kind, g_mag = sky.truth["kind"].to_numpy(), sky.truth["g_mag"].to_numpy()
    quiet = np.isin(kind, ("clump", "constant")) & (g_mag < BRIGHT)
    faint = (kind == "quasar") & (g_mag > FAINT)
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=200,
    ):
        for sample, chosen in (("skypatrol_v2", quiet), ("blazars_g", faint)):
            part = sky.light_curves.take(np.flatnonzero(chosen))
            print(f"\n{sample}: {len(part)} simulated stars\n")
            print(compare_with_cadence_stats(part, samples[sample]))


if __name__ == "__main__":
    main()
