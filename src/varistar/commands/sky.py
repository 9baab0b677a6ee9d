"""The commands about the simulated sky: make it, compare it with real stars, hold a catalog against its truth."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from varistar.foundation.errors import ConfigError

from .options import EngineName, Root, Workers, engine_of, others_go_on

app = typer.Typer(rich_markup_mode=None)
survey_app = typer.Typer(
    help="Make the simulated surveys, and compare them with real ones.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(survey_app, name="survey")


@survey_app.command("simulate")
def simulate_survey(
    output: Annotated[Path, typer.Option(help="Folder that receives the surveys, as ground/ and space/.")],
    only: Annotated[
        Literal["ground", "space"] | None,
        typer.Option(help="One of the two: from the ground (like ASAS-SN's) or from space (like TESS's)."),
    ] = None,
    stars: Annotated[
        int | None, typer.Option(min=1, help="Stars of the ground-based survey, in the mixture of params.yaml.")
    ] = None,
    targets: Annotated[int | None, typer.Option(min=1, help="Stars of the space-based survey.")] = None,
    places: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet file with ra_deg and dec_deg: the ground-based survey's fields lie there."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another sky than that of params.yaml.")] = None,
    engine: EngineName = None,
    workers: Workers = None,
    root: Root = None,
) -> None:
    """Make the simulated surveys of params.yaml, of any size.

    Each receives light curves, a star catalog, the truth (of every flare, too) and a datasheet, and is replaced as a
    whole. What was interrupted goes on when the same command is given again.
    """
    from varistar.foundation.params import find_root, read_section
    from varistar.foundation.settings import validate
    from varistar.sky.ground import SkySettings
    from varistar.sky.places import read_places
    from varistar.sky.snapshot import write_ground, write_space
    from varistar.sky.spacecraft import SectorSettings

    if only == "space" and (stars is not None or places is not None):
        raise ConfigError("--stars and --places are of the ground-based survey, which --only space leaves out")
    if only == "ground" and targets is not None:
        raise ConfigError("--targets is of the space-based survey, which --only ground leaves out")
    folder, chosen = find_root(root), engine_of(engine, workers)
    made: list[Path | None] = []
    if only != "space":
        ground = read_section(folder, "sky", SkySettings)
        changes: dict = {} if seed is None else {"seed": seed}
        changes |= {} if stars is None else {"counts": ground.counts.of(stars).model_dump()}
        if places is not None:
            where = read_places(places)
            changes |= {"places": where, "n_fields": max(len(where), ground.n_fields // len(where) * len(where))}
        ground = validate(SkySettings, ground.model_dump() | changes, "sky")
        made.append(write_ground(ground, output / "ground", chosen, print))
    if only != "ground":
        space = read_section(folder, "sectors", SectorSettings)
        changes = {} if seed is None else {"seed": seed}
        changes |= {} if targets is None else {"n_stars": targets}
        made.append(
            write_space(
                validate(SectorSettings, space.model_dump() | changes, "sectors"), output / "space", chosen, print
            )
        )
    if None in made:
        return others_go_on()
    for path in made:
        print(f"{path}: made; its README.md says what it holds")


@survey_app.command("compare")
def compare_survey(
    real: Annotated[list[Path], typer.Argument(help="Real light curves: files, shards, or folders.", metavar="REAL")],
    simulated: Annotated[Path, typer.Option(help="Folder of a simulated survey, as `survey simulate` makes ground/.")],
    output: Annotated[Path, typer.Option(help="Folder that receives tables and figures.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="Kinds of simulated stars that are compared; may be given again.")
    ] = None,
    half: Annotated[
        Literal["fit", "judge", "both"],
        typer.Option(help="Which seasons: a simulator is fitted on the even years and judged by the odd ones."),
    ] = "judge",
) -> None:
    """Measure how alike real light curves are.

    Quantity by quantity, and by whether a classifier can tell simulated light curves from real ones.
    """
    from varistar.realism.report import measure_realism
    from varistar.realism.words import summary_lines

    found = measure_realism(real, simulated, output, kinds=tuple(kind or ("clump", "constant")), half=half)
    print("\n".join(summary_lines(found)))
    print(f"{output}: report.md, overlays.png and telltale.png")


@app.command()
def evaluate(
    catalog: Annotated[Path, typer.Argument(help="A catalog of periods.")],
    truth: Annotated[Path, typer.Option(help="The truth.parquet of the simulated survey that the catalog is of.")],
    output: Annotated[Path | None, typer.Option(help="Folder that receives the tables and a figure.")] = None,
    root: Root = None,
) -> None:
    """Hold a catalog against its truth.

    Completeness and purity of simulated stars, by class, period, magnitude and amplitude.
    """
    from varistar.catalog.completeness import completeness_lines, evaluate_catalog, searched_range, write_completeness
    from varistar.foundation.params import find_root

    done = evaluate_catalog(catalog, truth, searched_range(find_root(root)))
    print("\n".join(completeness_lines(done.summary)))
    if output:
        write_completeness(done, output, output / "completeness.png", f"{catalog.name} against {truth.name}")
        print(f"{output}: completeness.parquet, risk_coverage.parquet and completeness.png")
