"""`turnstone budgets`: what may be spent by whom, and how far that is."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

budgets = typer.Typer(help="What may be spent, and what is left.", no_args_is_help=True)

PAGE = 1000
Of = Annotated[str, typer.Option("--organization", metavar="NAME|ID", help="Whose chats it counts.")]
Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="organization, group, user or chat.")]
Subject = Annotated[str, typer.Argument(metavar="ID", help="Id of that organization, group, user or chat.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(budgets, name="budgets")


@budgets.command("status")
def status(url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False) -> None:
    """What is left of the budgets that count what you spend."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in await client.budgets.status()]

    _show(with_client(lambda: find(url, token, data_dir), work), as_json)


@budgets.command("list")
def listing(
    organization: Of = "default",
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Of all organizations.")] = False,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """List an organization's budgets, the widest first."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        if not everywhere:
            return [each.raw for each in await client.budgets.list(organization)]
        found: list[Any] = []
        while page := await client.budgets.everywhere(limit=PAGE, offset=len(found)):
            found += [each.raw for each in page]
        return found

    _show(with_client(lambda: find(url, token, data_dir), work), as_json)


@budgets.command("set")
def put(
    scope: Scope,
    subject: Subject,
    dollars: Annotated[float, typer.Argument(min=0.000001, help="US dollars, as 12.50.")],
    period: Annotated[str, typer.Option(help="day, week, month or total.")] = "month",
    warn: Annotated[
        list[int] | None, typer.Option(help="Percent to warn at; repeat it. 80 and 95 if not said.")
    ] = None,
    organization: Of = "default",
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Say what may be spent at most."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        micros = round(dollars * 1_000_000)
        made = await client.budgets.set(organization, scope, subject, micros, period=period, warn_percents=warn)
        return made.raw

    _show([with_client(lambda: find(url, token, data_dir), work)], as_json)


@budgets.command("delete")
def delete(
    scope: Scope,
    subject: Subject,
    organization: Of = "default",
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
) -> None:
    """Take a budget away; the others still hold."""

    async def work(client: "AsyncTurnstone", _: Target) -> None:
        await client.budgets.delete(organization, scope, subject)

    with_client(lambda: find(url, token, data_dir), work)


def _show(found: list[Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    heads = ("Scope", "Of", "Period", "Limit", "Spent", "Reserved", "Left")
    rows = [
        (
            each["scope"],
            each.get("scope_name") or each["scope_id"],
            each["period"],
            *(_dollars(each[f"{name}_micros"]) for name in ("limit", "settled", "reserved", "remaining")),
        )
        for each in found
    ]
    show(heads, rows, none="No budgets: turnstone budgets set user ID 20")


def _dollars(micros: int) -> str:
    return f"${micros / 1_000_000:.2f}"
