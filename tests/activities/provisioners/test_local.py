"""The laws of the local provisioner: one agent a build, alive again after a death, and nothing left after a stop."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.provisioners import inhabitants
from activities.provisioners.local import Local
from activities.provisioners.provisioner import Agent, Building, ProvisionFailed
from models.settings import Settings

FAKE = Path(__file__).parents[2] / "fakes" / "agent.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


class Said(list[str]):
    def __call__(self, output: str, *, stage: str = "", level: str = "info") -> None:
        self.append(output)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    root = tmp_path / "data" / "workspaces"
    settings = Settings(workspaces_dir=str(root), workspace_isolation="none", access_url="http://api.test/")
    yield Local(settings, lambda: (sys.executable, "-I", str(FAKE)))
    inhabitants.end(inhabitants.ROOT, str(root), 0)


def building(workspace: UUID | None = None, build: UUID | None = None, **more: Any) -> Building:
    given: dict[str, Any] = {
        "build_id": build or uuid4(),
        "workspace_id": workspace or uuid4(),
        "workspace_name": "place",
        "owner_name": "ada",
        "spec": {"local": {"open_files": 300}},
        "parameters": {},
        "state": {},
        "agents": (Agent(uuid4(), "main", "ts_agent_x", ""),),
    }
    return Building(**given | more)


def place(tmp_path: Path, build: Building) -> Path:
    return tmp_path / "data" / "workspaces" / str(build.workspace_id)


async def lives(tmp_path: Path, build: Building, count: int = 1) -> list[dict[str, Any]]:
    file = place(tmp_path, build) / "agent" / str(build.build_id) / "main" / "state" / "lives"
    async with asyncio.timeout(60):
        while not file.exists() or len(lines := file.read_text().splitlines()) < count:
            await asyncio.sleep(0.02)
    return [json.loads(line) for line in lines]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def test_an_agent_begins_with_a_clean_environment_its_token_and_its_limits(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNSTONE_SECRET_KEYS", "secret")
    build = building()
    state = await local.start(build, Said())
    [life] = await lives(tmp_path, build)
    home = place(tmp_path, build) / "home"
    assert state["home"] == str(home)
    assert life["token"] == "ts_agent_x"
    assert "ts_agent_x" not in json.dumps([life["argv"], life["environment"]])
    assert life["argv"][:2] == ["--url", "http://api.test"]
    assert life["argv"][life["argv"].index("--directory") + 1] == str(home)
    assert not {each for each in life["environment"] if "SECRET" in each or "DATABASE" in each}
    assert life["environment"]["HOME"] == str(home)
    assert resource.prlimit(life["pid"], resource.RLIMIT_NOFILE) == (300, 300)
    assert place(tmp_path, build).stat().st_mode & 0o777 == 0o700


async def test_many_who_start_the_same_build_at_once_start_one_agent(local: Local, tmp_path: Path) -> None:
    build = building()
    said = Said()
    await asyncio.gather(*(local.start(build, said) for _ in range(5)))
    await lives(tmp_path, build)
    assert said.count("Agent main was started.") == 1
    mark = str(build.workspace_id)
    agents = [pid for pid in inhabitants.marked(inhabitants.WORKSPACE, mark) if str(FAKE) in command(pid)]
    assert len([pid for pid in agents if not command(pid).startswith("/bin/sh")]) == 1


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


async def test_an_agent_that_is_killed_lives_again_with_the_same_state(local: Local, tmp_path: Path) -> None:
    build = building()
    await local.start(build, Said())
    [first] = await lives(tmp_path, build)
    os.kill(first["pid"], signal.SIGKILL)
    _, second = await lives(tmp_path, build, 2)
    assert second["argv"] == first["argv"]
    assert alive(first["child"])


async def test_a_stop_ends_every_process_and_keeps_the_files(local: Local, tmp_path: Path) -> None:
    build = building()
    state = await local.start(build, Said())
    [life] = await lives(tmp_path, build)
    (place(tmp_path, build) / "home" / "kept").write_text("x")
    await local.stop(building(build.workspace_id, state=state, agents=()), Said())
    assert not alive(life["pid"])
    assert not alive(life["child"])
    assert inhabitants.marked(inhabitants.WORKSPACE, str(build.workspace_id)) == []
    again = building(build.workspace_id, state=state)
    await local.start(again, Said())
    assert (place(tmp_path, build) / "home" / "kept").read_text() == "x"
    await lives(tmp_path, again)


async def test_a_newer_build_ends_what_an_older_one_had_started(local: Local, tmp_path: Path) -> None:
    older = building()
    state = await local.start(older, Said())
    [life] = await lives(tmp_path, older)
    newer = building(older.workspace_id, state=state)
    await local.start(newer, Said())
    [other] = await lives(tmp_path, newer)
    assert not alive(life["pid"])
    assert alive(other["pid"])


async def test_a_workspace_ends_alone(local: Local, tmp_path: Path) -> None:
    one, other = building(), building()
    await local.start(one, Said())
    await local.start(other, Said())
    [life] = await lives(tmp_path, other)
    await local.delete(one, Said())
    assert not place(tmp_path, one).exists()
    assert alive(life["pid"])


async def test_deleting_takes_what_nobody_may_write_and_follows_no_link(local: Local, tmp_path: Path) -> None:
    build, outside = building(), tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    await local.start(build, Said())
    home = place(tmp_path, build) / "home"
    (home / "link").symlink_to(outside)
    (home / "closed").mkdir()
    (home / "closed" / "file").write_text("x")
    (home / "closed").chmod(0o000)
    await local.delete(build, Said())
    assert not place(tmp_path, build).exists()
    assert (outside / "precious").read_text() == "x"
    await local.delete(build, Said())


async def test_a_workspace_of_another_machine_is_not_touched_here(local: Local) -> None:
    with pytest.raises(ProvisionFailed, match="another machine"):
        await local.start(building(state={"machine": "elsewhere"}), Said())


async def test_an_agent_that_is_superseded_ends_for_good(local: Local, tmp_path: Path) -> None:
    build = building(agents=(Agent(uuid4(), "main", "superseded", ""),))
    await local.start(build, Said())
    async with asyncio.timeout(60):
        while inhabitants.marked(inhabitants.WORKSPACE, str(build.workspace_id)):
            await asyncio.sleep(0.02)


WALL = """#!/bin/sh
echo "$@" >> "$0.asked"
while [ "$1" != "--" ]; do shift; done
shift
exec "$@"
"""


async def test_bubblewrap_is_used_where_it_works_and_missed_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, root = tmp_path / "bin", tmp_path / "data" / "workspaces"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def isolated(how: str) -> Local:
        settings = Settings(workspaces_dir=str(root), workspace_isolation=how)
        return Local(settings, lambda: (sys.executable, "-I", str(FAKE)))

    with pytest.raises(ProvisionFailed, match="bubblewrap does not work"):
        await isolated("bubblewrap").start(building(), Said())
    wall = programs / "bwrap"
    wall.write_text("#!/bin/sh\nexit 1\n")
    wall.chmod(0o755)
    build = building()
    try:
        await isolated("auto").start(build, Said())
        await lives(tmp_path, build)
        wall.write_text(WALL.replace("#!/bin/sh", "#!/bin/sh\nPATH=/usr/bin:/bin"))
        walled = building()
        await isolated("auto").start(walled, Said())
        await lives(tmp_path, walled)
    finally:
        inhabitants.end(inhabitants.ROOT, str(root), 0)
    asked = (programs / "bwrap.asked").read_text()
    own = place(tmp_path, walled)
    assert f"--tmpfs {root.parent} --bind {own} {own} -- /bin/sh" in asked
    assert "--unshare-pid" in asked


def test_agents_reach_the_api_where_it_says_it_is() -> None:
    assert Settings(host="0.0.0.0", port=81).agents_url == "http://127.0.0.1:81"
    assert Settings(host="::1", port=81).agents_url == "http://[::1]:81"
    assert Settings(public_url="https://a.test/").agents_url == "https://a.test"
    assert Settings(public_url="https://a.test", access_url="http://b").agents_url == "http://b"


async def test_an_agent_whose_api_has_moved_is_told_where_and_its_commands_go_on(local: Local, tmp_path: Path) -> None:
    build = building()
    await local.start(build, Said())
    [first] = await lives(tmp_path, build)
    root = tmp_path / "data" / "workspaces"
    settings = Settings(workspaces_dir=str(root), workspace_isolation="none", access_url="http://elsewhere.test")
    moved, said = Local(settings, lambda: (sys.executable, "-I", str(FAKE))), Said()
    await moved.start(build, said)
    await moved.start(build, said)
    assert said == ["Agent main was started.", "Agent main is running."]
    second = (await lives(tmp_path, build, 2))[1]
    assert second["argv"][:2] == ["--url", "http://elsewhere.test"]
    assert not alive(first["pid"])
    assert alive(first["child"])
