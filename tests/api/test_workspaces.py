"""Workspaces over the API: made, found, built, followed; what is somebody else's is not there."""

import asyncio
import json
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import orjson
import pytest

from models.store import build_logs, organizations
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.places import ended, here

SIZE = {"name": "size", "type": "number", "required": True, "validation_min": 1, "validation_max": 8, "mutable": True}


class Site:
    """A template with one parameter, and a member who works with it."""

    def __init__(self, api: Api, member: Person, template: dict[str, Any]) -> None:
        self.api = api
        self.member = member
        self.template = template

    async def create(self, name: str = "place", *, expect: int = 201, **more: Any) -> dict[str, Any]:
        body = {
            "name": name,
            "template_id": self.template["id"],
            "rich_parameter_values": [{"name": "size", "value": "2"}],
            **more,
        }
        answered = await self.member.client.post("/api/v2/users/me/workspaces", json=body)
        assert answered.status_code == expect, answered.text
        document: dict[str, Any] = answered.json()
        return document

    async def get(self, workspace: dict[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = (await self.member.client.get(f"/api/v2/workspaces/{workspace['id']}")).json()
        return document

    async def build(self, workspace: dict[str, Any], expect: int = 201, **body: Any) -> dict[str, Any]:
        answered = await self.member.client.post(f"/api/v2/workspaces/{workspace['id']}/builds", json=body)
        assert answered.status_code == expect, answered.text
        document: dict[str, Any] = answered.json()
        return document

    async def end(self, build: dict[str, Any], status: str = "succeeded", **more: Any) -> None:
        async with self.api.resources.database.begin() as session:
            await ended(session, UUID(build["id"]), status, **more)

    async def found(self, q: str = "", who: Person | None = None) -> list[str]:
        answered = await (who or self.member).client.get("/api/v2/workspaces", params={"q": q})
        assert answered.status_code == 200, answered.text
        assert answered.json()["count"] == len(answered.json()["workspaces"])
        return [each["name"] for each in answered.json()["workspaces"]]


@pytest.fixture
async def site(api: Api, owner: Person, member: Person) -> Site:
    body = {
        "name": "python",
        "provisioner": "external",
        "version": {"rich_parameters": [SIZE], "spec": {"agents": [{"name": "main", "directory": "work"}]}},
    }
    made = await owner.client.post(f"/api/v2/organizations/{api.organization_id}/templates", json=body)
    return Site(api, member, made.json())


async def test_a_workspace_goes_from_pending_to_running_to_stopped_to_deleted(site: Site) -> None:
    made = await site.create()
    build = made["latest_build"]
    assert (build["status"], build["transition"], build["build_number"]) == ("pending", "start", 1)
    assert (made["owner_name"], made["template_name"], made["outdated"]) == ("member", "python", False)
    [resource] = build["resources"]
    [agent] = resource["agents"]
    assert (agent["name"], agent["status"], agent["lifecycle_state"]) == ("main", "connecting", "created")
    assert agent["environment_variables"] == {"PARAMETER_SIZE": "2"}
    await site.end(build)
    async with site.api.resources.database.begin() as session:
        await here(session, UUID(made["id"]))
    running = (await site.get(made))["latest_build"]
    assert running["status"] == "running"
    assert running["resources"][0]["agents"][0]["status"] == "connected"
    stop = await site.build(made, transition="stop")
    assert (await site.build(made, transition="stop"))["id"] == stop["id"]
    refused = await site.build(made, expect=409, transition="start")
    assert refused["message"] == "A workspace build is already active."
    await site.end(stop)
    assert (await site.get(made))["latest_build"]["status"] == "stopped"
    await site.end(await site.build(made, transition="delete"))
    assert (await site.member.client.get(f"/api/v2/workspaces/{made['id']}")).status_code == 404
    address = f"/api/v2/workspaces/{made['id']}?include_deleted=true"
    assert (await site.member.client.get(address)).json()["latest_build"]["status"] == "deleted"
    listed = (await site.member.client.get(f"/api/v2/workspaces/{made['id']}/builds")).json()
    assert [each["transition"] for each in listed] == ["delete", "stop", "start"]


async def test_a_build_is_found_by_its_number(site: Site) -> None:
    made = await site.create()
    await site.end(made["latest_build"])
    stop = await site.build(made, transition="stop")
    for number, status, said in (
        ("2", 200, stop["id"]),
        ("1", 200, made["latest_build"]["id"]),
        ("3", 404, None),
        ("99999999999", 404, None),
        ("0", 400, None),
        ("one", 400, None),
    ):
        answered = await site.member.client.get(f"/api/v2/users/me/workspace/place/builds/{number}")
        assert (answered.status_code, answered.json().get("id")) == (status, said)
    by_id = await site.member.client.get(f"/api/v2/workspacebuilds/{stop['id']}")
    by_number = await site.member.client.get("/api/v2/users/member/workspace/place/builds/2")
    assert by_number.json() == by_id.json()


async def test_values_that_do_not_fit_are_refused_by_name(site: Site) -> None:
    for values, detail in (
        ([], 'Parameter "size" is required.'),
        ([{"name": "size", "value": "9"}], 'Parameter "size" must be between 1 and 8.'),
        ([{"name": "size", "value": "two"}], 'Parameter "size" must be a number.'),
        ([{"name": "size", "value": "2"}, {"name": "colour", "value": "red"}], 'There is no parameter "colour".'),
    ):
        refused = await site.create(expect=400, rich_parameter_values=values)
        assert refused["message"] == "Unable to validate parameters."
        assert refused["validations"][0]["detail"] == detail
    assert await site.found() == []


async def test_what_cannot_be_made_is_refused_and_nothing_is(site: Site, owner: Person) -> None:
    some = str(uuid4())
    for body, status in (
        ({"name": "no good"}, 400),
        ({"template_id": some}, 400),
        ({"template_id": None}, 400),
        ({"template_version_id": some}, 400),
        ({"template_version_preset_id": some}, 400),
        ({"ttl_ms": 1}, 400),
    ):
        await site.create(expect=status, **body)
    await site.create()
    await site.create("PLACE", expect=409)
    address = f"/api/v2/templates/{site.template['id']}"
    await owner.client.patch(address, json={"deprecation_message": "old"})
    await site.create("other", expect=400)
    assert await site.found() == ["place"]


async def test_workspaces_are_found_by_owner_name_template_and_status(site: Site, owner: Person) -> None:
    one, two = await site.create("alpha"), await site.create("beta")
    await site.end(one["latest_build"])
    assert await site.found() == ["alpha", "beta"]
    for q, names in (
        ("owner:me", ["alpha", "beta"]),
        ("owner:member name:ALP", ["alpha"]),
        ("member/beta", ["beta"]),
        ("template:python status:running", ["alpha"]),
        ("status:pending", ["beta"]),
        ("owner:admin", []),
        ("template:java", []),
        ("status:deleted", []),
    ):
        assert await site.found(q) == names, q
        assert await site.found("owner:member" if q == "owner:me" else q, owner) == names, q
    assert await site.found("owner:me", owner) == []
    for wrong in ("size:2", "status:happy", "name:a name:b"):
        assert (await site.member.client.get("/api/v2/workspaces", params={"q": wrong})).status_code == 400
    page = await site.member.client.get("/api/v2/workspaces", params={"limit": 1, "offset": 1})
    assert ([each["name"] for each in page.json()["workspaces"]], page.json()["count"]) == (["beta"], 2)
    assert (await site.member.client.get("/api/v2/users/me/workspace/Beta")).json()["id"] == two["id"]


async def test_nobody_else_sees_a_workspace_and_who_leaves_loses_it(site: Site, outsider: Person) -> None:
    made = await site.create()
    assert await site.found(who=outsider) == []
    for path in (
        f"workspaces/{made['id']}",
        f"workspacebuilds/{made['latest_build']['id']}",
        "users/member/workspace/place",
    ):
        assert (await outsider.client.get(f"/api/v2/{path}")).status_code == 404
        assert (await site.member.client.get(f"/api/v2/{path}")).status_code == 200
    async with site.api.resources.database.begin() as session:
        await organizations.remove(session, site.api.organization_id, site.member.id)
    site.api.resources.principals.forget()
    assert (await site.member.client.get(f"/api/v2/workspaces/{made['id']}")).status_code == 404
    assert await site.found() == []


async def test_an_admin_makes_workspaces_for_members_and_for_nobody_else(site: Site, owner: Person) -> None:
    elsewhere = await site.api.person("elsewhere", org_roles=None)
    path = f"/api/v2/organizations/{site.api.organization_id}/members"
    body = {
        "name": "given",
        "template_id": site.template["id"],
        "rich_parameter_values": [{"name": "size", "value": "1"}],
    }
    made = await owner.client.post(f"{path}/member/workspaces", json=body)
    assert (made.status_code, made.json()["owner_name"]) == (201, "member")
    assert (await owner.client.post(f"{path}/elsewhere/workspaces", json=body)).status_code == 400
    assert (await elsewhere.client.post(f"{path}/me/workspaces", json=body)).status_code == 404
    refused = await elsewhere.client.post("/api/v2/users/me/workspaces", json=body)
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        f'Template "{site.template["id"]}" does not exist.',
    )


async def test_a_build_is_canceled_once(site: Site) -> None:
    made = await site.create()
    address = f"/api/v2/workspacebuilds/{made['latest_build']['id']}/cancel"
    assert (await site.member.client.patch(address)).status_code == 200
    assert (await site.get(made))["latest_build"]["job"]["status"] == "canceled"
    again = await site.member.client.patch(address)
    assert (again.status_code, again.json()["message"]) == (400, "Job has already completed!")


async def test_a_failed_build_says_why(site: Site) -> None:
    made = await site.create()
    await site.end(made["latest_build"], "failed", error="The disk is full.", error_code="DISK")
    build = (await site.get(made))["latest_build"]
    assert (build["status"], build["job"]["error"], build["job"]["error_code"]) == (
        "failed",
        "The disk is full.",
        "DISK",
    )


async def test_a_time_to_live_makes_a_deadline_and_none_takes_it_away(site: Site) -> None:
    made = await site.create()
    await site.end(made["latest_build"])
    address = f"/api/v2/workspaces/{made['id']}/ttl"
    assert (await site.member.client.put(address, json={"ttl_ms": 3_600_000})).status_code == 204
    assert "deadline" in (await site.get(made))["latest_build"]
    assert (await site.member.client.put(address, json={"ttl_ms": None})).status_code == 204
    assert "deadline" not in (await site.get(made))["latest_build"]
    assert (await site.member.client.patch(f"/api/v2/workspaces/{made['id']}", json={"name": "new"})).status_code == 204
    assert (await site.get(made))["name"] == "new"


async def test_only_who_may_change_an_external_workspace_gets_its_token_while_it_is_good(
    site: Site, owner: Person
) -> None:
    made = await site.create()
    address = f"/api/v2/workspaces/{made['id']}/external-agent/main/credentials"
    given = (await site.member.client.get(address)).json()
    assert given["agent_token"].startswith("ts_agent_")
    assert given["agent_token"] in given["command"]
    auditor = await site.api.person("auditor", site_roles=("auditor",))
    assert (await auditor.client.get(address)).status_code == 403
    assert (await owner.client.get(address)).status_code == 200
    await site.end(made["latest_build"])
    await site.end(await site.build(made, transition="stop"))
    assert (await site.member.client.get(address)).status_code == 404


async def test_a_log_is_read_and_followed_until_the_build_is_over(site: Site) -> None:
    made = await site.create()
    build = UUID(made["latest_build"]["id"])
    address = f"/api/v2/workspacebuilds/{build}/logs"

    async def say(*lines: str) -> None:
        async with site.api.resources.database.begin() as session:
            await build_logs.write(session, build, [("info", "work", line) for line in lines])

    await say("one", "two")
    read = (await site.member.client.get(address)).json()
    assert [each["output"] for each in read] == ["one", "two"]
    after = await site.member.client.get(address, params={"after": read[0]["id"]})
    assert [each["output"] for each in after.json()] == ["two"]
    following = asyncio.create_task(
        site.member.client.get(address, params={"follow": True}, headers={"Accept": "text/event-stream"})
    )
    await asyncio.sleep(0)
    await say("three")
    await site.end(made["latest_build"])
    async with asyncio.timeout(60):
        followed = await following
    told = [line.removeprefix("data: ") for line in followed.text.splitlines() if line.startswith("data: ")]
    assert [orjson.loads(each)["output"] for each in told] == ["one", "two", "three"]


async def test_a_startup_scripts_words_are_read(site: Site) -> None:
    made = await site.create()
    agent = made["latest_build"]["resources"][0]["agents"][0]["id"]
    async with site.api.resources.database.begin() as session:
        await fetch(
            session,
            """INSERT INTO workspace_agent_logs (agent_id, output)
               SELECT %(id)s, 'line ' || n FROM generate_series(1, 3) AS n""",
            {"id": UUID(agent)},
        )
    read = (await site.member.client.get(f"/api/v2/workspaceagents/{agent}/logs")).json()
    assert [each["output"] for each in read] == ["line 1", "line 2", "line 3"]
    assert (await site.member.client.get(f"/api/v2/workspaceagents/{agent}")).json()["name"] == "main"


async def test_odd_values_are_answered_and_never_break_anything(site: Site, owner: Person) -> None:
    made = await site.create()
    organization = f"/api/v2/organizations/{site.api.organization_id}"
    odd = ("\x00", "a\x00b", "\ud800", "ä" * 40, "x" * 300, "")
    for value in odd:
        quoted = quote(value.encode("utf-8", "surrogatepass")) or "%20"
        for path in (
            f"{organization}/templates/{quoted}",
            f"/api/v2/users/me/workspace/{quoted}",
            f"/api/v2/workspaces/{made['id']}/external-agent/{quoted}/credentials",
        ):
            assert (await owner.client.get(path)).status_code in (400, 404), path
        assert (await owner.client.get("/api/v2/workspaces", params={"q": f"name:{quoted}"})).status_code == 200
        body = {
            "name": "odd",
            "description": value,
            "provisioner": "external",
            "version": {
                "readme": value,
                "message": value,
                "spec": {"agents": [{"environment": {"A": value}, "directory": value, "startup_script": value}]},
                "rich_parameters": [{"name": "p", "default_value": value, "description": value}],
                "presets": [{"name": value or "p", "parameters": [{"name": "p", "value": value}]}],
            },
        }
        content = json.dumps(body).encode()  # with escapes where orjson would refuse
        answered = await owner.client.post(f"{organization}/templates", content=content)
        assert answered.status_code in (201, 400), answered.text
        if answered.status_code == 201:
            given = {"name": "odd", "template_id": answered.json()["id"]}
            content = json.dumps({**given, "rich_parameter_values": [{"name": "p", "value": value}]}).encode()
            built = await owner.client.post("/api/v2/users/me/workspaces", content=content)
            assert built.status_code == 201, built.text
            await site.end(built.json()["latest_build"])
            deleted = await owner.client.post(
                f"/api/v2/workspaces/{built.json()['id']}/builds", json={"transition": "delete"}
            )
            await site.end(deleted.json())
            assert (await owner.client.delete(f"/api/v2/templates/{answered.json()['id']}")).status_code == 200


async def test_a_socket_tells_each_line_as_a_message_and_closes_when_the_build_is_over(site: Site) -> None:
    made = await site.create()
    build = UUID(made["latest_build"]["id"])
    scope = {
        "type": "websocket",
        "path": f"/api/v2/workspacebuilds/{build}/logs",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"host", b"turnstone.test"), (b"coder-session-token", site.member.token.encode())],
        "subprotocols": [],
        "scheme": "ws",
        "server": ("turnstone.test", 80),
    }
    came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    came.put_nowait({"type": "websocket.connect"})
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    serving = asyncio.create_task(site.api(scope, came.get, said.put))
    async with asyncio.timeout(60):
        assert (await said.get())["type"] == "websocket.accept"
        for line in ("one", "two"):
            async with site.api.resources.database.begin() as session:
                await build_logs.write(session, build, [("info", "work", line)])
            assert orjson.loads((await said.get())["text"])["output"] == line
        await site.end(made["latest_build"])
        assert (await said.get())["type"] == "websocket.close"
        await serving


async def test_a_follower_who_leaves_is_not_told_any_more(site: Site) -> None:
    made = await site.create()
    path = f"/api/v2/workspacebuilds/{made['latest_build']['id']}/logs"
    headers = [(b"accept", b"text/event-stream"), (b"coder-session-token", site.member.token.encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"follow=true",
        "headers": headers,
        "scheme": "http",
        "http_version": "1.1",
        "server": ("turnstone.test", 80),
        "client": ("127.0.0.1", 40000),
    }
    came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    serving = asyncio.create_task(site.api(scope, came.get, said.put))
    async with asyncio.timeout(60):
        assert (await said.get())["status"] == 200
        came.put_nowait({"type": "http.disconnect"})
        await serving
