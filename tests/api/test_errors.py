"""The envelope around everything that is not a success, and the JSON around everything else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest
from starlette.routing import Route as PlainRoute
from starlette.types import Message

from api import answers, errors
from api.ratelimit import RateLimit
from api.requests import Malformed, parse
from models import errors as tree
from models.rules.moments import rfc3339
from models.settings import Settings
from tests.api.conftest import Api, Person

ME = "/api/v2/users/me"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (tree.Unauthenticated, 401),
        (tree.Forbidden, 403),
        (tree.NotFound, 404),
        (tree.Invalid, 400),
        (tree.Unprocessable, 422),
        (tree.TooLarge, 413),
        (tree.Conflict, 409),
        (tree.IllegalMove, 409),
        (tree.UsageLimited, 409),
        (tree.Precondition, 412),
        (tree.Gone, 410),
        (tree.QueueFull, 429),
        (tree.Unavailable, 503),
        (tree.FenceLost, 500),
    ],
)
def test_the_nearest_ancestor_decides_the_status(error: type[tree.TurnstoneError], status: int) -> None:
    assert errors.status_of(error) == status


def test_a_full_resource_says_when_to_try_again() -> None:
    assert errors.respond(tree.Exhausted(retry_after=timedelta(seconds=1.2))).headers["retry-after"] == "2"
    assert errors.respond(tree.QueueFull(20)).headers["retry-after"] == "1"
    assert errors.respond(tree.Unavailable()).headers["retry-after"] == "2"


async def test_an_unknown_path_is_named_so(api: Api) -> None:
    response = await api.stranger.get("/api/v2/nothing-here")
    assert (response.status_code, response.json()) == (404, {"message": "Route not found."})


async def test_a_wrong_method_names_all_right_ones(api: Api) -> None:
    response = await api.stranger.put("/api/v2/organizations")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert response.json() == {"message": "Method not allowed."}


async def test_a_trailing_slash_is_not_another_path(owner: Person) -> None:
    assert (await owner.client.get("/api/v2/organizations/")).status_code == 200


async def test_strangers_are_refused_before_their_body_is_read(api: Api) -> None:
    response = await api.stranger.post("/api/v2/users", content=b"{not json")
    assert response.status_code == 401
    assert response.json()["message"] == tree.Unauthenticated.default_message


async def test_permission_is_judged_before_the_body(member: Person) -> None:
    response = await member.client.post("/api/v2/ai/providers", content=b"{not json")
    assert response.status_code == 403
    assert response.json()["message"] == "Forbidden."


async def test_a_body_that_is_no_json_object_is_refused_in_the_documented_words(api: Api) -> None:
    for body in (b"", b"{", b"[1]", b'"text"', b'{"a": NaN}', b"\xff\xfe"):
        response = await api.stranger.post("/api/v2/users/login", content=body)
        assert response.status_code == 400, body
        assert response.json()["message"] == "Request body must be valid JSON."
        assert response.json()["detail"], body


@pytest.mark.parametrize("size", ["announced", "chunked"])
async def test_a_body_over_the_cap_is_refused(api: Api, settings: Settings, size: str) -> None:
    body = b'{"email": "' + b"a" * settings.max_body_bytes + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    response = await api.stranger.post("/api/v2/users/login", content=body if size == "announced" else pieces())
    assert response.status_code == 400
    assert response.json() == {"message": "Request body must be valid JSON.", "detail": "http: request body too large"}


async def test_json_is_json_whatever_the_content_type(api: Api) -> None:
    response = await api.stranger.post(
        "/api/v2/users/login",
        content=b'{"email": "nobody@example.com", "password": "wrong", "unknown": 1}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 401
    assert response.json() == {"message": "Incorrect email or password."}


async def test_a_wrong_field_is_named(api: Api) -> None:
    response = await api.stranger.post("/api/v2/users/first", json={"username": "x y", "password": "long enough"})
    assert response.status_code == 400
    assert response.json()["message"] == "Validation failed."
    found = {each["field"]: each["detail"] for each in response.json()["validations"]}
    assert found["email"] == 'Validation failed for tag "required" with value: ""'
    assert "hyphens" in found["username"]


async def test_null_means_absent(api: Api) -> None:
    body = {"email": None, "username": "ada", "password": "long enough"}
    response = await api.stranger.post("/api/v2/users/first", json=body)
    assert [each["field"] for each in response.json()["validations"]] == ["email"]


async def test_a_wrong_query_parameter_is_named(owner: Person) -> None:
    response = await owner.client.get("/api/v2/users", params={"limit": "many"})
    assert response.status_code == 400
    assert response.json()["message"] == "Query parameters have invalid values."
    assert response.json()["validations"][0]["field"] == "limit"


async def test_a_path_that_is_no_uuid_names_the_parameter(owner: Person) -> None:
    response = await owner.client.get("/api/v2/chats/not-a-uuid")
    assert response.status_code == 400
    assert response.json()["message"] == 'Invalid UUID "chat".'


async def test_text_that_postgres_cannot_hold_is_the_callers_mistake(owner: Person) -> None:
    assert (await owner.client.get("/api/v2/users/%00")).status_code == 400
    assert (await owner.client.get("/api/v2/users", params={"q": "a\x00"})).status_code == 400


async def test_a_bug_says_nothing_but_the_request_id(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("the password is 1234")

    api.app.router.routes.insert(0, PlainRoute("/broken", broken))
    response = await api.stranger.get("/broken", headers={"X-Request-Id": "abc-1"})
    assert response.status_code == 500
    assert response.json() == {"message": "An internal server error occurred.", "detail": "Request id: abc-1"}
    assert "the password is 1234" in caplog.text


async def test_every_answer_has_a_request_id_and_only_sane_ones_are_taken_over(api: Api) -> None:
    given = await api.stranger.get("/healthz", headers={"X-Request-Id": "trace.7:b_c-d"})
    assert given.headers["x-request-id"] == "trace.7:b_c-d"
    mad = await api.stranger.get("/api/nope", headers={"X-Request-Id": "a b" * 50})
    assert len(mad.headers["x-request-id"]) == 32


async def test_a_database_that_went_away_is_a_503(api: Api, owner: Person, settings: Settings) -> None:
    assert (await owner.client.get(ME)).status_code == 200
    name = psycopg.conninfo.conninfo_to_dict(settings.database_url)["dbname"]
    admin = settings.database_url.replace(f"/{name}?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        response = await owner.client.get(ME)
        change = await owner.client.post("/api/v2/organizations", json={"name": "lost"})
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert response.status_code == change.status_code == 503
    assert response.json()["message"] == "The service is temporarily unavailable."
    assert response.json()["detail"] == "The database does not answer."
    assert "Whether the request was carried out is not known" in change.json()["detail"]
    assert int(response.headers["retry-after"]) > 0
    assert (await owner.client.get(ME)).status_code == 200


async def test_a_caller_who_asks_too_often_waits_and_others_do_not(api: Api, owner: Person, member: Person) -> None:
    assert (await owner.client.get(ME)).status_code == 200  # now both tokens are known
    assert (await member.client.get(ME)).status_code == 200
    object.__setattr__(api.resources, "rate_limit", RateLimit(6, 5, clock=lambda: 0.0))
    statuses = [(await owner.client.get(ME)).status_code for _ in range(8)]
    assert statuses.count(200) == 5
    late = await owner.client.get(ME)
    assert late.status_code == 429
    assert 1 <= int(late.headers["retry-after"]) <= 10
    assert (await member.client.get(ME)).status_code == 200
    assert (await api.stranger.get("/healthz")).status_code == 200


def test_a_bucket_fills_again_at_its_rate() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(6)] == [0.0] * 6
    assert limit.take("a") == pytest.approx(1.0)
    now[0] = 1.0
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0


def test_no_limit_is_no_limit() -> None:
    limit = RateLimit(0)
    assert not any(limit.take("a") for _ in range(10_000))


def test_what_a_browser_could_take_for_markup_is_escaped() -> None:
    raw = answers.answer({"text": "<b>&\u2028\u2029"}).body
    assert raw == b'{"text":"\\u003cb\\u003e\\u0026\\u2028\\u2029"}\n'


def test_times_are_utc_without_trailing_zeros() -> None:
    east = timezone(timedelta(hours=2))
    assert rfc3339(datetime(2026, 5, 1, 14, 0, 0, 120000, east)) == "2026-05-01T12:00:00.12Z"
    assert rfc3339(datetime(2026, 5, 1, tzinfo=UTC)) == "2026-05-01T00:00:00Z"


def test_prices_are_strings_without_exponents() -> None:
    assert answers.encode([Decimal("0.2500"), Decimal("1E+2"), Decimal(3)]) == b'["0.25","100","3"]'


def test_unpaired_surrogates_become_the_replacement_character() -> None:
    assert parse(rb'{"a": "x\ud800y", "\udc00": ["\ud83d\ude00"]}') == {"a": "x�y", "�": ["😀"]}
    assert isinstance(parse(rb'{"a": "\ud800'), Malformed)


async def test_answers_are_documents_that_end_with_a_newline(api: Api) -> None:
    response = await api.stranger.get("/healthz")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.text.endswith("}\n")


async def test_a_websocket_is_refused_before_the_upgrade_in_the_same_envelope(api: Api) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": f"/api/v2/chats/{uuid4()}/stream",
        "query_string": b"",
        "headers": [],
        "extensions": {"websocket.http.response": {}},
    }
    await api(scope, receive, send)
    start, body = sent[0], sent[1]
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert b"x-request-id" in dict(start["headers"])
    assert body["body"].startswith(b'{"message":"You are signed out')


async def test_openapi_promises_only_what_we_keep(api: Api) -> None:
    document = (await api.stranger.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in str(document)
    identifiers = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            identifiers.append(operation["operationId"])
            assert operation["summary"], path
            assert {"400", "429", "500", "503"} <= set(operation["responses"]), path
            signs_in = path.endswith(("/login", "/oidc/callback"))
            assert ("401" in operation["responses"]) == bool(operation["security"]) or signs_in, path
    assert len(identifiers) == len(set(identifiers))
