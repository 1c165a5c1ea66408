"""The WebSocket to the API: opened from here, opened again whenever it breaks, and nothing owed is forgotten."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from agent.frames import Frame

log = logging.getLogger(__name__)

PATH = "/api/v2/workspaceagents/me/connect"
PING_SECONDS = 5.0
SILENCE_SECONDS = 15.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
_FRAME_BYTES = 64 * 2**20
_HINTS = 1000


class Rejected(Exception):
    """The API knows the token no more: another build has taken this one's place."""


class Receiver(Protocol):
    """Who is told what the API says."""

    def welcomed(self, frame: Frame) -> None:
        """The API knows who we are; called on every connection."""

    def heard(self, frame: Frame) -> None:
        """Any other frame."""


class Connection:
    """What is to be told to the API, and the loop that keeps telling it.

    Results are owed: each is sent on every connection until the API says `stored`. All else is a hint, dropped when
    nobody listens.
    """

    def __init__(self, url: str, token: str, hello: Callable[[], Frame]) -> None:
        self.url = address(url)
        self._token = token
        self._hello = hello
        self._owed: dict[str, Frame] = {}
        self._queue: asyncio.Queue[str] | None = None

    def owe(self, job: str, outcome: Frame) -> None:
        """Tell the outcome of a job, until it is stored."""
        frame: Frame = {"type": "result", "job": job, **outcome}
        self._owed[job] = frame
        if self._queue is not None:
            self._queue.put_nowait(_encoded(frame))

    def owed(self, job: str) -> bool:
        """Whether an outcome is known here that the API has not stored; it is told once more."""
        frame = self._owed.get(job)
        if frame is not None and self._queue is not None:
            self._queue.put_nowait(_encoded(frame))
        return frame is not None

    def stored(self, job: str) -> None:
        """The API has the outcome."""
        self._owed.pop(job, None)

    def hint(self, frame: Frame) -> bool:
        """Tell something if somebody listens and is not behind; whether it will be sent."""
        if self._queue is None or self._queue.qsize() > _HINTS:
            return False
        self._queue.put_nowait(_encoded(frame))
        return True

    def listening(self) -> bool:
        """Whether the API is there."""
        return self._queue is not None

    async def run(self, receiver: Receiver) -> None:
        """Stay connected for ever. Raises Rejected when the API does not want us."""
        pause = FIRST_PAUSE
        while True:
            try:
                welcomed = await self._once(receiver)
            except InvalidStatus as error:
                if error.response.status_code == 401:
                    raise Rejected from error
                welcomed = False
                log.warning("the API answers %d", error.response.status_code)
            except InvalidURI:
                raise
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake) as error:
                welcomed = False
                log.info("no connection: %s", error or type(error).__name__)
            pause = FIRST_PAUSE if welcomed else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def drain(self, seconds: float) -> None:
        """Give what is queued some time to be sent."""
        if self._queue is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._queue.join()

    async def _once(self, receiver: Receiver) -> bool:
        """One connection, until it ends; whether it ever came to a welcome."""
        headers = {"Coder-Session-Token": self._token}
        async with connect(
            self.url,
            additional_headers=headers,
            max_size=_FRAME_BYTES,
            ping_interval=None,
            close_timeout=1,
            open_timeout=10,
            compression=None,
            proxy=None,
        ) as socket:
            await socket.send(_encoded(self._hello()))
            sending: asyncio.Task[None] | None = None
            try:
                while True:
                    # The API answers every ping, so silence means that nobody is there. Not wait_for: until Python 3.12
                    # it loses a cancellation that comes with what it waits for, and the agent would never end.
                    async with asyncio.timeout(SILENCE_SECONDS):
                        frame = _decoded(await socket.recv())
                    kind = frame.get("type")
                    if kind == "welcome" and sending is None:
                        self._queue = asyncio.Queue()
                        for owed in self._owed.values():
                            self._queue.put_nowait(_encoded(owed))
                        sending = asyncio.create_task(self._send(socket, self._queue))
                        log.info("connected to %s", self.url)
                        receiver.welcomed(frame)
                    elif kind == "close":
                        log.info("the API closes the connection: %s", frame.get("reason"))
                        return sending is not None
                    elif kind != "pong":
                        receiver.heard(frame)
            except (OSError, TimeoutError, WebSocketException) as error:
                log.info("the connection is lost: %s", error or type(error).__name__)
                return sending is not None
            finally:
                self._queue = None
                if sending is not None:
                    sending.cancel()
                    with suppress(asyncio.CancelledError, WebSocketException, OSError):
                        await sending

    @staticmethod
    async def _send(socket: ClientConnection, queue: "asyncio.Queue[str]") -> None:
        ping = _encoded({"type": "ping"})
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    text = await queue.get()
            except TimeoutError:
                text = ping
            await socket.send(text)
            if text is not ping:
                queue.task_done()


def address(url: str, path: str = PATH) -> str:
    """Where a WebSocket of an API is. Raises ValueError when it is no address."""
    place = urlsplit(url)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if place.scheme not in schemes or not place.netloc:
        raise ValueError(f"{url!r} is no http(s) address")
    return urlunsplit((schemes[place.scheme], place.netloc, place.path.rstrip("/") + path, "", ""))


def _encoded(frame: Frame) -> str:
    return json.dumps(frame)


def _decoded(said: str | bytes) -> Frame:
    try:
        frame = json.loads(said)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}
