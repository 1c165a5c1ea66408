"""Shows the desktop to people: RFB of a server of their own, brought to the API over a WebSocket of its own."""

import asyncio
import logging
import random
import socket
import subprocess
from contextlib import suppress
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from agent import census
from agent.connection import address
from agent.desktop import Desktop
from agent.frames import Frame, Refused
from agent.screen import INSTALL, Screen, Where

MOST = 8
_PATH = "/api/v2/workspaceagents/me/desktop/"
_PATIENCE = 20.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
_PIECE = 2**16
# One client, at its standard input, without a port; the keyboard's own repetition is left as it is.
_WORDS = ("-inetd", "-quiet", "-nopw", "-norc", "-nolookup", "-noremote", "-repeat", "-desktop", "workspace")

log = logging.getLogger(__name__)


class Viewers:
    """Those who watch. Each has a server that ends with them, so that a slow one holds up nobody else."""

    def __init__(self, desktop: Desktop, where: Where, url: str, token: str) -> None:
        self._desktop = desktop
        self._where = where
        self._url = url
        self._token = token
        self._watching: set[asyncio.Task[None]] = set()

    async def view(self, session: str, canceled: asyncio.Event) -> Frame:
        """Bring the desktop to whoever waits for it under that name."""
        program = self._where.program("x11vnc")
        if program is None:
            raise Refused("unsupported", f"The desktop cannot be shown: x11vnc is not installed. Install it: {INSTALL}")
        if len(self._watching) >= MOST:
            raise Refused("conflict", f"{MOST} people watch the desktop already.")
        screen = await self._desktop.at_hand()
        link = await self._dialled(session, canceled)
        task = asyncio.create_task(self._show(program, screen, link))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return {"viewing": True}

    async def close(self) -> None:
        """Show nobody anything any more."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _dialled(self, session: str, canceled: asyncio.Event) -> ClientConnection:
        """The connection to the API process where the viewer is: others answer 404, and we knock again."""
        url = address(self._url, _PATH + quote(session, safe=""))
        pause = _FIRST_PAUSE
        end = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                return await connect(
                    url,
                    additional_headers={"Coder-Session-Token": self._token},
                    max_size=None,
                    ping_interval=20,
                    ping_timeout=60,
                    close_timeout=1,
                    open_timeout=10,
                    compression=None,
                    proxy=None,
                )
            except InvalidStatus as refused:
                if refused.response.status_code != 404:
                    raise Refused("denied", f"the API answers {refused.response.status_code}") from refused
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake) as error:
                log.info("the desktop cannot be brought: %s", error or type(error).__name__)
            if canceled.is_set() or asyncio.get_running_loop().time() > end:
                raise Refused("not_found", "nobody waits for the desktop (any more)")
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 1.2, _LONGEST_PAUSE)

    async def _show(self, program: str, screen: Screen, link: ClientConnection) -> None:
        try:
            server, ours = await asyncio.to_thread(self._serve, program, screen)
        except OSError:
            log.exception("the desktop cannot be shown")
            await link.close()
            return
        try:
            await _relay(ours, link)
        finally:
            with suppress(WebSocketException, OSError):
                await link.close()
            await asyncio.to_thread(_ended, server)
            if len(self._watching) == 1:
                await self._desktop.forsaken()

    def _serve(self, program: str, screen: Screen) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        """A server, and the client's end of the line to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                server = subprocess.Popen(
                    [program, *_WORDS],
                    env={**self._where.environment, **screen.environment, census.MARK: self._where.mark},
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        return server, ours


async def _relay(ours: socket.socket, link: ClientConnection) -> None:
    """Pass bytes on, both ways, as fast as the slower side takes them; until either ends."""
    reader, writer = await asyncio.open_connection(sock=ours)

    async def show() -> None:
        while piece := await reader.read(_PIECE):
            await link.send(piece)

    async def hear() -> None:
        async for message in link:
            writer.write(message if isinstance(message, bytes) else message.encode())
            await writer.drain()

    both = [asyncio.create_task(show()), asyncio.create_task(hear())]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        writer.close()


def _ended(server: "subprocess.Popen[bytes]") -> None:
    """It ends when nobody is there; one that does not is killed."""
    try:
        server.wait(3)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
