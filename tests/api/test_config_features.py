"""The laws of settings for features to come: who sees them, who sets them, what is refused and in which words."""

from typing import Any
from uuid import uuid4

from models.store import preferences
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS

CONFIG = f"{CHATS}/config"
NO_ID = "00000000-0000-0000-0000-000000000000"
ADVISOR = {"enabled": False, "max_uses_per_run": 0, "max_output_tokens": 0, "model_config_id": NO_ID}
# path, what holds unset, another value
OPEN = [
    ("desktop-enabled", {"enable_desktop": False}, {"enable_desktop": True}),
    ("computer-use-provider", {"provider": "anthropic"}, {"provider": "openai"}),
    ("advisor", ADVISOR, {**ADVISOR, "enabled": True, "max_uses_per_run": 3, "max_output_tokens": 16384}),
    ("workspace-ttl", {"workspace_ttl_ms": 0}, {"workspace_ttl_ms": 60_000}),
]
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "computer-use-provider",
        {"provider": "google"},
        "Invalid computer use provider.",
        'Expected one of: anthropic, openai. Got "google".',
    ),
    ("computer-use-provider", {}, "Invalid computer use provider.", 'Expected one of: anthropic, openai. Got "".'),
    ("advisor", {"max_uses_per_run": -1, "max_output_tokens": -2}, "max_uses_per_run -1 must be non-negative.", ""),
    ("advisor", {"max_output_tokens": -2}, "max_output_tokens -2 must be non-negative.", ""),
    ("workspace-ttl", {"workspace_ttl_ms": -1}, "Workspace TTL must be non-negative.", ""),
    ("workspace-ttl", {"workspace_ttl_ms": 59_999}, "Workspace TTL must not be less than 1 minute.", ""),
    ("workspace-ttl", {"workspace_ttl_ms": 30 * 86_400_000 + 1}, "Workspace TTL must not exceed 30 days.", ""),
    (
        "template-allowlist",
        {"template_ids": [str(uuid4()), "ubuntu"]},
        "Invalid template ID in allowlist.",
        '"ubuntu" is not a valid UUID.',
    ),
    ("template-allowlist", {"template_ids": [NO_ID]}, "One or more templates not found or deprecated.", ""),
]


async def test_everybody_sees_them_and_administrators_set_them(api: Api, owner: Person, outsider: Person) -> None:
    auditor = await api.person("auditor", site_roles=("auditor",))
    for path, unset, other in OPEN:
        await _seen_and_set(owner, outsider, auditor, f"{CONFIG}/{path}", unset, other)


async def _seen_and_set(
    owner: Person, outsider: Person, auditor: Person, url: str, unset: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (await outsider.client.get(url)).json() == unset
    for person in (outsider, auditor):
        assert (await person.client.put(url, json=other)).status_code == 403
    set_to = await owner.client.put(url, json=other)
    assert (set_to.status_code, set_to.content) == (204, b"")
    assert (await outsider.client.get(url)).json() == other
    assert (await owner.client.put(url, content=b"{")).json()["message"] == "Request body must be valid JSON."
    assert (await outsider.client.get(url)).json() == other


async def test_what_makes_no_sense_is_refused_and_changes_nothing(owner: Person) -> None:
    for path, body, message, detail in REFUSED:
        url = f"{CONFIG}/{path}"
        before = (await owner.client.get(url)).json()
        refused = await owner.client.put(url, json=body)
        expected = {"message": message, **({"detail": detail} if detail else {})}
        assert (refused.status_code, refused.json()) == (400, expected)
        assert (await owner.client.get(url)).json() == before


async def test_an_advisor_is_a_model_that_exists_enabled_or_not(owner: Person) -> None:
    url = f"{CONFIG}/advisor"
    unknown = str(uuid4())
    refused = await owner.client.put(url, json={"enabled": True, "model_config_id": unknown})
    message = f'model_config_id "{unknown}" does not match any existing model config.'
    assert (refused.status_code, refused.json()) == (400, {"message": message})
    [model] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    assert (await owner.client.put(url, json={"model_config_id": model["id"]})).status_code == 204
    assert (await owner.client.get(url)).json() == {**ADVISOR, "model_config_id": model["id"]}


async def test_the_allowlist_is_hidden_from_those_who_may_not_read_it(
    api: Api, owner: Person, outsider: Person
) -> None:
    url = f"{CONFIG}/template-allowlist"
    auditor = await api.person("auditor", site_roles=("auditor",))
    assert (await outsider.client.get(url)).status_code == 404
    for person in (outsider, auditor):
        assert (await person.client.put(url, json={"template_ids": []})).status_code == 404
    for body in ({"template_ids": []}, {}, {"template_ids": None}):
        assert (await owner.client.put(url, json=body)).status_code == 204
    for person in (owner, auditor):
        assert (await person.client.get(url)).json() == {"template_ids": []}


async def test_the_allowlist_names_templates_that_are_offered(api: Api, owner: Person) -> None:
    url = f"{CONFIG}/template-allowlist"
    ids = []
    for name in ("python", "rust"):
        given = {"name": name, "provisioner": "external", "version": {}}
        made = await owner.client.post(f"/api/v2/organizations/{api.organization_id}/templates", json=given)
        ids.append(made.json()["id"])
    assert (await owner.client.put(url, json={"template_ids": [ids[1], ids[0], ids[1]]})).status_code == 204
    assert (await owner.client.get(url)).json() == {"template_ids": [ids[1], ids[0]]}
    deprecated = {"deprecation_message": "use rust"}
    assert (await owner.client.patch(f"/api/v2/templates/{ids[0]}", json=deprecated)).status_code == 200
    refused = await owner.client.put(url, json={"template_ids": ids})
    assert refused.json()["message"] == "One or more templates not found or deprecated."
    assert (await owner.client.get(url)).json() == {"template_ids": [ids[1], ids[0]]}


async def test_what_is_stored_and_cannot_be_read_is_never_made_up(api: Api, owner: Person) -> None:
    stored = {
        "agents_workspace_ttl": "soon",
        "agents_template_allowlist": "{",
        "agents_computer_use_provider": "google",
        "agents_advisor_config": '{"enabled": 1, "model": 2}',
    }
    async with api.resources.database.begin() as session:
        await preferences.put_site(session, stored)
    for path in ("workspace-ttl", "template-allowlist"):
        broken = await owner.client.get(f"{CONFIG}/{path}")
        assert (broken.status_code, broken.json()["message"]) == (500, "An internal server error occurred.")
    assert (await owner.client.get(f"{CONFIG}/computer-use-provider")).json() == {"provider": "anthropic"}
    assert (await owner.client.get(f"{CONFIG}/advisor")).json() == ADVISOR
    assert (await owner.client.put(f"{CONFIG}/workspace-ttl", json={"workspace_ttl_ms": 0})).status_code == 204
    assert (await owner.client.get(f"{CONFIG}/workspace-ttl")).json() == {"workspace_ttl_ms": 0}
