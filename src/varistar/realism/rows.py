"""The measurements of one star that count: one band, one window, each with its season."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from varistar.lightcurves.assemble import codes_of
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves

from .residuals import Array, Codes
from .seasons import gaps_after, season_of


@dataclass(frozen=True)
class Rows:
    """Measurements of one star in the order of time, shape (m,) each; what a source lacks is NaN.

    Attributes
    ----------
    time : MJD
    mag, mag_err, limit, fwhm : as in a light curve
    flagged : 1 with a quality flag, 0 without, NaN where the source knows no quality
    camera : numbers from 0 on
    season, gap_after : the number of the row's season, and the gap from that season to the next [d]
    """

    time: Array
    mag: Array
    mag_err: Array
    limit: Array
    fwhm: Array
    flagged: Array
    camera: Codes
    season: Codes
    gap_after: Array

    @property
    def detected(self) -> NDArray[np.bool_]:
        return np.isfinite(self.mag) & (self.mag_err > 0) & (self.mag_err < 99)

    @property
    def good(self) -> NDArray[np.bool_]:
        return self.detected & ~(self.flagged > 0)

    def take(self, keep: NDArray[np.bool_]) -> Self:
        """The rows where `keep` is true."""
        return type(self)(*(getattr(self, field.name)[keep] for field in fields(self)))


def rows_of(star: LightCurves, window: tuple[float, float], bands: tuple[str, ...] | None) -> Rows:
    """The rows of a star between two MJD, in `bands` where the star has bands."""
    columns = star.columns
    mjd = columns["time"] + (TIME_ORIGIN[star.time_system] - TIME_ORIGIN["MJD_UTC"])
    keep = (mjd >= window[0]) & (mjd <= window[1])
    if bands is not None and "band" in columns:
        keep &= np.isin(columns["band"], bands)
    points = np.flatnonzero(keep)[np.argsort(mjd[keep], kind="stable")]
    mjd = mjd[points]
    unknown = np.full(len(points), np.nan)
    numbers = {
        name: columns[name][points].astype(np.float64) if name in columns else unknown
        for name in ("mag", "mag_err", "limit", "fwhm")
    }
    season = season_of(mjd)
    return Rows(
        time=mjd,
        **numbers,
        flagged=(columns["quality"][points] != 0).astype(np.float64) if "quality" in columns else unknown,
        camera=codes_of(columns["camera"][points]) if "camera" in columns else np.zeros(len(points), np.int64),
        season=season,
        gap_after=gaps_after(mjd, season),
    )
