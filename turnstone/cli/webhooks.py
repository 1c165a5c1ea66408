"""`turnstone webhooks`: which URLs are told of what happens to chats, and what they were told."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

webhooks = typer.Typer(help="Have URLs told of what happens to chats.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID")]
Of = Annotated[
    str | None, typer.Option("--organization", metavar="NAME|ID", help="An organization's instead of your own.")
]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(webhooks, name="webhooks")


@webhooks.command("add")
def add(
    address: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.")],
    event: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Such as chat.turn_finished; repeat it. All, if not said.")
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    organization: Of = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Tell a URL of events; the secret they are signed with is shown this once."""

    async def work(client: "AsyncTurnstone", _: Target) -> Any:
        made = await client.webhooks.create(
            address, events=event or (), description=description, organization=organization
        )
        return made.raw

    made = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
    else:
        typer.echo(made["id"])
        typer.echo(f"Its secret, shown this once: {made['secret']}", err=True)
        typer.echo(f"Next: turnstone webhooks test {made['id']}", err=True)


@webhooks.command("list")
def listing(
    organization: Of = None, url: Url = None, token: Token = None, data_dir: Place = HERE, as_json: AsJson = False
) -> None:
    """List webhooks, and why those are off that were switched off."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in await client.webhooks.list(organization=organization)]

    def row(each: Any) -> tuple[object, ...]:
        state = "on" if each["enabled"] else "off"
        if each["enabled"] and each.get("failing_since"):
            state = "failing"
        return each["id"], state, ", ".join(each["events"]) or "all", each["url"], each["disabled_reason"]

    found = with_client(lambda: find(url, token, data_dir), work)
    _show(found, ("Id", "State", "Events", "URL", "Why"), row, as_json, none="No webhooks: turnstone webhooks add URL")


@webhooks.command("delete")
def delete(webhook: Id, organization: Of = None, url: Url = None, token: Token = None, data_dir: Place = HERE) -> None:
    """Tell a URL nothing more."""

    async def work(client: "AsyncTurnstone", _: Target) -> None:
        await client.webhooks.delete(webhook, organization=organization)

    with_client(lambda: find(url, token, data_dir), work)


@webhooks.command("test")
def send_test(
    webhook: Id, organization: Of = None, url: Url = None, token: Token = None, data_dir: Place = HERE
) -> None:
    """Send a URL `webhook.test`; the log says what came of it."""

    async def work(client: "AsyncTurnstone", _: Target) -> int:
        return (await client.webhooks.test(webhook, organization=organization)).id

    typer.echo(with_client(lambda: find(url, token, data_dir), work))
    typer.echo(f"Sent. Next: turnstone webhooks log {webhook}", err=True)


@webhooks.command("log")
def log(
    webhook: Id,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    organization: Of = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """What a URL was sent and what it answered, newest first."""

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        found: list[Any] = []
        async with client.webhooks.deliveries(webhook, organization=organization) as log:
            async for each in log:
                found.append(each.raw)
                if len(found) == limit:
                    break
        return found

    def row(each: Any) -> tuple[object, ...]:
        answered = each.get("status_code") or ""
        return each["id"], each["created_at"], each["event"], each["status"], each["attempts"], answered, each["error"]

    found = with_client(lambda: find(url, token, data_dir), work)
    heads = ("Id", "Time", "Event", "State", "Attempts", "Answer", "Error")
    _show(found, heads, row, as_json, none="It was sent nothing yet.")


@webhooks.command("replay")
def replay(
    webhook: Id,
    delivery: Annotated[int, typer.Argument(metavar="DELIVERY", help="Its number in the log.")],
    organization: Of = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
) -> None:
    """Send an event again."""

    async def work(client: "AsyncTurnstone", _: Target) -> None:
        await client.webhooks.replay(webhook, delivery, organization=organization)

    with_client(lambda: find(url, token, data_dir), work)


def _show(
    found: list[Any], heads: tuple[str, ...], row: Callable[[Any], tuple[object, ...]], as_json: bool, *, none: str
) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    show(heads, [row(each) for each in found], none=none)
