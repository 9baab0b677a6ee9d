"""The commands that train, choose and run networks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varistar.foundation.errors import ConfigError, VaristarError

from .options import (
    AcceleratorName,
    EngineName,
    Inputs,
    Root,
    Workers,
    accelerator_of,
    engine_of,
    others_go_on,
    project_of,
)

if TYPE_CHECKING:
    from varistar.catalog.flares import FlareCatalogSettings
    from varistar.experiments.promotion import Contest
    from varistar.foundation.accelerator import Accelerator

app = typer.Typer(rich_markup_mode=None)

WINGS = ("periods", "flares")
Wing = Annotated[str, typer.Argument(help="Which network: periods or flares.", metavar="WING")]


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

    _require_model_or_nothing(output)
    folder = find_root(root)
    if wing == "flares":
        from varistar.flares.trial import train_trial as train_flares

        if preset:
            raise ConfigError("--preset is of periods; flares has no presets")
        kept = train_flares(folder, variant, output)
    else:
        from varistar.periods.trial import train_trial

        kept = train_trial(folder, variant, preset, output)
    print(f"{kept}: trained and calibrated; `varistar promote {wing} --candidate {kept}` compares it with the champion")


@app.command()
def label(
    wing: Wing,
    inputs: Inputs,
    labels: Annotated[
        Path,
        typer.Option(
            help="Table of flares: a published list, or star_id, tpeak [d] and what is known of amplitude, "
            "fwhm_minutes, equivalent_duration_s."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the labelled stars; one that is there is replaced.")],
    star: Annotated[str | None, typer.Option(help="The star of a list that names none.")] = None,
    root: Root = None,
) -> None:
    """Make training data of light curves whose flares are labelled.

    Stars that the table names are taken, with the flares that fall into their light curves. Where something stands out
    that the table does not name, networks learn neither that it is a flare nor that it is none.
    """
    from varistar.flares.label import label_light_curves
    from varistar.flares.orbits import OrbitSettings
    from varistar.foundation.params import find_root, read_section

    if wing != "flares":
        _known_wing(wing)
        raise ConfigError("only flares are labelled; periods are learned from simulated stars alone")
    project, folder = find_root(root), output.resolve()
    done = label_light_curves(inputs, labels, output, read_section(project, "flares.orbits", OrbitSettings), star)
    print(f"{output}: {done.stars} stars with {done.flares} flares; {done.doubts} doubts, which count neither way")
    for reason, count in done.left_out.items():
        print(f"  left out: {count} {reason}")
    shown = folder.relative_to(project) if folder.is_relative_to(project) else folder
    print(f"to learn from them, set flares.labelled in params.yaml to {{folder: {shown}, version: '{done.version}'}}")


@app.command()
def finetune(
    wing: Wing,
    variant: Annotated[str, typer.Argument(help="A variant of params.yaml.")],
    labelled: Annotated[Path, typer.Option(help="Folder of labelled stars, as `varistar label flares` writes it.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the model; by default build/trials/<variant>-tuned.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model to begin with; by default the variant's last rebuild.")
    ] = None,
    root: Root = None,
) -> None:
    """Teach a trained network further, on labelled stars.

    Of these the test stars are kept aside to judge by. The threshold is found on the others, upside down.
    """
    from varistar.flares.finetune import tune_trial
    from varistar.foundation.params import find_root

    if wing != "flares":
        _known_wing(wing)
        raise ConfigError("only networks of flares are taught further")
    _require_model_or_nothing(output)
    done = tune_trial(find_root(root), variant, labelled, output, model)
    print(f"{done.folder}: taught by {done.stars} labelled stars; `varistar promote flares --candidate` compares it")
    if done.before is not None and done.after is not None:
        print(f"F1 of events on {done.kept_aside} stars kept aside: {done.before:.3f} before, {done.after:.3f} now")


@app.command()
def sweep(
    wing: Wing,
    variant: Annotated[str, typer.Argument(help="A variant of params.yaml.")],
    trials: Annotated[
        int, typer.Option(min=1, help="Finished trials there shall be, those of earlier calls included.")
    ] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    storage: Annotated[
        str | None, typer.Option(help="Address of a database; by default a journal below build/sweeps.")
    ] = None,
    winner: Annotated[
        str | None, typer.Option(help="Run nothing: add the best trial to params.yaml as this variant.")
    ] = None,
    root: Root = None,
) -> None:
    """Search for better training of a variant.

    Trials are scored on the validation split, each an MLflow run; the first has the variant's own values. What is
    tried, and what counts as better, stands in params.yaml under sweep of the wing. With one objective, trials that
    fall behind the median of the others are pruned; with several, none is. An interrupted sweep goes on when the same
    command is given again. Figures of it are drawn beside the journal, in build/sweeps.
    """
    _known_wing(wing)
    from varistar.foundation.params import find_root

    if wing == "flares":
        from varistar.flares.sweep import sweep_variant, write_winner
    else:
        from varistar.periods.sweep import sweep_variant, write_winner
    folder = find_root(root)
    if winner:
        best = write_winner(folder, variant, winner, storage)
        print(f"params.yaml: trial {best.number} is now the variant '{winner}'; `dvc repro` trains it")
        return
    for done in sweep_variant(folder, variant, trials, workers, storage, print):
        values = ", ".join(f"{name} {value:.4g}" for name, value in done.values.items())
        print(f"best: trial {done.number}, {values}; {done.suggested}")


@app.command()
def difference(
    wing: Wing,
    first: Annotated[str, typer.Argument(help="A variant of params.yaml.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    root: Root = None,
) -> None:
    """How much better one variant is than another.

    The differences are paired, star by star, with the 95% interval of a bootstrap that keeps together the examples of
    a template, or the flares of a star. Both variants must have been evaluated on this machine.
    """
    _known_wing(wing)
    from varistar.experiments.differences import difference_lines
    from varistar.foundation.params import find_root

    if wing == "flares":
        from varistar.flares.difference import differences
    else:
        from varistar.periods.difference import differences
    print("\n".join(difference_lines(differences(find_root(root), first, second))))


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
    """Compare challenger and champion; promote it if it passes.

    Both are measured on the same frozen test set. The gates stand in params.yaml, under promotion of the wing. When
    one of them refuses, the champion stays and the exit code is 2.
    """
    from varistar.experiments.promotion import promote_candidate
    from varistar.foundation.params import find_root

    folder = find_root(root)
    outcome = promote_candidate(folder, _contest(wing, folder), candidate, force, reason)
    print("\n".join(outcome.lines))
    if outcome.refusals:
        for refusal in outcome.refusals:
            print(f"  refused: {refusal}", file=sys.stderr)
        raise typer.Exit(0 if if_better else 2)


@app.command()
def champion(wing: Wing, root: Root = None) -> None:
    """Show the champion and its history.

    MLflow's aliases are set from them. On a fresh clone, whose MLflow store is empty, the champion is packaged for it
    again, under the name models:/varistar-<wing>@champion.
    """
    from varistar.experiments.promotion import show_champion
    from varistar.foundation.params import find_root

    folder = find_root(root)
    print("\n".join(show_champion(folder, _contest(wing, folder))))


@app.command()
def rollback(
    wing: Wing,
    reason: Annotated[str, typer.Option(help="Why; kept in the registry.")],
    root: Root = None,
) -> None:
    """Make the champion before this one champion again."""
    from varistar.experiments.promotion import roll_back
    from varistar.foundation.params import find_root

    folder = find_root(root)
    print("\n".join(roll_back(folder, _contest(wing, folder), reason).lines))


@app.command()
def predict(
    wing: Wing,
    inputs: Inputs,
    output: Annotated[Path, typer.Option(help="The catalog: .parquet, .csv, .ecsv or .fits.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a model; by default the champion.")] = None,
    engine: EngineName = None,
    workers: Workers = None,
    accelerator: AcceleratorName = None,
    stars: Annotated[
        Path | None,
        typer.Option(help="Flares only: a table with star_id and tmag, teff, radius; energies need the last two."),
    ] = None,
    recovery: Annotated[
        Path | None,
        typer.Option(help="Flares only: injected flares, each recovered or not; says how small a flare is found."),
    ] = None,
    root: Root = None,
) -> None:
    """Measure every star with the champion, and write a catalog.

    Beside the catalog, a table with `.refused` in its name lists the stars and files without a row, with reasons. A
    catalog of flares has a row for each flare, and beside it tables named `.stars`, `.sectors` (rotation) and
    `.phases`. A prediction that was interrupted goes on when the same command is given again.
    """
    _known_wing(wing)
    chosen = model or _champion_folder(wing, root)
    if wing == "flares":
        return _predict_flares(inputs, chosen, output, engine, workers, accelerator, stars, recovery, root)
    from varistar.catalog.predict import predict as predict_catalog

    if stars or recovery:
        raise ConfigError(
            f"{'--stars' if stars else '--recovery'} is of flares; a prediction of periods has no use for it"
        )
    done = predict_catalog(inputs, chosen, output, engine_of(engine, workers), accelerator_of(accelerator, root), print)
    if done is None:
        return others_go_on()
    print(f"{done.catalog}: {done.n_stars} stars")
    print(f"{done.refused}: {done.n_refused} refused, with reasons")


def _predict_flares(
    inputs: list[Path],
    model: Path,
    output: Path,
    engine: str | None,
    workers: int | None,
    accelerator: "Accelerator | None",
    stars: Path | None,
    recovery: Path | None,
    root: Path | None,
) -> None:
    from varistar.catalog.flares import predict_flares

    done = predict_flares(
        inputs,
        model,
        output,
        engine_of(engine, workers),
        accelerator_of(accelerator, root),
        print,
        stars,
        recovery,
        _catalog_settings(root),
    )
    if done is None:
        return others_go_on()
    print(f"{done.flares}: {done.n_flares} flares")
    print(f"{done.beside['stars']}: {done.n_stars} stars")
    print(f"{done.beside['refused']}: {done.n_refused} refused, with reasons")


@app.command()
def show(
    star: Annotated[str, typer.Argument(help="The star's id.", metavar="STAR")],
    inputs: Annotated[list[Path], typer.Option("--inputs", help="Light curves: a file, a shard, or a folder of them.")],
    output: Annotated[Path, typer.Option(help="The figure, PNG.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a flare model; by default the champion.")] = None,
    accelerator: AcceleratorName = None,
    root: Root = None,
) -> None:
    """Draw a star's light curve and its flares.

    It is coloured by the probability of a flare, with the flares that were fitted.
    """
    from varistar.figures.style import save_figure
    from varistar.flares.show import show_star

    if output.suffix != ".png":
        raise ConfigError(f"{output}: the figure is a PNG; give --output the ending .png")
    settings = _catalog_settings(root)
    chosen = model or _champion_folder("flares", root)
    figure = show_star(star, inputs, chosen, accelerator_of(accelerator, root), settings.measure if settings else None)
    save_figure(figure, output)
    print(f"{output}: {star}")


def _catalog_settings(root: Path | None) -> "FlareCatalogSettings | None":
    """How the project measures flares; outside of a project, None."""
    from varistar.catalog.flares import read_catalog_settings

    folder = project_of(root)
    return None if folder is None else read_catalog_settings(folder)


def _known_wing(wing: str) -> None:
    if wing not in WINGS:
        raise VaristarError(f"there is no wing '{wing}'; there are {' and '.join(WINGS)}")


def _require_model_or_nothing(output: Path | None) -> None:
    """Refuse, before it costs a training, to replace a folder that is no model's."""
    from varistar.experiments.content import SPEC, WEIGHTS
    from varistar.foundation.files import require_replaceable

    if output is not None:
        require_replaceable(output, lambda path: path.name in (SPEC, WEIGHTS))


def _contest(wing: str, root: Path) -> "Contest":
    """How the networks of a wing are compared."""
    _known_wing(wing)
    if wing == "flares":
        from varistar.flares.promote import contest
    else:
        from varistar.periods.promote import contest
    return contest(root)


def _champion_folder(wing: str, root: Path | None) -> Path:
    from varistar.experiments.registry import champion
    from varistar.foundation.params import find_root

    return champion(find_root(root), wing).folder
