"""The simulated sky from space: two-minute light curves as TESS's pipeline delivers them, with every flare known.

A star's light is that of its spots, pulsation, companion or planet, in units of its median, and its flares are added in
the same unit. It is seen for one sector, or for two, through `sectors`. As in the pipeline's files, cadences without
flux stay as missing values with their quality bits, and those of the downlink, which have no time, come last.

What was measured (`light_curves`), what a catalog says (`stars`) and what is true (`truth`, `flares`) are four tables.
Star `index` is the same whichever others are simulated, in any order and by any number of workers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.assemble import assemble
from varistar.lightcurves.table import COLUMNS, LightCurves, concatenate
from varistar.physics.flares import DAY_SECONDS, Flares, draw_flares, flare_energy, flare_flux, join_flares

from .ephemeris import Array
from .ground import CATALOG_DIGITS
from .sectors import (
    CADENCE,
    EARTH_POINT,
    IMPULSE,
    LAST_SECTOR,
    SectorTimes,
    observe_sector,
    round_flux,
    sector_times,
)
from .starlight import star_light
from .streams import stream
from .targets import Target, draw_target

SURVEY = "simulated-tess"
STARS: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    "catalog_source": pl.String,
    **dict.fromkeys(CATALOG_DIGITS, pl.Float64),
}
_NUMBERS = (
    *("tmag", "teff", "radius", "luminosity", "age_myr", "rotation_days", "shown_period_days", "period_days"),
    *("inclination", "amplitude", "depth", "flares_per_day", "flare_alpha"),
)
TRUTH: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("star_id", "kind", "subtype"), pl.String),
    "sectors": pl.List(pl.Int32),
    **dict.fromkeys(_NUMBERS, pl.Float64),
    "n_flares": pl.Int32,
}
_FLARE_NUMBERS = ("tpeak", "amplitude", "fwhm_minutes", "equivalent_duration_s", "energy_erg", "peak_snr")
FLARES: dict[str, type[pl.DataType]] = {
    "star_id": pl.String,
    "outburst": pl.Int32,
    **dict.fromkeys(_FLARE_NUMBERS, pl.Float64),
    "observed": pl.Boolean,
}


class TargetShares(Settings):
    """How the targets divide into kinds, as weights."""

    flaring: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.40
    quiet: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.25
    planet_host: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.12
    eclipsing: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.11
    pulsating: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.12


class SectorSettings(Settings):
    """A simulated space survey.

    Attributes
    ----------
    sectors : the sectors observed, ascending; each star is in one of them.
    second_sector : chance that a star is in the next of them too.
    flare_bounds : smallest and largest equivalent duration of a flare [s].
    steps_per_error : fluxes are rounded to steps, at least so many to an error.
    """

    seed: Annotated[int, Field(ge=0)] = 88
    n_stars: Annotated[int, Field(ge=0)] = 100
    sectors: tuple[int, ...] = (14, 15)
    second_sector: Annotated[float, Field(ge=0, le=1)] = 0.3
    shares: TargetShares = TargetShares()
    flare_bounds: tuple[float, float] = (0.5, 30000.0)
    steps_per_error: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        rising = all(a < b for a, b in zip(self.sectors, self.sectors[1:], strict=False))
        if not (self.sectors and rising and self.sectors[0] >= 1 and self.sectors[-1] <= LAST_SECTOR):
            raise ValueError(f"sectors must ascend and lie in 1 to {LAST_SECTOR}, with at least one of them")
        if not sum(self.shares.model_dump().values()) > 0:
            raise ValueError("shares must not all be zero")
        if not 0 < self.flare_bounds[0] < self.flare_bounds[1] < np.inf:
            raise ValueError("flare_bounds must be positive and ascend")
        return self


@dataclass(frozen=True)
class SpaceSky:
    """Stars observed from space: four tables, the first three with the same stars in the same order.

    Attributes
    ----------
    light_curves : what was measured, BTJD and electron/s; one row a star, with all its sectors
    stars : what a catalog says
    truth : kind, subtype, sectors, properties, `rotation_days` at the equator and `shown_period_days` as the spots
        show it, `period_days` of a companion or pulsation, `amplitude` (full range of the light without flares and
        noise) and `depth` (deepest loss of light by a planet or companion), outbursts a day, and flares drawn
    flares : every flare with its truth; `observed` when its peak falls in a good cadence, `peak_snr` is its
        highest cadence over the error
    """

    light_curves: LightCurves
    stars: pl.DataFrame
    truth: pl.DataFrame
    flares: pl.DataFrame


def simulate_targets(settings: SectorSettings, indices: Iterable[int] | None = None) -> SpaceSky:
    """Simulate the stars with these numbers, all of the survey by default."""
    parts = [simulate_target(settings, index) for index in (range(settings.n_stars) if indices is None else indices)]
    if not parts:
        return _nothing()
    return SpaceSky(
        light_curves=concatenate([part.light_curves for part in parts]),
        stars=pl.concat([part.stars for part in parts]),
        truth=pl.concat([part.truth for part in parts]),
        flares=pl.concat([part.flares for part in parts]),
    )


def simulate_target(settings: SectorSettings, index: int) -> SpaceSky:
    """Star `index` alone."""
    target = draw_target(settings.seed, index, settings.shares.model_dump(), settings.flare_bounds)
    sectors = _sectors_of(settings, index)
    times = [sector_times(settings.seed, sector) for sector in sectors]
    time = np.concatenate([part.time for part in times])
    light = star_light(settings.seed, target, time, [len(part.time) for part in times])
    flares, added = _flares(settings.seed, target, times)
    light_curves = _observe(settings, target, times, light.flux + added)
    truth = {
        **_properties(target),
        "sectors": [list(sectors)],
        "shown_period_days": light.shown_period_days,
        "amplitude": float(np.ptp(light.flux)),
        "depth": light.depth,
        "n_flares": len(flares),
    }
    stars = {"star_id": target.star_id, "catalog_source": "stellar_main", **target.catalog}
    rounded = (pl.col(name).fill_nan(None).round(digits) for name, digits in CATALOG_DIGITS.items())
    return SpaceSky(
        light_curves=light_curves,
        stars=pl.DataFrame(stars, schema=STARS).with_columns(rounded),
        truth=pl.DataFrame(truth, schema=TRUTH).with_columns(pl.col(pl.Float64).fill_nan(None)),
        flares=_flare_table(target, flares, light_curves),
    )


def _sectors_of(settings: SectorSettings, index: int) -> tuple[int, ...]:
    rng = stream(settings.seed, "target sectors", index)
    first = int(rng.integers(len(settings.sectors)))
    return settings.sectors[first : first + (2 if rng.random() < settings.second_sector else 1)]


def _flares(seed: int, target: Target, times: list[SectorTimes]) -> tuple[Flares, Array]:
    """The star's flares in its sectors, from a little before, and what they add to its flux."""
    rng = stream(seed, "target flares", target.index)
    parts = [draw_flares(rng, target.flare_law, part.time[0] - 0.2, part.time[-1]) for part in times]
    flares = join_flares(parts)
    return flares, flare_flux(flares, np.concatenate([part.time for part in times]), CADENCE)


def _observe(settings: SectorSettings, target: Target, times: list[SectorTimes], light: Array) -> LightCurves:
    """The star's light curve in the order of `assemble`: by time, cadences without a time last."""
    parts, start = [], 0
    sectors = _sectors_of(settings, target.index)
    for sector, part in zip(sectors, times, strict=True):
        rng = stream(settings.seed, "target noise", target.index, sector)
        camera = f"{rng.integers(1, 5)}-{rng.integers(1, 5)}"
        stop = start + len(part.time)
        seen = round_flux(observe_sector(rng, target.tmag, light[start:stop], part), settings.steps_per_error)
        parts += [{**seen, "camera": np.full(len(part.time), camera)}, _downlink(part.n_lost, camera)]
        start = stop
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["band"] = np.full(len(columns["time"]), "TESS")
    return assemble(columns, target.star_id, "BTJD", "electron/s", SURVEY)


def _downlink(count: int, camera: str) -> dict[str, NDArray]:
    nothing = np.full(count, np.nan)
    quality = np.full(count, EARTH_POINT, np.int32)
    return {
        "time": nothing,
        "flux": nothing,
        "flux_err": nothing,
        "quality": quality,
        "camera": np.full(count, camera),
    }


def _properties(target: Target) -> dict[str, object]:
    """What is true of a star before it is observed."""
    same = (*("star_id", "kind", "subtype", "tmag", "teff", "radius", "luminosity", "age_myr"), "rotation_days")
    return {
        **{name: getattr(target, name) for name in (*same, "period_days", "inclination")},
        "flares_per_day": target.flare_law.per_day(),
        "flare_alpha": target.flare_law.alpha if target.flare_law.rate > 0 else np.nan,
    }


def _flare_table(target: Target, flares: Flares, light_curves: LightCurves) -> pl.DataFrame:
    """The truth of each flare, and how it was seen."""
    timed = np.isfinite(light_curves["time"])
    time, flux, error = (light_curves[name][timed].astype(np.float64) for name in ("time", "flux", "flux_err"))
    good = np.isfinite(flux) & ((light_curves["quality"][timed] & ~IMPULSE) == 0)
    after = np.clip(np.searchsorted(time, flares.tpeak), 1, len(time) - 1)
    nearest = after - (flares.tpeak - time[after - 1] < time[after] - flares.tpeak)
    observed = good[nearest] & (np.abs(time[nearest] - flares.tpeak) <= 0.5 * CADENCE)
    # of the cadence that holds the peak and its neighbours, the highest
    peak = [
        flare_flux(flares.take(slice(k, k + 1)), time[max(i - 1, 0) : i + 2], CADENCE).max()
        for k, i in enumerate(nearest)
    ]
    ed = flares.equivalent_duration
    return pl.DataFrame(
        {
            "star_id": np.full(len(flares), target.star_id),
            "outburst": flares.outburst.astype(np.int32),
            "tpeak": flares.tpeak,
            "amplitude": flares.amplitude,
            "fwhm_minutes": flares.fwhm * DAY_SECONDS / 60.0,
            "equivalent_duration_s": ed,
            "energy_erg": flare_energy(ed, target.teff, target.radius),
            "peak_snr": np.where(observed, np.array(peak) * np.nanmedian(flux) / error[nearest], np.nan),
            "observed": observed,
        },
        schema=FLARES,
    ).with_columns(pl.col("peak_snr").fill_nan(None))


def _nothing() -> SpaceSky:
    """No stars: empty tables with all their columns."""
    columns = ("time", "flux", "flux_err", "camera", "band", "quality")
    empty = {name: np.empty(0, "U1" if COLUMNS[name].dtype is np.str_ else COLUMNS[name].dtype) for name in columns}
    light_curves = LightCurves((), np.zeros(1, np.int64), empty, "BTJD", "electron/s", SURVEY)
    return SpaceSky(light_curves, *(pl.DataFrame(schema=schema) for schema in (STARS, TRUTH, FLARES)))
