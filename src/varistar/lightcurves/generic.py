"""Reader of anybody's table, CSV, Parquet or ECSV, told which column is which."""

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.errors import DataError
from varistar.foundation.settings import Settings

from .assemble import assemble
from .inputs import FileTable, file_stem
from .magnitudes import flux_of
from .table import TIME_ORIGIN, FluxUnit, LightCurves, TimeSystem

#: Time systems that a column's name states by itself.
_SYSTEM_OF_NAME: dict[str, TimeSystem] = {
    "jd": "MJD_UTC",
    "mjd": "MJD_UTC",
    "hjd": "HJD-2400000.5",
    "bjd": "BJD-2400000.5",
    "btjd": "BTJD",
    "bkjd": "BKJD",
}

#: Names of units that astropy spells otherwise, or not at all.
_RELATIVE = ("", "1", "relative", "normalised", "normalized", "dimensionless")
_ELECTRONS = ("e-/s", "e/s", "electron/s", "electrons/s", "electron / s")

#: No other date than a full Julian date is as large.
_FULL_JULIAN_DATE = 2_400_000.0


class ColumnMapping(Settings):
    """Which column of a file is which column of a light curve.

    Without `flux`, the flux follows from AB magnitudes. Without `star_id`, the file's name is the star. A unit given
    here overrides the one that the file states. Full Julian dates become dates of the time system; the time system
    need not be given where the time column is called `jd`, `mjd`, `hjd`, `bjd`, `btjd` or `bkjd`.
    """

    time: str
    flux: str | None = None
    flux_err: str | None = None
    mag: str | None = None
    mag_err: str | None = None
    limit: str | None = None
    fwhm: str | None = None
    camera: str | None = None
    band: str | None = None
    quality: str | None = None
    star_id: str | None = None
    units: dict[Literal["time", "flux", "flux_err"], str] = Field(default_factory=dict)
    time_system: TimeSystem | None = None
    survey: str = ""

    @model_validator(mode="after")
    def _has_brightness(self) -> "ColumnMapping":
        if self.flux is None and self.mag is None:
            raise ValueError("a mapping needs a column for 'flux' or for 'mag'")
        return self


def read_mapped(table: FileTable, mapping: ColumnMapping) -> LightCurves:
    """The light curves of a table whose columns `mapping` names.

    Raises
    ------
    DataError
        When a mapped column is missing, the time system or the unit of the flux is not known, or a unit cannot be
        converted.
    """
    time_system = _time_system(table, mapping)
    columns, flux_unit = _brightness(table, mapping)
    columns["time"] = _times(table, mapping, time_system)
    for name in ("limit", "fwhm"):
        if (source := getattr(mapping, name)) is not None:
            columns[name] = table.numbers(source)
    for name in ("camera", "band"):
        if (source := getattr(mapping, name)) is not None:
            columns[name] = table.words(source)
    if mapping.quality is not None:
        columns["quality"] = _flags(table, mapping.quality)
    star = file_stem(table.path) if mapping.star_id is None else table.words(mapping.star_id)
    return assemble(columns, star, time_system, flux_unit, mapping.survey)


def _time_system(table: FileTable, mapping: ColumnMapping) -> TimeSystem:
    """The time system that the mapping gives, or that the column's name states."""
    if mapping.time_system is not None:
        return mapping.time_system
    name = re.sub(r"\W.*", "", mapping.time).lower()
    if name not in _SYSTEM_OF_NAME:
        known = ", ".join(TIME_ORIGIN)
        raise DataError(
            f"{table.path}: the time system of column '{mapping.time}' is not known; "
            f"give the mapping a time_system, one of {known}"
        )
    return _SYSTEM_OF_NAME[name]


def _times(table: FileTable, mapping: ColumnMapping, time_system: TimeSystem) -> NDArray[np.float64]:
    """The times [d] since the zero of the time system."""
    times = table.numbers(mapping.time)
    unit = mapping.units.get("time", table.unit(mapping.time))
    if unit is not None and unit != "d":
        times = times * _factor(table, mapping.time, unit, "d", "a time")
    return np.where(times >= _FULL_JULIAN_DATE, times - TIME_ORIGIN[time_system], times)


def _brightness(table: FileTable, mapping: ColumnMapping) -> tuple[dict[str, NDArray], FluxUnit]:
    """Fluxes with their unit, and magnitudes where there are any."""
    columns: dict[str, NDArray] = {}
    if mapping.mag is not None:
        columns["mag"] = table.numbers(mapping.mag, limits=True)
        columns["mag_err"] = (
            np.full_like(columns["mag"], np.nan) if mapping.mag_err is None else table.numbers(mapping.mag_err)
        )
    if mapping.flux is None:
        columns["flux"], columns["flux_err"] = flux_of(columns["mag"], columns["mag_err"])
        return columns, "mJy"
    factor, flux_unit = _flux_scale(table, mapping.flux, mapping.units.get("flux"))
    columns["flux"] = factor * table.numbers(mapping.flux)
    if mapping.flux_err is None:
        columns["flux_err"] = np.full_like(columns["flux"], np.nan)
        return columns, flux_unit
    if "flux_err" in mapping.units or table.unit(mapping.flux_err) is not None:
        factor, error_unit = _flux_scale(table, mapping.flux_err, mapping.units.get("flux_err"))
        if error_unit != flux_unit:
            raise DataError(
                f"{table.path}: '{mapping.flux_err}' is in {error_unit}, but '{mapping.flux}' in {flux_unit}"
            )
    columns["flux_err"] = factor * table.numbers(mapping.flux_err)
    return columns, flux_unit


def _flux_scale(table: FileTable, name: str, given: str | None) -> tuple[float, FluxUnit]:
    """The factor that brings a column to a flux unit of ours, and that unit."""
    unit = table.unit(name) if given is None else given
    if unit is None:
        raise DataError(
            f"{table.path}: column '{name}' states no unit; give the mapping one, such as "
            f"units: {{flux: mJy}}, or relative"
        )
    if unit.strip().lower() in _RELATIVE:
        return 1.0, "relative"
    if unit.strip() in _ELECTRONS:
        return 1.0, "electron/s"
    return _factor(table, name, unit, "mJy", "a flux density, electron/s or relative"), "mJy"


def _factor(table: FileTable, name: str, unit: str, wanted: str, kind: str) -> float:
    """How many `wanted` one `unit` is."""
    from astropy import units

    try:
        return float(units.Unit(unit).to(units.Unit(wanted)))
    except (ValueError, TypeError):  # no such unit, or (UnitConversionError) one of another kind
        raise DataError(f"{table.path}: column '{name}' has the unit '{unit}', where {kind} was expected") from None


def _flags(table: FileTable, name: str) -> NDArray[np.int32]:
    """A column of quality flags; an empty cell is no flag."""
    values = np.nan_to_num(table.numbers(name), nan=0.0)
    limits = np.iinfo(np.int32)
    if (wrong := (values != np.floor(values)) | (values < limits.min) | (values > limits.max)).any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{table.path}: {table.where(row)}, column '{name}': expected whole 32-bit numbers, got {values[row]:g}"
        )
    return values.astype(np.int32)
