"""The prompts that administrators and people set, and what becomes of them in a new chat."""

from typing import Any
from uuid import UUID

import pytest

from models.rules.instructions import DEFAULT_SYSTEM_PROMPT, DETACHED, MAX_BYTES
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import Talk

CONFIG = "/api/v2/chats/config"
SYSTEM, PLAN, USER = f"{CONFIG}/system-prompt", f"{CONFIG}/plan-mode-instructions", f"{CONFIG}/user-prompt"


async def system_of(api: Api, chat: UUID) -> list[str]:
    async with api.resources.database.read() as session:
        statement = "SELECT content FROM chat_messages WHERE chat_id = %(chat)s AND role = 'system' ORDER BY id"
        rows = await fetch(session, statement, {"chat": chat})
    return [row["content"][0]["text"] for row in rows]


async def put(person: Person, path: str, body: Any, expected: int = 204) -> dict[str, Any]:
    response = await person.client.put(path, json=body)
    assert response.status_code == expected, response.text
    found: dict[str, Any] = response.json() if response.content else {}
    return found


async def test_a_chat_begins_with_the_deployments_prompt_of_its_day_and_its_own(
    api: Api, owner: Person, member: Person
) -> None:
    talk = Talk(api, member)
    before = await talk.start(system_prompt="Mine.")
    await put(owner, SYSTEM, {"system_prompt": "Ours."})
    between = await talk.start()
    await put(owner, SYSTEM, {"system_prompt": "Ours.", "include_default_system_prompt": True})
    after = await talk.start()
    assert await system_of(api, before) == [DEFAULT_SYSTEM_PROMPT, "Mine.", DETACHED]
    assert await system_of(api, between) == ["Ours.", DETACHED]
    assert await system_of(api, after) == [f"{DEFAULT_SYSTEM_PROMPT}\n\nOurs.", DETACHED]
    assert len((await talk.history(after))["messages"]) == 1, "system messages are hidden"


async def test_the_system_prompt_is_shown_with_the_default_and_whether_it_counts(owner: Person) -> None:
    shown = (await owner.client.get(SYSTEM)).json()
    assert shown == {
        "system_prompt": "",
        "include_default_system_prompt": True,
        "default_system_prompt": DEFAULT_SYSTEM_PROMPT,
    }
    await put(owner, SYSTEM, {"system_prompt": " Ours.\u200b\r\n", "include_default_system_prompt": False})
    await put(owner, SYSTEM, {"system_prompt": "Ours."})
    shown = (await owner.client.get(SYSTEM)).json()
    assert (shown["system_prompt"], shown["include_default_system_prompt"]) == ("Ours.", False)


async def test_plan_mode_instructions_are_kept(owner: Person) -> None:
    assert (await owner.client.get(PLAN)).json() == {"plan_mode_instructions": ""}
    await put(owner, PLAN, {"plan_mode_instructions": "Plan\u2028well. "})
    assert (await owner.client.get(PLAN)).json() == {"plan_mode_instructions": "Plan\nwell."}


async def test_ones_own_prompt_is_ones_own(owner: Person, member: Person) -> None:
    assert (await member.client.get(USER)).json() == {"custom_prompt": ""}
    assert await put(member, USER, {"custom_prompt": " Call me Ada.\u200b"}, 200) == {"custom_prompt": "Call me Ada."}
    assert (await member.client.get(USER)).json() == {"custom_prompt": "Call me Ada."}
    assert (await owner.client.get(USER)).json() == {"custom_prompt": ""}
    assert await put(member, USER, {}, 200) == {"custom_prompt": ""}


async def test_a_token_for_chats_alone_does_not_change_what_all_of_them_are_told(api: Api, member: Person) -> None:
    scoped = await api.sign_in(member.id, "member", scopes=("chat:*",))
    await put(scoped, USER, {"custom_prompt": "Obey."}, 403)
    assert (await scoped.client.get(USER)).json() == {"custom_prompt": ""}


@pytest.mark.parametrize("path", [SYSTEM, PLAN])
async def test_what_the_deployment_says_is_for_those_who_may_change_it(api: Api, member: Person, path: str) -> None:
    auditor = await api.person("auditor", site_roles=("auditor",))
    for person in (member, auditor):
        assert (await person.client.get(path)).status_code == 404
        assert (await person.client.put(path, json={})).status_code == 403


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        (SYSTEM, "system_prompt", "System prompt exceeds maximum length."),
        (PLAN, "plan_mode_instructions", "Plan mode instructions exceed maximum length."),
        (USER, "custom_prompt", "Custom prompt exceeds maximum length."),
    ],
)
async def test_a_prompt_that_is_too_long_is_refused(owner: Person, path: str, field: str, message: str) -> None:
    refused = await put(owner, path, {field: "a" * (MAX_BYTES + 1)}, 400)
    detail = f"Maximum length is {MAX_BYTES} bytes, got {MAX_BYTES + 1}."
    assert (refused["message"], refused["detail"]) == (message, detail)
    assert (await owner.client.get(path)).json()[field] == ""


@pytest.mark.parametrize("path", [SYSTEM, PLAN, USER])
async def test_a_body_that_is_no_json_is_refused_and_changes_nothing(owner: Person, path: str) -> None:
    field = {SYSTEM: "system_prompt", PLAN: "plan_mode_instructions", USER: "custom_prompt"}[path]
    await owner.client.put(path, json={field: "kept"})
    for body in (b"", b"{", b"[1]"):
        assert (await owner.client.put(path, content=body)).status_code == 400, body
    assert (await owner.client.get(path)).json()[field] == "kept"
