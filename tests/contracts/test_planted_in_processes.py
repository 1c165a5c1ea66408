"""Secrets of every kind are planted in a real API and a real worker that log all they can; nothing that these write,
keep in the clear, measure, trace or tell Temporal holds one (issue 7).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from activities.provisioners import inhabitants
from models.rules.oauth import Grant
from models.store import agents, mcp_tokens, organizations, people
from models.store.database import fetch
from models.store.secrets import Cipher
from tests.activities.conftest import pytest_collection_modifyitems, stack, task_queue, temporal_server
from tests.activities.mcp_place import HERE
from tests.activities.stack import Stack
from tests.contracts.test_planted_secrets import FAILING, refusals
from tests.fakes import mcp_server, oidc
from tests.fakes.behaviour import Behaviour
from tests.fakes.collector import Collector
from tests.fakes.provider import FakeProvider
from tests.fakes.receiver import Receiver
from tests.forge import spawn
from tests.temporal import free_port
from workflows.housekeeping import Housekeeping
from workflows.sweep import Sweep

__all__ = ["pytest_collection_modifyitems", "stack", "task_queue", "temporal_server"]
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CHATS, MCP = "/api/v2/chats", "/api/v2/mcp/servers"
QUESTION, ANSWER, TITLE, ARGUMENT = "plantedQuestion", "plantedAnswer", "plantedTitle", "plantedArgument"
SAID = (QUESTION, ANSWER, TITLE, ARGUMENT)
PATIENCE = 90.0


def word(what: str) -> str:
    """A secret of this kind, without the prefixes and names that a pattern would know."""
    return f"planted{what}0815abcdefghij"


class Mimic(FakeProvider):
    """Calls tools with what it was asked, then answers; or fails, and quotes the key it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []
        self.quoting, self.failures = "", 0

    def choose(self, style: str, body: Any) -> Behaviour:
        if self.quoting and self.failures != 0:
            self.failures -= 1
            said = f"the key {self.quoting} is wrong, which asks {QUESTION}"
            return Behaviour(status=401, message=said, headers={"x-echo": self.quoting})
        if self.calls and body.get("tools") and body["messages"][-1]["role"] == "user":
            calls, self.calls = self.calls, []
            return Behaviour(tokens=1, tool_calls=calls)
        return Behaviour(text=ANSWER if body.get("tools") else TITLE)


class Issuer(oidc.FakeProvider):
    """Grants tokens that can be looked for."""

    def _granted(self) -> dict[str, Any]:
        granted = super()._granted()
        self._refresh_tokens.add(word("OidcRefresh"))
        return granted | {"access_token": word("OidcAccess"), "refresh_token": word("OidcRefresh")}

    def id_token(self, nonce: str) -> str:
        self.signed = super().id_token(nonce)
        return self.signed


@dataclass
class Deployment:
    """A real API and a real worker on the stack's servers, and what was planted in them so far."""

    stack: Stack
    folder: Path
    environment: dict[str, str]
    secrets: dict[str, str] = field(default_factory=dict)
    client: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)
    url: str = ""

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.client.request(method, path, json=body)
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def until(self, question: Any, **params: Any) -> dict[str, Any]:
        """The first row that answers it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                async with self.stack.database.read() as session:
                    if rows := await fetch(session, question, params):
                        return rows[0]
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def process(self, role: str, *words: str, **more: str) -> AsyncIterator[Path]:
        """`turnstone <role>`, once it is ready; where it said so."""
        ready = self.folder / f"{role}.ready"
        with (self.folder / f"{role}.log").open("ab") as log:
            words = (role, *words, "--ready-path", str(ready))
            process = await spawn("turnstone", *words, env=self.environment | more, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(PATIENCE):
                while not ready.exists() or (role == "api" and not ready.read_text()):
                    assert process.returncode is None, (self.folder / f"{role}.log").read_text()
                    await asyncio.sleep(0.05)
            yield ready
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    def written(self) -> str:
        """All that the processes wrote to their outputs, those of the workspace included."""
        logs = [
            *self.folder.glob("*.log"),
            *self.folder.glob("workspaces/*/log"),
            *self.folder.glob("workspaces/*/*.log"),
        ]
        return "".join(each.read_text(errors="replace") for each in logs if each.is_file())


def settings_of(stack: Stack, folder: Path, issuer: Issuer, collector: Collector) -> dict[str, str]:
    """The environment of both processes; all that may be said is said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTONE_")}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "TURNSTONE_DATABASE_URL": stack.settings.database_url.replace(":@/", f":{word('DatabasePassword')}@/"),
        "TURNSTONE_TEMPORAL_ADDRESS": stack.settings.temporal_address,
        "TURNSTONE_TASK_QUEUE": stack.settings.task_queue,
        "TURNSTONE_SECRET_KEYS": stack.settings.secret_keys.get_secret_value(),
        "TURNSTONE_LOG_LEVEL": "debug",
        "TURNSTONE_FAST_PROVIDERS": "false",  # litellm says the more
        "TURNSTONE_DEBUG_LOGGING": "true",
        "TURNSTONE_OTLP_ENDPOINT": collector.endpoint,
        "TURNSTONE_WEBHOOKS_ALLOW_PRIVATE": "true",
        "TURNSTONE_MCP_ALLOWED_NETWORKS": ",".join(HERE),
        "TURNSTONE_WORKSPACES_DIR": str(folder / "workspaces"),
        "TURNSTONE_OIDC_ISSUER": issuer.issuer,
        "TURNSTONE_OIDC_CLIENT_ID": oidc.CLIENT_ID,
        "TURNSTONE_OIDC_CLIENT_SECRET": issuer.secret,
        "TURNSTONE_PORT": "0",
    }


async def enter(at: Deployment) -> None:
    """Become the owner, by a token."""
    async with at.stack.database.begin() as session:
        owner = await people.create(session, username="planter", email="planter@example.com", roles=("owner",))
        await organizations.add(session, at.stack.world.organization_id, owner, ("agents-access",))
        _, token = await people.create_token(session, owner, kind="token", lifetime=timedelta(hours=1), scopes=())
    at.secrets["token"] = token
    at.client.headers["Coder-Session-Token"] = token


async def plant_people(at: Deployment) -> None:
    """Passwords, sessions, tokens of people and programs, in vain and with success."""
    password = at.secrets["password"] = word("Password") + "!"
    at.secrets["wrong password"] = word("WrongPassword")
    here = {"organization_ids": [str(at.stack.world.organization_id)]}
    grace = {"username": "grace", "email": "grace@example.com"}
    await at.done("POST", "/api/v2/users", {**grace, **here, "password": password})
    entering = {"email": grace["email"], "password": password}
    at.secrets["session"] = (await at.done("POST", "/api/v2/users/login", entering))["session_token"]
    refused = await at.client.post("/api/v2/users/login", json=entering | {"password": at.secrets["wrong password"]})
    assert refused.status_code == 401
    await at.done("POST", "/api/v2/users", {"username": "robot", "service_account": True, **here})
    at.secrets["service token"] = (await at.done("POST", "/api/v2/users/robot/keys/tokens", {"token_name": "r"}))["key"]
    at.secrets["own token"] = (await at.done("POST", "/api/v2/users/me/keys/tokens", {"token_name": "o"}))["key"]


async def sign_in_by_oidc(at: Deployment, issuer: Issuer) -> None:
    async with httpx.AsyncClient(base_url=at.url, timeout=60) as browser:
        begun = await browser.get("/api/v2/users/oidc/callback")
        back = urlsplit((await browser.get(begun.headers["location"])).headers["location"])
        given = {name: values[0] for name, values in parse_qs(back.query).items()}
        entered = await browser.get("/api/v2/users/oidc/callback", params=given)
        assert entered.status_code == 307, entered.text
        at.secrets["oidc session"] = browser.cookies["coder_session_token"]
    at.secrets |= {"oidc state": given["state"], "id token": issuer.signed}
    at.secrets |= {"oidc access": word("OidcAccess"), "oidc refresh": word("OidcRefresh")}


async def plant_servers(at: Deployment, server: mcp_server.Running) -> list[str]:
    """MCP servers with a key, with headers, and with a client's secret and a person's tokens."""
    kinds = ("McpKey", "McpHeader", "McpClient", "McpAccess", "McpRefresh")
    key, header, client, access, refresh = (word(each) for each in kinds)
    at.secrets |= {each: word(each) for each in kinds}
    usual = {"transport": "streamable_http", "availability": "default_off", "enabled": True, "url": server.url}
    oauth = {"oauth2_client_id": "us", "oauth2_auth_url": f"{server.url}/go", "oauth2_token_url": f"{server.url}/token"}
    made = [
        (await at.done("POST", MCP, {**usual, "display_name": each["slug"], **each}))["id"]
        for each in (
            {"slug": "keyed", "auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": key},
            {"slug": "headed", "auth_type": "custom_headers", "custom_headers": {"X-Own": header}},
            {"slug": "guarded", "auth_type": "oauth2", "oauth2_client_secret": client, **oauth},
        )
    ]
    cipher = Cipher(at.environment["TURNSTONE_SECRET_KEYS"])
    async with at.stack.database.begin() as session:
        owner = (await people.get(session, "planter"))["id"]
        granted = Grant(access, refresh, "Bearer", 3600)
        await mcp_tokens.keep(session, cipher, UUID(made[-1]), owner, granted)
    return made


async def plant_workspaces(at: Deployment) -> str:
    """One whose agent comes, with a token of its own and a secret parameter; and one whose build fails."""
    secret = at.secrets["parameter"] = word("Parameter")
    specs: dict[str, dict[str, Any]] = {"docker": {"docker": {"image": "127.0.0.1:9/none"}}, "local": {}}
    found = ""
    for kind, spec in specs.items():
        version = {"rich_parameters": [{"name": "word"}], "spec": {"agents": [{"name": "main"}], **spec}}
        templates = f"/api/v2/organizations/{at.stack.world.organization_id}/templates"
        template = {"name": kind, "provisioner": kind, "version": version}
        place = {"name": kind, "template_id": (await at.done("POST", templates, template))["id"]}
        values = {"rich_parameter_values": [{"name": "word", "value": secret}]}
        found = (await at.done("POST", "/api/v2/users/me/workspaces", place | values))["id"]
        wanted = "b.status = 'failed'" if kind == "docker" else "a.lifecycle = 'ready'"
        question = f"""SELECT b.id FROM workspace_builds b JOIN workspace_agents a ON a.build_id = b.id
            WHERE b.workspace_id = %(id)s AND {wanted}"""
        row = await at.until(question, id=found)
        async with at.stack.database.read() as session:
            [token] = (
                await agents.tokens(session, Cipher(at.environment["TURNSTONE_SECRET_KEYS"]), row["id"])
            ).values()
        at.secrets[f"agent of {kind}"] = token
    return found


async def ask(at: Deployment, **more: Any) -> UUID:
    """A chat that is asked, answered and named."""
    words = {"content": [{"type": "text", "text": QUESTION}], "organization_id": str(at.stack.world.organization_id)}
    chat = UUID((await at.done("POST", CHATS, words | more))["id"])
    await at.until("SELECT 1 FROM chats WHERE id = %(id)s AND status IN ('waiting', 'error')", id=chat)
    await at.done("PATCH", f"{CHATS}/{chat}", {"title": TITLE})
    return chat


async def histories(at: Deployment, names: list[str]) -> tuple[bytes, set[str]]:
    """All that Temporal keeps of these workflows, and of which types they are."""
    kept, kinds, client = b"", set(), at.stack.temporal.client
    for name in names:
        try:
            handle = client.get_workflow_handle(name)
            described = await handle.describe()
            history = await handle.fetch_history()
        except Exception:
            continue
        kinds.add(described.workflow_type)
        kept += described.raw_description.SerializeToString()
        kept += b"".join(event.SerializeToString() for event in history.events)
    return kept, kinds


async def at_rest(at: Deployment) -> dict[str, str]:
    """Every table as text."""
    async with at.stack.database.read() as session:
        names = await fetch(session, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        return {
            row["name"]: str(await fetch(session, f'SELECT to_jsonb(t)::text AS row FROM "{row["name"]}" t'))
            for row in names
        }


async def test_no_secret_leaves_real_processes_or_lies_in_the_clear(stack: Stack, tmp_path: Path) -> None:
    async with AsyncExitStack() as opened:
        fake = await opened.enter_async_context(Mimic())
        claims = {"sub": "s1", "email": "ada.l@example.com", "email_verified": True, "preferred_username": "adal"}
        issuer = await opened.enter_async_context(Issuer(claims=claims, secret=word("OidcClient")))
        collector = opened.enter_context(Collector())
        receiver = await opened.enter_async_context(Receiver(statuses=[500], text=QUESTION))
        server = await opened.enter_async_context(mcp_server.running(tmp_path))
        at = Deployment(stack, tmp_path, settings_of(stack, tmp_path, issuer, collector))
        at.secrets |= {
            "encryption key": at.environment["TURNSTONE_SECRET_KEYS"],
            "database": word("DatabasePassword"),
            "oidc client": issuer.secret,
            "central key": word("CentralKey"),
            "own key": word("OwnKey"),
        }
        opened.callback(inhabitants.end, inhabitants.ROOT, str(tmp_path / "workspaces"), 0)
        ready = await opened.enter_async_context(at.process("api"))
        at.url = ready.read_text().strip()
        at.client = await opened.enter_async_context(httpx.AsyncClient(base_url=at.url, timeout=PATIENCE))
        metrics = free_port()
        working = await opened.enter_async_context(AsyncExitStack())
        more = {"TURNSTONE_METRICS_PORT": str(metrics), "TURNSTONE_ACCESS_URL": at.url, "TURNSTONE_LOG_FORMAT": "json"}
        await working.enter_async_context(at.process("worker", "--processes", "1", **more))
        await enter(at)
        wanted = {"type": "openai-compat", "name": "planted", "enabled": True, "base_url": fake.openai_url}
        body = {**wanted, "api_keys": [at.secrets["central key"]]}
        provider = (await at.done("POST", "/api/v2/ai/providers", body))["id"]
        model = {"ai_provider_id": provider, "model": "fake-model", "context_limit": 90_000, "is_default": True}
        await at.done("POST", f"{CHATS}/model-configs", model)
        hook = {"url": f"{receiver.url}/{word('HookPath')}?to={word('HookQuery')}", "events": ["chat.turn_finished"]}
        at.secrets |= {"hook": (await at.done("POST", "/api/v2/webhooks", hook))["secret"]}
        elsewhere = {word("HookPath"), word("HookQuery")}  # its owner sees its address, and nobody else
        await plant_people(at)
        await sign_in_by_oidc(at, issuer)
        servers = await plant_servers(at, server)
        workspace = await plant_workspaces(at)
        fake.calls = [
            {"id": "c1", "name": "execute", "arguments": {"command": f"echo {ARGUMENT}"}},
            {"id": "c2", "name": "keyed__echo", "arguments": {"words": ARGUMENT}},
            {"id": "c3", "name": "headed__fail", "arguments": {}},
            {"id": "c4", "name": "guarded__echo", "arguments": {"words": ARGUMENT}},
            {"id": "c5", "name": "write_file", "arguments": {"path": "x", "content": ARGUMENT}},
        ]
        chats = [await ask(at, workspace_id=workspace, mcp_server_ids=servers)]
        async with stack.database.begin() as session:
            for statement in FAILING:
                await fetch(session, statement)
        chats.append(await ask(at))
        fake.quoting, fake.failures = at.secrets["central key"], -1
        chats.append(await ask(at))
        await at.done("PUT", f"/api/v2/users/me/ai-provider-keys/{provider}", {"api_key": at.secrets["own key"]})
        fake.quoting = at.secrets["own key"]
        chats.append(await ask(at))
        await at.until("SELECT 1 FROM webhook_deliveries WHERE attempts > 0")
        async with stack.database.begin() as session:  # both lose their connections, and say so
            await fetch(session, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database()")  # fmt: skip
        queue, client = stack.settings.task_queue, stack.temporal.client
        swept, kept_house = f"swept-{queue}", f"kept-{queue}"
        await client.execute_workflow(Sweep.run, "every few seconds", id=swept, task_queue=queue)
        await client.execute_workflow(Housekeeping.run, "every few minutes", id=kept_house, task_queue=queue)
        async with stack.database.read() as session:
            builds = [f"build/{row['id']}" for row in await fetch(session, "SELECT id FROM workspace_builds")]
            sent = await fetch(session, "SELECT endpoint_id, id FROM webhook_deliveries")
        names = [f"{kind}-{chat}" for chat in chats for kind in ("chat", "title", "label")] + builds
        names += [f"webhook-{row['endpoint_id']}-{row['id']}" for row in sent] + [swept, kept_house]
        kept, kinds = await histories(at, names)
        errors = await refusals(at.client, provider)
        errors += str([await at.done("GET", f"{CHATS}/{chat}") for chat in chats[1:]]).replace(TITLE, "")
        async with httpx.AsyncClient(timeout=60) as http:
            measured = (await http.get(f"http://127.0.0.1:{metrics}/metrics")).text
        measured += (await at.client.get("/metrics")).text
        await working.aclose()  # a worker that ends sends what it has traced
        tables = await at_rest(at)
        results = [row["content"] for row in await rows_of(stack, chats[0], "tool")]
        written = at.written()
    assert kinds == {"ChatTurn", "ChatTitle", "WorkspaceBuild", "WebhookDelivery", "Sweep", "Housekeeping"}
    assert [ARGUMENT in str(each) for each in results] == [True, True, False, True, False], results
    assert (await stack.chat(chats[0])).status == "waiting"
    assert "INFO api.serve: listening on" in written
    assert '"level": "info", "logger": "activities.meters"' in written
    places = {
        "log": written,
        "answers": errors,
        "metrics": measured,
        "spans": str(collector.spans),
        "histories": kept.decode("latin-1"),
        **tables,
    }
    for place in ("log", "answers", "metrics", "spans", "histories", "audit_logs", "chat_debug_steps"):
        assert len(places[place]) > 500, place
    planted = {
        f"{name} in {place}" for name, secret in at.secrets.items() for place in places if secret in places[place]
    }
    assert planted == {"parameter in workspace_agents", "parameter in workspace_builds"}
    ours = {name: places[name] for name in ("log", "metrics", "spans", "histories", "audit_logs")}
    said = {f"{each} in {name}" for name, text in ours.items() for each in (*SAID, *elsewhere) if each in text}
    assert said == set()


async def rows_of(stack: Stack, chat_id: UUID, role: str) -> list[dict[str, Any]]:
    async with stack.database.read() as session:
        query = "SELECT content FROM chat_messages WHERE chat_id = %(id)s AND role = %(role)s ORDER BY id"
        return await fetch(session, query, {"id": chat_id, "role": role})
