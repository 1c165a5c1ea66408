"""One life of a virtual display: Xvfb, a window manager where there is one, and who may enter."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from agent import census, x11
from agent.frames import Refused
from agent.hands import Hands, Stuck
from agent.ledger import write_whole
from agent.x11 import Display

INSTALL = "apt-get install xvfb openbox x11vnc"
_START_SECONDS = 20.0
_SETTLE_SECONDS = 5.0
_MANAGERS = 5  # that are started for a display, should each end
# One desktop, no menus, and of keys only what every desktop knows: nothing takes a model's clicks and keys away.
_MANNERS = """\
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew></focus>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <keyboard>
    <keybind key="A-F4"><action name="Close"/></keybind>
    <keybind key="A-Tab"><action name="NextWindow"/></keybind>
  </keyboard>
  <mouse>
    <context name="Titlebar">
      <mousebind button="Left" action="Drag"><action name="Move"/></mousebind>
      <mousebind button="Left" action="DoubleClick"><action name="ToggleMaximize"/></mousebind>
    </context>
    <context name="Titlebar Frame Client">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
    <context name="Client">
      <mousebind button="Middle" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
      <mousebind button="Right" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
    <context name="Top Bottom Left Right TLCorner TRCorner BLCorner BRCorner">
      <mousebind button="Left" action="Drag"><action name="Resize"/></mousebind>
    </context>
    <context name="Close"><mousebind button="Left" action="Click"><action name="Close"/></mousebind></context>
    <context name="Iconify"><mousebind button="Left" action="Click"><action name="Iconify"/></mousebind></context>
    <context name="Maximize">
      <mousebind button="Left" action="Click"><action name="ToggleMaximize"/></mousebind>
    </context>
  </mouse>
</openbox_config>
"""


@dataclass(frozen=True)
class Where:
    """Where displays of an agent keep their files, what their programs find in their environment, and their mark."""

    folder: Path
    environment: Mapping[str, str]
    mark: str

    @property
    def authority(self) -> Path:
        """The file that lets programs in."""
        return self.folder / "authority"

    def clear(self) -> None:
        """End whatever runs under the mark."""
        census.wipe(self.mark, None)

    def program(self, name: str) -> str | None:
        """Where a program is, if it is installed."""
        return shutil.which(name, path=self.environment.get("PATH"))

    def begin(self, words: list[str], environment: Mapping[str, str], *passed: int) -> "subprocess.Popen[bytes]":
        """Start a program that outlives us."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                words,
                env={**self.environment, **environment, census.MARK: self.mark},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=passed,
            )


class Screen:
    """A display that runs, our connection to it, and our hands on it."""

    def __init__(self, where: Where, number: int, pid: int, geometry: tuple[int, int]) -> None:
        self.number, self.pid, self.geometry = number, pid, geometry
        self._where = where
        self._server: subprocess.Popen[bytes] | None = None
        self._manager: subprocess.Popen[bytes] | None = None
        self._managers = 0
        self.display = self.look()
        self.hands = Hands(self.display)

    @property
    def environment(self) -> dict[str, str]:
        """What programs need to find to show themselves here."""
        return {"DISPLAY": f":{self.number}", "XAUTHORITY": str(self._where.authority)}

    def look(self) -> Display:
        """Another connection. Raises x11.Dead."""
        return Display(self.number, self._where.authority.read_bytes()[-16:])

    def alive(self) -> bool:
        """Whether its server runs."""
        with suppress(OSError):
            mark = f"{census.MARK}={self._where.mark}".encode()
            return mark in Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        return False

    def manage(self) -> None:
        """Start a window manager if there is one to start, and ours does not run."""
        if self._managers == _MANAGERS or (self._manager is not None and self._manager.poll() is None):
            return
        program = self._where.program("openbox")
        if program is None:
            return
        manners = self._where.folder / "openbox.xml"
        write_whole(manners, _MANNERS.encode())
        words = [program, "--replace", "--sm-disable", "--config-file", str(manners)]
        self._managers += 1
        self._manager = self._where.begin(words, self.environment)

    def settle(self) -> None:
        """Wait a while for its window manager: a window that is faster has to wait longer."""
        end = time.monotonic() + _SETTLE_SECONDS
        while self._manager is not None and self._manager.poll() is None and time.monotonic() < end:
            if self.display.managed():
                break
            time.sleep(0.02)

    def end(self) -> None:
        """End it and all that belongs to it."""
        self.display.close()
        self._where.clear()
        for process in (self._server, self._manager):
            if process is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)

    def bear(self, server: "subprocess.Popen[bytes]") -> None:
        """Its server is our child."""
        self._server = server


def start(where: Where, geometry: tuple[int, int]) -> Screen:
    """Start a display. Refused where there is nothing to start, or it does not come up."""
    server = where.program("Xvfb")
    if server is None:
        raise Refused("unsupported", f"The workspace has no desktop: Xvfb is not installed. Install it: {INSTALL}")
    where.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    where.clear()
    write_whole(where.authority, x11.authority(token_bytes(16)))
    where.authority.chmod(0o600)
    reading, writing = os.pipe()
    size = "{}x{}x24".format(*geometry)
    words = [server, "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp", "-noreset", "-s", "0"]
    try:
        process = where.begin([*words, "-auth", str(where.authority)], {}, writing)
    finally:
        os.close(writing)
    try:
        number = _told(reading)
        write_whole(where.folder / "screen", json.dumps([number, process.pid, geometry]).encode())
        screen = Screen(where, number, process.pid, geometry)
    except (OSError, ValueError) as error:
        where.clear()
        process.wait(5)
        said = (where.folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
        raise Refused("internal", f"The desktop did not start: {error}. {' '.join(said)}".strip()) from error
    screen.bear(process)
    screen.manage()
    screen.settle()
    return screen


def found(where: Where) -> Screen | None:
    """The display of an earlier agent, with nothing pressed; None when there is none any more, nor a remnant of it."""
    screen: Screen | None = None
    try:
        number, pid, (width, height) = json.loads((where.folder / "screen").read_bytes())
        screen = Screen(where, number, pid, (width, height))
        if screen.alive():
            screen.hands.let_go_of_all()
            screen.manage()
            return screen
        screen.display.close()
    except (OSError, ValueError, TypeError, Stuck):
        pass
    where.clear()
    return None


def _told(reading: int) -> int:
    """The number of the display, once its server can be reached."""
    said = b""
    try:
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([reading], [], [], _START_SECONDS)
            piece = os.read(reading, 64) if ready else b""
            if not piece:
                raise OSError("Xvfb ended" if ready else "Xvfb did not come up in time")
            said += piece
    finally:
        os.close(reading)
    return int(said)
