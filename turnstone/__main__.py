"""The command line: `turnstone`, or `python -m turnstone`."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, NoReturn

import typer

from turnstone import agent, dev, doctor, roles
from turnstone.cli import audit, budgets, chat, chats, keys, models, providers, webhooks
from turnstone.processes import leave_after

# Each has add_to(app), and imports what is heavy inside its commands.
COMMANDS = (dev, chat, chats, providers, models, webhooks, budgets, audit, keys, doctor, agent, roles)

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


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    leave_after(lambda: app(prog_name="turnstone"))


if __name__ == "__main__":
    main()
