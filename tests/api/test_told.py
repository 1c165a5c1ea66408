"""What each action tells: the owner's list of chats (`/watch`) and those who follow the chat (wire-api.md 4.3)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from models.events import WatchEvent
from models.store import titles
from models.store.database import fetch
from models.store.moves import StepRow
from tests.api.conftest import Api, Person
from tests.api.live_drive import CALL, RESULT, Drive, publishing, text
from tests.api.talk import CHATS, Talk, said

PATIENCE = 60  # seconds


class Ear:
    """A WebSocket's client inside the process."""

    def __init__(self, api: Api, token: str, path: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._leaves = asyncio.Event()
        self._scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"turnstone.test"), (b"coder-session-token", token.encode())],
            "subprotocols": [],
            "scheme": "ws",
            "server": ("turnstone.test", 80),
            "client": ("127.0.0.1", 40000),
            "extensions": {},
        }
        self._api = api

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Ear"]:
        came = iter([{"type": "websocket.connect"}])
        accepted = asyncio.Event()

        async def receive() -> dict[str, Any]:
            for message in came:
                return message
            await self._leaves.wait()
            return {"type": "websocket.disconnect", "code": 1001}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.accept":
                accepted.set()
            if message["type"] == "websocket.send":
                told = orjson.loads(message["text"])
                async with self._news:
                    self.events += told if isinstance(told, list) else [told]
                    self._news.notify_all()

        task = asyncio.create_task(self._api(self._scope, receive, send))
        try:
            async with asyncio.timeout(PATIENCE):
                await accepted.wait()
            yield self
        finally:
            self._leaves.set()
            await task

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Wait for events that are enough, and take all that came."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: enough(self.events))
        except TimeoutError:
            pytest.fail(f"only {[each.get('kind', each.get('type')) for each in self.events]} came")
        return self.taken()

    def taken(self) -> list[dict[str, Any]]:
        """All that came."""
        told, self.events = self.events, []
        return told


@dataclass
class Scene:
    """A person, one chat of theirs, another one, and both ears at the first."""

    talk: Talk
    drive: Drive
    watch: Ear
    stream: Ear
    other: UUID
    marks: int = 0

    @property
    def chat(self) -> UUID:
        return self.drive.chat_id

    async def ask(self, method: str, path: str, status: int, body: Any = None) -> Any:
        response = await self.talk.client.request(method, f"{CHATS}/{self.chat}{path}", json=body)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def send(self, words: str, **more: Any) -> Any:
        return await self.ask("POST", "/messages", 200, {"content": said(words), **more})

    async def listed(self, expected: int) -> list[dict[str, Any]]:
        """What the list is told: so many events and, as a mark that comes after them shows, no others."""
        told: list[dict[str, Any]] = []
        if expected:
            told = await self.watch.until(lambda events: len(events) >= expected)
        self.marks += 1
        title = f"mark {self.marks}"
        renamed = await self.talk.client.patch(f"{CHATS}/{self.other}", json={"title": title})
        assert renamed.status_code == 204
        told += await self.watch.until(lambda events: any(each["chat"]["title"] == title for each in events))
        assert told.pop()["chat"]["title"] == title
        return told

    async def followed(self, expected: int) -> list[str]:
        """The types of events in the chat's stream, each once for those in a row. One too many is the next action's."""
        told = await self.stream.until(lambda events: len(_runs(events)) >= expected) if expected else []
        return _runs([*told, *self.stream.taken()])


def _runs(events: list[dict[str, Any]]) -> list[str]:
    return [kind for kind, _ in groupby(events, lambda each: str(each["type"]))]


Action = Callable[[Scene], Awaitable[Any]]


async def _asks_us(scene: Scene) -> None:
    await scene.drive.commit(StepRow("assistant", [CALL]))


async def _runs_the_tool(scene: Scene) -> None:
    await scene.drive.open()
    await scene.drive.commit(StepRow("tool", [RESULT]))


async def _regenerates(scene: Scene) -> None:
    async with scene.talk.api.resources.database.begin() as session:
        held = await titles.hold(session, scene.chat)
        assert held is not None
        assert await titles.save_held(session, scene.chat, "found by a model", held)


async def _titles_itself(scene: Scene) -> None:
    async with scene.talk.api.resources.database.begin() as session:
        assert await titles.save_automatic(session, scene.chat, "automatic", instead_of="found by a model")


async def _labels_the_turn(scene: Scene) -> None:
    async with scene.talk.api.resources.database.begin() as session:
        [row] = await fetch(session, "SELECT * FROM chats WHERE id = %(id)s", {"id": scene.chat})
        at, label = row["snapshot_version"], row["last_turn_summary"]
        assert await titles.save_label(session, scene.chat, "Looked it up", instead_of=label, snapshot_version=at)


async def _promotes(scene: Scene) -> None:
    queued = (await scene.ask("GET", "/messages", 200))["queued_messages"]
    await scene.ask("POST", f"/queue/{queued[-1]['id']}/promote", 202)


async def _drops(scene: Scene) -> None:
    queued = (await scene.ask("GET", "/messages", 200))["queued_messages"]
    await scene.ask("DELETE", f"/queue/{queued[0]['id']}", 204)


async def _edits(scene: Scene) -> None:
    first = (await scene.ask("GET", "/messages?after_id=0", 200))["messages"][0]
    await scene.ask("PATCH", f"/messages/{first['id']}", 200, {"content": said("differently")})


async def _answers_the_model(scene: Scene) -> None:
    results = [{"tool_call_id": "c1", "output": {"found": 42}, "is_error": False}]
    await scene.ask("POST", "/tool-results", 204, {"results": results})


async def _has_a_child(scene: Scene) -> None:
    async with scene.talk.api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO chats (id, owner_id, organization_id, last_model_config_id, parent_chat_id, root_chat_id)
               SELECT %(child)s, owner_id, organization_id, last_model_config_id, id, id
               FROM chats WHERE id = %(id)s""",
            {"child": uuid4(), "id": scene.chat},
        )


async def _shares(scene: Scene) -> None:
    await scene.ask("PATCH", "/acl", 204, {"group_roles": {str(scene.talk.api.organization_id): "read"}})


STATUS, SUMMARY, TITLE = "status_change", "summary_change", "title_change"

# What happens, by whom it is done, what the list is told, what the stream is told.
ACTIONS: tuple[tuple[str, Action, list[str], list[str]], ...] = (
    ("a worker starts", lambda s: s.drive.open(), [STATUS], ["status"]),
    ("a step is streamed", lambda s: s.drive.stream("I will look"), [], ["message_part"]),
    ("a try fails", lambda s: s.drive.retry(), [], ["retry"]),
    ("a worker tries again", lambda s: s.drive.open(), [], ["preview_reset"]),
    ("a step is stored", _asks_us, [], ["message"]),
    ("a tool has run", _runs_the_tool, [], ["message"]),
    ("a worker goes on", lambda s: s.drive.open(), [], []),
    ("somebody sends while it runs", lambda s: s.send("then this"), [], ["queue_update"]),
    (
        "the turn ends, the next begins",
        lambda s: s.drive.answer("42"),
        [STATUS, SUMMARY],
        ["message", "queue_update", "status"],
    ),
    ("a worker starts the next", lambda s: s.drive.open(), [STATUS], ["status"]),
    ("the turn ends", lambda s: s.drive.answer("43"), [STATUS, SUMMARY], ["message", "status"]),
    ("the turn is labelled", _labels_the_turn, [SUMMARY], []),
    ("the chat is renamed", lambda s: s.ask("PATCH", "", 204, {"title": "my name"}), [TITLE], []),
    ("a model is asked for a title", _regenerates, [TITLE], []),
    ("a model finds a title by itself", _titles_itself, [TITLE], []),
    ("the chat is pinned", lambda s: s.ask("PATCH", "", 204, {"pin_order": 1}), [], []),
    ("the chat is labelled", lambda s: s.ask("PATCH", "", 204, {"labels": {"a": "b"}}), [], []),
    ("the chat is shared", _shares, [], []),
    ("somebody sends", lambda s: s.send("and now?"), [STATUS], ["message", "status"]),
    ("a worker starts again", lambda s: s.drive.open(), [STATUS], ["status"]),
    ("one is queued", lambda s: s.send("one"), [], ["queue_update"]),
    ("another is queued", lambda s: s.send("two"), [], ["queue_update"]),
    ("one is dropped", _drops, [], ["queue_update"]),
    ("the other is promoted", _promotes, [STATUS], ["queue_update", "status"]),
    ("the stop is done", lambda s: s.drive.finish_interruption(), [STATUS], ["message", "queue_update", "status"]),
    ("a worker takes it", lambda s: s.drive.open(), [STATUS], ["status"]),
    ("somebody stops it", lambda s: s.ask("POST", "/interrupt", 200), [STATUS], ["status"]),
    (
        "it has stopped",
        lambda s: s.drive.finish_interruption(StepRow("assistant", [text("so f")])),
        [STATUS],
        ["message", "status"],
    ),
    ("a message is edited", _edits, [STATUS], ["history_reset", "message", "status"]),
    ("a worker starts it", lambda s: s.drive.open(), [STATUS], ["status"]),
    ("the turn fails", lambda s: s.drive.fail(), [STATUS, SUMMARY], ["status", "error"]),
    ("somebody tries again", lambda s: s.send("again"), [STATUS], ["message", "status"]),
    ("a worker tries it", lambda s: s.drive.open(), [STATUS], ["status"]),
    (
        "the client must answer",
        lambda s: s.drive.require_action(),
        [STATUS, "action_required", SUMMARY],
        ["message", "status", "action_required"],
    ),
    ("the client answers", _answers_the_model, [STATUS], ["message", "status"]),
    ("a sub-agent chat appears", _has_a_child, [], []),
    (
        "the family is archived",
        lambda s: s.ask("PATCH", "", 204, {"archived": True}),
        [STATUS, "deleted", "deleted"],
        ["status"],
    ),
    ("the stop is done at rest", lambda s: s.drive.finish_interruption(), [STATUS], ["status"]),
    ("the family is back", lambda s: s.ask("PATCH", "", 204, {"archived": False}), ["created", "created"], []),
)


@asynccontextmanager
async def staged(api: Api, member: Person) -> AsyncIterator[Scene]:
    talk = Talk(api, member)
    async with publishing(api.resources.database, api.resources.settings) as publisher:
        watch = Ear(api, member.token, f"{CHATS}/watch")
        async with watch.listening():
            other = await talk.start()
            tool = {"name": "look", "description": "", "input_schema": {"type": "object"}}
            chat = await talk.start(unsafe_dynamic_tools=[tool])
            assert [each["kind"] for each in await watch.until(lambda events: len(events) == 2)] == ["created"] * 2
            shown = await talk.get(chat)
            model = UUID(shown["last_model_config_id"])
            drive = Drive(api.resources.database, publisher, member.id, api.organization_id, model)
            drive.chat_id = chat
            async with Ear(api, member.token, f"{CHATS}/{chat}/stream").listening() as stream:
                await stream.until(lambda events: any(each["type"] == "status" for each in events))
                yield Scene(talk, drive, watch, stream, other)


async def test_every_action_tells_the_list_and_the_stream_what_the_table_says(api: Api, member: Person) -> None:
    async with staged(api, member) as scene:
        for name, act, listed, followed in ACTIONS:
            await act(scene)
            told = await scene.listed(len(listed))
            assert (name, [each["kind"] for each in told]) == (name, listed)
            assert (name, await scene.followed(len(followed))) == (name, followed)
            for each in told:
                WatchEvent.model_validate(each)
                assert ("tool_calls" in each) == (each["kind"] == "action_required")
                light = each["chat"]
                assert (light["children"], light["has_unread"], "files" in light) == ([], False, False)
                assert light["owner_username"] == "member"
            if name.startswith("the family"):
                family = [each["chat"] for each in told if each["kind"] in ("deleted", "created")]
                assert [each["root_chat_id"] for each in family] == [str(scene.chat)] * 2
                assert [each.get("parent_chat_id") for each in family] == [None, str(scene.chat)]
                assert {each["archived"] for each in family} == {listed[-1] == "deleted"}


async def test_who_reads_a_chat_by_sharing_follows_it_and_has_it_in_no_list(api: Api, member: Person) -> None:
    reader = await api.person("reader", org_roles=("agents-access",))
    async with staged(api, member) as scene, Ear(api, reader.token, f"{CHATS}/watch").listening() as theirs:
        await scene.talk.share(scene.chat, reader)
        async with Ear(api, reader.token, f"{CHATS}/{scene.chat}/stream").listening() as stream:
            await stream.until(lambda events: "status" in _runs(events))
            await scene.drive.open()
            await scene.ask("PATCH", "", 204, {"title": "renamed"})
            assert _runs(await stream.until(bool)) == ["status"]
        assert [each["kind"] for each in await scene.listed(2)] == [STATUS, TITLE]
        own = await Talk(api, reader).start()
        assert [each["chat"]["id"] for each in await theirs.until(bool)] == [str(own)]
