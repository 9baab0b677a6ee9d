"""The ground-based survey of the simulated sky: an ASAS-SN-like one of stars whose truth is known, from one seed.

A sky is a set of fields. The stars of a field share its exposures, as real ones do; each field and each star has a
random stream of its own, so a part of a sky is the same whether it is made alone, in another order, or with more stars
beside it. What the survey measured (`light_curves`), what a catalog says (`stars`) and what is true (`truth`) are
three tables, so that truth is never read by accident.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings
from varistar.lightcurves.table import COLUMNS, LightCurves, concatenate

from .cadence import Nights, field_visits, site_nights
from .crowding import neighbours_light
from .ephemeris import Array, Direction, galactic_latitude
from .noise import Exposures, expose, measure, quarter_of, round_like_a_table
from .population import KINDS, Kind, Star, draw_star
from .signals import Signal, simulate_signal
from .streams import stream

SURVEY = "simulated-asassn"
#: Catalog columns and the decimals they are given to.
CATALOG_DIGITS = {
    "ra_deg": 6,
    "dec_deg": 6,
    "parallax": 4,
    "parallax_error": 4,
    "abs_g_mag": 4,
    "phot_g_mean_mag": 4,
    "phot_bp_mean_mag": 4,
    "phot_rp_mean_mag": 4,
    "tmag": 4,
    "catwise_w1": 3,
    "catwise_w2": 3,
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
#: Columns of the truth, and the decimals of the numbers that are rounded.
TRUTH_DIGITS = {
    **{"g_mag": 4, "v_mag": 4, "period_days": 8, "shown_period_days": 8},
    **{"amplitude": 4, "inclination": 2, "blend": 4},
}
TRUTH: dict[str, type[pl.DataType] | pl.DataType] = {
    "star_id": pl.String,
    "kind": pl.String,
    "subtype": pl.String,
    "population": pl.String,
    "spots": pl.String,
    "field": pl.Int32,
    "g_mag": pl.Float64,
    "v_mag": pl.Float64,
    "period_days": pl.Float64,
    "shown_period_days": pl.Float64,
    "amplitude": pl.Float64,
    "harmonics": pl.List(pl.Float64),
    "inclination": pl.Float64,
    "blend": pl.Float64,
}
#: A piece of a sky holds at most this many stars.
STARS_PER_PIECE = 4096
#: Longest span of a survey [d], for which the spots of its stars are simulated.
LONGEST_SPAN = 4000.0


class StarCounts(Settings):
    """How many objects of each kind the sky holds."""

    clump: Annotated[int, Field(ge=0)] = 1100
    quasar: Annotated[int, Field(ge=0)] = 350
    rotator: Annotated[int, Field(ge=0)] = 240
    oscillating: Annotated[int, Field(ge=0)] = 50
    cepheid: Annotated[int, Field(ge=0)] = 20
    rr_lyrae: Annotated[int, Field(ge=0)] = 30
    delta_scuti: Annotated[int, Field(ge=0)] = 20
    eclipsing: Annotated[int, Field(ge=0)] = 60
    semiregular: Annotated[int, Field(ge=0)] = 30
    irregular: Annotated[int, Field(ge=0)] = 20
    young: Annotated[int, Field(ge=0)] = 40
    constant: Annotated[int, Field(ge=0)] = 140

    def of(self, total: int) -> Self:
        """The same mixture with so many stars in all, each kind rounded so that none is lost but by the total."""
        counts = np.array(list(self.model_dump().values()))
        ends = np.round(np.cumsum(counts) * (total / max(counts.sum(), 1))).astype(int)
        return type(self)(**dict(zip(self.model_dump(), np.diff(ends, prepend=0).tolist(), strict=True)))


class SkySettings(Settings):
    """A simulated sky.

    Attributes
    ----------
    span : first and last MJD of exposures. The default begins in the last months of the V band and goes some days
        beyond the paper's window on both sides, so that the cuts have something to cut.
    declinations : range of the fields' centres [deg]; no site sees the north pole.
    places : right ascension and declination [deg] of the fields' centres, in turn, instead of random ones.
    coadded : whether the three dithers of a visit are one row, as in Sky Patrol 2, or three, as in its predecessor.
    losses : share of a field's exposures that a star lacks, at random.
    steps_per_error : fluxes and magnitudes are rounded to steps, at least so many to an error.
    """

    seed: Annotated[int, Field(ge=0)] = 88
    n_fields: Annotated[int, Field(ge=1)] = 36
    counts: StarCounts = StarCounts()
    span: tuple[float, float] = (58284.5, 60331.5)
    declinations: tuple[float, float] = (-78.0, 55.0)
    places: tuple[tuple[float, float], ...] = ()
    coadded: bool = True
    losses: Annotated[float, Field(ge=0, lt=1)] = 0.003
    steps_per_error: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.span[0] < self.span[1]:
            raise ValueError("span must run from the earlier to the later MJD")
        if self.span[1] - self.span[0] > LONGEST_SPAN:
            raise ValueError(f"span must not exceed {LONGEST_SPAN:g} days, for which spots are simulated")
        if not -78.0 <= self.declinations[0] < self.declinations[1] <= 70.0:
            raise ValueError("declinations must ascend and lie in -78 to 70 degrees, where some site sees the field")
        if any(not (0.0 <= ra <= 360.0 and -78.0 <= dec <= 70.0) for ra, dec in self.places):
            raise ValueError("places must lie in -78 to 70 degrees of declination, where some site sees the field")
        if self.n_fields < len(self.places):
            raise ValueError(f"n_fields is {self.n_fields}, and there are {len(self.places)} places")
        return self


@dataclass(frozen=True)
class Sky:
    """A sky, or a piece of it: three tables with the same stars in the same order.

    Attributes
    ----------
    light_curves : what the survey measured, MJD UTC and mJy
    stars : what a catalog says: star_id, catalog_source ('stellar_main' or 'milliquas') and Gaia-like columns
    truth : the columns of `TRUTH`; null where a star has no such value
    """

    light_curves: LightCurves
    stars: pl.DataFrame
    truth: pl.DataFrame


class Piece(NamedTuple):
    """Stars of one field: some of each kind, by their numbers."""

    field: int
    stars: tuple[tuple[Kind, range], ...]

    @property
    def n_stars(self) -> int:
        return sum(len(numbers) for _, numbers in self.stars)


def simulate_sky(settings: SkySettings) -> Sky:
    """Simulate every piece and join them, in memory."""
    pieces = [simulate_piece(settings, piece) for piece in sky_pieces(settings)]
    return join_skies(pieces)


def sky_pieces(settings: SkySettings) -> list[Piece]:
    """The sky in pieces, field by field; those without stars are left out.

    Star `number` of a kind lives in field `number` modulo the number of fields, each kind starting elsewhere.
    """
    counts, n = settings.counts.model_dump(), settings.n_fields
    fields = [
        [(kind, range((field - 7 * i) % n, counts[kind], n)) for i, kind in enumerate(KINDS)] for field in range(n)
    ]
    largest = max(sum(len(numbers) for _, numbers in stars) for stars in fields)
    parts = max(-(-largest // STARS_PER_PIECE), 1)
    pieces = [
        Piece(field, tuple(_dealt(stars, part, parts))) for field, stars in enumerate(fields) for part in range(parts)
    ]
    return [piece for piece in pieces if piece.n_stars]


def _dealt(stars: list[tuple[Kind, range]], part: int, parts: int) -> Iterator[tuple[Kind, range]]:
    """Every `parts`-th star of a field from number `part` on, counted through all kinds."""
    before = 0
    for kind, numbers in stars:
        yield kind, numbers[(part - before) % parts :: parts]
        before += len(numbers)


def join_skies(skies: Sequence[Sky]) -> Sky:
    """Pieces one after the other."""
    return Sky(
        light_curves=concatenate([sky.light_curves for sky in skies]),
        stars=pl.concat([sky.stars for sky in skies]),
        truth=pl.concat([sky.truth for sky in skies]),
    )


def simulate_piece(settings: SkySettings, piece: Piece) -> Sky:
    """The stars of a piece, in the order of their ids, which say nothing about their kind."""
    place = field_place(settings, piece.field)
    exposures = field_exposures(settings, piece.field)
    centre = float(np.degrees(place.ra)), float(np.degrees(place.dec))
    keys = [(kind, number) for kind, numbers in piece.stars for number in numbers]
    stars = [draw_star(settings.seed, kind, number, piece.field, centre) for kind, number in keys]
    stars.sort(key=lambda star: star.star_id)
    quarters = [quarter_of(*_tangent_plane(star, place)) for star in stars]
    exposed = {quarter: exposures.at(quarter) for quarter in set(quarters)}
    latitude = float(np.degrees(galactic_latitude(place)))
    observed = [
        _observe(settings, star, exposed[quarter], latitude) for star, quarter in zip(stars, quarters, strict=True)
    ]
    return Sky(
        light_curves=_light_curves([star.star_id for star in stars], [columns for columns, _ in observed]),
        stars=_catalog(stars),
        truth=pl.DataFrame([truth for _, truth in observed], schema=TRUTH).with_columns(
            pl.col(name).fill_nan(None).round(digits) for name, digits in TRUTH_DIGITS.items()
        ),
    )


def field_place(settings: SkySettings, field: int) -> Direction:
    """The centre of a field [rad]: the settings', or uniform on the sphere between the declination bounds."""
    if settings.places:
        ra, dec = np.radians(settings.places[field % len(settings.places)])
        return Direction(np.asarray(ra), np.asarray(dec))
    rng = stream(settings.seed, "field", field)
    low, high = np.sin(np.radians(settings.declinations))
    return Direction(np.asarray(2 * np.pi * rng.random()), np.asarray(np.arcsin(rng.uniform(low, high))))


def field_exposures(settings: SkySettings, field: int) -> Exposures:
    """The exposures of a field, which its stars share."""
    place = field_place(settings, field)
    start, stop = settings.span
    nights = _nights(settings.seed, start, stop + 1.0)
    visits = field_visits(settings.seed, field, place, nights, settings.coadded)
    visits = visits.take((visits.time >= start) & (visits.time < stop))
    return expose(settings.seed, field, place, visits, settings.coadded)


@lru_cache(maxsize=4)
def _nights(seed: int, start: float, stop: float) -> dict[str, Nights]:
    """The nights of all sites, which the fields that a process makes share."""
    return site_nights(seed, start, stop)


def _observe(
    settings: SkySettings, star: Star, exposures: Exposures, latitude: float
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """One star's columns and its row of the truth."""
    rng = stream(settings.seed, "noise", *star.key)
    time, is_v = exposures.visits.time, (exposures.cameras.band == "V")[exposures.cameras.of]
    neighbours = neighbours_light(rng, star.g_mag, latitude)

    signal = simulate_signal(settings.seed, star, time if len(time) else np.array(settings.span))
    change = _diluted(signal.change, neighbours)
    mean = np.where(is_v, star.v_mag, star.g_mag) - 2.5 * np.log10(1.0 + neighbours)
    measured = measure(rng, mean + change[: len(time)], exposures)
    flux, mag, mag_err = round_like_a_table(measured, exposures, settings.steps_per_error)
    columns = {
        "time": time,
        "flux": flux,
        "flux_err": exposures.flux_err,
        "mag": mag,
        "mag_err": mag_err,
        "limit": exposures.limit,
        "fwhm": exposures.fwhm,
        "camera": exposures.visits.camera,
        "band": np.where(is_v, "V", "g"),
        "quality": exposures.quality,
    }
    kept = rng.random(len(time)) >= settings.losses
    return {name: values[kept] for name, values in columns.items()}, _truth(
        star, signal, change, neighbours, bool(len(time))
    )


def _diluted(change: Array, neighbours: float) -> Array:
    """A change of magnitude as it appears beside neighbours of constant light."""
    if not neighbours:
        return change
    return -2.5 * np.log10((10.0 ** (-0.4 * change) + neighbours) / (1.0 + neighbours))


def _truth(star: Star, signal: Signal, change: Array, neighbours: float, is_observed: bool) -> dict[str, Any]:
    """A star's row of the truth; NaN where it has no such value."""
    return {
        "star_id": star.star_id,
        "kind": star.kind,
        "subtype": star.subtype,
        "population": star.population,
        "spots": star.spots,
        "field": star.field,
        "g_mag": star.g_mag,
        "v_mag": star.v_mag,
        "period_days": star.period_days,
        "shown_period_days": signal.shown_period,
        "amplitude": float(np.ptp(change)) if is_observed else np.nan,
        "harmonics": None if np.isnan(signal.harmonics).any() else [round(float(h), 4) for h in signal.harmonics],
        "inclination": star.inclination,
        "blend": neighbours / (1.0 + neighbours),
    }


def _tangent_plane(star: Star, centre: Direction) -> tuple[float, float]:
    """Where a star stands in its field, eastward and northward of the centre [deg]."""
    ra, dec = np.radians(star.gaia["ra_deg"]), np.radians(star.gaia["dec_deg"])
    apart = ra - float(centre.ra)
    sine, cosine = np.sin(centre.dec), np.cos(centre.dec)
    depth = sine * np.sin(dec) + cosine * np.cos(dec) * np.cos(apart)
    east = np.cos(dec) * np.sin(apart) / depth
    north = (cosine * np.sin(dec) - sine * np.cos(dec) * np.cos(apart)) / depth
    return float(np.degrees(east)), float(np.degrees(north))


def _light_curves(star_id: list[str], observed: list[dict[str, NDArray]]) -> LightCurves:
    lengths = [len(columns["time"]) for columns in observed]
    return LightCurves(
        star_id=tuple(star_id),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        columns={
            name: np.concatenate([columns[name] for columns in observed]).astype(column.dtype, copy=False)
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
