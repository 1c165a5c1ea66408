"""The commands that a deployment is made of: `api`, `worker`, `migrate`, `bootstrap`."""

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnstone.data_dir import write_private
from turnstone.preload import become, load, loading
from turnstone.processes import follow_parent

if TYPE_CHECKING:
    from models.settings import Settings

ReadyPath = Annotated[Path | None, typer.Option(help="File to create once the process is ready.")]
After = Annotated[Path | None, typer.Option(hidden=True, help="Begin when this file exists.")]
Parent = Annotated[int, typer.Option(hidden=True, help="Process whose end ends this one.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.command()(api)
    app.command()(worker)
    app.command()(migrate)
    app.command()(bootstrap)
    app.command(hidden=True)(nursery)


def api(ready_path: ReadyPath = None, after: After = None, parent: Parent = 0) -> None:
    """Serve the HTTP API (one process; run as many as you like)."""
    follow_parent(parent)
    _settings()
    load("api")
    _wait_for(after)
    become("api", _unsaid(ready_path))


def worker(
    processes: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            help="How many work side by side; 0: one for each core. Their metrics' ports count on from the setting's.",
        ),
    ] = 0,
    ready_path: ReadyPath = None,
    after: After = None,
    parent: Parent = 0,
) -> None:
    """Run turns: workflows, model steps and tools (run it on as many machines as you like)."""
    follow_parent(parent)
    from turnstone.prefork import cores, keep_workers

    said = _unsaid(ready_path)
    count = processes or cores()
    if count > 1:
        _wait_for(after)
        raise typer.Exit(keep_workers(_settings(), count, ready_path))
    _settings()
    load("worker")
    _wait_for(after)
    become("worker", said)


def nursery(
    channel: Annotated[int, typer.Option(help="Descriptor of the socket over which it is asked.")],
    parent: Annotated[int, typer.Option(help="Process that adopts what is born.")],
    place: Annotated[Path, typer.Option(help="Directory of the stack, by which its next start knows this one's.")],
) -> None:
    """Load everything once and bear the API and worker processes of `turnstone dev`."""
    from turnstone.nursery import bear_for

    assert place.is_dir()
    bear_for(parent, socket.socket(fileno=channel))


def migrate() -> None:
    """Bring the database to the newest schema."""
    settings = _settings()
    from models.store.migrate import head, upgrade

    upgrade(settings.database_url)
    _refuse_to_lose_secrets(settings)
    typer.echo(f"The database is at revision {head()}.")


def bootstrap(
    after: After = None,
    parent: Parent = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    token_file: Annotated[Path | None, typer.Option(help="File to keep the owner's token in.")] = None,
    local_template: Annotated[
        bool, typer.Option("--local-template", help="Offer workspaces on the workers' machine, if nothing was offered.")
    ] = False,
) -> None:
    """Migrate, then create the first owner, organization and provider where there are none."""
    follow_parent(parent)
    settings = _settings()
    with loading():
        from models.store.bootstrap import bootstrap as first_rows
        from models.store.migrate import upgrade
        from models.store.secrets import new_token

    _wait_for(after)
    upgrade(settings.database_url)
    _refuse_to_lose_secrets(settings)
    token = os.environ.get("TURNSTONE_ADMIN_TOKEN") or None
    if token is None and token_file is not None and not token_file.exists():
        # Kept before it is valid: a crash in between must not leave an owner whose token nobody has seen.
        token = new_token("token")
        write_private(token_file, token)
    made = asyncio.run(first_rows(settings, admin_token=token, environ=os.environ, local_template=local_template))
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


def _settings() -> "Settings":
    """This process's settings, with its log configured by them; bad ones end it before anything is loaded."""
    from models.settings import load_settings
    from turnstone import logs

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _refuse_to_lose_secrets(settings: "Settings") -> None:
    """End the process if secrets are under a key that was dropped: what needs them would fail one by one."""
    from models.store import sealed
    from models.store.database import Database
    from models.store.secrets import Cipher

    async def look() -> dict[str, int]:
        database = Database(settings.database_url, 1)
        try:
            async with database.read() as session:
                return await sealed.missing(session, Cipher(settings.secret_keys.get_secret_value()))
        finally:
            await database.close()

    if lost := asyncio.run(look()):
        under = ", ".join(f"{count} under the key {key_id}" for key_id, count in lost.items())
        remedy = "put it back, behind the others, and run `turnstone keys rotate` before it is dropped"
        typer.echo(
            f"turnstone: TURNSTONE_SECRET_KEYS lacks a key that secrets are stored with ({under}): {remedy}", err=True
        )
        raise typer.Exit(1)


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
