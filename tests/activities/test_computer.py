"""The laws of the tool `computer`: a real agent, a real desktop where there is Xvfb, and a model that uses it."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.tools import recording
from activities.tools.computer import NAME, UNKEPT, computer
from activities.tools.endings import ToolFailed
from activities.tools.execute import execute
from activities.tools.registry import TOOLS, active
from activities.tools.tool import Attached, Media
from activities.workshop import ABSENT, NO_WORKSPACE
from models.rules import computer as computer_rules
from models.rules import computer_models, features
from models.settings import Settings
from models.store import bindings, files, preferences
from models.store.database import Database, fetch
from models.store.secrets import Cipher
from models.tables.catalog import AIProvider, AIProviderKey, ModelConfig
from tests.activities.stack import Stack, words_of, worker
from tests.activities.test_sub_agents import ask, call, results, wait
from tests.activities.test_workspace_in_earnest import lived_in, until
from tests.activities.workbench import Bench, settle, workbench
from tests.displays import needs_display
from tests.fakes.behaviour import nested
from tests.models.store.chats import born
from tests.seeds import World, insert
from tests.workplace import furnish

at_a_desktop = needs_display("xterm")
PRESSED = "for each in pointer keyboard; do xinput query-state \"Virtual core XTEST $each\"; done | grep '=down'; true"
LOOK: dict[str, Any] = {"action": "screenshot"}


async def switch(database: Database, **settings: str) -> None:
    async with database.begin() as session:
        await preferences.put_site(session, {features.DESKTOP: "true"} | settings)


@pytest.fixture
async def bench(settings: Settings, database: Database, seed: World, tmp_path: Path) -> AsyncIterator[Bench]:
    await switch(database)
    async with workbench(settings, database, seed, tmp_path) as opened:
        yield opened


@pytest.fixture
async def chat(bench: Bench) -> UUID:
    return await settle(bench, await born(bench.database, bench.world))


def size_of(png: bytes) -> tuple[int, ...]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


async def pressed(bench: Bench, chat: UUID) -> list[str]:
    """What is down, as X says it."""
    told = await bench.use(execute, chat, command=PRESSED, timeout="2m")
    return sorted(str(told["output"]).split())


@at_a_desktop
async def test_each_family_sees_the_screen_in_its_own_size_and_what_it_asks_for_is_kept(
    bench: Bench, chat: UUID
) -> None:
    context = bench.context(chat)
    seen = await bench.use(computer, chat, context, **LOOK)
    again = await bench.use(computer, chat, context, **LOOK)
    assert isinstance(seen, Attached)
    assert seen == again
    assert size_of(seen.outcome.data) == (1280, 800)
    [part] = seen.files
    assert (part["name"], part["media_type"]) == (NAME, "image/png")
    async with bench.database.read() as session:
        kept = await files.contents(session, [UUID(part["file_id"])])
    assert kept[UUID(part["file_id"])].data == seen.outcome.data
    assert await bench.rows("SELECT count(*) AS n FROM chat_file_links") == [{"n": 1}]
    moved = await bench.use(computer, chat, actions=[{"type": "move", "x": 1500, "y": 850}])
    assert isinstance(moved, Media)
    assert size_of(moved.data) == (1600, 900)


@at_a_desktop
async def test_where_a_chat_has_no_room_for_a_file_the_screen_is_shown_all_the_same(bench: Bench, chat: UUID) -> None:
    await bench.change(
        "WITH made AS (INSERT INTO chat_files (id, owner_id, organization_id, name, mimetype, size, data)"
        f" SELECT gen_random_uuid(), '{bench.world.owner_id}', '{bench.world.organization_id}', 'x', 'text/plain', 1,"
        f" 'x' FROM generate_series(1, {files.MAX_LINKS}) RETURNING id)"
        f" INSERT INTO chat_file_links (chat_id, file_id) SELECT '{chat}', id FROM made"
    )
    seen = await bench.use(computer, chat, **LOOK)
    assert isinstance(seen, Attached)
    assert (list(seen.files), seen.outcome.text) == ([], UNKEPT)


@at_a_desktop
async def test_both_vocabularies_reach_a_program_on_the_desktop(bench: Bench, chat: UUID) -> None:
    opened = "xterm -e sh -c 'cat > typed' & xdotool search --sync --onlyvisible --class xterm windowfocus --sync"
    for first, second in (
        ({"action": "type", "text": "Zoë "}, {"action": "key", "text": "shift+a Return ctrl+d"}),
        ({"actions": [{"type": "type", "text": "Zoë "}]}, {"actions": [{"type": "keypress", "keys": ["SHIFT", "A"]},
            {"type": "keypress", "keys": ["ENTER"]}, {"type": "keypress", "keys": ["CTRL", "D"]}]}),
    ):  # fmt: skip
        await bench.use(
            computer,
            chat,
            **({"action": "wait", "duration": 0} if "action" in first else {"actions": [{"type": "wait", "ms": 0}]}),
        )
        await bench.use(execute, chat, command=opened, timeout="2m")
        await bench.use(computer, chat, **first)
        await bench.use(computer, chat, **second)
        closed = "while xdotool search --class xterm; do sleep 0.05; done > /dev/null 2>&1; cat typed; rm typed"
        told = await bench.use(execute, chat, command=closed, timeout="2m")
        assert told["output"] == "Zoë A\n"


@at_a_desktop
async def test_what_fails_leaves_nothing_pressed_and_says_what_was_done(bench: Bench, chat: UUID) -> None:
    await bench.use(computer, chat, action="left_mouse_down", coordinate=[40, 50])
    assert await pressed(bench, chat) == ["button[1]=down"]
    with pytest.raises(ToolFailed, match=r"^type failed: .*No key and no button is left pressed\.$"):
        await bench.use(computer, chat, action="type", text="a\x01")
    assert await pressed(bench, chat) == []
    await bench.use(computer, chat, action="left_click_drag", start_coordinate=[1, 1], coordinate=[90, 91], text="ctrl")
    assert await pressed(bench, chat) == []
    at = await bench.use(computer, chat, action="cursor_position")
    assert at.text == "The cursor is at X=90, Y=91."
    click = {"type": "click", "x": 1, "y": 1, "keys": ["CTRL", "SHIFT"]}
    with pytest.raises(ToolFailed, match="What came before it was done"):
        await bench.use(computer, chat, actions=[click, {"type": "type", "text": "\x02"}, {"type": "wait"}])
    assert await pressed(bench, chat) == []


@at_a_desktop
async def test_a_film_is_of_who_works_at_the_desktop_and_is_kept_only_where_it_is_to_be(
    bench: Bench, chat: UUID
) -> None:
    child = {"id": uuid4(), "mode": computer_rules.MODE}
    assert await recording.begun(bench.context(chat), {**child, "mode": None}) == {}
    await bench.use(computer, chat, action="cursor_position")
    for keep, names in ((False, set[str]()), (True, {"recording_file_id", "thumbnail_file_id"})):
        context = bench.context(chat)
        memory = await recording.begun(context, child)
        assert await recording.begun(replace(context, memory=memory), child) == memory
        ended = [await recording.ended(replace(context, memory=memory), child, keep=keep) for _ in range(2)]
        assert (set(ended[0]), ended[1]) == (names, ended[0])
    assert await bench.rows("SELECT count(*) AS n FROM chat_file_links") == [{"n": 2}]
    lost = replace(bench.context(chat), memory={"film": str(uuid4())})
    assert await recording.ended(lost, child, keep=True) == {}, "a film that is lost takes nothing away"


async def test_what_makes_no_sense_or_is_switched_off_reaches_no_desktop(bench: Bench, chat: UUID) -> None:
    bad: dict[str, dict[str, Any]] = {"is no action": {"action": "fly"}, "actions is required": {}}
    for why, asked in bad.items():
        with pytest.raises(ToolFailed, match=why):
            await bench.use(computer, chat, **asked)
    await switch(bench.database, **{features.DESKTOP: "false"})
    with pytest.raises(ToolFailed, match="switched off"):
        await bench.use(computer, chat, **LOOK)
    assert await bench.rows("SELECT id FROM agent_jobs") == []


async def test_without_xvfb_the_model_is_told_what_is_missing(
    settings: Settings, database: Database, seed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch(database)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with workbench(settings, database, seed, tmp_path) as bench:
        chat = await settle(bench, await born(database, seed))
        with pytest.raises(ToolFailed, match="apt-get install xvfb"):
            await bench.use(computer, chat, **LOOK)


def test_only_sub_agents_at_a_desktop_have_the_tool() -> None:
    child = {"parent_chat_id": uuid4(), "plan_mode": None}
    having = [
        (mode, plan)
        for mode in (None, "explore", "computer_use")
        for plan in (None, "plan")
        if active(computer, {**child, "mode": mode, "plan_mode": plan})
    ]
    assert having == [("computer_use", None)]
    assert not active(computer, {"parent_chat_id": None, "plan_mode": None, "mode": "computer_use"})
    mine = {tool.name for tool in TOOLS if active(tool, {**child, "mode": "computer_use"})}
    assert {"computer", "execute", "read_file", "attach_file"} <= mine
    assert not mine & {"spawn_agent", "create_workspace"}


async def provide(stack: Stack, kind: str) -> UUID:
    """A provider of this type at the fake, whose model works at desktops."""
    url = stack.fake.root_url if kind == "anthropic" else stack.fake.openai_url
    name = "claude-opus-4-7" if kind == "anthropic" else "gpt-5.5"
    provider = AIProvider(type=kind, name=kind, enabled=True, base_url=url)
    model = ModelConfig(ai_provider_id=provider.id, model=name, context_limit=100_000, options={})
    cipher = Cipher(stack.settings.secret_keys.get_secret_value())
    key = AIProviderKey(provider_id=provider.id, api_key=cipher.encrypt("sk-test"), masked="sk-...")
    async with stack.database.begin() as session:
        await insert(session, provider, model, key)
    return model.id


def spawn(*steps: Any) -> dict[str, Any]:
    """The call that has a sub-agent make these calls at the desktop, one a step, and then report."""
    behaviour: dict[str, Any] = {"text": "I saw it."}
    for step in reversed(steps):
        behaviour = {"tool_calls": [call("computer", f"d{uuid4().hex[:8]}", **step)], "tokens": 0, "then": behaviour}
    return call("spawn_agent", "s", type="computer_use", prompt=f"look {nested(**behaviour)}", title="Look")


@at_a_desktop
@pytest.mark.parametrize(
    ("kind", "steps", "size"),
    [
        (
            "anthropic",
            [LOOK, {"action": "left_click", "coordinate": [7, 8]}, {"action": "cursor_position"}],
            (1280, 800),
        ),
        (
            "openai",
            [{"actions": [{"type": "screenshot"}]}, {"actions": [{"type": "click", "x": 7, "y": 8}]}, {"type": "wait"}],
            (1600, 900),
        ),
    ],
)
async def test_a_sub_agent_works_at_the_desktop_and_reports(
    stack: Stack, tmp_path: Path, kind: str, steps: list[dict[str, Any]], size: tuple[int, int]
) -> None:
    await switch(stack.database, **{features.COMPUTER_USE: kind})
    model = await provide(stack, kind)
    place = await furnish(stack.database, stack.world.owner_id, stack.world.organization_id)
    text = ask([spawn(*steps)], [wait("w", "s")], "<<w.report>>")
    async with lived_in(stack, place, tmp_path):
        chat_id = await stack.create(text, signal="")
        async with stack.database.begin() as session:
            await bindings.attach(session, chat_id, place.workspace_id)
        await until(stack, "SELECT 1 AS here FROM workspace_agents WHERE last_seen_at IS NOT NULL")
        async with worker(stack):
            await stack.temporal.nudge(chat_id, stack.world.owner_id, 1, signal="message_queued")
            assert (await stack.rest(chat_id)).last_error is None
        told = await results(stack, chat_id)
        assert (told["s"]["type"], told["w"]["report"]) == ("computer_use", "I saw it.")
        film, thumbnail = UUID(told["w"]["recording_file_id"]), UUID(told["w"]["thumbnail_file_id"])
        async with stack.database.read() as session:
            kept = await files.contents(session, [film, thumbnail])
        assert size_of(kept[film].data) == size
        assert size_of(kept[thumbnail].data) < (401, 401)
        child = await stack.chat(UUID(told["s"]["chat_id"]))
        rows = await stack.messages(child.id)
    assert (child.mode, child.last_model_config_id) == ("computer_use", model)
    shots = [row.content for row in rows if row.role == "tool"]
    assert [len(shot) for shot in shots] == [2, 1, 1], "what was asked for in so many words is a file of the chat"
    assert all(shot[0]["is_media"] for shot in shots)
    assert {size_of(base64.b64decode(shot[0]["result"]["data"])) for shot in shots} == {size}
    path = "/v1/messages" if kind == "anthropic" else "gpt-5.5"
    asked = [each for each in stack.fake.received if path in (each.path, each.body["model"])]
    assert len(asked) == 4
    assert json.dumps(asked[-1].body).count(shots[0][0]["result"]["data"]) == 1
    declared = next(
        tool for tool in asked[0].body["tools"] if "computer" in str(tool.get("name", tool.get("function")))
    )
    assert declared.get("type") == ("computer_20251124" if kind == "anthropic" else "function")
    assert "Your task is done on a desktop" in json.dumps(asked[0].body)


@pytest.mark.parametrize(
    ("site", "workspace", "named", "why"),
    [
        ({features.DESKTOP: "false"}, True, {}, computer_models.OFF),
        ({features.COMPUTER_USE: "openai"}, True, {}, computer_models.NO_MODEL.format(provider="openai")),
        ({}, False, {}, NO_WORKSPACE),
        ({}, True, {}, ABSENT),
        ({}, True, {"model_config_id": str(UUID(int=1))}, "leave model_config_id empty"),
        ({}, True, {"plan_mode": "plan"}, "while this chat plans"),
    ],
)
async def test_where_there_can_be_no_desktop_no_sub_agent_is_made(
    stack: Stack, site: dict[str, str], workspace: bool, named: dict[str, str], why: str
) -> None:
    await switch(stack.database, **site)
    await provide(stack, "anthropic")
    made = spawn(LOOK)
    plan, made["arguments"] = named.get("plan_mode"), {**made["arguments"], **named}
    chat_id = await stack.create(ask([made], "so be it"), signal="", plan_mode=plan)
    if workspace:
        place = await furnish(stack.database, stack.world.owner_id, stack.world.organization_id)
        async with stack.database.begin() as session:
            await bindings.attach(session, chat_id, place.workspace_id)
    async with worker(stack):
        await stack.temporal.nudge(chat_id, stack.world.owner_id, 1, signal="message_queued")
        await stack.rest(chat_id)
    told = await results(stack, chat_id)
    assert words_of((await stack.messages(chat_id))[-1].content) == "so be it"
    assert why in told["s"]["error"]
    async with stack.database.read() as session:
        assert await fetch(session, "SELECT id FROM chats WHERE parent_chat_id IS NOT NULL") == []
