"""The desktop of a workspace: what is done on it is what was asked for, and nothing stays pressed that was not to."""

import base64
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import census
from agent.processes import mark_of
from tests.agent.conftest import Resident
from tests.displays import needs_display

SIZE = [1000, 700]
CTRL, SHIFT, ALT, SUPER, T, ENTER, F5, PLUS = 37, 50, 64, 133, 28, 36, 71, 21
pytestmark = needs_display("xterm")


class Screen:
    """The desktop of an agent, and what other programs say of it."""

    def __init__(self, resident: Resident) -> None:
        self.resident = resident
        self.outside = resident.outside

    def ask(self, *steps: dict[str, Any], size: list[int] = SIZE, picture: bool = False) -> dict[str, Any]:
        return {"geometry": size, "steps": list(steps), "screenshot": picture}

    def do(self, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.outside.call("desktop", self.ask(*steps, **more), 60)

    @property
    def where(self) -> tuple[int, int]:
        """The number of the display, and the process of its server."""
        number, pid, _ = json.loads((self.resident.state / "desktop" / "screen").read_bytes())
        return number, pid

    @property
    def environment(self) -> dict[str, str]:
        authority = self.resident.state / "desktop" / "authority"
        return {"PATH": os.environ["PATH"], "DISPLAY": f":{self.where[0]}", "XAUTHORITY": str(authority)}

    def run(self, *words: str) -> str:
        return subprocess.run(words, env=self.environment, capture_output=True, check=True, timeout=60).stdout.decode()

    def pressed(self) -> list[str]:
        """Keys and buttons that are down, by what X11 says to somebody else."""
        devices = [f"Virtual core XTEST {kind}" for kind in ("pointer", "keyboard")]
        said = [self.run("xinput", "query-state", device) for device in devices]
        return sorted({line.strip() for each in said for line in each.splitlines() if line.endswith("=down")})

    def until(self, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture(scope="module")
def screen(agent: Resident) -> Screen:
    made = Screen(agent)
    made.do()
    return made


@pytest.fixture
def own(fresh: Callable[..., Resident]) -> Screen:
    """One to be broken."""
    resident = fresh()
    resident.start()
    made = Screen(resident)
    made.do()
    return made


@pytest.fixture(scope="module")
def events(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], list[str]]]:
    """What X11 has told another program of keys and buttons since it was last asked, in order: `+key`, `-key`."""
    path = tmp_path_factory.mktemp("events") / "log"
    with path.open("wb") as file:
        told = subprocess.Popen(["stdbuf", "-oL", "xinput", "test-xi2", "--root"], env=screen.environment, stdout=file)
    screen.until(lambda: screen.do({"do": "click", "button": "middle"}) and "RawButtonRelease" in path.read_text())
    kinds = {"(RawKeyPress)": "+", "(RawKeyRelease)": "-", "(RawButtonPress)": "+b", "(RawButtonRelease)": "-b"}
    seen = 0

    def since() -> list[str]:
        nonlocal seen
        mark = {"do": "keys", "chord": ["pause"]}
        screen.do(mark)
        whole: list[str] = []

        def complete() -> bool:
            nonlocal whole
            words = [line.split() for line in path.read_text().splitlines() if "EVENT" in line or "detail:" in line]
            pairs = pairwise(words)
            whole = [
                kinds[first[3]] + second[1]
                for first, second in pairs
                if first[0] == "EVENT" and first[3] in kinds and second[0] == "detail:"
            ]
            return whole[seen:][-2:] == ["+127", "-127"]

        screen.until(complete)
        new, seen = whole[seen:-2], len(whole)
        return new

    since()
    yield since
    told.kill()
    told.wait()


def around(keys: list[int], what: list[str]) -> list[str]:
    return [*(f"+{key}" for key in keys), *what, *(f"-{key}" for key in reversed(keys))]


def tap(*keys: int) -> list[str]:
    return around([*keys], [])


CLICKS = ["+b1", "-b1"]


@pytest.mark.parametrize(
    ("step", "told", "at"),
    [
        ({"do": "move", "x": 11, "y": 12}, [], [11, 12]),
        ({"do": "click", "x": 20, "y": 30}, CLICKS, [20, 30]),
        ({"do": "click", "button": "right", "count": 2}, ["+b3", "-b3"] * 2, None),
        ({"do": "click", "count": 3, "hold": ["ctrl", "shift"]}, around([CTRL, SHIFT], CLICKS * 3), None),
        ({"do": "click", "button": "back"}, ["+b8", "-b8"], None),
        ({"do": "click", "button": "forward"}, ["+b9", "-b9"], None),
        ({"do": "drag", "path": [[100, 100], [140, 90], [60, 300]], "hold": ["alt"]}, around([ALT], CLICKS), [60, 300]),
        ({"do": "scroll", "x": 5, "y": 6, "dx": -1, "dy": 2}, ["+b5", "-b5"] * 2 + ["+b6", "-b6"], [5, 6]),
        ({"do": "scroll", "dx": 1, "dy": -1, "hold": ["ctrl"]}, around([CTRL], ["+b4", "-b4", "+b7", "-b7"]), None),
        ({"do": "keys", "chord": ["ctrl", "shift", "t"]}, tap(CTRL, SHIFT, T), None),
        ({"do": "keys", "chord": ["ctrl", "plus"]}, tap(CTRL, SHIFT, PLUS), None),
        ({"do": "keys", "chord": ["Super", "f5"]}, tap(SUPER, F5), None),
        ({"do": "hold", "chord": ["enter"], "ms": 10}, tap(ENTER), None),
        ({"do": "type", "text": "T\n"}, [*tap(SHIFT, T), *tap(ENTER)], None),
        ({"do": "wait", "ms": 1}, [], None),
        ({"do": "cursor"}, [], None),
    ],
)  # fmt: skip
def test_a_step_is_what_x11_sees(
    screen: Screen, events: Callable[[], list[str]], step: dict[str, Any], told: list[str], at: list[int] | None
) -> None:
    outcome = screen.do(step)
    assert outcome == {"done": 1, "error": None, "cursor": at or outcome["cursor"], "screenshot": None}
    x, y = outcome["cursor"]
    assert screen.run("xdotool", "getmouselocation").startswith(f"x:{x} y:{y} ")
    assert events() == told
    assert screen.pressed() == []


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"do": "keys", "chord": ["ctrl", "alt", "nosuch"]}], "There is no key 'nosuch'."),
        ([{"do": "press"}, {"do": "fly"}], "There is no step 'fly'; there are move, click"),
        ([{"do": "press", "button": "back"}, {"do": "click", "button": "none"}], "There is no button 'none'"),
        ([{"do": "press"}, {"do": "drag", "path": [[1, 1], [5000, 1]]}], "The point 5000, 1 is not on the screen"),
        ([{"do": "drag", "path": [[1, 1]]}], "A drag needs a path of at least two points."),
        ([{"do": "hold", "chord": ["shift"], "ms": 60_001}], "The waits of one call are at most 60000 ms together."),
        ([{"do": "click", "hold": ["a", ""]}], "hold must be a list of names of keys."),
        ([{"do": "click", "count": 4}], "count must be 1, 2 or 3."),
        ([{"do": "press"}, {"do": "type", "text": "a\x07"}], "No key types the character '\\x07'."),
        ([{"do": "press"}, {"do": "type", "text": "a" * 10_001}], "One step types at most 10000 characters."),
        ([{"do": "scroll", "dy": 201}], "One step scrolls at most 200 clicks."),
        ([{"do": "move", "x": 1}], "y must be a whole number."),
    ],
)
def test_a_step_that_fails_ends_the_job_and_leaves_nothing_pressed(
    screen: Screen, steps: list[dict[str, Any]], message: str
) -> None:
    outcome = screen.do(*steps, {"do": "move", "x": 77, "y": 77})
    assert outcome["error"]["message"].startswith(message)
    assert outcome["done"] == outcome["error"]["step"] == len(steps) - 1
    assert screen.pressed() == []
    assert outcome["cursor"] != [77, 77]


POINTS = st.tuples(st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1)).map(list)
BUTTONS = st.sampled_from(["left", "middle", "right", "back", "forward"])
NAMES = st.lists(st.sampled_from(["ctrl", "shift", "alt", "a", "é", "漢", "f24"]), min_size=1, max_size=3, unique=True)
STEPS = st.one_of(
    st.builds(lambda button: {"do": "press", "button": button}, BUTTONS),
    st.builds(lambda button, hold: {"do": "click", "button": button, "hold": hold}, BUTTONS, NAMES),
    st.builds(lambda path: {"do": "drag", "path": path}, st.lists(POINTS, min_size=2, max_size=3)),
    st.builds(lambda chord: {"do": "keys", "chord": chord}, NAMES),
)
WRONG = st.sampled_from(
    [
        {"do": "click", "hold": ["shift", "nosuch"]},
        {"do": "drag", "path": [[1, 1], [2, 2], [-3, 3]]},
        {"do": "hold", "chord": ["ctrl", "a", "Ü"], "ms": 60_001},
        {"do": "press", "button": "sixth"},
    ]
)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, max_size=4), WRONG)
def test_whatever_was_done_before_a_step_that_fails_nothing_is_pressed_after_it(
    screen: Screen, steps: list[dict[str, Any]], wrong: dict[str, Any]
) -> None:
    outcome = screen.do(*steps, wrong)
    assert (outcome["done"], outcome["error"]["step"]) == (len(steps), len(steps))
    assert screen.pressed() == []


def test_what_is_pressed_stays_so_until_it_is_released(screen: Screen) -> None:
    assert screen.do({"do": "press", "x": 3, "y": 3})["error"] is None
    assert screen.pressed() == ["button[1]=down"]
    screen.do({"do": "move", "x": 30, "y": 30}, {"do": "release"})
    assert screen.pressed() == []


@pytest.mark.parametrize(
    "request_",
    [{}, {"geometry": [1000]}, {"geometry": [10, 10]}, {"geometry": ["a", 9]}, {"geometry": SIZE, "steps": [1]}],
)
def test_what_is_no_request_is_refused(screen: Screen, request_: dict[str, Any]) -> None:
    assert screen.outside.error("desktop", request_)["kind"] == "invalid"


def test_any_text_arrives_in_a_window_that_a_command_has_opened(screen: Screen) -> None:
    words = 'Hé, "Wörld"! ~^`\'\\ € 漢字 ёжик Ω½ 😀 {[]}|<>\tend'
    typed = screen.resident.directory / "typed"
    screen.outside.exec("xterm -u8 -geometry 80x20+50+50 -e 'cat > typed' &")
    screen.until(typed.exists)
    screen.do({"do": "click", "x": 200, "y": 200}, {"do": "type", "text": words + "\n"})
    screen.until(lambda: typed.read_text() == words + "\n")
    assert screen.outside.error("desktop", screen.ask(size=[800, 600]))["kind"] == "conflict"
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert screen.do({"do": "type", "text": many})["error"] is None  # more than there are keys
    screen.do({"do": "keys", "chord": ["enter"]}, {"do": "keys", "chord": ["ctrl", "d"]})


def decoded(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the colours of a picture, as plainly as PNG allows."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (depth, colour) == (8, 2)
    at = png.index(b"IDAT")
    raw = zlib.decompress(png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at], "big")])
    lines = [raw[y * (3 * width + 1) : (y + 1) * (3 * width + 1)] for y in range(height)]
    assert all(line[0] == 0 for line in lines)
    return width, height, b"".join(line[1:] for line in lines)


@pytest.mark.skipif(shutil.which("import") is None, reason="imagemagick missing")
def test_a_picture_is_what_others_see_with_the_pointer_on_it(screen: Screen) -> None:
    screen.outside.exec("xterm -bg '#ff8000' -geometry 20x5+10+10 &")
    command = ["import", "-window", "root", "-depth", "8", "rgb:-"]

    def agreed() -> bool:
        outcome = screen.do({"do": "move", "x": 900, "y": 600}, picture=True)
        width, height, ours = decoded(base64.b64decode(outcome["screenshot"]["png"]))
        assert [width, height] == [outcome["screenshot"]["width"], outcome["screenshot"]["height"]] == SIZE
        theirs = subprocess.run(command, env=screen.environment, capture_output=True, check=True, timeout=60).stdout
        places = {place // 3 for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b}
        near = all(870 <= place % width < 940 and 570 <= place // width < 640 for place in places)
        return bool(places) and near and b"\xff\x80\0" * 50 in ours  # theirs has no pointer

    screen.until(agreed)
    screen.outside.exec("xdotool search --class xterm windowkill")


def test_who_has_no_cookie_is_not_let_in(screen: Screen) -> None:
    without = {"PATH": os.environ["PATH"], "DISPLAY": f":{screen.where[0]}", "XAUTHORITY": "/dev/null"}
    assert subprocess.run(["xdotool", "getmouselocation"], env=without, capture_output=True).returncode != 0


def test_a_read_only_command_is_not_shown_the_desktop(screen: Screen) -> None:
    screen.do()
    asked = 'echo "$DISPLAY$XAUTHORITY"'
    assert screen.outside.exec(asked)["output"].strip()
    assert not screen.outside.exec(asked, read_only=True)["output"].strip()


def test_a_job_that_nobody_waits_for_lets_go(screen: Screen) -> None:
    job = screen.outside.post("desktop", screen.ask({"do": "press"}, {"do": "hold", "chord": ["ctrl"], "ms": 60_000}))
    screen.until(lambda: len(screen.pressed()) == 2)
    screen.outside.say({"type": "cancel", "job": job})
    outcome = screen.outside.result(job, 60)["result"]
    assert outcome["error"] == {"step": 1, "message": "It was stopped."}
    assert screen.pressed() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_that_ends_while_it_holds_a_key_leaves_none_pressed(own: Screen, number: int) -> None:
    before = own.where
    request = own.ask({"do": "press"}, {"do": "hold", "chord": ["ctrl", "a"], "ms": 60_000})
    job = own.outside.post("desktop", request)
    own.until(lambda: len(own.pressed()) == 3)
    assert own.resident.process is not None
    own.resident.process.send_signal(number)
    own.resident.process.wait(60)
    if number == signal.SIGTERM:
        assert own.pressed() == []
    own.resident.start()
    frame = own.outside.result(job, 60)
    said = frame.get("error") or frame["result"]["error"]
    assert said["message"] == (
        "It was stopped."
        if number == signal.SIGTERM
        else "the agent was restarted: nobody knows what was done; nothing is pressed any more"
    )
    assert own.pressed() == []
    assert own.where == before  # it outlives its agent
    own.do({"do": "keys", "chord": ["a"]})


def test_a_desktop_that_dies_is_started_again_and_that_is_told_once(own: Screen) -> None:
    _, pid = own.where
    job = own.outside.post("desktop", own.ask({"do": "cursor"}, {"do": "hold", "chord": ["alt"], "ms": 60_000}))
    own.until(own.pressed)
    os.kill(pid, signal.SIGKILL)
    outcome = own.outside.result(job, 60)["result"]
    assert (outcome["done"], outcome["error"]["step"]) == (1, 1)
    assert outcome["error"]["message"].startswith("The desktop has died and was started anew")
    assert own.pressed() == []
    assert own.do({"do": "cursor"})["error"] is None
    _, pid = own.where
    os.kill(pid, signal.SIGKILL)
    own.until(lambda: own.where[1] != pid)  # nobody need ask for it
    outcome = own.do({"do": "click"})
    assert (outcome["done"], outcome["error"]["step"]) == (0, 0)
    assert own.do({"do": "click"})["error"] is None


def test_one_with_nothing_open_is_started_anew_in_another_size_and_ends_with_the_commands(
    own: Screen,
) -> None:
    outcome = own.do(size=[640, 480], picture=True)
    assert decoded(base64.b64decode(outcome["screenshot"]["png"]))[:2] == (640, 480)
    scope = mark_of(own.resident.state / "processes")
    assert census.marked(f"{scope}/desktop")
    own.resident.end()
    assert not census.marked(f"{scope}/")


def test_what_is_recorded_is_handed_over_when_it_is_wanted(screen: Screen) -> None:
    recording = screen.outside.post("record_start", {})
    assert screen.outside.result(recording)["result"] == {"recording": recording}
    screen.outside.exec("xterm -bg red -geometry 20x5+300+300 &")
    screen.until(lambda: screen.outside.exec("xdotool search --onlyvisible --class xterm")["exit_code"] == 0)
    job = screen.outside.post("record_stop", {"recording": recording, "store": True, "name": "proof"})
    outcome = screen.outside.result(job, 60)["result"]
    assert outcome["frames"] >= 2
    assert [outcome[key]["name"] for key in ("file", "thumbnail")] == ["proof.png", "proof-thumbnail.png"]
    film, small = screen.outside.files[job][1], screen.outside.files[job + "thumbnail"][1]
    assert film[37:41] == b"acTL"
    assert decoded(film)[:2] == tuple(SIZE)
    assert decoded(small)[:2] == (334, 234)
    assert screen.outside.error("record_stop", {"recording": recording, "store": True})["kind"] == "not_found"
    recording = screen.outside.call("record_start", {})["recording"]
    outcome = screen.outside.call("record_stop", {"recording": recording, "store": False})
    assert (outcome["file"], outcome["thumbnail"], len(screen.outside.files)) == (None, None, 2)
