"""From light curves to a report on how alike they are: `varistar survey compare`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from varistar.figures.realism import overlays_figure, telltale_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder, require_replaceable, write_json
from varistar.lightcurves.readers import find_sources
from varistar.lightcurves.table import LightCurves

from .compare import LEAST_STARS, compare
from .match import TOLERANCE, match_magnitudes
from .quantities import quantities
from .residuals import Array
from .seasons import Half
from .tell_apart import tell_apart
from .words import Realism, as_json, as_markdown

#: The window of the ASAS-SN survey of params.yaml [MJD].
WINDOW = (58484.5, 60311.5)
#: What a report's folder holds.
CONTENT = {"report.md", "report.json", "quantities.parquet", "overlays.png", "telltale.png"}
#: Simulated stars of known truth are found by this file in the survey's folder.
TRUTH = "truth.parquet"
#: A star whose median over all rows is further than this from every real one has none of their magnitudes [mag].
PARTNERS_WITHIN = TOLERANCE + 0.5
#: Columns without which light curves can be compared.
OPTIONAL = ("limit", "fwhm", "camera", "quality")


def measure_realism(
    real: Sequence[Path],
    simulated: Path,
    output: Path,
    *,
    kinds: Sequence[str] | None = ("clump", "constant"),
    half: Half = "judge",
    match_magnitude: bool = True,
    window: tuple[float, float] = WINDOW,
    bands: tuple[str, ...] | None = ("g",),
    seed: int = 0,
) -> Realism:
    """Compare real light curves with simulated ones, and write `output`, which is replaced as a whole.

    The folder receives report.md, report.json, quantities.parquet (what was measured of each star), overlays.png and
    telltale.png. Equal input gives equal bytes.

    Parameters
    ----------
    real : files, stores or folders of any known format
    simulated : the folder of a simulated survey, or light curves of any kind
    kinds : simulated stars that count, by the survey's truth.parquet; None for all, and then no truth is needed
    half : the seasons that count; a simulator is fitted on one half and judged by the other
    match_magnitude : whether simulated stars are chosen to have the magnitudes of the real ones
    window, bands : first and last MJD, and bands that count
    seed : of bootstrap, folds and trees

    Raises
    ------
    DataError
        When there are no light curves, none in the window and bands, too few, or no truth where kinds are asked for.
    """
    require_replaceable(output, lambda path: path.name in CONTENT)
    chosen = _Chosen(half, window, bands)
    real_parts = list(_read(real))
    simulated_parts, fields = _read_simulated(simulated, kinds)
    missing = [name for name in OPTIONAL if any(name not in part.columns for part in [*real_parts, *simulated_parts])]
    # What one side does not know, the other must not use either.
    real_parts, simulated_parts = _without(real_parts, missing), _without(simulated_parts, missing)
    real_stars = _measure_stars(real_parts, chosen, ", ".join(map(str, real)))
    left_out = {"too few good points": sum(len(part) for part in real_parts) - real_stars.height}
    if match_magnitude:
        simulated_parts = _near(simulated_parts, real_stars["mag"].to_numpy(), simulated)
    simulated_stars = _measure_stars(simulated_parts, chosen, str(simulated), fields)
    if match_magnitude:
        n_before = real_stars.height
        real_stars, simulated_stars = _match(real_stars, simulated_stars, simulated)
        left_out["no simulated star of its magnitude"] = n_before - real_stars.height
    real_seasons = _measure(_those(real_parts, real_stars), chosen, "season")
    simulated_seasons = _measure(_those(simulated_parts, simulated_stars), chosen, "season", fields)
    found = Realism(
        table=compare(real_stars, simulated_stars, seed),
        stars=tell_apart(real_stars, simulated_stars, seed),
        seasons=tell_apart(real_seasons, simulated_seasons, seed),
        n_real=real_stars.height,
        n_simulated=simulated_stars.height,
        left_out={reason: count for reason, count in left_out.items() if count},
        about={
            "half": half,
            "window": list(window),
            "bands": None if bands is None else list(bands),
            "kinds": None if kinds is None else list(kinds),
            "matched_by_magnitude": match_magnitude,
            "columns_left_out": missing,
            "seed": seed,
        },
    )
    _write(output, found, real_stars, simulated_stars)
    return found


class _Chosen(NamedTuple):
    """What of a light curve counts."""

    half: Half
    window: tuple[float, float]
    bands: tuple[str, ...] | None

    def __str__(self) -> str:
        band = f" and band {' or '.join(self.bands)}" if self.bands else ""
        return f"in MJD {self.window[0]:g} to {self.window[1]:g}{band}"


def _read(paths: Sequence[Path]) -> Iterator[LightCurves]:
    """The light curves of files and folders, one file or shard at a time; no star stands in two."""
    seen: set[str] = set()
    for source in find_sources(paths):
        part = source.read()
        if lacks := [name for name in ("mag", "mag_err") if name not in part.columns]:
            raise DataError(f"{source.path}: lacks the column '{lacks[0]}'; magnitudes are what is compared")
        for star in part.star_id:
            if star in seen:
                raise DataError(f"{source.path}: the star '{star}' stands in a file before it; give each star once")
            seen.add(star)
        yield part


def _read_simulated(folder: Path, kinds: Sequence[str] | None) -> tuple[list[LightCurves], dict[str, str]]:
    """The simulated stars that count, and the field of each where that is known."""
    inside = folder / "light_curves"
    truth_file = folder / TRUTH
    parts = list(_read([inside if inside.is_dir() else folder]))
    if not truth_file.is_file():
        if kinds is not None:
            raise DataError(
                f"{folder}: holds no {TRUTH}, which says what kind each simulated star is; expected the folder of a "
                f"simulated survey, or a comparison with stars of all kinds"
            )
        return parts, {}
    try:
        truth = pl.read_parquet(truth_file, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{truth_file}: cannot be read: {str(error).splitlines()[0]}") from None
    if missing := [name for name in ("star_id", "kind") if name not in truth.columns]:
        raise DataError(f"{truth_file}: lacks the column '{missing[0]}'")
    if kinds is not None:
        known = sorted(truth["kind"].unique())
        if unknown := [kind for kind in kinds if kind not in known]:
            raise DataError(f"{truth_file}: has no star of the kind '{unknown[0]}'; it has {', '.join(known)}")
        truth = truth.filter(pl.col("kind").is_in(list(kinds)))
    if not (chosen := _those(parts, truth)):
        raise DataError(f"{folder}: {TRUTH} names none of its light curves")
    fields = dict(truth.select("star_id", pl.format("field {}", "field")).iter_rows()) if "field" in truth else {}
    return chosen, fields


def _those(parts: Sequence[LightCurves], table: pl.DataFrame) -> list[LightCurves]:
    """The stars that a table names."""
    wanted = set(table["star_id"])
    chosen = (part.take([i for i, star in enumerate(part.star_id) if star in wanted]) for part in parts)
    return [part for part in chosen if len(part)]


def _without(parts: Sequence[LightCurves], names: Sequence[str]) -> list[LightCurves]:
    return [
        replace(part, columns={name: values for name, values in part.columns.items() if name not in names})
        for part in parts
    ]


def _measure_stars(
    parts: Sequence[LightCurves], chosen: _Chosen, source: str, fields: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """The quantities of each star; refused where too few stars have any."""
    table = _measure(parts, chosen, "star", fields)
    n_stars = sum(len(part) for part in parts)
    if table.is_empty():
        raise DataError(f"{source}: none of the {n_stars} light curves has enough good points {chosen}")
    if table.height < LEAST_STARS:
        raise DataError(
            f"{source}: only {table.height} of the {n_stars} light curves have enough good points {chosen}; "
            f"a comparison needs {LEAST_STARS}"
        )
    return table


def _measure(
    parts: Sequence[LightCurves],
    chosen: _Chosen,
    per: Literal["star", "season"],
    fields: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """The quantities, and as `cluster` the star's simulated field, whose stars share their exposures, or the star."""
    table = pl.concat([quantities(part, chosen.window, chosen.half, per, chosen.bands) for part in parts])
    return table.with_columns(cluster=pl.col("star_id").replace(fields or {}))


def _near(parts: Sequence[LightCurves], magnitudes: Array, source: Path) -> list[LightCurves]:
    """The stars that can be partners of these magnitudes: measuring the others would take time for nothing."""
    low, high = magnitudes.min() - PARTNERS_WITHIN, magnitudes.max() + PARTNERS_WITHIN
    near = []
    for part in parts:
        stars = (part.star(i)["mag"] for i in range(len(part)))
        middle = np.array([np.median(mag[np.isfinite(mag)]) if np.isfinite(mag).any() else np.nan for mag in stars])
        near.append(part.take(np.flatnonzero((middle >= low) & (middle <= high))))
    if not (near := [part for part in near if len(part)]):
        raise _without_partners(source, 0)
    return near


def _match(real: pl.DataFrame, simulated: pl.DataFrame, source: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The stars of both samples that have partners of their magnitude."""
    stay, chosen = match_magnitudes(real["mag"].to_numpy(), simulated["mag"].to_numpy())
    if len(stay) < LEAST_STARS:
        raise _without_partners(source, len(stay))
    return real[stay], simulated[chosen]


def _without_partners(source: Path, n: int) -> DataError:
    return DataError(
        f"{source}: has simulated stars within {TOLERANCE} mag of only {n} real ones; at least {LEAST_STARS} are "
        f"needed, or a comparison that does not match magnitudes"
    )


def _write(output: Path, found: Realism, real: pl.DataFrame, simulated: pl.DataFrame) -> None:
    samples = pl.concat([real.with_columns(is_real=True), simulated.with_columns(is_real=False)])
    with atomic_folder(output) as folder:
        samples.write_parquet(folder / "quantities.parquet", compression="zstd", statistics=False)
        write_json(folder / "report.json", as_json(found))
        (folder / "report.md").write_text(as_markdown(found), encoding="utf-8")
        save_figure(overlays_figure(real, simulated, found.table), folder / "overlays.png")
        scores = {"stars": found.stars.scores, "seasons": found.seasons.scores}
        save_figure(telltale_figure(scores, found.stars.telltale, found.stars.groups), folder / "telltale.png")
