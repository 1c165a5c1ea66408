"""What a model step sends: the chat's history with its files, under the instructions that hold now."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from activities.catalog import ReadyModel
from models.rules import advisor, attachments, instructions, plan_file, prompt, workspace_context
from models.rules.instructions import PLAN, PLAN_INSTRUCTIONS
from models.rules.profiles import Profile, profile_for
from models.store import bindings, files, preferences
from models.store.bindings import Place
from models.store.database import Database, Row
from models.store.files import StoredFile
from models.store.moves import Opened
from models.store.session import Session

LONG = 1000  # rows; building more would hold up the other turns of this process


async def messages(
    database: Database,
    opened: Opened,
    history: Sequence[Row],
    model: ReadyModel,
    tools: Sequence[Mapping[str, Any]],
    *,
    note: str = "",
    guided: bool = True,
) -> list[prompt.Message]:
    """The messages of the chat's next model step; `tools` are the declarations that go with them, `note` is about them.

    Whoever may ask an advisor is told what for, unless this is not to be `guided`.

    A plain chat needs nothing more from the database than what its attempt was opened with.
    """
    profile = profile_for(model.provider, model.model)
    named = attachments.ids(history)
    loaded: dict[str, StoredFile] = {}
    gone: set[str] = set()
    site: dict[str, str] = {}
    place: Place | None = None
    if named or opened.chat["plan_mode"] == PLAN:
        async with database.read() as session:
            site = await preferences.site(session, PLAN_INSTRUCTIONS)
            loaded, gone = await _files(session, history, named, profile)
            if opened.chat["plan_mode"] == PLAN and opened.chat["workspace_id"] is not None:
                place = await bindings.of(session, opened.chat["id"])
    said = instructions.for_turn(
        site,
        opened.own_prompt,
        workspace=workspace_context.said(opened.chat),
        plan_mode=opened.chat["plan_mode"],
        child=opened.chat["parent_chat_id"] is not None,
        guidance=advisor.guidance(opened.chat) if guided else "",
        mode=opened.chat["mode"],
        plan=plan_file.block(plan_file.path(place.home, opened.chat["id"])) if place and place.home else "",
    )
    if note:
        said.append(note)
    build = partial(
        prompt.build,
        history,
        provider=model.provider,
        model=model.model,
        tools=frozenset(tool["function"]["name"] for tool in tools),
        instructions=said,
        files=loaded,
        gone=gone,
    )
    return await asyncio.to_thread(build) if loaded or len(history) > LONG else build()


def may_search(chat: Row) -> bool:
    """May the provider run tools of its own in this turn, as far as the model's options have them?"""
    return bool(chat["plan_mode"] != PLAN)


async def _files(
    session: Session, history: Sequence[Row], named: Collection[str], profile: Profile
) -> tuple[dict[str, StoredFile], set[str]]:
    """The files whose content is sent, and the ids of those that are not stored any more."""
    if not named:
        return {}, set()
    known = {str(file_id): size for file_id, size in (await files.sizes(session, [*map(UUID, named)])).items()}
    chosen = attachments.wanted(history, known, profile)
    loaded = await files.contents(session, [UUID(each) for each in chosen])
    return {str(file_id): file for file_id, file in loaded.items()}, set(named) - known.keys()
