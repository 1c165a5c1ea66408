"""Puts a chat into each situation, asks the scripted model twice, and reads from its requests what it was told."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from activities import advising, prompting, workspace_context
from activities.providers.provider import ModelRequest
from activities.resources import Resources
from benchmarks.prompts.situations import MARKS, MINE, TELLING, Situation
from models.parts import text
from models.rules import instructions
from models.rules import workspace_context as rules
from models.store import moves, preferences
from models.store.database import fetch
from models.tables.messages import Message
from tests.fakes.provider import FakeProvider
from tests.seeds import World, insert
from tests.workplace import Workplace, furnish

TOLD_TOOLS = ("advisor", "create_workspace", "execute", "propose_plan")
FOUND: dict[str, Any] = {
    "instructions": [{"path": "/home/u/AGENTS.md", "content": "Write tests first."}],
    "skills": [{"name": "deploy", "description": "How we deploy.", "dir": "/home/u/.skills/deploy"}],
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model was told and offered, in the order it was, and whether its second prompt continues the first."""

    blocks: str
    tools: str
    continues: bool
    system_bytes: int


async def evaluated(resources: Resources, world: World, fake: FakeProvider, situation: Situation) -> Seen:
    """What the model sees in a chat that is in this situation from its first turn on."""
    await _configure(resources, world, situation)
    chat_id = await _begun(resources, world, situation)
    first, fence = await _asked(resources, fake, chat_id)
    async with resources.database.begin() as session:
        await moves.commit_step(session, fence, [moves.StepRow("assistant", [text("Done.")])])
    async with resources.database.begin() as session:
        await moves.send(
            session,
            await moves.lock(session, chat_id),
            content=[text("and on")],
            sender_id=world.owner_id,
            model_config_id=None,
            interrupt=False,
            queue_limit=1,
        )
    second, _ = await _asked(resources, fake, chat_id)
    said = "\n\n".join(each["content"] for each in second["messages"] if each["role"] == "system")
    places = {name: said.find(mark) for name, mark in MARKS.items()}
    blocks = sorted((name for name, place in places.items() if place >= 0), key=lambda name: places[name])
    offered = {tool["function"]["name"] for tool in second["tools"]}
    before = first["messages"]
    return Seen(
        " ".join(blocks),
        " ".join(name for name in TOLD_TOOLS if name in offered),
        second["messages"][: len(before)] == before and second["tools"] == first["tools"],
        len(said.encode()),
    )


async def _configure(resources: Resources, world: World, situation: Situation) -> None:
    async with resources.database.begin() as session:
        await fetch(session, "DELETE FROM site_configs WHERE key LIKE 'agents_%%'", {})
        await preferences.put_site(session, dict(situation.site))
        mine = MINE if situation.mine else ""
        await preferences.put_user(session, world.owner_id, {instructions.CUSTOM_PROMPT: mine})


async def _begun(resources: Resources, world: World, situation: Situation) -> UUID:
    place: Workplace | None = None
    if situation.workspace:
        place = await furnish(
            resources.database, world.owner_id, world.organization_id, name=uuid4().hex[:8], facts={"home": "/home/u"}
        )
    parent = await _created(resources, world, situation, None) if situation.parent else None
    chat_id = await _created(resources, world, situation, place)
    async with resources.database.begin() as session:
        await fetch(
            session,
            "UPDATE chats SET parent_chat_id = %(p)s, root_chat_id = %(p)s, mode = %(mode)s WHERE id = %(id)s",
            {"p": parent, "mode": situation.mode, "id": chat_id},
        )
        if place is not None and situation.workspace == TELLING:
            content = rules.parts(FOUND, place.workspace_id, place.agent_id)
            await insert(session, Message(chat_id=chat_id, revision=1, role="user", content=content, visibility="both"))
    return chat_id


async def _created(resources: Resources, world: World, situation: Situation, place: Workplace | None) -> UUID:
    async with resources.database.begin() as session:
        moved = await moves.create(
            session,
            owner_id=world.owner_id,
            organization_id=world.organization_id,
            title=situation.name,
            content=[text("hello")],
            model_config_id=world.model_config_id,
            created_by=world.owner_id,
            system=instructions.stored(situation.site, attached=place is not None, child=situation.parent),
            plan_mode=situation.plan_mode,
            workspace_id=place.workspace_id if place else None,
        )
    chat_id: UUID = moved.chat["id"]
    return chat_id


async def _asked(resources: Resources, fake: FakeProvider, chat_id: UUID) -> tuple[Any, moves.Fence]:
    """The request that the chat's next step sends, as it arrived, and the step's fence."""
    async with resources.database.begin() as session:
        opened = await moves.open_attempt(session, chat_id, max_attempts=9, max_steps=9)
    workspace_context.hold(opened)
    await advising.settle(resources, opened)
    model = await resources.catalog.resolve([opened.model_config_id], opened.chat["owner_id"])
    assert model is not None
    tools = resources.tools.offered(opened.chat)
    request = ModelRequest(
        provider=model.provider,
        model=model.model,
        messages=await prompting.messages(resources.database, opened, opened.history, model, tools),
        base_url=model.base_url,
        api_key=model.api_key,
        tools=tools,
        call_config=model.options,
    )
    async for _ in resources.providers.provider_for(model.provider).stream(request):
        pass
    return fake.received[-1].body, opened.fence
