"""A real MCP server in a process of its own: `python -m tests.fakes.mcp_server <transport> <journal>`.

It prints its port, and writes a line for every call into the journal. With `--oauth` it wants tokens, of the small
authorization server that it has beside it.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.forge import Forged, spawn

ROOT = Path(__file__).parents[2]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LIFE = 3600  # seconds that a token is said to hold


@dataclass
class Journal:
    """What was called, a line each."""

    path: Path

    def count(self, tool: str) -> int:
        return sum(json.loads(line).get("tool") == tool for line in self.path.read_text().splitlines())

    def write(self, **entry: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def tools(journal: Journal) -> MCPServer:
    """The server and its tools."""
    server: MCPServer = MCPServer("fake")

    def noted(tool: str, context: Context[Any, Any], /, **arguments: Any) -> None:
        request = context.request_context.request
        headers = dict(request.headers.items()) if request is not None else {}
        meta = context.request_context.meta
        journal.write(tool=tool, arguments=arguments, headers=headers, meta=dict(meta or {}))

    @server.tool()
    async def echo(words: str, context: Context[Any, Any]) -> str:
        """Say it again."""
        noted("echo", context, words=words)
        return words

    @server.tool()
    async def act(context: Context[Any, Any]) -> str:
        """Do something to the world, and take for ever to say so."""
        noted("act", context)
        await asyncio.Event().wait()
        return "never"

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def look(context: Context[Any, Any]) -> dict[str, Any]:
        """Look, and change nothing."""
        noted("look", context)
        return {"seen": ["a", "b"]}

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def ponder(context: Context[Any, Any]) -> str:
        """Change nothing, and come to an end only when asked again."""
        noted("ponder", context)
        if journal.count("ponder") == 1:
            await asyncio.Event().wait()
        return "pondered"

    @server.tool()
    async def fail(context: Context[Any, Any]) -> str:
        """Fail."""
        noted("fail", context)
        raise ToolError("the printer is on fire")

    @server.tool()
    async def draw(context: Context[Any, Any]) -> Image:
        """Draw a pixel."""
        noted("draw", context)
        return Image(data=PIXEL, format="png")

    @server.tool()
    async def learn(name: str, context: Context[Any, Any]) -> str:
        """Learn another tool."""
        noted("learn", context, name=name)

        async def learnt() -> str:
            """A tool that was not there before."""
            return f"I am {name}"

        server.add_tool(learnt, name=name)
        await context.session.send_tool_list_changed()
        return "learnt"

    return server


class Guarded:
    """Lets nobody by without a token of `tokens`; beside it, an authorization server that gives them."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal
        self._clients: dict[str, dict[str, Any]] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()
        self._refreshes: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = await self._answer(request)
        if answer is not None:
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        here = f"http://{request.headers['host']}"
        match request.url.path:
            case "/.well-known/oauth-protected-resource/mcp":
                return JSONResponse({"resource": f"{here}/mcp", "authorization_servers": [here]})
            case "/.well-known/oauth-authorization-server":
                return JSONResponse(
                    {
                        "issuer": here,
                        "authorization_endpoint": f"{here}/authorize",
                        "token_endpoint": f"{here}/token",
                        "registration_endpoint": f"{here}/register",
                        "code_challenge_methods_supported": ["S256"],
                        "token_endpoint_auth_methods_supported": ["none"],
                    }
                )
            case "/register":
                client = secrets.token_hex(8)
                self._clients[client] = await request.json()
                return JSONResponse({"client_id": client, **self._clients[client]}, 201)
            case "/authorize":
                return self._authorize(dict(request.query_params))
            case "/token":
                return self._token({name: each[0] for name, each in parse_qs((await request.body()).decode()).items()})
            case "/revoke-all":
                self._tokens.clear()
                return Response()
        word = request.headers.get("authorization", "").removeprefix("Bearer ")
        return None if word in self._tokens else Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})

    def _authorize(self, asked: dict[str, str]) -> Response:
        client = self._clients[asked["client_id"]]
        if asked["redirect_uri"] not in client["redirect_uris"] or asked["code_challenge_method"] != "S256":
            return Response(status_code=400)
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    def _token(self, form: dict[str, str]) -> Response:
        self._journal.write(grant=form["grant_type"], resource=form.get("resource"))
        if form["grant_type"] == "refresh_token":
            if self._refreshes.pop(form["refresh_token"], None) != form["client_id"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
        else:
            asked = self._codes.pop(form["code"], {})
            proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
            if asked.get("code_challenge") != proof.decode() or asked["redirect_uri"] != form["redirect_uri"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
        token, refresh = secrets.token_hex(8), secrets.token_hex(8)
        self._tokens.add(token)
        self._refreshes[refresh] = form["client_id"]
        return JSONResponse(
            {"access_token": token, "refresh_token": refresh, "token_type": "Bearer", "expires_in": LIFE}
        )


Transport = Literal["streamable_http", "sse"]


@dataclass
class Running:
    """The server's process, as a test has it."""

    process: Forged
    port: int
    path: str
    journal: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def entries(self, tool: str = "") -> list[dict[str, Any]]:
        """What was called so far, or what was granted."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        found = [json.loads(line) for line in lines]
        return [each for each in found if not tool or each.get("tool") == tool]

    async def until_called(self, tool: str) -> None:
        async with asyncio.timeout(60):
            while not self.entries(tool):
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def running(
    folder: Path, transport: Transport = "streamable_http", *, oauth: bool = False
) -> AsyncIterator[Running]:
    """A server that can be asked, until the block ends."""
    journal = folder / f"{secrets.token_hex(4)}.jsonl"
    words = [transport, str(journal), *(["--oauth"] if oauth else [])]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    told, tell = os.pipe()
    with os.fdopen(tell, "wb") as output, open(os.devnull, "wb") as nothing:
        process = await spawn("tests.fakes.mcp_server", *words, env=environment, stdout=output, stderr=nothing)
    served = Running(process, 0, "/sse" if transport == "sse" else "/mcp", journal)
    try:
        with os.fdopen(told) as port:
            served.port = int(await asyncio.to_thread(port.readline))
        yield served
    finally:
        await served.stop()


def main(arguments: Mapping[str, Any]) -> None:
    journal = Journal(Path(arguments["journal"]))
    server = tools(journal)
    app: ASGIApp = server.sse_app() if arguments["transport"] == "sse" else server.streamable_http_app()
    if arguments["oauth"]:
        app = Guarded(app, journal)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("transport")
    parser.add_argument("journal")
    parser.add_argument("--oauth", action="store_true")
    main(vars(parser.parse_args()))
