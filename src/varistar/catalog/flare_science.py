"""What a flare catalog says of its stars: rates by temperature and age, the law of the flares' energies, rotation, the
faces of spotted stars, and what the flares take from a young planet's atmosphere. The truth judges it, and gives ages.

Energies rest on the temperatures and radii of the star catalog. The completeness of each star follows from flares that
were injected into the survey. Ages stand for membership in a young group, which no light curve tells.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.experiments.registry import champion
from varistar.figures.flare_science import figures_of
from varistar.figures.style import save_figure
from varistar.flares.completeness import CompletenessSurface, completeness_of
from varistar.flares.evaporation import Flaring, Host, Planet, compare_scenarios, evolve, share_of_time
from varistar.flares.faces import FaceSettings, combine_exposure, compare_faces, phase_histogram
from varistar.flares.finder import FlareFinder
from varistar.flares.groups import young_groups
from varistar.flares.labels import read_simulated
from varistar.flares.measure import UNSURE_TREND
from varistar.flares.power_law import closed_form_slope
from varistar.flares.rates import RateSettings, largest_flares, rates_by_group, rates_by_size, with_bins
from varistar.flares.variants import WING
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import write_json
from varistar.foundation.params import find_root

from .flare_laws import energy_laws, energy_samples
from .flare_shown import light_of_largest, light_of_sectors, shown_sectors
from .flare_survey import CATALOG, RECOVERY, SURVEY
from .flare_truth import PLAIN, judge_flares, judge_periods
from .flares import read_catalog_settings
from .parts import write_part

Array = NDArray[np.float64]

REPORT = "metrics/flare_catalog.json"
TABLES, FIGURES = "build/catalog/flare_science", "build/figures/flare_catalog"
RATES = RateSettings(size="energy_erg")
ENERGY_EDGES = tuple(10.0 ** np.arange(30.0, 37.01, 0.5))
#: Stars as old as the planet's, whose flares it may have met [Myr].
YOUNG_MYR = 45.0
#: Amplitudes from which the catalog's flares count for the planet, and their law is fitted.
STRONG = 0.02
#: Of flares that are shown one by one: the light beneath is known.
SURE = (pl.col("quality") & UNSURE_TREND) == 0


class Survey(NamedTuple):
    """What the science rests on: the tables of the catalog, its completeness, and the truth."""

    flares: pl.DataFrame
    stars: pl.DataFrame
    sectors: pl.DataFrame
    phases: pl.DataFrame
    surface: CompletenessSurface
    truth: pl.DataFrame
    labels: pl.DataFrame


def read_survey(root: Path) -> Survey:
    """The catalog of the embedded survey, with its truth; stars get `age_myr`, `bp_rp`,
    `largest_energy_erg`, `teff_bin` and `age_bin`.

    Raises
    ------
    DataError
        When a table is missing.
    """
    catalog = root / CATALOG
    beside = {name: catalog.with_name(f"flares.{name}.parquet") for name in ("stars", "sectors", "phases")}
    for path in (catalog, *beside.values(), root / RECOVERY):
        if not path.is_file():
            raise DataError(f"{path}: no such file; `dvc repro` makes the flare catalog")
    tables = {name: pl.read_parquet(path, glob=False) for name, path in beside.items()}
    truth = pl.read_parquet(root / SURVEY / "truth.parquet", glob=False)
    colours = pl.read_parquet(root / SURVEY / "stars.parquet", glob=False).select(
        "star_id", bp_rp=pl.col("phot_bp_mean_mag") - pl.col("phot_rp_mean_mag")
    )
    truth_of_flares = root / SURVEY / "flares.parquet"
    stars = tables["stars"].filter(pl.col("searched_days") > 0)
    flares, recovery = (pl.read_parquet(path, glob=False) for path in (catalog, root / RECOVERY))
    largest = (
        flares.filter(SURE & (pl.col("p") >= 0.5))
        .group_by("star_id")
        .agg(largest_energy_erg=pl.col("energy_erg").max())
    )
    for more in (truth.select("star_id", "age_myr"), colours, largest):
        stars = stars.join(more, on="star_id", how="left", maintain_order="left")
    return Survey(
        flares,
        with_bins(stars, RATES),
        tables["sectors"],
        tables["phases"],
        completeness_of(recovery.filter(pl.col("cadence_minutes") == pl.col("cadence_minutes").min())),
        truth,
        read_simulated(truth_of_flares).with_columns(pl.read_parquet(truth_of_flares, glob=False)["energy_erg"]),
    )


def science_of(survey: Survey) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """All tables by name, and the numbers for `metrics/`."""
    judged = judge_flares(survey.flares, survey.labels, survey.stars)
    periods, period_scores = judge_periods(survey.stars, survey.truth)
    samples = energy_samples(survey.stars, survey.flares, survey.surface)
    frequencies, slopes = energy_laws(survey.stars, samples, survey.labels)
    faces, histogram = faces_of(survey)
    tracks, scenarios = evaporation_of(survey)
    tables = {
        "judged": judged.bins,
        "calibration": judged.calibration,
        "periods": periods,
        "sectors": survey.sectors,
        "rates": rates_of(survey),
        "rates_by_energy": _rates_by_energy(survey),
        "frequencies": frequencies,
        "slopes": slopes,
        "faces": faces,
        "phase_histogram": histogram,
        "largest": largest_flares(survey.flares.filter(SURE), size="peak_flux"),
        "groups": groups_of(survey),
        "tracks": tracks,
        "scenarios": scenarios,
    }
    summary = {
        "flares": judged.summary,
        "periods": period_scores,
        "slopes": {row["group"]: row for row in slopes.iter_rows(named=True)},
        "faces": {row["sample"]: row for row in faces.iter_rows(named=True)},
        "evaporation": scenarios.to_dicts(),
    }
    return tables, summary


def rates_of(survey: Survey) -> pl.DataFrame:
    """Rates by temperature, by age and by both (`by`, `teff_bin`, `age_bin` and the columns of `rates_by_group`), and
    `plain_per_day`: the true flares that anybody would see."""
    plain = survey.labels.filter(pl.col("peak_snr") >= PLAIN).group_by("star_id").len("plain")
    stars = survey.stars.join(plain, on="star_id", how="left").with_columns(pl.col("plain").fill_null(0))
    parts = []
    for by in (["teff_bin"], ["age_bin"], ["teff_bin", "age_bin"]):
        found = rates_by_group(survey.stars, survey.flares, by, RATES)
        true = (
            stars.drop_nulls(by).group_by(by).agg(plain_per_day=pl.col("plain").sum() / pl.col("searched_days").sum())
        )
        table = found.join(true, on=by, how="left", maintain_order="left")
        parts.append(
            table.with_columns(pl.col(name).cast(pl.String) for name in by).with_columns(by=pl.lit(" and ".join(by)))
        )
    return pl.concat(parts, how="diagonal").select("by", "teff_bin", "age_bin", pl.exclude("by", "teff_bin", "age_bin"))


def _rates_by_energy(survey: Survey) -> pl.DataFrame:
    """Flares a day in bins of energy, by temperature (002, Fig. 13)."""
    table = rates_by_size(survey.stars, survey.flares, ["teff_bin"], ENERGY_EDGES, RATES)
    return table.with_columns(pl.col("teff_bin").cast(pl.String))


def faces_of(survey: Survey) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Whether spotted faces flare more (`compare_faces`), and flares by phase: of all, small and large ones."""
    settings = FaceSettings()
    flares = survey.flares.filter(pl.col("phase").is_not_null())
    found = flares.group_by("star_id").agg(n=pl.col("p").sum())
    searched = survey.phases.sort("star_id", "phase_low").join(found, on="star_id", how="inner", maintain_order="left")
    faces = pl.DataFrame()
    if searched.is_empty():
        return faces, pl.DataFrame()
    by_star = searched.group_by("star_id", maintain_order=True).agg("searched_days", pl.col("n").first())
    exposure = combine_exposure(np.stack(by_star["searched_days"].to_list()), by_star["n"].to_numpy())
    large = pl.col("amplitude") >= settings.large_amplitude
    parts = [
        phase_histogram(part["phase"].to_numpy(), part["p"].to_numpy(), exposure, settings).select(
            pl.lit(sample).alias("sample"), pl.all()
        )
        for sample, part in (("all", flares), ("small", flares.filter(~large)), ("large", flares.filter(large)))
    ]
    return compare_faces(flares, exposure, settings), pl.concat(parts)


def groups_of(survey: Survey) -> pl.DataFrame:
    """The young groups of the paper's Table 1, each with the rate of this survey's stars of its ages."""
    rates = rates_by_group(survey.stars, survey.flares, ["age_bin"], RATES)
    rates = rates.rename({"n_stars": "n_stars_searched"}).with_columns(pl.col("age_bin").cast(pl.String))
    groups = young_groups().with_columns(pl.col("age_bin").cast(pl.String))
    return groups.join(rates, on="age_bin", how="left", maintain_order="left")


def evaporation_of(survey: Survey) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What flares take from V1298 Tau d: the envelope with time, and the loss by `assumption`.

    The paper's flares are assumed to fill a tenth of the time; those of this survey's young stars do so as often and as
    long as they were found, with their own law of amplitudes.
    """
    planet, host = Planet(), Host()
    assumed: dict[str, Flaring] = {"paper": Flaring()}
    if (own := _young_flaring(survey)) is not None:
        assumed["catalog"] = own
    scenarios, tracks = [], []
    for name, flaring in assumed.items():
        table = compare_scenarios(planet, host, flaring)
        scenarios.append(table.select(pl.lit(name).alias("assumption"), pl.lit(flaring.share).alias("share"), pl.all()))
        for until in (0.0, 200.0, 1000.0):
            track = evolve(planet, host, flaring if until else None, until, 1000.0)
            columns = {"age_myr": track.age, "envelope": track.envelope[:, 0], "radius": track.radius[:, 0]}
            named = pl.DataFrame(columns).select(
                pl.lit(name).alias("assumption"), pl.lit(until).alias("flares_until_myr"), pl.all()
            )
            tracks.append(named)
    return pl.concat(tracks), pl.concat(scenarios)


def _young_flaring(survey: Survey) -> Flaring | None:
    """How young stars flare, by the catalog; None for too few flares to tell."""
    young = survey.stars.filter(pl.col("age_myr") < YOUNG_MYR)
    flares = survey.flares.join(young, on="star_id", how="semi").filter(pl.col("amplitude") >= STRONG)
    n, days = float(flares["p"].sum()), float(young["searched_days"].sum())
    if n < 5.0:
        return None
    size, p = flares["amplitude"].to_numpy(), flares["p"].to_numpy()
    minutes = float(p @ flares["duration_minutes"].to_numpy()) / n
    alpha, _ = closed_form_slope(size, STRONG, p)
    return Flaring(share=share_of_time(n / days, minutes), smallest=STRONG, alpha=alpha)


def main() -> None:
    """The stage."""
    root = find_root()
    survey = read_survey(root)
    tables, summary = science_of(survey)
    orbits = FlareFinder.of_folder(champion(root, WING).folder, "cpu").orbits
    settings = read_catalog_settings(root)
    tables["largest_light"] = light_of_largest(root / SURVEY, tables["largest"], orbits)
    tables["shown_sectors"] = shown_sectors(survey.sectors)
    tables["sector_light"], tables["sector_spectra"] = light_of_sectors(
        root / SURVEY, tables["shown_sectors"], survey.flares, orbits, settings.rotation, settings.measure.trend
    )
    for folder in (TABLES, FIGURES):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_part(table, root / TABLES / f"{name}.parquet")
    for name, figure in figures_of(tables).items():
        save_figure(figure, root / FIGURES / f"{name}.png")
    write_json(root / REPORT, _rounded(summary))
    scores = summary["flares"]
    print(
        f"{scores['n_events']} flares, {scores['true_positives']} of them true; {scores['counted_labels']} plain ones, "
        f"of which {scores['counted_recall']:.1%} are found"
    )


def _rounded(value: Any) -> Any:
    """Numbers to four digits, so that a report does not change with the last bit of a sum."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    with one_sentence():
        main()
