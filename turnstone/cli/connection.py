"""Where the service is and which token opens it: so that a newcomer types just `turnstone chat "hello"`."""

import asyncio
import ipaddress
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from turnstone.data_dir import DEFAULT, DataDir, running_facts

if TYPE_CHECKING:
    from turnstone.client import AsyncTurnstone

FALLBACK_URL = "http://127.0.0.1:8080"

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option(
        envvar="TURNSTONE_URL",
        show_envvar=True,
        help=f"Where the API is; if not said: the `turnstone dev` of this directory, else {FALLBACK_URL}.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="TURNSTONE_TOKEN",
        show_envvar=True,
        help="API token; if not said: the one that `turnstone dev` keeps here.",
    ),
]
Place = Annotated[Path, typer.Option("--data-dir", help="Directory of a `turnstone dev` on this machine.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
HERE = DEFAULT


class Failed(Exception):
    """The service refused, or cannot be reached; the message is one clear line for a person."""


@dataclass(frozen=True)
class Target:
    """A service and the right to use it."""

    url: str
    token: str | None
    is_given: bool
    """Somebody named the address; otherwise it is the one where a service usually is."""


def find(url: str | None, token: str | None, place: Path = HERE) -> Target:
    """The service to talk to; the token kept in `place` is only ever sent to this machine."""
    facts = running_facts(place) or {}
    address = (url or facts.get("api_url") or FALLBACK_URL).rstrip("/")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise Failed(f"{address!r} is not a URL: it should look like {FALLBACK_URL}")
    if token is None and _is_here(address):
        token = facts.get("admin_token") or _kept_token(place)
    return Target(address, token, is_given=bool(url))


def _spare_httpx_its_command_line() -> None:
    """Where click is installed httpx loads its own command, with rich and pygments: a third of our start-up."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def sentence(error: Exception, target: Target) -> str:
    """What went wrong, and what to do, in one line for a person."""
    from turnstone.client.errors import ApiError, ConnectionFailed

    if isinstance(error, ConnectionFailed):
        remedy = (
            "check --url (TURNSTONE_URL)"
            if target.is_given
            else "start one with `turnstone dev`, or say with --url (TURNSTONE_URL) where it is"
        )
        return f"cannot reach Turnstone at {target.url}: {error.reason}; {remedy}"
    if not isinstance(error, ApiError):
        return str(error)
    words = [error.message]
    if error.detail:
        words.append(error.detail if error.status < 500 else f"({error.detail})")
    words += [f"{each.field}: {each.detail}" for each in error.validations]
    if error.status == 401:
        token = "is not valid there" if target.token else "is missing"
        words.append(f"(The token {token}: give --token or TURNSTONE_TOKEN.)")
    return " ".join(" ".join(words).split())


def _is_here(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _kept_token(place: Path) -> str | None:
    try:
        return DataDir(place).token_file.read_text().strip() or None
    except OSError:
        return os.environ.get("TURNSTONE_ADMIN_TOKEN")


def with_client(target: Callable[[], Target], work: Callable[["AsyncTurnstone", Target], Awaitable[T]]) -> T:
    """Run `work` with an open client; a failure is one line on stderr and exit code 1."""
    _spare_httpx_its_command_line()
    from turnstone.client import AsyncTurnstone
    from turnstone.client.errors import TurnstoneError

    async def run() -> T:
        found = target()
        # A service that never answered is not there; one that did is being restarted.
        async with AsyncTurnstone(found.url, found.token, first_patience=0, user_agent="turnstone-cli") as client:
            try:
                return await work(client, found)
            except TurnstoneError as error:
                raise Failed(sentence(error, found)) from error

    try:
        return asyncio.run(run())
    except Failed as failed:
        typer.echo(f"turnstone: {failed}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # whoever read our output has seen enough; the turn goes on without us
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(0) from None
