"""The desktop of a workspace: started on first use, kept alive, used by one job at a time, and never left holding."""

import asyncio
import base64
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from agent import hands, pictures, screen, x11
from agent.frames import Frame, Refused
from agent.screen import Screen, Where

PNG_BYTES = 3 * 2**20  # at most; with what is around it it fits in a frame
_GEOMETRIES = (range(320, 2561), range(200, 1601))
_USUAL = (1600, 900)
_HELD_SECONDS = 60.0  # that something may stay pressed between two jobs
_LOOK_SECONDS = 1.0
_DIED = (
    "The desktop has died and was started anew: nothing is open on it any more, and what was being done may have been "
    "done in part. Look before you go on."
)

log = logging.getLogger(__name__)


class Desktop:
    """The one desktop of an agent. `show` is told what commands need in their environment to open windows on it."""

    def __init__(self, where: Where, show: Callable[[Mapping[str, str]], None]) -> None:
        self._where = where
        self._show = show
        self._screen: Screen | None = None
        self._lock = asyncio.Lock()
        self._news = ""
        self._stops: set[threading.Event] = set()
        self._closing = False
        self._relaxing: asyncio.Task[None] | None = None

    async def find(self) -> None:
        """Take up the desktop of an earlier agent, whose hands are no more: what it held is let go."""
        if not (self._where.folder / "screen").exists():
            return
        async with self._lock:
            try:
                self._screen = await asyncio.to_thread(screen.found, self._where)
            except Exception:  # commands and files can do without it
                log.exception("the desktop of an earlier agent")
            if self._screen is None:
                self._news = _DIED
            else:
                self._tell(self._screen)

    async def watch(self) -> None:
        """For ever: start it again when it has died."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._screen is not None and not self._lock.locked():
                async with self._lock:
                    await asyncio.to_thread(self._mend)

    async def use(self, request: Frame, canceled: asyncio.Event) -> Frame:
        """Do what a job asks; its outcome is told when nothing is pressed that was not asked to stay so."""
        steps, wanted = hands.checked(request)
        geometry = _geometry(request)
        async with self._lock:
            if self._relaxing is not None:
                self._relaxing.cancel()
            stop = threading.Event()
            self._stops.add(stop)
            if self._closing:
                stop.set()
            calling_off = asyncio.create_task(_when(canceled, stop))
            try:
                return await asyncio.to_thread(self._use, geometry, steps, wanted, stop)
            finally:
                calling_off.cancel()
                self._stops.discard(stop)
                if self._screen is not None and self._screen.hands.holding:
                    self._relaxing = asyncio.create_task(self._relax())

    async def at_hand(self) -> Screen:
        """The desktop as it runs, started if it does not."""
        async with self._lock:
            await asyncio.to_thread(self._mend)
            return await asyncio.to_thread(self._anew, _USUAL) if self._screen is None else self._screen

    def at_present(self) -> Screen | None:
        """The desktop if it runs."""
        return self._screen

    async def forsaken(self) -> None:
        """Nobody who watched it is there any more: what they held is let go."""
        async with self._lock:
            if self._screen is not None:
                await asyncio.to_thread(self._free, self._screen.hands.let_go_of_others)

    async def close(self) -> None:
        """Let go of everything; the desktop itself goes on, as commands do."""
        self._closing = True
        for stop in self._stops:
            stop.set()
        async with self._lock:
            if self._relaxing is not None:
                self._relaxing.cancel()
            if self._screen is not None:
                await asyncio.to_thread(self._free, self._screen.hands.let_go)

    def _use(self, geometry: tuple[int, int], steps: list[Frame], wanted: bool, stop: threading.Event) -> Frame:
        used = self._ready(geometry)
        done, why, self._news = 0, self._news or None, ""
        try:
            if why is None:
                done, why = used.hands.perform(steps, stop)
            return _outcome(used, done, why, wanted)
        except (x11.Dead, hands.Stuck):
            log.exception("the desktop is started anew")
            return _outcome(self._anew(used.geometry), 0 if why else used.hands.done, _DIED, wanted)

    def _ready(self, geometry: tuple[int, int]) -> Screen:
        """The desktop in this geometry. One with nothing open is started anew for it."""
        self._mend()
        if self._screen is None:
            return self._anew(geometry)
        if self._screen.geometry == geometry:
            return self._screen
        width, height = self._screen.geometry
        try:
            if self._screen.display.windows():
                raise Refused(
                    "conflict",
                    f"The workspace's desktop is {width}x{height} and in use; it cannot be {geometry[0]}x{geometry[1]} "
                    "until all its windows are closed.",
                )
        except (x11.Dead, ValueError):
            log.exception("the desktop is started anew")
        return self._anew(geometry)

    def _mend(self) -> None:
        if self._screen is None:
            return
        if self._screen.alive():
            self._screen.manage()
            return
        geometry = self._screen.geometry
        log.warning("the desktop has died; it is started again")
        self._news = _DIED
        self._anew(geometry)

    def _anew(self, geometry: tuple[int, int]) -> Screen:
        if self._screen is not None:
            self._screen.end()
            self._screen = None
        self._screen = screen.start(self._where, geometry)
        self._tell(self._screen)
        return self._screen

    def _tell(self, running: Screen) -> None:
        self._show(running.environment)

    async def _relax(self) -> None:
        """Nobody goes on with what stays pressed."""
        await asyncio.sleep(_HELD_SECONDS)
        async with self._lock:
            if self._screen is not None:
                await asyncio.to_thread(self._free, self._screen.hands.let_go)

    def _free(self, let_go: Callable[[], None]) -> None:
        try:
            let_go()
        except (x11.Dead, hands.Stuck):
            self._news = _DIED
            if self._screen is not None:
                self._screen.end()
                self._screen = None


def _outcome(used: Screen, done: int, why: str | None, wanted: bool) -> Frame:
    shown: Frame | None = None
    if wanted:
        picture = used.display.picture()
        png = base64.b64encode(pictures.png(picture, PNG_BYTES)).decode()
        shown = {"width": picture.width, "height": picture.height, "png": png}
    at = used.display.pointer()
    error = None if why is None else {"step": done, "message": why}
    return {"done": done, "error": error, "cursor": [at.x, at.y], "screenshot": shown}


def _geometry(request: Frame) -> tuple[int, int]:
    asked = request.get("geometry")
    if isinstance(asked, list) and len(asked) == 2:
        with suppress(TypeError):
            width, height = asked
            if width in _GEOMETRIES[0] and height in _GEOMETRIES[1]:
                return int(width), int(height)
    raise Refused("invalid", "geometry must be [width, height], from 320x200 to 2560x1600")


async def _when(canceled: asyncio.Event, stop: threading.Event) -> None:
    await canceled.wait()
    stop.set()
