"""What a workspace tells: each agent is asked once, it is kept with the answer given in its light, errors are not."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from activities import workspace_context
from activities.resources import open_resources
from activities.workshop import Patience
from models.errors import Invalid
from models.rules import workspace_context as rules
from models.store import bindings, moves
from models.store.database import fetch
from models.store.mailbox import Job
from models.tables.messages import Message
from tests.activities.stack import Stack, worker
from tests.bench import agent
from tests.fakes.behaviour import Behaviour
from tests.workplace import Workplace, furnish, rebuild, seat

RULES = {"path": "/home/u/AGENTS.md", "content": "Write tests\u200b first.\x00", "truncated": False}
SKILL = {"name": "deploy", "description": "How we\ndeploy.", "dir": "/s/deploy", "meta_file": "/s/deploy/SKILL.md"}
FOUND = {"instructions": [RULES], "skills": [SKILL]}
NOTHING: dict[str, Any] = {"instructions": [], "skills": []}


@pytest.fixture
async def place(stack: Stack) -> Workplace:
    return await furnish(stack.database, stack.world.owner_id, stack.world.organization_id)


def answers(found: dict[str, Any] | None) -> Any:
    """An agent that finds this; None: it does not answer what it finds."""
    return lambda job: found if job.kind == "context" else {"error": {"message": "no", "kind": "unsupported"}}


def system_of(stack: Stack, number: int = -1) -> str:
    body = stack.fake.received[number].body
    return "\n\n".join(message["content"] for message in body["messages"] if message["role"] == "system")


def tools_of(stack: Stack, number: int = -1) -> set[str]:
    return {tool["function"]["name"] for tool in stack.fake.received[number].body["tools"]}


async def begin(stack: Stack, place: Workplace | None, words: str = "hello") -> UUID:
    """A chat that works there, run to rest."""
    chat_id = await stack.create(words, workspace_id=place.workspace_id if place else None)
    assert (await stack.rest(chat_id)).last_error is None
    return chat_id


async def go_on(stack: Stack, chat_id: UUID, words: str = "and on") -> None:
    await stack.send(chat_id, words)
    assert (await stack.rest(chat_id)).last_error is None


async def context_of(stack: Stack, chat_id: UUID) -> list[Message]:
    return [
        message
        for message in await stack.messages(chat_id)
        if message.role == "user" and message.content[0]["type"] in ("context-file", "skill")
    ]


def kinds(jobs: list[Job]) -> list[str]:
    return [job.kind for job in jobs]


async def test_what_a_workspace_tells_is_kept_once_and_read_in_every_step(stack: Stack, place: Workplace) -> None:
    async with worker(stack), agent(stack.database, place, answers(FOUND)) as sent:
        chat_id = await begin(stack, place)
        await go_on(stack, chat_id)
    assert kinds(sent) == ["context"]
    roles = [message.role for message in await stack.messages(chat_id)]
    assert roles == ["user", "user", "assistant", "user", "assistant"]
    [kept] = await context_of(stack, chat_id)
    assert (kept.visibility, kept.created_by, kept.model_config_id) == ("both", None, None)
    file, skill = kept.content
    assert file["context_file_path"] == RULES["path"]
    assert file["context_file_content"] == "Write tests first."
    assert file["context_file_agent_id"] == str(place.agent_id)
    assert (skill["skill_name"], skill["skill_description"]) == ("deploy", "How we deploy.")
    for number in (0, 1):
        said = system_of(stack, number)
        assert "Source: /home/u/AGENTS.md\nWrite tests first." in said
        assert "- deploy: How we deploy." in said
        assert {"read_skill", "read_skill_file"} <= tools_of(stack, number)
    spoken = [message for message in stack.fake.received[-1].body["messages"] if message["role"] == "user"]
    assert [message["content"] for message in spoken] == ["hello", "and on"]
    chat = await stack.chat(chat_id)
    assert (chat.build_id, chat.agent_id) == (place.build_id, place.agent_id)


async def test_the_workspace_speaks_after_the_stored_prompt_and_before_the_user(stack: Stack, place: Workplace) -> None:
    async with stack.database.begin() as session:
        await fetch(
            session,
            "INSERT INTO user_configs (user_id, key, value) VALUES (%(user)s, 'chat_custom_prompt', 'Rhyme.')",
            {"user": stack.world.owner_id},
        )
    async with worker(stack), agent(stack.database, place, answers(FOUND)):
        chat_id = await stack.create("hello", workspace_id=place.workspace_id, system=["Be brief."], plan_mode="plan")
        await stack.rest(chat_id)
    said = system_of(stack)
    order = ["Be brief.", "<workspace-context>", "<available-skills>", "<user-instructions>", "<plan-mode>"]
    places = [said.index(each) for each in order]
    assert places == sorted(places)


async def test_a_chat_without_a_workspace_is_asked_nothing_and_told_nothing(stack: Stack, place: Workplace) -> None:
    async with worker(stack), agent(stack.database, place, answers(FOUND)) as sent:
        chat_id = await begin(stack, None)
    assert (sent, await context_of(stack, chat_id)) == ([], [])
    assert "workspace-context" not in system_of(stack)
    assert not {"read_skill", "read_skill_file"} & tools_of(stack)


async def test_a_workspace_with_nothing_to_tell_is_remembered_where_nobody_sees_it(
    stack: Stack, place: Workplace
) -> None:
    async with worker(stack), agent(stack.database, place, answers(NOTHING)) as sent:
        chat_id = await begin(stack, place)
        await go_on(stack, chat_id)
    assert kinds(sent) == ["context"]
    [kept] = await context_of(stack, chat_id)
    assert (kept.visibility, kept.content[0]["context_file_path"]) == ("model", "")
    assert "Source:" not in system_of(stack)
    assert "available-skills" not in system_of(stack)
    assert "This chat has a workspace" in system_of(stack)


@pytest.mark.parametrize("answer", [{"error": {"message": "broken", "kind": "internal"}}, {"instructions": 7}])
async def test_a_workspace_that_does_not_answer_well_is_asked_again_and_nothing_is_kept(
    stack: Stack, place: Workplace, answer: dict[str, Any]
) -> None:
    async with worker(stack):
        async with agent(stack.database, place, answers(answer)) as sent:
            chat_id = await begin(stack, place)
        assert kinds(sent) == ["context"]
        assert await context_of(stack, chat_id) == []
        async with agent(stack.database, place, answers(FOUND)) as again:
            await go_on(stack, chat_id)
    assert "context" in kinds(again)
    assert len(await context_of(stack, chat_id)) == 1


async def test_an_agent_that_says_nothing_is_left_after_a_while_and_nothing_is_kept(
    stack: Stack, place: Workplace
) -> None:
    stands_by = open_resources(stack.settings, stack.temporal)
    async with stands_by as resources, agent(stack.database, place, lambda _: None):
        chat_id = await stack.create("hello", workspace_id=place.workspace_id, signal="")
        async with stack.database.begin() as session:
            opened = await moves.open_attempt(session, chat_id, max_attempts=9, max_steps=9)
        workspace_context.hold(opened)
        assert await workspace_context.look(resources, opened, patience=0.2) is None
        assert opened.chat[rules.KEY] is None
        jobs = "SELECT kind, cancel FROM agent_jobs"
        async with stack.database.read() as session:
            assert await fetch(session, jobs) == [{"kind": "context", "cancel": True}]
        async with stack.database.begin() as session:
            opened = await moves.open_attempt(session, chat_id, max_attempts=9, max_steps=9)
        workspace_context.hold(opened)
        assert await workspace_context.look(resources, opened) is None
        async with stack.database.read() as session:
            assert len(await fetch(session, jobs)) == 1, "no step waits for it again so soon"
        for agent_id in resources.workshop.silences:
            resources.workshop.silences[agent_id] -= Patience().silent
        assert await workspace_context.look(resources, opened, patience=0.2) is None
        async with stack.database.read() as session:
            assert len(await fetch(session, jobs)) == 2, "it may tell by now"


async def test_an_agent_that_is_away_or_not_ready_is_not_waited_for(stack: Stack, place: Workplace) -> None:
    async with worker(stack):
        chat_id = await begin(stack, place)
        async with stack.database.begin() as session:
            await fetch(session, "UPDATE workspace_agents SET lifecycle = 'starting'")
        async with agent(stack.database, place, answers(FOUND)) as sent:
            await go_on(stack, chat_id)
    assert (sent, await context_of(stack, chat_id)) == ([], [])


async def test_a_workspace_that_gets_ready_in_the_middle_of_a_turn_is_heard_in_its_next_step(
    stack: Stack, place: Workplace
) -> None:
    call = Behaviour(tool_calls=[{"name": "current_time", "arguments": {}}], slow_first_byte_ms=300)
    stack.fake.script(call, Behaviour(text="late"))
    async with worker(stack), agent(stack.database, place, answers(FOUND)):
        chat_id = await stack.create("hello")
        while not stack.fake.received:
            await asyncio.sleep(0.01)
        await seat(stack.database, chat_id, place)
        await stack.rest(chat_id)
    roles = [message.role for message in await stack.messages(chat_id)]
    assert roles == ["user", "assistant", "tool", "user", "assistant"]
    assert "Write tests first." not in system_of(stack, 0)
    assert "Write tests first." in system_of(stack, 1)


async def test_another_agent_is_asked_anew_and_another_workspace_says_nothing_of_the_first(
    stack: Stack, place: Workplace
) -> None:
    other = {"instructions": [{**RULES, "content": "Commit often."}], "skills": []}
    async with worker(stack):
        async with agent(stack.database, place, answers(FOUND)):
            chat_id = await begin(stack, place)
        again = await rebuild(stack.database, place)
        await go_on(stack, chat_id)
        assert "Write tests first." in system_of(stack)  # nobody has said anything else yet
        async with agent(stack.database, again, answers(other)):
            await go_on(stack, chat_id)
        assert "Commit often." in system_of(stack)
        assert "Write tests first." not in system_of(stack)
        elsewhere = await furnish(stack.database, stack.world.owner_id, stack.world.organization_id, name="elsewhere")
        async with stack.database.begin() as session:
            await bindings.attach(session, chat_id, elsewhere.workspace_id)
        await go_on(stack, chat_id)
        assert "Source:" not in system_of(stack)
        assert "read_skill" not in tools_of(stack)


async def test_an_edit_that_takes_it_away_has_it_asked_for_again(stack: Stack, place: Workplace) -> None:
    async with worker(stack), agent(stack.database, place, answers(FOUND)) as sent:
        chat_id = await begin(stack, place)
        first = (await stack.messages(chat_id))[0].id
        await stack.edit(chat_id, first, "again", signal="woken")
        await stack.rest(chat_id)
    assert kinds(sent) == ["context", "context"]
    assert len(await context_of(stack, chat_id)) == 1


async def test_nobody_can_edit_what_a_workspace_told(stack: Stack, place: Workplace) -> None:
    async with worker(stack), agent(stack.database, place, answers(FOUND)):
        chat_id = await begin(stack, place)
    [kept] = await context_of(stack, chat_id)
    async with stack.database.begin() as session:
        locked = await moves.lock(session, chat_id)
        with pytest.raises(Invalid, match="Only user messages"):
            await moves.edit(session, locked, kept.id, content=[], editor_id=stack.world.owner_id)


async def test_it_holds_after_a_summary(stack: Stack, place: Workplace) -> None:
    async with worker(stack), agent(stack.database, place, answers(FOUND)) as sent:
        chat_id = await begin(stack, place)
        stack.fake.script(Behaviour(text="what was said"))
        await stack.move(chat_id, moves.request_compaction, signal="woken")
        await stack.rest(chat_id)
        await go_on(stack, chat_id)
    assert kinds(sent) == ["context"]
    shown, hidden = await context_of(stack, chat_id)
    assert (shown.visibility, hidden.visibility) == ("both", "model")
    assert shown.content == hidden.content
    assert "Write tests first." in system_of(stack)
    assert "what was said" in orjson.dumps(stack.fake.received[-1].body["messages"]).decode()


def test_what_is_too_much_is_cut_and_said_to_be() -> None:
    nobody = UUID(int=1)
    files = [{"path": f"/{n}", "content": "é" * 40_000, "truncated": False} for n in range(40)]
    skills = [{"name": f"s{n}", "description": "d" * 5000} for n in range(600)]
    made = rules.parts({"instructions": files, "skills": skills}, nobody, nobody)
    assert len(made) == rules.MOST
    contents = [part["context_file_content"] for part in made if part["type"] == "context-file"]
    assert all(len(each.encode()) <= rules.FILE_BYTES for each in contents)
    assert sum(len(each.encode()) for each in contents) <= rules.TOTAL_BYTES
    assert all(part["context_file_truncated"] for part in made if part["type"] == "context-file")
    for wrong in ({"instructions": "x"}, {"skills": [1]}, {"instructions": [{"path": 3, "content": "x"}]}):
        with pytest.raises(rules.Malformed):
            rules.parts(wrong, nobody, nobody)
