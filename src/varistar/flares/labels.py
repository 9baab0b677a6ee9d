"""Known flares: published lists, and the truth of simulated stars, each read into one and the same table.

A list is read row by row as it was published, in its own order and in the time system of the light curves it was made
from. What it does not state is null. Lists differ in what they call one flare: where one gives every component of a
complex flare a row, `join_close` makes one of them, and where one gives only beginnings and ends, `find_peaks` looks
the peaks up in the light curve.
"""

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.lightcurves.inputs import FileTable, FitsFile, open_input, require
from varistar.lightcurves.table import TIME_ORIGIN

from .orbits import Orbit

Array = NDArray[np.float64]

#: The table of known flares, a row each. Times are in days of the light curve's time system, `tpeak` null where a list
#: gives beginnings and ends alone. Amplitudes are in units of the star's flux. `peak_snr` is the height of the peak
#: over the error of its cadence.
LABELS: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    **dict.fromkeys(("tpeak", "tstart", "tstop"), pl.Float64),
    **dict.fromkeys(("amplitude", "fwhm_minutes", "equivalent_duration_s", "peak_snr"), pl.Float64),
    "source": pl.String,
}

#: Parts of a flare closer than this [min] are one, where components of a list are to be joined.
JOIN_MINUTES = 12.0
#: The columns of the list of GJ 1243, which its header describes and does not name.
GJ1243_COLUMNS = 15

_GUENTHER = ("TIC", "tpeak", "Amp", "FWHMdt")
_FBEYE = ("tstart", "tstop", "tpeak", "lpeak", "ed")
_AUMIC = ("$t_s$ [BTJD]", "$t_f$ [BTJD]", "$ED$ [s]", "$a$")
_PLANETS = ("TIC", "mission", "tstart", "tstop", "rel_amplitude", "ED")
_COOL = ("ID", "tstart", "tstop", "ed_rec", "ampl_rec", "real")
_IKUTA = ("tpeak", "amp", "ed_s")
_SIMULATED = ("star_id", "outburst", "tpeak", "amplitude", "fwhm_minutes", "equivalent_duration_s", "peak_snr")


def read_guenther(path: Path | str) -> pl.DataFrame:
    """Flares of TESS's sectors 1 and 2 by Guenther et al. (2020), the paper's training set; BTJD.

    A row is a component: those of one outburst come from minutes to days apart, and the same peak can stand in two
    outbursts. Joined with `join_close` at 12 minutes they are 11 % fewer.

    Raises
    ------
    DataError
        As every reader here: one sentence that names the file, and the line and column where they are known, when the
        file is missing, damaged or another list, or a flare has no time.
    """
    table = _open(path, _GUENTHER)
    tpeak = _times(table, "tpeak")
    if (wrong := tpeak < TIME_ORIGIN["BTJD"]).any():
        row = int(wrong.argmax())
        raise DataError(
            f"{table.path}: {table.where(row)}, column 'tpeak': expected a full Julian date, got {tpeak[row]:g}"
        )
    return _labels(
        _numbered("TIC", table.words("TIC")),
        "guenther2020",
        tpeak=tpeak - TIME_ORIGIN["BTJD"],
        amplitude=table.numbers("Amp"),
        fwhm_minutes=1440.0 * table.numbers("FWHMdt"),
    )


def read_fbeye(path: Path | str, star_id: str) -> pl.DataFrame:
    """Flares of one star as people marked them with FBeye (Davenport et al. 2014), in the light curve's times."""
    table = _open(path, _FBEYE)
    return _labels(
        star_id,
        "fbeye",
        tpeak=_times(table, "tpeak"),
        tstart=_times(table, "tstart"),
        tstop=_times(table, "tstop"),
        amplitude=table.numbers("lpeak"),
        equivalent_duration_s=table.numbers("ed"),
    )


def read_ilin_aumic(path: Path | str, star_id: str = "TIC 441420236") -> pl.DataFrame:
    """Flares of AU Mic in sectors 1 and 27 by Ilin & Poppenhaeger (2022); beginnings and ends, BTJD."""
    start, stop, duration, amplitude = _AUMIC
    table = _open(path, _AUMIC)
    return _labels(
        star_id,
        "ilin2022",
        tstart=_times(table, start),
        tstop=_times(table, stop),
        amplitude=table.numbers(amplitude),
        equivalent_duration_s=table.numbers(duration),
    )


def read_ilin_planets(path: Path | str, mission: Literal["TESS", "Kepler", "K2"] = "TESS") -> pl.DataFrame:
    """Flares of planet hosts by Ilin et al. (2024); beginnings and ends, BTJD for TESS, otherwise BKJD.

    Of a light curve that was searched in vain the list has a row without times, which is left out; of a star with
    several planets a row for each, which counts once.
    """
    table = _open(path, _PLANETS)
    tstart = table.numbers("tstart")
    wanted = (table.words("mission") == mission) & np.isfinite(tstart)
    number = np.array([tic.split("(")[0] for tic in table.words("TIC")], dtype=np.str_)
    return (
        _labels(
            _numbered("TIC", number),
            "ilin2024",
            tstart=tstart,
            tstop=table.numbers("tstop"),
            amplitude=table.numbers("rel_amplitude"),
            equivalent_duration_s=table.numbers("ED"),
        )
        .filter(wanted)
        .unique(["star_id", "tstart"], keep="first", maintain_order=True)
    )


def read_ilin_2021(path: Path | str, real: Sequence[str] = ("1",)) -> pl.DataFrame:
    """Flare candidates of fast-rotating cool dwarfs by Ilin et al. (2021); beginnings and ends, BTJD.

    Parameters
    ----------
    real : what the column of this name may say: "1" is a flare, "0" none, others are remarks such as "merge".
    """
    table = _open(path, _COOL)
    tstart = table.numbers("tstart")
    return _labels(
        _numbered("TIC", table.words("ID")),
        "ilin2021",
        tstart=tstart,
        tstop=table.numbers("tstop"),
        amplitude=table.numbers("ampl_rec"),
        equivalent_duration_s=table.numbers("ed_rec"),
    ).filter(np.isin(table.words("real"), list(real)) & np.isfinite(tstart))


def read_ikuta(path: Path | str, star_id: str) -> pl.DataFrame:
    """Flares of one star (AU Mic, EV Lac or YZ CMi) by Ikuta et al. (2023), BTJD."""
    table = _open(path, _IKUTA)
    return _labels(
        star_id,
        "ikuta2023",
        tpeak=_times(table, "tpeak"),
        amplitude=table.numbers("amp"),
        equivalent_duration_s=table.numbers("ed_s"),
    )


def read_gj1243(path: Path | str, star_id: str = "KIC 9726699") -> pl.DataFrame:
    """Flares of GJ 1243 in eleven months of Kepler's short cadence by Davenport et al. (2014).

    Times are BKJD in single precision, so good to 10 s; some peaks lie beyond the flare's bounds, and small flares can
    have an equivalent duration below zero.
    """
    _, _, tstart, tstop, tpeak, _, _, amplitude, duration, *_ = _read_unnamed(Path(path), GJ1243_COLUMNS)
    return _labels(
        star_id,
        "davenport2014",
        tpeak=tpeak,
        tstart=tstart,
        tstop=tstop,
        amplitude=amplitude,
        equivalent_duration_s=duration,
    )


def read_simulated(path: Path | str, outbursts: bool = False) -> pl.DataFrame:
    """The truth of simulated stars, as `varistar.sky` writes it, BTJD, or labels in the same form (`labelled`).

    `peak_snr` is null where the peak was not observed.

    Parameters
    ----------
    outbursts : one row for each outburst, as `join_close` makes it, instead of one for each flare.
    """
    table = _open(path, _SIMULATED)
    bounds = [name for name in ("tstart", "tstop") if name in table.names]
    names = ("amplitude", "fwhm_minutes", "equivalent_duration_s", "peak_snr", *bounds)
    labels = _labels(
        table.words("star_id"),
        table.words("source") if "source" in table.names else "simulated",
        tpeak=_times(table, "tpeak"),
        **{name: table.numbers(name) for name in names},
    )
    if not outbursts:
        return labels
    return _join(labels.with_columns(part=pl.struct("star_id", pl.Series("outburst", table.numbers("outburst")))))


def join_close(labels: pl.DataFrame, minutes: float = JOIN_MINUTES) -> pl.DataFrame:
    """One label for every chain of flares of a star whose peaks follow each other within less than `minutes`.

    It has peak, amplitude and width of the largest, the earliest beginning and the latest end, and the equivalent
    durations together, null if one of them is. Where a list gives no peaks, the beginnings are compared.

    Returns
    -------
    LABELS, ordered by star and time.
    """
    ordered = labels.with_columns(when=_when()).sort("star_id", "when", maintain_order=True)
    apart = pl.col("when").diff().over("star_id").fill_null(np.inf) * 1440.0 >= minutes
    return _join(ordered.with_columns(part=apart.cum_sum()).drop("when"))


def find_peaks(labels: pl.DataFrame, orbits: Sequence[Orbit]) -> pl.DataFrame:
    """The labels of one star, those without a peak given the time of the highest flux between beginning and end.

    In AU Mic's list it comes within three cadences of the beginning for nine flares in ten. A label stays without a
    peak where no cadence between its bounds counts.
    """
    if not orbits or labels["tpeak"].null_count() == 0:
        return labels
    time, flux = (np.concatenate([getattr(orbit, name) for orbit in orbits]) for name in ("time", "flux"))
    start, stop, tpeak = (labels[name].to_numpy().astype(np.float64) for name in ("tstart", "tstop", "tpeak"))
    # a bound is the middle of a cadence, perhaps rounded
    first = np.searchsorted(time, start - 0.5 * orbits[0].cadence)
    last = np.searchsorted(time, stop + 0.5 * orbits[0].cadence)
    for row in np.flatnonzero(np.isnan(tpeak) & (first < last) & np.isfinite(stop)):
        between = slice(first[row], last[row])
        if np.isfinite(flux[between]).any():
            tpeak[row] = time[between][np.nanargmax(flux[between])]
    return labels.with_columns(pl.Series("tpeak", tpeak).fill_nan(None))


def _open(path: Path | str, columns: Sequence[str]) -> FileTable:
    """The list as a table that has these columns."""
    opened = open_input(Path(path))
    if isinstance(opened, FitsFile):
        raise DataError(f"{path}: a FITS file, where a table of flares was expected")
    require(opened, columns)
    return opened


def _times(table: FileTable, name: str) -> Array:
    """A column of times, all of which are known."""
    values = table.numbers(name)
    if (unknown := ~np.isfinite(values)).any():
        raise DataError(f"{table.path}: {table.where(int(unknown.argmax()))}, column '{name}': expected a time")
    return values


def _numbered(catalog: str, numbers: NDArray[np.str_]) -> NDArray[np.str_]:
    """Names such as `TIC 2760232`, as the pipelines' light curves have them."""
    return np.char.add(f"{catalog} ", numbers)


def _labels(star_id: str | NDArray[np.str_], source: str | NDArray[np.str_], **columns: Array) -> pl.DataFrame:
    """LABELS of these columns; what is missing or NaN is null."""
    length = len(next(iter(columns.values())))
    given = {
        "star_id": np.broadcast_to(star_id, length),
        "source": np.broadcast_to(source, length),
        **{name: pl.Series(values).fill_nan(None) for name, values in columns.items()},
    }
    return pl.DataFrame({name: given.get(name, pl.repeat(None, length, eager=True)) for name in LABELS}, LABELS)


def _read_unnamed(path: Path, columns: int) -> Array:
    """The columns of a table of numbers whose names are only told in comments, shape (columns, n)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.loadtxt(path, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a table of {columns} numbers in each row: {reason}") from None
    if values.size == 0 or values.shape[1] != columns:
        found = f"{values.shape[1]} columns" if values.size else "no rows"
        raise DataError(f"{path}: has {found}, where a table of {columns} columns was expected")
    return values.T


def _when() -> pl.Expr:
    return pl.coalesce("tpeak", "tstart")


def _join(labels: pl.DataFrame) -> pl.DataFrame:
    """One label for each value of the column `part`."""
    duration = pl.col("equivalent_duration_s")
    largest = ("star_id", "tpeak", "amplitude", "fwhm_minutes", "source")
    return (
        labels.sort("amplitude", descending=True, nulls_last=True, maintain_order=True)
        .group_by("part", maintain_order=True)
        .agg(
            pl.first(*largest),
            pl.min("tstart"),
            pl.max("tstop"),
            pl.max("peak_snr"),
            pl.when(duration.is_not_null().all()).then(duration.sum()).alias("equivalent_duration_s"),
        )
        .select(LABELS.keys())
        .sort("star_id", _when(), maintain_order=True)
    )
