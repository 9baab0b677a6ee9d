"""The law of flare energies by maximum likelihood, each star with its own completeness, beside the true flares'."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.flares.completeness import CompletenessSurface
from varistar.flares.frequency import FlareSample, FrequencySettings, frequency_table, size_cuts
from varistar.flares.power_law import bootstrap_slope, fit_slope
from varistar.physics.flares import flare_energy

Array = NDArray[np.float64]

FREQUENCY = FrequencySettings()
SEED = 88
#: Equivalent durations [s] at which a star's completeness is kept.
NODES = np.geomspace(1e-2, 1e6, 161)


def energy_samples(stars: pl.DataFrame, flares: pl.DataFrame, surface: CompletenessSurface) -> dict[str, FlareSample]:
    """The flares of each star with an energy, and the chance to find one of an energy, by `star_id`.

    Parameters
    ----------
    stars, flares : of the catalog; stars without temperature or radius are left out.
    surface : the chance to find a flare.
    """
    answer = {}
    sized = flares.filter(pl.col("energy_erg") > 0)
    for row in stars.iter_rows(named=True):
        if not row["teff"] or not row["radius"]:
            continue
        own = sized.filter(pl.col("star_id") == row["star_id"])
        chance = surface.of_star(row["noise"], row["cadence_minutes"] / 1440.0)(NODES)
        chance[surface.equivalent_duration_s[0] > NODES] = 0.0  # nobody injected so small ones: they do not count
        scale = float(flare_energy(np.ones(1), row["teff"], row["radius"])[0])
        found = _interpolated(NODES * scale, chance)
        answer[row["star_id"]] = FlareSample(
            own["energy_erg"].to_numpy(), own["p"].to_numpy(), row["searched_days"], found, row["star_id"]
        )
    return answer


def _interpolated(size: Array, chance: Array) -> Callable[[Array], Array]:
    return lambda asked: np.interp(np.log(asked), np.log(size), chance)


def energy_laws(
    stars: pl.DataFrame, samples: Mapping[str, FlareSample], labels: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frequency distributions and power laws of energy: of all stars, by temperature and by age.

    Parameters
    ----------
    stars : `star_id`, `teff_bin` and `age_bin`.
    labels : the true flares, with `peak_snr` (null where nobody looked) and `energy_erg`.

    Returns
    -------
    `frequency_table` of each `group` (and `by`), and one row per group with its `Slope`, `stars_low` and `stars_high`
    when stars are drawn again, `n_stars`, and `true_alpha` with `true_low` and `true_high`: the law of all true flares
    that lie where the group's stars count.
    """
    frequencies, rows = [], []
    for by, group, members in _groups(stars):
        own = [samples[star] for star in members if star in samples]
        if not own or not sum(len(sample.size) for sample in own):
            continue
        table = frequency_table(own, FREQUENCY)
        frequencies.append(table.select(pl.lit(by).alias("by"), pl.lit(group).alias("group"), pl.all()))
        law = fit_slope(own, FREQUENCY)
        if law is None:
            continue
        low, high = bootstrap_slope(own, SEED, settings=FREQUENCY)
        true = fit_slope(_true_samples(own, labels), FREQUENCY)
        truth = {} if true is None else {"true_alpha": true.alpha, "true_low": true.low, "true_high": true.high}
        found = {name: getattr(law, name) for name in ("alpha", "low", "high", "n", "lowest", "rate")}
        spread = {"stars_low": low, "stars_high": high}
        rows.append({"by": by, "group": group, "n_stars": len(own), **found, **spread, **truth})
    numbers = (
        "alpha",
        "low",
        "high",
        "n",
        "lowest",
        "rate",
        "stars_low",
        "stars_high",
        "true_alpha",
        "true_low",
        "true_high",
    )
    schema = {"by": pl.String, "group": pl.String, "n_stars": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    columns = {"size": pl.Float64, "p": pl.Float64, "completeness": pl.Float64, "n": pl.Float64}
    empty = pl.DataFrame(schema={"by": pl.String, "group": pl.String, **columns})
    return (
        pl.concat([empty, *frequencies], how="diagonal"),
        pl.DataFrame(rows, schema=schema).with_columns(pl.col("stars_low", "stars_high").fill_nan(None)),
    )


def _groups(stars: pl.DataFrame) -> list[tuple[str, str, list[str]]]:
    """All stars, then those of each bin in temperature and age."""
    groups = [("all", "all", stars["star_id"].to_list())]
    for by in ("teff_bin", "age_bin"):
        for (name,), part in stars.drop_nulls(by).sort(by).group_by([by], maintain_order=True):
            groups.append((by, f"{by.removesuffix('_bin')} {name}", part["star_id"].to_list()))
    return groups


def _true_samples(own: Sequence[FlareSample], labels: pl.DataFrame) -> list[FlareSample]:
    """The true flares of the same stars that peaked in a good cadence, from each star's own cut on.

    A star counts from where its completeness suffices; of its true flares above that none is missing.
    """
    cuts = size_cuts(own, FREQUENCY)
    answer = []
    for sample, cut in zip(own, cuts, strict=True):
        flares = labels.filter((pl.col("star_id") == sample.star_id) & pl.col("peak_snr").is_not_null())
        energy = flares["energy_erg"].to_numpy()
        above = _step(float(cut))
        answer.append(FlareSample(energy, np.ones(len(energy)), sample.days, above, sample.star_id))
    return answer


def _step(cut: float) -> Callable[[Array], Array]:
    return lambda size: (size >= cut).astype(np.float64)
