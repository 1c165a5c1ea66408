"""`turnstone chats`: what has been said, in a list or in full."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnstone.cli.connection import HERE, AsJson, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

chats = typer.Typer(help="List chats; `show` prints one.", invoke_without_command=True)


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.add_typer(chats, name="chats")


@chats.callback()
def listing(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """List your chats, newest first; `turnstone chats show ID` prints one."""
    context.obj = (url, token, data_dir)
    if context.invoked_subcommand is not None:
        return

    async def work(client: "AsyncTurnstone", _: Target) -> list[Any]:
        return [each.raw for each in await client.chats.list(limit=limit)]

    found = with_client(lambda: find(url, token, data_dir), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from turnstone.cli.tables import show

    rows = [(each["id"], each["status"], local_time(each["updated_at"]), each["title"]) for each in found]
    show(("Id", "Status", "Updated", "Title"), rows, none='No chats yet: turnstone chat "hello"')


@chats.command("show")
def show_chat(
    context: typer.Context,
    chat_id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Print a chat: its messages, its queue, where it is."""
    before = context.obj or (None, None, HERE)

    async def work(client: "AsyncTurnstone", _: Target) -> dict[str, Any]:
        chat = await client.chats.get(chat_id)
        queued = await client.chats.queue.list(chat_id)
        return {
            "chat": chat.raw,
            "messages": [message.raw async for message in client.chats.messages(chat_id)],
            "queued_messages": [each.raw for each in queued],
        }

    place = data_dir if data_dir != HERE else before[2]
    found = with_client(lambda: find(url or before[0], token or before[1], place), work)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    import sys

    from turnstone.cli.screen import Screen
    from turnstone.cli.transcript import Asked, Step, ToolResult, Transcript, error_line, plain

    # Everything is the answer here, so all of it goes to stdout.
    screen, transcript = Screen(sys.stdout, sys.stdout), Transcript()
    screen.note(f"{found['chat']['title']} · {found['chat']['status']}", style="bold underline")
    for message in found["messages"]:
        for shown in transcript.tell({"type": "message", "message": message}):
            match shown:
                case Asked():
                    screen.note(f"#{shown.message_id} ›", style="bold")
                    screen.answer(shown.text)
                    screen.end_line()
                case Step():
                    screen.step(shown.blocks, is_stored=True)
                case ToolResult():
                    screen.note(f"{'✗' if shown.is_error else '←'} {shown.name}: {shown.text}")
    for queued in found["queued_messages"]:
        screen.note(f"waiting › {plain(queued['content'])}", style="yellow")
    if found["chat"].get("last_error"):
        screen.note(error_line(found["chat"]["last_error"]), style="red")


def local_time(text: str) -> str:
    """A time of the API on this machine's clock, to the minute."""
    from datetime import datetime

    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
