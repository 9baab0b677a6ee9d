"""The commands about the project as a whole: its parameters, its size, its results."""

from typing import Annotated

import typer

from .options import Root

app = typer.Typer(rich_markup_mode=None)


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
        print(f"  {name}: {params.periods.samples[variant.sample].simulations} examples of {variant.sample}")
    costs = estimate(params)
    print(f"a whole rebuild takes {costs.rebuild}; the study {costs.study}")


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
    print(f"a whole rebuild takes {switch.costs.rebuild}; the study {switch.costs.study}")
    if switch.changes and (yes or typer.confirm("write params.yaml?")):
        apply_switch(folder, switch)
        print(f"params.yaml is at size {name}; `dvc repro` rebuilds what it changes")


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
