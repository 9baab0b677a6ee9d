"""The command line. What a command needs is imported when it runs."""

from typing import Annotated

import typer

from varistar import __version__
from varistar.commands import data, networks, project, sky
from varistar.foundation.errors import one_sentence

app = typer.Typer(
    help="Train neural networks that measure variable stars, compare them, promote the best, run it over a survey.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (data, sky, networks, project):
    app.add_typer(part.app)


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


if __name__ == "__main__":
    main()
