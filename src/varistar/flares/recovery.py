"""Which injected flares does a method find, how well does it measure them, and what does it find where nothing is?

An injected flare is recovered when an event fits it: the event's interval contains the flare's peak, or their peaks are
at most six minutes apart, which should be a cadence where those are longer. When an event fits that place in the light
curve before the injection already, the flare is not recovered, whatever is found afterwards. An event that goes on for
ever recovers nothing, therefore.

False positives are the events found in the light curve as it was, apart from flares that are known, and those found in
it upside down. The former are real flares too where not all are known; the latter are false without exception.

Thresholds may be moved afterwards: `found` filtered by `p` is what a method with a higher threshold finds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError
from varistar.foundation.intervals import wilson_interval

from .draws import LawDraw, PlacedDraw
from .frequency import poisson_interval
from .inject import flip, inject, relabel, searched_days
from .labels import LABELS
from .orbits import Orbit, bin_orbit, exposures_in

#: Edges of the bins in signal-to-noise ratio; what is fainter than 5 is left out.
SNR_BINS = (5.0, 7.0, 10.0, 15.0, 30.0, np.inf)
TOLERANCE_MINUTES = 6.0
LIGHT_CURVES = ("injected", "uninjected", "flipped")
#: Those that tell whether a flare is recovered.
WITH_AND_WITHOUT = LIGHT_CURVES[:2]
#: What of a measurement is compared with the truth, where events have it.
COMPARED = ("amplitude", "equivalent_duration_s", "fwhm_minutes")

_FOUND = {
    **dict.fromkeys(("star_id", "method", "light_curve"), pl.String),
    **dict.fromkeys(("tstart", "tstop", "tpeak", "p"), pl.Float64),
}
_SEARCHED = {**dict.fromkeys(("star_id", "method", "light_curve"), pl.String), "days": pl.Float64}


class Method(NamedTuple):
    """A way to find flares: a name, and what makes EVENTS of the orbits of one star, measured or not."""

    name: str
    find: Callable[[list[Orbit]], pl.DataFrame]


class Recovery(NamedTuple):
    """What was injected into stars and what was found in them.

    Attributes
    ----------
    injected : LABELS
    found : EVENTS of all methods, with the columns `method` and `light_curve`, one of `LIGHT_CURVES`
    searched : `star_id`, `method`, `light_curve` and the `days` of good cadences that were searched, events or none
    """

    injected: pl.DataFrame
    found: pl.DataFrame
    searched: pl.DataFrame


def run_recovery(
    star_id: str,
    orbits: Sequence[Orbit],
    known_labels: pl.DataFrame,
    methods: Sequence[Method],
    settings: PlacedDraw | LawDraw,
    minutes: float = 0.0,
    light_curves: Sequence[str] = LIGHT_CURVES,
) -> Recovery:
    """Search one star with flares injected, as it was, and upside down.

    Parameters
    ----------
    minutes : length of the exposures in which the star is searched; its own where they are no shorter. The same flares
        are injected, and their signal-to-noise ratios are those of such an exposure.
    light_curves : those of `LIGHT_CURVES` that are searched.

    Raises
    ------
    DataError
        When a method's events lack a column, two methods have one name, or as `inject`.
    """
    if len({method.name for method in methods}) < len(methods):
        raise DataError(f"methods must have different names, not {', '.join(method.name for method in methods)}")
    injected = inject(star_id, orbits, known_labels, settings)
    labels, curves = injected.labels, [injected.orbits, list(orbits), flip(orbits)]
    if any(exposures_in(minutes, orbit) > 1 for orbit in orbits):
        curves = [[bin_orbit(orbit, exposures_in(minutes, orbit)) for orbit in curve] for curve in curves]
        labels = relabel(labels, curves[1])
    named = dict(zip(LIGHT_CURVES, curves, strict=True))
    found = [pl.DataFrame(schema=_FOUND)]
    for method, name in product(methods, light_curves):
        events = method.find(named[name])
        if missing := [column for column in ("tstart", "tstop", "tpeak", "p") if column not in events.columns]:
            raise DataError(f"method {method.name}: its events have no column '{missing[0]}'")
        own = {"star_id": star_id, "method": method.name, "light_curve": name}
        found.append(events.with_columns(pl.lit(value).alias(column) for column, value in own.items()))
    days = searched_days(curves[1])
    searched = [(star_id, method.name, name, days) for method, name in product(methods, light_curves)]
    return Recovery(
        labels,
        pl.concat(found, how="diagonal_relaxed"),
        pl.DataFrame(searched, schema=_SEARCHED, orient="row"),
    )


def join_recoveries(parts: Iterable[Recovery]) -> Recovery:
    """The recoveries of several stars as one."""
    empty = Recovery(*(pl.DataFrame(schema=schema) for schema in (LABELS, _FOUND, _SEARCHED)))
    tables = zip(*[empty, *parts], strict=True)
    return Recovery(*(pl.concat(table, how="diagonal_relaxed") for table in tables))


def judge(recovery: Recovery, tolerance_minutes: float = TOLERANCE_MINUTES) -> pl.DataFrame:
    """Every injected flare that could be seen, with what each method made of it.

    Returns
    -------
    DataFrame, a row per method and flare with a `peak_snr`: LABELS with `method`; `recovered`; `already`, whether an
    event fitted the place before; `n_events` that fit; of the one whose peak is nearest, `p`, and `measured_amplitude`,
    `measured_equivalent_duration_s`, `measured_fwhm_minutes` where events have these columns. All three are null for a
    flare that is not recovered.
    """
    seen = recovery.injected.filter(pl.col("peak_snr").is_not_null())
    flares = seen.partition_by("star_id", as_dict=True, maintain_order=True)
    found = recovery.found.partition_by("star_id", "method", "light_curve", as_dict=True, maintain_order=True)
    measured = [column for column in COMPARED if column in recovery.found.columns]
    nothing = recovery.found.clear()
    judged = []
    for star_id, method in recovery.searched.select("star_id", "method").unique(maintain_order=True).iter_rows():
        own = flares.get((star_id,))
        if own is None:
            continue
        after, before = (found.get((star_id, method, name), nothing) for name in WITH_AND_WITHOUT)
        fits, nearest = _fits(own, after, tolerance_minutes)
        already = _fits(own, before, tolerance_minutes)[0].any(axis=1)
        recovered = fits.any(axis=1) & ~already
        event = pl.Series(np.where(recovered, nearest, -1)).replace(-1, None)
        judged.append(
            own.with_columns(
                method=pl.lit(method),
                recovered=pl.Series(recovered),
                already=pl.Series(already),
                n_events=fits.sum(axis=1),
                p=after["p"].gather(event),
                **{f"measured_{column}": after[column].cast(pl.Float64).gather(event) for column in measured},
            )
        )
    if not judged:
        flags = {"method": pl.String, "recovered": pl.Boolean, "already": pl.Boolean, "n_events": pl.Int64}
        floats = dict.fromkeys(("p", *(f"measured_{column}" for column in measured)), pl.Float64)
        return pl.DataFrame(schema={**LABELS, **flags, **floats})
    return pl.concat(judged)


def recovery_table(
    judged: pl.DataFrame, bins: Mapping[str, Sequence[float]] | None = None, level: float = 0.95
) -> pl.DataFrame:
    """The recovered share of flares in cells, with Wilson intervals.

    Flares of one star share its noise, so that intervals of few stars are too narrow.

    Parameters
    ----------
    judged : as `judge` returns it, or joined with further columns such as an energy.
    bins : edges for each column that divides the flares, a lower edge belonging to its bin; by default `SNR_BINS` of
        `peak_snr`. What lies outside is left out.

    Returns
    -------
    DataFrame, a row for each method and cell, empty ones too: `method`, `<column>_low` and `<column>_high` for each
    column, `n`, `n_recovered`, `fraction` (null of none), `low` and `high` (0 and 1 of none).

    Raises
    ------
    DataError
        When a column is missing.
    """
    rows = []
    for method, cell, part in _cells(judged, bins or {"peak_snr": SNR_BINS}):
        rows.append({**method, **cell, "n": len(part), "n_recovered": int(part["recovered"].sum())})
    table = pl.DataFrame(rows, infer_schema_length=None)
    if table.is_empty():
        return table
    n, k = (table[name].to_numpy() for name in ("n", "n_recovered"))
    low, high = wilson_interval(k, n, level)
    return table.with_columns(
        pl.when(pl.col("n") > 0).then(pl.col("n_recovered") / pl.col("n")).alias("fraction"), low=low, high=high
    )


def bias_table(judged: pl.DataFrame, bins: Mapping[str, Sequence[float]] | None = None) -> pl.DataFrame:
    """What was measured over what is true, of recovered flares in cells as in `recovery_table`.

    Returns
    -------
    DataFrame, a row for each method, cell and `quantity` that was measured: `n`, `ratio`, the median of measured over
    true, `ratio_low` and `ratio_high`, the 16th and 84th percentile; null of none.
    """
    rows = []
    for method, cell, part in _cells(judged.filter("recovered"), bins or {"peak_snr": SNR_BINS}):
        for quantity in COMPARED:
            if f"measured_{quantity}" not in judged.columns:
                continue
            ratio = (part[f"measured_{quantity}"] / part[quantity]).to_numpy()
            ratio = ratio[np.isfinite(ratio)]
            low, middle, high = np.percentile(ratio, [16, 50, 84]).tolist() if len(ratio) else [None] * 3
            spread = {"ratio": middle, "ratio_low": low, "ratio_high": high}
            rows.append({**method, **cell, "quantity": quantity, "n": len(ratio), **spread})
    return pl.DataFrame(rows, infer_schema_length=None)


def false_positives(
    recovery: Recovery,
    known: pl.DataFrame,
    level: float = 0.95,
    tolerance_minutes: float = TOLERANCE_MINUTES,
) -> pl.DataFrame:
    """How often each method finds what is not there, with Garwood's intervals.

    Parameters
    ----------
    known : LABELS of any stars; an event that fits one of its star's, or whose peak lies in the interval of one, counts
        only in the light curve that is upside down.

    Returns
    -------
    DataFrame `method`, `light_curve` ("uninjected", "flipped"), `n`, `days`, `per_day`, `low`, `high`.
    """
    found = recovery.found.filter(pl.col("light_curve") != "injected").with_row_index("row")
    real: list[int] = []
    for (star_id,), events in found.filter(light_curve="uninjected").group_by("star_id", maintain_order=True):
        flares = known.filter(pl.col("star_id") == star_id)
        peak = events["tpeak"].to_numpy()
        start, stop = (flares[name].cast(pl.Float64).to_numpy()[:, None] for name in ("tstart", "tstop"))
        fits = _fits(flares, events, tolerance_minutes)[0] | ((start <= peak) & (peak <= stop))
        real += events["row"].to_numpy()[fits.any(axis=0)].tolist()
    counts = found.filter(~pl.col("row").is_in(real)).group_by("method", "light_curve").len("n")
    searched = recovery.searched.filter(pl.col("light_curve") != "injected")
    table = (
        searched.group_by("method", "light_curve", maintain_order=True)
        .agg(pl.col("days").sum())
        .join(counts, on=["method", "light_curve"], how="left", maintain_order="left")
        .select("method", "light_curve", pl.col("n").fill_null(0).cast(pl.Int64), "days")
    )
    low, high = poisson_interval(table["n"].to_numpy(), level)
    days = table["days"].to_numpy()
    return table.with_columns(per_day=pl.col("n") / pl.col("days"), low=low / days, high=high / days)


def _fits(flares: pl.DataFrame, events: pl.DataFrame, minutes: float) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of k events fit which of n flares, shape (n, k), and of those that do, the nearest, shape (n,)."""
    tpeak = flares["tpeak"].cast(pl.Float64).to_numpy()[:, None]
    start, stop, peak = (events[name].cast(pl.Float64).to_numpy() for name in ("tstart", "tstop", "tpeak"))
    away = np.abs(peak - tpeak)
    # lest the rounding of times decide
    fits = ((start <= tpeak) & (tpeak <= stop)) | (away <= minutes / 1440.0 + 1e-14 * np.abs(tpeak))
    if not len(events):
        return fits, np.full(len(flares), -1)
    return fits, np.argmin(np.where(fits & np.isfinite(away), away, np.inf), axis=1)


def _cells(
    judged: pl.DataFrame, bins: Mapping[str, Sequence[float]]
) -> Iterable[tuple[dict[str, str], dict[str, float], pl.DataFrame]]:
    """Each method and cell, and the flares in it."""
    for column in bins:
        if column not in judged.columns:
            raise DataError(f"the flares have no column '{column}'; they have {', '.join(judged.columns)}")
    spans = [list(pairwise(edges)) for edges in bins.values()]
    for method in judged["method"].unique(maintain_order=True):
        own = judged.filter(method=method)
        for cell in product(*spans):
            inside: list[pl.Expr] = []
            edges: dict[str, float] = {}
            for name, (low, high) in zip(bins, cell, strict=True):
                inside.append((pl.col(name) >= low) & (pl.col(name) < high))
                edges |= {f"{name}_low": float(low), f"{name}_high": float(high)}
            yield {"method": method}, edges, own.filter(inside)
