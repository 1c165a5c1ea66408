"""`turnstone dev` with a workspace in it: lost with the stack, there again, and gone to the last process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.provisioners import inhabitants
from tests.turnstone.test_dev import Running

pytest.importorskip("agent")
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

READY = ("running", [("connected", "ready")])
SCRIPT = "setsid sleep 4321 & (sleep 4322 &); echo ready"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()
    inhabitants.end(inhabitants.ROOT, str(tmp_path / "data" / "workspaces"), 0)


class Client:
    """The owner, at the running stack."""

    def __init__(self, running: Running) -> None:
        self.facts = running.facts()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.facts['admin_token']}"}
        url = f"{self.facts['api_url']}/api/v2/{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=30)

    def _latest(self, workspace: str) -> dict[str, Any]:
        document: dict[str, Any] = self._ask("GET", f"workspaces/{workspace}?include_deleted=true").json()
        build: dict[str, Any] = document["latest_build"]
        return build

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self._ask("POST", path, body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def until(self, workspace: str, wanted: tuple[str, list[tuple[str, str]]], agents_since: str = "") -> None:
        while True:
            build = self._latest(workspace)
            assert build["status"] != "failed", build["job"]
            made = build["resources"][0]["agents"]
            heard = [each.get("last_connected_at", "") for each in made]
            if (build["status"], [(each["status"], each["lifecycle_state"]) for each in made]) == wanted and all(
                each > agents_since for each in heard
            ):
                return
            time.sleep(0.1)

    def heard(self, workspace: str) -> str:
        """When its agent was last heard."""
        moment: str = self._latest(workspace)["resources"][0]["agents"][0]["last_connected_at"]
        return moment


def born(workspace: str) -> int:
    """How many processes live in the workspace."""
    return len(inhabitants.marked(inhabitants.WORKSPACE, workspace))


def test_a_workspace_goes_with_the_stack_and_comes_again_and_a_stop_ends_its_commands(running: Running) -> None:
    client = Client(running)
    template = client.post(
        f"organizations/{client.facts['organization_id']}/templates",
        name="busy",
        provisioner="local",
        version={"spec": {"agents": [{"name": "main", "startup_script": SCRIPT}]}},
    )
    workspace = client.post("users/me/workspaces", name="place", template_id=template["id"])["id"]
    client.until(workspace, READY)
    assert born(workspace) >= 4  # the agent, what keeps it alive, and two commands in sessions of their own
    heard = client.heard(workspace)
    running.process.terminate()
    assert running.process.wait() == 0
    assert born(workspace) == 0
    running.start_again()
    client = Client(running)
    client.until(workspace, READY, agents_since=heard)
    heard = client.heard(workspace)
    running.process.kill()
    running.process.wait()
    assert born(workspace) > 0  # nobody was there to end it
    running.ready_file.unlink()
    running.start_again()
    client = Client(running)  # at another port: the agent is told
    client.until(workspace, READY, agents_since=heard)
    client.post(f"workspaces/{workspace}/builds", transition="stop")
    client.until(workspace, ("stopped", []))
    assert born(workspace) == 0
    client.post(f"workspaces/{workspace}/builds", transition="delete")
    client.until(workspace, ("deleted", []))
