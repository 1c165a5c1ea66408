"""One turn, or a person typing: what is sent, what is shown, and when it is over."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from turnstone.cli.connection import Target, sentence
from turnstone.cli.screen import Screen
from turnstone.cli.transcript import Asked, Notice, Queue, Shown, Status, Step, ToolResult, Transcript
from turnstone.client import AsyncTurnstone
from turnstone.client.errors import TurnstoneError
from turnstone.client.events import StreamEvent

WAITING, ERROR, REQUIRES_ACTION, INTERRUPTED = 0, 1, 3, 130
EXIT_CODES = {"waiting": WAITING, "error": ERROR, "requires_action": REQUIRES_ACTION}
PASTE_PAUSE = 0.05


class Quit(Exception):
    """The person wants to leave."""


@dataclass
class Conversation:
    """One chat on one screen; `chat_id` continues one."""

    client: AsyncTurnstone
    screen: Screen
    target: Target
    chat_id: str | None = None
    model_config_id: str | None = None
    as_json: bool = False
    transcript: Transcript = field(default_factory=Transcript)
    _is_busy: bool = False
    _was_stopped: bool = False
    _is_typed: bool = False
    _is_away: bool = False
    _is_new: bool = False
    _own: set[int] = field(default_factory=set)
    _after_id: int | None = None
    _queued: tuple[str, ...] = ()
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def ask(self, text: str) -> int:
        """Send one message and show its turn; how it ended, as an exit code."""
        return await self._leave_with(self._ask(text))

    async def talk(self) -> int:
        """Take lines from the terminal until it ends; a line that is typed into a turn waits in the queue."""
        self._is_typed = True
        return await self._leave_with(self._talk())

    async def _leave_with(self, work: Awaitable[int]) -> int:
        """Run it; the first Ctrl-C of a turn interrupts the turn, the next one leaves."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)

        def on_interrupt() -> None:
            if self._is_busy and self.chat_id is not None and not self._was_stopped:
                self._was_stopped = True
                self._note("interrupting; Ctrl-C again leaves at once")
                self._begin(self._interrupt())
            else:
                task.cancel()

        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for started in self._tasks:
                started.cancel()
            self.screen.end_line()

    async def _ask(self, text: str) -> int:
        await self._send(text)
        async for event in self._events():
            self._take(event)
            if self._is_over:
                return self._code()
        raise AssertionError  # a stream ends by an error only

    async def _talk(self) -> int:
        happened: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        streaming: asyncio.Task[None] | None = None
        with Lines(lambda line: happened.put_nowait(lambda: self._line(line))):
            if self.chat_id is not None:
                await self._catch_up()
            self.screen.prompt()
            while True:
                if streaming is None and self.chat_id is not None:
                    streaming = self._begin(self._pump(happened))
                handle = await happened.get()
                try:
                    await handle()
                except Quit:
                    return WAITING

    async def _line(self, line: str | None) -> None:
        if line is None:
            raise Quit
        if not line.strip():
            if not self._is_busy:
                self.screen.prompt()
            return
        try:
            await self._send(line)
        except TurnstoneError as refused:
            self.screen.note(sentence(refused, self.target), style="red")
            if not self._is_busy:
                self.screen.prompt()

    async def _pump(self, happened: asyncio.Queue[Callable[[], Awaitable[None]]]) -> None:
        async def take(event: StreamEvent) -> None:
            was_over = self._is_over
            self._take(event)
            if self._is_over and not was_over:
                self._was_stopped = False
                self.screen.prompt()

        async def fail(error: TurnstoneError) -> None:
            raise error

        try:
            async for event in self._events():
                happened.put_nowait(lambda event=event: take(event))  # type: ignore[misc]
        except TurnstoneError as failed:
            error = failed
            happened.put_nowait(lambda: fail(error))

    async def _catch_up(self) -> None:
        assert self.chat_id is not None
        async with self.client.chats.messages(self.chat_id, newest_first=True, limit=1) as newest:
            async for message in newest:
                self._after_id = message.id
                break

    async def _send(self, text: str) -> None:
        if self.chat_id is None:
            self.chat_id = (await self.client.chats.create(text, model_config_id=self.model_config_id)).id
            self._is_new = True
            if self.screen.is_terminal:
                self._note(f"chat {self.chat_id}")
        else:
            if self._after_id is None and not self.transcript.stored:
                await self._catch_up()
            sent = await self.client.chats.send(self.chat_id, text, model_config_id=self.model_config_id)
            if sent.message is not None:
                self._own.add(sent.message.id)
        self._is_busy = True
        self._work()

    async def _interrupt(self) -> None:
        assert self.chat_id is not None
        try:
            await self.client.chats.interrupt(self.chat_id)
        except TurnstoneError as failed:
            self._note(sentence(failed, self.target), style="red")

    def _begin(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _events(self) -> Any:
        assert self.chat_id is not None
        return self.client.chats.stream(self.chat_id, after_id=self._after_id, lost=self._lost)

    @property
    def _is_over(self) -> bool:
        return not self._is_busy and self.transcript.is_settled

    def _lost(self) -> None:
        if not self._is_away:
            self._is_away = True
            self._note("connection lost; coming back", style="yellow")

    def _take(self, event: StreamEvent) -> None:
        self._is_away = False
        if self.as_json:
            print(json.dumps(event.raw, ensure_ascii=False), flush=True)
        for shown in self.transcript.tell(event.raw):
            if isinstance(shown, Status):
                self._is_busy = not shown.rests
            if not self.as_json:
                self._show(shown)

    def _show(self, shown: Shown) -> None:
        match shown:
            case Step():
                self.screen.step(shown.blocks, is_stored=shown.is_stored)
                self._work()
            case Asked():
                # What the person just typed is on the screen; a chat that we made begins with that.
                if not self._is_new and shown.message_id not in self._own:
                    self.screen.note(f"› {shown.text}", style="bold")
                self._is_new = False
            case ToolResult():
                mark, style = ("✗", "red") if shown.is_error else ("←", "dim")
                self.screen.note(f"{mark} {shown.name}: {shown.text}", style=style)
                self._work()
            case Queue():
                if shown.texts != self._queued and shown.texts:
                    self.screen.note(f"{len(shown.texts)} waiting: " + " · ".join(text[:40] for text in shown.texts))
                self._queued = shown.texts
            case Notice():
                self.screen.note(shown.text, style="red" if shown.is_error else "yellow")
            case Status():
                if shown.rests:
                    self.screen.rest()
                    self.screen.end_line()
                else:
                    self._work(shown.status)

    def _work(self, status: str = "") -> None:
        if not (self._is_typed or self.as_json):
            self.screen.work({"pending": "waiting for a worker", "interrupting": "stopping"}.get(status, "thinking"))

    def _note(self, text: str, *, style: str = "dim") -> None:
        if not self.as_json:
            self.screen.note(text, style=style)

    def _code(self) -> int:
        code = EXIT_CODES.get(self.transcript.status, ERROR)
        return INTERRUPTED if self._was_stopped and code == WAITING else code


class Lines:
    """The lines a person types, as they come; what is pasted in one go is one message. None is the end."""

    def __init__(self, told: Callable[[str | None], None]) -> None:
        self._told = told
        self._bytes = b""
        self._lines: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        self._loop.add_reader(sys.stdin.fileno(), self._read)

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        read = os.read(sys.stdin.fileno(), 65536)
        *lines, self._bytes = (self._bytes + read).split(b"\n")
        self._lines += [line.decode(errors="replace") for line in lines]
        if not read:
            self._loop.remove_reader(sys.stdin.fileno())
            if self._bytes:
                self._lines.append(self._bytes.decode(errors="replace"))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(PASTE_PAUSE, self._flush, not read)

    def _flush(self, is_end: bool) -> None:
        if self._lines:
            self._told("\n".join(self._lines))
            self._lines.clear()
        if is_end:
            self._told(None)
