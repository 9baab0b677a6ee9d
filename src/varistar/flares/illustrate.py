"""The figures of one variant: what it learned, how honest it is, and what it says of light curves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.figures.flares import (
    EXAMPLES,
    amplitude_figure,
    confusion_figure,
    curves_figure,
    history_figure,
    light_curve_figure,
    measures_figure,
    reliability_figure,
)
from varistar.physics.flares import Flares, flare_flux

from .fidelity import bins_of, fidelity_table
from .known import KnownStar
from .matching import Matched, reliability
from .measure import MeasureSettings, measure_events
from .measured import Searched
from .orbits import Array, Orbit
from .trend import mask_events, orbit_trend
from .verdict import possible_events
from .windows import WindowSettings, cut_windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A search is drawn on the star whose found flares are nearest to this number: enough to look at, few enough to see.
SHOWN = 12


def draw_variant(
    name: str,
    searched: Searched,
    known: Sequence[KnownStar],
    matched: Matched,
    windows: pl.DataFrame,
    settings: WindowSettings,
    history: pl.DataFrame,
    measures: pl.DataFrame | None,
) -> "dict[str, Figure]":
    """All figures of a variant; those that need flares and others are left out where the test has only one kind.

    Parameters
    ----------
    known : the stars that were searched, in their order.
    matched : the events that are served.
    windows : INDEX with `p`, drawn by `settings`.
    history : of the training.
    measures : of injected flares, what was measured beside what is true (`fidelity.beside_truth`).
    """
    figures = {"history": history_figure(history, name)}
    is_flare, p = windows["label"].to_numpy() == 1, windows["p"].to_numpy()
    possible = possible_events(searched)
    if is_flare.any() and not is_flare.all():
        figures["curves"] = curves_figure({"windows of test stars": (is_flare, p)}, name)
        figures["confusion"] = _confusion(name, windows, settings, known)
        flares = windows.filter(pl.col("label") == 1)
        figures["amplitude"] = amplitude_figure(flares["amplitude"].to_numpy(), flares["p"].to_numpy(), None, name)
    asked = {"windows": (is_flare, p), "events": (possible["real"].to_numpy(), possible["p"].to_numpy())}
    tables = {what: reliability(*pair)[0] for what, pair in asked.items() if len(pair[1])}
    if tables:
        figures["reliability"] = reliability_figure(tables, name)
    if measures is not None and len(measures):
        table = bins_of(fidelity_table(measures))
        title = f"{name}: flares injected into test stars, measured against true"
        figures["measures"] = measures_figure(measures, table, title)
    figures["light_curve"] = _light_curve(name, searched, known, matched)
    return figures


def _confusion(name: str, windows: pl.DataFrame, settings: WindowSettings, known: Sequence[KnownStar]) -> "Figure":
    stars = {star.star_id: star.orbits for star in known}
    counts: dict[tuple[bool, bool], int] = {}
    examples: dict[tuple[bool, bool], list[tuple[NDArray, float]]] = {}
    for is_flare in (True, False):
        for called in (True, False):
            kind = windows.filter((pl.col("label") == int(is_flare)) & ((pl.col("p") > 0.5) == called))
            counts[is_flare, called] = kind.height
            # evenly among all of the kind, from the likeliest to the least likely
            places = np.unique(np.linspace(0, max(kind.height - 1, 0), EXAMPLES).astype(np.int64))[: kind.height]
            some = kind.sort("p", "star_id", "centre", descending=[True, False, False])[places]
            examples[is_flare, called] = list(zip(cut_windows(some, stars, settings), some["p"], strict=True))
    return confusion_figure(counts, examples, f"{name}: windows of test stars")


def _light_curve(name: str, searched: Searched, known: Sequence[KnownStar], matched: Matched) -> "Figure":
    hits = matched.events.filter("hit").group_by("star_id").len("hits")
    each = searched.days.join(hits, on="star_id", how="left").with_columns(pl.col("hits").fill_null(0))
    place = int((each["hits"].cast(pl.Int64) - SHOWN).abs().arg_min() or 0)
    star = known[place]
    events = matched.events.filter(pl.col("star_id") == star.star_id)
    measured = measure_events(events, star.orbits, None, MeasureSettings())
    stretches = []
    for number, (orbit, p) in enumerate(zip(star.orbits, searched.scores[place], strict=True)):
        model = fitted_model(orbit, measured.filter(pl.col("orbit") == number))
        stretches.append({"time": orbit.time, "flux": orbit.flux, "p": p, "model": model})
    labels = matched.labels.filter((pl.col("star_id") == star.star_id) & pl.col("counts"))
    return light_curve_figure(stretches, measured, labels, f"{name}: test star {star.star_id}")


def fitted_model(orbit: Orbit, measured: pl.DataFrame) -> Array:
    """The light beneath, and the highest flare of each event upon it, shape (m,); NaN where there is nothing found.

    Parameters
    ----------
    measured : the orbit's events with `first`, `last` and, null where there was no fit, `tpeak`, `amplitude` and
        `fwhm_minutes`.
    """
    fitted = measured.drop_nulls(["amplitude", "fwhm_minutes"])
    if fitted.is_empty():
        return np.full(len(orbit), np.nan)
    flares = Flares(
        fitted["tpeak"].to_numpy(),
        fitted["amplitude"].to_numpy(),
        fitted["fwhm_minutes"].to_numpy() / 1440.0,
        np.zeros(fitted.height, dtype=np.int64),
    )
    first, last = (measured[name].to_numpy().astype(np.int64) for name in ("first", "last"))
    settings = MeasureSettings().trend
    light = flare_flux(flares, orbit.time, orbit.cadence)
    beneath = orbit_trend(
        replace(orbit, flux=orbit.flux - light), mask_events(len(orbit), first, last, settings), settings
    )
    return np.where(_around(len(orbit), first, last), beneath.values + light, np.nan)


def _around(m: int, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Cadences at most two lengths of an event from it, and 15 more."""
    near = np.zeros(m, dtype=bool)
    for begin, end in zip(first, last, strict=True):
        reach = 15 + 2 * (end - begin + 1)
        near[max(begin - reach, 0) : end + reach + 1] = True
    return near
