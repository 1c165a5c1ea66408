"""The worker's memory of MCP servers: which there are, what each offers to whom, and what it is shown."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.rules import addresses, mcp
from models.rules.executions import Policy
from models.settings import Settings
from models.store import mcp_servers, mcp_tokens
from models.store.database import Database
from models.store.mcp_servers import Server
from models.store.secrets import Cipher

if TYPE_CHECKING:
    from activities.mcp.session import Sessions

log = logging.getLogger(__name__)

STALE_AFTER = 30.0  # seconds, should a notice of a change be lost
LISTED_FOR = 60.0  # seconds that a list of tools is believed
SILENT_FOR = 15.0  # seconds that a server which did not answer is let be
LISTING = 10.0  # seconds to tell its tools
SLOW = 5.0  # seconds after which that is worth a warning
MOST_LISTS = 5_000
SIGN_IN = "the user has not signed in there, or the sign-in has run out: they can connect it in the chat's settings"

AccessToken = Callable[[UUID], Awaitable[str | None]]
"""The OIDC access token of a person, renewed where that was needed; None for whoever did not sign in that way."""


class Unavailable(Exception):
    """The server's tools cannot be used now; says why."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A tool of a server, by the name that models know it by. `origin` is what its calls remember."""

    name: str
    server_id: UUID
    origin: Mapping[str, Any]
    declaration: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a step's model is offered by servers, and which of them are missing, by display name."""

    tools: Mapping[str, Remote] = field(default_factory=dict)
    absent: tuple[tuple[str, str], ...] = ()

    @property
    def declarations(self) -> tuple[dict[str, Any], ...]:
        return tuple(each.declaration for each in self.tools.values())


NOTHING = Offer()

_Key = tuple[UUID, str, UUID | None, int]


async def nobody(_user_id: UUID) -> str | None:
    """Without a way to sign in with OIDC, nobody has such a token."""
    return None


class Servers:
    """What a worker knows of the servers, and its sessions with them."""

    def __init__(
        self, database: Database, cipher: Cipher, settings: Settings, access_token: AccessToken = nobody
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._allowed = addresses.networks(settings.mcp_allowed_networks)
        self._access_token = access_token
        self._sessions: Sessions | None = None
        self._configured: tuple[float, list[Server]] | None = None
        self._lists: dict[_Key, tuple[float, asyncio.Task[list[Remote]]]] = {}

    def forget(self) -> None:
        """Something about the servers changed."""
        self._configured = None

    async def close(self) -> None:
        """End the sessions there are."""
        for _, task in self._lists.values():
            task.cancel()
        if self._sessions is not None:
            await self._sessions.close()

    @property
    def sessions(self) -> "Sessions":
        """The way to the servers; the SDK is loaded with the first of them."""
        if self._sessions is None:
            from activities.mcp.session import Sessions

            self._sessions = Sessions(self._allowed)
        return self._sessions

    async def configured(self) -> list[Server]:
        """The enabled servers."""
        now = asyncio.get_running_loop().time()
        known = self._configured
        if known is not None and now - known[0] < STALE_AFTER:
            return known[1]
        before = known
        async with self._database.read() as session:
            found = await mcp_servers.usable(session, self._cipher)
        if self._configured is before:  # else it has changed while we asked
            self._configured = (now, found)
        return found

    async def offered(self, chat: Mapping[str, Any]) -> Offer:
        """What the chat's servers offer in this step. A server that cannot be asked is missing, and fails nothing."""
        servers = [each for each in await self.configured() if mcp.is_offered(each, chat)]
        if not servers:
            return NOTHING
        listed = await asyncio.gather(*(self._listed(server, chat) for server in servers))
        tools: dict[str, Remote] = {}
        absent: list[tuple[str, str]] = []
        for server, found in zip(servers, listed, strict=True):
            if isinstance(found, Unavailable):
                absent.append((server.display_name, str(found)))
                continue
            for each in found:
                if mcp.is_allowed(server, each.origin["tool"]):
                    tools.setdefault(each.name, each)
        ordered = sorted(tools.values(), key=lambda each: (each.name, each.server_id))
        return Offer({each.name: each for each in ordered}, tuple(sorted(absent)))

    async def server(self, server_id: UUID, tool: str, chat: Mapping[str, Any]) -> Server | None:
        """The server, if the chat may use this tool of it now."""
        for each in await self.configured():
            if each.id == server_id:
                return each if mcp.is_offered(each, chat) and mcp.is_allowed(each, tool) else None
        return None

    async def headers(self, server: Server, chat: Mapping[str, Any], *, spent: str = "") -> dict[str, str]:
        """What the server is shown on the owner's behalf; raises Unavailable where they must sign in first.

        `spent` is a header that it refused: the token in it is renewed.
        """
        shown = mcp.about_the_chat(chat) if server.forward_coder_headers else {}
        token: str | None = None
        if server.auth_type == "oauth2":
            from models.oauth import Requests

            present = await mcp_tokens.present(
                self._database,
                self._cipher,
                server.id,
                chat["owner_id"],
                Requests(self._allowed).renew,
                spent=spent.removeprefix("Bearer "),
            )
            if present is None:
                raise Unavailable(SIGN_IN)
            token = present[0]
        elif server.auth_type == "user_oidc":
            token = await self._access_token(chat["owner_id"])
        own = {"Authorization": f"Bearer {token}"} if token else dict(server.headers)
        taken = {name.lower() for name in own}
        return {**{name: value for name, value in shown.items() if name.lower() not in taken}, **own}

    def changed(self, server_id: UUID) -> None:
        """The server's tools are not what they were."""
        for key in [key for key in self._lists if key[0] == server_id]:
            del self._lists[key]

    async def _listed(self, server: Server, chat: Mapping[str, Any]) -> list[Remote] | Unavailable:
        try:
            return await self._tools(server, chat, await self.headers(server, chat))
        except Unavailable as missing:
            return missing
        except Exception:
            log.exception("the tools of MCP server %s could not be listed", server.slug)
            return Unavailable("its tools could not be listed")

    async def _tools(self, server: Server, chat: Mapping[str, Any], headers: dict[str, str]) -> list[Remote]:
        """The server's tools as this person sees them; asked for once by all who wait for them."""
        personal = chat["owner_id"] if server.auth_type in ("oauth2", "user_oidc") else None
        key = (server.id, server.version, personal, hash(headers.get("Authorization", "")))
        now = asyncio.get_running_loop().time()
        known = self._lists.get(key)
        if known is None or now - known[0] > (SILENT_FOR if _has_failed(known[1]) else LISTED_FOR):
            if len(self._lists) >= MOST_LISTS:
                self._lists.clear()
            task = asyncio.create_task(self._list(server, chat, headers), name=f"list tools of {server.slug}")
            task.add_done_callback(_has_failed)  # whoever waits hears of it; nobody may wait any more
            known = self._lists[key] = (now, task)
        return await asyncio.shield(known[1])

    async def _list(self, server: Server, chat: Mapping[str, Any], headers: dict[str, str]) -> list[Remote]:
        from activities.mcp.session import Failed

        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            try:
                found = await self.sessions.ask(server, headers, _all_tools, seconds=LISTING)
            except Failed as refused:
                if not (refused.unauthorized and server.auth_type == "oauth2"):
                    raise
                again = await self.headers(server, chat, spent=headers.get("Authorization", ""))
                found = await self.sessions.ask(server, again, _all_tools, seconds=LISTING)
        except Failed as failed:
            log.warning("MCP server %s: %s", server.slug, failed)
            if failed.unauthorized and server.auth_type == "oauth2":
                raise Unavailable(SIGN_IN) from failed
            raise Unavailable(str(failed)) from failed
        if (took := clock() - began) > SLOW:
            log.warning("MCP server %s took %.1f s to tell its tools", server.slug, took)
        return [remote(server, each) for each in found]


async def _all_tools(client: Any) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in page.tools]
        cursor = page.next_cursor
        if not cursor or len(tools) >= mcp.MOST_TOOLS:
            return tools[: mcp.MOST_TOOLS]


def remote(server: Server, tool: Mapping[str, Any]) -> Remote:
    """A tool that the server lists, as it is offered."""
    schema = tool.get("inputSchema")
    name = mcp.exposed(server.slug, tool["name"])
    policy: Policy = mcp.policy(tool.get("annotations") or {}, trusted=server.trust_annotations)
    intent = server.model_intent and not mcp.has_intent(schema)
    return Remote(
        name,
        server.id,
        {"tool": tool["name"], "policy": policy.value, "intent": intent},
        mcp.declaration(name, tool.get("description") or tool.get("title") or "", schema, intent=intent),
    )


def _has_failed(task: "asyncio.Task[Any]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
