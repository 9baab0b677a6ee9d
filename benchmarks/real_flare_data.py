"""Real TESS stars with 2-minute light curves whose flares others have marked, and two that are quiet.

Cadences are kept as the project keeps them (`varistar.flares.orbits.SPOILED`), those of flags 512 and 2048 too; the
three arrays of Guenther's stars have no flags, since their authors' tool had taken the flagged cadences out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from varistar.flares.known import KnownStar
from varistar.flares.labels import LABELS, read_fbeye, read_guenther
from varistar.flares.matching import MatchSettings, match_events
from varistar.flares.orbits import Array, Orbit, OrbitSettings, split_orbits
from varistar.flares.stars import orbits_of
from varistar.flares.trend import TrendSettings, flux_noise, local_trend
from varistar.lightcurves.readers import read
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA

#: Light curves, by star; all but the last two have labels.
FILES = {
    "TIC 2760232": "flares/guenther_lc/002760232_sector02.npy",
    "TIC 5640393": "flares/guenther_lc/005640393_sector02.npy",
    "TIC 5656273": "flares/guenther_lc/005656273_sector02.npy",
    "TIC 441420236": "tess/tess2018206045859-s0001-0000000441420236-0120-s_lc.fits",
    "TIC 358108509": "tess/tess2018206045859-s0001-0000000358108509-0120-s_lc.fits",
    "TIC 388857263": "tess/tess2019112060037-s0011-0000000388857263-0143-s_lc.fits",
    "TIC 55652896": "tess/hlsp_tess-data-alerts_tess_phot_00055652896-s01_tess_v1_lc.fits",
    "TIC 159449703": "tess/tess2019198215352-s0014-0000000159449703-0150-s_lc.fits",
}
NAMES = {"TIC 441420236": "AU Mic", "TIC 388857263": "Proxima Centauri"}
SECTORS = dict(zip(FILES, (2, 2, 2, 1, 1, 11, 1, 14), strict=True))
QUIET = ("TIC 55652896", "TIC 159449703")
PROXIMA, PROXIMA_LIST = "TIC 388857263", "tess/proxima_s0011_fbeye_flares.csv"
GUENTHER_LIST = "flares/Guenther_2020_flare_catalog.txt"

#: An event that fits no label, and is as strong as this, is likely a flare that the list lacks. Fixed in advance.
STRONG_SNR = 10.0
FAINT_SNR = 5.0
MATCH = MatchSettings(faint_snr=FAINT_SNR, strong_snr=STRONG_SNR)


def read_real(folder: Path, settings: OrbitSettings) -> list[KnownStar]:
    """The stars in the order of `FILES`, with the labels that fall into their light curves."""
    labels = pl.concat([read_guenther(folder / GUENTHER_LIST), read_fbeye(folder / PROXIMA_LIST, PROXIMA)])
    stars = []
    for star_id, file in FILES.items():
        orbits = _orbits(folder / file, star_id, settings)
        own = labels.filter(pl.col("star_id") == star_id)
        stars.append(KnownStar(star_id, orbits, _complete(own, orbits)))
    return stars


def shown(star_id: str) -> str:
    """The name that a table gives a star."""
    return NAMES.get(star_id, star_id)


def event_snr(events: pl.DataFrame, orbits: Sequence[Orbit]) -> pl.DataFrame:
    """The events of one star with `peak_snr`: the peak above the light that stands under it, over its error.

    It is null for an event that repeats the peak of an earlier one, which is thereby never taken for a flare that the
    list lacks.
    """
    values: list[float | None] = []
    seen: set[tuple[int, int]] = set()
    for number, first, last, peak in events.select("orbit", "first", "last", "peak").iter_rows():
        repeated = (number, peak) in seen
        seen.add((number, peak))
        # stella's peak may lie outside its event
        values.append(None if repeated else _height(orbits[number], min(first, peak), max(last, peak), peak))
    return events.with_columns(pl.Series("peak_snr", values, dtype=pl.Float64).fill_nan(None))


def left_over(events: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Strong events that fit no label."""
    return match_events(events, labels, MATCH).events.filter(
        ~pl.col("fits") & (pl.col("peak_snr") >= STRONG_SNR).fill_null(False)
    )


def label_heights(star: KnownStar) -> Array:
    """The same for each label, from the light curve: its highest cadence within 6 minutes; NaN where there is none."""
    found = np.full(star.labels.height, np.nan)
    for row, tpeak in enumerate(star.labels["tpeak"]):
        for orbit in star.orbits:
            near = np.flatnonzero((np.abs(orbit.time - tpeak) <= 6.0 / 1440.0) & orbit.good)
            if len(near):
                peak = int(near[np.argmax(orbit.flux[near])])
                found[row] = _height(orbit, peak, peak, peak)
    return found


def _orbits(path: Path, star_id: str, settings: OrbitSettings) -> list[Orbit]:
    if path.suffix == ".npy":
        time, flux, flux_err = np.load(path)
        return split_orbits(time, flux, flux_err, None, settings)
    (found,) = [orbits for name, orbits in orbits_of(read(path), settings) if name == star_id]
    return found


def _complete(labels: pl.DataFrame, orbits: Sequence[Orbit]) -> pl.DataFrame:
    """The labels that peak while an orbit lasts. `peak_snr` is the listed amplitude over the error of the nearest
    cadence; an unlisted width is that of the template that has the listed amplitude and equivalent duration."""
    rows = []
    for label in labels.iter_rows(named=True):
        for orbit in orbits:
            if orbit.time[0] <= label["tpeak"] <= orbit.time[-1]:
                nearest = int(np.argmin(np.abs(orbit.time - label["tpeak"])))
                label["peak_snr"] = label["amplitude"] / flux_noise(orbit)[nearest]
                if label["fwhm_minutes"] is None:
                    days = label["equivalent_duration_s"] / (SHAPE_AREA * label["amplitude"] * DAY_SECONDS)
                    label["fwhm_minutes"] = 1440.0 * days
                rows.append(label)
    return pl.DataFrame(rows, schema=LABELS)


def _height(orbit: Orbit, first: int, last: int, peak: int) -> float:
    trend = local_trend(orbit, first, last, TrendSettings())
    return float((orbit.flux[peak] - trend.values[peak - trend.first]) / flux_noise(orbit)[peak])
