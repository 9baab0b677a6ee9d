"""The simulated sky as files: the data set that is embedded in the project (`varistar survey simulate`).

A folder with `light_curves/part-*.parquet`, `stars.parquet`, `truth.parquet` and a datasheet, `README.md`. The same
settings give the same bytes. The folder is replaced as a whole, or not at all.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from varistar.foundation.errors import DataError
from varistar.foundation.files import atomic_folder
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import COLUMNS, concatenate

from .ground import CATALOG, SURVEY, TRUTH, Sky, SkySettings, iterate_fields

#: A set is cut into at least this many shards; no shard parts a field, since its stars share their exposures.
SHARDS = 16

#: What a snapshot's folder holds.
CONTENT = {"light_curves", "stars.parquet", "truth.parquet", "README.md"}

COLUMN_MEANINGS = {
    "star_id": "name of the star; eighteen digits that say nothing about it",
    "catalog_source": "stellar_main or milliquas",
    "ra_deg": "right ascension [deg]",
    "dec_deg": "declination [deg]",
    "parallax": "[mas], with an error drawn from parallax_error; a quasar's is its error",
    "parallax_error": "[mas]",
    "phot_g_mean_mag": "Gaia G [mag]",
    "phot_bp_mean_mag": "Gaia BP [mag]",
    "phot_rp_mean_mag": "Gaia RP [mag]",
    "radius_val": "radius [Sun]",
    "lum_val": "luminosity [Sun]",
    "ruwe": "goodness of the astrometry, 1 for a single star",
    "teff": "effective temperature [K]",
    "logg": "log10 of the surface gravity [cm/s^2]",
    "mh": "metallicity [dex]",
    "vbroad": "line broadening of stars brighter than G = 13.5 [km/s]",
    "vbroad_error": "[km/s]",
    "kind": "clump, quasar, rotator, eclipsing, pulsating, semiregular or constant",
    "subtype": "such as dwarf, subgiant, giant and hot among rotators, EA, EB and EW among eclipsing binaries",
    "field": "number of the field, whose stars share their exposures",
    "g_mag": "median of the noise-free magnitude [mag]",
    "period_days": "rotation, orbital or pulsation period; null for none",
    "amplitude": "full range of the noise-free magnitude at the star's epochs [mag]",
    "inclination": "of a rotator's axis to the line of sight [deg]",
}


def write_snapshot(settings: SkySettings, folder: Path) -> Path:
    """Simulate a sky and write it into `folder`, which is replaced; memory holds one shard at a time.

    Raises
    ------
    DataError
        When the settings ask for no star, or the folder cannot be written or holds something else, which would be lost.
    """
    if not any(settings.counts.model_dump().values()):
        raise DataError(f"{folder}: these settings ask for a sky without stars")
    if folder.is_dir() and (foreign := sorted({path.name for path in folder.iterdir()} - CONTENT)):
        raise DataError(
            f"{folder}: holds '{foreign[0]}', which is no part of a simulated sky; name a folder of its own"
        )
    fields_per_shard = max(1, settings.n_fields // SHARDS)
    stars, truth, points = [], [], 0
    with atomic_folder(folder) as temporary:
        for number, shard in enumerate(_batches(iterate_fields(settings), fields_per_shard)):
            light_curves = concatenate([sky.light_curves for sky in shard])
            write_shard(temporary / "light_curves" / f"part-{number:05d}.parquet", light_curves)
            stars += [sky.stars for sky in shard]
            truth += [sky.truth for sky in shard]
            points += int(light_curves.offsets[-1])
        catalog, known = pl.concat(stars), pl.concat(truth)
        catalog.write_parquet(temporary / "stars.parquet", compression="zstd", statistics=False)
        known.write_parquet(temporary / "truth.parquet", compression="zstd", statistics=False)
        (temporary / "README.md").write_text(_datasheet(settings, known, points), encoding="utf-8")
    return folder


def _batches(skies: Iterable[Sky], size: int) -> Iterator[list[Sky]]:
    remaining = iter(skies)
    while batch := list(islice(remaining, size)):
        yield batch


def _datasheet(settings: SkySettings, truth: pl.DataFrame, points: int) -> str:
    """What the folder holds, how it was made, and what it is not."""
    kinds = truth.group_by("kind", maintain_order=True).len().sort("len", "kind", descending=[True, False])
    first, last = settings.window
    return f"""# A simulated sky

**Not real data.** These light curves were simulated by varistar in the likeness of ASAS-SN's
g-band light curves; no star, position or measurement in them is real. `docs/sky.md` says how, and how alike they are.

- {truth.height} stars in {settings.n_fields} fields, {points} points (survey `{SURVEY}`), seed {settings.seed}
- {", ".join(f"{count} {kind}" for kind, count in kinds.iter_rows())}
- MJD {first} to {last}, and {settings.margin_days:g} days more on both sides; time system MJD_UTC; fluxes in mJy
- numbers are rounded to powers of two: flux and magnitude to at least {settings.steps_per_error:g} steps per error
- made by `varistar survey simulate --output <folder>`; the same settings give the same bytes
- free of any rights: it was made by a program

## light_curves/part-*.parquet

One row per star. A non-detection has a flux below the limit, and no magnitude.

{_table((name, f"{column.unit}: {column.meaning}".removeprefix(": ")) for name, column in COLUMNS.items())}

## stars.parquet: what a catalog says

{_table((name, COLUMN_MEANINGS[name]) for name in CATALOG)}

## truth.parquet: what is true, for judging results only

{_table((name, COLUMN_MEANINGS[name]) for name in TRUTH)}

## Settings

```json
{settings.model_dump_json(indent=2)}
```
"""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| column | meaning |", "|---|---|", *(f"| `{name}` | {meaning} |" for name, meaning in rows)])
