"""`turnstone audit`: who did what, for auditors; and whether the log is still what was written."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

audit = typer.Typer(help="Who did what, and whether the log of it is whole.", no_args_is_help=True)

Query = Annotated[str, typer.Argument(metavar="[QUERY]", help='Such as "action:login date_from:2026-06-01".')]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(audit, name="audit")


@audit.command("list")
def listing(
    q: Query = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many at most.")] = 20,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Show entries, newest first."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in (await client.audit.page(q, limit=limit)).audit_logs]

    found = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    heads = ("Time", "Who", "Action", "What", "Target", "Status", "From")
    rows = [
        (
            each["time"],
            (each.get("user") or {}).get("username") or each["additional_fields"].get("automatic_subsystem", ""),
            each["action"],
            each["resource_type"],
            each["resource_target"],
            each["status_code"],
            each["ip"],
        )
        for each in found
    ]
    show(heads, rows, none="Nothing is found.")


@audit.command("export")
def export(q: Query = "", url: Url = None, token: Token = None, data_dir: Place = HERE) -> None:
    """Print entries as JSON lines, oldest first."""

    async def work(client: "AsyncTurnstone", _: Target) -> None:
        async with client.audit.export(q) as entries:
            async for each in entries:
                typer.echo(json.dumps(each))

    with_client(lambda: find(url, token, data_dir), work)


@audit.command("verify")
def verify(
    anchor: Annotated[
        list[str] | None,
        typer.Option(metavar="POSITION:HASH", help="What an earlier verification printed; repeat it."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the chain there, for later.")] = None,
    kept: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Verify what --keep wrote, without a service.")
    ] = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Recompute the log's chain here; the anchor it prints, kept elsewhere, tells later if anything was rewritten."""
    from turnstone.client import audit as chain

    try:
        verifier = chain.Verifier([chain.Place.read(each) for each in anchor or ()])
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None

    async def work(client: "AsyncTurnstone", _: Target) -> None:
        with keep.open("w") if keep is not None else nullcontext() as copy:
            async with client.audit.chain() as lines:
                async for line in lines:
                    verifier.take(line)
                    if copy is not None:
                        copy.write(json.dumps(line) + "\n")

    if kept is not None:
        with kept.open() as lines:
            for line in chain.read_lines(lines):
                verifier.take(line)
    else:
        with_client(lambda: find(url, token, data_dir), work)
    verdict = verifier.verdict()
    if as_json:
        told = {
            "holds": verdict.holds,
            "entries": verdict.entries,
            "unsealed": verdict.unsealed,
            "anchor": str(verdict.head),
            "faults": [each._asdict() for each in verdict.faults],
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        for fault in verdict.faults:
            where = "" if fault.position is None else f" at {fault.position}"
            typer.echo(f"{fault.what}{where} {fault.entry_id}: {fault.detail}".replace(" :", ":"))
        typer.echo(f"{verdict.entries} entries sealed, {verdict.unsealed} not yet.", err=True)
        if verdict.holds:
            typer.echo(str(verdict.head))
            typer.echo("The chain holds. Keep the line above elsewhere, as --anchor of the next time.", err=True)
    if not verdict.holds:
        raise typer.Exit(1)
