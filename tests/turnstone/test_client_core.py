"""What the client decides, with a service played on its transport: retries, cuts at every byte, the unknown."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import assemble
from turnstone.client import AsyncTurnstone, Transcript, Turnstone
from turnstone.client import errors as client_errors
from turnstone.client.asking import Service, ask
from turnstone.client.errors import ApiError, ConnectionFailed, Unavailable, UnexpectedAnswer, UsageLimitExceeded
from turnstone.client.events import StreamEvent, UnknownEvent, read_event
from turnstone.client.following import follow
from turnstone.client.parts import UnknownPart
from turnstone.client.steps import Answer, Emit, Lost, Open, Read, Request, Send, Sleep
from turnstone.client.types import Chat, Message

CHAT = "0199c0de-7a3b-7c11-9d2f-5b8f2a6f0c01"
URL = "http://turnstone.test"
PLACE = f"/api/v2/chats/{CHAT}"


def made(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> Turnstone:
    return Turnstone(URL, "ts_token", transport=httpx.MockTransport(answer), **options)


class Scripted:
    """A service that gives these answers, one after the other; an exception is a connection that fails."""

    def __init__(self, *answers: httpx.Response | type[httpx.TransportError]) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, httpx.Response):
            return answer
        raise answer("played", request=request)

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("Idempotency-Key") for request in self.requests]


def refusing(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"message": f"no {status}"}, headers=headers)


STILL_RUNNING = {"message": "A request with this Idempotency-Key is still running.", "detail": "Try again."}


@pytest.mark.parametrize(
    "first",
    [
        httpx.ConnectError,
        httpx.ReadError,
        httpx.ReadTimeout,
        httpx.RemoteProtocolError,
        refusing(429),
        refusing(502),
        refusing(503),
        refusing(504),
    ],
    ids=str,
)
def test_what_may_yet_be_answered_is_asked_again_under_the_same_key(first: Any) -> None:
    service = Scripted(first, httpx.Response(409, json=STILL_RUNNING), httpx.Response(200, json={"id": CHAT}))
    with made(service) as client:
        assert client.chats.interrupt(CHAT).id == CHAT
    assert len(set(service.keys)) == 1
    assert service.keys[0]


def test_each_change_has_a_key_of_its_own_and_reads_have_none() -> None:
    service = Scripted(*(httpx.Response(200, json={"id": CHAT}) for _ in range(4)))
    with made(service) as client:
        client.chats.interrupt(CHAT)
        client.chats.interrupt(CHAT)
        client.chats.archive(CHAT)
        client.chats.get(CHAT)
    *changes, read = service.keys
    assert len(set(changes)) == 3
    assert None not in changes
    assert read is None


async def test_the_awaited_client_repeats_in_the_same_way() -> None:
    service = Scripted(httpx.ReadError, refusing(503), httpx.Response(200, json={"id": CHAT}))
    async with AsyncTurnstone(URL, transport=httpx.MockTransport(service)) as client:
        assert (await client.chats.compact(CHAT)).id == CHAT
    assert len(set(service.keys)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 413, 422, 500])
def test_a_final_refusal_is_not_asked_again(status: int) -> None:
    service = Scripted(refusing(status))
    with made(service) as client, pytest.raises(ApiError) as refused:
        client.chats.interrupt(CHAT)
    assert (refused.value.status, refused.value.message) == (status, f"no {status}")


def test_patience_ends_with_the_last_refusal() -> None:
    away = made(lambda _: refusing(503), patience=0.2)
    with away as client, pytest.raises(Unavailable) as refused:
        client.chats.get(CHAT)
    assert refused.value.message == "no 503"


def test_what_the_service_asks_to_wait_is_waited() -> None:
    program = ask(Service(URL), Request("GET", PLACE))
    assert isinstance(next(program), Send)
    pause = program.send(Answer(429, {"retry-after": "7"}, b""))
    assert isinstance(pause, Sleep)
    assert 7 <= pause.seconds < 8
    again = program.send(None)
    assert isinstance(again, Send)


def test_a_key_of_ones_own_is_kept() -> None:
    service = Scripted(httpx.ReadError, httpx.Response(201, json={"id": CHAT}), httpx.Response(200, json={}))
    with made(service) as client:
        client.chats.create("hello", organization_id=CHAT, idempotency_key="order-7")
        client.chats.send(CHAT, "hello", idempotency_key="order-8")
    assert service.keys == ["order-7", "order-7", "order-8"]


def test_nobody_waits_longer_than_their_patience_for_what_the_service_asks_for() -> None:
    service = Scripted(refusing(429, **{"Retry-After": "3600"}))
    with made(service) as client, pytest.raises(client_errors.RateLimited) as refused:
        client.chats.get(CHAT)
    assert refused.value.retry_after == 3600


def test_a_service_that_was_never_there_is_given_up_sooner_than_one_that_was() -> None:
    there = httpx.Response(200, json={"id": CHAT})
    with made(Scripted(httpx.ConnectError), first_patience=0) as client, pytest.raises(ConnectionFailed) as failed:
        client.chats.get(CHAT)
    assert not failed.value.is_timeout
    with made(Scripted(there, httpx.ConnectError, there), first_patience=0) as client:
        client.chats.get(CHAT)
        client.chats.get(CHAT)


def test_every_refusal_has_its_exception() -> None:
    for status, kind in client_errors.BY_STATUS.items():
        headers = {"X-Request-Id": "r1", "Retry-After": "3600"}
        body = {"message": "m", "detail": "d", "validations": [{"field": "f", "detail": "x"}], "later": 1}
        answer = httpx.Response(status, json=body, headers=headers)
        with made(Scripted(answer)) as client, pytest.raises(kind) as refused:
            client.chats.get(CHAT)
        error = refused.value
        assert type(error) is kind
        assert (error.status, error.message, error.detail, error.request_id) == (status, "m", "d", "r1")
        assert error.validations == (("f", "x"),)
        assert str(error) == f"m d f: x ({status})"


def test_a_usage_limit_says_how_much_and_until_when() -> None:
    body = {
        "message": "Chat usage limit exceeded.",
        "spent_micros": 12,
        "limit_micros": 10,
        "resets_at": "2026-06-01T00:00:00Z",
    }
    with made(Scripted(httpx.Response(409, json=body))) as client, pytest.raises(UsageLimitExceeded) as refused:
        client.chats.send(CHAT, "hello")
    limit = refused.value
    assert (limit.spent_micros, limit.limit_micros, limit.resets_at) == (12, 10, datetime(2026, 6, 1, tzinfo=UTC))


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'"text"', b'{"messages": 3}'])
def test_what_is_no_turnstone_is_said_to_be_none(content: bytes) -> None:
    with made(Scripted(httpx.Response(200, content=content))) as client, pytest.raises(UnexpectedAnswer):
        list(client.chats.messages(CHAT))


def test_a_proxys_page_is_an_error_as_well() -> None:
    page = httpx.Response(403, content=b"<html>Forbidden</html>")
    with made(Scripted(page)) as client, pytest.raises(client_errors.Forbidden) as refused:
        client.chats.get(CHAT)
    assert refused.value.message == "The service answered 403."


@pytest.mark.parametrize("timeout", [0.0, 0.05, 0.3])
def test_whoever_waits_for_a_service_that_is_away_is_told_that_the_time_is_over(timeout: float) -> None:
    with made(lambda _: refusing(503)) as client, pytest.raises(client_errors.WaitTimedOut):
        client.chats.wait(CHAT, timeout=timeout)


# --- what is not known yet ---


def test_what_a_later_service_says_breaks_nothing_and_is_kept() -> None:
    raw = {
        "id": CHAT,
        "status": "dreaming",
        "mood": {"calm": True},
        "created_at": "2026-05-20T10:00:00.123456789Z",
        "last_error": {"message": "m", "kind": "cosmic", "wave": 1},
    }
    chat = Chat.read(raw)
    assert (chat.status, chat.raw["mood"], chat.rests, chat.created_at.microsecond) == (
        "dreaming",
        {"calm": True},
        False,
        123456,
    )
    assert chat.last_error is not None
    assert chat.last_error.raw["wave"] == 1
    message = Message.read(
        {"id": 1, "role": "oracle", "content": [{"type": "hologram", "x": 1}, {"type": "text", "text": "t"}]}
    )
    assert isinstance(message.content[0], UnknownPart)
    assert (message.content[0].type, message.content[0].raw["x"], message.text) == ("hologram", 1, "t")
    event = read_event({"type": "aurora", "chat_id": CHAT, "cursor": "9.9.9.9", "aurora": {}})
    assert isinstance(event, UnknownEvent)
    assert Transcript.fold([event]).cursor == "9.9.9.9"


def test_what_the_service_said_cannot_be_changed() -> None:
    chat = Chat.read({"id": CHAT})
    with pytest.raises(AttributeError):
        chat.title = "mine"  # type: ignore[misc]
    assert chat == Chat.read({"id": CHAT, "later": 1})
    assert chat != Chat.read({"id": CHAT, "title": "other"})
    assert repr(chat) == f"Chat(id='{CHAT}')"
    with pytest.raises(TypeError):
        Chat(colour="red")  # type: ignore[call-arg]


# --- streams ---


EPISODE = {"history_version": 2, "generation_attempt": 1}


def part(seq: int, text: str) -> dict[str, Any]:
    said = {"role": "assistant", "part": {"type": "text", "text": text}}
    return {"type": "message_part", "message_part": {**EPISODE, **said, "seq": seq}}


def message(number: int, role: str, text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "message", "message": {"id": number, "role": role, "content": content}}


def status(word: str) -> dict[str, Any]:
    return {"type": "status", "status": {"status": word}}


# As a service tells it: groups of events, each with the cursor behind it; whoever resumes there gets what follows.
GROUPS: list[tuple[str, list[dict[str, Any]]]] = [
    ("2.2.1.0", [message(1, "user", "count  "), status("running")]),
    ("2.2.1.1", [part(1, "one ")]),
    ("2.2.1.2", [part(2, "twö ")]),
    ("5.5.1.0", [message(2, "assistant", "one twö "), {"type": "queue_update"}, status("waiting")]),
    ("6.6.1.0", [{"type": "history_reset"}, message(3, "user", "again"), status("pending")]),
    ("7.7.1.0", [status("waiting")]),
]
TOLD = [event for _, group in GROUPS for event in group]


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Some bytes, and then a connection that breaks."""

    def __init__(self, content: bytes, breaks: bool) -> None:
        self._content, self._breaks = content, breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        if self._breaks:
            raise httpx.ReadError("played")

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece


class Streaming:
    """A service whose first connection is cut after so many bytes."""

    def __init__(self, cut: int, breaks: bool = True, between: Sequence[httpx.Response] = ()) -> None:
        self.cut, self.breaks = cut, breaks
        self.asked: list[str | None] = []
        self._between = list(between)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.asked and self._between:
            return self._between.pop(0)
        cursor = request.headers.get("Last-Event-ID")
        self.asked.append(cursor)
        content = b": ping\n\n" + records(cursor)
        cut = self.cut if len(self.asked) == 1 else len(content)
        return httpx.Response(200, stream=Cut(content[:cut], self.breaks))


def records(cursor: str | None) -> bytes:
    """What follows a cursor; in the snapshot of somebody who has none, the first event has one that begins again."""
    lines = []
    behind = 0 if cursor is None else [name for name, _ in GROUPS].index(cursor) + 1
    for name, group in GROUPS[behind:]:
        for place, event in enumerate(group):
            first = cursor is None and name == GROUPS[0][0] and place == 0
            identity = "0.0.0.0" if first else name if place == len(group) - 1 else ""
            if identity:
                lines.append(f"id: {identity}\n")
            lines.append(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n")
    return "".join(lines).encode()


def read(service: Callable[[httpx.Request], httpx.Response]) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    with made(service) as client, client.chats.stream(CHAT) as events:
        for event in events:
            found.append(event)
            if len(found) == len(TOLD):
                break
    return found


@pytest.mark.parametrize("breaks", [True, False])
def test_cut_at_any_byte_a_stream_is_told_as_if_it_had_not_been(breaks: bool) -> None:
    """The program behind every stream, led by hand, so that no pause is waited for."""
    for cut in range(len(records(None))):
        asked: list[str | None] = []
        unread: list[bytes] = []
        told: list[Any] = []
        program = follow(Service(URL), f"{PLACE}/stream", read_event)
        step = next(program)
        while len(told) < len(TOLD):
            outcome: Any = None
            lost = False
            match step:
                case Open(request):
                    asked.append(request.headers.get("Last-Event-ID"))
                    content = records(asked[-1])
                    unread[:] = [content if len(asked) > 1 else content[:cut]]
                    outcome = Answer(200, {}, b"")
                case Read() if unread:
                    outcome = unread.pop()
                case Read():
                    lost, outcome = breaks, b""
                case Emit(event):
                    told.append(event.raw)
            step = program.throw(Lost("played")) if lost else program.send(outcome)
        assert told == TOLD
        assert len(asked) == 2


async def test_the_awaited_stream_comes_back_too_also_from_a_clean_end() -> None:
    service = Streaming(cut=len(records(None)) // 2, breaks=False, between=[refusing(503), refusing(429)])
    found = []
    client = AsyncTurnstone(URL, transport=httpx.MockTransport(service))
    async with asyncio.timeout(60), client, client.chats.stream(CHAT) as events:
        async for event in events:
            found.append(event.raw)
            if len(found) == len(TOLD):
                break
    assert found == TOLD


@pytest.mark.parametrize("final", [400, 401, 403, 404, 500])
def test_a_stream_ends_when_the_service_refuses_it(final: int) -> None:
    service = Streaming(cut=len(records(None)) // 2, between=[refusing(final)])
    with pytest.raises(ApiError) as refused:
        read(service)
    assert refused.value.status == final


def test_a_stream_ends_when_nobody_answers_any_more() -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        if len(asked) > 1:
            raise httpx.ConnectError("played", request=request)
        return httpx.Response(200, stream=Cut(records(None), breaks=True))

    found = []
    with made(answer, patience=0.3) as client, pytest.raises(ConnectionFailed):
        for event in client.chats.stream(CHAT):
            found.append(event.raw)
    assert found == TOLD


def test_after_a_break_a_watcher_is_told_to_list_again() -> None:
    created = b'event: created\ndata: {"kind":"created","chat":{"id":"%s"}}\n\n' % CHAT.encode()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Cut(created, breaks=True))

    with made(answer) as client, client.chats.watch() as events:
        assert [next(events).kind for _ in range(3)] == ["created", "reconnected", "created"]


def test_a_resync_drops_what_was_shown_and_begins_again() -> None:
    before = [message(1, "user", "old"), part(1, "gone"), {"type": "queue_update", "queued_messages": [{"id": 7}]}]
    after = [{"type": "resync"}, message(2, "user", "new"), status("waiting")]
    shown = Transcript.fold(read_event(each) for each in before)
    assert (shown.text, [each.id for each in shown.queue]) == ("gone", [7])
    for each in after:
        shown.tell(read_event(each))
    assert ([each.text for each in shown.messages], shown.preview, shown.queue) == (["new"], (), ())
    assert shown.rests


ids = st.sampled_from(["c1", "c2"])
words = st.text('ab {}"1', max_size=4)
DONE = {"completed_at": st.just("2026-05-20T10:00:00Z")}
deltas = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": words}),
    st.fixed_dictionaries({"type": st.just("reasoning"), "text": words}, optional=DONE),
    st.fixed_dictionaries({"type": st.just("tool-call"), "tool_call_id": ids, "args_delta": words}),
    st.fixed_dictionaries({"type": st.just("tool-call"), "tool_call_id": ids, "args": st.just({"x": 1})}),
    st.fixed_dictionaries(
        {"type": st.just("tool-result"), "tool_call_id": ids, "result_delta": words},
        optional={"result_reset": st.just(True)},
    ),
    st.fixed_dictionaries({"type": st.just("source"), "url": words}),
)


@given(st.lists(st.tuples(st.sampled_from(["assistant", "tool"]), deltas), max_size=12), st.randoms())
def test_pieces_come_to_what_the_service_makes_of_them_however_often_they_are_told(
    told: list[tuple[str, dict[str, Any]]], chance: Any
) -> None:
    events = [
        {"type": "message_part", "message_part": {**EPISODE, "role": role, "part": delta, "seq": seq}}
        for seq, (role, delta) in enumerate(told, start=1)
    ]
    repeated = [each for seq, event in enumerate(events) for each in (event, events[chance.randrange(seq + 1)])]
    shown = Transcript.fold(read_event(each) for each in repeated)
    assert [part.raw for part in shown.preview] == [part for _, part in assemble(told)]
