"""The tool that waits for a chat to rest: it is told what happens, as live streams are, and asks nothing meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import Field

from api.live.watcher import Ended, Watcher
from api.mcp_server.chats import Chat, Limit, ReadChat, Size, read_chat
from api.mcp_server.tool import Arguments, Call, Id, Tool
from models.principal import Scope as Use
from models.rules.pages import MAX_ID
from models.rules.states import Status

AT_REST = frozenset({Status.WAITING, Status.ERROR, Status.REQUIRES_ACTION})
BEAT = 10.0  # seconds without news, after which a client is told that we are there


class WaitForChat(Arguments):
    chat_id: Chat
    seconds: int = Field(
        default=45, ge=1, le=300, description="How long to wait at most; many clients give up after 60."
    )
    after_id: Annotated[Id, Field(description="Answer with the messages after this one; else with the newest.")]
    limit: Limit
    max_chars: Size


async def wait_for_chat(given: WaitForChat, call: Call) -> dict[str, Any]:
    """The chat and its messages once it rests, or as they are when the time is over."""
    began = monotonic()
    rested = await _rests(given.chat_id, given.seconds, call)
    asked = ReadChat.model_validate(given.model_dump(exclude={"seconds"}))
    return {"rested": rested, "waited_seconds": round(monotonic() - began, 1), **await read_chat(asked, call)}


async def _rests(chat_id: UUID, seconds: float, call: Call) -> bool:
    live, guests = call.resources.live, call.resources.guests
    guest = guests.arrive(call.caller, call.digest)
    door = await live.door(call.caller, chat_id)
    end = monotonic() + seconds
    status, steps = "", 0
    with live.watch(chat_id, after_id=MAX_ID) as watcher, guests.admitted(guest, watcher, door):
        async for kind, said in _news(watcher, end):
            if kind == "status":
                status = said["status"]["status"]
            elif kind == "message" and said["message"]["role"] == "assistant":
                steps += 1
            if status in AT_REST:
                return True
            left = max(0.0, end - monotonic())
            await call.progress(seconds - left, seconds, f"{status or 'looking'}, {steps} steps so far")
    return False


async def _news(watcher: Watcher, end: float) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """What the watcher is told of the chat, or "" after a while without, until the time is over or the stream is."""
    ready = asyncio.Event()
    watcher.on_ready = ready.set
    ready.set()
    while (left := end - monotonic()) > 0:
        try:
            async with asyncio.timeout(min(left, BEAT)):
                await ready.wait()
        except TimeoutError:
            yield "", {}
            continue
        ready.clear()
        try:
            events = watcher.take()
        except Ended:  # the process stops, or the caller may no longer look: reading the chat says which
            return
        for each in events:
            if each.type in ("status", "message"):
                yield each.type, orjson.loads(each.data)


WAIT = Tool(
    "wait_for_chat",
    "Wait for a chat",
    "Waits until a chat's agent rests, or the time is over, and answers as read_chat does. `rested` false: it still "
    "works; wait again, as long as you like: nothing is lost in between.",
    WaitForChat,
    wait_for_chat,
    (Use.CHAT_READ,),
    reads=True,
)
