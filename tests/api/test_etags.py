"""The laws of settings' tags: what did not change is not sent again, what did is not overwritten unseen."""

import asyncio
from typing import Any

import httpx
import pytest

from models.store import preferences
from models.store.database import fetch
from tests.api.conftest import Api, Person
from tests.api.talk import CHATS
from tests.contracts.test_routes import routes

CONFIG = f"{CHATS}/config"
CHANGED = "The setting has changed in the meantime."
NO_ID = "00000000-0000-0000-0000-000000000000"

# Where it is seen → where it is changed, and to what. A member changes their own, the owner the rest.
SITE: dict[str, tuple[str, dict[str, Any]]] = {
    "/config/system-prompt": ("/config/system-prompt", {"system_prompt": "Ours."}),
    "/config/plan-mode-instructions": ("/config/plan-mode-instructions", {"plan_mode_instructions": "Plan."}),
    "/config/model-override/general": ("/config/model-override/general", {"model_config_id": "MODEL"}),
    "/config/personal-model-overrides": ("/config/personal-model-overrides", {"allow_users": True}),
    "/config/debug-logging": ("/config/debug-logging", {"allow_users": True}),
    "/config/desktop-enabled": ("/config/desktop-enabled", {"enable_desktop": True}),
    "/config/computer-use-provider": ("/config/computer-use-provider", {"provider": "openai"}),
    "/config/advisor": ("/config/advisor", {"enabled": True}),
    "/config/workspace-ttl": ("/config/workspace-ttl", {"workspace_ttl_ms": 60_000}),
    "/config/retention-days": ("/config/retention-days", {"retention_days": 7}),
    "/config/debug-retention-days": ("/config/debug-retention-days", {"debug_retention_days": 7}),
    "/config/auto-archive-days": ("/config/auto-archive-days", {"auto_archive_days": 7}),
    "/config/audit-retention-days": ("/config/audit-retention-days", {"audit_retention_days": 7}),
    "/usage-limits": ("/usage-limits", {"spend_limit_micros": 5, "period": "day"}),
}
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "/config/user-prompt": ("/config/user-prompt", {"custom_prompt": "Mine."}),
    "/config/user-debug-logging": ("/config/user-debug-logging", {"debug_logging_enabled": True}),
    "/config/user-compaction-thresholds": ("/config/user-compaction-thresholds/MODEL", {"threshold_percent": 7}),
    "/config/user-personal-model-overrides": ("/config/user-personal-model-overrides/root", {"mode": "chat_default"}),
}
# The one list that there is changes nothing.
UNCHANGING = {"/config/template-allowlist": ("/config/template-allowlist", {"template_ids": []})}


async def written_out(owner: Person, asked: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """With the only model there is in the place of MODEL."""
    [model] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    path, body = asked
    filled = {key: model["id"] if value == "MODEL" else value for key, value in body.items()}
    return CHATS + path.replace("MODEL", model["id"]), filled


def refused_as_stale(answer: httpx.Response, tag: str) -> bool:
    said = {"message": CHANGED, "detail": f"If-Match does not name its present ETag, which is {tag}."}
    return (answer.status_code, answer.json(), answer.headers["etag"]) == (412, said, tag)


async def follow_the_laws(person: Person, seen: str, path: str, body: dict[str, Any]) -> None:
    """A tag is what the setting is: it goes with every GET, and guards every change."""
    client, url = person.client, CHATS + seen
    first = await client.get(url)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert (await client.get(url)).headers["etag"] == tag
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        kept = await client.get(url, headers={"If-None-Match": known})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
    assert (await client.get(url, headers={"If-None-Match": '"other"'})).json() == first.json()
    for wrong in ('"other"', f"W/{tag}", tag.strip('"'), ""):
        refused = await client.put(path, json=body, headers={"If-Match": wrong})
        assert refused_as_stale(refused, tag), (seen, wrong, refused.text)
    assert (await client.get(url)).headers["etag"] == tag, "a refusal changes nothing"
    changed = await client.put(path, json=body, headers={"If-Match": f'"other", {tag}'})
    assert changed.status_code in (200, 204), (seen, changed.text)
    after = await client.get(url)
    if seen not in UNCHANGING:
        assert after.json() != first.json()
        assert after.headers["etag"] != tag
        assert refused_as_stale(await client.put(path, json=body, headers={"If-Match": tag}), after.headers["etag"])
    for condition in ({"If-Match": "*"}, {}):
        assert (await client.put(path, json=body, headers=condition)).status_code in (200, 204)


async def test_the_deployments_settings_follow_the_laws_of_tags(owner: Person) -> None:
    for seen, asked in {**SITE, **UNCHANGING}.items():
        await follow_the_laws(owner, seen, *await written_out(owner, asked))


async def test_ones_own_settings_follow_the_laws_of_tags(owner: Person, member: Person) -> None:
    for gate in ("debug-logging", "personal-model-overrides"):
        await owner.client.put(f"{CONFIG}/{gate}", json={"allow_users": True})
    for seen, asked in OWN.items():
        await follow_the_laws(member, seen, *await written_out(owner, asked))


async def test_no_setting_is_left_out(owner: Person) -> None:
    tested = {*SITE, *OWN, *UNCHANGING}
    tested |= {"/config/model-override/{context}"}
    found = {
        path.removeprefix(CHATS)
        for method, path, _ in routes()
        if method == "GET" and path.startswith((f"{CHATS}/config/", f"{CHATS}/usage-limits"))
    }
    assert found - tested == {"/usage-limits/status"}
    standing = await owner.client.get(f"{CHATS}/usage-limits/status")
    kept = {"If-None-Match": standing.headers["etag"]}
    assert (await owner.client.get(f"{CHATS}/usage-limits/status", headers=kept)).status_code == 304


async def test_what_is_shown_with_others_is_guarded_by_the_tag_of_all(api: Api, owner: Person, member: Person) -> None:
    url = f"{CHATS}/usage-limits"
    for path in (f"{url}/overrides/{member.id}", f"{url}/group-overrides/{api.organization_id}"):
        tag = (await owner.client.get(url)).headers["etag"]
        made = await owner.client.put(path, json={"spend_limit_micros": 5}, headers={"If-Match": tag})
        assert made.status_code == 200, made.text
        now = (await owner.client.get(url)).headers["etag"]
        again = await owner.client.put(path, json={"spend_limit_micros": 6}, headers={"If-Match": tag})
        assert refused_as_stale(again, now)
        assert refused_as_stale(await owner.client.delete(path, headers={"If-Match": tag}), now)
        assert (await owner.client.delete(path, headers={"If-Match": now})).status_code == 204
    [model] = (await owner.client.get(f"{CHATS}/model-configs")).json()
    url, path = (f"{CONFIG}/user-compaction-thresholds{rest}" for rest in ("", f"/{model['id']}"))
    before = (await member.client.get(url)).headers["etag"]
    await member.client.put(path, json={"threshold_percent": 5})
    now = (await member.client.get(url)).headers["etag"]
    assert refused_as_stale(await member.client.delete(path, headers={"If-Match": before}), now)
    assert (await member.client.delete(path, headers={"If-Match": now})).status_code == 204
    assert (await member.client.get(url)).headers["etag"] == before


async def test_what_would_be_refused_anyway_is_refused_for_its_own_reason(owner: Person, member: Person) -> None:
    stale = {"If-Match": '"other"'}
    refused = await member.client.put(f"{CONFIG}/desktop-enabled", json={}, headers=stale)
    assert refused.status_code == 403
    for path, body in (
        ("retention-days", {"retention_days": -1}),
        ("model-override/general", {"model_config_id": "x"}),
        ("advisor", {"model_config_id": "11111111-1111-4111-8111-111111111111"}),
        ("workspace-ttl", {"workspace_ttl_ms": "soon"}),
    ):
        assert (await owner.client.put(f"{CONFIG}/{path}", json=body, headers=stale)).status_code == 400
    answer = await member.client.put(f"{CONFIG}/user-personal-model-overrides/root", json={}, headers=stale)
    assert answer.status_code == 403


@pytest.mark.parametrize("conditional", [2, 1], ids=["both have seen it", "one has not looked"])
async def test_of_two_who_change_what_they_have_seen_one_wins_and_the_other_is_told(
    owner: Person, conditional: int
) -> None:
    """Whoever comes second has seen what is no more so; a writer who does not say what they saw comes first or last."""
    url = f"{CONFIG}/system-prompt"
    for round_number in range(8):
        tag = (await owner.client.get(url)).headers["etag"]
        answers = await asyncio.gather(
            *(
                owner.client.put(
                    url,
                    json={"system_prompt": f"{round_number} {number}"},
                    headers={"If-Match": tag} if number < conditional else {},
                )
                for number in range(2)
            )
        )
        statuses = [answer.status_code for answer in answers]
        now = (await owner.client.get(url)).json()["system_prompt"]
        if conditional == 2:
            assert sorted(statuses) == [204, 412]
            assert now == f"{round_number} {statuses.index(204)}"
        else:
            assert statuses[1] == 204
            assert now == f"{round_number} 1", "what nobody has seen is not overwritten by who says what they saw"


async def test_a_change_waits_for_the_one_before_it_and_is_judged_by_it(api: Api, owner: Person) -> None:
    url = f"{CONFIG}/retention-days"
    tag = (await owner.client.get(url)).headers["etag"]
    async with api.resources.database.begin() as session:
        await preferences.hold(session, "agents_chat_retention_days")
        second = asyncio.create_task(owner.client.put(url, json={"retention_days": 9}, headers={"If-Match": tag}))
        await held_up(api)
        await preferences.put_site(session, {"agents_chat_retention_days": "8"})
    assert (await second).status_code == 412
    assert (await owner.client.get(url)).json() == {"retention_days": 8}


async def held_up(api: Api) -> None:
    """Return once somebody waits for an advisory lock."""
    query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while True:
        async with api.resources.database.read() as session:
            if await fetch(session, query):
                return
        await asyncio.sleep(0.01)
