"""Whatever the OpenAPI document allows a client to send, the service does not break: no 500, ever.

A real server, and requests made up from its document; half of them about a chat that exists.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.app import create_app
from models.settings import Settings
from models.store.bootstrap import bootstrap

EXAMPLES = 4  # a request each; the whole suite stays well below a minute
# They end the session that the others need, or never end.
LEFT_OUT = frozenset({"logout", "stream_chat", "watch_chats"})
# Their 503 is the truth here.
NEED_TEMPORAL = frozenset({"readyz", "regenerate_title", "propose_title"})


@dataclass(frozen=True)
class Service:
    url: str
    token: str
    chat: str
    organization: str


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """The API on a port, with an owner's token and a chat; Temporal is away."""
    settings = settings.model_copy(update={"temporal_address": "127.0.0.1:9", "rate_limit_per_minute": 0})
    made = asyncio.run(bootstrap(settings, admin_token=None, environ={}))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    token = made.admin_token or ""
    body = {"organization_id": str(made.organization_id), "content": [{"type": "text", "text": "hello"}]}
    created = httpx.post(f"{url}/api/v2/chats", json=body, headers={"Coder-Session-Token": token}, timeout=30)
    assert created.status_code == 201, created.text
    yield Service(url, token, created.json()["id"], str(made.organization_id))
    server.should_exit = True
    thread.join()
    listener.close()


def documented(service: Service) -> Any:
    """The served document without its ways to sign in: every request carries a good token instead."""
    document = httpx.get(f"{service.url}/openapi.json", timeout=30).json()
    del document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for operation in path.values():
            del operation["security"]
    return schemathesis.openapi.from_dict(document)


@pytest.mark.timeout(300)
def test_no_request_that_the_document_allows_gets_a_500(service: Service) -> None:
    answered: dict[int, int] = {}
    with requests.Session() as session:
        session.headers["Coder-Session-Token"] = service.token
        for found in documented(service).get_all_operations():
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            # The experimental prefix has the same handlers.
            if name in LEFT_OUT or name.endswith("_experimental"):
                continue
            for status in _try(operation, session, service):
                answered[status] = answered.get(status, 0) + 1
                assert status < 500 or name in NEED_TEMPORAL, name
                assert str(status) in operation.definition.raw["responses"], f"{name} answered {status}"
    assert {200, 400, 404} <= set(answered), answered


def _try(operation: Any, session: requests.Session, service: Service) -> list[int]:
    """Statuses of made-up requests for one operation; raises on a 500, with the request."""
    statuses: list[int] = []

    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), real=st.booleans())
    def ask(case: Any, real: bool) -> None:
        if real and "chat" in (case.path_parameters or {}):
            case.path_parameters["chat"] = service.chat
        response = case.call(base_url=service.url, session=session, timeout=30)
        assert response.status_code != 500, response.text
        statuses.append(response.status_code)

    ask()
    return statuses
