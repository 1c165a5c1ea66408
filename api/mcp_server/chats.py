"""Tools for chats: begin one, look, say something, stop it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.mcp_server import naming, rendering
from api.mcp_server.tool import Arguments, Call, Id, Key, Tool
from models.principal import Scope as Use

CHATS = "/api/v2/chats"
LONGEST_WAITING, MOST_WAITING = 500, 20  # characters of a queued message, and messages
Chat = Annotated[UUID, Field(description="The chat's id.")]
Size = Annotated[int, Field(default=20_000, ge=200, le=100_000, description="Characters of text at most.")]
Limit = Annotated[int, Field(default=20, ge=1, le=100, description="Messages at most.")]
Model = Annotated[str, Field(default="", description="Id or name of a model; the chat's, or the default, if empty.")]


class CreateChat(Arguments):
    prompt: str = Field(min_length=1, description="What the agent is to do. It knows nothing of your conversation.")
    organization: str = Field(default="", description="Id or name; needed if you belong to more than one.")
    model: Model
    workspace: str = Field(default="", description="Id, or name of one of your workspaces, for the agent to work in.")
    labels: dict[str, str] = Field(default_factory=dict, description="To find the chat by.")
    plan_mode: bool = Field(default=False, description="The agent only plans, and asks before it acts.")
    mcp_server_ids: list[UUID] = Field(default_factory=list, description="MCP servers whose tools the agent gets.")
    system_prompt: str = Field(default="", description="Standing instructions for this chat.")
    idempotency_key: Key


async def create_chat(given: CreateChat, call: Call) -> dict[str, Any]:
    """Begin a chat."""
    body: dict[str, Any] = {
        "organization_id": await naming.organization(call, given.organization),
        "content": [{"type": "text", "text": given.prompt}],
        "labels": given.labels,
        "plan_mode": "plan" if given.plan_mode else "",
        "mcp_server_ids": given.mcp_server_ids,
        "system_prompt": given.system_prompt,
        "model_config_id": await naming.model(call, given.model),
    }
    if given.workspace:
        body["workspace_id"] = (await naming.workspace(call, given.workspace))["id"]
    made = await call.inside.change("POST", CHATS, body, given.idempotency_key or call.key)
    return {"chat": rendering.chat(made)}


class ListChats(Arguments):
    q: str = Field(
        default="",
        description="Terms `key:value`: title, status (pending, running, waiting, requires_action, error), "
        "archived (true, false, any), source (created_by_me, shared_with_me), search (words of messages).",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels that the chats have.")
    limit: int = Field(default=20, ge=1, le=50)
    cursor: str = Field(default="", description="`next_cursor` of the page before.")


async def list_chats(given: ListChats, call: Call) -> dict[str, Any]:
    """A page of chats."""
    wanted = [f"{name}:{value}" for name, value in given.labels.items()]
    found = await call.inside.get(CHATS, q=given.q, label=wanted, limit=given.limit, after_id=given.cursor)
    shown = {"chats": [rendering.chat(each) for each in found]}
    return shown | ({"next_cursor": found[-1]["id"]} if len(found) == given.limit else {})


class ReadChat(Arguments):
    chat_id: Chat
    after_id: Annotated[Id, Field(description="Only messages after this one, the oldest first.")]
    before_id: Annotated[Id, Field(description="Only messages before this one.")]
    limit: Limit
    max_chars: Size


async def read_chat(given: ReadChat, call: Call) -> dict[str, Any]:
    """A chat and a page of its messages, the oldest first."""
    path = f"{CHATS}/{given.chat_id}"
    shown = {"chat": rendering.chat(await call.inside.get(path))}
    page = await call.inside.get(
        f"{path}/messages", after_id=given.after_id, before_id=given.before_id, limit=given.limit
    )
    onwards = bool(given.after_id) and not given.before_id
    said, whole = rendering.messages(page["messages"], given.max_chars, newest=not onwards)
    waiting = [
        {"id": each["id"], "text": rendering.cut(rendering.text(each["content"]), LONGEST_WAITING)}
        for each in page["queued_messages"][:MOST_WAITING]
    ]
    if page["has_more"] or not whole:
        shown["more"] = _rest(said, onwards)
    return shown | {"messages": said} | ({"queued_messages": waiting} if waiting else {})


def _rest(said: list[dict[str, Any]], onwards: bool) -> dict[str, Any]:
    """How to ask for the messages that were left out."""
    return {"after_id": said[-1]["id"]} if onwards else {"before_id": said[0]["id"]}


class SendMessage(Arguments):
    chat_id: Chat
    text: str = Field(min_length=1)
    busy: Literal["queue", "interrupt"] = Field(
        default="queue", description="While the agent works: wait for it to end, or stop it first."
    )
    model: Model
    plan_mode: bool | None = Field(default=None, description="Turns plan mode on or off.")
    idempotency_key: Key


async def send_message(given: SendMessage, call: Call) -> dict[str, Any]:
    """What became of the message."""
    body: dict[str, Any] = {
        "content": [{"type": "text", "text": given.text}],
        "busy_behavior": given.busy,
        "model_config_id": await naming.model(call, given.model),
    }
    if given.plan_mode is not None:
        body["plan_mode"] = "plan" if given.plan_mode else ""
    path = f"{CHATS}/{given.chat_id}/messages"
    sent = await call.inside.change("POST", path, body, given.idempotency_key or call.key)
    stored = sent.get("queued_message") or sent["message"]
    shown = {"queued": sent["queued"], "queued_message_id" if sent["queued"] else "message_id": stored["id"]}
    return shown | ({"warnings": sent["warnings"]} if sent.get("warnings") else {})


class InterruptChat(Arguments):
    chat_id: Chat


async def interrupt_chat(given: InterruptChat, call: Call) -> dict[str, Any]:
    """The chat, once it is told to stop."""
    return {"chat": rendering.chat(await call.inside.change("POST", f"{CHATS}/{given.chat_id}/interrupt", {}))}


class ArchiveChat(Arguments):
    chat_id: Chat
    archived: bool = Field(default=True, description="False brings an archived chat back.")


async def archive_chat(given: ArchiveChat, call: Call) -> dict[str, Any]:
    """What the chat is now."""
    await call.inside.change("PATCH", f"{CHATS}/{given.chat_id}", {"archived": given.archived})
    return {"chat_id": str(given.chat_id), "archived": given.archived}


CHAT_TOOLS = (
    Tool(
        "create_chat",
        "Begin a chat",
        "Gives an agent a task in a new chat. It works by itself, also while you are away: the answer comes at once, "
        "with the chat's id. Call wait_for_chat for the result.",
        CreateChat,
        create_chat,
        (Use.CHAT_CREATE,),
    ),
    Tool(
        "list_chats",
        "List chats",
        "Lists your chats, pinned ones first, then the newest, with their status.",
        ListChats,
        list_chats,
        (Use.CHAT_READ,),
        reads=True,
    ),
    Tool(
        "read_chat",
        "Read a chat",
        "Says where a chat stands (status, last error, sub-agents) and what was said: the newest messages, or those "
        "after `after_id`. Status `waiting`: it is done. `requires_action`: its client must act. `error`: see "
        "last_error. Anything else: it works; call wait_for_chat instead of reading again and again.",
        ReadChat,
        read_chat,
        (Use.CHAT_READ,),
        reads=True,
    ),
    Tool(
        "send_message",
        "Send a message",
        "Says something to a chat's agent. While it works the message waits for its turn, or, with `interrupt`, "
        "stops it first.",
        SendMessage,
        send_message,
        (Use.CHAT_UPDATE,),
    ),
    Tool(
        "interrupt_chat",
        "Stop a chat's turn",
        "Stops what a chat's agent does now; what it said so far is kept. A chat at rest stays as it is.",
        InterruptChat,
        interrupt_chat,
        (Use.CHAT_UPDATE,),
        repeats=True,
    ),
    Tool(
        "archive_chat",
        "Archive a chat",
        "Puts a chat and its sub-agents away, and stops them if they work; or brings them back.",
        ArchiveChat,
        archive_chat,
        (Use.CHAT_READ, Use.CHAT_UPDATE),
        destroys=True,
        repeats=True,
    ),
)
