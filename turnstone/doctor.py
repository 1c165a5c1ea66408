"""`turnstone doctor`: what is wrong with a configuration or a connection, and what to do about it."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from turnstone.data_dir import DEFAULT
from turnstone.terminal import Terminal


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.command()(doctor)


def doctor(
    data_dir: Annotated[Path, typer.Option(help="Look at the `turnstone dev` that runs there, if one does.")] = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Check settings, database, Temporal, keys, ports and providers; exit code 1 if something is wrong."""
    from turnstone.findings import examine

    findings = asyncio.run(examine(data_dir))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        terminal = Terminal()
        for finding in findings:
            sign = terminal.dim("–") if finding.fine is None else terminal.mark(finding.fine)
            terminal.say(f"{sign} {finding.name}: {finding.seen}")
            if finding.remedy:
                terminal.say(f"    → {finding.remedy}")
    raise typer.Exit(1 if any(finding.fine is False for finding in findings) else 0)
