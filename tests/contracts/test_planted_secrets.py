"""Secrets and words that are planted through real routes and real turns come to light nowhere: log, error, audit log,
debug run, metric, trace, Temporal history (issue 7).

One deployment, an API and a worker, a provider that repeats the key it was called with, and a database that quotes a
whole row when it fails.
"""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import generate_latest
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, DefaultPayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.performs import performs
from api.app import create_app
from models.errors import Conflict, Unavailable
from models.steps import SweepReply
from models.store.database import fetch
from tests.activities.conftest import pytest_collection_modifyitems, stack, task_queue, temporal_server
from tests.activities.stack import Stack, worker
from tests.api.conftest import Api
from tests.fakes.behaviour import Behaviour
from tests.fakes.collector import Collector
from tests.fakes.provider import FakeProvider
from turnstone.logs import JsonLines, TextLines
from workflows import effects

__all__ = ["pytest_collection_modifyitems", "stack", "task_queue", "temporal_server"]

# Without the prefixes and names that a pattern would know.
CENTRAL_KEY = "plantedCentralKey0815abcdefghij"
OWN_KEY = "plantedOwnKey4711abcdefghijklm"
PASSWORD = "plantedPassword!42"
GIVEN = (CENTRAL_KEY, OWN_KEY, PASSWORD)
QUESTION, ANSWER, TITLE = "plantedQuestion", "plantedAnswer", "plantedTitle"
SAID = (QUESTION, ANSWER, TITLE)

# The first time that an answer is stored, the database refuses and quotes it.
FAILING = (
    "CREATE SEQUENCE fails",
    """
    CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.role = 'assistant' AND NOT NEW.deleted AND nextval('fails') = 1 THEN
            RAISE EXCEPTION 'refused' USING DETAIL = 'Failing row contains (' || NEW.content::text || ')',
                ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER fail_once BEFORE INSERT ON chat_messages FOR EACH ROW EXECUTE FUNCTION fail_once()",
)


class Quoting(FakeProvider):
    """Answers everybody as it was told to last, a failure so many times before."""

    def __init__(self) -> None:
        super().__init__()
        self.failure, self.failures = Behaviour(), 0

    def fail(self, key: str, status: int, times: int) -> None:
        said = f"the key {key} is wrong, which asks {QUESTION}"
        self.failure, self.failures = Behaviour(status=status, message=said, headers={"x-echo": key}), times

    def choose(self, style: str, body: Any) -> Behaviour:
        self.failures -= 1
        return self.failure if self.failures >= 0 else Behaviour(text=ANSWER)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What both processes would write, as text and as JSON, with everything that ours say."""
    stream = io.StringIO()
    handlers = [logging.StreamHandler(stream), logging.StreamHandler(stream)]
    handlers[0].setFormatter(TextLines())
    handlers[1].setFormatter(JsonLines())
    root = logging.getLogger()
    ours = [root, *(logging.getLogger(name) for name in ("api", "activities", "models", "workflows"))]
    before = [(each, each.level) for each in ours]
    for each in ours:
        each.setLevel("DEBUG" if each is not root else "INFO")
    root.handlers += handlers
    yield stream
    for each, level in before:
        each.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


@pytest.fixture
async def service(stack: Stack) -> AsyncIterator[Api]:
    """An API of the stack's deployment."""
    app = create_app(stack.settings)
    async with AsyncExitStack() as opened:
        state = await opened.enter_async_context(app.router.lifespan_context(app))
        yield Api(app, dict(state or {}), stack.world.organization_id, opened)


async def table(stack: Stack, name: str) -> str:
    async with stack.database.read() as session:
        return str(await fetch(session, f"SELECT to_jsonb(t)::text FROM {name} t"))


async def histories(stack: Stack, chats: list[UUID]) -> bytes:
    """All that Temporal keeps of these chats, as it keeps it."""
    kept = b""
    for chat in chats:
        for kind in ("chat", "title", "label"):
            with suppress(RPCError):
                history = await stack.temporal.client.get_workflow_handle(f"{kind}-{chat}").fetch_history()
                kept += b"".join(event.SerializeToString() for event in history.events)
    return kept


async def refusals(client: httpx.AsyncClient, provider: str) -> str:
    """What is answered to requests that are wrong around a secret."""
    said = ""
    secret: Any
    for method, path, body in (
        ("POST", "/api/v2/users/login", {"email": 7, "password": PASSWORD}),
        ("POST", "/api/v2/users/login", {"email": "grace@example.com", "password": [PASSWORD]}),
        ("POST", "/api/v2/users/login", {"email": PASSWORD, "password": PASSWORD}),
        ("POST", "/api/v2/users", {"username": "grace", "email": "x", "password": PASSWORD}),
        ("POST", "/api/v2/ai/providers", {"type": "x", "name": "y", "api_keys": [CENTRAL_KEY]}),
        ("POST", "/api/v2/ai/providers", {"type": "openai", "name": "y", "api_keys": {"a": CENTRAL_KEY}}),
        ("PATCH", f"/api/v2/ai/providers/{provider}", {"api_keys": CENTRAL_KEY}),
        ("PATCH", f"/api/v2/ai/providers/{provider}", {"api_keys": [{"api_key": [CENTRAL_KEY]}]}),
        ("PUT", f"/api/v2/users/me/ai-provider-keys/{provider}", {"api_key": [OWN_KEY]}),
    ):
        answer = await client.request(method, path, json=body)
        assert 400 <= answer.status_code < 500, (path, body, answer.text)
        said += answer.text
    for secret in GIVEN:
        answer = await client.post("/api/v2/ai/providers", content=json.dumps({"api_keys": [secret]})[:-1])
        assert answer.status_code == 400
        said += answer.text
    return said


async def test_what_is_planted_comes_to_light_nowhere(stack: Stack, service: Api, log: io.StringIO) -> None:
    async with AsyncExitStack() as opened:
        fake = await opened.enter_async_context(Quoting())
        collector = opened.enter_context(Collector())
        chosen = {"otlp_endpoint": collector.endpoint, "debug_logging": True}
        mine = replace(stack, settings=stack.settings.model_copy(update=chosen))
        async with worker(mine) as resources:
            owner = await service.person("planter", site_roles=("owner",), org_roles=("agents-access",))
            client = owner.client

            async def done(method: str, path: str, body: Any = None) -> Any:
                answer = await client.request(method, path, json=body)
                assert answer.is_success, (path, answer.text)
                return answer.json() if answer.content else None

            wanted = {"type": "openai-compat", "name": "planted", "enabled": True, "base_url": fake.openai_url}
            provider = (await done("POST", "/api/v2/ai/providers", {**wanted, "api_keys": [CENTRAL_KEY]}))["id"]
            model = {"ai_provider_id": provider, "model": "fake-model", "context_limit": 9000, "is_default": True}
            await done("POST", "/api/v2/chats/model-configs", model)
            await done(
                "POST",
                "/api/v2/users",
                {
                    "username": "grace",
                    "email": "grace@example.com",
                    "password": PASSWORD,
                    "organization_ids": [str(service.organization_id)],
                },
            )
            entered = await done("POST", "/api/v2/users/login", {"email": "grace@example.com", "password": PASSWORD})
            token = await done("POST", "/api/v2/users/me/keys/tokens", {"token_name": "planted"})
            hook = await done(
                "POST", "/api/v2/webhooks", {"url": "https://hooks.example.com", "events": ["chat.deleted"]}
            )
            shown = (entered["session_token"], token["key"], hook["secret"])

            async def ask() -> UUID:
                words = {
                    "organization_id": str(service.organization_id),
                    "content": [{"type": "text", "text": QUESTION}],
                }
                chat = UUID((await done("POST", "/api/v2/chats", words))["id"])
                await mine.rest(chat)
                await done("PATCH", f"/api/v2/chats/{chat}", {"title": TITLE})
                return chat

            async with stack.database.begin() as session:
                for statement in FAILING:
                    await fetch(session, statement)
            chats = [await ask()]
            fake.fail(CENTRAL_KEY, 500, 3)
            chats.append(await ask())
            fake.fail(CENTRAL_KEY, 401, 99)
            chats.append(await ask())
            await done("PUT", f"/api/v2/users/me/ai-provider-keys/{provider}", {"api_key": OWN_KEY})
            fake.fail(OWN_KEY, 401, 99)
            chats.append(await ask())
            errors = await refusals(client, provider)
            errors += str([await done("GET", f"/api/v2/chats/{chat}") for chat in chats[1:]]).replace(TITLE, "")
            measured = (await client.get("/metrics")).text + generate_latest(resources.meters.registry).decode()
            kept = await histories(mine, chats)
    assert [(await mine.chat(each)).status for each in chats] == ["error", "waiting", "error", "error"]
    assert (await mine.said(chats[1]))[-1] == ("assistant", ANSWER)
    places = {
        "log": log.getvalue(),
        "answers": errors,
        "audit": await table(stack, "audit_logs"),
        "metrics": measured,
        "spans": str(collector.spans),
        "histories": kept.decode("latin-1"),
    }
    recorded = await table(stack, "chat_debug_runs") + await table(stack, "chat_debug_steps")
    assert all(len(found) > 500 for found in places.values())
    assert len(recorded) > 500
    secrets = {name: [each for each in (*GIVEN, *shown) if each in text] for name, text in places.items()}
    assert not any(secrets.values()), secrets
    assert [each for each in (*GIVEN, *shown) if each in recorded] == []
    said = {name: [each for each in SAID if each in text] for name, text in places.items() if name != "answers"}
    assert not any(said.values()), said


class Failing:
    """An effect that fails with a person's words."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    @performs(effects.sweep)
    async def sweep(self, reason: str) -> SweepReply:
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "is_final"),
    [(RuntimeError(QUESTION), False), (Unavailable(detail=QUESTION), False), (Conflict("no", QUESTION), True)],
)
async def test_temporal_is_told_what_kind_of_failure_it_was_and_not_its_words(
    failure: Exception, is_final: bool
) -> None:
    with pytest.raises(ApplicationError) as raised:
        await Failing(failure).sweep("")
    told = Failure()
    DefaultFailureConverter().to_failure(raised.value, DefaultPayloadConverter(), told)
    assert (told.application_failure_info.type, told.application_failure_info.non_retryable) == (
        type(failure).__name__,
        is_final,
    )
    assert QUESTION not in str(told)
