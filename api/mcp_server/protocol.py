"""The only importer of the MCP SDK here: its server over our tools, a request at a time, nothing kept in between."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import orjson
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from mcp_types import Tool as Offered
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from api.caller import authenticate, credentials
from api.errors import respond, status_of
from api.mcp_server.chats import CHAT_TOOLS
from api.mcp_server.inside import Inside, Refused
from api.mcp_server.places import PLACE_TOOLS
from api.mcp_server.tool import Call, Tool
from api.mcp_server.waiting import WAIT
from models.errors import TurnstoneError
from models.principal import Principal

INSTRUCTIONS = (
    "Turnstone runs agent chats that go on by themselves. create_chat gives an agent a task; wait_for_chat waits for "
    "its answer, again if need be; send_message goes on with it. A chat may work in a workspace, which is made of a "
    "template: list_templates, read_template, create_workspace."
)
KEY = "turnstone/idempotency-key"
TOOLS: Mapping[str, Tool] = {each.name: each for each in (*CHAT_TOOLS, WAIT, *PLACE_TOOLS)}
CHAT, JSON = "chat://", "application/json"
CLOSE = 5.0  # seconds that what is being answered has to end

# What goes wrong is told to the client, and logged by us in our words: its own would repeat what it was sent.
logging.getLogger("mcp").setLevel(logging.CRITICAL)
log = logging.getLogger(__name__)


class Protocol:
    """Answers requests; `start` it first."""

    def __init__(self) -> None:
        server: Server[Any] = Server(
            "turnstone",
            version="0.1.0",
            title="Turnstone",
            instructions=INSTRUCTIONS,
            on_list_tools=_list,
            on_call_tool=_call,
            on_list_resources=_list_chats,
            on_list_resource_templates=_templates,
            on_read_resource=_read_chat,
            get_tool_input_schema=lambda name: TOOLS[name].schema if name in TOOLS else None,
        )
        self._plain = StreamableHTTPSessionManager(server, stateless=True, json_response=True)
        self._streaming = StreamableHTTPSessionManager(server, stateless=True)
        self._ending = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; what is answered ends with `stop`."""
        ready = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(ready), name="mcp")
        await asyncio.wait({self._running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        """End what is being answered."""
        self._ending.set()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=CLOSE)
            self._running.cancel()

    async def _run(self, ready: asyncio.Future[None]) -> None:
        async with AsyncExitStack() as stack:
            for each in (self._plain, self._streaming):
                await stack.enter_async_context(each.run())
            ready.set_result(None)
            await self._ending.wait()

    async def answer(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        """Answer this request, whose body was read; it ends with its client, who may hang up."""
        gone = asyncio.Event()
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async def replay() -> Message:
            if (first := next(given, None)) is not None:
                return first
            await gone.wait()
            return {"type": "http.disconnect"}

        manager = self._streaming if _streams(Request(scope), body) else self._plain
        listening = asyncio.create_task(listen())
        serving = asyncio.create_task(manager.handle_request(scope, replay, send))
        try:
            await asyncio.wait({listening, serving}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                serving.cancel()
                await asyncio.wait({serving})
        finally:
            listening.cancel()
            serving.cancel()
        if not serving.cancelled():
            serving.result()


def _streams(request: Request, body: bytes) -> bool:
    """Is the answer a stream? One that may become one by itself in later versions; earlier ones must ask for news."""
    _, hears_events = check_accept_headers(request)
    version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
    later = version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS
    return hears_events and (later or b'"progressToken"' in body)


async def _list(context: ServerRequestContext[Any, Request], _: PaginatedRequestParams | None) -> ListToolsResult:
    caller = await authenticate(_request(context))
    return ListToolsResult(tools=[_offered(each) for each in TOOLS.values() if each.open_to(caller)])


def _offered(tool: Tool) -> Offered:
    return Offered(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.schema,
        annotations=ToolAnnotations(
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.reads or tool.repeats,
            open_world_hint=not tool.reads,  # agents act on the world
        ),
    )


async def _call(context: ServerRequestContext[Any, Request], params: CallToolRequestParams) -> CallToolResult:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name[:100]}")
    return await _run(tool, params.arguments or {}, context)


async def _run(tool: Tool, arguments: dict[str, Any], context: ServerRequestContext[Any, Request]) -> CallToolResult:
    """What the tool answers, or what it was refused; raises MCPError where the token does not reach so far."""
    request = _request(context)
    caller = await authenticate(request)
    if not tool.open_to(caller):
        needed = " and ".join(tool.needs)
        raise MCPError(INVALID_PARAMS, f'The token may not be used for "{tool.name}": its scopes lack {needed}.')
    try:
        given = tool.arguments.model_validate(arguments)
        return _result(await tool.run(given, _used(context, request, caller)))
    except ValidationError as wrong:
        return _failed(400, {"message": "Invalid arguments.", "validations": _complaints(wrong)})
    except Refused as refused:
        return _failed(refused.status, refused.envelope)
    except TurnstoneError as error:
        return _failed(status_of(type(error)), orjson.loads(bytes(respond(error).body)))
    except Exception:
        request_id = request.scope["state"]["request_id"]
        log.exception("a tool failed", extra={"request_id": request_id, "tool": tool.name})
        return _failed(500, {"message": TurnstoneError.default_message, "detail": f"Request id: {request_id}"})


async def _list_chats(
    context: ServerRequestContext[Any, Request], params: PaginatedRequestParams | None
) -> ListResourcesResult:
    if not TOOLS["list_chats"].open_to(await authenticate(_request(context))):
        return ListResourcesResult(resources=[])  # clients ask by themselves, and would take a refusal for a fault
    cursor = params.cursor if params is not None else None
    page = _document(await _run(TOOLS["list_chats"], {"cursor": cursor}, context))
    found = [
        Resource(uri=f"{CHAT}{each['id']}", name=each["id"], title=each["title"], mime_type=JSON)
        for each in page["chats"]
    ]
    return ListResourcesResult(resources=found, next_cursor=page.get("next_cursor"))


async def _templates(
    context: ServerRequestContext[Any, Request], _: PaginatedRequestParams | None
) -> ListResourceTemplatesResult:
    await authenticate(_request(context))
    about = "Where a chat stands, and its newest messages."
    made = ResourceTemplate(uri_template=f"{CHAT}{{chat_id}}", name="chat", description=about, mime_type=JSON)
    return ListResourceTemplatesResult(resource_templates=[made])


async def _read_chat(
    context: ServerRequestContext[Any, Request], params: ReadResourceRequestParams
) -> ReadResourceResult:
    asked = {"chat_id": params.uri.removeprefix(CHAT)}
    text = orjson.dumps(_document(await _run(TOOLS["read_chat"], asked, context))).decode()
    return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type=JSON, text=text)])


def _document(result: CallToolResult) -> dict[str, Any]:
    """The tool's answer; raises MCPError where it was refused."""
    document: dict[str, Any] = result.structured_content
    if result.is_error:
        raise MCPError(INVALID_PARAMS, document["error"]["message"], document)
    return document


def _request(context: ServerRequestContext[Any, Request]) -> Request:
    assert context.request is not None  # there is one behind every message that comes over HTTP
    return context.request


def _used(context: ServerRequestContext[Any, Request], request: Request, caller: Principal) -> Call:
    key = (context.meta or {}).get(KEY)
    return Call(
        inside=Inside(request.scope),
        caller=caller,
        digest=credentials(request.scope).digest or b"",
        resources=request.scope["state"]["resources"],
        key=key if isinstance(key, str) else "",
        progress=context.session.report_progress,
    )


def _result(document: dict[str, Any]) -> CallToolResult:
    text = orjson.dumps(document).decode()
    return CallToolResult(content=[TextContent(text=text)], structured_content=document)


def _failed(status: int, envelope: dict[str, Any]) -> CallToolResult:
    """A refusal in the words of our envelope, for a model to read and for a program."""
    complaints = [f"{each['field']}: {each['detail']}" for each in envelope.get("validations", [])]
    lines = [f"{status}: {envelope.get('message', '')}", envelope.get("detail", ""), *complaints]
    if "retry_after_seconds" in envelope:
        lines.append(f"Try again in {envelope['retry_after_seconds']} s.")
    text = "\n".join(line for line in lines if line)
    error = {"error": {"status": status, **envelope}}
    return CallToolResult(content=[TextContent(text=text)], structured_content=error, is_error=True)


def _complaints(wrong: ValidationError) -> list[dict[str, str]]:
    found = wrong.errors(include_url=False, include_context=False, include_input=False)
    return [{"field": ".".join(map(str, each["loc"])), "detail": each["msg"]} for each in found[:20]]
