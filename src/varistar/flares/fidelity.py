"""How true are the measures? What was measured of flares beside what is true of them, by their signal-to-noise ratio.

An event is held against all flares that peak inside it, or at most six minutes outside and in no other event: their
equivalent durations together, since those are what one event can tell of, and peak time, height and width of the
highest. It counts as overlapping when the others add more than a tenth of the light of the largest, or when its stretch
of the light curve is cut short by a neighbour's.

A bias is measured over true; a pull is the difference in units of the error that was stated, so that honest errors
have pulls of width one. Flares near the threshold are found when noise raises them: `at_peaks` makes events of all
flares, found or not, by which that can be told from a bias of the measurement.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from varistar.bulk.engine import Engine, run_all
from varistar.foundation.accelerator import Accelerator

from .draws import GridDraw
from .events import EVENTS, events_of_runs
from .finder import FlareFinder
from .inject import inject
from .known import KnownStar
from .measure import OVERLAPS_NEXT, OVERLAPS_PREVIOUS, MeasureSettings, measure_events
from .measured import CHUNK
from .orbits import Array, Orbit

#: What is compared, and the error that is stated with it.
QUANTITIES = {
    "tpeak": "tpeak_err",
    "amplitude": "amplitude_err",
    "fwhm_minutes": "fwhm_err_minutes",
    "equivalent_duration_s": "equivalent_duration_err_s",
}
#: Edges of the bins in the true signal-to-noise ratio of the highest flare's highest cadence; errors are asked to be
#: honest from `PLAIN` on.
SNR_EDGES = (3.0, 5.0, 7.0, 10.0, 15.0, 30.0, np.inf)
PLAIN = 5.0
TOLERANCE_MINUTES = 6.0
#: Pulls that a width needs.
FEWEST = 5
#: Light of the other flares, in units of the largest's, above which an event counts as overlapping.
OVERLAP = 0.1
#: What is injected, beside the stars' own flares, into stars whose flares are known.
INJECTED = GridDraw(peak_snrs=(3.0, 5.0, 7.0, 10.0, 15.0, 30.0, 100.0), fwhm_minutes=(2.0, 4.0, 8.0, 16.0))


def beside_truth(measured: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Measured events beside the flares that are in them.

    Parameters
    ----------
    measured : EVENTS with the columns `MEASURED`, of any number of stars.
    labels : LABELS; all flares, however faint, since their light is in the events too.

    Returns
    -------
    DataFrame, a row for each event that was fitted and has a flare: `star_id`, `quality`, `snr` (true, of the highest
    flare; null where its peak was not observed), `n_flares`, `overlaps`, and of each of `QUANTITIES` what was measured,
    `true_<name>` and its stated error.
    """
    rows: list[dict[str, Any]] = []
    fitted = measured.drop_nulls("amplitude")
    for (star_id,), events in fitted.group_by(["star_id"], maintain_order=True):
        flares = labels.filter(pl.col("star_id") == star_id)
        owner = _owners(events, flares["tpeak"].to_numpy())
        for number, event in enumerate(events.iter_rows(named=True)):
            own = flares.filter(pl.Series(owner == number))
            if own.is_empty():
                continue
            highest = own.row(int(own["amplitude"].arg_max() or 0), named=True)
            light = own["equivalent_duration_s"].to_numpy()
            truth = {f"true_{name}": highest[name] for name in QUANTITIES}
            truth["true_equivalent_duration_s"] = float(light.sum())
            cut = event["quality"] & (OVERLAPS_PREVIOUS | OVERLAPS_NEXT)
            rows.append(
                {
                    "star_id": star_id,
                    "quality": event["quality"],
                    "snr": highest["peak_snr"],
                    "n_flares": len(own),
                    "overlaps": bool(cut) or bool(light.sum() > (1.0 + OVERLAP) * light.max()),
                    **{name: event[name] for both in QUANTITIES.items() for name in both},
                    **truth,
                }
            )
    numbers = [name for both in QUANTITIES.items() for name in both] + [f"true_{name}" for name in QUANTITIES]
    schema = {"star_id": pl.String, "quality": pl.Int32, "snr": pl.Float64, "n_flares": pl.Int64}
    return pl.DataFrame(rows, schema=schema | {"overlaps": pl.Boolean} | dict.fromkeys(numbers, pl.Float64))


def fidelity_table(beside: pl.DataFrame) -> pl.DataFrame:
    """Bias, scatter and honesty by signal-to-noise ratio.

    Parameters
    ----------
    beside : as `beside_truth` gives it.

    Returns
    -------
    DataFrame, a row for each of `events` ("single", "overlapping"), `quantity` and bin that has any: `snr_low`,
    `snr_high`; `n` that have the quantity; `bias`, the median of measured over true (of peak times, of the difference
    in minutes), with `low` and `high`, the 16th and 84th percentile; and of those `n_errors` with an error, the median
    `pull` and `pull_width`, half the way from the 16th to the 84th percentile, null of fewer than five. The last bin of
    each is all from `PLAIN` on.
    """
    rows = []
    for overlaps, events in ((False, "single"), (True, "overlapping")):
        kind = beside.filter(pl.col("overlaps") == overlaps)
        for quantity in QUANTITIES:
            known = kind.filter(pl.col(quantity).is_finite() & pl.col(f"true_{quantity}").is_finite())
            for low, high in [*pairwise(SNR_EDGES), (PLAIN, np.inf)]:
                part = known.filter((pl.col("snr") >= low) & (pl.col("snr") < high))
                if len(part):
                    row = {"events": events, "quantity": quantity, "snr_low": low, "snr_high": high}
                    rows.append(row | _fidelity(part, quantity))
    numbers = ("bias", "low", "high", "pull", "pull_width")
    schema: dict[str, type[pl.DataType]] = {"events": pl.String, "quantity": pl.String}
    schema |= {"snr_low": pl.Float64, "snr_high": pl.Float64, "n": pl.Int64, "n_errors": pl.Int64}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(numbers, pl.Float64))


def fidelity_report(beside: pl.DataFrame) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """`fidelity_table` as plain values: by events, quantity and bin."""
    report: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for row in fidelity_table(beside).iter_rows(named=True):
        low, high = row.pop("snr_low"), row.pop("snr_high")
        cell = f"{low:g}-{high:g}" if high < np.inf else "all >=5" if low == PLAIN else f">={low:g}"
        report.setdefault(row.pop("events"), {}).setdefault(row.pop("quantity"), {})[cell] = row
    return report


def bins_of(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a `fidelity_table` without those of all events together."""
    return table.filter((pl.col("snr_low") != PLAIN) | (pl.col("snr_high") < np.inf))


def at_peaks(star_id: str, orbits: Sequence[Orbit], labels: pl.DataFrame) -> pl.DataFrame:
    """EVENTS at flares of one star, as if all had been found: from `tstart` to `tstop`, what touches together.

    Flares without an interval, since their peak was not observed, have none.
    """
    spans = labels.drop_nulls(["tstart", "tstop"])
    runs = []
    for number, orbit in enumerate(orbits):
        inside = spans.filter(pl.col("tpeak").is_between(orbit.time[0], orbit.time[-1]))
        covered = np.zeros(len(orbit) + 2, dtype=np.int8)
        for start, stop in inside.select("tstart", "tstop").iter_rows():
            first, last = np.searchsorted(orbit.time, (start - 0.5 * orbit.cadence, stop + 0.5 * orbit.cadence))
            covered[first + 1 : max(last, first + 1) + 1] = 1
        steps = np.diff(covered)
        for first, stop in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            flux = orbit.flux[first:stop]
            if np.isfinite(flux).any():
                runs.append((number, int(first), int(stop) - 1, int(first + np.nanargmax(flux))))
    return events_of_runs(orbits, runs, star_id).select(EVENTS.keys())


def measure_known(
    content: Path,
    known: Sequence[KnownStar],
    events: pl.DataFrame,
    settings: MeasureSettings,
    draw: GridDraw = INJECTED,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> dict[str, pl.DataFrame]:
    """What is measured of flares that are known, as `beside_truth`.

    Parameters
    ----------
    content : folder of the calibrated model, which looks for the injected flares.
    known : stars with a light curve.
    events : what it found of the stars' `own` flares already, EVENTS.
    settings : how they are measured.

    Returns
    -------
    of the stars' "own" flares, and of flares "injected" into the same stars; and of all those at their "peaks", found
    or not.
    """
    chunks = [tuple(known[first : first + CHUNK]) for first in range(0, len(known), CHUNK)]
    items = []
    for chunk in chunks:
        names = [star.star_id for star in chunk]
        items.append(_Piece(content, chunk, events.filter(pl.col("star_id").is_in(names)), settings, draw, accelerator))
    done = run_all(_measure_chunk, items, engine, "measures", lambda item: f"star {item.stars[0].star_id}")
    found = {item.stars[0].star_id: tables for item, tables in done}
    return {
        name: pl.concat([found[chunk[0].star_id][place] for chunk in chunks])
        for place, name in enumerate(("own", "injected", "peaks"))
    }


class _Piece(NamedTuple):
    content: Path
    stars: tuple[KnownStar, ...]
    events: pl.DataFrame
    settings: MeasureSettings
    draw: GridDraw
    accelerator: Accelerator


def _measure_chunk(piece: _Piece) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    torch.set_num_threads(1)
    finder = FlareFinder.of_folder(piece.content, piece.accelerator)
    settings = piece.settings
    own: list[pl.DataFrame] = []
    injected: list[pl.DataFrame] = []
    peaks: list[pl.DataFrame] = []
    for star in piece.stars:
        events = piece.events.filter(pl.col("star_id") == star.star_id)
        own.append(beside_truth(measure_events(events, star.orbits, None, settings), star.labels))
        orbits, labels = inject(star.star_id, star.orbits, star.labels, piece.draw)
        every = pl.concat([labels, star.labels])
        for events, tables in (
            (finder.find(star.star_id, orbits), injected),
            (at_peaks(star.star_id, orbits, labels), peaks),
        ):
            among = beside_truth(measure_events(events, orbits, None, settings), every)
            # the star's own flares are told of already
            tables.append(among.filter(pl.col("true_tpeak").is_in(labels["tpeak"].implode())))
    return pl.concat(own), pl.concat(injected), pl.concat(peaks)


def _owners(events: pl.DataFrame, tpeak: Array) -> NDArray[np.int64]:
    """The row of the event to which each flare belongs, shape (n,); -1 for none."""
    start, stop = (events[name].to_numpy() for name in ("tstart", "tstop"))
    away = 1440.0 * np.maximum(np.maximum(start - tpeak[:, None], tpeak[:, None] - stop), 0.0)
    nearest = np.argmin(away, axis=1)
    return np.where(away[np.arange(len(tpeak)), nearest] <= TOLERANCE_MINUTES, nearest, -1)


def _fidelity(part: pl.DataFrame, quantity: str) -> dict[str, Any]:
    measured, true, error = (part[name].to_numpy() for name in (quantity, f"true_{quantity}", QUANTITIES[quantity]))
    bias = 1440.0 * (measured - true) if quantity == "tpeak" else measured / true
    known = np.isfinite(error) & (error > 0.0)
    pulls = ((measured - true) / np.where(known, error, 1.0))[known]
    return {
        "n": len(part),
        "n_errors": int(known.sum()),
        **dict(zip(("low", "bias", "high"), _percentiles(bias), strict=True)),
        **_pull(pulls),
    }


def _pull(pulls: Array) -> dict[str, float | None]:
    low, middle, high = _percentiles(pulls)
    wide = None if low is None or high is None or len(pulls) < FEWEST else 0.5 * (high - low)
    return {"pull": middle, "pull_width": wide}


def _percentiles(values: Array) -> Iterable[float | None]:
    return [None] * 3 if not len(values) else np.percentile(values, [16, 50, 84]).tolist()
