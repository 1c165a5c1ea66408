"""Testing a provider and finding its models: each kind is asked in its own way; what fails is said, and no key is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from api.probe import Credentials, Probed, probe
from models.store.secrets import Cipher
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS
from tests.api.test_providers import PROVIDERS, SECRET, made

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Vendor:
    """A provider that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answers: dict[str, Any] = {}
        self.server = TestServer(self._application())

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        answer = self.answers.get(request.path)
        if answer is None:
            return web.json_response({"error": {"message": "no such page"}}, status=404)
        if isinstance(answer, web.Response):
            return answer
        return await answer(request) if callable(answer) else web.json_response(answer)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor()
    await made.server.start_server()
    yield made
    await made.server.close()


async def asked(kind: str, url: str, key: str = SECRET, **settings: str) -> Probed:
    return await probe(kind, url, Credentials(key, settings), patience=60)


def told(found: Probed) -> list[tuple[str, str, int, int]]:
    return [(each.id, each.display_name, each.context_limit, each.max_output_tokens) for each in found.models]


PLAIN = {"data": [{"id": "b", "object": "model"}, {"id": "a", "max_model_len": 32_000}]}
# kind, base path, the pages it is asked for, the header with the key, the list, the models
KINDS: list[tuple[str, str, list[str], str, Any, list[tuple[str, str, int, int]]]] = [
    ("openai", "/v1", ["/v1/models"], "authorization", PLAIN, [("a", "", 32_000, 0), ("b", "", 0, 0)]),
    ("openai-compat", "/v1/", ["/v1/models"], "authorization", {"data": []}, []),
    ("azure", "", ["/openai/models?api-version=2024-10-21"], "api-key", {"data": [{"id": "gpt"}]}, [("gpt", "", 0, 0)]),
    ("azure", "/openai/v1", ["/openai/v1/models"], "api-key", {"data": [{"id": "gpt"}]}, [("gpt", "", 0, 0)]),
    (
        "anthropic",
        "/v1",
        ["/v1/models?limit=1000"],
        "x-api-key",
        {"data": [{"id": "claude", "display_name": "Claude", "type": "model"}]},
        [("claude", "Claude", 0, 0)],
    ),
    (
        "google",
        "/v1beta",
        ["/v1beta/models?pageSize=1000"],
        "x-goog-api-key",
        {
            "models": [
                {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
                {
                    "name": "models/gemini",
                    "displayName": "Gemini",
                    "inputTokenLimit": 1_000_000,
                    "outputTokenLimit": 8192,
                    "supportedGenerationMethods": ["generateContent"],
                },
            ]
        },
        [("gemini", "Gemini", 1_000_000, 8192)],
    ),
    (
        "openrouter",
        "/api/v1",
        ["/api/v1/key", "/api/v1/models"],
        "authorization",
        {"data": [{"id": "a/b", "name": "A: B", "context_length": 9, "top_provider": {"max_completion_tokens": 3}}]},
        [("a/b", "A: B", 9, 3)],
    ),
    (
        "vercel",
        "/v1",
        ["/v1/credits", "/v1/models"],
        "authorization",
        {"data": [{"id": "a/b", "name": "B", "context_window": 9, "max_tokens": 3}]},
        [("a/b", "B", 9, 3)],
    ),
    (
        "bedrock",
        "",
        ["/foundation-models?byOutputModality=TEXT"],
        "authorization",
        {"modelSummaries": [{"modelId": "amazon.nova", "modelName": "Nova"}]},
        [("amazon.nova", "Nova", 0, 0)],
    ),
]


@pytest.mark.parametrize(("kind", "base", "pages", "header", "listed", "models"), KINDS)
async def test_each_kind_is_asked_in_its_own_way(
    vendor: Vendor, kind: str, base: str, pages: list[str], header: str, listed: Any, models: Any
) -> None:
    vendor.answers = {page.partition("?")[0]: listed for page in pages}
    found = await asked(kind, vendor.url + base)
    assert (found.failed, found.status_code) == (None, 200), found
    assert told(found) == models
    assert [str(request.rel_url) for request in vendor.asked] == pages
    assert all(SECRET in request.headers[header] for request in vendor.asked)
    assert all(SECRET not in str(request.rel_url) for request in vendor.asked)


async def test_aws_is_asked_under_a_signature_of_the_settings(vendor: Vendor) -> None:
    vendor.answers = {"/foundation-models": {"modelSummaries": []}}
    keys = {"access_key": "AKIAFAKE", "access_key_secret": "s3cret", "session_token": "t0ken"}
    found = await asked("bedrock", vendor.url, "", region="eu-central-1", **keys)
    assert found.failed is None, found
    [request] = vendor.asked
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAFAKE/")
    assert "/eu-central-1/bedrock/aws4_request" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == "t0ken"


def refusal(status: int, body: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)


FAILURES: list[tuple[web.Response, str, str]] = [
    (refusal(401, f'{{"error": {{"message": "Incorrect key: {SECRET}"}}}}'), "credentials", "Incorrect key: [key]"),
    (refusal(403, '{"Message": "not yours"}'), "credentials", "not yours"),
    (refusal(404, "{}"), "answer", "there is no list of models at this address"),
    (refusal(302, "", Location="http://127.0.0.1:1/"), "answer", "sends elsewhere"),
    (refusal(500, f'{{"error": "broken {SECRET}"}}'), "answer", "It answered 500: broken [key]"),
    (refusal(502, f"<html>{SECRET}"), "answer", "It answered 502."),
    (refusal(200, f"<html>{SECRET}"), "answer", "no list of models"),
    (refusal(200, '{"data": [{"name": 1}]}'), "answer", "no list of models"),
    (refusal(200, "[]"), "answer", "no list of models"),
]


@pytest.mark.parametrize(("answer", "failed", "words"), FAILURES)
async def test_what_fails_is_said_and_the_key_is_not(
    vendor: Vendor, answer: web.Response, failed: str, words: str
) -> None:
    vendor.answers = {"/v1/models": answer}
    found = await asked("openai", f"{vendor.url}/v1")
    assert (found.failed, found.status_code) == (failed, answer.status)
    assert words in found.message
    assert SECRET not in repr(found)
    assert len(vendor.asked) == 1


async def test_an_address_where_nobody_is_nobody_secure_or_nobody_answers(vendor: Vendor) -> None:
    assert (await asked("openai", f"http://127.0.0.1:{unused_port()}/v1")).failed == "address"
    assert (await asked("openai", vendor.url.replace("http:", "https:"))).failed == "tls"
    asleep = asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        await asleep.wait()
        return web.Response()

    vendor.answers = {"/v1/models": wait}
    late = await probe("openai", f"{vendor.url}/v1", Credentials(SECRET, {}), patience=0.2)
    asleep.set()
    assert late.failed == "timeout"


async def test_without_a_key_nobody_is_asked_unless_none_is_needed(vendor: Vendor) -> None:
    assert (await asked("openai", vendor.url, "")).failed == "key"
    assert vendor.asked == []
    vendor.answers = {"/models": PLAIN}
    assert (await asked("openai-compat", vendor.url, "")).failed is None
    assert "authorization" not in vendor.asked[0].headers


async def test_an_administrator_tests_a_provider_and_sees_what_is_configured(owner: Person, vendor: Vendor) -> None:
    vendor.answers = {"/v1/models": PLAIN}
    provider = await made(owner, base_url=f"{vendor.url}/v1", enabled=True)
    body = {"ai_provider_id": provider["id"], "model": "a", "context_limit": 1000}
    await owner.client.post(f"{CHATS}/model-configs", json=body)
    await owner.client.patch(f"{PROVIDERS}/main", json={"enabled": False})
    tested = (await owner.client.post(f"{PROVIDERS}/main/test")).json()
    assert tested.pop("latency_ms") >= 0
    assert tested == {"ok": True, "message": "It answered, and lists 2 models.", "status_code": 200, "model_count": 2}
    found = (await owner.client.get(f"{PROVIDERS}/{provider['id']}/models")).json()
    assert found["models"] == [
        {"id": "a", "context_limit": 32_000, "configured": True},
        {"id": "b", "configured": False},
    ]
    assert (await owner.client.post(f"{PROVIDERS}/demo/test")).json()["ok"] is True
    assert (await owner.client.post(f"{PROVIDERS}/nobody/test")).status_code == 404


async def test_what_stops_a_provider_here_is_said_too(api: Api, owner: Person, vendor: Vendor) -> None:
    await made(owner, base_url=vendor.url, central_api_key_enabled=False)
    assert (await owner.client.post(f"{PROVIDERS}/main/test")).json()["failed"] == "key"
    await owner.client.patch(f"{PROVIDERS}/main", json={"central_api_key_enabled": True})
    stranger = Cipher("nqqSC3gMvGGYNkyVyAxBoXlUPo1xqcZIXUHs7Nwhpig=")
    object.__setattr__(api.resources, "cipher", stranger)
    tested = (await owner.client.post(f"{PROVIDERS}/main/test")).json()
    assert (tested["ok"], tested["failed"]) == (False, "secret")
    assert vendor.asked == []
