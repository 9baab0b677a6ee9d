"""From found events to measured flares: how high, how wide, how long, how much light and energy.

The light beneath all events of an orbit is found with the events masked, each event is fitted on it, and both are done
again with the flares' tails, which reach beyond the events, masked as far as the fits see them and taken away from
there on. Heights and equivalent durations are in units of the star's median flux; the paper's in units of the light
beneath.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings
from varistar.physics.flares import (
    DAY_SECONDS,
    PLANCK_NM_K,
    RESPONSE,
    RESPONSE_NM,
    SOLAR_RADIUS,
    flare_energy,
)

from . import trend
from .fits import FitSettings, FlareFit, fit_event
from .orbits import Array, Orbit
from .trend import TrendSettings, flux_noise, mask_events, orbit_trend

DAY_MINUTES = 1440.0
#: Cadences apart up to which noise is taken to be correlated, and standard deviations beyond which it is no noise.
LAGS, CLIPPED = 120, 4.0
#: First radiation constant for radiance, 2 h c^2, with the wavelength in nm [erg / s / cm^2 / sr nm^4].
RADIANCE = 1.191042972e-5 * 1e28

#: What may be wrong with a measurement, bits of `quality`.
EDGE = 1  #: the orbit ends inside the stretch that was fitted
GAP = 2  #: a cadence of the event is missing
PEAK_MISSING = 4  #: a cadence next to the highest, or the one where the fit peaks, is missing
POOR_FIT = 8  #: chi^2 is too large, or the fit did not come to rest
SATURATED_WIDTH = 16  #: a width or height is at its bound; most often the flare is not resolved
OVERLAPS_PREVIOUS = 32  #: the stretch that was fitted is cut short by the event before
OVERLAPS_NEXT = 64  #: the stretch that was fitted is cut short by the event after
UNSURE_TREND = 128  #: the light beneath is less well known than a cadence's flux
NOT_FITTED = 256  #: too few cadences, or nothing rises: what comes from the fit is missing
UNSEEN_LIGHT = 512  #: most of the fitted light lies where nothing was found: the equivalent duration is the data's

MEASURED: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("tpeak", "tpeak_err", "amplitude", "amplitude_err"), pl.Float64),
    **dict.fromkeys(("fwhm_minutes", "fwhm_err_minutes", "rise_minutes", "fall_minutes"), pl.Float64),
    **dict.fromkeys(("equivalent_duration_s", "equivalent_duration_err_s"), pl.Float64),
    **dict.fromkeys(("data_duration_s", "data_duration_err_s"), pl.Float64),
    **dict.fromkeys(("peak_flux", "peak_snr", "duration_minutes"), pl.Float64),
    "n_components": pl.Int32,
    **dict.fromkeys(("chi2_reduced", "bic"), pl.Float64),
    **dict.fromkeys(("energy_erg", "energy_err_erg", "energy_tess_erg", "energy_tess_err_erg"), pl.Float64),
    "quality": pl.Int32,
}
_NEEDED = ("star_id", "orbit", "first", "last", "tpeak")


class MeasureSettings(Settings):
    """How events are measured.

    Attributes
    ----------
    trend, fit : the light beneath, and the shape.
    unit : heights in units of the star's "median" flux, or of the "trend".
    before, after : cadences around an event that are fitted with it.
    before_share, after_share : more of them, in lengths of the event.
    rounds : times that light and shapes are found, each with the other's last result.
    hidden_above : where flares rise above so many standard deviations, the next round does not look at the light
        beneath.
    poor_fit : chi^2 per degree of freedom above which a fit is poor.
    most_light : a fit with more than so many times the light of the event's own cadences, and their error, is not
        believed: the equivalent duration is theirs. Null believes it.
    """

    trend: TrendSettings = TrendSettings()
    fit: FitSettings = FitSettings()
    unit: Literal["median", "trend"] = "median"
    before: int = Field(default=10, ge=0)
    after: int = Field(default=20, ge=0)
    before_share: float = Field(default=1.0, ge=0.0)
    after_share: float = Field(default=3.0, ge=0.0)
    rounds: int = Field(default=3, ge=1)
    hidden_above: float = Field(default=1.0, ge=0.0)
    poor_fit: float = Field(default=2.0, gt=0.0)
    most_light: float | None = Field(default=4.0, gt=1.0)


#: As the paper measures, with widths free; and as its released code does.
PAPER = MeasureSettings(
    trend=trend.PAPER,
    fit=FitSettings(shape="gauss_exponential"),
    unit="trend",
    before=100,
    after=100,
    rounds=1,
    most_light=None,
)
RELEASED = MeasureSettings(
    trend=trend.RELEASED,
    fit=FitSettings(shape="gauss_exponential", bounds="released"),
    unit="trend",
    before=40,
    after=40,
    before_share=0.0,
    after_share=0.0,
    rounds=1,
    most_light=None,
)


@dataclass(frozen=True)
class Star:
    """What energies need: temperature [K], radius [Sun], and their standard deviations where known."""

    teff: float
    radius: float
    teff_err: float = 0.0
    radius_err: float = 0.0


def measure_events(
    events: pl.DataFrame, orbits: Sequence[Orbit], star: Star | None, settings: MeasureSettings
) -> pl.DataFrame:
    """Measure the events of one star.

    Parameters
    ----------
    events : with `star_id`, `orbit` (index in `orbits`), `first`, `last` (cadences, inclusive) and `tpeak`; events of
        an orbit do not share cadences.
    star : for energies, which are null without.

    Returns
    -------
    The events in their order with the columns `MEASURED`: `tpeak`, `amplitude`, `fwhm_minutes` and their errors are of
    the highest flare of the fit, `equivalent_duration_s` of all of them; `tpeak` stays the event's where there is no
    fit. `data_duration_s` is the flux summed over the event's own cadences, so without its tail, and `peak_flux` its
    highest cadence. `rise_minutes` and `fall_minutes` are the paper's parameters. `energy_erg` is that of a blackbody
    of 9000 K, `energy_tess_erg` the equivalent duration times the star's light in TESS's band. What is not known is
    null.

    Raises
    ------
    DataError
        A missing column, or an event outside its orbit or upon another.
    """
    _check(events, orbits)
    rows: dict[int, dict[str, float]] = {}
    numbered = events.with_row_index("row")
    for (index,), part in numbered.sort("first").group_by(["orbit"], maintain_order=True):
        table = part.select("row", "first", "last").to_numpy().astype(np.int64)
        measured = _measure_orbit(orbits[int(index)], table[:, 1], table[:, 2], settings)
        rows.update(zip(table[:, 0].tolist(), measured, strict=True))
    names = [name for name in MEASURED if "energy" not in name]
    columns = {name: np.array([rows[i][name] for i in range(len(events))], dtype=np.float64) for name in names}
    columns["tpeak"] = np.where(np.isfinite(columns["tpeak"]), columns["tpeak"], events["tpeak"].to_numpy())
    columns.update(_energies(columns["equivalent_duration_s"], columns["equivalent_duration_err_s"], star))
    new = pl.DataFrame({name: columns[name] for name in MEASURED}).fill_nan(None)
    return events.with_columns(new.cast(MEASURED).get_columns())  # type: ignore[arg-type]


def tess_luminosity(teff: float, radius: float) -> float:
    """What a blackbody of this temperature [K] and radius [Sun] emits in TESS's band [erg / s], all around:

        L = 4 pi R^2  pi  integral of S(lambda) B(lambda, T),  S the response in units of its maximum.

    A flare's light from a patch that faces us is beamed, and its energy a quarter of equivalent duration times this.
    """
    wavelength = np.arange(RESPONSE_NM[0], RESPONSE_NM[-1] + 1.0)
    planck = RADIANCE * wavelength**-5.0 / np.expm1(PLANCK_NM_K / (wavelength * teff))
    response = np.interp(wavelength, RESPONSE_NM, RESPONSE) / max(RESPONSE)
    return 4.0 * math.pi**2 * (radius * SOLAR_RADIUS) ** 2 * float(np.sum(planck * response))


def _check(events: pl.DataFrame, orbits: Sequence[Orbit]) -> None:
    """Whether every event lies in an orbit and on no other event."""
    for name in _NEEDED:
        if name not in events.columns:
            raise DataError(f"events: column '{name}' is missing; expected {', '.join(_NEEDED)}")
    busy = [np.zeros(len(orbit), dtype=bool) for orbit in orbits]
    for row, (index, first, last) in enumerate(events.select("orbit", "first", "last").iter_rows()):
        if not 0 <= index < len(orbits):
            raise DataError(f"events: row {row} lies in orbit {index}, but the star has {len(orbits)}")
        if not 0 <= first <= last < len(orbits[index]):
            raise DataError(
                f"events: row {row} is cadences {first} to {last}, but orbit {index} has 0 to {len(orbits[index]) - 1}"
            )
        if busy[index][first : last + 1].any():
            raise DataError(f"events: row {row} shares cadences {first} to {last} with another event")
        busy[index][first : last + 1] = True


def _measure_orbit(
    orbit: Orbit, first: NDArray[np.int64], last: NDArray[np.int64], settings: MeasureSettings
) -> list[dict[str, float]]:
    """Every event of an orbit, in order of time: the columns `MEASURED` without energies, NaN where unknown."""
    masked = mask_events(len(orbit), first, last, settings.trend)
    windows = [_window(i, first, last, len(orbit), settings) for i in range(len(first))]
    fitted = np.zeros(len(orbit), dtype=bool)
    for window in windows:
        fitted[window.start : window.stop] = True
    shapes: list[FlareFit | None] = [None] * len(first)
    flares = np.zeros(len(orbit))
    unit = np.ones(len(orbit))
    for _ in range(settings.rounds):
        beneath = orbit_trend(replace(orbit, flux=orbit.flux - unit * flares), masked, settings.trend)
        unit = beneath.values if settings.unit == "trend" else np.ones(len(orbit))
        above, noise = (orbit.flux - beneath.values) / unit, flux_noise(orbit) * beneath.scatter / unit
        scaled = (above - flares) / np.where(noise > 0.0, noise, np.nan)
        light = _Light(above, noise, beneath.errors, _correlation(scaled, masked))
        for i, window in enumerate(windows):
            flares -= _flux_of(shapes[i], orbit)
            shapes[i] = _fit(orbit, light, flares, window, settings)
            flares += _flux_of(shapes[i], orbit)
        masked |= fitted & (flares > settings.hidden_above * light.noise)
    return [_describe(orbit, light, window, shape, settings) for window, shape in zip(windows, shapes, strict=True)]


def _correlation(residuals: Array, masked: NDArray[np.bool_]) -> Array:
    """Of what is left where no flare is, of cadences 1, 2, ... apart as far as it stays positive (Geyer 1992), shape
    (lags,): the light beneath follows slower noise, which leaves the rest correlated below zero."""
    left = np.where(masked | ~np.isfinite(residuals), 0.0, np.clip(np.nan_to_num(residuals), -CLIPPED, CLIPPED))
    seen = (~masked & np.isfinite(residuals)).astype(np.float64)
    shares = []
    for lag in range(min(LAGS, len(left) - 1)):
        pairs = float(seen[lag:] @ seen[: len(seen) - lag])
        product = float(left[lag:] @ left[: len(left) - lag]) / max(pairs, 1.0)
        if not product > 0.0:
            break
        shares.append(product)
    return np.array(shares[1:]) / shares[0] if shares else np.zeros(0)


@dataclass(frozen=True)
class _Light:
    """An orbit above the light beneath, its noise and the error of what is beneath, each of shape (m,), and the noise's
    correlation, shape (lags,)."""

    above: Array
    noise: Array
    beneath_err: Array
    correlation: Array


@dataclass(frozen=True)
class _Window:
    """The event from `first` to `last` (inclusive), the stretch from `start` to `stop` (exclusive) that is fitted with
    it, and bits of its `quality`."""

    first: int
    last: int
    start: int
    stop: int
    quality: int


def _window(i: int, first: NDArray[np.int64], last: NDArray[np.int64], m: int, settings: MeasureSettings) -> _Window:
    """The stretch to fit event `i` in: it keeps off the events before and after, and inside the orbit."""
    length = int(last[i] - first[i]) + 1
    start = int(first[i]) - settings.before - math.ceil(settings.before_share * length)
    stop = int(last[i]) + 1 + settings.after + math.ceil(settings.after_share * length)
    quality = EDGE if start < 0 or stop > m else 0
    if i > 0 and start <= last[i - 1]:
        start, quality = int(last[i - 1]) + 1, quality | OVERLAPS_PREVIOUS
    if i + 1 < len(first) and stop > first[i + 1]:
        stop, quality = int(first[i + 1]), quality | OVERLAPS_NEXT
    return _Window(int(first[i]), int(last[i]), max(start, 0), min(stop, m), quality)


def _fit(orbit: Orbit, light: _Light, others: Array, window: _Window, settings: MeasureSettings) -> FlareFit | None:
    """The event's shape, with the other events' flares taken away."""
    part = slice(window.start, window.stop)
    unsure = light.beneath_err[window.first : window.last + 1]
    return fit_event(
        orbit.time[part],
        light.above[part] - others[part],
        light.noise[part],
        orbit.cadence,
        (float(orbit.time[window.first]), float(orbit.time[window.last])),
        settings.fit,
        float(np.median(unsure)),
        light.correlation,
        light.beneath_err[part],
    )


def _flux_of(shape: FlareFit | None, orbit: Orbit) -> Array:
    """What an event adds to the orbit, shape (m,)."""
    return np.zeros(len(orbit)) if shape is None else shape.flux(orbit.time, orbit.cadence)


def _describe(
    orbit: Orbit, light: _Light, window: _Window, shape: FlareFit | None, settings: MeasureSettings
) -> dict[str, float]:
    """One row of `MEASURED`, without energies."""
    row = dict.fromkeys((name for name in MEASURED if "energy" not in name), math.nan)
    places = np.arange(window.first, window.last + 1)
    seen = places[np.isfinite(light.above[places])]
    row["duration_minutes"] = DAY_MINUTES * (orbit.time[window.last] - orbit.time[window.first] + orbit.cadence)
    row["n_components"] = 0 if shape is None else len(shape.tpeak)
    if len(seen):
        top = int(seen[np.argmax(light.above[seen])])
        row["peak_flux"] = light.above[top]
        row["peak_snr"] = light.above[top] / light.noise[top] if light.noise[top] > 0.0 else math.nan
        row["data_duration_s"], row["data_duration_err_s"] = _summed(light, seen, window, orbit.cadence)
    row["quality"] = window.quality | _quality(orbit, light, places, seen, shape, settings)
    if shape is not None:
        highest = int(np.argmax(shape.amplitude))
        row |= {
            "tpeak": shape.tpeak[highest],
            "tpeak_err": shape.tpeak_err[highest],
            "amplitude": shape.amplitude[highest],
            "amplitude_err": shape.amplitude_err[highest],
            "fwhm_minutes": DAY_MINUTES * shape.fwhm[highest],
            "fwhm_err_minutes": DAY_MINUTES * shape.fwhm_err[highest],
            "rise_minutes": DAY_MINUTES * shape.rise[highest],
            "fall_minutes": DAY_MINUTES * shape.fall[highest],
            "equivalent_duration_s": shape.equivalent_duration,
            "equivalent_duration_err_s": shape.equivalent_duration_err,
            "chi2_reduced": shape.chi2_reduced,
            "bic": shape.bic,
        }
        if settings.most_light is not None and len(seen):
            most = settings.most_light * (max(row["data_duration_s"], 0.0) + row["data_duration_err_s"])
            if row["equivalent_duration_s"] > most:
                row["quality"] += UNSEEN_LIGHT
                row["equivalent_duration_s"] = row["data_duration_s"] if row["data_duration_s"] > 0.0 else math.nan
                row["equivalent_duration_err_s"] = row["data_duration_err_s"]
    return row


def _summed(light: _Light, seen: NDArray[np.int64], window: _Window, cadence: float) -> tuple[float, float]:
    """Equivalent duration of the event's own cadences and its error [s]; a missing one counts as its neighbours do."""
    edges = np.concatenate([[window.first - 0.5], 0.5 * (seen[1:] + seen[:-1]), [window.last + 0.5]])
    share = np.diff(edges) * cadence * DAY_SECONDS
    # the light beneath is off by much the same all along an event
    error = math.hypot(float(np.linalg.norm(share * light.noise[seen])), float(share @ light.beneath_err[seen]))
    return float(share @ light.above[seen]), error


def _quality(
    orbit: Orbit,
    light: _Light,
    places: NDArray[np.int64],
    seen: NDArray[np.int64],
    shape: FlareFit | None,
    settings: MeasureSettings,
) -> int:
    """The bits that the data and the fit of an event set."""
    quality = GAP if len(seen) < len(places) else 0
    missing = ~np.isfinite(light.above)
    if len(seen):
        top = int(seen[np.argmax(light.above[seen])])
        if missing[max(top - 1, 0) : top + 2].any():
            quality |= PEAK_MISSING
    if np.median(light.beneath_err[places]) > np.median(light.noise[places]):
        quality |= UNSURE_TREND
    if shape is None:
        return quality | NOT_FITTED
    peak = float(shape.tpeak[np.argmax(shape.amplitude)])
    if missing[np.argmin(np.abs(orbit.time - peak))]:
        quality |= PEAK_MISSING
    if not shape.converged or shape.chi2_reduced > settings.poor_fit:
        quality |= POOR_FIT
    return quality | (SATURATED_WIDTH if shape.bounded else 0)


def _energies(duration: Array, duration_err: Array, star: Star | None) -> dict[str, Array]:
    """Energies and their errors [erg] from equivalent durations [s], shape (n,); NaN for a star that is not known.

    Raises
    ------
    DataError
        A temperature or radius that is not positive.
    """
    names = ("energy_erg", "energy_err_erg", "energy_tess_erg", "energy_tess_err_erg")
    if star is None:
        return dict.fromkeys(names, np.full(len(duration), np.nan))
    if not (0.0 < star.teff < math.inf and 0.0 < star.radius < math.inf):
        raise DataError(f"star: teff {star.teff} and radius {star.radius} must be positive, or no star be given")
    columns = {}
    for name, error, per_second in (
        (*names[:2], lambda teff: float(flare_energy(np.array(1.0), teff, star.radius))),
        (*names[2:], lambda teff: tess_luminosity(teff, star.radius)),
    ):
        step = 1e-3
        power = math.log(per_second(star.teff * (1 + step)) / per_second(star.teff * (1 - step))) / (2 * step)
        of_star = math.hypot(power * star.teff_err / star.teff, 2.0 * star.radius_err / star.radius)
        scale = per_second(star.teff)
        columns[name] = scale * duration
        columns[error] = scale * np.hypot(duration_err, duration * of_star)
    return columns
