"""The commands that fetch, read and transform light curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varistar.foundation.errors import ConfigError

from .options import AcceleratorName, EngineName, Inputs, Root, Workers, accelerator_of, engine_of, others_go_on

if TYPE_CHECKING:
    from varistar.archives.fetch import Fetched

app = typer.Typer(rich_markup_mode=None)
fetch_app = typer.Typer(
    help="Fetch light curves from an archive.\n\nThey are stored in a folder of files, which ingest and predict read. "
    "What was interrupted goes on when the same command is given again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(fetch_app, name="fetch")

Into = Annotated[Path, typer.Option("--output", help="Folder that receives the files.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of stars.", metavar="ID")]
IdFile = Annotated[
    Path | None,
    typer.Option(
        "--ids",
        help="CSV or Parquet file of ids; with a colon and a name where it has several columns (stars.csv:tic).",
    ),
]


@fetch_app.command("skypatrol")
def fetch_skypatrol(
    output: Into,
    ids: Ids = None,
    id_file: IdFile = None,
    by: Annotated[
        str, typer.Option(help="What the ids are: asas_sn_id, or a column of its catalog, such as gaia_id.")
    ] = "asas_sn_id",
    cone: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="All stars around a place, instead of ids: right ascension, declination and radius [deg]."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch known stars again, for their newest epochs.")
    ] = False,
) -> None:
    """Light curves of ASAS-SN, from Sky Patrol v2.

    Needs the extra: pip install "varistar[skypatrol]".
    """
    from varistar.archives.sky_patrol import fetch_sky_patrol, find_in_cone

    if cone and (ids or id_file or by != "asas_sn_id"):
        raise ConfigError("--cone finds all stars of a place by their asas_sn_id: give no ids and no --by with it")
    wanted = find_in_cone(*cone) if cone else _ids(ids, id_file)
    _say(fetch_sky_patrol(wanted, output, by, refresh=refresh), output)


@fetch_app.command("mast")
def fetch_mast_command(
    output: Into,
    ids: Ids = None,
    id_file: IdFile = None,
    sector: Annotated[list[int] | None, typer.Option(help="Only this sector; may be given again.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask again about known stars, for new sectors.")] = False,
) -> None:
    """2-minute light curves of TESS by TIC number, from MAST.

    Needs the extra: pip install "varistar[mast]".
    """
    from varistar.archives.mast import fetch_mast

    _say(fetch_mast(_ids(ids, id_file), output, sector or (), refresh=refresh), output)


@fetch_app.command("zenodo")
def fetch_zenodo_command(
    record: Annotated[str, typer.Argument(help="periods (the period paper's release), a number, a DOI or an address.")],
    output: Into,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Names wanted, such as '*.csv'; may be given again.")
    ] = None,
) -> None:
    """Files of a Zenodo record, checked against its checksums."""
    from varistar.archives.zenodo import fetch_zenodo

    _say(fetch_zenodo(record, output, pattern or ("*",)), output)


def _ids(ids: Sequence[str] | None, file: Path | None) -> list[str]:
    from varistar.archives.fetch import read_ids

    if bool(ids) == bool(file):
        raise ConfigError("say which stars: ids, or a file of them with --ids")
    if file is None:
        return list(ids or ())
    name, colon, column = str(file).rpartition(":")
    if file.exists() or not colon:
        return read_ids(file)
    return read_ids(Path(name), column)


def _say(done: "Fetched", folder: Path) -> None:
    print(f"{folder}: {done.n_new} fetched, {done.n_known} there already, {len(done.refused)} refused")
    for star, reason in list(done.refused.items())[:10]:
        print(f"  {star}: {reason}")
    if done.refused:
        print(f"all of the refused stand in {folder / '.fetched/refused.parquet'}")


@app.command()
def ingest(
    inputs: Inputs,
    output: Annotated[Path, typer.Option(help="Folder of the store that receives the light curves.")],
    survey: Annotated[
        str, typer.Option(help="Survey of params.yaml whose cuts are counted (and not applied).")
    ] = "asassn",
    format: Annotated[
        str | None,
        typer.Option(
            help="The files' format, by default told from each file: skypatrol_v1, skypatrol_v2, skypatrol_client, "
            "asassn_coadd, ztf_irsa, ztf_magnitudes, atlas_forced, spoc (TESS and Kepler), or shard."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="For tables of no known format, a JSON file that says which column is which, such as "
            '{"time": "mjd", "flux": "f", "flux_err": "e", "units": {"flux": "mJy"}}.'
        ),
    ] = None,
    engine: EngineName = None,
    workers: Workers = None,
    root: Root = None,
) -> None:
    """Read light curves of any known format into a sharded store.

    All points are stored; what the survey's cuts would take is counted, in losses.parquet beside the shards. Files that
    cannot be read are listed in refused.parquet. Running it again adds what is new: a known star with new epochs gets a
    new version, and the latest counts.
    """
    from varistar.foundation.files import read_json
    from varistar.foundation.params import find_root, read_section
    from varistar.surveys.definition import Survey
    from varistar.surveys.folder import ingest as ingest_folder

    cuts = read_section(find_root(root), f"surveys.{survey}", Survey).cuts
    columns = read_json(mapping) if mapping else None
    done = ingest_folder(inputs, output, cuts, format, columns, engine_of(engine, workers), print)  # type: ignore[arg-type]
    if done is None:
        return others_go_on()
    print(f"{output}: {done.n_stars} stars read, of which {done.n_kept} pass the cuts of {survey}")
    for reason, count in done.reasons.items():
        print(f"  {count} {reason}")
    if done.n_refused:
        print(f"{done.n_refused} files refused; the reasons stand in {output / 'refused.parquet'}")


@app.command()
def simulate(
    sample: Annotated[str, typer.Argument(help="A sample of params.yaml.")],
    output: Annotated[
        Path, typer.Option(help="Folder for the light curves and their truth; a sample in it is replaced.")
    ],
    examples: Annotated[int | None, typer.Option(min=1, help="Number of light curves, not the sample's own.")] = None,
    engine: EngineName = None,
    workers: Workers = None,
    accelerator: AcceleratorName = None,
    root: Root = None,
) -> None:
    """Inject a sample's simulated stars into the survey's noise.

    This is the training sample of params.yaml, in any size, outside the pipeline: train, validation, calibration and
    test, each with its truth. What was interrupted goes on when the same command is given again.
    """
    from varistar.foundation.params import find_root
    from varistar.periods.sample import make_sample

    counts = make_sample(
        find_root(root), sample, output, examples, engine_of(engine, workers), accelerator_of(accelerator, root), print
    )
    if counts is None:
        return others_go_on()
    print(f"{output}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


@app.command()
def transform(
    inputs: Inputs,
    representation: Annotated[list[str], typer.Option(help="A representation of params.yaml; may be given again.")],
    output: Annotated[Path, typer.Option(help="Folder for one array set a representation; others in it are replaced.")],
    engine: EngineName = None,
    workers: Workers = None,
    accelerator: AcceleratorName = None,
    root: Root = None,
) -> None:
    """Turn light curves into the images that networks read.

    The survey's cuts are applied first. Each representation's folder holds memory-mapped arrays and an index with one
    row per image; refused.parquet lists the stars and files without one, with reasons.
    """
    from varistar.foundation.params import find_root
    from varistar.periods.transform import transform_light_curves

    chosen = engine_of(engine, workers)
    done = transform_light_curves(
        find_root(root), inputs, representation, output, chosen, accelerator_of(accelerator, root), print
    )
    if done is None:
        return others_go_on()
    print(f"{output}: {done.n_stars} stars in {len(representation)} representations; {done.n_refused} refused")
