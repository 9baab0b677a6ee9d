"""One star of a flare catalog: its flares found and measured, how much was searched, and how it rotates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq

from varistar.flares.finder import FlareFinder
from varistar.flares.frequency import poisson_interval
from varistar.flares.inject import searched_days
from varistar.flares.measure import MeasureSettings, Star, measure_events
from varistar.flares.orbits import Array, Orbit
from varistar.flares.phase import PhaseSettings, count_exposure, phase_at, spot_phase
from varistar.flares.rotation import RotationSettings, combine_sectors, measure_sectors, sector_of_orbits
from varistar.flares.trend import flux_noise, mask_events
from varistar.foundation.settings import Settings
from varistar.lightcurves.table import LightCurves
from varistar.physics.flares import DAY_SECONDS, SHAPE_AREA, WIDTH_LAW

from .flare_columns import FLARES, PHASE_BINS, PHASES, SECTORS, STARS, schema_of

MINUTES = 1440.0
#: Equivalent durations [s] between which half completeness is looked for.
DURATIONS = (1e-2, 1e6)


class FlareCatalogSettings(Settings):
    """How flares, rotation and its phases are measured."""

    measure: MeasureSettings = MeasureSettings()
    rotation: RotationSettings = RotationSettings()
    phase: PhaseSettings = PhaseSettings()


#: The chance to find a flare of an equivalent duration [s], of a star with this noise and cadence [d]; None where it is
#: not known.
Chance = Callable[[float, float], Callable[[Array], Array] | None]


@dataclass(frozen=True)
class StarTables:
    """One star's rows of the tables of a flare catalog, without `model`: `FLARES`, `STARS`, `SECTORS` and `PHASES`."""

    flares: pl.DataFrame
    star: pl.DataFrame
    sectors: pl.DataFrame
    phases: pl.DataFrame


def searchable(orbits: Sequence[Orbit], finder: FlareFinder) -> tuple[list[Orbit], str | None]:
    """The orbits of a star that are searched (`FlareFinder.prepare`), and why there is none, or None."""
    prepared = finder.prepare(orbits)
    if prepared:
        return prepared, None
    cadence = MINUTES * orbits[0].cadence if orbits else 0.0
    if cadence > max(finder.rules):
        known = " to ".join(f"{minutes:g}" for minutes in sorted({min(finder.rules), max(finder.rules)}))
        return [], f"a cadence of {cadence:.3g} minutes, where the network knows {known}"
    return [], f"no orbit has {finder.orbits.min_cadences} good cadences and light"


def catalog_star(
    star_id: str,
    light_curve: LightCurves,
    orbits: Sequence[Orbit],
    finder: FlareFinder,
    known: dict[str, float | None],
    chance: Chance | None,
    settings: FlareCatalogSettings,
) -> StarTables:
    """Find and measure the flares of one star.

    Parameters
    ----------
    orbits : `searchable` ones.
    known : `tmag`, `teff` [K] and `radius` [Sun] where they are known; energies need the last two.
    chance : of flares to be found; None where that was not measured.
    """
    scores = finder.scores(orbits)
    searched = [orbit.good & np.isfinite(score) for orbit, score in zip(orbits, scores, strict=True)]
    events = finder.find(star_id, orbits, scores)
    flares = measure_events(events, orbits, _star(known), settings.measure)
    flaring = [_masked(events, number, orbit, settings.measure) for number, orbit in enumerate(orbits)]
    sectors = measure_sectors(star_id, orbits, flaring, settings.rotation)
    rotation = _rotation(sectors, settings.rotation)
    phases = [np.full(len(orbit), np.nan) for orbit in orbits]
    if rotation["rotation_accepted"]:
        period = float(rotation["rotation_days"])  # type: ignore[arg-type]
        phases = [spot_phase(orbit, mask, period, settings.phase) for orbit, mask in zip(orbits, flaring, strict=True)]
    flares = flares.with_columns(phase=pl.Series(phase_at(flares["tpeak"].to_numpy(), orbits, phases))).with_columns(
        pl.col("phase").fill_nan(None), time_system=pl.lit(light_curve.time_system), model=pl.lit("")
    )
    star = {
        "star_id": star_id,
        **known,
        "n_orbits": len(orbits),
        "n_sectors": max(sector_of_orbits(orbits)),
        **_search(orbits, searched, flares),
        **_sensitivity(orbits, chance),
        **rotation,
        "time_system": light_curve.time_system,
        "model": "",
    }
    return StarTables(
        flares.select(pl.col(name).cast(column.dtype) for name, column in FLARES.items()),
        pl.DataFrame([star], schema=schema_of(STARS)),
        sectors.select(pl.col(name).cast(column.dtype) for name, column in SECTORS.items()),
        _exposure(star_id, orbits, phases, searched),
    )


def _star(known: dict[str, float | None]) -> Star | None:
    teff, radius = known.get("teff"), known.get("radius")
    return None if not teff or not radius else Star(teff, radius)


def _masked(events: pl.DataFrame, number: int, orbit: Orbit, settings: MeasureSettings) -> NDArray[np.bool_]:
    """Cadences of an orbit that events and their tails brighten, shape (m,)."""
    own = events.filter(pl.col("orbit") == number)
    return mask_events(len(orbit), own["first"].to_numpy(), own["last"].to_numpy(), settings.trend)


def _rotation(sectors: pl.DataFrame, settings: RotationSettings) -> dict[str, object]:
    """The columns of a star about its rotation."""
    star = combine_sectors(sectors, settings).row(0, named=True)
    strongest = sectors.sort("power", descending=True, nulls_last=True).row(0, named=True)
    return {
        "rotation_days": star["period_days"],
        "rotation_accepted": star["accepted"],
        "rotation_sectors": star["n_sectors_agreeing"],
        "rotation_doubts": strongest["flags"],
        "rotation_reason": star["reason"],
    }


def _search(orbits: Sequence[Orbit], searched: Sequence[NDArray[np.bool_]], flares: pl.DataFrame) -> dict[str, object]:
    """How much was searched and how much found."""
    days = sum(float(mask.sum()) * orbit.cadence for mask, orbit in zip(searched, orbits, strict=True))
    p = flares["p"].to_numpy()
    n = float(p.sum())
    low, high = poisson_interval(n)
    sized = flares.drop_nulls("amplitude")
    weight = float(sized["p"].sum())
    known: dict[str, object] = {
        "searched_days": days,
        "n_events": len(p),
        "n_flares": n,
        "mean_amplitude": float((sized["p"] * sized["amplitude"]).sum()) / weight if weight else None,
        "largest_amplitude": sized.filter(pl.col("p") >= 0.5)["amplitude"].max(),
    }
    if not days:
        return known
    return {**known, "rate_per_day": n / days, "rate_low": float(low) / days, "rate_high": float(high) / days}


def _sensitivity(orbits: Sequence[Orbit], chance: Chance | None) -> dict[str, float | None]:
    """Noise, cadence, and the flares of which half are found, of the cadence that was searched longest."""
    days: dict[int, float] = {}
    for orbit in orbits:
        days[_seconds(orbit)] = days.get(_seconds(orbit), 0.0) + searched_days([orbit])
    most = [orbit for orbit in orbits if _seconds(orbit) == max(days, key=lambda seconds: days[seconds])]
    noise = float(np.median(np.concatenate([flux_noise(orbit)[orbit.good] for orbit in most])))
    cadence = most[0].cadence
    answer: dict[str, float | None] = {"noise": noise, "cadence_minutes": MINUTES * cadence}
    of_star = None if chance is None else chance(noise, cadence)
    half = None if of_star is None else half_found(of_star)
    if half is None:
        return answer
    fwhm = 10.0 ** (WIDTH_LAW[0] + WIDTH_LAW[1] * np.log10(half)) / MINUTES
    return answer | {
        "equivalent_duration_50_s": half,
        "amplitude_50": float(half / (SHAPE_AREA * fwhm * DAY_SECONDS)),
    }


def _seconds(orbit: Orbit) -> int:
    """Its cadence, which differs a little from sector to sector."""
    return round(DAY_SECONDS * orbit.cadence)


def half_found(chance: Callable[[Array], Array]) -> float | None:
    """The equivalent duration [s] at which half the flares are found; None where no size has that chance."""

    def above(log: float) -> float:
        return float(chance(np.array([10.0**log]))[0]) - 0.5

    low, high = np.log10(DURATIONS)
    if not above(low) < 0.0 < above(high):
        return None
    return float(10.0 ** brentq(above, low, high, xtol=1e-4))


def _exposure(
    star_id: str, orbits: Sequence[Orbit], phases: Sequence[Array], searched: Sequence[NDArray[np.bool_]]
) -> pl.DataFrame:
    """Days searched by phase, without rows where the phases are unknown."""
    days = np.zeros(PHASE_BINS)
    for orbit, phase, mask in zip(orbits, phases, searched, strict=True):
        days += orbit.cadence * count_exposure([phase], [mask], PHASE_BINS)
    if not days.any():
        return pl.DataFrame(schema=schema_of(PHASES))
    edges = np.linspace(-0.5, 0.5, PHASE_BINS + 1)
    columns = {"phase_low": edges[:-1], "phase_high": edges[1:], "searched_days": days}
    return pl.DataFrame(columns).select(pl.lit(star_id).alias("star_id"), *columns)
