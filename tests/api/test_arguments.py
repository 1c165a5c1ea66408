"""Our way to a handler's arguments gives what FastAPI's own would: the same values, the same complaints."""

from typing import Annotated
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api import errors
from api.answers import answer
from api.parameters import Absent, Count
from api.requests import Route
from models.errors import Forbidden

PATH = "/api/thing/{thing}"
THING = "/api/thing/0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01"


async def _word(request: Request, word: Annotated[str, Header(alias="X-Word", min_length=2)] = "none") -> str:
    if word == "forbidden":
        raise Forbidden
    return f"{word} {request.method}"


async def _twice(word: Annotated[str, Depends(_word)]) -> str:
    return word * 2


async def handler(
    thing: UUID,
    word: Annotated[str, Depends(_word)],
    twice: Annotated[str, Depends(_twice)],
    needed: int,
    limit: Annotated[Count, Query()] = None,
    label: Annotated[list[str] | None, Query()] = None,
    after: Annotated[UUID | None, Absent, Query()] = None,
) -> Response:
    return answer([thing, word, twice, needed, limit, label, after])


def client(kind: type[APIRoute]) -> httpx.AsyncClient:
    app = FastAPI()
    app.router.add_api_route(PATH, handler, route_class_override=kind)
    errors.install(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://turnstone.test")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"{THING}?needed=1", {}),
        (f"{THING}?needed=1&limit=&after=", {"x-word": "some"}),
        (f"{THING}?needed=1&limit=3&label=a&label=b&after={UUID(int=7)}", {"X-Word": "forbidden"}),
        (f"{THING}?needed=1&label=a&label=b&after={UUID(int=7)}", {}),
        (f"{THING}", {}),
        (f"{THING}?needed=one&limit=-1", {}),
        ("/api/thing/nothing", {}),
        ("/api/thing/nothing?needed=one", {"X-Word": "x"}),
        (f"{THING}?needed=1", {"X-Word": "x"}),
        (f"{THING}?needed=1", {"X-Word": "first", "Accept": "text/html"}),
    ],
)
async def test_a_plan_finds_and_refuses_what_fastapi_does(path: str, headers: dict[str, str]) -> None:
    async with client(APIRoute) as theirs, client(Route) as ours:
        wanted, given = await theirs.get(path, headers=headers), await ours.get(path, headers=headers)
    assert (given.status_code, given.text) == (wanted.status_code, wanted.text)


def test_a_handler_that_a_plan_cannot_serve_is_refused_when_it_is_declared() -> None:
    def in_a_thread(thing: UUID) -> Response:
        return answer(thing)

    async def without_an_answer(thing: UUID) -> UUID:
        return thing

    for wrong in (in_a_thread, without_an_answer):
        with pytest.raises(TypeError, match="Response"):
            Route(PATH, wrong)
