"""Quality cuts, as data: which points a survey trusts, and how many a star needs.

A light curve that fails a cut is not an error. `apply_cuts` says for every star how many points it lost to which
reason, and why it was refused if it was.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from varistar.foundation.settings import Settings

from .assemble import count_per_star
from .binning import bin_epochs
from .table import TIME_ORIGIN, LightCurves

#: Why a point is lost, in the order in which the reasons are asked; a point counts under the first that takes it.
REASONS = ("band", "not_finite", "window", "non_detection", "quality", "bad_error")

_MINUTES_PER_DAY = 1440.0


class Cuts(Settings):
    """The cuts of a survey; None asks nothing. A variant is `cuts.model_copy(update=...)`.

    The defaults are those of the ASAS-SN period network (000, section 2) without its band and window.

    Attributes
    ----------
    bands
        Bands that stay. A table without bands loses nothing.
    window
        First and last date that stay [MJD, that is JD - 2400000.5], both inclusive. Each time system's own dates are
        compared, through its zero point only: between UTC at the observatory and heliocentric or barycentric dates lie
        up to 8.3 minutes of light travel time (and a minute between UTC and TDB), which moves no season's edge, while
        a conversion would need coordinates.
    max_mag_err
        Points stay whose `mag_err` is smaller. One without magnitude is a non-detection, and is lost. None keeps
        non-detections. A table without magnitudes loses nothing.
    quality
        Values of `quality` that stay; ASAS-SN's good is 0.
    quality_bits
        Points with any of these bits in `quality` are lost; for surveys whose flags are bits, with `quality: null`.
    require_errors
        Whether a point needs a finite, positive `flux_err`.
    bin_within_minutes
        After the cuts, points of one camera and band that follow each other within this gap become one point; see
        `bin_epochs`.
    min_points
        Points, after binning, that a star needs to stay.
    """

    bands: tuple[str, ...] | None = None
    window: tuple[float, float] | None = None
    max_mag_err: float | None = Field(default=99.0, gt=0.0)
    quality: tuple[int, ...] | None = (0,)
    quality_bits: int = Field(default=0, ge=0)
    require_errors: bool = True
    bin_within_minutes: float | None = Field(default=None, gt=0.0)
    min_points: int = Field(default=150, ge=0)

    @field_validator("window")
    @classmethod
    def _in_order(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] <= window[1]:
            raise ValueError("the window must begin before it ends")
        return window


def apply_cuts(lightcurves: LightCurves, cuts: Cuts) -> tuple[LightCurves, pl.DataFrame]:
    """Drop the points and then the stars that fail `cuts`.

    Parameters
    ----------
    lightcurves : n stars
    cuts

    Returns
    -------
    LightCurves
        The stars that stay, in their order, with the points that stay.
    pl.DataFrame of n rows
        One row for each star given, in the same order: `star_id`; `n_before`; points lost to each of `REASONS`
        (`lost_band`, ...); `merged`, points that binning took into others; `n_after`; `kept`; and `reason`, why the
        star was refused, else null. Always `n_before = sum of lost_* + merged + n_after`.
    """
    offsets = lightcurves.offsets
    remaining = np.ones(int(offsets[-1]), dtype=np.bool_)
    losses: dict[str, NDArray[np.int64]] = {}
    for reason, fails in _failures(lightcurves, cuts):
        losses[f"lost_{reason}"] = count_per_star(remaining & fails, offsets)
        remaining &= ~fails
    left = lightcurves if remaining.all() else lightcurves.where(remaining)
    binned = left if cuts.bin_within_minutes is None else bin_epochs(left, cuts.bin_within_minutes / _MINUTES_PER_DAY)
    n_after = binned.n_points
    kept = n_after >= cuts.min_points
    report = pl.DataFrame(
        {
            "star_id": pl.Series(lightcurves.star_id, dtype=pl.String),
            "n_before": lightcurves.n_points,
            **losses,
            "merged": left.n_points - n_after,
            "n_after": n_after,
            "kept": kept,
        }
    ).with_columns(
        reason=pl.when(~pl.col("kept")).then(pl.lit(f"fewer than {cuts.min_points} points", dtype=pl.String))
    )
    return binned if kept.all() else binned.take(np.flatnonzero(kept)), report


def _failures(lightcurves: LightCurves, cuts: Cuts) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """For each of `REASONS`, in order, the points that it would take, shape (m,)."""
    columns = lightcurves.columns
    nowhere = np.zeros(int(lightcurves.offsets[-1]), dtype=np.bool_)

    band = nowhere if cuts.bands is None or "band" not in columns else ~np.isin(columns["band"], cuts.bands)
    yield "band", band

    yield "not_finite", ~(np.isfinite(columns["time"]) & np.isfinite(columns["flux"]))

    outside = nowhere
    if cuts.window is not None:
        mjd = columns["time"] + (TIME_ORIGIN[lightcurves.time_system] - TIME_ORIGIN["MJD_UTC"])
        outside = (mjd < cuts.window[0]) | (mjd > cuts.window[1])
    yield "window", outside

    undetected = nowhere
    if cuts.max_mag_err is not None and "mag" in columns:
        undetected = undetected | ~np.isfinite(columns["mag"])
    if cuts.max_mag_err is not None and "mag_err" in columns:
        undetected = undetected | ~(columns["mag_err"] < cuts.max_mag_err)
    yield "non_detection", undetected

    flagged = nowhere
    if "quality" in columns:
        flagged = columns["quality"] & np.int32(cuts.quality_bits) != 0
        if cuts.quality is not None:
            flagged = flagged | ~np.isin(columns["quality"], cuts.quality)
    yield "quality", flagged

    flux_err = columns["flux_err"]
    yield "bad_error", ~(np.isfinite(flux_err) & (flux_err > 0)) if cuts.require_errors else nowhere
