"""The command line: `turnstone`, or `python -m turnstone`."""

import contextlib
import logging
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from turnstone import dev, doctor, roles
from turnstone.cli import chat, chats, models, providers

# Each has add_to(app), and imports what is heavy inside its commands.
COMMANDS = (dev, chat, chats, providers, models, doctor, roles)

app = typer.Typer(
    help="Durable agent chats: every chat turn is a Temporal workflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version("turnstone"))
        except PackageNotFoundError:
            typer.echo("unknown (run from a checkout)")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for module in COMMANDS:
    module.add_to(app)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = 0
    try:
        app(prog_name="turnstone")
    except SystemExit as leaving:
        if isinstance(leaving.code, int):
            code = leaving.code
        elif leaving.code is not None:
            print(leaving.code, file=sys.stderr)
            code = 1
    except BaseException:
        # The way of the interpreter for what nobody caught, since we leave before it could.
        sys.excepthook(*sys.exc_info())
        code = 1
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Temporal's native threads may abort an interpreter that finalizes: a success would exit with 134.
    os._exit(code)


if __name__ == "__main__":
    main()
