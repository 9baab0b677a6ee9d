"""The command line: one thin command for each job. What a command needs is imported when it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from varistar import __version__
from varistar.foundation.errors import VaristarError, one_sentence

app = typer.Typer(
    help="Train neural networks that measure variable stars, compare them, promote the best, run it over a survey.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
survey_app = typer.Typer(help="Make the simulated survey.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(survey_app, name="survey")

Wing = Annotated[str, typer.Argument(help="Which network: periods.", metavar="WING")]
Inputs = Annotated[list[Path], typer.Argument(help="Light curves: files, shards, or folders of them.", metavar="INPUT")]
Root = Annotated[
    Path | None, typer.Option(help="The project's folder; by default the nearest at or above the current one.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each processor.")]


def main() -> None:
    """Run the command line; a mistake of the user ends in one sentence and exit code 2."""
    with one_sentence():
        app(prog_name="varistar")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"varistar {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Global options."""


@app.command()
def config(
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of params.yaml instead.")] = False,
    root: Root = None,
) -> None:
    """Check params.yaml, and say what it trains and what that costs."""
    from varistar.config import json_schema, read_config
    from varistar.foundation.params import find_root
    from varistar.sizes import estimate

    if schema:
        print(json_schema())
        return
    params = read_config(find_root(root))
    print(f"params.yaml is in order: size {params.size}, survey {params.periods.survey}")
    for name, variant in params.periods.variants.items():
        sample = params.periods.images[variant.images].sample
        print(f"  {name}: {params.periods.samples[sample].simulations} examples of {sample}")
    print(f"a whole rebuild takes {estimate(params)}")


@app.command()
def size(
    name: Annotated[str, typer.Argument(help="smoke, laptop, study or paper.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Switch the size of the pipeline.

    Shows what changes and what a rebuild would cost, asks, and then writes params.yaml.
    """
    from varistar.foundation.params import find_root
    from varistar.sizes import apply_switch, plan_switch

    folder = find_root(root)
    switch = plan_switch(folder, name)
    for key, (before, after) in switch.changes.items():
        print(f"  {key}: {before} -> {after}")
    if not switch.changes:
        print(f"params.yaml is at size {name} already")
    print(f"a whole rebuild takes {switch.cost}")
    if switch.changes and (yes or typer.confirm("write params.yaml?")):
        apply_switch(folder, switch)
        print(f"params.yaml is at size {name}; `dvc repro` rebuilds what it changes")


@survey_app.command("simulate")
def simulate(
    output: Annotated[Path, typer.Option(help="Folder that receives the survey.")],
    root: Root = None,
) -> None:
    """Make the simulated survey of params.yaml.

    The folder receives light curves, a star catalog, the truth, and a datasheet; it is replaced as a whole.
    """
    from varistar.foundation.params import find_root, read_section
    from varistar.surveys.sky import SkySettings
    from varistar.surveys.snapshot import write_snapshot

    settings = read_section(find_root(root), "sky", SkySettings)
    write_snapshot(settings, output)
    print(f"{output}: the simulated survey of seed {settings.seed}")


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
    done = ingest_folder(inputs, output, cuts, format, read_json(mapping) if mapping else None)
    print(f"{output}: {done.n_stars} stars read, of which {done.n_kept} pass the cuts of {survey}")
    for reason, count in done.reasons.items():
        print(f"  {count} {reason}")
    if done.n_refused:
        print(f"{done.n_refused} files refused; the reasons stand in {output / 'refused.parquet'}")


@app.command()
def train(
    wing: Wing,
    variant: Annotated[str, typer.Argument(help="A variant of params.yaml.")],
    preset: Annotated[str | None, typer.Option(help="Take network and training from this preset instead.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the model; by default build/trials/<variant>.")
    ] = None,
    root: Root = None,
) -> None:
    """Train one variant as one MLflow run, outside the pipeline.

    The calibrated model is kept apart from the pipeline's results. An interrupted training goes on when the same
    command is given again. `dvc repro` does the same for every variant that changed.
    """
    _known_wing(wing)
    from varistar.foundation.params import find_root
    from varistar.periods.trial import train_trial

    folder = find_root(root)
    kept = train_trial(folder, variant, preset, output)
    print(f"{kept}: trained and calibrated; `varistar promote {wing} --candidate {kept}` compares it with the champion")


@app.command()
def promote(
    wing: Wing,
    candidate: Annotated[
        Path | None, typer.Option(help="Folder of a model; by default the challenger that the comparison chose.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote even if a gate refuses; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the registry.")] = "",
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Keeping the champion is no error: exit code 0 when a gate refuses.")
    ] = False,
    root: Root = None,
) -> None:
    """Compare a challenger with the champion; promote it if it passes.

    Both are measured on the same frozen test set. The gates stand in params.yaml, under periods.promotion. When one of
    them refuses, the champion stays and the exit code is 2.
    """
    _known_wing(wing)
    from varistar.foundation.params import find_root
    from varistar.periods.promote import promote_challenger

    outcome = promote_challenger(find_root(root), candidate, force, reason)
    print("\n".join(outcome.lines))
    if outcome.refusals:
        for refusal in outcome.refusals:
            print(f"  refused: {refusal}", file=sys.stderr)
        raise typer.Exit(0 if if_better else 2)


@app.command()
def champion(wing: Wing, root: Root = None) -> None:
    """Show the champion and its history.

    MLflow's aliases are set from them. On a fresh clone, whose MLflow store is empty, the champion is packaged for it
    again, under the name models:/varistar-periods@champion.
    """
    _known_wing(wing)
    from varistar.foundation.params import find_root
    from varistar.periods.promote import show_champion

    print("\n".join(show_champion(find_root(root))))


@app.command()
def rollback(
    wing: Wing,
    reason: Annotated[str, typer.Option(help="Why; kept in the registry.")],
    root: Root = None,
) -> None:
    """Make the champion before this one champion again."""
    _known_wing(wing)
    from varistar.foundation.params import find_root
    from varistar.periods.promote import roll_back

    print("\n".join(roll_back(find_root(root), reason).lines))


@app.command()
def predict(
    wing: Wing,
    inputs: Inputs,
    output: Annotated[Path, typer.Option(help="The catalog: .parquet, .csv, .ecsv or .fits.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a model; by default the champion.")] = None,
    workers: Workers = None,
    root: Root = None,
) -> None:
    """Measure every star with the champion, and write a catalog.

    Beside the catalog, a table with `.refused` in its name lists the stars and files without a row, with reasons. A
    prediction that was interrupted goes on when the same command is given again.
    """
    _known_wing(wing)
    from varistar.catalog.predict import predict as predict_catalog

    chosen = model or _champion_folder(wing, root)
    done = predict_catalog(inputs, chosen, output, workers)
    print(f"{done.catalog}: {done.n_stars} stars")
    print(f"{done.refused}: {done.n_refused} refused, with reasons")


@app.command()
def report(root: Root = None) -> None:
    """Print the results: methods, champion, catalog, figures, runs."""
    from varistar.foundation.params import find_root
    from varistar.report import report_lines

    print("\n".join(report_lines(find_root(root))))


@app.command()
def status(root: Root = None) -> None:
    """Say whether data, pipeline and champion are in order.

    On a fresh clone, `make pull` fetches data and champion first. The exit code is 1 when something is not in order.
    """
    from varistar.foundation.params import find_root
    from varistar.report import status_lines

    lines, in_order = status_lines(find_root(root))
    print("\n".join(lines))
    if not in_order:
        raise typer.Exit(1)


def _known_wing(wing: str) -> None:
    if wing != "periods":
        raise VaristarError(f"there is no wing '{wing}'; there is periods")


def _champion_folder(wing: str, root: Path | None) -> Path:
    from varistar.experiments.registry import champion
    from varistar.foundation.params import find_root

    return champion(find_root(root), wing).folder


if __name__ == "__main__":
    main()
