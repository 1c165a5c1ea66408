"""The commands that are one process each: `api`, `worker`, `migrate`, `bootstrap`."""

import asyncio
import gc
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from turnstone.data_dir import write_private
from turnstone.processes import follow_parent

ReadyPath = Annotated[Path | None, typer.Option(help="File to create once the process is ready.")]
After = Annotated[Path | None, typer.Option(hidden=True, help="Begin when this file exists.")]
Parent = Annotated[int, typer.Option(hidden=True, help="Process whose end ends this one.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.command()(api)
    app.command()(worker)
    app.command()(migrate)
    app.command()(bootstrap)


def api(ready_path: ReadyPath = None, after: After = None, parent: Parent = 0) -> None:
    """Serve the HTTP API (one process; run as many as you like)."""
    follow_parent(parent)
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    with _loading():
        from api.serve import main

    _wait_for(after)
    main(settings, ready=_unsaid(ready_path))


def worker(ready_path: ReadyPath = None, after: After = None, parent: Parent = 0) -> None:
    """Run turns: workflows, model steps and tools (one process; run as many as you like)."""
    follow_parent(parent)
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    with _loading():
        from activities.serve import main

    _wait_for(after)
    main(settings, ready=_unsaid(ready_path))


def migrate() -> None:
    """Bring the database to the newest schema."""
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    from models.store.migrate import head, upgrade

    upgrade(settings.database_url)
    typer.echo(f"The database is at revision {head()}.")


def bootstrap(
    after: After = None,
    parent: Parent = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    token_file: Annotated[Path | None, typer.Option(help="File to keep the owner's token in.")] = None,
) -> None:
    """Migrate, then create the first owner, organization and provider where there are none."""
    follow_parent(parent)
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    with _loading():
        from models.store.bootstrap import bootstrap as first_rows
        from models.store.migrate import upgrade
        from models.store.secrets import new_token

    _wait_for(after)
    upgrade(settings.database_url)
    token = os.environ.get("TURNSTONE_ADMIN_TOKEN") or None
    if token is None and token_file is not None and not token_file.exists():
        # Kept before it is valid: a crash in between must not leave an owner whose token nobody has seen.
        token = new_token("token")
        write_private(token_file, token)
    made = asyncio.run(first_rows(settings, admin_token=token, environ=os.environ))
    if made.admin_token and token_file is not None:
        write_private(token_file, made.admin_token)
    facts = {
        "admin_token": made.admin_token,
        "organization_id": str(made.organization_id),
        "created": made.created,
    }
    if as_json:
        typer.echo(json.dumps(facts))
    elif not made.created:
        typer.echo("The owner exists already; nothing was created.")
    elif token_file:
        typer.echo(f"The owner was created; the admin token is in {token_file}.")
    elif token:
        typer.echo("The owner was created; the admin token is the one in TURNSTONE_ADMIN_TOKEN.")
    else:
        typer.echo(f"The owner was created. Admin token (shown once): {made.admin_token}")


@contextmanager
def _loading() -> Iterator[None]:
    """Import without looking for garbage: what modules make stays, and the search is a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _unsaid(ready_path: Path | None) -> str | None:
    """The path, without what an earlier process said there."""
    if ready_path is None:
        return None
    ready_path.unlink(missing_ok=True)
    return str(ready_path)


def _wait_for(path: Path | None) -> None:
    """Wait here, with every import done, until the one before us has finished."""
    while path is not None and not path.exists():
        time.sleep(0.01)
