"""One star as the flare network sees it: the probability of every cadence, and the flares that were fitted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from varistar.figures.star import star_figure
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError
from varistar.lightcurves.readers import find_sources
from varistar.lightcurves.table import LightCurves
from varistar.physics.flares import Flares, flare_flux

from .finder import FlareFinder
from .measure import MeasureSettings, measure_events
from .orbits import Array, Orbit
from .stars import orbits_of
from .trend import mask_events, orbit_trend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINUTES = 1440.0


def show_star(
    star_id: str,
    inputs: Sequence[Path],
    model: Path,
    accelerator: Accelerator = "auto",
    settings: MeasureSettings | None = None,
) -> "Figure":
    """The figure of one star; see `star_figure`.

    Raises
    ------
    DataError
        When no input holds the star, or it has no orbit that can be searched.
    RegistryError
        When the model is damaged, or finds no flares.
    """
    settings = settings or MeasureSettings()
    finder = FlareFinder.of_folder(model, accelerator)
    light_curves = find_star(star_id, inputs)
    ((_, orbits),) = orbits_of(light_curves, finder.orbits)
    orbits = finder.prepare(orbits)
    if not orbits:
        raise DataError(
            f"star '{star_id}' has no orbit with {finder.orbits.min_cadences} good cadences and light, of a cadence"
            f" that the network knows, {max(finder.rules):g} minutes at most"
        )
    scores = finder.scores(orbits)
    events = measure_events(finder.find(star_id, orbits, scores), orbits, None, settings)
    parts = [
        _cadences(number, orbit, score, events, settings)
        for number, (orbit, score) in enumerate(zip(orbits, scores, strict=True))
    ]
    return star_figure(pl.concat(parts), events, star_id, light_curves.time_system)


def find_star(star_id: str, inputs: Sequence[Path]) -> LightCurves:
    """The light curve of one star, from the first input that holds it; files that cannot be read are passed over.

    Raises
    ------
    DataError
        When none does; the first file's reason where none can be read.
    """
    sources, unread = find_sources(inputs), []
    for source in sources:
        try:
            light_curves = source.read()
        except DataError as error:
            unread.append(error)
            continue
        if star_id in light_curves.star_id:
            return light_curves.star(light_curves.star_id.index(star_id))
    if unread and len(unread) == len(sources):
        raise unread[0]
    raise DataError(f"none of {', '.join(map(str, inputs))} holds a star '{star_id}'")


def _cadences(number: int, orbit: Orbit, score: Array, events: pl.DataFrame, settings: MeasureSettings) -> pl.DataFrame:
    """The good cadences of an orbit: `orbit`, `time`, `flux`, `p`, and `model`, the light beneath with the highest
    flare of each event on it."""
    own = events.filter(pl.col("orbit") == number)
    masked = mask_events(len(orbit), own["first"].to_numpy(), own["last"].to_numpy(), settings.trend)
    fitted = own.drop_nulls(["amplitude", "fwhm_minutes"])
    flares = Flares(
        fitted["tpeak"].to_numpy(),
        fitted["amplitude"].to_numpy(),
        fitted["fwhm_minutes"].to_numpy() / MINUTES,
        np.arange(len(fitted)),
    )
    beneath = orbit_trend(orbit, masked, settings.trend).values
    model = beneath + flare_flux(flares, orbit.time, orbit.cadence)
    columns = {"time": orbit.time, "flux": orbit.flux, "p": score, "model": model}
    return pl.DataFrame(columns).filter(pl.Series(orbit.good)).select(pl.lit(number).alias("orbit"), pl.all())
