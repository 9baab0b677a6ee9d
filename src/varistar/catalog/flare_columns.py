"""The tables of a flare catalog: their columns, units and meaning, and the bits of their flags.

    <name>           one row per flare
    <name>.stars     one row per star that was searched, with flares or without
    <name>.sectors   the rotation period of each star in each of its sectors
    <name>.phases    how long each star with a trusted rotation period was searched at each phase of its rotation
    <name>.refused   stars and files without a row, and why

Statistics of flares weight each by its probability `p`, and count stars that were searched in vain.
"""

import polars as pl

from .columns import CatalogColumn

#: Bins of the phase, from -0.5 to 0.5.
PHASE_BINS = 20

FLARES: dict[str, CatalogColumn] = {
    "star_id": CatalogColumn(pl.String, "", "the star's id in its survey"),
    "orbit": CatalogColumn(pl.Int32, "", "stretch between long gaps, of those searched, from 0"),
    "first": CatalogColumn(pl.Int32, "", "first cadence of the event in its orbit"),
    "last": CatalogColumn(pl.Int32, "", "last cadence of the event"),
    "tstart": CatalogColumn(pl.Float64, "d", "middle of the first cadence, in `time_system`"),
    "tstop": CatalogColumn(pl.Float64, "d", "middle of the last cadence"),
    "tpeak": CatalogColumn(pl.Float64, "d", "peak of the fitted shape; of the highest cadence where none was fitted"),
    "tpeak_err": CatalogColumn(pl.Float64, "d", "standard deviation of tpeak"),
    "p": CatalogColumn(pl.Float64, "", "calibrated probability that the event is a flare"),
    "score": CatalogColumn(pl.Float64, "", "the network's highest probability of its cadences"),
    "amplitude": CatalogColumn(pl.Float64, "", "fitted height in units of the star's median flux"),
    "amplitude_err": CatalogColumn(pl.Float64, "", "standard deviation of amplitude"),
    "fwhm_minutes": CatalogColumn(pl.Float64, "min", "full width at half the fitted height"),
    "fwhm_err_minutes": CatalogColumn(pl.Float64, "min", "standard deviation of fwhm_minutes"),
    "rise_minutes": CatalogColumn(
        pl.Float64, "min", "standard deviation of the Gaussian that rises; of the paper's shape only"
    ),
    "fall_minutes": CatalogColumn(pl.Float64, "min", "time in which the decay falls to 1/e; of the paper's shape only"),
    "equivalent_duration_s": CatalogColumn(pl.Float64, "s", "area of all shapes fitted to the event"),
    "equivalent_duration_err_s": CatalogColumn(pl.Float64, "s", "standard deviation of equivalent_duration_s"),
    "data_duration_s": CatalogColumn(pl.Float64, "s", "area of the event's own cadences, without its tail"),
    "data_duration_err_s": CatalogColumn(pl.Float64, "s", "standard deviation of data_duration_s"),
    "peak_flux": CatalogColumn(pl.Float64, "", "highest cadence above the light beneath"),
    "peak_snr": CatalogColumn(pl.Float64, "", "peak_flux in units of the noise of a cadence"),
    "duration_minutes": CatalogColumn(pl.Float64, "min", "length of the event"),
    "n_components": CatalogColumn(pl.Int32, "", "flares fitted to the event"),
    "chi2_reduced": CatalogColumn(pl.Float64, "", "chi^2 of the fit per degree of freedom"),
    "energy_erg": CatalogColumn(pl.Float64, "erg", "at all wavelengths, of a blackbody of 9000 K"),
    "energy_err_erg": CatalogColumn(pl.Float64, "erg", "its standard deviation"),
    "energy_tess_erg": CatalogColumn(pl.Float64, "erg", "equivalent duration times the star's light in TESS's band"),
    "energy_tess_err_erg": CatalogColumn(pl.Float64, "erg", "its standard deviation"),
    "phase": CatalogColumn(pl.Float64, "", "of the rotation, 0 when the star is brightest; null without a trusted one"),
    "quality": CatalogColumn(pl.Int32, "", "sum of the bits of `varistar.flares.measure`; 0 is nothing to remark"),
    "time_system": CatalogColumn(pl.String, "", "of all times"),
    "model": CatalogColumn(pl.String, "", "content hash of the model, SHA-256"),
}

STARS: dict[str, CatalogColumn] = {
    "star_id": CatalogColumn(pl.String, "", "the star's id in its survey"),
    "tmag": CatalogColumn(pl.Float64, "mag", "brightness through TESS, as the table of stars says"),
    "teff": CatalogColumn(pl.Float64, "K", "temperature, as the table of stars says"),
    "radius": CatalogColumn(pl.Float64, "solRad", "radius, as the table of stars says"),
    "n_orbits": CatalogColumn(pl.Int32, "", "orbits with enough good cadences"),
    "n_sectors": CatalogColumn(pl.Int32, "", "sectors that they make"),
    "cadence_minutes": CatalogColumn(pl.Float64, "min", "time from cadence to cadence"),
    "noise": CatalogColumn(pl.Float64, "", "median error of a cadence, in units of the flux"),
    "searched_days": CatalogColumn(pl.Float64, "d", "good cadences that have a score, as days"),
    "n_events": CatalogColumn(pl.Int64, "", "flares with a row"),
    "n_flares": CatalogColumn(pl.Float64, "", "sum of their probabilities"),
    "rate_per_day": CatalogColumn(pl.Float64, "1 / d", "n_flares / searched_days"),
    "rate_low": CatalogColumn(pl.Float64, "1 / d", "lower end of its 95% interval (Poisson)"),
    "rate_high": CatalogColumn(pl.Float64, "1 / d", "upper end of its 95% interval"),
    "mean_amplitude": CatalogColumn(pl.Float64, "", "of its flares, weighted by p"),
    "largest_amplitude": CatalogColumn(pl.Float64, "", "of its flares with p of at least one half"),
    "equivalent_duration_50_s": CatalogColumn(pl.Float64, "s", "half the flares of this size are found"),
    "amplitude_50": CatalogColumn(pl.Float64, "", "height of such a flare of the usual width"),
    "rotation_days": CatalogColumn(pl.Float64, "d", "rotation period, trusted or not"),
    "rotation_accepted": CatalogColumn(pl.Boolean, "", "whether it is trusted"),
    "rotation_sectors": CatalogColumn(pl.Int32, "", "trusted sectors that agree with it"),
    "rotation_doubts": CatalogColumn(pl.Int32, "", "bits of `Doubt` of the sector in which it explains most"),
    "rotation_reason": CatalogColumn(pl.String, "", "why it is not trusted; empty where it is"),
    "time_system": CatalogColumn(pl.String, "", "of all times of its flares"),
    "model": CatalogColumn(pl.String, "", "content hash of the model, SHA-256"),
}

SECTORS: dict[str, CatalogColumn] = {
    "star_id": CatalogColumn(pl.String, "", "the star's id in its survey"),
    "sector": CatalogColumn(pl.Int32, "", "numbered from 1 for each star: orbits within 28.5 d"),
    "period_days": CatalogColumn(pl.Float64, "d", "rotation period in this sector"),
    "width_days": CatalogColumn(pl.Float64, "d", "standard deviation of a Gaussian fitted to the periodogram's peak"),
    "power": CatalogColumn(pl.Float64, "", "fraction of the variance that the peak explains"),
    "second_period_days": CatalogColumn(pl.Float64, "d", "second peak that is no harmonic"),
    "second_power": CatalogColumn(pl.Float64, "", "its power"),
    "doubled": CatalogColumn(pl.Boolean, "", "whether the period is twice that of the peak"),
    "flags": CatalogColumn(pl.Int32, "", "sum of the bits of `Doubt`; 0 is a period that passes"),
}

PHASES: dict[str, CatalogColumn] = {
    "star_id": CatalogColumn(pl.String, "", "the star's id in its survey"),
    "phase_low": CatalogColumn(pl.Float64, "", "lower edge of the bin"),
    "phase_high": CatalogColumn(pl.Float64, "", "upper edge of the bin"),
    "searched_days": CatalogColumn(pl.Float64, "d", "good cadences with a score in this bin, as days"),
}

#: By the name that stands in a file's name; that of the flares themselves is empty.
TABLES = {"": FLARES, "stars": STARS, "sectors": SECTORS, "phases": PHASES}


def schema_of(columns: dict[str, CatalogColumn]) -> pl.Schema:
    """The polars schema of a table."""
    return pl.Schema({name: column.dtype for name, column in columns.items()})
