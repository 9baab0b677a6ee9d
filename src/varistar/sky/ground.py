"""The simulated sky: an ASAS-SN-like survey of stars whose truth is known, made from one seed.

A sky is a set of fields. The stars of a field share its exposures, as real ones do; each field and each star has a
random stream of its own, so a part of a sky is the same whether it is made alone, in another order, or with more stars
beside it. What the survey measured (`light_curves`), what a catalog says (`stars`) and what is true (`truth`) are
three tables, so that truth is never read by accident.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import COLUMNS, LightCurves, concatenate

from .cadence import Nights, field_visits, site_nights
from .ephemeris import Direction
from .noise import Exposures, expose, limit_flux, measure, round_like_a_table
from .population import KINDS, Star, draw_star
from .signals import magnitude_change
from .streams import stream

SURVEY = "simulated-asassn"
#: Catalog columns and the decimals they are given to.
CATALOG_DIGITS = {
    "ra_deg": 6,
    "dec_deg": 6,
    "parallax": 4,
    "parallax_error": 4,
    "phot_g_mean_mag": 4,
    "phot_bp_mean_mag": 4,
    "phot_rp_mean_mag": 4,
    "radius_val": 3,
    "lum_val": 3,
    "ruwe": 3,
    "teff": 0,
    "logg": 3,
    "mh": 2,
    "vbroad": 2,
    "vbroad_error": 2,
}
CATALOG = {"star_id": pl.String, "catalog_source": pl.String, **dict.fromkeys(CATALOG_DIGITS, pl.Float64)}
TRUTH = {
    "star_id": pl.String,
    "kind": pl.String,
    "subtype": pl.String,
    "field": pl.Int32,
    "g_mag": pl.Float64,
    "period_days": pl.Float64,
    "amplitude": pl.Float64,
    "inclination": pl.Float64,
}


class StarCounts(Settings):
    """How many objects of each kind the sky holds."""

    clump: Annotated[int, Field(ge=0)] = 1100
    quasar: Annotated[int, Field(ge=0)] = 350
    rotator: Annotated[int, Field(ge=0)] = 200
    eclipsing: Annotated[int, Field(ge=0)] = 60
    pulsating: Annotated[int, Field(ge=0)] = 60
    semiregular: Annotated[int, Field(ge=0)] = 30
    constant: Annotated[int, Field(ge=0)] = 100


class SkySettings(Settings):
    """A simulated sky.

    Attributes
    ----------
    window : first and last MJD of the survey proper; exposures go on for `margin_days` on both sides, so that the
        window cuts have something to cut.
    declinations : range of the fields' centres [deg]; no site sees the north pole.
    losses : share of a field's exposures that a star lacks, at random.
    steps_per_error : fluxes and magnitudes are rounded to steps, at least so many to an error.
    """

    seed: Annotated[int, Field(ge=0)] = 88
    n_fields: Annotated[int, Field(ge=1)] = 36
    counts: StarCounts = StarCounts()
    window: tuple[float, float] = (58484.5, 60311.5)
    margin_days: Annotated[float, Field(ge=0)] = 20.0
    declinations: tuple[float, float] = (-80.0, 65.0)
    losses: Annotated[float, Field(ge=0, lt=1)] = 0.003
    steps_per_error: Annotated[float, Field(ge=1)] = 2.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.window[0] < self.window[1]:
            raise ValueError("window must run from the earlier to the later MJD")
        if not -85.0 <= self.declinations[0] < self.declinations[1] <= 80.0:
            raise ValueError("declinations must ascend and lie in -85 to 80 degrees, where some site sees the field")
        return self


@dataclass(frozen=True)
class Sky:
    """A sky, or one field of it: three tables with the same stars in the same order.

    Attributes
    ----------
    light_curves : what the survey measured, MJD UTC and mJy
    stars : what a catalog says: star_id, catalog_source ('stellar_main' or 'milliquas') and Gaia-like columns
    truth : star_id, kind, subtype, field, g_mag, period_days (null for none), amplitude, inclination
    """

    light_curves: LightCurves
    stars: pl.DataFrame
    truth: pl.DataFrame


def simulate_sky(settings: SkySettings) -> Sky:
    """Simulate every field and join them. `iterate_fields` does the same with memory for one field."""
    fields = list(iterate_fields(settings))
    return Sky(
        light_curves=concatenate([sky.light_curves for sky in fields]),
        stars=pl.concat([sky.stars for sky in fields]),
        truth=pl.concat([sky.truth for sky in fields]),
    )


def iterate_fields(settings: SkySettings) -> Iterator[Sky]:
    """The sky field by field; fields without stars are left out."""
    nights = survey_nights(settings)
    for field in range(settings.n_fields):
        sky = simulate_field(settings, field, nights)
        if len(sky.light_curves):
            yield sky


def survey_nights(settings: SkySettings) -> dict[str, Nights]:
    """The nights of all sites, which fields share."""
    start, stop = settings.window
    return site_nights(settings.seed, start - settings.margin_days, stop + settings.margin_days + 1.0)


def simulate_field(settings: SkySettings, field: int, nights: dict[str, Nights]) -> Sky:
    """One field with its stars, in the order of their ids, which say nothing about their kind."""
    place = field_place(settings, field)
    visits = field_visits(settings.seed, field, place, nights)
    start, stop = settings.window[0] - settings.margin_days, settings.window[1] + settings.margin_days
    visits = visits.take((visits.time >= start) & (visits.time < stop))
    exposures = expose(settings.seed, field, place, visits)
    stars = sorted(_field_stars(settings, field, place), key=lambda star: star.star_id)
    observed = [_observe(settings, star, exposures) for star in stars]
    return Sky(
        light_curves=_light_curves([star.star_id for star in stars], [columns for columns, _ in observed]),
        stars=_catalog(stars),
        truth=_truth(stars, [amplitude for _, amplitude in observed]),
    )


def field_place(settings: SkySettings, field: int) -> Direction:
    """The centre of a field [rad], uniform on the sphere between the declination bounds."""
    rng = stream(settings.seed, "field", field)
    low, high = np.sin(np.radians(settings.declinations))
    return Direction(np.asarray(2 * np.pi * rng.random()), np.asarray(np.arcsin(rng.uniform(low, high))))


def _field_stars(settings: SkySettings, field: int, place: Direction) -> list[Star]:
    """Star `index` of a kind lives in field `index` modulo the number of fields, each kind starting elsewhere."""
    centre = float(np.degrees(place.ra)), float(np.degrees(place.dec))
    n = settings.n_fields
    return [
        draw_star(settings.seed, kind, index, field, centre)
        for number, kind in enumerate(KINDS)
        for index in range((field - 7 * number) % n, getattr(settings.counts, kind), n)
    ]


def _observe(settings: SkySettings, star: Star, field_exposures: Exposures) -> tuple[dict[str, NDArray], float]:
    """One star's columns, none if it was never exposed, and the full range [mag] of its noise-free magnitude."""
    rng = stream(settings.seed, "noise", *star.key)
    kept = rng.random(len(field_exposures.limit)) >= settings.losses
    if not kept.any():
        return {}, 0.0
    exposures = field_exposures.take(kept)
    change = magnitude_change(settings.seed, star, exposures.visits.time)
    measured = measure(rng, limit_flux(star.g_mag + change), exposures)
    flux, mag, mag_err = round_like_a_table(measured, exposures, settings.steps_per_error)
    columns = {
        "time": exposures.visits.time,
        "flux": flux,
        "flux_err": exposures.flux_err,
        "mag": mag,
        "mag_err": mag_err,
        "limit": exposures.limit,
        "fwhm": exposures.fwhm,
        "camera": exposures.visits.camera,
        "band": np.full(len(flux), "g"),
        "quality": exposures.quality,
    }
    return columns, float(np.ptp(change))


def _light_curves(star_id: list[str], observed: list[dict[str, NDArray]]) -> LightCurves:
    lengths = [len(columns["time"]) if columns else 0 for columns in observed]
    empty = {name: np.empty(0, "U1" if column.dtype is np.str_ else column.dtype) for name, column in COLUMNS.items()}
    return LightCurves(
        star_id=tuple(star_id),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        columns={
            name: np.concatenate([empty[name], *(columns[name] for columns in observed if columns)]).astype(
                column.dtype, copy=False
            )
            for name, column in COLUMNS.items()
        },
        time_system="MJD_UTC",
        flux_unit="mJy",
        survey=SURVEY,
    )


def _catalog(stars: list[Star]) -> pl.DataFrame:
    """What a catalog says, rounded as catalogs are; NaN becomes null."""
    columns: dict[str, list] = {
        "star_id": [star.star_id for star in stars],
        "catalog_source": ["milliquas" if star.kind == "quasar" else "stellar_main" for star in stars],
        **{name: [star.gaia[name] for star in stars] for name in CATALOG_DIGITS},
    }
    table = pl.DataFrame(columns, schema=CATALOG)
    return table.with_columns(pl.col(name).fill_nan(None).round(digits) for name, digits in CATALOG_DIGITS.items())


def _truth(stars: list[Star], amplitudes: list[float]) -> pl.DataFrame:
    table = pl.DataFrame(
        {
            "star_id": [star.star_id for star in stars],
            "kind": [star.kind for star in stars],
            "subtype": [star.subtype for star in stars],
            "field": [star.field for star in stars],
            "g_mag": [star.g_mag for star in stars],
            "period_days": [star.period_days for star in stars],
            "amplitude": amplitudes,
            "inclination": [star.inclination for star in stars],
        },
        schema=TRUTH,
    )
    return table.with_columns(
        pl.col("g_mag", "amplitude").round(4),
        pl.col("period_days").fill_nan(None),
        pl.col("inclination").fill_nan(None).round(2),
    )
