"""Chats: create one, look at one."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from starlette.responses import Response

from api.answers import answer
from api.author import By
from api.bodies import REQUIRED, Unread, body
from api.caller import Caller
from api.content import accept
from api.errors import raises
from api.idempotency import OnlyOnce
from api.nudges import nudge
from api.requests import Router
from api.resources import Opened
from api.schemas.chats import Chat, CreateChat, DynamicTool
from api.schemas.parts import NO_ID
from models.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable, UsageLimited
from models.parts import Part, can_rest, to_rest
from models.principal import Principal
from models.rules import instructions, labels, titles
from models.store import audit, bindings, catalog, chats, files, limits, mcp_servers, moves, scans
from models.store.session import Session

router = Router(tags=["chats"])

MAX_SYSTEM_PROMPT = 10_000
MAX_DYNAMIC_TOOLS = 250
CLIENT_TYPES = ("api", "ui")


@router.post(
    "",
    status_code=201,
    response_model=Chat,
    responses=raises(Invalid, Forbidden, Conflict, UsageLimited, Unprocessable),
    openapi_extra=REQUIRED,
    summary="Create a chat",
)
async def create_chat(
    body: Annotated[Unread[CreateChat], body(CreateChat)],
    caller: Caller,
    by: By,
    once: OnlyOnce,
    resources: Opened,
) -> Response:
    """Begins a chat with its first message; the chat is `pending` at once and runs by itself."""
    asked = body.read()
    require_creation(caller, asked.organization_id)
    _require_short(asked.system_prompt)
    async with resources.database.begin() as session:
        earlier = await once.replay(session)
        if earlier is not None:
            return earlier
        content = await accept(session, caller, asked.content)
        workspace_id = asked.workspace_id if asked.workspace_id != NO_ID else None
        if workspace_id is not None:
            elsewhere = "Workspace does not belong to the specified organization."
            await bindings.require_entry(session, caller, workspace_id, asked.organization_id, elsewhere)
        if asked.model_config_id == NO_ID:
            raise Invalid("Invalid model config ID.")
        default, site = await catalog.for_new_chat(
            session,
            caller.user_id,
            instructions.SYSTEM_PROMPT,
            instructions.INCLUDE_DEFAULT,
            own_keys=resources.settings.allow_byok,
        )
        model = asked.model_config_id or default
        if model is None:
            raise Invalid("No default chat model config is configured.")
        require_plan_mode(asked.plan_mode)
        servers = await mcp_servers.require(session, asked.mcp_server_ids)
        labels.check(asked.labels)
        tools = _accept_tools(asked.unsafe_dynamic_tools)
        client_type = asked.client_type or "api"
        if client_type not in CLIENT_TYPES:
            raise Invalid("Invalid client_type.", f'got "{client_type}", want one of [api ui]')
        await limits.require(session, caller, asked.organization_id)
        if asked.model_config_id is not None and not await catalog.exists(session, model):
            raise Invalid("Invalid model config ID.", f"There is no model config {model}.")
        moved = await moves.create(
            session,
            owner_id=caller.user_id,
            organization_id=asked.organization_id,
            title=titles.fallback(content),
            content=content,
            model_config_id=model,
            created_by=caller.user_id,
            system=instructions.stored(site, asked.system_prompt, attached=workspace_id is not None),
            labels=to_rest(asked.labels),
            plan_mode=asked.plan_mode or None,
            mcp_server_ids=servers,
            client_type=client_type,
            dynamic_tools=tools,
            workspace_id=workspace_id,
        )
        audit.chat_created(session, moved.chat, by)
        if workspace_id is not None:
            await scans.catch_up(session, moved.chat)
        chat = chats.view(moved.chat) | await _linked(session, moved.chat["id"], content)
        response = await once.keep(session, answer(chat, 201))
    nudge(resources, moved, "woken")
    return response


@router.get("/{chat}", response_model=Chat, responses=raises(NotFound), summary="Get a chat")
async def get_chat(chat: UUID, caller: Caller, resources: Opened) -> Response:
    """The chat, with its sub-agent chats if it is a root."""
    async with resources.database.read() as session:
        return answer(await chats.get(session, caller, chat))


def require_plan_mode(plan_mode: str | None) -> None:
    """Raise Invalid unless it is `plan`, or empty (off)."""
    if plan_mode not in (None, "", "plan"):
        raise Invalid("Invalid plan_mode value.")


async def _linked(session: Session, chat_id: UUID, content: Sequence[Part]) -> dict[str, Any]:
    """What a new chat's answer says about the files of its first message."""
    if all(part["type"] != "file" for part in content):
        return {}
    warnings = await files.link(session, chat_id, content)
    if warnings:
        return {"warnings": warnings}
    return {"files": await chats.files(session, chat_id)}


def require_creation(caller: Principal, organization_id: UUID) -> None:
    """Raise unless the caller may have chats in this organization."""
    if organization_id == NO_ID:
        raise Invalid("organization_id is required.")
    if not caller.is_member(organization_id):
        raise Forbidden("You are not a member of the specified organization.")
    if not caller.may_create_chat(organization_id):
        raise Forbidden


def _require_short(system_prompt: str) -> None:
    size = len(system_prompt.encode())
    if size > MAX_SYSTEM_PROMPT:
        raise Invalid(
            "System prompt exceeds maximum length.",
            f"System prompt must be at most {MAX_SYSTEM_PROMPT} characters, got {size}.",
        )


def _accept_tools(tools: list[DynamicTool]) -> list[dict[str, Any]] | None:
    """The tools as they are stored; raises Invalid for what is wrong with them."""
    if len(tools) > MAX_DYNAMIC_TOOLS:
        raise Invalid("Too many dynamic tools.", f"Maximum {MAX_DYNAMIC_TOOLS} dynamic tools per chat.")
    seen: set[str] = set()
    for tool in tools:
        if not tool.name:
            raise Invalid("Dynamic tool name must not be empty.")
        if tool.name in seen:
            raise Invalid("Duplicate dynamic tool name.", f'Tool "{tool.name}" appears more than once.')
        seen.add(tool.name)
        if not can_rest(tool.input_schema):
            raise Invalid("Invalid dynamic tool.", f'The input_schema of tool "{tool.name}" is nested too deep.')
    return [to_rest(tool.model_dump(exclude_unset=True)) for tool in tools] or None
