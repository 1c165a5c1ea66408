"""Records the desktop while somebody wants it recorded, and hands the film to the API."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from agent import pictures, x11
from agent.desktop import Desktop
from agent.film import Film
from agent.frames import Frame, Refused
from agent.screen import Screen
from agent.x11 import Display

MOST_BYTES = 10 * 2**20  # what the API takes
MOST = 8  # recordings at once
_LONGEST = 2 * 3600.0
_THUMBNAIL = 400  # pixels wide
_LOOK = 0.25

HandOver = Callable[[bytes, str, str], Frame | None]
"""Gives the API a file with its name, for a part of the job; what the API calls it."""

log = logging.getLogger(__name__)


class Recordings:
    """Those that run in this agent; they end with it. The oldest is given up when there are too many."""

    def __init__(self, desktop: Desktop) -> None:
        self._desktop = desktop
        self._running: dict[str, _Recording] = {}

    async def start(self, recording: str) -> Frame:
        """Record from now on."""
        if len(self._running) >= MOST:
            self._running.pop(next(iter(self._running))).stop.set()
        self._running[recording] = await asyncio.to_thread(_Recording, self._desktop.at_present)
        return {"recording": recording}

    async def stop(self, recording: str) -> "_Recording":
        """The recording, which is over. Refused when there is none of that name."""
        found = self._running.pop(recording, None)
        if found is None:
            raise Refused(
                "not_found", "there is no such recording: it was never begun, is over, or ended with its agent"
            )
        await asyncio.to_thread(found.finish)
        return found

    def close(self) -> None:
        """End them all."""
        for each in self._running.values():
            each.stop.set()


class _Recording:
    """A film in the making, with a connection of its own to the desktop."""

    def __init__(self, present: Callable[[], Screen | None]) -> None:
        self.film = Film(MOST_BYTES)
        self.stop = threading.Event()
        self._present = present
        self._began = time.monotonic()
        self._ended = self._began
        self._screen: Screen | None = None
        self._display: Display | None = None
        self._take()
        self._thread = threading.Thread(target=self._run, daemon=True, name="recording")
        self._thread.start()

    def finish(self) -> None:
        """Take the last frame."""
        self.stop.set()
        self._thread.join()

    def told(self, hand_over: HandOver, name: str) -> Frame:
        """Hand the film over, and a small picture of its end; what the outcome says of them."""
        seconds = self._ended - self._began
        said: Frame = {
            "file": None,
            "thumbnail": None,
            "frames": self.film.frames,
            "duration_ms": round(seconds * 1000),
        }
        if self.film.last is not None:
            said["file"] = hand_over(self.film.developed(seconds), f"{name}.png", "")
            small = pictures.png(pictures.reduced(self.film.last, _THUMBNAIL), MOST_BYTES)
            said["thumbnail"] = hand_over(small, f"{name}-thumbnail.png", "thumbnail")
        return said

    def _run(self) -> None:
        while not self.stop.wait(self.film.pause if self._display is not None else _LOOK):
            if time.monotonic() - self._began > _LONGEST:
                break
            self._take()
        self._take(last=True)
        self._ended = time.monotonic()
        self._leave(None)

    def _take(self, *, last: bool = False) -> None:
        """A frame, if the desktop is there and as large as it was."""
        try:
            display = self._opened()
            if display is not None:
                self.film.add(display.picture(), time.monotonic() - self._began, last=last)
        except (x11.Dead, OSError, ValueError) as error:
            log.info("nothing to record: %s", error)
            self._leave(None)

    def _opened(self) -> Display | None:
        screen, filmed = self._present(), self.film.last
        if screen is not self._screen:
            self._leave(screen)
            if screen is not None and (filmed is None or screen.geometry == (filmed.width, filmed.height)):
                self._display = screen.look()
        return self._display

    def _leave(self, screen: Screen | None) -> None:
        if self._display is not None:
            self._display.close()
        self._screen, self._display = screen, None
