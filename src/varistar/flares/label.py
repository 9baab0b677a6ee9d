"""Make examples of light curves whose flares people have labelled, in the form in which simulated stars are kept.

Every star that the list names is taken, and no other: a list tells of the stars in which it found something, and says
nothing of those it was not asked about. What the list does not state is estimated: an amplitude from the light curve,
a width from the equivalent duration, or else from the width that flares of this height have. Where something stands
out that no label names, a doubt is noted (`labelled`); elsewhere the star counts as without a flare. Ours.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, require_replaceable, write_json
from varistar.lightcurves.inputs import FileTable, FitsFile, open_input
from varistar.lightcurves.readers import find_sources
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import TIME_ORIGIN, LightCurves, TimeSystem, concatenate
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA, WIDTH_LAW
from varistar.sky.spacecraft import FLARES

from .baselines import FilterSettings, RunSettings, filter_events, run_events
from .labelled import DOUBTFUL, version_of
from .labels import LABELS, find_peaks, read_guenther, read_ilin_2021, read_ilin_aumic, read_ilin_planets
from .matching import MatchSettings, match_events
from .orbits import Orbit, OrbitSettings
from .stars import orbits_of
from .trend import TrendSettings, flux_noise, local_trend

MINUTES = 1440.0
CATALOGS = ("TIC", "KIC", "EPIC")
#: Cadences [min] of which the examples are made.
CADENCE_MINUTES = (1.8, 2.2)
#: A peak is looked for so near to the labelled time [d], and a labelled time must lie so near to a good cadence.
NEAR = 6.0 / MINUTES
#: What a matched filter finds, or what is as high above the median of 1.5 hours, and no label names is a doubt: it need
#: not be a flare. The filter finds what is long, the median what is short on stars that vary fast.
SEARCH, HIGH = FilterSettings(threshold=4.0), RunSettings(window_days=1.5 / 24, n1=3.0, n2=0.0, n3=1)
STARS_PER_SHARD = 64
#: Times from here on are full Julian dates.
FULL_DATES = 2.4e6

#: Lists whose columns have units of their own, by the columns that give them away.
_READERS = {
    ("TIC", "tpeak", "Amp", "FWHMdt"): read_guenther,
    ("TIC", "mission", "tstart", "tstop", "rel_amplitude", "ED"): read_ilin_planets,
    ("ID", "tstart", "tstop", "ed_rec", "ampl_rec", "real"): read_ilin_2021,
}
_AUMIC = "$t_s$ [BTJD]"
#: What other tables may call a column, in small letters.
_STAR = ("star_id", "tic", "tic_id", "ticid", "target_id", "kic", "id")
_NAMES = {
    "tpeak": ("tpeak", "t_peak"),
    "tstart": ("tstart", "t_start"),
    "tstop": ("tstop", "t_stop", "tend"),
    "amplitude": ("amplitude", "amp", "rel_amplitude", "lpeak"),
    "fwhm_minutes": ("fwhm_minutes",),
    "equivalent_duration_s": ("equivalent_duration_s", "ed_s", "ed"),
    "peak_snr": ("peak_snr",),
}


class StarKey(NamedTuple):
    """The catalog of `CATALOGS` that a star's name gives, or "", and its number there, or else the whole name."""

    catalog: str
    number: str


class Labelled(NamedTuple):
    """What was written: stars, their flares, doubts, and the number of stars or orbits left out, by reason."""

    stars: int
    flares: int
    doubts: int
    left_out: dict[str, int]
    version: str


def label_light_curves(
    inputs: Sequence[Path], table: Path, output: Path, settings: OrbitSettings, star_id: str | None = None
) -> Labelled:
    """Write the labelled stars among these light curves to the folder `output`, which is replaced.

    All labelled stars are held in memory, some 0.4 MB for each sector of two-minute cadences.

    Parameters
    ----------
    inputs : light curves in any format that is read; a star's files are joined.
    table : of flares, in the time system of the light curves or in full Julian dates; see `read_list`.
    star_id : the star of a list that names none.

    Raises
    ------
    DataError
        When something cannot be read, or no labelled flare falls into the light curves.
    """
    if output.is_dir():
        require_replaceable(output, lambda path: path.name in ("light_curves", "flares.parquet", "labelled.json"))
    listed = _by_number(read_list(table, star_id))
    left_out: Counter[str] = Counter()
    kept: list[LightCurves] = []
    flares, doubts, number = [], 0, 0
    for key, star in _read_stars(inputs, listed, left_out):
        light_curve, orbits = _fitting(star, settings, left_out)
        if not orbits:
            left_out["without an orbit of good cadences"] += 1
            continue
        labels = _on_the_clock(_labels_of(listed, key), light_curve.time_system, light_curve.star_id[0])
        labels = complete_labels(find_peaks(labels, orbits), orbits)
        if not labels.height:
            left_out["without a listed flare while they last"] += 1
            continue
        unnamed = find_doubts(light_curve.star_id[0], orbits, labels)
        kept.append(light_curve)
        flares += [labels, unnamed]
        number, doubts = number + labels.height, doubts + unnamed.height
    if not kept:
        why = "; ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no star has one of its names"
        raise DataError(f"{table}: no listed flare falls into these light curves: {why}")
    with atomic_folder(output) as whole:
        (whole / "light_curves").mkdir()
        for shard, part in enumerate(_shards(kept)):
            write_shard(whole / "light_curves" / f"part-{shard:05d}.parquet", part)
        _as_truth(pl.concat(flares)).write_parquet(whole / "flares.parquet")
        told = {"stars": len(kept), "flares": number, "doubts": doubts, "list": table.name, "left_out": dict(left_out)}
        write_json(whole / "labelled.json", told)
    return Labelled(len(kept), number, doubts, dict(left_out), version_of(output))


def read_list(path: Path, star_id: str | None = None) -> pl.DataFrame:
    """The LABELS of a published list, or of a table with columns of the usual names, in the list's own times.

    Known lists are told from their columns. Of another table, text, ECSV or Parquet, these columns are read, in any
    case: `star_id` (or TIC, target_id, ...), `tpeak`, or `tstart` and `tstop` [d], and what there is of `amplitude` (or
    amp; in units of the star's flux), `fwhm_minutes`, `equivalent_duration_s` (or ED_s, ed [s]) and `peak_snr`.

    Raises
    ------
    DataError
        When it cannot be read, lacks the star or a time, or a row has neither.
    """
    opened = open_input(path)
    if isinstance(opened, FitsFile):
        raise DataError(f"{path}: a FITS file, where a table of flares was expected")
    for columns, read in _READERS.items():
        if set(columns) <= set(opened.names):
            return read(path)
    if _AUMIC in opened.names:
        return read_ilin_aumic(path, star_id) if star_id else read_ilin_aumic(path)
    return _read_plain(opened, star_id)


def _read_plain(table: FileTable, star_id: str | None) -> pl.DataFrame:
    own = {name.lower(): name for name in reversed(table.names)}
    star = next((own[name] for name in _STAR if name in own), None)
    if star is None and star_id is None:
        raise DataError(f"{table.path}: names no star; it needs a column 'star_id', or --star")
    found = {
        name: table.numbers(own[next(one for one in others if one in own)])
        for name, others in _NAMES.items()
        if any(one in own for one in others)
    }
    if "tpeak" not in found and not {"tstart", "tstop"} <= found.keys():
        raise DataError(f"{table.path}: lacks the column 'tpeak', and 'tstart' with 'tstop'")
    timed = np.isfinite(found["tpeak"] if "tpeak" in found else found["tstart"] + found["tstop"])
    if not timed.all():
        raise DataError(f"{table.path}: {table.where(int(np.argmin(timed)))}: expected the time of a flare")
    words = table.words(star) if star is not None else np.full(len(timed), star_id)
    columns: dict[str, Any] = {"star_id": words, **{name: pl.Series(of).fill_nan(None) for name, of in found.items()}}
    columns["source"] = np.full(len(timed), table.path.name)
    nothing = pl.repeat(None, len(timed), eager=True)
    return pl.DataFrame({name: columns.get(name, nothing) for name in LABELS}, LABELS)


def star_key(name: str) -> StarKey:
    """What a name says, however it is written: `tic-0077` is 77 of the TIC."""
    found = re.fullmatch(rf"(?:({'|'.join(CATALOGS)})[\s_-]*)?0*(\d+)", name.strip(), flags=re.IGNORECASE)
    return StarKey((found[1] or "").upper(), found[2]) if found else StarKey("", name.strip())


def _by_number(listed: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The listed flares by the number of their star, with a column `catalog`."""
    keys = [star_key(name) for name in listed["star_id"]]
    keyed = listed.with_columns(
        catalog=pl.Series([key.catalog for key in keys], dtype=pl.String),
        number=pl.Series([key.number for key in keys], dtype=pl.String),
    )
    return {str(number): rows.drop("number") for (number,), rows in keyed.group_by("number", maintain_order=True)}


def _labels_of(listed: Mapping[str, pl.DataFrame], key: StarKey) -> pl.DataFrame:
    """The LABELS of a star; where either side names no catalog the number alone says which star it is."""
    rows = listed.get(key.number, pl.DataFrame(schema={**LABELS, "catalog": pl.String}))
    return (rows.filter(pl.col("catalog").is_in(["", key.catalog])) if key.catalog else rows).drop("catalog")


def complete_labels(labels: pl.DataFrame, orbits: Sequence[Orbit]) -> pl.DataFrame:
    """The labels of one star that peak while a good cadence is near, with amplitude, width and peak S/N.

    What is stated stays. `peak_snr` is the amplitude over the noise of the nearest good cadence.
    """
    rows = []
    for label in labels.drop_nulls("tpeak").iter_rows(named=True):
        place = _place(orbits, label["tpeak"])
        if place is None:
            continue
        orbit, peak = place
        amplitude = label["amplitude"]
        if amplitude is None or not amplitude > 0:
            amplitude = _height(orbit, label["tpeak"])
        if not amplitude > 0:
            continue
        fwhm = label["fwhm_minutes"]
        if fwhm is None or not fwhm > 0:
            fwhm = _width(amplitude, label["equivalent_duration_s"])
        snr = label["peak_snr"] if label["peak_snr"] is not None else amplitude / flux_noise(orbit)[peak]
        rows.append(label | {"amplitude": amplitude, "fwhm_minutes": fwhm, "peak_snr": float(snr)})
    return pl.DataFrame(rows, schema=LABELS)


def find_doubts(star_id: str, orbits: Sequence[Orbit], labels: pl.DataFrame) -> pl.DataFrame:
    """Where something stands out that no label names, by `SEARCH` or `HIGH`, as LABELS without amplitude.

    A doubt lasts as long again as what was found, since that fades.
    """
    found = filter_events(orbits, SEARCH, star_id), run_events(orbits, HIGH, star_id)
    events = pl.concat([one.select("star_id", "tpeak", "tstart", "tstop") for one in found])
    unnamed = match_events(events, labels, MatchSettings()).events.filter(~pl.col("fits"))
    fading = pl.col("tstop") + (pl.col("tstop") - pl.col("tstart"))
    known = unnamed.select("star_id", "tpeak", "tstart", tstop=fading)
    return known.with_columns(
        **{name: pl.lit(None, pl.Float64) for name in ("amplitude", "fwhm_minutes", "equivalent_duration_s")},
        peak_snr=pl.lit(DOUBTFUL),
        source=pl.lit("doubt"),
    ).select(LABELS.keys())


def _read_stars(
    inputs: Sequence[Path], listed: Mapping[str, pl.DataFrame], left_out: Counter[str]
) -> Iterator[tuple[StarKey, LightCurves]]:
    """The listed stars, each with all its light curves, in the order of their numbers."""
    parts: dict[StarKey, list[LightCurves]] = {}
    for source in find_sources(inputs):
        found = source.read()
        for i, name in enumerate(found.star_id):
            if _labels_of(listed, star_key(name)).height:
                parts.setdefault(star_key(name), []).append(found.star(i))
            else:
                left_out["that the list does not name"] += 1
    for bare in [key for key in parts if not key.catalog]:
        named = [key for catalog in CATALOGS if (key := StarKey(catalog, bare.number)) in parts]
        if len(named) == 1:
            parts[named[0]] += parts.pop(bare)
    for key in sorted(parts, key=lambda key: (key.number, key.catalog)):
        if len({(part.time_system, part.flux_unit) for part in parts[key]}) > 1:
            left_out["of more than one time system or flux unit"] += 1
            continue
        joined = concatenate([part.where(np.isfinite(part["time"])) for part in parts[key]])
        order = np.argsort(joined["time"], kind="stable")
        columns = {name: values[order] for name, values in joined.columns.items()}
        offsets = np.array([0, len(order)], dtype=np.int64)
        first = parts[key][0].star_id
        yield key, LightCurves(first, offsets, columns, joined.time_system, joined.flux_unit, joined.survey)


def _fitting(star: LightCurves, settings: OrbitSettings, left_out: Counter[str]) -> tuple[LightCurves, list[Orbit]]:
    """A star without its orbits of other cadences than `CADENCE_MINUTES`, and the orbits that are left."""
    shortest, longest = CADENCE_MINUTES
    ((_, orbits),) = orbits_of(star, settings)
    fitting, keep = [], np.ones(len(star["time"]), dtype=np.bool_)
    for orbit in orbits:
        if shortest <= MINUTES * orbit.cadence <= longest:
            fitting.append(orbit)
        else:
            keep &= (star["time"] < orbit.time[0]) | (star["time"] > orbit.time[-1])
            left_out[f"orbits of another cadence than {shortest:g} to {longest:g} minutes"] += 1
    return star.where(keep), fitting


def _on_the_clock(labels: pl.DataFrame, system: TimeSystem, star_id: str) -> pl.DataFrame:
    """The labels under the name that the light curve gives the star, and in its times."""
    origin = TIME_ORIGIN[system]
    times = [
        pl.when(pl.col(name) >= FULL_DATES).then(pl.col(name) - origin).otherwise(pl.col(name)).alias(name)
        for name in ("tpeak", "tstart", "tstop")
    ]
    return labels.with_columns(*times, star_id=pl.lit(star_id))


def _place(orbits: Sequence[Orbit], tpeak: float) -> tuple[Orbit, int] | None:
    """The orbit that lasts while a flare peaks, and the good cadence nearest to it; None where there is none near."""
    for orbit in orbits:
        good = np.flatnonzero(orbit.good)
        nearest = int(good[np.argmin(np.abs(orbit.time[good] - tpeak))])
        if abs(orbit.time[nearest] - tpeak) <= NEAR:
            return orbit, nearest
    return None


def _height(orbit: Orbit, tpeak: float) -> float:
    """The highest flux near a time above the light that stands under it."""
    near = np.flatnonzero((np.abs(orbit.time - tpeak) <= NEAR) & orbit.good)
    peak = int(near[np.argmax(orbit.flux[near])])
    trend = local_trend(orbit, peak, peak, TrendSettings())
    height = float(orbit.flux[peak] - trend.values[peak - trend.first])
    return height if math.isfinite(height) else 0.0


def _width(amplitude: float, duration_s: float | None) -> float:
    """FWHM [min] of a flare of this amplitude and equivalent duration [s]; the typical one where that is unknown.

    `WIDTH_LAW` gives it as 10^(a + b log10 ED), and ED is SHAPE_AREA amplitude fwhm.
    """
    area = SHAPE_AREA * amplitude * DAY_SECONDS / MINUTES  # [s] for each minute of width
    if duration_s is not None and duration_s > 0:
        return duration_s / area
    zero, slope, _ = WIDTH_LAW
    return float(10.0 ** ((zero + slope * math.log10(area)) / (1.0 - slope)))


def _shards(kept: Iterable[LightCurves]) -> Iterator[LightCurves]:
    """Stars of one time system and flux unit together, by the dozen."""
    alike: dict[tuple[str, str], list[LightCurves]] = {}
    for one in kept:
        alike.setdefault((one.time_system, one.flux_unit), []).append(one)
    for _, stars in sorted(alike.items()):
        for first in range(0, len(stars), STARS_PER_SHARD):
            yield concatenate(stars[first : first + STARS_PER_SHARD])


def _as_truth(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels in the columns of simulated flares, every one an outburst of its own, with bounds and source."""
    numbered = labels.sort("star_id", "tpeak").with_columns(
        outburst=pl.int_range(pl.len()).over("star_id"), energy_erg=pl.lit(None), observed=pl.lit(True)
    )
    return numbered.select(*(pl.col(name).cast(dtype) for name, dtype in FLARES.items()), "tstart", "tstop", "source")
