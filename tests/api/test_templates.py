"""Templates over the API: what is sound is kept and shown, what is not is refused field by field."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, Person

SIZE = {
    "name": "size",
    "type": "string",
    "required": True,
    "options": [{"name": "Small", "value": "s"}, {"name": "Large", "value": "l"}],
}


@pytest.fixture
def path(api: Api) -> str:
    return f"/api/v2/organizations/{api.organization_id}/templates"


async def created(admin: Person, path: str, name: str = "python", **version: Any) -> dict[str, Any]:
    answered = await admin.client.post(path, json={"name": name, "provisioner": "external", "version": version})
    assert answered.status_code == 201, answered.text
    document: dict[str, Any] = answered.json()
    return document


async def test_a_template_is_made_with_its_version_parameters_and_presets(
    owner: Person, member: Person, path: str
) -> None:
    presets = [{"name": "Small", "default": True, "parameters": [{"name": "size", "value": "s"}]}]
    made = await created(owner, path, rich_parameters=[SIZE], presets=presets, readme="# Hello")
    seen = (await member.client.get(f"/api/v2/templates/{made['id']}")).json()
    assert seen == made
    assert (seen["name"], seen["deprecated"], seen["use_external_agent"]) == ("python", False, True)
    version = f"/api/v2/templateversions/{seen['active_version_id']}"
    shown = (await member.client.get(version)).json()
    assert (shown["name"], shown["readme"], shown["active"]) == ("v1", "# Hello", True)
    [parameter] = (await member.client.get(f"{version}/rich-parameters")).json()
    assert (parameter["name"], parameter["required"], parameter["mutable"]) == ("size", True, False)
    [preset] = (await member.client.get(f"{version}/presets")).json()
    assert preset["parameters"] == [{"name": "size", "value": "s"}]
    assert (await member.client.get(f"{path}/PYTHON")).json() == made
    assert [each["id"] for each in (await member.client.get("/api/v2/templates")).json()] == [made["id"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "no good"}, "name"),
        ({"name": "-"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"name": "x", "version": {"name": "v 1"}}, "name"),
        ({"name": "x", "version": {"rich_parameters": [{"name": "1"}]}}, "parameters[0]"),
        ({"name": "x", "version": {"rich_parameters": [SIZE, SIZE]}}, "parameters[1]"),
        ({"name": "x", "version": {"rich_parameters": [{"name": "a", "type": "map"}]}}, "parameters[0]"),
        ({"name": "x", "version": {"rich_parameters": [{"name": "a", "validation_regex": "("}]}}, "parameters[0]"),
        ({"name": "x", "version": {"rich_parameters": [{"name": "a", "validation_min": 1}]}}, "parameters[0]"),
        (
            {"name": "x", "version": {"rich_parameters": [{"name": "a", "type": "number", "default_value": "b"}]}},
            "parameters[0]",
        ),
        (
            {"name": "x", "version": {"presets": [{"name": "p", "parameters": [{"name": "q", "value": "r"}]}]}},
            "presets.q",
        ),
        ({"name": "x", "version": {"spec": {"agents": [{"name": "a b"}]}}}, "spec.agents[0].name"),
        ({"name": "x", "version": {"spec": {"agents": [{"nome": "a"}]}}}, "spec.agents[0].nome"),
        ({"name": "x", "version": {"spec": {"agents": [{"startup_script": 7}]}}}, "spec.agents[0].startup_script"),
        ({"name": "x", "version": {"spec": {"agents": [{"name": "a"}, {"name": "A"}]}}}, "spec.agents"),
        ({"name": "x", "version": {"spec": {"local": {"memory_bytes": -1}}}}, "spec.local.memory_bytes"),
        ({"name": "x", "version": {"spec": {"docker": {"image": "x"}}}}, "spec.docker"),
        ({"name": "x", "provisioner": "docker"}, "spec.docker.image"),
        ({"name": "x", "provisioner": "cloud"}, "provisioner"),
        ({}, "name"),
    ],
)
async def test_what_is_not_sound_is_refused_by_its_field_and_nothing_is_made(
    owner: Person, path: str, body: dict[str, Any], field: str
) -> None:
    refused = await owner.client.post(path, json=body)
    assert refused.status_code == 400, refused.text
    assert field in [each["field"] for each in refused.json()["validations"]]
    assert (await owner.client.get(path)).json() == []


async def test_names_are_unique_until_a_template_is_deleted(owner: Person, path: str) -> None:
    made = await created(owner, path)
    clash = await owner.client.post(path, json={"name": "PYTHON"})
    assert clash.status_code == 409
    assert (await owner.client.delete(f"/api/v2/templates/{made['id']}")).status_code == 200
    assert (await owner.client.get(f"/api/v2/templates/{made['id']}")).status_code == 404
    await created(owner, path)


async def test_versions_are_added_and_chosen_and_belong_to_their_template(owner: Person, path: str) -> None:
    made, other = await created(owner, path), await created(owner, path, "other")
    versions = f"/api/v2/templates/{made['id']}/versions"
    second = await owner.client.post(versions, json={"message": "better", "activate": False})
    assert second.status_code == 201
    assert (second.json()["name"], second.json()["active"]) == ("v2", False)
    assert (await owner.client.post(versions, json={"name": "v2"})).status_code == 409
    chosen = await owner.client.patch(versions, json={"id": second.json()["id"]})
    assert chosen.status_code == 200
    assert (await owner.client.get(f"/api/v2/templates/{made['id']}")).json()["active_version_id"] == second.json()[
        "id"
    ]
    assert (await owner.client.patch(versions, json={"id": other["active_version_id"]})).status_code == 404
    assert [each["name"] for each in (await owner.client.get(versions)).json()] == ["v2", "v1"]


async def test_a_template_is_changed_and_deprecated_and_offered_again(owner: Person, member: Person, path: str) -> None:
    made = await created(owner, path)
    address = f"/api/v2/templates/{made['id']}"

    async def patch(**fields: str) -> httpx.Response:
        return await owner.client.patch(address, json=fields)

    assert (await patch(display_name="Python 3", deprecation_message="too old")).json()["deprecated"]
    for query, count in (("?deprecated=true", 1), ("?deprecated=false", 0), ("", 1)):
        assert len((await member.client.get(path + query)).json()) == count
    again = (await patch(deprecation_message="")).json()
    assert (again["deprecated"], again["display_name"]) == (False, "Python 3")
    assert (await patch(name="no good")).status_code == 400
    assert (await member.client.patch(address, json={"name": "mine"})).status_code == 403


async def test_the_same_request_under_the_same_key_makes_one_template(owner: Person, path: str) -> None:
    body, headers = {"name": "once"}, {"Idempotency-Key": "k"}
    first, second = [await owner.client.post(path, json=body, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    assert len((await owner.client.get(path)).json()) == 1
