"""`turnstone chat`: say something, watch the answer come."""

import sys
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from turnstone.cli.connection import HERE, Failed, Place, Target, Token, Url, find, with_client

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

STDIN = "-"


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the command line."""
    app.command(context_settings={"ignore_unknown_options": False})(chat)


def chat(
    message: Annotated[
        list[str] | None, typer.Argument(help="What to say; - stands for stdin. Without it: stdin, or a conversation.")
    ] = None,
    chat_id: Annotated[str | None, typer.Option("--chat", metavar="ID", help="Continue this chat.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME|ID", help="Model to answer with.")] = None,
    url: Url = None,
    token: Token = None,
    data_dir: Place = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON, for scripts.")] = False,
) -> None:
    """Say something and watch the answer come; Ctrl-C interrupts the turn and keeps what came.

    The answer goes to stdout, all else to stderr. Exit code: 0 if the turn ended, 1 if it failed, 3 if it waits for
    a client's tool results, 130 if it was interrupted.
    """
    text = _text(message)
    if text is not None and not text.strip():
        raise typer.BadParameter("there is nothing to say", param_hint="MESSAGE")
    if text is None and as_json:
        raise typer.BadParameter("--json needs a message", param_hint="MESSAGE")

    async def work(client: "AsyncTurnstone", target: Target) -> int:
        from turnstone.cli.conversation import Conversation
        from turnstone.cli.screen import Screen

        conversation = Conversation(
            client,
            Screen(),
            target,
            chat_id=_uuid(chat_id) if chat_id else None,
            model_config_id=await _model(client, model) if model else None,
            as_json=as_json,
        )
        return await (conversation.talk() if text is None else conversation.ask(text))

    raise typer.Exit(with_client(lambda: find(url, token, data_dir), work))


def _text(words: list[str] | None) -> str | None:
    if words:
        return " ".join(sys.stdin.read() if word == STDIN else word for word in words)
    return None if sys.stdin.isatty() else sys.stdin.read()


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Failed(f"{text!r} is not the id of a chat; `turnstone chats` lists them") from None


async def _model(client: "AsyncTurnstone", wanted: str) -> str:
    configs = await client.models.list()
    for key in ("id", "model", "display_name"):
        found = [each for each in configs if str(getattr(each, key)).casefold() == wanted.casefold()]
        if len(found) == 1:
            return found[0].id
        if found:
            ids = ", ".join(f"{each.id} ({each.provider})" for each in found)
            raise Failed(f"several models are called {wanted!r}; choose by id: {ids}")
    known = ", ".join(sorted(each.model for each in configs)) or "none: `turnstone models add` makes one"
    raise Failed(f"there is no model {wanted!r}; there is {known}")
