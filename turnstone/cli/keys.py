"""`turnstone keys`: under which keys secrets are stored, and how they come under a new one."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnstone.data_dir import DEFAULT

if TYPE_CHECKING:
    from models.store.database import Database
    from models.store.sealed import Rotation
    from models.store.secrets import Cipher

keys = typer.Typer(help="The keys that encrypt stored secrets (TURNSTONE_SECRET_KEYS).", no_args_is_help=True)

DataDir = Annotated[Path, typer.Option(help="Look at the `turnstone dev` that runs there, if one does.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(keys, name="keys")


@keys.command("new")
def new(as_json: AsJson = False) -> None:
    """Make a key; it is stored nowhere."""
    from cryptography.fernet import Fernet

    from models.store.secrets import key_id

    made = Fernet.generate_key().decode()
    if as_json:
        typer.echo(json.dumps({"id": key_id(made), "key": made}))
    else:
        typer.echo(made)
        typer.echo(f"Its id is {key_id(made)}. Put it behind the others in TURNSTONE_SECRET_KEYS first.", err=True)


@keys.command("list")
def listing(
    without: Annotated[str | None, typer.Option(metavar="ID", help="As if this key were dropped already.")] = None,
    data_dir: DataDir = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List the keys by id, with how many secrets are under each; exit code 1 if one that is needed is missing."""
    database, cipher = _opened(data_dir)
    known = [name for name in cipher.key_ids if name != without]
    counts = asyncio.run(_counts(database))
    rows = [(name, "encrypts" if place == 0 else "opens", counts.pop(name, 0)) for place, name in enumerate(known)]
    missing = [(name, "missing", secrets) for name, secrets in sorted(counts.items()) if name]
    unnamed = [("", "opens", secrets) for name, secrets in counts.items() if not name]
    if as_json:
        shown = [{"id": name, "state": state, "secrets": count} for name, state, count in (*rows, *missing, *unnamed)]
        typer.echo(json.dumps(shown, indent=2))
    else:
        from turnstone.cli.tables import show

        table = [(name or "(not named)", state, str(count)) for name, state, count in (*rows, *missing, *unnamed)]
        show(("Key", "State", "Secrets"), table, none="No keys: turnstone keys new")
    if missing or (unnamed and without):
        text = ", ".join(
            f"{count} under {name or 'a key that they do not name'}" for name, _, count in missing + unnamed
        )
        typer.echo(f"Secrets would be lost: {text}. `turnstone keys rotate` brings all under the first key.", err=True)
        raise typer.Exit(1)


@keys.command("rotate")
def rotate(
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Secrets in one transaction.")] = 500,
    data_dir: DataDir = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Bring every stored secret under the first key, while everything runs; begun again, it goes on."""
    database, cipher = _opened(data_dir)
    if not cipher.key_ids:
        typer.echo("turnstone: TURNSTONE_SECRET_KEYS is not set", err=True)
        raise typer.Exit(1)
    done = asyncio.run(_rotated(database, cipher, batch))
    if as_json:
        lost = {str(place): count for place, count in done.unreadable.items()}
        typer.echo(json.dumps({"key": cipher.key_ids[0], "rotated": done.rotated, "unreadable": lost}))
    else:
        typer.echo(f"{done.rotated} secrets were brought under the key {cipher.key_ids[0]}.")
    for place, count in done.unreadable.items():
        typer.echo(
            f"{place}: {count} secrets are under no key of TURNSTONE_SECRET_KEYS; they are as they were.", err=True
        )
    raise typer.Exit(1 if done.unreadable else 0)


def _opened(data_dir: Path) -> "tuple[Database, Cipher]":
    from models.settings import load_settings
    from models.store.database import Database
    from models.store.secrets import Cipher
    from turnstone.findings import settings_of

    load_settings()  # which ends the process if they are wrong
    settings, _ = settings_of(data_dir)
    try:
        return Database(settings.database_url, 1), Cipher(settings.secret_keys.get_secret_value())
    except ValueError:
        typer.echo("turnstone: TURNSTONE_SECRET_KEYS holds something that is not a Fernet key", err=True)
        raise typer.Exit(2) from None


async def _counts(database: "Database") -> dict[str, int]:
    from models.store import sealed

    try:
        async with database.read() as session:
            return await sealed.by_key(session)
    finally:
        await database.close()


async def _rotated(database: "Database", cipher: "Cipher", batch: int) -> "Rotation":
    from models.store import sealed

    try:
        return await sealed.rotate(database, cipher, batch=batch)
    finally:
        await database.close()
