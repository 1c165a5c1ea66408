"""A call of a server's tool: a tool like every other to the ledger, run in a session of its own."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from activities.mcp.content import outcome
from activities.mcp.servers import SIGN_IN, Servers, Unavailable
from activities.tools.endings import ToolFailed, ToolUnknown
from activities.tools.tool import EVERYWHERE, Tool, ToolContext
from models.parts import Part
from models.rules import mcp, tool_results
from models.rules.executions import Policy
from models.store.mcp_servers import Server

CALL = 60.0  # seconds for an answer
TIMEOUT = timedelta(seconds=150)  # for all of it: sign-in, connecting twice, the call
KEY = "turnstone/idempotency-key"
_UNKNOWN_TOOL = (-32601, -32602)  # method not found, invalid params: perhaps the list is old


class Given(BaseModel):
    """Whatever the model gives: the server judges it."""

    model_config = ConfigDict(extra="allow")


def tools_of(servers: Servers, asked: Iterable[Part]) -> list[Tool]:
    """The tools that these calls are of, as they were offered: who takes one over need not ask its server for it.

    Whether it may be used (still) is looked at when it is run, after the ledger has told what became of it.
    """
    found: dict[str, Tool] = {}
    for call in asked:
        origin, server = (call.get("provider_metadata") or {}).get(mcp.ORIGIN), call.get("mcp_server_config_id")
        if isinstance(origin, Mapping) and server:
            found[call["tool_name"]] = _tool(servers, call["tool_name"], UUID(str(server)), origin)
    return [*found.values()]


def _tool(servers: Servers, name: str, server_id: UUID, origin: Mapping[str, Any]) -> Tool:
    policy = Policy(origin["policy"])

    async def run(arguments: Given, context: ToolContext) -> Any:
        given = dict(arguments.model_extra or {})
        server = await servers.server(server_id, origin["tool"], context.chat)
        if server is None:
            raise ToolFailed(f"Tool not active in this turn: {name}")
        if origin["intent"] and not str(given.pop(mcp.INTENT, "") or "").strip():
            raise ToolFailed(f"Invalid arguments: {mcp.INTENT}: say what the call is for")
        return outcome(await _called(servers, server, origin["tool"], given, context, policy))

    return Tool(name, Given, run, policy, offered=EVERYWHERE, timeout=TIMEOUT)


async def _called(
    servers: Servers, server: Server, tool: str, given: dict[str, Any], context: ToolContext, policy: Policy
) -> dict[str, Any]:
    """The server's answer; whoever it does not know is known anew once, which is safe: nothing was done."""
    from activities.mcp.session import Answered, Failed

    async def ask(client: Any) -> dict[str, Any]:
        answer = await client.call_tool(tool, given, meta={KEY: context.idempotency_key})
        made: dict[str, Any] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
        return made

    who = server.display_name
    spent = ""
    while True:
        try:
            headers = await servers.headers(server, context.chat, spent=spent)
            return await servers.sessions.ask(
                server, headers, ask, seconds=CALL, changed=lambda: servers.changed(server.id)
            )
        except Unavailable as missing:
            raise ToolFailed(f"{who}: {missing}") from None
        except Answered as said:
            if said.code in _UNKNOWN_TOOL:
                servers.changed(server.id)
            raise ToolFailed(f"{who}: {said}") from None
        except Failed as failed:
            if failed.unauthorized and server.auth_type == "oauth2" and not spent:
                spent = headers["Authorization"]
                continue
            if failed.unauthorized:
                raise ToolFailed(f"{who}: {SIGN_IN if server.auth_type == 'oauth2' else failed}") from None
            if failed.sent and policy is not Policy.PURE:
                raise ToolUnknown(f"{who}: {failed}. {tool_results.MAY_HAVE_HAPPENED}") from None
            raise ToolFailed(f"{who}: {failed}") from None
