"""The tool `spawn_agent`: hand a task to a sub-agent, whose chat is made once whatever happens to whoever makes it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from activities.patience import patiently
from activities.tools import builds, children, template_id
from activities.tools.endings import ToolFailed
from activities.tools.tool import ASKING, ROOTS_PLANNING, ToolContext, tool, where
from models.errors import Forbidden
from models.parts import text
from models.rules import instructions, titles
from models.rules.computer_models import NoneFits
from models.rules.executions import Policy
from models.rules.states import Status
from models.rules.sub_agents import KINDS, Kind
from models.store import audit, bindings, computer_use, limits, mcp_servers, moves, personal_models, preferences, scans
from models.store import children as store
from models.store.audit import Author
from models.store.database import Row
from models.store.moves import Locked, Moved
from models.store.session import Session


class Arguments(BaseModel):
    """Give a task to a sub-agent, which begins at once and works beside you. Wait for its report with wait_agent.

    It sees nothing of this conversation: the prompt must say all that it needs to know, and what to report. It works in
    the same workspace. Start several in one step if their tasks do not depend on each other, and let no two write to
    the same files. It cannot have sub-agents of its own.
    """

    type: str = Field(
        description="`general` may do what you may but create workspaces; `explore` only reads and looks around; "
        "`computer_use` uses mouse and keyboard of the workspace's one desktop, for what has no better way in.",
        json_schema_extra={"enum": [*KINDS]},
    )
    prompt: str = Field(description="The task.")
    title: str = Field(default="", description="What to call it, in a few words; made of the prompt if empty.")
    model_config_id: str = Field(
        default="", description="The id of a model for it, if the user named one; leave it empty otherwise."
    )


@tool(policy=Policy.IDEMPOTENT, offered=ROOTS_PLANNING, timeout=ASKING)
async def spawn_agent(arguments: Arguments, context: ToolContext) -> dict[str, Any]:
    kind = KINDS.get(arguments.type)
    if kind is None:
        raise ToolFailed(f"unknown type {arguments.type!r}: it must be one of {', '.join(KINDS)}")
    if not arguments.prompt.strip():
        raise ToolFailed("prompt is required")
    model = (
        template_id.read(arguments.model_config_id, "model_config_id") if arguments.model_config_id.strip() else None
    )
    wanted = Wanted(arguments, kind, model, context)
    try:
        made = await patiently(context.place.database, wanted.made)
    except children.REFUSALS as refused:
        raise builds.refused(refused) from None
    if isinstance(made, Moved):
        await children.nudge(context, made)
        return children.told(made.chat)
    return children.told(made)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The sub-agent that a call asks for."""

    arguments: Arguments
    kind: Kind
    model: UUID | None
    context: ToolContext

    async def made(self, session: Session) -> Moved | Row:
        """The sub-agent's chat: made now, or as it stands if the call was run before. Raises ToolFailed and REFUSALS.

        Its parent is locked, so that those of one step are counted one after the other.
        """
        parent = await moves.lock(session, self.context.chat_id)
        earlier = await store.made(session, self.context.job_id())
        if earlier is not None:
            return earlier
        self._require_turn(parent)
        owner = await builds.owner(session, self.context)
        if not owner.may_create_chat(parent.chat["organization_id"]):
            raise Forbidden
        if self.model is not None and not self.kind.at_desktop:
            await self._require_usable(session, self.model)
        await self._require_room(session, parent)
        await limits.require(session, owner, parent.chat["organization_id"], parent.id)
        return await self._create(session, parent.chat)

    def _require_turn(self, parent: Locked) -> None:
        """Raise ToolFailed if the turn that asks is over: then its history is another."""
        version = self.context.chat["history_version"]
        if parent.chat["status"] != Status.RUNNING or parent.chat["history_version"] != version:
            raise ToolFailed(children.STOPPED)
        if where(parent.chat) not in ROOTS_PLANNING:
            raise ToolFailed("a sub-agent cannot have sub-agents of its own")

    async def _require_usable(self, session: Session, model: UUID) -> None:
        """Raise ToolFailed unless the model would work for the chat's owner."""
        own_keys = self.context.settings.allow_byok
        fit = await personal_models.fitness(session, model, self.context.owner_id, own_keys=own_keys)
        if fit is None:
            raise ToolFailed(f"there is no model config {model}")
        if not fit.is_enabled or not fit.provider_is_enabled:
            raise ToolFailed(f"model config {model} is disabled")
        if not fit.has_key:
            raise ToolFailed(f"there is no key with which model config {model} could be used")

    async def _require_room(self, session: Session, parent: Locked) -> None:
        settings = self.context.settings
        unfinished, total = await store.count(session, parent.id)
        if unfinished >= settings.children_at_once:
            raise ToolFailed(
                f"{unfinished} sub-agents are at work, and no more than {settings.children_at_once} may be at once: "
                "wait for one of them first"
            )
        if total >= settings.children_per_chat:
            raise ToolFailed(f"this chat has had {total} sub-agents, and may not have more")

    async def _create(self, session: Session, parent: Row) -> Moved:
        kind, owner_id, model = self.kind, self.context.owner_id, self.model
        if kind.at_desktop:
            model = await self._at_desktop(session, parent)
        elif model is None:
            own_keys = self.context.settings.allow_byok
            model = await personal_models.for_sub_agent(session, owner_id, kind.choice, own_keys=own_keys)
        site = await preferences.site(session, instructions.SYSTEM_PROMPT, instructions.INCLUDE_DEFAULT)
        content = [text(self.arguments.prompt)]
        servers = await mcp_servers.offered(session, parent) if kind.is_fixed else parent["mcp_server_ids"]
        moved = await moves.create(
            session,
            chat_id=self.context.job_id(),
            parent=parent,
            mode=kind.mode,
            owner_id=owner_id,
            created_by=owner_id,
            organization_id=parent["organization_id"],
            title=titles.given(self.arguments.title) or titles.fallback(content),
            content=content,
            model_config_id=model or parent["last_model_config_id"],
            system=instructions.stored(site, attached=parent["workspace_id"] is not None, child=True),
            plan_mode=None if kind.is_fixed else parent["plan_mode"],
            mcp_server_ids=servers,
            client_type=parent["client_type"],
        )
        about = audit.by_background_job("sub_agents", parent_chat_id=str(parent["id"]))
        audit.chat_created(session, moved.chat, Author(owner_id), about)
        if parent["workspace_id"] is not None:
            await scans.catch_up(session, moved.chat)
        return moved

    async def _at_desktop(self, session: Session, parent: Row) -> UUID:
        """The model of a sub-agent at the desktop; raises ToolFailed where there cannot be one."""
        if parent["plan_mode"] == instructions.PLAN:
            raise ToolFailed("a sub-agent cannot use the desktop while this chat plans")
        if self.model is not None:
            raise ToolFailed("sub-agents at the desktop have a model of their own: leave model_config_id empty")
        own_keys = self.context.settings.allow_byok
        try:
            model = await computer_use.require(session, self.context.owner_id, own_keys=own_keys)
        except NoneFits as why:
            raise ToolFailed(str(why)) from None
        self.context.place.require_agent(await bindings.of(session, parent["id"]))
        return model
